"""The service account's access token: it lives an hour, and is given for an assertion signed with the account's key.

"Using OAuth 2.0 for Server to Server Applications" (RFC 7523): claims iss, scope, aud, iat and exp, an hour at most.
"""

from __future__ import annotations

import hashlib
from datetime import datetime, timedelta
from typing import Any

import httpx2
from joserfc import jwt

from gateway_google_play import budgets
from gateway_google_play.config import PlayApp, load_key
from gateway_schemas.errors import Malformed, Reauthorise, Retry
from gateway_schemas.http import call, json_object
from gateway_schemas.limits import metered
from gateway_schemas.plugin import StateStore
from gateway_schemas.time import TimeSource

SCOPE = "https://www.googleapis.com/auth/androidpublisher"
GRANT = "urn:ietf:params:oauth:grant-type:jwt-bearer"
AUDIENCE = "https://oauth2.googleapis.com/token"
"""For whom assertions are made, wherever the request goes."""
LIFE = timedelta(minutes=59)
"""An hour is the longest that Google takes, and its clock may be a little behind."""
_EARLY = timedelta(minutes=2)
_KEY = "token"


class Tokens:
    """The access token of one connection, kept in its state document for all processes."""

    def __init__(self, app: PlayApp, http: httpx2.AsyncClient, state: StateStore, time: TimeSource, url: str) -> None:
        self._app = app
        self._http = http
        self._state = state
        self._time = time
        self._url = url
        self._given = hashlib.sha256(app.key.get_secret_value().encode()).hexdigest()[:16]
        self._known: dict[str, Any] | None = None

    async def access(self, refused: str | None = None) -> str:
        """A token to call with, and another one than the refused. Raises Reauthorise when Google gives none."""
        for known in (self._known, await self._stored()):
            if known is not None and known["access"] != refused and self._time.now() < _until(known):
                self._known = known
                return str(known["access"])
        return await self._make()

    async def _stored(self) -> dict[str, Any] | None:
        """What was made last, unless another key was entered since."""
        stored = (await self._state.load()).get(_KEY)
        return stored if isinstance(stored, dict) and stored.get("given") == self._given else None

    async def _make(self) -> str:
        now = self._time.now()
        response = await call(
            self._http,
            "POST",
            self._url,
            effect=False,
            now=now,
            expected=(200, 400, 401, 403),
            data={"grant_type": GRANT, "assertion": sign_assertion(self._app, now)},
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


def sign_assertion(app: PlayApp, now: datetime) -> str:
    """What the account asks for a token with."""
    account = app.account
    header = {"alg": "RS256", "typ": "JWT"}
    if isinstance(account.get("private_key_id"), str):
        header["kid"] = account["private_key_id"]
    claims = {
        "iss": account["client_email"],
        "scope": SCOPE,
        "aud": AUDIENCE,
        "iat": int(now.timestamp()),
        "exp": int((now + LIFE).timestamp()),
    }
    return jwt.encode(header, claims, load_key(account["private_key"]), algorithms=["RS256"])


def _until(known: dict[str, Any]) -> datetime:
    return datetime.fromisoformat(str(known["until"]))


def _refused(error: str) -> Reauthorise | Retry:
    """What a refused assertion means, by OAuth's error code (RFC 6749, 5.2)."""
    match error:
        case "invalid_grant" | "invalid_client" | "unauthorized_client":
            reason = (
                "Google does not take the service account's key: make a new one, and look whether the clock is right"
            )
            return Reauthorise(reason, code="key_refused")
        case "temporarily_unavailable" | "server_error":
            return Retry(f"Google gives no access token now ({error})", code="token_unavailable")
    return Reauthorise(f"Google gives no access token ({error}): look at the service account", code="token_refused")
