"""`keep_promises`: what was promised gets a due time and a clock, and the ticket says which promise broke."""

from __future__ import annotations

import re
from collections.abc import Iterable
from datetime import datetime, timedelta
from typing import ClassVar

from pydantic import Field

from gateway_schemas.decision import (
    AddTags,
    Alarm,
    Case,
    ClockFacts,
    Effect,
    Finding,
    MakePromise,
    Note,
    PromiseFacts,
    SetFields,
    SetPriority,
    SettlePromise,
)
from gateway_schemas.interaction import Interaction
from gateway_schemas.policy import Needs, Policy
from gateway_schemas.reading import Reading
from gateway_schemas.reply import Rendered
from gateway_schemas.ticket import TicketChanged
from gateway_service.targets import Escalation, Settings, steps_of

STEPS = (Escalation(at=0.75, name="warning"), Escalation(at=1, name="breach"))


class StandingPromise(Settings):
    """A promise that the company makes to everybody, such as "baggage within 24 hours"."""

    name: str = Field(min_length=1, title="Name", description="As the ticket's field `broken_promise` will say it.")
    text: str = Field(min_length=1, title="The promise", description="In the company's own words, for the agent.")
    words: tuple[str, ...] = Field(
        min_length=1, title="Words", description="A complaint that has one of these is about this promise."
    )


class KeepPromises(Settings):
    """How promises are watched over."""

    review_days: int = Field(
        default=7, gt=0, title="Review after", description="Days until somebody looks at a promise without a date."
    )
    calendar: str = Field(default="always", title="Calendar", description="Whose hours the warning counts.")
    escalations: tuple[Escalation, ...] = Field(default=STEPS, title="Escalations", description="`breach` is needed.")
    standing: tuple[StandingPromise, ...] = Field(default=(), title="Standing promises")


class KeptPromises(Policy[KeepPromises]):
    """Turns commitments into promises, and promises that were not kept into work for somebody."""

    type: ClassVar[str] = "keep_promises"
    title: ClassVar[str] = "Keep promises"
    description: ClassVar[str] = (
        "A commitment in an answer becomes a promise with a due time, or with a date to review it. Solving the "
        "ticket in time keeps it, and so does an answer that says that it was done as promised; one that passes is "
        "broken, and weighs more the second time. Complaints about a standing promise of the company say which one."
    )
    Params = KeepPromises
    needs: ClassVar[Needs] = Needs(reader=True, promises=True, customer=True)

    def review_reply(self, case: Case, rendered: Rendered) -> Iterable[Finding | Effect]:
        """What the answer promises, and which promise it keeps, once it is published."""
        reading = self.read_reply(case, rendered)
        yield from self._kept(reading, case, case.now)
        yield from self._made(reading, case)

    def on_own_post(self, case: Case, post: Interaction) -> Iterable[Finding | Effect]:
        """A promise made at the source itself binds as much."""
        if case.ticket is not None:
            reading = self.read_message(case, post)
            yield from self._kept(reading, case, post.published_at)
            yield from self._made(reading, case)

    def on_interaction(self, case: Case, interaction: Interaction) -> Iterable[Effect]:
        """Name the standing promise that a complaint is about; take a customer's word for how a promise ended."""
        reading = self.read_message(case, interaction)
        if reading.has("complains") or reading.coverage == "none":
            for promise in self.params.standing:
                said = next((word for word in promise.words if _says(interaction.text, word)), None)
                if said is not None:
                    yield SetFields(fields={"broken_promise": promise.name})
                    yield AddTags(tags=("promise_broken",))
                    yield Note(text=f'The customer speaks of "{said}". We promise: {promise.text}')
        overdue = [one for one in case.promises if one.state == "open" and one.due and one.due < case.now]
        if reading.has("says_solved") and not reading.has("says_unsolved"):
            for one in case.promises:
                if one.state == "open":
                    yield SettlePromise(promise=one.id, outcome="kept", evidence=_quote(reading, "says_solved"))
        elif reading.has("says_unsolved"):
            for one in overdue:
                yield SettlePromise(promise=one.id, outcome="broken", evidence=_quote(reading, "says_unsolved"))

    def on_ticket(self, case: Case, change: TicketChanged) -> Iterable[Effect]:
        """A ticket that is solved before the promise is due has kept it."""
        if change.status not in ("solved", "closed"):
            return
        at = change.updated_at or case.now
        for one in case.promises:
            if one.state == "open" and (one.due is None or one.due >= at):
                yield SettlePromise(promise=one.id, outcome="kept", evidence="the ticket was solved in time")

    def on_clock(self, case: Case, clock: ClockFacts) -> Iterable[Effect]:
        """Warn, and break the promise when its time has passed."""
        promise = next((one for one in case.promises if one.id == clock.promise), None)
        if promise is None or promise.state != "open":
            return
        step = next((one for one in self.params.escalations if one.name == clock.step), None)
        # the clock of a promise that a person wrote down has steps of its own
        if (step.at if step is not None else clock.share) < 1:
            yield AddTags(tags=("promise_due",))
            yield Note(text=f'Promised, and due soon: "{promise.quote}"{_when(promise)}.')
        elif promise.due is None:
            yield AddTags(tags=("promise_review",))
            yield Note(text=f'Promised without a date on {promise.made_at:%Y-%m-%d}: "{promise.quote}". Is it done?')
        else:
            yield from self._broken(case, promise)

    def _broken(self, case: Case, promise: PromiseFacts) -> Iterable[Effect]:
        before = case.customer.promises_broken if case.customer else 0
        again = f" It is promise number {before + 1} broken to this customer." if before else ""
        yield SettlePromise(promise=promise.id, outcome="broken", evidence="its time passed")
        yield AddTags(tags=("promise_broken",))
        yield SetPriority(priority="urgent" if before else "high")
        yield Note(text=f'Promised and not kept: "{promise.quote}"{_when(promise)}.{again}')
        yield Alarm(
            severity="critical" if before else "warning",
            code="promise_broken",
            message=f'"{promise.quote}" was not kept.{again}',
        )

    def _kept(self, reading: Reading, case: Case, at: datetime) -> Iterable[Effect]:
        """An answer that says `as promised`, and promises nothing itself, keeps the promise; of several, a person says
        which."""
        due = [one for one in case.promises if one.state == "open"]
        if len(due) != 1 or reading.promises or not reading.has("x_as_promised"):
            return
        [promise] = due
        if promise.due is None or promise.due >= at:
            said = reading.of("x_as_promised")[0].text
            yield SettlePromise(promise=promise.id, outcome="kept", evidence=f'the answer: "{said}"')

    def _made(self, reading: Reading, case: Case) -> Iterable[Effect]:
        known = {one.quote for one in case.promises if one.state == "open"}
        for promise in reading.promises:
            if promise.quote in known:
                continue
            review = None if promise.due else case.now + timedelta(days=self.params.review_days)
            yield MakePromise(
                quote=promise.quote,
                due=promise.due,
                review_at=review,
                detail=promise.detail,
                calendar=self.params.calendar,
                steps=steps_of(self.params.escalations),
            )


def _when(promise: PromiseFacts) -> str:
    return f" by {promise.due:%Y-%m-%d %H:%M} UTC" if promise.due else ""


def _quote(reading: Reading, signal: str) -> str:
    return f'the customer: "{reading.of(signal)[0].text}"'


def _says(text: str, word: str) -> bool:
    return re.search(rf"(?<!\w){re.escape(word.casefold())}(?!\w)", text.casefold()) is not None
