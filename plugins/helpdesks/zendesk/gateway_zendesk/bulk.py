"""Many changes at once: Zendesk's background jobs, their notes, and what became of each item."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from datetime import timedelta
from typing import Any

from gateway_schemas.errors import GatewayError, Gone, Rejected, Retry, Unknown
from gateway_schemas.http import json_object
from gateway_schemas.ticket import Done, Failed, Pending, PushResult, TicketChange
from gateway_zendesk import payloads
from gateway_zendesk.api import JOBS, objects
from gateway_zendesk.push import Pusher, failed, number_of

MOST = 100
ASK_AGAIN = timedelta(seconds=2)
SINGLE_CALLS = 20
"""Calls beside the jobs that one push or resume makes: the host waits for it, and not for long."""
_REFUSED = frozenset({"RecordInvalid", "InvalidValue", "BlankValue", "DuplicateValue", "TooLong", "InvalidAttribute"})
_GONE = frozenset({"RecordNotFound", "TicketNotFound"})


@dataclass(frozen=True)
class Note:
    """What a Pending carries in `job`: enough to read the job's results without the change."""

    job: str
    index: int
    ticket: int | None = None
    add: tuple[str, ...] = ()
    remove: tuple[str, ...] = ()

    def write(self) -> str:
        """The note as text."""
        return json.dumps({name: value for name, value in asdict(self).items() if value not in (None, ())})

    @classmethod
    def read(cls, text: str) -> Note:
        """Raises Unknown for a note that this version cannot read."""
        try:
            found = json.loads(text)
            return cls(
                str(found["job"]),
                int(found["index"]),
                found.get("ticket"),
                tuple(found.get("add", ())),
                tuple(found.get("remove", ())),
            )
        except (ValueError, KeyError, TypeError) as error:
            raise Unknown("the note of the job cannot be read", code="bad_note") from error


class Bulk:
    """`create_many` and `update_many`. One item in a job is a single call instead: a job costs seconds."""

    def __init__(self, pusher: Pusher) -> None:
        self.pusher = pusher
        self.api = pusher.api

    async def push(self, changes: Sequence[TicketChange]) -> list[PushResult]:
        """Apply changes of different tickets; one result each, in order."""
        people = [person for change in changes for person in payloads.people_in(change)]
        users, errors = await self.pusher.customers.resolve(people)
        results: dict[str, PushResult] = {}
        creates: list[tuple[TicketChange, dict[str, Any]]] = []
        updates: list[tuple[TicketChange, dict[str, Any]]] = []
        calls = 0
        for change in changes:
            try:
                for person in payloads.people_in(change):
                    if person.external_id not in users:
                        raise errors[person.external_id]
                uploads = await self.pusher.upload(change)
                if change.external_id is None:
                    creates.append((change, payloads.creation(change, users, self.pusher.config, uploads)))
                    continue
                if calls >= SINGLE_CALLS:
                    raise Retry("more single calls than fit into one push; the rest follows", code="portioned")
                calls += await self.pusher.prepare(change)
                updates.append((change, self.pusher.payload(change, users, uploads)))
            except GatewayError as error:
                results[change.key] = failed(change.key, error)
        for change, ticket in [one for one in updates if not one[1]]:
            # nothing left to write: a look at the ticket, which no job does
            results[change.key] = await self._single(change, ticket)
        updates = [one for one in updates if one[1]]
        for group in (creates, updates):
            if len(group) > 1:
                results.update(await self._job(group))
            elif group:
                results[group[0][0].key] = await self._single(*group[0])
        return [results[change.key] for change in changes]

    async def _single(self, change: TicketChange, ticket: dict[str, Any]) -> PushResult:
        try:
            if change.external_id is None:
                return await self.pusher.create(change, ticket)
            return await self.pusher.update(change, ticket)
        except GatewayError as error:
            return failed(change.key, error)

    async def _job(self, group: Sequence[tuple[TicketChange, dict[str, Any]]]) -> dict[str, PushResult]:
        """All of one kind as a job. Without `safe_update` on every item: see `payloads.update`."""
        creating = group[0][0].external_id is None
        items = [ticket if creating else {"id": number_of(change), **ticket} for change, ticket in group]
        try:
            response = await self.api.send(
                "POST" if creating else "PUT",
                "tickets/create_many" if creating else "tickets/update_many",
                effect=True,
                bucket=JOBS,
                json={"tickets": items},
            )
            status = json_object(response, effect=True).get("job_status")
            job = status.get("id") if isinstance(status, dict) else None
            if not isinstance(job, str) or not job:
                raise Unknown("the answer names no job", code="malformed")
        except Rejected:
            # nothing was done; alone, each item gets the answer that is about it
            return {change.key: await self._single(change, ticket) for change, ticket in group}
        except GatewayError as error:
            return {change.key: failed(change.key, error) for change, _ in group}
        return {
            change.key: Pending(
                key=change.key,
                job=Note(
                    job,
                    index,
                    None if creating else number_of(change),
                    () if creating else change.add_tags,
                    () if creating else change.remove_tags,
                ).write(),
                after=ASK_AGAIN,
            )
            for index, (change, _) in enumerate(group)
        }

    async def resume(self, pending: Sequence[Pending]) -> list[PushResult]:
        """How did they end? Still running ones come back as Pending; a job that is not known any more is Unknown."""
        results: dict[str, PushResult] = {}
        notes: dict[str, Note] = {}
        for one in pending:
            try:
                notes[one.key] = Note.read(one.job)
            except Unknown as error:
                results[one.key] = failed(one.key, error)
        jobs = await self._jobs(dict.fromkeys(note.job for note in notes.values()))
        refused: dict[str, tuple[Note, str, str]] = {}
        mended: dict[str, Note] = {}
        for one in pending:
            if one.key not in notes:
                continue
            note, job = notes[one.key], jobs.get(notes[one.key].job)
            outcome = _outcome(note, job)
            if outcome is None:
                results[one.key] = one.model_copy(update={"after": ASK_AGAIN})
            elif isinstance(outcome, int):
                url = self.pusher.url(outcome)
                results[one.key] = Done(key=one.key, external_id=str(outcome), url=url)
                if note.add or note.remove:
                    mended[one.key] = note
            elif isinstance(outcome, GatewayError):
                results[one.key] = failed(one.key, outcome)
            else:
                refused[one.key] = (note, *outcome)
        touched = [note.ticket for note in mended.values()] + [note.ticket for note, _, _ in refused.values()]
        tickets = await self._tickets(number for number in touched if number is not None)
        calls = 0
        for one in pending:
            if one.key not in mended:
                continue
            if calls >= SINGLE_CALLS:
                results[one.key] = one.model_copy(update={"after": ASK_AGAIN})
                continue
            results[one.key], mend = await self._mend(one.key, mended[one.key], tickets, results[one.key])
            calls += 2 * mend
        for key, (note, code, details) in refused.items():
            results[key] = await self._explain(key, note, code, details, tickets)
        return [results[one.key] for one in pending]

    async def _jobs(self, names: Iterable[str]) -> dict[str, dict[str, Any]]:
        found: dict[str, dict[str, Any]] = {}
        wanted = list(names)
        for start in range(0, len(wanted), MOST):
            document = await self.api.get("job_statuses/show_many", {"ids": ",".join(wanted[start : start + MOST])})
            found.update({str(job.get("id")): job for job in objects(document, "job_statuses")})
        return found

    async def _tickets(self, numbers: Iterable[int]) -> dict[int, dict[str, Any]]:
        found: dict[int, dict[str, Any]] = {}
        wanted = [str(number) for number in dict.fromkeys(numbers)]
        for start in range(0, len(wanted), MOST):
            document = await self.api.get("tickets/show_many", {"ids": ",".join(wanted[start : start + MOST])})
            found.update({one["id"]: one for one in objects(document, "tickets") if isinstance(one.get("id"), int)})
        return found

    async def _mend(
        self, key: str, note: Note, tickets: Mapping[int, dict[str, Any]], done: PushResult
    ) -> tuple[PushResult, bool]:
        if note.ticket is None or note.ticket not in tickets:
            return done, False
        try:
            return done, await self.pusher.mend_tags(note.ticket, tickets[note.ticket], note.add, note.remove)
        except GatewayError as error:
            return failed(key, error), True

    async def _explain(
        self, key: str, note: Note, code: str, details: str, tickets: Mapping[int, dict[str, Any]]
    ) -> Failed:
        """An item that a job refused: its ticket's state tells more than the job's words."""
        reason = f"Zendesk refused it in a job: {details or code}"
        if note.ticket is not None:
            ticket = tickets.get(note.ticket)
            if ticket is None or code in _GONE or ticket.get("status") == "deleted":
                return failed(key, Gone(f"ticket {note.ticket} was deleted"))
            try:
                why = await self.pusher.why_closed(ticket)
            except GatewayError as error:
                return failed(key, error)
            if why is not None:
                return failed(key, why)
        if code in _REFUSED:
            return failed(key, Rejected(reason, code=code))
        return failed(key, Retry(reason, code=code or "job_item_failed"))


def _outcome(note: Note, job: Mapping[str, Any] | None) -> int | GatewayError | tuple[str, str] | None:
    """An item's ticket id, what a look-up must find out, the item's error and details, or None while the job runs."""
    if job is None:
        return Unknown("the job is not known any more: Zendesk keeps them for a day", code="job_gone")
    status = job.get("status")
    if status in ("queued", "working"):
        return None
    if status != "completed":
        # part of it may have been done before it broke
        return Unknown(f"the job ended as {status}", code="job_failed")
    results = job.get("results")
    if isinstance(results, dict) and results.get("success") is True and note.ticket is not None:
        return note.ticket
    if not isinstance(results, list):
        return Unknown("the job has no results", code="no_results")
    item = _item(note, [one for one in results if isinstance(one, dict)], job.get("total"))
    if item is None:
        return Unknown("the job's results do not name this item", code="no_result")
    if item.get("success") is False or item.get("error"):
        return str(item.get("error") or "")[:100], str(item.get("details") or "")[:300]
    number = item.get("id", note.ticket)
    return number if isinstance(number, int) else Unknown("the job's result has no ticket", code="no_result")


def _item(note: Note, results: Sequence[dict[str, Any]], total: object) -> dict[str, Any] | None:
    """By index where there is one, else by the ticket's id, else by place when nothing is missing."""
    for item in results:
        if item.get("index") == note.index:
            return item
    if note.ticket is not None:
        return next((item for item in results if item.get("id") == note.ticket), None)
    if len(results) == total and not any("index" in item for item in results):
        return results[note.index] if note.index < len(results) else None
    return None
