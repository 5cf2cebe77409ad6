"""The twin tells whom X would tell, signs it, repeats it, replays it; and holds thousands of posts."""

from __future__ import annotations

import asyncio
import base64
import hashlib
import hmac
import json
import time as real_time
import unicodedata
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path
from typing import Any

import httpx2
import pytest

from gateway_schemas.interaction import Deletion
from gateway_schemas.time import SharedTime
from gateway_x.plugin import XSource
from gateway_x.twin import XTwin

Make = Callable[..., XSource]
Ask = Callable[..., Any]
BRAND, RITA = "1111111111111111111", "2222222222222222222"
CONVERSATIONS = Path(__file__).parents[5] / "shared" / "data" / "conversations.jsonl"


@pytest.fixture
def ask(twin: XTwin, http: httpx2.AsyncClient) -> Ask:
    """Calls the twin with the brand's token, or another one."""

    async def ask(method: str, path: str, token: str | None = None, **request: Any) -> tuple[int, Any]:
        token = token if token is not None else f"twin-user-token-{BRAND}"
        headers = {"authorization": f"Bearer {token}"} if token else {}
        response = await http.request(method, twin.url + path, headers=headers, **request)
        return response.status_code, response.json()

    return ask


def types(door: Any) -> list[str]:
    events = [json.loads(delivery.body) for delivery in door.deliveries]
    return sorted(event["data"]["event_type"] for event in events)


# who is told what


@pytest.mark.parametrize(
    ("action", "told"),
    [
        (lambda twin, own: twin.post("rita_ex", "acme is slow"), []),
        (lambda twin, own: twin.post("rita_ex", "@ACMEsupport is slow"), ["post.mention.create"]),
        (lambda twin, own: twin.post("rita_ex", "mail me@acmesupport.example or @acmesupportive"), []),
        (lambda twin, own: twin.post("rita_ex", "why?", in_reply_to=own), ["post.reply.create"]),
        (
            lambda twin, own: twin.post("rita_ex", "@AcmeSupport why?", in_reply_to=own),
            ["post.mention.create", "post.reply.create"],
        ),
        (
            lambda twin, own: twin.post("rita_ex", "@AcmeSupport why?", in_reply_to=own, implicit=True),
            ["post.reply.create"],
        ),
        (
            lambda twin, own: twin.post("rita_ex", "@AcmeSupport why, @AcmeSupport?", in_reply_to=own, implicit=True),
            ["post.mention.create", "post.reply.create"],
        ),
        (lambda twin, own: twin.post("rita_ex", "look", quote=own), ["post.quote.create"]),
        (
            lambda twin, own: twin.post("rita_ex", "deeper", in_reply_to=twin.post("omar_q", "x", in_reply_to=own)),
            ["post.reply.create"],
        ),
        (lambda twin, own: twin.post("AcmeSupport", "more news"), ["post.create"]),
        (lambda twin, own: twin.post("AcmeSupport", "@AcmeSupport thread", in_reply_to=own), ["post.create"]),
        (lambda twin, own: twin.edit(own, "news!"), ["post.create"]),
        (lambda twin, own: twin.delete(own), ["post.delete"]),
        (lambda twin, own: twin.delete(twin.post("rita_ex", "gone")), []),
        (lambda twin, own: twin.post("closed", "@AcmeSupport hi"), []),
        (lambda twin, own: twin.direct_message("rita_ex", "AcmeSupport", "hi"), ["dm.received"]),
        (lambda twin, own: twin.direct_message("AcmeSupport", "rita_ex", "hi"), ["dm.sent"]),
        (lambda twin, own: twin.direct_message("rita_ex", "omar_q", "hi"), []),
        (lambda twin, own: twin.revoke("AcmeSupport"), ["oauth.revoke"]),
    ],
)
async def test_who_is_told(twin: XTwin, installed: Any, action: Callable[[XTwin, str], Any], told: list[str]) -> None:
    twin.add_user("omar_q")
    twin.add_user("closed", protected=True)
    own = twin.post("AcmeSupport", "news")
    await twin.settle()
    installed.deliveries.clear()
    action(twin, own)
    await twin.settle()
    assert types(installed) == told
    assert installed.refused == []


async def test_events_are_signed_over_their_exact_bytes(twin: XTwin, installed: Any) -> None:
    twin.post("rita_ex", "@AcmeSupport ünïcode 😕 & <tags>")
    await twin.settle()
    (delivery,) = installed.deliveries
    expected = base64.b64encode(hmac.new(b"twin-consumer-secret", delivery.body, hashlib.sha256).digest()).decode()
    assert delivery.header("x-twitter-webhooks-signature") == f"sha256={expected}"
    (item,) = installed.interactions()
    assert item.text == "@AcmeSupport ünïcode 😕 & <tags>"
    assert (item.author.handle, item.author.name) == ("rita_ex", "Rita Example")


async def test_a_list_of_events(twin: XTwin, installed: Any) -> None:
    (webhook,) = twin.events.webhooks
    twin.post("rita_ex", "@AcmeSupport one")
    twin.post("rita_ex", "@AcmeSupport two")
    await twin.settle()
    envelopes = [json.loads(delivery.body) for delivery in installed.deliveries]
    installed.deliveries.clear()
    twin.events.send_events(webhook, envelopes)
    await twin.settle()
    assert len(installed.deliveries) == 1
    assert {item.text for item in installed.interactions()} == {"@AcmeSupport one", "@AcmeSupport two"}


async def test_edits_and_deletions(twin: XTwin, installed: Any, ask: Ask) -> None:
    first = twin.post("AcmeSupport", "nwes")
    second = twin.edit(first, "news")
    await twin.settle()
    assert {(item.external_id, item.revision) for item in installed.interactions()} == {(first, first), (first, second)}
    twin.delete(second)
    await twin.settle()
    assert installed.news()[-1] == Deletion(external_id=second, account=BRAND, by="brand")
    status, body = await ask("GET", f"/2/tweets?ids={first},{second}")
    assert (status, "data" in body, len(body["errors"])) == (200, False, 2)


async def test_a_gateway_that_is_down_is_told_again(twin: XTwin, installed: Any) -> None:
    plugin, installed.plugin = installed.plugin, None  # every request fails while it is None
    twin.post("rita_ex", "@AcmeSupport hello")
    await asyncio.sleep(0.1)
    assert installed.deliveries == []
    installed.plugin = plugin
    await twin.settle()
    assert types(installed) == ["post.mention.create"]


async def test_secrets_rotate_without_loss(twin: XTwin, make: Make, installed: Any) -> None:
    twin.consumer_secret = "new"
    installed.plugin = make(app={"consumer_secret": "new", "previous_consumer_secrets": ["twin-consumer-secret"]})
    twin.post("rita_ex", "@AcmeSupport hello")
    await twin.settle()
    assert installed.refused == []
    assert await twin.revalidate()


async def test_an_invalid_webhook_is_not_told_until_validated(
    twin: XTwin, make: Make, installed: Any, ask: Ask
) -> None:
    good, installed.plugin = installed.plugin, make(app={"consumer_secret": "wrong"})
    assert not await twin.revalidate()
    twin.post("rita_ex", "@AcmeSupport lost")
    await twin.settle()
    assert (installed.deliveries, installed.refused) == ([], [])
    (webhook,) = twin.events.webhooks
    status, body = await ask("PUT", f"/2/webhooks/{webhook}", "twin-app-token")
    assert status == 400
    assert "CrcValidationFailed" in body["detail"]
    installed.plugin = good
    assert await ask("PUT", f"/2/webhooks/{webhook}", "twin-app-token") == (200, {"data": {"valid": True}})
    twin.post("rita_ex", "@AcmeSupport told")
    await twin.settle()
    assert types(installed) == ["post.mention.create"]


async def test_replay(twin: XTwin, installed: Any, ask: Ask, clock: SharedTime) -> None:
    (webhook,) = twin.events.webhooks
    twin.post("rita_ex", "@AcmeSupport early")
    await twin.settle()
    happened = clock.now()
    clock.jump(happened + timedelta(hours=1))
    twin.post("rita_ex", "@AcmeSupport late")
    await twin.settle()
    installed.deliveries.clear()

    def minutes(*moments: Any) -> dict[str, str]:
        start, end = (moment.strftime("%Y%m%d%H%M") for moment in moments)
        return {"webhook_id": webhook, "from_date": start, "to_date": end}

    wrong = minutes(clock.now() - timedelta(minutes=20), clock.now())
    assert (await ask("POST", "/2/webhooks/replay", "twin-app-token", json=wrong))[0] == 400
    right = minutes(happened - timedelta(minutes=1), happened + timedelta(minutes=5))
    status, body = await ask("POST", "/2/webhooks/replay", "twin-app-token", json=right)
    assert (status, set(body["data"])) == (200, {"job_id", "created_at"})
    await twin.settle()
    assert [item.text for item in installed.interactions()] == ["@AcmeSupport early"]


async def test_event_ids_may_be_negative(twin: XTwin, installed: Any) -> None:
    for number in range(20):
        twin.post("rita_ex", f"@AcmeSupport {number}")
    await twin.settle()
    uuids = {json.loads(delivery.body)["data"]["event_uuid"] for delivery in installed.deliveries}
    assert len(uuids) == 20
    assert {uuid.startswith("-") for uuid in uuids} == {True, False}
    assert len(installed.interactions()) == 20


# size


async def test_thousands_of_posts(twin: XTwin, make: Make, clock: SharedTime) -> None:
    started = real_time.perf_counter()
    for number in range(10_000):
        twin.post("rita_ex", f"@AcmeSupport {number}", at=clock.now() - timedelta(seconds=10_000 - number))
    made = real_time.perf_counter() - started
    cursor, count = None, 0
    while True:
        page = await make().poll("mentions", cursor)
        count += len(page.pages)
        cursor = page.cursor
        if not page.more:
            break
    assert count == 8, "the mentions timeline is 800 deep"
    assert made < 10, f"10,000 posts took {made:.1f} s"


@pytest.mark.skipif(not CONVERSATIONS.exists(), reason="../shared/data/conversations.jsonl is not here")
async def test_real_conversations_survive_the_way_through(twin: XTwin, installed: Any) -> None:
    """What people wrote comes out of webhook and normalise as they wrote it, with its thread."""
    expected: dict[str, tuple[str, str | None]] = {}
    for line in CONVERSATIONS.read_text("utf-8").splitlines()[:60]:
        conversation = json.loads(line)
        customer = twin.add_user(f"c{len(twin.state.users)}").id
        parent: str | None = None
        for message in conversation["messages"]:
            author = customer if message["from"] == "customer" else BRAND
            text = message["text"].replace("@" + conversation["company"], "@AcmeSupport")
            id = twin.post(author, text, in_reply_to=parent)
            answers_brand = parent is not None and twin.state.posts[parent].author == BRAND
            if author == BRAND or answers_brand or BRAND in twin.state.posts[id].mentions:
                expected[id] = (text, parent)
            parent = id
    await twin.settle()
    assert installed.refused == []
    found = {item.external_id: item for item in installed.interactions()}
    assert set(found) == set(expected)
    assert len(found) > 80
    for id, (text, parent) in expected.items():
        shown = found[id].text
        for short, link in found[id].extra.get("links", {}).items():
            shown = shown.replace(short, link)
        assert without_schemes(shown) == without_schemes(text)
        assert found[id].in_reply_to == parent


def without_schemes(text: str) -> str:
    """X puts a scheme before an address that has none."""
    return unicodedata.normalize("NFC", text).replace("http://", "").replace("https://", "")
