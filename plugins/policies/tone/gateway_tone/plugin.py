"""What the gateway registers: the policies on manners."""

from __future__ import annotations

from typing import Any

from gateway_schemas import hookimpl
from gateway_schemas.policy import Policy
from gateway_tone.acknowledge import AcknowledgeFirst
from gateway_tone.argument import NoArgument
from gateway_tone.listen import ListenFirst


@hookimpl
def register_policies() -> list[type[Policy[Any]]]:
    """The policy types of this distribution."""
    return [AcknowledgeFirst, NoArgument, ListenFirst]
