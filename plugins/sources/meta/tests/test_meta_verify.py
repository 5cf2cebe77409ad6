"""The door: the handshake, and the signature over the very bytes that Meta sends."""

from __future__ import annotations

import json
from datetime import UTC, datetime

import pytest

from gateway_meta.config import MetaApp
from gateway_meta.plugin import MetaSource
from gateway_meta.twin_events import meta_json
from gateway_schemas.errors import Unverified
from gateway_schemas.plugin import Setup
from gateway_schemas.signatures import sign_hmac
from gateway_schemas.testing.clock import StillTime
from gateway_schemas.webhook import WebhookRequest

APP = {"app_id": "1", "app_secret": "now", "previous_app_secrets": ["before"], "verify_token": "my token"}


@pytest.fixture
def plugin() -> MetaSource:
    """The App's instance."""
    return MetaSource(Setup(time=StillTime(), app=MetaApp.model_validate(APP | {"instagram_app_secret": "gram"})))


def get(query: bytes) -> WebhookRequest:
    return WebhookRequest("GET", "/hooks/a", query, (), b"", datetime(2026, 11, 23, tzinfo=UTC))


def post(body: bytes, signature: str) -> WebhookRequest:
    headers = ((b"X-Hub-Signature-256", signature.encode()),)
    return WebhookRequest("POST", "/hooks/a", b"", headers, body, datetime(2026, 11, 23, tzinfo=UTC))


def test_the_challenge_is_repeated_as_plain_text(plugin: MetaSource) -> None:
    answer = plugin.verify(get(b"hub.mode=subscribe&hub.challenge=1158201444&hub.verify_token=my+token"))
    assert answer is not None
    assert (answer.body, answer.media_type, answer.store) == (b"1158201444", "text/plain", False)


@pytest.mark.parametrize(
    "query",
    [
        b"hub.mode=subscribe&hub.challenge=1&hub.verify_token=another",
        b"hub.mode=subscribe&hub.challenge=1",
        b"hub.mode=unsubscribe&hub.challenge=1&hub.verify_token=my+token",
        b"hub.mode=subscribe&hub.verify_token=my+token",
        b"hub.mode=subscribe&hub.challenge=%3Cscript%3E&hub.verify_token=my+token",
        b"",
    ],
)
def test_other_handshakes_are_refused(plugin: MetaSource, query: bytes) -> None:
    with pytest.raises(Unverified):
        plugin.verify(get(query))


@pytest.mark.parametrize("secret", ["now", "before", "gram"])
def test_each_secret_in_force_is_taken(plugin: MetaSource, secret: str) -> None:
    body = meta_json({"object": "page", "entry": [], "text": "Grüße / 😊"})
    assert b"\\ud83d\\ude0a" in body
    assert b"\\/" in body
    assert plugin.verify(post(body, sign_hmac(body, secret, prefix="sha256="))) is None


def test_the_same_words_serialised_anew_are_refused(plugin: MetaSource) -> None:
    """Meta escapes what is beyond ASCII; a signature over other bytes of the same meaning is none."""
    body = meta_json({"text": "Grüße"})
    again = json.dumps(json.loads(body), ensure_ascii=False).encode()
    with pytest.raises(Unverified):
        plugin.verify(post(again, sign_hmac(body, "now", prefix="sha256=")))


def test_without_an_app_nothing_is_taken() -> None:
    with pytest.raises(Unverified):
        MetaSource(Setup(time=StillTime())).verify(post(b"{}", sign_hmac(b"{}", "now", prefix="sha256=")))
