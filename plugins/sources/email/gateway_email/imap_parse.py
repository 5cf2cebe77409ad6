"""IMAP's answers, taken apart (RFC 9051, section 9): atoms, strings, literals and lists."""

from __future__ import annotations

import base64
import binascii
import re
from collections.abc import Sequence

from gateway_schemas.errors import Malformed

Value = bytes | None | list["Value"]
DEEPEST = 50
_ATOM = re.compile(rb'(?:\[[^\]]{0,1000}\]|[^\s()"{\[])+(?:<\d+>)?')


def parse(parts: Sequence[bytes]) -> list[Value]:
    """The values of one response. `parts` are line, literal, line, literal, …: a line announces the literal after it.

    Raises Malformed.
    """
    stack: list[list[Value]] = [[]]
    for index, part in enumerate(parts):
        if index % 2:
            stack[-1].append(part)
        else:
            _line(re.sub(rb"\{\d+\+?\}$", b"", part), stack)
    if len(stack) != 1:
        raise Malformed("an IMAP response has an open parenthesis", code="malformed_imap")
    return stack[0]


def _line(line: bytes, stack: list[list[Value]]) -> None:
    at = 0
    while at < len(line):
        one = line[at : at + 1]
        if one == b" ":
            at += 1
        elif one == b"(":
            if len(stack) > DEEPEST:
                raise Malformed("an IMAP response is nested too deeply", code="malformed_imap")
            nested: list[Value] = []
            stack[-1].append(nested)
            stack.append(nested)
            at += 1
        elif one == b")":
            if len(stack) == 1:
                raise Malformed("an IMAP response closes what it did not open", code="malformed_imap")
            stack.pop()
            at += 1
        elif one == b'"':
            at = _quoted(line, at + 1, stack[-1])
        else:
            found = _ATOM.match(line, at)
            if found is None:
                raise Malformed("an IMAP response cannot be read", code="malformed_imap")
            atom = found.group()
            stack[-1].append(None if atom.upper() == b"NIL" else atom)
            at = found.end()


def _quoted(line: bytes, at: int, into: list[Value]) -> int:
    text = bytearray()
    while at < len(line):
        one = line[at]
        if one == 0x22:
            into.append(bytes(text))
            return at + 1
        if one == 0x5C:
            at += 1
            if at >= len(line):
                break
            one = line[at]
        text.append(one)
        at += 1
    raise Malformed("an IMAP response has an open quotation", code="malformed_imap")


def pairs(values: Value) -> dict[bytes, Value]:
    """A list of names and values, as FETCH has it, by the names in upper case."""
    if not isinstance(values, list):
        return {}
    return {
        name.upper(): value for name, value in zip(values[::2], values[1::2], strict=False) if isinstance(name, bytes)
    }


def quoted(text: str) -> bytes | None:
    """Text as a quoted string; None where it must be sent as a literal."""
    raw = text.encode("utf-8")
    if any(one < 32 or one > 126 for one in raw):
        return None
    return b'"' + raw.replace(b"\\", b"\\\\").replace(b'"', b'\\"') + b'"'


def mailbox_name(text: str) -> str:
    """A mailbox's name in IMAP's modified UTF-7 (RFC 3501, 5.1.3)."""
    found: list[str] = []
    foreign = ""
    for one in [*text, ""]:
        if one and not 0x20 <= ord(one) <= 0x7E:
            foreign += one
            continue
        if foreign:
            packed = foreign.encode("utf-16-be", "surrogatepass")
            found.append("&" + _base64(packed) + "-")
            foreign = ""
        found.append("&-" if one == "&" else one)
    return "".join(found)


def mailbox_text(name: bytes) -> str:
    """The name of a mailbox that a server told in modified UTF-7; what is none stays as it is."""

    def turned(found: re.Match[str]) -> str:
        inner = found[1]
        if not inner:
            return "&"
        try:
            padded = inner.replace(",", "/") + "=" * (-len(inner) % 4)
            return base64.b64decode(padded, validate=True).decode("utf-16-be")
        except (binascii.Error, UnicodeDecodeError):
            return found[0]

    return re.sub(r"&([A-Za-z0-9+,]*)-", turned, name.decode("utf-8", "replace"))


def _base64(packed: bytes) -> str:
    return base64.b64encode(packed).decode("ascii").rstrip("=").replace("/", ",")
