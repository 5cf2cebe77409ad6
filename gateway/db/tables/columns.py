"""Column types that the tables share."""

from __future__ import annotations

from datetime import datetime
from typing import Any
from uuid import UUID

import uuid_utils.compat
from sqlalchemy import ARRAY, BigInteger, DateTime, LargeBinary, SmallInteger, Text
from sqlalchemy import text as sql
from sqlalchemy.dialects.postgresql import JSONB
from sqlmodel import Field

Json = dict[str, Any]

TIMESTAMP = DateTime(timezone=True)
TEXT_ARRAY = ARRAY(Text)


def new_id() -> UUID:
    """A time-ordered identifier (UUID version 7), so that new rows land side by side in an index."""
    return uuid_utils.compat.uuid7()


def identifier() -> Any:
    """A primary key made by us."""
    return Field(default_factory=new_id, primary_key=True)


def serial() -> Any:
    """A primary key counted by the database: the order of arrival in a queue."""
    return Field(default=None, primary_key=True, sa_type=BigInteger)


def timestamp(*, index: bool = False) -> Any:
    """A required point in time."""
    return Field(sa_type=TIMESTAMP, index=index)


def maybe_timestamp() -> Any:
    """A point in time that may not be known or have come yet."""
    return Field(default=None, sa_type=TIMESTAMP, nullable=True)


def string(default: str | None = None, **options: Any) -> Any:
    """Text without a length limit."""
    if default is None and "nullable" not in options:
        return Field(sa_type=Text, **options)
    return Field(default=default, sa_type=Text, **options)


def maybe_string(**options: Any) -> Any:
    """Text that may be absent."""
    return Field(default=None, sa_type=Text, nullable=True, **options)


def document(*, default: str | None = None) -> Any:
    """A JSON document, empty by default; with `default` also where a statement does not name the column."""
    options = {"server_default": sql(f"'{default}'")} if default is not None else {}
    return Field(default_factory=dict, sa_type=JSONB, nullable=False, sa_column_kwargs=options)


def maybe_document() -> Any:
    """A JSON document or nothing."""
    return Field(default=None, sa_type=JSONB, nullable=True)


def strings(*, default: str | None = None) -> Any:
    """A list of words; with `default` also where a statement does not name the column."""
    options = {"server_default": sql(f"'{default}'")} if default is not None else {}
    return Field(default_factory=list, sa_type=TEXT_ARRAY, nullable=False, sa_column_kwargs=options)


def raw(*, nullable: bool = False) -> Any:
    """Bytes exactly as received. Text columns cannot hold the NUL that a hostile header or body may contain."""
    return Field(default=None if nullable else b"", sa_type=LargeBinary, nullable=nullable)


def sealed(context: str, *, nullable: bool = True) -> Any:
    """What the vault sealed, bound to its row by `context`, in which `{id}` stands for the column of that name.

    The rotation of the secret key finds these columns by their declaration.
    """
    options = {"info": {"sealed": context}}
    return Field(default=None, sa_type=LargeBinary, nullable=nullable, sa_column_kwargs=options)


def small(default: int = 0, **options: Any) -> Any:
    """A small whole number."""
    return Field(default=default, sa_type=SmallInteger, **options)


__all__ = [
    "TEXT_ARRAY",
    "TIMESTAMP",
    "UUID",
    "Json",
    "datetime",
    "document",
    "identifier",
    "maybe_document",
    "maybe_string",
    "maybe_timestamp",
    "new_id",
    "raw",
    "sealed",
    "serial",
    "small",
    "string",
    "strings",
    "timestamp",
]
