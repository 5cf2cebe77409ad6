"""A small sample of the torture for every run of the tests; `make torture ARGS="--schedules 2000"` runs the rest."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from typing import Any

import pytest

from support.repository import ROOT
from torture.bugs.bugs import BUGS, Bug
from torture.schedule import HARM
from torture.stage import PAIRS
from torture.story import STEPS


def run(*arguments: str) -> dict[str, Any]:
    """Schedules in a process of their own, whose clock and dice are theirs; the summary."""
    environment = {**os.environ, "PYTHONPATH": str(ROOT / "tests"), "PYTHONHASHSEED": "0"}
    command = [sys.executable, str(ROOT / "tests/torture/run.py"), "--json", *arguments]
    ended = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    assert ended.stdout, ended.stderr[-3000:]
    summary: dict[str, Any] = json.loads(ended.stdout.splitlines()[-1])
    return summary


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_a_sample_of_schedules_ends_with_nothing_lost_doubled_or_made_public() -> None:
    summary = run("--schedules", str(len(PAIRS)))
    assert summary["failures"] == []
    assert summary["schedules"] == len(PAIRS)


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_a_seed_goes_the_same_way_again() -> None:
    summary = run("--schedules", "1", "--pairs", "x:freshdesk", "--harm", "kill,stall", "--twice")
    assert summary["failures"] == []


def test_each_deliberate_bug_asks_for_what_there_is() -> None:
    def words(text: str) -> set[str]:
        return set(filter(None, text.split(",")))

    for bug in BUGS:
        assert words(bug.pairs) <= set(PAIRS), bug.name
        assert words(bug.harm) <= set(HARM), bug.name
        assert words(bug.steps) <= set(STEPS), bug.name
    assert len({bug.name for bug in BUGS}) == len(BUGS) >= 30


@pytest.mark.parametrize("bug", BUGS, ids=[bug.name for bug in BUGS])
def test_each_deliberate_bug_can_still_be_made(bug: Bug) -> None:
    for file, old, new in bug.edits:
        assert (ROOT / "gateway" / file).read_text().count(old) == 1, f"gateway/{file} has changed: mend the bug"
        assert old != new
