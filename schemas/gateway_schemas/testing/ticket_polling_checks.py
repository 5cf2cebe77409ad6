"""Checks of a helpdesk's polling: no ticket is passed over, whatever happens between two pages."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

from gateway_schemas.errors import GatewayError
from gateway_schemas.interaction import Wanted
from gateway_schemas.testing.failure import found, needs, run, staged, unless
from gateway_schemas.testing.helpdesk_stage import HelpdeskStage, change, named, of_kind, opened, push
from gateway_schemas.testing.plugin_contract import PluginContract
from gateway_schemas.testing.stage import staged_plugin
from gateway_schemas.testing.twin_faults import SkewedTime
from gateway_schemas.ticket import AgentReply, Done, TicketChanged
from gateway_schemas.time import TimeSource

_BEHIND = timedelta(minutes=-6)


class TicketPollingChecks(PluginContract):
    """Agents work on many tickets; the plugin polls."""

    @staged
    async def test_answer_not_noticed_among_many(self, stage: HelpdeskStage) -> None:
        """Answers on more tickets than two pages hold; each page is lost once before it could be stored."""
        needs(stage.capabilities.poll, "poll")
        await stage.install()
        await stage.polled()
        stage.time.pass_by(minutes=5)
        tickets = await self._many(stage)
        await stage.polled()  # what we did ourselves need not be told
        stage.time.pass_by(minutes=5)
        for ticket in tickets:
            stage.time.pass_by(seconds=1)
            stage.adapter.agent_answers(ticket, "We are on it")
        stage.carried.clear()
        told: set[str] = set()
        for stream in stage.capabilities.streams:
            cursor = stage.cursors.get(stream)
            for number in range(200):
                await stage.attempt(stage.plugin.poll(stream, cursor))  # lost: the host died before it stored the page
                page = await stage.attempt(stage.plugin.poll(stream, cursor))
                if isinstance(page, GatewayError):
                    found("answer_not_noticed", f"poll of {stream} gives {named(page)}")
                told |= _tickets(stage.read(page.pages))
                cursor = page.cursor
                if not page.more:
                    break
                if number < 2:
                    stage.time.pass_by(seconds=1)
                    stage.adapter.agent_answers(tickets[number], "meanwhile")
            else:
                found("answer_not_noticed", f"200 pages of {stream}, and still `more`")
            stage.cursors[stream] = cursor
        stage.time.pass_by(minutes=5)
        told |= _tickets(await stage.polled())
        lost = set(tickets) - told
        unless(not lost, "answer_not_noticed", f"{len(lost)} of {len(tickets)} tickets are never told")

    def test_answer_not_noticed_by_a_slow_clock(self) -> None:
        """The helpdesk's clock is behind: what is new goes by its times, not by ours."""
        adapter = self.adapter
        needs(adapter, "an adapter to a twin")

        def behind(time: TimeSource) -> Any:
            assert adapter is not None
            return adapter(SkewedTime(time, _BEHIND))

        async def play() -> None:
            made: Any = behind
            async with staged_plugin(self.plugin, made) as stage:
                needs(stage.capabilities.poll, "poll")
                await stage.install()
                ticket = await opened(stage)
                for number in range(2):
                    await stage.polled()
                    stage.time.pass_by(minutes=2)
                    id = stage.adapter.agent_answers(ticket, f"We are on it, {number}")
                    stage.carried.clear()
                    stage.time.pass_by(minutes=2)
                    replies = of_kind(await stage.follow(await stage.polled()), AgentReply, ticket)
                    unless(
                        any(one.external_id == id for one in replies),
                        "answer_not_noticed",
                        "an answer by an agent is not told where the helpdesk's clock is six minutes behind",
                    )

        run(play())

    async def _many(self, stage: HelpdeskStage) -> list[str]:
        """Tickets for more than two pages, made as many at once as may be."""
        tickets: list[str] = []
        size = max(1, stage.capabilities.bulk)
        for start in range(0, stage.adapter.many, size):
            numbers = range(start, min(start + size, stage.adapter.many))
            for result in await push(stage, *(change(stage, f"kit-many-{number}") for number in numbers)):
                if not isinstance(result, Done):
                    found("ticket_not_made", f"one of many tickets: {named(result)}")
                tickets.append(result.external_id)
            stage.time.pass_by(seconds=len(numbers))
        return tickets


def _tickets(news: list[Any]) -> set[str]:
    wanted = {one.ref for one in news if isinstance(one, Wanted)}
    return wanted | {one.ticket for one in news if isinstance(one, TicketChanged | AgentReply)}
