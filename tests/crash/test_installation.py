"""The whole installation, with its own embedded PostgreSQL, killed in the middle of the line: promises 1 to 5."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime
from pathlib import Path

import pytest

from gateway.demo.stage import Victim, set_stage, temporary_folder
from gateway_schemas.time import SharedTime
from gateway_x.twin import XTwin
from gateway_zendesk.twin import ZendeskTwin

MATTERS = 6
PATIENCE = 90.0
SPEED = 10.0
"""A ticket that the crash left in doubt is made anew once the helpdesk would have shown it: a minute, at speed 1."""


async def until(check: object, what: str) -> None:
    """Wait for something to be true."""
    assert callable(check)
    for _ in range(int(PATIENCE / 0.05)):
        if check():
            return
        await asyncio.sleep(0.05)
    raise AssertionError(f"timed out waiting until {what}")


@pytest.mark.torture
@pytest.mark.timeout(300)
@pytest.mark.parametrize("victim", ["postgres", "serve"])
async def test_promises_1_to_5_hold_when_a_part_is_killed_in_the_middle_of_the_line(
    tmp_path: Path, victim: Victim
) -> None:
    with temporary_folder() as folder:
        clock = SharedTime.create(folder / "time", at=datetime.now(UTC), speed=SPEED)
        network, helpdesk = XTwin(time=clock, tier="enterprise"), ZendeskTwin(time=clock)
        helpdesk.limits.off()
        network.add_brand("AcmeSupport")
        network.add_user("rita")
        settings = {"call_timeout": "3", "lease_seconds": "3"}
        async with set_stage([network, helpdesk], clock, folder, settings) as stage:
            config = {"base_url": helpdesk.url, "email": helpdesk.email, "api_token": helpdesk.token}
            desk = await stage.rest.connection("zendesk", "helpdesk", config)
            await stage.rest.install(desk)
            app = await stage.rest.app("x", "network", network.app_config())
            config = network.connection_config("AcmeSupport")
            await stage.rest.install(
                await stage.rest.connection("x", "@AcmeSupport", config, app=app, helpdesk=desk["id"])
            )

            posts = [network.post("rita", f"@AcmeSupport matter {number}") for number in range(MATTERS // 2)]
            await until(lambda: helpdesk.tickets, "the first ticket is there, and others are on their way")
            assert await stage.kill(victim)
            posts += [network.post("rita", f"@AcmeSupport matter {number}") for number in range(MATTERS // 2, MATTERS)]
            await network.settle()  # what was not answered 2xx is told again by the network
            await until(lambda: len(helpdesk.tickets) == MATTERS, "every matter is a ticket")

            for number in helpdesk.tickets:
                helpdesk.agent_comment(number, "Ann", f"Answer to ticket {number}")
            await until(lambda: network.published("AcmeSupport"), "the first answer is out")
            assert await stage.kill(victim)
            await until(lambda: len(network.published("AcmeSupport")) == MATTERS, "every answer is out")
            await network.settle()
            await helpdesk.settle()
            assert await stage.quiet.until_quiet(PATIENCE)

            assert sorted(post.in_reply_to or "" for post in network.published("AcmeSupport")) == sorted(posts)
            assert len(helpdesk.tickets) == MATTERS
            for ticket in helpdesk.tickets.values():
                assert len(ticket.comments) == 2, "the complaint and the answer, each once"
