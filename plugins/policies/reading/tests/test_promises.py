"""Promises: what is said, by when, and what is none."""

from __future__ import annotations

import json
from collections import defaultdict
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from gateway_reading.reader import PackReader
from gateway_schemas.reading import Promised

CORPUS = Path(__file__).parent / "corpus" / "replies.jsonl"
THURSDAY = datetime.fromisoformat("2026-03-12T10:15:00Z")


def promises(text: str, language: str = "en", at: datetime = THURSDAY, timezone: str = "UTC") -> tuple[Promised, ...]:
    return PackReader().read(text, speaker="brand", at=at, language=language, timezone=timezone).promises


def overlap(one: tuple[int, int], other: tuple[int, int]) -> float:
    return (min(one[1], other[1]) - max(one[0], other[0])) / (max(one[1], other[1]) - min(one[0], other[0]))


@pytest.mark.parametrize("part", ["tune", "held_out"])
def test_dated_promises_are_found_with_their_due_day(part: str) -> None:
    counts: dict[str, list[int]] = defaultdict(lambda: [0, 0, 0])
    rows: list[dict[str, Any]] = [json.loads(line) for line in CORPUS.read_text("utf-8").splitlines()]
    for row in (row for row in rows if row["part"] == part):
        at = datetime.fromisoformat(row["sent_at"])
        found = [one for one in promises(row["text"], row["language"], at) if one.due is not None]
        for expected in (one for one in row["promises"] if one["due"] is not None):
            start = row["text"].index(expected["quote"])
            place = (start, start + len(expected["quote"]))
            match = next(
                (
                    one
                    for one in found
                    if one.due is not None
                    and one.due.date().isoformat() == expected["due"]
                    and overlap(place, (one.start, one.end)) >= 0.5
                ),
                None,
            )
            for group in (row["language"], "all"):
                counts[group][0 if match else 2] += 1
            if match:
                found.remove(match)
        for group in (row["language"], "all"):
            counts[group][1] += len(found)
    for group, (hit, wrong, missed) in counts.items():
        print(f"{part} {group}: precision {hit / max(1, hit + wrong):.2f}, recall {hit / max(1, hit + missed):.2f}")
    hit, wrong, missed = counts["all"]
    assert 2 * hit / (2 * hit + wrong + missed) >= 0.85


@pytest.mark.parametrize(
    ("text", "language", "due"),
    [
        ("You will get a refund by Friday.", "en", "2026-03-13T23:59:59+00:00"),
        ("We will call you back within 48 hours.", "en", "2026-03-14T10:15:00+00:00"),
        ("It will be fixed in 30 minutes.", "en", "2026-03-12T10:45:00+00:00"),
        ("We'll call you tomorrow morning.", "en", "2026-03-13T12:00:00+00:00"),
        ("We'll call you tomorrow at 3 pm.", "en", "2026-03-13T15:00:00+00:00"),
        ("The replacement ships by the end of the week.", "en", "2026-03-15T23:59:59+00:00"),
        ("You'll have it in the next 2-3 business days.", "en", "2026-03-17T23:59:59+00:00"),
        ("We will send it on 14 March.", "en", "2026-03-14T23:59:59+00:00"),
        ("We will publish it on January 5th.", "en", "2027-01-05T23:59:59+00:00"),
        ("We'll answer before Friday.", "en", "2026-03-13T00:00:00+00:00"),
        ("Wir melden uns bis Ende der Woche.", "de", "2026-03-15T23:59:59+00:00"),
        ("Wir rufen Sie morgen um 14:30 Uhr an.", "de", "2026-03-13T14:30:00+00:00"),
        ("Nous vous répondrons d'ici vendredi.", "fr", "2026-03-13T23:59:59+00:00"),
        ("Le llamaremos mañana.", "es", "2026-03-13T23:59:59+00:00"),
        ("Receberá o reembolso até sexta-feira.", "pt", "2026-03-13T23:59:59+00:00"),
        ("On vous en renvoie une avant 21h.", "fr", "2026-03-12T21:00:00+00:00"),
        ("Wir schicken Ihnen bis 21 Uhr eine neue.", "de", "2026-03-12T21:00:00+00:00"),
        ("You'll hear from us within the hour.", "en", "2026-03-12T11:15:00+00:00"),
        ("Le risponderemo entro domani.", "it", "2026-03-13T23:59:59+00:00"),
        ("La chiamiamo domani prima delle 16.", "it", "2026-03-13T16:00:00+00:00"),
        ("You will find it on your next bill, on 1 April.", "en", "2026-04-01T23:59:59+00:00"),
    ],
)
def test_when_it_is_due(text: str, language: str, due: str) -> None:
    [promise] = promises(text, language)
    assert promise.due is not None
    assert promise.due.isoformat() == due


def test_the_same_afternoon_is_that_of_the_day_named_before() -> None:
    found = promises("The part arrives on Monday and Kev will fit it the same afternoon.")
    assert [one.due.isoformat() if one.due else None for one in found] == [
        "2026-03-16T23:59:59+00:00",
        "2026-03-16T18:00:00+00:00",
    ]


@pytest.mark.parametrize(
    "text",
    [
        "If you send us the label by Friday, we can refund you.",
        "We sent you the refund on Friday.",
        "We may open on Friday.",
        "Our sale ends on Friday!",
        "Can you come by on Friday?",
        "You need to return it within 14 days.",
        "Please reply by Friday.",
        "We will not deliver on Friday.",
        "Refunds usually arrive within 5 days.",
        "We are open Monday to Friday.",
        "We're here until 6 pm today.",
        "The delivery note has your signature at 14:02.",
        "The queue on Saturday was a mess.",
        "You wrote that it will arrive on Friday.",
    ],
)
def test_what_is_no_promise(text: str) -> None:
    assert not promises(text)


def test_a_promise_without_a_date_is_one_too() -> None:
    found = promises("We'll look into it and get back to you.")
    assert [one.due for one in found] == [None, None]
    assert "look into it" in found[0].quote


def test_days_are_counted_where_the_brand_is() -> None:
    late = datetime.fromisoformat("2026-03-12T23:30:00Z")
    [promise] = promises("We will call you tomorrow.", at=late, timezone="Europe/Madrid")
    assert promise.due is not None
    assert promise.due.date().isoformat() == "2026-03-14"
    assert promise.due.utcoffset() == timedelta(hours=1)


def test_an_unknown_time_zone_loses_nothing() -> None:
    assert promises("We will call you tomorrow.", timezone="Nowhere/Land")


@pytest.mark.parametrize(
    ("language", "text"),
    [
        ("en", "As promised, Finn: the money has gone out."),
        ("en", "Your refund was paid this morning, as we promised."),
        ("de", "Wie versprochen haben wir Ihnen den Betrag erstattet."),
        ("fr", "Comme promis, votre remboursement a été effectué."),
        ("es", "Como prometimos, el importe fue devuelto ayer."),
        ("it", "Come promesso, il rimborso è stato accreditato."),
        ("pt", "Como prometido, o reembolso já está na sua conta."),
    ],
)
def test_a_reply_tells_of_what_was_done_as_promised(language: str, text: str) -> None:
    assert PackReader().read(text, speaker="brand", at=THURSDAY, language=language).has("x_as_promised")
    assert not PackReader().read(text, speaker="customer", at=THURSDAY, language=language).has("x_as_promised")


@pytest.mark.parametrize(
    ("language", "text"),
    [
        ("en", "As promised, we will call you."),
        ("en", "As promised, we are looking into it."),
        ("en", "As promised? Not yet."),
        ("en", "We have not done it as promised."),
        ("en", 'You wrote "it was not delivered as promised".'),
        ("de", "Wie versprochen melden wir uns."),
        ("de", "Wie versprochen prüfen wir das."),
        ("fr", "Comme promis, nous vous rappellerons."),
        ("es", "Como prometimos, le llamaremos."),
        ("it", "Come promesso, stiamo verificando."),
        ("pt", "Como prometido, estamos a verificar."),
    ],
)
def test_what_is_still_to_come_is_not_done_as_promised(language: str, text: str) -> None:
    assert not PackReader().read(text, speaker="brand", at=THURSDAY, language=language).has("x_as_promised")
