"""The plugin keeps the contract: the conformance kit, with people reviewing a location at the twin."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path
from typing import Any

from gateway_google_business.plugin import GoogleBusinessSource
from gateway_google_business.push import KEYS
from gateway_google_business.twin import GoogleTwin
from gateway_schemas.testing.adapters import Answer, NotOffered, SourceAdapter
from gateway_schemas.testing.source_contract import SourceContract
from gateway_schemas.time import TimeSource

ACCOUNT, PLACE = "1122", "3344"
TOPIC = "projects/acme-twin/topics/reviews"
EMAIL, AUDIENCE = "push@acme-twin.iam.gserviceaccount.com", "acme-gateway"


class GoogleAdapter(SourceAdapter[GoogleTwin]):
    """An account with one location, and its project's topic."""

    publishing = ("PUT", "/reply$")
    reading = ("GET|POST", r"/reviews|:batchGetReviews|/locations$")
    many = 130
    names_authors = False
    deletions = "asked"

    def __init__(self, time: TimeSource) -> None:
        self.twin = GoogleTwin(time=time)
        self.twin.quota = self.twin.edits = None
        self.twin.add_account(ACCOUNT, "Acme")
        self.twin.add_location(ACCOUNT, PLACE, "Acme Berlin")
        self.twin.add_topic(TOPIC)

    def config(self) -> dict[str, Any]:
        return self.twin.connection_config(ACCOUNT)

    def app(self) -> dict[str, Any]:
        return self.twin.app_config(pubsub_topic=TOPIC, push_audience=AUDIENCE, push_service_account=EMAIL)

    def keys(self) -> dict[str, Any]:
        return {KEYS: self.twin.keys.published()}

    def subscribe(self, door: str) -> None:
        if not self.twin.state.topics[TOPIC].subscriptions:
            self.twin.subscribe(TOPIC, door, EMAIL, AUDIENCE)

    def revoke(self) -> None:
        self.twin.revoke()

    def write(self, text: str, *, private: bool = False) -> str:
        if private:
            raise NotOffered("reviews are never private")
        return self.twin.review(PLACE, "Ana P.", 2, text)

    def edit(self, id: str, text: str) -> None:
        self.twin.edit(id, comment=text)

    def delete(self, id: str) -> None:
        self.twin.delete(id)

    def brand_writes(self, text: str, to: str | None = None) -> str:
        if to is None:
            raise NotOffered("the owner writes replies only")
        self.twin.owner_reply(to, text)
        return f"reply to {to}"

    def shows_after(self, lag: timedelta) -> None:
        self.twin.reply_lag = lag

    def answers(self) -> list[Answer]:
        place = self.twin.state.locations[PLACE]
        replies = [(review.ref, review.reply(self.twin.time.now())) for review in place.reviews.values()]
        return [Answer(ref, reply.comment, ref) for ref, reply in replies if reply is not None and reply.by == "api"]


class TestGoogleBusiness(SourceContract):
    """Google Business Profile."""

    plugin = GoogleBusinessSource
    fixtures = Path(__file__).parents[1] / "fixtures"
    adapter = GoogleAdapter
    signs_body = False  # Pub/Sub's token names the receiver, not the body; so a push only says what to look up
