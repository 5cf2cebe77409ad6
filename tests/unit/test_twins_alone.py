"""Every shipped twin runs by itself: `gateway twin NAME`."""

from __future__ import annotations

import asyncio
import json
import re

import httpx2
import pytest
from pydantic import BaseModel

from gateway.registry import Registry
from gateway_schemas.authoring.twins import TwinMissing, installed, run, twin_class


@pytest.mark.parametrize("name", installed())
async def test_twin_runs_alone_and_says_how_to_connect(name: str, capsys: pytest.CaptureFixture[str]) -> None:
    over = asyncio.Event()
    running = asyncio.create_task(run(name, port=0, seed=1, faults=0.0, until=over))
    try:
        printed = ""
        while "config:" not in printed:
            assert not running.done(), running
            await asyncio.sleep(0.01)
            printed += capsys.readouterr().out
        async with httpx2.AsyncClient(trust_env=False) as http:
            url = re.search(rf"{name} is at (\S+)", printed)
            assert url
            page = await http.get(f"{url[1]}/_twin")
            assert (page.status_code, f"<h1>{name}" in page.text) == (200, True)
            assert (await http.get(f"{url[1]}/_twin/actions")).json(), "nobody can do anything on its page"
    finally:
        over.set()
        await running
    registry = Registry.load()
    plugin = {**registry.sources, **registry.helpdesks, **registry.enrichers}[name]
    for part, model in (("config", plugin.Config), ("app", plugin.AppConfig)):
        given = re.search(rf"as {part}:\n(\{{.*?\n\}})", printed, re.DOTALL)
        if given:
            assert issubclass(model, BaseModel)
            model.model_validate(json.loads(given[1]))


def test_a_twin_that_is_not_there_says_what_to_install() -> None:
    with pytest.raises(TwinMissing, match=r"install helpdesk-gateway-no-such\[twin\]"):
        twin_class("no_such")
