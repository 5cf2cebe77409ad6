"""Webhooks are signed anew as their provider signs, which is found out from the original and the secrets."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest

from gateway_schemas.authoring.resign import learn, resigned
from gateway_schemas.signatures import sign_hmac, sign_standard, verify_hmac, verify_standard

BODY, OTHER = b'{"text": "Rita"}', b'{"text": "Qxwz"}'
STAMP = "1764000000"
SECRETS = {"config.secret": "live-secret", "app.standard": "whsec_" + "QUJD" * 8}
NEW = {"config.secret": "fixture-secret", "app.standard": "whsec_" + "WFla" * 8}


def again(headers: dict[str, str]) -> tuple[dict[str, str], list[str]]:
    """The headers over the other body, and what was dropped."""
    raw = [(name.encode(), value.encode()) for name, value in headers.items()]
    made, dropped = resigned(raw, OTHER, learn(raw, BODY, SECRETS), NEW)
    return {name.decode(): value.decode() for name, value in made}, dropped


@pytest.mark.parametrize("encoding", ["hex", "base64"])
@pytest.mark.parametrize("digest", ["sha1", "sha256", "sha512"])
@pytest.mark.parametrize("prefix", ["", "sha256="])
@pytest.mark.parametrize("before", ["", f"{STAMP}.", STAMP, f"v0:{STAMP}:"])
def test_usual_constructions(encoding: str, digest: str, prefix: str, before: str) -> None:
    options = {"encoding": encoding, "digest": digest, "prefix": prefix}
    signature = sign_hmac(before.encode() + BODY, SECRETS["config.secret"], **options)  # type: ignore[arg-type]
    made, dropped = again({"x-time": STAMP, "x-signature": signature})
    assert dropped == []
    assert made["x-time"] == STAMP
    verify_hmac(before.encode() + OTHER, made["x-signature"], [NEW["config.secret"]], **options)  # type: ignore[arg-type]


def test_standard_webhooks() -> None:
    at = datetime.fromtimestamp(int(STAMP), UTC)
    made, dropped = again(sign_standard(SECRETS["app.standard"], "msg_1", at, BODY))
    assert dropped == []
    assert verify_standard(made.get, OTHER, [NEW["app.standard"]], at) == "msg_1"


def test_a_secret_sent_along() -> None:
    made, dropped = again({"x-provider-token": "live-secret", "authorization": "Bearer live-secret"})
    assert (made, dropped) == (
        {"x-provider-token": "fixture-secret", "authorization": "Bearer fixture-secret"},
        [],
    )


def test_what_nothing_explains_is_dropped_and_named() -> None:
    made, dropped = again({"x-signature": "t=1,v1=abc", "cookie": "session=1", "x-event": "note"})
    assert made == {"x-event": "note"}
    assert dropped == ["x-signature", "cookie"]
