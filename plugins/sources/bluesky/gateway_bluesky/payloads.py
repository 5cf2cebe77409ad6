"""What the plugin reads of the lexicons `app.bsky` and `chat.bsky`. Fields it does not name are passed over."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, TypeVar

from pydantic import AwareDatetime, BaseModel, ConfigDict, Field, ValidationError

from gateway_schemas.errors import Malformed


class Lexicon(BaseModel):
    """Common to all: unknown fields are ignored, `$type` is read where it tells variants apart."""

    model_config = ConfigDict(extra="ignore", populate_by_name=True)


class Profile(Lexicon):
    """app.bsky.actor.defs#profileViewBasic."""

    did: str = Field(min_length=1, max_length=2048)
    handle: str | None = None
    display_name: str | None = Field(default=None, alias="displayName")
    avatar: str | None = None


class StrongRef(Lexicon):
    """com.atproto.repo.strongRef: a record at one version."""

    uri: str = Field(min_length=1, max_length=1024)
    cid: str = Field(min_length=1, max_length=256)


class Reply(Lexicon):
    """app.bsky.feed.post#replyRef."""

    root: StrongRef
    parent: StrongRef


class Slice(Lexicon):
    """app.bsky.richtext.facet#byteSlice: offsets in UTF-8 bytes, the end left out."""

    start: int = Field(alias="byteStart", ge=0)
    end: int = Field(alias="byteEnd", ge=0)


class Feature(Lexicon):
    """What a stretch of text is: a mention with `did`, a link with `uri`, a tag with `tag`."""

    type: str = Field(alias="$type", default="")
    did: str | None = None
    uri: str | None = None
    tag: str | None = None


class Facet(Lexicon):
    """app.bsky.richtext.facet."""

    index: Slice
    features: list[Feature] = Field(default_factory=list)


class Record(Lexicon):
    """app.bsky.feed.post. Records are what any client wrote, so what is not needed is read leniently."""

    text: str = ""
    created_at: str | None = Field(default=None, alias="createdAt")
    langs: list[str] = Field(default_factory=list)
    facets: list[Any] = Field(default_factory=list)
    reply: Reply | None = None
    embed: dict[str, Any] | None = None

    @property
    def read_facets(self) -> Iterator[Facet]:
        """The facets that are well-formed; Bluesky shows the others as plain text."""
        for value in self.facets:
            try:
                yield Facet.model_validate(value)
            except ValidationError:
                continue


class Post(Lexicon):
    """app.bsky.feed.defs#postView, and a notification, which has the same of a post."""

    uri: str = Field(min_length=1, max_length=1024)
    cid: str = Field(min_length=1, max_length=256)
    author: Profile
    record: Record
    indexed_at: AwareDatetime = Field(alias="indexedAt")
    embed: dict[str, Any] | None = None


class Sender(Lexicon):
    """chat.bsky.convo.defs#messageViewSender."""

    did: str = Field(min_length=1, max_length=2048)


class Message(Lexicon):
    """chat.bsky.convo.defs#messageView."""

    id: str = Field(min_length=1, max_length=256)
    rev: str = ""
    text: str = ""
    facets: list[Any] = Field(default_factory=list)
    embed: dict[str, Any] | None = None
    sender: Sender
    sent_at: AwareDatetime = Field(alias="sentAt")
    reply_to: dict[str, Any] | None = Field(default=None, alias="replyTo")


L = TypeVar("L", bound=Lexicon)


def several(value: Any) -> list[Any]:
    """A list, or an empty one where there is something else: optional parts do not take the others along."""
    return value if isinstance(value, list) else []


def read(model: type[L], value: Any, what: str) -> L:
    """Read an object. Raises Malformed naming the field."""
    try:
        return model.model_validate(value)
    except ValidationError as error:
        first = error.errors(include_url=False, include_input=False)[0]
        where = ".".join(str(part) for part in first["loc"])
        raise Malformed(f"{what}{'.' if where else ''}{where}: {first['msg']}") from None
