"""What an admin enters: one account at one Mastodon server, and what that server said of its limits."""

from __future__ import annotations

from typing import Annotated, Literal
from urllib.parse import urlsplit

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, SecretStr, StringConstraints

from gateway_mastodon.names import address


def _base_url(value: str) -> str:
    parts = urlsplit(value)
    if parts.scheme not in ("https", "http") or not parts.netloc or parts.path.strip("/"):
        raise ValueError("expected an address without a path, such as https://mastodon.example")
    return f"{parts.scheme}://{parts.netloc}"


BaseUrl = Annotated[str, AfterValidator(_base_url)]
IMAGES = ("image/jpeg", "image/png", "image/gif", "image/webp")


class MastodonConfig(BaseModel):
    """One account at one server. Each server is its own: there is no registration common to all.

    The limits stand here because a reply is measured without asking the server; `install` reads them from
    `/api/v2/instance`, and `check` says when they have changed there.
    """

    model_config = ConfigDict(extra="forbid")

    base_url: BaseUrl = Field(description="The server's address, such as https://mastodon.example.")
    access_token: SecretStr = Field(
        description="The account's token with the scopes read:accounts read:notifications read:statuses write:statuses "
        "write:media, from Preferences, Development, or from connecting the account.",
    )
    account_id: Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9_-]{1,64}$")] = Field(
        description="The account's id at its server; `discover` finds it."
    )
    username: Annotated[str, StringConstraints(pattern=r"^@?[A-Za-z0-9_]+([.-]+[A-Za-z0-9_]+)*$")] = Field(
        description="The account's name, without the server."
    )
    domain: Annotated[str, StringConstraints(min_length=1, max_length=253, to_lower=True)] | None = Field(
        default=None,
        description="What follows the second @ in the account's address, where that is not the server's host.",
    )
    streaming_url: BaseUrl | None = Field(
        default=None, description="Where the server streams; read by install. None: at base_url."
    )
    streaming: bool = Field(default=True, description="Whether the stream is followed; else news wait for the poll.")
    public_answers: Literal["unlisted", "public"] = Field(
        default="unlisted",
        description="How answers to public posts are listed; `unlisted` spares others' timelines, and is as public.",
    )
    followers_only_answers: Literal["direct", "private"] = Field(
        default="direct",
        description="How posts for their author's followers are answered: to the author alone, or to this account's "
        "own followers too.",
    )
    language: Annotated[str, StringConstraints(min_length=2, max_length=35)] | None = Field(
        default=None, description="The language of the answers; none: that of the post answered."
    )
    max_characters: int = Field(default=500, ge=1, le=1_000_000, description="The server's limit; read by install.")
    url_length: int = Field(default=23, ge=1, le=4096, description="What each link counts there; read by install.")
    max_media: int = Field(default=4, ge=0, le=100, description="Files in one post; read by install.")
    media_types: list[str] = Field(default=list(IMAGES), description="Types of files it takes; read by install.")
    image_bytes: int = Field(default=16_777_216, ge=0, description="The largest picture; read by install.")
    video_bytes: int = Field(default=103_809_024, ge=0, description="The largest video or sound; read by install.")
    media_hosts: list[BaseUrl] = Field(
        default_factory=list,
        description="Where files of posts may be fetched from besides the server itself; install finds its file host.",
    )
    history_days: int = Field(default=90, ge=0, le=365, description="How far back the first poll reads.")
    recheck_days: int = Field(
        default=3, ge=0, le=30, description="For so long are mentions looked at again for edits and deletions."
    )
    recheck_minutes: int = Field(default=30, ge=5, le=24 * 60, description="How often that is done.")

    @property
    def home(self) -> str:
        """The domain of the addresses of this server's accounts."""
        return self.domain or (urlsplit(self.base_url).hostname or "").lower()

    @property
    def account(self) -> str:
        """The account's full address, `support@mastodon.example`."""
        return address(self.username.removeprefix("@"), self.home)

    @property
    def streams_at(self) -> str:
        """Where the server streams."""
        return self.streaming_url or self.base_url
