"""Tickets with everything that was said, and what people may do about answers."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID, uuid4

import pytest

from gateway.db.tables.columns import new_id
from support.matters import START, Matter, insert, open_matter, open_ticket
from support.rest import Api


@pytest.fixture
async def matter(api: Api, name: str) -> Matter:
    """A matter of its own."""
    return await open_matter(api, name)


async def test_a_ticket_tells_everything_in_order(api: Api, matter: Matter) -> None:
    seen = await matter.reply("sent", minute=3, sent_at=START + timedelta(minutes=3), external_id="p1")
    await matter.say(3, "as it was published", direction="outbound", reply=seen)
    await matter.reply("sent", minute=2, sent_at=START + timedelta(minutes=2), external_id="p2", text="no echo yet")
    await matter.reply("held", minute=5)
    await matter.say(4, "thanks")
    note = {"author_id": "7", "author_name": "Ann", "text": "call back", "at": START + timedelta(minutes=1)}
    await insert(
        api, "note", id=new_id(), ticket_id=matter.ticket, helpdesk_id=matter.helpdesk, comment_id=str(uuid4()), **note
    )
    shown = (await api.http.get(f"/v1/tickets/{matter.ticket}")).json()
    assert (shown["subject"], shown["customer"], shown["source"]) == ("@rita: it broke", "@rita", "shout")
    assert [(one["entry"], one["who"], one["text"], one["state"]) for one in shown["timeline"]] == [
        ("interaction", "customer", "it broke", None),
        ("note", "agent", "call back", None),
        ("reply", "agent", "no echo yet", "sent"),
        ("interaction", "agent", "as it was published", None),
        ("interaction", "customer", "thanks", None),
        ("reply", "agent", "reply held", "held"),
    ]


async def test_a_ticket_tells_what_was_merged_into_it(api: Api, matter: Matter) -> None:
    [row] = await api.rows("SELECT customer_id FROM ticket WHERE id = :id", id=matter.ticket)
    merged = await open_ticket(
        api,
        matter.source,
        matter.helpdesk,
        matter.account,
        row["customer_id"],
        merged_into=matter.ticket,
        ended="merged",
    )
    await matter.say(-5, "from the other ticket", ticket=merged)
    shown = (await api.http.get(f"/v1/tickets/{matter.ticket}")).json()
    assert [one["text"] for one in shown["timeline"]] == ["from the other ticket", "it broke"]
    answer = await api.http.post(f"/v1/tickets/{merged}/replies", json={"text": "hello"})
    assert (answer.status_code, str(matter.ticket) in answer.json()["detail"]) == (409, True)


async def test_tickets_are_found_by_what_they_are(api: Api, matter: Matter) -> None:
    await api.execute("UPDATE ticket SET problem = 'retry: away' WHERE id = :id", id=matter.ticket)

    async def found(**params: str) -> list[str]:
        answer = await api.http.get("/v1/tickets", params={"helpdesk": str(matter.helpdesk), **params})
        return [one["id"] for one in answer.json()["items"]]

    here = [str(matter.ticket)]
    assert await found() == await found(problem="true") == await found(status="open") == here
    assert await found(external_id=here[0]) == here
    assert await found(problem="false") == await found(status="solved") == []
    messages = await api.http.get("/v1/interactions", params={"ticket": here[0]})
    assert [one["text"] for one in messages.json()["items"]] == ["it broke"]
    shown = (await api.http.get(f"/v1/interactions/{matter.message}")).json()
    assert (shown["author"]["handle"], shown["data"], shown["history"]) == ("rita", {"text": "it broke"}, [])


async def test_an_answer_over_rest_waits_to_be_decided(api: Api, matter: Matter) -> None:
    body = {"text": "we are on it", "visibility": "public", "interaction": str(matter.message)}
    answer = await api.http.post(f"/v1/tickets/{matter.ticket}/replies", json=body)
    assert (answer.status_code, answer.json()["state"]) == (202, "received")
    row = await matter.state(UUID(answer.json()["id"]))
    assert (row["text"], row["leg"], row["interaction_id"]) == ("we are on it", "public", matter.message)
    assert (row["author_name"], row["comment_id"], row["connection_id"]) == ("first key", None, matter.source)
    assert row["not_after"] > row["written_at"]
    # agents read of it in the helpdesk
    assert await api.woken() == {f"reply:{matter.source}", f"push:{matter.helpdesk}"}


async def test_an_answer_repeated_under_its_key_is_one_answer_even_after_a_crash(api: Api, matter: Matter) -> None:
    headers = {"Idempotency-Key": str(uuid4())}
    path = f"/v1/tickets/{matter.ticket}/replies"
    first = await api.http.post(path, json={"text": "once"}, headers=headers)
    again = await api.http.post(path, json={"text": "once"}, headers=headers)
    assert (again.json(), again.headers["idempotency-replayed"]) == (first.json(), "true")
    # the process died after it wrote the reply and before it kept the answer; the claim has run out since
    await api.execute(
        """UPDATE idempotent_answer SET status = 0, body = NULL, created_at = created_at - interval '1 hour'
           WHERE key = :key""",
        key=headers["Idempotency-Key"],
    )
    third = await api.http.post(path, json={"text": "once"}, headers=headers)
    assert third.json() == first.json()
    assert await api.value("SELECT count(*) FROM reply WHERE ticket_id = :id", id=matter.ticket) == 1
    assert await api.value("SELECT count(*) FROM push WHERE ticket_id = :id", id=matter.ticket) == 1


async def test_what_cannot_be_answered_is_named(api: Api, matter: Matter) -> None:
    own = await matter.say(1, "our own post", direction="outbound")
    path = f"/v1/tickets/{matter.ticket}/replies"
    for body, field in (
        ({"text": ""}, "text"),
        ({"text": "a\x00b"}, "text"),
        ({"text": "x", "visibility": "secret"}, "visibility"),
        ({"text": "x", "interaction": str(uuid4())}, "interaction"),
        ({"text": "x", "interaction": str(own)}, "interaction"),
    ):
        answer = await api.http.post(path, json=body)
        assert (answer.status_code, [one["field"] for one in answer.json()["errors"]]) == (422, [field])
    missing = await api.http.post(f"/v1/tickets/{uuid4()}/replies", json={"text": "x"})
    assert missing.status_code == 404
    assert await api.value("SELECT count(*) FROM reply WHERE ticket_id = :id", id=matter.ticket) == 0


async def test_an_approval_is_bound_to_what_was_looked_at(api: Api, matter: Matter) -> None:
    held = await matter.reply("held", digest="d1", code="policy", rendered={"text": "as rendered"})
    wrong = await matter.do(held, "approve", digest="d0")
    assert (wrong.status_code, wrong.json()["errors"][0]["field"]) == (409, "digest")
    before = datetime.now(UTC)
    approved = await matter.do(held, "approve", digest="d1")
    assert (approved.status_code, approved.json()["state"]) == (200, "received")
    assert approved.json()["approved_by"] == "first key"
    row = await matter.state(held)
    assert (row["approved_digest"], row["code"]) == ("d1", None)
    assert row["not_after"] > before  # it was too old to go out unconfirmed; now it is confirmed
    assert await api.woken() == {f"reply:{matter.source}"}
    assert (await matter.do(held, "approve", digest="d1")).status_code == 409


async def test_of_several_who_decide_at_once_somebody_is_told_so(matter: Matter) -> None:
    held = await matter.reply("held", digest="d1", code="policy")
    answers = await asyncio.gather(
        matter.do(held, "approve", digest="d1"), matter.do(held, "reject"), matter.do(held, "cancel")
    )
    # a cancellation may still overtake an approval, but nothing undoes a cancellation
    states = {answer.json()["state"] for answer in answers if answer.status_code == 200}
    assert sum(answer.status_code == 409 for answer in answers) >= 1
    assert (await matter.state(held))["state"] in states


async def test_a_rejection_is_told_to_the_agent(api: Api, matter: Matter) -> None:
    held = await matter.reply("held", helpdesk_id=matter.helpdesk, comment_id=str(uuid4()))
    rejected = await matter.do(held, "reject", reason="too harsh")
    assert (rejected.json()["state"], rejected.json()["code"]) == ("cancelled", "rejected")
    assert rejected.json()["reason"] == "rejected by first key: too harsh"
    [push] = await api.rows("SELECT payload, state FROM push WHERE ticket_id = :id", id=matter.ticket)
    assert "rejected by first key: too harsh" in push["payload"]["text"]
    assert push["payload"]["status"] == "open"
    assert await api.woken() == {f"push:{matter.helpdesk}"}


@pytest.mark.parametrize(
    ("state", "code", "possible"),
    [
        ("received", None, {"cancel"}),
        ("queued", None, {"cancel"}),
        ("held", "policy", {"approve", "reject", "cancel"}),
        ("held", "target_deleted", {"reject", "cancel"}),
        ("blocked", "too_long", {"reject", "cancel"}),
        ("sending", None, set()),
        ("unknown", "interrupted", set()),
        ("unknown", "needs_person", {"cancel"}),
        ("sent", None, {"retract"}),
        ("failed", "rejected", set()),
        ("cancelled", "cancelled", set()),
        ("retracted", None, set()),
    ],
)
async def test_each_state_allows_what_makes_sense(
    api: Api, matter: Matter, state: str, code: str | None, possible: set[str]
) -> None:
    for action in ("approve", "reject", "cancel", "retract"):
        sent: dict[str, Any] = {"external_id": "p1", "sent_at": START} if state == "sent" else {}
        reply = await matter.reply(state, code=code, **sent)
        answer = await matter.do(reply, action)
        assert answer.status_code == (200 if action in possible else 409), (action, answer.text)
        after = await matter.state(reply)
        if action not in possible:
            assert (after["state"], after["code"]) == (state, code)
        listed = await api.http.get("/v1/replies", params={"ticket": str(matter.ticket), "state": after["state"]})
        assert str(reply) in [one["id"] for one in listed.json()["items"]]


@pytest.mark.parametrize(("mood", "status"), [("well", 200), ("rejected", 502), ("unknown", 504), ("retry", 503)])
async def test_a_retraction_is_what_the_source_says_it_is(api: Api, matter: Matter, mood: str, status: int) -> None:
    await api.http.patch(f"/v1/connections/{matter.source}", json={"config": {"mood": mood}})
    sent = await matter.reply("sent", external_id="p1", sent_at=START)
    answer = await matter.do(sent, "retract")
    assert answer.status_code == status
    assert (await matter.state(sent))["state"] == ("retracted" if status == 200 else "sent")
    shown = (await api.http.get(f"/v1/replies/{sent}")).json()
    assert [one["kind"] for one in shown["attempts"]] == ["retract"]


async def test_decisions_are_found_by_what_they_are_about(api: Api, matter: Matter) -> None:
    reply = await matter.reply("blocked")
    policies = new_id()
    await insert(api, "policy_set", id=policies, digest=str(policies), members=[], created_at=START)
    finding = {"policy": "p", "severity": "block", "code": "x", "message": "no"}
    await insert(
        api,
        "decision",
        point="review_reply",
        thing_id=reply,
        revision="d1",
        ticket_id=matter.ticket,
        policy_set_id=policies,
        verdict="block",
        findings=[finding],
        at=START,
    )
    for query in ({"thing": str(reply)}, {"ticket": str(matter.ticket), "verdict": "block"}):
        [one] = (await api.http.get("/v1/decisions", params=query)).json()["items"]
        assert (one["verdict"], one["findings"]) == ("block", [finding])
    assert [one["verdict"] for one in (await api.http.get(f"/v1/replies/{reply}")).json()["decisions"]] == ["block"]
    explained = (await api.http.get(f"/v1/tickets/{matter.ticket}/explain")).json()
    assert [one["thing_id"] for one in explained["decisions"]] == [str(reply)]
