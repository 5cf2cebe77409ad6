"""Brands, Apps and connections: made, shown and changed, and no secret ever comes out again."""

from __future__ import annotations

from typing import Any
from uuid import UUID, uuid4

import pytest

from support.rest import Api


def errors(answer: Any) -> dict[str, str]:
    """The fields at fault with their messages."""
    assert answer.status_code == 422, answer.text
    assert answer.headers["content-type"] == "application/problem+json"
    return {error["field"]: error["message"] for error in answer.json()["errors"]}


async def test_a_connection_is_shown_as_it_was_made_and_begins_to_poll(api: Api, name: str) -> None:
    await api.woken()
    brand = await api.made("/v1/brands", name=f"brand {name}")
    desk = await api.made("/v1/connections", plugin="desk", name=name, config={"api_token": "token-of-a-desk"})
    answer = await api.http.post(
        "/v1/connections",
        json={
            "plugin": "shout",
            "name": name,
            "brand": f"brand {name}",
            "helpdesk": name,
            "history": "tickets",
            "history_days": 7,
            "allow_private": ["10.1.0.0/16"],
            "config": {"user_id": "42", "secret": "secret-42", "nested": {"pin": "pin-1234"}},
        },
    )
    assert answer.status_code == 201, answer.text
    made = answer.json()
    assert answer.headers["location"] == f"/v1/connections/{made['id']}"
    assert answer.headers["etag"] == '"1"'
    assert (made["role"], made["account"], made["brand"], made["helpdesk"]) == ("source", "42", brand["id"], desk["id"])
    assert (made["history"], made["history_days"], made["allow_private"]) == ("tickets", 7, ["10.1.0.0/16"])
    assert made["config"] == {
        "user_id": "42",
        "secret": {"set": True},
        "nested": {"set": True},
        "previous": [],
        "labels": {},
        "mood": "well",
    }
    assert made["door"] == f"{api.url}/hooks/{made['id']}"
    health = made["health"]
    assert (health["ok"], health["status"], health["paused_in"], health["paused_out"]) == (True, "active", False, False)
    assert [cursor["stream"] for cursor in health["cursors"]] == ["messages", "posts"]
    assert (await api.http.get(f"/v1/connections/{made['id']}")).json() == made
    id = made["id"]
    assert {f"poll:{id}:posts", f"poll:{id}:messages", f"push:{desk['id']}"} <= await api.woken()


async def test_no_answer_holds_a_secret(api: Api, name: str) -> None:
    secrets = [f"{what}-secret-0123" for what in ("app", "token", "shout", "old", "pin", "desk")]
    seen: list[str] = []

    async def call(method: str, path: str, **body: Any) -> Any:
        answer = await api.http.request(method, path, json=body or None)
        seen.append(answer.text + str(answer.headers))
        return answer.json()

    app = await call("POST", "/v1/apps", plugin="crowd", name=name, config={"app_secret": secrets[0]})
    crowd = await call(
        "POST",
        "/v1/connections",
        plugin="crowd",
        name=f"{name}-crowd",
        app=name,
        config={"user_id": name, "token": secrets[1]},
    )
    shout = await call(
        "POST",
        "/v1/connections",
        plugin="shout",
        name=f"{name}-shout",
        config={"user_id": "1", "secret": secrets[2], "previous": [secrets[3]], "nested": {"pin": secrets[4]}},
    )
    await call("POST", "/v1/connections", plugin="desk", name=name, config={"api_token": secrets[5]})
    # a mistake beside the secret, and the secret in the wrong place
    await call("POST", "/v1/connections", plugin="shout", name="x", config={"user_id": "no", "secret": secrets[2]})
    await call("POST", "/v1/connections", plugin="shout", name="x", config={"user_id": secrets[2], "secret": "s"})
    await call("POST", "/v1/connections", plugin="shout", name="x", config={"user_id": "1", "secret": [secrets[2]]})
    await call("POST", "/v1/connections", plugin="shout", name="x", config={"user_id": "1", "secretly": secrets[2]})
    await call("PATCH", f"/v1/connections/{shout['id']}", config={"previous": [secrets[3], secrets[2]]})
    await call("PATCH", f"/v1/apps/{app['id']}", config={"webhook_id": "w1"})
    for id in (shout["id"], crowd["id"]):
        await call("GET", f"/v1/connections/{id}")
        for action in ("install", "discover", "check", "pause", "resume"):
            await call("POST", f"/v1/connections/{id}/{action}")
    await call("GET", f"/v1/apps/{app['id']}")
    await call("GET", "/v1/apps")
    await call("GET", "/v1/connections?limit=200")
    everything = "\n".join(seen)
    assert shout["id"] in everything
    for secret in [*secrets, "installed-secret-1", "rotated-app-secret", "discovered-secret-77"]:
        assert secret not in everything
    stored = await api.rows("SELECT config::text || encode(COALESCE(secrets, ''), 'escape') AS row FROM connection")
    stored += await api.rows("SELECT config::text || encode(COALESCE(secrets, ''), 'escape') AS row FROM app")
    for secret in secrets:
        assert not any(secret in row["row"] for row in stored)


@pytest.mark.parametrize(
    ("config", "field", "message"),
    [
        ({"secret": "s"}, "config.user_id", "is required"),
        ({"user_id": "x", "secret": "s"}, "config.user_id", "String should match pattern '^[0-9]+$'"),
        ({"user_id": "1", "secret": "s", "usr_id": "2"}, "config.usr_id", "is not known"),
        ({"user_id": "1", "secret": "s", "nested": {"pin": 5}}, "config.nested.pin", "Input should be a valid string"),
        ({"user_id": "1", "secret": "s", "previous": ["a", 5]}, "config.previous.1", "Input should be a valid string"),
        ({"user_id": "1", "secret": "a\x00b"}, "config.secret", "holds a NUL or half a character (a lone surrogate)"),
        ({"user_id": "1", "secret": "s", "labels": {"a\x00": "b"}}, "config.labels.(a name)", "holds a NUL or half a"),
    ],
)
async def test_the_field_of_a_configuration_that_is_wrong_is_named(
    api: Api, config: dict[str, Any], field: str, message: str
) -> None:
    answer = await api.http.post("/v1/connections", json={"plugin": "shout", "name": "never", "config": config})
    found = errors(answer)
    assert set(found) == {field}
    assert found[field].startswith(message)


async def test_a_misspelt_field_is_told_its_right_name(api: Api) -> None:
    config = {"user_id": "1", "secret": "s", "usr_id": "2"}
    answer = await api.http.post("/v1/connections", json={"plugin": "shout", "name": "never", "config": config})
    assert answer.json()["errors"][0]["fix"] == "did you mean user_id?"


async def test_half_a_character_is_refused_and_not_a_crash(api: Api) -> None:
    config = b'{"user_id": "1", "secret": "s", "labels": {"a": "\\ud83d"}}'
    body = b'{"plugin": "shout", "name": "never", "config": ' + config + b"}"
    answer = await api.http.post("/v1/connections", content=body, headers={"content-type": "application/json"})
    assert set(errors(answer)) == {"config.labels.a"}


@pytest.mark.parametrize(
    ("body", "field"),
    [
        ({"plugin": "shuot", "name": "x"}, "plugin"),
        ({"plugin": "wreck", "name": "x"}, "plugin"),
        ({"plugin": "shout", "name": ""}, "name"),
        ({"plugin": "shout", "name": "x", "config": []}, "config"),
        ({"plugin": "shout", "name": "x", "role": "helpdesk"}, "plugin"),
        ({"plugin": "shout", "name": "x", "colour": "red"}, "colour"),
        ({"plugin": "shout", "name": "x", "history": "all"}, "history"),
        ({"plugin": "shout", "name": "x", "config": {"user_id": "1", "secret": "s"}, "brand": "none such"}, "brand"),
        ({"plugin": "shout", "name": "x", "config": {"user_id": "1", "secret": "s"}, "helpdesk": "none"}, "helpdesk"),
        ({"plugin": "shout", "name": "x", "config": {"user_id": "1", "secret": "s"}, "app": "none such"}, "app"),
        ({"plugin": "shout", "name": "x", "config": {"user_id": "1", "secret": "s"}, "grant": "made up"}, "grant"),
        (
            {"plugin": "shout", "name": "x", "config": {"user_id": "1", "secret": "s"}, "allow_private": ["any where"]},
            "allow_private.0",
        ),
        ({"plugin": "crowd", "name": "x", "config": {"user_id": "1", "token": "t"}}, "app"),
        ({"plugin": "desk", "name": "x", "config": {"api_token": "t"}, "helpdesk": "y"}, "helpdesk"),
    ],
)
async def test_what_else_is_wrong_is_named_too(api: Api, body: dict[str, Any], field: str) -> None:
    assert set(errors(await api.http.post("/v1/connections", json=body))) == {field}
    assert await api.value("SELECT count(*) FROM connection WHERE name IN ('x', '', 'never')") == 0


async def test_an_unknown_plugin_is_told_the_known_ones(api: Api) -> None:
    answer = await api.http.post("/v1/connections", json={"plugin": "shuot", "name": "x"})
    assert answer.json()["errors"][0]["fix"] == "known are crowd, desk, shout"
    answer = await api.http.post("/v1/connections", json={"plugin": "wreck", "name": "x"})
    assert "ImportError: no module named nothing" in answer.json()["detail"]


async def test_a_name_and_an_account_are_taken_once(api: Api, name: str) -> None:
    await api.shout(name)
    again = await api.http.post(
        "/v1/connections", json={"plugin": "shout", "name": name, "config": {"user_id": "1", "secret": "s"}}
    )
    assert (again.status_code, again.json()["errors"][0]["field"]) == (409, "name")
    await api.made("/v1/apps", plugin="crowd", name=name, config={"app_secret": "s"})
    body = {"plugin": "crowd", "app": name, "config": {"user_id": name, "token": "t"}}
    await api.made("/v1/connections", name=f"{name}-1", **body)
    again = await api.http.post("/v1/connections", json={"name": f"{name}-2", **body})
    assert (again.status_code, again.json()["errors"][0]["field"]) == (409, "config")
    other = await api.made("/v1/connections", name=f"{name}-3", **{**body, "config": {"user_id": "else", "token": "t"}})
    moved = await api.http.patch(f"/v1/connections/{other['id']}", json={"config": {"user_id": name}})
    assert moved.status_code == 409
    assert f"{name}-1" in moved.json()["detail"]


async def test_a_change_leaves_alone_what_it_does_not_name(api: Api, name: str) -> None:
    made = await api.shout(name, labels={"a": "1", "b": "2"}, nested={"pin": "pin-1234"})
    path = f"/v1/connections/{made['id']}"
    changed = await api.http.patch(path, json={"config": {"labels": {"a": None, "c": "3"}, "previous": ["old-secret"]}})
    assert changed.status_code == 200, changed.text
    shown = changed.json()
    assert shown["config"]["labels"] == {"b": "2", "c": "3"}
    assert (shown["version"], changed.headers["etag"]) == (2, '"2"')
    # what was read may be given back: a secret shown as set stays as it is
    back = await api.http.patch(path, json={"config": {**shown["config"], "mood": "bug"}})
    assert back.status_code == 200, back.text
    endpoint = (await api.runtime.connections.load([UUID(made["id"])]))[UUID(made["id"])]
    assert endpoint.config is not None
    assert (endpoint.config["secret"], endpoint.config["previous"]) == (f"secret-of-{name}", ["old-secret"])
    assert endpoint.config["nested"] == {"name": "one", "pin": "pin-1234"}
    assert endpoint.config["mood"] == "bug"
    # null takes a field away: an optional one gets its default, a required one is missed
    assert (await api.http.patch(path, json={"config": {"nested": None}})).json()["config"]["nested"] is None
    assert set(errors(await api.http.patch(path, json={"config": {"secret": None}}))) == {"config.secret"}


async def test_other_fields_change_and_null_clears_a_reference(api: Api, name: str) -> None:
    brand = await api.made("/v1/brands", name=name)
    made = await api.shout(name)
    path = f"/v1/connections/{made['id']}"
    changed = (await api.http.patch(path, json={"name": f"{name}-new", "brand": name, "sla_owner": "helpdesk"})).json()
    assert (changed["name"], changed["brand"], changed["sla_owner"]) == (f"{name}-new", brand["id"], "helpdesk")
    changed = (await api.http.patch(path, json={"brand": None})).json()
    assert (changed["name"], changed["brand"]) == (f"{name}-new", None)
    assert changed["config"] == made["config"]


async def test_a_change_of_something_that_was_changed_meanwhile_is_refused(api: Api, name: str) -> None:
    made = await api.shout(name)
    path = f"/v1/connections/{made['id']}"
    tag = (await api.http.get(path)).headers["etag"]
    first = await api.http.patch(path, json={"history_days": 1}, headers={"If-Match": tag})
    assert first.status_code == 200
    second = await api.http.patch(path, json={"history_days": 2}, headers={"If-Match": tag})
    assert (second.status_code, second.headers["etag"]) == (412, first.headers["etag"])
    assert (await api.http.get(path)).json()["history_days"] == 1
    assert (await api.http.patch(path, json={"history_days": 2}, headers={"If-Match": "*"})).status_code == 200
    app = await api.made("/v1/apps", plugin="crowd", name=name, config={"app_secret": "s"})
    refused = await api.http.patch(f"/v1/apps/{app['id']}", json={"name": "y"}, headers={"If-Match": '"7"'})
    assert refused.status_code == 412


async def test_an_app_is_made_shown_and_changed(api: Api, name: str) -> None:
    app = await api.made("/v1/apps", plugin="crowd", name=name, config={"app_secret": "s1"})
    assert app["config"] == {"app_secret": {"set": True}, "webhook_id": None}
    path = f"/v1/apps/{app['id']}"
    changed = (await api.http.patch(path, json={"config": {"webhook_id": "w1"}})).json()
    assert (changed["config"], changed["version"]) == ({"app_secret": {"set": True}, "webhook_id": "w1"}, 2)
    assert set(errors(await api.http.patch(path, json={"config": {"app_secret": 5}}))) == {"config.app_secret"}
    assert set(errors(await api.http.post("/v1/apps", json={"plugin": "shout", "name": "z"}))) == {"plugin"}
    taken = await api.http.post("/v1/apps", json={"plugin": "crowd", "name": name, "config": {"app_secret": "s"}})
    assert taken.status_code == 409
    listed = (await api.http.get("/v1/apps", params={"plugin": "crowd", "limit": 200})).json()["items"]
    assert app["id"] in [one["id"] for one in listed]


@pytest.mark.parametrize("what", ["connections", "apps", "brands"])
async def test_what_is_not_there_is_named(api: Api, what: str) -> None:
    for id in (str(uuid4()), "not-an-id"):
        answer = await api.http.get(f"/v1/{what}/{id}")
        assert answer.status_code == 404
        assert id in answer.json()["detail"]
        assert what[:-1] in answer.json()["detail"].lower()


async def test_secrets_sealed_under_another_key_can_be_entered_anew(api: Api, name: str) -> None:
    made = await api.shout(name)
    await api.execute("UPDATE connection SET secrets = '\\x01ff' WHERE id = :id", id=UUID(made["id"]))
    api.runtime.connections.forget(UUID(made["id"]))
    path = f"/v1/connections/{made['id']}"
    shown = (await api.http.get(path)).json()
    assert (shown["secrets_readable"], "secret" in shown["config"]) == (False, False)
    assert set(errors(await api.http.patch(path, json={"config": {"labels": {}}}))) == {"config.secret"}
    mended = (await api.http.patch(path, json={"config": {"secret": "anew"}})).json()
    assert (mended["secrets_readable"], mended["config"]["secret"]) == (True, {"set": True})


async def test_plugins_are_listed_with_what_they_want_to_know(api: Api) -> None:
    listed = {one["name"]: one for one in (await api.http.get("/v1/plugins")).json()["items"]}
    assert set(listed) == {"shout", "crowd", "desk", "wreck"}
    assert (listed["wreck"]["ok"], listed["wreck"]["error"]) == (False, "ImportError: no module named nothing")
    assert listed["shout"]["config_schema"]["required"] == ["user_id", "secret"]
    assert listed["shout"]["app_config_schema"] is None
    assert listed["crowd"]["app_config_schema"]["required"] == ["app_secret"]
    assert listed["shout"]["capabilities"]["streams"] == ["posts", "messages"]
    assert (await api.http.get("/v1/plugins/source/shout")).json() == listed["shout"]
    assert (await api.http.get("/v1/plugins/source/none")).status_code == 404


async def test_a_plugin_that_is_gone_is_shown_on_its_connections(api: Api, name: str) -> None:
    made = await api.shout(name)
    await api.execute("UPDATE connection SET plugin = 'gone' WHERE id = :id", id=UUID(made["id"]))
    api.runtime.connections.forget(UUID(made["id"]))
    path = f"/v1/connections/{made['id']}"
    health = (await api.http.get(path)).json()["health"]
    assert (health["ok"], health["plugin_error"]) == (False, "it is not installed")
    assert (await api.http.post(f"{path}/check")).status_code == 409
    # it cannot be verified now, so it is neither stored nor lost
    assert (await api.http.post(f"/hooks/{made['id']}", content=b"x")).status_code == 503


async def test_a_body_that_is_no_json_or_too_large_is_refused(api: Api) -> None:
    json_type = {"content-type": "application/json"}
    answer = await api.http.post("/v1/brands", content=b'{"name": ', headers=json_type)
    assert (answer.status_code, answer.json()["title"]) == (422, "The request is not valid")
    nested = "[" * 90 + "]" * 90
    bodies = {
        b'{"name": "\xff"}': 400,
        b"[" * 100_000: 400,
        b'"x"': 422,
        b"[]": 422,
        f'{{"plugin": "shout", "name": "x", "config": {{"labels": {nested}}}}}'.encode(): 422,
    }
    for body, status in bodies.items():
        answer = await api.http.post("/v1/connections", content=body, headers=json_type)
        assert answer.status_code == status, body[:50]
        assert answer.headers["content-type"] == "application/problem+json"
    answer = await api.http.post("/v1/brands", content=b'{"name": "x"}', headers={"content-type": "text/plain"})
    assert answer.json()["errors"][0]["fix"] == "send the header Content-Type: application/json"
    assert (await api.http.post("/v1/brands", json={"name": "x" * 2_000_000})).status_code == 413
    assert (await api.http.get("/v1/brands?cursor=%00")).status_code == 400
    assert (await api.http.get("/v1/none")).json()["detail"] == "There is nothing at /v1/none."
    wrong = await api.http.delete("/v1/brands")
    assert (wrong.status_code, wrong.headers["content-type"]) == (405, "application/problem+json")
