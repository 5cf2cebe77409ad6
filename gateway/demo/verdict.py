"""The oracle of a replay: what the twins' ledgers and the gateway's timelines hold, against what the recording says."""

from __future__ import annotations

import asyncio
from collections import Counter, defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, field

from gateway.demo.playing import Playing
from gateway.demo.recordings import Message, Tree, beyond_reach, by_matter
from gateway.demo.rest import Rest
from gateway.demo.witness import words

AT_ONCE = 8


@dataclass
class Verdict:
    """What was found wrong, by kind, and the numbers of a summary."""

    lost: list[str] = field(default_factory=list)
    duplicated: list[str] = field(default_factory=list)
    misplaced: list[str] = field(default_factory=list)
    """There once, but on the wrong ticket, under the wrong post or in the wrong order."""
    tickets: int = 0
    replies_published: int = 0
    native_answers: int = 0

    @property
    def clean(self) -> bool:
        """Whether nothing is wrong."""
        return not (self.lost or self.duplicated or self.misplaced)

    def once(self, found: int, what: str) -> None:
        """Something that must be there exactly once."""
        if found == 0:
            self.lost.append(what)
        elif found > 1:
            self.duplicated.append(f"{what}, {found} times")


@dataclass(frozen=True)
class Matter:
    """One customer's part of a tree, with the helpdesk's ticket for it."""

    tree: Tree
    author: str
    messages: list[Message]
    ticket: str

    @property
    def name(self) -> str:
        """The customer's handle."""
        return self.tree.handle(self.author)


async def judge(playing: Playing, rest: Rest) -> Verdict:
    """Compare the ledgers of both twins, and the gateway's own timelines, with the recording."""
    verdict = Verdict()
    matters = [matter for tree in playing.recording.trees for matter in _judge_tree(playing, tree, verdict)]
    expected = sum(len(tree.matters) for tree in playing.recording.trees)
    verdict.tickets = sum(effect.kind == "ticket_created" for effect in playing.helpdesk.ledger)
    if verdict.tickets > expected:
        verdict.duplicated.append(f"{verdict.tickets - expected} tickets more than customers heard or answered")
    _judge_answers(playing, verdict)
    await _judge_timelines(playing, rest, matters, verdict)
    return verdict


def _judge_tree(playing: Playing, tree: Tree, verdict: Verdict) -> list[Matter]:
    """Every customer's messages once, on one ticket of their own."""
    owners: dict[str, str] = {}
    matters = []
    for author, messages in by_matter(tree).items():
        on: set[str] = set()
        for message in messages:
            seen = playing.witness.seen["told", message.id]
            verdict.once(len(seen), f"message {message.id} in the helpdesk")
            on |= {str(effect.data["ticket"]) for effect in seen}
        if len(on) > 1:
            verdict.misplaced.append(f"{tree.handle(author)} has tickets {', '.join(sorted(on))} for one conversation")
        for ticket in on:
            if owners.setdefault(ticket, author) != author:
                verdict.misplaced.append(f"ticket {ticket} holds {owners[ticket]} and {author} of tree {tree.number}")
        if len(on) == 1:
            matters.append(Matter(tree, author, messages, on.pop()))
    for message in beyond_reach(tree):
        for _ in playing.witness.seen["told", message.id]:
            verdict.misplaced.append(f"message {message.id} is in the helpdesk, and nobody was told of it")
    return matters


def _judge_answers(playing: Playing, verdict: Verdict) -> None:
    answers: defaultdict[tuple[str | None, str], list[Message]] = defaultdict(list)
    for message in playing.recording.messages:
        if message.way == "helpdesk":
            answers[playing.name_of(message.parent), words(message.text)].append(message)
        elif message.way == "native":
            verdict.native_answers += 1
            seen = len(playing.witness.seen["noted", message.id])
            verdict.once(seen, f"the note of the answer {message.id} given on the network")
    companies = {playing.users[company]: company for company in playing.recording.companies}
    for (parent, text), messages in answers.items():
        there = playing.witness.seen["sent", parent, text]
        verdict.once(len(there), f"the answer {messages[0].id} under {parent}")
        for effect in there:
            if companies.get(effect.data["author"]) not in messages[0].tree.matters[_asker(messages[0])]:
                verdict.misplaced.append(f"the answer {messages[0].id} was published as {effect.data['handle']}")
    sent = [effect for effect in playing.network.ledger if effect.kind == "post" and effect.data["by"] == "api"]
    for effect in sent:
        if (effect.data["in_reply_to"], words(effect.data["text"])) not in answers:
            verdict.misplaced.append(f"post {effect.id} by {effect.data['handle']}, which no agent wrote there")
    verdict.replies_published = len(sent)


def _asker(message: Message) -> str:
    assert message.parent is not None
    return message.parent.author


async def _judge_timelines(playing: Playing, rest: Rest, matters: Sequence[Matter], verdict: Verdict) -> None:
    """Each ticket's timeline holds what its customer said and what they were answered, once and in order."""
    ids = {str(item["external_id"]): str(item["id"]) async for item in rest.listed("tickets", limit="200")}
    gate = asyncio.Semaphore(AT_ONCE)

    async def read(matter: Matter) -> list[str]:
        async with gate:
            document = await rest.get(f"tickets/{ids[matter.ticket]}") if matter.ticket in ids else {"timeline": []}
        return [
            str(entry["external_id"]) for entry in document["timeline"] if entry["entry"] in ("interaction", "reply")
        ]

    for matter, found in zip(matters, await asyncio.gather(*map(read, matters)), strict=True):
        answers = [
            message
            for message in matter.tree.messages
            if message.by_agent and message.parent is not None and message.parent.author == matter.author
        ]
        # the network's ids hold its own times, so that their order is that of the conversation
        expected = sorted((playing.name_of(message) or "" for message in [*matter.messages, *answers]), key=int)
        counts = Counter(found)
        for id in expected:
            verdict.once(counts.pop(id, 0), f"{id} on the timeline of {matter.name}")
        for id in counts:
            verdict.misplaced.append(f"{id} on the timeline of {matter.name}, where it does not belong")
        if sorted(found) == sorted(expected) and found != expected:
            verdict.misplaced.append(f"the timeline of {matter.name} is out of order: {', '.join(found)}")
