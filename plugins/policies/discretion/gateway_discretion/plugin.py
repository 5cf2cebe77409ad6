"""What the gateway registers: the policy on what belongs in private."""

from __future__ import annotations

from typing import Any

from gateway_discretion.offline import TakeItOffline
from gateway_schemas import hookimpl
from gateway_schemas.policy import Policy


@hookimpl
def register_policies() -> list[type[Policy[Any]]]:
    """The policy types of this distribution."""
    return [TakeItOffline]
