"""What a connection to Chatwoot needs to know."""

from __future__ import annotations

from urllib.parse import urlsplit

from pydantic import BaseModel, ConfigDict, Field, SecretStr, field_validator

GATEWAY_ATTRIBUTES = ("gw_state", "gw_last_url", "gw_next_due", "gw_sla", "gateway_key")
"""Custom attributes of conversations that hold the gateway's state, and our ticket's key."""


class ChatwootConfig(BaseModel):
    """One inbox of one Chatwoot account. `install` fills inbox, API user, webhook and its secret."""

    model_config = ConfigDict(extra="forbid", frozen=True, use_attribute_docstrings=True)

    base_url: str = "https://app.chatwoot.com"
    """Chatwoot's cloud, or where it is hosted oneself."""
    account_id: int = Field(ge=1)
    """The number in the dashboard's address: `/app/accounts/1/…`."""
    api_token: SecretStr
    """The access token of a user made for the gateway (Profile settings → Access token): an administrator for
    `install`."""
    api_user_id: int | None = None
    """The gateway's own user: what it writes without our mark is another integration's."""
    inbox_id: int | None = None
    """The API channel that holds the gateway's conversations; `install` makes one where none is given."""
    inbox_name: str = "Helpdesk gateway"
    """The name of the inbox that `install` makes or finds."""
    webhook_id: int | None = None
    """The account's webhook that calls the gateway."""
    webhook_secrets: tuple[SecretStr, ...] = ()
    """What Chatwoot signs webhooks with; several while one is rotated."""
    url_token: SecretStr | None = None
    """For releases that do not sign: a secret that webhooks carry as `?token=`. What comes so is a hint only."""
    labels: tuple[str, ...] = ("gateway",)
    """Labels that every conversation of this connection carries."""
    attributes: dict[str, str] = Field(default_factory=dict)
    """Our names of values (`source`, `rating`, `language`, …) to keys of custom attributes, where they are others."""
    waiting: str = Field(default="pending", pattern="^(pending|snoozed)$")
    """The status that our `waiting` becomes."""
    team_id: int | None = None
    """The team that new conversations go to, unless a policy names one."""
    media_hosts: tuple[str, ...] = ()
    """Where agents' files are kept, beside Chatwoot itself: the object store that it redirects to."""
    requests_a_minute: int = Field(default=3000, ge=1)
    """Chatwoot's limit for each address (`RACK_ATTACK_LIMIT`, by default 3000); its cloud allows less."""
    share: float = Field(default=0.7, gt=0, le=1)
    """How much of that the gateway may use; the rest is for everybody else behind the same address."""

    @field_validator("base_url")
    @classmethod
    def _no_trailing_slash(cls, value: str) -> str:
        parts = urlsplit(value)
        if parts.scheme not in ("http", "https") or not parts.hostname or parts.query or parts.fragment:
            raise ValueError("base_url must be like https://app.chatwoot.com")
        return value.rstrip("/")

    @property
    def api(self) -> str:
        """The base of the application API."""
        return f"{self.base_url}/api/v1/accounts/{self.account_id}"

    def shown(self, conversation: int | str) -> str:
        """Where agents see a conversation."""
        return f"{self.base_url}/app/accounts/{self.account_id}/conversations/{conversation}"

    def attribute(self, ours: str) -> str:
        """The key of the custom attribute for one of our names."""
        return self.attributes.get(ours, ours)
