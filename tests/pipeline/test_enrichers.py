"""Facts from elsewhere: asked for once, waited for a little, and stored with what is decided on them."""

from __future__ import annotations

import itertools
from collections.abc import AsyncIterator
from typing import Any

import pytest

from gateway.db.database import execute
from gateway.engine.shards import SHARDS
from gateway.pipeline import inbox, matters_stored
from gateway_http_facts.twin import HttpFactsTwin
from gateway_schemas.testing.twin import Fault

LineLike = Any
GOLD_FIRST = {
    "at": "on_interaction",
    "when": 'has(facts.loyalty.tier) && facts.loyalty.tier == "gold"',
    "effects": [{"effect": "set_priority", "priority": "urgent"}],
}


@pytest.fixture
async def company() -> AsyncIterator[HttpFactsTwin]:
    """The company's own system, which knows that rita's tier is gold."""
    twin = HttpFactsTwin()
    async with twin.serve():
        yield twin


async def ask(line: LineLike, company: HttpFactsTwin, **config: Any) -> None:
    """Connect the company's system, and put a rule in force that reads what it says."""
    company.known[line.x.state.user("rita").id] = {"tier": "gold"}
    await line.gateway.add_connection("enricher", "http_facts", {**company.config(), **config}, name="loyalty")
    async with line.rest() as http:
        made = await http.post("/v1/policies", json={"name": "gold first", "type": "rule", "params": GOLD_FIRST})
        assert made.status_code == 201, made.text
        for path, body in (
            (f"policies/{made.json()['id']}/revisions", {"reason": "for this test"}),
            ("policies/activate", {"policies": [{"policy": "gold first"}], "reason": "for this test"}),
        ):
            assert (await http.post(f"/v1/{path}", json=body)).is_success
    line.gateway.runtime.policies.forget(line.gateway.runtime.now())


async def priorities(line: LineLike) -> dict[str, str | None]:
    """Of each customer's ticket."""
    rows = await line.gateway.rows(
        "SELECT a.handle, t.priority FROM ticket t JOIN account a ON a.id = t.account_id ORDER BY a.handle"
    )
    return {row["handle"]: row["priority"] for row in rows}


async def test_a_policy_knows_what_the_company_knows_of_whoever_writes(line: LineLike, company: HttpFactsTwin) -> None:
    await ask(line, company)
    line.x.post("rita", "@AcmeSupport my parcel is stuck")
    line.x.post("bob", "@AcmeSupport mine too")
    await line.settle(60)
    found = await priorities(line)
    assert found["rita"] == "urgent"
    assert found["bob"] != "urgent"
    cases = await line.gateway.rows("""SELECT "case" -> 'facts' AS facts FROM decision ORDER BY id""")
    assert sorted((row["facts"] or {}).get("loyalty", {}).get("tier", "") for row in cases) == ["", "gold"]
    asked = {one["author"]["handle"]: one for one in company.asked}
    assert asked["rita"]["source"] == "x"
    assert "text" not in asked["rita"]["interaction"]

    line.x.post("rita", "@AcmeSupport hello?")
    await line.settle()
    assert len(company.asked) == 2, "what was said holds for a while"


async def somebody_else_asks(line: LineLike) -> None:
    """The worker that would ask holds its lease and does nothing."""
    await line.gateway.execute(
        """INSERT INTO lease (name, owner, epoch, until, again)
           SELECT 'enrich:' || id, 'somebody else', 1, now() + interval '1 hour', false FROM connection
           WHERE role = 'enricher'
           ON CONFLICT (name) DO UPDATE SET owner = EXCLUDED.owner, epoch = lease.epoch + 1, until = EXCLUDED.until"""
    )


async def test_the_answer_of_one_is_not_waited_for_by_another(line: LineLike, company: HttpFactsTwin) -> None:
    await ask(line, company, deadline=10.0)
    line.x.post("bob", "@AcmeSupport mine too")
    await line.settle()
    await somebody_else_asks(line)
    await line.gateway.execute("UPDATE enrichment SET expires_at = expires_at + interval '1 hour'")
    line.x.post("rita", "@AcmeSupport my parcel is stuck")

    async def waits() -> bool:
        return bool(await line.gateway.value("SELECT count(*) FROM revision WHERE waits_for LIKE 'facts:%'"))

    await line.gateway.until(waits, "rita's message waits")
    await line.gateway.execute("UPDATE enrichment SET answer_by = answer_by + interval '1 hour'")
    await line.gateway.execute("UPDATE revision SET wait_until = wait_until + interval '1 hour'")
    line.x.post("bob", "@AcmeSupport and another thing")

    async def told() -> bool:
        return any("and another thing" in str(line.comments(number)) for number in line.desk.tickets)

    await line.gateway.until(told, "bob's is on its ticket")
    assert "rita" not in await priorities(line)
    await line.gateway.execute("DELETE FROM lease WHERE owner = 'somebody else'")
    await line.settle(60)
    assert (await priorities(line))["rita"] == "urgent"


@pytest.mark.parametrize(
    ("fault", "failed"),
    [
        (Fault("latency", seconds=30.0, times=None), "timeout"),
        (Fault("status_before", status=503, times=None), "http_503"),
        (Fault("status_before", status=200, body=b"[1]", times=None), "malformed"),
    ],
)
async def test_what_cannot_be_learnt_in_time_is_answered_by_the_default(
    line: LineLike, company: HttpFactsTwin, fault: Fault, failed: str
) -> None:
    await ask(line, company, deadline=0.5, default={"tier": "gold"})
    company.faults.append(fault)
    line.x.post("bob", "@AcmeSupport my parcel is stuck")
    await line.settle()
    assert (await priorities(line))["bob"] == "urgent", "the default counts"
    row = (await line.gateway.rows("SELECT failed, facts, asked_at FROM enrichment"))[0]
    assert row["failed"].startswith(failed)
    assert (row["facts"], row["asked_at"]) == ({"tier": "gold"}, None)
    trouble = await line.gateway.rows("SELECT failures FROM connection WHERE role = 'enricher'")
    assert trouble[0]["failures"] >= 1, "its connection says so"


async def test_nobody_waits_for_one_that_fails_again_and_again(line: LineLike, company: HttpFactsTwin) -> None:
    await ask(line, company, deadline=5.0)
    await line.gateway.execute(
        "UPDATE connection SET failures = 9, blocked_until = now() + interval '1 hour' WHERE role = 'enricher'"
    )
    line.x.post("rita", "@AcmeSupport my parcel is stuck")
    await line.settle()
    assert company.asked == []
    assert (await priorities(line))["rita"] != "urgent"


async def test_a_message_that_nobody_comes_to_ask_about_goes_on(line: LineLike, company: HttpFactsTwin) -> None:
    """The worker that would have asked was killed: the message's patience is its own."""
    await ask(line, company, deadline=0.5)
    await somebody_else_asks(line)
    line.x.post("rita", "@AcmeSupport my parcel is stuck")

    async def there() -> bool:
        return "rita" in await priorities(line)

    await line.gateway.until(there, "the ticket is there", 15)
    assert company.asked == []


async def test_a_reply_is_judged_with_what_was_known_when_the_customer_wrote(
    line: LineLike, company: HttpFactsTwin
) -> None:
    await ask(line, company)
    async with line.rest() as http:
        params = {
            "at": "review_reply",
            "when": 'facts.loyalty.tier == "gold"',
            "findings": [{"severity": "hold", "code": "gold", "message": "A second look for our best customers."}],
        }
        made = await http.post("/v1/policies", json={"name": "gold twice", "type": "rule", "params": params})
        await http.post(f"/v1/policies/{made.json()['id']}/revisions", json={"reason": "for this test"})
        await http.post("/v1/policies/activate", json={"policies": [{"policy": "gold twice"}], "reason": "test"})
    line.gateway.runtime.policies.forget(line.gateway.runtime.now())
    line.x.post("rita", "@AcmeSupport my parcel is stuck")
    line.x.post("bob", "@AcmeSupport mine too")
    await line.settle()
    for number in list(line.desk.tickets):
        line.desk.agent_comment(number, "Ann", "Sorry for the delay, it arrives tomorrow.")
    await line.settle()
    rows = await line.gateway.rows(
        """SELECT a.handle, r.state FROM reply r JOIN ticket t ON t.id = r.ticket_id
           JOIN account a ON a.id = t.account_id ORDER BY 1"""
    )
    assert [(row["handle"], row["state"]) for row in rows] == [("bob", "sent"), ("rita", "held")]


async def test_a_name_that_conditions_could_not_say_is_refused(line: LineLike, company: HttpFactsTwin) -> None:
    async with line.rest() as http:
        body = {"plugin": "http_facts", "name": "Our CRM", "config": company.config()}
        refused = await http.post("/v1/connections", json=body)
        assert refused.status_code == 422
        assert refused.json()["errors"][0]["field"] == "name"
        made = await http.post("/v1/connections", json={**body, "name": "crm", "allow_private": ["127.0.0.1"]})
        assert made.status_code == 201, made.text
        checked = await http.post(f"/v1/connections/{made.json()['id']}/check")
        assert checked.json()["ok"] is True
        setup = await http.post(f"/v1/connections/{made.json()['id']}/install")
        assert setup.status_code == 409


@pytest.mark.parametrize("how", ["overtaken", "refused"])
async def test_who_waits_for_facts_waits_on_when_the_batch_is_threaded_anew(
    line: LineLike, company: HttpFactsTwin, monkeypatch: pytest.MonkeyPatch, how: str
) -> None:
    await ask(line, company, deadline=10.0)
    line.x.post("bob", "@AcmeSupport mine too")
    await line.settle()
    await line.gateway.execute("UPDATE enrichment SET expires_at = expires_at + interval '1 hour'")
    await somebody_else_asks(line)
    for shard in range(SHARDS):  # nobody threads but this test
        await line.gateway.execute(
            """INSERT INTO lease (name, owner, epoch, until, again)
               VALUES (:name, 'somebody else', 1, now() + interval '1 hour', false)
               ON CONFLICT (name) DO UPDATE
               SET owner = EXCLUDED.owner, epoch = lease.epoch + 1, until = EXCLUDED.until""",
            name=f"thread:{shard}",
        )
    line.x.post("rita", "@AcmeSupport my parcel is stuck")
    line.x.post("bob", "@AcmeSupport and another thing")

    async def both() -> bool:
        return bool(await line.gateway.value("SELECT count(*) = 2 FROM revision WHERE state = 'pending'"))

    await line.gateway.until(both, "both are recorded")
    rows = await line.gateway.rows(matters_stored.PENDING.replace("r.shard = :shard AND ", ""), limit=10)
    assert len(rows) == 2
    written = inbox._write_plan
    calls = itertools.count()

    async def fails_once(*given: Any) -> set[str]:
        if next(calls) == 0:
            if how == "overtaken":
                raise inbox.Overtaken
            await execute(given[0], "SELECT 1 / 0")
        return await written(*given)

    monkeypatch.setattr(inbox, "_write_plan", fails_once)
    runtime = line.gateway.runtime
    held = await runtime.leases.take("a test")
    await inbox._write_threads(runtime, runtime.sandbox, runtime.policies, held, rows)
    states = await line.gateway.rows(
        """SELECT a.handle, r.state FROM revision r JOIN interaction i ON i.id = r.interaction_id
           JOIN account a ON a.id = i.account_id WHERE i.text LIKE '%stuck' OR i.text LIKE '%another thing'"""
    )
    others = "done" if how == "overtaken" else "failed"
    assert {row["handle"]: row["state"] for row in states} == {"rita": "waiting", "bob": others}
    await line.gateway.execute("DELETE FROM lease WHERE owner = 'somebody else'")
