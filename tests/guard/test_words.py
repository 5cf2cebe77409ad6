"""What no file may say: where some machine keeps things, which host a package came from, and that it is unfinished."""

from __future__ import annotations

import re
from collections.abc import Iterable
from pathlib import Path

from support.repository import product_code, relative, report, texts

# Written in parts, so that this file does not say it either.
HOSTS = ["pypi" + ".org", "python" + "hosted", "registry." + "npmjs", "deb." + "debian", "proxy." + "golang"]
PATHS = ["/work" + "/", "/tmp" + "/scratch", r"\." + "pyenv", "/home" + "/[a-z]+/", "/Users" + "/[a-z]"]
UNFINISHED = ["TO" + "DO", "FIX" + "ME", "X" + "XX", "NotImplemented" + "Error"]


def said(files: Iterable[Path], patterns: list[str]) -> list[str]:
    expression = re.compile("|".join(f"(?:{pattern})" for pattern in patterns))
    return [
        f"{relative(path)}:{number} says {match.group()!r}"
        for path in files
        for number, line in enumerate(path.read_text("utf-8", "replace").splitlines(), 1)
        if (match := expression.search(line))
    ]


def test_no_registry_host() -> None:
    """Whoever installs this decides where packages come from; constraints.txt holds names and versions only."""
    found = said(texts(), [re.escape(host) for host in HOSTS])
    assert not found, report(found, "leave the host out")


def test_no_path_of_some_machine() -> None:
    found = said(texts(), PATHS)
    assert not found, report(found, "write the path relative to the checkout")


def test_no_unfinished_code() -> None:
    words = [rf"\b{word}\b" for word in UNFINISHED]
    found = said(product_code(), words)
    assert not found, report(found, "finish it, or leave it out and say so where a user reads it")


def test_no_reference_to_a_tracker() -> None:
    """The reason stands in the comment itself: a number means nothing in another clone."""
    found = said(product_code(), [r"(?i:\bissues? #?\d+\b)"])
    assert not found, report(found, "say the reason itself")
