"""The whole line with a subscriber at its end: what happens to a complaint arrives, each thing once."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any
from uuid import UUID

import jsonschema

from gateway.db.database import execute, fetch_one, insert_rows
from gateway.db.tables.columns import new_id
from gateway.events import kinds as event_kinds
from gateway.events.announce import announce
from gateway.events.kinds import KINDS, Part
from support.plugins import MODULE
from support.receiver import Hook, Receiver, receiving

LineLike = Any


async def subscribe(line: LineLike, receiver: Receiver, path: str, **given: Any) -> dict[str, Any]:
    """A subscription to everything, at a path of the receiver."""
    body = {"name": path, "url": f"{receiver.url}/{path}", "kinds": ["*"], "allow_private": [receiver.place], **given}
    async with line.rest() as http:
        made = await http.post("/v1/subscriptions", json=body)
        assert made.status_code == 201, made.text
        found: dict[str, Any] = made.json()
        return found


async def told(line: LineLike, receiver: Receiver, path: str) -> dict[str, list[Hook]]:
    """What arrived at a path, by kind, once nothing is left to tell."""

    async def over() -> bool:
        return bool(await line.gateway.value("SELECT count(*) = 0 FROM event_delivery WHERE state = 'pending'"))

    await line.settle()
    await line.gateway.until(over, "subscribers are told")
    by_kind: dict[str, list[Hook]] = {}
    for hook in receiver.hooks[path]:
        by_kind.setdefault(hook.kind, []).append(hook)
    return by_kind


async def test_a_reply_that_a_policy_holds_arrives_and_so_does_what_becomes_of_it(make_line: Any) -> None:
    async with make_line(plugin_modules=(MODULE,)) as line, receiving() as receiver:
        made = await subscribe(line, receiver, "plain")
        reader = await subscribe(line, receiver, "texts", include_text=True, kinds=["ticket.*", "reply.*"])
        await line.put_in_force()
        post = line.x.post("rita", "@AcmeSupport my parcel 4711 is stuck")
        await line.settle()
        await line.answer(1, "Be careful, we look into it.")
        reply = await line.reply()
        assert reply["state"] == "held", reply["reason"]
        hooks = await told(line, receiver, "plain")
        assert all(hook.signed_by(made["secret"]) for found in hooks.values() for hook in found)
        [created] = hooks["ticket.created"]
        [held] = hooks["reply.held"]
        data = held.document["data"]
        assert (data["reply_id"], data["digest"]) == (str(reply["id"]), reply["digest"])
        assert data["findings"] == ["second-look@1:wild"]
        assert data["ticket_id"] == created.document["data"]["ticket_id"]
        assert data["helpdesk_ticket_id"] == "1"
        for hook in receiver.hooks["plain"]:
            assert b"4711" not in hook.body, "texts only where a subscription asks for them"
            assert b"careful" not in hook.body, "the policy's message quotes the reply"
        hooks = await told(line, receiver, "texts")
        texts = hooks["ticket.created"][0].document["data"]["texts"]
        assert (texts["message"], texts["author"]) == ("@AcmeSupport my parcel 4711 is stuck", "@rita")
        texts = hooks["reply.held"][0].document["data"]["texts"]
        assert texts["reply"] == "Be careful, we look into it."
        assert texts["reason"].startswith("seen Be careful")

        async with line.rest() as http:
            answer = await http.post(f"/v1/replies/{reply['id']}/approve", json={"digest": reply["digest"]})
            assert answer.is_success, answer.text
        hooks = await told(line, receiver, "plain")
        assert [one.document["data"]["by"] for one in hooks["reply.approved"]] == ["first key"]
        [published] = hooks["reply.published"]
        assert published.document["data"]["external_id"] == line.x.published("AcmeSupport")[0].id
        assert line.published() == [("Be careful, we look into it.", post)]
        ids = [hook.id for hook in receiver.hooks["plain"]]
        assert len(ids) == len(set(ids))

        # what is erased is not in a replay either
        await line.gateway.execute("UPDATE interaction SET deleted_at = now() WHERE direction = 'inbound'")
        receiver.hooks.clear()
        async with line.rest() as http:
            path = f"/v1/subscriptions/{reader['id']}/replay"
            assert (await http.post(path, json={"since": "2000-01-01T00:00:00Z"})).status_code == 202
        hooks = await told(line, receiver, "texts")
        assert hooks["ticket.created"]
        assert not any(b"4711" in hook.body for hook in receiver.hooks["texts"])

        await every_kind_keeps_its_schema(line, receiver)


NEWS: dict[type[Part], dict[str, object]] = {
    event_kinds.Nothing: {},
    event_kinds.Origin: {"followup_of": None},
    event_kinds.Into: {"into": None},
    event_kinds.Ended: {"ended": "closed"},
    event_kinds.Step: {"at": datetime(2026, 3, 12, tzinfo=UTC), "step": "breach", "notify": ["on call"]},
    event_kinds.Findings: {"findings": ["a@1:b"]},
    event_kinds.By: {"by": "Ann"},
    event_kinds.DeadLetter: {"dead_letters": [1], "code": "refused"},
    event_kinds.Health: {"reason": "silence", "mend": "look", "details": {"expected": 3}},
    event_kinds.InForce: {
        "revision": 1,
        "effective_from": datetime(2026, 3, 12, tzinfo=UTC),
        "effective_until": None,
        "reason": "r",
        "by": "Ann",
    },
    event_kinds.Erased: {},
    event_kinds.Why: {"reason": "410"},
}


async def every_kind_keeps_its_schema(line: LineLike, receiver: Receiver) -> None:
    """Each kind is announced once of a real row, and what arrives is as `GET /v1/event-kinds` says."""
    runtime, now = line.gateway.runtime, line.gateway.runtime.now()
    [ticket] = await line.gateway.rows("SELECT id FROM ticket")
    subjects: dict[str, UUID] = {"ticket": ticket["id"]}
    async with runtime.database.write() as connection:
        rows: dict[str, dict[str, object]] = {
            "promise": {"ticket_id": ticket["id"], "policy": "p", "quote": "by Friday", "detail": "", "state": "open"}
            | {"key": "k", "evidence": "", "made_at": now},
            "incident": {"key": "k", "title": "t", "policy": "p", "tighten": {}, "grouping": True, "opened_at": now},
            "alarm": {"key": "k", "severity": "info", "code": "c", "message": "m", "at": now},
            "erasure": {"customer_id": new_id(), "state": "done", "step": 0, "position": 0, "rounds": 2, "until": now}
            | {"counts": {}, "elsewhere": {}, "due_at": now, "requested_by": "Ann", "reason": "", "requested_at": now},
            "outbound_pause": {"scope": "connection", "scope_id": line.source, "paused_by": "Ann", "since": now},
        }
        for name, row in rows.items():
            subjects[name] = new_id()
            # lifted at once, so that it stops nothing
            more = {"lifted_at": now} if name == "outbound_pause" else {}
            await insert_rows(connection, name, [{"id": subjects[name], **row, **more}])
        subjects["clock"] = new_id()
        await execute(
            connection,
            """INSERT INTO clock (id, ticket_id, kind, policy, slot, label, calendar_id, calendar_version, steps,
                   stops_on, pauses, credit, started_at, stretches, asked, state, step, round, created_at, updated_at)
               SELECT :id, :ticket, 'first_response', 'p', '', '', calendar_id, version, '[]', 'answer', true, '0',
                   :now, '[]', '[]', 'met', 0, 0, :now, :now FROM calendar_version LIMIT 1""",
            id=subjects["clock"],
            ticket=ticket["id"],
            now=now,
        )
        for name, statement in {
            "reply": "SELECT id FROM reply LIMIT 1",
            "connection": "SELECT id FROM connection WHERE role = 'source'",
            "policy": "SELECT id FROM policy LIMIT 1",
            "subscription": "SELECT id FROM subscription LIMIT 1",
        }.items():
            found = await fetch_one(connection, statement)
            assert found is not None
            subjects[name] = found["id"]
        for kind in KINDS.values():
            await announce(connection, kind.name, kind.subject, subjects[kind.subject], NEWS[kind.news], now)
    hooks = await told(line, receiver, "plain")
    assert set(hooks) == set(KINDS)
    async with line.rest() as http:
        listed = {one["kind"]: one["json_schema"] for one in (await http.get("/v1/event-kinds")).json()["items"]}
    for hook in receiver.hooks["plain"]:
        jsonschema.validate(hook.document, listed[hook.kind], cls=jsonschema.Draft202012Validator)
    [stop] = await line.gateway.rows("SELECT connection_id FROM event WHERE kind = 'outbound.paused'")
    assert stop["connection_id"] == line.source, "a stop of one connection is told to those who listen to it"
