"""Any number of doors and workers on one database do what one does."""

from __future__ import annotations

from typing import Any

from gateway_inbound.twin import InboundTwin
from support.processes import free_port, process, up

SECRET = "whsec_" + "A" * 43 + "="


async def test_two_doors_and_two_workers_give_the_same_as_one_of_each(make_scene: Any) -> None:
    async with make_scene(call_timeout=5.0, lease_seconds=5.0) as scene:
        forum = InboundTwin(signing_secret=SECRET, reply_secret=SECRET)
        port = free_port()
        async with (
            forum.serve(),
            process(scene.gateway.runtime.settings, "serve", "--no-worker", "--port", str(port)),
            process(scene.gateway.runtime.settings, "worker"),
        ):
            source = await scene.gateway.add_connection(
                "source",
                "inbound",
                {"signing_secrets": [SECRET], "reply_url": forum.reply_url, "reply_secret": SECRET},
                helpdesk=scene.helpdesk,
            )
            other = f"http://127.0.0.1:{port}"
            await up(other)
            doors = [f"{url}/hooks/{source}" for url in (scene.gateway.url, other)]
            for number in range(40):
                item = {
                    "external_id": f"topic-{number}",
                    "kind": "post",
                    "author": {"external_id": f"user-{number % 13}", "name": f"User {number % 13}"},
                    "text": f"Topic {number}",
                    "published_at": f"2026-01-01T00:00:{number:02}Z",
                }
                for door in doors:  # everything is told to both
                    forum.door = door
                    forum.push(item)
                scene.x.post("rita", f"@AcmeSupport matter {number}")
            await forum.settle()
            await scene.settle(60)
            assert len(scene.desk.tickets) == 80
            assert all(len(ticket.comments) == 1 for ticket in scene.desk.tickets.values())
            for number in list(scene.desk.tickets):
                scene.desk.agent_comment(number, "Ann", f"Answer {number}")
            await scene.settle(60)
            answers = [text for text, _ in scene.published()] + [one["text"] for one in forum.replies.values()]
            assert sorted(answers) == sorted(f"Answer {number}" for number in scene.desk.tickets)
            assert await scene.gateway.value("SELECT count(*) FROM interaction WHERE direction = 'inbound'") == 80
