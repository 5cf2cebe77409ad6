"""Crashes between the effect and its record, with a helpdesk that has no idempotency keys and a search that lags."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest

from gateway_schemas.errors import Gone, Reauthorise, Rejected, Retry, Unknown
from gateway_schemas.interaction import Wanted
from gateway_schemas.reply import absent_is_proof
from gateway_schemas.ticket import PushIntent

AFTER = ["status_after", "timeout_after", "drop_after"]


@pytest.mark.parametrize("kind", AFTER)
async def test_a_create_whose_answer_is_lost_is_found(desk: Any, kind: str) -> None:
    desk.fault(kind, method="POST", path="/tickets$", status=503, seconds=1.2)
    asked = desk.change()
    with pytest.raises(Unknown):
        await desk.push(asked)
    found = await desk.find(asked)
    assert (found.external_id, found.comments) == ("1", {"k1-c": "description-1"})
    assert len(desk.twin.tickets) == 1


@pytest.mark.parametrize("kind", AFTER)
async def test_a_note_whose_answer_is_lost_is_found(desk: Any, kind: str) -> None:
    ticket = await desk.created()
    asked = desk.change("k2", external_id=str(ticket), status="open", priority="high", add_tags=("late",))
    desk.fault(kind, method="POST", path="/notes$", status=500, seconds=1.2)
    with pytest.raises(Unknown):
        await desk.push(asked)
    found = await desk.find(asked)
    (note,) = desk.twin.tickets[ticket].conversations
    assert found.comments == {"k2-c": str(note.id)}
    # all that comes before the note was done, or the note would not have been written
    assert (desk.twin.tickets[ticket].priority, desk.twin.tickets[ticket].tags) == (3, ["gateway", "late"])


async def test_the_search_is_never_asked(desk: Any) -> None:
    """It does not know the ticket for minutes: to believe it would double the ticket."""
    ticket = await desk.created()
    query = {"query": "\"tag:'gateway'\""}
    auth = (desk.twin.key, "X")
    lagging = await desk.http.get(f"{desk.twin.url}/api/v2/search/tickets", params=query, auth=auth)
    assert lagging.json()["total"] == 0
    assert (await desk.find(desk.change())).external_id == str(ticket)
    assert len(desk.requests("GET", "/search/")) == 1


async def test_what_was_not_made_is_not_found_and_believed_only_after_the_lag(desk: Any) -> None:
    ticket = await desk.created()
    create, comment = desk.change("k2"), desk.change("k3", external_id=str(ticket))
    desk.fault("status_before", method="POST", path="/(tickets|notes)$", status=500, times=2)
    for asked in (create, comment):
        with pytest.raises(Unknown):
            await desk.push(asked)
    assert (await desk.find(create)).external_id is None
    found = await desk.find(comment)
    assert (found.external_id, found.comments) == (str(ticket), {})
    lag, began = desk.plugin.capabilities.index_lag, desk.time.now()
    assert not absent_is_proof(began, began + timedelta(seconds=119), lag)
    assert absent_is_proof(began, began + timedelta(seconds=120), lag)


async def test_a_list_that_trails_behind_shows_the_ticket_before_absence_counts(desk: Any) -> None:
    desk.twin.list_lag = 90
    asked = desk.change()
    desk.fault("status_after", method="POST", path="/tickets$", status=502)
    with pytest.raises(Unknown):
        await desk.push(asked)
    assert (await desk.find(asked)).external_id is None
    began = desk.time.now()
    desk.time.pass_by(seconds=91)
    assert not absent_is_proof(began, desk.time.now(), desk.plugin.capabilities.index_lag)
    assert (await desk.plugin.find(PushIntent(change=asked, started_at=began))).external_id == "1"


async def test_a_refused_write_of_fields_leaves_no_note(desk: Any) -> None:
    """The order: what may be repeated first, what may not last."""
    ticket = await desk.created()
    desk.fault("status_before", method="PUT", path=f"/tickets/{ticket}$", status=503)
    asked = desk.change("k2", external_id=str(ticket), priority="urgent")
    with pytest.raises(Retry):
        await desk.push(asked)
    assert desk.twin.tickets[ticket].conversations == []
    await desk.push(asked)
    assert len(desk.twin.tickets[ticket].conversations) == 1


async def test_a_write_of_fields_whose_answer_is_lost_is_done_again(desk: Any) -> None:
    ticket = await desk.created()
    desk.fault("status_after", method="PUT", path=f"/tickets/{ticket}$", status=503)
    asked = desk.change("k2", external_id=str(ticket), add_tags=("late",), remove_tags=("x",))
    with pytest.raises(Retry):
        await desk.push(asked)
    await desk.push(asked)
    assert desk.twin.tickets[ticket].tags == ["gateway", "late"]
    assert len(desk.twin.tickets[ticket].conversations) == 1


async def test_an_agents_quote_is_not_our_note(desk: Any) -> None:
    ticket = await desk.created()
    asked = desk.change("k2", external_id=str(ticket))
    desk.twin.agent_note(ticket, "Ada", "They wrote:\nThe train is late\n\n[gw:k2-c]", public=False)
    assert (await desk.find(asked)).comments == {}


async def test_a_lost_follow_up_is_not_taken_for_the_ticket_it_follows(desk: Any) -> None:
    old = await desk.created("k1")
    desk.twin.close(old)
    asked = desk.change("k2", followup_of=str(old), ticket_key="gateway:k1")
    assert (await desk.find(asked)).external_id is None
    done = await desk.push(asked)
    assert (await desk.find(asked)).external_id == done.external_id != str(old)


async def test_another_customers_ticket_with_the_same_mark_is_not_taken(desk: Any) -> None:
    await desk.created("k1", requester=desk.customer("bob"), comments=[desk.comment(author=desk.customer("bob"))])
    await desk.created("k0")
    assert (await desk.find(desk.change("k1", [desk.comment()]))).external_id is None


async def test_find_asks_for_a_contact_that_it_does_not_remember(desk: Any) -> None:
    asked = desk.change()
    desk.fault("drop_after", method="POST", path="/tickets$")
    with pytest.raises(Unknown):
        await desk.push(asked)
    assert desk.state.document == {}
    assert (await desk.find(asked)).external_id == "1"


async def test_find_reads_long_tickets_to_the_end(desk: Any) -> None:
    ticket = await desk.created()
    for number in range(230):
        desk.twin.agent_note(ticket, "Ada", f"{number}", public=False)
    asked = desk.change("k2", external_id=str(ticket))
    await desk.push(asked)
    assert set((await desk.find(asked)).comments) == {"k2-c"}


@pytest.mark.parametrize("way", ["delete", "mark_spam", "purge"])
async def test_find_on_a_ticket_that_is_gone(desk: Any, way: str) -> None:
    ticket = await desk.created()
    getattr(desk.twin, way)(ticket)
    with pytest.raises(Gone):
        await desk.find(desk.change("k2", external_id=str(ticket)))


async def test_nothing_was_sent(desk: Any) -> None:
    desk.settings = {"base_url": "http://127.0.0.1:1"}
    with pytest.raises(Retry):
        await desk.push(desk.change())


async def test_a_wrong_key(desk: Any) -> None:
    desk.twin.expired = True
    with pytest.raises(Reauthorise):
        await desk.push(desk.change())


async def test_a_wrong_address_is_no_deleted_ticket(desk: Any) -> None:
    """404 has no body that would tell; a create names nothing that could be gone."""
    desk.fault("status_before", method="POST", path="/tickets$", status=404)
    with pytest.raises(Rejected) as caught:
        await desk.push(desk.change())
    assert caught.value.code == "no_endpoint"


BODIES = [
    b"",
    b"not json",
    b"<html>Oops</html>",
    b"[]",
    b"null",
    b'{"errors":null}',
    b'{"errors":"many"}',
    b'{"errors":[7,{"field":5,"message":["x"],"code":null,"additional_info":[]}]}',
    b'{"code":5,"message":{"a":1}}',
    b"\xff\xfe",
    b"[" * 100_000,
]


@pytest.mark.parametrize("body", BODIES, ids=range(len(BODIES)))
@pytest.mark.parametrize("status", [400, 403, 405, 409, 415])
async def test_hostile_error_bodies(desk: Any, body: bytes, status: int) -> None:
    """Whatever the body is, the status decides."""
    desk.fault("status_before", method="POST", path="/tickets$", status=status, body=body)
    with pytest.raises(Rejected):
        await desk.push(desk.change())


@pytest.mark.parametrize("body", [*BODIES, b'{"id":"x"}', b'{"id":null}', b'{"id":true}'], ids=range(len(BODIES) + 3))
async def test_hostile_good_answers_are_unknown(desk: Any, body: bytes) -> None:
    """It was made, whatever the answer says; the mark finds it."""
    desk.fault("status_after", method="POST", path="/tickets$", status=201, body=body)
    with pytest.raises(Unknown):
        await desk.push(desk.change())
    assert (await desk.find(desk.change())).external_id == "1"
    asked = desk.change("k2", external_id="1")
    desk.fault("status_after", method="POST", path="/notes$", status=201, body=body)
    with pytest.raises(Unknown):
        await desk.push(asked)
    assert (await desk.find(asked)).comments


async def test_one_ticket_that_cannot_be_had_holds_up_no_other(desk: Any) -> None:
    first, second = await desk.created("a"), await desk.created("b")
    desk.fault("status_before", method="GET", path=f"/tickets/{first}/", status=503, times=1)
    wanted = [Wanted(ref=str(one), kind="ticket") for one in (first, second)]
    pages = await desk.plugin.fetch(wanted)
    assert [page.answers for page in pages] == [(str(second),)]
    desk.fault("status_before", method="GET", path="/tickets/", status=503, times=2)
    with pytest.raises(Retry):
        await desk.plugin.fetch(wanted)
