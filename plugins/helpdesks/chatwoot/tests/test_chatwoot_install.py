"""Setting up an account, and what is named that would work against the gateway."""

from __future__ import annotations

from typing import Any

import pytest

from gateway_schemas.errors import Reauthorise, Rejected
from gateway_schemas.plugin import Health


def codes(health: Health) -> set[str]:
    return {one.code for one in health.findings}


async def well(desk: Any) -> None:
    """An account in which nothing works against us."""
    await desk.installed()
    desk.twin.members[desk.twin.inbox] = [desk.twin.desk.people[desk.twin.agent("Ada")]]


async def test_an_install_makes_what_is_missing_once(desk: Any) -> None:
    desk.settings = {"inbox_id": None, "inbox_name": "Gateway", "api_user_id": None}
    dry = await desk.plugin.install(dry_run=True)
    assert dry.config == {}
    assert desk.twin.desk.webhooks == {}
    assert desk.twin.labels == []
    report = await desk.installed()
    made = [f"{step.action} {step.what}" for step in report.steps if step.action != "ask"]
    assert made == [f"{step.action} {step.what}" for step in dry.steps if step.action != "ask"]
    assert made[0] == "create inbox Gateway"
    assert "create label gw_held" in made
    assert made[-1] == "create webhook"
    inbox = desk.twin.desk.inboxes[report.config["inbox_id"]]
    assert (inbox["name"], inbox["channel_type"], inbox["lock_to_single_conversation"]) == (
        *("Gateway", "Channel::Api"),
        False,
    )
    assert report.config["api_user_id"] == desk.twin.api_user.id
    (webhook,) = desk.twin.desk.webhooks.values()
    assert (webhook["url"], report.config["webhook_secrets"]) == (desk.door, [webhook["secret"]])
    assert {one["attribute_key"] for one in desk.twin.attributes} >= {"gw_state", "gateway_key"}
    again = await desk.installed()
    assert {step.action for step in again.steps} <= {"keep", "ask"}
    assert len(desk.twin.desk.webhooks) == 1


async def test_an_install_mends_the_webhook_and_finds_it_by_its_address(desk: Any) -> None:
    await desk.installed()
    (webhook,) = desk.twin.desk.webhooks.values()
    webhook["subscriptions"] = ["message_created"]
    assert "webhook_changed" in codes(await desk.plugin.check())
    await desk.installed()
    assert "conversation_updated" in webhook["subscriptions"]
    # forgotten by us, found by its address; and a rotated secret comes first
    webhook["secret"] = "rotated"
    desk.settings = {**desk.settings, "webhook_id": None}
    report = await desk.installed()
    assert report.config["webhook_secrets"][0] == "rotated"
    assert len(report.config["webhook_secrets"]) == 2
    assert len(desk.twin.desk.webhooks) == 1


async def test_what_an_install_needs(desk: Any) -> None:
    desk.twin.api_user.role = "agent"
    with pytest.raises(Rejected, match="administrator"):
        await desk.plugin.install(dry_run=False)
    desk.twin.api_user.role = "administrator"
    desk.settings = {"inbox_id": 4242}
    with pytest.raises(Rejected) as caught:
        await desk.plugin.install(dry_run=False)
    assert caught.value.field == "inbox_id"
    desk.settings, desk.door = {}, None
    with pytest.raises(Rejected) as caught:
        await desk.plugin.install(dry_run=True)
    assert caught.value.code == "no_door"


async def test_a_well_account(desk: Any) -> None:
    await well(desk)
    health = await desk.plugin.check()
    assert (health.ok, health.findings) == (True, ())


async def test_credentials_and_account(desk: Any) -> None:
    await well(desk)
    desk.twin.expired = True
    assert codes(await desk.plugin.check()) == {"credentials"}
    desk.twin.expired = False
    desk.settings = {**desk.settings, "api_user_id": 999}
    assert codes(await desk.plugin.check()) == {"api_user"}
    desk.settings = {**desk.settings, "api_user_id": desk.twin.api_user.id, "inbox_id": 999}
    assert codes(await desk.plugin.check()) == {"inbox_gone"}
    desk.settings = {**desk.settings, "inbox_id": desk.twin.inbox, "webhook_secrets": []}
    assert codes(await desk.plugin.check()) == {"no_secret"}
    desk.twin.api_user.role = "agent"
    found = codes(await desk.plugin.check())
    assert {"api_user_agent", "rules_unseen"} <= found


async def test_a_lost_webhook_is_noticed(desk: Any) -> None:
    await well(desk)
    desk.twin.desk.webhooks.clear()
    assert codes(await desk.plugin.check()) == {"no_webhook"}


async def test_settings_that_work_against_us(desk: Any) -> None:
    await well(desk)
    inbox = desk.twin.desk.inboxes[desk.twin.inbox]
    inbox |= {
        "lock_to_single_conversation": True,
        "greeting_enabled": True,
        "csat_survey_enabled": True,
        "working_hours_enabled": True,
        "out_of_office_message": "We are closed",
    }
    desk.twin.bot = {"id": 3, "name": "Helper"}
    desk.twin.members.clear()
    desk.twin.settings["auto_resolve_after"] = 60
    desk.twin.labels.pop()
    desk.twin.add_inbox("Our page", channel_type="Channel::FacebookPage")
    health = await desk.plugin.check()
    assert not health.ok
    assert codes(health) == {
        *("single_conversation", "greeting", "survey", "out_of_office", "agent_bot", "no_agents"),
        *("auto_resolve", "labels_missing", "native_channel"),
    }
    assert all(one.mend for one in health.findings)
    inbox["channel_type"] = "Channel::WebWidget"
    assert "not_api" in codes(await desk.plugin.check())


async def test_rules_that_work_against_us(desk: Any) -> None:
    await well(desk)

    def rule(name: str, *params: str, active: bool = True, inbox: int | None = None) -> dict[str, Any]:
        conditions = [{"attribute_key": "status", "filter_operator": "equal_to", "values": ["open"]}]
        if inbox is not None:
            conditions.append({"attribute_key": "inbox_id", "filter_operator": "equal_to", "values": [inbox]})
        actions = [{"action_name": name, "action_params": list(params)}]
        return {
            "id": len(desk.twin.rules),
            "name": name,
            "active": active,
            "conditions": conditions,
            "actions": actions,
        }

    for name, params, code in (
        ("send_email_transcript", ("boss@acme.example",), "rule_mails"),
        ("resolve_conversation", (), "rule_closes"),
        ("send_message", ("Hello!",), "rule_writes"),
        ("remove_label", ("gw_held",), "rule_tags"),
        ("send_webhook_event", (desk.door,), "second_webhook"),
    ):
        desk.twin.rules[:] = [rule(name, *params)]
        assert codes(await desk.plugin.check()) == {code}
        desk.twin.rules[:] = [rule(name, *params, active=False), rule(name, *params, inbox=999)]
        assert codes(await desk.plugin.check()) == set()
    desk.twin.rules[:] = [rule("add_label", "vip"), rule("assign_team", "1")]
    assert codes(await desk.plugin.check()) == set()


async def test_the_token_is_shown_nowhere(desk: Any) -> None:
    """Not in the config's text, not in errors."""
    assert desk.twin.token not in repr(desk.config())
    assert desk.twin.token not in desk.config().model_dump_json()
    desk.twin.expired = True
    with pytest.raises(Reauthorise) as caught:
        await desk.created()
    assert desk.twin.token not in str(caught.value)
