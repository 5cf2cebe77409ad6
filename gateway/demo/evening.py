"""The evening's script, how each line of it is played, and whether it came out as it should."""

from __future__ import annotations

import asyncio
import json
import statistics
from collections import Counter
from collections.abc import Hashable, Iterator
from dataclasses import dataclass, field
from datetime import datetime
from importlib.resources import files
from typing import TYPE_CHECKING, Any

from rich.console import Console

from gateway.demo.twins import ForumTwin, HelpdeskTwin, SocialTwin
from gateway.demo.witness import Witness, words
from gateway_schemas.time import TimeSource

if TYPE_CHECKING:
    from gateway_schemas.testing.twin import Effect

Line = list[Any]
PAUSE = 0.15
"""Real seconds that people take to read."""
CLOCK_TICK = 1.5
"""Virtual seconds after which the helpdesk's clock, which counts whole ones, has moved on."""


def load_evening() -> dict[str, Any]:
    """The script: conversations of lines, each `[who, does, …]`."""
    document: dict[str, Any] = json.loads(files("gateway.demo").joinpath("evening.json").read_text("utf-8"))
    return document


@dataclass
class Evening:
    """One run of the script."""

    script: dict[str, Any]
    clock: TimeSource
    network: SocialTwin
    helpdesk: HelpdeskTwin
    forum: ForumTwin
    witness: Witness
    console: Console
    ids: dict[str, str] = field(default_factory=dict)
    """What a line's post is called where it was written, by the label it has in the script."""
    texts: dict[str, str] = field(default_factory=dict)
    """What each label said first."""
    told: list[str] = field(default_factory=list)
    """Texts that the helpdesk must have exactly once, as the customer's."""
    noted: list[str] = field(default_factory=list)
    """Texts that the helpdesk must have in a note."""
    out: list[tuple[str, str, str]] = field(default_factory=list)
    """Answers that must be out exactly once: kind of place, what they answer, text."""
    kept: list[str] = field(default_factory=list)
    """Texts that must never be out."""
    counts: Counter[str] = field(default_factory=Counter)
    first: list[float] = field(default_factory=list)
    """Virtual seconds from a conversation's first post to the first answer to it."""
    _users: dict[str, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.witness.watch(self.helpdesk, self._named_at_helpdesk)
        self.witness.watch(self.network, self._named_on_network)
        self.witness.watch(self.forum, self._named_on_forum)

    @property
    def company(self) -> str:
        """The company's name."""
        return str(self.script["company"])

    @property
    def handle(self) -> str:
        """Its account at the network."""
        return str(self.script["handle"])

    @property
    def conversations(self) -> list[list[Line]]:
        """The script's conversations."""
        found: list[list[Line]] = self.script["conversations"]
        return found

    # what is seen, and by which name

    def _named_at_helpdesk(self, effect: Effect) -> Iterator[Hashable]:
        if effect.kind != "comment_created" or effect.data["gateway_key"] is None:
            return
        said = words(effect.data["text"])
        kind = "told" if effect.data["role"] == "end-user" else "noted"
        for text in {*self.told, *self.noted, *self.kept, *(answer for _, _, answer in self.out)}:
            if words(text) in said:
                yield kind, text

    def _named_on_network(self, effect: Effect) -> Iterator[Hashable]:
        if effect.data.get("by") != "api":
            return
        if effect.kind == "post":
            yield "out", "post", effect.data["in_reply_to"], effect.data["text"]
        elif effect.kind == "dm":
            yield "out", "dm", effect.data["recipient"], effect.data["text"]

    def _named_on_forum(self, effect: Effect) -> Iterator[Hashable]:
        if effect.kind == "reply.created":
            reply = effect.data["reply"]
            yield "out", "forum", str(reply["in_reply_to"]), reply["text"]

    # playing

    async def play(self, number: int) -> None:
        """Play one conversation, line by line. Raises NotSeen when something that should happen does not."""
        lines = self.conversations[number]
        started: datetime | None = None
        for who, does, *rest in lines:
            await asyncio.sleep(PAUSE)
            if does in ("post", "topic", "review") and started is None:
                started = self.clock.now()
            await getattr(self, f"_{does}")(str(who), *rest)
            if does == "answer" and started is not None:
                self.first.append((self.clock.now() - started).total_seconds())
                started = None

    async def _post(self, who: str, label: str, text: str) -> None:
        self._say(who, "posts", text)
        self.ids[label] = self.network.post(self._user(who), text)
        await self._told(label, text, wait=f"@{self.handle}" in text)

    async def _own(self, who: str, label: str, text: str) -> None:
        self._say(who, "posts", text)
        self.ids[label] = self.network.post(self._user(who), text)
        self.texts[label] = text

    async def _reply(self, who: str, label: str, to: str, text: str) -> None:
        self._say(who, "replies", text)
        self.ids[label] = self.network.post(self._user(who), text, self.ids[to])
        await self._told(label, text, wait=f"@{self.handle}" in text)

    async def _native(self, who: str, label: str, to: str, text: str) -> None:
        self._say(who, "answers on the network itself", text)
        self.noted.append(text)
        self.ids[label] = self.network.post(self._user(who), text, self.ids[to])
        self.counts["native_answers"] += 1
        await self.witness.until(("told", self.texts[to]), f"“{self.texts[to]}” at the helpdesk")
        await self.witness.until(("noted", text), f"the note of “{text}”")

    async def _dm(self, who: str, label: str, text: str) -> None:
        self._say(who, "writes a direct message", text)
        self.ids[label] = self.network.direct_message(self._user(who), self._user(self.handle), text)
        self.ids[f"{label}:dm"] = self._user(who)
        await self._told(label, text, wait=True)

    async def _topic(self, who: str, label: str, text: str) -> None:
        await self._forum(who, label, {"kind": "post", "text": text})

    async def _review(self, who: str, label: str, stars: int, text: str) -> None:
        await self._forum(who, label, {"kind": "review", "text": text, "rating": {"value": stars}})

    async def _forum(self, who: str, label: str, item: dict[str, Any]) -> None:
        self._say(who, "writes on the forum", item["text"])
        self.ids[label] = f"forum-{label}"
        self.ids[f"{label}:forum"] = "yes"
        name = who.removeprefix("user:")
        author = {"external_id": name, "handle": name, "name": name.title()}
        published = self.clock.now().isoformat()
        self.forum.push({"external_id": self.ids[label], "author": author, "published_at": published, **item})
        await self._told(label, item["text"], wait=True)

    async def _edit(self, who: str, label: str, text: str) -> None:
        self._say(who, "edits", text)
        self.told.append(text)
        self.counts["edits"] += 1
        if f"{label}:forum" in self.ids:
            self.forum.edit(self.ids[label], text=text)
        else:
            self.ids[label] = self.network.edit(self.ids[label], text)
        await self.witness.until(("told", text), f"the edit “{text}” at the helpdesk")

    async def _delete(self, who: str, label: str) -> None:
        self._say(who, "deletes", self.texts[label])
        self.counts["deletions"] += 1
        self.noted.append(self.texts[label])
        self.forum.delete(self.ids[label])
        await self.witness.until(("noted", self.texts[label]), f"the note that “{self.texts[label]}” is gone")

    async def _answer(self, who: str, to: str, text: str) -> None:
        ticket = await self._ticket(to)
        await self.clock.sleep(CLOCK_TICK)
        place, target = self._place(to)
        self.out.append((place, target, text))
        self._say(f"{who} at the helpdesk", f"answers ticket {ticket}", text)
        self.helpdesk.agent_comment(ticket, who, text)
        effect = await self.witness.until(("out", place, target, text), f"“{text}” under {to}")
        self.console.print(f"  [green]→ published[/] on the {'forum' if place == 'forum' else 'network'}")
        self.counts["replies_published"] += 1
        if place == "post":
            self.ids[f"{to}:answer"] = effect.id

    async def _too_long(self, who: str, to: str, text: str) -> None:
        await self._goes_back(who, to, text, "of at most")

    async def _refused(self, who: str, to: str, text: str) -> None:
        await self._goes_back(who, to, text, "could not be published")

    async def _goes_back(self, who: str, to: str, text: str, why: str) -> None:
        ticket = await self._ticket(to)
        await self.clock.sleep(CLOCK_TICK)
        self.kept.append(text)
        self._say(f"{who} at the helpdesk", f"answers ticket {ticket}", text)
        self.helpdesk.agent_comment(ticket, who, text)
        note = await self.witness.until(("noted", text), f"the note that “{text}” did not go out")
        reason = next((line for line in note.data["text"].splitlines() if line.startswith("Reason")), why)
        self.console.print(f"  [yellow]→ back to {who}[/]: {reason}")
        self.counts["replies_held_or_refused"] += 1

    async def _rule(self, who: str, to: str, text: str) -> None:
        self.kept.append(text)
        self._say("a rule", "comments", text)
        self.helpdesk.agent_comment(await self._ticket(to), who, text, via="rule")

    async def _note(self, who: str, to: str, text: str) -> None:
        self.kept.append(text)
        self._say(f"{who} at the helpdesk", "notes privately", text)
        self.helpdesk.agent_comment(await self._ticket(to), who, text, public=False)

    async def _status(self, who: str, to: str, status: str) -> None:
        ticket = await self._ticket(to)
        self._say(f"{who} at the helpdesk", f"sets ticket {ticket} to", status)
        if status == "closed":
            self.helpdesk.close(ticket)
        else:
            self.helpdesk.change(ticket, {"status": status}, who)
        await self.helpdesk.settle()

    async def _merge(self, who: str, source: str, target: str) -> None:
        left, right = await self._ticket(source), await self._ticket(target)
        self._say(f"{who} at the helpdesk", f"merges ticket {left} into", str(right))
        self.helpdesk.merge(left, right, who)
        await self.helpdesk.settle()

    # what each line needs

    async def _told(self, label: str, text: str, *, wait: bool) -> None:
        self.texts[label] = text
        self.told.append(text)
        self.counts["inbound"] += 1
        if wait:
            effect = await self.witness.until(("told", text), f"“{text}” at the helpdesk")
            self.console.print(f"  → ticket {effect.data['ticket']}")

    async def _ticket(self, label: str) -> int:
        effect = await self.witness.until(("told", self.texts[label]), f"“{self.texts[label]}” at the helpdesk")
        ticket: int = effect.data["ticket"]
        return ticket

    def _place(self, label: str) -> tuple[str, str]:
        if f"{label}:forum" in self.ids:
            return "forum", self.ids[label]
        if f"{label}:dm" in self.ids:
            return "dm", self.ids[f"{label}:dm"]
        return "post", self.ids[label]

    def _user(self, handle: str) -> str:
        if handle == self.handle:
            return str(self.network.connection_config(handle)["user_id"])
        clean = handle.replace(".", "_")
        if clean not in self._users:
            self._users[clean] = self.network.add_user(clean).id
        return self._users[clean]

    def _say(self, who: str, does: str, text: str) -> None:
        short = text if len(text) <= 90 else text[:89] + "…"
        name = who.removeprefix("user:")
        self.console.print(f"[dim]{self.clock.now():%H:%M}[/] [bold]{name}[/] {does}: {short}")

    # how it came out

    def summary(self, failures: list[str]) -> dict[str, Any]:
        """The numbers, by what the twins have seen and the script expects."""
        seen = self.witness.seen
        lost = [f"not at the helpdesk: “{text}”" for text in self.told if not seen[("told", text)]]
        lost += [f"not noted: “{text}”" for text in self.noted if not seen[("noted", text)]]
        lost += [f"not out: “{text}”" for place, to, text in self.out if not seen[("out", place, to, text)]]
        twice = [f"at the helpdesk twice: “{text}”" for text in self.told if len(seen[("told", text)]) > 1]
        twice += [f"out twice: “{text}”" for place, to, text in self.out if len(seen[("out", place, to, text)]) > 1]
        published = [name for name in seen if isinstance(name, tuple) and name[0] == "out" and seen[name]]
        leaked = [f"out although it must not be: “{name[3]}”" for name in published if name[3] in self.kept]
        expected = {("out", *one) for one in self.out}
        strays = [f"out in the wrong place: “{name[3]}”" for name in published if name not in expected]
        times = sorted(self.first)
        return {
            "conversations": len(self.conversations),
            "inbound": self.counts["inbound"],
            "edits": self.counts["edits"],
            "deletions": self.counts["deletions"],
            "native_answers": self.counts["native_answers"],
            "tickets": len(self.helpdesk.snapshot()["tickets"]),
            "replies_published": self.counts["replies_published"],
            "replies_held_or_refused": self.counts["replies_held_or_refused"],
            "lost": len(lost),
            "duplicated": len(twice),
            "first_response_seconds": {
                "median": round(percentile(times, 0.5), 1),
                "p90": round(percentile(times, 0.9), 1),
            },
            "problems": [*failures, *lost, *twice, *leaked, *strays],
        }


def percentile(values: list[float], share: float) -> float:
    """The value below which this share of the values lies."""
    if not values:
        return 0.0
    if len(values) == 1:
        return values[0]
    return statistics.quantiles(values, n=100, method="inclusive")[round(share * 100) - 1]
