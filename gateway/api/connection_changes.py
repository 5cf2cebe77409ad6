"""Making and changing connections in the caller's transaction: for the REST API, for consents and for files alike."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any, Literal
from uuid import UUID

from pydantic import AwareDatetime, BaseModel, Field
from sqlalchemy.ext.asyncio import AsyncConnection

from gateway.api.configs import (
    PluginClass,
    checked_end,
    checked_ranges,
    find_plugin,
    merged,
    move_end,
    note_fields,
    open_grant,
    opened,
    retire_replaced,
    validated,
)
from gateway.api.lookup import app_of, brand_of, helpdesk_of
from gateway.api.models import Input, Name, Reference
from gateway.api.problems import conflict, invalid
from gateway.connections import split_secrets
from gateway.db.database import Row, as_json, execute, fetch_one
from gateway.db.tables.columns import new_id
from gateway.health.probe import look_soon
from gateway.oauth.stored import account_known, by_hand, completed, fields_of, make_row
from gateway.pipeline.poll import make_cursors
from gateway.runtime import Runtime
from gateway.security.vault import Vault
from gateway.sla.clocks import disown
from gateway_schemas.oauth import OAuthFields

Role = Literal["source", "helpdesk", "enricher"]
IDENTIFIER = re.compile(r"[a-z][a-z0-9_]{0,62}")
History = Literal["none", "record", "tickets"]
SlaOwner = Literal["gateway", "helpdesk", "none"]


class NewConnection(Input):
    """A connection to be made."""

    plugin: Name
    """The name of a source, helpdesk or enricher plugin (GET /v1/plugins)."""
    name: Name
    """Unique among sources, among helpdesks, and among enrichers. Conditions call an enricher's facts by it:
    `facts.loyalty.tier`."""
    role: Role | None = None
    """Follows from the plugin; needed only where plugins of two roles share a name."""
    app: Reference | None = None
    """The App that owns it, by id or name, where the provider registers Apps."""
    brand: Reference | None = None
    """A brand's id or name; null for all brands."""
    config: dict[str, Any] = Field(default_factory=dict)
    """As `config_schema` of the plugin says."""
    by_oauth: bool = False
    """Its account is connected afterwards, by `/authorize`: its credentials, and what says which account it is, may be
    left out."""
    grant: str | None = Field(default=None, max_length=20_000)
    """What `/discover` gave for an account: its configuration, `config` comes on top."""
    helpdesk: Reference | None = None
    """For a source: the helpdesk connection, by id or name, that gets its tickets."""
    history: History = "record"
    """What becomes of what was there before the connection: not read, recorded, or made into tickets."""
    history_days: int = Field(default=90, ge=0, le=3650)
    sla_owner: SlaOwner = "gateway"
    """Whose clocks count. Where they are the helpdesk's, the gateway runs none of its own for first and next responses
    and resolutions; `none` runs none at all. A ticket goes by both of its connections, the source and the helpdesk."""
    health_ticket: bool = False
    """For a source with a helpdesk: whether a ticket there tells of it while news does not reach us."""
    allow_private: list[str] = Field(default=[], max_length=50)
    """Private addresses that its requests may go to: `10.1.0.0/16`, `tickets.internal:8443`."""


class ConnectionChange(Input):
    """A change of a connection. What is left out stays as it is."""

    name: Name | None = None
    brand: Reference | None = None
    config: dict[str, Any] | None = None
    """Merged into the stored configuration: null takes a field away; secrets left out stay."""
    previous_valid_until: AwareDatetime | None = None
    """Until when webhooks signed with secrets that are replaced are accepted as well, 30 days at most. Without it the
    new secrets count alone, at once. Without `config` it moves the end of those replaced before; null, or a time that
    has passed, ends them now."""
    helpdesk: Reference | None = None
    history: History | None = None
    history_days: int | None = Field(default=None, ge=0, le=3650)
    sla_owner: SlaOwner | None = None
    """With another owner than the gateway, the clocks that run are cancelled."""
    health_ticket: bool | None = None
    """From the next alarm on."""
    allow_private: list[str] | None = Field(default=None, max_length=50)


async def add_connection(connection: AsyncConnection, runtime: Runtime, given: NewConnection) -> tuple[Row, set[str]]:
    """Make a connection in the caller's transaction: its row, and the drains to wake after the commit. Raises Problem
    409 and 422."""
    role, plugin = find_plugin(runtime.registry, given.plugin, given.role)
    check_name(role, given.name)
    if role != "source" and given.helpdesk is not None:
        raise invalid("helpdesk", "only a source has a helpdesk", "leave it out")
    document = given.config
    if given.grant is not None:
        document = merged(open_grant(runtime.vault, given.plugin, given.grant), document)
    fields = fields_of(plugin)
    if given.by_oauth:
        if fields is None:
            raise invalid("by_oauth", f"{given.plugin} connects no accounts by OAuth", "enter the credentials")
        if by_hand(fields, document):
            raise invalid("config", "holds credentials, which OAuth is to bring", "leave out either")
    config, stored, account = _checked(plugin, document, fields if given.by_oauth else None)
    id, now = new_id(), runtime.now()
    shown, secrets = _split(runtime.vault, config, f"connection:{id}", stored)
    app = await app_of(connection, given.app, given.plugin)
    check_app(plugin, given.plugin, app is not None)
    row = await fetch_one(
        connection,
        """INSERT INTO connection (id, role, plugin, name, brand_id, app_id, account, config, secrets,
               allow_private,
               helpdesk_id, history, history_days, sla_owner, health_ticket, status, paused_in, paused_out,
               failures, state,
               version,
               created_at, updated_at)
           VALUES (:id, :role, :plugin, :name, :brand, :app, :account, CAST(:config AS jsonb), :secrets, :private,
               :helpdesk, :history, :history_days, :sla_owner, :health_ticket, :status, false, false,
               0, NULL, 1, :now, :now)
           ON CONFLICT DO NOTHING RETURNING *""",
        id=id,
        role=role,
        plugin=given.plugin,
        name=given.name,
        brand=await brand_of(connection, given.brand),
        app=app["id"] if app is not None else None,
        account=account,
        config=shown,
        secrets=secrets,
        private=checked_ranges(given.allow_private),
        helpdesk=await helpdesk_of(connection, given.helpdesk),
        history=given.history,
        history_days=given.history_days,
        sla_owner=given.sla_owner,
        health_ticket=given.health_ticket,
        status="needs_authorisation" if given.by_oauth else "active",
        now=now,
    )
    if row is None:
        raise await _collision(connection, role, given.name, account)
    if streams := runtime.registry.streams(role, given.plugin):
        await make_cursors(connection, id, streams, now)
    if given.by_oauth:
        await make_row(connection, id)
    return row, drains_of(role, id, streams)


async def alter_connection(
    connection: AsyncConnection,
    runtime: Runtime,
    row: Row,
    given: ConnectionChange,
    *,
    config: Mapping[str, Any] | None = None,
) -> None:
    """Change a connection in the caller's transaction; `config` takes the place of the whole configuration. Raises
    Problem 409 and 422."""
    until = checked_end(runtime, given.previous_valid_until)
    role = find_plugin(runtime.registry, row["plugin"], row["role"])[0]
    if given.name is not None:
        check_name(role, given.name)
    if role != "source" and given.helpdesk is not None:
        raise invalid("helpdesk", "only a source has a helpdesk", "leave it out")
    if given.name not in (None, row["name"]) and await _taken(connection, role, given.name, row["id"]):
        raise conflict(f"There is a {role} connection {given.name} already.", field="name")
    clears = given.model_fields_set
    values: dict[str, Any] = {
        "name": given.name or row["name"],
        "brand": await brand_of(connection, given.brand) if "brand" in clears else row["brand_id"],
        "helpdesk": await helpdesk_of(connection, given.helpdesk) if "helpdesk" in clears else row["helpdesk_id"],
        "private": row["allow_private"] if given.allow_private is None else checked_ranges(given.allow_private),
        **{
            name: row[name] if getattr(given, name) is None else getattr(given, name)
            for name in ("history", "history_days", "sla_owner", "health_ticket")
        },
    }
    await execute(
        connection,
        """UPDATE connection SET name = :name, brand_id = :brand, helpdesk_id = :helpdesk, allow_private = :private,
               history = :history, history_days = :history_days, sla_owner = :sla_owner,
               health_ticket = :health_ticket, version = version + :step,
               updated_at = :now WHERE id = :id""",
        id=row["id"],
        now=runtime.now(),
        step=1 if given.config is None and config is None else 0,
        **values,
    )
    if given.sla_owner not in (None, "gateway", row["sla_owner"]):
        await disown(connection, row["id"], given.sla_owner, runtime.now())
    if config is not None:
        await write_config(connection, runtime, row, config)
    elif given.config is not None:
        await merge_config(connection, runtime, row, given.config, until=until)
        await note_fields(connection, "connection", row["id"], given.config)
    await move_end(connection, runtime, row["id"], given, until)


async def merge_config(
    connection: AsyncConnection,
    runtime: Runtime,
    row: Mapping[str, Any],
    change: Mapping[str, Any],
    *,
    until: datetime | None = None,
) -> None:
    """Merge a change into a connection's configuration, in the caller's transaction; secrets it replaces are accepted
    at the door until then.

    The connection is active again: the next call shows whether it works now. One that goes by OAuth is so only if its
    consent stands and it is known which account it is. Credentials that somebody enters take the consent's place.
    Raises Problem 422.
    """
    stored = {**row["config"], **(opened(runtime.vault, row["secrets"], f"connection:{row['id']}") or {})}
    await write_config(connection, runtime, row, merged(stored, change), until=until)


async def write_config(
    connection: AsyncConnection,
    runtime: Runtime,
    row: Mapping[str, Any],
    document: Mapping[str, Any],
    *,
    until: datetime | None = None,
) -> None:
    """Store a connection's whole configuration, in the caller's transaction, as `merge_config` does."""
    _, plugin = find_plugin(runtime.registry, row["plugin"], row["role"])
    context = f"connection:{row['id']}"
    fields, consent = fields_of(plugin), await _consent(connection, row["id"])
    if fields is not None and consent is not None and by_hand(fields, document) and consent["has"]:
        await execute(connection, "DELETE FROM authorisation WHERE connection_id = :id", id=row["id"])
        consent = None
    oauth = fields if fields is not None and consent is not None and not by_hand(fields, document) else None
    config, kept, account = _checked(plugin, document, oauth)
    if account != row["account"] and row["app_id"] is not None:
        other = await fetch_one(
            connection,
            "SELECT name FROM connection WHERE app_id = :app AND account = :account AND id <> :id",
            app=row["app_id"],
            account=account,
            id=row["id"],
        )
        if other is not None:
            raise conflict(f"The account {account} is connected already, as {other['name']}.", field="config")
    shown, secrets = _split(runtime.vault, config, context, kept)
    await retire_replaced(connection, runtime, row, secrets, context, until)
    works = await may_work(connection, runtime, row["id"], row["role"], row["plugin"], document)
    await execute(
        connection,
        """UPDATE connection SET config = CAST(:config AS jsonb), secrets = :secrets, account = :account,
               status = CASE WHEN :works THEN 'active' ELSE status END,
               status_reason = CASE WHEN :works THEN NULL ELSE status_reason END,
               version = version + 1, updated_at = :now WHERE id = :id""",
        works=works,
        id=row["id"],
        config=shown,
        secrets=secrets,
        account=account,
        now=runtime.now(),
    )
    await look_soon(connection, row["id"], runtime.now())


async def may_work(
    connection: AsyncConnection, runtime: Runtime, id: UUID, role: str, plugin: str, config: Mapping[str, Any]
) -> bool:
    """Whether a connection with this stored configuration has what its calls need, as far as is known here."""
    fields, consent = fields_of(runtime.registry.plugin(role, plugin)), await _consent(connection, id)
    if fields is None or consent is None or (not consent["has"] and by_hand(fields, config)):
        return True
    return consent["state"] == "granted" and account_known(fields, config)


async def _consent(connection: AsyncConnection, id: UUID) -> Row | None:
    return await fetch_one(
        connection, "SELECT state, tokens IS NOT NULL AS has FROM authorisation WHERE connection_id = :id", id=id
    )


def _checked(
    plugin: PluginClass, document: Mapping[str, Any], fields: OAuthFields | None
) -> tuple[BaseModel, frozenset[str], str | None]:
    """A configuration as its plugin's model, the fields of it to keep, and the account it is, where that is known.

    With `fields` it is one that goes by OAuth: for what is not known yet something stands in that is not kept.
    """
    whole = completed(fields, document, None)
    config = validated(plugin.Config, whole)
    ours = (fields.token, *fields.account) if fields is not None else ()
    invented = {name for name in ours if document.get(name) is None}
    known = fields is None or account_known(fields, document)
    return config, frozenset(type(config).model_fields) - invented, plugin.account_of(config) if known else None


def _split(vault: Vault, config: BaseModel, context: str, kept: frozenset[str]) -> tuple[str, bytes | None]:
    shown, secret = split_secrets(config)
    return (
        as_json({name: value for name, value in shown.items() if name in kept}),
        vault.seal({name: value for name, value in secret.items() if name in kept}, context),
    )


def check_name(role: str, name: str) -> None:
    """Raise Problem 422 where conditions could not say the name of an enricher."""
    if role == "enricher" and not IDENTIFIER.fullmatch(name):
        raise invalid(
            "name",
            f"conditions could not say facts.{name}",
            "lower-case letters, digits, underscores: loyalty, crm_2",
        )


def check_app(plugin: PluginClass, name: str, given: bool) -> None:
    """Raise Problem 422 where the plugin's connections need an App and none is given."""
    needed = sorted(field for field, info in plugin.AppConfig.model_fields.items() if info.is_required())
    if needed and not given:
        raise invalid("app", f"{name} needs an App ({', '.join(needed)})", "POST /v1/apps makes one")


def drains_of(role: str, id: UUID, streams: Sequence[str]) -> set[str]:
    """The drains that have work when a connection comes or comes back."""
    kinds = {"source": ("fetch", "reply", "send"), "helpdesk": ("fetch", "push"), "enricher": ("enrich",)}[role]
    return {*(f"{kind}:{id}" for kind in kinds), *(f"poll:{id}:{stream}" for stream in streams)}


async def _taken(connection: AsyncConnection, role: str, name: str | None, id: UUID) -> bool:
    row = await fetch_one(
        connection,
        "SELECT 1 FROM connection WHERE role = :role AND name = :name AND id <> :id",
        role=role,
        name=name,
        id=id,
    )
    return row is not None


async def _collision(connection: AsyncConnection, role: str, name: str, account: str | None) -> Exception:
    row = await fetch_one(
        connection, "SELECT 1 FROM connection WHERE role = :role AND name = :name", role=role, name=name
    )
    if row is not None:
        return conflict(f"There is a {role} connection {name} already.", field="name")
    return conflict(f"The account {account} of this App is connected already.", field="config")
