"""What agents do comes back: webhook, fetch, normalise, against real triggers with real signatures."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest

from gateway_schemas.errors import Retry, Unverified
from gateway_schemas.interaction import Ignored, Wanted
from gateway_schemas.ticket import AgentNote, AgentReply, OwnComment, TicketChanged


def of(news: list[Any], kind: type[Any]) -> list[Any]:
    return [one for one in news if isinstance(one, kind)]


async def test_an_answer_comes_back(desk: Any) -> None:
    """Thin webhook, then the ticket: who wrote what, where, and whose ticket it is."""
    await desk.installed()
    ticket = await desk.created(priority="high")
    assert await desk.hooks() == []  # our own create tells us nothing
    written = desk.twin.agent_comment(ticket, "Ada", "Sorry, we look into it", status="pending")
    (wanted,) = await desk.hooks()
    assert wanted == Wanted(ref=str(ticket), kind="ticket", reason="thin", at=desk.time.now())
    news = await desk.read(wanted.ref)
    (reply,) = of(news, AgentReply)
    agent = desk.twin.desk.people.all[desk.twin.agent("Ada")]
    assert (reply.ticket, reply.external_id, reply.text) == (str(ticket), str(written), "Sorry, we look into it")
    assert (reply.author.external_id, reply.author.name) == (str(agent.id), "Ada")
    assert (reply.origin, reply.public, reply.leg, reply.at) == ("composer", True, None, desk.time.now())
    (state,) = of(news, TicketChanged)
    assert (state.ticket_key, state.status, state.priority) == ("t-k1", "waiting", "high")
    assert state.assignee.name == "Ada"
    assert state.tags == ("gateway",)


@pytest.mark.parametrize(
    ("via", "origin"),
    [
        ("web", "composer"),
        ("mobile", "app"),
        ("email", "email"),
        ("rule", "rule"),
        ("automation", "rule"),
        ("merge", "merge"),
        ("bulk", "bulk"),
        ("problem", "bulk"),
        ("api", "api"),
    ],
)
async def test_origins(desk: Any, via: str, origin: str) -> None:
    ticket = await desk.created()
    desk.twin.agent_comment(ticket, "Ada", "We are on it", via=via)
    (reply,) = of(await desk.read(ticket), AgentReply)
    assert reply.origin == origin


async def test_private_notes_are_never_replies(desk: Any) -> None:
    await desk.installed()
    ticket = await desk.created()
    desk.twin.agent_comment(ticket, "Ada", "The customer is right", public=False)
    (wanted,) = await desk.hooks()
    news = await desk.read(wanted.ref)
    assert of(news, AgentReply) == []
    (note,) = of(news, AgentNote)
    assert note.text == "The customer is right"


async def test_own_comments_are_never_replies(desk: Any) -> None:
    """Not the customer's mirrored words, not the gateway's notes, not even a public one."""
    await desk.installed()
    ticket = await desk.created()
    for number, public in enumerate((False, True)):
        note = desk.comment(f"n{number}", "From the gateway", author=None, public=public)
        await desk.push(desk.change(f"u{number}", [note], external_id=str(ticket), subject=None))
    await desk.push(desk.change("u2", external_id=str(ticket), subject=None))
    assert await desk.hooks() == []
    news = await desk.read(ticket)
    assert of(news, AgentReply) == of(news, AgentNote) == []
    assert len(of(news, OwnComment)) == 4


async def test_an_unmarked_write_of_the_api_user_is_no_composer(desk: Any) -> None:
    """Another integration on the same account: seen, but as `api`."""
    ticket = await desk.created()
    desk.twin.agent_comment(ticket, desk.twin.api_user.id, "From another script", via="api")
    (reply,) = of(await desk.read(ticket), AgentReply)
    assert reply.origin == "api"


async def test_customers_at_the_helpdesk_are_not_agents(desk: Any) -> None:
    ticket = await desk.created()
    desk.twin.customer_comment(ticket, "Any news?")
    news = await desk.read(ticket)
    assert of(news, AgentReply) == of(news, AgentNote) == []


async def test_what_we_made_private_does_not_come_back_as_a_note(desk: Any) -> None:
    await desk.installed()
    ticket = await desk.created()
    written = desk.twin.agent_comment(ticket, "Ada", "A voucher for your review")
    await desk.push(desk.change("u", (), external_id=str(ticket), subject=None, make_private=(str(written),)))
    await desk.hooks()
    news = await desk.read(ticket)
    assert of(news, AgentReply) == of(news, AgentNote) == []
    assert f"comment {written}: made private by the gateway" in [one.reason for one in of(news, Ignored)]


async def test_what_the_agent_took_back_says_so(desk: Any) -> None:
    """The same comment with another revision, not public any more: the host can stop what it has not sent."""
    await desk.installed()
    ticket = await desk.created()
    written = desk.twin.agent_comment(ticket, "Ada", "Wrong ticket!")
    (before,) = of(await desk.read(ticket), AgentReply)
    desk.twin.make_private(ticket, written, "Ada")
    assert of(await desk.hooks(), Wanted)
    (after,) = of(await desk.read(ticket), AgentReply)
    assert (before.external_id, before.public, before.revision) == (str(written), True, "1")
    assert (after.external_id, after.public, after.revision) == (str(written), False, "2")


@pytest.mark.parametrize("word", ["reply:public", "reply_public", "Reply:Public"])
async def test_the_agent_chooses_the_leg_by_tag(desk: Any, word: str) -> None:
    ticket = await desk.created()
    desk.twin.agent_comment(ticket, "Ada", "first")
    desk.twin.agent_comment(ticket, "Ada", "second", tags=[word])
    desk.twin.agent_comment(ticket, "Ada", "third")
    desk.twin.agent_comment(ticket, "Ada", "fourth", tags=["reply:private"])
    desk.twin.agent_comment(ticket, "Ada", "fifth")
    replies = of(await desk.read(ticket), AgentReply)
    # the choice made with a comment counts for it; one still standing counts too; of two, the more private
    assert [one.leg for one in replies] == [None, "public", "public", "private", "private"]


async def test_the_agent_chooses_the_leg_by_field(desk: Any) -> None:
    desk.settings = {"fields": {"leg": 77}}
    ticket = await desk.created()
    desk.twin.agent_comment(ticket, "Ada", "first", fields={77: "reply_private"})
    desk.twin.agent_comment(ticket, "Ada", "second", fields={77: "public"})
    desk.twin.agent_comment(ticket, "Ada", "third", fields={77: None})
    replies = of(await desk.read(ticket), AgentReply)
    assert [one.leg for one in replies] == ["private", "public", None]


async def test_rich_text_becomes_plain(desk: Any) -> None:
    ticket = await desk.created()
    desk.twin.agent_comment(ticket, "Ada", "", html="<p><b>Sorry</b> &amp; thanks</p>")
    (reply,) = of(await desk.read(ticket), AgentReply)
    assert reply.text == "Sorry & thanks"
    assert "<b>Sorry</b>" in reply.html


async def test_merged_and_deleted(desk: Any) -> None:
    await desk.installed()
    source, target = await desk.created("a"), await desk.created("b")
    desk.twin.merge(source, target)
    assert {one.ref for one in await desk.hooks()} == {str(source), str(target)}
    news = await desk.read(source, target)
    assert of(news, AgentReply) == of(news, AgentNote) == []
    states = {one.ticket: one for one in of(news, TicketChanged)}
    assert (states[str(source)].merged_into, states[str(source)].status) == (str(target), "closed")
    assert states[str(target)].merged_into is None
    desk.twin.delete(target)
    (gone,) = await desk.read(target)
    assert gone == TicketChanged(ticket=str(target), deleted=True)


async def test_fetch_of_many(desk: Any) -> None:
    """One page each; what is gone is said to be gone; one that cannot be had now is left for later."""
    tickets = [await desk.created(f"k{number}") for number in range(6)]
    desk.twin.delete(tickets[0])
    desk.twin.faults.append(desk.fault("status_before", path=f"/tickets/{tickets[5]}/audits", status=500))
    wanted = [Wanted(ref=str(one), kind="ticket") for one in (*tickets, tickets[1], "nonsense")]
    pages = await desk.plugin.fetch(wanted)
    answered = {ref for page in pages for ref in page.answers}
    assert answered == {str(one) for one in tickets[:5]} | {"nonsense"}
    assert {ref for page in pages for ref in page.gone} == {str(tickets[0]), "nonsense"}
    assert len(desk.requests("GET", "/tickets/show_many")) == 1


async def test_fetch_of_one_that_fails(desk: Any) -> None:
    ticket = await desk.created()
    desk.twin.faults.append(desk.fault("status_before", path=f"/tickets/{ticket}/audits", status=503))
    with pytest.raises(Retry):
        await desk.plugin.fetch([Wanted(ref=str(ticket), kind="ticket")])


@pytest.mark.parametrize("sideloaded", [True, False])
async def test_authors_that_the_side_load_left_out(desk: Any, sideloaded: bool) -> None:
    desk.twin.sideload_comment_authors = sideloaded
    ticket = await desk.created()
    desk.twin.agent_comment(ticket, "Ada", "Hello")
    desk.twin.change(ticket, {"assignee_id": desk.twin.agent("Bob")})
    for audit in desk.twin.tickets[ticket].audits:
        audit.author_id = desk.twin.api_user.id
    news = await desk.read(ticket)
    assert [one.author.name for one in of(news, AgentReply)] == ["Ada"]
    assert of(news, TicketChanged)[0].assignee.name == "Bob"


async def test_a_long_ticket_is_read_to_the_end(desk: Any) -> None:
    ticket = await desk.created()
    for number in range(250):
        desk.twin.agent_comment(ticket, "Ada", f"line {number}")
    replies = of(await desk.read(ticket), AgentReply)
    assert [one.text for one in replies] == [f"line {number}" for number in range(250)]


async def test_reading_twice_says_the_same(desk: Any) -> None:
    ticket = await desk.created()
    desk.twin.agent_comment(ticket, "Ada", "Hello")
    assert await desk.read(ticket) == await desk.read(ticket)


async def test_duplicates_and_repeats_of_a_webhook(desk: Any) -> None:
    await desk.installed()
    ticket = await desk.created()
    desk.twin.webhooks.duplicate = 1.0
    desk.twin.agent_comment(ticket, "Ada", "Hello")
    first, second = await desk.hooks()
    assert first == second
    webhook = next(iter(desk.twin.rules.webhooks.values()))
    assert len(webhook.invocations) == 1


async def test_a_webhook_after_rotation_and_after_its_time(desk: Any) -> None:
    await desk.installed()
    ticket = await desk.created()
    webhook = next(iter(desk.twin.rules.webhooks.values()))
    old = webhook.secret
    desk.twin.agent_comment(ticket, "Ada", "signed with the old secret")
    await desk.twin.settle()
    webhook.secret = "a-new-one"
    await desk.installed()
    desk.twin.agent_comment(ticket, "Ada", "signed with the new one")
    assert len(await desk.hooks()) == 2
    assert desk.settings["signing_secrets"] == ["a-new-one", old]
    desk.twin.agent_comment(ticket, "Ada", "too late")
    await desk.twin.settle()
    (request,) = desk.inbox
    late = replace(request, received_at=request.received_at + timedelta(minutes=5, seconds=2))
    with pytest.raises(Unverified):
        desk.plugin.verify(late)
    desk.inbox.clear()


async def test_event_subscriptions(desk: Any) -> None:
    """A webhook subscribed to events instead of a trigger: the same, with less to ask."""
    rules = desk.twin.rules
    names = ("comment_added", "status_changed", "comment_made_private", "merged", "soft_deleted", "tags_changed")
    webhook = rules.create_webhook(
        {
            "name": "events",
            "status": "active",
            "endpoint": desk.door,
            "http_method": "POST",
            "request_format": "json",
            "subscriptions": [f"zen:event-type:ticket.{name}" for name in names],
        }
    )
    desk.settings = {"signing_secrets": [webhook.secret]}
    ticket, target = await desk.created("a"), await desk.created("b")
    assert {type(one) for one in await desk.hooks()} == {Ignored}
    desk.twin.customer_comment(ticket, "Hello?")
    assert {type(one) for one in await desk.hooks()} == {Ignored}
    desk.twin.agent_comment(ticket, "Ada", "Hi", status="pending")
    assert {one.ref for one in await desk.hooks()} == {str(ticket)}
    desk.twin.merge(ticket, target)
    assert [one.merged_into for one in of(await desk.hooks(), TicketChanged)] == [str(target)]
    desk.twin.delete(target)
    assert [(one.ticket, one.deleted) for one in of(await desk.hooks(), TicketChanged)] == [(str(target), True)]
