"""A backup taken during traffic, and an installation made of it after more has happened: nothing lost, nothing doubled.

The hard part is what the backup does not know: tickets and answers that were made after it. The restored installation
hears of the same messages and comments once more, and must find what came of them instead of doing it again.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from uuid import UUID

import psycopg
import pytest

from gateway.backup import RESTORING, BackupError, backup, refuse_half, restore
from gateway.settings import Settings
from gateway_schemas.time import SharedTime
from gateway_x.twin import XTwin
from gateway_zendesk.twin import ZendeskTwin
from support.gateway import Gateway, fresh_database, running, settings_for
from support.postgres import clone_database, drop_database

PEOPLE = ("rita", "bob", "carol", "dave", "erin")


@dataclass
class World:
    """X and Zendesk, which go on whatever becomes of the gateway between them."""

    clock: SharedTime
    x: XTwin
    desk: ZendeskTwin
    folder: Path
    ids: dict[str, UUID] = field(default_factory=dict)
    lost: bool = False

    @contextlib.asynccontextmanager
    async def gateway(self, url: str, **changes: Any) -> AsyncIterator[Gateway]:
        """A gateway on one database, at the same address as far as providers know."""
        async with running(
            url, self.folder, call_timeout=2.0, lease_seconds=2.0, time_file=self.folder / "time", **changes
        ) as one:
            if not self.ids:
                config = {"base_url": self.desk.url, "email": self.desk.email, "api_token": self.desk.token}
                helpdesk = await one.add_connection("helpdesk", "zendesk", {**config, "share": 1.0})
                app = await one.add_app("x", self.x.app_config())
                source = await one.add_connection(
                    "source", "x", self.x.connection_config("AcmeSupport"), app=app, helpdesk=helpdesk
                )
                self.ids = {"helpdesk": helpdesk, "source": source}
            for id in self.ids.values():
                await one.install(id)
            yield one

    def settings(self, url: str) -> Settings:
        """What the commands are run with."""
        return settings_for(url, self.folder, time_file=self.folder / "time")

    async def settle(self, gateway: Gateway) -> None:
        """Wait until nothing is left to do."""
        for _ in range(2):
            if not self.lost:
                await self.x.settle()  # afterwards it still tries to reach the lost one, for hours
            await self.desk.settle()
            await gateway.quiet(90)

    async def pass_time(self, gateway: Gateway, minutes: float) -> None:
        """Let it become later, fast, and wait for what is due by then."""
        self.clock.set_speed(120)
        end = self.clock.now() + timedelta(minutes=minutes)
        while self.clock.now() < end:
            await asyncio.sleep(0.05)
        self.clock.set_speed(1)
        await self.settle(gateway)

    def said(self) -> dict[str, list[str]]:
        """Every public comment of a customer's at the helpdesk, by customer."""
        found: dict[str, list[str]] = {name: [] for name in PEOPLE}
        for ticket in self.desk.tickets.values():
            for comment in ticket.comments:
                text = comment.body.split("\n\nhttp")[0]
                for name in PEOPLE:
                    if text.startswith(f"@AcmeSupport {name}:"):
                        found[name].append(text.split(": ", 1)[1])
        return found

    def notes(self) -> list[str]:
        """Every private note."""
        return [c.body for ticket in self.desk.tickets.values() for c in ticket.comments if not c.public]

    def published(self) -> list[str]:
        """What the brand has posted, in order of its words."""
        return sorted(post.written for post in self.x.published("AcmeSupport"))

    def ticket_of(self, name: str) -> int:
        """The number of a customer's ticket."""
        return next(
            number
            for number, ticket in self.desk.tickets.items()
            if any(f"@AcmeSupport {name}:" in comment.body for comment in ticket.comments)
        )


@pytest.fixture
async def world(tmp_path: Path) -> AsyncIterator[World]:
    """The providers."""
    clock = SharedTime.create(tmp_path / "time", at=datetime.now(UTC), speed=1.0)
    x, desk = XTwin(tier="enterprise", time=clock), ZendeskTwin(time=clock)
    desk.limits.off()
    x.add_brand("AcmeSupport")
    for name in PEOPLE:
        x.add_user(name)
    async with x.serve(), desk.serve():
        yield World(clock, x, desk, tmp_path)


@contextlib.asynccontextmanager
async def empty_database(server_url: str) -> AsyncIterator[str]:
    """A database without any table, for a restore."""
    url = await clone_database(server_url, "template0")
    try:
        yield url
    finally:
        await drop_database(url)


async def _until_state(gateway: Gateway, text: str, state: str) -> None:
    async def there() -> Any:
        return await gateway.rows("SELECT 1 FROM reply WHERE text = :text AND state = :state", text=text, state=state)

    await gateway.until(there, f"{text!r} is {state}")


async def _until_pushed(gateway: Gateway, count: int) -> None:
    async def there() -> bool:
        return await gateway.value("SELECT count(*) FROM push WHERE state = 'pending'") == count

    await gateway.until(there, f"{count} pushes wait")


@pytest.mark.slow
@pytest.mark.timeout(400)
async def test_a_restored_backup_during_traffic_loses_nothing_and_doubles_nothing(
    world: World, server_url: str, tmp_path: Path
) -> None:
    file = tmp_path / "backup.tar"
    x, desk = world.x, world.desk
    async with fresh_database(server_url) as lost:
        async with world.gateway(lost) as gateway:
            rita = x.post("rita", "@AcmeSupport rita: my parcel is gone")
            x.post("bob", "@AcmeSupport bob: my invoice is wrong")
            await world.settle(gateway)
            desk.agent_comment(world.ticket_of("rita"), "Ann", "Rita, it is on its way.")
            await world.settle(gateway)
            # decided and waiting to leave; and a message that the helpdesk has not been told
            await gateway.pause()
            desk.agent_comment(world.ticket_of("bob"), "Ann", "Bob, here is a new invoice.")
            await desk.settle()
            await _until_state(gateway, "Bob, here is a new invoice.", "queued")
            await gateway.execute("UPDATE connection SET paused_out = true WHERE role = 'helpdesk'")
            gateway.runtime.connections.forget(world.ids["helpdesk"])
            x.post("carol", "@AcmeSupport carol: nobody answers")
            await x.settle()
            await _until_pushed(gateway, 1)

            made = await asyncio.to_thread(backup, world.settings(lost), file)
            assert made.schema

            # all of this the backup does not know
            await gateway.execute("UPDATE connection SET paused_out = false WHERE role = 'helpdesk'")
            gateway.runtime.connections.forget(world.ids["helpdesk"])
            await gateway.lift()
            await world.settle(gateway)
            world.clock.jump(world.clock.now() + timedelta(minutes=3))
            x.post("rita", "@AcmeSupport rita: still gone", in_reply_to=rita)
            x.post("dave", "@AcmeSupport dave: wrong size")
            await world.settle(gateway)
            desk.agent_comment(world.ticket_of("carol"), "Ann", "Carol, we are here.")
            desk.agent_comment(world.ticket_of("dave"), "Ann", "Dave, we swap it.")
            desk.agent_comment(world.ticket_of("rita"), "Ann", "Rita, a new one leaves today.")
            await world.settle(gateway)
        world.lost = True
        # the installation is lost; somebody writes while there is none
        x.post("erin", "@AcmeSupport erin: are you there?")
        before = world.published()
        tickets = len(desk.tickets)
        assert tickets == 4
        assert before == sorted(
            [
                "Rita, it is on its way.",
                "Bob, here is a new invoice.",
                "Carol, we are here.",
                "Dave, we swap it.",
                "Rita, a new one leaves today.",
            ]
        )
        world.clock.jump(world.clock.now() + timedelta(hours=3))
        async with empty_database(server_url) as fresh:
            await asyncio.to_thread(restore, world.settings(fresh), file, erasures=None)
            async with world.gateway(fresh) as gateway:
                # both were stopped when the backup was taken, and so they are again
                await gateway.execute("UPDATE connection SET paused_out = false WHERE role = 'helpdesk'")
                gateway.runtime.connections.forget(world.ids["helpdesk"])
                await gateway.lift()
                await world.pass_time(gateway, 20)
                assert world.said() == {
                    "rita": ["my parcel is gone", "still gone"],
                    "bob": ["my invoice is wrong"],
                    "carol": ["nobody answers"],
                    "dave": ["wrong size"],
                    "erin": ["are you there?"],
                }
                assert len(desk.tickets) == 5
                assert world.published() == before
                rows = await gateway.rows("SELECT text, state, external_id FROM reply ORDER BY text")
                assert [(row["text"], row["state"]) for row in rows] == [(text, "sent") for text in before]
                assert len({row["external_id"] for row in rows}) == len(before)
                echoes = await gateway.rows(
                    "SELECT i.text FROM interaction i WHERE direction = 'outbound' AND reply_id IS NULL"
                )
                assert echoes == [], "an answer of ours passes for one given elsewhere"
                assert world.notes() == []
                # and life goes on
                desk.agent_comment(world.ticket_of("erin"), "Ann", "Erin, yes we are.")
                await world.settle(gateway)
                assert world.published() == sorted([*before, "Erin, yes we are."])


async def test_a_restore_refuses_what_it_would_destroy_and_what_it_cannot_open(server_url: str, tmp_path: Path) -> None:
    file = tmp_path / "backup.tar"
    home, other = tmp_path / "home", tmp_path / "other"
    async with fresh_database(server_url) as url:
        async with running(url, home, worker=False):
            pass
        await asyncio.to_thread(backup, settings_for(url, home), file)
        assert file.stat().st_mode & 0o777 == 0o600
        with pytest.raises(BackupError, match="exists already"):
            await asyncio.to_thread(backup, settings_for(url, home), file)
        with pytest.raises(BackupError, match="not empty"):
            await asyncio.to_thread(restore, settings_for(url, home), file, erasures=None)
    async with empty_database(server_url) as empty:
        with pytest.raises(BackupError, match=r"secret\.key"):
            await asyncio.to_thread(restore, settings_for(empty, other), file, erasures=None)
        (tmp_path / "torn").write_bytes(file.read_bytes()[:-40_000])
        with pytest.raises(BackupError, match="torn"):
            await asyncio.to_thread(restore, settings_for(empty, home), tmp_path / "torn", erasures=None)


async def test_nothing_starts_on_half_a_backup_and_the_restore_is_begun_again(server_url: str, tmp_path: Path) -> None:
    file = tmp_path / "backup.tar"
    async with fresh_database(server_url) as url:
        async with running(url, tmp_path, worker=False):
            pass
        await asyncio.to_thread(backup, settings_for(url, tmp_path), file)
    async with empty_database(server_url) as empty:
        settings = settings_for(empty, tmp_path)
        with psycopg.connect(empty, autocommit=True) as connection:
            name = connection.info.dbname
            connection.execute(f"COMMENT ON DATABASE {name} IS '{RESTORING}'".encode())
            connection.execute("CREATE TABLE half (id int)")
        with pytest.raises(BackupError, match="interrupted"):
            refuse_half(empty)
        await asyncio.to_thread(restore, settings, file, erasures=None)
        refuse_half(empty)
        async with running(empty, tmp_path, worker=False) as gateway:
            assert gateway.runtime.restored is not None
