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
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

from sqlalchemy.ext.asyncio import AsyncConnection

from gateway.db.database import Database, as_json, execute, fetch_one
from gateway.db.tables.columns import new_id
from gateway.pipeline.people import KEY, SUBJECT
from gateway.runtime import open_runtime
from gateway.security.audit.origin import at_the_command_line
from gateway.security.roles import Role, scopes_of
from gateway.security.scopes import Scope, parse_scopes, union
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
    """Who is calling: an API key, or somebody with a token of the OpenID Connect provider."""

    id: UUID
    """The key's, or one made of the token's issuer and subject."""
    name: str
    prefix: str
    """The key's prefix; empty for a token."""
    scopes: frozenset[str]
    origin: UUID
    """The same for a key and its successors: one caller in limits and for Idempotency-Keys."""
    rate_limit: int | None = None
    """Requests a minute, where it is not the usual limit."""
    subject: tuple[str, str] | None = None
    """A token's issuer and subject."""
    roles: tuple[Role, ...] = ()
    """What a token's claims gave."""

    @property
    def actor(self) -> str:
        """Who it is, as it is stored with what they did: `key:<id>` or `subject:<issuer> <subject>`."""
        return f"{KEY}{self.id}" if self.subject is None else f"{SUBJECT}{' '.join(self.subject)}"

    @property
    def means(self) -> str:
        """What they called with, for messages."""
        return f"the key {self.prefix}" if self.subject is None else f"the token of {self.name}"


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
    rate_limit: int | None = None,
    origin: UUID | None = None,
    key: str | None = None,
) -> NewKey:
    """Make a key in the caller's transaction; `key` where it is given and not generated. `origin` is the first of the
    keys that it succeeds."""
    key = key or generate()
    made = NewKey(new_id(), prefix_of(key), key)
    await execute(
        connection,
        """INSERT INTO api_key (id, name, prefix, hash, scopes, created_at, expires_at, rate_limit, origin_id)
           VALUES (:id, :name, :prefix, :hash, :scopes, :now, :expires, :limit, :origin)""",
        id=made.id,
        name=name,
        prefix=made.prefix,
        hash=digest_of(key),
        scopes=[str(scope) for scope in scopes],
        now=now,
        expires=expires_at,
        limit=rate_limit,
        origin=origin,
    )
    return made


async def succeed(
    connection: AsyncConnection,
    old: Mapping[str, Any],
    now: datetime,
    *,
    until: datetime,
    expires_at: datetime | None = None,
) -> NewKey:
    """Make the successor of a key in the caller's transaction, which holds the old key's row. The old one goes on
    `until` then, and the person whose it is has the new one too."""
    if expires_at is None and old["expires_at"] is not None:
        expires_at = now + (old["expires_at"] - old["created_at"])
    made = await create_key(
        connection,
        old["name"],
        parse_scopes(old["scopes"]),
        now,
        expires_at=expires_at,
        rate_limit=old["rate_limit"],
        origin=old["origin_id"] or old["id"],
    )
    await execute(
        connection,
        """UPDATE api_key SET successor_id = :new, expires_at = LEAST(expires_at, CAST(:until AS timestamptz))
           WHERE id = :id""",
        new=made.id,
        until=until,
        id=old["id"],
    )
    await execute(
        connection,
        """INSERT INTO person_identity (id, person_id, kind, scope, value)
           SELECT :id, person_id, 'key', '', :new FROM person_identity
           WHERE kind = 'key' AND scope = '' AND value = :old""",
        id=new_id(),
        new=str(made.id),
        old=str(old["id"]),
    )
    return made


async def recognise(database: Database, key: str, now: datetime) -> Caller:
    """Whose key this is. Raises KeyRefused."""
    async with database.read() as connection:
        row = await fetch_one(
            connection,
            """SELECT id, name, prefix, hash, scopes, expires_at, last_used_at, revoked_at, rate_limit, origin_id
               FROM api_key WHERE prefix = :prefix""",
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
    return Caller(
        row["id"],
        row["name"],
        row["prefix"],
        frozenset(row["scopes"]),
        origin=row["origin_id"] or row["id"],
        rate_limit=row["rate_limit"],
    )


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
    settings: Settings, name: str, scopes: Sequence[str] | None, days: int | None, roles: Sequence[Role] = ()
) -> str:
    """Called by `gateway key create`: make a key and return it. Without `scopes` and `roles` it has all scopes. Raises
    UnknownScope."""
    wanted = union(parse_scopes(scopes or ()), scopes_of(roles)) or tuple(Scope)
    async with open_runtime(settings) as runtime:
        now = runtime.now()
        async with runtime.audit.on_record(at_the_command_line("key_create")).write() as connection:
            made = await create_key(
                connection, name, wanted, now, expires_at=now + timedelta(days=days) if days is not None else None
            )
    return made.key
