"""What a look makes of a connection's health, in one transaction, and all that follows: who is told, what is polled."""

from __future__ import annotations

import random
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

from sqlalchemy.ext.asyncio import AsyncConnection

from gateway.connections import Endpoint
from gateway.db.database import Row, as_json, execute, fetch_all
from gateway.db.tables.columns import new_id
from gateway.engine.leases import Held, end_lease
from gateway.events.announce import announce
from gateway.health.facts import Seen, learn
from gateway.health.standing import AGAIN, Standing, Symptom, Verdict, observe
from gateway.health.symptoms import STREAM_SILENT, Facts, hints_of, of_facts, of_findings
from gateway.health.ticket import tell_ticket
from gateway.pipeline.trouble import Trouble, note_trouble
from gateway.runtime import Runtime
from gateway_schemas.plugin import Health, HealthFinding, Newest

GAP = "gap"


@dataclass
class Asked:
    """What asking the provider gave."""

    health: Health | None = None
    trouble: Trouble | None = None
    called: bool = False

    @property
    def findings(self) -> Sequence[HealthFinding]:
        """What the plugin found."""
        return self.health.findings if self.health is not None else ()

    @property
    def newest(self) -> Sequence[Newest]:
        """What the plugin saw newest."""
        return self.health.newest if self.health is not None else ()


@dataclass
class Look:
    """Everything that one look goes by."""

    now: datetime
    seen: Seen
    facts: Facts
    asked: Asked
    every: timedelta
    behind: list[str] = field(default_factory=list)
    """Ids at the provider that are not recorded yet: a poll has to bring them before the next look."""
    lost: list[str] = field(default_factory=list)
    """Those that were missing at the last look already, and a poll since has not brought."""


def _symptoms(found: Look) -> list[Symptom]:
    # of two that weigh the same the provider's word comes first: it says why, where our own eyes see only that
    symptoms = [*of_findings(found.facts, found.asked.findings), *of_facts(found.facts, found.now)]
    trouble = found.asked.trouble
    if trouble is not None:
        if trouble.kind == "reauthorise":
            mend = "Authorise the account again, or enter its current credentials."
            symptoms.append(Symptom(trouble.code, "definite", trouble.reason, mend, "access"))
        elif trouble.kind in ("retry", "unknown"):
            mend = "Nothing to do while the provider is down: it is tried again."
            symptoms.append(Symptom(trouble.code, "passing", trouble.reason, mend, "read"))
        else:
            mend = "POST /v1/connections/{id}/check says more."
            symptoms.append(Symptom(trouble.code, "definite", trouble.reason, mend, "read"))
    if found.lost:
        message = (
            f"{len(found.lost)} of the newest things at the provider are not here, and a poll that went well did not "
            f"bring them (such as {found.lost[0]}): polling stands still"
        )
        mend = "Nothing: it is polled from the beginning. If it comes back, tell the plugin's author."
        symptoms.append(Symptom(GAP, "certain", message, mend, "read"))
    return symptoms


async def record_look(runtime: Runtime, endpoint: Endpoint, held: Held, found: Look) -> set[str]:
    """One transaction: what this look makes of the connection's health, and all that follows."""
    now, health = found.now, found.seen.health
    symptoms = _symptoms(found)
    proven_at, proven_by = _proof(found)
    before = standing_of(health)
    # while a person has paused it, it is neither well nor ill
    verdict = Verdict(before) if found.facts.paused else observe(before, symptoms, now, proof=proven_at is not None)
    after = verdict.standing
    incident = health["incident_id"]
    if verdict.change == "unhealthy":
        incident = new_id()
    hints = [*hints_of(found.facts), *_warnings(found)]
    quiet = any(one.code == "unusual_silence" for one in hints)
    fresh_silence = quiet and not health["quiet"]
    wrong = bool(symptoms) and any(one.concern in ("push", "stream", "read") for one in symptoms)
    repair = not found.facts.paused and bool(wrong or found.behind or fresh_silence or verdict.change == "recovered")
    expires = min((one.at for one in found.asked.findings if one.at is not None), default=None)
    if not found.asked.called:
        expires = health["expires_at"]
    wakes: set[str] = set()
    async with runtime.database.write() as connection:
        await held.check(connection)
        if found.asked.trouble is not None and found.asked.trouble.kind == "reauthorise":
            await note_trouble(connection, endpoint, found.asked.trouble, now)
        expectation = await learn(connection, endpoint.id, found.seen.expectation, found.facts.created_at, now)
        if repair:
            # once for each time that it stands still: what cannot be recorded must not have it begin again for ever
            stands = bool(found.lost) and (before.symptom is None or before.symptom.code != GAP)
            wakes |= await _repair(connection, endpoint.id, now, rewind=stands)
        if verdict.change == "unhealthy" and any(one.code == STREAM_SILENT for one in symptoms):
            # whoever follows it loses it within seconds, and the next to look after streams begins it anew
            await end_lease(connection, f"listen:{endpoint.id}")
        if verdict.change is not None:
            symptom = after.symptom or before.symptom
            await announce(
                connection,
                f"connection.{verdict.change}",
                "connection",
                endpoint.id,
                _told(symptom, after.since if verdict.change == "unhealthy" else before.since, proven_at, proven_by),
                now,
            )
        if expires is not None and health["expiry_told_at"] is None:
            ending = next(one for one in found.asked.findings if one.at == expires)
            data = {"code": ending.code, "reason": ending.message, "mend": ending.mend, "since": now}
            await announce(connection, "connection.expiring", "connection", endpoint.id, data, now)
        wakes |= await tell_ticket(connection, endpoint, found.seen.row, incident, before, verdict, now)
        again = verdict.again or (AGAIN if found.behind and not found.lost else found.every)
        await execute(
            connection,
            UPDATE,
            id=endpoint.id,
            **_columns(after),
            incident=None if verdict.change == "recovered" else incident,
            findings=as_json(
                {
                    "items": [*_shown(symptoms), *(one.model_dump(mode="json") for one in hints)],
                    "behind": found.behind,
                }
            ),
            proven_at=proven_at,
            proven_by=proven_by,
            now=now,
            probed=now if found.asked.called else health["probed_at"],
            # a little earlier each time at random, so that what began together does not stay together
            due=health["next_at"],
            next=now + min(again, found.every) * random.uniform(0.9, 1.0),
            pushed_at=found.seen.pushed_at,
            missed=found.seen.missed,
            refused=found.seen.refused_before,
            repaired=now if repair else health["repaired_at"],
            expires=expires,
            told=None if expires is None else health["expiry_told_at"] or now,
            quiet=quiet,
            expectation=as_json(expectation.as_document()),
        )
    return wakes


UPDATE = """
UPDATE channel_health SET state = :state, since = :since, code = :code, concern = :concern, weight = :weight,
    message = :message, mend = :mend, suspected_at = :suspected_at, bad = :bad, good = :good,
    incident_id = CAST(:incident AS uuid), findings = CAST(:findings AS jsonb), proven_at = :proven_at,
    proven_by = :proven_by, looked_at = :now, probed_at = :probed, pushed_at = :pushed_at, repaired_at = :repaired,
    expires_at = :expires,
    -- what a person changed while this look was under way is looked at soon, and what was before counts no more
    next_at = CASE WHEN next_at = :due THEN LEAST(:next, CASE WHEN again_at > :now THEN again_at END) ELSE next_at END,
    again_at = CASE WHEN next_at = :due THEN NULL ELSE again_at END,
    missed = :missed, refused = CASE WHEN next_at = :due THEN :refused ELSE refused END,
    expiry_told_at = :told, quiet = :quiet, expectation = CAST(:expectation AS jsonb)
WHERE connection_id = :id
"""


async def _repair(connection: AsyncConnection, id: UUID, now: datetime, *, rewind: bool) -> set[str]:
    """Have everything polled now; from the beginning, where polling stands still. What is known comes to nothing."""
    rows = await fetch_all(
        connection,
        """UPDATE cursor SET next_at = LEAST(next_at, :now), cursor = CASE WHEN :rewind THEN NULL ELSE cursor END
           WHERE connection_id = :id AND (failures = 0 OR :rewind) RETURNING stream""",
        id=id,
        now=now,
        rewind=rewind,
    )
    return {f"poll:{id}:{row['stream']}" for row in rows}


def _proof(found: Look) -> tuple[datetime | None, str | None]:
    """When news was last shown to reach us, and by what."""
    health, facts = found.seen.health, found.facts
    proofs: list[tuple[datetime, str]] = []
    if health["proven_at"] is not None:
        proofs.append((health["proven_at"], health["proven_by"]))
    if found.seen.pushed_at is not None:
        proofs.append((found.seen.pushed_at, "push"))
    if found.seen.hinted_at is not None:
        proofs.append((found.seen.hinted_at, "stream"))
    proofs += [(lane.polled_at, "poll") for lane in facts.lanes if lane.polled_at is not None and not lane.failures]
    asked = found.asked.health
    if asked is not None and asked.ok and facts.polls and not found.behind:
        proofs.append((found.now, "probe"))
    return max(proofs, default=(None, None))


def _warnings(found: Look) -> list[HealthFinding]:
    return [one for one in found.asked.findings if one.severity == "warning"]


def _shown(symptoms: Sequence[Symptom]) -> list[dict[str, Any]]:
    return [
        {"severity": "error", "code": one.code, "message": one.message, "mend": one.mend, "concern": one.concern}
        for one in symptoms
    ]


def _told(
    symptom: Symptom | None, since: datetime, proven_at: datetime | None, proven_by: str | None
) -> Mapping[str, object]:
    proven = {"proven_at": proven_at.isoformat() if proven_at else None, "proven_by": proven_by}
    if symptom is None:
        return {"since": since, "details": proven}
    return {
        "code": symptom.code,
        "reason": symptom.message,
        "mend": symptom.mend,
        "since": since,
        "details": proven | {"concern": symptom.concern},
    }


def standing_of(row: Row) -> Standing:
    """The standing that a row of `channel_health` holds."""
    symptom = None
    if row["code"] is not None:
        symptom = Symptom(row["code"], row["weight"], row["message"], row["mend"], row["concern"])
    return Standing(row["state"], row["since"], symptom, row["suspected_at"], row["bad"], row["good"])


def _columns(standing: Standing) -> dict[str, Any]:
    symptom = standing.symptom
    return {
        "state": standing.state,
        "since": standing.since,
        "suspected_at": standing.suspected_at,
        "bad": standing.bad,
        "good": standing.good,
        **{
            name: getattr(symptom, name) if symptom is not None else None
            for name in ("code", "concern", "weight", "message", "mend")
        },
    }
