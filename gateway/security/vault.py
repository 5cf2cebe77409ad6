"""Secrets at rest: envelope encryption with AES-GCM.

Each sealed document has a data key of its own, which is sealed under the installation's master key and travels with
the document. So any process that has the master key opens any document without asking the database for keys, no two
processes have to agree on anything while keys are replaced, and to replace the master key only the 32 bytes of each
data key are sealed anew (`gateway.security.rotation`).

    version (1 byte) · id of the master key (8) · nonce (12) · data key, sealed (48) · document, sealed

Keyed hashes that must keep their value when the master key is replaced (chains, tombstones) are made with keys that
`derive` gives. They come from root keys, which are kept in the table `data_key`, sealed like any document.
"""

from __future__ import annotations

import base64
import json
import os
from collections.abc import Mapping
from typing import Any

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

from gateway.security.master_keys import LENGTH, MasterKey, UnsafeKey, VaultError, read_keys
from gateway.security.redaction import remember
from gateway.settings import Settings

__all__ = ["UnsafeKey", "Vault", "VaultError", "root_context"]

_ENVELOPE = b"\x01"
"""The version of the form above."""
_NONCE = 12
_WRAPPED = LENGTH + 16
_HEAD = 1 + 8
_BODY = _HEAD + _NONCE + _WRAPPED
_NO_SECRETS = ("answer:", "state:", "data_key:")
"""Contexts of documents that are sealed as a whole, or that nobody can read: their texts are not taken for secrets."""
_ONCE = bytes(_NONCE)
"""The nonce of documents: a data key seals a single one."""


class Vault:
    """Seals small JSON documents. `context` binds a sealed document to its row: it opens nowhere else."""

    def __init__(self, *keys: bytes | MasterKey) -> None:
        """The first key seals, all of them open."""
        self._keys = [one if isinstance(one, MasterKey) else MasterKey(one) for one in keys]
        if not self._keys or any(len(one.key) != LENGTH for one in self._keys):
            raise VaultError("GATEWAY_SECRET_KEY: 32 bytes in base64 are needed (openssl rand -base64 32)")
        self._by_id = {one.id: one for one in self._keys}
        self._roots: dict[int, bytes] = {}

    @classmethod
    def open(cls, settings: Settings) -> Vault:
        """The vault of this installation. Raises VaultError, also where the key is not safe enough: see `read_keys`."""
        return cls(*read_keys(settings))

    def __repr__(self) -> str:
        return f"Vault({', '.join(one.id.hex() for one in self._keys)})"

    @property
    def key_ids(self) -> tuple[bytes, ...]:
        """The ids of the master keys, the active one's first."""
        return tuple(one.id for one in self._keys)

    @property
    def current(self) -> bytes:
        """How everything begins that is sealed as this process seals now."""
        return _ENVELOPE + self._keys[0].id

    def seal(self, document: Mapping[str, Any], context: str) -> bytes | None:
        """Encrypt; an empty document seals to None."""
        if not document:
            return None
        if not context.startswith(_NO_SECRETS):
            remember(document)
        key = AESGCM.generate_key(LENGTH * 8)
        return self._wrap(key) + AESGCM(key).encrypt(_ONCE, json.dumps(document).encode(), context.encode())

    def unseal(self, sealed: bytes | None, context: str) -> dict[str, Any]:
        """Decrypt. Raises VaultError when the key or the row is another one."""
        if sealed is None:
            return {}
        plain = _opened(AESGCM(self._unwrap(sealed)), _ONCE, sealed[_BODY:], context.encode())
        document: dict[str, Any] = json.loads(plain)
        if not context.startswith(_NO_SECRETS):
            remember(document)
        return document

    def renew(self, sealed: bytes, context: str) -> bytes:
        """The same document under the active master key; its data key and its text stay as they are. Raises VaultError
        as `unseal` does, also for a document that is damaged."""
        self.unseal(sealed, context)
        return self._wrap(self._unwrap(sealed)) + sealed[_BODY:]

    def learn(self, sealed_roots: Mapping[int, bytes]) -> None:
        """Take the root keys as the table `data_key` has them; those that do not open are not known afterwards."""
        for version, sealed in sealed_roots.items():
            try:
                document = self.unseal(sealed, root_context(version))
            except VaultError:
                continue
            self._roots[version] = base64.b64decode(document["key"])

    def knows(self, version: int) -> bool:
        """Whether this root key is known."""
        return version in self._roots

    @staticmethod
    def key_of(sealed: bytes) -> str:
        """The id of the master key that something was sealed under, in hexadecimal."""
        return sealed[1:_HEAD].hex()

    @property
    def version(self) -> int:
        """The newest root key that is known: what is made now names it. Raises VaultError when there is none."""
        if not self._roots:
            raise VaultError(str(VaultError.__doc__))
        return max(self._roots)

    def derive(self, purpose: str, version: int) -> bytes:
        """32 bytes for keyed hashes of one purpose (`audit chain`), the same ever after for a purpose and version.

        Raises VaultError for a root key that this process does not know, or cannot open.
        """
        root = self._roots.get(version)
        if root is None:
            raise VaultError(
                f"The root key {version} is not known to this process: it was sealed under a key that is not in "
                "GATEWAY_SECRET_KEY, or made after the process started"
            )
        info = b"helpdesk-gateway purpose\0" + purpose.encode()
        return HKDF(algorithm=SHA256(), length=LENGTH, salt=None, info=info).derive(root)

    def new_root(self, version: int) -> bytes:
        """A new root key, sealed for its row."""
        sealed = self.seal({"key": base64.b64encode(os.urandom(LENGTH)).decode()}, root_context(version))
        assert sealed is not None
        return sealed

    def _wrap(self, key: bytes) -> bytes:
        head, nonce = self.current, os.urandom(_NONCE)
        return head + nonce + self._keys[0].cipher.encrypt(nonce, key, head)

    def _unwrap(self, sealed: bytes) -> bytes:
        if sealed[:1] != _ENVELOPE:
            raise VaultError("The stored secrets were sealed by another version of the gateway.")
        master = self._by_id.get(sealed[1:_HEAD])
        if master is None:
            raise VaultError(str(VaultError.__doc__))
        nonce, wrapped = sealed[_HEAD : _HEAD + _NONCE], sealed[_HEAD + _NONCE : _BODY]
        return _opened(master.cipher, nonce, wrapped, sealed[:_HEAD])


def root_context(version: int) -> str:
    """What binds a root key to its row."""
    return f"data_key:{version}"


def _opened(cipher: AESGCM, nonce: bytes, sealed: bytes, bound: bytes) -> bytes:
    try:
        return cipher.decrypt(nonce, sealed, bound)
    except (InvalidTag, ValueError):  # ValueError: too short to have been sealed
        raise VaultError(str(VaultError.__doc__)) from None
