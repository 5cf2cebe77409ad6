"""Mastodon's API for one account: its token on each call, and what its refusals mean."""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

import httpx2

from gateway_mastodon.config import MastodonConfig
from gateway_mastodon.statuses import View
from gateway_schemas.errors import GatewayError, Gone, Malformed, Reauthorise, Rejected, Retry
from gateway_schemas.http import call, json_object
from gateway_schemas.limits import BUCKET, Budget, LimitReading, metered, retry_after
from gateway_schemas.plugin import Setup
from gateway_schemas.text import parse_json
from gateway_schemas.time import TimeSource

ALL = "*"
READ = "read"
WRITE = "write"
MEDIA = "media"
DELETE = "delete"
BUDGETS = (
    # Mastodon's documentation, "Rate limits": by account; uploads and deletions have a tighter one
    Budget(ALL, 300, timedelta(minutes=5)),
    Budget(MEDIA, 30, timedelta(minutes=30)),
    Budget(DELETE, 30, timedelta(minutes=30)),
)
_TIGHT = {MEDIA, DELETE}
_MIN_ID = re.compile(r"[?&]min_id=([A-Za-z0-9_-]+)")
_MAX_ID = re.compile(r"[?&]max_id=([A-Za-z0-9_-]+)")
Parameters = Sequence[tuple[str, str]]


class Listed:
    """One page of a list, newest first, and where the pages on either side of it are."""

    def __init__(self, body: bytes, items: list[dict[str, Any]], links: Mapping[str, str]) -> None:
        self.body = body
        self.items = items
        self.newer = _parameter(_MIN_ID, links.get("prev")) or (items[0]["id"] if items else None)
        self.older = _parameter(_MAX_ID, links.get("next")) or (items[-1]["id"] if items else None)


class Api:
    """Calls for one connection."""

    def __init__(self, setup: Setup[MastodonConfig], config: MastodonConfig, http: httpx2.AsyncClient) -> None:
        self.config = config
        self.http = http
        self.time: TimeSource = setup.time
        self.view = View(config.account, config.account_id, config.home)

    def now(self) -> datetime:
        """The current time."""
        return self.time.now()

    @property
    def headers(self) -> dict[str, str]:
        """The account's token."""
        return {"authorization": f"Bearer {self.config.access_token.get_secret_value()}"}

    async def listed(self, path: str, parameters: Parameters) -> Listed:
        """A page of a list whose entries have ids. Raises GatewayError."""
        response = await self.request("GET", path, bucket=READ, effect=False, params=list(parameters))
        body = parse_json(response.content)
        if not isinstance(body, list):
            raise Malformed(f"{path}: expected a list, not {type(body).__name__}", code="malformed")
        items = [item for item in body if isinstance(item, dict) and isinstance(item.get("id"), str)]
        links = {name: str(link.get("url", "")) for name, link in response.links.items() if name}
        return Listed(response.content, items, links)

    async def get(self, path: str, parameters: Parameters = ()) -> tuple[bytes, dict[str, Any]]:
        """Read one thing: its exact bytes, and what they say. Raises GatewayError."""
        response = await self.request("GET", path, bucket=READ, effect=False, params=list(parameters))
        return response.content, json_object(response)

    async def raw(self, path: str) -> bytes:
        """Read something of any shape. Raises GatewayError."""
        return (await self.request("GET", path, bucket=READ, effect=False)).content

    async def change(
        self,
        method: str,
        path: str,
        body: Mapping[str, Any] | None = None,
        *,
        bucket: str = WRITE,
        effect: bool,
        headers: Mapping[str, str] | None = None,
        expected: Collection[int] | None = None,
        **request: Any,
    ) -> tuple[int, dict[str, Any]]:
        """Change something; with `effect`, what must not happen twice. Raises GatewayError."""
        if body is not None:
            request["json"] = dict(body)
        response = await self.request(
            method, path, bucket=bucket, effect=effect, headers=headers, expected=expected, **request
        )
        return response.status_code, json_object(response, effect=effect)

    async def request(
        self,
        method: str,
        path: str,
        *,
        bucket: str,
        effect: bool,
        headers: Mapping[str, str] | None = None,
        **rest: Any,
    ) -> httpx2.Response:
        """One call with the account's token. Raises GatewayError."""
        return await call(
            self.http,
            method,
            self.config.base_url + path,
            effect=effect,
            now=self.now(),
            classify=lambda response: refusal(response, bucket, self.now()),
            headers={**self.headers, **(headers or {})},
            extensions=metered(bucket),
            **rest,
        )


def limits_of(response: httpx2.Response, bucket: str) -> list[LimitReading]:
    """Mastodon tells of the one limit that a call counts against, its reset as an ISO time."""
    limit, remaining = (_number(response.headers.get(f"x-ratelimit-{name}")) for name in ("limit", "remaining"))
    if limit is None and remaining is None:
        return []
    named = bucket if bucket in _TIGHT else ALL
    return [LimitReading(named, limit, remaining, moment(response.headers.get("x-ratelimit-reset")))]


def refusal(response: httpx2.Response, bucket: str, now: datetime) -> GatewayError | None:
    """What an answer means, by its status; None leaves it to the common table. The words are the server's."""
    words = told(response)
    code = f"http_{response.status_code}"
    match response.status_code:
        case 401:
            reason = "the server refused the account's token: make a new one and enter it"
            return Reauthorise(reason, code="token_refused")
        case 404 | 410:
            return Gone(f"the server has no such thing: {words}", code=code)
        case 429:
            named = response.request.extensions.get(BUCKET, bucket) if bucket in _TIGHT else None
            reason = f"the server allows no more calls of {bucket} now"
            return Retry(reason, after=_wait(response, now), bucket=named, code=code)
        case 400 | 403 | 422:
            return Rejected(f"the server refused it: {words}", code=code)
    return None


def told(response: httpx2.Response) -> str:
    """The server's words, `{"error": …, "error_description": …}`."""
    try:
        body = response.json()
    except (ValueError, RecursionError):
        return "without a reason"
    words = [body.get("error_description"), body.get("error")] if isinstance(body, dict) else []
    return next((word for word in words if isinstance(word, str) and word), "without a reason")


def _wait(response: httpx2.Response, now: datetime) -> timedelta | None:
    """Until the window starts anew, or what Retry-After says where that is longer."""
    waits = [retry_after(response.headers.get("retry-after"), now)]
    if (reset := moment(response.headers.get("x-ratelimit-reset"))) is not None:
        waits.append(max(timedelta(), reset - now))
    return max((wait for wait in waits if wait is not None), default=None)


def moment(value: Any) -> datetime | None:
    """An ISO 8601 time; None where it is none, or has no zone."""
    if not isinstance(value, str):
        return None
    try:
        at = datetime.fromisoformat(value)
    except ValueError:
        return None
    return at.astimezone(UTC) if at.tzinfo is not None else None


def _number(value: str | None) -> int | None:
    return int(value) if value is not None and value.isascii() and value.isdecimal() and len(value) < 10 else None


def _parameter(pattern: re.Pattern[str], url: str | None) -> str | None:
    found = pattern.search(url or "")
    return found.group(1) if found else None
