"""Every route opens to its scopes and to no others: the table of the documentation, tried route by route."""

from __future__ import annotations

import re
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any
from uuid import UUID

import httpx2
import pytest

from gateway.api import scopes
from gateway.api.scopes import Opened, routes_of
from gateway.app import create_app
from gateway.security.keys import create_key
from gateway.security.scopes import Scope
from gateway.settings import Settings
from support.gateway import fresh_database, settings_for
from support.postgres import server_url  # noqa: F401  a fixture
from support.repository import ROOT
from support.rest import small_registry

PAGE = ROOT / "docs" / "reference" / "scopes.md"
OPEN = {"GET /healthz", "GET /readyz", "GET /hooks/{id}", "POST /hooks/{id}", "GET /oauth/callback"}
"""What needs no key: health, the providers' door, and where a provider sends people back to, who bring a state."""
NOBODY = UUID("00000000-0000-4000-8000-000000000000")


@pytest.fixture(scope="module")
async def inside(server_url: str, tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Any]:  # noqa: F811
    """The application without a network, and a client of it."""
    async with fresh_database(server_url) as url:
        app = create_app(
            settings_for(url, tmp_path_factory.mktemp("data"), rate_limit=0), workers=0, registry=small_registry()
        )
        async with app.router.lifespan_context(app):
            transport = httpx2.ASGITransport(app)
            async with httpx2.AsyncClient(transport=transport, base_url="http://gateway.test") as client:
                yield client, app


async def key_with(app: Any, *wanted: Scope) -> dict[str, str]:
    """The header of a key with these scopes."""
    runtime = app.state.runtime
    async with runtime.database.write() as connection:
        made = await create_key(connection, "of a test", wanted, runtime.now())
    return {"Authorization": f"Bearer {made.key}"}


async def ask(client: httpx2.AsyncClient, route: Opened, headers: dict[str, str]) -> httpx2.Response:
    """Call a route with ids that are nobody's, and a body that changes nothing where one is needed."""
    path = re.sub(r"{\w*number}|{delivery_id}", "1", route.path)
    path = re.sub(r"{sha256}", "0" * 64, re.sub(r"{\w*name}|{role}|{type}", "source", path))
    path = re.sub(r"{\w+}", str(NOBODY), path)
    body = {"content": b"{}", "headers": {**headers, "Content-Type": "application/json"}}
    return await client.request(route.method, path, **(body if route.method != "GET" else {"headers": headers}))


async def test_each_route_opens_to_its_scopes_and_to_no_others(inside: Any) -> None:
    client, app = inside
    keys = {scope: await key_with(app, scope) for scope in Scope}
    guarded = [route for route in routes_of(app) if route.scopes]
    assert len(guarded) > 100
    wrong = []
    for route in guarded:
        for scope, headers in keys.items():
            answer = await ask(client, route, headers)
            if scope not in route.scopes:
                if answer.status_code != 403 or set(answer.json()["missing"]) != set(route.scopes):
                    wrong.append(f"{route.method} {route.path} with {scope} only: {answer.status_code}")
            elif answer.status_code in (401, 403, 429) or answer.status_code >= 500:
                wrong.append(f"{route.method} {route.path} with {scope}: {answer.status_code} {answer.text}")
    assert wrong == []


async def test_all_other_scopes_together_open_nothing(inside: Any) -> None:
    client, app = inside
    wrong = []
    for needed in sorted({route.scopes for route in routes_of(app) if route.scopes}):
        others = await key_with(app, *[scope for scope in Scope if scope not in needed])
        for route in [route for route in routes_of(app) if route.scopes == needed and len(needed) < len(Scope)]:
            answer = await ask(client, route, others)
            if answer.status_code != 403:
                wrong.append(f"{route.method} {route.path}: {answer.status_code}")
    assert wrong == []


async def test_without_a_key_only_doors_and_health_open(inside: Any) -> None:
    client, app = inside
    opened = []
    for route in routes_of(app):
        answer = await ask(client, route, {})
        if answer.status_code != 401:
            opened.append(f"{route.method} {route.path}")
    assert set(opened) == OPEN


def test_every_route_is_in_the_table() -> None:
    """What the framework serves is what the table was made from: no route hides from the document."""
    app = create_app(Settings(_env_file=None), workers=0)  # type: ignore[call-arg]
    unguarded = {f"{route.method} {route.path}" for route in routes_of(app) if not route.scopes}
    assert unguarded == OPEN
    hidden = {one.path for one in _all(app.routes) if not getattr(one, "include_in_schema", True)}
    assert hidden == {"/hooks/{id}", "/openapi.json", "/docs", "/docs/oauth2-redirect"}


def _all(routes: Any) -> list[Any]:
    found = []
    for one in routes:
        inner = getattr(one, "original_router", None)
        found += _all(inner.routes) if inner is not None else [one]
    return found


def test_the_table_is_what_the_routes_say(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    if scopes.main(["--check", str(PAGE)]) != 0:
        pytest.fail("run from the repository's root: python -m gateway.api.scopes docs/reference/scopes.md")
    stale = tmp_path / "scopes.md"
    stale.write_text(PAGE.read_text("utf-8").replace("`admin`", "`read`", 1), "utf-8")
    assert scopes.main(["--check", str(stale)]) == 1
    assert "not up to date" in capsys.readouterr().err
