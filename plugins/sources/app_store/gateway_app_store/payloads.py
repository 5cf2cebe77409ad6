"""The parts of Apple's resources that we read: `customerReviews` and `customerReviewResponses` (JSON:API)."""

from __future__ import annotations

import re
from typing import Annotated, Any, TypeVar

from pydantic import AfterValidator, AwareDatetime, BaseModel, BeforeValidator, ConfigDict, Field, ValidationError
from pydantic.alias_generators import to_camel

from gateway_schemas.errors import Malformed


class Payload(BaseModel):
    """Foreign data: unknown fields are passed over, known ones must have their type."""

    model_config = ConfigDict(extra="ignore", frozen=True, populate_by_name=True, alias_generator=to_camel)


P = TypeVar("P", bound=Payload)
_ID = re.compile(r"(?!\.{1,2}\Z)[A-Za-z0-9_~=.:-]{1,256}")


def is_id(value: Any) -> bool:
    """Whether this could be an id of Apple's, and nothing else in an address."""
    return isinstance(value, str) and _ID.fullmatch(value) is not None


def _id(value: str) -> str:
    if not is_id(value):
        raise ValueError("expected an id")
    return value


Id = Annotated[str, AfterValidator(_id)]


def _text(value: Any) -> Any:
    return "" if value is None else value


Text = Annotated[str, BeforeValidator(_text)]


class Linkage(Payload):
    """Which resource a relationship leads to."""

    type: str
    id: Id


class ToOne(Payload):
    """A relationship to one resource; without `data` where it was not asked for, or leads nowhere."""

    data: Linkage | None = None


class ReviewAttributes(Payload):
    """What a customer wrote."""

    rating: int = Field(ge=1, le=5)
    title: Text = ""
    body: Text = ""
    reviewer_nickname: Text = ""
    created_date: AwareDatetime
    territory: str | None = None


class ReviewRelationships(Payload):
    """What a review leads to."""

    response: ToOne | None = None


class Review(Payload):
    """A customer's review."""

    id: Id
    attributes: ReviewAttributes
    relationships: ReviewRelationships | None = None

    @property
    def response_id(self) -> str | None:
        """The id of the response in its slot, where one was told of."""
        to = self.relationships.response if self.relationships else None
        return to.data.id if to and to.data else None


class ResponseAttributes(Payload):
    """What the developer answered."""

    response_body: Text = ""
    last_modified_date: AwareDatetime | None = None
    state: str | None = None


class Response(Payload):
    """The developer's response."""

    id: Id
    attributes: ResponseAttributes

    @property
    def text(self) -> str:
        """Its words."""
        return self.attributes.response_body

    @property
    def pending(self) -> bool:
        """Whether nobody sees it yet."""
        return self.attributes.state == "PENDING_PUBLISH"


def read(model: type[P], value: Any, what: str) -> P:
    """Read one object. Raises Malformed naming the field."""
    try:
        return model.model_validate(value)
    except ValidationError as error:
        first = error.errors()[0]
        place = ".".join(str(part) for part in first["loc"])
        raise Malformed(f"{what}: {place or 'object'}: {first['msg']}") from None


def included(body: dict[str, Any]) -> dict[str, Response]:
    """The responses that came along with reviews, by id. Those that cannot be read are left out."""
    values = body.get("included")
    found: dict[str, Response] = {}
    for value in values if isinstance(values, list) else ():
        if isinstance(value, dict) and value.get("type") == "customerReviewResponses":
            try:
                response = Response.model_validate(value)
            except ValidationError:
                continue
            found[response.id] = response
    return found
