"""Compare a plugin's goldens with what it gives now, and write them:

    python -m gateway_schemas.testing.goldens plugins/sources/acme/fixtures --plugin gateway_acme.plugin:AcmeSource
    python -m gateway_schemas.testing.goldens … --write

Without `--write` nothing is changed. Every difference is shown as a unified diff; the exit status is 1 when there is
one that was not written.
"""

from __future__ import annotations

import argparse
import difflib
import importlib
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from gateway_schemas.policy import Policy
from gateway_schemas.testing.fixtures import golden_text, golden_value
from gateway_schemas.testing.policy_recordings import PolicyRecordings
from gateway_schemas.testing.recordings import Recordings


def differences(recordings: Recordings | PolicyRecordings) -> Iterator[tuple[Path, str, str]]:
    """Each golden that is missing or differs: its path, what it has, and what the plugin gives now."""
    for name in recordings.files:
        path = recordings.golden(name)
        before = path.read_text("utf-8") if path.exists() else ""
        after = golden_text(golden_value(recordings.says(name)))
        if before != after:
            yield path, before, after


def load_class(named: str) -> Any:
    """The class that `module:Class` names."""
    module, _, name = named.partition(":")
    return getattr(importlib.import_module(module), name)


def main(arguments: Sequence[str] | None = None) -> int:
    """Show, and write if asked; returns the exit status."""
    parser = argparse.ArgumentParser(prog="python -m gateway_schemas.testing.goldens", description=__doc__)
    parser.formatter_class = argparse.RawDescriptionHelpFormatter
    parser.add_argument("fixtures", type=Path, help="the fixtures folder")
    parser.add_argument("--plugin", required=True, metavar="module:Class", help="the plugin's class")
    parser.add_argument("--write", action="store_true", help="write what the plugin gives now")
    given = parser.parse_args(arguments)
    plugin = load_class(given.plugin)
    kind = PolicyRecordings if issubclass(plugin, Policy) else Recordings
    recordings: Recordings | PolicyRecordings = kind(given.fixtures, plugin)
    found = 0
    for path, before, after in differences(recordings):
        found += 1
        shown = difflib.unified_diff(
            before.splitlines(keepends=True), after.splitlines(keepends=True), str(path), "what the plugin gives now"
        )
        sys.stdout.writelines(shown)
        if given.write:
            path.write_text(after, "utf-8")
    for name in recordings.orphans:
        print(f"{recordings.golden(name)}: there is no fixture for this golden")
    print(f"{len(recordings.files)} fixtures, {found} goldens {'written' if given.write else 'differ'}")
    return 1 if (found and not given.write) or recordings.orphans else 0


if __name__ == "__main__":
    sys.exit(main())
