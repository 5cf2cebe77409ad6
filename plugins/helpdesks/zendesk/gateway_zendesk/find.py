"""After an unknown outcome: is the ticket there, and which of the change's comments are on it?"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import timedelta
from typing import Any

from gateway_schemas.errors import Gone, Retry
from gateway_schemas.ticket import FoundTicket, PushIntent, TicketChange
from gateway_zendesk.api import Api, objects
from gateway_zendesk.comments import events_of, mark_of
from gateway_zendesk.payloads import content, short_key
from gateway_zendesk.push import Pusher, number_of

MOST_CANDIDATES = 5


class Finder:
    """Looks by external id and by the marks in audits: both are read from the database, not from the search index."""

    def __init__(self, api: Api, pusher: Pusher) -> None:
        self.api = api
        self.pusher = pusher

    async def find(self, intent: PushIntent) -> FoundTicket:
        """Raises Retry while a background job runs that may still make what is missing, Gone for a deleted ticket."""
        change = intent.change
        found = await (self._ticket(change) if change.external_id is not None else self._created(change))
        if found.external_id is None or len(found.comments) < len(change.comments):
            await self._no_job_runs()
        return found

    async def _ticket(self, change: TicketChange) -> FoundTicket:
        number = number_of(change)
        audits, _ = await self.api.audits(number)
        return FoundTicket(
            external_id=str(number), url=self.pusher.url(number), comments=comments_found(change, audits)
        )

    async def _created(self, change: TicketChange) -> FoundTicket:
        """External ids are not unique: the ticket that has our comment is the one, else the oldest that may be it."""
        document = await self.api.get("tickets", {"external_id": change.ticket_key}, bucket="tickets-index")
        candidates = sorted(
            (
                ticket
                for ticket in objects(document, "tickets")
                if isinstance(ticket.get("id"), int)
                and ticket.get("external_id") == change.ticket_key
                and _may_be(ticket, change)
            ),
            key=lambda ticket: int(ticket["id"]),
        )
        first: FoundTicket | None = None
        for ticket in candidates[:MOST_CANDIDATES]:
            number = int(ticket["id"])
            try:
                audits, _ = await self.api.audits(number)
            except Gone:
                continue
            comments = comments_found(change, audits)
            found = FoundTicket(external_id=str(number), url=self.pusher.url(number), comments=comments)
            if comments:
                return found
            first = first or found
        return first or FoundTicket()

    async def _no_job_runs(self) -> None:
        """A bulk request that got no answer may be waiting in the queue: "absent" proves nothing yet."""
        document = await self.api.get("job_statuses")
        if any(job.get("status") in ("queued", "working") for job in objects(document, "job_statuses")):
            raise Retry("a background job is still running at Zendesk", code="job_running", after=timedelta(seconds=5))


def comments_found(change: TicketChange, audits: Sequence[Mapping[str, Any]]) -> dict[str, str]:
    """The change's comments that are on a ticket: by the key in their audit's metadata, else by their whole text.

    The text counts only in audits without any key, and only where it ends in the permalink: an agent may quote a text.
    """
    wanted = {short_key(comment.key): comment for comment in change.comments}
    texts = {_squeezed(content(comment)): comment for comment in change.comments if comment.url}
    found: dict[str, str] = {}
    for audit in audits:
        mark = mark_of(audit)
        for event in events_of(audit):
            if event.get("type") != "Comment" or not event.get("id"):
                continue
            comment = wanted.get(mark) if mark is not None else texts.get(_squeezed(str(event.get("body") or "")))
            if comment is not None:
                found.setdefault(comment.key, str(event["id"]))
    return found


def _may_be(ticket: Mapping[str, Any], change: TicketChange) -> bool:
    """Whether a ticket with our key can be the one this change made: a follow-up shares the key of what it follows."""
    if change.followup_of is None:
        return True
    via = ticket.get("via")
    source = via.get("source") if isinstance(via, dict) else None
    origin = source.get("from") if isinstance(source, dict) else None
    return isinstance(origin, dict) and str(origin.get("ticket_id")) == change.followup_of


def _squeezed(text: str) -> str:
    return " ".join(text.split())
