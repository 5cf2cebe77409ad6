"""What a connection to Request Tracker needs to know."""

from __future__ import annotations

import re
from typing import Annotated
from urllib.parse import urlsplit

from pydantic import BaseModel, ConfigDict, Field, SecretStr, field_validator, model_validator

from gateway_request_tracker.words import OPEN, PRIORITIES, RESOLVED, STALLED, STATUSES
from gateway_schemas.ticket import Priority, TicketStatus

GATEWAY_FIELDS = ("gw_state", "gw_last_url", "gw_next_due", "gw_sla")
"""Our names of the custom fields that hold the gateway's state on a ticket."""
_TOKEN = re.compile(r"\d+-(\d+)-[0-9a-zA-Z]+")
_FIELD = re.compile(r"[^{}'\\]{1,200}")


class RequestTrackerConfig(BaseModel):
    """One Request Tracker (5.0 or newer), reached by its REST 2 interface."""

    model_config = ConfigDict(extra="forbid", frozen=True, use_attribute_docstrings=True)

    url: str
    """`https://rt.acme.example`, without `/REST/2.0`."""
    requests_per_minute: int = Field(
        default=600,
        ge=1,
        description="The most requests a minute that are sent to it; the server names no limit itself.",
    )
    token: SecretStr
    """An authentication token (`1-27-…`) of a privileged user made for the gateway. Its middle is the user's id."""
    api_user: str | None = None
    """That user's name; `install` fills it."""
    queue: str = "General"
    """The queue of new tickets, by its name."""
    queues: tuple[str, ...] = ()
    """Further queues that our tickets may be moved to: polls look there too."""
    key_field: str = "gw_key"
    """The custom field with our tickets' keys: without it a ticket could not be found after a lost answer."""
    tags_field: str | None = "gw_tags"
    """The custom field of several values that stands for tags, which RT has not. None does without."""
    tag: str = Field(default="gateway", pattern=r"^[^\s,]{1,64}$")
    """The value there that every ticket of this connection carries."""
    key_prefix: str = "gateway:"
    """Beginning of our tickets' keys."""
    fields: dict[str, str] = Field(default_factory=dict)
    """Our field names (`gw_state`, `gw_last_url`, `gw_next_due`, `gw_sla`, `leg`, `source`, `rating`, …) to custom
    fields of the queue's tickets."""
    create_fields: bool = False
    """Whether `install` makes the custom fields that are missing and applies them to the queue."""
    statuses: dict[str, TicketStatus] = Field(default_factory=dict)
    """What the lifecycle's own statuses mean, by name. One that is not named counts as open."""
    new: str = "new"
    """The status that our `new` becomes."""
    open: str = OPEN
    """The status that our `open` becomes."""
    waiting: str = STALLED
    """The status that our `waiting` becomes."""
    solved: str = RESOLVED
    """The status that our `solved` and `closed` become."""
    priorities: dict[Priority, Annotated[int, Field(ge=0)]] = Field(default_factory=dict)
    """Where our priority is another number at this system."""
    customer_secret: SecretStr | None = None
    """With it, customers' public messages are written by their own RT users, whose passwords are made of it; without,
    by the API user, saying who wrote."""
    closed_is_final: bool = False
    """Whether a customer's next message on a resolved ticket opens a follow-up; else it reopens the ticket."""
    mails_publish: bool = False
    """Whether an agent's correspondence by e-mail counts as written in the composer."""
    rest_publishes: bool = False
    """Whether what other programs write with an agent's own token counts as that agent's answer."""

    @field_validator("url")
    @classmethod
    def _no_trailing_slash(cls, value: str) -> str:
        parts = urlsplit(value)
        if parts.scheme not in ("http", "https") or not parts.hostname or parts.query or parts.fragment:
            raise ValueError("url must be like https://rt.acme.example")
        return value.rstrip("/").removesuffix("/REST/2.0")

    @field_validator("key_field", "tags_field")
    @classmethod
    def _field(cls, value: str | None) -> str | None:
        if value is not None and not _FIELD.fullmatch(value):
            raise ValueError("names of custom fields have no braces, quotes or backslashes here")
        return value

    @model_validator(mode="after")
    def _secret_enough(self) -> RequestTrackerConfig:
        if self.customer_secret is not None and len(self.customer_secret.get_secret_value()) < 32:
            raise ValueError("customer_secret needs at least 32 characters: all customers' passwords come of it")
        return self

    @property
    def user_id(self) -> int | None:
        """The API user's number, out of the token."""
        matched = _TOKEN.fullmatch(self.token.get_secret_value())
        return int(matched[1]) if matched else None

    @property
    def watched(self) -> tuple[str, ...]:
        """Every queue that is polled."""
        return tuple(dict.fromkeys((self.queue, *self.queues)))

    def our_status(self, theirs: object) -> TicketStatus | None:
        """RT's status in our words; None for what is no status at all."""
        if not isinstance(theirs, str) or not theirs:
            return None
        if theirs in self.statuses:
            return self.statuses[theirs]
        if theirs == self.solved:
            return "closed" if self.closed_is_final else "solved"
        named: dict[str, TicketStatus] = {self.new: "new", self.open: "open", self.waiting: "waiting"}
        return named.get(theirs) or STATUSES.get(theirs, "open")

    def their_status(self, ours: TicketStatus) -> str:
        """Our status as the lifecycle's. It has one word for solved and closed."""
        return {"new": self.new, "open": self.open, "waiting": self.waiting}.get(ours, self.solved)

    def their_priority(self, ours: Priority) -> int:
        """Our priority as this system's number."""
        return self.priorities.get(ours, PRIORITIES[ours])

    def our_priority(self, theirs: object) -> Priority | None:
        """A number in our words: the highest of ours that it reaches."""
        try:
            value = int(str(theirs))
        except ValueError:
            return None
        order: tuple[Priority, ...] = ("urgent", "high", "normal")
        return next((one for one in order if value >= self.their_priority(one)), "low")
