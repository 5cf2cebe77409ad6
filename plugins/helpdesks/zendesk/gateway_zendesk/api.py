"""Zendesk's API as this plugin calls it: authentication, pages, errors named by recovery, limits read from headers."""

from __future__ import annotations

import base64
import re
from collections.abc import AsyncIterator, Callable, Collection, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

import httpx2

from gateway_schemas import http as gateway_http
from gateway_schemas.errors import GatewayError, Gone, Malformed, Rejected, Retry, Unknown
from gateway_schemas.limits import LimitReading, metered, retry_after
from gateway_schemas.time import TimeSource
from gateway_zendesk.config import ZendeskConfig

PAGE = 100
MOST_PAGES = 100
_BUCKET_HEADER = "zendesk-ratelimit-"
_PART = re.compile(r"(total|remaining|resets)\s*=\s*(\d+)")
JOBS = "inflight-jobs"


@dataclass(frozen=True)
class Problem:
    """What an answer says went wrong, whichever of its shapes Zendesk chose."""

    code: str
    reason: str
    field: str | None = None


def problem_of(response: httpx2.Response) -> Problem:
    """Read an error body: `error` is a text or an object, or there is an `errors` list, or it is not JSON at all."""
    try:
        body = response.json()
    except (ValueError, RecursionError):
        body = None
    if not isinstance(body, dict):
        return Problem("", f"HTTP {response.status_code}")
    error, errors, details = body.get("error"), body.get("errors"), body.get("details")
    code, texts, field = "", [body.get("description"), body.get("message")], None
    if isinstance(error, str):
        code = error
    elif isinstance(error, dict):
        code = str(error.get("code") or error.get("title") or "")
        texts.append(error.get("message"))
    if isinstance(errors, list):
        for item in errors:
            if isinstance(item, dict):
                code = code or str(item.get("code") or "")
                texts += [item.get("title"), item.get("detail")]
    if isinstance(details, dict):
        for name, items in details.items():
            field = field or str(name)
            for item in items if isinstance(items, list) else ():
                texts.append(item.get("description") if isinstance(item, dict) else None)
    reason = "; ".join(dict.fromkeys(text[:200] for text in texts if isinstance(text, str) and text))
    return Problem(code[:100], reason[:500] or code or f"HTTP {response.status_code}", field)


def status_of(error: GatewayError) -> int | None:
    """The HTTP status that made the error; None when there was no answer."""
    response = gateway_http.answer(error)
    return response.status_code if response is not None else None


def readings(headers: Mapping[str, str], now: datetime) -> list[LimitReading]:
    """What headers say of limits: of all requests of the account (`*`), and of each bucket with a header of its own."""
    found: list[LimitReading] = []
    limit = _number(headers.get("x-rate-limit") or headers.get("ratelimit-limit"))
    left = _number(headers.get("x-rate-limit-remaining") or headers.get("ratelimit-remaining"))
    if limit is not None and left is not None:
        found.append(LimitReading("*", limit, left, _resets(_number(headers.get("ratelimit-reset")), now)))
    for name, value in headers.items():
        if name.lower().startswith(_BUCKET_HEADER):
            parts = {key: _number(number) for key, number in _PART.findall(value)}
            if parts.get("total") is not None and parts.get("remaining") is not None:
                bucket = name.lower().removeprefix(_BUCKET_HEADER)
                resets = _resets(parts.get("resets"), now)
                found.append(LimitReading(bucket, parts["total"], parts["remaining"], resets))
    return found


def _resets(seconds: int | None, now: datetime) -> datetime | None:
    return now + timedelta(seconds=seconds) if seconds is not None else None


def _number(value: str | None) -> int | None:
    # no window of Zendesk's is longer than a day; a number with more digits is a broken header
    return int(value) if value and value.strip().isdecimal() and len(value.strip()) < 8 else None


class Api:
    """Requests of one connection. Raises the errors of `gateway_schemas.errors` and nothing else."""

    def __init__(self, http: httpx2.AsyncClient, config: ZendeskConfig, time: TimeSource) -> None:
        self.http = http
        self.config = config
        self.time = time
        if config.oauth_token is not None:
            credentials = f"Bearer {config.oauth_token.get_secret_value()}"
        else:
            token = config.api_token.get_secret_value() if config.api_token else ""
            credentials = "Basic " + base64.b64encode(f"{config.email}/token:{token}".encode()).decode()
        self._headers = {"Authorization": credentials, "Accept": "application/json"}

    async def send(
        self,
        method: str,
        path: str,
        *,
        effect: bool = False,
        bucket: str = "read",
        scope: str | None = None,
        expected: Collection[int] | None = None,
        headers: Mapping[str, str] | None = None,
        json: Any = None,
        content: bytes | None = None,
        params: Mapping[str, str] | None = None,
    ) -> httpx2.Response:
        """One request; any 2xx is good unless `expected` says otherwise."""
        request: dict[str, Any] = {"headers": {**self._headers, **(headers or {})}}
        if json is not None:
            request["json"] = json
        if content is not None:
            request["content"] = content
        if params:
            request["params"] = dict(params)
        return await gateway_http.call(
            self.http,
            method,
            f"{self.config.url}/api/v2/{path}",
            effect=effect,
            now=self.time.now(),
            expected=expected,
            classify=self._classify(method, path, effect, bucket, scope),
            extensions=metered(bucket, scope=scope),
            **request,
        )

    async def get(self, path: str, params: Mapping[str, str] | None = None, *, bucket: str = "read") -> dict[str, Any]:
        """Read a JSON object."""
        return gateway_http.json_object(await self.send("GET", path, params=params, bucket=bucket))

    async def pages(
        self, path: str, params: Mapping[str, str] | None = None, *, bucket: str = "read"
    ) -> AsyncIterator[dict[str, Any]]:
        """A list, page by page. Cursors are followed, never the URLs in `links`: those could lead elsewhere."""
        cursor: str | None = None
        for _ in range(MOST_PAGES):
            asked = {**(params or {}), "page[size]": str(PAGE), **({"page[after]": cursor} if cursor else {})}
            document = await self.get(path, asked, bucket=bucket)
            yield document
            meta = document.get("meta")
            following = meta.get("after_cursor") if isinstance(meta, dict) and meta.get("has_more") is True else None
            if not isinstance(following, str) or following == cursor:
                return
            cursor = following

    async def listed(
        self, path: str, name: str, params: Mapping[str, str] | None = None, *, bucket: str = "read"
    ) -> list[dict[str, Any]]:
        """Every object of a list."""
        found: list[dict[str, Any]] = []
        async for document in self.pages(path, params, bucket=bucket):
            found += objects(document, name)
        return found

    async def ticket(self, ticket: int) -> dict[str, Any]:
        """One ticket. Raises Gone for a deleted one."""
        found = (await self.get(f"tickets/{ticket}")).get("ticket")
        if not isinstance(found, dict):
            raise Malformed(f"the answer for ticket {ticket} has no ticket", code="malformed")
        if found.get("status") == "deleted":
            raise Gone(f"ticket {ticket} was deleted", code="deleted")
        return found

    async def audits(self, ticket: int) -> tuple[list[dict[str, Any]], list[dict[str, Any]]]:
        """All audits of a ticket, oldest first, and the people that came with them."""
        audits: list[dict[str, Any]] = []
        people: dict[int, dict[str, Any]] = {}
        async for document in self.pages(f"tickets/{ticket}/audits", {"include": "users"}):
            audits += objects(document, "audits")
            if isinstance(document.get("users"), list):
                people.update({user["id"]: user for user in objects(document, "users") if "id" in user})
        return audits, list(people.values())

    def _classify(
        self, method: str, path: str, effect: bool, bucket: str, scope: str | None
    ) -> Callable[[httpx2.Response], GatewayError | None]:
        def classify(response: httpx2.Response) -> GatewayError | None:
            status, problem = response.status_code, problem_of(response)
            code, reason = problem.code, f"Zendesk refused {method} {path}: {problem.reason}"
            if code == "TooManyJobs":
                return Retry(reason, code="too_many_jobs", after=self._wait(response) or _MINUTE, bucket=JOBS)
            if status == 429:
                return self._limited(response, reason, bucket, scope)
            if code == "IdempotentRequestError":
                # something was created with this key and other parameters: only a look-up tells what
                return Unknown(reason, code=code)
            if status == 409:
                # an update that lost a race was not made; of a create in flight nobody knows
                return Unknown(reason, code=code) if method == "POST" and effect else Retry(reason, code=code or None)
            if status == 404 and code == "InvalidEndpoint":
                return Rejected(f"{reason}; check the URL and the plan", code=code)
            if status == 404:
                return Gone(reason, code=code or None)
            if 400 <= status < 500 and status not in (401, 408, 410, 425):
                return Rejected(reason, code=code or f"http_{status}", field=problem.field)
            return None

        return classify

    def _wait(self, response: httpx2.Response) -> timedelta | None:
        return retry_after(response.headers.get("retry-after"), self.time.now())

    def _limited(self, response: httpx2.Response, reason: str, bucket: str, scope: str | None) -> Retry:
        """Which limit ran out decides what has to wait: one ticket, one endpoint or the whole connection."""
        seen = {one.bucket: one.remaining for one in readings(response.headers, self.time.now())}
        exhausted: str | None = next((name for name, left in seen.items() if name != "*" and left == 0), None)
        if exhausted is None and seen.get("*"):
            # the account has requests left and no bucket is empty: it is the limit per ticket or per user, which has
            # no header; a bucket of its own name holds nothing else back
            exhausted = f"{bucket}:{scope}" if scope is not None else bucket
        return Retry(reason, after=self._wait(response), bucket=exhausted, code="rate_limited")


_MINUTE = timedelta(minutes=1)


def objects(document: Mapping[str, Any], name: str) -> list[dict[str, Any]]:
    """The objects of a list in an answer. Raises Malformed when there is no such list."""
    found = document.get(name)
    if not isinstance(found, list):
        raise Malformed(f"the answer has no list {name}", code="malformed")
    return [one for one in found if isinstance(one, dict)]
