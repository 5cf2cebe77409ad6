"""The twin's token endpoint: access tokens live two hours, a refresh token is used once."""

from __future__ import annotations

import base64
import binascii
import secrets
from datetime import timedelta
from typing import TYPE_CHECKING
from urllib.parse import parse_qsl

from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from gateway_x.twin_state import TwinToken

if TYPE_CHECKING:
    from gateway_x.twin import XTwin

TOKEN_LIFE = timedelta(hours=2)
_SCOPE = "tweet.read users.read tweet.write dm.read dm.write offline.access"


class TokenEndpoint:
    """Renews access tokens over HTTP."""

    def __init__(self, twin: XTwin) -> None:
        self.twin = twin

    async def answer(self, request: Request) -> Response:
        """Renew an access token: both tokens change, the old ones stop."""
        form = dict(parse_qsl((await request.body()).decode()))
        client = form.get("client_id") or _basic_user(request.headers.get("authorization", ""))
        user_id = self.twin.state.refresh_tokens.get(form.get("refresh_token", ""))
        if form.get("grant_type") != "refresh_token" or client != self.twin.client_id or user_id is None:
            detail = "Value passed for the token was invalid."
            return JSONResponse({"error": "invalid_request", "error_description": detail}, 400)
        self.forget(user_id)
        access, refresh = (f"twin-{kind}-{secrets.token_hex(8)}" for kind in ("access", "refresh"))
        self.twin.state.tokens[access] = TwinToken(user_id, self.twin.time.now() + TOKEN_LIFE)
        self.twin.state.refresh_tokens[refresh] = user_id
        self.twin.effect("token", user_id)
        return JSONResponse(
            {
                "token_type": "bearer",
                "expires_in": int(TOKEN_LIFE.total_seconds()),
                "access_token": access,
                "refresh_token": refresh,
                "scope": _SCOPE,
            }
        )

    def forget(self, user_id: str) -> None:
        """Make all of a user's tokens worthless."""
        state = self.twin.state
        state.tokens = {token: item for token, item in state.tokens.items() if item.user_id != user_id}
        state.refresh_tokens = {token: id for token, id in state.refresh_tokens.items() if id != user_id}


def _basic_user(header: str) -> str:
    try:
        return base64.b64decode(header.removeprefix("Basic "), validate=True).decode().partition(":")[0]
    except (binascii.Error, UnicodeDecodeError):
        return ""
