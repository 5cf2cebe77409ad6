"""API keys: made, recognised, and the first one of an installation.

A key is `hg_<prefix>_<secret>` with 256 random bits of secret. Only its SHA-256 is stored: there is nothing to guess,
so
there is nothing to slow down. The prefix finds the row and names the key in lists and logs.
"""

from __future__ import annotations

import hashlib
import hmac
import re
import secrets
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from uuid import UUID

from sqlalchemy.ext.asyncio import AsyncConnection

from gateway.db.database import Database, as_json, execute, fetch_one
from gateway.db.tables.columns import new_id
from gateway.runtime import open_runtime
from gateway.security.audit.origin import at_the_command_line
from gateway.security.scopes import Scope, parse_scopes
from gateway.settings import Settings

FORM = re.compile(r"hg_([a-z2-7]{8})_[0-9a-f]{64}")
BOOTSTRAP = "bootstrap"
"""The prefix of a bootstrap key of any other form. A prefix made from the key would help to guess it."""
SHORTEST = 16
USED_EVERY = timedelta(minutes=1)
"""How often the last use of a key is written down at most."""
FIRST_KEY = "first_api_key"
"""The fact that this installation has been given its first key."""


class KeyRefused(Exception):
    """The key opens nothing; the message says why, to whoever holds it."""


@dataclass(frozen=True)
class Caller:
    """Who is calling: a key with its scopes."""

    id: UUID
    name: str
    prefix: str
    scopes: frozenset[str]


@dataclass(frozen=True)
class NewKey:
    """A key just made. `key` is nowhere else: show it once."""

    id: UUID
    prefix: str
    key: str = field(repr=False)


def prefix_of(key: str) -> str:
    """What a key is found by."""
    match = FORM.fullmatch(key)
    return match.group(1) if match else BOOTSTRAP


def digest_of(key: str) -> bytes:
    """What is stored of a key."""
    return hashlib.sha256(key.encode("utf-8", "surrogatepass")).digest()


def generate() -> str:
    """A new key."""
    prefix = "".join(secrets.choice("abcdefghijklmnopqrstuvwxyz234567") for _ in range(8))
    return f"hg_{prefix}_{secrets.token_hex(32)}"


async def create_key(
    connection: AsyncConnection,
    name: str,
    scopes: Sequence[Scope],
    now: datetime,
    *,
    expires_at: datetime | None = None,
    key: str | None = None,
) -> NewKey:
    """Make a key in the caller's transaction; `key` where it is given and not generated."""
    key = key or generate()
    made = NewKey(new_id(), prefix_of(key), key)
    await execute(
        connection,
        """INSERT INTO api_key (id, name, prefix, hash, scopes, created_at, expires_at)
           VALUES (:id, :name, :prefix, :hash, :scopes, :now, :expires)""",
        id=made.id,
        name=name,
        prefix=made.prefix,
        hash=digest_of(key),
        scopes=[str(scope) for scope in scopes],
        now=now,
        expires=expires_at,
    )
    return made


async def recognise(database: Database, key: str, now: datetime) -> Caller:
    """Whose key this is. Raises KeyRefused."""
    async with database.read() as connection:
        row = await fetch_one(
            connection,
            """SELECT id, name, prefix, hash, scopes, expires_at, last_used_at, revoked_at FROM api_key
               WHERE prefix = :prefix""",
            prefix=prefix_of(key),
        )
        if row is None or not hmac.compare_digest(row["hash"], digest_of(key)):
            raise KeyRefused("The API key is not known.")
        if row["revoked_at"] is not None:
            raise KeyRefused(f"The API key {row['prefix']} was revoked.")
        if row["expires_at"] is not None and row["expires_at"] <= now:
            raise KeyRefused(f"The API key {row['prefix']} expired at {row['expires_at']:%Y-%m-%d %H:%M} UTC.")
        if row["last_used_at"] is None or row["last_used_at"] + USED_EVERY <= now:
            await execute(
                connection,
                """UPDATE api_key SET last_used_at = :now
                   WHERE id = :id AND last_used_at IS NOT DISTINCT FROM CAST(:before AS timestamptz)""",
                id=row["id"],
                now=now,
                before=row["last_used_at"],
            )
    return Caller(row["id"], row["name"], row["prefix"], frozenset(row["scopes"]))


async def ensure_first_key(
    database: Database, settings: Settings, now: datetime, show: Callable[[str], None] = print
) -> None:
    """Called at every start: the first one of an installation makes a key with all scopes.

    GATEWAY_BOOTSTRAP_KEY becomes that key; without it one is generated and shown once. Of several processes starting
    together one does it and the others wait. Raises ValueError when the bootstrap key is too short.
    """
    given = settings.bootstrap_key.get_secret_value() if settings.bootstrap_key is not None else None
    if given is not None and len(given) < SHORTEST:
        raise ValueError(f"GATEWAY_BOOTSTRAP_KEY: at least {SHORTEST} characters are needed (openssl rand -hex 32)")
    async with database.write() as connection:
        first = await execute(
            connection,
            """INSERT INTO fact (name, value) VALUES (:name, CAST(:value AS jsonb))
               ON CONFLICT (name) DO NOTHING""",
            name=FIRST_KEY,
            value=as_json({"at": now, "given": given is not None}),
        )
        if not first:
            return
        made = await create_key(connection, "first key", tuple(Scope), now, key=given)
        if given is None:
            # before the commit: a process that dies in between prints another one next time, and none is lost
            show(f"API key (shown once): {made.key}")


async def create_from_command_line(
    settings: Settings, name: str, scopes: Sequence[str] | None, days: int | None
) -> str:
    """Called by `gateway key create`: make a key and return it. Without `scopes` it has all. Raises UnknownScope."""
    wanted = parse_scopes(scopes) if scopes else tuple(Scope)
    async with open_runtime(settings) as runtime:
        now = runtime.now()
        async with runtime.audit.on_record(at_the_command_line("key_create")).write() as connection:
            made = await create_key(
                connection, name, wanted, now, expires_at=now + timedelta(days=days) if days is not None else None
            )
    return made.key
