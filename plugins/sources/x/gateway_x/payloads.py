"""The parts of X's objects that we read, in both generations of names.

The OpenAPI document and newer answers say `referenced_posts`, `edit_history_post_ids` and `note_post` where streams and
the documented payloads say `referenced_tweets`, `edit_history_tweet_ids` and `note_tweet`; both are accepted.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from datetime import UTC, datetime
from typing import Annotated, Any, Literal, TypeVar

from pydantic import (
    AliasChoices,
    AwareDatetime,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    StringConstraints,
    ValidationError,
)

from gateway_schemas.errors import Malformed

SNOWFLAKE_EPOCH_MS = 1_288_834_974_657
_FIRST_SNOWFLAKE = 1 << 35
"""Ids below were counted, not made from the time; the first snowflakes are of November 2010."""


def snowflake_time(id: str) -> datetime | None:
    """When X made this id, to the millisecond; None for ids from before snowflakes."""
    number = int(id)
    if number < _FIRST_SNOWFLAKE:
        return None
    return datetime.fromtimestamp(((number >> 22) + SNOWFLAKE_EPOCH_MS) / 1000, UTC)


def snowflake_at(moment: datetime) -> int:
    """The lowest id that X can make at `moment`."""
    return max(0, round(moment.timestamp() * 1000) - SNOWFLAKE_EPOCH_MS) << 22


def canonical_conversation(one: str, other: str) -> str:
    """The id of the private conversation of two users: the smaller id first, as numbers."""
    return "-".join(sorted((one, other), key=int))


def unwrapped(value: Any) -> Any:
    """An object that X wraps in a `data` key at times, and at times not."""
    if isinstance(value, Mapping) and isinstance(value.get("data"), Mapping):
        return value["data"]
    return value


def _string(value: Any) -> Any:
    return str(value) if isinstance(value, int) and not isinstance(value, bool) else value


def _optional_list(value: Any) -> Any:
    return [] if value is None else value


Id = Annotated[str, BeforeValidator(_string), StringConstraints(pattern=r"^[0-9]{1,20}$")]


class Payload(BaseModel):
    """Foreign data: unknown fields are passed over, known ones must have their type."""

    model_config = ConfigDict(extra="ignore", frozen=True, populate_by_name=True)


P = TypeVar("P", bound=Payload)


class Mention(Payload):
    """A handle in a text; older objects leave the id out."""

    username: str = ""
    id: Id | None = None


class Link(Payload):
    """A link in a text: X's short form, and what the author wrote."""

    url: str
    expanded_url: str | None = None


class Entities(Payload):
    """What X found in a text."""

    mentions: Annotated[
        list[Mention],
        BeforeValidator(_optional_list),
        Field(validation_alias=AliasChoices("mentions", "user_mentions")),
    ] = []
    urls: Annotated[list[Link], BeforeValidator(_optional_list)] = []


class Note(Payload):
    """The whole text of a post of more than 280 characters."""

    text: str
    entities: Entities | None = None


class Reference(Payload):
    """How a post is about another one."""

    type: str
    id: Id


class MediaKeys(Payload):
    """Which media of the answer's `includes` belong to an object."""

    media_keys: Annotated[list[str], BeforeValidator(_optional_list)] = []


class Post(Payload):
    """A post, as API v2 and the X Activity API give it."""

    id: Id
    text: str = ""
    author_id: Id | None = None
    conversation_id: Id | None = None
    created_at: AwareDatetime | None = None
    lang: str | None = None
    in_reply_to_user_id: Id | None = None
    in_reply_to: Id | None = Field(
        default=None, validation_alias=AliasChoices("in_reply_to_tweet_id", "in_reply_to_post_id")
    )
    references: Annotated[
        list[Reference],
        BeforeValidator(_optional_list),
        Field(validation_alias=AliasChoices("referenced_tweets", "referenced_posts")),
    ] = []
    edit_history: Annotated[
        list[Id],
        BeforeValidator(_optional_list),
        Field(validation_alias=AliasChoices("edit_history_tweet_ids", "edit_history_post_ids")),
    ] = []
    note: Note | None = Field(default=None, validation_alias=AliasChoices("note_tweet", "note_post"))
    entities: Entities | None = None
    attachments: MediaKeys | None = None

    def reference(self, type: Literal["replied_to", "quoted", "retweeted"]) -> str | None:
        """The id of the post that this one replies to, quotes or reposts."""
        return next((reference.id for reference in self.references if reference.type == type), None)

    @property
    def parent(self) -> str | None:
        """The id of the post that this one replies to."""
        return self.reference("replied_to") or self.in_reply_to

    @property
    def whole_text(self) -> str:
        """The text, whole, as X escapes it."""
        return self.note.text if self.note else self.text

    @property
    def all_entities(self) -> Entities:
        """What X found in the whole text."""
        return (self.note.entities if self.note else None) or self.entities or Entities()


class UserCounts(Payload):
    """A user's public numbers."""

    followers_count: int | None = Field(default=None, ge=0)


class User(Payload):
    """A user."""

    id: Id
    username: str | None = None
    name: str | None = None
    verified: bool | None = None
    profile_image_url: str | None = None
    public_metrics: UserCounts | None = None


class Variant(Payload):
    """One encoding of a video."""

    url: str | None = None
    content_type: str | None = None
    bit_rate: int = 0


class Media(Payload):
    """A picture or video of a post or message."""

    media_key: str
    type: str = ""
    url: str | None = None
    preview_image_url: str | None = None
    alt_text: str | None = None
    variants: Annotated[list[Variant], BeforeValidator(_optional_list)] = []


class MessageEvent(Payload):
    """A direct message event of API v2."""

    id: Id
    event_type: str = "MessageCreate"
    text: str = ""
    sender_id: Id | None = None
    dm_conversation_id: str | None = None
    created_at: AwareDatetime | None = None
    entities: Entities | None = None
    attachments: MediaKeys | None = None


class MessageTarget(Payload):
    """Who a message goes to."""

    recipient_id: Id | None = None


class AttachedMedia(Payload):
    """A message's picture or video in the older shape."""

    media_url_https: str | None = None
    type: str = ""
    id: Id | None = Field(default=None, validation_alias=AliasChoices("id_str", "id"))


class MessageAttachment(Payload):
    """What hangs on a message in the older shape."""

    media: AttachedMedia | None = None


class MessageData(Payload):
    """What a message says."""

    text: str = ""
    entities: Entities | None = None
    attachment: MessageAttachment | None = None


class MessageCreate(Payload):
    """Who said what to whom."""

    sender_id: Id
    target: MessageTarget = MessageTarget()
    message_data: MessageData = MessageData()


class ActivityMessage(Payload):
    """A direct message as the activity webhooks carry it."""

    id: Id
    type: str = "message_create"
    created_timestamp: Id | None = None
    message_create: MessageCreate | None = None


class Problem(Payload):
    """One error in an answer: a problem document, or the older code and message."""

    type: str = ""
    title: str = ""
    detail: str = ""
    status: int | None = None
    code: int | None = None
    message: str = ""
    reason: str | None = None
    resource_id: Annotated[str | None, BeforeValidator(_string)] = None
    value: Annotated[str | None, BeforeValidator(_string)] = None

    @property
    def name(self) -> str:
        """The last part of the type, such as `resource-not-found`; empty where X gives none."""
        return self.type.rpartition("/problems/")[2] if "/problems/" in self.type else ""

    @property
    def words(self) -> str:
        """X's own words for people."""
        return ": ".join(part for part in (self.title, self.detail or self.message) if part)


def read(model: type[P], value: Any, what: str) -> P:
    """Check foreign data against its model. Raises Malformed naming the field."""
    try:
        return model.model_validate(value)
    except ValidationError as error:
        first = error.errors(include_url=False, include_input=False)[0]
        where = ".".join(str(part) for part in first["loc"]) or "value"
        raise Malformed(f"{what}: {where}: {first['msg']}") from None


class Includes:
    """What an answer or event carries beside its objects, by id; a broken one of these is passed over."""

    def __init__(self, value: Any) -> None:
        value = value if isinstance(value, Mapping) else {}
        self.posts = {post.id: post for post in _each(Post, value.get("tweets"), value.get("posts"))}
        self.users = {user.id: user for user in _each(User, value.get("users"))}
        self.media = {item.media_key: item for item in _each(Media, value.get("media"))}
        self.ids_by_handle = {user.username.lower(): user.id for user in self.users.values() if user.username}

    def add_users(self, value: Any) -> None:
        """Take in the users of a message event, a map by id or a list, wrapped or not."""
        for user in _each(User, list(value.values()) if isinstance(value, Mapping) else value):
            self.users[user.id] = user


def _each(model: type[P], *lists: Any) -> Iterator[P]:
    for items in lists:
        for item in items if isinstance(items, list) else ():
            try:
                yield model.model_validate(unwrapped(item))
            except ValidationError:
                continue
