"""How an account at X is connected: OAuth 2.0 with PKCE (docs.x.com, "OAuth 2.0 Authorization Code Flow with PKCE")."""

from __future__ import annotations

from datetime import timedelta

from gateway_schemas.errors import Rejected
from gateway_schemas.oauth import OAuth, OAuthFields
from gateway_x.api import base_url
from gateway_x.config import DEFAULT_BASE_URL, XApp, XConfig

FIELDS = OAuthFields(token="access_token", replaces=("refresh_token",), account={"user_id": "0", "username": "unknown"})
SITE = "https://x.com"
ACCESS_LIFE = timedelta(hours=2)
_PUBLIC = ("tweet.read", "users.read", "tweet.write", "media.write", "offline.access")
_MESSAGES = ("dm.read", "dm.write")


def declared(config: XConfig, app: XApp | None) -> OAuth:
    """Where X asks its users. Raises Rejected for an App without a client id.

    Access tokens live two hours, refresh tokens are used once. A confidential client proves itself by HTTP Basic, a
    public one by its id and PKCE alone. X says `invalid_request` where the standard has `invalid_grant`.
    """
    if app is None or app.client_id is None:
        raise Rejected("the App has no client_id: enter the one of its OAuth 2.0 settings", code="no_client")
    api = base_url(config, app)
    site = SITE if api == DEFAULT_BASE_URL else api
    return OAuth(
        authorise_url=f"{site}/i/oauth2/authorize",
        token_url=f"{api}/2/oauth2/token",
        revoke_url=f"{api}/2/oauth2/revoke",
        scopes=(*_PUBLIC, *(_MESSAGES if config.direct_messages else ())),
        client_id=app.client_id,
        client_secret=app.client_secret,
        client_authentication="basic" if app.client_secret is not None else "none",
        access_life=ACCESS_LIFE,
        rotates=True,
        refused=frozenset({"invalid_grant", "invalid_request"}),
    )
