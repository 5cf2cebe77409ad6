"""Where things are in this repository, for the tests that read its code and build its wheels."""

from __future__ import annotations

import ast
import gc
import re
import tomllib
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from functools import cache, cached_property
from pathlib import Path
from typing import Any

from packaging.requirements import Requirement

ROOT = Path(__file__).resolve().parents[2]


@dataclass(frozen=True)
class Distribution:
    """One folder with a pyproject.toml: the gateway, the contract or a plugin."""

    folder: Path

    @cached_property
    def project(self) -> dict[str, Any]:
        """Its `[project]` table."""
        with (self.folder / "pyproject.toml").open("rb") as file:
            table: dict[str, Any] = tomllib.load(file)["project"]
        return table

    @property
    def name(self) -> str:
        """Its name in the index."""
        return str(self.project["name"])

    @property
    def package(self) -> str:
        """The name it is imported by. A plugin `helpdesk-gateway-acme` is `gateway_acme`."""
        return self.name.removeprefix("helpdesk-").replace("-", "_")

    @property
    def source(self) -> Path:
        """The folder of its package."""
        return self.folder / self.package

    def requires(self, extra: str | None = None) -> set[str]:
        """The names of the distributions it depends on, or that one of its extras adds, without their versions."""
        declared = self.project["dependencies"] if extra is None else self.project["optional-dependencies"][extra]
        return {canonical(Requirement(line).name) for line in declared}

    @property
    def entry_points(self) -> dict[str, str]:
        """What it registers with the gateway."""
        found: dict[str, str] = self.project.get("entry-points", {}).get("helpdesk_gateway.plugins", {})
        return found

    def modules(self) -> list[Path]:
        """Its Python files."""
        return sorted(self.source.rglob("*.py"))


def canonical(name: str) -> str:
    """A distribution's name as indexes compare it."""
    return re.sub(r"[-_.]+", "-", name).lower()


GATEWAY = Distribution(ROOT)
CONTRACT = Distribution(ROOT / "schemas")
PLUGINS = [Distribution(path.parent) for path in sorted(ROOT.glob("plugins/*/*/pyproject.toml"))]
DISTRIBUTIONS = [GATEWAY, CONTRACT, *PLUGINS]


def product_code() -> list[Path]:
    """Every Python file that ships."""
    files = [path for distribution in DISTRIBUTIONS for path in distribution.modules()]
    return files + sorted((ROOT / "migrations").rglob("*.py"))


def relative(path: Path) -> str:
    """The path as it is written in messages and lists."""
    return path.relative_to(ROOT).as_posix()


@cache
def parse(path: Path) -> ast.Module:
    """The syntax tree of a Python file."""
    # a collection may run Python code within the parser, which CPython 3.11 answers with a SystemError (its bug 106905)
    gc.disable()
    try:
        return ast.parse(path.read_text("utf-8"), filename=str(path))
    finally:
        gc.enable()


def report(found: Iterable[str], mend: str) -> str:
    """What a guard test says when it fails: how to mend it, then every place."""
    return "\n  ".join([f"{mend}:", *found])


_OUTSIDE = {".git", ".gateway", "__pycache__", "build", "dist", "node_modules"}


def texts() -> Iterator[Path]:
    """Every text file that a checkout holds, by walking it: a source archive has no version control to ask."""
    pending = [ROOT]
    while pending:
        for path in sorted(pending.pop().iterdir()):
            if path.name in _OUTSIDE or path.name.endswith("_cache") or path.name.startswith((".venv", ".hypothesis")):
                continue
            if path.is_dir():
                pending.append(path)
            elif path.suffix in _TEXT or path.name in ("Makefile", "Dockerfile", "run", "LICENSE"):
                yield path


_TEXT = {
    *(".cfg", ".css", ".golden", ".html", ".http", ".ini", ".js", ".json", ".jsonl", ".mako", ".md", ".py", ".rst"),
    *(".sh", ".sql", ".toml", ".txt", ".typed", ".yaml", ".yml"),
}
