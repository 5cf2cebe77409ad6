"""The export: repair for webhooks that did not come."""

from __future__ import annotations

import json
from typing import Any

import pytest

from gateway_schemas.errors import Rejected, Retry
from gateway_schemas.interaction import Wanted
from gateway_schemas.ticket import AgentReply, TicketChanged
from gateway_schemas.webhook import RawDelivery


async def poll_all(desk: Any, cursor: dict[str, Any] | None) -> tuple[list[Any], dict[str, Any]]:
    news: list[Any] = []
    for _ in range(50):
        page = await desk.plugin.poll("tickets", cursor)
        cursor = json.loads(json.dumps(page.cursor))
        for raw in page.pages:
            news += desk.plugin.normalise(RawDelivery("p", "poll", raw.body, desk.time.now(), stream=raw.stream))
        if not page.more:
            return news, cursor
    raise AssertionError("the export did not end")


async def test_a_lost_webhook_is_made_up_for(desk: Any) -> None:
    _, cursor = await poll_all(desk, None)
    ticket = await desk.created()
    desk.twin.agent_comment(ticket, "Ada", "Nobody told the gateway")
    news, cursor = await poll_all(desk, cursor)
    assert news == []  # the latest minute is never given
    desk.time.pass_by(seconds=61)
    (wanted,), cursor = await poll_all(desk, cursor)
    assert (wanted.ref, wanted.reason) == (str(ticket), "refresh")
    replies = [one for one in await desk.read(wanted.ref) if isinstance(one, AgentReply)]
    assert [one.text for one in replies] == ["Nobody told the gateway"]
    assert await poll_all(desk, cursor) == ([], cursor)


async def test_closing_by_automation_is_seen(desk: Any) -> None:
    ticket = await desk.created()
    _, cursor = await poll_all(desk, None)
    desk.twin.close(ticket)
    desk.time.pass_by(minutes=2)
    (wanted,), _ = await poll_all(desk, cursor)
    states = [one for one in await desk.read(wanted.ref) if isinstance(one, TicketChanged)]
    assert [one.status for one in states] == ["closed"]


async def test_deleted_tickets(desk: Any) -> None:
    ticket = await desk.created()
    desk.twin.delete(ticket)
    desk.time.pass_by(minutes=2)
    (state,), _ = await poll_all(desk, None)
    assert (state.ticket, state.deleted) == (str(ticket), True)


async def test_many_pages_and_nothing_of_other_people(desk: Any) -> None:
    """Of tickets that are not ours not even their being there is kept."""
    desk.twin.export_page = 7
    ours = [await desk.created(f"k{number}") for number in range(10)]
    for number in range(40):
        desk.twin.desk.create({"comment": {"body": f"secret {number}"}, "subject": "other"}, desk.twin.api_user)
    desk.time.pass_by(minutes=2)
    news, _ = await poll_all(desk, None)
    assert [one.ref for one in news] == [str(one) for one in ours]
    cursor, bodies, more = None, b"", True
    while more:
        page = await desk.plugin.poll("tickets", cursor)
        cursor, more = page.cursor, page.more
        bodies += b"".join(raw.body for raw in page.pages)
    assert b"secret" not in bodies
    assert b"alice" not in bodies


async def test_a_ticket_that_lost_its_tag(desk: Any) -> None:
    desk.settings = {"key_prefix": "t-"}
    ticket = await desk.created()
    desk.twin.change(ticket, {"remove_tags": ["gateway"]})
    desk.time.pass_by(minutes=2)
    news, _ = await poll_all(desk, None)
    assert [one.ref for one in news] == [str(ticket)]


async def test_a_cursor_that_is_refused_starts_by_time(desk: Any) -> None:
    ticket = await desk.created()
    desk.time.pass_by(minutes=2)
    since = int(desk.time.now().timestamp()) - 100
    news, cursor = await poll_all(desk, {"cursor": "not a cursor!", "since": since})
    assert [one.ref for one in news] == [str(ticket)]
    assert cursor["cursor"] != "not a cursor!"


async def test_after_a_long_gap(desk: Any) -> None:
    _, cursor = await poll_all(desk, None)
    tickets = []
    for number in range(3):
        tickets.append(await desk.created(f"k{number}"))
        desk.time.pass_by(hours=20)
    news, _ = await poll_all(desk, cursor)
    assert [one.ref for one in news] == [str(one) for one in tickets]
    assert all(isinstance(one, Wanted) for one in news)


async def test_who_may_not_export(desk: Any) -> None:
    desk.twin.api_user.role = "agent"
    with pytest.raises(Rejected):
        await desk.plugin.poll("tickets", None)
    with pytest.raises(Rejected):
        await desk.plugin.poll("users", None)


async def test_a_failing_export_keeps_the_cursor(desk: Any) -> None:
    desk.twin.faults.append(desk.fault("status_before", path="incremental", status=500))
    with pytest.raises(Retry):
        await desk.plugin.poll("tickets", {"cursor": "MA==", "since": 0})


@pytest.mark.parametrize("cursor", [{}, {"cursor": 5}, {"since": "x"}, {"cursor": None, "since": None}])
async def test_odd_cursors(desk: Any, cursor: dict[str, Any]) -> None:
    assert (await desk.plugin.poll("tickets", cursor)).cursor["cursor"]
