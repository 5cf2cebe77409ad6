"""Back, stations 2 and 3: how an answer will read at the source, and whether it may go there.

The rendered form is what policies decide on, and exactly what is sent. All that holds an answer is found at once, the
gateway's own findings beside the policies', so that a person who looks at it sees everything there is to see.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any
from uuid import UUID

from sqlalchemy.ext.asyncio import AsyncConnection

from gateway.connections import Endpoint
from gateway.db.database import Row, as_json, execute, fetch_all, fetch_one, insert_rows
from gateway.engine.leases import Held
from gateway.engine.sandbox import Outcome, Sandbox
from gateway.events.announce import announce_replies
from gateway.pipeline import groups
from gateway.pipeline.aftermath import STANDS
from gateway.pipeline.alike import bands_of
from gateway.pipeline.checks import NOTHING, Checked, capabilities_of, check
from gateway.pipeline.decide import Hold, Verdict, decide_reply, decided_on, hold_of, reply_decision
from gateway.pipeline.leaving import HEARD_BY
from gateway.pipeline.marks import mark_push
from gateway.pipeline.targets import HEARD, Target, choose_target
from gateway.pipeline.verdicts import HOST, Ruling, fingerprint, host_finding, name_of, rule
from gateway.policy.sets import PolicySets
from gateway.restored import WAITS, waiting
from gateway.runtime import Runtime
from gateway_schemas.decision import Case, Severity
from gateway_schemas.interaction import Interaction, ReplyTarget
from gateway_schemas.reply import Draft, OutgoingFile, Rendered

RECEIVED = f"""
SELECT r.id, r.ticket_id, r.text, r.html, r.leg, r.interaction_id, r.written_at, r.written_on, r.attachments,
       r.helpdesk_id, r.comment_id, r.approved_digest, r.waived, r.group_id, r.amends, t.account_id, t.status,
       t.priority, t.tags, t.opened_at, b.name AS brand,
       (SELECT array_agg(DISTINCT m.customer_id) FROM ticket m WHERE m.id = t.id OR m.merged_into = t.id) AS customers
FROM reply r JOIN ticket t ON t.id = r.ticket_id LEFT JOIN brand b ON b.id = t.brand_id
WHERE r.connection_id = :connection AND r.state = 'received' AND r.due_at <= :now AND NOT {WAITS}
ORDER BY r.created_at, r.id LIMIT :limit
"""

CODES_OF_BUGS = ("deadline", "died", "plugin_bug", "misconfigured")
ELSEWHERE = "elsewhere"
"""The state of a reply that another connection must decide on: what it answers came in there."""


@dataclass(frozen=True)
class Settled:
    """How deciding on one reply ended."""

    ruling: Ruling
    target: Target | None = None
    rendered: Rendered | None = None
    verdict: Verdict | None = None
    case: Case | None = None
    heard: str | None = None
    """What of the matter was known when it was decided."""
    checked: Checked = NOTHING
    hold: Hold | None = None
    """When a hold that nobody looks at meets its end."""

    @property
    def state(self) -> str:
        """The reply's next state."""
        return self.ruling.state


async def render_due(runtime: Runtime, sandbox: Sandbox, policies: PolicySets, endpoint: Endpoint, held: Held) -> bool:
    """Give each received reply its target, its rendered form and its verdict."""
    now = runtime.now()
    async with runtime.database.read() as connection:
        replies = await fetch_all(
            connection, RECEIVED, connection=endpoint.id, now=now, limit=50, **waiting(runtime.restored, now)
        )
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
    reply: Row,
    now: datetime,
) -> Settled:
    async with runtime.database.read() as connection:
        # first: what comes in after this look is news when the answer is about to leave
        basis = await fetch_one(connection, f"SELECT {HEARD_BY} AS heard FROM reply r WHERE r.id = :id", id=reply["id"])
        heard = await fetch_all(
            connection,
            HEARD,
            ticket=reply["ticket_id"],
            named=reply["interaction_id"],
            grouped=reply["written_on"] is not None,  # who had a say on that ticket
        )
    target = choose_target(reply, heard)
    settled = Settled(_one("held", target.code, target.hold), target=target, heard=basis["heard"] if basis else None)
    if target.interaction is None or target.code == "target_deleted":
        return settled
    if target.interaction["connection_id"] != endpoint.id:
        return replace(settled, ruling=Ruling(ELSEWHERE))
    capabilities = capabilities_of(runtime, endpoint)
    if reply["amends"] is not None and capabilities is not None and not capabilities.edit:
        reason = f"{STANDS} {endpoint.plugin} cannot change what was published."
        return replace(settled, ruling=_one("failed", "no_edit", reason))
    lost = [file for file in (reply["attachments"] or {}).get("files", ()) if not file.get("sha256")]
    if lost:
        names = ", ".join(str(file.get("name") or "a file") for file in lost)
        why = next((file["reason"] for file in lost if file.get("reason")), "it could not be fetched from the helpdesk")
        return replace(settled, ruling=_one("failed", "file_unavailable", f"Not sent because of {names}: {why}."))
    draft = _draft(reply, target, endpoint)
    if draft is None:
        reason = "The source offers no way to answer this message."
        return replace(settled, ruling=_one("failed", "no_target", reason))
    outcome: Outcome = (await sandbox.render(endpoint, [draft]))[0]
    if not outcome.ok:
        # a plugin's bug or hang is nobody's verdict: a person decides what to do
        state = "held" if outcome.code in CODES_OF_BUGS else "failed"
        return replace(settled, ruling=_one(state, outcome.code, outcome.reason))
    rendered: Rendered = outcome.values[0]
    in_force = await policies.in_force(now)
    async with runtime.database.read() as connection:
        checked = await check(connection, runtime, endpoint, reply, target, rendered, now)
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
        hold = await hold_of(connection, runtime.calendars, verdict, in_force, now)
    verdict = _joined(verdict, _without_mass(checked, verdict))
    counted = [one for one in verdict.findings if one["code"] != groups.MASS or checked.group_id is None]
    ruling = rule(counted, reply["approved_digest"], reply["waived"], rendered.digest)
    if ruling.state != "held":
        hold = None
    elif hold is not None and any(one["policy"] == HOST for one in ruling.open):
        hold = replace(hold, action="escalate")  # what the gateway itself holds is not let go by anybody's silence
    return replace(settled, ruling=ruling, rendered=rendered, verdict=verdict, case=case, checked=checked, hold=hold)


def _without_mass(checked: Checked, verdict: Verdict) -> Checked:
    """Where a policy found this to be one of many, the gateway does not say so again."""
    if not any(one["code"] == groups.MASS and one["mode"] == "on" for one in verdict.findings):
        return checked
    return replace(checked, findings=tuple(one for one in checked.findings if one["code"] != groups.MASS))


def _one(state: str, code: str | None, reason: str | None) -> Ruling:
    """A ruling for one reason that no approval waives."""
    return Ruling(state, (host_finding(code or state, reason or state),))


def _joined(verdict: Verdict, checked: Checked) -> Verdict:
    """The policies' findings and the gateway's own, as one verdict."""
    severities = [verdict.severity, *(Severity(one["severity"]) for one in checked.findings)]
    strictest = max(severities, key=lambda one: one.rank)
    return replace(verdict, severity=strictest, findings=(*checked.findings, *verdict.findings))


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
    runtime: Runtime, held: Held, endpoint: Endpoint, reply: Row, settled: Settled, now: datetime
) -> set[str]:
    async with runtime.database.write() as connection:
        await held.check(connection)
        if settled.state == ELSEWHERE:
            return await _hand_over(connection, reply, settled, now)
        if not await _store(connection, reply, settled, now):
            return set()  # the agent changed it meanwhile, or a person ended it; it is decided on anew
        if settled.verdict is not None and settled.rendered is not None and settled.case is not None:
            row = reply_decision(reply["id"], reply["ticket_id"], settled.rendered, settled.verdict, settled.case, now)
            await insert_rows(connection, "decision", [row])
        wakes = {f"send:{endpoint.id}"}  # its turn, or the next one's
        if settled.state == "queued":
            await _grouped(connection, reply, settled)
            return wakes
        if settled.rendered is not None and groups.MASS in {one["code"] for one in settled.ruling.open}:
            wakes |= await groups.join(
                connection, runtime.settings, reply, settled.rendered.text, settled.checked.alike, now
            )
        findings = {"findings": [name_of(one) for one in settled.ruling.open]} if settled.state != "failed" else {}
        await announce_replies(connection, f"reply.{settled.state}", [reply["id"]], now, **findings)
        drain = await mark_push(
            connection,
            reply["id"],
            settled.state,
            reason=settled.ruling.reason or settled.state,
            findings=settled.verdict.findings if settled.verdict else (),
            suffix=fingerprint(settled.rendered.digest if settled.rendered else None, settled.ruling.open),
            now=now,
        )
        return wakes | ({drain} if drain else set())


# Only what was decided on becomes of it: an edit, another leg or another approval since makes this verdict void.
STORE = """
UPDATE reply SET state = :state, code = :code, reason = :reason, interaction_id = :interaction,
    visibility = :visibility, rendered = CAST(:rendered AS jsonb), digest = :digest, bands = :bands,
    findings = CAST(:findings AS jsonb), decided_on = CAST(:decided_on AS jsonb), hold_until = :hold_until,
    on_timeout = :on_timeout, updated_at = :now
WHERE id = :id AND state = 'received' AND text = :text AND leg IS NOT DISTINCT FROM CAST(:leg AS text)
  AND ticket_id = :ticket AND approved_digest IS NOT DISTINCT FROM CAST(:approved AS text)
"""


async def _store(connection: AsyncConnection, reply: Row, settled: Settled, now: datetime) -> bool:
    target = settled.target.interaction if settled.target else None
    rendered, queued = settled.rendered, settled.state == "queued"
    visibility = rendered.visibility if rendered else settled.target.visibility if settled.target else None
    touched = await execute(
        connection,
        STORE,
        id=reply["id"],
        ticket=reply["ticket_id"],
        text=reply["text"],
        leg=reply["leg"],
        approved=reply["approved_digest"],
        state=settled.state,
        code=None if queued else settled.ruling.code,
        reason=None if queued else settled.ruling.reason,
        interaction=target["id"] if target else None,
        visibility=visibility,
        rendered=as_json(rendered) if rendered else None,
        digest=rendered.digest if rendered else None,
        bands=bands_of(rendered.text) if rendered else [],
        findings=as_json(settled.ruling.open) if settled.state == "held" else None,
        decided_on=as_json(
            {
                **(decided_on(settled.verdict) if settled.verdict else {}),
                "heard": settled.heard,
            }
        ),
        hold_until=settled.hold.until if settled.hold else None,
        on_timeout=settled.hold.action if settled.hold else None,
        now=now,
    )
    return bool(touched)


async def _hand_over(connection: AsyncConnection, reply: Row, settled: Settled, now: datetime) -> set[str]:
    """Tickets merged at the helpdesk: the answer leaves by the channel that its message came in by."""
    assert settled.target is not None
    assert settled.target.interaction is not None
    other: UUID = settled.target.interaction["connection_id"]
    await execute(
        connection,
        "UPDATE reply SET connection_id = :other, updated_at = :now WHERE id = :id AND state = 'received'",
        other=other,
        id=reply["id"],
        now=now,
    )
    return {f"reply:{other}"}


async def _grouped(connection: AsyncConnection, reply: Row, settled: Settled) -> None:
    """An answer that an approved group covers takes its turn with the group."""
    group_id = settled.checked.group_id
    if group_id is not None and group_id != reply["group_id"]:
        await execute(connection, "UPDATE reply SET group_id = :group WHERE id = :id", group=group_id, id=reply["id"])
