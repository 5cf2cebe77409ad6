"""What the plugin asks and the twin answers, against the protocol's lexicons, where they are beside the checkout."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any
from urllib.parse import parse_qsl

import httpx2
import jsonschema
import pytest

from gateway_bluesky.names import is_tid, parse_uri, record_key
from gateway_bluesky.plugin import BlueskySource
from gateway_bluesky.twin import BlueskyTwin
from gateway_schemas.interaction import ReplyTarget, Wanted
from gateway_schemas.length import Counting, length
from gateway_schemas.testing.clock import StillTime

SPECS = Path(__file__).parents[4].parent / "shared" / "specs" / "atproto"
LEXICONS, SYNTAX = SPECS / "lexicons", SPECS / "interop-test-files" / "syntax"
ACME, RITA = "acme.example.com", "rita.example.com"
BenchLike = Any
Make = Callable[..., BlueskySource]

pytestmark = pytest.mark.skipif(not SPECS.exists(), reason="the AT Protocol's documents are not beside this checkout")


@dataclass(frozen=True)
class Exchange:
    """One request of the plugin with the twin's answer."""

    method: str
    nsid: str
    query: list[tuple[str, str]]
    sent: Any
    answered: Any
    proxied: bool


@cache
def lexicon(nsid: str) -> Any:
    path = LEXICONS.joinpath(*nsid.split(".")).with_suffix(".json")
    return json.loads(path.read_text("utf-8"))["defs"] if path.exists() else None


@cache
def definition(ref: str) -> Any:
    nsid, _, name = ref.partition("#")
    known = lexicon(nsid)
    found = known[name or "main"] if known is not None else None
    return found["record"] if found is not None and found["type"] == "record" else found


def schema(value: Any, home: str, depth: int = 0) -> Any:
    """A lexicon's schema as JSON Schema that takes no other fields; what is in lexicons not at hand may be anything."""
    if value is None or depth > 12:
        return True
    match value["type"]:
        case "object":
            nullable = value.get("nullable", ())
            fields = {name: schema(one, home, depth + 1) for name, one in value.get("properties", {}).items()}
            fields = {
                name: {"anyOf": [one, {"type": "null"}]} if name in nullable else one for name, one in fields.items()
            }
            fields["$type"] = {"type": "string"}
            return {
                "type": "object",
                "properties": fields,
                "required": value.get("required", []),
                "additionalProperties": False,
            }
        case "array":
            kept = {"minLength": "minItems", "maxLength": "maxItems"}
            limits = {kept[name]: value[name] for name in kept if name in value}
            return {"type": "array", "items": schema(value["items"], home, depth + 1), **limits}
        case "ref":
            return referred(value["ref"], home, depth)
        case "union":
            # unions are open: a `$type` of another lexicon is anything
            return {"anyOf": [typed(ref, home, depth) for ref in value["refs"]]}
        case "string":
            return {"type": "string"} | ({"enum": value["enum"]} if "enum" in value else {})
        case "integer":
            bounds = {name: value[name] for name in ("minimum", "maximum") if name in value}
            return {"type": "integer", **bounds}
        case "boolean":
            return {"type": "boolean"}
        case "blob":
            ref = {"type": "object", "properties": {"$link": {"type": "string"}}, "required": ["$link"]}
            return {"type": "object", "required": ["$type", "ref", "mimeType", "size"], "properties": {"ref": ref}}
        case _:  # unknown, cid-link, bytes
            return True


def whole(ref: str, home: str) -> str:
    return home + ref if ref.startswith("#") else ref


def referred(ref: str, home: str, depth: int) -> Any:
    name = whole(ref, home)
    return schema(definition(name), name.partition("#")[0], depth + 1)


def typed(ref: str, home: str, depth: int) -> Any:
    name = whole(ref, home)
    given = referred(ref, home, depth)
    said = {"type": "object", "required": ["$type"], "properties": {"$type": {"const": name.removesuffix("#main")}}}
    return {"allOf": [given, said]}


def check(exchange: Exchange) -> None:
    """One exchange against its method's lexicon."""
    method = definition(exchange.nsid)
    assert method is not None, f"{exchange.nsid} is no method of the lexicons"
    assert {"query": "GET", "procedure": "POST"}[method["type"]] == exchange.method
    parameters = method.get("parameters", {})
    for name, value in exchange.query:
        kind = parameters["properties"][name]
        kind = kind["items"] if kind["type"] == "array" else kind
        if kind["type"] == "integer":
            assert kind.get("minimum", 0) <= int(value) <= kind.get("maximum", 10**9), (
                f"{exchange.nsid}: {name}={value}"
            )
        assert kind["type"] in ("string", "integer", "boolean")
    assert set(parameters.get("required", ())) <= {name for name, _ in exchange.query}, exchange.nsid
    for part, value in (("input", exchange.sent), ("output", exchange.answered)):
        given = method.get(part, {}).get("schema")
        if given is not None:
            jsonschema.Draft202012Validator(schema(given, exchange.nsid)).validate(value)
        elif part == "input" and method.get("input", {}).get("encoding") != "*/*":
            assert value is None, f"{exchange.nsid} takes no body"
    for record in records(exchange.sent, exchange.answered):
        known = definition(record["$type"])
        jsonschema.Draft202012Validator(schema(known, record["$type"])).validate(record)
        if "text" in record:
            limits = known["properties"]["text"]
            assert len(record["text"].encode()) <= limits["maxLength"]
            assert length(record["text"], Counting.graphemes) <= limits["maxGraphemes"]
    assert exchange.proxied == exchange.nsid.startswith("chat."), exchange.nsid


def records(*values: Any) -> Iterator[dict[str, Any]]:
    """The records anywhere in values."""
    for value in values:
        if isinstance(value, dict):
            if definition_of_record(value.get("$type")):
                yield value
            yield from records(*value.values())
        elif isinstance(value, list):
            yield from records(*value)


def definition_of_record(name: Any) -> bool:
    known = lexicon(name) if isinstance(name, str) and re.fullmatch(r"[A-Za-z.]+", name) else None
    return known is not None and known["main"]["type"] == "record"


@pytest.fixture
def exchanges(http: httpx2.AsyncClient) -> list[Exchange]:
    """What passes between plugin and twin."""
    seen: list[Exchange] = []

    async def note(response: httpx2.Response) -> None:
        await response.aread()
        request = response.request
        if not request.url.path.startswith("/xrpc/"):
            return
        assert response.status_code == 200, response.text
        query = parse_qsl(request.url.query.decode())
        typed_json = request.headers.get("content-type") == "application/json"
        sent = json.loads(request.content) if typed_json and request.content else None
        nsid = request.url.path.removeprefix("/xrpc/")
        proxied = "atproto-proxy" in request.headers
        seen.append(Exchange(request.method, nsid, query, sent, response.json(), proxied))

    http.event_hooks["response"].append(note)
    return seen


async def test_requests_and_answers_fit_the_lexicons(
    bench: BenchLike, twin: BlueskyTwin, plugin: BlueskySource, clock: StillTime, exchanges: list[Exchange]
) -> None:
    own = twin.post(ACME, "We ship everywhere")
    asked = twin.post(RITA, f"@{ACME} help #now https://example.com/x", own, pictures=[(b"\xff\xd8\xff1", "a")])
    twin.post(RITA, "ha", quote=own)
    twin.repost(ACME, asked)
    gone = twin.post(RITA, f"@{ACME} never mind")
    for number in range(110):
        twin.direct_message(RITA, ACME, f"one {number} https://example.com/y")
    twin.hide_message(ACME, twin.messages_from(RITA)[-1].id)
    cursors = {stream: (await bench.drain(stream))[1] for stream in plugin.capabilities.streams}
    await plugin.discover()
    await plugin.install(dry_run=False)
    await plugin.check()
    await plugin.fetch([Wanted(ref=asked), Wanted(ref=asked, kind="thread")])
    rendered = await bench.rendered(
        asked, f"@{RITA} sorry! https://example.com/z", files=(bench.file(b"\xff\xd8\xff2"),)
    )
    sent = await plugin.send(rendered, "k")
    private = ReplyTarget(kind="direct_message", recipient=twin.state.account(RITA).did)
    message = plugin.render(bench.draft(await bench.read(asked), "Hello https://example.com", target=private))
    await plugin.send(message, "k2")
    twin.delete(gone)
    twin.direct_message(RITA, ACME, "two")
    clock.pass_by(minutes=119)
    for stream, cursor in cursors.items():
        await bench.drain(stream, cursor)
    await plugin.retract(sent)
    for exchange in exchanges:
        check(exchange)
    assert {exchange.nsid for exchange in exchanges} == {
        "com.atproto.server.createSession",
        "com.atproto.server.refreshSession",
        "com.atproto.server.getSession",
        "com.atproto.repo.putRecord",
        "com.atproto.repo.deleteRecord",
        "com.atproto.repo.getRecord",
        "com.atproto.repo.uploadBlob",
        "app.bsky.notification.listNotifications",
        "app.bsky.feed.getAuthorFeed",
        "app.bsky.feed.getPosts",
        "app.bsky.feed.getPostThread",
        "chat.bsky.convo.listConvos",
        "chat.bsky.convo.getMessages",
        "chat.bsky.convo.getLog",
        "chat.bsky.convo.getConvoForMembers",
        "chat.bsky.convo.sendMessage",
    }


def lines(name: str) -> list[str]:
    found = (SYNTAX / f"{name}.txt").read_text("utf-8").splitlines()
    return [line for line in found if line and not line.startswith("#")]


def test_tids_are_those_of_the_protocol() -> None:
    assert [one for one in lines("tid_syntax_valid") if not is_tid(one)] == []
    assert [one for one in lines("tid_syntax_invalid") if is_tid(one.strip("\n"))] == []
    assert record_key("k", None) not in lines("tid_syntax_invalid")


def test_addresses_of_records_are_those_of_the_protocol() -> None:
    """Of addresses of records with owners by identifier, all that are valid, and none that is not."""
    wanted = [one for one in lines("aturi_syntax_valid") if one.startswith("at://did:") and one.count("/") == 4]
    assert wanted
    assert [one for one in wanted if parse_uri(one) is None] == []
    assert [one for one in lines("aturi_syntax_invalid") if parse_uri(one) is not None] == []
