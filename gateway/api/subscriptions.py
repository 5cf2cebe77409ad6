"""Subscriptions: who is told of what happens, as signed webhooks after Standard Webhooks."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Annotated, Any, Literal
from uuid import UUID

from fastapi import APIRouter, Body, Request, Response
from pydantic import Field
from sqlalchemy.ext.asyncio import AsyncConnection

from gateway.api.configs import checked_ranges
from gateway.api.deps import ReadsSubscriptions, RuntimeDep, WritesSubscriptions
from gateway.api.etags import IfMatch, check_match, etag
from gateway.api.lookup import brand_of, connection_of
from gateway.api.models import Answer, Input, Name, Page, Reason, Reference
from gateway.api.paging import Filters, PagingDep, list_page
from gateway.api.problems import Problem, conflict, invalid, not_found, responses
from gateway.api.routes import ApiRoute
from gateway.db.database import Row, execute, fetch_one
from gateway.db.tables.columns import new_id
from gateway.events import subscribers
from gateway.events.kinds import KINDS, schema_of
from gateway.events.receivers import Secret, new_secret, rotated, seal, unseal
from gateway.events.subscribers import MOST, unknown_kinds
from gateway.net.receiver import check_url
from gateway.runtime import Runtime
from gateway.security.keys import Caller
from gateway.security.scopes import Scope

router = APIRouter(prefix="/subscriptions", tags=["subscriptions"], route_class=ApiRoute)
kinds = APIRouter(prefix="/event-kinds", tags=["subscriptions"], route_class=ApiRoute)

SELECT = """
SELECT s.id, s.name, s.url, s.description, s.kinds, s.brands, s.connections, s.include_text, s.allow_private, s.state,
       s.reason, s.failing_since, s.failures, s.wait_until, s.last_ok_at, s.last_error, s.stopped_at, s.version,
       s.created_by, s.created_at, s.updated_at,
       (SELECT count(*) FROM event_delivery d WHERE d.subscription_id = s.id AND d.state = 'pending') AS pending
FROM subscription s
"""

Url = Annotated[str, Field(min_length=1, max_length=2000)]
Kinds = Annotated[list[Annotated[str, Field(max_length=100)]], Field(min_length=1, max_length=100)]
Where = list[Reference]
Places = list[str]
Description = Annotated[str, Field(max_length=500)]
State = Literal["active", "paused", "disabled"]
TEXTS_FIX = "leave include_text out, or use a key that may read tickets"


class NewSubscription(Input):
    """A receiver of events."""

    name: Name
    """Unique."""
    url: Url
    """Where events are sent: https, or plain http where `allow_private` opens the place."""
    kinds: Kinds
    """What it is told of: kinds (`GET /v1/event-kinds`), families (`reply.*`), or everything (`*`)."""
    description: Description = ""
    brands: Where = Field(default=[], max_length=100)
    """Only events of these brands, by id or name; empty: all events."""
    connections: Where = Field(default=[], max_length=100)
    """Only events of these connections, by id or name; empty: all events."""
    include_text: bool = False
    """Whether it is told what customers and agents wrote, and why in words that may quote them. Needs a key that may
    read tickets."""
    allow_private: Places = Field(default=[], max_length=50)
    """Private addresses that it may be at: `10.1.0.0/16`, `alarms.internal:8443`. Needs the scope `admin`."""


class SubscriptionChange(Input):
    """A change of a subscription. What is left out stays as it is; it counts for what is told from then on."""

    name: Name | None = None
    url: Url | None = None
    kinds: Kinds | None = None
    description: Description | None = None
    brands: Where | None = Field(default=None, max_length=100)
    connections: Where | None = Field(default=None, max_length=100)
    include_text: bool | None = None
    allow_private: Places | None = Field(default=None, max_length=50)


class SubscriptionView(Answer):
    """A receiver of events, and how it fares."""

    id: UUID
    name: str
    url: str
    description: str
    kinds: list[str]
    brands: list[UUID]
    connections: list[UUID]
    include_text: bool
    allow_private: list[str]
    state: State
    """`paused` by a person; `disabled` by the gateway, because it was not to be reached for long or said 410."""
    reason: str | None
    """Why it is paused or disabled."""
    stopped_at: datetime | None
    pending: int
    """How many events are due to it."""
    failures: int
    """How many attempts in a row failed."""
    failing_since: datetime | None
    wait_until: datetime | None
    """No request before this."""
    last_ok_at: datetime | None
    last_error: str | None
    version: int
    created_by: str
    created_at: datetime
    updated_at: datetime


class SecretView(Answer):
    """A signing secret, shown this once."""

    secret: str
    """`whsec_` and base64, as Standard Webhooks libraries take it."""
    old_until: datetime | None = None
    """Until then requests carry a signature by the one before as well."""


class MadeSubscription(SubscriptionView, SecretView):
    """A new subscription with its signing secret, which is not shown again."""


class SecretRotation(Input):
    """How a secret is followed by a new one."""

    overlap_hours: float = Field(default=24.0, ge=0, le=168)
    """How long requests are signed with both."""


class SubscriptionPause(Input):
    """Why a subscription stands still."""

    reason: Reason | None = None


class SubscriptionResume(Input):
    """How a subscription goes on."""

    replay_missed: bool = False
    """Whether it is told of what happened since it was disabled. While one is paused nothing is kept for it."""


class EventKind(Answer):
    """One kind of event."""

    kind: str
    meaning: str
    subject: str
    texts: list[str]
    """What `data.texts` can have, for subscriptions with `include_text`."""
    json_schema: dict[str, Any]
    """The shape of the whole body."""


@kinds.get("")
async def list_event_kinds(_: ReadsSubscriptions) -> Page[EventKind]:
    """What subscriptions can be told of. Always one page."""
    return Page(
        items=[
            EventKind(
                kind=one.name,
                meaning=one.meaning,
                subject=one.subject,
                texts=list(one.texts),
                json_schema=schema_of(one.name),
            )
            for one in KINDS.values()
        ],
        next=None,
    )


@router.post("", status_code=201)
async def create_subscription(
    runtime: RuntimeDep, caller: WritesSubscriptions, given: NewSubscription, request: Request, response: Response
) -> MadeSubscription:
    """Make a subscription. Its signing secret is in this answer and in no other."""
    async with runtime.database.write() as database:
        id, secret = await add_subscription(database, runtime, given, caller)
        row = await subscription(database, id)
    response.headers["Location"] = f"{request.url.path}/{id}"
    response.headers["ETag"] = etag(1)
    return MadeSubscription(**row, secret=secret)


@router.get("")
async def list_subscriptions(
    runtime: RuntimeDep, _: ReadsSubscriptions, paging: PagingDep, state: State | None = None
) -> Page[SubscriptionView]:
    """Subscriptions, newest first."""
    filters = Filters()
    filters.add("s.state = :state", state=state)
    async with runtime.database.read() as database:
        rows, following = await list_page(database, SELECT, filters, paging, id="s.id")
    return Page(items=[SubscriptionView(**row) for row in rows], next=following)


@router.get("/{subscription_id}")
async def read_subscription(
    runtime: RuntimeDep, _: ReadsSubscriptions, subscription_id: UUID, response: Response
) -> SubscriptionView:
    """One subscription."""
    async with runtime.database.read() as database:
        row = await subscription(database, subscription_id)
    response.headers["ETag"] = etag(row["version"])
    return SubscriptionView(**row)


@router.patch("/{subscription_id}", responses=responses(409, 412))
async def change_subscription(
    runtime: RuntimeDep,
    caller: WritesSubscriptions,
    subscription_id: UUID,
    given: SubscriptionChange,
    response: Response,
    if_match: IfMatch = None,
) -> SubscriptionView:
    """Change a subscription."""
    async with runtime.database.write() as database:
        await execute(database, "SELECT pg_advisory_xact_lock(hashtext('subscription'))")
        row = await subscription(database, subscription_id, lock=True)
        check_match(if_match, row["version"])
        await alter_subscription(database, runtime, row, given, caller)
        row = await subscription(database, subscription_id)
    response.headers["ETag"] = etag(row["version"])
    return SubscriptionView(**row)


@router.delete("/{subscription_id}", status_code=204, responses=responses(412))
async def delete_subscription(
    runtime: RuntimeDep, _: WritesSubscriptions, subscription_id: UUID, if_match: IfMatch = None
) -> None:
    """Take a subscription away, with what is due to it and what is known of telling it."""
    async with runtime.database.write() as database:
        row = await subscription(database, subscription_id, lock=True)
        check_match(if_match, row["version"])
        await remove_subscription(database, subscription_id)


@router.post("/{subscription_id}/rotate-secret")
async def rotate_secret(
    runtime: RuntimeDep,
    _: WritesSubscriptions,
    subscription_id: UUID,
    given: Annotated[SecretRotation | None, Body()] = None,
) -> SecretView:
    """A new signing secret, in this answer and in no other. For a while requests carry a signature by each."""
    given, now = given or SecretRotation(), runtime.now()
    async with runtime.database.write() as database:
        await subscription(database, subscription_id, lock=True)
        row = await fetch_one(database, "SELECT secrets FROM subscription WHERE id = :id", id=subscription_id)
        assert row is not None
        before = unseal(runtime.vault, subscription_id, row["secrets"], now)
        after = rotated(before, timedelta(hours=given.overlap_hours), now)
        await execute(
            database,
            """UPDATE subscription SET secrets = :secrets, version = version + 1, updated_at = :now
               WHERE id = :id""",
            id=subscription_id,
            secrets=seal(runtime.vault, subscription_id, after),
            now=now,
        )
    return SecretView(secret=after[0].secret, old_until=after[1].until if len(after) > 1 else None)


@router.post("/{subscription_id}/pause")
async def pause_subscription(
    runtime: RuntimeDep,
    caller: WritesSubscriptions,
    subscription_id: UUID,
    given: Annotated[SubscriptionPause | None, Body()] = None,
) -> SubscriptionView:
    """Tell it nothing until it is resumed. What is due to it stays; what happens meanwhile is not kept for it."""
    words = f": {given.reason}" if given is not None and given.reason else ""
    async with runtime.database.write() as database:
        row = await subscription(database, subscription_id, lock=True)
        if row["state"] != "paused":
            await subscribers.pause(database, subscription_id, f"paused by {caller.name}{words}", runtime.now())
        return SubscriptionView(**await subscription(database, subscription_id))


@router.post("/{subscription_id}/resume")
async def resume_subscription(
    runtime: RuntimeDep,
    _: WritesSubscriptions,
    subscription_id: UUID,
    given: Annotated[SubscriptionResume | None, Body()] = None,
) -> SubscriptionView:
    """Let a paused or disabled subscription go on. What is due to it goes out."""
    now = runtime.now()
    async with runtime.database.write() as database:
        row = await subscription(database, subscription_id, lock=True)
        if row["state"] == "active":
            raise conflict("The subscription is active.")
        await subscribers.resume(database, subscription_id, now)
        if given is not None and given.replay_missed:
            missed = subscribers.Chosen(since=row["stopped_at"], until=now)
            await subscribers.replay(database, subscription_id, missed, now, per_minute=600, limit=100_000)
        row = await subscription(database, subscription_id)
    await runtime.wake([f"tell:{subscription_id}"])
    return SubscriptionView(**row)


async def add_subscription(
    database: AsyncConnection, runtime: Runtime, given: NewSubscription, caller: Caller | None
) -> tuple[UUID, str]:
    """Make a subscription in the caller's transaction: its id and its signing secret. Without a caller it is somebody
    at the command line. Raises Problem 403, 409 and 422."""
    _check(caller, given.url, given.kinds, given.include_text, given.allow_private, opens=bool(given.allow_private))
    id, now, secret = new_id(), runtime.now(), new_secret()
    await execute(database, "SELECT pg_advisory_xact_lock(hashtext('subscription'))")
    count = await fetch_one(
        database,
        "SELECT count(*) AS n, count(*) FILTER (WHERE name = :name) AS same FROM subscription",
        name=given.name,
    )
    assert count is not None
    if count["same"]:
        raise conflict(f"A subscription is named {given.name} already.", field="name")
    if count["n"] >= MOST:
        raise conflict(f"There are {MOST} subscriptions, and no more are possible.", fix="delete one")
    await execute(
        database,
        """INSERT INTO subscription (id, name, url, description, kinds, brands, connections, include_text,
               allow_private, secrets, state, failures, version, created_by, created_at, updated_at)
           VALUES (:id, :name, :url, :description, :kinds, :brands, :connections, :text, :private, :secrets,
               'active', 0, 1, :who, :now, :now)""",
        id=id,
        name=given.name,
        url=given.url,
        description=given.description,
        kinds=_unique(given.kinds),
        brands=await _brands(database, given.brands),
        connections=await _connections(database, given.connections),
        text=given.include_text,
        private=given.allow_private,
        secrets=seal(runtime.vault, id, [Secret(secret)]),
        who=caller.name if caller is not None else "the command line",
        now=now,
    )
    return id, secret


async def alter_subscription(
    database: AsyncConnection, runtime: Runtime, row: Row, given: SubscriptionChange, caller: Caller | None
) -> None:
    """Change a subscription whose row is locked, in the caller's transaction. Raises Problem 403, 409 and 422."""
    changed = {**row, **given.model_dump(exclude_unset=True, exclude_none=True)}
    _check(
        caller,
        changed["url"],
        changed["kinds"],
        changed["include_text"],
        changed["allow_private"],
        opens=bool(set(changed["allow_private"]) - set(row["allow_private"])),
        # whoever sends texts elsewhere decides anew who reads them
        texts=given.include_text is True or (row["include_text"] and given.url is not None),
    )
    if given.brands is not None:
        changed["brands"] = await _brands(database, given.brands)
    if given.connections is not None:
        changed["connections"] = await _connections(database, given.connections)
    same = await fetch_one(
        database,
        "SELECT 1 FROM subscription WHERE name = :name AND id <> :id",
        name=changed["name"],
        id=row["id"],
    )
    if same is not None:
        raise conflict(f"A subscription is named {changed['name']} already.", field="name")
    await execute(
        database,
        """UPDATE subscription SET name = :name, url = :url, description = :description, kinds = :kinds,
               brands = :brands, connections = :connections, include_text = :text, allow_private = :private,
               wait_until = CASE WHEN url = :url THEN wait_until END, version = version + 1, updated_at = :now
           WHERE id = :id""",
        id=row["id"],
        name=changed["name"],
        url=changed["url"],
        description=changed["description"],
        kinds=_unique(changed["kinds"]),
        brands=changed["brands"],
        connections=changed["connections"],
        text=changed["include_text"],
        private=changed["allow_private"],
        now=runtime.now(),
    )


async def remove_subscription(database: AsyncConnection, id: UUID) -> None:
    """Take a subscription away in the caller's transaction, with what is due to it."""
    await execute(database, "DELETE FROM subscription WHERE id = :id", id=id)
    # what is announced at this moment is told to nobody, and goes with its event
    await execute(database, "DELETE FROM event_delivery WHERE subscription_id = :id", id=id)


async def subscription(database: AsyncConnection, id: UUID, *, lock: bool = False) -> Row:
    """A subscription's row as it is answered. Raises Problem 404."""
    row = await fetch_one(database, SELECT + "WHERE s.id = :id" + (" FOR NO KEY UPDATE OF s" if lock else ""), id=id)
    if row is None:
        raise not_found("subscription", id)
    return row


def _check(
    caller: Caller | None,
    url: str,
    given_kinds: list[str],
    include_text: bool,
    allow_private: list[str],
    *,
    opens: bool,
    texts: bool | None = None,
) -> None:
    reads = caller is None or bool(caller.scopes & {Scope.read, Scope.tickets})
    if caller is not None and (include_text if texts is None else texts) and not reads:
        raise _missing(caller, "include_text", [Scope.read, Scope.tickets], TEXTS_FIX)
    if caller is not None and opens and Scope.admin not in caller.scopes:
        raise _missing(caller, "allow_private", [Scope.admin], "ask an admin to open the place")
    check_receiver(url, given_kinds, allow_private)


def check_receiver(url: str, given_kinds: list[str], allow_private: list[str]) -> None:
    """Raise Problem 422 for kinds that there are not, and for a place where nothing may be sent."""
    unknown = unknown_kinds(given_kinds)
    if unknown:
        raise invalid("kinds", f"there is no kind {', '.join(unknown)}", "GET /v1/event-kinds lists them")
    checked_ranges(allow_private)
    try:
        check_url(url, allow_private)
    except ValueError as error:
        raise invalid("url", str(error)) from error


def _missing(caller: Caller, field: str, scopes: list[Scope], fix: str) -> Problem:
    wanted = " or ".join(scopes)
    detail = f"{field} needs the scope {wanted} besides; the key {caller.prefix} does not have it: {fix}."
    return Problem(403, "missing-scope", detail, missing=[str(one) for one in scopes])


async def _brands(database: AsyncConnection, references: list[str]) -> list[str]:
    return _unique([str(await brand_of(database, one, "brands")) for one in references])


async def _connections(database: AsyncConnection, references: list[str]) -> list[str]:
    return _unique([str(await connection_of(database, one, "connections")) for one in references])


def _unique(values: list[str]) -> list[str]:
    return list(dict.fromkeys(values))
