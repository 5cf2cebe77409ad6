"""What agents do comes back: a hint by webhook, then the ticket with its conversations."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest

from gateway_schemas.errors import Malformed, Unverified
from gateway_schemas.interaction import Ignored, Wanted
from gateway_schemas.ticket import AgentNote, AgentReply, OwnComment, TicketChanged
from gateway_schemas.webhook import RawDelivery


def of(news: list[Any], kind: type[Any]) -> list[Any]:
    return [one for one in news if isinstance(one, kind)]


async def test_an_answer_comes_back(desk: Any) -> None:
    """An agent's public note: who wrote what, where, and whose ticket it is."""
    await desk.installed()
    ticket = await desk.created(priority="high")
    assert await desk.hooks() == []  # our own create tells us nothing
    written = desk.twin.agent_note(ticket, "Ada", "Sorry, Alice.\n\nWe look into it")
    desk.twin.change(ticket, {"responder_id": desk.twin.agent("Ada"), "status": 3}, "Ada")
    hints = await desk.hooks()
    assert hints == [Wanted(ref=str(ticket), kind="ticket", reason="thin", at=desk.time.now())] * 2
    news = await desk.read(ticket)
    (reply,) = of(news, AgentReply)
    assert (reply.ticket, reply.external_id, reply.text) == (
        str(ticket),
        str(written),
        "Sorry, Alice.\n\nWe look into it",
    )
    assert (reply.author.external_id, reply.author.name) == (str(desk.twin.agent("Ada")), "Ada")
    assert (reply.origin, reply.public, reply.leg, reply.at, reply.revision) == (
        *("composer", True, None, desk.time.now()),
        "1",
    )
    (state,) = of(news, TicketChanged)
    assert (state.status, state.priority, state.tags) == ("waiting", "high", ("gateway",))
    assert (state.assignee.name, state.merged_into, state.deleted) == ("Ada", None, False)


async def test_private_notes_are_never_replies(desk: Any) -> None:
    ticket = await desk.created()
    desk.twin.agent_note(ticket, "Ada", "The customer is right", public=False)
    news = await desk.read(ticket)
    assert of(news, AgentReply) == []
    (note,) = of(news, AgentNote)
    assert (note.text, note.author.name) == ("The customer is right", "Ada")


async def test_own_notes_are_never_replies(desk: Any) -> None:
    """Not the customer's mirrored words, not the gateway's notes, not even a public one."""
    await desk.installed()
    ticket = await desk.created()
    await desk.told(ticket, "k2")
    await desk.told(ticket, "k3", author=None, public=False)
    await desk.told(ticket, "k4", author=None, public=True)
    news = await desk.read(ticket)
    assert of(news, AgentReply) == of(news, AgentNote) == []
    assert [(one.key, one.external_id) for one in of(news, OwnComment)] == [
        ("k1-c", f"description-{ticket}"),
        *((f"k{n + 2}-c", str(one.id)) for n, one in enumerate(desk.twin.tickets[ticket].conversations)),
    ]


async def test_a_copy_of_one_of_our_messages_is_neither_ours_nor_an_answer(desk: Any) -> None:
    """As merges and agents make it: it must not pass for the message itself, and nobody wants it published."""
    ticket = await desk.created()
    desk.twin.agent_note(ticket, "Ada", "She wrote: The train is late\n[gw:k1-c]")
    news = await desk.read(ticket)
    assert [one.origin for one in of(news, AgentReply)] == ["merge"]
    assert [one.external_id for one in of(news, OwnComment)] == [f"description-{ticket}"]


async def test_an_unmarked_note_of_the_api_user_is_no_composer(desk: Any) -> None:
    """Another script with the same key: seen, but as `api`."""
    ticket = await desk.created()
    desk.twin.agent_note(ticket, desk.twin.api_user.id, "From another script")
    (reply,) = of(await desk.read(ticket), AgentReply)
    assert reply.origin == "api"


async def test_replies_go_by_mail_and_publish_only_where_the_config_says_so(desk: Any) -> None:
    """Typed in the ticket, from a mailbox, or to a hundred tickets at once: Freshdesk shows one thing."""
    ticket = await desk.created()
    desk.twin.agent_reply(ticket, "Ada", "Dear Alice")
    (reply,) = of(await desk.read(ticket), AgentReply)
    assert reply.origin == "email"
    desk.settings = {"replies_publish": True}
    (reply,) = of(await desk.read(ticket), AgentReply)
    assert reply.origin == "composer"


async def test_what_rules_write_is_a_rules(desk: Any) -> None:
    everything = [{"name": "condition_set_1", "match_type": "all", "properties": []}]
    for private in (False, True):
        desk.twin.rules.save(
            4,
            {
                "name": f"Thank ({private})",
                "performer": {"type": 1},
                "events": [{"field_name": "priority"}],
                "conditions": everything,
                "actions": [{"field_name": "add_note", "value": "Thank you for your patience", "private": private}],
            },
        )
    ticket = await desk.created()
    desk.twin.change(ticket, {"priority": 1})
    news = await desk.read(ticket)
    (reply,) = of(news, AgentReply)
    assert reply.origin == "rule"
    assert of(news, AgentNote) == []


@pytest.mark.parametrize("public", [True, False])
async def test_what_merges_write_is_no_answer(desk: Any, public: bool) -> None:
    """On the ticket that stays: with public notes both would go out as answers, one of them the customer's words."""
    source, target = await desk.created("a"), await desk.created("b")
    desk.twin.merge(source, target, "Ada", public=public)
    news = await desk.read(target)
    assert {one.origin for one in of(news, AgentReply)} == ({"merge"} if public else set())
    assert of(news, TicketChanged)[0].merged_into is None
    gone = await desk.read(source)
    assert of(gone, TicketChanged)[0].merged_into == str(target)
    assert {one.origin for one in of(gone, AgentReply)} == ({"merge"} if public else set())


async def test_half_of_a_merge_is_waited_for(desk: Any) -> None:
    """Freshdesk writes the notes one after the other: the first, alone, would go out as an answer."""
    source, target = await desk.created("a"), await desk.created("b")
    desk.twin.agent_note(target, "Ada", f"Ticket {source} was merged into this one")
    assert await desk.read(target) == []  # left unanswered: the host asks again
    desk.time.pass_by(seconds=10)
    desk.twin.agent_note(source, "Ada", f"Merged into {target}", public=False, status=5)
    (reply,) = of(await desk.read(target), AgentReply)
    assert reply.origin == "merge"


async def test_a_number_without_a_ticket_waits_for_nothing(desk: Any) -> None:
    ticket = await desk.created()
    desk.twin.agent_note(ticket, "Ada", "Your order 4711 is on its way")
    (reply,) = of(await desk.read(ticket), AgentReply)
    assert reply.origin == "composer"


async def test_an_answer_with_numbers_in_it_is_an_answer(desk: Any) -> None:
    """Order numbers, dates, and even the number of another ticket: only two notes together make a merge."""
    ticket, other = await desk.created("a"), await desk.created("b")
    desk.twin.agent_note(ticket, "Ada", f"Your order 4711 of 12.3.2026 is in ticket {other}, for 19.99 or 2-3 days")
    desk.twin.agent_note(other, "Ada", f"See ticket {ticket}", public=False, at=desk.time.now() - timedelta(minutes=10))
    desk.twin.agent_note(other, "Bea", f"See ticket {ticket}", public=False)
    desk.time.pass_by(seconds=31)
    (reply,) = of(await desk.read(ticket), AgentReply)
    assert reply.origin == "composer"


async def test_a_number_that_is_another_tickets_holds_nothing_up(desk: Any) -> None:
    """That ticket may be a monster, or not be ours to see: nothing is proven, and the answer is an answer."""
    ticket, monster, hidden = [await desk.created(key) for key in "abc"]
    desk.twin.agent_note(ticket, "Ada", f"Sorry! {monster} or {hidden} days")
    desk.twin.agent_note(monster, "Ada", "x", public=False)
    desk.twin.tickets[monster].conversations *= 5001
    desk.time.pass_by(seconds=31)
    desk.fault("status_before", method="GET", path=f"/tickets/{hidden}/", status=403)
    (reply,) = of(await desk.read(ticket), AgentReply)
    assert reply.origin == "composer"


async def test_customers_at_the_helpdesk_are_not_agents(desk: Any) -> None:
    ticket = await desk.created()
    desk.twin.customer_reply(ticket, "Any news?")
    news = await desk.read(ticket)
    assert of(news, AgentReply) == of(news, AgentNote) == []


async def test_a_contact_who_writes_from_inside_is_no_agent(desk: Any) -> None:
    ticket = await desk.created()
    stranger = desk.twin.desk.person("Stranger")
    desk.twin.desk.write(desk.twin.tickets[ticket], stranger, "<div>Hm</div>", private=False)
    news = await desk.read(ticket)
    assert of(news, AgentReply) == []


async def test_agents_that_may_not_be_looked_at_still_answer(desk: Any) -> None:
    ticket = await desk.created()
    desk.twin.agents_hidden, desk.twin.api_user.role = True, "agent"
    desk.twin.agent_note(ticket, "Ada", "We are on it")
    (reply,) = of(await desk.read(ticket), AgentReply)
    assert (reply.author.external_id, reply.author.name) == (str(desk.twin.agent("Ada")), None)


async def test_each_agent_is_asked_for_once(desk: Any) -> None:
    tickets = [await desk.created(key) for key in "abc"]
    for ticket in tickets:
        desk.twin.agent_note(ticket, "Ada", "Hello")
    await desk.read(*tickets)
    assert len(desk.requests("GET", "/agents/")) <= 3  # three at a time, before the first has answered
    plugin = desk.plugin
    for ticket in tickets:
        await plugin.fetch([Wanted(ref=str(ticket), kind="ticket")])
    assert len(desk.requests("GET", "/agents/")) <= 4


async def test_an_edited_answer_has_another_revision(desk: Any) -> None:
    ticket = await desk.created()
    written = desk.twin.agent_note(ticket, "Ada", "Tomorow")
    (before,) = of(await desk.read(ticket), AgentReply)
    desk.time.pass_by(minutes=1)
    desk.twin.edit_note(ticket, written, "Tomorrow")
    (after,) = of(await desk.read(ticket), AgentReply)
    assert before.external_id == after.external_id
    assert before.revision != after.revision
    assert after.text == "Tomorrow"


@pytest.mark.parametrize(
    ("tags", "leg"),
    [
        (["reply:public"], "public"),
        (["Reply_Private"], "private"),
        (["reply:public", "reply:private"], "private"),
        (["reply"], None),
        ([], None),
    ],
)
async def test_the_agent_chooses_the_leg_by_tag(desk: Any, tags: list[str], leg: str | None) -> None:
    ticket = await desk.created()
    desk.twin.agent_note(ticket, "Ada", "Hello", tags=tags)
    (reply,) = of(await desk.read(ticket), AgentReply)
    assert reply.leg == leg


@pytest.mark.parametrize(
    ("value", "leg"), [("Public", "public"), ("private", "private"), ("reply:public", "public"), (None, None)]
)
async def test_the_agent_chooses_the_leg_by_field(desk: Any, value: str | None, leg: str | None) -> None:
    field = desk.twin.add_field("Leg", type="custom_dropdown")["name"]
    desk.settings = {"fields": {"leg": field}}
    ticket = await desk.created()
    desk.twin.change(ticket, {"custom_fields": {field: value}})
    desk.twin.agent_note(ticket, "Ada", "Hello")
    (reply,) = of(await desk.read(ticket), AgentReply)
    assert reply.leg == leg


async def test_the_text_is_what_the_agent_saw(desk: Any) -> None:
    """Freshdesk's own plain text runs paragraphs together; what is published has its lines and its links."""
    markup = (
        '<div>Hello&nbsp;Alice,</div><div><br></div><p>two <b>bold</b> words &amp; a <a href="https://acme.example/track">'
        "link</a></p><ul><li>one</li><li>two</li></ul>"
        '<a href="https://acme.example">https://acme.example/</a><style>p{}</style>'
    )
    ticket = await desk.created()
    desk.twin.agent_note(ticket, "Ada", "", markup=markup)
    (reply,) = of(await desk.read(ticket), AgentReply)
    assert reply.text == (
        "Hello Alice,\n\ntwo bold words & a link (https://acme.example/track)\n\n- one\n- two\n\nhttps://acme.example/"
    )


async def test_attachments_of_an_answer(desk: Any) -> None:
    ticket = await desk.created()
    desk.twin.agent_note(ticket, "Ada", "See here")
    file = {
        "id": 9,
        "name": "a.pdf",
        "content_type": "application/pdf",
        "size": 12,
        "attachment_url": "https://cdn/a.pdf",
    }
    desk.twin.tickets[ticket].conversations[0].attachments = [file, "broken", {"id": 10, "size": -1}]
    (reply,) = of(await desk.read(ticket), AgentReply)
    assert [(one.name, one.size) for one in reply.attachments] == [("a.pdf", 12), (None, None)]


@pytest.mark.parametrize("way", ["delete", "mark_spam", "purge"])
async def test_tickets_that_are_gone(desk: Any, way: str) -> None:
    ticket = await desk.created()
    getattr(desk.twin, way)(ticket)
    assert await desk.read(ticket) == [TicketChanged(ticket=str(ticket), deleted=True)]


async def test_closed_is_final_or_merely_solved(desk: Any) -> None:
    ticket = await desk.created()
    desk.twin.close(ticket)
    assert of(await desk.read(ticket), TicketChanged)[0].status == "closed"
    desk.settings = {"closed_is_final": False}
    assert of(await desk.read(ticket), TicketChanged)[0].status == "solved"


async def test_nothing_is_kept_of_tickets_that_are_not_ours(desk: Any) -> None:
    """A rule made by hand without the condition may hint at them."""
    other = desk.twin.desk.create(
        {
            "email": "eve@home.example",
            "name": "Eve",
            "subject": "Private",
            "description": "x",
            "status": 2,
            "priority": 1,
            "source": 2,
        },
        None,
    )
    (page,) = await desk.plugin.fetch([Wanted(ref=str(other.id), kind="ticket")])
    assert page.body == b'{"foreign": "1"}'
    (item,) = await desk.read(other.id)
    assert isinstance(item, Ignored)


# webhooks


def hint(body: bytes, desk: Any) -> list[Any]:
    return list(desk.plugin.normalise(RawDelivery("w", "webhook", body, desk.time.now())))


@pytest.mark.parametrize(
    "body",
    [
        b'{"ticket_id": 12}',
        b'{"ticket_id": "12"}',
        b'{"freshdesk_webhook":{"ticket_id":12,"ticket_status":"Open"}}',
        b'{"freshdesk_webhook":{"ticket_id":"INC-12"}}',
        b'{"ticket_id": "#12", "triggered_event": "{ticket_action:update}"}',
    ],
)
def test_hints(desk: Any, body: bytes) -> None:
    """Whatever else a webhook says is not believed: none is signed."""
    assert hint(body, desk) == [Wanted(ref="12", kind="ticket", reason="thin", at=desk.time.now())]


@pytest.mark.parametrize(
    "body", [b"{}", b"[]", b'{"ticket_id": "12; drop"}', b'{"ticket_id": null}', b"\xff", b"not json"]
)
def test_hints_that_name_no_ticket(desk: Any, body: bytes) -> None:
    with pytest.raises(Malformed):
        hint(body, desk)


async def test_the_secret(desk: Any) -> None:
    """In a header, compared in constant time; several while it is rotated; none known refuses all."""
    await desk.installed()
    (secret,) = desk.settings["webhook_secrets"]
    ticket = await desk.created()
    desk.twin.agent_note(ticket, "Ada", "Hello")
    await desk.twin.settle()
    (request,) = desk.inbox
    desk.inbox.clear()
    assert request.header("x-gateway-secret") == secret
    assert desk.plugin.verify(request) is None
    desk.settings["webhook_secrets"] = ["newer", secret]
    assert desk.plugin.verify(request) is None
    headers = [(name, b"wrong" if name == b"x-gateway-secret" else value) for name, value in request.headers]
    refused = [replace(request, headers=headers), replace(request, headers=())]
    for one in refused:
        with pytest.raises(Unverified):
            desk.plugin.verify(one)
    for secrets in ([], [""], ["newer"]):
        desk.settings["webhook_secrets"] = secrets
        with pytest.raises(Unverified):
            desk.plugin.verify(request)


async def test_the_simple_content_is_read_too(desk: Any) -> None:
    await desk.installed()
    desk.twin.rules.simple = True
    ticket = await desk.created()
    desk.twin.agent_note(ticket, "Ada", "Hello")
    (wanted,) = await desk.hooks()
    assert wanted.ref == str(ticket)
