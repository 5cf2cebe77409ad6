"""Nothing known only from the private leg goes out in public unnoticed, in whatever way it is written."""

from __future__ import annotations

import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.pipeline.leaks import Known, private_only

SHOWN = [
    # said in private, answered in public, what of it is found
    ("my order is 4711", "We looked at 4711 for you", ["4711"]),
    ("order AC-99-X12", "Order ac99x12 is on its way", ["ac99x12"]),
    ("order no. #88213-B", "your 88213-B ships today", ["88213-B"]),
    ("call me on +49 170 123 45 67", "We will call 0170/1234567", ["0170/1234567"]),
    ("write to Rita.K@Example.com", "We wrote to rita.k@example.com.", ["rita.k@example.com"]),
    ("IBAN DE89 3704 0044 0532 0130 00", "to DE89370400440532013000", ["DE89370400440532013000"]),
    ("IBAN GB29NWBK60161331926819", "to GB29 NWBK 6016 1331 9268 19", ["6016 1331 9268 19"]),
    ("I paid € 1.249,50", "the 1,249.50 EUR come back", ["1,249.50"]),
    ("I paid USD 89", "we refund $89.00 today", ["89.00"]),
    ("you owe me 45 €", "45€ are on the way", ["45"]),
    ("order \u0664\u0667\u0661\u0661", "order 4711", ["4711"]),
    ("order 4711", "order \uff14\uff17\uff11\uff11", ["\uff14\uff17\uff11\uff11"]),
    ("order 4711", "order 47\u200b11", ["47\u200b11"]),
    ("order 4711\nBest,\nKatarzyna Nowak", "Sorry, Ms Nowak!", ["Nowak"]),
]


@pytest.mark.parametrize(("private", "answer", "found"), SHOWN, ids=[one[1] for one in SHOWN])
def test_it_is_noticed(private: str, answer: str, found: list[str]) -> None:
    leaks = private_only(answer, Known(["where is my parcel?"]), Known([private]))
    assert [one.text for one in leaks] == found
    assert all(answer[one.start : one.end] == one.text for one in leaks)


@pytest.mark.parametrize(("private", "answer", "_"), SHOWN, ids=[one[1] for one in SHOWN])
def test_what_the_public_leg_says_too_is_no_secret(private: str, answer: str, _: object) -> None:
    assert private_only(answer, Known([private]), Known([private])) == []


@pytest.mark.parametrize(
    ("private", "answer"),
    [
        ("it came at 12:30 on day 3", "We come by at 12:30 on day 3"),
        ("I paid 5 €", "within 5 days"),
        ("Kind Regards", "Kind Regards from us"),
        ("it is broken\nThanks a lot", "Thanks a lot for telling us"),
        ("room 12b", "room 12b"),
        ("nothing to see", "nothing to see"),
        ("", "order 4711"),
    ],
)
def test_ordinary_words_pass(private: str, answer: str) -> None:
    assert private_only(answer, Known(), Known([private])) == []


def test_a_name_that_is_only_known_in_private_is_noticed() -> None:
    public = Known(["hello?"], ["rita_k", "Rita"])
    private = Known(["hi"], ["rita_k", "Rita Summer-Kowalski"])
    assert [one.text for one in private_only("Dear Rita Summer-Kowalski!", public, private)] == ["Summer-Kowalski"]
    assert private_only("Dear Rita!", public, private) == []
    # a word in small letters is no name
    assert private_only("a rose", Known(), Known((), ["Rose Tyler"])) == []


@given(st.text(max_size=300), st.text(max_size=300), st.text(max_size=300))
def test_offsets_always_name_the_words(answer: str, public: str, private: str) -> None:
    for leak in private_only(answer, Known([public]), Known([private], [private])):
        assert answer[leak.start : leak.end] == leak.text
        assert leak.text
    assert private_only(answer, Known([private, public], [private]), Known([private], [private])) == []


@pytest.mark.parametrize("pattern", ["1 ", "1.", "a@", "a-1", "+1-", "x.", "1'", "A1"])
def test_hostile_text_takes_linear_time(pattern: str) -> None:
    text = pattern * 20_000
    began = time.process_time()
    private_only(text, Known(), Known([text]))
    assert time.process_time() - began < 3
