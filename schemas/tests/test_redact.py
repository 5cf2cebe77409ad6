"""Live traffic becomes something that may be shown: nobody is in it any more, and it reads the same way."""

from __future__ import annotations

import base64
import json
import re
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gateway_schemas.authoring.redact import Redactor, Unredactable

PEOPLE = {
    "event": "message_created",
    "message": {
        "id": 9007199254740993,
        "text": "Rita Example here: call me at +49 170 1234567 or rita.example@a.example.com, order 4711 👩‍👩‍👧 Größe",
        "author": {
            "id": "u-829301",
            "name": "Rita Example",
            "handle": "@rita_example",
            "verified": True,
            "lat": 52.520008,
        },
        "thread": "829301",
        "url": "https://acme.provider.example/users/829301/posts/9007199254740993?from=rita",
        "html": "<p>Rita <b>Example</b> &amp; co</p>",
        "created_at": "2026-11-23T11:58:02.123Z",
        "timestamp": 1764000000,
        "likes": 12,
        "status": "open",
        "lang": "en",
        "note": None,
        "empty": "",
    },
}
SECRETS = ("rita", "example here", "170 1234567", "829301", "9007199254740993", "4711", "52.520008", "größe")


def redacted(document: Any, **options: Any) -> Any:
    return json.loads(Redactor(key=b"k" * 32, **options).json(json.dumps(document, ensure_ascii=False).encode()))


def test_nobody_is_in_it_any_more() -> None:
    text = Redactor().json(json.dumps(PEOPLE, ensure_ascii=False).encode()).decode().lower()
    text = text.replace("provider.example", "").replace("example.com", "")
    for secret in SECRETS:
        assert secret not in text, secret


def test_what_is_needed_to_read_it_stays() -> None:
    told = redacted(PEOPLE)
    message = told["message"]
    assert told["event"] == "message_created"
    kept = ("created_at", "timestamp", "likes", "status", "lang", "note", "empty")
    assert {name: message[name] for name in kept} == {name: PEOPLE["message"][name] for name in kept}  # type: ignore[index]
    assert message["author"]["verified"] is True
    assert re.fullmatch(r"<p>\w{4} <b>\w{7}</b> &amp; \w\w</p>", message["html"])


def test_ids_stay_shared_and_large() -> None:
    message = redacted(PEOPLE)["message"]
    number = message["thread"]
    assert number.isdigit()
    assert len(number) == 6
    assert message["author"]["id"].endswith(f"-{number}")
    assert f"/{number}/" in message["url"]
    assert message["id"] > 2**52
    assert len(str(message["id"])) == 16
    assert str(message["id"]) in message["url"]
    name = message["author"]["name"].lower().split()
    assert message["author"]["handle"].lower() == f"@{name[0]}_{name[1]}"
    assert message["text"].lower().startswith(" ".join(name))


def test_offsets_stay_right() -> None:
    before, after = PEOPLE["message"]["text"], redacted(PEOPLE)["message"]["text"]  # type: ignore[index]
    assert len(before) == len(after)
    assert len(before.encode()) == len(after.encode())
    assert len(before.encode("utf-16")) == len(after.encode("utf-16"))
    assert "👩‍👩‍👧" in after


def test_the_providers_hosts_stay_but_not_the_companys_part_of_them() -> None:
    told = Redactor(hosts=["provider.example"])
    assert re.fullmatch(
        r"https://[a-z]{4}\.provider\.example/\w{5}/\d{6}", told.text("https://acme.provider.example/users/829301")
    )
    assert re.fullmatch(r"https://\w{4}\.\w{4}\.org/", told.text("https://rita.blog.org/"))
    assert told.text("https://provider.example/") == "https://provider.example/"


def test_words_of_the_plugins_code_stay_whatever_their_key() -> None:
    document = {"verb_of_theirs": "tweet.deleted", "name": "tweet.deleted", "text": "tweet deleted"}
    told = redacted(document, keep=["tweet.deleted"])
    assert told["verb_of_theirs"] == "tweet.deleted"
    assert told["text"] != "tweet deleted"
    assert redacted({"branch": "Berlin"}, keep_keys=["branch"]) == {"branch": "Berlin"}


def test_the_layout_stays_as_it_was() -> None:
    body = b'{ "a" :"\\u00e4\\/b" ,\r\n"n":[1,  2.50, -1234567]}\n'
    told = Redactor().json(body)
    assert re.fullmatch(rb'\{ "a" :"\\u[0-9a-f]{4}\\/\w" ,\r\n"n":\[1,  2\.50, -\d{7}\]\}\n', told), told


def test_json_within_json_and_base64_is_read() -> None:
    inner = json.dumps({"name": "Rita Example", "type": "note"})
    told = redacted({"data": base64.b64encode(inner.encode()).decode(), "raw": inner})
    for text in (base64.b64decode(told["data"]).decode(), told["raw"]):
        document = json.loads(text)
        assert document["type"] == "note"
        assert "Rita" not in document["name"]
        assert len(document["name"]) == len("Rita Example")


def test_ids_and_addresses_as_keys_are_replaced() -> None:
    told = redacted({"users": {"829301": {"name": "x"}, "rita@mail.example": 1}, "id": 829301})
    assert next(iter(told["users"])) == str(told["id"])
    assert "rita@mail.example" not in told["users"]


def test_forms_are_read() -> None:
    told = Redactor().body(b"name=Rita+Example&type=message&id=829301", "application/x-www-form-urlencoded")
    assert re.fullmatch(rb"name=\w{4}\+\w{7}&type=message&id=\d{6}", told)
    assert b"Rita" not in told


@pytest.mark.parametrize(
    "body", [b"<feed>Rita</feed>", b"\xff\xfe", b"{", b"[" * 100_000, b"From: rita@mail.example\n\nHi"]
)
def test_what_is_not_understood_is_not_written(body: bytes) -> None:
    with pytest.raises(Unredactable):
        Redactor().body(body, "text/plain")


def test_another_recording_has_other_replacements() -> None:
    assert Redactor().text("Rita Example") != Redactor().text("Rita Example")


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=8), inner, max_size=4),
    max_leaves=12,
)


@settings(max_examples=25, deadline=None)
@given(JSON)
def test_any_document_keeps_its_shape(document: Any) -> None:
    """Whatever comes in: the same structure, texts of the same length, and nothing but JSON."""
    body = json.dumps(document).encode()
    _same_shape(document, json.loads(Redactor(key=b"k" * 32).json(body)))


def _same_shape(before: Any, after: Any) -> None:
    assert type(before) is type(after) or {type(before), type(after)} == {int, float}
    if isinstance(before, str):
        assert len(before) == len(after)
    elif isinstance(before, list):
        assert len(before) == len(after)
        for one, other in zip(before, after, strict=True):
            _same_shape(one, other)
    elif isinstance(before, dict) and len(before) == len(after):
        for one, other in zip(before.values(), after.values(), strict=True):
            _same_shape(one, other)
