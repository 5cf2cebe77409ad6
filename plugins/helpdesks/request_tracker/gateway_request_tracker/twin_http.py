"""How the twin's endpoints answer: authentication, JSON bodies, pages and errors in RT's shapes."""

from __future__ import annotations

import base64
import binascii
import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, TypeVar

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from gateway_request_tracker.twin_model import ApiError, User

if TYPE_CHECKING:
    from gateway_request_tracker.twin import RequestTrackerTwin

T = TypeVar("T")


@dataclass
class Call:
    """One authenticated request with its JSON body."""

    request: Request
    user: User
    body: Any

    @property
    def data(self) -> dict[str, Any]:
        """The body as an object."""
        return self.body if isinstance(self.body, dict) else {}

    def number(self, name: str = "id") -> int:
        """An id in the path."""
        value = str(self.request.path_params[name])
        if not value.isdigit():
            raise ApiError(404, "Not Found")
        return int(value)

    def query(self, name: str, default: str = "") -> str:
        """A query parameter."""
        return str(self.request.query_params.get(name, default))

    @property
    def fields(self) -> list[str]:
        """What of each item is wanted."""
        return [one for one in self.query("fields").split(",") if one]


@dataclass
class Answer:
    """A good answer."""

    body: Any = None
    status: int = 200
    headers: dict[str, str] = field(default_factory=dict)


Handler = Callable[[Call], Answer]


def route(twin: RequestTrackerTwin, method: str, path: str, handler: Handler) -> Route:
    """One endpoint behind authentication. What changes something takes JSON only."""

    async def endpoint(request: Request) -> Response:
        try:
            user = twin.authenticate(request)
            answer = handler(Call(request, user, _json(request, await request.body())))
        except ApiError as error:
            content = json.dumps({"message": error.message}).encode()
            return Response(content, error.status, media_type="application/json; charset=utf-8")
        content = json.dumps(answer.body, ensure_ascii=False).encode()
        return Response(content, answer.status, answer.headers, media_type="application/json; charset=utf-8")

    return Route(f"/REST/2.0/{path}", endpoint, methods=[method])


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


def _json(request: Request, raw: bytes) -> Any:
    if request.method not in ("POST", "PUT"):
        return None
    if request.headers.get("content-type", "").partition(";")[0] != "application/json":
        raise ApiError(415, "Unsupported Media Type")
    try:
        return json.loads(raw or b"{}")
    except ValueError as error:
        raise ApiError(400, f"JSON parse error: {error}\n") from error


def page(
    call: Call,
    items: Sequence[T],
    write: Callable[[T], dict[str, Any]],
    *,
    counted: bool,
    visible: Callable[[T], bool] = lambda _: True,
) -> Answer:
    """A collection, twenty or up to a hundred at a time.

    What may not be seen is taken out of a page after it was cut, so that pages have holes; then nothing is told of the
    total.
    """
    try:
        size, number = int(call.query("per_page", "20")), int(call.query("page", "1"))
    except ValueError:
        size, number = 20, 1
    size = max(1, min(size, 100))
    start = (max(number, 1) - 1) * size
    shown = [write(one) for one in items[start : start + size] if visible(one)]
    total = len(items)
    return Answer(
        {
            "count": len(shown),
            "page": number,
            "per_page": size,
            "total": total if counted else None,
            "pages": -(-total // size) if counted else None,
            "items": shown,
        }
    )
