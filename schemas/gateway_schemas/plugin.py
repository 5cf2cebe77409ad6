"""What sources and helpdesks share: how the host sets one up, and what an install or a check answers."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import timedelta
from decimal import Decimal
from typing import Any, ClassVar, Generic, Literal, Protocol, TypeVar

import httpx2
from pydantic import AwareDatetime, BaseModel, Field

from gateway_schemas.base import Model
from gateway_schemas.errors import Gone, Rejected
from gateway_schemas.files import Downloaded, FileStore, NoFiles
from gateway_schemas.http import call
from gateway_schemas.interaction import Attachment, Interaction, Normalised
from gateway_schemas.limits import Allowance, Budget, LimitReading
from gateway_schemas.oauth import OAuth, OAuthClient, OAuthFields, OAuthTokens
from gateway_schemas.sockets import Sockets
from gateway_schemas.time import TimeSource

CONTRACT = 1
"""The version of this contract. A plugin that names another one is listed as broken."""

C = TypeVar("C", bound=BaseModel)


class NoAppConfig(BaseModel):
    """The App configuration of plugins whose provider registers no applications."""


class StateStore(Protocol):
    """A small JSON document per connection that outlives restarts: cached ids, rotated tokens. At most 64 KiB."""

    async def load(self) -> dict[str, Any]:
        """The document as last saved; empty at first."""

    async def save(self, document: Mapping[str, Any]) -> None:
        """Replace the document."""

    async def merge(self, changes: Mapping[str, Any]) -> None:
        """Set these top-level values, None removes one, and leave the others as other processes set them meanwhile."""


class MemoryState:
    """A state document in memory, for tests of plugins that keep one."""

    def __init__(self) -> None:
        self.document: dict[str, Any] = {}

    async def load(self) -> dict[str, Any]:
        """A copy of the document."""
        return dict(self.document)

    async def save(self, document: Mapping[str, Any]) -> None:
        """Replace it."""
        self.document = dict(document)

    async def merge(self, changes: Mapping[str, Any]) -> None:
        """Set these values; None removes one."""
        merged = {**self.document, **changes}
        self.document = {key: value for key, value in merged.items() if value is not None}


@dataclass(frozen=True, slots=True)
class Probing:
    """How a connection is looked after: how often it is probed, and what one probe costs at most.

    `calls` are requests at the provider, `usd` what it charges for them in US dollars. A connection that is in doubt is
    probed every two minutes until the doubt is settled. 0 for `every`: it is not probed, and only what flows by itself
    speaks of its health.
    """

    every: timedelta = timedelta(minutes=5)
    calls: int = 1
    usd: Decimal = Decimal(0)


@dataclass(frozen=True)
class Setup(Generic[C]):
    """What the host hands a plugin for one connection, or for one App's shared webhook.

    In an App's instance `config` and `account` are None: `verify` and `normalise` of a shared callback have the App's
    configuration only. In the process where pure methods run, `http`, `media`, `sockets`, `files` and `state`
    are None.
    """

    time: TimeSource
    connection_id: str | None = None
    account: str | None = None
    config: C | None = None
    app: BaseModel | None = None
    http: httpx2.AsyncClient | None = None
    media: httpx2.AsyncClient | None = None
    """The client for downloads: it goes to `media_hosts_of` only, and takes larger answers."""
    sockets: Sockets | None = None
    """Connections for protocols other than HTTP, where `sockets_of` names places for them."""
    files: FileStore | None = None
    state: StateStore | None = None
    door: str | None = None
    """The public URL of this connection's (or its App's) door, for `install`."""
    keys: Mapping[str, Any] = field(default_factory=dict)
    """The provider's key sets (JWKS documents) by name, fetched and kept fresh by the host. Look one up anew each time:
    it changes when the provider changes its keys."""


class Plugin(Generic[C]):
    """Base of sources and helpdesks: one instance per connection, no state shared between instances."""

    name: ClassVar[str]
    contract: ClassVar[int] = CONTRACT
    title: ClassVar[str] = ""
    Config: ClassVar[type[BaseModel]]
    AppConfig: ClassVar[type[BaseModel]] = NoAppConfig
    budgets: ClassVar[tuple[Budget, ...]] = ()
    key_sets: ClassVar[Mapping[str, str]] = {}
    """Name and URL of each JWKS document that `verify` needs."""
    oauth: ClassVar[OAuthFields | None] = None
    """Which fields come from connecting the account by OAuth; None: its credentials are entered by hand."""
    probing: ClassVar[Probing] = Probing()
    """How often `probe` is called, and what it costs."""

    def __init__(self, setup: Setup[C]) -> None:
        self.setup = setup

    @property
    def config(self) -> C:
        """The connection's configuration. Raises RuntimeError in an App's instance, which has none."""
        if self.setup.config is None:
            raise RuntimeError(f"{self.name}: an App's shared webhook has no connection's config; use self.setup.app")
        return self.setup.config

    @property
    def http(self) -> httpx2.AsyncClient:
        """The host's client: budgets, time-outs, size cap and SSRF guard are its business, not the plugin's."""
        if self.setup.http is None:
            raise RuntimeError(f"{self.name}: pure methods (verify, normalise, render) may not talk to the network")
        return self.setup.http

    @property
    def media(self) -> httpx2.AsyncClient:
        """The host's client for downloads, without the connection's credentials."""
        if self.setup.media is None:
            raise RuntimeError(f"{self.name}: pure methods (verify, normalise, render) may not talk to the network")
        return self.setup.media

    @property
    def sockets(self) -> Sockets:
        """The host's connections for protocols other than HTTP: guard and deadline are its business."""
        if self.setup.sockets is None:
            raise RuntimeError(f"{self.name}: pure methods (verify, normalise, render) may not talk to the network")
        return self.setup.sockets

    @property
    def files(self) -> FileStore:
        """The host's copies of files; pure methods (verify, normalise, render) may not read them."""
        return self.setup.files or NoFiles()

    @property
    def state(self) -> StateStore:
        """The connection's state document."""
        if self.setup.state is None:
            raise RuntimeError(f"{self.name}: pure methods (verify, normalise, render) may not keep state")
        return self.setup.state

    async def download(self, attachment: Attachment) -> Downloaded:
        """Called soon after an attachment was heard of: its bytes.

        The default gets its URL without credentials, following redirects within `media_hosts_of`. A plugin whose
        provider wants a token, or gives a URL for an id, does so here. Raises Gone when the file is not there any
        more, Rejected when it cannot be had at all.
        """
        if attachment.url is None:
            raise Rejected("the attachment has no address", code="no_address")
        response = await call(
            self.media,
            "GET",
            attachment.url,
            effect=False,
            now=self.setup.time.now(),
            label="an attachment",
            redirects=True,
        )
        if not response.content:
            raise Gone("the attachment is empty", code="empty_file")
        media_type = response.headers.get("content-type", "").partition(";")[0].strip().lower() or None
        return Downloaded(response.content, media_type)

    @classmethod
    def key_sets_of(cls, config: C | None, app: BaseModel | None = None) -> Mapping[str, str]:
        """Called with the config: name and URL of each JWKS document that `verify` needs. `key_sets`, unless the plugin
        finds them elsewhere (a twin)."""
        return cls.key_sets

    def limits_of(self, response: httpx2.Response, bucket: str) -> list[LimitReading]:
        """Called after every answer: what it says of rate limits. The default reads nothing."""
        return []

    @classmethod
    def account_of(cls, config: C) -> str | None:
        """Called when a connection is made or changed: the provider's id of the account it is, from its config."""
        return None

    @classmethod
    def hosts_of(cls, config: C, app: BaseModel | None = None) -> tuple[str, ...]:
        """Called with the config: base URLs this connection talks to. The host lets requests go nowhere else."""
        return ()

    @classmethod
    def sockets_of(cls, config: C, app: BaseModel | None = None) -> tuple[str, ...]:
        """Called with the config: the servers, as `host:port`, that this connection talks to by other protocols than
        HTTP. The host opens connections to no others."""
        return ()

    @classmethod
    def media_hosts_of(cls, config: C, app: BaseModel | None = None) -> tuple[str, ...]:
        """Called with the config: base URLs that files may be fetched from; `https://*.cdn.example` names all hosts
        below. Without any, files are named by their links and not copied."""
        return ()

    @classmethod
    def budgets_of(cls, config: C, app: BaseModel | None = None) -> tuple[Budget, ...]:
        """Called with the config: the provider's rate limits, where they go by a plan or tier. Else `budgets`."""
        return cls.budgets

    @classmethod
    def allowance_of(cls, config: C, app: BaseModel | None = None) -> Allowance:
        """Called with the config: how much of the provider's limits, and of the budget of money, we may use."""
        return Allowance()

    @classmethod
    def oauth_of(cls, config: C, app: BaseModel | None = None) -> OAuth | None:
        """Called when an account is connected and when its token is renewed: where and how. Fields that `oauth` names
        may still hold what stands in for them. None: this one cannot be connected by OAuth."""
        return None

    async def oauth_client(self, redirect_uri: str) -> OAuthClient:
        """Called before an account is connected where `oauth_of` names no client: have the server register one.

        The host keeps it with the connection and asks again only for another redirect URI. Raises GatewayError.
        """
        raise Rejected("this provider registers clients by hand: enter the App's client id", code="no_client")

    async def oauth_granted(self, tokens: OAuthTokens) -> OAuthTokens:
        """Called with what the code was exchanged for, before it is kept: a provider whose first token is short-lived
        gives the lasting one here (Meta). The instance has that token in its config. Raises GatewayError."""
        return tokens

    async def oauth_renewed(self, tokens: OAuthTokens) -> OAuthTokens:
        """Called when a token is due where `renewal` is `plugin`: its successor. Raises GatewayError; Reauthorise ends
        the consent."""
        raise Rejected("this provider's tokens are not renewed", code="not_renewed")

    @classmethod
    def probing_of(cls, config: C, app: BaseModel | None = None) -> Probing:
        """Called with the config: how often to probe, and at what cost, where that goes by a setting. Else
        `probing`."""
        return cls.probing


class Step(Model):
    """One thing that an install does, or would do."""

    action: Literal["create", "update", "keep", "delete", "ask"]
    what: str
    detail: str = ""


class InstallReport(Model):
    """What `install` did. `config` holds values to merge into the connection's config (webhook ids, signing
    secrets)."""

    steps: tuple[Step, ...] = ()
    config: dict[str, Any] = Field(default_factory=dict)
    app_config: dict[str, Any] = Field(default_factory=dict)


class HealthFinding(Model):
    """One thing that is wrong or will be, and the mend."""

    severity: Literal["info", "warning", "error"]
    code: str
    message: str
    mend: str
    concern: Literal["access", "push", "stream", "read", "other"] = "other"
    """What it keeps from working: everything, what the provider pushes to our door, its stream, or polling. The host
    alarms by errors, but not by those about push where nothing was installed at the provider, nor by a helpdesk's
    others."""
    at: AwareDatetime | None = None
    """Of what will be wrong: from when on. The end of a token, say."""


class Newest(Model):
    """One of the newest things at the provider, by which the host sees whether it has all."""

    external_id: str
    """As `normalise` names the interaction."""
    at: AwareDatetime
    """When it became visible there."""


def newest_of(items: Iterable[Normalised], most: int = 10) -> tuple[Newest, ...]:
    """The newest inbound interactions of a page that a probe read and had normalised."""
    found = [one for one in items if isinstance(one, Interaction) and one.direction == "inbound"]
    found.sort(key=lambda one: one.visible_at or one.published_at, reverse=True)
    return tuple(Newest(external_id=one.external_id, at=one.visible_at or one.published_at) for one in found[:most])


class Health(Model):
    """The answer of `check` and of `probe`."""

    ok: bool
    findings: tuple[HealthFinding, ...] = ()
    newest: tuple[Newest, ...] = ()
    """Of `probe`: a few of the newest things that polling has to bring, and that the gateway would record."""


class AccountRef(Model):
    """An account that the credentials can act for, offered by `discover`."""

    external_id: str
    name: str
    handle: str | None = None
    config: dict[str, Any] = Field(default_factory=dict)
