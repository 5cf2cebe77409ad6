"""Connections as files."""

from __future__ import annotations

from typing import Any, Literal

from pydantic import BaseModel, Field
from sqlalchemy.ext.asyncio import AsyncConnection

from gateway.api.configs import checked_ranges, find_plugin, note_fields
from gateway.api.connection_actions import set_paused
from gateway.api.connection_changes import (
    ConnectionChange,
    NewConnection,
    add_connection,
    alter_connection,
    check_app,
    check_name,
    drains_of,
)
from gateway.api.problems import Problem
from gateway.configuration.kinds import Faults, Ground, Kind, Stored, Wanted, Work, without
from gateway.configuration.settings import checked, stored_document, stored_plain, unchangeable, written_config
from gateway.db.database import Row, execute, fetch_all
from gateway.oauth.stored import completed, fields_of
from gateway.runtime import Runtime
from gateway.security.scopes import Scope

SELECT = """
SELECT c.*, b.name AS brand, a.name AS app, h.name AS helpdesk,
       EXISTS (SELECT 1 FROM authorisation g WHERE g.connection_id = c.id
           AND (g.state <> 'wanted' OR c.status <> 'active')) AS by_oauth
FROM connection c LEFT JOIN brand b ON b.id = c.brand_id LEFT JOIN app a ON a.id = c.app_id
     LEFT JOIN connection h ON h.id = c.helpdesk_id
ORDER BY c.role, c.name
"""
UNDERSTOOD: dict[str, Any] = {
    "app": None,
    "brand": None,
    "helpdesk": None,
    "allow_private": [],
    "paused": [],
    "by_oauth": False,
}
PLAIN = ("history", "history_days", "sla_owner", "health_ticket")
ORDER: dict[str, int] = {"helpdesk": 0, "enricher": 1, "source": 2}
"""Sources name helpdesks, which must be there before them."""
Direction = Literal["in", "out"]


class ConnectionFile(NewConnection):
    """One account at a provider."""

    grant: None = Field(default=None, exclude=True)
    """Is given over REST alone."""
    paused: list[Direction] | None = None
    """What is stopped: `in`, `out` or both. Left out: it stays as it is."""


class Connections(Kind[ConnectionFile]):
    """Accounts at providers. One that no file names is paused when pruning: what came over it belongs to it."""

    folder = "connections"
    noun = "connection"
    Model = ConnectionFile
    scopes = (Scope.connections,)
    table = "connection"
    removal = "pause"

    def key_of(self, given: ConnectionFile, ground: Ground) -> str:
        return f"{find_plugin(ground.runtime.registry, given.plugin, given.role)[0]} {given.name}"

    def rank(self, key: str) -> int:
        return ORDER[key.partition(" ")[0]]

    async def stored(self, connection: AsyncConnection, runtime: Runtime) -> list[Stored]:
        rows = sorted(await fetch_all(connection, SELECT), key=lambda row: (ORDER[row["role"]], row["name"]))
        found = []
        for row in rows:
            model = _model(runtime, row["plugin"], row["role"])
            content = _content(runtime, row, model)
            found.append(Stored(f"{row['role']} {row['name']}", content, row, str(row["version"]), model))
        return found

    async def want(
        self, given: ConnectionFile, file: str, stored: Stored | None, ground: Ground, faults: Faults
    ) -> Wanted[ConnectionFile] | None:
        role, plugin = find_plugin(ground.runtime.registry, given.plugin, given.role)
        _check_references(given, role, file, ground, faults)
        unchangeable(stored, file, {"plugin": given.plugin, "app": given.app}, faults)
        for check in (
            lambda: check_name(role, given.name),
            lambda: check_app(plugin, given.plugin, given.app is not None),
            lambda: checked_ranges(given.allow_private),
        ):
            try:
                check()
            except Problem as problem:
                faults.absorb(file, problem)
        plain = stored_plain(ground.runtime, stored.row, f"connection:{stored.id}") if stored is not None else None
        installed = stored.row["installed"] if stored is not None else ()
        brought = _brought(ground.runtime, given.plugin, role) if given.by_oauth else {}
        config = checked(given.config, plugin.Config, file, plain, installed, ground, faults, brought)
        if config is None:
            return None
        paused = given.paused if given.paused is not None or stored is None else stored.content["paused"]
        content = {
            **given.model_dump(mode="json"),
            "role": role,
            "config": config.document,
            "paused": sorted(set(paused or ())),
        }
        given = given.model_copy(update={"config": config.plain})
        return Wanted(f"{role} {given.name}", file, given, content, config.left_out, config.named)

    def written(self, stored: Stored) -> dict[str, Any]:
        config = written_config(stored.content["config"], stored.model, stored.row["installed"])
        return without({**stored.content, "config": config}, UNDERSTOOD)

    def file_of(self, stored: Stored) -> str:
        return f"{stored.row['role']}-{stored.row['name']}"

    async def create(self, work: Work, wanted: Wanted[ConnectionFile]) -> None:
        given = wanted.given
        row, drains = await add_connection(work.connection, work.runtime, given)
        await self._pause(work, row, [], wanted.content["paused"])
        if wanted.left_out:
            await _mark_unfinished(work, row["id"], wanted)
        work.wakes |= drains
        work.forgets.append(row["id"])
        if row["role"] != "enricher":
            work.next.append(f"{row['role']} {given.name}: POST /v1/connections/{row['id']}/install sets it up there")

    async def change(self, work: Work, stored: Stored, wanted: Wanted[ConnectionFile]) -> None:
        given = wanted.given
        change = ConnectionChange(
            brand=given.brand,
            helpdesk=given.helpdesk,
            allow_private=given.allow_private,
            **{name: getattr(given, name) for name in PLAIN},
        )
        same = stored.content["config"] == wanted.content["config"]
        await alter_connection(work.connection, work.runtime, stored.row, change, config=None if same else given.config)
        await self._pause(work, stored.row, stored.content["paused"], wanted.content["paused"])
        role = stored.row["role"]
        work.wakes |= drains_of(role, stored.id, work.runtime.registry.streams(role, stored.row["plugin"]))
        await note_fields(work.connection, "connection", stored.id, wanted.named)
        work.forgets.append(stored.id)

    def removable(self, stored: Stored) -> bool:
        return not (stored.row["paused_in"] and stored.row["paused_out"])

    async def remove(self, work: Work, stored: Stored) -> None:
        await set_paused(work.connection, work.runtime, stored.row, "both", paused=True)
        work.forgets.append(stored.id)

    async def _pause(self, work: Work, row: Row, before: list[Direction], after: list[Direction]) -> None:
        for direction in sorted({*before, *after}):
            if (direction in before) != (direction in after):
                paused = direction in after
                await set_paused(work.connection, work.runtime, row, direction, paused=paused)


def _brought(runtime: Runtime, plugin: str, role: str) -> dict[str, Any]:
    """Stand-ins for what OAuth brings to a connection of this plugin."""
    fields = fields_of(runtime.registry.plugin(role, plugin))
    return completed(fields, {}, None) if fields is not None else {}


def _content(runtime: Runtime, row: Row, model: type[BaseModel] | None) -> dict[str, Any]:
    brought = _brought(runtime, row["plugin"], row["role"]) if row["by_oauth"] and model is not None else {}
    return {
        **{name: row[name] for name in ("name", "plugin", "role", "app", "brand", "helpdesk")},
        "config": stored_document(runtime, row, f"connection:{row['id']}", model, brought),
        "by_oauth": row["by_oauth"],
        **{name: row[name] for name in PLAIN},
        "allow_private": list(row["allow_private"]),
        "paused": [name for name in ("in", "out") if row[f"paused_{name}"]],
    }


def _model(runtime: Runtime, plugin: str, role: str) -> type[BaseModel] | None:
    try:
        return find_plugin(runtime.registry, plugin, role)[1].Config
    except Problem:
        return None


def _check_references(given: ConnectionFile, role: str, file: str, ground: Ground, faults: Faults) -> None:
    if given.brand is not None and not ground.knows("brands", given.brand):
        faults.add(file, "brand", f"there is no brand {given.brand}", ground.known("brands"))
    if given.app is not None:
        if not ground.knows("apps", given.app):
            faults.add(file, "app", f"there is no App {given.app}", ground.known("apps"))
        elif (owner := _plugin_of_app(given.app, ground)) not in (None, given.plugin):
            faults.add(file, "app", f"it is an App of {owner}, not of {given.plugin}")
    if given.helpdesk is not None:
        if role != "source":
            faults.add(file, "helpdesk", "only a source has a helpdesk", "leave it out")
        elif not ground.knows("connections", f"helpdesk {given.helpdesk}"):
            faults.add(file, "helpdesk", f"there is no helpdesk connection {given.helpdesk}", "add a file for it")


def _plugin_of_app(app: str, ground: Ground) -> str | None:
    given = ground.given.get("apps", {}).get(app)
    stored = ground.stored.get("apps", {}).get(app)
    return getattr(given, "plugin", None) or (stored.content["plugin"] if stored is not None else None)


async def _mark_unfinished(work: Work, id: Any, wanted: Wanted[ConnectionFile]) -> None:
    """It waits until somebody enters what lacks a value, or the plugin's install fills it in."""
    lacking = ", ".join(path for path, _ in wanted.left_out)
    await execute(
        work.connection,
        "UPDATE connection SET status = 'needs_authorisation', status_reason = :reason WHERE id = :id",
        id=id,
        reason=f"no value was given for {lacking}: install, or enter it with PATCH /v1/connections/{id}",
    )
