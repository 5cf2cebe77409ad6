"""How the conformance kit plays with a plugin's twin: what customers, agents and accidents do at the provider.

An adapter is a few lines for each verb, over the twin's own methods. Ids are those that the plugin gives: a source's
`external_id`, a helpdesk's ticket and comment ids. What the provider does not have raises `NotOffered`; the checks that
ask for it are then skipped with its reason.
"""

from __future__ import annotations

import contextlib
from abc import ABC, abstractmethod
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any, ClassVar, Generic, Literal, TypeVar

import httpx2

from gateway_schemas.sockets import Sockets
from gateway_schemas.testing.in_process import in_process
from gateway_schemas.testing.twin import Fault, Twin
from gateway_schemas.ticket import Priority, TicketStatus
from gateway_schemas.time import TimeSource

T = TypeVar("T", bound=Twin)

Request = tuple[str, str]
"""Method and path of requests as regular expressions, as in `Fault`: the whole method, any part of the path."""


class NotOffered(Exception):
    """The provider has nothing like it. The message says what, in a few words: "reviews are never private"."""


class Adapter(ABC, Generic[T]):
    """What adapters of sources and helpdesks share. The kit makes a new one, with a new twin, for each check."""

    twin: T

    too_many: ClassVar[tuple[int, bytes] | None] = None
    """Status and body by which the provider says that there were too many requests, where that is no plain 429."""
    trouble: ClassVar[tuple[int, bytes] | None] = None
    """Status and body by which the provider says that it had trouble itself, where that is no plain 5xx."""

    @abstractmethod
    def __init__(self, time: TimeSource) -> None:
        """Make `self.twin` on this clock, with an account that the connection can act for, and limits lifted."""

    @abstractmethod
    def config(self) -> dict[str, Any]:
        """A connection's configuration that the twin accepts; asked while the twin is reachable at `self.twin.url`."""

    def app(self) -> dict[str, Any] | None:
        """The App's configuration, where the provider registers applications."""
        return None

    def keys(self) -> dict[str, Any]:
        """The provider's key sets (JWKS documents) by name, where `verify` needs them."""
        return {}

    def subscribe(self, door: str) -> None:
        """What an admin does by hand so that webhooks come to `door`. Called after `install` has done what it can."""

    def revoke(self) -> None:
        """The provider refuses the connection's credentials from now on."""
        raise NotOffered("the twin's credentials cannot be revoked")

    def sockets(self) -> Sockets | None:
        """Connections for protocols other than HTTP, where the plugin speaks such (`testing.sockets.DirectSockets`)."""
        return None

    def strike(self, fault: Fault) -> None:
        """Let a fault strike the next requests that it is for."""
        self.twin.faults.append(fault)

    @contextlib.asynccontextmanager
    async def running(self) -> AsyncIterator[httpx2.AsyncClient]:
        """The twin in reach, and the plugin's client for it. Override it for what is not spoken over HTTP."""
        async with in_process(self.twin) as http:
            yield http


@dataclass(frozen=True)
class Answer:
    """What the brand published, as the provider shows it to people: text without markup, entities read back."""

    id: str
    text: str
    to: str | None = None
    """The external id of what it answers; None where the provider does not say (messages)."""
    private: bool = False
    links: tuple[str, ...] | None = None
    """The stretches of the text that the provider shows as links, where the plugin has to mark these; else None."""


class SourceAdapter(Adapter[T]):
    """What people do at a source. A customer and the brand exist from the start."""

    publishing: ClassVar[Request] = ("POST|PUT|PATCH", ".*")
    """The request that publishes a public answer, and no other one."""
    messaging: ClassVar[Request | None] = None
    """The request that sends a private answer; None: the same."""
    reading: ClassVar[Request] = ("GET", ".*")
    """The requests that polling makes."""
    many: ClassVar[int] = 30
    """How many items fill more than two pages of the twin."""
    rereads: ClassVar[int] = 2
    """How many known items a poll may bring again, where the provider cannot be asked for new ones only."""
    names_authors: ClassVar[bool] = True
    """Whether the provider tells who wrote; else each item has an author of its own."""
    addressing: ClassVar[int] = 0
    """What counts of an answer beside the agent's text: the customer's name, which the plugin puts before it where the
    channel tells only those whom a post names (Mastodon)."""
    dates: ClassVar[Literal["first", "last"]] = "first"
    """Which time the provider tells of something that was edited: when it was first written, or only the edit's."""
    wording: ClassVar[str] = (
        'Sorry & thanks, Ärger <b>"tut" uns leid</b>: 5 > 4 👍🏽\nSecond line: https://example.com/help?a=1&b=2'
    )
    """What an agent writes to see it published unchanged. Leave out only what the provider is documented to remove, and
    what the plugin therefore refuses to render."""
    deletions: ClassVar[Literal["told", "asked"]] = "told"
    """How a customer's deletion is learnt: a webhook or poll tells it, or `fetch` finds the thing gone."""

    @abstractmethod
    def write(self, text: str, *, private: bool = False) -> str:
        """A customer writes to the brand; the external id. What the channel needs beside (a mention, stars) is added.

        A private one goes to the conversation with the brand. Raises NotOffered for a leg that the channel has not.
        """

    def reply(self, to: str, text: str) -> str:
        """A customer writes below `to` (by external id), speaking to the brand; the external id."""
        raise NotOffered("customers cannot write below something")

    def edit(self, id: str, text: str) -> None:
        """The customer changes what they wrote. Wrapped as in `write`."""
        raise NotOffered("customers cannot edit")

    def delete(self, id: str) -> None:
        """The customer takes it down."""
        raise NotOffered("customers cannot delete")

    def brand_writes(self, text: str, to: str | None = None) -> str:
        """Somebody posts in the brand's name without the gateway, below `to` where one is given; the external id."""
        raise NotOffered("the brand cannot write by itself")

    def write_late(self, text: str, by: timedelta) -> str:
        """A customer wrote `by` ago, and it shows only now; the external id."""
        raise NotOffered("nothing shows late")

    shows_within: ClassVar[timedelta | None] = None
    """How long the provider takes to show what was published, by its documentation or by what was seen of it."""

    def shows_after(self, lag: timedelta) -> None:
        """From now on what is published shows in listings and searches only `lag` later."""
        raise NotOffered("what is published shows at once")

    @abstractmethod
    def answers(self) -> list[Answer]:
        """What the brand published through the API, oldest first, without what was deleted."""


@dataclass(frozen=True)
class CommentSeen:
    """One comment as an agent sees it: text without markup, entities read back."""

    id: str
    text: str
    public: bool
    author: str
    """The name that is shown."""


@dataclass(frozen=True)
class TicketSeen:
    """One ticket as an agent sees it, in the contract's words. `comments` begins with the description."""

    id: str
    subject: str
    status: TicketStatus
    priority: Priority | None
    tags: frozenset[str]
    requester: str
    """The requester's name."""
    requester_id: str | None = None
    """The helpdesk's id of the requester: two customers of one name are told apart by it."""
    requester_email: str | None = None
    comments: tuple[CommentSeen, ...] = field(default=())
    deleted: bool = False


class HelpdeskAdapter(Adapter[T]):
    """What agents do at a helpdesk. Tickets are named by the helpdesk's ids, as the plugin gives them."""

    creating: ClassVar[Request] = ("POST", ".*")
    """The request that creates a ticket."""
    commenting: ClassVar[Request] = ("POST|PUT|PATCH", ".*")
    """The request that writes a comment to an existing ticket."""
    reading: ClassVar[Request] = ("GET", ".*")
    """The requests that polling makes."""
    many: ClassVar[int] = 30
    """How many tickets fill more than two pages of the twin's listings."""
    statuses: ClassVar[tuple[TicketStatus, ...]] = ("open", "waiting", "solved")
    """The statuses that an agent can set and that come back as the same word."""
    priorities: ClassVar[tuple[Priority, ...]] = ("low", "normal", "high", "urgent")
    """The priorities that the helpdesk tells apart."""

    @abstractmethod
    def agent_answers(self, ticket: str, text: str, *, agent: str = "Ada Agent") -> str:
        """An agent writes a public comment in the helpdesk's composer; the comment's id."""

    @abstractmethod
    def agent_notes(self, ticket: str, text: str, *, agent: str = "Ada Agent") -> str:
        """An agent writes a private note; the comment's id."""

    def customer_writes(self, ticket: str, text: str) -> str:
        """The requester writes at the helpdesk itself (portal, e-mail); the comment's id."""
        raise NotOffered("customers cannot write at the helpdesk")

    def rule_writes(self, ticket: str, text: str) -> str:
        """An automation writes a public comment; the comment's id."""
        raise NotOffered("automations write no comments")

    @abstractmethod
    def set_status(self, ticket: str, status: TicketStatus) -> None:
        """An agent sets the status."""

    def set_priority(self, ticket: str, priority: Priority) -> None:
        """An agent sets the priority."""
        raise NotOffered("tickets have no priority")

    def add_tag(self, ticket: str, tag: str) -> None:
        """An agent adds a tag."""
        raise NotOffered("tickets have no tags")

    def close(self, ticket: str) -> None:
        """The ticket is closed for good."""
        raise NotOffered("tickets are never closed for good")

    def merge(self, ticket: str, into: str) -> None:
        """An agent merges one ticket into another."""
        raise NotOffered("tickets cannot be merged")

    def delete(self, ticket: str) -> None:
        """Somebody deletes the ticket."""
        raise NotOffered("tickets cannot be deleted")

    def foreign_ticket(self, text: str) -> str:
        """A ticket that has nothing to do with the gateway, opened by somebody else; its id."""
        raise NotOffered("there are no other tickets")

    @abstractmethod
    def tickets(self) -> list[TicketSeen]:
        """Every ticket, oldest first, also deleted ones that the helpdesk still shows."""

    def ticket(self, id: str) -> TicketSeen:
        """One ticket. Raises KeyError."""
        for seen in self.tickets():
            if seen.id == id:
                return seen
        raise KeyError(id)
