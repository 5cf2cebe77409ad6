"""What a decision depends on besides its policies: the gateway's code, the readers, and time zone data."""

from __future__ import annotations

import importlib.metadata
from functools import cache
from typing import Any

from gateway.registry import Registry
from gateway.sla.zones import tzdata_version


def versions(registry: Registry) -> dict[str, Any]:
    """By part; a change of any of them is another policy set."""
    return {
        "gateway": _gateway(),
        "readers": {name: reader.version for name, reader in sorted(registry.readers.items())},
        "time_zones": tzdata_version(),
    }


@cache
def _gateway() -> str:
    try:
        return importlib.metadata.version("helpdesk-gateway")
    except importlib.metadata.PackageNotFoundError:
        return "0"
