"""The twin's reviews: My Business API v4, `accounts.locations.reviews` and `locations:batchGetReviews`."""

from __future__ import annotations

import base64
import hashlib
import json
from collections.abc import Callable, Iterable, Sequence
from datetime import datetime
from typing import TYPE_CHECKING, Any

from starlette.routing import Route

from gateway_google_business.twin_http import Call, invalid, not_found, page_size, precondition
from gateway_google_business.twin_state import (
    STAR_NAMES,
    Json,
    TwinLocation,
    TwinMedia,
    TwinReview,
    Version,
    iso,
)

if TYPE_CHECKING:
    from gateway_google_business.twin import GoogleTwin

MOST_BYTES = 4096
ORDERS = ("", "update_time desc", "rating", "rating desc")
Row = tuple[TwinLocation, TwinReview, Version]


class ReviewEndpoints:
    """Lists, reads and answers reviews."""

    def __init__(self, twin: GoogleTwin) -> None:
        self.twin = twin

    def routes(self) -> list[Route]:
        """Where they are."""
        route, reviews = self.twin.wire.route, "/v4/accounts/{account}/locations/{location}/reviews"
        return [
            route("GET", "mybusiness", reviews, self._list),
            route("GET", "mybusiness", reviews + "/{review}", self._get),
            route("PUT", "mybusiness", reviews + "/{review}/reply", self._reply),
            route("DELETE", "mybusiness", reviews + "/{review}/reply", self._delete_reply),
            route("POST", "mybusiness", "/v4/accounts/{account}/locations:batchGetReviews", self._batch),
        ]

    # what a caller may see

    def _location(self, call: Call, account: str, id: str) -> TwinLocation:
        """Raises Refusal: what is not the caller's does not exist for them."""
        owner, place = self.twin.state.accounts.get(account), self.twin.state.locations.get(id)
        if owner is None or owner.user != call.user or place is None or account not in place.accounts:
            raise not_found()
        return place

    def _review(self, call: Call) -> tuple[TwinLocation, TwinReview]:
        place = self._location(call, call.path("account"), call.path("location"))
        review = place.reviews.get(call.path("review"))
        if review is None or review.version(self.twin.time.now() - self.twin.read_lag) is None:
            raise not_found()
        return place, review

    # reading

    async def _get(self, call: Call) -> Json:
        call.query(())
        _, review = self._review(call)
        shown = self.shown(review, call.path("account"), self.twin.time.now() - self.twin.read_lag)
        if shown is None:
            raise not_found()
        return shown

    async def _list(self, call: Call) -> Json:
        query = call.query(("pageSize", "pageToken", "orderBy"))
        place = self._location(call, call.path("account"), call.path("location"))
        if not place.verified:
            raise precondition("Precondition check failed.")
        size = page_size(query.get("pageSize"), 50, 50)
        rows = self._rows([place])
        page, token = self._page(rows, query.get("orderBy", ""), size, query.get("pageToken", ""), place.id)
        answer: Json = {"reviews": [self._listed(row, call.path("account")) for row in page]} if page else {}
        stars = [version.stars for _, _, version in rows if version.stars is not None]
        if stars:
            answer |= {"averageRating": sum(stars) / len(stars), "totalReviewCount": len(rows)}
        return answer | ({"nextPageToken": token} if token else {})

    async def _batch(self, call: Call) -> Json:
        call.query(())
        body = await call.body(
            {
                "locationNames": list,
                "pageSize": int,
                "pageToken": str,
                "orderBy": str,
                "ignoreRatingOnlyReviews": bool,
            }
        )
        account = call.path("account")
        names = body.get("locationNames") or []
        if not names or len(names) > 50:
            raise invalid("location_names", "Between 1 and 50 locations must be named")
        places = []
        for name in names:
            parts = name.split("/") if isinstance(name, str) else []
            if len(parts) != 4 or parts[:2] != ["accounts", account] or parts[2] != "locations":
                raise invalid("location_names", "Location names must be of the form accounts/*/locations/*")
            place = self._location(call, account, parts[3])
            if not place.verified:
                raise precondition("Precondition check failed.")
            places.append(place)
        size = page_size(body.get("pageSize"), 200, 200)
        rows = self._rows(places)
        if body.get("ignoreRatingOnlyReviews"):
            rows = [row for row in rows if row[2].comment]
        key = ",".join(names)
        grouped = self.twin.batch_order == "grouped"
        page, token = self._page(rows, body.get("orderBy", ""), size, body.get("pageToken", ""), key, grouped=grouped)
        found = [
            {"name": f"accounts/{account}/locations/{row[0].id}", "review": self._listed(row, account)} for row in page
        ]
        return ({"locationReviews": found} if found else {}) | ({"nextPageToken": token} if token else {})

    def _rows(self, places: Sequence[TwinLocation]) -> list[Row]:
        """What is listed of some locations: not quite the newest state."""
        at = self.twin.time.now() - self.twin.list_lag
        seen = ((place, review, review.version(at)) for place in places for review in place.reviews.values())
        return [(place, review, version) for place, review, version in seen if version is not None]

    def _listed(self, row: Row, account: str) -> Json:
        return self._shown(row[1], row[2], account, self.twin.time.now() - self.twin.list_lag)

    def _page(
        self, rows: Iterable[Row], order: str, size: int, token: str, key: str, *, grouped: bool = False
    ) -> tuple[list[Row], str]:
        """One page of what there is now: what changes while somebody pages moves to the front, and is passed over."""
        if order not in ORDERS:
            raise invalid("order_by", f"Invalid order: {order}")
        bound = hashlib.sha256(f"{key} {order} {size}".encode()).hexdigest()[:12]
        place = _placing(order, grouped)
        ordered = sorted(rows, key=place)
        if token:
            after = self._read_token(token, bound)
            ordered = [row for row in ordered if place(row) > tuple(after)]
        page = ordered[:size]
        if len(ordered) <= size:
            return page, ""
        made = {"bound": bound, "after": place(page[-1]), "epoch": self.twin.page_epoch}
        return page, base64.urlsafe_b64encode(json.dumps(made).encode()).decode()

    def _read_token(self, token: str, bound: str) -> list[Any]:
        try:
            read = json.loads(base64.urlsafe_b64decode(token))
            if read["bound"] == bound and read["epoch"] == self.twin.page_epoch:
                return list(read["after"])
        except (ValueError, KeyError, TypeError):
            pass
        raise invalid("page_token", "Invalid page token")

    def shown(self, review: TwinReview, account: str, at: datetime) -> Json | None:
        """A review as an account sees it, at a time."""
        version = review.version(at)
        return self._shown(review, version, account, at) if version is not None else None

    def _shown(self, review: TwinReview, version: Version, account: str, at: datetime) -> Json:
        reviewer: Json = {"displayName": "A Google user", "isAnonymous": True}
        if not review.anonymous:
            photo = f"https://lh3.googleusercontent.com/a/{review.id[-8:]}=s120"
            reviewer = {"displayName": review.reviewer, "profilePhotoUrl": photo, "isAnonymous": False}
        found: Json = {
            "name": f"accounts/{account}/{review.ref}",
            "reviewId": review.id,
            "reviewer": reviewer,
            "starRating": STAR_NAMES[version.stars - 1] if version.stars else "STAR_RATING_UNSPECIFIED",
            "createTime": iso(review.created_at),
            "updateTime": iso(version.updated_at),
            "reviewReplyUrl": f"https://business.google.com/reviews/reply/{review.id[-8:]}",
        }
        if version.comment:
            found["comment"] = version.comment
        if version.media:
            found["reviewMediaItems"] = [_shown_media(one) for one in version.media]
        reply = review.reply(min(at, self.twin.time.now() - self.twin.reply_lag))
        if reply is not None:
            found["reviewReply"] = self.twin.shown_reply(reply)
        return found

    # answering

    async def _reply(self, call: Call) -> Json:
        call.query(())
        place, review = self._review(call)
        body = await call.body({"comment": str, "updateTime": str})
        comment = str(body.get("comment", ""))
        if not comment.strip():
            raise invalid("review_reply.comment", "The comment must not be empty")
        if len(comment.encode("utf-8", "surrogatepass")) > MOST_BYTES:
            raise invalid("review_reply.comment", f"The comment must not exceed {MOST_BYTES} bytes")
        if not place.verified:
            raise precondition("Only verified locations can reply to reviews.")
        self.twin.wire.count_edit(place.id)
        reply = self.twin.put_reply(review, comment, by="api")
        return self.twin.shown_reply(reply, at_once=True)

    async def _delete_reply(self, call: Call) -> Json:
        call.query(())
        place, review = self._review(call)
        if review.reply(self.twin.time.now()) is None:
            raise not_found()
        self.twin.wire.count_edit(place.id)
        self.twin.remove_reply(review, by="api")
        return {}


def _placing(order: str, grouped: bool) -> Callable[[Row], tuple[Any, ...]]:
    """The order of a listing, as a key that grows."""

    def place(row: Row) -> tuple[Any, ...]:
        where, review, version = row
        stars = version.stars or 0
        first: tuple[Any, ...] = {"rating": (stars,), "rating desc": (-stars,)}.get(order, ())
        group = (where.id,) if grouped else ()
        return (*group, *first, -version.updated_at.timestamp(), review.id)

    return place


def _shown_media(item: TwinMedia) -> Json:
    found = {"thumbnailUrl": item.thumbnail_url, "thumbnailLabel": item.label, "videoUrl": item.video_url}
    return {key: value for key, value in found.items() if value}
