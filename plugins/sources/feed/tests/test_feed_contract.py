"""The plugin keeps the contract: the conformance kit, with people acting at the twin."""

from __future__ import annotations

from datetime import timedelta
from html import escape
from pathlib import Path
from typing import Any

from gateway_feed.plugin import FeedSource
from gateway_feed.twin import FeedTwin
from gateway_schemas.testing.adapters import Answer, NotOffered, SourceAdapter
from gateway_schemas.testing.source_contract import SourceContract
from gateway_schemas.time import TimeSource

CREDENTIALS = "Bearer feed-secret"


class FeedAdapter(SourceAdapter[FeedTwin]):
    """The comments of a brand's blog, which is not public."""

    many = 60
    names_authors = False

    def __init__(self, time: TimeSource) -> None:
        self.twin = FeedTwin(time=time)
        self.twin.add_site("blog", "Acme's blog", listed=500).authorization = CREDENTIALS
        self.post = self.twin.post("blog", "Acme", "<p>Our new app is out.</p>", title="New app")

    def config(self) -> dict[str, Any]:
        return self.twin.connection_config(
            "blog", "comments.atom", kind="comment", own_authors=["Acme"], authorization=CREDENTIALS
        )

    def revoke(self) -> None:
        self.twin.site("blog").authorization = "another one"

    def write(self, text: str, *, private: bool = False) -> str:
        if private:
            raise NotOffered("feeds are never private")
        return self.twin.comment(self.post, "Rita", _markup(text))

    def reply(self, to: str, text: str) -> str:
        return self.twin.comment(to, "Rita", _markup(text))

    def edit(self, id: str, text: str) -> None:
        self.twin.edit(id, html=_markup(text))

    def delete(self, id: str) -> None:
        self.twin.delete(id)

    def brand_writes(self, text: str, to: str | None = None) -> str:
        return self.twin.comment(to or self.post, "Acme", _markup(text))

    def write_late(self, text: str, by: timedelta) -> str:
        return self.twin.comment(self.post, "Rita", _markup(text), at=self.twin.time.now() - by)

    def answers(self) -> list[Answer]:
        return []


def _markup(text: str) -> str:
    return f"<p>{escape(text)}</p>".replace("\n", "<br>")


class TestFeed(SourceContract):
    """RSS and Atom feeds."""

    plugin = FeedSource
    fixtures = Path(__file__).parents[1] / "fixtures"
    adapter = FeedAdapter
