"""Consent as it is stored: how tokens are sealed, how they reach a plugin's configuration, and what a refusal of one
means."""

from __future__ import annotations

import random
from collections.abc import Mapping
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

from pydantic import BaseModel, SecretStr
from sqlalchemy.ext.asyncio import AsyncConnection

from gateway.db.database import execute, fetch_one
from gateway.security.vault import Vault
from gateway_schemas.oauth import OAuth, OAuthFields, OAuthTokens

NOT_CONNECTED = "not connected yet"
"""Stands in for an access token until there is one; nothing is asked of the provider with it."""
SHARE = (0.70, 0.85)
"""Between these shares of its life a token is renewed: early enough to fail for a while, and not all at once."""
JUST_RENEWED = timedelta(minutes=10)
"""A token renewed because its forerunner was refused, and refused itself so soon after, is not what is wrong."""
HASTENED = timedelta(seconds=30)
"""How long a connection's calls rest while a refused token is being renewed, unless that is done sooner."""
RENEWING = "token_refused: the provider refused the token; it is being renewed"


def fields_of(plugin: object) -> OAuthFields | None:
    """What OAuth fills in a plugin's configuration."""
    found: OAuthFields | None = getattr(plugin, "oauth", None)
    return found


def completed(
    fields: OAuthFields | None, config: Mapping[str, Any], tokens: Mapping[str, Any] | None
) -> dict[str, Any]:
    """A stored configuration with the token in force, and with stand-ins for what nobody knows before the account is
    connected."""
    if fields is None:
        return dict(config)
    ours = {fields.token, *fields.account}
    known = {name: value for name, value in config.items() if value is not None or name not in ours}
    if tokens:
        return {**fields.account, **known, fields.token: tokens["access"]}
    return {**fields.account, **({} if by_hand(fields, config) else {fields.token: NOT_CONNECTED}), **known}


def by_hand(fields: OAuthFields, config: Mapping[str, Any]) -> bool:
    """Whether a configuration has credentials that somebody entered."""
    return any(config.get(name) for name in (fields.token, *fields.replaces))


def account_known(fields: OAuthFields, config: Mapping[str, Any]) -> bool:
    """Whether a stored configuration says which account it is."""
    return all(config.get(name) is not None for name in fields.account)


def without_tokens(fields: OAuthFields, config: Mapping[str, Any]) -> dict[str, Any]:
    """A configuration without the credentials that OAuth takes the place of."""
    return {name: value for name, value in config.items() if name not in (fields.token, *fields.replaces)}


def context(connection_id: UUID) -> str:
    """What sealed tokens are bound to."""
    return f"authorisation:{connection_id}"


def seal_tokens(vault: Vault, connection_id: UUID, tokens: OAuthTokens) -> bytes | None:
    """Access and refresh token for the row."""
    document = {"access": tokens.access.get_secret_value()}
    if tokens.refresh is not None:
        document["refresh"] = tokens.refresh.get_secret_value()
    return vault.seal(document, context(connection_id))


def open_tokens(vault: Vault, connection_id: UUID, sealed: bytes | None) -> dict[str, Any]:
    """What `seal_tokens` sealed; empty where there is none. Raises VaultError."""
    return vault.unseal(sealed, context(connection_id))


def declared_for(plugin: type[Any], config: BaseModel | None, app: BaseModel | None) -> OAuth | None:
    """How one connection is authorised, as its plugin declares it."""
    if fields_of(plugin) is None or config is None:
        return None
    found: OAuth | None = plugin.oauth_of(config, app)
    return found


def origins(declared: OAuth) -> tuple[str, ...]:
    """The only places that codes and refresh tokens go to."""
    return tuple(url for url in (declared.token_url, declared.revoke_url) if url is not None)


def times(declared: OAuth, tokens: OAuthTokens, now: datetime) -> dict[str, datetime | None]:
    """When the tokens end, and when they are renewed."""
    renewable = declared.renewal == "plugin" or (declared.renewal == "refresh_token" and tokens.refresh is not None)
    lives = [life for life in (tokens.expires_in, tokens.refresh_expires_in) if life is not None]
    due = None
    if renewable and tokens.expires_in is not None:
        due = now + min(lives) * random.uniform(*SHARE)
    return {
        "access_until": now + tokens.expires_in if tokens.expires_in is not None else None,
        "refresh_until": now + tokens.refresh_expires_in if tokens.refresh_expires_in is not None else None,
        "due": due,
    }


async def keep(
    connection: AsyncConnection,
    vault: Vault,
    id: UUID,
    declared: OAuth,
    tokens: OAuthTokens,
    now: datetime,
    *,
    after: int | None = None,
    by: str | None = None,
) -> bool:
    """Write tokens to a connection's row, as its next generation, in the caller's transaction.

    With `after` only if that generation is still the one in force: what was got with a token that has been replaced
    meanwhile is not kept. Returns whether it was.
    """
    touched = await execute(
        connection,
        """UPDATE authorisation SET state = 'granted', generation = generation + 1, tokens = :tokens, scopes = :scopes,
               granted_at = CASE WHEN CAST(:by AS text) IS NULL THEN granted_at ELSE :now END,
               granted_by = COALESCE(:by, granted_by), renewed_at = :now, access_expires_at = :access_until,
               refresh_expires_at = COALESCE(:refresh_until, CASE WHEN CAST(:by AS text) IS NULL
                   THEN refresh_expires_at END),
               renew_at = :due, begun_until = NULL, failures = 0, reason = NULL,
               hastened = CASE WHEN CAST(:by AS text) IS NULL THEN hastened END
           WHERE connection_id = :id AND (CAST(:after AS integer) IS NULL OR generation = :after)""",
        id=id,
        tokens=seal_tokens(vault, id, tokens),
        scopes=sorted(tokens.scopes if tokens.scopes is not None else declared.scopes),
        by=by,
        after=after,
        now=now,
        **times(declared, tokens, now),
    )
    return bool(touched)


async def make_row(connection: AsyncConnection, id: UUID) -> None:
    """Called when a connection is to be authorised: the row that waits for its tokens, unless there is one."""
    await execute(
        connection,
        """INSERT INTO authorisation (connection_id, state, generation, scopes, failures)
           VALUES (:id, 'wanted', 0, '{}', 0) ON CONFLICT (connection_id) DO NOTHING""",
        id=id,
    )


async def hasten(connection: AsyncConnection, id: UUID, version: int, now: datetime) -> bool:
    """Called when a provider refused the token that a connection of `version` called with: have it renewed at once, and
    let the connection rest meanwhile.

    Returns False where that is no help: there is nothing to renew it with, or the refused token has only just come.
    """
    row = await fetch_one(
        connection,
        """SELECT g.state, g.generation, g.hastened, g.renewed_at, g.renew_at,
                  c.version + COALESCE((SELECT a.version FROM app a WHERE a.id = c.app_id), 0) + g.generation AS version
           FROM authorisation g JOIN connection c ON c.id = g.connection_id
           WHERE g.connection_id = :id FOR UPDATE OF g""",
        id=id,
    )
    if row is None or row["state"] != "granted" or row["renew_at"] is None:
        return False
    if row["version"] != version:
        return True  # the token has been renewed since: the refusal says nothing of the new one
    fresh = row["renewed_at"] is not None and row["renewed_at"] > now - JUST_RENEWED
    if row["hastened"] is not None and row["hastened"] == row["generation"] - 1 and fresh:
        return False
    if row["hastened"] != row["generation"]:
        await execute(
            connection,
            "UPDATE authorisation SET renew_at = :now, hastened = generation WHERE connection_id = :id",
            id=id,
            now=now,
        )
    await execute(
        connection,
        """UPDATE connection SET failures = failures + 1, blocked_reason = :reason,
               blocked_until = GREATEST(blocked_until, :until) WHERE id = :id""",
        id=id,
        reason=RENEWING,
        until=now + HASTENED,
    )
    return True


def as_tokens(document: Mapping[str, Any]) -> OAuthTokens:
    """Stored tokens as a plugin takes them."""
    refresh = document.get("refresh")
    return OAuthTokens(SecretStr(document["access"]), SecretStr(refresh) if refresh else None)
