"""The cases of a batch: built as the fold comes to each message, knowing what became of those before it.

What policies say of a message can change what the next one's case holds: a ticket that was not opened, a tag, an
incident. So a batch is folded again with the verdicts of the round before, and those whose case has changed are asked
once more, until no case changes. After n rounds the first n messages are right; one or two are the rule.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any
from uuid import UUID

from gateway.pipeline.matters import Matters, ThreadedItem, TicketRow
from gateway.policy.clocks import facts_of
from gateway.policy.combine import Stance, Wish
from gateway.policy.effects import Order, clock_requests, promise_id
from gateway.policy.engine import Question, Verdict
from gateway.policy.facts import Event, Facts, Line, Matter, Person, who
from gateway.policy.sets import Place, PolicySetInForce
from gateway.sla.requests import Request
from gateway_schemas.decision import (
    Case,
    JoinIncident,
    MakePromise,
    OpenIncident,
    Point,
    PromiseFacts,
    SetFields,
    SettlePromise,
    TicketFacts,
    TimelineEntry,
)


@dataclass
class Casebook:
    """What the policies are asked in one fold, and what they said in the fold before."""

    in_force: PolicySetInForce
    matters: Matters
    facts: Facts
    verdicts: Mapping[int, Verdict]
    now: datetime
    questions: dict[int, Question] = field(default_factory=dict)
    lost: dict[int, list[tuple[Wish, str]]] = field(default_factory=dict)
    """Effects that met a ticket they could not change, by the revision they were about."""

    def ask(self, point: Point, item: ThreadedItem, ticket: TicketRow | None) -> Verdict | None:
        """Note that the policies are to be asked about this; their answer of the round before, if they were."""
        place = Place(
            source=item.provider,
            kind=item.news.kind,
            visibility=item.news.visibility,
            brand=self._brand(item.brand_id),
            connection=item.connection_name,
        )
        asked = self.in_force.asked(point, place)
        waived = self.facts.waivers.get(ticket.id, {}) if ticket is not None else {}
        stance = Stance(self.in_force.tightened, self.in_force.softened, waived)
        self.questions[item.revision_id] = Question(point, self._case(item, ticket), item.news, asked, stance)
        return self.verdicts.get(item.revision_id)

    def lose(self, item: ThreadedItem, wish: Wish, why: str) -> None:
        """Note that what a policy wants of a message cannot be done."""
        self.lost.setdefault(item.revision_id, []).append((wish, why))

    def _brand(self, id: UUID | None) -> str | None:
        return self.facts.brands.get(id) if id is not None else None

    def _case(self, item: ThreadedItem, ticket: TicketRow | None) -> Case:
        needs, facts = self.facts.needs, self.facts
        person = facts.people.get(item.customer_id, Person()) if needs.customer else None
        ticket_id = ticket.id if ticket is not None else None
        return Case(
            now=self.now,
            brand=self._brand(item.brand_id),
            source=item.provider,
            connection=item.connection_name,
            timezone=facts.timezone(item.brand_id),
            ticket=None if ticket is None else ticket_facts(ticket),
            timeline=tuple(
                line.entry for line in facts.timeline(ticket_id, self._above(item), but=item.interaction_id)
            ),
            customer=person.facts(item.customer_id, ticket_id) if person is not None else None,
            clocks=facts_of(facts.clocks.get(ticket_id, ()), self.now) if ticket_id is not None else (),
            promises=tuple(facts.promises.get(ticket_id, ())) if ticket_id is not None else (),
            incidents=tuple(
                event.facts()
                for _, event in sorted(facts.incidents.items())
                if event.brand_id is None or event.brand_id == item.brand_id
            ),
            window=facts.windows.get((item.brand_id, item.provider, item.at)),
            lists=dict(self.in_force.lists),
            facts=facts.enriched.get(item.account_id, {}),
        )

    def _above(self, item: ThreadedItem) -> list[Line]:
        """What it answers to, up the conversation, also where that belongs to no ticket."""
        if not self.facts.needs.timeline:
            return []
        above = self.matters.parents.get(item.interaction_id, ())
        return [self._line(one, one.account_id == item.account_id) for one in above]

    @staticmethod
    def _line(item: ThreadedItem, customer: bool) -> Line:
        entry = TimelineEntry(
            at=item.news.published_at,
            who=who(item.news.direction, customer),
            visibility=item.news.visibility,
            text=item.news.text,
            language=item.news.language,
            ref=f"i:{item.interaction_id}:{item.news.revision}",
        )
        return Line(item.news.published_at, item.interaction_id, entry)

    def placed(self, item: ThreadedItem, ticket: TicketRow) -> None:
        """A message came to stand on a ticket."""
        if self.facts.needs.timeline:
            lines = self.facts.timelines[ticket.id]
            lines[:] = [line for line in lines if line.id != item.interaction_id]
            lines.append(self._line(item, item.account_id == ticket.account_id))
        matter = self._matter(item, ticket)
        if matter is not None and item.change == "created":
            inbound = item.news.direction == "inbound"
            if inbound and item.news.visibility == "private":
                matter.unanswered += 1
            elif not inbound:
                matter.unanswered = 0

    def grouped(self, item: ThreadedItem, ticket_id: UUID) -> None:
        """A message is counted under an incident's ticket, which is somebody else's."""
        if self.facts.needs.timeline:
            self.facts.timelines[ticket_id].append(self._line(item, False))

    def gone(self, item: ThreadedItem, ticket: TicketRow) -> None:
        """A message was deleted."""
        lines = self.facts.timelines.get(ticket.id)
        if lines:
            lines[:] = [line for line in lines if line.id != item.interaction_id]

    def opened(self, item: ThreadedItem, ticket: TicketRow) -> None:
        """A ticket was opened for the message's author."""
        if self.facts.needs.customer:
            person = self.facts.people.setdefault(item.customer_id, Person())
            person.matters[ticket.id] = Matter(True, ticket.opened_at)

    def _matter(self, item: ThreadedItem, ticket: TicketRow) -> Matter | None:
        person = self.facts.people.get(item.customer_id) if self.facts.needs.customer else None
        return person.matters.get(ticket.id) if person is not None else None

    def clock(self, item: ThreadedItem, ticket: TicketRow, request: Request) -> None:
        """Something is asked of a ticket's clocks."""
        foresight = self.facts.foresight
        if foresight is not None:
            before = self.facts.clocks.get(ticket.id, ())
            after = foresight.after(before, request, item.connection_id, ticket.helpdesk_id, self.now)
            self.facts.clocks[ticket.id] = after

    def did(self, order: Order, item: ThreadedItem, ticket: TicketRow | None) -> None:
        """An effect will be carried out: the next message's case knows of it."""
        effect, needs, facts = order.wish.effect, self.facts.needs, self.facts
        if ticket is not None:
            for request in clock_requests([order]):
                self.clock(item, ticket, request)
        match effect:
            case MakePromise(quote=quote, due=due, detail=detail) if ticket is not None and needs.promises:
                made = PromiseFacts(id=str(promise_id(order)), quote=quote, made_at=order.at, due=due, detail=detail)
                facts.promises[ticket.id].append(made)
            case SettlePromise() if needs.promises:
                self._settled(effect)
            case OpenIncident(key=key, title=title) if needs.incidents:
                event = facts.incidents.setdefault(
                    key, Event(UUID(int=0), key, title, item.brand_id, order.at, ticket_id=order.ticket_id)
                )
                self._counted(event, item, ticket)
            case JoinIncident(key=key) if needs.incidents and key in facts.incidents:
                self._counted(facts.incidents[key], item, ticket)
            case SetFields(fields=fields) if ticket is not None and "cause" in fields:
                matter = self._matter(item, ticket)
                if matter is not None:
                    matter.cause = str(fields["cause"]) if fields["cause"] is not None else None

    def _settled(self, effect: SettlePromise) -> None:
        for ticket_id, promises in self.facts.promises.items():
            self.facts.promises[ticket_id] = [
                one.model_copy(update={"state": effect.outcome}) if one.id == effect.promise else one
                for one in promises
            ]

    @staticmethod
    def _counted(event: Event, item: ThreadedItem, ticket: TicketRow | None) -> None:
        if item.change == "created":
            event.add(item.at, item.interaction_id, item.news.text)
        if event.ticket_id is None and ticket is not None:
            event.ticket_id, event.helpdesk_id = ticket.id, ticket.helpdesk_id


def ticket_facts(ticket: TicketRow) -> TicketFacts:
    """A ticket as a policy sees it."""
    return TicketFacts(
        id=str(ticket.id),
        status=ticket.status,  # type: ignore[arg-type]
        priority=ticket.priority,  # type: ignore[arg-type]
        tags=ticket.tags,
        opened_at=ticket.opened_at,
        fields=ticket.fields,
        assignee=ticket.assignee,
    )


def changed(question: Question, before: Question | None) -> bool:
    """Whether a question must be put again."""
    if before is None:
        return True
    same: Any = (question.case, question.subject, question.stance, question.point) == (
        before.case,
        before.subject,
        before.stance,
        before.point,
    )
    return not same or question.members != before.members
