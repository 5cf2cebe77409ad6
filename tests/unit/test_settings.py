"""Settings come from the environment, are read once, and reach every process as they are."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from pydantic import SecretStr, ValidationError

from gateway.app import worker_environment
from gateway.settings import Settings, default_data_dir


def read(monkeypatch: pytest.MonkeyPatch, env_file: Path | None = None, **environment: str) -> Settings:
    """Settings of a process with this environment."""
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    return Settings(_env_file=env_file)  # type: ignore[call-arg]


def test_an_empty_environment_is_enough(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    settings = read(monkeypatch, XDG_DATA_HOME=str(tmp_path))
    assert settings.data_dir == tmp_path / "helpdesk-gateway"
    assert (settings.database_url, settings.host, settings.plugin_modules) == (None, "127.0.0.1", ())


def test_without_a_data_home_it_is_the_users(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.delenv("XDG_DATA_HOME", raising=False)
    monkeypatch.setenv("HOME", str(tmp_path))
    assert default_data_dir() == tmp_path / ".local/share/helpdesk-gateway"


@pytest.mark.parametrize(
    ("value", "modules"),
    [
        ("", ()),
        ("my_source", ("my_source",)),
        ("my_source,my.policies", ("my_source", "my.policies")),
        (" my_source , ,my.policies, ", ("my_source", "my.policies")),
    ],
)
def test_plugin_modules_are_one_line(monkeypatch: pytest.MonkeyPatch, value: str, modules: tuple[str, ...]) -> None:
    assert read(monkeypatch, GATEWAY_PLUGIN_MODULES=value).plugin_modules == modules


def test_the_environment_wins_over_the_file_and_strangers_are_left_alone(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    file = tmp_path / ".env"
    file.write_text("GATEWAY_PORT=9001\nGATEWAY_HOST=0.0.0.0\nPOSTGRES_USER=somebody\nGATEWAY_PLUGIN_MODULES=a,b\n")
    settings = read(monkeypatch, file, GATEWAY_PORT="9002", GATEWAY_NO_SUCH_SETTING="1")
    assert (settings.port, settings.host, settings.plugin_modules) == (9002, "0.0.0.0", ("a", "b"))


@pytest.mark.parametrize(
    ("name", "value"),
    [
        *(("CONCURRENCY", "0"), ("BATCH", "0"), ("WORKERS", "-1"), ("MAX_IN_FLIGHT", "0"), ("DIGEST_ABOVE", "0")),
        *(("CALL_TIMEOUT", "0"), ("LEASE_SECONDS", "0"), ("PURE_DEADLINE", "-1"), ("PORT", "http")),
    ],
)
def test_a_value_that_would_stop_everything_is_refused(monkeypatch: pytest.MonkeyPatch, name: str, value: str) -> None:
    with pytest.raises(ValidationError, match=name.lower()):
        read(monkeypatch, **{f"GATEWAY_{name}": value})


def test_settings_do_not_change_and_do_not_show_secrets(tmp_path: Path) -> None:
    secrets = {"database_url": "postgresql://me:s3cret@db/x", "secret_key": "s3cret", "bootstrap_key": "s3cret"}
    settings = Settings(
        _env_file=None,  # type: ignore[call-arg]
        data_dir=tmp_path,
        **{name: SecretStr(value) for name, value in secrets.items()},  # type: ignore[arg-type]
    )
    assert "s3cret" not in f"{settings!r} {settings} {settings.model_dump()} {settings.model_dump_json()}"
    with pytest.raises(ValidationError):
        settings.port = 1


def test_a_worker_process_reads_the_settings_of_the_process_that_supervises_it(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    given: dict[str, Any] = {
        "data_dir": tmp_path / "a folder",
        "database_url": SecretStr("postgresql://me:p%20,w@db/x"),
        "secret_key": SecretStr("k=="),
        "plugin_modules": ("my_source", "my.policies"),
        "time_file": tmp_path / "time",
        "lease_seconds": 2.5,
        "concurrency": 3,
        "log_level": "DEBUG",
    }
    settings = Settings(_env_file=None, **given)  # type: ignore[call-arg]
    monkeypatch.setenv("GATEWAY_PORT", "1")  # what the process had, and was overruled by its command line
    environment = worker_environment(settings)
    for name in list(environment):
        if name.startswith("GATEWAY_"):
            monkeypatch.setenv(name, environment[name])
    assert Settings(_env_file=None) == settings  # type: ignore[call-arg]
