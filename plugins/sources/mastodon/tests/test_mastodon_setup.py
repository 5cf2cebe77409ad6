"""Connecting: what the server says of itself and of the account, and whether that still stands."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from pydantic import ValidationError

from gateway_mastodon.config import MastodonConfig
from gateway_mastodon.plugin import MastodonSource
from gateway_mastodon.twin import SCOPES, MastodonTwin
from gateway_schemas.errors import Reauthorise, Retry
from gateway_schemas.length import Counting
from gateway_schemas.testing.twin import Fault

Make = Callable[..., MastodonSource]


async def test_discover_gives_what_a_connection_needs(twin: MastodonTwin, make: Make) -> None:
    twin.max_characters = 5000
    (found,) = await make(config={"domain": None}).discover()
    assert (found.external_id, found.handle, found.name) == (
        "support@masto.acme.example",
        "@support@masto.acme.example",
        "Acme Support",
    )
    config = MastodonConfig(**twin.connection_config("support") | found.config)
    assert (config.account, config.max_characters) == ("support@masto.acme.example", 5000)
    assert MastodonSource.account_of(config) == found.external_id


async def test_install_reads_the_limits_and_is_safe_to_repeat(twin: MastodonTwin, make: Make) -> None:
    twin.max_characters, twin.url_length, twin.max_media = 1000, 30, 16
    dry = await make().install(dry_run=True)
    assert dry.config == {}
    done = await make().install(dry_run=False)
    assert done.config["max_characters"] == 1000
    assert [step.what for step in done.steps if step.action == "update"] == [
        step.what for step in dry.steps if step.action == "update"
    ]
    plugin = make(config=done.config)
    limit = plugin.capabilities.text["direct_message"]
    assert (limit.limit, limit.counting, limit.reserved_url) == (1000, Counting.graphemes, 30)
    again = await plugin.install(dry_run=False)
    assert again.config == {}
    assert {step.action for step in again.steps} == {"keep"}
    assert (await plugin.check()).findings == ()


async def test_check_says_what_changed(twin: MastodonTwin, make: Make) -> None:
    plugin = make(config=(await make().install(dry_run=False)).config)
    assert (await plugin.check()).ok
    twin.max_characters = 400
    twin.streaming = False
    health = await plugin.check()
    assert health.ok
    assert [finding.code for finding in health.findings] == ["limits_changed", "no_stream"]
    assert "max_characters" in health.findings[0].message


@pytest.mark.parametrize(
    ("trouble", "code"),
    [
        (lambda twin: twin.revoke("support"), "token_refused"),
        (
            lambda twin: setattr(twin.state.account("support"), "scopes", SCOPES - {"read:notifications"}),
            "scope_missing",
        ),
        (lambda twin: setattr(twin.state.account("support"), "moved_to", "acme@new.example"), "moved"),
        (lambda twin: setattr(twin, "domain", "other.example"), "wrong_domain"),
    ],
)
async def test_check_names_the_trouble_and_its_mend(
    twin: MastodonTwin, make: Make, trouble: Callable[[MastodonTwin], Any], code: str
) -> None:
    plugin = make(config=(await make().install(dry_run=False)).config)
    trouble(twin)
    health = await plugin.check()
    (finding,) = (one for one in health.findings if one.code == code)
    assert finding.mend
    assert health.ok is (finding.severity == "warning")
    assert "twin-token" not in str(health)


async def test_another_accounts_token(twin: MastodonTwin, make: Make) -> None:
    other = twin.add_brand("sales")
    health = await make(config={"access_token": other.token}).check()
    assert [finding.code for finding in health.findings] == ["wrong_account"]


async def test_a_server_that_is_down_is_not_a_wrong_token(twin: MastodonTwin, make: Make) -> None:
    twin.faults.append(Fault("status_before", status=503, times=None))
    with pytest.raises(Retry):
        await make().check()
    twin.faults.clear()
    twin.revoke("support")
    with pytest.raises(Reauthorise):
        await make().discover()


def config(**changes: Any) -> MastodonConfig:
    given = {"base_url": "https://Mast.example/", "access_token": "secret", "account_id": "1", "username": "@Support"}
    return MastodonConfig(**given | changes)


def test_config() -> None:
    made = config()
    assert (made.home, made.account, made.streams_at) == (
        "mast.example",
        "support@mast.example",
        "https://Mast.example",
    )
    assert config(domain="Acme.Example").account == "support@acme.example"
    assert "secret" not in repr(made)
    hosts = MastodonSource.hosts_of(config(streaming_url="https://streaming.mast.example"))
    assert hosts == ("https://Mast.example", "https://streaming.mast.example")
    assert all(field.description for field in MastodonConfig.model_fields.values())


@pytest.mark.parametrize(
    "changes",
    [
        {"base_url": "mast.example"},
        {"base_url": "https://mast.example/api"},
        {"account_id": "1/../2"},
        {"username": "two words"},
        {"max_characters": 0},
        {"no_such_field": 1},
    ],
)
def test_config_that_is_wrong(changes: dict[str, Any]) -> None:
    with pytest.raises(ValidationError):
        config(**changes)
