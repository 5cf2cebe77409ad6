"""What the gateway itself looks for in an answer, with no policy installed: the promises that it makes by itself."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any
from uuid import UUID

from sqlalchemy.ext.asyncio import AsyncConnection

from gateway.connections import ConfigInvalid, Endpoint, PluginMissing
from gateway.db.database import Row, fetch_all
from gateway.pipeline.groups import Alike, covering, find_alike, mass_finding, window
from gateway.pipeline.leaks import Known, private_only
from gateway.pipeline.targets import Target
from gateway.pipeline.verdicts import host_finding, leaking
from gateway.runtime import Runtime
from gateway_schemas.capabilities import SourceCapabilities
from gateway_schemas.decision import Severity
from gateway_schemas.reply import Rendered
from gateway_schemas.source import Source

# All tickets of the customer count: what they wrote in a message last week is no more public for having been solved.
SAID = """
WITH matter AS (
    SELECT id FROM ticket WHERE customer_id IN
        (SELECT customer_id FROM ticket WHERE id = :ticket OR merged_into = :ticket)
)
SELECT visibility, text, handle, name FROM (
    SELECT i.published_at AS at, i.visibility, concat_ws(E'\\n', i.data ->> 'title', i.text) AS text,
           CASE WHEN i.direction = 'inbound' THEN a.handle END AS handle,
           CASE WHEN i.direction = 'inbound' THEN a.name END AS name
    FROM interaction i JOIN account a ON a.id = i.account_id WHERE i.ticket_id IN (SELECT id FROM matter)
    UNION ALL
    SELECT r.sent_at, r.visibility, r.rendered ->> 'text', NULL, NULL
    FROM reply r WHERE r.ticket_id IN (SELECT id FROM matter) AND r.sent_at IS NOT NULL
    UNION ALL
    SELECT n.at, 'private', n.text, NULL, NULL FROM note n WHERE n.ticket_id IN (SELECT id FROM matter)
) AS said ORDER BY at DESC LIMIT 1000
"""

# What stands in the one slot, or is about to.
IN_SLOT = """
SELECT o.id::text AS id, COALESCE(o.rendered ->> 'text', o.text) AS text FROM reply o
WHERE o.interaction_id = :target AND o.id <> :reply AND o.amends IS NULL
  AND o.state IN ('queued', 'sending', 'unknown', 'sent')
UNION ALL
SELECT n.id::text, n.text FROM interaction i JOIN interaction n ON n.scope = i.scope AND n.in_reply_to = i.external_id
WHERE i.id = :target AND n.direction = 'outbound' AND n.reply_id IS NULL AND n.deleted_at IS NULL
"""


@dataclass(frozen=True)
class Checked:
    """What the gateway found, and what it learned of near-identical answers on the way."""

    findings: tuple[dict[str, Any], ...]
    alike: Alike = field(default_factory=Alike)
    group_id: UUID | None = None
    """The approved group that the answer goes out with, whoever found it to be one of many."""


NOTHING = Checked(())


async def check(
    connection: AsyncConnection,
    runtime: Runtime,
    endpoint: Endpoint,
    reply: Row,
    target: Target,
    rendered: Rendered,
    now: datetime,
) -> Checked:
    """Look for what would break a promise if this went out as it is."""
    assert target.interaction is not None
    findings = list(audience(reply, target, rendered))
    if rendered.visibility == "public":
        leaks = private_only(rendered.text, *sides(await fetch_all(connection, SAID, ticket=reply["ticket_id"])))
        if leaks:
            findings.append(leaking(leaks))
    capabilities = capabilities_of(runtime, endpoint)
    if capabilities is not None and capabilities.one_slot and reply["amends"] is None:
        rows = await fetch_all(connection, IN_SLOT, target=target.interaction["id"], reply=reply["id"])
        findings += slot(rows)
    alike, group_id = Alike(), None
    if runtime.settings.mass_replies and reply["amends"] is None:
        since = window(runtime.settings, now)
        alike = await find_alike(connection, reply["ticket_id"], rendered.text, since)
        mass = mass_finding(runtime.settings, alike)
        findings += [mass] if mass is not None else []
        group_id = await covering(connection, alike, rendered.text, since)
    return Checked(tuple(findings), alike, group_id)


def capabilities_of(runtime: Runtime, endpoint: Endpoint) -> SourceCapabilities | None:
    """What a source connection can do with its configuration; None where that cannot be told."""
    try:
        plugin = runtime.connections.instance(endpoint, outgoing=runtime.outgoing)
    except (ConfigInvalid, PluginMissing):
        return None
    return plugin.capabilities if isinstance(plugin, Source) else None


def audience(reply: Mapping[str, Any], target: Target, rendered: Rendered) -> Sequence[dict[str, Any]]:
    """Who would read it, against whom it was written for; and whether it fits."""
    assert target.interaction is not None
    found = []
    if rendered.limit is not None and rendered.length > rendered.limit:
        measure = f"{rendered.length} of at most {rendered.limit} ({rendered.counting.value})"
        found.append(host_finding("too_long", f"It is too long for this channel: {measure}.", severity=Severity.block))
    if target.hold is not None and target.code is not None:
        found.append(host_finding(target.code, target.hold, basis=target.between))
    if rendered.visibility == "public" and target.interaction["visibility"] == "private" and reply["leg"] != "public":
        found.append(host_finding("more_public", "The answer would be more public than the message it answers."))
    return found


def sides(said: Sequence[Mapping[str, Any]]) -> tuple[Known, Known]:
    """What was said in public, and what in private."""
    known = []
    for visibility in ("public", "private"):
        here = [one for one in said if one["visibility"] == visibility]
        names = {name for one in here for name in (one["handle"], one["name"]) if name}
        known.append(Known([one["text"] or "" for one in here], sorted(names)))
    return known[0], known[1]


def slot(rows: Sequence[Mapping[str, Any]]) -> Sequence[dict[str, Any]]:
    """The finding that an answer would take the place of another."""
    if not rows:
        return ()
    there = "\n".join(f"“{row['text']}”" for row in rows)
    return [
        host_finding(
            "one_slot",
            f"There is room for one answer, and this one would take the place of:\n{there}",
            basis=[row["id"] for row in rows],
        )
    ]
