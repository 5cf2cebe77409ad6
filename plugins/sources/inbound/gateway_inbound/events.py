"""Reads what a system pushes: events in the gateway's vocabulary, one a webhook or many in a batch.

    {"type": "interaction.created", "timestamp": "2026-05-04T12:30:00Z", "data": {"external_id": "77", …}}
    {"type": "batch", "data": [{"type": …, "timestamp": …, "data": …}, …]}

Every complaint about an event names the field by its path in the body and says the mend, because the person who reads
it is writing the other side.
"""

from __future__ import annotations

import math
from datetime import UTC, datetime
from typing import Any, TypeVar

from pydantic import AwareDatetime, TypeAdapter, ValidationError
from pydantic_core import ErrorDetails

from gateway_inbound.config import InboundConfig
from gateway_schemas.base import Model
from gateway_schemas.errors import Malformed
from gateway_schemas.interaction import (
    Deletion,
    Ignored,
    Interaction,
    Normalised,
    SendStatus,
    Unreadable,
    content_revision,
)
from gateway_schemas.text import parse_object

TYPES = ("interaction.created", "interaction.updated", "interaction.deleted", "reply.status")
DEPTH = 32
TIME = "a time with its offset, such as 2026-05-04T12:30:00Z"

M = TypeVar("M", bound=Model)

_MENDS = {
    "external_id": "the id of this thing at your system, the same in every later event about it",
    "kind": "one of `post`, `comment`, `review`, `direct_message`",
    "author": "who wrote it, an object with at least `external_id`",
    "author.external_id": "the author's id at your system",
    "subject.external_id": "the id at your system of what it is about",
    "rating.value": "the number that was given",
    "published_at": TIME,
    "state": "one of `published`, `pending`, `rejected`, `removed`",
}
_IDS = frozenset({"external_id", "revision", "root", "in_reply_to", "quotes", "ref", "recipient"})
_TIME = TypeAdapter(AwareDatetime)


class Complaint(Exception):
    """One event cannot be read; the message is for the people of the sending system."""


def read(body: bytes, config: InboundConfig) -> list[Normalised]:
    """Called with the body of a verified webhook: what it says.

    A batch never fails as a whole while one of its events can be read: each of the others becomes `Unreadable` with its
    complaint, and the host keeps the delivery as failed and replayable. Raises Malformed when nothing can be read.
    """
    document = parse_object(body)
    if document.get("type") != "batch":
        try:
            return [_event(document, "", config)]
        except Complaint as complaint:
            raise Malformed(str(complaint)) from None
    events = document.get("data")
    if not isinstance(events, list):
        raise Malformed("data: required in a batch; the list of its events")
    found: list[Normalised] = []
    complaints: list[str] = []
    for index, event in enumerate(events):
        try:
            found.append(_event(event, f"data[{index}].", config))
        except Complaint as complaint:
            complaints.append(str(complaint))
            found.append(Unreadable(reason=str(complaint)))
    if complaints and len(complaints) == len(events):
        raise Malformed("; ".join(complaints[:3]) + _more(len(complaints) - 3, "event"))
    return found or [Ignored(reason="a batch without events")]


def _event(event: Any, path: str, config: InboundConfig) -> Normalised:
    if not isinstance(event, dict):
        raise Complaint(f"{path.rstrip('.')}: expected an object with `type`, `timestamp` and `data`")
    kind = event.get("type")
    if not isinstance(kind, str):
        raise Complaint(f"{path}type: required; one of {', '.join(TYPES)}")
    if kind == "batch":
        raise Complaint(f"{path}type: a batch may not hold another batch")
    if kind not in TYPES:
        return Ignored(reason=f"{path}type: {kind[:80]!r} is none of {', '.join(TYPES)}")
    data = event.get("data")
    if not isinstance(data, dict):
        raise Complaint(f"{path}data: required; an object that holds what the event is about")
    path += "data"
    _check(data, path)
    data = dict(data)
    at = _timestamp(event.get("timestamp"), path.removesuffix("data") + "timestamp")
    account = data.pop("account", None)
    if account is not None and account != config.account:
        raise Complaint(
            f"{path}.account: this door belongs to the account {config.account!r}; leave the field out, "
            "or make a connection for the other account"
        )
    data["account"] = config.account
    if kind == "interaction.deleted":
        return _deletion(data, at, path)
    if kind == "reply.status":
        data.setdefault("at", at)
        return _validate(SendStatus, data, path)
    return _interaction(data, at, path, config, updated=kind == "interaction.updated")


def _interaction(
    data: dict[str, Any], at: datetime | None, path: str, config: InboundConfig, *, updated: bool
) -> Interaction:
    unanswerable = "reply_target" in data and data["reply_target"] is None
    data = _without_nulls(data)
    told_edit = "edited_at" in data
    if not updated and at is not None:
        data.setdefault("published_at", at)
    elif updated:
        # an edit's time says nothing of when the clock began, so `published_at` stays required
        data.setdefault("edited_at", at)
    data.setdefault("visibility", "private" if data.get("kind") == "direct_message" else "public")
    if data.get("kind") == "direct_message" and data["visibility"] == "public":
        raise Complaint(f"{path}.visibility: a direct_message is `private`; leave the field out")
    author = data.get("author")
    author_id = author.get("external_id") if isinstance(author, dict) else None
    if author_id in config.own_authors:
        data["direction"] = "outbound"
    if not unanswerable and data.get("direction", "inbound") == "inbound":
        data["reply_target"] = _target(data, author_id)
    told_revision = "revision" in data
    interaction = _validate(Interaction, {"revision": "-", **data}, path)
    if told_revision:
        return interaction
    return interaction.model_copy(update={"revision": _revision(interaction, with_edit=told_edit)})


def _target(data: dict[str, Any], author_id: Any) -> Any:
    """How to answer, where the event says nothing else: in the place where it was said."""
    given = data.get("reply_target", {})
    if not isinstance(given, dict):
        return given
    kind = data.get("kind")
    target: dict[str, Any] = {"ref": data.get("external_id")}
    target["kind"] = kind if kind in ("review", "direct_message") else "comment"
    if kind == "direct_message":
        target["recipient"] = author_id
    return {**target, **given}


def _revision(interaction: Interaction, *, with_edit: bool) -> str:
    """A hash over text, rating and media, and over the time of the edit where the sender told it.

    With that time an edit back to an earlier text is a new revision; without it, sending the same again is none.
    """
    rating = interaction.rating
    edited_at = interaction.edited_at if with_edit else None
    return content_revision(
        interaction.text,
        interaction.html,
        interaction.title,
        (float(rating.value), float(rating.best), float(rating.worst)) if rating else None,
        interaction.recommendation,
        tuple(attachment.external_id or attachment.url for attachment in interaction.attachments),
        edited_at.astimezone(UTC).isoformat() if edited_at else None,
    )


def _deletion(data: dict[str, Any], at: datetime | None, path: str) -> Deletion:
    """Many systems send the whole object when it goes; only these fields of it matter."""
    known = {name: data[name] for name in Deletion.model_fields if data.get(name) is not None}
    known.setdefault("deleted_at", at)
    return _validate(Deletion, known, path)


def _timestamp(value: Any, path: str) -> datetime | None:
    if value is None:
        return None
    try:
        return _TIME.validate_python(value)
    except ValidationError:
        raise Complaint(f"{path}: expected {TIME}") from None


def _validate(model: type[M], data: dict[str, Any], path: str) -> M:
    try:
        return model.model_validate(data)
    except ValidationError as invalid:
        errors = invalid.errors(include_url=False, include_input=False, include_context=True)
        described = [_describe(error, model, path) for error in errors[:5]]
        raise Complaint("; ".join(described) + _more(len(errors) - 5, "field")) from None


def _describe(error: ErrorDetails, model: type[Model], path: str) -> str:
    field = "".join(f"[{part}]" if isinstance(part, int) else f".{part}" for part in error["loc"])[:200]
    mend = _MENDS.get(field.removeprefix("."))
    match error["type"]:
        case "missing":
            said = "required" + (f"; {mend}" if mend else "")
        case "literal_error":
            said = f"expected {error['ctx']['expected']}"
        case "extra_forbidden":
            extra = " goes into `data.extra`" if model is Interaction else " has no place here"
            said = f"unknown field; what the vocabulary has no word for{extra}"
        case "string_type":
            said = 'expected a string; write a number as "42"'
        case kind if kind.startswith(("datetime", "timezone")):
            said = f"expected {TIME}"
        case _:
            said = error["msg"][:1].lower() + error["msg"][1:]
    return f"{path}{field}: {said}"


def _more(count: int, noun: str) -> str:
    return f"; and {count} more {noun}{'s' if count > 1 else ''}" if count > 0 else ""


def _check(value: Any, path: str, depth: int = 0) -> None:
    """Refuse what the vocabulary's models let pass in free fields and no database or other JSON reader takes.

    Text was cleaned when it was parsed, because a cut through an emoji must not cost the complaint it stands in; in an
    id the U+FFFD that this leaves would name another thing.
    """
    if depth > DEPTH:
        raise Complaint(f"{path[:200]}: nested too deeply; at most {DEPTH} levels")
    match value:
        case bool():
            return
        case int() if not -(2**63) <= value < 2**63:
            raise Complaint(f"{path[:200]}: the number does not fit into 64 bits; write it as a string")
        case float() if not math.isfinite(value):
            raise Complaint(f"{path[:200]}: not a finite number")
        case list():
            for index, item in enumerate(value):
                _check(item, f"{path}[{index}]", depth + 1)
        case dict():
            for key, item in value.items():
                if key in _IDS and isinstance(item, str) and "\ufffd" in item:
                    raise Complaint(f"{path[:200]}.{key}: an id may not hold NUL, half an emoji or U+FFFD")
                _check(item, f"{path}.{key}", depth + 1)


def _without_nulls(data: dict[str, Any]) -> dict[str, Any]:
    """A field that is null is a field left out; what is in `extra` is the sender's own."""
    return {key: _drop_nulls(value) if key != "extra" else value for key, value in data.items() if value is not None}


def _drop_nulls(value: Any) -> Any:
    match value:
        case dict():
            return _without_nulls(value)
        case list():
            return [_drop_nulls(item) for item in value]
        case _:
            return value
