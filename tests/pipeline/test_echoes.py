"""What comes back of our own answers is known as ours, whatever became of the call that sent them."""

from __future__ import annotations

from typing import Any

import pytest

from gateway_schemas.testing.twin import Fault

LineLike = Any


@pytest.mark.parametrize("code", ["repeat", "unavailable"])
async def test_promise_3_the_echo_of_an_answer_that_is_to_be_sent_again_is_the_proof(line: LineLike, code: str) -> None:
    """Its first call was lost, and the source either drops repeated keys or said that it had not taken it."""
    post = line.x.post("rita", "@AcmeSupport my parcel is stuck")
    await line.settle()
    await line.gateway.pause()
    await line.queue(1, "We found it!")
    await line.gateway.execute("UPDATE reply SET tries = 1, code = :code", code=code)
    line.x.post("AcmeSupport", "We found it!", in_reply_to=post)

    async def proven() -> bool:
        return bool((await line.reply())["state"] == "sent")

    await line.gateway.until(proven, "the echo proves it")
    await line.gateway.lift()
    await line.settle()
    assert line.published() == [("We found it!", post)]
    assert len(line.ticket().comments) == 2, "the echo is no comment of its own"


async def test_promise_3_the_echo_of_a_message_that_begins_a_conversation_is_the_proof(line: LineLike) -> None:
    """The answer to the call is lost, and the conversation had no name before: whom it is with tells."""
    line.x.post("rita", "@AcmeSupport my parcel is stuck")
    await line.settle()
    line.x.faults.append(Fault("status_after", method="POST", path="/2/dm_conversations/", status=500))
    line.x.faults.append(Fault("status_before", method="GET", path="/dm_events", status=503, times=None))
    line.desk.agent_comment(1, "Ann", "Please tell us your order number.", tags=["reply:private"])
    await line.desk.settle()

    async def proven() -> bool:
        return bool(await line.gateway.value("SELECT count(*) FROM reply WHERE state = 'sent'"))

    await line.gateway.until(proven, "the echo proves it")
    line.x.faults.clear()
    await line.settle()
    assert line.comments() == ["@AcmeSupport my parcel is stuck", "Please tell us your order number."]
    assert await line.gateway.value("SELECT count(*) FROM interaction WHERE ticket_id IS NULL") == 0


async def test_an_answer_that_may_be_out_is_not_cancelled_but_taken_back_once_it_is_sent(line: LineLike) -> None:
    line.x.post("rita", "@AcmeSupport my parcel is stuck")
    await line.settle()
    await line.gateway.pause()
    answer = await line.queue(1, "We found it!")
    await line.gateway.execute("UPDATE reply SET tries = 1, code = 'repeat'")
    async with line.rest() as http:
        refused = await http.post(f"/v1/replies/{answer['id']}/cancel")
    assert refused.status_code == 409
    assert "may be out already" in refused.json()["detail"]
    line.desk.make_private(1, answer["comment_id"])
    await line.desk.settle()
    await line.gateway.lift()

    async def gone() -> bool:
        return bool((await line.reply())["state"] == "retracted")

    await line.gateway.until(gone, "it went out, and was taken back")
    await line.settle()
    assert line.published() == []
