"""What Prometheus is told: the numbers of the whole installation, true, bounded, and about no person."""

from __future__ import annotations

import json
import re
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from uuid import UUID

import pytest
from prometheus_client.parser import text_string_to_metric_families
from sqlalchemy import text

from gateway.db.database import execute, insert_rows
from gateway.db.tables.columns import new_id
from gateway.db.tables.reply import new_reply
from gateway.metrics import reading
from gateway.net.budgets import Demand
from gateway.registry import Registry
from gateway_schemas.limits import Allowance, Budget
from support.gateway import settings_for
from support.rest import Api, ShoutSource, serving, signed

LARGE = ("delivery", "attempt", "push", "reply", "clock", "decision", "wanted", "event")


async def scrape(api: Api) -> dict[str, dict[tuple[tuple[str, str], ...], float]]:
    """Samples by name and labels."""
    answer = await api.http.get("/metrics")
    assert answer.status_code == 200, answer.text
    assert answer.headers["content-type"].startswith("text/plain; version=0.0.4")
    found: dict[str, dict[tuple[tuple[str, str], ...], float]] = {}
    for family in text_string_to_metric_families(answer.text):
        for sample in family.samples:
            labels = tuple(sorted(sample.labels.items()))
            series = found.setdefault(sample.name, {})
            assert labels not in series, f"{sample.name} twice with {labels}"
            series[labels] = sample.value
    return found


def value(samples: dict[str, Any], metric: str, **labels: str) -> float | None:
    """The one sample of these labels, among others that it may have."""
    found = [one for names, one in samples.get(metric, {}).items() if labels.items() <= dict(names).items()]
    assert len(found) <= 1, (metric, labels, found)
    return found[0] if found else None


async def ticket(api: Api, source: UUID, desk: UUID) -> UUID:
    """A ticket with its customer, whose name must appear nowhere."""
    now = datetime.now(UTC)
    customer, account, id = new_id(), new_id(), new_id()
    async with api.runtime.database.write() as connection:
        await insert_rows(connection, "customer", [{"id": customer, "created_at": now}])
        await insert_rows(
            connection,
            "account",
            [
                {
                    "id": account,
                    "scope": "shout",
                    "provider": "shout",
                    "external_id": str(account),
                    "handle": "private_person",
                    "customer_id": customer,
                    "created_at": now,
                    "updated_at": now,
                }
            ],
        )
        await insert_rows(
            connection,
            "ticket",
            [
                {
                    "id": id,
                    "connection_id": source,
                    "helpdesk_id": desk,
                    "account_id": account,
                    "customer_id": customer,
                    "subject": "private_subject",
                    "status": "new",
                    "priority": "normal",
                    "tags": [],
                    "fields": {},
                    "opened_at": now,
                    "last_inbound_at": now,
                    "created_at": now,
                    "updated_at": now,
                }
            ],
        )
    return id


async def push(api: Api, ticket_id: UUID, desk: UUID, state: str, age: timedelta, **more: Any) -> None:
    """One row of the outbox."""
    at = datetime.now(UTC) - age
    row = {"key": f"k:{new_id()}", "ticket_id": ticket_id, "helpdesk_id": desk, "kind": "comment", "lane": 1}
    row |= {"payload": {}, "state": state, "epoch": 0, "tries": 1, "due_at": at, "at": at, "created_at": at}
    async with api.runtime.database.write() as connection:
        await insert_rows(connection, "push", [row | more])


async def test_it_tells_how_deliveries_backlog_and_calls_stand(api: Api, name: str) -> None:
    source, desk = (
        await api.shout(name),
        await api.made("/v1/connections", plugin="desk", name=f"{name}d", config={"api_token": "a-token-of-tests"}),
    )
    here, there = UUID(source["id"]), UUID(desk["id"])
    for count, body in enumerate((b"a", b"b", b"c", b"d"), start=1):
        sent = {"x-signature": signed(f"secret-of-{name}", body)}
        assert (await api.http.post(f"/hooks/{here}", content=body, headers=sent)).status_code == 200, count
    assert (await api.http.post(f"/hooks/{here}", content=b"x", headers={"x-signature": "no"})).status_code == 401
    rows = await api.rows("SELECT id FROM delivery WHERE connection_id = :id ORDER BY id", id=here)
    ids = [row["id"] for row in rows]
    await api.execute("UPDATE delivery SET received_at = received_at - interval '90 s' WHERE id = :id", id=ids[0])
    await api.execute("UPDATE delivery SET state = 'failed', reason = 'a bug' WHERE id = :id", id=ids[1])
    await api.execute(
        "UPDATE delivery SET state = 'processed', processed_at = received_at + interval '2 s' WHERE id = :id", id=ids[2]
    )
    matter = await ticket(api, here, there)
    await push(api, matter, there, "pending", timedelta(seconds=40))
    await push(api, matter, there, "failed", timedelta(hours=2))
    now = datetime.now(UTC)
    await push(api, matter, there, "done", timedelta(seconds=30), done_at=now)
    reply = {"ticket_id": matter, "connection_id": here, "author_id": "1", "origin": "rest", "text": "private_text"}
    async with api.runtime.database.write() as connection:
        for state in ("held", "blocked", "failed", "unknown"):
            row = new_reply(id=new_id(), due_at=now, now=now, **reply, not_after=now) | {"state": state}
            await insert_rows(connection, "reply", [row])
        await insert_rows(
            connection,
            "attempt",
            [
                {"at": now - age, "connection_id": there, "kind": "push", "thing_id": "t", "outcome": outcome}
                | {"code": None, "reason": "private_reason", "milliseconds": 250}
                for outcome, age in (("ok", timedelta()), ("retry", timedelta()), ("ok", timedelta(minutes=6)))
            ],
        )
        await execute(
            connection,
            "INSERT INTO budget_cost (key, day, usd, calls) VALUES (:key, :day, 1.5, 3)",
            key=f"connection:{here}",
            day=now.date(),
        )
    samples = await scrape(api)
    assert value(samples, "gateway_deliveries", connection=name, state="pending") == 2
    assert value(samples, "gateway_deliveries", connection=name, state="failed") == 1
    assert 90 <= (value(samples, "gateway_delivery_oldest_pending_seconds") or 0) < 200
    assert value(samples, "gateway_recent_deliveries", connection=name, state="processed") == 1
    assert value(samples, "gateway_backlog", connection=f"{name}d", kind="push") == 1
    assert 40 <= (value(samples, "gateway_backlog_oldest_seconds", connection=f"{name}d", kind="push") or 0) < 150
    assert value(samples, "gateway_backlog", connection=f"{name}d", kind="push_failed") == 1
    for kind in ("reply_held", "reply_blocked", "reply_failed", "reply_unknown"):
        assert value(samples, "gateway_backlog", connection=name, kind=kind) == 1
    for outcome in ("ok", "retry"):
        assert value(samples, "gateway_recent_attempts", action="push", outcome=outcome) == 1
    assert value(samples, "gateway_call_seconds", action="push", quantile="0.95") == 0.25
    assert value(samples, "gateway_station_seconds", station="push", quantile="0.5") == pytest.approx(30, abs=1)
    assert value(samples, "gateway_station_seconds", station="inbox", quantile="0.5") == pytest.approx(2)
    assert value(samples, "gateway_door_refusals_total", connection=name, code="wrong") == 1
    assert value(samples, "gateway_call_cost_usd_total", owner=f"source:{name}") == 1.5
    assert value(samples, "gateway_connection_up", connection=name) == 1
    exposed = (await api.http.get("/metrics")).text
    assert "private_" not in exposed
    assert str(matter) not in exposed


async def test_it_tells_how_subscriptions_stand_and_names_no_receiver(database: str, serve: Any) -> None:
    async with serve(database) as api:
        samples = await scrape(api)
        for state in ("pending", "stopped", "failed"):
            assert value(samples, "gateway_event_deliveries", state=state) == 0
            assert value(samples, "gateway_event_delivery_oldest_seconds", state=state) == 0
        now = datetime.now(UTC)
        made = {
            name: await api.made("/v1/subscriptions", name=name, url="https://private-host.example/in", kinds=["*"])
            for name in ("well", "failing", "paused")
        }
        ids = {name: UUID(one["id"]) for name, one in made.items()}
        await api.execute(
            "UPDATE subscription SET failures = 3, failing_since = :now WHERE id = :id", now=now, id=ids["failing"]
        )
        assert (await api.http.post(f"/v1/subscriptions/{ids['paused']}/pause")).is_success
        await api.execute("DELETE FROM event")  # what the above has told
        for subscription, state, age, done in (
            ("well", "pending", 30, None),
            ("failing", "pending", 300, None),
            ("paused", "pending", 7000, None),
            ("well", "delivered", 90000, 1),
            ("well", "failed", 80000, 4000),
            ("failing", "failed", 80000, 9000),
        ):
            event = {"id": new_id(), "kind": "ticket.created", "subject_kind": "ticket", "subject_id": new_id()}
            told = {"subscription_id": ids[subscription], "event_id": event["id"], "state": state, "tries": 1}
            at, ended = now - timedelta(seconds=age), now - timedelta(seconds=done) if done is not None else None
            async with api.runtime.database.write() as connection:
                await insert_rows(connection, "event", [event | {"data": {}, "at": at}])
                times = {"due_at": at, "created_at": at, "done_at": ended}
                await insert_rows(connection, "event_delivery", [told | times | {"replays": 0}])
        samples = await scrape(api)
        for state, count, age in (("pending", 2, 300), ("stopped", 1, 7000), ("failed", 2, 9000)):
            assert value(samples, "gateway_event_deliveries", state=state) == count
            assert age <= (value(samples, "gateway_event_delivery_oldest_seconds", state=state) or 0) < age + 100
        for name, up in (("well", 1), ("failing", 0), ("paused", 0)):
            assert value(samples, "gateway_subscription_up", subscription=name) == up
        assert "private-host" not in (await api.http.get("/metrics")).text


class MeteredSource(ShoutSource):
    """Shout with limits, of which the installation may use a half."""

    name = "metered"
    budgets = (Budget("posts", 10, timedelta(minutes=1)), Budget("posts", 100, timedelta(hours=1), per_scope=True))

    @classmethod
    def allowance_of(cls, config: Any, app: Any = None) -> Allowance:
        return Allowance(share=0.5)


async def test_headroom_is_what_is_allowed_less_what_has_left(database: str, tmp_path: Path) -> None:
    registry = Registry(sources={"metered": MeteredSource})
    async with serving(settings_for(database, tmp_path), registry) as api:
        config = {"user_id": "1", "secret": "a-secret-of-tests"}
        made = await api.made("/v1/connections", plugin="metered", name="m", config=config)
        for user in ("private_a", "private_a", "private_b"):
            demand = Demand(f"connection:{made['id']}", MeteredSource.budgets, "posts", user, share=0.5)
            ledger = api.runtime.outgoing.ledger
            ledger.settle(await ledger.reserve(demand, 5.0), sent=True)
        ledger.block(demand, timedelta(seconds=90))
        await ledger.flush()
        samples = await scrape(api)
        owner = {"owner": "source:m", "bucket": "posts"}
        assert value(samples, "gateway_rate_limit_allowed", **owner, window_seconds="60") == 5
        assert value(samples, "gateway_rate_limit_headroom", **owner, window_seconds="60") == 2
        assert value(samples, "gateway_rate_limit_headroom", **owner, window_seconds="3600") == 48
        assert 60 < (value(samples, "gateway_rate_limit_blocked_seconds", **owner) or 0) <= 90
        assert "private_" not in (await api.http.get("/metrics")).text


async def test_no_statement_reads_a_large_table_from_end_to_end(api: Api) -> None:
    given = reading.values(datetime.now(UTC)) | {"keys": ["connection:x"]}
    async with api.runtime.database.write() as connection:
        for setting in reading.settings():
            await connection.execute(text(setting))
        for name, statement in reading.READ.items():
            explain = text(f"EXPLAIN (FORMAT JSON) {statement}")
            needed = {key: one for key, one in given.items() if key in explain.compile().params}
            plan = json.dumps((await connection.execute(explain, needed)).scalar_one())
            scanned = re.findall(r'"Node Type": "(?:Seq|Bitmap Heap) Scan".{0,200}?"Relation Name": "(\w+)"', plan)
            large = [table for table in scanned if table.startswith(LARGE)]
            assert large == [], (name, large)


async def test_the_text_is_openmetrics_where_that_is_asked_for(api: Api) -> None:
    answer = await api.http.get("/metrics", headers={"Accept": "application/openmetrics-text; version=1.0.0"})
    assert answer.headers["content-type"].startswith("application/openmetrics-text")
    assert answer.text.endswith("# EOF\n")
