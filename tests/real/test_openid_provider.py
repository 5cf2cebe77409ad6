"""The gateway with somebody else's OpenID Connect provider. Optional: skipped where it is not installed.

    uv venv /tmp/provider && uv pip install --python /tmp/provider/bin/python oidc-provider-mock
    PATH="$PATH:/tmp/provider/bin" .venv/bin/pytest -n 0 tests/real/test_openid_provider.py

A person signs in there by the authorization code flow, and their identity token opens the REST API here.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import re
import shutil
import socket
from collections.abc import AsyncIterator
from pathlib import Path
from urllib.parse import parse_qs, urlsplit

import httpx2
import pytest

from support.gateway import LOOPBACK, fresh_database, settings_for
from support.postgres import server_url  # noqa: F401  a fixture
from support.rest import serving

PROVIDER = shutil.which("oidc-provider-mock")
CLIENT = "helpdesk-gateway"
CALLBACK = "http://127.0.0.1/callback"
ADA = {"sub": "ada-1", "name": "Ada Byron", "email": "ada@acme.test", "email_verified": True, "groups": ["support"]}

pytestmark = pytest.mark.skipif(PROVIDER is None, reason="oidc-provider-mock is not installed")


@contextlib.asynccontextmanager
async def provider() -> AsyncIterator[str]:
    """The provider on a free port; yields its issuer."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
    assert PROVIDER is not None
    process = await asyncio.create_subprocess_exec(
        PROVIDER,
        "--port",
        str(port),
        "--user-claims",
        json.dumps(ADA),
        stdout=asyncio.subprocess.DEVNULL,
        stderr=asyncio.subprocess.DEVNULL,
    )
    issuer = f"http://127.0.0.1:{port}"
    try:
        async with httpx2.AsyncClient() as http:
            for _ in range(600):
                with contextlib.suppress(httpx2.TransportError):
                    await http.get(f"{issuer}/.well-known/openid-configuration")
                    break
                await asyncio.sleep(0.05)
        yield issuer
    finally:
        process.terminate()
        await process.wait()


async def sign_in(issuer: str, subject: str) -> str:
    """The identity token of somebody who signs in."""
    async with httpx2.AsyncClient() as http:
        found = (await http.get(f"{issuer}/.well-known/openid-configuration")).json()
        asked = {
            "client_id": CLIENT,
            "redirect_uri": CALLBACK,
            "response_type": "code",
            "scope": "openid profile email",
            "state": "s",
        }
        answer = await http.post(found["authorization_endpoint"], params=asked, data={"sub": subject})
        assert answer.status_code == 302, answer.text
        [code] = parse_qs(urlsplit(answer.headers["location"]).query)["code"]
        given = {"grant_type": "authorization_code", "code": code, "redirect_uri": CALLBACK, "client_id": CLIENT}
        token = await http.post(found["token_endpoint"], data={**given, "client_secret": "any"})
        assert token.status_code == 200, token.text
        identity: str = token.json()["id_token"]
        return identity


async def test_somebody_who_signed_in_elsewhere_may_what_their_groups_say(
    server_url: str,  # noqa: F811
    tmp_path: Path,
) -> None:
    async with provider() as issuer, fresh_database(server_url) as url:
        settings = settings_for(
            url,
            tmp_path,
            oidc_issuer=issuer,
            oidc_audience=(CLIENT,),
            oidc_role_claim="groups",
            oidc_roles={"support": "agent"},
            oidc_allow_private=tuple(LOOPBACK),
        )
        async with serving(settings) as api:
            ada = await api.made("/v1/people", name="Ada", emails=["ada@acme.test"])
            async with api.caller(await sign_in(issuer, "ada-1")) as caller:
                me = (await caller.get("/v1/me")).json()
                assert (await caller.get("/v1/tickets")).status_code == 200
                assert (await caller.get("/v1/keys")).status_code == 403
            assert (me["name"], me["subject"], me["issuer"]) == ("Ada Byron", "ada-1", issuer)
            assert (me["roles"], me["person"]) == (["agent"], ada["id"])
            # somebody without a group is known and may nothing; a token that was changed is nobody's
            stranger = await sign_in(issuer, "eve")
            async with api.caller(stranger) as caller:
                assert (await caller.get("/v1/tickets")).status_code == 403
            head, claims, signature = stranger.split(".")
            async with api.caller(".".join((head, re.sub("^e", "f", claims), signature))) as caller:
                assert (await caller.get("/v1/tickets")).status_code == 401
