"""Beside the line: files are copied when they are heard of, because signed links expire.

A customer's files go to the helpdesk with the message, which waits a little for them; an agent's files go out with the
answer, cleaned of metadata, or the answer comes back. One row per file and message; what cannot be copied says why, and
is named by its link.
"""

from __future__ import annotations

import asyncio
import time
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, Literal
from uuid import UUID

from sqlalchemy.ext.asyncio import AsyncConnection

from gateway.connections import Endpoint
from gateway.db.database import as_json, execute_rows, fetch_all, insert_rows
from gateway.db.tables.columns import new_id
from gateway.engine.leases import Held
from gateway.engine.sandbox import Sandbox
from gateway.pipeline import wording
from gateway.pipeline.trouble import Trouble, note_attempt, note_trouble, trouble_of
from gateway.runtime import Runtime
from gateway_schemas.errors import Rejected
from gateway_schemas.interaction import Attachment

BATCH = 8
GIVE_UP_AFTER = 8
SECONDS = 60.0
"""How long one file may take to come."""


@dataclass(frozen=True)
class Owner:
    """Whose files: a message's or a reply's, and the connection whose plugin can fetch them."""

    kind: Literal["interaction", "reply"]
    id: UUID
    connection_id: UUID


def ref_of(file: Mapping[str, Any]) -> str | None:
    """What names a file within its message: the provider's id, else its link."""
    return file.get("external_id") or file.get("url")


async def note_files(
    connection: AsyncConnection, attached: Sequence[tuple[Owner, Sequence[Attachment]]], now: datetime
) -> set[str]:
    """Note what shall be copied, in the caller's transaction; files known already are left. Returns drains to wake."""
    rows: dict[tuple[UUID, str], dict[str, Any]] = {}
    for owner, files in attached:
        for position, file in enumerate(files):
            data = file.model_dump(mode="json", exclude={"sha256"})
            ref = ref_of(data)
            if ref is not None:
                rows[owner.id, ref] = {
                    "id": new_id(),
                    "owner": owner.kind,
                    "owner_id": owner.id,
                    "ref": ref,
                    "position": position,
                    "connection_id": owner.connection_id,
                    "data": data,
                    "state": "pending",
                    "tries": 0,
                    "due_at": now,
                    "created_at": now,
                }
    if not rows:
        return set()
    fresh = await insert_rows(
        connection,
        "attachment",
        [rows[key] for key in sorted(rows)],
        tail="ON CONFLICT (owner_id, ref) DO NOTHING RETURNING connection_id",
    )
    return {f"attach:{row['connection_id']}" for row in fresh}


async def join_files(connection: AsyncConnection, messages: Sequence[UUID], now: datetime) -> set[str]:
    """Put the copies there are into the comments that wait for them; let go what waits for nothing more.

    Called when comments are written and when files have come, each after its own write: the row locks make one of the
    two see the other. A file that comes after its comment has gone follows in a private note.
    """
    files = await _files(connection, messages) if messages else {}
    if not files:
        return set()
    pushes = await fetch_all(
        connection,
        """SELECT id, key, ticket_id, helpdesk_id, interaction_id, state, change_key, payload FROM push
           WHERE interaction_id = ANY(:ids) AND kind = 'comment' AND state <> 'dropped' ORDER BY id FOR UPDATE""",
        ids=sorted(files),
    )
    wakes: set[str] = set()
    ready: list[dict[str, Any]] = []
    late: dict[str, dict[str, Any]] = {}
    for push in pushes:
        known = files[push["interaction_id"]]
        given = [known.get(ref_of(file) or "") for file in push["payload"].get("attachments") or ()]
        if push["state"] == "pending" and push["change_key"] is None:
            copies = [_described(row) if row else file for row, file in _paired(given, push)]
            settled = all(row is None or row["state"] != "pending" for row in given)
            ready.append({"id": push["id"], "attachments": copies, "settled": settled})
            wakes |= {f"push:{push['helpdesk_id']}"} if settled else set()
            continue
        for row, file in _paired(given, push):
            if row is not None and row["state"] == "stored" and file.get("sha256") is None:
                late[f"a:{row['id']}"] = _late(push, row, now)
                wakes.add(f"push:{push['helpdesk_id']}")
    await execute_rows(
        connection,
        """UPDATE push p SET payload = jsonb_set(p.payload, '{attachments}', g.attachments),
               due_at = CASE WHEN g.settled THEN LEAST(p.due_at, :now) ELSE p.due_at END
           FROM jsonb_to_recordset(CAST(:rows AS jsonb)) AS g (id bigint, attachments jsonb, settled boolean)
           WHERE p.id = g.id""",
        ready,
        now=now,
    )
    await insert_rows(connection, "push", [late[key] for key in sorted(late)], tail="ON CONFLICT (key) DO NOTHING")
    return wakes


async def _files(connection: AsyncConnection, owners: Sequence[UUID]) -> dict[UUID, dict[str, Mapping[str, Any]]]:
    """Each owner's files by their refs, locked against settling until the caller's commit."""
    files: dict[UUID, dict[str, Mapping[str, Any]]] = defaultdict(dict)
    for row in await fetch_all(
        connection,
        """SELECT id, owner_id, ref, data, state, sha256, size, media_type, name, reason FROM attachment
           WHERE owner_id = ANY(:ids) ORDER BY owner_id, position, id FOR SHARE""",
        ids=list(owners),
    ):
        files[row["owner_id"]][row["ref"]] = row
    return dict(files)


def _paired(
    rows: Sequence[Mapping[str, Any] | None], push: Mapping[str, Any]
) -> list[tuple[Mapping[str, Any] | None, Mapping[str, Any]]]:
    return list(zip(rows, push["payload"].get("attachments") or (), strict=True))


def _described(row: Mapping[str, Any]) -> dict[str, Any]:
    """An attachment with what its copy is known to be."""
    known = {name: row[name] for name in ("sha256", "size", "media_type", "name") if row[name] is not None}
    return {**row["data"], **known}


def _late(push: Mapping[str, Any], row: Mapping[str, Any], now: datetime) -> dict[str, Any]:
    return {
        "key": f"a:{row['id']}",
        "ticket_id": push["ticket_id"],
        "helpdesk_id": push["helpdesk_id"],
        "kind": "note",
        "lane": 1,
        "payload": {
            "text": wording.late_file(push["payload"].get("url")),
            "author": None,
            "public": False,
            "at": now,
            "url": None,
            "attachments": [_described(row)],
        },
        "state": "pending",
        "epoch": 0,
        "tries": 0,
        "due_at": now,
        "at": now,
        "created_at": now,
    }


async def attach_due(runtime: Runtime, sandbox: Sandbox, endpoint: Endpoint, held: Held) -> bool:
    """Copy what is due of one connection. Returns whether there may be more."""
    now = runtime.now()
    async with runtime.database.read() as connection:
        due = await fetch_all(
            connection,
            """SELECT id, owner, owner_id, data, tries FROM attachment
               WHERE connection_id = :connection AND state = 'pending' AND due_at <= :now
               ORDER BY due_at, id LIMIT :limit""",
            connection=endpoint.id,
            now=now,
            limit=BATCH,
        )
    if not due:
        return False
    settled = await asyncio.gather(*(_copy(runtime, sandbox, endpoint, row) for row in due))
    wakes = await _record(runtime, endpoint, held, settled)
    await runtime.wake(wakes)
    return len(due) == BATCH


@dataclass(frozen=True)
class Copied:
    """How one try to copy a file ended."""

    row: Mapping[str, Any]
    milliseconds: int
    sha256: str | None = None
    size: int | None = None
    media_type: str | None = None
    name: str | None = None
    trouble: Trouble | None = None


async def _copy(runtime: Runtime, sandbox: Sandbox, endpoint: Endpoint, row: Mapping[str, Any]) -> Copied:
    started = time.monotonic()
    file = Attachment.model_validate(row["data"])
    try:
        plugin = runtime.connections.instance(endpoint, outgoing=runtime.outgoing)
        if plugin.setup.media is None and plugin.setup.sockets is None:
            raise Rejected("this connection names no host that files may be fetched from", code="no_media_hosts")
        if file.size is not None and file.size > runtime.settings.file_limit:
            raise Rejected(f"{file.size} bytes; at most {runtime.settings.file_limit} are copied", code="too_large")
        async with asyncio.timeout(SECONDS):
            got = await plugin.download(file)
        body, media_type = got.body, got.media_type or file.media_type
        if row["owner"] == "reply":
            body, media_type = await sandbox.clean_picture(body)
        sha256 = await runtime.files.write(body)
    except Exception as error:  # recorded on the file's own row
        return Copied(row, _since(started), trouble=trouble_of(error))
    return Copied(row, _since(started), sha256, len(body), media_type, got.name or file.name)


def _since(started: float) -> int:
    return int((time.monotonic() - started) * 1000)


async def _record(runtime: Runtime, endpoint: Endpoint, held: Held, settled: Sequence[Copied]) -> set[str]:
    now = runtime.now()
    async with runtime.database.write() as connection:
        await held.check(connection)
        await execute_rows(
            connection,
            """UPDATE attachment a SET state = g.state, sha256 = g.sha256, size = g.size, media_type = g.media_type,
                   name = g.name, reason = g.reason, tries = a.tries + 1, due_at = g.due_at,
                   settled_at = CASE WHEN g.state <> 'pending' THEN CAST(:now AS timestamptz) END
               FROM jsonb_to_recordset(CAST(:rows AS jsonb)) AS g (id uuid, state text, sha256 text, size int,
                   media_type text, name text, reason text, due_at timestamptz)
               WHERE a.id = g.id AND a.state = 'pending'""",
            sorted((_outcome(one, now) for one in settled), key=lambda one: str(one["id"])),
            now=now,
        )
        for one in settled:
            # a file that cannot be had is the file's matter; a refused token is the connection's
            if one.trouble is not None and one.trouble.kind == "reauthorise":
                await note_trouble(connection, endpoint, one.trouble, now)
            await note_attempt(
                connection, endpoint.id, "attach", str(one.row["id"]), one.trouble, now, one.milliseconds
            )
        messages = {one.row["owner_id"] for one in settled if one.row["owner"] == "interaction"}
        replies = {one.row["owner_id"] for one in settled if one.row["owner"] == "reply"}
        wakes = await join_files(connection, sorted(messages), now)
        return wakes | await _join_replies(connection, sorted(replies), now)


def _outcome(one: Copied, now: datetime) -> dict[str, Any]:
    tries = one.row["tries"] + 1
    state, due = "stored", now
    if one.trouble is not None:
        again = one.trouble.kind in ("retry", "reauthorise", "unknown") and tries < GIVE_UP_AFTER
        state = "pending" if again else "refused" if one.trouble.kind == "rejected" else "failed"
        due = now + one.trouble.delay(tries) if again else now
    return {
        "id": one.row["id"],
        "state": state,
        "sha256": one.sha256,
        "size": one.size,
        "media_type": one.media_type,
        "name": one.name,
        "reason": one.trouble.reason if one.trouble else None,
        "due_at": due,
    }


async def _join_replies(connection: AsyncConnection, replies: Sequence[UUID], now: datetime) -> set[str]:
    """A reply whose files have all been seen to is decided on."""
    files = await _files(connection, replies)
    ready = [
        {"id": id, "files": [{**_described(row), "reason": row["reason"]} for row in rows.values()]}
        for id, rows in sorted(files.items())
        if all(row["state"] != "pending" for row in rows.values())
    ]
    rows = await fetch_all(
        connection,
        """UPDATE reply r SET attachments = jsonb_set(r.attachments, '{files}', g.files), due_at = LEAST(r.due_at, :now)
           FROM jsonb_to_recordset(CAST(:rows AS jsonb)) AS g (id uuid, files jsonb)
           WHERE r.id = g.id AND r.state = 'received' RETURNING r.connection_id""",
        rows=as_json(ready),
        now=now,
    )
    return {f"reply:{row['connection_id']}" for row in rows}


def patience(files: Sequence[Any], seconds: float) -> timedelta:
    """How long something may wait for its files: not at all without any."""
    return timedelta(seconds=seconds) if any(ref_of(file) for file in files) else timedelta()
