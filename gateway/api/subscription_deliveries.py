"""What subscriptions were told, attempt by attempt; a test call; and telling again."""

from __future__ import annotations

from datetime import datetime
from typing import Any, Literal
from uuid import UUID

from fastapi import APIRouter
from pydantic import Field, model_validator

from gateway.api.deps import ReadsSubscriptions, RuntimeDep, WritesSubscriptions
from gateway.api.models import Answer, Input, Page, Since
from gateway.api.paging import Filters, PagingDep, list_page
from gateway.api.problems import not_found
from gateway.api.routes import ApiRoute
from gateway.api.subscriptions import subscription
from gateway.db.database import Row, fetch_all, fetch_one
from gateway.events.announce import announce_test
from gateway.events.receivers import body_of
from gateway.events.subscribers import Chosen, replay
from gateway.events.tell import claim_test, record, request
from gateway.security.audit import note

router = APIRouter(prefix="/subscriptions/{subscription_id}", tags=["subscriptions"], route_class=ApiRoute)

SELECT = """
SELECT d.id, d.event_id, e.kind, e.subject_kind, e.subject_id, e.at, d.state, d.tries, d.replays,
       CASE WHEN d.state = 'pending' THEN d.due_at END AS due_at, d.done_at, a.outcome, a.status, a.reason
FROM event_delivery d JOIN event e ON e.id = d.event_id LEFT JOIN LATERAL (
    SELECT outcome, status, reason FROM event_attempt WHERE delivery_id = d.id ORDER BY id DESC LIMIT 1) AS a ON true
"""

DeliveryState = Literal["pending", "delivered", "failed"]
Outcome = Literal["delivered", "refused", "redirected", "gone", "timeout", "unreachable", "not_allowed", "postponed"]


class EventDeliveryView(Answer):
    """One event for one subscription."""

    id: int
    event_id: UUID
    """Its `webhook-id`."""
    kind: str
    subject_kind: str
    subject_id: UUID
    at: datetime
    """When it happened."""
    state: DeliveryState
    """`failed`: the last attempt had failed; `/replay` tells it again."""
    tries: int
    """Attempts since it was asked for last."""
    replays: int
    due_at: datetime | None
    """When the next attempt is due."""
    done_at: datetime | None
    outcome: Outcome | None
    """Of the last attempt."""
    status: int | None
    reason: str | None


class EventAttemptView(Answer):
    """One request."""

    at: datetime
    outcome: Outcome
    status: int | None
    reason: str | None
    body: str | None
    """The beginning of what was answered."""
    milliseconds: int


class EventDeliveryDetail(EventDeliveryView):
    """One event for one subscription, with what is said and all attempts."""

    message: dict[str, Any]
    """What is told, without the texts that are put in for `include_text`."""
    attempts: list[EventAttemptView]


class TestCall(Answer):
    """How a test call ended."""

    ok: bool
    event_id: UUID
    outcome: Outcome
    status: int | None
    reason: str | None
    body: str | None
    """The beginning of what was answered."""
    milliseconds: int


class EventReplay(Input):
    """Which events a subscription is told again; of `since`, `until` and `ids` at least one."""

    since: Since | None = None
    until: Since | None = None
    """Those before this."""
    ids: list[UUID] | None = Field(default=None, min_length=1, max_length=1000)
    """Only these, by `webhook-id`."""
    only: Literal["all", "not_delivered"] = "all"
    """Whether those that were delivered are told again too."""
    per_minute: int = Field(default=600, ge=1, le=6000)
    limit: int = Field(default=10_000, ge=1, le=100_000)
    """At most this many, oldest first."""

    @model_validator(mode="after")
    def _some(self) -> EventReplay:
        if self.since is None and self.until is None and self.ids is None:
            raise ValueError("name since, until or ids")
        return self


class EventsReplayed(Answer):
    """What is told again."""

    scheduled: int
    last_at: datetime | None
    """The last one's turn."""


@router.post("/test", name="test_subscription")
async def test_subscription(runtime: RuntimeDep, caller: WritesSubscriptions, subscription_id: UUID) -> TestCall:
    """Send a `subscription.test` now, whatever state it is in, and tell what the receiver answered.

    It is made once and says nothing of how the receiver stands.
    """
    now = runtime.now()
    async with runtime.database.write() as database:
        await subscription(database, subscription_id, lock=True)
        event_id, delivery_id = await announce_test(database, subscription_id, caller.name, now)
        await note(database, "subscription", subscription_id, {}, {"test": event_id})
        telling = await claim_test(runtime, database, subscription_id, delivery_id)
    answered = await request(runtime, telling)
    await record(runtime, telling, answered)
    return TestCall(
        ok=answered.ok,
        event_id=event_id,
        **{name: getattr(answered, name) for name in ("outcome", "status", "reason", "body", "milliseconds")},
    )


@router.get("/deliveries")
async def list_event_deliveries(
    runtime: RuntimeDep,
    _: ReadsSubscriptions,
    subscription_id: UUID,
    paging: PagingDep,
    state: DeliveryState | None = None,
    kind: str | None = None,
    since: Since | None = None,
) -> Page[EventDeliveryView]:
    """What it was told and is to be told, newest first."""
    filters = Filters()
    filters.add("d.subscription_id = :subscription", subscription=subscription_id)
    filters.add("d.state = :state", state=state)
    filters.add("e.kind = :kind", kind=kind)
    filters.add("e.at >= :since", since=since)
    async with runtime.database.read() as database:
        await subscription(database, subscription_id)
        rows, following = await list_page(database, SELECT, filters, paging, id="d.id", kind=int)
    return Page(items=[EventDeliveryView(**row) for row in rows], next=following)


@router.get("/deliveries/{delivery_id}")
async def read_event_delivery(
    runtime: RuntimeDep, _: ReadsSubscriptions, subscription_id: UUID, delivery_id: int
) -> EventDeliveryDetail:
    """One event for one subscription, with every attempt."""
    row: Row | None = None
    async with runtime.database.read() as database:
        if 0 <= delivery_id < 2**63:
            row = await fetch_one(
                database,
                SELECT.replace("d.replays,", "d.replays, e.data,", 1)
                + " WHERE d.id = :id AND d.subscription_id = :subscription",
                id=delivery_id,
                subscription=subscription_id,
            )
        if row is None:
            raise not_found("delivery", delivery_id)
        attempts = await fetch_all(
            database,
            """SELECT at, outcome, status, reason, body, milliseconds FROM event_attempt WHERE delivery_id = :id
               ORDER BY id""",
            id=delivery_id,
        )
    return EventDeliveryDetail(
        **row, message=body_of(row, None), attempts=[EventAttemptView(**one) for one in attempts]
    )


@router.post("/replay", status_code=202)
async def replay_events(
    runtime: RuntimeDep, _: WritesSubscriptions, subscription_id: UUID, given: EventReplay
) -> EventsReplayed:
    """Tell it again of events that it asks for, under the ids they have, so that a receiver knows them.

    Events are kept for `GATEWAY_EVENT_DAYS`, where a subscription asked for them when they happened.
    """
    now = runtime.now()
    chosen = Chosen(given.since, given.until, given.ids, given.only)
    async with runtime.database.write() as database:
        await subscription(database, subscription_id, lock=True)
        scheduled, last_at = await replay(
            database, subscription_id, chosen, now, per_minute=given.per_minute, limit=given.limit
        )
        await note(database, "subscription", subscription_id, {}, {"replayed": scheduled})
    await runtime.wake([f"tell:{subscription_id}"])
    return EventsReplayed(scheduled=scheduled, last_at=last_at)
