"""Runs a plugin's contract tests and reads what came of them."""

from __future__ import annotations

import ast
import os
import re
import subprocess
import sys
import tempfile
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

from gateway_schemas.authoring.package import Package, called, parse

CONTRACTS = {"source": "SourceContract", "helpdesk": "HelpdeskContract", "policy": "PolicyContract"}


@dataclass(frozen=True)
class KitRun:
    """What the contract tests said."""

    passed: tuple[str, ...] = ()
    skipped: dict[str, str] = field(default_factory=dict)
    """Checks that do not fit the provider, with the reason."""
    failed: dict[str, str] = field(default_factory=dict)
    """Checks that failed, with what they say."""
    broken: str = ""
    """What pytest said, where it could not run them."""

    @property
    def failures(self) -> list[str]:
        """A line for each failure."""
        lines = [f"{name}: {_first(message)}" for name, message in self.failed.items()]
        if self.broken:
            lines.append(self.broken)
        return lines

    def as_json(self) -> dict[str, Any]:
        """All of it, for a machine."""
        return {
            "passed": list(self.passed),
            "skipped": self.skipped,
            "failed": self.failed,
            **({"broken": self.broken} if self.broken else {}),
        }

    def as_lines(self) -> list[str]:
        """A summary for a person."""
        lines = [f"the kit: {len(self.passed)} passed, {len(self.failed)} failed, {len(self.skipped)} do not apply"]
        for reason, times in Counter(self.skipped.values()).most_common():
            lines.append(f"  {times} not: {reason}")
        for name, message in self.failed.items():
            lines += [f"  FAIL {name}", *(f"       {line}" for line in message.splitlines())]
        return [*lines, *([self.broken] if self.broken else [])]


@dataclass(frozen=True)
class ContractTest:
    """`class TestAcme(SourceContract): plugin = AcmeSource` in an author's tests."""

    path: Path
    name: str
    base: str
    plugin: str
    """The name of the class that it is about, as it is written."""


def contract_tests(package: Package) -> Iterator[ContractTest]:
    """Every contract test of the folder."""
    for path in package.tests:
        for node in ast.walk(parse(path)):
            if isinstance(node, ast.ClassDef):
                for base in node.bases:
                    name = called(base.value if isinstance(base, ast.Subscript) else base)
                    if name in CONTRACTS.values():
                        named = [
                            called(each.value)
                            for each in node.body
                            if isinstance(each, ast.Assign) and "plugin" in {called(one) for one in each.targets}
                        ]
                        yield ContractTest(path, node.name, name, named[0] if named else "")


def run(package: Package) -> KitRun:
    """Run the contract tests in a process of their own, with the folder's own pytest settings."""
    files = sorted({str(test.path) for test in contract_tests(package)})
    if not files and not any(one.role in CONTRACTS for one in package.registered):
        return KitRun()  # readers and enrichers have no contract test
    if not files:
        return KitRun(broken="there is no contract test")
    with tempfile.TemporaryDirectory() as folder:
        written = Path(folder) / "results.xml"
        command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", f"--junitxml={written}", *files]
        done = subprocess.run(
            command,
            cwd=package.folder,
            env={name: value for name, value in os.environ.items() if name != "PYTEST_ADDOPTS"},
            capture_output=True,
            text=True,
            check=False,
        )
        if done.returncode not in (0, 1) or not written.is_file():
            return KitRun(broken=(done.stdout + done.stderr).strip()[-4000:] or f"pytest ended with {done.returncode}")
        return _read(ElementTree.parse(written))


def _read(results: ElementTree.ElementTree[Any]) -> KitRun:
    passed: list[str] = []
    skipped: dict[str, str] = {}
    failed: dict[str, str] = {}
    for case in results.iter("testcase"):
        name = f"{case.get('classname', '').rpartition('.')[2]}::{case.get('name')}"
        wrong = next((part for part in case if part.tag in ("failure", "error")), None)
        left_out = case.find("skipped")
        if wrong is not None:
            failed[name] = wrong.get("message") or (wrong.text or "").strip()
        elif left_out is not None:
            skipped[name] = left_out.get("message") or ""
        else:
            passed.append(name)
    return KitRun(tuple(passed), skipped, failed)


def _first(message: str) -> str:
    return re.sub(r"\s+", " ", message.strip().partition("\n")[0])[:300]
