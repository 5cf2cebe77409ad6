"""Connecting: what may be entered, the webhook and subscriptions at X, health, budgets and costs."""

from __future__ import annotations

from collections.abc import Callable
from decimal import Decimal
from typing import Any

import httpx2
import pytest
from pydantic import ValidationError

from gateway_schemas.errors import Reauthorise, Rejected
from gateway_schemas.interaction import Author, Interaction, ReplyTarget, Wanted
from gateway_schemas.limits import BUCKET, COST, SCOPE
from gateway_schemas.plugin import InstallReport, Setup
from gateway_schemas.reply import Draft, Rendered, SendIntent
from gateway_schemas.time import SharedTime, SystemTime
from gateway_x.config import XApp, XConfig
from gateway_x.metering import BUDGETS, reply_cost
from gateway_x.plugin import XSource, register_sources
from gateway_x.twin import XTwin

Make = Callable[..., XSource]
BRAND, RITA = "1111111111111111111", "2222222222222222222"
EVENTS = [
    "post.create",
    "post.delete",
    "post.mention.create",
    "post.reply.create",
    "post.quote.create",
    "dm.received",
    "dm.sent",
]


def actions(report: InstallReport) -> dict[str, str]:
    return {step.what: step.action for step in report.steps}


def subscribed(twin: XTwin, who: str = BRAND) -> list[str]:
    return [item.event_type for item in twin.events.subscriptions.values() if item.user_id == who]


def test_registered() -> None:
    assert register_sources() == [XSource]
    assert XSource.account_of(XConfig(user_id="5", username="@a", access_token="t")) == "5"  # type: ignore[arg-type]


def test_hosts() -> None:
    config = XConfig(user_id="5", username="a", access_token="t")  # type: ignore[arg-type]
    app = XApp(consumer_secret="c", bearer_token="b", base_url="http://127.0.0.1:9/")  # type: ignore[arg-type]
    assert XSource.hosts_of(config) == ("https://api.x.com",)
    assert XSource.hosts_of(config, app) == ("http://127.0.0.1:9",)
    own = config.model_copy(update={"base_url": "http://127.0.0.1:8"})
    assert XSource.hosts_of(own, app) == ("http://127.0.0.1:8",)


def test_allowance() -> None:
    config = XConfig(user_id="5", username="a", access_token="t")  # type: ignore[arg-type]
    app = XApp(consumer_secret="c", bearer_token="b", daily_cost_usd="12.5")  # type: ignore[arg-type]
    assert XSource.allowance_of(config, app).daily_usd == Decimal("12.5")
    assert XSource.allowance_of(config).daily_usd is None


def test_capabilities_are_those_of_the_account(make: Make) -> None:
    premium = make(config={"premium": True}).capabilities
    assert (premium.text["comment"].limit, premium.streams) == (25_000, ("mentions", "dms"))
    public = make(config={"direct_messages": False}).capabilities
    assert (public.private, public.streams, set(public.text)) == (False, ("mentions",), {"comment", "mention"})
    assert XSource.capabilities.text["comment"].limit == 280


@pytest.mark.parametrize(
    "wrong",
    [
        {"user_id": "abc"},
        {"user_id": ""},
        {"username": "much_too_long_for_x"},
        {"max_text": 0},
        {"base_url": "ftp://x"},
        {"base_url": "https://api.x.com/2"},
        {"acess_token": "typo"},
    ],
)
def test_what_may_not_be_entered(wrong: dict[str, Any]) -> None:
    with pytest.raises(ValidationError):
        XConfig(**({"user_id": "5", "username": "a", "access_token": "t"} | wrong))


def test_secrets_do_not_show() -> None:
    app = XApp(consumer_secret="hush", bearer_token="hush", previous_consumer_secrets=["hush"], client_secret="hush")  # type: ignore[arg-type,list-item]
    config = XConfig(user_id="5", username="a", access_token="hush", refresh_token="hush")  # type: ignore[arg-type]
    assert "hush" not in repr(app) + repr(config) + app.model_dump_json() + config.model_dump_json()


async def test_discover(make: Make) -> None:
    (found,) = await make().discover()
    assert (found.external_id, found.handle, found.name) == (BRAND, "AcmeSupport", "Acme Support")
    assert found.config == {"user_id": BRAND, "username": "AcmeSupport"}


async def test_install_repairs_and_repeats(twin: XTwin, make: Make, door: Any) -> None:
    plugin = make(door=f"{door.url}/hooks/app")
    planned = await plugin.install(dry_run=True)
    assert set(actions(planned).values()) == {"create"}
    assert (len(twin.events.webhooks), subscribed(twin), planned.app_config) == (0, [], {})

    done = await plugin.install(dry_run=False)
    assert actions(done) == actions(planned)
    (webhook,) = twin.events.webhooks.values()
    assert done.app_config == {"webhook_id": webhook.id}
    assert sorted(subscribed(twin)) == sorted(EVENTS)
    assert door.refused == []

    again = await make(door=f"{door.url}/hooks/app", app={"webhook_id": webhook.id}).install(dry_run=False)
    assert set(actions(again).values()) == {"keep"}
    assert again.app_config == {}

    lost = next(item for item in twin.events.subscriptions.values() if item.event_type == "dm.received")
    twin.events.drop(lost)
    moved = next(item for item in twin.events.subscriptions.values() if item.event_type == "post.create")
    moved.webhook_id = None
    webhook.valid = False
    mended = actions(await plugin.install(dry_run=False))
    assert mended.pop("subscription dm.received") == "create"
    assert mended.pop("subscription post.create") == "update"
    assert mended.pop("webhook") == "update"
    assert set(mended.values()) == {"keep"}
    assert sorted(subscribed(twin)) == sorted(EVENTS)
    assert {item.webhook_id for item in twin.events.subscriptions.values()} == {webhook.id}
    assert [item.valid for item in twin.events.webhooks.values()] == [True]


async def test_two_accounts_share_the_webhook(twin: XTwin, make: Make, installed: Any) -> None:
    other = twin.add_brand("AcmeBank")
    steps = actions(await make("AcmeBank", door=f"{installed.url}/hooks/app").install(dry_run=False))
    assert steps.pop("webhook") == "keep"
    assert set(steps.values()) == {"create"}
    twin.post("rita_ex", "@AcmeSupport @AcmeBank hello")
    await twin.settle()
    assert {item.account for item in installed.interactions()} == {BRAND, other.id}


async def test_messages_off_are_not_subscribed(twin: XTwin, make: Make, door: Any) -> None:
    plugin = make(door=f"{door.url}/hooks/app", config={"direct_messages": False})
    await plugin.install(dry_run=False)
    assert not [event for event in subscribed(twin) if event.startswith("dm.")]
    assert (await plugin.check()).ok


async def test_somebody_elses_webhook_is_not_taken(twin: XTwin, make: Make, installed: Any) -> None:
    report = await make(door=f"{installed.url}/hooks/other").install(dry_run=False)
    assert actions(report) == {"webhook": "ask"}
    assert "delete that first" in report.steps[0].detail
    assert len(twin.events.webhooks) == 1


async def test_a_door_that_does_not_know_the_secret(twin: XTwin, make: Make, door: Any) -> None:
    door.plugin = make(app={"consumer_secret": "wrong"})
    with pytest.raises(Rejected, match="CrcValidationFailed"):
        await make(door=f"{door.url}/hooks/app").install(dry_run=False)
    assert twin.events.webhooks == {}


async def test_without_a_public_address(make: Make) -> None:
    with pytest.raises(Rejected) as caught:
        await make().install(dry_run=False)
    assert caught.value.code == "no_door"


async def test_health(twin: XTwin, make: Make, installed: Any) -> None:
    plugin = make(door=f"{installed.url}/hooks/app")
    assert (await plugin.check()).ok
    (webhook,) = twin.events.webhooks.values()
    twin.events.drop(next(item for item in twin.events.subscriptions.values() if item.event_type == "dm.sent"))
    webhook.valid = False
    health = await plugin.check()
    assert not health.ok
    assert {finding.code for finding in health.findings} == {"webhook_invalid", "subscription_missing"}
    assert "dm.sent" in next(finding.message for finding in health.findings if finding.code == "subscription_missing")
    twin.events.webhooks.clear()
    assert {finding.code for finding in (await plugin.check()).findings} == {"webhook_missing"}


async def test_health_of_tokens(twin: XTwin, make: Make, installed: Any) -> None:
    door = f"{installed.url}/hooks/app"
    assert {item.code for item in (await make(door=door, app={"bearer_token": "old"}).check()).findings} == {
        "app_token_refused"
    }
    wrong = make(door=door, config={"user_id": RITA})
    assert "wrong_account" in {item.code for item in (await wrong.check()).findings}
    twin.expire_tokens("AcmeSupport")
    assert {item.code for item in (await make(door=door).check()).findings} == {"token_refused"}


async def test_revocation_is_told_and_stops_the_token(twin: XTwin, make: Make, installed: Any) -> None:
    twin.revoke("AcmeSupport")
    await twin.settle()
    (news,) = installed.news()
    assert (type(news).__name__, news.account) == ("Revoked", BRAND)
    with pytest.raises(Reauthorise):
        await make().discover()


# budgets and costs


def answer(plugin: XSource, post: str, text: str, kind: Any = "mention") -> Rendered:
    target = ReplyTarget(kind=kind, ref=post, recipient=RITA)
    asked = Interaction(
        external_id=post,
        revision=post,
        account=BRAND,
        kind="post",
        visibility="public",
        author=Author(external_id=RITA),
        published_at=SystemTime().now(),
    )
    private = kind == "direct_message"
    return plugin.render(
        Draft(
            reply_id="r",
            text=text,
            account=BRAND,
            target=target,
            interaction=asked,
            visibility="private" if private else "public",
        )
    )


async def test_every_request_names_its_bucket_and_price(
    twin: XTwin, make: Make, http: httpx2.AsyncClient, door: Any, clock: SharedTime
) -> None:
    seen: dict[str, dict[str, Any]] = {}

    async def note(request: httpx2.Request) -> None:
        seen[f"{request.method} {request.url.path}"] = dict(request.extensions)

    http.event_hooks = {"request": [note]}
    plugin = make(door=f"{door.url}/hooks/app")
    asked = twin.post("rita_ex", "@AcmeSupport hello")
    twin.direct_message("rita_ex", "AcmeSupport", "hello")
    public, private = answer(plugin, asked, "Hello"), answer(plugin, f"{BRAND}-{RITA}", "Hello", "direct_message")
    sent = await plugin.send(public, "k")
    message = await plugin.send(private, "k")
    for rendered in (public, private):
        await plugin.find(SendIntent(key="k", rendered=rendered, started_at=clock.now()))
    for each in (sent, message):
        await plugin.retract(each)
    await plugin.fetch([Wanted(ref=asked), Wanted(ref="dm:1"), Wanted(ref=asked, kind="thread")])
    await plugin.poll("mentions", None)
    await plugin.poll("dms", None)
    await plugin.install(dry_run=False)
    await plugin.check()

    buckets = {extensions[BUCKET] for extensions in seen.values()}
    assert {budget.bucket for budget in BUDGETS} == buckets - {"webhooks"}
    paid = {request: extensions[COST] for request, extensions in seen.items() if extensions[BUCKET] != "webhooks"}
    assert all(isinstance(cost, Decimal) and cost > 0 for cost in paid.values())
    assert paid["POST /2/tweets"] == Decimal("0.010")
    assert paid["GET /2/tweets"] == Decimal("0.005")
    scoped = {budget.bucket for budget in BUDGETS if budget.per_scope}
    for request, extensions in seen.items():
        assert (extensions.get(SCOPE) == BRAND) == (extensions[BUCKET] in scoped), request


@pytest.mark.parametrize(
    ("text", "price"),
    [("Hello", "0.010"), ("see https://example.com/help", "0.200"), ("see example.com", "0.200"), ("a.b", "0.010")],
)
def test_a_link_makes_a_reply_dear(text: str, price: str) -> None:
    assert reply_cost(text) == Decimal(price)


async def test_the_twin_bills_what_we_reckoned(twin: XTwin, make: Make) -> None:
    plugin = make()
    asked = twin.post("rita_ex", "@AcmeSupport hello")
    before = twin.wire.spent
    for number, text in enumerate(("Hello", "see https://example.com/help")):
        await plugin.send(answer(plugin, asked, text), str(number))
    assert twin.wire.spent - before == reply_cost("Hello") + reply_cost("https://example.com")


async def test_own_reads_are_cheap_for_the_owner(twin: XTwin, make: Make, http: httpx2.AsyncClient) -> None:
    costs: list[Decimal] = []

    async def note(request: httpx2.Request) -> None:
        costs.append(request.extensions[COST])

    http.event_hooks = {"request": [note]}
    twin.owner_user_id = BRAND
    twin.post("rita_ex", "@AcmeSupport hello")
    await make(app={"owner_user_id": BRAND}).poll("mentions", None)
    await make().poll("mentions", None)
    assert [cost / 100 for cost in costs] == [Decimal("0.001"), Decimal("0.005")]
    assert [charge.what for charge in twin.wire.charges] == ["post.read.owned"]


async def test_limits_are_read(twin: XTwin, make: Make, http: httpx2.AsyncClient) -> None:
    plugin = make()
    url, token = f"{twin.url}/2/users/me", "twin-user-token-1111111111111111111"
    response = await http.get(url, headers={"authorization": f"Bearer {token}"})
    (reading,) = plugin.limits_of(response, "users.me")
    assert (reading.bucket, reading.limit, reading.remaining) == ("users.me", 75, 74)
    assert reading.resets_at is not None
    assert plugin.limits_of(httpx2.Response(200), "users.me") == []


def test_an_app_instance_has_no_connection() -> None:
    plugin = XSource(Setup(time=SystemTime(), app=XApp(consumer_secret="c", bearer_token="b")))  # type: ignore[arg-type]
    with pytest.raises(RuntimeError):
        plugin.config  # noqa: B018 -- reading it is the test
