"""Chatwoot's application API as this plugin calls it: authentication, pages, errors named by recovery."""

from __future__ import annotations

import json as json_module
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

import httpx2

from gateway_chatwoot.config import ChatwootConfig
from gateway_chatwoot.words import number
from gateway_schemas import http as gateway_http
from gateway_schemas.errors import GatewayError, Gone, Malformed, Rejected, Retry
from gateway_schemas.limits import metered, retry_after
from gateway_schemas.time import TimeSource

MOST_PAGES = 50
MESSAGES = 100
"""Messages of one answer, where `after` is asked for."""
CONVERSATIONS = 25
"""Conversations of one page of a list."""


@dataclass(frozen=True)
class File:
    """A file that goes with a message."""

    name: str
    body: bytes
    media_type: str


@dataclass(frozen=True)
class Problem:
    """What an answer says went wrong."""

    reason: str
    fields: tuple[str, ...] = ()


def problem_of(response: httpx2.Response) -> Problem:
    """Read an error body: `error`, or `message` with `attributes`, or `errors`; some have none."""
    try:
        body = response.json()
    except (ValueError, RecursionError):
        body = None
    if not isinstance(body, dict):
        return Problem(f"HTTP {response.status_code}")
    texts = [body.get(name) for name in ("error", "message", "description")]
    listed = body.get("errors")
    for item in listed if isinstance(listed, list) else ():
        texts.append(item.get("message") if isinstance(item, dict) else item)
    named = body.get("attributes")
    fields = tuple(str(one) for one in named) if isinstance(named, list) else ()
    reason = "; ".join(dict.fromkeys(text[:200] for text in texts if isinstance(text, str) and text))
    return Problem(reason[:500] or f"HTTP {response.status_code}", fields)


def status_of(error: GatewayError) -> int | None:
    """The HTTP status that made the error; None when there was no answer."""
    response = gateway_http.answer(error)
    return response.status_code if response is not None else None


def objects(value: object, what: str) -> list[dict[str, Any]]:
    """The objects of a list. Raises Malformed when it is none."""
    if not isinstance(value, list):
        raise Malformed(f"the answer for {what} is no list", code="malformed")
    return [one for one in value if isinstance(one, dict)]


class Api:
    """Requests of one connection. Raises the errors of `gateway_schemas.errors` and nothing else."""

    def __init__(self, http: httpx2.AsyncClient, config: ChatwootConfig, time: TimeSource) -> None:
        self.http = http
        self.config = config
        self.time = time

    async def send(
        self,
        method: str,
        path: str,
        *,
        effect: bool = False,
        json: Any = None,
        files: Sequence[File] = (),
        params: Mapping[str, str] | None = None,
        base: str | None = None,
    ) -> httpx2.Response:
        """One request; any 2xx is good. With `files` the body goes as a form."""
        token = self.config.api_token.get_secret_value()
        request: dict[str, Any] = {"headers": {"api_access_token": token, "Accept": "application/json"}}
        if files:
            request["data"] = {name: _form_value(value) for name, value in json.items()}
            request["files"] = [("attachments[]", (one.name, one.body, one.media_type)) for one in files]
        elif json is not None:
            request["json"] = json
        if params:
            request["params"] = dict(params)
        return await gateway_http.call(
            self.http,
            method,
            f"{base or self.config.api}/{path}",
            effect=effect,
            now=self.time.now(),
            classify=self._classify(method, path),
            extensions=metered("*"),
            **request,
        )

    async def get(self, path: str, params: Mapping[str, str] | None = None) -> dict[str, Any]:
        """Read a JSON object."""
        return gateway_http.json_object(await self.send("GET", path, params=params))

    async def listed(self, path: str, params: Mapping[str, str] | None = None) -> list[dict[str, Any]]:
        """Read a list, plain or as `payload`."""
        response = await self.send("GET", path, params=params)
        try:
            found = response.json()
        except (ValueError, RecursionError) as error:
            raise Malformed(f"the answer for {path} is no JSON", code="malformed") from error
        return objects(found.get("payload") if isinstance(found, dict) else found, path)

    async def me(self) -> dict[str, Any]:
        """The user whose token it is."""
        response = await self.send("GET", "profile", base=f"{self.config.base_url}/api/v1")
        user = gateway_http.json_object(response)
        if number(user.get("id")) is None:
            raise Malformed("the answer names no user", code="malformed")
        return user

    async def conversation(self, id: int) -> dict[str, Any]:
        """One conversation. Raises Gone when it was deleted."""
        return await self.get(f"conversations/{id}")

    async def messages(self, id: int) -> list[dict[str, Any]]:
        """Every message of a conversation, oldest first: a hundred after each one named.

        Raises Retry where there are more than can be read at once.
        """
        found: list[dict[str, Any]] = []
        after = 0
        for _ in range(MOST_PAGES):
            body = await self.get(f"conversations/{id}/messages", {"after": str(after)})
            part = objects(body.get("payload"), "messages")
            found += part
            ids = [one for message in part if (one := number(message.get("id"))) is not None]
            if len(part) < MESSAGES or not ids:
                return found
            after = max(ids)
        raise Retry(f"conversation {id} has more than {len(found)} messages", code="too_many_messages")

    def _classify(self, method: str, path: str) -> Callable[[httpx2.Response], GatewayError | None]:
        def classify(response: httpx2.Response) -> GatewayError | None:
            status, problem = response.status_code, problem_of(response)
            reason = f"Chatwoot refused {method} {path}: {problem.reason}"
            if status == 429:
                after = retry_after(response.headers.get("retry-after"), self.time.now()) or timedelta(minutes=1)
                return Retry(reason, after=after, bucket="*", code="rate_limited")
            if status == 404:
                return Gone(reason, code="http_404")
            if status == 402:
                return Rejected(f"{reason}; the account's plan does not cover it", code="payment_required")
            if 400 <= status < 500 and status not in (401, 408, 410, 425):
                field = problem.fields[0] if problem.fields else None
                return Rejected(reason, code=f"http_{status}", field=field)
            return None

        return classify


def _form_value(value: object) -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    return json_module.dumps(value) if isinstance(value, dict) else str(value)
