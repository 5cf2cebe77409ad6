"""Polling: lists whose pages only go back, answers that nobody is notified of, deletions, and the log of messages."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest

from gateway_bluesky.plugin import BlueskySource
from gateway_bluesky.reading import Walk
from gateway_bluesky.twin import BlueskyTwin
from gateway_schemas.errors import Gone, Reauthorise, Rejected, Retry
from gateway_schemas.interaction import Deletion, Ignored, Interaction, Wanted
from gateway_schemas.testing.clock import StillTime
from gateway_schemas.testing.twin import Fault

ACME, RITA = "acme.example.com", "rita.example.com"
BenchLike = Any
Make = Callable[..., BlueskySource]


def mention(twin: BlueskyTwin, clock: StillTime, text: str = "help", **how: Any) -> str:
    """One more mention, a second later."""
    clock.pass_by(seconds=1)
    return twin.post(RITA, f"@{ACME} {text}", **how)


def ids(bench: BenchLike, pages: Any) -> list[str]:
    return [item.external_id for item in bench.heard(pages)]


async def test_all_is_read_once_and_then_only_what_is_new(
    twin: BlueskyTwin, bench: BenchLike, clock: StillTime
) -> None:
    old = [mention(twin, clock, f"old {number}") for number in range(230)]
    pages, cursor = await bench.drain("notifications")
    assert set(ids(bench, pages)) == set(old)
    assert await bench.drain("notifications", cursor) == ([], cursor)
    clock.pass_by(hours=1)
    new = [mention(twin, clock, f"new {number}") for number in range(120)]
    pages, cursor = await bench.drain("notifications", cursor)
    assert set(new) <= set(ids(bench, pages))
    assert len(pages) == 2
    assert await bench.drain("notifications", cursor) == ([], cursor)


async def test_what_arrives_while_a_list_is_read_comes_with_the_next_poll(
    twin: BlueskyTwin, bench: BenchLike, plugin: BlueskySource, clock: StillTime
) -> None:
    for number in range(120):
        mention(twin, clock, f"{number}")
    first = await plugin.poll("notifications", None)
    assert first.more
    late = mention(twin, clock, "meanwhile")
    _, cursor = await bench.drain("notifications", first.cursor)
    pages, _ = await bench.drain("notifications", cursor)
    assert late in ids(bench, pages)


async def test_what_is_indexed_out_of_order_is_not_passed_over(
    twin: BlueskyTwin, bench: BenchLike, clock: StillTime
) -> None:
    mention(twin, clock, "first")
    twin.index_lag = timedelta(minutes=5)
    slow = mention(twin, clock, "slow")
    twin.index_lag = timedelta()
    quick = mention(twin, clock, "quick")
    pages, cursor = await bench.drain("notifications")
    assert quick in ids(bench, pages)
    assert slow not in ids(bench, pages)
    clock.pass_by(minutes=6)
    pages, _ = await bench.drain("notifications", cursor)
    assert slow in ids(bench, pages)


async def test_the_horizon_ends_the_first_poll(make: Make, twin: BlueskyTwin, clock: StillTime) -> None:
    for number in range(150):
        mention(twin, clock, f"old {number}")
    clock.pass_by(days=3)
    mention(twin, clock)
    page = await make(config={"history_days": 2}).poll("notifications", None)
    assert not page.more
    assert len(page.pages) == 1


async def test_a_flood_does_not_swell_the_cursor(twin: BlueskyTwin, bench: BenchLike, clock: StillTime) -> None:
    for number in range(450):
        twin.post(RITA, f"@{ACME} {number}")
    _, cursor = await bench.drain("notifications")
    assert len(Walk.model_validate(cursor).seen) == 300


async def test_own_posts_are_outbound_and_reposts_are_none(
    twin: BlueskyTwin, bench: BenchLike, clock: StillTime
) -> None:
    theirs = mention(twin, clock)
    twin.repost(ACME, theirs)
    own = twin.post(ACME, "We are on it", theirs)
    pages, _ = await bench.drain("own")
    (item,) = bench.heard(pages)
    assert (item.external_id, item.direction, item.in_reply_to, item.root) == (own, "outbound", theirs, theirs)


async def test_an_answer_that_nobody_is_notified_of_is_found_in_the_thread(
    twin: BlueskyTwin, bench: BenchLike, clock: StillTime
) -> None:
    """As on the real network: an answer right after its parent is often indexed first."""
    own = twin.post(ACME, "We ship everywhere")
    twin.lose_notifications = 1
    lost = twin.post(RITA, "Not to me", own)
    deeper = twin.post(twin.add_user("omar.example.org").handle, "Nor me", lost)
    assert ids(bench, (await bench.drain("notifications"))[0]) == [deeper], "an answer below the root is notified"
    pages, cursor = await bench.drain("threads")
    assert {lost, deeper} <= set(ids(bench, pages))
    assert all(item.addressed for item in bench.heard(pages) if item.external_id in (own, lost))
    assert await bench.drain("threads", cursor) == ([], cursor)
    more = twin.post(RITA, "Still not", own)
    pages, cursor = await bench.drain("threads", cursor)
    assert more in ids(bench, pages)
    clock.pass_by(days=8)
    twin.post(RITA, "Never mind", own)
    assert await bench.drain("threads", cursor) == ([], {})


async def test_many_threads_are_read_over_several_polls(
    twin: BlueskyTwin, bench: BenchLike, plugin: BlueskySource
) -> None:
    answers = [twin.post(RITA, "and?", twin.post(ACME, f"news {number}")) for number in range(25)]
    page = await plugin.poll("threads", None)
    assert (len(page.pages), page.more) == (10, True)
    rest, _ = await bench.drain("threads", page.cursor)
    assert set(answers) <= set(ids(bench, [*page.pages, *rest]))


# changes


async def test_deletions_and_changes_are_seen_by_listing_again(
    twin: BlueskyTwin, bench: BenchLike, clock: StillTime
) -> None:
    changed, deleted, kept = (mention(twin, clock, word) for word in ("one", "two", "three"))
    before = {item.external_id: item for item in bench.heard((await bench.drain("notifications"))[0])}
    pages, cursor = await bench.drain("changes")
    assert pages == []
    twin.edit(changed, f"@{ACME} one, and it burns")
    twin.delete(deleted)
    assert await bench.drain("changes", cursor) == ([], cursor), "not due yet"
    clock.pass_by(minutes=31)
    pages, cursor = await bench.drain("changes", cursor)
    news = bench.news(pages)
    assert [item for item in news if isinstance(item, Deletion)] == [
        Deletion(external_id=deleted, account="did:plc:acmeacmeacmeacmeacmeacme")
    ]
    (item,) = (item for item in news if isinstance(item, Interaction))
    assert (item.external_id, item.text, item.edited_at) == (changed, f"@{ACME} one, and it burns", clock.now())
    assert item.revision != before[changed].revision
    assert kept not in str(pages)
    clock.pass_by(minutes=31)
    assert (await bench.drain("changes", cursor))[0] == []


async def test_more_notifications_than_are_listed_are_not_taken_for_deletions(
    twin: BlueskyTwin, bench: BenchLike, clock: StillTime
) -> None:
    for number in range(20):
        mention(twin, clock, f"{number}")
    _, cursor = await bench.drain("changes")
    for number in range(520):
        mention(twin, clock, f"flood {number}")
    clock.pass_by(minutes=31)
    twin.requests.clear()
    pages, _ = await bench.drain("changes", cursor)
    assert pages == []
    assert not any("getPosts" in path for _, path, _ in twin.requests)


# fetch


async def test_posts_are_looked_up_by_25(twin: BlueskyTwin, bench: BenchLike, clock: StillTime) -> None:
    uris = [mention(twin, clock, f"{number}") for number in range(30)]
    twin.delete(uris[3])
    other = twin.add_user("omar.example.org").handle
    hidden = twin.post(other, "you will not read this")
    twin.block(other, ACME)
    twin.requests.clear()
    wanted = [Wanted(ref=ref) for ref in (*uris, hidden, "at://did:plc:x/app.bsky.feed.like/3k", "nonsense")]
    pages = await bench.plugin.fetch(wanted)
    assert [path.rpartition(".")[2] for _, path, _ in twin.requests].count("getPosts") == 2
    answered = {ref for page in pages for ref in page.answers}
    gone = {ref for page in pages for ref in page.gone}
    assert answered == set(uris) - {uris[3]}
    assert gone == {uris[3], hidden, "at://did:plc:x/app.bsky.feed.like/3k", "nonsense"}
    deleted = {item.external_id for item in bench.news(pages) if isinstance(item, Deletion)}
    assert deleted == {uris[3], hidden}


async def test_a_thread_is_fetched_whole(twin: BlueskyTwin, bench: BenchLike) -> None:
    first = twin.post(RITA, "Who knows Acme?")
    second = twin.post(RITA, "Anybody?", first)
    third = twin.post(ACME, "We do!", second)
    pages = await bench.plugin.fetch([Wanted(ref=second, kind="thread"), Wanted(ref=f"{third}x", kind="thread")])
    assert ids(bench, pages) == [first, second, third]
    assert [page.gone for page in pages[1:]] == [[f"{third}x"]]


async def test_a_picture_is_found_by_its_post(twin: BlueskyTwin, bench: BenchLike, clock: StillTime) -> None:
    uri = mention(twin, clock, pictures=[(b"\xff\xd8\xffone", "a"), (b"\xff\xd8\xfftwo", "")])
    told = bench.heard((await bench.drain("notifications"))[0])[0].attachments
    assert [(one.url, one.alt_text) for one in told] == [(None, "a"), (None, None)]
    assert (await bench.plugin.download(told[1])).body == b"\xff\xd8\xfftwo"
    seen = (await bench.read(uri)).attachments
    assert (await bench.plugin.download(seen[0])).body == b"\xff\xd8\xffone"
    twin.delete(uri)
    with pytest.raises(Gone):
        await bench.plugin.download(told[0])


# messages


async def test_earlier_messages_are_read_once_and_then_the_log(
    twin: BlueskyTwin, bench: BenchLike, clock: StillTime
) -> None:
    people = [twin.add_user(f"user{number}.example.com").handle for number in range(3)]
    twin.direct_message(people[0], ACME, "long ago")
    clock.pass_by(days=100)
    for number in range(120):
        twin.direct_message(people[1], ACME, f"one {number}")
    twin.direct_message(ACME, people[1], "we look")
    pages, cursor = await bench.drain("messages")
    heard = bench.heard(pages)
    assert len(heard) == 121
    assert {item.visibility for item in heard} == {"private"}
    assert [item.direction for item in heard if item.text == "we look"] == ["outbound"]
    assert await bench.drain("messages", cursor) == ([], cursor)
    clock.pass_by(minutes=1)
    twin.direct_message(people[2], ACME, "hello")
    again = twin.direct_message(people[0], ACME, "me again")
    for number in range(130):
        twin.direct_message(people[1], ACME, f"two {number}")
    twin.hide_message(ACME, again)
    pages, cursor = await bench.drain("messages", cursor)
    texts = [item.text for item in bench.heard(pages)]
    assert texts[:2] == ["hello", "me again"]
    assert len(texts) == 132
    assert any(isinstance(item, Ignored) and "hid" in item.reason for item in bench.news(pages))
    assert await bench.drain("messages", cursor) == ([], cursor)


async def test_a_message_between_listing_and_log_is_not_lost(
    twin: BlueskyTwin, bench: BenchLike, plugin: BlueskySource
) -> None:
    assert (await plugin.poll("messages", None)).cursor == {}, "nobody wrote yet"
    twin.direct_message(RITA, ACME, "one")
    first = await plugin.poll("messages", None)
    twin.direct_message(RITA, ACME, "two")
    pages, _ = await bench.drain("messages", first.cursor)
    assert {item.text for item in bench.heard(pages)} == {"one", "two"}


async def test_messages_that_are_switched_off(twin: BlueskyTwin, make: Make) -> None:
    plugin = make(config={"direct_messages": False})
    assert "messages" not in plugin.capabilities.streams
    assert (await plugin.poll("messages", None)).pages == ()
    assert twin.requests == []


async def test_an_app_password_without_messages_stops_messages_alone(
    twin: BlueskyTwin, plugin: BlueskySource, clock: StillTime
) -> None:
    twin.state.account(ACME).messages_allowed = False
    with pytest.raises(Rejected) as caught:
        await plugin.poll("messages", None)
    assert caught.value.code == "messages_not_allowed"
    mention(twin, clock)
    assert (await plugin.poll("notifications", None)).pages


# trouble


@pytest.mark.parametrize(
    ("status", "body", "error"),
    [
        (502, b"<html>Bad Gateway</html>", Retry),
        (429, b'{"error":"RateLimitExceeded"}', Retry),
        (400, b'{"error":"InvalidRequest","message":"no"}', Rejected),
        (401, b'{"error":"AccountTakedown"}', Reauthorise),
        (404, b"", Gone),
    ],
)
async def test_refusals(
    twin: BlueskyTwin, plugin: BlueskySource, status: int, body: bytes, error: type[Exception]
) -> None:
    twin.faults.append(Fault("status_before", path="listNotifications", status=status, body=body))
    with pytest.raises(error):
        await plugin.poll("notifications", None)


async def test_limits_are_read(twin: BlueskyTwin, plugin: BlueskySource, clock: StillTime) -> None:
    twin.wire._used.clear()
    answer = await plugin._api()._call("GET", "com.atproto.server.getSession", bucket="read", effect=False)
    (reading,) = plugin.limits_of(answer, "read")
    assert (reading.bucket, reading.limit) == ("*", 3000)
    assert reading.resets_at == clock.now() + timedelta(minutes=5)
    record = {"$type": "app.bsky.feed.post", "text": "x", "createdAt": "2026-11-23T12:00:00Z"}
    body = {"repo": plugin.config.did, "collection": "app.bsky.feed.post", "record": record}
    answer = await plugin._api()._call("POST", "com.atproto.repo.createRecord", bucket="write", effect=True, json=body)
    (reading,) = plugin.limits_of(answer, "write")
    assert (reading.bucket, reading.limit, reading.remaining) == ("write", 5000 // 3, 4997 // 3)
    twin.wire._used = dict.fromkeys(twin.wire._used, 40_000)
    with pytest.raises(Retry) as caught:
        await plugin.poll("notifications", None)
    assert caught.value.after == timedelta(minutes=5)
