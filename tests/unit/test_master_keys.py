"""Several master keys at once, from wherever they come; and no start outside development with one that others know."""

from __future__ import annotations

import base64
import os
from pathlib import Path
from typing import Any

import pytest
from pydantic import SecretStr, ValidationError
from typer.testing import CliRunner

from gateway.app import worker_environment
from gateway.cli import app
from gateway.security.master_keys import UnsafeKey, VaultError, is_known, parse_keys, read_keys
from gateway.security.vault import Vault
from gateway.settings import Settings

OLD, NEW, THIRD = (base64.b64encode(os.urandom(32)).decode() for _ in range(3))
DOCUMENT = {"token": "s3cret"}


def settings(folder: Path, **given: Any) -> Settings:
    """Settings of an installation in this folder."""
    return Settings(_env_file=None, data_dir=folder, **given)  # type: ignore[call-arg]


def vault(*keys: str) -> Vault:
    """A vault with these keys."""
    return Vault(*parse_keys(",".join(keys), "GATEWAY_SECRET_KEY"))


def test_the_first_key_seals_and_all_of_them_open() -> None:
    old, both, new = vault(OLD), vault(NEW, OLD), vault(NEW)
    before, after = old.seal(DOCUMENT, "a:1"), both.seal(DOCUMENT, "a:1")
    assert both.unseal(before, "a:1") == both.unseal(after, "a:1") == new.unseal(after, "a:1") == DOCUMENT
    for stranger, sealed in ((old, after), (new, before)):
        with pytest.raises(VaultError):
            stranger.unseal(sealed, "a:1")


def test_what_is_renewed_opens_with_the_new_key_alone_and_its_text_is_the_same_bytes() -> None:
    sealed = vault(OLD).seal(DOCUMENT, "a:1")
    assert sealed is not None
    again = vault(NEW, OLD).renew(sealed, "a:1")
    assert vault(NEW).unseal(again, "a:1") == DOCUMENT
    with pytest.raises(VaultError):
        vault(OLD).unseal(again, "a:1")
    assert again[69:] == sealed[69:], "only the data key was sealed anew"
    with pytest.raises(VaultError):
        vault(NEW, OLD).renew(sealed[:-1] + bytes([sealed[-1] ^ 1]), "a:1")
    with pytest.raises(VaultError):
        vault(NEW, OLD).renew(sealed, "a:2")


def test_no_two_documents_share_a_data_key_and_none_can_be_put_together_from_two() -> None:
    one = vault(OLD).seal({"a": "1" * 30}, "a:1")
    two = vault(OLD).seal({"a": "2" * 30}, "a:1")
    assert one is not None
    assert two is not None
    with pytest.raises(VaultError):
        vault(OLD).unseal(one[:69] + two[69:], "a:1")


def test_derived_keys_outlive_the_master_key_and_differ_by_purpose_and_version() -> None:
    old = vault(OLD)
    roots = {1: old.new_root(1), 2: old.new_root(2)}
    old.learn(roots)
    known = {
        (purpose, version): old.derive(purpose, version) for purpose in ("chain", "tombstone") for version in (1, 2)
    }
    assert len(set(known.values())) == 4
    assert all(len(key) == 32 for key in known.values())
    assert old.version == 2
    renewed = {version: vault(NEW, OLD).renew(sealed, f"data_key:{version}") for version, sealed in roots.items()}
    new = vault(NEW)
    new.learn(renewed)
    assert {name: new.derive(*name) for name in known} == known
    with pytest.raises(VaultError, match="root key 3"):
        new.derive("chain", 3)
    stranger = vault(THIRD)
    stranger.learn(renewed)
    with pytest.raises(VaultError):
        stranger.derive("chain", 1)
    with pytest.raises(VaultError):
        _ = stranger.version


def test_keys_come_one_a_line_from_a_file(tmp_path: Path) -> None:
    file = tmp_path / "keys"
    file.write_text(f"{NEW}\n{OLD}\n")
    keys = read_keys(settings(tmp_path, secret_key_file=file))
    assert [one.key for one in keys] == [base64.b64decode(one) for one in (NEW, OLD)]
    given = read_keys(settings(tmp_path, secret_key=SecretStr(f"{NEW}, {OLD}")))
    assert given == keys


@pytest.mark.parametrize("name", ["secret_key", "bootstrap_key", "database_url"])
def test_any_secret_setting_may_stand_in_a_file(tmp_path: Path, name: str) -> None:
    file = tmp_path / "one"
    file.write_text("s3cret\n")
    read = settings(tmp_path, **{f"{name}_file": file})
    assert getattr(read, name).get_secret_value() == "s3cret"
    assert "s3cret" not in repr(read)
    file.write_text(" \n")
    for wrong in (file, tmp_path / "none"):
        with pytest.raises(ValidationError, match=f"GATEWAY_{name.upper()}_FILE"):
            settings(tmp_path, **{f"{name}_file": wrong})
    with pytest.raises(ValidationError, match="both set") as refused:
        settings(tmp_path, **{f"{name}_file": file, name: "an0ther"})
    assert "an0ther" not in str(refused.value)


def test_worker_processes_read_the_same_file_and_have_no_secret_in_their_environment(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = tmp_path / "keys"
    file.write_text(NEW)
    given = settings(tmp_path, secret_key_file=file)
    environment = worker_environment(given)
    assert environment["GATEWAY_SECRET_KEY_FILE"] == str(file)
    assert NEW not in "".join(environment.values())
    for name in list(environment):
        if name.startswith("GATEWAY_"):
            monkeypatch.setenv(name, environment[name])
    assert Settings(_env_file=None) == given  # type: ignore[call-arg]


PRODUCTION: list[dict[str, Any]] = [
    {"environment": "production"},
    {"host": "0.0.0.0"},
    {"host": "::"},
    {"host": "10.1.2.3"},
    {"host": "gateway.example.com"},
    {"public_url": "https://gateway.example.com"},
    {"database_url": "postgresql://u:p@db/gateway"},
    {"database_url": "postgresql://u:p@10.0.0.5:5432/gateway"},
    {"database_url": "postgresql://127.0.0.1,db2/gateway"},
    {"database_url": "postgresql:///gateway?host=db.example.com"},
    {"database_url": "host=db dbname=gateway"},
]
DEVELOPMENT: list[dict[str, Any]] = [
    {},
    {"host": "localhost"},
    {"host": "::1"},
    {"public_url": "http://127.0.0.1:8080"},
    {"database_url": "postgresql://u:p@127.0.0.1:5433/x"},
    {"database_url": "postgresql://[::1]:5433/x"},
    {"database_url": "postgresql://u:p@localhost/x"},
    {"database_url": "postgresql:///x?host=/var/run/postgresql"},
    {"environment": "development", "host": "0.0.0.0", "database_url": "postgresql://u:p@db/gateway"},
]
KNOWN = [
    bytes(32),
    b"\xff" * 32,
    bytes(range(32)),
    bytes(range(32, 64)),
    bytes(range(31, -1, -1)),
    b"changeme" * 4,
    b"0123456789abcdef0123456789abcdef",
    b"correct horse battery staple 123",
    b"\x00\x01" * 16,
    bytes(range(8)) * 4,
]


@pytest.mark.parametrize("given", PRODUCTION, ids=str)
def test_outside_development_there_is_no_start_without_a_key_or_with_one_that_others_know(
    tmp_path: Path, given: dict[str, Any]
) -> None:
    with pytest.raises(UnsafeKey, match=r"GATEWAY_SECRET_KEY is not set.*openssl rand -base64 32") as missing:
        Vault.open(settings(tmp_path, **given))
    assert "GATEWAY_ENVIRONMENT=development" in str(missing.value)
    assert not (tmp_path / "secret.key").exists()
    for known in KNOWN:
        text = base64.b64encode(known).decode()
        for keys in (text, f"{NEW},{text}"):
            with pytest.raises(UnsafeKey, match="an example or was typed by hand") as refused:
                Vault.open(settings(tmp_path, secret_key=SecretStr(keys), **given))
            assert text not in str(refused.value)
    assert Vault.open(settings(tmp_path, secret_key=SecretStr(NEW), **given)).seal(DOCUMENT, "a:1")
    short = base64.b64encode(os.urandom(16)).decode()
    with pytest.raises(VaultError, match="32 bytes"):
        Vault.open(settings(tmp_path, secret_key=SecretStr(short), **given))


@pytest.mark.parametrize("given", DEVELOPMENT, ids=str)
def test_in_development_nothing_need_be_set(tmp_path: Path, given: dict[str, Any]) -> None:
    assert Vault.open(settings(tmp_path, **given)).seal(DOCUMENT, "a:1")
    assert (tmp_path / "secret.key").exists()


def test_the_key_of_the_data_folder_can_be_taken_along_into_production(tmp_path: Path) -> None:
    sealed = Vault.open(settings(tmp_path)).seal(DOCUMENT, "a:1")
    with pytest.raises(UnsafeKey) as refused:
        Vault.open(settings(tmp_path, host="0.0.0.0"))
    file = tmp_path / "secret.key"
    assert f"GATEWAY_SECRET_KEY_FILE={file}" in str(refused.value)
    assert Vault.open(settings(tmp_path, host="0.0.0.0", secret_key_file=file)).unseal(sealed, "a:1") == DOCUMENT


def test_a_made_key_is_never_taken_for_a_known_one() -> None:
    assert not any(is_known(os.urandom(32)) for _ in range(20_000))


@pytest.mark.parametrize(
    ("text", "said"),
    [(f"{OLD},{OLD}", "twice"), (f"{OLD},x", "not base64"), (f"{OLD};{NEW}", "not base64"), (",", "32 bytes")],
    ids=("twice", "one that is none", "another separator", "none"),
)
def test_a_list_that_is_wrong_is_told_without_its_keys(text: str, said: str) -> None:
    with pytest.raises(VaultError, match=said) as refused:
        parse_keys(text, "GATEWAY_SECRET_KEY")
    assert OLD not in str(refused.value)


def test_no_repr_shows_a_key() -> None:
    key = base64.b64decode(OLD)
    [master] = parse_keys(OLD, "x")
    shown = f"{master!r} {master} {vault(OLD)!r} {vault(OLD).__dict__}"
    assert OLD not in shown
    assert repr(key)[2:-1] not in shown
    assert key.hex() not in shown


@pytest.mark.parametrize("command", [["serve"], ["worker"], ["key", "create", "x"], ["secrets", "rotate"]])
def test_the_commands_say_it_in_one_line_and_end(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, command: list[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("GATEWAY_DATA_DIR", str(tmp_path))
    monkeypatch.setenv("GATEWAY_HOST", "0.0.0.0")
    for key in (None, base64.b64encode(bytes(range(32))).decode()):
        if key is not None:
            monkeypatch.setenv("GATEWAY_SECRET_KEY", key)
        ended = CliRunner().invoke(app, command)
        assert ended.exit_code == 2
        assert ended.stdout == ""
        [line] = ended.stderr.splitlines()
        assert "openssl rand -base64 32" in line
        assert key is None or key not in line


def test_a_setting_that_is_wrong_is_named_without_its_value(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("GATEWAY_PORT", "s3cret-put-into-the-wrong-line")
    ended = CliRunner().invoke(app, ["serve"])
    assert (ended.exit_code, ended.stdout) == (2, "")
    assert "GATEWAY_PORT: " in ended.stderr
    assert "s3cret" not in ended.stderr
