"""Polling as gap repair: posts with their newest comments, recommendations, mentions, conversations.

Every stream is the same walk: a list of posts, media or conversations with the newest of what is in each, and where
that is not all since the last poll, the rest of it. The time that was read up to moves only when the walk is done.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any

from pydantic import AwareDatetime, BaseModel, Field, TypeAdapter, ValidationError

from gateway_meta import fields
from gateway_meta.api import Api, after, objects
from gateway_meta.payloads import Time
from gateway_schemas.errors import Gone, Rejected
from gateway_schemas.webhook import Page, RawPage

OVERLAP = timedelta(minutes=10)
"""How far behind the last poll a poll looks again: what was written then may have been listed later."""
PAGE_STREAMS = ("comments", "ratings", "tagged", "messages")
INSTAGRAM_STREAMS = ("comments", "messages")
_ROOTS, _INNER = 25, 50
_LATELY = timedelta(days=1)
"""What is read where a webhook said only that there is something."""
_TIME: TypeAdapter[datetime] = TypeAdapter(Time)


class Rest(BaseModel):
    """What is left to read within one post, media or conversation."""

    id: str
    after: str
    owner: str | None = None


class Run(BaseModel):
    """One walk."""

    began: AwareDatetime
    after: str | None = None
    roots_done: bool = False
    queue: list[Rest] = Field(default_factory=list)
    restarted: bool = False


class Cursor(BaseModel):
    """Everything before `since` has been read."""

    since: AwareDatetime | None = None
    run: Run | None = None


@dataclass(frozen=True)
class Walk:
    """How one stream is read."""

    path: str
    kind: str
    fields: str
    time: str
    """The field by which the list is in order, newest first."""
    inner: str | None = None
    """What is listed within each object: `comments` or `messages`."""
    inner_kind: str = ""
    inner_fields: str = ""
    inner_time: str = ""
    inner_order: Mapping[str, str] = field(default_factory=dict)
    inner_since: bool = False
    """Whether Meta can be asked for what is within since a time."""
    parameters: Mapping[str, str] = field(default_factory=dict)
    watched: bool = False
    """Whether old objects get news too: then they are read as far back as the configuration says."""
    messages: bool = False

    def all_fields(self, since: datetime) -> str:
        """The fields with those of what is within."""
        if self.inner is None:
            return self.fields
        how = "".join(f".{name}({value})" for name, value in self.inner_parameters(since).items())
        return f"{self.fields},{self.inner}{how}.limit({_INNER}){{{self.inner_fields}}}"

    def inner_parameters(self, since: datetime) -> dict[str, str]:
        """How what is within is asked for."""
        asked = dict(self.inner_order)
        if self.inner_since:
            asked["since"] = str(int(since.timestamp()))
        return asked


def walks(api: Api) -> dict[str, Walk]:
    """How the account's streams are read."""
    account, config = api.account, api.config
    platform = "instagram" if config.instagram else "messenger"
    conversations = Walk(
        path=f"{config.messaging_node}/conversations",
        kind="conversations",
        fields=fields.CONVERSATION,
        time="updated_time",
        inner="messages",
        inner_kind="messages",
        inner_fields=fields.MESSAGE,
        inner_time="created_time",
        parameters={"platform": platform},
        messages=True,
    )
    if config.instagram:
        answers = f"{fields.INSTAGRAM_COMMENT},replies.limit({_INNER}){{{fields.INSTAGRAM_COMMENT}}}"
        media = Walk(
            path=f"{account}/media",
            kind="media",
            fields=fields.MEDIA,
            time="timestamp",
            inner="comments",
            inner_kind="instagram_comments",
            inner_fields=answers,
            inner_time="timestamp",
            watched=True,
        )
        return {"comments": media, "messages": conversations}
    posts = Walk(
        path=f"{account}/feed",
        kind="posts",
        fields=fields.POST,
        time="created_time",
        inner="comments",
        inner_kind="comments",
        inner_fields=fields.COMMENT,
        inner_time="created_time",
        inner_order={"filter": "stream", "order": "reverse_chronological"},
        inner_since=True,
        watched=True,
    )
    return {
        "comments": posts,
        "ratings": Walk(f"{account}/ratings", "ratings", fields.RATING, "created_time"),
        "tagged": Walk(f"{account}/tagged", "tagged", fields.TAGGED, "created_time"),
        "messages": conversations,
    }


class Reader:
    """Reads for one account."""

    def __init__(self, api: Api) -> None:
        self.api = api
        self.walks = walks(api)

    def note(self, kind: str, **more: str | None) -> dict[str, Any]:
        """What a page was read for, for `normalise`."""
        config = self.api.config
        note = {"account": config.account_id, "own": config.own_ids, "instagram": config.instagram, "kind": kind}
        return note | {name: value for name, value in more.items() if value is not None}

    async def poll(self, stream: str, given: Mapping[str, Any] | None) -> Page:
        """One page of the stream's walk. Raises GatewayError."""
        if stream not in PAGE_STREAMS:
            raise Rejected(f"there is no stream {stream}", code="no_stream")
        walk = self.walks.get(stream)
        if walk is None or (walk.messages and not self.api.config.messages):
            return Page((), dict(given or {}))
        cursor = Cursor.model_validate(given or {})
        now = self.api.now()
        run = cursor.run = cursor.run or Run(began=now)
        since = cursor.since or now - timedelta(days=self.api.config.history_days)
        try:
            pages = await self._step(stream, walk, run, since)
        except Rejected as refused:
            # page cursors end after a while: the walk begins anew, once
            if refused.code != "graph_100" or run.restarted or (run.after is None and not run.queue):
                raise
            cursor.run = Run(began=run.began, restarted=True)
            return Page((), cursor.model_dump(mode="json"), more=True)
        if run.roots_done and not run.queue:
            return Page(pages, Cursor(since=run.began).model_dump(mode="json"))
        return Page(pages, cursor.model_dump(mode="json"), more=True)

    async def _step(self, stream: str, walk: Walk, run: Run, since: datetime) -> list[RawPage]:
        stop = since - OVERLAP
        bucket = self.api.messages_bucket if walk.messages else None
        if run.queue:
            return await self._rest(stream, walk, run, stop, bucket)
        parameters = {"fields": walk.all_fields(stop), "limit": str(_ROOTS), **walk.parameters}
        if run.after:
            parameters["after"] = run.after
        body, answer = await self.api.get(walk.path, parameters, bucket=bucket)
        found = objects(answer)
        if walk.inner:
            for one in found:
                self._queue(walk, run, one, stop)
        run.after = after(answer)
        oldest = self._watched_from(since) if walk.watched else stop
        newest = max(_times(found, walk.time), default=None)
        run.roots_done = run.after is None or newest is None or newest < oldest
        # posts are watched for weeks: where nothing in a page is new, it says nothing
        news = any(at >= stop for at in _all_times(found, walk))
        note = self.note(walk.kind, since=stop.isoformat())
        return [RawPage(body, stream=stream, note=note)] if news else []

    def _watched_from(self, since: datetime) -> datetime:
        watched = self.api.now() - timedelta(days=self.api.config.watch_days)
        return min(since, watched)

    def _queue(self, walk: Walk, run: Run, one: dict[str, Any], stop: datetime) -> None:
        inner = one.get(walk.inner or "")
        token = after(inner)
        if token and isinstance(one.get("id"), str) and _reaches(inner, walk.inner_time, stop):
            owner = one.get("username")
            run.queue.append(Rest(id=one["id"], after=token, owner=owner if isinstance(owner, str) else None))

    async def _rest(self, stream: str, walk: Walk, run: Run, stop: datetime, bucket: str | None) -> list[RawPage]:
        rest = run.queue[0]
        asked = walk.inner_parameters(stop)
        parameters = {"fields": walk.inner_fields, "limit": str(_INNER), **asked, "after": rest.after}
        try:
            body, answer = await self.api.get(f"{rest.id}/{walk.inner}", parameters, bucket=bucket)
        except Gone:
            run.queue.pop(0)
            return []
        token = after(answer)
        if token and _reaches(answer, walk.inner_time, stop):
            rest.after = token
        else:
            run.queue.pop(0)
        if not objects(answer):
            return []
        root = None if walk.messages else rest.id
        note = self.note(walk.inner_kind, root=root, owner=rest.owner, since=stop.isoformat())
        return [RawPage(body, stream=stream, note=note)]

    async def recent(self, stream: str) -> list[RawPage]:
        """The newest of a stream, where a webhook said only that there is something."""
        walk = self.walks.get(stream)
        if walk is None or (walk.messages and not self.api.config.messages):
            return []
        bucket = self.api.messages_bucket if walk.messages else None
        lately = self.api.now() - _LATELY
        parameters = {"fields": walk.all_fields(lately), "limit": str(_ROOTS), **walk.parameters}
        body, _ = await self.api.get(walk.path, parameters, bucket=bucket)
        return [RawPage(body, stream=stream, note=self.note(walk.kind))]


def _times(found: list[dict[str, Any]], name: str) -> list[datetime]:
    times = []
    for one in found:
        try:
            times.append(_TIME.validate_python(one.get(name)))
        except ValidationError:
            continue
    return times


def _all_times(found: list[dict[str, Any]], walk: Walk) -> Iterator[datetime]:
    """The times of a page's objects, of what is within, and of the answers to that."""
    yield from _times(found, walk.time)
    for one in found:
        inner = _listed(one.get(walk.inner or ""))
        yield from _times(inner, walk.inner_time)
        for answered in inner:
            yield from _times(_listed(answered.get("replies")), walk.inner_time)


def _listed(value: Any) -> list[dict[str, Any]]:
    values = value.get("data") if isinstance(value, Mapping) else None
    return [one for one in values if isinstance(one, dict)] if isinstance(values, list) else []


def _reaches(listed: Any, name: str, stop: datetime) -> bool:
    """Whether what follows a list, newest first, may be newer than `stop` still."""
    times = _times(_listed(listed), name)
    return bool(times) and min(times) >= stop
