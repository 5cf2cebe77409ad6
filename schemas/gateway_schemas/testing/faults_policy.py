"""Faults of policies."""

from __future__ import annotations

FAULTS: dict[str, tuple[str, str]] = {}
