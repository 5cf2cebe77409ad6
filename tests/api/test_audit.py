"""Who may read the audit log over REST and at the command line, and what it tells."""

from __future__ import annotations

import asyncio
import json
from typing import Any
from uuid import UUID

import pytest
from typer.testing import CliRunner

from gateway.cli import app
from gateway.security.audit.entries import Head
from gateway.security.audit.verify import verify
from support.matters import START, open_matter
from support.rest import Api

TRACE = {"traceparent": "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"}


async def entries(api: Api, **query: Any) -> list[dict[str, Any]]:
    """The log, newest first."""
    answer = await api.http.get("/v1/audit", params={"limit": 200, **query})
    assert answer.status_code == 200, answer.text
    found: list[dict[str, Any]] = answer.json()["items"]
    return found


async def test_a_change_is_told_with_its_caller_and_both_states(api: Api, name: str) -> None:
    brand = await api.made("/v1/brands", name=name)
    path = f"/v1/brands/{brand['id']}"
    answer = await api.http.patch(path, json={"timezone": "Europe/Rome"}, headers=TRACE)
    assert answer.status_code == 200, answer.text
    changed, created = await entries(api, thing=f"brand:{brand['id']}")
    [made] = created["changes"]
    assert (made["kind"], made["id"], made["before"]) == ("brand", brand["id"], None)
    assert (made["after"]["name"], made["after"]["timezone"]) == (name, "UTC")
    assert changed["changes"] == [
        {"kind": "brand", "id": brand["id"], "before": {"timezone": "UTC"}, "after": {"timezone": "Europe/Rome"}}
    ]
    assert (changed["action"], changed["actor_kind"], changed["actor_name"]) == ("change_brand", "key", "first key")
    assert (changed["key_prefix"], changed["address"]) == ("bootstrap", "127.0.0.1")
    assert (changed["trace_id"], answer.headers["trace-id"]) == ("4bf92f3577b34da6a3ce929d0e0e4736",) * 2


async def test_what_was_refused_or_changed_nothing_leaves_no_entry(api: Api, name: str) -> None:
    brand = await api.made("/v1/brands", name=name)
    before = (await api.http.get("/v1/audit/head")).json()
    assert (await api.http.post("/v1/brands", json={"name": name})).status_code == 409
    assert (await api.http.post("/v1/brands", json={})).status_code == 422
    assert (await api.http.patch(f"/v1/brands/{brand['id']}", json={"timezone": "UTC"})).status_code == 200
    assert (await api.http.delete("/v1/keys/00000000-0000-4000-8000-000000000000")).status_code == 404
    for _ in range(2):  # a repeated request is done once, and so is its entry
        await api.http.post("/v1/brands", json={"name": f"{name}b"}, headers={"Idempotency-Key": name})
    after = (await api.http.get("/v1/audit/head")).json()
    assert after["seq"] == before["seq"] + 1


async def test_a_secret_is_a_fingerprint(api: Api, name: str) -> None:
    made = await api.shout(name)
    change = {"config": {"secret": "another-secret-of-tests"}}
    assert (await api.http.patch(f"/v1/connections/{made['id']}", json=change)).status_code == 200
    changed, created = await entries(api, thing=f"connection:{made['id']}")
    assert "secret-of" not in json.dumps([changed, created])
    [one] = changed["changes"]
    assert one["before"]["secrets"].keys() == {"fingerprint"}
    assert one["before"]["secrets"] != one["after"]["secrets"]
    assert one["before"]["secrets"] == created["changes"][0]["after"]["secrets"], "the same is the same"


async def test_entries_are_found_by_who_what_and_when(api: Api, name: str) -> None:
    key = await api.made("/v1/keys", name=name, scopes=["connections"])
    async with api.caller(key["key"]) as caller:
        for number in range(3):
            made = await caller.post("/v1/brands", json={"name": f"{name}.{number}"})
            assert made.status_code == 201
    for query in ({"actor": key["id"]}, {"actor": key["prefix"]}):
        assert [one["actor_name"] for one in await entries(api, **query)] == [name] * 3
    newest, middle, oldest = await entries(api, actor=key["id"], kind="brand", action="create_brand", actor_kind="key")
    assert await entries(api, actor=key["id"], kind="policy") == []
    assert await entries(api, actor=key["id"], since=newest["at"]) == [newest]
    assert await entries(api, actor=key["id"], until=newest["at"]) == [middle, oldest]
    first = (await api.http.get("/v1/audit", params={"actor": key["id"], "limit": 2})).json()
    rest = (await api.http.get("/v1/audit", params={"actor": key["id"], "limit": 2, "cursor": first["next"]})).json()
    assert (first["items"], rest["items"], rest["next"]) == ([newest, middle], [oldest], None)
    assert middle["previous"] == oldest["digest"]


async def test_only_who_may_read_the_log_reads_it(api: Api, name: str) -> None:
    for scopes, status in ((["audit"], 200), (["admin"], 200), (["read", "operations"], 403)):
        key = await api.made("/v1/keys", name=name, scopes=scopes)
        async with api.caller(key["key"]) as caller:
            for path in ("/v1/audit", "/v1/audit/head"):
                assert (await caller.get(path)).status_code == status


async def test_what_is_done_at_a_provider_is_on_record_also_when_nobody_knows_the_outcome(api: Api, name: str) -> None:
    made = await api.shout(name, mood="unknown")
    assert (await api.http.post(f"/v1/connections/{made['id']}/install?dry_run=true")).status_code == 504
    assert (await entries(api))[0]["action"] == "create_connection"
    assert (await api.http.post(f"/v1/connections/{made['id']}/install")).status_code == 504
    [asked, _] = await entries(api, thing=f"connection:{made['id']}")
    assert (asked["action"], asked["changes"][0]["after"]) == ("install_connection", {"install": "asked"})
    matter = await open_matter(api, f"{name}b")
    reply = await matter.reply("sent", external_id="p1", sent_at=START)
    assert (await matter.do(reply, "retract")).status_code == 200
    done, asked = await entries(api, thing=f"reply:{reply}")
    assert (asked["changes"][0]["after"], asked["changes"][0]["before"]) == ({"retract": "asked"}, {})
    after = done["changes"][0]["after"]
    assert (after["retract"], after["state"], done["changes"][0]["before"]["state"]) == ("done", "retracted", "sent")


async def test_the_head_that_is_published_proves_the_log_up_to_it(api: Api, name: str) -> None:
    await api.made("/v1/brands", name=name)
    published = Head.parse((await api.http.get("/v1/audit/head")).json()["line"])
    await api.made("/v1/brands", name=f"{name}b")
    async with api.runtime.database.read() as connection:
        told = await verify(connection, api.runtime.vault, [published])
    assert told.ok, told.troubles
    assert told.head.seq == published.seq + 1


async def test_the_first_key_and_both_commands(
    database: str, serve: Any, tmp_path: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("GATEWAY_DATABASE_URL", database)
    monkeypatch.setenv("GATEWAY_DATA_DIR", str(tmp_path))
    monkeypatch.setenv("GATEWAY_DEFAULT_POLICIES", "false")

    async def run(*arguments: str) -> Any:
        return await asyncio.to_thread(CliRunner().invoke, app, ["audit", *arguments])

    async with serve(database) as api:
        await api.made("/v1/brands", name="Acme")
        newest, first = await entries(api)
        assert (first["action"], first["actor_kind"]) == ("first_api_key", "gateway")
        head = await run("head")
        assert head.exit_code == 0, head.output
        assert head.stdout == f"2 {newest['digest']} {Head.parse(head.stdout).at.isoformat()}\n"  # type: ignore[union-attr]
        file = tmp_path / "heads"
        file.write_text(head.stdout)
        checked = await run("verify", "--head", str(file))
        assert (checked.exit_code, "nothing is missing up to the newest head" in checked.stdout) == (0, True)
        await api.execute("ALTER TABLE audit_entry DISABLE TRIGGER USER")
        await api.execute("DELETE FROM audit_entry WHERE seq = 2")
        cut = await run("verify", "--head", str(file), "--json")
        assert cut.exit_code == 1
        assert json.loads(cut.stdout)["troubles"] == [
            {"seq": 2, "what": "it was published and is gone: the log ends at 1"}
        ]
        await api.execute("UPDATE audit_entry SET actor_name = 'Bob'")
        changed = await run("verify")
        assert (changed.exit_code, "entry 1: it was changed" in changed.stdout) == (1, True)
        file.write_text("2 nonsense")
        assert (await run("verify", "--head", str(file))).exit_code == 2
        assert UUID(first["things"][0].removeprefix("api_key:"))
