"""Apps as files."""

from __future__ import annotations

from typing import Any

from pydantic import BaseModel
from sqlalchemy.ext.asyncio import AsyncConnection

from gateway.api.apps import AppChange, NewApp, add_app, alter_app
from gateway.api.configs import checked_ranges, find_plugin, has_app, note_fields
from gateway.api.problems import Problem, invalid
from gateway.configuration.kinds import Faults, Ground, Kind, Stored, Wanted, Work, without
from gateway.configuration.settings import (
    checked,
    stored_document,
    stored_plain,
    unchangeable,
    written_config,
)
from gateway.db.database import fetch_all
from gateway.runtime import Runtime
from gateway.security.scopes import Scope

SELECT = """
SELECT a.*, b.name AS brand FROM app a LEFT JOIN brand b ON b.id = a.brand_id ORDER BY a.name
"""
UNDERSTOOD: dict[str, Any] = {"brand": None, "allow_private": []}


class Apps(Kind[NewApp]):
    """Registrations at providers. One that no file names stays: connections belong to it."""

    folder = "apps"
    noun = "App"
    Model = NewApp
    scopes = (Scope.connections,)
    table = "app"

    async def stored(self, connection: AsyncConnection, runtime: Runtime) -> list[Stored]:
        found = []
        for row in await fetch_all(connection, SELECT):
            model = _model(runtime, row["plugin"])
            content = {
                **{name: row[name] for name in ("name", "plugin", "brand")},
                "config": stored_document(runtime, row, f"app:{row['id']}", model),
                "allow_private": list(row["allow_private"]),
            }
            found.append(Stored(row["name"], content, row, str(row["version"]), model))
        return found

    async def want(
        self, given: NewApp, file: str, stored: Stored | None, ground: Ground, faults: Faults
    ) -> Wanted[NewApp] | None:
        if given.brand is not None and not ground.knows("brands", given.brand):
            faults.add(file, "brand", f"there is no brand {given.brand}", ground.known("brands"))
        unchangeable(stored, file, {"plugin": given.plugin}, faults)
        try:
            checked_ranges(given.allow_private)
            plugin = find_plugin(ground.runtime.registry, given.plugin)[1]
            if not has_app(plugin):
                raise invalid("plugin", f"{given.plugin} has no Apps", "connections of it need none")
        except Problem as problem:
            faults.absorb(file, problem)
            return None
        plain = stored_plain(ground.runtime, stored.row, f"app:{stored.id}") if stored is not None else None
        installed = stored.row["installed"] if stored is not None else ()
        config = checked(given.config, plugin.AppConfig, file, plain, installed, ground, faults)
        if config is None:
            return None
        content = {**given.model_dump(mode="json"), "config": config.document}
        given = given.model_copy(update={"config": config.plain})
        return Wanted(given.name, file, given, content, config.left_out, config.named)

    def written(self, stored: Stored) -> dict[str, Any]:
        config = written_config(stored.content["config"], stored.model, stored.row["installed"])
        return without({**stored.content, "config": config}, UNDERSTOOD)

    async def create(self, work: Work, wanted: Wanted[NewApp]) -> None:
        await add_app(work.connection, work.runtime, wanted.given)

    async def change(self, work: Work, stored: Stored, wanted: Wanted[NewApp]) -> None:
        given = wanted.given
        change = AppChange(brand=given.brand, allow_private=given.allow_private)
        same = stored.content["config"] == wanted.content["config"]
        await alter_app(work.connection, work.runtime, stored.row, change, config=None if same else given.config)
        await note_fields(work.connection, "app", stored.id, wanted.named)
        work.forgets.append(stored.id)


def _model(runtime: Runtime, plugin: str) -> type[BaseModel] | None:
    try:
        return find_plugin(runtime.registry, plugin)[1].AppConfig
    except Problem:
        return None
