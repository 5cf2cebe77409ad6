"""Connecting: whose session it is, where its server is, whether messages can be had, and whether that still stands."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from pydantic import ValidationError

from gateway_bluesky.config import BlueskyConfig
from gateway_bluesky.installing import pds_of
from gateway_bluesky.plugin import BlueskySource
from gateway_bluesky.twin import BlueskyTwin
from gateway_schemas.errors import Reauthorise, Unverified
from gateway_schemas.webhook import WebhookRequest

ACME, RITA = "acme.example.com", "rita.example.com"
Make = Callable[..., BlueskySource]


async def test_discover_gives_what_a_connection_needs(twin: BlueskyTwin, make: Make) -> None:
    (found,) = await make().discover()
    assert (found.external_id, found.handle) == ("did:plc:acmeacmeacmeacmeacmeacme", "@acme.example.com")
    config = BlueskyConfig(**twin.connection_config(ACME) | found.config)
    assert config.home == twin.url
    assert BlueskySource.account_of(config) == found.external_id


async def test_install_finds_server_and_handle_and_is_safe_to_repeat(twin: BlueskyTwin, make: Make) -> None:
    twin.rename(ACME, "help.acme.example.com")
    plugin = make("help.acme.example.com", config={"handle": ACME})
    assert (await plugin.install(dry_run=True)).config == {}
    done = await plugin.install(dry_run=False)
    assert done.config == {"handle": "help.acme.example.com", "pds_url": twin.url}
    again = await make("help.acme.example.com", config=done.config).install(dry_run=False)
    assert again.config == {}
    assert {step.action for step in again.steps} == {"keep"}


def inactive(twin: BlueskyTwin) -> None:
    twin.state.account(ACME).active = False


def no_messages(twin: BlueskyTwin) -> None:
    twin.state.account(ACME).messages_allowed = False


@pytest.mark.parametrize(
    ("trouble", "code", "ok"),
    [
        (lambda twin: twin.revoke(ACME), "password_refused", False),
        (inactive, "account_takedown", False),
        (lambda twin: twin.rename(ACME, "new.example.com"), "handle_changed", True),
        (no_messages, "messages_not_allowed", False),
        (lambda twin: twin.allow_messages(ACME, "following"), "messages_closed", True),
    ],
)
async def test_check_names_the_trouble_and_its_mend(
    twin: BlueskyTwin, make: Make, trouble: Callable[[BlueskyTwin], None], code: str, ok: bool
) -> None:
    plugin = make(config={"pds_url": twin.url})
    assert (await plugin.check()).findings == ()
    trouble(twin)
    fresh = BlueskySource(plugin.setup)
    health = await fresh.check()
    assert [finding.code for finding in health.findings] == [code]
    assert health.ok is ok
    assert health.findings[0].mend
    assert str(plugin.config.app_password.get_secret_value()) not in str(health)


async def test_discover_with_a_wrong_password(twin: BlueskyTwin, make: Make) -> None:
    with pytest.raises(Reauthorise):
        await make(config={"app_password": "nope"}).discover()


@pytest.mark.parametrize(
    ("session", "found"),
    [
        ({}, None),
        ({"didDoc": {"service": "x"}}, None),
        ({"didDoc": {"service": [{"id": "#atproto_labeler", "serviceEndpoint": "https://l.example"}]}}, None),
        ({"didDoc": {"service": [{"id": "#atproto_pds", "serviceEndpoint": "ftp://x"}]}}, None),
        (
            {"didDoc": {"service": [{"id": "did:plc:a#atproto_pds", "serviceEndpoint": "https://p.example/"}]}},
            "https://p.example",
        ),
    ],
)
def test_the_server_in_an_identity_document(session: dict[str, Any], found: str | None) -> None:
    assert pds_of(session) == found


def config(**changes: Any) -> BlueskyConfig:
    given = {"did": "did:plc:acmeacmeacmeacmeacmeacme", "handle": "Acme.Example.com", "app_password": "secret"}
    return BlueskyConfig(**given | changes)


def test_config() -> None:
    made = config()
    assert (made.handle, made.home) == ("acme.example.com", "https://bsky.social")
    assert "secret" not in repr(made)
    hosts = BlueskySource.hosts_of(config(pds_url="https://morel.us-east.host.bsky.network"))
    assert hosts == ("https://bsky.social", "https://morel.us-east.host.bsky.network")
    assert all(field.description for field in BlueskyConfig.model_fields.values())


@pytest.mark.parametrize(
    "changes",
    [
        {"did": "acme.example.com"},
        {"did": "did:PLC:x"},
        {"handle": "acme"},
        {"base_url": "bsky.social"},
        {"chat_service": "https://api.bsky.chat"},
        {"no_such_field": 1},
    ],
)
def test_config_that_is_wrong(changes: dict[str, Any]) -> None:
    with pytest.raises(ValidationError):
        config(**changes)


async def test_there_is_no_door(make: Make, clock: Any) -> None:
    with pytest.raises(Unverified):
        make().verify(WebhookRequest("POST", "/", b"", (), b"{}", clock.now()))
