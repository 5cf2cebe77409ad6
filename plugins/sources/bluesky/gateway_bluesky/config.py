"""What an admin enters: one account at Bluesky, or at another server of the AT Protocol."""

from __future__ import annotations

from typing import Annotated
from urllib.parse import urlsplit

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, SecretStr, StringConstraints

from gateway_bluesky.names import DID_PATTERN, HANDLE_PATTERN


def _base_url(value: str) -> str:
    parts = urlsplit(value)
    if parts.scheme not in ("https", "http") or not parts.netloc or parts.path.strip("/"):
        raise ValueError("expected an address without a path, such as https://bsky.social")
    return f"{parts.scheme}://{parts.netloc}"


BaseUrl = Annotated[str, AfterValidator(_base_url)]
Did = Annotated[str, StringConstraints(pattern=DID_PATTERN, max_length=2048)]
Handle = Annotated[str, StringConstraints(pattern=HANDLE_PATTERN, max_length=253, to_lower=True)]


class BlueskyConfig(BaseModel):
    """One account. It logs in with an app password; sessions are kept in the connection's state."""

    model_config = ConfigDict(extra="forbid")

    did: Did = Field(description="The account's identifier, did:plc:…, which never changes; `discover` finds it.")
    handle: Handle = Field(description="The account's present handle, such as acme.example.com.")
    app_password: SecretStr = Field(
        description="From Settings, Privacy and security, App passwords; with access to direct messages for those.",
    )
    base_url: BaseUrl = Field(default="https://bsky.social", description="Where the account logs in.")
    pds_url: BaseUrl | None = Field(
        default=None, description="The account's own server, where its posts are kept; read by install."
    )
    direct_messages: bool = Field(default=False, description="Whether direct messages are read and answered.")
    chat_service: Annotated[str, StringConstraints(pattern=r"^did:[a-z]+:[A-Za-z0-9._:%-]+#[A-Za-z0-9_-]+$")] = Field(
        default="did:web:api.bsky.chat#bsky_chat", description="The service that the server asks for messages."
    )
    language: Annotated[str, StringConstraints(min_length=2, max_length=35)] | None = Field(
        default=None, description="The language of the answers; none: that of the post answered."
    )
    history_days: int = Field(default=90, ge=0, le=365, description="How far back the first poll reads.")
    thread_days: int = Field(
        default=7, ge=0, le=30, description="For so long are threads under the account's own posts looked into."
    )
    recheck_days: int = Field(
        default=3, ge=0, le=30, description="For so long are posts looked at again for changes and deletions."
    )
    recheck_minutes: int = Field(default=30, ge=5, le=24 * 60, description="How often that is done.")
    media_hosts: list[BaseUrl] = Field(
        default=["https://cdn.bsky.app"], description="Where pictures of posts may be fetched from."
    )

    @property
    def home(self) -> str:
        """Where everything but logging in goes: the account's own server."""
        return self.pds_url or self.base_url
