"""The door: only Pub/Sub's tokens for our subscription are believed."""

from __future__ import annotations

import base64
import dataclasses
import json
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from joserfc import jwt
from joserfc.jwk import OctKey

from gateway_google_business.config import GoogleApp
from gateway_google_business.plugin import GoogleBusinessSource
from gateway_google_business.push import KEYS
from gateway_google_business.twin_push import Keys, token_claims
from gateway_schemas.errors import UnknownKey, Unverified
from gateway_schemas.plugin import Setup
from gateway_schemas.testing.fixtures import load_request
from gateway_schemas.time import SystemTime
from gateway_schemas.webhook import WebhookRequest

FIXTURES = Path(__file__).parents[1] / "fixtures"
NOW = datetime(2026, 11, 23, 12, 0, tzinfo=UTC)
EMAIL = "push@acme-example.iam.gserviceaccount.com"
AUDIENCE = "acme-gateway"


def door(document: Any, **changes: Any) -> GoogleBusinessSource:
    given = {"push_audience": AUDIENCE, "push_service_account": EMAIL, **changes}
    app = GoogleApp(client_id="c", client_secret="s", **given)  # type: ignore[arg-type]
    return GoogleBusinessSource(Setup(time=SystemTime(), app=app, keys={KEYS: document}))


def request(token: str | None, method: str = "POST", at: datetime = NOW) -> WebhookRequest:
    headers = [(b"Authorization", f"Bearer {token}".encode())] if token is not None else []
    return WebhookRequest(method, "/hooks/app", b"", headers, b"{}", at)


@pytest.fixture(scope="module")
def keys() -> Keys:
    return Keys()


def refused(plugin: GoogleBusinessSource, given: WebhookRequest) -> str:
    with pytest.raises(Unverified) as caught:
        plugin.verify(given)
    return caught.value.code


@pytest.mark.parametrize("path", sorted((FIXTURES / "in").glob("*.http")), ids=lambda path: path.stem)
def test_recorded_requests_pass_in_their_hour(path: Path) -> None:
    plugin = door(json.loads((FIXTURES / "keys.json").read_text("utf-8")))
    given = load_request(path, received_at=NOW + timedelta(minutes=30))
    plugin.verify(given)
    assert refused(plugin, dataclasses.replace(given, received_at=NOW + timedelta(minutes=62))) == "stale_timestamp"


@pytest.mark.parametrize(
    ("changes", "code"),
    [
        ({"aud": "another-gateway"}, "wrong_audience"),
        ({"aud": [AUDIENCE]}, "wrong_audience"),
        ({"aud": None}, "wrong_audience"),
        ({"email": "push@another.iam.gserviceaccount.com"}, "wrong_sender"),
        ({"email": None}, "wrong_sender"),
        ({"email_verified": False}, "wrong_sender"),
        ({"email_verified": "true"}, "wrong_sender"),
        ({"email_verified": None}, "wrong_sender"),
        ({"iss": "https://accounts.example.com"}, "wrong_issuer"),
        ({"iss": None}, "wrong_issuer"),
        ({"exp": int((NOW - timedelta(minutes=2)).timestamp())}, "stale_timestamp"),
        ({"iat": int((NOW - timedelta(hours=3)).timestamp())}, "stale_timestamp"),
        ({"iat": int((NOW + timedelta(hours=3)).timestamp())}, "stale_timestamp"),
        ({"exp": None}, "missing_timestamp"),
        ({"exp": "tomorrow"}, "missing_timestamp"),
        ({"exp": 10**30}, "missing_timestamp"),
        ({"iat": True}, "missing_timestamp"),
    ],
)
def test_tokens_that_are_not_for_us(keys: Keys, changes: dict[str, Any], code: str) -> None:
    token = keys.sign(token_claims(AUDIENCE, EMAIL, NOW, **changes))
    assert refused(door(keys.published()), request(token)) == code


def test_a_genuine_token_passes(keys: Keys) -> None:
    door(keys.published()).verify(request(keys.sign(token_claims(AUDIENCE, EMAIL, NOW))))


def test_a_token_of_a_key_we_do_not_have_asks_for_new_keys(keys: Keys) -> None:
    token = keys.sign(token_claims(AUDIENCE, EMAIL, NOW), kid="another")
    for document in (keys.published(), {"keys": []}, {}):
        with pytest.raises(UnknownKey):
            door(document).verify(request(token))


def test_a_token_signed_by_somebody_else_under_a_known_key_id(keys: Keys) -> None:
    token = keys.sign(token_claims(AUDIENCE, EMAIL, NOW), kid="twin-key-1", key=7)
    assert refused(door(keys.published()), request(token)) == "wrong_signature"


def test_a_changed_claim_breaks_the_signature(keys: Keys) -> None:
    head, _, signature = keys.sign(token_claims("another", EMAIL, NOW)).split(".")
    claims = base64.urlsafe_b64encode(json.dumps(token_claims(AUDIENCE, EMAIL, NOW)).encode()).decode().rstrip("=")
    assert refused(door(keys.published()), request(f"{head}.{claims}.{signature}")) == "wrong_signature"


def test_a_public_key_is_no_shared_secret(keys: Keys) -> None:
    """The oldest forgery: HMAC with the published key, or no signature at all."""
    modulus = keys.published()["keys"][0]["n"]
    claims = token_claims(AUDIENCE, EMAIL, NOW)
    forged = jwt.encode({"alg": "HS256", "kid": "twin-key-1"}, claims, OctKey.import_key(modulus.encode()))
    assert refused(door(keys.published()), request(forged)) == "wrong_signature"
    head = base64.urlsafe_b64encode(b'{"alg":"none","kid":"twin-key-1"}').decode().rstrip("=")
    body = base64.urlsafe_b64encode(json.dumps(claims).encode()).decode().rstrip("=")
    assert refused(door(keys.published()), request(f"{head}.{body}.")) == "wrong_signature"


@pytest.mark.parametrize("token", ["", "x", "a.b.c", "..", "e30.e30.e30", "é", "x" * 9000, "W10.W10.W10"])
def test_what_is_no_token(keys: Keys, token: str) -> None:
    given = dataclasses.replace(request(None), headers=[(b"authorization", b"Bearer " + token.encode("latin-1"))])
    with pytest.raises(Unverified):
        door(keys.published()).verify(given)


def test_requests_without_a_token_or_of_another_kind(keys: Keys) -> None:
    assert refused(door(keys.published()), request(None)) == "missing_signature"
    token = keys.sign(token_claims(AUDIENCE, EMAIL, NOW))
    assert refused(door(keys.published()), request(token, method="GET")) == "wrong_method"
    basic = dataclasses.replace(request(None), headers=[(b"authorization", b"Basic " + token.encode())])
    assert refused(door(keys.published()), basic) == "missing_signature"


@pytest.mark.parametrize("missing", ["push_audience", "push_service_account"])
def test_without_its_settings_push_is_refused(keys: Keys, missing: str) -> None:
    token = keys.sign(token_claims(AUDIENCE, EMAIL, NOW))
    assert refused(door(keys.published(), **{missing: None}), request(token)) == "no_push"


def test_keys_are_googles_own_unless_the_app_is_a_twins() -> None:
    assert GoogleBusinessSource.key_sets_of(None, None) == GoogleBusinessSource.key_sets
    app = GoogleApp(client_id="c", client_secret="s", base_url="http://127.0.0.1:1")  # type: ignore[arg-type]
    assert GoogleBusinessSource.key_sets_of(None, app)[KEYS].startswith("http://127.0.0.1:1/")
