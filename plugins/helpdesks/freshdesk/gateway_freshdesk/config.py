"""What a connection to Freshdesk needs to know."""

from __future__ import annotations

from typing import Annotated, Literal
from urllib.parse import urlsplit

from pydantic import BaseModel, ConfigDict, Field, SecretStr, field_validator, model_validator

from gateway_freshdesk.words import CLOSED, OPEN, PENDING, PRIORITIES, STATUSES
from gateway_schemas.ticket import Priority, TicketStatus

Plan = Literal["trial", "growth", "pro", "enterprise"]

GATEWAY_FIELDS = ("gw_state", "gw_last_url", "gw_next_due", "gw_sla", "ticket_key")
"""Our names of the custom fields that hold the gateway's state on a ticket, and its key."""


class FreshdeskConfig(BaseModel):
    """One Freshdesk account. `install` fills the API user's id, the rule, its secret and, if asked, the fields."""

    model_config = ConfigDict(extra="forbid", frozen=True, hide_input_in_errors=True, use_attribute_docstrings=True)

    domain: str | None = Field(default=None, pattern=r"^[a-zA-Z0-9][a-zA-Z0-9-]*$")
    """`acme` for https://acme.freshdesk.com; or give `base_url`. The API answers on that domain only, on no alias."""
    base_url: str | None = None
    """The account's address where it is not under freshdesk.com, or a twin's."""
    api_key: SecretStr
    """The key of an agent made for the gateway: with global ticket scope, and an administrator for `install`."""
    api_user_id: int | None = None
    """The id of the agent whose key it is; `install` finds it."""
    plan: Plan = "growth"
    """The account's plan, which decides its limits of requests."""
    webhook_header: str = Field(default="X-Gateway-Secret", pattern=r"^[A-Za-z0-9-]+$")
    """The header that carries the secret: Freshdesk signs no webhooks."""
    webhook_secrets: tuple[SecretStr, ...] = ()
    """Secrets that webhooks may carry. The rule sends the first; one before it stays valid while it is rotated."""
    rule_id: int | None = None
    """The automation rule that tells of agents' acts; `install` makes it."""
    tag: str = Field(default="gateway", pattern=r"^[^\s,]{1,32}$")
    """The tag that every ticket of this connection carries; the rule and the poll go by it."""
    key_prefix: str = "gateway:"
    """Beginning of our tickets' keys, where a field holds them: tickets that lost the tag are still known by it."""
    fields: dict[str, str] = Field(default_factory=dict)
    """Our field names (`gw_state`, `gw_last_url`, `gw_next_due`, `gw_sla`, `ticket_key`, `leg`, `source`, `rating`, …)
    to Freshdesk's custom ticket fields (`cf_…`)."""
    create_fields: bool = False
    """Whether `install` creates the `gw_*` and `ticket_key` fields that are not mapped."""
    statuses: dict[int, TicketStatus] = Field(default_factory=dict)
    """What the account's own statuses (6 and above) mean. One that is not named counts as open."""
    waiting: int = PENDING
    """The status that our `waiting` becomes: 3 (Pending), or one of the account's own."""
    priorities: dict[Priority, Annotated[int, Field(ge=1, le=4)]] = Field(default_factory=dict)
    """Where our priority is another one at this account."""
    source: int = Field(default=2, ge=1)
    """The source that new tickets have: 2 (Portal), or one of the account's own (Admin → Ticket fields → Source)."""
    closed_is_final: bool = True
    """Whether a customer's next message on a closed ticket opens a follow-up; else it reopens the ticket."""
    replies_publish: bool = False
    """Whether an agent's e-mail reply counts as written in the composer. Freshdesk shows alike what was typed in the
    ticket, came from a mailbox or went to many tickets at once."""
    group_id: int | None = None
    """The group that new tickets are put with."""
    product_id: int | None = None
    """The product that new tickets are for."""
    ticket_type: str | None = None
    """The type that new tickets have."""
    media_hosts: tuple[str, ...] = ("https://*.freshdesk.com", "https://s3.amazonaws.com")
    """Where files that agents attach may be fetched from, beside the account itself."""
    other_channels: bool = True
    """Whether the poll reads by which channel other tickets (e-mail, phone, portal, feedback form) came and when they
    were answered and resolved, for the parity report; nothing else of them is ever kept. A page costs a credit more."""
    share: float = Field(default=0.7, gt=0, le=1)
    """How much of the account's limits the gateway may use; the rest is for everybody else."""

    @field_validator("base_url")
    @classmethod
    def _no_trailing_slash(cls, value: str | None) -> str | None:
        if value is None:
            return None
        parts = urlsplit(value)
        if parts.scheme not in ("http", "https") or not parts.hostname or parts.query or parts.fragment:
            raise ValueError("base_url must be like https://acme.freshdesk.com")
        return value.rstrip("/")

    @field_validator("fields")
    @classmethod
    def _custom_fields(cls, value: dict[str, str]) -> dict[str, str]:
        for ours, theirs in value.items():
            if not theirs.startswith("cf_"):
                raise ValueError(f"fields.{ours} must name a custom ticket field: cf_…, not {theirs}")
        return value

    @model_validator(mode="after")
    def _complete(self) -> FreshdeskConfig:
        if (self.domain is None) == (self.base_url is None):
            raise ValueError("give either domain or base_url")
        if self.waiting in (OPEN, 4, CLOSED) or self.waiting < OPEN:
            raise ValueError("waiting must be 3 (Pending) or one of the account's own statuses (6 and above)")
        return self

    @property
    def url(self) -> str:
        """The account's base URL, without a slash at the end."""
        return self.base_url or f"https://{self.domain}.freshdesk.com"

    def our_status(self, theirs: object) -> TicketStatus | None:
        """Freshdesk's status in our words; None for what is no status at all."""
        if not isinstance(theirs, int) or isinstance(theirs, bool) or theirs < OPEN:
            return None
        if theirs == CLOSED and not self.closed_is_final:
            return "solved"
        if theirs in STATUSES:
            return STATUSES[theirs]
        return self.statuses.get(theirs, "waiting" if theirs == self.waiting else "open")

    def their_status(self, ours: TicketStatus) -> int:
        """Our status for a request. Freshdesk has no `new`: a ticket begins as open."""
        if ours == "waiting":
            return self.waiting
        return next((code for code, word in STATUSES.items() if word == ours), OPEN)

    def their_priority(self, ours: Priority) -> int:
        """Our priority as this account's number."""
        return self.priorities.get(ours, PRIORITIES[ours])

    def our_priority(self, theirs: object) -> Priority | None:
        """The account's priority in our words: what it means by itself, else the first one mapped to it."""
        for one in sorted(PRIORITIES, key=lambda one: PRIORITIES[one] != theirs):
            if self.their_priority(one) == theirs:
                return one
        return None
