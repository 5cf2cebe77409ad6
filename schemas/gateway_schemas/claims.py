"""One-time codes by which somebody proves which matter a message belongs to: how they look, and how they are found.

A code is fourteen characters of Crockford's base 32, of which the last one checks the others; its 65 bits cannot be
guessed. It may be written in small letters, parted by hyphens, and with the letters that look like a digit.
"""

from __future__ import annotations

import re
import secrets
import zlib

from gateway_schemas.base import Model

ALPHABET = "0123456789ABCDEFGHJKMNPQRSTVWXYZ"
LENGTH = 14
PLACE = "{code}"
"""What stands for the code in `ClaimAddress.address`."""
_LOOKS_LIKE = str.maketrans("OIL", "011")
_WRITTEN = re.compile(r"(?<![0-9A-Za-z])(?:[0-9A-Za-z]-?){13}[0-9A-Za-z](?![0-9A-Za-z])")


class ClaimAddress(Model):
    """Where somebody writes to so that the message carries a code."""

    address: str
    """With `{code}` where the code belongs; without it, the code has to stand in the subject."""

    @property
    def carries_code(self) -> bool:
        """Whether the address is enough."""
        return PLACE in self.address

    def to(self, code: str) -> str:
        """The address for one code."""
        return self.address.replace(PLACE, code)


def new_claim() -> str:
    """A code that nobody can guess. It has a digit and a letter, as few words and numbers of its length have both."""
    while True:
        drawn = "".join(secrets.choice(ALPHABET) for _ in range(LENGTH - 1))
        code = drawn + _check(drawn)
        if _mixed(code):
            return code


def written(code: str) -> str:
    """The code as people read it: in two halves."""
    return f"{code[: LENGTH // 2]}-{code[LENGTH // 2 :]}"


def claim_in(text: str) -> str | None:
    """The first code that stands in a text, however it is written; None when there is none."""
    for match in _WRITTEN.finditer(text):
        code = match[0].replace("-", "").upper().translate(_LOOKS_LIKE)
        if set(code) <= set(ALPHABET) and _check(code[:-1]) == code[-1] and _mixed(code):
            return code
    return None


def _check(drawn: str) -> str:
    return ALPHABET[zlib.crc32(drawn.encode("ascii")) % len(ALPHABET)]


def _mixed(code: str) -> bool:
    return any(one.isdigit() for one in code) and any(one.isalpha() for one in code)
