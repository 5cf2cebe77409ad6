"""Every route and the scopes that open it: `python -m gateway.api.scopes [--check] docs/reference/scopes.md`.

It is generated from the routes, so that an administrator can see what a key or a role opens. A test compares the file,
and another tries each route with each scope.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from dataclasses import dataclass

from fastapi import FastAPI

from gateway.api.routes import EXTENSION
from gateway.api.written import write_or_check
from gateway.app import create_app
from gateway.registry import Registry
from gateway.security import roles, scopes
from gateway.security.roles import Role
from gateway.security.scopes import Scope
from gateway.settings import Settings

HEAD = """\
# Scopes, roles and routes

Written out of the code by `python -m gateway.api.scopes docs/reference/scopes.md`.

An API key has scopes. A token of the company's OpenID Connect provider has the roles that its claims map to, and so
their scopes. A route opens to whoever has one of its scopes; no scope includes another.
"""


@dataclass(frozen=True)
class Opened:
    """A route, and the scopes that open it; none where it opens to everybody."""

    method: str
    path: str
    scopes: tuple[Scope, ...]


def routes_of(app: FastAPI) -> list[Opened]:
    """Every route of the OpenAPI document with its scopes, in the document's order."""
    return [
        Opened(method.upper(), path, tuple(Scope(name) for name in operation.get(EXTENSION, ())))
        for path, operations in app.openapi()["paths"].items()
        for method, operation in operations.items()
    ]


def render() -> str:
    """The page."""
    app = create_app(Settings(_env_file=None), workers=0, registry=Registry())  # type: ignore[call-arg]
    lines = [HEAD, "## Scopes", "", "| scope | opens |", "|---|---|"]
    lines += [f"| `{scope}` | {scopes.MEANING[scope]} |" for scope in Scope]
    lines += ["", "## Roles", "", "| role | does | scopes |", "|---|---|---|"]
    lines += [f"| `{role}` | {roles.MEANING[role]} | {_codes(roles.SCOPES[role])} |" for role in Role]
    lines += ["", "## Routes", "", "| method | route | one of these scopes | roles |", "|---|---|---|---|"]
    for route in routes_of(app):
        opens = [role for role in Role if set(roles.SCOPES[role]) & set(route.scopes)]
        needed = _codes(route.scopes) if route.scopes else "none: open to everybody"
        lines.append(f"| {route.method} | `{route.path}` | {needed} | {', '.join(opens)} |")
    return "\n".join(lines) + "\n"


def _codes(names: Sequence[str]) -> str:
    return ", ".join(f"`{name}`" for name in names)


def main(arguments: Sequence[str] | None = None) -> int:
    """The command line; returns the exit status."""
    return write_or_check(
        "gateway.api.scopes", "Write the table of scopes.", "docs/reference/scopes.md", render, arguments
    )


if __name__ == "__main__":
    sys.exit(main())
