"""A Page and an Instagram account of one App on the line: whose is what, and the private leg of a public comment."""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from gateway_meta.twin import MetaTwin
from gateway_schemas.testing.twin import Fault
from gateway_zendesk.twin import ZendeskTwin
from support.gateway import Gateway, fresh_database, running
from support.postgres import server_url  # noqa: F401  a fixture


@dataclass
class PageLine:
    """Customers at Facebook and Instagram, the gateway, agents at Zendesk."""

    gateway: Gateway
    meta: MetaTwin
    desk: ZendeskTwin

    async def settle(self, seconds: float = 30.0) -> None:
        """Wait until webhooks have arrived and the gateway has nothing left to do."""
        await self.meta.settle()
        await self.gateway.quiet(seconds)
        await self.desk.settle()
        await self.gateway.quiet(seconds)
        await self.meta.settle()
        await self.gateway.quiet(seconds)

    async def answer(self, number: int, text: str, **options: Any) -> None:
        """An agent answers in the helpdesk."""
        self.desk.agent_comment(number, "Ann", text, **options)
        await self.desk.settle()
        await self.settle()

    def comments(self, number: int) -> list[str]:
        """What stands in public on a ticket, without permalinks."""
        found = [one for one in self.desk.tickets[number].comments if one.public]
        return [one.body.split("\n\nhttp")[0] for one in found]


@pytest.fixture
async def line(server_url: str, tmp_path: Path) -> AsyncIterator[PageLine]:  # noqa: F811
    """A line with both accounts installed."""
    meta, desk = MetaTwin(), ZendeskTwin()
    desk.limits.off()
    meta.add_page("acme", name="Acme")
    meta.add_instagram("acme.gram", name="Acme", page="acme")
    meta.add_user("jo", name="Jo Sample")
    meta.add_user("kim", name="Kim")
    async with (
        fresh_database(server_url) as url,
        meta.serve(),
        desk.serve(),
        running(url, tmp_path) as gateway,
    ):
        helpdesk = await gateway.add_connection(
            "helpdesk", "zendesk", {"base_url": desk.url, "email": desk.email, "api_token": desk.token, "share": 1.0}
        )
        app = await gateway.add_app("meta", meta.app_config())
        await gateway.install(helpdesk)
        for who in ("acme", "acme.gram"):
            config = meta.connection_config(who)
            source = await gateway.add_connection("source", "meta", config, name=who, app=app, helpdesk=helpdesk)
            await gateway.install(source)
        yield PageLine(gateway, meta, desk)


async def test_each_commenter_is_a_matter_and_answers_come_under_what_they_answer(line: PageLine) -> None:
    post = line.meta.post("acme", "Our autumn colours")
    media = line.meta.post("acme.gram", "Our autumn colours")
    await line.settle()
    comment = line.meta.post("jo", "In blue? 💙", post)
    await line.settle()
    other = line.meta.post("kim", "Where is my parcel?", media)
    await line.settle()
    assert (line.comments(1), line.comments(2)) == (["In blue? 💙"], ["Where is my parcel?"])
    await line.answer(1, "Yes, from Monday.")
    await line.answer(2, "Which order is it?")
    assert [(one.text, one.parent) for one in line.meta.published("acme")] == [("Yes, from Monday.", comment)]
    assert [(one.text, one.parent) for one in line.meta.published("acme.gram")] == [("Which order is it?", other)]
    # the echoes of both are known as our own
    assert await line.gateway.value("SELECT count(*) FROM reply WHERE state = 'sent'") == 2
    assert len(line.desk.tickets) == 2


async def test_an_edit_and_a_removal_reach_the_ticket(line: PageLine) -> None:
    comment = line.meta.post("jo", "In blue?", line.meta.post("acme", "Colours"))
    await line.settle()
    line.meta.edit(comment, "In dark blue?")
    await line.settle()
    assert any("In dark blue?" in one for one in line.comments(1))
    line.meta.delete(comment)
    await line.settle()
    assert await line.gateway.value("SELECT deleted_at FROM interaction WHERE external_id = :id", id=comment)


async def test_a_public_comment_goes_on_in_private_in_the_same_ticket(line: PageLine) -> None:
    comment = line.meta.post("jo", "My order never came", line.meta.post("acme", "Colours"))
    await line.settle()
    await line.answer(1, "Please tell us your order number.", tags=["reply:private"])
    (message,) = line.meta.messages_from("acme")
    assert message.text == "Please tell us your order number."
    assert line.meta.state.comments[comment].privately_answered
    assert line.meta.published("acme") == []
    line.meta.direct_message("jo", "acme", "It is 4711")
    await line.settle()
    assert list(line.desk.tickets) == [1]
    assert any("4711" in one.body for one in line.desk.tickets[1].comments)
    await line.answer(1, "Thank you, it leaves today.", tags=["reply:private"])
    assert [one.text for one in line.meta.messages_from("acme")][1:] == ["Thank you, it leaves today."]


async def test_an_answer_whose_outcome_is_unknown_is_found_and_not_repeated(line: PageLine) -> None:
    line.meta.post("jo", "In blue?", line.meta.post("acme", "Colours"))
    await line.settle()
    line.meta.faults.append(Fault("drop_after", method="POST", path="/comments$"))
    await line.answer(1, "Yes, from Monday.")
    assert [one.text for one in line.meta.published("acme")] == ["Yes, from Monday."]
    assert await line.gateway.value("SELECT state FROM reply") == "sent"
