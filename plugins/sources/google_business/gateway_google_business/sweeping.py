"""What Google tells nobody: reviews that are gone, replies made elsewhere on old reviews, and how replies of ours fare.

The sweep reads every location's reviews once a day, a page at a time. Each page is a whole listing of the stretch
between two times of change, so what we know of that stretch and is not on it is looked at once more, and only what
Google then does not have is gone.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime, timedelta
from typing import Any

from pydantic import AwareDatetime, BaseModel, Field

from gateway_google_business.api import readable
from gateway_google_business.memory import Memory
from gateway_google_business.names import reply_id
from gateway_google_business.reading import OVERLAP, Reader, times_of_change
from gateway_google_business.reviews import reply_status
from gateway_schemas.errors import GatewayError, Gone, Rejected
from gateway_schemas.webhook import Page, RawPage

_SURE = timedelta(minutes=15)
"""So long after it was sent is a reply that Google does not show taken for removed."""
_AT_ONCE = 20
_FOLLOWED = timedelta(days=7)
"""For so long is the outcome of Google's review of a reply asked for; then the sweep has to do."""


class Sweep(BaseModel):
    """Where a sweep is, and when the next one is due."""

    next: AwareDatetime | None = None
    queue: list[str] = Field(default_factory=list)
    token: str | None = None
    before: AwareDatetime | None = None
    """The time down to which the location has been listed."""


class Follow(BaseModel):
    """Which replies are asked after when, and which are settled but not forgotten yet."""

    next: dict[str, AwareDatetime] = Field(default_factory=dict)
    settled: list[str] = Field(default_factory=list)


class Sweeper:
    """Reads again for one account."""

    def __init__(self, reader: Reader, memory: Memory) -> None:
        self.reader = reader
        self.api = reader.api
        self.memory = memory

    async def sweep(self, given: Mapping[str, Any] | None) -> Page:
        """One page of the sweep, when one is due. Raises GatewayError."""
        cursor = Sweep.model_validate(given or {})
        now = self.api.now()
        every = timedelta(hours=self.api.config.sweep_hours)
        if not cursor.queue:
            # the first one only after a while: polling reads everything when a connection is made
            if cursor.next is None or now < cursor.next:
                return _at(Sweep(next=cursor.next or now + every))
            names = [name for name, location in (await self.api.locations(fresh=True)).items() if readable(location)]
            cursor = Sweep(next=now + every, queue=names)
            if not names:
                return _at(cursor)
        location = cursor.queue[0]
        before = cursor.before or now - OVERLAP
        try:
            body, answer = await self.reader.list_reviews(location, cursor.token)
        except (Rejected, Gone):
            # a listing that breaks off says nothing of what it did not come to
            return _at(Sweep(next=cursor.next, queue=cursor.queue[1:]))
        token = answer.get("nextPageToken")
        note = await self.reader.note("sweep", [location], location=location, before=before.isoformat(), last=not token)
        pages = [RawPage(body, stream="sweep", note=note)]
        if not token:
            return _at(Sweep(next=cursor.next, queue=cursor.queue[1:]), pages)
        oldest = min([*times_of_change(answer.get("reviews") or ()), before])
        return _at(Sweep(next=cursor.next, queue=cursor.queue, token=str(token), before=oldest), pages)

    async def follow(self, given: Mapping[str, Any] | None) -> Page:
        """Look at replies whose review by Google is not known to have ended. Raises GatewayError.

        What is settled is forgotten a poll later, when the page that says so is surely stored.
        """
        cursor = Follow.model_validate(given or {})
        await self.memory.drop("review", cursor.settled)
        now = self.api.now()
        waiting = await self.memory.all("review")
        due = [ref for ref in waiting if cursor.next.get(ref, now) <= now]
        pages: list[RawPage] = []
        settled: list[str] = []
        for ref in due[:_AT_ONCE]:
            age = now - datetime.fromisoformat(str(waiting[ref]["at"]))
            try:
                page, over = await self._look(ref, str(waiting[ref].get("id")), age)
            except GatewayError:
                if not pages:
                    raise
                break
            pages += page
            if over or age > _FOLLOWED:
                settled.append(ref)
            cursor.next[ref] = now + _pause(age)
        later = {ref: at for ref, at in cursor.next.items() if ref in waiting and ref not in settled}
        more = len(due) > _AT_ONCE and len(pages) >= _AT_ONCE
        return Page(pages, Follow(next=later, settled=settled).model_dump(mode="json", exclude_defaults=True), more)

    async def _look(self, ref: str, id: str, age: timedelta) -> tuple[list[RawPage], bool]:
        try:
            body, review = await self.api.review(ref)
        except Gone:
            return [self.reader.gone(ref)], True
        sure = age > _SURE
        more = {"expected": id} if sure else {}
        page = RawPage(body, stream="replies", note=await self.reader.note("review", [review.parts.subject], **more))
        reply = review.reply
        if reply is None or reply_id(ref, reply.comment) != id:
            return [page], sure
        status = reply_status(id, self.api.account, reply)
        # where Google tells no state, being shown is all there is
        return [page], status is None or status.state != "pending"


def _pause(age: timedelta) -> timedelta:
    if age < timedelta(hours=1):
        return timedelta()
    return timedelta(hours=1) if age < timedelta(days=1) else timedelta(hours=6)


def _at(cursor: Sweep, pages: list[RawPage] | None = None) -> Page:
    return Page(pages or (), cursor.model_dump(mode="json", exclude_defaults=True), more=bool(cursor.queue))
