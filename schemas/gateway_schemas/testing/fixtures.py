"""Recorded requests in files, and golden answers to compare what a plugin makes of them.

`fixtures/in/<event>__<case>.http` holds a request as it came: request line, headers, a blank line, then the body's
exact bytes. Nothing of the body is parsed or written anew on the way, so a signature over it stays right. The lines of
the head may end in LF or CRLF; a header `Content-Length`, where the file has one, is checked against the body, because
an editor that adds a final newline breaks the signature. Let git keep the bytes: `*.http -text` in `.gitattributes`.

    request = load_request(FIXTURES / "in" / "mention__edited.http", received_at=RECORDED)
    assert plugin.verify(request) is None
    news = plugin.normalise(as_delivery(request))

Goldens stand beside, in `mention__edited.golden.json`; the contract classes compare them, and `goldens` writes them.
"""

from __future__ import annotations

import json
import os
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from pydantic import BaseModel

from gateway_schemas.errors import Malformed
from gateway_schemas.webhook import RawDelivery, WebhookRequest, WebhookResponse

RECEIVED_AT = datetime(2026, 1, 1, tzinfo=UTC)


def load_request(path: str | os.PathLike[str], received_at: datetime = RECEIVED_AT) -> WebhookRequest:
    """Read a `.http` file as the door would see it. Raises ValueError naming file and line where the head is wrong."""
    path = Path(path)
    lines, body = _split(path.read_bytes())
    words = lines[0].split(b" ") if lines else []
    if len(words) not in (2, 3) or not words[1].startswith(b"/"):
        raise ValueError(f"{path}:1: expected a request line such as `POST /hooks/demo?key=value HTTP/1.1`")
    target, _, query = words[1].partition(b"?")
    headers: list[tuple[bytes, bytes]] = []
    for number, line in enumerate(lines[1:], start=2):
        name, colon, value = line.partition(b":")
        if not colon or not name or name != name.strip():
            raise ValueError(f"{path}:{number}: expected `Name: value`, or a blank line before the body")
        headers.append((name, value.strip(b" \t")))
    request = WebhookRequest(
        method=words[0].decode("latin-1"),
        path=target.decode("latin-1"),
        query=query,
        headers=tuple(headers),
        body=body,
        received_at=received_at,
    )
    length = request.header("content-length")
    if length is not None and length != str(len(body)):
        raise ValueError(f"{path}: Content-Length says {length}, the body has {len(body)} bytes; was it edited?")
    return request


def as_delivery(request: WebhookRequest, id: str = "fixture") -> RawDelivery:
    """The stored delivery that the host makes of a verified request."""
    return RawDelivery(
        id=id,
        origin="webhook",
        body=request.body,
        received_at=request.received_at,
        headers=request.headers,
        query=request.query,
    )


def golden_value(says: Sequence[BaseModel | WebhookResponse | Malformed]) -> list[dict[str, Any]]:
    """What a golden holds: a list of `{"<class name>": {fields that differ from their defaults}}`."""
    return [{type(item).__name__: _fields(item)} for item in says]


def golden_text(value: Any) -> str:
    """A golden as it stands in its file. Compared as text, because in Python 1 == 1.0 == True."""
    return json.dumps(value, indent=2, ensure_ascii=False) + "\n"


def _fields(item: BaseModel | WebhookResponse | Malformed) -> dict[str, Any]:
    if isinstance(item, BaseModel):
        return item.model_dump(mode="json", exclude_defaults=True)
    if isinstance(item, Malformed):
        return {"code": item.code, "reason": item.reason}
    return {"status": item.status, "media_type": item.media_type, "body": item.body.decode("utf-8", "replace")}


def _split(content: bytes) -> tuple[list[bytes], bytes]:
    lines: list[bytes] = []
    start = 0
    while start < len(content):
        end = content.find(b"\n", start)
        line, start = (content[start:end], end + 1) if end >= 0 else (content[start:], len(content))
        line = line.removesuffix(b"\r")
        if not line:
            break
        lines.append(line)
    return lines, content[start:]
