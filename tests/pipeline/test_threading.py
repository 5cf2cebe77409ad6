"""One matter with one customer is one ticket, whatever customers do."""

from __future__ import annotations

import asyncio
from datetime import timedelta
from typing import Any

import pytest

from gateway.pipeline import inbox
from gateway_schemas.testing.twin import Fault

LineLike = Any


async def test_a_complaint_becomes_a_ticket_and_its_answer_goes_back_once(line: LineLike) -> None:
    post = line.x.post("rita", "@AcmeSupport my parcel is stuck")
    await line.settle()
    assert line.comments(1) == ["@AcmeSupport my parcel is stuck"]
    requester = line.desk.desk.people.all[line.ticket(1).requester_id]
    assert requester.email is None
    assert requester.external_id == f"x:{line.x.state.user('rita').id}"

    await line.answer(1, "Sorry Rita, we are looking for it.")
    assert line.published() == [("Sorry Rita, we are looking for it.", post)]
    reply = await line.reply()
    assert (reply["state"], reply["visibility"]) == ("sent", "public")
    assert len(line.ticket(1).comments) == 2, "the echo of our own answer is no comment"


async def test_each_commenter_under_a_brand_post_is_a_matter_of_their_own(line: LineLike) -> None:
    own = line.x.post("AcmeSupport", "We deliver on Sundays now!")
    line.x.post("rita", "@AcmeSupport not to me", in_reply_to=own)
    line.x.post("bob", "@AcmeSupport nor me", in_reply_to=own)
    await line.settle()
    assert sorted(line.comments(number)[0] for number in line.desk.tickets) == [
        "@AcmeSupport nor me",
        "@AcmeSupport not to me",
    ]
    assert all("We deliver on Sundays now!" in line.comments(number)[1] for number in line.desk.tickets)
    tickets = await line.gateway.rows("SELECT linked_to FROM ticket")
    assert [row["linked_to"] for row in tickets] == [None, None]


async def test_a_bystander_who_addresses_the_brand_gets_a_linked_ticket(line: LineLike) -> None:
    post = line.x.post("rita", "@AcmeSupport my parcel is stuck")
    await line.settle()
    line.x.post("bob", "@AcmeSupport mine too!", in_reply_to=post)
    await line.settle()
    assert len(line.desk.tickets) == 2
    linked = await line.gateway.rows("SELECT id, linked_to FROM ticket ORDER BY created_at")
    assert linked[1]["linked_to"] == linked[0]["id"]
    assert any("Joined the conversation of @rita" in text for text in line.comments(2))


async def test_a_direct_message_joins_the_open_matter(line: LineLike) -> None:
    line.x.post("rita", "@AcmeSupport my parcel is stuck")
    await line.settle()
    line.x.direct_message("rita", "AcmeSupport", "it is order 4711")
    await line.settle()
    assert len(line.desk.tickets) == 1
    assert line.comments(1)[1] == "[direct message]\nit is order 4711"

    await asyncio.sleep(1.1)  # the helpdesk tells time in seconds, and no agent answers within one
    await line.answer(1, "Thank you, found it.")
    assert line.published() == [], "the last message was private, and so is the answer"
    sent = [effect for effect in line.x.ledger if "Thank you, found it." in str(effect.data)]
    assert len(sent) == 1


async def test_an_opener_that_nobody_told_us_of_is_fetched_and_comes_first(line: LineLike) -> None:
    opener = line.x.post("rita", "Third day without my parcel.")
    middle = line.x.post("rita", "And nobody answers the phone", in_reply_to=opener)
    line.x.post("rita", "@AcmeSupport anybody there?", in_reply_to=middle)
    await line.settle()
    assert line.comments(1) == [
        "Third day without my parcel.",
        "And nobody answers the phone",
        "@AcmeSupport anybody there?",
    ]


async def test_a_conversation_longer_than_is_fetched_is_one_ticket_that_links_to_the_rest(make_line: Any) -> None:
    async with make_line(ancestor_depth=2) as line:
        post = line.x.post("rita", "message 0")
        for number in range(1, 12):
            post = line.x.post("rita", f"message {number}", in_reply_to=post)
        line.x.post("rita", "@AcmeSupport anybody there?", in_reply_to=post)
        await line.settle()
        assert len(line.desk.tickets) == 1
        told = " ".join(comment.body for comment in line.ticket(1).comments)
        fetched = [number for number in range(12) if f"message {number}\n" in told]
        assert 2 <= len(fetched) < 12, "some of the conversation was fetched, and not all of it"
        assert fetched == list(range(fetched[0], 12))
        assert "https://x.com/" in line.ticket(1).comments[0].body
        assert told.count("@AcmeSupport anybody there?") == 1
        assert await line.gateway.value("SELECT count(*) FROM wanted") <= 3
        line.x.post("rita", "@AcmeSupport hello??", in_reply_to=post)
        await line.settle()
        assert len(line.desk.tickets) == 1


async def test_an_answer_given_on_x_itself_makes_a_matter_of_what_it_answers(line: LineLike) -> None:
    opener = line.x.post("rita", "My parcel from Acme never came.")
    line.x.post("AcmeSupport", "Oh no! Could you DM us?", in_reply_to=opener)
    await line.settle()
    assert line.comments(1)[0] == "My parcel from Acme never came."
    assert "answered directly on x" in line.comments(1)[1]
    assert not line.ticket(1).comments[1].public


async def test_an_answer_given_on_x_is_a_matter_also_when_what_it_answers_comes_late(make_line: Any) -> None:
    async with make_line(ancestor_wait=0.5) as line:
        line.x.faults.append(Fault("status_before", path="/2/tweets$", method="GET", status=503, times=3))
        opener = line.x.post("rita", "My parcel from Acme never came.")
        line.x.post("AcmeSupport", "Oh no! Could you DM us?", in_reply_to=opener)
        await line.settle(40)
        assert line.comments(1)[0] == "My parcel from Acme never came."
        assert "answered directly on x" in line.comments(1)[1]
        assert len(line.desk.tickets) == 1


async def test_twice_and_in_any_order_is_once_and_in_order(line: LineLike) -> None:
    line.x.webhooks.duplicate = 1.0
    line.x.webhooks.delay = 0.2
    first = line.x.post("rita", "@AcmeSupport one")
    second = line.x.post("rita", "@AcmeSupport two", in_reply_to=first)
    line.x.post("rita", "@AcmeSupport three", in_reply_to=second)
    await line.settle()
    assert len(line.desk.tickets) == 1
    assert sorted(line.comments(1)) == ["@AcmeSupport one", "@AcmeSupport three", "@AcmeSupport two"]
    timeline = await line.gateway.rows("SELECT text FROM interaction ORDER BY published_at, external_id")
    assert [row["text"] for row in timeline] == ["@AcmeSupport one", "@AcmeSupport two", "@AcmeSupport three"]


async def test_an_edit_is_a_revision_and_a_comment(line: LineLike) -> None:
    post = line.x.post("rita", "@AcmeSupport my parcle")
    await line.settle()
    line.x.edit(post, "@AcmeSupport my parcel")
    await line.settle()
    assert len(line.desk.tickets) == 1
    assert line.comments(1) == ["@AcmeSupport my parcle", "[edited]\n@AcmeSupport my parcel"]
    assert await line.gateway.value("SELECT count(*) FROM revision") == 2
    assert await line.gateway.value("SELECT text FROM interaction") == "@AcmeSupport my parcel"


async def test_a_new_message_reopens_a_solved_ticket_and_follows_up_a_closed_one(line: LineLike) -> None:
    post = line.x.post("rita", "@AcmeSupport my parcel is stuck")
    await line.settle()
    line.desk.set_status(1, "solved", "Ann")
    await line.desk.settle()
    await line.settle()
    line.x.post("rita", "@AcmeSupport still stuck", in_reply_to=post)
    await line.settle()
    assert line.ticket(1).status == "open"

    line.desk.set_status(1, "solved", "Ann")
    line.desk.close(1)
    line.x.post("rita", "@AcmeSupport and again", in_reply_to=post)
    await line.settle()
    assert len(line.desk.tickets) == 2
    assert line.comments(2) == ["@AcmeSupport and again"]
    rows = await line.gateway.rows("SELECT id, followup_of, ended FROM ticket ORDER BY created_at")
    assert rows[1]["followup_of"] == rows[0]["id"]
    assert rows[0]["ended"] == "closed"


async def test_a_merge_by_a_person_is_followed(line: LineLike) -> None:
    line.x.post("rita", "@AcmeSupport first thing")
    await line.settle()
    second = line.x.post("rita", "@AcmeSupport second thing")
    await line.settle()
    line.desk.merge(2, 1, "Ann")
    await line.desk.settle()
    await line.settle()
    line.x.post("rita", "@AcmeSupport more on the second", in_reply_to=second)
    await line.settle()
    assert len(line.desk.tickets) == 2
    assert "@AcmeSupport more on the second" in line.comments(1)
    assert line.published() == [], "the comment that a merge writes is no answer"


async def test_a_merge_into_somebody_elses_ticket_is_followed_and_its_answers_come_back(line: LineLike) -> None:
    first = line.x.post("rita", "@AcmeSupport first thing")
    await line.settle()
    other, _ = line.desk.desk.create({"comment": {"body": "the same by mail"}}, line.desk.api_user)
    line.desk.merge(1, other.id, "Ann")
    await line.desk.settle()
    await line.settle()
    assert "gateway" in line.ticket(other.id).tags
    await line.answer(other.id, "Found it!")
    assert line.published() == [("Found it!", first)]


async def test_a_ticket_deleted_by_a_person_stays_deleted(line: LineLike) -> None:
    post = line.x.post("rita", "@AcmeSupport my parcel is stuck")
    await line.settle()
    line.desk.delete(1, "Ann")
    line.x.post("rita", "@AcmeSupport hello?", in_reply_to=post)
    await line.settle()
    assert len(line.desk.tickets) == 2
    assert line.comments(2) == ["@AcmeSupport hello?"]


@pytest.mark.parametrize("ending", ["deleted", "closed"])
async def test_that_an_answer_was_held_opens_no_ticket_in_place_of_one_that_a_person_deleted(
    line: LineLike, ending: str
) -> None:
    """In place of a closed one it does: the agent who answered and closed is to know."""
    line.x.post("rita", "@AcmeSupport my parcel is stuck")
    await line.settle()
    written = line.desk.time.now() - timedelta(seconds=1)
    line.x.direct_message("rita", "AcmeSupport", "my address is 5 Elm Street")
    await line.settle()
    await line.pause_helpdesk()
    line.desk.agent_comment(1, "Ann", "On its way to 5 Elm Street!", at=written)
    await line.desk.settle()
    await line.until("held")
    if ending == "deleted":
        line.desk.delete(1, "Ann")
    else:
        line.desk.close(1)
    await line.resume_helpdesk()
    await line.settle()
    assert list(line.desk.tickets) == ([1] if ending == "deleted" else [1, 2])
    assert line.published() == []


async def test_the_brands_own_posts_open_nothing(line: LineLike) -> None:
    line.x.post("AcmeSupport", "Happy Friday!")
    await line.settle()
    assert line.desk.tickets == {}
    assert await line.gateway.value("SELECT direction FROM interaction") == "outbound"


async def test_a_batch_that_is_overtaken_again_and_again_waits_for_the_next_tick(
    line: LineLike, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nobody turns round in a circle with a database connection in hand."""
    written, seen = inbox._write_plan, []

    async def overtaken(*given: Any) -> set[str]:
        seen.append(len(seen))
        if len(seen) <= inbox.TRIES + 2:
            raise inbox.Overtaken
        return await written(*given)

    monkeypatch.setattr(inbox, "_write_plan", overtaken)
    line.x.post("rita", "@AcmeSupport my parcel is stuck")
    await line.settle()
    assert len(seen) == inbox.TRIES + 3
    assert line.comments(1) == ["@AcmeSupport my parcel is stuck"]
