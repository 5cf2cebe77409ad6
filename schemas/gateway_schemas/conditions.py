"""Conditions in CEL (cel.dev) on what a policy may know: checked when saved, evaluated in the killable process.

A condition reads the fields of the case by name (`interaction.rating.value <= 2 && "vip" in ticket.tags`), and what
the point is about: `interaction` (what came in, the brand's own post, or what a reply answers), `reply`, `change`,
`clock`, and `point` itself. `Condition` is the type of such a parameter in a policy's `Params`.

The interpreter takes misspelt fields without complaint, so an expression is checked here against the case's models: its
fields, its types, its depth. What is absent (an interaction without a rating) is asked after with
`has(interaction.rating)`; a condition that reads it all the same does not hold. `matches` takes a pattern in RE2's
syntax, written out, so that it runs in linear time; `size` counts the members of lists and maps, not letters.
"""

from __future__ import annotations

import importlib.machinery
import importlib.util
import sys
import types
import typing
from collections.abc import Mapping
from datetime import datetime, timedelta
from enum import Enum
from functools import cache, lru_cache, partial
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, BaseModel, Field
from pydantic_core import PydanticCustomError

from gateway_schemas.conditions_check import (
    BOOL,
    DOUBLE,
    DURATION,
    DYN,
    INT,
    STRING,
    TIMESTAMP,
    Checked,
    ConditionError,
    Type,
    check,
    list_of,
    map_of,
    object_of,
)
from gateway_schemas.decision import Case, ClockFacts, Point
from gateway_schemas.interaction import Interaction
from gateway_schemas.policy import Needs
from gateway_schemas.reply import Rendered
from gateway_schemas.ticket import TicketChanged

__all__ = ["Condition", "ConditionError", "checked", "holds", "needs"]

TIMELINE = 50
"""How many earlier messages a condition on the timeline sees."""
WINDOW = timedelta(hours=1)
"""The span of `window`, and of `agent.replies_with_same_text`, in conditions."""
NESTED_MOST = 200
"""How many members a list may have under a condition that looks through lists within lists."""


def _condition(text: str) -> str:
    try:
        checked(text)
    except ConditionError as error:
        raise PydanticCustomError("condition", "{problem}", {"problem": str(error), "at": error.at}) from error
    return text


Condition = Annotated[
    str,
    Field(max_length=4000, examples=['interaction.kind == "review" && interaction.rating.value <= 2']),
    AfterValidator(_condition),
]
"""A CEL expression that is true or false. Validation fails with the place and the mend."""


@lru_cache(maxsize=1024)
def checked(text: str) -> Checked:
    """The expression, checked: what it reads and how deep. Raises ConditionError with the place."""
    found = check(text, names(), _valid_pattern)
    try:
        _cel().compile(text)
    except ValueError as error:
        raise ConditionError("the interpreter cannot read this", 0, text) from error
    return found


def needs(text: str) -> Needs:
    """What of a case the expression reads, so that no more is loaded."""
    found = checked(text)
    return Needs(
        timeline=TIMELINE if "timeline" in found.roots else 0,
        customer="customer" in found.roots,
        clocks="clocks" in found.roots,
        promises="promises" in found.roots,
        incidents="incidents" in found.roots,
        window=WINDOW if "window" in found.roots else None,
        same_text=WINDOW if "agent" in found.roots else None,
        lists=tuple(sorted(found.members.get("lists", ()))),
        facts=tuple(sorted(found.members.get("facts", ()))),
    )


def holds(text: str, point: Point, case: Case, subject: BaseModel | None = None) -> bool:
    """Whether the condition is true of this case. Reading what is absent makes it false.

    Raises ConditionError where the values do not fit (two `facts` of different types, a list of lists too long).
    """
    found = checked(text)
    known = _values(found.roots, point, case, subject)
    if found.nested and any(_longest(value) > NESTED_MOST for value in known.values()):
        raise ConditionError(
            f"a list has more than {NESTED_MOST} members and is looked through within another", 0, text
        )
    try:
        outcome = _program(text).execute(known)
    except KeyError:
        return False
    except RuntimeError as error:
        if _absent(error, found.roots - set(known)):
            return False
        raise _unfit(error, text) from error
    except (TypeError, ValueError, ArithmeticError, IndexError) as error:
        raise _unfit(error, text) from error
    return outcome is True


def _unfit(error: Exception, text: str) -> ConditionError:
    return ConditionError(f"the values do not fit: {str(error).partition('. ')[0]}", 0, text)


def _absent(error: RuntimeError, missing: frozenset[str]) -> bool:
    # a whole part of the case that there is not: the interpreter calls it an undefined variable
    return any(f"'{name}'" in str(error) for name in missing)


def _values(wanted: frozenset[str], point: Point, case: Case, subject: BaseModel | None) -> dict[str, Any]:
    known: dict[str, Any] = {}
    for name in wanted:
        value: Any = point if name == "point" else getattr(case, name, None)
        if subject is not None and SUBJECTS.get(name) is type(subject):
            value = subject
        if value is not None:
            known[name] = _plain(value)
    return known


def _plain(value: Any) -> Any:
    """Without what is absent, so that `has` says so."""
    if isinstance(value, BaseModel):
        return value.model_dump(exclude_none=True)
    if isinstance(value, Mapping):
        return {str(key): _plain(one) for key, one in value.items() if one is not None}
    if isinstance(value, tuple | list):
        return [_plain(one) for one in value]
    return value.value if isinstance(value, Enum) else value


def _longest(value: Any) -> int:
    if isinstance(value, Mapping):
        return max((_longest(one) for one in value.values()), default=0)
    if isinstance(value, tuple | list):
        return max(len(value), *(_longest(one) for one in value), 0)
    return 0


SUBJECTS: dict[str, type[BaseModel]] = {
    "interaction": Interaction,
    "reply": Rendered,
    "change": TicketChanged,
    "clock": ClockFacts,
}


@cache
def names() -> dict[str, Type]:
    """Every name a condition may begin with, and its type."""
    found = {name: _type_of(field.annotation) for name, field in Case.model_fields.items()}
    found |= {name: object_of(model.__name__, partial(_fields, model)) for name, model in SUBJECTS.items()}
    return {**found, "point": STRING}


@cache
def _fields(model: type[BaseModel]) -> dict[str, Type]:
    return {name: _type_of(field.annotation) for name, field in model.model_fields.items()}


SIMPLE: dict[Any, Type] = {
    **{bool: BOOL, int: INT, float: DOUBLE, str: STRING, datetime: TIMESTAMP, timedelta: DURATION, Any: DYN},
}


def _type_of(annotation: Any) -> Type:
    """CEL's type of a field; `dyn` where it may be of several."""
    if annotation in SIMPLE:
        return SIMPLE[annotation]
    origin, arguments = typing.get_origin(annotation), typing.get_args(annotation)
    if origin is Annotated:
        return _type_of(arguments[0])
    if origin is Literal:
        return Type("string", values=tuple(str(one) for one in arguments))
    if origin in (typing.Union, types.UnionType):
        members = {_type_of(one) for one in arguments if one is not type(None)}
        return members.pop() if len(members) == 1 else DYN
    if origin in (tuple, list, frozenset, set):
        return list_of(_type_of(arguments[0]))
    if origin is dict:
        return map_of(_type_of(arguments[1]))
    if isinstance(annotation, type):
        if issubclass(annotation, Enum):
            return Type("string", values=tuple(str(one.value) for one in annotation))
        if issubclass(annotation, datetime):
            return TIMESTAMP
        if issubclass(annotation, BaseModel):
            return object_of(annotation.__name__, partial(_fields, annotation))
    return TIMESTAMP if getattr(annotation, "__name__", "") == "AwareDatetime" else DYN


@lru_cache(maxsize=1024)
def _program(text: str) -> Any:
    return _cel().compile(text)


def _valid_pattern(pattern: str) -> str | None:
    """What is wrong with a regular expression, in a few words; None for a good one."""
    try:
        _cel().compile("text.matches(pattern)").execute({"text": "", "pattern": pattern})
    except (RuntimeError, ValueError) as error:
        lines = [line.removeprefix("error: ") for line in str(error).splitlines() if line.startswith("error: ")]
        return lines[0].partition(". Check")[0] if lines else "it is too large or not in RE2's syntax"
    return None


@cache
def _cel() -> Any:
    """The interpreter (`helpdesk-gateway-schemas[conditions]`), without the command line tool that its package imports.

    That costs about a second, and a child that was killed is replaced while others wait for it.
    """
    loaded = sys.modules.get("cel")
    if loaded is not None:
        return loaded
    package = importlib.util.find_spec("cel")
    places = package.submodule_search_locations if package is not None else None
    spec = importlib.machinery.PathFinder.find_spec("cel", list(places)) if places else None
    if spec is None or spec.loader is None:
        raise ModuleNotFoundError("conditions need helpdesk-gateway-schemas[conditions]", name="cel")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module
