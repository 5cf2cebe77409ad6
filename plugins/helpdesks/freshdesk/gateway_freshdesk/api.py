"""Freshdesk's API as this plugin calls it: authentication, pages, errors named by recovery, limits from headers."""

from __future__ import annotations

import base64
import re
from collections.abc import AsyncIterator, Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

import httpx2

from gateway_freshdesk.config import FreshdeskConfig
from gateway_schemas import http as gateway_http
from gateway_schemas.errors import GatewayError, Gone, Malformed, Rejected, Retry
from gateway_schemas.limits import LimitReading, metered, retry_after
from gateway_schemas.time import TimeSource

PAGE = 100
MOST_PAGES = 50
CREATE, UPDATE, LIST, CONTACTS = "tickets-create", "tickets-update", "tickets-list", "contacts-list"
"""Buckets: beside the limit of the account each of these kinds of request has one of its own."""
TOO_MANY = "too_many_conversations"
_NEXT = re.compile(r'<[^<>]*>\s*;[^,<]*rel="?next"?')
_DECIMAL = re.compile(r"\s*(\d{1,7})(?:\.\d*)?\s*")


@dataclass(frozen=True)
class File:
    """A file that goes with a request."""

    name: str
    body: bytes
    media_type: str


@dataclass(frozen=True)
class Problem:
    """What an answer says went wrong."""

    code: str
    reason: str
    field: str | None = None
    known_id: int | None = None
    """Of a duplicate: the id of the contact that has the value already."""


def problem_of(response: httpx2.Response) -> Problem:
    """Read an error body: `errors` of fields, or a code with a message; a 404 has none, and some are not JSON."""
    try:
        body = response.json()
    except (ValueError, RecursionError):
        body = None
    if not isinstance(body, dict):
        return Problem("", f"HTTP {response.status_code}")
    code, field, known_id = str(body.get("code") or ""), None, None
    texts = [_text(body.get("message")), _text(body.get("description"))]
    errors = body.get("errors")
    for item in errors if isinstance(errors, list) else ():
        if not isinstance(item, dict):
            continue
        name = _text(item.get("field"))
        code, field = code or str(item.get("code") or ""), field or name
        texts.append(": ".join(part for part in (name, _text(item.get("message"))) if part))
        more = item.get("additional_info")
        if isinstance(more, dict) and isinstance(more.get("user_id"), int):
            known_id = known_id or more["user_id"]
    reason = "; ".join(dict.fromkeys(text for text in texts if text))
    return Problem(code[:100], reason[:500] or code or f"HTTP {response.status_code}", field, known_id)


def status_of(error: GatewayError) -> int | None:
    """The HTTP status that made the error; None when there was no answer."""
    response = gateway_http.answer(error)
    return response.status_code if response is not None else None


def readings(headers: Mapping[str, str]) -> list[LimitReading]:
    """What headers say of the account's limit: numbers may be written as decimals, and no reset is told."""
    limit, left = _number(headers.get("x-ratelimit-total")), _number(headers.get("x-ratelimit-remaining"))
    return [LimitReading("*", limit, left, None)] if limit is not None and left is not None else []


def form_of(body: Mapping[str, Any]) -> dict[str, list[str]]:
    """A body as form fields, as Freshdesk names them: `tags[]` for each tag, `custom_fields[cf_x]` for each field."""
    fields: dict[str, list[str]] = {}
    for name, value in body.items():
        if isinstance(value, dict):
            fields |= {f"{name}[{key}]": [_form_value(one)] for key, one in value.items() if one is not None}
        elif isinstance(value, list):
            fields[f"{name}[]"] = [_form_value(one) for one in value]
        else:
            fields[name] = [_form_value(value)]
    return fields


def _form_value(value: object) -> str:
    return ("true" if value else "false") if isinstance(value, bool) else str(value)


def objects(response: httpx2.Response, what: str) -> list[dict[str, Any]]:
    """The objects of an answer that is a list. Raises Malformed when it is none."""
    try:
        found = response.json()
    except (ValueError, RecursionError) as error:
        raise Malformed(f"the list of {what} is no JSON", code="malformed") from error
    if not isinstance(found, list):
        raise Malformed(f"the answer for {what} is no list", code="malformed")
    return [one for one in found if isinstance(one, dict)]


class Api:
    """Requests of one connection. Raises the errors of `gateway_schemas.errors` and nothing else."""

    def __init__(self, http: httpx2.AsyncClient, config: FreshdeskConfig, time: TimeSource) -> None:
        self.http = http
        self.config = config
        self.time = time
        pair = f"{config.api_key.get_secret_value()}:X".encode()
        self._headers = {"Authorization": "Basic " + base64.b64encode(pair).decode(), "Accept": "application/json"}

    async def send(
        self,
        method: str,
        path: str,
        *,
        effect: bool = False,
        bucket: str = "read",
        expected: Collection[int] | None = None,
        json: Any = None,
        files: Sequence[File] = (),
        params: Mapping[str, str] | None = None,
    ) -> httpx2.Response:
        """One request; any 2xx is good unless `expected` says otherwise. With `files` the body goes as a form."""
        request: dict[str, Any] = {"headers": self._headers}
        if files:
            request["data"] = form_of(json)
            request["files"] = [("attachments[]", (one.name, one.body, one.media_type)) for one in files]
        elif json is not None:
            request["json"] = json
        if params:
            request["params"] = dict(params)
        return await gateway_http.call(
            self.http,
            method,
            f"{self.config.url}/api/v2/{path}",
            effect=effect,
            now=self.time.now(),
            expected=expected,
            classify=self._classify(method, path, bucket),
            extensions=metered(bucket),
            **request,
        )

    async def get(self, path: str, params: Mapping[str, str] | None = None) -> dict[str, Any]:
        """Read a JSON object."""
        return gateway_http.json_object(await self.send("GET", path, params=params))

    async def page(
        self, path: str, params: Mapping[str, str], number: int = 1, *, bucket: str = "read"
    ) -> tuple[list[dict[str, Any]], bool]:
        """One page of a list, and whether there is another. The `Link` header's URL is not followed, only believed."""
        asked = {**params, "page": str(number), "per_page": str(PAGE)}
        response = await self.send("GET", path, params=asked, bucket=bucket)
        return objects(response, path), bool(_NEXT.search(response.headers.get("link", "")))

    async def pages(
        self, path: str, params: Mapping[str, str] | None = None, *, bucket: str = "read", most: int = MOST_PAGES
    ) -> AsyncIterator[list[dict[str, Any]]]:
        """A list, page by page."""
        for number in range(1, most + 1):
            found, more = await self.page(path, params or {}, number, bucket=bucket)
            yield found
            if not more:
                return

    async def listed(
        self, path: str, params: Mapping[str, str] | None = None, *, bucket: str = "read", most: int = MOST_PAGES
    ) -> list[dict[str, Any]]:
        """Every object of a list."""
        return [one async for found in self.pages(path, params, bucket=bucket, most=most) for one in found]

    async def ticket(self, ticket: int, *, stats: bool = False) -> dict[str, Any]:
        """One ticket. Raises Gone for one that is in the trash or marked as spam: it takes no changes there."""
        found = await self.get(f"tickets/{ticket}", {"include": "stats"} if stats else None)
        if found.get("deleted") is True:
            raise Gone(f"ticket {ticket} was deleted", code="deleted")
        if found.get("spam") is True:
            raise Gone(f"ticket {ticket} was marked as spam", code="spam")
        return found

    async def conversations(self, ticket: int) -> list[dict[str, Any]]:
        """All conversations of a ticket, oldest first. Raises Retry where there are more than can be read."""
        found: list[dict[str, Any]] = []
        for number in range(1, MOST_PAGES + 1):
            part, more = await self.page(f"tickets/{ticket}/conversations", {}, number)
            found += part
            if not more:
                return found
        raise Retry(f"ticket {ticket} has more than {len(found)} conversations", code=TOO_MANY)

    def _classify(self, method: str, path: str, bucket: str) -> Callable[[httpx2.Response], GatewayError | None]:
        def classify(response: httpx2.Response) -> GatewayError | None:
            status, problem = response.status_code, problem_of(response)
            reason = f"Freshdesk refused {method} {path}: {problem.reason}"
            if status == 429:
                return self._limited(response, reason, bucket)
            if status == 404:
                return Gone(reason, code=problem.code or None)
            if 400 <= status < 500 and status not in (401, 408, 410, 425):
                return Rejected(reason, code=problem.code or f"http_{status}", field=problem.field)
            return None

        return classify

    def _limited(self, response: httpx2.Response, reason: str, bucket: str) -> Retry:
        """While the account has requests left, it was the limit of this kind of request alone that ran out."""
        left = [one.remaining for one in readings(response.headers)]
        after = retry_after(response.headers.get("retry-after"), self.time.now()) or timedelta(minutes=1)
        own = bool(left and left[0]) and bucket != "read"
        return Retry(reason, after=after, bucket=bucket if own else None, code="rate_limited")


def _text(value: object) -> str | None:
    return value[:200] if isinstance(value, str) and value else None


def _number(value: str | None) -> int | None:
    matched = _DECIMAL.fullmatch(value) if value is not None and value.isascii() else None
    return int(matched[1]) if matched else None
