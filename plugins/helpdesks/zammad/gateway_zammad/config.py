"""What a connection to Zammad needs to know."""

from __future__ import annotations

import re
from datetime import timedelta
from typing import Literal
from urllib.parse import urlsplit

from pydantic import BaseModel, ConfigDict, Field, SecretStr, field_validator

from gateway_schemas.ticket import Priority, TicketStatus
from gateway_zammad.words import CLOSED, MERGED, PRIORITIES, REMOVED, STATES

GATEWAY_FIELDS = ("gw_state", "gw_last_url", "gw_next_due", "gw_sla", "ticket_key")
"""Our names of the object attributes that hold the gateway's state on a ticket, and its key."""
_ATTRIBUTE = re.compile(r"[a-z][a-z0-9_]*")


class ZammadConfig(BaseModel):
    """One Zammad system. `install` fills the API user's id, the webhook, its trigger, the secret and, if asked, the
    attributes."""

    model_config = ConfigDict(extra="forbid", frozen=True, use_attribute_docstrings=True)

    url: str
    """`https://support.acme.example`, without `/api`."""
    requests_per_minute: int = Field(
        default=600,
        ge=1,
        description="The most requests a minute that are sent to it; the server names no limit itself.",
    )
    token: SecretStr
    """An access token of an agent made for the gateway (`ticket.agent`; `admin.webhook`, `admin.trigger` and
    `admin.object` too for `install`)."""
    api_user_id: int | None = None
    """That agent's number; `install` fills it."""
    webhook_secrets: tuple[SecretStr, ...] = ()
    """Tokens of the webhook's HMAC signature. The first is installed; one before it stays valid while it is rotated."""
    webhook_id: int | None = None
    """The webhook that `install` made."""
    trigger_id: int | None = None
    """The trigger that `install` made, and that sends it."""
    tag: str = Field(default="gateway", pattern=r"^[^\s,]{1,64}$")
    """The tag that every ticket of this connection carries; the trigger and the poll go by it."""
    key_prefix: str = "gateway:"
    """Beginning of our tickets' keys, where an attribute holds them: who lost the tag is still known by it."""
    group: str = "Users"
    """The group of new tickets, by its name."""
    fields: dict[str, str] = Field(default_factory=dict)
    """Our field names (`gw_state`, `gw_last_url`, `gw_next_due`, `gw_sla`, `ticket_key`, `leg`, `source`, `rating`, …)
    to Zammad's object attributes of tickets."""
    create_fields: bool = False
    """Whether `install` creates the `gw_*` and `ticket_key` attributes that are not mapped. It alters the database."""
    states: dict[str, TicketStatus] = Field(default_factory=dict)
    """What the system's own ticket states mean, by name. One that is not named counts as open."""
    new: str = "new"
    """The state that our `new` becomes."""
    open: str = "open"
    """The state that our `open` becomes."""
    waiting: str = "pending reminder"
    """The state that our `waiting` becomes."""
    solved: str = CLOSED
    """The state that our `solved` and `closed` become: Zammad has one for both."""
    pending: timedelta = timedelta(days=1)
    """When a ticket that is set to a pending state is looked at again: Zammad asks for a time with those."""
    priorities: dict[Priority, str] = Field(default_factory=dict)
    """Where our priority is another one at this system, by name."""
    article_type: Literal["web", "note"] = "web"
    """What a customer's message is at Zammad. Its own automatic replies look for `web`, time targets count it."""
    closed_is_final: bool = False
    """Whether a customer's next message on a closed ticket opens a follow-up; else it reopens the ticket."""
    mails_publish: bool = False
    """Whether an agent's e-mail counts as written in the composer."""
    verify_tls: bool = True
    """Whether Zammad checks the certificate of the gateway's door."""

    @field_validator("url")
    @classmethod
    def _no_trailing_slash(cls, value: str) -> str:
        parts = urlsplit(value)
        if parts.scheme not in ("http", "https") or not parts.hostname or parts.query or parts.fragment:
            raise ValueError("url must be like https://support.acme.example")
        return value.rstrip("/").removesuffix("/api/v1")

    @field_validator("fields")
    @classmethod
    def _attributes(cls, value: dict[str, str]) -> dict[str, str]:
        for ours, theirs in value.items():
            if not _ATTRIBUTE.fullmatch(theirs):
                raise ValueError(f"fields.{ours} must name an object attribute (small letters and _), not {theirs}")
        return value

    def our_status(self, theirs: object) -> TicketStatus | None:
        """Zammad's state in our words; None for what is no state at all."""
        if not isinstance(theirs, str) or not theirs:
            return None
        if theirs in self.states:
            return self.states[theirs]
        if theirs in (self.solved, CLOSED):
            return "closed" if self.closed_is_final else "solved"
        if theirs in (MERGED, REMOVED):
            return "closed"
        named: dict[str, TicketStatus] = {self.new: "new", self.open: "open", self.waiting: "waiting"}
        return named.get(theirs) or STATES.get(theirs, "open")

    def their_state(self, ours: TicketStatus) -> str:
        """Our status as the name of a state."""
        return {"new": self.new, "open": self.open, "waiting": self.waiting}.get(ours, self.solved)

    def their_priority(self, ours: Priority) -> str:
        """Our priority as this system's name."""
        return self.priorities.get(ours, PRIORITIES[ours])

    def our_priority(self, theirs: object) -> Priority | None:
        """The system's priority in our words; of two that are one there, the lower."""
        order: tuple[Priority, ...] = ("low", "normal", "high", "urgent")
        return next((one for one in order if self.their_priority(one) == theirs), None)
