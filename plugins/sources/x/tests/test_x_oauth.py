"""X's consent page and token endpoint at the twin: what X refuses, in its words."""

from __future__ import annotations

import base64
from collections.abc import AsyncIterator
from datetime import timedelta
from typing import Any
from urllib.parse import parse_qsl, urlsplit

import httpx2
import pytest

from gateway_schemas.errors import Rejected
from gateway_schemas.testing.twin_oauth import challenge
from gateway_x.authorising import declared
from gateway_x.config import XApp, XConfig
from gateway_x.twin import XTwin

VERIFIER = "a-verifier-of-at-least-forty-three-characters-long"
BACK = "https://gateway.example/oauth/callback"
QUERY = {
    "response_type": "code",
    "client_id": "twin-client",
    "redirect_uri": BACK,
    "scope": "tweet.read users.read tweet.write offline.access",
    "state": "s1",
    "code_challenge": challenge(VERIFIER),
    "code_challenge_method": "S256",
}


@pytest.fixture
async def at_x() -> AsyncIterator[tuple[XTwin, httpx2.AsyncClient]]:
    twin = XTwin(limits=False)
    twin.client_secret = "hush"
    twin.add_brand("Acme")
    twin.sign_in("Acme")
    async with (
        twin.serve() as url,
        httpx2.AsyncClient(base_url=url, auth=("twin-client", "hush"), trust_env=False) as http,
    ):
        yield twin, http


async def code(http: httpx2.AsyncClient, **changes: str) -> dict[str, str]:
    """What the browser is sent back with."""
    answer = await http.get("/i/oauth2/authorize", params={**QUERY, **changes})
    assert answer.status_code == 302
    return dict(parse_qsl(urlsplit(answer.headers["location"]).query))


async def exchanged(http: httpx2.AsyncClient, given: str, **changes: Any) -> httpx2.Response:
    form = {"grant_type": "authorization_code", "code": given, "redirect_uri": BACK, "code_verifier": VERIFIER}
    return await http.post("/2/oauth2/token", data={**form, **changes})


async def test_a_code_is_for_one_use_one_verifier_one_address_and_thirty_seconds(at_x: Any) -> None:
    twin, http = at_x
    good = (await code(http))["code"]
    answer = await exchanged(http, good)
    assert (answer.status_code, answer.json()["expires_in"]) == (200, 7200)
    assert (await exchanged(http, good)).json()["error"] == "invalid_grant"
    assert (await exchanged(http, (await code(http))["code"], code_verifier="x" * 43)).json()[
        "error"
    ] == "invalid_grant"
    other = {"redirect_uri": "https://elsewhere.example"}
    assert (await exchanged(http, (await code(http))["code"], **other)).json()["error"] == "invalid_grant"
    late = (await code(http))["code"]
    twin.renewals.server.grants[late].until -= timedelta(seconds=30)
    assert (await exchanged(http, late)).json()["error"] == "invalid_grant"


async def test_a_refresh_token_is_used_once_and_its_access_token_stops(at_x: Any) -> None:
    twin, http = at_x
    first = (await exchanged(http, (await code(http))["code"])).json()
    form = {"grant_type": "refresh_token", "refresh_token": first["refresh_token"]}
    second = (await http.post("/2/oauth2/token", data=form)).json()
    assert second["scope"] == first["scope"]
    assert first["access_token"] not in twin.state.tokens
    again = await http.post("/2/oauth2/token", data=form)
    assert (again.status_code, again.json()["error"]) == (400, "invalid_request")
    revoked = await http.post("/2/oauth2/revoke", data={"token": second["refresh_token"]})
    assert revoked.json() == {"revoked": True}
    form["refresh_token"] = second["refresh_token"]
    assert (await http.post("/2/oauth2/token", data=form)).status_code == 400


async def test_a_client_proves_itself_by_basic(at_x: Any) -> None:
    _, http = at_x
    given = (await code(http))["code"]
    wrong = base64.b64encode(b"twin-client:guess").decode()
    answer = await http.post(
        "/2/oauth2/token", headers={"authorization": f"Basic {wrong}"}, auth=None, data={"code": given}
    )
    assert (answer.status_code, answer.json()["error"]) == (401, "invalid_client")


async def test_no_refresh_token_without_its_scope_and_no_code_without_pkce(at_x: Any) -> None:
    _, http = at_x
    answer = await exchanged(http, (await code(http, scope="tweet.read users.read"))["code"])
    assert "refresh_token" not in answer.json()
    assert (await code(http, code_challenge_method="plain"))["error"] == "invalid_request"
    assert (await http.get("/i/oauth2/authorize", params={**QUERY, "client_id": "who"})).status_code == 400


def test_what_is_asked_for_goes_by_what_the_connection_does() -> None:
    app = XApp(consumer_secret="c", bearer_token="b", client_id="id")  # type: ignore[arg-type]
    config = XConfig(user_id="1", username="acme", access_token="t")  # type: ignore[arg-type]
    public = declared(config, app)
    assert public.authorise_url == "https://x.com/i/oauth2/authorize"
    assert (public.client_authentication, public.rotates) == ("none", True)
    assert {"dm.read", "dm.write", "offline.access", "media.write"} <= set(public.scopes)
    quiet = declared(config.model_copy(update={"direct_messages": False}), app)
    assert not {"dm.read", "dm.write"} & set(quiet.scopes)
    confidential = declared(config, app.model_copy(update={"client_secret": app.bearer_token}))
    assert confidential.client_authentication == "basic"
    with pytest.raises(Rejected, match="client_id"):
        declared(config, app.model_copy(update={"client_id": None}))
