"""Setting an account up, again and again; and noticing when somebody changed what was set up."""

from __future__ import annotations

from typing import Any

import pytest

from gateway_schemas.errors import Rejected, Retry
from gateway_schemas.interaction import Wanted
from gateway_schemas.plugin import Setup
from gateway_schemas.time import SystemTime
from gateway_schemas.webhook import RawDelivery
from gateway_zendesk.plugin import ZendeskHelpdesk, register_helpdesks


def actions(report: Any) -> list[str]:
    return [step.action for step in report.steps]


async def test_a_dry_run_changes_nothing(desk: Any) -> None:
    desk.settings = {"create_fields": True}
    report = await desk.plugin.install(dry_run=True)
    assert actions(report) == ["create"] * 6
    assert report.config == {}
    assert {method for method, _, _ in desk.twin.requests} == {"GET"}
    assert not desk.twin.rules.webhooks
    await desk.installed()
    desk.door = "http://127.0.0.1:1/elsewhere"
    before = desk.requests()
    again = await desk.plugin.install(dry_run=True)
    assert "update" in actions(again)
    assert {method for method, _, _ in desk.requests()[len(before) :]} == {"GET"}


async def test_install_and_again(desk: Any) -> None:
    """The second time finds everything: by id, and by name where the config was lost."""
    desk.settings = {"create_fields": True}
    report = await desk.installed()
    assert actions(report) == ["create", "update", "create", "create", "create", "create", "create"]
    (webhook,), (trigger,) = desk.twin.rules.webhooks.values(), desk.twin.rules.triggers.values()
    assert report.config == {
        "api_user_id": desk.twin.api_user.id,
        "webhook_id": webhook.id,
        "signing_secrets": [webhook.secret],
        "trigger_id": trigger["id"],
        "fields": {field["title"]: number for number, field in desk.twin.desk.fields.items()},
    }
    assert webhook.data["subscriptions"] == ["conditional_ticket_events"]
    assert actions(await desk.installed()) == ["keep"] * 7
    desk.settings = {"create_fields": True}
    found = await desk.installed()
    assert "create" not in actions(found)
    assert found.config == report.config
    assert (len(desk.twin.rules.webhooks), len(desk.twin.rules.triggers), len(desk.twin.desk.fields)) == (1, 1, 4)


async def test_install_mends(desk: Any) -> None:
    await desk.installed()
    (webhook,), (trigger,) = desk.twin.rules.webhooks.values(), desk.twin.rules.triggers.values()
    webhook.data["status"] = "inactive"
    trigger["active"] = False
    trigger["conditions"]["all"].pop()
    report = await desk.installed()
    assert actions(report) == ["update", "keep", "update"]
    assert webhook.data["status"] == "active"
    (trigger,) = desk.twin.rules.triggers.values()
    assert trigger["active"]
    assert len(trigger["conditions"]["all"]) == 4
    assert (await desk.plugin.check()).ok


async def test_a_deleted_webhook_is_made_anew_and_the_trigger_follows(desk: Any) -> None:
    await desk.installed()
    desk.twin.rules.webhooks.clear()
    await desk.installed()
    (webhook,), (trigger,) = desk.twin.rules.webhooks.values(), desk.twin.rules.triggers.values()
    assert trigger["actions"][0]["value"][0] == webhook.id
    ticket = await desk.created()
    desk.twin.agent_comment(ticket, "Ada", "Hello")
    assert len(await desk.hooks()) == 1


async def test_the_trigger_goes_into_the_accounts_category(desk: Any) -> None:
    desk.twin.rules.save_trigger(
        {
            "title": "Notify all",
            "category_id": "77",
            "conditions": {"all": [{"field": "update_type", "value": "Create"}]},
            "actions": [],
        }
    )
    report = await desk.installed()
    assert desk.twin.rules.triggers[report.config["trigger_id"]]["category_id"] == "77"


async def test_a_webhook_of_events_is_not_turned(desk: Any) -> None:
    """A webhook is subscribed to events or connected to triggers, and never changes from one to the other."""
    webhook = desk.twin.rules.create_webhook(
        {
            "name": "Helpdesk gateway (gateway)",
            "status": "active",
            "endpoint": desk.door,
            "http_method": "POST",
            "request_format": "json",
            "subscriptions": ["zen:event-type:ticket.comment_added"],
        }
    )
    report = await desk.plugin.install(dry_run=False)
    assert "ask" in actions(report)
    assert list(desk.twin.rules.webhooks) == [webhook.id]


async def test_without_an_admin_or_a_door(desk: Any) -> None:
    desk.twin.api_user.role = "agent"
    report = await desk.plugin.install(dry_run=False)
    assert actions(report) == ["ask"]
    health = await desk.plugin.check()
    assert "not_admin" in [one.code for one in health.findings]
    bare = ZendeskHelpdesk(Setup(time=desk.time, config=desk.config(), http=desk.http, state=desk.state))
    with pytest.raises(Rejected):
        await bare.install(dry_run=False)


async def test_a_broken_off_install_is_repeated(desk: Any) -> None:
    desk.twin.faults.append(desk.fault("status_after", method="POST", path="/webhooks$", status=500))
    with pytest.raises(Retry):
        await desk.plugin.install(dry_run=False)
    await desk.installed()
    assert len(desk.twin.rules.webhooks) == 1


async def test_the_trigger_tells_of_agents_only(desk: Any) -> None:
    await desk.installed()
    ticket = await desk.created()
    desk.twin.customer_comment(ticket, "Hello?")
    desk.twin.change(ticket, {"priority": "low"}, via="automation")
    await desk.push(desk.change("u", external_id=str(ticket), subject=None))
    assert await desk.hooks() == []
    desk.twin.set_status(ticket, "solved")
    desk.twin.change(ticket, {"additional_tags": ["reply:public"]})
    assert len(await desk.hooks()) == 2
    other, _ = desk.twin.desk.create({"comment": {"body": "not ours"}}, desk.twin.api_user)
    desk.twin.agent_comment(other.id, "Ada", "Hello")
    assert await desk.hooks() == []


async def codes(desk: Any) -> list[str]:
    health = await desk.plugin.check()
    assert health.ok == (not any(one.severity == "error" for one in health.findings))
    return [one.code for one in health.findings]


async def test_check(desk: Any) -> None:
    """Everything that would make answers stop coming is named, with its mend."""
    assert set(await codes(desk)) == {"no_webhook", "no_trigger", "no_secret"}
    await desk.installed()
    assert await codes(desk) == []
    (webhook,), (trigger,) = desk.twin.rules.webhooks.values(), desk.twin.rules.triggers.values()
    webhook.secret = "reset by somebody"
    assert await codes(desk) == ["secret_changed"]
    webhook.data["status"] = "inactive"
    assert set(await codes(desk)) == {"secret_changed", "webhook_inactive"}
    await desk.installed()
    webhook.data["endpoint"] = "https://old.example/hooks"
    trigger["conditions"]["all"].pop()
    assert await codes(desk) == ["webhook_endpoint", "trigger_changed"]
    trigger["active"] = False
    assert "trigger_inactive" in await codes(desk)
    desk.twin.rules.triggers.clear()
    desk.twin.rules.webhooks.clear()
    assert await codes(desk) == ["webhook_gone", "trigger_gone"]


async def test_check_of_credentials(desk: Any) -> None:
    desk.settings = {"api_user_id": 5}
    assert "api_user" in await codes(desk)
    desk.twin.api_user.role = "end-user"
    assert await codes(desk) == ["role"]
    desk.twin.expired = True
    assert await codes(desk) == ["credentials"]


def test_registered() -> None:
    assert register_helpdesks() == [ZendeskHelpdesk]


def test_pure_methods_need_no_network() -> None:
    """As in the process where the host runs them: no client, no state."""
    config = {"subdomain": "acme", "email": "a@acme.example", "api_token": "t"}
    plugin = ZendeskHelpdesk(Setup(time=SystemTime(), config=ZendeskHelpdesk.Config.model_validate(config)))
    now = SystemTime().now()
    (wanted,) = plugin.normalise(RawDelivery("d", "webhook", b'{"ticket_id": 5}', now))
    assert isinstance(wanted, Wanted)
    assert wanted.ref == "5"
