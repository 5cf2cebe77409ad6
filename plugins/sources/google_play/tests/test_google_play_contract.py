"""The plugin keeps the contract: the conformance kit, with people acting at the twin."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path
from typing import Any

from gateway_google_play.names import reply_id
from gateway_google_play.plugin import GooglePlaySource
from gateway_google_play.twin import PlayTwin
from gateway_schemas.testing.adapters import Answer, NotOffered, SourceAdapter
from gateway_schemas.testing.source_contract import SourceContract
from gateway_schemas.time import TimeSource

PACKAGE = "com.acme.app"


class PlayAdapter(SourceAdapter[PlayTwin]):
    """Google Play with one app."""

    publishing = ("POST", ":reply$")
    reading = ("GET", "/reviews")
    many = 210
    names_authors = False
    dates = "last"
    wording = 'Sorry & thanks, Ärger "tut" uns leid: 5 > 4 👍🏽\nSecond line: https://example.com/help?a=1&b=2'
    deletions = "asked"

    def __init__(self, time: TimeSource) -> None:
        self.twin = PlayTwin(time=time)
        self.twin.wire.reads = self.twin.wire.writes = None
        self.twin.add_app(PACKAGE, "Acme")

    def config(self) -> dict[str, Any]:
        return self.twin.connection_config(PACKAGE)

    def app(self) -> dict[str, Any]:
        return self.twin.app_config()

    def revoke(self) -> None:
        self.twin.revoke()

    def write(self, text: str, *, private: bool = False) -> str:
        if private:
            raise NotOffered("reviews are never private")
        return self.twin.review(PACKAGE, "Ana P.", 2, text)

    def edit(self, id: str, text: str) -> None:
        self.twin.edit(id, text=text)

    def delete(self, id: str) -> None:
        self.twin.delete(id)

    def brand_writes(self, text: str, to: str | None = None) -> str:
        if to is None:
            raise NotOffered("developers write below reviews only")
        self.twin.owner_reply(to, text)
        return reply_id(to, text)

    def write_late(self, text: str, by: timedelta) -> str:
        return self.twin.review(PACKAGE, "Ana P.", 2, text, at=self.twin.time.now() - by)

    def shows_after(self, lag: timedelta) -> None:
        self.twin.reply_lag = lag

    def answers(self) -> list[Answer]:
        held = dict(self.twin.replies_made())  # the slot's last text alone is there
        return [Answer(reply_id(ref, text), text, ref) for ref, text in held.items() if self.twin.reply_of(ref) == text]


class TestGooglePlay(SourceContract):
    """Google Play."""

    plugin = GooglePlaySource
    fixtures = Path(__file__).parents[1] / "fixtures"
    adapter = PlayAdapter
