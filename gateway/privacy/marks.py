"""Tombstones: by what an erased person's account and posts are known again, and nothing else of them is."""

from __future__ import annotations

import hashlib
import hmac
from collections.abc import Iterable, Sequence
from datetime import datetime
from uuid import UUID

from sqlalchemy.ext.asyncio import AsyncConnection

from gateway.db.database import execute, fetch_all, fetch_one
from gateway.pipeline.normalise import Read
from gateway.pipeline.record import scope_of
from gateway.registry import Registry
from gateway.security.vault import Vault
from gateway_schemas.interaction import Interaction

GONE = "it speaks of a person who was erased"


class Marks:
    """Makes keyed hashes (HMAC-SHA256) under a key of the installation's that serves this alone."""

    def __init__(self, vault: Vault) -> None:
        self._key = vault.derive("erasure", 1)

    def account(self, scope: str, external_id: str) -> bytes:
        """The mark of an account."""
        return self._of("account", scope, external_id)

    def item(self, scope: str, external_id: str) -> bytes:
        """The mark of a post, comment, review or message."""
        return self._of("item", scope, external_id)

    def _of(self, *parts: str) -> bytes:
        # lengths, so that no two triples are written alike
        text = "".join(f"{len(part)}:{part}" for part in parts)
        return hmac.new(self._key, text.encode("utf-8", "surrogatepass"), hashlib.sha256).digest()


async def entomb(
    connection: AsyncConnection, marks: Iterable[tuple[bytes, str]], erasure_id: UUID, until: datetime
) -> int:
    """Keep marks with their kinds; of one that is there the later time counts. Returns how many."""
    given = dict(marks)
    await execute(
        connection,
        """INSERT INTO erased (mark, kind, erasure_id, until)
           SELECT mark, kind, :erasure, :until
           FROM unnest(CAST(:marks AS bytea[]), CAST(:kinds AS text[])) AS g (mark, kind) ORDER BY mark
           ON CONFLICT (mark) DO UPDATE SET until = GREATEST(erased.until, EXCLUDED.until)""",
        erasure=erasure_id,
        until=until,
        marks=list(given),
        kinds=list(given.values()),
    )
    return len(given)


async def keep_out(connection: AsyncConnection, marks: Marks, registry: Registry, reads: Sequence[Read]) -> list[Read]:
    """Drop what an erased person had published before they were erased, however it comes: webhook, poll, replay.

    Called in the transaction that records. Returns the deliveries whose bytes must not stay either.
    """
    items = [
        (read, endpoint, item)
        for read in reads
        if read.role == "source"
        for endpoint, item in read.news
        if isinstance(item, Interaction)
    ]
    # one look at an empty table, where nobody was ever erased
    if not items or await fetch_one(connection, "SELECT 1 FROM erased LIMIT 1") is None:
        return []
    by_item: dict[int, tuple[bytes, bytes]] = {}
    for _, endpoint, item in items:
        scope = scope_of(registry, endpoint)
        by_item[id(item)] = marks.account(scope, item.author.external_id), marks.item(scope, item.external_id)
    known = {
        bytes(row["mark"]): row["until"]
        for row in await fetch_all(
            connection,
            "SELECT mark, until FROM erased WHERE mark = ANY(:marks)",
            marks=list({mark for pair in by_item.values() for mark in pair}),
        )
    }
    touched: dict[int, Read] = {}
    for read, _, item in items:
        account, thing = by_item[id(item)]
        until = known.get(account)
        if thing in known or (until is not None and item.published_at <= until):
            read.news = [one for one in read.news if one[1] is not item]
            touched[read.id] = read
    for read in touched.values():
        read.reason = "; ".join(filter(None, (read.reason, GONE)))
        if not read.news and read.state == "processed":
            read.state = "ignored"
    return list(touched.values())


async def empty(connection: AsyncConnection, reads: Sequence[Read]) -> None:
    """Take the bytes off deliveries; that and how they were worked on stays known."""
    if reads:
        await execute(
            connection,
            f"""UPDATE delivery d SET {EMPTIED} FROM unnest(CAST(:ids AS bigint[]), CAST(:at AS timestamptz[]))
                    AS g (id, at) WHERE d.id = g.id AND d.received_at = g.at""",
            ids=[read.id for read in reads],
            at=[read.received_at for read in reads],
        )


EMPTIED = r"""body = '', headers = '', query = '', note = '{"emptied": true}'"""
"""SQL that takes what was received off a row of `delivery`; such a row is not replayed."""
