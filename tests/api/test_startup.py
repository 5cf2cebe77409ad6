"""The first key of an installation, and what worker processes are started with."""

from __future__ import annotations

import asyncio
import re
import stat
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any

import httpx2
import pytest
from pydantic import SecretStr

from gateway.app import create_app, worker_environment
from gateway.security.scopes import Scope
from gateway.settings import Settings
from support.gateway import settings_for
from support.rest import KEY, serving


async def test_processes_that_start_together_show_one_key_once(
    database: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    settings = settings_for(database, tmp_path, bootstrap_key=None)
    async with AsyncExitStack() as stack:
        served = await asyncio.gather(*(stack.enter_async_context(serving(settings)) for _ in range(3)))
        shown = re.findall(r"^API key \(shown once\): (\S+)$", capsys.readouterr().out, re.MULTILINE)
        assert len(shown) == 1
        for api in served:
            async with api.caller(shown[0]) as caller:
                [key] = (await caller.get("/v1/keys")).json()["items"]
                assert len(key["scopes"]) == len(Scope)
    async with serving(settings):
        assert "API key" not in capsys.readouterr().out


async def test_a_bootstrap_key_that_can_be_guessed_is_refused(database: str, tmp_path: Path) -> None:
    app = create_app(settings_for(database, tmp_path, bootstrap_key=SecretStr("short")), workers=0)
    with pytest.raises(ValueError, match="GATEWAY_BOOTSTRAP_KEY: at least 16 characters are needed"):
        async with app.router.lifespan_context(app):
            pass


async def test_a_bootstrap_key_may_hold_any_characters(database: str, tmp_path: Path) -> None:
    key = "schlüssel mit leerzeichen €"
    async with serving(settings_for(database, tmp_path, bootstrap_key=SecretStr(key))) as api:
        headers = {b"Authorization": b"Bearer " + key.encode()}
        async with httpx2.AsyncClient(base_url=api.url, headers=headers) as caller:
            assert (await caller.get("/v1/brands")).status_code == 200


def test_workers_have_the_settings_of_their_server_and_not_its_first_key(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("GATEWAY_DATABASE_URL", "postgresql://somewhere/else")
    monkeypatch.setenv("GATEWAY_UNKNOWN_TO_US", "kept")
    monkeypatch.setenv("OTHER", "kept")
    given: dict[str, Any] = {
        "data_dir": tmp_path,
        "secret_key": SecretStr("a-secret-key"),
        "bootstrap_key": SecretStr(KEY),
        "plugin_modules": ("one", "two"),
        "time_file": tmp_path / "time",
        "batch": 7,
        "database_url": None,
    }
    environment = worker_environment(Settings(_env_file=None, **given))  # type: ignore[call-arg]
    assert environment["GATEWAY_UNKNOWN_TO_US"] == environment["OTHER"] == "kept"
    assert "GATEWAY_DATABASE_URL" not in environment
    assert KEY not in environment.values()
    for name in list(environment):
        if name.startswith("GATEWAY_"):
            monkeypatch.setenv(name, environment[name])
    monkeypatch.delenv("GATEWAY_DATABASE_URL")
    assert Settings(_env_file=None) == Settings(_env_file=None, **{**given, "bootstrap_key": None})  # type: ignore[call-arg]


async def test_the_key_of_the_vault_is_readable_to_its_owner_alone(database: str, tmp_path: Path) -> None:
    async with serving(settings_for(database, tmp_path)):
        assert stat.S_IMODE((tmp_path / "secret.key").stat().st_mode) == 0o600
