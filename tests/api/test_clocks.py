"""Clocks over REST: filtered lists, one with its events, and on the ticket's timeline."""

from __future__ import annotations

from datetime import timedelta
from typing import Any
from uuid import UUID, uuid4

import pytest

from gateway.sla.clock import Step, Terms
from gateway.sla.news import answered, status_changed
from gateway.sla.sweep import sweep_due
from support.clocks import add_tickets, ask, started
from support.rest import Api

HOUR = timedelta(hours=1)


async def ticket_with_clocks(api: Api, name: str) -> UUID:
    """A ticket two hours old: a breached, a met and a paused clock."""
    connection = await api.shout(name)
    now = api.runtime.now()
    begin = now - 2 * HOUR
    (ticket,) = await add_tickets(api.runtime, UUID(connection["id"]), 1, begin)
    solved = Terms(8 * HOUR, stops_on="solved")
    breached = Terms(HOUR, steps=(Step(0.5, "half", ("ops",)),), pauses=False, stops_on="effect")
    await ask(
        api.runtime,
        [
            started(ticket, begin, kind="first_response"),
            started(ticket, begin, kind="resolution", terms=solved),
            started(ticket, begin, kind="acknowledged", terms=breached, policy="regulated", label="14 CFR 259.7"),
            answered(ticket, begin + timedelta(minutes=30), now, "reply:1"),
            *status_changed(ticket, "waiting", begin + HOUR, now),
        ],
        now,
    )
    async with api.runtime.database.write() as connection_:
        await sweep_due(connection_, api.runtime.calendars, now, 500)
    return ticket


async def listed(api: Api, **query: Any) -> set[str]:
    """The kinds of the clocks that a list holds."""
    answer = await api.http.get("/v1/clocks", params=query)
    assert answer.status_code == 200, answer.text
    return {one["kind"] for one in answer.json()["items"]}


async def test_clocks_are_found_by_state_kind_ticket_due_time_and_breach(api: Api, name: str) -> None:
    ticket = str(await ticket_with_clocks(api, name))
    everything = {"first_response", "resolution", "acknowledged"}
    assert await listed(api, ticket=ticket) == everything
    assert await listed(api, ticket=ticket, state="running") == {"acknowledged"}
    assert await listed(api, ticket=ticket, state="paused") == {"resolution"}
    assert await listed(api, ticket=ticket, state="met") == {"first_response"}
    assert await listed(api, ticket=ticket, kind="resolution") == {"resolution"}
    assert await listed(api, ticket=ticket, breached=True) == {"acknowledged"}
    assert await listed(api, ticket=ticket, breached=False) == everything - {"acknowledged"}
    now = api.runtime.now().isoformat()
    assert await listed(api, ticket=ticket, due_before=now, state="running") == {"acknowledged"}
    assert await listed(api, ticket=ticket, due_before=(api.runtime.now() - 5 * HOUR).isoformat()) == set()
    page = (await api.http.get("/v1/clocks", params={"ticket": ticket, "limit": 2})).json()
    rest = (await api.http.get("/v1/clocks", params={"ticket": ticket, "cursor": page["next"]})).json()
    assert {one["kind"] for one in (*page["items"], *rest["items"])} == everything


@pytest.mark.parametrize("query", [{"state": "late"}, {"kind": "x"}, {"ticket": "1"}, {"due_before": "soon"}])
async def test_a_filter_that_means_nothing_is_refused(api: Api, query: dict[str, str]) -> None:
    answer = await api.http.get("/v1/clocks", params=query)
    assert answer.status_code == 422
    assert answer.json()["errors"][0]["field"] == next(iter(query))


async def test_one_clock_tells_what_was_told_of_it(api: Api, name: str) -> None:
    ticket = await ticket_with_clocks(api, name)
    id = await api.value("SELECT id FROM clock WHERE ticket_id = :id AND kind = 'acknowledged'", id=ticket)
    clock = (await api.http.get(f"/v1/clocks/{id}")).json()
    assert (clock["minutes"], clock["calendar"], clock["calendar_version"]) == (60.0, "always", 1)
    assert (clock["policy"], clock["label"], clock["state"]) == ("regulated", "14 CFR 259.7", "running")
    assert clock["steps"] == [
        {"at": 0.5, "name": "half", "notify": ["ops"]},
        {"at": 1.0, "name": "breach", "notify": []},
    ]
    (event,) = clock["events"]
    assert (event["kind"], event["step"], event["data"]["skipped"]) == ("breached", 2, ["half"])
    assert event["at"] == clock["due_at"] == clock["breached_at"]
    assert (await api.http.get(f"/v1/clocks/{uuid4()}")).status_code == 404


async def test_a_tickets_timeline_shows_its_clocks(api: Api, name: str) -> None:
    ticket = await ticket_with_clocks(api, name)
    found = (await api.http.get(f"/v1/tickets/{ticket}")).json()
    assert {one["kind"]: one["state"] for one in found["clocks"]} == {
        "first_response": "met",
        "resolution": "paused",
        "acknowledged": "running",
    }
    entries = [(one["entry"], one["who"], one["kind"], one["text"]) for one in found["timeline"]]
    assert entries == [
        ("clock", "gateway", "met", "first_response: met"),
        ("clock", "gateway", "breached", "acknowledged: breached (14 CFR 259.7)"),
    ]


async def test_a_connection_whose_clocks_are_the_helpdesks_runs_none(api: Api, name: str) -> None:
    ticket = await ticket_with_clocks(api, name)
    connection = await api.value("SELECT connection_id FROM ticket WHERE id = :id", id=ticket)
    answer = await api.http.patch(f"/v1/connections/{connection}", json={"sla_owner": "helpdesk"})
    assert answer.json()["sla_owner"] == "helpdesk"
    assert await listed(api, ticket=str(ticket), state="running") == {"acknowledged"}
    query = {"ticket": str(ticket), "state": "cancelled"}
    (cancelled,) = (await api.http.get("/v1/clocks", params=query)).json()["items"]
    assert (cancelled["kind"], cancelled["reason"]) == ("resolution", "sla_owner: helpdesk")


async def test_scopes(api: Api, name: str) -> None:
    other = await api.made("/v1/keys", name=name, scopes=["outbound"])
    async with api.caller(other["key"]) as http:
        for path in ("", f"/{uuid4()}"):
            assert (await http.get(f"/v1/clocks{path}")).status_code == 403
