"""Two who change the same thing: with If-Match, one of them is told that the other was faster, whatever the thing."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any
from uuid import UUID

import pytest

from support.rest import Api

OFFICE = {"monday": [["09:00", "17:00"]]}


async def a_brand(api: Api, name: str) -> tuple[str, str, Any]:
    """A brand, and how it is changed."""
    made = await api.made("/v1/brands", name=name)
    return f"/v1/brands/{made['id']}", "PATCH", lambda n: {"timezone": f"Etc/GMT+{n}"}


async def a_person(api: Api, name: str) -> tuple[str, str, Any]:
    """A person, and how they are changed."""
    made = await api.made("/v1/people", name=name)
    return f"/v1/people/{made['id']}", "PUT", lambda n: {"name": f"{name} {n}", "emails": [f"{name}-{n}@acme.test"]}


async def a_calendar(api: Api, name: str) -> tuple[str, str, Any]:
    """A calendar, and how it is changed."""
    await api.made("/v1/calendars", name=name, timezone="UTC", hours=OFFICE)
    return f"/v1/calendars/{name}", "PATCH", lambda n: {"timezone": f"Etc/GMT+{n}"}


async def a_connection(api: Api, name: str) -> tuple[str, str, Any]:
    """A connection, and how it is changed."""
    made = await api.shout(name)
    return f"/v1/connections/{made['id']}", "PATCH", lambda n: {"history_days": n}


async def an_app(api: Api, name: str) -> tuple[str, str, Any]:
    """An App, and how it is changed."""
    made = await api.made("/v1/apps", plugin="crowd", name=name, config={"app_secret": "s"})
    return f"/v1/apps/{made['id']}", "PATCH", lambda n: {"config": {"webhook_id": f"w{n}"}}


async def a_list(api: Api, name: str) -> tuple[str, str, Any]:
    """A list of words, and how it is changed."""
    first = await api.http.put(f"/v1/lists/{name}", json={"entries": ["a"], "reason": "a test"})
    assert first.status_code == 200, first.text
    return f"/v1/lists/{name}", "PUT", lambda n: {"entries": [f"word {n}"], "reason": "a test"}


KINDS: dict[str, Callable[[Api, str], Awaitable[tuple[str, str, Any]]]] = {
    "brand": a_brand,
    "person": a_person,
    "calendar": a_calendar,
    "connection": a_connection,
    "app": an_app,
    "list": a_list,
}


@pytest.mark.parametrize("kind", KINDS)
async def test_of_several_changes_of_one_version_one_is_made(api: Api, name: str, kind: str) -> None:
    path, method, body = await KINDS[kind](api, name)
    read = await api.http.get(path)
    version = {"If-Match": read.headers["etag"]}
    answers = await asyncio.gather(
        *(api.http.request(method, path, json=body(n), headers=version) for n in range(1, 7))
    )
    assert sorted(one.status_code for one in answers) == [200, *[412] * 5], [one.text for one in answers]
    now = await api.http.get(path)
    [winner] = [one for one in answers if one.status_code == 200]
    assert now.json() == winner.json()
    assert now.headers["etag"] == winner.headers["etag"] != version["If-Match"]
    for loser in answers:
        if loser.status_code == 412:
            assert loser.json()["type"] == "urn:helpdesk-gateway:problem:changed-meanwhile"
            assert loser.json()["errors"][0]["field"] == "If-Match"
    # several may be named, weakly too; * is any; and what is read unchanged has the same version
    for given in (f'"other", W/{now.headers["etag"]}', "*"):
        assert (await api.http.request(method, path, json=body(9), headers={"If-Match": given})).status_code == 200
    again = [(await api.http.get(path)).headers["etag"] for _ in range(2)]
    assert again[0] == again[1]


async def test_somebody_changed_meanwhile_is_not_removed(api: Api, name: str) -> None:
    path, _, body = await a_person(api, name)
    old = {"If-Match": (await api.http.get(path)).headers["etag"]}
    assert (await api.http.put(path, json=body(1))).status_code == 200
    assert (await api.http.delete(path, headers=old)).status_code == 412
    new = {"If-Match": (await api.http.get(path)).headers["etag"]}
    assert (await api.http.delete(path, headers=new)).status_code == 204
    assert (await api.http.put(path, json=body(2), headers=new)).status_code == 404


async def test_a_link_by_a_token_is_a_change_of_the_person(api: Api, name: str) -> None:
    path, _, body = await a_person(api, name)
    old = {"If-Match": (await api.http.get(path)).headers["etag"]}
    person = UUID(path.rpartition("/")[2])
    await api.execute(
        """INSERT INTO person_identity (id, person_id, kind, scope, value)
           VALUES (gen_random_uuid(), :person, 'subject', 'https://login.example.com', :name)""",
        person=person,
        name=name,
    )
    assert (await api.http.put(path, json=body(1), headers=old)).status_code == 412
