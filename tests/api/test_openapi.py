"""The OpenAPI document: published as it is, whole in itself, and true of the routes."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from typing import Any

import jsonschema
import pytest

from gateway.api import openapi
from support.repository import ROOT

PUBLISHED = ROOT / "schemas" / "json" / "v1" / "openapi.json"


@pytest.fixture(scope="module")
def document() -> dict[str, Any]:
    """The document as the routes give it."""
    found: dict[str, Any] = json.loads(openapi.render())
    return found


def operations(document: dict[str, Any]) -> Iterator[tuple[str, dict[str, Any]]]:
    """Every operation with its name."""
    for path, methods in document["paths"].items():
        for method, operation in methods.items():
            yield f"{method.upper()} {path}", operation


def references(node: Any) -> Iterator[str]:
    """Every `$ref` below a node."""
    if isinstance(node, dict):
        if isinstance(node.get("$ref"), str):
            yield node["$ref"]
        for value in node.values():
            yield from references(value)
    elif isinstance(node, list):
        for value in node:
            yield from references(value)


def test_the_published_document_is_that_of_the_routes(capsys: pytest.CaptureFixture[str]) -> None:
    if openapi.main(["--check", str(PUBLISHED)]) != 0:
        pytest.fail("run from the repository's root: python -m gateway.api.openapi schemas/json/v1/openapi.json")
    assert capsys.readouterr().err == ""


def test_a_stale_document_is_noticed(tmp_path: Any, capsys: pytest.CaptureFixture[str]) -> None:
    file = tmp_path / "openapi.json"
    assert openapi.main(["--check", str(file)]) == 1
    assert openapi.main([str(file)]) == 0
    assert openapi.main(["--check", str(file)]) == 0
    file.write_text(file.read_text("utf-8").replace("brand", "label", 1), "utf-8")
    assert openapi.main(["--check", str(file)]) == 1
    assert "not up to date" in capsys.readouterr().err


async def test_it_is_served_as_published_whatever_is_installed(api: Any) -> None:
    async with api.caller(None) as nobody:
        served = (await nobody.get("/openapi.json")).json()
    assert served == json.loads(openapi.render())


def test_it_is_whole_in_itself(document: dict[str, Any]) -> None:
    assert document["openapi"].startswith("3.1")
    schemas = document["components"]["schemas"]
    named = {f"#/components/schemas/{name}" for name in schemas}
    assert set(references(document)) <= named
    for name, schema in schemas.items():
        jsonschema.Draft202012Validator.check_schema(schema)
        assert re.fullmatch(r"[A-Za-z0-9._-]+", name)
    assert all(re.fullmatch(r"[A-Za-z0-9._-]+", name) for name in document["components"]["securitySchemes"])
    tags = {tag["name"] for tag in document["tags"]}
    assert {tag for _, operation in operations(document) for tag in operation["tags"]} == tags


def test_operations_have_short_names_of_their_own(document: dict[str, Any]) -> None:
    names = [operation["operationId"] for _, operation in operations(document)]
    assert len(names) == len(set(names))
    assert [name for name in names if not re.fullmatch(r"[a-z]+(_[a-z]+)*", name)] == []


def test_every_route_says_who_may_call_and_how_it_refuses(document: dict[str, Any]) -> None:
    (scheme,) = document["components"]["securitySchemes"]
    for name, operation in operations(document):
        assert operation["description"] or operation["summary"], name
        if " /v1/" not in name:
            continue
        assert operation["security"] == [{scheme: []}], name
        assert re.search(r"Scope: `[a-z:]+`", operation["description"]), name
        for status, answer in operation["responses"].items():
            if status >= "400":
                assert list(answer["content"]) == ["application/problem+json"], (name, status)
        assert {"401", "403"} <= operation["responses"].keys(), name
        takes_key = any(one["name"] == "Idempotency-Key" for one in operation.get("parameters", ()))
        assert takes_key is name.startswith("POST"), name


REVOKING = {"DELETE /v1/keys/{key_id}", "DELETE /v1/tickets/{ticket_id}/invitations/{invitation_id}"}
"""What is the same done twice, and by whomever: it needs no version."""


def test_every_change_can_be_made_for_one_version_only(document: dict[str, Any]) -> None:
    """POST is made safe by an Idempotency-Key; what replaces, changes or removes, by If-Match."""
    for name, operation in operations(document):
        if name.split()[0] in ("PUT", "PATCH", "DELETE") and name not in REVOKING:
            headers = [one["name"] for one in operation.get("parameters", ()) if one["in"] == "header"]
            assert "If-Match" in headers, name
            assert "412" in operation["responses"], name


def test_path_parameters_are_described_once_each(document: dict[str, Any]) -> None:
    for name, operation in operations(document):
        wanted = re.findall(r"{(\w+)}", name)
        found = [one["name"] for one in operation.get("parameters", ()) if one["in"] == "path"]
        assert sorted(found) == sorted(wanted), name
