"""The twin refuses what Zammad refuses, in Zammad's words."""

from __future__ import annotations

from typing import Any

import pytest


@pytest.fixture
def ask(desk: Any) -> Any:
    async def ask(method: str, path: str, body: Any = None, **headers: str) -> Any:
        given = {"Authorization": "Token token=twin-access-token", **headers}
        return await desk.http.request(method, f"{desk.twin.url}/api/v1/{path}", json=body, headers=given)

    return ask


TICKET = {"title": "t", "group": "Users", "customer_id": "guess:ann@else.example", "article": {"body": "x"}}


@pytest.mark.parametrize("given", ["", "Token token=wrong", "Basic eDp5", "Token"])
async def test_who_is_not_known_is_refused(ask: Any, given: str) -> None:
    answer = await ask("GET", "users/me", Authorization=given)
    assert answer.status_code == 401
    assert answer.headers["x-failure"] == answer.json()["error"]


@pytest.mark.parametrize(
    ("change", "part"),
    [
        ({"group": "Nope"}, "No lookup value found for 'group'"),
        ({"group": None}, "group_id"),
        ({"state": "nope"}, "No lookup value found for 'state'"),
        ({"state": "pending reminder"}, "pending_time"),
        ({"customer_id": None}, "customer_id"),
        ({"customer_id": 999}, "customer_id"),
        ({"article": {"body": ""}}, "body"),
        ({"article": {"body": "x", "origin_by": "nobody"}}, "origin_by"),
        ({"article": {"body": "x", "attachments": [{"filename": "a", "data": "!!", "mime-type": "a/b"}]}}, "base64"),
        ({"article": {"body": "x", "attachments": [{"filename": "a"}]}}, "mime-type"),
    ],
)
async def test_a_ticket_that_is_none(desk: Any, ask: Any, change: Any, part: str) -> None:
    answer = await ask("POST", "tickets", {**TICKET, **change})
    assert answer.status_code == 422
    assert part in answer.json()["error"]
    assert desk.twin.tickets == {}


async def test_who_has_no_rights_is_told_a_number_only(desk: Any, ask: Any) -> None:
    desk.twin.api_user.roles = ("Agent",)
    answer = await ask("POST", "tickets", {**TICKET, "group": "Nope"})
    assert answer.json()["error"].endswith("Please contact your administrator.")
    assert (await ask("GET", "triggers")).status_code == 403
    assert (await ask("DELETE", "tickets/1")).status_code == 404


async def test_nothing_protects_from_doubles(desk: Any, ask: Any) -> None:
    first, second = await ask("POST", "tickets", TICKET), await ask("POST", "tickets", TICKET)
    assert first.json()["id"] != second.json()["id"]
    assert first.json()["customer_id"] == second.json()["customer_id"]


async def test_what_is_not_known_is_passed_over(desk: Any, ask: Any) -> None:
    made = (await ask("POST", "tickets", {**TICKET, "gw_nothing": "x"})).json()
    assert "gw_nothing" not in made
    changed = await ask("PUT", f"tickets/{made['id']}", {"gw_nothing": "y"})
    assert (changed.status_code, changed.json()["updated_at"]) == (200, made["updated_at"])


async def test_a_login_that_is_taken_gets_digits(ask: Any) -> None:
    first = (await ask("POST", "users", {"login": "X-1", "firstname": "Ann Lee"})).json()
    second = (await ask("POST", "users", {"login": "x-1", "firstname": "Ann"})).json()
    assert (first["login"], first["lastname"]) == ("x-1", "Lee")
    assert second["login"] != "x-1"
    assert (await ask("POST", "users", {"login": "y"})).status_code == 422


async def test_an_agents_mail_is_sent_even_an_internal_one(desk: Any, ask: Any) -> None:
    made = (await ask("POST", "tickets", TICKET)).json()
    mail = {"ticket_id": made["id"], "body": "x", "type": "email", "internal": True, "to": "ann@else.example"}
    assert (await ask("POST", "ticket_articles", mail)).status_code == 201
    assert desk.twin.mails[-1]["to"] == "ann@else.example"


async def test_customers_with_an_address_get_the_automatic_reply(desk: Any, ask: Any) -> None:
    web = {**TICKET, "article": {"body": "x", "type": "web", "sender": "Customer"}}
    await ask("POST", "tickets", web)
    assert [one["to"] for one in desk.twin.mails] == ["ann@else.example"]


async def test_an_article_cannot_be_edited(desk: Any, ask: Any) -> None:
    made = (await ask("POST", "tickets", TICKET)).json()
    id = made["article_ids"][0]
    answer = await ask("PUT", f"ticket_articles/{id}", {"body": "other", "internal": True})
    assert (answer.json()["body"], answer.json()["internal"]) == ("x", True)


async def test_a_failed_merge_is_answered_200(desk: Any, ask: Any) -> None:
    made = (await ask("POST", "tickets", TICKET)).json()
    answer = await ask("PUT", f"ticket_merge/{made['id']}/999")
    assert (answer.status_code, answer.json()["result"]) == (200, "failed")
    other = (await ask("POST", "tickets", TICKET)).json()
    assert (await ask("PUT", f"ticket_merge/{made['id']}/{other['number']}")).json()["result"] == "success"
    links = (await ask("GET", f"links?link_object=Ticket&link_object_value={made['id']}")).json()["links"]
    assert links == [{"link_type": "parent", "link_object": "Ticket", "link_object_value": other["id"]}]


async def test_the_index_trails_behind_and_the_database_does_not(desk: Any, ask: Any) -> None:
    await ask("POST", "tickets", {**TICKET, "title": "needle"})
    assert (await ask("GET", "tickets/search?query=needle&expand=true")).json() == []
    condition = {"ticket.created_at": {"operator": "after (absolute)", "value": "2026-01-01T00:00:00Z"}}
    found = await ask("POST", "tickets/search", {"condition": condition, "expand": True})
    assert [one["title"] for one in found.json()] == ["needle"]
    desk.time.pass_by(minutes=1)
    assert len((await ask("GET", "tickets/search?query=needle&expand=true")).json()) == 1
    odd = await ask("POST", "tickets/search", {"condition": {"ticket.nope": {"operator": "is", "value": 1}}})
    assert odd.status_code == 422


async def test_pages_are_cut_without_a_word(desk: Any, ask: Any) -> None:
    for _ in range(102):
        await ask("POST", "tickets", TICKET)
    assert len((await ask("GET", "tickets?per_page=500")).json()) == 100
    assert len((await ask("GET", "tickets?per_page=100&page=2")).json()) == 2


@pytest.mark.parametrize("path", ["tickets/999", "tickets/x", "ticket_articles/by_ticket/999", "ticket_articles/9"])
async def test_404(ask: Any, path: str) -> None:
    answer = await ask("GET", path)
    assert answer.status_code == 404
    assert "Couldn't find" in answer.json()["error"]


@pytest.mark.parametrize(
    ("path", "body"),
    [
        ("webhooks", {"name": "a", "endpoint": "nowhere"}),
        ("webhooks", {"endpoint": "https://a.example"}),
        ("triggers", {"name": "a", "condition": {}, "perform": {}}),
        ("triggers", {"name": "a", "condition": {}, "perform": {"notification.webhook": {"webhook_id": "7"}}}),
        ("object_manager_attributes", {"name": "Bad Name", "data_type": "input", "data_option": {"null": True}}),
        ("object_manager_attributes", {"name": "x_id", "data_type": "input", "data_option": {"null": True}}),
    ],
)
async def test_what_admins_may_not_make(ask: Any, path: str, body: Any) -> None:
    assert (await ask("POST", path, body)).status_code == 422
