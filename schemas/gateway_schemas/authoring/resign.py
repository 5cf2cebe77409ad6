"""Signs a changed webhook anew, by finding out how the provider signed the original.

The provider's own scheme is not known here; but the secrets are. A header whose value comes out of one of the usual
constructions over the original bytes with one of the secrets was made that way, and can be made again over other bytes
with another secret.
"""

from __future__ import annotations

import base64
import hmac
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

Header = tuple[bytes, bytes]
_PROVES = re.compile(rb"signature|hmac|digest|token|secret|authorization|credential|api-key|cookie", re.IGNORECASE)
_DIGESTS = ("sha256", "sha1", "sha512")


@dataclass(frozen=True)
class Scheme:
    """How one header comes out of a secret and the request."""

    header: bytes
    secret: str
    """Which of the secrets: `config.webhook_secrets.0`."""
    prefix: bytes = b""
    template: tuple[bytes, ...] = ()
    """What stands before the body in what is signed; `{name}` is another header's value. None signed: a bare secret."""
    digest: str | None = None
    encoding: str = "hex"
    decoded: bool = False
    """Whether the secret is base64, perhaps after `whsec_`."""

    def sign(self, secret: str, headers: Mapping[bytes, bytes], body: bytes) -> bytes:
        """The header's value over this body."""
        if self.digest is None:
            return self.prefix + secret.encode()
        message = b"".join(headers.get(part[1:-1], b"") if part.startswith(b"{") else part for part in self.template)
        code = hmac.digest(_key(secret, self.decoded), message + body, self.digest)
        return self.prefix + (code.hex().encode() if self.encoding == "hex" else base64.b64encode(code))


def learn(headers: Sequence[Header], body: bytes, secrets: Mapping[str, str]) -> list[Scheme]:
    """The schemes of those headers that one of the secrets explains."""
    known = {name.lower(): value for name, value in headers}
    found = []
    for name, value in known.items():
        guesses = _guesses(name, value, known, secrets)
        scheme = next((one for one in guesses if _explains(one, value, known, body, secrets)), None)
        if scheme is not None:
            found.append(scheme)
    return found


def resigned(
    headers: Sequence[Header], body: bytes, schemes: Sequence[Scheme], secrets: Mapping[str, str]
) -> tuple[list[Header], list[str]]:
    """The headers over another body with other secrets; and the names of those that prove something and had to go."""
    known = {name.lower(): value for name, value in headers}
    by_name = {scheme.header: scheme for scheme in schemes}
    kept: list[Header] = []
    dropped: list[str] = []
    for name, value in headers:
        scheme = by_name.get(name.lower())
        if scheme is not None:
            kept.append((name, scheme.sign(secrets[scheme.secret], known, body)))
        elif _PROVES.search(name):
            dropped.append(name.decode("latin-1"))
        else:
            kept.append((name, value))
    return kept, dropped


def _guesses(name: bytes, value: bytes, headers: Mapping[bytes, bytes], secrets: Mapping[str, str]) -> Iterator[Scheme]:
    templates: list[tuple[bytes, ...]] = [()]
    stamps = [one for one, given in headers.items() if one != name and re.fullmatch(rb"\d{9,14}|\d{4}-\S+", given)]
    ids = [other for other in headers if other != name and other.endswith(b"-id")]
    for stamp in stamps:
        held = b"{" + stamp + b"}"
        templates += [(held, b"."), (held,), (held, b":"), (b"v0:", held, b":")]
        templates += [(b"{" + id + b"}", b".", held, b".") for id in ids]
    for path, secret in secrets.items():
        if value.endswith(secret.encode()):
            yield Scheme(name, path, value[: len(value) - len(secret.encode())])
        for template in templates:
            for digest in _DIGESTS:
                for encoding in ("hex", "base64"):
                    for decoded in (False, True):
                        size = _size(digest, encoding)
                        if len(value) >= size:
                            prefix = value[: len(value) - size]
                            yield Scheme(name, path, prefix, template, digest, encoding, decoded)


def _explains(
    scheme: Scheme, value: bytes, headers: Mapping[bytes, bytes], body: bytes, secrets: Mapping[str, str]
) -> bool:
    try:
        made = scheme.sign(secrets[scheme.secret], headers, body)
    except ValueError:  # the secret is no base64
        return False
    return hmac.compare_digest(made.lower(), value.lower()) if scheme.encoding == "hex" else made == value


def _key(secret: str, decoded: bool) -> bytes:
    return base64.b64decode(secret.removeprefix("whsec_"), validate=True) if decoded else secret.encode()


def _size(digest: str, encoding: str) -> int:
    raw = {"sha1": 20, "sha256": 32, "sha512": 64}[digest]
    return raw * 2 if encoding == "hex" else (raw + 2) // 3 * 4
