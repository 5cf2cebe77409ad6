"""Answers of one ticket leave in the order in which they were written."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Any

import pytest

from gateway.pipeline import reply as answers
from gateway.pipeline.normalise import Read
from gateway_schemas.ticket import Agent, AgentReply

LineLike = Any
TEXTS = ["We found it!", "It left the depot.", "It arrives on Friday."]


async def complaint(line: LineLike) -> None:
    line.x.post("rita", "@AcmeSupport my parcel is stuck")
    await line.settle()


async def wrote(line: LineLike, texts: Sequence[str], at: datetime, **changes: Any) -> None:
    """Agents wrote these in one second, and the helpdesk tells of all at once."""
    now = line.gateway.runtime.now()
    endpoint = (await line.gateway.runtime.connections.load([line.helpdesk]))[line.helpdesk]
    news = [
        AgentReply(
            ticket="1",
            external_id=str(900 + TEXTS.index(text.removesuffix(" Sorry!"))),
            revision=text,
            author=Agent(external_id="7", name="Ann"),
            text=text,
            origin="composer",
            at=at,
        )
        for text in texts
    ]
    read = Read(1, now, "helpdesk", "fetch", endpoint, {}, [(endpoint, one.model_copy(update=changes)) for one in news])
    async with line.gateway.runtime.database.write() as connection:
        wakes = await answers.take(connection, [read], now, timedelta(hours=24), 0.0, line.gateway.runtime.calendars)
    await line.gateway.runtime.wake(wakes)


async def test_answers_of_one_second_leave_as_they_were_written(line: LineLike) -> None:
    await complaint(line)
    await line.gateway.pause()
    at = line.gateway.runtime.now().replace(microsecond=0)
    await wrote(line, TEXTS, at)
    await line.until("queued", 3)
    # rewritten, it is decided anew, after the others
    await wrote(line, [f"{TEXTS[0]} Sorry!"], at)
    await line.until("queued", 3)
    await line.gateway.lift()
    await line.settle()
    assert [text for text, _ in line.published()] == [f"{TEXTS[0]} Sorry!", *TEXTS[1:]]


@pytest.mark.parametrize("state", ["received", "queued"])
async def test_an_answer_that_has_to_wait_is_not_overtaken(line: LineLike, state: str) -> None:
    await complaint(line)
    await line.gateway.pause()
    for text in TEXTS:
        await line.queue(1, text)
    # one that is not decided may wait for a file, one that is decided for its next try
    await line.gateway.execute(
        "UPDATE reply SET state = :state, due_at = due_at + interval '1 hour' WHERE text = :text",
        state=state,
        text=TEXTS[0],
    )
    await line.gateway.lift()
    await line.gateway.runtime.wake([f"send:{line.source}"])
    await asyncio.sleep(1.5)
    assert line.published() == []
    await line.gateway.execute("UPDATE reply SET due_at = :now", now=line.gateway.runtime.now())
    await line.settle()
    assert [text for text, _ in line.published()] == TEXTS


async def test_a_held_answer_lets_the_next_one_pass_and_follows_when_it_is_approved(line: LineLike) -> None:
    await complaint(line)
    await line.gateway.pause()
    rows = [await line.queue(1, text) for text in TEXTS[:2]]
    past = line.gateway.runtime.now() - timedelta(minutes=1)
    await line.gateway.execute("UPDATE reply SET not_after = :past WHERE id = :id", past=past, id=rows[0]["id"])
    await line.gateway.lift()
    await line.settle()
    assert [text for text, _ in line.published()] == [TEXTS[1]]
    assert [one["code"] for one in await line.until("held")] == ["expired"]
    async with line.rest() as http:
        answer = await http.post(f"/v1/replies/{rows[0]['id']}/approve", json={"digest": rows[0]["digest"]})
        assert answer.is_success, answer.text
    await line.settle()
    assert [text for text, _ in line.published()] == [TEXTS[1], TEXTS[0]]


async def test_an_answer_told_again_while_it_is_decided_on_locks_nobody_out(line: LineLike) -> None:
    """Who decides on an answer holds it and then wants its ticket; who tells of it must not hold the ticket first."""
    await complaint(line)
    await line.gateway.pause()
    at = line.gateway.runtime.now().replace(microsecond=0)
    await wrote(line, TEXTS[:1], at)
    await line.until("queued")

    async def waits() -> bool:
        return bool(await line.gateway.value("SELECT count(*) FROM pg_locks WHERE NOT granted"))

    async with line.gateway.runtime.database.engine.connect() as deciding:
        await deciding.exec_driver_sql("SELECT 1 FROM reply FOR UPDATE")
        again = asyncio.create_task(wrote(line, [f"{TEXTS[0]} Sorry!"], at))
        await line.gateway.until(waits, "the helpdesk's news waits for the answer")
        await deciding.exec_driver_sql("SELECT 1 FROM ticket FOR NO KEY UPDATE")
        await deciding.commit()
    await again
    await line.gateway.lift()
    await line.settle()
    assert [text for text, _ in line.published()] == [f"{TEXTS[0]} Sorry!"]
