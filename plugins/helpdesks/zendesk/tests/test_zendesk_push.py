"""One change at a time: what reaches Zendesk, and what comes back."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from gateway_schemas.errors import Closed, Gone, Moved, Reauthorise, Rejected, Retry, Unknown
from gateway_schemas.interaction import Attachment
from gateway_schemas.ticket import Done, GatewayFields, Requester


async def test_a_create_is_the_customers_own(desk: Any) -> None:
    """Requester and first comment belong to the customer, without an e-mail address; tag, key and mark are set."""
    at = desk.time.now()
    asked = desk.change(
        priority="urgent",
        add_tags=("Source X",),
        comments=[desk.comment("c1", "Late again", url="https://source.example/1", at=at)],
    )
    (done,) = await desk.push(asked)
    assert isinstance(done, Done)
    (ticket,) = desk.twin.tickets_by_external_id("t-k1")
    assert done.external_id == str(ticket.id)
    assert done.url == f"{desk.twin.url}/agent/tickets/{ticket.id}"
    user = desk.twin.desk.people.all[ticket.requester_id]
    assert (user.external_id, user.name, user.email, user.role) == ("fake:alice", "Alice", None, "end-user")
    assert (ticket.status, ticket.priority, ticket.tags) == ("new", "urgent", ["gateway", "source_x"])
    (written,) = ticket.comments
    assert written.body == "Late again\n\nhttps://source.example/1"
    assert written.public
    assert written.author_id == user.id
    assert done.comments == {"c1": str(written.id)}
    assert ticket.audits[0].custom == {"gateway_key": "c1"}


async def test_the_gateway_speaks_for_itself(desk: Any) -> None:
    ticket = await desk.created()
    note = desk.comment("n1", "Held: the text offers a voucher", author=None, public=False)
    await desk.push(desk.change("k2", [note], external_id=str(ticket), subject=None, status="open"))
    written = desk.twin.tickets[ticket].comments[-1]
    assert written.author_id == desk.twin.api_user.id
    assert not written.public


async def test_an_update_adds_and_removes(desk: Any) -> None:
    ticket = await desk.created(add_tags=("old", "kept"))
    desk.twin.change(ticket, {"additional_tags": ["by_agent"]})
    asked = desk.change(
        "k2",
        external_id=str(ticket),
        subject=None,
        status="waiting",
        priority="low",
        add_tags=("gw_held",),
        remove_tags=("old",),
    )
    (done,) = await desk.push(asked)
    stored = desk.twin.tickets[ticket]
    assert stored.tags == ["gateway", "kept", "by_agent", "gw_held"]
    assert (stored.status, stored.priority) == ("pending", "low")
    assert done.comments == {"k2-c": str(stored.comments[-1].id)}
    assert len(desk.requests("PUT")) == 1


async def test_tags_are_written_also_where_the_update_does_not_take_them(desk: Any) -> None:
    """`additional_tags` on a single update is not documented: what it left out goes through the tags endpoints."""
    ticket = await desk.created(add_tags=("old",))
    desk.twin.tag_words_everywhere = False
    await desk.push(
        desk.change("k2", external_id=str(ticket), subject=None, add_tags=("Gw Held",), remove_tags=("old",))
    )
    assert desk.twin.tickets[ticket].tags == ["gateway", "gw_held"]


async def test_tags_that_fail_after_the_comment_never_repeat_the_comment(desk: Any) -> None:
    ticket = await desk.created()
    desk.twin.tag_words_everywhere = False
    desk.twin.faults.append(desk.fault("status_before", path="/tags$", status=500))
    asked = desk.change("k2", external_id=str(ticket), subject=None, add_tags=("gw_held",))
    with pytest.raises(Unknown) as caught:
        await desk.push(asked)
    assert caught.value.code == "tags_unwritten"
    found = await desk.find(asked)
    assert set(found.comments) == {"k2-c"}


async def test_tags_that_fail_without_a_comment_are_tried_again(desk: Any) -> None:
    ticket = await desk.created()
    desk.twin.tag_words_everywhere = False
    desk.twin.faults.append(desk.fault("status_before", path="/tags$", status=500))
    asked = desk.change("k2", (), external_id=str(ticket), subject=None, status="open", add_tags=("gw_held",))
    with pytest.raises(Retry):
        await desk.push(asked)
    await desk.push(asked)
    assert "gw_held" in desk.twin.tickets[ticket].tags


async def test_an_account_that_ignored_tags_once_gets_them_first(desk: Any) -> None:
    """From then on a failure with the tags comes before the comment, and may be repeated."""
    ticket = await desk.created()
    desk.twin.tag_words_everywhere = False
    plugin = desk.plugin
    await plugin.push([desk.change("k2", external_id=str(ticket), subject=None, add_tags=("one",))])
    desk.twin.faults.append(desk.fault("status_before", path="/tags$", status=500))
    asked = desk.change("k3", external_id=str(ticket), subject=None, add_tags=("two",), remove_tags=("one",))
    with pytest.raises(Retry):
        await plugin.push([asked])
    assert len(desk.twin.tickets[ticket].comments) == 2
    await plugin.push([asked])
    assert desk.twin.tickets[ticket].tags == ["gateway", "two"]
    assert len(desk.twin.tickets[ticket].comments) == 3


async def test_fields_go_where_the_config_maps_them(desk: Any) -> None:
    desk.settings = {"fields": {"gw_state": 11, "gw_next_due": 12, "gw_last_url": 13, "rating": 21}}
    due = datetime(2026, 11, 22, 12, 30, tzinfo=UTC)
    ticket = await desk.created(
        fields=GatewayFields(state="held", next_due=due, sla="first_response"), custom={"rating": 2, "unmapped": "x"}
    )
    assert desk.twin.tickets[ticket].custom_fields == {11: "held", 12: "2026-11-22T12:30:00Z", 21: 2}
    await desk.push(desk.change("k2", (), external_id=str(ticket), subject=None, fields=GatewayFields(state="none")))
    assert desk.twin.tickets[ticket].custom_fields == {11: None, 12: "2026-11-22T12:30:00Z", 21: 2}


@pytest.mark.parametrize(
    "text",
    ["I <3 trains", "a < b > c", "<b>not bold</b> & more", "line one\nline <two>", "Zug fällt aus – wieder! 🚆"],
)
async def test_text_arrives_whole(desk: Any, text: str) -> None:
    """`body` loses what looks like HTML; nothing of a customer's words may be lost on the way."""
    ticket = await desk.created(comments=[desk.comment("c1", text)])
    assert desk.twin.tickets[ticket].comments[0].body == text


async def test_files_and_empty_texts(desk: Any) -> None:
    picture = Attachment(url="https://cdn.example/p.png", name="p.png", media_type="image/png")
    first = await desk.created("k1", comments=[desk.comment("c1", "Look", attachments=(picture,))])
    second = await desk.created("k2", comments=[desk.comment("c2", "")])
    assert desk.twin.tickets[first].comments[0].body == "Look\n\np.png: https://cdn.example/p.png"
    assert desk.twin.tickets[second].comments[0].body == "(no text)"


async def test_same_key_twice_is_one_ticket(desk: Any) -> None:
    first = await desk.created()
    assert await desk.created() == first
    assert (len(desk.twin.tickets), desk.twin.replayed) == (1, 1)


async def test_same_key_with_other_words_is_unknown(desk: Any) -> None:
    await desk.created()
    with pytest.raises(Unknown):
        await desk.push(desk.change(comments=[desk.comment("c1", "something else")]))
    assert len(desk.twin.tickets) == 1


async def test_an_old_key_is_forgotten(desk: Any) -> None:
    first = await desk.created()
    desk.time.pass_by(hours=2, seconds=1)
    assert await desk.created() != first


async def test_brand_group_and_form(desk: Any) -> None:
    desk.settings = {"brand_id": 1, "group_id": 2, "ticket_form_id": 3, "priorities": {"urgent": "high"}}
    ticket = desk.twin.tickets[await desk.created(priority="urgent")]
    assert (ticket.brand_id, ticket.group_id, ticket.ticket_form_id, ticket.priority) == (1, 2, 3, "high")


async def test_a_follow_up_names_what_it_follows(desk: Any) -> None:
    old = await desk.created()
    desk.twin.close(old)
    new = await desk.created("k2", followup_of=str(old))
    assert desk.twin.tickets[new].via["source"]["from"]["ticket_id"] == old
    assert desk.twin.tickets[old].followup_ids == [new]


async def test_make_private_and_again(desk: Any) -> None:
    ticket = await desk.created()
    written = desk.twin.agent_comment(ticket, "Ada", "We'll give you a voucher")
    asked = desk.change("k2", (), external_id=str(ticket), subject=None, make_private=(str(written),))
    for _ in range(2):
        (done,) = await desk.push(asked)
        assert isinstance(done, Done)
    comment = desk.twin.tickets[ticket].comments[-1]
    assert (comment.id, comment.public) == (written, False)
    assert [one.kind for one in desk.twin.ledger].count("comment_made_private") == 1


async def test_making_a_foreign_comment_private_does_not_hide_the_rest(desk: Any) -> None:
    ticket = await desk.created()
    note = desk.comment("n1", "Not published", author=None, public=False)
    (done,) = await desk.push(desk.change("k2", [note], external_id=str(ticket), make_private=("123456",)))
    assert "n1" in done.comments


async def test_closed(desk: Any) -> None:
    ticket = await desk.created()
    desk.twin.close(ticket)
    for asked in (desk.change("k2", external_id=str(ticket)), desk.change("k3", external_id=str(ticket), comments=())):
        if asked.comments or asked.status:
            with pytest.raises(Closed):
                await desk.push(asked)


async def test_closed_while_a_comment_is_to_be_hidden(desk: Any) -> None:
    ticket = await desk.created()
    written = desk.twin.agent_comment(ticket, "Ada", "Sorry")
    desk.twin.close(ticket)
    with pytest.raises(Closed):
        await desk.push(desk.change("k2", (), external_id=str(ticket), make_private=(str(written),)))


async def test_merged_tells_where_to(desk: Any) -> None:
    source, target = await desk.created("k1"), await desk.created("k2")
    desk.twin.merge(source, target)
    with pytest.raises(Moved) as caught:
        await desk.push(desk.change("k3", external_id=str(source)))
    assert caught.value.to == str(target)


async def test_a_chain_of_merges_is_followed_one_by_one(desk: Any) -> None:
    first, second, third = [await desk.created(key) for key in ("k1", "k2", "k3")]
    desk.twin.merge(first, second)
    desk.twin.merge(second, third)
    for source, target in ((first, second), (second, third)):
        with pytest.raises(Moved) as caught:
            await desk.push(desk.change(f"m{source}", external_id=str(source)))
        assert caught.value.to == str(target)


async def test_merged_without_a_word_where_to_is_closed(desk: Any) -> None:
    source, target = await desk.created("k1"), await desk.created("k2")
    desk.twin.merge(source, target)
    for audit in desk.twin.tickets[source].audits:
        audit.via = {"channel": "web", "source": {"from": {}, "to": {}, "rel": None}}
    with pytest.raises(Closed):
        await desk.push(desk.change("k3", external_id=str(source)))


async def test_deleted_is_gone(desk: Any) -> None:
    ticket = await desk.created()
    desk.twin.delete(ticket)
    with pytest.raises(Gone):
        await desk.push(desk.change("k2", external_id=str(ticket)))
    with pytest.raises(Gone):
        await desk.push(desk.change("k3", (), external_id=str(ticket), subject=None))
    with pytest.raises(Gone):
        await desk.push(desk.change("k4", (), external_id=str(ticket), subject=None, make_private=("1",)))


async def test_credentials_refused(desk: Any) -> None:
    desk.twin.expired = True
    with pytest.raises(Reauthorise):
        await desk.push(desk.change())


async def test_oauth(desk: Any) -> None:
    desk.settings = {"email": None, "api_token": None, "oauth_token": desk.twin.oauth_token}
    assert await desk.created()


async def test_invalid_values_are_rejected_with_the_field(desk: Any) -> None:
    desk.twin.desk.fields[9] = {"id": 9, "title": "leg", "custom_field_options": [{"value": "reply_public"}]}
    desk.settings = {"fields": {"leg": 9}}
    with pytest.raises(Rejected) as caught:
        await desk.created(custom={"leg": "nonsense"})
    assert caught.value.code == "RecordInvalid"
    assert "leg" in caught.value.reason


async def test_two_comments_at_once_are_refused_before_anything_is_sent(desk: Any) -> None:
    ticket = await desk.created()
    two = [desk.comment("a"), desk.comment("b")]
    for asked in (desk.change("k2", two), desk.change("k3", two, external_id=str(ticket)), desk.change("k4", ())):
        with pytest.raises(Rejected):
            await desk.push(asked)
    assert len(desk.twin.tickets) == 1


async def test_users_are_looked_up_once_and_remembered(desk: Any) -> None:
    await desk.created("k1")
    await desk.created("k2")  # another instance: the state document remembers
    assert len(desk.requests("POST", "/users/")) == 1
    assert len(desk.requests("GET", "/users/show_many")) == 1
    assert desk.state.document["users"] == {"fake:alice": desk.twin.tickets[1].requester_id}


async def test_a_name_that_an_agent_gave_is_kept(desk: Any) -> None:
    await desk.created("k1")
    user = desk.twin.desk.people.by_external("fake:alice")
    user.name = "Alice Miller (VIP)"
    desk.state.document = {}
    await desk.created("k2")
    assert user.name == "Alice Miller (VIP)"


async def test_customers_whose_ids_differ_in_case_only_stay_two(desk: Any) -> None:
    """Zendesk compares external ids without regard to case; two people may not become one by that."""
    low = await desk.created("k1", requester=desk.customer("abc"), comments=[desk.comment(author=desk.customer("abc"))])
    high = await desk.created(
        "k2", requester=desk.customer("ABC"), comments=[desk.comment(author=desk.customer("ABC"))]
    )
    tickets = desk.twin.tickets
    assert tickets[low].requester_id != tickets[high].requester_id
    desk.state.document = {}
    again = await desk.created(
        "k3", requester=desk.customer("ABC"), comments=[desk.comment(author=desk.customer("ABC"))]
    )
    assert tickets[again].requester_id == tickets[high].requester_id


async def test_a_user_deleted_at_zendesk_is_made_anew(desk: Any) -> None:
    await desk.created("k1")
    people = desk.twin.desk.people
    number = people.by_external("fake:alice").id
    del people.all[number]
    people._by_external.clear()
    with pytest.raises(Retry):
        await desk.push(desk.change("k2"))
    (done,) = await desk.push(desk.change("k2"))
    assert desk.twin.tickets[int(done.external_id)].requester_id != number


async def test_an_x_handle_becomes_an_identity_unless_it_is_taken(desk: Any) -> None:
    alice = Requester(external_id="x:1", name="Alice", handle="@alice", provider="x")
    other = Requester(external_id="x:2", name="Alice", handle="alice", provider="x")
    first = await desk.created("k1", requester=alice, comments=[desk.comment(author=alice)])
    second = await desk.created("k2", requester=other, comments=[desk.comment(author=other)])
    people = desk.twin.desk.people.all
    assert people[desk.twin.tickets[first].requester_id].identities == [{"type": "twitter", "value": "alice"}]
    assert people[desk.twin.tickets[second].requester_id].identities == []


async def test_the_state_document_stays_small(desk: Any) -> None:
    plugin = desk.plugin
    for number in range(2000):
        plugin._pusher.customers._ids[f"fake:{number:0>60}"] = number
    await plugin.push([desk.change()])
    assert len(json.dumps(desk.state.document)) < 64 * 1024
    assert "fake:alice" in desk.state.document["users"]


async def test_long_keys_are_shortened_the_same_way_each_time(desk: Any) -> None:
    key = "ö" * 300
    asked = desk.change(key, [desk.comment("c" * 2000)])
    (first,), (second,) = await desk.push(asked), await desk.push(asked)
    assert first.external_id == second.external_id
    found = await desk.find(asked)
    assert found.comments == first.comments


async def test_a_changed_status_word_for_waiting(desk: Any) -> None:
    desk.settings = {"waiting": "hold"}
    ticket = await desk.created(status="waiting")
    assert desk.twin.tickets[ticket].status == "hold"
    await desk.push(desk.change("k2", (), external_id=str(ticket), subject=None, status="new"))
    assert desk.twin.tickets[ticket].status == "open"
    assert timedelta(minutes=10) == desk.plugin.capabilities.updates_window


async def test_a_ticket_that_ours_was_merged_into_gets_our_tag(desk: Any) -> None:
    """By a change with nothing in it. Else trigger and poll pass it over, and no answer comes back from it."""
    other, _ = desk.twin.desk.create({"comment": {"body": "by mail"}, "tags": ["vip"]}, desk.twin.api_user)
    empty = desk.change("k2", (), external_id=str(other.id), subject=None)
    for _ in range(2):
        (done,) = await desk.push(empty)
        assert done.external_id == str(other.id)
    assert desk.twin.tickets[other.id].tags == ["vip", "gateway"]
    assert len(desk.requests("PUT")) == 1
    desk.twin.change(other.id, {"tags": []})
    desk.twin.close(other.id)
    await desk.push(empty)
    assert desk.twin.tickets[other.id].tags == []


async def test_a_copy_that_is_not_kept_any_more_is_no_deleted_ticket(desk: Any) -> None:
    ticket = await desk.created()
    file = Attachment(name="old.png", url="https://cdn.example/old.png", sha256="0" * 64)
    asked = desk.change("k2", [desk.comment("c2", attachments=(file,))], external_id=str(ticket), subject=None)
    (done,) = await desk.push(asked)
    assert done.external_id == str(ticket)
    assert desk.twin.tickets[ticket].comments[-1].attachments == []


async def test_a_route_names_a_group_and_an_agent_by_id(desk: Any) -> None:
    """At the ticket's creation instead of the config's, and later; what is no id leaves the ticket where it is."""
    desk.settings = {"group_id": 7}
    ticket = await desk.created(group="42")
    assert desk.twin.tickets[ticket].group_id == 42
    await desk.push(desk.change("k2", external_id=str(ticket), subject=None, group="the night shift", assignee="51"))
    assert (desk.twin.tickets[ticket].group_id, desk.twin.tickets[ticket].assignee_id) == (42, 51)
