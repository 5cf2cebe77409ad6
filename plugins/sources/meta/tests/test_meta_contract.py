"""The plugin keeps the contract: the conformance kit, with people acting at the twin, on a Page and on Instagram."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path
from typing import Any

from gateway_meta.plugin import MetaSource
from gateway_meta.twin import MetaTwin
from gateway_schemas.testing.adapters import Answer, NotOffered, SourceAdapter
from gateway_schemas.testing.source_contract import SourceContract, SourceTwinContract
from gateway_schemas.time import TimeSource

ACME, JO = "acme", "jo.sample"


class PageAdapter(SourceAdapter[MetaTwin]):
    """A Page with a post, and a customer who comments on it."""

    too_many = (400, b'{"error": {"message": "(#4) Application request limit reached", "code": 4}}')
    trouble = (500, b'{"error": {"message": "An unexpected error has occurred", "code": 2, "is_transient": true}}')
    publishing = ("POST", "/comments$")
    messaging = ("POST", "/messages$")
    many = 120

    def __init__(self, time: TimeSource) -> None:
        self.twin = MetaTwin(time=time)
        self.account()
        self.twin.add_user(JO, name="Jo Sample")
        self.ours = self.twin.post(ACME, "Our autumn colours")

    def account(self) -> None:
        """Make the brand's account."""
        self.twin.add_page(ACME, name="Acme")

    def config(self) -> dict[str, Any]:
        return self.twin.connection_config(ACME)

    def app(self) -> dict[str, Any]:
        return self.twin.app_config()

    def revoke(self) -> None:
        self.twin.revoke(ACME)

    def write(self, text: str, *, private: bool = False) -> str:
        return self.twin.direct_message(JO, ACME, text) if private else self.twin.post(JO, text, self.ours)

    def reply(self, to: str, text: str) -> str:
        return self.twin.post(JO, text, to)

    def edit(self, id: str, text: str) -> None:
        self.twin.edit(id, text)

    def delete(self, id: str) -> None:
        self.twin.delete(id)

    def brand_writes(self, text: str, to: str | None = None) -> str:
        return self.twin.post(ACME, text, to)

    def write_late(self, text: str, by: timedelta) -> str:
        return self.twin.post(JO, text, self.ours, at=self.twin.time.now() - by)

    def shows_after(self, lag: timedelta) -> None:
        self.twin.visibility_lag = lag

    def answers(self) -> list[Answer]:
        comments = [
            Answer(one.id, one.text, self.twin.answered.get(one.id, one.post))
            for one in self.twin.published(ACME)
            if one.by_api
        ]
        messages = [Answer(one.mid, one.text, private=True) for one in self.twin.messages_from(ACME) if one.by_api]
        return comments + messages


class InstagramAdapter(PageAdapter):
    """An Instagram account linked to a Page: comments are never changed, and their deletion is told to nobody."""

    publishing = ("POST", "/replies$")
    deletions = "asked"

    def account(self) -> None:
        self.twin.add_page("acme.page", name="Acme")
        self.twin.add_instagram(ACME, name="Acme", page="acme.page")

    def edit(self, id: str, text: str) -> None:
        if id not in self.twin.state.messages:
            raise NotOffered("nobody can change a comment on Instagram")
        super().edit(id, text)


class TestPage(SourceContract):
    """A Facebook Page."""

    plugin = MetaSource
    fixtures = Path(__file__).parents[1] / "fixtures"
    adapter = PageAdapter
    proves_challenges = True
    signs_time = False  # Meta signs the body alone


class TestInstagram(SourceTwinContract):
    """An Instagram account by Facebook Login: everything but the fixtures, which are the same."""

    plugin = MetaSource
    fixtures = Path(__file__).parents[1] / "fixtures"
    adapter = InstagramAdapter
    signs_time = False
