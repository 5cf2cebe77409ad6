"""Lists of the company as files."""

from __future__ import annotations

from collections.abc import Sequence

from sqlalchemy.ext.asyncio import AsyncConnection

from gateway.api.lists import SELECT, Entries, ListName, NewList, write_entries
from gateway.api.models import Input
from gateway.configuration.kinds import Faults, Ground, Kind, Stored, Wanted, Work
from gateway.db.database import execute, fetch_all
from gateway.runtime import Runtime
from gateway.security.scopes import Scope


class ListFile(Input):
    """A list of phrases, names or handles."""

    name: ListName
    entries: Entries


class Lists(Kind[ListFile]):
    """Lists of the company. One that no file names stays: decisions name its versions."""

    folder = "lists"
    noun = "list"
    Model = ListFile
    scopes = (Scope.policies_draft,)
    table = "word_list"
    reasoned = True

    async def stored(self, connection: AsyncConnection, runtime: Runtime) -> list[Stored]:
        newest = SELECT.replace("SELECT", "SELECT DISTINCT ON (name)", 1) + " ORDER BY name, version DESC"
        return [
            Stored(row["name"], {"name": row["name"], "entries": list(row["entries"])}, row, str(row["version"]))
            for row in await fetch_all(connection, newest)
        ]

    async def want(
        self, given: ListFile, file: str, stored: Stored | None, ground: Ground, faults: Faults
    ) -> Wanted[ListFile]:
        return Wanted(given.name, file, given, {"name": given.name, "entries": list(dict.fromkeys(given.entries))})

    async def lock(self, connection: AsyncConnection, stored: Sequence[Stored]) -> None:
        for one in stored:
            await execute(
                connection, "SELECT pg_advisory_xact_lock(hashtext('word_list'), hashtext(:name))", name=one.key
            )

    async def create(self, work: Work, wanted: Wanted[ListFile]) -> None:
        given = NewList(entries=wanted.given.entries, reason=work.reason)
        await write_entries(work.connection, wanted.key, given, author=work.author, now=work.now)

    async def change(self, work: Work, stored: Stored, wanted: Wanted[ListFile]) -> None:
        await self.create(work, wanted)
