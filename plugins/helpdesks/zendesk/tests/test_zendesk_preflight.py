"""Conflicts of an account with the gateway, each seeded in the twin: check and a dry run of install name them."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from gateway_schemas.errors import Retry
from gateway_zendesk.comments import MARK

Seed = Callable[[Any], Any]
OURS = {"field": "current_tags", "operator": "includes", "value": "gateway"}
CHANGED = {"field": "update_type", "operator": "is", "value": "Change"}
CREATED = {"field": "update_type", "operator": "is", "value": "Create"}
PUBLIC = {"field": "comment_is_public", "operator": "is", "value": "true"}
MAIL = {
    "field": "notification_user",
    "value": ["requester_and_ccs", "Re: {{ticket.title}}", "{{ticket.comments_formatted}}"],
}
RECEIVED = {"field": "notification_user", "value": ["requester_id", "We received it", "Thank you"]}


def trigger(desk: Any, title: str, action: dict[str, Any], *conditions: dict[str, Any], **more: Any) -> int:
    conditions_ = {"all": list(conditions or (CHANGED,)), "any": more.pop("any", [])}
    made = desk.twin.rules.save_trigger({"title": title, "conditions": conditions_, "actions": [action], **more})
    return int(made["id"])


def automation(desk: Any, title: str, action: dict[str, Any], *conditions: dict[str, Any], **more: Any) -> int:
    every = [
        {"field": "status", "operator": "is", "value": "pending"},
        {"field": "PENDING", "operator": "is", "value": "96"},
        *conditions,
    ]
    made = desk.twin.rules.save_automation(
        {"title": title, "conditions": {"all": every, "any": []}, "actions": [action], **more}
    )
    return int(made["id"])


def webhook(desk: Any, name: str = "Older gateway") -> Any:
    return desk.twin.rules.create_webhook(
        {
            "name": name,
            "status": "active",
            "endpoint": desk.door,
            "http_method": "POST",
            "request_format": "json",
            "subscriptions": ["conditional_ticket_events"],
        }
    )


def ticket_field(desk: Any, **more: Any) -> None:
    number = desk.twin.desk.new_id()
    field = {"id": number, "title": "Cause", "type": "tagger", "active": True, "required": False, "removable": True}
    desk.twin.desk.fields[number] = {**field, **more}


def assigned(desk: Any) -> None:
    made, _ = desk.twin.desk.create({"comment": {"body": "x"}}, desk.twin.api_user)
    made.assignee_id = desk.twin.api_user.id


CONFLICTS: list[tuple[str, str, Seed]] = [
    (
        "trigger_mails",
        "Notify requester of comment update",
        lambda d: trigger(d, "Notify requester of comment update", MAIL, CHANGED, PUBLIC),
    ),
    (
        "trigger_mails",
        "Notify requester of received request",
        lambda d: trigger(d, "Notify requester of received request", RECEIVED, CREATED),
    ),
    (
        "trigger_solves",
        "Auto-solve thanks",
        lambda d: trigger(d, "Auto-solve thanks", {"field": "status", "value": "solved"}),
    ),
    (
        "trigger_tags",
        "Default leg",
        lambda d: trigger(d, "Default leg", {"field": "current_tags", "value": "reply:public vip"}),
    ),
    ("trigger_tags", "Sort anew", lambda d: trigger(d, "Sort anew", {"field": "set_tags", "value": "sorted"})),
    ("trigger_tags", "Tidy", lambda d: trigger(d, "Tidy", {"field": "remove_tags", "value": "gw_held"})),
    (
        "trigger_on_state",
        "Escalate held answers",
        lambda d: trigger(
            d,
            "Escalate held answers",
            {"field": "priority", "value": "urgent"},
            {"field": "current_tags", "operator": "includes", "value": "gw_held gw_blocked"},
        ),
    ),
    (
        "trigger_tweets",
        "Tweet back",
        lambda d: trigger(d, "Tweet back", {"field": "tweet_requester", "value": "Hi!"}, CREATED),
    ),
    (
        "automation_mails",
        "Pending notification 24 hours",
        lambda d: automation(d, "Pending notification 24 hours", MAIL),
    ),
    (
        "automation_solves",
        "Close after 4 days",
        lambda d: automation(d, "Close after 4 days", {"field": "status", "value": "closed"}),
    ),
    (
        "automation_surveys",
        "Request customer satisfaction rating",
        lambda d: automation(
            d, "Request customer satisfaction rating", {"field": "satisfaction_score", "value": "offered"}
        ),
    ),
    ("csat", "satisfaction ratings", lambda d: d.twin.settings.active_features.update(customer_satisfaction=True)),
    (
        "native_x",
        "@AcmeHelps (7)",
        lambda d: (
            d.twin.settings.active_features.update(twitter=True),
            d.twin.settings.handles.append({"id": 7, "screen_name": "AcmeHelps"}),
        ),
    ),
    ("native_facebook", "Facebook", lambda d: d.twin.settings.active_features.update(facebook=True)),
    ("welcome_emails", "welcome mail", lambda d: d.twin.settings.users.update(agent_created_welcome_emails=True)),
    ("second_webhook", "Older gateway", webhook),
    (
        "trigger_calls",
        "Older trigger",
        lambda d: trigger(d, "Older trigger", {"field": "notification_webhook", "value": [webhook(d).id, "{}"]}),
    ),
    ("api_user_works", "such as 1", assigned),
    ("light_agent", "Gateway", lambda d: setattr(d.twin.api_user, "only_private_comments", True)),
    ("suspended", "Gateway", lambda d: setattr(d.twin.api_user, "suspended", True)),
    ("ticket_restriction", "groups", lambda d: setattr(d.twin.api_user, "ticket_restriction", "groups")),
    ("field_required", "Cause", lambda d: ticket_field(d, required=True)),
    ("field_missing", "fields.leg", lambda d: d.settings.update(fields={"leg": 5})),
    ("ticket_form_missing", "ticket form 9", lambda d: d.settings.update(ticket_form_id=9)),
    (
        "group_missing",
        "group 8",
        lambda d: (d.twin.settings.groups.update({8: {"id": 8, "deleted": True}}), d.settings.update(group_id=8)),
    ),
    ("settings_unseen", "settings could not be read", lambda d: setattr(d.twin.settings, "hidden", True)),
]


@pytest.mark.parametrize(("code", "named", "seed"), CONFLICTS, ids=[f"{one[0]}-{one[1]}" for one in CONFLICTS])
async def test_a_conflict_is_found_and_named(desk: Any, code: str, named: str, seed: Seed) -> None:
    """By check and by a dry run of install alike, with its name and id, and the mend."""
    await desk.installed()
    made = seed(desk)
    found = [one for one in (await desk.plugin.check()).findings if one.code == code]
    assert len(found) == 1
    assert named in found[0].message
    if isinstance(made, int):
        assert f"({made})" in found[0].message
    assert found[0].mend
    before = len(desk.requests())
    report = await desk.plugin.install(dry_run=True)
    assert (found[0].message, found[0].mend) in [
        (step.what, step.detail) for step in report.steps if step.action == "ask"
    ]
    assert {method for method, _, _ in desk.requests()[before:]} == {"GET"}


async def test_a_clean_account_shows_nothing(desk: Any) -> None:
    """Also one that works: with tickets, agents, and rules that leave ours alone."""
    await desk.installed()
    ticket = await desk.created()
    desk.twin.agent_comment(ticket, "Ada", "Hello")
    ticket_field(desk)
    ticket_field(desk, title="Subject", type="subject", required=True, removable=False)
    ticket_field(desk, title="Old", active=False, required=True)
    desk.twin.settings.groups[8], desk.twin.settings.forms[9] = {"id": 8}, {"id": 9, "active": True}
    desk.settings |= {"group_id": 8, "ticket_form_id": 9, "brand_id": 3}
    not_ours = {"field": "current_tags", "operator": "not_includes", "value": "gateway other"}
    trigger(desk, "Others only", MAIL, CHANGED, not_ours)
    trigger(desk, "By mail only", MAIL, {"field": "via_id", "operator": "is", "value": "4"})
    trigger(desk, "Not by API", MAIL, {"field": "via_id", "operator": "is_not", "value": "5"})
    trigger(desk, "Another brand", MAIL, {"field": "brand_id", "operator": "is", "value": "4"})
    trigger(desk, "Off", MAIL, active=False)
    trigger(
        desk, "Any of mail or web", MAIL, CHANGED, any=[{"field": "via_id", "operator": "is", "value": n} for n in "04"]
    )
    trigger(desk, "Notify the team", {"field": "notification_user", "value": ["all_agents", "New", "x"]})
    trigger(desk, "Route", {"field": "group_id", "value": "8"})
    automation(desk, "Close others", {"field": "status", "value": "closed"}, not_ours)
    inactive = webhook(desk, "Switched off")
    inactive.data["status"] = "inactive"
    health = await desk.plugin.check()
    assert health.findings == ()
    assert health.ok
    report = await desk.plugin.install(dry_run=True)
    assert [step.action for step in report.steps] == ["keep"] * 3


async def test_rules_that_may_hit_ours_are_named(desk: Any) -> None:
    """What the conditions leave open counts as possible; our own trigger is no conflict."""
    await desk.installed()
    trigger(desk, "A", MAIL, OURS)
    trigger(desk, "B", MAIL, {"field": "subject_includes_word", "operator": "includes", "value": "refund"})
    trigger(desk, "C", MAIL, CHANGED, any=[{"field": "via_id", "operator": "is", "value": n} for n in "45"])
    trigger(desk, "D", MAIL, {"field": "current_tags", "operator": "not_includes", "value": "vip"})
    trigger(desk, "E", MAIL, {"field": "role", "operator": "is", "value": "agent"})
    findings = (await desk.plugin.check()).findings
    assert [one.message.split("“")[1][0] for one in findings] == list("ABCDE")


async def test_without_an_admin_the_users_own_troubles_are_told(desk: Any) -> None:
    await desk.installed()
    desk.twin.api_user.role = "agent"
    desk.twin.api_user.ticket_restriction = "assigned"
    trigger(desk, "Mails", MAIL)
    codes = [one.code for one in (await desk.plugin.check()).findings]
    assert codes == ["not_admin", "ticket_restriction"]
    report = await desk.plugin.install(dry_run=True)
    assert [step.action for step in report.steps] == ["ask", "ask"]


async def test_check_waits_for_an_account_that_cannot_be_asked(desk: Any) -> None:
    await desk.installed()
    desk.twin.faults.append(desk.fault("status_before", method="GET", path="/automations", status=503))
    with pytest.raises(Retry):
        await desk.plugin.check()


# the conflicts are real: what they would do, they do in the twin


async def test_the_twins_rules_do_what_they_say(desk: Any) -> None:
    ticket = await desk.created()
    stored = desk.twin.tickets[ticket]
    requester = desk.twin.desk.people.all[stored.requester_id]
    trigger(desk, "Mail", MAIL, CHANGED, PUBLIC)
    trigger(desk, "Tweet", {"field": "tweet_requester", "value": "Hi!"}, CHANGED, PUBLIC)
    trigger(desk, "Tag", {"field": "current_tags", "value": "seen"}, CHANGED, PUBLIC)
    trigger(
        desk,
        "On tag",
        {"field": "priority", "value": "low"},
        {"field": "current_tags", "operator": "includes", "value": "seen"},
    )
    desk.twin.agent_comment(ticket, "Ada", "Hello")
    assert (stored.tags, stored.priority) == (["gateway", "seen"], "low")
    kinds = [one.kind for one in desk.twin.ledger]
    assert "tweeted" in kinds
    assert "mail_sent" not in kinds  # the gateway's customers have no address
    requester.email = "alice@home.example"
    desk.twin.agent_comment(ticket, "Ada", "Hello again")
    assert [one.data["to"] for one in desk.twin.ledger if one.kind == "mail_sent"] == ["alice@home.example"]
    automation(desk, "Close", {"field": "status", "value": "closed"}, OURS)
    desk.twin.set_status(ticket, "pending")
    desk.twin.rules.hour()
    assert stored.status == "pending"
    desk.time.pass_by(hours=96)
    desk.twin.rules.hour()
    assert stored.status == "closed"
    assert stored.audits[-1].custom.get(MARK) is None


@pytest.mark.parametrize(
    "body",
    [
        {"conditions": {"all": [{"field": "PENDING", "value": "1"}, {"field": "status", "value": "pending"}]}},
        {"title": "x", "conditions": {"all": [{"field": "status", "value": "pending"}]}},
        {"title": "x", "conditions": {"all": [{"field": "PENDING", "value": "1"}]}},
        {
            "title": "x",
            "conditions": {"all": [{"field": "PENDING", "value": "1"}, {"field": "status", "value": "pending"}]},
            "actions": [{"field": "fly"}],
        },
    ],
)
async def test_automations_that_the_twin_refuses(desk: Any, body: dict[str, Any]) -> None:
    answer = await desk.http.post(
        f"{desk.twin.url}/api/v2/automations",
        json={"automation": body},
        headers={"Authorization": f"Bearer {desk.twin.oauth_token}", "Accept": "application/json"},
    )
    assert answer.status_code == 422
