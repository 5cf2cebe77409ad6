"""How a Page, or the Instagram account linked to one, is connected: Facebook Login, by hand ("Manually Build a Login
Flow", "Long-Lived Access Tokens")."""

from __future__ import annotations

from datetime import datetime

import httpx2
from pydantic import SecretStr

from gateway_meta.budgets import APP
from gateway_meta.config import GRAPH, UNKNOWN, MetaApp, MetaConfig
from gateway_meta.refusals import refusal
from gateway_schemas.errors import Malformed, Rejected
from gateway_schemas.http import call, json_object
from gateway_schemas.oauth import OAuth, OAuthFields, OAuthTokens

FIELDS = OAuthFields(token="access_token", account={"account_id": UNKNOWN})
SITE = "https://www.facebook.com"
_PAGE = ("pages_show_list", "pages_read_engagement", "pages_read_user_content", "pages_manage_engagement")
_WEBHOOKS = ("pages_manage_metadata",)
_INSTAGRAM = ("instagram_basic", "instagram_manage_comments")


def declared(config: MetaConfig, app: MetaApp | None) -> OAuth:
    """Facebook's login dialog. Raises Rejected where the account is connected otherwise.

    There are no refresh tokens: the code's token lives an hour or two and is exchanged at once for one of 60 days, from
    which the Page's is made, and that does not end.
    """
    if app is None:
        raise Rejected("the connection belongs to no App: make one with the App's id and secret first", code="no_app")
    if config.instagram_login:
        raise Rejected("accounts with Instagram Login are connected by a long-lived token of theirs", code="no_login")
    scopes = [*_PAGE, *_WEBHOOKS]
    if config.messages:
        scopes.append("pages_messaging")
    if config.instagram:
        scopes += [*_INSTAGRAM, *(("instagram_manage_messages",) if config.messages else ())]
    site = SITE if app.base_url == GRAPH else app.base_url
    return OAuth(
        authorise_url=f"{site}/{app.graph_version}/dialog/oauth",
        token_url=f"{app.base_url}/{app.graph_version}/oauth/access_token",
        scopes=tuple(scopes),
        client_id=app.app_id,
        client_secret=app.app_secret,
        pkce=False,
        client_authentication="post",
        method="GET",
        scope_separator=",",
        renewal="none",
        refused=frozenset({"190"}),
    )


async def lasting(http: httpx2.AsyncClient, app: MetaApp, tokens: OAuthTokens, now: datetime) -> OAuthTokens:
    """The long-lived token for a short-lived one. Raises GatewayError.

    Its own end says little: what calls are made with is the Page's token made from it, which has none.
    """
    response = await call(
        http,
        "GET",
        f"{app.base_url}/{app.graph_version}/oauth/access_token",
        effect=False,
        now=now,
        classify=lambda response: refusal(response, APP, effect=False),
        params={
            "grant_type": "fb_exchange_token",
            "client_id": app.app_id,
            "client_secret": app.app_secret.get_secret_value(),
            "fb_exchange_token": tokens.access.get_secret_value(),
        },
    )
    token = json_object(response).get("access_token")
    if not isinstance(token, str) or not token:
        raise Malformed("Meta exchanged the token for none", code="malformed")
    return OAuthTokens(SecretStr(token), scopes=tokens.scopes)
