"""The bases of what the REST API takes and gives."""

from __future__ import annotations

import re
from datetime import UTC, datetime
from typing import Annotated, Any, Generic, TypeVar

from pydantic import (
    AfterValidator,
    AwareDatetime,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    StringConstraints,
    model_validator,
)
from pydantic_core import PydanticCustomError

DEEPEST = 32
"""How deeply a body may be nested."""


def storable(value: Any) -> Any:
    """The same JSON value. Raises where it holds what no database text can: a NUL, half an emoji, endless nesting."""
    pending: list[tuple[tuple[str | int, ...], Any]] = [((), value)]
    while pending:
        path, one = pending.pop()
        if isinstance(one, str):
            if "\x00" in one or _has_surrogate(one):
                raise PydanticCustomError(
                    "not_text", "holds a NUL or half a character (a lone surrogate)", {"path": path}
                )
        elif isinstance(one, dict | list):
            if len(path) >= DEEPEST:
                raise PydanticCustomError("too_deep", f"is nested more than {DEEPEST} levels deep", {"path": path[:1]})
            members = one.items() if isinstance(one, dict) else enumerate(one)
            for key, member in members:
                pending.append(((*path, key), member))
                if isinstance(key, str):
                    pending.append(((*path, "(a name)"), key))
    return value


def _has_surrogate(text: str) -> bool:
    if text.isascii():
        return False
    try:
        text.encode("utf-8")
    except UnicodeEncodeError:
        return True
    return False


class Input(BaseModel):
    """A request's body. Names it does not know are refused, so that a misspelt one does not go unnoticed."""

    model_config = ConfigDict(extra="forbid", use_attribute_docstrings=True)

    @model_validator(mode="before")
    @classmethod
    def _storable(cls, value: Any) -> Any:
        return storable(value)


class Answer(BaseModel):
    """A part of a response."""

    model_config = ConfigDict(use_attribute_docstrings=True)


T = TypeVar("T")


class Page(BaseModel, Generic[T]):
    """One page of a list."""

    # not by its docstring: pydantic would look for the source of each `Page[…]`, in vain, for seconds at each start
    items: list[T]
    next: str | None = Field(description="Give it as `cursor` to get the next page; null on the last one.")


Name = Annotated[str, StringConstraints(strip_whitespace=True, min_length=1, max_length=200)]
Reason = Annotated[str, StringConstraints(strip_whitespace=True, min_length=1, max_length=2000)]
Reference = Annotated[str, StringConstraints(strip_whitespace=True, min_length=1, max_length=200)]
"""An id or a unique name."""


def _plus(value: Any) -> Any:
    # the plus sign of an offset is a space in a query string that was not encoded
    return re.sub(r" (\d\d:?\d\d)$", r"+\1", value) if isinstance(value, str) else value


def _reckonable(value: datetime) -> datetime:
    if not EARLIEST <= value <= LATEST:
        raise PydanticCustomError("out_of_calendar", f"must lie between the years {EARLIEST.year} and {LATEST.year}")
    return value


EARLIEST, LATEST = datetime(1000, 1, 1, tzinfo=UTC), datetime(9000, 1, 1, tzinfo=UTC)
"""Beyond the calendar's ends lies what can be stored and never read again; before them there must be room for spans."""
Instant = Annotated[AwareDatetime, AfterValidator(_reckonable)]
"""A point in time in a body."""
Since = Annotated[Instant, BeforeValidator(_plus)]
"""A point in time in a query string."""
