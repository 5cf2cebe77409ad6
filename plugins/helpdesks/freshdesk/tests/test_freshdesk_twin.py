"""The twin refuses what Freshdesk refuses, with Freshdesk's own statuses and bodies."""

from __future__ import annotations

import base64
from datetime import timedelta
from typing import Any

import httpx2
import pytest

from gateway_freshdesk.twin import FreshdeskTwin


async def ask(desk: Any, method: str, path: str, **more: Any) -> Any:
    headers = {"Accept": "application/json", **more.pop("headers", {})}
    if "Authorization" not in headers:
        headers["Authorization"] = "Basic " + base64.b64encode(f"{desk.twin.key}:X".encode()).decode()
    return await desk.http.request(method, f"{desk.twin.url}/api/v2/{path}", headers=headers, **more)


def ticket(**more: Any) -> dict[str, Any]:
    values = {"unique_external_id": "x:1", "name": "Alice", "subject": "s", "description": "<p>d</p>"}
    return {**values, "status": 2, "priority": 1, "source": 2, **more}


def fields(answer: Any) -> set[tuple[str, str]]:
    assert answer.json()["description"] == "Validation failed"
    return {(one["field"], one["code"]) for one in answer.json()["errors"]}


@pytest.mark.parametrize(
    "authorization", ["", "Bearer twin-api-key", "Basic !", "Basic " + base64.b64encode(b"no:X").decode()]
)
async def test_401(desk: Any, authorization: str) -> None:
    answer = await ask(desk, "GET", "agents/me", headers={"Authorization": authorization})
    assert (answer.status_code, answer.json()["code"]) == (401, "invalid_credentials")


@pytest.mark.parametrize(
    ("body", "wrong"),
    [
        ({}, {("subject", "missing_field"), ("description", "missing_field"), ("requester_id", "missing_field")}),
        (ticket(status=9), {("status", "invalid_value")}),
        (ticket(status="2"), {("status", "datatype_mismatch")}),
        (ticket(priority=5), {("priority", "invalid_value")}),
        (ticket(source=5), {("source", "invalid_value")}),
        (ticket(tags="a,b"), {("tags", "datatype_mismatch")}),
        (ticket(tags=["t" * 33]), {("tags", "invalid_value")}),
        (ticket(custom_fields={"cf_no": 1}), {("cf_no", "invalid_field")}),
        (ticket(external_id="x"), {("external_id", "invalid_field")}),
        (ticket(requester_id=5), {("requester_id", "invalid_value")}),
    ],
)
async def test_400_of_a_create(desk: Any, body: dict[str, Any], wrong: set[tuple[str, str]]) -> None:
    answer = await ask(desk, "POST", "tickets", json=body)
    assert answer.status_code == 400
    assert wrong <= fields(answer)
    assert not desk.twin.tickets


async def test_creates_are_never_deduplicated(desk: Any) -> None:
    """There is no idempotency key, and nothing like it."""
    for _ in range(2):
        answer = await ask(desk, "POST", "tickets", json=ticket(), headers={"Idempotency-Key": "k"})
        assert answer.status_code == 201
    assert answer.headers["location"].endswith("/api/v2/tickets/2")
    assert len({one.requester_id for one in desk.twin.tickets.values()}) == 1


async def test_404_has_no_body_and_other_types_are_refused(desk: Any) -> None:
    for path in ("tickets/99", "tickets/abc", "contacts/1", "agents/5"):
        answer = await ask(desk, "GET", path)
        assert (answer.status_code, answer.content) == (404, b"")
    assert (await ask(desk, "POST", "tickets", content=b"a=b")).status_code == 415
    bad = await ask(desk, "POST", "tickets", content=b"[1]", headers={"Content-Type": "application/json"})
    assert (bad.status_code, bad.json()["code"]) == (400, "invalid_json")


async def test_contacts_are_unique(desk: Any) -> None:
    first = await ask(desk, "POST", "contacts", json={"name": "Alice", "unique_external_id": "x:1"})
    again = await ask(desk, "POST", "contacts", json={"name": "Other", "unique_external_id": "x:1"})
    assert (first.status_code, again.status_code) == (201, 409)
    (error,) = again.json()["errors"]
    assert error["additional_info"] == {"user_id": first.json()["id"]}
    found = await ask(desk, "GET", "contacts", params={"unique_external_id": "x:1"})
    assert [one["name"] for one in found.json()] == ["Alice"]
    nobody = await ask(desk, "POST", "contacts", json={"name": "Nobody"})
    assert fields(nobody) == {("email", "missing_field")}


async def test_notes(desk: Any) -> None:
    """Private unless it says otherwise; as the API user unless it says whom."""
    await ask(desk, "POST", "tickets", json=ticket())
    made = await ask(desk, "POST", "tickets/1/notes", json={"body": "x"})
    assert (made.status_code, made.json()["private"], made.json()["incoming"], made.json()["source"]) == (
        201,
        True,
        False,
        2,
    )
    assert made.json()["user_id"] == desk.twin.api_user.id
    for body, wrong in (
        ({}, ("body", "missing_field")),
        ({"body": "x", "private": "no"}, ("private", "datatype_mismatch")),
        ({"body": "x", "user_id": 5}, ("user_id", "invalid_value")),
        ({"body": "x", "metadata": {}}, ("metadata", "invalid_field")),
    ):
        assert wrong in fields(await ask(desk, "POST", "tickets/1/notes", json=body))


async def test_a_notes_privacy_cannot_be_changed(desk: Any) -> None:
    await ask(desk, "POST", "tickets", json=ticket())
    note = (await ask(desk, "POST", "tickets/1/notes", json={"body": "x", "private": False})).json()
    answer = await ask(desk, "PUT", f"conversations/{note['id']}", json={"body": "y", "private": True})
    assert fields(answer) == {("private", "invalid_field")}
    edited = await ask(desk, "PUT", f"conversations/{note['id']}", json={"body": "y"})
    assert (edited.json()["body"], edited.json()["private"]) == ("y", False)


async def test_replies_are_e_mails(desk: Any) -> None:
    await ask(desk, "POST", "tickets", json=ticket())
    assert (await ask(desk, "POST", "tickets/1/reply", json={"body": "x"})).status_code == 400
    await ask(desk, "POST", "tickets", json=ticket(unique_external_id=None, email="eve@home.example"))
    assert (await ask(desk, "POST", "tickets/2/reply", json={"body": "x"})).status_code == 201
    assert [one["what"] for one in desk.twin.mails] == ["new ticket", "reply"]


async def test_html_is_cleaned_and_placeholders_stay(desk: Any) -> None:
    await ask(
        desk,
        "POST",
        "tickets",
        json=ticket(description='<p onclick="x()" data-k="1">a<script>b</script><!-- c --></p>'),
    )
    assert desk.twin.tickets[1].description == "<p>a</p>"


@pytest.mark.parametrize("way", ["delete", "mark_spam"])
async def test_the_trash_takes_no_changes(desk: Any, way: str) -> None:
    await ask(desk, "POST", "tickets", json=ticket())
    getattr(desk.twin, way)(1)
    for method, path, body in (
        ("PUT", "tickets/1", {"priority": 2}),
        ("POST", "tickets/1/notes", {"body": "x"}),
        ("DELETE", "tickets/1", None),
    ):
        answer = await ask(desk, method, path, **({"json": body} if body else {}))
        assert answer.status_code == 405
        assert answer.json()["message"].startswith(f"{method} method is not allowed")
    shown = (await ask(desk, "GET", "tickets/1")).json()
    assert shown.get("deleted", False) == (way == "delete")
    assert shown["spam"] == (way == "mark_spam")
    assert (await ask(desk, "GET", "tickets")).json() == []
    word = "deleted" if way == "delete" else "spam"
    assert len((await ask(desk, "GET", "tickets", params={"filter": word})).json()) == 1


async def test_lists(desk: Any) -> None:
    """Thirty a page, a hundred at most, and none older than thirty days unless asked by change."""
    for number in range(65):
        desk.twin.desk.create(ticket(subject=str(number)), None)
        desk.time.pass_by(seconds=1)
    first = await ask(desk, "GET", "tickets")
    assert len(first.json()) == 30
    assert 'rel="next"' in first.headers["link"]
    assert "description" not in first.json()[0]
    last = await ask(desk, "GET", "tickets", params={"page": 3, "include": "description,stats"})
    assert (len(last.json()), "link" in last.headers) == (5, False)
    assert {"description", "stats"} <= set(last.json()[0])
    for params in ({"per_page": 101}, {"page": 0}, {"page": 301}, {"filter": "all"}, {"include": "x"}, {"q": "x"}):
        assert (await ask(desk, "GET", "tickets", params=params)).status_code == 400
    assert (await ask(desk, "GET", "tickets", params={"updated_since": "yesterday"})).status_code == 400
    desk.time.pass_by(days=31)
    assert (await ask(desk, "GET", "tickets")).json() == []
    everything = await ask(desk, "GET", "tickets", params={"updated_since": "2026-11-01T00:00:00Z", "per_page": 100})
    assert len(everything.json()) == 65


async def test_the_search_is_behind(desk: Any) -> None:
    field = desk.twin.add_field("key")["name"]
    await ask(desk, "POST", "tickets", json=ticket(custom_fields={field: "k1"}))
    params = {"query": f"\"{field}:'k1'\""}
    assert (await ask(desk, "GET", "search/tickets", params=params)).json()["total"] == 0
    desk.time.pass_by(seconds=desk.twin.search_lag)
    assert (await ask(desk, "GET", "search/tickets", params=params)).json()["total"] == 1
    assert (await ask(desk, "GET", "search/tickets", params={"query": f"{field}:'k1'"})).status_code == 400


async def test_what_is_required(desk: Any) -> None:
    desk.twin.add_field("Order", required_for_agents=True)
    desk.twin.add_field("Cause", required_for_closure=True)
    assert fields(await ask(desk, "POST", "tickets", json=ticket())) == {("cf_order", "missing_field")}
    await ask(desk, "POST", "tickets", json=ticket(custom_fields={"cf_order": "1"}))
    assert fields(await ask(desk, "PUT", "tickets/1", json={"status": 4})) == {("cf_cause", "missing_field")}
    assert (
        await ask(desk, "PUT", "tickets/1", json={"status": 4, "custom_fields": {"cf_cause": "x"}})
    ).status_code == 200


async def test_includes_cost_credits(desk: Any) -> None:
    desk.twin.limits.plan("growth")
    await ask(desk, "POST", "tickets", json=ticket())
    answer = await ask(desk, "GET", "tickets/1", params={"include": "stats,conversations"})
    assert answer.headers["x-ratelimit-used-currentrequest"] == "3"
    assert answer.headers["x-ratelimit-remaining"] == "196"


async def test_conversations_come_in_order_and_all(desk: Any) -> None:
    await ask(desk, "POST", "tickets", json=ticket())
    for number in range(35):
        desk.twin.agent_note(1, "Ada", str(number))
    ten = (await ask(desk, "GET", "tickets/1", params={"include": "conversations"})).json()["conversations"]
    assert len(ten) == 10
    second = (await ask(desk, "GET", "tickets/1/conversations", params={"page": 2})).json()
    assert [one["body_text"] for one in second] == ["30", "31", "32", "33", "34"]


async def test_merging_by_the_api(desk: Any) -> None:
    for _ in range(2):
        await ask(desk, "POST", "tickets", json=ticket())
    assert (await ask(desk, "PUT", "tickets/merge", json={"primary_id": 1, "ticket_ids": [2]})).status_code == 204
    assert desk.twin.tickets[2].status == 5
    stats = (await ask(desk, "GET", "tickets/2", params={"include": "stats"})).json()["stats"]
    assert stats["closed_at"] == "2026-11-22T10:00:00Z"


@pytest.mark.parametrize(
    "body",
    [
        {},
        {"name": "x", "conditions": [{}], "actions": [{"field_name": "fly"}], "performer": {"type": 1}, "events": [{}]},
        {"name": "x", "conditions": [{}], "actions": [{"field_name": "priority"}]},
        {
            "name": "x",
            "conditions": [{}],
            "performer": {"type": 1},
            "events": [{"field_name": "status"}],
            "actions": [{"field_name": "trigger_webhook", "url": "https://x.example", "content_layout": 2}],
        },
    ],
)
async def test_rules_that_are_refused(desk: Any, body: dict[str, Any]) -> None:
    assert (await ask(desk, "POST", "automations/4/rules", json=body)).status_code == 400
    assert (await ask(desk, "GET", "automations/2/rules")).status_code == 404


async def test_rules_work(desk: Any) -> None:
    everything = [{"match_type": "all", "properties": []}]
    stale = [
        {
            "match_type": "all",
            "properties": [{"field_name": "hours_since_pending", "operator": "greater_than", "value": 72}],
        }
    ]
    actions = [{"field_name": "add_tag", "value": "new,fresh"}, {"field_name": "send_email_to_requester"}]
    assert (
        await ask(desk, "POST", "automations/1/rules", json={"name": "a", "conditions": everything, "actions": actions})
    ).status_code == 201
    made = await ask(
        desk,
        "POST",
        "automations/3/rules",
        json={"name": "b", "conditions": stale, "actions": [{"field_name": "status", "value": 5}]},
    )
    await ask(desk, "POST", "tickets", json=ticket())
    assert desk.twin.tickets[1].tags == ["new", "fresh"]
    assert desk.twin.mails == []  # the requester has no address
    desk.twin.rules.hour()
    assert desk.twin.tickets[1].status == 2
    desk.time.pass_by(hours=73)
    desk.twin.rules.hour()
    assert desk.twin.tickets[1].status == 5
    assert (await ask(desk, "DELETE", f"automations/3/rules/{made.json()['id']}")).status_code == 204
    assert desk.time.now() - desk.twin.tickets[1].created_at == timedelta(hours=73)


async def test_what_is_for_administrators(desk: Any) -> None:
    desk.twin.api_user.role = "agent"
    for method, path in (("GET", "automations/4/rules"), ("POST", "admin/ticket_fields")):
        answer = await ask(desk, method, path)
        assert (answer.status_code, answer.json()["code"]) == (403, "access_denied")
    assert (await ask(desk, "GET", "ticket_fields")).status_code == 200


async def test_what_the_twin_shows(desk: Any) -> None:
    number = await desk.created()
    desk.twin.agent_note(number, "Ada", "Hi")
    state = (await desk.http.get(f"{desk.twin.url}/_twin/state")).json()
    assert [one["author"] for one in state["tickets"][0]["conversations"]] == ["Ada"]
    ledger = (await desk.http.get(f"{desk.twin.url}/_twin/ledger")).json()
    assert [one["kind"] for one in ledger] == ["contact_created", "ticket_created", "conversation_created"]


async def test_it_serves_by_itself() -> None:
    twin = FreshdeskTwin()
    async with twin.serve() as url, httpx2.AsyncClient(trust_env=False) as http:
        answer = await http.get(f"{url}/api/v2/agents/me", auth=(twin.key, "X"))
        assert answer.json()["contact"]["name"] == "Gateway"
        assert twin.connection_config() == {"base_url": url, "api_key": twin.key}
