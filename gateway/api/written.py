"""Files that are written out of the code: one command line for all of them."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable, Sequence
from pathlib import Path


def write_or_check(
    module: str, description: str, example: str, render: Callable[[], str], arguments: Sequence[str] | None
) -> int:
    """Write what `render` gives to the file that is named, or with `--check` compare them; returns the exit status."""
    parser = argparse.ArgumentParser(prog=f"python -m {module}", description=description)
    parser.add_argument("--check", action="store_true", help="write nothing; exit 1 when the file is not up to date")
    parser.add_argument("file", type=Path, help=f"where it lies, for example {example}")
    options = parser.parse_args(arguments)
    file: Path = options.file
    text = render()
    if not options.check:
        file.write_text(text, "utf-8")
        return 0
    if file.exists() and file.read_text("utf-8") == text:
        return 0
    print(f"{file} is not up to date; run: python -m {module} {file}", file=sys.stderr)
    return 1
