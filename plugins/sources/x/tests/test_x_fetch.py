"""Fetching what deliveries named: posts by the hundred, what is gone, newer versions, messages, conversations."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta
from decimal import Decimal

from gateway_schemas.interaction import Interaction, Normalised, Wanted
from gateway_schemas.testing.twin import Fault
from gateway_schemas.time import SharedTime
from gateway_x.plugin import XSource
from gateway_x.twin import XTwin

Make = Callable[..., XSource]
Read = Callable[..., list[Normalised]]


def wanted(*refs: str, reason: str = "ancestor") -> list[Wanted]:
    return [Wanted(ref=ref, reason=reason, account="1111111111111111111") for ref in refs]  # type: ignore[arg-type]


async def test_many_at_once(twin: XTwin, make: Make, read: Read) -> None:
    ids = [twin.post("rita_ex", f"number {number}") for number in range(230)]
    pages = await make().fetch(wanted(*ids))
    assert len([request for request in twin.requests if request[1] == "/2/tweets"]) == 3
    assert [ref for page in pages for ref in page.answers] == ids
    assert [item.external_id for item in read(pages, "fetch") if isinstance(item, Interaction)] == ids
    assert {item.addressed for item in read(pages, "fetch") if isinstance(item, Interaction)} == {False}
    assert twin.wire.spent == Decimal("0.005") * 230


async def test_missing_deleted_and_protected_are_gone(twin: XTwin, make: Make, read: Read) -> None:
    twin.add_user("closed", protected=True)
    there = twin.post("rita_ex", "there")
    deleted = twin.post("rita_ex", "deleted")
    protected = twin.post("closed", "protected")
    twin.delete(deleted)
    (page,) = await make().fetch(wanted(deleted, there, protected, "456"))
    assert page.answers == [there]
    assert page.gone == [deleted, protected, "456"]
    assert len(read([page], "fetch")) == 1


async def test_all_are_gone(make: Make, read: Read) -> None:
    (page,) = await make().fetch(wanted("1", "2"))
    assert (page.answers, page.gone) == ([], ["1", "2"])
    assert [type(item).__name__ for item in read([page], "fetch")] == ["Ignored"]


async def test_trouble_with_one_post_settles_nothing(twin: XTwin, make: Make) -> None:
    body = (
        b'{"errors":[{"title":"Internal","detail":"d","resource_id":"1","value":"1",'
        b'"type":"https://api.x.com/2/problems/internal-error"}]}'
    )
    twin.faults.append(Fault("status_before", path="/2/tweets", status=200, body=body))
    (page,) = await make().fetch(wanted("1", "2"))
    assert (page.answers, page.gone) == ([], ["2"])


async def test_refs_that_are_no_ids_do_not_spoil_the_rest(twin: XTwin, make: Make) -> None:
    there = twin.post("rita_ex", "there")
    pages = await make().fetch([*wanted(there, "at://did:plc:x", "٣٤", "1" * 20), Wanted(ref="m", kind="media")])
    assert {ref for page in pages for ref in page.gone} == {"at://did:plc:x", "٣٤", "1" * 20, "m"}
    assert [ref for page in pages for ref in page.answers] == [there]


async def test_an_edited_post_comes_at_its_newest_version(twin: XTwin, make: Make, read: Read) -> None:
    first = twin.post("rita_ex", "tpyo")
    second = twin.edit(first, "typo")
    pages = await make().fetch(wanted(first, reason="refresh"))
    versions = [item for item in read(pages, "fetch") if isinstance(item, Interaction)]
    assert [item.revision for item in versions] == [first, second]
    assert {item.external_id for item in versions} == {first}
    assert versions[-1].text == "typo"


async def test_thin_messages(twin: XTwin, make: Make, read: Read) -> None:
    message = twin.direct_message("rita_ex", "AcmeSupport", "hello")
    pages = await make().fetch(wanted(f"dm:{message}", "dm:404", reason="thin"))
    assert [(list(page.answers), list(page.gone)) for page in pages] == [([f"dm:{message}"], []), ([], ["dm:404"])]
    (item, _) = read(pages, "fetch")
    assert isinstance(item, Interaction)
    assert (item.external_id, item.text, item.visibility) == (message, "hello", "private")


async def test_a_refreshed_message_is_not_taken_for_a_deleted_post(twin: XTwin, make: Make, read: Read) -> None:
    message = twin.direct_message("rita_ex", "AcmeSupport", "hello")
    pages = await make().fetch(wanted(message, "405", reason="refresh"))
    assert [ref for page in pages for ref in page.answers] == [message]
    assert [ref for page in pages for ref in page.gone] == ["405"]
    pages = await make(config={"direct_messages": False}).fetch(wanted(message, reason="refresh"))
    assert [ref for page in pages for ref in page.gone] == [message]


async def test_a_conversation(twin: XTwin, make: Make, read: Read, clock: SharedTime) -> None:
    root = twin.post("rita_ex", "@AcmeSupport help")
    replies = [twin.post("rita_ex", f"reply {number}", in_reply_to=root) for number in range(120)]
    twin.post("rita_ex", "too old", in_reply_to=root, at=clock.now() - timedelta(days=8))
    pages = await make().fetch([Wanted(ref=root, kind="thread", reason="refresh")])
    assert [list(page.answers) for page in pages] == [[], [root]]
    items = [item for item in read(pages, "fetch") if isinstance(item, Interaction)]
    assert {item.external_id for item in items} == {root, *replies}
    assert {item.root for item in items} == {root}


async def test_an_empty_conversation_is_answered(make: Make) -> None:
    (page,) = await make().fetch([Wanted(ref="123", kind="thread", reason="refresh")])
    assert page.answers == ["123"]
