"""Makes the weights of the learned part: reads the corpus, tries five ways to part it, fits, writes, and says how well.

    uv pip install --group train   # scikit-learn; in this plugin's folder
    python training/train.py

Two files come out of it, in `gateway_reading/weights`: `weights.bin` (see `learned.unpack`) and `about.json`, which
holds the scales and the limits, and says what it was trained on and what the trials gave. Equal input gives equal bytes
on one machine.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any
from zlib import crc32

import numpy as np
import scipy.sparse as sparse
import sklearn
from corpus import TRADE, Example, digest, examples
from sklearn.linear_model import LogisticRegression

from gateway_reading.features import KINDS, features
from gateway_reading.learned import UNCLEAR, UNTYING, ZERO
from gateway_reading.prepared import prepare
from gateway_reading.reader import rules

OUT = Path(__file__).parents[1] / "gateway_reading" / "weights"
FUSED = ("acknowledges", "argues", "condescends_or_excuses", "invites_private", "asks_personal_data_publicly")
"""Signals where the learned part joins in. Apologies have so few wordings that the rules know them."""
SIGNALS = (TRADE, *FUSED)
SEEN = (9, 4, 18)
"""In how many texts a feature must be found to get a weight, by kind: letters, phrases, concepts."""
SCALES = (5.0, 6.0, 5.0)
"""By what each kind is divided, so that they are of one size."""
STRENGTH = 10.0
NEWER = 1.5
"""What a row counts that the rules were not tuned for; only for manners and contact."""
BESIDE = 1.0
"""What an answer that shows manners and contact counts among those that look like a trade."""
TRIALS = 5
SPREAD = 99.9
"""Percent of the weights that one byte spans; the few above are cut."""
QUIET = ("argues", "condescends_or_excuses")
"""Signals that no ordinary answer has, so that the ordinary ones that were not written for manners show that too."""
SURE = {"asks_personal_data_publicly": 0.004}
"""Of ordinary answers without a signal, how many may have it for sure, `SURE_ELSEWHERE` for other signals: an argument
or an excuse scolds whoever wrote it, asking for data holds the answer, and agents write hardly anything else."""
SURE_ELSEWHERE = 0.01
UNSURE = {"argues": 0.03, "condescends_or_excuses": 0.015}
"""And how many may have a quiet signal at all. With more, excuses were told where there are none."""
LEAST_WORTH = 1.25
"""What the rules' word counts at least. With less, a score outvoted phrases that are plain."""
ABOUT = 0.003
"""F1 by which two are about as good."""
DISMISSED = -0.5
"""Only below this score the rules' word for a trade may count for nothing."""
FALSE_BLOCKS, FALSE_HOLDS, ORDINARY_HOLDS = 0.06, 0.08, 0.007
"""Of harmless answers that were written to look like a trade, how many may be stopped, and how many held: many are the
counterpart of a trade, word by word, and harder than what agents write. And of ordinary answers, how many may be held
for the model's word alone."""

Matrix = Any


class Corpus:
    """The examples, their features as counts, and what the rules say of them."""

    def __init__(self) -> None:
        self.examples = list(examples())
        self.counts: list[Matrix] = []
        self.keys: list[np.ndarray] = []
        self.marks: list[list[tuple[str, str]]] = []
        found = []
        for each in self.examples:
            text = prepare(each.text, "brand", "public", each.language)
            found.append(features(text))
            self.marks.append([(mark.signal, mark.detail) for mark in rules(text)])
        for kind in range(KINDS):
            columns = [np.array(each[kind], dtype=np.uint32) for each in found]
            keys, at = np.unique(np.concatenate(columns), return_inverse=True)
            rows = np.repeat(np.arange(len(columns)), [len(each) for each in columns])
            counts = sparse.csr_matrix((np.ones(len(at)), (rows, at)), shape=(len(columns), len(keys)))
            self.keys.append(keys)
            self.counts.append(counts)

    def where(self, asked: Callable[[Example], bool]) -> np.ndarray:
        """The numbers of the examples for which it is true."""
        return np.flatnonzero([asked(each) for each in self.examples])

    def labelled(self, signal: str) -> np.ndarray:
        """For each example, whether it has the signal."""
        return np.array([signal in each.labels for each in self.examples])

    def ruled(self, signal: str) -> np.ndarray:
        """For each example, 0, 1 where the rules found the signal, 2 for a trade of which they are sure, and -1 where
        their words untie it or decline."""
        return np.array([_ruled(marks, signal) for marks in self.marks])


def _ruled(marks: Sequence[tuple[str, str]], signal: str) -> int:
    details = [detail for name, detail in marks if name == signal]
    if signal == TRADE and any(detail not in UNCLEAR for detail in details):
        return 2
    if signal == TRADE and not details and any(name in UNTYING for name, _ in marks):
        return -1
    return bool(details)


class Model:
    """The weights of all signals, fitted to some of the examples, in the steps of one byte that will be kept."""

    def __init__(self, corpus: Corpus, used: np.ndarray) -> None:
        self.kept, self.spread = [], []
        for counts, seen in zip(corpus.counts, SEEN, strict=True):
            texts = np.asarray((counts[used] > 0).sum(axis=0)).ravel()
            kept = np.flatnonzero(texts >= seen)
            self.kept.append(kept)
            self.spread.append(np.log((1 + len(used)) / (1 + texts[kept])) + 1)
        whole = self._matrix(corpus, used)
        self.bias: dict[str, float] = {}
        self.steps: dict[str, list[float]] = {}
        self.weights: dict[str, list[np.ndarray]] = {}
        for signal in SIGNALS:
            rows = np.array([_shows(corpus.examples[each], signal) for each in used])
            wanted = corpus.labelled(signal)[used]
            worth = np.array([_worth(corpus.examples[each], signal) for each in used])
            fitted = LogisticRegression(
                C=STRENGTH,
                solver="liblinear",
                dual=True,
                tol=1e-3,
                max_iter=5000,
                class_weight="balanced",
                random_state=0,
            ).fit(whole[rows], wanted[rows], sample_weight=worth[rows])
            self._keep(signal, fitted)

    def _keep(self, signal: str, fitted: LogisticRegression) -> None:
        self.bias[signal] = round(float(fitted.intercept_[0]), 6)
        self.steps[signal], self.weights[signal] = [], []
        begin = 0
        for kept, spread, scale in zip(self.kept, self.spread, SCALES, strict=True):
            weights = fitted.coef_[0][begin : begin + len(kept)] * spread / scale
            begin += len(kept)
            step = round(float(np.percentile(np.abs(weights), SPREAD)) / 127, 8)
            self.steps[signal].append(step)
            self.weights[signal].append(np.clip(np.rint(weights / step), -127, 127))

    def _parts(self, corpus: Corpus, used: np.ndarray) -> Iterable[Matrix]:
        """Counts by kind, each text divided by the root of its size."""
        for counts, kept in zip(corpus.counts, self.kept, strict=True):
            part = counts[used][:, kept]
            size = np.maximum(1.0, np.asarray(part.sum(axis=1)).ravel())
            yield sparse.diags(1 / np.sqrt(size)) @ part

    def _matrix(self, corpus: Corpus, used: np.ndarray) -> Matrix:
        parts = self._parts(corpus, used)
        weighed = [
            part @ sparse.diags(spread / scale) for part, spread, scale in zip(parts, self.spread, SCALES, strict=True)
        ]
        return sparse.hstack(weighed).tocsr()

    def scores(self, corpus: Corpus, used: np.ndarray) -> dict[str, np.ndarray]:
        """What `learned.Weights.scores` gives for these examples."""
        parts = list(self._parts(corpus, used))
        return {
            signal: self.bias[signal]
            + sum(
                step * (part @ weights)
                for part, weights, step in zip(parts, self.weights[signal], self.steps[signal], strict=True)
            )
            for signal in SIGNALS
        }

    def packed(self, corpus: Corpus) -> bytes:
        """The content of `weights.bin`."""
        out = bytearray()
        for kind, kept in enumerate(self.kept):
            out += len(kept).to_bytes(4, "little") + corpus.keys[kind][kept].astype("<u4").tobytes()
            for signal in SIGNALS:
                out += (self.weights[signal][kind] + ZERO).astype(np.uint8).tobytes()
        return bytes(out)


def _shows(example: Example, signal: str) -> bool:
    """Whether it is labelled for the signal."""
    return signal == TRADE or not example.trade or (example.ordinary and signal in QUIET)


def _worth(example: Example, signal: str) -> float:
    if signal == TRADE:
        return 1.0 if example.trade else BESIDE
    return NEWER if example.group else 1.0


def trial_scores(corpus: Corpus) -> tuple[np.ndarray, dict[str, np.ndarray]]:
    """The rows that the rules were not tuned for, and their scores by models that saw nothing of their group."""
    fold = np.array([crc32(f"trial {each.group}".encode()) % TRIALS if each.group else -1 for each in corpus.examples])
    scores = {signal: np.zeros(len(fold)) for signal in SIGNALS}
    for number in range(TRIALS):
        aside = np.flatnonzero(fold == number)
        model = Model(corpus, np.flatnonzero(fold != number))
        for signal, found in model.scores(corpus, aside).items():
            scores[signal][aside] = found
    return np.flatnonzero(fold >= 0), scores


def f1(found: np.ndarray, wanted: np.ndarray) -> float:
    """The harmonic mean of precision and recall."""
    return float(2 * (found & wanted).sum() / max(1, found.sum() + wanted.sum()))


def fuse(
    score: np.ndarray, ruled: np.ndarray, wanted: np.ndarray, ordinary: np.ndarray, signal: str
) -> tuple[dict[str, float], dict[str, Any]]:
    """The worth of the rules, and the limit, that find the signal best, and how well. Of several that are about as good
    the one that trusts the rules most, who know what is usually said; but least for a quiet signal, of which many words
    are also said without it. From the limit on few of the `ordinary` answers have a signal, and still fewer have a
    quiet one for sure."""
    harmless = ordinary & ~wanted & (ruled == 0)
    grid = np.arange(-0.5, 2.6, 0.1)

    def marks_no_more_than(share: float) -> float:
        return float(next(limit for limit in grid if (score[harmless] > limit).mean() <= share))

    sure = marks_no_more_than(SURE.get(signal, SURE_ELSEWHERE))
    least = marks_no_more_than(UNSURE[signal]) if signal in QUIET else sure
    tried = [
        (f1(score + rules * ruled > limit, wanted), rules, limit)
        for rules in np.arange(LEAST_WORTH, 4.1, 0.25)
        for limit in grid
        if limit >= least
    ]
    best = max(each[0] for each in tried)
    good = [each for each in tried if each[0] >= best - ABOUT]
    _, rules, limit = max(good, key=lambda each: (-each[1], each[2]) if signal in QUIET else (each[1], -each[2]))
    found = score + rules * ruled > limit
    limits = {"rules": rules, "limit": limit, "sure": max(sure, limit) if signal in QUIET else limit}
    return {name: round(float(value), 2) for name, value in limits.items()}, {
        "rows": len(wanted),
        "wanted": int(wanted.sum()),
        "f1": round(f1(found, wanted), 3),
        "precision": round(float((found & wanted).sum() / max(1, found.sum())), 3),
        "recall": round(float((found & wanted).sum() / max(1, wanted.sum())), 3),
        "ordinary answers marked": round(float(found[ordinary & ~wanted].mean()), 4),
        "rules alone: f1": round(f1(ruled > 0, wanted), 3),
    }


def limits(
    score: np.ndarray, ruled: np.ndarray, wanted: np.ndarray, ordinary: np.ndarray
) -> tuple[dict[str, float], dict[str, Any]]:
    """The limits of a trade that find most while few harmless answers are stopped or shown to a person. `ordinary` are
    the scores of answers that show manners and contact."""
    grid = np.arange(-3.0, 4.01, 0.1)
    least = float(np.quantile(ordinary, 1 - ORDINARY_HOLDS))
    harmless = ~wanted
    sure = next(each for each in grid if ((ruled == 0) & (score > each))[harmless].mean() <= FALSE_BLOCKS / 10)
    tried = []
    for dismissed in grid[grid < DISMISSED]:
        word = np.where((ruled > 0) & (score < dismissed), 0, ruled)
        for doubted in grid[grid >= dismissed]:
            blocked = ((word == 2) & (score >= doubted)) | ((word == 0) & (score > sure))
            if blocked[harmless].mean() <= FALSE_BLOCKS:
                break
        for likely in grid[(grid <= sure) & (grid >= min(least, sure))]:
            found = (word > 0) | ((word == 0) & (score > likely))
            if (found & ~blocked)[harmless].mean() <= FALSE_HOLDS:
                break
        told = {"dismissed": dismissed, "doubted": doubted, "likely": likely, "sure": sure}
        tried.append((found[wanted].sum(), -dismissed, told, found, blocked))
    _, _, told, found, blocked = max(tried, key=lambda each: each[:2])
    return {name: round(float(each), 2) for name, each in told.items()}, {
        "rows": len(wanted),
        "wanted": int(wanted.sum()),
        "found": _share(found, wanted),
        "blocked": _share(blocked, wanted),
        "false blocks": _share(blocked, harmless),
        "false holds": _share(found & ~blocked, harmless),
    }


def _share(found: np.ndarray, among: np.ndarray) -> float:
    return round(float(found[among].mean()), 3)


def main() -> None:
    """Train, and write both files."""
    corpus = Corpus()
    aside, scores = trial_scores(corpus)
    figures: dict[str, Any] = {}
    fused: dict[str, Any] = {}
    for signal in FUSED:
        rows = np.array([each for each in aside if not corpus.examples[each].trade])
        wanted, ruled = corpus.labelled(signal)[rows], np.minimum(1, corpus.ruled(signal)[rows])
        plain = np.array([corpus.examples[each].ordinary for each in rows])
        fused[signal], figures[signal] = fuse(scores[signal][rows], ruled, wanted, plain, signal)
    rows = np.array([each for each in aside if corpus.examples[each].trade])
    wanted, ruled = corpus.labelled(TRADE)[rows], corpus.ruled(TRADE)[rows]
    ordinary = np.array([each for each in aside if not corpus.examples[each].trade])
    trade, figures[TRADE] = limits(scores[TRADE][rows], ruled, wanted, scores[TRADE][ordinary])
    figures[TRADE] |= {
        "rules alone: found": _share(ruled > 0, wanted),
        "rules alone: false blocks": _share(ruled == 2, ~wanted),
        "rules alone: false holds": _share(ruled == 1, ~wanted),
    }
    model = Model(corpus, np.arange(len(corpus.examples)))
    about = {
        "corpus": digest(),
        "examples": len(corpus.examples),
        "by language": dict(sorted(Counter(each.language for each in corpus.examples).items())),
        "trades": int(corpus.labelled(TRADE).sum()),
        "features": [len(kept) for kept in model.kept],
        "scikit-learn": sklearn.__version__,
        "scales": {signal: {"bias": model.bias[signal], "steps": model.steps[signal]} for signal in SIGNALS},
        "fused": fused,
        "trade": trade,
        "cross-validated": figures,
    }
    OUT.mkdir(exist_ok=True)
    (OUT / "weights.bin").write_bytes(model.packed(corpus))
    (OUT / "about.json").write_text(json.dumps(about, indent=1) + "\n", "utf-8")
    print(json.dumps(figures, indent=1), json.dumps(fused, indent=1), trade, (OUT / "weights.bin").stat().st_size)


if __name__ == "__main__":
    main()
