"""What deliveries say beyond the recorded ones; and what hostile ones may not do."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import BaseModel

from gateway_freshdesk.config import FreshdeskConfig
from gateway_freshdesk.plugin import FreshdeskHelpdesk
from gateway_freshdesk.text import as_html
from gateway_freshdesk.words import iso, moment, number
from gateway_schemas.errors import Malformed, Unverified
from gateway_schemas.markup import as_text
from gateway_schemas.plugin import Setup
from gateway_schemas.ticket import AgentReply
from gateway_schemas.time import SystemTime
from gateway_schemas.webhook import RawDelivery, WebhookRequest

FIXTURES = Path(__file__).parent.parent / "fixtures"
PAGES = sorted(path for path in (FIXTURES / "in").glob("*.json") if ".golden" not in path.suffixes)
RECORDED = datetime(2026, 1, 1, 12, tzinfo=UTC)


def plugin(**more: Any) -> FreshdeskHelpdesk:
    values = {
        "domain": "acme",
        "api_key": "key",
        "webhook_secrets": ["test-secret"],
        "api_user_id": 100,
        "fields": {"leg": "cf_leg", "ticket_key": "cf_ticket_key"},
    }
    config = FreshdeskConfig.model_validate({**values, **more})
    return FreshdeskHelpdesk(Setup(time=SystemTime(), config=config))


def stored(body: bytes, origin: Any = "fetch") -> RawDelivery:
    return RawDelivery("d", origin, body, RECORDED)


@pytest.mark.parametrize(
    ("headers", "code"),
    [
        ((), "missing_signature"),
        (((b"X-Gateway-Secret", b""),), "missing_signature"),
        (((b"X-Gateway-Secret", b"test-secre"),), "wrong_signature"),
        (((b"X-Gateway-Secret", b"test-secret "),), "wrong_signature"),
        (((b"X-Other", b"test-secret"),), "missing_signature"),
    ],
)
def test_refused(headers: Any, code: str) -> None:
    request = WebhookRequest("POST", "/hooks/7", b"", headers, b'{"ticket_id": 5}', RECORDED)
    with pytest.raises(Unverified) as caught:
        plugin().verify(request)
    assert caught.value.code == code
    assert "test-secret" not in str(caught.value)


def test_the_header_is_the_accounts_choice() -> None:
    request = WebhookRequest("POST", "/", b"", ((b"x-acme", b"test-secret"),), b"{}", RECORDED)
    assert plugin(webhook_header="X-Acme").verify(request) is None


def test_an_apps_door_takes_nothing() -> None:
    bare = FreshdeskHelpdesk(Setup(time=SystemTime()))
    with pytest.raises(Unverified):
        bare.verify(WebhookRequest("POST", "/", b"", (), b"{}", RECORDED))


def test_twice_is_once() -> None:
    body = (FIXTURES / "in" / "ticket__origins.json").read_bytes()
    assert plugin().normalise(stored(body)) == plugin().normalise(stored(body))


@pytest.mark.parametrize(
    "body", [b"{}", b"[]", b"null", b'{"ticket": null, "conversations": []}', b'{"ticket": {"id": 1}}']
)
def test_pages_that_are_none(body: bytes) -> None:
    with pytest.raises(Malformed):
        plugin().normalise(stored(body))


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
    max_leaves=8,
)
TICKET = json.loads((FIXTURES / "in" / "ticket__notes_and_own.json").read_text("utf-8"))
NAMES = sorted({*TICKET["ticket"], *TICKET["conversations"][0], "stats"} - {"id"})


@given(
    st.dictionaries(st.sampled_from(NAMES), JSON, max_size=6), st.sampled_from(["ticket", "conversation"]), JSON, JSON
)
@settings(max_examples=150, deadline=None)
def test_whatever_a_page_holds_is_read_or_refused(more: dict[str, Any], where: str, agents: Any, related: Any) -> None:
    """A field that is not what it should be costs that item, never the page."""
    page = json.loads(json.dumps(TICKET))
    if where == "ticket":
        page["ticket"].update(more)
    else:
        page["conversations"][3].update(more)
    page |= {"agents": agents, "related": related}
    try:
        news = plugin().normalise(stored(json.dumps(page).encode()))
    except Malformed:
        return
    assert all(isinstance(one, BaseModel) for one in news)


@given(st.text(max_size=200))
@settings(max_examples=300, deadline=None)
def test_text_goes_through_html_unharmed(text: str) -> None:
    """Up to blanks, which HTML does not keep."""
    assert as_text(as_html(text)).split() == text.split()


@given(st.text(alphabet="<>/abdivp&;=\"' \n#x0-!", max_size=120))
@settings(max_examples=300, deadline=None)
def test_any_markup_is_read(markup: str) -> None:
    assert isinstance(as_text(markup), str)


def test_replies_by_bulk_merge_rule_and_mail_are_never_composer() -> None:
    """The promise, over all recorded pages: only a note typed by a person counts."""
    answers = [
        one
        for path in PAGES
        if path.stem.startswith("ticket")
        for one in plugin().normalise(stored(path.read_bytes()))
        if isinstance(one, AgentReply) and one.origin == "composer"
    ]
    assert {one.text for one in answers} == {
        *("A note typed in the ticket", "Hidden agent", "Both chosen", "By field", "Second wording"),
        *("Same as 6000, closing", "good"),
    }


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (5, 5),
        ("5", 5),
        (0, None),
        (-1, None),
        (True, None),
        ("²", None),
        ("9" * 30, None),
        (None, None),
        (5.0, None),
        ("a", None),
    ],
)
def test_ids(value: object, expected: int | None) -> None:
    assert number(value) == expected


def test_times() -> None:
    at = moment("2026-01-01T11:00:00+01:00")
    assert at is not None
    assert iso(at) == "2026-01-01T10:00:00Z"
    assert moment("2026-01-01T10:00:00") == at
    assert moment("yesterday") is moment(5) is moment(None) is None
