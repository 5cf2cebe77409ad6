"""Setting an account up, again and again; noticing what was changed, and what of the account works against us."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from gateway_freshdesk.plugin import FreshdeskHelpdesk, register_helpdesks
from gateway_schemas.errors import Rejected, Retry
from gateway_schemas.interaction import Wanted
from gateway_schemas.plugin import Setup
from gateway_schemas.time import SystemTime
from gateway_schemas.webhook import RawDelivery

UNSEEN = 2
"""What the API shows nobody is asked of a person each time."""


def actions(report: Any) -> list[str]:
    made = [step.action for step in report.steps]
    assert made[-UNSEEN:] == ["ask"] * UNSEEN
    return made[:-UNSEEN]


def updates(desk: Any) -> list[dict[str, Any]]:
    return list(desk.twin.rules.rules[4].values())


async def test_a_dry_run_changes_nothing(desk: Any) -> None:
    desk.settings = {"create_fields": True}
    report = await desk.plugin.install(dry_run=True)
    assert actions(report) == ["create"] * 6
    assert report.config == {}
    assert {method for method, _, _ in desk.requests()} == {"GET"}
    await desk.installed()
    desk.door = "http://127.0.0.1:1/elsewhere"
    before = len(desk.requests())
    again = await desk.plugin.install(dry_run=True)
    assert "update" in actions(again)
    assert {method for method, _, _ in desk.requests()[before:]} == {"GET"}


@pytest.mark.parametrize("wrapped", [False, True])
async def test_install_and_again(desk: Any, wrapped: bool) -> None:
    """The second time finds everything: by id, and by name where the config was lost."""
    desk.twin.wraps_rules = wrapped
    desk.settings = {"create_fields": True}
    report = await desk.installed()
    (rule,) = updates(desk)
    secret = rule["actions"][0]["custom_headers"]["X-Gateway-Secret"]
    assert len(secret) >= 40
    assert report.config == {
        "api_user_id": desk.twin.api_user.id,
        "rule_id": rule["id"],
        "webhook_secrets": [secret],
        "fields": {name.removeprefix("cf_"): name for name in desk.twin.desk.fields},
    }
    assert actions(await desk.installed()) == ["keep"] * 6
    desk.settings = {"create_fields": True}
    found = await desk.installed()
    # the secret that was lost is not read back from the rule: both get a new one
    assert actions(found) == ["update", *["keep"] * 5]
    assert found.config["rule_id"] == rule["id"]
    assert found.config["webhook_secrets"] != [secret]
    assert len(updates(desk)) == 1
    assert len(desk.twin.desk.fields) == 5


async def test_a_secret_is_rotated(desk: Any) -> None:
    await desk.installed()
    (old,) = desk.settings["webhook_secrets"]
    desk.settings["webhook_secrets"] = ["a-new-secret", old]
    report = await desk.installed()
    assert actions(report) == ["update"]
    assert report.config["webhook_secrets"] == ["a-new-secret", old]
    assert updates(desk)[0]["actions"][0]["custom_headers"] == {"X-Gateway-Secret": "a-new-secret"}
    assert "a-new-secret" not in report.model_dump_json(include={"steps"})


async def test_install_mends(desk: Any) -> None:
    await desk.installed()
    (rule,) = updates(desk)
    rule["active"] = False
    rule["events"].pop()
    report = await desk.installed()
    assert actions(report) == ["update"]
    assert "active, events" in report.steps[0].detail
    assert (updates(desk)[0]["active"], len(updates(desk)[0]["events"])) == (True, 3)
    assert (await desk.plugin.check()).ok


async def test_a_hidden_secret_is_no_change(desk: Any) -> None:
    """Freshdesk may mask what it shows of a rule."""
    await desk.installed()
    updates(desk)[0]["actions"][0]["custom_headers"] = {"X-Gateway-Secret": "********"}
    assert actions(await desk.installed()) == ["keep"]
    assert (await desk.plugin.check()).findings == ()


@pytest.mark.parametrize("why", ["not taken", "no administrator", "no rules"])
async def test_what_the_api_does_not_do_a_person_is_told_step_by_step(desk: Any, why: str) -> None:
    if why == "not taken":
        desk.twin.takes_rules = False
    elif why == "no rules":
        desk.twin.has_rules = False
    else:
        desk.twin.api_user.role = "agent"
    report = await desk.plugin.install(dry_run=False)
    step = report.steps[0]
    assert step.action == "ask"
    for word in ("X-Gateway-Secret", desk.door, '{"ticket_id": "{{ticket.id}}"}', "webhook_secrets"):
        assert word in step.detail
    assert "webhook_secrets" not in report.config
    assert report.config["api_user_id"] == desk.twin.api_user.id


async def test_a_rule_made_by_hand_is_found_and_kept(desk: Any) -> None:
    desk.settings = {"webhook_secrets": ["chosen by a person"]}
    wanted = (await desk.plugin.install(dry_run=False)).config["rule_id"]
    assert wanted == updates(desk)[0]["id"]
    assert actions(await desk.installed()) == ["keep"]


async def test_without_a_door(desk: Any) -> None:
    desk.door = None
    with pytest.raises(Rejected):
        await desk.plugin.install(dry_run=False)


async def test_a_broken_off_install_is_repeated(desk: Any) -> None:
    desk.fault("status_after", method="POST", path="/rules$", status=500)
    with pytest.raises(Retry):
        await desk.plugin.install(dry_run=False)
    await desk.installed()
    assert len(updates(desk)) == 1


async def test_the_rule_tells_of_agents_only_and_of_ours_only(desk: Any) -> None:
    await desk.installed()
    ticket = await desk.created()
    desk.twin.customer_reply(ticket, "Hello?")
    await desk.told(ticket, "k2")
    desk.twin.agent_note(ticket, "Ada", "internal", public=False)
    assert await desk.hooks() == []
    desk.twin.set_status(ticket, 4)
    desk.twin.agent_note(ticket, "Ada", "Hello")
    desk.twin.agent_reply(ticket, "Ada", "Dear Alice")
    assert len(await desk.hooks()) == 3
    desk.twin.change(ticket, {"tags": []})
    desk.twin.agent_note(ticket, "Ada", "Hello")
    assert await desk.hooks() == []


async def codes(desk: Any) -> list[str]:
    health = await desk.plugin.check()
    assert health.ok == (not any(one.severity == "error" for one in health.findings))
    return [one.code for one in health.findings]


async def test_check(desk: Any) -> None:
    """Everything that would make answers stop coming is named, with its mend."""
    assert set(await codes(desk)) == {"no_rule", "no_secret"}
    await desk.installed()
    assert await codes(desk) == []
    (rule,) = updates(desk)
    rule["actions"][0]["url"] = "https://old.example/hooks"
    assert await codes(desk) == ["rule_changed"]
    rule["active"] = False
    assert await codes(desk) == ["rule_inactive"]
    desk.twin.rules.rules[4].clear()
    assert await codes(desk) == ["rule_gone"]
    desk.twin.has_rules = False
    assert "rules_unseen" in await codes(desk)


async def test_check_of_credentials(desk: Any) -> None:
    desk.settings = {"api_user_id": 5}
    assert "api_user" in await codes(desk)
    desk.fault("status_before", method="GET", path="/agents/me", status=403, body=b'{"code":"require_feature"}')
    assert await codes(desk) == ["no_access"]
    desk.twin.expired = True
    assert await codes(desk) == ["credentials"]


# what works against us: each seeded in the twin, found, named, and gone with its mend

ALL = [{"name": "condition_set_1", "match_type": "all", "properties": []}]


def rule(desk: Any, kind: int, name: str, action: dict[str, Any], **more: Any) -> None:
    events = (
        {"performer": {"type": 3}, "events": [{"field_name": "status", "from": "--", "to": "--"}]} if kind == 4 else {}
    )
    desk.twin.rules.save(kind, {"name": name, "conditions": ALL, "actions": [action], **events, **more})


def asked(field: str, operator: str, value: Any, match: str = "all") -> list[dict[str, Any]]:
    one = {"resource_type": "ticket", "field_name": field, "operator": operator, "value": value}
    return [{"name": "condition_set_1", "match_type": match, "properties": [one]}]


def webhook(desk: Any) -> dict[str, Any]:
    return {
        "field_name": "trigger_webhook",
        "request_type": "POST",
        "url": desk.door,
        "content_type": "JSON",
        "content_layout": "2",
        "content": {"ticket_id": "{{ticket.id}}"},
    }


def ticket(desk: Any, **more: Any) -> None:
    data = {"name": "Eve", "unique_external_id": "eve", "subject": "s", "description": "d", "status": 2, "priority": 1}
    made = desk.twin.desk.create({**data, "source": 2}, None)
    for name, value in more.items():
        setattr(made, name, value)


MAIL = {"field_name": "send_email_to_requester", "email_subject": "Hello", "email_body": "We received it"}
CONFLICTS: list[tuple[str, str, Callable[[Any], Any]]] = [
    ("rule_mails", "Welcome mail", lambda desk: rule(desk, 1, "Welcome mail", MAIL)),
    ("rule_mails", "Tell the customer", lambda desk: rule(desk, 4, "Tell the customer", MAIL)),
    (
        "rule_mails",
        "Ask the supplier",
        lambda desk: rule(desk, 4, "Ask the supplier", {"field_name": "forward_ticket"}),
    ),
    ("rule_closes", "Close stale", lambda desk: rule(desk, 3, "Close stale", {"field_name": "status", "value": 5})),
    ("rule_closes", "Quick wins", lambda desk: rule(desk, 4, "Quick wins", {"field_name": "status", "value": "4"})),
    ("rule_deletes", "Clean up", lambda desk: rule(desk, 1, "Clean up", {"field_name": "mark_as_spam"})),
    ("rule_deletes", "Away", lambda desk: rule(desk, 3, "Away", {"field_name": "delete_ticket"})),
    ("rule_writes", "Thank", lambda desk: rule(desk, 4, "Thank", {"field_name": "add_note", "value": "Thanks"})),
    ("rule_tags", "Leg", lambda desk: rule(desk, 4, "Leg", {"field_name": "add_tag", "value": ["reply:public"]})),
    ("rule_tags", "Sort", lambda desk: rule(desk, 1, "Sort", {"field_name": "add_tag", "value": "vip,gateway"})),
    (
        "rule_on_state",
        "Escalate",
        lambda desk: rule(
            desk,
            4,
            "Escalate",
            {"field_name": "priority", "value": 4},
            conditions=asked("tag_names", "in", ["gw_held"]),
        ),
    ),
    ("second_webhook", "Old hook", lambda desk: rule(desk, 4, "Old hook", webhook(desk))),
    ("native_channel", "X (Twitter)", lambda desk: ticket(desk, source=5)),
    ("native_channel", "Facebook", lambda desk: ticket(desk, source=6)),
    ("api_user_works", "assigned tickets, such as 1", lambda desk: ticket(desk, responder_id=desk.twin.api_user.id)),
    ("api_user_scope", "Gateway", lambda desk: setattr(desk.twin.api_user, "ticket_scope", 3)),
    ("api_user_occasional", "Gateway", lambda desk: setattr(desk.twin.api_user, "occasional", True)),
    ("api_user_light", "Gateway", lambda desk: setattr(desk.twin.api_user, "type", "collaborator")),
    ("api_user_inactive", "Gateway", lambda desk: setattr(desk.twin.api_user, "active", False)),
    ("rules_unseen", "may not look at automation rules", lambda desk: setattr(desk.twin.api_user, "role", "agent")),
    (
        "survey",
        "How did we do?",
        lambda desk: desk.twin.classic_surveys.append({"id": 3, "title": "How did we do?", "active": True}),
    ),
    (
        "survey",
        "Advanced",
        lambda desk: setattr(desk.twin, "new_surveys", [{"id": "e0de", "title": "Advanced", "state": "ACTIVE"}]),
    ),
    ("field_missing", "cf_gone", lambda desk: desk.settings.update(fields={"gw_state": "cf_gone"})),
    (
        "field_type",
        "cf_state",
        lambda desk: desk.settings.update(
            fields={"gw_state": desk.twin.add_field("state", type="custom_dropdown")["name"]}
        ),
    ),
    ("field_required", "Order number", lambda desk: desk.twin.add_field("Order number", required_for_agents=True)),
    (
        "contact_field_required",
        "Company",
        lambda desk: desk.twin.contact_fields.append(
            {"name": "company", "label": "Company", "required_for_agents": True}
        ),
    ),
    ("status_unknown", "status 9", lambda desk: desk.settings.update(waiting=9)),
    ("source_unknown", "source 101", lambda desk: desk.settings.update(source=101)),
]


@pytest.mark.parametrize(("code", "named", "seed"), CONFLICTS, ids=[f"{one[0]}-{one[1]}" for one in CONFLICTS])
async def test_a_conflict_is_found_and_named(desk: Any, code: str, named: str, seed: Callable[[Any], Any]) -> None:
    """By check and by a dry run of install alike, with where it is and the mend."""
    await desk.installed()
    seed(desk)
    found = [one for one in (await desk.plugin.check()).findings if one.code == code]
    assert len(found) == 1
    assert named in found[0].message
    assert found[0].mend
    report = await desk.plugin.install(dry_run=True)
    assert (found[0].message, found[0].mend) in [(step.what, step.detail) for step in report.steps]


async def test_a_clean_account_shows_nothing(desk: Any) -> None:
    """Also one that works: with tickets, agents, contacts, and rules that leave ours alone."""
    await desk.installed()
    made = await desk.created()
    desk.twin.agent_note(made, "Ada", "Hello")
    ticket(desk)
    rule(desk, 1, "By source", MAIL, conditions=asked("source", "in", [1, 3]))
    rule(
        desk, 4, "Not ours", {"field_name": "status", "value": 5}, conditions=asked("tag_names", "not_in", ["gateway"])
    )
    rule(desk, 1, "Route", {"field_name": "group_id", "value": 7})
    rule(desk, 1, "Off", MAIL, active=False)
    both = [*asked("source", "is_not", "2"), *asked("priority", "in", [4])]
    rule(
        desk,
        3,
        "Two sets",
        {"field_name": "status", "value": 5},
        conditions=both,
        operator="condition_set_1 and condition_set_2",
    )
    desk.twin.classic_surveys.append({"id": 3, "title": "Old", "active": False})
    assert await codes(desk) == []
    assert actions(await desk.plugin.install(dry_run=True)) == ["keep"]


async def test_rules_that_may_hit_ours_are_named(desk: Any) -> None:
    """What the conditions leave open counts as possible."""
    await desk.installed()
    rule(desk, 1, "A", MAIL, conditions=asked("source", "in", [1, 2]))
    rule(desk, 1, "B", MAIL, conditions=asked("subject", "contains", ["refund"]))
    rule(desk, 1, "C", MAIL, conditions=[*asked("source", "in", [1]), *asked("priority", "in", [4])])
    rule(desk, 1, "D", MAIL, conditions=asked("tag_names", "in", ["vip"]))
    findings = (await desk.plugin.check()).findings
    assert [one.message.split("“")[1][0] for one in findings] == ["A", "B", "C", "D"]


async def test_check_waits_for_an_account_that_cannot_be_asked(desk: Any) -> None:
    desk.fault("status_before", method="GET", path="/contact_fields", status=503)
    with pytest.raises(Retry):
        await desk.plugin.check()


def test_registered() -> None:
    assert register_helpdesks() == [FreshdeskHelpdesk]


def test_pure_methods_need_no_network() -> None:
    """As in the process where the host runs them: no client, no state."""
    config = FreshdeskHelpdesk.Config.model_validate({"domain": "acme", "api_key": "k"})
    plugin = FreshdeskHelpdesk(Setup(time=SystemTime(), config=config))
    (wanted,) = plugin.normalise(RawDelivery("d", "webhook", b'{"ticket_id": 5}', SystemTime().now()))
    assert isinstance(wanted, Wanted)
    assert wanted.ref == "5"
