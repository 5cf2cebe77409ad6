"""Checks that a helpdesk gets one ticket and one comment for each, whatever happens to the request."""

from __future__ import annotations

from datetime import timedelta
from email.utils import format_datetime
from typing import Any

import pytest

from gateway_schemas.errors import GatewayError
from gateway_schemas.testing.failure import found, needs, staged, unless
from gateway_schemas.testing.helpdesk_stage import (
    HelpdeskStage,
    added,
    change,
    comment,
    done,
    find,
    named,
    only_ticket,
    opened,
    outcome_of,
    push,
    with_text,
)
from gateway_schemas.testing.plugin_contract import PluginContract
from gateway_schemas.ticket import Done, FoundTicket, PushIntent, TicketChange

_LOST = pytest.mark.parametrize("kind", ["500", "503", "time-out", "broken off", "no JSON"])
_WRITES = pytest.mark.parametrize("write", ["ticket", "comment"])


class OnceChecks(PluginContract):
    """Requests to the helpdesk fail before and after they had their effect."""

    @staged
    async def test_ticket_twice(self, stage: HelpdeskStage) -> None:
        """The same change again: by the helpdesk's memory of keys, or found before it is pushed again."""
        what = change(stage)
        await done(stage, what)
        if stage.capabilities.idempotency_window is not None:
            await push(stage, what)
            only_ticket(stage, "ticket_twice")
        seen = await find(stage, what)
        if not isinstance(seen, FoundTicket) or seen.external_id is None:
            found("ticket_twice", f"a ticket that was made is not found, and would be made again: {named(seen)}")
        unless(seen.external_id == only_ticket(stage).id, "ticket_twice", f"find names {seen.external_id}")

    @_WRITES
    @_LOST
    @staged
    async def test_unknown_write_not_said(self, stage: HelpdeskStage, kind: str, write: str) -> None:
        """The write happened and its answer is lost: unknown, once, and then found."""
        what, request = await self._about_to(stage, write)
        before = stage.asked(request)
        stage.lose(kind, request)
        (result,) = await push(stage, what)
        stage.adapter.twin.faults.clear()
        made = stage.asked(request) - before
        if outcome_of(result) == "retry" and stage.capabilities.idempotency_window is not None and write == "ticket":
            (result,) = await push(stage, what)
            unless(isinstance(result, Done), "ticket_twice", f"the same key again gives {named(result)}")
            only_ticket(stage, "ticket_twice")
            return
        unless(
            outcome_of(result) == "unknown",
            "unknown_write_not_said",
            f"the {write} was written, the answer lost ({kind}), and push gives {named(result)}",
        )
        unless(made == 1, "written_again_after_unknown", f"push made the request {made} times")
        stage.time.pass_by((stage.capabilities.index_lag or timedelta()) + timedelta(seconds=1))
        seen = await find(stage, what)
        unless(isinstance(seen, FoundTicket), "write_not_found", f"find gives {named(seen)}")
        assert isinstance(seen, FoundTicket)
        unless(seen.external_id is not None, "write_not_found", f"the {write} is there, and find sees no ticket")
        unless(
            what.comments[0].key in seen.comments, "write_not_found", f"the {write} is there, and find does not see it"
        )
        count = len(with_text(stage, str(seen.external_id), what.comments[0].text))
        unless(count == 1, "written_again_after_unknown", f"the text stands {count} times on the ticket")

    @_WRITES
    @staged
    async def test_written_again_after_unknown(self, stage: HelpdeskStage, write: str) -> None:
        """A failure that strikes once: whoever tries again by itself writes twice."""
        for kind in ("500", "time-out", "broken off"):
            what, request = await self._about_to(stage, write, key=f"kit-{kind.replace(' ', '-')}")
            before = stage.asked(request)
            stage.lose(kind, request, times=1)
            (result,) = await push(stage, what)
            stage.adapter.twin.faults.clear()
            made = stage.asked(request) - before
            idempotent = write == "ticket" and stage.capabilities.idempotency_window is not None
            unless(made == 1 or idempotent, "written_again_after_unknown", f"after {kind} push asked {made} times")
            unless(not isinstance(result, Done) or idempotent, "unknown_write_not_said", f"{kind} is taken for Done")

    @_WRITES
    @staged
    async def test_other_write_found(self, stage: HelpdeskStage, write: str) -> None:
        """Nothing was written; another ticket, another comment and a quoted mark are not taken for it."""
        what, request = await self._about_to(stage, write)
        text = what.comments[0].text
        other = await opened(stage, "kit-1-c0", text)
        await added(stage, what.external_id or other, f"{what.comments[0].key}0", text)
        shown = stage.adapter.ticket(other).comments[-1].text
        stage.adapter.agent_notes(what.external_id or other, f"They wrote:\n{shown}\n(end of quote)")
        stage.strike("status_before", request, status=502, times=9)
        (result,) = await push(stage, what)
        stage.adapter.twin.faults.clear()
        unless(not isinstance(result, Done), "unknown_write_not_said", "502 is taken for Done")
        stage.time.pass_by((stage.capabilities.index_lag or timedelta()) + timedelta(seconds=1))
        seen = await find(stage, what)
        if isinstance(seen, GatewayError):
            found("other_write_found", f"find raises {named(seen)}")
        unless(not seen.comments, "other_write_found", f"nothing was written, and find sees {seen.comments}")
        if write == "ticket":
            unless(
                seen.external_id is None, "other_write_found", f"no ticket was made, and find sees {seen.external_id}"
            )

    @staged
    async def test_mark_missing(self, stage: HelpdeskStage) -> None:
        """Every comment is found by its key: the first and later ones, private and public, of the same text."""
        ticket = await opened(stage, text="The same words")
        changes = [change(stage, "kit-1", [comment(stage, "kit-1-c", "The same words")])]
        variants: tuple[dict[str, Any], ...] = ({}, {"public": False}, {"author": None, "public": False})
        for number, more in enumerate(variants):
            key = f"kit-m{number}"
            what = change(stage, key, [comment(stage, f"{key}-c", "The same words", **more)], external_id=ticket)
            await done(stage, what, "comment_not_written")
            changes.append(what)
        stage.time.pass_by((stage.capabilities.index_lag or timedelta()) + timedelta(seconds=1))
        ids = set()
        for what in changes:
            seen = await find(stage, what)
            unless(isinstance(seen, FoundTicket), "mark_missing", f"find gives {named(seen)}")
            assert isinstance(seen, FoundTicket)
            key = what.comments[0].key
            unless(
                set(seen.comments) == {key}, "mark_missing", f"looked for was {key}, find sees {sorted(seen.comments)}"
            )
            ids.add(seen.comments[key])
        unless(len(ids) == len(changes), "mark_missing", "two comments of the same words are taken for one")

    @staged
    async def test_write_not_found(self, stage: HelpdeskStage) -> None:
        """A comment is found among many, also on a later page, and after a restart."""
        ticket = await opened(stage)
        what = change(stage, "kit-2", [comment(stage, "kit-2-c", "Somewhere in the middle")], external_id=ticket)
        for number in range(20):
            stage.adapter.agent_notes(ticket, f"earlier {number}")
        await done(stage, what, "comment_not_written")
        for number in range(110):
            stage.adapter.agent_notes(ticket, f"later {number}")
        stage.state.document.clear()
        stage.time.pass_by((stage.capabilities.index_lag or timedelta()) + timedelta(seconds=1))
        seen = await find(stage, what)
        unless(
            isinstance(seen, FoundTicket) and "kit-2-c" in seen.comments,
            "write_not_found",
            f"a comment among 130 is not found: {named(seen)}",
        )
        last = change(stage, "kit-3", [comment(stage, "kit-3-c", "At the end")], external_id=ticket)
        await done(stage, last, "comment_not_written")
        stage.time.pass_by((stage.capabilities.index_lag or timedelta()) + timedelta(seconds=1))
        seen = await find(stage, last)
        unless(
            isinstance(seen, FoundTicket) and "kit-3-c" in seen.comments,
            "write_not_found",
            f"the last of 131 comments is not found: {named(seen)}",
        )

    @_WRITES
    @staged
    async def test_write_absent_too_early(self, stage: HelpdeskStage, write: str) -> None:
        """Once the declared lag has passed, what was written is seen; without a lag at once."""
        needs(stage.capabilities.index_lag is not None, "index_lag")
        what, _ = await self._about_to(stage, write)
        await done(stage, what)
        began = stage.time.now()
        stage.time.pass_by(stage.capabilities.index_lag)
        outcome = await stage.attempt(stage.plugin.find(PushIntent(change=what, started_at=began)))
        seen = isinstance(outcome, FoundTicket) and what.comments[0].key in outcome.comments
        unless(seen, "write_absent_too_early", f"after the declared lag find gives {named(outcome)}")

    @_WRITES
    @staged
    async def test_failed_lookup_called_absent(self, stage: HelpdeskStage, write: str) -> None:
        """The look-up itself fails."""
        what, _ = await self._about_to(stage, write)
        await done(stage, what)
        stage.time.pass_by(minutes=10)
        for kind, status in (("status_before", 500), ("status_before", 429), ("drop_after", 0), ("status_before", 401)):
            faulty: Any = kind
            stage.strike(faulty, (".*", ".*"), status=status, times=20)
            seen = await find(stage, what)
            stage.adapter.twin.faults.clear()
            absent = isinstance(seen, FoundTicket) and what.comments[0].key not in seen.comments
            unless(not absent, "failed_lookup_called_absent", f"the look-up met {kind} {status or ''}: nothing found")

    @_WRITES
    @staged
    async def test_unsent_write_called_unknown(self, stage: HelpdeskStage, write: str) -> None:
        """No connection could be made."""
        what, _ = await self._about_to(stage, write)
        needs(stage.transport, "a twin over HTTP in this process")
        assert stage.transport is not None
        stage.transport.unreachable = True
        (result,) = await push(stage, what)
        unless(outcome_of(result) == "retry", "unsent_write_called_unknown", f"without a connection: {named(result)}")

    @_WRITES
    @pytest.mark.parametrize("status", [400, 403, 422])
    @staged
    async def test_refused_write_not_told(self, stage: HelpdeskStage, status: int, write: str) -> None:
        """A refusal for good is told as one."""
        what, request = await self._about_to(stage, write)
        stage.strike("status_before", request, status=status, body=b"{}", times=9)
        (result,) = await push(stage, what)
        unless(
            outcome_of(result) in ("rejected", "closed", "moved", "gone"),
            "refused_write_not_told",
            f"the helpdesk answered {status}, and push gives {named(result)}",
        )

    @_WRITES
    @staged
    async def test_refused_credentials_not_told_when_writing(self, stage: HelpdeskStage, write: str) -> None:
        """Pushing with credentials that are refused."""
        what, _ = await self._about_to(stage, write)
        stage.adapter.revoke()
        (result,) = await push(stage, what)
        unless(outcome_of(result) == "reauthorise", "refused_credentials_not_told", f"push gives {named(result)}")

    @_WRITES
    @staged
    async def test_rate_limited_change_lost(self, stage: HelpdeskStage, write: str) -> None:
        """429 with Retry-After in seconds and as a date; then the change goes through once."""
        what, request = await self._about_to(stage, write)
        at = format_datetime((stage.time.now() + timedelta(seconds=240)).replace(microsecond=0), usegmt=True)
        for header, wait in (("120", 120), (at, 240)):
            fault = stage.strike("status_before", request, status=429, headers={"retry-after": header}, times=9)
            (result,) = await push(stage, what)
            stage.adapter.twin.faults.clear()
            unless(outcome_of(result) == "retry", "rate_limited_change_lost", f"429 gives {named(result)}")
            after = getattr(result, "after", None)
            seconds = after.total_seconds() if after is not None else None
            close = seconds is not None and wait - 2 <= seconds <= wait + 60
            unless(close, "rate_limited_change_lost", f"Retry-After: {header} gives a wait of {seconds} s")
            unless(fault.times == 8, "rate_limited_change_lost", "after 429 push tried again by itself")
        result = await done(stage, what)
        count = len(with_text(stage, result.external_id, what.comments[0].text))
        unless(count == 1, "rate_limited_change_lost", f"the text stands {count} times on the ticket")

    async def _about_to(
        self, stage: HelpdeskStage, write: str, key: str = "kit-1"
    ) -> tuple[TicketChange, tuple[str, str]]:
        """A change that makes a ticket or writes a comment, and the request that must not be repeated."""
        if write == "ticket":
            return change(stage, key, [comment(stage, f"{key}-c", "Where is it?")]), stage.adapter.creating
        ticket = await opened(stage, f"{key}-before", "Another text")
        what = change(stage, key, [comment(stage, f"{key}-c", "Where is it?")], external_id=ticket)
        return what, stage.adapter.commenting
