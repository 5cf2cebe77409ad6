"""The twin's login dialog and its token endpoint: a code for an hour's token, that for one of 60 days."""

from __future__ import annotations

import secrets
from datetime import timedelta
from typing import TYPE_CHECKING

from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import BaseRoute, Route

from gateway_meta.twin_graph import Refusal
from gateway_meta.twin_state import TwinToken
from gateway_schemas.testing.twin_oauth import AuthorisationServer, OAuthRefusal, form_of
from gateway_schemas.time import TimeSource

if TYPE_CHECKING:
    from gateway_meta.twin import MetaTwin

SHORT = timedelta(hours=1)
LONG = timedelta(days=60)


class LoginEndpoints:
    """Facebook Login."""

    def __init__(self, twin: MetaTwin, time: TimeSource) -> None:
        self.twin = twin
        self.server = AuthorisationServer(
            time, client_id=twin.app_id, client_secret=twin.app_secret, pkce="unknown", separator=","
        )

    def routes(self) -> list[BaseRoute]:
        """Where they are; the dialog is at www.facebook.com in truth."""
        return [
            Route("/{version:str}/dialog/oauth", self.server.authorise, methods=["GET"]),
            Route("/{version:str}/oauth/access_token", self._token, methods=["GET", "POST"]),
        ]

    async def _token(self, request: Request) -> Response:
        form = await form_of(request)
        try:
            return JSONResponse(self._exchange(form))
        except Refusal as refusal:
            return JSONResponse(refusal.body, refusal.status)

    def _exchange(self, form: dict[str, str]) -> dict[str, object]:
        try:
            self.server.client(form)
        except OAuthRefusal:
            raise Refusal("Error validating client secret.", 1) from None
        if form.get("grant_type") == "fb_exchange_token":
            short = self.twin.state.tokens.get(form.get("fb_exchange_token", ""))
            if short is None or short.kind != "person" or short.dead is not None:
                raise Refusal("Invalid OAuth access token - Cannot parse access token", 190, status=401)
            return self._given(short.owner, short.scopes, LONG)
        grant = self.server.grants.get(form.get("code", ""))
        used = grant is not None and grant.used
        try:
            grant = self.server.redeem(form)
        except OAuthRefusal:
            if used:
                raise Refusal("This authorization code has been used.", 100, 36009) from None
            raise Refusal("Error validating verification code.", 100, 36008) from None
        return self._given(grant.person, set(grant.scopes), SHORT)

    def _given(self, person: str, scopes: set[str], life: timedelta) -> dict[str, object]:
        token = f"EAtwin-{'long' if life == LONG else 'short'}-{secrets.token_hex(8)}"
        self.twin.state.tokens[token] = TwinToken("person", person, set(scopes), self.twin.time.now() + life)
        self.twin.effect("token", person, life=int(life.total_seconds()))
        return {"access_token": token, "token_type": "bearer", "expires_in": int(life.total_seconds())}
