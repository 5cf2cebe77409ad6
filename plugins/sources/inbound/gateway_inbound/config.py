"""What an admin enters for one system that pushes its interactions itself."""

from __future__ import annotations

import base64
from typing import Annotated, Self

import httpx2
from pydantic import AfterValidator, BaseModel, ConfigDict, Field, SecretStr, model_validator

from gateway_schemas.interaction import Identifier
from gateway_schemas.length import Counting


def _secret(value: SecretStr) -> SecretStr:
    """Standard Webhooks asks for 24 to 64 random bytes; a shorter secret can be guessed."""
    text = value.get_secret_value()
    try:
        key = base64.b64decode(text.removeprefix("whsec_"), validate=True)
    except ValueError:
        key = b""
    if not text.startswith("whsec_") or not 24 <= len(key) <= 64:
        raise ValueError("expected whsec_ and 24 to 64 random bytes in base64: echo whsec_$(openssl rand -base64 32)")
    return value


def _reply_url(value: str) -> str:
    try:
        url = httpx2.URL(value)
    except httpx2.InvalidURL:
        url = httpx2.URL()
    odd = url.userinfo or url.fragment or (url.port or 0) > 65_535
    if url.scheme not in ("https", "http") or not url.host or odd:
        raise ValueError("expected an address such as https://forum.example/gateway/replies")
    return value


Secret = Annotated[SecretStr, AfterValidator(_secret)]
ReplyUrl = Annotated[str, AfterValidator(_reply_url)]


class InboundConfig(BaseModel):
    """One system, speaking for one account of the brand."""

    model_config = ConfigDict(extra="forbid", hide_input_in_errors=True)

    system: str = Field(default="The system", min_length=1, description="Its name, as agents and admins shall read it.")
    account: Identifier = Field(
        default="default",
        description="The name of the brand's account at that system, as its events and replies shall carry it.",
    )
    signing_secrets: list[Secret] = Field(
        min_length=1,
        description="Standard Webhooks secrets (whsec_…) that its webhooks may be signed with; several while one is "
        "being replaced.",
    )
    tolerance: int = Field(
        default=300, ge=1, le=3600, description="How many seconds a webhook's time may be off, in either direction."
    )
    own_authors: list[Identifier] = Field(
        default_factory=list,
        description="Author ids of the company's own accounts there; what they write is outbound and opens no ticket.",
    )
    reply_url: ReplyUrl | None = Field(
        default=None, description="Where replies are posted, as signed webhooks. Without it nobody can answer."
    )
    reply_secret: Secret | None = Field(default=None, description="The whsec_ secret that replies are signed with.")
    receiver_dedupes: bool = Field(
        default=True,
        description="Whether the system takes a repeated webhook-id for the same message, as Standard Webhooks asks. "
        "If not, a reply without an answer is not repeated: a person is asked.",
    )
    reply_files: int = Field(
        default=0,
        ge=0,
        le=20_000_000,
        description="How many bytes of files a reply may carry, in base64 within `data.files`; 0: none.",
    )
    media_hosts: list[str] = Field(
        default_factory=list,
        description="Base URLs that attachments may be fetched from, such as https://files.forum.example; others are "
        "named by their links.",
    )
    text_limit: int | None = Field(default=None, ge=1, description="The longest reply that the system takes.")
    text_counting: Counting = Field(default=Counting.code_points, description="What that limit counts.")
    one_slot: bool = Field(
        default=False, description="Whether a second answer to the same thing replaces the first there."
    )

    @model_validator(mode="after")
    def _replies_are_signed(self) -> Self:
        if self.reply_url is not None and self.reply_secret is None:
            raise ValueError("reply_secret is required with reply_url; replies are signed")
        return self
