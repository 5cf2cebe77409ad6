"""A person's word on a held answer: over REST, by a private note or a tag in the helpdesk, or for a group at once.

Approving sends nothing. It names what may be passed over, and the reply is decided on once more; whatever is new holds
it anew. The row's lock makes approve, reject, edit and send follow each other in some order, whatever their number.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping, Sequence
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

from sqlalchemy.ext.asyncio import AsyncConnection

from gateway.connections import Endpoint
from gateway.db.database import Row, as_json, execute, fetch_all
from gateway.events.announce import announce_replies
from gateway.pipeline.marks import mark_push, note_push
from gateway.pipeline.people import Login, Who, authors_of, look_up, provably_different
from gateway.pipeline.targets import matter
from gateway.pipeline.verdicts import name_of, needs_second_person, waivers_for
from gateway.security.audit import Origin, attribute
from gateway_schemas.ticket import AgentNote

COLUMNS = """r.id, r.ticket_id, r.connection_id, r.helpdesk_id, r.state, r.code, r.digest, r.findings, r.author_id,
    r.author_name, r.author_email, r.editors, r.group_id, r.approved_digest, r.waived"""
UNAPPROVABLE = {
    "target_deleted": "The customer deleted the message that it answers.",
    "no_target": "There is no message to answer.",
}
APPROVE_TAG = "gw_approve"
COMMAND = re.compile(r"\s*/(approve|reject)\b[ \t]*(?:([0-9a-fA-F]{6,64})\b)?[ \t]*(.*)", re.DOTALL)


class Refused(Exception):
    """This approval is not possible; `reason` says why and what would be, `field` names the part of it to mend."""

    def __init__(self, reason: str, *, field: str | None = None) -> None:
        super().__init__(reason)
        self.reason = reason
        self.field = field


async def approve(
    connection: AsyncConnection,
    reply: Mapping[str, Any],
    by: Who,
    now: datetime,
    ttl: timedelta,
    *,
    digest: str | None,
    findings: Collection[str] | None = None,
) -> set[str]:
    """Let a held reply, whose row the caller has locked, be decided on with its findings waived.

    `digest` is what was looked at. `findings` names those to waive; None: all that hold it. Returns the drains to wake.
    Raises Refused.
    """
    if reply["state"] != "held":
        raise Refused(f"The reply is {reply['state']}; only a held one can be approved.")
    if reply["code"] in UNAPPROVABLE:
        raise Refused(UNAPPROVABLE[reply["code"]])
    if digest != reply["digest"]:
        raise Refused("The reply has changed since you looked; read it again.", field="digest")
    held = list(reply["findings"] or ())
    unknown = sorted(set(findings or ()) - {name_of(one) for one in held})
    if unknown:
        raise Refused(f"it is not held by {', '.join(unknown)}", field="findings")
    waived = [one for one in held if findings is None or name_of(one) in findings]
    if needs_second_person(waived):
        await _second_person(connection, reply, by)
    # what somebody passed over of this very text before stays so
    before = list(reply["waived"] or ()) if reply["approved_digest"] == digest else []
    await execute(
        connection,
        """UPDATE reply SET state = 'received', approved_digest = :digest, approved_by = :by, approved_at = :now,
               waived = CAST(:waived AS jsonb), code = NULL, reason = NULL, due_at = :now,
               not_after = GREATEST(not_after, :later), updated_at = :now
           WHERE id = :id AND state = 'held'""",
        id=reply["id"],
        digest=digest,
        by=by.name,
        now=now,
        waived=as_json([*before, *waivers_for(waived)]),
        later=now + ttl,
    )
    await announce_replies(connection, "reply.approved", [reply["id"]], now, by=by.name)
    return {f"reply:{reply['connection_id']}"}


async def end(connection: AsyncConnection, reply_id: UUID, code: str, reason: str, now: datetime) -> set[str]:
    """A reply, whose row the caller has locked, does not go out; the agent reads why. Returns the drains to wake."""
    await execute(
        connection,
        "UPDATE reply SET state = 'cancelled', code = :code, reason = :reason, updated_at = :now WHERE id = :id",
        id=reply_id,
        code=code,
        reason=reason,
        now=now,
    )
    await announce_replies(connection, "reply.rejected" if code == "rejected" else "reply.cancelled", [reply_id], now)
    drain = await mark_push(connection, reply_id, "blocked", reason=reason, now=now, suffix=code)
    return {drain} if drain else set()


async def _second_person(connection: AsyncConnection, reply: Mapping[str, Any], by: Who) -> None:
    for author in await look_up(connection, authors_of(reply)):
        if provably_different(author, by):
            continue
        if author.person is not None and author.person == by.person:
            raise Refused("It needs a second person: you wrote it yourself.")
        unknown = [one.name for one in (by, author) if one.person is None]
        raise Refused(
            f"It needs a second person, and nobody has said who {' and '.join(unknown) or by.name} is: "
            "POST /v1/people maps agents, API keys and tokens to people."
        )


async def by_note(
    connection: AsyncConnection,
    endpoint: Endpoint,
    ticket: Mapping[str, Any],
    item: AgentNote,
    now: datetime,
    ttl: timedelta,
) -> set[str]:
    """A private note that begins with `/approve` or `/reject`, of a ticket whose row is locked. Returns drains."""
    match = COMMAND.match(item.text)
    if match is None:
        return set()
    command, prefix, rest = match.groups()
    name = item.author.name or item.author.external_id
    replies = [
        one
        for one in await _held(connection, ticket["id"])
        if prefix is None or (one["digest"] or "").startswith(prefix.lower())
    ]
    try:
        reply = _the_one(replies, None if prefix else item.at)
        await attribute(connection, _by_agent(f"{command}_reply", endpoint, item.author.external_id, name))
        if command == "reject":
            wakes = await end(connection, reply["id"], "rejected", _because(f"rejected by {name}", rest), now)
        else:
            [who] = await look_up(connection, [Login(name, endpoint.id, item.author.external_id, item.author.email)])
            wakes = await approve(connection, reply, who, now, ttl, digest=reply["digest"])
        await attribute(connection, None)
        return wakes
    except Refused as error:
        await attribute(connection, None)
        drain = await note_push(
            connection,
            ticket["id"],
            f"a:{endpoint.id}:{item.external_id}",
            f"/{command} by {name}: {error.reason}",
            now,
        )
        return {drain} if drain else set()


async def by_tag(
    connection: AsyncConnection,
    endpoint: Endpoint,
    ticket: Mapping[str, Any],
    tags: Sequence[str],
    at: datetime,
    now: datetime,
    ttl: timedelta,
) -> set[str]:
    """The tag `gw_approve` newly set on a ticket whose row is locked. It says that, not who: it is no second person.

    The tag is taken off again, so that it approves what was held when it was set and nothing after. Returns drains.
    """
    if APPROVE_TAG not in tags or APPROVE_TAG in ticket["tags"]:
        return set()
    text, wakes = None, set[str]()
    try:
        reply = _the_one(await _held(connection, ticket["id"]), at)
        who = Who(f"somebody who set the tag {APPROVE_TAG}")
        await attribute(connection, _by_agent("approve_reply", endpoint, None, who.name))
        wakes = await approve(connection, reply, who, now, ttl, digest=reply["digest"])
    except Refused as error:
        text = f"The tag {APPROVE_TAG}: {error.reason}"
    await attribute(connection, None)
    drain = await note_push(
        connection,
        ticket["id"],
        f"a:{endpoint.id}:{APPROVE_TAG}:{at.isoformat()}",
        text,
        now,
        remove_tags=[APPROVE_TAG],
    )
    return wakes | ({drain} if drain else set())


def _by_agent(action: str, endpoint: Endpoint, agent: str | None, name: str) -> Origin:
    """For the audit log; the inbox writes the entry at the end of its transaction."""
    id = f"{endpoint.id}:{agent}" if agent is not None else str(endpoint.id)
    return Origin(action, "agent", id, name)


async def _held(connection: AsyncConnection, ticket_id: UUID) -> list[Row]:
    """The held replies of a matter, locked, with when the helpdesk came to show each one's newest note."""
    return await fetch_all(
        connection,
        f"""SELECT {COLUMNS}, (
                SELECT CASE WHEN p.state = 'done' THEN p.done_at END FROM push p
                WHERE p.reply_id = r.id AND p.ticket_id = r.ticket_id AND starts_with(p.key, 'm:' || r.id || ':held:')
                ORDER BY p.id DESC LIMIT 1) AS shown_at
            FROM reply r WHERE r.ticket_id IN ({matter(":ticket")}) AND r.state = 'held'
            ORDER BY r.created_at, r.id FOR UPDATE OF r""",
        ticket=ticket_id,
    )


def _the_one(replies: Sequence[Row], at: datetime | None) -> Row:
    """The held reply that is meant. `at` is when, for words that do not name it: by then it must have been shown."""
    if not replies:
        raise Refused("there is no such held answer here.")
    if len(replies) > 1:
        known = ", ".join((one["digest"] or "")[:8] for one in replies)
        raise Refused(f"several answers are held here; name one of {known}.")
    [reply] = replies
    if at is not None and (reply["shown_at"] is None or reply["shown_at"] > at):
        raise Refused("the held answer was not shown here by then; please look at it first.")
    return reply


def _because(words: str, why: str) -> str:
    return f"{words}: {why.strip()}" if why.strip() else words
