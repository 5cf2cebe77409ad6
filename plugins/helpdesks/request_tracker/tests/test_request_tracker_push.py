"""What the plugin writes, and what stands at the helpdesk afterwards."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import pytest

from gateway_request_tracker.payloads import login_of, mark, marked_with
from gateway_schemas.errors import Closed, Gone, Moved, Reauthorise, Rejected, Retry, Unknown
from gateway_schemas.interaction import Attachment
from gateway_schemas.ticket import GatewayFields, Requester

SECRET = "s" * 40


async def test_a_ticket_is_its_requestors_and_mails_nobody(desk: Any) -> None:
    done = await desk.push(desk.change(priority="urgent", add_tags=("x",)))
    ticket = desk.twin.tickets[int(done.external_id)]
    assert ticket.requestors == ["fake-alice"]
    customer = desk.twin.desk.users["fake-alice"]
    assert (customer.real_name, customer.email, customer.privileged) == ("Alice", "", False)
    ((made, text),) = desk.twin.messages(ticket.id)
    assert (made.type, text, ticket.status, ticket.priority) == ("Create", "The train is late", "new", 100)
    assert ticket.fields == {"gw_key": ["gateway:k1 [gw:k1-c]"], "gw_tags": ["gateway", "x"]}
    assert done.comments == {"k1-c": f"create-{ticket.id}"}
    assert desk.twin.mails == []


def person(external_id: str) -> Requester:
    return Requester(external_id=external_id, name="Ann", provider="x")


@pytest.mark.parametrize(
    "external_id",
    ["x:42", "X:42", "x:ann@else.example", "42", "x:group:1", "x:Ünï", "a" * 200, "x-42", "x:4:2", ":", "x:a b"],
)
async def test_any_customer_is_one_requestor(desk: Any, external_id: str) -> None:
    """RT takes some names of watchers for something else, and then leaves the ticket without a requestor."""
    ticket = await desk.created(requester=person(external_id), comments=[desk.comment(author=person(external_id))])
    assert desk.twin.tickets[ticket].requestors == [login_of(person(external_id))]
    assert all(not user.email or user.privileged for user in desk.twin.desk.users.values())


def test_no_two_customers_share_a_name() -> None:
    ids = ["x:42", "X:42", "x-42", "x:4-2", "x-4:2", "x42", "42", "x:42 ", "x::42"]
    assert len({login_of(person(one)) for one in ids}) == len(ids)


async def test_a_customer_is_made_once(desk: Any) -> None:
    await desk.created("a")
    await desk.created("b")
    desk.state.document.clear()
    await desk.created("c")
    assert len(desk.requests("POST", "/user")) == 1
    desk.twin.admin_users = False
    with pytest.raises(Rejected):
        await desk.created("d", requester=desk.customer("bob"))
    assert len(desk.twin.tickets) == 3


async def test_two_that_make_the_same_customer_at_once(desk: Any) -> None:
    """Somebody makes the user between our look and our making it: RT says 400, of this as of a missing right."""
    desk.twin.desk.user("fake-alice")
    desk.fault("status_before", method="GET", path="/user/fake-alice$", status=404)
    ticket = await desk.created()
    assert desk.twin.tickets[ticket].requestors == ["fake-alice"]


async def test_messages_say_who_wrote(desk: Any) -> None:
    ticket = await desk.created()
    await desk.told(ticket, "m", "Hello?")
    await desk.told(ticket, "b", "Me too", author=desk.customer("bob"))
    await desk.told(ticket, "p", "My number is 7", public=False)
    await desk.told(ticket, "n", "Held: a coupon", author=None, public=False)
    told = [(one.type, one.creator, text) for one, text in desk.twin.messages(ticket)[1:]]
    assert told == [
        ("Correspond", "gateway", "Alice wrote:\n\nHello?"),
        ("Correspond", "gateway", "Bob wrote:\n\nMe too"),
        ("Comment", "gateway", "Alice wrote:\n\nMy number is 7"),
        ("Comment", "gateway", "Held: a coupon"),
    ]


async def test_customers_write_themselves_where_that_is_set_up(desk: Any) -> None:
    desk.settings = {"customer_secret": SECRET}
    ticket = await desk.created()
    await desk.told(ticket, "m", "Hello?")
    await desk.told(ticket, "p", "My number is 7", public=False)
    told = [(one.type, one.creator, text) for one, text in desk.twin.messages(ticket)[1:]]
    assert told == [("Correspond", "fake-alice", "Hello?"), ("Comment", "gateway", "Alice wrote:\n\nMy number is 7")]
    password = desk.twin.desk.users["fake-alice"].password
    assert password not in repr(desk.config())
    assert SECRET not in repr(desk.config())


async def test_a_customer_who_may_not_write_is_written_for(desk: Any) -> None:
    desk.settings = {"customer_secret": SECRET}
    ticket = await desk.created()
    desk.twin.requestors_reply = False
    await desk.told(ticket, "m")
    desk.twin.requestors_reply = True
    desk.twin.desk.users["fake-alice"].password = "changed"
    await desk.told(ticket, "n")
    assert [one.creator for one, _ in desk.twin.messages(ticket)[1:]] == ["gateway", "gateway"]


async def test_a_ticket_that_begins_with_somebody_elses_words(desk: Any) -> None:
    ticket = await desk.created(comments=[desk.comment("k1-c", "Look at this", author=desk.customer("bob"))])
    assert desk.twin.messages(ticket)[0][1] == "Bob wrote:\n\nLook at this"
    assert desk.twin.tickets[ticket].requestors == ["fake-alice"]


async def test_fields_and_comment_of_one_change(desk: Any) -> None:
    for name in ("State", "Last post", "Due", "SLA", "Stars"):
        desk.twin.add_field(name)
    desk.settings = {
        "fields": {
            "gw_state": "State",
            "gw_last_url": "Last post",
            "gw_next_due": "Due",
            "gw_sla": "SLA",
            "rating": "Stars",
        }
    }
    ticket = await desk.created()
    fields = GatewayFields(
        state="held",
        last_url="https://x.example/1",
        next_due=datetime(2026, 11, 22, 12, tzinfo=UTC),
        sla="first_response: due",
    )
    await desk.push(desk.change("f", external_id=str(ticket), fields=fields, custom={"rating": 2}, status="open"))
    stored = desk.twin.tickets[ticket]
    assert {name: stored.fields[name] for name in ("State", "Last post", "Due", "SLA", "Stars")} == {
        "State": ["held"],
        "Last post": ["https://x.example/1"],
        "Due": ["2026-11-22T12:00:00Z"],
        "SLA": ["first_response: due"],
        "Stars": ["2"],
    }
    told = GatewayFields(state="none", sla="first_response: met")
    await desk.push(desk.change("g", [], external_id=str(ticket), fields=told))
    assert (stored.fields["State"], stored.fields["Due"]) == ([], [])
    before = len(desk.twin.ledger)
    await desk.push(desk.change("h", [], external_id=str(ticket), fields=told, custom={"rating": 2}))
    assert len(desk.twin.ledger) == before


@pytest.mark.parametrize(
    ("ours", "theirs"),
    [("new", "new"), ("open", "open"), ("waiting", "stalled"), ("solved", "resolved"), ("closed", "resolved")],
)
async def test_every_status_both_ways(desk: Any, ours: Any, theirs: str) -> None:
    ticket = await desk.created()
    await desk.push(desk.change("s", [], external_id=str(ticket), status=ours))
    assert desk.twin.tickets[ticket].status == theirs
    assert (await desk.read(ticket))[-1].status == {"closed": "solved"}.get(ours, ours)


@pytest.mark.parametrize(("ours", "theirs"), [("low", 0), ("normal", 50), ("high", 80), ("urgent", 100)])
async def test_every_priority_both_ways(desk: Any, ours: Any, theirs: int) -> None:
    ticket = await desk.created(priority=ours)
    assert desk.twin.tickets[ticket].priority == theirs
    assert (await desk.read(ticket))[-1].priority == ours
    desk.twin.change(ticket, {"Priority": theirs + 7}, "Ada")
    assert (await desk.read(ticket))[-1].priority == ours


async def test_refusals_are_answered_200_and_told_all_the_same(desk: Any) -> None:
    """RT's answer is a list of sentences, whatever happened: what stands there is read and compared."""
    ticket = await desk.created()
    desk.settings = {"waiting": "parked"}
    with pytest.raises(Rejected) as caught:
        await desk.push(desk.change("s", [], external_id=str(ticket), status="waiting", add_tags=("y",)))
    assert (caught.value.code, caught.value.field) == ("not_applied", "Status")
    assert "isn't a valid status" in caught.value.reason
    assert desk.twin.tickets[ticket].fields["gw_tags"] == ["gateway", "y"]  # the rest was done
    desk.twin.may_modify = False
    with pytest.raises(Rejected) as caught:
        await desk.push(desk.change("t", [], external_id=str(ticket), add_tags=("z",)))
    assert caught.value.field == "gw_tags"
    desk.settings = {"fields": {"gw_state": "nothing"}}
    desk.twin.may_modify = True
    with pytest.raises(Rejected) as caught:
        await desk.push(desk.change("u", [], external_id=str(ticket), fields=GatewayFields(state="held")))
    assert caught.value.field == "nothing"  # RT passed over it and answered an empty list


async def test_a_refused_field_holds_back_no_message(desk: Any) -> None:
    ticket = await desk.created()
    desk.twin.may_modify = False
    await desk.push(desk.change("s", external_id=str(ticket), status="waiting"))
    assert len(desk.twin.messages(ticket)) == 2


async def test_what_somebody_changed_meanwhile_is_not_overwritten(desk: Any) -> None:
    """Tags are replaced as a whole; between our reading and our writing an agent adds one."""
    ticket = await desk.created()
    plugin, real = desk.plugin, desk.http.request

    async def meddling(method: str, url: Any, **more: Any) -> Any:
        if method == "PUT":
            desk.http.request = real
            desk.twin.tag(ticket, ["vip"], "Ada")
        return await real(method, url, **more)

    desk.http.request = meddling
    change = desk.change("t", [], external_id=str(ticket), add_tags=("y",))
    with pytest.raises(Retry) as caught:
        await plugin.push([change])
    assert caught.value.code == "changed_meanwhile"
    await desk.push(change)
    assert desk.twin.tickets[ticket].fields["gw_tags"] == ["gateway", "vip", "y"]


async def test_route_to_a_queue_and_an_agent(desk: Any) -> None:
    from gateway_request_tracker.twin_model import Queue

    desk.twin.desk.queues[2] = Queue(2, "Sales")
    for field in desk.twin.desk.fields.values():
        field.queues.add(2)
    ada = desk.twin.agent("Ada")
    ticket = await desk.created()
    await desk.push(desk.change("r", [], external_id=str(ticket), group="Sales", assignee=ada))
    stored = desk.twin.tickets[ticket]
    assert (stored.queue_id, stored.owner) == (2, "ada")
    await desk.push(desk.change("q", [], external_id=str(ticket), group="Nowhere", assignee="nobody-here"))
    assert (stored.queue_id, stored.owner) == (2, "ada")


async def test_files_go_along_or_are_named(desk: Any) -> None:
    kept = desk.files.keep(b"\x89PNG")
    files = (
        Attachment(name="a.png", media_type="image/png", sha256=kept),
        Attachment(name="b.png", url="https://cdn.example/b.png", sha256="0" * 64),
    )
    ticket = await desk.created(comments=[desk.comment("k1-c", attachments=files)])
    named = {one.filename: one.content for one in desk.twin.desk.parts.values() if one.filename}
    assert named == {"a.png": b"\x89PNG"}
    assert "b.png: https://cdn.example/b.png" in desk.twin.messages(ticket)[0][1]


async def test_a_followup_names_what_it_follows(desk: Any) -> None:
    first = await desk.created("a")
    second = await desk.created("b", followup_of=str(first), ticket_key="gateway:a")
    assert desk.twin.tickets[second].refers_to == [first]


async def test_resolved_reopens_unless_it_is_final(desk: Any) -> None:
    ticket = await desk.created()
    desk.twin.close(ticket)
    await desk.told(ticket, "again")
    assert desk.twin.tickets[ticket].status == "open"
    desk.twin.close(ticket)
    desk.settings = {"closed_is_final": True}
    with pytest.raises(Closed):
        await desk.told(ticket, "once more")
    await desk.told(ticket, "note", author=None, public=False)


async def test_merged_is_followed_and_deleted_is_gone(desk: Any) -> None:
    first, second = await desk.created("a"), await desk.created("b")
    desk.twin.merge(first, second, "Ada")
    asked = desk.change("c", external_id=str(first))
    for wanted in (desk.push(asked), desk.find(asked)):
        with pytest.raises(Moved) as caught:
            await wanted
        assert caught.value.to == str(second)
    desk.twin.delete(second)
    asked = desk.change("d", external_id=str(second))
    for wanted in (desk.push(asked), desk.find(asked)):
        with pytest.raises(Gone):
            await wanted
    with pytest.raises(Gone):
        await desk.told(999, "e")


async def test_refusals(desk: Any) -> None:
    desk.settings = {"queue": "Nowhere"}
    with pytest.raises(Rejected) as caught:
        await desk.push(desk.change())
    assert caught.value.code == "http_403"
    desk.settings = {"new": "bogus"}
    with pytest.raises(Rejected):
        await desk.push(desk.change())
    desk.settings = {}
    desk.twin.expired = True
    with pytest.raises(Reauthorise):
        await desk.push(desk.change())
    desk.twin.expired = False
    with pytest.raises(Rejected):
        await desk.push(desk.change("x", external_id="no-number"))
    desk.fault("status_before", method="POST", path="/ticket$", status=404)
    with pytest.raises(Rejected) as caught:
        await desk.push(desk.change())
    assert caught.value.code == "no_endpoint"
    assert desk.twin.tickets == {}


@pytest.mark.parametrize("kind", ["drop_after", "status_after"])
async def test_find_after_an_unknown_outcome(desk: Any, kind: str) -> None:
    asked = desk.change()
    assert (await desk.find(asked)).external_id is None
    desk.fault(kind, method="POST", path="/ticket$", status=500)
    with pytest.raises(Unknown):
        await desk.push(asked)
    found = await desk.find(asked)
    assert (found.external_id, found.comments) == ("1", {"k1-c": "create-1"})
    follow = desk.change("k2", ticket_key="gateway:k1", followup_of="1")
    assert (await desk.find(follow)).external_id is None
    more = desk.change("m", external_id="1")
    assert (await desk.find(more)).comments == {}
    desk.fault(kind, method="POST", path="/correspond$", status=502)
    with pytest.raises(Unknown):
        await desk.push(more)
    assert set((await desk.find(more)).comments) == {"m-c"}


async def test_an_unknown_outcome_as_the_customer_is_not_written_again(desk: Any) -> None:
    desk.settings = {"customer_secret": SECRET}
    ticket = await desk.created()
    desk.fault("drop_after", method="POST", path="/correspond$")
    with pytest.raises(Unknown):
        await desk.told(ticket, "m")
    assert len(desk.twin.messages(ticket)) == 2


async def test_find_reads_long_histories_with_holes(desk: Any) -> None:
    """Mails are recorded in the history and hidden from us, so that pages are not full and more come all the same."""
    ticket = await desk.created()
    desk.twin.desk.users["fake-alice"].email = "alice@else.example"
    for number in range(70):
        desk.twin.agent_reply(ticket, "Ada", f"{number}")
    asked = desk.change("k2", external_id=str(ticket))
    await desk.push(asked)
    assert set((await desk.find(asked)).comments) == {"k2-c"}


async def test_a_key_with_a_quote_is_found(desk: Any) -> None:
    asked = desk.change("k1", ticket_key="gateway:it's \\ me")
    await desk.push(asked)
    assert (await desk.find(asked)).external_id == "1"


@pytest.mark.parametrize("key", ["k", "a" * 300, "köy", "a]b", "x y", "[a"])
def test_any_key_makes_a_mark(key: str) -> None:
    assert marked_with(mark(key) + "\n") is not None
    assert mark(key) != mark(key + "x")


@pytest.mark.parametrize("body", [b"", b"[]", b"null", b'{"id": "x"}', b"[" * 50_000])
async def test_hostile_answers_are_unknown(desk: Any, body: bytes) -> None:
    desk.fault("status_after", method="POST", path="/ticket$", status=201, body=body)
    with pytest.raises(Unknown):
        await desk.push(desk.change())
    desk.fault("status_after", method="POST", path="/correspond$", status=201, body=body)
    with pytest.raises(Unknown):
        await desk.told(1, "m")
