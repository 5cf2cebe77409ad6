"""The oracle of an evening: what the twins' ledgers hold, against what the script says."""

from __future__ import annotations

import statistics
from collections import Counter
from typing import Any

from gateway.demo.evening import Evening, Sent
from gateway.demo.witness import words


def reckon(evening: Evening, failures: list[str]) -> dict[str, Any]:
    """The evening in numbers. `problems` is empty when every word is where it belongs, once, and nowhere else."""
    seen = evening.witness.seen
    lost = [f"not at the helpdesk: “{text}”" for text in evening.told if not seen[("told", text)]]
    lost += [f"not noted: “{text}”" for text in evening.noted if not seen[("noted", text)]]
    lost += [f"not out: “{sent.text}”" for sent in evening.sent if not seen[sent]]
    twice = [f"at the helpdesk twice: “{text}”" for text in evening.told if len(seen[("told", text)]) > 1]
    twice += [f"out twice: “{sent.text}”" for sent in evening.sent if len(seen[sent]) > 1]
    twice += _tickets(evening)
    expected = set(evening.sent)
    out = [name for name in seen if isinstance(name, Sent) and seen[name]]
    astray = [f"out in the wrong place: “{sent.text}”" for sent in out if sent not in expected]
    astray += [f"out although it must not be: “{text}”" for text in evening.kept if seen[("out", words(text))]]
    astray += [f"at the helpdesk, and nobody was told: “{text}”" for text in evening.unheard if seen[("told", text)]]
    hidden = sum(effect.kind == "comment_made_private" for effect in evening.helpdesk.ledger)
    if hidden != evening.counts["replies_held_or_refused"]:
        astray.append(f"{hidden} comments made private, {evening.counts['replies_held_or_refused']} did not go out")
    return {
        "conversations": len(evening.script.conversations),
        "inbound": evening.counts["inbound"],
        "edits": evening.counts["edits"],
        "deletions": evening.counts["deletions"],
        "tickets": sum(effect.kind == "ticket_created" for effect in evening.helpdesk.ledger),
        "replies_published": evening.counts["replies_published"],
        "native_answers": evening.counts["native_answers"],
        "replies_held_or_refused": evening.counts["replies_held_or_refused"],
        "replies_blocked": evening.counts["blocked"],
        "replies_held": evening.counts["held"],
        "replies_failed": evening.counts["failed"],
        "replies_approved": evening.counts["replies_approved"],
        "kept_back_by": {
            name.removeprefix("policy:"): count
            for name, count in sorted(evening.counts.items())
            if name.startswith("policy:")
        },
        "lost": len(lost),
        "duplicated": len(twice),
        "first_response_seconds": median_and_p90([wait.total_seconds() for wait in evening.waits]),
        "problems": [*failures, *lost, *twice, *astray],
    }


def _tickets(evening: Evening) -> list[str]:
    """One ticket for each matter, and no other."""
    found = [
        f"“{evening.script.words[matter].text}” has tickets {', '.join(sorted(tickets))}"
        for matter, tickets in evening.tickets.items()
        if len(tickets) > 1
    ]
    owners = Counter(ticket for tickets in evening.tickets.values() for ticket in tickets)
    found += [f"ticket {ticket} holds {count} matters" for ticket, count in owners.items() if count > 1]
    created = [effect.id for effect in evening.helpdesk.ledger if effect.kind == "ticket_created"]
    return found + [f"ticket {ticket} belongs to nothing" for ticket in created if ticket not in owners]


def median_and_p90(seconds: list[float]) -> dict[str, float]:
    """How a summary tells waits."""
    return {"median": _share(seconds, 0.5), "p90": _share(seconds, 0.9)}


def _share(values: list[float], share: float) -> float:
    """The value below which this share of the values lies."""
    if len(values) < 2:
        return round(sum(values), 1)
    return round(statistics.quantiles(values, n=100, method="inclusive")[round(share * 100) - 1], 1)
