"""Which message an answer goes to, and whether a person should look at that first. Pure: rows in, a target out.

The agent's explicit choice wins; else it is the last message that was at the helpdesk when the agent wrote, or a
private one that came there after it. If something of another visibility or author has come in since, a person looks
again. In doubt nothing grows more public.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any


def matter(ticket: str) -> str:
    """SQL of the ids that make up a ticket's matter: itself, what was merged into it, and what follows it."""
    return f"SELECT m.id FROM ticket m WHERE m.id = {ticket} OR m.merged_into = {ticket} OR m.followup_of = {ticket}"


def counted(interaction: str) -> str:
    """SQL of whether a message is only counted under an incident's ticket: no agent sees it there as one to answer."""
    return f"EXISTS (SELECT 1 FROM incident_member g WHERE g.interaction_id = {interaction} AND g.grouped)"


HEARD = f"""
SELECT i.id, i.ticket_id, i.external_id, i.revision, i.visibility, i.account_id, i.connection_id, i.published_at,
       i.deleted_at, i.data, i.created_at AS seen_at, a.customer_id, p.done_at, p.done_at IS NOT NULL AS told,
       {counted("i.id")} AS counted,
       (SELECT m.merged_at FROM ticket m WHERE m.id = i.ticket_id AND m.merged_into = :ticket) AS joined_at
FROM interaction i JOIN account a ON a.id = i.account_id LEFT JOIN LATERAL (
    SELECT min(done_at) AS done_at FROM push WHERE interaction_id = i.id AND kind = 'comment'
        AND state IN ('done', 'job', 'in_flight')) p ON true
WHERE i.ticket_id IN ({matter(":ticket")}) AND (i.direction = 'inbound' OR i.id = CAST(:named AS uuid))
    AND (i.id = CAST(:named AS uuid) OR CAST(:grouped AS boolean) OR NOT {counted("i.id")})
ORDER BY i.published_at, i.id
"""
"""What customers and bystanders wrote in a matter; and the post of the brand's own that an answer corrects.

What is only counted under an incident, of which there may be thousands, comes along where `grouped`.
"""

NEWER = (
    "A newer message of another visibility or author came in while this was written. "
    "Choose what it answers: add the tag reply:public or reply:private, or answer again."
)
DELETED = "The customer deleted the message."


@dataclass(frozen=True)
class Target:
    """What a reply answers, or why a person must look first."""

    interaction: Mapping[str, Any] | None
    visibility: str
    hold: str | None = None
    code: str | None = None
    between: tuple[str, ...] = ()
    """The messages that the agent may not have known of, where these are the reason to hold."""


def choose_target(reply: Mapping[str, Any], heard: Sequence[Mapping[str, Any]]) -> Target:
    """Which message an answer goes to. `heard` is what the matter's customers and others wrote, oldest first.

    `reply["customers"]` are those whose matter it is: one, or several where tickets were merged at the helpdesk. What
    is only counted under an incident's ticket is answered where it is named, and is no news to anybody else. An answer
    that was written on a ticket before that was merged into another one answers those who had a say on it, and nobody
    else.
    """
    there = {one["customer_id"] for one in heard if reply["written_on"] in (None, one["ticket_id"])}
    heard = [
        one
        for one in heard
        if one["id"] == reply["interaction_id"] or (one["customer_id"] in there and not one["counted"])
    ]
    if not heard:
        return Target(None, "public", hold="There is no message by the customer to answer.", code="no_target")
    alive = [one for one in heard if one["deleted_at"] is None]
    if not alive:
        return _deleted(heard[-1])
    given = next((one for one in heard if one["id"] == reply["interaction_id"]), None)
    if reply["comment_id"] is None:
        return _over_rest(reply, alive, given)
    # what was deleted after the agent wrote was still there to be answered
    told = [
        one
        for one in heard
        if one["told"]
        and one["done_at"] <= reply["written_at"]
        and (one["deleted_at"] is None or one["deleted_at"] > reply["written_at"])
    ]
    # of what a merge brought here the agent may have known, or not
    joined = [one for one in told if _joined_since(one, reply)]
    sure = [one for one in told if one not in joined]
    mine = [one for one in told if one["customer_id"] in reply["customers"]] or told
    if reply["leg"] is not None:
        return _on_leg(reply, mine, sure, alive, given)
    chosen = _newest(mine, "done_at") if mine else alive[0]
    # decided on before: it answers what it answered then
    target = given or chosen
    if target["deleted_at"] is not None:
        return _deleted(target)
    between = _between(reply, target, told, alive)
    if _audience(chosen) != _audience(target):
        between = [*between, chosen]
    if chosen in joined and sure and _audience(sure[-1]) != _audience(chosen):
        between = [*between, chosen]
    return _held(target, between) if between else Target(target, target["visibility"])


def _on_leg(
    reply: Mapping[str, Any],
    mine: Sequence[Mapping[str, Any]],
    sure: Sequence[Mapping[str, Any]],
    alive: Sequence[Mapping[str, Any]],
    given: Mapping[str, Any] | None,
) -> Target:
    """An answer whose leg the agent chose: to the last message of that leg that was at the helpdesk then, else to one
    that came in meanwhile. One that was decided on keeps its message."""
    leg = reply["leg"]
    if given is not None and reply["approved_digest"] is not None:
        target = given
    else:
        on_leg = [one for one in mine if one["visibility"] == leg]
        here = [one for one in on_leg if one in sure] or on_leg
        newer = [one for one in alive if one["visibility"] == leg and one["customer_id"] in reply["customers"]]
        target = (here or newer or mine or alive)[-1]
    return _deleted(target) if target["deleted_at"] is not None else Target(target, leg)


def _over_rest(reply: Mapping[str, Any], alive: Sequence[Mapping[str, Any]], given: Mapping[str, Any] | None) -> Target:
    """An answer made over REST names its message, or answers the newest one that was stored when it was made."""
    if given is not None and given["deleted_at"] is not None:
        return _deleted(given)
    if given is not None:
        return Target(given, reply["leg"] or given["visibility"])
    seen = [one for one in alive if one["seen_at"] <= reply["written_at"]]
    mine = [one for one in seen if one["customer_id"] in reply["customers"]] or seen or alive[:1]
    on_leg = [one for one in mine if reply["leg"] in (None, one["visibility"])]
    target = _newest(on_leg or mine, "seen_at")
    if reply["leg"] is not None:
        return Target(target, reply["leg"])
    between = [
        one
        for one in alive
        if one not in seen and one["published_at"] > target["published_at"] and _audience(one) != _audience(target)
    ]
    return _held(target, between) if between else Target(target, target["visibility"])


def _newest(some: Sequence[Mapping[str, Any]], known: str) -> Mapping[str, Any]:
    """The one that was said last. The clocks of two channels differ, and a mail's is its sender's: what became known
    after that is the newest where it is private and that is not, so that nothing grows more public."""
    said = some[-1]
    last = max(reversed(some), key=lambda one: one[known])
    return last if (said["visibility"], last["visibility"]) == ("public", "private") else said


def _held(target: Mapping[str, Any], between: Sequence[Mapping[str, Any]]) -> Target:
    ids = tuple(sorted({str(one["id"]) for one in between}))
    return Target(target, target["visibility"], hold=NEWER, code="newer_message", between=ids)


def _between(
    reply: Mapping[str, Any],
    target: Mapping[str, Any],
    told: Sequence[Mapping[str, Any]],
    alive: Sequence[Mapping[str, Any]],
) -> list[Mapping[str, Any]]:
    """What changes who reads the answer, and may have been unknown to the agent who wrote it.

    Helpdesks tell time in whole seconds: what was told within the second in which the agent wrote may have been seen or
    not, so it counts as both.
    """
    second = reply["written_at"].replace(microsecond=0)
    doubtful = [one for one in told if one["done_at"] >= second]
    unseen = [one for one in alive if one not in told and one["published_at"] > target["published_at"]]
    found = [one for one in (*unseen, *doubtful) if _audience(one) != _audience(target)]
    sure = [one for one in told if one not in doubtful]
    if target in doubtful and sure and _audience(sure[-1]) != _audience(target):
        found.append(target)
    return found


def _joined_since(one: Mapping[str, Any], reply: Mapping[str, Any]) -> bool:
    return reply["written_on"] is None and one["joined_at"] is not None and one["joined_at"] > reply["written_at"]


def _deleted(one: Mapping[str, Any]) -> Target:
    return Target(one, one["visibility"], hold=DELETED, code="target_deleted")


def _audience(one: Mapping[str, Any]) -> tuple[Any, Any]:
    return one["visibility"], one["customer_id"]
