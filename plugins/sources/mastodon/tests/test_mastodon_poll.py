"""Polling: nothing is lost and nothing told for ever, whatever arrives while a list is being read."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from datetime import timedelta
from typing import Any

import httpx2
import pytest

from gateway_mastodon.changes import Recheck
from gateway_mastodon.plugin import MastodonSource
from gateway_mastodon.twin import MastodonTwin
from gateway_schemas.errors import Reauthorise, Rejected, Retry
from gateway_schemas.interaction import Deletion, Interaction
from gateway_schemas.testing.clock import StillTime
from gateway_schemas.testing.twin import Fault

RITA = "rita@example.social"
SUPPORT = "@support@masto.acme.example"
BenchLike = Any
Make = Callable[..., MastodonSource]


def mention(twin: MastodonTwin, clock: StillTime, text: str = "help", **how: Any) -> str:
    """One more mention, a second later."""
    clock.pass_by(seconds=1)
    return twin.post(RITA, f"{SUPPORT} {text}", **how)


def ids(bench: BenchLike, pages: Any) -> list[str]:
    return [item.external_id.partition("/")[2] for item in bench.heard(pages)]


async def test_the_first_poll_reads_back_and_the_next_go_forward(
    twin: MastodonTwin, bench: BenchLike, clock: StillTime
) -> None:
    old = [mention(twin, clock, f"old {number}") for number in range(170)]
    clock.pass_by(hours=1)
    pages, cursor = await bench.drain("notifications")
    assert set(ids(bench, pages)) == set(old)
    new = [mention(twin, clock, f"new {number}") for number in range(100)]
    clock.pass_by(hours=1)
    pages, cursor = await bench.drain("notifications", cursor)
    assert ids(bench, pages) == new
    pages, again = await bench.drain("notifications", cursor)
    assert (pages, again) == ([], cursor)


async def test_the_horizon_ends_the_first_poll(make: Make, twin: MastodonTwin, clock: StillTime) -> None:
    for number in range(100):
        mention(twin, clock, f"old {number}")
    clock.pass_by(days=3)
    recent = mention(twin, clock)
    page = await make(config={"history_days": 2}).poll("notifications", None)
    assert not page.more
    assert recent.encode() in page.pages[0].body


async def test_what_arrives_while_a_list_is_read_is_read_too(
    twin: MastodonTwin, bench: BenchLike, plugin: MastodonSource, clock: StillTime
) -> None:
    seen = [mention(twin, clock, f"{number}") for number in range(90)]
    clock.pass_by(hours=1)
    first = await plugin.poll("notifications", None)
    assert first.more
    seen += [mention(twin, clock, "meanwhile")]
    twin.delete(seen.pop(40))
    rest, cursor = await bench.drain("notifications", first.cursor)
    later, _ = await bench.drain("notifications", cursor)
    assert set(seen) <= set(ids(bench, [*first.pages, *rest, *later]))


async def test_an_id_that_shows_later_than_a_newer_one_is_not_passed_over(
    twin: MastodonTwin, bench: BenchLike, clock: StillTime
) -> None:
    """Ids are given out before entries can be read: the cursor stays two minutes behind."""
    mention(twin, clock, "first")
    clock.pass_by(minutes=10)
    _, cursor = await bench.drain("notifications")
    twin.notification_lag = timedelta(seconds=90)
    slow = mention(twin, clock, "slow")
    twin.notification_lag = timedelta()
    quick = mention(twin, clock, "quick")
    pages, cursor = await bench.drain("notifications", cursor)
    assert ids(bench, pages) == [quick]
    clock.pass_by(minutes=2)
    pages, cursor = await bench.drain("notifications", cursor)
    assert slow in ids(bench, pages)
    clock.pass_by(minutes=5)
    _, cursor = await bench.drain("notifications", cursor)
    assert await bench.drain("notifications", cursor) == ([], cursor)


async def test_a_server_that_does_not_know_min_id_does_not_keep_it_busy(plugin: MastodonSource) -> None:
    notification = {"id": "77", "type": "mention", "created_at": "2026-11-23T12:00:00.000Z"}
    stuck = httpx2.MockTransport(lambda _: httpx2.Response(200, json=[notification]))
    async with httpx2.AsyncClient(transport=stuck) as client:
        odd = MastodonSource(dataclasses.replace(plugin.setup, http=client))
        first = await odd.poll("notifications", {"after": "1"})
        assert first.more
        assert not (await odd.poll("notifications", first.cursor)).more


async def test_a_strangers_mention_that_the_server_hides_is_read(
    twin: MastodonTwin, bench: BenchLike, clock: StillTime
) -> None:
    id = mention(twin, clock)
    assert twin.state.notifications[0].filtered
    pages, _ = await bench.drain("notifications")
    assert ids(bench, pages) == [id]


async def test_own_posts_come_as_outbound(twin: MastodonTwin, bench: BenchLike, clock: StillTime) -> None:
    theirs = mention(twin, clock)
    twin.boost("support", theirs)
    own = twin.post("support", f"@{RITA} hello", theirs)
    alone = twin.direct_message("support", RITA, "in private")
    pages, _ = await bench.drain("own")
    found = bench.heard(pages)
    assert [(item.external_id, item.direction, item.visibility) for item in found] == [
        (f"masto.acme.example/{own}", "outbound", "public"),
        (f"masto.acme.example/{alone}", "outbound", "private"),
    ]
    assert found[0].in_reply_to == f"masto.acme.example/{theirs}"


# what the stream did not tell


async def test_an_edit_and_a_deletion_are_seen_by_listing_again(
    twin: MastodonTwin, bench: BenchLike, clock: StillTime
) -> None:
    edited, deleted, kept = (mention(twin, clock, word) for word in ("one", "two", "three"))
    pages, cursor = await bench.drain("changes")
    assert pages == []
    clock.pass_by(minutes=10)
    assert await bench.drain("changes", cursor) == ([], cursor), "not due yet"
    twin.edit(edited, f"{SUPPORT} one, and it burns")
    clock.pass_by(minutes=1)
    twin.edit(edited, f"{SUPPORT} one, and it burns, and smells")
    twin.delete(deleted)
    clock.pass_by(minutes=30)
    pages, cursor = await bench.drain("changes", cursor)
    news = bench.news(pages)
    assert [item.external_id for item in news if isinstance(item, Deletion)] == [f"masto.acme.example/{deleted}"]
    versions = sorted(
        {(item.edited_at or item.published_at, item.text) for item in news if isinstance(item, Interaction)}
    )
    assert [text.removeprefix("@support ") for _, text in versions] == [
        "one",
        "one, and it burns",
        "one, and it burns, and smells",
    ]
    assert kept not in str(pages)
    clock.pass_by(minutes=31)
    assert (await bench.drain("changes", cursor))[0] == []


async def test_what_left_the_listing_by_age_is_not_asked_for(
    make: Make, twin: MastodonTwin, bench: BenchLike, clock: StillTime
) -> None:
    plugin = make(config={"recheck_days": 1})
    id = mention(twin, clock)
    _, cursor = await bench.drain("changes", plugin=plugin)
    assert id in Recheck.model_validate(cursor).seen
    clock.pass_by(days=2)
    twin.requests.clear()
    pages, cursor = await bench.drain("changes", cursor, plugin=plugin)
    assert pages == []
    assert [path for _, path, _ in twin.requests] == ["/api/v1/notifications"]


async def test_more_mentions_than_are_listed_are_not_taken_for_deleted(
    twin: MastodonTwin, bench: BenchLike, clock: StillTime
) -> None:
    first = [mention(twin, clock, f"{number}") for number in range(30)]
    _, cursor = await bench.drain("changes")
    for number in range(420):
        mention(twin, clock, f"flood {number}")
    clock.pass_by(minutes=31)
    twin.requests.clear()
    pages, cursor = await bench.drain("changes", cursor)
    assert pages == []
    assert not any(id in path for id in first for _, path, _ in twin.requests)
    assert len(str(cursor)) < 60_000


async def test_many_questions_are_asked_over_several_polls(
    twin: MastodonTwin, bench: BenchLike, plugin: MastodonSource, clock: StillTime
) -> None:
    gone = [mention(twin, clock, f"{number}") for number in range(45)]
    _, cursor = await bench.drain("changes")
    for id in gone:
        twin.delete(id)
    clock.pass_by(minutes=31)
    page = await plugin.poll("changes", cursor)
    assert (len(page.pages), page.more) == (20, True)
    # a poll that fails is repeated with the same cursor
    twin.faults.append(Fault("status_before", path="/api/v1/statuses/", status=503))
    with pytest.raises(Retry):
        await plugin.poll("changes", page.cursor)
    rest, _ = await bench.drain("changes", page.cursor)
    found = {item.external_id for item in bench.news([*page.pages, *rest]) if isinstance(item, Deletion)}
    assert found == {f"masto.acme.example/{id}" for id in gone}


# trouble


@pytest.mark.parametrize(
    ("status", "error", "code"),
    [
        (401, Reauthorise, "token_refused"),
        (403, Rejected, "http_403"),
        (503, Retry, "http_503"),
        (429, Retry, "http_429"),
    ],
)
async def test_refusals(
    twin: MastodonTwin, plugin: MastodonSource, status: int, error: type[Exception], code: str
) -> None:
    twin.faults.append(Fault("status_before", status=status, body=b'{"error":"No"}'))
    with pytest.raises(error) as caught:
        await plugin.poll("notifications", None)
    assert caught.value.code == code  # type: ignore[attr-defined]


async def test_the_limit_is_kept_and_said(twin: MastodonTwin, plugin: MastodonSource, clock: StillTime) -> None:
    url = f"{twin.url}/api/v1/notifications"
    token = {"authorization": f"Bearer {twin.state.account('support').token}"}
    response = await plugin.http.get(url, headers=token)
    (reading,) = plugin.limits_of(response, "read")
    assert (reading.bucket, reading.limit, reading.remaining) == ("*", 300, 299)
    assert reading.resets_at == clock.now() + timedelta(minutes=5)
    twin.wire._used = dict.fromkeys(twin.wire._used, 300)
    clock.pass_by(minutes=1)
    with pytest.raises(Retry) as caught:
        await plugin.poll("notifications", None)
    assert caught.value.after == timedelta(minutes=4)
    assert caught.value.bucket is None, "all calls rest"


async def test_no_such_stream(plugin: MastodonSource) -> None:
    with pytest.raises(Rejected):
        await plugin.poll("homes", None)
