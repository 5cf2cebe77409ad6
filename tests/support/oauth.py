"""Connecting accounts by OAuth in tests: a person with a browser, a twin, and a gateway without workers."""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import Any, ClassVar
from uuid import UUID

import httpx2
import pytest
from pydantic import BaseModel, SecretStr

from gateway.oauth.stored import open_tokens
from gateway.pipeline.drains import Drains
from gateway.registry import Registry
from gateway_mastodon.config import MastodonConfig
from gateway_mastodon.plugin import MastodonSource
from gateway_schemas.http import call
from gateway_schemas.oauth import OAuth, OAuthTokens
from gateway_x.twin import XTwin
from support.gateway import LOOPBACK, fresh_database, settings_for
from support.postgres import server_url  # noqa: F401  a fixture
from support.rest import Api, serving

HEADERS = {
    "cache-control": "no-store",
    "referrer-policy": "no-referrer",
    "x-content-type-options": "nosniff",
}


class LongLived(MastodonSource):
    """A source whose tokens are renewed by a call of its own, with the token itself: Instagram's way."""

    name: ClassVar[str] = "long_lived"

    @classmethod
    def oauth_of(cls, config: MastodonConfig, app: BaseModel | None = None) -> OAuth:
        return replace(super().oauth_of(config, app), access_life=timedelta(days=60), renewal="plugin")

    async def oauth_renewed(self, tokens: OAuthTokens) -> OAuthTokens:
        assert tokens.access.get_secret_value() == self.config.access_token.get_secret_value()
        path = f"{self.config.base_url}/api/v1/accounts/verify_credentials"
        given = {"authorization": f"Bearer {tokens.access.get_secret_value()}"}
        await call(self.http, "GET", path, effect=False, now=self.setup.time.now(), headers=given)
        return OAuthTokens(SecretStr(f"{tokens.access.get_secret_value()}-renewed"), expires_in=timedelta(days=60))


def registry() -> Registry:
    """The installed plugins, and one more."""
    found = Registry.load()
    found.sources["long_lived"] = LongLived
    return found


@pytest.fixture(scope="module")
async def api(server_url: str, tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Api]:  # noqa: F811
    """One gateway with the installed plugins, without workers: the tests renew by hand."""
    folder: Path = tmp_path_factory.mktemp("data")
    async with (
        fresh_database(server_url) as url,
        serving(settings_for(url, folder), registry()) as served,
    ):
        yield served


@pytest.fixture
async def x(api: Api) -> AsyncIterator[XTwin]:
    """X with two brands and a confidential client."""
    twin = XTwin(limits=False)
    twin.client_secret = "twin-client-secret"
    twin.add_brand("AcmeSupport")
    twin.add_brand("OtherBrand")
    twin.sign_in("AcmeSupport")
    async with twin.serve():
        yield twin


async def at_x(api: Api, x: XTwin, name: str, **config: Any) -> dict[str, Any]:
    """A connection to X that waits to be connected."""
    app = await api.made("/v1/apps", plugin="x", name=name, config=x.app_config(), allow_private=LOOPBACK)
    return await api.made(
        "/v1/connections",
        plugin="x",
        name=name,
        app=app["id"],
        by_oauth=True,
        config={"direct_messages": False, **config},
        allow_private=LOOPBACK,
    )


async def sent_off(api: Api, connection: dict[str, Any]) -> str:
    """Begin; the address that the person opens."""
    answer = await api.http.post(f"/v1/connections/{connection['id']}/authorize")
    assert answer.status_code == 200, answer.text
    url: str = answer.json()["url"]
    return url


async def returned(url: str) -> str:
    """The person opens the provider's page in a browser; where it sends them."""
    async with httpx2.AsyncClient() as browser:
        answer = await browser.get(url)
    assert answer.status_code == 302, answer.text
    return answer.headers["location"]


async def opened(url: str) -> httpx2.Response:
    """The person's browser opens the gateway's page, without any API key."""
    async with httpx2.AsyncClient() as browser:
        answer = await browser.get(url)
    assert {name: answer.headers.get(name) for name in HEADERS} == HEADERS
    assert "default-src 'none'" in answer.headers["content-security-policy"]
    assert answer.headers["content-type"] == "text/html; charset=utf-8"
    return answer


async def connect(api: Api, connection: dict[str, Any]) -> httpx2.Response:
    """All of the way there and back."""
    return await opened(await returned(await sent_off(api, connection)))


async def shown(api: Api, connection: dict[str, Any]) -> dict[str, Any]:
    """The connection as the API shows it."""
    found: dict[str, Any] = (await api.http.get(f"/v1/connections/{connection['id']}")).json()
    return found


async def config_of(api: Api, connection: dict[str, Any]) -> dict[str, Any]:
    """The configuration that the plugin gets."""
    id = UUID(connection["id"])
    return dict((await api.runtime.connections.load([id]))[id].config or {})


async def tokens_of(api: Api, connection: dict[str, Any]) -> dict[str, Any]:
    """What is sealed on the row."""
    id = UUID(connection["id"])
    sealed = await api.value("SELECT tokens FROM authorisation WHERE connection_id = :id", id=id)
    return open_tokens(api.runtime.vault, id, sealed)


async def renew(api: Api, connection: dict[str, Any]) -> None:
    """The tokens are due, and a worker looks."""
    await api.execute(
        "UPDATE authorisation SET renew_at = :now WHERE connection_id = :id",
        now=api.runtime.now(),
        id=UUID(connection["id"]),
    )
    await Drains(api.runtime, api.runtime.sandbox).run(f"renew:{connection['id']}")
