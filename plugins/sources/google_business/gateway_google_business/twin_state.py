"""What the twin remembers: people's accounts, locations, and reviews with every version they had.

Google's answers lag behind what people do, listings more than single reviews. So each change keeps its time, and every
endpoint looks at the state of some moment ago.
"""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from typing import Any

from gateway_schemas.time import TimeSource

STAR_NAMES = ("ONE", "TWO", "THREE", "FOUR", "FIVE")
Json = dict[str, Any]


def iso(at: datetime) -> str:
    """A time as Google writes it: in UTC, with as many digits as it needs."""
    return at.strftime("%Y-%m-%dT%H:%M:%S") + (f".{at.microsecond:06d}".rstrip("0") if at.microsecond else "") + "Z"


@dataclass(frozen=True)
class TwinMedia:
    """A picture or video of a review."""

    thumbnail_url: str
    label: str | None = None
    video_url: str | None = None


@dataclass(frozen=True)
class Version:
    """A review as its author left it at one time."""

    stars: int | None
    comment: str | None
    media: tuple[TwinMedia, ...]
    updated_at: datetime


@dataclass
class TwinReply:
    """The owner's reply, and what Google's review of it says."""

    comment: str
    updated_at: datetime
    by: str
    state: str | None = None
    violation: str | None = None


@dataclass
class TwinReview:
    """A review; None among its versions or replies stands for a deletion."""

    location: str
    id: str
    reviewer: str
    anonymous: bool
    created_at: datetime
    versions: list[tuple[datetime, Version | None]] = field(default_factory=list)
    replies: list[tuple[datetime, TwinReply | None]] = field(default_factory=list)

    @property
    def ref(self) -> str:
        """Its name without the account."""
        return f"locations/{self.location}/reviews/{self.id}"

    def version(self, now: datetime) -> Version | None:
        """The version that is seen at a time; None before it was written and after it was deleted."""
        return next((one for at, one in reversed(self.versions) if at <= now), None)

    def reply(self, now: datetime) -> TwinReply | None:
        """The reply that is seen at a time."""
        return next((one for at, one in reversed(self.replies) if at <= now), None)


@dataclass
class TwinLocation:
    """A location, which several accounts may reach."""

    id: str
    title: str
    verified: bool
    accounts: set[str]
    reviews: dict[str, TwinReview] = field(default_factory=dict)


@dataclass
class TwinAccount:
    """An account, with whoever may act for it."""

    id: str
    name: str
    user: str
    type: str = "LOCATION_GROUP"
    topic: str = ""
    types: list[str] = field(default_factory=list)


@dataclass
class TwinUser:
    """Somebody who can authorise an App."""

    name: str
    refresh_token: str
    scopes: set[str]
    consented: bool = False
    """Whether they have been asked before: Google then gives no refresh token without `prompt=consent`."""


@dataclass
class TwinTopic:
    """A Pub/Sub topic, with who may publish on it and where it is pushed to."""

    name: str
    open: bool
    subscriptions: dict[str, Json] = field(default_factory=dict)


class State:
    """Everything at the twin."""

    def __init__(self, time: TimeSource) -> None:
        self.time = time
        self.accounts: dict[str, TwinAccount] = {}
        self.locations: dict[str, TwinLocation] = {}
        self.users: dict[str, TwinUser] = {}
        self.tokens: dict[str, tuple[str, datetime]] = {}
        self.topics: dict[str, TwinTopic] = {}
        self._made = 0

    def new_review_id(self) -> str:
        """An opaque id like Google's."""
        self._made += 1
        digest = hashlib.sha256(str(self._made).encode()).digest()
        return "AbFvOq" + base64.urlsafe_b64encode(digest[:24]).decode().rstrip("=")

    def review(self, ref: str) -> TwinReview:
        """A review by its external id. Raises KeyError."""
        _, location, _, id = ref.split("/")
        return self.locations[location].reviews[id]

    def locations_of(self, account: str) -> Iterator[TwinLocation]:
        """The locations that an account reaches."""
        return (place for place in self.locations.values() if account in place.accounts)

    def add_version(self, review: TwinReview, version: Version | None) -> None:
        """Write a review's new version, or its deletion."""
        review.versions.append((self.time.now(), version))

    def change(self, review: TwinReview, **changes: Any) -> Version:
        """A new version of a review with some changes, written now. Raises KeyError for a deleted one."""
        now = self.time.now()
        last = review.version(now)
        if last is None:
            raise KeyError(f"{review.ref} is deleted")
        # updateTime is what listings are ordered by: two changes of one moment must not tie
        version = replace(last, **changes, updated_at=max(now, last.updated_at + timedelta(microseconds=1)))
        self.add_version(review, version)
        return version
