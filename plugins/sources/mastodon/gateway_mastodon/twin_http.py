"""How the twin answers: whose token it is, what that token may do, how often, and Mastodon's refusals."""

from __future__ import annotations

import json
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any, Protocol

from starlette.datastructures import UploadFile
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from gateway_mastodon.twin_json import iso
from gateway_mastodon.twin_state import State, TwinAccount
from gateway_schemas.time import TimeSource

WINDOWS = {
    "all": (300, timedelta(minutes=5)),
    "media": (30, timedelta(minutes=30)),
    "delete": (30, timedelta(minutes=30)),
}
NOT_FOUND = "Record not found"


class Refusal(Exception):
    """An answer other than success, in Mastodon's words."""

    def __init__(self, status: int, error: str, headers: Mapping[str, str] | None = None) -> None:
        super().__init__(status)
        self.status = status
        self.body = {"error": error}
        self.headers = dict(headers or {})


class Owner(Protocol):
    """The twin, as far as its answers need it."""

    time: TimeSource
    state: State
    limits: bool
    url: str


@dataclass(frozen=True)
class Call:
    """One request that got past authentication and limits."""

    request: Request
    account: TwinAccount
    base: str

    def path(self, name: str) -> str:
        """A part of the path."""
        return str(self.request.path_params[name])

    def value(self, name: str) -> str | None:
        """A query parameter."""
        return self.request.query_params.get(name)

    def flag(self, name: str) -> bool:
        """A query parameter that is true or not, as Rails reads it."""
        return self.request.query_params.get(name, "false").lower() not in ("false", "0", "f", "off", "")

    def listed(self, name: str) -> list[str]:
        """A repeated parameter `name[]`."""
        return self.request.query_params.getlist(f"{name}[]")

    def limit(self, default: int, most: int) -> int:
        """`limit`, cut to what Mastodon gives at most."""
        value = self.value("limit") or ""
        return min(int(value), most) if value.isdecimal() and int(value) else default

    async def body(self) -> dict[str, Any]:
        """A JSON body or a form. Raises Refusal."""
        if self.request.headers.get("content-type", "").startswith("application/json"):
            try:
                body = json.loads(await self.request.body())
            except ValueError:
                raise Refusal(400, "Error occurred while parsing request parameters") from None
            if not isinstance(body, dict):
                raise Refusal(400, "Error occurred while parsing request parameters")
            return body
        form = await self.request.form()
        return {key: value for key, value in form.items() if isinstance(value, str | UploadFile)}


@dataclass(frozen=True)
class Answer:
    """A success: the body, its status, and where the pages beside it are."""

    body: Any
    status: int = 200
    links: Mapping[str, str] | None = None


Handler = Callable[[Call], Awaitable[Answer]]


class Wire:
    """Authentication and rate limits around every endpoint."""

    def __init__(self, owner: Owner) -> None:
        self.owner = owner
        self._used: dict[tuple[str, str, datetime], int] = {}

    def route(self, method: str, path: str, scope: str, handler: Handler, *, window: str = "all") -> Route:
        """One endpoint: the scope it needs, and the window it counts in."""

        async def endpoint(request: Request) -> Response:
            headers: dict[str, str] = {}
            try:
                account = self.caller(request, scope)
                headers = self._count(account, window)
                base = str(request.base_url).rstrip("/")
                answer = await handler(Call(request, account, base))
            except Refusal as refusal:
                return JSONResponse(refusal.body, refusal.status, headers | refusal.headers)
            finally:
                await request.close()  # an uploaded file is a temporary one
            if answer.links:
                url = str(request.url.replace(query=""))
                pages = (f'<{url}?{query}>; rel="{rel}"' for rel, query in answer.links.items())
                headers["Link"] = ", ".join(pages)
            return JSONResponse(answer.body, answer.status, headers)

        return Route(path, endpoint, methods=[method])

    def caller(self, request: Request, scope: str) -> TwinAccount:
        """The account whose token it is. Raises Refusal."""
        scheme, _, token = request.headers.get("authorization", "").partition(" ")
        account = next((one for one in self.owner.state.accounts.values() if token and one.token == token), None)
        if scheme.lower() != "bearer" or account is None:
            raise Refusal(401, "The access token is invalid")
        if account.suspended:
            raise Refusal(403, "Your login is currently disabled")
        general = scope.partition(":")[0]
        if scope not in account.scopes and general not in account.scopes:
            raise Refusal(403, "This action is outside the authorized scopes")
        return account

    def _count(self, account: TwinAccount, window: str) -> dict[str, str]:
        """Mastodon's windows begin at multiples of their length, and the headers tell of the one that is tightest."""
        if not self.owner.limits:
            return {}
        now = self.owner.time.now()
        tightest: tuple[int, int, datetime] | None = None
        for name in dict.fromkeys(("all", window)):
            most, length = WINDOWS[name]
            begin = datetime.fromtimestamp(now.timestamp() // length.total_seconds() * length.total_seconds(), UTC)
            key = (account.id, name, begin)
            self._used[key] = self._used.get(key, 0) + 1
            reading = (most - self._used[key], most, begin + length)
            tightest = reading if tightest is None or reading[0] < tightest[0] else tightest
        assert tightest is not None
        left, most, reset = tightest
        headers = {
            "X-RateLimit-Limit": str(most),
            "X-RateLimit-Remaining": str(max(0, left)),
            "X-RateLimit-Reset": iso(reset),
        }
        if left < 0:
            raise Refusal(429, "Too many requests", headers)
        return headers
