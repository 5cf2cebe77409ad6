"""The audit log: who changed what, and a head to keep elsewhere."""

from __future__ import annotations

import json
from datetime import datetime
from typing import Annotated, Any, Literal

from fastapi import APIRouter, Query

from gateway.api.deps import ReadsAudit, RuntimeDep
from gateway.api.models import Answer, Page, Since
from gateway.api.paging import Filters, PagingDep, list_page
from gateway.api.routes import ApiRoute
from gateway.db.database import Row
from gateway.security.audit.entries import COLUMNS
from gateway.security.audit.log import read_head

router = APIRouter(prefix="/audit", tags=["audit"], route_class=ApiRoute)

Actor = Literal["key", "subject", "agent", "command_line", "gateway"]


class ChangeView(Answer):
    """One thing that was changed."""

    kind: str
    id: str
    before: dict[str, Any] | None
    """Values as they were, of what was changed; null for a new thing. `{"fingerprint": …}` stands for a secret, for
    what customers or agents wrote, and for very long values: equal values have equal fingerprints."""
    after: dict[str, Any] | None
    """The same as it is since; null for one that is gone."""


class AuditEntryView(Answer):
    """One administrative change or override."""

    seq: int
    """From 1, without gaps."""
    at: datetime
    actor_kind: Actor
    """`key`: over REST; `agent`: in a helpdesk; `command_line`: with a shell on the gateway's machine; `gateway`: the
    gateway itself."""
    actor_id: str | None
    """The key's id; an agent's helpdesk connection and id there."""
    actor_name: str
    key_prefix: str | None
    address: str | None
    """Where the request came from."""
    trace_id: str | None
    """Of the request: the answer's `Trace-Id`, and in the lines that it logged."""
    action: str
    """The route's `operationId`, or what was done elsewhere."""
    things: list[str]
    """What was changed, as `kind:id`; the first is what it was about."""
    rows: int
    """How many things were changed; more than 1000 are not all in `changes`."""
    changes: list[ChangeView] | None
    """null: taken away when a person's data was erased, which another entry tells of."""
    key_version: int
    previous: str
    """The digest of the entry before, in hexadecimal digits."""
    digest: str


class AuditHead(Answer):
    """How far the log goes. Kept elsewhere, it proves later that nothing up to there was changed or cut off."""

    seq: int
    digest: str
    at: datetime | None
    line: str
    """The same in one line, as `gateway audit verify --head` reads it."""


@router.get("")
async def list_audit_entries(
    runtime: RuntimeDep,
    _: ReadsAudit,
    paging: PagingDep,
    actor: Annotated[str | None, Query(description="A key's id or prefix, or an agent's id.")] = None,
    actor_kind: Actor | None = None,
    thing: Annotated[str | None, Query(description="`kind:id`, for example `policy:0190…`.")] = None,
    kind: Annotated[str | None, Query(description="Entries about things of this kind first of all.")] = None,
    action: Annotated[str | None, Query(description="An `operationId`.")] = None,
    since: Since | None = None,
    until: Since | None = None,
) -> Page[AuditEntryView]:
    """Entries, newest first."""
    filters = Filters()
    filters.add("(actor_id = :actor OR key_prefix = :actor)", actor=actor)
    filters.add("actor_kind = :actor_kind", actor_kind=actor_kind)
    filters.add("things @> ARRAY[CAST(:thing AS text)]", thing=thing)
    filters.add("split_part(things[1], ':', 1) = :kind", kind=kind)
    filters.add("action = :action", action=action)
    filters.add("at >= :since", since=since)
    filters.add("at < :until", until=until)
    async with runtime.database.read() as database:
        rows, following = await list_page(
            database, f"SELECT {COLUMNS} FROM audit_entry", filters, paging, id="seq", kind=int
        )
    return Page(items=[_view(row) for row in rows], next=following)


@router.get("/head")
async def read_audit_head(runtime: RuntimeDep, _: ReadsAudit) -> AuditHead:
    """The newest entry's number and digest, to be kept where nobody who could change the database can change it."""
    async with runtime.database.read() as database:
        head = await read_head(database)
    return AuditHead(seq=head.seq, digest=head.digest.hex(), at=head.at, line=head.line())


def _view(row: Row) -> AuditEntryView:
    plain = {name: row[name] for name in AuditEntryView.model_fields}
    changes = json.loads(row["changes"]) if row["changes"] is not None else None
    hexadecimal = {name: bytes(row[name]).hex() for name in ("previous", "digest")}
    return AuditEntryView(**{**plain, **hexadecimal, "changes": changes})
