"""Who may come through the door: challenges answered, signatures checked, secrets rotated."""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pytest

from gateway_schemas.errors import Unverified
from gateway_schemas.plugin import Setup
from gateway_schemas.testing.fixtures import load_request
from gateway_schemas.time import SystemTime
from gateway_schemas.webhook import WebhookRequest, WebhookResponse
from gateway_x.config import XApp
from gateway_x.plugin import XSource

FIXTURES = Path(__file__).parents[1] / "fixtures" / "in"
SECRET = "fixture-consumer-secret"
BODY = '{"data": {"event_type": "post.create", "text": "ünïcode 😕"}}'.encode()


def plugin(**changes: Any) -> XSource:
    app = XApp(**({"consumer_secret": SECRET, "bearer_token": "b"} | changes))
    return XSource(Setup(time=SystemTime(), app=app))


def sign(message: bytes, secret: str = SECRET) -> str:
    """As X's documentation does it, independent of the product's own helpers."""
    return "sha256=" + base64.b64encode(hmac.new(secret.encode(), message, hashlib.sha256).digest()).decode()


def request(
    signature: str | None, body: bytes = BODY, method: str = "POST", query: bytes = b"", name: bytes = b""
) -> WebhookRequest:
    headers = [(name or b"X-Twitter-Webhooks-Signature", signature.encode())] if signature is not None else []
    return WebhookRequest(method, "/hooks/a", query, headers, body, datetime.now(UTC))


@pytest.mark.parametrize("path", sorted(FIXTURES.glob("*.http")), ids=lambda path: path.stem)
def test_recorded_requests_are_genuine(path: Path) -> None:
    recorded = load_request(path)
    answer = plugin().verify(recorded)
    assert (answer is None) == (recorded.method == "POST")


def test_challenge() -> None:
    answer = plugin().verify(load_request(FIXTURES / "crc__challenge.http"))
    assert isinstance(answer, WebhookResponse)
    expected = (
        "sha256="
        + base64.b64encode(
            hmac.new(SECRET.encode(), b"YjEwNzE2MzAtNzc1MS00MzhjLWI2Nzc", hashlib.sha256).digest()
        ).decode()
    )
    assert json.loads(answer.body) == {"response_token": expected}
    assert (answer.status, answer.media_type, answer.store) == (200, "application/json", False)


@pytest.mark.parametrize(
    "token", ["", '{"data":{}}', "[1]", '"x"', "a b", "x" * 257, "{", "a\nb", '{"for_user_id":"1"}', "ü"]
)
def test_the_challenge_signs_nothing_that_could_be_an_event(token: str) -> None:
    """Challenge and events share key and scheme: an answer to such a token would be a valid signature of an event."""
    with pytest.raises(Unverified):
        plugin().verify(request(None, method="GET", query=b"crc_token=" + quote(token).encode()))


def test_a_get_without_challenge_is_refused() -> None:
    with pytest.raises(Unverified):
        plugin().verify(request(None, method="GET"))


def test_signature_over_the_exact_bytes() -> None:
    assert plugin().verify(request(sign(BODY))) is None
    assert plugin().verify(request(sign(BODY), name=b"x-twitter-webhooks-signature")) is None
    reserialised = json.dumps(json.loads(BODY)).encode()
    assert reserialised != BODY
    with pytest.raises(Unverified):
        plugin().verify(request(sign(BODY), body=reserialised))


@pytest.mark.parametrize(
    "signature",
    [
        None,
        "",
        "sha256=",
        sign(BODY, "other"),
        sign(BODY).removeprefix("sha256="),
        sign(BODY).replace("sha256", "sha1"),
        "sha256=" + hmac.new(SECRET.encode(), BODY, hashlib.sha256).hexdigest(),
        sign(BODY)[:-2],
        sign(b""),
    ],
)
def test_wrong_or_missing_signatures(signature: str | None) -> None:
    with pytest.raises(Unverified):
        plugin().verify(request(signature))


def test_rotation() -> None:
    rotating = plugin(consumer_secret="new", previous_consumer_secrets=[SECRET])
    assert rotating.verify(request(sign(BODY))) is None
    assert rotating.verify(request(sign(BODY, "new"))) is None
    with pytest.raises(Unverified):
        plugin(consumer_secret="new").verify(request(sign(BODY)))
    answer = rotating.verify(request(None, method="GET", query=b"crc_token=abc"))
    assert answer is not None
    assert json.loads(answer.body)["response_token"] == sign(b"abc", "new")


@pytest.mark.parametrize("method", ["PUT", "DELETE", "HEAD"])
def test_other_methods(method: str) -> None:
    with pytest.raises(Unverified):
        plugin().verify(request(sign(BODY), method=method))


def test_without_an_app_nothing_is_genuine() -> None:
    with pytest.raises(Unverified):
        XSource(Setup(time=SystemTime())).verify(request(sign(BODY)))


def test_reasons_hold_no_secret() -> None:
    with pytest.raises(Unverified) as caught:
        plugin().verify(request(sign(BODY, "other")))
    assert SECRET not in str(caught.value)
    assert sign(BODY) not in str(caught.value)
    assert SECRET not in repr(plugin().setup)
