"""Polling notifications and the account's own posts, looking into its threads, and fetching what deliveries named."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from datetime import datetime, timedelta
from typing import Any, NamedTuple

from pydantic import AwareDatetime, BaseModel, Field

from gateway_bluesky.api import Api, Parameters
from gateway_bluesky.names import is_post, message_parts, moment
from gateway_bluesky.normalise import REASONS
from gateway_bluesky.payloads import several
from gateway_bluesky.posts import picture_urls
from gateway_schemas.errors import Gone
from gateway_schemas.interaction import Attachment, Wanted
from gateway_schemas.webhook import Page, RawPage

OVERLAP = timedelta(minutes=10)
PAGE = 100
LOOK_UP = 25
"""The most addresses that `getPosts` takes."""
_SEEN = 300
_THREADS = 10
_DEPTH = 10


class Entry(NamedTuple):
    """One post in a list, when the list got it, and how many answers it has where the list says so."""

    uri: str
    cid: str
    at: datetime
    own: bool
    replies: int


class Walk(BaseModel):
    """Where the polling of a list is, whose pages only go back.

    All that was indexed before `since` is stored; of what came later, `seen` has what is. While a walk is under way,
    `token` is the list's own, `newest` the time of its first entry, and `found` what becomes of `seen`.
    """

    since: AwareDatetime | None = None
    seen: dict[str, str] = Field(default_factory=dict)
    token: str | None = None
    newest: AwareDatetime | None = None
    found: dict[str, str] = Field(default_factory=dict)


class Threads(BaseModel):
    """How many answers each of the account's own newest posts had when its thread was read."""

    counts: dict[str, int] = Field(default_factory=dict)


class Reader:
    """Reads for one account."""

    def __init__(self, api: Api) -> None:
        self.api = api

    def note(self, kind: str, **more: Any) -> dict[str, Any]:
        """What travels with a page."""
        return {"kind": kind, "account": self.api.did, **more}

    # poll

    async def poll_notifications(self, cursor: dict[str, Any] | None) -> Page:
        """One page of what mentions, answers or quotes the account. Nothing is marked as read. Raises GatewayError."""
        method = "app.bsky.notification.listNotifications"
        return await self._poll(method, notified(), "notifications", cursor)

    async def poll_own(self, cursor: dict[str, Any] | None) -> Page:
        """One page of what the account itself posted, here or elsewhere. Raises GatewayError."""
        return await self._poll("app.bsky.feed.getAuthorFeed", self._own(), "feed", cursor)

    def _own(self) -> Parameters:
        return (("actor", self.api.did), ("limit", str(PAGE)), ("filter", "posts_with_replies"))

    async def _poll(self, method: str, parameters: Parameters, kind: str, given: dict[str, Any] | None) -> Page:
        walk = Walk.model_validate(given or {})
        until = walk.since or self.api.now() - timedelta(days=self.api.config.history_days)
        place = (("cursor", walk.token),) if walk.token is not None else ()
        body, answer = await self.api.get(method, (*parameters, *place))
        found = list(entries(answer, kind, self.api.did))
        if walk.token is None:
            walk.newest, walk.found = max((entry.at for entry in found), default=None), {}
        new = any(entry.at >= until and walk.seen.get(entry.uri) != entry.cid for entry in found)
        known = (entry.uri for entry in found if walk.seen.get(entry.uri, entry.cid) != entry.cid)
        edited = dict.fromkeys(known, self.api.now().isoformat())
        more = {"edited": edited} if edited else {}
        pages = [RawPage(body, stream=kind, note=self.note(kind, **more))] if new else []
        since = walk.newest - OVERLAP if walk.newest is not None else until
        for entry in found:
            if entry.at >= since and len(walk.found) < _SEEN:
                walk.found[entry.uri] = entry.cid
        token = answer.get("cursor")
        if not found or not isinstance(token, str) or token == walk.token or found[-1].at < until:
            return Page(pages, _stored(Walk(since=max(since, until), seen=walk.found)))
        walk.token = token
        return Page(pages, _stored(walk), more=True)

    async def poll_threads(self, given: dict[str, Any] | None) -> Page:
        """Threads under the account's own newest posts that grew. Raises GatewayError.

        The index handles repositories side by side, so an answer written right after its parent may be indexed first,
        and then nobody is notified of it.
        """
        known = Threads.model_validate(given or {})
        horizon = self.api.now() - timedelta(days=self.api.config.thread_days)
        _, answer = await self.api.get("app.bsky.feed.getAuthorFeed", self._own())
        recent = [one for one in entries(answer, "feed", self.api.did) if one.own and one.at >= horizon]
        grown = [one for one in recent if one.replies > known.counts.get(one.uri, 0)]
        pages: list[RawPage] = []
        for one in grown[:_THREADS]:
            pages += await self._thread(one.uri, _DEPTH, 0)
        later = {one.uri for one in grown[_THREADS:]}
        counts = {one.uri: known.counts.get(one.uri, 0) if one.uri in later else one.replies for one in recent}
        return Page(pages, _stored(Threads(counts=counts)), more=bool(later))

    async def _thread(self, uri: str, depth: int, height: int) -> list[RawPage]:
        parameters = (("uri", uri), ("depth", str(depth)), ("parentHeight", str(height)))
        try:
            body, _ = await self.api.get("app.bsky.feed.getPostThread", parameters)
        except Gone:
            return []
        return [RawPage(body, stream="threads", note=self.note("thread"))]

    # fetch

    async def fetch(self, wanted: Sequence[Wanted]) -> list[RawPage]:
        """Posts by 25, threads and messages one by one. Raises GatewayError."""
        pages: list[RawPage] = []
        uris: list[str] = []
        for item in wanted:
            parts = message_parts(item.ref)
            if parts is not None:
                pages.append(await self._message(item.ref, *parts))
            elif not is_post(item.ref) or item.kind not in ("interaction", "thread"):
                pages.append(RawPage(b"", gone=[item.ref]))
            elif item.kind == "thread":
                found = await self._thread(item.ref, 100, 80)
                answers = [RawPage(page.body, note=page.note, answers=[item.ref]) for page in found]
                pages += answers or [RawPage(b"", gone=[item.ref])]
            else:
                uris.append(item.ref)
        return [*pages, *await self.posts(uris)]

    async def posts(self, uris: Sequence[str], edited: dict[str, str] | None = None) -> list[RawPage]:
        """Posts as they are now, and those that are gone. `edited` says when some became so. Raises GatewayError."""
        pages: list[RawPage] = []
        uris = list(dict.fromkeys(uris))
        for start in range(0, len(uris), LOOK_UP):
            asked = uris[start : start + LOOK_UP]
            body, answer = await self.api.get("app.bsky.feed.getPosts", [("uris", uri) for uri in asked])
            shown = {post.get("uri") for post in several(answer.get("posts")) if isinstance(post, dict)}
            found = [uri for uri in asked if uri in shown]
            gone = [uri for uri in asked if uri not in shown]
            if found:
                changed = {uri: at for uri, at in (edited or {}).items() if uri in found}
                more = {"edited": changed} if changed else {}
                pages.append(RawPage(body, note=self.note("posts", **more), answers=found))
            if gone:
                missing = json.dumps({"uris": gone}).encode()
                pages.append(RawPage(missing, note=self.note("gone"), gone=gone))
        return pages

    async def post(self, uri: str) -> dict[str, Any] | None:
        """One post as this account sees it; None when it is not shown. Raises GatewayError."""
        _, answer = await self.api.get("app.bsky.feed.getPosts", (("uris", uri),))
        found = (post for post in several(answer.get("posts")) if isinstance(post, dict) and post.get("uri") == uri)
        return next(found, None)

    async def picture(self, named: Attachment) -> Attachment:
        """A picture that a notification named by its blob, with the address that its post's view has. Raises Gone."""
        post = await self.post(named.lookup or "")
        embed = post.get("embed") if post is not None else None
        url = picture_urls(embed if isinstance(embed, dict) else None).get(named.external_id or "")
        if url is None:
            raise Gone("the post does not show this picture any more", code="no_media")
        return named.model_copy(update={"url": url})

    async def _message(self, ref: str, convo: str, id: str) -> RawPage:
        """A message cannot be asked for by itself: the newest of its conversation are."""
        try:
            parameters = (("convoId", convo), ("limit", str(PAGE)))
            body, answer = await self.api.get("chat.bsky.convo.getMessages", parameters, chat=True)
        except Gone:
            return RawPage(b"", gone=[ref])
        ids = {one.get("id") for one in several(answer.get("messages")) if isinstance(one, dict)}
        if id not in ids:
            return RawPage(b"", gone=[ref])
        return RawPage(body, note=self.note("messages", convo=convo), answers=[ref])


def notified(limit: int = PAGE) -> Parameters:
    """What notifications are asked for."""
    return (*(("reasons", reason) for reason in REASONS), ("limit", str(limit)))


def entries(answer: dict[str, Any], kind: str, did: str) -> Iterator[Entry]:
    """The entries of a page, newest first, of which time and address can be read."""
    for value in several(answer.get(kind)):
        post = value.get("post") if kind == "feed" and isinstance(value, dict) else value
        if not isinstance(post, dict):
            continue
        reason = value.get("reason") if kind == "feed" else None
        at = moment((reason if isinstance(reason, dict) else post).get("indexedAt")) or moment(post.get("indexedAt"))
        uri, cid, replies = post.get("uri"), post.get("cid"), post.get("replyCount")
        if at is None or not isinstance(uri, str) or not isinstance(cid, str):
            continue
        own = reason is None and isinstance(post.get("author"), dict) and post["author"].get("did") == did
        yield Entry(uri, cid, at, own, replies if isinstance(replies, int) else 0)


def _stored(cursor: BaseModel) -> dict[str, Any]:
    return cursor.model_dump(mode="json", exclude_none=True, exclude_defaults=True)
