"""Reading: conversations that were named, and the list of those that changed."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

from gateway_chatwoot.api import CONVERSATIONS, Api, objects
from gateway_chatwoot.words import moment, number
from gateway_schemas.errors import GatewayError, Gone
from gateway_schemas.interaction import Wanted
from gateway_schemas.webhook import Page, RawPage

AT_ONCE = 4
FIRST_LOOK = timedelta(minutes=10)
OVERLAP = timedelta(minutes=2)
MOST_PAGES = 200
_LISTED = ("id", "inbox_id", "status", "updated_at", "last_activity_at")


class Puller:
    """What `fetch` and `poll` do."""

    def __init__(self, api: Api) -> None:
        self.api = api

    async def fetch(self, wanted: Sequence[Wanted]) -> list[RawPage]:
        """One page per conversation. Where some fail, the others' pages are given; all failing raises what failed
        first."""
        refs = list(dict.fromkeys(item.ref for item in wanted))
        pages: list[RawPage] = []
        errors: list[GatewayError] = []
        for start in range(0, len(refs), AT_ONCE):
            for outcome in await asyncio.gather(*(self._page(ref) for ref in refs[start : start + AT_ONCE])):
                if isinstance(outcome, RawPage):
                    pages.append(outcome)
                else:
                    errors.append(outcome)
            if errors:
                break
        if errors and not pages:
            raise errors[0]
        return pages

    async def _page(self, ref: str) -> RawPage | GatewayError:
        id = number(ref)
        if id is None:
            return _gone(ref, known=False)
        try:
            conversation = await self.api.conversation(id)
            if conversation.get("inbox_id") != self.api.config.inbox_id:
                return RawPage(json.dumps({"foreign": ref}).encode(), stream="ticket", answers=(ref,))
            messages = await self.api.messages(id)
        except Gone:
            return _gone(ref)
        except GatewayError as error:
            return error
        body = {"conversation": conversation, "messages": messages}
        return RawPage(json.dumps(body).encode(), stream="ticket", note={"conversation": id}, answers=(ref,))

    async def poll(self, cursor: Mapping[str, Any] | None) -> Page:
        """One page of the inbox's conversations of every status, newest activity first, back to the last round's.

        A conversation that is active meanwhile moves to the top: it shows twice, or in the next round, which begins
        where the first page of this one did.
        """
        if self.api.config.inbox_id is None:
            return Page((), dict(cursor or {}))
        since, newest, number_ = _resume(cursor, self.api.time.now())
        asked = {"inbox_id": str(self.api.config.inbox_id), "status": "all", "page": str(number_)}
        body = await self.api.get("conversations", asked)
        data = body.get("data")
        found = objects(data.get("payload") if isinstance(data, dict) else None, "conversations")
        seen = [(one, moment(one.get("last_activity_at"))) for one in found]
        kept = [one for one, at in seen if at is None or at >= since]
        pages = [_listed(kept)] if kept else []
        times = [at for _, at in seen if at is not None]
        newest = max([newest, *times])
        if len(found) < CONVERSATIONS or (times and min(times) < since) or number_ >= MOST_PAGES:
            return Page(pages, {"since": _text(newest - OVERLAP), "newest": _text(newest), "page": 1})
        return Page(pages, {"since": _text(since), "newest": _text(newest), "page": number_ + 1}, more=True)


def _resume(cursor: Mapping[str, Any] | None, now: datetime) -> tuple[datetime, datetime, int]:
    """Since when, the newest activity seen so far, and which page. Only Chatwoot's own clock is gone by afterwards."""
    kept = cursor or {}
    since = moment(kept.get("since")) or now - FIRST_LOOK
    return since, moment(kept.get("newest")) or since + OVERLAP, number(kept.get("page")) or 1


def _text(at: datetime) -> str:
    return at.astimezone(UTC).isoformat()


def _listed(conversations: Sequence[Mapping[str, Any]]) -> RawPage:
    """Of a conversation no more than says that it changed."""
    reduced = [{name: one.get(name) for name in _LISTED} for one in conversations]
    return RawPage(json.dumps({"conversations": reduced}).encode(), stream="conversations")


def _gone(ref: str, *, known: bool = True) -> RawPage:
    body = json.dumps({"gone": [ref] if known else []}).encode()
    return RawPage(body, stream="ticket", note={"gone": ref}, answers=(ref,), gone=(ref,))
