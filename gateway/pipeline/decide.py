"""Station 6: the place where policies act, on what comes in, on what goes out, and on what people do at the helpdesk.

Policies are pure functions of a case; they run in the sandbox under a deadline. Inbound fails open: a policy that
breaks has no effect. Outbound fails closed: it holds. Every decision is one row that names the policy set in force.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Any, TypeVar
from uuid import UUID

from sqlalchemy.ext.asyncio import AsyncConnection

from gateway.db.database import Database, execute, fetch_one
from gateway.engine.sandbox import Sandbox
from gateway.pipeline.casebook import Casebook, changed
from gateway.pipeline.matters import Matters
from gateway.pipeline.thread import fold
from gateway.pipeline.thread_plan import Plan
from gateway.policy.clocks import clocks_of, facts_of
from gateway.policy.combine import Stance, Wish
from gateway.policy.effects import carry_out_on_ticket, orders_of
from gateway.policy.engine import Question, Verdict, evaluate, evaluate_all
from gateway.policy.facts import Facts, Person, load_facts
from gateway.policy.replies import agent_facts, said_before
from gateway.policy.sets import Place, PolicySetInForce
from gateway.policy.stored import packed
from gateway.sla.clocks import Foresight
from gateway.sla.stored import Calendars
from gateway_schemas.decision import Case, TicketFacts
from gateway_schemas.interaction import Interaction
from gateway_schemas.reply import Rendered

__all__ = [
    "Decided",
    "Verdict",
    "apply_on_publication",
    "decide_inbound",
    "decide_reply",
    "decided_on",
    "decision_row",
    "hold_of",
    "reply_decision",
    "settle",
    "still_stands",
]

R = TypeVar("R")
K = TypeVar("K", bound=Hashable)


@dataclass(frozen=True)
class Decided:
    """A batch, folded with what the policies said of it."""

    plan: Plan
    decisions: tuple[dict[str, Any], ...]


async def settle(
    sandbox: Sandbox, fold: Callable[[Mapping[K, Verdict]], tuple[R, Mapping[K, Question]]]
) -> tuple[R, dict[K, tuple[Question, Verdict]]]:
    """Fold a batch until what the policies say is what the fold rests on.

    `fold` is given verdicts and gives its result with the questions that arose. Questions that differ from those of the
    round before are put again; the first n are right after n rounds, so it ends. Where nobody had anything to say, and
    had not in the round before, the result stands as it is.
    """
    answered: dict[K, tuple[Question, Verdict]] = {}
    while True:
        result, questions = fold({key: verdict for key, (_, verdict) in answered.items()})
        answered = {key: answered[key] for key in questions if key in answered}
        due = [key for key, question in questions.items() if changed(question, answered.get(key, (None,))[0])]
        if not due:
            return result, answered
        verdicts = await evaluate_all(sandbox, [questions[key] for key in due])
        told = [*verdicts, *(answered[key][1] for key in due if key in answered)]
        answered |= {key: (questions[key], verdict) for key, verdict in zip(due, verdicts, strict=True)}
        if all(verdict.silent for verdict in told):
            return result, answered


async def decide_inbound(
    database: Database,
    calendars: Calendars,
    sandbox: Sandbox,
    in_force: PolicySetInForce,
    matters: Matters,
    now: datetime,
    file_patience: timedelta = timedelta(),
) -> Decided:
    """Thread a batch, asking the policies about each of its messages; nothing is written."""
    facts = await _facts_of(database, calendars, in_force, matters, now)
    ids: dict[tuple[UUID, UUID | None], UUID] = {}
    books: list[Casebook] = []

    def once(verdicts: Mapping[int, Verdict]) -> tuple[Plan, Mapping[int, Question]]:
        forked = matters.fork()
        book = Casebook(in_force, forked, facts.fork(), verdicts, now)
        books[:] = [book]
        return fold(forked, book, ids, now, file_patience), book.questions

    plan, answered = await settle(sandbox, once)
    lost = books[0].lost
    items = {item.revision_id: item for item in matters.items}
    decisions = []
    for revision_id, (question, verdict) in answered.items():
        item = items[revision_id]
        verdict = _with_lost(verdict, lost.get(revision_id, []))
        decisions.append(
            decision_row(
                question,
                verdict,
                in_force,
                thing_id=item.interaction_id,
                revision=item.news.revision,
                ticket_id=(plan.placed.get(item.interaction_id) or {}).get("ticket_id"),
                now=now,
            )
        )
    return Decided(plan, tuple(decisions))


async def _facts_of(
    database: Database, calendars: Calendars, in_force: PolicySetInForce, matters: Matters, now: datetime
) -> Facts:
    needs = in_force.needs("on_interaction").union(in_force.needs("on_own_post"))
    tickets = {ticket.id for ticket in (*matters.tickets.values(), *matters.of_account.values())}
    async with database.read() as connection:
        facts = await load_facts(
            connection,
            needs,
            tickets=tickets,
            customers={item.customer_id for item in matters.items}
            | {one.customer_id for one in matters.invitations.values()},
            places=[(item.brand_id, item.provider, item.at) for item in matters.items],
            accounts={item.account_id for item in matters.items},
            now=now,
        )
        if needs.clocks:
            facts.clocks |= await clocks_of(connection, calendars, tickets)
            facts.foresight = await Foresight.load(connection, calendars)
    return facts


def _with_lost(verdict: Verdict, lost: Sequence[tuple[Wish, str]]) -> Verdict:
    """The verdict with the effects that the ticket at hand did not allow; the first reason is the one that counts."""
    why = {id(wish): reason for wish, reason in reversed(lost)}
    if not why:
        return verdict
    return replace(verdict, wishes=tuple(replace(one, lost=why.get(id(one), one.lost)) for one in verdict.wishes))


def decision_row(
    question: Question,
    verdict: Verdict,
    in_force: PolicySetInForce,
    *,
    thing_id: UUID,
    revision: str | None,
    ticket_id: UUID | None,
    now: datetime,
) -> dict[str, Any]:
    """The row of a decision on what came in, on a post made elsewhere, or on what a person changed."""
    return {
        "point": question.point,
        "thing_id": thing_id,
        "revision": revision,
        "ticket_id": ticket_id,
        "policy_set_id": in_force.id,
        "verdict": verdict.severity.value,
        "coverage": verdict.coverage,
        "for_tone": verdict.for_tone,
        "findings": list(verdict.findings) or None,
        "effects": verdict.effects(),
        "case": packed(question) if question.members else None,
        "at": now,
    }


async def decide_reply(
    connection: AsyncConnection,
    sandbox: Sandbox,
    in_force: PolicySetInForce,
    calendars: Calendars,
    *,
    reply_id: UUID | None,
    rendered: Rendered,
    source: str,
    connection_name: str | None,
    brand: str | None,
    answered: Interaction,
    ticket: Mapping[str, Any],
    now: datetime,
) -> tuple[Verdict, Case]:
    """Ask the policies about exactly what would be sent. Outbound text always passes through here.

    `ticket` names id, status, priority, tags and opened_at.
    """
    place = Place(source, answered.kind, rendered.visibility, brand, connection_name)
    needs = in_force.needs("review_reply")
    row = await fetch_one(
        connection,
        """SELECT t.id, t.customer_id, t.account_id, t.brand_id, t.fields, t.assignee FROM ticket t
           WHERE t.id = :id""",
        id=ticket["id"],
    )
    known = row is not None
    facts = await load_facts(
        connection,
        needs,
        tickets=[ticket["id"]] if known else [],
        customers=[row["customer_id"]] if row is not None else [],
        places=[(row["brand_id"], source, now)] if row is not None else [],
        accounts=[row["account_id"]] if row is not None else [],
        now=now,
    )
    running = await clocks_of(connection, calendars, [ticket["id"]]) if needs.clocks and known else {}
    case = Case(
        now=now,
        brand=brand,
        source=source,
        connection=connection_name,
        timezone=facts.timezone(row["brand_id"] if row is not None else None),
        ticket=TicketFacts(
            id=str(ticket["id"]),
            status=ticket["status"],
            priority=ticket["priority"],
            tags=tuple(ticket["tags"]),
            opened_at=ticket["opened_at"],
            fields=row["fields"] if row is not None else {},
            assignee=row["assignee"] if row is not None else None,
        ),
        interaction=answered,
        timeline=await said_before(connection, facts, ticket["id"], reply_id),
        customer=facts.people.get(row["customer_id"], Person()).facts(row["customer_id"], ticket["id"])
        if needs.customer and row is not None
        else None,
        clocks=facts_of(running.get(ticket["id"], ()), now),
        promises=tuple(facts.promises.get(ticket["id"], ())),
        incidents=tuple(event.facts() for _, event in sorted(facts.incidents.items())),
        window=next(iter(facts.windows.values()), None),
        agent=await agent_facts(connection, reply_id, needs.same_text, now),
        lists=dict(in_force.lists),
        facts=facts.enriched.get(row["account_id"], {}) if row is not None else {},
    )
    stance = Stance(in_force.tightened, in_force.softened, facts.waivers.get(ticket["id"], {}))
    verdict = await evaluate(sandbox, in_force.asked("review_reply", place), "review_reply", case, rendered, stance)
    return replace(verdict, policy_set_id=in_force.id, basis=in_force.basis, stance=stance), case


def reply_decision(
    reply_id: UUID, ticket_id: UUID, rendered: Rendered, verdict: Verdict, case: Case, now: datetime
) -> dict[str, Any]:
    """The decision row of a reply."""
    return {
        "point": "review_reply",
        "thing_id": reply_id,
        "revision": rendered.digest,
        "ticket_id": ticket_id,
        "policy_set_id": verdict.policy_set_id,
        "verdict": verdict.severity.value,
        "coverage": verdict.coverage,
        "for_tone": verdict.for_tone,
        "findings": list(verdict.findings) or None,
        "effects": verdict.effects(),
        "case": packed(Question("review_reply", case, rendered, (), verdict.stance)),
        "at": now,
    }


def decided_on(verdict: Verdict) -> dict[str, Any]:
    """What a verdict rests on besides the matter itself, for `still_stands`."""
    until = verdict.until.isoformat() if verdict.until is not None else None
    return {"policy_set": verdict.basis, "until": until}


def still_stands(basis: Mapping[str, Any], in_force: PolicySetInForce, now: datetime) -> bool:
    """Whether a verdict still holds right before sending: the same policies, as strict as then, and no waiver over."""
    until = basis.get("until")
    return basis.get("policy_set") == in_force.basis and (until is None or now < datetime.fromisoformat(until))


async def apply_on_publication(
    connection: AsyncConnection, calendars: Calendars, reply_id: UUID, at: datetime, now: datetime
) -> set[str]:
    """Do what the policies wanted done when this answer is published. Called in the transaction that proves it.

    It is done once, however often the proof comes. Returns the drains to wake after the commit.
    """
    first = await execute(
        connection, "UPDATE reply SET effects_at = :now WHERE id = :id AND effects_at IS NULL", id=reply_id, now=now
    )
    if not first:
        return set()
    row = await fetch_one(
        connection,
        """SELECT d.effects, d.ticket_id, r.written_at FROM decision d JOIN reply r ON r.id = d.thing_id
           WHERE d.thing_id = :id AND d.point = 'review_reply' AND d.revision = r.digest ORDER BY d.id DESC LIMIT 1""",
        id=reply_id,
    )
    if row is None or row["ticket_id"] is None:
        return set()
    thing = f"r:{reply_id}"
    orders = orders_of(
        thing,
        [Wish.of(one) for one in row["effects"] or () if one.get("done")],
        at=at,
        seen_at=now,
        ticket_id=row["ticket_id"],
        reply_id=reply_id,
        written=row["written_at"],
    )
    return await carry_out_on_ticket(connection, calendars, row["ticket_id"], thing, orders, now)


@dataclass(frozen=True)
class Hold:
    """When a held reply that nobody looks at meets its end, and which."""

    until: datetime
    action: str


async def hold_of(
    connection: AsyncConnection, calendars: Calendars, verdict: Verdict, in_force: PolicySetInForce, now: datetime
) -> Hold | None:
    """The earliest `on_timeout` among the policies that hold a reply; the strictest action of those at one time.

    A calendar that is gone is replaced by `always`.
    """
    holding = {one["policy"] for one in verdict.findings if one["severity"] == "hold" and one["mode"] != "shadow"}
    ends = [
        member.on_timeout
        for member in in_force.members
        if member.policy in holding and member.on_timeout.get("minutes") is not None
    ]
    if not ends:
        return None
    named = await calendars.named(connection, {"always", *(end.get("calendar", "always") for end in ends)})
    known = await calendars.of(connection, set(named.values()))
    found: list[tuple[datetime, int, str]] = []
    for end in ends:
        action = end.get("action", "escalate")
        calendar = known[named.get(end.get("calendar", "always"), named["always"])]
        until = calendar.due(now, timedelta(minutes=end["minutes"]))
        found.append((until, ("reject", "escalate", "allow").index(action), action))
    # one policy that must not be passed by default keeps the others from letting it go
    if any(action != "allow" for _, _, action in found):
        found = [one for one in found if one[2] != "allow"]
    until, _, action = min(found)
    return Hold(until, action)
