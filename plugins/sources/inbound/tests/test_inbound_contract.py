"""The plugin keeps the contract: the conformance kit, with people writing on a forum that pushes and takes replies."""

from __future__ import annotations

import base64
from itertools import count
from pathlib import Path
from typing import Any, ClassVar

from gateway_inbound.source import InboundSource
from gateway_inbound.twin import InboundTwin
from gateway_schemas.testing.adapters import Answer, SourceAdapter
from gateway_schemas.testing.source_contract import SourceContract
from gateway_schemas.time import TimeSource

SIGNING = "whsec_" + base64.b64encode(b"the secret of the forum's webhooks").decode()
REPLY = "whsec_" + base64.b64encode(b"the secret of replies to the forum").decode()
LIMIT = 500


class ForumAdapter(SourceAdapter[InboundTwin]):
    """A forum whose customer is Rita."""

    publishing = ("POST", "/replies$")

    def __init__(self, time: TimeSource) -> None:
        self.twin = InboundTwin(signing_secret=SIGNING, reply_secret=REPLY, time=time)
        self.twin.manners.text_limit = LIMIT
        self.ids = count(1)

    def config(self) -> dict[str, Any]:
        return {
            "system": "The forum",
            "signing_secrets": [SIGNING],
            "own_authors": ["brand"],
            "reply_url": self.twin.reply_url,
            "reply_secret": REPLY,
            "text_limit": LIMIT,
        }

    def subscribe(self, door: str) -> None:
        self.twin.door = door

    def revoke(self) -> None:
        self.twin.reply_secret = SIGNING

    def write(self, text: str, *, private: bool = False) -> str:
        return self._push(text, "direct_message" if private else "comment", private=private)

    def reply(self, to: str, text: str) -> str:
        return self._push(text, "comment", in_reply_to=to)

    def edit(self, id: str, text: str) -> None:
        self.twin.edit(id, text=text)

    def delete(self, id: str) -> None:
        self.twin.delete(id)

    def brand_writes(self, text: str, to: str | None = None) -> str:
        return self._push(text, "comment", author="brand", in_reply_to=to)

    def answers(self) -> list[Answer]:
        return [
            Answer(id, reply["text"], reply["in_reply_to"], reply["visibility"] == "private")
            for id, reply in self.twin.replies.items()
        ]

    def _push(
        self, text: str, kind: str, *, author: str = "rita", private: bool = False, in_reply_to: str | None = None
    ) -> str:
        id = f"c-{next(self.ids)}"
        item = {
            "external_id": id,
            "kind": kind,
            "visibility": "private" if private else "public",
            "author": {"external_id": author},
            "text": text,
            "in_reply_to": in_reply_to,
            "published_at": self.twin._now(),
        }
        self.twin.push({name: value for name, value in item.items() if value is not None})
        return id


class TestInbound(SourceContract):
    """Any system, by webhook."""

    plugin = InboundSource
    fixtures = Path(__file__).parents[1] / "fixtures"
    adapter = ForumAdapter
    own_format = True
    proves_credentials = False  # a receiver of Standard Webhooks can be asked nothing that has no effect
    changed_secrets: ClassVar = {"signing_secrets": REPLY}
