"""Connections and Apps as the host uses them: configuration with its secrets, and plugin instances made from it."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import Mapping
from dataclasses import replace
from typing import TYPE_CHECKING, Any, NamedTuple
from uuid import UUID

from pydantic import BaseModel, SecretBytes, SecretStr, TypeAdapter

from gateway.db.database import Database, as_json, execute, fetch_all, fetch_one
from gateway.endpoints import ConfigInvalid, Endpoint, PluginMissing, build
from gateway.oauth.stored import completed, fields_of, open_tokens
from gateway.registry import Connected, Registry
from gateway.security.overlap import context, retired
from gateway.security.redaction import SHORTEST, leaves, remember_tokens
from gateway.security.vault import Vault
from gateway_schemas.enricher import Enricher
from gateway_schemas.files import FileStore
from gateway_schemas.helpdesk import Helpdesk
from gateway_schemas.limits import Allowance
from gateway_schemas.source import Source
from gateway_schemas.time import TimeSource

if TYPE_CHECKING:
    from gateway.net.client import Outgoing
    from gateway.net.key_sets import KeySets

__all__ = [
    "ConfigInvalid",
    "Connections",
    "DatabaseState",
    "Endpoint",
    "PluginMissing",
    "build",
    "split_secrets",
]


class SecondLook(NamedTuple):
    """What `Connections.look_again` found."""

    current: Endpoint | None
    retired: tuple[tuple[UUID, Endpoint], ...]
    """Ids of retired secrets, and the endpoint as it was with them, the newest first."""


STALE_AFTER = 1.0
"""Seconds that a process may go on with a configuration that another process has changed."""


class Connections:
    """Reads endpoints from the database, keeps them for a moment, and builds plugin instances for them."""

    def __init__(
        self,
        database: Database,
        registry: Registry,
        vault: Vault,
        now: TimeSource,
        files: FileStore | None = None,
        file_limit: int | None = None,
        key_sets: KeySets | None = None,
    ) -> None:
        self._database = database
        self._registry = registry
        self._vault = vault
        self._time = now
        self._files = files
        self._file_limit = file_limit
        self._key_sets = key_sets
        self._cache: dict[UUID, tuple[float, Endpoint | None]] = {}
        self._loading: dict[UUID, asyncio.Task[Endpoint | None]] = {}
        self._routes: dict[tuple[UUID, str], tuple[float, UUID | None]] = {}
        self._instances: dict[tuple[UUID, int], Connected] = {}
        self._looking: dict[UUID, asyncio.Task[SecondLook]] = {}
        self._look_next: dict[UUID, asyncio.Task[SecondLook]] = {}

    async def get(self, id: UUID) -> Endpoint | None:
        """The endpoint, at most a second old; None when there is none of that id."""
        kept = self._cache.get(id)
        if kept and time.monotonic() - kept[0] < STALE_AFTER:
            return kept[1]
        loading = self._loading.get(id)
        if loading is None:
            # a burst at one door reads its row once
            loading = self._loading[id] = asyncio.create_task(self._load_one(id))
        return await asyncio.shield(loading)

    async def _load_one(self, id: UUID) -> Endpoint | None:
        began = time.monotonic()
        mine = asyncio.current_task()
        try:
            found = (await self.load([id])).get(id)
            # strangers may ask for any id, so nothing is kept of those there are none of
            if found is not None and self._loading.get(id) is mine:
                self._cache[id] = (began, found)
            return found
        finally:
            if self._loading.get(id) is mine:
                del self._loading[id]

    async def look_again(self, id: UUID) -> SecondLook:
        """What a request that did not verify may be verified with: the endpoint as it is in the database now, and as
        it was with the secrets that were replaced and are still valid. Requests that ask meanwhile share one look."""
        waiting = self._look_next.get(id)
        if waiting is None:
            waiting = self._look_next[id] = asyncio.create_task(self._look(id, self._looking.get(id)))
        return await asyncio.shield(waiting)

    async def _look(self, id: UUID, before: asyncio.Task[SecondLook] | None) -> SecondLook:
        if before is not None:
            await asyncio.wait([before])  # it may have read before what this request was signed with was stored
        mine = self._looking[id] = self._look_next.pop(id)
        try:
            self.forget(id)
            current = await self.get(id)
            if current is None:
                return SecondLook(None, ())
            ids = [current.id] if current.app_id in (None, current.id) else [current.id, current.app_id]
            async with self._database.read() as connection:
                rows = await retired(connection, ids, self._time.now())
            return SecondLook(current, tuple((row["id"], self._with_retired(current, row)) for row in rows))
        finally:
            if self._looking.get(id) is mine:
                del self._looking[id]

    def _with_retired(self, endpoint: Endpoint, row: Mapping[str, Any]) -> Endpoint:
        secrets = self._vault.unseal(row["secrets"], context(row["id"]))
        endpoint = replace(endpoint, secrets=(*endpoint.secrets, *secret_texts(secrets)))
        if row["endpoint_id"] == endpoint.app_id:
            return replace(endpoint, app_config={**(endpoint.app_config or {}), **secrets})
        return replace(endpoint, config={**(endpoint.config or {}), **secrets})

    async def routed(self, app_id: UUID, account: str) -> UUID | None:
        """The connection of an App that is this account at the provider."""
        kept = self._routes.get((app_id, account))
        if kept and time.monotonic() - kept[0] < STALE_AFTER:
            return kept[1]
        async with self._database.read() as connection:
            row = await fetch_one(
                connection,
                "SELECT id FROM connection WHERE app_id = :app AND account = :account",
                app=app_id,
                account=account,
            )
        found = row["id"] if row else None
        self._routes[(app_id, account)] = (time.monotonic(), found)
        return found

    async def load(self, ids: list[UUID]) -> dict[UUID, Endpoint]:
        """Read connections and Apps fresh."""
        async with self._database.read() as connection:
            rows = await fetch_all(
                connection,
                """
                SELECT c.id, c.role, c.plugin, c.name, false AS is_app,
                       c.version + COALESCE(a.version, 0) + COALESCE(g.generation, 0) AS version,
                       c.app_id, c.brand_id, c.account, c.config, c.secrets, a.config AS app_config,
                       a.secrets AS app_secrets, c.allow_private || COALESCE(a.allow_private, '{}') AS allow_private,
                       c.helpdesk_id, c.history, c.history_days, c.status, c.paused_in, c.paused_out,
                       c.blocked_until, c.created_at, g.state AS consent, g.tokens
                FROM connection c LEFT JOIN app a ON a.id = c.app_id
                     LEFT JOIN authorisation g ON g.connection_id = c.id WHERE c.id = ANY(:ids)
                UNION ALL
                SELECT a.id, 'source', a.plugin, a.name, true, a.version, a.id, a.brand_id, NULL, NULL, NULL, a.config,
                       a.secrets, a.allow_private, NULL, 'none', 0, 'active', false, false, NULL, a.created_at,
                       NULL, NULL
                FROM app a WHERE a.id = ANY(:ids)
                """,
                ids=ids,
            )
        return {row["id"]: self._endpoint(row) for row in rows}

    def _endpoint(self, row: Mapping[str, Any]) -> Endpoint:
        app_config = config = None
        secrets: list[Any] = []
        if row["app_config"] is not None:
            secrets.append(self._vault.unseal(row["app_secrets"], f"app:{row['app_id']}"))
            app_config = {**row["app_config"], **secrets[-1]}
        if row["config"] is not None:
            secrets.append(self._vault.unseal(row["secrets"], f"connection:{row['id']}"))
            config = {**row["config"], **secrets[-1]}
            if row["consent"] is not None:
                fields = fields_of(self._registry.plugin(row["role"], row["plugin"]))
                config = completed(fields, config, open_tokens(self._vault, row["id"], row["tokens"]))
        return Endpoint(
            **{name: row[name] for name in ("id", "role", "plugin", "name", "is_app", "version", "app_id", "brand_id")},
            account=row["account"],
            config=config,
            app_config=app_config,
            allow_private=tuple(row["allow_private"] or ()),
            helpdesk_id=row["helpdesk_id"],
            history=row["history"],
            history_days=row["history_days"],
            status=row["status"],
            paused_in=row["paused_in"],
            paused_out=row["paused_out"],
            blocked_until=row["blocked_until"],
            created_at=row["created_at"],
            secrets=secret_texts(secrets),
        )

    def forget(self, id: UUID) -> None:
        """Drop what is kept of an endpoint after it was changed in this process."""
        self._cache.pop(id, None)
        self._loading.pop(id, None)  # it may have read the row before the change

    def instance(self, endpoint: Endpoint, *, outgoing: Outgoing | None = None) -> Source[Any] | Helpdesk[Any]:
        """The source or helpdesk of an endpoint, made once per version.

        Raises PluginMissing when the plugin is not installed, or is an enricher, and ConfigInvalid when it no longer
        takes the config.
        """
        made = self._instance(endpoint, outgoing)
        if isinstance(made, Enricher):
            raise PluginMissing(f"{endpoint.name} is an enricher: nothing is delivered to it or fetched from it")
        return made

    def enricher(self, endpoint: Endpoint, *, outgoing: Outgoing) -> Enricher[Any]:
        """The enricher of an endpoint. Raises as `instance` does."""
        made = self._instance(endpoint, outgoing)
        if not isinstance(made, Enricher):
            raise PluginMissing(f"{endpoint.name} is no enricher")
        return made

    def _instance(self, endpoint: Endpoint, outgoing: Outgoing | None) -> Connected:
        key = (endpoint.id, endpoint.version)
        if key in self._instances:
            return self._instances[key]
        instance = self.fresh(endpoint, outgoing=outgoing)
        for stale in [old for old in self._instances if old[0] == endpoint.id]:
            del self._instances[stale]
        self._instances[key] = instance
        return instance

    def fresh(self, endpoint: Endpoint, *, outgoing: Outgoing | None = None, door: str | None = None) -> Connected:
        """The plugin for an endpoint, made for one action. Raises as `instance` does."""
        keeps = outgoing is not None and not endpoint.is_app
        http, media, sockets = self._clients(endpoint, outgoing) if outgoing else (None, None, None)
        return build(
            self._registry,
            endpoint,
            self._time,
            http=http,
            media=media,
            sockets=sockets,
            files=self._files if outgoing is not None else None,
            state=DatabaseState(self._database, self._vault, endpoint.id) if keeps else None,
            door=door,
            key_sets=self._key_sets if outgoing else None,
        )

    def _clients(self, endpoint: Endpoint, outgoing: Outgoing) -> tuple[Any, Any, Any]:
        """The HTTP clients of an endpoint: for its API, with its App's budget and its own hosts and nothing else, and
        for downloads, where it names hosts for them; and its connections for other protocols, where it names servers
        for these."""
        from gateway.net.client import Target

        plugin = self._registry.plugin(endpoint.role, endpoint.plugin)
        if plugin is None:
            return None, None, None
        reader = build(self._registry, endpoint, self._time)
        app_config = reader.setup.app
        config = reader.setup.config
        origins = plugin.hosts_of(config, app_config) if config is not None else ()
        allowance = plugin.allowance_of(config, app_config) if config is not None else Allowance()
        key = f"app:{endpoint.app_id}" if endpoint.app_id else f"connection:{endpoint.id}"
        api = outgoing.client(
            Target(
                budget_key=key,
                budgets=plugin.budgets_of(config, app_config) if config is not None else plugin.budgets,
                share=allowance.share,
                allowed_origins=origins,
                allow_private=endpoint.allow_private,
                read_limits=reader.limits_of,
                daily_cost_limit=allowance.daily_usd,
            )
        )
        places = plugin.sockets_of(config, app_config) if config is not None else ()
        sockets = outgoing.sockets(places, endpoint.allow_private) if places else None
        media_hosts = plugin.media_hosts_of(config, app_config) if config is not None else ()
        if not media_hosts:
            return api, None, sockets
        media = outgoing.client(
            Target(
                budget_key=key,
                allowed_origins=media_hosts,
                allow_private=endpoint.allow_private,
                size_limit=self._file_limit,
            )
        )
        return api, media, sockets


def secret_texts(document: Any) -> tuple[str, ...]:
    """The secrets in opened documents that are long enough to be looked for in what is stored."""
    return tuple(one for one in leaves(document) if len(one) >= SHORTEST)


class DatabaseState:
    """A connection's state document, kept on its row and sealed: plugins keep rotated tokens in it."""

    def __init__(self, database: Database, vault: Vault, connection_id: UUID) -> None:
        self._database = database
        self._vault = vault
        self._id = connection_id

    async def load(self) -> dict[str, Any]:
        """The document as last saved."""
        async with self._database.read() as connection:
            row = await fetch_one(connection, "SELECT state FROM connection WHERE id = :id", id=self._id)
        document = self._vault.unseal(row["state"], f"state:{self._id}") if row else {}
        remember_tokens(document)
        return document

    async def save(self, document: Mapping[str, Any]) -> None:
        """Replace the document. Raises ValueError above 64 KiB."""
        sealed = self._sealed(document)
        async with self._database.write() as connection:
            await execute(connection, "UPDATE connection SET state = :state WHERE id = :id", id=self._id, state=sealed)

    async def merge(self, changes: Mapping[str, Any]) -> None:
        """Set single values, None removes one; drains of one connection run side by side, in several processes too.
        Raises ValueError above 64 KiB."""
        async with self._database.write() as connection:
            row = await fetch_one(connection, "SELECT state FROM connection WHERE id = :id FOR UPDATE", id=self._id)
            if row is None:
                return
            merged = {**self._vault.unseal(row["state"], f"state:{self._id}"), **changes}
            sealed = self._sealed({key: value for key, value in merged.items() if value is not None})
            await execute(connection, "UPDATE connection SET state = :state WHERE id = :id", id=self._id, state=sealed)

    def _sealed(self, document: Mapping[str, Any]) -> bytes | None:
        plain = json.loads(as_json(dict(document)))
        remember_tokens(plain)
        if len(as_json(plain)) > 64 * 1024:
            raise ValueError("the state document of a connection may have 64 KiB")
        return self._vault.seal(plain, f"state:{self._id}")


def split_secrets(model: BaseModel) -> tuple[dict[str, Any], dict[str, Any]]:
    """A configuration as two documents: what may be shown, and the secret fields, to be sealed."""
    shown: dict[str, Any] = {}
    secret: dict[str, Any] = {}
    plain = model.model_dump(mode="json")
    for name in type(model).model_fields:
        value = getattr(model, name)
        if _holds_secret(value):
            secret[name] = _reveal(value)
        else:
            shown[name] = plain[name]
    return shown, secret


def _holds_secret(value: Any) -> bool:
    if isinstance(value, SecretStr | SecretBytes):
        return True
    if isinstance(value, BaseModel):
        return any(_holds_secret(item) for _, item in value)
    if isinstance(value, Mapping):
        return any(_holds_secret(item) for item in value.values())
    return isinstance(value, list | tuple | set | frozenset) and any(_holds_secret(item) for item in value)


def _reveal(value: Any) -> Any:
    if isinstance(value, SecretStr):
        return value.get_secret_value()
    if isinstance(value, SecretBytes):
        return value.get_secret_value().decode("utf-8")
    if isinstance(value, BaseModel):
        return {name: _reveal(item) for name, item in value}
    if isinstance(value, Mapping):
        return {key: _reveal(item) for key, item in value.items()}
    if isinstance(value, list | tuple | set | frozenset):
        return [_reveal(item) for item in value]
    return TypeAdapter(Any).dump_python(value, mode="json")
