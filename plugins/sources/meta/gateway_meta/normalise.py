"""What a stored delivery says: webhooks in every shape of Meta's, polled pages and fetched nodes."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from datetime import datetime
from typing import Any

from pydantic import TypeAdapter, ValidationError

from gateway_meta import feed, instagram, messages, nodes
from gateway_meta.config import MetaApp
from gateway_meta.payloads import FeedValue, InstagramValue, Messaging, Time, read
from gateway_schemas.errors import Malformed
from gateway_schemas.interaction import Deletion, Ignored, Interaction, Normalised, Unreadable, Wanted
from gateway_schemas.text import parse_object
from gateway_schemas.webhook import RawDelivery

RECENT = "recent:"
"""Marks what is wanted where a webhook names a field and not what changed: the newest of that stream."""
STREAMS = {
    "feed": "comments",
    "comments": "comments",
    "mention": "tagged",
    "ratings": "ratings",
    "messages": "messages",
    "messaging": "messages",
}
_TIME: TypeAdapter[datetime] = TypeAdapter(Time)


def normalise(delivery: RawDelivery, app: MetaApp | None) -> list[Normalised]:
    """Read a delivery. Raises Malformed when none of it can be read; a broken part beside whole ones is named."""
    if delivery.origin == "fetch" and not delivery.body:
        return [Ignored(reason="Meta has nothing of what was asked for")]
    body = parse_object(delivery.body)
    human_agent = app is not None and app.human_agent
    if delivery.origin != "webhook":
        return _page(body, delivery.note, human_agent)
    object = body.get("object")
    entries = body.get("entry")
    if not isinstance(entries, list):
        raise Malformed("entry: expected a list")
    if object not in ("page", "instagram"):
        return [Ignored(reason=f"{object} is neither a Page nor an Instagram account")]
    parts: list[Iterator[Normalised]] = []
    for entry in entries:
        parts += _entry(entry, object == "instagram", human_agent, delivery.received_at)
    return _each(parts)


def _each(parts: list[Iterator[Normalised]]) -> list[Normalised]:
    found: list[Normalised] = []
    broken: list[str] = []
    for part in parts:
        try:
            found.extend(list(part))
        except Malformed as error:
            broken.append(error.reason)
    if broken and len(broken) == len(parts):
        raise Malformed("; ".join(dict.fromkeys(broken)))
    found = _once(found)
    found.extend(Unreadable(reason=reason) for reason in dict.fromkeys(broken))
    return found


def _once(found: list[Normalised]) -> list[Normalised]:
    """A post that many comments want is wanted once, and not at all where the delivery has it."""
    present = {item.external_id for item in found if isinstance(item, Interaction)}
    seen: set[tuple[str, str | None]] = set()
    kept: list[Normalised] = []
    for item in found:
        if isinstance(item, Wanted) and item.reason == "ancestor":
            key = (item.ref, item.account)
            if key in seen or item.ref in present:
                continue
            seen.add(key)
        kept.append(item)
    return kept


# webhooks


def _entry(entry: Any, is_instagram: bool, human_agent: bool, received_at: datetime) -> list[Iterator[Normalised]]:
    if not isinstance(entry, Mapping):
        return [_broken("entry: expected an object")]
    account = entry.get("id")
    if isinstance(account, int) and not isinstance(account, bool):
        account = str(account)
    if not isinstance(account, str) or not (account.isascii() and account.isdecimal() and len(account) <= 40):
        return [_broken("entry.id: expected the account's id")]
    try:
        at = _TIME.validate_python(entry["time"]) if "time" in entry else received_at
    except ValidationError:
        at = received_at
    parts: list[Iterator[Normalised]] = []
    for change in _list(entry, "changes"):
        parts.append(_change(account, at, change, is_instagram))
    if "field" in entry:  # Instagram Login gives a change without a list around it
        parts.append(_change(account, at, entry, is_instagram))
    side = messages.Side(account, frozenset({account}), is_instagram, human_agent)
    for key in ("messaging", "standby"):
        parts += [_messaging(side, at, value, standby=key == "standby") for value in _list(entry, key)]
    if "changed_fields" in entry:
        parts.append(_changed(account, at, entry["changed_fields"]))
    return parts or [iter([Ignored(reason="an entry without changes")])]


def _list(entry: Mapping[str, Any], key: str) -> list[Any]:
    value = entry.get(key)
    if value is None:
        return []
    return value if isinstance(value, list) else [value]


def _broken(reason: str) -> Iterator[Normalised]:
    raise Malformed(reason)
    yield


def _change(account: str, at: datetime, change: Any, is_instagram: bool) -> Iterator[Normalised]:
    field = change.get("field") if isinstance(change, Mapping) else None
    if not isinstance(field, str):
        raise Malformed("changes: field: expected a name")
    value = change.get("value")
    if is_instagram:
        match field:
            case "comments" | "live_comments":
                news = read(InstagramValue, value, field)
                yield from instagram.comment(account, at, news, live=field == "live_comments")
            case "mentions":
                yield from instagram.mention(account, read(InstagramValue, value, field))
            case _:
                yield Ignored(reason=f"{field} is neither comment, mention nor message")
        return
    match field:
        case "feed":
            yield from feed.feed(account, at, read(FeedValue, value, field))
        case "mention":
            yield from feed.mention(account, at, read(FeedValue, value, field))
        case "ratings":
            yield from feed.rating(account, at, read(FeedValue, value, field))
        case _:
            yield Ignored(reason=f"{field} is neither post, comment, mention, recommendation nor message")


def _messaging(side: messages.Side, at: datetime, value: Any, *, standby: bool) -> Iterator[Normalised]:
    yield from messages.event(side, at, read(Messaging, value, "messaging"), standby=standby)


def _changed(account: str, at: datetime, fields: Any) -> Iterator[Normalised]:
    """The App was subscribed without "include values": Meta says that something changed, and not what."""
    if not isinstance(fields, list):
        raise Malformed("changed_fields: expected a list")
    streams = sorted({STREAMS[field] for field in fields if isinstance(field, str) and field in STREAMS})
    if not streams:
        yield Ignored(reason="changed_fields: nothing that is read here")
    for stream in streams:
        yield Wanted(ref=f"{RECENT}{stream}:{account}", kind="thread", account=account, at=at)


# pages


def _page(body: Mapping[str, Any], note: Mapping[str, Any], human_agent: bool) -> list[Normalised]:
    account, kind = note.get("account"), note.get("kind")
    if not isinstance(account, str) or not isinstance(kind, str):
        raise Malformed("the page was stored without the account that it was read for")
    if kind == "gone":
        ref = body.get("ref")
        if not isinstance(ref, str) or not 0 < len(ref) <= 1024:
            raise Malformed("ref: expected the id of what is gone")
        return [Deletion(external_id=ref, account=account)]
    own = note.get("own")
    side = messages.Side(
        account, frozenset(own if isinstance(own, list) else [account]), bool(note.get("instagram")), human_agent
    )
    page = nodes.Read(side, kind, note.get("root"), note.get("thread"), note.get("owner"))
    parts = nodes.parts(page, body)
    if not parts:
        return [Ignored(reason="an empty page")]
    found = _each(parts)
    read_items = _since(note.get("since"), [item for item in found if isinstance(item, Interaction)])
    if not read_items and all(isinstance(item, Interaction) for item in found):
        return [Ignored(reason="nothing new")]
    read_items.sort(key=lambda item: (item.published_at, item.external_id))
    return [*read_items, *(item for item in found if not isinstance(item, Interaction))]


def _since(since: Any, found: list[Interaction]) -> list[Interaction]:
    """What a poll was for: what is newer than the last one, and what that belongs to. The rest was told before."""
    if not isinstance(since, str):
        return found
    start = datetime.fromisoformat(since)
    new = [item for item in found if item.published_at >= start]
    context = {ref for item in new for ref in (item.root, item.in_reply_to)}
    return [item for item in found if item.published_at >= start or item.external_id in context]
