"""What was decided can be decided again: explained, tried with drafts, run over history, and judged by people."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import httpx2
import pytest

from support.plugins import MODULE

LineLike = Any
HOLD = {"severity": "hold", "code": "coupon", "message": "A coupon for a review."}


def line_of(say: dict[str, Any], **more: Any) -> dict[str, Any]:
    return {"say": say, **more}


@pytest.fixture
async def guarded(make_line: Any) -> AsyncIterator[LineLike]:
    """A line with a scripted policy in force."""
    async with make_line(plugin_modules=(MODULE,)) as line:
        line.http = httpx2.AsyncClient(
            base_url=f"{line.gateway.url}/v1",
            headers={"Authorization": "Bearer a-key-for-tests-only"},
            timeout=30,
            trust_env=False,
        )
        async with line.http:
            yield line


async def call(line: LineLike, method: str, path: str, status: int = 200, **body: Any) -> Any:
    response = await line.http.request(method, path, json=body or None)
    assert response.status_code == status, response.text
    if path.endswith("/activate"):
        await asyncio.sleep(1.1)  # workers know within a second
    return response.json() if response.content else None


async def policy(line: LineLike, *lines: dict[str, Any]) -> str:
    """A scripted policy in force."""
    made = await call(line, "POST", "/policies", 201, name="guard", type="scripted", params={"lines": list(lines)})
    await call(line, "POST", f"/policies/{made['id']}/revisions", 201, reason="for this test")
    await call(line, "POST", "/policies/activate", policies=[{"policy": "guard"}], reason="for this test")
    return str(made["id"])


async def draft(line: LineLike, id: str, *lines: dict[str, Any]) -> None:
    """Another draft of it."""
    response = await line.http.get(f"/policies/{id}")
    changed = await line.http.patch(
        f"/policies/{id}", json={"params": {"lines": list(lines)}}, headers={"If-Match": response.headers["etag"]}
    )
    assert changed.status_code == 200, changed.text


async def backtested(line: LineLike, *drafts: str) -> Any:
    started = await call(line, "POST", "/backtests", 202, policies=[{"policy": name} for name in drafts])

    async def done() -> Any:
        found = await call(line, "GET", f"/backtests/{started['id']}")
        return found if found["state"] == "done" else None

    return await line.gateway.until(done, "the backtest is done")


async def evening(line: LineLike) -> None:
    """Three customers, and an answer to each of two."""
    for who in ("rita", "bob", "carol"):
        line.x.post(who, f"@AcmeSupport my parcel is late, says {who}")
        await line.settle()
    await line.answer(1, "We are sorry, it comes today.")
    await line.answer(2, "Here is a coupon for your review.")


async def test_the_policies_that_decided_decide_the_same_again(guarded: LineLike) -> None:
    await policy(
        guarded,
        line_of(HOLD, if_text="coupon"),
        line_of({"effect": "add_tags", "tags": ["late"]}, point="on_interaction", if_text="late"),
    )
    await evening(guarded)
    report = await backtested(guarded)
    assert report["decisions"] == report["total"] >= 5
    assert report["identical"] == report["decisions"]
    assert (report["changed_by_code"], report["changed_by_revision"], report["not_reproducible"]) == (0, 0, {})


async def test_a_draft_shows_what_it_would_change_and_nothing_is_changed(guarded: LineLike) -> None:
    id = await policy(guarded, line_of(HOLD, if_text="coupon"))
    await evening(guarded)
    await draft(guarded, id, line_of({**HOLD, "severity": "block"}, if_text="coupon"))
    report = await backtested(guarded, "guard")
    assert (report["changed_by_revision"], report["changed_by_code"]) == (1, 0)
    assert report["verdicts"] == {"hold>block": 1}
    assert report["policies"] == {"guard": 1}
    [sample] = report["samples"]
    assert sample["policies"] == [{"policy": "guard", "from": ["hold coupon"], "to": ["block coupon"]}]
    assert (await guarded.reply())["state"] == "held"


async def test_what_was_erased_is_counted_and_not_guessed_at(guarded: LineLike) -> None:
    await policy(guarded, line_of(HOLD, if_text="coupon"))
    await evening(guarded)
    whole = (await backtested(guarded))["decisions"]
    erase = "UPDATE revision SET data = data - 'text' - 'author' WHERE data ->> 'text' LIKE '%bob'"
    await guarded.gateway.execute(erase)
    report = await backtested(guarded)
    lost = sum(report["not_reproducible"].values())
    assert set(report["not_reproducible"]) <= {"erased", "unreadable"}
    assert lost >= 2
    assert report["identical"] == report["decisions"] == whole - lost


async def test_the_texts_of_a_conversation_are_not_copied_into_decisions(guarded: LineLike) -> None:
    await policy(guarded, line_of(HOLD, if_text="coupon"))
    await evening(guarded)
    copies = await guarded.gateway.value(
        """SELECT count(*) FROM decision d CROSS JOIN LATERAL jsonb_array_elements(d."case" -> 'timeline') AS e
           WHERE e ->> 'text' <> ''"""
    )
    assert copies == 0
    assert await guarded.gateway.value("""SELECT count(*) FROM decision WHERE "case" ? 'timeline'""") > 0


async def test_a_decision_explains_itself_also_who_was_not_asked(guarded: LineLike) -> None:
    await policy(guarded, line_of(HOLD, if_text="coupon"))
    elsewhere = await call(
        guarded,
        "POST",
        "/policies",
        201,
        name="reviews-only",
        type="scripted",
        params={"lines": [line_of(HOLD)]},
        scope={"kinds": ["review"]},
    )
    await call(guarded, "POST", f"/policies/{elsewhere['id']}/revisions", 201, reason="for this test")
    await call(guarded, "POST", "/policies/activate", policies=[{"policy": "reviews-only"}], reason="for this test")
    await evening(guarded)
    reply = await guarded.reply()
    explained = (await call(guarded, "GET", f"/replies/{reply['id']}/explain"))["decisions"][-1]
    words = {one["policy"]: one for one in explained["policies"]}
    assert explained["verdict"] == "hold"
    assert words["guard"]["findings"][0]["code"] == "coupon"
    assert words["reviews-only"]["asked"] is False
    assert "kinds review" in words["reviews-only"]["why_not"]
    of_ticket = await call(guarded, "GET", f"/tickets/{reply['ticket_id']}/explain")
    assert {one["point"] for one in of_ticket["decisions"]} >= {"on_interaction", "review_reply"}


async def test_a_draft_is_tried_on_a_stored_decision(guarded: LineLike) -> None:
    id = await policy(guarded, line_of(HOLD, if_text="coupon"))
    await evening(guarded)
    decision = await guarded.gateway.value("SELECT max(id) FROM decision WHERE point = 'review_reply'")
    await draft(guarded, id, line_of({**HOLD, "severity": "warn"}, if_text="coupon"))
    tried = await call(guarded, "POST", f"/policies/{id}/evaluate", decision=decision)
    assert (tried["verdict"], tried["findings"][0]["code"]) == ("warn", "coupon")
    first = await call(guarded, "POST", f"/policies/{id}/evaluate", decision=decision, revision=1)
    assert first["verdict"] == "hold"
    await call(guarded, "POST", f"/policies/{id}/evaluate", 422, decision=decision, revision=9)
    await call(guarded, "POST", f"/policies/{id}/evaluate", 422, point="review_reply")


async def test_a_revision_that_fails_a_kept_case_does_not_come_into_force(guarded: LineLike) -> None:
    id = await policy(guarded, line_of(HOLD, if_text="coupon"))
    await evening(guarded)
    decision = await guarded.gateway.value("SELECT max(id) FROM decision WHERE point = 'review_reply'")
    await call(
        guarded,
        "PUT",
        f"/policies/{id}/cases/coupon-is-held",
        decision=decision,
        expect={"verdict": "hold", "codes": ["coupon"]},
    )
    assert (await call(guarded, "POST", f"/policies/{id}/cases/run"))["passed"] is True
    await draft(guarded, id, line_of({**HOLD, "severity": "warn"}, if_text="coupon"))
    run = await call(guarded, "POST", f"/policies/{id}/cases/run")
    assert run["cases"][0]["misses"] == ["the verdict is warn and not hold"]
    await call(guarded, "POST", f"/policies/{id}/revisions", 201, reason="milder")
    problem = await call(
        guarded, "POST", "/policies/activate", 409, policies=[{"policy": "guard"}], reason="we try milder"
    )
    assert "coupon-is-held" in problem["detail"]
    in_force = await call(guarded, "GET", "/policies/in-force")
    assert [one["revision"] for one in in_force["policies"] if one["policy"] == "guard"] == [1]
    await call(guarded, "DELETE", f"/policies/{id}/cases/coupon-is-held", 204)
    await call(guarded, "POST", "/policies/activate", policies=[{"policy": "guard"}], reason="we try milder")


async def test_people_say_whether_a_policy_was_right_and_the_report_counts_it(guarded: LineLike) -> None:
    await policy(guarded, line_of(HOLD, if_text="coupon"))
    await evening(guarded)
    decision = await guarded.gateway.value("SELECT max(id) FROM decision WHERE point = 'review_reply'")
    path = f"/decisions/{decision}/feedback"
    await call(guarded, "POST", path, 201, policy="guard", right=False, note="it was their own coupon")
    await call(guarded, "POST", path, 201, policy="guard", right=False)
    await call(guarded, "POST", path, 422, policy="nobody", right=True)
    [report] = [one for one in (await call(guarded, "GET", "/reports/policies"))["items"] if one["policy"] == "guard"]
    assert (report["held"], report["disputed"], report["confirmed"], report["overridden"]) == (1, 1, 0, 0)


async def test_what_would_be_ignored_is_there_to_be_judged(guarded: LineLike) -> None:
    made = await call(
        guarded,
        "POST",
        "/policies",
        201,
        name="shadow",
        type="scripted",
        mode="shadow",
        params={"lines": [line_of({"effect": "ignore", "reason": "praise"}, point="on_interaction", if_text="rita")]},
    )
    await call(guarded, "POST", f"/policies/{made['id']}/revisions", 201, reason="for this test")
    await call(guarded, "POST", "/policies/activate", policies=[{"policy": "shadow"}], reason="for this test")
    await evening(guarded)
    [one] = (await call(guarded, "GET", "/reports/would-ignore"))["items"]
    assert (one["policy"], one["reason"]) == ("shadow", "praise")
    assert one["text"].endswith("rita")
    assert len(guarded.desk.tickets) == 3
    channels = (await call(guarded, "GET", "/reports/parity"))["items"]
    assert [(one["channel"], one["tickets"], one["answered"]) for one in channels] == [("public", 3, 2)]
    assert (await call(guarded, "GET", "/reports/causes"))["items"] == []


async def test_another_target_tells_exactly_the_tickets_whose_breach_it_changes(guarded: LineLike) -> None:
    """Three customers were answered after ten, fifty and ninety minutes of an hour's target."""
    hour = {"targets": [{"first_minutes": 60}]}
    made = await call(guarded, "POST", "/policies", 201, name="guard", type="response_sla", params=hour)
    await call(guarded, "POST", f"/policies/{made['id']}/revisions", 201, reason="for this test")
    await call(guarded, "POST", "/policies/activate", policies=[{"policy": "guard"}], reason="for this test")
    tickets = {}
    for minutes, who in ((10, "rita"), (50, "bob"), (90, "carol")):
        guarded.x.post(who, f"@AcmeSupport my parcel is late, says {who}")
        await guarded.settle()
        await guarded.answer(len(tickets) + 1, f"We are sorry, {who}: it comes today.")
        tickets[minutes] = str(await guarded.gateway.value("SELECT id FROM ticket ORDER BY opened_at DESC LIMIT 1"))
        await guarded.gateway.execute(
            """UPDATE clock SET started_at = stopped_at - make_interval(mins => :minutes),
                   due_at = stopped_at - make_interval(mins => :minutes) + interval '1 hour',
                   stretches = jsonb_build_array(jsonb_build_array(
                       stopped_at - make_interval(mins => :minutes), stopped_at))
               WHERE ticket_id = CAST(:ticket AS uuid) AND kind = 'first_response'""",
            minutes=minutes,
            ticket=tickets[minutes],
        )

    async def with_target(minutes: int) -> Any:
        response = await guarded.http.patch(
            f"/policies/{made['id']}", json={"params": {"targets": [{"first_minutes": minutes}]}}
        )
        assert response.status_code == 200, response.text
        return (await backtested(guarded, "guard"))["breaches"]

    assert await with_target(30) == {"new": [tickets[50]], "averted": []}
    assert await with_target(120) == {"new": [], "averted": [tickets[90]]}
    assert await with_target(5) == {"new": sorted([tickets[10], tickets[50]]), "averted": []}
    assert await with_target(60) == {"new": [], "averted": []}
