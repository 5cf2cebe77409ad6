"""An installation that is made of another one's files lives through the demo's evening as that one does."""

from __future__ import annotations

import asyncio
import pprint
import re
import sys
from collections import Counter
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest

from gateway.demo.evening import Evening
from gateway.demo.main import connect, new_secret, on_stage, play
from gateway.demo.reckoning import reckon
from gateway.demo.script import load_script
from gateway.demo.stage import Stage
from gateway.demo.standing import stand

SetUp = Callable[[Stage, Evening], Awaitable[None]]
CHANCE = re.compile(
    r"[0-9a-f]{8}-[0-9a-f-]{27}|\d{9,}|https?://[^\s)]+"
    r"|(?<=/approve )[0-9a-f]+"  # names one answer of one installation
    r"|(?<=merged into request #)\d+"  # tickets are numbered as they come
    r"|\d+(?=% of the time)"  # when the sweep came by
    r"|(?<=Context: )\S+"  # the handle, where the post was fetched before it was told
    r"|\d{4}-\d\d-\d\d \d\d:\d\d(?= UTC)"  # when it was said, which takes a moment
    r"|(?<=Last comment in it: )[\s\S]*"  # notes on one ticket come as they come
)
"""What differs from one evening to the next, however the gateway was set up."""


async def command(stage: Stage, *arguments: str, **environment: str) -> str:
    """A command of the gateway on the stage's installation; what it said."""
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "gateway.cli", *arguments),
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
        env={**stage.serve.environment, **environment},
    )
    out, _ = await process.communicate()
    assert process.returncode == 0, out.decode()
    return out.decode()


async def spend(folder: Path, secret: str, set_up: SetUp) -> dict[str, Any]:
    """The whole evening at an installation; what it came to."""
    async with on_stage(load_script(), folder, secret, lambda line, outcome: None) as (stage, evening):
        await set_up(stage, evening)
        failures = await play(stage, evening, None)
        standing, differing = await stand(evening, stage.rest)
        summary = reckon(evening, [*failures, *differing]) | standing
        assert summary["problems"] == [], stage.serve.last_words()
        return {"summary": without_times(summary), **await story(stage, evening)}


def without_times(summary: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in summary.items() if name != "first_response_seconds"}


async def story(stage: Stage, evening: Evening) -> dict[str, Any]:
    """Everything that anybody could see, by what it says: ids, addresses and times apart."""
    rest = stage.rest
    replies = [one async for one in rest.listed("replies", limit="200")]
    clocks = [one async for one in rest.listed("clocks", limit="200")]
    promises = [one async for one in rest.listed("promises", limit="200")]
    alarms = [one async for one in rest.listed("alarms", limit="200")]
    incidents = [one async for one in rest.listed("incidents", limit="200")]
    return {
        "tickets": counted(shown(one) for one in evening.helpdesk.snapshot()["tickets"]),
        "sent": counted((sent.place, sent.text) for sent in evening.sent),
        "replies": counted((plain(one["text"]), one["state"], one["code"], plain(one["reason"])) for one in replies),
        "clocks": counted(
            (
                *(one[name] for name in ("kind", "policy", "label", "state", "minutes", "calendar")),
                one["breached_at"] is not None,
                plain(one["reason"]),
            )
            for one in clocks
        ),
        "promises": counted(
            (plain(one["quote"]), one["state"], one["detail"], (one["due"] or "")[:13]) for one in promises
        ),
        "alarms": counted((one["code"], one["severity"], one["policy"]) for one in alarms),
        "incidents": counted((one["policy"], one["messages"], one["closed_at"] is not None) for one in incidents),
        "policies": [
            {name: value for name, value in one.items() if name != "revision"}
            for one in (await rest.get("policies/in-force"))["policies"]
        ],
    }


def shown(ticket: dict[str, Any]) -> tuple[Any, ...]:
    """A ticket as agents see it. Where the clock jumps over the times when a promise is nearly due and when it is
    broken, one sweep finds both and tells of the graver alone."""
    tags, comments = {*ticket["tags"]}, [(plain(one["body"]), one["public"]) for one in ticket["comments"]]
    if "promise_broken" in tags:
        tags.discard("promise_due")
        comments = [one for one in comments if "Promised, and due soon" not in one[0]]
    return ticket["status"], tuple(sorted(tags)), tuple(sorted(comments))


def counted(things: Any) -> Counter[Any]:
    return Counter(things)


def plain(text: str | None) -> str:
    return CHANCE.sub("…", text or "")


def named(evening: Evening, secret: str) -> dict[str, str]:
    """What an admin keeps beside the files, and has entered over REST in the first installation."""
    app, account = evening.network.app_config(), evening.network.connection_config(evening.script.handle)
    return {
        "HELPDESK_HELPDESK_API_TOKEN": evening.helpdesk.token,
        "APP_X_CONSUMER_SECRET": app["consumer_secret"],
        "APP_X_BEARER_TOKEN": app["bearer_token"],
        "SOURCE_KESTRELHELP_ACCESS_TOKEN": account["access_token"],
        "SOURCE_THE_SORTING_ROOM_SIGNING_SECRETS_1": secret,
        "SOURCE_THE_SORTING_ROOM_REPLY_SECRET": secret,
    }


@pytest.mark.torture
@pytest.mark.timeout(900)
async def test_exported_and_applied_on_an_empty_installation_the_evening_is_the_same(tmp_path: Path) -> None:
    secret, files = new_secret(), tmp_path / "files"
    addresses: list[str] = []

    async def by_hand(stage: Stage, evening: Evening) -> None:
        await connect(stage, evening, secret)
        await command(stage, "export", str(files))
        addresses.extend(twin.url for twin in (evening.network, evening.helpdesk, evening.forum))

    async def by_files(stage: Stage, evening: Evening) -> None:
        moved = dict(zip(addresses, (evening.network.url, evening.helpdesk.url, evening.forum.url), strict=True))
        for file in files.rglob("*.yaml"):
            text = file.read_text("utf-8")
            for before, after in moved.items():
                text = text.replace(before, after)
            file.write_text(text, "utf-8")
        values = named(evening, secret)
        told = await command(stage, "apply", str(files), "--yes", "--reason", "as it was", **values)
        assert "Applied." in told, told
        for connection in [one async for one in stage.rest.listed("connections")]:
            if connection["plugin"] == "inbound":
                evening.forum.door = connection["door"]
            else:
                await stage.rest.install(connection)
        assert "Nothing to change" in await command(stage, "plan", str(files), **values)

    for name in ("first", "second"):
        (tmp_path / name).mkdir()
    first = await spend(tmp_path / "first", secret, by_hand)
    second = await spend(tmp_path / "second", secret, by_files)
    differing = {
        part: (list((found - second[part]).elements()), list((second[part] - found).elements()))
        if isinstance(found, Counter)
        else (found, second[part])
        for part, found in first.items()
        if found != second[part]
    }
    assert not differing, pprint.pformat(differing, width=200)
    assert first["summary"]["replies_published"] >= 50
