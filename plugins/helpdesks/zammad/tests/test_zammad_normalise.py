"""What signatures, recorded deliveries and hostile ones may and may not do."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import ValidationError

from gateway_schemas.errors import Malformed, Unverified
from gateway_schemas.markup import as_text
from gateway_schemas.plugin import Setup
from gateway_schemas.signatures import sign_hmac
from gateway_schemas.ticket import AgentReply
from gateway_schemas.time import SystemTime
from gateway_schemas.webhook import RawDelivery, WebhookRequest
from gateway_zammad.config import ZammadConfig
from gateway_zammad.plugin import ZammadHelpdesk

INPUTS = Path(__file__).parent.parent / "fixtures" / "in"
RECORDED = datetime(2026, 1, 1, 12, tzinfo=UTC)
PAGES = sorted(path for path in INPUTS.glob("*.json") if not path.name.endswith(".golden.json"))


def plugin(**more: Any) -> ZammadHelpdesk:
    values = {
        "url": "https://support.acme.example",
        "token": "token",
        "webhook_secrets": ["test-secret", "older-secret"],
        "api_user_id": 3,
        "fields": {"leg": "gw_leg", "ticket_key": "gw_ticket_key"},
        "states": {"waiting for depot": "waiting"},
    }
    config = ZammadConfig.model_validate({**values, **more})
    return ZammadHelpdesk(Setup(time=SystemTime(), config=config))


def stored(body: bytes, origin: Any = "fetch") -> RawDelivery:
    return RawDelivery("d", origin, body, RECORDED)


def test_the_signature_of_a_body_signed_elsewhere() -> None:
    """Body and value were computed with a plain HMAC before there was a plugin."""
    body = '{"id":1,"text":"héllo"}'.encode()
    assert plugin().verify(signed(b"sha1=6a055a1964e63e2bed04d8b97cc7b48bf1877c97", body)) is None
    assert plugin().verify(signed(b"sha1=6A055A1964E63E2BED04D8B97CC7B48BF1877C97", body)) is None


def signed(value: bytes | None, body: bytes = b"{}") -> WebhookRequest:
    headers = () if value is None else ((b"x-hub-signature", value),)
    return WebhookRequest("POST", "/hooks/7", b"", headers, body, RECORDED)


@pytest.mark.parametrize(
    ("value", "code"),
    [
        (None, "missing_signature"),
        (b"", "missing_signature"),
        (b"sha1=", "malformed_signature"),
        (b"sha1=zz", "malformed_signature"),
        (b"6a055a1964e63e2bed04d8b97cc7b48bf1877c97", "malformed_signature"),
        (b"sha256=6a055a1964e63e2bed04d8b97cc7b48bf1877c97", "malformed_signature"),
        (b"sha1=6a055a1964e63e2bed04d8b97cc7b48bf1877c97", "wrong_signature"),
    ],
)
def test_refused(value: bytes | None, code: str) -> None:
    with pytest.raises(Unverified) as caught:
        plugin().verify(signed(value))
    assert caught.value.code == code
    assert "test-secret" not in str(caught.value)


def test_a_secret_is_rotated() -> None:
    for secret in ("test-secret", "older-secret"):
        value = sign_hmac(b"{}", secret, digest="sha1", prefix="sha1=")
        assert plugin().verify(signed(value.encode())) is None
    with pytest.raises(Unverified):
        plugin(webhook_secrets=[]).verify(signed(b"sha1=00"))


def test_no_secret_is_shown() -> None:
    assert "older-secret" not in repr(plugin().config)
    with pytest.raises(Unverified):
        ZammadHelpdesk(Setup(time=SystemTime())).verify(signed(None))


@pytest.mark.parametrize("url", ["support.acme.example", "ftp://acme.example", "https://acme.example/?x=1", ""])
def test_an_address_that_is_none(url: str) -> None:
    with pytest.raises(ValidationError):
        plugin(url=url)


def test_an_address_may_end_in_the_api() -> None:
    assert plugin(url="https://acme.example/support/api/v1/").config.url == "https://acme.example/support"


@pytest.mark.parametrize(
    "body", [b"{}", b"[]", b"null", b"\xff", b'{"ticket": null, "articles": []}', b'{"ticket": {"id": 1}}', b"[" * 9999]
)
def test_pages_that_are_none(body: bytes) -> None:
    origins = ("fetch", "poll") if b'"id"' in body else ("fetch", "poll", "webhook")
    for origin in origins:
        with pytest.raises(Malformed):
            plugin().normalise(stored(body, origin))


def test_no_rule_mail_or_merge_is_ever_composer() -> None:
    bodies = [path.read_bytes() for path in PAGES if path.stem.startswith("ticket")]
    replies = [one for body in bodies for one in plugin().normalise(stored(body)) if isinstance(one, AgentReply)]
    composed = {one.external_id for one in replies if one.origin == "composer" and one.public}
    assert composed == {"2", "3", "216"}


def test_mails_count_where_the_config_says_so() -> None:
    body = (INPUTS / "ticket__origins.json").read_bytes()
    replies = [one for one in plugin(mails_publish=True).normalise(stored(body)) if isinstance(one, AgentReply)]
    assert {one.external_id: one.origin for one in replies}["211"] == "composer"


@given(st.text(alphabet="<>/abdivp&;=\"' \n#x0-!", max_size=80))
@settings(max_examples=50, deadline=None)
def test_any_markup_is_read(markup: str) -> None:
    assert isinstance(as_text(markup), str)
