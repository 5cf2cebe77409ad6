"""The SQL of the budget ledger. Every statement stands alone, in autocommit: one round trip each.

A window of `per_ms` is counted in sub-windows of `per_ms / GRAIN`. A request counts for as long as its sub-window
touches the window, so the oldest sub-window counts in full: that is what makes "never more than the limit" hold, and
it costs 1 / (GRAIN + 1) of the rate.

`synchronous_commit` is off for these: a crash of the database's machine may forget the last moments of counting, and
that is cheaper than waiting for the disk before each request.
"""

from __future__ import annotations

from sqlalchemy import text

GRAIN = 100

# Plan: primary key look-ups only, some 2 to 8 rows, locked in key order (so that two requests never wait for each
# other crosswise). Locked rows are read in their newest version. A row made by another request since this statement
# began is not seen; its version then differs, it is left alone, and the caller notices that it is not `kept`.
RESERVE = text(
    f"""
    WITH want AS (
        SELECT * FROM unnest(CAST(:buckets AS text[]), CAST(:scopes AS text[]), CAST(:windows AS bigint[]),
                             CAST(:caps AS bigint[]), CAST(:slots_now AS bigint[]), CAST(:slots_open AS bigint[]))
                      AS w(bucket, scope, per_ms, cap, now_slot, open_slot)
    ), held AS (
        SELECT b.bucket, b.scope, b.per_ms, b.slots, b.counts,
               b.blocked_until, b.remaining, b.remaining_until, b.version
        FROM budget b JOIN want w ON b.bucket = w.bucket AND b.scope = w.scope AND b.per_ms = w.per_ms
        WHERE b.key = :key
        ORDER BY b.bucket, b.scope, b.per_ms
        FOR UPDATE OF b
    ), counted AS (
        SELECT w.*, h.version, h.blocked_until, h.remaining, h.remaining_until, live.slots, live.counts, live.used
        FROM want w
        LEFT JOIN held h USING (bucket, scope, per_ms)
        CROSS JOIN LATERAL (
            SELECT coalesce(array_agg(e.slot ORDER BY e.slot), '{{}}') AS slots,
                   coalesce(array_agg(e.n ORDER BY e.slot), '{{}}') AS counts,
                   coalesce(sum(e.n), 0) AS used
            FROM unnest(h.slots, h.counts) AS e(slot, n)
            WHERE e.slot >= w.now_slot - {GRAIN}
        ) live
    ), judged AS (
        SELECT c.*,
            CASE WHEN blocked_until > :now THEN extract(epoch FROM blocked_until - :now) * 1000 END AS blocked_ms,
            CASE WHEN per_ms = 0 AND remaining_until > :now AND remaining <= cap
                 THEN extract(epoch FROM remaining_until - :now) * 1000 END AS told_ms,
            -- when the sub-windows that must go will have gone, if what is under way is answered now
            CASE WHEN per_ms > 0 AND used >= cap THEN (
                SELECT (min(e.slot) + {GRAIN} + 1) * c.per_ms / {GRAIN} + 1 - :now_ms
                FROM (SELECT least(u.slot, c.now_slot) AS slot, sum(u.n) OVER (ORDER BY u.slot) AS gone
                      FROM unnest(c.slots, c.counts) AS u(slot, n)) e
                WHERE e.gone > c.used - c.cap
            ) END AS full_ms
        FROM counted c
    ), purse AS (
        SELECT usd FROM budget_cost
        WHERE key = :key AND day = :day AND CAST(:cost AS numeric) IS NOT NULL
        FOR UPDATE
    ), verdict AS (
        SELECT bool_and(blocked_ms IS NULL AND told_ms IS NULL AND full_ms IS NULL) AS room,
               coalesce(coalesce((SELECT usd FROM purse), 0) + CAST(:cost AS numeric) <= CAST(:cost_limit AS numeric),
                        true) AS affordable
        FROM judged
    ), kept AS (
        INSERT INTO budget AS b (key, bucket, scope, per_ms, slots, counts, remaining, version, expires_at)
        SELECT :key, j.bucket, j.scope, j.per_ms, new.slots, new.counts, j.remaining - 1, coalesce(j.version, 0) + 1,
               CAST(:now AS timestamptz) + make_interval(secs => j.per_ms / 1000.0 + :linger)
        FROM judged j
        CROSS JOIN LATERAL (
            SELECT coalesce(array_agg(m.slot ORDER BY m.slot), '{{}}') AS slots,
                   coalesce(array_agg(m.n ORDER BY m.slot), '{{}}') AS counts
            FROM (SELECT e.slot, sum(e.n) AS n
                  FROM (SELECT * FROM unnest(j.slots, j.counts) AS u(slot, n)
                        UNION ALL SELECT j.open_slot, 1 WHERE j.per_ms > 0) e
                  GROUP BY e.slot) m
        ) new
        WHERE (SELECT room AND affordable FROM verdict) AND (j.per_ms > 0 OR j.remaining_until > :now)
        ORDER BY j.bucket, j.scope, j.per_ms
        ON CONFLICT (key, bucket, scope, per_ms) DO UPDATE
            SET slots = excluded.slots, counts = excluded.counts, remaining = excluded.remaining,
                version = excluded.version, expires_at = greatest(b.expires_at, excluded.expires_at)
            WHERE b.version = excluded.version - 1
        RETURNING b.bucket, b.scope, b.per_ms
    ), paid AS (
        INSERT INTO budget_cost AS c (key, day, usd, calls)
        SELECT :key, :day, CAST(:cost AS numeric), 1 FROM verdict
        WHERE room AND affordable AND CAST(:cost AS numeric) IS NOT NULL
        ON CONFLICT (key, day) DO UPDATE SET usd = c.usd + excluded.usd, calls = c.calls + 1
            WHERE coalesce(c.usd + excluded.usd <= CAST(:cost_limit AS numeric), true)
        RETURNING 1
    )
    SELECT j.bucket, j.scope, j.per_ms, j.blocked_ms, j.told_ms, j.full_ms, k.bucket IS NOT NULL AS kept,
           v.room, v.affordable, (SELECT count(*) FROM paid) AS paid, set_config('synchronous_commit', 'off', true)
    FROM judged j CROSS JOIN verdict v LEFT JOIN kept k USING (bucket, scope, per_ms)
    """
)

# Plan: primary key look-ups, one per row touched, locked in key order as above.
MOVE = text(
    """
    WITH move AS (
        SELECT * FROM unnest(CAST(:keys AS text[]), CAST(:buckets AS text[]), CAST(:scopes AS text[]),
                             CAST(:windows AS bigint[]), CAST(:slots AS bigint[]), CAST(:counts AS integer[]))
                      AS m(key, bucket, scope, per_ms, slot, n)
    ), held AS (
        SELECT b.key, b.bucket, b.scope, b.per_ms, b.slots, b.counts
        FROM budget b JOIN (SELECT DISTINCT key, bucket, scope, per_ms FROM move) m USING (key, bucket, scope, per_ms)
        ORDER BY b.key, b.bucket, b.scope, b.per_ms
        FOR UPDATE OF b
    ), fresh AS (
        SELECT h.key, h.bucket, h.scope, h.per_ms, new.slots, new.counts,
               set_config('synchronous_commit', 'off', true)
        FROM held h
        CROSS JOIN LATERAL (
            SELECT coalesce(array_agg(s.slot ORDER BY s.slot), '{}') AS slots,
                   coalesce(array_agg(s.n ORDER BY s.slot), '{}') AS counts
            FROM (SELECT e.slot, sum(e.n) AS n
                  FROM (SELECT * FROM unnest(h.slots, h.counts) AS u(slot, n)
                        UNION ALL
                        SELECT m.slot, m.n FROM move m
                        WHERE m.key = h.key AND m.bucket = h.bucket AND m.scope = h.scope AND m.per_ms = h.per_ms) e
                  GROUP BY e.slot
                  HAVING sum(e.n) > 0) s
        ) new
    )
    UPDATE budget b SET slots = f.slots, counts = f.counts, version = b.version + 1
    FROM fresh f
    WHERE b.key = f.key AND b.bucket = f.bucket AND b.scope = f.scope AND b.per_ms = f.per_ms
    """
)

# `remaining` only falls within one window of the provider: answers overtake each other. A reset more than two seconds
# away from the one we know is another window.
LEARN = text(
    """
    INSERT INTO budget AS b (key, bucket, scope, per_ms, slots, counts, blocked_until, remaining, remaining_until,
                             version, expires_at)
    SELECT t.key, t.bucket, t.scope, 0, '{}', '{}', t.blocked_until, t.remaining, t.remaining_until, 1,
           greatest(t.blocked_until, t.remaining_until) + make_interval(secs => :linger)
    FROM unnest(CAST(:keys AS text[]), CAST(:buckets AS text[]), CAST(:scopes AS text[]),
                CAST(:blocked AS timestamptz[]), CAST(:remaining AS integer[]), CAST(:until AS timestamptz[]))
         AS t(key, bucket, scope, blocked_until, remaining, remaining_until)
    WHERE set_config('synchronous_commit', 'off', true) IS NOT NULL
    ORDER BY t.key, t.bucket, t.scope
    ON CONFLICT (key, bucket, scope, per_ms) DO UPDATE SET
        blocked_until = greatest(b.blocked_until, excluded.blocked_until),
        remaining = CASE
            WHEN excluded.remaining_until IS NULL THEN b.remaining
            WHEN b.remaining_until > :now
                 AND abs(extract(epoch FROM b.remaining_until - excluded.remaining_until)) <= 2
            THEN least(b.remaining, excluded.remaining)
            ELSE excluded.remaining END,
        remaining_until = coalesce(excluded.remaining_until, b.remaining_until),
        version = b.version + 1,
        expires_at = greatest(b.expires_at, excluded.expires_at)
    """
)

REFUND = text("UPDATE budget_cost SET usd = usd - :cost, calls = calls - :calls WHERE key = :key AND day = :day")

PURGE = text("DELETE FROM budget WHERE expires_at < :now")
