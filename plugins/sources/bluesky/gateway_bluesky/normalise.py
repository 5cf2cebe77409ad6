"""What a stored delivery says: notifications, posts, threads, direct messages, and what is gone."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

from gateway_bluesky.messages import message, only_for_us
from gateway_bluesky.names import is_post, moment
from gateway_bluesky.payloads import Post, Profile, read, several
from gateway_bluesky.posts import Seen
from gateway_schemas.errors import Malformed
from gateway_schemas.interaction import Deletion, Ignored, Normalised, Unreadable
from gateway_schemas.text import parse_object
from gateway_schemas.webhook import RawDelivery

REASONS = ("mention", "reply", "quote")
Part = Iterator[Normalised]
_DEEPEST = 200


def normalise(delivery: RawDelivery) -> list[Normalised]:
    """Read a delivery. Raises Malformed when none of it can be read; a broken part beside whole ones is named."""
    account, kind = (_noted(delivery.note, key) for key in ("account", "kind"))
    reader = _READERS.get(kind)
    if reader is None:
        raise Malformed(f"a page of the kind {kind}, which this version does not know")
    return _each(list(reader(account, parse_object(delivery.body), delivery.note))) or [Ignored(reason="an empty page")]


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


def _listed(body: dict[str, Any], key: str) -> list[Any]:
    value = body.get(key)
    if not isinstance(value, list):
        raise Malformed(f"{key}: expected a list")
    return value


def _notifications(account: str, body: dict[str, Any], note: dict[str, Any]) -> Iterator[Part]:
    for value in reversed(_listed(body, "notifications")):  # the newest come first
        yield _notification(account, value, _edited(note))


def _notification(account: str, value: Any, edited: dict[str, Any]) -> Part:
    reason = value.get("reason") if isinstance(value, dict) else None
    if not isinstance(reason, str):
        raise Malformed("notification.reason: expected a word")
    if reason not in REASONS:
        yield Ignored(reason=f"a notification for the reason {reason} brings no post to answer")
        return
    post = read(Post, value, "notification")
    yield from Seen(account, post).items(addressed=True, edited_at=moment(edited.get(post.uri)))


def _feed(account: str, body: dict[str, Any], note: dict[str, Any]) -> Iterator[Part]:
    for value in reversed(_listed(body, "feed")):
        yield _feed_post(account, value, _edited(note))


def _feed_post(account: str, value: Any, edited: dict[str, Any]) -> Part:
    if not isinstance(value, dict):
        raise Malformed("feed: expected posts")
    post = read(Post, value.get("post"), "feed.post")
    if post.author.did != account:
        yield Ignored(reason="a repost without words of its own")
        return
    yield from Seen(account, post).items(edited_at=moment(edited.get(post.uri)))


def _posts(account: str, body: dict[str, Any], note: dict[str, Any]) -> Iterator[Part]:
    for value in _listed(body, "posts"):
        yield _post(account, value, _edited(note))


def _edited(note: dict[str, Any]) -> dict[str, Any]:
    """When posts were seen changed: nobody says when they were."""
    edited = note.get("edited")
    return edited if isinstance(edited, dict) else {}


def _post(account: str, value: Any, edited: dict[str, Any]) -> Part:
    post = read(Post, value, "post")
    yield from Seen(account, post).items(edited_at=moment(edited.get(post.uri)))


def _thread(account: str, body: dict[str, Any], note: dict[str, Any]) -> Iterator[Part]:
    """A tree of posts: what a post answers above it, what answers it below; some of it deleted or blocked."""
    top = body.get("thread")
    if not isinstance(top, dict):
        raise Malformed("thread: expected a post with what is around it")
    above: list[Any] = []
    parent = top.get("parent")
    while isinstance(parent, dict) and len(above) < _DEEPEST:
        above.append(parent)
        parent = parent.get("parent")
    queue = [*reversed(above), top]
    while queue:
        node = queue.pop(0)
        if not isinstance(node, dict) or node.get("post") is None:
            yield iter([Ignored(reason="a post of the thread is deleted or blocked")])
            continue
        yield _post(account, node["post"], {})
        if node is top or node not in above:
            queue += several(node.get("replies"))


def _gone(account: str, body: dict[str, Any], note: dict[str, Any]) -> Iterator[Part]:
    """Posts that the index does not show: `{"uris": […]}`, as they were asked for."""
    for uri in _listed(body, "uris"):
        yield _gone_post(account, uri)


def _gone_post(account: str, uri: Any) -> Part:
    if not isinstance(uri, str) or not is_post(uri):
        raise Malformed("uris: expected addresses of posts")
    yield Deletion(external_id=uri, account=account)


def _messages(account: str, body: dict[str, Any], note: dict[str, Any]) -> Iterator[Part]:
    convo = _noted(note, "convo")
    profiles = {
        one.did: one for one in _profiles([*several(body.get("relatedProfiles")), *several(note.get("members"))])
    }
    for value in reversed(_listed(body, "messages")):
        yield _message(account, convo, value, profiles)


def _log(account: str, body: dict[str, Any], note: dict[str, Any]) -> Iterator[Part]:
    for value in _listed(body, "logs"):
        yield _logged(account, value)


def _logged(account: str, value: Any) -> Part:
    if not isinstance(value, dict) or not isinstance(value.get("$type"), str):
        raise Malformed("logs: expected events")
    kind = value["$type"].rpartition("#")[2]
    if kind == "logDeleteMessage":
        yield only_for_us()
    elif kind != "logCreateMessage":
        yield Ignored(reason=f"{kind} brings no message")
    else:
        convo = value.get("convoId")
        if not isinstance(convo, str) or not convo:
            raise Malformed("logs.convoId: expected a conversation")
        profiles = {one.did: one for one in _profiles(several(value.get("relatedProfiles")))}
        yield from _message(account, convo, value.get("message"), profiles)


def _message(account: str, convo: str, value: Any, profiles: dict[str, Profile]) -> Part:
    yield message(account, convo, value, profiles)


def _profiles(values: Any) -> Iterator[Profile]:
    for value in values:
        if isinstance(value, dict):
            yield read(Profile, value, "profile")


_READERS: dict[str, Callable[[str, dict[str, Any], dict[str, Any]], Iterator[Part]]] = {
    "notifications": _notifications,
    "feed": _feed,
    "posts": _posts,
    "thread": _thread,
    "gone": _gone,
    "messages": _messages,
    "log": _log,
}
