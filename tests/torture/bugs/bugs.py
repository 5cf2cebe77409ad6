# ruff: noqa: E501 - what is replaced stands as it stands
"""Small deliberate bugs, as somebody could make them: where, what stood there, and what stands there instead.

Each says on which pairs and under which harm it can show at all; the schedules that look for it are drawn as always.
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Bug:
    """One bug in a copy of the gateway."""

    name: str
    edits: tuple[tuple[str, str, str], ...]
    """File below `gateway/`, old text (it stands there once), new text."""
    pairs: str = ""
    harm: str = ""
    """Forced in each schedule, beside the seed's own choices, comma-separated."""
    steps: str = ""
    """What people do at the end of each schedule's own story, comma-separated."""


def bug(name: str, *edits: tuple[str, str, str], pairs: str = "", harm: str = "", steps: str = "") -> Bug:
    """Shorter to write."""
    return Bug(name, edits, pairs, harm, steps)


def paused(then: str) -> str:
    """Something happens while an answer waits for the end of a pause."""
    return f"settle,pause,answer,settle,{then},settle,lift"


RECORD, VERSIONS = "pipeline/record.py", "pipeline/versions.py"
THREAD, PLAN, REPLY = "pipeline/thread.py", "pipeline/thread_plan.py", "pipeline/reply.py"
TICKETS = "pipeline/ticket_states.py"
LEAVING, TARGETS = "pipeline/leaving.py", "pipeline/targets.py"
RENDER, SEND, UNKNOWN = "pipeline/render.py", "pipeline/send.py", "pipeline/unknown_replies.py"
PUSH, OUTCOMES, SUCCESSION = "pipeline/push.py", "pipeline/outcomes.py", "pipeline/succession.py"
MATTERS, STORED, CHANGES, DRAINS, INBOX = (
    "pipeline/matters.py",
    "pipeline/matters_stored.py",
    "pipeline/changes.py",
    "pipeline/drains.py",
    "pipeline/inbox.py",
)
LEASES = "engine/leases.py"

FORUM = "inbound:zendesk,inbound:freshdesk"
X = "x:zendesk,x:freshdesk"

BUGS = (
    # one thing stays one thing
    bug(
        "one matter for all who write in a thread",
        (
            MATTERS,
            "        id = self.legs.get((thread_id, account_id))\n",
            "        id = next((one for (thread, _), one in self.legs.items() if thread == thread_id), None)\n",
        ),
        pairs=FORUM,
    ),
    bug(
        "every message opens a ticket",
        (
            THREAD,
            "    ticket, invitation = matters.ticket_of(item.thread_id, item.account_id), None\n",
            "    ticket = invitation = None\n",
        ),
        pairs=FORUM,
    ),
    bug(
        "identity is the connection's, not the provider's",
        (
            RECORD,
            "    return endpoint.plugin\n\n\nasync def record(",
            "    return endpoint.scope\n\n\nasync def record(",
        ),
        pairs="x:zendesk,google_business:zendesk",
    ),
    bug(
        "ON CONFLICT removed from interactions",
        (
            RECORD,
            'tail=f"ON CONFLICT (scope, external_id) DO NOTHING RETURNING {KNOWN}"',
            'tail=f"RETURNING {KNOWN}"',
        ),
        harm="webhooks",
    ),
    bug(
        "ON CONFLICT removed from revisions",
        (
            VERSIONS,
            'tail="ON CONFLICT (interaction_id, revision) DO NOTHING RETURNING interaction_id,',
            'tail="RETURNING interaction_id,',
        ),
        pairs=FORUM,
        harm="webhooks",
    ),
    bug(
        "an edit is skipped",
        (
            VERSIONS,
            "elif not first and version_order(one.item) < stored.version_at and one.item.revision != stored.revision:",
            "elif not first:",
        ),
    ),
    bug(
        "an older version that comes late is news",
        (
            VERSIONS,
            "elif not first and version_order(one.item) < stored.version_at and one.item.revision != stored.revision:",
            "elif False:",
        ),
        pairs=FORUM,
        harm="webhooks",
        steps="slip,slip",
    ),
    bug(
        "the key of a comment lacks the revision",
        (
            PLAN,
            'key = f"i:{item.name}:{item.news.revision}"\n        self.told',
            'key = f"i:{item.name}"\n        self.told',
        ),
    ),
    bug(
        "an edit in the batch of its post is dropped",
        (
            THREAD,
            "    if item.ticket_id is None and item.interaction_id in plan.placed:\n",
            "    if False:\n",
        ),
        pairs=FORUM,
    ),
    bug(
        "an edit rewrites a comment that is out already",
        (
            STORED,
            "AND kind = 'comment' AND state = 'pending' AND tries = 0",
            "AND kind = 'comment'",
        ),
    ),
    bug(
        "a tombstone is ignored",
        (RECORD, '"deleted_at": tomb["deleted_at"] if tomb else None', '"deleted_at": None'),
        pairs=FORUM,
        harm="webhooks",
    ),
    bug(
        "nobody is told of a deletion",
        (THREAD, "    if ticket is not None and item.reply_id is None:\n", "    if False:\n"),
        pairs=FORUM,
    ),
    bug(
        "an edit under a newer id is a post of its own",
        (
            RECORD,
            "incoming.append(Incoming((scope, item.external_id),",
            "incoming.append(Incoming((scope, item.revision),",
        ),
        pairs=X,
    ),
    bug(
        "our own send comes back as somebody else's",
        (THREAD, "    sent = matters.reply_sent_as(item)\n", "    sent = None\n"),
        pairs="x:zendesk,inbound:zendesk",
    ),
    bug(
        "an echo that overtakes the answer is not parked",
        (THREAD, '        if flying["rendered"] and _same_words(', "        if False and _same_words("),
        (THREAD, '        if flying["in_doubt"] and plan.now - item.seen_at < ECHO_PATIENCE:', "        if False:"),
        pairs="x:zendesk,inbound:zendesk",
        harm="source",
    ),
    bug(
        "the brand's own posts are customers'",
        (
            THREAD,
            '    elif item.news.direction == "outbound":\n        _own(plan, matters, item, book)\n',
            "",
        ),
        pairs="x:zendesk,inbound:zendesk",
    ),
    # one ticket, one comment
    bug(
        "what was in flight is repeated without a look",
        (
            OUTCOMES,
            "    there = (creating and seen.external_id is not None) or ",
            "    absent = True\n    there = False and ",
        ),
        pairs="inbound:freshdesk,x:freshdesk,inbound:zendesk",
        harm="helpdesk",
    ),
    bug(
        "a ticket's absence is believed at once",
        (
            PUSH,
            "        proof = absent_is_proof(change.started_at, now, plugin.capabilities.index_lag)",
            "        proof = True",
        ),
        pairs="inbound:freshdesk,x:freshdesk",
        harm="helpdesk,hidden",
    ),
    bug(
        "a push of unknown outcome is tried again",
        (OUTCOMES, '    if trouble.kind == "unknown":', "    if False:"),
        (
            OUTCOMES,
            '    if trouble.kind in ("retry", "reauthorise"):',
            '    if trouble.kind in ("retry", "reauthorise", "unknown"):',
        ),
        pairs="inbound:freshdesk,x:freshdesk,inbound:zendesk",
        harm="helpdesk",
    ),
    bug(
        "what is interrupted stays in flight",
        (
            DRAINS,
            "p.state IN ('pending', 'in_flight', 'job')\n        AND p.due_at",
            "p.state IN ('pending', 'job')\n        AND p.due_at",
        ),
        pairs=FORUM,
        harm="kill,helpdesk",
    ),
    bug(
        "the newest comment goes first",
        (PUSH, 'ORDER BY ticket_id, id\n"""', 'ORDER BY ticket_id, id DESC\n"""'),
        pairs=FORUM,
        harm="helpdesk,expired",
    ),
    bug(
        "a ticket's number is not kept",
        (OUTCOMES, "SET external_id = COALESCE(external_id, :external), external_url", "SET external_url"),
        pairs=FORUM,
    ),
    bug(
        "what a closed ticket refused is dropped",
        (
            SUCCESSION,
            """UPDATE push SET ticket_id = :ticket, state = 'pending', change_key = NULL, due_at = :now
           WHERE id = ANY(:ids)""",
            """UPDATE push SET ticket_id = :ticket, state = 'dropped', change_key = NULL, due_at = :now
           WHERE id = ANY(:ids)""",
        ),
        pairs=FORUM,
        steps="post,settle,close,chase",
    ),
    bug(
        "a merge by a person is not followed",
        (TICKETS, "    if item.merged_into is not None:", "    if False:"),
        (OUTCOMES, '    if trouble.kind == "moved" and trouble.moved_to is not None:', "    if False:"),
        pairs=FORUM,
        steps="post,post,settle,merge,chase",
    ),
    bug(
        "notes are public",
        (
            CHANGES,
            '        public=payload.get("public", True),\n        at=payload["at"],\n        url',
            '        public=True,\n        at=payload["at"],\n        url',
        ),
        pairs=FORUM,
    ),
    # leases and words
    bug(
        "the lease is not checked",
        (
            LEASES,
            "        if row is None:\n            raise LeaseLost(self.name)",
            "        if False:\n            raise LeaseLost(self.name)",
        ),
        pairs="x:zendesk,inbound:freshdesk",
        harm="stall",
    ),
    bug(
        "everybody gets the lease",
        (LEASES, "RETURNING epoch, NOT again AS taken", "RETURNING epoch, true AS taken"),
        (
            LEASES,
            "        if row is None:\n            raise LeaseLost(self.name)",
            "        if False:\n            raise LeaseLost(self.name)",
        ),
        pairs="inbound:freshdesk,x:freshdesk",
        harm="doubled words",
    ),
    bug(
        "the lease of the dead never ends",
        (
            LEASES,
            "THEN EXCLUDED.until ELSE l.until END,",
            "THEN EXCLUDED.until ELSE l.until + interval '1 hour' END,",
        ),
        harm="kill",
    ),
    bug(
        "the tick does not look for changes to thread",
        (DRAINS, "WHERE r.shard = s.number AND r.state = 'pending')", "WHERE r.shard = s.number AND false)"),
        harm="lost words",
    ),
    bug(
        "the tick does not look for replies to decide",
        (DRAINS, "AND r.state = 'received' AND r.due_at <= :now)", "AND false)"),
        harm="lost words",
    ),
    bug(
        "a send that was interrupted is forgotten",
        (DRAINS, "r.connection_id = open.id AND r.state = 'sending')", "false)"),
        (UNKNOWN, "AND state = 'sending' AND deadline_at < clock_timestamp()", "AND state = 'sending' AND false"),
        harm="kill",
        steps="post,settle,answer,add,settle",
    ),
    bug(
        "a lost connection to the database is the data's fault",
        (
            INBOX,
            "        if not is_data_error(error):\n            raise\n        if len(reads) > 1:",
            "        if len(reads) > 1:",
        ),
        pairs=FORUM,
        harm="cut",
    ),
    # a public reply goes out at most once
    bug(
        "a comment read twice is two answers",
        (
            REPLY,
            "comment_id=item.external_id,\n                comment_revision",
            'comment_id=f"{item.external_id}.{id}",\n                comment_revision',
        ),
    ),
    bug(
        "a send of unknown outcome is tried again",
        (SEND, 'state = {"unknown": "unknown", "retry"', 'state = {"unknown": "queued", "retry"'),
        pairs=X,
        harm="source",
        steps="post,settle,answer,add,settle",
    ),
    bug(
        "a reply's absence is believed at once",
        (UNKNOWN, '        case Absent() if absent_is_proof(row["started_at"], now, lag):', "        case Absent():"),
        pairs=X,
        harm="source,hidden,late webhooks",
        steps="post,settle,answer,add,settle",
    ),
    bug(
        "the deadline is not looked at again before the send",
        (
            SEND,
            "seconds=flight.until - time.monotonic(), gate=gate)",
            "seconds=runtime.settings.call_timeout, gate=gate)",
        ),
        pairs=X,
        harm="stall",
        steps="post,settle,answer,add,settle",
    ),
    bug(
        "answers of one ticket overtake each other",
        (SEND, "      OR (o.state IN ('received', 'queued') AND", "      OR (false AND"),
        (SEND, "(o.state IN ('sending', 'unknown') AND", "(false AND"),
        harm="source",
        pairs=X,
        steps="post,settle,answer,add,add,settle",
    ),
    # no reply leaves undecided or stale
    bug(
        "a pause holds nothing back",
        (SEND, "AND NOT c.paused_out AND NOT {STOPPED}\n  AND NOT EXISTS", "AND NOT c.paused_out\n  AND NOT EXISTS"),
        (SEND, "seconds=flight.until - time.monotonic(), gate=gate)", "seconds=flight.until - time.monotonic())"),
        pairs="inbound:zendesk,x:zendesk",
        steps=paused("post"),
    ),
    bug(
        "what an agent takes back goes out",
        (
            REPLY,
            'if known["state"] in ("received", "queued"):\n        await execute(\n            connection,\n            """UPDATE reply SET state = \'cancelled\'',
            'if known["state"] == "received":\n        await execute(\n            connection,\n            """UPDATE reply SET state = \'cancelled\'',
        ),
        pairs="inbound:zendesk,x:zendesk",
        steps=paused("take back"),
    ),
    bug(
        "a newer message does not matter",
        (LEAVING, '    if not stands or basis.get("heard") != row["heard_now"]:', "    if not stands:"),
        pairs="inbound:zendesk,x:zendesk",
        steps=paused("overtake"),
    ),
    bug(
        "a deleted target does not matter",
        (LEAVING, '    if row["deleted_at"] is not None:', "    if False:"),
        (LEAVING, '    if not stands or basis.get("heard") != row["heard_now"]:', "    if not stands:"),
        pairs=FORUM,
        steps=paused("delete target"),
    ),
    bug(
        "the private leg is ignored",
        (
            TARGETS,
            'if target["deleted_at"] is not None else Target(target, leg)',
            'if target["deleted_at"] is not None else Target(target, "public")',
        ),
        pairs="x:zendesk,inbound:zendesk",
        steps="direct,post,settle,privately",
    ),
    bug(
        "nobody is told of a held reply",
        (
            RENDER,
            '        drain = await mark_push(\n            connection,\n            reply["id"],\n            settled.state,',
            '        drain = settled.state != "held" and await mark_push(\n            connection,\n'
            '            reply["id"],\n            settled.state,',
        ),
        pairs="x:zendesk,inbound:zendesk",
        steps="post,direct,settle,answer",
    ),
)
