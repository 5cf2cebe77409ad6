"""The parts of Google's objects that we read: `reviews` of the Google Play Developer API, version 3."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from functools import cached_property
from typing import Annotated, Any, NamedTuple, TypeVar

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, ValidationError
from pydantic.alias_generators import to_camel

from gateway_schemas.errors import Malformed

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_LAST = int(datetime(9999, 1, 1, tzinfo=UTC).timestamp())


class Payload(BaseModel):
    """Foreign data: unknown fields are passed over, known ones must have their type."""

    model_config = ConfigDict(extra="ignore", frozen=True, populate_by_name=True, alias_generator=to_camel)


P = TypeVar("P", bound=Payload)


def _list(value: Any) -> Any:
    return [] if value is None else value


class Timestamp(Payload):
    """A time as a count of seconds, which JSON of protocol buffers writes as text, and of nanoseconds."""

    seconds: int = Field(default=0, ge=0, le=_LAST)
    nanos: int = Field(default=0, ge=0, le=999_999_999)

    @property
    def at(self) -> datetime:
        """The time, to the microsecond."""
        return _EPOCH + timedelta(seconds=self.seconds, microseconds=self.nanos // 1000)

    @property
    def exact(self) -> str:
        """The time with all of its digits: what tells one version from the next."""
        return f"{self.seconds}.{self.nanos:09d}"


class DeviceMetadata(Payload):
    """The author's device."""

    product_name: str | None = None
    manufacturer: str | None = None
    device_class: str | None = None
    native_platform: str | None = None
    ram_mb: int | None = None
    screen_width_px: int | None = None
    screen_height_px: int | None = None
    screen_density_dpi: int | None = None
    gl_es_version: int | None = None
    cpu_model: str | None = None
    cpu_make: str | None = None


class UserComment(Payload):
    """What the author wrote."""

    text: str = ""
    original_text: str | None = None
    last_modified: Timestamp
    star_rating: int | None = Field(default=None, ge=1, le=5)
    reviewer_language: str | None = None
    device: str | None = None
    android_os_version: int | None = None
    app_version_code: int | None = None
    app_version_name: str | None = None
    thumbs_up_count: int | None = None
    thumbs_down_count: int | None = None
    device_metadata: DeviceMetadata | None = None


class DeveloperComment(Payload):
    """The developer's reply."""

    text: str = ""
    last_modified: Timestamp | None = None


class Conversation(NamedTuple):
    """What both sides have written."""

    words: UserComment
    """The author's newest comment."""
    reply: DeveloperComment | None
    """The reply in the slot, where there is one."""
    broken: list[str]
    """What cannot be read beside the author's words, each with its place."""


class Review(Payload):
    """One review."""

    review_id: str = Field(min_length=1)
    author_name: str | None = None
    comments: Annotated[list[Any], BeforeValidator(_list)] = []

    @cached_property
    def conversation(self) -> Conversation:
        """The comments, read. Raises Malformed where there are no words of the author's."""
        words: list[UserComment] = []
        replies: list[DeveloperComment] = []
        broken: list[str] = []
        for index, comment in enumerate(self.comments):
            entry = comment if isinstance(comment, dict) else {}
            try:
                if entry.get("userComment") is not None:
                    words.append(read(UserComment, entry["userComment"], f"comments[{index}].userComment"))
                elif entry.get("developerComment") is not None:
                    reply = read(DeveloperComment, entry["developerComment"], f"comments[{index}].developerComment")
                    replies += [reply] if reply.text else []
                else:
                    broken.append(f"comments[{index}]: expected a userComment or a developerComment")
            except Malformed as error:
                broken.append(error.reason)
        if not words:
            raise Malformed("; ".join(broken) or "comments: expected a userComment")
        newest = max(words, key=lambda one: (one.last_modified.seconds, one.last_modified.nanos))
        return Conversation(newest, replies[-1] if replies else None, broken)

    @property
    def words(self) -> UserComment:
        """The author's newest comment. Raises Malformed when there is none."""
        return self.conversation.words

    @property
    def reply(self) -> DeveloperComment | None:
        """The reply in the slot, where there is one. Raises Malformed when the author wrote nothing."""
        return self.conversation.reply


class ReplyResult(Payload):
    """What Google made of a reply."""

    reply_text: str = ""
    last_edited: Timestamp | None = None


def read(model: type[P], value: Any, what: str) -> P:
    """Read one object. Raises Malformed naming the field."""
    try:
        return model.model_validate(value)
    except ValidationError as error:
        first = error.errors()[0]
        place = ".".join(str(part) for part in first["loc"])
        raise Malformed(f"{what}: {place or 'object'}: {first['msg']}") from None
