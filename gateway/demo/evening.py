"""How each line of the evening is played: done at a twin, and followed until it has had its effect."""

from __future__ import annotations

import contextlib
import functools
import itertools
from collections import Counter, defaultdict
from collections.abc import Callable, Hashable, Iterator
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any

from gateway.demo.conductor import NotSeen, Step
from gateway.demo.observer import Observer
from gateway.demo.script import OF_ITSELF, Line, Script
from gateway.demo.twins import ForumTwin, HelpdeskTwin, SocialTwin, Twin
from gateway.demo.witness import Witness, words
from gateway_schemas.time import TimeSource

if TYPE_CHECKING:
    from gateway_schemas.testing.twin import Effect

TWICE = 0.15
"""The share of webhooks that arrive twice, as providers do it."""


@dataclass(frozen=True)
class Sent:
    """An answer as it must be out, once: where, under what, and in which words."""

    place: str
    target: str
    text: str


@dataclass
class Evening:
    """One run of the script."""

    script: Script
    clock: TimeSource
    network: SocialTwin
    helpdesk: HelpdeskTwin
    forum: ForumTwin
    witness: Witness
    observer: Observer
    show: Callable[[Line, str], None]
    """Called with each line and what came of it."""
    ids: dict[str, str] = field(default_factory=dict)
    """What a line is called where it was said, by label."""
    tickets: defaultdict[str, set[str]] = field(default_factory=lambda: defaultdict(set))
    """The helpdesk's tickets that each matter was seen on."""
    told: list[str] = field(default_factory=list)
    """Customers' words that the helpdesk must have as theirs, once."""
    noted: list[str] = field(default_factory=list)
    """Words that must stand in a note of the gateway's."""
    unheard: list[str] = field(default_factory=list)
    """Customers' words that the helpdesk must not have as theirs."""
    sent: list[Sent] = field(default_factory=list)
    kept: list[str] = field(default_factory=list)
    """Words of agents and rules that must never be out."""
    counts: Counter[str] = field(default_factory=Counter)
    waits: list[timedelta] = field(default_factory=list)
    """From the first line of a conversation to the first answer in it."""
    _users: dict[str, str] = field(default_factory=dict)
    _asked: dict[str, datetime] = field(default_factory=dict)
    _silent: defaultdict[str, list[Line]] = field(default_factory=lambda: defaultdict(list))
    """Of each customer, what the company was not told: it comes with whatever leads to it."""

    def __post_init__(self) -> None:
        self.witness.watch(self.helpdesk, self._named_at_helpdesk)
        self.witness.watch(self.network, _named_on_network)
        self.witness.watch(self.forum, _named_on_forum)

    def open_accounts(self) -> None:
        """Give the company and everybody else an account at the network."""
        handle = self.script.handle
        self._users[handle] = self.network.add_brand(handle, name=self.script.company).id
        for line in self.script.lines:
            if line.place == "x" and line.who not in self._users:
                self._users[line.who] = self.network.add_user(line.who).id

    def steps(self) -> Iterator[Step]:
        """Each line, after the one before it in its conversation."""
        for conversation in self.script.conversations:
            before: tuple[Step, ...] = ()
            for line in conversation.lines:
                step = Step(line.at, functools.partial(self._play, line, conversation.title), before)
                before = (step,)
                yield step

    def is_own(self, line: Line) -> bool:
        """Whether the company itself says it on the network."""
        return line.place == "x" and line.who == self.script.handle

    # what is seen, and by which name

    def _named_at_helpdesk(self, effect: Effect) -> Iterator[Hashable]:
        if effect.kind == "comment_created" and effect.data["gateway_key"] is not None:
            said = words(effect.data["text"])
            kind = "told" if effect.data["role"] == "end-user" else "noted"
            for text in dict.fromkeys((*self.told, *self.noted, *self.kept, *self.unheard)):
                if words(text) in said:
                    yield kind, text

    async def _until_told(self, text: str) -> Effect:
        return await self.witness.until(("told", text), f"“{text}” at the helpdesk")

    async def _until_noted(self, text: str) -> Effect:
        return await self.witness.until(("noted", text), f"the note with “{text}”")

    # playing

    async def _play(self, line: Line, title: str) -> None:
        do = {"edits": self._edit, "deletes": self._delete, "answers": self._answer, "rule": self._write_by_rule}
        do |= {
            "approves": self._approve,
            "notes": self._note,
            "solves": self._solve,
            "closes": self._close,
            "merges": self._merge,
            "activates": self.observer.activate,
            "settles": self._settle,
            "ends": self._end,
            **dict.fromkeys(OF_ITSELF, self._see),
        }
        outcome = await do.get(line.deed, self._say)(line)
        if line.says and not self.is_own(line):
            self._asked.setdefault(title, line.at)
        answered = (self.is_own(line) and line.to is not None) or (line.deed == "answers" and line.back is None)
        if answered and title in self._asked:
            self.waits.append(max(self.clock.now() - self._asked.pop(title), timedelta()))
            self._asked[title] = datetime.max.replace(tzinfo=line.at.tzinfo)
        self.show(line, outcome)

    async def _say(self, line: Line) -> str:
        if not self.is_own(line):
            self.counts["inbound"] += 1
            heard = {"yes": self.told, "context": self.noted, "never": self.unheard, "counted": self.unheard}
            heard[line.heard].append(line.text)
        with _telling(self.network if line.place == "x" else self.forum, twice=line.twice):
            self.ids[line.label] = self._utter(line)
        if self.is_own(line):
            return await self._follow_own(line)
        if not self._is_told(line):
            if line.heard == "yes":
                self._silent[line.who].append(line)
            return "X tells the company nothing of it"
        if line.heard == "counted":
            self.counts["counted"] += 1
            return await self.observer.counted(line.text, await self._ticket(line.ticket or ""))
        return await self._follow_customer(line)

    def _utter(self, line: Line) -> str:
        user = self._users.get(line.who, line.who)
        if line.deed == "messages":
            return self.network.direct_message(user, self._users[self.script.handle], line.text)
        if line.place == "x":
            other = self.ids[line.to] if line.to else None
            if line.deed == "quotes":
                return self.network.post(user, line.text, quote=other)
            return self.network.post(user, line.text, other)
        id = f"{line.who}-{line.label}"
        item = {
            "external_id": id,
            "kind": "review" if line.deed == "reviews" else "post",
            "author": {"external_id": line.who, "name": line.who.title()},
            "text": line.text,
            "published_at": line.at.isoformat(),
            **({"rating": {"value": line.stars}} if line.stars is not None else {}),
        }
        self.forum.push(item)
        return id

    def _is_told(self, line: Line) -> bool:
        """Whether the company is told: it is named or written to, or what is answered or quoted is its own."""
        above = self.script.words.get(line.to or "")
        named = f"@{self.script.handle}" in line.text or (above is not None and self.is_own(above))
        return line.place == "forum" or line.deed == "messages" or named

    async def _follow_customer(self, line: Line) -> str:
        """Wait for the line, and for what it leads to of the same customer, in their ticket."""
        earlier = self._silent.pop(line.who, [])
        for one in (*earlier, line):
            seen = await self._until_told(one.text)
            self.tickets[self.script.matters[one.label]].add(str(seen.data["ticket"]))
        ticket = str(seen.data["ticket"])
        if line.reopens and self._status(ticket) != "open":
            raise NotSeen(f"ticket {ticket} open again: it is {self._status(ticket)}")
        return f"ticket {ticket}" + (", open again" if line.reopens else "") + _with(earlier)

    async def _follow_own(self, line: Line) -> str:
        """The company's own post opens nothing by itself; an answer to a customer is noted in the customer's ticket."""
        above = self.script.words.get(line.to or "")
        if above is None or self.is_own(above):
            return "opens no ticket"
        self.counts["native_answers"] += 1
        self.noted.append(line.text)
        earlier = self._silent.pop(above.who, [])
        for one in earlier:
            seen = await self._until_told(one.text)
            self.tickets[self.script.matters[one.label]].add(str(seen.data["ticket"]))
        note = await self._until_noted(line.text)
        return f"noted in ticket {note.data['ticket']}" + _with(earlier)

    async def _edit(self, line: Line) -> str:
        self.counts["edits"] += 1
        self.told.append(line.text)
        if line.place == "x":
            self.ids[line.label] = self.network.edit(self.ids[line.label], line.text)
        else:
            self.forum.edit(self.ids[line.label], text=line.text)
        seen = await self._until_told(line.text)
        self.tickets[self.script.matters[line.label]].add(str(seen.data["ticket"]))
        return f"ticket {seen.data['ticket']}, marked as edited"

    async def _delete(self, line: Line) -> str:
        self.counts["deletions"] += 1
        if line.place == "x":
            self.network.delete(self.ids[line.label])
            return "X tells the company nothing of it"
        self.forum.delete(self.ids[line.label])
        gone = self.script.words[line.label].text
        self.noted.append(gone)
        note = await self._until_noted(gone)
        return f"noted in ticket {note.data['ticket']}"

    async def _answer(self, line: Line) -> str:
        ticket = await self._ticket(line.label)
        tags = (f"reply:{line.leg}",) if line.leg else ()
        if line.back is not None:
            self.kept.append(line.text)
            self.helpdesk.agent_comment(ticket, line.who, line.text, tags=tags)
            note = await self._until_noted(line.text)
            reason = next((part for part in note.data["text"].splitlines() if line.why in part), None)
            if reason is None or f"gw_{line.back}" not in self._tags(str(ticket)):
                raise NotSeen(f"“{line.text}” {line.back} because “{line.why}”: {note.data['text']}")
            self.counts["replies_held_or_refused"] += 1
            self.counts[line.back] += 1
            if line.policy is not None:
                await self.observer.judged(line, ticket)
                self.counts[f"policy:{line.policy}"] += 1
            why = reason.removeprefix("Reason: ")
            return "\n".join([f"{line.back}, back to {line.who}. {why}", *_evidence(note, why)])
        sent = self._expect(line)
        self.helpdesk.agent_comment(ticket, line.who, line.text, tags=tags)
        return await self._until_sent(sent, line)

    async def _approve(self, line: Line) -> str:
        """A colleague says yes to an answer that is held, with a note, and it goes out as it is."""
        self.kept.remove(line.text)
        sent = self._expect(line)
        self.helpdesk.agent_comment(await self._ticket(line.label), line.who, "/approve", public=False)
        self.counts["replies_approved"] += 1
        out = await self._until_sent(sent, line)
        return f"{out}: {await self.observer.approved(line.text, await self._ticket(line.label), line.who)}"

    def _expect(self, line: Line) -> Sent:
        """What must be out, once, from now on."""
        asked = self.script.words[line.label]
        place = "message" if asked.deed == "messages" else asked.place
        sent = Sent(place, self._users[asked.who] if place == "message" else self.ids[line.label], words(line.text))
        self.sent.append(sent)
        return sent

    async def _until_sent(self, sent: Sent, line: Line) -> str:
        asked = self.script.words[line.label]
        await self.witness.until(sent, f"“{line.text}” out, as the answer to “{asked.text}”")
        self.counts["replies_published"] += 1
        return {"x": "published on X", "message": "sent as a direct message"}.get(sent.place, "published on the forum")

    async def _write_by_rule(self, line: Line) -> str:
        self.kept.append(line.text)
        self.helpdesk.agent_comment(await self._ticket(line.label), line.who, line.text, via="rule")
        return "rules publish nothing"

    async def _note(self, line: Line) -> str:
        self.kept.append(line.text)
        self.helpdesk.agent_comment(await self._ticket(line.label), line.who, line.text, public=False)
        return "stays in the helpdesk"

    async def _solve(self, line: Line) -> str:
        ticket = await self._ticket(line.label)
        self.helpdesk.change(ticket, {"status": "solved"}, line.who)
        return f"ticket {ticket} is solved"

    async def _close(self, line: Line) -> str:
        ticket = await self._ticket(line.label)
        self.helpdesk.close(ticket)
        return f"ticket {ticket} is closed for good"

    async def _merge(self, line: Line) -> str:
        source, target = await self._ticket(line.label), await self._ticket(line.to or "")
        self.helpdesk.merge(source, target, line.who)
        return f"ticket {source} goes on in ticket {target}"

    async def _settle(self, line: Line) -> str:
        self.counts["kept"] += 1
        return await self.observer.settle(line, await self._ticket(line.label))

    async def _end(self, line: Line) -> str:
        return await self.observer.end(line, await self._ticket(line.label))

    async def _see(self, line: Line) -> str:
        """What the gateway does of itself."""
        ticket = await self._ticket(line.label)
        if line.deed in ("warned", "breached"):
            seen = await self.observer.step(line, ticket)
        elif line.deed in ("kept", "broken"):
            seen = await self.observer.promise(line, ticket)
        elif line.deed == "opened":
            seen = await self.observer.opened(ticket)
        else:
            seen = await self.observer.grown(line, ticket)
        self.counts[line.deed] += 1
        return seen

    async def _ticket(self, label: str) -> int:
        ticket: int = (await self._until_told(self.script.words[label].text)).data["ticket"]
        return ticket

    def _status(self, ticket: str) -> str:
        return str(self._document(ticket)["status"])

    def _tags(self, ticket: str) -> list[str]:
        return [str(tag) for tag in self._document(ticket)["tags"]]

    def _document(self, ticket: str) -> dict[str, Any]:
        documents: list[dict[str, Any]] = self.helpdesk.snapshot()["tickets"]
        return next(document for document in documents if str(document["id"]) == ticket)


def _named_on_network(effect: Effect) -> Iterator[Hashable]:
    if effect.data.get("by") == "api" and effect.kind in ("post", "dm"):
        place, target = ("x", "in_reply_to") if effect.kind == "post" else ("message", "recipient")
        yield Sent(place, str(effect.data[target]), words(effect.data["text"]))
        yield "out", words(effect.data["text"])


def _named_on_forum(effect: Effect) -> Iterator[Hashable]:
    if effect.kind == "reply.created":
        reply = effect.data["reply"]
        yield Sent("forum", str(reply["in_reply_to"]), words(reply["text"]))
        yield "out", words(reply["text"])


@contextlib.contextmanager
def _telling(twin: Twin, *, twice: bool) -> Iterator[None]:
    """Within this, the twin tells everything twice, or some of it."""
    twin.webhooks.duplicate = 1.0 if twice else TWICE
    try:
        yield
    finally:
        twin.webhooks.duplicate = TWICE


def _evidence(note: Effect, reason: str) -> list[str]:
    """What the gateway's note quotes for this reason, on one line, and what it suggests instead."""
    _, found, rest = note.data["text"].partition(f"• {reason}\n")
    lines = [line.strip() for line in itertools.takewhile(lambda line: line.startswith("  "), rest.splitlines())]
    quotes = "  ".join(line for line in lines if line.startswith("“"))
    return [line for line in (quotes, *(line for line in lines if line.startswith("Instead: "))) if found and line]


def _with(earlier: list[Line]) -> str:
    return f", with {len(earlier)} earlier post{'s' if len(earlier) > 1 else ''}" if earlier else ""
