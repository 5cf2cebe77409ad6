"""What the plugin reads of Mastodon's entities. Fields it does not name are passed over."""

from __future__ import annotations

from typing import Annotated, Any, TypeVar

from pydantic import AwareDatetime, BaseModel, BeforeValidator, ConfigDict, Field, ValidationError

from gateway_schemas.errors import Malformed


def _id(value: Any) -> Any:
    """Ids are strings. A number would have lost digits beyond 2**53 on its way through other programs, not here."""
    return str(value) if isinstance(value, int) and not isinstance(value, bool) else value


Id = Annotated[str, BeforeValidator(_id), Field(min_length=1, max_length=128)]


class Entity(BaseModel):
    """Common to all: unknown fields are ignored."""

    model_config = ConfigDict(extra="ignore")


class Account(Entity):
    """Entities::Account."""

    id: Id
    acct: str = Field(min_length=1, max_length=512)
    display_name: str | None = None
    url: str | None = None
    avatar: str | None = None
    followers_count: int | None = None


class Mention(Entity):
    """Entities::Status::Mention."""

    id: Id
    acct: str = Field(min_length=1, max_length=512)
    url: str | None = None


class Media(Entity):
    """Entities::MediaAttachment."""

    id: Id
    type: str = "unknown"
    url: str | None = None
    remote_url: str | None = None
    description: str | None = None


class Quoted(Entity):
    """The post that a Quote is of."""

    id: Id
    account: Account | None = None


class Quote(Entity):
    """Entities::Quote and ShallowQuote."""

    state: str | None = None
    quoted_status: Quoted | None = None
    quoted_status_id: Id | None = None


class Option(Entity):
    """One answer of a poll."""

    title: str = ""


class Poll(Entity):
    """Entities::Poll."""

    options: list[Option] = Field(default_factory=list)


class Status(Entity):
    """Entities::Status."""

    id: Id
    uri: str | None = None
    url: str | None = None
    created_at: AwareDatetime
    edited_at: AwareDatetime | None = None
    account: Account
    content: str | None = None
    spoiler_text: str | None = None
    sensitive: bool | None = None
    visibility: str = "public"
    language: str | None = None
    in_reply_to_id: Id | None = None
    in_reply_to_account_id: Id | None = None
    mentions: list[Mention] = Field(default_factory=list)
    media_attachments: list[Media] = Field(default_factory=list)
    quote: Quote | None = None
    poll: Poll | None = None
    reblog: dict[str, Any] | None = None

    @property
    def quoted(self) -> str | None:
        """The id of the post it quotes."""
        if self.quote is None:
            return None
        return self.quote.quoted_status.id if self.quote.quoted_status else self.quote.quoted_status_id


class StatusEdit(Entity):
    """Entities::StatusEdit: one version of a post; `created_at` is when it became this."""

    content: str | None = None
    spoiler_text: str | None = None
    sensitive: bool | None = None
    created_at: AwareDatetime
    media_attachments: list[Media] = Field(default_factory=list)
    poll: Poll | None = None


class Notification(Entity):
    """Entities::Notification."""

    id: Id
    type: str
    created_at: AwareDatetime
    status: dict[str, Any] | None = None


E_ = TypeVar("E_", bound=Entity)


def read(model: type[E_], value: Any, what: str) -> E_:
    """Read an entity. Raises Malformed naming the field."""
    try:
        return model.model_validate(value)
    except ValidationError as error:
        first = error.errors(include_url=False, include_input=False)[0]
        where = ".".join(str(part) for part in first["loc"])
        raise Malformed(f"{what}{'.' if where else ''}{where}: {first['msg']}") from None
