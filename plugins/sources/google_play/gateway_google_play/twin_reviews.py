"""The twin's reviews: what is stored, and the three methods of `reviews`."""

from __future__ import annotations

import base64
import hashlib
import json
import re
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any

from starlette.routing import BaseRoute

from gateway_google_play.twin_http import Call, Json, invalid, not_found

if TYPE_CHECKING:
    from gateway_google_play.twin import PlayTwin

WEEK = timedelta(days=7)
MOST = 350
_TAG = re.compile(r"</?[A-Za-z][^<>]*>|<!--.*?-->", re.DOTALL)


@dataclass(frozen=True)
class Version:
    """A review as its author left it at one time."""

    stars: int
    text: str | None
    language: str
    at: datetime
    translations: dict[str, str] = field(default_factory=dict)
    app_version: tuple[int, str] | None = None
    device: Json = field(default_factory=dict)
    thumbs: tuple[int, int] = (0, 0)


@dataclass(frozen=True)
class TwinReply:
    """What is in a review's slot."""

    text: str
    at: datetime
    by: str


@dataclass
class TwinReview:
    """A review; None among its versions stands for a deletion."""

    package: str
    id: str
    author: str
    versions: list[tuple[datetime, Version | None]] = field(default_factory=list)
    replies: list[tuple[datetime, TwinReply | None]] = field(default_factory=list)

    @property
    def ref(self) -> str:
        """The id by which the gateway knows it."""
        return f"{self.package}/reviews/{self.id}"

    def version(self, at: datetime) -> Version | None:
        """The version that is seen at a time."""
        return next((one for since, one in reversed(self.versions) if since <= at), None)

    def reply(self, at: datetime) -> TwinReply | None:
        """The reply that is seen at a time."""
        return next((one for since, one in reversed(self.replies) if since <= at), None)


class ReviewEndpoints:
    """Lists, reads and answers reviews."""

    def __init__(self, twin: PlayTwin) -> None:
        self.twin = twin

    def routes(self) -> list[BaseRoute]:
        """Where they are."""
        route = self.twin.wire.route
        return [
            route("GET", "/reviews", self._list, "view"),
            # the id is followed by a verb, and may have colons of its own
            route("POST", "/reviews/{verb:path}", self._reply, "reply"),
            route("GET", "/reviews/{id:path}", self._get, "view"),
        ]

    async def _list(self, call: Call) -> Json:
        query = call.query(("maxResults", "token", "startIndex", "translationLanguage"))
        try:
            size = int(query.get("maxResults") or 10)
        except ValueError:
            size = -1
        if not 0 < size <= 100:
            raise invalid("maxResults must be between 1 and 100", "max_results")
        at = self.twin.time.now() - self.twin.list_lag
        seen = ((review, review.version(at)) for review in self.twin.reviews_of(call.package))
        # stars alone are not told of, nor is what last changed more than a week ago
        rows = [
            (version.at, review.id, review, version)
            for review, version in seen
            if version is not None and version.text and version.at > self.twin.time.now() - WEEK
        ]
        rows.sort(key=lambda row: (-row[0].timestamp(), row[1]))
        if query.get("token"):
            after = self._read_token(query["token"], call.package, size)
            rows = [row for row in rows if (-row[0].timestamp(), row[1]) > after]
        page = rows[:size]
        language = query.get("translationLanguage")
        answer: Json = {}
        if page:
            answer["reviews"] = [self.shown(row[2], row[3], at, language) for row in page]
        if len(rows) > size:
            answer["tokenPagination"] = {"nextPageToken": self._token(page[-1], call.package, size)}
        return answer

    def _token(self, row: tuple[datetime, str, TwinReview, Version], package: str, size: int) -> str:
        made = [package, size, self.twin.page_epoch, -row[0].timestamp(), row[1]]
        return base64.urlsafe_b64encode(json.dumps(made).encode()).decode()

    def _read_token(self, token: str, package: str, size: int) -> tuple[float, str]:
        try:
            given = json.loads(base64.urlsafe_b64decode(token))
            if given[:3] == [package, size, self.twin.page_epoch]:
                return float(given[3]), str(given[4])
        except (ValueError, LookupError, TypeError):
            pass
        raise invalid("Invalid page token.", "token")

    async def _get(self, call: Call) -> Json:
        query = call.query(("translationLanguage",))
        at = self.twin.time.now() - self.twin.read_lag
        review, version = self._there(call, str(call.request.path_params["id"]), at)
        return self.shown(review, version, at, query.get("translationLanguage"))

    def _there(self, call: Call, id: str, at: datetime) -> tuple[TwinReview, Version]:
        review = self.twin.find(call.package, id)
        version = review.version(at) if review else None
        if review is None or version is None or not version.text:
            raise not_found(f"Review not found: {id}.", "reviewNotFound")
        return review, version

    async def _reply(self, call: Call) -> Json:
        call.query(())
        id, colon, verb = str(call.request.path_params["verb"]).rpartition(":")
        if not colon or verb != "reply":
            raise not_found("Method not found.", "notFound")
        review, _ = self._there(call, id, self.twin.time.now())
        text = (await call.body({"replyText"})).get("replyText", "")
        if len(text) > MOST:
            raise invalid(f"The reply text is too long; at most {MOST} characters are allowed.", "reply_text")
        text = _TAG.sub("", text)
        if not text.strip():
            raise invalid("The reply text is empty.", "reply_text")
        reply = self.twin.put_reply(review, text, by="api")
        return {"result": {"replyText": reply.text, "lastEdited": timestamp(reply.at)}}

    def shown(self, review: TwinReview, version: Version, at: datetime, language: str | None = None) -> Json:
        """A review as the API shows it, translated where that was asked for and Google has done it."""
        words: Json = {
            "text": version.text or "",
            "lastModified": timestamp(version.at),
            "starRating": version.stars,
            "reviewerLanguage": version.language,
            "thumbsUpCount": version.thumbs[0],
            "thumbsDownCount": version.thumbs[1],
            **version.device,
        }
        if version.app_version is not None:
            words |= {"appVersionCode": version.app_version[0], "appVersionName": version.app_version[1]}
        translated = version.translations.get(language or "")
        if translated:
            words |= {"text": translated, "originalText": version.text}
        comments: list[Json] = [{"userComment": words}]
        reply = review.reply(min(at, self.twin.time.now() - self.twin.reply_lag))
        if reply is not None:
            comments.append({"developerComment": {"text": reply.text, "lastModified": timestamp(reply.at)}})
        return {"reviewId": review.id, "authorName": review.author, "comments": comments}


def timestamp(at: datetime) -> Json:
    """A time as JSON of protocol buffers has it: 64 bits as text, 32 bits as a number."""
    found: Json = {"seconds": str(int(at.timestamp()))}
    return found | ({"nanos": at.microsecond * 1000} if at.microsecond else {})


def new_id(number: int) -> str:
    """An opaque id like Google's."""
    digest = hashlib.sha256(f"play {number}".encode()).digest()
    return "gp:AOqpTO" + base64.urlsafe_b64encode(digest[:30]).decode().rstrip("=")


def changed(version: Version, at: datetime, **changes: Any) -> Version:
    """The version that follows: two changes of one moment must not tie, for the list is in their order."""
    return replace(version, **changes, at=max(at, version.at + timedelta(microseconds=1)))
