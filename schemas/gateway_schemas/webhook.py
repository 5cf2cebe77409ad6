"""What comes through the door and what is kept of it, byte for byte."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Literal
from urllib.parse import parse_qsl

Origin = Literal["webhook", "poll", "fetch", "listen"]


@dataclass(frozen=True, slots=True)
class WebhookRequest:
    """One request at the door, before anything is believed of it. Bytes are exactly those received."""

    method: str
    path: str
    query: bytes = field(repr=False)
    headers: Sequence[tuple[bytes, bytes]] = field(repr=False)
    body: bytes = field(repr=False)
    received_at: datetime

    def header(self, name: str) -> str | None:
        """The first header of that name, in any case, as Latin-1 text; None when absent."""
        wanted = name.lower().encode("latin-1")
        for key, value in self.headers:
            if key.lower() == wanted:
                return value.decode("latin-1")
        return None

    def query_value(self, name: str) -> str | None:
        """The first query parameter of that name, percent-decoded; None when absent."""
        for key, value in parse_qsl(self.query.decode("latin-1"), keep_blank_values=True):
            if key == name:
                return value
        return None


@dataclass(frozen=True, slots=True)
class WebhookResponse:
    """What the door answers instead of an empty 200: a challenge's answer, a provider's expected body."""

    body: bytes = b""
    status: int = 200
    media_type: str = "application/json"
    store: bool = False
    """Whether the request also carries news and is kept as a delivery. A challenge carries none."""


@dataclass(frozen=True, slots=True)
class RawDelivery:
    """One stored thing received: a webhook request, a polled page or a fetched object."""

    id: str
    origin: Origin
    body: bytes = field(repr=False)
    received_at: datetime
    headers: Sequence[tuple[bytes, bytes]] = field(default=(), repr=False)
    query: bytes = field(default=b"", repr=False)
    stream: str = ""
    note: dict[str, Any] = field(default_factory=dict)
    """What the plugin wrote on the RawPage it came as; empty for webhooks."""

    def header(self, name: str) -> str | None:
        """The first header of that name, in any case, as Latin-1 text; None when absent."""
        wanted = name.lower().encode("latin-1")
        for key, value in self.headers:
            if key.lower() == wanted:
                return value.decode("latin-1")
        return None


@dataclass(frozen=True, slots=True)
class RawPage:
    """Bytes a plugin got from the provider's API, stored as a delivery before anything is read from them.

    `note` travels with the bytes to `normalise` (what was asked for, which account). `answers` names the refs of the
    Wanted items this page settles; `gone` those the provider says do not exist.
    """

    body: bytes
    stream: str = ""
    note: dict[str, Any] = field(default_factory=dict)
    answers: Sequence[str] = ()
    gone: Sequence[str] = ()


@dataclass(frozen=True, slots=True)
class Page:
    """One step of polling. The cursor is a JSON document of the plugin's own; it is stored with the pages, never
    before."""

    pages: Sequence[RawPage]
    cursor: dict[str, Any]
    more: bool = False


@dataclass(frozen=True, slots=True)
class Hint:
    """A stream's word that something is new. It carries bytes to store, or asks for a poll of `stream`."""

    stream: str = ""
    page: RawPage | None = None
