"""Promise 10: one flooded connection delays nobody else."""

from __future__ import annotations

from pathlib import Path
from typing import Any
from uuid import UUID

from gateway.engine.shards import SHARDS
from gateway_inbound.twin import InboundTwin
from support.gateway import Gateway, fresh_database, running

SECRET = "whsec_" + "A" * 43 + "="
FLOOD = 600


def topic(number: int) -> dict[str, Any]:
    """A complaint by a customer of its own."""
    return {
        "external_id": f"topic-{number}",
        "kind": "post",
        "author": {"external_id": f"user-{number}", "name": f"User {number}"},
        "text": f"Topic {number}",
        "published_at": "2026-01-01T00:00:00Z",
    }


async def connect(gateway: Gateway, name: str) -> tuple[UUID, InboundTwin]:
    """A forum of its own whose webhooks come to this gateway's door."""
    source = await gateway.add_connection("source", "inbound", {"signing_secrets": [SECRET]}, name=name)
    return source, InboundTwin(signing_secret=SECRET, reply_secret=SECRET, door=f"{gateway.url}/hooks/{source}")


async def test_promise_10_what_comes_after_a_flood_of_another_connection_is_read_before_the_flood_is(
    server_url: str, tmp_path: Path
) -> None:
    async with fresh_database(server_url) as url, running(url, tmp_path, worker=False) as gateway:
        flooded, crowd = await connect(gateway, "crowd")
        calm, forum = await connect(gateway, "forum")
        async with crowd.serve(), forum.serve():
            for number in range(FLOOD):
                crowd.push(topic(number))
            await crowd.settle()
            forum.push(topic(FLOOD))
            await forum.settle()
        shards = "SELECT count(*) FROM delivery WHERE connection_id = :id AND shard < :shards"
        assert await gateway.value(shards, id=calm, shards=SHARDS) == 1
        first = await gateway.value(shards, id=flooded, shards=SHARDS)
        assert 0 < first < FLOOD, "what begins as a trickle is treated as one, until it is a flood"
        async with running(url, tmp_path, batch=50) as worker:
            heard = "SELECT count(*) FROM interaction WHERE connection_id = :id"

            async def arrived() -> bool:
                return bool(await worker.value(heard, id=calm))

            await worker.until(arrived, "the calm connection's message is recorded", 60)
            assert await worker.value(heard, id=flooded) < FLOOD
            await worker.quiet(90)
            assert await worker.value(heard, id=flooded) == FLOOD


async def test_what_cannot_be_put_into_words_fails_alone(line: Any) -> None:
    line.x.add_user("omar")
    posts = {who: line.x.post(who, f"@AcmeSupport {who}'s parcel is stuck") for who in ("rita", "omar")}
    await line.settle()
    # what was told of rita is to be told again, by somebody whom the contract has no words for
    await line.gateway.execute(
        """UPDATE push SET state = 'pending', tries = 0, change_key = NULL, done_at = NULL,
               payload = payload || '{"author": 7}' WHERE kind = 'comment' AND payload ->> 'text' LIKE '%rita%'"""
    )
    line.x.post("omar", "@AcmeSupport omar asks again", in_reply_to=posts["omar"])
    await line.settle()
    told = [comment.body.split("\n")[0] for ticket in line.desk.tickets.values() for comment in ticket.comments]
    assert sorted(told) == sorted(
        ["@AcmeSupport rita's parcel is stuck", "@AcmeSupport omar's parcel is stuck", "@AcmeSupport omar asks again"]
    )
    [failed] = await line.gateway.rows("SELECT code, reason, ticket_id FROM push WHERE state = 'failed'")
    assert failed["code"] == "unfit"
    problem = await line.gateway.value("SELECT problem FROM ticket WHERE id = :id", id=failed["ticket_id"])
    assert problem.startswith("unfit: ")
