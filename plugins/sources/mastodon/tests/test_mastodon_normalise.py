"""What pages say: who may read a post, who it speaks to, what it says, and what holds over its edits."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from gateway_mastodon.html import html_to_text
from gateway_mastodon.plugin import MastodonSource
from gateway_mastodon.twin import MastodonTwin
from gateway_schemas.errors import Malformed, Unverified
from gateway_schemas.interaction import Interaction
from gateway_schemas.plugin import Setup
from gateway_schemas.testing.recordings import Recordings
from gateway_schemas.time import SystemTime
from gateway_schemas.webhook import RawDelivery, WebhookRequest

NOW = datetime(2026, 11, 23, 12, 0, tzinfo=UTC)
RECORDINGS = Recordings(Path(__file__).parents[1] / "fixtures", MastodonSource)
RITA = "rita@example.social"
SUPPORT = "@support@masto.acme.example"
BenchLike = Any


@pytest.fixture(scope="module")
def pure() -> MastodonSource:
    """An instance that knows nothing but its class."""
    return MastodonSource(Setup(time=SystemTime()))


def delivery(name: str, body: bytes | None = None) -> RawDelivery:
    """A recorded delivery; `body` puts another body under the note of its kind."""
    if body is None:
        return RECORDINGS.delivery(name)
    note = json.loads(json.dumps(RECORDINGS.special(name).get("note", {})))
    return RawDelivery("1", "poll", body, NOW, note=note)


def only(items: Any) -> Interaction:
    (found,) = [item for item in items if isinstance(item, Interaction)]
    return found


def changed(pure: MastodonSource, **changes: Any) -> Interaction:
    """The edited post of the fixtures with some fields changed; None takes one away."""
    status = json.loads(RECORDINGS.files["fetch_status__edited"].read_bytes()) | changes
    return only(pure.normalise(delivery("fetch_status__x", json.dumps(status).encode())))


def test_the_newest_version_is_the_same_by_its_history_and_by_itself(pure: MastodonSource) -> None:
    history = [
        item for item in pure.normalise(delivery("fetch_history__three_versions")) if isinstance(item, Interaction)
    ]
    assert len({item.revision for item in history}) == 3
    assert {item.external_id for item in history} == {"masto.acme.example/113512345678901700"}
    assert [item.edited_at is None for item in history] == [True, False, False]
    assert history[-1] == changed(pure)
    first = only(pure.normalise(delivery("poll_notifications__unknown_types_and_one_broken")))
    assert first.revision == history[0].revision, "polled before the edits"


@pytest.mark.parametrize(
    ("visibility", "seen_by", "kind", "answer"),
    [
        ("public", "public", "post", "mention"),
        ("unlisted", "public", "post", "mention"),
        ("private", "private", "post", "direct_message"),
        ("direct", "private", "direct_message", "direct_message"),
        ("something new", "private", "post", "direct_message"),
    ],
)
def test_visibility(pure: MastodonSource, visibility: str, seen_by: str, kind: str, answer: str) -> None:
    post = changed(pure, visibility=visibility)
    assert post.reply_target is not None
    assert (post.visibility, post.kind, post.reply_target.kind) == (seen_by, kind, answer)


@pytest.mark.parametrize(
    ("changes", "addressed"),
    [
        ({"mentions": []}, False),
        ({}, True),
        ({"mentions": [{"id": "5", "acct": "support@elsewhere.example"}]}, False),
        ({"mentions": [], "in_reply_to_id": "1", "in_reply_to_account_id": "109000000000000001"}, True),
        ({"mentions": [], "in_reply_to_id": "1", "in_reply_to_account_id": "7"}, False),
    ],
)
def test_who_is_spoken_to(pure: MastodonSource, changes: dict[str, Any], addressed: bool) -> None:
    assert changed(pure, **changes).addressed is addressed


def test_servers_without_edits_have_revisions_all_the_same(pure: MastodonSource) -> None:
    before = only(pure.normalise(delivery("poll_notifications__other_software")))
    body = RECORDINGS.files["poll_notifications__other_software"].read_bytes()
    after = only(pure.normalise(delivery("poll_notifications__x", body.replace(b"slow", b"very slow"))))
    assert before.revision != after.revision
    assert before.external_id == after.external_id


@pytest.mark.parametrize(
    ("name", "body", "word"),
    [
        ("poll_notifications__x", b"{}", "list of notifications"),
        ("poll_notifications__x", b"[1]", "notification"),
        ("poll_notifications__x", b"[", "JSON"),
        ("fetch_status__x", b'{"id": "1"}', "created_at"),
        ("fetch_context__x", b"[]", "around"),
        ("fetch_history__x", b"{}", "versions"),
        ("listen_event__x", b'{"event":"delete","payload":"../.."}', "payload"),
        ("listen_event__x", b'{"event":"filters_changed"}', "deletion"),
    ],
)
def test_what_cannot_be_read_says_why(pure: MastodonSource, name: str, body: bytes, word: str) -> None:
    with pytest.raises(Malformed, match=word):
        pure.normalise(delivery(name, body))


@pytest.mark.parametrize(
    ("note", "word"),
    [({}, "account"), ({"kind": "lists"}, "lists"), ({"kind": "gone"}, "ref"), ({"kind": "gone", "ref": "x/1"}, "ref")],
)
def test_a_page_with_a_wrong_note_is_malformed(pure: MastodonSource, note: dict[str, Any], word: str) -> None:
    view = {"account": "support@masto.acme.example", "account_id": "1", "home": "masto.acme.example"}
    with pytest.raises(Malformed, match=word):
        pure.normalise(RawDelivery("1", "poll", b"[]", NOW, note={**view, **note} if note else {}))


def test_there_is_no_door(pure: MastodonSource) -> None:
    with pytest.raises(Unverified):
        pure.verify(WebhookRequest("POST", "/", b"", (), b"{}", NOW))


async def test_the_twins_html_comes_back_as_it_was_written(twin: MastodonTwin, bench: BenchLike) -> None:
    """The twin makes HTML as Mastodon does; what a person typed is what an agent reads, but for names' servers."""
    link = "https://example.com/a/long/address/that/is/cut?in=two&and=more"
    written = f'see {link} #slow1 <b>\n& "this"\n\nbye @nobody@nowhere.example'
    id = twin.post(RITA, f"{SUPPORT} {written}", media=[twin.picture(RITA, b"jpeg", alt_text="a thing")])
    heard = await bench.read(id)
    assert heard.text == f"@support {written}"
    assert heard.mentions == ("support@masto.acme.example",)
    (picture,) = heard.attachments
    assert (picture.media_type, picture.alt_text) == ("image/jpeg", "a thing")
    assert (await bench.plugin.download(picture)).body == b"jpeg"


@pytest.mark.parametrize(
    ("html", "text"),
    [
        ("", ""),
        ("<p>a</p><p>b</p>", "a\n\nb"),
        ("a<br>b<br/>c", "a\nb\nc"),
        ("<p>x &amp;&nbsp;y</p>", "x & y"),
        ("<ul><li>one</li><li>two</li></ul>", "- one\n- two"),
        ('<a href="https://e.example/x">here</a>', "here (https://e.example/x)"),
        ('<a href="https://e.example/"><span class="invisible">https://</span>e.example</a>', "https://e.example"),
        ('<a href="javascript:alert(1)">here</a>', "here"),
        ('<a href="https://e.example/@r" class="u-url mention">@<span>r</span></a>', "@r"),
        ("<script>alert(1)</script>ok", "ok"),
        ('<p class="quote-inline">RE: x</p><p>y</p>', "y"),
        ('<p class="quote-inline">RE: x<p>never closed, still said', "never closed, still said"),
        ("<p>a  b\n c</p>", "a b c"),
        ("<pre><code>a\n  b</code></pre>", "a\nb"),
        ("<p><b>un<i>closed", "unclosed"),
        ("a < b & c", "a < b & c"),
    ],
)
def test_html(html: str, text: str) -> None:
    assert html_to_text(html) == text


def test_hostile_html_is_read_in_time(pure: MastodonSource) -> None:
    assert html_to_text("<div>" * 9_000 + "x") == "x"
    assert html_to_text("<" * 9_000)
    assert html_to_text("<p>a" * 50_000).endswith("a\n\n[…]")
    assert isinstance(html_to_text("&#0;&#xd800;"), str)
