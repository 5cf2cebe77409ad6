"""Follows a page of the documentation word by word: types its commands, saves its files, makes its changes.

    Save as `path`:          the next block is the whole file
    Change `path`:           every `diff` block from here on is a change of that file; its old lines stand there once
    ```console               lines with `$ ` are typed; the others are what is printed, where … stands for anything

A page that a reader cannot follow fails with the line at which they would be stuck.
"""

from __future__ import annotations

import re
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

_FENCE = re.compile(r"^```(\w*)$")
_SAVE = re.compile(r"^Save as `([^`]+)`:$")
_CHANGE = re.compile(r"^Change `([^`]+)`:$")
ANYTHING = "…"


class Stuck(AssertionError):
    """A reader would be stuck here."""


@dataclass
class Walkthrough:
    """One reader with one page, in an empty folder."""

    page: Path
    folder: Path
    variables: dict[str, str]
    typed: list[str] = field(default_factory=list)
    changed: int = 0
    _target: str = ""

    def follow(self) -> None:
        """Do all that the page says. Raises Stuck."""
        saving = False
        for number, kind, lines in _blocks(self.page):
            if kind == "save":
                self._target, saving = lines[0], True
            elif kind == "change":
                self._target, saving = lines[0], False
            elif kind == "console":
                self._type(number, lines)
            elif kind == "diff":
                self._change(number, lines)
            elif saving:
                (self.folder / self._target).write_text("\n".join([*lines, ""]), "utf-8")
                saving = False

    def _type(self, number: int, lines: list[str]) -> None:
        commands: list[tuple[int, str, list[str]]] = []
        for offset, line in enumerate(lines, number + 1):
            if line.startswith("$ "):
                commands.append((offset, line[2:], []))
            else:
                commands[-1][2].append(line)
        for at, command, expected in commands:
            self.typed.append(command)
            done = subprocess.run(
                ["bash", "-euc", f"{command}\npwd > '{self._here}'"],
                cwd=self.folder,
                env=self.variables,
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
                text=True,
                timeout=240,
                check=False,
            )
            where = f"{self.page.name}:{at}: $ {command}"
            if done.returncode:
                raise Stuck(f"{where}\nended with {done.returncode}\n{done.stdout}")
            self.folder = Path(self._here.read_text("utf-8").strip())
            if expected and not _fits(expected, done.stdout):
                wanted = "\n".join(expected)
                raise Stuck(f"{where}\nprinted\n{done.stdout}\nwhere the page says\n{wanted}")

    @property
    def _here(self) -> Path:
        return Path(self.variables["HOME"]) / "walkthrough-pwd"

    def _change(self, number: int, lines: list[str]) -> None:
        path = self.folder / self._target
        content = path.read_text("utf-8")
        old = "".join(f"{line[1:]}\n" for line in lines if line[:1] in (" ", "-", ""))
        new = "".join(f"{line[1:]}\n" for line in lines if line[:1] in (" ", "+", ""))
        if content.count(old) != 1:
            raise Stuck(f"{self.page.name}:{number}: {self._target} has these lines {content.count(old)} times:\n{old}")
        path.write_text(content.replace(old, new), "utf-8")
        self.changed += 1


def _blocks(page: Path) -> Iterator[tuple[int, str, list[str]]]:
    """Line number, kind and content of every block, and of every sentence that names a file."""
    kind: str | None = None
    block: list[str] = []
    began = 0
    for number, line in enumerate(page.read_text("utf-8").splitlines(), 1):
        fence = _FENCE.match(line)
        if fence and kind is None:
            kind, block, began = fence[1] or "text", [], number
        elif line == "```":
            assert kind is not None
            yield began, kind, block
            kind = None
        elif kind is not None:
            block.append(line)
        elif found := _SAVE.match(line):
            yield number, "save", [found[1]]
        elif found := _CHANGE.match(line):
            yield number, "change", [found[1]]


def _fits(expected: list[str], printed: str) -> bool:
    """Whether what was printed is what the page shows, but for the width of spaces. A lone … is any number of lines."""
    pattern = ""
    for line in expected:
        if line == ANYTHING:
            pattern += "(?:.*\n)*?"
        else:
            pattern += ".*".join(re.escape(part) for part in _narrow(line).split(ANYTHING)) + "\n"
    lines = [_narrow(line) for line in printed.rstrip().splitlines()]
    return re.fullmatch(pattern, "".join(f"{line}\n" for line in lines)) is not None


def _narrow(line: str) -> str:
    return " ".join(line.split())
