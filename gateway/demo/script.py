"""The evening as it is written in `evening.toml`: conversations, and the lines that people say in them."""

from __future__ import annotations

import tomllib
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field, fields
from datetime import UTC, date, datetime, time
from importlib.resources import files
from typing import Any

ACTORS = ("x", "forum", "agent", "rule")
"""Who a line may be by: a person on the network or the forum, a person or a trigger at the helpdesk."""
OF_ITSELF = ("warned", "breached", "kept", "broken", "opened", "grown")
"""What the gateway does of itself: its clocks step, a promise ends, an incident opens and grows."""
DEEDS = (
    *("posts", "replies", "quotes", "reviews", "messages", "edits", "deletes"),
    *("answers", "approves", "notes", "solves", "merges", "closes", "settles", "activates", "ends", *OF_ITSELF),
)
SAYS = ("posts", "replies", "quotes", "reviews", "messages")
"""The deeds that put new words into the world, under a label."""


class ScriptBroken(Exception):
    """A line of the script makes no sense. The message names the conversation and the line."""


@dataclass(frozen=True)
class Line:
    """One thing that somebody does."""

    at: datetime
    place: str
    """`x`, `forum`, `helpdesk` or, for what it does of itself, `gateway`."""
    who: str
    deed: str
    text: str = ""
    label: str = ""
    """Of what is said here for the first time; else of the line that it is about."""
    to: str | None = None
    """What a reply or a quote is under; what a ticket is merged into."""
    heard: str = "yes"
    ticket: str | None = None
    reopens: bool = False
    leg: str | None = None
    back: str | None = None
    why: str = ""
    policy: str | None = None
    """Which one keeps an answer back."""
    minutes: int | None = None
    """How much of a response's time has passed."""
    count: int | None = None
    """For how many messages an incident's ticket stands."""
    params: Mapping[str, Any] = field(default_factory=dict)
    """Those of a policy that is put into force."""
    stars: int | None = None
    twice: bool = False

    @property
    def says(self) -> bool:
        """Whether it puts new words into the world."""
        return self.deed in SAYS


@dataclass(frozen=True)
class Conversation:
    """What belongs together."""

    title: str
    lines: tuple[Line, ...]


@dataclass(frozen=True)
class Script:
    """One evening."""

    company: str
    handle: str
    forum: str
    begins: datetime
    conversations: tuple[Conversation, ...]
    words: Mapping[str, Line]
    """The lines that say something new, by label."""
    matters: Mapping[str, str]
    """For the label of each customer's line the one whose ticket it belongs to."""

    @property
    def lines(self) -> Iterator[Line]:
        """Every line."""
        return (line for conversation in self.conversations for line in conversation.lines)


def load_script(document: Mapping[str, Any] | None = None) -> Script:
    """Read the evening that ships with the gateway, or a document of the same form. Raises ScriptBroken."""
    if document is None:
        document = tomllib.loads(files("gateway.demo").joinpath("evening.toml").read_text("utf-8"))
    day: date = document["date"]
    conversations = tuple(
        Conversation(entry["title"], tuple(_line(given, day, entry["title"]) for given in entry["lines"]))
        for entry in document["conversation"]
    )
    begins = min(line.at for conversation in conversations for line in conversation.lines)
    words = _labelled(conversations, begins)
    matters = {label: matter for conversation in conversations for label, matter in _matters(conversation)}
    return Script(document["company"], document["handle"], document["forum"], begins, conversations, words, matters)


def _line(given: Mapping[str, Any], day: date, title: str) -> Line:
    """Read `{ at = …, <actor> = who, <deed> = text or label, … }`."""
    actor = next((name for name in ACTORS if name in given), "")
    deed = next((name for name in DEEDS if name in given), "")
    if not deed or (not actor and deed not in ("closes", *OF_ITSELF)):
        raise ScriptBroken(f"{title}: who does what? {dict(given)}")
    options = {name: value for name, value in given.items() if name in {each.name for each in fields(Line)} - {"at"}}
    content = given[deed]
    new = deed in SAYS or deed == "activates"
    options |= {"text": content, "label": given.get("as", "")} if new else {"label": content}
    if deed == "merges":
        options["to"] = given.get("into")
    return Line(
        at=datetime.combine(day, time.fromisoformat(given["at"]), UTC),
        place="gateway" if deed in OF_ITSELF else "helpdesk" if actor in ("agent", "rule", "") else actor,
        who=str(given.get(actor, "")),
        deed="rule" if actor == "rule" else deed,
        **options,
    )


def _labelled(conversations: Iterable[Conversation], begins: datetime) -> dict[str, Line]:
    """Each label's line. Raises ScriptBroken for a label twice, missing, or used before its time."""
    known: dict[str, Line] = {}
    for conversation in conversations:
        before = begins
        for line in conversation.lines:
            where = f"{conversation.title}, {line.at:%H:%M}"
            if line.at < before:
                raise ScriptBroken(f"{where}: comes after a later line")
            before = line.at
            if line.says and (not line.label or line.label in known):
                raise ScriptBroken(f"{where}: needs a label of its own")
            for label in (
                None if line.says else line.label or None,
                line.to,
                line.ticket if line.ticket != "new" else None,
            ):
                if label is not None and label not in known:
                    raise ScriptBroken(f"{where}: speaks of {label}, which nobody has said")
            if line.says:
                known[line.label] = line
    return known


def _matters(conversation: Conversation) -> Iterator[tuple[str, str]]:
    """A customer's first line opens a ticket and the next ones go on in it, unless the script says otherwise."""
    first: dict[tuple[str, str], str] = {}
    matters: dict[str, str] = {}
    for line in conversation.lines:
        if not line.says or line.heard != "yes":
            continue
        named = matters[line.ticket] if line.ticket not in (None, "new") else None
        opened = line.label if line.ticket == "new" else first.setdefault((line.place, line.who), line.label)
        matters[line.label] = named or opened
        yield line.label, matters[line.label]
