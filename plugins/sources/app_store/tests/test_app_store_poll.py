"""Reading reviews: where a poll stops, what it survives, what the sweep sees, and how responses are followed."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest

from gateway_app_store.config import AppStoreApp
from gateway_app_store.reading import FULL
from gateway_app_store.tokens import sign
from gateway_app_store.twin import AppStoreTwin
from gateway_schemas.errors import Malformed, Reauthorise, Retry
from gateway_schemas.interaction import Deletion, Interaction, Listing, SendStatus, Wanted
from gateway_schemas.testing.twin import Fault

BenchLike = Any
APP = "123"


def fill(bench: BenchLike, count: int) -> list[str]:
    """Reviews of the last day, newest first."""
    start = bench.clock.now() - timedelta(hours=20)
    refs = [
        bench.twin.review(APP, f"p{n}", 3, f"review {n}", at=start + timedelta(minutes=n), quiet=True)
        for n in range(count)
    ]
    return refs[::-1]


async def test_the_first_poll_reads_everything_and_the_next_what_is_new(bench: BenchLike, twin: AppStoreTwin) -> None:
    refs = fill(bench, FULL + 1)
    pages, cursor = await bench.drain("reviews")
    assert bench.refs(pages) == refs
    bench.pass_time(days=1)
    pages, cursor = await bench.drain("reviews", cursor)
    new = twin.review(APP, "Ana", 1, "new")
    asked = len(twin.requests)
    pages, cursor = await bench.drain("reviews", cursor)
    assert bench.refs(pages)[0] == new
    assert len(twin.requests) == asked + 1, "one page was enough"
    pages, cursor = await bench.drain("reviews", cursor)
    assert pages == [], "the same page again says nothing new"


async def test_what_is_written_while_paging_is_not_lost(bench: BenchLike, twin: AppStoreTwin) -> None:
    refs = fill(bench, FULL + 1)
    page = await bench.plugin.poll("reviews", None)
    twin.edit(refs[-1], body="changed while you were reading")
    late = twin.review(APP, "Late", 1, "just now")
    rest, cursor = await bench.drain("reviews", page.cursor)
    bench.pass_time(minutes=5)
    more, _ = await bench.drain("reviews", cursor)
    assert {*bench.refs(page.pages), *bench.refs(rest), *bench.refs(more)} == {*refs, late}
    texts = [item.text for item in bench.news(more) if isinstance(item, Interaction)]
    assert "changed while you were reading" in texts


async def test_the_cursor_does_not_move_when_reading_fails(bench: BenchLike, twin: AppStoreTwin) -> None:
    refs = fill(bench, FULL + 1)
    page = await bench.plugin.poll("reviews", None)
    twin.faults.append(Fault("status_before", path="customerReviews", status=503))
    with pytest.raises(Retry):
        await bench.plugin.poll("reviews", page.cursor)
    rest, _ = await bench.drain("reviews", page.cursor, plugin=bench.make())
    assert bench.refs(page.pages) + bench.refs(rest) == refs


async def test_a_cursor_that_ended_begins_the_look_anew(bench: BenchLike, twin: AppStoreTwin) -> None:
    refs = fill(bench, FULL + 1)
    page = await bench.plugin.poll("reviews", None)
    twin.expire_page_tokens()
    rest, _ = await bench.drain("reviews", page.cursor)
    assert set(bench.refs(page.pages) + bench.refs(rest)) == set(refs)


async def test_a_next_page_elsewhere_is_not_followed(bench: BenchLike, twin: AppStoreTwin) -> None:
    body = b'{"data": [], "links": {"next": "https://evil.example/v1/apps/123/customerReviews?cursor=x"}}'
    twin.faults.append(Fault("status_before", path="customerReviews", status=200, body=body))
    with pytest.raises(Malformed) as caught:
        await bench.plugin.poll("reviews", None)
    assert caught.value.code == "foreign_link"


async def test_only_the_territories_that_are_wanted(bench: BenchLike, twin: AppStoreTwin) -> None:
    german = twin.review(APP, "Jörg", 1, "schlecht", territory="DEU")
    twin.review(APP, "Ann", 1, "bad", territory="USA")
    pages, _ = await bench.drain("reviews", plugin=bench.make(territories=["DEU", "AUT"]))
    assert bench.refs(pages) == [german]
    (review,) = bench.news(pages)
    assert (review.extra, review.subject.name) == ({"territory": "DEU"}, "Acme")


# the sweep


async def swept(bench: BenchLike) -> list[Any]:
    """The news of a sweep that is due."""
    _, cursor = await bench.drain("sweep")
    bench.pass_time(hours=25)
    pages, _ = await bench.drain("sweep", cursor)
    return list(bench.news(pages))


async def test_a_sweep_sees_what_is_gone_and_fetch_makes_sure(bench: BenchLike, twin: AppStoreTwin) -> None:
    refs = fill(bench, FULL + 20)
    first = bench.clock.now() - timedelta(hours=20)
    twin.delete(refs[50])
    twin.delete(refs[-3])
    listings = [item for item in await swept(bench) if isinstance(item, Listing)]
    known = {ref: first + timedelta(minutes=len(refs) - 1 - n) for n, ref in enumerate(refs)}
    missing = {
        ref
        for one in listings
        for ref, at in known.items()
        if at < one.before and (one.after is None or one.after < at) and ref not in one.present
    }
    assert missing == {refs[50], refs[-3]}
    pages = await bench.plugin.fetch([Wanted(ref=ref, reason="refresh") for ref in (refs[50], refs[0], "a/../b")])
    gone, there = bench.news(pages)
    assert isinstance(gone, Deletion)
    assert gone.external_id == refs[50]
    assert isinstance(there, Interaction)
    assert pages[2].gone == ["a/../b"]


async def test_a_review_that_gets_a_new_id_replaces_the_old_one(bench: BenchLike, twin: AppStoreTwin) -> None:
    twin.new_ids = True
    old = twin.review(APP, "Ana", 1, "bad")
    _, cursor = await bench.drain("reviews")
    bench.pass_time(hours=8)
    new = twin.edit(old, body="better", stars=4)
    pages, _ = await bench.drain("reviews", cursor)
    assert bench.refs(pages) == [new]
    (listing,) = [item for item in await swept(bench) if isinstance(item, Listing)]
    assert listing.present == (new,)
    assert listing.after is None


async def test_a_response_made_in_connect_is_seen_by_the_sweep(bench: BenchLike, twin: AppStoreTwin) -> None:
    refs = fill(bench, 3)
    id = twin.owner_response(refs[2], "We wrote you an e-mail.")
    own = [item for item in await swept(bench) if isinstance(item, Interaction) and item.direction == "outbound"]
    assert [(one.external_id, one.in_reply_to) for one in own] == [(id, refs[2])]


# responses


async def test_a_response_is_followed_until_it_is_shown(bench: BenchLike, twin: AppStoreTwin) -> None:
    twin.publish_lag = timedelta(hours=3)
    ref = twin.review(APP, "Ana", 1, "bad")
    sent = await bench.plugin.send(bench.rendered(ref, "Sorry!"), "k")
    assert sent.pending
    states: list[str] = []
    cursor = None
    for _ in range(10):
        bench.pass_time(minutes=30)
        pages, cursor = await bench.drain("responses", cursor)
        states += [item.state for item in bench.news(pages) if isinstance(item, SendStatus)]
    assert states == ["pending"] * 3 + ["published"], "asked after every poll for an hour, then hourly"
    assert not [key for key in bench.state.document if key.startswith("pending/")]


async def test_a_response_that_goes_while_it_is_followed_is_told_of(bench: BenchLike, twin: AppStoreTwin) -> None:
    twin.publish_lag = timedelta(hours=3)
    ref = twin.review(APP, "Ana", 1, "bad")
    sent = await bench.plugin.send(bench.rendered(ref, "Sorry!"), "k")
    twin.owner_unresponse(ref)
    pages, _ = await bench.drain("responses")
    (status,) = bench.news(pages)
    assert (status.external_id, status.state) == (sent.external_id, "removed")


# limits, tokens, set-up


async def test_what_is_left_of_the_hour_is_read_and_a_refusal_waits(bench: BenchLike, twin: AppStoreTwin) -> None:
    twin.wire.limit = 2
    await bench.plugin.poll("reviews", None)
    response = await bench.http.get(f"{twin.url}/v1/apps", headers={"authorization": "Bearer x"})
    assert bench.plugin.limits_of(response, "reviews.read") == []
    token = sign(AppStoreApp(**twin.app_config()), bench.clock.now())
    response = await bench.http.get(f"{twin.url}/v1/apps", headers={"authorization": f"Bearer {token}"})
    (reading,) = bench.plugin.limits_of(response, "reviews.read")
    assert (reading.bucket, reading.limit, reading.remaining, reading.resets_at) == ("*", 2, 0, None)
    with pytest.raises(Retry) as caught:
        await bench.plugin.poll("reviews", None)
    assert (caught.value.code, caught.value.after) == ("rate_limit_exceeded", timedelta(minutes=5))
    bench.pass_time(hours=1)
    await bench.plugin.poll("reviews", None)


async def test_a_token_is_made_anew_before_it_ends(bench: BenchLike, twin: AppStoreTwin) -> None:
    for _ in range(6):
        await bench.plugin.poll("reviews", None)
        bench.pass_time(minutes=7)
    assert {status for _, _, status in twin.requests} == {200}


async def test_after_a_jump_of_the_clock_a_new_token_is_tried(bench: BenchLike, twin: AppStoreTwin) -> None:
    await bench.plugin.poll("reviews", None)
    twin.wire.time = type("Ahead", (), {"now": lambda _: bench.clock.now() + timedelta(minutes=16)})()
    with pytest.raises(Reauthorise):  # Apple's clock is wrong for good: no token of ours will do
        await bench.plugin.poll("reviews", None)
    twin.wire.time = bench.clock
    await bench.plugin.poll("reviews", None)


async def test_an_individual_key(bench: BenchLike, twin: AppStoreTwin) -> None:
    plugin = bench.make(app=twin.app_config(twin.individual_key()))
    assert [one.config for one in await plugin.discover()] == [{"app_id": APP}]
    with pytest.raises(Reauthorise):
        await bench.make(app={**twin.app_config(), "issuer_id": None}).poll("reviews", None)


async def test_discover_pages(bench: BenchLike, twin: AppStoreTwin) -> None:
    for number in range(205):
        twin.add_app(str(1000 + number), f"App {number}")
    found = await bench.plugin.discover()
    assert len(found) == 206
    assert (found[0].name, found[0].handle) == ("App 0", "com.acme.app1000")


async def test_check_says_what_is_missing(bench: BenchLike, twin: AppStoreTwin) -> None:
    async def code() -> str:
        return ",".join(one.code for one in (await bench.make().check()).findings)

    assert await code() == ""
    twin.wire.agreements = False
    assert await code() == "agreement"
    twin.wire.agreements = True
    twin.titles.clear()
    assert await code() == "app_missing"
    twin.revoke()
    assert await code() == "token_refused"
