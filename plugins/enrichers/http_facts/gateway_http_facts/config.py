"""What an admin enters for one system that knows customers."""

from __future__ import annotations

import base64
from typing import Annotated, Any

import httpx2
from pydantic import AfterValidator, BaseModel, ConfigDict, Field, SecretStr


def _url(value: str) -> str:
    try:
        url = httpx2.URL(value)
    except httpx2.InvalidURL:
        url = httpx2.URL()
    if url.scheme not in ("https", "http") or not url.host or url.userinfo or url.fragment:
        raise ValueError("expected an address such as https://crm.example/gateway/facts")
    return value


def _secret(value: SecretStr) -> SecretStr:
    text = value.get_secret_value()
    try:
        key = base64.b64decode(text.removeprefix("whsec_"), validate=True)
    except ValueError:
        key = b""
    if not text.startswith("whsec_") or not 24 <= len(key) <= 64:
        raise ValueError("expected whsec_ and 24 to 64 random bytes in base64: echo whsec_$(openssl rand -base64 32)")
    return value


class HttpFactsConfig(BaseModel):
    """One address that is asked who somebody is."""

    model_config = ConfigDict(extra="forbid", hide_input_in_errors=True)

    url: Annotated[str, AfterValidator(_url)] = Field(description="Where questions are posted.")
    secret: Annotated[SecretStr, AfterValidator(_secret)] = Field(
        description="The whsec_ secret that questions are signed with, after Standard Webhooks."
    )
    deadline: float = Field(
        default=2.0, gt=0, le=10, description="How many seconds a message waits for the answer before it goes on."
    )
    cache_minutes: float = Field(
        default=10.0, gt=0, le=1440, description="How many minutes an answer holds for the same account."
    )
    default: dict[str, Any] = Field(
        default_factory=dict, description="The facts where nothing is known yet and no answer comes in time."
    )
    text: bool = Field(default=False, description="Whether the message's text is sent along; else who wrote and where.")
