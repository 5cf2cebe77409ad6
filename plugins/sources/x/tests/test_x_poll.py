"""Polling repairs gaps: nothing is lost while posts arrive, pages break off or X forgets a page token."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest

from gateway_schemas.errors import Reauthorise, Rejected, Retry
from gateway_schemas.interaction import Interaction, Normalised
from gateway_schemas.testing.twin import Fault
from gateway_schemas.time import SharedTime
from gateway_schemas.webhook import RawPage
from gateway_x.payloads import snowflake_time
from gateway_x.plugin import XSource
from gateway_x.twin import XTwin

Make = Callable[..., XSource]
Read = Callable[..., list[Normalised]]
Cursor = dict[str, Any]


async def drain(plugin: XSource, stream: str, cursor: Cursor | None = None) -> tuple[list[RawPage], Cursor]:
    """Poll until X has no more, as the host does."""
    pages: list[RawPage] = []
    for _ in range(50):
        page = await plugin.poll(stream, cursor)
        pages += page.pages
        cursor = page.cursor
        if not page.more:
            return pages, cursor
    raise AssertionError("polling does not end")


def ids(read: Read, pages: list[RawPage]) -> set[str]:
    return {item.external_id for item in read(pages) if isinstance(item, Interaction)}


def complain(twin: XTwin, count: int, start: int = 0) -> set[str]:
    return {twin.post("rita_ex", f"@acmesupport {number}") for number in range(start, start + count)}


@pytest.mark.parametrize("naming", ["tweet", "post"])
async def test_all_pages(twin: XTwin, make: Make, read: Read, naming: Any) -> None:
    twin.naming = naming
    told = complain(twin, 250)
    pages, cursor = await drain(make(), "mentions")
    assert len(pages) == 3
    assert ids(read, pages) == told
    assert set(cursor) == {"since_id"}


async def test_a_poll_with_nothing_new_stores_nothing(twin: XTwin, make: Make, clock: SharedTime) -> None:
    plugin = make()
    complain(twin, 250)
    clock.jump(clock.now() + timedelta(minutes=5))
    _, cursor = await drain(plugin, "mentions")
    pages, again = await drain(plugin, "mentions", cursor)
    assert (pages, again) == ([], cursor)


async def test_nobody_ever_wrote(make: Make) -> None:
    assert await drain(make(), "mentions") == ([], {})
    pages, cursor = await drain(make(), "dms")
    assert (pages, set(cursor)) == ([], {"polled_at"})


async def test_posts_that_arrive_while_paging(twin: XTwin, make: Make, read: Read) -> None:
    plugin = make()
    told = complain(twin, 150)
    first = await plugin.poll("mentions", None)
    assert first.more
    late = complain(twin, 120, start=1000)
    pages, cursor = await drain(plugin, "mentions", first.cursor)
    assert ids(read, [*first.pages, *pages]) == told
    pages, _ = await drain(plugin, "mentions", cursor)
    assert ids(read, pages) >= late


async def test_a_crash_between_pages_loses_nothing(twin: XTwin, make: Make, read: Read) -> None:
    """The host stores page and cursor together; whatever it did not store is asked for again."""
    told = complain(twin, 350)
    stored: list[RawPage] = []
    cursor: Cursor | None = None
    for lost in (True, False, True, False, True, True, False, False):
        page = await make().poll("mentions", cursor)
        if lost:
            continue
        stored += page.pages
        cursor = page.cursor
    assert cursor is not None
    assert "token" not in cursor
    assert ids(read, stored) == told


async def test_the_cursor_moves_only_with_the_last_page(twin: XTwin, make: Make, read: Read) -> None:
    plugin = make()
    _, cursor = await drain(plugin, "mentions")
    told = complain(twin, 150)
    first = await plugin.poll("mentions", cursor)
    # a restart that forgets the page token, but not the cursor's since_id, reads the whole gap again
    forgotten = {key: value for key, value in first.cursor.items() if key == "since_id"}
    pages, _ = await drain(plugin, "mentions", forgotten)
    assert ids(read, pages) == told


async def test_an_ended_page_token_starts_the_gap_anew(twin: XTwin, make: Make, read: Read) -> None:
    plugin = make()
    told = complain(twin, 150)
    first = await plugin.poll("mentions", None)
    pages, cursor = await drain(plugin, "mentions", {**first.cursor, "token": "ended-token-of-x"})
    assert ids(read, pages) == told
    assert set(cursor) == {"since_id"}
    with pytest.raises(Rejected):
        await plugin.poll("mentions", {**first.cursor, "token": "ended-token-of-x", "restarted": True})


async def test_a_post_that_shows_late_is_found(twin: XTwin, make: Make, read: Read, clock: SharedTime) -> None:
    """Ids are given out before posts are shown: a lower id may appear after a higher one was read."""
    plugin = make()
    complain(twin, 1)
    _, cursor = await drain(plugin, "mentions")
    late = twin.post("rita_ex", "@AcmeSupport late", at=clock.now() - timedelta(seconds=40))
    pages, _ = await drain(plugin, "mentions", cursor)
    assert late in ids(read, pages)


async def test_the_cursor_never_moves_back(twin: XTwin, make: Make, clock: SharedTime) -> None:
    plugin = make()
    complain(twin, 1)
    since = "0"
    cursor: Cursor = {}
    for _ in range(4):
        _, cursor = await drain(plugin, "mentions", cursor)
        assert int(cursor["since_id"]) >= int(since)
        since = cursor["since_id"]
        clock.jump(clock.now() + timedelta(minutes=1))
    assert snowflake_time(since) is not None


async def test_edits_come_as_newer_ids(twin: XTwin, make: Make, read: Read, clock: SharedTime) -> None:
    plugin = make()
    (first,) = complain(twin, 1)
    clock.jump(clock.now() + timedelta(minutes=10))
    _, cursor = await drain(plugin, "mentions")
    second = twin.edit(first, "@AcmeSupport, order 4711")
    pages, _ = await drain(plugin, "mentions", cursor)
    (item,) = read(pages)
    assert isinstance(item, Interaction)
    assert (item.external_id, item.revision, item.supersedes) == (first, second, (first,))


async def test_the_first_poll_reads_the_asked_history(twin: XTwin, make: Make, read: Read, clock: SharedTime) -> None:
    old = twin.post("rita_ex", "@AcmeSupport old", at=clock.now() - timedelta(days=40))
    new = twin.post("rita_ex", "@AcmeSupport new", at=clock.now() - timedelta(days=20))
    pages, _ = await drain(make(config={"history_days": 30}), "mentions")
    assert ids(read, pages) == {new}
    pages, _ = await drain(make(), "mentions")
    assert ids(read, pages) == {new, old}


async def test_posts_in_threads_bring_their_parents(twin: XTwin, make: Make, read: Read) -> None:
    twin.add_user("omar_q")
    root = twin.post("omar_q", "my kettle died")
    reply = twin.post("rita_ex", "ask @AcmeSupport", in_reply_to=root)
    pages, _ = await drain(make(), "mentions")
    parent, child = (item for item in read(pages) if isinstance(item, Interaction))
    assert (parent.external_id, parent.addressed) == (root, False)
    assert (child.external_id, child.addressed, child.in_reply_to, child.root) == (reply, True, root, root)
    assert child.author.handle == "rita_ex"


# direct messages


def write(twin: XTwin, count: int) -> set[str]:
    return {twin.direct_message("rita_ex", "AcmeSupport", f"message {number}") for number in range(count)}


async def test_messages(twin: XTwin, make: Make, read: Read) -> None:
    told = write(twin, 130)
    own = twin.direct_message("AcmeSupport", "rita_ex", "hello")
    pages, cursor = await drain(make(), "dms")
    items = {item.external_id: item for item in read(pages) if isinstance(item, Interaction)}
    assert set(items) == told | {own}
    assert (items[own].direction, items[own].author.external_id) == ("outbound", "1111111111111111111")
    assert {item.visibility for item in items.values()} == {"private"}
    assert {item.root for item in items.values()} == {"1111111111111111111-2222222222222222222"}
    assert set(cursor) == {"polled_at", "since_id"}


async def test_messages_are_polled_rarely_and_gaps_filled(
    twin: XTwin, make: Make, read: Read, clock: SharedTime
) -> None:
    plugin = make()
    write(twin, 3)
    _, cursor = await drain(plugin, "dms")
    before = len(twin.requests)
    assert await drain(plugin, "dms", cursor) == ([], cursor)
    assert len(twin.requests) == before, "X was asked too often"
    clock.jump(clock.now() + timedelta(minutes=16))
    told = write(twin, 60)
    pages, cursor = await drain(plugin, "dms", cursor)
    assert ids(read, pages) >= told
    assert len(pages) == 2


async def test_messages_switched_off(twin: XTwin, make: Make) -> None:
    write(twin, 1)
    assert await drain(make(config={"direct_messages": False}), "dms") == ([], {})
    assert twin.requests == []


async def test_message_history_ends(twin: XTwin, make: Make, read: Read, clock: SharedTime) -> None:
    for days in (1, 2, 10, 20):
        for number in range(60):
            twin.direct_message("rita_ex", "AcmeSupport", f"{days}/{number}", at=clock.now() - timedelta(days=days))
    pages, _ = await drain(make(config={"history_days": 3}), "dms")
    assert len(pages) == 2, "pages beyond the asked history are paid for"


async def test_an_ended_message_token_starts_anew(twin: XTwin, make: Make, read: Read) -> None:
    told = write(twin, 150)
    plugin = make()
    first = await plugin.poll("dms", None)
    pages, _ = await drain(plugin, "dms", {**first.cursor, "token": "ended-token-of-x"})
    assert ids(read, pages) == told


# refusals


async def test_too_often(twin: XTwin, make: Make, clock: SharedTime) -> None:
    plugin = make()
    write(twin, 2)
    for _ in range(15):
        await plugin.poll("dms", {})
    with pytest.raises(Retry) as caught:
        await plugin.poll("dms", {})
    assert caught.value.bucket == "messages.list"
    assert caught.value.after is not None
    assert timedelta(minutes=14) < caught.value.after <= timedelta(minutes=15, seconds=1)
    clock.jump(clock.now() + caught.value.after)
    await plugin.poll("dms", {})


@pytest.mark.parametrize("status", [500, 502, 503, 504, 408])
async def test_trouble_at_x_is_tried_again(twin: XTwin, make: Make, status: int) -> None:
    twin.faults.append(Fault("status_before", status=status))
    with pytest.raises(Retry):
        await make().poll("mentions", None)


async def test_a_usage_cap_waits_long(twin: XTwin, make: Make) -> None:
    body = b'{"title":"UsageCapExceeded","detail":"d","type":"https://api.x.com/2/problems/usage-capped","status":429}'
    twin.faults.append(Fault("status_before", status=429, body=body))
    with pytest.raises(Retry) as caught:
        await make().poll("mentions", None)
    assert (caught.value.code, caught.value.after) == ("usage_capped", timedelta(hours=1))


async def test_an_unpaid_bill_waits(twin: XTwin, make: Make) -> None:
    twin.faults.append(Fault("status_before", status=402, body=b"{}"))
    with pytest.raises(Retry) as caught:
        await make().poll("mentions", None)
    assert caught.value.code == "payment_required"


async def test_a_refused_token(twin: XTwin, make: Make) -> None:
    twin.expire_tokens("AcmeSupport")
    with pytest.raises(Reauthorise) as caught:
        await make().poll("mentions", None)
    assert caught.value.code == "token_refused"
    assert "twin-user-token" not in caught.value.reason
