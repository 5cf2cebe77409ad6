"""How the twin lets clients register and accounts consent: Doorkeeper's endpoints, with its words."""

from __future__ import annotations

import secrets
from typing import TYPE_CHECKING

from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import BaseRoute, Route

from gateway_schemas.testing.twin_oauth import AuthorisationServer, OAuthRefusal, form_of
from gateway_schemas.time import TimeSource

if TYPE_CHECKING:
    from gateway_mastodon.twin import MastodonTwin

_WORDS = {
    "invalid_client": "Client authentication failed due to unknown client, no client authentication included, or "
    "unsupported authentication method.",
    "invalid_grant": "The provided authorization grant is invalid, expired, revoked, does not match the redirection "
    "URI used in the authorization request, or was issued to another client.",
    "unsupported_grant_type": "The authorization grant type is not supported by the authorization server.",
    "unauthorized_client": "You are not authorized to revoke this token",
}


class TokenEndpoints:
    """Clients, consent and tokens."""

    def __init__(self, twin: MastodonTwin, time: TimeSource) -> None:
        self.twin = twin
        self.server = AuthorisationServer(time, client_id="", client_secret="", pkce="optional")
        self.server.clients = {}

    def routes(self) -> list[BaseRoute]:
        """Where they are."""
        return [
            Route("/api/v1/apps", self._register, methods=["POST"]),
            Route("/oauth/authorize", self.server.authorise, methods=["GET"]),
            Route("/oauth/token", self._token, methods=["POST"]),
            Route("/oauth/revoke", self._revoke, methods=["POST"]),
        ]

    async def _register(self, request: Request) -> Response:
        form = await form_of(request)
        if not form.get("client_name") or not form.get("redirect_uris"):
            return JSONResponse({"error": "Validation failed: Application name can't be blank"}, 422)
        id, secret = f"twin-client-{secrets.token_hex(6)}", secrets.token_urlsafe(32)
        self.server.clients[id] = secret
        self.server.redirect_uris = {*(self.server.redirect_uris or ()), *form["redirect_uris"].split()}
        self.twin.effect("client", id)
        return JSONResponse(
            {
                "id": str(len(self.server.clients)),
                "name": form["client_name"],
                "website": None,
                "scopes": form.get("scopes", "read").split(),
                "redirect_uris": form["redirect_uris"].split(),
                "redirect_uri": form["redirect_uris"],
                "client_id": id,
                "client_secret": secret,
                "client_secret_expires_at": 0,
            }
        )

    async def _token(self, request: Request) -> Response:
        form = await form_of(request)
        try:
            self.server.client(form, request.headers.get("authorization", ""))
            if form.get("grant_type") != "authorization_code":
                raise OAuthRefusal("unsupported_grant_type")
            grant = self.server.redeem(form)
        except OAuthRefusal as refusal:
            return _refused(refusal.error)
        account = self.twin.state.account(grant.person)
        account.token, account.scopes = secrets.token_urlsafe(32), frozenset(grant.scopes)
        self.twin.effect("token", account.id)
        return JSONResponse(
            {
                "access_token": account.token,
                "token_type": "Bearer",
                "scope": " ".join(grant.scopes),
                "created_at": int(self.twin.time.now().timestamp()),
            }
        )

    async def _revoke(self, request: Request) -> Response:
        form = await form_of(request)
        try:
            self.server.client(form, request.headers.get("authorization", ""))
        except OAuthRefusal:
            return _refused("unauthorized_client", 403)
        for account in self.twin.state.accounts.values():
            if account.token is not None and account.token == form.get("token"):
                account.token = None
                self.twin.effect("revoked", account.id)
        return JSONResponse({})


def _refused(error: str, status: int = 400) -> Response:
    status = 401 if error == "invalid_client" else status
    return JSONResponse({"error": error, "error_description": _WORDS[error]}, status)
