"""Polling direct messages: what conversations had before, once, and then the log of all of them."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

from pydantic import AwareDatetime, BaseModel, Field

from gateway_bluesky.names import moment
from gateway_bluesky.payloads import several
from gateway_bluesky.reading import PAGE, Reader
from gateway_schemas.webhook import Page, RawPage


class Convo(BaseModel):
    """A conversation whose earlier messages are still to be read, and with whom it is."""

    id: str
    members: list[dict[str, Any]] = Field(default_factory=list)


class Place(BaseModel):
    """Where the reading of messages is: `rev` is the place in the log behind which everything is stored.

    Before there is one, conversations are listed; those with messages since the horizon wait in the queue.
    """

    rev: str | None = None
    listed: bool = False
    horizon: AwareDatetime | None = None
    token: str | None = None
    queue: list[Convo] = Field(default_factory=list)


class Chat:
    """Reads the messages of one account."""

    def __init__(self, reader: Reader) -> None:
        self.reader = reader
        self.api = reader.api

    async def poll(self, given: dict[str, Any] | None) -> Page:
        """One page of conversations, of a conversation's messages, or of the log. Raises GatewayError."""
        if not self.api.config.direct_messages:
            return Page((), given or {})
        place = Place.model_validate(given or {})
        if not place.listed:
            return await self._list(place)
        if place.queue:
            return await self._earlier(place)
        return await self._log(place)

    async def _list(self, place: Place) -> Page:
        if place.horizon is None:
            place.horizon = self.api.now() - timedelta(days=self.api.config.history_days)
        token = (("cursor", place.token),) if place.token is not None else ()
        _, answer = await self.api.get("chat.bsky.convo.listConvos", (("limit", str(PAGE)), *token), chat=True)
        convos = [
            one for one in several(answer.get("convos")) if isinstance(one, dict) and isinstance(one.get("id"), str)
        ]
        revs = [one["rev"] for one in convos if isinstance(one.get("rev"), str)]
        if place.token is None:
            # the log is read from the newest conversation's place on, so nothing falls between the two
            place.rev = max(revs, default=None)
        for one in convos:
            last = one.get("lastMessage")
            at = moment(last.get("sentAt")) if isinstance(last, dict) else None
            if at is not None and at >= place.horizon:
                place.queue.append(
                    Convo(id=one["id"], members=[_member(member) for member in several(one.get("members"))])
                )
        following = answer.get("cursor")
        if convos and isinstance(following, str) and following != place.token:
            place.token = following
            return Page((), _stored(place), more=True)
        if place.rev is None:
            return Page((), {})  # nobody has written yet, and the log has no beginning
        place.listed, place.token = True, None
        return Page((), _stored(place), more=True)

    async def _earlier(self, place: Place) -> Page:
        convo = place.queue[0]
        token = (("cursor", place.token),) if place.token is not None else ()
        parameters = (("convoId", convo.id), ("limit", str(PAGE)), *token)
        body, answer = await self.api.get("chat.bsky.convo.getMessages", parameters, chat=True)
        messages = [one for one in several(answer.get("messages")) if isinstance(one, dict)]
        note = self.reader.note("messages", convo=convo.id, members=convo.members)
        pages = [RawPage(body, stream="messages", note=note)] if messages else []
        following = answer.get("cursor")
        oldest = moment(messages[-1].get("sentAt")) if messages else None
        past = oldest is None or place.horizon is None or oldest < place.horizon
        if past or not isinstance(following, str) or following == place.token:
            place.queue, place.token = place.queue[1:], None
        else:
            place.token = following
        return Page(pages, _stored(place), more=True)

    async def _log(self, place: Place) -> Page:
        """The log says what happened in all conversations since a place in it."""
        place.horizon = None
        parameters = (("cursor", place.rev or ""),)
        body, answer = await self.api.get("chat.bsky.convo.getLog", parameters, chat=True)
        logs = [one for one in several(answer.get("logs")) if isinstance(one, dict)]
        following = answer.get("cursor")
        moved = isinstance(following, str) and following != place.rev
        if moved:
            place.rev = following
        pages = [RawPage(body, stream="messages", note=self.reader.note("log"))] if logs else []
        return Page(pages, _stored(place), more=bool(logs) and moved)


def _member(value: Any) -> dict[str, Any]:
    kept = ("did", "handle", "displayName", "avatar")
    return {key: value[key] for key in kept if key in value} if isinstance(value, dict) else {}


def _stored(place: Place) -> dict[str, Any]:
    return place.model_dump(mode="json", exclude_none=True, exclude_defaults=True)
