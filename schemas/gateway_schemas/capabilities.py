"""What a plugin declares of its provider, so that the host need not guess."""

from __future__ import annotations

from datetime import timedelta
from typing import Literal

from pydantic import Field

from gateway_schemas.base import Model
from gateway_schemas.interaction import Kind
from gateway_schemas.length import Counting


class TextLimit(Model):
    """The longest text one reply may have, and how the provider counts it."""

    limit: int = Field(gt=0)
    counting: Counting
    reserved_url: int | None = None


class SourceCapabilities(Model):
    """What a source can do. The conformance kit checks that each claim holds."""

    kinds: frozenset[Kind]
    identity: Literal["provider", "account"] = "provider"
    """Whether external ids are unique at the provider, or only within one of its accounts."""
    webhook: bool = False
    shared_webhook: bool = False
    """One callback of the App for all of its accounts."""
    poll: bool = False
    streams: tuple[str, ...] = ("default",)
    poll_every: timedelta = timedelta(minutes=5)
    overlap: timedelta = timedelta()
    """How far behind its cursor a poll looks again; duplicates are dropped by identity."""
    listen: bool = False
    reply: bool = False
    private: bool = False
    invitations: bool = False
    """Customers can be invited to go on here in private: see `claim_address`, and `Interaction.claim`."""
    edit: bool = False
    delete: bool = False
    hide: bool = False
    media: bool = False
    one_slot: bool = False
    """A second answer replaces the first."""
    text: dict[str, TextLimit] = Field(default_factory=dict)
    """By the reply target's kind."""
    reply_window: timedelta | None = None
    index_lag: timedelta | None = None
    """After this long "not found" proves that nothing was sent; None: it never does."""
    idempotent_send: bool = False
    conversation_per_account: bool = True
    """Whether a private conversation belongs to the same author id as their public posts."""


class HelpdeskCapabilities(Model):
    """What a helpdesk can do."""

    webhook: bool = True
    poll: bool = True
    streams: tuple[str, ...] = ("default",)
    poll_every: timedelta = timedelta(minutes=5)
    overlap: timedelta = timedelta()
    comments_per_change: int = 1
    comment_on_create: int = 1
    bulk: int = 1
    """How many changes one call of `push` may carry; 1 where the API has no bulk operation."""
    make_private: bool = False
    followup: bool = False
    """Whether a new ticket can name the closed one that it follows."""
    index_lag: timedelta | None = timedelta()
    """After this long an empty look-up proves that a change was not made; None: it never does."""
    idempotency_window: timedelta | None = None
    """How long the helpdesk remembers a create's key."""
    updates_per_ticket: int | None = None
    updates_window: timedelta = timedelta(minutes=10)
    priorities: frozenset[str] = frozenset({"low", "normal", "high", "urgent"})
    max_comments: int | None = None
