"""Polling new and changed reviews of all locations at once, and fetching what a wake-up or a listing named.

Google cannot be asked for reviews since a time: they are listed in order of change, newest first, and read until one is
reached that the last poll had. A new location is read to its beginning.
"""

from __future__ import annotations

import asyncio
import hashlib
import json
from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime, timedelta
from itertools import pairwise
from typing import Any

from pydantic import AwareDatetime, BaseModel, Field, ValidationError

from gateway_google_business import budgets
from gateway_google_business.api import Api, readable
from gateway_google_business.names import is_location_ref, is_review_ref
from gateway_google_business.payloads import Review
from gateway_schemas.errors import GatewayError, Gone, Rejected
from gateway_schemas.http import json_object
from gateway_schemas.interaction import Wanted
from gateway_schemas.webhook import Page, RawPage

OVERLAP = timedelta(hours=1)
"""How far behind its last look a poll looks again: a review may be listed later than it was written."""
TOGETHER = 50
"""Locations that one call reads."""
FULL, SMALL = 200, 50
"""Reviews a page when a location is read to its beginning, and when a few new ones are expected."""
LIST_PAGE = 50
_AT_ONCE = 5


class Job(BaseModel):
    """Locations that are read together, newest reviews first, down to `since`."""

    locations: list[str]
    since: AwareDatetime | None = None
    token: str | None = None
    oldest: AwareDatetime | None = None
    unordered: bool = False
    restarted: bool = False

    @property
    def size(self) -> int:
        """Reviews a page; a page token holds for the size it was given with."""
        return FULL if self.since is None else SMALL


class Run(BaseModel):
    """One look at all locations."""

    began: AwareDatetime
    queue: list[Job]
    done: list[str] = Field(default_factory=list)


class Cursor(BaseModel):
    """How far reviews have been read: everything of `known` that changed before `read_at`."""

    read_at: AwareDatetime | None = None
    known: list[str] = Field(default_factory=list)
    refused: dict[str, str] = Field(default_factory=dict)
    each: bool = False
    """Whether locations are read one by one: Google does not say whether it lists those of several in one order."""
    pages: dict[str, str] = Field(default_factory=dict)
    """Digests of each job's first page at the last look: the same page again says nothing new."""
    run: Run | None = None


class Reader:
    """Reads for one account."""

    def __init__(self, api: Api) -> None:
        self.api = api

    # poll

    async def poll(self, given: Mapping[str, Any] | None) -> Page:
        """One page. The time it was read up to moves only when every location has been read. Raises GatewayError."""
        cursor = Cursor.model_validate(given or {})
        run = cursor.run = cursor.run or await self._begin(cursor)
        if not run.queue:
            return _ended(cursor, run, [])
        job = run.queue[0]
        try:
            body, answer = await self._batch(job)
        except (Rejected, Gone) as refused:
            return _refused(cursor, run, job, refused)
        pages = await self._pages(cursor, job, body, answer)
        if _out_of_order(job, answer):
            if len(job.locations) > 1:
                cursor.each = True
                run.queue[:1] = [Job(locations=[id], since=job.since) for id in job.locations]
                return _more(cursor, pages)
            job.unordered = True
        times = _times(answer)
        job.oldest = min(times, default=job.oldest)
        token = answer.get("nextPageToken")
        reached = job.since is not None and job.oldest is not None and job.oldest < job.since and not job.unordered
        if token and not reached:
            job.token = str(token)
            return _more(cursor, pages)
        run.queue.pop(0)
        run.done += job.locations
        return _more(cursor, pages) if run.queue else _ended(cursor, run, pages)

    async def _begin(self, cursor: Cursor) -> Run:
        began = self.api.now()
        names = [name for name, location in (await self.api.locations()).items() if readable(location)]
        known = [name for name in names if name in set(cursor.known)]
        fresh = [name for name in names if name not in set(cursor.known)]
        since = cursor.read_at - OVERLAP if cursor.read_at else None
        size = 1 if cursor.each else TOGETHER
        jobs = [Job(locations=part, since=since) for part in _parts(known, size)]
        return Run(began=began, queue=jobs + [Job(locations=part) for part in _parts(fresh, size)])

    async def _batch(self, job: Job) -> tuple[bytes, dict[str, Any]]:
        account = self.api.account
        body: dict[str, Any] = {
            "locationNames": [f"{account}/{name}" for name in job.locations],
            "pageSize": job.size,
            "orderBy": "update_time desc",
        }
        if job.token:
            body["pageToken"] = job.token
        path = f"v4/{account}/locations:batchGetReviews"
        response = await self.api.call("POST", "mybusiness", path, bucket=budgets.REVIEWS, body=body)
        return response.content, json_object(response)

    async def _pages(self, cursor: Cursor, job: Job, body: bytes, answer: Mapping[str, Any]) -> list[RawPage]:
        """The page to store; none where it is empty or the same as last time."""
        if not answer.get("locationReviews"):
            return []
        if job.since is not None and job.token is None:
            digest = hashlib.sha256(body).hexdigest()[:16]
            if cursor.pages.get(job.locations[0]) == digest:
                return []
            cursor.pages[job.locations[0]] = digest
        return [RawPage(body, stream="reviews", note=await self.note("batch", job.locations))]

    async def note(self, kind: str, locations: Iterable[str], **more: Any) -> dict[str, Any]:
        """What a page is stored with: normalising knows no names of locations."""
        known = await self.api.locations()
        found = ((name, known[name]) for name in locations if name in known)
        places = {name: {"title": place.title, "url": place.metadata.maps_uri} for name, place in found}
        return {"account": self.api.account, "kind": kind, "places": places, **more}

    async def list_reviews(self, location: str, token: str | None = None) -> tuple[bytes, dict[str, Any]]:
        """One page of a location's reviews, newest change first. Raises GatewayError."""
        parameters = {"pageSize": str(LIST_PAGE), "orderBy": "update_time desc"}
        if token:
            parameters["pageToken"] = token
        path = f"v4/{self.api.account}/{location}/reviews"
        response = await self.api.call("GET", "mybusiness", path, bucket=budgets.REVIEWS, params=parameters)
        return response.content, json_object(response)

    # fetch

    async def fetch(self, wanted: Sequence[Wanted]) -> list[RawPage]:
        """Single reviews, and the newest of a location. What Google has trouble with stays unanswered.

        Raises GatewayError where none was answered.
        """
        slots = asyncio.Semaphore(_AT_ONCE)

        async def one(item: Wanted) -> list[RawPage]:
            async with slots:
                return await self._fetch(item)

        answers = await asyncio.gather(*(one(item) for item in wanted), return_exceptions=True)
        pages: list[RawPage] = []
        troubles: list[GatewayError] = []
        for answer in answers:
            if isinstance(answer, GatewayError):
                troubles.append(answer)
            elif isinstance(answer, BaseException):
                raise answer
            else:
                pages += answer
        if troubles and not pages:
            raise troubles[0]
        return pages

    async def _fetch(self, item: Wanted) -> list[RawPage]:
        if item.kind == "thread" and is_location_ref(item.ref):
            try:
                body, _ = await self.list_reviews(item.ref)
            except Gone:
                return [RawPage(b"", gone=[item.ref])]
            return [RawPage(body, note=await self.note("reviews", [item.ref]), answers=[item.ref])]
        if not is_review_ref(item.ref):
            return [RawPage(b"", gone=[item.ref])]
        try:
            body, review = await self.api.review(item.ref)
        except Gone:
            if item.reason != "refresh":
                return []  # told of before it can be read; asked for again, and in the end left to the poll
            return [self.gone(item.ref)]
        return [RawPage(body, note=await self.note("review", [review.parts.subject]), answers=[item.ref])]

    def gone(self, ref: str) -> RawPage:
        """The page that says of a known review that Google does not have it any more."""
        body = json.dumps({"ref": ref}).encode()
        return RawPage(body, note={"account": self.api.account, "kind": "gone"}, answers=[ref])


def _parts(names: Sequence[str], size: int) -> list[list[str]]:
    return [list(names[start : start + size]) for start in range(0, len(names), size)]


def times_of_change(reviews: Iterable[Any]) -> list[datetime]:
    """When the reviews on a page last changed; those that cannot be read are left out."""
    found: list[datetime] = []
    for value in reviews:
        try:
            found.append(Review.model_validate(value).changed_at)
        except ValidationError:
            continue
    return found


def _times(answer: Mapping[str, Any]) -> list[datetime]:
    listed = answer.get("locationReviews") or ()
    return times_of_change(value.get("review") for value in listed if isinstance(value, dict))


def _out_of_order(job: Job, answer: Mapping[str, Any]) -> bool:
    times = _times(answer)
    if job.oldest is not None:
        times.insert(0, job.oldest)
    return any(later > earlier for earlier, later in pairwise(times))


def _more(cursor: Cursor, pages: Sequence[RawPage]) -> Page:
    return Page(pages, cursor.model_dump(mode="json", exclude_defaults=True), more=True)


def _ended(cursor: Cursor, run: Run, pages: Sequence[RawPage]) -> Page:
    cursor.read_at, cursor.known, cursor.run = run.began, run.done, None
    cursor.refused = {name: code for name, code in cursor.refused.items() if name not in run.done}
    cursor.pages = {name: digest for name, digest in cursor.pages.items() if name in run.done}
    return Page(pages, cursor.model_dump(mode="json", exclude_defaults=True))


def _refused(cursor: Cursor, run: Run, job: Job, refused: GatewayError) -> Page:
    """Google refused a page: its token has ended, or one of the locations is not ours to read any more."""
    if job.token is not None and not job.restarted:
        run.queue[0] = Job(locations=job.locations, since=job.since, restarted=True)
    elif len(job.locations) > 1:
        # one location that cannot be read must not keep the others from being read
        run.queue[:1] = [Job(locations=[name], since=job.since) for name in job.locations]
    else:
        cursor.refused[job.locations[0]] = refused.code
        run.queue.pop(0)
    return _more(cursor, ()) if run.queue else _ended(cursor, run, ())
