"""The whole line with Zammad and with Request Tracker at its end: the helpdesks that companies run themselves."""

from __future__ import annotations

import contextlib
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from uuid import UUID

import pytest

from gateway_request_tracker.twin import RequestTrackerTwin
from gateway_schemas.testing.twin import Fault
from gateway_x.twin import XTwin
from gateway_zammad.twin import ZammadTwin
from support.gateway import Gateway, fresh_database, running


@dataclass
class Kind:
    """How one of the helpdesks is played."""

    name: str
    twin: Callable[[], Any]
    config: dict[str, Any]
    stream: str
    creating: str
    commenting: str

    def messages(self, twin: Any, ticket: int) -> list[str]:
        """What stands on a ticket, oldest first, without permalinks."""
        if self.name == "zammad":
            texts = [one.body for one in twin.articles(ticket)]
        else:
            texts = [text for _, text in twin.messages(ticket)]
        return [text.split("\n\nhttp")[0].removeprefix("rita wrote:\n\n") for text in texts]

    def answer(self, twin: Any, ticket: int, text: str, **more: Any) -> None:
        """An agent answers in the helpdesk's own pages."""
        (twin.agent_note if self.name == "zammad" else twin.agent_reply)(ticket, "Ann", text, **more)

    def note(self, twin: Any, ticket: int, text: str) -> None:
        """An agent writes what stays inside."""
        if self.name == "zammad":
            twin.agent_note(ticket, "Ann", text, public=False)
        else:
            twin.agent_comment(ticket, "Ann", text)


KINDS = [
    Kind("zammad", ZammadTwin, {"create_fields": True}, "tickets", "/tickets$", "/ticket_articles$"),
    Kind(
        "request_tracker",
        RequestTrackerTwin,
        {"create_fields": True, "customer_secret": "pipeline-" * 5},
        "transactions",
        "/ticket$",
        "/correspond$",
    ),
]


@dataclass
class Line:
    """Customers at X, the gateway, agents at the helpdesk."""

    gateway: Gateway
    x: XTwin
    desk: Any
    helpdesk: UUID
    kind: Kind

    async def settle(self, seconds: float = 20.0) -> None:
        """Wait until webhooks have arrived and the gateway has nothing left to do."""
        await self.x.settle()
        await self.gateway.quiet(seconds)
        await self.desk.settle()
        await self.gateway.quiet(seconds)

    async def poll(self) -> None:
        """Time for the next poll."""
        await self.gateway.execute("UPDATE cursor SET next_at = now() WHERE connection_id = :id", id=self.helpdesk)
        await self.gateway.runtime.wake({f"poll:{self.helpdesk}:{self.kind.stream}"})

        async def polled() -> bool:
            return not await self.gateway.value(
                "SELECT count(*) FROM cursor WHERE connection_id = :id AND next_at <= now()", id=self.helpdesk
            )

        await self.gateway.until(polled, "the helpdesk was polled")
        await self.settle()

    async def complaint(self, text: str = "@AcmeSupport my parcel is stuck", who: str = "rita", **more: Any) -> str:
        """A customer posts."""
        post: str = self.x.post(who, text, **more)
        await self.settle()
        return post

    async def answer(self, ticket: int, text: str, **more: Any) -> None:
        """An agent answers, and the gateway hears of it."""
        self.kind.answer(self.desk, ticket, text, **more)
        await self.settle()
        await self.poll()

    def messages(self, ticket: int = 1) -> list[str]:
        """What stands on a ticket."""
        return self.kind.messages(self.desk, ticket)

    def published(self) -> list[str]:
        """What the brand has posted."""
        return [post.written for post in self.x.published("AcmeSupport")]


@pytest.fixture(params=KINDS, ids=lambda kind: kind.name)
async def line(request: pytest.FixtureRequest, server_url: str, tmp_path: Path) -> AsyncIterator[Line]:
    kind: Kind = request.param
    x, desk = XTwin(tier="enterprise"), kind.twin()
    x.add_brand("AcmeSupport")
    for name in ("rita", "bob"):
        x.add_user(name)
    async with contextlib.AsyncExitStack() as stack:
        url = await stack.enter_async_context(fresh_database(server_url))
        await stack.enter_async_context(x.serve())
        await stack.enter_async_context(desk.serve())
        gateway = await stack.enter_async_context(running(url, tmp_path))
        helpdesk = await gateway.add_connection("helpdesk", kind.name, {**desk.connection_config(), **kind.config})
        app = await gateway.add_app("x", x.app_config())
        brand = x.connection_config("AcmeSupport")
        source = await gateway.add_connection("source", "x", brand, app=app, helpdesk=helpdesk)
        await gateway.install(helpdesk)
        await gateway.install(source)
        yield Line(gateway, x, desk, helpdesk, kind)


async def test_a_complaint_becomes_a_ticket_and_its_answer_goes_out_once(line: Line) -> None:
    """Complaint, second message, the agent's answer and a note; and no mail to anybody."""
    post = await line.complaint()
    await line.complaint("@AcmeSupport hello?", in_reply_to=post)
    assert line.messages() == ["@AcmeSupport my parcel is stuck", "@AcmeSupport hello?"]
    line.kind.note(line.desk, 1, "the depot says it is lost")
    await line.answer(1, "We found it, Rita. It is on its way!")
    assert line.published() == ["We found it, Rita. It is on its way!"]
    await line.poll()
    assert len(line.published()) == 1
    assert len(line.messages()) == 4
    assert line.desk.mails == []
    assert await line.gateway.value("SELECT text FROM note") == "the depot says it is lost"


@pytest.mark.parametrize("step", ["creating", "commenting"])
async def test_a_ticket_or_message_whose_outcome_is_unknown_is_there_once(line: Line, step: str) -> None:
    """The effect is there, its answer lost."""
    if line.kind.name == "zammad":
        line.desk.search_lag = 1.5
    line.desk.faults.append(Fault("drop_after", path=getattr(line.kind, step), method="POST", times=1))
    post = await line.complaint()
    await line.complaint("@AcmeSupport hello?", in_reply_to=post)
    await line.settle(40)
    assert len(line.desk.tickets) == 1
    assert line.messages() == ["@AcmeSupport my parcel is stuck", "@AcmeSupport hello?"]


async def test_what_is_not_published_is_told_and_the_ticket_opened_again(line: Line) -> None:
    await line.complaint()
    await line.answer(
        1, "word " * 80, **({"state": "closed"} if line.kind.name == "zammad" else {"status": "resolved"})
    )
    assert line.published() == []
    ticket = line.desk.tickets[1]
    tags = ticket.tags if line.kind.name == "zammad" else ticket.fields["gw_tags"]
    assert "gw_blocked" in tags
    assert (ticket.state_id if line.kind.name == "zammad" else ticket.status) in (2, "open")
    assert sum("NOT been published" in text for text in line.messages()) == 1
    if line.kind.name == "zammad":
        assert [one.internal for one in line.desk.articles(1)] == [False, True, True]


async def test_a_merge_is_followed_and_publishes_nothing(line: Line) -> None:
    first = await line.complaint()
    await line.complaint("@AcmeSupport mine too", "bob")
    line.desk.merge(1, 2, "Ann")
    await line.settle()
    await line.poll()
    await line.complaint("@AcmeSupport hello?", in_reply_to=first)
    assert len(line.desk.tickets) == 2
    assert line.messages(2)[-1] == "@AcmeSupport hello?"
    assert line.published() == [], "what a merge writes is no answer"
