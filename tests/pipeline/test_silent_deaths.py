"""Promise 11: a channel cannot die silently. Each of these ways to stop is found within ten minutes of simulated time,
with its reason; what was missed is polled, once; and the channel is well again when it is mended."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Sequence
from dataclasses import dataclass
from datetime import timedelta
from itertools import zip_longest
from pathlib import Path
from typing import Any

import pytest

from gateway.db.database import as_json
from gateway.engine.leases import LeaseLost
from gateway.health.expectation import Expectation
from gateway.health.probe import look
from gateway_schemas.testing.twin import Fault
from support.channels import FOUR, TOPIC, Channels, channels

WITHIN = 10
OTHERS = ("google", "email", "forum")
SAMPLE: tuple[int, ...] = ()


@pytest.fixture(scope="module")
async def scene(server_url: str, tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Channels]:
    """Four channels, proven; each test leaves them well."""
    folder: Path = tmp_path_factory.mktemp("channels")
    async with channels(server_url, folder) as made:
        yield made


@pytest.fixture(scope="module")
async def others(server_url: str, tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Channels]:
    """Three more, of which one pushes by a topic, one is followed by a stream, and one can only be heard."""
    folder: Path = tmp_path_factory.mktemp("others")
    async with channels(server_url, folder, OTHERS) as made:
        yield made


async def test_what_flows_proves_every_channel(scene: Channels) -> None:
    for name in scene.ids:
        health = await scene.health(name)
        assert health["state"] == "proven", (name, health)
        assert scene.told(name) == scene.written[name]


Act = Callable[[Channels], Any]


@dataclass(frozen=True)
class Death:
    """One way a channel stops silently."""

    name: str
    channel: str
    strike: Act
    codes: tuple[str, ...]
    """The reasons that may be given: what is found first depends on the minute."""
    mend: Act
    polled: bool = True
    """Whether polling can repair it while it lasts."""


def x_webhook(scene: Channels) -> Any:
    """X's record of our callback."""
    return next(iter(scene.x.events.webhooks.values()))


def x_unsubscribe(scene: Channels, type: str) -> None:
    """X loses one kind of event."""
    for one in [one for one in scene.x.events.subscriptions.values() if one.event_type == type]:
        scene.x.events.drop(one)


async def rotate_at_x(scene: Channels) -> None:
    """An admin made a new secret at X and did not enter it here."""
    scene.x.consumer_secret = f"{scene.x.consumer_secret}-rotated"


async def enter_at_gateway(scene: Channels) -> None:
    """The admin enters it."""
    answer = await scene.http.patch(
        f"/v1/apps/{scene.apps['x']}", json={"config": {"consumer_secret": scene.x.consumer_secret}}
    )
    assert answer.is_success, answer.text
    scene.gateway.runtime.connections.forget(scene.ids["x"])


def x_token(scene: Channels) -> Any:
    """The account's token at X."""
    return scene.x.state.tokens[scene.x.state.user("AcmeSupport").token]


async def authorise(scene: Channels, channel: str, token: str) -> None:
    """The admin authorises the account again."""
    answer = await scene.http.patch(f"/v1/connections/{scene.ids[channel]}", json={"config": {"access_token": token}})
    assert answer.is_success, answer.text
    scene.gateway.runtime.connections.forget(scene.ids[channel])


def x_revoke(scene: Channels) -> None:
    """The account takes the access away, and X tells nobody."""
    x_token(scene).expires_at = scene.clock.now()


async def x_authorise(scene: Channels) -> None:
    """And gives it back."""
    x_token(scene).expires_at = None
    await authorise(scene, "x", scene.x.state.user("AcmeSupport").token)


def meta_webhook(scene: Channels) -> Any:
    """Meta's record of our callback."""
    return scene.meta.state.webhooks["page"]


def meta_move(scene: Channels) -> None:
    """Somebody gave the App's callback to another system."""
    meta_webhook(scene).callback_url = f"{scene.desk.url}/elsewhere"


def meta_move_back(scene: Channels) -> None:
    """And takes it away there."""
    meta_webhook(scene).callback_url = f"{scene.gateway.url}/hooks/{scene.apps['meta']}"


def meta_expire(scene: Channels) -> None:
    """The Page's token ends."""
    scene.meta.expire_tokens("acme")


async def meta_authorise(scene: Channels) -> None:
    """A new one is given."""
    token = scene.meta.state.tokens[scene.meta.state.account("acme").token]
    token.expires_at = None
    await authorise(scene, "meta", scene.meta.state.account("acme").token)


def hold_lane(scene: Channels) -> None:
    """The process that polls hangs and its lease is kept alive: nobody else polls."""
    scene.halted.add(f"poll:{scene.ids['mastodon']}:notifications")


def free_lane(scene: Channels) -> None:
    """It is restarted."""
    scene.halted.clear()


async def stick_cursor(scene: Channels) -> None:
    """The server was restored from a backup: its ids go on from before the one that polling has reached."""
    await scene.gateway.execute(
        """UPDATE cursor SET cursor = '{"after": "999999999999999999", "safe": "999999999999999999"}'
           WHERE connection_id = :id AND stream = 'notifications'""",
        id=scene.ids["mastodon"],
    )


def starve(scene: Channels) -> None:
    """Somebody else uses the account's token, and the server has it wait."""
    until = (scene.clock.now() + timedelta(minutes=25)).isoformat()
    headers = {"x-ratelimit-limit": "300", "x-ratelimit-remaining": "0", "x-ratelimit-reset": until}
    scene.mastodon.faults.append(Fault("status_before", "/api/", status=429, headers=headers, times=None))


def delete_topic(scene: Channels) -> None:
    """Somebody tidies up the Google project."""
    del scene.google.state.topics[TOPIC]


async def make_topic(scene: Channels) -> None:
    """And makes the topic again, and its subscription."""
    scene.google.add_topic(TOPIC)
    scene.subscribe()
    await scene.install("google")


def end_waiting(scene: Channels) -> None:
    """The mail server was updated: it ends every connection and lets nobody wait any more."""
    scene.email.faults.append(Fault("status_before", "IDLE", "IMAP", body=b"NO [UNAVAILABLE] not now", times=None))
    scene.email.break_off()


async def learn_to_expect(scene: Channels) -> None:
    """Three weeks have taught that the forum never rests; then its sender stands still, and all waits in its queue."""
    hour = scene.clock.now().replace(minute=0, second=0, microsecond=0) + timedelta(hours=1)
    expectation = Expectation()
    for number in range(21 * 24, 0, -1):
        expectation.learn(hour - timedelta(hours=number), 600)
    await expect(scene, expectation)
    scene.forum.webhooks.paused = True


async def expect_nothing(scene: Channels) -> None:
    """Its sender works again; what three weeks have taught is for this death alone."""
    await expect(scene, Expectation())
    scene.forum.webhooks.paused = False


async def expect(scene: Channels, expectation: Expectation) -> None:
    """What is expected of the forum."""
    await scene.gateway.execute(
        "UPDATE channel_health SET expectation = CAST(:learnt AS jsonb) WHERE connection_id = :id",
        id=scene.ids["forum"],
        learnt=as_json(expectation.as_document()),
    )


DEATHS = [
    Death(
        "the webhook is deleted at the provider",
        "x",
        lambda scene: scene.x.events.webhooks.pop(x_webhook(scene).id),
        ("webhook_missing",),
        lambda scene: scene.install("x"),
    ),
    Death(
        "the secret was rotated at the provider and every delivery is refused",
        "x",
        rotate_at_x,
        ("signature_refused",),
        enter_at_gateway,
    ),
    Death(
        "all subscriptions of the account are lost",
        "x",
        lambda scene: scene.x.drop_subscriptions("AcmeSupport"),
        ("subscription_missing",),
        lambda scene: scene.install("x"),
    ),
    Death(
        "events of one kind are unsubscribed",
        "x",
        lambda scene: x_unsubscribe(scene, "post.mention.create"),
        ("subscription_missing",),
        lambda scene: scene.install("x"),
    ),
    Death(
        "the webhook failed a challenge and is out of force",
        "x",
        lambda scene: setattr(x_webhook(scene), "valid", False),
        ("webhook_invalid",),
        lambda scene: scene.install("x"),
    ),
    Death(
        "the provider has everything in order and delivers nothing",
        "x",
        lambda scene: setattr(scene.x.webhooks, "drop", 1.0),
        ("push_silent",),
        lambda scene: setattr(scene.x.webhooks, "drop", 0.0),
    ),
    Death(
        "the account's token is revoked and nobody is told",
        "x",
        x_revoke,
        ("needs_authorisation",),
        x_authorise,
        polled=False,
    ),
    Death(
        "the Page is unlinked from the App",
        "meta",
        lambda scene: scene.meta.drop_subscriptions("acme"),
        ("subscription_missing",),
        lambda scene: scene.install("meta"),
    ),
    Death(
        "the App's webhook points to another host",
        "meta",
        meta_move,
        ("webhook_elsewhere",),
        meta_move_back,
    ),
    Death(
        "the App's webhook is switched off after failures",
        "meta",
        lambda scene: setattr(meta_webhook(scene), "active", False),
        ("webhook_inactive",),
        lambda scene: scene.install("meta"),
    ),
    Death(
        "the token expires",
        "meta",
        meta_expire,
        ("token_refused", "needs_authorisation"),
        meta_authorise,
        polled=False,
    ),
    Death(
        "a permission is taken from the token",
        "meta",
        lambda scene: scene.meta.scopes("acme").discard("pages_read_user_content"),
        ("permission_missing", "poll_failing"),
        lambda scene: scene.meta.scopes("acme").add("pages_read_user_content"),
        polled=False,
    ),
    Death(
        "the cursor stands beyond everything that will ever come",
        "mastodon",
        stick_cursor,
        ("gap",),
        lambda scene: None,
    ),
    Death(
        "our own worker of the lane stands still",
        "mastodon",
        hold_lane,
        ("poll_stalled",),
        free_lane,
        polled=False,
    ),
    Death(
        "the account is suspended",
        "mastodon",
        lambda scene: setattr(scene.mastodon.state.account("acme"), "suspended", True),
        ("suspended", "http_403"),
        lambda scene: setattr(scene.mastodon.state.account("acme"), "suspended", False),
        polled=False,
    ),
    Death(
        "the server has the account wait for half an hour",
        "mastodon",
        starve,
        ("starved",),
        lambda scene: scene.mastodon.faults.clear(),
        polled=False,
    ),
    Death(
        "the topic of the notifications is deleted",
        "google",
        delete_topic,
        ("topic_missing",),
        make_topic,
    ),
    Death(
        "Google may not publish on the topic any more",
        "google",
        lambda scene: setattr(scene.google.state.topics[TOPIC], "open", False),
        ("topic_closed",),
        lambda scene: setattr(scene.google.state.topics[TOPIC], "open", True),
    ),
    Death(
        "the topic's subscription is deleted",
        "google",
        lambda scene: scene.google.state.topics[TOPIC].subscriptions.clear(),
        ("push_silent",),
        lambda scene: scene.subscribe(),
    ),
    Death(
        "the mail server lets nobody wait for mail",
        "email",
        end_waiting,
        ("stream_down",),
        lambda scene: scene.email.faults.clear(),
    ),
    Death(
        "the connection that waits for mail is dead, and nobody says so",
        "email",
        lambda scene: setattr(scene.email, "deaf", True),
        ("stream_silent",),
        lambda scene: setattr(scene.email, "deaf", False),
    ),
    Death(
        "a system that can only be heard says nothing",
        "forum",
        learn_to_expect,
        ("silent",),
        expect_nothing,
        polled=False,
    ),
    Death(
        "the feed is gone for good",
        "feed",
        lambda scene: setattr(scene.feed.site("blog"), "gone", True),
        ("feed_gone",),
        lambda scene: setattr(scene.feed.site("blog"), "gone", False),
        polled=False,
    ),
]


async def done(result: Any) -> None:
    """Some acts take a call."""
    if isinstance(result, Awaitable):
        await result


def rounds(channels: Sequence[str]) -> Iterator[Any]:
    """One death a channel at a time: they know nothing of each other. `make test` meets some, `make torture` all."""
    lines = [[one for one in DEATHS if one.channel == channel] for channel in channels]
    for number, row in enumerate(zip_longest(*lines)):
        deaths = tuple(one for one in row if one is not None)
        name = " · ".join(one.name for one in deaths)
        marks = [pytest.mark.timeout(600), *(() if number in SAMPLE else (pytest.mark.torture,))]
        yield pytest.param(deaths, id=name, marks=marks)


@pytest.mark.parametrize("deaths", list(rounds(FOUR)))
async def test_promise_11_a_silent_death_is_found_and_repaired(scene: Channels, deaths: tuple[Death, ...]) -> None:
    await die(scene, deaths)


@pytest.mark.parametrize("deaths", list(rounds(OTHERS)))
async def test_promise_11_so_is_that_of_a_topic_a_stream_and_what_is_only_heard(
    others: Channels, deaths: tuple[Death, ...]
) -> None:
    await die(others, deaths)


async def die(scene: Channels, deaths: Sequence[Death]) -> None:
    """Each is struck, found, repaired and mended, and nothing is there twice."""
    for death in deaths:
        scene.write(death.channel)
    await scene.minute(2)
    for death in deaths:
        await done(death.strike(scene))
        scene.write(death.channel)
        scene.write(death.channel)
    try:
        await found_in_time(scene, deaths)
        for death in deaths:
            if death.polled:
                assert sorted(scene.told(death.channel)) == sorted(scene.written[death.channel]), (
                    f"{death.name}: polled, once"
                )
    finally:
        for death in deaths:
            await done(death.mend(scene))
            scene.write(death.channel)  # what is pushed again shows that pushing works again
    for death in deaths:
        await scene.until(death.channel, "proven", 30)
    await all_is_well(scene)


async def found_in_time(scene: Channels, deaths: Sequence[Death]) -> None:
    """Every one of them is found, with its reason, and those who subscribed are told of it once."""
    open = list(deaths)
    for passed in range(1, WITHIN + 1):
        await scene.minute()
        for death in list(open):
            health = await scene.health(death.channel)
            if health["state"] == "unhealthy":
                assert health["reason"]["code"] in death.codes, (death.name, health)
                assert health["reason"]["mend"]
                print(f"{passed:2} min  {death.channel:9} {health['reason']['code']:22} {death.name}")
                open.remove(death)
    assert not open, [(death.name, await scene.health(death.channel)) for death in open]
    await scene.minute(2)


async def all_is_well(scene: Channels) -> None:
    """Whatever is written now arrives, everything is there once, and every channel is proven."""
    for name in scene.ids:
        scene.write(name)
    for _ in range(6):
        await scene.minute(by=3)
        if all(len(scene.told(name)) >= len(scene.written[name]) for name in scene.ids):
            break
    for name in scene.ids:
        assert sorted(scene.told(name)) == sorted(scene.written[name]), "everything is there, once"
        health = await scene.health(name)
        assert health["state"] == "proven", (name, health)


@pytest.mark.torture
@pytest.mark.timeout(600)
async def test_a_look_at_the_moment_of_a_poll_does_not_hide_what_it_brought(scene: Channels) -> None:
    """It reads what was there before; the next one would come only five minutes later, and conviction after the ten."""
    await scene.minute()
    await rotate_at_x(scene)
    scene.write("x")
    scene.write("x")
    for table in ("cursor", "channel_health"):
        await scene.gateway.execute(
            f"UPDATE {table} SET next_at = :at WHERE connection_id = :id",
            at=scene.clock.now() + timedelta(minutes=4),
            id=scene.ids["x"],
        )
    passed, health = await scene.until("x", "unhealthy", WITHIN)
    assert (health["reason"]["code"], passed < WITHIN - 1) == ("signature_refused", True), passed
    await enter_at_gateway(scene)
    scene.write("x")
    await scene.until("x", "proven", 30)
    await all_is_well(scene)


# what is told, and what is not


async def subscribe(scene: Channels) -> None:
    """Somebody wants to hear of connections."""
    await scene.gateway.execute(
        """INSERT INTO subscription (id, name, url, description, kinds, brands, connections, include_text,
               allow_private, state, failures, version, created_by, created_at, updated_at)
           VALUES (gen_random_uuid(), 'on call', 'https://pager.example/in', '', '{connection.*}', '{}', '{}',
               false, '{}', 'disabled', 0, 1, 'test', :now, :now) ON CONFLICT DO NOTHING""",
        now=scene.clock.now(),
    )


async def events(scene: Channels, channel: str) -> list[tuple[str, str | None]]:
    """What was told of a channel, with the reason."""
    rows = await scene.gateway.rows(
        "SELECT kind, data FROM event WHERE subject_id = :id ORDER BY id", id=scene.ids[channel]
    )
    return [(row["kind"], row["data"].get("code")) for row in rows]


def incident_tickets(scene: Channels) -> list[Any]:
    """Those at the helpdesk that tell of a channel."""
    return [one for one in scene.desk.tickets.values() if one.subject.startswith("The channel ")]


async def test_an_incident_is_told_once_and_has_one_ticket_which_is_solved_at_its_end(scene: Channels) -> None:
    await subscribe(scene)
    url = f"/v1/connections/{scene.ids['meta']}"
    assert (await scene.http.patch(url, json={"health_ticket": True})).json()["health_ticket"] is True
    scene.meta.drop_subscriptions("acme")
    _, health = await scene.until("meta", "unhealthy", WITHIN)
    await scene.minute(6)
    [ticket] = incident_tickets(scene)
    assert health["ticket"] is not None
    assert "subscription_missing" in ticket.subject
    assert not any(comment.public for comment in ticket.comments)
    assert "install again" in ticket.comments[0].body
    assert await events(scene, "meta") == [("connection.unhealthy", "subscription_missing")]
    scene.desk.change(ticket.id, {"assignee_id": scene.desk.agent("Ann"), "status": "open"}, "Ann")
    # it gets worse: the same incident, a note more
    scene.meta.expire_tokens("acme")
    await scene.minute(7)
    assert (await scene.health("meta"))["reason"]["code"] in ("token_refused", "needs_authorisation")
    assert len(incident_tickets(scene)) == 1
    assert len(ticket.comments) >= 2
    await meta_authorise(scene)
    await scene.install("meta")
    await scene.until("meta", "proven", 10)
    await scene.minute(2)
    assert [one.status for one in incident_tickets(scene)] == ["solved"]
    assert "gw_channel" not in ticket.tags
    assert [kind for kind, _ in await events(scene, "meta")] == ["connection.unhealthy", "connection.recovered"]
    assert (await scene.http.patch(url, json={"health_ticket": False})).is_success
    await all_is_well(scene)


@pytest.mark.torture
async def test_a_look_that_lost_its_lease_writes_nothing_and_its_successor_everything_once(scene: Channels) -> None:
    await subscribe(scene)
    runtime, id = scene.gateway.runtime, scene.ids["x"]
    told = len(await events(scene, "x"))
    scene.x.drop_subscriptions("AcmeSupport")
    await scene.gateway.execute(
        """UPDATE channel_health SET state = 'suspect', bad = 1, code = 'c', weight = 'definite', message = 'm',
               mend = 'm', concern = 'push', suspected_at = :now, next_at = :now WHERE connection_id = :id""",
        id=id,
        now=scene.clock.now(),
    )
    endpoint = (await runtime.connections.load([id]))[id]
    stalled = await runtime.leases.take(f"probe:{id}")
    assert stalled is not None
    await runtime.leases.bury(runtime.owner)
    successor = await runtime.leases.take(f"probe:{id}")
    assert successor is not None
    before = await scene.health("x")
    with pytest.raises(LeaseLost):
        await look(runtime, endpoint, stalled)
    assert await scene.health("x") == before
    await look(runtime, endpoint, successor)
    await look(runtime, endpoint, successor)  # woken twice: there is nothing due any more
    await runtime.leases.give_back(successor)
    assert (await scene.health("x"))["state"] == "unhealthy"
    assert len(await events(scene, "x")) == told + 1
    await scene.install("x")
    await scene.until("x", "proven", 10)
    await all_is_well(scene)


@pytest.mark.torture
async def test_what_a_person_paused_is_neither_probed_nor_alarmed(scene: Channels) -> None:
    url = f"/v1/connections/{scene.ids['meta']}"
    assert (await scene.http.post(f"{url}/pause?direction=in")).is_success
    scene.gateway.runtime.connections.forget(scene.ids["meta"])
    asked = len(scene.meta.requests)
    scene.meta.drop_subscriptions("acme")
    await scene.minute(WITHIN)
    assert (await scene.health("meta"))["state"] == "proven"
    assert len(scene.meta.requests) == asked
    assert (await scene.http.post(f"{url}/resume?direction=in")).is_success
    scene.gateway.runtime.connections.forget(scene.ids["meta"])
    await scene.until("meta", "unhealthy", WITHIN)
    await scene.install("meta")
    await scene.until("meta", "proven", 10)
    await all_is_well(scene)


async def test_probes_cost_nothing_where_calls_are_paid(scene: Channels) -> None:
    """X charges for what is read; its webhooks and subscriptions are looked up for nothing."""
    before = await scene.gateway.value("SELECT COALESCE(sum(usd), 0) FROM budget_cost")
    polls = sum(path.endswith("/mentions") for _, path, _ in scene.x.requests)
    await scene.gateway.execute("UPDATE cursor SET next_at = next_at + interval '1 hour'")
    probes = sum(path == "/2/webhooks" for _, path, _ in scene.x.requests)
    await scene.minute(30)
    assert sum(path == "/2/webhooks" for _, path, _ in scene.x.requests) - probes in range(5, 8)
    assert sum(path.endswith("/mentions") for _, path, _ in scene.x.requests) == polls
    await scene.gateway.runtime.outgoing.ledger.flush()
    assert await scene.gateway.value("SELECT COALESCE(sum(usd), 0) FROM budget_cost") == before
    await scene.gateway.execute("UPDATE cursor SET next_at = next_at - interval '1 hour'")
