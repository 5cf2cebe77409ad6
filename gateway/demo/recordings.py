"""Recorded conversations, and what ought to become of them.

A recording holds what was said, not how it travelled. This works out the rest by the network's rules alone, without
looking at the gateway: who is told of which post, which earlier posts the gateway can learn of, whose post becomes a
matter, and whether an agent can answer in the helpdesk or must do so on the network.
"""

from __future__ import annotations

import html
import json
import re
from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Literal

_MENTION = re.compile(r"(?<![A-Za-z0-9_@\uff20])[@\uff20]([A-Za-z0-9_]{1,20})")

Way = Literal["customer", "helpdesk", "native"]
"""A customer's post, an agent's answer in the helpdesk, or an agent's answer on the network itself."""


class RecordingBroken(Exception):
    """The file is not what it should be. The message names the line and the mend."""


@dataclass(eq=False)
class Message:
    """One post of a recording, once, however many conversations it stands in."""

    id: str
    at: datetime
    text: str
    company: str
    author: str
    """The account: `agent`, or the customer's number within the tree."""
    parent: Message | None
    tree: Tree
    way: Way = "customer"
    told: frozenset[str] = frozenset()
    """The companies that the network tells."""
    brings: tuple[Message, ...] = ()
    """What stands in the helpdesk for the first time because of this post, itself included."""

    @property
    def by_agent(self) -> bool:
        """Whether the company said it."""
        return self.author == AGENT


AGENT = "agent"


@dataclass(eq=False)
class Tree:
    """One thread: a conversation, or several that share posts."""

    number: int
    messages: list[Message] = field(default_factory=list)
    matters: dict[str, frozenset[str]] = field(default_factory=dict)
    """Customers who have a ticket, with the companies whose account it may be at."""
    known: list[Message] = field(default_factory=list)
    """What the gateway can know of, in the order in which it learns."""

    def handle(self, author: str) -> str:
        """The customer's name on the network."""
        digits = "".join(character for character in author if character.isdigit())
        return f"c{self.number:04}_{digits or abs(hash(author)) % 1000}"

    @property
    def context_authors(self) -> set[str]:
        """Customers who neither spoke to the company nor were spoken to."""
        customers = {one.author for one in self.messages if not one.by_agent}
        return customers - set(self.matters)


@dataclass(frozen=True)
class Recording:
    """Everything a file holds."""

    conversations: int
    companies: tuple[str, ...]
    trees: tuple[Tree, ...]

    @property
    def messages(self) -> Iterator[Message]:
        """Every message once."""
        return (message for tree in self.trees for message in tree.messages)


def load(path: Path, limit: int | None = None) -> Recording:
    """Read conversations as JSON Lines: `{"id", "company", "messages": [{"id", "from", "author", "at", "text"}]}`.

    Texts are as the network's API gives them, with `&`, `<` and `>` escaped. Raises RecordingBroken.
    """
    with path.open(encoding="utf-8") as lines:
        documents = [_document(line, number, path) for number, line in enumerate(lines, 1) if line.strip()]
    documents = documents[:limit]
    if not documents:
        raise RecordingBroken(f"{path}: holds no conversations")
    trees: list[Tree] = []
    by_id: dict[str, Message] = {}
    for document in documents:
        _add(document, trees, by_id)
    companies = tuple(dict.fromkeys(str(document["company"]) for document in documents))
    for number, tree in enumerate(trees, 1):
        tree.number = number
        tree.messages.sort(key=lambda message: (message.at, int(message.id)))
        work_out(tree, companies)
    return Recording(len(documents), companies, tuple(trees))


def _document(line: str, number: int, path: Path) -> dict[str, object]:
    try:
        document = json.loads(line)
        for message in document["messages"]:
            message["at"] = datetime.fromisoformat(message["at"])
            if message["at"].tzinfo is None:
                raise ValueError("a time without an offset")
            if message["from"] not in ("customer", "agent") or not message["id"].isdecimal():
                raise ValueError("from is customer or agent, and ids are decimal")
            str(message["text"]), str(message["author"])
        if not re.fullmatch(r"[A-Za-z0-9_]{1,15}", document["company"]) or not document["messages"]:
            raise ValueError("company is a handle, and there is at least one message")
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise RecordingBroken(f"{path}, line {number}: {type(error).__name__}: {error}") from error
    return document  # type: ignore[no-any-return]


def _add(document: dict[str, object], trees: list[Tree], by_id: dict[str, Message]) -> None:
    """Put a conversation into its tree: that of the first message which is known already, else a new one."""
    entries: Sequence[dict[str, object]] = document["messages"]  # type: ignore[assignment]
    known = next((by_id[str(entry["id"])] for entry in entries if entry["id"] in by_id), None)
    tree = known.tree if known else Tree(0)
    if known is None:
        trees.append(tree)
    previous: Message | None = None
    for entry in entries:
        id = str(entry["id"])
        if id not in by_id:
            at = entry["at"]
            assert isinstance(at, datetime)
            author = AGENT if entry["from"] == "agent" else str(entry["author"])
            text = html.unescape(str(entry["text"]))
            by_id[id] = Message(id, at, text, str(document["company"]), author, previous, tree)
            tree.messages.append(by_id[id])
        previous = by_id[id]


def mentioned(text: str, companies: Iterable[str]) -> frozenset[str]:
    """The companies whose handles a text names."""
    names = {match.group(1).lower() for match in _MENTION.finditer(text)}
    return frozenset(company for company in companies if company.lower() in names)


def work_out(tree: Tree, companies: Sequence[str]) -> None:
    """Walk through the tree in time, and note what each message brings about."""
    known: dict[str, Message] = {}
    there: set[str] = set()
    for message in tree.messages:
        if message.by_agent:
            _answer(tree, message, there)
        else:
            parent = message.parent
            spoken_to = {parent.company} if parent is not None and parent.by_agent else set()
            message.told = mentioned(message.text, companies) | spoken_to
            if message.told:
                tree.matters.setdefault(message.author, message.told)
        if message.by_agent or message.told:
            for one in _learned(message, known):
                known[one.id] = one
        brought = [
            one for one in known.values() if one.id not in there and not one.by_agent and one.author in tree.matters
        ]
        there |= {one.id for one in brought}
        message.brings = tuple(brought)
    tree.known = list(known.values())


def _answer(tree: Tree, message: Message, there: set[str]) -> None:
    """An agent answers where the customer's message stands before them; else on the network, which makes it a
    matter."""
    asked = message.parent
    if asked is None or asked.by_agent:
        message.way = "native"
    elif asked.id in there and message.company in tree.matters[asked.author]:
        message.way = "helpdesk"
    else:
        message.way = "native"
        tree.matters.setdefault(asked.author, frozenset({message.company}))


def _learned(message: Message, known: dict[str, Message]) -> Iterator[Message]:
    """The message, the one it answers, which is fetched, and the one before that, which the answer carries."""
    parent = message.parent
    told = message.told or {message.company}
    if parent is not None and parent.id not in known and not (parent.by_agent and parent.company in told):
        if parent.parent is not None and parent.parent.id not in known:
            yield parent.parent
        yield parent
    yield message


def beyond_reach(tree: Tree) -> list[Message]:
    """Customers' messages that the gateway cannot know of: nobody was told, and no later post leads to them."""
    known = {message.id for message in tree.known}
    return [message for message in tree.messages if message.id not in known]


def by_matter(tree: Tree) -> dict[str, list[Message]]:
    """What each customer with a ticket said, as far as it can be known, in order."""
    said: defaultdict[str, list[Message]] = defaultdict(list)
    for message in sorted(tree.known, key=lambda one: one.at):
        if not message.by_agent and message.author in tree.matters:
            said[message.author].append(message)
    return dict(said)
