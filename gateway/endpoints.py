"""One connection or App, and its plugin made from it. No database is needed: the sandbox's child makes plugins too."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any
from uuid import UUID

from pydantic import ValidationError

from gateway.registry import Connected, Registry
from gateway.security.redaction import redacted
from gateway_schemas.plugin import Setup
from gateway_schemas.time import TimeSource

if TYPE_CHECKING:
    from gateway.net.key_sets import KeySets

EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


@dataclass(frozen=True)
class Endpoint:
    """One connection, or one App, with everything needed to make its plugin. Immutable; a change makes a new one."""

    id: UUID
    role: str
    plugin: str
    name: str
    is_app: bool
    version: int
    app_id: UUID | None
    brand_id: UUID | None
    account: str | None
    config: Mapping[str, Any] | None = field(repr=False)
    app_config: Mapping[str, Any] | None = field(repr=False)
    allow_private: tuple[str, ...] = ()
    helpdesk_id: UUID | None = None
    history: str = "record"
    history_days: int = 90
    status: str = "active"
    paused_in: bool = False
    paused_out: bool = False
    blocked_until: datetime | None = None
    created_at: datetime = EPOCH
    secrets: tuple[str, ...] = field(default=(), repr=False)
    """The secrets of both, to be taken out of what is stored."""

    @property
    def scope(self) -> str:
        """Where this connection's external ids are unique, for plugins that declare them unique per account."""
        return f"{self.plugin}:{self.id}"


class PluginMissing(Exception):
    """The connection's plugin is not installed, or is listed as broken (`gateway plugin list`)."""


class ConfigInvalid(Exception):
    """The stored configuration does not fit the plugin's model any more; change the connection."""


def build(
    registry: Registry,
    endpoint: Endpoint,
    now: TimeSource,
    *,
    http: Any = None,
    media: Any = None,
    sockets: Any = None,
    files: Any = None,
    state: Any = None,
    door: str | None = None,
    key_sets: KeySets | None = None,
) -> Connected:
    """Make a plugin instance from stored configuration. Without `key_sets` it has no keys to verify with."""
    plugin = registry.plugin(endpoint.role, endpoint.plugin)
    if plugin is None:
        raise PluginMissing(f"{endpoint.role} plugin {endpoint.plugin!r} is not installed or is broken")
    try:
        config = None if endpoint.config is None else plugin.Config.model_validate(endpoint.config)
        app = None if endpoint.app_config is None else plugin.AppConfig.model_validate(endpoint.app_config)
    except ValidationError as error:
        fields = "; ".join(f"{'.'.join(map(str, e['loc']))}: {e['msg']}" for e in error.errors())
        # not from that error, which quotes the values
        raise ConfigInvalid(redacted(f"{endpoint.plugin}: {fields}")) from None
    return plugin(
        Setup(
            time=now,
            connection_id=None if endpoint.is_app else str(endpoint.id),
            account=endpoint.account,
            config=config,
            app=app,
            http=http,
            media=media,
            sockets=sockets,
            files=files,
            state=state,
            door=door,
            keys=key_sets.view(plugin.key_sets_of(config, app), endpoint.allow_private) if key_sets else {},
        )
    )
