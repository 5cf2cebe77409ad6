"""`gateway demo --all-twins`: every installed source and helpdesk at once, each conversation there and back.

The twins are found by entry point and played by what they offer themselves (`Twin.rehearsal`); nothing here knows any
of them. Time leaps while nothing is under way, because most providers are only asked every few minutes.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import sys
import time
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

from rich.console import Console

from gateway.demo.conductor import NotSeen
from gateway.demo.pairs import Findings, Pair, judge, make_pairs
from gateway.demo.reckoning import median_and_p90
from gateway.demo.rest import Rest
from gateway.demo.stage import Stage, set_stage, temporary_folder
from gateway.demo.standing import look
from gateway.demo.telling_pairs import PairTeller
from gateway.demo.twins import Twin, TwinMissing, installed_twins
from gateway.demo.witness import words
from gateway_schemas.time import SharedTime, SystemTime

LEAP = timedelta(seconds=30)
"""How far time goes at once while nothing is under way."""
STUCK = 8.0
"""After so many real seconds what is under way waits for time to pass, as for a search that lags behind."""
LOOK = 0.1
PATIENCE = 90.0
"""Real seconds for one thing to have its effect, on a machine that has much else to do."""
AFTERWARDS = timedelta(minutes=20)
"""How long the providers are looked at when everything is out: what comes twice comes with the next poll."""


async def play_all_twins(console: Console, *, once: bool, as_json: bool) -> int:
    """Called for `--all-twins`: the exit code, 0 only when all is as it should be.

    Raises StageBroken, RestRefused, and TwinMissing where there is no source or no helpdesk.
    """
    began = time.monotonic()
    teller = PairTeller(console)
    with temporary_folder() as folder:
        clock = SharedTime.create(folder / "time", at=SystemTime().now())
        twins = installed_twins(time=clock)
        teller.welcome()
        async with set_stage(list(twins.values()), clock, folder) as stage:
            pairs = await _connect(stage.rest, twins)
            set_up = time.monotonic() - began
            teller.curtain(set_up)
            replies = await Rehearsing(stage, twins, pairs, teller.show).play()
            summary = _summary(pairs, judge(pairs, replies, twins)) | (await look(stage.rest)).numbers(counted=0)
            summary |= {
                "elapsed_seconds": round(time.monotonic() - began, 1),
                "set_up_seconds": round(set_up, 1),
                "pairs": [pair.as_json() for pair in pairs],
            }
            teller.reckoning(summary)
            if summary["problems"]:
                console.print(stage.serve.last_words(), markup=False)
            if as_json:
                sys.stdout.write(json.dumps(summary) + "\n")
                sys.stdout.flush()
            if not once:
                teller.invite(stage.rest.url, stage.rest.key, {name: twin.url for name, twin in twins.items()})
                with contextlib.suppress(asyncio.CancelledError):
                    await asyncio.Event().wait()
    return 1 if summary["problems"] else 0


async def _connect(rest: Rest, twins: Mapping[str, Twin]) -> list[Pair]:
    """What an admin does once: every helpdesk, every App, and every account with the helpdesk that it goes to."""
    rehearsals = {name: twin.rehearsal() for name, twin in twins.items()}
    pairs = make_pairs(rehearsals)
    if not pairs:
        raise TwinMissing("This needs the twins of one source and one helpdesk: install them with their extra [twin]")
    answerable = {
        str(one["name"]): bool(one["capabilities"]["reply"])
        for one in (await rest.get("plugins"))["items"]
        if one["role"] == "source" and one["capabilities"]
    }
    brand = await rest.brand("Acme")
    desks: dict[str, str] = {}
    for pair in pairs:
        if pair.helpdesk not in desks:
            desk = await rest.connection(pair.helpdesk, pair.helpdesk, pair.desk.config)
            await rest.install(desk)
            desks[pair.helpdesk] = str(desk["id"])
    apps: dict[str, dict[str, str]] = {}
    for pair in pairs:
        app = rehearsals[pair.source].app
        if pair.source not in apps:
            apps[pair.source] = {"app": await rest.app(pair.source, pair.source, app)} if app is not None else {}
        shared = {"brand": brand, "helpdesk": desks[pair.helpdesk], **apps[pair.source]}
        made = await rest.connection(pair.source, pair.channel.title, pair.channel.config, **shared)
        await rest.install(made)
        if pair.channel.told is not None:
            pair.channel.told(made["door"])
        pair.answerable = answerable[pair.source]
    return pairs


@dataclass
class Rehearsing:
    """Plays all pairs side by side, while time passes."""

    stage: Stage
    twins: Mapping[str, Twin]
    pairs: Sequence[Pair]
    show: Callable[[Pair], None]
    """Called with each pair when it is through."""

    async def play(self) -> list[dict[str, Any]]:
        """Play, then look on for a while; the gateway's list of replies as it then is."""
        passing = asyncio.create_task(self._let_time_pass())
        try:
            await asyncio.gather(*map(self._play, self.pairs))
            end = self.stage.clock.now() + AFTERWARDS
            while self.stage.clock.now() < end and not passing.done():
                await asyncio.sleep(LOOK)
        finally:
            passing.cancel()
            await asyncio.gather(passing, return_exceptions=True)
        await self.stage.quiet.until_quiet(PATIENCE)
        return await self._replies()

    async def _let_time_pass(self) -> None:
        """Leap while nothing is under way, so that what takes long is what the providers' clocks make it."""
        twins = list(self.twins.values())
        leapt = time.monotonic()
        while True:
            await asyncio.sleep(LOOK)
            idle = await self.stage.quiet.is_quiet() or time.monotonic() - leapt > STUCK
            if idle and await self.stage.may_jump(*twins):
                self.stage.clock.jump(self.stage.clock.now() + LEAP)
                leapt = time.monotonic()

    async def _play(self, pair: Pair) -> None:
        clock = self.stage.clock
        try:
            pair.said_at = clock.now()
            pair.id = pair.channel.write(pair.complaint)
            await self._until(lambda: _true(pair.on_tickets()), "the complaint at the helpdesk")
            pair.on_ticket_at, pair.ticket = clock.now(), pair.on_tickets()[0].ticket
            pair.answered_at = clock.now()
            pair.desk.answer(pair.ticket, pair.answer)
            if pair.answerable:
                await self._until(lambda: _true(pair.out()), "the answer at the source")
                pair.outcome = "published"
            else:
                await self._until(
                    lambda: self._refused(pair), "the reason why the answer cannot go out, at the agent's"
                )
                pair.outcome = "refused"
            pair.back_at = clock.now()
        except NotSeen as error:
            pair.failure = str(error)
        self.show(pair)

    async def _refused(self, pair: Pair) -> bool:
        mine = [one for one in await self._replies() if words(str(one["text"])) == pair.answer]
        return any(one["state"] == "failed" and pair.told(str(one["reason"])) for one in mine)

    async def _replies(self) -> list[dict[str, Any]]:
        return [one async for one in self.stage.rest.listed("replies", limit="200")]

    async def _until(self, ask: Callable[[], Awaitable[bool]], what: str) -> None:
        try:
            async with asyncio.timeout(PATIENCE):
                while not await ask():
                    await asyncio.sleep(LOOK)
        except TimeoutError:
            raise NotSeen(f"{what} was not seen within {PATIENCE:.0f} s") from None


async def _true(found: Sequence[object]) -> bool:
    return bool(found)


def _summary(pairs: Sequence[Pair], found: Findings) -> dict[str, Any]:
    """The run in numbers, under the names that an evening has."""
    outcomes = [pair.outcome for pair in pairs]
    waits = [wait for pair in pairs if (wait := pair.first_response) is not None]
    failures = [f"{pair.name}: {pair.failure}" for pair in pairs if pair.failure]
    return {
        "conversations": len(pairs),
        "inbound": len(pairs),
        "edits": 0,
        "deletions": 0,
        "tickets": len({(pair.helpdesk, one.ticket) for pair in pairs for one in pair.desk.messages()}),
        "replies_published": sum(len(pair.out()) for pair in pairs),
        "native_answers": 0,
        "replies_held_or_refused": outcomes.count("refused"),
        "replies_blocked": 0,
        "replies_held": 0,
        "replies_failed": outcomes.count("refused"),
        "replies_approved": 0,
        "kept_back_by": {},
        "lost": len(found.lost),
        "duplicated": len(found.twice),
        "first_response_seconds": median_and_p90(waits),
        "problems": [*failures, *found.lost, *found.twice, *found.astray],
    }
