"""What the twin remembers: users, posts, messages and tokens, with the indexes that its timelines read."""

from __future__ import annotations

import hashlib
import re
import unicodedata
from bisect import bisect_left, insort
from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass, field
from datetime import datetime

from gateway_schemas.time import TimeSource
from gateway_schemas.urls import find_urls
from gateway_x.payloads import canonical_conversation, snowflake_at

_MENTION = re.compile(r"(?<![A-Za-z0-9_@\uff20])[@\uff20]([A-Za-z0-9_]{1,20})")
_LEADING = re.compile(r"\s*(?:[@\uff20][A-Za-z0-9_]{1,20}\s+)*")


@dataclass
class TwinUser:
    """An account at the twin. `token` is set for those that the App may act for."""

    id: str
    username: str
    name: str
    created_at: datetime
    verified: bool = False
    protected: bool = False
    followers: int = 0
    premium: bool = False
    dms_open: bool = True
    token: str | None = None


@dataclass
class TwinToken:
    """A user's access token."""

    user_id: str
    expires_at: datetime | None = None
    scopes: tuple[str, ...] = ()
    """What was granted; empty for tokens that came otherwise, which may do everything."""


@dataclass(frozen=True)
class TwinMedia:
    """A picture that hangs on a post."""

    key: str
    url: str
    alt_text: str | None = None
    type: str = "photo"


@dataclass(frozen=True)
class TwinLink:
    """A link in a text, in X's short form and as written. Positions are in the text that X shows."""

    start: int
    end: int
    short: str
    expanded: str


@dataclass
class TwinPost:
    """One version of a post. `written` is what the author typed; `text` is what X shows: links short, `&<>` escaped."""

    id: str
    author: str
    written: str
    text: str
    links: tuple[TwinLink, ...]
    mentions: tuple[str, ...]
    created_at: datetime
    indexed_at: datetime
    conversation: str
    in_reply_to: str | None = None
    quotes: str | None = None
    history: list[str] = field(default_factory=list)
    media: tuple[TwinMedia, ...] = ()
    lang: str = "en"
    implicit: int = 0
    """How many characters at the start X put there itself: the mentions that a reply carries."""
    by_api: bool = False
    deleted: bool = False
    hidden: bool = False


@dataclass
class TwinMessage:
    """A direct message between two users."""

    id: str
    conversation: str
    sender: str
    recipient: str
    text: str
    created_at: datetime
    by_api: bool = False
    deleted: bool = False


class State:
    """Everything at the twin, by id, and sorted lists of ids by what timelines ask for."""

    def __init__(self, time: TimeSource) -> None:
        self.time = time
        self.users: dict[str, TwinUser] = {}
        self.handles: dict[str, str] = {}
        self.posts: dict[str, TwinPost] = {}
        self.messages: dict[str, TwinMessage] = {}
        self.tokens: dict[str, TwinToken] = {}
        self.refresh_tokens: dict[str, str] = {}
        self.posts_by_author: defaultdict[str, list[int]] = defaultdict(list)
        self.posts_by_mention: defaultdict[str, list[int]] = defaultdict(list)
        self.posts_by_conversation: defaultdict[str, list[int]] = defaultdict(list)
        self.messages_by_user: defaultdict[str, list[int]] = defaultdict(list)
        self.messages_by_conversation: defaultdict[str, list[int]] = defaultdict(list)
        self.recent_texts: dict[tuple[str, str | None, str | None, str], str] = {}
        self._next_user = 1_000_000_000_000_000_001

    def new_id(self, at: datetime) -> str:
        """A snowflake of that time that nothing else has."""
        number = snowflake_at(at)
        while str(number) in self.posts or str(number) in self.messages:
            number += 1
        return str(number)

    def new_user_id(self) -> str:
        """A user id that nobody has."""
        while str(self._next_user) in self.users:
            self._next_user += 1
        return str(self._next_user)

    def user(self, who: str) -> TwinUser:
        """A user by id or handle, in any case, with or without the at sign. Raises KeyError."""
        found = self.users.get(who) or self.users.get(self.handles.get(who.removeprefix("@").lower(), ""))
        if found is None:
            raise KeyError(f"the twin has no user {who!r}; add_user first")
        return found

    def add_user(self, user: TwinUser) -> TwinUser:
        """Take a user in. Raises ValueError when id or handle is taken."""
        if user.id in self.users or user.username.lower() in self.handles:
            raise ValueError(f"id {user.id} or handle {user.username} is taken")
        self.users[user.id] = user
        self.handles[user.username.lower()] = user.id
        return user

    def add_post(self, post: TwinPost) -> TwinPost:
        """Take a post in. Raises ValueError when the id is taken."""
        if post.id in self.posts or post.id in self.messages:
            raise ValueError(f"id {post.id} is taken")
        self.posts[post.id] = post
        number = int(post.id)
        insort(self.posts_by_author[post.author], number)
        insort(self.posts_by_conversation[post.conversation], number)
        for user_id in post.mentions:
            insort(self.posts_by_mention[user_id], number)
        self.recent_texts[(post.author, post.in_reply_to, post.quotes, post.written)] = post.id
        return post

    def add_message(self, message: TwinMessage) -> TwinMessage:
        """Take a message in. Raises ValueError when the id is taken."""
        if message.id in self.posts or message.id in self.messages:
            raise ValueError(f"id {message.id} is taken")
        self.messages[message.id] = message
        number = int(message.id)
        insort(self.messages_by_conversation[message.conversation], number)
        for user_id in {message.sender, message.recipient}:
            insort(self.messages_by_user[user_id], number)
        return message

    def conversation_of(self, one: str, other: str) -> str:
        """The id of two users' private conversation."""
        return canonical_conversation(one, other)

    def mentioned(self, text: str) -> tuple[str, ...]:
        """The users whose handles a text names, in any case, in order, each once."""
        ids = (self.handles.get(match.group(1).lower()) for match in _MENTION.finditer(text))
        return tuple(dict.fromkeys(id for id in ids if id))

    def latest(self, post: TwinPost) -> TwinPost:
        """The newest version of a post."""
        return self.posts[post.history[-1]]

    def summons(self, post: TwinPost, account: str) -> bool:
        """Whether a post's author summoned the account: named it, quoted it or answered it, which puts its name in."""
        if account in post.mentions or post.author == account:
            return True
        return any(
            (other := self.posts.get(id or "")) is not None and other.author == account
            for id in (post.in_reply_to, post.quotes)
        )


def shown_text(written: str) -> tuple[str, tuple[TwinLink, ...]]:
    """What X makes of a typed text: NFC, every link in short form, `&`, `<` and `>` escaped; and the links."""
    written = unicodedata.normalize("NFC", written)
    pieces: list[str] = []
    links: list[TwinLink] = []
    done = position = 0
    for url in find_urls(written):
        before = _escaped(written[done : url.start])
        short = "https://t.co/" + _short(url.text)
        position += len(before)
        expanded = url.text if "://" in url.text else f"http://{url.text}"
        links.append(TwinLink(position, position + len(short), short, expanded))
        pieces += [before, short]
        position += len(short)
        done = url.end
    return "".join([*pieces, _escaped(written[done:])]), tuple(links)


def own_link(expanded: str, end: int) -> TwinLink:
    """The link to a post's own pictures, behind a text of that length."""
    short, start = "https://t.co/" + _short(expanded), end + 1 if end else 0
    return TwinLink(start, start + len(short), short, expanded)


def leading_mentions(text: str) -> int:
    """How many characters the names take that a text starts with."""
    match = _LEADING.match(text)
    return match.end() if match else 0


def newest_first(ids: list[int], *, above: int | None, below: int | None) -> Iterable[int]:
    """A sorted list backwards, between two ids that are themselves left out."""
    start = bisect_left(ids, above + 1) if above is not None else 0
    stop = bisect_left(ids, below) if below is not None else len(ids)
    return (ids[index] for index in range(stop - 1, start - 1, -1))


def _escaped(text: str) -> str:
    return text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")


def _short(url: str) -> str:
    return hashlib.sha256(url.encode("utf-8", "replace")).hexdigest()[:10]
