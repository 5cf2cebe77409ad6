"""The one object passed around: settings, database, plugins, connections, engine and time of one process."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import datetime

import procrastinate
from pydantic import SecretStr

from gateway.backup import refuse_half
from gateway.connections import Connections
from gateway.db.database import Database
from gateway.db.embedded import EmbeddedPostgres
from gateway.db.migrate import migrate
from gateway.engine.leases import Leases, make_owner
from gateway.engine.sandbox import Sandbox
from gateway.engine.wake import Wake, make_jobs
from gateway.files.store import Files
from gateway.net.client import Outgoing
from gateway.net.key_sets import KeySets
from gateway.policy.library import ensure_defaults
from gateway.policy.sets import PolicySets
from gateway.registry import Registry
from gateway.restored import Restored
from gateway.restored import load as load_restored
from gateway.security.audit import AuditLog, by_itself
from gateway.security.redaction import remember
from gateway.security.root_keys import ensure_root_key, refuse_foreign
from gateway.security.vault import Vault
from gateway.settings import Settings
from gateway.sla.stored import Calendars
from gateway_schemas.time import TimeSource, open_time


@dataclass
class Runtime:
    """Everything one process of the gateway works with. Made by `open_runtime`, closed by leaving it."""

    settings: Settings
    database: Database
    registry: Registry
    vault: Vault
    audit: AuditLog
    connections: Connections
    calendars: Calendars
    policies: PolicySets
    sandbox: Sandbox
    outgoing: Outgoing
    files: Files
    jobs: procrastinate.App
    wake: Wake
    leases: Leases
    time: TimeSource
    owner: str
    postgres: EmbeddedPostgres | None
    restored: Restored | None = None
    """The time that is missing, where the data comes from a backup."""

    def now(self) -> datetime:
        """The gateway's time: the machine's, or the shared virtual one."""
        return self.time.now()


@asynccontextmanager
async def open_runtime(settings: Settings, *, registry: Registry | None = None) -> AsyncIterator[Runtime]:
    """Start or adopt the database, bring its schema up to date, and connect everything."""
    time_file = str(settings.time_file) if settings.time_file else None
    now = open_time(time_file)
    registry = registry or Registry.load(modules=settings.plugin_modules)
    remember([one.get_secret_value().split(",") for _, one in settings if isinstance(one, SecretStr)])
    vault = Vault.open(settings)
    files = Files.open(settings)
    postgres: EmbeddedPostgres | None = None
    if settings.database_url is None:
        postgres = EmbeddedPostgres(settings.data_dir)
        url = await asyncio.to_thread(postgres.start)
    else:
        url = settings.database_url.get_secret_value()
    try:
        await asyncio.to_thread(refuse_half, url)
        database = Database(url)
        try:
            await refuse_foreign(database, vault)
            await asyncio.to_thread(migrate, url)
            jobs = make_jobs(database.conninfo)
            audit = AuditLog(database, vault, now.now)
            owner = make_owner()
            async with database.read() as connection:
                restored = await load_restored(connection)
            await ensure_root_key(database, vault, now.now())
            if settings.default_policies:
                await ensure_defaults(audit.on_record(by_itself("default_policies")), registry, now.now())
            async with jobs.open_async(), Outgoing(database.engine, now, timeout=settings.call_timeout) as outgoing:
                wake = Wake(jobs)
                sandbox = Sandbox(settings.pure_deadline, time_file, settings.plugin_modules)
                try:
                    yield Runtime(
                        settings=settings,
                        database=database,
                        registry=registry,
                        vault=vault,
                        audit=audit,
                        connections=Connections(
                            database,
                            registry,
                            vault,
                            now,
                            files,
                            settings.file_limit,
                            KeySets(outgoing, now),
                        ),
                        calendars=Calendars(),
                        policies=PolicySets(database, registry),
                        sandbox=sandbox,
                        outgoing=outgoing,
                        files=files,
                        jobs=jobs,
                        wake=wake,
                        leases=Leases(database, owner, settings.lease_seconds),
                        time=now,
                        owner=owner,
                        postgres=postgres,
                        restored=restored,
                    )
                finally:
                    await wake.settle()
                    await asyncio.to_thread(sandbox.close)
        finally:
            await database.close()
    finally:
        if postgres is not None:
            await asyncio.to_thread(postgres.stop)
