"""The learned part: what many examples say of a text, where the lists and patterns of the packs have no word for it.

A linear model for each signal (logistic regression) weighs the features of a text; `training/` makes the weights. What
it says is joined with what the rules found, and counts only for a reply in a language that both know.

- *Manners and contact*: one sum of the model's score and, where they found the signal, the worth of the rules. Where
  the sum is above the limit the text has the signal, else it has not, whoever said so; up to a second limit its marks
  are not `sure`. Blame, insults and threats are left to the rules: what they found stays an argument.
- *Trades*: where rules and model agree, nothing changes. A trade of the rules that the model does not see gets the
  detail `doubted`, and is none where the model is sure of the contrary. One that only the model sees is `likely`, or
  `sure` from a very high score on.

A mark of the learned part stands on the sentence that speaks for it most, and has `learned` or the above as detail.
"""

from __future__ import annotations

import json
import sys
from array import array
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from functools import cache, cached_property, lru_cache
from importlib.resources import files
from itertools import pairwise

from gateway_reading.features import (
    CONCEPTS,
    KINDS,
    PHRASES,
    across_sentences,
    concepts,
    letters_of,
    phrases,
    within_a_sentence,
    words,
)
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
"""Words of a text that it looks at, to the end of their sentence."""
REMEMBERED = 16_384
"""Words of which it is remembered what their letters weigh."""
FIELD = 40
"""Bits of each sum in a `Sums`: enough for a thousand million features, so that none runs over into the next."""
Sums = int
"""Several sums in one number, side by side, so that one addition adds them all: from the lowest bits on, how many known
features there are, and by signal the sum of their weights in steps."""


@dataclass(frozen=True, slots=True)
class Scale:
    """How the weights of one signal become a score."""

    bias: float
    steps: tuple[float, ...]
    """What one step of a weight is worth, by kind of feature."""


@dataclass(frozen=True, slots=True)
class Fused:
    """From where on a text has a signal: `score + rules > limit`, the second only where the rules found it; and from
    where on that is sure."""

    rules: float
    limit: float
    sure: float


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

    rows: tuple[dict[int, Sums], ...]
    """By kind, what each key weighs for all signals."""
    scales: dict[str, Scale]
    fused: dict[str, Fused]
    trade: Limits
    word: Callable[[str], Sums]
    """What the letters of a word weigh; remembered for those met lately."""

    def scores(self, letters: Sums, phrases: Sums, concepts: Sums) -> dict[str, float]:
        """The score of each signal, above zero where the examples speak for it."""
        weighed = [_apart(sums, len(self.scales)) for sums in (letters, phrases, concepts)]
        return {
            signal: scale.bias
            + sum(
                step * (steps[place] - ZERO * count) / count**0.5
                for step, (count, *steps) in zip(scale.steps, weighed, strict=True)
                if count
            )
            for place, (signal, scale) in enumerate(self.scales.items())
        }


def weigh(rows: Mapping[int, Sums], keys: Iterable[int]) -> Sums:
    """What the known ones among the keys weigh together; each is looked up and added in C."""
    return sum(filter(None, map(rows.get, keys)))


def _apart(sums: Sums, signals: int) -> list[int]:
    return [sums >> FIELD * place & (1 << FIELD) - 1 for place in range(signals + 1)]


def unpack(packed: bytes, signals: int) -> tuple[dict[int, Sums], ...]:
    """The weights of `weights.bin`: for each kind a count and that many keys, of 32 bits and the lowest byte first,
    then for each signal a byte for each key."""
    rows: list[dict[int, Sums]] = []
    at = 0
    for _ in range(KINDS):
        count = int.from_bytes(packed[at : at + 4], "little")
        at += 4
        keys = array("I", packed[at : at + 4 * count])
        if sys.byteorder == "big":
            keys.byteswap()
        at += 4 * count
        tables = [packed[at + count * signal : at + count * (signal + 1)] for signal in range(signals)]
        at += count * signals
        rows.append(
            {
                key: sum(steps << FIELD * place for place, steps in enumerate((1, *weights)))
                for key, *weights in zip(keys, *tables, strict=True)
            }
        )
    return tuple(rows)


@cache
def load() -> Weights:
    """The weights that ship; read once in a process."""
    folder = files("gateway_reading") / "weights"
    about = json.loads((folder / "about.json").read_text("utf-8"))
    rows = unpack((folder / "weights.bin").read_bytes(), len(about["scales"]))

    @lru_cache(maxsize=REMEMBERED)
    def word(written: str) -> Sums:
        return weigh(rows[0], letters_of(written))

    return Weights(
        rows,
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
    sentences = _Sentences(text, weights)
    scores = sentences.scores()
    marks = _trade(marks, weights.trade, scores[TRADE], sentences)
    for signal, fused in weights.fused.items():
        found = any(mark.signal == signal for mark in marks)
        speaks = scores[signal] + (fused.rules if found else 0.0)
        if speaks <= fused.limit:
            marks = [mark for mark in marks if mark.signal != signal or mark.detail in HOSTILE]
        elif not found and not (signal == DATA and _elsewhere(text)):
            marks.append(sentences.mark(signal, "learned", sure=speaks > fused.sure))
        elif speaks <= fused.sure:
            marks = [_unsure(mark) if mark.signal == signal and mark.detail not in HOSTILE else mark for mark in marks]
    return marks


def _unsure(mark: Mark) -> Mark:
    return mark.model_copy(update={"sure": False})


def _elsewhere(text: Prepared) -> bool:
    """Whether data would not be given in public: in a private text, or beside a link, most of which lead to a form."""
    return text.visibility != "public" or any(token.kind == "url" for token in text.tokens)


class _Sentences:
    """What each sentence weighs, and so the text. Sentences have scores of their own only where a text gets a mark."""

    def __init__(self, text: Prepared, weights: Weights) -> None:
        self._text = text
        self._weights = weights
        self._sentences = [each for each in text.sentences if each.first < MOST]
        self._letters = [sum(map(weights.word, words(text, each))) for each in self._sentences]
        self._concepts = concepts(text, len(self._sentences))
        self._within = [self._weigh(CONCEPTS, within_a_sentence(each)) for each in self._concepts]

    def _weigh(self, kind: int, keys: Iterable[int]) -> Sums:
        return weigh(self._weights.rows[kind], keys)

    def scores(self) -> dict[str, float]:
        """What the model says of the text."""
        whole = phrases(self._text, Stretch(0, self._sentences[-1].last))
        across = (key for two in pairwise(self._concepts) for key in across_sentences(*two))
        return self._weights.scores(
            sum(self._letters), self._weigh(PHRASES, whole), sum(self._within) + self._weigh(CONCEPTS, across)
        )

    @cached_property
    def _scored(self) -> list[tuple[Stretch, dict[str, float]]]:
        return [
            (each, self._weights.scores(letters, self._weigh(PHRASES, phrases(self._text, each)), within))
            for each, letters, within in zip(self._sentences, self._letters, self._within, strict=True)
        ]

    def mark(self, signal: str, detail: str, *, sure: bool = True) -> Mark:
        """A mark on the sentence that speaks for the signal most."""
        best, _ = max(self._scored, key=lambda each: (each[1][signal], -each[0].first))
        text = self._text
        start, end = text.tokens[best.first].start, text.tokens[best.last - 1].end
        return Mark(signal=signal, start=start, end=end, text=text.text[start:end], detail=detail, sure=sure)


def _trade(marks: list[Mark], limits: Limits, score: float, sentences: _Sentences) -> list[Mark]:
    if not any(mark.signal == TRADE for mark in marks):
        if score > limits.likely and not any(mark.signal in UNTYING for mark in marks):
            marks.append(sentences.mark(TRADE, "sure" if score > limits.sure else "likely"))
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
