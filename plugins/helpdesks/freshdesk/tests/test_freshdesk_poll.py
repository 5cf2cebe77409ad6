"""Polling: what webhooks did not bring, without gaps, whatever moves meanwhile."""

from __future__ import annotations

import json
from datetime import timedelta
from typing import Any

import pytest

from gateway_schemas.errors import Rejected
from gateway_schemas.interaction import Wanted
from gateway_schemas.ticket import ForeignTicket, TicketChanged
from gateway_schemas.webhook import RawDelivery


async def round_of(desk: Any, stream: str = "tickets", cursor: Any = None) -> tuple[list[Any], dict[str, Any], int]:
    """Polling steps until there is no more: the news, the cursor, and how many steps it took."""
    news, steps, plugin = [], 0, desk.plugin
    while True:
        page = await plugin.poll(stream, cursor)
        cursor, steps = json.loads(json.dumps(page.cursor)), steps + 1
        for one in page.pages:
            news += plugin.normalise(RawDelivery("p", "poll", one.body, desk.time.now(), stream=one.stream))
        if not page.more:
            return news, cursor, steps


def refs(news: list[Any]) -> set[int]:
    return {int(one.ref) for one in news if isinstance(one, Wanted)}


async def test_changes_are_found_once_and_those_of_the_overlap_again(desk: Any) -> None:
    first = await desk.created("a")
    news, cursor, _ = await round_of(desk)
    assert refs(news) == {first}
    desk.time.pass_by(minutes=5)
    second = await desk.created("b")
    news, cursor, _ = await round_of(desk, cursor=cursor)
    assert refs(news) == {first, second}
    news, cursor, _ = await round_of(desk, cursor=cursor)
    assert refs(news) == {second}
    desk.time.pass_by(days=3)
    desk.twin.agent_note(first, "Ada", "Hello")
    news, _, _ = await round_of(desk, cursor=cursor)
    assert refs(news) == {first, second}


async def test_what_came_late_into_the_list_is_in_the_overlap(desk: Any) -> None:
    """A ticket that was written a minute ago, and shows only now, after a newer one."""
    desk.twin.list_lag = 60
    late = await desk.created("late")
    desk.time.pass_by(seconds=10)
    desk.twin.list_lag = 0
    hidden = desk.twin.desk.tickets.pop(late)
    await desk.created("newer")
    _, cursor, _ = await round_of(desk)
    desk.twin.desk.tickets[late] = hidden
    news, _, _ = await round_of(desk, cursor=cursor)
    assert late in refs(news)


async def test_many_pages_in_order_with_tickets_that_move(desk: Any) -> None:
    """Pages go by time, not by number: a ticket that changes meanwhile moves itself, not the others."""
    tickets = []
    for number in range(250):
        tickets.append(await _quick(desk, number))
        desk.time.pass_by(seconds=1)
    plugin, cursor, seen, steps = desk.plugin, {"since": "2026-11-22T09:00:00Z"}, set(), 0
    while True:
        page = await plugin.poll("tickets", cursor)
        for one in page.pages:
            seen |= refs(list(plugin.normalise(RawDelivery("p", "poll", one.body, desk.time.now()))))
        desk.twin.change(tickets[steps], {"priority": 1})  # one that was seen goes to the end
        cursor, steps = page.cursor, steps + 1
        if not page.more:
            break
    assert seen == set(tickets)
    assert steps < 6


async def _quick(desk: Any, number: int) -> int:
    data = {"unique_external_id": "fake:x", "name": "X", "subject": f"{number}", "description": "x"}
    ticket = desk.twin.desk.create({**data, "status": 2, "priority": 2, "source": 2, "tags": ["gateway"]}, None)
    return int(ticket.id)


async def test_a_whole_page_within_one_second(desk: Any) -> None:
    tickets = {await _quick(desk, number) for number in range(320)}
    news, _, steps = await round_of(desk)
    assert refs(news) == tickets
    assert steps >= 4


async def test_trash_and_spam_have_lists_of_their_own(desk: Any) -> None:
    gone, spam, kept = await desk.created("a"), await desk.created("b"), await desk.created("c")
    desk.twin.delete(gone)
    desk.twin.mark_spam(spam)
    assert refs((await round_of(desk))[0]) == {kept}
    for stream, ticket in (("deleted", gone), ("spam", spam)):
        (news,) = (await round_of(desk, stream))[0]
        assert isinstance(news, TicketChanged)
        assert (news.ticket, news.deleted) == (str(ticket), True)
    with pytest.raises(Rejected):
        await desk.plugin.poll("elsewhere", None)


async def test_of_other_peoples_tickets_nothing_is_kept(desk: Any) -> None:
    await _quick(desk, 1)
    desk.twin.tickets[1].tags = ["vip"]
    ours = await desk.created()
    page = await desk.plugin.poll("tickets", None)
    (kept,) = page.pages
    (reduced,) = json.loads(kept.body)["tickets"]
    assert reduced["id"] == ours
    assert "subject" not in reduced
    desk.settings = {"other_channels": False}
    (kept,) = (await desk.plugin.poll("tickets", None)).pages
    assert json.loads(kept.body) == {"tickets": [reduced]}


async def test_channel_and_times_of_other_tickets(desk: Any) -> None:
    """For the parity report; nothing that they say, and not whose they are."""
    _, cursor, _ = await round_of(desk)
    mail, call, widget, chat = (desk.twin.customer_ticket("secret", source=source) for source in (1, 3, 9, 7))
    gone = desk.twin.customer_ticket("secret too")
    desk.time.pass_by(minutes=45)
    desk.twin.agent_note(mail, "Ada", "for colleagues only", public=False)
    desk.time.pass_by(minutes=15)
    desk.twin.agent_reply(mail, "Ada", "secret answer")
    desk.twin.change(mail, {"status": 4})
    desk.twin.change(mail, {"status": 2})
    desk.time.pass_by(minutes=30)
    desk.twin.change(mail, {"status": 4})
    desk.twin.delete(gone)
    page = await desk.plugin.poll("tickets", cursor)
    bodies = b"".join(one.body for one in page.pages)
    for word in (b"secret", b"Carl", b"carl", b"example.com", b"requester"):
        assert word not in bodies
    news, _, _ = await round_of(desk, cursor=cursor)
    found = {one.ticket: one for one in news if isinstance(one, ForeignTicket)}
    assert {id: one.channel for id, one in found.items()} == {
        str(mail): "email",
        str(call): "phone",
        str(widget): "form",
    }
    assert str(chat) not in found
    told = found[str(mail)]
    assert (told.first_answered_at - told.created_at, told.reopened) == (timedelta(minutes=60), 1)
    assert told.solved_at - told.created_at == timedelta(minutes=90)
    waiting = found[str(call)]
    assert (waiting.first_answered_at, waiting.solved_at, waiting.reopened) == (None, None, 0)
    (trashed,) = (await round_of(desk, "deleted", cursor))[0]
    assert (trashed.ticket, trashed.deleted) == (str(gone), True)


async def test_a_ticket_that_lost_its_tag_is_known_by_its_key(desk: Any) -> None:
    field = desk.twin.add_field("Gateway key")["name"]
    desk.settings = {"fields": {"ticket_key": field}}
    ticket = await desk.created()
    desk.twin.change(ticket, {"tags": []})
    assert refs((await round_of(desk))[0]) == {ticket}
    desk.settings = {}
    assert refs((await round_of(desk))[0]) == set()


async def test_old_tickets_are_found(desk: Any) -> None:
    """Without `updated_since` Freshdesk hides what is older than thirty days."""
    ticket = await desk.created()
    _, cursor, _ = await round_of(desk)
    desk.time.pass_by(days=90)
    desk.twin.agent_note(ticket, "Ada", "Sorry for the wait")
    assert refs((await round_of(desk, cursor=cursor))[0]) == {ticket}


@pytest.mark.parametrize("cursor", [None, {}, {"since": "x", "page": -1}, {"since": 5, "page": "2", "newest": None}])
async def test_cursors_of_any_kind(desk: Any, cursor: Any) -> None:
    ticket = await desk.created()
    news, after, _ = await round_of(desk, cursor=cursor)
    assert refs(news) == {ticket}
    assert after["page"] == 1


async def test_a_poll_that_found_nothing_stands_still(desk: Any) -> None:
    """The cursor goes by Freshdesk's clock alone: no time passes that nobody looked at."""
    _, first, _ = await round_of(desk)
    desk.time.pass_by(hours=2)
    _, second, _ = await round_of(desk, cursor=first)
    assert (
        first["since"]
        == second["since"]
        == (desk.time.now() - timedelta(hours=2, minutes=10)).strftime("%Y-%m-%dT%H:%M:%SZ")
    )
