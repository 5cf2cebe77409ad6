"""What the gateway registers: the policies on what comes in."""

from __future__ import annotations

from typing import Any

from gateway_intake.causes import RootCause
from gateway_intake.surge import Surge
from gateway_intake.triage import Critical, Triage
from gateway_schemas import hookimpl
from gateway_schemas.policy import Policy


@hookimpl
def register_policies() -> list[type[Policy[Any]]]:
    """The policy types of this distribution."""
    return [Critical, Triage, Surge, RootCause]
