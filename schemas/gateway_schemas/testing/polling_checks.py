"""Checks of a source's polling: nothing is lost and nothing repeated, whatever happens between two pages."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

from gateway_schemas.errors import GatewayError
from gateway_schemas.testing.failure import found, needs, staged, unless
from gateway_schemas.testing.plugin_contract import PluginContract
from gateway_schemas.testing.source_stage import SourceStage, interactions

Cursor = dict[str, Any] | None


class SourcePollingChecks(PluginContract):
    """Many customers write; the plugin polls."""

    @staged
    async def test_poll_loses_items(self, stage: SourceStage) -> None:
        """More than two pages at the first poll, and again later."""
        needs(stage.capabilities.poll, "poll")
        for round in range(2):
            written = await self._write(stage, f"round {round}")
            told = set(interactions(await stage.follow(await stage.polled())))
            lost = written - told
            unless(not lost, "poll_loses_items", f"of {len(written)} items these are not told: {sorted(lost)[:5]}")

    @staged
    async def test_poll_loses_arrivals(self, stage: SourceStage) -> None:
        """More arrive after each page."""
        needs(stage.capabilities.poll, "poll")
        written = await self._write(stage, "first")
        told: set[str] = set()
        for stream in stage.capabilities.streams:
            cursor: Cursor = None
            for page_number in range(200):
                page = await stage.plugin.poll(stream, cursor)
                told |= set(interactions(await stage.follow(stage.read(page.pages))))
                cursor = page.cursor
                if not page.more:
                    break
                if page_number < 4:
                    stage.time.pass_by(seconds=20)
                    written |= {stage.adapter.write(f"meanwhile {page_number}.{one}") for one in range(3)}
            stage.cursors[stream] = cursor
        stage.time.pass_by(minutes=5)
        told |= set(interactions(await stage.follow(await stage.polled())))
        lost = written - told
        unless(not lost, "poll_loses_arrivals", f"of {len(written)} items these are never told: {sorted(lost)[:5]}")

    @staged
    async def test_poll_repeats(self, stage: SourceStage) -> None:
        """Once all is known and the overlap over, a poll brings nothing old."""
        needs(stage.capabilities.poll, "poll")
        written = await self._write(stage, "old")
        await stage.polled()
        stage.time.pass_by(stage.capabilities.overlap + timedelta(minutes=10))
        new = stage.adapter.write("new")
        await stage.polled()
        stage.time.pass_by(stage.capabilities.overlap + timedelta(minutes=10))
        told = set(interactions(await stage.polled()))
        again = told & (written | {new})
        unless(
            len(again) <= 2, "poll_repeats", f"{len(again)} of {len(written) + 1} known items come again with each poll"
        )

    @staged
    async def test_cursor_moved_early(self, stage: SourceStage) -> None:
        """Every page is lost once, before it could be stored; every second request fails once."""
        needs(stage.capabilities.poll, "poll")
        written = await self._write(stage, "first")
        told: set[str] = set()
        for stream in stage.capabilities.streams:
            cursor: Cursor = None
            for number in range(200):
                await stage.plugin.poll(stream, cursor)  # lost: the host died before it stored page and cursor
                stage.strike("status_before", stage.adapter.reading, status=503, times=1)
                failed = await stage.attempt(stage.plugin.poll(stream, cursor))
                stage.adapter.twin.faults.clear()
                if not isinstance(failed, GatewayError):
                    told |= set(interactions(await stage.follow(stage.read(failed.pages))))
                    page = failed
                else:
                    page = await stage.plugin.poll(stream, cursor)
                    told |= set(interactions(await stage.follow(stage.read(page.pages))))
                cursor = page.cursor
                if not page.more:
                    break
                if number == 199:
                    found("poll_never_ends", f"200 pages of {stream}, and still `more`")
        lost = written - told
        unless(
            not lost, "cursor_moved_early", f"{len(lost)} of {len(written)} items are never told: {sorted(lost)[:5]}"
        )

    @staged
    async def test_cursor_in_memory(self, stage: SourceStage) -> None:
        """Each page is asked for by a new instance whose state document is gone, an hour later."""
        needs(stage.capabilities.poll, "poll")
        written = await self._write(stage, "first")
        told: set[str] = set()
        for stream in stage.capabilities.streams:
            cursor: Cursor = None
            for _ in range(200):
                stage.state.document.clear()
                page = await stage.plugin.poll(stream, cursor)
                told |= set(interactions(await stage.follow(stage.read(page.pages))))
                cursor = page.cursor
                if not page.more:
                    break
                stage.time.pass_by(seconds=90)
        lost = written - told
        unless(not lost, "cursor_in_memory", f"{len(lost)} of {len(written)} items are never told: {sorted(lost)[:5]}")

    @staged
    async def test_cursor_past_its_second(self, stage: SourceStage) -> None:
        """Two customers write in the same second, one before and one after the poll."""
        needs(stage.capabilities.poll, "poll")
        stage.adapter.write("before")
        await stage.polled()
        id = stage.adapter.write("after")
        told = interactions(await stage.follow(await stage.polled()))
        stage.time.pass_by(minutes=5)
        told |= interactions(await stage.follow(await stage.polled()))
        unless(id in told, "cursor_past_its_second", "what was written in the second of the last poll is never told")

    @staged
    async def test_cursor_past_its_second_and_late(self, stage: SourceStage) -> None:
        """Something shows late, with a time before what was read already; the declared overlap covers it."""
        needs(stage.capabilities.poll, "poll")
        needs(stage.capabilities.overlap, "overlap")
        stage.adapter.write("before")
        await stage.polled()
        stage.time.pass_by(stage.capabilities.overlap * 0.8)
        id = stage.adapter.write_late("shown late", stage.capabilities.overlap * 0.7)
        stage.adapter.write("after")
        told = interactions(await stage.follow(await stage.polled()))
        unless(id in told, "cursor_past_its_second", "what showed late, within the declared overlap, is never told")

    async def _write(self, stage: SourceStage, text: str) -> set[str]:
        written = set()
        for number in range(stage.adapter.many):
            stage.time.pass_by(seconds=2)
            written.add(stage.adapter.write(f"{text} {number}"))
        return written
