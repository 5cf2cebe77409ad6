"""An hour that was named, in digits or as a word, is when it is due; a number that names no hour is none."""

from __future__ import annotations

from datetime import datetime

import pytest

from gateway_reading.reader import PackReader

MORNING = datetime.fromisoformat("2026-03-12T10:15:00Z")


def due(language: str, text: str) -> list[str]:
    found = PackReader().read(text, speaker="brand", at=MORNING, language=language, timezone="UTC").promises
    return [one.due.strftime("%d %H:%M") for one in found if one.due is not None]


@pytest.mark.parametrize(
    ("language", "text"),
    [
        ("en", "We will call you by eight tonight."),
        ("en", "We will call you by 8 tonight."),
        ("en", "We will call you tonight at eight."),
        ("en", "We will call you by eight pm."),
        ("de", "Wir melden uns bis 20 Uhr."),
        ("de", "Wir melden uns bis acht Uhr heute Abend."),
        ("de", "Wir melden uns heute Abend bis acht Uhr."),
        ("es", "Le llamaremos antes de las 8 de la tarde."),
        ("es", "Le llamaremos antes de las ocho de la tarde."),
        ("es", "Le llamamos esta tarde antes de las 8."),
        ("fr", "Nous vous rappelons ce soir avant 20h."),
        ("pt", "Ligamos hoje até as oito da noite."),
        ("it", "La richiamiamo stasera entro le otto."),
    ],
)
def test_eight_in_the_evening(language: str, text: str) -> None:
    assert due(language, text) == ["12 20:00"]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("We will send one this afternoon.", ["12 18:00"]),
        ("We will send you two tonight.", ["12 23:59"]),
        ("We will meet you at one of our stores tomorrow.", ["13 23:59"]),
        ("We will look at two options by Friday.", ["13 23:59"]),
        ("We will send it by one of these days.", []),
        ("We will send it within eight hours.", ["12 18:15"]),
    ],
)
def test_numbers_that_name_no_hour(text: str, expected: list[str]) -> None:
    assert due("en", text) == expected
