"""What the plugin asks and the twin answers, against Chatwoot's OpenAPI document, where it is beside the checkout."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import parse_qsl

import httpx2
import jsonschema
import pytest

from gateway_schemas.ticket import GatewayFields

DOCUMENT = Path(__file__).parents[4].parent / "shared" / "specs" / "chatwoot-swagger-4.16.json"
UNDOCUMENTED_FIELDS = {"create-a-new-message-in-a-conversation": {"source_id"}}
"""What the server takes and its document does not name (`Messages::MessageBuilder`)."""
UNDOCUMENTED = {("PATCH", "/conversations/1/messages/")}
"""What the server has for API channels and its document does not (`Conversations::MessagesController#update`)."""
WRAPPED = {"contactCreate", "list-all-webhooks", "create-a-webhook", "update-a-webhook", "getInboxAgentBot"}
"""Answers that the server wraps otherwise than its document says (its views: `payload.contact`, `payload.webhooks`,
`agent_bot`). The plugin reads both."""

pytestmark = pytest.mark.skipif(not DOCUMENT.exists(), reason="Chatwoot's API document is not beside this checkout")


@pytest.fixture
def exchanges(stage: Any) -> Iterator[list[tuple[httpx2.Request, httpx2.Response]]]:
    """What passes between plugin and twin."""
    seen: list[tuple[httpx2.Request, httpx2.Response]] = []

    async def note(response: httpx2.Response) -> None:
        await response.aread()
        seen.append((response.request, response))

    hooks = stage[2].event_hooks["response"]
    hooks.append(note)
    yield seen
    hooks.remove(note)


def lenient(schema: Any) -> Any:
    """Answers have null wherever a record has no value; the document says so of some only."""
    if isinstance(schema, list):
        return [lenient(one) for one in schema]
    if not isinstance(schema, dict):
        return schema
    found = {key: lenient(value) for key, value in schema.items()}
    if schema.get("type") in ("string", "number", "integer", "object") and "enum" not in schema:
        found["type"] = [schema["type"], "null"]
    return found


def operation_of(document: Any, method: str, path: str) -> Any:
    for template, operations in document["paths"].items():
        if method.lower() in operations and re.fullmatch(re.sub(r"\{\w+\}", "[^/]+", template), path):
            return operations[method.lower()]
    return None


def check(document: Any, request: httpx2.Request, response: httpx2.Response) -> str | None:
    """Check one exchange; returns the operation it was, None for one that is known to be undocumented."""
    path = request.url.path
    operation = operation_of(document, request.method, path)
    if operation is None:
        assert any(request.method == method and part in path for method, part in UNDOCUMENTED), (
            f"{request.method} {path}"
        )
        return None
    id = str(operation["operationId"])
    named = {
        one.get("name") or document["components"]["parameters"][one["$ref"].rpartition("/")[2]]["name"]
        for one in operation.get("parameters", ())
    }
    assert {name for name, _ in parse_qsl(request.url.query.decode())} <= named, f"{id}: {request.url.query!r}"
    if request.content and request.headers["content-type"].startswith("application/json"):
        schema = operation["requestBody"]["content"]["application/json"]["schema"]
        sent = json.loads(request.content)
        jsonschema.Draft202012Validator({**schema, "components": document["components"]}).validate(sent)
        whole = document["components"]["schemas"][schema["$ref"].rpartition("/")[2]] if "$ref" in schema else schema
        unknown = set(sent) - set(whole["properties"]) - UNDOCUMENTED_FIELDS.get(id, set())
        assert not unknown, f"{id}: the document names no {unknown}"
    if id not in WRAPPED:
        answer = operation["responses"]["200"].get("content", {}).get("application/json", {}).get("schema")
        if answer is not None:
            schema = {**lenient(answer), "components": document["lenient"]}
            jsonschema.Draft202012Validator(schema).validate(response.json())
    return id


async def test_requests_and_answers_fit_chatwoots_document(desk: Any, exchanges: Any) -> None:
    document = json.loads(DOCUMENT.read_text("utf-8"))
    document["lenient"] = {"schemas": lenient(document["components"]["schemas"])}
    desk.settings = {"inbox_id": None}
    await desk.installed()
    desk.twin.add_contact("fake:bob", "Bob")
    ticket = await desk.created(priority="high", custom={"rating": 1})
    await desk.push(desk.change("b", requester=desk.customer("bob")))
    await desk.created("again")
    await desk.told(ticket, "k2", attachments=())
    answer = desk.twin.agent_comment(ticket, "Ada", "Sorry!", status="resolved")
    await desk.push(
        desk.change(
            "k3",
            [desk.comment("n", "Held", author=None, public=False)],
            external_id=str(ticket),
            make_private=(str(answer),),
            status="open",
            priority="low",
            add_tags=("gw_held",),
            fields=GatewayFields(state="held"),
            assignee=str(desk.twin.agent("Ada")),
            group="4",
        )
    )
    (webhook,) = desk.twin.desk.webhooks.values()
    webhook["subscriptions"] = []
    await desk.installed()
    await desk.plugin.check()
    await desk.read(ticket)
    await desk.plugin.poll("conversations", None)
    await desk.find(desk.change("k2", external_id=str(ticket)))

    bad = [(request.url.path, response.status_code) for request, response in exchanges if response.status_code >= 400]
    assert bad == [("/api/v1/accounts/1/contacts", 422)]
    done = {check(document, *one) for one in exchanges if one[1].status_code < 400 and "/hooks/" not in one[0].url.path}
    assert done - {None} == {
        *("contactCreate", "contactFilter", "contactConversations", "newConversation", "conversationList"),
        *("get-details-of-a-conversation", "list-all-messages", "create-a-new-message-in-a-conversation"),
        *("toggle-status-of-a-conversation", "toggle-priority-of-a-conversation", "conversation-add-labels"),
        *("update-custom-attributes-of-a-conversation", "assign-a-conversation", "fetchProfile", "get-account-details"),
        *("listAllInboxes", "inboxCreation", "getInboxAgentBot", "get-inbox-members", "list-all-labels"),
        *("create-a-label", "get-account-custom-attribute", "add-new-custom-attribute-to-account"),
        *("list-all-webhooks", "create-a-webhook", "update-a-webhook", "get-account-automation-rule"),
    }
