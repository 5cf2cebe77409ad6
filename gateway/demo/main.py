"""`gateway demo`: an evening of a fictional company, played through the real gateway against the plugins' twins."""

from __future__ import annotations

import asyncio
import json
import random
import sys
import time
from datetime import UTC, datetime, timedelta
from typing import Any

from rich.console import Console

from gateway.demo.conductor import NotSeen
from gateway.demo.evening import Evening, load_evening
from gateway.demo.process import StageBroken
from gateway.demo.rest import RestRefused
from gateway.demo.stage import Stage, set_stage, temporary_folder
from gateway.demo.twins import TwinMissing, forum_twin, helpdesk_twin, social_twin
from gateway.demo.witness import Witness
from gateway_schemas.time import SharedTime

SPEED = 20.0
"""Virtual seconds per real second: an evening in half a minute, and signed times stay good for a while."""
BEGINS = datetime(2026, 3, 6, 17, 30, tzinfo=UTC)
SPREAD = 18.0
"""Real seconds over which the conversations begin."""
SECRET = "whsec_S2VzdHJlbFBhcmNlbHNEZW1vU2VjcmV0S2V5MDEyMzQ="


async def run_demo(*, once: bool = False, as_json: bool = False, speed: float | None = None) -> int:
    """Called by `gateway demo`: the exit code, 0 only when everything arrived everywhere exactly once."""
    console = Console(stderr=as_json, highlight=False)
    try:
        return await _demo(console, once=once, as_json=as_json, speed=speed or SPEED)
    except (StageBroken, TwinMissing, RestRefused) as error:
        console.print(f"[red]{type(error).__name__}[/]: {error}")
        return 2


async def _demo(console: Console, *, once: bool, as_json: bool, speed: float) -> int:
    began = time.monotonic()
    script = load_evening()
    console.print(f"[bold]An evening at {script['company']}[/]: setting the stage …")
    with temporary_folder() as folder:
        clock = SharedTime.create(folder / "time", at=BEGINS - timedelta(minutes=10), speed=speed)
        network = social_twin(time=clock, tier="self_serve", limits=False)
        helpdesk = helpdesk_twin(time=clock)
        helpdesk.limits.off()
        forum = forum_twin(time=clock, signing_secret=SECRET, reply_secret=SECRET)
        # what waits in virtual time waits shorter here: the evening runs fast
        settings = {"ancestor_wait": str(20 * speed), "lease_seconds": "5", "call_timeout": "5"}
        async with set_stage([network, helpdesk, forum], clock, folder, settings) as stage:
            witness = Witness(patience=60.0)
            evening = Evening(script, clock, network, helpdesk, forum, witness, console)
            await _connect(stage, evening)
            network.webhooks.duplicate = 0.25  # providers say things twice
            set_up = time.monotonic() - began
            console.print(f"The stage stands after {set_up:.0f} s. It is {clock.now():%H:%M}.\n")
            failures = await _play(evening, witness)
            for twin in (network, helpdesk, forum):
                await twin.settle()
            if not await stage.quiet.until_quiet(60.0):
                failures.append("the gateway was still at work a minute after the evening was over")
            witness.look()
            summary = evening.summary(failures) | {
                "elapsed_seconds": round(time.monotonic() - began, 1),
                "set_up_seconds": round(set_up, 1),
            }
            if summary["problems"]:
                console.print(stage.serve.last_words(), markup=False)
            _report(console, summary, stage)
            if as_json:
                sys.stdout.write(json.dumps(summary) + "\n")
                sys.stdout.flush()
            if not once:
                await _stay(console, stage)
        return 1 if summary["problems"] else 0


async def _connect(stage: Stage, evening: Evening) -> None:
    """What an admin does once: a helpdesk, the company's account at the network, and its forum."""
    rest = stage.rest
    desk = await rest.connection(
        "zendesk",
        "Helpdesk",
        {
            "base_url": evening.helpdesk.url,
            "email": evening.helpdesk.email,
            "api_token": evening.helpdesk.token,
            "share": 1.0,
        },
    )
    await rest.install(desk)
    brand = await rest.brand(evening.company)
    evening.network.add_brand(evening.handle, name=evening.company)
    app = await rest.app("x", "Network", evening.network.app_config())
    source = await rest.connection(
        "x",
        f"@{evening.handle}",
        evening.network.connection_config(evening.handle),
        app=app,
        brand=brand,
        helpdesk=desk["id"],
    )
    await rest.install(source)
    forum = await rest.connection(
        "inbound",
        "Forum",
        {
            "system": "The forum",
            "signing_secrets": [SECRET],
            "reply_url": evening.forum.reply_url,
            "reply_secret": SECRET,
        },
        brand=brand,
        helpdesk=desk["id"],
    )
    evening.forum.door = forum["door"]


async def _play(evening: Evening, witness: Witness) -> list[str]:
    """All conversations at once, each begun at its moment. Returns what did not happen."""
    chance = random.Random(7)
    failures: list[str] = []

    async def one(number: int) -> None:
        await asyncio.sleep(SPREAD * number / len(evening.conversations) + chance.uniform(0.0, 0.4))
        try:
            await evening.play(number)
        except NotSeen as error:
            failures.append(str(error))

    async with witness.watching():
        await asyncio.gather(*(one(number) for number in range(len(evening.conversations))))
    return failures


def _report(console: Console, summary: dict[str, Any], stage: Stage) -> None:
    console.print("\n[bold]The evening in numbers[/]")
    for name, value in summary.items():
        if name not in ("problems", "first_response_seconds"):
            console.print(f"{name.replace('_', ' '):>24}  {value}")
    times = summary["first_response_seconds"]
    console.print(
        f"{'first response':>24}  median {times['median'] / 60:.0f} min, 90 % within {times['p90'] / 60:.0f} min"
    )
    for problem in summary["problems"]:
        console.print(f"[red]{'problem':>24}[/]  {problem}", markup=True)
    if not summary["problems"]:
        console.print(f"{'':>24}  [green]everything arrived everywhere exactly once[/]")


async def _stay(console: Console, stage: Stage) -> None:
    """Go on serving, so that one can look around."""
    console.print(
        f"""
The gateway goes on serving until Ctrl-C. Look around:

  KEY={stage.rest.key}
  curl -s -H "Authorization: Bearer $KEY" {stage.rest.url}/v1/tickets | python3 -m json.tool | less
  curl -s -H "Authorization: Bearer $KEY" "{stage.rest.url}/v1/replies?state=blocked" | python3 -m json.tool
  curl -s -H "Authorization: Bearer $KEY" {stage.rest.url}/v1/connections | python3 -m json.tool | less

The whole API: {stage.rest.url}/docs""",
        markup=False,
        soft_wrap=True,
    )
    try:
        await asyncio.Event().wait()
    except asyncio.CancelledError:
        console.print("Good night.")
