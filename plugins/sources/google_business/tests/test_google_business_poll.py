"""Polling reviews of many locations: bounded pages, an overlap, and one bad location that keeps nobody else waiting."""

from __future__ import annotations

import json
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from gateway_google_business.plugin import GoogleBusinessSource
from gateway_google_business.reading import FULL, OVERLAP
from gateway_google_business.twin import GoogleTwin
from gateway_schemas.errors import Reauthorise, Retry
from gateway_schemas.interaction import Interaction, Wanted
from gateway_schemas.testing.twin import Fault
from gateway_schemas.time import SharedTime

START = datetime(2026, 11, 23, 12, 0, tzinfo=UTC)
Make = Callable[..., GoogleBusinessSource]
BenchLike = Any


def old_reviews(twin: GoogleTwin, location: str, count: int, before: datetime = START) -> set[str]:
    """Reviews that have been there for long."""
    return {
        twin.review(location, f"Old {n}", n % 5 + 1, f"review {n}", at=before - timedelta(hours=n + 2), quiet=True)
        for n in range(count)
    }


async def test_a_first_poll_pages_through_everything_in_bounded_pages(bench: BenchLike, twin: GoogleTwin) -> None:
    old = old_reviews(twin, "3344", 5_000)
    pages, cursor = await bench.drain("reviews")
    assert set(bench.refs(pages)) == old
    assert len(pages) == 5_000 // FULL
    assert max(len(page.body) for page in pages) < 500_000
    assert len(json.dumps(cursor)) < 1_000
    assert len([one for one in twin.requests if "batchGet" in one[1]]) == 5_000 // FULL


async def test_a_poll_with_nothing_new_stores_nothing(bench: BenchLike, twin: GoogleTwin, clock: SharedTime) -> None:
    old_reviews(twin, "3344", 300)
    _, cursor = await bench.drain("reviews")
    clock.jump(clock.now() + timedelta(minutes=5))
    _, cursor = await bench.drain("reviews", cursor)
    requests = len(twin.requests)
    clock.jump(clock.now() + timedelta(minutes=5))
    pages, _ = await bench.drain("reviews", cursor)
    assert pages == []
    assert len(twin.requests) == requests + 1


async def test_new_and_changed_reviews_of_all_locations_come_with_one_call(
    bench: BenchLike, twin: GoogleTwin, clock: SharedTime
) -> None:
    old = sorted(old_reviews(twin, "3344", 120))
    _, cursor = await bench.drain("reviews")
    clock.jump(clock.now() + timedelta(minutes=5))
    fresh = twin.review("5566", "Rui", 1, "Demorou uma hora.")
    twin.edit(old[0], stars=1, comment="worse than I thought")
    requests = len(twin.requests)
    pages, _ = await bench.drain("reviews", cursor)
    assert set(bench.refs(pages)) >= {fresh, old[0]}
    assert len(twin.requests) == requests + 1


async def test_a_review_that_is_listed_late_is_found(bench: BenchLike, twin: GoogleTwin, clock: SharedTime) -> None:
    """It has its place below others that were listed, and read, before it."""
    _, cursor = await bench.drain("reviews")
    clock.jump(clock.now() + timedelta(hours=2))
    newer = {twin.review("3344", f"Ana {n}", 2, "slow") for n in range(70)}
    clock.jump(clock.now() + timedelta(minutes=10))
    pages, cursor = await bench.drain("reviews", cursor)
    assert set(bench.refs(pages)) == newer
    late = twin.review("3344", "Rui", 1, "lento", at=clock.now() - OVERLAP + timedelta(minutes=5))
    clock.jump(clock.now() + timedelta(minutes=1))
    pages, _ = await bench.drain("reviews", cursor)
    assert late in bench.refs(pages)


async def test_reviews_that_change_while_paging_are_not_lost(
    bench: BenchLike, twin: GoogleTwin, plugin: GoogleBusinessSource, clock: SharedTime
) -> None:
    old = old_reviews(twin, "3344", 450)
    first = await plugin.poll("reviews", None)
    read = set(bench.refs(first.pages))
    clock.jump(clock.now() + timedelta(seconds=30))
    moved = sorted(old - read)[0]
    twin.edit(moved, comment="it moved to the front, where we have been")
    pages, cursor = await bench.drain("reviews", first.cursor)
    clock.jump(clock.now() + timedelta(minutes=5))
    again, _ = await bench.drain("reviews", cursor)
    assert set(bench.refs([*first.pages, *pages, *again])) == old


async def test_a_crash_between_pages_loses_nothing(bench: BenchLike, twin: GoogleTwin, make: Make) -> None:
    old = old_reviews(twin, "3344", 700)
    stored: list[Any] = []
    cursor: dict[str, Any] | None = None
    for lost in (True, False, True, False, True, True, False, False):
        page = await make().poll("reviews", cursor)
        if not lost:
            stored += page.pages
            cursor = page.cursor
    assert cursor is not None
    assert "run" not in cursor
    assert set(bench.refs(stored)) == old


async def test_an_ended_page_token_starts_the_locations_anew(
    bench: BenchLike, twin: GoogleTwin, plugin: GoogleBusinessSource
) -> None:
    old = old_reviews(twin, "3344", 450)
    first = await plugin.poll("reviews", None)
    twin.expire_page_tokens()
    pages, cursor = await bench.drain("reviews", first.cursor)
    assert set(bench.refs([*first.pages, *pages])) == old
    assert cursor["known"] == ["locations/3344", "locations/5566"]


async def test_locations_listed_one_after_the_other_are_all_read(
    bench: BenchLike, twin: GoogleTwin, clock: SharedTime
) -> None:
    """Google does not say how batchGetReviews orders several locations; either way nothing is missed."""
    twin.batch_order = "grouped"
    old = old_reviews(twin, "3344", 260) | old_reviews(twin, "5566", 260)
    pages, cursor = await bench.drain("reviews")
    assert set(bench.refs(pages)) == old
    assert cursor["each"] is True
    clock.jump(clock.now() + timedelta(minutes=5))
    fresh = {twin.review("3344", "Ana", 2, "slow"), twin.review("5566", "Rui", 2, "lento")}
    requests = len(twin.requests)
    pages, _ = await bench.drain("reviews", cursor)
    assert fresh <= set(bench.refs(pages))
    assert len(twin.requests) == requests + 2


async def test_a_new_location_is_read_to_its_beginning(bench: BenchLike, twin: GoogleTwin, clock: SharedTime) -> None:
    old_reviews(twin, "3344", 10)
    _, cursor = await bench.drain("reviews")
    twin.add_location("1122", "7788", "Acme Porto")
    opened = old_reviews(twin, "7788", 5, START - timedelta(days=30))
    clock.jump(clock.now() + timedelta(hours=2))
    pages, cursor = await bench.drain("reviews", cursor)
    assert set(bench.refs(pages)) >= opened
    assert "locations/7788" in cursor["known"]


async def test_an_unverified_location_is_left_out(bench: BenchLike, twin: GoogleTwin) -> None:
    twin.add_location("1122", "7788", "Acme Porto", verified=False)
    old = old_reviews(twin, "3344", 5)
    pages, cursor = await bench.drain("reviews")
    assert set(bench.refs(pages)) == old
    assert "locations/7788" not in cursor["known"]


async def test_a_location_that_is_lost_keeps_no_other_from_being_read(
    bench: BenchLike, twin: GoogleTwin, clock: SharedTime
) -> None:
    old_reviews(twin, "5566", 5)
    _, cursor = await bench.drain("reviews")
    twin.state.locations["3344"].accounts.clear()
    clock.jump(clock.now() + timedelta(minutes=5))
    fresh = twin.review("5566", "Rui", 1, "lento")
    pages, cursor = await bench.drain("reviews", cursor)
    assert fresh in bench.refs(pages)
    assert cursor["refused"] == {"locations/3344": "not_found"}
    assert cursor["known"] == ["locations/5566"]
    # once it is back, it is read to its beginning
    twin.add_location("1122", "3344", "Acme Berlin")
    missed = old_reviews(twin, "3344", 3, START - timedelta(days=3))
    clock.jump(clock.now() + timedelta(hours=2))
    pages, cursor = await bench.drain("reviews", cursor)
    assert missed <= set(bench.refs(pages))
    assert "refused" not in cursor


async def test_only_the_chosen_locations_are_read(bench: BenchLike, twin: GoogleTwin, make: Make) -> None:
    old_reviews(twin, "3344", 2)
    mine = old_reviews(twin, "5566", 2)
    pages, _ = await bench.drain("reviews", plugin=make(config={"locations": ["5566"]}))
    assert set(bench.refs(pages)) == mine


async def test_the_page_knows_the_names_of_its_locations(bench: BenchLike, twin: GoogleTwin) -> None:
    twin.review("3344", "Ana", 2, "slow")
    pages, _ = await bench.drain("reviews")
    (item,) = bench.news(pages)
    assert isinstance(item, Interaction)
    assert item.subject is not None
    assert (item.subject.external_id, item.subject.name) == ("locations/3344", "Acme Berlin")


async def test_trouble_moves_no_cursor(bench: BenchLike, twin: GoogleTwin, plugin: GoogleBusinessSource) -> None:
    old = old_reviews(twin, "3344", 10)
    twin.faults.append(Fault("status_before", path="batchGetReviews", status=503))
    with pytest.raises(Retry):
        await plugin.poll("reviews", None)
    pages, _ = await bench.drain("reviews")
    assert set(bench.refs(pages)) == old


# tokens


async def test_one_token_serves_many_calls_and_processes(
    bench: BenchLike, twin: GoogleTwin, make: Make, clock: SharedTime
) -> None:
    for _ in range(3):
        await bench.drain("reviews", plugin=make())
    assert [effect.kind for effect in twin.ledger].count("token") == 1
    clock.jump(clock.now() + timedelta(minutes=58, seconds=30))
    await bench.drain("reviews", plugin=make())
    assert [effect.kind for effect in twin.ledger].count("token") == 2


async def test_a_token_that_ends_early_is_renewed_within_the_call(bench: BenchLike, twin: GoogleTwin) -> None:
    await bench.drain("reviews")
    twin.expire_tokens()
    await bench.drain("reviews")


@pytest.mark.parametrize("way", ["revoked", "client"])
async def test_a_refused_refresh_needs_authorisation(twin: GoogleTwin, make: Make, way: str) -> None:
    plugin = make()
    if way == "revoked":
        twin.revoke()
    else:
        twin.client_secret = "another"
    with pytest.raises(Reauthorise) as caught:
        await plugin.poll("reviews", None)
    assert caught.value.code == {"revoked": "token_ended", "client": "client_refused"}[way]


async def test_a_token_of_an_earlier_authorisation_is_not_used(bench: BenchLike, twin: GoogleTwin, make: Make) -> None:
    await bench.drain("reviews", plugin=make())
    twin.state.users["owner"].refresh_token = "1//another"
    await bench.drain("reviews", plugin=make())
    assert [effect.kind for effect in twin.ledger].count("token") == 2


# pictures


async def test_pictures_are_fetched_and_known_again_in_another_size(
    bench: BenchLike, twin: GoogleTwin, plugin: GoogleBusinessSource
) -> None:
    twin.review("3344", "Ana", 2, "slow", media=[twin.picture(b"a queue", "queue")])
    pages, _ = await bench.drain("reviews")
    (item,) = bench.news(pages)
    (attachment,) = item.attachments
    assert (await plugin.download(attachment)).body == b"a queue"
    assert attachment.external_id == "/lh3.googleusercontent.com/p/AF1QipTwin0"
    assert plugin.media_hosts_of(plugin.config, None) == ("https://*.googleusercontent.com", "https://*.ggpht.com")


# fetching what a wake-up named


async def test_a_wake_up_fetches_the_review(bench: BenchLike, twin: GoogleTwin, plugin: GoogleBusinessSource) -> None:
    one, two = twin.review("3344", "Ana", 2, "slow"), twin.review("5566", "Rui", 1, "lento")
    pages = await plugin.fetch([Wanted(ref=one), Wanted(ref=two)])
    assert bench.refs(pages) == [one, two]
    assert [ref for page in pages for ref in page.answers] == [one, two]


async def test_a_review_that_cannot_be_read_yet_is_not_taken_for_deleted(
    bench: BenchLike, twin: GoogleTwin, plugin: GoogleBusinessSource, clock: SharedTime
) -> None:
    twin.read_lag = timedelta(seconds=30)
    ref = twin.review("3344", "Ana", 2, "slow")
    assert await plugin.fetch([Wanted(ref=ref, reason="thin")]) == []
    clock.jump(clock.now() + timedelta(minutes=1))
    assert bench.refs(await plugin.fetch([Wanted(ref=ref, reason="thin")])) == [ref]


async def test_a_wake_up_without_a_review_reads_the_location(
    bench: BenchLike, twin: GoogleTwin, plugin: GoogleBusinessSource
) -> None:
    ref = twin.review("3344", "Ana", 2, "slow")
    pages = await plugin.fetch([Wanted(ref="locations/3344", kind="thread")])
    assert bench.refs(pages) == [ref]


async def test_what_is_no_name_of_ours_goes_nowhere(twin: GoogleTwin, plugin: GoogleBusinessSource) -> None:
    (page,) = await plugin.fetch([Wanted(ref="locations/1/reviews/../../accounts")])
    assert (page.body, page.gone) == (b"", ["locations/1/reviews/../../accounts"])
    assert twin.requests == []


async def test_some_answers_are_better_than_none(
    bench: BenchLike, twin: GoogleTwin, plugin: GoogleBusinessSource
) -> None:
    ok, bad = twin.review("3344", "Ana", 2, "slow"), twin.review("5566", "Rui", 1, "lento")
    twin.faults.append(Fault("status_before", path=bad.split("/")[3], status=500, times=None))
    assert bench.refs(await plugin.fetch([Wanted(ref=ok), Wanted(ref=bad)])) == [ok]
    with pytest.raises(Retry):
        await plugin.fetch([Wanted(ref=bad)])
