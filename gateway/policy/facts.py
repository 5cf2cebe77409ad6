"""What policies may know besides the message itself, loaded set-based for a batch and no deeper than they need."""

from __future__ import annotations

import copy
from collections import defaultdict, deque
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

from sqlalchemy.ext.asyncio import AsyncConnection

from gateway.db.database import fetch_all
from gateway.policy.combine import Waived
from gateway.sla.clock import Clock
from gateway.sla.clocks import Foresight
from gateway_schemas.decision import (
    CustomerFacts,
    IncidentFacts,
    PromiseFacts,
    TimelineEntry,
    WindowFacts,
)
from gateway_schemas.policy import Needs

SAMPLES = 5
"""How many texts stand for a window or an incident."""
CAUSES = 20
WEEKS = 4
"""How many weeks back tell what is usual at this hour of the week."""


@dataclass(frozen=True)
class Line:
    """One message on a ticket's timeline."""

    at: datetime
    id: UUID
    entry: TimelineEntry

    @property
    def order(self) -> tuple[datetime, str]:
        """Oldest first, the same way wherever it is sorted."""
        return (self.at, str(self.id))


@dataclass
class Matter:
    """One of a customer's tickets, as their history knows it."""

    open: bool
    opened_at: datetime
    cause: str | None = None
    unanswered: int = 0
    """Private messages since the last answer."""


@dataclass
class Person:
    """A customer's history."""

    matters: dict[UUID, Matter] = field(default_factory=dict)
    broken: int = 0
    accounts: int = 1

    def facts(self, id: UUID, but: UUID | None) -> CustomerFacts:
        """As a policy sees it; `but` is the ticket that is asked about."""
        others = {ticket: matter for ticket, matter in self.matters.items() if ticket != but}
        newest = sorted(others.values(), key=lambda one: one.opened_at, reverse=True)
        return CustomerFacts(
            id=str(id),
            tickets=len(others),
            open_tickets=sum(one.open for one in others.values()),
            private_unanswered=sum(one.unanswered for one in self.matters.values()),
            promises_broken=self.broken,
            causes=tuple(one.cause for one in newest if one.cause)[:CAUSES],
            accounts=self.accounts,
        )


@dataclass
class Event:
    """An open incident."""

    id: UUID
    key: str
    title: str
    brand_id: UUID | None
    opened_at: datetime
    count: int = 0
    texts: list[tuple[datetime, str, str]] = field(default_factory=list)
    """Time, id and text of the newest few."""
    ticket_id: UUID | None = None
    """The one ticket that near-duplicates are counted under."""
    helpdesk_id: UUID | None = None

    def facts(self) -> IncidentFacts:
        """As a policy sees it."""
        return IncidentFacts(
            key=self.key,
            title=self.title,
            opened_at=self.opened_at,
            count=self.count,
            members=tuple(text for _, _, text in self.texts),
        )

    def add(self, at: datetime, id: UUID, text: str) -> None:
        """Count one more message."""
        self.count += 1
        self.texts = sorted([*self.texts, (at, str(id), text)])[-SAMPLES:]


def hour_of(at: datetime) -> datetime:
    """The full hour that a moment belongs to."""
    return at.replace(minute=0, second=0, microsecond=0)


@dataclass
class Facts:
    """What a batch's cases are made of. A fold changes its own copy."""

    needs: Needs
    brands: dict[UUID, str] = field(default_factory=dict)
    timezones: dict[UUID, str] = field(default_factory=dict)
    """Where each brand counts its days."""
    timelines: dict[UUID, list[Line]] = field(default_factory=lambda: defaultdict(list))
    people: dict[UUID, Person] = field(default_factory=dict)
    clocks: dict[UUID, list[Clock]] = field(default_factory=lambda: defaultdict(list))
    foresight: Foresight | None = None
    """How clocks go on within a batch."""
    promises: dict[UUID, list[PromiseFacts]] = field(default_factory=lambda: defaultdict(list))
    incidents: dict[str, Event] = field(default_factory=dict)
    windows: dict[tuple[UUID | None, str, datetime], WindowFacts] = field(default_factory=dict)
    """By brand, source and moment: what came in just before it."""
    waivers: dict[UUID, dict[str, Waived]] = field(default_factory=dict)
    enriched: dict[UUID, dict[str, Any]] = field(default_factory=dict)
    """By customer's account: what enrichers found, by enricher."""

    def fork(self) -> Facts:
        """A copy that may be changed; what never changes is shared."""
        forked = copy.copy(self)
        forked.timelines = defaultdict(list, {id: list(lines) for id, lines in self.timelines.items()})
        forked.people = {
            id: Person(
                {ticket: copy.copy(one) for ticket, one in person.matters.items()}, person.broken, person.accounts
            )
            for id, person in self.people.items()
        }
        forked.clocks = defaultdict(list, {id: list(some) for id, some in self.clocks.items()})
        forked.promises = defaultdict(list, {id: list(some) for id, some in self.promises.items()})
        forked.incidents = {key: copy.copy(one) for key, one in self.incidents.items()}
        return forked

    def timezone(self, brand_id: UUID | None) -> str:
        """Where a brand counts its days."""
        return self.timezones.get(brand_id, "UTC") if brand_id is not None else "UTC"

    def timeline(self, ticket_id: UUID | None, more: Sequence[Line] = (), but: UUID | None = None) -> list[Line]:
        """The last messages of a matter and of what else is given, oldest first, without the one asked about."""
        if not self.needs.timeline:
            return []
        lines = {line.id: line for line in more}
        if ticket_id is not None:
            lines |= {line.id: line for line in self.timelines.get(ticket_id, ())}
        lines.pop(but, None)  # type: ignore[arg-type]
        return sorted(lines.values(), key=lambda line: line.order)[-self.needs.timeline :]


async def load_facts(
    connection: AsyncConnection,
    needs: Needs,
    *,
    tickets: Collection[UUID],
    customers: Collection[UUID] = (),
    places: Collection[tuple[UUID | None, str, datetime]] = (),
    accounts: Collection[UUID] = (),
    now: datetime,
) -> Facts:
    """Load what policies need of tickets, customers, and of the brands and sources that messages came in for.

    `places` are (brand, source, time) of each message, `accounts` are those whom enrichers were asked about.
    """
    facts = Facts(needs)
    ids = sorted(tickets)
    for row in await fetch_all(connection, "SELECT id, name, timezone FROM brand"):
        facts.brands[row["id"]], facts.timezones[row["id"]] = row["name"], row["timezone"]
    if ids:
        await _waivers(connection, facts, ids, now)
        if needs.timeline:
            await _timelines(connection, facts, ids)
        if needs.promises:
            await _promises(connection, facts, ids)
    if needs.customer and customers:
        await _people(connection, facts, sorted(customers))
    if needs.incidents:
        await _incidents(connection, facts)
    if needs.window is not None and places:
        await _windows(connection, facts, needs.window, places)
    if needs.facts and accounts:
        await _enriched(connection, facts, sorted(accounts))
    return facts


async def _enriched(connection: AsyncConnection, facts: Facts, accounts: Sequence[UUID]) -> None:
    rows = await fetch_all(
        connection,
        """SELECT e.account_id, c.name, e.facts FROM enrichment e JOIN connection c ON c.id = e.connection_id
           WHERE e.account_id = ANY(:accounts) AND c.name = ANY(:names)""",
        accounts=accounts,
        names=list(facts.needs.facts),
    )
    for row in rows:
        facts.enriched.setdefault(row["account_id"], {})[row["name"]] = row["facts"]


async def _waivers(connection: AsyncConnection, facts: Facts, tickets: Sequence[UUID], now: datetime) -> None:
    rows = await fetch_all(
        connection,
        """SELECT w.ticket_id, p.name, w.until, w.reason, w.author FROM waiver w JOIN policy p ON p.id = w.policy_id
           WHERE w.ticket_id = ANY(:tickets) AND w.until > :now AND w.ended_at IS NULL ORDER BY w.until""",
        tickets=tickets,
        now=now,
    )
    for row in rows:
        waived = Waived(row["until"], row["reason"], row["author"])
        facts.waivers.setdefault(row["ticket_id"], {})[row["name"]] = waived


# the newest few of each ticket, by the index on (ticket_id, published_at); what was merged in belongs to it as well
TIMELINE = """
WITH named AS (
    SELECT id, id AS ticket FROM ticket WHERE id = ANY(:tickets)
    UNION ALL SELECT id, merged_into FROM ticket WHERE merged_into = ANY(:tickets)
)
SELECT named.ticket, said.* FROM named JOIN ticket t ON t.id = named.ticket CROSS JOIN LATERAL (
    SELECT i.id, i.published_at AS at, i.direction, i.visibility, i.text, i.data ->> 'language' AS language,
           'i:' || i.id || ':' || i.revision AS ref,
           i.account_id = t.account_id AS customer
    FROM interaction i WHERE i.ticket_id = named.id AND i.deleted_at IS NULL
    ORDER BY i.published_at DESC, i.id DESC LIMIT :depth) AS said
UNION ALL
SELECT named.ticket, r.id, r.sent_at, 'outbound', COALESCE(r.visibility, 'public'),
       COALESCE(r.rendered ->> 'text', r.text), NULL, 'r:' || r.id || ':' || COALESCE(r.digest, ''), false
FROM named JOIN reply r ON r.ticket_id = named.id
WHERE r.state = 'sent' AND NOT EXISTS (SELECT 1 FROM interaction e WHERE e.reply_id = r.id)
"""


async def _timelines(connection: AsyncConnection, facts: Facts, tickets: Sequence[UUID]) -> None:
    for row in await fetch_all(connection, TIMELINE, tickets=tickets, depth=facts.needs.timeline + 1):
        facts.timelines[row["ticket"]].append(
            Line(
                row["at"],
                row["id"],
                TimelineEntry(
                    at=row["at"],
                    who=who(row["direction"], bool(row["customer"])),
                    visibility=row["visibility"],
                    text=row["text"],
                    language=row["language"],
                    ref=row["ref"],
                ),
            )
        )


def who(direction: str, customer: bool) -> Any:
    """Who speaks, on a timeline."""
    return "agent" if direction == "outbound" else "customer" if customer else "bystander"


async def _promises(connection: AsyncConnection, facts: Facts, tickets: Sequence[UUID]) -> None:
    rows = await fetch_all(
        connection,
        """SELECT id, ticket_id, quote, made_at, due, state, detail FROM promise WHERE ticket_id = ANY(:tickets)
           ORDER BY made_at, id""",
        tickets=tickets,
    )
    for row in rows:
        facts.promises[row["ticket_id"]].append(
            PromiseFacts(id=str(row["id"]), **{name: row[name] for name in row if name not in ("id", "ticket_id")})
        )


PEOPLE = """
SELECT t.customer_id, t.id, t.opened_at, t.fields ->> 'cause' AS cause,
       t.ended IS NULL AND t.status NOT IN ('solved', 'closed') AS open,
       (SELECT count(*) FROM interaction i WHERE i.ticket_id = t.id AND i.direction = 'inbound'
            AND i.visibility = 'private' AND i.deleted_at IS NULL
            -- the last answer is looked for once, and only where there is a private message
            AND CASE WHEN i.visibility = 'private' THEN i.published_at >= COALESCE(GREATEST(
                (SELECT o.published_at FROM interaction o WHERE o.ticket_id = t.id AND o.direction = 'outbound'
                 ORDER BY o.published_at DESC LIMIT 1),
                (SELECT max(r.sent_at) FROM reply r WHERE r.ticket_id = t.id)), '-infinity') END
       ) AS unanswered
FROM ticket t WHERE t.customer_id = ANY(:customers) AND t.merged_into IS NULL
"""


async def _people(connection: AsyncConnection, facts: Facts, customers: Sequence[UUID]) -> None:
    facts.people = {id: Person() for id in customers}
    for row in await fetch_all(connection, PEOPLE, customers=customers):
        facts.people[row["customer_id"]].matters[row["id"]] = Matter(
            row["open"], row["opened_at"], row["cause"], row["unanswered"]
        )
    rows = await fetch_all(
        connection,
        """SELECT c.id, (SELECT count(*) FROM account a WHERE a.customer_id = c.id) AS accounts,
                  (SELECT count(*) FROM promise p JOIN ticket t ON t.id = p.ticket_id
                   WHERE t.customer_id = c.id AND p.state = 'broken') AS broken
           FROM unnest(CAST(:customers AS uuid[])) AS c (id)""",
        customers=customers,
    )
    for row in rows:
        facts.people[row["id"]].accounts, facts.people[row["id"]].broken = row["accounts"], row["broken"]


async def _incidents(connection: AsyncConnection, facts: Facts) -> None:
    rows = await fetch_all(
        connection,
        f"""SELECT n.id, n.key, n.title, n.brand_id, n.opened_at, n.ticket_id, t.helpdesk_id,
                   (SELECT count(*) FROM incident_member m WHERE m.incident_id = n.id) AS count,
                   ARRAY(SELECT jsonb_build_array(m.at, i.id, i.text) FROM (
                             SELECT x.at, x.interaction_id FROM incident_member x WHERE x.incident_id = n.id
                             ORDER BY x.at DESC, x.interaction_id DESC LIMIT {SAMPLES}) AS m
                         JOIN interaction i ON i.id = m.interaction_id) AS texts
            FROM incident n LEFT JOIN ticket t ON t.id = n.ticket_id WHERE n.closed_at IS NULL ORDER BY n.key""",
    )
    for row in rows:
        texts = sorted((datetime.fromisoformat(at), id, text) for at, id, text in row["texts"])
        values: Mapping[str, Any] = {**row, "texts": texts}
        facts.incidents[row["key"]] = Event(**values)


OF_THE_BRAND = "c.plugin = :source AND c.brand_id IS NOT DISTINCT FROM CAST(:brand AS uuid)"
"""SQL of whether a connection `c` is one of the brand's at the source."""
# each range by the index on (connection_id, published_at); what it costs grows with what came in during the windows
WINDOWS = f"""
WITH heard AS MATERIALIZED (
    SELECT n.id, n.published_at, width_bucket(n.published_at, CAST(:bounds AS timestamptz[])) AS bucket
    FROM unnest(CAST(:since AS timestamptz[]), CAST(:until AS timestamptz[])) AS g (since, until)
        CROSS JOIN connection c CROSS JOIN LATERAL (
            SELECT i.id, i.published_at FROM interaction i
            WHERE i.connection_id = c.id AND i.direction = 'inbound' AND i.deleted_at IS NULL
                AND i.published_at >= g.since AND i.published_at < g.until) AS n
    WHERE {OF_THE_BRAND}
), counted AS (
    SELECT bucket, count(*) AS count FROM heard GROUP BY bucket
), ordered AS (
    SELECT id, published_at, bucket, lead(bucket, :samples) OVER (ORDER BY published_at, id) AS later FROM heard
)
SELECT o.bucket, counted.count, o.published_at, left(i.text, 500) AS text
FROM ordered o JOIN counted ON counted.bucket = o.bucket JOIN interaction i ON i.id = o.id
WHERE o.later IS DISTINCT FROM o.bucket ORDER BY o.published_at, o.id
"""
"""Of what came in between neighbouring bounds how much it was, and the last few, oldest first."""


async def _windows(
    connection: AsyncConnection,
    facts: Facts,
    span: timedelta,
    places: Collection[tuple[UUID | None, str, datetime]],
) -> None:
    moments: dict[tuple[UUID | None, str], set[datetime]] = defaultdict(set)
    for brand, source, at in places:
        moments[brand, source].add(at)
    for (brand, source), times in sorted(moments.items(), key=str):
        bounds = sorted({*times, *(at - span for at in times)})
        since, until = _ranges(sorted(times), span)
        rows = await fetch_all(
            connection,
            WINDOWS,
            bounds=bounds,
            since=since,
            until=until,
            samples=SAMPLES,
            source=source,
            brand=brand,
        )
        buckets: dict[int, list[Any]] = defaultdict(list)
        for row in rows:
            buckets[row["bucket"]].append(row)
        usual = await _usual(connection, source, brand, span, {hour_of(at) for at in times})
        before: dict[datetime, int] = {}
        newest: deque[tuple[datetime, str]] = deque(maxlen=SAMPLES)
        count = 0
        for number, bound in enumerate(bounds):  # the bucket of that number ends with the bound
            here = buckets.get(number, ())
            count += here[0]["count"] if here else 0
            newest.extend((row["published_at"], row["text"]) for row in here)
            before[bound] = count
            if bound in times:
                facts.windows[brand, source, bound] = WindowFacts(
                    count=count - before[bound - span],
                    expected=usual.get(hour_of(bound), 0.0),
                    span=span,
                    texts=tuple(text for at, text in newest if at >= bound - span),
                )


def _ranges(times: Sequence[datetime], span: timedelta) -> tuple[list[datetime], list[datetime]]:
    """What the windows before these times cover together: where each stretch begins, and where it ends."""
    since, until = [times[0] - span], [times[0]]
    for at in times[1:]:
        if at - span <= until[-1]:
            until[-1] = at
        else:
            since.append(at - span)
            until.append(at)
    return since, until


async def _usual(
    connection: AsyncConnection, source: str, brand: UUID | None, span: timedelta, hours: Collection[datetime]
) -> dict[datetime, float]:
    rows = await fetch_all(
        connection,
        f"""SELECT h.hour, sum(n.count)::float / :weeks AS usual
           FROM unnest(CAST(:hours AS timestamptz[])) AS h (hour) CROSS JOIN LATERAL (
                    SELECT h.hour + interval '1 hour' - w.back * interval '7 days' AS until
                    FROM generate_series(1, :weeks) AS w (back)) AS week
                CROSS JOIN connection c CROSS JOIN LATERAL (
                    SELECT count(*) FROM interaction i WHERE i.connection_id = c.id AND i.direction = 'inbound'
                        AND i.published_at >= week.until - CAST(:span AS interval)
                        AND i.published_at < week.until) AS n
           WHERE {OF_THE_BRAND} GROUP BY h.hour""",
        hours=sorted(hours),
        weeks=WEEKS,
        span=span,
        source=source,
        brand=brand,
    )
    return {row["hour"]: row["usual"] for row in rows}
