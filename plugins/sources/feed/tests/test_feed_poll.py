"""Asking with manners: conditional requests, pauses, redirects, a feed that ended."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import httpx2
import pytest

from gateway_feed.config import FeedConfig
from gateway_feed.manners import max_age, pause, resting, skips
from gateway_feed.twin import FeedTwin
from gateway_schemas.errors import Gone, Malformed, Reauthorise, Rejected, Retry
from gateway_schemas.interaction import Deletion, Interaction
from gateway_schemas.testing.in_process import TWIN_URL, transport_of
from gateway_schemas.testing.twin import Fault

BenchLike = Any


@pytest.mark.parametrize("validators", ["both", "etag", "modified"])
async def test_only_what_is_new_is_asked_for(bench: BenchLike, twin: FeedTwin, validators: str) -> None:
    twin.site("blog").validators = validators
    assert len(await bench.poll()) == 1
    bench.clock.pass_by(minutes=15)
    assert await bench.poll() == []
    twin.post("blog", "Bo", "<p>news</p>")
    bench.clock.pass_by(minutes=15)
    (page,) = await bench.poll()
    assert bench.statuses() == [200, 304, 200]
    assert [item.text for item in bench.news([page])] == ["news", "Our new app is out."]


async def test_a_server_without_validators_is_read_and_the_same_stored_once(bench: BenchLike, twin: FeedTwin) -> None:
    twin.site("blog").validators = "none"
    assert len(await bench.poll()) == 1
    assert await bench.poll() == []
    assert bench.statuses() == [200, 200]


async def test_validators_move_only_with_what_they_are_of(bench: BenchLike, twin: FeedTwin) -> None:
    await bench.poll()
    before = bench.cursor
    twin.post("blog", "Bo", "<p>news</p>")
    lost = await bench.make().poll("entries", before)  # read, and never stored
    assert len(lost.pages) == 1
    assert len(await bench.poll()) == 1


async def test_another_address_begins_anew(bench: BenchLike, twin: FeedTwin) -> None:
    await bench.poll()
    assert len(await bench.poll(bench.make(feed="feed.atom"))) == 1
    assert bench.statuses() == [200, 200]


async def test_a_page_that_is_no_feed_is_not_remembered(bench: BenchLike, twin: FeedTwin) -> None:
    await bench.poll()
    before = bench.cursor
    body = b"<!doctype html><html><body>Back soon</body></html>"
    twin.faults.append(Fault("status_before", status=200, body=body, headers={"etag": '"x"'}))
    with pytest.raises(Malformed):
        await bench.poll()
    assert bench.cursor == before


# pauses


async def test_a_feed_is_not_asked_before_its_ttl(bench: BenchLike, twin: FeedTwin) -> None:
    twin.site("blog").ttl = 120
    await bench.poll()
    bench.clock.pass_by(minutes=60)
    assert await bench.poll() == []
    bench.clock.pass_by(minutes=60)
    assert await bench.poll() == []
    bench.clock.pass_by(minutes=60)
    await bench.poll()
    assert bench.statuses() == [200, 304], "the pause holds after an answer without a body, too"


async def test_hours_to_skip_are_skipped(bench: BenchLike, twin: FeedTwin) -> None:
    twin.site("blog").skip_hours = [13, 14]
    await bench.poll()
    for _ in range(12):
        bench.clock.pass_by(minutes=15)
        await bench.poll()
    assert len(bench.statuses()) == 1 + 3 + 1  # until 12:45, and again at 15:00


async def test_retry_after_is_heeded(bench: BenchLike, twin: FeedTwin) -> None:
    twin.faults.append(Fault("status_before", status=503, headers={"retry-after": "7200"}))
    with pytest.raises(Retry) as caught:
        await bench.poll()
    assert caught.value.after == timedelta(hours=2)


@pytest.mark.parametrize(
    ("head", "cache", "expected"),
    [
        (b"", "", 0),
        (b"<ttl>90</ttl>", "", 90),
        (b"<ttl> 90 </ttl>", "public, max-age=10800", 180),
        (b"<ttl>999999</ttl>", "", 1440),
        (b"<ttl>soon</ttl>", "no-cache", 0),
        (b"<sy:updatePeriod>hourly</sy:updatePeriod><sy:updateFrequency>2</sy:updateFrequency>", "", 30),
        (b"<sy:updatePeriod>weekly</sy:updatePeriod>", "max-age=99999999", 1440),
        (b"<item><ttl>90</ttl></item>", "", 0),
    ],
)
def test_how_long_a_feed_asks_to_be_left_alone(head: bytes, cache: str, expected: int) -> None:
    response = httpx2.Response(200, headers={"cache-control": cache})
    assert pause(b"<rss><channel>" + head, response) == timedelta(minutes=expected)
    assert pause(("<rss>" + head.decode()).encode("utf-16"), response) == timedelta(minutes=expected)
    assert max_age(response) <= timedelta(days=1)


def test_days_and_hours_to_skip() -> None:
    body = b"<rss><skipDays><day>Sunday</day><day>someday</day></skipDays><skipHours><hour>24</hour></skipHours>"
    assert skips(body) == ([0], [6])
    assert resting(datetime(2026, 11, 22, 9, tzinfo=UTC), [0], [6]), "a Sunday"
    assert resting(datetime(2026, 11, 23, 0, 30, tzinfo=UTC), [0], [6])
    assert not resting(datetime(2026, 11, 23, 9, tzinfo=UTC), [0], [6])
    never = b"<skipHours>" + b"".join(b"<hour>%d</hour>" % hour for hour in range(24)) + b"</skipHours>"
    assert skips(never) == ([], []), "a feed that is never to be read is read"


# redirects, ends


async def test_a_lasting_move_is_remembered_and_a_passing_one_not(bench: BenchLike, twin: FeedTwin) -> None:
    twin.add_site("new", "Acme's new blog")
    twin.post("new", "Acme", "<p>moved</p>")
    old = twin.site("blog")
    old.moved_to, old.permanently = "/new/feed.xml", False
    assert len(await bench.poll()) == 1
    assert "url" not in bench.cursor
    old.permanently = True
    await bench.poll()
    assert bench.cursor["url"] == f"{TWIN_URL}/new/feed.xml"
    asked = len(twin.requests)
    await bench.poll()
    assert [path for _, path, _ in twin.requests[asked:]] == ["/new/feed.xml"]
    (finding,) = (await bench.make().check()).findings
    assert (finding.code, finding.severity) == ("moved", "warning")


async def test_where_it_had_moved_to_ends_and_the_first_address_is_tried(bench: BenchLike, twin: FeedTwin) -> None:
    twin.add_site("new", "Acme's new blog")
    twin.site("blog").moved_to = "/new/feed.xml"
    await bench.poll()
    twin.site("blog").moved_to = None
    twin._sites.pop("new")
    assert len(await bench.poll()) == 1
    assert "url" not in bench.cursor
    twin._sites.clear()
    with pytest.raises(Gone):
        await bench.poll()


@pytest.mark.parametrize(
    ("location", "code"),
    [
        ("https://evil.example/feed.xml", "moved_elsewhere"),
        ("http://169.254.169.254/latest/meta-data", "moved_elsewhere"),
        ("file:///etc/passwd", "moved_elsewhere"),
        ("/blog/feed.xml", "redirect_loop"),
        ("", "redirect_invalid"),
    ],
)
async def test_redirects_that_are_not_followed(bench: BenchLike, twin: FeedTwin, location: str, code: str) -> None:
    headers = {"location": location} if location else {}
    twin.faults.append(Fault("status_before", status=302, headers=headers, times=None))
    with pytest.raises(Rejected) as caught:
        await bench.poll()
    assert caught.value.code == code
    assert transport_of(bench.http).strayed == []


def test_where_requests_may_go() -> None:
    config = FeedConfig(url="http://Blog.Example.com/feed#top", redirect_hosts=["feeds.example.net"])
    assert config.url == "http://blog.example.com/feed"
    assert config.origins == (
        "http://blog.example.com",
        "https://blog.example.com",
        "http://www.blog.example.com",
        "https://www.blog.example.com",
        "https://feeds.example.net",
    )


@pytest.mark.parametrize("url", ["ftp://x.example/", "feed.xml", "https://", "https://me:secret@x.example/feed"])
def test_what_is_no_address(url: str) -> None:
    with pytest.raises(ValueError, match="url"):
        FeedConfig(url=url)


async def test_a_feed_that_is_gone_is_left_alone_and_said_so(bench: BenchLike, twin: FeedTwin) -> None:
    await bench.poll()
    twin.site("blog").gone = True
    await bench.poll()
    for _ in range(3):
        bench.clock.pass_by(hours=1)
        with pytest.raises(Rejected) as caught:
            await bench.poll()
        assert caught.value.code == "feed_gone"
    assert bench.statuses() == [200, 410]
    (finding,) = (await bench.make().check()).findings
    assert (finding.code, finding.severity) == ("feed_gone", "error")
    twin.site("blog").gone = False
    bench.clock.pass_by(days=1)
    assert len(await bench.poll()) == 1, "once a day somebody looks whether it is back"


async def test_credentials_go_to_the_feeds_own_host_only(bench: BenchLike, twin: FeedTwin) -> None:
    twin.site("blog").authorization = "Bearer s3cret"
    with pytest.raises(Reauthorise):
        await bench.poll()
    plugin = bench.make(authorization="Bearer s3cret", redirect_hosts=["127.0.0.2:1"])
    await bench.poll(plugin)
    assert "s3cret" not in repr(plugin.setup)
    twin.faults.append(Fault("status_before", status=302, headers={"location": "https://127.0.0.2:1/feed"}))
    seen: list[str | None] = []

    async def note(request: httpx2.Request) -> None:
        seen.append(request.headers.get("authorization"))

    bench.http.event_hooks["request"].append(note)
    with pytest.raises(Retry):  # nobody listens there
        await bench.poll(plugin)
    assert seen == ["Bearer s3cret", None]


# what is told


async def test_an_edit_is_seen_with_and_without_a_date(bench: BenchLike, twin: FeedTwin) -> None:
    plugin = bench.make(feed="feed.atom")
    post = twin.post("blog", "Rita", "<p>bad</p>")
    (first, _) = bench.news(await bench.poll(plugin), plugin)
    bench.clock.pass_by(hours=1)
    twin.edit(post, html="<p>very bad</p>")
    (second, _) = bench.news(await bench.poll(plugin), plugin)
    twin.site("blog").silent_edits = True
    bench.clock.pass_by(hours=1)
    twin.edit(post, html="<p>not so bad</p>")
    twin.site("blog").validators = "none"
    (third, _) = bench.news(await bench.poll(plugin), plugin)
    assert len({first.external_id, second.external_id, third.external_id}) == 1
    assert len({first.revision, second.revision, third.revision}) == 3
    assert [second.edited_at, third.edited_at] == [bench.clock.now() - timedelta(hours=1)] * 2


async def test_a_deletion_is_seen_where_atom_names_it(bench: BenchLike, twin: FeedTwin) -> None:
    plugin = bench.make(feed="comments.atom")
    post = next(iter(twin._entries))
    first, second = (twin.comment(post, "Rita", f"<p>{n}</p>") for n in "12")
    twin.delete(first)
    news = bench.news(await bench.poll(plugin), plugin)
    assert [item.external_id for item in news if isinstance(item, Deletion)] == [first]
    (comment,) = [item for item in news if isinstance(item, Interaction)]
    assert (comment.external_id, comment.kind, comment.in_reply_to) == (second, "comment", post)


async def test_what_is_not_listed_any_more_is_not_gone(bench: BenchLike, twin: FeedTwin) -> None:
    twin.site("blog").listed = 2
    for number in range(5):
        bench.clock.pass_by(minutes=1)
        twin.post("blog", "Rita", f"<p>{number}</p>")
    news = bench.news(await bench.poll())
    assert [item.text for item in news] == ["4", "3"]


async def test_every_encoding(bench: BenchLike, twin: FeedTwin) -> None:
    twin.post("blog", "Zoë", "<p>Größe 漢字 €</p>", title="naïve")
    texts = set()
    for encoding in ("utf-8", "utf-16", "iso-8859-15", "windows-1252", "shift_jis"):
        twin.site("blog").encoding = encoding
        item = bench.news(await bench.poll())[0]
        texts.add((item.text, item.title, item.author.name))
    assert texts == {("Größe 漢字 €", "naïve", "Zoë")}


# set-up


async def test_discover_lists_the_feeds_of_a_page(bench: BenchLike, twin: FeedTwin) -> None:
    found = await bench.make(feed="").discover()
    assert [one.config["url"].rpartition("/")[2] for one in found] == [
        "feed.xml",
        "feed.atom",
        "comments.xml",
        "comments.atom",
    ]
    (own,) = await bench.make().discover()
    assert (own.name, own.external_id) == ("Acme's blog", f"{TWIN_URL}/blog/feed.xml")


async def test_check_says_what_is_missing(bench: BenchLike, twin: FeedTwin) -> None:
    async def codes(feed: str = "feed.xml") -> list[str]:
        return [one.code for one in (await bench.make(feed=feed).check()).findings]

    assert await codes() == []
    assert await codes("") == ["not_a_feed"]
    assert await codes("other.xml") == ["not_found"]
    assert await codes("comments.atom") == ["no_entries"]
    poor = b"<rss version='2.0'><channel><item><title>a & b</title></item></channel></rss>"
    twin.faults.append(Fault("status_before", status=200, body=poor))
    assert await codes() == ["not_well_formed", "no_ids", "no_dates"]
    twin.faults.append(Fault("status_before", status=302, headers={"location": "https://other.example/"}))
    assert await codes() == ["moved_elsewhere"]
    twin.site("blog").authorization = "x"
    assert await codes() == ["http_401"]
