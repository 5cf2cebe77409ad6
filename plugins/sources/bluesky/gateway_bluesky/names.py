"""How things are named at the AT Protocol: identifiers, addresses of records, record keys, addresses of the web."""

from __future__ import annotations

import base64
import hashlib
import re
from datetime import UTC, datetime
from typing import NamedTuple

POSTS = "app.bsky.feed.post"
CHAT = "chat:"
"""Prefix of direct messages' external ids; a message has no address of its own."""
DID_PATTERN = r"^did:[a-z]+:[A-Za-z0-9._:%-]*[A-Za-z0-9._-]$"
HANDLE_PATTERN = r"^([a-zA-Z0-9]([a-zA-Z0-9-]{0,61}[a-zA-Z0-9])?\.)+[a-zA-Z]([a-zA-Z0-9-]{0,61}[a-zA-Z0-9])?$"
_SORTABLE = "234567abcdefghijklmnopqrstuvwxyz"
_URI = re.compile(
    r"at://(?P<did>did:[a-z]+:[A-Za-z0-9._:%-]*[A-Za-z0-9._-])/"
    r"(?P<collection>[a-zA-Z]([a-zA-Z0-9-]{0,62})?(\.[a-zA-Z0-9]([a-zA-Z0-9-]{0,62})?)+)/"
    r"(?P<rkey>[A-Za-z0-9_~.:-]{1,512})"
)
_TID = re.compile("[234567abcdefghij][234567abcdefghijklmnopqrstuvwxyz]{12}")


class Address(NamedTuple):
    """An `at://` address of a record, with the owner by identifier; addresses by handle are not used between
    machines."""

    did: str
    collection: str
    rkey: str

    def __str__(self) -> str:
        return f"at://{self.did}/{self.collection}/{self.rkey}"


def parse_uri(uri: str) -> Address | None:
    """Read a record's address; None when it is none."""
    match = _URI.fullmatch(uri) if len(uri) <= 8192 else None
    if match is None or match["rkey"] in (".", ".."):
        return None
    return Address(match["did"], match["collection"], match["rkey"])


def owner(uri: str | None) -> str | None:
    """Whose record it is."""
    address = parse_uri(uri) if uri else None
    return address.did if address else None


def is_post(uri: str) -> bool:
    """Whether it is the address of a post."""
    address = parse_uri(uri)
    return address is not None and address.collection == POSTS


def web_url(uri: str) -> str | None:
    """The page of a post; by identifier, because handles change."""
    address = parse_uri(uri)
    if address is None or address.collection != POSTS:
        return None
    return f"https://bsky.app/profile/{address.did}/post/{address.rkey}"


def message_ref(convo: str, id: str) -> str:
    """A direct message's external id."""
    return f"{CHAT}{convo}/{id}"


def message_parts(ref: str) -> tuple[str, str] | None:
    """Conversation and id of a direct message; None when the external id is not one's."""
    convo, slash, id = ref.removeprefix(CHAT).rpartition("/")
    return (convo, id) if ref.startswith(CHAT) and slash and convo and id else None


def record_key(key: str, at: datetime | None) -> str:
    """The record key of the answer that is sent under `key`: the same at every try, so that it is made once.

    Posts have TIDs for keys: 53 bits of microseconds and 10 more, in a base 32 that sorts. The seconds are those of the
    writing, all else is drawn from the key.
    """
    drawn = int.from_bytes(hashlib.sha256(key.encode()).digest()[:12], "big")
    seconds = int(at.timestamp()) if at is not None else 1_767_225_600 + (drawn >> 40) % 31_536_000
    number = ((seconds * 1_000_000 + drawn % 1_000_000) << 10) | ((drawn >> 20) & 1023)
    return tid(number)


def tid(number: int) -> str:
    """A number of 63 bits as a TID."""
    return "".join(_SORTABLE[(number >> shift) & 31] for shift in range(60, -5, -5))


def is_tid(key: str) -> bool:
    """Whether a record key is a TID."""
    return _TID.fullmatch(key) is not None


def blob_cid(sha256: str) -> str:
    """The content identifier of a file: version 1, raw bytes, SHA-256, in base 32."""
    return "b" + base64.b32encode(bytes((1, 0x55, 0x12, 0x20)) + bytes.fromhex(sha256)).decode().lower().rstrip("=")


def written(moment: datetime) -> str:
    """A time as records have it."""
    return moment.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%S.") + f"{moment.microsecond // 1000:03d}Z"


def moment(value: object) -> datetime | None:
    """A time of a record or an answer; None where it is none, or has no zone."""
    if not isinstance(value, str):
        return None
    try:
        at = datetime.fromisoformat(value)
        return at.astimezone(UTC) if at.tzinfo is not None else None
    except (ValueError, OverflowError):
        return None
