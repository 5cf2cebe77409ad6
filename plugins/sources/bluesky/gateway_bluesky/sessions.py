"""The account's session: an access token of about two hours, a refresh token used once, both kept for all processes."""

from __future__ import annotations

import asyncio
import base64
import hashlib
import json
from datetime import UTC, datetime, timedelta
from typing import Any

import httpx2

from gateway_bluesky.config import BlueskyConfig
from gateway_bluesky.refusals import ACCOUNT, problem, refusal
from gateway_schemas.errors import Reauthorise, Rejected
from gateway_schemas.http import answer, call, json_object
from gateway_schemas.limits import metered
from gateway_schemas.plugin import StateStore
from gateway_schemas.time import TimeSource

LOGIN = "login"
KEY = "session"
_EARLY = timedelta(minutes=2)
_ENDED = {"ExpiredToken", "InvalidToken"}


class Sessions:
    """Logs in, and keeps logged in. Logging in is limited to thirty times in five minutes and 300 a day, so a session
    is used until it ends."""

    def __init__(self, config: BlueskyConfig, http: httpx2.AsyncClient, state: StateStore, time: TimeSource) -> None:
        self._config = config
        self._http = http
        self._state = state
        self._time = time
        given = f"{config.did} {config.base_url} {config.app_password.get_secret_value()}"
        self._given = hashlib.sha256(given.encode()).hexdigest()[:16]
        self._known: dict[str, Any] | None = None
        self._one = asyncio.Lock()

    async def access(self) -> str:
        """A token to call with; renewed first when it is about to end. Raises GatewayError."""
        if self._known is None:
            self._known = await self._stored()
        if self._known is None:
            return await self.renew(None)
        token = str(self._known["access"])
        ends = expiry(token)
        if ends is not None and self._time.now() >= ends - _EARLY:
            return await self.renew(token)
        return token

    async def renew(self, refused: str | None) -> str:
        """Another token than the refused one: another process's new one, a refreshed one, or one from a new login.

        Raises GatewayError.
        """
        async with self._one:
            stored = await self._stored()
            if stored is not None and stored["access"] != refused:
                self._known = stored
                return str(stored["access"])
            made = await self._refresh(str(stored["refresh"])) if stored is not None else None
            if made is None:
                newer = await self._stored()
                if newer is not None and newer["access"] != refused:
                    self._known = newer  # another process was quicker, and our refresh token is spent
                    return str(newer["access"])
                made = await self.login()
            self._known = {"given": self._given, "access": made["accessJwt"], "refresh": made["refreshJwt"]}
            await self._state.merge({KEY: self._known})
            return str(self._known["access"])

    async def login(self) -> dict[str, Any]:
        """Begin a session with the app password. Raises GatewayError; Reauthorise when the password is refused."""
        body = {"identifier": self._config.did, "password": self._config.app_password.get_secret_value()}
        try:
            response = await self._call("createSession", self._config.base_url, json=body)
        except Reauthorise as error:
            refused = answer(error)
            name = problem(refused)[0] if refused is not None else ""
            if name in ACCOUNT:
                raise
            if name == "AuthFactorTokenRequired":
                reason = "Bluesky asks for a code by e-mail: enter an app password, not the account's own"
                raise Reauthorise(reason, code="app_password_needed") from error
            raise Reauthorise("Bluesky refused the app password: make a new one", code="password_refused") from error
        made = json_object(response)
        if not all(isinstance(made.get(name), str) for name in ("accessJwt", "refreshJwt", "did")):
            raise Rejected("the answer to the login names no session", code="malformed")
        if made["did"] != self._config.did:
            reason = f"the app password belongs to {made['did']}, not to {self._config.did}"
            raise Reauthorise(reason, code="wrong_account")
        return made

    async def _refresh(self, token: str) -> dict[str, Any] | None:
        """A new session for a refresh token; None when it has ended. The request may not have a body."""
        try:
            response = await self._call(
                "refreshSession", self._config.home, headers={"authorization": f"Bearer {token}"}
            )
        except (Reauthorise, Rejected):
            return None
        made = json_object(response)
        return made if all(isinstance(made.get(name), str) for name in ("accessJwt", "refreshJwt")) else None

    async def _call(self, method: str, base_url: str, **request: Any) -> httpx2.Response:
        return await call(
            self._http,
            "POST",
            f"{base_url}/xrpc/com.atproto.server.{method}",
            effect=False,
            now=self._time.now(),
            classify=lambda response: refusal(response, LOGIN, self._time.now()),
            extensions=metered(LOGIN),
            **request,
        )

    async def _stored(self) -> dict[str, Any] | None:
        """The session kept last, unless the account or its password was changed since."""
        stored = (await self._state.load()).get(KEY)
        return stored if isinstance(stored, dict) and stored.get("given") == self._given else None


def ended(response: httpx2.Response) -> bool:
    """Whether an answer says that the token has ended. Servers say so with 400 and with 401."""
    return response.status_code in (400, 401) and problem(response)[0] in _ENDED


def expiry(token: str) -> datetime | None:
    """When a JWT ends, by what it says itself; None when it cannot be read. Nothing is believed of it but this."""
    try:
        payload = token.split(".")[1]
        body = json.loads(base64.urlsafe_b64decode(payload + "=" * (-len(payload) % 4)))
        return datetime.fromtimestamp(int(body["exp"]), UTC)
    except (IndexError, ValueError, KeyError, TypeError, OverflowError, RecursionError, OSError):
        return None
