"""Reading: tickets that were named, with who of the authors are agents, and the lists of what changed."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta
from typing import Any

from gateway_freshdesk import merges
from gateway_freshdesk.api import LIST, Api, status_of
from gateway_freshdesk.foreign import reduced as others_times
from gateway_freshdesk.normalise import ours
from gateway_freshdesk.words import CLOSED, iso, moment, number
from gateway_schemas.errors import GatewayError, Gone, Rejected
from gateway_schemas.interaction import Wanted
from gateway_schemas.webhook import Page, RawPage

STREAMS = ("tickets", "deleted", "spam")
"""Lists that Freshdesk keeps apart: what lies in the trash or is spam never shows in the first."""
AT_ONCE = 3
FIRST_LOOK = timedelta(minutes=10)
OVERLAP = timedelta(minutes=2)
DEEPEST = 300
"""Pages of a list that Freshdesk gives. Only what changed within one second is ever looked for so deep."""
_LISTED = ("id", "status", "tags", "custom_fields", "deleted", "spam", "updated_at")
_PERSON = ("name", "email")


class Puller:
    """What `fetch` and `poll` do."""

    def __init__(self, api: Api) -> None:
        self.api = api
        self._agents: dict[int, dict[str, Any] | None] = {}
        self._not_agents: set[int] = set()

    async def fetch(self, wanted: Sequence[Wanted]) -> list[RawPage]:
        """One page per ticket. Where some fail, the others' pages are given; all failing raises what failed first."""
        refs = list(dict.fromkeys(item.ref for item in wanted))
        pages: list[RawPage] = []
        errors: list[GatewayError] = []
        for start in range(0, len(refs), AT_ONCE):
            for outcome in await asyncio.gather(*(self._page(ref) for ref in refs[start : start + AT_ONCE])):
                if isinstance(outcome, RawPage):
                    pages.append(outcome)
                elif outcome is not None:
                    errors.append(outcome)
            if errors:
                break
        if errors and not pages:
            raise errors[0]
        return pages

    async def _page(self, ref: str) -> RawPage | GatewayError | None:
        ticket_id = number(ref)
        if ticket_id is None:
            return _gone(ref, known=False)
        try:
            ticket = await self.api.ticket(ticket_id)
            if ticket.get("status") == CLOSED:
                ticket = await self.api.ticket(ticket_id, stats=True)
            if not ours(ticket, self.api.config):
                return RawPage(json.dumps({"foreign": ref}).encode(), stream="ticket", answers=(ref,))
            conversations = await self.api.conversations(ticket_id)
            related = await merges.evidence(self.api, ticket, conversations, self.api.time.now())
            agents = await self._people(ticket, conversations)
        except merges.Undecided:
            return None  # left unanswered: the host asks again
        except Gone:
            return _gone(ref)
        except GatewayError as error:
            return error
        body = {"ticket": ticket, "conversations": conversations, "agents": agents, "related": related}
        return RawPage(json.dumps(body).encode(), stream="ticket", note={"ticket": ticket_id}, answers=(ref,))

    async def _people(
        self, ticket: Mapping[str, Any], conversations: Sequence[Mapping[str, Any]]
    ) -> dict[str, dict[str, Any] | None]:
        """The agents among those who wrote, and the one it is assigned to; each is asked for once."""
        named = [one.get("user_id") for one in conversations if one.get("incoming") is False]
        people = {number(id) for id in (*named, ticket.get("responder_id"))} - {None, ticket.get("requester_id")}
        found: dict[str, dict[str, Any] | None] = {}
        for id in sorted(one for one in people if one is not None):
            if id not in self._agents and id not in self._not_agents:
                await self._ask(id)
            if id in self._agents:
                found[str(id)] = self._agents[id]
        return found

    async def _ask(self, id: int) -> None:
        try:
            contact = (await self.api.get(f"agents/{id}")).get("contact")
        except Gone:
            self._not_agents.add(id)
            return
        except Rejected as error:
            if status_of(error) != 403:
                raise
            contact = None  # the key may not look at agents: whoever wrote from inside counts as one, without a name
        self._agents[id] = {name: contact.get(name) for name in _PERSON} if isinstance(contact, dict) else None

    async def poll(self, stream: str, cursor: Mapping[str, Any] | None) -> Page:
        """One page of a list, in order of change. Each round begins a little before the last ticket that was seen.

        Within a round the next page begins at the time of the last ticket, not at a number: tickets that change
        meanwhile would move the pages, and deep ones are cut off. Only Freshdesk's own clock is gone by. Of other
        people's tickets nothing is kept but the channel and the times of those by e-mail, phone or form, if wanted.
        """
        since, depth, newest = _resume(cursor, self.api.time.now())
        asked = {"updated_since": iso(since), "order_by": "updated_at", "order_type": "asc"}
        if stream != "tickets":
            asked["filter"] = stream
        config = self.api.config
        if config.other_channels:
            asked["include"] = "stats"
        tickets, more = await self.api.page("tickets", asked, depth, bucket=LIST)
        kept = [_reduced(one, stream) for one in tickets if ours(one, config)]
        others = [_marked(one, stream) for one in tickets if not ours(one, config)] if config.other_channels else []
        times = [shown for one in others if (shown := others_times(one)) is not None]
        body = {"tickets": kept, "others": times} if times else {"tickets": kept}
        pages = [RawPage(json.dumps(body).encode(), stream=stream)] if kept or times else []
        seen = [at for one in tickets if (at := moment(one.get("updated_at"))) is not None]
        newest = max([newest, *seen])
        if not more or not tickets:
            return Page(pages, {"since": iso(newest - OVERLAP), "newest": iso(newest), "page": 1})
        last = max(seen, default=since)
        if last > since:
            since, depth = last, 1
        elif depth < DEEPEST:
            depth += 1  # a whole page of one second
        else:
            since, depth = since + timedelta(seconds=1), 1
        return Page(pages, {"since": iso(since), "newest": iso(newest), "page": depth}, more=True)


def _resume(cursor: Mapping[str, Any] | None, now: datetime) -> tuple[datetime, int, datetime]:
    """Since when, which page, and the newest change seen so far."""
    kept = cursor or {}
    since = moment(kept.get("since")) or now - FIRST_LOOK
    page = kept.get("page")
    return since, page if isinstance(page, int) and page > 0 else 1, moment(kept.get("newest")) or since + OVERLAP


def _reduced(ticket: Mapping[str, Any], stream: str) -> dict[str, Any]:
    """Of a ticket no more than says that it changed. The lists of trash and spam need not say so of each."""
    return {name: value for name, value in _marked(ticket, stream).items() if name in _LISTED}


def _marked(ticket: Mapping[str, Any], stream: str) -> dict[str, Any]:
    return {**dict.fromkeys(_LISTED), **ticket, **({stream: True} if stream in ("deleted", "spam") else {})}


def _gone(ref: str, *, known: bool = True) -> RawPage:
    body = json.dumps({"gone": [ref] if known else []}).encode()
    return RawPage(body, stream="ticket", note={"gone": ref}, answers=(ref,), gone=(ref,))
