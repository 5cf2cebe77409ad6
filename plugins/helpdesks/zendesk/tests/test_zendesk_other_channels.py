"""Tickets that are not the gateway's: their channel and times for the parity report, and nothing else."""

from __future__ import annotations

import json
from datetime import timedelta
from typing import Any

import pytest

from gateway_schemas.ticket import ForeignTicket
from gateway_schemas.webhook import RawDelivery
from gateway_zendesk.foreign import read, reduced


async def seen(desk: Any) -> tuple[dict[str, ForeignTicket], bytes]:
    """What the export tells of other tickets, by id, and all that was kept."""
    desk.time.pass_by(minutes=2)
    found: dict[str, ForeignTicket] = {}
    cursor, bodies = {"since": int((desk.time.now() - timedelta(days=1)).timestamp())}, b""
    while True:
        page = await desk.plugin.poll("tickets", cursor)
        cursor = page.cursor
        for raw in page.pages:
            bodies += raw.body
            news = desk.plugin.normalise(RawDelivery("p", "poll", raw.body, desk.time.now(), stream=raw.stream))
            found |= {one.ticket: one for one in news if isinstance(one, ForeignTicket)}
        if not page.more:
            return found, bodies


async def test_channel_and_times_of_other_tickets(desk: Any) -> None:
    start = desk.time.now().replace(microsecond=0)
    mail, call, form = (desk.twin.customer_ticket("secret", via=via) for via in ("email", "voice", "web"))
    chat, api = desk.twin.customer_ticket("secret", via="chat"), desk.twin.customer_ticket("secret", via="api")
    ours = await desk.created()
    desk.time.pass_by(minutes=30)
    desk.twin.agent_comment(mail, "Ada", "for colleagues only", public=False)
    desk.time.pass_by(minutes=15)
    desk.twin.agent_comment(mail, "Ada", "secret answer", status="solved")
    desk.time.pass_by(minutes=15)
    desk.twin.set_status(mail, "open", "Ada")
    desk.time.pass_by(minutes=30)
    desk.twin.agent_comment(mail, "Ada", "secret again", status="solved")
    desk.twin.customer_ticket("another")
    found, bodies = await seen(desk)
    assert {str(mail), str(call), str(form)} <= set(found)
    assert not {str(chat), str(api), str(ours)} & set(found)
    told = found[str(mail)]
    assert (told.channel, told.reopened, told.deleted) == ("email", 1, False)
    assert abs(told.created_at - start) < timedelta(seconds=2)
    assert told.first_answered_at == told.created_at + timedelta(minutes=45)
    assert told.solved_at is not None
    assert timedelta(minutes=89) <= told.solved_at - told.created_at <= timedelta(minutes=91)
    assert [found[str(one)].channel for one in (call, form)] == ["phone", "form"]
    assert (found[str(call)].first_answered_at, found[str(call)].solved_at) == (None, None)
    for word in (b"secret", b"carl", b"Carl", b"example.com", b"requester"):
        assert word not in bodies, "what they say and whose they are is nobody's business"


async def test_what_is_deleted_or_merged_no_longer_counts(desk: Any) -> None:
    gone, source, target = (desk.twin.customer_ticket(f"number {number}") for number in range(3))
    desk.twin.delete(gone)
    desk.twin.merge(source, target)
    found, _ = await seen(desk)
    assert [found[str(one)].deleted for one in (gone, source, target)] == [True, True, False]


async def test_an_account_may_keep_its_other_channels_to_itself(desk: Any) -> None:
    desk.settings = {"other_channels": False}
    desk.twin.customer_ticket("secret")
    ours = await desk.created()
    found, bodies = await seen(desk)
    assert found == {}
    assert [one["id"] for one in json.loads(bodies)["tickets"]] == [ours]


@pytest.mark.parametrize(
    "odd",
    [
        {"via": None},
        {"via": {"channel": ["email"]}},
        {"created_at": None},
        {"updated_at": "yesterday"},
        {"id": "x"},
        {"metric_set": "none"},
        {"metric_set": {"reply_time_in_minutes": 5, "reopens": "2", "solved_at": 7}},
        {"metric_set": {"reply_time_in_minutes": {"calendar": -3}, "reopens": -1}},
        {"tags": None, "status": None},
    ],
)
def test_odd_exports_break_nothing(odd: dict[str, Any]) -> None:
    at = "2026-03-01T12:00:00Z"
    kept = reduced(
        {"id": 7, "via": {"channel": "email"}, "created_at": at, "updated_at": at, "status": "solved", **odd}
    )
    found = read(json.loads(json.dumps(kept))) if kept is not None else None
    assert found is None or (found.first_answered_at, found.solved_at, found.reopened) == (None, None, 0)
