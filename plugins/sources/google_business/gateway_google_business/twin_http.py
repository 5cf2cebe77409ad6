"""How the twin answers: who is calling, how often they may, and Google's refusals (google.rpc.Status)."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Awaitable, Callable, Collection, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Protocol

from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from gateway_google_business.twin_state import Json, State
from gateway_schemas.time import TimeSource

BUSINESS = "https://www.googleapis.com/auth/business.manage"
CLOUD = "https://www.googleapis.com/auth/cloud-platform"
_TYPE = "type.googleapis.com/google.rpc."


class Refusal(Exception):
    """An answer other than success, in Google's words."""

    def __init__(self, code: int, status: str, message: str, *details: Json) -> None:
        super().__init__(status)
        self.code = code
        self.body = {"error": {"code": code, "message": message, "status": status, "details": list(details)}}
        if not details:
            del self.body["error"]["details"]


def invalid(field: str, description: str) -> Refusal:
    """A request with a field that Google does not take."""
    details = {"@type": _TYPE + "BadRequest", "fieldViolations": [{"field": field, "description": description}]}
    return Refusal(400, "INVALID_ARGUMENT", "Request contains an invalid argument.", details)


def unknown_name(name: str, what: str) -> Refusal:
    """A parameter or JSON field that Google has no such name for."""
    where = "Cannot bind query parameter. Field" if what == "query" else "Cannot find field."
    message = f'Invalid JSON payload received. Unknown name "{name}": {where}'
    details = {"@type": _TYPE + "BadRequest", "fieldViolations": [{"description": message}]}
    return Refusal(400, "INVALID_ARGUMENT", message, details)


def not_found() -> Refusal:
    """A resource that is not there, or that the caller may not know of."""
    return Refusal(404, "NOT_FOUND", "Requested entity was not found.")


def precondition(message: str) -> Refusal:
    """A request that the state of things forbids."""
    return Refusal(400, "FAILED_PRECONDITION", message)


def forbidden(message: str = "The caller does not have permission", *details: Json) -> Refusal:
    """A request that the caller may not make."""
    return Refusal(403, "PERMISSION_DENIED", message, *details)


def error_info(reason: str, **metadata: str) -> Json:
    """The machine-readable reason of an error."""
    return {"@type": _TYPE + "ErrorInfo", "reason": reason, "domain": "googleapis.com", "metadata": metadata}


@dataclass(frozen=True)
class Call:
    """One request that got past authentication and quotas."""

    request: Request
    user: str

    def path(self, name: str) -> str:
        """A part of the path."""
        return str(self.request.path_params[name])

    def query(self, allowed: Collection[str]) -> Mapping[str, str]:
        """The query parameters. Raises Refusal for one that the method does not have."""
        for name in self.request.query_params:
            if name not in allowed:
                raise unknown_name(name, "query")
        return self.request.query_params

    async def body(self, allowed: Mapping[str, type]) -> Json:
        """The JSON body. Raises Refusal for what is not JSON, and for fields the message does not have."""
        try:
            body = json.loads(await self.request.body())
        except ValueError:
            body = None
        if not isinstance(body, dict):
            message = "Invalid JSON payload received. Expected an object."
            raise Refusal(400, "INVALID_ARGUMENT", message)
        for name, value in body.items():
            if name not in allowed:
                raise unknown_name(name, "body")
            # JSON of protocol buffers takes numbers as text too
            number = allowed[name] is int and isinstance(value, str) and value.isdecimal()
            if not number and (not isinstance(value, allowed[name]) or (value is True and allowed[name] is int)):
                raise invalid(name, f"Invalid value at '{name}'")
        return body


Handler = Callable[[Call], Awaitable[Json]]


class Owner(Protocol):
    """What the endpoints need of the twin."""

    time: TimeSource
    state: State
    quota: int | None
    edits: int | None
    disabled: set[str]
    project: str


class Wire:
    """Authentication and quotas around every endpoint."""

    def __init__(self, owner: Owner) -> None:
        self.owner = owner
        self._used: Counter[tuple[str, datetime]] = Counter()

    def route(self, method: str, service: str, path: str, handler: Handler, scope: str = BUSINESS) -> Route:
        """One endpoint of one API."""

        async def endpoint(request: Request) -> Response:
            try:
                self._enabled(service)
                user = self._caller(request, scope)
                self._count(service, self.owner.quota)
                return JSONResponse(await handler(Call(request, user)))
            except Refusal as refusal:
                return JSONResponse(refusal.body, refusal.code)

        return Route(f"/{service}.googleapis.com{path}", endpoint, methods=[method])

    def count_edit(self, location: str) -> None:
        """Count one change of a location's profile. Raises Refusal above ten a minute."""
        self._count(f"edits of {location}", self.owner.edits)

    def _enabled(self, service: str) -> None:
        if service in self.owner.disabled:
            name = f"{service}.googleapis.com"
            info = error_info("SERVICE_DISABLED", service=name, consumer=f"projects/{self.owner.project}")
            raise forbidden(f"{name} has not been used in project {self.owner.project} before or it is disabled.", info)

    def _caller(self, request: Request, scope: str) -> str:
        scheme, _, token = request.headers.get("authorization", "").partition(" ")
        user, until = self.owner.state.tokens.get(token, ("", self.owner.time.now()))
        if scheme.lower() != "bearer" or until <= self.owner.time.now():
            message = "Request had invalid authentication credentials."
            raise Refusal(401, "UNAUTHENTICATED", message)
        if scope not in self.owner.state.users[user].scopes:
            message = "Request had insufficient authentication scopes."
            raise forbidden(message, error_info("ACCESS_TOKEN_SCOPE_INSUFFICIENT"))
        return user

    def _count(self, what: str, limit: int | None) -> None:
        if limit is None:
            return
        key = (what, self.owner.time.now().replace(second=0, microsecond=0))
        self._used[key] += 1
        if self._used[key] > limit:
            info = error_info("RATE_LIMIT_EXCEEDED", quota_limit_value=str(limit), service=f"{what}.googleapis.com")
            message = f"Quota exceeded for quota metric 'Requests' of {what} for consumer '{self.owner.project}'."
            raise Refusal(429, "RESOURCE_EXHAUSTED", message, info)


def page_size(given: Any, default: int, most: int, field: str = "page_size") -> int:
    """A page's size. Raises Refusal for what is no number from 1 to the most."""
    try:
        size = int(given) if given not in (None, "") else default
    except ValueError:
        size = -1
    if size == 0:
        return default
    if not 0 < size <= most:
        raise invalid(field, f"Page size must be between 1 and {most}")
    return size
