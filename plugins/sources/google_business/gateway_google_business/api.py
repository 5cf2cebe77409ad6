"""Google's APIs for one account: where each of them is, whose token a call carries, and the locations there are."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime, timedelta
from typing import Any, Literal

import httpx2

from gateway_google_business import budgets
from gateway_google_business.config import GoogleApp, GoogleConfig
from gateway_google_business.payloads import LocationPayload, Review, read
from gateway_google_business.refusals import refusal
from gateway_google_business.tokens import Tokens
from gateway_schemas.errors import Malformed, Reauthorise
from gateway_schemas.http import call, json_object
from gateway_schemas.limits import BUCKET, metered
from gateway_schemas.plugin import Setup

Service = Literal[
    "mybusiness",
    "mybusinessaccountmanagement",
    "mybusinessbusinessinformation",
    "mybusinessnotifications",
    "oauth2",
    "pubsub",
    "www",
]
SERVICES: tuple[Service, ...] = Service.__args__  # type: ignore[attr-defined]
TOKEN_PATH = "/token"
CERTS_PATH = "/oauth2/v3/certs"
"""The keys of Google's OpenID Connect tokens, as https://accounts.google.com/.well-known/openid-configuration names
them."""

LOCATION_FIELDS = "name,title,metadata"
LOCATION_PAGE = 100
_LOCATIONS_KEPT = timedelta(hours=1)
_MOST_PAGES = 100


def host(service: Service, base_url: str | None) -> str:
    """The base URL of one of Google's APIs; a twin has them all, one folder each."""
    return f"{base_url}/{service}.googleapis.com" if base_url else f"https://{service}.googleapis.com"


def media_hosts(base_url: str | None) -> tuple[str, ...]:
    """Where pictures and videos of reviews are."""
    return (base_url,) if base_url else ("https://*.googleusercontent.com", "https://*.ggpht.com")


class Api:
    """Calls for one connection."""

    def __init__(
        self, setup: Setup[GoogleConfig], config: GoogleConfig, app: GoogleApp, http: httpx2.AsyncClient
    ) -> None:
        assert setup.state is not None
        self.config = config
        self.app = app
        self.account = config.account
        self._time = setup.time
        self._http = http
        token_url = host("oauth2", app.base_url) + TOKEN_PATH
        self._tokens = Tokens(config, app, http, setup.state, setup.time, token_url)
        self._locations: tuple[datetime, dict[str, LocationPayload]] | None = None

    def now(self) -> datetime:
        """The current time."""
        return self._time.now()

    async def call(
        self,
        method: str,
        service: Service,
        path: str,
        *,
        bucket: str,
        effect: bool = False,
        scope: str | None = None,
        params: Mapping[str, str] | None = None,
        body: Mapping[str, Any] | None = None,
    ) -> httpx2.Response:
        """One call with the account's token, renewed once where Google refuses it. Raises GatewayError."""
        request: dict[str, Any] = {"extensions": metered(bucket, scope=scope)}
        if params:
            request["params"] = dict(params)
        if body is not None:
            request["json"] = dict(body)
        url = f"{host(service, self.app.base_url)}/{path}"
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

    async def get(
        self, service: Service, path: str, *, bucket: str, params: Mapping[str, str] | None = None
    ) -> dict[str, Any]:
        """Read an object. Raises GatewayError."""
        return json_object(await self.call("GET", service, path, bucket=bucket, params=params))

    async def review(self, ref: str) -> tuple[bytes, Review]:
        """One review: its exact bytes, and what they say. Raises Gone when Google does not have it."""
        response = await self.call("GET", "mybusiness", f"v4/{self.account}/{ref}", bucket=budgets.REVIEWS)
        return response.content, read(Review, json_object(response), "review")

    async def locations(self, *, fresh: bool = False) -> dict[str, LocationPayload]:
        """The locations to read, by `locations/{id}`; known for an hour. Raises GatewayError."""
        if not fresh and self._locations is not None and self.now() - self._locations[0] < _LOCATIONS_KEPT:
            return self._locations[1]
        found = await self.locations_of(self.account)
        if self.config.locations:
            wanted = {f"locations/{id}" for id in self.config.locations}
            found = {name: location for name, location in found.items() if name in wanted}
        self._locations = (self.now(), found)
        return found

    async def locations_of(self, account: str) -> dict[str, LocationPayload]:
        """Every location of an account. Raises GatewayError."""
        parameters = {"readMask": LOCATION_FIELDS, "pageSize": str(LOCATION_PAGE)}
        found: dict[str, LocationPayload] = {}
        for _ in range(_MOST_PAGES):
            page = await self.get(
                "mybusinessbusinessinformation", f"v1/{account}/locations", bucket=budgets.LOCATIONS, params=parameters
            )
            for value in page.get("locations") or ():
                location = read(LocationPayload, value, "location")
                found[location.name] = location
            token = page.get("nextPageToken")
            if not token:
                return found
            parameters = {**parameters, "pageToken": str(token)}
        raise Malformed(f"{account} has more than {_MOST_PAGES * LOCATION_PAGE} locations; name those to read")


def readable(location: LocationPayload) -> bool:
    """Whether Google lets reviews of this location be read and answered: those of verified ones."""
    return location.metadata.has_voice_of_merchant is not False
