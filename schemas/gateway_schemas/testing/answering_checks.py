"""Checks of the way out: an agent's answer, unchanged and in the right place; refusals are told."""

from __future__ import annotations

import re
from datetime import timedelta
from email.utils import format_datetime
from inspect import getattr_static

import pytest

from gateway_schemas.errors import Gone, Hold, Reauthorise, Rejected, Unknown
from gateway_schemas.interaction import Interaction
from gateway_schemas.reply import Sent
from gateway_schemas.source import Source
from gateway_schemas.testing.adapters import NotOffered
from gateway_schemas.testing.failure import found, needs, staged, unless
from gateway_schemas.testing.plugin_contract import PluginContract
from gateway_schemas.testing.source_stage import (
    LEGS,
    SourceStage,
    asked,
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


class AnsweringChecks(PluginContract):
    """An agent answers what a customer wrote."""

    @LEGS
    @staged
    async def test_answer_not_sent(self, stage: SourceStage, private: bool) -> None:
        """One answer stands at the provider, and `Sent` names it."""
        told = await asked(stage, private=private)
        result = await sent(stage, rendered(stage, told))
        answer = only_answer(stage)
        kept = answer.private == (told.visibility == "private")
        unless(kept, "private_answered_in_public", f"the answer's privacy is {answer.private}")
        unless(result.external_id, "answer_not_sent", "Sent names no id")

    @LEGS
    @staged
    async def test_answer_changed(self, stage: SourceStage, private: bool) -> None:
        """The public reads what was rendered, and what was rendered is what the agent wrote."""
        told = await asked(stage, private=private)
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
        told = [await asked(stage, text=f"question {number}") for number in range(3)]
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
        private = await asked(stage, private=True)
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
        told = await asked(stage)
        what = rendered(stage, told)
        theirs = "Somebody else has answered this."
        stage.adapter.brand_writes(theirs, told.external_id)
        outcome = await stage.attempt(stage.plugin.send(what, "kit-key-1"))
        unless(isinstance(outcome, Hold), "slot_overwritten", f"the slot is taken and send gives {_named(outcome)}")
        shown = outcome.reason if isinstance(outcome, Hold) else ""
        unless(theirs in shown, "slot_overwritten", f"the reason does not show what would be replaced: {shown!r}")
        await sent(stage, what)  # a person saw it and let it go

    @LEGS
    @staged
    async def test_sent_id_unknown(self, stage: SourceStage, private: bool) -> None:
        """The echo of an answer has the id that `send` gave, and is outbound."""
        told = await asked(stage, private=private)
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

    @LEGS
    @staged
    async def test_window_ignored(self, stage: SourceStage, private: bool) -> None:
        """After the window an answer is refused; the window is named before."""
        needs(stage.capabilities.reply_window, "reply_window")
        told = await asked(stage, private=private)
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

    @LEGS
    @pytest.mark.parametrize("status", [400, 403, 404, 409, 410, 422])
    @staged
    async def test_refusal_not_told(self, stage: SourceStage, status: int, private: bool) -> None:
        """A refusal for good is told as one."""
        told = await asked(stage, private=private)
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
        told = await asked(stage)
        stage.adapter.delete(told.external_id)
        outcome = await stage.attempt(stage.plugin.send(rendered(stage, told), "kit-key-1"))
        unless(
            isinstance(outcome, Rejected | Gone | Hold) and not stage.adapter.answers(),
            "refusal_not_told",
            f"what is answered was deleted and send gives {_named(outcome)}",
        )

    @LEGS
    @staged
    async def test_refused_credentials_not_told_when_sending(self, stage: SourceStage, private: bool) -> None:
        """Sending with credentials that are refused."""
        told = await asked(stage, private=private)
        what = rendered(stage, told)
        stage.adapter.revoke()
        outcome = await stage.attempt(stage.plugin.send(what, "kit-key-1"))
        unless(isinstance(outcome, Reauthorise), "refused_credentials_not_told", f"send gives {_named(outcome)}")

    @LEGS
    @staged
    async def test_rate_limited_answer_lost(self, stage: SourceStage, private: bool) -> None:
        """429 with Retry-After in seconds and as a date; then the answer goes out once."""
        told = await asked(stage, private=private)
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

    @LEGS
    @staged
    async def test_retract_does_nothing(self, stage: SourceStage, private: bool) -> None:
        """An answer that is taken back is gone, and taking it back again is no harm."""
        needs(stage.capabilities.delete, "delete")
        told = await asked(stage, private=private)
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

    @LEGS
    @staged
    async def test_amend_does_nothing(self, stage: SourceStage, private: bool) -> None:
        """A corrected answer stands in place of the first."""
        needs(stage.capabilities.edit, "edit")
        told = await asked(stage, private=private)
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
            told = await asked(stage, private=True)
            unless(told.reply_target is not None, "claims_without_method", "private cannot be answered")

    @staged
    async def test_invitations_not_declared(self, stage: SourceStage) -> None:
        """Where customers can be invited to, the capabilities say so."""
        declared = stage.capabilities.invitations or not _has_own(stage, "claim_address")
        unless(declared, "invitations_not_declared", "claim_address stands there, invitations is not declared")

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
