"""What policies do along the whole line: to what comes in, to what goes out, to what the brand posts elsewhere."""

from __future__ import annotations

import asyncio
import json
import re
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from gateway.db.tables.columns import new_id
from gateway.engine.sandbox import Sandbox
from gateway.pipeline import inbox
from gateway.pipeline.decide import decide_inbound
from gateway.pipeline.drains import Drains, tick
from gateway.pipeline.holds import mind_breaker
from gateway.pipeline.incidents import GROWN, next_step
from gateway.policy.library import differences
from gateway_schemas.time import SharedTime
from support.gateway import Gateway, fresh_database, running
from support.plugins import MODULE
from support.policies import forget, put
from support.postgres import server_url  # noqa: F401  a fixture

LineLike = Any


@pytest.fixture
async def line(make_line: Any) -> AsyncIterator[LineLike]:
    """A line whose gateway knows the policies of tests."""
    async with make_line(plugin_modules=(MODULE,)) as made:
        yield made


async def script(gateway: Gateway, *lines: dict[str, Any], **more: Any) -> Any:
    """A scripted policy in force."""
    return await put(gateway.runtime, "scripted", {"lines": lines}, **more)


async def decisions(gateway: Gateway, point: str) -> list[Any]:
    """Decisions at a point, oldest first."""
    return await gateway.rows("SELECT * FROM decision WHERE point = :point ORDER BY id", point=point)


def inbound(if_text: str = "", /, **say: Any) -> dict[str, Any]:
    """A line about what comes in."""
    return {"point": "on_interaction", "if_text": if_text, "say": say}


async def test_effects_reach_the_ticket_and_the_helpdesk_and_losers_are_recorded(line: LineLike) -> None:
    await script(
        line.gateway,
        inbound(effect="set_priority", priority="high"),
        inbound(effect="add_tags", tags=["late"]),
        inbound(effect="set_fields", fields={"cause": "delay"}),
        inbound(effect="note", text="Mind the weather."),
        inbound(effect="note", text="Be kind."),
        inbound(effect="ignore", reason="never mind"),
        inbound(effect="route", helpdesk="nowhere", group="7"),
        name="first",
    )
    await script(line.gateway, inbound(effect="set_priority", priority="urgent"), name="second", order=200)
    await script(line.gateway, inbound(effect="add_tags", tags=["quiet"]), name="third", mode="shadow")
    line.x.post("rita", "@AcmeSupport my parcel is stuck")
    await line.settle()
    there = line.ticket(1)
    assert there.priority == "urgent"
    assert "late" in there.tags
    assert "quiet" not in there.tags
    assert [one.body for one in there.comments if "weather" in one.body] == ["Mind the weather.\n\nBe kind."]
    [ticket] = await line.gateway.rows("SELECT priority, tags, fields FROM ticket")
    assert (ticket["priority"], ticket["tags"], ticket["fields"]) == ("urgent", ["late"], {"cause": "delay"})
    [decision] = await decisions(line.gateway, "on_interaction")
    lost = {(one["policy"], one["effect"]): one["why"] for one in decision["effects"] if not one["done"]}
    assert lost == {
        ("first", "set_priority"): "second asks for urgent",
        ("first", "ignore"): "first wants a ticket (set_priority)",
        ("first", "route"): "there is no helpdesk connection nowhere",
        ("third", "add_tags"): "the policy is in shadow mode",
    }
    assert decision["ticket_id"] is not None
    assert decision["case"]["source"] == "x"


async def test_what_others_set_on_the_ticket_while_it_was_decided_on_stays(
    line: LineLike, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The helpdesk's word, and messages of a second account that is on the ticket: they have other holders."""
    await script(
        line.gateway,
        inbound("again", effect="add_tags", tags=["twice"]),
        inbound("again", effect="set_fields", fields={"cause": "delay"}),
        inbound("again", effect="set_priority", priority="high"),
    )
    post = line.x.post("rita", "@AcmeSupport my parcel is stuck")
    await line.settle()
    await line.gateway.execute(
        """UPDATE ticket SET tags = '{vip}', fields = '{"area": "north", "cause": "weather"}',
               last_inbound_at = :early""",
        early=datetime(2026, 1, 1, tzinfo=UTC),
    )
    late = line.gateway.runtime.now() + timedelta(minutes=5)

    async def overtaken(*given: Any) -> Any:
        decided = await decide_inbound(*given)
        await line.gateway.execute(
            """UPDATE ticket SET tags = '{angry}', priority = 'urgent', last_inbound_at = :late,
                   fields = '{"area": "south", "cause": "weather", "rank": 1}'""",
            late=late,
        )
        return decided

    monkeypatch.setattr(inbox, "decide_inbound", overtaken)
    line.x.post("rita", "@AcmeSupport stuck again", in_reply_to=post)
    await line.settle()
    [ticket] = await line.gateway.rows("SELECT priority, tags, fields, last_inbound_at FROM ticket")
    assert ticket["tags"] == ["angry", "twice"]
    assert ticket["fields"] == {"area": "south", "cause": "delay", "rank": 1}
    assert (ticket["priority"], ticket["last_inbound_at"]) == ("urgent", late)


async def test_what_is_ignored_opens_no_ticket_and_says_why(line: LineLike) -> None:
    await script(line.gateway, inbound("pills", effect="ignore", reason="spam"))
    line.x.post("rita", "@AcmeSupport buy pills")
    line.x.post("bob", "@AcmeSupport help")
    await line.settle()
    assert await line.gateway.value("SELECT count(*) FROM ticket") == 1
    reasons = [row["reason"] for row in await line.gateway.rows("SELECT reason FROM revision ORDER BY id")]
    assert reasons == ["ignored: spam", None]


async def test_an_incident_gathers_what_is_alike_under_one_ticket(line: LineLike) -> None:
    await script(
        line.gateway,
        {
            **inbound("down", effect="open_incident", key="outage", title="Down", tighten={"manners": "block"}),
            "unless_incident": "outage",
        },
        {**inbound("down", effect="join_incident", key="outage"), "if_incident": "outage"},
        {**inbound("my order", effect="set_priority", priority="high"), "if_incident": "outage"},
    )
    for who, text in (("rita", "it is down"), ("bob", "down here too"), ("carol", "down, and my order is lost")):
        line.x.post(who, f"@AcmeSupport {text}")
        await line.settle()
    assert await line.gateway.value("SELECT count(*) FROM ticket") == 2, "whoever has a case of their own keeps it"
    [incident] = await line.gateway.rows("SELECT * FROM incident")
    assert (incident["key"], incident["tighten"]) == ("outage", {"manners": "block"})
    members = await line.gateway.rows("SELECT grouped FROM incident_member ORDER BY at")
    assert [row["grouped"] for row in members] == [False, True]
    assert (
        await line.gateway.value("SELECT count(*) FROM interaction WHERE ticket_id = :id", id=incident["ticket_id"])
        == 2
    )
    assert await line.gateway.value("SELECT code FROM alarm") == "incident_opened"
    forget(line.gateway.runtime)
    in_force = await line.gateway.runtime.policies.in_force(line.gateway.runtime.now())
    assert in_force.tightened == {"outage": {"manners": "block"}}


OUTAGE = (
    {**inbound("down", effect="open_incident", key="outage", title="Down"), "unless_incident": "outage"},
    {**inbound("down", effect="join_incident", key="outage"), "if_incident": "outage"},
)


async def told(line: LineLike, number: int = 1) -> list[str]:
    """How many messages an incident's ticket said that it stands for, in order."""
    await line.settle()
    return [word for text in line.comments(number) for word in re.findall(r"stands for (\d+) messages", text)]


async def test_the_ticket_of_an_incident_says_for_how_many_messages_it_stands(line: LineLike) -> None:
    await script(line.gateway, *OUTAGE)
    line.x.post("rita", "@AcmeSupport down")
    await told(line)
    [opening] = [text for text in line.comments() if "Incident: Down." in text]
    assert "counted on this ticket" in opening
    assert "incident:outage" in line.ticket(1).tags, "the tag that a stop for the incident goes by"
    for number in range(2, 12):
        line.x.add_user(f"user{number}")
        line.x.post(f"user{number}", f"@AcmeSupport down {number}")
        await told(line)
    assert await told(line) == ["5", "10"], "not for each of them"
    [note] = [one.body for one in line.ticket(1).comments if "stands for 10" in one.body]
    assert [f"@AcmeSupport down {number}" in note for number in (7, 8, 9, 10)] == [False, True, True, True]
    assert "@user10" in note
    tags = await line.gateway.value("SELECT tags FROM ticket")
    assert "incident:outage" in tags
    assert not line.ticket(1).comments[-1].public


async def test_the_ticket_of_an_incident_can_be_answered(line: LineLike) -> None:
    await script(line.gateway, *OUTAGE)
    for who in ("rita", "bob"):
        line.x.post(who, "@AcmeSupport down")
        await line.settle()
    await line.answer(1, "It is up again")
    assert (await line.reply())["state"] == "sent", "what was counted since is no message of this customer's"


@pytest.mark.parametrize(
    ("ending", "other", "priority"), [("closed", "", "high"), ("merged", "", "high"), ("merged", " on fire", "urgent")]
)
async def test_what_a_policy_wishes_goes_on_with_the_matter_when_its_ticket_ends_meanwhile(
    line: LineLike, ending: str, other: str, priority: str
) -> None:
    """The helpdesk tells of the ticket's end, with its older tags, before it was told what the policy wishes."""
    await script(
        line.gateway,
        inbound("fire", effect="set_priority", priority="urgent"),
        inbound("lawyer", effect="add_tags", tags=["legal"]),
        inbound("lawyer", effect="set_fields", fields={"cause": "delay"}),
        inbound("lawyer", effect="route", group="7"),
        inbound("lawyer", effect="set_priority", priority="high"),
    )
    first = line.x.post("rita", "@AcmeSupport my parcel is stuck")
    await line.settle()
    line.x.post("rita", f"@AcmeSupport another thing{other}")
    await line.settle()
    await line.pause_helpdesk()
    line.x.post("rita", "@AcmeSupport I will ask my lawyer", in_reply_to=first)
    await line.x.settle()

    async def wished() -> Any:
        return await line.gateway.value("SELECT count(*) FROM push WHERE state = 'pending' AND kind = 'update'")

    await line.gateway.until(wished, "the policy's wishes wait to be told")
    if ending == "closed":
        line.desk.set_status(1, "closed", "Ann")
    else:
        line.desk.merge(1, 2, "Ann")
    await line.desk.settle()

    async def ended() -> Any:
        return await line.gateway.value("SELECT ended FROM ticket ORDER BY created_at LIMIT 1")

    await line.gateway.until(ended, "it is known")
    await line.resume_helpdesk()
    await line.settle()
    assert len(line.desk.tickets) == (3 if ending == "closed" else 2)
    there = line.ticket(3 if ending == "closed" else 2)
    assert "@AcmeSupport I will ask my lawyer" in [one.body.split("\n\nhttp")[0] for one in there.comments]
    assert "legal" in there.tags
    assert (there.priority, there.group_id) == (priority, 7)
    assert "legal" not in line.ticket(1).tags
    ours = await line.gateway.rows(
        "SELECT tags, priority FROM ticket WHERE external_id = :id AND merged_into IS NULL", id=str(there.id)
    )
    assert [("legal" in one["tags"], one["priority"]) for one in ours] == [(True, priority)]


@pytest.mark.parametrize("known", [True, False])
async def test_a_follow_up_has_the_tags_and_the_priority_of_its_matter(line: LineLike, known: bool) -> None:
    """Whether the gateway knew that the ticket was closed, or is told so when it has something to say on it."""
    await script(
        line.gateway,
        inbound("lawyer", effect="add_tags", tags=["legal"]),
        inbound("lawyer", effect="set_priority", priority="high"),
    )
    post = line.x.post("rita", "@AcmeSupport I will ask my lawyer")
    await line.settle()
    line.desk.change(1, {"additional_tags": ["vip", "reply:public", "gw_held"]}, "Ann")
    await line.desk.settle()
    await line.settle()
    if known:
        line.desk.set_status(1, "closed", "Ann")
        await line.desk.settle()
        await line.settle()
    else:
        line.desk.close(1)
    line.x.post("rita", "@AcmeSupport hello?", in_reply_to=post)
    await line.settle()
    there = line.ticket(2)
    assert sorted({"legal", "vip", "reply:public", "gw_held"} & {*there.tags}) == ["legal", "vip"]
    assert there.priority == "high"
    [ours] = await line.gateway.rows("SELECT tags, priority FROM ticket WHERE followup_of IS NOT NULL")
    assert ({"legal", "vip"} <= {*ours["tags"]}, ours["priority"]) == (True, "high")


async def test_an_incident_that_is_closed_is_told_of_no_more(line: LineLike) -> None:
    await script(line.gateway, *OUTAGE)
    for who in ("rita", "bob"):
        line.x.post(who, "@AcmeSupport down")
        await line.settle()
    await line.gateway.execute("UPDATE incident SET closed_at = now(), tell_at = 2")
    assert await line.gateway.rows(GROWN) == []
    before = line.comments()
    await line.gateway.execute("UPDATE incident SET closed_at = NULL")
    await tick(line.gateway.runtime)
    await line.settle()
    assert len(line.comments()) == len(before) + 1, "what a lost wake-up leaves is found by the tick"


@pytest.mark.parametrize(("messages", "step"), [(1, 5), (4, 5), (5, 10), (10, 20), (21, 50), (99, 100), (4999, 5000)])
def test_a_ticket_is_told_of_its_incident_at_round_numbers(messages: int, step: int) -> None:
    assert next_step(messages) == step


async def test_what_a_reply_sets_going_is_done_when_it_is_published_and_once(line: LineLike) -> None:
    say = {"effect": "make_promise", "quote": "by Friday", "due": "2026-03-13T17:00:00Z"}
    policy = await script(
        line.gateway,
        {"if_text": "Friday", "say": say},
        {"if_text": "Friday", "say": {"effect": "add_tags", "tags": ["promised"]}},
        {"if_text": "Friday", "say": {"effect": "alarm", "severity": "info", "code": "promised", "message": "m"}},
        {"if_text": "Friday", "say": {"effect": "ask_customer", "text": "Did it arrive?", "after": 3600}},
        {"if_text": "Friday", "say": {"severity": "hold", "code": "promise", "message": "Can we?"}},
    )
    line.x.post("rita", "@AcmeSupport my parcel is stuck")
    await line.settle()
    await line.answer(1, "You get it by Friday.")
    reply = await line.reply()
    assert (reply["state"], reply["on_timeout"]) == ("held", "escalate")
    assert await line.gateway.value("SELECT count(*) FROM promise") == 0, "held: nothing was promised yet"
    runtime, until = line.gateway.runtime, line.gateway.runtime.now() + timedelta(hours=1)
    await line.gateway.execute(
        """INSERT INTO waiver (id, policy_id, ticket_id, until, reason, author, created_at)
           VALUES (:id, :policy, :ticket, :until, 'agreed', 'ann', now())""",
        id=new_id(),
        policy=policy,
        ticket=reply["ticket_id"],
        until=until,
    )
    await line.gateway.execute("UPDATE reply SET state = 'received'")
    await runtime.wake({f"reply:{line.source}"})
    await line.settle()
    assert [text for text, _ in line.published()] == ["You get it by Friday."], "the waiver let it go"
    [one] = [row for row in await decisions(line.gateway, "review_reply") if row["verdict"] == "allow"]
    assert one["findings"][0]["waived"]["by"] == "ann"
    assert await line.gateway.value("SELECT count(*) FROM promise") == 0, "and silenced what it wanted done"

    await line.gateway.execute("UPDATE waiver SET ended_at = now()")
    await line.answer(1, "Surely by Friday!")
    held = await line.reply()
    assert held["state"] == "held"
    async with line.rest() as http:
        answer = await http.post(f"/v1/replies/{held['id']}/approve", json={"digest": held["digest"]})
    assert answer.is_success, answer.text
    await line.settle()
    [promise] = await line.gateway.rows("SELECT * FROM promise")
    assert (promise["quote"], promise["state"], promise["reply_id"]) == ("by Friday", "open", held["id"])
    assert "promised" in line.ticket(1).tags
    assert await line.gateway.value("SELECT count(*) FROM alarm WHERE code = 'promised'") == 1
    [asked] = await line.gateway.rows("SELECT text, leg, state FROM reply WHERE author_id = 'policy:scripted'")
    assert (asked["text"], asked["leg"], asked["state"]) == ("Did it arrive?", "private", "received")


async def test_a_set_grown_stricter_means_deciding_again(line: LineLike) -> None:
    line.x.post("rita", "@AcmeSupport my parcel is stuck")
    await line.settle()
    await line.gateway.pause()
    line.desk.agent_comment(1, "Ann", "Not our fault")
    await line.desk.settle()

    async def queued() -> bool:
        return (await line.gateway.value("SELECT state FROM reply")) == "queued"

    await line.gateway.until(queued, "the answer is queued")
    await script(line.gateway, {"if_text": "fault", "say": {"severity": "hold", "code": "blame", "message": "Kindly."}})
    await line.gateway.lift()
    await line.settle()
    assert line.published() == []
    reply = await line.reply()
    assert (reply["state"], reply["code"]) == ("held", "blame")
    assert "Kindly." in line.ticket(1).comments[-1].body


@pytest.mark.parametrize("action", ["allow", "reject", "escalate"])
async def test_a_held_reply_that_nobody_looks_at_meets_its_end(line: LineLike, action: str) -> None:
    hold = {"if_text": "sorry", "say": {"severity": "hold", "code": "c", "message": "Look at it."}}
    await script(line.gateway, hold, on_timeout={"action": action, "minutes": 5})
    line.x.post("rita", "@AcmeSupport my parcel is stuck")
    await line.settle()
    await line.answer(1, "We are sorry")
    assert (await line.reply())["state"] == "held"
    await line.gateway.execute("UPDATE reply SET hold_until = now() - interval '1 second'")
    expected = {"allow": ("sent", 0), "reject": ("cancelled", 0), "escalate": ("held", 1)}

    async def ended() -> bool:
        alarms = await line.gateway.value("SELECT count(*) FROM alarm WHERE code = 'hold_not_looked_at'")
        return ((await line.reply())["state"], alarms) == expected[action]

    await line.gateway.until(ended, f"it meets its end: {action}")
    assert (await line.reply())["hold_until"] is None
    assert [text for text, _ in line.published()] == (["We are sorry"] if action == "allow" else [])


async def test_the_brands_post_made_elsewhere_raises_an_alarm_and_a_note(line: LineLike) -> None:
    say = {"severity": "block", "code": "rude", "message": "That is rude.", "suggestion": "Say sorry."}
    await script(line.gateway, {"point": "on_own_post", "if_text": "idiot", "say": say})
    opener = line.x.post("rita", "@AcmeSupport my parcel is stuck")
    await line.settle()
    line.x.post("AcmeSupport", "Read the terms, idiot", in_reply_to=opener)
    line.x.post("AcmeSupport", "Great offers for every idiot!")
    await line.settle()
    alarms = await line.gateway.rows("SELECT severity, code, ticket_id, interaction_id FROM alarm")
    assert sorted((one["severity"], one["code"], one["ticket_id"] is not None) for one in alarms) == [
        ("critical", "rude", False),
        ("critical", "rude", True),
    ]
    assert any("That is rude." in one.body and not one.public for one in line.ticket(1).comments)
    own = await decisions(line.gateway, "on_own_post")
    assert [one["verdict"] for one in own] == ["block", "block"]
    await line.answer(1, "Our answer, idiot")
    assert len(await decisions(line.gateway, "on_own_post")) == 2, "what the gateway sent is not made elsewhere"


async def test_policies_are_asked_about_what_people_change(line: LineLike) -> None:
    await script(
        line.gateway, {"point": "on_ticket", "if_text": "solved", "say": {"effect": "add_tags", "tags": ["checked"]}}
    )
    line.x.post("rita", "@AcmeSupport my parcel is stuck")
    await line.settle()
    line.desk.set_status(1, "solved", "Ann")
    await line.desk.settle()
    await line.settle()
    changes = await decisions(line.gateway, "on_ticket")
    before = [one["case"]["ticket"].get("status", "new") for one in changes if one["case"]]
    assert before[0] == "new", "as it was before"
    assert "checked" in line.ticket(1).tags


async def test_too_much_held_for_manners_turns_them_to_warnings_and_back(make_line: Any) -> None:
    async with make_line(plugin_modules=(MODULE,), hold_least=2) as line:
        await put(line.gateway.runtime, "manners", name="kind")
        line.x.post("rita", "@AcmeSupport my parcel is stuck")
        await line.settle()
        runtime = line.gateway.runtime
        for number in range(2):
            await line.answer(1, f"nonsense {number}")
        assert line.published() == []
        await line.gateway.until(
            lambda: line.gateway.value("SELECT count(*) FROM tone_breaker WHERE reset_at IS NULL"), "the breaker trips"
        )
        assert await line.gateway.value("SELECT code FROM alarm") == "manners_only_warn"
        forget(runtime)
        await line.answer(1, "nonsense again")
        assert [text for text, _ in line.published()] == ["nonsense again"]
        last = (await decisions(line.gateway, "review_reply"))[-1]
        assert (last["verdict"], last["for_tone"], last["findings"][0]["was"]) == ("warn", True, "hold")
        await mind_breaker(runtime, runtime.now())
        assert await line.gateway.value("SELECT count(*) FROM tone_breaker WHERE reset_at IS NULL") == 1, (
            "it would hold"
        )
        await mind_breaker(runtime, runtime.now() + timedelta(hours=2))
        assert await line.gateway.value("SELECT count(*) FROM tone_breaker WHERE reset_at IS NULL") == 0


# --- a batch is a fold ---

FOLD = (
    {**inbound("outage", effect="open_incident", key="outage", title="t"), "unless_incident": "outage"},
    {**inbound("outage", effect="join_incident", key="outage"), "if_incident": "outage"},
    inbound("spam", effect="ignore", reason="spam"),
    inbound("first", effect="add_tags", tags=["first"]),
    {**inbound("", effect="set_priority", priority="high"), "if_tag": "first"},
    {**inbound("", effect="set_priority", priority="urgent"), "if_said": 2},
    {**inbound("", effect="set_fields", fields={"cause": "outage"}), "if_incident": "outage"},
    {**inbound("please", effect="make_promise", quote="we look"), "if_tag": "first"},
)
SAID = [
    ("rita", "first: where is it"),
    ("bob", "spam"),
    ("rita", "please"),
    ("bob", "I mean it, spam"),
    ("carol", "is there an outage"),
    ("bob", "outage here"),
    ("rita", "outage"),
    ("dave", "outage too"),
    ("carol", "and please"),
    ("bob", "first"),
    ("bob", "please"),
    ("rita", "still nothing"),
]


async def folded(url: str, folder: Path, batch: int) -> list[Any]:
    """What is decided about one conversation in batches of this size, without what differs from run to run."""
    SharedTime.create(folder / "time", at=datetime(2026, 3, 12, 11, 0, tzinfo=UTC), speed=0)
    options = {"plugin_modules": (MODULE,), "batch": batch, "time_file": folder / "time"}
    async with running(url, folder, worker=False, **options) as gateway:
        source = await gateway.add_connection("source", "inbound", {"signing_secrets": ["whsec_" + "A" * 43 + "="]})
        await script(gateway, *FOLD)
        rows = []
        for number, (who, text) in enumerate(SAID):
            data = {
                "external_id": f"{number:02}",
                "kind": "comment",
                "root": "root",
                "author": {"external_id": who, "handle": who},
                "text": text,
                "published_at": f"2026-03-12T10:{number:02}:00Z",
            }
            body = {"type": "interaction.created", "timestamp": "2026-03-12T10:00:00Z", "data": data}
            rows.append(json.dumps(body).encode())
        runtime = gateway.runtime
        sandbox = Sandbox(10.0, modules=[MODULE])
        try:
            await deliver(gateway, source, rows)
            drains = Drains(runtime, sandbox)
            for stage, table in (("inbox", "delivery"), ("thread", "revision")):
                # customers are spread over shards; here one drain has them all, in the order in which they wrote
                await gateway.execute("UPDATE revision SET shard = 0")
                # a drain gives its place to others after a while
                while await gateway.value(f"SELECT count(*) FROM {table} WHERE state = 'pending'"):
                    await drains.run(f"{stage}:0")
        finally:
            await asyncio.to_thread(sandbox.close)
        states = await gateway.rows("SELECT state, waits_for, reason FROM revision ORDER BY id")
        assert [row["state"] for row in states] == ["done"] * len(SAID), states
        found = await gateway.rows(
            """SELECT d.effects, d."case", i.external_id, i.text, i.ticket_id IS NOT NULL AS placed, r.reason
               FROM decision d JOIN interaction i ON i.id = d.thing_id JOIN revision r ON r.interaction_id = i.id
               WHERE d.point = 'on_interaction' ORDER BY i.external_id"""
        )
        tickets = await gateway.rows(
            """SELECT a.handle, t.priority, t.tags, t.fields FROM ticket t JOIN account a ON a.id = t.account_id
               ORDER BY a.handle"""
        )
        return [[steady(dict(row)) for row in found], [dict(row) for row in tickets]]


def steady(value: Any) -> Any:
    """Without ids, and without the names of texts that have ids in them."""
    if isinstance(value, dict):
        return {key: steady(one) for key, one in value.items() if key not in ("id", "ref")}
    return [steady(one) for one in value] if isinstance(value, list) else value


async def deliver(gateway: Gateway, source: Any, bodies: list[bytes]) -> None:
    """Store deliveries in one order, all for one shard, as the door would."""
    for number, body in enumerate(bodies):
        await gateway.execute(
            """INSERT INTO delivery (connection_id, role, origin, stream, method, query, headers, body, note, shard,
                   state, attempts, received_at)
               VALUES (:id, 'source', 'webhook', '', 'POST', '', '[]', :body, '{}', 0, 'pending', 0, :at)""",
            id=source,
            body=body,
            at=gateway.runtime.now() + timedelta(milliseconds=number),
        )


@pytest.mark.slow
async def test_any_partition_of_the_same_messages_gives_the_same_decisions(server_url: str, tmp_path: Path) -> None:  # noqa: F811
    found = []
    for batch in (1, 5, 500):
        async with fresh_database(server_url) as url:
            folder = tmp_path / str(batch)
            folder.mkdir()
            found.append(await folded(url, folder, batch))
    one_by_one, in_fives, at_once = found
    assert [row["reason"] for row in one_by_one[0]].count("ignored: spam") == 2
    assert any(row["reason"] and "counted under" in row["reason"] for row in one_by_one[0])
    for other in (in_fives, at_once):
        different = [differences(one, another) for one, another in zip(one_by_one[0], other[0], strict=True)]
        assert different == [[]] * len(SAID)
    assert one_by_one[1] == in_fives[1] == at_once[1]
