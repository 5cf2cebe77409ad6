"""What agents do, as webhooks, fetches and polls bring it back."""

from __future__ import annotations

from typing import Any

import pytest

from gateway_schemas.errors import Gone, Reauthorise, Rejected, Retry
from gateway_schemas.interaction import Ignored, Wanted
from gateway_schemas.ticket import AgentNote, AgentReply, OwnComment, TicketChanged
from gateway_schemas.webhook import RawDelivery


def only(news: list[Any], kind: type) -> list[Any]:
    return [one for one in news if isinstance(one, kind)]


async def test_an_answer_comes_by_a_signed_webhook(desk: Any) -> None:
    await desk.installed()
    ticket = await desk.created()
    assert desk.hooks() == []  # a ticket's creation tells nothing that we do not know
    desk.twin.agent_note(ticket, "Ada", "We are sorry.\nIt comes.", tags=["reply:private"])
    assert {one.ref for one in only(desk.hooks(), Wanted)} == {str(ticket)}
    news = await desk.read(ticket)
    (reply,) = only(news, AgentReply)
    assert (reply.text, reply.origin, reply.leg) == ("We are sorry.\nIt comes.", "composer", "private")
    assert (reply.author.name, reply.author.email) == ("Ada", "ada@acme.example")
    assert only(news, OwnComment)[0].key == "k1-c"
    assert news[-1].tags == ("gateway", "reply:private")


async def test_our_own_writing_is_no_news(desk: Any) -> None:
    await desk.installed()
    ticket = await desk.created()
    await desk.told(ticket, "m")
    await desk.push(desk.change("s", [], external_id=str(ticket), status="open", add_tags=("a",)))
    assert all(isinstance(one, Ignored) for one in desk.hooks())


async def test_a_state_alone_is_told(desk: Any) -> None:
    await desk.installed()
    ticket = await desk.created()
    desk.twin.close(ticket, "Ada")
    assert only(desk.hooks(), Wanted)
    assert (await desk.read(ticket))[-1].status == "solved"


async def test_what_is_not_ours_calls_nobody(desk: Any) -> None:
    await desk.installed()
    other = desk.twin.desk.create(
        {"title": "mail", "group": "Users", "customer_id": "guess:ann@else.example", "article": {"body": "x"}},
        desk.twin.api_user,
    )
    desk.twin.agent_note(other.id, "Ada", "Hello Ann")
    assert desk.hooks() == []
    assert all(isinstance(one, Ignored) for one in await desk.read(other.id))


async def test_notes_mails_and_rules_are_told_apart(desk: Any) -> None:
    ticket = await desk.created()
    desk.twin.agent_note(ticket, "Ada", "inside", public=False)
    desk.twin.agent_mail(ticket, "Ada", "by mail")
    desk.twin.customer_reply(ticket, "in the portal")
    desk.twin.agent_note(ticket, desk.twin.api_user.id, "a script")
    desk.twin.agent_note(ticket, "Ada", "a call", kind="phone")
    desk.twin.add_trigger(
        "thanks",
        {"ticket.action": {"operator": "is", "value": "update"}},
        {"article.note": {"body": "Thanks!", "internal": "false"}},
    )
    desk.twin.set_state(ticket, "open", "Ada")
    news = await desk.read(ticket)
    assert [one.text for one in only(news, AgentNote)] == ["inside"]
    assert [(one.text, one.origin) for one in only(news, AgentReply)] == [
        ("by mail", "email"),
        ("a script", "api"),
        ("a call", "api"),
        ("Thanks!", "rule"),
    ]


async def test_a_merge_publishes_nothing_and_is_followed(desk: Any) -> None:
    await desk.installed()
    first, second = await desk.created("a"), await desk.created("b")
    answer = desk.twin.agent_note(first, "Ada", "Known already")
    desk.hooks()
    desk.twin.merge(first, second, "Ada")
    assert {one.ref for one in only(desk.hooks(), Wanted)} == {str(first)}
    news = await desk.read(first)
    assert [(one.text, one.origin) for one in only(news, AgentReply)] == [("merged", "merge")]
    assert news[-1].merged_into == str(second)
    # what moved keeps its id, by which it is known
    assert [one.external_id for one in only(await desk.read(second), AgentReply)] == [str(answer)]


async def test_an_answer_made_internal_is_taken_back(desk: Any) -> None:
    ticket = await desk.created()
    note = desk.twin.agent_note(ticket, "Ada", "Wrong window")
    desk.time.pass_by(minutes=1)
    desk.twin.make_internal(note, "Ada")
    (reply,) = only(await desk.read(ticket), AgentReply)
    assert (reply.public, reply.revision) == (False, "2")
    again = desk.twin.agent_note(ticket, "Ada", "Take a coupon")
    desk.time.pass_by(minutes=1)
    await desk.push(desk.change("h", [], external_id=str(ticket), make_private=(str(again),)))
    assert len(only(await desk.read(ticket), AgentReply)) == 1


async def test_files_of_agents_are_fetched_with_the_token(desk: Any) -> None:
    ticket = await desk.created()
    desk.twin.agent_note(ticket, "Ada", "See this", files=[("a.png", b"\x89PNG", "image/png")])
    (reply,) = only(await desk.read(ticket), AgentReply)
    (file,) = reply.attachments
    got = await desk.plugin.download(file)
    assert (got.body, got.media_type, got.name) == (b"\x89PNG", "image/png", "a.png")
    with pytest.raises(Gone):
        await desk.plugin.download(file.model_copy(update={"lookup": f"{ticket}/999/1"}))


async def test_gone_and_unreadable_ones_hold_up_no_other(desk: Any) -> None:
    first, second, third = await desk.created("a"), await desk.created("b"), await desk.created("c")
    desk.twin.delete(first)
    desk.fault("status_before", method="GET", path=f"/tickets/{second}$", status=503)
    wanted = [Wanted(ref=str(one), kind="ticket") for one in (first, second, third, "x")]
    pages = await desk.plugin.fetch(wanted)
    # errors end the round; what was had is given
    assert {ref for page in pages for ref in page.answers} == {str(first), str(third)}
    desk.fault("status_before", method="GET", status=503, times=None)
    with pytest.raises(Retry):
        await desk.plugin.fetch(wanted[1:2])
    desk.twin.faults.clear()
    assert isinstance((await desk.read(first))[0], TicketChanged)
    desk.twin.expired = True
    with pytest.raises(Reauthorise):
        await desk.plugin.fetch(wanted[2:3])


async def polled(desk: Any, cursor: Any = None) -> tuple[list[str], Any]:
    refs: list[str] = []
    more = True
    while more:
        page = await desk.plugin.poll("tickets", cursor)
        cursor, more = page.cursor, page.more
        for one in page.pages:
            refs += [item.ref for item in desk.plugin.normalise(_poll(one.body, desk))]
    return refs, cursor


async def test_polls_bring_what_webhooks_did_not(desk: Any) -> None:
    ticket = await desk.created()
    refs, cursor = await polled(desk)
    assert refs == [str(ticket)]
    desk.time.pass_by(minutes=10)
    refs, cursor = await polled(desk, cursor)
    assert refs == [str(ticket)]  # the overlap reaches back to the newest that was seen
    desk.time.pass_by(minutes=10)
    desk.twin.agent_note(ticket, "Ada", "Sorry")
    other = await desk.created("b")
    refs, cursor = await polled(desk, cursor)
    assert set(refs) == {str(ticket), str(other)}
    with pytest.raises(Rejected):
        await desk.plugin.poll("nothing", None)


async def test_polls_lose_nothing_between_pages(desk: Any) -> None:
    made = []
    for number in range(125):
        if number % 3 == 0:
            desk.time.pass_by(milliseconds=7)
        made.append(str(await desk.created(f"t{number}", requester=desk.customer("same"))))
    page = await desk.plugin.poll("tickets", None)
    assert page.more
    # while it pages, the first ticket changes and moves to the end
    desk.time.pass_by(seconds=1)
    desk.twin.set_state(int(made[0]), "open", "Ada")
    first = {item.ref for one in page.pages for item in desk.plugin.normalise(_poll(one.body, desk))}
    rest, _ = await polled(desk, page.cursor)
    assert first | set(rest) == set(made)
    assert made[0] in rest


async def test_many_changes_within_one_moment(desk: Any) -> None:
    made = {str(await desk.created(f"t{number}")) for number in range(115)}
    refs, _ = await polled(desk)
    assert set(refs) == made


async def test_a_failed_poll_leaves_the_cursor(desk: Any) -> None:
    ticket = await desk.created()
    _, cursor = await polled(desk)
    desk.twin.agent_note(ticket, "Ada", "Sorry")
    desk.fault("status_before", path="/tickets/search$", status=502)
    with pytest.raises(Retry):
        await desk.plugin.poll("tickets", cursor)
    refs, _ = await polled(desk, cursor)
    assert refs == [str(ticket)]
    for odd in ({}, {"since": 5, "page": "x"}, {"since": "never", "page": -1, "newest": None}):
        assert (await desk.plugin.poll("tickets", odd)).pages


def _poll(body: bytes, desk: Any) -> Any:
    return RawDelivery("d", "poll", body, desk.time.now())
