"""What the twin remembers: accounts, repositories of records, what the index made of them, conversations."""

from __future__ import annotations

import base64
import hashlib
import json
import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

from gateway_schemas.time import TimeSource

Json = dict[str, Any]
POSTS = "app.bsky.feed.post"
_SORTABLE = "234567abcdefghijklmnopqrstuvwxyz"
_HANDLE = re.compile(r"(?<![\w@])@((?:[a-zA-Z0-9-]+\.)+[a-zA-Z][a-zA-Z0-9-]*)")
_LINK = re.compile(r"https?://[^\s<>\"]+[^\s<>\".,;:!?)]")
_TAG = re.compile(r"(?<!\S)#([^\W\d_]\w*)")


@dataclass
class TwinAccount:
    """An account. `password` is set for those that a gateway may log in to."""

    did: str
    handle: str
    name: str
    created_at: datetime
    password: str | None = None
    messages_allowed: bool = True
    """Whether the app password has access to direct messages."""
    allow_incoming: str | None = None
    """Who may write to it, as its declaration says; None: it made none."""
    follows: set[str] = field(default_factory=set)
    blocks: set[str] = field(default_factory=set)
    active: bool = True
    sessions: int = 0
    """Sessions begun before the last withdrawal have ended."""


@dataclass
class TwinRecord:
    """A record in a repository, at one version."""

    uri: str
    cid: str
    value: Json
    created_at: datetime
    indexed_at: datetime
    shown_at: datetime
    by_api: bool = False


@dataclass(frozen=True)
class TwinNotification:
    """What the index tells an account of."""

    account: str
    uri: str
    reason: str
    subject: str | None
    indexed_at: datetime
    shown_at: datetime


@dataclass
class TwinBlob:
    """An uploaded file."""

    cid: str
    media_type: str
    body: bytes


@dataclass
class TwinMessage:
    """A direct message."""

    id: str
    rev: str
    sender: str
    text: str
    facets: list[Json]
    sent_at: datetime
    by_api: bool = False
    hidden_from: set[str] = field(default_factory=set)


@dataclass
class TwinConvo:
    """A conversation, and its messages from the oldest on."""

    id: str
    members: tuple[str, ...]
    rev: str
    messages: list[TwinMessage] = field(default_factory=list)
    locked: bool = False

    @property
    def last(self) -> TwinMessage | None:
        """The newest message."""
        return self.messages[-1] if self.messages else None


@dataclass
class State:
    """Everything at the twin."""

    time: TimeSource
    accounts: dict[str, TwinAccount] = field(default_factory=dict)
    records: dict[str, TwinRecord] = field(default_factory=dict)
    notifications: list[TwinNotification] = field(default_factory=list)
    blobs: dict[str, dict[str, TwinBlob]] = field(default_factory=dict)
    convos: dict[str, TwinConvo] = field(default_factory=dict)
    log: dict[str, list[tuple[str, Json]]] = field(default_factory=dict)
    """What happened in an account's conversations: the place in the log, and the event."""
    _clock: int = 0

    def tid(self, at: datetime | None = None) -> str:
        """A record key of that time that nothing else has."""
        number = int((at or self.time.now()).timestamp() * 1_000_000) << 10
        if at is None:
            number = self._clock = max(number, self._clock + 1)
        key = encode(number)
        while any(uri.endswith(f"/{key}") for uri in self.records):
            number += 1
            key = encode(number)
        return key

    def account(self, who: str) -> TwinAccount:
        """An account by identifier or handle. Raises KeyError."""
        if who in self.accounts:
            return self.accounts[who]
        for account in self.accounts.values():
            if account.handle == who.removeprefix("@").lower():
                return account
        raise KeyError(f"the twin has no account {who!r}; add_user first")

    def posts(self) -> list[TwinRecord]:
        """All posts, oldest first as the index got them."""
        found = (record for uri, record in self.records.items() if f"/{POSTS}/" in uri)
        return sorted(found, key=lambda record: (record.indexed_at, record.uri))

    def facets(self, text: str) -> list[Json]:
        """The facets that a client makes of a text: names that there are, links, tags."""
        found = sorted(self._stretches(text), key=lambda one: one[0])
        return [
            {
                "index": {"byteStart": len(text[:start].encode()), "byteEnd": len(text[:end].encode())},
                "features": [feature],
            }
            for start, end, feature in found
        ]

    def _stretches(self, text: str) -> Iterator[tuple[int, int, Json]]:
        for match in _HANDLE.finditer(text):
            try:
                did = self.account(match[1]).did
            except KeyError:
                continue
            yield match.start(), match.end(), {"$type": "app.bsky.richtext.facet#mention", "did": did}
        for match in _LINK.finditer(text):
            yield match.start(), match.end(), {"$type": "app.bsky.richtext.facet#link", "uri": match.group()}
        for match in _TAG.finditer(text):
            yield match.start(), match.end(), {"$type": "app.bsky.richtext.facet#tag", "tag": match[1]}


def encode(number: int) -> str:
    """63 bits as a TID."""
    return "".join(_SORTABLE[(number >> shift) & 31] for shift in range(60, -5, -5))


def cid_of(value: Json) -> str:
    """A record's content identifier: version 1, DAG-CBOR, SHA-256. The twin hashes JSON where a server hashes CBOR."""
    body = json.dumps(value, sort_keys=True, separators=(",", ":")).encode()
    return _cid(0x71, hashlib.sha256(body).digest())


def blob_cid_of(body: bytes) -> str:
    """A file's content identifier: version 1, raw bytes, SHA-256."""
    return _cid(0x55, hashlib.sha256(body).digest())


def _cid(codec: int, digest: bytes) -> str:
    return "b" + base64.b32encode(bytes((1, codec, 0x12, 0x20)) + digest).decode().lower().rstrip("=")


def iso(moment: datetime) -> str:
    """A time as the network writes it: milliseconds, Z."""
    return moment.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%S.") + f"{moment.microsecond // 1000:03d}Z"


def parts(uri: str) -> tuple[str, str, str]:
    """Owner, collection and key of a record."""
    did, collection, rkey = uri.removeprefix("at://").split("/")
    return did, collection, rkey
