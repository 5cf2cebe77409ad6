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

from support.repository import ROOT
from torture.bugs.bugs import BUGS, Bug


def plant(bug: Bug, folder: Path) -> None:
    """A copy of the gateway with the bug in it. Raises ValueError when the code is not as the bug knows it."""
    shutil.copytree(ROOT / "gateway", folder / "gateway", ignore=shutil.ignore_patterns("__pycache__"))
    for file, old, new in bug.edits:
        path = folder / "gateway" / file
        text = path.read_text()
        if text.count(old) != 1:
            raise ValueError(f"{bug.name}: what it replaces stands {text.count(old)} times in gateway/{file}")
        path.write_text(text.replace(old, new))


def hunt(bug: Bug, schedules: int) -> dict[str, object]:
    """Run schedules until one finds something."""
    began = time.time()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        plant(bug, folder)
        command = [sys.executable, str(ROOT / "tests/torture/run.py"), "--json", "--stop"]
        command += ["--schedules", str(schedules), "--first", "100001"]
        command += ["--pairs", bug.pairs] if bug.pairs else []
        command += ["--harm", bug.harm] if bug.harm else []
        environment = {
            **os.environ,
            "PYTHONPATH": os.pathsep.join([str(folder), str(ROOT / "tests")]),
            "PYTHONDONTWRITEBYTECODE": "1",
            "PYTHONHASHSEED": "0",
        }
        ended = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    try:
        summary = json.loads(ended.stdout.splitlines()[-1])
    except (ValueError, IndexError):
        # it does not even run: that is found too, but not by the oracle
        return {"bug": bug.name, "found": "crash", "how": ended.stderr[-300:], "seconds": time.time() - began}
    first = summary["failures"][0] if summary["failures"] else None
    return {
        "bug": bug.name,
        "found": bool(first),
        "schedules": summary["schedules"],
        "seed": first and f"{first['pair']} {first['seed']}",
        "how": first and f"{first['found'][0][0]}: {first['found'][0][1]}"[:200],
        "seconds": round(time.time() - began, 1),
    }


def hunt_all(schedules: int, only: Sequence[str], *, as_json: bool) -> int:
    """Each bug in turn; 1 when one was not found."""
    chosen = [bug for bug in BUGS if not only or any(word in bug.name for word in only)]
    missed = 0
    for bug in chosen:
        result = hunt(bug, schedules)
        missed += not result["found"]
        if as_json:
            print(json.dumps(result), flush=True)
        else:
            told = f"found after {result.get('schedules')} schedules" if result["found"] else "NOT FOUND"
            print(f"{bug.name}: {told} ({result['seconds']:.0f} s)\n    {result['how']}", flush=True)
    if not as_json:
        print(f"\n{len(chosen) - missed} of {len(chosen)} bugs found")
    return 1 if missed else 0
