"""Secrets at rest open with this installation's key, in their own row, and nowhere else."""

from __future__ import annotations

import base64
import json
import multiprocessing
import os
import signal
import stat
import subprocess
import sys
from pathlib import Path
from typing import Any

import hypothesis
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import SecretStr

from gateway.security.vault import Vault, VaultError
from gateway.settings import Settings

KEY = base64.b64encode(bytes(range(32))).decode()
SECRETS = {"token": "s3cret", "nested": {"refresh": "önly ☃", "list": [1, None, True]}}


def settings(folder: Path, key: str | None = None) -> Settings:
    """Settings of an installation in this folder."""
    secret = SecretStr(key) if key is not None else None
    return Settings(_env_file=None, data_dir=folder, secret_key=secret)  # type: ignore[call-arg]


def test_what_was_sealed_opens_in_its_row(tmp_path: Path) -> None:
    vault = Vault.open(settings(tmp_path, KEY))
    sealed = vault.seal(SECRETS, "connection:1")
    assert sealed is not None
    assert b"s3cret" not in sealed
    assert vault.unseal(sealed, "connection:1") == SECRETS
    assert Vault.open(settings(tmp_path / "elsewhere", KEY)).unseal(sealed, "connection:1") == SECRETS
    assert not (tmp_path / "secret.key").exists(), "a key that is given is not written down"


def test_nothing_seals_to_nothing(tmp_path: Path) -> None:
    vault = Vault.open(settings(tmp_path, KEY))
    assert vault.seal({}, "connection:1") is None
    assert vault.unseal(None, "connection:1") == {}


def test_equal_secrets_look_different(tmp_path: Path) -> None:
    vault = Vault.open(settings(tmp_path, KEY))
    assert len({vault.seal(SECRETS, "connection:1") for _ in range(50)}) == 50


@pytest.mark.parametrize("context", ["connection:2", "app:1", "", "connection:1 "])
def test_a_row_that_was_given_anothers_secrets_does_not_open(tmp_path: Path, context: str) -> None:
    vault = Vault.open(settings(tmp_path, KEY))
    sealed = vault.seal(SECRETS, "connection:1")
    with pytest.raises(VaultError):
        vault.unseal(sealed, context)


def test_another_key_does_not_open(tmp_path: Path) -> None:
    sealed = Vault.open(settings(tmp_path, KEY)).seal(SECRETS, "connection:1")
    with pytest.raises(VaultError, match="GATEWAY_SECRET_KEY"):
        Vault.open(settings(tmp_path)).unseal(sealed, "connection:1")


@given(st.data())
def test_bytes_that_were_changed_or_cut_do_not_open(data: st.DataObject) -> None:
    vault = Vault(bytes(range(32)))
    sealed = vault.seal(SECRETS, "connection:1")
    assert sealed is not None
    if data.draw(st.booleans()):
        damaged = sealed[: data.draw(st.integers(0, len(sealed) - 1))]
    else:
        at, bit = data.draw(st.integers(0, len(sealed) - 1)), data.draw(st.integers(0, 7))
        damaged = sealed[:at] + bytes([sealed[at] ^ 1 << bit]) + sealed[at + 1 :]
    with pytest.raises(VaultError):
        vault.unseal(damaged, "connection:1")


@given(st.binary(max_size=80))
def test_foreign_bytes_do_not_open(sealed: bytes) -> None:
    with pytest.raises(VaultError):
        Vault(bytes(32)).unseal(sealed, "connection:1")


@pytest.mark.parametrize(
    ("key", "said"),
    [
        ("not base64!", "not base64"),
        ("ключ", "not base64"),
        ("", "32 bytes"),
        (base64.b64encode(bytes(31)).decode(), "32 bytes"),
        (base64.b64encode(bytes(33)).decode(), "32 bytes"),
        (bytes(range(32)).hex(), "32 bytes"),
    ],
)
def test_a_bad_key_in_the_settings_says_what_is_needed_and_not_what_it_was(tmp_path: Path, key: str, said: str) -> None:
    with pytest.raises(VaultError, match=said) as refused:
        Vault.open(settings(tmp_path, key))
    assert "openssl rand -base64 32" in str(refused.value)
    assert not key or key not in str(refused.value)


def test_without_a_key_one_is_made_that_only_its_owner_reads(tmp_path: Path) -> None:
    folder = tmp_path / "data" / "gateway"
    old = os.umask(0)
    try:
        sealed = Vault.open(settings(folder)).seal(SECRETS, "connection:1")
    finally:
        os.umask(old)
    [file] = folder.iterdir()
    assert (file.name, stat.S_IMODE(file.stat().st_mode)) == ("secret.key", 0o600)
    assert len(base64.b64decode(file.read_bytes(), validate=True)) == 32
    assert Vault.open(settings(folder)).unseal(sealed, "connection:1") == SECRETS


def test_a_key_file_written_by_hand_may_end_with_a_line_break(tmp_path: Path) -> None:
    (tmp_path / "secret.key").write_text(KEY + "\n")
    sealed = Vault.open(settings(tmp_path)).seal(SECRETS, "connection:1")
    assert Vault.open(settings(tmp_path, KEY)).unseal(sealed, "connection:1") == SECRETS


@pytest.mark.parametrize("content", [b"", b"not base64!", b"c2hvcnQ=", b"\x00" * 32])
def test_a_damaged_key_file_is_named_and_never_replaced(tmp_path: Path, content: bytes) -> None:
    file = tmp_path / "secret.key"
    file.write_bytes(content)
    with pytest.raises(VaultError, match=r"secret\.key"):
        Vault.open(settings(tmp_path))
    assert file.read_bytes() == content


def _open_and_seal(folders: list[str], barrier: Any, results: Any) -> None:
    for folder in folders:
        barrier.wait()
        try:
            sealed = Vault.open(settings(Path(folder))).seal(SECRETS, "connection:1")
            results.put((folder, base64.b64encode(sealed or b"").decode()))
        except Exception as error:  # told to the test
            results.put((folder, f"{type(error).__name__}: {error}"))


def test_processes_that_start_together_use_one_key(tmp_path: Path) -> None:
    context = multiprocessing.get_context("spawn")
    folders = [str(tmp_path / str(attempt)) for attempt in range(40)]
    barrier, results = context.Barrier(3), context.Queue()
    processes = [context.Process(target=_open_and_seal, args=(folders, barrier, results)) for _ in range(3)]
    for one in processes:
        one.start()
    answers = [results.get(timeout=60) for _ in range(3 * len(folders))]
    for one in processes:
        one.join()
    for folder, sealed in answers:
        assert "Error" not in sealed, sealed
        assert Vault.open(settings(Path(folder))).unseal(base64.b64decode(sealed), "connection:1") == SECRETS
        assert [file.name for file in Path(folder).iterdir()] == ["secret.key"]


DYING = """
import os, signal, sys
from gateway.security.vault import Vault
from gateway.settings import Settings
os.fsync = lambda _: os.kill(os.getpid(), signal.SIGKILL)
Vault.open(Settings(_env_file=None, data_dir=sys.argv[1]))
"""


def test_a_process_that_died_while_making_the_key_does_not_stop_the_next(tmp_path: Path) -> None:
    died = subprocess.run([sys.executable, "-c", DYING, str(tmp_path)], check=False, timeout=60)
    assert died.returncode == -signal.SIGKILL
    sealed = Vault.open(settings(tmp_path)).seal(SECRETS, "connection:1")
    assert Vault.open(settings(tmp_path)).unseal(sealed, "connection:1") == SECRETS


@hypothesis.settings(max_examples=40)
@given(st.dictionaries(st.text(min_size=1), st.recursive(st.none() | st.booleans() | st.text(), st.lists), min_size=1))
def test_any_document_comes_back_as_it_was(document: dict[str, Any]) -> None:
    vault = Vault(bytes(32))
    assert vault.unseal(vault.seal(document, "c"), "c") == json.loads(json.dumps(document))
