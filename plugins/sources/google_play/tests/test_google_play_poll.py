"""Reading the week: where a poll stops, what it survives, and what the sweep sees."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest

from gateway_google_play.reading import PAGE
from gateway_google_play.twin import PlayTwin
from gateway_schemas.errors import Reauthorise, Retry
from gateway_schemas.interaction import Deletion, Interaction, Listing, Wanted
from gateway_schemas.testing.twin import Fault

BenchLike = Any
PACKAGE = "com.acme.app"


def fill(bench: BenchLike, count: int) -> list[str]:
    """Reviews of the last hours, newest first."""
    start = bench.clock.now() - timedelta(hours=20)
    refs = [
        bench.twin.review(PACKAGE, f"P{n}", 3, f"review {n}", at=start + timedelta(minutes=n), quiet=True, device={})
        for n in range(count)
    ]
    return refs[::-1]


async def test_the_first_poll_reads_the_week_and_the_next_what_is_new(bench: BenchLike, twin: PlayTwin) -> None:
    refs = fill(bench, 2 * PAGE + 1)
    pages, cursor = await bench.drain("reviews")
    assert bench.refs(pages) == refs
    bench.pass_time(hours=2)
    pages, cursor = await bench.drain("reviews", cursor)
    assert len(pages) == 0, "the same page again says nothing new"
    new = twin.review(PACKAGE, "Ana", 1, "new")
    asked = len(twin.requests)
    pages, cursor = await bench.drain("reviews", cursor)
    assert bench.refs(pages)[0] == new
    assert len(twin.requests) == asked + 1, "one page was enough"


async def test_what_is_written_while_paging_is_not_lost(bench: BenchLike, twin: PlayTwin) -> None:
    refs = fill(bench, 2 * PAGE + 1)
    page = await bench.plugin.poll("reviews", None)
    assert page.more
    twin.edit(refs[-1], text="changed while you were reading")
    late = twin.review(PACKAGE, "Late", 1, "just now")
    rest, cursor = await bench.drain("reviews", page.cursor)
    bench.pass_time(minutes=5)
    more, _ = await bench.drain("reviews", cursor)
    seen = {*bench.refs(page.pages), *bench.refs(rest), *bench.refs(more)}
    assert seen == {*refs, late}
    texts = [item.text for item in bench.news(more) if isinstance(item, Interaction)]
    assert "changed while you were reading" in texts


async def test_the_cursor_does_not_move_when_reading_fails(bench: BenchLike, twin: PlayTwin) -> None:
    refs = fill(bench, PAGE + 1)
    page = await bench.plugin.poll("reviews", None)
    twin.faults.append(Fault("status_before", path="/reviews", status=503))
    with pytest.raises(Retry):
        await bench.plugin.poll("reviews", page.cursor)
    rest, _ = await bench.drain("reviews", page.cursor, plugin=bench.make())
    assert bench.refs(page.pages) + bench.refs(rest) == refs


async def test_a_page_token_that_ended_begins_the_look_anew(bench: BenchLike, twin: PlayTwin) -> None:
    refs = fill(bench, PAGE + 1)
    page = await bench.plugin.poll("reviews", None)
    twin.expire_page_tokens()
    rest, _ = await bench.drain("reviews", page.cursor)
    assert set(bench.refs(page.pages) + bench.refs(rest)) == set(refs)


async def test_ratings_without_words_and_old_reviews_are_not_listed(bench: BenchLike, twin: PlayTwin) -> None:
    twin.review(PACKAGE, "Stars", 1)
    twin.review(PACKAGE, "Old", 1, "old", at=bench.clock.now() - timedelta(days=8))
    pages, _ = await bench.drain("reviews")
    assert bench.refs(pages) == []


async def test_a_week_that_was_missed_is_named_by_check(bench: BenchLike, twin: PlayTwin) -> None:
    _, cursor = await bench.drain("reviews")
    assert (await bench.plugin.check()).findings == ()
    bench.pass_time(days=9)
    await bench.drain("reviews", cursor)
    (finding,) = (await bench.plugin.check()).findings
    assert (finding.code, finding.severity) == ("gap", "warning")
    assert "2026-11-23T12:00 to 2026-11-25T12:00" in finding.message


# the sweep


async def swept(bench: BenchLike) -> list[Any]:
    """The news of a sweep that is due."""
    _, cursor = await bench.drain("sweep")
    bench.pass_time(hours=7)
    pages, _ = await bench.drain("sweep", cursor)
    return list(bench.news(pages))


async def test_a_sweep_sees_what_is_gone_and_fetch_makes_sure(bench: BenchLike, twin: PlayTwin) -> None:
    refs = fill(bench, PAGE + 20)
    await bench.drain("reviews")
    twin.delete(refs[50])
    twin.delete(refs[-3])
    listings = [item for item in await swept(bench) if isinstance(item, Listing)]
    known = {
        ref: bench.clock.now() - timedelta(hours=27) + timedelta(minutes=len(refs) - 1 - n)
        for n, ref in enumerate(refs)
    }
    missing = {
        ref
        for one in listings
        for ref, at in known.items()
        if one.after is not None and one.after < at < one.before and ref not in one.present
    }
    assert missing == {refs[50], refs[-3]}
    pages = await bench.plugin.fetch([Wanted(ref=ref, reason="refresh") for ref in (refs[50], refs[0])])
    gone, there = bench.news(pages)
    assert isinstance(gone, Deletion)
    assert gone.external_id == refs[50]
    assert isinstance(there, Interaction)


async def test_leaving_the_week_is_no_deletion(bench: BenchLike, twin: PlayTwin) -> None:
    at = bench.clock.now() - timedelta(days=6, hours=20)
    twin.review(PACKAGE, "Nearly old", 1, "x", at=at)
    listings = [item for item in await swept(bench) if isinstance(item, Listing)]
    assert listings
    assert all(one.after is not None and one.after > at for one in listings)


async def test_a_reply_made_in_the_console_is_seen_by_the_sweep(bench: BenchLike, twin: PlayTwin) -> None:
    refs = fill(bench, 3)
    twin.owner_reply(refs[2], "We wrote you an e-mail.")
    replies = [item for item in await swept(bench) if isinstance(item, Interaction) and item.direction == "outbound"]
    assert [(one.in_reply_to, one.text) for one in replies] == [(refs[2], "We wrote you an e-mail.")]


async def test_a_sweep_that_breaks_off_says_nothing_of_the_rest(bench: BenchLike, twin: PlayTwin) -> None:
    fill(bench, PAGE + 20)
    _, cursor = await bench.drain("sweep")
    bench.pass_time(hours=7)
    page = await bench.plugin.poll("sweep", cursor)
    twin.permit(PACKAGE, "reply")
    rest, after = await bench.drain("sweep", page.cursor)
    assert rest == []
    (listing,) = [item for item in bench.news(page.pages) if isinstance(item, Listing)]
    assert listing.after is not None
    assert len(listing.present) == PAGE
    assert after == {"next": "2026-11-24T01:00:00Z"}


# quotas, tokens


async def test_an_hours_quota_makes_it_wait(bench: BenchLike, twin: PlayTwin) -> None:
    twin.wire.reads = 1
    await bench.drain("reviews")
    with pytest.raises(Retry) as caught:
        await bench.drain("reviews")
    assert (caught.value.bucket, caught.value.after) == ("reviews.read", timedelta(minutes=5))


async def test_a_token_is_made_once_and_again_when_it_ended(bench: BenchLike, twin: PlayTwin) -> None:
    for _ in range(3):
        await bench.drain("reviews", plugin=bench.make())
    tokens = [path for _, path, _ in twin.requests if path.endswith("/token")]
    assert len(tokens) == 1
    twin.expire_tokens()
    await bench.drain("reviews")
    bench.pass_time(hours=1)
    await bench.drain("reviews")
    assert len([path for _, path, _ in twin.requests if path.endswith("/token")]) == 3


async def test_a_key_that_was_deleted_needs_a_person(bench: BenchLike, twin: PlayTwin) -> None:
    twin.revoke()
    with pytest.raises(Reauthorise) as caught:
        await bench.drain("reviews")
    assert caught.value.code == "key_refused"
    assert "PRIVATE" not in caught.value.reason


async def test_a_clock_that_is_wrong_is_refused_by_the_twin(bench: BenchLike, twin: PlayTwin) -> None:
    class Ahead:
        def now(self) -> Any:
            return bench.clock.now() + timedelta(minutes=20)

    bench.clock, real = Ahead(), bench.clock
    plugin = bench.make()
    bench.clock = real
    with pytest.raises(Reauthorise):
        await plugin.poll("reviews", None)


async def test_check_says_what_is_missing_and_whom_to_invite(bench: BenchLike, twin: PlayTwin) -> None:
    twin.permit(PACKAGE)
    (finding,) = (await bench.plugin.check()).findings
    assert finding.code == "not_permitted"
    assert "gateway@acme-twin.iam.gserviceaccount.com" in finding.mend
    twin.wire.disabled = True
    (finding,) = (await bench.plugin.check()).findings
    assert finding.code == "service_disabled"
    twin.wire.disabled = False
    twin.wire.packages.clear()
    (finding,) = (await bench.plugin.check()).findings
    assert finding.code == "app_missing"
