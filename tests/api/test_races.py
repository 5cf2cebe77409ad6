"""Requests that meet: one of them wins, the others are told, and nothing is mixed."""

from __future__ import annotations

import asyncio
from typing import Any
from uuid import UUID

from support.rest import Api


async def held(api: Api, id: str) -> dict[str, Any]:
    """A connection's configuration as the gateway works with it, secrets opened."""
    endpoint = (await api.runtime.connections.load([UUID(id)]))[UUID(id)]
    return dict(endpoint.config or {})


async def test_of_several_of_one_name_one_is_made(api: Api, name: str) -> None:
    body = {"plugin": "shout", "name": name, "config": {"user_id": "1", "secret": "s"}}
    answers = await asyncio.gather(*(api.http.post("/v1/connections", json=body) for _ in range(5)))
    assert sorted(answer.status_code for answer in answers) == [201, 409, 409, 409, 409]


async def test_of_several_changes_of_one_version_one_is_made(api: Api, name: str) -> None:
    made = await api.shout(name)
    path = f"/v1/connections/{made['id']}"
    racing = [
        api.http.patch(path, json={"config": {"labels": {"by": str(number)}}}, headers={"If-Match": '"1"'})
        for number in range(5)
    ]
    answers = await asyncio.gather(*racing)
    assert sorted(answer.status_code for answer in answers) == [200, 412, 412, 412, 412]
    [winner] = [answer.json() for answer in answers if answer.status_code == 200]
    assert (await held(api, made["id"]))["labels"] == winner["config"]["labels"]


async def test_changes_of_different_fields_are_all_kept(api: Api, name: str) -> None:
    made = await api.shout(name, previous=["older"], nested={"name": "n", "pin": "1234"})
    path = f"/v1/connections/{made['id']}"
    changes = [{"labels": {str(number): "x"}} for number in range(5)] + [{"secret": "new"}]
    answers = await asyncio.gather(*(api.http.patch(path, json={"config": change}) for change in changes))
    assert {answer.status_code for answer in answers} == {200}
    assert len({answer.headers["etag"] for answer in answers}) == len(changes)
    assert await held(api, made["id"]) == {
        "user_id": "1",
        "secret": "new",
        "previous": ["older"],
        "nested": {"name": "n", "pin": "1234"},
        "labels": {str(number): "x" for number in range(5)},
        "mood": "well",
    }


async def test_a_part_of_a_configuration_keeps_its_secret_when_another_part_changes(api: Api, name: str) -> None:
    made = await api.shout(name, nested={"name": "n", "pin": "1234"})
    path = f"/v1/connections/{made['id']}"
    for change, pin in [
        ({"name": "m"}, "1234"),
        ({"pin": {"set": True}}, "1234"),
        ({"pin": "5678"}, "5678"),
        ({"pin": None}, None),
    ]:
        answer = await api.http.patch(path, json={"config": {"nested": change}})
        assert answer.status_code == 200, answer.text
        assert (await held(api, made["id"]))["nested"].get("pin") == pin, change
