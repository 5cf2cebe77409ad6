"""Killed or stopped between a provider's effect and our record of it: one ticket, one comment, one post."""

from __future__ import annotations

import asyncio
import signal
from typing import Any

import pytest

from gateway_schemas.testing.twin import Fault

STOP_SECONDS = 7.0
"""Longer than any lease and deadline of these tests."""


async def strike(scene: Any, how: str) -> None:
    """Kill the worker and start another, or stop it until everybody else has given up on it."""
    if how == "kill":
        await scene.worker.kill()
        await scene.worker.start()
    else:
        scene.worker.signal(signal.SIGSTOP)
        await asyncio.sleep(STOP_SECONDS)
        scene.worker.signal(signal.SIGCONT)


@pytest.mark.parametrize("how", ["kill", "stop"])
async def test_promise_4_a_ticket_created_before_the_crash_is_not_created_again(make_scene: Any, how: str) -> None:
    async with make_scene() as scene:
        scene.desk.faults.append(Fault("timeout_after", path=r"/tickets(\.json)?$", method="POST", seconds=4))
        scene.x.post("rita", "@AcmeSupport my parcel is stuck")

        async def created() -> bool:
            return len(scene.desk.tickets) == 1

        await scene.gateway.until(created, "the ticket is there")
        await strike(scene, how)
        await scene.settle()
        assert len(scene.desk.tickets) == 1
        assert scene.comments(1) == ["@AcmeSupport my parcel is stuck"]


@pytest.mark.parametrize("how", ["kill", "stop"])
async def test_promise_4_a_comment_written_before_the_crash_is_not_written_again(make_scene: Any, how: str) -> None:
    async with make_scene() as scene:
        post = scene.x.post("rita", "@AcmeSupport my parcel is stuck")
        await scene.settle()
        scene.desk.faults.append(Fault("timeout_after", path=r"/tickets/1(\.json)?$", method="PUT", seconds=4))
        scene.x.post("rita", "@AcmeSupport hello?", in_reply_to=post)

        async def written() -> bool:
            return len(scene.desk.tickets[1].comments) == 2

        await scene.gateway.until(written, "the comment is on the ticket")
        await strike(scene, how)
        await scene.settle()
        assert scene.comments(1) == ["@AcmeSupport my parcel is stuck", "@AcmeSupport hello?"]


@pytest.mark.parametrize("how", ["kill", "stop"])
async def test_promise_5_an_answer_posted_before_the_crash_is_not_posted_again(make_scene: Any, how: str) -> None:
    async with make_scene() as scene:
        post = scene.x.post("rita", "@AcmeSupport my parcel is stuck")
        await scene.settle()
        scene.x.faults.append(Fault("timeout_after", path=r"/2/tweets$", method="POST", seconds=4))
        scene.x.webhooks.paused = True  # so that no echo proves it
        scene.desk.agent_comment(1, "Ann", "We found it!")

        async def posted() -> bool:
            return bool(scene.published())

        await scene.gateway.until(posted, "the answer is on X")
        await strike(scene, how)

        async def proven() -> bool:
            return await scene.gateway.value("SELECT state FROM reply") == "sent"

        await scene.gateway.until(proven, "the answer is known to be out", 40)
        scene.x.webhooks.paused = False
        await scene.settle()
        assert scene.published() == [("We found it!", post)]
        assert len(scene.desk.tickets[1].comments) == 2


async def test_promise_3_an_echo_that_overtakes_the_answer_is_the_proof(make_scene: Any) -> None:
    async with make_scene() as scene:
        post = scene.x.post("rita", "@AcmeSupport my parcel is stuck")
        await scene.settle()
        # the answer to our call never comes and the timeline hides the post: only the echo can tell
        scene.x.faults.append(Fault("timeout_after", path=r"/2/tweets$", method="POST", seconds=4))
        scene.x.faults.append(Fault("status_before", path=r"/2/users/\d+/tweets", method="GET", status=503, times=None))
        scene.desk.agent_comment(1, "Ann", "We found it!")

        async def proven() -> bool:
            return await scene.gateway.value("SELECT state FROM reply") == "sent"

        await scene.gateway.until(proven, "the echo proves it", 30)
        scene.x.faults.clear()
        await scene.settle()
        assert scene.published() == [("We found it!", post)]
        assert len(scene.desk.tickets[1].comments) == 2, "the echo is no comment of its own"


async def test_promise_1_what_was_answered_2xx_survives_the_kill_of_everything(make_scene: Any) -> None:
    async with make_scene() as scene:
        await scene.worker.kill()
        for number in range(30):
            scene.x.post("rita", f"@AcmeSupport matter {number}")
        await scene.x.settle()
        assert await scene.gateway.value("SELECT count(*) FROM delivery") >= 30
        await scene.worker.start()
        await scene.settle()
        assert len(scene.desk.tickets) == 30


@pytest.mark.torture
async def test_killed_again_and_again_nothing_is_lost_or_doubled(make_scene: Any) -> None:
    # what was being made when its worker died is believed absent once the helpdesk would have shown it: after a minute
    async with make_scene(speed=10.0) as scene:
        posts = []
        for number in range(10):
            posts.append(scene.x.post("rita", f"@AcmeSupport matter {number}"))
            if number % 5 == 4:
                await asyncio.sleep(0.3)
                await scene.worker.kill()
                await scene.worker.start()
        await scene.settle(60)
        assert len(scene.desk.tickets) == 10
        for number in list(scene.desk.tickets):
            scene.desk.agent_comment(number, "Ann", f"Answer to ticket {number}")
            if number % 4 == 0:
                await asyncio.sleep(0.2)
                await scene.worker.kill()
                await scene.worker.start()
        await scene.settle(60)
        published = scene.published()
        assert len(published) == len(set(published)) == 10
        assert sorted(parent or "" for _, parent in published) == sorted(posts)
