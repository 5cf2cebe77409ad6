"""What agents do, as polls and fetches bring it back."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest

from gateway_schemas.errors import Gone, Malformed, Reauthorise, Rejected, Retry, Unverified
from gateway_schemas.interaction import Ignored, Wanted
from gateway_schemas.ticket import AgentNote, AgentReply, OwnComment
from gateway_schemas.webhook import RawDelivery, WebhookRequest


def only(news: list[Any], kind: type) -> list[Any]:
    return [one for one in news if isinstance(one, kind)]


async def polled(desk: Any, cursor: Any = None) -> tuple[list[str], Any]:
    """A whole round: the tickets that it names, and the cursor for the next one."""
    refs: list[str] = []
    more = True
    while more:
        page = await desk.plugin.poll("transactions", cursor)
        cursor, more = page.cursor, page.more
        for one in page.pages:
            news = desk.plugin.normalise(RawDelivery("d", "poll", one.body, desk.time.now()))
            refs += [item.ref for item in only(news, Wanted)]
    return refs, cursor


def test_nothing_comes_through_the_door(desk: Any) -> None:
    with pytest.raises(Unverified):
        desk.plugin.verify(WebhookRequest("POST", "/hooks/7", b"", (), b"{}", desk.time.now()))
    with pytest.raises(Malformed):
        desk.plugin.normalise(RawDelivery("d", "webhook", b"{}", desk.time.now()))


async def test_an_answer_comes_by_the_next_poll(desk: Any) -> None:
    ticket = await desk.created()
    await desk.told(ticket, "m")
    _, cursor = await polled(desk)
    desk.twin.agent_reply(ticket, "Ada Lee", "We are sorry.\nIt comes.", tags=["reply:private"])
    refs, cursor = await polled(desk, cursor)
    assert set(refs) == {str(ticket)}
    news = await desk.read(ticket)
    (reply,) = only(news, AgentReply)
    assert (reply.text, reply.origin, reply.leg) == ("We are sorry.\n\nIt comes.", "composer", "private")
    assert (reply.author.name, reply.author.email) == ("Ada Lee", "ada.lee@acme.example")
    assert [one.key for one in only(news, OwnComment)] == ["k1-c", "m-c"]
    assert news[-1].tags == ("gateway", "reply:private")
    assert news[-1].ticket_key == "gateway:k1"


async def test_interfaces_are_told_apart(desk: Any) -> None:
    ticket = await desk.created()
    for interface in ("Web", "Email", "REST", "CLI"):
        desk.twin.agent_reply(ticket, "Ada", interface, interface=interface, plain=True)
    desk.twin.scrip_reply(ticket, "scrip")
    desk.twin.customer_reply(ticket, "in the portal")
    desk.twin.agent_comment(ticket, "Ada", "inside")
    news = await desk.read(ticket)
    told = {one.text: one.origin for one in only(news, AgentReply)}
    assert told == {"Web": "composer", "Email": "email", "REST": "api", "CLI": "rule", "scrip": "rule"}
    assert [one.text for one in only(news, AgentNote)] == ["inside"]
    desk.settings = {"mails_publish": True, "rest_publishes": True}
    told = {one.text: one.origin for one in only(await desk.read(ticket), AgentReply)}
    assert (told["Email"], told["REST"]) == ("composer", "app")


async def test_a_subject_like_a_mark_by_somebody_else_is_none(desk: Any) -> None:
    ticket = await desk.created()
    eve = desk.twin.desk.user("eve@else.example", email="eve@else.example")
    data = {"Content": "x", "ContentType": "text/plain", "Subject": "[gw:k2-c]"}
    desk.twin.desk.message(desk.twin.tickets[ticket], "Correspond", data, eve, interface="Email")
    assert [one.key for one in only(await desk.read(ticket), OwnComment)] == ["k1-c"]
    assert (await desk.find(desk.change("k2", external_id=str(ticket)))).comments == {}
    desk.settings = {"customer_secret": "s" * 40}
    assert (await desk.find(desk.change("k2", external_id=str(ticket)))).comments == {}


async def test_a_merge_is_followed_and_publishes_nothing(desk: Any) -> None:
    first, second = await desk.created("a"), await desk.created("b")
    desk.twin.agent_reply(first, "Ada", "Known already")
    _, cursor = await polled(desk)
    desk.twin.merge(first, second, "Ada")
    refs, _ = await polled(desk, cursor)
    assert {str(first), str(second)} <= set(refs)
    assert [one.merged_into for one in await desk.read(first)] == [str(second)]
    assert [one.origin for one in only(await desk.read(second), AgentReply)] == ["merge"]


async def test_closed_deleted_and_foreign(desk: Any) -> None:
    ticket = await desk.created()
    desk.twin.close(ticket)
    assert (await desk.read(ticket))[-1].status == "solved"
    desk.twin.delete(ticket)
    assert [one.deleted for one in await desk.read(ticket)] == [True]
    other = desk.twin.desk.create({"Queue": "General", "Subject": "mail"}, desk.twin.desk.users["root"])
    assert all(isinstance(one, Ignored) for one in await desk.read(other.id))
    assert [one.deleted for one in await desk.read(999)] == [True]


async def test_files_of_agents(desk: Any) -> None:
    ticket = await desk.created()
    desk.twin.agent_reply(ticket, "Ada", "See this", files=[("a.png", b"\x89PNG\x00\xff", "image/png")])
    desk.twin.agent_reply(ticket, "Ada", "And this", files=[("b.txt", b"text in a file", "text/plain")])
    first, second = only(await desk.read(ticket), AgentReply)
    got = await desk.plugin.download(first.attachments[0])
    assert (got.body, got.media_type, got.name) == (b"\x89PNG\x00\xff", "image/png", "a.png")
    assert (second.text, [one.name for one in second.attachments]) == ("And this", ["b.txt"])
    with pytest.raises(Gone):
        await desk.plugin.download(first.attachments[0].model_copy(update={"lookup": "999"}))


async def test_who_may_not_be_looked_at_counts_as_an_agent(desk: Any) -> None:
    ticket = await desk.created()
    desk.twin.agent_reply(ticket, "Ada", "Hello")
    desk.fault("status_before", method="GET", path="/user/ada$", status=403)
    (reply,) = only(await desk.read(ticket), AgentReply)
    assert (reply.author.external_id, reply.author.email) == ("ada", None)


async def test_one_ticket_that_cannot_be_had_holds_up_no_other(desk: Any) -> None:
    first, second = await desk.created("a"), await desk.created("b")
    desk.fault("status_before", method="GET", path=f"/ticket/{first}/history", status=500)
    wanted = [Wanted(ref=str(one), kind="ticket") for one in (first, second)]
    assert [page.answers for page in await desk.plugin.fetch(wanted)] == [(str(second),)]
    desk.fault("status_before", method="GET", path="/ticket/", status=503, times=2)
    with pytest.raises(Retry):
        await desk.plugin.fetch(wanted)
    desk.twin.expired = True
    with pytest.raises(Reauthorise):
        await desk.plugin.fetch(wanted)


async def test_a_long_history_is_read_to_its_end(desk: Any) -> None:
    """Hidden records of mails leave holes in its pages, and the last transaction may be one of them."""
    ticket = await desk.created()
    desk.twin.desk.users["fake-alice"].email = "alice@else.example"
    for number in range(75):
        desk.twin.agent_reply(ticket, "Ada", f"{number}", plain=True)
    replies = only(await desk.read(ticket), AgentReply)
    assert [one.text for one in replies] == [f"{number}" for number in range(75)]


async def test_what_the_gateway_does_is_no_news(desk: Any) -> None:
    _, cursor = await polled(desk)
    ticket = await desk.created()
    await desk.told(ticket, "m", public=False)
    refs, cursor = await polled(desk, cursor)
    assert refs == []
    await desk.told(ticket, "n")  # corresponding opens the ticket: that was RT
    refs, _ = await polled(desk, cursor)
    assert refs == [str(ticket)]


async def test_polls_go_back_a_little_and_settle(desk: Any) -> None:
    ticket = await desk.created()
    desk.twin.set_status(ticket, "open", "Ada")
    _, cursor = await polled(desk)
    _, cursor = await polled(desk, cursor)
    refs, cursor = await polled(desk, cursor)
    assert refs == [str(ticket)]
    desk.time.pass_by(minutes=10)
    other = await desk.created("b")
    desk.twin.set_status(other, "open", "Ada")
    _, cursor = await polled(desk, cursor)
    refs, cursor = await polled(desk, cursor)
    assert set(refs) == {str(other)}


async def test_what_came_to_be_seen_late_is_not_lost(desk: Any) -> None:
    """A transaction of the database that began first may end last: its id is lower than one that was seen before."""
    ticket, other = await desk.created("a"), await desk.created("b")
    _, cursor = await polled(desk)
    late = desk.twin.agent_reply(ticket, "Ada", "late")
    desk.twin.commit_lag[late] = desk.time.now() + timedelta(seconds=30)
    for one in list(desk.twin.desk.transactions):
        if one > late:
            desk.twin.commit_lag[one] = desk.twin.commit_lag[late]
    desk.twin.set_status(other, "open", "Ada")
    refs, cursor = await polled(desk, cursor)
    assert set(refs) == {str(other)}
    desk.time.pass_by(seconds=60)
    refs, _ = await polled(desk, cursor)
    assert str(ticket) in refs


async def test_many_pages_with_holes_lose_nothing(desk: Any) -> None:
    _, cursor = await polled(desk)
    made = []
    for number in range(60):
        ticket = await desk.created(f"t{number}")
        desk.twin.desk.users["fake-alice"].email = "alice@else.example"
        desk.twin.agent_reply(ticket, "Ada", "x")
        made.append(str(ticket))
    refs, _ = await polled(desk, cursor)
    assert set(refs) == set(made)


async def test_a_failed_poll_and_odd_cursors(desk: Any) -> None:
    ticket = await desk.created()
    _, cursor = await polled(desk)
    desk.twin.set_status(ticket, "open", "Ada")
    desk.fault("status_before", path="/transactions$", status=500)
    with pytest.raises(Retry):
        await desk.plugin.poll("transactions", cursor)
    refs, _ = await polled(desk, cursor)
    assert refs == [str(ticket)]
    for odd in ({}, {"after": "x", "floor": -1, "marks": 7}, {"after": True, "marks": [[1], ["x", 5], None]}):
        assert (await desk.plugin.poll("transactions", odd)).pages
    with pytest.raises(Rejected):
        await desk.plugin.poll("tickets", None)


async def test_an_empty_system(desk: Any) -> None:
    refs, cursor = await polled(desk)
    refs, cursor = await polled(desk, cursor)
    ticket = await desk.created()
    desk.twin.set_status(ticket, "open", "Ada")
    refs, _ = await polled(desk, cursor)
    assert refs == [str(ticket)]
