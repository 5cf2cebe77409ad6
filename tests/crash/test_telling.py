"""A worker that is killed between telling a subscriber and writing it down tells it again, under the same id."""

from __future__ import annotations

import asyncio
from pathlib import Path
from uuid import UUID

import pytest

from gateway.db.database import execute, fetch_all, insert_rows
from gateway.db.tables.columns import new_id
from gateway.events.announce import announce
from gateway.events.receivers import Secret, new_secret, seal
from gateway.runtime import Runtime, open_runtime
from support.gateway import fresh_database, settings_for
from support.postgres import server_url  # noqa: F401  a fixture
from support.processes import process
from support.receiver import Hook, receiving


async def subscribe(runtime: Runtime, url: str, place: str) -> tuple[UUID, str]:
    """A subscription to everything; its id and secret."""
    id, secret, now = new_id(), new_secret(), runtime.now()
    row = {
        "id": id,
        "name": "all",
        "url": url,
        "description": "",
        "kinds": ["*"],
        "brands": [],
        "connections": [],
        "include_text": False,
        "allow_private": [place],
        "state": "active",
        "failures": 0,
        "version": 1,
        "created_by": "test",
        "created_at": now,
        "updated_at": now,
    }
    async with runtime.database.write() as connection:
        await insert_rows(connection, "subscription", [row])
        sealed = seal(runtime.vault, id, [Secret(secret)])
        await execute(connection, "UPDATE subscription SET secrets = :sealed WHERE id = :id", id=id, sealed=sealed)
    return id, secret


@pytest.mark.torture  # beside this, tests/api looks at the deadline alone, within one process
async def test_killed_between_sending_and_recording_it_is_sent_again_under_the_same_id(
    server_url: str,  # noqa: F811
    tmp_path: Path,
) -> None:
    async with fresh_database(server_url) as url, receiving() as receiver:
        settings = settings_for(url, tmp_path, event_timeout=1.0)
        arrived, killed = asyncio.Event(), asyncio.Event()

        async def hold(_: Hook) -> tuple[int, dict[str, str], bytes]:
            arrived.set()
            await killed.wait()
            return 200, {}, b""

        receiver.answers["in"] = hold
        async with open_runtime(settings) as runtime:
            id, secret = await subscribe(runtime, f"{receiver.url}/in", receiver.place)
            async with process(settings, "worker") as worker:
                async with runtime.database.write() as connection:
                    await announce(
                        connection, "subscription.disabled", "subscription", id, {"reason": "r"}, runtime.now()
                    )
                await asyncio.wait_for(arrived.wait(), 60)
                await worker.kill()
                receiver.answers["in"] = 200
                killed.set()
                await worker.start()

                async def delivered() -> bool:
                    async with runtime.database.read() as connection:
                        rows = await fetch_all(connection, "SELECT state, tries FROM event_delivery")
                    return [(row["state"], row["tries"]) for row in rows] == [("delivered", 2)]

                async with asyncio.timeout(60):
                    while not await delivered():
                        await asyncio.sleep(0.1)
                await worker.stop()
        first, second = receiver.hooks["in"]
        assert first.id == second.id
        assert first.body == second.body
        assert all(hook.signed_by(secret) for hook in (first, second))
