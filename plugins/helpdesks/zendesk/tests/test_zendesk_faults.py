"""Crashes between the call and its answer: one ticket, one comment, whatever the network does."""

from __future__ import annotations

from typing import Any

import pytest

from gateway_schemas.errors import Gone, Rejected, Retry, Unknown
from gateway_schemas.reply import absent_is_proof

AFTER = ["status_after", "drop_after", "timeout_after"]


@pytest.mark.parametrize("kind", AFTER)
async def test_a_create_whose_answer_is_lost_is_found(desk: Any, kind: str) -> None:
    asked = desk.change()
    desk.twin.faults.append(desk.fault(kind, method="POST", path="/tickets$", status=500, seconds=1.2))
    with pytest.raises(Unknown):
        await desk.push(asked)
    found = await desk.find(asked)
    (ticket,) = desk.twin.tickets_by_external_id("t-k1")
    assert found.external_id == str(ticket.id)
    assert found.comments == {"k1-c": str(ticket.comments[0].id)}
    # and also who just repeats it within two hours gets the same ticket
    (done,) = await desk.push(asked)
    assert (done.external_id, len(desk.twin.tickets)) == (str(ticket.id), 1)


@pytest.mark.parametrize("kind", AFTER)
async def test_a_comment_whose_answer_is_lost_is_found(desk: Any, kind: str) -> None:
    ticket = await desk.created()
    asked = desk.change("k2", external_id=str(ticket), subject=None)
    desk.twin.faults.append(desk.fault(kind, method="PUT", path=f"/tickets/{ticket}$", status=503, seconds=1.2))
    with pytest.raises(Unknown):
        await desk.push(asked)
    found = await desk.find(asked)
    assert found.comments == {"k2-c": str(desk.twin.tickets[ticket].comments[-1].id)}
    assert len(desk.twin.tickets[ticket].comments) == 2


async def test_what_was_not_made_is_not_found(desk: Any) -> None:
    ticket = await desk.created()
    create, comment = desk.change("k2"), desk.change("k3", external_id=str(ticket), subject=None)
    desk.twin.faults.append(desk.fault("status_before", method="(POST|PUT)", path="/tickets", status=500, times=2))
    for asked in (create, comment):
        with pytest.raises(Unknown):
            await desk.push(asked)
    assert (await desk.find(create)).external_id is None
    found = await desk.find(comment)
    assert (found.external_id, found.comments) == (str(ticket), {})
    lag = desk.plugin.capabilities.index_lag
    began = desk.time.now()
    assert not absent_is_proof(began, desk.time.now(), lag)
    desk.time.pass_by(seconds=61)
    assert absent_is_proof(began, desk.time.now(), lag)


async def test_a_comment_without_its_mark_is_known_by_text_and_permalink(desk: Any) -> None:
    ticket = await desk.created()
    linked = desk.comment("c2", "Still  late <here>", url="https://source.example/2")
    plain = desk.comment("c3", "Thanks")
    for number, one in enumerate((linked, plain)):
        asked = desk.change(f"u{number}", [one], external_id=str(ticket), subject=None)
        await desk.push(asked)
        desk.twin.tickets[ticket].audits[-1].custom = {}
        assert set((await desk.find(asked)).comments) == ({"c2"} if one is linked else set())


async def test_an_agents_quote_is_not_our_comment(desk: Any) -> None:
    ticket = await desk.created()
    asked = desk.change("k2", [desk.comment("c2", "Late", url="https://source.example/2")], external_id=str(ticket))
    desk.twin.agent_comment(ticket, "Ada", "They wrote: Late\n\nhttps://source.example/2", public=False)
    assert (await desk.find(asked)).comments == {}


async def test_two_tickets_with_one_external_id(desk: Any) -> None:
    """External ids are not unique: the ticket with our mark is ours, not the one somebody copied."""
    copy = {"comment": {"body": "copied"}, "external_id": "t-k1", "tags": []}
    desk.twin.desk.create(copy, desk.twin.api_user)
    ours = await desk.created()
    assert (await desk.find(desk.change())).external_id == str(ours)


async def test_a_lost_follow_up_is_not_taken_for_the_ticket_it_follows(desk: Any) -> None:
    old = await desk.created("k1")
    desk.twin.close(old)
    asked = desk.change("k2", followup_of=str(old), ticket_key="t-k1")
    assert (await desk.find(asked)).external_id is None
    (done,) = await desk.push(asked)
    found = await desk.find(asked)
    assert found.external_id == done.external_id != str(old)


async def test_find_on_a_deleted_ticket(desk: Any) -> None:
    ticket = await desk.created()
    desk.twin.delete(ticket)
    assert (await desk.find(desk.change())).external_id is None
    with pytest.raises(Gone):
        await desk.find(desk.change("k2", external_id=str(ticket)))


async def test_find_reads_long_tickets_to_the_end(desk: Any) -> None:
    ticket = await desk.created()
    for number in range(230):
        desk.twin.change(ticket, {"subject": f"{number}"})
    asked = desk.change("k2", external_id=str(ticket), subject=None)
    await desk.push(asked)
    assert set((await desk.find(asked)).comments) == {"k2-c"}


async def test_nothing_was_sent(desk: Any) -> None:
    desk.settings = {"base_url": "http://127.0.0.1:1"}
    with pytest.raises(Retry):
        await desk.push(desk.change())


async def test_an_update_conflict_is_tried_again(desk: Any) -> None:
    ticket = await desk.created()
    body = b'{"error":"DatabaseConflict","description":"Database collision"}'
    desk.twin.faults.append(desk.fault("status_before", method="PUT", status=409, body=body))
    with pytest.raises(Retry) as caught:
        await desk.push(desk.change("k2", external_id=str(ticket)))
    assert caught.value.code == "DatabaseConflict"


async def test_a_conflict_on_create_is_unknown(desk: Any) -> None:
    """What Zendesk answers to a key whose first request is in flight is not known: ask, do not repeat."""
    desk.twin.faults.append(desk.fault("status_before", method="POST", path="/tickets$", status=409))
    with pytest.raises(Unknown):
        await desk.push(desk.change())


BODIES = [
    b"",
    b"not json",
    b"<html>Oops</html>",
    b"[]",
    b"null",
    b'{"error":null}',
    b'{"error":{"title":"Forbidden","message":"You do not have access"}}',
    b'{"errors":[{"code":"X","title":"t","detail":"d"}, 7]}',
    b'{"errors":"many"}',
    b'{"error":"RecordInvalid","details":{"base":["text",{"description":5}]}}',
    b'{"error":"RecordInvalid","details":[1]}',
    b'{"error":5,"description":["x"]}',
    b"\xff\xfe",
    b"[" * 100_000,
]


@pytest.mark.parametrize("body", BODIES, ids=range(len(BODIES)))
@pytest.mark.parametrize(("status", "error"), [(400, Rejected), (403, Rejected), (422, Rejected), (404, Gone)])
async def test_hostile_error_bodies(desk: Any, body: bytes, status: int, error: type[Exception]) -> None:
    """Whatever the body is, the status decides."""
    desk.twin.faults.append(desk.fault("status_before", method="POST", path="/tickets$", status=status, body=body))
    with pytest.raises(error):
        await desk.push(desk.change())


@pytest.mark.parametrize("body", [*BODIES, b'{"ticket":null}', b'{"ticket":{"id":"x"}}', b'{"ticket":{"id":null}}'])
async def test_hostile_good_answers_to_a_create_are_unknown(desk: Any, body: bytes) -> None:
    desk.twin.faults.append(desk.fault("status_after", method="POST", path="/tickets$", status=201, body=body))
    with pytest.raises(Unknown):
        await desk.push(desk.change())
    assert (await desk.find(desk.change())).comments


async def test_a_wrong_address_is_not_a_deleted_ticket(desk: Any) -> None:
    body = b'{"error":"InvalidEndpoint","description":"Not found"}'
    desk.twin.faults.append(desk.fault("status_before", method="POST", path="/tickets$", status=404, body=body))
    with pytest.raises(Rejected):
        await desk.push(desk.change())
