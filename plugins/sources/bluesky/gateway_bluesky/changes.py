"""Deletions and changes, which nobody is notified of: the newest notifications are listed again and compared.

A deleted post's notification vanishes from the list. What is missing is looked up by its address, and only what the
index does not show then is gone.
"""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Any

from pydantic import AwareDatetime, BaseModel, Field

from gateway_bluesky.reading import LOOK_UP, Reader, entries, notified
from gateway_schemas.webhook import Page, RawPage

_PAGES = 5
_AT_ONCE = 4 * LOOK_UP


class Known(BaseModel):
    """One post of the last listing."""

    cid: str
    at: AwareDatetime


class Recheck(BaseModel):
    """When the next listing is due, what the last one had, and which posts are still to be looked up."""

    next: AwareDatetime | None = None
    seen: dict[str, Known] = Field(default_factory=dict)
    missing: list[str] = Field(default_factory=list)
    changed: list[str] = Field(default_factory=list)


class Changes:
    """Looks again for one account."""

    def __init__(self, reader: Reader) -> None:
        self.reader = reader
        self.api = reader.api

    async def poll(self, given: dict[str, Any] | None) -> Page:
        """One listing when it is due, then the posts that it raised questions about. Raises GatewayError."""
        cursor = Recheck.model_validate(given or {})
        config, now = self.api.config, self.api.now()
        if not config.recheck_days:
            return Page((), {})
        if not (cursor.missing or cursor.changed):
            if cursor.next is not None and now < cursor.next:
                return Page((), _stored(cursor))
            cursor = await self._listing(cursor, now - timedelta(days=config.recheck_days))
            cursor.next = now + timedelta(minutes=config.recheck_minutes)
        missing, cursor.missing = cursor.missing[:_AT_ONCE], cursor.missing[_AT_ONCE:]
        changed, cursor.changed = cursor.changed[:_AT_ONCE], cursor.changed[_AT_ONCE:]
        pages: list[RawPage] = []
        if missing or changed:
            # nobody says when a post was changed; that it was by now is known
            pages = await self.reader.posts([*missing, *changed], dict.fromkeys(changed, now.isoformat()))
        return Page(pages, _stored(cursor), more=bool(cursor.missing or cursor.changed))

    async def _listing(self, before: Recheck, horizon: datetime) -> Recheck:
        """List the notifications since the horizon, 500 at most, and note what differs from the last listing."""
        seen: dict[str, Known] = {}
        reached, token = horizon, None
        for number in range(_PAGES):
            place = (("cursor", token),) if token is not None else ()
            _, answer = await self.api.get("app.bsky.notification.listNotifications", (*notified(), *place))
            found = list(entries(answer, "notifications", self.api.did))
            for entry in found:
                if entry.at >= horizon:
                    seen.setdefault(entry.uri, Known(cid=entry.cid, at=entry.at))
            following = answer.get("cursor")
            if not found or found[-1].at < horizon or not isinstance(following, str) or following == token:
                break
            token = following
            if number == _PAGES - 1:
                reached = found[-1].at  # nothing is known of what is older
        return Recheck(
            seen=seen,
            missing=[uri for uri, was in before.seen.items() if uri not in seen and was.at > reached],
            changed=[uri for uri, was in before.seen.items() if uri in seen and seen[uri].cid != was.cid],
        )


def _stored(cursor: Recheck) -> dict[str, Any]:
    return cursor.model_dump(mode="json", exclude_none=True, exclude_defaults=True)
