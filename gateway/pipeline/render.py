"""Back, stations 2 and 3: what an answer answers, how it will read there, and whether it may go.

A reply's target is the agent's explicit choice, else the last message that was at the helpdesk when the agent wrote.
If something of another visibility or author has come in since, a person looks again. The rendered form is what policies
decide on, and exactly what is sent.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from gateway.connections import Endpoint
from gateway.db.database import as_json, execute, fetch_all, insert_rows
from gateway.engine.leases import Held
from gateway.engine.sandbox import Outcome, Sandbox
from gateway.pipeline.decide import Hold, Verdict, decide_reply, decided_on, hold_of, reply_decision
from gateway.pipeline.marks import mark_push
from gateway.policy.sets import PolicySets
from gateway.runtime import Runtime
from gateway_schemas.decision import Case, Severity
from gateway_schemas.interaction import Interaction, ReplyTarget
from gateway_schemas.reply import Draft, OutgoingFile, Rendered

RECEIVED = """
SELECT r.id, r.ticket_id, r.text, r.html, r.leg, r.interaction_id, r.written_at, r.attachments, r.helpdesk_id,
    r.comment_id,
       r.approved_digest, t.account_id, t.status, t.priority, t.tags, t.opened_at, b.name AS brand
FROM reply r JOIN ticket t ON t.id = r.ticket_id LEFT JOIN brand b ON b.id = t.brand_id
WHERE r.connection_id = :connection AND r.state = 'received' AND r.due_at <= :now ORDER BY r.created_at LIMIT :limit
"""

HEARD = """
SELECT i.id, i.external_id, i.revision, i.visibility, i.account_id, i.published_at, i.deleted_at, i.data,
       p.done_at, p.done_at IS NOT NULL AS told
FROM interaction i LEFT JOIN LATERAL (
    SELECT min(done_at) AS done_at FROM push WHERE interaction_id = i.id AND kind = 'comment'
        AND state IN ('done', 'job', 'in_flight')) p ON true
WHERE i.ticket_id = :ticket AND i.direction = 'inbound' ORDER BY i.published_at, i.id
"""

CODES_OF_BUGS = ("deadline", "died", "plugin_bug", "misconfigured")


@dataclass(frozen=True)
class Target:
    """What a reply answers, or why a person must look first."""

    interaction: Mapping[str, Any] | None
    visibility: str
    hold: str | None = None
    code: str | None = None


@dataclass(frozen=True)
class Settled:
    """How deciding on one reply ended."""

    state: str
    code: str | None = None
    reason: str | None = None
    target: Target | None = None
    rendered: Rendered | None = None
    verdict: Verdict | None = None
    case: Case | None = None
    newest: str | None = None
    hold: Hold | None = None


def choose_target(reply: Mapping[str, Any], heard: Sequence[Mapping[str, Any]]) -> Target:
    """Which message an answer goes to. `heard` is what the ticket's customer and others wrote, oldest first."""
    if not heard:
        return Target(None, "public", hold="There is no message by the customer to answer.", code="no_target")
    alive = [one for one in heard if one["deleted_at"] is None]
    if not alive:
        return Target(
            heard[-1], heard[-1]["visibility"], hold="The customer deleted the message.", code="target_deleted"
        )
    if reply["interaction_id"] is not None and (reply["comment_id"] is None or reply["approved_digest"] is not None):
        # named over REST, or looked at and approved by a person
        given = next((one for one in heard if one["id"] == reply["interaction_id"]), None)
        if given is not None and given["deleted_at"] is not None:
            return Target(given, given["visibility"], hold="The customer deleted the message.", code="target_deleted")
        if given is not None:
            return Target(given, reply["leg"] or given["visibility"])
    if reply["comment_id"] is None:
        mine = [one for one in alive if one["account_id"] == reply["account_id"]] or alive  # over REST all is seen
        on_leg = [one for one in mine if reply["leg"] in (None, one["visibility"])]
        return Target((on_leg or mine)[-1], reply["leg"] or mine[-1]["visibility"])
    # what was deleted after the agent wrote was still there to be answered
    told = [
        one
        for one in heard
        if one["told"]
        and one["done_at"] <= reply["written_at"]
        and (one["deleted_at"] is None or one["deleted_at"] > reply["written_at"])
    ]
    mine = [one for one in told if one["account_id"] == reply["account_id"]] or told
    target = mine[-1] if mine else alive[0]
    if reply["leg"] is not None:
        here = [one for one in mine if one["visibility"] == reply["leg"]]
        # the agent chose the leg of a message that came in meanwhile
        newer = [one for one in alive if (one["visibility"], one["account_id"]) == (reply["leg"], reply["account_id"])]
        target = (here or newer or mine or alive)[-1]
    chosen = target
    if reply["leg"] is None and reply["interaction_id"] is not None:
        # decided on before: it answers what it answered then
        target = next((one for one in heard if one["id"] == reply["interaction_id"]), target)
    if target["deleted_at"] is not None:
        return Target(target, target["visibility"], hold="The customer deleted the message.", code="target_deleted")
    if reply["leg"] is not None:
        return Target(target, reply["leg"])
    if _audience(chosen) != _audience(target) or _came_between(reply, target, told, alive):
        return Target(
            target,
            target["visibility"],
            hold="A newer message of another visibility or author came in while this was written. "
            "Choose what it answers: add the tag reply:public or reply:private, or answer again.",
            code="newer_message",
        )
    return Target(target, target["visibility"])


def _came_between(
    reply: Mapping[str, Any],
    target: Mapping[str, Any],
    told: Sequence[Mapping[str, Any]],
    alive: Sequence[Mapping[str, Any]],
) -> bool:
    """Whether the agent may have written without knowing of something that changes who reads the answer.

    Helpdesks tell time in whole seconds: what was told within the second in which the agent wrote may have been seen or
    not, so it counts as both.
    """
    second = reply["written_at"].replace(microsecond=0)
    doubtful = [one for one in told if one["done_at"] >= second]
    unseen = [one for one in alive if one not in told and one["published_at"] > target["published_at"]]
    if any(_audience(one) != _audience(target) for one in (*unseen, *doubtful)):
        return True
    sure = [one for one in told if one not in doubtful]
    return target in doubtful and bool(sure) and _audience(sure[-1]) != _audience(target)


def _audience(one: Mapping[str, Any]) -> tuple[Any, Any]:
    return one["visibility"], one["account_id"]


async def render_due(runtime: Runtime, sandbox: Sandbox, policies: PolicySets, endpoint: Endpoint, held: Held) -> bool:
    """Give each received reply its target, its rendered form and its verdict."""
    now = runtime.now()
    async with runtime.database.read() as connection:
        replies = await fetch_all(connection, RECEIVED, connection=endpoint.id, now=now, limit=50)
    wakes: set[str] = set()
    for reply in replies:
        settled = await _settle(runtime, sandbox, policies, endpoint, reply, now)
        wakes |= await _write(runtime, held, endpoint, reply, settled, now)
    await runtime.wake(wakes)
    return len(replies) == 50


async def _settle(
    runtime: Runtime,
    sandbox: Sandbox,
    policies: PolicySets,
    endpoint: Endpoint,
    reply: Mapping[str, Any],
    now: datetime,
) -> Settled:
    async with runtime.database.read() as connection:
        heard = await fetch_all(connection, HEARD, ticket=reply["ticket_id"])
    target = choose_target(reply, heard)
    newest = str(heard[-1]["id"]) if heard else None
    if target.hold is not None or target.interaction is None:
        return Settled("held", target.code, target.hold, target=target, newest=newest)
    lost = [file for file in (reply["attachments"] or {}).get("files", ()) if not file.get("sha256")]
    if lost:
        names = ", ".join(str(file.get("name") or "a file") for file in lost)
        why = next((file["reason"] for file in lost if file.get("reason")), "it could not be fetched from the helpdesk")
        return Settled("failed", "file_unavailable", f"Not sent because of {names}: {why}.", target=target)
    draft = _draft(reply, target, endpoint)
    if draft is None:
        return Settled("failed", "no_target", "The source offers no way to answer this message.", target=target)
    outcome: Outcome = (await sandbox.render(endpoint, [draft]))[0]
    if not outcome.ok:
        # a plugin's bug or hang is nobody's verdict: a person decides what to do
        state = "held" if outcome.code in CODES_OF_BUGS else "failed"
        return Settled(state, outcome.code, outcome.reason, target=target, newest=newest)
    rendered: Rendered = outcome.values[0]
    if rendered.limit is not None and rendered.length > rendered.limit:
        measure = f"{rendered.length} of at most {rendered.limit} ({rendered.counting.value})"
        reason = f"It is too long for this channel: {measure}."
        return Settled("blocked", "too_long", reason, target=target, rendered=rendered, newest=newest)
    if rendered.visibility == "public" and target.interaction["visibility"] == "private" and reply["leg"] != "public":
        reason = "The answer would be more public than the message it answers."
        return Settled("held", "more_public", reason, target=target, rendered=rendered, newest=newest)
    in_force = await policies.in_force(now)
    async with runtime.database.read() as connection:
        verdict, case = await decide_reply(
            connection,
            sandbox,
            in_force,
            runtime.calendars,
            reply_id=reply["id"],
            rendered=rendered,
            source=endpoint.plugin,
            connection_name=endpoint.name,
            brand=reply["brand"],
            answered=draft.interaction,
            ticket={**reply, "id": reply["ticket_id"]},
            now=now,
        )
    approved = reply["approved_digest"] == rendered.digest
    state = {Severity.block: "blocked", Severity.hold: "queued" if approved else "held"}.get(verdict.severity, "queued")
    hold: Hold | None = None
    if state == "held":
        async with runtime.database.read() as connection:
            hold = await hold_of(connection, runtime.calendars, verdict, in_force, now)
    strictest = verdict.strictest()
    code = None if state == "queued" or strictest is None else str(strictest["code"])
    return Settled(
        state,
        code,
        verdict.reason or None,
        target=target,
        rendered=rendered,
        verdict=verdict,
        case=case,
        newest=newest,
        hold=hold,
    )


def _draft(reply: Mapping[str, Any], target: Target, endpoint: Endpoint) -> Draft | None:
    assert target.interaction is not None
    interaction = Interaction.model_validate(target.interaction["data"])
    how = interaction.reply_target
    if target.visibility == "private" and interaction.visibility == "public":
        # the agent chose to go on in private with somebody who wrote in public
        how = ReplyTarget(kind="direct_message", recipient=interaction.author.external_id)
    elif target.visibility == "public" and interaction.visibility == "private":
        return None
    if how is None:
        return None
    return Draft(
        reply_id=str(reply["id"]),
        text=reply["text"],
        html=reply["html"],
        account=endpoint.account or interaction.account,
        target=how,
        visibility="private" if how.kind == "direct_message" else "public",
        interaction=interaction,
        written_at=reply["written_at"],
        files=tuple(
            OutgoingFile(
                sha256=file["sha256"],
                media_type=file.get("media_type") or "application/octet-stream",
                name=file.get("name") or "file",
                size=file.get("size") or 0,
            )
            for file in (reply["attachments"] or {}).get("files", ())
        ),
    )


async def _write(
    runtime: Runtime, held: Held, endpoint: Endpoint, reply: Mapping[str, Any], settled: Settled, now: datetime
) -> set[str]:
    target = settled.target.interaction if settled.target else None
    wakes: set[str] = set()
    async with runtime.database.write() as connection:
        await held.check(connection)
        touched = await execute(
            connection,
            """UPDATE reply SET state = :state, code = :code, reason = :reason, interaction_id = :interaction,
                   visibility = :visibility, rendered = CAST(:rendered AS jsonb), digest = :digest,
                   decided_on = CAST(:decided_on AS jsonb), hold_until = :hold_until, on_timeout = :on_timeout,
                   updated_at = :now
               WHERE id = :id AND state = 'received' AND text = :text""",
            id=reply["id"],
            text=reply["text"],
            state=settled.state,
            code=settled.code,
            reason=settled.reason,
            interaction=target["id"] if target else None,
            visibility=settled.rendered.visibility
            if settled.rendered
            else (settled.target.visibility if settled.target else None),
            rendered=as_json(settled.rendered.model_dump(mode="json")) if settled.rendered else None,
            digest=settled.rendered.digest if settled.rendered else None,
            decided_on=as_json(
                {
                    **(decided_on(settled.verdict) if settled.verdict else {}),
                    "revision": target["revision"] if target else None,
                    "newest": settled.newest,
                }
            ),
            hold_until=settled.hold.until if settled.hold else None,
            on_timeout=settled.hold.action if settled.hold else None,
            now=now,
        )
        if not touched:
            return set()  # the agent changed it meanwhile; it is decided on anew
        if settled.verdict is not None and settled.rendered is not None and settled.case is not None:
            row = reply_decision(reply["id"], reply["ticket_id"], settled.rendered, settled.verdict, settled.case, now)
            await insert_rows(connection, "decision", [row])
        if settled.state == "queued":
            wakes.add(f"send:{endpoint.id}")
        else:
            drain = await mark_push(
                connection,
                reply["id"],
                settled.state,
                reason=settled.reason or settled.code or settled.state,
                findings=settled.verdict.findings if settled.verdict else (),
                suffix=(settled.rendered.digest if settled.rendered else settled.code) or "",
                now=now,
            )
            wakes |= {drain} if drain else set()
    return wakes
