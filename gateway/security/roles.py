"""Roles: named sets of scopes. What a token's claims map to, and what an API key can be made with."""

from __future__ import annotations

from collections.abc import Iterable
from enum import StrEnum

from gateway.security.scopes import Scope, union


class Role(StrEnum):
    """What somebody does here. Somebody with several roles has the scopes of all of them."""

    viewer = "viewer"
    agent = "agent"
    approver = "approver"
    policy_author = "policy_author"
    operator = "operator"
    administrator = "administrator"


SCOPES: dict[Role, tuple[Scope, ...]] = {
    Role.viewer: (Scope.read,),
    Role.agent: (Scope.read, Scope.tickets),
    Role.approver: (Scope.read, Scope.tickets, Scope.replies),
    Role.policy_author: (Scope.read, Scope.policies_draft),
    Role.operator: (Scope.read, Scope.connections, Scope.operations, Scope.operations_read, Scope.outbound),
    Role.administrator: tuple(Scope),
}

MEANING: dict[Role, str] = {
    Role.viewer: "reads everything but API keys, people and the bytes of deliveries",
    Role.agent: "works on tickets and writes replies",
    Role.approver: "does what an agent does, and decides on held replies",
    Role.policy_author: "writes and tries out policies; putting them into force takes an administrator",
    Role.operator: "connects accounts, replays, redrives, and stops everything outbound",
    Role.administrator: "may do everything",
}


def scopes_of(roles: Iterable[Role]) -> tuple[Scope, ...]:
    """The scopes of somebody with these roles, each once, in the order of their declaration."""
    return union(*(SCOPES[role] for role in roles))
