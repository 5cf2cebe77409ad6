"""A local Google Play: an app's reviews of the last week, the one reply of each, service accounts and their quotas.

    twin = PlayTwin(time=time)
    twin.add_app("com.acme.app", "Acme")
    async with twin.serve():
        ...  # an App with twin.app_config(), a connection with twin.connection_config("com.acme.app")
        review = twin.review("com.acme.app", "Ana P.", 2, "Crashes whenever I open the camera")
        assert twin.reply_of(review) == "Fixed in 4.2.12, sorry!"

All APIs are under one address, each in a folder named like its host. Nobody is told of anything: reviews move to the
front of the list when their authors change them, and leave it a week later. Replies do not move them.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime, timedelta
from typing import Any

from starlette.routing import BaseRoute

from gateway_google_play.twin_http import Json, ServiceAccount, Wire
from gateway_google_play.twin_reviews import ReviewEndpoints, TwinReply, TwinReview, Version, changed, new_id
from gateway_schemas.testing.rehearsal import Channel, Rehearsal
from gateway_schemas.testing.twin import Twin
from gateway_schemas.time import SystemTime, TimeSource

__all__ = ["PlayTwin"]

DEVICE: Json = {
    "device": "oriole",
    "androidOsVersion": 36,
    "deviceMetadata": {
        "productName": "oriole (Pixel 6)",
        "manufacturer": "Google",
        "deviceClass": "FORM_FACTOR_PHONE",
        "screenWidthPx": 1080,
        "screenHeightPx": 2400,
        "nativePlatform": "ABI_ARM64_V8",
        "screenDensityDpi": 420,
        "glEsVersion": 196610,
        "cpuModel": "Tensor",
        "cpuMake": "Google",
        "ramMb": 8192,
    },
}


class PlayTwin(Twin):
    """Google Play on loopback. Attributes that make trouble may be changed at any time."""

    name = "google_play"
    actions = (
        "review",
        "rate",
        "delete",
        "owner_reply",
        "owner_unreply",
        "revoke",
        "expire_tokens",
    )

    def __init__(self, *, time: TimeSource | None = None, seed: int = 0) -> None:
        source = time or SystemTime()
        self.wire = Wire(source)
        """`reads`, `writes` and `disabled` may be changed."""
        self.list_lag = timedelta()
        """How long after it happened a change is listed."""
        self.read_lag = timedelta()
        """How long after it happened a change is seen in a single review."""
        self.reply_lag = timedelta()
        """How long after it was written a reply is seen."""
        self.page_epoch = 0
        self.titles: dict[str, str] = {}
        self._reviews: dict[str, TwinReview] = {}
        self.endpoints = ReviewEndpoints(self)
        super().__init__(time=source, seed=seed)
        self.account = self.wire.add_account("gateway")

    def routes(self) -> Sequence[BaseRoute]:
        """Google's endpoints."""
        return [self.wire.token_route(), *self.endpoints.routes()]

    # who there is

    def add_app(self, package: str, title: str, *, may: Sequence[str] = ("view", "reply")) -> str:
        """An app in the store, into which the service account is invited; returns its package name."""
        self.wire.packages.add(package)
        self.titles[package] = title
        self.permit(package, *may)
        return package

    def permit(self, package: str, *rights: str) -> None:
        """What the service account may do with an app: `view`, `reply`, both, or neither."""
        self.account.may[package] = set(rights)

    def revoke(self) -> None:
        """The service account's key is deleted: no token is given for it, and those given stop."""
        self.account.revoked = True
        self.expire_tokens()

    def expire_tokens(self) -> None:
        """All access tokens stop."""
        self.wire.expire_tokens()

    def expire_page_tokens(self) -> None:
        """No page token given so far is taken any more."""
        self.page_epoch += 1

    # what people do

    def review(
        self,
        package: str,
        author: str,
        stars: int,
        text: str | None = None,
        *,
        title: str | None = None,
        language: str = "en",
        translations: Mapping[str, str] | None = None,
        version: tuple[int, str] | None = (40211, "4.2.11"),
        device: Mapping[str, Any] | None = None,
        at: datetime | None = None,
        quiet: bool = False,
    ) -> str:
        """Somebody reviews an app; returns the review's external id. Without a text it is never listed."""
        if package not in self.titles:
            raise KeyError(package)
        when = at or self.time.now()
        review = TwinReview(package, new_id(len(self._reviews)), author)
        words = f"{title}\t{text or ''}" if title else text
        given = DEVICE if device is None else dict(device)
        review.versions.append((when, Version(stars, words, language, when, dict(translations or {}), version, given)))
        self._reviews[review.ref] = review
        if not quiet:
            self.effect("review", review.ref, stars=stars, text=text)
        return review.ref

    def edit(self, ref: str, **changes: Any) -> None:
        """The author changes `stars`, `text`, `language` or `translations`."""
        review = self._reviews[ref]
        last = review.version(self.time.now())
        if last is None:
            raise KeyError(f"{ref} is deleted")
        review.versions.append((self.time.now(), changed(last, self.time.now(), **changes)))
        self.effect("edit", ref, **changes)

    def rate(self, ref: str, up: int, down: int = 0) -> None:
        """Others find the review helpful or not, which is no change of it."""
        review = self._reviews[ref]
        since, last = review.versions[-1]
        if last is not None:
            review.versions[-1] = (since, Version(**{**last.__dict__, "thumbs": (up, down)}))

    def delete(self, ref: str) -> None:
        """The author, or Google, takes a review down. Nobody is told."""
        self._reviews[ref].versions.append((self.time.now(), None))
        self.effect("delete", ref)

    def owner_reply(self, ref: str, text: str) -> None:
        """Somebody answers in the Play Console."""
        self.put_reply(self._reviews[ref], text, by="console")

    def owner_unreply(self, ref: str) -> None:
        """Somebody deletes the reply in the Play Console, which the API cannot."""
        self._reviews[ref].replies.append((self.time.now(), None))
        self.effect("reply_deleted", ref, by="console")

    # what both people and the API do

    def put_reply(self, review: TwinReview, text: str, *, by: str) -> TwinReply:
        """Fill a review's slot, whatever it holds."""
        now = self.time.now()
        before = review.reply(now)
        reply = TwinReply(text, now, by)
        review.replies.append((now, reply))
        self.effect("reply", review.ref, text=text, by=by, replaced=before.text if before else None)
        return reply

    def reviews_of(self, package: str) -> Iterator[TwinReview]:
        """All of an app's reviews."""
        return (one for one in self._reviews.values() if one.package == package)

    def find(self, package: str, id: str) -> TwinReview | None:
        """A review by Google's id."""
        return self._reviews.get(f"{package}/reviews/{id}")

    # for tests and the demo

    def reply_of(self, ref: str) -> str | None:
        """The text in a review's slot."""
        reply = self._reviews[ref].reply(self.time.now())
        return reply.text if reply else None

    def replies_made(self, by: str = "api") -> list[tuple[str, str]]:
        """Review and text of every reply made, in order."""
        made = [effect for effect in self.ledger if effect.kind == "reply" and effect.data["by"] == by]
        return [(effect.id, str(effect.data["text"])) for effect in made]

    def app_config(self, **changes: Any) -> Json:
        """An App configuration that this twin accepts; call it while the twin is served."""
        return {"key": self.account.key_file(), "base_url": self.url or None, **changes}

    def connection_config(self, package: str, **changes: Any) -> Json:
        """A connection configuration for one of the twin's apps."""
        return {"package_name": package, "app_name": self.titles[package], **changes}

    def add_service_account(self, name: str) -> ServiceAccount:
        """Another service account, which may do nothing yet."""
        return self.wire.add_account(name)

    def furnish(self) -> dict[str, Any]:
        """The app com.acme.app and a review to answer."""
        self.add_app("com.acme.app", "Acme")
        self.review("com.acme.app", "Rita Example", 2, "It crashes.")
        return {"app": self.app_config(), "config": self.connection_config("com.acme.app")}

    def rehearsal(self) -> Rehearsal:
        """Customers review the app com.acme.app."""
        package = self.add_app("com.acme.app", "Acme")
        channel = Channel(
            package,
            self.connection_config(package),
            write=lambda text: self.review(package, "Rita Example", 2, text),
            answers=self.replies_made,
        )
        return Rehearsal([channel], self.app_config())

    def snapshot(self) -> Json:
        """Each app with its newest reviews."""
        now = self.time.now()
        found: Json = {}
        for package, title in self.titles.items():
            seen = [(review, review.version(now)) for review in self.reviews_of(package)]
            shown = [self.endpoints.shown(review, version, now) for review, version in seen if version is not None]
            found[package] = {"title": title, "reviews": shown[-50:]}
        return {"apps": found}
