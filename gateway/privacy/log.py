"""The erasure log: a file outside the database that keeps a restored backup from bringing anybody back.

One JSON object a line, of keyed hashes and times alone. It is read with the key of the installation that wrote it, and
applying it twice does nothing twice.
"""

from __future__ import annotations

import json
import os
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from uuid import UUID

from gateway.db.database import Database, execute, fetch_all
from gateway.files.store import Files
from gateway.privacy.erase import Tools, UnknownCustomer, erase_all, request_erasure
from gateway.privacy.marks import Marks, entomb
from gateway.runtime import open_runtime
from gateway.security.root_keys import ensure_root_key
from gateway.security.vault import Vault
from gateway.settings import Settings

PAGE = 5000


class LogUnreadable(ValueError):
    """A line of the erasure log is damaged. The message names it."""


@dataclass(frozen=True)
class Line:
    """One tombstone as the log has it."""

    mark: bytes
    kind: str
    erasure: UUID
    until: datetime


async def export_log(database: Database, file: Path) -> int:
    """Write the whole log; under its name the file is whole or as it was before. Returns how many lines."""
    async with database.read() as connection:
        rows = await fetch_all(connection, "SELECT mark, kind, erasure_id, until FROM erased ORDER BY until, mark")
    draft = file.with_name(f".{file.name}.{os.getpid()}")
    with draft.open("w") as out:
        for row in rows:
            out.write(line_of(row["mark"], row["kind"], row["erasure_id"], row["until"]) + "\n")
        out.flush()
        os.fsync(out.fileno())
    draft.replace(file)
    return len(rows)


def line_of(mark: bytes, kind: str, erasure: UUID, until: datetime) -> str:
    """One line of the log."""
    return json.dumps({"mark": bytes(mark).hex(), "kind": kind, "erasure": str(erasure), "until": until.isoformat()})


def read_log(file: Path) -> list[Line]:
    """Every line of the log. Raises LogUnreadable."""
    lines = []
    for number, text in enumerate(file.read_text().splitlines(), 1):
        if not text.strip():
            continue
        try:
            value = json.loads(text)
            mark, until = bytes.fromhex(value["mark"]), datetime.fromisoformat(value["until"])
            if len(mark) != 32 or value["kind"] not in ("account", "item") or until.tzinfo is None:
                raise ValueError(text)
            lines.append(Line(mark, value["kind"], UUID(value["erasure"]), until))
        except (ValueError, KeyError, TypeError) as error:
            raise LogUnreadable(f"{file}, line {number}: not a line of an erasure log; export it again") from error
    return lines


async def apply_log(settings: Settings, database: Database, lines: list[Line], now: datetime) -> int:
    """Forget again everybody that the log names, before anything works on the data. Returns how many were there."""
    vault = Vault.open(settings)
    await ensure_root_key(database, vault, now)
    marks = Marks(vault)
    by_erasure: dict[tuple[UUID, datetime], list[tuple[bytes, str]]] = {}
    for line in lines:
        by_erasure.setdefault((line.erasure, line.until), []).append((line.mark, line.kind))
    until = {line.mark: line.until for line in lines if line.kind == "account"}
    async with database.write() as connection:
        for (erasure, at), given in sorted(by_erasure.items()):
            await entomb(connection, given, erasure, at)
        # rows of erasures that were done when the backup was taken know nobody any more
        found: dict[UUID, datetime] = {}
        after = UUID(int=0)
        while rows := await fetch_all(
            connection,
            """SELECT id, scope, external_id, customer_id, created_at FROM account WHERE id > :after ORDER BY id
               LIMIT :limit""",
            after=after,
            limit=PAGE,
        ):
            after = rows[-1]["id"]
            for row in rows:
                at_latest = until.get(marks.account(row["scope"], row["external_id"]))
                # first seen after the erasure: the person came back by themselves, as somebody new
                if at_latest is not None and row["created_at"] <= at_latest:
                    found[row["customer_id"]] = max(at_latest, found.get(row["customer_id"], at_latest))
        for customer, at in sorted(found.items()):
            await execute(connection, "DELETE FROM erasure WHERE customer_id = :id AND state = 'done'", id=customer)
            try:
                await request_erasure(
                    connection, vault, customer, until=at, by="erasure log", reason="applied again", now=now
                )
            except UnknownCustomer:  # an account without a customer row is nobody's
                continue
    await erase_all(Tools(database, vault, Files.open(settings)), now)
    return len(found)


async def export_from_command_line(settings: Settings, file: Path) -> int:
    """Called by `gateway erasures export`."""
    async with open_runtime(settings) as runtime:
        return await export_log(runtime.database, file)


async def apply_from_command_line(settings: Settings, file: Path) -> int:
    """Called by `gateway erasures apply`. Raises LogUnreadable."""
    lines = read_log(file)
    async with open_runtime(settings) as runtime:
        return await apply_log(settings, runtime.database, lines, runtime.now())
