"""The master keys of an installation: read from the environment, a file or the data folder, and refused when unsafe.

Several may be given at once, so that one can be replaced without a pause: the first seals, all of them open.
"""

from __future__ import annotations

import base64
import contextlib
import hashlib
import ipaddress
import itertools
import os
import re
import secrets
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from urllib.parse import parse_qs, urlsplit

from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from gateway.settings import Settings

LENGTH = 32
LEAST_VARIETY = 12
"""Fewer different bytes than this among 32 happen by chance less than once in 10^13 keys: somebody typed this one."""
MAKE_ONE = "openssl rand -base64 32"


class VaultError(Exception):
    """The stored secrets cannot be opened with this key: GATEWAY_SECRET_KEY (or the data folder's secret.key)
    changed."""


class UnsafeKey(VaultError):
    """Outside development the gateway does not start with this key, or without one. The message says what to do."""


class ForeignKey(VaultError):
    """The database is another secret key's. Nothing was changed; the message names the settings and the mend."""


@dataclass(frozen=True, repr=False)
class MasterKey:
    """One master key. Its `id` is stored with everything that it sealed and tells nothing about the key."""

    key: bytes

    @cached_property
    def id(self) -> bytes:
        """8 bytes."""
        return hashlib.sha256(b"helpdesk-gateway master key id\0" + self.key).digest()[:8]

    @cached_property
    def cipher(self) -> AESGCM:
        """What seals under it."""
        return AESGCM(self.key)

    def __repr__(self) -> str:
        return f"MasterKey({self.id.hex()})"


def read_keys(settings: Settings, *, make: bool = True) -> tuple[MasterKey, ...]:
    """The master keys of this installation, the active one first. Called at every start.

    In development a key is made in the data folder (mode 0600) where none is given; without `make` it must be there.
    Raises VaultError for what is no key, and UnsafeKey outside development for a missing one and for one that others
    know or can guess.
    """
    if settings.secret_key is None:
        if why := why_production(settings):
            raise UnsafeKey(
                f"GATEWAY_SECRET_KEY is not set, and this is no development installation: {why}. Make a key "
                f"({MAKE_ONE}) and give every process the same one, in GATEWAY_SECRET_KEY or in a file that "
                f"GATEWAY_SECRET_KEY_FILE names; to go on with the key this installation made for itself, "
                f"GATEWAY_SECRET_KEY_FILE={settings.data_dir / 'secret.key'}. For a look on a machine that nobody "
                "else reaches: GATEWAY_ENVIRONMENT=development"
            )
        return (_key_file(settings.data_dir / "secret.key", make=make),)
    source = f"GATEWAY_SECRET_KEY_FILE ({settings.secret_key_file})" if settings.secret_key_file else None
    keys = parse_keys(settings.secret_key.get_secret_value(), source or "GATEWAY_SECRET_KEY")
    if why := why_production(settings):
        for number, one in enumerate(keys, 1):
            if is_known(one.key):
                raise UnsafeKey(
                    f"{source or 'GATEWAY_SECRET_KEY'}: key {number} is an example or was typed by hand, and this is "
                    f"no development installation: {why}. Make one that nobody can guess ({MAKE_ONE}); if secrets are "
                    "sealed with this one already, start once with GATEWAY_ENVIRONMENT=development, both keys, the new "
                    "one first, and run `gateway secrets rotate`"
                )
    return keys


def parse_keys(text: str, name: str) -> tuple[MasterKey, ...]:
    """Keys in base64, separated by commas or white space. Raises VaultError, which never quotes a key."""
    keys = []
    for one in list(filter(None, re.split(r"[\s,]+", text))) or [""]:
        try:
            key = base64.b64decode(one, validate=True)
        except ValueError:
            raise VaultError(f"{name}: not base64 ({MAKE_ONE})") from None
        if len(key) != LENGTH:
            raise VaultError(f"{name}: {LENGTH} bytes in base64 are needed ({MAKE_ONE})")
        keys.append(MasterKey(key))
    if len({one.key for one in keys}) < len(keys):
        raise VaultError(f"{name}: the same key stands there twice")
    return tuple(keys)


def why_production(settings: Settings) -> str | None:
    """Why this is taken to be no development installation; None where it is one.

    GATEWAY_ENVIRONMENT decides. Without it: whatever can be reached from, or keeps its data on, another machine.
    """
    if settings.environment is not None:
        return "GATEWAY_ENVIRONMENT is production" if settings.environment == "production" else None
    if not _is_here(settings.host):
        return "GATEWAY_HOST (or --host) listens beyond this machine"
    if settings.public_url is not None and not _is_here(urlsplit(settings.public_url).hostname or ""):
        return "GATEWAY_PUBLIC_URL is an address that others reach"
    if settings.database_url is not None and not _database_is_here(settings.database_url.get_secret_value()):
        return "GATEWAY_DATABASE_URL leads to another machine"
    return None


def _is_here(host: str) -> bool:
    if host.lower().rstrip(".") == "localhost":
        return True
    try:
        return ipaddress.ip_address(host.strip("[]")).is_loopback
    except ValueError:
        return False


def _database_is_here(url: str) -> bool:
    parts = urlsplit(url)
    hosts = [host for value in parse_qs(parts.query).get("host", []) for host in value.split(",")]
    named = parts.netloc.rpartition("@")[2]
    if named:
        hosts += [f"[{one[1:].partition(']')[0]}]" if one[:1] == "[" else one.split(":")[0] for one in named.split(",")]
    elif not hosts and not parts.scheme:
        return False
    return all(not host or host.startswith("/") or _is_here(host) for host in hosts)


def is_known(key: bytes) -> bool:
    """Whether a key is a counted-up or repeated pattern, text that somebody typed, or has too few different bytes."""
    steps = {(after - before) % 256 for before, after in itertools.pairwise(key)}
    typed = all(32 <= byte < 127 for byte in key)
    return len(steps) == 1 or typed or len(set(key)) < LEAST_VARIETY


def _key_file(path: Path, *, make: bool) -> MasterKey:
    path.parent.mkdir(parents=True, exist_ok=True)
    if not path.exists():
        if not make:
            raise VaultError(f"{path} is not there, nor is GATEWAY_SECRET_KEY set: a backup opens with its key only")
        _make_key_file(path)
    try:
        key = base64.b64decode(path.read_bytes().strip(), validate=True)
    except ValueError:
        raise VaultError(f"{path}: not base64; restore the file from a backup") from None
    if len(key) != LENGTH:
        raise VaultError(f"{path}: not {LENGTH} bytes in base64; restore the file from a backup")
    return MasterKey(key)


def _make_key_file(path: Path) -> None:
    """Under its name the file exists whole or not at all: of processes that start together, all read the same key."""
    draft = path.with_name(f".{path.name}.{os.getpid()}.{secrets.token_hex(4)}")
    descriptor = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    try:
        with os.fdopen(descriptor, "wb") as file:
            file.write(base64.b64encode(os.urandom(LENGTH)))
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
