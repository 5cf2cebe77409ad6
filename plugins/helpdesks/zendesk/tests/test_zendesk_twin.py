"""The twin refuses what Zendesk refuses, with Zendesk's own bodies."""

from __future__ import annotations

import base64
from typing import Any

import httpx2
import pytest

from gateway_zendesk.twin import ZendeskTwin
from gateway_zendesk.twin_limits import Limit


async def ask(desk: Any, method: str, path: str, **more: Any) -> httpx2.Response:
    pair = base64.b64encode(f"{desk.twin.email}/token:{desk.twin.token}".encode()).decode()
    headers = {"Authorization": f"Basic {pair}", "Accept": "application/json", **more.pop("headers", {})}
    http: httpx2.AsyncClient = desk.http
    return await http.request(method, f"{desk.twin.url}/api/v2/{path}", headers=headers, **more)


def ticket(**more: Any) -> dict[str, Any]:
    return {"ticket": {"comment": {"body": "Help"}, **more}}


@pytest.mark.parametrize("authorization", ["", "Basic x", "Basic Og==", "Bearer wrong", "Digest y"])
async def test_401(desk: Any, authorization: str) -> None:
    answer = await ask(desk, "GET", "users/me", headers={"Authorization": authorization})
    assert (answer.status_code, answer.json()) == (401, {"error": "Couldn't authenticate you"})


async def test_the_password_alone_is_not_enough(desk: Any) -> None:
    pair = base64.b64encode(f"{desk.twin.email}:{desk.twin.token}".encode()).decode()
    assert (await ask(desk, "GET", "users/me", headers={"Authorization": f"Basic {pair}"})).status_code == 401


async def test_404_of_records_and_paths(desk: Any) -> None:
    assert (await ask(desk, "GET", "tickets/99")).json() == {"error": "RecordNotFound", "description": "Not found"}
    assert (await ask(desk, "GET", "tickets/abc")).json()["error"] == "InvalidEndpoint"
    assert (await ask(desk, "GET", "webhooks/01ABC")).json()["errors"][0]["code"] == "WebhookNotFound"


@pytest.mark.parametrize(
    ("body", "field"),
    [
        (ticket(comment={}), "base"),
        (ticket(comment=None), "base"),
        (ticket(status="waiting"), "base"),
        (ticket(priority="critical"), "base"),
        (ticket(requester_id=1), "requester"),
        (ticket(requester={"name": "Alice"}), "requester"),
        (ticket(comment={"body": "x", "author_id": 1}), "author"),
        (ticket(comment={"body": "x", "uploads": ["nope"]}), "base"),
        (ticket(metadata={"x": "y" * 1100}), "base"),
        (ticket(via_followup_source_id=1), "via_followup_source_id"),
    ],
)
async def test_422_of_a_create(desk: Any, body: dict[str, Any], field: str) -> None:
    answer = await ask(desk, "POST", "tickets", json=body)
    assert answer.status_code == 422
    error = answer.json()
    assert (error["error"], error["description"]) == ("RecordInvalid", "Record validation errors")
    assert error["details"][field][0]["description"]
    assert not desk.twin.tickets


async def test_a_closed_ticket(desk: Any) -> None:
    await ask(desk, "POST", "tickets", json=ticket())
    desk.twin.close(1)
    answer = await ask(desk, "PUT", "tickets/1", json={"ticket": {"status": "open"}})
    assert answer.status_code == 422
    assert answer.json()["details"] == {"status": [{"description": "Status: closed prevents ticket update"}]}


async def test_a_refused_update_leaves_nothing_behind(desk: Any) -> None:
    await ask(desk, "POST", "tickets", json=ticket())
    before = desk.twin.tickets[1].json("")
    change = {"priority": "low", "comment": {"body": "x", "uploads": ["nope"]}}
    assert (await ask(desk, "PUT", "tickets/1", json={"ticket": change})).status_code == 422
    assert (await ask(desk, "PUT", "tickets/1", json={"ticket": {"status": "solved"}})).status_code == 422
    assert desk.twin.tickets[1].json("") == before


async def test_idempotency(desk: Any) -> None:
    headers = {"Idempotency-Key": "k"}
    first = await ask(desk, "POST", "tickets", json=ticket(), headers=headers)
    again = await ask(desk, "POST", "tickets", json=ticket(), headers=headers)
    assert [one.headers["x-idempotency-lookup"] for one in (first, again)] == ["miss", "hit"]
    assert (first.status_code, first.json(), first.headers["location"]) == (
        201,
        again.json(),
        f"{desk.twin.url}/api/v2/tickets/1.json",
    )
    other = await ask(desk, "POST", "tickets", json=ticket(subject="other"), headers=headers)
    assert (other.status_code, other.json()["error"]) == (400, "IdempotentRequestError")
    refused = await ask(desk, "POST", "tickets", json=ticket(status="x"), headers={"Idempotency-Key": "new"})
    assert refused.status_code == 422
    kept = await ask(desk, "POST", "tickets", json=ticket(), headers={"Idempotency-Key": "new"})
    assert kept.status_code == 201
    assert [one.kind for one in desk.twin.ledger].count("ticket_created") == 2
    assert (
        await ask(desk, "POST", "tickets", json=ticket(), headers={"Idempotency-Key": "k" * 256})
    ).status_code == 400


async def test_external_ids_are_not_unique(desk: Any) -> None:
    for _ in range(2):
        await ask(desk, "POST", "tickets", json=ticket(external_id="same"))
    answer = await ask(desk, "GET", "tickets", params={"external_id": "same"})
    assert [one["id"] for one in answer.json()["tickets"]] == [1, 2]


async def test_safe_updates(desk: Any) -> None:
    created = (await ask(desk, "POST", "tickets", json=ticket())).json()["ticket"]
    stamp = {"safe_update": True, "updated_stamp": created["updated_at"]}
    assert (await ask(desk, "PUT", "tickets/1", json={"ticket": {"priority": "low", **stamp}})).status_code == 200
    desk.time.pass_by(seconds=5)
    desk.twin.set_status(1, "pending")
    answer = await ask(desk, "PUT", "tickets/1", json={"ticket": {"priority": "high", **stamp}})
    assert (answer.status_code, answer.json()["error"]) == (409, "UpdateConflict")
    tags = {"tags": ["x"], "updated_stamp": created["updated_at"], "safe_update": "true"}
    assert (await ask(desk, "PUT", "tickets/1/tags", json=tags)).status_code == 409
    half = {"tickets": [{"id": 1, "priority": "low", "safe_update": True}]}
    assert (await ask(desk, "PUT", "tickets/update_many", json=half)).status_code == 422


async def test_nothing_changed_means_no_audit_and_no_metadata(desk: Any) -> None:
    await ask(desk, "POST", "tickets", json=ticket(priority="low"))
    answer = await ask(desk, "PUT", "tickets/1", json={"ticket": {"priority": "low", "metadata": {"a": 1}}})
    assert answer.json()["audit"] is None
    assert len(desk.twin.tickets[1].audits) == 1


async def test_tags_endpoints(desk: Any) -> None:
    await ask(desk, "POST", "tickets", json=ticket(tags=["a"]))
    assert (await ask(desk, "PUT", "tickets/1/tags", json={"tags": ["B c"]})).json() == {"tags": ["a", "b_c"]}
    assert (await ask(desk, "DELETE", "tickets/1/tags", json={"tags": ["a"]})).status_code == 204
    set_ = await ask(desk, "POST", "tickets/1/tags", json={"tags": ["z"]})
    assert (set_.status_code, set_.json()) == (201, {"tags": ["z"]})


async def test_users(desk: Any) -> None:
    user = {"user": {"name": "Alice", "external_id": "x:Alice", "skip_verify_email": True}}
    first = await ask(desk, "POST", "users/create_or_update", json=user)
    user["user"]["external_id"] = "X:ALICE"
    again = await ask(desk, "POST", "users/create_or_update", json=user)
    assert (first.status_code, again.status_code) == (201, 200)
    assert first.json()["user"]["id"] == again.json()["user"]["id"]
    assert again.json()["user"]["external_id"] == "X:ALICE"
    assert (await ask(desk, "POST", "users/create_or_update", json={"user": {"name": "A"}})).status_code == 422
    many = await ask(desk, "POST", "users/create_or_update_many", json={"users": []})
    assert (many.status_code, many.json()["error"]["title"]) == (403, "Forbidden")
    found = await ask(desk, "GET", "users/search", params={"external_id": "x:alice"})
    assert found.json()["count"] == 1


async def test_uploads(desk: Any) -> None:
    answer = await ask(desk, "POST", "uploads", params={"filename": "a.png"}, content=b"\x89PNG")
    token = answer.json()["upload"]["token"]
    second = await ask(desk, "POST", "uploads", params={"filename": "b.png", "token": token}, content=b"x")
    assert (answer.status_code, second.json()["upload"]["token"]) == (201, token)
    await ask(desk, "POST", "tickets", json=ticket(comment={"body": "See", "uploads": [token]}))
    (comment,) = (await ask(desk, "GET", "tickets/1/comments")).json()["comments"]
    assert [(one["file_name"], one["size"]) for one in comment["attachments"]] == [("a.png", 4), ("b.png", 1)]
    assert (
        await ask(desk, "POST", "tickets", json=ticket(comment={"body": "again", "uploads": [token]}))
    ).status_code == 422


async def test_jobs_go_on_by_themselves(desk: Any) -> None:
    desk.twin.jobs.hold()
    answer = await ask(desk, "POST", "tickets/create_many", json={"tickets": [ticket()["ticket"]] * 3})
    job = answer.json()["job_status"]
    assert (answer.status_code, job["status"], job["total"], job["results"]) == (200, "queued", 3, None)
    assert answer.headers["zendesk-ratelimit-inflight-jobs"] == "total=30; remaining=29; resets=60"
    desk.twin.jobs.release()
    await desk.twin.settle()
    ended = (await ask(desk, "GET", f"job_statuses/{job['id']}")).json()["job_status"]
    assert (ended["status"], ended["progress"]) == ("completed", 3)
    assert [one["id"] for one in ended["results"]] == [1, 2, 3]
    assert (await ask(desk, "POST", "tickets/create_many", json={"tickets": [{}] * 101})).status_code == 400
    assert (await ask(desk, "GET", "job_statuses/none")).status_code == 404


async def test_the_same_change_for_many_and_merging(desk: Any) -> None:
    for _ in range(3):
        await ask(desk, "POST", "tickets", json=ticket())
    change = {"ticket": {"additional_tags": ["x"]}}
    await ask(desk, "PUT", "tickets/update_many", params={"ids": "1,2"}, json=change)
    await desk.twin.settle()
    assert [desk.twin.tickets[one].tags for one in (1, 2, 3)] == [["x"], ["x"], []]
    await ask(desk, "POST", "tickets/3/merge", json={"ids": [1, 2]})
    await desk.twin.settle()
    assert [desk.twin.tickets[one].status for one in (1, 2, 3)] == ["closed", "closed", "new"]
    assert "closed_by_merge" in desk.twin.tickets[1].tags


async def test_limits(desk: Any) -> None:
    desk.twin.limits.limits["account"] = Limit(2)
    first = await ask(desk, "GET", "users/me")
    assert (first.headers["x-rate-limit"], first.headers["x-rate-limit-remaining"]) == ("2", "1")
    await ask(desk, "GET", "users/me")
    third = await ask(desk, "GET", "users/me")
    assert (third.status_code, third.headers["retry-after"]) == (429, "60")
    desk.time.pass_by(seconds=60)
    assert (await ask(desk, "GET", "users/me")).status_code == 200


async def test_pages(desk: Any) -> None:
    await ask(desk, "POST", "tickets", json=ticket())
    for number in range(5):
        desk.twin.agent_comment(1, "Ada", str(number))
    seen, cursor = [], None
    while True:
        asked = {"page[size]": "2", "include": "users", **({"page[after]": cursor} if cursor else {})}
        body = (await ask(desk, "GET", "tickets/1/audits", params=asked)).json()
        seen += body["audits"]
        cursor = body["meta"]["after_cursor"]
        if not body["meta"]["has_more"]:
            break
    assert len(seen) == 6
    listed = (await ask(desk, "GET", "tickets/1/comments", params={"sort": "-created_at"})).json()
    assert [one["body"] for one in listed["comments"]][:2] == ["4", "3"]
    assert listed["comments"][0]["metadata"]["custom"] == {}


async def test_the_export_is_for_admins_and_older_than_a_minute(desk: Any) -> None:
    now = int(desk.time.now().timestamp())
    assert (await ask(desk, "GET", "incremental/tickets/cursor", params={"start_time": str(now)})).status_code == 422
    assert (await ask(desk, "GET", "incremental/tickets/cursor")).status_code == 400
    desk.twin.api_user.role = "agent"
    assert (await ask(desk, "GET", "incremental/tickets/cursor", params={"start_time": "0"})).status_code == 403


@pytest.mark.parametrize(
    ("path", "body", "status"),
    [
        ("webhooks", {"webhook": {"name": "x"}}, 400),
        ("webhooks", {}, 400),
        ("triggers", {"trigger": {"title": "x", "conditions": {"all": []}}}, 422),
        ("triggers", {"trigger": {"title": "x", "conditions": {"all": [{"field": "weather", "value": "rain"}]}}}, 422),
        ("ticket_fields", {"ticket_field": {"title": "x"}}, 422),
        ("tickets", [], 422),
    ],
)
async def test_what_admins_get_wrong(desk: Any, path: str, body: Any, status: int) -> None:
    assert (await ask(desk, "POST", path, json=body)).status_code == status


async def test_a_trigger_needs_a_webhook_that_exists(desk: Any) -> None:
    trigger = {
        "title": "x",
        "conditions": {"all": [{"field": "update_type", "value": "Change"}]},
        "actions": [{"field": "notification_webhook", "value": ["01NONE", "{}"]}],
    }
    assert (await ask(desk, "POST", "triggers", json={"trigger": trigger})).status_code == 422


async def test_a_webhook_never_changes_its_kind(desk: Any) -> None:
    webhook = {
        "name": "x",
        "status": "active",
        "endpoint": desk.door,
        "http_method": "POST",
        "request_format": "json",
        "subscriptions": ["conditional_ticket_events"],
    }
    made = (await ask(desk, "POST", "webhooks", json={"webhook": webhook})).json()["webhook"]
    change = {"webhook": {"subscriptions": ["zen:event-type:ticket.created"]}}
    assert (await ask(desk, "PATCH", f"webhooks/{made['id']}", json=change)).status_code == 400
    secret = (await ask(desk, "GET", f"webhooks/{made['id']}/signing_secret")).json()["signing_secret"]
    reset = await ask(desk, "POST", f"webhooks/{made['id']}/signing_secret")
    assert (reset.status_code, secret["algorithm"]) == (201, "SHA256")
    assert reset.json()["signing_secret"]["secret"] != secret["secret"]
    assert (await ask(desk, "DELETE", f"webhooks/{made['id']}")).status_code == 204


async def test_quotes_in_placeholders_break_the_json(desk: Any) -> None:
    """Why the plugin's trigger sends an id and nothing else."""
    await desk.installed()
    (trigger,) = desk.twin.rules.triggers.values()
    trigger["actions"][0]["value"][1] = '{"ticket_id": "{{ticket.id}}", "title": "{{ticket.title}}"}'
    number = await desk.created(subject='He said "hello"')
    desk.twin.agent_comment(number, "Ada", "Hi")
    await desk.twin.settle()
    (request,) = desk.inbox
    assert request.body == b'{"ticket_id": "1", "title": "He said "hello""}'
    assert request.header("x-zendesk-webhook-invocation-id")
    assert request.header("x-zendesk-webhook-id") == desk.settings["webhook_id"]
    desk.inbox.clear()


async def test_five_thousand_comments(desk: Any) -> None:
    await ask(desk, "POST", "tickets", json=ticket())
    stored = desk.twin.tickets[1]
    stored.audits *= 5000
    answer = await ask(desk, "PUT", "tickets/1", json=ticket())
    assert answer.status_code == 422


async def test_what_the_twin_shows(desk: Any) -> None:
    number = await desk.created()
    desk.twin.agent_comment(number, "Ada", "Hi")
    state = (await desk.http.get(f"{desk.twin.url}/_twin/state")).json()
    assert [one["author"] for one in state["tickets"][0]["comments"]] == ["Alice", "Ada"]
    ledger = (await desk.http.get(f"{desk.twin.url}/_twin/ledger")).json()
    assert [one["kind"] for one in ledger] == [
        "user_created",
        "ticket_created",
        "comment_created",
        "comment_created",
        "ticket_changed",
    ]
    assert ledger[2]["data"]["gateway_key"] == "k1-c"
    assert ledger[2]["data"]["author"] == "fake:alice"


async def test_it_serves_by_itself() -> None:
    twin = ZendeskTwin()
    async with twin.serve() as url, httpx2.AsyncClient(trust_env=False) as http:
        answer = await http.get(f"{url}/api/v2/users/me", headers={"Authorization": f"Bearer {twin.oauth_token}"})
        assert answer.json()["user"]["role"] == "admin"
