"""The learned part: it belongs to the corpus, keeps its place, and finds what was written after the rules were."""

from __future__ import annotations

import importlib.util
import json
from collections import defaultdict
from collections.abc import Iterator
from datetime import UTC, datetime
from functools import cache
from importlib.resources import files
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from gateway_reading.learned import TRADE, load
from gateway_reading.prepared import prepare
from gateway_reading.reader import PackReader, rules
from gateway_schemas.reading import Reading

FOLDER = Path(__file__).parent
AT = datetime(2026, 3, 12, 10, 15, tzinfo=UTC)
LANGUAGES = ("en", "es", "fr", "de", "pt", "it")
SIGNALS = (
    "acknowledges",
    "apologises",
    "argues",
    "condescends_or_excuses",
    "invites_private",
    "asks_personal_data_publicly",
)
READER = PackReader()


@cache
def training_corpus() -> ModuleType:
    """`training/corpus.py`, which no distribution holds."""
    spec = importlib.util.spec_from_file_location("training_corpus", FOLDER.parent / "training" / "corpus.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def about() -> dict[str, Any]:
    return dict(json.loads((files("gateway_reading") / "weights" / "about.json").read_text("utf-8")))


def read(text: str, **given: Any) -> Reading:
    return READER.read(text, **{"speaker": "brand", "at": AT, "language": "en", **given})


def rows(pattern: str, part: str) -> Iterator[dict[str, Any]]:
    for path in sorted((FOLDER / "corpus").glob(pattern)):
        for line in path.read_text("utf-8").splitlines():
            row = json.loads(line)
            if row["part"] == part:
                yield row


def test_the_weights_were_trained_on_the_corpus_as_it_is() -> None:
    assert about()["corpus"] == training_corpus().digest(), "train again: training/README.md"
    assert about()["examples"] == sum(1 for _ in training_corpus().examples())


def test_the_weights_are_small_and_complete() -> None:
    folder = files("gateway_reading") / "weights"
    assert len((folder / "weights.bin").read_bytes()) < 1_000_000
    assert [len(kept) for kept in load().rows] == about()["features"]


OBLIQUE = ("replies_said_*", "replies_more_*")
LATER = ("replies_disputes_*", "replies_judged_*", "replies_drawer_*", "replies_spoken_*", "replies_everyday_*")


@pytest.mark.parametrize("pattern", [*OBLIQUE, *LATER, "trade_said_*", "trade_more_*"])
def test_what_may_be_a_translation_is_in_one_part(pattern: str) -> None:
    parts = defaultdict(set)
    for part in ("tune", "held_out"):
        for row in rows(pattern, part):
            parts[row["group"]].add(part)
    assert {len(each) for each in parts.values()} == {1}
    assert 0.15 <= sum("held_out" in each for each in parts.values()) / len(parts) <= 0.25


@pytest.mark.parametrize("patterns", [OBLIQUE, LATER, ("replies_unseen*",)], ids=["oblique", "later", "unseen"])
def test_manners_are_read_in_answers_written_after_the_rules(patterns: tuple[str, ...]) -> None:
    """Compares with the rules alone, which nobody tuned on these."""
    counts: dict[tuple[str, str], list[int]] = defaultdict(lambda: [0, 0, 0])
    for row in (each for pattern in patterns for each in rows(pattern, "held_out")):
        found = read(row["text"], language=row["language"], visibility=row["visibility"])
        ruled = {mark.signal for mark in rules(prepare(row["text"], "brand", row["visibility"], row["language"]))}
        for signal in SIGNALS:
            expected = signal in row["labels"]
            got = found.has(signal)
            for name, said in ((row["language"], got), ("all", got), ("rules", signal in ruled)):
                counts[signal, name][0] += expected and said
                counts[signal, name][1] += said and not expected
                counts[signal, name][2] += expected and not said
    score = {key: 2 * hit / max(1, 2 * hit + wrong + missed) for key, (hit, wrong, missed) in counts.items()}
    heads = "".join(f"{name:>11}" for name in (*LANGUAGES, "all", "rules"))
    print(f"\n{' '.join(patterns)}\n{'precision/recall':30}{heads}   F1")
    for signal in SIGNALS:
        cells = []
        for name in (*LANGUAGES, "all", "rules"):
            hit, wrong, missed = counts[signal, name]
            cells.append(f"{hit / max(1, hit + wrong):.2f}/{hit / max(1, hit + missed):.2f}")
        print(f"{signal:30}" + "".join(f"{cell:>11}" for cell in cells) + f"  {score[signal, 'all']:.3f}")
        print(f"{'':30}" + f"{'rules alone':>90}" + f"  {score[signal, 'rules']:.3f}")
        assert score[signal, "all"] >= score[signal, "rules"] - 0.02, signal
    assert sum(score[signal, "all"] for signal in SIGNALS) / len(SIGNALS) >= 0.75


def test_a_learned_mark_stands_on_the_sentence_that_speaks_for_it() -> None:
    found = 0
    for row in rows("*_said_*", "held_out"):
        reading = read(row["text"], language=row["language"])
        for mark in reading.marks:
            assert row["text"][mark.start : mark.end] == mark.text
            found += mark.detail in ("learned", "likely", "sure")
    assert found > 50


def test_it_says_nothing_of_what_it_does_not_know() -> None:
    learned = {"learned", "likely", "sure", "doubted"}
    row = next(
        row for row in rows("trade_said_en*", "tune") if learned & {mark.detail for mark in read(row["text"]).of(TRADE)}
    )
    assert not learned & {mark.detail for mark in read(row["text"], speaker="customer").marks}
    assert not learned & {mark.detail for mark in read("ok, done!").marks}
    unknown = read("Als u de recensie verwijdert, krijgt u van ons een bon van twintig euro.", language="nl")
    assert not learned & {mark.detail for mark in unknown.marks}


def test_equal_texts_get_equal_readings() -> None:
    text = "We took the cost of the evening off your card. It would be nice if the page looked as kind as we were."
    assert read(text) == PackReader().read(text, speaker="brand", at=AT, language="en")


def test_only_public_answers_ask_for_data_where_others_read() -> None:
    asked = [row for row in rows("replies_said_*", "tune") if "asks_personal_data_publicly" in row["labels"]]
    assert asked
    for row in asked:
        reading = read(row["text"], language=row["language"], visibility="private")
        assert not reading.has("asks_personal_data_publicly")


def test_marks_between_the_two_limits_are_not_sure() -> None:
    """Each kind occurs, only for the two signals that have two limits, and blame stays as sure as the rules are."""
    seen = set()
    for row in (each for pattern in LATER for each in rows(pattern, "held_out")):
        for mark in read(row["text"], language=row["language"]).marks:
            if not mark.sure:
                assert mark.signal in ("argues", "condescends_or_excuses")
                assert mark.detail not in ("blames", "insults", "threatens")
            if mark.signal in ("argues", "condescends_or_excuses"):
                seen.add((mark.signal, mark.sure, mark.detail == "learned"))
    assert len(seen) == 8
