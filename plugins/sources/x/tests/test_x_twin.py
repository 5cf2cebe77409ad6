"""The twin behaves as X is documented to: who is told what, what is refused, limits, pages, replay, the bill."""

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
from decimal import Decimal
from pathlib import Path
from typing import Any

import httpx2
import pytest

from gateway_schemas.interaction import Deletion
from gateway_schemas.time import SharedTime
from gateway_x.plugin import XSource
from gateway_x.twin import XTwin
from gateway_x.twin_state import TwinMedia

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


# who may call what


@pytest.mark.parametrize("token", ["", "wrong"])
async def test_unknown_callers(ask: Ask, token: str) -> None:
    status, body = await ask("GET", "/2/users/me", token)
    assert (status, body["title"], body["status"]) == (401, "Unauthorized", 401)


@pytest.mark.parametrize(
    ("method", "path", "token"),
    [
        ("GET", "/2/users/me", "twin-app-token"),
        ("POST", "/2/tweets", "twin-app-token"),
        ("GET", "/2/dm_events", "twin-app-token"),
        ("GET", "/2/webhooks", None),
        ("POST", "/2/webhooks", None),
    ],
)
async def test_the_wrong_kind_of_token(ask: Ask, method: str, path: str, token: str | None) -> None:
    status, body = await ask(method, path, token)
    assert (status, body["type"]) == (403, "https://api.x.com/2/problems/unsupported-authentication")


async def test_private_events_need_the_users_own_token(twin: XTwin, ask: Ask) -> None:
    body = {"event_type": "post.mention.create", "filter": {"user_id": BRAND}}
    assert (await ask("POST", "/2/activity/subscriptions", "twin-app-token", json=body))[0] == 403
    status, answer = await ask("POST", "/2/activity/subscriptions", json=body)
    assert (status, answer["data"]["event_type"], answer["meta"]) == (
        200,
        "post.mention.create",
        {"total_subscriptions": 1},
    )
    assert (await ask("POST", "/2/activity/subscriptions", json=body))[0] == 400
    subscription = answer["data"]["subscription_id"]
    status, answer = await ask("DELETE", f"/2/activity/subscriptions/{subscription}", "twin-app-token")
    assert answer == {"data": {"deleted": True}, "meta": {"total_subscriptions": 0}}


@pytest.mark.parametrize(
    "url", ["http://acme.example/x", "https://acme.example:5000/x", "ftp://acme.example", "nonsense", 5, None]
)
async def test_webhook_addresses_x_takes(twin: XTwin, ask: Ask, url: Any) -> None:
    status, body = await ask("POST", "/2/webhooks", "twin-app-token", json={"url": url})
    assert status == 400
    assert "UrlValidationFailed" in body["detail"]


# what is refused


@pytest.mark.parametrize(
    ("body", "status", "problem"),
    [
        ({}, 400, "invalid-request"),
        ({"text": "  "}, 400, "invalid-request"),
        ({"text": 5}, 400, "invalid-request"),
        ({"text": "x" * 281}, 400, "invalid-request"),
        ({"text": "漢" * 141}, 400, "invalid-request"),
        ({"text": "hi", "unknown": 1}, 400, "invalid-request"),
        ({"text": "hi", "reply": "20"}, 400, "invalid-request"),
        ({"text": "hi", "reply": {}}, 400, "invalid-request"),
        ({"text": "hi", "reply": {"in_reply_to_tweet_id": 20}}, 400, "invalid-request"),
        ({"text": "hi", "reply": {"in_reply_to_tweet_id": "20"}}, 404, "resource-not-found"),
        ({"text": "buy $AB and $CD"}, 400, "invalid-request"),
    ],
)
async def test_posts_x_refuses(twin: XTwin, ask: Ask, body: dict[str, Any], status: int, problem: str) -> None:
    answered, error = await ask("POST", "/2/tweets", json=body)
    assert (answered, error["type"], error["status"]) == (status, f"https://api.x.com/2/problems/{problem}", status)
    assert error["title"]
    assert error["detail"]
    assert twin.ledger == []


async def test_leading_names_of_a_reply_do_not_count(twin: XTwin, ask: Ask) -> None:
    asked = twin.post("rita_ex", "@AcmeSupport hi")
    body = {"text": "@rita_ex " + "x" * 280, "reply": {"in_reply_to_tweet_id": asked}}
    status, answer = await ask("POST", "/2/tweets", json=body)
    assert status == 201
    assert set(answer["data"]) == {"id", "text", "edit_history_tweet_ids"}
    assert (await ask("POST", "/2/tweets", json={"text": body["text"]}))[0] == 400


async def test_the_same_text_again(twin: XTwin, ask: Ask, clock: SharedTime) -> None:
    assert (await ask("POST", "/2/tweets", json={"text": "hello"}))[0] == 201
    status, body = await ask("POST", "/2/tweets", json={"text": "hello"})
    assert (status, body["type"], body["title"]) == (403, "about:blank", "Forbidden")
    clock.jump(clock.now() + timedelta(hours=25))
    assert (await ask("POST", "/2/tweets", json={"text": "hello"}))[0] == 201
    assert [effect.data["text"] for effect in twin.ledger] == ["hello", "hello"]


async def test_only_own_posts_are_deleted_and_own_threads_hidden(twin: XTwin, ask: Ask) -> None:
    other = twin.post("rita_ex", "@AcmeSupport hi")
    own = twin.post("AcmeSupport", "news")
    reply = twin.post("rita_ex", "bah", in_reply_to=own)
    assert (await ask("DELETE", f"/2/tweets/{other}"))[0] == 403
    assert (await ask("DELETE", "/2/tweets/404"))[0] == 404
    assert (await ask("PUT", f"/2/tweets/{other}/hidden", json={"hidden": True}))[0] == 403
    assert (await ask("PUT", f"/2/tweets/{reply}/hidden", json={"hidden": "yes"}))[0] == 400
    assert await ask("PUT", f"/2/tweets/{reply}/hidden", json={"hidden": True}) == (200, {"data": {"hidden": True}})
    assert await ask("DELETE", f"/2/tweets/{own}") == (200, {"data": {"deleted": True}})


@pytest.mark.parametrize(
    ("body", "status"), [({}, 400), ({"text": ""}, 400), ({"text": "x" * 10_001}, 400), ({"text": "x" * 10_000}, 201)]
)
async def test_messages_x_refuses(twin: XTwin, ask: Ask, body: dict[str, Any], status: int) -> None:
    assert (await ask("POST", f"/2/dm_conversations/with/{RITA}/messages", json=body))[0] == status
    assert (await ask("POST", "/2/dm_conversations/with/404/messages", json={"text": "x"}))[0] == 404
    assert (await ask("POST", f"/2/dm_conversations/{RITA}-404/messages", json={"text": "x"}))[0] == 403


# how answers look


async def test_default_and_asked_fields(twin: XTwin, ask: Ask) -> None:
    media = TwinMedia("3_1", "https://pbs.twimg.com/media/a.jpg", "a parcel")
    post = twin.post("rita_ex", "@AcmeSupport look https://example.com/x", media=[media])
    _, body = await ask("GET", f"/2/tweets/{post}")
    assert set(body["data"]) == {"id", "text", "edit_history_tweet_ids"}
    fields = "author_id,conversation_id,created_at,entities,lang,attachments,referenced_tweets"
    asked = {"tweet.fields": fields, "expansions": "author_id,attachments.media_keys"}
    _, body = await ask("GET", f"/2/tweets/{post}", params=asked)
    assert body["includes"]["users"][0]["username"] == "rita_ex"
    assert body["includes"]["media"][0]["alt_text"] == "a parcel"
    (link,) = body["data"]["entities"]["urls"]
    assert body["data"]["text"][link["start"] : link["end"]] == link["url"]
    assert link["expanded_url"] == "https://example.com/x"
    twin.naming = "post"
    _, body = await ask("GET", f"/2/tweets/{post}")
    assert set(body["data"]) == {"id", "text", "edit_history_post_ids"}


async def test_limits_and_their_headers(twin: XTwin, http: httpx2.AsyncClient, clock: SharedTime) -> None:
    headers = {"authorization": f"Bearer twin-user-token-{BRAND}"}
    for left in range(14, -1, -1):
        response = await http.get(twin.url + "/2/dm_events", headers=headers)
        assert response.headers["x-rate-limit-remaining"] == str(left)
    response = await http.get(twin.url + "/2/dm_events", headers=headers)
    assert (response.status_code, response.json()["errors"][0]["code"]) == (429, 88)
    assert int(response.headers["x-rate-limit-reset"]) - clock.now().timestamp() == pytest.approx(900, abs=5)
    clock.jump(clock.now() + timedelta(minutes=15))
    assert (await http.get(twin.url + "/2/dm_events", headers=headers)).status_code == 200


@pytest.mark.parametrize(
    "path",
    [
        f"/2/users/{BRAND}/mentions?max_results=4",
        f"/2/users/{BRAND}/mentions?max_results=101",
        f"/2/users/{BRAND}/mentions?since_id=x",
        f"/2/users/{BRAND}/mentions?start_time=yesterday",
        f"/2/users/{BRAND}/mentions?start_time=2026-11-01T00:00:00",
        f"/2/users/{BRAND}/mentions?pagination_token=nonsense",
        "/2/tweets?ids=",
        "/2/tweets?ids=abc",
        "/2/tweets?ids=" + ",".join(map(str, range(101))),
        "/2/tweets/search/recent",
        "/2/tweets/search/recent?query=from:rita",
    ],
)
async def test_parameters_x_refuses(ask: Ask, path: str) -> None:
    status, body = await ask("GET", path)
    assert (status, body["type"]) == (400, "https://api.x.com/2/problems/invalid-request")


async def test_users(ask: Ask) -> None:
    _, body = await ask("GET", "/2/users/by/username/RITA_EX")
    assert body["data"]["id"] == RITA
    assert (await ask("GET", f"/2/users/{RITA}"))[1]["data"]["username"] == "rita_ex"
    assert (await ask("GET", "/2/users/by/username/nobody"))[0] == 404


async def test_a_resource_is_billed_once_a_day(twin: XTwin, ask: Ask, clock: SharedTime) -> None:
    post = twin.post("rita_ex", "hello")
    for _ in range(3):
        await ask("GET", f"/2/tweets?ids={post}")
    assert twin.wire.spent == Decimal("0.005")
    clock.jump(clock.now() + timedelta(days=1))
    await ask("GET", f"/2/tweets?ids={post}")
    assert twin.wire.spent == Decimal("0.010")


async def test_the_twins_page(twin: XTwin, http: httpx2.AsyncClient) -> None:
    twin.post("rita_ex", "hello")
    twin.direct_message("rita_ex", "AcmeSupport", "hi")
    state = (await http.get(twin.url + "/_twin/state")).json()
    assert [post["text"] for post in state["posts"]] == ["hello"]
    assert [item["kind"] for item in (await http.get(twin.url + "/_twin/ledger")).json()] == ["post", "dm"]


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
