"""What an admin enters: the App at X, and each account that it acts for."""

from __future__ import annotations

from decimal import Decimal
from typing import Annotated, Literal
from urllib.parse import urlsplit

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, SecretStr, StringConstraints

DEFAULT_BASE_URL = "https://api.x.com"


def _base_url(value: str) -> str:
    parts = urlsplit(value)
    if parts.scheme not in ("https", "http") or not parts.netloc or parts.path.strip("/"):
        raise ValueError("expected an address without a path, such as https://api.x.com")
    return f"{parts.scheme}://{parts.netloc}"


SnowflakeId = Annotated[str, StringConstraints(pattern=r"^[0-9]{1,19}$")]
BaseUrl = Annotated[str, AfterValidator(_base_url)]


class XApp(BaseModel):
    """One App at X: it owns the webhook, the rate limits and the bill."""

    model_config = ConfigDict(extra="forbid", hide_input_in_errors=True)

    consumer_secret: SecretStr = Field(
        description="The App's API key secret. X signs webhooks and challenges with it.",
    )
    previous_consumer_secrets: list[SecretStr] = Field(
        default_factory=list,
        description="Secrets that were in force before; webhooks signed with them are still taken. Empty it when done.",
    )
    bearer_token: SecretStr = Field(
        description="The App's own token, for looking up posts, searching and managing webhooks."
    )
    client_id: str | None = Field(
        default=None,
        description="The OAuth 2.0 client id. Needed where connections have refresh tokens.",
    )
    client_secret: SecretStr | None = Field(
        default=None,
        description="The OAuth 2.0 client secret, for confidential clients only.",
    )
    base_url: BaseUrl = Field(default=DEFAULT_BASE_URL, description="Where the API is; another one only for a twin.")
    webhook_id: SnowflakeId | None = Field(
        default=None, description="X's id of the App's webhook. Filled in by install."
    )
    tier: Literal["self_serve", "enterprise"] = Field(
        default="self_serve",
        description="Self-serve Apps may answer only posts whose author mentioned or quoted the account.",
    )
    owner_user_id: SnowflakeId | None = Field(
        default=None,
        description="The account that owns the App. X reads its own timelines at a fifth of the price.",
    )
    daily_cost_usd: Decimal | None = Field(
        default=None, gt=0, description="At most this many US dollars a day for this App's calls; none: no limit."
    )


class XConfig(BaseModel):
    """One account at X."""

    model_config = ConfigDict(extra="forbid", hide_input_in_errors=True)

    user_id: SnowflakeId = Field(description="The account's numeric id; `discover` finds it.")
    username: Annotated[str, StringConstraints(pattern=r"^@?[A-Za-z0-9_]{1,15}$")] = Field(
        description="The account's handle."
    )
    access_token: SecretStr = Field(
        description="The account's token: tweet.read, users.read, tweet.write and, for messages, dm.read, dm.write.",
    )
    refresh_token: SecretStr | None = Field(
        default=None,
        description="With the scope offline.access: renews the access token, which else lives two hours.",
    )
    direct_messages: bool = Field(default=True, description="Whether direct messages are read and answered too.")
    direct_message_poll_minutes: int = Field(
        default=15, ge=0, description="How rarely direct messages are polled: 15 calls a quarter of an hour, paid each."
    )
    premium: bool = Field(default=False, description="Whether the account may post up to 25,000 characters.")
    max_text: int | None = Field(
        default=None, ge=1, le=25_000, description="A limit of your own for public replies, below X's."
    )
    history_days: int = Field(
        default=90, ge=0, le=365, description="How far back the first poll reads; messages: 30 days at most."
    )
    media_hosts: list[BaseUrl] = Field(
        default=["https://pbs.twimg.com", "https://video.twimg.com"],
        description="Where pictures and videos of posts may be fetched from; others only for a twin.",
    )
    base_url: BaseUrl | None = Field(default=None, description="Where the API is, if elsewhere than the App says.")

    @property
    def handle(self) -> str:
        """The handle without its at sign."""
        return self.username.removeprefix("@")

    @property
    def text_limit(self) -> int:
        """The longest weighted length of a public reply from this account."""
        limit = 25_000 if self.premium else 280
        return min(limit, self.max_text or limit)
