"""The plugin keeps the contract: the conformance kit, with people acting at the twin."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path
from typing import Any

from gateway_schemas.testing.adapters import Answer, SourceAdapter
from gateway_schemas.testing.source_contract import SourceContract
from gateway_schemas.time import TimeSource
from gateway_x.plugin import XSource
from gateway_x.twin import XTwin

BRAND, RITA = "AcmeSupport", "rita_ex"


class XAdapter(SourceAdapter[XTwin]):
    """X with a brand, and a customer who mentions it."""

    publishing = ("POST", "/2/tweets$")
    messaging = ("POST", "/2/dm_conversations/.*messages$")
    many = 210
    deletions = "asked"
    rereads = 20  # messages: X gives the newest only
    shows_within = timedelta(seconds=45)

    def __init__(self, time: TimeSource) -> None:
        self.twin = XTwin(time=time, limits=False)
        self.twin.add_brand(BRAND)
        self.twin.add_user(RITA)

    def config(self) -> dict[str, Any]:
        return self.twin.connection_config(BRAND)

    def app(self) -> dict[str, Any]:
        return self.twin.app_config()

    def revoke(self) -> None:
        self.twin.revoke(BRAND)

    def write(self, text: str, *, private: bool = False) -> str:
        return self.twin.direct_message(RITA, BRAND, text) if private else self.twin.post(RITA, f"@{BRAND} {text}")

    def reply(self, to: str, text: str) -> str:
        return self.twin.post(RITA, f"@{BRAND} {text}", in_reply_to=to)

    def edit(self, id: str, text: str) -> None:
        self.twin.edit(id, f"@{BRAND} {text}")

    def delete(self, id: str) -> None:
        self.twin.delete(id)

    def brand_writes(self, text: str, to: str | None = None) -> str:
        return self.twin.post(BRAND, text, in_reply_to=to)

    def write_late(self, text: str, by: timedelta) -> str:
        return self.twin.post(RITA, f"@{BRAND} {text}", at=self.twin.time.now() - by)

    def shows_after(self, lag: timedelta) -> None:
        self.twin.visibility_lag = lag

    def answers(self) -> list[Answer]:
        posts = [Answer(post.id, post.written, post.in_reply_to) for post in self.twin.published(BRAND) if post.by_api]
        messages = [
            Answer(message.id, message.text, private=True)
            for message in self.twin.messages_from(BRAND)
            if message.by_api
        ]
        return posts + messages


class TestX(SourceContract):
    """X."""

    plugin = XSource
    fixtures = Path(__file__).parents[1] / "fixtures"
    adapter = XAdapter
    proves_challenges = True
    signs_time = False  # X signs the body alone
