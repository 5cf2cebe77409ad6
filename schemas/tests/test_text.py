"""Foreign text is made fit to be stored, and what cannot be read says where it breaks."""

from __future__ import annotations

import json
import math
from datetime import UTC, datetime
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from pydantic import ValidationError

from gateway_schemas.errors import Malformed
from gateway_schemas.interaction import Author, Interaction, Rating
from gateway_schemas.text import clean, clean_model, parse_json, parse_object

BAD = "\ufffd"
# hypothesis leaves surrogates out unless asked
CHARACTERS = st.characters(codec=None, categories=None) | st.sampled_from(["\x00", "\ud83d", "\ude00", "\udfff"])
TEXT = st.text(CHARACTERS)
VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | TEXT,
    lambda inner: st.lists(inner) | st.tuples(inner) | st.dictionaries(TEXT, inner),
    max_leaves=12,
)


def interaction(**values: Any) -> Interaction:
    """A post by Rita."""
    return Interaction(
        **{
            "external_id": "1",
            "revision": "1",
            "account": "brand",
            "kind": "post",
            "visibility": "public",
            "author": Author(external_id="rita"),
            "published_at": datetime(2026, 3, 12, tzinfo=UTC),
            **values,
        }
    )


def strings_of(value: Any) -> list[str]:
    """Every text in a JSON value, keys too."""
    if isinstance(value, str):
        return [value]
    if isinstance(value, dict):
        return [text for pair in value.items() for one in pair for text in strings_of(one)]
    return [text for one in value for text in strings_of(one)] if isinstance(value, list) else []


@given(VALUES)
def test_whatever_comes_out_can_be_stored(value: Any) -> None:
    cleaned = clean(value)
    stored = json.dumps(cleaned, allow_nan=False, ensure_ascii=False).encode("utf-8")
    assert b"\x00" not in stored
    assert not any("\x00" in text for text in strings_of(cleaned))
    assert clean(cleaned) == cleaned


@given(st.recursive(st.text(st.characters(codec="utf-8", exclude_characters="\x00")) | st.integers(), st.lists))
def test_what_was_fit_stays_as_it_was(value: Any) -> None:
    assert clean(value) == value


@pytest.mark.parametrize(
    ("text", "cleaned"),
    [
        ("plain", "plain"),
        ("a\x00b", f"a{BAD}b"),
        ("ü\x00ü", f"ü{BAD}ü"),
        ("half \ud83d emoji", f"half {BAD} emoji"),
        ("low \ude00 alone", f"low {BAD} alone"),
        ("\ude00\ud83d", BAD * 2),
        ("\ud83d\ude00", "😀"),
        ("😀 \ud83d", f"😀 {BAD}"),
        ("\ud83d\x00", BAD * 2),
        ("\\u0000 and \\ud83d in words", "\\u0000 and \\ud83d in words"),
        ("", ""),
    ],
)
def test_text(text: str, cleaned: str) -> None:
    assert clean(text) == cleaned
    assert clean({text: [(text,)]}) == {cleaned: [[cleaned]]}


@pytest.mark.parametrize("number", [math.nan, math.inf, -math.inf])
def test_numbers_that_json_does_not_have_become_nothing(number: float) -> None:
    assert clean([number, 1.5, 10**400]) == [None, 1.5, 10**400]


@given(TEXT, TEXT)
@example("a\\u0000", "\\ufffd")
def test_a_model_is_cleaned_wherever_text_is_in_it(text: str, key: str) -> None:
    model = clean_model(
        interaction(
            text=text,
            title=text,
            mentions=(text,),
            author=Author(external_id="rita", name=text),
            extra={key: {"deep": [text]}},
        )
    )
    stored = model.model_dump_json()
    assert "\x00" not in json.dumps(json.loads(stored), ensure_ascii=False)
    assert Interaction.model_validate_json(stored) == model
    assert model.text == model.title == model.mentions[0] == model.author.name == clean(text)
    assert model.extra == {clean(key): {"deep": [clean(text)]}}


def test_a_model_that_needs_nothing_is_not_copied() -> None:
    model = interaction(text="fine, 😀 and \\u0000 in words", extra={"n": 1})
    assert clean_model(interaction(text="fine 😀")).text == "fine 😀"
    plain = interaction(text="fine 😀")
    assert clean_model(plain) is plain
    assert clean_model(model) == model


def test_a_model_that_cannot_be_written_at_all_is_refused() -> None:
    with pytest.raises(ValueError, match="utf-8"):
        clean_model(interaction(extra={"raw": b"\xff"}))


@pytest.mark.parametrize("value", [math.nan, math.inf])
def test_no_model_has_a_number_that_json_does_not_have(value: float) -> None:
    with pytest.raises(ValidationError):
        Rating(value=value)


@pytest.mark.parametrize(
    ("body", "value"),
    [
        (b"{}", {}),
        (b' [1, "a"] ', [1, "a"]),
        (b'"\\ud83d\\u0000"', BAD * 2),
        (b'{"\\u0000": 1}', {BAD: 1}),
        (b"[NaN, 1e999, -Infinity]", [None, None, None]),
        (b"\xef\xbb\xbf{}", {}),  # some providers send a byte order mark
        ('"😀"'.encode(), "😀"),
    ],
)
def test_bodies_that_can_be_read(body: bytes, value: Any) -> None:
    assert parse_json(body) == value


@pytest.mark.parametrize(
    ("body", "code", "said"),
    [
        (b"", "not_json", "at character 0"),
        (b"{", "not_json", "at character 1"),
        (b'{"a": 1,}', "not_json", "at character"),
        (b"\x00", "not_json", "at character 0"),
        (b'"\x00"', "not_json", "at character 1"),
        (b"<html>", "not_json", "at character 0"),
        (b'{"a": "\xff"}', "not_utf8", "at byte 7"),
        (b"[" * 100_000, "too_deep", "too deeply"),
        (b"[" * 100_000 + b"]" * 100_000, "too_deep", "too deeply"),
        (b'{"a":' * 5_000 + b"1" + b"}" * 5_000, "too_deep", "too deeply"),
        (b"1" * 5_000, "not_json", "too long"),
    ],
)
def test_bodies_that_cannot_be_read_say_where_they_break(body: bytes, code: str, said: str) -> None:
    with pytest.raises(Malformed, match=said) as refused:
        parse_json(body)
    assert refused.value.code == code


@given(st.binary(max_size=40) | VALUES.map(lambda value: json.dumps(value).encode()))
def test_any_body_is_read_or_refused(body: bytes) -> None:
    try:
        value = parse_json(body)
    except Malformed:
        return
    assert clean(value) == value


@pytest.mark.parametrize(
    ("body", "kind"), [(b"[]", "list"), (b"null", "NoneType"), (b'"{}"', "str"), (b"1", "int"), (b"NaN", "NoneType")]
)
def test_an_object_is_asked_for_and_something_else_came(body: bytes, kind: str) -> None:
    with pytest.raises(Malformed, match=kind) as refused:
        parse_object(body)
    assert refused.value.code == "wrong_shape"
    assert parse_object(b'{"a": []}') == {"a": []}
