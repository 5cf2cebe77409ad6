"""Reading: tickets that were named, and the list of what changed."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta
from typing import Any

from gateway_schemas.errors import GatewayError, Gone
from gateway_schemas.interaction import Wanted
from gateway_schemas.webhook import Page, RawPage
from gateway_zammad.api import PAGE, Api, listed
from gateway_zammad.normalise import ours
from gateway_zammad.words import MERGED, iso, moment, number

STREAM = "tickets"
AT_ONCE = 3
FIRST_LOOK = timedelta(minutes=10)
OVERLAP = timedelta(minutes=2)
DEEPEST = 100
_LISTED = ("id", "state", "updated_at")


class Puller:
    """What `fetch` and `poll` do."""

    def __init__(self, api: Api) -> None:
        self.api = api

    async def fetch(self, wanted: Sequence[Wanted]) -> list[RawPage]:
        """One page per ticket. Where some fail, the others' pages are given; all failing raises what failed first."""
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
        ticket_id = number(ref)
        if ticket_id is None:
            return _gone(ref, known=False)
        try:
            ticket = await self.api.ticket(ticket_id)
            articles = await self.api.articles(ticket_id)
            tags = await self.api.tags(ticket_id)
            if not ours(ticket, articles, tags, self.api.config):
                return RawPage(json.dumps({"foreign": ref}).encode(), stream="ticket", answers=(ref,))
            links = await self.api.links(ticket_id) if ticket.get("state") == MERGED else []
        except Gone:
            return _gone(ref)
        except GatewayError as error:
            return error
        body = {"ticket": ticket, "articles": articles, "tags": tags, "links": links}
        return RawPage(json.dumps(body).encode(), stream="ticket", note={"ticket": ticket_id}, answers=(ref,))

    async def poll(self, cursor: Mapping[str, Any] | None) -> Page:
        """One page of the tickets with our tag in order of change. Each round begins a little before the last seen.

        The list is asked for by conditions: then Zammad looks into its database, while a `query` would go to the search
        index, which trails behind. Within a round the next page begins at the time of the last ticket, not at a number,
        for tickets that change meanwhile would move the pages.
        """
        since, depth, newest = _resume(cursor, self.api.time.now())
        asked = {
            "condition": {
                "ticket.updated_at": {"operator": "after (absolute)", "value": iso(since)},
                "ticket.tags": {"operator": "contains all", "value": self.api.config.tag},
            },
            "sort_by": "updated_at",
            "order_by": "asc",
            "page": depth,
            "per_page": PAGE,
            "expand": True,
        }
        tickets = listed(await self.api.send("POST", "tickets/search", json=asked), "tickets")
        kept = [{name: one.get(name) for name in _LISTED} for one in tickets]
        pages = [RawPage(json.dumps({"tickets": kept}).encode(), stream=STREAM)] if kept else []
        seen = [at for one in tickets if (at := moment(one.get("updated_at"))) is not None]
        newest = max([newest, *seen])
        if len(tickets) < PAGE:
            return Page(pages, {"since": iso(newest - OVERLAP), "newest": iso(newest), "page": 1})
        # what changed within the same moment as the last one must not be passed over
        following = max(seen, default=since) - timedelta(milliseconds=1)
        if following > since:
            since, depth = following, 1
        elif depth < DEEPEST:
            depth += 1
        else:
            since, depth = since + timedelta(seconds=1), 1
        return Page(pages, {"since": iso(since), "newest": iso(newest), "page": depth}, more=True)


def _resume(cursor: Mapping[str, Any] | None, now: datetime) -> tuple[datetime, int, datetime]:
    """Since when, which page, and the newest change seen so far."""
    kept = cursor or {}
    since = moment(kept.get("since")) or now - FIRST_LOOK
    page = kept.get("page")
    return since, page if isinstance(page, int) and page > 0 else 1, moment(kept.get("newest")) or since + OVERLAP


def _gone(ref: str, *, known: bool = True) -> RawPage:
    body = json.dumps({"gone": [ref] if known else []}).encode()
    return RawPage(body, stream="ticket", note={"gone": ref}, answers=(ref,), gone=(ref,))
