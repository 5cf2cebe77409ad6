"""Reports: how policies are doing, whether channels are served alike, causes of trouble, what triage leaves out."""

from __future__ import annotations

from datetime import datetime, timedelta
from uuid import UUID

from fastapi import APIRouter

from gateway.api.deps import ReadsDecisions, RuntimeDep
from gateway.api.models import Answer, Page, Since
from gateway.api.problems import invalid
from gateway.api.routes import ApiRoute
from gateway.db.database import fetch_all
from gateway.runtime import Runtime

router = APIRouter(prefix="/reports", tags=["policies"], route_class=ApiRoute)

SPAN = timedelta(days=30)


class PolicyReport(Answer):
    """How one policy did in a span of time."""

    policy: str
    decisions: int
    """Decisions in which it said something."""
    warned: int
    held: int
    blocked: int
    overridden: int
    """Replies it held that a person let go out all the same."""
    disputed: int
    """Decisions on which somebody said that it was wrong."""
    confirmed: int
    """Decisions on which somebody said that it was right."""
    minutes_held: float
    """What its holds cost: the time from each hold until somebody decided on it, added up."""


class ChannelReport(Answer):
    """How the messages of one channel were served."""

    channel: str
    """`public` and `private` are the gateway's; `email`, `phone` and `form` the helpdesks' own, as their polls tell."""
    tickets: int
    answered: int
    first_response_minutes_median: float | None
    first_response_minutes_p90: float | None
    resolved: int
    resolution_minutes_median: float | None
    resolution_minutes_p90: float | None
    reopened: int
    """How often tickets were opened again, or followed by another after they were closed."""
    forced_public: int
    """Customers who went public after a private contact was not answered."""


class CauseReport(Answer):
    """How often one cause was behind a ticket."""

    cause: str
    owner: str | None
    tickets: int
    customers: int
    repeats: int
    """Tickets of customers who had the same trouble before."""
    last_at: datetime


class WouldIgnore(Answer):
    """A message that a policy in shadow would have left without a ticket."""

    interaction_id: UUID
    ticket_id: UUID | None
    policy: str
    reason: str
    text: str
    at: datetime


@router.get("/policies")
async def report_policies(
    runtime: RuntimeDep, _: ReadsDecisions, since: Since | None = None, until: Since | None = None
) -> Page[PolicyReport]:
    """For each policy: what it warned of, held and blocked, what people let pass all the same, and what they
    disputed."""
    begin, end = _span(runtime, since, until)
    async with runtime.database.read() as database:
        rows = await fetch_all(database, POLICIES, since=begin, until=end)
    return Page(items=[PolicyReport(**row) for row in rows], next=None)


POLICIES = """
WITH said AS (
    SELECT d.id, d.thing_id, d.at, f ->> 'policy' AS policy, f ->> 'severity' AS severity
    FROM decision d CROSS JOIN LATERAL jsonb_array_elements(d.findings) AS f
    WHERE d.at >= :since AND d.at < :until AND d.findings IS NOT NULL AND f ->> 'mode' <> 'shadow'
    UNION ALL
    SELECT d.id, d.thing_id, d.at, e ->> 'policy', NULL
    FROM decision d CROSS JOIN LATERAL jsonb_array_elements(d.effects) AS e
    WHERE d.at >= :since AND d.at < :until AND d.effects IS NOT NULL
),
holds AS (
    SELECT DISTINCT ON (s.policy, s.thing_id) s.policy, s.thing_id, s.at, r.state, r.approved_by,
           COALESCE(CASE WHEN r.state <> 'held' THEN r.updated_at END, :until) AS ended
    FROM said s JOIN reply r ON r.id = s.thing_id WHERE s.severity = 'hold' ORDER BY s.policy, s.thing_id, s.at
)
SELECT s.policy, count(DISTINCT s.id) AS decisions,
       count(DISTINCT s.id) FILTER (WHERE s.severity = 'warn') AS warned,
       count(DISTINCT s.id) FILTER (WHERE s.severity = 'hold') AS held,
       count(DISTINCT s.id) FILTER (WHERE s.severity = 'block') AS blocked,
       (SELECT count(*) FROM holds h WHERE h.policy = s.policy AND h.approved_by IS NOT NULL AND h.state = 'sent')
           AS overridden,
       (SELECT count(DISTINCT f.decision_id) FROM decision_feedback f WHERE f.policy = s.policy AND NOT f."right"
           AND f.at >= :since AND f.at < :until) AS disputed,
       (SELECT count(DISTINCT f.decision_id) FROM decision_feedback f WHERE f.policy = s.policy AND f."right"
           AND f.at >= :since AND f.at < :until) AS confirmed,
       COALESCE((SELECT sum(EXTRACT(epoch FROM GREATEST(h.ended - h.at, interval '0'))) / 60 FROM holds h
           WHERE h.policy = s.policy), 0)::float AS minutes_held
FROM said s GROUP BY s.policy ORDER BY s.policy
"""


@router.get("/parity")
async def report_parity(
    runtime: RuntimeDep, _: ReadsDecisions, since: Since | None = None, until: Since | None = None
) -> Page[ChannelReport]:
    """Whether who asks in private is served as fast as who goes public: by the channel that each ticket began in.

    The helpdesks' own e-mail, phone and form tickets are there as far as their plugins' polls tell of them.
    """
    begin, end = _span(runtime, since, until)
    async with runtime.database.read() as database:
        rows = await fetch_all(database, PARITY, since=begin, until=end)
    return Page(items=[ChannelReport(**row) for row in rows], next=None)


PARITY = """
WITH served AS (
    SELECT first.visibility AS channel,
           EXTRACT(epoch FROM LEAST(
               (SELECT min(o.published_at) FROM interaction o WHERE o.ticket_id = t.id AND o.direction = 'outbound'
                    AND o.published_at >= t.opened_at),
               (SELECT min(r.sent_at) FROM reply r WHERE r.ticket_id = t.id AND r.state = 'sent')) - t.opened_at) / 60
               AS minutes,
           EXTRACT(epoch FROM t.solved_at - t.opened_at) / 60 AS resolved,
           t.reopened + (SELECT count(*) FROM ticket f WHERE f.followup_of = t.id) AS reopened,
           COALESCE((t.fields ->> 'forced_public')::boolean, false) AS forced_public
    FROM ticket t JOIN LATERAL (SELECT i.visibility FROM interaction i WHERE i.ticket_id = t.id
        AND i.direction = 'inbound' ORDER BY i.published_at, i.id LIMIT 1) AS first ON true
    WHERE t.opened_at >= :since AND t.opened_at < :until
    UNION ALL
    SELECT f.channel, EXTRACT(epoch FROM f.answered_at - f.began_at) / 60,
           EXTRACT(epoch FROM f.solved_at - f.began_at) / 60, f.reopened, false
    FROM foreign_ticket f WHERE f.began_at >= :since AND f.began_at < :until AND NOT f.deleted
)
SELECT channel, count(*) AS tickets, count(minutes) AS answered,
       percentile_cont(0.5) WITHIN GROUP (ORDER BY minutes)::float AS first_response_minutes_median,
       percentile_cont(0.9) WITHIN GROUP (ORDER BY minutes)::float AS first_response_minutes_p90,
       count(resolved) AS resolved,
       percentile_cont(0.5) WITHIN GROUP (ORDER BY resolved)::float AS resolution_minutes_median,
       percentile_cont(0.9) WITHIN GROUP (ORDER BY resolved)::float AS resolution_minutes_p90,
       sum(reopened)::int AS reopened, count(*) FILTER (WHERE forced_public) AS forced_public
FROM served GROUP BY channel ORDER BY channel
"""


@router.get("/causes")
async def report_causes(
    runtime: RuntimeDep,
    _: ReadsDecisions,
    owner: str | None = None,
    since: Since | None = None,
    until: Since | None = None,
) -> Page[CauseReport]:
    """What went wrong how often, and whose it is to mend; the most frequent first."""
    begin, end = _span(runtime, since, until)
    async with runtime.database.read() as database:
        rows = await fetch_all(database, CAUSES, since=begin, until=end, owner=owner)
    return Page(items=[CauseReport(**row) for row in rows], next=None)


CAUSES = """
SELECT t.fields ->> 'cause' AS cause, max(t.fields ->> 'cause_owner') AS owner, count(*) AS tickets,
       count(DISTINCT t.customer_id) AS customers,
       count(*) FILTER (WHERE EXISTS (SELECT 1 FROM ticket b WHERE b.customer_id = t.customer_id
           AND b.fields ->> 'cause' = t.fields ->> 'cause' AND b.opened_at < t.opened_at)) AS repeats,
       max(t.opened_at) AS last_at
FROM ticket t
WHERE t.opened_at >= :since AND t.opened_at < :until AND t.fields ? 'cause'
  AND (CAST(:owner AS text) IS NULL OR t.fields ->> 'cause_owner' = :owner)
GROUP BY t.fields ->> 'cause' ORDER BY count(*) DESC, 1
"""


@router.get("/would-ignore")
async def report_would_ignore(
    runtime: RuntimeDep, _: ReadsDecisions, since: Since | None = None, sample: int = 20
) -> Page[WouldIgnore]:
    """A sample of what policies would have left without a ticket, or did, for a person to judge: of one day.

    The sample is the same for everybody who asks for the same day, so that two people judge the same messages.
    """
    if not 1 <= sample <= 200:
        raise invalid("sample", "is a number from 1 to 200")
    begin = since or runtime.now() - timedelta(days=1)
    async with runtime.database.read() as database:
        rows = await fetch_all(
            database,
            """SELECT i.id AS interaction_id, i.ticket_id, e ->> 'policy' AS policy, e ->> 'reason' AS reason, i.text,
                   d.at
               FROM decision d CROSS JOIN LATERAL jsonb_array_elements(d.effects) AS e
                    JOIN interaction i ON i.id = d.thing_id
               WHERE d.point = 'on_interaction' AND d.at >= :since AND d.at < :until AND d.effects IS NOT NULL
                 AND e ->> 'effect' = 'ignore' AND i.deleted_at IS NULL
               ORDER BY md5(i.id::text) LIMIT :sample""",
            since=begin,
            until=begin + timedelta(days=1),
            sample=sample,
        )
    return Page(items=[WouldIgnore(**row) for row in rows], next=None)


def _span(runtime: Runtime, since: datetime | None, until: datetime | None) -> tuple[datetime, datetime]:
    end = until or runtime.now()
    begin = since or end - SPAN
    if begin >= end:
        raise invalid("since", "is not before until")
    return begin, end
