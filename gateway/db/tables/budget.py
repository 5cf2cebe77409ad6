"""Rate and cost budgets as all processes share them."""

from __future__ import annotations

from datetime import date
from decimal import Decimal

from sqlalchemy import ARRAY, BigInteger, Integer, Numeric, PrimaryKeyConstraint
from sqlmodel import Field, SQLModel

from gateway.db.tables.columns import datetime, maybe_timestamp, string, timestamp


class Budget(SQLModel, table=True):
    """How much of one budget is spent, and what the provider said of its bucket.

    A row with `per_ms` above 0 counts one window: `counts[i]` requests fell into the sub-window `slots[i]`, whose width
    is a fixed fraction of the window. A request under way stands in the sub-window of its deadline, because it may
    reach the provider until then. The row with `per_ms` 0 counts nothing; it holds what answers told of the bucket.
    """

    # half-empty pages keep the many updates of one row on its page, and out of the index
    __table_args__ = (PrimaryKeyConstraint("key", "bucket", "scope", "per_ms"), {"postgresql_with": {"fillfactor": 50}})

    key: str = string()
    """`app:<id>`, or `connection:<id>` where there is no App."""
    bucket: str = string()
    scope: str = string("")
    per_ms: int = Field(sa_type=BigInteger)
    slots: list[int] = Field(default_factory=list, sa_type=ARRAY(BigInteger), nullable=False)
    counts: list[int] = Field(default_factory=list, sa_type=ARRAY(Integer), nullable=False)
    blocked_until: datetime | None = maybe_timestamp()
    """The provider asked everybody to wait until then (429 or 503 with Retry-After)."""
    remaining: int | None = None
    """Requests the provider lets through until `remaining_until`, less those we have sent since it said so."""
    remaining_until: datetime | None = maybe_timestamp()
    version: int = Field(default=0, sa_type=BigInteger)
    expires_at: datetime = timestamp()
    """From then on the row says nothing any more and may be deleted."""


class BudgetCost(SQLModel, table=True):
    """What the priced requests of one day (UTC) cost, in US dollars."""

    __tablename__ = "budget_cost"

    __table_args__ = (PrimaryKeyConstraint("key", "day"),)

    key: str = string()
    day: date
    usd: Decimal = Field(default=Decimal(0), sa_type=Numeric(16, 6))
    calls: int = Field(default=0, sa_type=BigInteger)
