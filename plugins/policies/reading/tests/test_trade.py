"""Offers, requests and trades on labelled examples: what is found, what is not, and what it costs.

`corpus/trade_<language>.jsonl` has a part that was used while tuning and a part (`held_out`) that was written first and
only ever counted.
"""

from __future__ import annotations

import json
from collections import Counter
from datetime import UTC, datetime
from functools import cache
from pathlib import Path
from typing import Any

import pytest

from gateway_reading.pack import LANGUAGES
from gateway_reading.reader import PackReader
from gateway_schemas.reading import Reading

CORPUS = Path(__file__).parent / "corpus"
AT = datetime(2026, 3, 12, tzinfo=UTC)
TRADE, OFFER, REQUEST = "incentive_for_retraction", "incentive_offered", "retraction_requested"
OTHERS = ("agrees", "grants_value", "declines", "withdraws_offer", "proposes_trade")
FLOORS = {"tune": 0.95, "held_out": 0.85}
"""Recall of a trade in every language. Over all languages together the held-out part reaches `TOGETHER`."""
TOGETHER = 0.95
READER = PackReader()


@cache
def examples(language: str) -> tuple[dict[str, Any], ...]:
    lines = (CORPUS / f"trade_{language}.jsonl").read_text("utf-8").splitlines()
    return tuple(json.loads(line) for line in lines)


def read(text: str, speaker: Any = "brand", language: str | None = None) -> Reading:
    return READER.read(text, speaker=speaker, at=AT, language=language)


def counts(part: str, languages: tuple[str, ...] = LANGUAGES) -> Counter[tuple[str, str]]:
    found: Counter[tuple[str, str]] = Counter()
    for language in languages:
        for example in examples(language):
            if example["part"] == part:
                reading = read(example["text"], example["speaker"], language)
                for signal in (TRADE, OFFER, REQUEST, *OTHERS):
                    expected, got = signal in example["labels"], reading.has(signal)
                    found[signal, ("hit" if got else "missed") if expected else ("false" if got else "clean")] += 1
    return found


def precision_recall(found: Counter[tuple[str, str]], signal: str) -> tuple[float, float]:
    hit, false, missed = (found[signal, kind] for kind in ("hit", "false", "missed"))
    return hit / max(1, hit + false), hit / max(1, hit + missed)


def f1(found: Counter[tuple[str, str]], signal: str) -> float:
    precision, recall = precision_recall(found, signal)
    return 2 * precision * recall / max(1e-9, precision + recall)


@pytest.mark.parametrize("language", LANGUAGES)
def test_the_corpus_is_large_enough_and_keeps_a_part_aside(language: str) -> None:
    held_out = [example for example in examples(language) if example["part"] == "held_out"]
    assert len(examples(language)) >= 60
    assert len(held_out) >= 24
    assert {example["id"] for example in examples(language)} >= {f"{language}-001", held_out[-1]["id"]}
    assert len({example["text"] for example in examples(language)}) == len(examples(language))


@pytest.mark.parametrize("part", FLOORS)
@pytest.mark.parametrize("language", LANGUAGES)
def test_trades_offers_and_requests_are_found(language: str, part: str) -> None:
    found = counts(part, (language,))
    for signal in (TRADE, OFFER, REQUEST, *OTHERS):
        precision, recall = precision_recall(found, signal)
        print(f"{language} {part:8} {signal:26} precision {precision:.2f} recall {recall:.2f}")
    assert precision_recall(found, TRADE)[1] >= FLOORS[part]
    assert found[TRADE, "false"] <= 0.03 * (found[TRADE, "false"] + found[TRADE, "clean"]) + 1
    assert f1(found, OFFER) >= 0.85
    assert f1(found, REQUEST) >= 0.85


def test_all_languages_together_keep_the_floor() -> None:
    found = counts("held_out")
    assert precision_recall(found, TRADE)[1] >= TOGETHER
    assert found[TRADE, "false"] <= 0.03 * (found[TRADE, "false"] + found[TRADE, "clean"])
    for signal in (OFFER, REQUEST, *OTHERS):
        assert f1(found, signal) >= 0.85, signal


@cache
def ideas() -> tuple[dict[str, Any], ...]:
    return tuple(json.loads(line) for line in (CORPUS / "trade_ideas.jsonl").read_text("utf-8").splitlines())


@pytest.mark.parametrize("language", ["en", "es", "fr"])
def test_trades_without_the_words_of_a_bargain_are_found(language: str) -> None:
    rows = [row for row in ideas() if row["language"] == language and not row["earlier"]]
    assert len(rows) >= 40
    missed = [
        row["id"] for row in rows if TRADE in row["labels"] and not read(row["text"], language=language).has(TRADE)
    ]
    false = [
        row["id"] for row in rows if TRADE not in row["labels"] and read(row["text"], language=language).has(TRADE)
    ]
    assert len(missed) <= 0.05 * len(rows) / 2, missed
    assert false == []


@cache
def wordings(language: str, part: str) -> tuple[dict[str, Any], ...]:
    """Single messages of `trade_wordings_<language>.jsonl`; those with earlier ones are read by the policy's tests."""
    lines = (CORPUS / f"trade_wordings_{language}.jsonl").read_text("utf-8").splitlines()
    return tuple(row for row in map(json.loads, lines) if row["part"] == part and not row["earlier"])


@pytest.mark.parametrize(("part", "floor"), [("tune", 0.95), ("held_out", 0.85)])
@pytest.mark.parametrize("language", ["de", "pt", "it"])
def test_trades_in_many_registers_are_found(language: str, part: str, floor: float) -> None:
    rows = wordings(language, part)
    wanted = [row for row in rows if TRADE in row["labels"]]
    harmless = [row for row in rows if TRADE not in row["labels"]]
    missed = [row["id"] for row in wanted if not read(row["text"], language=language).has(TRADE)]
    false = [row["id"] for row in harmless if read(row["text"], language=language).has(TRADE)]
    assert len(wanted) >= 18
    assert len(missed) <= (1 - floor) * len(wanted), missed
    assert len(false) <= 0.02 * len(harmless), false


@pytest.mark.parametrize(
    ("text", "language"),
    [
        ("Thank you for taking the time to post this review; it helped us to change how we pack. £15 is yours.", "en"),
        ("Your review was spot on. We removed the dish from the menu, and a free dessert is waiting for you.", "en"),
        ("The five-star spa is included with every stay this autumn, plus a bottle of wine.", "en"),
        ("Tu reseña nos abrió los ojos: quitamos el plato de la carta y el próximo café es gratis.", "es"),
        ("Cambie la dirección de entrega en la app y el cupón se aplicará. Gracias por su comentario.", "es"),
        ("Nous avons corrigé l'erreur signalée dans votre commentaire et ajouté un mois gratuit.", "fr"),
        ("Effacez votre numéro de carte du commentaire. Un bon de 10 € est parti hier.", "fr"),
    ],
)
def test_goodwill_after_a_review_is_no_trade(text: str, language: str) -> None:
    assert not read(text, language=language).has(TRADE)


def test_the_evidence_of_single_ideas_is_either_half() -> None:
    reading = read("That post vanishes, and so does your late fee.", language="en")
    (change,), (value,) = reading.of(REQUEST), reading.of(OFFER)
    assert change.text == "post vanishes"
    assert "late fee" in value.text


@pytest.mark.parametrize(
    ("text", "language"),
    [
        ("If you r3move your re-view, we'll send a c0up0n.", "en"),
        ("If you r e m o v e your review, we'll send a c.o.u.p.o.n", "en"),
        ("If you remove your review, we'll send a соuроn.", "en"),
        ("If you re\u200bmove your rev\u00adiew, we send a 🎁", "en"),
        ("If you delete your 𝓻𝓮𝓿𝓲𝓮𝔀 you get a ⓥⓞⓤⓒⓗⓔⓡ", "en"),
        ("If you &#114;emove your review&comma; we&apos;ll send a v&#111;ucher", "en"),
        ("Wenn du die B3wertung l0schst, gibt es einen Gutsch3in", "de"),
        ("Si quitas la r e s e ñ a te damos un cup0n", "es"),
        ("Si tu supprimes ton av1s, on t'offre un b0n d'achat", "fr"),
    ],
)
def test_disguise_does_not_help(text: str, language: str) -> None:
    reading = read(text, language=language)
    assert reading.has(TRADE)
    for mark in reading.marks:
        assert text[mark.start : mark.end] == mark.text


def test_untied_in_words_is_told_apart() -> None:
    (mark,) = read("A £10 voucher is yours, no strings attached. Please change your review.", language="en").of(TRADE)
    assert mark.detail == "untied_in_words"
    assert not read("The £10 is yours whether or not you change your review.", language="en").has(TRADE)


@pytest.mark.parametrize(
    ("text", "gates"),
    [
        ("If you enjoyed your stay, please leave us a review on Google.", True),
        ("Please leave us a review, whatever you thought of it.", False),
        ("We are happy that you left a review!", False),
        ("Wenn Sie zufrieden sind, hinterlassen Sie uns gern eine Bewertung.", True),
        ("Si le ha gustado, déjenos una reseña.", True),
        ("Si vous êtes satisfait, laissez-nous un avis.", True),
        ("Se gostou, deixe uma avaliação.", True),
        ("Se le è piaciuto, lasci una recensione.", True),
    ],
)
def test_asking_only_happy_customers_is_noticed(text: str, gates: bool) -> None:
    assert read(text).has("x_review_gating") is gates


def test_reading_twice_is_reading_once_and_remembered() -> None:
    text = "If you delete your review, you get a voucher."
    assert read(text, language="en") == PackReader().read(text, speaker="brand", at=AT, language="en")
    assert PackReader.version.startswith("1+")


def test_real_answers_of_ordinary_care_teams_pass() -> None:
    data = Path(__file__).parents[4].parent / "shared" / "data" / "conversations.jsonl"
    if not data.is_file():
        pytest.skip("the recorded conversations are not beside this checkout (../shared/data)")
    answers = [
        message["text"]
        for line in data.read_text("utf-8").splitlines()
        for message in json.loads(line)["messages"]
        if message["from"] == "agent"
    ]
    assert len(answers) > 500
    seen = {text: {mark.detail for mark in read(text).of(TRADE)} for text in answers}
    assert [text for text, details in seen.items() if details - {"likely"}] == []
    assert sum(bool(details) for details in seen.values()) <= 0.005 * len(answers)
    assert sum(read(text).has(REQUEST) for text in answers) <= 0.01 * len(answers)
    assert sum(read(text).has(OFFER) for text in answers) <= 0.03 * len(answers)
