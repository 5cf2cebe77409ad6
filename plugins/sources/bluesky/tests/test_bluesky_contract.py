"""The plugin keeps the contract: the conformance kit, with people acting at the twin."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path
from typing import Any

from gateway_bluesky.names import message_ref
from gateway_bluesky.plugin import BlueskySource
from gateway_bluesky.twin import BlueskyTwin
from gateway_schemas.testing.adapters import Answer, SourceAdapter
from gateway_schemas.testing.source_contract import SourceContract
from gateway_schemas.time import TimeSource

BRAND, RITA = "acme.example.com", "rita.example.com"


class BlueskyAdapter(SourceAdapter[BlueskyTwin]):
    """A network with a brand, and a customer who mentions it."""

    publishing = ("POST", r"putRecord$")
    messaging = ("POST", r"sendMessage$")
    many = 210
    deletions = "asked"

    def __init__(self, time: TimeSource) -> None:
        self.twin = BlueskyTwin(time=time, limits=False)
        self.twin.add_brand(BRAND)
        self.twin.add_user(RITA)

    def config(self) -> dict[str, Any]:
        return self.twin.connection_config(BRAND)

    def revoke(self) -> None:
        self.twin.revoke(BRAND)

    def write(self, text: str, *, private: bool = False) -> str:
        if not private:
            return self.twin.post(RITA, f"@{BRAND} {text}")
        id = self.twin.direct_message(RITA, BRAND, text)
        return message_ref(self.twin.conversation(RITA, BRAND).id, id)

    def reply(self, to: str, text: str) -> str:
        return self.twin.post(RITA, f"@{BRAND} {text}", to)

    def edit(self, id: str, text: str) -> None:
        self.twin.edit(id, f"@{BRAND} {text}")

    def delete(self, id: str) -> None:
        self.twin.delete(id)

    def brand_writes(self, text: str, to: str | None = None) -> str:
        return self.twin.post(BRAND, text, to)

    def write_late(self, text: str, by: timedelta) -> str:
        return self.twin.post(RITA, f"@{BRAND} {text}", created_at=self.twin.time.now() - by)

    def shows_after(self, lag: timedelta) -> None:
        self.twin.index_lag = lag

    def answers(self) -> list[Answer]:
        posts = [
            Answer(
                record.uri,
                record.value["text"],
                (record.value.get("reply") or {}).get("parent", {}).get("uri"),
                links=_links(record.value),
            )
            for record in self.twin.published(BRAND)
            if record.by_api
        ]
        convo = self.twin.conversation(RITA, BRAND).id
        messages = [
            Answer(message_ref(convo, message.id), message.text, private=True)
            for message in self.twin.messages_from(BRAND)
            if message.by_api
        ]
        return posts + messages


def _links(record: dict[str, Any]) -> tuple[str, ...]:
    """What readers can tap: facets count bytes."""
    raw = record["text"].encode()
    places = [one["index"] for one in record.get("facets") or ()]
    return tuple(raw[one["byteStart"] : one["byteEnd"]].decode("utf-8", "replace") for one in places)


class TestBluesky(SourceContract):
    """Bluesky."""

    plugin = BlueskySource
    fixtures = Path(__file__).parents[1] / "fixtures"
    adapter = BlueskyAdapter
