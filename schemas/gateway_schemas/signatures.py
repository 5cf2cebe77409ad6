"""Prove that a webhook comes from who it says, and sign our own: for `verify`, twins and outgoing webhooks.

Everything is done on the bytes received and in constant time. Several secrets may be given while one is being rotated;
any of them will do. Whatever a header holds, the only exception is `Unverified`, whose reason names the header and
never the secret or the signature expected. Without a usable secret nothing is verified.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import re
from collections.abc import Callable, Sequence
from datetime import UTC, datetime, timedelta
from typing import Literal

from gateway_schemas.errors import Unverified

Digest = Literal["sha1", "sha256", "sha512"]
Encoding = Literal["hex", "base64"]

STANDARD_TOLERANCE = timedelta(minutes=5)
_STANDARD_PREFIXES = ("webhook-", "svix-")
_SECRET_PREFIX = "whsec_"
_HEX = re.compile("(?:[0-9a-fA-F]{2})+")
_STANDARD_ID = re.compile(r"[!-\-/-~]{1,256}")
_TIMESTAMP = {"seconds": re.compile("[0-9]{1,11}"), "milliseconds": re.compile("[0-9]{1,14}")}


def sign_hmac(
    message: bytes, secret: str | bytes, *, digest: Digest = "sha256", encoding: Encoding = "hex", prefix: str = ""
) -> str:
    """Sign `message` as a provider would, for twins and handshakes: `prefix` and the HMAC in lower hex or base64.

    A secret given as text is used as its UTF-8 bytes and not decoded. Raises ValueError when it is empty.
    """
    code = _hmac(message, _key(secret), digest)
    return prefix + (code.hex() if encoding == "hex" else base64.b64encode(code).decode("ascii"))


def verify_hmac(
    message: bytes,
    given: str | None,
    secrets: Sequence[str | bytes],
    *,
    digest: Digest = "sha256",
    encoding: Encoding = "hex",
    prefix: str = "",
    header: str = "signature",
) -> None:
    """Check that `given`, the value of `header`, is the HMAC of `message` under one of `secrets`; in every `verify`.

    `message` is what the provider signs: mostly the raw body, or the timestamp and the body as the provider joins them.
    Hexadecimal is accepted in either case. Raises Unverified with the code `missing_signature`, `malformed_signature`,
    `wrong_signature` or `no_secret`.
    """
    keys = _keys(secrets)
    code = _decoded(_without_prefix(given, prefix, header), encoding)
    if code is None:
        raise Unverified(f"the header {header} is not {encoding}", code="malformed_signature")
    if not _any_equal([code], [_hmac(message, key, digest) for key in keys]):
        raise Unverified(f"the header {header} does not match the request", code="wrong_signature")


def verify_token(given: str | None, secrets: Sequence[str | bytes], *, prefix: str = "", header: str = "token") -> None:
    """Check a secret that the provider sends as it is, after `prefix`, in constant time (Telegram, Matrix).

    Raises Unverified with the code `missing_signature`, `malformed_signature`, `wrong_signature` or `no_secret`.
    """
    keys = _keys(secrets)
    token = _without_prefix(given, prefix, header)
    # Comparing takes the same time only for the same length, which digests have.
    sent = hashlib.sha256(token.encode("utf-8", "surrogatepass")).digest()
    if not _any_equal([sent], [hashlib.sha256(key).digest() for key in keys]):
        raise Unverified(f"the header {header} is not the secret that was agreed on", code="wrong_signature")


def read_timestamp(
    given: str | None,
    *,
    form: Literal["seconds", "milliseconds", "iso"] = "seconds",
    header: str = "timestamp",
) -> datetime:
    """Read the time a provider signed, from `header`: since the epoch, or ISO 8601 with a zone. The result is in UTC.

    Raises Unverified with the code `missing_timestamp` or `malformed_timestamp`.
    """
    if not given:
        raise Unverified(f"the header {header} is missing", code="missing_timestamp")
    try:
        if form == "iso":
            at = datetime.fromisoformat(given)
            if at.tzinfo is not None:
                return at.astimezone(UTC)
        elif _TIMESTAMP[form].fullmatch(given):
            return datetime.fromtimestamp(0, UTC) + timedelta(**{form: int(given)})
    except (ValueError, OverflowError):
        pass
    raise Unverified(f"the header {header} is no time in {form}", code="malformed_timestamp")


def check_window(timestamp: datetime, now: datetime, tolerance: timedelta, *, header: str = "timestamp") -> None:
    """Refuse a signed time further than `tolerance` from `now`, in the past or the future: it may be a replay.

    Raises Unverified with the code `stale_timestamp`.
    """
    if abs(now - timestamp) > tolerance:
        side = "past" if timestamp < now else "future"
        raise Unverified(
            f"the header {header} lies more than {tolerance.total_seconds():g} s in the {side}", code="stale_timestamp"
        )


def sign_standard(
    secrets: str | bytes | Sequence[str | bytes], message_id: str, timestamp: datetime, body: bytes
) -> dict[str, str]:
    """Sign an outgoing webhook after Standard Webhooks 1.0.0 and return its three headers.

    With several secrets there is one signature for each, so that the receiver can rotate at leisure. `message_id` stays
    the same over retries, `timestamp` is that of the attempt. Raises ValueError for an empty or undecodable secret and
    for an id that is empty, longer than 256 characters, not ASCII or has a full stop in it.
    """
    keys = [_standard_key(s) for s in ([secrets] if isinstance(secrets, str | bytes) else secrets)]
    if not keys:
        raise ValueError("a webhook cannot be signed without a secret")
    if not _STANDARD_ID.fullmatch(message_id):
        raise ValueError("a webhook's id must be printable ASCII without a full stop")
    seconds = str(int(timestamp.timestamp()))
    signed = _standard_message(message_id, seconds, body)
    codes = (base64.b64encode(_hmac(signed, key, "sha256")).decode("ascii") for key in keys)
    return {
        "webhook-id": message_id,
        "webhook-timestamp": seconds,
        "webhook-signature": " ".join(f"v1,{code}" for code in codes),
    }


def verify_standard(
    header: Callable[[str], str | None],
    body: bytes,
    secrets: Sequence[str | bytes],
    now: datetime,
    tolerance: timedelta = STANDARD_TOLERANCE,
) -> str:
    """Check a webhook signed after Standard Webhooks 1.0.0 and return its id, which is the same when it comes again.

    `header` gets a header by name (`WebhookRequest.header`); the older names `svix-*` are read too, but never mixed
    with the others. A secret is base64 with or without `whsec_`; bytes are used as they are. Of the listed signatures
    one must match. Only `v1` (HMAC-SHA256) is looked at, other versions are passed over: `v1a` (ed25519) needs a
    library this package does not depend on, so a sender that signs with nothing else is refused.
    Raises Unverified with the codes of `verify_hmac`, `read_timestamp` and `check_window`, and `malformed_id`.
    """
    _keys(secrets)
    try:
        keys = [_standard_key(secret) for secret in secrets]
    except ValueError as error:
        raise Unverified(str(error), code="no_secret") from None
    names = [[prefix + name for name in ("id", "timestamp", "signature")] for prefix in _STANDARD_PREFIXES]
    present = [[header(name) for name in group] for group in names]
    # The first group that is complete; else the first of which something was sent, to say what it lacks.
    chosen = next((i for i, group in enumerate(present) if all(group)), None)
    if chosen is None:
        chosen = next((i for i, group in enumerate(present) if any(group)), 0)
    (id_name, timestamp_name, signature_name), (message_id, timestamp, signatures) = names[chosen], present[chosen]
    if not message_id or not signatures:
        missing = signature_name if message_id else id_name
        raise Unverified(f"the header {missing} is missing", code="missing_signature")
    check_window(read_timestamp(timestamp, header=timestamp_name), now, tolerance, header=timestamp_name)
    # With a full stop in it, parts of the id could pass for the timestamp and parts of that for the body.
    if not _STANDARD_ID.fullmatch(message_id):
        raise Unverified(f"the header {id_name} is not printable ASCII without a full stop", code="malformed_id")
    listed = [one.partition(",")[::2] for one in signatures.split(" ")]
    codes = [code for version, value in listed if version == "v1" and (code := _decoded(value, "base64")) is not None]
    if not codes:
        raise Unverified(f"the header {signature_name} has no readable v1 signature", code="malformed_signature")
    signed = _standard_message(message_id, timestamp or "", body)
    if not _any_equal(codes, [_hmac(signed, key, "sha256") for key in keys]):
        raise Unverified(f"no signature in the header {signature_name} matches the request", code="wrong_signature")
    return message_id


def _standard_message(message_id: str, timestamp: str, body: bytes) -> bytes:
    return f"{message_id}.{timestamp}.".encode("ascii") + body


def _standard_key(secret: str | bytes) -> bytes:
    if isinstance(secret, bytes):
        return _key(secret)
    key = _decoded(secret.removeprefix(_SECRET_PREFIX), "base64")
    if not key:
        raise ValueError("a signing secret is empty or not base64 (whsec_…)")
    return key


def _hmac(message: bytes, key: bytes, digest: Digest) -> bytes:
    return hmac.digest(key, message, digest)


def _any_equal(given: Sequence[bytes], expected: Sequence[bytes]) -> bool:
    equal = False
    for one in given:
        for other in expected:
            equal |= hmac.compare_digest(one, other)
    return equal


def _without_prefix(given: str | None, prefix: str, header: str) -> str:
    if not given:
        raise Unverified(f"the header {header} is missing", code="missing_signature")
    if not given.startswith(prefix):
        raise Unverified(f"the header {header} does not start with {prefix}", code="malformed_signature")
    return given.removeprefix(prefix)


def _decoded(text: str, encoding: Encoding) -> bytes | None:
    try:
        if encoding == "hex":
            return bytes.fromhex(text) if _HEX.fullmatch(text) else None
        return base64.b64decode(text, validate=True) or None
    except ValueError:
        return None


def _key(secret: str | bytes) -> bytes:
    key = secret.encode("utf-8", "surrogatepass") if isinstance(secret, str) else secret
    if not key:
        raise ValueError("a signing secret is empty")
    return key


def _keys(secrets: Sequence[str | bytes]) -> list[bytes]:
    # Text is a sequence of texts: each of its letters would be taken for a secret.
    if isinstance(secrets, str | bytes):
        raise TypeError("secrets must be a list of secrets")
    if not secrets:
        raise Unverified("no signing secret is configured", code="no_secret")
    try:
        return [_key(secret) for secret in secrets]
    except ValueError as error:
        raise Unverified(str(error), code="no_secret") from None
