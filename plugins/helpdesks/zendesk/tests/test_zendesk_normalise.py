"""What deliveries say beyond the recorded ones; and what hostile ones may not do."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import BaseModel, ValidationError

from gateway_schemas.errors import Malformed, Unverified
from gateway_schemas.plugin import Setup
from gateway_schemas.testing.fixtures import load_request
from gateway_schemas.ticket import AgentReply
from gateway_schemas.time import SystemTime
from gateway_schemas.webhook import RawDelivery
from gateway_zendesk.config import ZendeskConfig
from gateway_zendesk.plugin import ZendeskHelpdesk
from gateway_zendesk.words import moment, origin_of, our_status, their_status

FIXTURES = Path(__file__).parent.parent / "fixtures"
PAGES = sorted(path for path in (FIXTURES / "in").glob("*.json") if ".golden" not in path.suffixes)
RECORDED = datetime(2026, 1, 1, tzinfo=UTC)


def plugin(**more: Any) -> ZendeskHelpdesk:
    values = {
        "subdomain": "acme",
        "email": "gateway@acme.example",
        "api_token": "token",
        "signing_secrets": ["test-secret"],
        "api_user_id": 100,
        "fields": {"leg": 77},
        "key_prefix": "gw:",
    }
    config = ZendeskConfig.model_validate({**values, **more})
    return ZendeskHelpdesk(Setup(time=SystemTime(), config=config))


def fetched(body: bytes, origin: Any = "fetch") -> RawDelivery:
    return RawDelivery("d", origin, body, RECORDED)


def test_the_signature_of_the_facts() -> None:
    """Time stamp then body, the secret as its characters; computed apart from this code."""
    at = datetime(2026, 11, 22, 10, 0, tzinfo=UTC)
    request = load_request(FIXTURES / "in" / "trigger__self_test_vector.http", received_at=at)
    assert request.header("x-zendesk-webhook-signature") == "2As8dEUknebxMZ/7sF452xsoJ1bRgH6bw66x9skgHuk="
    assert plugin().verify(request) is None


def test_the_published_secret_is_not_decoded() -> None:
    """The early page's inputs in the order that is in force: body after time stamp."""
    at = datetime(2021, 7, 25, 10, 0, tzinfo=UTC)
    request = load_request(FIXTURES / "in" / "trigger__thin.http", received_at=at)
    headers = [
        (b"X-Zendesk-Webhook-Signature", b"Rry/4TtIdFyawtXXp8QdI6tlAUUQ/5kL1OTp5qo/ZIk="),
        (b"X-Zendesk-Webhook-Signature-Timestamp", b"2021-07-25T10:00:00Z"),
    ]
    signed = type(request)(
        method="POST", path="/", query=b"", headers=headers, body=b'{"say": "hello"}', received_at=at
    )
    subject = plugin(signing_secrets=["HRkRd4BeOAoUkfZr-mhauJT64rvBASlJRoIyPsd3zeA="])
    assert subject.verify(signed) is None


@pytest.mark.parametrize(
    ("change", "code"),
    [
        ({"body": b'{"ticket_id": "5159"}'}, "wrong_signature"),
        ({"headers": ()}, "missing_signature"),
        ({"received_at": datetime(2026, 1, 1, 0, 5, 1, tzinfo=UTC)}, "stale_timestamp"),
        ({"received_at": datetime(2025, 12, 31, 23, 54, 59, tzinfo=UTC)}, "stale_timestamp"),
    ],
)
def test_refused(change: dict[str, Any], code: str) -> None:
    request = load_request(FIXTURES / "in" / "trigger__thin.http", received_at=RECORDED)
    values = {name: getattr(request, name) for name in request.__slots__}
    with pytest.raises(Unverified) as caught:
        plugin().verify(type(request)(**{**values, **change}))
    assert caught.value.code == code


def test_a_moved_time_stamp_is_refused() -> None:
    """The time stamp is part of what is signed: an old request cannot be made young."""
    request = load_request(FIXTURES / "in" / "trigger__thin.http", received_at=RECORDED)
    headers = [
        (name, b"2026-01-01T00:00:01Z" if name.lower().endswith(b"timestamp") else value)
        for name, value in request.headers
    ]
    values = {name: getattr(request, name) for name in request.__slots__}
    with pytest.raises(Unverified):
        plugin().verify(type(request)(**{**values, "headers": headers}))


def test_secrets_rotate_and_no_secret_refuses() -> None:
    request = load_request(FIXTURES / "in" / "trigger__thin.http", received_at=RECORDED)
    assert plugin(signing_secrets=["newer", "test-secret"]).verify(request) is None
    for secrets in ([], [""], ["newer"]):
        with pytest.raises(Unverified):
            plugin(signing_secrets=secrets).verify(request)


@pytest.mark.parametrize(
    ("theirs", "ours"),
    [
        ("new", "new"),
        ("open", "open"),
        ("pending", "waiting"),
        ("hold", "waiting"),
        ("solved", "solved"),
        ("closed", "closed"),
        ("PENDING", "waiting"),
        ("deleted", None),
        ("", None),
        (None, None),
        (5, None),
    ],
)
def test_statuses_as_we_read_them(theirs: object, ours: str | None) -> None:
    assert our_status(theirs) == ours


@pytest.mark.parametrize(
    ("ours", "creating", "theirs"),
    [
        ("new", True, "new"),
        ("new", False, "open"),
        ("open", False, "open"),
        ("waiting", False, "pending"),
        ("solved", False, "solved"),
        ("closed", False, "closed"),
    ],
)
def test_statuses_as_we_write_them(ours: Any, creating: bool, theirs: str) -> None:
    assert their_status(ours, waiting="pending", creating=creating) == theirs
    assert their_status("waiting", waiting="hold", creating=creating) == "hold"


def test_priorities_both_ways() -> None:
    plain = plugin().config
    for word in ("low", "normal", "high", "urgent"):
        assert plain.our_priority(plain.their_priority(word)) == word
    mapped = plugin(priorities={"urgent": "high", "high": "normal"}).config
    assert [mapped.their_priority(word) for word in ("low", "normal", "high", "urgent")] == [
        "low",
        "normal",
        "normal",
        "high",
    ]
    assert [mapped.our_priority(word) for word in ("low", "normal", "high", "urgent")] == [
        "low",
        "normal",
        "urgent",
        None,
    ]
    assert mapped.our_priority(None) is None


@pytest.mark.parametrize(
    ("via", "origin"),
    [
        ({"channel": "web"}, "composer"),
        ({"channel": 0}, "composer"),
        ({"channel": "web", "source": {"rel": "batch"}}, "bulk"),
        ({"channel": "linked_problem"}, "bulk"),
        ({"channel": "iphone"}, "app"),
        ({"channel": 56}, "app"),
        ({"channel": "mail"}, "email"),
        ({"channel": 5}, "api"),
        ({"channel": 8}, "rule"),
        ({"channel": 19}, "merge"),
        ({"channel": "merge"}, "merge"),
        ({"channel": "api", "source": {"rel": "follow_up"}}, "api"),
        ({"channel": "carrier_pigeon"}, "api"),
        ({"channel": None, "source": 5}, "api"),
        ({}, "api"),
        (None, "api"),
        ("web", "api"),
        ({"channel": "web", "source": {"rel": ["merge"]}}, "composer"),
    ],
)
def test_origins(via: object, origin: str) -> None:
    assert origin_of(via) == origin


@pytest.mark.parametrize(
    "text",
    ["2025-01-08T14:25:30.123456789Z", "2025-01-08T14:25:30Z", "2025-01-08T15:25:30+01:00", "2025-01-08T14:25:30"],
)
def test_time_stamps(text: str) -> None:
    at = moment(text)
    assert at is not None
    assert at.replace(microsecond=0) == datetime(2025, 1, 8, 14, 25, 30, tzinfo=UTC)


@pytest.mark.parametrize("text", ["", "yesterday", 5, None, "2025-13-40T99:00:00Z", ["x"]])
def test_no_time_stamps(text: object) -> None:
    assert moment(text) is None


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"{",
        b"[]",
        b"null",
        b"\xff\xfe{}",
        b"{}",
        b'{"ticket_id": ""}',
        b'{"ticket_id": "{{ticket.id}}"}',
        b'{"ticket_id": {"a": 1}}',
        b'{"type": "zen:event-type:ticket.comment_added", "detail": {"id": "x"}}',
        b"[" * 100_000,
        b'{"ticket_id": ' + b"9" * 5000 + b"}",
    ],
)
def test_webhooks_that_zendesk_does_not_send(body: bytes) -> None:
    with pytest.raises(Malformed):
        plugin().normalise(fetched(body, "webhook"))


@pytest.mark.parametrize(
    "body", [b"{}", b'{"ticket": {"id": "x"}}', b'{"ticket": {"id": 1}, "audits": 5, "users": []}', b'{"ticket": 1}']
)
def test_pages_that_fetch_does_not_make(body: bytes) -> None:
    with pytest.raises(Malformed):
        plugin().normalise(fetched(body))


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
    max_leaves=8,
)


@settings(max_examples=150, deadline=None)
@given(data=st.data())
def test_no_odd_value_breaks_a_page(data: st.DataObject) -> None:
    """Any one value of a real page replaced by anything: an answer or Malformed, never another error."""
    path = data.draw(st.sampled_from(PAGES))
    document = json.loads(path.read_text("utf-8"))
    places: list[tuple[Any, Any]] = []

    def walk(value: Any) -> None:
        for key in value if isinstance(value, dict) else range(len(value)):
            places.append((value, key))
            if isinstance(value[key], dict | list):
                walk(value[key])

    walk(document)
    holder, key = places[data.draw(st.integers(0, len(places) - 1))]
    holder[key] = data.draw(JSON)
    origin = "poll" if path.stem.startswith("export") else "fetch"
    try:
        news = plugin().normalise(fetched(json.dumps(document).encode("utf-8", "surrogatepass"), origin))
    except Malformed:
        return
    assert all(isinstance(one, BaseModel) for one in news)


def test_text_that_no_database_takes() -> None:
    document = json.loads((FIXTURES / "in" / "ticket__attachment.json").read_text("utf-8"))
    document["audits"][1]["events"][0]["plain_body"] = "half \ud83d and \x00 nothing"
    (_, reply, _) = plugin().normalise(fetched(json.dumps(document).encode()))
    assert isinstance(reply, AgentReply)
    assert reply.text == "half \N{REPLACEMENT CHARACTER} and \N{REPLACEMENT CHARACTER} nothing"


@pytest.mark.parametrize(
    "values",
    [
        {"subdomain": None},
        {"base_url": "https://acme.zendesk.com"},
        {"email": None},
        {"api_token": None},
        {"subdomain": "acme.evil.example/"},
        {"subdomain": None, "base_url": "ftp://acme"},
        {"subdomain": None, "base_url": "https://acme.zendesk.com/?x=1"},
        {"share": 0},
        {"tag": "two words"},
        {"fields": {"gw_state": "x"}},
        {"unknown": 1},
    ],
)
def test_configs_that_cannot_work(values: dict[str, Any]) -> None:
    with pytest.raises(ValidationError):
        plugin(**values)


def test_config_names_and_hosts() -> None:
    config = plugin(tag="Gateway").config
    assert config.tag == "gateway"
    assert ZendeskHelpdesk.hosts_of(config) == ("https://acme.zendesk.com",)
    assert ZendeskHelpdesk.account_of(config) == "acme.zendesk.com"
    assert "token" not in repr(config.api_token)
