"""Reading what Google lists: the reviews of the last week, newest change first.

Google cannot be asked for reviews since a time, and lists none that last changed more than a week ago ("Reply to
Reviews"). The poll reads down to what the last one had. The sweep reads the whole week: nobody is told of reviews that
are gone, and a reply made in the Play Console does not move its review to the front.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime, timedelta
from typing import Any

from pydantic import AwareDatetime, BaseModel

from gateway_google_play.api import Api
from gateway_google_play.names import read_ref
from gateway_google_play.payloads import Review, read
from gateway_schemas.errors import GatewayError, Gone, Malformed, Rejected
from gateway_schemas.interaction import Wanted
from gateway_schemas.webhook import Page, RawPage

OVERLAP = timedelta(hours=1)
"""How far behind its last look a poll looks again: a review may be listed later than it was written."""
WEEK = timedelta(days=7)
"""How long after its last change a review is listed."""
FIRM = timedelta(days=6, hours=18)
"""How old a listed review may be for its absence to say something: the week's edge need not be sharp."""
PAGE = 100
"""The most reviews that a page has."""
GAP = "gap"
"""In the state document: what no poll could see, as `[from, to]`."""


class Run(BaseModel):
    """One look at the list, a page at a time."""

    began: AwareDatetime
    token: str | None = None
    oldest: AwareDatetime | None = None
    restarted: bool = False


class Cursor(BaseModel):
    """How far reviews have been read: everything that changed before `read_at`."""

    read_at: AwareDatetime | None = None
    page: str | None = None
    """The digest of the first page at the last look: the same page again says nothing new."""
    run: Run | None = None


class Sweep(BaseModel):
    """Where a sweep is, and when the next one is due."""

    next: AwareDatetime | None = None
    run: Run | None = None


class Reader:
    """Reads for one app."""

    def __init__(self, api: Api) -> None:
        self.api = api

    async def poll(self, given: Mapping[str, Any] | None) -> Page:
        """One page. The time it was read up to moves only at the end of the look. Raises GatewayError."""
        cursor = Cursor.model_validate(given or {})
        now = self.api.now()
        if cursor.run is None:
            await self._note_gap(cursor.read_at, now)
            cursor.run = Run(began=now)
        run = cursor.run
        first = run.token is None
        try:
            body, answer = await self.api.reviews(PAGE, run.token)
        except Rejected:
            if first or run.restarted:
                raise
            # the page token has ended: once, the look begins anew
            cursor.run = Run(began=run.began, restarted=True)
            return _page(cursor, (), more=True)
        times = times_of_change(answer)
        pages = [RawPage(body, stream="reviews", note=self.api.note("list"))] if answer.get("reviews") else []
        if first:
            digest = hashlib.sha256(body).hexdigest()[:16]
            if digest == cursor.page:
                pages = []
            cursor.page = digest
        run.oldest = min(times, default=run.oldest)
        since = cursor.read_at - OVERLAP if cursor.read_at else None
        reached = since is not None and run.oldest is not None and run.oldest < since and in_order(times)
        token = _next_token(answer)
        if token and not reached and token != run.token:
            run.token = token
            return _page(cursor, pages, more=True)
        cursor.read_at, cursor.run = run.began, None
        return _page(cursor, pages)

    async def _note_gap(self, read_at: datetime | None, now: datetime) -> None:
        """What was written after the last look and more than a week ago is listed no more."""
        if read_at is not None and now - read_at > WEEK:
            await self.api.state.merge({GAP: [read_at.isoformat(), (now - WEEK).isoformat()]})

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
            body, answer = await self.api.reviews(PAGE, run.token)
        except (Rejected, Gone):
            # a listing that breaks off says nothing of what it did not come to
            return _page(Sweep(next=run.began + every), ())
        token = _next_token(answer)
        note = self.api.note(
            "sweep",
            before=(run.oldest or run.began - OVERLAP).isoformat(),
            window=(run.began - FIRM).isoformat(),
            last=token is None,
        )
        pages = [RawPage(body, stream="sweep", note=note)]
        if token is None or token == run.token:
            return _page(Sweep(next=run.began + every), pages)
        oldest = min([*times_of_change(answer), run.oldest or run.began - OVERLAP])
        return _page(Sweep(next=cursor.next, run=Run(began=run.began, token=token, oldest=oldest)), pages, more=True)

    async def fetch(self, wanted: Sequence[Wanted]) -> list[RawPage]:
        """Single reviews. What Google has trouble with stays unanswered. Raises GatewayError where all of it is."""
        pages: list[RawPage] = []
        for item in wanted:
            parts = read_ref(item.ref)
            if parts is None or parts.package != self.api.package:
                pages.append(RawPage(b"", gone=[item.ref]))
                continue
            try:
                body, _ = await self.api.review(item.ref)
            except Gone:
                gone = json.dumps({"ref": item.ref}).encode()
                pages.append(RawPage(gone, note=self.api.note("gone"), answers=[item.ref]))
            except GatewayError:
                if not pages:
                    raise
                break
            else:
                pages.append(RawPage(body, note=self.api.note("review"), answers=[item.ref]))
        return pages


def times_of_change(answer: Mapping[str, Any]) -> list[datetime]:
    """When the reviews on a page last changed, in their order; those that cannot be read are left out."""
    values = answer.get("reviews")
    found: list[datetime] = []
    for value in values if isinstance(values, list) else ():
        try:
            found.append(read(Review, value, "review").words.last_modified.at)
        except Malformed:
            continue
    return found


def in_order(times: Sequence[datetime]) -> bool:
    """Whether the newest change comes first."""
    return list(times) == sorted(times, reverse=True)


def _next_token(answer: Mapping[str, Any]) -> str | None:
    pagination = answer.get("tokenPagination")
    token = pagination.get("nextPageToken") if isinstance(pagination, dict) else None
    return token if isinstance(token, str) and token else None


def _page(cursor: Cursor | Sweep, pages: Iterable[RawPage], *, more: bool = False) -> Page:
    return Page(list(pages), cursor.model_dump(mode="json", exclude_defaults=True), more)
