"""A local Google Business Profile: reviews and replies, accounts and locations, notifications, tokens and keys.

    twin = GoogleTwin(time=time)
    twin.add_account("1122", "Acme")
    twin.add_location("1122", "3344", "Acme Berlin")
    async with twin.serve():
        ...  # an App with twin.app_config(), a connection with twin.connection_config("1122"), then install
        review = twin.review("3344", "Ana P.", 2, "Friendly, but very slow.")
        await twin.settle()
        assert twin.reply_of(review) == "We are working on it."

All APIs are under one address, each in a folder named like its host. What changes while somebody pages moves to the
front, and page tokens hold for the parameters they were given with. Nobody is told of deletions, nor of replies.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Any, Literal

from starlette.routing import BaseRoute

from gateway_google_business.twin_business import BusinessEndpoints
from gateway_google_business.twin_http import BUSINESS, CLOUD, Wire
from gateway_google_business.twin_push import Keys, Pusher
from gateway_google_business.twin_reviews import ReviewEndpoints
from gateway_google_business.twin_state import (
    Json,
    State,
    TwinAccount,
    TwinLocation,
    TwinMedia,
    TwinReply,
    TwinReview,
    TwinTopic,
    TwinUser,
    Version,
    iso,
)
from gateway_schemas.testing.rehearsal import Channel, Rehearsal
from gateway_schemas.testing.twin import Twin
from gateway_schemas.time import SystemTime, TimeSource

__all__ = ["GoogleTwin", "TwinMedia"]

Moderation = Literal["approve", "wait", "off"]


class GoogleTwin(Twin):
    """Google on loopback. Attributes that make trouble may be changed at any time."""

    name = "google_business"
    actions = ("review", "delete", "owner_reply", "owner_unreply", "moderate", "revoke", "expire_tokens")

    def __init__(self, *, time: TimeSource | None = None, seed: int = 0) -> None:
        source = time or SystemTime()
        self.state = State(source)
        self.client_id = "1234567890-twin.apps.googleusercontent.com"
        self.client_secret = "twin-client-secret"
        self.project = "acme-twin"
        self.quota: int | None = 300
        """Requests a minute for each API; 0 for a project that is not approved, None for no limit."""
        self.edits: int | None = 10
        """Edits a minute for each location."""
        self.disabled: set[str] = set()
        """APIs that are not enabled for the project."""
        self.list_lag = timedelta()
        """How long after it happened a change is listed."""
        self.read_lag = timedelta()
        """How long after it happened a change is seen in a single review."""
        self.reply_lag = timedelta()
        """How long after it was written a reply is seen."""
        self.moderation: Moderation = "approve"
        """Whether replies are approved once looked at, wait for `moderate`, or have no state, as before 2026."""
        self.batch_order: Literal["time", "grouped"] = "time"
        """How batchGetReviews orders several locations, which Google does not document: all by time, or one by one."""
        self.pictures: dict[str, tuple[bytes, str]] = {}
        self.page_epoch = 0
        self.keys = Keys()
        self.wire = Wire(self)
        self.pusher = Pusher(self)
        self.review_endpoints = ReviewEndpoints(self)
        self.business = BusinessEndpoints(self, source)
        super().__init__(time=source, seed=seed)

    def routes(self) -> Sequence[BaseRoute]:
        """Google's endpoints."""
        return [*self.review_endpoints.routes(), *self.business.routes()]

    def furnish(self) -> Json:
        """The account 100 with one place 200, and a review to answer."""
        self.add_account("100", "Acme")
        self.add_location("100", "200", "Acme Springfield")
        self.review("200", "Rita Example", 2, "They never called back.")
        return {"app": self.app_config(), "config": self.connection_config("100")}

    def rehearsal(self) -> Rehearsal:
        """Customers review the place 200 of the account 100."""
        self.add_account("100", "Acme")
        self.add_location("100", "200", "Acme Springfield")
        channel = Channel(
            "Acme Springfield",
            self.connection_config("100"),
            write=lambda text: self.review("200", "Rita Example", 2, text),
            answers=self.replies_made,
        )
        return Rehearsal([channel], self.app_config())

    # who there is

    def add_user(self, name: str = "owner", *, cloud: bool = False) -> TwinUser:
        """Somebody who has authorised the App; with `cloud` also for the project's Pub/Sub."""
        scopes = {BUSINESS, CLOUD} if cloud else {BUSINESS}
        user = self.state.users.setdefault(name, TwinUser(name, f"1//twin-refresh-{name}", scopes))
        return user

    def add_account(self, id: str, name: str, *, user: str = "owner", type: str = "LOCATION_GROUP") -> TwinAccount:
        """An account of a user's."""
        self.add_user(user)
        account = self.state.accounts[id] = TwinAccount(id, name, user, type)
        return account

    def add_location(self, account: str, id: str, title: str, *, verified: bool = True) -> TwinLocation:
        """A location of an account's; once more for another account that reaches it too."""
        place = self.state.locations.setdefault(id, TwinLocation(id, title, verified, set()))
        place.accounts.add(account)
        return place

    def add_topic(self, name: str, *, open: bool = True) -> TwinTopic:
        """A Pub/Sub topic, on which Google may publish or not."""
        topic = self.state.topics[name] = TwinTopic(name, open)
        return topic

    def subscribe(self, topic: str, endpoint: str, email: str, audience: str | None = None) -> str:
        """A push subscription of a topic, as its project's owner makes it; returns its name."""
        known = self.state.topics[topic]
        name = f"{topic.partition('/topics/')[0]}/subscriptions/push-{len(known.subscriptions) + 1}"
        token = {"serviceAccountEmail": email} | ({"audience": audience} if audience else {})
        known.subscriptions[name] = {"pushEndpoint": endpoint, "oidcToken": token}
        return name

    def sign_in(self, user: str | None) -> None:
        """Who is signed in, in the browser that comes to the consent page."""
        self.business.server.person = user

    def revoke(self, user: str = "owner") -> None:
        """A user takes the App's access away: all of their tokens stop."""
        self.state.users[user].refresh_token = ""
        self.expire_tokens(user)

    def expire_tokens(self, user: str = "owner") -> None:
        """A user's access tokens stop."""
        self.state.tokens = {token: held for token, held in self.state.tokens.items() if held[0] != user}

    def expire_page_tokens(self) -> None:
        """No page token given so far is taken any more."""
        self.page_epoch += 1

    # what people do

    def review(
        self,
        location: str,
        reviewer: str,
        stars: int | None,
        comment: str | None = None,
        *,
        at: datetime | None = None,
        anonymous: bool = False,
        media: Sequence[TwinMedia] = (),
        quiet: bool = False,
    ) -> str:
        """Somebody reviews a location; returns the review's external id. `quiet` ones are there without any news."""
        now = self.time.now()
        place = self.state.locations[location]
        review = TwinReview(location, self.state.new_review_id(), reviewer, anonymous, at or now)
        review.versions.append((at or now, Version(stars, comment, tuple(media), at or now)))
        place.reviews[review.id] = review
        if not quiet:
            self.effect("review", review.ref, stars=stars, comment=comment)
            self.pusher.tell(review, "NEW_REVIEW")
        return review.ref

    def picture(self, body: bytes, label: str | None = None, media_type: str = "image/jpeg") -> TwinMedia:
        """A picture for `review(…, media=…)`, which can be fetched while the twin is served."""
        name = f"AF1QipTwin{len(self.pictures)}"
        self.pictures[name] = (body, media_type)
        return TwinMedia(f"{self.url}/lh3.googleusercontent.com/p/{name}=s300", label)

    def edit(self, ref: str, **changes: Any) -> None:
        """The author changes `stars`, `comment` or `media`."""
        review = self.state.review(ref)
        self.state.change(review, **changes)
        self.effect("edit", ref, **changes)
        self.pusher.tell(review, "UPDATED_REVIEW")

    def delete(self, ref: str) -> None:
        """The author, or Google, takes a review down. Nobody is told."""
        self.state.add_version(self.state.review(ref), None)
        self.effect("delete", ref)

    def owner_reply(self, ref: str, text: str) -> None:
        """Somebody answers at Google itself. It neither moves the review to the front nor is anybody told."""
        reply = self.put_reply(self.state.review(ref), text, by="app")
        reply.state = "APPROVED" if self.moderation != "off" else None

    def owner_unreply(self, ref: str) -> None:
        """Somebody deletes the reply at Google itself."""
        self.remove_reply(self.state.review(ref), by="app")

    def moderate(self, ref: str, state: Literal["APPROVED", "REJECTED"], violation: str | None = None) -> None:
        """Google's review of a reply ends."""
        reply = self.state.review(ref).reply(self.time.now())
        if reply is None:
            raise KeyError(f"{ref} has no reply")
        reply.state, reply.violation = state, violation
        self.effect("moderated", ref, state=state, violation=violation)

    # what both people and the API do

    def put_reply(self, review: TwinReview, text: str, *, by: str) -> TwinReply:
        """Fill a review's slot, whatever it holds."""
        now = self.time.now()
        before = review.reply(now)
        reply = TwinReply(text, now, by, "PENDING" if self.moderation != "off" else None)
        review.replies.append((now, reply))
        self.effect("reply", review.ref, text=text, by=by, replaced=before.comment if before else None)
        return reply

    def remove_reply(self, review: TwinReview, *, by: str) -> None:
        """Empty a review's slot."""
        review.replies.append((self.time.now(), None))
        self.effect("reply_deleted", review.ref, by=by)

    def shown_reply(self, reply: TwinReply, *, at_once: bool = False) -> Json:
        """A reply as the API shows it; the answer to its own making is too early for any review of it."""
        if not at_once and reply.state == "PENDING" and self.moderation == "approve":
            reply.state = "APPROVED"
        found: Json = {"comment": reply.comment, "updateTime": iso(reply.updated_at)}
        if reply.state is not None:
            found["reviewReplyState"] = reply.state
        if reply.state == "REJECTED" and reply.violation:
            found["policyViolation"] = reply.violation
        return found

    # for tests and the demo

    def reply_of(self, ref: str) -> str | None:
        """The text in a review's slot."""
        reply = self.state.review(ref).reply(self.time.now())
        return reply.comment if reply else None

    def replies_made(self, by: str = "api") -> list[tuple[str, str]]:
        """Review and text of every reply made, in order."""
        made = [effect for effect in self.ledger if effect.kind == "reply" and effect.data["by"] == by]
        return [(effect.id, str(effect.data["text"])) for effect in made]

    def app_config(self, **changes: Any) -> Json:
        """An App configuration that this twin accepts; call it while the twin is served."""
        return {"client_id": self.client_id, "client_secret": self.client_secret, "base_url": self.url, **changes}

    def connection_config(self, account: str, **changes: Any) -> Json:
        """A connection configuration for one of the twin's accounts."""
        user = self.state.users[self.state.accounts[account].user]
        return {"account_id": account, "refresh_token": user.refresh_token, **changes}

    def snapshot(self) -> Json:
        """Locations with their newest reviews, and what accounts are told."""
        now = self.time.now()
        return {
            "accounts": [
                {"id": one.id, "name": one.name, "topic": one.topic, "types": one.types}
                for one in self.state.accounts.values()
            ],
            "locations": [
                {
                    "id": place.id,
                    "title": place.title,
                    "reviews": [
                        self.review_endpoints.shown(review, min(place.accounts), now)
                        for review in list(place.reviews.values())[-50:]
                        if review.version(now) is not None
                    ],
                }
                for place in self.state.locations.values()
            ],
        }
