"""One call stops everything outbound, and what waited goes out when it is lifted."""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from uuid import UUID

import httpx2
import pytest

from gateway_x.twin import XTwin
from gateway_zendesk.twin import ZendeskTwin
from support.gateway import Gateway, fresh_database, running
from support.rest import KEY, Api


@dataclass
class Line:
    """A brand's account at X, a gateway, and a helpdesk whose agent has questions to answer."""

    gateway: Gateway
    http: httpx2.AsyncClient
    x: XTwin
    desk: ZendeskTwin
    source: UUID
    helpdesk: UUID

    async def complain(self, text: str) -> None:
        """A customer complains, and the helpdesk has the ticket."""
        self.x.post("rita", text)
        await self.x.settle()

        async def told() -> bool:
            return any(text in one.body for ticket in self.desk.tickets.values() for one in ticket.comments)

        await self.gateway.until(told, "the helpdesk was told")

    async def answer(self, text: str) -> None:
        """The agent answers the newest ticket."""
        self.desk.agent_comment(max(self.desk.tickets), "Ann", text)
        await self.desk.settle()

    async def replies(self, state: str, count: int) -> None:
        """Wait until so many replies are in a state."""

        async def reached() -> bool:
            statement = "SELECT count(*) FROM reply WHERE state = :state"
            return await self.gateway.value(statement, state=state) == count

        await self.gateway.until(reached, f"{count} replies are {state}")

    def published(self) -> list[str]:
        """What the brand has posted."""
        return [post.written for post in self.x.published("AcmeSupport")]


@pytest.fixture
async def line(server_url: str, tmp_path: Path) -> AsyncIterator[Line]:
    """A whole line, worker included."""
    x, desk = XTwin(tier="enterprise"), ZendeskTwin()
    desk.limits.off()
    x.add_brand("AcmeSupport")
    x.add_user("rita")
    async with (
        fresh_database(server_url) as url,
        x.serve(),
        desk.serve(),
        running(url, tmp_path) as gateway,
        httpx2.AsyncClient(base_url=gateway.url, headers={"Authorization": f"Bearer {KEY}"}) as http,
    ):
        helpdesk = await gateway.add_connection(
            "helpdesk", "zendesk", {"base_url": desk.url, "email": desk.email, "api_token": desk.token, "share": 1.0}
        )
        app = await gateway.add_app("x", x.app_config())
        source = await gateway.add_connection(
            "source", "x", x.connection_config("AcmeSupport"), app=app, helpdesk=helpdesk
        )
        for brand in ("Acme", "Other"):
            assert (await http.post("/v1/brands", json={"name": brand})).is_success
        assert (await http.patch(f"/v1/connections/{source}", json={"brand": "Acme"})).is_success
        for id in (helpdesk, source):
            answer = await http.post(f"/v1/connections/{id}/install")
            assert answer.status_code == 200, answer.text
        yield Line(gateway, http, x, desk, source, helpdesk)


async def test_a_stop_holds_what_is_outbound_in_its_scope_and_nothing_else(line: Line) -> None:
    elsewhere = [{"scope": "brand", "id": "Other"}, {"scope": "connection", "id": str(line.helpdesk)}]
    for stop in elsewhere:
        assert (await line.http.post("/v1/outbound/pause", json=stop)).status_code == 200
    here = [
        {"scope": "all"},
        {"scope": "brand", "id": "Acme"},
        {"scope": "source", "id": "x"},
        {"scope": "connection", "id": str(line.source)},
    ]
    for number, stop in enumerate(here):
        await line.complain(f"@AcmeSupport parcel {number} is stuck")
        answer = await line.http.post("/v1/outbound/pause", json={**stop, "reason": "a slip-up"})
        assert answer.status_code == 200, answer.text
        await line.answer(f"We found parcel {number}!")
        await line.replies("queued", 1)
        # the door stores meanwhile, and what comes is recorded
        await line.complain(f"@AcmeSupport so is parcel {number}b")
        assert len(line.published()) == number, f"{stop}: what is stopped went out"
        assert (await line.http.post("/v1/outbound/resume", json=stop)).status_code == 200
        await line.replies("sent", number + 1)
        assert line.published()[-1] == f"We found parcel {number}!"


async def test_stops_are_listed_stand_once_and_are_lifted_once(api: Api) -> None:
    first = (await api.http.post("/v1/outbound/pause", json={"reason": "slip-up"})).json()
    again = (await api.http.post("/v1/outbound/pause", json={})).json()
    assert first["id"] == again["id"]
    assert (again["scope"], again["reason"], again["paused_by"]) == ("all", "slip-up", "first key")
    assert [one["id"] for one in (await api.http.get("/v1/outbound")).json()["items"]] == [first["id"]]
    lifted = (await api.http.post("/v1/outbound/resume", json={})).json()
    assert (lifted["id"], lifted["lifted_by"]) == (first["id"], "first key")
    assert (await api.http.get("/v1/outbound")).json()["items"] == []
    assert (await api.http.post("/v1/outbound/resume", json={})).status_code == 404
    # the same scope can be stopped anew
    anew = (await api.http.post("/v1/outbound/pause", json={})).json()
    assert anew["id"] != first["id"]
    assert (await api.http.post("/v1/outbound/resume", json={})).status_code == 200


@pytest.mark.parametrize(
    ("body", "field"),
    [
        ({"scope": "everything"}, "scope"),
        ({"scope": "all", "id": "x"}, "id"),
        ({"scope": "brand"}, "id"),
        ({"scope": "brand", "id": "nobody"}, "id"),
        ({"scope": "source", "id": "nothing"}, "id"),
        ({"scope": "connection", "id": "0197b1a0-0000-7000-8000-000000000000"}, "id"),
        ({"scop": "all"}, "scop"),
    ],
)
async def test_a_stop_of_nothing_is_refused(api: Api, body: dict[str, Any], field: str) -> None:
    answer = await api.http.post("/v1/outbound/pause", json=body)
    assert answer.status_code == 422
    assert [one["field"] for one in answer.json()["errors"]] == [field]
    assert (await api.http.get("/v1/outbound")).json()["items"] == []
