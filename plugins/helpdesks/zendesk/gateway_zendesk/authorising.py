"""How a Zendesk account is connected: OAuth 2, authorization code with PKCE, tokens that end and rotate
(developer.zendesk.com, "OAuth Tokens for Grant Types")."""

from __future__ import annotations

from datetime import timedelta

from gateway_schemas.errors import Rejected
from gateway_schemas.oauth import OAuth, OAuthFields
from gateway_zendesk.config import ZendeskConfig

FIELDS = OAuthFields(token="oauth_token", replaces=("api_token",))
SCOPES = ("read", "write")
ACCESS_LIFE = timedelta(days=1)
REFRESH_LIFE = timedelta(days=90)


def declared(config: ZendeskConfig) -> OAuth:
    """The account's own consent page. Raises Rejected without a client.

    The token endpoint reads JSON. Tokens do not end unless their lives are asked for: two days and 90 at most. A code
    lives 120 seconds, a refresh token is used once.
    """
    if config.oauth_client_id is None:
        reason = "enter oauth_client_id: the identifier of an OAuth client made in the account's Admin Center"
        raise Rejected(reason, code="no_client")
    return OAuth(
        authorise_url=f"{config.url}/oauth/authorizations/new",
        token_url=f"{config.url}/oauth/tokens",
        scopes=SCOPES,
        client_id=config.oauth_client_id,
        client_secret=config.oauth_client_secret,
        client_authentication="json",
        token_parameters={
            "scope": " ".join(SCOPES),
            "expires_in": int(ACCESS_LIFE.total_seconds()),
            "refresh_token_expires_in": int(REFRESH_LIFE.total_seconds()),
        },
        rotates=True,
    )
