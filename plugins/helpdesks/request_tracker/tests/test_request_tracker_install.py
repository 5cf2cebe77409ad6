"""Setting a system up, and saying what of it works against the gateway."""

from __future__ import annotations

from typing import Any

import pytest
from pydantic import ValidationError


def actions(report: Any) -> list[tuple[str, str]]:
    return [(step.action, step.what) for step in report.steps if step.action != "ask"]


async def codes(desk: Any) -> set[str]:
    health = await desk.plugin.check()
    assert health.ok == (not any(one.severity == "error" for one in health.findings))
    assert all(one.mend for one in health.findings)
    return {one.code for one in health.findings}


async def test_a_dry_run_changes_nothing(desk: Any) -> None:
    desk.settings = {"create_fields": True}
    desk.twin.desk.fields.clear()
    report = await desk.plugin.install(dry_run=True)
    assert [action for action, _ in actions(report)] == ["create"] * 6
    assert (report.config, desk.twin.desk.fields) == ({}, {})
    assert [step for step in report.steps if "custom field" in step.what and step.action == "ask"] == []


async def test_install_and_again(desk: Any) -> None:
    desk.settings = {"create_fields": True, "api_user": None}
    desk.twin.desk.fields.clear()
    assert {"api_user", "key_field_missing", "field_missing"} <= await codes(desk)
    await desk.installed()
    assert desk.config().api_user == "gateway"
    assert {one.name: one.many for one in desk.twin.desk.fields.values()} == {
        "gw_key": False,
        "gw_tags": True,
        "gw_state": False,
        "gw_last_url": False,
        "gw_next_due": False,
        "gw_sla": False,
    }
    assert await codes(desk) == set()
    assert actions(await desk.installed()) == []
    await desk.created()


async def test_without_rights_a_person_does_it(desk: Any) -> None:
    desk.twin.admin_fields = False
    desk.twin.desk.fields.clear()
    desk.settings = {"create_fields": True}
    report = await desk.plugin.install(dry_run=False)
    assert {step.action for step in report.steps} == {"ask"}
    assert any("by hand" in step.what and "multiple values" in step.detail for step in report.steps)


async def test_what_rest_does_not_show_is_asked_for(desk: Any) -> None:
    report = await desk.plugin.install(dry_run=True)
    assert any("Scrips" in step.what for step in report.steps)
    assert any("rt-crontool" in step.what for step in report.steps)


async def test_conflicts_are_named(desk: Any) -> None:
    queue = desk.twin.desk.queues[1]
    queue.correspond_address, queue.admin_cc = "help@acme.example", ["ada"]
    desk.twin.may_create = False
    desk.twin.shows_mails = True
    desk.settings = {"fields": {"rating": "Stars"}, "queues": ["Sales"]}
    desk.twin.may_create = True
    await desk.created()
    desk.twin.desk.users["fake-alice"].email = "alice@else.example"
    await desk.told(1, "m")
    desk.twin.may_create = False
    health = await desk.plugin.check()
    said = {one.code: one.message for one in health.findings}
    assert set(said) == {"queue_mail", "queue_watchers", "no_create", "mails_sent", "field_missing", "queue_unknown"}
    assert "Stars" in said["field_missing"]
    queue.disabled = True
    desk.twin.api_user.privileged = False
    desk.twin.api_user.disabled = True
    assert {"queue_disabled", "api_user_unprivileged", "api_user_disabled"} <= await codes(desk)


async def test_credentials(desk: Any) -> None:
    desk.settings = {"api_user": "ada"}
    desk.twin.agent("Ada")
    assert await codes(desk) == {"api_user"}
    desk.twin.expired = True
    assert await codes(desk) == {"credentials"}
    desk.twin.expired = False
    desk.settings = {"url": f"{desk.twin.url}/elsewhere"}
    assert await codes(desk) == {"no_access"}


def test_a_token_of_another_shape_needs_the_users_name(desk: Any) -> None:
    desk.settings = {"token": "something-else"}
    assert desk.config().user_id is None
    for wrong in (
        {"url": "rt.acme.example"},
        {"customer_secret": "short"},
        {"key_field": "it's"},
        {"tags_field": "{x}"},
        {"priorities": {"high": -1}},
    ):
        desk.settings = wrong
        with pytest.raises(ValidationError):
            desk.config()
