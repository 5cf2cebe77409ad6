"""The twin refuses what RT 5.0.3 refuses, with its status and shape. Each line here was seen on a real server."""

from __future__ import annotations

from typing import Any

import pytest

TICKET = {"Queue": "General", "Subject": "s", "Content": "x", "ContentType": "text/plain"}


@pytest.fixture
def ask(desk: Any) -> Any:
    async def ask(method: str, path: str, body: Any = None, **headers: str) -> Any:
        given = {"Authorization": f"token {desk.twin.token}", **headers}
        return await desk.http.request(method, f"{desk.twin.url}/REST/2.0/{path}", json=body, headers=given)

    return ask


@pytest.mark.parametrize("given", ["", "token 1-27-wrong", "Basic eDp5", "Basic ???", "Bearer x"])
async def test_whatever_is_wrong_is_401_alike(ask: Any, given: str) -> None:
    answer = await ask("GET", "rt", Authorization=given)
    assert (answer.status_code, answer.json()) == (401, {"message": "Unauthorized"})


@pytest.mark.parametrize(
    ("body", "status"),
    [
        ({"Subject": "no queue"}, 400),
        ({**TICKET, "Queue": "Nope"}, 403),
        ({**TICKET, "Status": "bogus"}, 400),
        ({**TICKET, "Attachments": [{"FileName": "a"}]}, 400),
        ({**TICKET, "Requestor": ["no-such-user"]}, 201),
        ({**TICKET, "Requestor": ["x:42"]}, 201),
        ({**TICKET, "CustomFields": {"nothing": "x"}}, 201),
        ({**TICKET, "Owner": "nobody-here"}, 201),
    ],
)
async def test_creating(desk: Any, ask: Any, body: Any, status: int) -> None:
    answer = await ask("POST", "ticket", body)
    assert answer.status_code == status
    assert len(desk.twin.tickets) == (status == 201)
    if status == 201:
        assert isinstance(answer.json()["id"], str)
        shown = (await ask("GET", "ticket/1")).json()
        assert (shown["id"], shown["Requestor"], shown["Owner"]["id"]) == (1, [], "Nobody")


async def test_nothing_protects_from_doubles(desk: Any, ask: Any) -> None:
    for _ in range(2):
        await ask("POST", "ticket", TICKET)
    assert len(desk.twin.tickets) == 2


async def test_refusals_of_changes_are_200(ask: Any) -> None:
    await ask("POST", "ticket", TICKET)
    for body, said in (
        ({"Status": "bogus"}, 1),
        ({"Status": "deleted"}, 1),
        ({"Queue": "Nowhere"}, 1),
        ({"Owner": "nobody-here"}, 1),
        ({"CustomFields": {"nothing": "x"}}, 0),
        ({}, 0),
    ):
        answer = await ask("PUT", "ticket/1", body)
        assert (answer.status_code, len(answer.json())) == (200, said)
    assert (await ask("GET", "ticket/1")).json()["Status"] == "new"
    assert (await ask("PUT", "ticket/9", {})).status_code == 404


async def test_etags(ask: Any) -> None:
    await ask("POST", "ticket", TICKET)
    tag = (await ask("GET", "ticket/1")).headers["etag"]
    assert (await ask("PUT", "ticket/1", {"Subject": "a"}, **{"If-Match": tag})).status_code == 200
    assert (await ask("PUT", "ticket/1", {"Subject": "b"}, **{"If-Match": tag})).status_code == 412


async def test_messages(ask: Any) -> None:
    await ask("POST", "ticket", TICKET)
    assert (await ask("POST", "ticket/9/comment", {"Content": "x", "ContentType": "text/plain"})).status_code == 400
    assert (await ask("POST", "ticket/1/comment", {"Content": "x"})).status_code == 400
    assert (await ask("POST", "ticket/1/comment", {})).status_code == 201
    answer = await ask("POST", "ticket/1/correspond", {"Content": "x", "ContentType": "text/plain", "Status": "open"})
    assert answer.headers["location"].startswith("/REST/2.0/transaction/")
    assert len(answer.json()) == 2
    shown = (await ask("GET", "ticket/1")).json()
    assert shown["Status"] == "open"


@pytest.mark.parametrize(
    ("path", "status"),
    [
        ("ticket/9", 404),
        ("transaction/9", 500),
        ("attachment/9", 404),
        ("user/no-such-user", 404),
        ("queue/Nope", 404),
        ("tickets?query=nonsense here", 400),
        ("transactions?query=id > 0 AND (Type = 'x'", 400),
        ("transactions?query=Nothing = 'x'", 400),
        ("tickets?query='CF.{gw_key}' = 'none'", 200),
    ],
)
async def test_reading(ask: Any, path: str, status: int) -> None:
    await ask("POST", "ticket", TICKET)
    assert (await ask("GET", path)).status_code == status


async def test_users(ask: Any) -> None:
    made = await ask("POST", "user", {"Name": "x-1", "RealName": "Ann"})
    assert (made.status_code, made.json()["id"]) == (201, "x-1")
    again = await ask("POST", "user", {"Name": "X-1"})
    assert (again.status_code, again.json()) == (400, {"message": "Name in use"})
    assert (await ask("GET", "user/x-1")).json()["Privileged"] == 0


async def test_only_json_is_taken(desk: Any, ask: Any) -> None:
    assert (await ask("POST", "ticket", TICKET, **{"Content-Type": "text/xml"})).status_code == 415
    answer = await desk.http.post(
        f"{desk.twin.url}/REST/2.0/ticket",
        content=b"{bad",
        headers={"Authorization": f"token {desk.twin.token}", "Content-Type": "application/json"},
    )
    assert answer.status_code == 400


async def test_merged_and_deleted_are_in_no_search(desk: Any, ask: Any) -> None:
    for _ in range(3):
        await ask("POST", "ticket", TICKET)
    await ask("PUT", "ticket/1", {"MergeInto": 2})
    desk.twin.delete(3)
    found = (await ask("GET", "tickets?query=id > 0")).json()
    assert ([one["id"] for one in found["items"]], found["total"]) == (["2"], 1)
    assert (await ask("GET", "ticket/1")).json()["id"] == 2
    assert (await ask("GET", "ticket/3")).json()["Status"] == "deleted"
    listed = (await ask("GET", "transactions?query=id > 0&per_page=500")).json()
    assert (listed["total"], listed["pages"], listed["per_page"]) == (None, None, 100)
