"""What the plugin writes, and what stands at the helpdesk afterwards."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from gateway_schemas.errors import Closed, Gone, Moved, Reauthorise, Rejected, Retry, Unknown
from gateway_schemas.interaction import Attachment
from gateway_schemas.ticket import GatewayFields
from gateway_zammad.payloads import login_of, mark, marked_with


async def test_a_ticket_is_its_customers_and_mails_nobody(desk: Any) -> None:
    done = await desk.push(desk.change(priority="urgent", add_tags=("x", "late,train")))
    ticket = desk.twin.tickets[int(done.external_id)]
    customer = desk.twin.desk.users[ticket.customer_id]
    assert (customer.login, customer.name, customer.email) == ("fake:alice", "Alice", "")
    (article,) = desk.twin.articles(ticket.id)
    shown = article.json(desk.twin.desk.users)
    assert (shown["type"], shown["sender"], shown["internal"]) == ("web", "Customer", False)
    assert (shown["origin_by"], shown["body"]) == ("fake:alice", "The train is late")
    assert ticket.tags == ["gateway", "x", "late train"]
    assert desk.twin.desk.expanded(ticket)["priority"] == "3 high"
    assert done.comments == {"k1-c": str(article.id)}
    assert desk.twin.mails == []  # its automatic reply looks for `web`, and finds no address


async def test_the_same_customer_is_one_user(desk: Any) -> None:
    first, second = await desk.created("a"), await desk.created("b")
    desk.state.document.clear()
    third = await desk.created("c")
    assert len({desk.twin.tickets[one].customer_id for one in (first, second, third)}) == 1


async def test_two_accounts_that_differ_in_case_stay_two_people(desk: Any) -> None:
    big = desk.customer("alice").model_copy(update={"external_id": "fake:Alice"})
    first, second = await desk.created("a"), await desk.created("b", requester=big)
    assert desk.twin.tickets[first].customer_id != desk.twin.tickets[second].customer_id
    assert login_of(big).startswith("fake:alice~")


async def test_a_customer_deleted_at_the_helpdesk_is_made_again(desk: Any) -> None:
    await desk.created("a")
    user = desk.twin.desk.by_name("fake:alice")
    for ticket in desk.twin.tickets.values():
        ticket.customer_id = 1
    for article in desk.twin.desk.articles.values():
        article.origin_by_id = None
    del desk.twin.desk.users[user.id]
    second = await desk.created("b")
    assert desk.twin.desk.users[desk.twin.tickets[second].customer_id].login == "fake:alice"


async def test_comments_are_the_customers_and_in_order(desk: Any) -> None:
    ticket = await desk.created()
    for number in range(3):
        await desk.told(ticket, f"m{number}", f"message {number}")
    written = desk.twin.articles(ticket)
    assert [one.body for one in written] == ["The train is late", "message 0", "message 1", "message 2"]
    assert {one.origin_by_id for one in written} == {desk.twin.tickets[ticket].customer_id}


async def test_a_bystander_writes_in_their_own_name(desk: Any) -> None:
    ticket = await desk.created()
    await desk.told(ticket, "b1", "Me too", author=desk.customer("bob"))
    await desk.told(ticket, "b2", "And again", author=desk.customer("bob"))
    last = desk.twin.articles(ticket)[-2:]
    assert [desk.twin.desk.users[one.origin_by_id].login for one in last] == ["fake:bob", "fake:bob"]
    assert len(desk.requests("POST", "/users")) == 1


async def test_a_ticket_that_begins_with_somebody_elses_words(desk: Any) -> None:
    comment = desk.comment("k1-c", "Look at this", author=desk.customer("bob"))
    ticket = await desk.created(comments=[comment])
    users = desk.twin.desk.users
    assert users[desk.twin.tickets[ticket].customer_id].login == "fake:alice"
    assert users[desk.twin.articles(ticket)[0].origin_by_id].login == "fake:bob"


async def test_the_gateways_own_notes_are_internal_notes(desk: Any) -> None:
    ticket = await desk.created()
    await desk.told(ticket, "n", "Held: a coupon", author=None, public=False)
    shown = desk.twin.articles(ticket)[-1].json(desk.twin.desk.users)
    assert (shown["type"], shown["sender"], shown["internal"]) == ("note", "Agent", True)


async def test_a_private_message_is_internal(desk: Any) -> None:
    ticket = await desk.created()
    await desk.told(ticket, "p", "My number is 7", public=False)
    shown = desk.twin.articles(ticket)[-1].json(desk.twin.desk.users)
    assert (shown["sender"], shown["internal"]) == ("Customer", True)


async def test_fields_and_comment_of_one_change(desk: Any) -> None:
    for name in ("gw_state", "gw_url", "gw_due", "gw_sla", "gw_rating"):
        desk.twin.add_attribute(name)
    desk.settings = {
        "fields": {
            "gw_state": "gw_state",
            "gw_last_url": "gw_url",
            "gw_next_due": "gw_due",
            "gw_sla": "gw_sla",
            "rating": "gw_rating",
        }
    }
    ticket = await desk.created()
    due = datetime(2026, 11, 22, 12, tzinfo=UTC)
    fields = GatewayFields(state="held", last_url="https://x.example/1", next_due=due, sla="first_response: due")
    change = desk.change("f", external_id=str(ticket), fields=fields, custom={"rating": 2}, status="open")
    await desk.push(change)
    stored = desk.twin.tickets[ticket]
    assert stored.attributes == {
        "gw_state": "held",
        "gw_url": "https://x.example/1",
        "gw_due": "2026-11-22T12:00:00.000Z",
        "gw_sla": "first_response: due",
        "gw_rating": 2,
    }
    assert desk.twin.desk.expanded(stored)["state"] == "open"
    told = GatewayFields(state="none", sla="first_response: met")
    await desk.push(desk.change("g", [], external_id=str(ticket), fields=told))
    assert (stored.attributes["gw_state"], stored.attributes["gw_due"]) == ("", "")


async def test_nothing_is_written_that_is_there_already(desk: Any) -> None:
    ticket = await desk.created()
    change = desk.change("f", [], external_id=str(ticket), status="new", priority="normal", add_tags=("gateway",))
    before = len(desk.twin.ledger)
    await desk.push(change)
    assert len(desk.twin.ledger) == before
    assert desk.requests("PUT") == []


@pytest.mark.parametrize(
    ("ours", "theirs"),
    [("new", "new"), ("open", "open"), ("waiting", "pending reminder"), ("solved", "closed"), ("closed", "closed")],
)
async def test_every_status_both_ways(desk: Any, ours: Any, theirs: str) -> None:
    ticket = await desk.created()
    await desk.push(desk.change("s", [], external_id=str(ticket), status=ours))
    stored = desk.twin.tickets[ticket]
    assert desk.twin.desk.expanded(stored)["state"] == theirs
    assert (stored.pending_time is not None) == (ours == "waiting")  # Zammad refuses a pending state without a time
    back = {"closed": "solved"}.get(ours, ours)
    assert (await desk.read(ticket))[-1].status == back


async def test_a_state_of_the_systems_own_is_left_where_it_means_the_same(desk: Any) -> None:
    desk.twin.desk.states[8] = "waiting for depot"
    desk.settings = {"states": {"waiting for depot": "waiting"}}
    ticket = await desk.created()
    desk.twin.set_state(ticket, "waiting for depot", "Ada")
    await desk.push(desk.change("s", [], external_id=str(ticket), status="waiting"))
    assert desk.twin.desk.expanded(desk.twin.tickets[ticket])["state"] == "waiting for depot"


async def test_tags_come_and_go_and_those_of_agents_stay(desk: Any) -> None:
    ticket = await desk.created(add_tags=("gw_held",))
    desk.twin.desk.add_tag(desk.twin.tickets[ticket], "vip", desk.twin.api_user)
    await desk.push(desk.change("t", [], external_id=str(ticket), add_tags=("y", "Y"), remove_tags=("gw_held", "no")))
    assert desk.twin.tickets[ticket].tags == ["gateway", "vip", "y"]


async def test_an_empty_change_makes_a_merge_target_ours(desk: Any) -> None:
    ticket = desk.twin.desk.create(
        {"title": "by mail", "group": "Users", "customer_id": "guess:ann@else.example", "article": {"body": "x"}},
        desk.twin.api_user,
    )
    await desk.push(desk.change("e", [], external_id=str(ticket.id)))
    assert ticket.tags == ["gateway"]


async def test_made_private_is_made_internal(desk: Any) -> None:
    ticket = await desk.created()
    note = desk.twin.agent_note(ticket, "Ada", "Take a coupon")
    change = desk.change("h", [], external_id=str(ticket), make_private=(str(note), "999", "x"), status="open")
    await desk.push(change)
    assert desk.twin.desk.articles[note].internal


async def test_route_to_a_group_and_an_agent(desk: Any) -> None:
    ada = desk.twin.agent("Ada")
    ticket = await desk.created()
    desk.time.pass_by(minutes=1)
    change = desk.change("r", [], external_id=str(ticket), group="Sales", assignee="ada@acme.example")
    await desk.push(change)
    stored = desk.twin.tickets[ticket]
    assert (stored.group_id, stored.owner_id) == (2, ada)
    await desk.push(desk.change("q", [], external_id=str(ticket), group="Nowhere", assignee="no@else.example"))
    assert (stored.group_id, stored.owner_id) == (2, ada)


async def test_files_go_along_or_are_named(desk: Any) -> None:
    kept = desk.files.keep(b"\x89PNG")
    files = (
        Attachment(name="a.png", media_type="image/png", sha256=kept),
        Attachment(name="b.png", url="https://cdn.example/b.png", sha256="0" * 64),
    )
    ticket = await desk.created(comments=[desk.comment("k1-c", attachments=files)])
    (article,) = desk.twin.articles(ticket)
    assert [one["filename"] for one in article.attachments] == ["a.png"]
    assert desk.twin.desk.contents[article.attachments[0]["id"]][0] == b"\x89PNG"
    assert "b.png: https://cdn.example/b.png" in article.body


async def test_a_followup_names_what_it_follows(desk: Any) -> None:
    first = await desk.created("a")
    second = await desk.created("b", followup_of=str(first))
    assert desk.twin.desk.links == [("normal", second, first)]


async def test_closed_reopens_unless_it_is_final(desk: Any) -> None:
    ticket = await desk.created()
    desk.twin.close(ticket)
    await desk.told(ticket, "again")
    desk.settings = {"closed_is_final": True}
    with pytest.raises(Closed):
        await desk.told(ticket, "once more")
    await desk.told(ticket, "note", author=None, public=False)  # what the gateway has to say goes to it


async def test_merged_is_followed(desk: Any) -> None:
    first, second = await desk.created("a"), await desk.created("b")
    desk.twin.merge(first, second, "Ada")
    with pytest.raises(Moved) as caught:
        await desk.told(first, "c")
    assert caught.value.to == str(second)


async def test_deleted_is_gone(desk: Any) -> None:
    ticket = await desk.created()
    desk.twin.delete(ticket)
    with pytest.raises(Gone):
        await desk.told(ticket, "c")


async def test_refusals(desk: Any) -> None:
    desk.settings = {"group": "Nowhere"}
    with pytest.raises(Rejected) as caught:
        await desk.push(desk.change())
    assert caught.value.code == "http_422"
    assert desk.twin.tickets == {}
    desk.settings = {}
    desk.twin.expired = True
    with pytest.raises(Reauthorise):
        await desk.push(desk.change())
    desk.twin.expired = False
    desk.fault("status_before", status=429, headers={"retry-after": "7"})
    with pytest.raises(Retry) as limited:
        await desk.push(desk.change())
    assert limited.value.after == timedelta(seconds=7)
    with pytest.raises(Rejected):
        await desk.push(desk.change("x", external_id="no-number"))


@pytest.mark.parametrize("kind", ["drop_after", "status_after"])
async def test_find_after_an_unknown_create(desk: Any, kind: str) -> None:
    asked = desk.change()
    desk.fault(kind, method="POST", path="/tickets$", status=502)
    with pytest.raises(Unknown):
        await desk.push(asked)
    # the search index does not know the customer yet: empty is no proof before the lag has passed
    assert (await desk.find(asked)).external_id is None
    desk.time.pass_by(seconds=45)
    found = await desk.find(asked)
    assert (found.external_id, set(found.comments)) == ("1", {"k1-c"})
    assert (await desk.find(desk.change("other"))).external_id is None


async def test_find_without_a_search_index(desk: Any) -> None:
    desk.twin.indexed = False
    asked = desk.change()
    desk.fault("drop_after", method="POST", path="/tickets$")
    with pytest.raises(Unknown):
        await desk.push(asked)
    assert (await desk.find(asked)).external_id == "1"


async def test_find_after_an_unknown_comment(desk: Any) -> None:
    ticket = await desk.created()
    desk.twin.customer_reply(ticket, "[gw.k2-c]")
    asked = desk.change("k2", external_id=str(ticket))
    assert (await desk.find(asked)).comments == {}
    desk.fault("drop_after", method="POST", path="/ticket_articles$")
    with pytest.raises(Unknown):
        await desk.push(asked)
    assert set((await desk.find(asked)).comments) == {"k2-c"}
    desk.twin.delete(ticket)
    with pytest.raises(Gone):
        await desk.find(asked)


async def test_find_reads_a_ticket_that_was_merged_meanwhile(desk: Any) -> None:
    other = await desk.created("o")
    asked = desk.change()
    desk.fault("drop_after", method="POST", path="/tickets$")
    with pytest.raises(Unknown):
        await desk.push(asked)
    desk.twin.merge(2, other, "Ada")
    assert (await desk.find(asked)).external_id == str(other)


@pytest.mark.parametrize("key", ["k", "a" * 300, "köy", "a>b", "x y", "a@b"])
def test_any_key_makes_a_mark(key: str) -> None:
    assert marked_with(mark(key)) is not None
    assert mark(key) != mark(key + "x")


async def test_hostile_answers_are_unknown_or_malformed(desk: Any) -> None:
    for number, body in enumerate((b"", b"[]", b"null", b'{"id": "x"}', b'{"id": 5}', b"[" * 50_000)):
        desk.fault("status_after", method="POST", path="/tickets$", status=201, body=body)
        with pytest.raises(Unknown):
            await desk.push(desk.change(f"h{number}"))
