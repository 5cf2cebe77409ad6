"""Setting a system up, and saying what of it works against the gateway."""

from __future__ import annotations

from typing import Any

import pytest

from gateway_schemas.errors import Rejected

HOUSE = {"ticket.tags": {"operator": "contains all not", "value": "gateway"}}
MAIL = {"notification.email": {"recipient": "ticket_customer", "subject": "s", "body": "b"}}


def actions(report: Any) -> list[tuple[str, str]]:
    return [(step.action, step.what) for step in report.steps if step.action != "ask"]


async def codes(desk: Any) -> set[str]:
    health = await desk.plugin.check()
    assert health.ok == (not any(one.severity == "error" for one in health.findings))
    assert all(one.mend for one in health.findings)
    return {one.code for one in health.findings}


async def test_a_dry_run_changes_nothing(desk: Any) -> None:
    desk.settings = {"create_fields": True}
    before = len(desk.twin.ledger)
    report = await desk.plugin.install(dry_run=True)
    assert [action for action, _ in actions(report)] == ["create"] * 7
    assert (report.config, len(desk.twin.ledger), desk.twin.rules.webhooks) == ({}, before, {})


async def test_install_and_again(desk: Any) -> None:
    desk.settings = {"create_fields": True}
    await desk.installed()
    (webhook,) = desk.twin.rules.webhooks.values()
    assert webhook["endpoint"] == desk.door
    assert webhook["signature_token"] == desk.config().webhook_secrets[0].get_secret_value()
    assert desk.config().api_user_id == desk.twin.api_user.id
    assert desk.config().fields["ticket_key"] == "gw_ticket_key"
    ticket = await desk.created()
    assert desk.twin.tickets[ticket].attributes["gw_ticket_key"] == "gateway:k1"
    again = await desk.installed()
    assert {action for action, _ in actions(again)} == {"keep"}
    assert len(desk.twin.rules.webhooks) == 1
    assert await codes(desk) == {"rule_mails"}


async def test_install_mends_what_was_changed_or_lost(desk: Any) -> None:
    await desk.installed()
    (webhook,), config = desk.twin.rules.webhooks.values(), desk.config()
    webhook["endpoint"] = "https://elsewhere.example"
    webhook["signature_token"] = "other"
    trigger = desk.twin.rules.triggers[config.trigger_id]
    trigger["active"] = False
    assert {"webhook_changed", "trigger_inactive"} <= await codes(desk)
    report = await desk.installed()
    assert [action for action, _ in actions(report)] == ["update", "update"]
    assert await codes(desk) == {"rule_mails"}
    desk.twin.rules.triggers.pop(config.trigger_id)
    assert "trigger_gone" in await codes(desk)
    await desk.installed()
    assert await codes(desk) == {"rule_mails"}


async def test_a_lost_answer_makes_no_second_webhook(desk: Any) -> None:
    desk.fault("status_after", method="POST", path="/triggers$", status=503)
    with pytest.raises(Exception, match="503"):
        await desk.plugin.install(dry_run=False)
    await desk.installed()
    assert len(desk.twin.rules.webhooks) == 1
    assert [one["name"] for one in desk.twin.rules.triggers.values()].count("Helpdesk gateway (gateway)") == 1


async def test_without_rights_a_person_does_it(desk: Any) -> None:
    desk.twin.api_user.roles = ("Agent",)
    report = await desk.installed()
    assert actions(report) == []
    assert any("by hand" in step.what and desk.door in step.detail for step in report.steps)
    found = await codes(desk)
    assert {"triggers_unseen", "jobs_unseen", "no_secret"} <= found
    desk.door = None
    with pytest.raises(Rejected):
        await desk.plugin.install(dry_run=True)


async def test_before_install(desk: Any) -> None:
    desk.settings = {"api_user_id": None}
    assert {"api_user", "no_secret", "no_webhook", "no_trigger"} <= await codes(desk)
    desk.twin.expired = True
    assert await codes(desk) == {"credentials"}
    desk.twin.expired = False
    desk.settings = {"url": f"{desk.twin.url}/elsewhere"}
    assert await codes(desk) == {"no_access"}


async def test_conflicts_are_named(desk: Any) -> None:
    await desk.installed()
    twin = desk.twin
    twin.add_trigger("mail", {"ticket.action": {"operator": "is", "value": "update"}}, MAIL)
    twin.add_trigger("mails not ours", HOUSE, MAIL)
    twin.add_trigger("off", {}, MAIL, active=False)
    twin.add_trigger("inside", {}, {"notification.email": {"recipient": "ticket_owner"}})
    twin.add_trigger("tags", {}, {"ticket.tags": {"operator": "add", "value": "gw_held, vip"}})
    twin.add_trigger("thanks", {}, {"article.note": {"body": "Thanks", "internal": "false"}})
    twin.add_trigger("twice", {}, {"notification.webhook": {"webhook_id": str(desk.config().webhook_id)}})
    twin.add_scheduler("close old", {}, {"ticket.state_id": {"value": "4"}})
    twin.add_scheduler("purge", {}, {"ticket.action": {"value": "delete"}})
    twin.channels["channels_twitter"] = [{"id": 9, "area": "Twitter::Account", "active": True}]
    twin.channels["channels_telegram"] = [{"id": 8, "area": "Telegram::Bot", "active": False}]
    health = await desk.plugin.check()
    said = {one.code: one.message for one in health.findings}
    assert set(said) == {
        "rule_mails",
        "rule_tags",
        "rule_writes",
        "second_webhook",
        "rule_closes",
        "rule_deletes",
        "native_channel",
    }
    assert "scheduler “close old”" in said["rule_closes"]
    assert "Twitter" in said["native_channel"]
    assert not any("not ours" in one.message or "“off”" in one.message for one in health.findings)


async def test_the_config_against_the_system(desk: Any) -> None:
    await desk.installed()
    desk.twin.add_attribute("gw_state", data_type="integer")
    desk.twin.add_attribute("gw_sla")
    desk.twin.desk.attributes["gw_sla"]["to_create"] = True
    desk.settings |= {
        "group": "Nowhere",
        "waiting": "parked",
        "priorities": {"urgent": "4 fire"},
        "fields": {"gw_state": "gw_state", "gw_sla": "gw_sla", "rating": "stars"},
    }
    assert {
        "group_unknown",
        "state_unknown",
        "priority_unknown",
        "field_type",
        "field_pending",
        "field_missing",
    } <= await codes(desk)
    desk.settings |= {"group": "Users", "api_user_id": 99}
    desk.twin.desk.groups[1] |= {"follow_up_possible": "new_ticket", "assignment_timeout": 30}
    assert {"api_user", "follow_up", "unassigns"} <= await codes(desk)
