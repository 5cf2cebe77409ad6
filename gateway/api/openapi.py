"""The OpenAPI document as a file: `python -m gateway.api.openapi [--check] schemas/json/v1/openapi.json`.

It is generated from the routes and published with the schemas, so that clients can be generated without a gateway
running. Framework and models decide its text: the versions of constraints.txt make it the same everywhere.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Sequence

from gateway.api.written import write_or_check
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
    return write_or_check(
        "gateway.api.openapi", "Write the OpenAPI document.", "schemas/json/v1/openapi.json", render, arguments
    )


if __name__ == "__main__":
    sys.exit(main())
