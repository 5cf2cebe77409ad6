"""Reading: tickets that were named, with who wrote what in them, and the export of what changed."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime, timedelta
from typing import Any

from gateway_schemas.errors import GatewayError, Gone, Rejected
from gateway_schemas.interaction import Wanted
from gateway_schemas.webhook import Page, RawPage
from gateway_zendesk.api import Api, objects
from gateway_zendesk.comments import events_of
from gateway_zendesk.foreign import reduced as others_times
from gateway_zendesk.normalise import ours
from gateway_zendesk.words import moment

STREAM = "tickets"
AT_ONCE = 4
NOT_YET = timedelta(minutes=1)
"""The export never gives the latest minute, and a start time within it is refused."""
FIRST_LOOK = timedelta(minutes=10)
OVERLAP = timedelta(minutes=2)
_PERSON = ("id", "name", "email", "role", "active")
_EXPORTED = ("id", "external_id", "status", "tags", "updated_at")


class Puller:
    """What `fetch` and `poll` do."""

    def __init__(self, api: Api) -> None:
        self.api = api

    async def fetch(self, wanted: Sequence[Wanted]) -> list[RawPage]:
        """One page per ticket. Where some fail, the others' pages are given; all failing raises what failed first."""
        refs = list(dict.fromkeys(item.ref for item in wanted))
        numbers = [int(ref) for ref in refs if ref.isdigit()]
        known = await self._tickets(numbers) if len(numbers) > 1 else {}
        pages = [_gone(ref) for ref in refs if not ref.isdigit()]
        errors: list[GatewayError] = []
        for start in range(0, len(numbers), AT_ONCE):
            part = numbers[start : start + AT_ONCE]
            for outcome in await asyncio.gather(*(self._page(number, known.get(number)) for number in part)):
                if isinstance(outcome, RawPage):
                    pages.append(outcome)
                else:
                    errors.append(outcome)
            if errors:
                break
        if errors and not pages:
            raise errors[0]
        return pages

    async def _page(self, number: int, ticket: dict[str, Any] | None) -> RawPage | GatewayError:
        try:
            if ticket is None:
                ticket = await self.api.ticket(number)
            audits, people = await self.api.audits(number)
            people += await self._absent(ticket, audits, people)
        except Gone:
            return _gone(str(number))
        except GatewayError as error:
            return error
        users = [{name: user.get(name) for name in _PERSON} for user in people]
        body = json.dumps({"ticket": ticket, "audits": audits, "users": users}).encode()
        return RawPage(body, stream="ticket", note={"ticket": number}, answers=(str(number),))

    async def _tickets(self, numbers: Sequence[int]) -> dict[int, dict[str, Any]]:
        """Those that the bulk look-up gives. One that it leaves out is asked for alone before it counts as gone."""
        found: dict[int, dict[str, Any]] = {}
        for start in range(0, len(numbers), 100):
            ids = ",".join(str(number) for number in numbers[start : start + 100])
            document = await self.api.get("tickets/show_many", {"ids": ids})
            found.update({one["id"]: one for one in objects(document, "tickets") if isinstance(one.get("id"), int)})
        return found

    async def _absent(
        self, ticket: Mapping[str, Any], audits: Sequence[dict[str, Any]], people: Sequence[Mapping[str, Any]]
    ) -> list[dict[str, Any]]:
        """The people that audits name and `include=users` did not bring: comment authors, the assignee."""
        known = {person.get("id") for person in people}
        named = {number for number in (ticket.get("assignee_id"), *_authors(audits)) if isinstance(number, int)}
        missing = sorted(named - known)
        found: list[dict[str, Any]] = []
        for start in range(0, len(missing), 100):
            ids = ",".join(str(number) for number in missing[start : start + 100])
            try:
                found += objects(await self.api.get("users/show_many", {"ids": ids}), "users")
            except Gone:
                continue
        return found

    async def poll(self, cursor: Mapping[str, Any] | None) -> Page:
        """One step of the export: by cursor, at first and after a cursor that is refused by start time.

        Of ours no more is kept than says that they changed. Of other people's tickets nothing, but for the channel and
        the times of those that came by e-mail, phone or form, where the configuration asks for them.
        """
        now = self.api.time.now()
        place, since = _resume(cursor, now)
        try:
            document = await self._export(place, since)
        except Rejected:
            if place is None:
                raise
            document = await self._export(None, since)
        config, tickets = self.api.config, objects(document, "tickets")
        reduced = [{name: ticket.get(name) for name in _EXPORTED} for ticket in tickets if ours(ticket, config)]
        others = [ticket for ticket in tickets if not ours(ticket, config)] if config.other_channels else []
        times = [shown for ticket in others if (shown := others_times(ticket)) is not None]
        body = json.dumps({"tickets": reduced, "others": times} if times else {"tickets": reduced}).encode()
        pages = [RawPage(body, stream=STREAM)] if reduced or times else []
        seen = [at for ticket in objects(document, "tickets") if (at := moment(ticket.get("updated_at")))]
        following, more = document.get("after_cursor"), document.get("end_of_stream") is False
        after: dict[str, Any] = {"since": int(max([since, *seen] if more else [now - NOT_YET]).timestamp())}
        if isinstance(following, str) and following:
            after["cursor"] = following
        return Page(pages, after, more=more)

    async def _export(self, place: str | None, since: datetime) -> dict[str, Any]:
        asked = {"cursor": place} if place is not None else {"start_time": str(int(since.timestamp()))}
        if self.api.config.other_channels:
            asked["include"] = "metric_sets"
        return await self.api.get("incremental/tickets/cursor", asked, bucket="incremental-exports")


def _resume(cursor: Mapping[str, Any] | None, now: datetime) -> tuple[str | None, datetime]:
    """The cursor to go on from, and the time to start at where there is none."""
    place = cursor.get("cursor") if cursor else None
    since = cursor.get("since") if cursor else None
    start = now - FIRST_LOOK
    if isinstance(since, int):
        start = datetime.fromtimestamp(since, now.tzinfo) - OVERLAP
    return place if isinstance(place, str) else None, min(start, now - NOT_YET - timedelta(seconds=5))


def _authors(audits: Sequence[Mapping[str, Any]]) -> Iterator[object]:
    for audit in audits:
        for event in events_of(audit):
            if event.get("type") == "Comment":
                yield event.get("author_id", audit.get("author_id"))


def _gone(ref: str) -> RawPage:
    body = json.dumps({"gone": [ref] if ref.isdigit() else []}).encode()
    return RawPage(body, stream="ticket", note={"gone": ref}, answers=(ref,), gone=(ref,))
