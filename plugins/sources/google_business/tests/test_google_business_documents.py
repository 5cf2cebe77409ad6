"""What the plugin asks and the twin answers, against Google's own API documents, where they are beside the checkout."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import parse_qsl

import httpx2
import jsonschema
import pytest

from gateway_google_business.plugin import GoogleBusinessSource
from gateway_google_business.twin import GoogleTwin, TwinMedia
from gateway_schemas.errors import Hold
from gateway_schemas.time import SharedTime

DOCUMENTS = Path(__file__).parents[4].parent / "shared" / "specs" / "google"
DISCOVERY = {
    "mybusinessaccountmanagement": "mybusinessaccountmanagement.v1.json",
    "mybusinessbusinessinformation": "mybusinessbusinessinformation.v1.json",
    "mybusinessnotifications": "mybusinessnotifications.v1.json",
    "pubsub": "pubsub.v1.json",
}
NEWER = {
    "Review": ("reviewMediaItems", "reviewReplyUrl"),
    "ReviewReply": ("reviewReplyState", "policyViolation"),
}
"""Fields that Google's reference names since 2026 and the machine-readable document of v4 does not know yet."""
TOPIC = "projects/acme-twin/topics/reviews"
DOOR = "https://gateway.example.com/hooks/app"
EMAIL = "push@acme-twin.iam.gserviceaccount.com"
PUSH = {"pubsub_topic": TOPIC, "push_audience": "acme-gateway", "push_service_account": EMAIL}
BenchLike = Any
Make = Callable[..., GoogleBusinessSource]

pytestmark = pytest.mark.skipif(not DOCUMENTS.exists(), reason="Google's API documents are not beside this checkout")


@dataclass(frozen=True)
class Exchange:
    """One request of the plugin with the twin's answer."""

    method: str
    service: str
    path: str
    query: dict[str, str]
    sent: Any
    status: int
    answered: Any

    def __str__(self) -> str:
        return f"{self.method} {self.service} {self.path}"


@dataclass(frozen=True)
class Operation:
    """One method of an API as its document has it."""

    id: str
    method: str
    path: re.Pattern[str]
    parameters: Mapping[str, Any]
    request: str | None
    response: str | None
    schemas: Mapping[str, Any]


def discovered(service: str) -> Iterator[Operation]:
    """The methods of a discovery document."""
    document = json.loads((DOCUMENTS / DISCOVERY[service]).read_text("utf-8"))
    schemas = {name: strict(schema, "") for name, schema in document["schemas"].items()}

    def walk(node: Mapping[str, Any]) -> Iterator[Operation]:
        for resource in node.get("resources", {}).values():
            for method in resource.get("methods", {}).values():
                # with a placeholder `{+name}` the parameter's own pattern says what it may be
                patterns = {name: one.get("pattern", "^[^/]+$") for name, one in method.get("parameters", {}).items()}
                template = re.split(r"\{\+?(\w+)\}", method["path"])
                parts = [
                    re.escape(part) if index % 2 == 0 else patterns[part].strip("^$").replace("[^/]", "[^/:]")
                    for index, part in enumerate(template)
                ]
                query = {
                    name: one for name, one in method.get("parameters", {}).items() if one.get("location") == "query"
                }
                yield Operation(
                    method["id"],
                    method["httpMethod"],
                    re.compile("/" + "".join(parts)),
                    query,
                    method.get("request", {}).get("$ref"),
                    method.get("response", {}).get("$ref"),
                    schemas,
                )
            yield from walk(resource)

    return walk(document)


def reviews() -> Iterator[Operation]:
    """The methods for reviews of the document of v4, whose paths do not tell one resource from another."""
    document = json.loads((DOCUMENTS / "mybusiness.v4.openapi-apisguru.json").read_text("utf-8"))
    components = document["components"]["schemas"]
    schemas = {
        name: strict(schema, "#/components/schemas/", NEWER.get(name, ())) for name, schema in components.items()
    }
    location = r"accounts/[^/]+/locations/[^/]+"
    for method, listed, path, response in (
        ("get", "/v4/{parent}/reviews", rf"/v4/{location}/reviews", "ListReviewsResponse"),
        ("get", "/v4/{name}", rf"/v4/{location}/reviews/[^/]+", "Review"),
        ("put", "/v4/{name}/reply", rf"/v4/{location}/reviews/[^/]+/reply", "ReviewReply"),
        ("delete", "/v4/{name}/reply", rf"/v4/{location}/reviews/[^/]+/reply", "Empty"),
        (
            "post",
            "/v4/{name}/locations:batchGetReviews",
            r"/v4/accounts/[^/]+/locations:batchGetReviews",
            "BatchGetReviewsResponse",
        ),
    ):
        operation = document["paths"][listed][method]
        named = {one["name"]: one.get("schema", {}) for one in operation.get("parameters", ()) if one["in"] == "query"}
        body = operation.get("requestBody", {}).get("content", {}).get("application/json", {}).get("schema", {})
        request = body.get("$ref", "").rpartition("/")[2] or None
        id = operation["operationId"] if listed != "/v4/{name}" else "mybusiness.accounts.locations.reviews.get"
        yield Operation(id, method.upper(), re.compile(path), named, request, response, schemas)


def strict(schema: Any, prefix: str, newer: tuple[str, ...] = ()) -> Any:
    """A schema of these documents as JSON Schema that takes no other fields than it names."""
    if isinstance(schema, list):
        return [strict(item, prefix) for item in schema]
    if not isinstance(schema, dict):
        return schema
    if schema.get("type") == "any":
        return True
    if "$ref" in schema:
        return {"$ref": "#/$defs/" + schema["$ref"].removeprefix(prefix)}
    kept = ("type", "items", "enum", "additionalProperties")
    found: dict[str, Any] = {key: strict(value, prefix) for key, value in schema.items() if key in kept}
    if "properties" in schema:
        found["properties"] = {name: strict(one, prefix) for name, one in schema["properties"].items()}
    if "properties" in found:
        found["properties"] |= dict.fromkeys(newer, True)
        found.setdefault("additionalProperties", False)
    return found


def check(exchange: Exchange, operations: list[Operation]) -> str:
    """Check one exchange; returns the method it was."""
    fitting = [one for one in operations if one.method == exchange.method and one.path.fullmatch(exchange.path)]
    assert len(fitting) == 1, f"{exchange} is {[one.id for one in fitting] or 'no method'}"
    (operation,) = fitting
    for name in exchange.query:
        assert name in operation.parameters, f"{exchange}: {operation.id} has no parameter {name}"
    required = {name for name, one in operation.parameters.items() if one.get("required")}
    described = {
        name for name, one in operation.parameters.items() if str(one.get("description", "")).startswith("Required.")
    }
    assert required | described <= set(exchange.query), f"{exchange}: {operation.id} needs {required | described}"
    for value, name in ((exchange.sent, operation.request), (exchange.answered, operation.response)):
        if name is None:
            assert value in (None, {}), f"{exchange}: {operation.id} has no body"
            continue
        schema = {"$ref": f"#/$defs/{name}", "$defs": dict(operation.schemas)}
        jsonschema.Draft202012Validator(schema).validate(value if value is not None else {})
    return operation.id


@pytest.fixture
def exchanges(http: httpx2.AsyncClient) -> list[Exchange]:
    """What passes between plugin and twin."""
    seen: list[Exchange] = []

    async def note(response: httpx2.Response) -> None:
        await response.aread()
        request = response.request
        service, _, path = request.url.path.removeprefix("/").partition(".googleapis.com")
        query = dict(parse_qsl(request.url.query.decode()))
        if service in ("oauth2", "www"):
            return
        content = request.content
        sent = json.loads(content) if content else None
        seen.append(Exchange(request.method, service, path, query, sent, response.status_code, response.json()))

    http.event_hooks["response"].append(note)
    return seen


async def test_requests_and_answers_fit_googles_documents(
    bench: BenchLike, twin: GoogleTwin, make: Make, clock: SharedTime, exchanges: list[Exchange]
) -> None:
    twin.state.users.clear()
    twin.add_user(cloud=True)
    twin.add_topic(TOPIC)
    twin.subscribe(TOPIC, DOOR, EMAIL, "acme-gateway")
    for number in range(230):
        twin.review("3344", f"Old {number}", number % 5 + 1, f"review {number}", quiet=True)
    media = TwinMedia("https://lh3.googleusercontent.com/p/y=s300", "queue")
    ref = twin.review("5566", "Rui", 1, "Demorou", media=[media])
    twin.review("5566", "Bo", None, anonymous=True)
    plugin = make(app=PUSH, door=DOOR)
    await plugin.discover()
    await plugin.install(dry_run=False)
    await plugin.check()
    await bench.drain("reviews", plugin=plugin)
    sent = await plugin.send(await bench.rendered(ref, "Desculpe!"), "k")
    await bench.drain("replies", plugin=plugin)
    twin.moderate(ref, "REJECTED", "HARASSMENT")
    _, cursor = await bench.drain("sweep", plugin=plugin)
    clock.jump(clock.now() + plugin.capabilities.overlap * 30)
    await bench.drain("sweep", cursor, plugin=plugin)
    twin.moderate(ref, "APPROVED")
    other = await bench.rendered(ref, "Outra")
    with pytest.raises(Hold):
        await plugin.send(other, "k2")
    await plugin.retract(sent)

    operations = {service: list(discovered(service)) for service in DISCOVERY} | {"mybusiness": list(reviews())}
    done = {check(exchange, operations[exchange.service]) for exchange in exchanges if exchange.status == 200}
    assert {exchange.status for exchange in exchanges} == {200}
    assert done == {
        "mybusiness.accounts.locations.batchGetReviews",
        "mybusiness.accounts.locations.reviews.list",
        "mybusiness.accounts.locations.reviews.get",
        "mybusiness.accounts.locations.reviews.updateReply",
        "mybusiness.accounts.locations.reviews.deleteReply",
        "mybusinessaccountmanagement.accounts.list",
        "mybusinessbusinessinformation.accounts.locations.list",
        "mybusinessnotifications.accounts.getNotificationSetting",
        "mybusinessnotifications.accounts.updateNotificationSetting",
        "pubsub.projects.topics.getIamPolicy",
        "pubsub.projects.topics.subscriptions.list",
        "pubsub.projects.subscriptions.get",
    }
