"""The providers' door: `/hooks/{App or connection id}`.

Verified requests are answered after they are committed; nothing else is. There is no API key here and no rate limit,
and
nothing between the server and this file that a request in a crisis would have to pay for.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import logging
from collections import Counter
from collections.abc import AsyncIterator
from dataclasses import replace
from typing import Any
from uuid import UUID

from sqlalchemy.exc import SQLAlchemyError
from starlette.types import Receive, Scope, Send

from gateway.api.problems import MEDIA_TYPE, RETRY_AFTER, TITLES, URN
from gateway.connections import ConfigInvalid, Endpoint, PluginMissing
from gateway.net.documents import DocumentUnavailable
from gateway.pipeline.accept import Inbox, count_refusal, verify_with_keys
from gateway.runtime import Runtime
from gateway.security.overlap import note_use
from gateway.security.vault import VaultError
from gateway.settings import Settings
from gateway_schemas.enricher import Enricher
from gateway_schemas.errors import Unverified
from gateway_schemas.webhook import WebhookRequest, WebhookResponse

log = logging.getLogger(__name__)

PATH = "/hooks/{id}"
GROUP = 256
"""The most requests that share a commit."""
DRAIN_SECONDS = 2.0
"""How long the rest of a body that is too large is read and thrown away."""
STORE_SECONDS = 20.0
"""How long a request waits for its commit; then the provider is told to come again."""


class Refused(Exception):
    """The request ends here, with this answer."""

    def __init__(self, status: int, name: str, detail: str, **headers: str) -> None:
        super().__init__(detail)
        self.status = status
        self.headers = [(key.replace("_", "-").encode(), value.encode()) for key, value in headers.items()]
        document = {"type": URN + name, "title": TITLES[name], "status": status, "detail": detail}
        self.body = json.dumps(document).encode()


class Gone(Exception):
    """The client went away before its request was complete."""


class Door:
    """The ASGI application of the door."""

    def __init__(self) -> None:
        self._runtime: Runtime | None = None
        self._inbox: Inbox | None = None
        self._refused: Counter[tuple[UUID, str]] = Counter()
        self._counting: asyncio.Task[None] | None = None

    @contextlib.asynccontextmanager
    async def open(self, runtime: Runtime) -> AsyncIterator[None]:
        """Take requests; at the end, commit what has gathered."""
        self._runtime = runtime
        self._inbox = Inbox(runtime.database, runtime.wake, limit=GROUP)
        try:
            yield
        finally:
            await self._inbox.close()
            if self._counting is not None:
                await self._counting

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request."""
        try:
            status, media_type, body = await self._answer(scope, receive)
            headers = [(b"content-length", str(len(body)).encode())]
            if media_type:
                headers.append((b"content-type", media_type.encode("latin-1")))
        except Refused as refused:
            status, body = refused.status, refused.body
            headers = [(b"content-type", MEDIA_TYPE.encode()), (b"content-length", str(len(body)).encode())]
            headers += refused.headers
            if scope["method"] == "HEAD":
                body = b""
        except Gone:
            return
        await send({"type": "http.response.start", "status": status, "headers": headers})
        await send({"type": "http.response.body", "body": body})

    async def _answer(self, scope: Scope, receive: Receive) -> tuple[int, str, bytes]:
        if scope["method"] not in ("GET", "POST"):
            raise Refused(405, "not-allowed", "Providers GET and POST here.", Allow="GET, POST")
        runtime, inbox = self._runtime, self._inbox
        if runtime is None or inbox is None:
            raise _away("The gateway is starting.")
        try:
            id = UUID(scope["path_params"]["id"])
        except ValueError:
            raise Refused(404, "not-found", "There is no App or connection of that id.") from None
        try:
            endpoint = await runtime.connections.get(id)
        except (SQLAlchemyError, OSError) as error:
            log.error("the database is away: %s", type(error).__name__)
            raise _away("The database cannot be reached.") from error
        except VaultError as error:
            log.error("%s: %s", id, error)
            raise _away("This process cannot open the connection's secrets.") from error
        if endpoint is None:
            raise Refused(404, "not-found", "There is no App or connection of that id.")
        body = await self._read(id, scope["headers"], receive, runtime.settings)
        request = WebhookRequest(
            method=scope["method"],
            path=scope["raw_path"].decode("latin-1"),
            query=scope["query_string"],
            headers=scope["headers"],
            body=body,
            received_at=runtime.now(),
        )
        try:
            endpoint, response = await self._verified(runtime, endpoint, request)
        except Unverified as error:
            await self._count(id, error.code)
            raise Refused(401, "unverified", f"{error.code}: the request was not stored.") from error
        except (SQLAlchemyError, OSError) as error:
            log.error("the database is away: %s", type(error).__name__)
            raise _away("The database cannot be reached.") from error
        except (PluginMissing, ConfigInvalid, DocumentUnavailable, VaultError) as error:
            # it cannot be checked now, so it is neither stored nor lost: the provider tries again
            log.error("%s: %s", id, error)
            raise _away("The connection's plugin cannot check the request at the moment.") from error
        if response is None or response.store:
            try:
                async with asyncio.timeout(STORE_SECONDS):
                    await inbox.store(endpoint, request)
            except (SQLAlchemyError, OSError) as error:  # a time-out is an OSError
                raise _away("The request could not be stored.") from error
        if response is None:
            return 200, "", b""
        return response.status, response.media_type, response.body

    async def _verified(
        self, runtime: Runtime, endpoint: Endpoint, request: WebhookRequest
    ) -> tuple[Endpoint, WebhookResponse | None]:
        """Verify with the configuration that is kept; then with one changed in the last second by another process, and
        with secrets that were replaced and are still valid. Raises Unverified as the first did."""
        try:
            plugin = runtime.connections.instance(endpoint, outgoing=runtime.outgoing)
            return endpoint, await verify_with_keys(plugin, request)
        except Unverified as refused:
            look = await runtime.connections.look_again(endpoint.id)
            if look.current is None:
                raise
            if look.current.version != endpoint.version:
                with contextlib.suppress(Unverified):
                    plugin = runtime.connections.instance(look.current, outgoing=runtime.outgoing)
                    return look.current, await verify_with_keys(plugin, request)
            for id, before in look.retired:
                with contextlib.suppress(Unverified, ConfigInvalid):
                    old = runtime.connections.fresh(before, outgoing=runtime.outgoing)
                    assert not isinstance(old, Enricher)
                    response = await verify_with_keys(old, request)
                    await note_use(runtime.database, id, runtime.now())
                    return replace(look.current, secrets=before.secrets), response
            raise refused

    async def _read(self, id: UUID, headers: list[tuple[bytes, bytes]], receive: Receive, settings: Settings) -> bytes:
        limit, seconds = settings.body_limit, settings.body_seconds
        for name, value in headers:
            if name == b"content-length" and value.isdigit() and int(value[:20]) > limit:
                await self._too_large(id, receive, limit)
        try:
            async with asyncio.timeout(seconds):
                message = await receive()
                body: bytes = message.get("body", b"")
                if message.get("more_body"):
                    chunks = [body]
                    size = len(body)
                    while message.get("more_body") and size <= limit:
                        message = await receive()
                        chunks.append(message.get("body", b""))
                        size += len(chunks[-1])
                    body = b"".join(chunks)
        except TimeoutError:
            await self._count(id, "too_slow")
            raise Refused(408, "too-slow", "The body did not arrive in time.", Connection="close") from None
        if message["type"] == "http.disconnect":
            raise Gone
        if len(body) > limit:
            await self._too_large(id, receive if message.get("more_body") else None, limit)
        return body

    async def _too_large(self, id: UUID, receive: Receive | None, limit: int) -> None:
        await self._count(id, "too_large")
        if receive is not None:
            # a client that is cut off while it sends does not read the answer
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(DRAIN_SECONDS):
                    while (await receive()).get("more_body"):
                        pass
        raise Refused(413, "too-large", f"The body has more than {limit} bytes.", Connection="close")

    async def _count(self, id: UUID, code: str) -> None:
        """Have a refusal counted. One writer counts for all who wait, so that a flood of them costs little."""
        self._refused[id, code] += 1
        if self._counting is None or self._counting.done():
            self._counting = asyncio.create_task(self._write_counts())
        await asyncio.shield(self._counting)

    async def _write_counts(self) -> None:
        assert self._runtime is not None
        while self._refused:
            refused, self._refused = self._refused, Counter()
            for (id, code), count in sorted(refused.items()):
                try:
                    await count_refusal(self._runtime.database, id, code, self._runtime.now(), count=count)
                except (SQLAlchemyError, OSError) as error:
                    log.error("%s: %d refusals (%s) were not counted: %s", id, count, code, type(error).__name__)


def _away(detail: str) -> Refused:
    return Refused(503, "unavailable", detail, Retry_After=str(RETRY_AFTER))


def document(schema: dict[str, Any]) -> None:
    """Describe the door in the app's OpenAPI document."""
    problem = {"content": {MEDIA_TYPE: {"schema": {"$ref": "#/components/schemas/ProblemDocument"}}}}
    answers = {
        "200": {
            "description": "Stored, or the answer to a challenge. An empty 200 means: it is on disk.",
            "content": {"*/*": {"schema": {"type": "string"}}},
        },
        "401": {"description": "The signature is missing, wrong or too old. Counted, not stored.", **problem},
        "404": {"description": "There is no App or connection of that id.", **problem},
        "408": {
            "description": "The body did not arrive in time (GATEWAY_BODY_SECONDS). Counted, not stored.",
            **problem,
        },
        "413": {"description": "The body is over the limit (GATEWAY_BODY_LIMIT). Counted, not stored.", **problem},
        "503": {"description": "Nothing was stored; try again after Retry-After seconds.", **problem},
    }
    operation = {
        "tags": ["door"],
        "description": "What a provider calls. The plugin of the App or connection checks the request, by signature "
        "or whatever that provider has; there is no API key and no rate limit. Any body is taken as it is.",
        "security": [],
        "parameters": [
            {
                "name": "id",
                "in": "path",
                "required": True,
                "schema": {"type": "string", "format": "uuid"},
                "description": "The id of an App with a shared webhook, else of the connection: `door` of the "
                "connection has the whole URL.",
            }
        ],
        "responses": answers,
    }
    body = {"required": False, "content": {"*/*": {"schema": {"type": "string", "format": "binary"}}}}
    schema["paths"][PATH] = {
        "get": {**operation, "summary": "Answer a provider's challenge", "operationId": "door_get"},
        "post": {**operation, "summary": "Take a webhook", "operationId": "door_post", "requestBody": body},
    }
