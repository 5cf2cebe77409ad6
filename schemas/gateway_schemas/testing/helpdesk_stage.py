"""What checks of helpdesks do on the stage: push changes, look at tickets, hear what agents did."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

from gateway_schemas.errors import GatewayError
from gateway_schemas.testing.adapters import CommentSeen, HelpdeskAdapter, TicketSeen
from gateway_schemas.testing.failure import found, unless
from gateway_schemas.testing.stage import Stage
from gateway_schemas.ticket import (
    Done,
    Failed,
    FoundTicket,
    OutgoingComment,
    Pending,
    PushIntent,
    Requester,
    TicketChange,
)

HelpdeskStage = Stage[Any, HelpdeskAdapter[Any]]
ALICE = Requester(external_id="kit:alice", name="Alice Example", handle="alice", provider="kit")
BOB = Requester(external_id="kit:bob", name="Bob Example", handle="bob", provider="kit")


def comment(stage: HelpdeskStage, key: str, text: str = "The parcel is late", **more: Any) -> OutgoingComment:
    """A comment by Alice unless said otherwise."""
    return OutgoingComment(**{"key": key, "text": text, "author": ALICE, "at": stage.time.now(), **more})


def change(
    stage: HelpdeskStage, key: str = "kit-1", comments: Sequence[OutgoingComment] | None = None, **more: Any
) -> TicketChange:
    """A change with one comment; without `external_id` it creates a ticket."""
    given = (comment(stage, f"{key}-c"),) if comments is None else tuple(comments)
    values: dict[str, Any] = {
        "key": key,
        "ticket_key": f"gateway:{key}",
        "requester": ALICE,
        "comments": given,
        "subject": "Post by @alice" if more.get("external_id") is None else None,
    }
    return TicketChange(**{**values, **more})


async def push(stage: HelpdeskStage, *changes: TicketChange) -> list[Any]:
    """Push changes and wait for what became a job. Errors come back as they are."""
    outcome = await stage.attempt(stage.plugin.push(changes))
    if isinstance(outcome, GatewayError):
        return [outcome for _ in changes]
    results = {one.key: one for one in outcome}
    for _ in range(20):
        waiting = [one for one in results.values() if isinstance(one, Pending)]
        if not waiting:
            break
        stage.time.pass_by(max(one.after for one in waiting))
        await stage.adapter.twin.settle()
        ended = await stage.attempt(stage.plugin.resume(waiting))
        if isinstance(ended, GatewayError):
            found("job_never_ends", f"resume raises {ended!r}")
        results |= {one.key: one for one in ended}
    else:
        found("job_never_ends", f"after twenty looks still pending: {[one.key for one in waiting]}")
    missing = [one.key for one in changes if one.key not in results]
    unless(not missing, "bulk_failure_spreads", f"no result for {missing}")
    return [results[one.key] for one in changes]


async def done(stage: HelpdeskStage, what: TicketChange, fault: str = "ticket_not_made") -> Done:
    """A change that must succeed."""
    (result,) = await push(stage, what)
    if not isinstance(result, Done):
        found(fault, f"push of {_short(what)} gives {named(result)}")
    return result


async def opened(stage: HelpdeskStage, key: str = "kit-1", text: str = "The parcel is late", **more: Any) -> str:
    """A ticket that the plugin made; its id."""
    result = await done(stage, change(stage, key, [comment(stage, f"{key}-c", text)], **more))
    return result.external_id


async def added(stage: HelpdeskStage, ticket: str, key: str, text: str, **more: Any) -> Done:
    """A comment that the plugin wrote on a ticket."""
    what = change(stage, key, [comment(stage, f"{key}-c", text, **more)], external_id=ticket)
    return await done(stage, what, "comment_not_written")


def only_ticket(stage: HelpdeskStage, fault: str = "ticket_not_made") -> TicketSeen:
    """The one ticket there is."""
    tickets = stage.adapter.tickets()
    unless(len(tickets) == 1, fault, f"the helpdesk has {len(tickets)} tickets instead of one")
    return tickets[0]


def with_text(stage: HelpdeskStage, ticket: str, text: str) -> list[CommentSeen]:
    """The comments of a ticket that have this text in them."""
    wanted = " ".join(text.split())
    return [one for one in stage.adapter.ticket(ticket).comments if wanted in " ".join(one.text.split())]


async def find(stage: HelpdeskStage, what: TicketChange) -> FoundTicket | GatewayError:
    """Look for a change after an unknown outcome."""
    intent = PushIntent(change=what, started_at=stage.time.now())
    outcome: FoundTicket | GatewayError = await stage.attempt(stage.plugin.find(intent))
    return outcome


async def told(stage: HelpdeskStage, kind: type[Any], ticket: str | None = None) -> list[Any]:
    """What the plugin tells now of one kind, of one ticket."""
    return of_kind(await stage.learn(), kind, ticket)


def of_kind(news: Iterable[Any], kind: type[Any], ticket: str | None = None) -> list[Any]:
    """The news of one kind, of one ticket."""
    return [one for one in news if isinstance(one, kind) and (ticket is None or one.ticket == ticket)]


def outcome_of(result: object) -> str:
    """The recovery that a result asks for: `done`, `pending`, or an error's name in lower case."""
    if isinstance(result, Failed):
        return result.error
    return type(result).__name__.lower()


def named(result: object) -> str:
    """A result for a message."""
    if isinstance(result, GatewayError):
        return f"{type(result).__name__}({result.reason!r})"
    return f"Failed({result.error}: {result.reason})" if isinstance(result, Failed) else type(result).__name__


def _short(what: TicketChange) -> str:
    return f"a new ticket ({what.key})" if what.external_id is None else f"a change of ticket {what.external_id}"
