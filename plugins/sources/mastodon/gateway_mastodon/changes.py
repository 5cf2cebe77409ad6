"""Edits and deletions that the stream did not tell of: the newest mentions are listed again and compared.

A notification carries its post as it is now, and goes when its post is deleted. So a listing shows what was edited
since the last one, and what is missing in it is asked for by its id; only a 404 to that says that it is gone.
"""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Any

from pydantic import AwareDatetime, BaseModel, Field

from gateway_mastodon.api import moment
from gateway_mastodon.reading import Reader, mentions
from gateway_schemas.webhook import Page, RawPage

_PAGES = 5
_AT_ONCE = 20


class Seen(BaseModel):
    """One post of the last listing."""

    version: str
    at: AwareDatetime


class Recheck(BaseModel):
    """When the next listing is due, what the last one had, and which posts are still to be asked for."""

    next: AwareDatetime | None = None
    seen: dict[str, Seen] = Field(default_factory=dict)
    ask: list[str] = Field(default_factory=list)


class Changes:
    """Looks again for one account."""

    def __init__(self, reader: Reader) -> None:
        self.reader = reader
        self.api = reader.api

    async def poll(self, given: dict[str, Any] | None) -> Page:
        """One listing when it is due, then some of the posts that it raised questions about. Raises GatewayError."""
        cursor = Recheck.model_validate(given or {})
        config, now = self.api.config, self.api.now()
        if not config.recheck_days:
            return Page((), {})
        if not cursor.ask and cursor.next is not None and now < cursor.next:
            return Page((), _stored(cursor))
        if not cursor.ask:
            cursor = await self._listing(cursor, now - timedelta(days=config.recheck_days))
            cursor.next = now + timedelta(minutes=config.recheck_minutes)
        asked, cursor.ask = cursor.ask[:_AT_ONCE], cursor.ask[_AT_ONCE:]
        pages: list[RawPage] = []
        for id in asked:
            pages += await self.reader.post(id, self.reader.ref(id))
        return Page(pages, _stored(cursor), more=bool(cursor.ask))

    async def _listing(self, before: Recheck, horizon: datetime) -> Recheck:
        """List the mentions since the horizon, 400 at most, and note what differs from the last listing."""
        seen: dict[str, Seen] = {}
        reached, older = horizon, None
        for number in range(_PAGES):
            place = (("max_id", older),) if older is not None else ()
            listed = await self.api.listed("/api/v1/notifications", (*mentions(), *place))
            for item in listed.items:
                status, at = item.get("status"), moment(item.get("created_at"))
                if at is not None and at >= horizon and isinstance(status, dict) and isinstance(status.get("id"), str):
                    seen.setdefault(status["id"], Seen(version=str(status.get("edited_at") or ""), at=at))
            last = moment(listed.items[-1].get("created_at")) if listed.items else None
            if last is None or last < horizon or listed.older in (None, older):
                break
            older = listed.older
            if number == _PAGES - 1:
                reached = last  # nothing is known of what is older
        missing = [id for id, was in before.seen.items() if id not in seen and was.at > reached]
        edited = [id for id, was in before.seen.items() if id in seen and seen[id].version != was.version]
        ask = [*missing, *edited]
        return Recheck(seen=seen, ask=ask)


def _stored(cursor: Recheck) -> dict[str, Any]:
    return cursor.model_dump(mode="json", exclude_none=True)
