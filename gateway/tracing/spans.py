"""What became of one message, as spans.

A trace is one message: its trace id is the interaction's id without dashes, so whoever has the one finds the other.
Identifiers of spans follow from what they tell of. A span that is exported twice is the same span twice.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

Row = Mapping[str, Any]
MOST_TRIES = 20


@dataclass(frozen=True)
class Span:
    """One piece of work on a message. `kind` is OpenTelemetry's: `internal`, `consumer` or `client`."""

    trace: UUID
    id: int
    parent: int | None
    name: str
    begun: datetime
    ended: datetime
    kind: str = "internal"
    error: str | None = None
    attributes: Mapping[str, str | int] = field(default_factory=dict)


def span_id(*parts: object) -> int:
    """64 bits, never 0, that follow from what the span tells of."""
    digest = hashlib.blake2b(":".join(map(str, parts)).encode(), digest_size=8).digest()
    return int.from_bytes(digest) or 1


def root_of(interaction: UUID) -> int:
    """The span of the whole message, from its arrival until the helpdesk has it."""
    return span_id("message", interaction)


def keys_until(change_key: str) -> list[str]:
    """The keys of a change's tries up to this one, of which the last so many: each try's key ends in its number."""
    head, _, number = change_key.rpartition(":")
    return [f"{head}:{n}" for n in range(max(0, int(number) - MOST_TRIES), int(number) + 1)]


def told(pushes: Iterable[Row], calls: Mapping[str, Sequence[Row]]) -> list[Span]:
    """The spans of what helpdesks were told: `message` with `read` and `decide` below it, `tell` with its calls."""
    spans: list[Span] = []
    for push in pushes:
        trace: UUID = push["interaction_id"]
        error = push["code"] or "failed" if push["state"] == "failed" else None
        marks = {"gateway.ticket.id": str(push["ticket_id"]), "gateway.helpdesk": push["helpdesk"]}
        if push["kind"] == "comment" and push["change"] != "edited":
            spans += _arrival(push, trace, error, marks)
        tell = span_id("tell", push["id"])
        spans.append(
            Span(
                trace,
                tell,
                root_of(trace),
                f"tell {push['helpdesk']}",
                push["created_at"],
                push["done_at"],
                error=error,
                attributes={**marks, "gateway.push.kind": push["kind"], "gateway.push.tries": push["tries"]},
            )
        )
        for key in keys_until(push["change_key"]):
            spans += _calls(trace, tell, calls.get(key, ()))
    return spans


def _arrival(push: Row, trace: UUID, error: str | None, marks: Mapping[str, str]) -> list[Span]:
    seen = push["seen_at"] or push["created_at"]
    received = push["received_at"] or seen
    source = {"gateway.source": push["source"], "gateway.delivery.origin": push["origin"] or ""}
    root = root_of(trace)
    whole = Span(trace, root, None, "message", received, push["done_at"], "consumer", error, {**source, **marks})
    read = Span(trace, span_id("read", trace), root, "read", received, push["processed_at"] or seen, attributes=source)
    decide = Span(trace, span_id("decide", trace), root, "thread and decide", seen, push["created_at"])
    return [whole, read, decide]


def answered(
    replies: Iterable[Row], decisions: Mapping[UUID, Sequence[Row]], calls: Mapping[str, Sequence[Row]]
) -> list[Span]:
    """The spans of answers, below the message they answer: `answer`, its decisions, and the calls to the channel."""
    spans: list[Span] = []
    for reply in replies:
        trace: UUID = reply["interaction_id"]
        whole = span_id("answer", reply["id"])
        error = reply["code"] or "failed" if reply["state"] == "failed" else None
        marks = {
            "gateway.reply.id": str(reply["id"]),
            "gateway.ticket.id": str(reply["ticket_id"]),
            "gateway.source": reply["source"],
        }
        ended = max(reply["ended_at"], reply["created_at"])
        spans.append(
            Span(trace, whole, root_of(trace), "answer", reply["created_at"], ended, error=error, attributes=marks)
        )
        begun = reply["created_at"]
        for number, decision in enumerate(decisions.get(reply["id"], ())):
            found = {"gateway.verdict": decision["verdict"]}
            span = span_id("decision", reply["id"], number)
            spans.append(Span(trace, span, whole, "decide", begun, max(begun, decision["at"]), attributes=found))
            begun = max(begun, decision["at"])
        spans += _calls(trace, whole, calls.get(str(reply["id"]), ()))
    return spans


def _calls(trace: UUID, parent: int, calls: Iterable[Row]) -> list[Span]:
    """Each call's attempt is written when it has ended."""
    return [
        Span(
            trace,
            span_id("call", call["id"], trace),
            parent,
            f"{call['kind']} {call['plugin']}",
            call["at"] - timedelta(milliseconds=call["milliseconds"]),
            call["at"],
            "client",
            None if call["outcome"] == "ok" else call["code"] or call["outcome"],
            {"gateway.outcome": call["outcome"]},
        )
        for call in calls
    ]
