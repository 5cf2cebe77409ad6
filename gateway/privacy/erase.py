"""Forgets a customer: a durable job that is begun over REST, resumed after a crash, and ends with a receipt.

Its marks count from the moment it is asked for: nothing old comes in any more. The work goes through the registry
table by table, each in a transaction of its own, then through the stored bytes; and all of it once more a while later,
because what was in a worker's hands the first time is written by then.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

from sqlalchemy.ext.asyncio import AsyncConnection

from gateway.db.database import Database, Row, as_json, execute, fetch_all, fetch_one
from gateway.db.tables.columns import new_id
from gateway.engine.leases import Held
from gateway.events.announce import announce
from gateway.files.store import Files
from gateway.privacy.marks import EMPTIED, Marks, entomb
from gateway.privacy.registry import ITEMS, REGISTRY, REPLIES, TICKETS, Holding
from gateway.restored import stable_id
from gateway.security.vault import Vault

ROUNDS = 2
AGAIN = timedelta(seconds=60)
"""Until the second round: longer than anything stays in a worker's hands."""
BUSY = timedelta(seconds=5)
DELIVERIES = 500
"""How many deliveries are looked through at once."""
SHORTEST = 5
"""Characters of an id or a handle that stored bytes are searched for: shorter ones stand in everything."""
PROBE = 16
"""Characters of a text that stored bytes are searched for at the least: a run that JSON and HTML write as it is."""
LONGEST = 40
_PLAIN = re.compile(rf"[A-Za-z0-9 .,:;!?()_-]{{{PROBE},}}")
Params = dict[str, Any]


@dataclass(frozen=True)
class Tools:
    """What an erasure works with, in a worker or in a restore."""

    database: Database
    vault: Vault
    files: Files


class UnknownCustomer(Exception):
    """There is no such customer, or nothing of theirs is left."""


async def request_erasure(
    connection: AsyncConnection,
    vault: Vault,
    customer_id: UUID,
    *,
    until: datetime,
    by: str,
    reason: str,
    now: datetime,
) -> UUID:
    """Begin to forget a customer, in the caller's transaction: one that is under way is not begun again.

    Raises UnknownCustomer. Wake `erase:<id>` after the commit.
    """
    customer = await fetch_one(connection, "SELECT id FROM customer WHERE id = :id FOR UPDATE", id=customer_id)
    open = await fetch_one(
        connection, "SELECT id FROM erasure WHERE customer_id = :id ORDER BY requested_at DESC LIMIT 1", id=customer_id
    )
    if open is not None:
        found: UUID = open["id"]
        return found
    accounts = await fetch_all(
        connection,
        "SELECT id, scope, external_id, provider, handle, name FROM account WHERE customer_id = :id ORDER BY id",
        id=customer_id,
    )
    if customer is None or not accounts:
        raise UnknownCustomer
    ids = [row["id"] for row in accounts]
    items = await fetch_all(
        connection,
        """SELECT scope, external_id, text FROM interaction WHERE account_id = ANY(:accounts)
           UNION ALL SELECT a.scope, a.alias, NULL FROM interaction_alias a WHERE a.interaction_id IN """
        + ITEMS,
        accounts=ids,
    )
    marks = Marks(vault)
    id = new_id()
    named = [(marks.account(row["scope"], row["external_id"]), "account") for row in accounts]
    named += [(marks.item(row["scope"], row["external_id"]), "item") for row in items]
    await entomb(connection, named, id, until)
    versions = await fetch_all(
        connection,
        f"""SELECT DISTINCT data ->> 'text' AS text FROM revision
            WHERE interaction_id IN {ITEMS} AND data ->> 'text' <> ''""",
        accounts=ids,
    )
    tickets = await fetch_all(connection, f"SELECT id, mark FROM ticket WHERE id IN {TICKETS}", accounts=ids)
    needles = {
        "names": sorted(
            {str(stable_id(row["scope"], row["external_id"])) for row in items}
            | {row["mark"] or f"gateway:{row['id']}" for row in tickets}
        ),
        "ids": sorted({row["external_id"] for row in (*accounts, *items)}),
        "handles": sorted({row["handle"] for row in accounts if row["handle"]}),
        "texts": sorted({row["text"] for row in (*items, *versions) if row["text"]}),
        "probes": sorted({probe for row in (*items, *versions) if row["text"] for probe in _probes(row["text"])}),
    }
    await execute(
        connection,
        """INSERT INTO erasure (id, customer_id, state, step, position, rounds, until, due_at, needles, counts,
               elsewhere, requested_by, reason, requested_at)
           VALUES (:id, :customer, 'pending', 0, 0, 0, :until, :now, :needles, '{}',
               CAST(:elsewhere AS jsonb), :by, :reason, :now)""",
        id=id,
        customer=customer_id,
        until=until,
        needles=vault.seal(needles, f"erasure:{id}"),
        elsewhere=as_json(await _elsewhere(connection, ids, needles["handles"])),
        by=by,
        reason=reason,
        now=now,
    )
    return id


def _probes(text: str) -> list[str]:
    """Parts of a text by which its bytes are found: the same in JSON, HTML and a form, if it has such a part."""
    return [match[0].strip()[:LONGEST] for match in _PLAIN.finditer(text)][:2]


async def _elsewhere(connection: AsyncConnection, accounts: Sequence[UUID], handles: Sequence[str]) -> Params:
    """What is not ours to delete: where an admin finds it."""
    tickets = await fetch_all(
        connection,
        """SELECT c.name AS helpdesk, t.external_id AS ticket, t.external_url AS url
           FROM ticket t JOIN connection c ON c.id = t.helpdesk_id
           WHERE t.account_id = ANY(:accounts) AND t.external_id IS NOT NULL ORDER BY t.id""",
        accounts=accounts,
    )
    answers = await fetch_all(
        connection,
        f"""SELECT c.name AS source, r.external_id AS post, r.url
            FROM reply r JOIN connection c ON c.id = r.connection_id
            WHERE r.id IN {REPLIES} AND r.state = 'sent' AND r.external_id IS NOT NULL ORDER BY r.id""",
        accounts=accounts,
    )
    lists = await fetch_all(
        connection,
        """SELECT DISTINCT name FROM word_list
           WHERE EXISTS (SELECT 1 FROM unnest(entries) AS e (word) WHERE ltrim(lower(e.word), '@') = ANY(:handles))
           ORDER BY name""",
        handles=[handle.lower() for handle in handles],
    )
    return {
        "tickets": [dict(row) for row in tickets],
        "answers": [dict(row) for row in answers],
        "lists": [row["name"] for row in lists],
    }


async def erase_due(tools: Tools, id: UUID, now: datetime, held: Held | None = None, *, once: bool = False) -> bool:
    """Work on an erasure for one step. Returns whether there is more to do at once.

    With `once` a single round is enough, because nobody else works: in a restore.
    """
    async with tools.database.write() as connection:
        if held is not None:
            await held.check(connection)
        job = await fetch_one(connection, "SELECT * FROM erasure WHERE id = :id FOR UPDATE", id=id)
        if job is None or job["state"] == "done" or (job["due_at"] > now and not once):
            return False
        needles = _needles(tools.vault, job)
        params = await _params(connection, job, needles)
        name = STEPS[job["step"]] if job["step"] < len(STEPS) else None
        counts: Counter[str] = Counter(job["counts"])
        position: int = job["position"]
        busy = 0
        if name == "attachment":
            touched, gone = await _attachments(connection, params)
            counts[name] += touched
        elif name == "delivery":
            touched, position = await _deliveries(connection, params, needles, position, job["requested_at"])
            counts[name] += touched
        elif name == "connection":
            counts[name] += await _memories(connection, tools.vault, needles)
        elif name == "policy_case":
            counts[name] += await _cases(connection, needles)
        elif name is not None:
            for holding in REGISTRY[name].holdings:
                touched, waiting = await _holding(connection, name, holding, params)
                counts[name] += touched
                busy += waiting
        counts = +counts
        step = job["step"] if name == "delivery" and position else job["step"] + 1
        busy += int(job["counts"].get("_busy", 0))
        counts["_busy"] = busy
        if name is not None:
            await _keep(connection, id, step, position, counts, now)
        else:
            await _round(connection, job, counts, now, once=once)
    if name == "attachment":
        for sha256 in gone:
            await tools.files.delete(sha256)
    return name is not None


async def _keep(
    connection: AsyncConnection, id: UUID, step: int, position: int, counts: Mapping[str, int], now: datetime
) -> None:
    await execute(
        connection,
        """UPDATE erasure SET state = 'running', step = :step, position = :position, counts = CAST(:counts AS jsonb),
               due_at = :now WHERE id = :id""",
        id=id,
        step=step,
        position=position,
        counts=as_json(counts),
        now=now,
    )


async def _round(connection: AsyncConnection, job: Row, counts: Counter[str], now: datetime, *, once: bool) -> None:
    """Everything was gone through: once more later, or that was it."""
    busy = counts.pop("_busy", 0)
    waits = busy > 0 and not once
    rounds = job["rounds"] + (0 if waits else 1)
    done = once or rounds >= ROUNDS
    await execute(
        connection,
        """UPDATE erasure SET state = CASE WHEN :done THEN 'done' ELSE 'running' END, step = 0, position = 0,
               rounds = :rounds, counts = CAST(:counts AS jsonb), due_at = :due,
               needles = CASE WHEN :done THEN NULL ELSE needles END,
               problem = CASE WHEN :waits THEN 'something of the person''s is on its way out; it is waited for' END,
               finished_at = CASE WHEN :done THEN CAST(:now AS timestamptz) END WHERE id = :id""",
        id=job["id"],
        done=done,
        rounds=rounds,
        waits=waits,
        counts=as_json(counts),
        due=now + (BUSY if waits else AGAIN),
        now=now,
    )
    if done:
        await announce(connection, "erasure.completed", "erasure", job["id"], {}, now)


STEPS = tuple(name for name, entry in REGISTRY.items() if entry.holdings or entry.special)


def _needles(vault: Vault, job: Row) -> dict[str, list[str]]:
    return vault.unseal(job["needles"], f"erasure:{job['id']}")


async def _params(connection: AsyncConnection, job: Row, needles: Mapping[str, list[str]]) -> Params:
    rows = await fetch_all(
        connection, "SELECT id FROM account WHERE customer_id = :id ORDER BY id", id=job["customer_id"]
    )
    return {
        "accounts": [row["id"] for row in rows],
        "customer": job["customer_id"],
        "ids": needles.get("ids", []),
        "texts": needles.get("texts", []),
        "until": job["requested_at"],
    }


def used(statement: str, params: Params) -> Params:
    """The parameters that a statement names."""
    return {name: value for name, value in params.items() if f":{name}" in statement}


async def _holding(connection: AsyncConnection, table: str, holding: Holding, params: Params) -> tuple[int, int]:
    """Empty or remove one table's rows of a person. Returns how many, and how many have to wait."""
    if holding.removes:
        statement = f"DELETE FROM {table} WHERE {holding.where}"
        return await execute(connection, statement, **used(statement, params)), 0
    waiting = 0
    if holding.busy != "false":
        counted = f"SELECT count(*) AS n FROM {table} WHERE ({holding.where}) AND ({holding.busy})"
        row = await fetch_one(connection, counted, **used(counted, params))
        waiting = row["n"] if row else 0
    values = ", ".join(f"{column} = {value}" for column, value in holding.erase.items())
    changed = " OR ".join(
        f"{column} IS NOT NULL" if value == "NULL" else f"{column} IS DISTINCT FROM ({value})"
        for column, value in holding.erase.items()
    )
    statement = f"UPDATE {table} SET {values} WHERE ({holding.where}) AND NOT ({holding.busy}) AND ({changed})"
    return await execute(connection, statement, **used(statement, params)), waiting


async def _attachments(connection: AsyncConnection, params: Params) -> tuple[int, list[str]]:
    """Forget the person's files. Returns how many rows, and the copies that nobody else's message has."""
    where = f"(owner_id IN {ITEMS} OR owner_id IN {REPLIES})"
    rows = await fetch_all(
        connection,
        f"""UPDATE attachment a SET data = '{{}}', name = NULL, sha256 = NULL, ref = 'erased:' || a.id,
                state = 'refused', reason = 'the person was erased'
            FROM (SELECT id, sha256 FROM attachment WHERE {where} AND ref NOT LIKE 'erased:%' FOR UPDATE) AS before
            WHERE a.id = before.id RETURNING before.sha256""",
        accounts=params["accounts"],
    )
    copies = sorted({row["sha256"] for row in rows if row["sha256"]})
    kept = await fetch_all(
        connection, "SELECT DISTINCT sha256 FROM attachment WHERE sha256 = ANY(:copies)", copies=copies
    )
    return len(rows), [one for one in copies if one not in {row["sha256"] for row in kept}]


async def _deliveries(
    connection: AsyncConnection, params: Params, needles: Mapping[str, list[str]], position: int, before: datetime
) -> tuple[int, int]:
    """Empty the next deliveries that speak of the person. Returns how many, and where to go on; 0 at the end."""
    last = await fetch_one(
        connection,
        """SELECT max(id) AS id FROM (SELECT id FROM delivery WHERE id > :position ORDER BY id LIMIT :limit) AS d""",
        position=position,
        limit=DELIVERIES,
    )
    if last is None or last["id"] is None:
        return 0, 0
    named = [one for name in ("ids", "names", "handles", "probes") for one in needles.get(name, [])]
    touched = await execute(
        connection,
        f"""UPDATE delivery d SET {EMPTIED} WHERE d.id > :position AND d.id <= :last AND d.state <> 'pending'
              AND d.body <> '' AND (
                d.id IN (SELECT delivery_id FROM revision WHERE interaction_id IN {ITEMS} AND delivery_id > :position
                    AND delivery_id <= :last)
                OR EXISTS (SELECT 1 FROM unnest(CAST(:words AS bytea[])) AS w (word)
                    WHERE position(w.word IN d.body) > 0 OR position(w.word IN d.query) > 0))""",
        position=position,
        last=last["id"],
        accounts=params["accounts"],
        words=[one.encode("utf-8", "surrogatepass") for one in named if len(one) >= SHORTEST],
    )
    return touched, int(last["id"])


async def _cases(connection: AsyncConnection, needles: Mapping[str, list[str]]) -> int:
    """Remove kept cases of policies that quote the person."""
    words = [*needles.get("probes", []), *(one for one in needles.get("handles", []) if len(one) >= SHORTEST)]
    return await execute(
        connection,
        """DELETE FROM policy_case p WHERE EXISTS (SELECT 1 FROM unnest(CAST(:words AS text[])) AS w (word)
               WHERE position(w.word IN p."case"::text) > 0 OR position(w.word IN p.subject::text) > 0)""",
        words=words,
    )


async def _memories(connection: AsyncConnection, vault: Vault, needles: Mapping[str, list[str]]) -> int:
    """Have plugins forget who the person is at the provider. Whatever they hold besides, like tokens, stays."""
    words = {one for name in ("ids", "handles") for one in needles.get(name, [])}
    touched = 0
    for row in await fetch_all(
        connection, "SELECT id, state FROM connection WHERE state IS NOT NULL ORDER BY id FOR NO KEY UPDATE"
    ):
        before = vault.unseal(bytes(row["state"]), f"state:{row['id']}")
        after = {name: without(value, words) for name, value in before.items()}
        if after != before:
            touched += await execute(
                connection,
                "UPDATE connection SET state = :state WHERE id = :id",
                id=row["id"],
                state=vault.seal(after, f"state:{row['id']}"),
            )
    return touched


def without(value: Any, words: set[str]) -> Any:
    """The same document without entries that are named by one of these words, alone or behind a colon."""
    if isinstance(value, dict):
        return {
            key: without(one, words)
            for key, one in value.items()
            if not (key in words or key.partition(":")[2] in words)
        }
    if isinstance(value, list):
        return [without(one, words) for one in value if not (isinstance(one, str) and one in words)]
    return value


async def erase_all(tools: Tools, now: datetime) -> int:
    """Do every erasure that is asked for, to its end, while nothing else works. Returns how many."""
    async with tools.database.read() as connection:
        rows = await fetch_all(connection, "SELECT id FROM erasure WHERE state <> 'done' ORDER BY requested_at")
    for row in rows:
        while await erase_due(tools, row["id"], now, once=True):
            pass
    return len(rows)


__all__ = ["TICKETS", "Tools", "UnknownCustomer", "erase_all", "erase_due", "request_erasure", "used"]
