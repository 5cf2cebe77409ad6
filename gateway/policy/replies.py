"""What a policy may know when a reply is reviewed: what was said before, and what else goes out like it."""

from __future__ import annotations

import re
import unicodedata
from datetime import datetime, timedelta
from uuid import UUID

from sqlalchemy.ext.asyncio import AsyncConnection

from gateway.db.database import fetch_all, fetch_one
from gateway.policy.facts import Facts
from gateway_schemas.decision import AgentFacts, TimelineEntry

ALIKE = 0.8
"""From which share of common words on two answers are near-identical."""
COMPARED = 500
"""How many other answers of the window are looked at, newest first."""
_WORD = re.compile(r"[^\W_]+")


async def said_before(
    connection: AsyncConnection, facts: Facts, ticket_id: UUID, reply_id: UUID | None
) -> tuple[TimelineEntry, ...]:
    """The matter so far, oldest first; `seen` where a message stood at the helpdesk when the agent wrote."""
    lines = facts.timeline(ticket_id, but=reply_id)
    if not lines or reply_id is None:
        return tuple(line.entry for line in lines)
    rows = await fetch_all(
        connection,
        """SELECT i.id FROM interaction i JOIN reply r ON r.id = :reply
           WHERE i.id = ANY(:ids) AND i.direction = 'inbound' AND r.comment_id IS NOT NULL AND NOT EXISTS (
               SELECT 1 FROM push p WHERE p.interaction_id = i.id AND p.kind = 'comment'
                   AND p.state IN ('done', 'job', 'in_flight') AND p.done_at <= r.written_at)""",
        reply=reply_id,
        ids=[line.id for line in lines],
    )
    unseen = {row["id"] for row in rows}
    return tuple(line.entry.model_copy(update={"seen": False}) if line.id in unseen else line.entry for line in lines)


async def agent_facts(
    connection: AsyncConnection, reply_id: UUID | None, within: timedelta | None, now: datetime
) -> AgentFacts | None:
    """Who wrote a reply, and how many near-identical ones went out or wait for other customers."""
    if reply_id is None:
        return None
    row = await fetch_one(
        connection,
        """SELECT r.author_id, r.author_name, r.text, t.customer_id FROM reply r JOIN ticket t ON t.id = r.ticket_id
           WHERE r.id = :id""",
        id=reply_id,
    )
    if row is None:
        return None
    same = 0
    if within is not None:
        others = await fetch_all(
            connection,
            """SELECT r.text, t.customer_id FROM reply r JOIN ticket t ON t.id = r.ticket_id
               WHERE r.created_at > :since AND t.customer_id <> :customer
                 AND r.state IN ('received', 'queued', 'held', 'sending', 'unknown', 'sent')
               ORDER BY r.created_at DESC LIMIT :most""",
            since=now - within,
            customer=row["customer_id"],
            most=COMPARED,
        )
        mine = words(row["text"])
        same = sum(alike(mine, words(one["text"])) for one in others)
    return AgentFacts(id=row["author_id"], name=row["author_name"], replies_with_same_text=same)


def words(text: str) -> frozenset[str]:
    """The words of an answer without numbers and mentions, which differ from customer to customer."""
    plain = re.sub(r"[@#]\S+|https?://\S+", " ", unicodedata.normalize("NFKC", text).casefold())
    return frozenset(word for word in _WORD.findall(plain) if not word.isdigit())


def alike(one: frozenset[str], other: frozenset[str]) -> bool:
    """Whether two answers are near-identical: most of their words are common."""
    if not one or not other:
        return one == other
    return len(one & other) / len(one | other) >= ALIKE
