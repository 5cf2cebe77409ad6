"""How the twin's endpoints answer: authentication, the limit of requests, bodies and errors in Chatwoot's shapes."""

from __future__ import annotations

import json
import math
from collections.abc import Callable
from dataclasses import dataclass, field
from email import message_from_bytes
from email.policy import HTTP
from typing import TYPE_CHECKING, Any

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from gateway_chatwoot.twin_model import ApiError, Person, not_found
from gateway_schemas.time import TimeSource

if TYPE_CHECKING:
    from gateway_chatwoot.twin import ChatwootTwin


@dataclass
class Call:
    """One authenticated request with its body."""

    request: Request
    user: Person
    body: dict[str, Any]
    files: list[tuple[str, bytes, str]] = field(default_factory=list)

    def number(self, name: str = "id") -> int:
        """An id in the path; anything but digits is no record."""
        value = str(self.request.path_params[name])
        if not value.isdigit():
            raise not_found()
        return int(value)

    def query(self, name: str, default: str = "") -> str:
        """A query parameter."""
        return self.request.query_params.get(name, default)


Handler = Callable[[Call], Any]


class Limits:
    """Requests a minute from one address, as the server's throttle counts them: in whole minutes."""

    def __init__(self, time: TimeSource) -> None:
        self.time = time
        self.a_minute: int | None = 3000
        self._used: tuple[int, int] = (0, 0)

    def off(self) -> None:
        """Switch the limit off."""
        self.a_minute = None

    def take(self) -> None:
        """Count one request. Raises 429, which is plain text."""
        now = self.time.now().timestamp()
        window, used = self._used
        used = used + 1 if window == int(now // 60) else 1
        self._used = (int(now // 60), used)
        if self.a_minute is not None and used > self.a_minute:
            raise ApiError(429, "Retry later\n", {"Retry-After": str(max(1, math.ceil(60 - now % 60)))})


def route(twin: ChatwootTwin, method: str, path: str, handler: Handler, *, admin: bool = False) -> Route:
    """One endpoint behind the limit and the token. What only administrators may is 401 for everybody else."""

    async def endpoint(request: Request) -> Response:
        try:
            raw = await request.body()
            twin.limits.take()
            user = twin.authenticate(request)
            if admin and user.role != "administrator":
                raise ApiError(401, {"error": "You are not authorized to do this action"})
            return _response(handler(_call(request, user, raw)))
        except ApiError as error:
            return _response(error.body, error.status, error.headers)

    return Route(path, endpoint, methods=[method])


def _call(request: Request, user: Person, raw: bytes) -> Call:
    content_type = request.headers.get("content-type", "")
    if content_type.startswith("multipart/form-data"):
        return _form(request, user, content_type, raw)
    if not raw:
        return Call(request, user, {})
    try:
        body = json.loads(raw)
    except ValueError:
        body = None
    if not isinstance(body, dict) or not content_type.startswith("application/json"):
        raise ApiError(400, {"status": 400, "error": "Bad Request"})
    return Call(request, user, body)


def _form(request: Request, user: Person, content_type: str, raw: bytes) -> Call:
    message = message_from_bytes(b"Content-Type: " + content_type.encode() + b"\r\n\r\n" + raw, policy=HTTP)
    call = Call(request, user, {})
    for part in message.iter_parts():
        name, content = str(part.get_param("name", "", header="content-disposition")), part.get_payload(decode=True)
        assert isinstance(content, bytes)
        filename = part.get_filename()
        if filename is not None:
            call.files.append((filename, content, part.get_content_type()))
        elif name == "content_attributes":
            call.body[name] = json.loads(content)
        elif name == "private":
            call.body[name] = content == b"true"
        else:
            call.body[name] = content.decode()
    return call


def _response(body: Any, status: int = 200, headers: dict[str, str] | None = None) -> Response:
    if body is None:
        return Response(b"", status_code=status, headers=headers)
    if isinstance(body, str):
        return Response(body, status_code=status, headers=headers, media_type="text/plain")
    content = json.dumps(body, ensure_ascii=False).encode()
    return Response(content, status_code=status, headers=headers, media_type="application/json")
