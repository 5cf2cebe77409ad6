"""How work falls into batches changes nothing: any partition of the same input gives the same tickets and comments."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Sequence
from typing import Any
from uuid import UUID

import pytest

from gateway.db.database import fetch_all
from gateway.engine.sandbox import Sandbox
from gateway.pipeline.drains import DUE, Drains
from gateway.runtime import Runtime
from support.gateway import Gateway

SECRET = "whsec_" + "A" * 43 + "="
DESK = {"base_url": "http://127.0.0.1:9", "email": "a@example.com", "api_token": "t"}
INSERT = """
INSERT INTO delivery (received_at, connection_id, role, origin, stream, method, query, headers, body, note, shard,
    state, attempts)
SELECT now(), :connection, 'source', 'webhook', '', 'POST', '', '', body, '{}', :shard, 'pending', 0
FROM unnest(CAST(:bodies AS bytea[])) WITH ORDINALITY AS b (body, position) ORDER BY position
"""
POST = {
    "external_id": "topic-1",
    "kind": "post",
    "author": {"external_id": "rita", "name": "Rita"},
    "text": "my parcle is stuck",
    "published_at": "2026-03-02T09:00:00Z",
}
EDIT = {**POST, "text": "my parcel is stuck", "edited_at": "2026-03-02T09:01:00Z"}


def event(kind: str, data: dict[str, Any], minute: int) -> dict[str, Any]:
    """One event as the system sends it."""
    return {"type": f"interaction.{kind}", "timestamp": f"2026-03-02T09:{minute:02}:00Z", "data": data}


STORY = {
    "edit": [event("created", POST, 0), event("updated", EDIT, 1)],
    "deletion": [event("created", POST, 0), event("deleted", {"external_id": "topic-1", "by": "author"}, 2)],
}


@pytest.fixture
def gateway(runtime: Runtime) -> Gateway:
    """An installation that nobody works on."""
    return Gateway(runtime)


@pytest.fixture
async def source(gateway: Gateway) -> UUID:
    """A source connection with a helpdesk."""
    helpdesk = await gateway.add_connection("helpdesk", "zendesk", DESK)
    return await gateway.add_connection("source", "inbound", {"signing_secrets": [SECRET]}, helpdesk=helpdesk)


@pytest.fixture
async def drains(runtime: Runtime) -> AsyncIterator[Drains]:
    """The stations of a worker that does what it is told."""
    sandbox = Sandbox(5.0)
    try:
        yield Drains(runtime, sandbox)
    finally:
        sandbox.close()


async def due(gateway: Gateway, kind: str) -> list[str]:
    """The drains of a kind that have something to do."""
    names = [row["name"] for row in await gateway.rows(DUE, now=gateway.runtime.now())]
    return [name for name in names if name.startswith(kind)]


async def deliver(gateway: Gateway, source: UUID, events: Sequence[dict[str, Any]], shard: int = 3) -> None:
    """Deliveries that the door has stored."""
    bodies = [json.dumps(one).encode() for one in events]
    async with gateway.runtime.database.write() as connection:
        await fetch_all(connection, INSERT + " RETURNING id", connection=source, bodies=bodies, shard=shard)


async def test_the_tick_wakes_the_shards_that_have_work_and_no_others(
    gateway: Gateway, source: UUID, drains: Drains
) -> None:
    await deliver(gateway, source, STORY["edit"])
    assert await due(gateway, "inbox") == ["inbox:3"]
    await drains.run("inbox:3")
    assert await due(gateway, "inbox") == []
    shards = {row["shard"] for row in await gateway.rows("SELECT shard FROM revision WHERE state = 'pending'")}
    assert await due(gateway, "thread") == [f"thread:{shard}" for shard in sorted(shards)]


@pytest.mark.parametrize("what", ["edit", "deletion"])
@pytest.mark.parametrize("apart", [False, True], ids=["in one batch", "one by one"])
async def test_a_post_that_changes_before_it_is_threaded_is_told_as_it_is(
    gateway: Gateway, source: UUID, drains: Drains, what: str, apart: bool
) -> None:
    for number, one in enumerate(STORY[what]):
        await deliver(gateway, source, [one])
        await drains.run("inbox:3")
        for name in await due(gateway, "thread") if apart or number else ():
            await drains.run(name)
    pushed = await gateway.rows(
        """SELECT kind, payload ->> 'text' AS text FROM push
           WHERE kind = 'comment' OR key LIKE 'n:%:deleted:%' ORDER BY kind, id"""
    )
    assert pushed[0] == {"kind": "comment", "text": EDIT["text"] if what == "edit" else POST["text"]}
    assert [row["kind"] for row in pushed[1:]] == ([] if what == "edit" else ["note"])
    assert await gateway.value("SELECT count(*) FROM ticket") == 1
