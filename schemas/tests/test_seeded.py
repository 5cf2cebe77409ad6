"""The list of seeded bugs is current, its results are those of the list, and a sample of it is found."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from pathlib import Path

import pytest

from gateway_schemas.testing.planting import load_changed

SEEDED = Path(__file__).parent / "seeded"
ROOT = SEEDED.parents[2]
BUGS = load_changed(SEEDED / "bugs.py")
RESULTS = (SEEDED / "RESULTS.md").read_text("utf-8")
SAMPLE = {
    "x: edit is a new thing": "test_edit_ignored",
    "inbound: any age of webhook": "test_stale_accepted",
    "bluesky: facets count characters": "test_answer_changed",
    "google_play: another's reply overwritten": "test_slot_overwritten",
    "zammad: mark missing": "test_mark_missing",
    "freshdesk: the cursor goes to now": "test_answer_not_noticed_by_a_slow_clock",
}
"""Bugs in as many plugins, each with the one check that is run for it."""


def test_every_bug_can_be_planted() -> None:
    for bug in BUGS.BUGS:
        path = ROOT / "plugins" / bug.plugin / f"gateway_{Path(bug.plugin).name}" / f"{bug.file}.py"
        text = path.read_text("utf-8")
        assert text.count(bug.old) == 1, f"{bug.name}: adapt `old` in bugs.py to {path.relative_to(ROOT)}"
        compile(text.replace(bug.old, bug.new), bug.name, "exec", dont_inherit=True)


def test_every_source_and_helpdesk_has_several() -> None:
    names = [bug.name for bug in BUGS.BUGS]
    assert len(set(names)) == len(names)
    for folder in ("sources", "helpdesks"):
        for path in (ROOT / "plugins" / folder).iterdir():
            if (path / "pyproject.toml").exists():
                of_it = [bug for bug in BUGS.BUGS if bug.plugin == f"{folder}/{path.name}"]
                assert len(of_it) >= 3, f"{path.name} has {len(of_it)} seeded bugs"


def test_the_results_are_those_of_the_list() -> None:
    rows = re.findall(r"^\| (.+?) \| (?:yes|no) \| (.+?) \|", RESULTS, re.MULTILINE)
    assert [name for name, _ in rows] == [bug.name for bug in BUGS.BUGS], "write it: schemas/tests/seeded/hunt.py"
    found = [name for name, check in rows if check.startswith("`")]
    assert len(rows) >= 60
    assert len(found) >= 0.95 * len(rows)


@pytest.mark.parametrize("name", SAMPLE)
def test_a_sample_is_found(name: str) -> None:
    bug = next(bug for bug in BUGS.BUGS if bug.name == name)
    command = [sys.executable, str(SEEDED / "hunt.py"), "--work", bug.plugin, f"{name}\t{SAMPLE[name]}"]
    ended = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True)
    assert json.loads(ended.stdout.splitlines()[-1])[1] == SAMPLE[name]
