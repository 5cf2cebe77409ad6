"""Zammad's API as this plugin calls it: authentication, pages, and errors named by recovery."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Any

import httpx2

from gateway_schemas import http as gateway_http
from gateway_schemas.errors import GatewayError, Gone, Malformed, Rejected
from gateway_schemas.time import TimeSource
from gateway_zammad.config import ZammadConfig

PAGE = 100


def reason_of(response: httpx2.Response) -> str:
    """What an error body says (`error_human` or `error`); its words are shown and never gone by.

    Whoever has no admin rights gets an error's number instead of its cause.
    """
    try:
        body = response.json()
    except (ValueError, RecursionError):
        body = None
    if isinstance(body, dict):
        for name in ("error_human", "error", "message"):
            if isinstance(body.get(name), str) and body[name]:
                return str(body[name])[:500]
    return f"HTTP {response.status_code}"


def status_of(error: GatewayError) -> int | None:
    """The HTTP status that made the error; None when there was no answer."""
    response = gateway_http.answer(error)
    return response.status_code if response is not None else None


def listed(response: httpx2.Response, what: str) -> list[dict[str, Any]]:
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

    def __init__(self, http: httpx2.AsyncClient, config: ZammadConfig, time: TimeSource) -> None:
        self.http = http
        self.config = config
        self.time = time
        # never `From` or `X-On-Behalf-Of`: acting as somebody else takes an admin's rights over all users
        self.headers = {
            "Authorization": f"Token token={config.token.get_secret_value()}",
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
        client: httpx2.AsyncClient | None = None,
    ) -> httpx2.Response:
        """One request; any 2xx is good unless `expected` says otherwise."""
        request: dict[str, Any] = {"headers": self.headers}
        if json is not None:
            request["json"] = json
        if params:
            request["params"] = dict(params)

        def classify(response: httpx2.Response) -> GatewayError | None:
            reason = f"Zammad refused {method} {path}: {reason_of(response)}"
            if response.status_code == 404:
                return Gone(reason, code="http_404")
            if response.status_code in (400, 403, 405, 413, 415, 422):
                return Rejected(reason, code=f"http_{response.status_code}")
            return None

        return await gateway_http.call(
            client or self.http,
            method,
            f"{self.config.url}/api/v1/{path}",
            effect=effect,
            now=self.time.now(),
            expected=expected,
            classify=classify,
            **request,
        )

    async def get(self, path: str, params: Mapping[str, str] | None = None) -> dict[str, Any]:
        """Read a JSON object."""
        return gateway_http.json_object(await self.send("GET", path, params=params))

    async def all(self, path: str, params: Mapping[str, str] | None = None, most: int = 20) -> list[dict[str, Any]]:
        """Every object of a list that is paged by `page` and `per_page`; a short page is the last."""
        found: list[dict[str, Any]] = []
        for page in range(1, most + 1):
            asked = {**(params or {}), "page": str(page), "per_page": str(PAGE)}
            part = listed(await self.send("GET", path, params=asked), path)
            fresh = [one for one in part if one not in found]
            found += fresh
            if len(part) < PAGE or not fresh:
                break
        return found

    async def ticket(self, ticket: int) -> dict[str, Any]:
        """One ticket with the names of its state, priority, group, owner and customer."""
        return await self.get(f"tickets/{ticket}", {"expand": "true"})

    async def articles(self, ticket: int) -> list[dict[str, Any]]:
        """All articles of a ticket, oldest first; Zammad does not page them."""
        response = await self.send("GET", f"ticket_articles/by_ticket/{ticket}", params={"expand": "true"})
        return listed(response, "articles")

    async def tags(self, ticket: int) -> list[str]:
        """The ticket's tags."""
        found = (await self.get("tags", {"object": "Ticket", "o_id": str(ticket)})).get("tags")
        return [tag for tag in found if isinstance(tag, str)] if isinstance(found, list) else []

    async def users(self, name: str, value: str) -> list[dict[str, Any]]:
        """Users of whom this is the login or the address, by Zammad's search.

        The search index takes `x:42` for a field x, and so wants it quoted; a Zammad without one looks for the quotes.
        """
        for query in (f'"{value}"', value):
            found = listed(await self.send("GET", "users/search", params={"query": query, "limit": "50"}), "users")
            named = [one for one in found if one.get(name) == value]
            if named:
                return named
        return []

    async def links(self, ticket: int) -> list[dict[str, Any]]:
        """What the ticket is linked with, as seen from it: `link_type` is what the other one is to it."""
        asked = {"link_object": "Ticket", "link_object_value": str(ticket)}
        found = (await self.get("links", asked)).get("links")
        return [one for one in found if isinstance(one, dict)] if isinstance(found, list) else []
