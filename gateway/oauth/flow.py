"""Connecting an account: a person is sent to the provider, comes back with a code, and the code becomes tokens.

Whoever comes back has no API key. What they bring is proven by the `state` alone: 256 random bits that were given to
one caller for one connection, are good for ten minutes and once, and of which only the hash is stored. The consent is
taken only if that caller might still connect accounts, if the provider shows whose account it is, and if it is the
account of the connection. The request ends with its first answer, whatever that is.
"""

from __future__ import annotations

import dataclasses
import hashlib
import logging
import secrets
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, TypeVar
from uuid import UUID

from pydantic import SecretStr
from sqlalchemy.ext.asyncio import AsyncConnection

from gateway.connections import ConfigInvalid, Endpoint, PluginMissing, split_secrets
from gateway.db.database import Row, as_json, execute, fetch_one
from gateway.db.tables.columns import new_id
from gateway.events.announce import announce
from gateway.net.client import Target
from gateway.net.oauth import TokenEndpoint
from gateway.oauth.stored import (
    account_known,
    as_tokens,
    completed,
    context,
    declared_for,
    fields_of,
    keep,
    make_row,
    open_tokens,
    origins,
    without_tokens,
)
from gateway.pipeline.people import is_here
from gateway.registry import Connected
from gateway.runtime import Runtime
from gateway.security.audit import Origin
from gateway.security.keys import Caller
from gateway.security.scopes import Scope
from gateway.tracing import logs
from gateway_schemas.errors import GatewayError, Reauthorise, Rejected
from gateway_schemas.oauth import OAuth, OAuthFields, OAuthTokens
from gateway_schemas.plugin import AccountRef
from gateway_schemas.source import Source

log = logging.getLogger(__name__)

LIVES = timedelta(minutes=10)
"""How long a person may take at the provider."""
CALLBACK = "/oauth/callback"
"""One address for all connections: it is registered at each provider."""

T = TypeVar("T")


class NotConnected(Exception):
    """The account was not connected; the message says why, and what to do, to the person who came back."""


@dataclass(frozen=True)
class Journey:
    """A person about to be sent to a provider."""

    url: str
    expires_at: datetime


@dataclass(frozen=True)
class Arrival:
    """A person who has connected an account."""

    connection: UUID
    name: str
    account: str | None
    choices: tuple[str, ...] = ()
    """The accounts to choose from, where the consent holds for several and the connection does not say which."""


def digest(state: str) -> bytes:
    """What is stored of a state."""
    return hashlib.sha256(state.encode("utf-8", "surrogatepass")).digest()


async def begin(runtime: Runtime, endpoint: Endpoint, plugin: Connected, caller: Caller, redirect_uri: str) -> Journey:
    """Called when somebody wants to connect a connection's account: where to send them.

    Raises NotConnected where its plugin does not do that, and GatewayError when a client cannot be registered.
    """
    declared = await declared_with_client(runtime, endpoint, plugin, redirect_uri, register=True)
    state, verifier = secrets.token_urlsafe(32), secrets.token_urlsafe(48) if declared.pkce else None
    id, now = new_id(), runtime.now()
    address = token_endpoint(runtime, endpoint, declared, redirect_uri).address(state, verifier)
    async with runtime.database.write() as connection:
        await execute(connection, "DELETE FROM authorisation_request WHERE expires_at < :now", now=now)
        await make_row(connection, endpoint.id)
        await execute(
            connection,
            """INSERT INTO authorisation_request (id, state_hash, connection_id, caller_id, caller, caller_subject,
                   redirect_uri, verifier, created_at, expires_at)
               VALUES (:id, :hash, :connection, :caller_id, :caller, :subject, :redirect_uri, :verifier, :now,
                   :until)""",
            id=id,
            hash=digest(state),
            connection=endpoint.id,
            caller_id=caller.id,
            caller=caller.name,
            subject=" ".join(caller.subject) if caller.subject is not None else None,
            redirect_uri=redirect_uri,
            verifier=runtime.vault.seal({"verifier": verifier} if verifier else {}, f"authorisation_request:{id}"),
            now=now,
            until=now + LIVES,
        )
    return Journey(address, now + LIVES)


async def finish(
    runtime: Runtime, state: str, code: str | None, error: str | None, *, address: str | None = None
) -> Arrival:
    """Called when a person comes back from `address`: keep the tokens and let the connection's work begin.

    On record is whoever sent them there: they bring no key of their own.

    Raises NotConnected, and GatewayError where the provider failed or refused. The state is spent in any case.
    """
    request = await _take(runtime, state)
    origin = Origin(
        "finish_authorization",
        "key" if request["caller_subject"] is None else "subject",
        request["caller_subject"] or str(request["caller_id"]),
        request["caller"],
        key_prefix=request["key_prefix"],
        address=address,
        trace_id=logs.subject().get("trace_id"),
    )
    runtime = dataclasses.replace(runtime, database=runtime.audit.on_record(origin))
    if error is not None:
        said = "you declined" if error == "access_denied" else "the provider refused"
        raise NotConnected(f"Nothing was connected: {said}. What was there before is unchanged.")
    if not code:
        raise NotConnected("The provider sent no code. Begin again.")
    endpoint = (await runtime.connections.load([request["connection_id"]])).get(request["connection_id"])
    if endpoint is None:
        raise NotConnected("The connection is gone.")
    plugin = runtime.connections.fresh(endpoint, outgoing=runtime.outgoing)
    declared = await declared_with_client(runtime, endpoint, plugin, request["redirect_uri"])
    sealed = runtime.vault.unseal(request["verifier"], f"authorisation_request:{request['id']}")
    tokens = await token_endpoint(runtime, endpoint, declared, request["redirect_uri"]).exchange(
        code, sealed.get("verifier")
    )
    tokens = await _asked(lambda: _with(runtime, endpoint, tokens).oauth_granted(tokens))
    missing = sorted(set(declared.scopes) - set(tokens.scopes)) if tokens.scopes is not None else []
    if missing:
        raise NotConnected(f"The provider did not grant {', '.join(missing)}: begin again and leave out nothing.")
    fields = fields_of(plugin)
    assert fields is not None
    found = await _asked(lambda: _accounts(_with(runtime, endpoint, tokens), fields))
    arrival = await _store(runtime, endpoint, fields, declared, tokens, found, request["caller"])
    runtime.connections.forget(endpoint.id)
    log.info("connection %s (%s) was authorised, begun by %s", endpoint.id, endpoint.name, request["caller"])
    return arrival


async def end(runtime: Runtime, endpoint: Endpoint, plugin: Connected, by: str) -> bool:
    """Called when somebody takes the consent back: the tokens are forgotten, and given back to the provider where it
    has a way. Returns whether the provider has confirmed that."""
    async with runtime.database.write() as connection:
        row = await fetch_one(
            connection,
            "SELECT tokens FROM authorisation WHERE connection_id = :id AND tokens IS NOT NULL FOR UPDATE",
            id=endpoint.id,
        )
        if row is None:
            raise NotConnected(f"{endpoint.name} does not act by a consent.")
        await execute(
            connection,
            """UPDATE authorisation SET state = 'wanted', generation = generation + 1, tokens = NULL, scopes = '{}',
                   granted_at = NULL, granted_by = NULL, renewed_at = NULL, access_expires_at = NULL,
                   refresh_expires_at = NULL, renew_at = NULL, begun_until = NULL, hastened = NULL, failures = 0,
                   reason = NULL WHERE connection_id = :id""",
            id=endpoint.id,
        )
        worked = await fetch_one(
            connection,
            "SELECT 1 FROM connection WHERE id = :id AND status <> 'needs_authorisation' FOR NO KEY UPDATE",
            id=endpoint.id,
        )
        reason, now = f"its consent was given back by {by}", runtime.now()
        await execute(
            connection,
            """UPDATE connection SET status = 'needs_authorisation', status_reason = :reason, version = version + 1,
                   updated_at = :now WHERE id = :id""",
            id=endpoint.id,
            reason=reason,
            now=now,
        )
        if worked is not None:
            news = {"code": "given_back", "reason": reason}
            await announce(connection, "connection.needs_authorisation", "connection", endpoint.id, news, now)
    runtime.connections.forget(endpoint.id)
    tokens = as_tokens(open_tokens(runtime.vault, endpoint.id, row["tokens"]))
    try:
        declared = await declared_with_client(runtime, endpoint, plugin, None)
        if declared.revoke_url is None:
            return False
        token, hint = (tokens.refresh, "refresh_token") if tokens.refresh else (tokens.access, "access_token")
        await token_endpoint(runtime, endpoint, declared, "").revoke(token, hint)
    except (GatewayError, NotConnected) as error:
        log.warning("%s: the provider did not take the consent back: %s", endpoint.name, error)
        return False
    return True


async def declared_with_client(
    runtime: Runtime, endpoint: Endpoint, plugin: Connected, redirect_uri: str | None, *, register: bool = False
) -> OAuth:
    """How a connection is authorised, with a client id: the App's, or the one that the provider registered for this
    connection. Raises NotConnected, and GatewayError when `register` fails."""
    try:
        declared = declared_for(type(plugin), plugin.setup.config, plugin.setup.app)
    except Rejected as error:
        raise NotConnected(f"{error.reason}.") from error
    if declared is None:
        raise NotConnected(f"{endpoint.plugin} does not connect this account by OAuth: enter its credentials.")
    if declared.client_id is not None:
        return declared
    async with runtime.database.read() as connection:
        row = await fetch_one(connection, "SELECT client FROM authorisation WHERE connection_id = :id", id=endpoint.id)
    client = runtime.vault.unseal(row["client"], context(endpoint.id)) if row else {}
    # a client belongs to one server and one redirect URI: after either has changed it is registered anew
    if not client or client["server"] != declared.token_url or redirect_uri not in (None, client["redirect_uri"]):
        if not register or redirect_uri is None:
            raise NotConnected("The connection was changed meanwhile. Begin again.")
        made = await plugin.oauth_client(redirect_uri)
        client = {
            "id": made.client_id,
            "secret": made.client_secret.get_secret_value() if made.client_secret is not None else None,
            "redirect_uri": redirect_uri,
            "server": declared.token_url,
        }
        async with runtime.database.write() as connection:
            await make_row(connection, endpoint.id)
            await execute(
                connection,
                "UPDATE authorisation SET client = :client WHERE connection_id = :id",
                id=endpoint.id,
                client=runtime.vault.seal(client, context(endpoint.id)),
            )
    secret = SecretStr(client["secret"]) if client["secret"] else None
    return dataclasses.replace(declared, client_id=client["id"], client_secret=secret)


def token_endpoint(runtime: Runtime, endpoint: Endpoint, declared: OAuth, redirect_uri: str) -> TokenEndpoint:
    """The provider's token endpoint for one connection: its client goes there and nowhere else."""
    target = Target(
        budget_key=f"app:{endpoint.app_id}" if endpoint.app_id else f"connection:{endpoint.id}",
        allowed_origins=origins(declared),
        allow_private=endpoint.allow_private,
        lane="interactive",
    )
    return TokenEndpoint(declared, runtime.outgoing, target, redirect_uri, runtime.now)


async def _take(runtime: Runtime, state: str) -> Row:
    """Spend a state. Raises NotConnected for one that is unknown, spent, too old, or of a caller who may no more."""
    async with runtime.database.write() as connection:
        row = await fetch_one(
            connection,
            """DELETE FROM authorisation_request r WHERE state_hash = :hash
               RETURNING r.*, (SELECT prefix FROM api_key k WHERE k.id = r.caller_id) AS key_prefix""",
            hash=digest(state),
        )
        now = runtime.now()
        if row is None:
            raise NotConnected("This link is not known, or was used before. Begin again.")
        key = await fetch_one(
            connection,
            "SELECT scopes, expires_at, revoked_at FROM api_key WHERE id = :id",
            id=row["caller_id"],
        )
        issuer, _, subject = (row["caller_subject"] or "").partition(" ")
        removed = bool(issuer) and await is_here(connection, (issuer, subject)) is False
    if row["expires_at"] <= now:
        raise NotConnected(f"It took more than {LIVES // timedelta(minutes=1)} minutes. Begin again.")
    # people who signed in elsewhere have no key, and their roles hold for as long as this takes
    if removed:
        raise NotConnected(f"{row['caller']}, who began this, may not connect accounts any more.")
    if key is not None:
        ended = key["expires_at"] is not None and key["expires_at"] <= now
        if ended or key["revoked_at"] is not None or str(Scope.connections) not in key["scopes"]:
            raise NotConnected("The API key that began this may not connect accounts any more.")
    return row


def _with(runtime: Runtime, endpoint: Endpoint, tokens: OAuthTokens) -> Connected:
    """The plugin as it will be with these tokens, before they are kept."""
    plugin = runtime.registry.plugin(endpoint.role, endpoint.plugin)
    fields = fields_of(plugin)
    assert fields is not None
    assert endpoint.config is not None
    bare = without_tokens(fields, endpoint.config)
    config = completed(fields, bare, {"access": tokens.access.get_secret_value()})
    return runtime.connections.fresh(dataclasses.replace(endpoint, config=config), outgoing=runtime.outgoing)


async def _asked(call: Callable[[], Awaitable[T]]) -> T:
    """A plugin's part. Raises NotConnected and GatewayError, whatever it raised."""
    try:
        return await call()
    except (NotConnected, GatewayError, PluginMissing, ConfigInvalid):
        raise
    except Exception as error:  # the person is told, and the log has the rest
        log.exception("a plugin failed while an account was being connected")
        raise NotConnected(f"{type(error).__name__}: the plugin failed; the log has the details.") from error


@dataclass(frozen=True)
class Found:
    """An account that the tokens can act for."""

    account: str | None
    """Its id as connections know it."""
    ref: AccountRef
    config: Mapping[str, Any]
    """What a connection to it says of it, without secrets."""


async def _accounts(plugin: Connected, fields: OAuthFields) -> list[Found]:
    if not isinstance(plugin, Source) or not fields.account:
        return []
    found = []
    for ref in await plugin.discover():
        model = type(plugin).Config.model_validate({**plugin.config.model_dump(), **ref.config})
        open_part = split_secrets(model)[0]
        config = {name: open_part[name] for name in ref.config if name in open_part}
        found.append(Found(plugin.account_of(model), ref, config))
    if not found:
        raise NotConnected("The provider knows no account for this consent: sign in there as one that has one.")
    return found


async def _store(
    runtime: Runtime,
    endpoint: Endpoint,
    fields: OAuthFields,
    declared: OAuth,
    tokens: OAuthTokens,
    found: list[Found],
    by: str,
) -> Arrival:
    """Keep the tokens, and the account where it was not known, and let the connection go on: in one transaction."""
    async with runtime.database.write() as connection:
        kept = await fetch_one(
            connection, "SELECT tokens FROM authorisation WHERE connection_id = :id FOR UPDATE", id=endpoint.id
        )
        row = await fetch_one(
            connection,
            "SELECT name, config, secrets, account, app_id FROM connection WHERE id = :id FOR UPDATE",
            id=endpoint.id,
        )
        if row is None or kept is None:
            raise NotConnected("The connection was changed meanwhile. Begin again.")
        config, account = dict(row["config"]), row["account"]
        choices: tuple[str, ...] = ()
        secret = runtime.vault.unseal(row["secrets"], f"connection:{endpoint.id}")
        if fields.account and found:
            if account_known(fields, config):
                if account not in [one.account for one in found]:
                    names = ", ".join(one.ref.handle or one.ref.name for one in found[:5])
                    raise NotConnected(
                        f"This connection is for the account {account}, and you are signed in as {names}. "
                        "Sign in there as the right one and begin again."
                    )
            elif len(fitting := _fitting(found, config, fields)) == 1:
                account = fitting[0].account
                config |= fitting[0].config
            else:
                choices = tuple(f"{one.account}: {one.ref.name}" for one in fitting)
        await _collide(connection, endpoint, row["app_id"], account)
        if tokens.refresh is None:
            tokens = await _refresh_kept(runtime, endpoint, declared, tokens, kept, same=not choices)
        await keep(connection, runtime.vault, endpoint.id, declared, tokens, runtime.now(), by=by)
        reason = None
        if choices:
            named = ", ".join(fields.account)
            reason = f"the consent holds for several accounts: set {named} to one of them ({'; '.join(choices[:20])})"
        await execute(
            connection,
            """UPDATE connection SET config = CAST(:config AS jsonb), secrets = :secrets, account = :account,
                   status = :status, status_reason = :reason, failures = 0, blocked_until = NULL,
                   blocked_reason = NULL, version = version + 1, updated_at = :now WHERE id = :id""",
            id=endpoint.id,
            config=as_json(without_tokens(fields, config)),
            secrets=runtime.vault.seal(without_tokens(fields, secret), f"connection:{endpoint.id}"),
            account=account,
            status="needs_authorisation" if choices else "active",
            reason=reason,
            now=runtime.now(),
        )
    return Arrival(endpoint.id, row["name"], account, choices)


def _fitting(found: list[Found], config: Mapping[str, Any], fields: OAuthFields) -> list[Found]:
    """Of several accounts those that contradict nothing of the configuration, such as its platform."""

    def fits(one: Found) -> bool:
        said = {name: config.get(name) for name in one.config if name not in fields.account}
        return all(value is None or value == one.config[name] for name, value in said.items())

    return ([one for one in found if fits(one)] or found) if len(found) > 1 else found


async def _refresh_kept(
    runtime: Runtime, endpoint: Endpoint, declared: OAuth, tokens: OAuthTokens, kept: Row, *, same: bool
) -> OAuthTokens:
    """Some providers give a refresh token with the first consent only (Google): the one that is kept goes on."""
    if declared.renewal != "refresh_token" or tokens.expires_in is None:
        return tokens
    before = open_tokens(runtime.vault, endpoint.id, kept["tokens"])
    if same and before.get("refresh"):
        return dataclasses.replace(tokens, refresh=as_tokens(before).refresh)
    raise NotConnected(
        "The provider gave no refresh token, so its token could not be renewed: take the gateway's access away at the "
        "provider, then begin again."
    )


async def _collide(connection: AsyncConnection, endpoint: Endpoint, app_id: UUID | None, account: str | None) -> None:
    if app_id is None or account is None:
        return
    other = await fetch_one(
        connection,
        "SELECT name FROM connection WHERE app_id = :app AND account = :account AND id <> :id",
        app=app_id,
        account=account,
        id=endpoint.id,
    )
    if other is not None:
        raise NotConnected(f"The account {account} is connected already, as {other['name']}.")


def in_words(error: GatewayError) -> str:
    """What a provider's failure means to the person who came back."""
    if isinstance(error, Reauthorise):
        return f"The provider did not take the code ({error.code}): it is used, or too old. Begin again."
    if isinstance(error, Rejected):
        return f"{error.reason}."
    return f"The provider failed ({error.code}). Begin again in a moment."
