"""How an account at Google Business Profile is connected: OAuth 2.0 for web server applications, offline access."""

from __future__ import annotations

from datetime import timedelta

from gateway_google_business.api import TOKEN_PATH, host
from gateway_google_business.config import GoogleApp
from gateway_schemas.errors import Rejected
from gateway_schemas.oauth import OAuth, OAuthFields

FIELDS = OAuthFields(token="access_token", replaces=("refresh_token",), account={"account_id": "0"})
SITE = "https://accounts.google.com"
SCOPE = "https://www.googleapis.com/auth/business.manage"


def declared(app: GoogleApp | None) -> OAuth:
    """Where Google asks its users.

    A refresh token comes only with `access_type=offline`, and after the first consent only if the person is asked
    again: `prompt=consent`. It stays the same and is not in the answers by which it renews.
    """
    if app is None:
        raise Rejected("the connection belongs to no App: make one with the OAuth client's id first", code="no_client")
    return OAuth(
        authorise_url=f"{f'{app.base_url}/accounts.google.com' if app.base_url else SITE}/o/oauth2/v2/auth",
        token_url=host("oauth2", app.base_url) + TOKEN_PATH,
        revoke_url=host("oauth2", app.base_url) + "/revoke",
        scopes=(SCOPE,),
        client_id=app.client_id,
        client_secret=app.client_secret,
        client_authentication="post",
        authorise_parameters={"access_type": "offline", "prompt": "consent"},
        access_life=timedelta(hours=1),
    )
