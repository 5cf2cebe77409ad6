"""The twin refuses what Google refuses, with Google's error bodies, and tells what Google tells."""

from __future__ import annotations

import asyncio
import base64
import json
from collections.abc import AsyncIterator, Sequence
from datetime import timedelta
from typing import Any

import httpx2
import pytest
from joserfc import jwt
from joserfc.jwk import KeySet
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import BaseRoute, Route

from gateway_google_business.twin import GoogleTwin
from gateway_schemas.testing.twin import Twin
from gateway_schemas.time import SharedTime

V4 = "/mybusiness.googleapis.com/v4/accounts/1122"
REVIEWS = f"{V4}/locations/3344/reviews"
BATCH = f"{V4}/locations:batchGetReviews"
TOPIC = "projects/acme-twin/topics/reviews"


@pytest.fixture
async def google(twin: GoogleTwin) -> AsyncIterator[httpx2.AsyncClient]:
    """A client with a good token."""
    form = {
        "grant_type": "refresh_token",
        "refresh_token": twin.state.users["owner"].refresh_token,
        "client_id": twin.client_id,
        "client_secret": twin.client_secret,
    }
    async with httpx2.AsyncClient(base_url=twin.url, trust_env=False) as client:
        token = (await client.post("/oauth2.googleapis.com/token", data=form)).json()["access_token"]
        client.headers["authorization"] = f"Bearer {token}"
        yield client


def error(response: httpx2.Response) -> tuple[int, str]:
    body = response.json()["error"]
    assert body["code"] == response.status_code
    assert body["message"]
    return response.status_code, body["status"]


@pytest.mark.parametrize(
    ("method", "path", "body", "expected"),
    [
        ("GET", f"{REVIEWS}?pageSize=51", None, (400, "INVALID_ARGUMENT")),
        ("GET", f"{REVIEWS}?pageSize=-1", None, (400, "INVALID_ARGUMENT")),
        ("GET", f"{REVIEWS}?orderBy=update_time", None, (400, "INVALID_ARGUMENT")),
        ("GET", f"{REVIEWS}?pageToken=made-up", None, (400, "INVALID_ARGUMENT")),
        ("GET", f"{REVIEWS}?since=2026", None, (400, "INVALID_ARGUMENT")),
        ("GET", f"{REVIEWS}/none", None, (404, "NOT_FOUND")),
        ("GET", f"{V4}/locations/99/reviews", None, (404, "NOT_FOUND")),
        ("POST", BATCH, {"locationNames": []}, (400, "INVALID_ARGUMENT")),
        ("POST", BATCH, {"locationNames": ["locations/3344"]}, (400, "INVALID_ARGUMENT")),
        ("POST", BATCH, {"locationNames": ["accounts/1122/locations/99"]}, (404, "NOT_FOUND")),
        ("POST", BATCH, {"locationNames": ["accounts/1122/locations/3344"], "since": 1}, (400, "INVALID_ARGUMENT")),
        ("POST", BATCH, {"locationNames": "accounts/1122/locations/3344"}, (400, "INVALID_ARGUMENT")),
        ("POST", BATCH, [], (400, "INVALID_ARGUMENT")),
        (
            "GET",
            "/mybusinessbusinessinformation.googleapis.com/v1/accounts/1122/locations",
            None,
            (400, "INVALID_ARGUMENT"),
        ),
        (
            "GET",
            "/mybusinessbusinessinformation.googleapis.com/v1/accounts/1122/locations?readMask=reviews",
            None,
            (400, "INVALID_ARGUMENT"),
        ),
        (
            "PATCH",
            "/mybusinessnotifications.googleapis.com/v1/accounts/1122/notificationSetting",
            {"pubsubTopic": TOPIC},
            (400, "INVALID_ARGUMENT"),
        ),
        ("GET", f"/pubsub.googleapis.com/v1/{TOPIC}:getIamPolicy", None, (403, "PERMISSION_DENIED")),
    ],
)
async def test_wrong_requests(
    google: httpx2.AsyncClient, method: str, path: str, body: Any, expected: tuple[int, str]
) -> None:
    answer = await google.request(method, path, **({"json": body} if body is not None else {}))
    assert error(answer) == expected


@pytest.mark.parametrize(
    ("body", "expected"),
    [
        ({"comment": ""}, 400),
        ({"comment": " "}, 400),
        ({}, 400),
        ({"comment": "é" * 2049}, 400),
        ({"comment": "ok", "state": "APPROVED"}, 400),
        ({"comment": 3}, 400),
        ({"comment": "é" * 2048}, 200),
    ],
)
async def test_replies_are_checked(twin: GoogleTwin, google: httpx2.AsyncClient, body: Any, expected: int) -> None:
    ref = twin.review("3344", "Ana", 2)
    answer = await google.put(f"{V4}/{ref}/reply", json=body)
    assert answer.status_code == expected
    assert len(twin.replies_made()) == (expected == 200)


async def test_tokens_end_and_belong_to_somebody(
    twin: GoogleTwin, google: httpx2.AsyncClient, clock: SharedTime
) -> None:
    assert error(await google.get(REVIEWS, headers={"authorization": "Bearer x"})) == (401, "UNAUTHENTICATED")
    twin.add_account("7", "Somebody else's", user="stranger")
    twin.add_location("7", "8", "Elsewhere")
    foreign = "/mybusiness.googleapis.com/v4/accounts/7/locations/8/reviews"
    assert error(await google.get(foreign)) == (404, "NOT_FOUND")
    clock.jump(clock.now() + timedelta(hours=1))
    assert error(await google.get(REVIEWS)) == (401, "UNAUTHENTICATED")


async def test_an_unverified_location_spoils_the_whole_batch(twin: GoogleTwin, google: httpx2.AsyncClient) -> None:
    twin.add_location("1122", "7788", "Acme Porto", verified=False)
    names = ["accounts/1122/locations/3344", "accounts/1122/locations/7788"]
    assert error(await google.post(BATCH, json={"locationNames": names})) == (400, "FAILED_PRECONDITION")


async def test_a_page_token_holds_for_its_parameters(twin: GoogleTwin, google: httpx2.AsyncClient) -> None:
    for number in range(5):
        twin.review("3344", f"Ana {number}", 2)
    first = (await google.get(REVIEWS, params={"pageSize": "2"})).json()
    token = first["nextPageToken"]
    assert first["totalReviewCount"] == 5
    assert error(await google.get(REVIEWS, params={"pageSize": "3", "pageToken": token}))[0] == 400
    second = (await google.get(REVIEWS, params={"pageSize": "2", "pageToken": token})).json()
    assert not {one["name"] for one in first["reviews"]} & {one["name"] for one in second["reviews"]}
    twin.expire_page_tokens()
    assert error(await google.get(REVIEWS, params={"pageSize": "2", "pageToken": token}))[0] == 400


async def test_listings_lag_more_than_single_reviews(
    twin: GoogleTwin, google: httpx2.AsyncClient, clock: SharedTime
) -> None:
    twin.list_lag = timedelta(minutes=2)
    ref = twin.review("3344", "Ana", 2)
    assert (await google.get(f"{V4}/{ref}")).status_code == 200
    assert (await google.get(REVIEWS)).json() == {}
    clock.jump(clock.now() + timedelta(minutes=2))
    assert len((await google.get(REVIEWS)).json()["reviews"]) == 1


async def test_quotas_are_by_the_minute_and_say_so(
    twin: GoogleTwin, google: httpx2.AsyncClient, clock: SharedTime
) -> None:
    twin.quota = 2
    assert [(await google.get(REVIEWS)).status_code for _ in range(3)] == [200, 200, 429]
    refused = await google.get(REVIEWS)
    assert error(refused) == (429, "RESOURCE_EXHAUSTED")
    assert refused.json()["error"]["details"][0]["metadata"]["quota_limit_value"] == "2"
    clock.jump(clock.now() + timedelta(minutes=1))
    assert (await google.get(REVIEWS)).status_code == 200


async def test_the_ledger_tells_every_effect(twin: GoogleTwin, google: httpx2.AsyncClient) -> None:
    ref = twin.review("3344", "Ana", 2, "slow")
    await google.put(f"{V4}/{ref}/reply", json={"comment": "one"})
    await google.put(f"{V4}/{ref}/reply", json={"comment": "two"})
    await google.delete(f"{V4}/{ref}/reply")
    assert (await google.delete(f"{V4}/{ref}/reply")).status_code == 404
    twin.edit(ref, stars=3)
    twin.delete(ref)
    assert [effect.kind for effect in twin.ledger] == [
        "token",
        "review",
        "reply",
        "reply",
        "reply_deleted",
        "edit",
        "delete",
    ]
    assert twin.ledger[3].data["replaced"] == "one"
    assert (await google.get(f"{V4}/{ref}")).status_code == 404


async def test_moderation(twin: GoogleTwin, google: httpx2.AsyncClient) -> None:
    ref = twin.review("3344", "Ana", 2, "slow")
    made = (await google.put(f"{V4}/{ref}/reply", json={"comment": "Sorry!"})).json()
    assert made["reviewReplyState"] == "PENDING"
    assert (await google.get(f"{V4}/{ref}")).json()["reviewReply"]["reviewReplyState"] == "APPROVED"
    twin.moderate(ref, "REJECTED", "HARASSMENT")
    reply = (await google.get(f"{V4}/{ref}")).json()["reviewReply"]
    assert (reply["reviewReplyState"], reply["policyViolation"]) == ("REJECTED", "HARASSMENT")


# push


class Listener(Twin):
    """Keeps what is pushed."""

    name = "listener"
    status = 204

    def routes(self) -> Sequence[BaseRoute]:
        self.heard: list[tuple[str, dict[str, Any]]] = []

        async def hear(request: Request) -> Response:
            self.heard.append((request.headers["authorization"], json.loads(await request.body())))
            return Response(status_code=self.status)

        return [Route("/push", hear, methods=["POST"])]


@pytest.fixture
async def listener(twin: GoogleTwin) -> AsyncIterator[Listener]:
    """A subscription's endpoint, with an account that is told."""
    listener = Listener()
    async with listener.serve() as url:
        twin.add_topic(TOPIC)
        twin.subscribe(TOPIC, f"{url}/push", "push@acme-twin.iam.gserviceaccount.com", "acme-gateway")
        account = twin.state.accounts["1122"]
        account.topic, account.types = TOPIC, ["NEW_REVIEW", "UPDATED_REVIEW"]
        yield listener
        await twin.settle()
        if twin._client is not None:
            await twin._client.aclose()


async def test_pushes_are_really_signed_and_name_the_review(
    twin: GoogleTwin, listener: Listener, google: httpx2.AsyncClient
) -> None:
    ref = twin.review("3344", "Ana", 2, "slow")
    twin.edit(ref, stars=1)
    twin.owner_reply(ref, "Sorry!")
    twin.delete(ref)
    await twin.settle()
    assert len(listener.heard) == 2
    keys = KeySet.import_key_set((await google.get("/www.googleapis.com/oauth2/v3/certs")).json())
    told = []
    for authorization, body in listener.heard:
        claims = jwt.decode(authorization.removeprefix("Bearer "), keys, algorithms=["RS256"]).claims
        assert (claims["aud"], claims["email_verified"]) == ("acme-gateway", True)
        told.append(json.loads(base64.b64decode(body["message"]["data"])))
    assert sorted(one["notificationType"] for one in told) == ["NEW_REVIEW", "UPDATED_REVIEW"]
    assert {one["reviewName"] for one in told} == {f"accounts/1122/{ref}"}
    assert "slow" not in str(told)


async def test_pushes_are_repeated_until_they_are_taken(twin: GoogleTwin, listener: Listener) -> None:
    listener.status = 503
    twin.review("3344", "Ana", 2)
    while len(listener.heard) < 2:
        await asyncio.sleep(0.01)
    listener.status = 204
    await twin.settle()
    assert len({body["message"]["messageId"] for _, body in listener.heard}) == 1


async def test_nobody_is_told_who_did_not_ask(twin: GoogleTwin, listener: Listener) -> None:
    twin.state.accounts["1122"].types = ["GOOGLE_UPDATE"]
    twin.review("3344", "Ana", 2)
    twin.state.accounts["1122"].types = ["NEW_REVIEW"]
    twin.state.topics[TOPIC].open = False
    twin.review("3344", "Ana", 2)
    await twin.settle()
    assert listener.heard == []


async def test_keys_are_published_with_their_age(twin: GoogleTwin, google: httpx2.AsyncClient) -> None:
    answer = await google.get("/www.googleapis.com/oauth2/v3/certs")
    assert "max-age=20000" in answer.headers["cache-control"]
    assert [key["kid"] for key in answer.json()["keys"]] == ["twin-key-1"]
    assert "d" not in answer.json()["keys"][0]
    twin.keys.rotate(hidden=True)
    assert [key["kid"] for key in twin.keys.published()["keys"]] == ["twin-key-1"]
    twin.keys.hidden = False
    assert [key["kid"] for key in twin.keys.published()["keys"]] == ["twin-key-2", "twin-key-1"]


async def test_the_state_can_be_looked_at(twin: GoogleTwin, google: httpx2.AsyncClient) -> None:
    twin.review("3344", "Ana", 2, "slow")
    state = (await google.get("/_twin/state")).json()
    assert state["locations"][0]["reviews"][0]["comment"] == "slow"
