"""The signals of the corpus: precision and recall by signal and language, on texts never used while tuning too."""

from __future__ import annotations

import gc
import json
import time
from collections import defaultdict
from datetime import datetime
from pathlib import Path
from typing import Any, Literal

import pytest

from gateway_reading.reader import PackReader

CORPUS = Path(__file__).parent / "corpus"
REPLY_SIGNALS = (
    "acknowledges",
    "apologises",
    "argues",
    "blames",
    "insults",
    "threatens",
    "condescends_or_excuses",
    "invites_private",
    "asks_personal_data_publicly",
    "admits_liability",
    "next_step",
    "canned",
)
COLLOQUIAL_SIGNALS = (
    "acknowledges",
    "apologises",
    "argues",
    "condescends_or_excuses",
    "invites_private",
    "asks_personal_data_publicly",
)
"""What `replies_colloquial.jsonl` and `replies_plain.jsonl` are labelled with."""
MESSAGE_SIGNALS = (
    "complains",
    "praises",
    "asks",
    "sarcastic",
    "vents",
    "spam",
    "says_solved",
    "says_unsolved",
    "mentions_private_contact",
    "safety",
    "legal",
    "self_harm",
    "minor",
    "personal_data",
)
LANGUAGES = ("en", "es", "fr", "de", "pt", "it")


def rows(name: str) -> list[dict[str, Any]]:
    return [json.loads(line) for line in (CORPUS / name).read_text("utf-8").splitlines()]


class Score:
    """Counts of right, wrong and missed."""

    def __init__(self) -> None:
        self.hit = self.wrong = self.missed = 0

    def count(self, expected: bool, found: bool) -> None:
        self.hit += expected and found
        self.wrong += found and not expected
        self.missed += expected and not found

    @property
    def f1(self) -> float:
        return 2 * self.hit / max(1, 2 * self.hit + self.wrong + self.missed)

    def __str__(self) -> str:
        precision, recall = self.hit / max(1, self.hit + self.wrong), self.hit / max(1, self.hit + self.missed)
        return f"{precision:.2f}/{recall:.2f}"


def measure(
    name: str, signals: tuple[str, ...], speaker: Literal["brand", "customer"], part: str, verbose: bool = False
) -> dict[str, dict[str, Score]]:
    """Scores by signal and language; `all` for all languages together."""
    reader = PackReader()
    scores: dict[str, dict[str, Score]] = {signal: defaultdict(Score) for signal in signals}
    for row in rows(name):
        if row["part"] != part:
            continue
        reading = reader.read(
            row["text"], speaker=speaker, at=datetime.fromisoformat(row["sent_at"]), language=row["language"]
        )
        expected = set(row["labels"])
        if "complains" in expected and "asks" not in expected:
            expected.add("vents")
        for signal in signals:
            for group in (row["language"], "all"):
                scores[signal][group].count(signal in expected, reading.has(signal))
            if verbose and (signal in expected) != reading.has(signal):
                said = [mark.text for mark in reading.of(signal)]
                print("MISSED" if signal in expected else "WRONG ", signal, row["id"], row["text"], said)
    return scores


def table(scores: dict[str, dict[str, Score]]) -> str:
    head = f"{'precision/recall':30}" + "".join(f"{language:>11}" for language in (*LANGUAGES, "all")) + "    F1"
    lines = [
        f"{signal:30}" + "".join(f"{by[language]!s:>11}" for language in (*LANGUAGES, "all")) + f"  {by['all'].f1:.3f}"
        for signal, by in scores.items()
    ]
    return "\n".join([head, *lines])


@pytest.mark.parametrize("part", ["tune", "held_out"])
@pytest.mark.parametrize(
    ("name", "signals", "speaker"),
    [("replies.jsonl", REPLY_SIGNALS, "brand"), ("messages.jsonl", MESSAGE_SIGNALS, "customer")],
    ids=["replies", "messages"],
)
def test_each_signal_is_found_and_little_else(
    name: str, signals: tuple[str, ...], speaker: Literal["brand", "customer"], part: str
) -> None:
    scores = measure(name, signals, speaker, part)
    print(f"\n{name} {part}\n{table(scores)}")
    weak = {signal: f"{by['all'].f1:.3f}" for signal, by in scores.items() if by["all"].f1 < 0.85}
    assert not weak


@pytest.mark.parametrize("name", ["replies_colloquial.jsonl", "replies_plain.jsonl"])
def test_answers_without_set_phrases_are_read_as_well(name: str) -> None:
    scores = measure(name, COLLOQUIAL_SIGNALS, "brand", "tune")
    print(f"\n{table(scores)}")
    weak = {signal: f"{by['all'].f1:.3f}" for signal, by in scores.items() if by["all"].f1 < 0.85}
    assert not weak


def test_what_is_said_plainly_is_read_in_answers_never_tuned_for() -> None:
    """What only the matter tells (`Try carrying eleven suitcases up four floors`) is counted, and seldom found."""
    scores = measure("replies_plain.jsonl", COLLOQUIAL_SIGNALS, "brand", "held_out")
    print(f"\n{table(scores)}")
    for signal in ("apologises", "invites_private", "asks_personal_data_publicly"):
        assert scores[signal]["all"].f1 >= 0.9


@pytest.mark.parametrize(
    ("text", "argues"),
    [
        ('You signed the quote and now it is a "hidden fee"?', True),
        ("Our scan has your signature at 14:02.", True),
        ("The room you describe does not exist in our building.", True),
        ("Sorry, our records show that your parcel never left the depot.", False),
        ("You signed the form, thank you, so your refund is on its way.", False),
        ("The lamp you describe is in stock.", False),
    ],
)
def test_what_is_set_against_the_customer_is_an_argument(text: str, argues: bool) -> None:
    at = datetime.fromisoformat("2026-03-12T10:15:00Z")
    assert PackReader().read(text, speaker="brand", at=at, language="en").has("argues") is argues


@pytest.mark.parametrize(
    ("text", "language"),
    [
        ("Full name and date of birth?", "en"),
        ("Username and registered email please", "en"),
        ("Kundennummer und Mail?", "de"),
        ("Numéro de client et mail ?", "fr"),
        ("Nome completo e CPF?", "pt"),
        ("Codice cliente e mail?", "it"),
    ],
)
def test_data_named_alone_is_asked_for(text: str, language: str) -> None:
    at = datetime.fromisoformat("2026-03-12T10:15:00Z")
    reading = PackReader().read(text, speaker="brand", at=at, language=language)
    assert reading.has("asks_personal_data_publicly")


@pytest.mark.parametrize(
    ("text", "visibility", "language"),
    [
        ("What is your date of birth?", "private", "en"),
        ("Your order number is in the email.", "public", "en"),
        ("Your email address has changed?", "public", "en"),
        ("Please send your order number by DM.", "public", "en"),
        ("Please don't post your order number here.", "public", "en"),
        ("We have your order number, thank you.", "public", "en"),
        ("Mándanos por privado tu número de pedido.", "public", "es"),
        ("Wir haben Ihre Bestellnummer, danke.", "public", "de"),
        ("N'envoyez jamais votre mot de passe.", "public", "fr"),
    ],
)
def test_data_may_be_asked_for_in_private(text: str, visibility: Literal["public", "private"], language: str) -> None:
    at = datetime.fromisoformat("2026-03-12T10:15:00Z")
    reading = PackReader().read(text, speaker="brand", at=at, language=language, visibility=visibility)
    assert not reading.has("asks_personal_data_publicly")


@pytest.mark.parametrize(
    ("text", "language"),
    [
        ("That is not our account, please do not click the link.", "en"),
        ("The price is 12 euros, not 10.", "en"),
        ("No, we can't give refunds after 30 days.", "en"),
        ('You say "you are all idiots". We would like to hear more.', "en"),
        ("Silly us, we sent it to the wrong shop.", "en"),
        ("It is not your fault at all.", "en"),
        ("Nein, das ist leider nicht möglich.", "de"),
        ("Ce n'est pas votre faute.", "fr"),
        ("No es culpa suya.", "es"),
        ("Non è colpa sua.", "it"),
        ("A culpa não é sua.", "pt"),
    ],
)
def test_correcting_warning_refusing_and_laughing_at_oneself_is_no_argument(text: str, language: str) -> None:
    at = datetime.fromisoformat("2026-03-12T10:15:00Z")
    reading = PackReader().read(text, speaker="brand", at=at, language=language)
    assert not reading.of("argues", "blames", "insults", "threatens", "condescends_or_excuses")


def test_marks_stand_where_the_words_are() -> None:
    text = "Oh no &amp; sorry that your bag is late! 😀 Please DM us."
    at = datetime.fromisoformat("2026-03-12T10:15:00Z")
    reading = PackReader().read(text, speaker="brand", at=at, language="en")
    assert {"acknowledges", "apologises", "invites_private", "next_step"} <= {mark.signal for mark in reading.marks}
    assert all(text[mark.start : mark.end] == mark.text for mark in reading.marks)


@pytest.mark.parametrize(
    "unit", ["not sorry ", "great broken ", "we will fix ", "your order number ", "calm down ", "by Friday ", "DM us "]
)
def test_hostile_texts_are_read_in_time_that_grows_with_them(unit: str) -> None:
    reader = PackReader()
    at = datetime.fromisoformat("2026-03-12T10:15:00Z")

    def cost(size: int, speaker: Literal["brand", "customer"]) -> float:
        gc.disable()  # a collection of all that the tests hold would count as reading
        try:
            begun = time.process_time()
            reader.read((unit * size)[:size], speaker=speaker, at=at, language="en")
            return time.process_time() - begun
        finally:
            gc.enable()

    for speaker in ("brand", "customer"):
        cost(1000, speaker)  # compile the packs first
        assert cost(32_000, speaker) < 10 * cost(8000, speaker) + 0.5
