"""One embedded PostgreSQL for all tests of this repository and all of their worker processes, and databases in it.

The server keeps its data folder between runs, so that only the first one pays for making it: the folder that
GATEWAY_TEST_DATA names, or one of this checkout in memory or in the temporary folder.
"""

from __future__ import annotations

import hashlib
import os
import secrets
import shutil
import tempfile
from collections.abc import Awaitable, Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from urllib.parse import urlsplit

import psutil
import psycopg
import pytest
from psycopg import sql

from gateway.db.embedded import EmbeddedPostgres
from support.repository import ROOT

UNSAFE = {"fsync": "off", "full_page_writes": "off", "max_connections": "400", "autovacuum": "off"}
"""Settings of a server whose data nobody will miss after a power cut."""


MEMORY = Path("/dev/shm")
ROOM = 4 * 1024**3
"""Bytes that must be free in memory before data go there."""


def data_folder() -> Path:
    """Where the shared server keeps its data: the same folder in every run of this checkout by this user.

    In memory, where there is room: a database of some 700 files is cloned there in 20 ms, and on a disk in up to 500.
    """
    if chosen := os.environ.get("GATEWAY_TEST_DATA"):
        return Path(chosen)
    key = hashlib.sha256(f"{ROOT} {os.geteuid()}".encode()).hexdigest()[:12]
    name = f"helpdesk-gateway-tests-{key}"
    if (MEMORY / name).exists() or (os.access(MEMORY, os.W_OK) and shutil.disk_usage(MEMORY).free > ROOM):
        return MEMORY / name
    return Path(tempfile.gettempdir()) / name


@contextmanager
def shared_server(settings: Mapping[str, str] = UNSAFE) -> Iterator[str]:
    """Take a share in the server for as long as this is entered; the last process to leave stops it. Yields its URL.

    Databases that killed test runs left behind are dropped. Settings count for the process that finds it stopped.
    """
    with EmbeddedPostgres(data_folder(), settings) as server:
        with psycopg.connect(database_url(server.url, "postgres"), autocommit=True) as connection:
            for (name,) in connection.execute(
                "SELECT datname FROM pg_database WHERE datname LIKE 'test\\_%'"
            ).fetchall():
                if not psutil.pid_exists(int(name.split("_")[1])):
                    with suppress(psycopg.errors.InvalidCatalogName):  # another worker was faster
                        connection.execute(_drop(name))
        yield server.url


@pytest.fixture(scope="session")
def server_url() -> Iterator[str]:
    """The shared server. Tests work in clones of a template, never in its own database."""
    with shared_server() as url:
        yield url


def database_url(server_url: str, name: str) -> str:
    """The URL of another database of the same server."""
    return urlsplit(server_url)._replace(path=f"/{name}").geturl()


def fingerprint(*folders: Path) -> str:
    """Changes with every Python file of the folders: names a template after the code that builds it."""
    digest = hashlib.sha256()
    for path in sorted(path for folder in folders for path in folder.rglob("*.py")):
        digest.update(f"{path.relative_to(ROOT)}\0".encode() + path.read_bytes() + b"\0")
    return digest.hexdigest()[:16]


async def ensure_template(server_url: str, name: str, mark: str, build: Callable[[str], Awaitable[None]]) -> str:
    """The template database `name` in the version `mark`, built once for all workers and runs. Returns its name.

    `build` gets the URL of an empty database and must have closed its connections when it returns. Templates of the
    same name with other marks are dropped.
    """
    template = f"template_{name}__{mark}"
    unfinished = f"{template}_unfinished"
    async with await _administrate(server_url) as connection:
        await connection.execute("SELECT pg_advisory_lock(hashtext(%s))", [f"template_{name}"])  # released by closing
        found = await (await connection.execute("SELECT datname FROM pg_database WHERE NOT datistemplate")).fetchall()
        present = {str(row[0]) for row in found}
        if template in present:
            return template
        for stale in present:
            if stale.startswith(f"template_{name}__"):
                with suppress(psycopg.errors.ObjectInUse):
                    await connection.execute(_drop(stale, force=stale == unfinished))
        await connection.execute(sql.SQL("CREATE DATABASE {}").format(sql.Identifier(unfinished)))
        await build(database_url(server_url, unfinished))
        rename = sql.SQL("ALTER DATABASE {} RENAME TO {}")
        await connection.execute(rename.format(sql.Identifier(unfinished), sql.Identifier(template)))
        # A connection to it, even a forgotten one, would keep everybody from cloning it.
        await connection.execute(sql.SQL("ALTER DATABASE {} ALLOW_CONNECTIONS false").format(sql.Identifier(template)))
    return template


async def clone_database(server_url: str, template: str) -> str:
    """A fresh copy of the template, as a URL. Takes about 20 ms in memory."""
    name = f"test_{os.getpid()}_{secrets.token_hex(6)}"
    # Copying files beats writing the copy to the log (25 against 45 to 100 ms) where nothing waits for the disk.
    clone = sql.SQL("CREATE DATABASE {} TEMPLATE {} STRATEGY = FILE_COPY")
    async with await _administrate(server_url) as connection:
        await connection.execute(clone.format(sql.Identifier(name), sql.Identifier(template)))
    return database_url(server_url, name)


async def drop_database(url: str) -> None:
    """Drop a clone, ending whatever is still connected to it."""
    name = urlsplit(url).path.removeprefix("/")
    assert name.startswith("test_"), f"{name} is not a clone"
    async with await _administrate(url) as connection:
        await connection.execute(_drop(name))


async def _administrate(server_url: str) -> psycopg.AsyncConnection:
    return await psycopg.AsyncConnection.connect(database_url(server_url, "postgres"), autocommit=True)


def _drop(name: str, *, force: bool = True) -> sql.Composed:
    return sql.SQL("DROP DATABASE {} WITH (FORCE)" if force else "DROP DATABASE {}").format(sql.Identifier(name))
