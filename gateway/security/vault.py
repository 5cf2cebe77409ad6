"""Secrets at rest: AES-GCM under a key of the installation."""

from __future__ import annotations

import base64
import contextlib
import json
import os
import secrets
from pathlib import Path
from typing import Any

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

from gateway.settings import Settings

_VERSION = b"\x01"


class VaultError(Exception):
    """The stored secrets cannot be opened with this key: GATEWAY_SECRET_KEY (or the data folder's secret.key)
    changed."""


class Vault:
    """Seals small JSON documents. `context` binds a sealed document to its row: it opens nowhere else."""

    def __init__(self, key: bytes) -> None:
        if len(key) != 32:
            raise VaultError("GATEWAY_SECRET_KEY: 32 bytes in base64 are needed (openssl rand -base64 32)")
        self._cipher = AESGCM(key)
        self._key = key

    @property
    def version(self) -> int:
        """The newest version of the key: what is made now names it."""
        return 1

    def derive(self, purpose: str, version: int) -> bytes:
        """32 bytes for keyed hashes of one purpose, the same ever after for a purpose and version. Raises VaultError
        for a version that is not known."""
        if version != 1:
            raise VaultError(f"Version {version} of the installation's secret key is not known to this process.")
        info = b"helpdesk-gateway purpose\0" + purpose.encode()
        return HKDF(algorithm=SHA256(), length=32, salt=None, info=info).derive(self._key)

    @classmethod
    def open(cls, settings: Settings) -> Vault:
        """The vault of this installation; without GATEWAY_SECRET_KEY a key is made in the data folder, mode 0600."""
        return cls(cls.key_of(settings))

    @classmethod
    def key_of(cls, settings: Settings, *, make: bool = True) -> bytes:
        """The installation's key. Without `make` it must be there. Raises VaultError."""
        if settings.secret_key is not None:
            try:
                key = base64.b64decode(settings.secret_key.get_secret_value(), validate=True)
            except ValueError as error:
                raise VaultError("GATEWAY_SECRET_KEY: not base64 (openssl rand -base64 32)") from error
            return key
        return _key_file(settings.data_dir / "secret.key", make=make)

    def seal(self, document: dict[str, Any], context: str) -> bytes | None:
        """Encrypt; an empty document seals to None."""
        if not document:
            return None
        nonce = os.urandom(12)
        plain = json.dumps(document).encode()
        return _VERSION + nonce + self._cipher.encrypt(nonce, plain, context.encode())

    def unseal(self, sealed: bytes | None, context: str) -> dict[str, Any]:
        """Decrypt. Raises VaultError when the key or the row is another one."""
        if sealed is None:
            return {}
        if sealed[:1] != _VERSION:
            raise VaultError("The stored secrets were sealed by another version of the gateway.")
        try:
            plain = self._cipher.decrypt(sealed[1:13], sealed[13:], context.encode())
        except (InvalidTag, ValueError) as error:  # ValueError: too short to have been sealed
            raise VaultError(str(VaultError.__doc__)) from error
        document: dict[str, Any] = json.loads(plain)
        return document


def _key_file(path: Path, *, make: bool = True) -> bytes:
    path.parent.mkdir(parents=True, exist_ok=True)
    if not path.exists():
        if not make:
            raise VaultError(f"{path} is not there, nor is GATEWAY_SECRET_KEY set: a backup opens with its key only")
        _make_key_file(path)
    try:
        key = base64.b64decode(path.read_bytes().strip(), validate=True)
    except ValueError as error:
        raise VaultError(f"{path}: not base64; restore the file from a backup") from error
    if len(key) != 32:
        raise VaultError(f"{path}: not 32 bytes in base64; restore the file from a backup")
    return key


def _make_key_file(path: Path) -> None:
    """Under its name the file exists whole or not at all: of processes that start together, all read the same key."""
    draft = path.with_name(f".{path.name}.{os.getpid()}.{secrets.token_hex(4)}")
    descriptor = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    try:
        with os.fdopen(descriptor, "wb") as file:
            file.write(base64.b64encode(os.urandom(32)))
            file.flush()
            os.fsync(file.fileno())
        with contextlib.suppress(FileExistsError):
            os.link(draft, path)  # refused if another process was faster; a rename would replace its key
    finally:
        draft.unlink()
    folder = os.open(path.parent, os.O_RDONLY)
    try:
        os.fsync(folder)  # a key that is gone after a power cut takes all sealed secrets with it
    finally:
        os.close(folder)
