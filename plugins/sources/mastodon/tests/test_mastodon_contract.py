"""The plugin keeps the contract: the conformance kit, with people acting at the twin."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path
from typing import Any

from gateway_mastodon.plugin import MastodonSource
from gateway_mastodon.twin import MastodonTwin
from gateway_schemas.testing.adapters import Answer, SourceAdapter
from gateway_schemas.testing.source_contract import SourceContract
from gateway_schemas.time import TimeSource

BRAND, RITA, HOME = "support", "rita@example.social", "masto.acme.example"
NAMED = f"@{BRAND}@{HOME}"


class MastodonAdapter(SourceAdapter[MastodonTwin]):
    """A server with a brand, and a customer at another one who mentions it."""

    publishing = ("POST", "/api/v1/statuses$")
    many = 170
    addressing = len("@rita ")
    deletions = "asked"

    def __init__(self, time: TimeSource) -> None:
        self.twin = MastodonTwin(time=time, limits=False)
        self.twin.add_brand(BRAND)
        self.twin.add_user(RITA)

    def config(self) -> dict[str, Any]:
        return self.twin.connection_config(BRAND)

    def revoke(self) -> None:
        self.twin.revoke(BRAND)

    def write(self, text: str, *, private: bool = False) -> str:
        id = self.twin.post(RITA, f"{NAMED} {text}", visibility="direct" if private else "public")
        return f"{HOME}/{id}"

    def reply(self, to: str, text: str) -> str:
        parent = self.twin.state.posts[_id(to)]
        return f"{HOME}/{self.twin.post(RITA, f'{NAMED} {text}', parent.id, visibility=parent.visibility)}"

    def edit(self, id: str, text: str) -> None:
        self.twin.edit(_id(id), f"{NAMED} {text}")

    def delete(self, id: str) -> None:
        self.twin.delete(_id(id))

    def brand_writes(self, text: str, to: str | None = None) -> str:
        return f"{HOME}/{self.twin.post(BRAND, text, _id(to) if to else None)}"

    def write_late(self, text: str, by: timedelta) -> str:
        return f"{HOME}/{self.twin.post(RITA, f'{NAMED} {text}', at=self.twin.time.now() - by)}"

    def answers(self) -> list[Answer]:
        posts = [*self.twin.published(BRAND), *self.twin.messages_from(BRAND)]
        return [
            Answer(
                f"{HOME}/{post.id}",
                post.text.removeprefix(f"@{RITA} "),
                f"{HOME}/{post.in_reply_to}" if post.in_reply_to else None,
                private=post.visibility in ("private", "direct"),
            )
            for post in posts
            if post.by_api
        ]


def _id(ref: str) -> str:
    return ref.partition("/")[2]


class TestMastodon(SourceContract):
    """Mastodon."""

    plugin = MastodonSource
    fixtures = Path(__file__).parents[1] / "fixtures"
    adapter = MastodonAdapter
