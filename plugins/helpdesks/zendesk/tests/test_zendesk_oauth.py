"""Zendesk's consent page and token endpoint at the twin: JSON, lives within bounds, refresh tokens used once."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any
from urllib.parse import parse_qsl, urlsplit

import httpx2
import pytest

from gateway_schemas.errors import Rejected
from gateway_zendesk.authorising import declared
from gateway_zendesk.config import ZendeskConfig
from gateway_zendesk.twin import ZendeskTwin

BACK = "https://gateway.example/oauth/callback"


@pytest.fixture
async def account() -> AsyncIterator[tuple[ZendeskTwin, httpx2.AsyncClient]]:
    twin = ZendeskTwin()
    twin.sign_in("ann")
    async with twin.serve() as url, httpx2.AsyncClient(base_url=url, trust_env=False) as http:
        yield twin, http


async def asked(twin: ZendeskTwin, http: httpx2.AsyncClient, **changes: Any) -> httpx2.Response:
    """A code, exchanged."""
    query = {
        "response_type": "code",
        "client_id": twin.consent.client_id,
        "redirect_uri": BACK,
        "scope": "read write",
    }
    answer = await http.get("/oauth/authorizations/new", params=query)
    code = dict(parse_qsl(urlsplit(answer.headers["location"]).query))["code"]
    body = {
        "grant_type": "authorization_code",
        "code": code,
        "redirect_uri": BACK,
        "client_id": twin.consent.client_id,
        "client_secret": twin.consent.client_secret,
        "expires_in": 86_400,
        **changes,
    }
    return await http.post("/oauth/tokens", json=body)


async def test_tokens_end_as_asked_and_rotate(account: Any) -> None:
    twin, http = account
    first = await asked(twin, http)
    assert (first.status_code, first.json()["expires_in"], first.json()["scope"]) == (201, 86_400, "read write")
    body = {
        "grant_type": "refresh_token",
        "refresh_token": first.json()["refresh_token"],
        "client_id": twin.consent.client_id,
        "client_secret": twin.consent.client_secret,
    }
    second = await http.post("/oauth/tokens", json=body)
    assert second.json()["expires_in"] is None
    again = await http.post("/oauth/tokens", json=body)
    assert (again.status_code, again.json()["error"]) == (400, "invalid_grant")


@pytest.mark.parametrize(
    ("changes", "error"),
    [
        ({"client_secret": "guess"}, "invalid_client"),
        ({"expires_in": 60}, "invalid_request"),
        ({"expires_in": "86400"}, "invalid_request"),
        ({"redirect_uri": "https://elsewhere.example"}, "invalid_grant"),
        ({"code": "made-up"}, "invalid_grant"),
        ({"grant_type": "password"}, "invalid_request"),
    ],
)
async def test_what_is_refused(account: Any, changes: dict[str, Any], error: str) -> None:
    assert (await asked(*account, **changes)).json()["error"] == error


async def test_a_form_is_not_read(account: Any) -> None:
    _, http = account
    assert (await http.post("/oauth/tokens", data={"grant_type": "refresh_token"})).status_code == 400


def test_what_is_declared() -> None:
    config = ZendeskConfig(subdomain="acme", oauth_token="t", oauth_client_id="gw")  # type: ignore[arg-type]
    found = declared(config)
    assert (found.token_url, found.client_authentication) == ("https://acme.zendesk.com/oauth/tokens", "json")
    with pytest.raises(Rejected, match="oauth_client_id"):
        declared(config.model_copy(update={"oauth_client_id": None}))
