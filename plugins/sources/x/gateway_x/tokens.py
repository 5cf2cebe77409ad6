"""The account's token, renewed where it can be: X's access tokens live two hours, its refresh tokens are used once."""

from __future__ import annotations

import hashlib
from datetime import datetime, timedelta
from typing import Any

import httpx2

from gateway_schemas.errors import Reauthorise
from gateway_schemas.http import call, json_object
from gateway_schemas.limits import metered
from gateway_schemas.plugin import StateStore
from gateway_schemas.time import TimeSource
from gateway_x import metering
from gateway_x.config import XApp, XConfig

_EARLY = timedelta(minutes=2)
_KEY = "tokens"


class Tokens:
    """The access token of one connection; renewed ones are kept in its state document, for all processes."""

    def __init__(
        self, config: XConfig, app: XApp, http: httpx2.AsyncClient, state: StateStore | None, time: TimeSource
    ) -> None:
        self._config = config
        self._app = app
        self._http = http
        self._state = state
        self._time = time
        self._given = hashlib.sha256(config.access_token.get_secret_value().encode()).hexdigest()[:16]
        self._known: dict[str, Any] | None = None

    @property
    def renewable(self) -> bool:
        """Whether a refused token can be renewed."""
        has_refresh = self._config.refresh_token is not None and self._app.client_id is not None
        return has_refresh and self._state is not None

    async def access(self, base_url: str) -> str:
        """A token to call with; renewed first when it is about to end. Raises Reauthorise."""
        if not self.renewable:
            return self._config.access_token.get_secret_value()
        if self._known is None:
            self._known = await self._stored()
        until = self._known.get("until")
        if until is not None and self._time.now() >= datetime.fromisoformat(until) - _EARLY:
            return await self.renew(str(self._known["access"]), base_url)
        return str(self._known["access"])

    async def renew(self, refused: str, base_url: str) -> str:
        """Another token than the refused one: another process's new one, or one from X. Raises Reauthorise."""
        known = await self._stored()
        if known["access"] != refused:
            self._known = known
            return str(known["access"])
        form = {"grant_type": "refresh_token", "refresh_token": known["refresh"], "client_id": self._app.client_id}
        secret = self._app.client_secret
        response = await call(
            self._http,
            "POST",
            f"{base_url}/2/oauth2/token",
            effect=False,
            now=self._time.now(),
            expected=(200, 400, 401, 403),
            data=form,
            auth=(str(self._app.client_id), secret.get_secret_value()) if secret else None,
            extensions=metered(metering.TOKEN),
        )
        if response.status_code != 200:
            stored = await self._stored()
            if stored["access"] != refused:
                self._known = stored  # another process was quicker, and our refresh token is spent
                return str(stored["access"])
            raise Reauthorise("X does not renew the account's token; authorise the account again", code="token_ended")
        answer = json_object(response)
        self._known = {
            "given": self._given,
            "access": str(answer.get("access_token", "")),
            "refresh": str(answer.get("refresh_token") or known["refresh"]),
            "until": (self._time.now() + timedelta(seconds=float(answer.get("expires_in") or 7200))).isoformat(),
        }
        if self._state is not None:
            await self._state.save({**await self._state.load(), _KEY: self._known})
        return str(self._known["access"])

    async def _stored(self) -> dict[str, Any]:
        """What was renewed last, unless the connection was authorised anew since."""
        stored = (await self._state.load()).get(_KEY) if self._state is not None else None
        if isinstance(stored, dict) and stored.get("given") == self._given:
            return stored
        refresh = self._config.refresh_token
        return {
            "given": self._given,
            "access": self._config.access_token.get_secret_value(),
            "refresh": refresh.get_secret_value() if refresh else "",
        }
