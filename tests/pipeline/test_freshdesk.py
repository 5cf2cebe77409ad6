"""The whole line with Freshdesk at its end: no idempotency keys, a search that lags, merges without a word for them."""

from __future__ import annotations

import contextlib
import io
from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from uuid import UUID

import pytest
from PIL import Image

from gateway_freshdesk.twin import FreshdeskTwin
from gateway_schemas.markup import as_text
from gateway_schemas.testing.twin import Fault
from gateway_x.twin import XTwin
from support.gateway import Gateway, fresh_database, running


@dataclass
class Line:
    """Customers at X, the gateway, agents at Freshdesk."""

    gateway: Gateway
    x: XTwin
    desk: FreshdeskTwin
    helpdesk: UUID

    async def settle(self, seconds: float = 20.0) -> None:
        """Wait until webhooks have arrived and the gateway has nothing left to do."""
        await self.x.settle()
        await self.gateway.quiet(seconds)
        await self.desk.settle()
        await self.gateway.quiet(seconds)

    def messages(self, number: int = 1) -> list[str]:
        """What stands on a ticket, its description first, without marks and permalinks."""
        ticket = self.desk.tickets[number]
        texts = [as_text(ticket.description), *(as_text(one.body) for one in ticket.conversations)]
        return [text.split("\n\nhttp")[0].split("\n\n[gw:")[0] for text in texts]

    async def answer(self, number: int, text: str, **options: Any) -> int:
        """An agent writes a note; returns its id."""
        note = self.desk.agent_note(number, "Ann", text, **options)
        await self.settle()
        return note

    def published(self) -> list[tuple[str, str | None]]:
        """What the brand has posted: text and what it answers."""
        return [(post.written, post.in_reply_to) for post in self.x.published("AcmeSupport")]

    async def poll(self) -> None:
        """Time for the next poll."""
        await self.gateway.execute("UPDATE cursor SET next_at = now() WHERE connection_id = :id", id=self.helpdesk)
        drains = {f"poll:{self.helpdesk}:{stream}" for stream in ("tickets", "deleted", "spam")}
        await self.gateway.runtime.wake(drains)

        async def polled() -> bool:
            return not await self.gateway.value(
                "SELECT count(*) FROM cursor WHERE connection_id = :id AND next_at <= now()", id=self.helpdesk
            )

        await self.gateway.until(polled, "the helpdesk was polled")
        await self.settle()


@pytest.fixture
async def line(server_url: str, tmp_path: Path) -> AsyncIterator[Line]:
    x, desk = XTwin(tier="enterprise"), FreshdeskTwin()
    desk.limits.off()
    x.add_brand("AcmeSupport")
    for name in ("rita", "bob"):
        x.add_user(name)
    async with contextlib.AsyncExitStack() as stack:
        url = await stack.enter_async_context(fresh_database(server_url))
        await stack.enter_async_context(x.serve())
        await stack.enter_async_context(desk.serve())
        gateway = await stack.enter_async_context(running(url, tmp_path))
        config = {**desk.connection_config(), "share": 1.0, "plan": "enterprise", "create_fields": True}
        helpdesk = await gateway.add_connection("helpdesk", "freshdesk", config)
        app = await gateway.add_app("x", x.app_config())
        brand = x.connection_config("AcmeSupport")
        source = await gateway.add_connection("source", "x", brand, app=app, helpdesk=helpdesk)
        await gateway.install(helpdesk)
        await gateway.install(source)
        yield Line(gateway, x, desk, helpdesk)


async def complaint(line: Line, text: str = "@AcmeSupport my parcel is stuck") -> str:
    post: str = line.x.post("rita", text)
    await line.settle()
    return post


async def test_a_complaint_becomes_a_ticket_and_its_answer_goes_out_once(line: Line) -> None:
    """Complaint, second message, the agent's public note; and no mail to anybody."""
    post = await complaint(line)
    line.x.post("rita", "@AcmeSupport hello?", in_reply_to=post)
    await line.settle()
    assert line.messages() == ["@AcmeSupport my parcel is stuck", "@AcmeSupport hello?"]
    (ticket,) = line.desk.tickets.values()
    assert ticket.conversations[0].user_id == ticket.requester_id
    assert ticket.custom_fields["cf_ticket_key"].startswith("gateway:")
    await line.answer(1, "We found it, Rita.\nIt is on its way!")
    assert [text for text, _ in line.published()] == ["We found it, Rita.\nIt is on its way!"]
    await line.poll()
    await line.poll()
    assert len(line.published()) == 1
    assert len(line.messages()) == 3
    assert line.desk.mails == []


async def test_a_private_note_is_recorded_and_never_published(line: Line) -> None:
    await complaint(line)
    await line.answer(1, "the depot says it is lost", public=False)
    await line.poll()
    assert line.published() == []
    assert await line.gateway.value("SELECT text FROM note") == "the depot says it is lost"
    assert await line.gateway.value("SELECT count(*) FROM reply") == 0


async def test_a_reply_by_mail_publishes_nothing(line: Line) -> None:
    await complaint(line)
    line.desk.agent_reply(1, "Ann", "Dear Rita")
    await line.settle()
    assert line.published() == []
    assert await line.gateway.value("SELECT code FROM reply") == "origin_email"


@pytest.mark.parametrize("kind", ["status_after", "drop_after", "timeout_after"])
@pytest.mark.parametrize("path", ["/api/v2/tickets$", "/api/v2/tickets/1/notes$"])
async def test_a_ticket_or_note_whose_outcome_is_unknown_is_there_once(line: Line, kind: Any, path: str) -> None:
    """The effect is there, its answer lost; lists trail behind, and the search would say that there is nothing."""
    line.desk.list_lag = 1.5
    line.desk.faults.append(Fault(kind, path=path, method="POST", status=502, seconds=6, times=1))
    post = await complaint(line)
    line.x.post("rita", "@AcmeSupport hello?", in_reply_to=post)
    await line.settle(40)
    assert len(line.desk.tickets) == 1
    assert line.messages() == ["@AcmeSupport my parcel is stuck", "@AcmeSupport hello?"]
    assert [one for one in line.desk.requests if "/search/" in one[1]] == []


async def test_what_is_not_published_is_told_and_the_ticket_opened_again(line: Line) -> None:
    """The API cannot make the note private: a private note and a tag say it, also on a ticket closed at once."""
    await complaint(line)
    await line.answer(1, "word " * 80, status=5)
    assert line.published() == []
    ticket = line.desk.tickets[1]
    assert (ticket.status, "gw_blocked" in ticket.tags) == (2, True)
    assert ticket.custom_fields["cf_gw_state"] == "blocked"
    told = [one for one in ticket.conversations if "NOT been published" in as_text(one.body)]
    assert [one.private for one in told] == [True]


async def test_a_closed_ticket_is_followed_up(line: Line) -> None:
    post = await complaint(line)
    line.desk.close(1, "Ann")
    await line.settle()
    line.x.post("rita", "@AcmeSupport it is broken", in_reply_to=post)
    await line.settle()
    assert len(line.desk.tickets) == 2
    assert line.messages(2)[0].endswith("@AcmeSupport it is broken")
    assert "/a/tickets/1" in as_text(line.desk.tickets[2].description)


async def test_a_merge_into_another_of_ours_is_followed(line: Line) -> None:
    first = await complaint(line)
    line.x.post("bob", "@AcmeSupport mine too")
    await line.settle()
    line.desk.merge(1, 2, "Ann", public=True)
    await line.settle()
    line.x.post("rita", "@AcmeSupport hello?", in_reply_to=first)
    await line.settle()
    assert len(line.desk.tickets) == 2
    assert line.messages(2)[-1] == "@AcmeSupport hello?"
    assert line.published() == [], "what a merge writes is no answer"


async def test_a_merge_into_somebody_elses_ticket_is_followed_and_its_answers_come_back(line: Line) -> None:
    first = await complaint(line)
    data = {"name": "Rita", "email": "rita@home.example", "subject": "By mail", "description": "The same by mail"}
    other = line.desk.desk.create({**data, "status": 2, "priority": 2, "source": 1}, None)
    line.desk.merge(1, other.id, "Ann")
    await line.settle()
    assert other.tags == ["gateway"]
    await line.answer(other.id, "Found it!")
    assert line.published() == [("Found it!", first)]


@pytest.mark.parametrize("way", ["delete", "mark_spam"])
async def test_a_ticket_that_is_deleted_is_not_written_to_again(line: Line, way: str) -> None:
    """Nothing calls us for that: the lists of trash and spam tell, else the next message finds out."""
    post = await complaint(line)
    getattr(line.desk, way)(1)
    if way == "delete":
        await line.poll()
        assert await line.gateway.value("SELECT ended FROM ticket") == "deleted"
    line.x.post("rita", "@AcmeSupport hello?", in_reply_to=post)
    await line.settle()
    assert len(line.desk.tickets) == 2
    assert line.messages(1) == ["@AcmeSupport my parcel is stuck"]
    assert line.messages(2)[0].endswith("@AcmeSupport hello?")


async def test_a_webhook_that_was_lost_is_made_up_for_by_the_next_poll(line: Line) -> None:
    await complaint(line)
    line.desk.webhooks.drop = 1.0
    await line.answer(1, "We found it!")
    assert line.published() == []
    await line.poll()
    assert [text for text, _ in line.published()] == ["We found it!"]


def photo(colour: str = "red") -> bytes:
    """A small JPEG."""
    out = io.BytesIO()
    Image.new("RGB", (24, 16), colour).save(out, "JPEG")
    return out.getvalue()


async def test_pictures_go_both_ways(line: Line) -> None:
    """The customer's hangs on the ticket; the agent's, pasted into the note, goes out with the answer."""
    line.x.post("rita", "@AcmeSupport look at this", media=[line.x.picture(photo())])
    await line.settle()
    (file,) = line.desk.tickets[1].attachments
    assert line.desk.desk.contents[file["attachment_url"].rsplit("/", 1)[-1]] == (photo(), "image/jpeg")
    pasted = line.desk.desk.keep_file("shop.jpg", photo("green"), "image/jpeg")["attachment_url"]
    await line.answer(1, "", markup=f'<div>Bring it here:</div><img src="{pasted}">')
    assert [text for text, _ in line.published()] == ["Bring it here:"]
    (post,) = line.x.published("AcmeSupport")
    assert len(post.media) == 1


async def test_limits_of_the_plan_reach_the_client(line: Line) -> None:
    endpoint = (await line.gateway.runtime.connections.load([line.helpdesk]))[line.helpdesk]
    plugin: Any = line.gateway.runtime.connections.instance(endpoint, outgoing=line.gateway.runtime.outgoing)
    assert {one.limit for one in plugin.budgets_of(plugin.config)} == {700, 280, 200}
