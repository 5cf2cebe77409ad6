"""The AT Protocol's calls for one account: its session on each, and the service that a call is for."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any

import httpx2

from gateway_bluesky.config import BlueskyConfig
from gateway_bluesky.refusals import CHAT, READ, WRITE, problem, refusal, snake
from gateway_bluesky.sessions import Sessions, ended
from gateway_schemas.errors import GatewayError, Reauthorise, Rejected
from gateway_schemas.http import answer, call, json_object
from gateway_schemas.limits import metered
from gateway_schemas.plugin import Setup, StateStore

Parameters = Sequence[tuple[str, str]]


class Api:
    """Calls for one connection. All go to the account's own server, which asks the index and the chat service."""

    def __init__(
        self, setup: Setup[BlueskyConfig], config: BlueskyConfig, http: httpx2.AsyncClient, state: StateStore
    ) -> None:
        self.config = config
        self.did = config.did
        self.http = http
        self.sessions = Sessions(config, http, state, setup.time)
        self._time = setup.time

    def now(self) -> datetime:
        """The current time."""
        return self._time.now()

    async def get(
        self, method: str, parameters: Parameters = (), *, chat: bool = False
    ) -> tuple[bytes, dict[str, Any]]:
        """Ask something: the exact bytes, and what they say. Raises GatewayError."""
        bucket = CHAT if chat else READ
        response = await self._call("GET", method, bucket=bucket, effect=False, params=list(parameters))
        return response.content, json_object(response)

    async def post(
        self,
        method: str,
        body: Mapping[str, Any] | bytes,
        *,
        effect: bool,
        chat: bool = False,
        media_type: str | None = None,
    ) -> dict[str, Any]:
        """Change something; with `effect`, what must not happen twice. Raises GatewayError."""
        request: dict[str, Any] = {"json": dict(body)} if isinstance(body, Mapping) else {"content": body}
        headers = {"content-type": media_type} if media_type else None
        bucket = CHAT if chat else WRITE
        response = await self._call("POST", method, bucket=bucket, effect=effect, headers=headers, **request)
        return json_object(response, effect=effect)

    async def _call(self, http_method: str, method: str, **request: Any) -> httpx2.Response:
        token = await self.sessions.access()
        try:
            return await self._try(http_method, method, token, **request)
        except (Reauthorise, Rejected) as error:
            response = answer(error)
            if response is None or not ended(response):
                raise
        # refused for its token, nothing happened: the same call may be made with another one
        token = await self.sessions.renew(token)
        try:
            return await self._try(http_method, method, token, **request)
        except (Reauthorise, Rejected) as error:
            response = answer(error)
            if response is None or not ended(response):
                raise
            # a fresh session is good, so it is this call that it may not make
            if request["bucket"] == CHAT:
                reason = "the app password has no access to direct messages: make one that has, or switch them off"
                raise Rejected(reason, code="messages_not_allowed") from error
            raise Reauthorise(f"the server refuses even a new session: {problem(response)[1]}") from error

    async def _try(
        self, http_method: str, method: str, token: str, *, bucket: str, headers: Any = None, **request: Any
    ) -> httpx2.Response:
        sent = {"authorization": f"Bearer {token}", **(headers or {})}
        if bucket == CHAT:
            sent["atproto-proxy"] = self.config.chat_service
        return await call(
            self.http,
            http_method,
            f"{self.config.home}/xrpc/{method}",
            now=self.now(),
            classify=lambda response: refusal(response, bucket, self.now()),
            headers=sent,
            extensions=metered(bucket),
            **request,
        )


def named(error: GatewayError) -> str:
    """The name of the error in the answer that made a call raise this, as `snake_case`; empty without one."""
    response = answer(error)
    return snake(problem(response)[0]) if response is not None else ""
