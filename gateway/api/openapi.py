"""The OpenAPI document as a file: `python -m gateway.api.openapi [--check] schemas/json/v1/openapi.json`.

It is generated from the routes and published with the schemas, so that clients can be generated without a gateway
running. Framework and models decide its text: the versions of constraints.txt make it the same everywhere.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Sequence
from pathlib import Path

from gateway.app import create_app
from gateway.registry import Registry
from gateway.settings import Settings


def render() -> str:
    """The document as the text of its file."""
    # nothing of an installation is in it: neither its settings nor its plugins
    app = create_app(Settings(_env_file=None), workers=0, registry=Registry())  # type: ignore[call-arg]
    return json.dumps(app.openapi(), indent=2, ensure_ascii=False) + "\n"


def main(arguments: Sequence[str] | None = None) -> int:
    """The command line; returns the exit status."""
    parser = argparse.ArgumentParser(prog="python -m gateway.api.openapi", description="Write the OpenAPI document.")
    parser.add_argument("--check", action="store_true", help="write nothing; exit 1 when the file is not up to date")
    parser.add_argument("file", type=Path, help="where it lies, for example schemas/json/v1/openapi.json")
    options = parser.parse_args(arguments)
    file: Path = options.file
    text = render()
    if not options.check:
        file.write_text(text, "utf-8")
        return 0
    if file.exists() and file.read_text("utf-8") == text:
        return 0
    print(f"{file} is not up to date; run: python -m gateway.api.openapi {file}", file=sys.stderr)
    return 1


if __name__ == "__main__":
    sys.exit(main())
