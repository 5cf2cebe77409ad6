"""Lists: filters, and a cursor that stays right while rows are added."""

from __future__ import annotations

import base64
import binascii
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Annotated, Any
from uuid import UUID

from fastapi import Depends, Query
from sqlalchemy.ext.asyncio import AsyncConnection

from gateway.api.problems import invalid
from gateway.db.database import Row, fetch_all

MOST = 200


@dataclass(frozen=True)
class Paging:
    """Which page is asked for."""

    limit: int
    cursor: str | None


async def paging(
    limit: Annotated[int, Query(ge=1, le=MOST, description="How many at most.")] = 50,
    cursor: Annotated[
        str | None, Query(max_length=100, description="`next` of the page before; filters stay the same.")
    ] = None,
) -> Paging:
    """Read `limit` and `cursor` from the query."""
    return Paging(limit, cursor)


PagingDep = Annotated[Paging, Depends(paging)]


@dataclass
class Filters:
    """The conditions of a list. An absent value is no condition."""

    conditions: list[str] = field(default_factory=list)
    values: dict[str, Any] = field(default_factory=dict)

    def add(self, condition: str, **values: Any) -> None:
        """Add a condition with its parameters, unless one of them is None."""
        if any(value is None for value in values.values()):
            return
        self.conditions.append(condition)
        self.values.update(values)


async def list_page(
    connection: AsyncConnection,
    select: str,
    filters: Filters,
    paging: Paging,
    *,
    id: str = "id",
    kind: Callable[[str], UUID | int] = UUID,
    newest_first: bool = True,
) -> tuple[list[Row], str | None]:
    """Rows of one page and the cursor of the next. `id` is the column that orders: ids are given in order of time."""
    conditions = list(filters.conditions)
    values = dict(filters.values)
    if paging.cursor is not None:
        conditions.append(f"{id} {'<' if newest_first else '>'} :cursor")
        values["cursor"] = _decode(paging.cursor, kind)
    where = f" WHERE {' AND '.join(conditions)}" if conditions else ""
    order = f" ORDER BY {id} {'DESC' if newest_first else 'ASC'} LIMIT :limit"
    rows = await fetch_all(connection, select + where + order, **values, limit=paging.limit + 1)
    more = len(rows) > paging.limit
    rows = rows[: paging.limit]
    return rows, _encode(rows[-1][id.rpartition(".")[2]]) if more else None


def _encode(id: UUID | int) -> str:
    return base64.urlsafe_b64encode(str(id).encode()).decode().rstrip("=")


def _decode(cursor: str, kind: Callable[[str], UUID | int]) -> UUID | int:
    try:
        padded = cursor + "=" * (-len(cursor) % 4)
        found = kind(base64.b64decode(padded, altchars=b"-_", validate=True).decode("ascii"))
        if isinstance(found, int) and not 0 <= found < 2**63:
            raise ValueError(cursor)
    except (ValueError, binascii.Error) as error:
        raise invalid("cursor", "is not one that a list gave", "leave it out to begin anew") from error
    return found
