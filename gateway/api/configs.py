"""Plugin configurations over REST: checked by the plugin's own model, secrets sealed on the way in and hidden on the
way
out."""

from __future__ import annotations

import base64
import binascii
import typing
from collections.abc import Collection, Mapping
from datetime import datetime
from typing import Any, Literal
from uuid import UUID

from pydantic import BaseModel, SecretBytes, SecretStr, ValidationError
from sqlalchemy.ext.asyncio import AsyncConnection

from gateway.api.problems import FieldError, Problem, field_errors, invalid, invalid_fields
from gateway.connections import split_secrets
from gateway.db.database import as_json, execute
from gateway.net.addresses import AllowList
from gateway.registry import Connected, Registry
from gateway.runtime import Runtime
from gateway.security.overlap import LONGEST, end, retire
from gateway.security.redaction import redacted, remember
from gateway.security.vault import Vault, VaultError
from gateway_schemas.plugin import NoAppConfig

PluginClass = type[Connected]
SET: dict[str, Any] = {"set": True}
"""How a secret is shown. Given back in a change, it leaves the secret as it is."""


def find_plugin(registry: Registry, name: str, role: str | None = None) -> tuple[str, PluginClass]:
    """The role and class of a plugin for connections. Raises Problem 422, which lists those there are."""
    shelves = registry.connectable()
    found = [(one, shelf[name]) for one, shelf in shelves.items() if name in shelf and role in (None, one)]
    if len(found) == 1:
        return found[0]
    if found:
        raise invalid("role", f"{name} is {' and '.join(one for one, _ in found)}", "say which")
    broken = next((one.error for one in registry.listed if one.name == name and not one.ok), None)
    if broken is not None:
        raise invalid("plugin", f"{name} is broken: {broken}", "GET /v1/plugins lists what is wrong with it")
    known = sorted(one for shelf_role, shelf in shelves.items() if role in (None, shelf_role) for one in shelf)
    raise invalid("plugin", f"there is no plugin {name}", f"known are {', '.join(known) or 'none'}")


def has_app(plugin: PluginClass) -> bool:
    """Whether the plugin's provider registers Apps."""
    return plugin.AppConfig is not NoAppConfig


def validated(model: type[BaseModel], document: Mapping[str, Any], within: str = "config") -> BaseModel:
    """The document as the plugin's model. Raises Problem 422 with the path of each field at fault."""
    try:
        return model.model_validate(dict(document))
    except ValidationError as error:
        found = error.errors(include_input=False, include_url=False)
        # a plugin's own check may quote what it refuses
        remember([document[name] for name in secret_fields(model) if name in document])
        errors = [
            FieldError(field=redacted(one.field), message=redacted(one.message), fix=one.fix)
            for one in field_errors(found, within=(within,), model=model)
        ]
        raise invalid_fields(errors) from None


def sealed(vault: Vault, model: BaseModel, context: str) -> tuple[str, bytes | None]:
    """The two columns of a configuration: what may be shown as JSON, and the sealed secrets."""
    shown, secret = split_secrets(model)
    return as_json(shown), vault.seal(secret, context)


def opened(vault: Vault, sealed: bytes | None, context: str) -> dict[str, Any] | None:
    """The secrets; None when they cannot be opened with this installation's key."""
    try:
        return vault.unseal(sealed, context)
    except VaultError:
        return None


def hidden(config: Mapping[str, Any], secrets: Mapping[str, Any] | None) -> dict[str, Any]:
    """A configuration as it is shown."""
    return {**config, **dict.fromkeys(secrets or (), SET)}


def merged(stored: Mapping[str, Any], change: Mapping[str, Any]) -> dict[str, Any]:
    """A stored configuration with a change on top (RFC 7396): null takes a field away, `{"set": true}` leaves it."""
    found = dict(stored)
    for name, value in change.items():
        if value is None:
            found.pop(name, None)
        elif value == SET and name in stored:
            continue
        elif isinstance(value, dict) and isinstance(found.get(name), dict):
            found[name] = merged(found[name], value)
        else:
            found[name] = value
    return found


def secret_fields(model: type[BaseModel]) -> frozenset[str]:
    """The names of the fields that hold secrets, however deep."""
    return frozenset(name for name, field in model.model_fields.items() if _is_secret(field.annotation))


def _is_secret(annotation: Any) -> bool:
    if isinstance(annotation, type):
        if issubclass(annotation, SecretStr | SecretBytes):
            return True
        if issubclass(annotation, BaseModel):
            return bool(secret_fields(annotation))
    return any(_is_secret(one) for one in typing.get_args(annotation))


def checked_ranges(ranges: list[str]) -> list[str]:
    """A list of private addresses that may be reached. Raises Problem 422."""
    errors = []
    for number, one in enumerate(ranges):
        try:
            AllowList.parse([one])
        except ValueError as error:
            errors.append(FieldError(field=f"allow_private.{number}", message=str(error)))
    if errors:
        raise invalid_fields(errors)
    return ranges


def checked_end(runtime: Runtime, until: datetime | None) -> datetime | None:
    """The time until which replaced secrets stay valid. Raises Problem 422."""
    if until is not None and until > runtime.now() + LONGEST:
        raise invalid("previous_valid_until", f"is more than {LONGEST.days} days from now", "give an earlier time")
    return until


async def retire_replaced(
    connection: AsyncConnection,
    runtime: Runtime,
    row: Mapping[str, Any],
    secrets: bytes | None,
    context: str,
    until: datetime | None,
) -> None:
    """Part of storing a configuration: keep those of the row's secrets that the new ones replace, until then."""
    if until is not None:
        before, after = (opened(runtime.vault, one, context) or {} for one in (row["secrets"], secrets))
        await retire(connection, runtime.vault, row["id"], before, after, until, runtime.now())


async def move_end(
    connection: AsyncConnection, runtime: Runtime, id: UUID, given: BaseModel, until: datetime | None
) -> None:
    """Part of a change of an App or a connection: let what it has retired end when the caller says."""
    if "previous_valid_until" not in given.model_fields_set:
        return
    if "config" not in given.model_fields_set or until is None or until <= runtime.now():
        await end(connection, id, until, runtime.now())


def grant_of(vault: Vault, plugin: str, config: dict[str, Any]) -> str | None:
    """A discovered account's configuration, sealed, so that its secrets pass through the caller's hands unseen."""
    blob = vault.seal(config, f"grant:{plugin}")
    return None if blob is None else base64.urlsafe_b64encode(blob).decode("ascii")


def open_grant(vault: Vault, plugin: str, grant: str) -> dict[str, Any]:
    """What `grant_of` sealed. Raises Problem 422."""
    try:
        return vault.unseal(base64.b64decode(grant, altchars=b"-_", validate=True), f"grant:{plugin}")
    except (VaultError, ValueError, binascii.Error):
        raise invalid("grant", f"is none that /discover gave for {plugin}", "discover again") from None


async def note_fields(
    connection: AsyncConnection,
    table: Literal["app", "connection"],
    id: UUID,
    names: Collection[str],
    *,
    installed: bool = False,
) -> None:
    """Remember, in the caller's transaction, which fields of a configuration install has filled in: the others are
    somebody's own, and stand in files."""
    kept = "SELECT unnest(installed) EXCEPT SELECT unnest(CAST(:names AS text[]))"
    if installed:
        kept = kept.replace("EXCEPT", "UNION")
    await execute(
        connection,
        f"UPDATE {table} SET installed = ARRAY({kept} ORDER BY 1) WHERE id = :id",
        id=id,
        names=sorted(names),
    )


def reported_badly(plugin: str, error: Problem) -> Problem:
    """An install reported values that its own configuration refuses."""
    detail = f"{plugin} was installed but reported values that its configuration refuses: {error.detail}"
    return Problem(502, "plugin-failed", detail, errors=error.errors)
