"""How inbox work is spread: by the customer's account, so that one crowded thread uses every worker.

The ticket's key is (thread, account): two customers under one viral post share nothing that must be done in order,
while all that one customer says, in public and in private, is threaded by one holder at a time.
"""

from __future__ import annotations

from uuid import UUID

SHARDS = 8

SHARD_SQL = f"get_byte(uuid_send({{}}), 15) % {SHARDS}"
"""The same as `shard_of`, for a statement."""


def shard_of(account_id: UUID) -> int:
    """The shard of an account: its identifier's last byte is random."""
    return account_id.bytes[15] % SHARDS
