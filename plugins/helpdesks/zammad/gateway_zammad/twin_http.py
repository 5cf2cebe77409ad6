"""How the twin's endpoints answer: authentication, rights, JSON bodies, pages and errors in Zammad's shapes."""

from __future__ import annotations

import json
import secrets
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, TypeVar

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from gateway_zammad.twin_model import ApiError, User, not_found

if TYPE_CHECKING:
    from gateway_zammad.twin import ZammadTwin

T = TypeVar("T")


@dataclass
class Call:
    """One authenticated request with its parameters: the JSON body's and the query's, as Rails sees them."""

    request: Request
    user: User
    params: dict[str, Any]

    def number(self, name: str = "id", kind: str = "Ticket") -> int:
        """An id in the path; anything but digits is no record."""
        value = str(self.request.path_params[name])
        if not value.isdigit():
            raise not_found(kind, value)
        return int(value)

    @property
    def expand(self) -> bool:
        """Whether names are wanted."""
        return str(self.params.get("expand", "")).lower() == "true"


@dataclass
class Answer:
    """A good answer; `raw` is a file's bytes."""

    body: Any = None
    status: int = 200
    raw: bytes | None = None
    media_type: str = "application/json"
    headers: dict[str, str] = field(default_factory=dict)


Handler = Callable[[Call], Answer]


def route(twin: ZammadTwin, method: str, path: str, handler: Handler, *, admin: bool = False) -> Route:
    """One endpoint behind authentication; `admin` is for those that change or show the system itself."""

    async def endpoint(request: Request) -> Response:
        user: User | None = None
        try:
            user = twin.authenticate(request)
            if admin and not user.admin:
                raise ApiError(403, "Not authorized (user)!")
            answer = handler(Call(request, user, _params(request, await request.body())))
        except ApiError as error:
            return _failure(error, user)
        if answer.raw is not None:
            return Response(answer.raw, answer.status, answer.headers, answer.media_type)
        content = json.dumps(answer.body, ensure_ascii=False).encode()
        return Response(content, answer.status, answer.headers, "application/json; charset=utf-8")

    return Route(f"/api/v1/{path}", endpoint, methods=[method])


def _failure(error: ApiError, user: User | None) -> Response:
    message = error.message
    body = {"error": message, "error_human": message} if error.human else {"error": message}
    if not error.human and (user is None or not user.admin):
        body = {"error": f"Error ID {secrets.token_hex(4)}: Please contact your administrator."}
    headers = {"X-Failure": message} if error.status in (401, 403) else {}
    return Response(json.dumps(body).encode(), error.status, headers, "application/json; charset=utf-8")


def _params(request: Request, raw: bytes) -> dict[str, Any]:
    params: dict[str, Any] = dict(request.query_params)
    if not raw:
        return params
    if "json" not in request.headers.get("content-type", ""):
        return params  # Rails reads what it takes for a form: nothing of it is one of our names
    try:
        body = json.loads(raw)
    except ValueError as error:
        raise ApiError(400, "Bad Request") from error
    return {**params, **body} if isinstance(body, dict) else params


def paged(call: Call, items: Sequence[T], *, default: int, most: int) -> list[T]:
    """A page by `page` and `per_page` (or `limit`); the size is cut to what is allowed, and nothing says so."""
    try:
        page, size = (
            int(call.params.get("page") or 1),
            int(call.params.get("per_page") or call.params.get("limit") or 0),
        )
    except ValueError as error:
        raise ApiError(422, "Invalid pagination", human=False) from error
    size = min(size or default, most)
    start = (max(page, 1) - 1) * size
    return list(items[start : start + size])
