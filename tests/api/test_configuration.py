"""Configuration over REST and on the command line: planned, applied, exported, and only by those who may."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from gateway.cli import app
from gateway.configuration.command import Wish, run_apply, run_export, run_plan
from gateway.db.database import fetch_all
from gateway.runtime import open_runtime
from support.gateway import settings_for
from support.rest import Api


def brand(name: str, timezone: str = "UTC") -> dict[str, Any]:
    return {"kind": "brands", "file": f"brands/{name}.yaml", "content": {"name": name, "timezone": timezone}}


def shout(name: str, **config: Any) -> dict[str, Any]:
    config = {"user_id": "1", "secret": {"from_env": "SHOUT"}, **config}
    content = {"name": name, "plugin": "shout", "config": config}
    return {"kind": "connections", "file": f"connections/{name}.yaml", "content": content}


async def test_documents_are_planned_applied_and_exported(api: Api, name: str) -> None:
    body = {"documents": [brand(name), shout(name)], "secrets": {"SHOUT": "hush-hush-1"}}
    planned = await api.http.post("/v1/config/plan", json=body)
    assert planned.status_code == 200, planned.text
    plan = planned.json()
    assert [(one["action"], one["name"]) for one in plan["changes"]] == [("create", name), ("create", f"source {name}")]
    assert "hush-hush-1" not in planned.text
    applied = await api.http.post("/v1/config/apply", json=body | {"digest": plan["digest"]})
    assert applied.status_code == 200, applied.text
    row = (await api.rows("SELECT id FROM connection WHERE name = :name", name=name))[0]
    assert applied.json()["next"] == [f"source {name}: POST /v1/connections/{row['id']}/install sets it up there"]
    assert {f"fetch:{row['id']}", f"poll:{row['id']}:posts"} <= await api.woken()
    again = (await api.http.post("/v1/config/plan", json=body)).json()
    assert (again["changes"], again["unchanged"]) == ([], 2)
    exported = (await api.http.get("/v1/config/export")).json()["documents"]
    found = next(one for one in exported if one["content"]["name"] == name and one["kind"] == "connections")
    assert found["content"]["config"]["secret"] == {"from_env": f"SOURCE_{name.upper()}_SECRET"}
    assert "hush-hush-1" not in json.dumps(exported)


async def test_the_digest_holds_an_application_to_its_plan(api: Api, name: str) -> None:
    body = {"documents": [brand(name)]}
    digest = (await api.http.post("/v1/config/plan", json=body)).json()["digest"]
    await api.made("/v1/brands", name=f"{name} of somebody else")
    late = await api.http.post("/v1/config/apply", json=body | {"digest": digest})
    assert (late.status_code, late.json()["type"]) == (409, "urn:helpdesk-gateway:problem:changed-meanwhile")
    assert late.json()["plan"]["digest"] != digest
    assert await api.rows("SELECT 1 FROM brand WHERE name = :name", name=name) == []
    other = {"documents": [brand(name, "Europe/Rome")], "digest": late.json()["plan"]["digest"]}
    assert (await api.http.post("/v1/config/apply", json=other)).status_code == 409, "other documents, another plan"
    assert (await api.http.post("/v1/config/apply", json=body | {"digest": other["digest"]})).status_code == 200


async def test_all_that_is_wrong_is_named_with_its_file(api: Api, name: str) -> None:
    documents = [
        brand(name, "Europe/Atlantis"),
        shout(name, user_id="one", secret="in-the-open"),
        {"kind": "wishes", "content": {}},
        brand(name),
    ]
    answer = await api.http.post("/v1/config/plan", json={"documents": documents})
    assert answer.status_code == 422
    errors = {(one.get("file"), one["field"]) for one in answer.json()["errors"]}
    assert errors >= {
        (f"brands/{name}.yaml", "timezone"),
        (f"connections/{name}.yaml", "config.user_id"),
        ("documents.2", "kind"),
        (f"brands/{name}.yaml", ""),
    }
    assert "in-the-open" not in answer.text


async def test_a_secret_deep_inside_is_a_placeholder_too(api: Api, name: str) -> None:
    config = {"nested": {"name": "two", "pin": {"from_env": "PIN"}}, "previous": [{"from_env": "OLD"}]}
    body = {"documents": [shout(name, **config)], "secrets": {"SHOUT": "s-1", "PIN": "p-1", "OLD": "o-1"}}
    digest = (await api.http.post("/v1/config/plan", json=body)).json()["digest"]
    assert (await api.http.post("/v1/config/apply", json=body | {"digest": digest})).status_code == 200
    exported = (await api.http.get("/v1/config/export")).json()["documents"]
    found = next(one["content"]["config"] for one in exported if one["content"]["name"] == name)
    prefix = f"SOURCE_{name.upper()}"
    assert found["nested"] == {"name": "two", "pin": {"from_env": f"{prefix}_NESTED_PIN"}}
    assert found["previous"] == [{"from_env": f"{prefix}_PREVIOUS_1"}]
    body["secrets"] = {"PIN": "p-2"}
    plan = (await api.http.post("/v1/config/plan", json=body)).json()
    assert [one["field"] for one in plan["changes"][0]["fields"]] == ["config.nested.pin"]
    assert plan["kept_secrets"] == ["OLD", "SHOUT"]


async def test_what_install_fills_in_is_neither_exported_nor_taken_away(api: Api, name: str) -> None:
    made = await api.shout(name)
    installed = await api.http.post(f"/v1/connections/{made['id']}/install")
    assert installed.json()["changed"] == ["labels", "previous"]
    exported = (await api.http.get("/v1/config/export")).json()["documents"]
    document = next(one for one in exported if one["content"]["name"] == name)
    assert sorted(document["content"]["config"]) == ["mood", "secret", "user_id"]
    assert (await api.http.post("/v1/config/plan", json={"documents": [document]})).json()["changes"] == []
    document["content"]["config"]["user_id"] = "7"
    body: dict[str, Any] = {"documents": [document]}
    body["digest"] = (await api.http.post("/v1/config/plan", json=body)).json()["digest"]
    assert (await api.http.post("/v1/config/apply", json=body)).status_code == 200
    shown = (await api.http.get(f"/v1/connections/{made['id']}")).json()["config"]
    assert (shown["user_id"], shown["labels"], shown["previous"]) == ("7", {"hook": "h1"}, {"set": True})
    await api.http.patch(f"/v1/connections/{made['id']}", json={"config": {"labels": {"mine": "yes"}}})
    exported = (await api.http.get("/v1/config/export")).json()["documents"]
    document = next(one for one in exported if one["content"]["name"] == name)
    assert document["content"]["config"]["labels"] == {"hook": "h1", "mine": "yes"}, "somebody's own by now"


@pytest.mark.parametrize(
    ("scopes", "kind", "allowed"),
    [
        (["connections"], "brands", True),
        (["policies:activate"], "brands", False),
        (["connections"], "calendars", False),
        (["policies:activate"], "calendars", True),
        (["policies:draft"], "lists", True),
        (["policies:draft"], "policies", False),
        (["policies:activate"], "policies", False),
        (["policies:activate", "policies:draft"], "policies", True),
        (["read"], "brands", False),
    ],
)
async def test_each_kind_needs_its_scopes(api: Api, name: str, scopes: list[str], kind: str, allowed: bool) -> None:
    key = (await api.made("/v1/keys", name=name, scopes=scopes))["key"]
    async with api.caller(key) as http:
        body: dict[str, Any] = {"documents": [{"kind": kind, "content": {"name": name}}]}
        for path, more in (("plan", {}), ("apply", {"digest": "none"})):
            answer = await http.post(f"/v1/config/{path}", json=body | more)
            assert (answer.status_code != 403) is allowed, answer.text
        pruned = await http.post("/v1/config/plan", json={"documents": [], "prune": True})
        assert pruned.status_code == 403, "pruning touches every kind"
        assert (await http.get("/v1/config/export")).status_code == (200 if "read" in scopes else 403)


async def test_the_commands_tell_by_their_exit_codes(
    database: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    settings = settings_for(database, tmp_path / "data")
    folder = tmp_path / "config"
    (folder / "lists").mkdir(parents=True)
    (folder / "lists" / "vips.yaml").write_text("# them\nname: vips\nentries: [rita]\n", "utf-8")
    assert await run_plan(settings, folder) == 2
    assert "+ list vips  (lists/vips.yaml)" in capsys.readouterr().out
    assert await run_apply(settings, Wish(folder)) == 2
    assert "--yes applies without asking" in capsys.readouterr().err
    assert await run_apply(settings, Wish(folder, yes=True)) == 1
    assert "reason: policies and lists do not change without one (say why)" in capsys.readouterr().err
    assert await run_apply(settings, Wish(folder, yes=True, reason="rita called", digest="another")) == 2
    assert await run_apply(settings, Wish(folder, yes=True, reason="rita called")) == 0
    assert "Applied." in capsys.readouterr().out
    async with open_runtime(settings) as runtime, runtime.database.read() as connection:
        entry = (await fetch_all(connection, "SELECT action, actor_kind FROM audit_entry ORDER BY seq DESC LIMIT 1"))[0]
    assert dict(entry) == {"action": "apply_configuration", "actor_kind": "command_line"}
    assert await run_plan(settings, folder) == 0
    assert await run_export(settings, folder) == 0
    assert capsys.readouterr().out.endswith("0 written, 1 as they were.\n")
    (folder / "lists" / "vips.yaml").write_text("name: vips\nentries: rita\n", "utf-8")
    assert await run_plan(settings, folder, as_json=True) == 1
    problem = json.loads(capsys.readouterr().out)
    assert [(one["file"], one["field"]) for one in problem["errors"]] == [("lists/vips.yaml:2", "entries")]


def test_a_folder_that_is_not_there_is_an_error(tmp_path: Path) -> None:
    for command in (["plan"], ["apply"], ["apply", "--dry-run"]):
        ended = CliRunner().invoke(app, [*command, str(tmp_path / "nowhere")])
        assert (ended.exit_code, "is no folder" in ended.output) == (1, True)
