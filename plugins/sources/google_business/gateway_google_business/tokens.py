"""The account's access token: Google's live an hour and are made from the refresh token, which stays.

A refresh token ends when its owner takes the access away, changes the password, or, while the App's consent screen is
in testing, after seven days.
"""

from __future__ import annotations

import hashlib
from datetime import datetime, timedelta
from typing import Any

import httpx2

from gateway_google_business import budgets
from gateway_google_business.config import GoogleApp, GoogleConfig
from gateway_schemas.errors import Malformed, Reauthorise, Rejected
from gateway_schemas.http import call, json_object
from gateway_schemas.limits import metered
from gateway_schemas.plugin import StateStore
from gateway_schemas.time import TimeSource

_EARLY = timedelta(minutes=2)
_KEY = "token"


class Tokens:
    """The access token of one connection, kept in its state document for all processes."""

    def __init__(
        self,
        config: GoogleConfig,
        app: GoogleApp,
        http: httpx2.AsyncClient,
        state: StateStore,
        time: TimeSource,
        url: str,
    ) -> None:
        self._refresh = config.refresh_token.get_secret_value() if config.refresh_token is not None else ""
        self._connected = config.access_token
        self._app = app
        self._http = http
        self._state = state
        self._time = time
        self._url = url
        self._given = hashlib.sha256(f"{app.client_id} {self._refresh}".encode()).hexdigest()[:16]
        self._known: dict[str, Any] | None = None

    async def access(self, refused: str | None = None) -> str:
        """A token to call with, and another one than the refused. Raises Reauthorise when Google gives none.

        That of a connected account is the gateway's to renew.
        """
        if self._connected is not None:
            token = self._connected.get_secret_value()
            if token == refused:
                raise Reauthorise("Google refused the account's token: authorise the account again", code="token_ended")
            return token
        for known in (self._known, await self._stored()):
            if known is not None and known["access"] != refused and self._time.now() < _until(known):
                self._known = known
                return str(known["access"])
        return await self._renew()

    async def _stored(self) -> dict[str, Any] | None:
        """What was made last, unless the connection was authorised anew since."""
        stored = (await self._state.load()).get(_KEY)
        return stored if isinstance(stored, dict) and stored.get("given") == self._given else None

    async def _renew(self) -> str:
        now = self._time.now()
        response = await call(
            self._http,
            "POST",
            self._url,
            effect=False,
            now=now,
            expected=(200, 400, 401, 403),
            data={
                "grant_type": "refresh_token",
                "refresh_token": self._refresh,
                "client_id": self._app.client_id,
                "client_secret": self._app.client_secret.get_secret_value(),
            },
            extensions=metered(budgets.TOKEN),
        )
        answer = json_object(response)
        if response.status_code != 200:
            raise _refused(str(answer.get("error") or f"http_{response.status_code}"))
        access = answer.get("access_token")
        if not isinstance(access, str) or not access:
            raise Malformed("Google's answer for a token has no access_token")
        seconds = answer.get("expires_in")
        life = timedelta(seconds=seconds if isinstance(seconds, int | float) and 0 < seconds < 10**6 else 3600)
        self._known = {"given": self._given, "access": access, "until": (now + life - _EARLY).isoformat()}
        await self._state.merge({_KEY: self._known})
        return access


def _until(known: dict[str, Any]) -> datetime:
    return datetime.fromisoformat(str(known["until"]))


def _refused(error: str) -> Reauthorise | Rejected:
    """What a refused refresh means, by OAuth's error code (RFC 6749, 5.2)."""
    match error:
        case "invalid_grant":
            reason = "Google does not take the refresh token any more: authorise the account again"
            return Reauthorise(reason, code="token_ended")
        case "invalid_client" | "unauthorized_client":
            reason = "Google does not take the App's client id and secret: enter the current ones, then authorise again"
            return Reauthorise(reason, code="client_refused")
    return Reauthorise(f"Google gives no access token ({error}): authorise the account again", code="token_refused")
