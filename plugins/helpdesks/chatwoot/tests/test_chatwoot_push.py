"""What the gateway writes: conversations, messages as the customer, attributes, labels, states, files."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import pytest

from gateway_schemas.errors import Gone, Reauthorise, Rejected, Retry, Unknown
from gateway_schemas.interaction import Attachment
from gateway_schemas.ticket import GatewayFields


async def test_a_conversation(desk: Any) -> None:
    """Its contact is the customer's account, without an address; its first message is theirs and has the mark."""
    text = "Where is *my* parcel?\nI wait"
    comment = desk.comment(text=text, url="https://source.example/1?a=1")
    change = desk.change(comments=[comment], priority="normal", add_tags=("x", "Source:Fake"), custom={"rating": 1})
    done = await desk.push(change)
    (one,) = desk.twin.conversations.values()
    (message,) = desk.messages(1)
    assert (done.external_id, done.url) == ("1", f"{desk.twin.url}/app/accounts/1/conversations/1")
    assert done.comments == {"c1": str(message.id)}
    assert (one.contact.identifier, one.contact.name, one.contact.email) == ("fake:alice", "Alice", None)
    assert one.contact.inboxes == {desk.twin.inbox: "fake:alice"}
    assert (one.status, one.priority, one.labels) == ("open", "medium", ["gateway", "x", "source-fake"])
    assert one.custom_attributes == {"gateway_key": "gateway:k1", "subject": "Post by @alice", "rating": 1}
    assert (message.kind, message.private, message.sender) == ("incoming", False, one.contact)
    assert message.content == f"{text}\n\nhttps://source.example/1?a=1"
    assert message.source_id == "gw:c1"


async def test_two_matters_of_one_customer_are_two_conversations_of_one_contact(desk: Any) -> None:
    first, second = await desk.created("k1"), await desk.created("k2")
    assert first != second
    assert len(desk.twin.desk.contacts) == 1
    assert desk.texts(first) == desk.texts(second) == ["The train is late"]


async def test_further_messages_notes_and_bystanders(desk: Any) -> None:
    """Only the customer's own words are put into the customer's mouth."""
    ticket = await desk.created()
    await desk.told(ticket, "k2", "Hello?")
    await desk.told(ticket, "k3", "Same here", author=desk.customer("bob"))
    await desk.told(ticket, "k4", "This answer was held", author=None, public=False)
    await desk.told(ticket, "k5", "We wrote this elsewhere", author=None)
    seen = [(one.kind, one.private, one.content) for one in desk.messages(ticket)[1:]]
    assert seen == [
        ("incoming", False, "Hello?"),
        ("outgoing", True, "Bob wrote:\n\nSame here"),
        ("outgoing", True, "This answer was held"),
        ("outgoing", False, "We wrote this elsewhere"),
    ]
    assert len(desk.twin.desk.contacts) == 1


async def test_a_contact_that_is_there_already_is_found_and_not_rewritten(desk: Any) -> None:
    kept = desk.twin.add_contact("fake:alice", "Alice of Accounting")
    ticket = await desk.created()
    assert desk.twin.conversations[ticket].contact is kept
    assert kept.name == "Alice of Accounting"
    assert desk.requests("GET", "/contacts/search") == []


async def test_a_deleted_contact_is_made_anew(desk: Any) -> None:
    await desk.created("k1")
    desk.twin.delete_contact("fake:alice")
    ticket = await desk.created("k2")
    assert desk.twin.conversations[ticket].contact.identifier == "fake:alice"


async def test_an_update_writes_what_differs_and_keeps_what_others_set(desk: Any) -> None:
    ticket = await desk.created(priority="low")
    one = desk.twin.conversations[ticket]
    one.custom_attributes["order"] = "4711"
    desk.twin.change(ticket, {"labels": [*one.labels, "vip"]})
    asked = len(desk.twin.requests)
    change = {
        "external_id": str(ticket),
        "comments": (),
        "priority": "urgent",
        "status": "waiting",
        "add_tags": ("gw_held",),
        "remove_tags": ("gateway", "gone"),
        "fields": GatewayFields(state="held", next_due=datetime(2026, 11, 22, 11, tzinfo=UTC), sla="first: running"),
        "assignee": str(desk.twin.agent("Ada")),
    }
    await desk.push(desk.change("k2", **change))
    assert (one.status, one.priority, one.labels) == ("pending", "urgent", ["gateway", "vip", "gw_held"])
    assert one.assignee is not None
    assert one.assignee.name == "Ada"
    assert one.custom_attributes["order"] == "4711"
    assert one.custom_attributes["gw_state"] == "held"
    assert one.custom_attributes["gw_next_due"] == "2026-11-22T11:00:00Z"
    desk.twin.requests[:asked] = []
    # a second time nothing differs but the assignment, which is not compared
    desk.twin.requests.clear()
    await desk.push(desk.change("k3", **change))
    assert [path.rpartition("/")[2] for method, path, _ in desk.requests("POST")] == ["assignments"]


@pytest.mark.parametrize("merges", [True, False])
async def test_attributes_survive_on_every_release(desk: Any, merges: bool) -> None:
    """Older releases replace the object: it is written whole."""
    desk.twin.merges_attributes = merges
    ticket = await desk.created()
    desk.twin.conversations[ticket].custom_attributes["order"] = "4711"
    for key, fields in (("k2", GatewayFields(state="held")), ("k3", GatewayFields(state="none"))):
        await desk.push(desk.change(key, external_id=str(ticket), comments=(), fields=fields))
    kept = desk.twin.conversations[ticket].custom_attributes
    assert (kept["order"], kept["gateway_key"], kept["gw_state"]) == ("4711", "gateway:k1", None)


async def test_snoozed_is_waiting_already(desk: Any) -> None:
    ticket = await desk.created()
    desk.twin.change(ticket, {"status": "snoozed"})
    await desk.push(desk.change("k2", external_id=str(ticket), comments=(), status="waiting"))
    assert desk.twin.conversations[ticket].status == "snoozed"


async def test_a_customers_message_opens_a_resolved_conversation(desk: Any) -> None:
    ticket = await desk.created()
    desk.twin.close(ticket)
    await desk.told(ticket, "k2")
    assert desk.twin.conversations[ticket].status == "open"


async def test_an_unpublished_answer_shows_as_failed(desk: Any) -> None:
    """Chatwoot cannot make a message private; API channels can say that it did not arrive."""
    ticket = await desk.created()
    answer = desk.twin.agent_comment(ticket, "Ada", "Sorry!", status="resolved")
    note = desk.comment("n", "Held, because …", author=None, public=False)
    change = desk.change("m", [note], external_id=str(ticket), make_private=(str(answer), "999999"), status="open")
    await desk.push(change)
    seen = [(one.content, one.status, one.private) for one in desk.messages(ticket)[1:]]
    assert seen == [("Sorry!", "failed", False), ("Held, because …", "sent", True)]
    assert desk.twin.conversations[ticket].status == "open"


async def test_files_go_with_the_message_and_the_rest_is_named(desk: Any) -> None:
    sha256 = desk.files.keep(b"picture")
    kept = Attachment(url="https://cdn.example/1.jpg", media_type="image/jpeg", name="1.jpg", sha256=sha256)
    lost = Attachment(url="https://cdn.example/2.mp4", media_type="video/mp4")
    gone = kept.model_copy(update={"sha256": "0" * 64, "name": "3.jpg"})
    ticket = await desk.created()
    await desk.told(ticket, "k2", "Look", attachments=(kept, lost, gone))
    message = desk.messages(ticket)[-1]
    assert [one["file_size"] for one in message.attachments] == [7]
    assert message.content == "Look\n\nvideo/mp4: https://cdn.example/2.mp4\n3.jpg: https://cdn.example/1.jpg"
    assert (message.source_id, message.kind, message.content_attributes) == (
        "gw:k2-c",
        "incoming",
        {"gateway_key": "k2-c"},
    )


async def test_no_words_and_no_file(desk: Any) -> None:
    ticket = await desk.created()
    await desk.told(ticket, "k2", " ")
    assert desk.texts(ticket)[-1] == "(no text)"


async def test_a_deleted_conversation_is_gone(desk: Any) -> None:
    ticket = await desk.created()
    desk.twin.delete(ticket)
    with pytest.raises(Gone):
        await desk.told(ticket, "k2")


async def test_refusals(desk: Any) -> None:
    ticket = await desk.created()
    with pytest.raises(Rejected, match="Content is too long"):
        await desk.told(ticket, "k2", "x" * 150_001)
    with pytest.raises(Rejected) as caught:
        await desk.push(desk.change("k3", external_id="abc"))
    assert caught.value.field == "external_id"
    desk.settings = {"inbox_id": None}
    with pytest.raises(Rejected, match="install"):
        await desk.created("k4")
    desk.settings = {"inbox_id": 4242}
    with pytest.raises(Rejected) as caught:
        await desk.created("k5")
    assert caught.value.field is None or caught.value.field == "inbox_id"
    desk.twin.expired = True
    with pytest.raises(Reauthorise):
        await desk.told(ticket, "k6")


async def test_the_limit_of_requests(desk: Any) -> None:
    """Its answer is plain text with Retry-After; the whole address rests."""
    desk.twin.limits.a_minute = 1
    await desk.plugin._api.me()
    with pytest.raises(Retry) as caught:
        await desk.created()
    assert caught.value.bucket == "*"
    assert caught.value.after is not None
    assert 0 < caught.value.after.total_seconds() <= 60
    assert desk.plugin.allowance_of(desk.config()).share == 0.7
    assert [one.limit for one in desk.plugin.budgets_of(desk.config())] == [3000]


# unknown outcomes


@pytest.mark.parametrize("kind", ["status_after", "drop_after"])
@pytest.mark.parametrize("path", ["/conversations$", "/messages$"])
async def test_a_create_is_found_or_finished_but_never_made_twice(desk: Any, kind: str, path: str) -> None:
    change = desk.change()
    desk.fault(kind, method="POST", path=path)
    with pytest.raises(Unknown):
        await desk.plugin.push([change])
    found = await desk.find(change)
    if path == "/messages$":
        assert found.external_id == "1"
        assert list(found.comments) == ["k1-c"]
    else:
        assert found.external_id is None  # its first message is missing: making it again finishes it
    await desk.push(change)
    assert len(desk.twin.conversations) == 1
    assert desk.texts(1) == ["The train is late"]


async def test_a_create_that_was_never_made_is_absent(desk: Any) -> None:
    change = desk.change()
    desk.fault("status_before", method="POST", path="/conversations$")
    with pytest.raises(Unknown):
        await desk.plugin.push([change])
    assert (await desk.find(change)).external_id is None
    desk.twin.delete_contact("fake:alice")
    assert (await desk.find(change)).external_id is None


async def test_a_refused_message_after_the_conversation_was_made_does_not_make_two(desk: Any) -> None:
    """Nothing was written: the host repeats the change as a whole."""
    change = desk.change()
    desk.fault("status_before", method="POST", path="/messages$", status=429, headers={"retry-after": "3"})
    with pytest.raises(Retry):
        await desk.plugin.push([change])
    await desk.push(change)
    assert len(desk.twin.conversations) == 1
    assert desk.texts(1) == ["The train is late"]


@pytest.mark.parametrize("keeps", [True, False])
async def test_a_message_is_found_by_its_mark(desk: Any, keeps: bool) -> None:
    desk.twin.keeps_source_ids = keeps
    ticket = await desk.created()
    for number in range(120):
        desk.twin.desk.write(desk.twin.conversations[ticket], f"chatter {number}", "incoming", None)
    change = desk.change("k2", external_id=str(ticket))
    assert (await desk.find(change)).comments == {}
    desk.fault("status_after", method="POST", path="/messages$")
    with pytest.raises(Unknown):
        await desk.plugin.push([change])
    assert (await desk.find(change)).comments == {"k2-c": str(desk.messages(ticket)[-1].id)}
    desk.twin.delete(ticket)
    with pytest.raises(Gone):
        await desk.find(change)
