"""A local App Store Connect: an app's customer reviews, the one response of each, keys that really sign.

    twin = AppStoreTwin(time=time)
    twin.add_app("123", "Acme")
    async with twin.serve():
        ...  # an App with twin.app_config(), a connection with twin.connection_config("123")
        review = twin.review("123", "walrus_77", 2, "Since the last update nothing syncs.", title="Sync broken")
        assert twin.response_of(review) == "Please update to 5.1."

Nobody is told of anything. An edited review is dated by the edit and keeps its id, or gets a new one with `new_ids`:
Apple documents neither.
"""

from __future__ import annotations

import hashlib
import uuid
from collections.abc import Iterator, Sequence
from datetime import datetime, timedelta
from typing import Any

from starlette.routing import BaseRoute

from gateway_app_store.twin_http import Json, Key, Wire
from gateway_app_store.twin_reviews import Endpoints, TwinResponse, TwinReview, Version, changed
from gateway_schemas.testing.rehearsal import Channel, Rehearsal
from gateway_schemas.testing.twin import Twin
from gateway_schemas.time import SystemTime, TimeSource

__all__ = ["AppStoreTwin"]

ISSUER = "57246542-96fe-1a63-e053-0824d011072a"


class AppStoreTwin(Twin):
    """App Store Connect on loopback. Attributes that make trouble may be changed at any time."""

    name = "app_store"
    actions = (
        "review",
        "delete",
        "owner_response",
        "owner_unresponse",
        "revoke",
    )

    def __init__(self, *, time: TimeSource | None = None, seed: int = 0) -> None:
        source = time or SystemTime()
        self.wire = Wire(source)
        """`limit` and `agreements` may be changed."""
        self.list_lag = timedelta()
        """How long after it happened a change is listed."""
        self.read_lag = timedelta()
        """How long after it happened a change is seen in a single review."""
        self.response_lag = timedelta()
        """How long after it was written a response is seen with its review."""
        self.publish_lag = timedelta()
        """How long after it was written a response is published."""
        self.new_ids = False
        """Whether an edited review is another one, with a new id."""
        self.page_epoch = 0
        self.titles: dict[str, str] = {}
        self._reviews: dict[str, TwinReview] = {}
        self._made = 0
        self.endpoints = Endpoints(self)
        super().__init__(time=source, seed=seed)
        self.key = self.wire.add_key("2X9R4HXF34", ISSUER)

    def routes(self) -> Sequence[BaseRoute]:
        """Apple's endpoints."""
        return self.endpoints.routes()

    # who there is

    def add_app(self, id: str, name: str) -> str:
        """An app of the key's team; returns its Apple ID."""
        self.titles[id] = name
        return id

    def individual_key(self, id: str = "9Z8Y7X6W5V") -> Key:
        """A key of a person, who has no issuer id."""
        return self.wire.add_key(id, None)

    def revoke(self) -> None:
        """The key is revoked."""
        self.key.revoked = True

    def expire_page_tokens(self) -> None:
        """No page's cursor given so far is taken any more."""
        self.page_epoch += 1

    # what people do

    def review(
        self,
        app: str,
        nickname: str,
        stars: int,
        body: str = "",
        *,
        title: str = "",
        territory: str = "USA",
        at: datetime | None = None,
        quiet: bool = False,
    ) -> str:
        """Somebody reviews an app; returns the review's id."""
        if app not in self.titles:
            raise KeyError(app)
        when = at or self.time.now()
        review = TwinReview(app, self._new_id("review"), nickname, territory)
        review.versions.append((when, Version(stars, title, body, when)))
        self._reviews[review.id] = review
        if not quiet:
            self.effect("review", review.id, stars=stars, title=title, body=body)
        return review.id

    def edit(self, ref: str, **changes: Any) -> str:
        """The author changes `stars`, `title` or `body`; returns the id that it has now."""
        review, now = self._reviews[ref], self.time.now()
        last = review.version(now)
        if last is None:
            raise KeyError(f"{ref} is deleted")
        self.effect("edit", ref, **changes)
        if not self.new_ids:
            review.versions.append((now, changed(last, now, **changes)))
            return ref
        review.versions.append((now, None))
        other = TwinReview(review.app, self._new_id("review"), review.nickname, review.territory)
        other.versions.append((now, changed(last, now, **changes)))
        self._reviews[other.id] = other
        return other.id

    def delete(self, ref: str) -> None:
        """The author, or Apple, takes a review down. Nobody is told."""
        self._reviews[ref].versions.append((self.time.now(), None))
        self.effect("delete", ref)

    def owner_response(self, ref: str, text: str) -> str:
        """Somebody answers in App Store Connect; returns the response's id."""
        return self.put_response(self._reviews[ref], text, by="connect").id

    def owner_unresponse(self, ref: str) -> None:
        """Somebody deletes the response in App Store Connect."""
        self.remove_response(self._reviews[ref], by="connect")

    # what both people and the API do

    def put_response(self, review: TwinReview, text: str, *, by: str) -> TwinResponse:
        """Fill a review's slot; what is there is overwritten and keeps its id."""
        now = self.time.now()
        before = review.response(now)
        id = before.id if before else self._new_id("response")
        response = TwinResponse(id, text, now, by, before.first if before else now)
        review.responses.append((now, response))
        self.effect("response", review.id, text=text, by=by, replaced=before.text if before else None)
        return response

    def remove_response(self, review: TwinReview, *, by: str) -> None:
        """Empty a review's slot."""
        review.responses.append((self.time.now(), None))
        self.effect("response_deleted", review.id, by=by)

    def reviews_of(self, app: str) -> Iterator[TwinReview]:
        """All of an app's reviews."""
        return (one for one in self._reviews.values() if one.app == app)

    def find(self, id: str) -> TwinReview | None:
        """A review by its id."""
        return self._reviews.get(id)

    def holding(self, response_id: str) -> TwinReview | None:
        """The review in whose slot a response is."""
        now = self.time.now()
        there = ((one, one.response(now)) for one in self._reviews.values())
        return next((one for one, response in there if response is not None and response.id == response_id), None)

    # for tests and the demo

    def response_of(self, ref: str) -> str | None:
        """The text in a review's slot."""
        response = self._reviews[ref].response(self.time.now())
        return response.text if response else None

    def responses_made(self, by: str = "api") -> list[tuple[str, str]]:
        """Review and text of every response made, in order."""
        made = [effect for effect in self.ledger if effect.kind == "response" and effect.data["by"] == by]
        return [(effect.id, str(effect.data["text"])) for effect in made]

    def app_config(self, key: Key | None = None, **changes: Any) -> Json:
        """An App configuration that this twin accepts; call it while the twin is served."""
        own = key or self.key
        return {
            "key_id": own.id,
            "issuer_id": own.issuer,
            "private_key": own.key.as_pem(private=True).decode(),
            "base_url": self.url or None,
            **changes,
        }

    def connection_config(self, app: str, **changes: Any) -> Json:
        """A connection configuration for one of the twin's apps."""
        return {"app_id": app, **changes}

    def furnish(self) -> dict[str, Any]:
        """The app 1234567890 and a review to answer."""
        self.add_app("1234567890", "Acme")
        self.review("1234567890", "Rita Example", 2, "It crashes.")
        return {"app": self.app_config(), "config": self.connection_config("1234567890")}

    def rehearsal(self) -> Rehearsal:
        """Customers review the app 1234567890."""
        app = self.add_app("1234567890", "Acme")
        channel = Channel(
            f"app {app}",
            self.connection_config(app),
            write=lambda text: self.review(app, "Rita Example", 2, text),
            answers=self.responses_made,
        )
        return Rehearsal([channel], self.app_config())

    def snapshot(self) -> Json:
        """Each app with its newest reviews."""
        now = self.time.now()
        found: Json = {}
        for app, title in self.titles.items():
            seen = [(one, one.version(now)) for one in self.reviews_of(app)]
            shown = [self.endpoints.shown(one, version) for one, version in seen if version is not None]
            for item in shown[-50:]:
                item["response"] = self.response_of(item["id"])
            found[app] = {"title": title, "reviews": shown[-50:]}
        return {"apps": found}

    def _new_id(self, kind: str) -> str:
        self._made += 1
        return str(uuid.UUID(bytes=hashlib.sha256(f"{kind} {self._made}".encode()).digest()[:16]))
