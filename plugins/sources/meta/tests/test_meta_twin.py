"""The twin refuses what Meta refuses, in Meta's form, whoever asks."""

from __future__ import annotations

import json
from typing import Any

import httpx2
import pytest

from gateway_meta.twin_graph import Refusal, parse_fields
from gateway_schemas.signatures import sign_hmac

V = "/v25.0"


async def ask(ground: Any, method: str, path: str, token: str | None = None, **request: Any) -> Any:
    """A call with a token and its proof."""
    token = token or ground.twin.state.account("acme").token
    parameters = request.pop("params", {}) | {"appsecret_proof": sign_hmac(token.encode(), ground.twin.app_secret)}
    headers = {"authorization": f"Bearer {token}"}
    url = f"{ground.twin.url}{V}{path}"
    return await ground.http.request(method, url, headers=headers, params=parameters, **request)


def error(response: httpx2.Response) -> tuple[int, int, int | None]:
    body = response.json()["error"]
    assert {"message", "type", "code", "fbtrace_id"} <= set(body)
    return response.status_code, body["code"], body.get("error_subcode")


async def test_tokens_and_proofs(ground: Any) -> None:
    url = f"{ground.twin.url}{V}/100200300"
    assert error(await ground.http.get(url)) == (400, 104, None)
    assert error(await ground.http.get(url, params={"access_token": "none"})) == (401, 190, None)
    token = ground.twin.state.account("acme").token
    assert error(await ground.http.get(url, params={"access_token": token})) == (400, 100, None)
    bad = {"access_token": token, "appsecret_proof": "0" * 64}
    assert error(await ground.http.get(url, params=bad)) == (400, 100, None)
    ground.twin.require_proof = False
    assert (await ground.http.get(url, params={"access_token": token})).json()["id"] == "100200300"
    ground.twin.expire_tokens("acme")
    assert error(await ask(ground, "GET", "/100200300")) == (400, 190, 463)


async def test_nobody_elses_things_are_shown(ground: Any) -> None:
    ground.twin.add_page("other")
    comment = ground.twin.post("jo", "hello", ground.twin.post("other", "theirs"))
    message = ground.twin.direct_message("jo", "other", "private")
    for path in (f"/{comment}", f"/{message}", f"/{comment}/comments"):
        assert error(await ask(ground, "GET", path)) == (400, 100, 33)
    body = {"message": "we too"}
    assert error(await ask(ground, "POST", f"/{comment}/comments", json=body)) == (403, 200, None)
    assert error(await ask(ground, "DELETE", f"/{comment}")) == (400, 100, 33)


@pytest.mark.parametrize(
    ("body", "expected"),
    [
        ({}, (400, 100, None)),
        ({"recipient": {"id": "7700110022"}, "message": {"text": ""}}, (400, 100, None)),
        ({"recipient": {"id": "7700110022"}, "message": {"text": "x" * 2001}}, (400, 100, None)),
        ({"recipient": {"id": "7700110022"}, "message": {"text": "x"}}, (400, 100, None)),
        ({"recipient": {"id": "1"}, "messaging_type": "RESPONSE", "message": {"text": "x"}}, (400, 100, 2018001)),
        (
            {"recipient": {"id": "7700110044"}, "messaging_type": "RESPONSE", "message": {"text": "x"}},
            (403, 10, 2018278),
        ),
        (
            {"recipient": {"id": "7700110022"}, "messaging_type": "MESSAGE_TAG", "message": {"text": "x"}},
            (400, 100, None),
        ),
        (
            {
                "recipient": {"id": "7700110022"},
                "messaging_type": "MESSAGE_TAG",
                "tag": "HUMAN_AGENT",
                "message": {"text": "x"},
            },
            (403, 10, None),
        ),
        ({"recipient": {"comment_id": "1_2"}, "message": {"text": "x"}}, (400, 100, 33)),
    ],
)
async def test_messages_that_are_refused(ground: Any, body: dict[str, Any], expected: Any) -> None:
    ground.twin.direct_message("jo", "acme", "Hello")
    assert error(await ask(ground, "POST", "/100200300/messages", json=body)) == expected
    assert ground.twin.messages_from("acme") == []


async def test_a_private_reply_opens_no_window(ground: Any) -> None:
    comment = ground.twin.post("jo", "In blue?", ground.twin.post("acme", "Colours"))
    body = {"recipient": {"comment_id": comment}, "message": {"text": "Hello"}}
    answer = (await ask(ground, "POST", "/100200300/messages", json=body)).json()
    assert answer["recipient_id"] == "7700110022"
    again = {"recipient": {"id": "7700110022"}, "messaging_type": "RESPONSE", "message": {"text": "?"}}
    assert error(await ask(ground, "POST", "/100200300/messages", json=again)) == (403, 10, 2018278)
    ground.twin.direct_message("jo", "acme", "order 4711")
    assert (await ask(ground, "POST", "/100200300/messages", json=again)).status_code == 200


async def test_permissions_are_asked_for(ground: Any) -> None:
    comment = ground.twin.post("jo", "In blue?", ground.twin.post("acme", "Colours"))
    ground.twin.scopes("acme").clear()
    assert error(await ask(ground, "POST", f"/{comment}/comments", json={"message": "x"})) == (403, 200, None)
    body = {"recipient": {"comment_id": comment}, "message": {"text": "x"}}
    assert error(await ask(ground, "POST", "/100200300/messages", json=body)) == (403, 230, None)
    assert error(await ask(ground, "GET", "/100200300/feed")) == (403, 200, None)


async def test_fields_that_a_node_has_not(ground: Any) -> None:
    post = ground.twin.post("acme", "Colours")
    answer = await ask(ground, "GET", f"/{post}", params={"fields": "id,parent"})
    assert error(answer) == (400, 100, None)
    shown = (await ask(ground, "GET", f"/{post}", params={"fields": "message,from{name}"})).json()
    assert shown == {"id": post, "message": "Colours", "from": {"name": "Acme", "id": "100200300"}}
    for text in ("id,", "id}", "comments{id", "comments.limit(5){}"):
        with pytest.raises(Refusal):
            parse_fields(text)


async def test_limits_of_text_and_lists(ground: Any) -> None:
    comment = ground.twin.post("jo", "In blue?", ground.twin.post("acme", "Colours"))
    body = {"message": "x" * 8001}
    assert error(await ask(ground, "POST", f"/{comment}/comments", json=body)) == (400, 100, None)
    for parameters in ({"limit": "0"}, {"limit": "101"}, {"after": "bm8="}, {"order": "newest"}):
        answer = await ask(ground, "GET", f"/{comment}/comments", params=parameters)
        assert error(answer) == (400, 100, None), parameters


async def test_webhooks_are_for_the_app_and_for_known_fields(ground: Any) -> None:
    body = {"object": "page", "callback_url": "https://x.example", "verify_token": "t", "fields": "feed"}
    path = f"/{ground.twin.app_id}/subscriptions"
    assert error(await ask(ground, "POST", path, json=body)) == (400, 15, None)
    app = f"{ground.twin.app_id}|{ground.twin.app_secret}"
    assert error(await ask(ground, "POST", path, app, json=body | {"fields": "none"})) == (400, 100, None)
    assert error(await ask(ground, "POST", path, app, json=body)) == (400, 2200, None)
    parameters = {"subscribed_fields": "comments"}
    assert error(await ask(ground, "POST", "/100200300/subscribed_apps", params=parameters)) == (400, 100, None)


async def test_only_who_is_subscribed_is_told(ground: Any) -> None:
    post = ground.twin.post("acme", "Colours")
    ground.twin.post("jo", "nobody hears", post)
    assert ground.carried == []
    await ground.install()
    ground.twin.state.accounts["100200300"].subscribed = ["messages"]
    ground.twin.post("jo", "nobody hears", post)
    assert ground.carried == []
    ground.twin.direct_message("jo", "acme", "heard")
    ((_, headers, body),) = [build() for build in ground.carried]
    assert headers["x-hub-signature-256"] == sign_hmac(body, ground.twin.app_secret, prefix="sha256=")
    assert json.loads(body)["entry"][0]["messaging"][0]["message"]["text"] == "heard"
