"""Interactions: what was said at the sources, with its revisions."""

from __future__ import annotations

from datetime import datetime
from typing import Any, Literal
from uuid import UUID

from fastapi import APIRouter

from gateway.api.deps import ReadsTickets, RuntimeDep
from gateway.api.models import Answer, Page, Since
from gateway.api.paging import Filters, PagingDep, list_page
from gateway.api.problems import not_found
from gateway.api.routes import ApiRoute
from gateway.db.database import fetch_all, fetch_one

router = APIRouter(prefix="/interactions", tags=["conversations"], route_class=ApiRoute)

SELECT = """
SELECT i.id, i.external_id, i.connection_id, i.ticket_id, i.reply_id, i.kind, i.visibility, i.direction,
    i.addressed, i.text,
       i.in_reply_to, i.url, i.published_at, i.deleted_at, i.revisions, i.origin,
       jsonb_build_object('external_id', a.external_id, 'handle', a.handle, 'name', a.name) AS author
FROM interaction i JOIN account a ON a.id = i.account_id
"""


class AuthorView(Answer):
    """Who wrote it."""

    external_id: str
    """The source's id of the account; handles and names change."""
    handle: str | None
    name: str | None


class InteractionView(Answer):
    """One post, comment, review or message, at its newest revision."""

    id: UUID
    external_id: str
    """The source's id."""
    connection_id: UUID
    ticket_id: UUID | None
    reply_id: UUID | None
    """The reply of ours that this is the published form of."""
    kind: str
    visibility: str
    direction: str
    addressed: bool
    """False for context: a post that does not speak to the brand."""
    text: str
    in_reply_to: str | None
    url: str | None
    author: AuthorView
    published_at: datetime
    deleted_at: datetime | None
    revisions: int
    origin: str
    """How it arrived first: `webhook`, `poll`, `fetch` or `listen`."""


class RevisionView(Answer):
    """One change of an interaction, as the source told it."""

    change: str
    """`created`, `edited` or `deleted`."""
    at: datetime
    text: str | None
    state: str
    """`waiting` for an ancestor, `pending`, `done` or `failed`."""
    reason: str | None
    delivery_id: int | None
    """The delivery that told of it."""


class AttachmentView(Answer):
    """One file of it, and the gateway's copy."""

    state: str
    """`pending`, `stored`, `refused` or `failed`."""
    reason: str | None
    """Why there is no copy."""
    sha256: str | None
    """Of the copy; read it at `/v1/files/{sha256}`."""
    media_type: str | None
    name: str | None
    size: int | None
    url: str | None
    """Where the source keeps it."""


class InteractionDetail(InteractionView):
    """One interaction with everything known of it."""

    data: dict[str, Any]
    """As normalised: rating, subject, attachments, mentions and the rest of the vocabulary."""
    history: list[RevisionView]
    attachments: list[AttachmentView]


@router.get("")
async def list_interactions(
    runtime: RuntimeDep,
    _: ReadsTickets,
    paging: PagingDep,
    connection: UUID | None = None,
    ticket: UUID | None = None,
    direction: Literal["inbound", "outbound"] | None = None,
    kind: Literal["post", "comment", "review", "direct_message"] | None = None,
    since: Since | None = None,
    until: Since | None = None,
) -> Page[InteractionView]:
    """Interactions, the last recorded first."""
    filters = Filters()
    filters.add("i.connection_id = :connection", connection=connection)
    filters.add("i.ticket_id = :ticket", ticket=ticket)
    filters.add("i.direction = :direction", direction=direction)
    filters.add("i.kind = :kind", kind=kind)
    filters.add("i.published_at >= :since", since=since)
    filters.add("i.published_at < :until", until=until)
    async with runtime.database.read() as database:
        rows, following = await list_page(database, SELECT, filters, paging, id="i.id")
    return Page(items=[InteractionView(**row) for row in rows], next=following)


@router.get("/{interaction_id}")
async def read_interaction(runtime: RuntimeDep, _: ReadsTickets, interaction_id: UUID) -> InteractionDetail:
    """One interaction with its revisions."""
    async with runtime.database.read() as database:
        row = await fetch_one(
            database, SELECT.replace("i.origin,", "i.origin, i.data,") + "WHERE i.id = :id", id=interaction_id
        )
        if row is None:
            raise not_found("interaction", interaction_id)
        revisions = await fetch_all(
            database,
            """SELECT change, at, data ->> 'text' AS text, state, reason, delivery_id FROM revision
               WHERE interaction_id = :id ORDER BY at, id""",
            id=interaction_id,
        )
        files = await fetch_all(
            database,
            """SELECT state, reason, sha256, media_type, name, size, data ->> 'url' AS url FROM attachment
               WHERE owner_id = :id ORDER BY position, id""",
            id=interaction_id,
        )
    return InteractionDetail(
        **row,
        history=[RevisionView(**one) for one in revisions],
        attachments=[AttachmentView(**one) for one in files],
    )
