"""What agents do at the helpdesk, and what of it goes out."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest

from gateway_schemas.testing.twin import Fault

LineLike = Any


async def complaint(line: LineLike, text: str = "@AcmeSupport my parcel is stuck") -> str:
    post: str = line.x.post("rita", text)
    await line.settle()
    return post


@pytest.mark.parametrize("via", ["rule", "api", "mail", "bulk"])
async def test_what_no_person_wrote_in_the_composer_is_not_published(line: LineLike, via: str) -> None:
    await complaint(line)
    await line.answer(1, "Your ticket was updated.", via=via)
    assert line.published() == []


async def test_private_notes_are_recorded_and_never_published(line: LineLike) -> None:
    await complaint(line)
    await line.answer(1, "the depot says it is lost", public=False)
    assert line.published() == []
    assert await line.gateway.value("SELECT text FROM note") == "the depot says it is lost"
    assert await line.gateway.value("SELECT count(*) FROM reply") == 0


async def test_too_long_goes_back_with_the_limit_named(line: LineLike) -> None:
    await complaint(line)
    comment = await line.answer(1, "word " * 80, status="solved")
    assert line.published() == []
    ticket = line.ticket(1)
    assert ticket.status == "open", "no ticket stays solved with an unpublished reply"
    assert "gw_blocked" in ticket.tags
    note = ticket.comments[-1]
    assert not note.public
    assert "of at most 280" in note.body
    assert next(one for one in ticket.comments if one.id == comment).public is False
    assert len([one for one in ticket.comments if "NOT been published" in one.body]) == 1


async def test_a_refusal_by_the_source_reaches_the_agent(make_line: Any) -> None:
    async with make_line(tier="self_serve") as line:
        opener = line.x.post("rita", "No parcel today either")
        line.x.post("AcmeSupport", "Hm?", in_reply_to=opener)
        await line.settle()
        await line.answer(1, "Hello Rita, may we help?")
        reply = await line.reply()
        assert (reply["state"], reply["code"]) == ("failed", "not_summoned")
        assert "gw_failed" in line.ticket(1).tags
        assert any("could not be published" in one.body and not one.public for one in line.ticket(1).comments)


async def test_a_deleted_message_holds_its_answer(line: LineLike) -> None:
    post = await complaint(line)
    await line.gateway.pause()
    line.desk.agent_comment(1, "Ann", "We found it!")
    await line.desk.settle()

    async def queued() -> bool:
        return (await line.gateway.value("SELECT state FROM reply")) == "queued"

    await line.gateway.until(queued, "the answer is queued")
    await line.gateway.execute("UPDATE interaction SET deleted_at = now() WHERE external_id = :id", id=post)
    await line.gateway.lift()
    await line.settle()
    assert line.published() == []
    reply = await line.reply()
    assert (reply["state"], reply["code"]) == ("held", "target_deleted")
    assert "gw_held" in line.ticket(1).tags


async def test_a_newer_message_means_deciding_again(line: LineLike) -> None:
    post = await complaint(line)
    await line.gateway.pause()
    line.desk.agent_comment(1, "Ann", "We found it!")
    await line.desk.settle()

    async def queued() -> bool:
        return (await line.gateway.value("SELECT state FROM reply")) == "queued"

    await line.gateway.until(queued, "the answer is queued")
    line.x.post("rita", "@AcmeSupport never mind, it came", in_reply_to=post)
    await line.x.settle()

    async def heard() -> bool:
        return (await line.gateway.value("SELECT count(*) FROM interaction WHERE ticket_id IS NOT NULL")) == 2

    await line.gateway.until(heard, "the second message is threaded")
    await line.gateway.lift()
    await line.settle()
    assert line.published() == [("We found it!", post)]
    assert await line.gateway.value("SELECT count(*) FROM decision WHERE point = 'review_reply'") == 2


async def test_an_answer_written_before_a_private_message_came_in_is_held(line: LineLike) -> None:
    await complaint(line)
    written = line.desk.time.now() - timedelta(seconds=1)
    line.x.direct_message("rita", "AcmeSupport", "my address is 5 Elm Street")
    await line.settle()
    line.desk.agent_comment(1, "Ann", "On its way to 5 Elm Street!", at=written)
    await line.desk.settle()
    await line.settle()
    assert line.published() == []
    reply = await line.reply()
    assert (reply["state"], reply["code"]) == ("held", "newer_message")


async def test_an_answer_in_the_second_in_which_a_public_message_came_is_held(line: LineLike) -> None:
    post = await complaint(line)
    line.x.direct_message("rita", "AcmeSupport", "my address is 5 Elm Street")
    await line.settle()
    line.x.post("rita", "@AcmeSupport hello?", in_reply_to=post)
    await line.settle()
    comments = line.ticket(1).comments
    await line.answer(1, "On its way to 5 Elm Street!", at=comments[-1].created_at)
    assert line.published() == []
    assert (await line.reply())["code"] == "newer_message"


async def test_an_explicit_leg_wins(line: LineLike) -> None:
    post = await complaint(line)
    line.x.direct_message("rita", "AcmeSupport", "order 4711")
    await line.settle()
    await line.answer(1, "All sorted, thank you Rita!", tags=["reply:public"])
    assert line.published() == [("All sorted, thank you Rita!", post)]


@pytest.mark.parametrize("kind", ["status_after", "drop_after", "timeout_after"])
async def test_an_answer_whose_outcome_is_unknown_is_asked_after_and_not_repeated(line: LineLike, kind: Any) -> None:
    await complaint(line)
    line.x.faults.append(Fault(kind, path="/2/tweets$", method="POST", status=500, seconds=6, times=1))
    await line.answer(1, "We found it!")
    assert [text for text, _ in line.published()] == ["We found it!"]
    assert (await line.reply())["state"] == "sent"


@pytest.mark.parametrize("kind", ["status_after", "drop_after", "timeout_after"])
@pytest.mark.parametrize("path", ["/api/v2/tickets(.json)?$", "/api/v2/tickets/1(.json)?$"])
async def test_a_ticket_or_comment_whose_outcome_is_unknown_is_there_once(line: LineLike, kind: Any, path: str) -> None:
    line.desk.faults.append(Fault(kind, path=path, method="POST|PUT", status=502, seconds=6, times=1))
    post = await complaint(line)
    line.x.post("rita", "@AcmeSupport hello?", in_reply_to=post)
    await line.settle(30)
    assert len(line.desk.tickets) == 1
    assert line.comments(1) == ["@AcmeSupport my parcel is stuck", "@AcmeSupport hello?"]


async def test_an_answer_on_a_ticket_whose_number_is_not_known_yet_is_not_lost(line: LineLike) -> None:
    """Its creation is still to be answered, or its outcome unknown, and the helpdesk tells of an agent's answer."""
    line.desk.faults.append(
        Fault("timeout_after", path="/api/v2/tickets(.json)?$", method="POST", status=502, seconds=2)
    )
    post = line.x.post("rita", "@AcmeSupport my parcel is stuck")

    async def there() -> bool:
        return bool(line.desk.tickets)

    await line.gateway.until(there, "the ticket is at the helpdesk")
    line.desk.agent_comment(1, "Ann", "We found it!")

    async def read() -> Any:
        return await line.gateway.value("SELECT count(*) FROM delivery WHERE origin = 'fetch' AND state <> 'pending'")

    await line.gateway.until(read, "what the agent did was read")
    assert await line.gateway.value("SELECT external_id FROM ticket") is None
    await line.settle()
    assert line.published() == [("We found it!", post)]
    assert line.comments(1) == ["@AcmeSupport my parcel is stuck", "We found it!"]
    fetches = await line.gateway.value("SELECT count(*) FROM delivery WHERE role = 'helpdesk' AND origin = 'fetch'")
    assert fetches < 10, "it is asked for now and then, not all the time"
