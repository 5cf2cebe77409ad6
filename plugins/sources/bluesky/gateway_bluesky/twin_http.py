"""How the twin answers: whose session it is, for which service a call is, how often, and the protocol's refusals."""

from __future__ import annotations

import base64
import json
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any, Protocol

from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from gateway_bluesky.twin_state import Json, State, TwinAccount
from gateway_schemas.time import TimeSource

CHAT_SERVICE = "did:web:api.bsky.chat#bsky_chat"
ACCESS, REFRESH = "com.atproto.access", "com.atproto.refresh"


class Refusal(Exception):
    """An answer other than success."""

    def __init__(self, status: int, error: str, message: str = "", headers: Mapping[str, str] | None = None) -> None:
        super().__init__(status)
        self.status = status
        self.body = {"error": error, "message": message or error}
        self.headers = dict(headers or {})


class Owner(Protocol):
    """The twin, as far as its answers need it."""

    time: TimeSource
    state: State
    limits: bool


@dataclass(frozen=True)
class Call:
    """One request that got past authentication and limits."""

    request: Request
    account: TwinAccount

    def value(self, name: str) -> str | None:
        """A query parameter."""
        return self.request.query_params.get(name)

    def needed(self, name: str) -> str:
        """A query parameter that must be there. Raises Refusal."""
        value = self.value(name)
        if value is None:
            raise invalid(f'Error: Params must have the property "{name}"')
        return value

    def listed(self, name: str) -> list[str]:
        """A repeated parameter."""
        return self.request.query_params.getlist(name)

    def number(self, name: str, default: int, most: int, least: int = 1) -> int:
        """A whole number within the lexicon's bounds. Raises Refusal."""
        value = self.value(name) or str(default)
        if not value.isdecimal() or not least <= int(value) <= most:
            raise invalid(f"Error: {name} must be between {least} and {most}")
        return int(value)

    async def body(self, *needed: str) -> Json:
        """A JSON body that has these fields. Raises Refusal."""
        try:
            body = json.loads(await self.request.body())
        except ValueError:
            body = None
        if not isinstance(body, dict):
            raise invalid("Request encoding (application/json) required but not provided")
        for name in needed:
            if name not in body:
                raise invalid(f'Input must have the property "{name}"')
        return body


Handler = Callable[[Call], Awaitable[Json]]


class Wire:
    """Sessions, proxying and limits around every endpoint."""

    def __init__(self, owner: Owner) -> None:
        self.owner = owner
        self._used: dict[tuple[str, str, datetime], int] = {}

    def route(
        self, method: str, nsid: str, handler: Handler, *, points: int = 0, chat: bool = False, kind: str = ACCESS
    ) -> Route:
        """One endpoint: what it costs of an account's write points, and whether the chat service has it."""

        async def endpoint(request: Request) -> Response:
            headers: dict[str, str] = {}
            try:
                account = self.caller(request, kind)
                if chat and request.headers.get("atproto-proxy") != CHAT_SERVICE:
                    raise Refusal(404, "XRPCNotSupported")
                if chat and not account.messages_allowed:
                    raise Refusal(400, "InvalidToken", "Bad token scope")
                headers = self.count(account.did, points)
                return JSONResponse(await handler(Call(request, account)), headers=headers)
            except Refusal as refusal:
                return JSONResponse(refusal.body, refusal.status, headers | refusal.headers)

        return Route(f"/xrpc/{nsid}", endpoint, methods=[method])

    def token(self, account: TwinAccount, kind: str, life: timedelta) -> str:
        """A JWT of a session. Its signature is not checked: the twin knows its own by their content."""
        now = self.owner.time.now()
        payload = {
            "scope": kind,
            "sub": account.did,
            "iat": int(now.timestamp()),
            "exp": int((now + life).timestamp()),
            "session": account.sessions,
        }
        return ".".join(_part(part) for part in ({"typ": "at+jwt", "alg": "ES256K"}, payload, {"by": "twin"}))

    def caller(self, request: Request, kind: str) -> TwinAccount:
        """The account whose session it is. Servers answer a token that has ended with 400. Raises Refusal."""
        scheme, _, token = request.headers.get("authorization", "").partition(" ")
        if scheme.lower() != "bearer" or not token:
            raise Refusal(401, "AuthMissing", "Authentication Required")
        try:
            payload = json.loads(base64.urlsafe_b64decode(token.split(".")[1] + "=="))
            account = self.owner.state.accounts[payload["sub"]]
        except (ValueError, IndexError, KeyError, TypeError):
            raise Refusal(400, "InvalidToken", "Token could not be verified") from None
        if payload.get("scope") != kind or payload.get("session") != account.sessions:
            raise Refusal(400, "InvalidToken", "Bad token scope")
        if datetime.fromtimestamp(payload["exp"], UTC) <= self.owner.time.now():
            raise Refusal(400, "ExpiredToken", "Token has expired")
        if not account.active:
            raise Refusal(401, "AccountTakedown", "Account has been taken down")
        return account

    def count(self, did: str, points: int, *, login: bool = False) -> dict[str, str]:
        """Count a call; the headers tell of the tightest window. Raises Refusal."""
        if not self.owner.limits:
            return {}
        now = self.owner.time.now()
        windows = [("requests", 3000, 300, 1)]
        if points:
            windows = [("hour", 5000, 3600, points), ("day", 35_000, 86_400, points)]
        if login:
            windows = [("login", 30, 300, 1), ("logins", 300, 86_400, 1)]
        readings = []
        for name, most, seconds, cost in windows:
            begin = datetime.fromtimestamp(now.timestamp() // seconds * seconds, UTC)
            key = (did, name, begin)
            self._used[key] = self._used.get(key, 0) + cost
            readings.append((most - self._used[key], most, seconds, begin + timedelta(seconds=seconds)))
        left, most, seconds, reset = min(readings)
        headers = {
            "ratelimit-limit": str(most),
            "ratelimit-remaining": str(max(0, left)),
            "ratelimit-reset": str(int(reset.timestamp())),
            "ratelimit-policy": f"{most};w={seconds}",
        }
        if left < 0:
            raise Refusal(429, "RateLimitExceeded", "Rate Limit Exceeded", headers)
        return headers


def invalid(message: str) -> Refusal:
    """A request that its lexicon does not allow."""
    return Refusal(400, "InvalidRequest", message)


def _part(value: Any) -> str:
    return base64.urlsafe_b64encode(json.dumps(value).encode()).decode().rstrip("=")
