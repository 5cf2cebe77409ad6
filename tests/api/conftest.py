"""The REST API as a caller sees it: the real application over real HTTP, and a real database."""

from __future__ import annotations

import contextlib
import itertools
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import pytest

from support.gateway import fresh_database, settings_for
from support.postgres import server_url  # noqa: F401  a fixture
from support.rest import Api, serving

Serve = Callable[..., contextlib.AbstractAsyncContextManager[Api]]


@pytest.fixture(scope="module")
async def api(server_url: str, tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Api]:  # noqa: F811
    """One gateway for the tests of a file; each makes its own things in it."""
    folder = tmp_path_factory.mktemp("data")
    async with (
        fresh_database(server_url) as url,
        serving(settings_for(url, folder, body_limit=100_000)) as served,
    ):
        yield served


@pytest.fixture
def name() -> str:
    """A name that no other test uses."""
    return f"n{next(_numbers)}"


_numbers = itertools.count(1)


@pytest.fixture
def serve(tmp_path: Path) -> Serve:
    """Serves a gateway with settings of the test's own: `serve(url, **settings)`."""

    @contextlib.asynccontextmanager
    async def start(url: str, **changes: Any) -> AsyncIterator[Api]:
        async with serving(settings_for(url, tmp_path, **changes)) as served:
            yield served

    return start


@pytest.fixture
async def database(server_url: str) -> AsyncIterator[str]:  # noqa: F811
    """A database of the test's own."""
    async with fresh_database(server_url) as url:
        yield url
