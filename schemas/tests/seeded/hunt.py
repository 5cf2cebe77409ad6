"""Plants each bug in a copy of its plugin, runs the plugin's contract test on it, and says which check found it.

python schemas/tests/seeded/hunt.py                    # all, and writes RESULTS.md; some minutes
python schemas/tests/seeded/hunt.py --only "zendesk:"  # those whose name has this in it; writes nothing
"""

from __future__ import annotations

import argparse
import os
import re
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from shutil import copytree, ignore_patterns

sys.path.insert(0, str(Path(__file__).parents[1]))

from seeded.bugs import BUGS, EQUIVALENT, FIRST_RUN, Bug  # noqa: E402 - found beside this file

ROOT = Path(__file__).parents[3]
RESULTS = Path(__file__).with_name("RESULTS.md")
_FAILED = re.compile(r"^(?:FAILED|ERROR) \S+?::\w+::(\w+)\S*(?: - (.*))?$", re.MULTILINE)


@dataclass(frozen=True)
class Outcome:
    """What became of one bug."""

    bug: Bug
    check: str | None
    """The first check that failed; None where all passed."""
    told: str
    """What it said, in short."""


def package_of(plugin: str) -> Path:
    """A plugin's package."""
    return ROOT / "plugins" / plugin / f"gateway_{Path(plugin).name}"


def contract_test_of(plugin: str) -> Path:
    """Its contract test."""
    return ROOT / "plugins" / plugin / "tests" / f"test_{Path(plugin).name}_contract.py"


def planted(bug: Bug) -> str:
    """The file with the bug in it. Raises ValueError when the code is not as the bug knows it."""
    text = (package_of(bug.plugin) / f"{bug.file}.py").read_text("utf-8")
    if text.count(bug.old) != 1:
        raise ValueError(f"{bug.name}: what it replaces stands {text.count(bug.old)} times in {bug.plugin}/{bug.file}")
    return text.replace(bug.old, bug.new)


def run_contract(plugin: str, changed: dict[str, str], options: Sequence[str] = ()) -> subprocess.CompletedProcess[str]:
    """Run a plugin's contract test on a copy of its package in which these files have other text."""
    package = package_of(plugin)
    with tempfile.TemporaryDirectory() as name:
        copy = Path(name) / package.name
        copytree(package, copy, ignore=ignore_patterns("__pycache__"))
        for file, text in changed.items():
            (copy / f"{file}.py").write_text(text, "utf-8")
        command = [sys.executable, "-m", "pytest", "-n", "0", "-x", "-q", "--tb=no", "-rfE", "-p", "no:cacheprovider"]
        return subprocess.run(  # noqa: S603 - our own command
            [*command, *options, str(contract_test_of(plugin))],
            cwd=ROOT,
            env={**os.environ, "PYTHONPATH": name, "PYTHONDONTWRITEBYTECODE": "1", "COLUMNS": "400"},
            capture_output=True,
            text=True,
            timeout=300,
            check=False,
        )


def hunt(bug: Bug, options: Sequence[str] = ()) -> Outcome:
    """Look for one bug. Raises RuntimeError where the checks could not even run, which would find nothing."""
    ended = run_contract(bug.plugin, {bug.file: planted(bug)}, options)
    if ended.returncode == 0:
        return Outcome(bug, None, "")
    match = _FAILED.search(ended.stdout)
    if ended.returncode != 1 or match is None:
        raise RuntimeError(f"{bug.name}: the checks did not run:\n{ended.stdout[-1500:]}{ended.stderr[-500:]}")
    return Outcome(bug, match[1], (match[2] or "").rpartition("FaultFound: ")[2])


def write(outcomes: Sequence[Outcome]) -> str:
    """The results as RESULTS.md has them."""
    found = [one for one in outcomes if one.check]
    blind = [one for one in outcomes if one.bug.blind]
    blind_found = [one for one in blind if one.check]
    plugins = Counter(one.bug.plugin for one in outcomes)
    lines = [
        "# Seeded bugs: what the kit finds",
        "",
        "Written by `python schemas/tests/seeded/hunt.py`; the bugs are in `bugs.py`. Each was planted alone in a copy of"
        " its plugin, and that plugin's contract test was run on the copy up to its first failure. Every contract test"
        " was green on an unchanged copy.",
        "",
        f"- {len(found)} of {len(outcomes)} found ({100 * len(found) / len(outcomes):.1f} %), in {len(plugins)} plugins.",
        f"- {len(blind_found)} of the {len(blind)} blind ones: written before their author had read a check of the kit.",
        f"- In the first run, before the kit was changed, {len(blind) - len(FIRST_RUN)} of {len(blind)} blind ones"
        " were found.",
        "",
        "What was not run: the plugins' other tests, the gateway, real providers. A bug counts as found only by the"
        " contract test. Where a check fails for another bug's reason in the same place, it counts all the same.",
        "",
        "| bug | blind | found by | why its author wrote it |",
        "| --- | --- | --- | --- |",
    ]
    for one in outcomes:
        check = f"`{one.check}`" if one.check else "**not found**"
        lines.append(f"| {one.bug.name} | {'yes' if one.bug.blind else 'no'} | {check} | {one.bug.why} |")
    lines += ["", "## Survivors of the first run, and what was done", ""]
    lines += [f"- {name}: {done}" for name, done in FIRST_RUN.items()]
    lines += ["", "## Taken off the list, for nothing can be seen of them", ""]
    lines += [f"- {name}: {reason}" for name, reason in EQUIVALENT.items()]
    return "\n".join(lines) + "\n"


def main() -> int:
    """Hunt and say."""
    parser = argparse.ArgumentParser(description="Plant bugs in the shipped plugins and see what the kit finds.")
    parser.add_argument("--only", default="", help="bugs whose name has this in it")
    parser.add_argument("--jobs", type=int, default=1)
    options = parser.parse_args()
    bugs = [bug for bug in BUGS if options.only in bug.name]
    for plugin in sorted({bug.plugin for bug in bugs}):
        if (ended := run_contract(plugin, {})).returncode != 0:
            sys.stderr.write(f"{plugin} fails its contract test without a bug:\n{ended.stdout[-1500:]}")
            return 2
    began = time.monotonic()
    with ThreadPoolExecutor(options.jobs) as pool:
        outcomes = []
        for one in pool.map(hunt, bugs):
            outcomes.append(one)
            sys.stdout.write(f"{one.bug.name}: {one.check or 'NOT FOUND'} {one.told[:150]}\n")
            sys.stdout.flush()
    missed = [one.bug.name for one in outcomes if one.check is None]
    sys.stdout.write(f"{len(outcomes) - len(missed)} of {len(outcomes)} in {time.monotonic() - began:.0f} s\n")
    if not options.only:
        RESULTS.write_text(write(outcomes), "utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
