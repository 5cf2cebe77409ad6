"""What a connection to Zendesk needs to know."""

from __future__ import annotations

from typing import Literal
from urllib.parse import urlsplit

from pydantic import BaseModel, ConfigDict, Field, SecretStr, field_validator, model_validator

from gateway_schemas.ticket import Priority

TheirPriority = Literal["low", "normal", "high", "urgent"]

GATEWAY_FIELDS = ("gw_state", "gw_last_url", "gw_next_due", "gw_sla")
"""Our names of the custom fields that hold the gateway's state on a ticket."""


class ZendeskConfig(BaseModel):
    """One Zendesk account. `install` fills webhook, trigger, signing secrets and the API user's id."""

    model_config = ConfigDict(extra="forbid", frozen=True, hide_input_in_errors=True, use_attribute_docstrings=True)

    subdomain: str | None = Field(default=None, pattern=r"^[a-zA-Z0-9][a-zA-Z0-9-]*$")
    """`acme` for https://acme.zendesk.com; or give `base_url`."""
    base_url: str | None = None
    """The account's address where it is not under zendesk.com, or a twin's."""
    email: str | None = None
    """The user that the API token acts as: a person of staff made for the gateway, admin for `install` and polling."""
    api_token: SecretStr | None = None
    """An API token of the account."""
    oauth_token: SecretStr | None = None
    """An OAuth access token, instead of e-mail and API token. Connecting the account fills it, and it is renewed."""
    oauth_client_id: str | None = None
    """The unique identifier of the account's OAuth client for the gateway, by which the account is connected."""
    oauth_client_secret: SecretStr | None = None
    """The secret of that client; a public client has none."""
    api_user_id: int | None = None
    """The id of the user that the gateway acts as; `install` finds it."""
    signing_secrets: tuple[SecretStr, ...] = ()
    """The webhook's signing secret, and the one before it while it is being rotated."""
    webhook_id: str | None = None
    """The webhook that brings news to the gateway; `install` makes it."""
    trigger_id: int | None = None
    """The trigger that calls the webhook; `install` makes it."""
    trigger_category_id: str | None = None
    """The category for the trigger, where the account sorts its triggers and the first category will not do."""
    tag: str = Field(default="gateway", pattern=r"^[^\s,]+$")
    """The tag that every ticket of this connection carries; trigger and poll go by it."""
    key_prefix: str = "gateway:"
    """Beginning of our tickets' external ids: tickets that lost the tag are still known by it. Empty: by tag only."""
    fields: dict[str, int] = Field(default_factory=dict)
    """Our field names (`gw_state`, `gw_last_url`, `gw_next_due`, `gw_sla`, `leg`, `source`, `rating`, …) to the ids of
    custom ticket fields."""
    create_fields: bool = False
    """Whether `install` creates the `gw_*` fields that are not mapped."""
    priorities: dict[Priority, TheirPriority] = Field(default_factory=dict)
    """Where our priority is another one at this account."""
    waiting: Literal["pending", "hold"] = "pending"
    """The status that our `waiting` becomes; `hold` must be switched on in the account."""
    brand_id: int | None = None
    """The brand that new tickets are for."""
    group_id: int | None = None
    """The group that new tickets are put with."""
    ticket_form_id: int | None = None
    """The form that new tickets have."""
    media_hosts: tuple[str, ...] = ("https://*.zendesk.com", "https://*.zdusercontent.com")
    """Where files that agents attach may be fetched from, besides the account itself."""
    other_channels: bool = True
    """Whether the poll reads by which channel other tickets (e-mail, phone, web form) came and when they were answered
    and solved, for the parity report; nothing else of them is ever kept."""
    share: float = Field(default=0.7, gt=0, le=1)
    """How much of the account's rate limit the gateway may use; the rest is for everybody else."""

    @field_validator("base_url")
    @classmethod
    def _no_trailing_slash(cls, value: str | None) -> str | None:
        if value is None:
            return None
        parts = urlsplit(value)
        if parts.scheme not in ("http", "https") or not parts.hostname or parts.query or parts.fragment:
            raise ValueError("base_url must be like https://acme.zendesk.com")
        return value.rstrip("/")

    @field_validator("tag")
    @classmethod
    def _lower(cls, value: str) -> str:
        # Zendesk stores tags in lower case; the trigger compares with what is stored
        return value.lower()

    @model_validator(mode="after")
    def _complete(self) -> ZendeskConfig:
        if (self.subdomain is None) == (self.base_url is None):
            raise ValueError("give either subdomain or base_url")
        if self.oauth_token is None and (self.email is None or self.api_token is None):
            raise ValueError("give email and api_token, or oauth_token")
        return self

    @property
    def url(self) -> str:
        """The account's base URL, without a slash at the end."""
        return self.base_url or f"https://{self.subdomain}.zendesk.com"

    def their_priority(self, ours: Priority) -> str:
        """Our priority in this account's words."""
        return self.priorities.get(ours, ours)

    def our_priority(self, theirs: object) -> Priority | None:
        """The account's priority in ours: the same word where it means the same, else the first one mapped to it."""
        ours: tuple[Priority, ...] = ("low", "normal", "high", "urgent")
        for one in sorted(ours, key=lambda one: one != theirs):
            if self.their_priority(one) == theirs:
                return one
        return None
