"""The stage: nothing is left of it, however it ends, and what is knocked over stands up again."""

from __future__ import annotations

import asyncio
import functools
import io
import os
import shlex
import signal
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import httpx2
import psutil
import pytest
from rich.console import Console

from gateway.demo.process import StageBroken
from gateway.demo.script import load_script
from gateway.demo.stage import set_stage
from gateway.demo.telling import Teller
from gateway.runtime import Runtime
from gateway_schemas.time import SharedTime
from support.gateway import Gateway

BEGINS = datetime(2026, 3, 6, 18, 0, tzinfo=UTC)


@asynccontextmanager
async def demo(folder: Path) -> AsyncIterator[tuple[asyncio.subprocess.Process, list[psutil.Process]]]:
    """`gateway demo` in the middle of its evening, and everything that it has started."""
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "gateway.cli", "demo", "--speed", "60"),
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
        env={**os.environ, "TMPDIR": str(folder), "PYTHONUNBUFFERED": "1"},
        # whoever runs the tests in the background ignores Ctrl-C, and that would be inherited
        preexec_fn=functools.partial(signal.signal, signal.SIGINT, signal.default_int_handler),
    )
    assert process.stdout is not None
    try:
        while b"stands" not in await process.stdout.readline():
            assert process.returncode is None
        family = psutil.Process(process.pid).children(recursive=True)
        assert len(family) > 5, "serve, a worker, its sandbox, and the database"
        yield process, family
    finally:
        if process.returncode is None:
            process.kill()
        await process.wait()


async def gone(family: list[psutil.Process], seconds: float = 40.0) -> list[psutil.Process]:
    """Those of the processes that are still there after so long; not who has ended and is only not buried yet."""
    _, alive = await asyncio.to_thread(psutil.wait_procs, family, seconds)
    return [one for one in alive if one.is_running() and one.status() != psutil.STATUS_ZOMBIE]


@pytest.mark.slow
@pytest.mark.parametrize(
    ("number", "code"),
    [
        pytest.param(signal.SIGINT, {130, 1, -2}, id="Ctrl-C"),
        pytest.param(signal.SIGTERM, {143}, id="SIGTERM", marks=pytest.mark.torture),
    ],
)
async def test_an_evening_that_is_ended_leaves_nothing(tmp_path: Path, number: signal.Signals, code: set[int]) -> None:
    async with demo(tmp_path) as (process, family):
        process.send_signal(number)
        await asyncio.wait_for(process.communicate(), 120)
        assert process.returncode in code
        assert await gone(family, 1.0) == []
        assert os.listdir(tmp_path) == [], "its folder is gone as well"


@pytest.mark.torture
async def test_an_evening_that_is_killed_leaves_no_process(tmp_path: Path) -> None:
    async with demo(tmp_path) as (process, family):
        process.kill()
        assert await gone(family) == []


@pytest.mark.slow
async def test_what_is_killed_runs_again_and_what_the_reader_is_invited_to_try_works(tmp_path: Path) -> None:
    clock = SharedTime.create(tmp_path / "time", at=BEGINS)
    async with set_stage([], clock, tmp_path) as stage:
        (worker,) = await workers(stage.serve.workers)
        assert await stage.kill("worker")
        (another,) = await workers(stage.serve.workers, but=worker)
        assert another.pid != worker.pid
        assert await stage.kill("serve")
        assert await stage.rest.get("plugins")
        (third,) = await workers(stage.serve.workers, but=another)
        assert await gone([another], 20.0) == [], "the worker of a serve that was killed ends by itself"
        assert third.is_running()
        assert await stage.kill("postgres")
        assert await stage.quiet.until_quiet(30.0)
        assert await stage.rest.get("brands") == {"items": [], "next": None}

        said = io.StringIO()
        Teller(Console(file=said, soft_wrap=True), load_script()).invite(stage.rest.url, stage.rest.key)
        text = said.getvalue().replace("\\\n", "")
        assert f"export KEY={stage.rest.key}" in text
        answers = [await called(line, stage.rest.key) for line in text.splitlines() if "curl" in line]
        assert len(answers) == 3
        assert (answers[0]["items"], answers[1]["items"]) == ([], [])
        assert answers[2]["verdict"] == "block", "the policies that ship stop it, and say why"
        async with httpx2.AsyncClient(trust_env=False) as http:
            assert (await http.get(f"{stage.rest.url}/docs")).status_code == 200


async def called(command: str, key: str) -> Any:
    """What a printed curl command gets."""
    words = shlex.split(command.partition("|")[0].replace("$KEY", key))
    [url] = [word for word in words if word.startswith("http")]
    headers = dict(words[at + 1].split(": ", 1) for at, word in enumerate(words) if word == "-H")
    body = next((words[at + 1] for at, word in enumerate(words) if word == "-d"), None)
    async with httpx2.AsyncClient(trust_env=False, timeout=60) as http:
        answer = await http.request("POST" if body else "GET", url, content=body, headers=headers)
    assert answer.status_code == 200, answer.text
    return answer.json()


async def workers(look, *, but: psutil.Process | None = None) -> list[psutil.Process]:  # type: ignore[no-untyped-def]
    """The workers, once there is one that is not `but`."""
    async with asyncio.timeout(30.0):
        while True:
            found: list[psutil.Process] = [worker for worker in look() if worker != but]
            if found:
                return found
            await asyncio.sleep(0.02)


async def test_a_database_in_use_is_refused(
    runtime: Runtime, database_url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    await Gateway(runtime).add_connection("helpdesk", "zendesk", {"subdomain": "acme", "oauth_token": "t"})
    monkeypatch.setenv("GATEWAY_DATABASE_URL", database_url)
    clock = SharedTime.create(tmp_path / "time", at=BEGINS)
    with pytest.raises(StageBroken, match="in use"):
        async with set_stage([], clock, tmp_path):
            pytest.fail("the stage stands in somebody's own database")


@pytest.mark.slow
async def test_an_empty_database_of_ones_own_will_do(
    database_url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("GATEWAY_DATABASE_URL", database_url)
    monkeypatch.setenv("GATEWAY_PORT", "1")  # whatever this machine's own gateway is told counts for nothing here
    clock = SharedTime.create(tmp_path / "time", at=BEGINS)
    async with set_stage([], clock, tmp_path) as stage:
        assert stage.postgres is None
        assert await stage.rest.brand("Acme")
        assert not await stage.kill("postgres"), "it is not ours"
