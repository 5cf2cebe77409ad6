"""`gateway replay`: recorded conversations through the social network's twin and the helpdesk's twin."""

from __future__ import annotations

import asyncio
import contextlib
import functools
import json
import random
import sys
import time
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from rich.console import Console

from gateway.demo.conductor import Conductor
from gateway.demo.decided_again import DecidedAgain, decide_again, only_watch
from gateway.demo.playing import BEFORE, Playing, named_at_helpdesk, named_on_network
from gateway.demo.process import StageBroken
from gateway.demo.recordings import Recording, RecordingBroken, load
from gateway.demo.rest import RestRefused
from gateway.demo.stage import TERMINATED, Stage, Victim, ending_on_sigterm, set_stage, temporary_folder
from gateway.demo.twins import TwinMissing, helpdesk_twin, social_twin
from gateway.demo.verdict import Verdict, judge
from gateway.demo.witness import Witness
from gateway_schemas.time import SharedTime

SPEED = 20.0
"""Virtual seconds per real second while something is under way: the helpdesk takes one new customer a second."""
QUIET_SECONDS = 120.0
SETTINGS = {"ancestor_wait": str(10 * 365 * 86_400)}
"""A fetch takes real time, and waiting for it is measured in virtual time, which jumps by months."""
UNDER_FIRE = SETTINGS | {"call_timeout": "3", "lease_seconds": "3"}
"""What a killed process had in flight is taken up when its calls must have ended. On loopback none takes seconds."""
SHOWN = 20


@dataclass(frozen=True)
class Options:
    """How a recording is replayed, as on the command line."""

    speed: float | None = None
    duplicate: float = 0.0
    shuffle: float = 0.0
    kills: int = 0
    seed: int = 1
    policies: bool = False
    """Whether the shipped policies watch: they decide everything, do nothing, and decide once more at the end."""
    limits: bool = False
    """Whether the helpdesk enforces its rate limits."""


@dataclass
class Outcome:
    """What came of a replay."""

    recording: Recording
    verdict: Verdict
    failures: list[str]
    kills: list[Victim]
    elapsed: float
    set_up: float
    again: DecidedAgain | None = None

    @property
    def clean(self) -> bool:
        """Whether everything arrived everywhere exactly once, and was decided the same when it was decided again."""
        return self.verdict.clean and not self.failures and (self.again is None or self.again.clean)

    def summary(self) -> dict[str, Any]:
        """The numbers, as `--json` prints them."""
        verdict = self.verdict
        return {
            "conversations": self.recording.conversations,
            "messages": sum(1 for _ in self.recording.messages),
            "tickets": verdict.tickets,
            "replies_published": verdict.replies_published,
            "native_answers": verdict.native_answers,
            "lost": len(verdict.lost),
            "duplicated": len(verdict.duplicated),
            "misplaced": len(verdict.misplaced),
            "context_authors": sum(len(tree.context_authors) for tree in self.recording.trees),
            "kills": len(self.kills),
            "elapsed_seconds": round(self.elapsed, 1),
            "set_up_seconds": round(self.set_up, 1),
            **(self.again.summary() if self.again is not None else {}),
            "clean": self.clean,
        }


@dataclass
class Killer:
    """Kills processes while the conductor plays, at moments that the seed chooses."""

    stage: Stage
    conductor: Conductor
    random: random.Random
    moments: list[int]
    done: list[Victim] = field(default_factory=list)

    async def work(self) -> None:
        """Kill at each moment: after so many steps, and a little later."""
        victims: list[Victim] = ["serve", "worker", *(["postgres"] if self.stage.postgres else [])]  # type: ignore[list-item]
        for moment in self.moments:
            while self.conductor.finished < moment:
                await asyncio.sleep(0.01)
            await asyncio.sleep(self.random.uniform(0.0, 0.4))
            victim = self.random.choice(victims)
            while not await self.stage.kill(victim):
                await asyncio.sleep(0.1)
            self.done.append(victim)

    @contextlib.asynccontextmanager
    async def at_large(self) -> AsyncIterator[None]:
        """Kill for as long as this is entered; what is begun is ended, so that everything runs again afterwards."""
        task = asyncio.create_task(self.work())
        try:
            yield
            await task
        finally:
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)


async def run_replay(
    file: Path,
    *,
    speed: float | None = None,
    as_json: bool = False,
    limit: int | None = None,
    duplicate: float = 0.0,
    shuffle: float = 0.0,
    kills: int = 0,
    seed: int = 1,
    policies: bool = False,
) -> int:
    """Called by `gateway replay`: the exit code, 0 only when everything arrived everywhere exactly once."""
    console = Console(stderr=True, highlight=False, soft_wrap=True)
    with ending_on_sigterm() as told:
        try:
            recording = load(file, limit)
            outcome = await play(recording, Options(speed, duplicate, shuffle, kills, seed, policies), console)
        except asyncio.CancelledError:
            if told.is_set():
                return TERMINATED
            raise
        except (RecordingBroken, StageBroken, TwinMissing, RestRefused) as error:
            console.print(f"{type(error).__name__}: {error}", style="red", markup=False)
            return 2
    report(outcome, console)
    if as_json:
        sys.stdout.write(json.dumps(outcome.summary()) + "\n")
    return 0 if outcome.clean else 1


async def play(recording: Recording, options: Options, console: Console) -> Outcome:
    """Set the stage, play everything, wait until it is quiet, and judge."""
    began = time.monotonic()
    first = min(message.at for message in recording.messages)
    with temporary_folder() as folder:
        clock = SharedTime.create(folder / "time", at=first - BEFORE, speed=SPEED)
        network = social_twin(time=clock, seed=options.seed, tier="enterprise", limits=options.limits)
        helpdesk = helpdesk_twin(time=clock, seed=options.seed)
        if not options.limits:
            helpdesk.limits.off()
        settings = (UNDER_FIRE if options.kills else SETTINGS) | {"default_policies": str(options.policies).lower()}
        async with set_stage([network, helpdesk], clock, folder, settings) as stage:
            witness = Witness(patience=120.0 if options.kills else 45.0)
            witness.watch(helpdesk, named_at_helpdesk)
            witness.watch(network, named_on_network)
            playing = Playing(recording, network, helpdesk, witness)
            if options.policies:
                await only_watch(stage.rest)
            await playing.set_up(stage.rest)
            set_up = time.monotonic() - began
            console.print(f"The stage stands after {set_up:.1f} s: {len(recording.companies)} companies.")
            for twin in (network, helpdesk):
                twin.webhooks.duplicate, twin.webhooks.delay = options.duplicate, options.shuffle
            steps = list(playing.steps())
            conductor = Conductor(clock, functools.partial(stage.may_jump, helpdesk), pace=options.speed)
            conductor.on_done = lambda count: _tell_progress(console, count, len(steps), clock, began)
            chance = random.Random(options.seed)
            moments = sorted(chance.randrange(len(steps)) for _ in range(options.kills))
            killer = Killer(stage, conductor, chance, moments)
            async with witness.watching(), killer.at_large():
                await conductor.play(steps)
            failures = [step.failure for step in steps if step.failure]
            await network.settle()
            await helpdesk.settle()
            if not await stage.quiet.until_quiet(QUIET_SECONDS):
                failures.append(f"the gateway was still at work {QUIET_SECONDS:.0f} s after the last message")
            await network.settle()
            witness.look()
            verdict = await judge(playing, stage.rest)
            again = await decide_again(stage.rest, first - BEFORE) if options.policies else None
            if failures or not verdict.clean:
                console.print(stage.serve.last_words(), markup=False)
                async for reply in stage.rest.listed("replies"):
                    if reply["state"] != "sent":
                        told = f"reply {reply['id']} is {reply['state']} ({reply['code']}): {reply['reason']}"
                        console.print(told, markup=False)
        return Outcome(recording, verdict, failures, killer.done, time.monotonic() - began, set_up, again)


def _tell_progress(console: Console, count: int, total: int, clock: SharedTime, began: float) -> None:
    if count % 100 == 0 or count == total:
        console.print(f"{clock.now():%Y-%m-%d %H:%M}  {count} of {total} messages, {time.monotonic() - began:.0f} s")


def report(outcome: Outcome, console: Console) -> None:
    """Say what came of it, and what is wrong."""
    verdict = outcome.verdict
    for title, found in (
        ("lost", verdict.lost),
        ("duplicated", verdict.duplicated),
        ("misplaced", verdict.misplaced),
        ("not seen", outcome.failures),
    ):
        for one in found[:SHOWN]:
            console.print(f"{title}: {one}", markup=False)
        if len(found) > SHOWN:
            console.print(f"{title}: and {len(found) - SHOWN} more")
    for name, value in outcome.summary().items():
        console.print(f"{name.replace('_', ' '):>20}  {value}")
