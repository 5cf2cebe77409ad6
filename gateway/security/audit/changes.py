"""What an entry keeps of changed rows: values before and after, and fingerprints of what is not for showing."""

from __future__ import annotations

import hashlib
import hmac
import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from gateway.db.database import Row
from gateway.db.watch import WATCHED

MOST = 1000
"""Changes of one entry that are kept whole; of more, their number and their things' names."""
LONGEST = 64 * 1024
"""Bytes of one value's JSON above which a fingerprint stands for it."""

_SHOWN = {one.table: frozenset(one.arguments[2].split(",")) for one in WATCHED}


@dataclass
class Change:
    """One thing that was changed. `before` is None for a new one, `after` for one that is gone.

    For a changed one both have the columns whose values differ.
    """

    kind: str
    id: str
    before: dict[str, Any] | None
    after: dict[str, Any] | None

    @property
    def thing(self) -> str:
        """Kind and id in one word."""
        return f"{self.kind}:{self.id}"

    def shown(self, key: bytes) -> dict[str, Any]:
        """As it is kept in the entry. `key` makes the fingerprints."""
        return {
            "kind": self.kind,
            "id": self.id,
            "before": self._values(self.before, key),
            "after": self._values(self.after, key),
        }

    def _values(self, values: Mapping[str, Any] | None, key: bytes) -> dict[str, Any] | None:
        if values is None:
            return None
        whole = self.before is None or self.after is None
        return {
            name: _fingerprinted(self.kind, name, value, key)
            for name, value in sorted(values.items())
            if value is not None or not whole
        }


def _fingerprinted(kind: str, name: str, value: Any, key: bytes) -> Any:
    if value is None:
        return None
    # a column that is not shown comes as a digest already; what was noted beside the columns is for showing
    hidden = name not in _SHOWN.get(kind, ()) and isinstance(value, dict) and value.keys() == {"sha256"}
    text = canonical(value)
    if not hidden and len(text) <= LONGEST:
        return value
    return {"fingerprint": hmac.new(key, b"value\0" + text, hashlib.sha256).hexdigest()[:24]}


def canonical(value: Any) -> bytes:
    """The one JSON text of a value: keys in order, no spaces, ASCII only."""
    return json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=True, allow_nan=False).encode()


def fold(rows: Iterable[Row]) -> list[Change]:
    """Changes of rows in the order in which they were made: one for each thing, from its first state to its last."""
    changes: dict[tuple[str, str], Change] = {}
    for row in rows:
        key = (row["kind"], row["thing"])
        found = changes.get(key)
        if found is None:
            changes[key] = Change(*key, row["before"], row["after"])
        elif found.after is None:  # it was there, and is again
            found.after = row["after"]
        elif row["after"] is None:  # gone: what it was at first is what was lost
            found.before = None if found.before is None else {**(row["before"] or {}), **found.before}
            found.after = None
        else:
            if found.before is not None:
                found.before = {**(row["before"] or {}), **found.before}
            found.after = {**found.after, **row["after"]}
    return [one for one in map(_less, changes.values()) if one is not None]


def _less(change: Change) -> Change | None:
    """Without what is as it was; None when nothing is left."""
    before, after = change.before, change.after
    if before is None or after is None:
        return None if before is after else change
    names = {name for name in before.keys() | after.keys() if before.get(name) != after.get(name)}
    change.before = {name: value for name, value in before.items() if name in names}
    change.after = {name: value for name, value in after.items() if name in names}
    return change if names else None
