"""Calendars over REST: written, tried out, asked, fed, and refused with the field and the mend."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from datetime import timedelta
from typing import Any
from uuid import UUID, uuid4

import pytest
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import BaseRoute, Route

from gateway.engine.sandbox import Sandbox
from gateway.pipeline.drains import Drains
from gateway_schemas.testing.twin import Twin
from support.clocks import add_tickets, ask, clocks_of, started
from support.rest import Api

OFFICE = {day: [["09:00", "17:00"]] for day in ("monday", "tuesday", "wednesday", "thursday", "friday")}
EVERY_DAY = {day: [["00:00", "24:00"]] for day in (*OFFICE, "saturday", "sunday")}


def ics(*events: str) -> bytes:
    """An iCalendar document."""
    lines = ["BEGIN:VCALENDAR", "VERSION:2.0", "PRODID:-//test//EN"]
    for number, event in enumerate(events):
        lines += ["BEGIN:VEVENT", f"UID:{number}", "DTSTAMP:20260101T000000Z", *event.split(), "END:VEVENT"]
    return "\r\n".join([*lines, "END:VCALENDAR", ""]).encode()


class Intranet(Twin):
    """Shares a calendar, behind a redirect."""

    name = "intranet"
    document = ics("DTSTART;VALUE=DATE:20261231")

    def routes(self) -> Sequence[BaseRoute]:
        async def moved(_: Request) -> Response:
            return Response(status_code=302, headers={"location": "/calendar.ics"})

        async def calendar(_: Request) -> Response:
            return Response(self.document, media_type="text/calendar")

        return [Route("/secret-token", moved), Route("/calendar.ics", calendar)]


@pytest.fixture
async def intranet() -> AsyncIterator[Intranet]:
    """A served calendar."""
    twin = Intranet()
    async with twin.serve():
        yield twin


async def make(api: Api, name: str, **more: Any) -> dict[str, Any]:
    """A calendar of office hours in Berlin."""
    return await api.made("/v1/calendars", **{"name": name, "timezone": "Europe/Berlin", "hours": OFFICE, **more})


async def running(api: Api, calendar: str, name: str) -> UUID:
    """A ticket with an hour's clock that was started in office hours just now; its id."""
    connection = await api.shout(name)
    now = api.runtime.now()
    (ticket,) = await add_tickets(api.runtime, UUID(connection["id"]), 1, now)
    await ask(api.runtime, [started(ticket, now, calendar=calendar)], now)
    return ticket


async def work(api: Api, drain: str) -> None:
    """Run a drain as a worker would."""
    sandbox = Sandbox(5.0)
    try:
        await Drains(api.runtime, sandbox).run(drain)
    finally:
        sandbox.close()


async def test_a_calendar_is_made_read_and_listed(api: Api, name: str) -> None:
    made = await make(
        api, name, holidays=["2026-12-24", "2026-12-24"], holiday_region={"country": "de", "subdivision": "BY"}
    )
    assert (made["version"], made["built_in"], made["feed"]) == (1, False, None)
    assert made["holidays"] == ["2026-12-24"]
    assert made["holiday_region"] == {"country": "DE", "subdivision": "BY"}
    assert made["hours"] == OFFICE
    assert made["tzdata"]
    assert made["holiday_data"]
    for reference in (name, made["id"]):
        answer = await api.http.get(f"/v1/calendars/{reference}")
        assert answer.json() == made
        assert answer.headers["etag"] == '"1"'
    first = (await api.http.get("/v1/calendars?limit=1")).json()
    assert first["items"][0]["name"] == "always"
    assert first["items"][0]["built_in"] is True
    rest = (await api.http.get("/v1/calendars", params={"cursor": first["next"], "limit": 200})).json()
    assert name in {one["name"] for one in rest["items"]}
    again = await api.http.post("/v1/calendars", json={"name": name, "timezone": "UTC", "hours": OFFICE})
    assert (again.status_code, again.json()["errors"][0]["field"]) == (409, "name")


@pytest.mark.parametrize(
    ("change", "field", "fix"),
    [
        ({"hours": {}}, "hours", "add some"),
        ({"hours": {"monday": [["22:00", "06:00"]]}}, "hours.monday.0", "split a period over midnight"),
        ({"hours": {"monday": [["09:00"]]}}, "hours.monday.0", "write"),
        ({"hours": {"someday": [["09:00", "10:00"]]}}, "hours.someday", "monday"),
        ({"timezone": "Mars/Olympus"}, "timezone", "IANA"),
        ({"holiday_region": {"country": "XX"}}, "holiday_region.country", "ISO 3166-1"),
        ({"holiday_region": {"country": "DE", "subdivision": "??"}}, "holiday_region.subdivision", "BY"),
        ({"holidays": ["2026-02-30"]}, "holidays.0", ""),
        ({"feed": "ftp://example.com/a.ics"}, "feed", "iCalendar"),
        ({"feed": "http://127.0.0.1:9/a.ics"}, "feed", "iCalendar"),
        ({"allow_private": ["nonsense/8"]}, "allow_private.0", ""),
        ({"name": "a/b"}, "name", ""),
    ],
)
async def test_what_cannot_be_kept_is_refused_with_the_field_and_the_mend(
    api: Api, name: str, change: dict[str, Any], field: str, fix: str
) -> None:
    body = {"name": name, "timezone": "UTC", "hours": OFFICE, **change}
    answer = await api.http.post("/v1/calendars", json=body)
    assert answer.status_code == 422, answer.text
    (error,) = answer.json()["errors"]
    assert error["field"] == field
    assert fix in error.get("fix", "")
    assert (await api.http.get(f"/v1/calendars/{name}")).status_code == 404


async def test_due_and_elapsed_answer_for_the_vectors_of_vendors(api: Api, name: str) -> None:
    await make(api, name)
    due = await api.http.get(f"/v1/calendars/{name}/due?start=2026-03-13T16:45:00%2B01:00&minutes=30")
    assert due.json() == {
        "calendar": name,
        "version": 1,
        "start": "2026-03-13T16:45:00+01:00",
        "minutes": 30.0,
        "due": "2026-03-16T09:15:00+01:00",
    }
    # a plus sign that was not encoded arrives as a space
    due = await api.http.get(f"/v1/calendars/{name}/due?start=2026-03-13T16:30:00+01:00&minutes=60")
    assert due.json()["due"] == "2026-03-16T09:30:00+01:00"
    passed = await api.http.get(f"/v1/calendars/{name}/elapsed?start=2026-03-13T16:58:30Z&end=2026-03-16T08:00:00.5Z")
    assert passed.json()["minutes"] == 0.5 / 60
    passed = await api.http.get("/v1/calendars/always/elapsed?start=2026-03-29T00:00:00Z&end=2026-03-29T00:01:30Z")
    assert passed.json()["minutes"] == 1.5
    passed = await api.http.get("/v1/calendars/always/elapsed?start=2026-03-29T00:00:00Z&end=2026-03-28T00:00:00Z")
    assert passed.json()["minutes"] == 0


@pytest.mark.parametrize(
    ("query", "field"),
    [
        ("due?start=2026-03-13T16:45:00Z", "minutes"),
        ("due?start=2026-03-13T16:45:00&minutes=3", "start"),
        ("due?start=2026-03-13T16:45:00Z&minutes=-1", "minutes"),
        ("due?start=2026-03-13T16:45:00Z&minutes=nan", "minutes"),
        ("due?start=2026-03-13T16:45:00Z&minutes=10000000", "minutes"),
        ("due?start=0001-01-01T00:00:00Z&minutes=3", "start"),
        ("elapsed?start=2026-03-13T16:45:00Z&end=9999-12-31T23:59:59Z", "end"),
    ],
)
async def test_a_question_without_an_answer_names_its_field(api: Api, name: str, query: str, field: str) -> None:
    await make(api, name, hours={"monday": [["09:00", "09:05"]]})
    answer = await api.http.get(f"/v1/calendars/{name}/{query}")
    assert answer.status_code == 422, answer.text
    assert answer.json()["errors"][0]["field"] == field


async def test_a_change_makes_a_version_and_open_clocks_follow(api: Api, name: str) -> None:
    made = await make(
        api,
        name,
        holiday_region={"country": "DE"},
        hours=EVERY_DAY,
    )
    ticket = await running(api, name, name)
    (before,) = await clocks_of(api.runtime, ticket)
    await api.woken()
    path = f"/v1/calendars/{name}"
    stale = await api.http.patch(path, json={"holidays": []}, headers={"If-Match": '"9"'})
    assert stale.status_code == 412
    tomorrow = api.runtime.now().date() + timedelta(days=1)
    closed = [str(tomorrow - timedelta(days=number)) for number in range(3)]
    answer = await api.http.patch(path, json={"holidays": closed}, headers={"If-Match": '"1"'})
    assert answer.status_code == 200, answer.text
    assert (answer.json()["version"], answer.headers["etag"]) == (2, '"2"')
    assert answer.json()["holiday_region"] == {"country": "DE", "subdivision": None}, "what is left out stays"
    assert await api.woken() == {f"calendar:{made['id']}"}
    await work(api, f"calendar:{made['id']}")
    (after,) = await clocks_of(api.runtime, ticket)
    assert after.calendar_version == 2
    assert before.due_at is not None
    assert after.due_at is not None
    assert after.due_at > before.due_at + timedelta(hours=20)
    replaced = await api.http.put(path, json={"timezone": "UTC", "hours": OFFICE})
    assert replaced.json()["version"] == 3
    assert (replaced.json()["holidays"], replaced.json()["holiday_region"]) == ([], None), "what is left out is gone"
    taken = await api.http.patch(path, json={"hours": None})
    assert taken.json()["errors"][0]["field"] == "hours"


async def test_a_preview_says_what_a_change_would_do_and_does_nothing(api: Api, name: str) -> None:
    await make(api, name, timezone="UTC", hours=EVERY_DAY)
    ticket = await running(api, name, name)
    today = api.runtime.now().date()
    body = {"holidays": [str(today + timedelta(days=number)) for number in (-1, 0, 1)]}
    found = (await api.http.post(f"/v1/calendars/{name}/preview", json=body)).json()
    (one,) = found.pop("clocks")
    assert found == {"open_clocks": 1, "examined": 1, "changed": 1, "would_breach": 0, "would_be_voided": 0}
    assert (one["ticket"], one["breach"]) == (str(ticket), "none")
    assert one["would_be"] > one["due_at"]
    unchanged = (await api.http.post(f"/v1/calendars/{name}/preview", json={"holidays": ["2020-01-01"]})).json()
    assert (unchanged["changed"], unchanged["clocks"]) == (0, [])
    assert (await api.http.get(f"/v1/calendars/{name}")).json()["version"] == 1
    # and the other way round: what the calendar kept back is late already
    await api.http.patch(f"/v1/calendars/{name}", json=body)
    await api.execute(
        "UPDATE clock SET started_at = :then, running_since = :then WHERE ticket_id = :id",
        then=api.runtime.now() - timedelta(hours=3),
        id=ticket,
    )
    await work(api, f"calendar:{(await api.http.get(f'/v1/calendars/{name}')).json()['id']}")
    found = (await api.http.post(f"/v1/calendars/{name}/preview", json={"holidays": []})).json()
    assert (found["would_breach"], found["clocks"][0]["breach"]) == (1, "new")


async def test_a_calendar_in_use_stays(api: Api, name: str) -> None:
    made = await make(api, name)
    ticket = await running(api, name, name)
    refused = await api.http.delete(f"/v1/calendars/{name}")
    assert (refused.status_code, refused.json()["clocks"]) == (409, 1), refused.text
    await api.execute("UPDATE clock SET state = 'met' WHERE ticket_id = :id", id=ticket)
    policy, revision, now = uuid4(), uuid4(), api.runtime.now()
    await api.execute(
        """INSERT INTO policy (id, name, type, locked, draft, version, created_at)
           VALUES (:id, 'by-hours', 'response_sla', false, '{}', 1, :now)""",
        id=policy,
        now=now,
    )
    await api.execute(
        """INSERT INTO policy_revision (id, policy_id, number, content, reason, author, created_at)
           VALUES (:id, :policy, 1, jsonb_build_object('params', jsonb_build_object('targets', jsonb_build_array(
               jsonb_build_object('calendar', CAST(:name AS text))))), 'for this test', 'somebody', :now)""",
        id=revision,
        policy=policy,
        name=name,
        now=now,
    )
    await api.execute(
        """INSERT INTO policy_activation (policy_id, revision, effective_from, reason, author, created_at)
           VALUES (:policy, 1, :now, 'for this test', 'somebody', :now)""",
        policy=policy,
        now=now,
    )
    refused = await api.http.delete(f"/v1/calendars/{name}")
    assert "a policy in force" in refused.json()["detail"]
    await api.execute(
        "UPDATE policy_activation SET withdrawn_at = :now WHERE policy_id = :policy", policy=policy, now=now
    )
    assert (await api.http.delete(f"/v1/calendars/{name}", headers={"If-Match": '"2"'})).status_code == 412
    assert (await api.http.delete(f"/v1/calendars/{name}")).status_code == 204
    assert (await api.http.get(f"/v1/calendars/{name}")).status_code == 404
    assert await api.value("SELECT count(*) FROM calendar_version WHERE calendar_id = :id", id=UUID(made["id"])) == 1
    assert (await make(api, name))["id"] != made["id"], "the name is free again"


@pytest.mark.parametrize("method", ["put", "patch", "delete", "post"])
async def test_the_built_in_calendar_cannot_be_changed(api: Api, method: str) -> None:
    body = {"timezone": "UTC", "hours": OFFICE}
    path = "/v1/calendars/always" + ("/preview" if method == "post" else "")
    answer = await api.http.request(method, path, json=None if method == "delete" else body)
    assert answer.status_code == 409
    assert "built in" in answer.json()["detail"]


async def test_a_feed_closes_days_and_is_fetched_again(api: Api, name: str, intranet: Intranet) -> None:
    private = ["127.0.0.1/32"]
    made = await make(api, name, feed=f"{intranet.url}/secret-token", allow_private=private)
    assert (made["feed"]["days"], made["feed"]["problem"], made["feed"]["origin"]) == (1, None, intranet.url)
    assert "secret-token" not in str(made), "private feeds carry their key in the address"
    query = "due?start=2026-12-30T16:30:00%2B01:00&minutes=60"
    assert (await api.http.get(f"/v1/calendars/{name}/{query}")).json()["due"] == "2027-01-01T09:30:00+01:00"
    ticket = await running(api, name, name)
    drain = f"calendar:{made['id']}"

    async def due_again() -> dict[str, Any]:
        await api.execute("UPDATE calendar SET feed_due_at = :now WHERE name = :name", now=api.runtime.now(), name=name)
        await work(api, drain)
        found: dict[str, Any] = (await api.http.get(f"/v1/calendars/{name}")).json()
        return found

    same = await due_again()
    assert (same["version"], same["feed"]["version"]) == (1, made["feed"]["version"]), "equal days are no new version"
    intranet.document = ics("DTSTART;VALUE=DATE:20261231", "DTSTART;VALUE=DATE:20270101 RRULE:FREQ=YEARLY")
    newer = await due_again()
    assert newer["version"] == 2
    assert newer["feed"]["days"] > 3
    assert [one.calendar_version for one in await clocks_of(api.runtime, ticket)] == [2]
    intranet.document = b"<html>log in</html>"
    broken = await due_again()
    assert "feed_invalid" in broken["feed"]["problem"]
    assert (broken["version"], broken["feed"]["days"]) == (2, newer["feed"]["days"]), "the last good days stay"
    without = (await api.http.patch(f"/v1/calendars/{name}", json={"feed": None})).json()
    assert without["feed"] is None
    assert (await api.http.get(f"/v1/calendars/{name}/{query}")).json()["due"] == "2026-12-31T09:30:00+01:00"


async def test_an_inner_address_is_not_fetched_unless_it_is_opened(api: Api, name: str, intranet: Intranet) -> None:
    body = {"name": name, "timezone": "UTC", "hours": OFFICE, "feed": f"{intranet.url}/calendar.ics"}
    answer = await api.http.post("/v1/calendars", json=body)
    assert (answer.status_code, answer.json()["errors"][0]["field"]) == (422, "feed")
    assert intranet.url not in answer.text


async def test_a_calendar_of_a_file_is_fetched_before_anything_is_written(
    api: Api, name: str, intranet: Intranet
) -> None:
    feed = {"from_env": "FEED"}
    content = {"name": name, "timezone": "UTC", "hours": OFFICE, "feed": feed, "allow_private": ["127.0.0.1/32"]}
    documents = [
        {"kind": "brands", "content": {"name": name}},
        {"kind": "calendars", "file": "calendars/it.yaml", "content": content},
    ]

    async def applied(url: str) -> Any:
        body: dict[str, Any] = {"documents": documents, "secrets": {"FEED": url}}
        body["digest"] = (await api.http.post("/v1/config/plan", json=body)).json()["digest"]
        return await api.http.post("/v1/config/apply", json=body)

    broken = await applied(f"{intranet.url}/nothing-here")
    assert (broken.status_code, broken.json()["errors"][0]["file"]) == (422, "calendars/it.yaml")
    assert broken.json()["errors"][0]["field"] == "feed"
    assert await api.rows("SELECT 1 FROM brand WHERE name = :name", name=name) == [], "nothing of it is applied"
    assert (await applied(f"{intranet.url}/secret-token")).status_code == 200
    made = (await api.http.get(f"/v1/calendars/{name}")).json()
    assert (made["version"], made["feed"]["days"]) == (1, 1)
    content["timezone"] = "Europe/Rome"
    same = await api.http.post("/v1/config/plan", json={"documents": documents})
    assert [one["field"] for one in same.json()["changes"][0]["fields"]] == ["timezone"]
    assert same.json()["kept_secrets"] == ["FEED"]
    assert (await applied(f"{intranet.url}/secret-token")).status_code == 200
    made = (await api.http.get(f"/v1/calendars/{name}")).json()
    assert (made["version"], made["timezone"], made["feed"]["days"]) == (2, "Europe/Rome", 1)
    exported = (await api.http.get("/v1/config/export")).json()["documents"]
    document = next(one["content"] for one in exported if one["kind"] == "calendars" and one["content"]["name"] == name)
    assert document["feed"] == {"from_env": f"CALENDAR_{name.upper()}_FEED"}
    assert "secret-token" not in str(exported)


async def test_scopes(api: Api, name: str) -> None:
    reader = await api.made("/v1/keys", name=name, scopes=["read"])
    async with api.caller(reader["key"]) as http:
        assert (await http.get("/v1/calendars")).status_code == 200
        assert (await http.post("/v1/calendars", json={})).status_code == 403
        for method, path in (("PUT", "always"), ("PATCH", "always"), ("DELETE", "always")):
            assert (await http.request(method, f"/v1/calendars/{path}", json={})).status_code == 403
