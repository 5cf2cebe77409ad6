"""What customers and agents do at a twin, for somebody who plays it without knowing its provider.

`gateway demo --all-twins` plays every installed twin by its `rehearsal()`: a source's twin offers the channels on which
customers write and are answered, a helpdesk's twin the desk at which agents work.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class Channel:
    """One account of the brand's, and a customer who writes to it."""

    title: str
    """The account, as people call it: `@AcmeSupport`."""
    config: dict[str, Any]
    """What its connection is made with."""
    write: Callable[[str], str]
    """The customer writes this; gives what `answers` calls it."""
    answers: Callable[[], Sequence[tuple[str, str]]]
    """All that the gateway published here: what each answers, and its text as the provider shows it to people, without
    the names that it begins with."""
    told: Callable[[str], None] | None = None
    """Where no API sets up webhooks: is told the address of the connection's door."""


@dataclass(frozen=True)
class Message:
    """One message of a ticket."""

    ticket: str
    text: str
    public: bool


@dataclass(frozen=True)
class Desk:
    """One helpdesk, and an agent who answers there."""

    config: dict[str, Any]
    """What its connection is made with."""
    messages: Callable[[], Iterable[Message]]
    """Every message of every ticket, oldest first, descriptions too."""
    answer: Callable[[str, str], object]
    """The agent writes this on a ticket, for the customer to read."""


@dataclass(frozen=True)
class Rehearsal:
    """What can be played at a twin: a source has channels, a helpdesk a desk."""

    channels: Sequence[Channel] = ()
    app: dict[str, Any] | None = None
    """What the App of its connections is made with, where the plugin has Apps."""
    desk: Desk | None = None
