"""The oracle of a replay: what the twins' ledgers and the gateway's timelines hold, against what the recording says."""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass, field

from gateway.demo.playing import Playing
from gateway.demo.recordings import Message, Tree, beyond_reach, by_matter
from gateway.demo.witness import words


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


def judge(playing: Playing) -> Verdict:
    """Compare the ledgers of both twins with the recording."""
    verdict = Verdict()
    expected = 0
    for tree in playing.recording.trees:
        expected += _judge_tree(playing, tree, verdict)
    created = [effect for effect in playing.helpdesk.ledger if effect.kind == "ticket_created"]
    verdict.tickets = len(created)
    if len(created) > expected:
        verdict.duplicated.append(f"{len(created) - expected} tickets more than customers who were heard or answered")
    _judge_answers(playing, verdict)
    return verdict


def _judge_tree(playing: Playing, tree: Tree, verdict: Verdict) -> int:
    """Every customer's messages once, on one ticket of their own; how many tickets there ought to be."""
    owners: dict[str, str] = {}
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
    for message in beyond_reach(tree):
        for _ in playing.witness.seen["told", message.id]:
            verdict.misplaced.append(f"message {message.id} is in the helpdesk, and nobody was told of it")
    return len(tree.matters)


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
    sent = [effect for effect in playing.network.ledger if effect.kind == "post" and effect.data["by"] == "api"]
    for (parent, text), asked in answers.items():
        there = playing.witness.seen["sent", parent, text]
        for message in asked[:1]:
            verdict.once(len(there), f"the answer {message.id} under {parent}")
            for effect in there:
                if companies.get(effect.data["author"]) not in message.tree.matters[_asked(message)]:
                    verdict.misplaced.append(f"the answer {message.id} was published as {effect.data['handle']}")
    for effect in sent:
        if (effect.data["in_reply_to"], words(effect.data["text"])) not in answers:
            verdict.misplaced.append(f"post {effect.id} by {effect.data['handle']}, which no agent wrote there")
    verdict.replies_published = len(sent)


def _asked(message: Message) -> str:
    assert message.parent is not None
    return message.parent.author
