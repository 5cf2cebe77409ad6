"""How the twin answers: who is calling, how often they may, what it costs, and X's refusals."""

from __future__ import annotations

import json
import re
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from decimal import Decimal
from typing import Any, Literal, Protocol

from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from gateway_schemas.time import TimeSource
from gateway_x.twin_json import Json, Naming, problem
from gateway_x.twin_state import State

QUARTER = timedelta(minutes=15)
DAY = timedelta(hours=24)
Access = Literal["app", "user", "either"]
Limit = tuple[int, timedelta]

PRICES: Mapping[str, Decimal] = {
    "post.read": Decimal("0.005"),
    "post.read.owned": Decimal("0.001"),
    "user.read": Decimal("0.010"),
    "message.read": Decimal("0.010"),
    "post.create": Decimal("0.015"),
    "post.create.url": Decimal("0.200"),
    "post.create.summoned": Decimal("0.010"),
    "message.create": Decimal("0.015"),
    "delete": Decimal("0.010"),
    "event.post": Decimal("0.005"),
    "event.message": Decimal("0.010"),
}


class Refusal(Exception):
    """An answer other than success, in X's words."""

    def __init__(self, status: int, body: Mapping[str, Any], headers: Mapping[str, str] | None = None) -> None:
        super().__init__(status)
        self.status = status
        self.body = body
        self.headers = dict(headers or {})


@dataclass(frozen=True)
class Call:
    """One request that got past authentication and limits."""

    request: Request
    user_id: str | None
    """Whose token it carries; None for the App's own."""

    @property
    def parameters(self) -> Mapping[str, str]:
        """The query parameters."""
        return self.request.query_params

    def listed(self, *names: str) -> set[str]:
        """A comma-separated parameter, under any of its names."""
        return {item for name in names for item in self.parameters.get(name, "").split(",") if item}

    def path(self, name: str) -> str:
        """A part of the path."""
        return str(self.request.path_params[name])

    async def body(self) -> Json:
        """The JSON body. Raises Refusal as X does."""
        try:
            body = json.loads(await self.request.body())
        except ValueError:
            body = None
        if not isinstance(body, dict):
            raise invalid("The body of the request must be a JSON object.")
        return body


@dataclass(frozen=True)
class Charge:
    """One thing that X bills."""

    at: datetime
    what: str
    resource: str
    amount: Decimal


class Owner(Protocol):
    """What the endpoints need of the twin."""

    time: TimeSource
    state: State
    tier: Literal["self_serve", "enterprise"]
    naming: Naming
    bearer_token: str
    owner_user_id: str | None
    visibility_lag: timedelta
    limits: bool
    wire: Wire

    def effect(self, kind: str, id: str, **data: Any) -> None:
        """Write one effect to the ledger."""


Handler = Callable[[Call], Awaitable[Json]]


class Wire:
    """Authentication, rate limits and the bill, around every endpoint."""

    def __init__(self, owner: Owner) -> None:
        self.owner = owner
        self.charges: list[Charge] = []
        self._windows: dict[tuple[str, str, timedelta], tuple[datetime, int]] = {}
        self._billed: dict[date, set[tuple[str, str]]] = {}

    @property
    def spent(self) -> Decimal:
        """All that X has billed, in US dollars."""
        return sum((charge.amount for charge in self.charges), Decimal())

    def bill(self, what: str, resource: str, *, once_a_day: bool = True) -> None:
        """Charge for one resource; the same resource is billed once a UTC day."""
        now = self.owner.time.now()
        if once_a_day:
            seen = self._billed.setdefault(now.date(), set())
            key = (what.partition(".")[0] if what.startswith("post.read") else what, resource)
            if key in seen:
                return
            seen.add(key)
        self.charges.append(Charge(now, what, resource, PRICES[what]))

    def route(
        self,
        method: str,
        path: str,
        handler: Handler,
        access: Access,
        *,
        app: tuple[Limit, ...] = (),
        user: tuple[Limit, ...] = (),
        status: int = 200,
    ) -> Route:
        """One endpoint of X: who may call it, how often, and the status of success."""

        async def endpoint(request: Request) -> Response:
            headers: dict[str, str] = {}
            try:
                user_id, token = self._caller(request, access)
                headers = self._count(f"{method} {path}", token, app if user_id is None else user)
                answer = await handler(Call(request, user_id))
            except Refusal as refusal:
                return JSONResponse(refusal.body, refusal.status, headers | refusal.headers)
            return JSONResponse(answer, status, headers)

        return Route(path, endpoint, methods=[method])

    def _caller(self, request: Request, access: Access) -> tuple[str | None, str]:
        scheme, _, token = request.headers.get("authorization", "").partition(" ")
        known = self.owner.state.tokens.get(token)
        expired = known is not None and known.expires_at is not None and known.expires_at <= self.owner.time.now()
        is_app = token == self.owner.bearer_token
        if scheme.lower() != "bearer" or expired or not (known or is_app):
            raise Refusal(401, problem("", "Unauthorized", "Unauthorized", 401))
        if (access == "user" and is_app) or (access == "app" and not is_app):
            kind = "OAuth 2.0 Application-Only" if is_app else "OAuth 2.0 User Context"
            detail = f"Authenticating with {kind} is forbidden for this endpoint."
            raise Refusal(403, problem("unsupported-authentication", "Unsupported Authentication", detail, 403))
        return (known.user_id if known else None), token

    def _count(self, endpoint: str, token: str, limits: tuple[Limit, ...]) -> dict[str, str]:
        """Count the call in each window; the headers tell of the tightest one."""
        if not self.owner.limits:
            return {}
        now = self.owner.time.now()
        readings = []
        for limit, window in limits:
            key = (endpoint, token, window)
            start, used = self._windows.get(key, (now, 0))
            if now - start >= window:
                start, used = now, 0
            self._windows[key] = (start, used + 1)
            readings.append((limit - used - 1, limit, start + window))
        if not readings:
            return {}
        left, limit, resets_at = min(readings)
        headers = {
            "x-rate-limit-limit": str(limit),
            "x-rate-limit-remaining": str(max(0, left)),
            "x-rate-limit-reset": str(int(resets_at.timestamp()) + 1),
        }
        if left < 0:
            raise Refusal(429, {"errors": [{"code": 88, "message": "Rate limit exceeded"}]}, headers)
        return headers


def invalid(detail: str, **more: Any) -> Refusal:
    """A request that X finds wrong."""
    return Refusal(400, problem("invalid-request", "Invalid Request", detail, 400, **more))


def forbidden(detail: str) -> Refusal:
    """A request that X will not do."""
    return Refusal(403, problem("", "Forbidden", detail, 403))


def not_found(resource: str, id: str, parameter: str = "id") -> Refusal:
    """A resource that is not there."""
    detail = f"Could not find {resource} with {parameter}: [{id}]."
    more = {"resource_type": resource, "resource_id": id, "parameter": parameter, "value": id}
    return Refusal(404, problem("resource-not-found", "Not Found Error", detail, 404, **more))


def unknown_keys(body: Json, known: set[str]) -> None:
    """X takes no keys that its schema does not name. Raises Refusal."""
    for key in sorted(set(body) - known):
        raise invalid(f"$.{key}: is not defined in the schema and the schema does not allow additional properties")


def checked_id(value: Any, parameter: str) -> str:
    """A snowflake in a path or body. Raises Refusal."""
    if not isinstance(value, str) or not re.fullmatch("[0-9]{1,19}", value):
        detail = f"The `{parameter}` [{value}] does not match ^[0-9]{{1,19}}$"
        raise invalid(detail, parameter=parameter, value=str(value))
    return value


def page_size(call: Call, lowest: int, default: int) -> int:
    """`max_results`. Raises Refusal when it is not a number between X's bounds."""
    value = call.parameters.get("max_results", str(default))
    if not value.isdecimal() or not lowest <= int(value) <= 100:
        raise invalid(f"The `max_results` query parameter value [{value}] is not between {lowest} and 100")
    return int(value)


def instant(call: Call, name: str) -> datetime | None:
    """A time parameter, with a zone. Raises Refusal."""
    value = call.parameters.get(name)
    if value is None:
        return None
    try:
        moment = datetime.fromisoformat(value)
    except ValueError:
        moment = None
    if moment is None or moment.tzinfo is None:
        raise invalid(f"Invalid '{name}':'{value}'. '{name}' must be a valid RFC3339 date-time.")
    return moment
