"""Connecting accounts by OAuth: where a person is sent, and the page they come back to."""

from __future__ import annotations

import html
import logging
from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Annotated, Any, Literal
from uuid import UUID

from fastapi import APIRouter, Query, Request, Response
from pydantic import Field
from sqlalchemy.ext.asyncio import AsyncConnection

from gateway.api.asking import ProviderProblem, plugin_for
from gateway.api.deps import RuntimeDep, WritesConnections
from gateway.api.models import Answer
from gateway.api.problems import conflict, not_found, responses
from gateway.api.routes import ApiRoute
from gateway.connections import ConfigInvalid, PluginMissing
from gateway.db.database import Row, fetch_all
from gateway.oauth.flow import CALLBACK, NotConnected, begin, end, finish, in_words
from gateway.oauth.renewal import wakes_of
from gateway.pipeline.trouble import trouble_of
from gateway.runtime import Runtime
from gateway_schemas.errors import GatewayError

log = logging.getLogger(__name__)

router = APIRouter(prefix="/connections/{connection_id}", tags=["connections"], route_class=ApiRoute)
callback = APIRouter(tags=["connections"], route_class=ApiRoute)

HEADERS = {
    "Cache-Control": "no-store",
    "Referrer-Policy": "no-referrer",
    "X-Content-Type-Options": "nosniff",
    "Content-Security-Policy": "default-src 'none'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
}
"""The address of the page holds a code: no cache keeps it and no other site learns it."""
PAGE = """<!doctype html>
<html lang="en"><head><meta charset="utf-8"><title>{title}</title></head>
<body><h1>{title}</h1><p>{text}</p></body></html>
"""
_HTML: dict[str, Any] = {"text/html": {"schema": {"type": "string"}}}


class JourneyView(Answer):
    """Where to send the person who may act for the account at the provider."""

    url: str
    """The provider's page. Open it in a browser that is signed in there as the account, or as one who manages it."""
    redirect_uri: str
    """Where the provider sends them back to: it must be registered with the App there, exactly so."""
    expires_at: datetime
    """By then they must be back. The address is good for one time."""


class AuthorisationView(Answer):
    """The consent by which a connection acts for its account."""

    state: Literal["wanted", "granted", "refused"]
    """`wanted`: the account is not connected yet; `refused`: the provider takes the tokens no more."""
    scopes: list[str]
    """What was granted."""
    granted_at: datetime | None
    granted_by: str | None
    """The key that began it."""
    renewed_at: datetime | None
    """When the tokens in force came."""
    access_expires_at: datetime | None
    """When the access token ends; null: not, as far as is known."""
    refresh_expires_at: datetime | None
    """When the refresh token ends if it is not used before; null: not, as far as is known."""
    renew_at: datetime | None
    """When it is renewed, or that is tried again; null: it is not renewed."""
    failures: int = Field(ge=0)
    """Renewals that failed in a row."""
    reason: str | None
    """Why the last one failed."""
    mend: str | None
    """What to do about it, where something is to be done."""


@router.post("/authorize", responses=responses(409, 502, 503, 504))
async def authorize_connection(
    runtime: RuntimeDep, caller: WritesConnections, connection_id: UUID, request: Request
) -> JourneyView:
    """Begin to connect the account by OAuth, or to connect it again.

    Nothing changes until the person is back: what is in force works on. Then the connection goes on where it stopped.
    """
    endpoint = (await runtime.connections.load([connection_id])).get(connection_id)
    if endpoint is None or endpoint.is_app:
        raise not_found("connection", connection_id)
    plugin = plugin_for(runtime, endpoint)
    base = runtime.settings.public_url or str(request.base_url)
    redirect_uri = f"{base.rstrip('/')}{CALLBACK}"
    try:
        journey = await begin(runtime, endpoint, plugin, caller, redirect_uri)
    except NotConnected as error:
        raise conflict(str(error)) from error
    except GatewayError as error:
        raise ProviderProblem(trouble_of(error)) from error
    return JourneyView(url=journey.url, redirect_uri=redirect_uri, expires_at=journey.expires_at)


class DisconnectView(Answer):
    """What became of a consent that was given back."""

    revoked: bool
    """Whether the provider has confirmed it. If not, take the App's access away there: it may be in force still."""


@router.post("/disconnect", responses=responses(409))
async def disconnect_connection(runtime: RuntimeDep, caller: WritesConnections, connection_id: UUID) -> DisconnectView:
    """Give the account's consent back: its tokens are forgotten, its work stops, its backlog is kept.

    Providers may end all tokens that the same person gave the same App by that, also those of other connections
    (Google).
    """
    endpoint = (await runtime.connections.load([connection_id])).get(connection_id)
    if endpoint is None or endpoint.is_app:
        raise not_found("connection", connection_id)
    try:
        return DisconnectView(revoked=await end(runtime, endpoint, plugin_for(runtime, endpoint), caller.name))
    except NotConnected as error:
        raise conflict(str(error)) from error


@callback.get(
    CALLBACK,
    response_class=Response,
    responses={
        200: {"description": "The account is connected", "content": _HTML},
        400: {
            "description": "It is not, and the page says why",
            "content": {**responses(400)[400]["content"], **_HTML},
        },
        502: {"description": "The provider failed or refused", "content": _HTML},
        **responses(422, 503),
    },
)
async def finish_authorization(
    runtime: RuntimeDep,
    request: Request,
    state: Annotated[str, Query(description="As the provider was given it.")] = "",
    code: Annotated[str | None, Query(description="The provider's.")] = None,
    error: Annotated[str | None, Query(description="The provider's, where the person declined.")] = None,
) -> Response:
    """Where the provider sends a person back to: answers a page for them.

    No API key is needed: the state proves who began this, for which connection, within ten minutes, and is taken once.
    """
    try:
        address = request.client.host if request.client is not None else None
        arrival = await finish(runtime, state, code, error, address=address)
    except NotConnected as failure:
        return page(400, "Not connected", str(failure))
    except GatewayError as failure:
        log.warning("an account was not connected: %s: %s", failure.code, failure.reason)
        return page(502, "Not connected", in_words(failure))
    except (PluginMissing, ConfigInvalid) as failure:
        return page(400, "Not connected", str(failure))
    endpoint = (await runtime.connections.load([arrival.connection])).get(arrival.connection)
    if arrival.choices:
        text = (
            f"{arrival.name} may act for several accounts: {'; '.join(arrival.choices)}. "
            "Say in its configuration which one it is."
        )
        return page(200, "Almost connected", text)
    if endpoint is not None:
        await runtime.wake(wakes_of(runtime, endpoint))
    account = f" to {arrival.account}" if arrival.account else ""
    return page(200, "Connected", f"{arrival.name} is connected{account}. You may close this page.")


def page(status: int, title: str, text: str) -> Response:
    """A plain page: no script, no style, nothing from elsewhere."""
    body = PAGE.format(title=html.escape(title), text=html.escape(text))
    return Response(body, status, HEADERS, media_type="text/html")


async def authorisations_of(
    connection: AsyncConnection, runtime: Runtime, ids: Sequence[UUID]
) -> dict[UUID, AuthorisationView]:
    """The consent of those of these connections that go by one."""
    rows = await fetch_all(
        connection,
        # credentials entered by hand are in force until a consent takes their place
        """SELECT g.connection_id, g.state, g.scopes, g.granted_at, g.granted_by, g.renewed_at, g.access_expires_at,
                  g.refresh_expires_at, g.renew_at, g.failures, g.reason, c.status
           FROM authorisation g JOIN connection c ON c.id = g.connection_id
           WHERE g.connection_id = ANY(:ids) AND (g.state <> 'wanted' OR c.status <> 'active')""",
        ids=list(ids),
    )
    return {row["connection_id"]: _view(row) for row in rows}


def _view(row: Row) -> AuthorisationView:
    plain: Mapping[str, Any] = {name: row[name] for name in AuthorisationView.model_fields if name != "mend"}
    return AuthorisationView(**plain, mend=_mend(row))


def _mend(row: Row) -> str | None:
    id = row["connection_id"]
    if row["state"] != "granted" or (row["status"] == "needs_authorisation" and not row["failures"]):
        return f"POST /v1/connections/{id}/authorize and open the address that it gives; its backlog is kept."
    if row["failures"]:
        client = (row["reason"] or "").startswith(("invalid_client", "unauthorized_client"))
        again = f"It is tried again at {row['renew_at']:%H:%M:%S} UTC" if row["renew_at"] else "It is not tried again"
        return f"{again}; enter the App's current client id and secret." if client else f"{again}."
    return None
