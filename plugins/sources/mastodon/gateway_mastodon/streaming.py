"""The account's stream: it says at once what polling would find minutes later, and the only word of some deletions."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from typing import Any

import httpx2

from gateway_mastodon.api import READ, Api, refusal
from gateway_mastodon.payloads import Status, read
from gateway_mastodon.statuses import author, speaks_to
from gateway_schemas.errors import Malformed, Retry
from gateway_schemas.http import endless
from gateway_schemas.limits import metered
from gateway_schemas.text import parse_object
from gateway_schemas.webhook import Hint, RawPage

PATH = "/api/v1/streaming/user"
_SILENCE = 60.0
"""Seconds without a byte after which the stream is dead: Mastodon sends `:thump` every fifteen."""
_LONGEST = 1_000_000
"""Characters of one event."""


async def follow(api: Api) -> AsyncIterator[Hint]:
    """Server-sent events of the account's home and notifications, until the server ends them.

    Mastodon replays nothing, so the first hint has everything polled that came while nobody listened. Raises
    GatewayError.
    """
    url = api.config.streams_at + PATH
    timeout = httpx2.Timeout(15.0, read=_SILENCE)
    extensions = metered(READ) | endless()
    try:
        async with api.http.stream("GET", url, headers=api.headers, timeout=timeout, extensions=extensions) as response:
            if response.status_code != 200:
                await response.aread()
                known = refusal(response, READ, api.now())
                raise known or Retry(f"the stream was answered {response.status_code}", code="no_stream")
            yield Hint()
            async for event, data in _events(response):
                for hint in hints(api, event, data):
                    yield hint
    except httpx2.ReadTimeout as error:
        raise Retry("the stream fell silent", code="stream_silent") from error
    except httpx2.RequestError as error:
        raise Retry(f"the stream broke: {type(error).__name__}", code="stream_broken") from error


async def _events(response: httpx2.Response) -> AsyncIterator[tuple[str, str]]:
    event, data, size = "", [], 0
    async for line in response.aiter_lines():
        size += len(line)
        if size > _LONGEST:
            raise Malformed("the stream sent an event that is too long", code="too_large")
        name, _, value = line.partition(":")
        value = value.removeprefix(" ")
        if name == "event":
            event = value
        elif name == "data":
            data.append(value)
        elif not line:
            if event and data:
                yield event, "\n".join(data)
            event, data, size = "", [], 0


def hints(api: Api, event: str, data: str) -> list[Hint]:
    """What one event asks for.

    A notification is polled for, so that it comes with its id and in its order. A deletion is told nowhere else. An
    edit carries the whole post. What others post to the account's home is none of our business.
    """
    if event == "notification":
        return [Hint(stream="notifications")]
    if event == "delete":
        body = json.dumps({"event": "delete", "payload": data}).encode()
        return [Hint(page=RawPage(body, stream="stream", note=api.view.note("event")))]
    if event not in ("update", "status.update"):
        return []
    try:
        status = read(Status, parse_object(data.encode()), "status")
    except Malformed:
        return []  # polling brings it, and says what is wrong with it
    own = author(status.account, api.view.home).external_id == api.view.account
    if event == "update":
        return [Hint(stream="own")] if own else []
    note: dict[str, Any] = api.view.note("status")
    return [Hint(page=RawPage(data.encode(), stream="stream", note=note))] if own or speaks_to(api.view, status) else []
