"""The twin's apps, reviews and responses: what is stored, and how the API shows it."""

from __future__ import annotations

import base64
import json
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta, timezone
from typing import TYPE_CHECKING, Any
from urllib.parse import urlencode

from starlette.routing import Route

from gateway_app_store.twin_http import Call, Json, Refusal, bad_attribute, bad_parameter, not_found, page_size

if TYPE_CHECKING:
    from gateway_app_store.twin import AppStoreTwin

MOST = 5970
SORTS = ("rating", "-rating", "createdDate", "-createdDate")
CUPERTINO = timezone(timedelta(hours=-8))
RESPONDING = ("CUSTOMER_SUPPORT", "APP_MANAGER", "ADMIN", "ACCOUNT_HOLDER")
_LIST = ("sort", "limit", "include", "cursor", "exists[publishedResponse]", "filter[rating]", "filter[territory]")
_FIELDS = ("fields[customerReviews]", "fields[customerReviewResponses]")


@dataclass(frozen=True)
class Version:
    """A review as its author left it."""

    stars: int
    title: str
    body: str
    at: datetime


@dataclass(frozen=True)
class TwinResponse:
    """What is in a review's slot."""

    id: str
    text: str
    at: datetime
    by: str
    first: datetime


@dataclass
class TwinReview:
    """A review; None among its versions or responses stands for a deletion."""

    app: str
    id: str
    nickname: str
    territory: str
    versions: list[tuple[datetime, Version | None]] = field(default_factory=list)
    responses: list[tuple[datetime, TwinResponse | None]] = field(default_factory=list)

    def version(self, at: datetime) -> Version | None:
        """The version that is seen at a time."""
        return next((one for since, one in reversed(self.versions) if since <= at), None)

    def response(self, at: datetime) -> TwinResponse | None:
        """The response that is seen at a time."""
        return next((one for since, one in reversed(self.responses) if since <= at), None)


class Endpoints:
    """Everything under /v1."""

    def __init__(self, twin: AppStoreTwin) -> None:
        self.twin = twin

    def routes(self) -> list[Route]:
        """Where they are."""
        route = self.twin.wire.route
        return [
            route("GET", "/v1/apps", self._apps),
            route("GET", "/v1/apps/{app}", self._app),
            route("GET", "/v1/apps/{app}/customerReviews", self._list),
            route("GET", "/v1/customerReviews/{id}", self._get),
            route("GET", "/v1/customerReviews/{id}/response", self._response_of),
            route("POST", "/v1/customerReviewResponses", self._create, 201),
            route("GET", "/v1/customerReviewResponses/{id}", self._response),
            route("DELETE", "/v1/customerReviewResponses/{id}", self._delete, 204),
        ]

    # apps

    async def _apps(self, call: Call) -> Json:
        query = call.query(("limit", "fields[apps]", "cursor", "sort", "filter[bundleId]"))
        size = page_size(query)
        start = self._cursor(query, "apps")
        ids = sorted(self.twin.titles)
        page = ids[int(start or 0) : int(start or 0) + size]
        following = str(int(start or 0) + size) if int(start or 0) + size < len(ids) else None
        return self._paged([self._shown_app(id) for id in page], call, query, len(ids), size, "apps", following)

    async def _app(self, call: Call) -> Json:
        call.query(("fields[apps]", "include"))
        return {"data": self._shown_app(self._known_app(call)), "links": {"self": str(call.request.url)}}

    def _known_app(self, call: Call) -> str:
        if call.path("app") not in self.twin.titles:
            raise not_found("apps", call.path("app"))
        return call.path("app")

    def _shown_app(self, id: str) -> Json:
        attributes = {"name": self.twin.titles[id], "bundleId": f"com.acme.app{id}"}
        return {"type": "apps", "id": id, "attributes": attributes, "links": {"self": f"{self.twin.url}/v1/apps/{id}"}}

    # reviews

    async def _list(self, call: Call) -> Json:
        app = self._known_app(call)
        query = call.query((*_LIST, *_FIELDS))
        sort = query.get("sort", "createdDate")
        if sort not in SORTS:
            raise bad_parameter("sort", f"'{sort}' is not a valid value for 'sort'")
        size = page_size(query)
        at = self.twin.time.now() - self.twin.list_lag
        rows = [
            (review, version) for review in self.twin.reviews_of(app) if (version := review.version(at)) is not None
        ]
        if territories := query.get("filter[territory]"):
            rows = [row for row in rows if row[0].territory in territories.split(",")]
        if ratings := query.get("filter[rating]"):
            rows = [row for row in rows if str(row[1].stars) in ratings.split(",")]
        if answered := query.get("exists[publishedResponse]"):
            rows = [row for row in rows if (row[0].response(at) is not None) == (answered == "true")]

        def place(row: tuple[TwinReview, Version]) -> list[Any]:
            value = row[1].at.timestamp() if "Date" in sort else row[1].stars
            return [-value if sort.startswith("-") else value, row[0].id]

        rows.sort(key=place)
        total = len(rows)
        if after := self._cursor(query, app + sort):
            rows = [row for row in rows if place(row) > after]
        following = place(rows[size - 1]) if len(rows) > size else None
        page = rows[:size]
        data = [self.shown(review, version) for review, version in page]
        answer = self._paged(data, call, query, total, size, app + sort, following)
        if query.get("include") == "response":
            there = ((review, review.response(at)) for review, _ in page)
            answer["included"] = [self.shown_response(one) for _, one in there if one is not None]
            for item, (review, _) in zip(data, page, strict=True):
                self._link(item, review, at)
        return answer

    def _cursor(self, query: Any, bound: str) -> Any:
        given = query.get("cursor")
        if given is None:
            return None
        try:
            made = json.loads(base64.urlsafe_b64decode(given))
            if made["bound"] == bound and made["epoch"] == self.twin.page_epoch:
                return made["after"]
        except (ValueError, LookupError, TypeError):
            pass
        raise bad_parameter("cursor", f"'{given}' is not a valid cursor for this request")

    def _paged(
        self, data: list[Json], call: Call, query: Any, total: int, size: int, bound: str, following: Any
    ) -> Json:
        here = f"{self.twin.url}{call.request.url.path}"
        answer: Json = {"data": data, "links": {"self": here}, "meta": {"paging": {"total": total, "limit": size}}}
        if following is not None:
            made = {"bound": bound, "after": following, "epoch": self.twin.page_epoch}
            cursor = base64.urlsafe_b64encode(json.dumps(made).encode()).decode()
            answer["meta"]["paging"]["nextCursor"] = cursor
            kept = {name: value for name, value in query.items() if name != "cursor"}
            answer["links"]["next"] = f"{here}?{urlencode({**kept, 'cursor': cursor, 'limit': str(size)})}"
        return answer

    async def _get(self, call: Call) -> Json:
        query = call.query(("include", *_FIELDS))
        at = self.twin.time.now() - self.twin.read_lag
        review, version = self._there(call.path("id"), at)
        answer: Json = {"data": self.shown(review, version), "links": {"self": str(call.request.url)}}
        if query.get("include") == "response":
            at = min(at, self.twin.time.now() - self.twin.response_lag)
            self._link(answer["data"], review, at)
            response = review.response(at)
            answer["included"] = [self.shown_response(response)] if response else []
        return answer

    def _there(self, id: str, at: datetime) -> tuple[TwinReview, Version]:
        review = self.twin.find(id)
        version = review.version(at) if review else None
        if review is None or version is None:
            raise not_found("customerReviews", id)
        return review, version

    def shown(self, review: TwinReview, version: Version) -> Json:
        """A review as the API shows it."""
        here = f"{self.twin.url}/v1/customerReviews/{review.id}"
        links = {"self": f"{here}/relationships/response", "related": f"{here}/response"}
        return {
            "type": "customerReviews",
            "id": review.id,
            "attributes": {
                "rating": version.stars,
                "title": version.title,
                "body": version.body,
                "reviewerNickname": review.nickname,
                "createdDate": iso(version.at),
                "territory": review.territory,
            },
            "relationships": {"response": {"links": links}},
            "links": {"self": here},
        }

    def _link(self, item: Json, review: TwinReview, at: datetime) -> None:
        response = review.response(at)
        if response is not None:
            item["relationships"]["response"]["data"] = {"type": "customerReviewResponses", "id": response.id}

    # responses

    async def _response_of(self, call: Call) -> Json:
        call.query(("include", *_FIELDS))
        review, _ = self._there(call.path("id"), self.twin.time.now())
        response = review.response(self.twin.time.now())
        if response is None:
            raise not_found("customerReviewResponses", call.path("id"))
        return {"data": self.shown_response(response)}

    async def _response(self, call: Call) -> Json:
        call.query(("include", *_FIELDS))
        review = self.twin.holding(call.path("id"))
        response = review.response(self.twin.time.now()) if review else None
        if response is None:
            raise not_found("customerReviewResponses", call.path("id"))
        return {"data": self.shown_response(response)}

    async def _create(self, call: Call) -> Json:
        self._may_respond(call)
        data = (await call.body()).get("data")
        if not isinstance(data, dict) or data.get("type") != "customerReviewResponses":
            detail = "The resource type must be 'customerReviewResponses'"
            raise bad_attribute("/data/type", detail, "ENTITY_ERROR.TYPE.INVALID")
        attributes, relationships = data.get("attributes") or {}, data.get("relationships") or {}
        unknown = [name for name in attributes if name != "responseBody"]
        if unknown:
            pointer = f"/data/attributes/{unknown[0]}"
            raise bad_attribute(pointer, f"'{unknown[0]}' is not an attribute", "ENTITY_ERROR.ATTRIBUTE.UNKNOWN")
        text = attributes.get("responseBody")
        pointer = "/data/attributes/responseBody"
        if not isinstance(text, str) or not text.strip():
            raise bad_attribute(
                pointer, "You must provide a value for 'responseBody'", "ENTITY_ERROR.ATTRIBUTE.REQUIRED"
            )
        if len(text) > MOST:
            raise bad_attribute(pointer, f"'responseBody' must not have more than {MOST} characters")
        linkage = (relationships.get("review") or {}).get("data") or {}
        if linkage.get("type") != "customerReviews":
            pointer = "/data/relationships/review"
            raise bad_attribute(pointer, "You must provide 'review'", "ENTITY_ERROR.RELATIONSHIP.REQUIRED")
        review, _ = self._there(str(linkage.get("id")), self.twin.time.now())
        return {"data": self.shown_response(self.twin.put_response(review, text, by="api"), at_once=True)}

    async def _delete(self, call: Call) -> None:
        self._may_respond(call)
        review = self.twin.holding(call.path("id"))
        if review is None:
            raise not_found("customerReviewResponses", call.path("id"))
        self.twin.remove_response(review, by="api")

    def _may_respond(self, call: Call) -> None:
        if call.key.role not in RESPONDING:
            detail = "The API key in use does not allow this request"
            raise Refusal(403, "FORBIDDEN_ERROR", "This request is forbidden for security reasons", detail)

    def shown_response(self, response: TwinResponse, *, at_once: bool = False) -> Json:
        """A response as the API shows it; published some time after it was written."""
        shown = not at_once and self.twin.time.now() >= response.at + self.twin.publish_lag
        return {
            "type": "customerReviewResponses",
            "id": response.id,
            "attributes": {
                "responseBody": response.text,
                "lastModifiedDate": iso(response.at),
                "state": "PUBLISHED" if shown else "PENDING_PUBLISH",
            },
            "links": {"self": f"{self.twin.url}/v1/customerReviewResponses/{response.id}"},
        }


def iso(at: datetime) -> str:
    """A time as Apple writes it: to the second, with the offset of California."""
    return at.astimezone(CUPERTINO).replace(microsecond=0).isoformat()


def changed(version: Version, at: datetime, **changes: Any) -> Version:
    """The version that follows; Apple dates an edited review by the edit."""
    return replace(version, **changes, at=at)
