"""Answers that wait for a person, and the person's word: over REST and from inside the helpdesk."""

from __future__ import annotations

from datetime import timedelta
from itertools import pairwise
from typing import Any

from support.gateway import LOOPBACK
from support.openid import AUDIENCE, Provider
from support.plugins import MODULE

LineLike = Any


def marked(line: LineLike, number: int = 1) -> tuple[str, bool, str]:
    """How a ticket shows that an answer did not go out: status, tag, and the newest private note."""
    ticket = line.ticket(number)
    notes = [one.body for one in ticket.comments if not one.public]
    return ticket.status, "gw_held" in ticket.tags, notes[-1] if notes else ""


async def on_record(line: LineLike) -> list[tuple[Any, ...]]:
    """What agents have overridden: action, kind of actor, id, name and things, from the audit log."""
    rows = await line.gateway.rows(
        """SELECT action, actor_kind, actor_id, actor_name, things FROM audit_entry
           WHERE actor_kind = 'agent' ORDER BY seq"""
    )
    return [tuple(row.values()) for row in rows]


async def both_legs(line: LineLike) -> str:
    """Rita writes in public, then in private; the helpdesk has both."""
    post: str = line.x.post("rita", "@AcmeSupport my parcel is stuck")
    await line.settle()
    line.x.direct_message("rita", "AcmeSupport", "order 4711, mail rita@example.com")
    await line.settle()
    return post


async def test_what_only_the_private_leg_knows_waits_for_an_approval_from_inside_the_helpdesk(line: LineLike) -> None:
    post = await both_legs(line)
    comment = await line.answer(1, "We found 4711 for you!", tags=["reply:public"], status="solved")
    assert line.published() == []
    reply = await line.reply()
    assert (reply["state"], reply["code"]) == ("held", "private_only")
    status, tag, note = marked(line)
    assert (status, tag) == ("open", True)
    assert "4711" in note
    assert f"/approve {reply['digest'][:8]}" in note
    assert next(one for one in line.ticket(1).comments if one.id == comment).public is False
    # another text than was shown is not approved
    await line.answer(1, "/approve 00000000", public=False)
    assert "no such held answer" in marked(line)[2]
    await line.answer(1, f"/approve {reply['digest'][:8]}", public=False)
    assert line.published() == [("We found 4711 for you!", post)]
    reply = await line.reply()
    assert (reply["state"], reply["approved_by"]) == ("sent", "Ann")
    agent = f"{line.helpdesk}:{reply['author_id']}"
    assert await on_record(line) == [("approve_reply", "agent", agent, "Ann", [f"reply:{reply['id']}"])]
    assert "gw_held" not in line.ticket(1).tags
    assert len([one for one in line.ticket(1).comments if "NOT been published" in one.body]) == 1
    assert await line.gateway.value("SELECT count(*) FROM decision WHERE point = 'review_reply'") == 2


async def test_what_was_said_in_public_too_is_no_secret(line: LineLike) -> None:
    post = await both_legs(line)
    line.x.post("rita", "@AcmeSupport it is order 4711", in_reply_to=post)
    await line.settle()
    await line.answer(1, "We found 4711 for you!", tags=["reply:public"])
    assert [text for text, _ in line.published()] == ["We found 4711 for you!"]


async def test_a_tag_afterwards_says_which_leg_is_meant_and_another_approves(line: LineLike) -> None:
    post = line.x.post("rita", "@AcmeSupport my parcel is stuck")
    await line.settle()
    written = line.desk.time.now() - timedelta(seconds=1)
    line.x.direct_message("rita", "AcmeSupport", "hello, are you there")
    await line.settle()
    for number, tag in enumerate(("reply:public", "gw_approve")):
        line.desk.agent_comment(1, "Ann", f"We are on it {number}!", at=written)
        await line.settle()
        assert (await line.reply())["code"] == "newer_message"
        # only what an agent can have seen is approved by a tag
        line.desk.change(1, {"additional_tags": [tag]}, "Ann")
        await line.settle()
        line.desk.change(1, {"remove_tags": [tag]}, "Ann")
        await line.settle()
    assert line.published() == [("We are on it 0!", post), ("We are on it 1!", post)]
    assert "gw_approve" not in line.ticket(1).tags
    assert (await line.reply())["approved_by"] == "somebody who set the tag gw_approve"
    assert [(one[0], one[2], one[3]) for one in await on_record(line)] == [
        ("choose_leg", str(line.helpdesk), "somebody who set the tag for the public leg"),
        ("approve_reply", str(line.helpdesk), "somebody who set the tag gw_approve"),
    ]


async def test_four_eyes_are_two_people_by_whatever_name(make_line: Any) -> None:
    async with make_line(plugin_modules=(MODULE,)) as line, line.rest() as http:
        await line.put_in_force(second_person=True)
        line.x.post("rita", "@AcmeSupport my parcel is stuck")
        await line.settle()
        await line.answer(1, "We found it!")
        reply = await line.reply()
        assert (reply["state"], reply["code"]) == ("held", "wild")
        shown = (await http.get(f"/v1/replies/{reply['id']}")).json()
        assert [(one["name"], one["second_person"]) for one in shown["holding"]] == [("second-look@1:wild", True)]
        assert "somebody other than its author" in marked(line)[2]

        async def approve() -> tuple[int, str]:
            answer = await http.post(f"/v1/replies/{reply['id']}/approve", json={"digest": reply["digest"]})
            return answer.status_code, answer.json().get("detail", "")

        # a key that is nobody's, and the author's own
        assert (await approve())[0] == 409
        key = (await http.get("/v1/keys")).json()["items"][0]["id"]
        ann = {"name": "Ann", "keys": [key], "agents": [{"helpdesk": "zendesk", "id": reply["author_id"]}]}
        made = await http.post("/v1/people", json=ann)
        assert made.status_code == 201, made.text
        assert await approve() == (409, "It needs a second person: you wrote it yourself.")
        twice = await http.post("/v1/people", json={"name": "Bea", "keys": [key]})
        assert (twice.status_code, twice.json()["errors"][0]["field"]) == (422, "keys.0")
        # nor does the author's private note, nor a tag that anybody may have set
        await line.answer(1, "/approve", public=False)
        assert "you wrote it yourself" in marked(line)[2]
        line.desk.change(1, {"additional_tags": ["gw_approve"]}, "Bea")
        await line.settle()
        assert "needs a second person" in marked(line)[2]
        assert line.published() == []
        # another agent's does
        line.desk.agent_comment(1, "Bea", "/approve", public=False)
        await line.desk.settle()
        await line.settle()
        assert [text for text, _ in line.published()] == ["We found it!"]
        assert (await line.reply())["approved_by"] == "Bea"


async def test_tokens_are_people_for_four_eyes(make_line: Any) -> None:
    provider = Provider()
    async with provider.serve():
        openid = {
            "oidc_issuer": provider.url,
            "oidc_audience": (AUDIENCE,),
            "oidc_roles": {"leads": "approver"},
            "oidc_allow_private": tuple(LOOPBACK),
        }
        async with make_line(plugin_modules=(MODULE,), **openid) as line, line.rest() as http:
            await line.put_in_force(second_person=True)
            line.x.post("rita", "@AcmeSupport my parcel is stuck")
            await line.settle()

            def as_(subject: str, **claims: Any) -> dict[str, str]:
                return {"Authorization": f"Bearer {provider.token(subject, roles='leads', **claims)}"}

            async def approve(who: dict[str, str]) -> tuple[int, str]:
                reply = await line.reply()
                path = f"/v1/replies/{reply['id']}/approve"
                answer = await http.post(path, json={"digest": reply["digest"]}, headers=who)
                return answer.status_code, answer.json().get("detail", "")

            # written at the helpdesk: an unknown subject may be the very agent
            await line.answer(1, "We found it!")
            assert "nobody has said who" in (await approve(as_("bea")))[1]
            agent = [{"helpdesk": "zendesk", "id": (await line.reply())["author_id"]}]
            ann = {"name": "Ann", "agents": agent, "emails": ["ann@acme.test"]}
            bea = {"name": "Bea", "emails": ["bea@acme.test"]}
            for person in (ann, bea):
                assert (await http.post("/v1/people", json=person)).status_code == 201
            verified = {"email_verified": True}
            own = await approve(as_("a", email="ann@acme.test", **verified))
            assert own == (409, "It needs a second person: you wrote it yourself.")
            # an address that the provider does not vouch for proves nothing
            assert (await approve(as_("eve", email="bea@acme.test")))[0] == 409
            assert line.published() == []
            assert (await approve(as_("b", email="bea@acme.test", **verified)))[0] == 200
            await line.settle()
            assert [text for text, _ in line.published()] == ["We found it!"]

            # written with a token: another subject of the provider is somebody else, the same one is not
            ticket = (await http.get("/v1/tickets")).json()["items"][0]["id"]
            sent = await http.post(
                f"/v1/tickets/{ticket}/replies", json={"text": "It is on its way!"}, headers=as_("cy", name="Cy")
            )
            assert sent.status_code == 202, sent.text
            await line.settle()
            reply = await line.reply()
            assert (reply["state"], reply["author_id"]) == ("held", f"subject:{provider.url} cy")
            assert (await approve(as_("cy")))[0] == 409
            assert (await approve(as_("dee")))[0] == 200
            await line.settle()
            assert "It is on its way!" in [text for text, _ in line.published()]


async def test_a_rejection_in_a_private_note_is_told(line: LineLike) -> None:
    await both_legs(line)
    await line.answer(1, "We found 4711 for you!", tags=["reply:public"])
    await line.answer(1, "/reject do not name it", public=False)
    reply = await line.reply()
    assert (reply["state"], reply["reason"]) == ("cancelled", "rejected by Ann: do not name it")
    assert "do not name it" in marked(line)[2]
    assert line.published() == []


async def test_near_identical_answers_to_many_wait_for_one_word_and_go_out_paced(make_line: Any) -> None:
    async with make_line(mass_replies=3, mass_reply_pace=0.5) as line, line.rest() as http:
        for name in ("rita", "bob", "carol"):
            line.x.post(name, f"@AcmeSupport where is my parcel? {name}")
            await line.settle()
        text = "Hello {}, your parcel is late because our depot had no power on Friday. It comes tomorrow, we promise."
        await line.gateway.pause()
        for number, name in enumerate(("Rita", "Bob", "Carol"), 1):
            line.desk.agent_comment(number, "Ann", text.format(name))
            await line.desk.settle()
        # the third is one too many, and the two that had not left yet wait with it
        held = await line.until("held", 3)
        assert {one["code"] for one in held} == {"mass_reply"}
        await line.gateway.lift()
        await line.settle()
        assert line.published() == []
        [group] = (await http.get("/v1/replies/groups", params={"state": "held"})).json()["items"]
        assert (group["replies"], group["held"]) == (3, 3)
        shown = (await http.get(f"/v1/replies/groups/{group['id']}")).json()
        assert len(shown["members"]) == 3
        path = f"/v1/replies/groups/{group['id']}/approve"
        assert (await http.post(path, json={"digest": "other"})).status_code == 409
        answer = await http.post(path, json={"digest": shown["digest"]})
        assert (answer.status_code, answer.json()["state"]) == (200, "approved")
        await line.until("sent", 3)
        sent = await line.gateway.rows("SELECT started_at FROM reply ORDER BY started_at")
        gaps = [(b["started_at"] - a["started_at"]).total_seconds() for a, b in pairwise(sent)]
        assert min(gaps) >= 0.25, gaps
        assert (await http.post(path, json={"digest": shown["digest"]})).status_code == 409
        # the same words to one more go with the group; other words to many wait for a word of their own
        line.x.add_user("dora")
        line.x.post("dora", "@AcmeSupport and mine?")
        await line.settle()
        await line.answer(4, text.format("Rita"))
        await line.until("sent", 4)


async def test_a_group_that_is_rejected_goes_nowhere(make_line: Any) -> None:
    async with make_line(mass_replies=2) as line, line.rest() as http:
        for name in ("rita", "bob"):
            line.x.post(name, f"@AcmeSupport where is my parcel? {name}")
            await line.settle()
        await line.gateway.pause()
        for number in (1, 2):
            line.desk.agent_comment(number, "Ann", "Please write us a direct message")
            await line.desk.settle()
        await line.until("held", 2)
        await line.gateway.lift()
        [group] = (await http.get("/v1/replies/groups")).json()["items"]
        answer = await http.post(f"/v1/replies/groups/{group['id']}/reject", json={"reason": "write to each"})
        assert (answer.status_code, answer.json()["state"]) == (200, "rejected")
        await line.settle()
        assert line.published() == []
        assert all("write to each" in marked(line, number)[2] for number in (1, 2))
