"""People who asked to be forgotten: the work of forgetting them, and the marks that keep them from coming back."""

from __future__ import annotations

from sqlalchemy import BigInteger, Index, LargeBinary
from sqlalchemy import text as sql
from sqlmodel import Field, SQLModel

from gateway.db.tables.columns import (
    UUID,
    Json,
    datetime,
    document,
    identifier,
    maybe_string,
    maybe_timestamp,
    sealed,
    string,
    timestamp,
)


class Erasure(SQLModel, table=True):
    """One customer's erasure: how far it has come, and afterwards the receipt. Itself it says nothing of the person."""

    __table_args__ = (Index("erasure_open", "due_at", postgresql_where=sql("state <> 'done'")),)

    id: UUID = identifier()
    customer_id: UUID | None = Field(default=None, index=True)
    """None where it was told by another installation's erasure log and this one does not know the person."""
    state: str = string("pending")
    """`pending`, `running` or `done`."""
    step: int = 0
    position: int = Field(default=0, sa_type=BigInteger)
    """Within the step: the last delivery that was looked through."""
    rounds: int = 0
    """How often everything was gone through: what was on its way the first time is found the second."""
    until: datetime = timestamp()
    """What the person published before this never comes back."""
    due_at: datetime = timestamp()
    needles: bytes | None = sealed("erasure:{id}")
    """Sealed: what stored bytes are searched for, kept until the work is done and not longer."""
    counts: Json = document()
    """Rows emptied, removed or cancelled, by table."""
    elsewhere: Json = document()
    """What a person has to see to: tickets at helpdesks, published answers, the company's lists."""
    problem: str | None = maybe_string()
    requested_by: str = string()
    reason: str = string("")
    requested_at: datetime = timestamp()
    finished_at: datetime | None = maybe_timestamp()


class Erased(SQLModel, table=True):
    """A tombstone: the keyed hash of an account or of a thing that it published. Nobody can read a name from it."""

    mark: bytes = Field(sa_type=LargeBinary, primary_key=True)
    kind: str = string()
    """`account` or `item`."""
    erasure_id: UUID = Field(index=True)
    until: datetime = timestamp()
