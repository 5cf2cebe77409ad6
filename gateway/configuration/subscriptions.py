"""Subscriptions as files."""

from __future__ import annotations

from typing import Any

from sqlalchemy.ext.asyncio import AsyncConnection

from gateway.api.problems import Problem
from gateway.api.subscriptions import (
    NewSubscription,
    SubscriptionChange,
    add_subscription,
    alter_subscription,
    check_receiver,
    remove_subscription,
)
from gateway.configuration.kinds import Faults, Ground, Kind, Stored, Wanted, Work, without
from gateway.db.database import fetch_all
from gateway.runtime import Runtime
from gateway.security.scopes import Scope

SELECT = """
SELECT s.id, s.name, s.url, s.description, s.kinds, s.include_text, s.allow_private, s.version,
       ARRAY(SELECT COALESCE(b.name, one) FROM unnest(s.brands) WITH ORDINALITY AS w (one, at)
             LEFT JOIN brand b ON b.id::text = one ORDER BY at) AS brands,
       ARRAY(SELECT COALESCE(c.name, one) FROM unnest(s.connections) WITH ORDINALITY AS w (one, at)
             LEFT JOIN connection c ON c.id::text = one ORDER BY at) AS connections
FROM subscription s ORDER BY s.name
"""
FIELDS = ("name", "url", "kinds", "description", "brands", "connections", "include_text", "allow_private")
LISTS = ("kinds", "brands", "connections", "allow_private")
UNDERSTOOD: dict[str, Any] = {
    "description": "",
    "brands": [],
    "connections": [],
    "include_text": False,
    "allow_private": [],
}


class Subscriptions(Kind[NewSubscription]):
    """Who is told of what happens. The signing secret is in no file: `rotate-secret` gives one."""

    folder = "subscriptions"
    noun = "subscription"
    Model = NewSubscription
    scopes = (Scope.subscriptions,)
    table = "subscription"
    removal = "delete"

    async def stored(self, connection: AsyncConnection, runtime: Runtime) -> list[Stored]:
        return [
            Stored(row["name"], _content({name: row[name] for name in FIELDS}), row, str(row["version"]))
            for row in await fetch_all(connection, SELECT)
        ]

    async def want(
        self, given: NewSubscription, file: str, stored: Stored | None, ground: Ground, faults: Faults
    ) -> Wanted[NewSubscription]:
        for kind, names in (("brands", given.brands), ("connections", given.connections)):
            for name in names:
                known = kind == "connections" and any(
                    ground.knows(kind, f"{role} {name}") for role in ("source", "helpdesk", "enricher")
                )
                if not known and not ground.knows(kind, name):
                    faults.add(file, kind, f"there is no {kind.rstrip('s')} {name}", ground.known(kind))
        try:
            check_receiver(given.url, given.kinds, given.allow_private)
        except Problem as problem:
            faults.absorb(file, problem)
        return Wanted(given.name, file, given, _content(given.model_dump(mode="json")))

    def written(self, stored: Stored) -> dict[str, Any]:
        return without(stored.content, UNDERSTOOD)

    async def create(self, work: Work, wanted: Wanted[NewSubscription]) -> None:
        id, _ = await add_subscription(work.connection, work.runtime, wanted.given, work.caller)
        work.next.append(f"{wanted.key}: POST /v1/subscriptions/{id}/rotate-secret gives its signing secret")

    async def change(self, work: Work, stored: Stored, wanted: Wanted[NewSubscription]) -> None:
        change = SubscriptionChange(**wanted.given.model_dump())
        await alter_subscription(work.connection, work.runtime, stored.row, change, work.caller)

    async def remove(self, work: Work, stored: Stored) -> None:
        await remove_subscription(work.connection, stored.id)


def _content(given: dict[str, Any]) -> dict[str, Any]:
    """In the order of a file, each entry of a list once."""
    return {name: list(dict.fromkeys(given[name])) if name in LISTS else given[name] for name in FIELDS}
