"""Dead letters tried again: under their keys, at a rate, once; and left alone where another try would do harm."""

from __future__ import annotations

from datetime import datetime, timedelta
from itertools import pairwise
from typing import Any

import pytest

from gateway_schemas.testing.twin_faults import Fault


async def redrive(line: Any, **given: Any) -> dict[str, Any]:
    """Ask for another try."""
    async with line.rest() as http:
        answer = await http.post("/v1/dead-letters/redrive", json=given)
    assert answer.status_code == 202, answer.text
    found: dict[str, Any] = answer.json()
    return found


async def letters(line: Any, kind: str) -> list[dict[str, Any]]:
    """The dead letters of a kind."""
    async with line.rest() as http:
        answer = await http.get("/v1/dead-letters", params={"kind": kind})
    assert answer.status_code == 200, answer.text
    found: list[dict[str, Any]] = answer.json()["items"]
    return found


async def long_ago(line: Any) -> None:
    """The helpdesk's index has caught up with everything since."""
    await line.gateway.execute("UPDATE push SET started_at = started_at - interval '1 hour' WHERE state = 'failed'")


async def refused(line: Any, kind: Any, text: str, *, path: str, times: int = 1) -> None:
    """A message that the helpdesk refuses for good."""
    line.desk.faults.append(Fault(kind, path=path, method="POST|PUT", status=422, body=b"{}", times=times))
    line.x.post("rita", text)
    await line.settle()
    assert [one["code"] is not None for one in await letters(line, "push")] == [True]


@pytest.mark.parametrize("kind", ["status_before", "status_after"])
async def test_a_redriven_push_is_at_the_helpdesk_once_whatever_the_refusal_meant(make_line: Any, kind: str) -> None:
    async with make_line() as line:
        await refused(line, kind, "@AcmeSupport my parcel is lost", path="/api/v2/tickets(.json)?$")
        assert len(line.desk.tickets) == (1 if kind == "status_after" else 0)
        [key] = [row["key"] for row in await line.gateway.rows("SELECT key FROM push WHERE state = 'failed'")]
        await long_ago(line)
        assert await redrive(line, kind="push", per_minute=None) | {"last_at": None} == {
            "scheduled": 1,
            "last_at": None,
            "obstacles": {},
        }

        async def over() -> bool:
            return bool(await line.gateway.rows("SELECT 1 FROM push WHERE key = :key AND state = 'done'", key=key))

        await line.gateway.until(over, "it is at the helpdesk")
        await line.settle()
        assert len(line.desk.tickets) == 1
        assert line.comments(1) == ["@AcmeSupport my parcel is lost"]
        assert await letters(line, "push") == []
        assert await redrive(line, kind="push") == {"scheduled": 0, "last_at": None, "obstacles": {}}


async def test_a_comment_that_was_refused_and_yet_written_is_found_and_not_repeated(make_line: Any) -> None:
    async with make_line() as line:
        post = line.x.post("rita", "@AcmeSupport my parcel is lost")
        await line.settle()
        path = "/api/v2/tickets/1(.json)?$"
        line.desk.faults.append(Fault("status_after", path=path, method="PUT", status=422, body=b"{}"))
        line.x.post("rita", "@AcmeSupport hello?", in_reply_to=post)
        await line.settle()
        assert len(await letters(line, "push")) == 1
        await long_ago(line)
        assert (await redrive(line, kind="push"))["scheduled"] == 1

        async def none_left() -> bool:
            return not await line.gateway.rows("SELECT 1 FROM push WHERE state <> 'done'")

        await line.gateway.until(none_left, "it was found")
        await line.settle()
        assert line.comments(1) == ["@AcmeSupport my parcel is lost", "@AcmeSupport hello?"]


async def test_until_its_turn_a_dead_letter_holds_nothing_up(make_line: Any) -> None:
    async with make_line() as line:
        first = line.x.post("bob", "@AcmeSupport first")
        await line.settle()
        before = await line.gateway.value("SELECT max(id) FROM push")
        # three letters of one ticket, as a helpdesk refused them
        await line.gateway.execute(
            """INSERT INTO push (key, ticket_id, helpdesk_id, kind, lane, payload, state, epoch, tries, due_at, at,
                                 created_at, code)
               SELECT 'dead:' || g, ticket_id, helpdesk_id, 'comment', 1,
                      jsonb_set(payload, '{text}', to_jsonb('late ' || g)), 'failed', 0, 0, at, at, at, 'too_odd'
               FROM push, generate_series(1, 3) g WHERE id = :id""",
            id=await line.gateway.value("SELECT min(id) FROM push WHERE kind = 'comment'"),
        )
        asked = await redrive(line, kind="push", code="too_odd", limit=2, per_minute=1)
        again = await redrive(line, kind="push", per_minute=1)
        assert (asked["scheduled"], again["scheduled"]) == (2, 1)
        turns = [datetime.fromisoformat(one["redrive_at"]) for one in reversed(await letters(line, "push"))]
        # the first may have had its turn by now
        assert [round((after - one).total_seconds()) for one, after in pairwise(turns)] in ([60, 60], [60])
        line.x.post("bob", "@AcmeSupport second", in_reply_to=first)
        await line.settle()
        assert any("second" in one for one in line.comments(1))

        async def one_went() -> bool:
            rows = await line.gateway.rows("SELECT state FROM push WHERE id > :id ORDER BY id", id=before)
            return [row["state"] for row in rows[:3]] == ["done", "failed", "failed"]

        await line.gateway.until(one_went, "the first had its turn, and the others have not")
        await line.gateway.execute("UPDATE push SET redrive_at = now() - :far WHERE state = 'failed'", far=timedelta(1))

        async def none_left() -> bool:
            return not await line.gateway.rows("SELECT 1 FROM push WHERE state = 'failed'")

        await line.gateway.until(none_left, "all had their turn")
        await line.settle()
        told = "\n".join(line.comments(1))
        assert [told.count(f"late {number}") for number in (1, 2, 3)] == [1, 1, 1]


async def test_what_newer_changes_made_wrong_or_a_customer_deleted_is_not_told_any_more(make_line: Any) -> None:
    async with make_line() as line:
        line.x.post("rita", "@AcmeSupport hello?")
        await line.settle()
        await line.gateway.execute(
            """INSERT INTO push (key, ticket_id, helpdesk_id, kind, lane, payload, state, epoch, tries, due_at, at,
                                 created_at, interaction_id)
               SELECT v.key, ticket_id, helpdesk_id, v.kind, 1, payload || '{"status": "solved"}', v.state, 0, 0, at,
                      at, at, CASE WHEN v.kind = 'comment' THEN interaction_id END
               FROM push, (VALUES ('a', 'update', 'failed'), ('b', 'update', 'done'), ('c', 'comment', 'failed'))
                   AS v (key, kind, state)
               WHERE id = (SELECT min(id) FROM push WHERE kind = 'comment') ORDER BY v.key"""
        )
        await line.gateway.execute("UPDATE interaction SET deleted_at = now()")
        assert {one["obstacle"] for one in await letters(line, "push")} == {"superseded", "deleted"}
        assert (await redrive(line, kind="push"))["obstacles"] == {"superseded": 1, "deleted": 1}
        # asked for while nothing stood in the way: it is looked at once more when its turn comes
        await line.gateway.execute("UPDATE push SET redrive_at = now() WHERE state = 'failed'")

        async def none_left() -> bool:
            return not await line.gateway.rows("SELECT 1 FROM push WHERE state = 'failed'")

        await line.gateway.until(none_left, "both are dropped")
        await line.settle()
        assert (line.comments(1), line.ticket(1).status != "solved") == (["@AcmeSupport hello?"], True)


async def test_a_redriven_reply_is_decided_anew_and_published_once(make_line: Any) -> None:
    async with make_line(tier="self_serve") as line:
        opener = line.x.post("rita", "No parcel today either")
        line.x.post("AcmeSupport", "Hm?", in_reply_to=opener)
        await line.settle()
        await line.answer(1, "Hello Rita, may we help?")
        before = await line.reply()
        assert before["state"] == "failed"
        line.x.tier = "enterprise"
        assert (await redrive(line, kind="reply", ids=[str(before["id"])]))["scheduled"] == 1
        [after] = await line.until("sent")
        await line.settle()
        assert (after["id"], after["key"]) == (before["id"], before["key"])
        assert sum("may we help?" in text for text, _ in line.published()) == 1
        decisions = "SELECT count(*) FROM decision WHERE thing_id = :id AND point = 'review_reply'"
        assert await line.gateway.value(decisions, id=before["id"]) >= 2
        assert "gw_failed" not in line.ticket(1).tags


@pytest.mark.parametrize(
    ("change", "obstacle"),
    [
        ("UPDATE reply SET external_id = '77', code = 'source_removed'", "was_published"),
        (
            """INSERT INTO attempt (at, connection_id, kind, thing_id, outcome, milliseconds)
               SELECT now(), connection_id, 'send', id::text, 'unknown', 1 FROM reply""",
            "may_be_out",
        ),
        (None, "answered_since"),
    ],
)
async def test_a_reply_that_was_or_may_be_out_or_has_a_successor_is_left(
    make_line: Any, change: str | None, obstacle: str
) -> None:
    async with make_line(tier="self_serve") as line:
        opener = line.x.post("rita", "No parcel today either")
        line.x.post("AcmeSupport", "Hm?", in_reply_to=opener)
        await line.settle()
        await line.answer(1, "First try")
        first = await line.reply()
        if change is None:
            line.x.tier = "enterprise"
            await line.answer(1, "Second try")
        else:
            await line.gateway.execute(change)
        assert [one["obstacle"] for one in await letters(line, "reply")] == [obstacle]
        assert (await redrive(line, kind="reply"))["obstacles"] == {obstacle: 1}
        published = line.published()
        await line.gateway.execute("UPDATE reply SET redrive_at = now() WHERE id = :id", id=first["id"])

        async def looked_at() -> bool:
            return not await line.gateway.rows("SELECT 1 FROM reply WHERE redrive_at IS NOT NULL")

        await line.gateway.until(looked_at, "its turn is over")
        await line.settle()
        assert line.published() == published
        assert await line.gateway.value("SELECT state FROM reply WHERE id = :id", id=first["id"]) == "failed"
