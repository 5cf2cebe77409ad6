"""The parts of Meta's objects that we read: webhook values, and nodes of the Graph API."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from typing import Annotated, Any, TypeVar

from pydantic import AliasChoices, AwareDatetime, BaseModel, BeforeValidator, ConfigDict, Field, ValidationError
from pydantic import StringConstraints as Constraints

from gateway_schemas.errors import Malformed

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_FIRST_MILLISECONDS = 10**11
"""Numbers from here on are milliseconds: as seconds they would be of the year 5138."""


def _string(value: Any) -> Any:
    return str(value) if isinstance(value, int) and not isinstance(value, bool) else value


def _nothing(value: Any) -> Any:
    return "" if value is None else value


def _list(value: Any) -> Any:
    """A list, also where Meta wraps it as `{"data": […]}`."""
    if isinstance(value, Mapping):
        value = value.get("data")
    return [] if value is None else value


def _time(value: Any) -> Any:
    """Webhooks give seconds or milliseconds as numbers or text, the Graph API `2026-11-20T09:41:30+0000`."""
    if isinstance(value, str):
        if value.isascii() and value.isdecimal() and len(value) < 16:
            value = int(value)
        else:
            try:
                return datetime.fromisoformat(value)
            except ValueError:
                raise ValueError("expected a time such as 2026-11-20T09:41:30+0000") from None
    if isinstance(value, int | float) and not isinstance(value, bool):
        milliseconds = value if abs(value) >= _FIRST_MILLISECONDS else value * 1000
        try:
            return _EPOCH + timedelta(milliseconds=milliseconds)
        except OverflowError:
            raise ValueError("expected seconds or milliseconds since 1970") from None
    return value


ObjectId = Annotated[str, BeforeValidator(_string), Constraints(pattern=r"^[0-9]{1,40}(_[0-9]{1,40}){0,2}$")]
MessageId = Annotated[str, Constraints(min_length=1, max_length=1024)]
Time = Annotated[AwareDatetime, BeforeValidator(_time)]
Text = Annotated[str, BeforeValidator(_nothing)]


class Payload(BaseModel):
    """Foreign data: unknown fields are passed over, known ones must have their type."""

    model_config = ConfigDict(extra="ignore", frozen=True, populate_by_name=True)


P = TypeVar("P", bound=Payload)


def read(model: type[P], value: Any, what: str) -> P:
    """Read one object. Raises Malformed naming the field."""
    try:
        return model.model_validate(value)
    except ValidationError as error:
        first = error.errors()[0]
        place = ".".join(str(part) for part in first["loc"])
        raise Malformed(f"{what}: {place or 'object'}: {first['msg']}") from None


class Person(Payload):
    """Somebody, as a Page or an Instagram account sees them."""

    id: ObjectId | None = None
    name: str | None = None
    username: str | None = None


class Named(Payload):
    """A node of which only the id matters."""

    id: ObjectId


# webhooks


class PostNews(Payload):
    """What a change tells of the post it is about."""

    permalink_url: str | None = None
    status_type: str | None = None


class FeedValue(Payload):
    """The value of a Page's `feed`, `mention` or `ratings` change."""

    item: Text = ""
    verb: Text = ""
    sender: Person | None = Field(default=None, validation_alias="from")
    sender_id: ObjectId | None = None
    sender_name: str | None = None
    post_id: ObjectId | None = None
    comment_id: ObjectId | None = None
    parent_id: ObjectId | None = None
    message: Text = ""
    created_time: Time | None = None
    published: int | None = None
    photo: str | None = None
    photos: Annotated[list[str], BeforeValidator(_list)] = []
    video: str | None = None
    link: str | None = None
    post: PostNews | None = None
    review_text: Text = ""
    recommendation_type: str | None = None
    rating: float | None = None
    reviewer_id: ObjectId | None = None
    reviewer_name: str | None = None
    open_graph_story_id: ObjectId | None = None

    @property
    def person(self) -> Person:
        """Who did it, under whichever of Meta's names."""
        if self.sender is not None and self.sender.id is not None:
            return self.sender
        return Person(id=self.sender_id, name=self.sender_name)


class MediaNews(Payload):
    """The Instagram media that a comment is under."""

    id: ObjectId
    media_product_type: str | None = None
    ad_id: str | None = None
    original_media_id: ObjectId | None = None


class InstagramValue(Payload):
    """The value of an Instagram `comments`, `live_comments` or `mentions` change."""

    id: ObjectId | None = Field(default=None, validation_alias=AliasChoices("id", "comment_id"))
    sender: Person | None = Field(default=None, validation_alias="from")
    parent_id: ObjectId | None = None
    text: Text = ""
    media: MediaNews | None = None
    media_id: ObjectId | None = None
    comment_id: ObjectId | None = None


class FilePayload(Payload):
    """Where an attachment of a message is."""

    url: str | None = None
    title: str | None = None


class MessageFile(Payload):
    """An attachment of a message."""

    type: Text = ""
    payload: FilePayload | None = None


class StoryNews(Payload):
    """The story that a message answers."""

    id: str | None = None
    url: str | None = None


class ReplyNews(Payload):
    """What a message answers."""

    mid: str | None = None
    story: StoryNews | None = None


class Message(Payload):
    """One message of a `messaging` event."""

    mid: MessageId
    text: Text = ""
    is_echo: bool = False
    is_self: bool = False
    is_deleted: bool = False
    is_unsupported: bool = False
    app_id: int | str | None = None
    reply_to: ReplyNews | None = None
    attachments: Annotated[list[MessageFile], BeforeValidator(_list)] = []


class MessageEdit(Payload):
    """The new text of a message."""

    mid: MessageId
    text: Text = ""
    num_edit: int = 1


class Postback(Payload):
    """A button that somebody pressed."""

    mid: MessageId | None = None
    title: Text = ""
    payload: str | None = None


class Messaging(Payload):
    """One event of `messaging` or `standby`."""

    sender: Person = Person()
    recipient: Person = Person()
    timestamp: Time | None = None
    message: Message | None = None
    message_edit: MessageEdit | None = None
    postback: Postback | None = None


# nodes of the Graph API


class Image(Payload):
    """A picture of an attachment."""

    src: str | None = None


class AttachmentMedia(Payload):
    """The media of a comment's or post's attachment."""

    image: Image | None = None
    source: str | None = None


class AttachmentNode(Payload):
    """What is attached to a comment or a post."""

    type: Text = ""
    url: str | None = None
    media: AttachmentMedia | None = None
    target: dict[str, Any] = {}


class CommentNode(Payload):
    """A comment on a Page's post."""

    id: ObjectId
    message: Text = ""
    sender: Person | None = Field(default=None, validation_alias="from")
    created_time: Time
    parent: Named | None = None
    attachment: AttachmentNode | None = None
    permalink_url: str | None = None
    is_hidden: bool = False


class PostNode(Payload):
    """A post of or on a Page, or one that names it."""

    id: ObjectId
    message: Text = ""
    sender: Person | None = Field(default=None, validation_alias="from")
    created_time: Time
    permalink_url: str | None = None
    attachments: Annotated[list[AttachmentNode], BeforeValidator(_list)] = []


class RatingNode(Payload):
    """A recommendation, or a rating from before there were any."""

    created_time: Time
    has_rating: bool = False
    rating: float | None = None
    recommendation_type: str | None = None
    review_text: Text = ""
    open_graph_story: Named | None = None
    reviewer: Person | None = None


class InstagramComment(Payload):
    """A comment under an Instagram media."""

    id: ObjectId
    text: Text = ""
    timestamp: Time
    username: str | None = None
    sender: Person | None = Field(default=None, validation_alias="from")
    parent_id: ObjectId | None = None
    media: Named | None = None
    hidden: bool = False


class InstagramMedia(Payload):
    """An Instagram media: a picture, video, album, reel or story."""

    id: ObjectId
    caption: Text = ""
    timestamp: Time
    permalink: str | None = None
    username: str | None = None
    owner: Person | None = None
    media_type: str | None = None
    media_url: str | None = None


class MessageImage(Payload):
    """A picture in a message that was read."""

    url: str | None = None


class MessageAttachment(Payload):
    """An attachment of a message that was read."""

    id: str | None = None
    mime_type: str | None = None
    name: str | None = None
    size: int | None = None
    file_url: str | None = None
    image_data: MessageImage | None = None
    video_data: MessageImage | None = None


class MessageNode(Payload):
    """A message of a conversation."""

    id: MessageId
    message: Text = ""
    created_time: Time
    sender: Person = Field(default=Person(), validation_alias="from")
    to: Annotated[list[Person], BeforeValidator(_list)] = []
    attachments: Annotated[list[MessageAttachment], BeforeValidator(_list)] = []
