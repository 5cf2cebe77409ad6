"""A drain ends what it began, also when plugin code takes longer than its lease, and what it runs in ends with it."""

from __future__ import annotations

import asyncio
import json
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any
from uuid import UUID

import httpx2
import psutil
import pytest

from gateway.app import worker_environment
from gateway.db.database import fetch_all
from support.gateway import Gateway, running, settings_for
from support.plugins import MODULE

INSERT = """
INSERT INTO delivery (received_at, connection_id, role, origin, stream, method, query, headers, body, note, shard,
    state, attempts)
SELECT now(), :connection, 'source', 'webhook', '', 'POST', '', '', body, '{}', :shard, 'pending', 0
FROM unnest(CAST(:bodies AS bytea[])) WITH ORDINALITY AS b (body, position) ORDER BY position
"""
ENDED = "SELECT state, reason, attempts FROM delivery WHERE connection_id = :id ORDER BY id"


async def deliver(gateway: Gateway, connection: UUID, shard: int, orders: Sequence[dict[str, Any]]) -> None:
    """Deliveries that the door has stored, in one shard."""
    async with gateway.runtime.database.write() as transaction:
        bodies = [json.dumps(order).encode() for order in orders]
        await fetch_all(transaction, INSERT + " RETURNING id", connection=connection, shard=shard, bodies=bodies)


def lives(process: psutil.Process) -> bool:
    """Whether it does anything still; nobody may be there to collect the dead."""
    try:
        return bool(process.status() != psutil.STATUS_ZOMBIE)
    except psutil.NoSuchProcess:
        return False


async def test_a_batch_whose_reading_takes_longer_than_its_lease_ends_once(database_url: str, tmp_path: Path) -> None:
    """Else another takes the lease meanwhile, reads the same, loses the lease too, and so on for ever."""
    options = {"lease_seconds": 0.6, "pure_deadline": 0.8, "plugin_modules": (MODULE,)}
    async with running(database_url, tmp_path, **options) as gateway:
        wild = await gateway.add_connection("source", "wild", {})
        await deliver(gateway, wild, 0, [{"do": "say", "id": "a"}, {"do": "hang"}, {"do": "say", "id": "b"}])
        await gateway.runtime.wake(["inbox:0"])
        await gateway.quiet(60)
        rows = await gateway.rows(ENDED, id=wild)
        assert [row["state"] for row in rows] == ["processed", "failed", "processed"]
        assert rows[1]["reason"].startswith("deadline: the plugin's code ran longer than 0.8 s")
        assert [row["attempts"] for row in rows] == [1, 1, 1]
        told = await gateway.rows("SELECT external_id FROM interaction ORDER BY 1")
        assert [row["external_id"] for row in told] == ["a", "b"]


async def test_a_drain_that_breaks_shows_on_its_connection(database_url: str, tmp_path: Path) -> None:
    """Nothing moves, and nobody reads the log: the connection's health says why."""
    async with running(database_url, tmp_path, plugin_modules=(MODULE,)) as gateway:
        wild = await gateway.add_connection("source", "wild", {})
        await gateway.execute("ALTER TABLE reply RENAME COLUMN waived TO gone")
        await gateway.runtime.wake([f"reply:{wild}"])

        async def shown() -> Any:
            return await gateway.value("SELECT blocked_reason FROM connection WHERE id = :id AND failures > 0", id=wild)

        reason = await gateway.until(shown, "the connection says what broke")
        assert reason == "internal: reply broke with ProgrammingError; the worker's log has the details"


async def test_a_request_at_the_door_reaches_a_plugin_under_development(database_url: str, tmp_path: Path) -> None:
    async with (
        running(database_url, tmp_path, plugin_modules=(MODULE,)) as gateway,
        httpx2.AsyncClient(base_url=gateway.url) as client,
    ):
        wild = await gateway.add_connection("source", "wild", {})
        answer = await client.post(f"/hooks/{wild}", json={"do": "say", "text": "a\x00b", "id": "1"})
        assert answer.status_code == 200
        await gateway.quiet()
        assert await gateway.value("SELECT text FROM interaction") == "a\ufffdb"


@pytest.mark.parametrize("number", [None, 15])
async def test_a_supervised_worker_gives_its_name_once_and_then_its_output_to_the_log(
    database_url: str, tmp_path: Path, number: int | None
) -> None:
    """Nobody reads its output on: a plugin that prints must not fill the pipe. It ends with whoever supervises it."""
    settings = settings_for(database_url, tmp_path, plugin_modules=(MODULE,))
    pipe = asyncio.subprocess.PIPE
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "gateway.cli", "worker", "--supervised"),
        stdin=pipe,
        stdout=pipe,
        stderr=pipe,
        env=worker_environment(settings) | {"PYTHONPATH": str(Path(__file__).parents[1])},
    )
    assert process.stdin is not None
    assert process.stdout is not None
    try:
        async with asyncio.timeout(30):
            name = (await process.stdout.readline()).decode().strip()
            assert name.split(":")[1] == str(process.pid)
            assert await process.stdout.read() == b"", "the other end of the pipe is closed"
        async with asyncio.timeout(30):
            while not (children := psutil.Process(process.pid).children(recursive=True)):
                await asyncio.sleep(0.05)
        if number is None:
            process.stdin.close()
        else:
            process.send_signal(number)
        async with asyncio.timeout(30):
            await process.communicate()
        assert process.returncode == 0
        for _ in range(100):
            if not any(map(lives, children)):
                break
            await asyncio.sleep(0.05)
        else:
            pytest.fail("its children outlive it")
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()
