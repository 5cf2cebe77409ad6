"""A whole gateway in one test process: database, door, worker, and twins beside it."""

from __future__ import annotations

import asyncio
import contextlib
import functools
import socket
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from uuid import UUID

import uvicorn
from pydantic import SecretStr

from gateway.app import create_app
from gateway.connections import split_secrets
from gateway.db.database import as_json, execute, fetch_all, insert_rows
from gateway.db.migrate import migrate
from gateway.db.tables.columns import new_id
from gateway.engine.worker import work
from gateway.pipeline.incidents import GROWN
from gateway.pipeline.poll import make_cursors
from gateway.registry import Registry
from gateway.runtime import Runtime, open_runtime
from gateway.settings import Settings
from gateway_schemas.errors import Retry
from support.postgres import clone_database, drop_database, ensure_template, fingerprint
from support.repository import ROOT

LOOPBACK = ["127.0.0.1/32"]


@functools.cache
def installed() -> Registry:
    """The installed plugins, looked for once: that takes as long as many a test."""
    return Registry.load()


async def template(server_url: str) -> str:
    """The migrated template that test databases are cloned from."""

    async def build(url: str) -> None:
        await asyncio.to_thread(migrate, url)

    return await ensure_template(server_url, "gateway", fingerprint(ROOT / "migrations"), build)


@contextlib.asynccontextmanager
async def fresh_database(server_url: str) -> AsyncIterator[str]:
    """An empty migrated database for one test."""
    url = await clone_database(server_url, await template(server_url))
    try:
        yield url
    finally:
        await drop_database(url)


def settings_for(url: str, folder: Path, **changes: Any) -> Settings:
    """Settings of a test installation: its own data folder, and no policies but those that a test names."""
    return Settings(
        _env_file=None,  # type: ignore[call-arg]
        **{
            "environment": "development",
            "database_url": SecretStr(url),
            "data_dir": folder,
            "default_policies": False,  # a test of the line says itself which policies it meets
            "bootstrap_key": SecretStr("a-key-for-tests-only"),
            **changes,
        },
    )


@dataclass
class Gateway:
    """One installation under test, in process."""

    runtime: Runtime
    url: str = ""
    _stops: list[asyncio.Event] = field(default_factory=list)

    async def add_app(self, plugin: str, config: Mapping[str, Any], *, name: str = "app") -> UUID:
        """Write an App as the REST API would."""
        model = self.runtime.registry.sources[plugin].AppConfig.model_validate(config)
        shown, secret = split_secrets(model)
        id, now = new_id(), self.runtime.now()
        await self._write(
            """INSERT INTO app (id, plugin, name, config, secrets, allow_private, version, created_at, updated_at)
               VALUES (:id, :plugin, :name, CAST(:config AS jsonb), :secrets, :private, 1, :now, :now)""",
            id=id,
            plugin=plugin,
            name=name,
            config=as_json(shown),
            now=now,
            private=LOOPBACK,
            secrets=self.runtime.vault.seal(secret, f"app:{id}"),
        )
        return id

    async def add_connection(
        self,
        role: str,
        plugin: str,
        config: Mapping[str, Any],
        *,
        name: str = "",
        app: UUID | None = None,
        helpdesk: UUID | None = None,
        history: str = "record",
    ) -> UUID:
        """Write a connection as the REST API would."""
        cls = self.runtime.registry.plugin(role, plugin)
        assert cls is not None
        model = cls.Config.model_validate(config)
        shown, secret = split_secrets(model)
        id, now = new_id(), self.runtime.now()
        await self._write(
            """INSERT INTO connection (id, role, plugin, name, app_id, account, config, secrets, allow_private,
                   helpdesk_id, history,
                   history_days, sla_owner, status, paused_in, paused_out, failures, state, version, created_at,
                   updated_at)
               VALUES (:id, :role, :plugin, :name, :app, :account, CAST(:config AS jsonb), :secrets, :private,
                   :helpdesk, :history,
                   90, 'gateway', 'active', false, false, 0, NULL, 1, :now, :now)""",
            id=id,
            role=role,
            plugin=plugin,
            name=name or plugin,
            app=app,
            account=cls.account_of(model),
            config=as_json(shown),
            secrets=self.runtime.vault.seal(secret, f"connection:{id}"),
            private=LOOPBACK,
            helpdesk=helpdesk,
            history=history,
            now=now,
        )
        async with self.runtime.database.write() as connection:
            if streams := self.runtime.registry.streams(role, plugin):
                await make_cursors(connection, id, streams, now)
        self.runtime.connections.forget(id)
        return id

    async def change_config(self, id: UUID, **changes: Any) -> None:
        """Merge values into a connection's config."""
        endpoint = (await self.runtime.connections.load([id]))[id]
        cls = self.runtime.registry.plugin(endpoint.role, endpoint.plugin)
        assert cls is not None
        assert endpoint.config is not None
        shown, secret = split_secrets(cls.Config.model_validate({**endpoint.config, **changes}))
        await self._write(
            """UPDATE connection SET config = CAST(:config AS jsonb), secrets = :secrets,
                   version = version + 1 WHERE id = :id""",
            id=id,
            config=as_json(shown),
            secrets=self.runtime.vault.seal(secret, f"connection:{id}"),
        )
        self.runtime.connections.forget(id)

    async def _write(self, sql: str, **values: Any) -> None:
        async with self.runtime.database.write() as connection:
            await execute(connection, sql, **values)

    async def execute(self, sql: str, **values: Any) -> None:
        """Change a row behind the gateway's back."""
        await self._write(sql, **values)

    async def pause(self) -> None:
        """Stop everything outbound."""
        await self._write(
            """INSERT INTO outbound_pause (id, scope, scope_id, paused_by, since) VALUES (:id, 'all', '', 'test',
                   :now)""",
            id=new_id(),
            now=self.runtime.now(),
        )

    async def lift(self) -> None:
        """Let it go on."""
        await self._write("UPDATE outbound_pause SET lifted_at = :now, lifted_by = 'test'", now=self.runtime.now())

    async def rows(self, sql: str, **values: Any) -> list[Any]:
        """Rows of a query."""
        async with self.runtime.database.read() as connection:
            return await fetch_all(connection, sql, **values)

    async def value(self, sql: str, **values: Any) -> Any:
        """The first value of a query."""
        found = await self.rows(sql, **values)
        return next(iter(found[0].values())) if found else None

    async def install(self, id: UUID) -> None:
        """Run the plugin's install with our door, again where it was not answered in time, and keep what it returns."""
        endpoint = (await self.runtime.connections.load([id]))[id]
        from dataclasses import replace

        plugin = self.runtime.connections.instance(endpoint, outgoing=self.runtime.outgoing)
        plugin.setup = replace(plugin.setup, door=f"{self.url}/hooks/{endpoint.app_id or id}")
        for more in reversed(range(10)):
            try:
                report = await plugin.install(dry_run=False)
                break
            except Retry as error:  # a busy machine: whoever installs presses the button again
                if not more or error.code not in ("not_sent", "interrupted"):
                    raise
        if report.config:
            await self.change_config(id, **report.config)

    async def until(self, check: Callable[[], Awaitable[Any]], what: str, seconds: float = 60.0) -> Any:
        """Wait until `check` gives something true."""
        loop = asyncio.get_running_loop()
        end = loop.time() + seconds
        while True:
            found = await check()
            if found:
                return found
            if loop.time() > end:
                raise AssertionError(f"timed out waiting until {what}; {await self.standing()}")
            await asyncio.sleep(0.02)

    async def standing(self) -> str:
        """How answers, and what is on its way to helpdesks, stand: for who reads why a test failed."""
        replies = await self.rows("SELECT left(text, 40) AS text, state, code, reason, due_at FROM reply ORDER BY id")
        pushes = await self.rows(
            "SELECT kind, state, code, reason, due_at FROM push WHERE state <> 'done' ORDER BY id LIMIT 20"
        )
        return f"answers: {[dict(row) for row in replies]}; pushes: {[dict(row) for row in pushes]}"

    async def quiet(self, seconds: float = 60.0) -> None:
        """Wait until nothing is under way: every delivery ended, every change threaded, every push and reply
        settled."""

        async def idle() -> bool:
            return await self.value(IDLE, now=self.runtime.now()) == 0

        await self.until(idle, "everything is quiet", seconds)


RESTS = f"""
SELECT (SELECT count(*) FROM delivery WHERE state = 'pending')
     + (SELECT count(*) FROM revision WHERE state IN ('pending', 'waiting'))
     + (SELECT count(*) FROM wanted WHERE state = 'pending')
     + (SELECT count(*) FROM attachment WHERE state = 'pending' AND due_at <= :now)
     + (SELECT count(*) FROM push WHERE state IN ('in_flight', 'job') OR (state = 'pending' AND due_at <= :now))
     + (SELECT count(*) FROM reply WHERE state IN ('sending', 'retracting')
            OR (state = 'received' AND due_at <= :now)
            OR (state = 'unknown' AND code IS DISTINCT FROM 'needs_person'))
     + (SELECT count(*) FROM ({GROWN}) AS grown)
"""
"""How many things are not done, but for answers that are decided and may not leave yet."""
IDLE = f"{RESTS} + (SELECT count(*) FROM reply WHERE state = 'queued')"
"""How many things are not done."""


@contextlib.asynccontextmanager
async def running(
    url: str, folder: Path, *, registry: Registry | None = None, worker: bool = True, **changes: Any
) -> AsyncIterator[Gateway]:
    """A gateway whose door listens on loopback and whose worker runs in this process, and is soon tired of waiting."""
    settings = settings_for(url, folder, **{"call_timeout": 3.0, "lease_seconds": 3.0, **changes})
    shared = installed() if not settings.plugin_modules else None
    app = create_app(settings, workers=0, registry=shared)
    listener = socket.create_server(("127.0.0.1", 0))
    server = uvicorn.Server(uvicorn.Config(app, log_level="critical", lifespan="on"))
    server.capture_signals = contextlib.nullcontext  # type: ignore[method-assign,assignment]
    serving = asyncio.create_task(server.serve(sockets=[listener]))
    while not server.started:
        await asyncio.sleep(0.005)
        if serving.done():
            await serving
    stop = asyncio.Event()
    try:
        async with open_runtime(settings, registry=registry or shared) as runtime:
            gateway = Gateway(runtime, f"http://127.0.0.1:{listener.getsockname()[1]}")
            working = asyncio.create_task(work(runtime, stop)) if worker else None
            try:
                yield gateway
            finally:
                stop.set()
                server.should_exit = True
                if working is not None:
                    await working
    finally:
        server.should_exit = True
        await serving
        listener.close()


__all__ = ["Gateway", "fresh_database", "insert_rows", "installed", "running", "settings_for", "template"]
