"""What Google tells nobody: deletions seen by absence, old reviews answered elsewhere, replies under review."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from gateway_google_business.names import reply_id
from gateway_google_business.plugin import GoogleBusinessSource
from gateway_google_business.twin import GoogleTwin
from gateway_schemas.errors import Retry
from gateway_schemas.interaction import Deletion, Interaction, Listing, SendStatus, Wanted
from gateway_schemas.testing.twin import Fault
from gateway_schemas.time import SharedTime

START = datetime(2026, 11, 23, 12, 0, tzinfo=UTC)
DAY = timedelta(hours=24, minutes=1)
Make = Callable[..., GoogleBusinessSource]
BenchLike = Any


def old_reviews(twin: GoogleTwin, location: str, count: int) -> list[str]:
    """Reviews that have been there for long, newest first."""
    return [
        twin.review(location, f"Old {n}", n % 5 + 1, f"review {n}", at=START - timedelta(hours=n + 2), quiet=True)
        for n in range(count)
    ]


def absent(bench: BenchLike, pages: Any, known: list[str]) -> list[str]:
    """What of the known reviews the listings do not have, as the host reckons it."""
    changed = {ref: START - timedelta(hours=n + 2) for n, ref in enumerate(known)}
    return [
        ref
        for item in bench.news(pages)
        if isinstance(item, Listing)
        for ref, at in changed.items()
        if ref.startswith(item.subject)
        and ref not in item.present
        and at < item.before
        and (item.after is None or at > item.after)
    ]


async def swept(bench: BenchLike, clock: SharedTime) -> Any:
    _, cursor = await bench.drain("sweep")
    clock.jump(clock.now() + DAY)
    pages, _ = await bench.drain("sweep", cursor)
    return pages


async def test_a_sweep_reads_everything_once_a_day(bench: BenchLike, twin: GoogleTwin, clock: SharedTime) -> None:
    known = old_reviews(twin, "3344", 120) + old_reviews(twin, "5566", 3)
    pages, cursor = await bench.drain("sweep")
    assert pages == []
    assert twin.requests == []
    clock.jump(clock.now() + DAY)
    pages, cursor = await bench.drain("sweep", cursor)
    assert sorted(bench.refs(pages)) == sorted(known)
    assert len(pages) == 4
    pages, _ = await bench.drain("sweep", cursor)
    assert pages == []


async def test_what_is_not_listed_any_more_is_seen(bench: BenchLike, twin: GoogleTwin, clock: SharedTime) -> None:
    known = old_reviews(twin, "3344", 160)
    gone = [known[0], known[49], known[70], known[159]]
    for ref in gone:
        twin.delete(ref)
    assert absent(bench, await swept(bench, clock), known) == gone


async def test_a_location_without_any_review_left_is_a_listing_too(
    bench: BenchLike, twin: GoogleTwin, clock: SharedTime
) -> None:
    known = old_reviews(twin, "3344", 2)
    for ref in known:
        twin.delete(ref)
    assert absent(bench, await swept(bench, clock), known) == known


async def test_a_listing_that_breaks_off_says_nothing_of_the_rest(
    bench: BenchLike, twin: GoogleTwin, clock: SharedTime, plugin: GoogleBusinessSource
) -> None:
    known = old_reviews(twin, "3344", 160)
    twin.delete(known[100])
    _, cursor = await bench.drain("sweep")
    clock.jump(clock.now() + DAY)
    first = await plugin.poll("sweep", cursor)
    twin.expire_page_tokens()
    rest, _ = await bench.drain("sweep", first.cursor)
    assert absent(bench, [*first.pages, *rest], known) == []


@pytest.mark.parametrize("status", [500, 503])
async def test_a_failed_listing_says_nothing_and_is_read_again(
    bench: BenchLike, twin: GoogleTwin, clock: SharedTime, plugin: GoogleBusinessSource, status: int
) -> None:
    known = old_reviews(twin, "3344", 60)
    _, cursor = await bench.drain("sweep")
    clock.jump(clock.now() + DAY)
    first = await plugin.poll("sweep", cursor)
    twin.faults.append(Fault("status_before", path="reviews$", status=status))
    with pytest.raises(Retry):
        await plugin.poll("sweep", first.cursor)
    rest, _ = await bench.drain("sweep", first.cursor)
    assert absent(bench, [*first.pages, *rest], known) == []


async def test_what_moved_while_it_was_listed_is_looked_at_and_found(
    bench: BenchLike, twin: GoogleTwin, clock: SharedTime, plugin: GoogleBusinessSource
) -> None:
    """A review that changes goes to the front, where the sweep has been: absence alone is no proof."""
    known = old_reviews(twin, "3344", 120)
    _, cursor = await bench.drain("sweep")
    clock.jump(clock.now() + DAY)
    first = await plugin.poll("sweep", cursor)
    twin.edit(known[80], comment="changed")
    rest, _ = await bench.drain("sweep", first.cursor)
    missing = absent(bench, [*first.pages, *rest], known)
    assert missing == [known[80]]
    pages = await plugin.fetch([Wanted(ref=ref, reason="refresh") for ref in missing])
    assert bench.refs(pages) == [known[80]]
    assert not [item for item in bench.news(pages) if isinstance(item, Deletion)]


async def test_only_what_google_does_not_have_is_gone(
    bench: BenchLike, twin: GoogleTwin, plugin: GoogleBusinessSource
) -> None:
    ref = old_reviews(twin, "3344", 1)[0]
    twin.delete(ref)
    pages = await plugin.fetch([Wanted(ref=ref, reason="refresh")])
    assert bench.news(pages, "fetch") == [Deletion(external_id=ref, account="accounts/1122")]
    assert [page.answers for page in pages] == [[ref]]


async def test_an_old_review_answered_elsewhere_is_found(bench: BenchLike, twin: GoogleTwin, clock: SharedTime) -> None:
    """A reply does not move a review to the front, so polling does not see it."""
    known = old_reviews(twin, "3344", 120)
    _, cursor = await bench.drain("reviews")
    twin.owner_reply(known[110], "Thank you!")
    clock.jump(clock.now() + timedelta(minutes=5))
    pages, _ = await bench.drain("reviews", cursor)
    assert known[110] not in bench.refs(pages)
    answers = [
        item for item in bench.news(await swept(bench, clock)) if isinstance(item, Interaction) and item.in_reply_to
    ]
    assert [(item.direction, item.in_reply_to, item.text) for item in answers] == [
        ("outbound", known[110], "Thank you!")
    ]


# replies under Google's review


def statuses(bench: BenchLike, pages: Any) -> list[tuple[str, str]]:
    return [(item.external_id, item.state) for item in bench.news(pages) if isinstance(item, SendStatus)]


async def test_a_reply_under_review_is_asked_after_until_it_is_settled(
    bench: BenchLike, twin: GoogleTwin, clock: SharedTime, plugin: GoogleBusinessSource
) -> None:
    twin.moderation = "wait"
    ref = twin.review("3344", "Ana", 2, "slow")
    sent = await plugin.send(await bench.rendered(ref, "Sorry!"), "k")
    assert sent.pending
    clock.jump(clock.now() + timedelta(minutes=5))
    pages, cursor = await bench.drain("replies")
    assert statuses(bench, pages) == [(sent.external_id, "pending")]
    twin.moderate(ref, "REJECTED", "PERSONAL_INFO")
    clock.jump(clock.now() + timedelta(minutes=5))
    pages, cursor = await bench.drain("replies", cursor)
    assert statuses(bench, pages) == [(sent.external_id, "rejected")]
    # until the page is surely stored, it is not forgotten
    assert await plugin.state.load() != {}
    requests = len(twin.requests)
    pages, cursor = await bench.drain("replies", cursor)
    assert (pages, len(twin.requests)) == ([], requests)
    assert [key for key in await plugin.state.load() if key.startswith("review/")] == []


async def test_an_approved_reply_is_settled(
    bench: BenchLike, twin: GoogleTwin, clock: SharedTime, plugin: GoogleBusinessSource
) -> None:
    ref = twin.review("3344", "Ana", 2, "slow")
    sent = await plugin.send(await bench.rendered(ref, "Sorry!"), "k")
    pages, cursor = await bench.drain("replies")
    assert statuses(bench, pages) == [(sent.external_id, "published")]
    assert (await bench.drain("replies", cursor))[0] == []


async def test_a_crash_before_the_page_is_stored_asks_again(
    bench: BenchLike, twin: GoogleTwin, plugin: GoogleBusinessSource
) -> None:
    ref = twin.review("3344", "Ana", 2, "slow")
    await plugin.send(await bench.rendered(ref, "Sorry!"), "k")
    lost = await plugin.poll("replies", None)
    assert len(lost.pages) == 1
    pages, _ = await bench.drain("replies", None)
    assert len(pages) == 1


async def test_a_reply_that_vanished_is_removed_once_that_is_sure(
    bench: BenchLike, twin: GoogleTwin, clock: SharedTime, plugin: GoogleBusinessSource
) -> None:
    twin.reply_lag = timedelta(minutes=2)
    ref = twin.review("3344", "Ana", 2, "slow")
    sent = await plugin.send(await bench.rendered(ref, "Sorry!"), "k")
    pages, cursor = await bench.drain("replies")
    assert statuses(bench, pages) == []  # it may just not be shown yet
    twin.owner_unreply(ref)
    clock.jump(clock.now() + timedelta(minutes=20))
    pages, cursor = await bench.drain("replies", cursor)
    assert statuses(bench, pages) == [(sent.external_id, "removed")]


async def test_another_reply_in_its_place_is_told(
    bench: BenchLike, twin: GoogleTwin, clock: SharedTime, plugin: GoogleBusinessSource
) -> None:
    twin.moderation = "wait"
    ref = twin.review("3344", "Ana", 2, "slow")
    sent = await plugin.send(await bench.rendered(ref, "Sorry!"), "k")
    twin.owner_reply(ref, "Come back soon")
    clock.jump(clock.now() + timedelta(minutes=20))
    pages, _ = await bench.drain("replies")
    assert (sent.external_id, "removed") in statuses(bench, pages)
    assert (reply_id(ref, "Come back soon"), "published") in statuses(bench, pages)


async def test_a_reply_that_is_never_settled_is_let_go_after_a_week(
    bench: BenchLike, twin: GoogleTwin, clock: SharedTime, plugin: GoogleBusinessSource
) -> None:
    twin.moderation = "wait"
    ref = twin.review("3344", "Ana", 2, "slow")
    await plugin.send(await bench.rendered(ref, "Sorry!"), "k")
    cursor: Any = None
    for _ in range(8 * 24 * 2):
        _, cursor = await bench.drain("replies", cursor)
        clock.jump(clock.now() + timedelta(minutes=30))
    asked = len([one for one in twin.requests if one[0] == "GET" and one[1].endswith(ref)])
    assert asked < 80
    assert [key for key in await plugin.state.load() if key.startswith("review/")] == []
