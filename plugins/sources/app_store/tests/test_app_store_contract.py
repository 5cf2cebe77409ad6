"""The plugin keeps the contract: the conformance kit, with people acting at the twin."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path
from typing import Any

from gateway_app_store.plugin import AppStoreSource
from gateway_app_store.twin import AppStoreTwin
from gateway_schemas.testing.adapters import Answer, NotOffered, SourceAdapter
from gateway_schemas.testing.source_contract import SourceContract
from gateway_schemas.time import TimeSource

APP = "123"


class AppStoreAdapter(SourceAdapter[AppStoreTwin]):
    """App Store Connect with one app."""

    publishing = ("POST", "/customerReviewResponses$")
    reading = ("GET", "/customerReview")
    many = 410
    names_authors = False
    dates = "last"
    deletions = "asked"

    def __init__(self, time: TimeSource) -> None:
        self.twin = AppStoreTwin(time=time)
        self.twin.wire.limit = 10**6
        self.twin.add_app(APP, "Acme")

    def config(self) -> dict[str, Any]:
        return self.twin.connection_config(APP)

    def app(self) -> dict[str, Any]:
        return self.twin.app_config()

    def revoke(self) -> None:
        self.twin.revoke()

    def write(self, text: str, *, private: bool = False) -> str:
        if private:
            raise NotOffered("reviews are never private")
        return self.twin.review(APP, "walrus_77", 2, text)

    def edit(self, id: str, text: str) -> None:
        self.twin.edit(id, body=text)

    def delete(self, id: str) -> None:
        self.twin.delete(id)

    def brand_writes(self, text: str, to: str | None = None) -> str:
        if to is None:
            raise NotOffered("developers write below reviews only")
        return self.twin.owner_response(to, text)

    def write_late(self, text: str, by: timedelta) -> str:
        return self.twin.review(APP, "walrus_77", 2, text, at=self.twin.time.now() - by)

    def shows_after(self, lag: timedelta) -> None:
        self.twin.response_lag = lag

    def answers(self) -> list[Answer]:
        found = []
        for ref in dict(self.twin.responses_made()):  # the slot's last text alone is there
            review = self.twin.find(ref)
            response = review.response(self.twin.time.now()) if review else None
            if response is not None and response.by == "api":
                found.append(Answer(response.id, response.text, ref))
        return found


class TestAppStore(SourceContract):
    """The App Store."""

    plugin = AppStoreSource
    fixtures = Path(__file__).parents[1] / "fixtures"
    adapter = AppStoreAdapter
