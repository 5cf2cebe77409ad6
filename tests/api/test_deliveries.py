"""What was received: listed page by page, shown byte for byte without secrets, and read once more."""

from __future__ import annotations

import base64
from typing import Any
from uuid import UUID

import pytest

from support.rest import Api, signed


@pytest.fixture
async def door(api: Api, name: str) -> dict[str, Any]:
    """A connection of Shout."""
    return await api.shout(name)


async def deliver(api: Api, door: dict[str, Any], body: bytes, query: str = "", **headers: str) -> int:
    """A genuine request; its delivery's id."""
    sent = {"x-signature": signed(f"secret-of-{door['name']}", body), **headers}
    assert (await api.http.post(f"/hooks/{door['id']}{query}", content=body, headers=sent)).is_success
    found: int = await api.value("SELECT max(id) FROM delivery WHERE connection_id = :id", id=UUID(door["id"]))
    return found


async def end(api: Api, id: int, state: str) -> None:
    """End a delivery as a worker would."""
    await api.execute(
        "UPDATE delivery SET state = :state, reason = 'because', processed_at = now() WHERE id = :id",
        id=id,
        state=state,
    )


async def test_pages_hold_everything_once_while_more_arrives(api: Api, door: dict[str, Any]) -> None:
    ids = [await deliver(api, door, str(number).encode()) for number in range(7)]
    seen: list[int] = []
    cursor: str | None = None
    while True:
        params = {"connection": door["id"], "limit": 3, **({"cursor": cursor} if cursor else {})}
        page = (await api.http.get("/v1/deliveries", params=params)).json()
        seen += [one["id"] for one in page["items"]]
        cursor = page["next"]
        if cursor is None:
            break
        await deliver(api, door, b"newer")  # newest first: it is on no later page
    assert seen == ids[::-1]


async def test_the_last_page_says_so_also_when_it_is_full(api: Api, door: dict[str, Any]) -> None:
    for number in range(4):
        await deliver(api, door, str(number).encode())
    params: dict[str, Any] = {"connection": door["id"], "limit": 2}
    first = (await api.http.get("/v1/deliveries", params=params)).json()
    second = (await api.http.get("/v1/deliveries", params={**params, "cursor": first["next"]})).json()
    assert (len(first["items"]), len(second["items"]), second["next"]) == (2, 2, None)


@pytest.mark.parametrize(
    ("query", "field"),
    [
        ("limit=0", "limit"),
        ("limit=201", "limit"),
        ("limit=x", "limit"),
        ("cursor=nonsense", "cursor"),
        ("cursor=LTE", "cursor"),  # -1
        ("cursor=" + base64.urlsafe_b64encode(b"9" * 40).decode().rstrip("="), "cursor"),
        ("state=lost", "state"),
        ("since=yesterday", "since"),
        ("since=2026-01-01T00:00:00", "since"),
        ("connection=7", "connection"),
    ],
)
async def test_a_parameter_that_is_wrong_is_named(api: Api, query: str, field: str) -> None:
    answer = await api.http.get(f"/v1/deliveries?{query}")
    assert (answer.status_code, [error["field"] for error in answer.json()["errors"]]) == (422, [field])


async def test_filters_narrow_a_list(api: Api, door: dict[str, Any]) -> None:
    ids = [await deliver(api, door, b"x") for _ in range(3)]
    await end(api, ids[1], "failed")

    async def listed(**params: str) -> list[int]:
        answer = await api.http.get("/v1/deliveries", params={"connection": door["id"], **params})
        assert answer.status_code == 200, answer.text
        return [one["id"] for one in answer.json()["items"]]

    assert await listed(state="failed") == [ids[1]]
    assert await listed(state="ignored") == []
    assert len(await listed(since="2026-01-01T00:00:00+01:00")) == 3
    # the plus sign of an offset as it often comes: not encoded
    answer = await api.http.get(f"/v1/deliveries?connection={door['id']}&since=2099-01-01T00:00:00+01:00")
    assert answer.json()["items"] == []
    assert await listed(origin="poll") == []


async def test_a_delivery_is_shown_byte_for_byte(api: Api, door: dict[str, Any]) -> None:
    body = "é\x00".encode()
    text = (await api.http.get(f"/v1/deliveries/{await deliver(api, door, body, '?a=%ff')}")).json()
    assert (text["body"], text["encoding"], text["query"], text["size"]) == ("é\x00", "utf-8", "a=%ff", 3)
    assert ["x-signature", signed(f"secret-of-{door['name']}", body)] in text["headers"]
    raw = (await api.http.get(f"/v1/deliveries/{await deliver(api, door, bytes([255, 0]))}")).json()
    assert (base64.b64decode(raw["body"]), raw["encoding"]) == (b"\xff\x00", "base64")


async def test_a_secret_that_a_provider_sends_along_is_not_shown(api: Api, door: dict[str, Any]) -> None:
    secret = f"secret-of-{door['name']}"
    id = await deliver(api, door, f'{{"token": "{secret}"}}'.encode(), f"?token={secret}", **{"x-proof": secret})
    shown = await api.http.get(f"/v1/deliveries/{id}")
    assert secret not in shown.text
    assert shown.json()["body"] == '{"token": "***"}'
    assert ["x-proof", "[secret]"] in shown.json()["headers"]


async def test_the_bytes_need_more_than_the_list(api: Api, door: dict[str, Any]) -> None:
    id = await deliver(api, door, b"x")
    key = await api.made("/v1/keys", name="reader", scopes=["read"])
    async with api.caller(key["key"]) as reader:
        assert (await reader.get("/v1/deliveries")).status_code == 200
        refused = await reader.get(f"/v1/deliveries/{id}")
        assert (refused.status_code, refused.json()["missing"]) == (403, ["operations"])


async def test_one_is_replayed(api: Api, door: dict[str, Any]) -> None:
    id = await deliver(api, door, b"x")
    await end(api, id, "failed")
    await api.woken()
    answer = await api.http.post(f"/v1/deliveries/{id}/replay")
    assert (answer.status_code, answer.json()) == (202, {"deliveries": 1})
    [row] = await api.rows("SELECT state, reason, processed_at, shard FROM delivery WHERE id = :id", id=id)
    assert (row["state"], row["reason"], row["processed_at"]) == ("pending", None, None)
    assert await api.woken() == {f"inbox:{row['shard']}"}


async def test_many_are_replayed_by_what_became_of_them(api: Api, door: dict[str, Any], name: str) -> None:
    other = await api.shout(f"{name}-other")
    mine = [await deliver(api, door, b"x") for _ in range(3)]
    theirs = await deliver(api, other, b"x")
    for id in (*mine[:2], theirs):
        await end(api, id, "failed")
    await end(api, mine[2], "ignored")
    assert (await api.http.get(f"/v1/connections/{door['id']}")).json()["health"]["backlog"]["failed"] == 2
    answer = await api.http.post("/v1/deliveries/replay", json={"connection": door["id"]})
    assert (answer.status_code, answer.json()) == (202, {"deliveries": 2})
    states = {row["id"]: row["state"] for row in await api.rows("SELECT id, state FROM delivery")}
    assert [states[id] for id in (*mine, theirs)] == ["pending", "pending", "ignored", "failed"]
    assert (await api.http.post("/v1/deliveries/replay", json={"limit": 0})).status_code == 422


@pytest.mark.parametrize("id", ["0", "-1", "99999999999999999999", "x"])
async def test_what_is_not_there_is_not_found(api: Api, id: str) -> None:
    assert (await api.http.get(f"/v1/deliveries/{id}")).status_code == 404
    assert (await api.http.post(f"/v1/deliveries/{id}/replay")).status_code == 404


async def test_lists_of_things_made_by_hand_are_in_order_of_making(api: Api, name: str) -> None:
    made = [(await api.made("/v1/brands", name=f"{name}-{number}"))["id"] for number in range(3)]
    listed: list[str] = []
    cursor: dict[str, str] = {}
    while True:
        page = (await api.http.get("/v1/brands", params={"limit": "2", **cursor})).json()
        listed += [one["id"] for one in page["items"]]
        if page["next"] is None:
            break
        cursor = {"cursor": page["next"]}
    assert [id for id in listed if id in made] == made
    assert len(set(listed)) == len(listed)
