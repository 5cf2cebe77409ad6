"""The Graph API for one account: whose token a call carries, with its proof, and what refusals mean."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import Any, Literal

import httpx2

from gateway_meta import budgets
from gateway_meta.config import GRAPH, INSTAGRAM_GRAPH, MetaApp, MetaConfig
from gateway_meta.refusals import refusal
from gateway_meta.tokens import Tokens
from gateway_schemas.errors import Malformed, Reauthorise, Rejected, Unknown
from gateway_schemas.http import call, json_object
from gateway_schemas.limits import metered
from gateway_schemas.plugin import Setup
from gateway_schemas.signatures import sign_hmac

Who = Literal["account", "app", "entered"]
"""Whose token: the account's, the App's own, or the one that was entered (a person's, for `discover`)."""


def hosts(app: MetaApp | None) -> tuple[str, str]:
    """Where both Graph APIs are."""
    return (app.base_url, app.instagram_base_url) if app else (GRAPH, INSTAGRAM_GRAPH)


class Api:
    """Calls for one connection."""

    def __init__(self, setup: Setup[MetaConfig], config: MetaConfig, app: MetaApp, http: httpx2.AsyncClient) -> None:
        assert setup.state is not None
        self.config = config
        self.app = app
        self.tokens = Tokens(config, setup.state, setup.time)
        self._time = setup.time
        self._http = http

    @property
    def account(self) -> str:
        """The Page's or Instagram account's id."""
        return self.config.account_id

    @property
    def bucket(self) -> str:
        """What calls about posts and comments count against."""
        return budgets.INSTAGRAM if self.config.instagram else budgets.PAGES

    @property
    def messages_bucket(self) -> str:
        """What calls about messages count against."""
        return budgets.INSTAGRAM if self.config.instagram else budgets.MESSENGER

    def now(self) -> datetime:
        """The current time."""
        return self._time.now()

    async def get(
        self, path: str, parameters: Mapping[str, str] | None = None, *, who: Who = "account", bucket: str | None = None
    ) -> tuple[bytes, dict[str, Any]]:
        """Read something: its exact bytes, and what they say. Raises GatewayError."""
        response = await self._call("GET", path, dict(parameters or {}), who=who, bucket=bucket, effect=False)
        return response.content, json_object(response)

    async def change(
        self,
        method: str,
        path: str,
        body: Mapping[str, Any] | None = None,
        *,
        effect: bool,
        parameters: Mapping[str, str] | None = None,
        who: Who = "account",
        bucket: str | None = None,
    ) -> dict[str, Any]:
        """Change something; with `effect`, what must not happen twice. Raises GatewayError.

        Meta answers `{"success": false}` where it did not do it and has no error for that.
        """
        request = {"json": dict(body)} if body is not None else {}
        response = await self._call(
            method, path, dict(parameters or {}), who=who, bucket=bucket, effect=effect, **request
        )
        made = json_object(response, effect=effect)
        if made.get("success") is False:
            raise Rejected("Meta did not do it, and does not say why", code="no_success")
        return made

    async def upload(self, path: str, fields: Mapping[str, str], file: tuple[str, bytes, str]) -> dict[str, Any]:
        """Upload a file as a form. Nobody sees it before a comment names it, so it may be repeated."""
        response = await self._call(
            "POST", path, {}, who="account", bucket=None, effect=False, data=dict(fields), files={"source": file}
        )
        return json_object(response)

    async def _call(
        self, method: str, path: str, parameters: dict[str, str], *, who: Who, bucket: str | None, **request: Any
    ) -> httpx2.Response:
        bucket = bucket or (budgets.APP if who == "app" else self.bucket)
        if who == "app":
            secret = self.app.app_secret.get_secret_value()
            return await self._try(method, path, parameters, f"{self.app.app_id}|{secret}", bucket, True, **request)
        if who == "entered":
            return await self._try(method, path, parameters, self.tokens.given, bucket, False, **request)
        token = await self.tokens.access(self._page_token)
        try:
            return await self._try(method, path, parameters, token, bucket, False, **request)
        except Reauthorise:
            if not await self.tokens.forget():
                raise
        # refused for its token, nothing happened: the same call may be made with another one
        token = await self.tokens.access(self._page_token)
        return await self._try(method, path, parameters, token, bucket, False, **request)

    async def account_token(self) -> str:
        """The token that calls for the account carry. Raises GatewayError."""
        return await self.tokens.access(self._page_token)

    async def renew(self) -> None:
        """Renew the long-lived token of Instagram Login. Raises GatewayError."""
        parameters = {"grant_type": "ig_refresh_token"}
        response = await self._call("GET", "refresh_access_token", parameters, who="account", bucket=None, effect=False)
        answer = json_object(response)
        token, expires_in = answer.get("access_token"), answer.get("expires_in")
        if not isinstance(token, str) or not token or not isinstance(expires_in, int | float):
            raise Malformed("Meta's answer to a renewal names no token", code="malformed")
        await self.tokens.renewed(token, expires_in)

    async def _page_token(self, entered: str) -> dict[str, Any]:
        fields = {"fields": "access_token"}
        response = await self._try("GET", str(self.config.page), fields, entered, budgets.PAGES, False, effect=False)
        return json_object(response)

    async def _try(
        self,
        method: str,
        path: str,
        parameters: dict[str, str],
        token: str,
        bucket: str,
        app: bool,
        *,
        effect: bool,
        **request: Any,
    ) -> httpx2.Response:
        graph, instagram_graph = hosts(self.app)
        login = self.config.instagram_login and not app
        if not login:
            # "Securing Graph API Requests"; Instagram Login has no such proof
            secret = self.app.app_secret.get_secret_value()
            parameters = {**parameters, "appsecret_proof": sign_hmac(token.encode(), secret)}
        return await call(
            self._http,
            method,
            f"{instagram_graph if login else graph}/{self.app.graph_version}/{path}",
            effect=effect,
            now=self.now(),
            classify=lambda response: refusal(response, bucket, effect=effect),
            headers={"authorization": f"Bearer {token}"},
            params=parameters,
            extensions=metered(bucket, scope=self.account),
            **request,
        )


def made_id(made: Mapping[str, Any], *names: str) -> str:
    """The id of what Meta made. Raises Unknown where the answer names none: it was made all the same."""
    for name in names or ("id",):
        id = made.get(name)
        if isinstance(id, str) and id:
            return id
    raise Unknown(f"Meta took the request and its answer names no {' or '.join(names or ('id',))}", code="malformed")


def objects(answer: Mapping[str, Any]) -> list[dict[str, Any]]:
    """The objects of a list. Raises Malformed."""
    data = answer.get("data")
    if not isinstance(data, list):
        raise Malformed("Meta's answer has no list `data`", code="malformed")
    return [item for item in data if isinstance(item, dict)]


def after(answer: Any) -> str | None:
    """The cursor of the next page, where there is one."""
    paging = answer.get("paging") if isinstance(answer, Mapping) else None
    if not isinstance(paging, Mapping) or not paging.get("next"):
        return None
    cursors = paging.get("cursors")
    token = cursors.get("after") if isinstance(cursors, Mapping) else None
    return token if isinstance(token, str) and token else None
