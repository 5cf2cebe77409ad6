"""Checks of the way out: one answer, unchanged, in the right place, whatever happens to the request."""

from __future__ import annotations

import contextlib
import re
from datetime import timedelta
from email.utils import format_datetime
from inspect import getattr_static
from typing import Any

import pytest

from gateway_schemas.errors import Gone, Hold, Reauthorise, Rejected, Retry, Unknown
from gateway_schemas.interaction import Interaction
from gateway_schemas.length import length
from gateway_schemas.reply import Absent, Found, NotYet, Rendered, Sent
from gateway_schemas.source import Source
from gateway_schemas.testing.adapters import NotOffered
from gateway_schemas.testing.failure import found, needs, staged, unless
from gateway_schemas.testing.plugin_contract import PluginContract
from gateway_schemas.testing.source_stage import (
    SourceStage,
    draft,
    heard,
    intent,
    interactions,
    only_answer,
    publishing,
    rendered,
    sent,
)
from gateway_schemas.testing.trouble_checks import _named, _waits

_LEGS = pytest.mark.parametrize("private", [False, True], ids=["public", "private"])
_PIECES = ("a", "é", "漢", "👩‍👩‍👧", "e\u0301", "https://example.com/a-long-path/to/somewhere ")


class AnsweringChecks(PluginContract):
    """An agent answers what a customer wrote."""

    async def _asked(self, stage: SourceStage, *, private: bool = False, text: str = "where is it?") -> Interaction:
        needs(stage.capabilities.reply, "reply")
        if stage.capabilities.webhook:
            await stage.install()
        return await heard(stage, text, private=private)

    @_LEGS
    @staged
    async def test_answer_not_sent(self, stage: SourceStage, private: bool) -> None:
        """One answer stands at the provider, and `Sent` names it."""
        told = await self._asked(stage, private=private)
        result = await sent(stage, rendered(stage, told))
        answer = only_answer(stage)
        kept = answer.private == (told.visibility == "private")
        unless(kept, "private_answered_in_public", f"the answer's privacy is {answer.private}")
        unless(result.external_id, "answer_not_sent", "Sent names no id")

    @_LEGS
    @staged
    async def test_answer_changed(self, stage: SourceStage, private: bool) -> None:
        """The public reads what was rendered, and what was rendered is what the agent wrote."""
        told = await self._asked(stage, private=private)
        text = stage.adapter.wording
        what = rendered(stage, told, text)
        unless(what.text == text, "answer_changed", f"rendering made\n{what.text}\nof\n{text}")
        before = what.digest
        await sent(stage, what)
        unless(what.digest == before, "answer_changed", "send changed what was rendered")
        answer = only_answer(stage)
        unless(answer.text == text, "answer_changed", f"the provider shows\n{answer.text}\ninstead of\n{text}")
        for link in re.findall(r"https?://\S+", text) if answer.links is not None else ():
            unless(link in (answer.links or ()), "answer_changed", f"shown as links are {answer.links}, not {link}")

    @staged
    async def test_answer_to_wrong_place(self, stage: SourceStage) -> None:
        """The second of three customers' messages is answered, and a message below another one."""
        told = [await self._asked(stage, text=f"question {number}") for number in range(3)]
        await sent(stage, rendered(stage, told[1]))
        _to(only_answer(stage).to, told[1])
        try:
            below = stage.adapter.reply(told[0].external_id, "and another thing")
        except NotOffered:
            return
        nested = interactions(await stage.learn())[below]
        await sent(stage, rendered(stage, nested, "To the second message."), "kit-key-2")
        answers = {answer.text: answer for answer in stage.adapter.answers()}
        unless("To the second message." in answers, "answer_not_sent", f"the answer is not among {list(answers)}")
        _to(answers["To the second message."].to, nested)

    @staged
    async def test_private_answered_in_public(self, stage: SourceStage) -> None:
        """A private message is answered in private, and a public answer to it is refused."""
        private = await self._asked(stage, private=True)
        what = rendered(stage, private)
        unless(what.visibility == "private", "private_answered_in_public", "rendering makes a private answer public")
        await sent(stage, what)
        unless(only_answer(stage).private, "private_answered_in_public", "a private message is answered in public")
        try:
            stage.plugin.render(draft(private, "x", stage, visibility="public"))
        except Rejected:
            return
        found("private_answered_in_public", "a public draft is rendered for a private message instead of refused")

    @staged
    async def test_slot_overwritten(self, stage: SourceStage) -> None:
        """Somebody of the brand has answered meanwhile, and there is room for one answer: a person sees both first."""
        needs(stage.capabilities.one_slot, "one_slot")
        told = await self._asked(stage)
        what = rendered(stage, told)
        theirs = "Somebody else has answered this."
        stage.adapter.brand_writes(theirs, told.external_id)
        outcome = await stage.attempt(stage.plugin.send(what, "kit-key-1"))
        unless(isinstance(outcome, Hold), "slot_overwritten", f"the slot is taken and send gives {_named(outcome)}")
        shown = outcome.reason if isinstance(outcome, Hold) else ""
        unless(theirs in shown, "slot_overwritten", f"the reason does not show what would be replaced: {shown!r}")
        await sent(stage, what)  # a person saw it and let it go

    @_LEGS
    @staged
    async def test_sent_id_unknown(self, stage: SourceStage, private: bool) -> None:
        """The echo of an answer has the id that `send` gave, and is outbound."""
        told = await self._asked(stage, private=private)
        result = await sent(stage, rendered(stage, told, "We found your parcel."))
        stage.time.pass_by(minutes=30)
        for item in interactions(await stage.learn()).values():
            if "found your parcel" in item.text:
                unless(item.direction == "outbound", "own_post_taken_for_customers", "the echo is told as a customer's")
                unless(
                    item.external_id == result.external_id,
                    "sent_id_unknown",
                    f"send gave {result.external_id!r}, the echo is {item.external_id!r}",
                )

    @_LEGS
    @staged
    async def test_render_not_pure(self, stage: SourceStage, private: bool) -> None:
        """The same draft gives the same, also elsewhere, later and without network."""
        told = await self._asked(stage, private=private)
        what = draft(told, stage.adapter.wording, stage)
        first: Rendered = stage.plugin.render(what)
        stage.time.pass_by(days=2)
        again: Rendered = stage.plugin_class(stage._pure_setup()).render(what)
        unless(first.digest == again.digest, "render_not_pure", f"the same draft gave\n{first}\nand\n{again}")
        for name, wanted in (("account", told.account), ("target", told.reply_target), ("visibility", told.visibility)):
            given = getattr(first, name)
            unless(given == wanted, "render_not_pure", f"rendering made {given!r} of the {name} {wanted!r}")

    @_LEGS
    @staged
    async def test_render_cuts(self, stage: SourceStage, private: bool) -> None:
        """A text far too long is measured or refused, never cut."""
        told = await self._asked(stage, private=private)
        long = "far too long " * 8_000
        try:
            what = rendered(stage, told, long)
        except Rejected as error:
            unless(error.reason, "render_cuts", "a text that is too long is refused without a reason")
            return
        unless(what.text == long, "render_cuts", f"a text of {len(long)} characters became one of {len(what.text)}")
        if what.limit is not None:
            unless(what.length > what.limit, "limit_miscounted", f"{len(long)} characters count as {what.length}")

    @_LEGS
    @staged
    async def test_limit_miscounted(self, stage: SourceStage, private: bool) -> None:
        """What the plugin takes to fit, the provider takes; what it takes for too long, the provider refuses."""
        told = await self._asked(stage, private=private)
        target = told.reply_target
        declared = stage.capabilities.text.get(target.kind if target is not None else "")
        needs(declared, "a text limit for this answer")
        for number, piece in enumerate(_PIECES):
            if stage.capabilities.one_slot and number:
                told = await heard(stage, f"question {number}", private=private)
            what = rendered(stage, told, f"x{number} {piece}")
            unless(
                (what.limit, what.counting) == (declared.limit, declared.counting),
                "limit_miscounted",
                f"rendered with {what.limit} {what.counting}, declared are {declared.limit} {declared.counting}",
            )
            counted = length(what.text, declared.counting, reserved_url=declared.reserved_url)
            counted += stage.adapter.addressing
            unless(
                what.length == counted,
                "limit_miscounted",
                f"{what.text!r} counts {what.length}, in {declared.counting} it is {counted}",
            )
            fits, over = _at_the_limit(stage, told, f"x{number} ", piece, declared.limit)
            await sent_or(stage, fits, f"key-{number}", "limit_miscounted")
            unless(
                fits.text.strip() in [answer.text.strip() for answer in stage.adapter.answers()],
                "answer_changed",
                f"an answer of exactly {fits.length} of {fits.limit} is not shown as sent",
            )
            count = len(stage.adapter.answers())
            outcome = await stage.attempt(stage.plugin.send(over, f"over-{number}"))
            unless(
                isinstance(outcome, Rejected | Hold) and len(stage.adapter.answers()) == count,
                "limit_miscounted",
                f"{over.text[:20]!r}… counts {over.length} of {over.limit}, and the provider takes it: "
                f"{_named(outcome)}",
            )

    @_LEGS
    @staged
    async def test_empty_answer_taken(self, stage: SourceStage, private: bool) -> None:
        """Nothing, and nothing but white space."""
        told = await self._asked(stage, private=private)
        for text in ("", "  \n\t "):
            try:
                rendered(stage, told, text)
            except Rejected:
                continue
            found("empty_answer_taken", f"the text {text!r} is rendered")

    @_LEGS
    @staged
    async def test_window_ignored(self, stage: SourceStage, private: bool) -> None:
        """After the window an answer is refused; the window is named before."""
        needs(stage.capabilities.reply_window, "reply_window")
        told = await self._asked(stage, private=private)
        target = told.reply_target
        closes = target.closes_at if target is not None else None
        if closes is None:
            needs(False, "a window for this leg")
        assert closes is not None
        window = closes - told.published_at
        unless(
            abs(window - stage.capabilities.reply_window) <= timedelta(minutes=1),
            "window_ignored",
            f"closes_at is {window} after it was written, declared are {stage.capabilities.reply_window}",
        )
        what = rendered(stage, told)
        stage.time.pass_by(closes - stage.time.now() + timedelta(minutes=5))
        outcome = await stage.attempt(stage.plugin.send(what, "kit-key-1"))
        unless(
            isinstance(outcome, Rejected | Hold) and not stage.adapter.answers(),
            "window_ignored",
            f"an answer after the window gives {_named(outcome)}",
        )

    @_LEGS
    @pytest.mark.parametrize("status", [400, 403, 404, 409, 410, 422])
    @staged
    async def test_refusal_not_told(self, stage: SourceStage, status: int, private: bool) -> None:
        """A refusal for good is told as one."""
        told = await self._asked(stage, private=private)
        what = rendered(stage, told)
        stage.strike("status_before", publishing(stage, private=private), status=status, body=b"{}", times=9)
        outcome = await stage.attempt(stage.plugin.send(what, "kit-key-1"))
        unless(
            isinstance(outcome, Rejected | Gone | Hold) or (status in (403, 409) and isinstance(outcome, Unknown)),
            "refusal_not_told",
            f"the provider answered {status} and send gives {_named(outcome)}",
        )

    @staged
    async def test_refusal_not_told_of_a_deleted_target(self, stage: SourceStage) -> None:
        """The customer took down what is answered."""
        told = await self._asked(stage)
        stage.adapter.delete(told.external_id)
        outcome = await stage.attempt(stage.plugin.send(rendered(stage, told), "kit-key-1"))
        unless(
            isinstance(outcome, Rejected | Gone | Hold) and not stage.adapter.answers(),
            "refusal_not_told",
            f"what is answered was deleted and send gives {_named(outcome)}",
        )

    @_LEGS
    @staged
    async def test_refused_credentials_not_told_when_sending(self, stage: SourceStage, private: bool) -> None:
        """Sending with credentials that are refused."""
        told = await self._asked(stage, private=private)
        what = rendered(stage, told)
        stage.adapter.revoke()
        outcome = await stage.attempt(stage.plugin.send(what, "kit-key-1"))
        unless(isinstance(outcome, Reauthorise), "refused_credentials_not_told", f"send gives {_named(outcome)}")

    @_LEGS
    @staged
    async def test_rate_limited_answer_lost(self, stage: SourceStage, private: bool) -> None:
        """429 with Retry-After in seconds and as a date; then the answer goes out once."""
        told = await self._asked(stage, private=private)
        what = rendered(stage, told)
        at = format_datetime((stage.time.now() + timedelta(seconds=240)).replace(microsecond=0), usegmt=True)
        for header, wait in (("120", 120), (at, 240)):
            fault = stage.strike(
                "status_before",
                publishing(stage, private=private),
                status=429,
                headers={"retry-after": header},
                times=9,
            )
            outcome = await stage.attempt(stage.plugin.send(what, "kit-key-1"))
            stage.adapter.twin.faults.clear()
            _waits(outcome, wait, "rate_limited_answer_lost", f"send met 429 with Retry-After: {header}")
            unless(fault.times == 8, "rate_limited_answer_lost", "after 429 send tried again by itself")
        await sent(stage, what)
        only_answer(stage, "rate_limited_answer_lost")

    @_LEGS
    @pytest.mark.parametrize("kind", ["500", "503", "trouble", "time-out", "broken off", "no JSON", "nothing"])
    @staged
    async def test_unknown_outcome_not_said(self, stage: SourceStage, kind: str, private: bool) -> None:
        """The answer is published and the response lost: Unknown, once, and then found."""
        if kind == "trouble":
            needs(stage.adapter.trouble, "a way of its own to say that it had trouble (`trouble`)")
        told = await self._asked(stage, private=private)
        what = rendered(stage, told)
        begun = intent(stage, what)
        request = publishing(stage, private=private)
        requests = stage.asked(request)
        _lose(stage, kind, request)
        outcome = await stage.attempt(stage.plugin.send(what, "kit-key-1"))
        stage.adapter.twin.faults.clear()
        made = stage.asked(request) - requests
        if isinstance(outcome, Retry) and stage.capabilities.idempotent_send:
            await sent(stage, what)
            only_answer(stage, "idempotency_not_kept")
            return
        if kind in ("no JSON", "nothing") and isinstance(outcome, Sent) and stage.capabilities.idempotent_send:
            only_answer(stage)  # a 2xx may be all that the provider has to say, where the same key is safe to repeat
            return
        unless(
            isinstance(outcome, Unknown),
            "unknown_outcome_not_said",
            f"the answer was published, the response lost ({kind}), and send gives {_named(outcome)}",
        )
        unless(made <= 1, "sent_again_after_unknown", f"send made the request {made} times")
        only_answer(stage, "sent_again_after_unknown")
        await self._find(stage, begun)

    @_LEGS
    @staged
    async def test_sent_again_after_unknown(self, stage: SourceStage, private: bool) -> None:
        """A failure that strikes once: whoever tries again by itself publishes, and must not."""
        for kind in ("500", "time-out", "broken off"):
            told = await self._asked(stage, private=private, text=f"and after {kind}?")
            what = rendered(stage, told, f"An answer after {kind}")
            request = publishing(stage, private=private)
            before = stage.asked(request)
            _lose(stage, kind, request, times=1)
            await stage.attempt(stage.plugin.send(what, f"kit-key-{kind}"))
            stage.adapter.twin.faults.clear()
            made = stage.asked(request) - before
            unless(made == 1, "sent_again_after_unknown", f"after {kind} send made the request {made} times")

    @_LEGS
    @staged
    async def test_found_another(self, stage: SourceStage, private: bool) -> None:
        """A failure before the effect: nothing was published, and nothing else is taken for it."""
        told = await self._asked(stage, private=private)
        what = rendered(stage, told, "We are sorry.")
        other = None
        if not private:
            other = rendered(stage, await self._asked(stage, text="and mine?"), "We are sorry.")
            await sent(stage, other, "kit-key-0")
            stage.time.pass_by(hours=2)
        begun = intent(stage, what)
        stage.strike("status_before", publishing(stage, private=private), status=502, times=9)
        outcome = await stage.attempt(stage.plugin.send(what, "kit-key-1"))
        stage.adapter.twin.faults.clear()
        if not private:  # the same words go to somebody else at the same time
            await sent(stage, rendered(stage, await self._asked(stage, text="me too"), "We are sorry."), "kit-key-2")
        proper = (Unknown, Retry) if stage.capabilities.idempotent_send else (Unknown,)
        unless(isinstance(outcome, proper), "unknown_outcome_not_said", f"after 502 send gives {_named(outcome)}")
        stage.time.pass_by((stage.capabilities.index_lag or timedelta()) + timedelta(seconds=1))
        result = await stage.attempt(stage.plugin.find(begun))
        if isinstance(result, Rejected) and result.code == "no_find":
            return
        unless(
            not isinstance(result, Found), "found_another", f"nothing was published, and find gives {_named(result)}"
        )
        unless(isinstance(result, Absent | NotYet), "found_another", f"find raises {_named(result)}")

    @_LEGS
    @staged
    async def test_not_sent_called_unknown(self, stage: SourceStage, private: bool) -> None:
        """No connection could be made."""
        told = await self._asked(stage, private=private)
        what = rendered(stage, told)
        needs(stage.transport, "a twin over HTTP in this process")
        assert stage.transport is not None
        stage.transport.unreachable = True
        outcome = await stage.attempt(stage.plugin.send(what, "kit-key-1"))
        unless(
            isinstance(outcome, Retry), "not_sent_called_unknown", f"without a connection send gives {_named(outcome)}"
        )

    @_LEGS
    @staged
    async def test_found_not_found(self, stage: SourceStage, private: bool) -> None:
        """Answers with entities, links, emoji and line breaks are found, among others."""
        told = await self._asked(stage, private=private)
        what = rendered(stage, told, stage.adapter.wording)
        begun = intent(stage, what)
        result = await sent(stage, what)
        if not private:
            for number in range(3):
                stage.time.pass_by(seconds=5)
                more = await self._asked(stage, text=f"more {number}")
                await sent(stage, rendered(stage, more, f"Later {number}"), f"kit-later-{number}")
            with contextlib.suppress(NotOffered):  # and the brand goes on posting, for more than a page
                for number in range(stage.adapter.many):
                    stage.adapter.brand_writes(f"News {number}")
        answer = await self._find(stage, begun)
        unless(
            answer.external_id == result.external_id,
            "found_not_found",
            f"send gave the id {result.external_id!r}, find {answer.external_id!r}",
        )

    @staged
    async def test_absent_too_early(self, stage: SourceStage) -> None:
        """What was published shows late; after the declared lag it is found."""
        needs(stage.capabilities.index_lag is not None, "index_lag")
        told = await self._asked(stage)
        stage.adapter.shows_after(stage.adapter.shows_within or stage.capabilities.index_lag * 0.9)
        what = rendered(stage, told)
        begun = intent(stage, what)
        await sent(stage, what)
        stage.time.pass_by(stage.capabilities.index_lag)
        await self._find(stage, begun, wait=False, fault="absent_too_early")

    @_LEGS
    @staged
    async def test_find_failure_called_absent(self, stage: SourceStage, private: bool) -> None:
        """The look-up itself fails."""
        told = await self._asked(stage, private=private)
        what = rendered(stage, told)
        begun = intent(stage, what)
        await sent(stage, what)
        stage.time.pass_by(minutes=10)
        for kind, status in (("status_before", 500), ("status_before", 429), ("drop_after", 0)):
            faulty: Any = kind
            stage.strike(faulty, (".*", ".*"), status=status, times=9)
            result = await stage.attempt(stage.plugin.find(begun))
            stage.adapter.twin.faults.clear()
            unless(
                not isinstance(result, Absent),
                "find_failure_called_absent",
                f"the look-up met {kind} {status or ''} and gives Absent",
            )

    @_LEGS
    @staged
    async def test_idempotency_not_kept(self, stage: SourceStage, private: bool) -> None:
        """The same key twice publishes once; another key is another answer."""
        needs(stage.capabilities.idempotent_send, "idempotent_send")
        told = await self._asked(stage, private=private)
        what = rendered(stage, told)
        one, other = await sent(stage, what), await sent(stage, what)
        only_answer(stage, "idempotency_not_kept")
        unless(one.external_id == other.external_id, "idempotency_not_kept", "the same key gave two ids")

    @_LEGS
    @staged
    async def test_retract_does_nothing(self, stage: SourceStage, private: bool) -> None:
        """An answer that is taken back is gone, and taking it back again is no harm."""
        needs(stage.capabilities.delete, "delete")
        told = await self._asked(stage, private=private)
        result = await sent(stage, rendered(stage, told))
        taken = await stage.attempt(stage.plugin.retract(result))
        needs(not (isinstance(taken, Rejected) and taken.code == "no_delete"), "taking back on this leg")
        unless(taken is None, "retract_does_nothing", f"retract gives {_named(taken)}")
        unless(not stage.adapter.answers(), "retract_does_nothing", "the answer still stands at the provider")
        again = await stage.attempt(stage.plugin.retract(result))
        unless(
            again is None or isinstance(again, Gone | Rejected),
            "retract_does_nothing",
            f"taking back what is gone gives {_named(again)}",
        )

    @_LEGS
    @staged
    async def test_amend_does_nothing(self, stage: SourceStage, private: bool) -> None:
        """A corrected answer stands in place of the first."""
        needs(stage.capabilities.edit, "edit")
        told = await self._asked(stage, private=private)
        result = await sent(stage, rendered(stage, told, "Tomorow"))
        stage.time.pass_by(minutes=1)
        amended = await stage.attempt(stage.plugin.amend(result, rendered(stage, told, "Tomorrow")))
        needs(not (isinstance(amended, Rejected) and amended.code == "no_edit"), "correcting on this leg")
        unless(isinstance(amended, Sent), "amend_does_nothing", f"amend gives {_named(amended)}")
        answer = only_answer(stage, "amend_does_nothing")
        unless(answer.text == "Tomorrow", "amend_does_nothing", f"the provider shows {answer.text!r}")

    @staged
    async def test_claims_without_method(self, stage: SourceStage) -> None:
        """What is not claimed is refused, what is claimed has a method of its own."""
        caps = stage.capabilities
        for claim, methods in (
            ("reply", ("render", "send", "find")),
            ("delete", ("retract",)),
            ("edit", ("amend",)),
            ("invitations", ("claim_address",)),
            ("poll", ("poll",)),
            ("listen", ("listen",)),
        ):
            for method in methods:
                has = _has_own(stage, method)
                unless(has or not getattr(caps, claim), "claims_without_method", f"{claim} is claimed without {method}")
        unless(not caps.private or caps.reply, "claims_without_method", "private is claimed without reply")
        if caps.private:
            told = await self._asked(stage, private=True)
            unless(told.reply_target is not None, "claims_without_method", "private cannot be answered")

    @staged
    async def test_invitations_not_declared(self, stage: SourceStage) -> None:
        """Where customers can be invited to, the capabilities say so."""
        declared = stage.capabilities.invitations or not _has_own(stage, "claim_address")
        unless(declared, "invitations_not_declared", "claim_address stands there, invitations is not declared")

    async def _find(
        self, stage: SourceStage, begun: Any, *, wait: bool = True, fault: str = "found_not_found"
    ) -> Found:
        """The answer, which must be found once the declared lag has passed."""
        for _ in range(6):
            result = await stage.attempt(stage.plugin.find(begun))
            if isinstance(result, Rejected) and result.code == "no_find":
                needs(False, "a look-up of what was sent")
            if isinstance(result, Found) or not wait:
                break
            stage.time.pass_by(getattr(result, "after", timedelta()) + timedelta(seconds=10))
        if not isinstance(result, Found):
            found(fault, f"the answer is published, and find gives {_named(result)}")
        unless(result.external_id, "found_not_found", "find names no id")
        return result

    async def everything(self, stage: SourceStage) -> None:
        """Hear, answer, find, correct, take back."""
        told = await heard(stage)
        if stage.capabilities.reply:
            what = rendered(stage, told)
            begun = intent(stage, what)
            result = await sent(stage, what)
            await stage.attempt(stage.plugin.find(begun))
            if stage.capabilities.edit:
                await stage.attempt(stage.plugin.amend(result, rendered(stage, told, "Corrected")))
            if stage.capabilities.delete:
                await stage.attempt(stage.plugin.retract(result))


def _has_own(stage: SourceStage, method: str) -> bool:
    return getattr_static(type(stage.plugin), method) is not getattr_static(Source, method)


def _to(given: str | None, told: Interaction) -> None:
    if given is not None:
        names = {told.external_id, *told.supersedes, told.revision}
        unless(given in names, "answer_to_wrong_place", f"the answer is to {given!r}, asked was {told.external_id!r}")


def _lose(stage: SourceStage, kind: str, request: tuple[str, str], times: int = 9) -> None:
    match kind:
        case "time-out":
            stage.strike("timeout_after", request, times=times)
        case "broken off":
            stage.strike("drop_after", request, times=times)
        case "no JSON":
            stage.strike("status_after", request, status=200, body=b"<html>", times=times)
        case "trouble":
            status, body = stage.adapter.trouble or (500, b"{}")
            stage.strike("status_after", request, status=status, body=body, times=times)
        case "nothing":
            stage.strike("status_after", request, status=200, times=times)
        case _:
            stage.strike("status_after", request, status=int(kind), body=b"{}", times=times)


async def sent_or(stage: SourceStage, what: Rendered, key: str, fault: str) -> None:
    """Send what must be taken; a refusal is this fault."""
    outcome = await stage.attempt(stage.plugin.send(what, key))
    if not isinstance(outcome, Sent):
        found(fault, f"{what.text[:20]!r}… counts {what.length} of {what.limit}, and send gives {_named(outcome)}")


def _at_the_limit(
    stage: SourceStage, told: Interaction, begin: str, piece: str, limit: int
) -> tuple[Rendered, Rendered]:
    """The longest text of pieces that fits, filled up with letters, and one letter more.

    Where a second limit is reached first (Bluesky: 3000 bytes beside 300 graphemes), rendering measures by that one,
    and the text is not filled up.
    """
    low, high = 0, limit + 1
    while low + 1 < high:
        middle = (low + high) // 2
        if _fits(rendered(stage, told, (begin + piece * middle).rstrip())):
            low = middle
        else:
            high = middle
    body = (begin + piece * low).rstrip()
    fits = rendered(stage, told, body)
    filled = body + (" " + "z" * (limit - fits.length - 1) if limit - fits.length > 1 else "")
    full = rendered(stage, told, filled)
    if not _fits(full):
        return fits, rendered(stage, told, begin + piece * high)
    if full.length < limit:
        full = rendered(stage, told, filled + "z")
    return full, rendered(stage, told, full.text + "zz")


def _fits(what: Rendered) -> bool:
    return what.limit is None or what.length <= what.limit
