"""What the learned part is trained on: the `tune` parts of the labelled replies in `tests/corpus`.

Needs nothing beyond the reader, so that a test can tell whether the weights belong to the corpus as it is.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

CORPUS = Path(__file__).parents[1] / "tests" / "corpus"
TRADE = "incentive_for_retraction"
ORDINARY = ("replies_everyday", "trade_ordinary")


class Example(NamedTuple):
    """One reply of a brand and what it was labelled with."""

    text: str
    language: str
    labels: frozenset[str]
    trade: bool
    """Whether it was written to show a trade or what looks like one; else it shows manners and contact."""
    ordinary: bool
    """Whether it is one of the harmless answers that agents write all day."""
    group: str
    """Where it was written after the rules were: rows of one group may be translations of each other."""


def examples() -> Iterator[Example]:
    """The rows to learn from, in the order of the files. A row that needs earlier messages to be understood is none."""
    for path in sorted(CORPUS.glob("*.jsonl")):
        for line in path.read_text("utf-8").splitlines():
            row = json.loads(line)
            if row["part"] != "tune" or row.get("speaker", "brand") != "brand" or row.get("earlier"):
                continue
            if not path.stem.startswith(("trade", "replies")):
                continue
            yield Example(
                row["text"],
                row["language"],
                frozenset(row["labels"]),
                path.stem.startswith("trade"),
                path.stem.startswith(ORDINARY),
                row.get("group", ""),
            )


def digest() -> str:
    """Changes with whatever is learned from."""
    found = hashlib.sha256()
    for each in examples():
        found.update(json.dumps([each.text, each.language, sorted(each.labels), each.group]).encode() + b"\n")
    return found.hexdigest()[:16]
