"""The twin's consent page and token endpoint: access tokens live two hours, a refresh token is used once."""

from __future__ import annotations

import secrets
from datetime import datetime, timedelta
from typing import TYPE_CHECKING

from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import BaseRoute, Route

from gateway_schemas.testing.twin_oauth import AuthorisationServer, OAuthRefusal, form_of
from gateway_schemas.time import TimeSource
from gateway_x.twin_state import TwinToken

if TYPE_CHECKING:
    from gateway_x.twin import XTwin

TOKEN_LIFE = timedelta(hours=2)
CODE_LIFE = timedelta(seconds=30)
_SCOPE = ("tweet.read", "users.read", "tweet.write", "dm.read", "dm.write", "offline.access")
_WORDS = {
    "invalid_client": "Missing valid authorization header",
    "invalid_grant": "Value passed for the authorization code was invalid.",
    "invalid_request": "Value passed for the token was invalid.",
}


class TokenEndpoint:
    """Takes consent, and renews access tokens, over HTTP."""

    def __init__(self, twin: XTwin, time: TimeSource) -> None:
        self.twin = twin
        self.grace = timedelta()
        """For how long a refresh token that was used is taken once more, for an answer that was lost."""
        self._spent: dict[str, tuple[str, datetime]] = {}
        self.server = AuthorisationServer(time, client_id=twin.client_id, client_secret="", code_life=CODE_LIFE)

    def routes(self) -> list[BaseRoute]:
        """Where they are; on X itself the consent page is at x.com."""
        return [
            Route("/i/oauth2/authorize", self.server.authorise, methods=["GET"]),
            Route("/2/oauth2/token", self.answer, methods=["POST"]),
            Route("/2/oauth2/revoke", self._revoke, methods=["POST"]),
        ]

    async def answer(self, request: Request) -> Response:
        """Exchange a code, or renew an access token: then both tokens change, and the old ones stop."""
        form = await form_of(request)
        try:
            self._client(form, request)
            if form.get("grant_type") == "authorization_code":
                grant = self.server.redeem(form)
                return self._tokens(self.twin.state.user(grant.person).id, grant.scopes)
            refresh = form.get("refresh_token", "")
            user_id = self.twin.state.refresh_tokens.get(refresh) or self._again(refresh)
            if form.get("grant_type") != "refresh_token" or user_id is None:
                raise OAuthRefusal("invalid_request")
            self._spent[refresh] = (user_id, self.twin.time.now())
            held = [one.scopes for one in self.twin.state.tokens.values() if one.user_id == user_id and one.scopes]
            scopes = held[-1] if held else None
            self.forget(user_id)
            return self._tokens(user_id, scopes or _SCOPE)
        except OAuthRefusal as refusal:
            status = 401 if refusal.error == "invalid_client" else 400
            return JSONResponse({"error": refusal.error, "error_description": _WORDS[refusal.error]}, status)

    def _again(self, refresh: str) -> str | None:
        user_id, at = self._spent.get(refresh, (None, None))
        return user_id if at is not None and self.twin.time.now() < at + self.grace else None

    def _client(self, form: dict[str, str], request: Request) -> None:
        secret = self.twin.client_secret
        self.server.clients = {self.twin.client_id: secret or ""}
        self.server.client(form, request.headers.get("authorization", ""), secret=secret is not None)

    def _tokens(self, user_id: str, scopes: tuple[str, ...]) -> Response:
        access, refresh = (f"twin-{kind}-{secrets.token_hex(8)}" for kind in ("access", "refresh"))
        self.twin.state.tokens[access] = TwinToken(user_id, self.twin.time.now() + TOKEN_LIFE, scopes)
        answer = {
            "token_type": "bearer",
            "expires_in": int(TOKEN_LIFE.total_seconds()),
            "access_token": access,
            "scope": " ".join(scopes),
        }
        if "offline.access" in scopes:
            self.twin.state.refresh_tokens[refresh] = user_id
            answer["refresh_token"] = refresh
        self.twin.effect("token", user_id)
        return JSONResponse(answer)

    async def _revoke(self, request: Request) -> Response:
        form = await form_of(request)
        try:
            self._client(form, request)
        except OAuthRefusal as refusal:
            return JSONResponse({"error": refusal.error, "error_description": _WORDS[refusal.error]}, 401)
        state, token = self.twin.state, form.get("token", "")
        found = state.refresh_tokens.get(token) or (state.tokens[token].user_id if token in state.tokens else None)
        if found is not None:
            self.forget(found)
            self.twin.effect("revoked", found)
        return JSONResponse({"revoked": True})

    def forget(self, user_id: str) -> None:
        """Make all of a user's tokens worthless."""
        state = self.twin.state
        state.tokens = {token: item for token, item in state.tokens.items() if item.user_id != user_id}
        state.refresh_tokens = {token: id for token, id in state.refresh_tokens.items() if id != user_id}
