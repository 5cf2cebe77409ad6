"""What the gateway writes: tickets, notes as the customer, fields and tags, and what people did meanwhile."""

from __future__ import annotations

from typing import Any

import pytest
from pydantic import ValidationError

from gateway_freshdesk.config import FreshdeskConfig
from gateway_freshdesk.payloads import comment_html, mark, marked_with, short_key
from gateway_schemas.errors import Closed, Gone, Moved, Rejected
from gateway_schemas.interaction import Attachment
from gateway_schemas.markup import as_text
from gateway_schemas.ticket import GatewayFields


async def test_a_ticket(desk: Any) -> None:
    """Its requester is the customer's account, without an address; its description ends in the mark."""
    field = desk.twin.add_field("Gateway key")["name"]
    desk.settings = {"fields": {"ticket_key": field}, "group_id": 7, "ticket_type": "Question"}
    text = "Where is <b>my</b> parcel?\nIt's late & I wait"
    comment = desk.comment(text=text, url="https://source.example/1?a=1&b=2")
    done = await desk.push(desk.change(comments=[comment], priority="urgent", add_tags=("x", "Gateway")))
    (ticket,) = desk.twin.tickets.values()
    assert (done.external_id, done.url) == ("1", f"{desk.twin.url}/a/tickets/1")
    assert done.comments == {"c1": "description-1"}
    requester = desk.twin.desk.people[ticket.requester_id]
    assert (requester.unique_external_id, requester.name, requester.email) == ("fake:alice", "Alice", None)
    assert (ticket.subject, ticket.status, ticket.priority, ticket.source) == ("Post by @alice", 2, 4, 2)
    assert (ticket.group_id, ticket.type, ticket.tags) == (7, "Question", ["gateway", "x"])
    assert ticket.custom_fields == {field: "gateway:k1"}
    assert as_text(ticket.description) == f"{text}\n\nhttps://source.example/1?a=1&b=2\n\n[gw:c1]"


async def test_nobody_is_ever_mailed(desk: Any) -> None:
    """Not at the ticket's creation, not for an agent's note, not when it is solved: there is no address."""
    ticket = await desk.created()
    await desk.told(ticket, "k2", author=desk.customer("bob"))
    desk.twin.agent_note(ticket, "Ada", "We are on it", status=4)
    assert desk.twin.mails == []
    assert [one.email for one in desk.twin.desk.people.values() if not one.agent] == [None, None]
    # the twin would have told: with an address all three go out
    desk.twin.desk.people[desk.twin.tickets[ticket].requester_id].email = "alice@home.example"
    desk.twin.agent_note(ticket, "Ada", "Anything else?")
    assert len(desk.twin.mails) == 1


async def test_a_customers_message_is_their_note(desk: Any) -> None:
    """Public, from outside, by the contact: and the answering address is never used."""
    ticket = await desk.created()
    done = await desk.told(ticket, "k2", "Hello?\n\nStill waiting")
    (note,) = desk.twin.tickets[ticket].conversations
    assert done.comments == {"k2-c": str(note.id)}
    assert (note.source, note.private, note.incoming) == (2, False, True)
    assert note.user_id == desk.twin.tickets[ticket].requester_id
    assert as_text(note.body) == "Hello?\n\nStill waiting\n\n[gw:k2-c]"
    assert desk.requests("POST", "/reply") == []


async def test_a_note_by_the_gateway_is_private_and_its_own(desk: Any) -> None:
    ticket = await desk.created()
    await desk.told(ticket, "k2", "This answer was held", author=None, public=False)
    (note,) = desk.twin.tickets[ticket].conversations
    assert (note.user_id, note.private, note.incoming) == (desk.twin.api_user.id, True, False)


async def test_a_bystander_is_another_contact_made_once(desk: Any) -> None:
    ticket = await desk.created()
    for key in ("k2", "k3"):
        await desk.told(ticket, key, author=desk.customer("bob"))
    first, second = desk.twin.tickets[ticket].conversations
    assert first.user_id == second.user_id != desk.twin.tickets[ticket].requester_id
    assert len(desk.requests("POST", "/contacts")) == 1
    assert desk.requests("GET", "/contacts") == []


async def test_a_contact_that_is_there_already_is_told_by_the_refusal(desk: Any) -> None:
    """No list of contacts is asked: it has the tightest limit. What agents wrote into the contact stays."""
    kept = desk.twin.desk.person("Bob of Accounting", unique_external_id="fake:bob")
    ticket = await desk.created()
    await desk.told(ticket, "k2", author=desk.customer("bob"))
    assert desk.twin.tickets[ticket].conversations[0].user_id == kept.id
    assert kept.name == "Bob of Accounting"
    assert desk.requests("GET", "/contacts") == []


async def test_a_refusal_that_names_no_contact_is_looked_up(desk: Any) -> None:
    kept = desk.twin.desk.person("Bob", unique_external_id="fake:bob")
    ticket = await desk.created()
    desk.fault(
        "status_before", method="POST", path="/contacts$", status=409, body=b'{"description":"Validation failed"}'
    )
    await desk.told(ticket, "k2", author=desk.customer("bob"))
    assert desk.twin.tickets[ticket].conversations[0].user_id == kept.id


@pytest.mark.parametrize("trouble", ["agents only", "contact deleted", "contact field required"])
async def test_a_message_is_written_also_where_its_author_cannot_be(desk: Any, trouble: str) -> None:
    """Then the API user writes it, and the first line says whose it is. Nothing is lost, nothing doubled."""
    ticket = await desk.created()
    author = desk.customer("bob")
    await desk.told(ticket, "k2", author=author)
    if trouble == "agents only":
        desk.twin.desk.contact_notes = False
    elif trouble == "contact deleted":
        desk.twin.desk.contact_by("unique_external_id", "fake:bob").deleted = True
    else:
        desk.state.document = {}
        desk.twin.contact_fields.append({"name": "company_name", "label": "Company", "required_for_agents": True})
        author = desk.customer("carol")
    done = await desk.told(ticket, "k3", "me too", author=author)
    note = desk.twin.tickets[ticket].conversations[-1]
    assert (note.user_id, note.incoming, note.private) == (desk.twin.api_user.id, True, False)
    assert as_text(note.body) == f"{author.name} wrote:\n\nme too\n\n[gw:k3-c]"
    assert set((await desk.find(desk.change("k3", external_id=str(ticket)))).comments) == set(done.comments)
    assert len(desk.twin.tickets[ticket].conversations) == 2


async def test_a_contact_that_was_deleted_for_good_is_made_anew(desk: Any) -> None:
    ticket = await desk.created()
    bob = desk.customer("bob")
    await desk.told(ticket, "k2", author=bob)
    gone = desk.twin.desk.contact_by("unique_external_id", "fake:bob")
    gone.deleted, gone.unique_external_id = True, None
    await desk.told(ticket, "k3", author=bob)  # refused, and written in bob's place
    await desk.told(ticket, "k4", author=bob)
    assert desk.twin.desk.people[desk.twin.tickets[ticket].conversations[-1].user_id].unique_external_id == "fake:bob"


async def test_a_ticket_that_begins_with_anothers_words_says_whose(desk: Any) -> None:
    """A description is always its requester's at Freshdesk."""
    for key, author, heading in (("a", desk.customer("bob"), "Bob wrote:"), ("b", None, "A note by the gateway")):
        ticket = await desk.created(key, comments=[desk.comment(f"{key}-c", author=author)])
        assert as_text(desk.twin.tickets[ticket].description).startswith(heading)


async def test_a_follow_up_names_what_it_follows(desk: Any) -> None:
    old = await desk.created()
    new = await desk.created("k2", followup_of=str(old))
    assert f"{desk.twin.url}/a/tickets/{old}" in as_text(desk.twin.tickets[new].description)


async def test_files_are_named(desk: Any) -> None:
    file = Attachment(url="https://cdn.example/a.png", media_type="image/png", name="a.png")
    ticket = await desk.created(comments=[desk.comment(text="", attachments=(file,))])
    assert "(no text)\n\na.png: https://cdn.example/a.png" in as_text(desk.twin.tickets[ticket].description)


@pytest.mark.parametrize(
    "text",
    [
        "<script>alert(1)</script>",
        "a <b>bold</b> & \"quoted\" 'word'",
        "<!-- not a comment -->",
        "{{ticket.id}}",
        "line\r\nline",
        "  two  spaces",
        "\N{PILE OF POO} \N{ZERO WIDTH JOINER}",
        "[gw:forged]",
    ],
)
async def test_any_text_stands_there_as_it_was_written(desk: Any, text: str) -> None:
    ticket = await desk.created(comments=[desk.comment("real", text)])
    stored = desk.twin.tickets[ticket].description
    assert "<script" not in stored
    shown = as_text(stored)
    assert " ".join(shown.split()) == " ".join(f"{text} [gw:real]".split())
    assert marked_with(shown) == "real"


@pytest.mark.parametrize("key", ["i:0190-1:2", "k" * 300, "kéy", "a b", "x]y", "<k>", ""])
def test_marks(desk: Any, key: str) -> None:
    """Whatever the key is, it stands at the end of the text and is read there."""
    comment = desk.comment(key)
    assert marked_with(as_text(comment_html(comment))) == short_key(key)
    assert len(mark(key)) <= 126


async def test_fields_and_tags(desk: Any) -> None:
    """Only what differs is written, and tags that agents set stay: Freshdesk replaces them all."""
    names = {one: desk.twin.add_field(one)["name"] for one in ("gw_state", "gw_last_url", "rating")}
    desk.settings = {"fields": names}
    ticket = await desk.created(custom={"rating": "1", "unmapped": "x"})
    assert desk.twin.tickets[ticket].custom_fields["cf_rating"] == "1"
    desk.twin.change(ticket, {"tags": ["gateway", "VIP"]})
    fields = GatewayFields(state="published", last_url="https://x.example/1")
    changed = desk.change(
        "u", (), external_id=str(ticket), fields=fields, add_tags=("gw_held", "vip"), remove_tags=("gw_blocked",)
    )
    await desk.push(changed)
    stored = desk.twin.tickets[ticket]
    assert stored.tags == ["gateway", "VIP", "gw_held"]
    assert (stored.custom_fields["cf_gw_state"], stored.custom_fields["cf_gw_last_url"]) == (
        "published",
        "https://x.example/1",
    )
    before = len(desk.requests("PUT"))
    await desk.push(changed)
    assert len(desk.requests("PUT")) == before  # nothing differed
    await desk.push(
        desk.change("v", (), external_id=str(ticket), fields=GatewayFields(state="none"), remove_tags=("GW_held",))
    )
    assert stored.custom_fields["cf_gw_state"] is None
    assert stored.tags == ["gateway", "VIP"]


async def test_tags_that_are_too_long_are_cut_both_ways(desk: Any) -> None:
    ticket = await desk.created(add_tags=("t" * 40,))
    assert desk.twin.tickets[ticket].tags == ["gateway", "t" * 32]
    await desk.push(desk.change("u", (), external_id=str(ticket), remove_tags=("t" * 40,)))
    assert desk.twin.tickets[ticket].tags == ["gateway"]


async def test_the_tag_by_which_a_ticket_is_seen_comes_back(desk: Any) -> None:
    """An agent took it off, or the ticket is one that ours was merged into."""
    ticket = await desk.created()
    desk.twin.change(ticket, {"tags": ["vip"]})
    await desk.push(desk.change("u", (), external_id=str(ticket)))
    assert desk.twin.tickets[ticket].tags == ["vip", "gateway"]


@pytest.mark.parametrize(
    ("now", "wanted", "then"),
    [
        (4, "open", 2),
        (3, "open", 2),
        (2, "open", 2),
        (2, "waiting", 3),
        (2, "solved", 4),
        (7, "open", 7),
        (6, "open", 2),
    ],
)
async def test_statuses(desk: Any, now: int, wanted: Any, then: int) -> None:
    """A status of the account's own that means open is not overwritten with Open; 6 means waiting here."""
    desk.twin.desk.statuses |= {6: "Waiting on carrier", 7: "In the works"}
    desk.settings = {"statuses": {6: "waiting"}}
    ticket = await desk.created()
    desk.twin.set_status(ticket, now)
    await desk.push(desk.change("u", external_id=str(ticket), status=wanted))
    assert desk.twin.tickets[ticket].status == then


def test_statuses_and_priorities_both_ways(desk: Any) -> None:
    desk.settings = {"statuses": {6: "waiting", 8: "solved"}, "waiting": 6, "priorities": {"urgent": 3}}
    config = desk.config()
    assert [config.our_status(one) for one in (2, 3, 4, 5, 6, 7, 8)] == [
        *("open", "waiting", "solved", "closed"),
        *("waiting", "open", "solved"),
    ]
    assert [config.our_status(one) for one in (None, "2", 1, True, 2.0)] == [None] * 5
    assert [config.their_status(one) for one in ("new", "open", "waiting", "solved", "closed")] == [2, 2, 6, 4, 5]
    assert [config.their_priority(one) for one in ("low", "normal", "high", "urgent")] == [1, 2, 3, 3]
    assert [config.our_priority(one) for one in (1, 2, 3, 4, None, "x")] == ["low", "normal", "high", None, None, None]


async def test_a_closed_ticket(desk: Any) -> None:
    """A customer's message opens a follow-up; what the gateway has to tell the agent still goes there."""
    ticket = await desk.created()
    desk.twin.close(ticket)
    with pytest.raises(Closed):
        await desk.told(ticket, "k2")
    held = desk.comment("m", "This answer was held", author=None, public=False)
    await desk.push(desk.change("k3", [held], external_id=str(ticket), status="open", add_tags=("gw_held",)))
    assert (desk.twin.tickets[ticket].status, desk.twin.tickets[ticket].tags) == (2, ["gateway", "gw_held"])
    desk.twin.close(ticket)
    desk.settings = {"closed_is_final": False}
    await desk.push(desk.change("k4", external_id=str(ticket), status="open"))
    assert desk.twin.tickets[ticket].status == 2


@pytest.mark.parametrize("public", [True, False])
async def test_a_merged_ticket_names_where_it_went(desk: Any, public: bool) -> None:
    source, target = await desk.created("a"), await desk.created("b")
    desk.twin.merge(source, target, "Ada", public=public)
    with pytest.raises(Moved) as caught:
        await desk.told(source, "k2")
    assert caught.value.to == str(target)
    await desk.told(target, "k2")


async def test_the_ticket_that_others_went_into_is_not_taken_for_merged(desk: Any) -> None:
    """Also not when it is closed itself later: it was not closed as the notes were written."""
    source, target = await desk.created("a"), await desk.created("b")
    desk.twin.merge(source, target, "Ada")
    desk.time.pass_by(minutes=5)
    desk.twin.close(target, "Ada")
    with pytest.raises(Closed):
        await desk.told(target, "k2")


async def test_two_tickets_that_name_each_other_are_not_merged(desk: Any) -> None:
    """An agent linked them in a moment; the one was closed an hour later."""
    first, other = await desk.created("a"), await desk.created("b")
    desk.twin.agent_note(first, "Ada", f"See also {other}", public=False)
    desk.twin.agent_note(other, "Ada", f"See also {first}", public=False)
    desk.time.pass_by(hours=1)
    desk.twin.close(first, "Ada")
    with pytest.raises(Closed):
        await desk.told(first, "k2")


async def test_a_note_that_names_another_ticket_is_no_merge(desk: Any) -> None:
    first, other = await desk.created("a"), await desk.created("b")
    desk.twin.agent_note(first, "Ada", f"Same as in ticket {other}", public=False, status=5)
    with pytest.raises(Closed):
        await desk.told(first, "k2")


@pytest.mark.parametrize("way", ["delete", "mark_spam", "purge"])
async def test_a_deleted_ticket_is_gone(desk: Any, way: str) -> None:
    ticket = await desk.created()
    getattr(desk.twin, way)(ticket)
    with pytest.raises(Gone):
        await desk.told(ticket, "k2")


async def test_a_ticket_deleted_between_two_calls_is_gone(desk: Any) -> None:
    ticket = await desk.created()
    desk.twin.faults.append(_Deleting(desk, ticket))
    with pytest.raises(Gone):
        await desk.told(ticket, "k2")


class _Deleting:
    """Strikes nothing: an agent deletes the ticket just before the note is written."""

    kind = "status_before"

    def __init__(self, desk: Any, ticket: int) -> None:
        self.desk, self.ticket = desk, ticket

    def strikes(self, method: str, path: str) -> bool:
        if method == "POST" and path.endswith("/notes"):
            self.desk.twin.delete(self.ticket)
        return False


async def test_what_cannot_be_made_private_stays_and_the_agent_is_told(desk: Any) -> None:
    """The API changes no note's privacy: the capabilities say so, and note and tag do the telling."""
    assert not desk.plugin.capabilities.make_private
    ticket = await desk.created()
    written = desk.twin.agent_note(ticket, "Ada", "A voucher for your review", status=4)
    note = desk.comment("m", "This answer was blocked and has NOT been published.", author=None, public=False)
    change = desk.change(
        "k2", [note], external_id=str(ticket), status="open", add_tags=("gw_blocked",), make_private=(str(written),)
    )
    await desk.push(change)
    stored = desk.twin.tickets[ticket]
    assert (stored.status, stored.tags) == (2, ["gateway", "gw_blocked"])
    assert [one.private for one in stored.conversations] == [False, True]


async def test_what_is_refused_names_the_field(desk: Any) -> None:
    desk.settings = {"fields": {"gw_state": "cf_gone"}}
    ticket = await desk.created()
    with pytest.raises(Rejected) as caught:
        await desk.push(desk.change("u", (), external_id=str(ticket), fields=GatewayFields(state="held")))
    assert (caught.value.field, caught.value.code) == ("cf_gone", "invalid_field")
    assert "cf_gone" in caught.value.reason
    with pytest.raises(Rejected):
        await desk.push(desk.change("u", external_id="abc"))
    with pytest.raises(Rejected):
        await desk.push(desk.change("k9", ()))


@pytest.mark.parametrize(
    ("config", "says"),
    [
        ({}, "domain or base_url"),
        ({"domain": "acme", "base_url": "https://acme.freshdesk.com"}, "domain or base_url"),
        ({"base_url": "acme.freshdesk.com"}, "base_url must be like"),
        ({"domain": "acme", "waiting": 4}, "waiting must be"),
        ({"domain": "acme", "fields": {"rating": "rating"}}, "fields.rating must name a custom ticket field"),
        ({"domain": "acme", "tag": "two words"}, "tag"),
        ({"domain": "acme", "priorities": {"low": 9}}, "priorities"),
    ],
)
def test_configs_that_cannot_work_are_refused_by_name(config: dict[str, Any], says: str) -> None:
    with pytest.raises(ValidationError) as caught:
        FreshdeskConfig.model_validate({"api_key": "k", **config})
    assert says in str(caught.value)


def test_the_account_and_its_hosts(desk: Any) -> None:
    config = FreshdeskConfig.model_validate({"domain": "acme", "api_key": "secret-key"})
    assert desk.plugin.account_of(config) == "acme.freshdesk.com"
    assert desk.plugin.hosts_of(config) == ("https://acme.freshdesk.com",)
    assert "secret-key" not in repr(config)


async def test_a_route_names_a_group_and_an_agent_by_id(desk: Any) -> None:
    """At the ticket's creation instead of the config's, and later; what is no id leaves the ticket where it is."""
    desk.settings = {"group_id": 7}
    ticket = await desk.created(group="42")
    assert desk.twin.tickets[ticket].group_id == 42
    await desk.push(desk.change("k2", external_id=str(ticket), subject=None, group="the night shift", assignee="51"))
    assert (desk.twin.tickets[ticket].group_id, desk.twin.tickets[ticket].responder_id) == (42, 51)
