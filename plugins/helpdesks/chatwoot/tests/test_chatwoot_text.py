"""Agents' Markdown read as the plain text that they meant."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gateway_chatwoot.payloads import label, short_key
from gateway_chatwoot.text import as_text
from gateway_chatwoot.words import kind_of, moment, number


@pytest.mark.parametrize(
    ("written", "meant"),
    [
        ("Sorry, **Rita**! _We_ are ~~not~~ on it.", "Sorry, Rita! We are not on it."),
        ("one\\\ntwo\n\nthree", "one\ntwo\n\nthree"),
        ("1\\. no list, 3 \\* 4, snake_case_name, <b>", "1. no list, 3 * 4, snake_case_name, <b>"),
        ("See [our page](https://a.example/x).", "See our page (https://a.example/x)."),
        ("<https://a.example> [https://a.example](https://a.example/)", "https://a.example https://a.example"),
        ("[Ada](mention://user/1/Ada) knows", "Ada (mention://user/1/Ada) knows"),
        ("![cat](https://a.example/c.png)", "cat (https://a.example/c.png)"),
        ("Do:\n\n1. one\n2. two\n   - sub\n\nBye", "Do:\n\n1. one\n2. two\n  - sub\n\nBye"),
        ("- a\n\n- b", "- a\n- b"),
        ("```\ncode  here\n```", "code  here"),
        ("    four blanks", "four blanks"),
        ("Bye\n--\nAda", "Bye\n--\nAda"),
        ("> quoted\n\nanswer", "quoted\n\nanswer"),
        ("a\r\nb", "a\nb"),
        ("", ""),
    ],
)
def test_markdown(written: str, meant: str) -> None:
    assert as_text(written) == meant


@given(st.text(max_size=200))
@settings(max_examples=60, deadline=None)
def test_any_text_is_read(text: str) -> None:
    as_text(text)


@given(st.lists(st.text(alphabet="abc XYZ.!?", min_size=1, max_size=20), max_size=4))
@settings(max_examples=40, deadline=None)
def test_plain_paragraphs_stay_as_they_are(paragraphs: list[str]) -> None:
    plain = [" ".join(one.split()) for one in paragraphs if one.split()]
    assert as_text("\n\n".join(plain)) == "\n\n".join(plain)


def test_labels() -> None:
    assert label(" Reply:Public ") == "reply-public"
    assert label("größe_1") == "größe_1"


@given(st.one_of(st.none(), st.booleans(), st.integers(), st.floats(), st.text(max_size=20)))
@settings(max_examples=60, deadline=None)
def test_foreign_values(value: object) -> None:
    for read in (kind_of, moment, number):
        read(value)


def test_values() -> None:
    assert [kind_of(one) for one in (0, 1, 2, 3, 4, True, "incoming", "x")] == [
        *("incoming", "outgoing", "activity", "template"),
        *(None, None, "incoming", None),
    ]
    at = moment("2026-11-22T10:00:00.000Z")
    assert at == moment(1795341600) == moment("2026-11-22 10:00:00 UTC")
    assert [number(one) for one in (5, "5", 0, -1, True, "٣", 2**70)] == [5, 5, None, None, None, None, 2**70]
    assert short_key("x" * 300) != short_key("x" * 301)
    assert len(short_key("x" * 300)) == 64
