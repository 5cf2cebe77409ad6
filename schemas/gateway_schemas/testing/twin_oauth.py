"""The part of an authorisation server that providers have in common (RFC 6749, 7636), for their twins.

    server = AuthorisationServer(time, client_id="twin-client", client_secret="twin-secret")
    server.person = "AcmeSupport"          # who is signed in there, in the browser that is sent to `authorise`
    server.decline = True                  # … and presses Cancel

Each twin has its provider's own addresses, tokens and errors around it: it catches `OAuthRefusal` and answers as the
provider does.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac
import secrets
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Literal
from urllib.parse import parse_qsl, unquote, urlencode, urlsplit

from starlette.requests import Request
from starlette.responses import PlainTextResponse, RedirectResponse, Response

from gateway_schemas.time import TimeSource

Pkce = Literal["required", "optional", "unknown"]


class OAuthRefusal(Exception):
    """The token endpoint refuses; `error` is OAuth's code for it (RFC 6749, 5.2)."""

    def __init__(self, error: str) -> None:
        super().__init__(error)
        self.error = error


@dataclass
class Grant:
    """What a code stands for."""

    person: str
    scopes: tuple[str, ...]
    redirect_uri: str
    challenge: str | None
    until: datetime
    used: bool = False


class AuthorisationServer:
    """Who is signed in, and the codes that were given out."""

    def __init__(
        self,
        time: TimeSource,
        *,
        client_id: str,
        client_secret: str,
        pkce: Pkce = "required",
        code_life: timedelta = timedelta(minutes=10),
        separator: str = " ",
    ) -> None:
        self.time = time
        self.clients = {client_id: client_secret}
        """Ids and secrets of the clients that are registered."""
        self.redirect_uris: set[str] | None = None
        """Where people may be sent back to; None: anywhere."""
        self.pkce: Pkce = pkce
        self.code_life = code_life
        self.separator = separator
        self.person: str | None = None
        """Who is signed in, in the browser that comes."""
        self.decline = False
        """Whether they press Cancel."""
        self.withheld: set[str] = set()
        """Scopes that they leave unticked."""
        self.grants: dict[str, Grant] = {}
        self.asked: list[dict[str, str]] = []
        """The queries of all who were sent here."""

    async def authorise(self, request: Request) -> Response:
        """The consent page: whoever is signed in is sent back with a code, or declines."""
        query = dict(request.query_params)
        self.asked.append(query)
        redirect_uri = query.get("redirect_uri", "")
        known = self.redirect_uris is None or redirect_uri in self.redirect_uris
        if query.get("client_id") not in self.clients or not known or not urlsplit(redirect_uri).netloc:
            # an address that is not registered is never sent to
            return PlainTextResponse("Something is wrong with the App that sent you here.", 400)
        if self.pkce == "required" and query.get("code_challenge_method") != "S256":
            return _back(redirect_uri, {"error": "invalid_request", "state": query.get("state", "")})
        if query.get("response_type") != "code" or not query.get("scope"):
            return _back(redirect_uri, {"error": "invalid_request", "state": query.get("state", "")})
        if self.decline or self.person is None:
            return _back(redirect_uri, {"error": "access_denied", "state": query.get("state", "")})
        code = f"twin-code-{secrets.token_hex(8)}"
        self.grants[code] = Grant(
            person=self.person,
            scopes=tuple(one for one in query["scope"].split(self.separator) if one not in self.withheld),
            redirect_uri=redirect_uri,
            challenge=query.get("code_challenge") if self.pkce != "unknown" else None,
            until=self.time.now() + self.code_life,
        )
        return _back(redirect_uri, {"code": code, "state": query.get("state", "")})

    def client(self, form: Mapping[str, str], authorization: str = "", *, secret: bool = True) -> str:
        """The id of the client that a token request proves to be. Raises OAuthRefusal."""
        id, given = _basic(authorization) or (form.get("client_id", ""), form.get("client_secret", ""))
        kept = self.clients.get(id)
        if kept is None or (secret and not hmac.compare_digest(kept.encode(), given.encode())):
            raise OAuthRefusal("invalid_client")
        return id

    def redeem(self, form: Mapping[str, str]) -> Grant:
        """What a code stands for; it does so once. Raises OAuthRefusal."""
        grant = self.grants.get(form.get("code", ""))
        if grant is None or grant.used or grant.until <= self.time.now():
            raise OAuthRefusal("invalid_grant")
        grant.used = True
        if grant.redirect_uri != form.get("redirect_uri"):
            raise OAuthRefusal("invalid_grant")
        if grant.challenge is not None and challenge(form.get("code_verifier", "")) != grant.challenge:
            raise OAuthRefusal("invalid_grant")
        return grant


def challenge(verifier: str) -> str:
    """The S256 challenge of a verifier (RFC 7636, 4.2)."""
    return base64.urlsafe_b64encode(hashlib.sha256(verifier.encode()).digest()).decode().rstrip("=")


async def form_of(request: Request) -> dict[str, str]:
    """A token request's parameters, from a form or the query."""
    if request.method == "GET":
        return dict(request.query_params)
    return dict(parse_qsl((await request.body()).decode(), keep_blank_values=True))


def _back(redirect_uri: str, answer: Mapping[str, str]) -> Response:
    joint = "&" if "?" in redirect_uri else "?"
    return RedirectResponse(f"{redirect_uri}{joint}{urlencode(answer)}", 302)


def _basic(header: str) -> tuple[str, str] | None:
    scheme, _, given = header.partition(" ")
    if scheme.lower() != "basic":
        return None
    try:
        id, _, secret = base64.b64decode(given, validate=True).decode().partition(":")
    except (binascii.Error, UnicodeDecodeError):
        return "", ""
    return unquote(id), unquote(secret)
