"""The twin's endpoints answer as X is documented to: who may call, what is refused, fields, limits, the bill."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta
from decimal import Decimal
from typing import Any

import httpx2
import pytest

from gateway_schemas.time import SharedTime
from gateway_x.twin import XTwin
from gateway_x.twin_state import TwinMedia

Ask = Callable[..., Any]
BRAND, RITA = "1111111111111111111", "2222222222222222222"


@pytest.fixture
def ask(twin: XTwin, http: httpx2.AsyncClient) -> Ask:
    """Calls the twin with the brand's token, or another one."""

    async def ask(method: str, path: str, token: str | None = None, **request: Any) -> tuple[int, Any]:
        token = token if token is not None else f"twin-user-token-{BRAND}"
        headers = {"authorization": f"Bearer {token}"} if token else {}
        response = await http.request(method, twin.url + path, headers=headers, **request)
        return response.status_code, response.json()

    return ask


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
    link, _ = body["data"]["entities"]["urls"]
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
