"""Where personal data is: of every table, which columns hold some, how a person's rows are found and how they end.

Erasure, export and the page in the documentation go by this list alone, and a test fails when a column that could hold
words is not in it.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

ITEMS = "(SELECT id FROM interaction WHERE account_id = ANY(:accounts))"
TICKETS = "(SELECT id FROM ticket WHERE account_id = ANY(:accounts))"
REPLIES = f"(SELECT id FROM reply WHERE ticket_id IN {TICKETS} OR interaction_id IN {ITEMS})"
ANSWERS = f"""(SELECT id FROM interaction WHERE direction = 'outbound' AND account_id <> ALL(:accounts)
    AND (ticket_id IN {TICKETS} OR reply_id IN {REPLIES}))"""
"""What the brand wrote to the person, as it stands at the source."""

FINDINGS = """(SELECT jsonb_agg(jsonb_strip_nulls(jsonb_build_object('policy', e -> 'policy', 'type', e -> 'type',
    'revision', e -> 'revision', 'mode', e -> 'mode', 'severity', e -> 'severity', 'code', e -> 'code',
    'was', e -> 'was', 'message', '')) || '{"evidence": []}') FROM jsonb_array_elements(%s) AS e)"""
EFFECTS = """(SELECT jsonb_agg(jsonb_strip_nulls(jsonb_build_object('policy', e -> 'policy', 'type', e -> 'type',
    'revision', e -> 'revision', 'kind', e -> 'kind', 'done', e -> 'done', 'why', e -> 'why')))
    FROM jsonb_array_elements(%s) AS e)"""
BARE = """jsonb_strip_nulls(jsonb_build_object('external_id', '{id}', 'revision', {revision}, 'text', '', 'author',
    jsonb_build_object('external_id', {author}), 'account', data -> 'account', 'kind', data -> 'kind',
    'subkind', data -> 'subkind', 'visibility', data -> 'visibility', 'direction', data -> 'direction',
    'language', data -> 'language', 'rating', data -> 'rating', 'recommendation', data -> 'recommendation',
    'subject', data -> 'subject', 'root_owner', data -> 'root_owner', 'addressed', data -> 'addressed',
    'published_at', data -> 'published_at', 'visible_at', data -> 'visible_at', 'edited_at', data -> 'edited_at'))"""
"""What reports count by, and nothing that leads to a person."""


def bare(id: str, revision: str, author: str) -> str:
    """SQL of an interaction's document without its words, its author and its files."""
    return BARE.replace("'{id}'", id).replace("{revision}", revision).replace("{author}", author)


@dataclass(frozen=True)
class Holding:
    """Rows of one table that hold a person's data."""

    what: str
    """For people: which data."""
    where: str
    """SQL: a person's rows. May use `:accounts` (ids of the person's accounts), `:customer`, `:ids` (what sources call
    the person and what they published), `:texts` (what it said) and `:until` (when the erasure was asked for)."""
    erase: Mapping[str, str] = field(default_factory=dict)
    """Column by column, the SQL value that takes the place of what was there. Empty: the rows are removed."""
    busy: str = "false"
    """SQL: rows that are in somebody's hands and wait for the next round."""

    @property
    def removes(self) -> bool:
        """Whether the rows go altogether."""
        return not self.erase


@dataclass(frozen=True)
class Entry:
    """One table."""

    holdings: tuple[Holding, ...] = ()
    clean: Mapping[str, str] = field(default_factory=dict)
    """Columns that could hold words and hold none of a customer's, each with the reason."""
    special: str = ""
    """How the rest is erased where no SQL expression does it."""


BY_HAND = "erased as `special` says"
CODES = "our own words: states, codes, keys"
COMPANY = "the company's own data, not a customer's"
STAFF = "people of the company: they are removed with `DELETE /v1/people/{id}`"
COUNTS = "numbers"
AT_HELPDESK = "ids of the helpdesk's own things, by which an admin finds what to delete there"


def each(why: str, *columns: str) -> dict[str, str]:
    """The same reason for several columns."""
    return dict.fromkeys(columns, why)


REGISTRY: Mapping[str, Entry] = {
    "tombstone": Entry(
        (Holding("ids of posts deleted at the source", "external_id = ANY(:ids)"),),
    ),
    "wanted": Entry(
        (Holding("ids of posts still to be fetched", "ref = ANY(:ids)"),),
    ),
    "interaction_alias": Entry(
        (Holding("other ids of posts", f"interaction_id IN {ITEMS}"),),
    ),
    "enrichment": Entry(
        (Holding("what enrichers know", "account_id = ANY(:accounts)"),),
    ),
    "reply": Entry(
        (
            Holding(
                "answers to the person: text, rendered form, findings",
                f"id IN {REPLIES}",
                {
                    "text": "''",
                    "html": "NULL",
                    "attachments": "'{}'",
                    "rendered": "NULL",
                    "digest": "NULL",
                    "decided_on": "NULL",
                    "findings": FINDINGS % "CASE jsonb_typeof(findings) WHEN 'array' THEN findings END",
                    "waived": "NULL",
                    "approved_digest": "NULL",
                    "bands": "'{}'",
                    "state": """CASE WHEN state IN ('sent', 'failed', 'cancelled', 'blocked', 'retracted') THEN state
                        ELSE 'cancelled' END""",
                    "code": """CASE WHEN state IN ('sent', 'failed', 'cancelled', 'blocked', 'retracted') THEN code
                        WHEN state = 'unknown' THEN 'erased_unknown' ELSE 'erased' END""",
                    "reason": """CASE WHEN state IN ('sent', 'failed', 'cancelled', 'blocked', 'retracted')
                        THEN CASE WHEN code IN ('erased', 'erased_unknown') THEN reason
                            WHEN code IS NOT NULL THEN '' END
                        WHEN state = 'unknown' THEN 'the person was erased; it may have been published'
                        ELSE 'the person it was for was erased' END""",
                    "redrive_at": "NULL",
                },
                busy="state IN ('sending', 'retracting')",
            ),
        ),
        {
            "author_id": STAFF,
            "author_name": STAFF,
            "author_email": STAFF,
            "editors": STAFF,
            "approved_by": STAFF,
            "retract_by": STAFF,
            "url": "where the brand's own answer stands, which an admin may want to take down",
            "external_id": "what the source calls the brand's own answer",
            "comment_id": AT_HELPDESK,
            **each(CODES, "comment_revision", "origin", "leg", "visibility", "on_timeout", "key", "doubt"),
        },
    ),
    "push": Entry(
        (
            Holding(
                "what helpdesks were or are to be told",
                f"ticket_id IN {TICKETS} OR interaction_id IN {ITEMS}",
                {
                    "payload": "'{}'",
                    "key": "'erased:' || id",
                    "change_key": "NULL",
                    "reason": """CASE WHEN key LIKE 'erased:%' THEN reason
                        WHEN state = 'pending' THEN 'the person was erased' END""",
                    "state": "CASE WHEN state IN ('done', 'dropped') THEN state ELSE 'dropped' END",
                    "redrive_at": "NULL",
                },
                busy="state IN ('in_flight', 'job')",
            ),
        ),
        {"external_id": AT_HELPDESK, **each(CODES, "kind", "job", "code", "doubt")},
    ),
    "decision": Entry(
        (
            Holding(
                "evidence quotes, and the case that was decided",
                f"""ticket_id IN {TICKETS} OR thing_id IN {ITEMS} OR thing_id IN {REPLIES} OR thing_id IN {ANSWERS}""",
                {
                    "findings": FINDINGS % "CASE jsonb_typeof(findings) WHEN 'array' THEN findings END",
                    "effects": EFFECTS % "CASE jsonb_typeof(effects) WHEN 'array' THEN effects END",
                    '"case"': "NULL",
                    "revision": "NULL",
                },
            ),
            Holding(
                "cases of others' messages that hold the person's among the latest ones",
                "(\"case\" #> '{window,texts}') ?| CAST(:texts AS text[])",
                {'"case"': "NULL"},
            ),
        ),
        {**each(CODES, "point", "verdict", "coverage")},
    ),
    "decision_feedback": Entry(
        (
            Holding(
                "remarks on decisions",
                f"decision_id IN (SELECT id FROM decision WHERE ticket_id IN {TICKETS} OR thing_id IN {ITEMS})",
                {"note": "''"},
            ),
        ),
        {"author": STAFF, **each(CODES, "policy")},
    ),
    "promise": Entry(
        (
            Holding(
                "quotes of what was promised",
                f"ticket_id IN {TICKETS}",
                {"quote": "''", "detail": "''", "evidence": "''"},
            ),
        ),
        {"settled_by": STAFF, **each(CODES, "key", "policy", "standing", "state")},
    ),
    "clock": Entry(
        (Holding("the words that made a promise", f"ticket_id IN {TICKETS}", {"label": "''"}),),
        {
            **each(
                CODES,
                "kind",
                "policy",
                "slot",
                "steps",
                "stops_on",
                "stretches",
                "asked",
                "state",
                "stopped_by",
                "reason",
                "remark",
            )
        },
    ),
    "alarm": Entry(
        (
            Holding(
                "quotes in alarms",
                f"ticket_id IN {TICKETS} OR interaction_id IN {ITEMS} OR reply_id IN {REPLIES}",
                {"message": "''"},
            ),
        ),
        {"owner": STAFF, "acknowledged_by": STAFF, **each(CODES, "key", "severity", "code", "policy")},
    ),
    "waiver": Entry(
        (Holding("why a policy was kept silent", f"ticket_id IN {TICKETS}", {"reason": "''"}),), {"author": STAFF}
    ),
    "invitation": Entry(
        (
            Holding(
                "invitations to go on in private, and which account used them",
                f"ticket_id IN {TICKETS} OR account_id = ANY(:accounts)",
            ),
        )
    ),
    "note": Entry(
        (Holding("what agents noted about the person", f"ticket_id IN {TICKETS}", {"text": "''"}),),
        {"author_id": STAFF, "author_name": STAFF, "comment_id": AT_HELPDESK},
    ),
    "reply_group": Entry(
        (
            Holding(
                "the sample of near-identical answers",
                f"id IN (SELECT group_id FROM reply WHERE id IN {REPLIES})",
                {"sample": "''", "reason": "NULL"},
            ),
        ),
        {"decided_by": STAFF, "words": "hashes of the company's texts", **each(CODES, "state")},
    ),
    "backtest": Entry(
        (
            Holding(
                "samples of decisions, whosever they are",
                "state NOT IN ('pending', 'running') AND result ? 'samples' AND created_at <= :until",
                {"result": "result - 'samples'"},
            ),
        ),
        {"members": COMPANY, "reason": COMPANY, "author": STAFF, **each(CODES, "state")},
    ),
    "audit_entry": Entry(
        (
            Holding(
                "what was changed on the person's tickets and answers, before and after",
                f"""things && ARRAY(SELECT 'ticket:' || id FROM ticket WHERE id IN {TICKETS}
                    UNION ALL SELECT 'reply:' || id FROM reply WHERE id IN {REPLIES})""",
                {"changes": "NULL", "salt": "NULL"},
            ),
        ),
        {
            **each(STAFF, "actor_id", "actor_name", "key_prefix", "address"),
            **each(CODES, "actor_kind", "trace_id", "action", "things"),
            **each("keyed hashes", "content_digest", "previous", "digest"),
        },
    ),
    "audit_pending": Entry(
        clean=each("empty but for transactions under way", "origin", "kind", "thing", "before", "after")
    ),
    "revision": Entry(
        (
            Holding(
                "every version of what the person published",
                f"interaction_id IN {ITEMS}",
                {
                    "data": "'{}'",
                    "revision": "CASE WHEN change = 'deleted' THEN revision ELSE 'erased:' || id END",
                    "waits_for": "NULL",
                    "state": "'done'",
                    "reason": "'the person was erased'",
                },
            ),
            Holding(
                "every version of what the brand wrote to the person",
                f"interaction_id IN {ANSWERS}",
                {
                    "data": "'{}'",
                    "waits_for": "NULL",
                    "state": "'done'",
                    "reason": "'the person it was for was erased'",
                },
            ),
        ),
        {**each(CODES, "scope", "change")},
    ),
    "interaction": Entry(
        (
            Holding(
                "what the person published: text, link, source's id",
                "account_id = ANY(:accounts)",
                {
                    "external_id": "'erased:' || id",
                    "text": "''",
                    "url": "NULL",
                    "in_reply_to": "NULL",
                    "revision": "'erased'",
                    "data": bare("'erased:' || id", "'erased'", "'erased:' || account_id"),
                },
            ),
            Holding(
                "what the brand wrote to the person",
                f"id IN {ANSWERS}",
                {
                    "text": "''",
                    "in_reply_to": "NULL",
                    "data": bare("external_id", "revision", "data -> 'author' ->> 'external_id'"),
                },
            ),
        ),
        {"deleted_by": CODES, **each(CODES, "scope", "kind", "visibility", "direction", "origin")},
    ),
    "thread": Entry(
        (
            Holding(
                "the source's id of a conversation in which nobody else takes part",
                """id IN (SELECT thread_id FROM interaction WHERE account_id = ANY(:accounts))
                   AND NOT EXISTS (SELECT 1 FROM interaction o WHERE o.thread_id = thread.id
                       AND o.direction = 'inbound' AND o.account_id <> ALL(:accounts))""",
                {"root": "'erased:' || id"},
            ),
        ),
        {**each(CODES, "scope", "root_owner")},
    ),
    "ticket": Entry(
        (
            Holding(
                "the ticket's subject",
                "account_id = ANY(:accounts)",
                {"subject": "''", "problem": "NULL", "mark": "NULL"},
            ),
        ),
        {
            "external_id": AT_HELPDESK,
            "external_url": AT_HELPDESK,
            "assignee": STAFF,
            "tags": "words of the company's policies",
            "fields": "values of the company's policies, by which reports count: cause, owner",
            **each(CODES, "status", "priority", "ended"),
        },
    ),
    "attachment": Entry(
        special="the file itself is deleted unless another message has the same; of the row its size and kind stay",
        clean={
            **each(BY_HAND, "ref", "data", "sha256", "name"),
            **each(CODES, "owner", "state", "media_type", "reason"),
        },
    ),
    "delivery": Entry(
        special="emptied when it brought something of the person's, or when its bytes hold an id, a name or a text of "
        "theirs; whoever else it told of is recorded already",
        clean={
            **each(BY_HAND, "query", "headers", "body", "note"),
            **each(CODES, "role", "origin", "stream", "method", "state", "reason"),
        },
    ),
    "policy_case": Entry(
        special="removed when it quotes the person: the receipt counts it, and the policy is to be given another",
        clean=each(BY_HAND, "name", "point", "case", "subject", "expect", "author"),
    ),
    "account": Entry(
        (
            Holding(
                "handle, name, links, the source's id",
                "id = ANY(:accounts)",
                {
                    "external_id": "'erased:' || id",
                    "handle": "NULL",
                    "name": "NULL",
                    "url": "NULL",
                    "avatar_url": "NULL",
                    "followers": "NULL",
                    "verified": "NULL",
                },
            ),
        ),
        {**each(CODES, "scope", "provider")},
    ),
    "customer": Entry((Holding("name", "id = :customer", {"name": "NULL"}),)),
    "idempotent_answer": Entry(
        clean={"body": "sealed, and removed after a day", **each(CODES, "key", "request", "headers")}
    ),
    "attempt": Entry(
        clean=each(
            "how calls ended, in codes; partitions go with the deliveries",
            "kind",
            "thing_id",
            "outcome",
            "code",
            "reason",
            "also",
        )
    ),
    "clock_event": Entry(clean=each(CODES, "kind", "data")),
    "fulfilment": Entry(clean=each(CODES, "by", "on", "kinds")),
    "leg": Entry(clean=each(CODES, "visibility")),
    "foreign_ticket": Entry(clean=each("times alone", "external_id", "channel")),
    "incident": Entry(
        clean=each(
            "what is going on, in the company's words", "key", "title", "policy", "tighten", "closed_by", "reason"
        )
    ),
    "incident_member": Entry(),
    "subscription": Entry(
        clean=each(
            COMPANY,
            *("name", "url", "description", "kinds", "brands", "connections", "allow_private", "secrets", "state"),
            *("reason", "last_error", "created_by"),
        )
    ),
    "event": Entry(
        clean={
            **each(CODES, "kind", "subject_kind"),
            "data": "ids, times and states; what people wrote is read when it is told, and not kept",
        }
    ),
    "event_delivery": Entry(clean=each(CODES, "state")),
    "event_attempt": Entry(
        (
            Holding(
                "what receivers answered to events of the person's matters",
                f"""delivery_id IN (SELECT d.id FROM event_delivery d JOIN event e ON e.id = d.event_id
                    WHERE e.data ->> 'ticket_id' IN (SELECT id::text FROM ticket WHERE id IN {TICKETS}))""",
                {"body": "NULL"},
            ),
        ),
        each(CODES, "outcome", "reason"),
    ),
    "erasure": Entry(
        clean={
            "needles": "sealed, and gone when the work is done",
            **each(CODES, "state", "counts", "elsewhere", "problem", "requested_by", "reason"),
        }
    ),
    "erased": Entry(clean=each("keyed hashes", "mark", "kind")),
    "person": Entry(clean=each(STAFF, "name")),
    "person_identity": Entry(clean=each(STAFF, "kind", "scope", "value")),
    "data_key": Entry(clean=each(COMPANY, "sealed")),
    "retired_secret": Entry(clean=each(COMPANY, "fields", "secrets")),
    "api_key": Entry(clean=each(COMPANY, "name", "prefix", "hash", "scopes")),
    "app": Entry(clean=each(COMPANY, "plugin", "name", "config", "secrets", "allow_private", "installed")),
    "authorisation": Entry(clean=each(COMPANY, "state", "tokens", "client", "scopes", "granted_by", "reason")),
    "authorisation_request": Entry(
        clean=each(COMPANY, "state_hash", "caller", "caller_subject", "redirect_uri", "verifier")
    ),
    "brand": Entry(clean=each(COMPANY, "name", "timezone")),
    "budget": Entry(
        (
            Holding(
                "rate budgets kept for one conversation", "scope = ANY(:ids) OR split_part(scope, ':', 2) = ANY(:ids)"
            ),
        )
    ),
    "budget_cost": Entry(clean=each(COUNTS, "key")),
    "calendar": Entry(clean=each(COMPANY, "name", "feed", "allow_private", "feed_problem")),
    "calendar_version": Entry(clean=each(COMPANY, "definition", "author")),
    "connection": Entry(
        special="what plugins remember of the person in their sealed document, by the source's id: who is whom at the "
        "helpdesk",
        clean=each(
            COMPANY,
            "role",
            "plugin",
            "name",
            "account",
            "config",
            "secrets",
            "allow_private",
            "installed",
            "history",
            "sla_owner",
            "status",
            "status_reason",
            "blocked_reason",
            "state",
        ),
    ),
    "channel_health": Entry(
        clean={
            "expectation": "how many messages come at which hour of the week",
            **each(
                "what probes found of the company's own account",
                *("state", "code", "concern", "weight", "message", "mend", "findings", "proven_by", "door"),
            ),
        }
    ),
    "cursor": Entry(clean=each("how far was polled", "stream", "cursor", "reason")),
    "fact": Entry(clean=each(COMPANY, "name", "value")),
    "lease": Entry(clean=each(CODES, "name", "owner")),
    "listener": Entry(clean=each(CODES, "reason")),
    "outbound_pause": Entry(clean=each(COMPANY, "scope", "scope_id", "reason", "paused_by", "lifted_by", "released")),
    "policy": Entry(clean=each(COMPANY, "name", "type", "draft")),
    "policy_activation": Entry(clean=each(COMPANY, "reason", "author")),
    "policy_revision": Entry(clean=each(COMPANY, "content", "reason", "author")),
    "policy_set": Entry(clean=each(COMPANY, "digest", "members", "versions")),
    "refusal": Entry(clean=each(COUNTS, "code")),
    "tone_breaker": Entry(),
    "word_list": Entry(
        clean=each(
            "the company's lists; the receipt names those with the person's handle",
            "name",
            "entries",
            "reason",
            "author",
        )
    ),
}
"""In the order in which an erasure goes through them: what finds rows comes after the rows it finds."""
