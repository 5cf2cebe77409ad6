"""The twins as the demo uses them. Plugins ship them; the gateway finds them by entry point and imports no plugin."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from contextlib import AbstractAsyncContextManager
from datetime import datetime
from importlib.metadata import entry_points
from typing import TYPE_CHECKING, Any, Protocol, cast

if TYPE_CHECKING:
    from gateway_schemas.testing.rehearsal import Rehearsal
    from gateway_schemas.testing.twin import Effect, WebhookFaults

ENTRY_POINTS = "helpdesk_gateway.twins"


class TwinMissing(Exception):
    """The plugin whose twin is wanted is not installed. The message says what to install."""


class Twin(Protocol):
    """A provider on loopback, with a ledger of everything that happened at it."""

    url: str
    ledger: list[Effect]
    webhooks: WebhookFaults

    def serve(self, *, port: int = 0) -> AbstractAsyncContextManager[str]:
        """Run on loopback; yields the base URL."""

    async def settle(self) -> None:
        """Wait until every webhook under way is delivered or given up."""

    def rehearsal(self) -> Rehearsal:
        """What can be played here without knowing the provider; call it while the twin is served."""


class User(Protocol):
    """Somebody with an account at the social network."""

    id: str
    username: str


class SocialTwin(Twin, Protocol):
    """A social network whose people post, edit, delete and write direct messages."""

    def add_user(self, username: str, *, name: str | None = None, followers: int = 0) -> User:
        """Somebody with an account."""

    def add_brand(self, username: str, *, name: str | None = None, premium: bool = False) -> User:
        """A company's account that the App may act for."""

    def app_config(self) -> dict[str, Any]:
        """An App configuration that the twin accepts; call it while the twin is served."""

    def connection_config(self, who: str) -> dict[str, Any]:
        """A connection configuration for one of the twin's brands."""

    def post(
        self,
        author: str,
        text: str,
        in_reply_to: str | None = None,
        *,
        quote: str | None = None,
        at: datetime | None = None,
        id: str | None = None,
    ) -> str:
        """Somebody posts in the network's own app; the post's id."""

    def edit(self, id: str, text: str) -> str:
        """The author edits: the id of the new version."""

    def delete(self, id: str) -> None:
        """The author deletes a post."""

    def direct_message(self, sender: str, recipient: str, text: str) -> str:
        """Somebody writes to somebody; the message's id."""


class Limits(Protocol):
    """The provider's rate limits."""

    def off(self) -> None:
        """Lift them."""


class HelpdeskTwin(Twin, Protocol):
    """A helpdesk where agents work."""

    email: str
    token: str
    limits: Limits

    def agent_comment(
        self,
        ticket_id: int | str,
        agent: int | str,
        text: str,
        public: bool = True,
        status: str | None = None,
        tags: Iterable[str] = (),
        via: str = "web",
        *,
        remove_tags: Iterable[str] = (),
    ) -> int:
        """An agent writes; the comment's id."""

    def change(self, ticket_id: int | str, data: dict[str, Any], agent: int | str = "Agent", via: str = "web") -> None:
        """An agent, or a rule, changes fields."""

    def close(self, ticket_id: int | str) -> None:
        """An automation closes the ticket for good."""

    def merge(self, source: int | str, target: int | str, agent: int | str = "Agent") -> None:
        """An agent merges one ticket into another."""

    def snapshot(self) -> dict[str, Any]:
        """Tickets with their comments."""


class ForumTwin(Twin, Protocol):
    """A system of one's own that pushes what is written on it and takes replies."""

    door: str

    @property
    def reply_url(self) -> str:
        """Where replies are taken; known once the twin is served."""

    def push(self, interaction: Mapping[str, Any]) -> str:
        """Something was written."""

    def edit(self, external_id: str, **changes: Any) -> str:
        """Its author changed it."""

    def delete(self, external_id: str, by: str = "author") -> str:
        """It is gone."""

    def batch(self, events: Sequence[Any]) -> str:
        """Send many events in one webhook."""

    def event(self, type: str, data: Mapping[str, Any]) -> dict[str, Any]:
        """One event as it stands in a webhook's body."""


def make_twin(name: str, **options: Any) -> Any:
    """A new twin of the plugin `name`. Raises TwinMissing when the plugin is not installed."""
    found = next(iter(entry_points(group=ENTRY_POINTS, name=name)), None)
    if found is None:
        raise TwinMissing(f"This needs the twin of the plugin {name}: install helpdesk-gateway-{name}")
    return found.load()(**options)


def installed_twins(**options: Any) -> dict[str, Twin]:
    """A new twin of every plugin that is installed with its own, by the plugin's name."""
    return {name: make_twin(name, **options) for name in sorted(entry_points(group=ENTRY_POINTS).names)}


def social_twin(**options: Any) -> SocialTwin:
    """X on loopback."""
    return cast("SocialTwin", make_twin("x", **options))


def helpdesk_twin(**options: Any) -> HelpdeskTwin:
    """Zendesk on loopback."""
    return cast("HelpdeskTwin", make_twin("zendesk", **options))


def forum_twin(**options: Any) -> ForumTwin:
    """A forum on loopback."""
    return cast("ForumTwin", make_twin("inbound", **options))
