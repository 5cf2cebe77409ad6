"""Looks for each deliberate bug with schedules: what is found, and by which seed."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from support.repository import ROOT
from torture.bugs.bugs import BUGS, Bug


def plant(bug: Bug, folder: Path) -> None:
    """A copy of the gateway with the bug in it. Raises ValueError when the code is not as the bug knows it."""
    shutil.copytree(ROOT / "gateway", folder / "gateway")
    for file, old, new in bug.edits:
        path = folder / "gateway" / file
        text = path.read_text()
        if text.count(old) != 1:
            raise ValueError(f"{bug.name}: what it replaces stands {text.count(old)} times in gateway/{file}")
        path.write_text(text.replace(old, new))


def hunt(bug: Bug, schedules: int) -> dict[str, Any]:
    """Run schedules until one finds something."""
    began = time.time()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        plant(bug, folder)
        options = ["--stop", "--schedules", str(schedules), "--first", "100001"]
        options += ["--pairs", bug.pairs] if bug.pairs else []
        options += ["--harm", bug.harm] if bug.harm else []
        options += ["--steps", bug.steps] if bug.steps else []
        ended = run(options, folder)
    told: dict[str, Any] = {"bug": bug.name, "seconds": round(time.time() - began, 1)}
    try:
        summary = json.loads(ended.stdout.splitlines()[-1])
    except (ValueError, IndexError):
        # it does not even run: that is found too, but not by the oracle
        return {**told, "found": "crash", "how": ended.stderr[-300:]}
    told["schedules"] = summary["schedules"]
    if not summary["failures"]:
        return {**told, "found": False, "how": None}
    first = summary["failures"][0]
    how = f"{first['found'][0][0]}: {first['found'][0][1]}"[:200]
    return {**told, "found": True, "how": how, "again": first["again"]}


def run(options: Sequence[str], *before: Path) -> subprocess.CompletedProcess[str]:
    """Schedules in a process of their own, with what is in `before` in the place of what is here."""
    command = [sys.executable, str(ROOT / "tests/torture/run.py"), "--json", *options]
    path = os.pathsep.join(map(str, (*before, ROOT / "tests")))
    environment = {**os.environ, "PYTHONPATH": path, "PYTHONHASHSEED": "0"}
    environment.pop("PYTHONDONTWRITEBYTECODE", None)  # compiling everything takes longer than some schedules
    return subprocess.run(command, env=environment, capture_output=True, text=True, check=False)


def hunt_all(schedules: int, only: Sequence[str], *, as_json: bool) -> int:
    """Each bug in turn; 1 when one was not found.

    What a bug is found by must be clean without it: those schedules are run once more, all together, on the code as
    it is.
    """
    chosen = [bug for bug in BUGS if not only or any(word in bug.name for word in only)]
    results = []
    for bug in chosen:
        result = hunt(bug, schedules)
        results.append(result)
        if as_json:
            print(json.dumps(result), flush=True)
        else:
            told = f"found after {result.get('schedules')} schedules" if result["found"] else "NOT FOUND"
            print(f"{bug.name}: {told} ({result['seconds']:.0f} s)\n    {result['how']}", flush=True)
    again = sorted({one["again"] for one in results if "again" in one})
    unclean = set()
    if again:
        summary = json.loads(run(["--again", ";".join(again)]).stdout.splitlines()[-1])
        unclean = {one["again"] for one in summary["failures"]}
    missed = [one["bug"] for one in results if not one["found"] or one.get("again") in unclean]
    for one in sorted(unclean):
        print(f"{one} is not clean without a bug either", flush=True)
    if not as_json:
        print(f"\n{len(chosen) - len(missed)} of {len(chosen)} bugs found; not: {', '.join(missed) or 'none'}")
    return 1 if missed else 0
