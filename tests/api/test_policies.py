"""Policies over REST: written, tried on a reply, put into force, taken back, and what they set going."""

from __future__ import annotations

from collections.abc import AsyncIterator
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

import pytest

from gateway.db.tables.columns import new_id
from gateway.policy.effects import raise_alarms
from gateway.registry import Registry
from gateway.sla.clocks import apply
from gateway.sla.facts import promise_request
from gateway_schemas.decision import MakePromise
from support.gateway import fresh_database, settings_for
from support.plugins import MODULE
from support.postgres import server_url  # noqa: F401  a fixture
from support.rest import Api, serving

HOLD = {"say": {"severity": "hold", "code": "no", "message": "Not like this.", "suggestion": "Say it kindly."}}


@pytest.fixture(scope="module")
async def api(server_url: str, tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Api]:  # noqa: F811
    """A gateway with the installed plugins and those of tests, also where policies run."""
    settings = settings_for("", tmp_path_factory.mktemp("data"), plugin_modules=(MODULE,))
    async with fresh_database(server_url) as url:
        settings = settings.model_copy(update={"database_url": settings_for(url, settings.data_dir).database_url})
        async with serving(settings, Registry.load(modules=(MODULE,))) as served:
            await served.runtime.sandbox.warm()
            yield served


async def policy(api: Api, name: str, *lines: dict[str, Any], **body: Any) -> dict[str, Any]:
    """A scripted policy with a draft."""
    return await api.made("/v1/policies", name=name, type="scripted", params={"lines": lines}, **body)


async def put(api: Api, name: str, *lines: dict[str, Any], **body: Any) -> dict[str, Any]:
    """A scripted policy in force."""
    made = await policy(api, name, *lines, **body)
    await api.made(f"/v1/policies/{made['id']}/revisions", reason="to try")
    answer = await api.http.post("/v1/policies/activate", json={"policies": [{"policy": name}], "reason": "to try"})
    assert answer.status_code == 200, answer.text
    forget(api)
    return made


def forget(api: Api) -> None:
    """What a second would do."""
    api.runtime.policies.forget(api.runtime.now())


async def check(api: Api, **body: Any) -> dict[str, Any]:
    """Look at a reply."""
    answer = await api.http.post("/v1/replies/check", json=body)
    assert answer.status_code == 200, answer.text
    found: dict[str, Any] = answer.json()
    return found


async def ticket(api: Api) -> str:
    """A ticket, written behind the gateway's back."""
    connection, customer, account, id = (new_id() for _ in range(4))
    now = api.runtime.now()
    await api.execute(
        """INSERT INTO connection (id, role, plugin, name, config, allow_private, history, history_days, sla_owner,
               status, paused_in, paused_out, failures, version, created_at, updated_at)
           VALUES (:id, 'source', 'x', :name, '{}', '{}', 'record', 90, 'gateway', 'active', false, false, 0, 1, :now,
               :now)""",
        id=connection,
        name=str(connection),
        now=now,
    )
    await api.execute("INSERT INTO customer (id, created_at) VALUES (:id, :now)", id=customer, now=now)
    await api.execute(
        """INSERT INTO account (id, scope, external_id, customer_id, provider, created_at, updated_at)
           VALUES (:id, 'x', :name, :customer, 'x', :now, :now)""",
        id=account,
        name=str(account),
        customer=customer,
        now=now,
    )
    await api.execute(
        """INSERT INTO ticket (id, connection_id, account_id, customer_id, subject, status, priority, tags, opened_at,
               last_inbound_at, created_at, updated_at)
           VALUES (:id, :connection, :account, :customer, 's', 'open', 'normal', '{}', :now, :now, :now, :now)""",
        id=id,
        connection=connection,
        account=account,
        customer=customer,
        now=now,
    )
    return str(id)


async def test_types_say_what_they_do_and_take(api: Api) -> None:
    found = {one["type"]: one for one in (await api.http.get("/v1/policy-types")).json()["items"]}
    assert {"scripted", "wild", "manners", "rule"} <= set(found)
    assert (found["manners"]["tone"], found["scripted"]["many"]) == (True, True)
    assert found["manners"]["points"] == ["review_reply"]
    assert "word" in found["manners"]["params_schema"]["properties"]
    assert (await api.http.get("/v1/policy-types/rule")).json()["type"] == "rule"
    assert (await api.http.get("/v1/policy-types/nothing")).status_code == 404


async def test_a_reply_alone_is_enough_to_be_checked(api: Api) -> None:
    found = await check(api, reply="Take a voucher by tomorrow, sorry.", sent_at="2026-03-12T10:15:00Z")
    assert found == {
        "verdict": "allow",
        "coverage": "full",
        "rendered": "Take a voucher by tomorrow, sorry.",
        "length": 34,
        "limit": None,
        "findings": [],
        "signals": {
            "incentive_offered": True,
            "retraction_requested": False,
            "acknowledges": True,
            "apologises": False,
            "argues": False,
            "condescends_or_excuses": False,
            "invites_private": False,
            "asks_personal_data_publicly": False,
        },
        "promises": [{"quote": "by tomorrow", "due": "2026-03-13"}],
    }
    unread = await check(api, reply="申し訳ございません。", interaction={"language": "ja"})
    assert (unread["coverage"], any(unread["signals"].values())) == ("none", False)


async def test_a_reply_is_checked_by_the_policies_in_force_and_nothing_is_stored(api: Api) -> None:
    made = await put(api, "kind", {"if_text": "idiot", **HOLD})
    before = await api.value("SELECT (SELECT count(*) FROM decision) + (SELECT count(*) FROM reply)")
    found = await check(api, reply="You idiot", interaction={"source": "x", "kind": "post", "text": "where is it?"})
    assert (found["verdict"], found["limit"], found["length"]) == ("hold", 280, 9)
    assert found["findings"] == [
        {
            "policy": "kind",
            "type": "scripted",
            "revision": 1,
            "severity": "hold",
            "code": "no",
            "message": "Not like this.",
            "evidence": [],
            "suggestion": "Say it kindly.",
            "rule": None,
        }
    ]
    assert (await check(api, reply="Sorry"))["verdict"] == "allow"
    too_long = await check(api, reply="x" * 400, interaction={"source": "x", "kind": "post"})
    assert (too_long["verdict"], too_long["findings"][0]["code"]) == ("block", "too_long")
    assert await api.value("SELECT (SELECT count(*) FROM decision) + (SELECT count(*) FROM reply)") == before
    await api.http.post("/v1/policies/deactivate", json={"policies": [made["id"]], "reason": "over"})
    forget(api)
    assert (await check(api, reply="You idiot"))["verdict"] == "allow"


async def test_a_check_knows_the_whole_conversation_and_points_into_it(api: Api) -> None:
    evidence = [{"in": "earlier", "start": 0, "end": 4, "text": "Take", "index": 0}]
    say = {"severity": "warn", "code": "twice", "message": "m", "evidence": evidence}
    made = await put(api, "before", {"if_text": "remove", "if_said": 2, "say": say})
    earlier = [{"from": "agent", "text": "Take 20 euros", "visibility": "private"}]
    found = await check(api, reply="Please remove it", earlier=earlier, interaction={"text": "no"})
    assert found["findings"][0]["evidence"] == evidence
    assert (await check(api, reply="Please remove it", earlier=earlier))["findings"] == []
    await api.http.post("/v1/policies/deactivate", json={"policies": [made["id"]], "reason": "over"})
    forget(api)


@pytest.mark.parametrize(
    ("body", "field"),
    [
        ({}, "reply"),
        ({"reply": ""}, "reply"),
        ({"reply": "x", "brand": "Nobody"}, "brand"),
        ({"reply": "x", "connection": "nowhere"}, "connection"),
        ({"reply": "x", "interaction": {"kind": "telegram"}}, "interaction.kind"),
        ({"reply": "x", "earlier": [{"from": "nobody", "text": "x"}]}, "earlier.0.from"),
        ({"reply": "x", "interactions": {}}, "interactions"),
    ],
)
async def test_a_check_names_the_field_at_fault(api: Api, body: dict[str, Any], field: str) -> None:
    answer = await api.http.post("/v1/replies/check", json=body)
    assert (answer.status_code, answer.json()["errors"][0]["field"]) == (422, field)


async def test_a_policy_goes_from_draft_to_force_and_back(api: Api) -> None:
    made = await policy(api, "life", {"if_text": "a", **HOLD}, order=7)
    url = f"/v1/policies/{made['id']}"
    assert (made["newest_revision"], made["revision_in_force"], made["draft"]["order"]) == (None, None, 7)
    refused = await api.http.post("/v1/policies/activate", json={"policies": [{"policy": "life"}], "reason": "now"})
    assert (refused.status_code, refused.json()["errors"][0]["fix"]) == (
        422,
        f"POST {url}/revisions makes one of its draft",
    )
    first = await api.made(f"{url}/revisions", reason="the first")
    assert (first["number"], first["reason"], first["differences"]) == (1, "the first", [])
    read = await api.http.get(url)
    changed = await api.http.patch(url, json={"mode": "shadow"}, headers={"If-Match": read.headers["ETag"]})
    assert (changed.status_code, changed.json()["draft"]["mode"]) == (200, "shadow")
    stale = await api.http.patch(url, json={"mode": "on"}, headers={"If-Match": read.headers["ETag"]})
    assert stale.status_code == 412
    second = await api.made(f"{url}/revisions", reason="quieter")
    assert second["differences"] == [{"field": "mode", "from": "on", "to": "shadow"}]
    again = await api.http.post(f"{url}/revisions", json={"reason": "nothing new"})
    assert again.json()["number"] == 2

    began = api.runtime.now()
    active = await api.http.post(
        "/v1/policies/activate", json={"policies": [{"policy": "life", "revision": 1}], "reason": "go"}
    )
    assert active.json()[0]["revision"] == 1
    between = api.runtime.now()
    await api.http.post("/v1/policies/activate", json={"policies": [{"policy": made["id"]}], "reason": "quieter"})
    assert (await api.http.get(url)).json()["revision_in_force"] == 2
    in_force = (await api.http.get("/v1/policies/in-force")).json()["policies"]
    assert [one["revision"] for one in in_force if one["policy"] == "life"] == [2]
    past = (await api.http.get("/v1/policies/in-force", params={"at": began.isoformat()})).json()["policies"]
    assert "life" not in {one["policy"] for one in past}
    back = await api.http.post("/v1/policies/rollback", json={"to": between.isoformat(), "reason": "too quiet"})
    assert [(one["policy"], one["revision"]) for one in back.json()] == [("life", 1)]
    refused = await api.http.delete(url)
    assert refused.status_code == 409
    await api.http.post("/v1/policies/deactivate", json={"policies": ["life"], "reason": "over"})
    assert (await api.http.delete(url)).json()["archived_at"] is not None
    assert (await api.http.patch(url, json={"mode": "on"})).status_code == 409
    history = (await api.http.get("/v1/policies/activations", params={"policy": "life"})).json()["items"]
    assert [(one["revision"], one["reason"]) for one in history] == [
        (None, "over"),
        (1, "too quiet"),
        (2, "quieter"),
        (1, "go"),
    ]
    listed = (await api.http.get("/v1/policies", params={"type": "scripted"})).json()["items"]
    assert "life" not in {one["name"] for one in listed}
    revisions = (await api.http.get(f"{url}/revisions")).json()["items"]
    assert [one["number"] for one in revisions] == [2, 1]
    one = (await api.http.get(f"{url}/revisions/1", params={"against": 2})).json()
    assert one["differences"] == [{"field": "mode", "from": "shadow", "to": "on"}]
    assert (await api.http.get(f"{url}/revisions/9")).status_code == 404


async def test_what_is_scheduled_can_be_withdrawn(api: Api) -> None:
    made = await policy(api, "later", HOLD)
    await api.made(f"/v1/policies/{made['id']}/revisions", reason="for later")
    at = (api.runtime.now() + timedelta(hours=1)).isoformat()
    body = {"policies": [{"policy": "later"}], "reason": "the season begins", "effective_from": at}
    [scheduled] = (await api.http.post("/v1/policies/activate", json=body)).json()
    later = (await api.http.get("/v1/policies/in-force", params={"at": at})).json()["policies"]
    assert "later" in {one["policy"] for one in later}
    url = f"/v1/policies/activations/{scheduled['id']}/withdraw"
    assert (await api.http.post(url)).json()["withdrawn_at"] is not None
    assert (await api.http.post(url)).status_code == 409
    body["effective_from"] = (api.runtime.now() - timedelta(hours=1)).isoformat()
    assert (await api.http.post("/v1/policies/activate", json=body)).status_code == 409


@pytest.mark.parametrize(
    ("body", "field", "says"),
    [
        ({"type": "nothing"}, "type", "there is no policy type"),
        ({"params": {"lines": [{}]}}, "params.lines.0.say", "required"),
        ({"scope": {"when": "interaction.kindd == 'post'"}}, "scope.when", "did you mean kind? (column 13)"),
        ({"scope": {"kind": ["post"]}}, "scope.kind", "not known"),
        ({"mode": "maybe"}, "mode", "on"),
        ({"brand": "Nobody"}, "brand", "no brand"),
        ({"on_timeout": {"action": "pray"}}, "on_timeout.action", "escalate"),
    ],
)
async def test_a_draft_names_the_field_at_fault(api: Api, body: dict[str, Any], field: str, says: str) -> None:
    answer = await api.http.post("/v1/policies", json={"name": "bad", "type": "scripted", **body})
    [error] = answer.json()["errors"]
    assert (answer.status_code, error["field"]) == (422, field)
    assert says in error["message"]


async def test_a_name_is_taken_once_and_only_the_companys_can_be_locked(api: Api) -> None:
    await policy(api, "unique")
    again = await api.http.post("/v1/policies", json={"name": "unique", "type": "scripted"})
    assert again.status_code == 409
    await api.made("/v1/brands", name="Acme Blue")
    locked = await api.http.post(
        "/v1/policies", json={"name": "own", "type": "scripted", "brand": "Acme Blue", "locked": True}
    )
    assert (locked.status_code, locked.json()["errors"][0]["field"]) == (409, "locked")


async def test_drafting_and_activating_are_two_permissions(api: Api) -> None:
    key = await api.made("/v1/keys", name="drafter", scopes=["policies:draft"])
    async with api.caller(key["key"]) as drafter:
        made = await drafter.post("/v1/policies", json={"name": "drafted", "type": "scripted"})
        assert made.status_code == 201
        activate = {"policies": [{"policy": "drafted"}], "reason": "x"}
        assert (await drafter.post("/v1/policies/activate", json=activate)).status_code == 403
        assert (await drafter.put("/v1/lists/some", json={"entries": [], "reason": "x"})).status_code == 200


async def test_lists_have_versions(api: Api) -> None:
    first = await api.http.put("/v1/lists/vips", json={"entries": ["rita", "rita", "bob"], "reason": "the founders"})
    assert (first.json()["version"], first.json()["entries"]) == (1, ["rita", "bob"])
    body = {"entries": ["rita"], "reason": "bob left"}
    second = await api.http.put("/v1/lists/vips", json=body, headers={"If-Match": first.headers["ETag"]})
    assert second.json()["version"] == 2
    assert (await api.http.put("/v1/lists/vips", json=body, headers={"If-Match": '"1"'})).status_code == 412
    assert (await api.http.put("/v1/lists/vips", json=body)).json()["version"] == 2, "the same again is no new one"
    assert (await api.http.get("/v1/lists/vips", params={"version": 1})).json()["entries"] == ["rita", "bob"]
    assert [one["version"] for one in (await api.http.get("/v1/lists/vips/versions")).json()["items"]] == [2, 1]
    assert (await api.http.get("/v1/lists/none")).status_code == 404
    assert "vips" in {one["name"] for one in (await api.http.get("/v1/lists")).json()["items"]}
    assert (await api.http.put("/v1/lists/No Name", json=body)).status_code in (404, 422)


async def test_a_waiver_has_an_end_a_reason_and_an_author(api: Api) -> None:
    await policy(api, "waivable")
    url = f"/v1/tickets/{await ticket(api)}/waivers"
    until = api.runtime.now() + timedelta(hours=1)
    body = {"policy": "waivable", "until": until.isoformat(), "reason": "agreed with legal"}
    made = await api.made(url, **body)
    assert (made["policy"], made["reason"], made["author"]) == ("waivable", "agreed with legal", "first key")
    assert (await api.http.post(f"{url}/{made['id']}/end")).json()["ended_at"] is not None
    assert (await api.http.post(f"{url}/{made['id']}/end")).status_code == 409
    assert len((await api.http.get(url)).json()["items"]) == 1
    past = {**body, "until": (api.runtime.now() - timedelta(hours=1)).isoformat()}
    assert (await api.http.post(url, json=past)).status_code == 422
    assert (await api.http.post(url, json={**body, "policy": "nothing"})).json()["errors"][0]["field"] == "policy"
    assert (await api.http.post(f"/v1/tickets/{new_id()}/waivers", json=body)).status_code == 404


async def test_promises_are_kept_or_broken_once(api: Api) -> None:
    id = await ticket(api)
    made = await api.made("/v1/promises", ticket=id, quote="a refund by Friday", due="2026-03-13T17:00:00Z")
    assert (made["state"], made["policy"]) == ("open", "person")
    due = {"state": "open", "due_before": "2026-03-14T00:00:00Z", "ticket": id}
    assert [one["id"] for one in (await api.http.get("/v1/promises", params=due)).json()["items"]] == [made["id"]]
    url = f"/v1/promises/{made['id']}"
    kept = (await api.http.post(f"{url}/settle", json={"outcome": "kept", "evidence": "paid"})).json()
    assert (kept["state"], kept["evidence"], kept["settled_by"]) == ("kept", "paid", "first key")
    assert (await api.http.post(f"{url}/settle", json={"outcome": "broken"})).status_code == 409
    assert (await api.http.get(url)).json()["state"] == "kept"
    assert (await api.http.get(f"/v1/promises/{new_id()}")).status_code == 404
    assert (await api.http.post("/v1/promises", json={"ticket": str(new_id()), "quote": "x"})).status_code == 422


@pytest.mark.parametrize(
    ("outcome", "state", "word"),
    [("kept", "met", "stopped_by"), ("broken", "cancelled", "reason"), ("withdrawn", "cancelled", "reason")],
)
async def test_the_clock_of_a_promise_that_a_person_settles_stops(
    api: Api, outcome: str, state: str, word: str
) -> None:
    id = UUID(await ticket(api))
    promise = await api.made("/v1/promises", ticket=str(id), quote="a refund by Friday")
    now = api.runtime.now()
    said = MakePromise(quote="a refund by Friday", due=now + timedelta(hours=1))
    start = promise_request(said, promise["id"], id, now, now, policy="keep", revision=1)
    assert start is not None
    async with api.runtime.database.write() as connection:
        await apply(connection, api.runtime.calendars, [start], now)
    await api.http.post(f"/v1/promises/{promise['id']}/settle", json={"outcome": outcome})
    [clock] = (await api.http.get("/v1/clocks", params={"ticket": str(id)})).json()["items"]
    assert (clock["state"], clock["next_at"]) == (state, None), "nobody is warned of it any more"
    assert "person:first key" in clock[word]


async def test_a_promise_that_a_person_writes_down_has_a_clock(api: Api) -> None:
    id = await ticket(api)
    due = api.runtime.now() + timedelta(hours=4)
    none = await api.made("/v1/promises", ticket=id, quote="we look into it")
    assert (await api.http.get("/v1/clocks", params={"ticket": id})).json()["items"] == [], "there is no time in it"
    dated = await api.made("/v1/promises", ticket=id, quote="a refund tonight", due=due.isoformat())
    looked = await api.made("/v1/promises", ticket=id, quote="we call you", review_at=due.isoformat())
    clocks = (await api.http.get("/v1/clocks", params={"ticket": id})).json()["items"]
    assert {(one["label"], one["kind"], one["state"], one["policy"]) for one in clocks} == {
        ("a refund tonight", "promise", "running", "person"),
        ("we call you", "promise", "running", "person"),
    }
    assert all(datetime.fromisoformat(one["due_at"]) == due for one in clocks)
    for promise in (none, dated, looked):
        await api.http.post(f"/v1/promises/{promise['id']}/settle", json={"outcome": "kept"})
    clocks = (await api.http.get("/v1/clocks", params={"ticket": id})).json()["items"]
    assert [one["state"] for one in clocks] == ["met", "met"]


async def test_an_incident_is_closed_by_a_person(api: Api) -> None:
    id = new_id()
    await api.execute(
        """INSERT INTO incident (id, key, title, policy, tighten, grouping, opened_at)
           VALUES (:id, 'outage', 'The site is down', 'surge', '{"manners": "hold"}', true, :now)""",
        id=id,
        now=api.runtime.now(),
    )
    in_force = (await api.http.get("/v1/policies/in-force")).json()
    assert in_force["tightened"] == {"outage": {"manners": "hold"}}
    assert [one["key"] for one in (await api.http.get("/v1/incidents", params={"open": True})).json()["items"]] == [
        "outage"
    ]
    closed = (await api.http.post(f"/v1/incidents/{id}/close", json={"reason": "it is up"})).json()
    assert (closed["closed_by"], closed["reason"], closed["messages"]) == ("first key", "it is up", 0)
    assert (await api.http.post(f"/v1/incidents/{id}/close")).status_code == 409
    assert (await api.http.get(f"/v1/incidents/{id}")).json()["closed_at"] is not None
    assert (await api.http.get("/v1/incidents", params={"open": True})).json()["items"] == []


async def test_an_alarm_is_raised_once_and_acknowledged_once(api: Api) -> None:
    one = {"key": "k1", "severity": "critical", "code": "c", "message": "m", "at": api.runtime.now()}
    async with api.runtime.database.write() as connection:
        await raise_alarms(connection, [one, one])
        await raise_alarms(connection, [one])
    [found] = (await api.http.get("/v1/alarms", params={"severity": "critical", "acknowledged": False})).json()["items"]
    taken = (await api.http.post(f"/v1/alarms/{found['id']}/acknowledge")).json()
    assert taken["acknowledged_by"] == "first key"
    again = (await api.http.post(f"/v1/alarms/{found['id']}/acknowledge")).json()
    assert again["acknowledged_at"] == taken["acknowledged_at"]
    assert (await api.http.post(f"/v1/alarms/{new_id()}/acknowledge")).status_code == 404
