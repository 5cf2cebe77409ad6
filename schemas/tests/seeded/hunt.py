"""Plants each bug in a copy of its plugin, runs the plugin's contract test on it, and says which check found it.

python schemas/tests/seeded/hunt.py                    # all, and writes RESULTS.md
python schemas/tests/seeded/hunt.py --missed           # only those that RESULTS.md does not say were found; writes it
python schemas/tests/seeded/hunt.py --only "zendesk:"  # those whose name has this in it; writes nothing
"""

from __future__ import annotations

import argparse
import importlib
import importlib.util
import inspect
import json
import os
import re
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from shutil import copytree, ignore_patterns
from typing import Any

sys.path.insert(0, str(Path(__file__).parents[1]))

from gateway_schemas.testing.planting import checks_of, outcome_of
from seeded.bugs import BUGS, EQUIVALENT, FIRST, FIRST_RUN, Bug

ROOT = Path(__file__).parents[3]
RESULTS = Path(__file__).with_name("RESULTS.md")
GOLDENS = "test_golden_differs"
LONGEST = 120
"""Seconds that one check may take."""


@dataclass(frozen=True)
class Outcome:
    """What became of one bug."""

    bug: Bug
    check: str | None
    """The first check that failed; None where all passed."""
    told: str = ""
    """The fault that it named, or another error."""


def package_of(plugin: str) -> Path:
    """A plugin's package."""
    return ROOT / "plugins" / plugin / f"gateway_{Path(plugin).name}"


def planted(bug: Bug) -> str:
    """The file with the bug in it. Raises ValueError when the code is not as the bug knows it."""
    text = (package_of(bug.plugin) / f"{bug.file}.py").read_text("utf-8")
    if text.count(bug.old) != 1:
        raise ValueError(f"{bug.name}: what it replaces stands {text.count(bug.old)} times in {bug.plugin}/{bug.file}")
    return text.replace(bug.old, bug.new)


# in a process of its own, which runs one plugin's bugs


def contracts(plugin: str, folder: Path) -> list[type[Any]]:
    """The classes of the plugin's contract test, over the copy of its package in this folder."""
    package = package_of(plugin).name
    for name in [name for name in sys.modules if name == package or name.startswith(f"{package}.")]:
        del sys.modules[name]
    sys.path.insert(0, str(folder))
    importlib.invalidate_caches()
    try:
        path = ROOT / "plugins" / plugin / "tests" / f"test_{Path(plugin).name}_contract.py"
        spec = importlib.util.spec_from_file_location(path.stem, path)
        assert spec is not None
        assert spec.loader is not None
        module = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(module)
        origin = str(sys.modules[package].__file__)
        if not origin.startswith(str(folder)):
            raise RuntimeError(f"{origin} was read instead of the copy")
    finally:
        sys.path.remove(str(folder))
    return [one for _, one in inspect.getmembers(module, inspect.isclass) if one.__module__ == path.stem]


def failures(plugin: str, changed: dict[str, str], only: str | None = None) -> Iterator[tuple[str, str]]:
    """The checks that fail on a copy of the plugin's package in which these files have other text, as they fail."""
    package = package_of(plugin)
    with tempfile.TemporaryDirectory() as name:
        copy = Path(name) / package.name
        copytree(package, copy, ignore=ignore_patterns("__pycache__"))
        for file, text in changed.items():
            (copy / f"{file}.py").write_text(text, "utf-8")
        for contract in contracts(plugin, Path(name)):
            # goldens last: an author who is wrong from the start has them wrong too
            for check in [only] if only else sorted(checks_of(contract), key=GOLDENS.__eq__):
                signal.alarm(LONGEST)
                found = outcome_of(contract, check) if hasattr(contract, check) else None
                signal.alarm(0)
                if found is not None:
                    yield check, found


def work(plugin: str, names: Sequence[str]) -> None:
    """Look for a plugin's bugs one after the other, and print what found each. Without a name it is the plugin."""

    def too_long(*_: object) -> None:
        raise TimeoutError(f"the check took more than {LONGEST} seconds")

    signal.signal(signal.SIGALRM, too_long)
    bugs = {bug.name: bug for bug in BUGS}
    for named in names:
        name, _, only = named.partition("\t")
        changed = {bugs[name].file: planted(bugs[name])} if name else {}
        check, told = next(failures(plugin, changed, only or None), (None, ""))
        sys.stdout.write(json.dumps([name, check, told[:300]]) + "\n")
        sys.stdout.flush()


# in the process that was called


def hunt(plugin: str, names: Sequence[str]) -> Iterator[tuple[str, str | None, str]]:
    """Name, check and fault of each of a plugin's bugs. Raises RuntimeError where the checks could not be run."""
    command = [sys.executable, str(Path(__file__)), "--work", plugin, *names]
    environment = {**os.environ, "PYTHONDONTWRITEBYTECODE": "1"}
    with subprocess.Popen(command, cwd=ROOT, env=environment, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        for line in process.stdout:
            if line.startswith('["'):
                name, check, told = json.loads(line)
                yield name, check, told
    if process.returncode:
        raise RuntimeError(f"the checks of {plugin} could not be run")


def write(outcomes: Sequence[Outcome]) -> str:
    """The results as RESULTS.md has them."""
    found = [one for one in outcomes if one.check]
    blind = [one for one in outcomes if one.bug.blind]
    blind_found = [one for one in blind if one.check]
    golden = sum(one.check == GOLDENS for one in found)
    plugins = {one.bug.plugin for one in outcomes}
    share = 100 * len(found) / len(outcomes)
    lines = [
        "# Seeded bugs: what the kit finds",
        "",
        "Written by `python schemas/tests/seeded/hunt.py`; the bugs are in `bugs.py`. Each was planted alone in a copy",
        "of its plugin, and the checks of that plugin's contract test were run on the copy up to the first that",
        "failed, goldens last. On unchanged copies all of them passed.",
        "",
        f"- {len(found)} of {len(outcomes)} found ({share:.1f} %), in {len(plugins)} plugins.",
        f"- {golden} of these by goldens alone, which an author who is wrong from the start would have wrong as well.",
        f"- Found are {len(blind_found)} of the {len(blind)} blind ones: written before their author had read a check.",
        f"- In the first run, before the kit was changed, {FIRST[0]} of {FIRST[1]} blind ones were found.",
        "",
        "What was not run: the plugins' other tests, the gateway, real providers. A bug counts as found only by the",
        "contract test, whichever check failed first, also where that check looks for something else.",
        "",
        "| bug | blind | found by | what its author thought |",
        "| --- | --- | --- | --- |",
    ]
    for one in outcomes:
        check = f"`{one.check}`" if one.check else "**not found**"
        lines.append(f"| {one.bug.name} | {'yes' if one.bug.blind else 'no'} | {check} | {one.bug.why} |")
    lines += ["", "## Not found in the first run, and what was done", ""]
    lines += [f"- {name}: {done}" for name, done in FIRST_RUN.items()]
    lines += ["", "## Replaced, for nothing can be seen of them", ""]
    lines += [f"- {name}: {reason}" for name, reason in EQUIVALENT.items()]
    return "\n".join(lines) + "\n"


def known() -> dict[str, str]:
    """The checks that found bugs when RESULTS.md was written, by the bugs' names."""
    return dict(re.findall(r"^\| (.+?) \| (?:yes|no) \| `(\w+)` \|", RESULTS.read_text("utf-8"), re.MULTILINE))


def main() -> int:
    """Hunt and say."""
    parser = argparse.ArgumentParser(description="Plant bugs in the shipped plugins and see what the kit finds.")
    parser.add_argument("--only", default="", help="bugs whose name has this in it; nothing is written")
    parser.add_argument("--missed", action="store_true", help="those that RESULTS.md does not say were found")
    parser.add_argument("--jobs", type=int, default=1, help="plugins at a time")
    parser.add_argument("--work", nargs="+", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.work:
        work(options.work[0], options.work[1:])
        return 0
    before = known() if options.missed else {}
    bugs = {bug.name: bug for bug in BUGS if options.only in bug.name and bug.name not in before}
    outcomes = {bug.name: Outcome(bug, before[bug.name]) for bug in BUGS if bug.name in before}
    began, broken = time.monotonic(), []

    def one(plugin: str) -> None:
        for name, check, told in hunt(plugin, ["", *(bug.name for bug in bugs.values() if bug.plugin == plugin)]):
            if name:
                outcomes[name] = Outcome(bugs[name], check, told)
            elif check:
                broken.append(f"{plugin} without a bug")
            sys.stdout.write(f"{name or plugin}: {check or '-'} {' '.join(told.split())[:120]}\n")
            sys.stdout.flush()

    with ThreadPoolExecutor(options.jobs) as pool:
        list(pool.map(one, sorted({bug.plugin for bug in bugs.values()})))
    missed = [one.bug.name for one in outcomes.values() if one.check is None]
    sys.stdout.write(f"{len(outcomes) - len(missed)} of {len(outcomes)} in {time.monotonic() - began:.0f} s\n")
    sys.stdout.write(
        "".join(f"not found: {name}\n" for name in missed) + "".join(f"FAILS: {name}\n" for name in broken)
    )
    if not options.only and not broken:
        RESULTS.write_text(write([outcomes[bug.name] for bug in BUGS]), "utf-8")
    return 1 if broken else 0


if __name__ == "__main__":
    sys.exit(main())
