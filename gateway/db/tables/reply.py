"""Replies: answers agents want published, from the helpdesk's comment to the post at the source."""

from __future__ import annotations

from typing import Any

from sqlalchemy import BigInteger, Index, UniqueConstraint
from sqlalchemy import text as sql
from sqlalchemy.dialects.postgresql import JSONB
from sqlmodel import Field, SQLModel

from gateway.db.tables.columns import (
    UUID,
    Json,
    datetime,
    document,
    identifier,
    maybe_document,
    maybe_string,
    maybe_timestamp,
    string,
    strings,
    timestamp,
)


def new_reply(*, id: UUID, due_at: datetime, now: datetime, **given: Any) -> dict[str, Any]:
    """The row of a reply that nothing has become of yet: everything that must be there, and what is given besides.

    `given` names at least `ticket_id`, `connection_id`, `author_id`, `origin`, `text` and `not_after`.
    """
    row = {
        "id": id,
        "state": "received",
        "attachments": {},
        "bands": [],
        "key": f"reply:{id}",
        "epoch": 0,
        "tries": 0,
        "due_at": due_at,
        "written_at": due_at,
        "created_at": now,
        "updated_at": now,
    }
    return row | given


OPEN_STATES = ("received", "queued", "sending", "unknown", "retracting")


class Reply(SQLModel, table=True):
    """An answer with its target, its rendered form, its verdict and the truth about its sending.

    `received` → decided: `queued`, `held` or `blocked` → `sending` → `sent`, `failed` or `unknown`; a person or a newer
    state of things makes it `cancelled`, and a published one that was taken back is `retracted`, by way of `retracting`
    where the agent asked for it in the helpdesk. `sending` is committed with a deadline before the call; after the
    deadline only `find` may say what became of it.
    """

    __table_args__ = (
        UniqueConstraint("helpdesk_id", "comment_id"),
        Index("reply_open", "connection_id", "due_at", postgresql_where=sql(f"state IN {OPEN_STATES}")),
        Index("reply_newest", "created_at"),
        Index("reply_of_ticket", "ticket_id", "created_at"),
        Index("reply_held", "connection_id", "id", postgresql_where=sql("state = 'held'")),
        Index("reply_blocked", "connection_id", postgresql_where=sql("state = 'blocked'")),
        Index("reply_failed", "id", postgresql_where=sql("state = 'failed'")),
        Index("reply_redrive", "redrive_at", postgresql_where=sql("redrive_at IS NOT NULL")),
        Index("reply_hold_ends", "hold_until", postgresql_where=sql("state = 'held' AND hold_until IS NOT NULL")),
        Index("reply_sent_as", "connection_id", "external_id", postgresql_where=sql("external_id IS NOT NULL")),
        Index("reply_answering", "interaction_id", postgresql_where=sql("interaction_id IS NOT NULL")),
        Index("reply_amending", "amends", postgresql_where=sql("amends IS NOT NULL")),
        Index("reply_alike", "bands", postgresql_using="gin"),
        Index("reply_grouped", "group_id", postgresql_where=sql("group_id IS NOT NULL")),
    )

    id: UUID = identifier()
    ticket_id: UUID = Field(foreign_key="ticket.id")
    connection_id: UUID = Field(foreign_key="connection.id")
    """The source connection that sends."""
    helpdesk_id: UUID | None = Field(default=None, foreign_key="connection.id")
    comment_id: str | None = maybe_string()
    """The helpdesk's comment; None for a reply made over REST."""
    comment_revision: str | None = maybe_string()
    author_id: str = string()
    author_name: str | None = maybe_string()
    author_email: str | None = maybe_string()
    editors: list[Any] | None = Field(default=None, sa_type=JSONB)
    """Who else changed its text at the helpdesk: `{id, email}` each. A second person is none of them."""
    origin: str = string("composer")
    """How it was written: the helpdesk's `AnswerOrigin`, `rest`, or `policy`."""
    text: str = string()
    html: str | None = maybe_string()
    attachments: Json = document()
    leg: str | None = maybe_string()
    """The agent's explicit choice; None: the default rule chose."""
    visibility: str | None = maybe_string()
    interaction_id: UUID | None = Field(default=None, foreign_key="interaction.id")
    """What is answered."""
    rendered: Json | None = maybe_document()
    digest: str | None = maybe_string()
    state: str = string("received")
    code: str | None = maybe_string()
    reason: str | None = maybe_string()
    decided_on: Json | None = maybe_document()
    """What the verdict rests on: policy set, revision of the target, newest message of the customer. Anything newer
    means deciding again."""
    findings: list[Any] | None = Field(default=None, sa_type=JSONB)
    """What keeps it from going out, as decided last; an approval waives these by name."""
    approved_digest: str | None = maybe_string()
    approved_by: str | None = maybe_string()
    hold_until: datetime | None = maybe_timestamp()
    """When a held reply that nobody looked at meets `on_timeout`."""
    on_timeout: str | None = maybe_string()
    """`escalate`, `reject` or `allow`."""
    effects_at: datetime | None = maybe_timestamp()
    """When what the policies wanted done on its publication was done."""
    approved_at: datetime | None = maybe_timestamp()
    waived: list[Any] | None = Field(default=None, sa_type=JSONB)
    """The findings that the approval passes over, each with what it rested on. Anything else holds anew."""
    group_id: UUID | None = None
    """The `reply_group` of near-identical answers that it waits with."""
    bands: list[str] = strings()
    """Hashes of which near-identical texts share one."""
    amends: UUID | None = Field(default=None, foreign_key="reply.id")
    """The published answer whose text it changes."""
    retract_by: str | None = maybe_string()
    """Who took it back at the helpdesk when it was out, or about to be."""
    key: str = string(unique=True)
    epoch: int = Field(default=0, sa_type=BigInteger)
    deadline_at: datetime | None = maybe_timestamp()
    started_at: datetime | None = maybe_timestamp()
    tries: int = 0
    redrive_at: datetime | None = maybe_timestamp()
    """Of a failed one: when it is decided on and sent again."""
    doubt: str | None = maybe_string()
    """After a restore: `asking` whether it is out already, then `settled`. See `gateway.restored`."""
    due_at: datetime = timestamp()
    not_after: datetime = timestamp()
    external_id: str | None = maybe_string()
    url: str | None = maybe_string()
    sent_at: datetime | None = maybe_timestamp()
    written_at: datetime = timestamp()
    """When the agent wrote it, by the helpdesk's clock."""
    written_on: UUID | None = None
    """The ticket at which it was written, where a person merged that into another one: it answers what was said on
    it."""
    created_at: datetime = timestamp()
    updated_at: datetime = timestamp()


class ReplyGroup(SQLModel, table=True):
    """Near-identical answers to many customers, which wait for one person's word and then go out one after another."""

    __tablename__ = "reply_group"

    id: UUID = identifier()
    state: str = string("held")
    """`held`, `approved` or `rejected`."""
    sample: str = string()
    """The text of the answer that was one too many."""
    words: list[str] = strings()
    """Names of the exact texts that were approved; a later answer with one of them goes out with the group."""
    opened_at: datetime = timestamp()
    last_at: datetime = timestamp()
    """When an answer joined last: a group takes no more after a while."""
    decided_at: datetime | None = maybe_timestamp()
    decided_by: str | None = maybe_string()
    reason: str | None = maybe_string()
    next_at: datetime | None = maybe_timestamp()
    """When the next of its answers may go out."""


class OutboundPause(SQLModel, table=True):
    """A stop for everything outbound in a scope, until lifted."""

    __tablename__ = "outbound_pause"

    __table_args__ = (
        Index("pause_in_force", "scope", "scope_id", unique=True, postgresql_where=sql("lifted_at IS NULL")),
    )

    id: UUID = identifier()
    scope: str = string()
    """`all`, `brand`, `source`, `connection`, `incident` or `tag`."""
    scope_id: str = string("")
    reason: str | None = maybe_string()
    paused_by: str = string()
    since: datetime = timestamp()
    lifted_at: datetime | None = maybe_timestamp()
    lifted_by: str | None = maybe_string()
    released: str | None = maybe_string()
    """What went on when it was lifted: `none`, `approved` or `all`."""
