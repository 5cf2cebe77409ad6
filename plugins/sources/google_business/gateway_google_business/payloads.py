"""The parts of Google's objects that we read: My Business API v4, its successors, and Pub/Sub's push wrapper."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Any, TypeVar

from pydantic import AwareDatetime, BaseModel, BeforeValidator, ConfigDict, Field, ValidationError
from pydantic.alias_generators import to_camel

from gateway_google_business.names import ReviewName, review_name
from gateway_schemas.errors import Malformed

STARS = {"ONE": 1, "TWO": 2, "THREE": 3, "FOUR": 4, "FIVE": 5}


class Payload(BaseModel):
    """Foreign data: unknown fields are passed over, known ones must have their type."""

    model_config = ConfigDict(extra="ignore", frozen=True, populate_by_name=True, alias_generator=to_camel)


P = TypeVar("P", bound=Payload)


def _list(value: Any) -> Any:
    return [] if value is None else value


class Reviewer(Payload):
    """Who wrote a review. Google tells no id, only what is shown."""

    display_name: str = ""
    profile_photo_url: str | None = None
    is_anonymous: bool = False


class ReplyPayload(Payload):
    """The owner's reply. Its state and the reason of a refusal are told since 2026."""

    comment: str = ""
    update_time: AwareDatetime | None = None
    review_reply_state: str | None = None
    policy_violation: str | None = None

    @property
    def refused(self) -> bool:
        """Whether Google's own review of the text refused it, so that nobody sees it."""
        return self.review_reply_state == "REJECTED"


class MediaItem(Payload):
    """A picture or video of a review."""

    thumbnail_url: str | None = None
    thumbnail_label: str | None = None
    video_url: str | None = None


class Review(Payload):
    """One review."""

    name: str
    reviewer: Reviewer = Field(default_factory=Reviewer)
    star_rating: str | None = None
    comment: str | None = None
    create_time: AwareDatetime
    update_time: AwareDatetime | None = None
    review_reply: ReplyPayload | None = None
    review_media_items: Annotated[list[MediaItem], BeforeValidator(_list)] = []
    review_reply_url: str | None = None

    @property
    def parts(self) -> ReviewName:
        """Its name in parts. Raises Malformed."""
        parts = review_name(self.name)
        if parts is None:
            raise Malformed(f"name: expected accounts/…/locations/…/reviews/…, not {self.name!r}")
        return parts

    @property
    def changed_at(self) -> datetime:
        """When it last changed: reviews are listed in this order."""
        return self.update_time or self.create_time

    @property
    def reply(self) -> ReplyPayload | None:
        """The reply in its slot, where there is one."""
        return self.review_reply if self.review_reply is not None and self.review_reply.comment else None


class LocationMetadata(Payload):
    """What Google says of a location."""

    has_voice_of_merchant: bool | None = None
    maps_uri: str | None = None


class LocationPayload(Payload):
    """A location as the Business Information API names it: `locations/{id}`, without its account."""

    name: str
    title: str | None = None
    metadata: LocationMetadata = Field(default_factory=LocationMetadata)


class PushMessage(Payload):
    """A Pub/Sub message as it is pushed."""

    data: str = ""
    message_id: str | None = None


class PushBody(Payload):
    """The body of a push request."""

    message: PushMessage
    subscription: str | None = None


def read(model: type[P], value: Any, what: str) -> P:
    """Read one object. Raises Malformed naming the field."""
    try:
        return model.model_validate(value)
    except ValidationError as error:
        first = error.errors()[0]
        place = ".".join(str(part) for part in first["loc"])
        raise Malformed(f"{what}: {place or 'object'}: {first['msg']}") from None
