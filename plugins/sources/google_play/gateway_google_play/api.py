"""Google's APIs for one app: where they are, and whose token a call carries."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import Any, Literal
from urllib.parse import quote

import httpx2

from gateway_google_play import budgets
from gateway_google_play.config import PlayApp, PlayConfig
from gateway_google_play.names import read_ref
from gateway_google_play.payloads import Review, read
from gateway_google_play.refusals import refusal
from gateway_google_play.tokens import Tokens
from gateway_schemas.errors import Reauthorise, Rejected
from gateway_schemas.http import call, json_object
from gateway_schemas.limits import BUCKET, metered
from gateway_schemas.plugin import Setup, StateStore

Service = Literal["androidpublisher", "oauth2"]
SERVICES: tuple[Service, ...] = ("androidpublisher", "oauth2")
TOKEN_PATH = "/token"


def host(service: Service, base_url: str | None) -> str:
    """The base URL of one of Google's APIs; a twin has them all, one folder each."""
    return f"{base_url}/{service}.googleapis.com" if base_url else f"https://{service}.googleapis.com"


def store_page(package: str) -> str:
    """The app's page in the store. A review has no address of its own."""
    return f"https://play.google.com/store/apps/details?id={package}"


class Api:
    """Calls for one connection."""

    def __init__(
        self, setup: Setup[PlayConfig], config: PlayConfig, app: PlayApp, http: httpx2.AsyncClient, state: StateStore
    ) -> None:
        self.config = config
        self.app = app
        self.package = config.package_name
        self.state = state
        self._time = setup.time
        self._http = http
        self._tokens = Tokens(app, http, state, setup.time, host("oauth2", app.base_url) + TOKEN_PATH)

    def now(self) -> datetime:
        """The current time."""
        return self._time.now()

    def note(self, kind: str, **more: Any) -> dict[str, Any]:
        """What a page is stored with."""
        return {"package": self.package, "kind": kind, "app": self.config.app_name, **more}

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
        """One call for the app's reviews, with a new token where Google refuses one. Raises GatewayError."""
        request: dict[str, Any] = {"extensions": metered(bucket, scope=self.package)}
        if params:
            request["params"] = dict(params)
        if body is not None:
            request["json"] = dict(body)
        url = f"{host('androidpublisher', self.app.base_url)}/androidpublisher/v3/applications/{self.package}/{path}"
        token = await self._tokens.access()
        try:
            return await self._try(method, url, token, effect=effect, **request)
        except Reauthorise as error:
            if error.code != "token_refused":
                raise
        # refused for its token, nothing happened: the same call may be made with another one
        return await self._try(method, url, await self._tokens.access(refused=token), effect=effect, **request)

    async def _try(self, method: str, url: str, token: str, **request: Any) -> httpx2.Response:
        bucket = request["extensions"][BUCKET]
        return await call(
            self._http,
            method,
            url,
            now=self.now(),
            classify=lambda response: refusal(response, bucket, self.now()),
            headers={"authorization": f"Bearer {token}"},
            **request,
        )

    async def reviews(self, size: int, token: str | None = None) -> tuple[bytes, dict[str, Any]]:
        """One page of the week's reviews, newest change first. Raises GatewayError."""
        params = {"maxResults": str(size), **self._translated()}
        if token:
            params["token"] = token
        response = await self.call("GET", "reviews", bucket=budgets.READ, params=params)
        return response.content, json_object(response)

    async def review(self, ref: str) -> tuple[bytes, Review]:
        """One review: its exact bytes, and what they say. Raises Gone when Google does not have it."""
        response = await self.call("GET", self.path(ref), bucket=budgets.READ, params=self._translated())
        return response.content, read(Review, json_object(response), "review")

    def path(self, ref: str) -> str:
        """Where a review of this app is. Raises Rejected for an id that names none."""
        parts = read_ref(ref)
        if parts is None or parts.package != self.package:
            raise Rejected(f"{ref[:120]} names no review of {self.package}", code="no_target")
        return f"reviews/{quote(parts.id, safe=':')}"

    def _translated(self) -> dict[str, str]:
        language = self.config.translation_language
        return {"translationLanguage": language} if language else {}
