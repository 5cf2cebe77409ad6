"""Lengths as providers count them; for X against the vendor's own vectors."""

from __future__ import annotations

import json
import time
import unicodedata
from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from gateway_schemas.length import (
    Counting,
    Weighed,
    XRules,
    length,
    weigh_x,
    weighted_x_length,
    without_leading_mentions,
)

SPECS = Path(__file__).parents[3] / "shared" / "specs" / "x"
RULES = {
    "tweets": XRules(limit=140, wide=1, emoji_as_one=False),
    "WeightedTweetsCounterTest": XRules(emoji_as_one=False),
    "WeightedTweetsWithDiscountedEmojiCounterTest": XRules(),
    "UnicodeDirectionalMarkerCounterTest": XRules(),
}
ANY_TEXT = st.text(st.characters(exclude_categories=()))
LONG = 1 << 17


def vendor(section: str) -> list[dict[str, Any]]:
    path = SPECS / "twitter-text-conformance-validate.yml"
    if not path.exists():
        pytest.skip("the vendor's vectors are not beside the repository")
    cases: list[dict[str, Any]] = yaml.safe_load(path.read_text("utf-8"))["tests"][section]
    assert cases
    return cases


def utf16(text: str) -> int:
    return len(text.encode("utf-16-le", "surrogatepass")) // 2


def as_the_vendor_reports(text: str, weighed: Weighed, limit: int) -> dict[str, Any]:
    """The vendor counts in UTF-16 units, names last positions, and shifts them by what normalising took away."""
    normal = unicodedata.normalize("NFC", text)
    shift = utf16(text) - utf16(normal)
    return {
        "weightedLength": weighed.length,
        "valid": weighed.valid,
        "permillage": weighed.length * 1000 // limit,
        "displayRangeStart": 0,
        "displayRangeEnd": utf16(text) - 1,
        "validRangeStart": 0,
        "validRangeEnd": utf16(normal[: weighed.fits]) - 1 + shift,
    }


@pytest.mark.parametrize("section", [name for name in RULES if name != "tweets"])
def test_every_vendor_vector_of_weights_and_ranges(section: str) -> None:
    for case in vendor(section):
        reported = as_the_vendor_reports(case["text"], weigh_x(case["text"], RULES[section]), 280)
        assert reported == case["expected"], case["description"]


def test_every_vendor_vector_of_validity() -> None:
    for case in vendor("tweets"):
        assert weigh_x(case["text"], RULES["tweets"]).valid is case["expected"], case["description"]


def test_weights_change_where_the_vendors_configuration_says() -> None:
    path = SPECS / "twitter-text-config-v3.json"
    if not path.exists():
        pytest.skip("the vendor's configuration is not beside the repository")
    config = json.loads(path.read_text())
    assert config["maxWeightedTweetLength"] == XRules().limit
    assert config["transformedURLLength"] == XRules().url
    assert config["defaultWeight"] == XRules().wide * config["scale"]
    light = {code for r in config["ranges"] for code in range(r["start"], r["end"] + 1)}
    for code in range(0x3000):
        # Between letters, so that nothing composes with it and no URL or emoji comes to be.
        if unicodedata.is_normalized("NFC", f"x{chr(code)}x"):
            assert weighted_x_length(f"x{chr(code)}x") == 2 + (1 if code in light else 2), hex(code)


@pytest.mark.parametrize(
    ("text", "weight"),
    [
        ("", 0),
        ("👍", 2),
        ("👍🏽", 2),
        ("👨‍👩‍👧‍👦", 2),
        ("👩🏻‍❤️‍💋‍👨🏿", 2),
        ("🏳️‍🌈", 2),
        ("🇩🇪", 2),
        ("🏴󠁧󠁢󠁥󠁮󠁧󠁿", 2),
        ("1️⃣", 2),
        ("1⃣", 2),
        ("©️", 2),
        ("©", 1),
        ("⌚️", 2),
        ("☝️🏿", 2),
        # No emoji X knows: each code point for itself.
        ("🇽🇽", 4),
        ("🇩🇪🇦", 4),
        ("🏳‍🌈", 5),
        ("👨‍👨", 5),
        ("🐱🏽", 4),
        ("👨‍👩‍👧‍👦‍👦", 5),
        # A URL goes before an emoji in it.
        ("https://example.com/1️⃣", 23 + 4),
        ("example.com👍🏽", 25),
    ],
)
def test_an_emoji_counts_two_however_it_is_put_together(text: str, weight: int) -> None:
    assert weighted_x_length(text) == weight


@pytest.mark.parametrize("refused", ["\ufeff", "\ufffe", "\uffff"])
def test_a_text_with_a_code_point_x_refuses_fits_only_up_to_it(refused: str) -> None:
    weighed = weigh_x(f"abc{refused}def")
    assert not weighed.valid
    assert weighed.fits == 3
    assert weighed.length == 8


def test_where_a_text_gets_too_long_is_before_the_whole_url_or_emoji() -> None:
    assert weigh_x("a" * 258 + " https://example.com/" + "p" * 60).fits == 259
    assert weigh_x("a" * 279 + "👨‍👩‍👧‍👦").fits == 279
    assert weigh_x("a" * 278 + "👨‍👩‍👧‍👦").fits == 278 + 7


def test_a_premium_account_may_write_more() -> None:
    text = "ä" * 25_000
    assert weigh_x(text, XRules(limit=25_000)).valid
    assert not weigh_x(text + "!", XRules(limit=25_000)).valid


@given(ANY_TEXT)
def test_what_fits_weighs_at_most_the_limit_and_one_more_code_point_does_not(text: str) -> None:
    # Without dots and with no joined emoji no code point can take part in an entity.
    text = unicodedata.normalize("NFC", "".join(c for c in text if c not in ".\ufeff\ufffe\uffff"))
    rules = XRules(limit=7, emoji_as_one=False)
    fits = weigh_x(text, rules).fits

    def plain(part: str) -> int:
        return sum(weigh_x(character, rules).length for character in part)

    assert plain(text[:fits]) <= 7
    assert fits == len(text) or plain(text[: fits + 1]) > 7


@given(ANY_TEXT)
def test_any_text_has_every_length(text: str) -> None:
    assert length(text, Counting.code_points) == len(text)
    assert length(text, Counting.utf8_bytes) == len(text.encode("utf-8", "surrogatepass"))
    assert length(text, Counting.utf16_units) == utf16(text)
    assert length(text, Counting.graphemes) <= len(text)
    for counting in Counting:
        assert length(text, counting, reserved_url=23, short_mentions=True) >= 0


@given(st.text(st.characters(codec="utf-8")), st.text(st.characters(codec="utf-8")))
def test_a_line_break_parts_what_is_counted(left: str, right: str) -> None:
    left = left.rstrip("\r")
    for counting in (Counting.graphemes, Counting.weighted_x):
        # NFC composes nothing, no URL runs and no cluster goes on over a line break.
        whole = length(f"{left}\n{right}", counting)
        assert whole == length(left, counting) + 1 + length(right, counting)


@pytest.mark.parametrize(
    ("counting", "expected"),
    [
        (Counting.code_points, 1),
        (Counting.graphemes, 1),
        (Counting.utf16_units, 1),
        (Counting.utf8_bytes, 3),
        (Counting.weighted_x, 2),
    ],
)
def test_a_lone_surrogate_counts_and_does_not_crash(counting: Counting, expected: int) -> None:
    for lone in ("\ud83d", "\ude00"):
        assert length(lone, counting) == expected
        assert length(f"a{lone}b", counting) == expected + 2


@pytest.mark.parametrize(
    ("text", "counting", "expected"),
    [
        ("Grüße 😀", Counting.code_points, 7),
        ("Grüße 😀", Counting.utf16_units, 8),
        ("Grüße 😀", Counting.utf8_bytes, 12),
        ("Gru\u0308ße 👨‍👩‍👧‍👦", Counting.graphemes, 7),
        ("🇩🇪🇫🇷🇮", Counting.graphemes, 3),
        ("🇩\u0301🇪", Counting.graphemes, 2),
        ("a\r\nb", Counting.graphemes, 3),
        ("हिन्दी", Counting.graphemes, 2),
    ],
)
def test_the_same_text_has_different_lengths(text: str, counting: Counting, expected: int) -> None:
    assert length(text, counting) == expected


def test_a_reserved_url_counts_the_same_however_long_it_is() -> None:
    text = "see https://shop.example.com/orders/4711?a=b and http://x.org."
    for counting in Counting:
        assert length(text, counting, reserved_url=23) == len("see  and .") + 2 * 23
    assert length("https://x.org/" + "p" * 500, Counting.graphemes, reserved_url=23) == 23
    assert length("https://x.org/" + "p" * 500, Counting.graphemes) == 514


def test_mastodon_reserves_nothing_for_a_url_without_a_scheme_and_more_of_a_path() -> None:
    assert length("example.com/a", Counting.graphemes, reserved_url=23) == len("example.com/a")
    assert length("https://example.com/日本?q=語.", Counting.graphemes, reserved_url=23) == 24
    assert length("(https://example.com/a_(b))", Counting.graphemes, reserved_url=23) == 25


@pytest.mark.parametrize(
    ("text", "counted"),
    [
        ("@rita@example.social hi", "@rita hi"),
        ("@Rita.x-y@a.b.example, @bob@c.example.", "@Rita.x-y, @bob."),
        ("@rita hi", "@rita hi"),
        ("rita@example.com", "rita@example.com"),
        ("https://example.social/@rita@other.example", "https://example.social/@rita@other.example"),
        ("@rita@", "@rita@"),
    ],
)
def test_a_short_mention_leaves_out_the_host(text: str, counted: str) -> None:
    assert length(text, Counting.graphemes, short_mentions=True) == len(counted)


@pytest.mark.parametrize(
    ("text", "rest"),
    [
        ("@rita_ex sorry to hear that", "sorry to hear that"),
        ("@rita_ex @acme  @Bob\nsorry @carol", "sorry @carol"),
        (" ＠rita sorry", "sorry"),
        ("@rita", ""),
        ("@rita's parcel", "@rita's parcel"),
        ("@rita, sorry", "@rita, sorry"),
        ("@", "@"),
        ("@ rita", "@ rita"),
        ("sorry @rita", "sorry @rita"),
        ("@averyveryverylonghandle hi", "@averyveryverylonghandle hi"),
        ("  no mention", "  no mention"),
        ("", ""),
    ],
)
def test_the_names_a_reply_starts_with_do_not_count(text: str, rest: str) -> None:
    assert without_leading_mentions(text) == rest


HOSTILE = {
    "one word": "a",
    "labels": "a.",
    "labels and domains": "ab.",
    "dots": ".",
    "top-level domains": "co.",
    "URLs": "a.co ",
    "URLs with paths": "http://a.co/ ",
    "short links": "http://t.co/a?, ",
    "unfinished schemes": "http://",
    "unfinished parentheses": "a.co/((",
    "wide letters": "あ",
    "wide labels": "あ.",
    "wide hosts": "日本.com ",
    "underscores": "é_",
    "hyphens": "-",
    "punycode": "a.xn--",
    "mentions": "@a ",
    "addresses": " @a@b.",
    "unfinished addresses": "@a.",
    "flags": "🇦",
    "joiners": "👩\u200d",
    "families": "👨‍👩‍👧‍👦",
    "tags": "🏴\U000e0067\U000e0062",
    "accents": "\u0301",
    "spaces": " ",
    "surrogates": "\ud83d",
}


@pytest.mark.parametrize("name", HOSTILE)
def test_hostile_text_takes_time_in_proportion_to_its_length(name: str) -> None:
    text = (HOSTILE[name] * (LONG // len(HOSTILE[name]) + 1))[:LONG] + ".com/("
    started = time.process_time()
    weighted_x_length(text)
    without_leading_mentions(text)
    length(text, Counting.graphemes, reserved_url=23, short_mentions=True)
    # A fraction of a second for the worst; quadratic time would be minutes.
    assert time.process_time() - started < 10
