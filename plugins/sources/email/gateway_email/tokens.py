"""The access token of a mailbox that takes no password: made from the refresh token, kept while it lives (RFC 6749)."""

from __future__ import annotations

import hashlib
from datetime import datetime, timedelta

import httpx2

from gateway_email.config import OAuth
from gateway_schemas.errors import Malformed, Reauthorise, Rejected
from gateway_schemas.http import call, json_object
from gateway_schemas.plugin import StateStore
from gateway_schemas.time import TimeSource

_EARLY = timedelta(minutes=2)
_KEY = "token"


class Tokens:
    """One connection's access token, in its state document for all processes."""

    def __init__(self, oauth: OAuth, http: httpx2.AsyncClient, state: StateStore, time: TimeSource) -> None:
        self._oauth = oauth
        self._http = http
        self._state = state
        self._time = time
        refresh = oauth.refresh_token.get_secret_value()
        self._given = hashlib.sha256(f"{oauth.client_id} {refresh}".encode()).hexdigest()[:16]

    async def access(self) -> str:
        """A token to log in with. Raises Reauthorise when the provider gives none."""
        stored = (await self._state.load()).get(_KEY)
        mine = isinstance(stored, dict) and stored.get("given") == self._given
        if stored is not None and mine and self._time.now() < datetime.fromisoformat(str(stored["until"])):
            return str(stored["access"])
        return await self._renew()

    async def forget(self) -> None:
        """Called when a server refused the token: the next one is made anew."""
        await self._state.merge({_KEY: None})

    async def _renew(self) -> str:
        now = self._time.now()
        asked = {
            "grant_type": "refresh_token",
            "refresh_token": self._oauth.refresh_token.get_secret_value(),
            "client_id": self._oauth.client_id,
        }
        if self._oauth.client_secret is not None:
            asked["client_secret"] = self._oauth.client_secret.get_secret_value()
        if self._oauth.scope:
            asked["scope"] = self._oauth.scope
        response = await call(
            self._http,
            "POST",
            self._oauth.token_url,
            effect=False,
            now=now,
            expected=(200, 400, 401, 403),
            data=asked,
            label="the token endpoint",
        )
        answer = json_object(response)
        if response.status_code != 200:
            error = str(answer.get("error") or f"http_{response.status_code}")[:100]
            if error in ("invalid_request", "unsupported_grant_type", "invalid_scope"):
                raise Rejected(f"the token endpoint does not take the request: {error}; check oauth", code=error)
            raise Reauthorise(f"the mailbox's provider gives no access token ({error}): authorise it again", code=error)
        access, seconds = answer.get("access_token"), answer.get("expires_in")
        if not isinstance(access, str) or not access:
            raise Malformed("the answer for a token has no access_token", code="malformed")
        life = timedelta(seconds=seconds if isinstance(seconds, int | float) and 0 < seconds < 10**6 else 3600)
        until = (now + life - _EARLY).isoformat()
        await self._state.merge({_KEY: {"given": self._given, "access": access, "until": until}})
        return access
