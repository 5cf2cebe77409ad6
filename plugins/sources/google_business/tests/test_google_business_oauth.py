"""Google's consent page and token endpoint at the twin: when there is a refresh token, and what is refused."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any
from urllib.parse import parse_qsl, urlsplit

import httpx2
import pytest

from gateway_google_business.authorising import SCOPE, declared
from gateway_google_business.config import GoogleApp, GoogleConfig
from gateway_google_business.twin import GoogleTwin
from gateway_schemas.errors import Rejected

BACK = "https://gateway.example/oauth/callback"
OFFLINE = {"access_type": "offline"}


@pytest.fixture
async def google() -> AsyncIterator[tuple[GoogleTwin, httpx2.AsyncClient]]:
    twin = GoogleTwin()
    twin.add_account("100", "Acme")
    twin.sign_in("owner")
    async with twin.serve() as url, httpx2.AsyncClient(base_url=url, trust_env=False) as http:
        yield twin, http


async def consented(twin: GoogleTwin, http: httpx2.AsyncClient, **more: str) -> httpx2.Response:
    """There and back, and the code exchanged."""
    query = {"response_type": "code", "client_id": twin.client_id, "redirect_uri": BACK, "scope": SCOPE, **more}
    answer = await http.get("/accounts.google.com/o/oauth2/v2/auth", params=query)
    code = dict(parse_qsl(urlsplit(answer.headers["location"]).query))["code"]
    form = {"grant_type": "authorization_code", "code": code, "redirect_uri": BACK}
    client = {"client_id": twin.client_id, "client_secret": twin.client_secret}
    return await http.post("/oauth2.googleapis.com/token", data={**form, **client})


async def test_a_refresh_token_comes_with_the_first_consent_or_when_asked_for(google: Any) -> None:
    twin, http = google
    assert "refresh_token" not in (await consented(twin, http)).json(), "online access has none"
    twin.state.users["owner"].consented = False
    first = (await consented(twin, http, **OFFLINE)).json()
    assert first["refresh_token"]
    assert "refresh_token" not in (await consented(twin, http, **OFFLINE)).json()
    again = (await consented(twin, http, **OFFLINE, prompt="consent")).json()
    assert again["refresh_token"] == first["refresh_token"]


async def test_revoking_ends_it_and_a_new_consent_brings_another(google: Any) -> None:
    twin, http = google
    first = (await consented(twin, http, **OFFLINE)).json()
    assert (await http.post("/oauth2.googleapis.com/revoke", data={"token": first["refresh_token"]})).status_code == 200
    client = {"client_id": twin.client_id, "client_secret": twin.client_secret}
    form = {"grant_type": "refresh_token", "refresh_token": first["refresh_token"], **client}
    refused = await http.post("/oauth2.googleapis.com/token", data=form)
    assert (refused.status_code, refused.json()["error"]) == (400, "invalid_grant")
    second = (await consented(twin, http, **OFFLINE, prompt="consent")).json()
    assert second["refresh_token"] != first["refresh_token"]
    wrong = await http.post("/oauth2.googleapis.com/token", data={**form, "client_secret": "guess"})
    assert (wrong.status_code, wrong.json()["error"]) == (401, "invalid_client")


def test_what_is_declared() -> None:
    found = declared(GoogleApp(client_id="id", client_secret="s"))  # type: ignore[arg-type]
    assert found.authorise_url == "https://accounts.google.com/o/oauth2/v2/auth"
    assert found.token_url == "https://oauth2.googleapis.com/token"
    assert found.authorise_parameters == {"access_type": "offline", "prompt": "consent"}
    with pytest.raises(Rejected, match="no App"):
        declared(None)
    with pytest.raises(ValueError, match="connect the account"):
        GoogleConfig(account_id="1")
