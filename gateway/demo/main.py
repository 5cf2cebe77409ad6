"""`gateway demo`: an evening of a fictional company, played through the real gateway against the plugins' twins."""

from __future__ import annotations

import asyncio
import base64
import contextlib
import functools
import json
import secrets
import sys
import time
from collections.abc import AsyncIterator, Callable
from datetime import timedelta
from pathlib import Path
from typing import Any

from rich.console import Console

from gateway.demo.all_twins import play_all_twins
from gateway.demo.conductor import Conductor
from gateway.demo.evening import TWICE, Evening
from gateway.demo.observer import Observer
from gateway.demo.process import StageBroken
from gateway.demo.reckoning import reckon
from gateway.demo.rest import RestRefused
from gateway.demo.script import Line, Script, load_script
from gateway.demo.stage import TERMINATED, Stage, ending_on_sigterm, set_stage, temporary_folder
from gateway.demo.standing import stand
from gateway.demo.telling import Teller
from gateway.demo.twins import TwinMissing, forum_twin, helpdesk_twin, social_twin
from gateway.demo.witness import Witness
from gateway_schemas.time import SharedTime

SPEED = 20.0
"""Virtual seconds per real second while something is under way: the helpdesk takes one new customer a second."""
PACE = 120.0
"""Virtual seconds per real second for somebody who watches."""
TOGETHER = timedelta(minutes=3)
"""Lines this close may be under way at once."""
SET_UP = timedelta(minutes=30)
QUIET_SECONDS = 60.0
PATIENCE = 90.0
"""Real seconds for one thing to have its effect, on a machine that has much else to do."""
SETTINGS = {"ancestor_wait": "86400"}
"""A fetch takes real time, and waiting for it is measured in virtual time, which jumps."""


async def run_demo(
    *, once: bool = False, as_json: bool = False, speed: float | None = None, all_twins: bool = False
) -> int:
    """Called by `gateway demo`: the exit code, 0 only when everything arrived everywhere exactly once."""
    console = Console(stderr=as_json, highlight=False, soft_wrap=True)
    watched = console.is_terminal and not once and not as_json
    with ending_on_sigterm() as told:
        try:
            if all_twins:
                return await play_all_twins(console, once=once, as_json=as_json)
            return await _demo(console, once=once, as_json=as_json, pace=speed or (PACE if watched else None))
        except asyncio.CancelledError:
            if told.is_set():
                return TERMINATED
            raise
        except (StageBroken, TwinMissing, RestRefused) as error:
            console.print(f"{type(error).__name__}: {error}", style="red", markup=False)
            return 2


async def _demo(console: Console, *, once: bool, as_json: bool, pace: float | None) -> int:
    began = time.monotonic()
    script = load_script()
    teller = Teller(console, script)
    teller.welcome()
    secret = new_secret()
    with temporary_folder() as folder:
        async with on_stage(script, folder, secret, teller.show) as (stage, evening):
            await connect(stage, evening, secret)
            set_up = time.monotonic() - began
            teller.curtain(set_up)
            failures = await play(stage, evening, pace)
            teller.end()
            standing, differing = await stand(evening, stage.rest)
            summary = reckon(evening, [*failures, *differing]) | standing
            summary |= {
                "elapsed_seconds": round(time.monotonic() - began, 1),
                "set_up_seconds": round(set_up, 1),
            }
            teller.reckoning(summary)
            if summary["problems"]:
                console.print(stage.serve.last_words(), markup=False)
            if as_json:
                sys.stdout.write(json.dumps(summary) + "\n")
                sys.stdout.flush()
            if not once:
                stage.clock.set_speed(1.0)
                teller.invite(stage.rest.url, stage.rest.key)
                with contextlib.suppress(asyncio.CancelledError):
                    await asyncio.Event().wait()
    return 1 if summary["problems"] else 0


def new_secret() -> str:
    """What the forum signs with."""
    return f"whsec_{base64.b64encode(secrets.token_bytes(32)).decode()}"


@contextlib.asynccontextmanager
async def on_stage(
    script: Script, folder: Path, secret: str, show: Callable[[Line, str], None]
) -> AsyncIterator[tuple[Stage, Evening]]:
    """The three twins and an empty gateway, half an hour before the evening begins."""
    clock = SharedTime.create(folder / "time", at=script.begins - SET_UP, speed=SPEED)
    network = social_twin(time=clock, tier="self_serve", limits=False)
    helpdesk = helpdesk_twin(time=clock)
    helpdesk.limits.off()
    forum = forum_twin(time=clock, signing_secret=secret, reply_secret=secret)
    async with set_stage([network, helpdesk, forum], clock, folder, SETTINGS) as stage:
        observer = Observer(stage.rest, helpdesk, PATIENCE)
        evening = Evening(script, clock, network, helpdesk, forum, Witness(patience=PATIENCE), observer, show)
        evening.open_accounts()
        yield stage, evening


async def connect(stage: Stage, evening: Evening, secret: str) -> None:
    """What an admin does once: a helpdesk, the company's account at X, and its forum."""
    rest, script = stage.rest, evening.script
    desk_config = {"base_url": evening.helpdesk.url, "email": evening.helpdesk.email}
    desk = await rest.connection("zendesk", "Helpdesk", {**desk_config, "api_token": evening.helpdesk.token})
    await rest.install(desk)
    brand = await rest.brand(script.company)
    shared = {"brand": brand, "helpdesk": str(desk["id"])}
    app = await rest.app("x", "X", evening.network.app_config())
    account = evening.network.connection_config(script.handle)
    await rest.install(await rest.connection("x", f"@{script.handle}", account, app=app, **shared))
    answers = {"reply_url": evening.forum.reply_url, "reply_secret": secret}
    config: dict[str, Any] = {"system": script.forum, "signing_secrets": [secret], **answers}
    evening.forum.door = (await rest.connection("inbound", script.forum, config, **shared))["door"]


async def play(stage: Stage, evening: Evening, pace: float | None) -> list[str]:
    """Play every line, then wait until nothing is under way. Returns what did not happen."""
    steps = list(evening.steps())
    evening.helpdesk.webhooks.duplicate = TWICE
    may_jump = functools.partial(stage.may_jump, evening.helpdesk, evening.forum)
    conductor = Conductor(stage.clock, may_jump, slack=TOGETHER, pace=pace)
    twins = (evening.network, evening.helpdesk, evening.forum)
    async with evening.witness.watching():
        await conductor.play(steps)
        for twin in twins:
            await twin.settle()
        quiet = await stage.quiet.until_quiet(QUIET_SECONDS)
        for twin in twins:
            await twin.settle()
    failures = [step.failure for step in steps if step.failure]
    if not quiet:
        failures.append(f"the gateway was still at work {QUIET_SECONDS:.0f} s after the evening was over")
    return failures
