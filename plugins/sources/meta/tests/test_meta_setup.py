"""Setting up: webhook and subscription, the check that they are still there, tokens, accounts."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest

from gateway_schemas.errors import Reauthorise, Rejected
from gateway_schemas.testing.in_process import DOOR_URL


def steps(report: Any) -> list[tuple[str, str]]:
    return [(step.action, step.what.partition(" ")[0]) for step in report.steps]


def codes(health: Any) -> set[str]:
    return {finding.code for finding in health.findings}


@pytest.mark.parametrize("who", ["acme", "acme.gram", "acme.login"])
async def test_install_is_safe_to_repeat(ground: Any, who: str) -> None:
    plugin = ground.plugin(who)
    planned = await plugin.install(dry_run=True)
    assert steps(planned) == [("create", "webhook"), ("create", "subscription")]
    assert ground.twin.state.webhooks == {}
    assert steps(await plugin.install(dry_run=False)) == steps(planned)
    assert steps(await plugin.install(dry_run=False)) == [("keep", "webhook"), ("keep", "subscription")]
    health = await plugin.check()
    assert (health.ok, health.findings) == (True, ())


async def test_another_tools_callback_is_not_taken_away(ground: Any) -> None:
    await ground.install()
    ground.twin.state.webhooks["page"].callback_url = "https://other.example/hook"
    report = await ground.plugin().install(dry_run=False)
    assert steps(report) == [("ask", "webhook")]
    assert "https://other.example/hook" in report.steps[0].detail
    assert ground.twin.state.webhooks["page"].callback_url == "https://other.example/hook"
    assert "webhook_elsewhere" in codes(await ground.plugin().check())


async def test_fields_that_others_asked_for_stay(ground: Any) -> None:
    await ground.install()
    page = ground.twin.state.accounts["100200300"]
    page.subscribed = ["feed", "message_reactions"]
    report = await ground.plugin().install(dry_run=False)
    assert steps(report)[1] == ("update", "subscription")
    assert {"feed", "message_reactions", "messages", "ratings"} <= set(page.subscribed)


async def test_a_lost_subscription_is_noticed_and_mended(ground: Any) -> None:
    await ground.install()
    ground.twin.drop_subscriptions("acme")
    health = await ground.plugin().check()
    assert (health.ok, codes(health)) == (False, {"subscription_missing"})
    assert health.findings[0].mend == "install again"
    ground.twin.state.webhooks["page"].active = False
    ground.twin.state.webhooks["page"].fields.remove("ratings")
    assert codes(await ground.plugin().check()) == {"subscription_missing", "webhook_inactive", "webhook_fields"}
    await ground.install()
    assert (await ground.plugin().check()).ok


async def test_a_door_that_does_not_know_the_token_is_refused(ground: Any) -> None:
    with pytest.raises(Rejected, match="2200"):
        await ground.plugin(app={"verify_token": "another"}).install(dry_run=False)


async def test_permissions_and_the_end_of_a_token_are_told(ground: Any) -> None:
    await ground.install()
    ground.twin.scopes("acme").discard("pages_messaging")
    token = ground.twin.state.tokens[ground.twin.state.account("acme").token]
    token.expires_at = ground.time.now() + timedelta(days=3)
    health = await ground.plugin().check()
    assert codes(health) == {"permission_missing", "token_ends"}
    assert any("pages_messaging" in finding.message for finding in health.findings)
    ground.twin.revoke("acme", subcode=460)
    health = await ground.plugin().check()
    assert not health.ok
    assert any("changed their password" in finding.message for finding in health.findings)


async def test_the_token_of_another_account_is_told(ground: Any) -> None:
    ground.twin.add_page("other", id="100200999")
    await ground.install()
    other = ground.twin.state.account("other").token
    assert not (await ground.plugin(access_token=other).check()).ok
    login = ground.twin.add_instagram("login.two")
    health = await ground.plugin("acme.login", access_token=login.token).check()
    assert "wrong_account" in codes(health)


async def test_a_managers_token_finds_the_pages(ground: Any) -> None:
    """The Page's token is asked for once, kept, and asked for anew when it is refused."""
    plugin = ground.plugin(access_token="twin-user-token")
    await plugin.install(dry_run=False)
    kept = ground.state.document["token"]
    assert kept["value"] == ground.twin.state.account("acme").token
    asked = len(ground.twin.requests)
    await ground.plugin(access_token="twin-user-token").poll("ratings", None)
    assert len(ground.twin.requests) == asked + 1
    page = ground.twin.state.account("acme")
    ground.twin.state.tokens["EAnew"] = ground.twin.state.tokens.pop(page.token)
    page.token = "EAnew"
    await ground.plugin(access_token="twin-user-token").poll("ratings", None)
    assert ground.state.document["token"]["value"] == "EAnew"
    ground.twin.revoke("acme")
    with pytest.raises(Reauthorise):
        await ground.plugin(access_token="twin-user-token").poll("ratings", None)


async def test_another_token_entered_makes_the_kept_one_void(ground: Any) -> None:
    await ground.plugin(access_token="twin-user-token").poll("ratings", None)
    ground.twin.state.tokens["another-user-token"] = ground.twin.state.tokens["twin-user-token"]
    plugin = ground.plugin(access_token="another-user-token")
    asked = len(ground.twin.requests)
    await plugin.poll("ratings", None)
    assert len(ground.twin.requests) == asked + 2


async def test_a_token_of_instagram_login_is_renewed(ground: Any) -> None:
    await ground.install("acme.login")
    first = ground.twin.state.account("acme.login").token
    # too young: the check is well all the same
    assert (await ground.plugin("acme.login", access_token=first).check()).ok
    ground.time.pass_by(days=2)
    assert (await ground.plugin("acme.login", access_token=first).check()).ok
    second = ground.twin.state.account("acme.login").token
    assert ground.state.document["token"]["value"] == second != first
    ground.time.pass_by(days=20)
    await ground.plugin("acme.login", access_token=first).check()
    assert ground.twin.state.account("acme.login").token == second
    ground.time.pass_by(days=20)
    await ground.plugin("acme.login", access_token=first).check()
    assert ground.twin.state.account("acme.login").token not in (first, second)


async def test_instagram_login_needs_the_secret_that_signs_for_it(ground: Any) -> None:
    await ground.install("acme.login")
    health = await ground.plugin("acme.login", app={"instagram_app_secret": None}).check()
    assert codes(health) == {"instagram_secret_missing"}


def test_a_page_is_linked_to_no_page(ground: Any) -> None:
    with pytest.raises(ValueError, match="page_id is for Instagram accounts"):
        ground.plugin("acme", page_id="1")


async def test_pages_and_their_instagram_accounts_are_discovered(ground: Any) -> None:
    found = await ground.plugin(access_token="twin-user-token").discover()
    assert [(ref.external_id, ref.config["platform"]) for ref in found] == [
        ("100200300", "page"),
        ("17841400000000001", "instagram"),
    ]
    assert found[1].config["page_id"] == "100200300"
    assert found[0].config["access_token"] == ground.twin.state.account("acme").token
    alone = await ground.plugin().discover()
    assert [ref.external_id for ref in alone] == ["100200300", "17841400000000001"]
    login = await ground.plugin("acme.login").discover()
    assert [(ref.external_id, ref.handle) for ref in login] == [("17841400000000002", "acme.login")]


async def test_every_call_proves_that_it_knows_the_secret(ground: Any) -> None:
    with pytest.raises(Rejected) as refused:
        await ground.plugin(app={"app_secret": "wrong"}).poll("ratings", None)
    assert refused.value.code == "graph_100"
    await ground.plugin().poll("ratings", None)


async def test_without_a_door_nothing_is_installed(ground: Any) -> None:
    plugin = ground.plugin()
    object.__setattr__(plugin.setup, "door", None)
    with pytest.raises(Rejected) as refused:
        await plugin.install(dry_run=False)
    assert refused.value.code == "no_door"
    assert DOOR_URL
