"""Everything an operator can set, from the environment (`GATEWAY_*`) or an `.env` file."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Annotated, Any, Literal, Self
from urllib.parse import urlsplit

from pydantic import Field, SecretStr, field_validator, model_validator
from pydantic_settings import BaseSettings, NoDecode, SettingsConfigDict

from gateway.net.addresses import AllowList
from gateway.security.roles import Role

IN_FILES = ("database_url", "bootstrap_key", "secret_key")
"""Settings that a file may hold, which the setting of the same name with `_file` names."""


def default_data_dir() -> Path:
    """`~/.local/share/helpdesk-gateway`, or XDG_DATA_HOME's."""
    base = os.environ.get("XDG_DATA_HOME") or os.path.join(os.path.expanduser("~"), ".local", "share")
    return Path(base) / "helpdesk-gateway"


class Settings(BaseSettings):
    """Read once at start and handed around in the runtime; nothing reads the environment later."""

    model_config = SettingsConfigDict(
        env_prefix="GATEWAY_", env_file=".env", extra="ignore", frozen=True, hide_input_in_errors=True
    )

    environment: Literal["development", "production"] | None = None
    """In production the gateway starts only with a secret key that nobody else knows. Without this setting it is
    production as soon as it listens, is called, or keeps its data beyond this machine."""

    data_dir: Path = Field(default_factory=default_data_dir)
    """Where the embedded PostgreSQL, the generated secret key and files live."""
    database_url: SecretStr | None = None
    """Any PostgreSQL 15 or newer; without it the gateway runs its own."""
    database_url_file: Path | None = None
    """A file that holds the database's URL."""
    host: str = "127.0.0.1"
    port: int = 8080
    public_url: str | None = None
    """How providers reach the door from outside, for installs: https://gateway.example.com"""
    bootstrap_key: SecretStr | None = None
    """Becomes an API key with all scopes at the first start."""
    bootstrap_key_file: Path | None = None
    """A file that holds it."""
    secret_key: SecretStr | None = None
    """32 bytes in base64: encrypts secrets at rest. In development one is made in the data folder without it. While it
    is being replaced, several, separated by commas: the first encrypts, all of them decrypt."""
    secret_key_file: Path | None = None
    """A file that holds them, one a line."""
    plugin_modules: Annotated[tuple[str, ...], NoDecode] = ()
    """For development: modules to load as plugins besides the installed ones, comma-separated, where Python finds
    them (`GATEWAY_PLUGIN_MODULES=my_source,my_policies PYTHONPATH=.`). Every process of the gateway loads them."""
    time_file: Path | None = None
    """Shared virtual time, for demos and replays."""
    workers: int = Field(default=1, ge=0)
    """Worker processes that `serve` supervises."""
    concurrency: int = Field(default=24, ge=1)
    """Drains that one worker runs side by side."""
    batch: int = Field(default=500, ge=1)
    """The most items a station takes at once."""
    files_url: str | None = None
    """Where copies of attachments are kept: `s3://bucket/prefix` (any S3-compatible store; credentials and endpoint
    from the AWS_* variables), `gs://`, `az://` or `file:///folder`. Without it: the folder `files` in the data
    folder."""
    file_limit: int = 25 * 1024 * 1024
    """The largest attachment in bytes that is copied; larger ones are named by their links."""
    file_patience: float = Field(default=20.0, ge=0)
    """Seconds that a message waits for its attachments before it goes to the helpdesk without them."""
    body_limit: int = 4 * 1024 * 1024
    """The largest webhook body in bytes; larger ones are refused with 413 and counted."""
    body_seconds: float = Field(default=60.0, gt=0)
    """Seconds that a webhook's body may take to arrive; slower ones are refused with 408 and counted."""
    call_timeout: float = Field(default=10.0, gt=0)
    """Seconds that one call to a provider may take in all."""
    lease_seconds: float = Field(default=10.0, gt=0)
    pure_deadline: float = Field(default=5.0, gt=0)
    """Seconds after which plugin code that should be quick (normalise, render, policies) is killed."""
    reply_ttl_hours: float = Field(default=24.0, gt=0)
    """A reply that could not be sent for this long is not sent without a person's word."""
    default_policies: bool = True
    """Whether each installed policy type is put into force with its defaults when it is met for the first time."""
    mass_replies: int = Field(default=0, ge=0)
    """From this many near-identical answers to different customers within `mass_reply_minutes` on, they wait together
    for one approval, whatever the policies say; 0: the policy `mass_reply` decides."""
    mass_reply_minutes: float = Field(default=60.0, gt=0)
    mass_reply_pace: float = Field(default=2.0, ge=0)
    """Seconds between two answers of an approved group."""
    ancestor_wait: float = 20.0
    """Seconds that a message waits for the post it answers to be fetched."""
    ancestor_depth: int = Field(default=25, ge=0)
    """How often a conversation's next older posts are fetched on the way up to its beginning. A longer one begins, for
    its ticket, with the oldest post fetched, whose link leads to the rest."""
    max_in_flight: int = Field(default=8, ge=1)
    """Calls at once to one connection."""
    digest_above: int = Field(default=3, ge=1)
    """More pending messages than this on one ticket travel as one digest comment."""
    hold_share: float = Field(default=0.5, gt=0, le=1)
    """Policies of manners only warn while they hold more than this share of the replies of `hold_window` minutes."""
    hold_window: int = Field(default=60, ge=1)
    hold_least: int = Field(default=20, ge=1)
    """Fewer replies than this in the window say nothing about shares."""
    event_timeout: float = Field(default=15.0, gt=0)
    """Seconds that a subscriber may take to answer a webhook."""
    event_days: int = Field(default=30, ge=1)
    """How long events are kept for looking up and replaying."""
    keep_deliveries_days: int = Field(default=90, ge=0)
    """Days that raw deliveries are kept, for replays; those that failed as long again. 0: for good. Here and below,
    what belongs to an open matter stays."""
    keep_attachments_days: int = Field(default=365, ge=0)
    """Days that copies of files are kept."""
    keep_texts_days: int = Field(default=1095, ge=0)
    """Days that texts of messages, answers and notes are kept; when and how they were dealt with stays."""
    keep_evidence_days: int = Field(default=365, ge=0)
    """Days that decisions keep their quotes and their case, with which they can be made again."""
    rate_limit: int = Field(default=6000, ge=0)
    """Requests a minute that one caller may send to each process that serves, where its API key says nothing else; 0:
    no limit. The providers' door has none."""
    oidc_issuer: str | None = None
    """The company's OpenID Connect provider, exactly as it names itself: https://login.example.com/realms/company.
    Its tokens then open the REST API, as API keys do."""
    oidc_audience: Annotated[tuple[str, ...], NoDecode] = ()
    """For whom tokens must have been made (`aud`), comma-separated; one of them is enough."""
    oidc_role_claim: str = Field(default="roles", min_length=1)
    """The claim that says what somebody may do: its name, or the path to it (`realm_access.roles`)."""
    oidc_roles: dict[str, tuple[Role, ...]] = {}
    """What the claim's values mean here, as JSON: `{"support": ["agent"], "support-leads": ["approver"]}`."""
    oidc_leeway: float = Field(default=60.0, ge=0, le=300)
    """Seconds that the provider's clock may be from ours."""
    oidc_trust_email: bool = False
    """Whether the claim `email` counts where the provider does not say `email_verified`: only for a provider whose
    people cannot choose their address."""
    oidc_allow_private: Annotated[tuple[str, ...], NoDecode] = ()
    """Private addresses where the provider may be: `10.1.0.0/16`, `login.internal:8443`, comma-separated."""
    log_level: str = "INFO"
    log_format: Literal["text", "json"] = "text"
    """How log lines look: for people, or one JSON object each."""
    traces_url: str | None = None
    """An OpenTelemetry collector that takes OTLP over HTTP, as `http://collector:4318/v1/traces`. Needs the extra
    `traces`: `pip install "helpdesk-gateway[traces]"`."""
    traces_headers: SecretStr | None = None
    """What the collector wants to be sent along: `authorization=Bearer …`, several with commas between them."""

    @model_validator(mode="before")
    @classmethod
    def _read_files(cls, given: Any) -> Any:
        """A secret may stand in a file, as container platforms and systemd hand them out."""
        if not isinstance(given, dict):
            return given
        given = dict(given)
        for name in IN_FILES:
            file = given.get(f"{name}_file")
            if not file:
                given.pop(f"{name}_file", None)
                continue
            variable = f"GATEWAY_{name.upper()}"
            if given.get(name):
                raise ValueError(f"{variable} and {variable}_FILE are both set: leave one out")
            try:
                text = Path(file).read_text("utf-8").strip()
            except (OSError, UnicodeDecodeError) as error:
                raise ValueError(f"{variable}_FILE: {file} cannot be read: {type(error).__name__}") from None
            if not text:
                raise ValueError(f"{variable}_FILE: {file} is empty")
            given[name] = text
        return given

    @field_validator("oidc_roles", mode="before")
    @classmethod
    def _several(cls, value: Any) -> Any:
        """One role needs no list."""
        if not isinstance(value, dict):
            return value
        return {name: [roles] if isinstance(roles, str) else roles for name, roles in value.items()}

    @model_validator(mode="after")
    def _whole(self) -> Self:
        """An issuer alone lets nobody in, or everybody."""
        if self.oidc_issuer is None:
            return self
        parts = urlsplit(self.oidc_issuer)
        here = parts.hostname in ("localhost", "127.0.0.1", "::1")
        if not parts.hostname or not (parts.scheme == "https" or (parts.scheme == "http" and here)):
            raise ValueError("GATEWAY_OIDC_ISSUER: an https address is needed, as the provider names itself")
        if parts.query or parts.fragment or parts.username:
            raise ValueError("GATEWAY_OIDC_ISSUER: an issuer has no query, fragment or user")
        if not self.oidc_audience:
            raise ValueError("GATEWAY_OIDC_AUDIENCE: say for whom tokens must have been made")
        if not self.oidc_roles:
            known = ", ".join(Role)
            raise ValueError(f"GATEWAY_OIDC_ROLES: say which roles the claim's values mean; there are {known}")
        try:
            AllowList.parse(self.oidc_allow_private)
        except ValueError as error:
            raise ValueError(f"GATEWAY_OIDC_ALLOW_PRIVATE: {error}") from None
        return self

    @field_validator("plugin_modules", "oidc_audience", "oidc_allow_private", mode="before")
    @classmethod
    def _split(cls, value: Any) -> Any:
        """One line of the environment names several."""
        return tuple(filter(None, map(str.strip, value.split(",")))) if isinstance(value, str) else value
