"""Replaying: the oldest first, and what is read once more is recorded once."""

from __future__ import annotations

import base64
import json
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from uuid import UUID

import httpx2

from gateway_schemas.signatures import sign_standard
from support.gateway import fresh_database, running
from support.rest import KEY, Api, signed


async def deliver(api: Api, door: dict[str, Any], body: bytes, query: str = "", **headers: str) -> int:
    """A genuine webhook; returns the delivery's id."""
    headers = {"x-signature": signed(f"secret-of-{door['name']}", body), **headers}
    answer = await api.http.post(f"/hooks/{door['id']}{query}", content=body, headers=headers)
    assert answer.status_code == 200, answer.text
    statement = "SELECT max(id) AS id FROM delivery WHERE connection_id = :id"
    found: int = await api.value(statement, id=UUID(door["id"]))
    return found


async def test_a_limited_replay_takes_the_oldest_and_leaves_the_others(api: Api, name: str) -> None:
    mine, other = await api.shout(name), await api.shout(f"{name}b")
    ids = [await deliver(api, mine, b"x") for _ in range(4)]
    foreign = await deliver(api, other, b"x")
    await api.execute(
        "UPDATE delivery SET state = 'failed', reason = 'a bug', processed_at = now() WHERE id = ANY(:ids)",
        ids=[*ids[:3], foreign],
    )
    await api.execute("UPDATE delivery SET state = 'processed', reason = NULL WHERE id = :id", id=ids[3])
    await api.woken()
    body = {"state": "failed", "connection": mine["id"], "limit": 2}
    answer = await api.http.post("/v1/deliveries/replay", json=body)
    assert (answer.status_code, answer.json()) == (202, {"deliveries": 2})
    rows = {row["id"]: row for row in await api.rows("SELECT id, state, reason, shard FROM delivery")}
    assert [rows[id]["state"] for id in [*ids, foreign]] == ["pending", "pending", "failed", "processed", "failed"]
    assert rows[ids[0]]["reason"] is None
    assert {f"inbox:{rows[id]['shard']}" for id in ids[:2]} <= await api.woken()
    wrong = await api.http.post("/v1/deliveries/replay", json={"state": "processed"})
    assert [one["field"] for one in wrong.json()["errors"]] == ["state"]
    assert (await api.http.post("/v1/deliveries/999999999/replay")).status_code == 404


async def test_what_is_replayed_is_read_again_and_recorded_once(server_url: str, tmp_path: Path) -> None:
    secret = "whsec_" + base64.b64encode(b"32 bytes of a secret for a test.").decode()
    async with (
        fresh_database(server_url) as url,
        running(url, tmp_path) as gateway,
        httpx2.AsyncClient(base_url=gateway.url, headers={"Authorization": f"Bearer {KEY}"}) as http,
    ):
        config = {"signing_secrets": [secret]}
        made = await http.post("/v1/connections", json={"plugin": "inbound", "name": "forum", "config": config})
        assert made.status_code == 201, made.text

        async def push(message_id: str, event: Any) -> None:
            body = json.dumps(event).encode()
            headers = sign_standard(secret, message_id, datetime.now(UTC), body)
            answer = await http.post(f"/hooks/{made.json()['id']}", content=body, headers=headers)
            assert answer.status_code == 200, answer.text

        data = {"external_id": "c-1", "kind": "comment", "author": {"external_id": "u-1"}, "text": "Late again."}
        at = datetime.now(UTC).isoformat()
        await push("m1", {"type": "interaction.created", "timestamp": at, "data": data})
        await push("m2", {"type": "interaction.created", "timestamp": at, "data": {"external_id": 5}})
        await gateway.quiet()

        async def ended(state: str) -> list[Any]:
            found = (await http.get("/v1/deliveries", params={"state": state})).json()["items"]
            return [(one["reason"] is not None, one["attempts"]) for one in found]

        assert (await ended("processed"), await ended("failed")) == ([(False, 1)], [(True, 1)])
        assert (await http.post("/v1/deliveries/replay", json={})).json() == {"deliveries": 1}
        [good] = (await http.get("/v1/deliveries", params={"state": "processed"})).json()["items"]
        assert (await http.post(f"/v1/deliveries/{good['id']}/replay")).status_code == 202
        await gateway.quiet()
        assert (await ended("processed"), await ended("failed")) == ([(False, 2)], [(True, 2)])
        assert await gateway.value("SELECT count(*) FROM interaction") == 1
        assert await gateway.value("SELECT count(*) FROM revision") == 1
