"""What an admin enters: the App at Meta, and each Page or Instagram account that it acts for."""

from __future__ import annotations

from typing import Annotated, Literal
from urllib.parse import urlsplit

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, SecretStr, StringConstraints, model_validator

GRAPH = "https://graph.facebook.com"
INSTAGRAM_GRAPH = "https://graph.instagram.com"
UNKNOWN = "0"
"""The id of an account that is still to be connected."""


def _base_url(value: str) -> str:
    parts = urlsplit(value)
    if parts.scheme not in ("https", "http") or not parts.netloc or parts.path.strip("/"):
        raise ValueError("expected an address without a path, such as https://graph.facebook.com")
    return f"{parts.scheme}://{parts.netloc}"


ObjectId = Annotated[str, StringConstraints(pattern=r"^[0-9]{1,30}$")]
MediaHost = Annotated[str, StringConstraints(pattern=r"^https?://[^/\s]+$")]
BaseUrl = Annotated[str, AfterValidator(_base_url)]


class MetaApp(BaseModel):
    """One App at Meta: it owns the webhook, the secrets and what App Review has granted."""

    model_config = ConfigDict(extra="forbid")

    app_id: ObjectId = Field(description="The App's id.")
    app_secret: SecretStr = Field(min_length=1, description="The App's secret. Meta signs webhooks with it.")
    previous_app_secrets: list[SecretStr] = Field(
        default_factory=list,
        description="Secrets that were in force before; webhooks signed with them are still taken. Empty it when done.",
    )
    instagram_app_secret: SecretStr | None = Field(
        default=None,
        description="The secret of the App's Instagram product, which signs webhooks of accounts with Instagram Login.",
    )
    verify_token: SecretStr = Field(
        min_length=1, description="Any text of your own; Meta repeats it when it asks whether the door is yours."
    )
    human_agent: bool = Field(
        default=False,
        description="Whether App Review granted Human Agent: messages may be answered for 7 days instead of 24 hours.",
    )
    graph_version: Annotated[str, StringConstraints(pattern=r"^v[0-9]{1,3}\.[0-9]{1,2}$")] = Field(
        default="v25.0", description="The version of the Graph API that is called."
    )
    base_url: BaseUrl = Field(default=GRAPH, description="Where the Graph API is; another one only for a twin.")
    instagram_base_url: BaseUrl = Field(
        default=INSTAGRAM_GRAPH, description="Where the Graph API of Instagram Login is; another one only for a twin."
    )


class MetaConfig(BaseModel):
    """One Facebook Page, or one Instagram professional account."""

    model_config = ConfigDict(extra="forbid")

    platform: Literal["page", "instagram"] = Field(default="page", description="What the account is.")
    account_id: ObjectId = Field(description="The id of the Page or of the Instagram account; `discover` finds it.")
    page_id: ObjectId | None = Field(
        default=None,
        description="Of an Instagram account: the Page it is linked to. None: it uses Instagram Login.",
    )
    access_token: SecretStr = Field(
        min_length=1,
        description="The Page's token, or that of a user or system user who manages the Page; with Instagram Login the "
        "account's long-lived token.",
    )
    messages: bool = Field(default=True, description="Whether private messages are read and answered too.")
    max_text: int | None = Field(
        default=None, ge=1, le=8000, description="A limit of your own for public answers, below Meta's."
    )
    history_days: int = Field(default=90, ge=0, le=365, description="How far back the first poll reads.")
    watch_days: int = Field(
        default=30, ge=1, le=365, description="Polls look for new comments under posts of so many days."
    )
    media_hosts: list[MediaHost] = Field(
        default=["https://*.fbcdn.net", "https://*.cdninstagram.com", "https://lookaside.fbsbx.com"],
        description="Where pictures and videos may be fetched from; others only for a twin.",
    )

    @model_validator(mode="after")
    def _linked(self) -> MetaConfig:
        if self.platform == "page" and self.page_id is not None:
            raise ValueError("page_id is for Instagram accounts; a Page's own id is account_id")
        return self

    @property
    def instagram(self) -> bool:
        """Whether it is an Instagram account."""
        return self.platform == "instagram"

    @property
    def instagram_login(self) -> bool:
        """Whether it is called at graph.instagram.com, with a token of its own and without a Page."""
        return self.instagram and self.page_id is None and self.account_id != UNKNOWN

    @property
    def page(self) -> str | None:
        """The Page whose token is used; None with Instagram Login."""
        return self.page_id if self.instagram else self.account_id

    @property
    def messaging_node(self) -> str:
        """Whose messages edge sends: the Page's, or the Instagram account's own."""
        return self.page or self.account_id

    @property
    def own_ids(self) -> list[str]:
        """The ids under which the account itself speaks."""
        return list(dict.fromkeys(id for id in (self.account_id, self.page_id) if id))
