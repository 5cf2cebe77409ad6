"""Reading reviews: what is new, once a day all of them, and how responses of ours fare.

Apple tells nobody of reviews (its webhooks know no such event), and cannot be asked for those since a time: they are
listed newest first, and read until one is reached that the last poll had. An edited review is listed by its new date.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime, timedelta
from typing import Any

from pydantic import AwareDatetime, BaseModel, Field, ValidationError

from gateway_app_store.api import Api
from gateway_app_store.memory import Memory
from gateway_app_store.payloads import Review, is_id
from gateway_schemas.errors import GatewayError, Gone, Rejected
from gateway_schemas.interaction import Wanted
from gateway_schemas.webhook import Page, RawPage

OVERLAP = timedelta(hours=6)
"""How far behind its last look a poll looks again: a review may be listed later than it is dated."""
FULL, SMALL = 200, 50
"""Reviews a page when all are read, and when a few new ones are expected."""
_AT_ONCE = 20
_FOLLOWED = timedelta(days=7)
"""For so long is it asked whether a response is shown; then the sweep has to do."""


class Run(BaseModel):
    """One look at the list, a page at a time."""

    began: AwareDatetime
    next: str | None = None
    oldest: AwareDatetime | None = None
    restarted: bool = False


class Cursor(BaseModel):
    """How far reviews have been read: everything dated before `read_at`."""

    read_at: AwareDatetime | None = None
    page: str | None = None
    """The digest of the first page at the last look: the same page again says nothing new."""
    run: Run | None = None


class Sweep(BaseModel):
    """Where a sweep is, and when the next one is due."""

    next: AwareDatetime | None = None
    run: Run | None = None


class Follow(BaseModel):
    """Which responses are asked after when, and which are settled but not forgotten yet."""

    next: dict[str, AwareDatetime] = Field(default_factory=dict)
    settled: list[str] = Field(default_factory=list)


class Reader:
    """Reads for one app."""

    def __init__(self, api: Api) -> None:
        self.api = api
        self.memory = Memory(api.state)

    async def poll(self, given: Mapping[str, Any] | None) -> Page:
        """One page. The time it was read up to moves only at the end of the look. Raises GatewayError."""
        cursor = Cursor.model_validate(given or {})
        run = cursor.run = cursor.run or Run(began=self.api.now())
        first = run.next is None
        try:
            body, answer = await self.api.reviews(SMALL if cursor.read_at else FULL, run.next)
        except (Rejected, Gone):
            if first or run.restarted:
                raise
            # the page's cursor has ended: once, the look begins anew
            cursor.run = Run(began=run.began, restarted=True)
            return _page(cursor, (), more=True)
        times = times_of(answer)
        pages = [RawPage(body, stream="reviews", note=await self.api.note("list"))] if answer.get("data") else []
        if first:
            digest = hashlib.sha256(body).hexdigest()[:16]
            if digest == cursor.page:
                pages = []
            cursor.page = digest
        run.oldest = min(times, default=run.oldest)
        since = cursor.read_at - OVERLAP if cursor.read_at else None
        in_order = times == sorted(times, reverse=True)
        reached = since is not None and run.oldest is not None and run.oldest < since and in_order
        following = self.api.next_of(answer)
        if following and not reached and following != run.next:
            run.next = following
            return _page(cursor, pages, more=True)
        cursor.read_at, cursor.run = run.began, None
        return _page(cursor, pages)

    async def sweep(self, given: Mapping[str, Any] | None) -> Page:
        """One page of the sweep, when one is due. Raises GatewayError."""
        cursor = Sweep.model_validate(given or {})
        now = self.api.now()
        every = timedelta(hours=self.api.config.sweep_hours)
        if cursor.run is None:
            # the first one only after a while: polling reads everything when a connection is made
            if cursor.next is None or now < cursor.next:
                return _page(Sweep(next=cursor.next or now + every), ())
            cursor.run = Run(began=now)
        run = cursor.run
        try:
            body, answer = await self.api.reviews(FULL, run.next)
        except (Rejected, Gone):
            # a listing that breaks off says nothing of what it did not come to
            return _page(Sweep(next=run.began + every), ())
        following = self.api.next_of(answer)
        last = following is None or following == run.next
        before = run.oldest or run.began - OVERLAP
        note = await self.api.note("sweep", before=before.isoformat(), last=following is None)
        pages = [RawPage(body, stream="sweep", note=note)]
        if last:
            return _page(Sweep(next=run.began + every), pages)
        oldest = min([*times_of(answer), before])
        run = Run(began=run.began, next=following, oldest=oldest)
        return _page(Sweep(next=cursor.next, run=run), pages, more=True)

    async def follow(self, given: Mapping[str, Any] | None) -> Page:
        """Look at responses that are not known to be shown. Raises GatewayError.

        What is settled is forgotten a poll later, when the page that says so is surely stored.
        """
        cursor = Follow.model_validate(given or {})
        await self.memory.drop("pending", cursor.settled)
        now = self.api.now()
        waiting = await self.memory.all("pending")
        due = [id for id in waiting if cursor.next.get(id, now) <= now]
        pages: list[RawPage] = []
        settled: list[str] = []
        for id in due[:_AT_ONCE]:
            age = now - datetime.fromisoformat(str(waiting[id]["at"]))
            try:
                page, over = await self._look(id, str(waiting[id].get("review")))
            except GatewayError:
                if not pages:
                    raise
                break
            pages.append(page)
            if over or age > _FOLLOWED:
                settled.append(id)
            cursor.next[id] = now + _pause(age)
        later = {id: at for id, at in cursor.next.items() if id in waiting and id not in settled}
        more = len(due) > _AT_ONCE and len(pages) >= _AT_ONCE
        return _page(Follow(next=later, settled=settled), pages, more=more)

    async def _look(self, id: str, review: str) -> tuple[RawPage, bool]:
        try:
            body, response = await self.api.response(id)
        except Gone:
            gone = json.dumps({"ref": id}).encode()
            return RawPage(gone, stream="responses", note=await self.api.note("response_gone")), True
        note = await self.api.note("response", review=review)
        return RawPage(body, stream="responses", note=note), not response.pending

    async def fetch(self, wanted: Sequence[Wanted]) -> list[RawPage]:
        """Single reviews. What Apple has trouble with stays unanswered. Raises GatewayError where all of it is."""
        pages: list[RawPage] = []
        for item in wanted:
            if not is_id(item.ref):
                pages.append(RawPage(b"", gone=[item.ref]))
                continue
            try:
                body, _, _ = await self.api.review(item.ref)
            except Gone:
                gone = json.dumps({"ref": item.ref}).encode()
                pages.append(RawPage(gone, note=await self.api.note("gone"), answers=[item.ref]))
            except GatewayError:
                if not pages:
                    raise
                break
            else:
                pages.append(RawPage(body, note=await self.api.note("review"), answers=[item.ref]))
        return pages


def times_of(answer: Mapping[str, Any]) -> list[datetime]:
    """When the reviews on a page are dated, in their order; those that cannot be read are left out."""
    values = answer.get("data")
    found: list[datetime] = []
    for value in values if isinstance(values, list) else ():
        try:
            found.append(Review.model_validate(value).attributes.created_date)
        except ValidationError:
            continue
    return found


def _pause(age: timedelta) -> timedelta:
    if age < timedelta(hours=1):
        return timedelta()
    return timedelta(hours=1) if age < timedelta(days=1) else timedelta(hours=6)


def _page(cursor: BaseModel, pages: Iterable[RawPage], *, more: bool = False) -> Page:
    return Page(list(pages), cursor.model_dump(mode="json", exclude_defaults=True), more)
