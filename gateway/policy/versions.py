"""What a decision depends on besides its policies: the gateway's code, the readers, and time zone data."""

from __future__ import annotations

import importlib.metadata
import importlib.resources
import zoneinfo
from functools import cache
from pathlib import Path
from typing import Any

from gateway.registry import Registry


def versions(registry: Registry) -> dict[str, Any]:
    """By part; a change of any of them is another policy set."""
    return {
        "gateway": _gateway(),
        "readers": {name: reader.version for name, reader in sorted(registry.readers.items())},
        "time_zones": time_zones(),
    }


@cache
def _gateway() -> str:
    try:
        return importlib.metadata.version("helpdesk-gateway")
    except importlib.metadata.PackageNotFoundError:
        return "0"


@cache
def time_zones() -> str:
    """The release of the IANA time zone database that `zoneinfo` reads: `2026b`."""
    for folder in zoneinfo.TZPATH:
        for name in ("tzdata.zi", "+VERSION"):
            path = Path(folder) / name
            if path.is_file():
                with path.open(encoding="utf-8") as lines:
                    return lines.readline().removeprefix("# version").strip()
    try:
        return importlib.metadata.version("tzdata")
    except importlib.metadata.PackageNotFoundError:
        return "unknown"
