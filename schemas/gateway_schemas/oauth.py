"""How a provider lets its accounts be connected by OAuth 2 (RFC 6749, PKCE by RFC 7636): what a plugin declares.

The host does the rest: it sends the person to the provider with a `state` of its own, takes the code, keeps the tokens
encrypted and apart from the configuration, hands the plugin the access token in the field that it names, and renews it
before it ends, one process at a time. A plugin whose provider does it by the book gives a declaration and no code.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any, Literal

from pydantic import SecretStr

ClientAuthentication = Literal["basic", "post", "json", "none"]
Renewal = Literal["refresh_token", "plugin", "none"]


@dataclass(frozen=True)
class OAuthFields:
    """Which fields of a connection's configuration come from connecting its account."""

    token: str
    """The field that holds the access token. The host fills it and renews what is in it."""
    replaces: tuple[str, ...] = ()
    """Other credentials that may have been entered by hand: they are dropped once the account is connected."""
    account: Mapping[str, Any] = field(default_factory=dict)
    """Fields that `discover` finds, each with a value that stands in for it until the account is connected. Nothing is
    asked of the provider before; they only let the rest of the configuration be checked."""


@dataclass(frozen=True)
class OAuth:
    """Where and how one connection's account is authorised."""

    authorise_url: str
    """Where the person is sent."""
    token_url: str
    """Where the code, and later the refresh token, is exchanged."""
    scopes: tuple[str, ...]
    client_id: str | None = None
    """The App's client id. None: this server has to be asked for one first, by the plugin's `oauth_client`."""
    client_secret: SecretStr | None = None
    """None for public clients, which have PKCE only."""
    revoke_url: str | None = None
    """Where a token is given back (RFC 7009), if the provider has such an address."""
    pkce: bool = True
    client_authentication: ClientAuthentication = "basic"
    """How the client proves itself at the token endpoint: HTTP Basic, in the form, in a JSON body (then all parameters
    travel in it), or by its id alone."""
    method: Literal["POST", "GET"] = "POST"
    """How the code is exchanged. Meta documents GET."""
    scope_separator: str = " "
    authorise_parameters: Mapping[str, str] = field(default_factory=dict)
    """More for the address that the person is sent to: `prompt`, `access_type`."""
    token_parameters: Mapping[str, Any] = field(default_factory=dict)
    """More for the token endpoint, with the code and with refresh tokens."""
    access_life: timedelta | None = None
    """How long an access token lives where the answer does not say; None: it does not end."""
    refresh_life: timedelta | None = None
    """How long a refresh token lives where the answer does not say; None: until it is withdrawn."""
    renewal: Renewal = "refresh_token"
    """By a refresh token, where one was given; by the plugin's `oauth_renewed`; or not at all."""
    rotates: bool = False
    """Whether each refresh token is good for one use: the next one comes with the answer."""
    refused: frozenset[str] = frozenset({"invalid_grant"})
    """The error codes of the token endpoint by which the provider says that the consent is over."""


@dataclass(frozen=True)
class OAuthClient:
    """A client that a server has registered for this gateway."""

    client_id: str
    client_secret: SecretStr | None = None


@dataclass(frozen=True)
class OAuthTokens:
    """What a provider gave for an account."""

    access: SecretStr
    refresh: SecretStr | None = None
    expires_in: timedelta | None = None
    """How long the access token lives; None: it does not end, as far as is known."""
    refresh_expires_in: timedelta | None = None
    scopes: tuple[str, ...] | None = None
    """What was granted, where the provider says so; a person may have left something out."""
