"""What the twin knows: people, Pages, Instagram accounts, posts, comments, recommendations, messages, tokens."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime
from typing import Literal

Platform = Literal["page", "instagram"]
ALL_SCOPES = frozenset(
    {
        "pages_show_list",
        "pages_read_engagement",
        "pages_read_user_content",
        "pages_manage_engagement",
        "pages_manage_metadata",
        "pages_messaging",
        "instagram_basic",
        "instagram_manage_comments",
        "instagram_manage_messages",
    }
)


@dataclass
class TwinPerson:
    """Somebody, as every account sees them: Meta gives each account ids of its own, the twin one for all."""

    id: str
    name: str
    username: str
    blocks: set[str] = field(default_factory=set)
    """Accounts whose messages the person does not take."""


@dataclass
class TwinAccount:
    """A Page or an Instagram account."""

    id: str
    platform: Platform
    name: str
    username: str
    token: str
    page: str | None = None
    """Of an Instagram account: its Page. None: it has a login of its own."""
    instagram: str | None = None
    """Of a Page: the Instagram account linked to it."""
    subscribed: list[str] | None = None
    """Fields that the App is subscribed to."""


@dataclass
class TwinPost:
    """A post or an Instagram media."""

    id: str
    platform: Platform
    author: str
    place: str
    """The Page or account it is on; of a post elsewhere its author's id."""
    text: str
    created_at: datetime
    indexed_at: datetime
    updated_at: datetime
    picture: str | None = None
    mentions: str | None = None
    deleted: bool = False
    privately_answered: bool = False


@dataclass
class TwinComment:
    """A comment under a post, a media or a recommendation."""

    id: str
    platform: Platform
    post: str
    parent: str | None
    """The first-layer comment that it answers."""
    author: str
    text: str
    created_at: datetime
    indexed_at: datetime
    picture: str | None = None
    mentions: str | None = None
    live: bool = False
    hidden: bool = False
    deleted: bool = False
    privately_answered: bool = False
    by_api: bool = False


@dataclass
class TwinRating:
    """A recommendation."""

    story: str
    page: str
    author: str
    kind: Literal["POSITIVE", "NEGATIVE"]
    text: str
    created_at: datetime
    indexed_at: datetime
    with_story: bool = True
    """Whether webhooks name its story."""
    deleted: bool = False


@dataclass
class TwinMessage:
    """A private message."""

    mid: str
    account: str
    person: str
    own: bool
    text: str
    created_at: datetime
    indexed_at: datetime
    picture: str | None = None
    edits: int = 0
    deleted: bool = False
    by_api: bool = False


@dataclass
class TwinToken:
    """An access token."""

    kind: Literal["account", "person", "app"]
    owner: str
    scopes: set[str] = field(default_factory=lambda: set(ALL_SCOPES))
    expires_at: datetime | None = None
    made_at: datetime | None = None
    dead: int | None = None
    """The subcode that says why it is refused."""


@dataclass
class TwinWebhook:
    """The App's webhook for one kind of account."""

    object: str
    callback_url: str
    fields: list[str]
    include_values: bool
    active: bool = True


class State:
    """All of it, by id."""

    def __init__(self) -> None:
        self.people: dict[str, TwinPerson] = {}
        self.accounts: dict[str, TwinAccount] = {}
        self.posts: dict[str, TwinPost] = {}
        self.comments: dict[str, TwinComment] = {}
        self.ratings: dict[str, TwinRating] = {}
        self.messages: dict[str, TwinMessage] = {}
        self.tokens: dict[str, TwinToken] = {}
        self.webhooks: dict[str, TwinWebhook] = {}
        self.photos: dict[str, str] = {}
        """Uploaded photos by id, with the account that has them."""
        self._serial = 0

    def number(self) -> int:
        """A number that was not given before."""
        self._serial += 1
        return self._serial

    def account(self, who: str) -> TwinAccount:
        """An account by id or handle. Raises KeyError."""
        return self.accounts.get(who) or next(one for one in self.accounts.values() if one.username == who)

    def person(self, who: str) -> TwinPerson:
        """A person by id or handle. Raises KeyError."""
        found = self.people.get(who) or next((one for one in self.people.values() if one.username == who), None)
        if found is None:
            raise KeyError(who)
        return found

    def named(self, id: str) -> tuple[str, str]:
        """Name and handle of a person or an account."""
        one = self.people.get(id) or self.accounts[id]
        return one.name, one.username

    def owner(self, comment: TwinComment) -> str:
        """The account on whose post or media a comment is; a person's id elsewhere."""
        if comment.post in self.ratings:
            return self.ratings[comment.post].page
        return self.posts[comment.post].place

    def conversation(self, account: str, person: str) -> list[TwinMessage]:
        """The messages of two, oldest first."""
        found = [one for one in self.messages.values() if one.account == account and one.person == person]
        return sorted(found, key=lambda one: one.created_at)
