"""How inbox work is spread: by the customer's account, so that one crowded thread uses every worker.

The ticket's key is (thread, account): two customers under one viral post share nothing that must be done in order,
while all that one customer says, in public and in private, is threaded by one holder at a time.

What is not read yet has no account. It is spread by the moment of its arrival, and what comes in crowds goes to shards
of its own, so that nobody stands in line behind another connection's flood.
"""

from __future__ import annotations

from uuid import UUID

SHARDS = 8
CROWD_SHARDS = 4
INBOX_SHARDS = SHARDS + CROWD_SHARDS
"""The inbox has the shards of threading for what comes in ordinarily, and further ones for crowds."""

SHARD_SQL = f"get_byte(uuid_send({{}}), 15) % {SHARDS}"
"""The same as `shard_of`, for a statement."""


def shard_of(account_id: UUID) -> int:
    """The shard of an account: its identifier's last byte is random."""
    return account_id.bytes[15] % SHARDS


def crowd_shard(number: int) -> int:
    """One of the inbox's shards for crowds; any whole number picks one."""
    return SHARDS + number % CROWD_SHARDS


def is_crowd(shard: int) -> bool:
    """Whether an inbox shard holds crowds, which give way to everything else."""
    return shard >= SHARDS
