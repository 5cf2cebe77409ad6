"""Disguised spelling reads as what it hides; honest spelling as itself; offsets stay those of the text as given."""

from __future__ import annotations

import pytest

from gateway_reading.fold import fold, unescape
from gateway_reading.prepared import prepare
from gateway_reading.tokens import scan


@pytest.mark.parametrize(
    ("written", "meant"),
    [
        ("COUPON", "coupon"),
        ("c0up0n", "coupon"),
        ("r3move", "remove"),
        ("di$count", "discount"),
        ("g1ft", "gift"),
        ("de1ete", "delete"),
        ("rev*ew", "review"),
        ("c\u200bou\u00adp\u2060on", "coupon"),
        ("соuроn", "coupon"),
        ("ⓒⓞⓤⓟⓞⓝ", "coupon"),
        ("🅲🅾🆄🅿🅾🅽", "coupon"),
        ("𝓬𝓸𝓾𝓹𝓸𝓷", "coupon"),
        ("ＣＯＵＰＯＮ", "coupon"),
        ("ᴄᴏᴜᴘᴏɴ", "coupon"),
        ("freeeee", "free"),
        ("Änderung", "anderung"),
        ("Straße", "strasse"),
        ("œuvre", "oeuvre"),
        ("e\u0301valuer", "evaluer"),
    ],
)
def test_a_disguise_reads_as_what_it_hides(written: str, meant: str) -> None:
    assert meant in fold(written).forms


@pytest.mark.parametrize("written", ["20eur", "mp3", "4k", "2nd", "covid19", "AB123456C", "1000"])
def test_numbers_and_codes_hide_nothing(written: str) -> None:
    assert fold(written).forms == (written.lower(),)


def test_accents_stay_known() -> None:
    assert fold("Sí").accented == "sí"
    assert fold("Sí").forms[0] == "si"


def test_offsets_are_those_of_the_text_as_given() -> None:
    text = "Tom &amp; Ann get &euro;20 &quot;off&quot; 👍🏽 c&#111;upon"
    tokens, _, _ = scan(text)
    assert [text[token.start : token.end] for token in tokens] == [
        "Tom", "&amp;", "Ann", "get", "&euro;", "20", "off", "👍", "c&#111;upon",
    ]  # fmt: skip
    assert "coupon" in tokens[-1].forms


def test_unescape_leaves_a_text_without_entities_alone() -> None:
    assert unescape("R&D & more &unknown;") == ("R&D & more &unknown;", None)


@pytest.mark.parametrize(
    "text", ["", " ", "\x00", "\ud800", "&#0;", "&#1114112;", "((((", "''''", "„“„“", "\U000e0001" * 50]
)
def test_any_text_can_be_prepared(text: str) -> None:
    prepare(text, "brand", language="en")
