"""How every route under /v1 behaves, whatever it does: limits, repeated requests, and what the OpenAPI document
says."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Coroutine
from typing import Any
from urllib.parse import unquote_to_bytes

from fastapi import Request
from fastapi.dependencies.models import Dependant
from fastapi.routing import APIRoute
from starlette.responses import Response
from starlette.types import Message

from gateway.api.deps import Needs, caller_of
from gateway.api.idempotency import HEADER, Once
from gateway.api.limits import tell
from gateway.api.problems import Problem, responses

EXTENSION = "x-scopes"
"""The scopes of an operation in the OpenAPI document, for programs; one of them is enough."""
BODY_LIMIT = 1024 * 1024
"""The largest body of a REST request in bytes, but for routes that say otherwise."""


class ApiRoute(APIRoute):
    """A route of the REST API.

    A body over the limit is refused, an address with a NUL names nothing, a POST with an Idempotency-Key is done once,
    and the description names the scopes that the route's `Needs` asks for.
    """

    body_limit = BODY_LIMIT

    def __init__(self, path: str, endpoint: Callable[..., Any], **options: Any) -> None:
        super().__init__(path, endpoint, **options)
        scopes = _scopes(self.dependant)
        if scopes:
            self.description = f"{self.description}\n\nScope: {' or '.join(f'`{one}`' for one in scopes)}.".strip()
            self.openapi_extra = {**(self.openapi_extra or {}), EXTENSION: list(scopes)}
        usual = [400, 401, 403, 422, 429, 503] if scopes else [400]
        if "{" in path:
            usual.append(404)
        if "POST" in (self.methods or ()):
            usual.append(409)
            self.openapi_extra = {**(self.openapi_extra or {}), "parameters": [HEADER]}
        if self.body_field is not None:
            usual.append(413)
        self.responses = {**responses(*sorted(usual)), **self.responses}

    def get_route_handler(self) -> Callable[[Request], Coroutine[Any, Any, Response]]:
        """The handler with all of the above round it."""
        handler = super().get_route_handler()
        scoped = bool(_scopes(self.dependant))

        async def handle(request: Request) -> Response:
            refuse_nul(request)
            request = Request(request.scope, capped(request.receive, self.body_limit))
            key = request.headers.get("idempotency-key")
            if key is None or request.method != "POST" or not scoped:
                return tell(request, await handler(request))
            once = Once(request.app.state.runtime, await caller_of(request), key)
            return tell(request, await once.answer(request, handler))

        return handle


def _scopes(dependant: Dependant) -> tuple[str, ...]:
    for one in dependant.dependencies:
        if isinstance(one.call, Needs):
            return tuple(str(scope) for scope in one.call.scopes)
    return ()


def refuse_nul(request: Request) -> None:
    """PostgreSQL's text holds no NUL, so nothing is found by one. Raises Problem 400."""
    scope = request.scope
    if "\x00" in scope["path"] or b"\x00" in unquote_to_bytes(scope["query_string"]):
        raise Problem(400, "invalid", "The address holds a NUL character.")


def capped(receive: Callable[[], Awaitable[Message]], limit: int) -> Callable[[], Awaitable[Message]]:
    """The same body, up to a number of bytes; then Problem 413 is raised."""
    size = 0

    async def receive_capped() -> Message:
        nonlocal size
        message = await receive()
        size += len(message.get("body", b""))
        if size > limit:
            raise Problem(413, "too-large", f"The body has more than {limit} bytes.")
        return message

    return receive_capped
