"""What a stored delivery says: activity events, polled pages and fetched objects, for any account of the App."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from pydantic import AwareDatetime, TypeAdapter, ValidationError

from gateway_schemas.errors import Malformed
from gateway_schemas.interaction import Deletion, Ignored, Normalised, Revoked, Unreadable, Wanted
from gateway_schemas.text import parse_json
from gateway_schemas.webhook import RawDelivery
from gateway_x import legacy
from gateway_x.messages import activity_message, message_event
from gateway_x.payloads import ActivityMessage, Id, Includes, MessageEvent, Post, read
from gateway_x.posts import Thread

ADDRESSED = {"post.mention.create", "post.reply.create", "post.quote.create"}
_ID = TypeAdapter(Id)
_TIME = TypeAdapter(AwareDatetime)


def normalise(delivery: RawDelivery) -> list[Normalised]:
    """Read a delivery. Raises Malformed when none of it can be read; a broken part beside whole ones is named."""
    if delivery.origin == "fetch" and not delivery.body:
        return [Ignored(reason="X has nothing of what was asked for")]
    body = parse_json(delivery.body)
    if delivery.origin != "webhook":
        return _each(list(_page(body, delivery)))
    return _each([_activity(event) for event in (body if isinstance(body, list) else [body])])


def _each(parts: list[Iterator[Normalised]]) -> list[Normalised]:
    items: list[Normalised] = []
    broken: list[str] = []
    for part in parts:
        try:
            items.extend(list(part))
        except Malformed as error:
            broken.append(error.reason)
    if broken and len(broken) == len(parts):
        raise Malformed("; ".join(broken))
    items.extend(Unreadable(reason=reason) for reason in broken)
    return items


def _page(body: Any, delivery: RawDelivery) -> Iterator[Iterator[Normalised]]:
    """A page of posts or messages, oldest first."""
    if not isinstance(body, Mapping):
        raise Malformed("expected an object")
    account = delivery.note.get("account")
    if not isinstance(account, str):
        raise Malformed("the page was stored without the account that it was read for")
    data = body.get("data") or []
    includes = Includes(body.get("includes"))
    objects = sorted(data if isinstance(data, list) else [data], key=_age)
    if delivery.note.get("kind") == "messages":
        for value in objects:
            yield _polled_message(account, value, includes)
        return
    thread = Thread(account, includes)
    for value in objects:
        yield _polled_post(thread, value, addressed=delivery.stream == "mentions")
    if not objects:
        yield iter([Ignored(reason="an empty page")])


def _age(value: Any) -> int:
    id = value.get("id") if isinstance(value, Mapping) else None
    return int(id) if isinstance(id, str) and id.isdecimal() else 0


def _polled_post(thread: Thread, value: Any, *, addressed: bool) -> Iterator[Normalised]:
    post = read(Post, value, "post")
    if post.reference("retweeted"):
        yield Ignored(reason="a repost without words of its own")
        return
    yield from thread.items(post, addressed=addressed)


def _polled_message(account: str, value: Any, includes: Includes) -> Iterator[Normalised]:
    yield from message_event(account, read(MessageEvent, value, "message"), includes)


def _activity(event: Any) -> Iterator[Normalised]:
    if not isinstance(event, Mapping):
        raise Malformed("expected an event object, or a list of them")
    if legacy.is_legacy(event):
        yield from _account_activity(event)
        return
    data = event.get("data")
    if not isinstance(data, Mapping):
        raise Malformed("data: expected an event")
    type = data.get("event_type")
    if not isinstance(type, str):
        yield Ignored(reason="not an activity event")
        return
    payload = data.get("payload")
    payload = payload if isinstance(payload, Mapping) else {}
    if type == "oauth.revoke":
        yield _revoked(payload, data)
    elif type in ADDRESSED or type == "post.create":
        yield from _post(type, _account(data), payload, Includes(data.get("includes") or event.get("includes")))
    elif type == "post.delete":
        yield _deleted(_account(data), payload)
    elif type in ("dm.received", "dm.sent"):
        yield from _messages(_account(data), payload, Includes(data.get("includes")))
    elif type.startswith("chat."):
        yield Ignored(reason=f"{type}: the message is encrypted end to end and cannot be read here")
    else:
        yield Ignored(reason=f"{type} is not a post or a message")


def _account(data: Mapping[str, Any]) -> str:
    filter = data.get("filter")
    user_id = filter.get("user_id") if isinstance(filter, Mapping) else None
    return _id(user_id, "data.filter.user_id")


def _id(value: Any, what: str) -> str:
    try:
        return _ID.validate_python(value)
    except ValidationError:
        raise Malformed(f"{what}: expected an id") from None


def _post(type: str, account: str, payload: Mapping[str, Any], includes: Includes) -> Iterator[Normalised]:
    post = read(Post, payload, f"{type}: payload")
    if post.reference("retweeted"):
        yield Ignored(reason="a repost without words of its own")
    elif post.author_id is None:
        yield Wanted(ref=post.id, reason="thin", account=account)
    else:
        yield from Thread(account, includes).items(post, addressed=type in ADDRESSED)


def _deleted(account: str, payload: Mapping[str, Any]) -> Normalised:
    post = read(Post, payload, "post.delete: payload")
    # told for the account's own posts only; deleting one version deletes the whole chain of edits
    first = post.edit_history[0] if post.edit_history else post.id
    return Deletion(external_id=first, account=account, by="brand" if post.author_id == account else "author")


def _messages(account: str, payload: Mapping[str, Any], includes: Includes) -> Iterator[Normalised]:
    includes.add_users(payload.get("users"))
    events = payload.get("direct_message_events")
    if not isinstance(events, list) or not events:
        raise Malformed("payload.direct_message_events: expected messages")
    yield from _each([_message(account, value, includes) for value in events])


def _message(account: str, value: Any, includes: Includes) -> Iterator[Normalised]:
    yield activity_message(account, read(ActivityMessage, value, "message"), includes)


def _revoked(payload: Mapping[str, Any], data: Mapping[str, Any]) -> Normalised:
    user_id = payload.get("user_id")
    account = _id(user_id, "payload.user_id") if user_id is not None else _account(data)
    try:
        at = _TIME.validate_python(payload.get("date_time"))
    except ValidationError:
        at = None
    return Revoked(account=account, reason="the account took the App's access away at X", at=at)


def _account_activity(event: Mapping[str, Any]) -> Iterator[Normalised]:
    account = _id(event.get("for_user_id"), "for_user_id")
    users = Includes({"users": legacy.users(event.get("users"))})
    parts = [_old_post(account, old) for old in _listed(event, "tweet_create_events")]
    parts += [_old_deletion(account, old) for old in _listed(event, "tweet_delete_events")]
    parts += [_message(account, old, users) for old in _listed(event, "direct_message_events")]
    if not parts:
        kinds = ", ".join(sorted(key for key in event if key.endswith("_events"))) or "an event without items"
        yield Ignored(reason=f"{kinds}: not a post or a message")
    yield from _each(parts)


def _listed(event: Mapping[str, Any], key: str) -> list[Any]:
    value = event.get(key)
    return value if isinstance(value, list) else []


def _old_post(account: str, old: Any) -> Iterator[Normalised]:
    new, users, cut = legacy.post(old)
    post = read(Post, new, "tweet_create_events")
    if post.reference("retweeted"):
        yield Ignored(reason="a repost without words of its own")
    elif cut:
        yield Wanted(ref=post.id, reason="thin", account=account)
    else:
        yield from Thread(account, Includes({"users": users})).items(post)


def _old_deletion(account: str, old: Any) -> Iterator[Normalised]:
    status = old.get("status") if isinstance(old, Mapping) else None
    status = status if isinstance(status, Mapping) else {}
    own = str(status.get("user_id")) == account
    id = _id(status.get("id"), "tweet_delete_events.status.id")
    yield Deletion(external_id=id, account=account, by="brand" if own else "author")
