"""Subscriptions over REST, and events at a real receiver: at least once, signed, and nobody waits for anybody."""

from __future__ import annotations

import asyncio
import itertools
import socket
from collections.abc import AsyncIterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from uuid import UUID

import jsonschema
import pytest
from standardwebhooks import Webhook

from gateway.events.announce import announce
from gateway.events.tell import SCHEDULE, drop_old_events
from gateway.pipeline.drains import Drains
from gateway_schemas.time import SharedTime
from support.gateway import fresh_database, settings_for
from support.postgres import server_url  # noqa: F401  a fixture
from support.receiver import Hook, Receiver, receiving
from support.rest import Api, serving

TIMEOUT = 4.0
"""Seconds until a request is given up: a busy machine needs some for a request that is answered at once."""
_numbers = itertools.count(1)


@dataclass
class Desk:
    """A gateway, a receiver of its events, and the clock they go by."""

    api: Api
    receiver: Receiver
    clock: SharedTime
    drains: Drains
    connection: UUID

    async def subscribe(self, *kinds: str, path: str | None = None, **given: Any) -> dict[str, Any]:
        """A subscription of the receiver's path; named by its path."""
        path = path or f"p{next(_numbers)}"
        body = {
            "name": path,
            "url": f"{self.receiver.url}/{path}",
            "kinds": list(kinds) or ["connection.*"],
            "allow_private": [self.receiver.place],
            "connections": [str(self.connection)],
            **given,
        }
        return await self.api.made("/v1/subscriptions", **body)

    async def happens(self, reason: str = "slow", kind: str = "connection.unhealthy") -> None:
        """Something happens, and is announced in a transaction of its own."""
        runtime = self.api.runtime
        async with runtime.database.write() as connection:
            await announce(connection, kind, "connection", self.connection, {"reason": reason}, runtime.now())

    async def tell(self, made: dict[str, Any]) -> None:
        """Run the drain of a subscription, until what it set going has ended and nothing is due."""
        while True:
            await self.drains.run(f"tell:{made['id']}")
            if not self.drains.tellers.under_way:
                return
            while self.drains.tellers.under_way:
                await asyncio.sleep(0.005)

    async def read(self, made: dict[str, Any]) -> dict[str, Any]:
        """The subscription as it stands."""
        found: dict[str, Any] = (await self.api.http.get(f"/v1/subscriptions/{made['id']}")).json()
        return found

    async def deliveries(self, made: dict[str, Any]) -> list[dict[str, Any]]:
        """Its deliveries, oldest first."""
        answer = await self.api.http.get(f"/v1/subscriptions/{made['id']}/deliveries")
        found: list[dict[str, Any]] = answer.json()["items"]
        return found[::-1]

    async def post(self, made: dict[str, Any], what: str, **body: Any) -> dict[str, Any]:
        """Something that is done to a subscription."""
        answer = await self.api.http.post(f"/v1/subscriptions/{made['id']}/{what}", json=body or None)
        assert answer.is_success, answer.text
        found: dict[str, Any] = answer.json()
        return found

    def later(self, by: timedelta) -> None:
        """Time goes by."""
        self.clock.jump(self.clock.now() + by)


@pytest.fixture(scope="module")
async def desk(server_url: str, tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Desk]:  # noqa: F811
    """One gateway and one receiver for the tests of this file."""
    folder: Path = tmp_path_factory.mktemp("data")
    clock = SharedTime.create(folder / "time", at=datetime.now(UTC))
    async with (
        fresh_database(server_url) as url,
        serving(settings_for(url, folder, time_file=clock.path, event_timeout=TIMEOUT)) as api,
        receiving() as receiver,
    ):
        shout = await api.shout("channel")
        drains = Drains(api.runtime, api.runtime.sandbox)
        yield Desk(api, receiver, clock, drains, UUID(shout["id"]))
        await drains.tellers.stop(5.0)


async def test_an_event_arrives_signed_as_the_library_wants_it(desk: Desk) -> None:
    made = await desk.subscribe(path="signed")
    desk.clock.jump(datetime.now(UTC))
    await desk.happens("the token expires")
    await desk.tell(made)
    [hook] = desk.receiver.hooks["signed"]
    said = Webhook(made["secret"]).verify(hook.body, hook.headers)
    assert said == hook.document
    assert (said["type"], said["data"]["reason"]) == ("connection.unhealthy", "the token expires")
    assert said["data"]["connection_id"] == str(desk.connection)
    assert hook.headers["content-type"] == "application/json"
    [delivery] = await desk.deliveries(made)
    assert (delivery["state"], delivery["tries"], delivery["status"]) == ("delivered", 1, 204)
    assert delivery["event_id"] == hook.id
    await desk.tell(made)
    assert len(desk.receiver.hooks["signed"]) == 1


async def test_a_receiver_that_is_down_gets_it_once_it_is_up_under_the_same_id(desk: Desk) -> None:
    with socket.create_server(("127.0.0.1", 0)) as probe:
        port = probe.getsockname()[1]
    place = f"127.0.0.1:{port}"
    made = await desk.subscribe(path="down", url=f"http://{place}/down", allow_private=[place])
    await desk.happens()
    await desk.tell(made)
    [delivery] = await desk.deliveries(made)
    assert (delivery["state"], delivery["tries"], delivery["outcome"]) == ("pending", 1, "unreachable")
    due = datetime.fromisoformat(delivery["due_at"])
    assert timedelta(seconds=4) < due - desk.clock.now() < timedelta(seconds=6)
    desk.later(timedelta(seconds=7))
    await desk.tell(made)
    assert (await desk.deliveries(made))[0]["tries"] == 2
    async with receiving(port) as late:
        desk.later(timedelta(minutes=6))
        await desk.tell(made)
        [hook] = late.hooks["down"]
    [delivery] = await desk.deliveries(made)
    assert (hook.id, delivery["state"]) == (delivery["event_id"], "delivered")
    standing = await desk.read(made)
    assert (standing["failures"], standing["last_error"], standing["failing_since"]) == (0, None, None)


async def test_the_schedule_is_the_specifications_and_ends(desk: Desk) -> None:
    made = await desk.subscribe(path="stubborn")
    desk.receiver.answers["stubborn"] = 500
    await desk.happens()
    await desk.tell(made)
    for number, delay in enumerate(SCHEDULE, start=1):
        [delivery] = await desk.deliveries(made)
        assert delivery["tries"] == number
        wait = datetime.fromisoformat(delivery["due_at"]) - desk.clock.now()
        assert delay * 0.85 < wait <= delay * 1.1, f"after attempt {number}"
        desk.later(delay * 0.8)
        await desk.tell(made)
        assert len(desk.receiver.hooks["stubborn"]) == number, "too soon"
        desk.later(delay * 0.4)
        await desk.tell(made)
    [delivery] = await desk.deliveries(made)
    assert (delivery["state"], delivery["tries"]) == ("failed", 10)
    hooks = desk.receiver.hooks["stubborn"]
    assert len(hooks) == 10
    assert len({hook.id for hook in hooks}) == 1, "the same webhook-id each time"
    assert len({hook.body for hook in hooks}) == 1
    assert len({hook.headers["webhook-timestamp"] for hook in hooks}) == 10, "the attempt's own time"
    detail = await desk.api.http.get(f"/v1/subscriptions/{made['id']}/deliveries/{delivery['id']}")
    assert [one["status"] for one in detail.json()["attempts"]] == [500] * 10
    assert detail.json()["message"]["data"]["reason"] == "slow"
    assert (await desk.read(made))["state"] == "active", "three days are not five"


async def test_after_five_days_of_nothing_but_failures_it_is_disabled_and_others_are_told(desk: Desk) -> None:
    watch = await desk.subscribe("subscription.disabled", "alarm.raised", path="watch", connections=[])
    made = await desk.subscribe(path="dead")
    desk.receiver.answers["dead"] = 503
    await desk.happens("first")
    for _ in range(5 * 24 // 8):
        await desk.tell(made)
        desk.later(timedelta(hours=8))
    await desk.happens("second")
    await desk.tell(made)
    standing = await desk.read(made)
    assert standing["state"] == "disabled"
    assert "nothing but failures since" in standing["reason"]
    before = len(desk.receiver.hooks["dead"])
    await desk.happens("third")
    desk.later(timedelta(days=1))
    await desk.tell(made)
    assert len(desk.receiver.hooks["dead"]) == before, "it gets nothing any more"
    await desk.tell(watch)
    told = {hook.kind: hook.document["data"] for hook in desk.receiver.hooks["watch"]}
    assert told["subscription.disabled"]["subscription"] == "dead"
    assert told["subscription.disabled"]["reason"] == standing["reason"]
    assert told["alarm.raised"]["code"] == "subscription_disabled"
    # mended: what was due goes out, and what happened meanwhile on demand
    desk.receiver.answers["dead"] = 200
    desk.receiver.hooks["dead"].clear()
    assert (await desk.post(made, "resume", replay_missed=True))["state"] == "active"
    desk.later(timedelta(seconds=1))
    await desk.tell(made)
    got = [hook.document["data"]["reason"] for hook in desk.receiver.hooks["dead"]]
    # the first one may have had its last attempt by then
    assert sorted(set(got) - {"first"}) == ["second", "third"]
    assert len(set(got)) == len(got)


async def test_410_disables_at_once(desk: Desk) -> None:
    made = await desk.subscribe(path="gone")
    desk.receiver.answers["gone"] = 410
    await desk.happens()
    await desk.happens()
    await desk.tell(made)
    standing = await desk.read(made)
    assert standing["state"] == "disabled"
    assert "410" in standing["reason"]


async def test_a_pause_that_a_receiver_asks_for_is_kept_for_all_its_events(desk: Desk) -> None:
    made = await desk.subscribe(path="busy")

    async def busy(_: Hook) -> tuple[int, dict[str, str], bytes]:
        return 429, {"retry-after": "3600"}, b"not now"

    desk.receiver.answers["busy"] = busy
    await desk.happens()
    await desk.tell(made)
    asked = len(desk.receiver.hooks["busy"])
    desk.receiver.answers["busy"] = 200
    await desk.happens()
    desk.later(timedelta(minutes=50))
    await desk.tell(made)
    assert len(desk.receiver.hooks["busy"]) == asked == 1
    desk.later(timedelta(minutes=11))
    await desk.tell(made)
    assert [one["state"] for one in await desk.deliveries(made)] == ["delivered", "delivered"]
    [first, _] = [one["id"] for one in await desk.deliveries(made)]
    detail = (await desk.api.http.get(f"/v1/subscriptions/{made['id']}/deliveries/{first}")).json()
    assert detail["attempts"][0]["body"] == "not now"


async def test_a_redirect_is_not_followed(desk: Desk) -> None:
    made = await desk.subscribe(path="moved")

    async def elsewhere(_: Hook) -> tuple[int, dict[str, str], bytes]:
        return 307, {"location": f"{desk.receiver.url}/elsewhere"}, b""

    desk.receiver.answers["moved"] = elsewhere
    await desk.happens()
    await desk.tell(made)
    assert desk.receiver.hooks["elsewhere"] == []
    assert (await desk.deliveries(made))[0]["outcome"] == "redirected"


async def test_of_an_endless_answer_the_beginning_is_read(desk: Desk) -> None:
    made = await desk.subscribe(path="endless")

    async def endless(_: Hook) -> tuple[int, dict[str, str], bytes]:
        return 200, {"content-type": "text/plain"}, b"\x00ab" * 5_000_000

    desk.receiver.answers["endless"] = endless
    await desk.happens()
    await desk.tell(made)
    [delivery] = await desk.deliveries(made)
    assert delivery["state"] == "delivered"
    detail = (await desk.api.http.get(f"/v1/subscriptions/{made['id']}/deliveries/{delivery['id']}")).json()
    assert detail["attempts"][0]["body"] == ("\ufffdab" * 342)[:1024]


async def test_a_slow_receiver_holds_up_nobody(desk: Desk) -> None:
    slow, fast = await desk.subscribe(path="slow"), await desk.subscribe(path="fast")
    answer = asyncio.Event()

    async def wait(_: Hook) -> tuple[int, dict[str, str], bytes]:
        await answer.wait()
        return 200, {}, b""

    desk.receiver.answers["slow"] = wait
    for _ in range(10):
        await desk.happens()
    for _ in range(2):
        await desk.drains.run(f"tell:{slow['id']}")
    assert desk.drains.tellers.under_way == 8, "the drain waits for no answer: a worker has its hands free"

    async def told() -> None:
        while [one["state"] for one in await desk.deliveries(fast)] != ["delivered"] * 10:
            await desk.drains.run(f"tell:{fast['id']}")
            await asyncio.sleep(0.005)

    await asyncio.wait_for(told(), 60)
    assert len(desk.receiver.hooks["slow"]) <= 8, "it has few requests at once"
    assert [one["state"] for one in await desk.deliveries(slow)] == ["pending"] * 10
    await desk.tell(slow)  # they time out
    asked = len(desk.receiver.hooks["slow"])
    desk.later(timedelta(seconds=30))
    for _ in range(3):
        await desk.drains.run(f"tell:{slow['id']}")
    assert desk.drains.tellers.under_way == 1, "a failing one has a single request"
    async with asyncio.timeout(TIMEOUT):
        while len(desk.receiver.hooks["slow"]) == asked:
            await asyncio.sleep(0.005)
    answer.set()
    await desk.tell(slow)


async def test_rotation_signs_with_both_until_the_overlap_ends(desk: Desk) -> None:
    made = await desk.subscribe(path="rotating")
    new = await desk.post(made, "rotate-secret", overlap_hours=2)
    await desk.happens()
    await desk.tell(made)
    desk.later(timedelta(hours=2, minutes=1))
    await desk.happens()
    await desk.tell(made)
    both, alone = desk.receiver.hooks["rotating"]
    assert both.signed_by(made["secret"])
    assert both.signed_by(new["secret"])
    assert alone.signed_by(new["secret"])
    assert not alone.signed_by(made["secret"])
    # somebody has it: no overlap
    last = await desk.post(made, "rotate-secret", overlap_hours=0)
    await desk.happens()
    await desk.tell(made)
    hook = desk.receiver.hooks["rotating"][-1]
    assert hook.signed_by(last["secret"])
    assert not hook.signed_by(new["secret"])


async def test_replay_uses_the_same_ids_at_a_rate(desk: Desk) -> None:
    made, other = await desk.subscribe(path="replayed"), await desk.subscribe(path="bystander")
    begin = desk.clock.now()
    for number in range(3):
        await desk.happens(str(number))
        desk.later(timedelta(seconds=1))
    await desk.tell(made)
    await desk.tell(other)
    first = [hook.id for hook in desk.receiver.hooks["replayed"]]
    assert (await desk.post(made, "replay", since=begin.isoformat(), only="not_delivered"))["scheduled"] == 0
    scheduled = await desk.post(made, "replay", since=begin.isoformat(), per_minute=1)
    assert scheduled["scheduled"] == 3
    for _ in range(3):
        await desk.tell(made)
        desk.later(timedelta(seconds=61))
    again = [hook.id for hook in desk.receiver.hooks["replayed"]][3:]
    assert again == sorted(first), "one after another, oldest first"
    assert len(desk.receiver.hooks["bystander"]) == 3
    one = await desk.post(made, "replay", ids=[first[1]])
    assert one["scheduled"] == 1
    assert (await desk.post(made, "replay", ids=[first[1]]))["scheduled"] == 0, "it is on its way already"
    await desk.tell(made)
    assert desk.receiver.hooks["replayed"][-1].id == first[1]
    assert max(one["replays"] for one in await desk.deliveries(made)) == 2
    refused = await desk.api.http.post(f"/v1/subscriptions/{made['id']}/replay", json={})
    assert refused.status_code == 422


async def test_replay_gives_nothing_that_was_not_asked_for(desk: Desk) -> None:
    other = await desk.api.shout("private-channel")
    begin = desk.clock.now()
    all_ = await desk.subscribe(path="everything", connections=[])
    made = await desk.subscribe(path="narrow", connections=[other["id"]])
    await desk.happens()
    await desk.tell(all_)
    [event] = [hook.id for hook in desk.receiver.hooks["everything"]]
    assert (await desk.post(made, "replay", since=begin.isoformat()))["scheduled"] == 0
    assert (await desk.post(made, "replay", ids=[event]))["scheduled"] == 0


async def test_a_test_call_tells_what_the_receiver_answered(desk: Desk) -> None:
    made = await desk.subscribe("reply.*", path="tried")

    async def answer(_: Hook) -> tuple[int, dict[str, str], bytes]:
        return 418, {}, b"short and stout"

    desk.receiver.answers["tried"] = answer
    tested = await desk.post(made, "test")
    assert (tested["ok"], tested["status"], tested["body"]) == (False, 418, "short and stout")
    assert tested["milliseconds"] >= 0
    standing = await desk.read(made)
    assert (standing["failures"], standing["pending"]) == (0, 0)
    desk.receiver.answers["tried"] = 200
    await desk.post(made, "pause", reason="moving house")
    tested = await desk.post(made, "test")
    assert tested["ok"]
    hooks = desk.receiver.hooks["tried"]
    assert [hook.kind for hook in hooks] == ["subscription.test"] * 2
    assert hooks[1].id == tested["event_id"]
    assert all(hook.signed_by(made["secret"]) for hook in hooks)
    assert hooks[0].document["data"]["host"] == "127.0.0.1"


async def test_a_paused_one_keeps_what_was_due_and_gets_nothing_of_meanwhile(desk: Desk) -> None:
    made = await desk.subscribe(path="paused")
    await desk.happens("before")
    paused = await desk.post(made, "pause", reason="moving house")
    assert (paused["state"], paused["pending"]) == ("paused", 1)
    assert paused["reason"].endswith("moving house")
    await desk.happens("meanwhile")
    await desk.tell(made)
    assert desk.receiver.hooks["paused"] == []
    await desk.post(made, "resume")
    await desk.tell(made)
    assert [hook.document["data"]["reason"] for hook in desk.receiver.hooks["paused"]] == ["before"]


REFUSED = [
    ("http://example.com/in", "not https"),
    ("ftp://example.com/in", "no absolute https URL"),
    ("https:///in", "no absolute https URL"),
    ("https://me:secret@example.com/", "credentials"),
    ("https://example.com/#part", "fragment"),
    ("https://127.0.0.1/", "loopback"),
    ("https://[::1]/", "loopback"),
    ("https://[::ffff:10.0.0.1]/", "private"),
    ("https://169.254.169.254/latest/meta-data", "link-local"),
    ("https://exa mple.com/", "no URL"),
]


@pytest.mark.parametrize(("url", "said"), REFUSED)
async def test_urls_that_are_refused_when_saved(desk: Desk, url: str, said: str) -> None:
    body = {"name": "refused", "url": url, "kinds": ["*"]}
    answer = await desk.api.http.post("/v1/subscriptions", json=body)
    assert answer.status_code == 422
    [error] = answer.json()["errors"]
    assert error["field"] == "url"
    assert said in error["message"]


async def test_a_name_that_leads_inside_is_refused_when_told(desk: Desk) -> None:
    port = desk.receiver.place.rpartition(":")[2]
    made = await desk.subscribe(path="inside", url=f"https://localhost:{port}/inside", allow_private=[])
    await desk.happens()
    await desk.tell(made)
    [delivery] = await desk.deliveries(made)
    assert (delivery["state"], delivery["outcome"]) == ("pending", "not_allowed")
    assert "loopback" in delivery["reason"]
    assert desk.receiver.hooks["inside"] == []
    tested = await desk.post(made, "test")
    assert (tested["ok"], tested["outcome"]) == (False, "not_allowed")


async def test_what_a_key_may_not_do_by_itself(desk: Desk) -> None:
    key = (await desk.api.made("/v1/keys", name="subs", scopes=["subscriptions"]))["key"]
    async with desk.api.caller(key) as http:
        body: dict[str, Any] = {"name": "mine", "url": "https://hooks.example.com/in", "kinds": ["reply.*"]}
        for extra, said in (({"include_text": True}, "include_text"), ({"allow_private": ["10.0.0.0/8"]}, "admin")):
            answer = await http.post("/v1/subscriptions", json={**body, **extra})
            assert answer.status_code == 403
            assert said in answer.json()["detail"]
        made = await http.post("/v1/subscriptions", json=body)
        assert made.status_code == 201
        id = made.json()["id"]
        texts = await desk.api.http.patch(f"/v1/subscriptions/{id}", json={"include_text": True})
        assert texts.json()["include_text"]
        # where texts go is for somebody who may read them to say
        answer = await http.patch(f"/v1/subscriptions/{id}", json={"url": "https://elsewhere.example.com/"})
        assert answer.status_code == 403
    await desk.api.http.delete(f"/v1/subscriptions/{id}")


async def test_changes_names_and_kinds(desk: Desk) -> None:
    made = await desk.subscribe("reply.*", path="changed")
    http, path = desk.api.http, f"/v1/subscriptions/{made['id']}"
    assert "secret" not in await desk.read(made)
    assert made["secret"] not in (await http.get("/v1/subscriptions?limit=200")).text
    read = await http.get(path)
    changed = await http.patch(path, json={"kinds": ["*", "*"]}, headers={"If-Match": read.headers["etag"]})
    assert changed.json()["kinds"] == ["*"]
    stale = await http.patch(path, json={"kinds": ["reply.*"]}, headers={"If-Match": read.headers["etag"]})
    assert stale.status_code == 412
    answer = await http.patch(path, json={"kinds": ["reply.hold"]})
    assert (answer.status_code, answer.json()["errors"][0]["field"]) == (422, "kinds")
    twice = await http.post("/v1/subscriptions", json={"name": "changed", "url": "https://a.example/", "kinds": ["*"]})
    assert (twice.status_code, twice.json()["errors"][0]["field"]) == (409, "name")
    nobody = await http.post(
        "/v1/subscriptions", json={"name": "x", "url": "https://a.example/", "kinds": ["*"], "brands": ["nobody"]}
    )
    assert nobody.json()["errors"][0]["field"] == "brands"
    assert (await http.delete(path)).status_code == 204
    assert (await http.get(path)).status_code == 404
    assert (await http.post(f"{path}/test")).status_code == 404


async def test_kinds_are_listed_with_schemas_that_what_is_sent_keeps(desk: Desk) -> None:
    listed = {one["kind"]: one for one in (await desk.api.http.get("/v1/event-kinds")).json()["items"]}
    made = await desk.subscribe("*", path="schemas")
    await desk.happens()
    await desk.post(made, "test")
    await desk.tell(made)
    hooks = desk.receiver.hooks["schemas"]
    assert {hook.kind for hook in hooks} == {"connection.unhealthy", "subscription.test"}
    for hook in hooks:
        schema = {**listed[hook.kind]["json_schema"], "additionalProperties": False}
        jsonschema.validate(hook.document, schema, cls=jsonschema.Draft202012Validator)


async def test_old_events_are_dropped_with_their_deliveries(desk: Desk) -> None:
    made = await desk.subscribe(path="old")
    await desk.happens()
    await desk.tell(made)
    begin = desk.clock.now()
    desk.later(timedelta(seconds=1))
    await desk.happens()
    assert await drop_old_events(desk.api.runtime.database, begin, at_once=7) > 0
    [left] = await desk.deliveries(made)
    assert left["state"] == "pending"


async def test_a_worker_that_dies_between_sending_and_recording_sends_it_again_under_the_same_id(desk: Desk) -> None:
    made = await desk.subscribe(path="lost")
    await desk.happens()
    runtime = desk.api.runtime
    dying = Drains(runtime, runtime.sandbox)
    arrived = asyncio.Event()

    async def hang(_: Hook) -> tuple[int, dict[str, str], bytes]:
        arrived.set()
        await asyncio.sleep(60)
        return 200, {}, b""

    desk.receiver.answers["lost"] = hang
    await dying.run(f"tell:{made['id']}")
    await arrived.wait()
    await dying.tellers.stop(0.0)
    desk.receiver.answers["lost"] = 200
    await desk.tell(made)
    assert len(desk.receiver.hooks["lost"]) == 1, "until the deadline nobody touches it"
    await desk.api.execute(
        "UPDATE event_delivery SET deadline_at = clock_timestamp() - interval '1 s' WHERE state = 'pending'"
    )
    await desk.tell(made)
    hooks = desk.receiver.hooks["lost"]
    assert len(hooks) == 2
    assert hooks[0].id == hooks[1].id
