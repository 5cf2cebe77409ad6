"""Who may call, with what scopes; and a request repeated under an Idempotency-Key."""

from __future__ import annotations

import asyncio
import re
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID

import pytest

from gateway.security.keys import create_from_command_line
from gateway.security.scopes import Scope
from support.gateway import settings_for
from support.rest import KEY, Api


async def made(api: Api, *scopes: str, **more: Any) -> dict[str, Any]:
    """A key with these scopes."""
    return await api.made("/v1/keys", name="of a test", scopes=list(scopes), **more)


async def test_a_key_is_shown_once_and_only_its_hash_is_stored(api: Api) -> None:
    key = await made(api, "read", "read")
    assert re.fullmatch(rf"hg_{key['prefix']}_[0-9a-f]{{64}}", key["key"])
    assert key["scopes"] == ["read"]
    listed = (await api.http.get("/v1/keys")).text
    assert key["id"] in listed
    secret = key["key"].rpartition("_")[2]
    assert secret not in listed
    row = (await api.rows("SELECT * FROM api_key WHERE id = :id", id=UUID(key["id"])))[0]
    assert secret not in str(dict(row))
    async with api.caller(key["key"]) as caller:
        assert (await caller.get("/v1/brands")).status_code == 200


@pytest.mark.parametrize(
    "header",
    [None, "", "Bearer", KEY, f"Basic {KEY}", "Bearer wrong", f"Bearer {KEY}x", "Bearer hg_aaaaaaaa_" + "0" * 64],
)
async def test_without_a_known_key_nothing_opens(api: Api, header: str | None) -> None:
    async with api.caller(None) as nobody:
        answer = await nobody.get("/v1/brands", headers={} if header is None else {"Authorization": header})
    assert answer.status_code == 401
    assert answer.headers["www-authenticate"].startswith("Bearer")
    assert answer.headers["content-type"] == "application/problem+json"
    assert answer.json()["type"] == "urn:helpdesk-gateway:problem:unauthenticated"


async def test_a_revoked_and_an_expired_key_open_nothing(api: Api) -> None:
    revoked = await made(api, "read")
    async with api.caller(revoked["key"]) as caller:
        assert (await caller.get("/v1/brands")).status_code == 200
        first = (await api.http.delete(f"/v1/keys/{revoked['id']}")).json()["revoked_at"]
        again = (await api.http.delete(f"/v1/keys/{revoked['id']}")).json()["revoked_at"]
        assert first == again is not None
        answer = await caller.get("/v1/brands")
    assert (answer.status_code, "revoked" in answer.json()["detail"]) == (401, True)

    expiring = await made(api, "read", expires_at=(datetime.now(UTC) + timedelta(hours=1)).isoformat())
    await api.execute("UPDATE api_key SET expires_at = now() WHERE id = :id", id=UUID(expiring["id"]))
    async with api.caller(expiring["key"]) as caller:
        answer = await caller.get("/v1/brands")
    assert (answer.status_code, "expired" in answer.json()["detail"]) == (401, True)


@pytest.mark.parametrize(
    ("body", "field"),
    [
        ({"scopes": ["read"]}, "name"),
        ({"name": " ", "scopes": ["read"]}, "name"),
        ({"name": "x", "scopes": []}, "scopes"),
        ({"name": "x", "scopes": ["read", "everything"]}, "scopes.1"),
        ({"name": "x", "scopes": ["read"], "expires_at": "2020-01-01T00:00:00Z"}, "expires_at"),
        ({"name": "x", "scopes": ["read"], "expires_at": "2999-01-01T00:00:00"}, "expires_at"),
        ({"name": "x", "scope": ["read"], "scopes": ["read"]}, "scope"),
        ({"name": "a\x00b", "scopes": ["read"]}, "name"),
    ],
)
async def test_the_field_at_fault_is_named(api: Api, body: dict[str, Any], field: str) -> None:
    answer = await api.http.post("/v1/keys", json=body)
    assert answer.status_code == 422
    assert [one["field"] for one in answer.json()["errors"]] == [field]


async def test_a_key_is_made_with_the_scopes_of_roles(api: Api) -> None:
    roles = {one["name"]: one["scopes"] for one in (await api.http.get("/v1/roles")).json()["items"]}
    assert list(roles) == ["viewer", "agent", "approver", "policy_author", "operator", "administrator"]
    assert roles["administrator"] == list(Scope)
    key = await api.made("/v1/keys", name="of a test", roles=["approver"], scopes=["outbound", "read"])
    assert key["scopes"] == ["read", "tickets", "replies", "outbound"]
    answer = await api.http.post("/v1/keys", json={"name": "x", "roles": ["king"]})
    assert [one["field"] for one in answer.json()["errors"]] == ["roles.0"]
    async with api.caller(key["key"]) as caller:
        me = (await caller.get("/v1/me")).json()
    assert (me["key"], me["scopes"], me["roles"], me["subject"]) == (key["id"], key["scopes"], [], None)


async def test_a_rotated_key_goes_on_until_its_time(api: Api) -> None:
    old = await made(api, "read", rate_limit=500)
    person = await api.made("/v1/people", name="Ada", keys=[old["id"]])
    until = datetime.now(UTC) + timedelta(hours=2)
    answer = await api.http.post(f"/v1/keys/{old['id']}/rotate", json={"old_until": until.isoformat()})
    assert answer.status_code == 201, answer.text
    new = answer.json()
    assert new["key"] != old["key"]
    assert (new["name"], new["scopes"], new["rate_limit"]) == (old["name"], ["read"], 500)
    assert (new["expires_at"], new["successor"]) == (None, None)
    for key in (old["key"], new["key"]):
        async with api.caller(key) as caller:
            assert (await caller.get("/v1/me")).json()["person"] == person["id"]
    listed = {one["id"]: one for one in (await api.http.get("/v1/keys?limit=200")).json()["items"]}
    assert listed[old["id"]]["successor"] == new["id"]
    assert datetime.fromisoformat(listed[old["id"]]["expires_at"]) == until
    await api.execute("UPDATE api_key SET expires_at = now() WHERE id = :id", id=UUID(old["id"]))
    async with api.caller(old["key"]) as caller:
        assert (await caller.get("/v1/me")).status_code == 401
    async with api.caller(new["key"]) as caller:
        assert (await caller.get("/v1/me")).status_code == 200


async def test_a_key_is_rotated_once_by_whoever_comes_first(api: Api) -> None:
    old = await made(api, "read", "admin")
    answers = await asyncio.gather(*(api.http.post(f"/v1/keys/{old['id']}/rotate") for _ in range(8)))
    assert sorted(one.status_code for one in answers) == [201, *[409] * 7]
    [new] = [one.json() for one in answers if one.status_code == 201]
    # its secret was lost on the way: revoked, it can be replaced
    assert (await api.http.delete(f"/v1/keys/{new['id']}")).status_code == 200
    again = await api.http.post(f"/v1/keys/{old['id']}/rotate")
    assert again.status_code == 201
    # a day of overlap, unless said otherwise, and never more time than the key had
    ends = await api.value("SELECT expires_at FROM api_key WHERE id = :id", id=UUID(old["id"]))
    assert timedelta(hours=23) < ends - datetime.now(UTC) <= timedelta(hours=24)
    third = await api.http.post(
        f"/v1/keys/{again.json()['id']}/rotate", json={"old_until": (ends - timedelta(hours=22)).isoformat()}
    )
    assert third.status_code == 201
    assert (await api.http.post(f"/v1/keys/{new['id']}/rotate")).status_code == 409  # revoked
    late = {"old_until": (datetime.now(UTC) + timedelta(days=91)).isoformat()}
    refused = await api.http.post(f"/v1/keys/{third.json()['id']}/rotate", json=late)
    assert [one["field"] for one in refused.json()["errors"]] == ["old_until"]
    assert (await api.http.post(f"/v1/keys/{UUID(int=7)}/rotate")).status_code == 404


async def test_a_successor_lives_as_long_as_the_old_key_was_made_to_live(api: Api) -> None:
    month = timedelta(days=30)
    old = await made(api, "read", expires_at=(datetime.now(UTC) + month).isoformat())
    new = (await api.http.post(f"/v1/keys/{old['id']}/rotate")).json()
    life = datetime.fromisoformat(new["expires_at"]) - datetime.fromisoformat(new["created_at"])
    assert abs(life - month) < timedelta(minutes=1)


async def test_what_was_done_with_the_old_key_is_not_done_again_with_the_new_one(api: Api, name: str) -> None:
    old = await made(api, "connections")
    key = {"Idempotency-Key": f"brand {name}"}
    async with api.caller(old["key"]) as caller:
        first = await caller.post("/v1/brands", json={"name": name}, headers=key)
    new = (await api.http.post(f"/v1/keys/{old['id']}/rotate")).json()
    newest = (await api.http.post(f"/v1/keys/{new['id']}/rotate")).json()
    for one in (new, newest):
        async with api.caller(one["key"]) as caller:
            again = await caller.post("/v1/brands", json={"name": name}, headers=key)
        assert (again.status_code, again.json()) == (201, first.json())
        assert again.headers["idempotency-replayed"] == "true"


async def test_a_rotated_admin_is_none_that_could_be_left_over(database: str, serve: Any) -> None:
    async with serve(database) as api:
        [first] = (await api.http.get("/v1/keys")).json()["items"]
        new = (await api.http.post(f"/v1/keys/{first['id']}/rotate")).json()
        assert (await api.http.delete(f"/v1/keys/{new['id']}")).status_code == 409
        assert (await api.http.delete(f"/v1/keys/{first['id']}")).status_code == 200


async def test_the_last_admin_cannot_lock_everybody_out(database: str, serve: Any) -> None:
    async with serve(database) as api:
        [first] = (await api.http.get("/v1/keys")).json()["items"]
        assert (await api.http.delete(f"/v1/keys/{first['id']}")).status_code == 409
        other = await made(api, "admin")
        one, two = await asyncio.gather(*(api.http.delete(f"/v1/keys/{id}") for id in (first["id"], other["id"])))
        # whoever comes second finds one left, or has no key any more
        assert sorted((one.status_code, two.status_code)) in ([200, 401], [200, 409])
        alive = "SELECT count(*) FROM api_key WHERE 'admin' = ANY(scopes) AND revoked_at IS NULL"
        assert await api.value(alive) == 1


async def test_the_bootstrap_key_is_made_at_the_first_start_only(database: str, serve: Any) -> None:
    async with serve(database) as api:
        assert await api.value("SELECT count(*) FROM api_key") == 1
    async with serve(database, bootstrap_key="another key, later on") as api:
        assert await api.value("SELECT count(*) FROM api_key") == 1
        assert (await api.http.get("/v1/keys")).status_code == 200


async def test_the_command_line_makes_keys_too(database: str, serve: Any, tmp_path: Any) -> None:
    async with serve(database) as api:
        settings = settings_for(database, tmp_path)
        key = await create_from_command_line(settings, "from a shell", ["outbound"], 1)
        async with api.caller(key) as caller:
            assert (await caller.get("/v1/outbound")).status_code == 200
            assert (await caller.get("/v1/keys")).status_code == 403
        [entry] = (await api.http.get("/v1/audit?action=key_create")).json()["items"]
        assert (entry["actor_kind"], entry["actor_id"], entry["actor_name"] != "") == ("command_line", None, True)
        assert entry["changes"][0]["after"]["name"] == "from a shell"
        assert key.rpartition("_")[2] not in str(entry)


async def test_a_request_repeated_under_its_key_is_done_once(api: Api, name: str) -> None:
    headers = {"Idempotency-Key": name}
    first = await api.http.post("/v1/brands", json={"name": name}, headers=headers)
    again = await api.http.post("/v1/brands", json={"name": name}, headers=headers)
    assert (first.status_code, again.status_code) == (201, 201)
    assert first.content == again.content
    assert first.headers["location"] == again.headers["location"]
    assert "idempotency-replayed" not in first.headers
    assert again.headers["idempotency-replayed"] == "true"
    other = await api.http.post("/v1/brands", json={"name": f"{name}b"}, headers=headers)
    assert (other.status_code, other.json()["type"]) == (422, "urn:helpdesk-gateway:problem:key-reused")
    # the key belongs to its caller
    async with api.caller((await made(api, "connections"))["key"]) as stranger:
        answer = await stranger.post("/v1/brands", json={"name": f"{name}c"}, headers=headers)
    assert answer.status_code == 201


async def test_of_many_at_once_under_one_key_one_is_done(api: Api, name: str) -> None:
    headers = {"Idempotency-Key": name}
    body = {"name": name, "scopes": ["read"]}
    answers = await asyncio.gather(*(api.http.post("/v1/keys", json=body, headers=headers) for _ in range(20)))
    assert {answer.status_code for answer in answers} <= {201, 409}
    shown = {answer.json()["key"] for answer in answers if answer.status_code == 201}
    assert len(shown) == 1
    assert await api.value("SELECT count(*) FROM api_key WHERE name = :name", name=name) == 1
    kept = await api.value("SELECT body FROM idempotent_answer WHERE key = :name", name=name)
    assert shown.pop().encode() not in kept, "an answer that shows a secret is kept sealed"


async def test_what_was_not_done_frees_its_key(api: Api, name: str) -> None:
    headers = {"Idempotency-Key": name}
    assert (await api.http.post("/v1/brands", json={"nam": name}, headers=headers)).status_code == 422
    assert (await api.http.post("/v1/brands", json={"name": name}, headers=headers)).status_code == 201


@pytest.mark.parametrize("key", ["", "x" * 256, "ä"])
async def test_a_key_that_cannot_be_kept_is_refused(api: Api, key: str) -> None:
    headers = [(b"Idempotency-Key", key.encode())]
    answer = await api.http.post("/v1/brands", json={"name": "never"}, headers=headers)
    assert answer.status_code == 422
    assert answer.json()["errors"][0]["field"] == "Idempotency-Key"
