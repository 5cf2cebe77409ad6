"""How the twin's endpoints answer: authentication, limits, JSON bodies, pages and errors in Zendesk's shapes."""

from __future__ import annotations

import base64
import binascii
import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from gateway_zendesk.twin_model import ApiError, User

if TYPE_CHECKING:
    from gateway_zendesk.twin import ZendeskTwin

PAGE = 100


@dataclass
class Call:
    """One authenticated request with its JSON body."""

    request: Request
    user: User
    body: dict[str, Any]
    raw: bytes
    headers: dict[str, str] = field(default_factory=dict)
    """Headers to put on the answer, good or bad."""

    def number(self, name: str) -> int:
        """An id in the path; anything but digits is no endpoint."""
        value = self.request.path_params[name].removesuffix(".json")
        if not value.isdigit():
            raise ApiError(404, {"error": "InvalidEndpoint", "description": "Not found"})
        return int(value)

    def text(self, name: str) -> str:
        """A text id in the path."""
        return str(self.request.path_params[name]).removesuffix(".json")

    def query(self, name: str) -> str | None:
        """A query parameter."""
        return self.request.query_params.get(name)

    def ids(self, name: str = "ids") -> list[str]:
        """A comma-separated query parameter; more than 100 are refused."""
        found = [one for one in (self.query(name) or "").split(",") if one]
        if len(found) > 100:
            raise ApiError(400, {"error": "TooManyValues", "description": f"{name} takes at most 100 values"})
        return found

    def wrapped(self, name: str) -> dict[str, Any]:
        """The object under `name` in the body; 400 when it is not there."""
        inner = self.body.get(name)
        if not isinstance(inner, dict):
            description = f"Parameter {name} is required"
            raise ApiError(400, {"error": {"title": "Invalid attribute", "message": description}})
        return inner


@dataclass
class Answer:
    """A good answer."""

    body: Any = None
    status: int = 200
    headers: dict[str, str] = field(default_factory=dict)


Handler = Callable[[Call], Answer]


def route(twin: ZendeskTwin, method: str, path: str, handler: Handler, *, bucket: str | None = None) -> Route:
    """One endpoint behind authentication and limits. `.json` at the end is optional, as documented."""

    async def endpoint(request: Request) -> Response:
        headers: dict[str, str] = {}
        try:
            raw = await request.body()
            user = twin.authenticate(request)
            headers.update(twin.limits.take("account"))
            if bucket is not None:
                headers.update(twin.limits.take(bucket, hidden=bucket == "users-create"))
            call = Call(request, user, _json(request, raw), raw, headers)
            answer = handler(call)
        except ApiError as error:
            return _response(error.body, error.status, {**headers, **error.headers})
        return _response(answer.body, answer.status, {**headers, **answer.headers})

    return Route(path, endpoint, methods=[method])


def _json(request: Request, raw: bytes) -> dict[str, Any]:
    if not raw or request.url.path.startswith("/api/v2/uploads"):
        return {}
    if "application/json" not in request.headers.get("content-type", ""):
        raise ApiError(415, {"error": "UnsupportedMediaType", "description": "Content-Type must be application/json"})
    try:
        body = json.loads(raw)
    except ValueError:
        body = None
    if not isinstance(body, dict):
        raise ApiError(422, {"error": "Unprocessable Entity", "message": "Server could not parse JSON"})
    return body


def _response(body: Any, status: int, headers: dict[str, str]) -> Response:
    if body is None:
        return Response(b"", status_code=status, headers=headers)
    if isinstance(body, str):
        return Response(body, status_code=status, headers=headers, media_type="text/plain")
    content = json.dumps(body, ensure_ascii=False).encode()
    return Response(content, status_code=status, headers=headers, media_type="application/json")


def basic(authorization: str) -> tuple[str, str] | None:
    """User and password of a Basic header."""
    scheme, _, value = authorization.partition(" ")
    if scheme.lower() != "basic":
        return None
    try:
        user, _, password = base64.b64decode(value).decode().partition(":")
    except (binascii.Error, UnicodeDecodeError):
        return None
    return user, password


def page(call: Call, name: str, items: Sequence[Any], write: Callable[[Any], Any]) -> dict[str, Any]:
    """A list answer: by cursor when `page[size]` is asked for, else by page number."""
    url = str(call.request.url).split("?", 1)[0]
    size = call.query("page[size]")
    if size is not None:
        count = min(max(1, int(size)), PAGE)
        cursor = call.query("page[after]")
        try:
            start = int(base64.b64decode(cursor)) if cursor else 0
        except ValueError as error:
            raise ApiError(400, {"error": "InvalidPaginationParameter", "description": "Invalid cursor"}) from error
        more = start + count < len(items)
        after = base64.b64encode(str(start + count).encode()).decode()
        following = f"{url}?page%5Bafter%5D={after}&page%5Bsize%5D={count}" if more else None
        return {
            name: [write(one) for one in items[start : start + count]],
            "meta": {"has_more": more, "after_cursor": after if more else None, "before_cursor": None},
            "links": {"next": following, "prev": None},
        }
    number = int(call.query("page") or 1)
    count = min(int(call.query("per_page") or PAGE), PAGE)
    part = items[(number - 1) * count : number * count]
    following = f"{url}?page={number + 1}" if number * count < len(items) else None
    return {name: [write(one) for one in part], "next_page": following, "previous_page": None, "count": len(items)}
