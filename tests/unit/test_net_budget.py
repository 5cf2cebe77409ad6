"""Budgets hold across processes, in any window, in real and in virtual time, and answers correct them."""

from __future__ import annotations

import asyncio
import heapq
import random
from bisect import bisect_left
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from email.utils import format_datetime
from pathlib import Path
from typing import Any

import httpx2
import pytest
from sqlalchemy import make_url, text
from sqlalchemy.ext.asyncio import AsyncEngine, create_async_engine
from sqlmodel import SQLModel
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import BaseRoute, Route

from gateway.db.tables.budget import Budget as BudgetRow
from gateway.db.tables.budget import BudgetCost
from gateway.net.budgets import Demand
from gateway.net.client import DEADLINE, Outgoing, Target, calling
from gateway.net.ledger import Ledger
from gateway_schemas.errors import Rejected, Retry
from gateway_schemas.limits import Budget, LimitReading, delta_headers, metered
from gateway_schemas.testing.twin import Fault, Twin
from gateway_schemas.time import SharedTime, TimeSource
from support.postgres import clone_database, drop_database, server_url  # noqa: F401  a fixture

START = datetime(2026, 3, 6, 17, 0, tzinfo=UTC)
MINUTE = timedelta(minutes=1)


class Provider(Twin):
    """Counts the requests that reach it, by its own look at the time."""

    name = "provider"

    def __init__(self) -> None:
        super().__init__()
        self.reset()

    def reset(self) -> None:
        """Nothing has arrived, and nothing is wrong."""
        self.faults = []
        self.arrivals: list[float] = []
        self.headers: dict[str, str] = {}
        self.body: dict[str, Any] = {}
        self.status = 200
        self.latency = (0.0, 0.0)

    def routes(self) -> Sequence[BaseRoute]:
        async def take(request: Request) -> Response:
            arrivals = self.arrivals
            await asyncio.sleep(self.random.uniform(*self.latency))  # on its way to us
            arrivals.append(self.time.now().timestamp())
            await asyncio.sleep(self.random.uniform(*self.latency))  # and the answer's back
            return JSONResponse(self.body, status_code=self.status, headers=self.headers)

        return [Route("/{path:path}", take, methods=["GET", "POST"])]


def most_in_a_window(arrivals: list[float], seconds: float) -> int:
    """The largest number of arrivals in any window of that length, both ends included."""
    times = sorted(arrivals)
    return max((at - bisect_left(times, until - seconds) + 1 for at, until in enumerate(times)), default=0)


@pytest.fixture(scope="module")
async def engines(server_url: str) -> AsyncIterator[tuple[AsyncEngine, AsyncEngine]]:  # noqa: F811
    """Two processes of the gateway: the same database and nothing else in common."""
    url = await clone_database(server_url, "template0")
    driver = make_url(url).set(drivername="postgresql+psycopg")
    one, two = (create_async_engine(driver, pool_size=5, max_overflow=5) for _ in range(2))
    tables = [SQLModel.metadata.tables[str(table.__tablename__)] for table in (BudgetRow, BudgetCost)]
    async with one.begin() as connection:
        await connection.run_sync(SQLModel.metadata.create_all, tables=tables)
    yield one, two
    await one.dispose()
    await two.dispose()
    await drop_database(url)


@pytest.fixture
async def engine(engines: tuple[AsyncEngine, AsyncEngine]) -> AsyncEngine:
    """The first process's, with nothing spent yet."""
    async with engines[0].begin() as connection:
        await connection.execute(text("TRUNCATE budget, budget_cost"))
    return engines[0]


@pytest.fixture
async def other_engine(engines: tuple[AsyncEngine, AsyncEngine], engine: AsyncEngine) -> AsyncEngine:
    """The second process's."""
    return engines[1]


@asynccontextmanager
async def table_lost(engine: AsyncEngine) -> AsyncIterator[None]:
    """The budgets cannot be read or written while this is entered."""
    async with engine.begin() as connection:
        await connection.execute(text("ALTER TABLE budget RENAME TO budget_elsewhere"))
    yield
    async with engine.begin() as connection:
        await connection.execute(text("ALTER TABLE budget_elsewhere RENAME TO budget"))


@pytest.fixture
def clock(tmp_path: Path) -> SharedTime:
    """Virtual time that stands still until a test moves it."""
    return SharedTime.create(tmp_path / "time", at=START, speed=0.0)


@pytest.fixture(scope="module")
async def served() -> AsyncIterator[Provider]:
    twin = Provider()
    async with twin.serve():
        yield twin


@pytest.fixture
def provider(served: Provider, clock: SharedTime) -> Provider:
    """The provider, in the test's time."""
    served.reset()
    served.time = clock
    return served


@asynccontextmanager
async def process(engine: AsyncEngine, clock: TimeSource, **target: Any) -> AsyncIterator[tuple[Outgoing, Any]]:
    async with Outgoing(engine, clock, timeout=3.0) as outgoing:
        options = {"budget_key": "app:1", "allow_private": ["127.0.0.0/8"]} | target
        yield outgoing, outgoing.client(Target(**options))


def wait_of(refused: Retry) -> timedelta:
    """How long a refusal says to wait: never past the window and one sub-window of it."""
    assert refused.after is not None
    assert timedelta() < refused.after <= MINUTE * 1.01 + timedelta(milliseconds=2)
    return refused.after


def forward(clock: SharedTime, after: timedelta) -> None:
    clock.jump(clock.now() + after)


async def take(ledger: Ledger, demand: Demand, at_most: int = 10_000) -> int:
    """Reserve and settle one after the other until refused; how many went through."""
    for count in range(at_most):
        try:
            ledger.settle(await ledger.reserve(demand, 20.0), sent=True)
        except Retry:
            await ledger.flush()
            return count
    await ledger.flush()
    return at_most


async def test_no_window_sees_more_than_the_share_and_a_backlog_uses_95_percent_of_it(
    engine: AsyncEngine, other_engine: AsyncEngine, clock: SharedTime
) -> None:
    """Two processes, 200 a minute, 70 % ours. Requests take up to 3 s to arrive, so late ones meet early ones."""
    limit, ours, dice = 200, 140, random.Random(7)
    demand = Demand("app:1", [Budget("*", limit, MINUTE)], share=0.7)
    ledgers = [Ledger(engine, clock), Ledger(other_engine, clock)]
    arrivals: list[float] = []
    answers: list[tuple[datetime, int, Any]] = []
    waiting = [START, START]
    end = START + 12 * MINUTE
    while clock.now() < end:
        for which, ledger in enumerate(ledgers):
            while waiting[which] <= clock.now():
                try:
                    reservation = await ledger.reserve(demand, 20.0)
                except Retry as refused:
                    waiting[which] = clock.now() + wait_of(refused)
                    break
                arrived = clock.now() + timedelta(seconds=dice.choice([0.02, 0.1, 0.3, 3.0]) * dice.random())
                arrivals.append(arrived.timestamp())
                answered = arrived + timedelta(seconds=0.3 * dice.random())
                heapq.heappush(answers, (answered, len(arrivals), (ledger, reservation)))
        following = min([*waiting, *(answer[0] for answer in answers[:1])])
        clock.jump(following + timedelta(milliseconds=1))
        while answers and answers[0][0] <= clock.now():
            ledger, reservation = heapq.heappop(answers)[2]
            ledger.settle(reservation, sent=True)
            await ledger.flush()
    assert most_in_a_window(arrivals, 60.0) <= ours
    first, last = min(arrivals), max(arrivals)
    windows = (last - first) / 60.0
    used = sum(1 for at in arrivals if at > first + 60.0) / (ours * (windows - 1))
    assert used >= 0.95, used


async def test_a_window_is_never_cut_short(engine: AsyncEngine, clock: SharedTime) -> None:
    """An answer at the very end of a sub-window counts for a whole window from then, not from the sub-window's
    start."""
    ledger = Ledger(engine, clock)
    demand = Demand("app:1", [Budget("*", 1, MINUTE)])
    reservation = await ledger.reserve(demand, 20.0)
    forward(clock, timedelta(milliseconds=599))
    ledger.settle(reservation, sent=True)
    await ledger.flush()
    forward(clock, timedelta(seconds=59, milliseconds=900))
    with pytest.raises(Retry) as refused:
        await ledger.reserve(demand, 20.0)
    forward(clock, wait_of(refused.value))
    await ledger.reserve(demand, 20.0)


async def test_over_real_http_in_fast_time_nothing_is_over(
    engine: AsyncEngine, other_engine: AsyncEngine, provider: Provider, tmp_path: Path
) -> None:
    """Two processes drain a backlog against one provider, a minute in two seconds, with jitter and a jump."""
    clock = SharedTime.create(tmp_path / "fast", at=START, speed=30.0)
    provider.time, provider.latency = clock, (0.0, 0.02)
    budgets = [Budget("*", 60, MINUTE), Budget("post", 40, MINUTE), Budget("post", 12, timedelta(seconds=10))]

    async def drain(http: httpx2.AsyncClient, until: datetime) -> None:
        while clock.now() < until:
            try:
                await http.post(provider.url + "/post", extensions=metered("post"))
            except Retry as refused:
                await clock.sleep(wait_of(refused).total_seconds())

    async with (
        process(engine, clock, budgets=budgets) as (_, one),
        process(other_engine, clock, budgets=budgets) as (_, two),
    ):
        drains = [asyncio.create_task(drain(http, START + 2 * MINUTE)) for http in (one, two) for _ in range(4)]
        await asyncio.sleep(1.0)
        forward(clock, timedelta(seconds=25))
        await asyncio.gather(*drains)
    assert most_in_a_window(provider.arrivals, 60.0) <= 40
    assert most_in_a_window(provider.arrivals, 10.0) <= 12
    assert len(provider.arrivals) > 40, "and more than one window was used"


async def test_of_many_at_the_same_moment_exactly_the_limit_goes(
    engine: AsyncEngine, other_engine: AsyncEngine, clock: SharedTime
) -> None:
    """Also when the budget's rows do not exist yet and all try to make them."""
    demand = Demand("app:1", [Budget("*", 13, MINUTE), Budget("post", 20, MINUTE)], bucket="post", lane="reply")
    for key in ("app:1", "app:2", "app:3"):
        ledgers = [Ledger(each, clock) for each in (engine, other_engine) * 3]
        mine = Demand(key, demand.budgets, bucket="post", lane="reply")
        results = await asyncio.gather(
            *[ledger.reserve(mine, 20.0) for ledger in ledgers for _ in range(6)], return_exceptions=True
        )
        refused = [one for one in results if isinstance(one, Retry)]
        assert len(results) - len(refused) == 13
        assert {one.code for one in refused} == {"rate_budget"}


async def test_refused_means_not_sent_and_says_which_bucket_and_when(
    engine: AsyncEngine, clock: SharedTime, provider: Provider
) -> None:
    budgets = [Budget("post", 2, MINUTE), Budget("*", 100, MINUTE)]
    async with process(engine, clock, budgets=budgets) as (outgoing, http):
        for _ in range(2):
            await http.post(provider.url, extensions=metered("post"))
            forward(clock, timedelta(seconds=10))
        await outgoing.ledger.flush()
        with pytest.raises(Retry) as refused:
            await http.post(provider.url, extensions=metered("post"))
        assert (refused.value.code, refused.value.bucket) == ("rate_budget", "post")
        assert refused.value.after is not None
        assert timedelta(seconds=40) <= refused.value.after <= timedelta(seconds=41)
        assert len(provider.arrivals) == 2
        # another bucket still has room, and nothing was taken from `*` by the refusal
        await http.get(provider.url, extensions=metered("read"))
        forward(clock, refused.value.after)
        await http.post(provider.url, extensions=metered("post"))
        with pytest.raises(Retry):
            await http.post(provider.url, extensions=metered("post"))


async def test_a_refusal_takes_nothing_from_the_other_budgets(engine: AsyncEngine, clock: SharedTime) -> None:
    ledger = Ledger(engine, clock)
    budgets = [Budget("*", 10, MINUTE), Budget("post", 3, MINUTE)]
    assert await take(ledger, Demand("app:1", budgets, bucket="post", lane="reply")) == 3
    for _ in range(20):
        with pytest.raises(Retry):
            await ledger.reserve(Demand("app:1", budgets, bucket="post", lane="reply"), 20.0)
    assert await take(ledger, Demand("app:1", budgets, bucket="read", lane="reply")) == 7


async def test_windows_of_one_bucket_hold_together(engine: AsyncEngine, clock: SharedTime) -> None:
    """X and Trustpilot count the same calls per quarter of an hour and per day."""
    ledger = Ledger(engine, clock)
    demand = Demand("app:1", [Budget("*", 5, MINUTE), Budget("*", 12, timedelta(days=1))], lane="reply")
    taken = []
    for _ in range(4):
        taken.append(await take(ledger, demand))
        forward(clock, timedelta(minutes=2))
    assert taken == [5, 5, 2, 0]
    forward(clock, timedelta(days=1))
    assert await take(ledger, demand) == 5


async def test_each_scope_counts_on_its_own(engine: AsyncEngine, clock: SharedTime) -> None:
    ledger = Ledger(engine, clock)
    budgets = [Budget("update", 3, MINUTE, per_scope=True), Budget("*", 8, MINUTE)]
    taken = [
        await take(ledger, Demand("app:1", budgets, bucket="update", scope=scope, lane="reply"))
        for scope in ("ticket-1", "ticket-2", "ticket-3", "ticket-1")
    ]
    assert taken == [3, 3, 2, 0]


async def test_a_request_without_a_scope_is_in_no_scopes_budget(engine: AsyncEngine, clock: SharedTime) -> None:
    budgets = [Budget("update", 3, MINUTE, per_scope=True), Budget("*", 8, MINUTE)]
    assert await take(Ledger(engine, clock), Demand("app:1", budgets, bucket="update", lane="reply")) == 8


async def test_keys_do_not_share(engine: AsyncEngine, clock: SharedTime) -> None:
    ledger = Ledger(engine, clock)
    budgets = [Budget("*", 3, MINUTE)]
    assert [await take(ledger, Demand(key, budgets, lane="reply")) for key in ("app:1", "connection:1")] == [3, 3]


@pytest.mark.parametrize(("limit", "backlog", "interactive"), [(1, 1, 0), (3, 3, 0), (20, 19, 1), (200, 194, 3)])
async def test_a_backlog_leaves_room_for_replies(
    engine: AsyncEngine, clock: SharedTime, limit: int, backlog: int, interactive: int
) -> None:
    ledger = Ledger(engine, clock)
    budgets = [Budget("*", limit, MINUTE)]
    assert await take(ledger, Demand("app:1", budgets, lane="backlog")) == backlog
    assert await take(ledger, Demand("app:1", budgets, lane="interactive")) == interactive
    assert await take(ledger, Demand("app:1", budgets, lane="reply")) == limit - backlog - interactive


async def test_the_caller_names_the_lane(engine: AsyncEngine, clock: SharedTime, provider: Provider) -> None:
    async with process(engine, clock, budgets=[Budget("*", 4, MINUTE)]) as (_, http):
        for _ in range(3):
            await http.get(provider.url)
        with pytest.raises(Retry):
            await http.get(provider.url)
        with calling(lane="reply"):
            await http.get(provider.url)
            with pytest.raises(Retry):
                await http.get(provider.url)


@pytest.mark.parametrize("share", [0.01, 0.3, 0.7, 1.0])
async def test_the_share_is_what_we_allow_ourselves(engine: AsyncEngine, clock: SharedTime, share: float) -> None:
    ledger = Ledger(engine, clock)
    assert await take(ledger, Demand("app:1", [Budget("*", 10, MINUTE)], share=share, lane="reply")) == max(
        1, round(10 * share)
    )


async def test_what_was_not_sent_is_given_back_and_what_may_have_been_is_not(
    engine: AsyncEngine, clock: SharedTime, provider: Provider
) -> None:
    budgets = [Budget("*", 2, MINUTE)]
    async with process(engine, clock, budgets=budgets, lane="reply", daily_cost_limit=Decimal(1)) as (outgoing, http):
        for _ in range(5):
            with pytest.raises(httpx2.ConnectError):
                await http.post("http://127.0.0.1:9/", extensions=metered("post", cost=Decimal("0.4")))
            with pytest.raises(Rejected):
                await http.post("http://10.0.0.1/", extensions=metered("post", cost=Decimal("0.4")))
            await outgoing.ledger.flush()
        provider.latency = (0.5, 0.5)
        for _ in range(2):
            with pytest.raises(httpx2.ReadTimeout):
                await http.post(provider.url, extensions=metered("post", cost=Decimal("0.4")) | {DEADLINE: 0.2})
        await outgoing.ledger.flush()
        with pytest.raises(Retry) as refused:
            await http.post(provider.url, extensions=metered("post", cost=Decimal("0.1")))
        assert refused.value.code == "rate_budget"
    async with engine.connect() as connection:
        spent = (await connection.execute(text("SELECT usd, calls FROM budget_cost"))).one()
    assert tuple(spent) == (Decimal("0.8"), 2)


async def test_a_process_that_dies_does_not_keep_its_room_for_ever(engine: AsyncEngine, clock: SharedTime) -> None:
    """Until its deadline the request may reach the provider, so it counts for the deadline and a window more."""
    demand = Demand("app:1", [Budget("*", 1, MINUTE)], lane="reply")
    await Ledger(engine, clock).reserve(demand, 20.0)
    survivor = Ledger(engine, clock)
    forward(clock, timedelta(seconds=79))
    with pytest.raises(Retry):
        await survivor.reserve(demand, 20.0)
    forward(clock, timedelta(seconds=3))
    await survivor.reserve(demand, 20.0)


@pytest.mark.parametrize("status", [429, 503])
@pytest.mark.parametrize("as_date", [False, True])
async def test_retry_after_stops_the_bucket_in_every_process(
    engine: AsyncEngine, other_engine: AsyncEngine, clock: SharedTime, provider: Provider, status: int, as_date: bool
) -> None:
    async with process(engine, clock) as (_, one), process(other_engine, clock) as (_, two):
        until = START + timedelta(seconds=30)
        provider.status = status
        provider.headers = {"Retry-After": format_datetime(until, usegmt=True) if as_date else "30"}
        assert (await one.post(provider.url, extensions=metered("post"))).status_code == status
        provider.status, provider.headers = 200, {}
        for http in (one, two):
            with pytest.raises(Retry) as refused:
                await http.post(provider.url, extensions=metered("post"))
            assert (refused.value.code, refused.value.bucket) == ("rate_blocked", "post")
            assert refused.value.after == timedelta(seconds=30)
            with calling(lane="reply"), pytest.raises(Retry):
                await http.post(provider.url, extensions=metered("post"))
        assert (await two.get(provider.url, extensions=metered("read"))).status_code == 200
        forward(clock, timedelta(seconds=30))
        assert (await two.post(provider.url, extensions=metered("post"))).status_code == 200
        assert len(provider.arrivals) == 3


async def test_a_429_of_one_scope_stops_that_scope(engine: AsyncEngine, clock: SharedTime, provider: Provider) -> None:
    budgets = [Budget("update", 30, timedelta(minutes=10), per_scope=True)]
    async with process(engine, clock, budgets=budgets) as (_, http):
        provider.faults = [Fault("status_before", status=429, headers={"Retry-After": "60"})]
        await http.post(provider.url, extensions=metered("update", scope="ticket-1"))
        with pytest.raises(Retry) as refused:
            await http.post(provider.url, extensions=metered("update", scope="ticket-1"))
        assert refused.value.bucket == "update:ticket-1"
        await http.post(provider.url, extensions=metered("update", scope="ticket-2"))


async def test_an_absurd_retry_after_is_asked_again_after_a_day(
    engine: AsyncEngine, clock: SharedTime, provider: Provider
) -> None:
    async with process(engine, clock) as (_, http):
        provider.faults = [Fault("status_before", status=429, headers={"Retry-After": "90000000"})]
        await http.post(provider.url)
        with pytest.raises(Retry) as refused:
            await http.post(provider.url)
        assert refused.value.after == timedelta(days=1)


async def test_what_others_use_up_is_seen_in_the_answers(
    engine: AsyncEngine, other_engine: AsyncEngine, clock: SharedTime, provider: Provider
) -> None:
    budgets = [Budget("*", 100, MINUTE)]

    def read(response: httpx2.Response, bucket: str) -> list[LimitReading]:
        return delta_headers(response.headers, "*", clock.now())

    options: dict[str, Any] = {"budgets": budgets, "read_limits": read, "lane": "reply"}
    async with (
        process(engine, clock, **options) as (outgoing, one),
        process(other_engine, clock, **options) as (_, two),
    ):
        provider.headers = {"ratelimit-limit": "100", "ratelimit-remaining": "3", "ratelimit-reset": "45"}
        await one.get(provider.url)
        await outgoing.ledger.flush()
        provider.headers = {}
        for _ in range(3):
            await two.get(provider.url)
        with pytest.raises(Retry) as refused:
            await one.get(provider.url)
        assert refused.value.code == "rate_blocked"
        assert refused.value.after == timedelta(seconds=45)
        forward(clock, timedelta(seconds=45))
        await one.get(provider.url)


async def test_an_answer_overtaken_by_a_newer_one_raises_nothing(engine: AsyncEngine, clock: SharedTime) -> None:
    ledger = Ledger(engine, clock)
    demand = Demand("app:1", [Budget("*", 100, MINUTE)], lane="reply")
    reset = clock.now() + timedelta(seconds=40)
    for remaining in (2, 9):
        ledger.learn(demand, [LimitReading("*", 100, remaining, reset)])
        await ledger.flush()
    assert await take(ledger, demand) == 2
    # the provider's next window has its own count
    ledger.learn(demand, [LimitReading("*", 100, 4, reset + timedelta(seconds=60))])
    await ledger.flush()
    assert await take(ledger, demand) == 4


async def test_what_is_under_way_is_not_counted_twice(engine: AsyncEngine, clock: SharedTime) -> None:
    """Three are on their way when an answer says three are left: they may be those three."""
    ledger = Ledger(engine, clock)
    demand = Demand("app:1", [Budget("*", 100, MINUTE)], lane="reply")
    first, *others = [await ledger.reserve(demand, 20.0) for _ in range(4)]
    ledger.settle(first, sent=True)
    assert ledger.learn(demand, [LimitReading("*", 100, 3, clock.now() + MINUTE)])
    await ledger.flush()
    with pytest.raises(Retry):
        await ledger.reserve(demand, 20.0)
    assert len(others) == 3


async def test_limits_told_in_the_body_of_an_error_are_read(
    engine: AsyncEngine, clock: SharedTime, provider: Provider
) -> None:
    """Telegram says `parameters.retry_after` in the body and nothing in the headers."""

    def read(response: httpx2.Response, bucket: str) -> list[LimitReading]:
        if response.status_code != 429:
            return []
        wait = timedelta(seconds=response.json()["parameters"]["retry_after"])
        return [LimitReading(bucket, None, 0, clock.now() + wait)]

    async with process(engine, clock, read_limits=read) as (_, http):
        provider.status, provider.body = 429, {"ok": False, "parameters": {"retry_after": 17}}
        response = await http.post(provider.url, extensions=metered("send"))
        assert response.json()["parameters"] == {"retry_after": 17}
        assert response.elapsed > timedelta()
        with pytest.raises(Retry) as refused:
            await http.post(provider.url, extensions=metered("send"))
        assert (refused.value.bucket, refused.value.after) == ("send", timedelta(seconds=17))


async def test_a_plugin_that_cannot_read_limits_keeps_its_answer(
    engine: AsyncEngine, clock: SharedTime, provider: Provider, caplog: pytest.LogCaptureFixture
) -> None:
    def read(response: httpx2.Response, bucket: str) -> list[LimitReading]:
        return [LimitReading(bucket, None, int(response.headers["x-left"]), None)]

    async with process(engine, clock, read_limits=read) as (_, http):
        assert (await http.post(provider.url, extensions=metered("send"))).status_code == 200
        provider.headers = {"x-left": "many-hush"}
        assert (await http.post(provider.url, extensions=metered("send"))).status_code == 200
    said = [record.getMessage() for record in caplog.records if record.name == "gateway.net.metering"]
    assert ["KeyError" in said[0], "ValueError" in said[1]] == [True, True]
    assert "hush" not in "".join(said)


async def test_the_days_money_is_not_overspent(
    engine: AsyncEngine, other_engine: AsyncEngine, clock: SharedTime, provider: Provider
) -> None:
    options: dict[str, Any] = {"daily_cost_limit": Decimal("0.10")}
    async with process(engine, clock, **options) as (_, one), process(other_engine, clock, **options) as (_, two):
        price = metered("create_post", cost=Decimal("0.015"))
        results = await asyncio.gather(
            *[http.post(provider.url, extensions=price) for http in (one, two) for _ in range(10)],
            return_exceptions=True,
        )
        refused = [one for one in results if isinstance(one, Retry)]
        assert len(results) - len(refused) == 6 == len(provider.arrivals)
        assert {(one.code, one.bucket, one.after) for one in refused} == {
            ("cost_budget", "create_post", timedelta(hours=7))
        }
        await one.get(provider.url, extensions=metered("read"))  # what costs nothing goes on
        await one.get(provider.url, extensions=metered("read", cost=Decimal("0.005")))
        forward(clock, timedelta(hours=7))
        await two.post(provider.url, extensions=price)
    async with engine.connect() as connection:
        days = (await connection.execute(text("SELECT day::text, usd, calls FROM budget_cost ORDER BY day"))).all()
    assert [tuple(day) for day in days] == [("2026-03-06", Decimal("0.095"), 7), ("2026-03-07", Decimal("0.015"), 1)]


async def test_two_processes_that_open_the_day_together_do_not_overspend(
    engine: AsyncEngine, other_engine: AsyncEngine, clock: SharedTime
) -> None:
    ledgers = [Ledger(engine, clock), Ledger(other_engine, clock)]
    for day in range(30):
        demand = Demand(f"app:{day}", [], cost=Decimal("0.06"), daily_cost_limit=Decimal("0.10"))
        results = await asyncio.gather(*[one.reserve(demand, 20.0) for one in ledgers], return_exceptions=True)
        assert sorted(isinstance(one, Retry) for one in results) == [False, True]


async def test_without_the_database_nothing_leaves(engine: AsyncEngine, clock: SharedTime, provider: Provider) -> None:
    async with table_lost(engine), process(engine, clock) as (_, http):
        with pytest.raises(Retry) as refused:
            await http.post(provider.url)
    assert refused.value.code == "budget_unavailable"
    assert provider.arrivals == []


async def test_an_answer_does_not_depend_on_its_bookkeeping(
    engine: AsyncEngine, clock: SharedTime, provider: Provider, caplog: pytest.LogCaptureFixture
) -> None:
    """The database goes away while a request is under way; the post was made all the same."""
    provider.latency = (0.1, 0.1)
    async with process(engine, clock, budgets=[Budget("*", 5, MINUTE)]) as (outgoing, http):
        under_way = asyncio.create_task(http.post(provider.url))
        await asyncio.sleep(0.1)
        async with table_lost(engine):
            assert (await under_way).status_code == 200
            await outgoing.ledger.flush()
    assert "Budgets could not be corrected" in caplog.text


async def test_rows_that_say_nothing_any_more_are_deleted(engine: AsyncEngine, clock: SharedTime) -> None:
    ledger = Ledger(engine, clock)
    for ticket in range(5):
        await take(ledger, Demand("app:1", [Budget("update", 3, MINUTE, per_scope=True)], "update", f"t{ticket}"), 1)
    await take(ledger, Demand("app:1", [Budget("*", 3, timedelta(days=1))]), 1)
    ledger.block(Demand("app:1", []), timedelta(hours=5))
    await ledger.flush()
    assert await ledger.purge() == 0
    forward(clock, timedelta(hours=3))
    assert await ledger.purge() == 5
    assert await take(ledger, Demand("app:2", [Budget("*", 3, MINUTE)]), 1) == 1
    forward(clock, timedelta(hours=26))
    assert await ledger.purge() == 3


@pytest.mark.parametrize("limit", [2, 10, 100])
async def test_probes_leave_the_last_quarter_to_everybody_else(
    engine: AsyncEngine, clock: SharedTime, limit: int
) -> None:
    ledger = Ledger(engine, clock)
    budgets = [Budget("*", limit, MINUTE)]
    probes = await take(ledger, Demand("app:1", budgets, lane="probe"))
    assert 0 < probes <= limit - max(1, limit // 4)
    assert await take(ledger, Demand("app:1", budgets, lane="reply")) == limit - probes
