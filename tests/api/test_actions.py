"""What can be done with a connection: ask it, set it up, find accounts, stop it and let it go on."""

from __future__ import annotations

from typing import Any
from uuid import UUID

import pytest

from support.rest import Api


async def act(api: Api, connection: dict[str, Any], action: str) -> Any:
    """POST an action."""
    return await api.http.post(f"/v1/connections/{connection['id']}/{action}")


async def config_of(api: Api, connection: dict[str, Any]) -> Any:
    """The stored configuration with its secrets."""
    id = UUID(connection["id"])
    return (await api.runtime.connections.load([id]))[id].config


async def health_of(api: Api, connection: dict[str, Any]) -> dict[str, Any]:
    """How it fares."""
    found: dict[str, Any] = (await api.http.get(f"/v1/connections/{connection['id']}")).json()["health"]
    return found


async def test_a_check_that_goes_well_is_remembered(api: Api, name: str) -> None:
    made = await api.shout(name)
    assert made["health"]["last_ok_at"] is None
    answer = await act(api, made, "check")
    assert (answer.status_code, answer.json()) == (200, {"ok": True, "findings": [], "newest": []})
    assert (await health_of(api, made))["last_ok_at"] is not None


@pytest.mark.parametrize(
    ("mood", "code", "status"),
    [
        ("reauthorise", "reauthorise", 502),
        ("retry", "retry", 503),
        ("unknown", "unknown", 504),
        ("rejected", "not_like_this", 502),
        ("bug", "plugin_bug", 502),
    ],
)
async def test_what_goes_wrong_is_a_finding_of_a_check_and_a_problem_of_the_rest(
    api: Api, name: str, mood: str, code: str, status: int
) -> None:
    made = await api.shout(name, mood=mood)
    checked = await act(api, made, "check")
    assert checked.status_code == 200
    [finding] = checked.json()["findings"]
    assert (checked.json()["ok"], finding["severity"], finding["code"]) == (False, "error", code)
    assert finding["mend"]
    for action in ("install", "discover"):
        answer = await act(api, made, action)
        assert (answer.status_code, answer.json()["code"]) == (status, code)
        assert answer.headers["content-type"] == "application/problem+json"
        if mood == "retry":
            assert answer.headers["retry-after"] == "7"
    assert "oops" not in checked.text  # what a bug's message holds is nobody's business


async def test_refused_credentials_stop_a_connection_until_it_has_new_ones(api: Api, name: str) -> None:
    made = await api.shout(name, mood="reauthorise")
    await act(api, made, "check")
    health = await health_of(api, made)
    assert (health["ok"], health["status"]) == (False, "needs_authorisation")
    assert health["status_reason"] == "the token was refused"
    await api.woken()
    mended = await api.http.patch(f"/v1/connections/{made['id']}", json={"config": {"secret": "new", "mood": "well"}})
    assert mended.json()["health"]["status"] == "active"
    assert f"send:{made['id']}" in await api.woken()
    assert (await act(api, made, "check")).json()["ok"]


async def test_a_dry_run_changes_nothing(api: Api, name: str) -> None:
    made = await api.shout(name)
    answer = await act(api, made, "install?dry_run=true")
    assert answer.json() == {
        "dry_run": True,
        "door": made["door"],
        "steps": [{"action": "create", "what": "webhook", "detail": made["door"]}],
        "changed": [],
    }
    assert (await api.http.get(f"/v1/connections/{made['id']}")).json()["version"] == 1


async def test_an_install_keeps_what_the_plugin_found(api: Api, name: str) -> None:
    made = await api.shout(name, labels={"mine": "1"})
    answer = await act(api, made, "install")
    assert (answer.status_code, answer.json()["changed"]) == (200, ["labels", "previous"])
    config = await config_of(api, made)
    assert config["labels"] == {"mine": "1", "hook": "h1"}
    assert (config["previous"], config["secret"]) == (["installed-secret-1"], f"secret-of-{name}")
    shown = (await api.http.get(f"/v1/connections/{made['id']}")).json()
    assert (shown["config"]["previous"], shown["version"]) == ({"set": True}, 2)


async def test_an_install_fills_in_the_app_too(api: Api, name: str) -> None:
    app = await api.made("/v1/apps", plugin="crowd", name=name, config={"app_secret": "first"})
    made = await api.made(
        "/v1/connections", plugin="crowd", name=name, app=name, config={"user_id": name, "token": "t"}
    )
    answer = await act(api, made, "install")
    assert (answer.json()["door"], answer.json()["changed"]) == (app["door"], ["app.app_secret", "app.webhook_id"])
    shown = (await api.http.get(f"/v1/apps/{app['id']}")).json()
    assert shown["config"] == {"app_secret": {"set": True}, "webhook_id": "w9"}
    id = UUID(app["id"])
    endpoint = (await api.runtime.connections.load([id]))[id]
    assert endpoint.app_config == {"app_secret": "rotated-app-secret", "webhook_id": "w9"}


async def test_the_door_that_is_installed_is_the_public_one(database: str, serve: Any) -> None:
    async with serve(database, public_url="https://gateway.example/in/") as api:
        made = await api.shout("one")
        assert made["door"] == f"https://gateway.example/in/hooks/{made['id']}"
        assert (await act(api, made, "install")).json()["door"] == made["door"]


async def test_a_discovered_account_is_connected_without_anybody_seeing_its_secret(api: Api, name: str) -> None:
    made = await api.shout(name)
    [account] = (await act(api, made, "discover")).json()["items"]
    assert account["config"] == {"user_id": "77", "secret": {"set": True}}
    other = await api.made(
        "/v1/connections", plugin="shout", name=f"{name}-77", grant=account["grant"], config={"labels": {"a": "b"}}
    )
    assert other["account"] == "77"
    config = await config_of(api, other)
    assert (config["secret"], config["labels"]) == ("discovered-secret-77", {"a": "b"})
    wrong = {"plugin": "desk", "name": name, "grant": account["grant"]}
    refused = await api.http.post("/v1/connections", json=wrong)
    assert (refused.status_code, refused.json()["errors"][0]["field"]) == (422, "grant")


async def test_a_pause_stops_one_direction_and_resuming_wakes_what_waited(api: Api, name: str) -> None:
    made = await api.shout(name)
    paused = (await act(api, made, "pause?direction=out")).json()["health"]
    assert (paused["paused_in"], paused["paused_out"]) == (False, True)
    paused = (await act(api, made, "pause")).json()["health"]
    assert (paused["paused_in"], paused["paused_out"]) == (True, True)
    endpoint = await api.runtime.connections.get(UUID(made["id"]))
    assert endpoint is not None
    assert endpoint.paused_out  # at once: nothing is kept of what it was
    resumed = (await act(api, made, "resume?direction=in")).json()["health"]
    assert (resumed["paused_in"], resumed["paused_out"]) == (False, True)
    await api.woken()
    assert not (await act(api, made, "resume")).json()["health"]["paused_out"]
    assert {f"send:{made['id']}", f"reply:{made['id']}", f"poll:{made['id']}:posts"} <= await api.woken()
    assert (await act(api, made, "pause?direction=up")).status_code == 422


async def test_resuming_polls_streams_that_a_newer_plugin_has(api: Api, name: str) -> None:
    made = await api.shout(name)
    await api.execute("DELETE FROM cursor WHERE connection_id = :id AND stream = 'posts'", id=UUID(made["id"]))
    resumed = await act(api, made, "resume")
    assert [one["stream"] for one in resumed.json()["health"]["cursors"]] == ["messages", "posts"]


async def test_an_unknown_connection_is_not_found(api: Api) -> None:
    app = await api.made("/v1/apps", plugin="crowd", name="an App of its own", config={"app_secret": "s"})
    for action in ("check", "install", "discover", "pause", "resume"):
        answer = await act(api, {"id": app["id"]}, action)
        assert (answer.status_code, app["id"] in answer.json()["detail"]) == (404, True)
