"""Nobody changes anything over REST without an entry in the audit log, and every table is watched or excused."""

from __future__ import annotations

import inspect
from collections.abc import AsyncIterator
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from sqlalchemy import LargeBinary
from sqlmodel import SQLModel

from gateway.api.deps import READING
from gateway.app import create_app
from gateway.cli import app
from gateway.db.database import as_json
from gateway.db.tables.columns import new_id
from gateway.db.watch import UNWATCHED, WATCHED, Watched
from gateway.registry import Registry
from gateway.security.audit.verify import verify
from gateway_schemas.testing.policies import rendered
from support.gateway import fresh_database, settings_for
from support.matters import START, insert, open_matter
from support.plugins import MODULE
from support.postgres import server_url  # noqa: F401  a fixture
from support.rest import Api, serving, small_registry

LOOKS = {
    "check_connection": "asks the provider; only what it says of the connection's standing is a change",
    "check_reply": "says what policies would say",
    "discover_accounts": "asks the provider",
    "evaluate_policy": "tries a draft",
    "plan_configuration": "says what an application would change",
    "preview_calendar": "counts",
    "run_policy_cases": "tries a draft",
}
"""Routes that take a body and change nothing."""

ELSEWHERE = {
    "authorize_connection": "tests/api/test_oauth.py",
    "disconnect_connection": "tests/api/test_oauth.py",
}
"""Routes that need more than the small plugins: their entries are looked for in these tests."""

ON_RECORD = {"apply", "key create", "secrets rotate"}
"""Commands whose change is in the log: they write with `runtime.audit.on_record(at_the_command_line(…))`."""
OFF_RECORD = {
    "audit head": "reads",
    "backup": "reads",
    "erasures apply": "erases again what is on record as erased",
    "erasures export": "reads",
    "restore": "before there is an installation",
    "audit verify": "reads",
    "demo": "an installation of its own",
    "export": "reads",
    "migrate": "the schema alone",
    "plan": "reads",
    "plugin check": "knows no installation",
    "plugin dev": "knows no installation",
    "plugin list": "reads",
    "plugin new": "knows no installation",
    "plugin record": "reads",
    "replay": "an installation of its own",
    "secrets status": "reads",
    "serve": "what it makes at the first start is the gateway's own doing, and on record",
    "twin": "knows no installation",
    "worker": "the pipeline",
}
"""Every other command, and why it leaves no entry."""

WORDS = "my child is at Lily's school"
"""A customer's words, which no entry may hold."""
WHY = "for this test"
SECRET = "a-secret-that-is-nowhere"


class Walk:
    """Calls every route that changes something, each with an entry to show for it."""

    def __init__(self, api: Api) -> None:
        self.api = api
        self.called: set[str] = set()

    async def call(self, method: str, path: str, body: Any = None) -> Any:
        """One call, which must succeed and leave an entry; its operation has been called then.

        What is done at a provider leaves two: before it is asked, and afterwards.
        """
        before = await self._newest()
        answer = await self.api.http.request(method, f"/v1{path}", json=body)
        assert answer.is_success, f"{method} {path}: {answer.status_code} {answer.text}"
        after = await self._newest()
        entries = 2 if path.endswith(("/retract", "/install")) else 1
        assert after["seq"] == before["seq"] + entries, f"{method} {path} left {after['seq'] - before['seq']} entries"
        assert after["things"], f"{method} {path} is not said to be about anything"
        self.called.add(after["action"])
        return answer.json() if answer.content else None

    async def _newest(self) -> Any:
        return (await self.api.rows("SELECT seq, action, things FROM audit_entry ORDER BY seq DESC LIMIT 1"))[0]


@pytest.fixture(scope="module")
async def api(server_url: str, tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Api]:  # noqa: F811
    """A gateway with the small plugins and the installed policies."""
    registry = replace(small_registry(), policies=Registry.load(modules=(MODULE,)).policies)
    async with (
        fresh_database(server_url) as url,
        serving(settings_for(url, tmp_path_factory.mktemp("data")), registry) as served,
    ):
        yield served


async def connections(walk: Walk) -> None:
    """Brands, Apps, connections, keys and people."""
    brand = await walk.call("POST", "/brands", {"name": "Acme"})
    await walk.call("PATCH", f"/brands/{brand['id']}", {"timezone": "Europe/Rome"})
    app = {"plugin": "crowd", "name": "app", "config": {"app_secret": SECRET}}
    made = await walk.call("POST", "/apps", app)
    await walk.call("PATCH", f"/apps/{made['id']}", {"config": {"app_secret": SECRET + "2"}})
    shout = {"plugin": "shout", "name": "shout", "config": {"user_id": "9", "secret": SECRET}}
    made = await walk.call("POST", "/connections", shout)
    path = f"/connections/{made['id']}"
    await walk.call("PATCH", path, {"config": {"secret": SECRET + "3"}})
    for action in ("install", "pause", "resume"):
        await walk.call("POST", f"{path}/{action}")
    documents = [{"kind": "brands", "content": {"name": "Of a file"}}]
    plan = (await walk.api.http.post("/v1/config/plan", json={"documents": documents})).json()
    await walk.call("POST", "/config/apply", {"documents": documents, "digest": plan["digest"]})
    key = await walk.call("POST", "/keys", {"name": "spare", "scopes": ["read"]})
    await walk.call("POST", f"/keys/{key['id']}/rotate", {})
    await walk.call("DELETE", f"/keys/{key['id']}")
    person = await walk.call("POST", "/people", {"name": "Ann", "emails": ["ann@acme.example"]})
    await walk.call("PUT", f"/people/{person['id']}", {"name": "Ann", "emails": ["a@acme.example"]})
    await walk.call("DELETE", f"/people/{person['id']}")


async def policies(walk: Walk) -> None:
    """Policies, lists, profiles, calendars and what tries drafts."""
    hours = {"timezone": "UTC", "hours": {"monday": [["09:00", "17:00"]]}}
    await walk.call("POST", "/calendars", {"name": "week", **hours})
    await walk.call("PUT", "/calendars/week", {**hours, "timezone": "Europe/Rome"})
    await walk.call("PATCH", "/calendars/week", {"holidays": ["2027-01-01"]})
    await walk.call("DELETE", "/calendars/week")
    await walk.call("PUT", "/lists/words", {"entries": ["one"], "reason": WHY})
    made = await walk.call("POST", "/policies", {"name": "second-look", "type": "scripted", "params": {"lines": []}})
    path = f"/policies/{made['id']}"
    await walk.call("PATCH", path, {"mode": "shadow"})
    await walk.call("POST", f"{path}/revisions", {"reason": WHY})
    item = {"policies": [{"policy": "second-look"}], "reason": WHY}
    before = walk.api.runtime.now()
    await walk.call("POST", "/policies/activate", item)
    await walk.call("POST", "/policies/activate", {**item, "effective_from": (before + timedelta(days=1)).isoformat()})
    planned = await walk.api.value("SELECT max(id) AS id FROM policy_activation")
    await walk.call("POST", f"/policies/activations/{planned}/withdraw")
    await walk.call("POST", "/policies/rollback", {"to": before.isoformat(), "reason": WHY})
    await walk.call("POST", "/policies/activate", item)
    await walk.call("POST", "/policies/deactivate", {"policies": ["second-look"], "reason": WHY})
    await walk.call("POST", "/policy-profiles/general/revisions", {"reason": WHY})
    run = await walk.call("POST", "/backtests", {})
    await walk.call("POST", f"/backtests/{run['id']}/cancel")
    case = {"point": "review_reply", "case": {"now": before.isoformat(), "source": "shout"}}
    case |= {"subject": rendered(WORDS).model_dump(mode="json"), "expect": {"verdict": "allow"}}
    await walk.call("PUT", f"{path}/cases/plain", case)
    await walk.call("DELETE", f"{path}/cases/plain")
    set_id = new_id()
    members = [{"policy": "second-look"}]
    await insert(walk.api, "policy_set", id=set_id, digest="d", members=members, versions={}, created_at=before)
    decision = {"point": "review_reply", "thing_id": set_id, "policy_set_id": set_id, "verdict": "allow"}
    await insert(walk.api, "decision", id=7, at=before, for_tone=False, **decision)
    said = {"policy": "second-look", "right": False, "note": WORDS}
    await walk.call("POST", "/decisions/7/feedback", said)
    spare = await walk.call("POST", "/policies", {"name": "spare", "type": "scripted", "params": {"lines": []}})
    await walk.call("DELETE", f"/policies/{spare['id']}")


async def conversations(walk: Walk) -> None:
    """Tickets, answers, waivers and promises, with a customer's words in them."""
    api = walk.api
    matter = await open_matter(api, "matter")
    await matter.say(1, WORDS)
    await api.execute("UPDATE ticket SET subject = :words", words=WORDS)
    for action, state, more in (
        ("approve", "held", {"digest": "d1"}),
        ("reject", "held", {"digest": "d2"}),
        ("cancel", "queued", {}),
        ("retract", "sent", {"external_id": "p1", "sent_at": START}),
    ):
        held = [{"code": "coupon", "message": WORDS, "policy": "p", "revision": 1, "severity": "hold"}]
        reply = await matter.reply(state, text=WORDS, findings=held, **more)
        body = {"digest": "d1"} if action == "approve" else None
        await walk.call("POST", f"/replies/{reply}/{action}", body)
    for action in ("approve", "reject"):
        group = new_id()
        await insert(api, "reply_group", id=group, state="held", sample=WORDS, words=[], opened_at=START, last_at=START)
        await matter.reply("held", text=WORDS, findings=[], digest=f"g{action}", group_id=group)
        shown = (await api.http.get(f"/v1/replies/groups/{group}")).json()
        body = {"digest": shown["digest"]} if action == "approve" else None
        await walk.call("POST", f"/replies/groups/{group}/{action}", body)
    path = f"/tickets/{matter.ticket}"
    await walk.call("POST", f"{path}/replies", {"text": WORDS})
    invitation = await walk.call("POST", f"{path}/invitations", {})
    await walk.call("DELETE", f"{path}/invitations/{invitation['id']}")
    until = (api.runtime.now() + timedelta(days=1)).isoformat()
    waiver = await walk.call("POST", f"{path}/waivers", {"policy": "second-look", "until": until, "reason": WHY})
    await walk.call("POST", f"{path}/waivers/{waiver['id']}/end")
    promise = await walk.call("POST", "/promises", {"ticket": str(matter.ticket), "quote": WORDS, "due": until})
    await walk.call("POST", f"/promises/{promise['id']}/settle", {"outcome": "kept", "evidence": WORDS})
    incident, alarm = new_id(), new_id()
    row = {"key": WORDS, "title": WORDS, "policy": "p", "tighten": {}, "grouping": True, "tell_at": 1}
    await insert(api, "incident", id=incident, opened_at=START, **row)
    await walk.call("POST", f"/incidents/{incident}/close", {"reason": WHY})
    await insert(api, "alarm", id=alarm, key=WORDS, severity="warning", code="c", message=WORDS, at=START)
    await walk.call("POST", f"/alarms/{alarm}/acknowledge")
    stop = {"scope": "brand", "id": "Acme"}
    await walk.call("POST", "/outbound/pause", {**stop, "reason": WHY})
    await walk.call("POST", "/outbound/resume", stop)
    own = await matter.say(2, WORDS, direction="outbound")
    data = {"account": "1", "reply_target": {"kind": "comment"}}
    await api.execute("UPDATE interaction SET data = CAST(:data AS jsonb) WHERE id = :id", data=as_json(data), id=own)
    await walk.call("POST", f"/interactions/{own}/correct", {"text": WORDS})
    await walk.call("POST", f"/interactions/{own}/retract")
    customer = await api.value("SELECT customer_id FROM ticket LIMIT 1")
    await walk.call("POST", f"/customers/{customer}/erasure", {"reason": WHY})


async def engine_room(walk: Walk) -> None:
    """Deliveries, dead letters, and tickets that move."""
    api = walk.api
    matter = await open_matter(api, "moving")
    desk = await api.made("/v1/connections", plugin="desk", name="second", config={"api_token": "t"})
    for _ in range(2):
        await api.execute(
            """INSERT INTO delivery (received_at, connection_id, role, origin, stream, method, query, headers, body,
                   note, shard, state, attempts)
               VALUES (:at, :source, 'source', 'webhook', '', 'POST', '', '', '', '{}', 0, 'failed', 1)""",
            at=api.runtime.now(),
            source=matter.source,
        )
    first = await api.value("SELECT min(id) AS id FROM delivery")
    await walk.call("POST", f"/deliveries/{first}/replay")
    await walk.call("POST", "/deliveries/replay", {})
    row = {"key": "dead", "ticket_id": matter.ticket, "helpdesk_id": matter.helpdesk, "kind": "note", "lane": 1}
    row |= {"payload": {}, "state": "failed", "epoch": 0, "tries": 3, "due_at": START, "at": START}
    await insert(api, "push", created_at=START, **row)
    await walk.call("POST", "/dead-letters/redrive", {"kind": "push"})
    await matter.reply("failed", text=WORDS)
    await walk.call("POST", "/dead-letters/redrive", {"kind": "reply"})
    for root in ("one", "two"):
        thread = new_id()
        await insert(api, "thread", id=thread, scope="moving", root=root, created_at=START)
        leg = {"account_id": matter.account, "ticket_id": matter.ticket, "visibility": "public"}
        await insert(api, "leg", thread_id=thread, created_at=START, **leg)
    part = await walk.call("POST", f"/tickets/{matter.ticket}/split", {"threads": ["two"], "reason": WHY})
    await walk.call("POST", f"/tickets/{part['id']}/move", {"helpdesk": desk["id"], "reason": WHY})


async def subscriptions(walk: Walk) -> None:
    """Subscriptions, at a place that nothing leads to."""
    body = {"name": "on call", "url": f"https://localhost/{SECRET}", "kinds": ["*"]}
    made = await walk.call("POST", "/subscriptions", body)
    path = f"/subscriptions/{made['id']}"
    await walk.call("PATCH", path, {"kinds": ["reply.*"]})
    for action in ("rotate-secret", "test", "pause", "resume"):
        await walk.call("POST", f"{path}/{action}")
    await walk.call("POST", f"{path}/replay", {"since": START.isoformat()})
    await walk.call("DELETE", path)


async def test_every_route_that_changes_something_leaves_an_entry(api: Api) -> None:
    walk = Walk(api)
    await connections(walk)
    await policies(walk)
    await conversations(walk)
    await engine_room(walk)
    await subscriptions(walk)
    document = (await api.http.get("/openapi.json")).json()
    changing = {
        operation["operationId"]
        for path, methods in document["paths"].items()
        for method, operation in methods.items()
        if path.startswith("/v1/") and method not in ("get", "head", "parameters")
    }
    assert LOOKS.keys() <= changing
    assert changing - LOOKS.keys() - ELSEWHERE.keys() - walk.called == set()
    async with api.runtime.database.read() as connection:
        told = await verify(connection, api.runtime.vault)
    assert (told.ok, told.entries > 50) == (True, True), told.troubles
    whole = "".join(row["entry"] for row in await api.rows("SELECT CAST(e AS text) AS entry FROM audit_entry e"))
    assert "fingerprint" in whole
    for text in (WORDS, "Lily", SECRET):
        assert text not in whole
    assert await api.rows("SELECT * FROM audit_pending") == []


def test_no_route_that_only_reads_opens_a_write_transaction(tmp_path: Path) -> None:
    """A GET is not on record by itself: one that changes something takes `runtime.audit.on_record(origin_of(…))`."""
    parts = create_app(settings_for("postgresql://nowhere/none", tmp_path)).routes
    routes = [one for part in parts for one in getattr(getattr(part, "original_router", None), "routes", ())]
    reading = {one.name: inspect.getsource(one.endpoint) for one in routes if one.methods <= READING}
    assert len(reading) > 50
    assert [name for name, source in reading.items() if "database.write(" in source] == []


def test_every_command_is_on_record_or_excused() -> None:
    commands = {
        f"{group.name} {one.name or one.callback.__name__}".strip()  # type: ignore[union-attr]
        for group, typer_app in [
            (SimpleNamespace(name=""), app),
            *((one, one.typer_instance) for one in app.registered_groups),
        ]
        for one in typer_app.registered_commands  # type: ignore[union-attr]
    }
    assert commands == ON_RECORD | OFF_RECORD.keys()


def test_every_table_is_watched_or_excused() -> None:
    watched = {one.table for one in WATCHED}
    assert watched | UNWATCHED.keys() == SQLModel.metadata.tables.keys()
    assert watched & UNWATCHED.keys() == set()


@pytest.mark.parametrize("one", WATCHED, ids=lambda one: one.table)
def test_what_is_said_of_a_watched_table_is_true(one: Watched) -> None:
    columns = SQLModel.metadata.tables[one.table].columns
    named = {*(one.shown or ()), *one.hidden, *one.quiet}
    assert named <= set(columns.keys())
    shown = one.arguments[2].split(",")
    assert not [name for name in shown if isinstance(columns[name].type, LargeBinary)]
    assert "id" not in one.quiet
