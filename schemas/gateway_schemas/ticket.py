"""What goes to a helpdesk, and what a helpdesk's agents do there."""

from __future__ import annotations

from datetime import timedelta
from typing import Any, Literal

from pydantic import AwareDatetime, Field

from gateway_schemas.base import Model
from gateway_schemas.interaction import Attachment, Visibility

Priority = Literal["low", "normal", "high", "urgent"]
TicketStatus = Literal["new", "open", "waiting", "solved", "closed"]
AnswerOrigin = Literal["composer", "app", "email", "rule", "merge", "bulk", "api"]
TraditionalChannel = Literal["email", "phone", "form"]
GatewayState = Literal["held", "blocked", "failed", "unknown", "published", "under_review", "none"]


class Requester(Model):
    """The customer's account as the helpdesk knows it: an external id and a name, never an invented e-mail address."""

    external_id: str
    name: str
    handle: str | None = None
    provider: str
    """The source's plugin name (`x`), for identities a helpdesk has a type for."""
    url: str | None = None
    avatar_url: str | None = None


class OutgoingComment(Model):
    """One comment to write on a ticket. `author` None writes as the gateway.

    `key` is the findable mark: it is stored with the comment in whatever the helpdesk has for that, so that `find`
    can prove after a crash that the comment is there.
    """

    key: str
    text: str
    author: Requester | None = None
    public: bool = True
    at: AwareDatetime
    url: str | None = None
    attachments: tuple[Attachment, ...] = ()


class GatewayFields(Model):
    """State the gateway keeps on the ticket, in custom fields where the connection's config maps them."""

    state: GatewayState | None = None
    last_url: str | None = None
    next_due: AwareDatetime | None = None
    """The earliest due time still to come. It is told together with `sla`: None there takes an earlier one off the
    ticket."""
    sla: str | None = None
    """The time target that matters most and its state: `first_response: breached`."""


class TicketChange(Model):
    """All that shall change on one ticket in one call: the host coalesces pending pushes into this.

    Without `external_id` the ticket is created, with the first of `comments` as its description. `key` is the
    idempotency key of this change; `ticket_key` is stable for the ticket and is written to it as its external id.

    A change of an existing ticket with nothing in it asks to make that ticket known as ours (by its tag, say): somebody
    merged ours into it.
    """

    key: str
    ticket_key: str
    external_id: str | None = None
    followup_of: str | None = None
    """The helpdesk's id of the closed ticket that this new one follows."""
    subject: str | None = None
    requester: Requester
    comments: tuple[OutgoingComment, ...] = ()
    status: TicketStatus | None = None
    priority: Priority | None = None
    add_tags: tuple[str, ...] = ()
    remove_tags: tuple[str, ...] = ()
    fields: GatewayFields | None = None
    custom: dict[str, str | int | float | bool | None] = Field(default_factory=dict)
    """Values by our own field names (`source`, `rating`, `language`, …); the plugin's config maps them to the
    helpdesk's."""
    group: str | None = None
    """The helpdesk's group to put the ticket with, by id or name as the plugin documents."""
    assignee: str | None = None
    """The helpdesk's agent to put the ticket with, by id or e-mail address as the plugin documents."""
    make_private: tuple[str, ...] = ()
    """Helpdesk ids of public comments that were not published and must not look as if they were."""


class Done(Model):
    """The change is in the helpdesk. `comments` maps each comment's key to the helpdesk's id for it."""

    key: str
    external_id: str
    url: str | None = None
    comments: dict[str, str] = Field(default_factory=dict)
    at: AwareDatetime | None = None


class Pending(Model):
    """The helpdesk took it as a job: the host asks `resume` after `after`. `job` is the plugin's own note of it."""

    key: str
    job: str
    after: timedelta = timedelta(seconds=2)


class Failed(Model):
    """This change of a batch failed; `error` names the recovery as the exceptions of `errors` do."""

    key: str
    error: Literal["retry", "reauthorise", "unknown", "rejected", "closed", "moved", "gone"]
    code: str = ""
    reason: str
    after: timedelta | None = None
    bucket: str | None = None
    """The rate budget that ran out, as in `errors.Retry`; None rests the whole connection."""
    moved_to: str | None = None


PushResult = Done | Pending | Failed


class PushIntent(Model):
    """A change whose outcome is not known, for `find`."""

    change: TicketChange
    started_at: AwareDatetime


class FoundTicket(Model):
    """What `find` saw of a change: the ticket if it exists, and those of the change's comments that are on it."""

    external_id: str | None = None
    url: str | None = None
    comments: dict[str, str] = Field(default_factory=dict)


class Agent(Model):
    """A person of the company at the helpdesk."""

    external_id: str
    name: str | None = None
    email: str | None = None


class AgentReply(Model):
    """A comment on a ticket that looks like an answer to the customer; whether it is one,
    the host decides by `origin`."""

    ticket: str
    """The helpdesk's ticket id."""
    external_id: str
    """The helpdesk's comment id."""
    revision: str = "1"
    author: Agent
    text: str
    html: str | None = None
    public: bool = True
    origin: AnswerOrigin
    leg: Visibility | None = None
    """The agent's explicit choice, by tag or field; None leaves it to the default rule."""
    attachments: tuple[Attachment, ...] = ()
    at: AwareDatetime


class AgentNote(Model):
    """A private note by a person. Never published; recorded on the timeline."""

    ticket: str
    external_id: str
    author: Agent
    text: str
    at: AwareDatetime


class OwnComment(Model):
    """A comment that the gateway wrote, as the helpdesk shows it: when it came to stand there, by the helpdesk's clock.

    What an agent had seen when they answered is told by this, also where a bulk job named no comments.
    """

    ticket: str
    key: str
    """The mark that the comment was written with (`OutgoingComment.key`)."""
    external_id: str
    at: AwareDatetime


class TicketChanged(Model):
    """The ticket's state at the helpdesk, as last seen. None means that this delivery does not tell."""

    ticket: str
    ticket_key: str | None = None
    """Our key, where the helpdesk echoes the external id."""
    status: TicketStatus | None = None
    priority: Priority | None = None
    tags: tuple[str, ...] | None = None
    assignee: Agent | None = None
    merged_into: str | None = None
    deleted: bool = False
    updated_at: AwareDatetime | None = None
    extra: dict[str, Any] = Field(default_factory=dict)


class ForeignTicket(Model):
    """A ticket that did not come from the gateway, as a poll shows it: by which channel, and when it was served.

    Nothing of what it says and of whose it is. The parity report compares these times with those of the gateway's own
    tickets; no ticket or clock comes of it.
    """

    ticket: str
    """The helpdesk's ticket id."""
    channel: TraditionalChannel
    created_at: AwareDatetime
    first_answered_at: AwareDatetime | None = None
    """The first public answer by a person of the company."""
    solved_at: AwareDatetime | None = None
    """When it was solved last; None while it is open."""
    reopened: int = Field(default=0, ge=0)
    """How often it was opened again; at least once where the helpdesk does not count."""
    deleted: bool = False
    """It is in the trash, is spam, or was merged into another: it no longer counts."""
    updated_at: AwareDatetime
