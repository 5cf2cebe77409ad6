"""Reading: tickets that were named, and the transactions that were done to tickets."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta
from typing import Any

from gateway_request_tracker.api import Api, quoted
from gateway_request_tracker.comments import asked_for
from gateway_request_tracker.normalise import ours
from gateway_request_tracker.words import DELETED, MAIL_RECORDS, NOBODY, SYSTEM, moment, name_of, number
from gateway_schemas.errors import GatewayError, Gone, Rejected
from gateway_schemas.interaction import Wanted
from gateway_schemas.webhook import Page, RawPage

STREAM = "transactions"
AT_ONCE = 2
"""An authenticated call takes RT a fifth of a second and more, and a process of its own."""
OVERLAP = timedelta(minutes=2)
META = "TransactionId,ContentType,Filename,Headers"
TEXTS = "TransactionId,ContentType,Filename,Content"
_PERSON = ("RealName", "EmailAddress")


class Puller:
    """What `fetch` and `poll` do."""

    def __init__(self, api: Api) -> None:
        self.api = api
        self._people: dict[str, dict[str, Any] | bool | None] = {}
        """Of each author asked for: the agent, None where they may not be looked at, False for no agent."""

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
            ticket, etag = await self.api.ticket(ticket_id)
            now = number(ticket.get("id"))
            if now is not None and now != ticket_id:
                body: dict[str, Any] = {"merged": ticket_id, "into": now}
                return RawPage(json.dumps(body).encode(), stream="ticket", answers=(ref,))
            if ticket.get("Status") == DELETED:
                return _gone(ref)
            if not ours(ticket, self.api.config):
                return RawPage(json.dumps({"foreign": ref}).encode(), stream="ticket", answers=(ref,))
            history = await self.api.history(ticket_id, etag)
            people = await self._agents(ticket, history)
            parts = await self._parts(history, people)
        except Gone:
            return _gone(ref)
        except GatewayError as error:
            return error
        body = {"ticket": ticket, "history": history, "parts": parts, "people": people}
        return RawPage(json.dumps(body).encode(), stream="ticket", note={"ticket": ticket_id}, answers=(ref,))

    async def _parts(self, history: Sequence[Mapping[str, Any]], people: Mapping[str, Any]) -> list[dict[str, Any]]:
        """The parts of agents' messages: their heads, and the content of those that are text."""
        authors = {*people, SYSTEM, self.api.config.api_user}
        wanted = [
            str(one["id"])
            for one in history
            if asked_for(one, self.api.config) and name_of(one.get("Creator")) in authors
        ]
        if not wanted:
            return []
        parts = {str(one.get("id")): one for one in await self.api.attachments(wanted, META, texts=False)}
        for one in await self.api.attachments(wanted, TEXTS, texts=True):
            if not one.get("Filename"):
                parts.setdefault(str(one.get("id")), {}).update(one)
        return list(parts.values())

    async def _agents(
        self, ticket: Mapping[str, Any], history: Sequence[Mapping[str, Any]]
    ) -> dict[str, dict[str, Any] | None]:
        """Those of the authors, and the owner, who are privileged; each is asked for once."""
        named = [name_of(one.get("Creator")) for one in history if asked_for(one, self.api.config)]
        named.append(name_of(ticket.get("Owner")))
        found: dict[str, dict[str, Any] | None] = {}
        for name in dict.fromkeys(one for one in named if one not in (None, SYSTEM, NOBODY, self.api.config.api_user)):
            assert name is not None
            if name not in self._people:
                self._people[name] = await self._ask(name)
            person = self._people[name]
            if not isinstance(person, bool):
                found[name] = person
        return found

    async def _ask(self, name: str) -> dict[str, Any] | bool | None:
        try:
            user = await self.api.get(f"user/{name}")
        except Gone:
            return False
        except Rejected:
            return None  # who wrote from inside counts as an agent, without a name
        if str(user.get("Privileged")) != "1":
            return False
        return {one: user.get(one) for one in _PERSON}

    async def poll(self, cursor: Mapping[str, Any] | None) -> Page:
        """One page of transactions by rising id; the first poll takes the newest hundred.

        Ids rise, but not in the order in which they come to be seen: a transaction of the database that began first may
        end last. So each round goes back over the ids of the last two minutes before the newest that was seen. A page
        that is not full proves nothing, for what may not be seen is left out of it: an empty one ends the round.
        """
        kept = cursor or {}
        after, floor = _whole(kept.get("after")), _whole(kept.get("floor"))
        where = " OR ".join(f"TicketQueue = {quoted(queue)}" for queue in self.api.config.watched)
        noise = " AND ".join(f"Type != {quoted(kind)}" for kind in MAIL_RECORDS)
        asked = {
            "query": f"({where}) AND {noise} AND id > {after or 0}",
            "fields": "Type,ObjectId,Creator,Created",
            "orderby": "id",
            "order": "ASC" if after is not None else "DESC",
        }
        found = await self.api.page("transactions", asked)
        ids = [id for one in found if (id := number(one.get("id"))) is not None]
        marks = [(id, at) for id, at in _marks(kept.get("marks")) if floor is None or id > floor]
        if ids:
            page = RawPage(json.dumps({"transactions": found}).encode(), stream=STREAM)
            times = [at for one in found if (at := moment(one.get("Created"))) is not None]
            if times:
                marks.append((max(ids), max(times)))
            told = [[id, at.isoformat()] for id, at in marks]
            first = floor
            if first is None:
                settled = [at for at in times if at <= max(times) - OVERLAP]
                first = _settled(found, max(settled)) if settled else min(ids) - 1
            return Page([page], {"after": max(ids), "floor": first, "marks": told}, more=after is not None)
        newest = max((at for _, at in marks), default=None)
        old = [id for id, at in marks if newest is not None and at <= newest - OVERLAP]
        floor = max([*old, floor or 0])
        told = [[id, at.isoformat()] for id, at in marks if id > floor]
        return Page([], {"after": floor, "floor": floor, "marks": told})


def _settled(found: Sequence[Mapping[str, Any]], until: datetime) -> int:
    """The highest id of what is as old as that."""
    times = [(number(one.get("id")) or 0, moment(one.get("Created"))) for one in found]
    return max(id for id, at in times if at is not None and at <= until)


def _whole(value: object) -> int | None:
    return value if isinstance(value, int) and not isinstance(value, bool) and value >= 0 else None


def _marks(kept: object) -> list[tuple[int, datetime]]:
    """The last id of each page that was read, and when it was made."""
    pairs = [one for one in kept if isinstance(one, list) and len(one) == 2] if isinstance(kept, list) else []
    read = [(number(id), moment(at)) for id, at in pairs]
    return [(id, at) for id, at in read if id is not None and at is not None]


def _gone(ref: str, *, known: bool = True) -> RawPage:
    body = json.dumps({"gone": [ref] if known else []}).encode()
    return RawPage(body, stream="ticket", note={"gone": ref}, answers=(ref,), gone=(ref,))
