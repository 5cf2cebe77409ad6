"""RT's REST 2 as this plugin calls it: authentication, pages, and errors named by recovery."""

from __future__ import annotations

import base64
from collections.abc import Callable, Collection, Mapping, Sequence
from typing import Any

import httpx2

from gateway_request_tracker.config import RequestTrackerConfig
from gateway_request_tracker.words import number
from gateway_schemas import http as gateway_http
from gateway_schemas.errors import GatewayError, Gone, Malformed, Rejected, Retry
from gateway_schemas.time import TimeSource

PAGE = 100
"""RT cuts larger pages to this."""
MOST_PAGES = 30
AT_ONCE = 20
"""Messages whose parts are asked for together."""
HISTORY = "Type,Creator,Created,Field,OldValue,NewValue,Data,ObjectId"


def reason_of(response: httpx2.Response) -> str:
    """What an error body says; its words are shown and never gone by."""
    try:
        body = response.json()
    except (ValueError, RecursionError):
        body = None
    said = body.get("message") if isinstance(body, dict) else None
    return str(said)[:500] if isinstance(said, str) and said else f"HTTP {response.status_code}"


def status_of(error: GatewayError) -> int | None:
    """The HTTP status that made the error; None when there was no answer."""
    response = gateway_http.answer(error)
    return response.status_code if response is not None else None


def messages(response: httpx2.Response) -> list[str]:
    """The sentences that a change is answered with. They are for people: refusals are among them, with status 200."""
    try:
        found = response.json()
    except (ValueError, RecursionError):
        return []
    return [str(one)[:300] for one in found] if isinstance(found, list) else []


def located(response: httpx2.Response) -> str | None:
    """The id at the end of `Location`, which is a path and names what was made."""
    last = response.headers.get("location", "").rstrip("/").rpartition("/")[2]
    return last if last.isascii() and last.isdigit() else None


def quoted(value: str) -> str:
    """A value in TicketSQL and TransactionSQL."""
    return "'" + value.replace("\\", "\\\\").replace("'", "\\'") + "'"


class Api:
    """Requests of one connection. Raises the errors of `gateway_schemas.errors` and nothing else."""

    def __init__(self, http: httpx2.AsyncClient, config: RequestTrackerConfig, time: TimeSource) -> None:
        self.http = http
        self.config = config
        self.time = time
        self.headers = {
            "Authorization": f"token {config.token.get_secret_value()}",
            "Accept": "application/json",
        }

    async def send(
        self,
        method: str,
        path: str,
        *,
        effect: bool = False,
        expected: Collection[int] | None = None,
        json: Any = None,
        params: Mapping[str, str] | None = None,
        etag: str | None = None,
        login: tuple[str, str] | None = None,
    ) -> httpx2.Response:
        """One request; any 2xx is good unless `expected` says otherwise.

        `etag` makes a change conditional: someone else's meanwhile is answered 412, which is Retry. `login` sends it
        as another user, by name and password.
        """
        headers = dict(self.headers)
        if etag is not None:
            headers["If-Match"] = etag
        if login is not None:
            pair = f"{login[0]}:{login[1]}".encode()
            headers["Authorization"] = "Basic " + base64.b64encode(pair).decode()
        request: dict[str, Any] = {"headers": headers}
        if json is not None:
            request["json"] = json
        if params:
            request["params"] = dict(params)
        return await gateway_http.call(
            self.http,
            method,
            f"{self.config.url}/REST/2.0/{path}",
            effect=effect,
            now=self.time.now(),
            expected=expected,
            classify=_classify(method, path, login is not None),
            **request,
        )

    async def get(self, path: str, params: Mapping[str, str] | None = None) -> dict[str, Any]:
        """Read a JSON object."""
        return gateway_http.json_object(await self.send("GET", path, params=params))

    async def page(
        self, path: str, params: Mapping[str, str], page: int = 1, *, json: Any = None
    ) -> list[dict[str, Any]]:
        """One page of a collection. Where rights hide items, and of transactions always, no total is told."""
        asked = {**params, "page": str(page), "per_page": str(PAGE)}
        method = "GET" if json is None else "POST"
        answer = gateway_http.json_object(await self.send(method, path, params=asked, json=json))
        items = answer.get("items")
        if not isinstance(items, list):
            raise Malformed(f"the answer for {path} has no items", code="malformed")
        return [one for one in items if isinstance(one, dict)]

    async def all(self, path: str, params: Mapping[str, str], *, last: int | None = None) -> list[dict[str, Any]]:
        """Every item up to the id `last`. A page that is not full may still not be the last one: what we may not see is
        left out of it. Only an empty one surely is."""
        found: list[dict[str, Any]] = []
        for page in range(1, MOST_PAGES + 1):
            part = await self.page(path, params, page)
            found += part
            if not part or (last is not None and any((number(one.get("id")) or 0) >= last for one in part)):
                return found
        raise Retry(f"{path} has more than {len(found)} entries", code="too_many")

    async def ticket(self, ticket: int) -> tuple[dict[str, Any], str | None]:
        """One ticket and its ETag, which is the id of its last transaction.

        A merged ticket's address answers with the one that it went into.
        """
        response = await self.send("GET", f"ticket/{ticket}")
        return gateway_http.json_object(response), response.headers.get("etag")

    async def history(self, ticket: int, etag: str | None = None) -> list[dict[str, Any]]:
        """Every transaction of a ticket, and of those merged into it, oldest first."""
        last = number((etag or "").strip('"'))
        return await self.all(f"ticket/{ticket}/history", {"fields": HISTORY}, last=last)

    async def attachments(self, transactions: Sequence[str], fields: str, *, texts: bool) -> list[dict[str, Any]]:
        """The parts of these messages; with `texts` of text alone, else pictures would come with their bytes."""
        found: list[dict[str, Any]] = []
        for start in range(0, len(transactions), AT_ONCE):
            asked: list[dict[str, Any]] = [
                {"field": "TransactionId", "operator": "IN", "value": list(transactions[start : start + AT_ONCE])}
            ]
            if texts:
                asked.append({"field": "ContentType", "operator": "LIKE", "value": "text/"})
            for page in range(1, MOST_PAGES + 1):
                part = await self.page("attachments", {"fields": fields}, page, json=asked)
                found += part
                if len(part) < PAGE:
                    break
        return found


def _classify(method: str, path: str, as_customer: bool) -> Callable[[httpx2.Response], GatewayError | None]:
    def classify(response: httpx2.Response) -> GatewayError | None:
        status, reason = response.status_code, f"RT refused {method} {path}: {reason_of(response)}"
        if status == 404:
            return Gone(reason, code="http_404")
        if status == 412:
            return Retry(reason, code="changed_meanwhile")
        if status == 401 and as_customer:
            return Rejected(reason, code="customer_login")
        if status in (400, 403, 405, 409, 413, 415, 422):
            return Rejected(reason, code=f"http_{status}")
        return None

    return classify
