"""The SQL of traces: from the log of attempts back to the message, its delivery, and what was decided."""

from __future__ import annotations

_CALL = "a.id, a.kind, a.thing_id, a.also, a.outcome, a.code, a.milliseconds, a.at, c.plugin"

TRIED = f"""
SELECT {_CALL} FROM (
    SELECT * FROM attempt WHERE id > :cursor AND at <= :until ORDER BY id LIMIT :most
) a JOIN connection c ON c.id = a.connection_id ORDER BY a.id
"""
"""Attempts are written in the order of their ids but for transactions that overlap: `until` waits for those."""

NEWEST = "SELECT COALESCE(max(id), 0) AS id FROM attempt WHERE at < :until"

TOLD = """
SELECT p.id, p.kind, p.state, p.change_key, p.ticket_id, p.interaction_id, p.tries, p.code, p.created_at,
       COALESCE(p.done_at, :now) AS done_at, h.plugin AS helpdesk, c.plugin AS source, v.change, v.seen_at,
       d.received_at, d.processed_at, d.origin
FROM push p
JOIN connection h ON h.id = p.helpdesk_id
JOIN interaction i ON i.id = p.interaction_id
JOIN connection c ON c.id = i.connection_id
LEFT JOIN LATERAL (
    SELECT r.change, r.seen_at, r.delivery_id FROM revision r
    WHERE r.interaction_id = i.id AND r.seen_at <= p.created_at ORDER BY r.id DESC LIMIT 1
) v ON true
LEFT JOIN LATERAL (
    SELECT received_at, processed_at, origin FROM delivery WHERE id = v.delivery_id LIMIT 1
) d ON true
WHERE p.ticket_id = ANY(:tickets) AND p.change_key = ANY(:keys) AND p.state IN ('done', 'failed')
ORDER BY p.id
"""

ANSWERED = """
SELECT r.id, r.state, r.code, r.ticket_id, r.interaction_id, r.created_at, r.approved_at,
       COALESCE(r.sent_at, r.updated_at) AS ended_at, c.plugin AS source
FROM reply r JOIN connection c ON c.id = r.connection_id
WHERE r.id = ANY(:ids) AND r.interaction_id IS NOT NULL AND r.state IN ('sent', 'failed', 'retracted')
ORDER BY r.id
"""

DECIDED = """
SELECT thing_id, verdict, at FROM decision WHERE thing_id = ANY(:ids) AND point = 'review_reply' ORDER BY id
"""

CALLS = f"""
SELECT {_CALL}
FROM attempt a JOIN connection c ON c.id = a.connection_id WHERE a.thing_id = ANY(:things) ORDER BY a.id
"""
