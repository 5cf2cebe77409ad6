"""A small forum that pushes what happens on it to the gateway and takes replies, as a careful system would.

It signs with Standard Webhooks, keeps the webhook-ids that it took, and refuses what is not signed, not in its time
window or not in its form, with a problem document (RFC 9457).
"""

from __future__ import annotations

import base64
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, timedelta
from itertools import count
from typing import Any
from uuid import uuid4

from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import BaseRoute, Route

from gateway_schemas.errors import Unverified
from gateway_schemas.signatures import sign_standard, verify_standard
from gateway_schemas.testing.rehearsal import Channel, Rehearsal
from gateway_schemas.testing.twin import Twin
from gateway_schemas.time import TimeSource

Json = dict[str, Any]

# of a forum that nobody gave secrets of its own
SIGNING_SECRET = "whsec_" + base64.b64encode(b"the-twin-signs-with-this-secret.").decode("ascii")
REPLY_SECRET = "whsec_" + base64.b64encode(b"and-replies-are-signed-with-this").decode("ascii")


@dataclass(frozen=True)
class _Taken:
    """What was answered to a webhook-id, and to which content."""

    content: tuple[str, str]
    status: int
    body: Json


class _Refused(Exception):
    def __init__(self, status: int, detail: str) -> None:
        super().__init__(detail)
        self.status = status
        self.detail = detail


@dataclass
class Manners:
    """How this receiver differs from others. The first two are what Standard Webhooks asks for."""

    dedupes: bool = True
    conflict_on_repeat: bool = False
    """Answer a repeated webhook-id with 409 and the id that the reply has, instead of the first answer."""
    names_replies: bool = True
    """Answer with an `external_id` of its own; else with an empty 204."""
    one_slot: bool = False
    """A second reply to the same thing replaces the first."""
    echoes: bool = False
    """Push each reply back as an interaction, as a system does that pushes everything written on it."""
    text_limit: int | None = None
    own_author: str = "brand"


class InboundTwin(Twin):
    """A foreign system: `push`, `edit`, `delete` and `batch` send to `door`; replies arrive at `reply_url`."""

    name = "inbound"
    actions = ("write", "rewrite", "delete", "reply_status")

    def __init__(
        self,
        *,
        door: str = "",
        signing_secret: str = SIGNING_SECRET,
        reply_secret: str = REPLY_SECRET,
        account: str = "default",
        tolerance: timedelta = timedelta(minutes=5),
        manners: Manners | None = None,
        time: TimeSource | None = None,
        seed: int = 0,
    ) -> None:
        super().__init__(time=time, seed=seed)
        self.door = door
        self.signing_secret = signing_secret
        self.reply_secret = reply_secret
        self.account = account
        self.tolerance = tolerance
        self.manners = manners or Manners()
        self.items: dict[str, Json] = {}
        self.replies: dict[str, Json] = {}
        self._taken: dict[str, _Taken] = {}
        self._numbers = count(1)

    @property
    def reply_url(self) -> str:
        """Where replies are taken; known once the twin is served."""
        return f"{self.url}/replies"

    def routes(self) -> Sequence[BaseRoute]:
        """The receiver of replies."""
        return [Route("/replies", self._receive, methods=["POST"])]

    def snapshot(self) -> Json:
        """What stands on the forum."""
        return {"items": self.items, "replies": self.replies}

    def connection_config(self) -> Json:
        """A connection configuration that fits the twin; call it while the twin is served."""
        return {
            "system": "The twin forum",
            "account": self.account,
            "signing_secrets": [self.signing_secret],
            "reply_url": self.reply_url,
            "reply_secret": self.reply_secret,
        }

    def rehearsal(self) -> Rehearsal:
        """Rita comments on the forum, which has to be told where the gateway listens."""
        channel = Channel(
            "the forum",
            self.connection_config(),
            write=self.write,
            answers=lambda: [(str(one["in_reply_to"]), str(one["text"])) for one in self.replies.values()],
            told=lambda door: setattr(self, "door", door),
        )
        return Rehearsal([channel])

    def write(self, text: str, author: str = "rita", in_reply_to: str | None = None, door: str | None = None) -> str:
        """Somebody writes a comment; its id. `door` is where from now on the forum tells of what is written."""
        self.door = door or self.door
        external_id = f"c{len(self.items) + 1}"
        author_id = self.manners.own_author if author == "brand" else author
        item = {
            "external_id": external_id,
            "kind": "comment",
            "visibility": "public",
            "author": {"external_id": author_id, "name": author},
            "text": text,
            "in_reply_to": in_reply_to,
            "published_at": self._now(),
        }
        self.push({name: value for name, value in item.items() if value is not None})
        return external_id

    def rewrite(self, external_id: str, text: str) -> str:
        """Its author changes a comment; the webhook's id."""
        return self.edit(external_id, text=text)

    def push(self, interaction: Mapping[str, Any]) -> str:
        """Something was written: keep it and send `interaction.created`. Returns the webhook's id."""
        self.items[str(interaction["external_id"])] = dict(interaction)
        return self.send(self.event("interaction.created", interaction))

    def edit(self, external_id: str, **changes: Any) -> str:
        """Its author changed it: send `interaction.updated` with the whole of it."""
        now = self._now()
        item = self.items[external_id]
        item.setdefault("published_at", now)
        item.update(changes, edited_at=now)
        return self.send(self.event("interaction.updated", item))

    def delete(self, external_id: str, by: str = "author") -> str:
        """It is gone: send `interaction.deleted`."""
        self.items.pop(external_id, None)
        return self.send(self.event("interaction.deleted", {"external_id": external_id, "by": by}))

    def reply_status(self, external_id: str, state: str, reason: str | None = None) -> str:
        """News of a reply that was taken: send `reply.status`."""
        return self.send(self.event("reply.status", {"external_id": external_id, "state": state, "reason": reason}))

    def batch(self, events: Sequence[Any]) -> str:
        """Send many events in one webhook."""
        return self.send({"type": "batch", "data": list(events)})

    def event(self, type: str, data: Mapping[str, Any]) -> Json:
        """One event as it stands in a webhook's body."""
        return {"type": type, "timestamp": self._now(), "data": dict(data)}

    def send(self, document: Json) -> str:
        """Sign and send a body soon. Every try has the same id and bytes, and a signature of its own time."""
        message_id = f"msg_{uuid4().hex}"
        body = json.dumps(document, ensure_ascii=False).encode("utf-8")

        def build() -> tuple[str, dict[str, str], bytes]:
            headers = sign_standard(self.signing_secret, message_id, self.time.now(), body)
            return self.door, {**headers, "content-type": "application/json"}, body

        self.emit(build)
        return message_id

    async def _receive(self, request: Request) -> Response:
        body = await request.body()
        try:
            try:
                message_id = verify_standard(
                    request.headers.get, body, [self.reply_secret], self.time.now(), self.tolerance
                )
            except Unverified as error:
                raise _Refused(401, error.reason) from error
            type_, data = _read(body)
            content = (type_, json.dumps(data, sort_keys=True))
            taken = self._taken.get(message_id) if self.manners.dedupes else None
            if taken is not None:
                return self._again(taken, content)
            answer = self._take(type_, data, message_id)
        except _Refused as refused:
            return JSONResponse(
                {"type": "about:blank", "status": refused.status, "detail": refused.detail},
                refused.status,
                media_type="application/problem+json",
            )
        status = 200 if self.manners.names_replies else 204
        self._taken[message_id] = _Taken(content, status, answer)
        return _accepted(status, answer)

    def _again(self, taken: _Taken, content: tuple[str, str]) -> Response:
        if taken.content != content:
            raise _Refused(409, "this webhook-id was used for another message")
        if self.manners.conflict_on_repeat:
            return JSONResponse(taken.body if self.manners.names_replies else {}, 409)
        return _accepted(taken.status, taken.body)

    def _take(self, type_: str, data: Json, message_id: str) -> Json:
        match type_:
            case "reply.created":
                return self._create(data, message_id)
            case "reply.updated":
                external_id = self._known(data)
                self.replies[external_id]["text"] = self._text(data)
                self.effect(type_, external_id, text=data["text"])
            case "reply.deleted":
                external_id = self._known(data)
                del self.replies[external_id]
                self.effect(type_, external_id)
            case _:
                raise _Refused(400, f"type: {type_} is unknown here")
        return {"external_id": external_id}

    def _create(self, data: Json, message_id: str) -> Json:
        text = self._text(data)
        if data.get("account") != self.account:
            raise _Refused(422, f"data.account: {data.get('account')} is not known here")
        if data.get("visibility") not in ("public", "private"):
            raise _Refused(400, "data.visibility: expected public or private")
        parent = data.get("in_reply_to")
        if parent not in self.items:
            raise _Refused(422, f"data.in_reply_to: {parent} is not here, or was deleted")
        external_id = f"reply-{next(self._numbers)}" if self.manners.names_replies else message_id
        if self.manners.one_slot:
            for other in [id for id, reply in self.replies.items() if reply["in_reply_to"] == parent]:
                del self.replies[other]
                self.effect("reply.replaced", other)
        self.replies[external_id] = {**data, "text": text}
        self.effect("reply.created", external_id, webhook_id=message_id, reply=data)
        if self.manners.echoes:
            self.push(
                {
                    "external_id": external_id,
                    "kind": "comment",
                    "visibility": data["visibility"],
                    "author": {"external_id": self.manners.own_author},
                    "text": text,
                    "in_reply_to": parent,
                    "root": data.get("root"),
                }
            )
        return {"external_id": external_id, "url": f"https://forum.example/t/{external_id}"}

    def _text(self, data: Json) -> str:
        text = data.get("text")
        if not isinstance(text, str) or not text.strip():
            raise _Refused(400, "data.text: required")
        if self.manners.text_limit is not None and len(text) > self.manners.text_limit:
            raise _Refused(422, f"data.text: longer than {self.manners.text_limit} characters")
        return text

    def _known(self, data: Json) -> str:
        external_id = data.get("external_id")
        if not isinstance(external_id, str) or external_id not in self.replies:
            raise _Refused(422, f"data.external_id: {external_id} is no reply here")
        return external_id

    def _now(self) -> str:
        return self.time.now().astimezone(UTC).isoformat().replace("+00:00", "Z")


def _read(body: bytes) -> tuple[str, Json]:
    try:
        document = json.loads(body)
    except ValueError as error:
        raise _Refused(400, "the body is not JSON") from error
    if not isinstance(document, dict) or not isinstance(document.get("data"), dict):
        raise _Refused(400, "data: required")
    if not isinstance(document.get("type"), str) or not isinstance(document.get("timestamp"), str):
        raise _Refused(400, "type and timestamp: required")
    return document["type"], document["data"]


def _accepted(status: int, body: Json) -> Response:
    return Response(status_code=204) if status == 204 else JSONResponse(body, status)
