"""What the gateway registers: the policies on service."""

from __future__ import annotations

from typing import Any

from gateway_schemas import hookimpl
from gateway_schemas.policy import Policy
from gateway_service.followup import Asked
from gateway_service.parity import Parity
from gateway_service.promises import KeptPromises
from gateway_service.response import ResponseTime


@hookimpl
def register_policies() -> list[type[Policy[Any]]]:
    """The policy types of this distribution."""
    return [ResponseTime, KeptPromises, Parity, Asked]
