"""What the gateway registers: the policies that ask for a second person."""

from __future__ import annotations

from typing import Any

from gateway_oversight.eyes import SecondPerson
from gateway_oversight.mass import SameToMany
from gateway_schemas import hookimpl
from gateway_schemas.policy import Policy


@hookimpl
def register_policies() -> list[type[Policy[Any]]]:
    """The policy types of this distribution."""
    return [SecondPerson, SameToMany]
