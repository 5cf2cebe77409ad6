"""Merges, proven by both tickets: the API has no word for them.

A merge closes the one ticket and leaves a note in each, by the same person at the same time, which names the other
ticket by its number. The wording is the person's and the account's language; the numbers are in all of them. One note
alone proves nothing: "as in ticket 123" is no merge.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime, timedelta
from typing import Any

from gateway_freshdesk.api import TOO_MANY, Api
from gateway_freshdesk.words import CLOSED, NOTE, moment, number
from gateway_schemas.errors import Gone, Rejected, Retry
from gateway_schemas.markup import as_text

TOGETHER = timedelta(minutes=2)
"""How far apart the two notes of one merge may be: Freshdesk writes them in the background."""
AT_ONCE = timedelta(seconds=15)
"""How long after its note a ticket that was merged away is closed at most."""
RECENT = timedelta(days=1)
SETTLED = timedelta(seconds=30)
"""How old a public note that names another ticket must be before it counts as none of a merge."""
MOST_LOOKED_AT = 4
_NUMBER = re.compile(r"(?<![\w.,/-])#?(\d{1,12})(?![\w-]|[.,]\d)")

Conversation = Mapping[str, Any]


class Undecided(Exception):
    """Look again in a moment: what is written now may be half of a merge."""


def candidates(
    ticket: Mapping[str, Any], conversations: Sequence[Conversation], now: datetime, gateway: int | None = None
) -> list[int]:
    """Tickets that this one may have been merged with: their numbers stand in agents' notes.

    In public notes of the last day, which would else be taken for answers, and in the last notes of a closed ticket.
    Notes by the gateway's own user are passed over.
    """
    own = number(ticket.get("id"))
    found: dict[int, None] = {}
    notes = [one for one in conversations if _is_note(one) and one.get("user_id") != (gateway or 0)]
    closing = notes[-3:] if ticket.get("status") == CLOSED else []
    for one in (*reversed(closing), *reversed(_public(notes, now, RECENT))):
        for named in _numbers(one):
            if named != own:
                found[named] = None
    return list(found)[:MOST_LOOKED_AT]


async def evidence(
    api: Api, ticket: Mapping[str, Any], conversations: Sequence[Conversation], now: datetime
) -> dict[str, dict[str, Any]]:
    """Of each candidate what proves a merge: its notes that name this ticket, and when it was closed.

    Raises Undecided where a note is so new that the other ticket's may only be on its way.
    """
    own = number(ticket.get("id")) or 0
    gateway = api.config.api_user_id
    notes = [one for one in conversations if _is_note(one) and one.get("user_id") != (gateway or 0)]
    new = {named for one in _public(notes, now, SETTLED) for named in _numbers(one)}
    found: dict[str, dict[str, Any]] = {}
    for other in candidates(ticket, conversations, now, gateway):
        try:
            theirs = [one for one in await api.conversations(other) if _is_note(one) and own in _numbers(one)]
            if not theirs:
                if other in new:
                    raise Undecided
                continue
            stats = (await api.ticket(other, stats=True)).get("stats")
        except (Gone, Rejected):
            continue  # no ticket, or none of ours to see
        except Retry as error:
            if error.code != TOO_MANY:
                raise
            continue
        kept = [{name: one.get(name) for name in ("user_id", "created_at")} for one in theirs]
        found[str(other)] = {"notes": kept, "closed_at": stats.get("closed_at") if isinstance(stats, dict) else None}
    return found


def merge_notes(conversations: Sequence[Conversation], related: Mapping[str, Any]) -> dict[int | None, int]:
    """The ids of conversations that merges wrote, each with the number of the other ticket."""
    found: dict[int | None, int] = {}
    for one in conversations:
        if not _is_note(one):
            continue
        for named in _numbers(one):
            if _answered(one, related.get(str(named))):
                found[number(one.get("id"))] = named
    return found


def merged_into(
    ticket: Mapping[str, Any], conversations: Sequence[Conversation], related: Mapping[str, Any]
) -> str | None:
    """The ticket that this one was merged into; None when it was not, or when nothing tells which way.

    Of the two it is the one that was closed as its note was written, while the other was not.
    """
    if ticket.get("status") != CLOSED:
        return None
    stats = ticket.get("stats")
    closed_at = moment(stats.get("closed_at")) if isinstance(stats, dict) else None
    notes = merge_notes(conversations, related)
    for one in reversed(conversations):
        at, other = moment(one.get("created_at")), notes.get(number(one.get("id")))
        if other is None or at is None or closed_at is None:
            continue
        theirs = moment(related[str(other)].get("closed_at"))
        if abs(closed_at - at) <= AT_ONCE and (theirs is None or abs(theirs - at) > AT_ONCE):
            return str(other)
    return None


def _public(notes: Sequence[Conversation], now: datetime, age: timedelta) -> list[Conversation]:
    """The public ones that are younger than that."""
    return [one for one in notes if one.get("private") is False and now - (moment(one.get("created_at")) or now) < age]


def _answered(one: Conversation, other: object) -> bool:
    """Whether the other ticket has the note that belongs to this one."""
    at = moment(one.get("created_at"))
    notes = other.get("notes") if isinstance(other, dict) else None
    if at is None or not isinstance(notes, list):
        return False
    for theirs in notes:
        then = moment(theirs.get("created_at")) if isinstance(theirs, dict) else None
        if then is not None and theirs.get("user_id") == one.get("user_id") and abs(then - at) <= TOGETHER:
            return True
    return False


def _is_note(one: Conversation) -> bool:
    return one.get("source") == NOTE and one.get("incoming") is not True and one.get("automation_id") is None


def _numbers(one: Conversation) -> Iterable[int]:
    return [int(found) for found in _NUMBER.findall(_text(one))]


def _text(one: Conversation) -> str:
    body = one.get("body")
    return as_text(body) if isinstance(body, str) and body else str(one.get("body_text") or "")
