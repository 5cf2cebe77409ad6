"""App Store Connect's API for one app: where it is, whose token a call carries, and the few resources that are read."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime, timedelta
from typing import Any

import httpx2

from gateway_app_store import budgets
from gateway_app_store.config import AppStoreApp, AppStoreConfig
from gateway_app_store.payloads import Response, Review, included, read
from gateway_app_store.refusals import refusal
from gateway_app_store.tokens import Tokens
from gateway_schemas.errors import GatewayError, Malformed, Reauthorise
from gateway_schemas.http import call, json_object
from gateway_schemas.limits import metered
from gateway_schemas.plugin import Setup, StateStore

APPLE = "https://api.appstoreconnect.apple.com"
_HOUR = timedelta(hours=1)


def host(base_url: str | None) -> str:
    """Where the API is."""
    return base_url or APPLE


def store_page(app_id: str) -> str:
    """The app's page in the store. A review has no address of its own."""
    return f"https://apps.apple.com/app/id{app_id}"


class Api:
    """Calls for one connection."""

    def __init__(
        self,
        setup: Setup[AppStoreConfig],
        config: AppStoreConfig,
        app: AppStoreApp,
        http: httpx2.AsyncClient,
        state: StateStore,
    ) -> None:
        self.config = config
        self.app = app
        self.state = state
        self._time = setup.time
        self._http = http
        self._tokens = Tokens(app, setup.time)
        self._name: str | None = None
        self._name_asked: datetime | None = None

    def now(self) -> datetime:
        """The current time."""
        return self._time.now()

    async def call(
        self,
        method: str,
        path: str,
        *,
        bucket: str,
        effect: bool = False,
        params: Mapping[str, str] | None = None,
        body: Mapping[str, Any] | None = None,
    ) -> httpx2.Response:
        """One call, once more with a new token where Apple refuses the old one. Raises GatewayError.

        `path` is below the host, or a whole address that an answer gave for its next page.
        """
        request: dict[str, Any] = {"extensions": metered(bucket)}
        if params:
            request["params"] = dict(params)
        if body is not None:
            request["json"] = dict(body)
        url = path if path.startswith(host(self.app.base_url) + "/") else f"{host(self.app.base_url)}/{path}"
        token = self._tokens.current()
        try:
            return await self._try(method, url, token, effect, request)
        except Reauthorise:
            fresh = self._tokens.current(refused=token)
            if fresh == token:
                raise
        # refused for its token, nothing happened: a clock may have jumped
        return await self._try(method, url, fresh, effect, request)

    async def _try(
        self, method: str, url: str, token: str, effect: bool, request: Mapping[str, Any]
    ) -> httpx2.Response:
        return await call(
            self._http,
            method,
            url,
            effect=effect,
            now=self.now(),
            classify=lambda response: refusal(response, self.now()),
            headers={"authorization": f"Bearer {token}"},
            **request,
        )

    async def get(self, path: str, *, bucket: str, params: Mapping[str, str] | None = None) -> dict[str, Any]:
        """Read a document. Raises GatewayError."""
        return json_object(await self.call("GET", path, bucket=bucket, params=params))

    async def reviews(self, size: int, following: str | None = None) -> tuple[bytes, dict[str, Any]]:
        """One page of the app's reviews with their responses, newest first. Raises GatewayError."""
        path, params = following, None
        if path is None:
            path = f"v1/apps/{self.config.app_id}/customerReviews"
            params = {"sort": "-createdDate", "limit": str(size), "include": "response"}
            if self.config.territories:
                params["filter[territory]"] = ",".join(self.config.territories)
        response = await self.call("GET", path, bucket=budgets.REVIEWS, params=params)
        return response.content, json_object(response)

    async def review(self, id: str) -> tuple[bytes, Review, Response | None]:
        """One review and what is in its slot, with the exact bytes. Raises Gone when Apple does not have it."""
        path = f"v1/customerReviews/{id}"
        response = await self.call("GET", path, bucket=budgets.REVIEWS, params={"include": "response"})
        body = json_object(response)
        review = read(Review, body.get("data"), "review")
        there = included(body).get(review.response_id or "")
        return response.content, review, there if there is not None and there.text else None

    async def response(self, id: str) -> tuple[bytes, Response]:
        """One response. Raises Gone when Apple does not have it."""
        answer = await self.call("GET", f"v1/customerReviewResponses/{id}", bucket=budgets.RESPONSES)
        return answer.content, read(Response, json_object(answer).get("data"), "response")

    def next_of(self, body: Mapping[str, Any]) -> str | None:
        """The address of the page that follows. Raises Malformed for one that is elsewhere."""
        links = body.get("links")
        following = links.get("next") if isinstance(links, dict) else None
        if not isinstance(following, str) or not following:
            return None
        if not following.startswith(f"{host(self.app.base_url)}/v1/"):
            raise Malformed("links.next leads away from the API", code="foreign_link")
        return following

    async def name(self) -> str | None:
        """What the app is called; None where Apple does not tell. Asked for once an hour until it is known."""
        if self._name is None and (self._name_asked is None or self.now() - self._name_asked >= _HOUR):
            self._name_asked = self.now()
            path = f"v1/apps/{self.config.app_id}"
            try:
                data = (await self.get(path, bucket=budgets.APPS, params={"fields[apps]": "name"})).get("data")
            except GatewayError:
                return None  # reviews can be read without it
            attributes = data.get("attributes") if isinstance(data, dict) else None
            name = attributes.get("name") if isinstance(attributes, dict) else None
            self._name = name if isinstance(name, str) and name else None
        return self._name

    async def note(self, kind: str, **more: Any) -> dict[str, Any]:
        """What a page is stored with."""
        return {"app": self.config.app_id, "kind": kind, "name": await self.name(), **more}
