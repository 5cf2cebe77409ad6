"""Station 6, for what people do at the helpdesk: the policies are asked about each change of a ticket's state."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import Any
from uuid import UUID

from sqlalchemy.ext.asyncio import AsyncConnection

from gateway.db.database import Row, fetch_all, insert_rows
from gateway.engine.sandbox import Sandbox
from gateway.pipeline.decide import decision_row, settle
from gateway.pipeline.normalise import Read
from gateway.policy.clocks import clocks_of, facts_of
from gateway.policy.combine import Stance, Wish
from gateway.policy.effects import Order, carry_out_on_tickets, orders_of, update_ticket
from gateway.policy.engine import Question, Verdict
from gateway.policy.facts import Facts, Person, load_facts
from gateway.policy.sets import Place, PolicySetInForce
from gateway.runtime import Runtime
from gateway.sla.stored import Calendars
from gateway_schemas.decision import Case, TicketFacts
from gateway_schemas.ticket import TicketChanged

# the newest message of the customer says where the ticket belongs, as far as scopes look at it
TICKETS = """
SELECT t.id, t.helpdesk_id, t.external_id, t.status, t.priority, t.tags, t.fields, t.assignee, t.opened_at, t.brand_id,
       t.customer_id, t.account_id, t.helpdesk_updated_at, b.name AS brand, c.plugin AS source, c.name AS connection,
       h.name AS helpdesk, said.kind, said.visibility
FROM ticket t JOIN connection c ON c.id = t.connection_id LEFT JOIN brand b ON b.id = t.brand_id
     LEFT JOIN connection h ON h.id = t.helpdesk_id
     LEFT JOIN LATERAL (SELECT i.kind, i.visibility FROM interaction i WHERE i.ticket_id = t.id
         AND i.direction = 'inbound' ORDER BY i.published_at DESC, i.id DESC LIMIT 1) AS said ON true
WHERE t.merged_into IS NULL AND (t.helpdesk_id, t.external_id) IN
    (SELECT * FROM unnest(CAST(:helpdesks AS uuid[]), CAST(:ids AS text[])))
"""


@dataclass
class State:
    """A ticket between one change and the next."""

    row: Row
    status: str
    priority: str
    tags: tuple[str, ...]
    fields: dict[str, Any]
    assignee: str | None

    @classmethod
    def of(cls, row: Row) -> State:
        """As it is stored."""
        return cls(row, row["status"], row["priority"], tuple(row["tags"]), dict(row["fields"]), row["assignee"])

    def facts(self) -> TicketFacts:
        """As a policy sees it."""
        return TicketFacts(
            id=str(self.row["id"]),
            status=self.status,  # type: ignore[arg-type]
            priority=self.priority,  # type: ignore[arg-type]
            tags=self.tags,
            opened_at=self.row["opened_at"],
            fields=self.fields,
            assignee=self.assignee,
        )

    def follow(self, change: TicketChanged) -> None:
        """What the change makes of it."""
        self.status = change.status or self.status
        self.priority = change.priority or self.priority
        self.tags = change.tags if change.tags is not None else self.tags
        self.assignee = _name(change) or self.assignee

    def is_changed_by(self, change: TicketChanged) -> bool:
        """Whether it tells of anything new: most of what helpdesks tell echoes what the gateway wrote itself."""
        return (
            change.deleted
            or change.status not in (None, self.status)
            or change.priority not in (None, self.priority)
            or (change.tags is not None and set(change.tags) != set(self.tags))
            or _name(change) not in (None, self.assignee)
        )


def _name(change: TicketChanged) -> str | None:
    return (change.assignee.name or change.assignee.external_id) if change.assignee is not None else None


@dataclass
class Followed:
    """What is to be written of a batch of changes."""

    decisions: list[dict[str, Any]] = field(default_factory=list)
    orders: list[tuple[UUID, str, list[Order]]] = field(default_factory=list)
    """Ticket, what was decided on, and what is to be done."""


async def decide_changes(runtime: Runtime, sandbox: Sandbox, reads: Sequence[Read], now: datetime) -> Followed:
    """Ask the policies about what people changed on tickets, each knowing the changes before it; nothing is written."""
    in_force = await runtime.policies.in_force(now)
    told = [(endpoint.id, item) for read in reads for endpoint, item in read.news if isinstance(item, TicketChanged)]
    if not told or not any("on_ticket" in one.points and one.member.mode != "off" for one in in_force.policies):
        return Followed()
    needs = in_force.needs("on_ticket")
    async with runtime.database.read() as connection:
        rows = await fetch_all(
            connection,
            TICKETS,
            helpdesks=[helpdesk for helpdesk, _ in told],
            ids=[item.ticket for _, item in told],
        )
        ids = {row["id"] for row in rows}
        facts = await load_facts(
            connection,
            needs,
            tickets=ids,
            customers={row["customer_id"] for row in rows},
            accounts={row["account_id"] for row in rows},
            now=now,
        )
        if needs.clocks and ids:
            facts.clocks |= await clocks_of(connection, runtime.calendars, ids)
    known = {(row["helpdesk_id"], row["external_id"]): row for row in rows}

    def once(verdicts: Mapping[int, Verdict]) -> tuple[dict[int, State], dict[int, Question]]:
        states = {key: State.of(row) for key, row in known.items()}
        questions: dict[int, Question] = {}
        before: dict[int, State] = {}
        for number, (helpdesk, item) in enumerate(told):
            state = states.get((helpdesk, item.ticket))
            if state is None or _is_old(item, state) or not state.is_changed_by(item):
                continue
            questions[number] = _question(in_force, facts, state, item, now)
            before[number] = replace(state)
            state.follow(item)
            verdict = verdicts.get(number)
            if verdict is not None:
                update_ticket(state, verdict.applied, state.row["helpdesk"])
        return before, questions

    before, answered = await settle(sandbox, once)
    followed = Followed()
    for number, (question, verdict) in sorted(answered.items()):
        item, row = told[number][1], before[number].row
        at = item.updated_at or now
        thing = f"t:{row['id']}:{at.isoformat()}"
        followed.decisions.append(
            decision_row(
                question,
                verdict,
                in_force,
                thing_id=row["id"],
                revision=at.isoformat(),
                ticket_id=row["id"],
                now=now,
            )
        )
        wishes: Sequence[Wish] = verdict.applied
        if wishes:
            orders = orders_of(thing, wishes, at=at, seen_at=now, ticket_id=row["id"], brand_id=row["brand_id"])
            followed.orders.append((row["id"], thing, orders))
    return followed


async def write_changes(
    connection: AsyncConnection, calendars: Calendars, followed: Followed, now: datetime
) -> set[str]:
    """Write the decisions and carry out what the policies want, after the changes themselves were followed."""
    await insert_rows(connection, "decision", followed.decisions)
    return await carry_out_on_tickets(connection, calendars, followed.orders, now)


def _is_old(item: TicketChanged, state: State) -> bool:
    seen = state.row["helpdesk_updated_at"]
    return item.updated_at is not None and seen is not None and item.updated_at < seen


def _question(in_force: PolicySetInForce, facts: Facts, state: State, item: TicketChanged, now: datetime) -> Question:
    row = state.row
    place = Place(
        source=row["source"],
        kind=row["kind"] or "post",
        visibility=row["visibility"] or "public",
        brand=row["brand"],
        connection=row["connection"],
    )
    person = facts.people.get(row["customer_id"], Person()) if facts.needs.customer else None
    case = Case(
        now=now,
        brand=row["brand"],
        source=row["source"],
        connection=row["connection"],
        timezone=facts.timezone(row["brand_id"]),
        ticket=state.facts(),
        timeline=tuple(line.entry for line in facts.timeline(row["id"])),
        customer=person.facts(row["customer_id"], row["id"]) if person is not None else None,
        clocks=facts_of(facts.clocks.get(row["id"], ()), now),
        promises=tuple(facts.promises.get(row["id"], ())),
        incidents=tuple(event.facts() for _, event in sorted(facts.incidents.items())),
        lists=dict(in_force.lists),
        facts=facts.enriched.get(row["account_id"], {}),
    )
    stance = Stance(in_force.tightened, in_force.softened, facts.waivers.get(row["id"], {}))
    return Question("on_ticket", case, item, in_force.asked("on_ticket", place), stance)
