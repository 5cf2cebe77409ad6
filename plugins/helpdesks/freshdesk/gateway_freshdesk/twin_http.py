"""How the twin's endpoints answer: authentication, limits, JSON bodies, pages and errors in Freshdesk's shapes."""

from __future__ import annotations

import base64
import binascii
import json
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from email import message_from_bytes
from email.policy import HTTP
from typing import TYPE_CHECKING, Any

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from gateway_freshdesk.twin_model import ApiError, Person, invalid, not_found, problem

if TYPE_CHECKING:
    from gateway_freshdesk.twin import FreshdeskTwin

LAST_PAGE = 300
_NESTED = re.compile(r"(\w+)\[(\w*)\]")
_NUMBERS = frozenset(
    {"status", "priority", "source", "group_id", "product_id", "responder_id", "requester_id", "user_id"}
)
_SWITCHES = frozenset({"private", "incoming"})


@dataclass
class Call:
    """One authenticated request with its JSON body."""

    request: Request
    user: Person
    body: dict[str, Any]

    def number(self, name: str = "id") -> int:
        """An id in the path; anything but digits is no record."""
        value = str(self.request.path_params[name])
        if not value.isdigit():
            raise not_found()
        return int(value)

    def query(self, name: str) -> str | None:
        """A query parameter."""
        return self.request.query_params.get(name)

    def allow(self, *names: str) -> None:
        """Refuse query parameters that the endpoint does not know."""
        unknown = [one for one in self.request.query_params if one not in (*names, "page", "per_page")]
        if unknown:
            raise invalid(*(problem(one, "Unexpected/invalid field in request", "invalid_field") for one in unknown))


@dataclass
class Answer:
    """A good answer."""

    body: Any = None
    status: int = 200
    headers: dict[str, str] = field(default_factory=dict)


Handler = Callable[[Call], Answer]


def route(twin: FreshdeskTwin, method: str, path: str, handler: Handler, *, bucket: str | None = None) -> Route:
    """One endpoint behind authentication and limits. Each word of `include` costs a credit more."""

    async def endpoint(request: Request) -> Response:
        headers: dict[str, str] = {}
        try:
            raw = await request.body()
            user = twin.authenticate(request)
            included = [one for one in request.query_params.get("include", "").split(",") if one]
            headers.update(twin.limits.take(bucket, 1 + len(included)))
            answer = handler(Call(request, user, _json(request, raw)))
        except ApiError as error:
            return _response(error.body, error.status, {**headers, **error.headers})
        return _response(answer.body, answer.status, {**headers, **answer.headers})

    return Route(path, endpoint, methods=[method])


def _json(request: Request, raw: bytes) -> dict[str, Any]:
    if not raw:
        return {}
    content_type = request.headers.get("content-type", "")
    if content_type.startswith("multipart/form-data"):
        return _form(content_type, raw)
    if not content_type.startswith("application/json"):
        text = "Content-Type header is set to an unsupported type. It should be application/json or multipart/form-data"
        raise ApiError(415, {"code": "invalid_content_type", "message": text})
    try:
        body = json.loads(raw)
    except ValueError:
        body = None
    if not isinstance(body, dict):
        raise ApiError(400, {"code": "invalid_json", "message": "Request body has invalid json format"})
    return body


def _form(content_type: str, raw: bytes) -> dict[str, Any]:
    """A form as the body that it stands for: `a[]` makes lists, `a[b]` objects, and all values come as text.

    Files are left as (name, bytes, media type) under `attachments`.
    """
    message = message_from_bytes(b"Content-Type: " + content_type.encode() + b"\r\n\r\n" + raw, policy=HTTP)
    body: dict[str, Any] = {}
    for part in message.iter_parts():
        name = str(part.get_param("name", "", header="content-disposition"))
        content = part.get_payload(decode=True)
        assert isinstance(content, bytes)
        value: Any = content.decode("utf-8")[:] if part.get_filename() is None else None
        if value is None:
            value = (part.get_filename(), content, part.get_content_type())
        elif name in _NUMBERS and value.isdigit():
            value = int(value)
        elif name in _SWITCHES and value in ("true", "false"):
            value = value == "true"
        nested = _NESTED.fullmatch(name)
        if nested is None:
            body[name] = value
        elif nested[2] == "":
            body.setdefault(nested[1], []).append(value)
        else:
            body.setdefault(nested[1], {})[nested[2]] = value
    return body


def _response(body: Any, status: int, headers: dict[str, str]) -> Response:
    if body is None:
        return Response(b"", status_code=status, headers=headers)
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


def page(call: Call, items: Sequence[Any], write: Callable[[Any], Any]) -> Answer:
    """A list, thirty or up to a hundred at a time; while there are more, the header `Link` names the next page."""
    number, size = _positive(call, "page", 1), _positive(call, "per_page", 30)
    if size > 100:
        raise invalid(problem("per_page", "It should be a Positive Integer less than or equal to 100", "invalid_value"))
    if number > LAST_PAGE:
        text = f"You cannot access tickets beyond the {LAST_PAGE}th page. Please provide a smaller page number."
        raise invalid(problem("page", text, "invalid_value"))
    start = (number - 1) * size
    headers = {}
    if start + size < len(items):
        following = call.request.url.include_query_params(page=number + 1)
        headers["Link"] = f'<{following}>; rel="next"'
    return Answer([write(one) for one in items[start : start + size]], headers=headers)


def _positive(call: Call, name: str, default: int) -> int:
    value = call.query(name)
    if value is None:
        return default
    if not value.isdigit() or int(value) < 1:
        raise invalid(problem(name, "It should be a Positive Integer", "datatype_mismatch"))
    return int(value)
