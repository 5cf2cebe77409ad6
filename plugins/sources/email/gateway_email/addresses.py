"""Addresses and Message-IDs as they are compared."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterable, Sequence

from gateway_schemas.claims import claim_in

LONGEST_ID = 900
MARK = "gw."
"""How the Message-IDs of our own mails begin, and the tokens in our reply addresses."""
_ADDRESS = re.compile(r"[^\s@<>()\[\],;:\\\"\x00-\x1f\x7f]{1,128}@[^\s@<>()\[\],;:\\\"\x00-\x1f\x7f]{1,253}")
_ID = re.compile(r"<([^<>\s]{1,2000})>")
_OWN = re.compile(r"gw\.[0-9a-f]{40}")


def address_of(text: str) -> str | None:
    """An address in lower case; None for what is none. Case of the local part counts for nobody."""
    found = text.strip()
    return found.lower() if _ADDRESS.fullmatch(found) else None


def people_of(value: str) -> list[tuple[str, str]]:
    """Names and addresses of a header that lists people, as it stands there. What is no address is left out.

    Encoded words must not be decoded before: a comma or bracket within one would make another list of it. The standard
    library's parser takes `a@x (b@y` for what it is not, and is repaired in newer releases only.
    """
    found = []
    for piece in _pieces(value[:60_000]):
        name, angle, rest = piece.rpartition("<")
        address = address_of(rest.partition(">")[0] if angle else piece)
        if address is not None:
            found.append((" ".join(name.replace('\\"', "'").replace('"', "").split())[:400], address))
    return found


def _pieces(value: str) -> list[str]:
    """The members of a list: parted by commas outside of quotations, comments and angle brackets; comments left out.

    Of a group (`Friends: a@x, b@y;`) the members.
    """
    found: list[str] = []
    piece: list[str] = []
    quoted, comment, angle, escaped = False, 0, False, False
    for one in value:
        if escaped:
            escaped = False
        elif one == "\\" and (quoted or comment):
            escaped = True
        elif quoted:
            quoted = one != '"'
        elif one == "(" and not angle:
            comment += 1
            continue
        elif comment:
            comment -= one == ")"
            continue
        elif one == '"':
            quoted = True
        elif one in "<>":
            angle = one == "<"
        elif one in ",;" and not angle:
            found.append("".join(piece))
            piece = []
            continue
        elif one == ":" and not angle:
            piece = []
            continue
        if not comment:
            piece.append(one)
    return [one.strip() for one in (*found, "".join(piece)) if one.strip()]


def ids_of(value: str | None) -> list[str]:
    """The Message-IDs of a header, in order: without angle brackets, their case kept."""
    return [normal_id(one) for one in _ID.findall((value or "")[:60_000])]


def normal_id(id: str) -> str:
    """A Message-ID as it is stored: what is too long as a hash of itself."""
    return id if len(id) <= LONGEST_ID else f"{hashlib.sha256(id.encode('utf-8', 'replace')).hexdigest()}@too-long"


def own_id(key: str, domain: str) -> str:
    """The Message-ID of the mail that is sent under `key`: the same at every try, and found again by it."""
    return f"{MARK}{hashlib.sha256(key.encode('utf-8', 'surrogatepass')).hexdigest()[:40]}@{domain}"


def is_own_id(id: str, domain: str) -> bool:
    """Whether a Message-ID has the form of ours."""
    local, _, host = id.rpartition("@")
    return host.lower() == domain and _OWN.fullmatch(local) is not None


def reply_address(address: str, message_id: str) -> str:
    """Where replies to our mail of that id are asked for: its token behind a plus."""
    local, _, domain = address.rpartition("@")
    return f"{local}+{message_id.rpartition('@')[0]}@{domain}"


def token_in(addresses: Iterable[str], own: Sequence[str] | frozenset[str]) -> tuple[str | None, str | None]:
    """The Message-ID of ours that one of these addresses names, and else what stands behind a plus of ours."""
    other = None
    for address in addresses:
        local, _, domain = address.rpartition("@")
        base, plus, detail = local.partition("+")
        if not plus or f"{base}@{domain}" not in own:
            continue
        if _OWN.fullmatch(detail):
            return f"{detail}@{domain}", other
        other = other or (detail[:100] if claim_in(detail) is None else None)
    return None, other


def claim_at(addresses: Iterable[str], own: Sequence[str] | frozenset[str]) -> str | None:
    """The one-time code behind a plus of ours."""
    for address in addresses:
        local, _, domain = address.rpartition("@")
        base, _, detail = local.partition("+")
        if f"{base}@{domain}" in own and (claim := claim_in(detail)) is not None:
            return claim
    return None
