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
    summary = run("--schedules", "18")
    assert summary["failures"] == []
    assert summary["schedules"] == 18


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_a_seed_goes_the_same_way_again() -> None:
    summary = run("--schedules", "2", "--pairs", "x:zendesk,inbound:freshdesk", "--harm", "kill,stall", "--twice")
    assert summary["failures"] == []


@pytest.mark.parametrize("bug", BUGS, ids=[bug.name for bug in BUGS])
def test_each_deliberate_bug_can_still_be_made(bug: Bug) -> None:
    for file, old, new in bug.edits:
        assert (ROOT / "gateway" / file).read_text().count(old) == 1, f"gateway/{file} has changed: mend the bug"
        assert old != new
