"""Polling as gap repair, and fetching what deliveries named: what X's webhooks did not tell or did not carry."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import datetime, timedelta
from typing import Any

from gateway_schemas.errors import Gone, Rejected
from gateway_schemas.interaction import Attachment, Wanted
from gateway_schemas.webhook import Page, RawPage
from gateway_x import metering
from gateway_x.api import MESSAGE_FIELDS, POST_FIELDS, Api, seconds
from gateway_x.messages import MESSAGE_REF
from gateway_x.metering import priced
from gateway_x.payloads import Includes, snowflake_at, snowflake_time
from gateway_x.posts import attachment

OVERLAP = timedelta(minutes=2)
_PAGE = 100
_FIRST_MESSAGES = 20
"""Messages cannot be asked for since an id, so a poll that finds nothing new pays for its first page all the same."""
_MESSAGE_DAYS = 30
_SEARCH_PAGES = 10
_TRANSIENT = {"internal-error", "field-hydration-failure"}

Cursor = dict[str, Any]


class Reader:
    """Reads for one account."""

    def __init__(self, api: Api) -> None:
        self.api = api
        self.account = api.config.user_id

    def _note(self, kind: str) -> dict[str, Any]:
        return {"account": self.account, "kind": kind}

    # poll

    async def poll_mentions(self, cursor: Cursor | None) -> Page:
        """One page of the mentions timeline.

        The newest id of the first page becomes the next `since_id`, but only when the last page is stored; until then
        the cursor holds the old one and X's token. Ids are given out before posts are shown, so the next poll starts
        two minutes before this one at the latest.
        """
        cursor = dict(cursor or {})
        token = cursor.get("token")
        parameters = POST_FIELDS | {"max_results": str(_PAGE)}
        if cursor.get("since_id"):
            parameters["since_id"] = cursor["since_id"]
        else:
            start = self.api.now() - timedelta(days=self.api.config.history_days)
            cursor.setdefault("start_time", seconds(start))
            parameters["start_time"] = cursor["start_time"]
        if token:
            parameters["pagination_token"] = token
        owned = self.account == self.api.app.owner_user_id
        # what the webhook told of today is not billed again: a first page since the last poll costs about nothing
        expected = _PAGE if token or not cursor.get("since_id") else 1
        price = metering.OWNED_READ if owned else metering.POST_READ
        extensions = priced(metering.MENTIONS, price, expected, account=self.account)
        path = f"/2/users/{self.account}/mentions"
        try:
            body, answer = await self.api.get(path, parameters, who="account", extensions=extensions)
        except Rejected as refused:
            return _again(cursor, refused)
        meta = _meta(answer)
        if not token:
            cursor["newest"] = self._next(cursor.get("since_id"), meta.get("newest_id"))
        pages = [RawPage(body, stream="mentions", note=self._note("posts"))] if answer.get("data") else []
        if next_token := meta.get("next_token"):
            return Page(pages, {**cursor, "token": next_token}, more=True)
        return Page(pages, {"since_id": cursor["newest"]} if cursor["newest"] else {})

    async def poll_messages(self, cursor: Cursor | None) -> Page:
        """One page of the account's messages, newest first, until one is reached that the last poll had."""
        cursor = dict(cursor or {})
        config, now = self.api.config, self.api.now()
        token, since = cursor.get("token"), cursor.get("since_id")
        pause = timedelta(minutes=config.direct_message_poll_minutes)
        last = cursor.get("polled_at")
        if not config.direct_messages or (not token and last and now - datetime.fromisoformat(last) < pause):
            return Page((), cursor)
        size = _PAGE if token or not since else _FIRST_MESSAGES
        parameters = MESSAGE_FIELDS | {"max_results": str(size), "event_types": "MessageCreate"}
        if token:
            parameters["pagination_token"] = token
        else:
            days = min(config.history_days, _MESSAGE_DAYS)
            cursor |= {"polled_at": now.isoformat(), "horizon": str(snowflake_at(now - timedelta(days=days)))}
        expected = _PAGE if token or not since else 1
        extensions = priced(metering.MESSAGES, metering.MESSAGE_READ, expected, account=self.account)
        try:
            body, answer = await self.api.get("/2/dm_events", parameters, who="account", extensions=extensions)
        except Rejected as refused:
            return _again(cursor, refused)
        ids = [int(id) for id in _by_id(answer)]
        if not token:
            cursor["newest"] = self._next(since, str(max(ids)) if ids else None)
        pages = [RawPage(body, stream="dms", note=self._note("messages"))] if ids else []
        next_token = _meta(answer).get("next_token")
        if next_token and ids and min(ids) > max(int(since or 0), int(cursor["horizon"])):
            return Page(pages, {**cursor, "token": next_token}, more=True)
        done: Cursor = {"polled_at": cursor["polled_at"]}
        return Page(pages, done | ({"since_id": cursor["newest"]} if cursor["newest"] else {}))

    def _next(self, since: str | None, newest: str | None) -> str | None:
        if newest is None:
            return since
        bound = min(int(newest), snowflake_at(self.api.now() - OVERLAP))
        if snowflake_time(newest) is None:
            bound = int(newest)
        return str(max(bound, int(since or 0)))

    # fetch

    async def fetch(self, wanted: Sequence[Wanted]) -> list[RawPage]:
        """Look up posts by the hundred, messages and conversations one by one."""
        pages: list[RawPage] = []
        posts: dict[str, Wanted] = {}
        for item in wanted:
            if item.kind == "thread":
                pages += await self._thread(item.ref)
            elif item.ref.startswith(MESSAGE_REF):
                pages.append(await self._message(item.ref, item.ref.removeprefix(MESSAGE_REF)))
            elif item.kind == "interaction" and _is_id(item.ref):
                posts[item.ref] = item
            else:
                pages.append(RawPage(b"", gone=[item.ref]))
        ids = list(posts)
        for start in range(0, len(ids), _PAGE):
            pages += await self._posts(ids[start : start + _PAGE], posts)
        return pages

    async def _posts(self, ids: list[str], wanted: dict[str, Wanted]) -> list[RawPage]:
        body, answer = await self._look_up(ids)
        found = _by_id(answer)
        unsure = {
            str(error.get("resource_id") or error.get("value"))
            for error in answer.get("errors") or ()
            if isinstance(error, dict) and str(error.get("type", "")).rpartition("/")[2] in _TRANSIENT
        }
        gone = [id for id in ids if id not in found and id not in unsure]
        pages = []
        if self.api.config.direct_messages:
            # a message refreshed by its id alone looks like a post; only X can tell
            perhaps = [id for id in gone if wanted[id].reason == "refresh"]
            pages = [await self._message(id, id) for id in perhaps]
            gone = [id for id in gone if id not in perhaps]
        pages.append(RawPage(body, note=self._note("posts"), answers=list(found), gone=gone))
        # an id asks for that very version of a post, and the answer names the newer ones
        newest = {_newest(post) for post in found.values()} - set(found)
        if newest:
            body, _ = await self._look_up(sorted(newest))
            pages.append(RawPage(body, note=self._note("posts")))
        return pages

    async def _look_up(self, ids: list[str]) -> tuple[bytes, dict[str, Any]]:
        extensions = priced(metering.LOOK_UP, metering.POST_READ, len(ids))
        return await self.api.get("/2/tweets", POST_FIELDS | {"ids": ",".join(ids)}, who="app", extensions=extensions)

    async def media_of(self, named: Attachment) -> Attachment:
        """A picture or video that a webhook named by its key, as its post shows it; paid as one post.

        Raises Gone when the post or the picture is not there any more.
        """
        _, answer = await self._look_up([named.lookup or ""])
        found = Includes(answer.get("includes")).media.get(named.external_id or "")
        if found is None:
            raise Gone("the post does not show this picture any more", code="no_media")
        return attachment(named.external_id or "", found)

    async def _message(self, ref: str, id: str) -> RawPage:
        extensions = priced(metering.MESSAGE, metering.MESSAGE_READ, account=self.account)
        try:
            body, answer = await self.api.get(
                f"/2/dm_events/{id}", MESSAGE_FIELDS, who="account", extensions=extensions
            )
        except Gone:
            return RawPage(b"", gone=[ref])
        if not answer.get("data"):
            return RawPage(b"", gone=[ref])
        return RawPage(body, note=self._note("messages"), answers=[ref])

    async def _thread(self, ref: str) -> list[RawPage]:
        """A conversation's posts of the last seven days, as far back as recent search reaches."""
        if not _is_id(ref):
            return [RawPage(b"", gone=[ref])]
        pages: list[RawPage] = []
        parameters = POST_FIELDS | {"query": f"conversation_id:{ref}", "max_results": str(_PAGE)}
        extensions = priced(metering.SEARCH, metering.POST_READ, _PAGE)
        for _ in range(_SEARCH_PAGES):
            body, answer = await self.api.get("/2/tweets/search/recent", parameters, who="app", extensions=extensions)
            token = _meta(answer).get("next_token")
            last = token is None or len(pages) == _SEARCH_PAGES - 1
            pages.append(RawPage(body, note=self._note("posts"), answers=[ref] if last else ()))
            if last:
                break
            parameters["next_token"] = str(token)
        return pages


def _again(cursor: Cursor, refused: Rejected) -> Page:
    """X refused a page token, which ends after a while: start this gap anew, once. Else the refusal stands."""
    if "token" not in cursor or cursor.get("restarted"):
        raise refused
    kept: Cursor = {key: cursor[key] for key in ("since_id", "start_time") if key in cursor}
    return Page((), {**kept, "restarted": True}, more=True)


def _meta(answer: dict[str, Any]) -> dict[str, Any]:
    meta = answer.get("meta")
    return meta if isinstance(meta, dict) else {}


def _by_id(answer: dict[str, Any]) -> dict[str, dict[str, Any]]:
    data = answer.get("data")
    objects = (value for value in (data if isinstance(data, list) else ()) if isinstance(value, dict))
    return {value["id"]: value for value in objects if isinstance(value.get("id"), str) and _is_id(value["id"])}


def _newest(post: dict[str, Any]) -> str:
    history: Iterable[Any] = post.get("edit_history_tweet_ids") or post.get("edit_history_post_ids") or [post["id"]]
    return str(list(history)[-1])


def _is_id(ref: str) -> bool:
    return ref.isascii() and ref.isdecimal() and len(ref) <= 19
