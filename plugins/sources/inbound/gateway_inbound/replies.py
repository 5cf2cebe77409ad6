"""The way back: replies as signed webhooks, and what the receiver's answers mean."""

from __future__ import annotations

import base64
import hashlib
import json
import re
from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any
from uuid import uuid4

import httpx2

from gateway_inbound.config import InboundConfig
from gateway_schemas.errors import GatewayError, Hold, Malformed, Reauthorise, Rejected
from gateway_schemas.http import call, json_object
from gateway_schemas.reply import Draft, OutgoingFile, Rendered, Sent
from gateway_schemas.signatures import sign_standard

ACCEPTED = frozenset({*range(200, 300), 409})
REDIRECTED = frozenset({301, 307, 308})

_MESSAGE_ID = re.compile(r"[!-\-/-~]{1,256}")


def data_of(draft: Draft) -> dict[str, Any]:
    """What a reply's webhook says in `data`: complete before it is decided on, and sent as it is."""
    answered, target = draft.interaction, draft.target
    data: dict[str, Any] = {
        "reply_id": draft.reply_id,
        "account": draft.account,
        "kind": target.kind,
        "in_reply_to": target.ref or answered.external_id,
        "root": answered.root or (answered.external_id if answered.in_reply_to is None else None),
        "visibility": draft.visibility,
        "text": draft.text,
    }
    if target.recipient is not None:
        data["recipient"] = target.recipient
    if target.extra:
        data["extra"] = target.extra
    return data


def file_of(file: OutgoingFile, body: bytes) -> dict[str, Any]:
    """One of `data.files`."""
    return {
        "name": file.name,
        "media_type": file.media_type,
        "sha256": file.sha256,
        "content": base64.b64encode(body).decode("ascii"),
    }


async def create(
    http: httpx2.AsyncClient,
    config: InboundConfig,
    rendered: Rendered,
    key: str,
    now: datetime,
    files: Sequence[dict[str, Any]] = (),
) -> Sent:
    """Post the reply under `key` and read what the receiver calls it.

    Standard Webhooks tells two times apart: the event's, in the body, stays the same when the webhook is tried again;
    the attempt's, in the header, is the signature's and new each time.
    """
    message_id = message_id_of(key)
    data = {**rendered.body, "files": list(files)} if files else rendered.body
    happened = rendered.written_at or now
    answer = await _post(http, config, "reply.created", data, message_id, now, happened=happened, effect=True)
    said = _said(answer)
    external_id = _identifier(said.get("external_id"))
    if answer.status_code == 409 and external_id is None:
        raise Hold(
            f"{config.system} answered 409 without an external_id: it may have this reply already, or refuse it; "
            "look there",
            code="conflict",
        )
    url = _identifier(said.get("url"))
    return Sent(
        external_id=external_id or message_id,
        url=url if url and url.startswith(("https://", "http://")) else None,
        sent_at=now,
        pending=said.get("pending") is True,
    )


async def change(
    http: httpx2.AsyncClient, config: InboundConfig, event: str, data: dict[str, Any], now: datetime
) -> None:
    """Post news of a reply that was accepted before. Each call has an id of its own: a later edit may repeat a text."""
    answer = await _post(http, config, event, data, uuid4().hex, now, happened=now, effect=False)
    if answer.status_code == 409:
        raise _refusal(answer, config)


def message_id_of(key: str) -> str:
    """The webhook-id for a key; the same key gives the same id. Standard Webhooks allows no full stop in it."""
    if _MESSAGE_ID.fullmatch(key):
        return key
    return hashlib.sha256(key.encode("utf-8", "surrogatepass")).hexdigest()


async def _post(
    http: httpx2.AsyncClient,
    config: InboundConfig,
    event: str,
    data: dict[str, Any],
    message_id: str,
    now: datetime,
    *,
    happened: datetime,
    effect: bool,
) -> httpx2.Response:
    if config.reply_url is None or config.reply_secret is None:
        raise Rejected(f"{config.system} cannot be answered: its connection has no reply_url", code="no_replies")
    document = {"type": event, "timestamp": happened.astimezone(UTC).isoformat().replace("+00:00", "Z"), "data": data}
    body = json.dumps(document, separators=(",", ":")).encode("ascii")
    headers = sign_standard(config.reply_secret.get_secret_value(), message_id, now, body)
    return await call(
        http,
        "POST",
        config.reply_url,
        effect=effect,
        now=now,
        expected=ACCEPTED,
        classify=lambda answer: _classify(answer, config),
        label="reply_url",
        content=body,
        headers={**headers, "content-type": "application/json"},
    )


def _classify(answer: httpx2.Response, config: InboundConfig) -> GatewayError | None:
    status = answer.status_code
    if status == 401:
        return Reauthorise(
            f"{config.system} answered 401: does it check with the same reply_secret, and is its clock right?",
            code="http_401",
        )
    if status in REDIRECTED:
        return Rejected(
            f"{config.system} redirects from reply_url ({status}); enter the address it redirects to", code="redirected"
        )
    if 400 <= status < 500 and status not in (408, 425, 429):
        return _refusal(answer, config)
    return None


def _refusal(answer: httpx2.Response, config: InboundConfig) -> Rejected:
    """RFC 9457's `detail` is for the agent to read; the status alone decided."""
    said = _said(answer)
    detail = said.get("detail") or said.get("error") or said.get("message")
    told = f": {_printable(detail)}" if isinstance(detail, str) else ""
    return Rejected(f"{config.system} refused it with {answer.status_code}{told}", code=f"http_{answer.status_code}")


def _said(answer: httpx2.Response) -> dict[str, Any]:
    try:
        return json_object(answer)
    except Malformed:
        return {}


def _identifier(value: Any) -> str | None:
    if isinstance(value, int) and not isinstance(value, bool):
        value = str(value)
    return value if isinstance(value, str) and 0 < len(value) <= 1024 and value.isprintable() else None


def _printable(text: str) -> str:
    return "".join(character if character.isprintable() else " " for character in text[:300])
