"""The twin's OAuth: the account's consent page, and a token endpoint that reads JSON and rotates refresh tokens."""

from __future__ import annotations

import json
import secrets
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import BaseRoute, Route

from gateway_schemas.testing.twin_oauth import AuthorisationServer, OAuthRefusal
from gateway_schemas.time import TimeSource

CODE_LIFE = timedelta(seconds=120)
_ACCESS = (300, 172_800)
_REFRESH = (604_800, 7_776_000)
_WORDS = {
    "invalid_client": "Client authentication failed due to unknown client, no client authentication included, or "
    "unsupported authentication method.",
    "invalid_grant": "The provided authorization grant is invalid, expired, revoked, does not match the redirection "
    "URI used in the authorization request, or was issued to another client.",
    "invalid_request": "The request is missing a required parameter, includes an unsupported parameter value, or is "
    "otherwise malformed.",
}


@dataclass
class TwinToken:
    """A pair of tokens."""

    access: str
    refresh: str
    scopes: tuple[str, ...]
    until: datetime | None


class TokenEndpoints:
    """Consent and tokens of one account's OAuth client."""

    def __init__(self, time: TimeSource, effect: Any) -> None:
        self.time = time
        self.effect = effect
        self.client_id, self.client_secret = "gateway_twin", "twin-client-secret"
        self.server = AuthorisationServer(
            time, client_id=self.client_id, client_secret=self.client_secret, pkce="optional", code_life=CODE_LIFE
        )
        self.tokens: list[TwinToken] = []

    def routes(self) -> list[BaseRoute]:
        """Where they are."""
        return [
            Route("/oauth/authorizations/new", self.server.authorise, methods=["GET"]),
            Route("/oauth/tokens", self._token, methods=["POST"]),
        ]

    def good(self, authorization: str) -> bool:
        """Whether a request carries an access token in force."""
        now = self.time.now()
        live = [one for one in self.tokens if one.until is None or one.until > now]
        return any(authorization == f"Bearer {one.access}" for one in live)

    def revoke(self) -> None:
        """The account's admin takes every token back."""
        self.tokens.clear()

    def expire(self) -> None:
        """Access tokens end; refresh tokens do not."""
        for one in self.tokens:
            one.until = self.time.now()

    async def _token(self, request: Request) -> Response:
        try:
            body = json.loads(await request.body())
            if request.headers.get("content-type", "").partition(";")[0] != "application/json":
                raise ValueError
            form = {name: str(value) for name, value in body.items()}
        except (ValueError, AttributeError):
            return _refused("invalid_request")
        try:
            self.server.client(form)
            lives = {name: body.get(name) for name in ("expires_in", "refresh_token_expires_in")}
            for name, (least, most) in (("expires_in", _ACCESS), ("refresh_token_expires_in", _REFRESH)):
                given = lives[name]
                if given is not None and not (isinstance(given, int) and least <= given <= most):
                    raise OAuthRefusal("invalid_request")
            if form.get("grant_type") == "authorization_code":
                scopes = self.server.redeem(form).scopes
            elif form.get("grant_type") == "refresh_token":
                old = next((one for one in self.tokens if one.refresh == form.get("refresh_token")), None)
                if old is None:
                    raise OAuthRefusal("invalid_grant")
                self.tokens.remove(old)
                scopes = old.scopes
            else:
                raise OAuthRefusal("invalid_request")
        except OAuthRefusal as refusal:
            return _refused(refusal.error)
        life = lives["expires_in"]
        made = TwinToken(
            secrets.token_hex(32),
            secrets.token_hex(32),
            scopes,
            self.time.now() + timedelta(seconds=life) if life is not None else None,
        )
        self.tokens.append(made)
        self.effect("token", self.client_id)
        answer = {
            "access_token": made.access,
            "refresh_token": made.refresh,
            "token_type": "bearer",
            "scope": " ".join(scopes),
            "expires_in": life,
            "refresh_token_expires_in": lives["refresh_token_expires_in"] or 2_592_000,
        }
        return JSONResponse(answer, 201)


def _refused(error: str) -> Response:
    status = 401 if error == "invalid_client" else 400
    return JSONResponse({"error": error, "error_description": _WORDS[error]}, status)
