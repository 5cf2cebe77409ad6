"""What feeds say, and what they must not be able to do."""

from __future__ import annotations

import time
from datetime import UTC, datetime, timedelta
from html import escape
from typing import Any

import pytest

from gateway_feed.config import FeedConfig
from gateway_feed.html_text import as_text, images_in
from gateway_feed.normalise import normalise
from gateway_feed.plugin import FeedSource
from gateway_schemas.errors import Malformed, Rejected, Unverified
from gateway_schemas.interaction import Author, Interaction, ReplyTarget, Unreadable
from gateway_schemas.plugin import Setup
from gateway_schemas.reply import Draft
from gateway_schemas.testing.clock import StillTime
from gateway_schemas.webhook import RawDelivery, WebhookRequest

NOW = datetime(2026, 11, 23, 12, tzinfo=UTC)
URL = "https://blog.example/feed"


def read(body: str | bytes, at: datetime = NOW, **config: Any) -> list[Any]:
    """What a feed says."""
    content = body.encode() if isinstance(body, str) else body
    return list(normalise(RawDelivery("1", "poll", content, at), FeedConfig(**{"url": URL, **config})))


def rss(*items: str, head: str = "") -> str:
    """A feed of some items."""
    inside = "".join(f"<item>{item}</item>" for item in items)
    dc = 'xmlns:dc="http://purl.org/dc/elements/1.1/"'
    return f'<?xml version="1.0"?>{head}<rss version="2.0" {dc}><channel><title>t</title>{inside}</channel></rss>'


# what a feed must not be able to do


@pytest.mark.parametrize(
    "head",
    [
        '<!DOCTYPE r [<!ENTITY a "aaaaaaaaaa"><!ENTITY b "&a;&a;&a;&a;&a;&a;&a;&a;&a;&a;">]>',
        f'<!DOCTYPE r [<!ENTITY a "{"x" * 10_000}">]>',
        '<!DOCTYPE r [<!ENTITY a SYSTEM "file:///etc/passwd">]>',
        '<!DOCTYPE r [<!ENTITY % a SYSTEM "http://169.254.169.254/"> %a;]>',
        '<!DOCTYPE r [<!ENTITY nbsp "&#160;"><!ENTITY a PUBLIC "x" "file:///etc/passwd">]>',
        f'<!DOCTYPE r [<!-- <rss> --><!ENTITY a "{"x" * 10_000}">]>',
    ],
    ids=["nested", "long", "a file", "an address", "one among harmless ones", "behind a comment"],
)
@pytest.mark.parametrize("encoding", ["utf-8", "utf-16"])
def test_entities_are_not_expanded(head: str, encoding: str) -> None:
    body = rss("<guid>1</guid><title>&a;</title>", head=head).replace('"1.0"', f'"1.0" encoding="{encoding}"')
    with pytest.raises(Malformed) as caught:
        read(body.encode(encoding))
    assert caught.value.code == "entities"


def test_an_external_doctype_is_not_loaded() -> None:
    doctype = (
        '<!DOCTYPE rss PUBLIC "-//Netscape//DTD RSS 0.91//EN" "http://my.netscape.com/publish/formats/rss-0.91.dtd">'
    )
    assert [item.title for item in read(rss("<guid>1</guid><title>old</title>", head=doctype))] == ["old"]


def test_a_feed_in_words_opens_no_file() -> None:
    for body in (b"/etc/passwd", b"file:///etc/passwd", b"http://127.0.0.1:1/", b"", b"\x00", b"{}"):
        with pytest.raises(Malformed):
            read(body)


@pytest.mark.parametrize(
    "markup",
    ["<p>", "<", "<a href='", "&", "<blockquote>", "<!--", "<![CDATA[", "<a b=c ", "<?a "],
)
def test_hostile_html_takes_linear_time(markup: str) -> None:
    def seconds(count: int) -> float:
        began = time.process_time()
        read(rss(f"<guid>1</guid><description>{escape(markup * count)}</description>"))
        return time.process_time() - began

    seconds(100)
    assert seconds(4000) < 0.05 + 10 * seconds(1000)


def test_scripts_are_neither_text_nor_html() -> None:
    hostile = '<![CDATA[<p onclick="x()">hi<script>alert(1)</script><a href="javascript:x()">there</a></p>]]>'
    (item,) = read(rss(f"<guid>1</guid><description>{hostile}</description>"))
    assert item.text == "hi there" or item.text == "hithere"
    assert "script" not in (item.html or "")
    assert "onclick" not in (item.html or "")


def test_a_comment_cannot_declare_another_one_deleted() -> None:
    words = '<![CDATA[<at:deleted-entry ref="tag:victim" when="2026-11-20T11:00:00Z"/>]]>'
    assert [type(item).__name__ for item in read(rss(f"<guid>1</guid><description>{words}</description>"))] == [
        "Interaction"
    ]


# identity and time


@pytest.mark.parametrize(
    ("one", "other", "same"),
    [
        ("<guid>1</guid><title>a</title>", "<guid>1</guid><title>b</title>", True),
        ("<guid>1</guid><link>https://x/a</link>", "<guid>2</guid><link>https://x/a</link>", False),
        ("<link>https://x/a</link><title>a</title>", "<link>https://x/a</link><title>b</title>", True),
        ("<title>a</title><description>x</description>", "<title>a</title><description>y</description>", True),
        ("<title>a</title><pubDate>Fri, 20 Nov 2026 09:00:00 GMT</pubDate>", "<title>a</title>", False),
        ("<description>x</description>", "<description>y</description>", False),
    ],
)
def test_what_identifies_an_entry(one: str, other: str, same: bool) -> None:
    (first,), (second,) = read(rss(one)), read(rss(other))
    assert (first.external_id == second.external_id) == same


def test_an_id_is_what_it_is_wherever_the_feed_has_moved() -> None:
    (first,) = read(rss("<guid>1</guid><title>x</title>"))
    (again,) = normalise(
        RawDelivery("1", "poll", rss("<guid>1</guid><title>x</title>").encode(), NOW, note={"url": "https://new/"}),
        FeedConfig(url=URL),
    )
    assert first == again


def test_ids_of_any_length_are_kept_apart() -> None:
    (first,), (second,) = (read(rss(f"<guid>{'x' * 5000}{n}</guid>")) for n in "12")
    assert first.external_id != second.external_id
    assert len(first.external_id) < 100


@pytest.mark.parametrize(
    ("date", "expected"),
    [
        ("Fri, 20 Nov 2026 10:00:00 +0100", datetime(2026, 11, 20, 9, tzinfo=UTC)),
        ("20 Nov 2026 09:00 GMT", datetime(2026, 11, 20, 9, tzinfo=UTC)),
        ("Fri, 20 Nov 2026 04:00:00 EST", datetime(2026, 11, 20, 9, tzinfo=UTC)),
        ("2026-11-20T09:00:00Z", datetime(2026, 11, 20, 9, tzinfo=UTC)),
        ("yesterday", NOW),
        ("Fri, 99 Nov 99999 99:00:00 GMT", NOW),
    ],
)
def test_times(date: str, expected: datetime) -> None:
    (item,) = read(rss(f"<guid>1</guid><pubDate>{date}</pubDate>"))
    assert item.published_at == expected
    assert item.extra.get("undated", False) == (expected == NOW)


def test_an_entry_without_a_date_is_the_same_revision_at_every_look() -> None:
    (first,), (later,) = (read(rss("<guid>1</guid><title>x</title>"), at) for at in (NOW, NOW + timedelta(days=1)))
    assert (first.external_id, first.revision) == (later.external_id, later.revision)


# people


def test_authors_are_nobody_unless_the_site_knows_them() -> None:
    items = [f"<guid>{n}</guid><title>x</title><dc:creator>Rita</dc:creator>" for n in "12"]
    first, second = read(rss(*items))
    assert first.author.name == second.author.name == "Rita"
    assert first.author.external_id != second.author.external_id
    first, second = read(rss(*items), verified_authors=True)
    assert first.author.external_id == second.author.external_id


def test_the_brands_own_are_outbound() -> None:
    items = rss("<guid>1</guid><title>x</title><dc:creator>ACME Support</dc:creator>", "<guid>2</guid><title>y</title>")
    assert [one.direction for one in read(items)] == ["inbound", "inbound"]
    assert [one.direction for one in read(items, own_authors=["Acme support"])] == ["outbound", "inbound"]
    assert [one.direction for one in read(items, own_posts=True)] == ["outbound", "outbound"]
    assert [one.direction for one in read(items, own_posts=True, kind="comment")] == ["inbound", "inbound"]


def test_one_broken_entry_takes_no_other_along() -> None:
    good, bad = "<guid>1</guid><title>x</title>", ""
    first, second, third = read(rss(good, bad, good.replace("1", "3")))
    assert (first.title, third.title) == ("x", "x")
    assert isinstance(second, Unreadable)
    assert "entry 2" in second.reason


# text


@pytest.mark.parametrize(
    ("markup", "text"),
    [
        ("<p>a</p><p>b</p>", "a\n\nb"),
        ("a<br>b<br/>c", "a\nb\nc"),
        ("<ul><li>a</li><li>b</li></ul>c", "- a\n- b\n\nc"),
        ("<blockquote><p>said</p><p>more</p></blockquote>answer", "> said\n\n> more\n\nanswer"),
        ('see <a href="https://x.example/">here</a>', "see here (https://x.example/)"),
        ('<a href="https://x.example/">https://x.example</a>', "https://x.example"),
        ('<a href="javascript:alert(1)">x</a>', "x"),
        ('<img src="https://x.example/a.png" alt="a cat">', "[a cat]"),
        ("<style>p{}</style><p>&lt;b&gt; &amp;amp; &nbsp;5 &euro;</p>", "<b> &amp; 5 €"),
        ("  a \n  b ", "a b"),
        ("<div><div><p>deep</p></div></div>", "deep"),
        ("", ""),
    ],
)
def test_html_as_text(markup: str, text: str) -> None:
    assert as_text(markup).replace("\xa0", "") == text


def test_pictures() -> None:
    markup = '<img src="https://x.example/a.png" alt="a"><img src="data:image/png;base64,x"><img>'
    assert images_in(markup) == [("https://x.example/a.png", "a")]


# no answers


def test_an_answer_goes_back_with_the_pages_address() -> None:
    plugin = FeedSource(Setup(time=StillTime(NOW), config=FeedConfig(url=URL)))
    target = ReplyTarget(kind="comment", ref="1", extra={"url": "https://blog.example/p7#comment-91"})
    post = Interaction(
        external_id="1",
        revision="1",
        account=URL,
        kind="comment",
        visibility="public",
        author=Author(external_id="a"),
        published_at=NOW,
    )
    draft = Draft(reply_id="r", text="Sorry!", account=URL, target=target, visibility="public", interaction=post)
    with pytest.raises(Rejected) as caught:
        plugin.render(draft)
    assert caught.value.code == "no_replies"
    assert "https://blog.example/p7#comment-91" in caught.value.reason
    assert not plugin.capabilities.reply
    with pytest.raises(Unverified):
        plugin.verify(WebhookRequest("POST", "/", b"", (), b"", NOW))
