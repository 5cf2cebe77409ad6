"""What a stored delivery says: notifications, posts and their versions, what the stream told, and what is gone."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

from gateway_mastodon.names import is_id, status_id, status_ref
from gateway_mastodon.payloads import Notification, Status, StatusEdit, read
from gateway_mastodon.statuses import View, interaction, items, speaks_to
from gateway_schemas.errors import Malformed
from gateway_schemas.interaction import Deletion, Ignored, Normalised, Unreadable
from gateway_schemas.text import parse_json
from gateway_schemas.webhook import RawDelivery

ADDRESSED = {"mention", "quote"}
TYPES = ("mention", "quote", "update", "quoted_update")
"""The notifications that bring posts: of us, and edits of posts that we boosted or quoted."""

Part = Iterator[Normalised]


def normalise(delivery: RawDelivery) -> list[Normalised]:
    """Read a delivery. Raises Malformed when none of it can be read; a broken part beside whole ones is named."""
    note = delivery.note
    view = View(*(_noted(note, key) for key in ("account", "account_id", "home")))
    kind = _noted(note, "kind")
    reader = _READERS.get(kind)
    if reader is None:
        raise Malformed(f"a page of the kind {kind}, which this version does not know")
    body = parse_json(delivery.body)
    return _each(list(reader(view, body, note))) or [Ignored(reason="an empty page")]


def _noted(note: dict[str, Any], key: str) -> str:
    value = note.get(key)
    if not isinstance(value, str):
        raise Malformed(f"the page was stored without its {key}")
    return value


def _each(parts: list[Part]) -> list[Normalised]:
    found: list[Normalised] = []
    broken: list[str] = []
    for part in parts:
        try:
            found.extend(list(part))
        except Malformed as error:
            broken.append(error.reason)
    if broken and len(broken) == len(parts):
        raise Malformed("; ".join(broken))
    found.extend(Unreadable(reason=reason) for reason in broken)
    return found


def _listed(body: Any, what: str) -> list[Any]:
    if not isinstance(body, list):
        raise Malformed(f"expected a list of {what}, not {type(body).__name__}")
    return body[::-1]  # Mastodon lists the newest first


def _notifications(view: View, body: Any, note: dict[str, Any]) -> Iterator[Part]:
    for value in _listed(body, "notifications"):
        yield _notification(view, value)


def _notification(view: View, value: Any) -> Part:
    notification = read(Notification, value, "notification")
    if notification.type not in TYPES:
        yield Ignored(reason=f"a notification of the type {notification.type} brings no post to answer")
    elif notification.status is None:
        # the post was deleted between the two look-ups of the server
        yield Ignored(reason=f"notification {notification.id} has no post any more")
    else:
        status = read(Status, notification.status, "notification.status")
        addressed = notification.type in ADDRESSED
        if not addressed and not speaks_to(view, status):
            yield Ignored(reason=f"a notification of the type {notification.type} of a post that speaks to others")
            return
        yield from items(view, status, addressed=addressed)


def _statuses(view: View, body: Any, note: dict[str, Any]) -> Iterator[Part]:
    for value in _listed(body, "posts"):
        yield _status(view, value)


def _one(view: View, body: Any, note: dict[str, Any]) -> Iterator[Part]:
    yield _status(view, body)


def _status(view: View, value: Any) -> Part:
    yield from items(view, read(Status, value, "status"))


def _context(view: View, body: Any, note: dict[str, Any]) -> Iterator[Part]:
    if not isinstance(body, dict):
        raise Malformed("expected the posts around a post")
    for key in ("ancestors", "descendants"):
        around = body.get(key) or []
        if not isinstance(around, list):
            raise Malformed(f"{key}: expected posts")
        for value in around:
            yield _status(view, value)


def _history(view: View, body: Any, note: dict[str, Any]) -> Iterator[Part]:
    """Every version of a post, oldest first as Mastodon lists them; what does not change is in the note."""
    if not isinstance(body, list):
        raise Malformed("expected a list of versions")
    status = read(Status, note.get("status"), "note.status")
    for value in body:
        yield _version(view, status, value)


def _version(view: View, status: Status, value: Any) -> Part:
    yield interaction(view, status, edit=read(StatusEdit, value, "version"))


def _gone(view: View, body: Any, note: dict[str, Any]) -> Iterator[Part]:
    ref = _noted(note, "ref")
    if status_id(view.home, ref) is None:
        raise Malformed("note.ref names no post of this server")
    yield iter([Deletion(external_id=ref, account=view.account)])


def _event(view: View, body: Any, note: dict[str, Any]) -> Iterator[Part]:
    """A deletion that the stream told of: `{"event": "delete", "payload": id}`."""
    if not isinstance(body, dict) or body.get("event") != "delete":
        raise Malformed("expected the stream's event of a deletion")
    id = body.get("payload")
    if not isinstance(id, str) or not is_id(id):
        raise Malformed("payload: expected the id of a post")
    yield iter([Deletion(external_id=status_ref(view.home, id), account=view.account)])


_READERS: dict[str, Callable[[View, Any, dict[str, Any]], Iterator[Part]]] = {
    "notifications": _notifications,
    "statuses": _statuses,
    "status": _one,
    "context": _context,
    "history": _history,
    "gone": _gone,
    "event": _event,
}
