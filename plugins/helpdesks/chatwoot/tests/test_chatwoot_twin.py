"""The twin by itself: it refuses what Chatwoot refuses, with Chatwoot's own status and body."""

from __future__ import annotations

from typing import Any

import httpx2
import pytest


async def ask(desk: Any, method: str, path: str, body: Any = None, **headers: str) -> httpx2.Response:
    sent = {"api_access_token": desk.twin.token, **headers}
    response: httpx2.Response = await desk.http.request(
        method, f"{desk.twin.url}/api/v1/accounts/1/{path}", json=body, headers=sent
    )
    return response


@pytest.mark.parametrize(
    ("method", "path", "body", "status", "said"),
    [
        ("GET", "conversations/99", None, 404, {"error": "Resource could not be found"}),
        ("GET", "conversations/x", None, 404, {"error": "Resource could not be found"}),
        (
            *("POST", "contacts", {"inbox_id": 2, "identifier": "fake:alice"}, 422),
            {"message": "Identifier has already been taken", "attributes": ["identifier"]},
        ),
        ("POST", "contacts", {"identifier": "new"}, 404, {"error": "Resource could not be found"}),
        (
            *("POST", "contacts/filter", {"payload": [{"attribute_key": "shoe_size"}]}, 422),
            {"error": "Invalid attribute key - [shoe_size]"},
        ),
        (
            *("POST", "conversations/1/toggle_status", {"status": "shut"}, 422),
            {"error": "'shut' is not a valid status"},
        ),
        (
            *("POST", "conversations/1/messages", {"message_type": "incoming"}, 422),
            {"error": "Validation failed: Content can't be blank"},
        ),
        ("POST", "labels", {"title": "a b"}, 422, {"message": "Title is invalid", "attributes": ["title"]}),
        ("POST", "webhooks", {"url": "x"}, 422, {"message": "Url is invalid", "attributes": ["url"]}),
    ],
)
async def test_refusals(desk: Any, method: str, path: str, body: Any, status: int, said: Any) -> None:
    await desk.created()
    response = await ask(desk, method, path, body)
    assert (response.status_code, response.json()) == (status, said)


async def test_tokens_and_limits(desk: Any) -> None:
    assert (await ask(desk, "GET", "conversations", api_access_token="foreign")).status_code == 401
    desk.twin.limits.a_minute = 1
    await ask(desk, "GET", "conversations")
    limited = await ask(desk, "GET", "conversations")
    assert (limited.status_code, limited.text) == (429, "Retry later\n")
    assert 0 < int(limited.headers["retry-after"]) <= 60


async def test_an_incoming_message_needs_an_api_channel(desk: Any) -> None:
    other = desk.twin.add_inbox("Website", channel_type="Channel::WebWidget")["id"]
    stranger = desk.twin.desk.open(desk.twin.add_contact("w:1", "Eve"), other)
    path = f"conversations/{stranger.id}/messages"
    refused = await ask(desk, "POST", path, {"content": "x", "message_type": "incoming"})
    assert refused.status_code == 422
    own = desk.twin.agent_comment(stranger.id, "Ada", "Hello")
    assert (await ask(desk, "PATCH", f"{path}/{own}", {"status": "failed"})).status_code == 403


async def test_pages_of_messages(desk: Any) -> None:
    ticket = await desk.created()
    for number in range(130):
        desk.twin.agent_comment(ticket, "Ada", str(number))
    path = f"conversations/{ticket}/messages"
    newest = (await ask(desk, "GET", path)).json()["payload"]
    assert [one["content"] for one in newest] == [str(number) for number in range(110, 130)]
    after = (await ask(desk, "GET", f"{path}?after=0")).json()["payload"]
    assert len(after) == 100
    before = (await ask(desk, "GET", f"{path}?before={newest[0]['id']}")).json()["payload"]
    assert [one["content"] for one in before] == [str(number) for number in range(90, 110)]


async def test_an_agent_who_opens_is_assigned_and_a_single_conversation_is_kept(desk: Any) -> None:
    ticket = await desk.created()
    one = desk.twin.conversations[ticket]
    desk.twin.close(ticket)
    desk.twin.change(ticket, {"status": "open"}, "Ada")
    assert one.assignee is not None
    assert one.assignee.name == "Ada"
    desk.twin.desk.inboxes[desk.twin.inbox]["lock_to_single_conversation"] = True
    assert desk.twin.desk.open(one.contact, desk.twin.inbox) is one


async def test_the_ledger_and_the_page_of_its_state(desk: Any) -> None:
    await desk.created()
    assert [one.kind for one in desk.twin.ledger][:3] == [
        "contact_created",
        "conversation_created",
        "conversation_updated",
    ]
    (ticket,) = desk.twin.snapshot()["tickets"]
    assert [one["text"] for one in ticket["comments"]] == ["The train is late"]
