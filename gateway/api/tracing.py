"""A trace id for every request, in its answer and in every line that is logged on its account."""

from __future__ import annotations

import re
from uuid import uuid4

from starlette.datastructures import Headers, MutableHeaders
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from gateway.tracing.logs import about

HEADER = "Trace-Id"
TRACEPARENT = re.compile(r"[0-9a-f]{2}-(?!0{32})([0-9a-f]{32})-[0-9a-f]{16}-[0-9a-f]{2}")
"""W3C Trace Context, level 1, section 3.2."""


class TraceIds:
    """Takes the trace id of a `traceparent` header that is given, and makes one where there is none."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass the request on within its trace."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        given = TRACEPARENT.fullmatch(Headers(scope=scope).get("traceparent", ""))
        trace = given[1] if given else uuid4().hex

        async def answer(message: Message) -> None:
            if message["type"] == "http.response.start":
                MutableHeaders(scope=message)[HEADER] = trace
            await send(message)

        with about(trace=trace):
            await self._app(scope, receive, answer)
