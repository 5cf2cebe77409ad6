"""Recorded requests in files, and golden answers to compare what a plugin makes of them.

`fixtures/in/<event>__<case>.http` holds a request as it came: request line, headers, a blank line, then the body's
exact bytes. Nothing of the body is parsed or written anew on the way, so a signature over it stays right. The lines of
the head may end in LF or CRLF; a header `Content-Length`, where the file has one, is checked against the body, because
an editor that adds a final newline breaks the signature. Let git keep the bytes: `*.http -text` in `.gitattributes`.

    request = load_request(FIXTURES / "in" / "mention__edited.http", received_at=RECORDED)
    assert plugin.verify(request) is None
    assert_golden(FIXTURES / "golden" / "mention__edited.json", plugin.normalise(as_delivery(request)))
"""

from __future__ import annotations

import difflib
import json
import os
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from pydantic import BaseModel

from gateway_schemas.webhook import RawDelivery, WebhookRequest

UPDATE = "UPDATE_GOLDENS"
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


def assert_golden(path: str | os.PathLike[str], normalised: Sequence[BaseModel], *, update: bool | None = None) -> None:
    """Compare what `normalise` gave with the file at `path`; raises AssertionError with a unified diff.

    The file is a JSON list of `{"<class name>": {fields that differ from their defaults}}`. It is written instead of
    compared when `update` is true or, without `update`, when the environment has UPDATE_GOLDENS=1.
    """
    __tracebackhide__ = True
    path = Path(path)
    actual = [{type(item).__name__: item.model_dump(mode="json", exclude_defaults=True)} for item in normalised]
    if update if update is not None else os.environ.get(UPDATE) == "1":
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(_pretty(actual), "utf-8")
        return
    if not path.exists():
        raise AssertionError(f"{path} does not exist; write it with {UPDATE}=1 and read what it says before keeping it")
    expected = json.loads(path.read_text("utf-8"))
    # compared as text, because in Python 1 == 1.0 == True
    if json.dumps(expected, sort_keys=True) == json.dumps(actual, sort_keys=True):
        return
    diff = difflib.unified_diff(
        _pretty(expected).splitlines(), _pretty(actual).splitlines(), str(path), "normalised", lineterm=""
    )
    raise AssertionError("\n".join([*diff, f"where the new result is right, write it with {UPDATE}=1"]))


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


def _pretty(value: Any) -> str:
    return json.dumps(value, indent=2, ensure_ascii=False) + "\n"
