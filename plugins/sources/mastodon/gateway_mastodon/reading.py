"""Polling notifications and the account's own posts, and fetching what deliveries named."""

from __future__ import annotations

import json
from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Any

from pydantic import AwareDatetime, BaseModel

from gateway_mastodon.api import Api, Listed, Parameters, moment
from gateway_mastodon.names import status_id, status_ref
from gateway_mastodon.normalise import TYPES
from gateway_schemas.errors import Gone
from gateway_schemas.interaction import Wanted
from gateway_schemas.webhook import Page, RawPage

OVERLAP = timedelta(minutes=2)
MENTIONS = 80
"""The most notifications that one call gives."""
POSTS = 40
"""The most posts that one call gives."""


class Walk(BaseModel):
    """Where the polling of a list is.

    `after` is the id behind which everything was stored. While a walk is under way, `at` is where it is and `safe`
    what `after` becomes at its end: the newest entry that was at least two minutes old when it was read, because ids
    are given out before entries can be read. The first walk goes back from the newest entry to `horizon`.
    """

    after: str | None = None
    at: str | None = None
    safe: str | None = None
    horizon: AwareDatetime | None = None


class Reader:
    """Reads for one account."""

    def __init__(self, api: Api) -> None:
        self.api = api
        self.view = api.view

    # poll

    async def poll_notifications(self, cursor: dict[str, Any] | None) -> Page:
        """One page of what mentions or quotes the account, and of edits that it is told of. Raises GatewayError."""
        return await self._poll("/api/v1/notifications", mentions(), "notifications", cursor)

    async def poll_own(self, cursor: dict[str, Any] | None) -> Page:
        """One page of what the account itself posted, here or elsewhere. Raises GatewayError."""
        path = f"/api/v1/accounts/{self.api.config.account_id}/statuses"
        return await self._poll(path, (("limit", str(POSTS)), ("exclude_reblogs", "true")), "statuses", cursor)

    async def _poll(self, path: str, parameters: Parameters, kind: str, given: dict[str, Any] | None) -> Page:
        walk = Walk.model_validate(given or {})
        now = self.api.now()
        if walk.after is None and walk.horizon is None:
            walk.horizon = now - timedelta(days=self.api.config.history_days)
        back = walk.after is None
        place = walk.at or walk.after
        if place is not None:
            # `min_id` gives the page right behind that id, where `since_id` would give the newest one and leave a gap
            parameters = (*parameters, ("max_id" if back else "min_id", place))
        listed = await self.api.listed(path, parameters)
        if walk.safe is None or not back:
            walk.safe = _older_than(listed, now - OVERLAP) or walk.safe
        moved = listed.older if back else listed.newer
        over = not listed.items or moved == place or (back and _begins_before(listed, walk.horizon))
        pages = [RawPage(listed.body, stream=kind, note=self.view.note(kind))] if listed.items else []
        if over:
            return Page(pages, _stored(Walk(after=walk.safe or walk.after)))
        walk.at = moved
        return Page(pages, _stored(walk), more=True)

    # fetch

    async def fetch(self, wanted: Sequence[Wanted]) -> list[RawPage]:
        """Posts one by one, with their versions where they were edited; what is around a post. Raises GatewayError."""
        pages: list[RawPage] = []
        for item in wanted:
            id = status_id(self.view.home, item.ref)
            if id is None or item.kind not in ("interaction", "thread"):
                pages.append(RawPage(b"", gone=[item.ref]))
            elif item.kind == "thread":
                pages.append(await self._thread(id, item.ref))
            else:
                pages += await self.post(id, item.ref)
        return pages

    async def post(self, id: str, ref: str) -> list[RawPage]:
        """A post as it is now and, where it was edited, as it was; or that it is gone. Raises GatewayError."""
        try:
            body, status = await self.api.get(f"/api/v1/statuses/{id}")
        except Gone:
            return [self.gone(ref)]
        pages = [RawPage(body, note=self.view.note("status"), answers=[ref])]
        if status.get("edited_at"):
            pages += await self.history(status)
        return pages

    async def history(self, status: dict[str, Any]) -> list[RawPage]:
        """Every version of an edited post; none where the server keeps none. Raises GatewayError."""
        try:
            body = await self.api.raw(f"/api/v1/statuses/{status['id']}/history")
        except Gone:
            return []
        kept = {key: value for key, value in status.items() if key not in ("card", "application", "content")}
        return [RawPage(body, note=self.view.note("history", status=kept))]

    async def _thread(self, id: str, ref: str) -> RawPage:
        try:
            body, _ = await self.api.get(f"/api/v1/statuses/{id}/context")
        except Gone:
            return RawPage(b"", gone=[ref])
        return RawPage(body, note=self.view.note("context"), answers=[ref])

    def gone(self, ref: str) -> RawPage:
        """The page that says a post is not there, or not for this account, any more."""
        body = json.dumps({"error": "Record not found"}).encode()
        return RawPage(body, note=self.view.note("gone", ref=ref), gone=[ref])

    def ref(self, id: str) -> str:
        """A post's external id."""
        return status_ref(self.view.home, id)


def mentions(size: int = MENTIONS) -> Parameters:
    """What notifications are asked for: `include_filtered`, because the server hides those of strangers from the
    account's owner by its filter, and a complaint comes from a stranger."""
    types = (("types[]", name) for name in TYPES)
    return (*types, ("include_filtered", "true"), ("limit", str(size)))


def _older_than(listed: Listed, cutoff: datetime) -> str | None:
    for item in listed.items:
        at = moment(item.get("created_at"))
        if at is None or at <= cutoff:
            return str(item["id"])
    return None


def _begins_before(listed: Listed, horizon: datetime | None) -> bool:
    oldest = moment(listed.items[-1].get("created_at"))
    return horizon is not None and oldest is not None and oldest < horizon


def _stored(walk: Walk) -> dict[str, Any]:
    return walk.model_dump(mode="json", exclude_none=True)
