"""What a caller may do."""

from __future__ import annotations

from collections.abc import Iterable
from enum import StrEnum


class Scope(StrEnum):
    """One permission of a caller. No scope includes another."""

    read = "read"
    connections = "connections"
    operations = "operations"
    operations_read = "operations:read"
    tickets = "tickets"
    replies = "replies"
    outbound = "outbound"
    policies_draft = "policies:draft"
    policies_activate = "policies:activate"
    audit = "audit"
    subscriptions = "subscriptions"
    admin = "admin"


MEANING: dict[Scope, str] = {
    Scope.read: "read everything but API keys, people, the audit log and the bytes of deliveries",
    Scope.connections: "make and change brands, Apps and connections; check, install, pause and resume them",
    Scope.operations: "read deliveries byte for byte, replay them, and redrive dead letters",
    Scope.operations_read: "read metrics and dead letters",
    Scope.tickets: "read tickets and write replies on them",
    Scope.replies: "approve, reject, cancel and retract replies",
    Scope.outbound: "stop and start everything outbound",
    Scope.policies_draft: "write and try out policies",
    Scope.policies_activate: "put policies into force, and make and change calendars",
    Scope.audit: "read the audit log",
    Scope.subscriptions: "make and change subscriptions to events, try them out and replay",
    Scope.admin: "make, rotate and revoke API keys, and say who is who",
}


class UnknownScope(ValueError):
    """A scope that does not exist; the message names those that do."""


def parse_scopes(names: Iterable[str]) -> tuple[Scope, ...]:
    """The scopes of these names, each once, in the order of their declaration. Raises UnknownScope."""
    given = set(names)
    unknown = sorted(given - set(Scope))
    if unknown:
        raise UnknownScope(f"there is no scope {', '.join(unknown)}; there are {', '.join(Scope)}")
    return tuple(scope for scope in Scope if scope in given)


def union(*several: Iterable[Scope]) -> tuple[Scope, ...]:
    """The scopes of all of these, each once, in the order of their declaration."""
    given = {scope for scopes in several for scope in scopes}
    return tuple(scope for scope in Scope if scope in given)
