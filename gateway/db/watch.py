"""Which tables a change to goes into the audit log, and the triggers that notice it.

A transaction that is on record names its origin in the setting `gateway.audit`. In it each changed row of a watched
table leaves its values before and after in `audit_pending`, whatever code changed it, and `gateway.security.audit`
makes an entry of them before the commit. In all other transactions the triggers look at the setting and do nothing.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from sqlalchemy import Connection, LargeBinary, text
from sqlmodel import SQLModel

import gateway.db.tables  # noqa: F401  fills the metadata


@dataclass(frozen=True)
class Watched:
    """One table: what of a changed row is shown, and what is there as a fingerprint only.

    A table that holds what customers and agents wrote lists what is `shown`. The others show everything but bytes and
    what is `hidden`. A change of `quiet` columns alone is none: they follow from use, not from anybody's will.
    """

    table: str
    shown: tuple[str, ...] | None = None
    hidden: tuple[str, ...] = ()
    quiet: tuple[str, ...] = ()

    @property
    def arguments(self) -> tuple[str, str, str]:
        """What the trigger is created with: columns of the key, quiet ones, shown ones."""
        table = SQLModel.metadata.tables[self.table]
        shown = self.shown or tuple(
            one.name for one in table.columns if not isinstance(one.type, LargeBinary) and one.name not in self.hidden
        )
        return ",".join(one.name for one in table.primary_key), ",".join(self.quiet), ",".join(shown)


WATCHED = (
    Watched("api_key", quiet=("last_used_at",)),
    Watched("brand"),
    Watched("app", quiet=("updated_at",)),
    Watched(
        "connection",
        quiet=("updated_at", "blocked_until", "blocked_reason", "failures", "last_ok_at", "state"),
    ),
    Watched(
        "authorisation",
        quiet=(
            "renewed_at",
            "access_expires_at",
            "refresh_expires_at",
            "renew_at",
            "begun_until",
            "hastened",
            "failures",
            "reason",
        ),
    ),
    Watched("authorisation_request"),
    Watched("retired_secret", quiet=("last_used_at",)),
    Watched("calendar", quiet=("updated_at", "feed_due_at", "feed_fetched_at", "feed_problem")),
    Watched("calendar_version"),
    Watched("policy"),
    Watched("policy_revision"),
    Watched("policy_activation"),
    Watched("policy_case", shown=("id", "policy_id", "name", "point", "expect", "author", "created_at")),
    Watched("word_list"),
    Watched("waiver"),
    Watched("decision_feedback", shown=("id", "decision_id", "policy", "right", "author", "at")),
    Watched("backtest", hidden=("result",), quiet=("position", "total")),
    Watched("person"),
    Watched("person_identity"),
    Watched("outbound_pause"),
    Watched(
        "subscription",
        hidden=("url",),  # some receivers know their senders by a secret in it
        quiet=("updated_at", "failing_since", "failures", "wait_until", "last_ok_at", "last_error"),
    ),
    Watched(
        "erasure",
        shown=("id", "customer_id", "until", "requested_by", "reason", "requested_at"),
        quiet=("state", "step", "position", "rounds", "due_at", "counts", "elsewhere", "problem"),
    ),
    Watched("invitation", hidden=("code",)),
    Watched("alarm", hidden=("message",)),
    Watched("incident", hidden=("title", "key"), quiet=("tell_at",)),
    Watched("promise", hidden=("quote", "detail", "evidence"), quiet=()),
    Watched(
        "reply",
        shown=(
            "id",
            "ticket_id",
            "connection_id",
            "helpdesk_id",
            "author_id",
            "origin",
            "leg",
            "visibility",
            "interaction_id",
            "digest",
            "state",
            "code",
            "reason",
            "approved_digest",
            "approved_by",
            "approved_at",
            "hold_until",
            "on_timeout",
            "group_id",
            "amends",
            "retract_by",
            "redrive_at",
            "not_after",
            "external_id",
            "sent_at",
            "written_at",
            "written_on",
            "created_at",
        ),
        quiet=("updated_at", "bands", "epoch", "tries", "due_at", "key", "deadline_at", "started_at"),
    ),
    Watched(
        "reply_group",
        shown=("id", "state", "opened_at", "decided_at", "decided_by", "reason"),
        quiet=("last_at", "next_at"),
    ),
    Watched(
        "ticket",
        shown=(
            "id",
            "brand_id",
            "connection_id",
            "helpdesk_id",
            "account_id",
            "customer_id",
            "status",
            "priority",
            "external_id",
            "followup_of",
            "linked_to",
            "merged_into",
            "moved_to",
            "ended",
            "opened_at",
        ),
        quiet=("updated_at", "helpdesk_updated_at", "last_inbound_at", "problem"),
    ),
)

UNWATCHED = {
    "channel_health": "what probes found",
    "account": "what a source told",
    "attachment": "what a source told",
    "attempt": "a log of its own",
    "audit_entry": "the log itself",
    "audit_pending": "the log itself",
    "budget": "counted",
    "budget_cost": "counted",
    "clock": "follows from policies and messages",
    "clock_event": "follows from clocks",
    "cursor": "how far polling has come",
    "customer": "what a source told",
    "data_key": "made at the first start and by a rotation, which is noted",
    "decision": "a log of its own",
    "delivery": "received; replays are noted by their route",
    "erased": "follows from erasures",
    "enrichment": "what an enricher said",
    "event": "tells of what happened",
    "event_attempt": "a log of its own",
    "event_delivery": "follows from events; replays and tests are noted by their route",
    "fact": "what the installation knows of itself",
    "foreign_ticket": "what a helpdesk told",
    "fulfilment": "follows from answers",
    "idempotent_answer": "answers to requests",
    "incident_member": "follows from messages",
    "interaction": "what a source told",
    "interaction_alias": "what a source told",
    "lease": "who works",
    "leg": "follows from tickets",
    "listener": "how a stream fares",
    "note": "what a helpdesk told",
    "policy_set": "follows from activations",
    "push": "follows from tickets and replies; redrives are noted by their route",
    "refusal": "counted",
    "revision": "what a source told",
    "thread": "what a source told",
    "tombstone": "what a source told",
    "tone_breaker": "follows from decisions",
    "wanted": "what is to be fetched",
}
"""Every other table, and why a change to it is nobody's administrative act."""

TRIGGER = "audit_capture"

# tgargs: each argument followed by a zero byte
THERE = f"""
SELECT c.relname, t.tgargs FROM pg_class c LEFT JOIN pg_trigger t ON t.tgrelid = c.oid AND t.tgname = '{TRIGGER}'
WHERE c.relnamespace = current_schema()::regnamespace AND c.relkind IN ('r', 'p') AND c.relname = ANY(:tables)
"""


def watch(connection: Connection, watched: Iterable[Watched] = WATCHED) -> list[str]:
    """Called after every migration: give each watched table its trigger, where it is not there or another one.

    Creating one waits for writers of its table and holds new ones off for that moment, but no readers. Returns the
    tables that got one.
    """
    if connection.scalar(text("SELECT to_regproc('audit_capture')")) is None:
        return []  # the schema is at an older revision
    by_name = {one.table: one for one in watched}
    there = connection.execute(text(THERE), {"tables": list(by_name)}).all()
    changed = []
    for table, arguments in sorted(there):
        wanted = by_name[table].arguments
        if arguments is not None and bytes(arguments) == b"".join(one.encode() + b"\0" for one in wanted):
            continue
        quoted = ", ".join(f"'{one}'" for one in wanted)
        connection.execute(
            text(
                f"""CREATE OR REPLACE TRIGGER {TRIGGER} AFTER INSERT OR UPDATE OR DELETE ON {table} FOR EACH ROW
                    WHEN (current_setting('gateway.audit', true) <> '') EXECUTE FUNCTION {TRIGGER}({quoted})"""
            )
        )
        connection.commit()
        changed.append(table)
    return changed
