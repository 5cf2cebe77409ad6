"""The learned part: what many examples say of a text, where the lists and patterns of the packs have no word for it.

A linear model for each signal (logistic regression) weighs the features of a text; `training/` makes the weights. What
it says is joined with what the rules found, and counts only for a reply in a language that both know.

- *Manners and contact*: one sum of the model's score and, where they found the signal, the worth of the rules. Where
  the sum is above the limit the text has the signal, else it has not, whoever said so. Blame, insults and threats are
  left to the rules: what they found stays an argument.
- *Trades*: where rules and model agree, nothing changes. A trade of the rules that the model does not see gets the
  detail `doubted`, and is none where the model is sure of the contrary. One that only the model sees is `likely`, or
  `sure` from a very high score on.

A mark of the learned part stands on the sentence that speaks for it most, and has `learned` or the above as detail.
"""

from __future__ import annotations

import json
import sys
from array import array
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cache, lru_cache
from importlib.resources import files
from operator import itemgetter

from gateway_reading.features import KINDS, Features, features, letters_of
from gateway_reading.prepared import Prepared
from gateway_reading.tokens import Stretch
from gateway_schemas.reading import Mark

TRADE = "incentive_for_retraction"
DATA = "asks_personal_data_publicly"
HOSTILE = ("blames", "insults", "threatens")
"""Details of an argument that the rules alone decide."""
UNCLEAR = ("untied_in_words", "hinted")
"""Details of a trade that the rules themselves would show to a person."""
UNTYING = ("x_untied", "declines", "withdraws_offer")
"""Signals of words that no trade would use; where the rules found one, the model sees none."""
FEWEST = 8
"""Words of a text that the model is asked about: fewer say too little, and the rules know such texts."""
ZERO = 128
"""The byte of a weight that is nought: a byte has no sign."""
MOST = 600
"""Words of a text that it looks at."""
REMEMBERED = 16_384
"""Words of which it is remembered what their letters weigh."""
Steps = tuple[int, tuple[int, ...]]
"""How many known features there are, and by signal the sum of their weights in steps."""


@dataclass(frozen=True, slots=True)
class Scale:
    """How the weights of one signal become a score."""

    bias: float
    steps: tuple[float, ...]
    """What one step of a weight is worth, by kind of feature."""


@dataclass(frozen=True, slots=True)
class Fused:
    """From where on a text has a signal: `score + rules > limit`, the second only where the rules found it."""

    rules: float
    limit: float


@dataclass(frozen=True, slots=True)
class Limits:
    """Scores of a trade: below `dismissed` the rules' word counts for nothing, below `doubted` it is doubted; above
    `likely` and `sure` the model's counts."""

    dismissed: float
    doubted: float
    likely: float
    sure: float


@dataclass(frozen=True, slots=True)
class Weights:
    """The weights of all signals, for the keys of features that are worth one."""

    rows: tuple[dict[int, int], ...]
    """By kind, the place of a key in the tables of that kind."""
    tables: dict[str, tuple[bytes, ...]]
    """By signal and kind, for each key a weight in steps, as a byte from `ZERO` on."""
    scales: dict[str, Scale]
    fused: dict[str, Fused]
    trade: Limits
    word: Callable[[str], Steps]
    """What the letters of a word weigh; remembered for those met lately."""

    def scores(self, found: Features, signals: Iterable[str] | None = None) -> dict[str, float]:
        """The score of each signal, above zero where the examples speak for it."""
        weighed = [_together([self.word(word) for word in found.words], len(self.tables))]
        for kind, keys in ((1, found.phrases), (2, found.concepts)):
            weighed.append(weigh(self.rows[kind], [tables[kind] for tables in self.tables.values()], keys))
        scores = {}
        for place, (signal, scale) in enumerate(self.scales.items()):
            if signals is None or signal in signals:
                scores[signal] = scale.bias + sum(
                    step * (steps[place] - ZERO * count) / count**0.5
                    for step, (count, steps) in zip(scale.steps, weighed, strict=True)
                    if count
                )
        return scores


def weigh(rows: Mapping[int, int], tables: Sequence[bytes], keys: Iterable[int]) -> Steps:
    """How many of the keys are known, and the sum of their steps in each table."""
    known = [row for key in keys if (row := rows.get(key)) is not None]
    if len(known) < 2:
        return len(known), tuple(table[known[0]] if known else 0 for table in tables)
    pick = itemgetter(*known)  # one pass in C for each table
    return len(known), tuple(sum(pick(table)) for table in tables)


def _together(several: Sequence[Steps], width: int) -> Steps:
    if not several:
        return 0, (0,) * width
    return sum(count for count, _ in several), tuple(map(sum, zip(*(steps for _, steps in several), strict=True)))


def unpack(packed: bytes, signals: Sequence[str]) -> tuple[tuple[dict[int, int], ...], dict[str, tuple[bytes, ...]]]:
    """The keys and the tables of `weights.bin`: for each kind a count and that many keys, of 32 bits and the lowest
    byte first, then for each signal a byte for each key."""
    rows: list[dict[int, int]] = []
    tables: dict[str, list[bytes]] = {signal: [] for signal in signals}
    at = 0
    for _ in range(KINDS):
        count = int.from_bytes(packed[at : at + 4], "little")
        at += 4
        keys = array("I", packed[at : at + 4 * count])
        if sys.byteorder == "big":
            keys.byteswap()
        at += 4 * count
        rows.append(dict(zip(keys, range(count), strict=True)))
        for signal in signals:
            tables[signal].append(packed[at : at + count])
            at += count
    return tuple(rows), {signal: tuple(each) for signal, each in tables.items()}


@cache
def load() -> Weights:
    """The weights that ship; read once in a process."""
    folder = files("gateway_reading") / "weights"
    about = json.loads((folder / "about.json").read_text("utf-8"))
    rows, tables = unpack((folder / "weights.bin").read_bytes(), list(about["scales"]))
    letters = [each[0] for each in tables.values()]

    @lru_cache(maxsize=REMEMBERED)
    def word(written: str) -> Steps:
        return weigh(rows[0], letters, letters_of(written))

    return Weights(
        rows,
        tables,
        {signal: Scale(each["bias"], tuple(each["steps"])) for signal, each in about["scales"].items()},
        {signal: Fused(**each) for signal, each in about["fused"].items()},
        Limits(**about["trade"]),
        word,
    )


def judge(text: Prepared, marks: list[Mark]) -> list[Mark]:
    """The marks of the rules and of the learned part together. Called once for each text."""
    if text.speaker != "brand" or text.coverage != "full" or len(text.tokens) < FEWEST:
        return marks
    weights = load()
    scores = weights.scores(features(text, Stretch(0, MOST)))
    marks = _trade(text, marks, weights, scores[TRADE])
    for signal, fused in weights.fused.items():
        found = any(mark.signal == signal for mark in marks)
        said = scores[signal] + (fused.rules if found else 0.0) > fused.limit
        if said and not found and not (signal == DATA and _elsewhere(text)):
            marks.append(_mark(text, weights, signal, "learned"))
        elif found and not said:
            marks = [mark for mark in marks if mark.signal != signal or mark.detail in HOSTILE]
    return marks


def _elsewhere(text: Prepared) -> bool:
    """Whether data would not be given in public: in a private text, or beside a link, most of which lead to a form."""
    return text.visibility != "public" or any(token.kind == "url" for token in text.tokens)


def _trade(text: Prepared, marks: list[Mark], weights: Weights, score: float) -> list[Mark]:
    limits = weights.trade
    if not any(mark.signal == TRADE for mark in marks):
        if score > limits.likely and not any(mark.signal in UNTYING for mark in marks):
            marks.append(_mark(text, weights, TRADE, "sure" if score > limits.sure else "likely"))
        return marks
    if score < limits.dismissed:
        return [mark for mark in marks if mark.signal != TRADE or mark.detail == "untied_in_words"]
    if score < limits.doubted:
        doubted = {"detail": "doubted"}
        return [
            mark.model_copy(update=doubted) if mark.signal == TRADE and mark.detail not in UNCLEAR else mark
            for mark in marks
        ]
    return marks


def _mark(text: Prepared, weights: Weights, signal: str, detail: str) -> Mark:
    """A mark on the sentence that speaks for the signal most."""
    sentences = [each for each in text.sentences if each.first < MOST]
    best = max(
        sentences,
        key=lambda each: (weights.scores(features(text, each), (signal,))[signal], -each.first),
    )
    start, end = text.tokens[best.first].start, text.tokens[best.last - 1].end
    return Mark(signal=signal, start=start, end=end, text=text.text[start:end], detail=detail)
