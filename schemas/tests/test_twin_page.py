"""The page of a twin: shows what there is, escaped, and lets people play with it."""

from __future__ import annotations

from collections.abc import AsyncIterator
from datetime import datetime
from typing import Any

import httpx2
import pytest

from gateway_schemas.testing.twin import Fault, SkewedTime, Twin

HOSTILE = '</pre><script>alert("x")</script>{{LEDGER}}'


class Board(Twin):
    """Somebody writes on it."""

    name = "board"
    actions = ("write", "lose")

    def __init__(self) -> None:
        super().__init__(time=SkewedTime())
        self.texts: list[str] = []

    def snapshot(self) -> dict[str, Any]:
        return {"texts": self.texts, "raw": b"\xff"}

    def write(self, text: str, author: str = "rita", stars: int | None = None, at: datetime | None = None) -> str:
        """Somebody writes; its id."""
        self.texts.append(text)
        self.effect("write", text, author=author, stars=stars)
        return str(len(self.texts))

    async def lose(self, number: int) -> None:
        """One is lost."""
        del self.texts[number]


@pytest.fixture
def board() -> Board:
    return Board()


@pytest.fixture
async def http(board: Board) -> AsyncIterator[httpx2.AsyncClient]:
    async with httpx2.AsyncClient(transport=httpx2.ASGITransport(board.app), base_url="http://board") as client:
        yield client


async def test_what_people_wrote_is_escaped(board: Board, http: httpx2.AsyncClient) -> None:
    board.write(HOSTILE, author=HOSTILE)
    answer = await http.get("/_twin")
    assert "<script>alert" not in answer.text
    assert answer.text.count("&lt;/pre&gt;&lt;script&gt;alert") == 3, "in the state, the ledger's id and its author"
    assert answer.text.count("{{LEDGER}}") == 3, "what was written is not filled in"
    policy = answer.headers["content-security-policy"]
    assert "default-src 'none'" in policy
    nonces = {part.split("'")[1] for part in policy.split("; ") if "nonce-" in part}
    assert len(nonces) == 1
    assert f'nonce="{nonces.pop().removeprefix("nonce-")}"' in answer.text


async def test_actions_are_named_with_the_parameters_that_json_can_carry(http: httpx2.AsyncClient) -> None:
    told = (await http.get("/_twin/actions")).json()
    assert told["write"] == {
        "does": "Somebody writes; its id.",
        "parameters": {
            "text": {"required": True},
            "author": {"required": False, "default": "rita"},
            "stars": {"required": False},
        },
    }


async def test_actions_act(board: Board, http: httpx2.AsyncClient) -> None:
    made = await http.post("/_twin/actions/write", json={"text": "hello", "stars": "2"})
    assert made.json() == {"result": "1"}
    assert board.ledger[0].data == {"author": "rita", "stars": 2}
    assert (await http.post("/_twin/actions/lose", json={"number": 0})).status_code == 200
    assert board.texts == []


@pytest.mark.parametrize(
    ("name", "given", "status", "says"),
    [
        ("write", {}, 422, "write needs text"),
        ("write", {"text": "a", "at": "2026-01-01"}, 422, "not at"),
        ("write", {"text": "a", "stars": "many"}, 422, "valid integer"),
        ("write", ["a"], 422, "expected an object"),
        ("lose", {"number": 5}, 422, "IndexError"),
        ("snapshot", {}, 404, "no action snapshot"),
    ],
)
async def test_actions_refuse(http: httpx2.AsyncClient, name: str, given: Any, status: int, says: str) -> None:
    answer = await http.post(f"/_twin/actions/{name}", json=given)
    assert (answer.status_code, says in answer.json()["error"]) == (status, True), answer.text


async def test_faults_are_set_and_strike(board: Board, http: httpx2.AsyncClient) -> None:
    await http.put("/_twin/faults", json=[{"kind": "status_before", "status": 503, "path": "/posts"}])
    assert board.faults == [Fault("status_before", status=503, path="/posts")]
    assert (await http.get("/posts")).status_code == 503
    await http.put("/_twin/schedule", json={"seed": 1, "share": 1, "kinds": ["status_before"], "statuses": [502]})
    assert (await http.get("/posts")).status_code == 502
    await http.put("/_twin/schedule", content="null", headers={"content-type": "application/json"})
    assert (await http.get("/posts")).status_code == 404
    await http.put("/_twin/webhooks", json={"duplicate": 1})
    await http.put("/_twin/clock", json={"skew_seconds": -60})
    told = (await http.get("/_twin/faults")).json()
    assert told["webhooks"]["duplicate"] == 1
    assert told["clock"]["skew_seconds"] == -60
    assert [one["status"] for one in (await http.get("/_twin/requests")).json()] == [503, 502, 404]


async def test_faults_say_which_field_is_wrong(http: httpx2.AsyncClient) -> None:
    answer = await http.put("/_twin/faults", json=[{"kind": "explosion", "statuss": 5}])
    assert answer.status_code == 422
    assert "0.kind" in answer.json()["error"]
    assert "0.statuss" in answer.json()["error"]


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        ({"origin": "http://evil.example", "content-type": "application/json"}, 403),
        ({"origin": "null", "content-type": "application/json"}, 403),
        ({"content-type": "text/plain"}, 415),
        ({}, 415),
        ({"origin": "http://board", "content-type": "application/json"}, 200),
    ],
)
async def test_no_foreign_page_may_play(http: httpx2.AsyncClient, headers: dict[str, str], status: int) -> None:
    answer = await http.put("/_twin/faults", content="[]", headers=headers)
    assert answer.status_code == status
