"""What the twin remembers: accounts, posts with their versions, notifications, uploads, keys of sends."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import datetime

from gateway_schemas.time import TimeSource

_MENTION = re.compile(r"(?<![\w/])@([A-Za-z0-9_]+(?:[.-]+[A-Za-z0-9_]+)*)(?:@([A-Za-z0-9.-]+[A-Za-z0-9]))?")


@dataclass
class TwinAccount:
    """An account that the server knows: its own have a domain of None."""

    id: str
    username: str
    domain: str | None
    name: str
    created_at: datetime
    followers: int = 0
    token: str | None = None
    scopes: frozenset[str] = frozenset()
    suspended: bool = False
    moved_to: str | None = None

    @property
    def acct(self) -> str:
        """As the server names it: without its own domain."""
        return self.username if self.domain is None else f"{self.username}@{self.domain}"


@dataclass
class TwinMedia:
    """An uploaded or attached file."""

    id: str
    owner: str
    type: str
    url: str
    body: bytes
    media_type: str
    description: str | None = None
    ready_after: int = 0
    """How many looks it takes until it is processed."""
    status: str | None = None


@dataclass(frozen=True)
class TwinVersion:
    """What one version of a post said, since when."""

    text: str
    spoiler_text: str
    sensitive: bool
    media: tuple[str, ...]
    at: datetime


@dataclass
class TwinPost:
    """A post. `text` is what was written; the API shows it as HTML."""

    id: str
    author: str
    visibility: str
    language: str | None
    created_at: datetime
    versions: list[TwinVersion]
    mentions: tuple[str, ...] = ()
    in_reply_to: str | None = None
    quotes: str | None = None
    by_api: bool = False
    deleted: bool = False
    reblog_of: str | None = None

    @property
    def text(self) -> str:
        """The newest version's text."""
        return self.versions[-1].text

    @property
    def edited_at(self) -> datetime | None:
        """When it became what it is, where that is not how it was posted."""
        return self.versions[-1].at if len(self.versions) > 1 else None


@dataclass(frozen=True)
class TwinNotification:
    """What the server tells an account of."""

    id: str
    account: str
    type: str
    source: str
    status: str | None
    created_at: datetime
    visible_at: datetime
    filtered: bool = False


@dataclass
class State:
    """Everything at the twin."""

    time: TimeSource
    domain: str
    accounts: dict[str, TwinAccount] = field(default_factory=dict)
    posts: dict[str, TwinPost] = field(default_factory=dict)
    media: dict[str, TwinMedia] = field(default_factory=dict)
    notifications: list[TwinNotification] = field(default_factory=list)
    answers: dict[str, list[str]] = field(default_factory=dict)
    """The posts below a post."""
    written_to: dict[str, set[str]] = field(default_factory=dict)
    """Whom an account named in its posts."""
    keys: dict[tuple[str, str], tuple[str, datetime]] = field(default_factory=dict)
    """The post that a key of an account made, and when."""
    _accounts: int = 109_000_000_000_000_000
    _notifications: int = 34_975_000

    def new_id(self, at: datetime | None = None) -> str:
        """A post's id: milliseconds since 1970 shifted by 16 bits, more than 2**53."""
        number = int((at or self.time.now()).timestamp() * 1000) << 16
        while str(number) in self.posts or str(number) in self.media:
            number += 1
        return str(number)

    def new_account_id(self) -> str:
        """An account's id."""
        self._accounts += 1
        while str(self._accounts) in self.accounts:
            self._accounts += 1
        return str(self._accounts)

    def new_notification_id(self) -> str:
        """A notification's id, counted up."""
        self._notifications += 1
        return str(self._notifications)

    def add_post(self, post: TwinPost) -> None:
        """Take a post in."""
        self.posts[post.id] = post
        if post.in_reply_to is not None:
            self.answers.setdefault(post.in_reply_to, []).append(post.id)
        self.written_to.setdefault(post.author, set()).update(post.mentions)

    def account(self, who: str) -> TwinAccount:
        """An account by id, name or address, in any case. Raises KeyError."""
        if who in self.accounts:
            return self.accounts[who]
        name, _, domain = who.removeprefix("@").lower().partition("@")
        wanted = None if domain in ("", self.domain) else domain
        for account in self.accounts.values():
            if account.username.lower() == name and account.domain == wanted:
                return account
        raise KeyError(f"the twin has no account {who!r}; add_user first")

    def mentioned(self, text: str) -> tuple[str, ...]:
        """The accounts whose addresses a text has, in order, each once."""
        found: list[str] = []
        for name, domain in self.addresses(text):
            try:
                found.append(self.account(f"{name}@{domain}" if domain else name).id)
            except KeyError:
                continue
        return tuple(dict.fromkeys(found))

    def addresses(self, text: str) -> Iterator[tuple[str, str | None]]:
        """Name and domain of each address in a text."""
        for match in _MENTION.finditer(text):
            yield match.group(1), match.group(2)

    def replace(self, text: str, how: dict[str, str]) -> str:
        """The text with each address as `how` has it, where it does."""
        return _MENTION.sub(lambda match: how.get(match.group().lower(), match.group()), text)

    def may_see(self, account: TwinAccount, post: TwinPost) -> bool:
        """Whether a post is shown to an account: whoever is named sees it, followers-only posts nobody else here."""
        if post.deleted:
            return False
        return post.visibility in ("public", "unlisted") or account.id in (post.author, *post.mentions)
