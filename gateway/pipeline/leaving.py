"""The last look before an answer leaves: is it still what was decided on?"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Literal

from gateway.pipeline.targets import DELETED, counted, matter

REPEAT = "repeat"
"""A reply that may be out already and is sent again under its key to a source that drops repeated keys: it is not
decided anew, because holding it now could not take it back."""


def in_doubt(reply: str) -> str:
    """SQL: whether a row of `reply` may be out although its call did not say so. Only asking, or repeating, tells."""
    return f"({reply}.state IN ('sending', 'unknown') OR ({reply}.state = 'queued' AND {reply}.code = '{REPEAT}'))"


def tried(reply: str) -> str:
    """SQL: whether a call was made for a row of `reply` that is not known to be out. What it says may come back."""
    return f"({reply}.state IN ('sending', 'unknown') OR ({reply}.state = 'queued' AND {reply}.tries > 0))"


HEARD_BY = f"""(
    SELECT concat_ws('.', count(*), sum(n.revisions), count(n.deleted_at), max(n.id::text),
        (SELECT count(*) FROM note o WHERE o.ticket_id = r.ticket_id))
    FROM interaction n WHERE n.ticket_id IN ({matter("r.ticket_id")}) AND NOT {counted("n.id")})"""
"""What is known of the matter of reply `r`: it changes with every message, edit, deletion, note, merge and split.

What is counted under an incident's ticket does not change it: in a crisis there is more of it every second, and nothing
would ever leave.
"""
ENDED = "What it changes is not published any more."


@dataclass(frozen=True)
class Leave:
    """Whether a queued answer goes, is decided on again, or waits for a person."""

    how: Literal["go", "again", "hold"]
    code: str | None = None
    reason: str | None = None


def may_leave(row: Mapping[str, Any], stands: bool, now: datetime) -> Leave:
    """Called with the locked row of a queued reply, right before it is committed as `sending`.

    `heard_now` and `deleted_at` are how the matter and its target stand now; `stands` says whether the
    policies would still decide on the same grounds.
    """
    if row["code"] == REPEAT:
        return Leave("go")
    if row["amends"] is not None and row["amended_state"] != "sent":
        return Leave("hold", "not_published", ENDED)
    if row["not_after"] < now:
        return Leave("hold", "expired", "It waited too long to go out unconfirmed.")
    if row["deleted_at"] is not None:
        return Leave("hold", "target_deleted", DELETED)
    basis = row["decided_on"] or {}
    if not stands or basis.get("heard") != row["heard_now"]:
        return Leave("again")
    return Leave("go")
