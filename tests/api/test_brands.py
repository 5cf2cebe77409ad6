"""Brands: made, read, renamed, and what they bring together."""

from __future__ import annotations

from uuid import uuid4

import pytest

from support.rest import Api


async def test_a_brand_is_made_read_and_renamed_and_keeps_what_belongs_to_it(api: Api, name: str) -> None:
    made = await api.http.post("/v1/brands", json={"name": name})
    assert made.status_code == 201
    path = made.headers["location"]
    assert (await api.http.get(path)).json() == made.json()
    config = {"user_id": "1", "secret": "s"}
    body = {"plugin": "shout", "name": name, "brand": name, "config": config}
    connection = await api.made("/v1/connections", **body)
    changed = await api.http.patch(path, json={"name": f"{name}, renamed"})
    assert (changed.status_code, changed.json()) == (200, {**made.json(), "name": f"{name}, renamed"})
    assert (await api.http.get(path)).json() == changed.json()
    shown = (await api.http.get(f"/v1/connections/{connection['id']}")).json()
    assert shown["brand"] == connection["brand"] == made.json()["id"]


async def test_a_name_that_is_taken_is_refused_and_named(api: Api, name: str) -> None:
    await api.made("/v1/brands", name=name)
    other = await api.made("/v1/brands", name=f"{name}b")
    for answer in (
        await api.http.post("/v1/brands", json={"name": name}),
        await api.http.patch(f"/v1/brands/{other['id']}", json={"name": name}),
    ):
        assert answer.status_code == 409
        assert answer.headers["content-type"] == "application/problem+json"
        assert [one["field"] for one in answer.json()["errors"]] == ["name"]
    assert (await api.http.patch(f"/v1/brands/{other['id']}", json={"name": f"{name}b"})).status_code == 200


async def test_a_brand_counts_its_days_where_it_is(api: Api, name: str) -> None:
    made = await api.made("/v1/brands", name=name, timezone="Pacific/Auckland")
    assert made["timezone"] == "Pacific/Auckland"
    # noon in UTC on a Thursday is Friday in Auckland already, and tomorrow is Saturday
    asked = {"reply": "You get your refund tomorrow.", "sent_at": "2026-03-12T12:00:00Z"}
    due = [(await api.http.post("/v1/replies/check", json=body)).json() for body in (asked, {**asked, "brand": name})]
    assert [one["promises"][0]["due"] for one in due] == ["2026-03-13", "2026-03-14"]

    path = f"/v1/brands/{made['id']}"
    changed = await api.http.patch(path, json={"timezone": "Europe/Lisbon"})
    assert changed.json() == {**made, "timezone": "Europe/Lisbon"}
    refused = await api.http.patch(path, json={"timezone": "Mars/Olympus"})
    assert (refused.status_code, [one["field"] for one in refused.json()["errors"]]) == (422, ["timezone"])
    assert "Europe/Berlin" in refused.text


@pytest.mark.parametrize("given", ["", " ", "a\x00b", None, 7, "x" * 1000])
async def test_what_is_no_name_is_refused_and_named(api: Api, name: str, given: object) -> None:
    made = await api.made("/v1/brands", name=name)
    answers = [await api.http.post("/v1/brands", json={"name": given})]
    if given is not None:  # of a change, what is null is left out
        answers.append(await api.http.patch(f"/v1/brands/{made['id']}", json={"name": given}))
    for answer in answers:
        assert answer.status_code == 422
        assert [one["field"] for one in answer.json()["errors"]] == ["name"]


async def test_a_brand_that_is_not_there_is_not_found(api: Api) -> None:
    path = f"/v1/brands/{uuid4()}"
    assert (await api.http.get(path)).status_code == 404
    assert (await api.http.patch(path, json={"name": "never"})).status_code == 404
