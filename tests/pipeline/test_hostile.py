"""Promise 2: whatever somebody writes, it ends somewhere, and takes nobody down with it."""

from __future__ import annotations

import asyncio
import json
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import httpx2
import pytest

from gateway_schemas.signatures import sign_standard
from gateway_zendesk.twin import ZendeskTwin
from support.gateway import Gateway, fresh_database, running

SECRET = "whsec_" + "A" * 43 + "="
OTHERS = 99
REPLACED = "\ufffd"
KNOWN = {"external_id": "customer", "name": "Rita"}

HOSTILE = {
    "nul": "before\x00after",
    "surrogate": "half an emoji \ud83d here",
    "overrides": "\u202egnp.exe\u202c \u2066isolated\u2069 \u200bzero",
    "html": "<script>alert(1)</script><img src=x onerror=alert(1)> &amp; {{liquid}} {% raw %}",
    "quotes": "'; DROP TABLE ticket; -- \\\\ $$ %s %(x)s :now {0}",
    "controls": "\x01\x1b[31mred\x7f\r\n\tend",
}


def event(name: str, text: str, **more: Any) -> bytes:
    """A complaint; JSON escapes everything, so that even half a character travels."""
    data = {"external_id": name, "kind": "post", "author": KNOWN, "text": text, **more}
    data.setdefault("published_at", "2026-01-01T00:00:00Z")
    return json.dumps({"type": "interaction.created", "timestamp": "2026-01-01T00:00:00Z", "data": data}).encode()


async def send(http: httpx2.AsyncClient, door: str, name: str, body: bytes, query: str = "", **headers: bytes) -> int:
    """Push one signed event; the door's status."""
    signed = sign_standard(SECRET, name, datetime.now(UTC), body)
    raw = {name.encode(): value.encode() for name, value in signed.items()}
    raw |= {name.encode(): value for name, value in headers.items()}
    return (await http.post(f"{door}{query}", content=body, headers=raw)).status_code


async def ended(gateway: Gateway) -> dict[str, int]:
    """How many deliveries of the forum ended how."""
    rows = await gateway.rows("SELECT state, count(*) AS n FROM delivery WHERE role = 'source' GROUP BY state")
    return {row["state"]: row["n"] for row in rows}


@pytest.mark.timeout(240)
async def test_promise_2_hostile_texts_become_tickets_and_take_nobody_of_their_batch_down(
    server_url: str, tmp_path: Path
) -> None:
    desk = ZendeskTwin()
    desk.limits.off()
    async with (
        fresh_database(server_url) as url,
        desk.serve() as base,
        running(url, tmp_path, worker=False) as gateway,
        httpx2.AsyncClient(trust_env=False, timeout=30) as http,
    ):
        config = {"base_url": base, "email": desk.email, "api_token": desk.token, "share": 1.0}
        helpdesk = await gateway.add_connection("helpdesk", "zendesk", config)
        forum = {"signing_secrets": [SECRET]}
        source = await gateway.add_connection("source", "inbound", forum, name="forum", helpdesk=helpdesk)
        door = f"{gateway.url}/hooks/{source}"
        sent = [send(http, door, name, event(name, text)) for name, text in HOSTILE.items()]
        sent += [send(http, door, f"other-{number}", event(f"other-{number}", "hello?")) for number in range(OTHERS)]
        sent += [
            send(http, door, "query", event("query", "NUL in the query"), query="?a=%00&b=%7f%ff"),
            send(http, door, "header", event("header", "odd header"), odd=b"\xff\xfe caf\xe9"),
            send(http, door, "raw", b'{"type": "interaction.created", "data": {"text": "\x00\xff\xed\xa0\x80"}}'),
            send(http, door, "deep", b"[" * 200_000),
            send(http, door, "year", event("year", "when?", published_at="9999-12-31T23:59:59Z")),
            # fits JSON and no column: the database refuses the whole batch, which is split
            send(http, door, "many", event("many", "who?", author={**KNOWN, "followers": 10**30})),
            send(http, door, "name", event("name", "who?", author={**KNOWN, "name": "a\x00\ud83d" * 50})),
        ]
        assert set(await asyncio.gather(*sent)) == {200}, "a signed webhook is never refused for what it says"
        async with running(url, tmp_path):
            await gateway.quiet(120)
        states = await ended(gateway)
        assert sum(states.values()) == len(sent)
        assert states.get("failed", 0) == 3, "bytes that are no text, brackets without an end, and too many followers"
        unexplained = "SELECT count(*) FROM delivery WHERE state = 'failed' AND reason IS NULL"
        assert await gateway.value(unexplained) == 0
        assert await gateway.value("SELECT count(*) FROM revision WHERE state = 'failed'") == 0
        others = "SELECT count(*) FROM interaction WHERE external_id LIKE 'other-%' AND ticket_id IS NOT NULL"
        assert await gateway.value(others) == OTHERS
        assert len(desk.tickets) == len(sent) - 3
        told = [comment.body for ticket in desk.tickets.values() for comment in ticket.comments]
        for name, text in HOSTILE.items():
            shown = text.replace("\x00", REPLACED).replace("\ud83d", REPLACED)
            assert await gateway.value("SELECT text FROM interaction WHERE external_id = :id", id=name) == shown
            assert any(shown.splitlines()[0] in body for body in told), name


@pytest.mark.timeout(240)
async def test_promise_13_a_megabyte_of_text_reaches_the_helpdesk_whole(server_url: str, tmp_path: Path) -> None:
    desk = ZendeskTwin()
    desk.limits.off()
    async with (
        fresh_database(server_url) as url,
        desk.serve() as base,
        running(url, tmp_path) as gateway,
        httpx2.AsyncClient(trust_env=False, timeout=30) as http,
    ):
        config = {"base_url": base, "email": desk.email, "api_token": desk.token, "share": 1.0}
        helpdesk = await gateway.add_connection("helpdesk", "zendesk", config)
        forum = {"signing_secrets": [SECRET]}
        source = await gateway.add_connection("source", "inbound", forum, name="forum", helpdesk=helpdesk)
        door = f"{gateway.url}/hooks/{source}"
        text = "word " * 200_000
        assert await send(http, door, "long", event("long", text)) == 200
        assert await send(http, door, "after", event("after", "hello?")) == 200
        await gateway.quiet(60)
        assert await gateway.value("SELECT length(text) FROM interaction WHERE external_id = 'long'") == len(text)
        told = {comment.body.strip() for ticket in desk.tickets.values() for comment in ticket.comments}
        assert told == {text.strip(), "hello?"}, "nothing is cut off silently"
