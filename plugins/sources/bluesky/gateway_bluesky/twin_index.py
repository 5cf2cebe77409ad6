"""The twin's index (AppView): notifications, feeds, threads and posts as an account sees them."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import datetime
from typing import Any, Protocol, TypeVar

from starlette.routing import BaseRoute

from gateway_bluesky.twin_http import Call, Refusal, Wire, invalid
from gateway_bluesky.twin_state import Json, State, TwinAccount, TwinRecord, iso, parts
from gateway_schemas.time import TimeSource

T = TypeVar("T")


class Owner(Protocol):
    """The twin, as far as these endpoints need it."""

    time: TimeSource
    state: State
    wire: Wire
    url: str
    closed: set[str]


class IndexEndpoints:
    """`app.bsky.notification` and `app.bsky.feed`."""

    def __init__(self, owner: Owner) -> None:
        self.owner = owner

    def routes(self) -> Sequence[BaseRoute]:
        """The lexicons' methods."""
        route = self.owner.wire.route
        return [
            route("GET", "app.bsky.notification.listNotifications", self._notifications),
            route("GET", "app.bsky.feed.getPosts", self._posts),
            route("GET", "app.bsky.feed.getPostThread", self._thread),
            route("GET", "app.bsky.feed.getAuthorFeed", self._feed),
        ]

    @property
    def state(self) -> State:
        """The twin's objects."""
        return self.owner.state

    def _visible(self, at: datetime) -> bool:
        return at <= self.owner.time.now()

    async def _notifications(self, call: Call) -> Json:
        reasons = call.listed("reasons")
        found = [
            one
            for one in self.state.notifications
            if one.account == call.account.did
            and (not reasons or one.reason in reasons)
            and one.uri in self.state.records
            and self._visible(one.shown_at)
        ]
        page, cursor = self._page(call, found, lambda one: (one.indexed_at, one.uri), 50)
        shown = []
        for one in page:
            record = self.state.records[one.uri]
            author = self.state.accounts[parts(one.uri)[0]]
            shown.append(
                {
                    "uri": one.uri,
                    "cid": record.cid,
                    "author": profile(author, self.owner.url),
                    "reason": one.reason,
                    **({"reasonSubject": one.subject} if one.subject else {}),
                    "record": record.value,
                    "isRead": False,
                    "indexedAt": iso(one.indexed_at),
                    "labels": [],
                }
            )
        return {"notifications": shown, "priority": False} | ({"cursor": cursor} if cursor else {})

    async def _feed(self, call: Call) -> Json:
        try:
            author = self.state.account(call.needed("actor"))
        except KeyError:
            raise invalid("Profile not found") from None
        found = [
            record
            for record in self.state.records.values()
            if parts(record.uri)[0] == author.did
            and parts(record.uri)[1] in ("app.bsky.feed.post", "app.bsky.feed.repost")
            and self._visible(record.shown_at)
        ]
        page, cursor = self._page(call, found, lambda one: (one.indexed_at, one.uri), 50)
        feed = [item for record in page if (item := self._feed_item(call.account, author, record)) is not None]
        return {"feed": feed} | ({"cursor": cursor} if cursor else {})

    def _feed_item(self, viewer: TwinAccount, author: TwinAccount, record: TwinRecord) -> Json | None:
        if parts(record.uri)[1] == "app.bsky.feed.post":
            return {"post": self.view(viewer, record)}
        original = self.state.records.get(record.value["subject"]["uri"])
        if original is None:
            return None
        reason = {
            "$type": "app.bsky.feed.defs#reasonRepost",
            "by": profile(author, self.owner.url),
            "indexedAt": iso(record.indexed_at),
        }
        return {"post": self.view(viewer, original), "reason": reason}

    def _page(self, call: Call, found: Iterable[T], key: Any, default: int) -> tuple[list[T], str | None]:
        """Newest first, from behind the cursor on."""
        limit, cursor = call.number("limit", default, 100), call.value("cursor")
        ordered = sorted(found, key=key, reverse=True)
        if cursor is not None:
            at, sep, uri = cursor.partition("::")
            if not sep:
                raise invalid("Malformed cursor")
            ordered = [one for one in ordered if (iso(key(one)[0]), key(one)[1]) < (at, uri)]
        page = ordered[:limit]
        more = len(ordered) > limit
        return page, f"{iso(key(page[-1])[0])}::{key(page[-1])[1]}" if more else None

    async def _posts(self, call: Call) -> Json:
        uris = call.listed("uris")
        if not uris:
            raise invalid('Error: Params must have the property "uris"')
        if len(uris) > 25:
            raise invalid("Error: uris must not have more than 25 elements")
        found = (self.state.records.get(uri) for uri in uris)
        return {"posts": [self.view(call.account, one) for one in found if one and self._shows(call.account, one)]}

    def _shows(self, viewer: TwinAccount, record: TwinRecord) -> bool:
        author = self.state.accounts[parts(record.uri)[0]]
        blocked = author.did in viewer.blocks or viewer.did in author.blocks
        return self._visible(record.shown_at) and not blocked

    async def _thread(self, call: Call) -> Json:
        uri = call.needed("uri")
        record = self.state.records.get(uri)
        if record is None or not self._visible(record.shown_at):
            raise Refusal(400, "NotFound", f"Post not found: {uri}")
        depth = call.number("depth", 6, 1000, 0)
        height = call.number("parentHeight", 80, 1000, 0)
        return {"thread": self._node(call.account, uri, depth, height)}

    def _node(self, viewer: TwinAccount, uri: str, depth: int, height: int) -> Json:
        record = self.state.records.get(uri)
        if record is None or not self._visible(record.shown_at):
            return {"$type": "app.bsky.feed.defs#notFoundPost", "uri": uri, "notFound": True}
        if not self._shows(viewer, record):
            author = {"did": parts(uri)[0]}
            return {"$type": "app.bsky.feed.defs#blockedPost", "uri": uri, "blocked": True, "author": author}
        node: Json = {"$type": "app.bsky.feed.defs#threadViewPost", "post": self.view(viewer, record)}
        reply = record.value.get("reply")
        if reply and height:
            node["parent"] = self._node(viewer, reply["parent"]["uri"], 0, height - 1)
        if depth:
            node["replies"] = [self._node(viewer, one.uri, depth - 1, 0) for one in self._answers(uri)]
        return node

    def _answers(self, uri: str) -> list[TwinRecord]:
        return [
            one
            for one in self.state.posts()
            if (one.value.get("reply") or {}).get("parent", {}).get("uri") == uri and self._visible(one.shown_at)
        ]

    def view(self, viewer: TwinAccount, record: TwinRecord) -> Json:
        """app.bsky.feed.defs#postView."""
        author = self.state.accounts[parts(record.uri)[0]]
        root = (record.value.get("reply") or {}).get("root", {}).get("uri", record.uri)
        closed = root in self.owner.closed and parts(root)[0] != viewer.did
        embed = self._embed(author, record.value.get("embed"))
        return {
            "uri": record.uri,
            "cid": record.cid,
            "author": profile(author, self.owner.url),
            "record": record.value,
            **({"embed": embed} if embed else {}),
            "replyCount": len(self._answers(record.uri)),
            "repostCount": 0,
            "likeCount": 0,
            "quoteCount": 0,
            "indexedAt": iso(record.indexed_at),
            "viewer": {"threadMuted": False, "replyDisabled": closed, "embeddingDisabled": False},
            "labels": [],
        }

    def _embed(self, author: TwinAccount, embed: Any) -> Json | None:
        if not isinstance(embed, dict) or embed.get("$type") != "app.bsky.embed.images":
            return None
        images = []
        for image in embed["images"]:
            url = f"{self.owner.url}/img/feed_fullsize/plain/{author.did}/{image['image']['ref']['$link']}@jpeg"
            images.append({"thumb": url.replace("fullsize", "thumbnail"), "fullsize": url, "alt": image["alt"]})
        return {"$type": "app.bsky.embed.images#view", "images": images}


def profile(account: TwinAccount, url: str) -> Json:
    """app.bsky.actor.defs#profileViewBasic."""
    return {
        "did": account.did,
        "handle": account.handle,
        "displayName": account.name,
        "avatar": f"{url}/img/avatar/plain/{account.did}@jpeg",
        "createdAt": iso(account.created_at),
        "labels": [],
    }
