"""Station 6, for what time brings: a policy is asked about each step of the clocks it started, once, when it is due."""

from __future__ import annotations

from datetime import datetime
from typing import Any
from uuid import UUID

from gateway.db.database import Row, execute, fetch_all, insert_rows
from gateway.engine.leases import Held
from gateway.engine.sandbox import Sandbox
from gateway.pipeline.decide import decision_row
from gateway.policy.clocks import clocks_of, facts_of
from gateway.policy.combine import Stance
from gateway.policy.effects import Order, carry_out_on_tickets, orders_of
from gateway.policy.engine import Question, evaluate_all
from gateway.policy.facts import Facts, Person, load_facts
from gateway.policy.sets import Place, PolicySetInForce
from gateway.runtime import Runtime
from gateway.sla.clock import Clock
from gateway.sla.facts import clock_facts
from gateway.sla.rows import load
from gateway_schemas.decision import Case, ClockFacts, TicketFacts

STEPS = ("warned", "breached", "escalated")

# the first event of each ticket: what one step sets going is known when the next is asked about
EVENTS = """
WITH chosen AS (
    SELECT min(id) AS id FROM clock_event WHERE handled_at IS NULL GROUP BY ticket_id ORDER BY min(id) LIMIT :limit
)
SELECT e.id AS event, e.clock_id, e.kind AS what, e.data, e.at, k.policy,
    t.id, t.status, t.priority, t.tags, t.fields, t.assignee, t.opened_at, t.brand_id, t.customer_id, t.account_id,
    b.name AS brand, c.plugin AS source, c.name AS connection, said.kind, said.visibility
FROM chosen JOIN clock_event e ON e.id = chosen.id JOIN clock k ON k.id = e.clock_id JOIN ticket t ON t.id = e.ticket_id
     JOIN connection c ON c.id = t.connection_id LEFT JOIN brand b ON b.id = t.brand_id
     LEFT JOIN LATERAL (SELECT i.kind, i.visibility FROM interaction i WHERE i.ticket_id = t.id
         AND i.direction = 'inbound' ORDER BY i.published_at DESC, i.id DESC LIMIT 1) AS said ON true
ORDER BY e.id
"""


async def decide_clock_steps(runtime: Runtime, sandbox: Sandbox, held: Held) -> bool:
    """The drain `decide:clocks`. Returns whether there may be more."""
    now = runtime.now()
    in_force = await runtime.policies.in_force(now)
    async with runtime.database.read() as connection:
        rows = await fetch_all(connection, EVENTS, limit=runtime.settings.batch)
        if not rows:
            return False
        asked = [row for row in rows if row["what"] in STEPS]
        ids = sorted({row["clock_id"] for row in asked})
        clocks = {one.id: one for one in await load(connection, runtime.calendars, "WHERE id = ANY(:ids)", ids=ids)}
        tickets = {row["id"] for row in asked}
        facts = await load_facts(
            connection,
            in_force.needs("on_clock"),
            tickets=tickets,
            customers={row["customer_id"] for row in asked},
            accounts={row["account_id"] for row in asked},
            now=now,
        )
        facts.clocks |= await clocks_of(connection, runtime.calendars, tickets)
    questions = [_question(in_force, facts, row, clocks[row["clock_id"]], now) for row in asked]
    verdicts = await evaluate_all(sandbox, questions)
    orders: list[tuple[UUID, str, list[Order]]] = []
    async with runtime.database.write() as connection:
        await held.check(connection)
        for row, question, verdict in zip(asked, questions, verdicts, strict=True):
            if not question.members:
                continue
            thing = f"c:{row['event']}"
            decision = decision_row(
                question,
                verdict,
                in_force,
                thing_id=row["clock_id"],
                revision=str(row["event"]),
                ticket_id=row["id"],
                now=now,
            )
            await insert_rows(connection, "decision", [decision])
            asks = orders_of(
                thing, verdict.applied, at=row["at"], seen_at=now, ticket_id=row["id"], brand_id=row["brand_id"]
            )
            if asks:
                orders.append((row["id"], thing, asks))
        wakes = await carry_out_on_tickets(connection, runtime.calendars, orders, now)
        await execute(
            connection,
            "UPDATE clock_event SET handled_at = :now WHERE id = ANY(:ids)",
            ids=[row["event"] for row in rows],
            now=now,
        )
    await runtime.wake(wakes)
    return True


def _question(in_force: PolicySetInForce, facts: Facts, row: Row, clock: Clock, now: datetime) -> Question:
    data: dict[str, Any] = row["data"]
    due: ClockFacts = clock_facts(clock, now, step=str(data.get("name") or row["what"]))
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
        ticket=TicketFacts(
            id=str(row["id"]),
            status=row["status"],
            priority=row["priority"],
            tags=tuple(row["tags"]),
            opened_at=row["opened_at"],
            fields=row["fields"],
            assignee=row["assignee"],
        ),
        timeline=tuple(line.entry for line in facts.timeline(row["id"])),
        customer=person.facts(row["customer_id"], row["id"]) if person is not None else None,
        clocks=facts_of(facts.clocks.get(row["id"], ()), now),
        promises=tuple(facts.promises.get(row["id"], ())),
        incidents=tuple(event.facts() for _, event in sorted(facts.incidents.items())),
        lists=dict(in_force.lists),
        facts=facts.enriched.get(row["account_id"], {}),
    )
    # only the policy that started the clock knows what its steps mean
    members = tuple(one for one in in_force.asked("on_clock", place) if one.member.policy == row["policy"])
    stance = Stance(in_force.tightened, in_force.softened, facts.waivers.get(row["id"], {}))
    return Question("on_clock", case, due, members, stance)
