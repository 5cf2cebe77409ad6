"""Connecting: what may be entered, accounts and locations, notifications, health, quotas."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta
from typing import Any

import httpx2
import pytest
from pydantic import ValidationError

from gateway_google_business.config import GoogleApp, GoogleConfig
from gateway_google_business.plugin import GoogleBusinessSource, register_sources
from gateway_google_business.twin import GoogleTwin
from gateway_schemas.errors import Gone, Reauthorise, Rejected, Retry
from gateway_schemas.limits import BUCKET, SCOPE, LimitReading
from gateway_schemas.plugin import Health, InstallReport
from gateway_schemas.testing.twin import Fault
from gateway_schemas.time import SharedTime

Make = Callable[..., GoogleBusinessSource]
BenchLike = Any
TOPIC = "projects/acme-twin/topics/reviews"
DOOR = "https://gateway.example.com/hooks/app"
EMAIL = "push@acme-twin.iam.gserviceaccount.com"
PUSH = {"pubsub_topic": TOPIC, "push_audience": "acme-gateway", "push_service_account": EMAIL}


def actions(report: InstallReport) -> dict[str, str]:
    return {step.what: step.action for step in report.steps}


def found(health: Health) -> dict[str, str]:
    return {finding.code: finding.severity for finding in health.findings}


# configuration


def test_ids_are_taken_with_and_without_their_collection() -> None:
    config = GoogleConfig(account_id="accounts/1122", locations=["locations/3344", "5566"], refresh_token="r")  # type: ignore[arg-type]
    assert (config.account, config.locations) == ("accounts/1122", ["3344", "5566"])
    assert GoogleBusinessSource.account_of(config) == "accounts/1122"


@pytest.mark.parametrize(
    ("model", "change", "field"),
    [
        (GoogleConfig, {"account_id": "Acme"}, "account_id"),
        (GoogleConfig, {"locations": ["accounts/1122/locations/3344"]}, "locations"),
        (GoogleConfig, {"sweep_hours": 0}, "sweep_hours"),
        (GoogleConfig, {"refresh": "r"}, "refresh"),
        (GoogleApp, {"pubsub_topic": "reviews"}, "pubsub_topic"),
        (GoogleApp, {"base_url": "https://a.example/v4"}, "base_url"),
        (GoogleApp, {"client_id": ""}, "client_id"),
    ],
)
def test_wrong_settings_are_named(model: Any, change: dict[str, Any], field: str) -> None:
    good: dict[str, Any] = {"account_id": "1122", "refresh_token": "r"}
    if model is GoogleApp:
        good = {"client_id": "c", "client_secret": "s"}
    model(**good)
    with pytest.raises(ValidationError) as caught:
        model(**{**good, **change})
    assert caught.value.errors()[0]["loc"][0] == field


def test_every_host_is_named() -> None:
    config = GoogleConfig(account_id="1122", refresh_token="r")  # type: ignore[arg-type]
    hosts = GoogleBusinessSource.hosts_of(config, GoogleApp(client_id="c", client_secret="s"))  # type: ignore[arg-type]
    assert "https://mybusiness.googleapis.com" in hosts
    assert "https://oauth2.googleapis.com" in hosts
    assert all(host.startswith("https://") and host.endswith(".googleapis.com") for host in hosts)


def test_the_plugin_registers() -> None:
    assert register_sources() == [GoogleBusinessSource]
    assert GoogleBusinessSource.capabilities.one_slot


# accounts


async def test_discover_lists_accounts_with_their_locations(twin: GoogleTwin, make: Make) -> None:
    for number in range(25):
        twin.add_account(f"9{number:03}", f"Group {number}")
    twin.add_account("7", "Somebody else's", user="stranger")
    refs = await make().discover()
    assert len(refs) == 26
    acme = next(ref for ref in refs if ref.external_id == "accounts/1122")
    assert acme.config == {"account_id": "1122"}
    assert "Acme" in acme.name
    assert "2 locations" in acme.name


async def test_many_locations_are_paged(twin: GoogleTwin, make: Make) -> None:
    for number in range(230):
        twin.add_location("1122", f"8{number:03}", f"Branch {number}")
    locations = await make()._api().locations()
    assert len(locations) == 232


# install


async def test_without_a_topic_there_is_nothing_to_install(twin: GoogleTwin, plugin: GoogleBusinessSource) -> None:
    report = await plugin.install(dry_run=False)
    assert actions(report) == {"notifications": "keep"}
    assert twin.requests == []


async def test_install_has_google_tell_of_reviews(twin: GoogleTwin, make: Make) -> None:
    twin.add_topic(TOPIC)
    plugin = make(app=PUSH, door=DOOR)
    dry = await plugin.install(dry_run=True)
    assert actions(dry)["notifications of accounts/1122"] == "create"
    assert twin.state.accounts["1122"].topic == ""
    report = await plugin.install(dry_run=False)
    assert actions(report)["notifications of accounts/1122"] == "create"
    account = twin.state.accounts["1122"]
    assert (account.topic, account.types) == (TOPIC, ["NEW_REVIEW", "UPDATED_REVIEW"])
    again = await plugin.install(dry_run=False)
    assert actions(again)["notifications of accounts/1122"] == "keep"
    assert [effect.kind for effect in twin.ledger].count("notification_setting") == 1


async def test_what_only_the_project_may_do_is_asked_for(twin: GoogleTwin, make: Make) -> None:
    """The account's token has no rights in the project, so what stands there cannot be seen."""
    twin.add_topic(TOPIC)
    report = await make(app=PUSH, door=DOOR).install(dry_run=True)
    asked = {step.what: step.detail for step in report.steps if step.action == "ask"}
    assert "mybusiness-api-pubsub@system.gserviceaccount.com" in asked["topic"]
    assert all(word in asked["push subscription"] for word in (DOOR, EMAIL, "acme-gateway"))


async def test_what_can_be_seen_to_stand_is_not_asked_for(twin: GoogleTwin, make: Make) -> None:
    twin.state.users.clear()
    twin.add_user(cloud=True)
    twin.add_topic(TOPIC)
    twin.subscribe(TOPIC, DOOR, EMAIL, "acme-gateway")
    report = await make(app=PUSH, door=DOOR).install(dry_run=False)
    assert list(actions(report)) == ["notifications of accounts/1122"]


async def test_a_subscription_with_another_audience_is_not_ours(twin: GoogleTwin, make: Make) -> None:
    twin.state.users.clear()
    twin.add_user(cloud=True)
    twin.add_topic(TOPIC)
    twin.subscribe(TOPIC, DOOR, EMAIL, "another-gateway")
    report = await make(app=PUSH, door=DOOR).install(dry_run=True)
    assert actions(report)["push subscription"] == "ask"


async def test_another_topic_is_taken_over_openly_and_other_news_goes_on(twin: GoogleTwin, make: Make) -> None:
    twin.add_topic(TOPIC)
    account = twin.state.accounts["1122"]
    account.topic, account.types = "projects/other/topics/t", ["GOOGLE_UPDATE", "NEW_REVIEW"]
    plugin = make(app=PUSH, door=DOOR)
    dry = await plugin.install(dry_run=True)
    assert "projects/other/topics/t" in dry.steps[0].detail
    assert dry.steps[0].action == "update"
    await plugin.install(dry_run=False)
    assert account.types == ["GOOGLE_UPDATE", "NEW_REVIEW", "UPDATED_REVIEW"]


async def test_install_says_what_is_missing(twin: GoogleTwin, make: Make) -> None:
    with pytest.raises(Rejected) as caught:
        await make(app=PUSH).install(dry_run=False)
    assert caught.value.code == "no_door"
    twin.add_topic(TOPIC, open=False)
    with pytest.raises(Rejected) as caught:
        await make(app=PUSH, door=DOOR).install(dry_run=False)
    assert caught.value.code == "failed_precondition"


async def test_a_topic_that_is_not_there(twin: GoogleTwin, make: Make) -> None:
    twin.state.users.clear()
    twin.add_user(cloud=True)
    with pytest.raises((Gone, Rejected)):
        await make(app=PUSH, door=DOOR).install(dry_run=False)


# health


async def test_a_healthy_account(twin: GoogleTwin, make: Make) -> None:
    twin.add_topic(TOPIC)
    plugin = make(app=PUSH, door=DOOR)
    await plugin.install(dry_run=False)
    assert await plugin.check() == Health(ok=True)


async def test_polling_alone_is_healthy_and_said(plugin: GoogleBusinessSource) -> None:
    health = await plugin.check()
    assert health.ok
    assert found(health) == {"no_push": "info"}


async def test_check_names_the_mend(twin: GoogleTwin, make: Make) -> None:
    twin.add_location("1122", "7788", "Acme Porto", verified=False)
    plugin = make(app={**PUSH, "push_audience": None}, config={"locations": ["3344", "7788", "99"]}, door=DOOR)
    health = await plugin.check()
    assert not health.ok
    assert found(health) == {
        "location_missing": "error",
        "location_unverified": "warning",
        "notifications_missing": "error",
        "push_unverifiable": "error",
    }
    assert all(finding.mend for finding in health.findings)


async def test_check_sees_a_closed_and_a_missing_topic(twin: GoogleTwin, make: Make) -> None:
    twin.state.users.clear()
    twin.add_user(cloud=True)
    topic = twin.add_topic(TOPIC)
    plugin = make(app=PUSH, door=DOOR)
    await plugin.install(dry_run=False)
    topic.open = False
    assert found(await plugin.check()) == {"topic_closed": "error"}
    twin.state.topics.clear()
    assert found(await plugin.check()) == {"topic_missing": "error"}


async def test_a_project_without_quota_is_not_approved(twin: GoogleTwin, plugin: GoogleBusinessSource) -> None:
    twin.quota = 0
    health = await plugin.check()
    assert found(health) == {"not_approved": "error"}
    assert "apply" in health.findings[0].mend
    with pytest.raises(Retry) as caught:
        await plugin.poll("reviews", None)
    assert caught.value.code == "not_approved"
    assert caught.value.after == timedelta(hours=1)


@pytest.mark.parametrize("service", ["mybusinessaccountmanagement", "mybusiness"])
async def test_an_api_that_is_not_enabled(twin: GoogleTwin, plugin: GoogleBusinessSource, service: str) -> None:
    twin.disabled.add(service)
    health = await plugin.check()
    assert not health.ok
    finding = next(one for one in health.findings if one.severity == "error")
    assert finding.code == "service_disabled"
    assert service in finding.message


async def test_a_revoked_account(twin: GoogleTwin, make: Make) -> None:
    plugin = make()
    twin.revoke()
    assert found(await plugin.check()) == {"token_ended": "error"}


async def test_the_wrong_person_authorised(twin: GoogleTwin, make: Make) -> None:
    twin.add_account("7", "Somebody else's", user="stranger")
    plugin = make(config={"refresh_token": twin.state.users["stranger"].refresh_token})
    with pytest.raises(Rejected):
        await plugin.poll("reviews", None)
    health = await plugin.check()
    assert not health.ok
    assert "wrong_account" in found(health) or "permission_denied" in found(health)


async def test_a_token_without_the_scope(twin: GoogleTwin, make: Make) -> None:
    twin.state.users["owner"].scopes.clear()
    with pytest.raises(Reauthorise) as caught:
        await make().poll("reviews", None)
    assert caught.value.code == "scope_missing"


async def test_an_outage_is_a_warning(twin: GoogleTwin, plugin: GoogleBusinessSource) -> None:
    twin.faults.append(Fault("status_before", path="/v1/accounts$", status=503, times=None))
    health = await plugin.check()
    assert health.ok
    assert [finding.severity for finding in health.findings] == ["warning"]


# quotas


async def test_quota_is_waited_for(twin: GoogleTwin, plugin: GoogleBusinessSource, clock: SharedTime) -> None:
    twin.quota = 1
    twin.review("3344", "Ana", 2)
    await plugin.poll("reviews", None)
    with pytest.raises(Retry) as caught:
        await plugin.poll("reviews", None)
    assert (caught.value.bucket, caught.value.after) == ("reviews.read", timedelta(minutes=1))
    clock.jump(clock.now() + timedelta(minutes=1))
    await plugin.poll("reviews", None)


def refused(status: int, error: dict[str, Any]) -> httpx2.Response:
    return httpx2.Response(status, json={"error": {"code": status, "message": "words", **error}})


@pytest.mark.parametrize(
    ("response", "seconds"),
    [
        (refused(429, {"status": "RESOURCE_EXHAUSTED"}), 60),
        (refused(429, {"status": "RESOURCE_EXHAUSTED", "details": [{"retryDelay": "7.5s"}]}), 7.5),
        (refused(403, {"errors": [{"reason": "rateLimitExceeded"}]}), 60),
        (refused(403, {"errors": [{"reason": "quotaExceeded"}]}), 3600),
        (httpx2.Response(429, headers={"retry-after": "9"}), 9),
        (refused(403, {"status": "PERMISSION_DENIED"}), None),
        (refused(400, {"status": "INVALID_ARGUMENT"}), None),
        (httpx2.Response(200), None),
    ],
)
def test_refusals_empty_the_budget(
    plugin: GoogleBusinessSource, clock: SharedTime, response: httpx2.Response, seconds: float | None
) -> None:
    expected = [] if seconds is None else [LimitReading("*", None, 0, clock.now() + timedelta(seconds=seconds))]
    assert plugin.limits_of(response, "reviews.read") == expected


async def test_every_request_names_its_bucket_and_edits_their_location(
    bench: BenchLike, twin: GoogleTwin, make: Make, http: httpx2.AsyncClient
) -> None:
    seen: list[tuple[str, Any, Any]] = []

    async def note(request: httpx2.Request) -> None:
        marks = request.extensions
        seen.append((request.url.path, marks.get(BUCKET), marks.get(SCOPE)))

    http.event_hooks["request"].append(note)
    ref = twin.review("3344", "Ana", 2, "slow")
    plugin = make()
    await bench.drain("reviews", plugin=plugin)
    await plugin.send(await bench.rendered(ref, "Sorry!"), "k")
    assert all(bucket for _, bucket, _ in seen)
    assert [(bucket, scope) for path, bucket, scope in seen if path.endswith("/reply")] == [
        ("reviews.reply", "locations/3344")
    ]
