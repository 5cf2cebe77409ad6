"""What the plugin asks and the twin answers, against Google's own API document, where it is beside the checkout."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any
from urllib.parse import parse_qsl

import httpx2
import jsonschema
import pytest

from gateway_google_play.twin import PlayTwin
from gateway_schemas.interaction import Wanted

DOCUMENT = Path(__file__).parents[4].parent / "shared" / "specs" / "google" / "androidpublisher.v3.json"
PACKAGE = "com.acme.app"
BenchLike = Any

pytestmark = pytest.mark.skipif(not DOCUMENT.exists(), reason="Google's API document is not beside this checkout")


NAMED = {"Comment", "UserComment", "DeveloperComment", "Timestamp", "DeviceMetadata", "TokenPagination", "PageInfo"}
NAMED |= {"Review", "ReviewsListResponse", "ReviewsReplyRequest", "ReviewsReplyResponse", "ReviewReplyResult"}


def strict(schema: Any) -> Any:
    """A schema of the document as JSON Schema that takes no other fields than it names."""
    if isinstance(schema, list):
        return [strict(item) for item in schema]
    if not isinstance(schema, dict):
        return schema
    if "$ref" in schema:
        return {"$ref": f"#/$defs/{schema['$ref']}"}
    found: dict[str, Any] = {key: strict(value) for key, value in schema.items() if key in ("type", "items", "enum")}
    if "properties" in schema:
        found["properties"] = {name: strict(one) for name, one in schema["properties"].items()}
        found["additionalProperties"] = False
    return found


def fits(name: str | None, value: Any, schemas: dict[str, Any]) -> None:
    """Raises ValidationError where a body is not the document's message."""
    if name is None:
        assert value is None
        return
    jsonschema.Draft202012Validator({"$ref": f"#/$defs/{name}", "$defs": schemas}).validate(value)


async def test_requests_and_answers_fit_googles_document(
    bench: BenchLike, twin: PlayTwin, http: httpx2.AsyncClient
) -> None:
    document = json.loads(DOCUMENT.read_text("utf-8"))
    schemas = {name: strict(schema) for name, schema in document["schemas"].items() if name in NAMED}
    methods = document["resources"]["reviews"]["methods"].values()
    done: set[str] = set()

    async def note(response: httpx2.Response) -> None:
        request = response.request
        _, found, path = request.url.path.partition("androidpublisher.googleapis.com/")
        if not found:
            return
        (method,) = [
            one
            for one in methods
            if one["httpMethod"] == request.method
            and re.fullmatch(re.sub(r"\{\w+\}", "[^/]+?", re.escape(one["path"]).replace("\\", "")), path)
            and path.endswith(":reply") == one["path"].endswith(":reply")
        ]
        for name in dict(parse_qsl(request.url.query.decode())):
            assert method["parameters"][name]["location"] == "query"
        fits(method.get("request", {}).get("$ref"), json.loads(request.content) if request.content else None, schemas)
        fits(method["response"]["$ref"], json.loads(await response.aread()), schemas)
        done.add(method["id"])

    http.event_hooks["response"].append(note)
    for number in range(110):
        twin.review(PACKAGE, f"P{number}", number % 5 + 1, f"review {number}", quiet=True)
    ref = twin.review(PACKAGE, "Jörg", 1, "Schlecht", title="Nein", translations={"en": "No\tBad"}, language="de")
    plugin = bench.make(translation_language="en")
    await bench.drain("reviews", plugin=plugin)
    await plugin.send(bench.rendered(ref, "Das tut uns leid!"), "k")
    await plugin.fetch([Wanted(ref=ref)])
    await plugin.check()
    assert done == {f"androidpublisher.reviews.{name}" for name in ("list", "get", "reply")}
