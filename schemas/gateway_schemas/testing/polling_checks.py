"""Checks of a source's polling: nothing is lost and nothing repeated, whatever happens between two pages."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

from gateway_schemas.errors import GatewayError
from gateway_schemas.testing.failure import found, needs, staged, unless
from gateway_schemas.testing.plugin_contract import PluginContract
from gateway_schemas.testing.source_stage import LEGS, SourceStage, interactions

Cursor = dict[str, Any] | None
_LATER = timedelta(minutes=30)
"""Longer than any pause between two polls of one stream."""


class SourcePollingChecks(PluginContract):
    """Many customers write; the plugin polls."""

    @LEGS
    @staged
    async def test_poll_loses_items(self, stage: SourceStage, private: bool) -> None:
        """More than two pages at the first poll, and again later."""
        needs(stage.capabilities.poll, "poll")
        for round in range(2):
            written = await self._write(stage, f"round {round}", private)
            told = set(interactions(await stage.follow(await stage.polled())))
            lost = written - told
            unless(not lost, "poll_loses_items", f"of {len(written)} items these are not told: {sorted(lost)[:5]}")

    @LEGS
    @staged
    async def test_poll_loses_arrivals(self, stage: SourceStage, private: bool) -> None:
        """More arrive after each page."""
        needs(stage.capabilities.poll, "poll")
        written = await self._write(stage, "first", private)
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
                    written |= {
                        stage.adapter.write(f"meanwhile {page_number}.{one}", private=private) for one in range(3)
                    }
            stage.cursors[stream] = cursor
        stage.time.pass_by(_LATER)
        told |= set(interactions(await stage.follow(await stage.polled())))
        lost = written - told
        unless(not lost, "poll_loses_arrivals", f"of {len(written)} items these are never told: {sorted(lost)[:5]}")

    @LEGS
    @staged
    async def test_poll_repeats(self, stage: SourceStage, private: bool) -> None:
        """Once all is known and the overlap over, a poll brings nothing old."""
        needs(stage.capabilities.poll, "poll")
        written = await self._write(stage, "old", private)
        await stage.polled()
        stage.time.pass_by(stage.capabilities.overlap + _LATER)
        new = stage.adapter.write("new", private=private)
        await stage.polled()
        stage.time.pass_by(stage.capabilities.overlap + _LATER)
        told = set(interactions(await stage.polled()))
        again = told & (written | {new})
        unless(
            len(again) <= stage.adapter.rereads,
            "poll_repeats",
            f"{len(again)} of {len(written) + 1} known items come again with each poll",
        )

    @LEGS
    @staged
    async def test_cursor_moved_early(self, stage: SourceStage, private: bool) -> None:
        """Every page is lost once, before it could be stored; every second request fails once."""
        needs(stage.capabilities.poll, "poll")
        written = await self._write(stage, "first", private)
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

    @LEGS
    @staged
    async def test_cursor_in_memory(self, stage: SourceStage, private: bool) -> None:
        """Each page is asked for by a new instance whose state document is gone, an hour later."""
        needs(stage.capabilities.poll, "poll")
        written = await self._write(stage, "first", private)
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

    @LEGS
    @staged
    async def test_cursor_past_its_second(self, stage: SourceStage, private: bool) -> None:
        """Two customers write in the same second, one before and one after the poll."""
        needs(stage.capabilities.poll, "poll")
        stage.adapter.write("before", private=private)
        await stage.polled()
        id = stage.adapter.write("after", private=private)
        told = interactions(await stage.follow(await stage.polled()))
        stage.time.pass_by(_LATER)
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
        id = stage.adapter.write_late("shown late", stage.capabilities.overlap * 0.9)
        stage.adapter.write("after")
        told = interactions(await stage.follow(await stage.polled()))
        unless(id in told, "cursor_past_its_second", "what showed late, within the declared overlap, is never told")

    @staged
    async def test_poll_never_ends(self, stage: SourceStage) -> None:
        """Polling comes to an end: with nothing, with one thing, with several pages, and again."""
        needs(stage.capabilities.poll, "poll")
        await stage.polled()
        stage.adapter.write("one")
        await stage.polled()
        await self._write(stage, "many", False)
        await stage.polled()
        await stage.polled()

    async def _write(self, stage: SourceStage, text: str, private: bool) -> set[str]:
        stage.time.pass_by(_LATER)
        pause = max(timedelta(seconds=2), 2 * stage.capabilities.overlap / stage.adapter.many)
        written = set()
        for number in range(stage.adapter.many):
            stage.time.pass_by(pause)
            written.add(stage.adapter.write(f"{text} {number}", private=private))
        return written
