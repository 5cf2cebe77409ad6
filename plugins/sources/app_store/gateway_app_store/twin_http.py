"""How the twin answers: whose token it is, how many requests are left, and Apple's refusals (JSON:API)."""

from __future__ import annotations

import json
import re
import secrets
from collections import deque
from collections.abc import Awaitable, Callable, Collection, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

from joserfc import jws, jwt
from joserfc.errors import JoseError
from joserfc.jwk import ECKey
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from gateway_schemas.time import TimeSource

Json = dict[str, Any]
AUDIENCE = "appstoreconnect-v1"
LONGEST = timedelta(minutes=20)
SKEW = timedelta(minutes=1)


class Refusal(Exception):
    """An answer other than success, in Apple's shape."""

    def __init__(self, status: int, code: str, title: str, detail: str, **source: str) -> None:
        super().__init__(code)
        self.status = status
        self.error: Json = {
            "id": secrets.token_hex(8),
            "status": str(status),
            "code": code,
            "title": title,
            "detail": detail,
        }
        if source:
            self.error["source"] = source


def unauthorized() -> Refusal:
    """A token that is none."""
    detail = "Provide a properly configured and signed bearer token, and make sure that it has not expired."
    return Refusal(401, "NOT_AUTHORIZED", "Authentication credentials are missing or invalid.", detail)


def not_found(kind: str, id: str) -> Refusal:
    """A resource that is not there, or not for this key."""
    detail = f"There is no resource of type '{kind}' with id '{id}'"
    return Refusal(404, "NOT_FOUND", "The specified resource does not exist", detail)


def bad_parameter(name: str, detail: str, code: str = "PARAMETER_ERROR.INVALID") -> Refusal:
    """A query parameter that Apple does not take."""
    return Refusal(400, code, "A parameter has an invalid value", detail, parameter=name)


def bad_attribute(pointer: str, detail: str, code: str = "ENTITY_ERROR.ATTRIBUTE.INVALID") -> Refusal:
    """An attribute or relationship that Apple does not take."""
    return Refusal(
        409, code, "The provided entity includes an attribute with an invalid value", detail, pointer=pointer
    )


@dataclass
class Key:
    """A key of the API."""

    id: str
    issuer: str | None
    key: ECKey
    role: str = "CUSTOMER_SUPPORT"
    revoked: bool = False


@dataclass(frozen=True)
class Call:
    """One request that got past authentication and limits."""

    request: Request
    key: Key

    def path(self, name: str) -> str:
        """A part of the path."""
        return str(self.request.path_params[name])

    def query(self, allowed: Collection[str]) -> Mapping[str, str]:
        """The query parameters. Raises Refusal for one that the resource does not have."""
        for name in self.request.query_params:
            if name not in allowed:
                raise bad_parameter(name, f"'{name}' is not a valid query parameter", "PARAMETER_ERROR.ILLEGAL")
        return self.request.query_params

    async def body(self) -> Json:
        """The JSON body. Raises Refusal for what is not JSON."""
        try:
            body = json.loads(await self.request.body())
        except ValueError:
            body = None
        if not isinstance(body, dict):
            detail = "The request entity is not a valid request document object"
            raise Refusal(422, "UNPROCESSABLE_ENTITY", "The request entity cannot be processed", detail)
        return body


Handler = Callable[[Call], Awaitable[Json | None]]


class Wire:
    """Tokens and the rolling hour around every endpoint."""

    def __init__(self, time: TimeSource) -> None:
        self.time = time
        self.keys: dict[str, Key] = {}
        self.limit = 3500
        """Requests that a key has in any hour."""
        self.agreements = True
        """Whether the account holder has accepted the newest agreement."""
        self._used: dict[str, deque[datetime]] = {}

    def add_key(self, id: str, issuer: str | None) -> Key:
        """A key of a team, or of a person without an issuer."""
        key = self.keys[id] = Key(id, issuer, ECKey.generate_key("P-256"))
        return key

    def route(self, method: str, path: str, handler: Handler, status: int = 200) -> Route:
        """One endpoint."""

        async def endpoint(request: Request) -> Response:
            headers: dict[str, str] = {}
            try:
                key = self._caller(request)
                headers["x-rate-limit"] = self._count(key)
                answer = await handler(Call(request, key))
            except Refusal as refusal:
                return JSONResponse({"errors": [refusal.error]}, refusal.status, headers)
            return (
                Response(status_code=204, headers=headers) if answer is None else JSONResponse(answer, status, headers)
            )

        return Route(path, endpoint, methods=[method])

    def _caller(self, request: Request) -> Key:
        scheme, _, token = request.headers.get("authorization", "").partition(" ")
        if scheme.lower() != "bearer":
            raise unauthorized()
        try:
            header = jws.extract_compact(token.encode()).headers()
            key = self.keys[str(header.get("kid"))]
            claims = jwt.decode(token, key.key, algorithms=["ES256"]).claims
            issued, ends = (datetime.fromtimestamp(int(claims[name]), UTC) for name in ("iat", "exp"))
        except (JoseError, ValueError, LookupError, TypeError, OverflowError):
            raise unauthorized() from None
        now = self.time.now()
        owner = claims.get("iss") == key.issuer if key.issuer else claims.get("sub") == "user" and "iss" not in claims
        timely = now < ends and issued <= now + SKEW and timedelta() < ends - issued <= LONGEST
        if key.revoked or not owner or not timely or claims.get("aud") != AUDIENCE:
            raise unauthorized()
        if not self.agreements:
            detail = "A required agreement is missing or has expired. The account holder must accept it."
            code = "FORBIDDEN.REQUIRED_AGREEMENTS_MISSING_OR_EXPIRED"
            raise Refusal(403, code, "A required agreement is missing or has expired.", detail)
        return key

    def _count(self, key: Key) -> str:
        now = self.time.now()
        used = self._used.setdefault(key.id, deque())
        while used and used[0] <= now - timedelta(hours=1):
            used.popleft()
        if len(used) >= self.limit:
            detail = "We've received too many requests for this API. Please wait and try again."
            title = "The request rate limit has been reached."
            raise Refusal(429, "RATE_LIMIT_EXCEEDED", title, detail)
        used.append(now)
        return f"user-hour-lim:{self.limit};user-hour-rem:{self.limit - len(used)};"


def page_size(query: Mapping[str, str], default: int = 50) -> int:
    """A page's size. Raises Refusal for what is no number from 1 to 200."""
    given = query.get("limit")
    if given is None:
        return default
    if not re.fullmatch(r"\d{1,4}", given) or not 1 <= int(given) <= 200:
        raise bad_parameter("limit", f"'{given}' is not a valid value for 'limit', it must be between 1 and 200")
    return int(given)
