"""What goes to receivers of events: the body, and the secrets that it is signed with."""

from __future__ import annotations

import base64
import os
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

from gateway.db.database import Row
from gateway.security.vault import Vault

SECRETS = 3
"""How many secrets may count at once: the newest, and older ones while the receiver changes over."""


def new_secret() -> str:
    """A signing secret after Standard Webhooks: 32 random bytes."""
    return "whsec_" + base64.b64encode(os.urandom(32)).decode("ascii")


@dataclass(frozen=True)
class Secret:
    """One signing secret; `until` when it ends, None for the one that counts."""

    secret: str
    until: datetime | None = None


def seal(vault: Vault, id: UUID, secrets: list[Secret]) -> bytes | None:
    """The secrets as they are stored."""
    document = [{"secret": one.secret, "until": one.until.isoformat() if one.until else None} for one in secrets]
    return vault.seal({"secrets": document}, f"subscription:{id}")


def unseal(vault: Vault, id: UUID, sealed: bytes | None, now: datetime) -> list[Secret]:
    """Those that count at this time, newest first. Raises VaultError."""
    found = [
        Secret(one["secret"], datetime.fromisoformat(one["until"]) if one["until"] else None)
        for one in vault.unseal(sealed, f"subscription:{id}").get("secrets", ())
    ]
    return [one for one in found if one.until is None or one.until > now]


def rotated(secrets: list[Secret], overlap: timedelta, now: datetime) -> list[Secret]:
    """A new secret in front; those before it count for `overlap` longer, unless they end sooner anyway."""
    until = now + overlap
    kept = [Secret(one.secret, min(one.until or until, until)) for one in secrets]
    return [Secret(new_secret()), *(one for one in kept if one.until is not None and one.until > now)][:SECRETS]


def body_of(event: Row | Mapping[str, Any], texts: Mapping[str, Any] | None) -> dict[str, Any]:
    """What a request says, after Standard Webhooks: type, timestamp and data."""
    data = dict(event["data"])
    if texts is not None:
        data["texts"] = dict(texts)
    return {"type": event["kind"], "timestamp": event["at"], "data": data}
