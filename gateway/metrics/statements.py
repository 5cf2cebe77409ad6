"""The SQL of the metrics. What each statement reads is bounded, however large the tables are.

What stands open is read through the partial index of open rows, and no further than `:cap` of them; what happened
lately is looked for among the newest `:sample` rows of a table, which its primary key leads to from the end. They run
with sequential scans switched off, so that stale statistics cannot make a count of five rows read a million.
"""

from __future__ import annotations

CONNECTIONS = """
SELECT id, role, plugin, name, app_id, status, paused_in, paused_out, failures,
       COALESCE(blocked_until > :now, false) AS blocked, last_ok_at
FROM connection
"""

# One row for each connection.
CHANNELS = "SELECT connection_id, state, proven_at, missed, expires_at, quiet FROM channel_health"

APPS = "SELECT id, plugin, name FROM app"

# Plan: `delivery_pending` and `delivery_failed` of each partition, up to the cap.
OPEN_DELIVERIES = """
SELECT state, connection_id, app_id, count(*) AS count FROM (
    (SELECT state, connection_id, app_id FROM delivery WHERE state = 'pending' ORDER BY shard, id LIMIT :cap)
    UNION ALL
    (SELECT state, connection_id, app_id FROM delivery WHERE state = 'failed' ORDER BY connection_id, id LIMIT :cap)
) AS open GROUP BY state, connection_id, app_id
"""

# Plan: from the first entry of `delivery_pending` for one shard to that for the next. A shard asked for by its number
# could be looked for along the primary key, through all that has been read already.
OLDEST_DELIVERY = """
WITH RECURSIVE first AS (
    (SELECT shard, received_at FROM delivery WHERE state = 'pending' ORDER BY shard, id LIMIT 1)
    UNION ALL
    SELECT next.shard, next.received_at FROM first CROSS JOIN LATERAL (
        SELECT d.shard, d.received_at FROM delivery d WHERE d.state = 'pending' AND d.shard > first.shard
        ORDER BY d.shard, d.id LIMIT 1
    ) AS next
)
SELECT min(received_at) AS at FROM first
"""

# Plan: `wanted_due`, `push_open`, `reply_open`, `reply_held`, `reply_blocked`, `reply_failed` and `push_failed`, each
# up to the cap.
BACKLOG = """
SELECT connection_id, kind, count(*) AS count, min(since) AS oldest FROM (
    (SELECT connection_id, 'fetch' AS kind, created_at AS since FROM wanted WHERE state = 'pending'
     ORDER BY connection_id, due_at LIMIT :cap)
    UNION ALL
    (SELECT helpdesk_id, 'push', created_at FROM push WHERE state IN ('pending', 'in_flight', 'job')
     ORDER BY helpdesk_id, lane, id LIMIT :cap)
    UNION ALL
    (SELECT connection_id, CASE WHEN state = 'unknown' THEN 'reply_unknown' ELSE 'reply' END, updated_at FROM reply
     WHERE state IN ('received', 'queued', 'sending', 'unknown', 'retracting')
     ORDER BY connection_id, due_at LIMIT :cap)
    UNION ALL
    (SELECT connection_id, 'reply_held', updated_at FROM reply WHERE state = 'held'
     ORDER BY connection_id, id LIMIT :cap)
    UNION ALL
    (SELECT connection_id, 'reply_blocked', updated_at FROM reply WHERE state = 'blocked'
     ORDER BY connection_id LIMIT :cap)
    UNION ALL
    (SELECT connection_id, 'reply_failed', updated_at FROM reply WHERE state = 'failed' ORDER BY id LIMIT :cap)
    UNION ALL
    (SELECT helpdesk_id, 'push_failed', created_at FROM push WHERE state = 'failed' ORDER BY id LIMIT :cap)
) AS open GROUP BY connection_id, kind
"""

# A few dozen rows.
SUBSCRIPTIONS = "SELECT name, state, failing_since FROM subscription"

# Plan: `event_delivery_turn` up to the cap; for what failed the end of the primary key, since nothing leads to it and
# it may lie there for weeks. What is told anew waits since its turn.
EVENT_DELIVERIES = """
SELECT state, count(*) AS count, min(since) AS oldest FROM (
    SELECT CASE WHEN s.state = 'active' THEN 'pending' ELSE 'stopped' END AS state, p.since FROM (
        SELECT subscription_id, CASE WHEN replays = 0 THEN created_at ELSE due_at END AS since FROM event_delivery
        WHERE state = 'pending' ORDER BY subscription_id, due_at LIMIT :cap
    ) AS p JOIN subscription s ON s.id = p.subscription_id
    UNION ALL
    SELECT state, done_at FROM (
        SELECT state, done_at FROM event_delivery ORDER BY id DESC LIMIT :sample
    ) AS newest WHERE state = 'failed'
) AS told GROUP BY state
"""

# Plan: `clock_next` up to the cap, its first entry, and `clock_open_breached`.
CLOCKS = """
SELECT (SELECT count(*) FROM (SELECT 1 FROM clock WHERE state = 'running' ORDER BY next_at LIMIT :cap) AS r) AS running,
       (SELECT min(next_at) FROM clock WHERE state = 'running') AS next_at
"""
BREACHED = """
SELECT kind, count(*) AS count FROM (
    SELECT kind FROM clock WHERE state IN ('running', 'paused') AND breached_at IS NOT NULL ORDER BY kind LIMIT :cap
) AS breached GROUP BY kind
"""

# Plan: the end of each table's primary key.
RECENT_DELIVERIES = """
SELECT connection_id, app_id, state, count(*) AS count FROM (
    SELECT connection_id, app_id, state, received_at FROM delivery ORDER BY id DESC LIMIT :sample
) AS newest WHERE received_at >= :since GROUP BY connection_id, app_id, state
"""
RECENT_ATTEMPTS = """
SELECT connection_id, kind, outcome, count(*) AS count FROM (
    SELECT connection_id, kind, outcome, at FROM attempt ORDER BY id DESC LIMIT :sample
) AS newest WHERE at >= :since GROUP BY connection_id, kind, outcome
"""
RECENT_DECISIONS = """
SELECT point, verdict, count(*) AS count FROM (
    SELECT point, verdict, at FROM decision ORDER BY id DESC LIMIT :sample
) AS newest WHERE at >= :since GROUP BY point, verdict
"""

_QUANTILES = "percentile_cont(CAST(:quantiles AS float8[])) WITHIN GROUP (ORDER BY seconds)"
LATENCIES = f"""
SELECT station, count(*) AS count, {_QUANTILES} AS quantiles FROM (
    SELECT 'inbox' AS station, extract(epoch FROM processed_at - received_at)::float8 AS seconds FROM (
        SELECT received_at, processed_at, state FROM delivery ORDER BY id DESC LIMIT :sample
    ) AS d WHERE processed_at >= :since AND state IN ('processed', 'ignored')
    UNION ALL
    SELECT 'push', extract(epoch FROM done_at - created_at)::float8 FROM (
        SELECT created_at, done_at, state, kind FROM push ORDER BY id DESC LIMIT :sample
    ) AS p WHERE done_at >= :since AND state = 'done' AND kind <> 'update'
    UNION ALL
    SELECT 'send', extract(epoch FROM sent_at - GREATEST(created_at, approved_at))::float8 FROM (
        SELECT created_at, approved_at, sent_at, state FROM reply ORDER BY id DESC LIMIT :sample
    ) AS r WHERE sent_at >= :since AND state = 'sent'
) AS passed WHERE seconds IS NOT NULL GROUP BY station
"""
CALLS = f"""
SELECT kind, count(*) AS count, {_QUANTILES} AS quantiles FROM (
    SELECT kind, milliseconds / 1000.0::float8 AS seconds, at FROM attempt ORDER BY id DESC LIMIT :sample
) AS newest WHERE at >= :since GROUP BY kind
"""

# One row for each door, day and code: small, and read by the day.
REFUSALS = "SELECT endpoint_id, code, count FROM refusal WHERE day = :day"

COSTS = "SELECT key, usd, calls FROM budget_cost WHERE day = :day"

# Plan: the primary key's beginning for each owner. Scopes (a ticket, a user) are folded: they are many, and personal.
BUDGETS = """
SELECT key, bucket, per_ms, max(used) AS used, min(remaining) AS remaining, max(blocked_until) AS blocked_until FROM (
    SELECT b.key, b.bucket, b.per_ms,
           (SELECT COALESCE(sum(u.n), 0) FROM unnest(b.slots, b.counts) AS u (slot, n)
            WHERE b.per_ms > 0 AND u.slot >= :now_ms * :grain / NULLIF(b.per_ms, 0) - :grain) AS used,
           CASE WHEN b.remaining_until > :now THEN b.remaining END AS remaining,
           CASE WHEN b.blocked_until > :now THEN b.blocked_until END AS blocked_until
    FROM (SELECT * FROM budget WHERE key = ANY(:keys) LIMIT :cap) AS b
) AS counted GROUP BY key, bucket, per_ms
"""

PROCESSES = """
SELECT (SELECT count(*) FROM procrastinate_workers
        WHERE last_heartbeat > now() - make_interval(secs => :seen)) AS workers,
       (SELECT count(*) FROM lease WHERE until > now()) AS leases,
       (SELECT count(*) FROM outbound_pause WHERE lifted_at IS NULL) AS stops
"""
