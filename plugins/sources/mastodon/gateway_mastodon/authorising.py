"""How an account is connected at its own server: the gateway is registered there first, then the account consents
(docs.joinmastodon.org, "Obtaining client app access" and "OAuth")."""

from __future__ import annotations

import httpx2
from pydantic import SecretStr

from gateway_mastodon.config import MastodonConfig
from gateway_schemas.errors import Malformed
from gateway_schemas.http import call, json_object
from gateway_schemas.oauth import OAuth, OAuthClient, OAuthFields
from gateway_schemas.time import TimeSource

FIELDS = OAuthFields(token="access_token", account={"account_id": "0", "username": "unknown"})
SCOPES = ("read:accounts", "read:notifications", "read:statuses", "write:statuses", "write:media")
NAME = "Helpdesk gateway"


def declared(config: MastodonConfig) -> OAuth:
    """The server's own consent page. Its tokens do not end; servers before 4.3 take no notice of PKCE."""
    return OAuth(
        authorise_url=f"{config.base_url}/oauth/authorize",
        token_url=f"{config.base_url}/oauth/token",
        revoke_url=f"{config.base_url}/oauth/revoke",
        scopes=SCOPES,
        client_authentication="post",
        renewal="none",
    )


async def register(
    http: httpx2.AsyncClient, config: MastodonConfig, redirect_uri: str, time: TimeSource
) -> OAuthClient:
    """Register the gateway at the server. Raises GatewayError."""
    response = await call(
        http,
        "POST",
        f"{config.base_url}/api/v1/apps",
        effect=False,
        now=time.now(),
        data={"client_name": NAME, "redirect_uris": redirect_uri, "scopes": " ".join(SCOPES)},
    )
    answer = json_object(response)
    id, secret = answer.get("client_id"), answer.get("client_secret")
    if not isinstance(id, str) or not isinstance(secret, str):
        raise Malformed("the server registered the gateway without telling its client id", code="malformed")
    return OAuthClient(id, SecretStr(secret))
