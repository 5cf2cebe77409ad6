"""Fixtures that the gateway's own tests share.

The closed network and the clean environment are not here: `support.hermetic` brings them to every test folder.
"""

from __future__ import annotations

import copy
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest

from gateway.engine.forks import Forks
from gateway.runtime import Runtime, open_runtime
from gateway.security import redaction
from support.gateway import fresh_database, installed, settings_for
from support.postgres import server_url  # noqa: F401  a fixture


@pytest.fixture(scope="session", autouse=True)
def forks() -> Iterator[None]:
    """The server of the sandboxes' children loads every language: once for all tests of this process, not for each."""
    share = Forks()
    yield
    share.release()


@pytest.fixture(autouse=True)
def secrets_of_one_test(monkeypatch: pytest.MonkeyPatch) -> None:
    """What a test had for a secret is an ordinary word to the others of its process."""
    monkeypatch.setattr(redaction, "_redactor", copy.deepcopy(redaction._redactor))


# --- the database, running processes, twins: fixtures go below this line ---


@pytest.fixture
async def database_url(server_url: str) -> AsyncIterator[str]:  # noqa: F811
    """An empty migrated database of this test's own."""
    async with fresh_database(server_url) as url:
        yield url


@pytest.fixture
async def runtime(database_url: str, tmp_path: Path) -> AsyncIterator[Runtime]:
    """One process's runtime on a database of its own, without door and worker."""
    async with open_runtime(settings_for(database_url, tmp_path), registry=installed()) as opened:
        yield opened
