"""The way back: drafts, what they become when rendered, and what became of them at the source."""

from __future__ import annotations

import hashlib
from datetime import datetime, timedelta
from typing import Any

from pydantic import AwareDatetime, Field

from gateway_schemas.base import Model
from gateway_schemas.interaction import Interaction, ReplyTarget, Visibility
from gateway_schemas.length import Counting


class OutgoingFile(Model):
    """A file that goes out with a reply, named by what it contains."""

    sha256: str
    media_type: str
    name: str
    size: int = Field(ge=0)


class Draft(Model):
    """An agent's answer before it has the form the source needs."""

    reply_id: str
    text: str
    html: str | None = None
    account: str
    """The brand's account that sends."""
    target: ReplyTarget
    visibility: Visibility
    interaction: Interaction
    """What is answered, at its newest revision."""
    files: tuple[OutgoingFile, ...] = ()
    written_at: AwareDatetime | None = None
    """When the agent wrote it."""


class Rendered(Model):
    """Exactly what will be sent. Policies decide on this, and a change to any part of it means deciding again."""

    text: str
    account: str
    target: ReplyTarget
    visibility: Visibility
    files: tuple[OutgoingFile, ...] = ()
    body: dict[str, Any] = Field(default_factory=dict)
    """The request body in the provider's own shape; `send` may not alter it."""
    written_at: AwareDatetime | None = None
    """When the agent wrote it, where that goes out too: the time of the event, which is the same at every try."""
    length: int = Field(ge=0)
    limit: int | None = None
    counting: Counting = Counting.code_points

    @property
    def digest(self) -> str:
        """SHA-256 over all that leaves: what an approval and a decision are bound to."""
        return hashlib.sha256(self.model_dump_json().encode("utf-8", "surrogatepass")).hexdigest()


class Sent(Model):
    """The source took it. `pending` where it is shown only after the provider's own review."""

    external_id: str
    url: str | None = None
    sent_at: AwareDatetime | None = None
    pending: bool = False


class SendIntent(Model):
    """A send whose outcome is not known, for `find`: what was sent, under which key, and when it was begun."""

    key: str
    rendered: Rendered
    started_at: AwareDatetime
    until: AwareDatetime | None = None
    """Set after a restore from a backup: it may have been begun at any time from `started_at` until then. None: it was
    begun at `started_at` and took no longer than a call."""


class Found(Model):
    """It happened: the provider has it."""

    external_id: str
    url: str | None = None
    at: AwareDatetime | None = None


class Absent(Model):
    """The provider was asked and has no such thing. The host believes it only after the plugin's stated lag."""


class NotYet(Model):
    """The question cannot be answered now; ask again after `after`."""

    after: timedelta = timedelta(seconds=30)


FindResult = Found | Absent | NotYet


def absent_is_proof(started_at: datetime, now: datetime, lag: timedelta | None) -> bool:
    """Whether "not found" proves that nothing was sent: only once `lag` has passed since; never where it is None."""
    return lag is not None and now - started_at >= lag
