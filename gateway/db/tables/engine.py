"""Leases: who works on what, until when."""

from __future__ import annotations

from sqlalchemy import BigInteger
from sqlmodel import Field, SQLModel

from gateway.db.tables.columns import TIMESTAMP, datetime, string


class Lease(SQLModel, table=True):
    """The right to work on one shard or lane. Every write of its holder checks that the epoch is still its own."""

    name: str = string(primary_key=True)
    owner: str = string()
    epoch: int = Field(default=0, sa_type=BigInteger)
    until: datetime = Field(sa_type=TIMESTAMP)
    again: bool = False
    """Somebody wanted it while it was held: the holder looks for work once more after giving it back."""
