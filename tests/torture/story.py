"""What customers, agents and other people do in one schedule, and what each of them said.

A story keeps its own books: whatever was written carries a word that occurs nowhere else, so that the oracle can find
it again wherever it went.
"""

from __future__ import annotations

import random
import re
from collections import Counter
from dataclasses import dataclass, field
from datetime import datetime

from torture.machine import CLOCK
from torture.stage import Desk, Place, TicketView

APPROVE = re.compile(r"/approve (\w+)")
STEPS = (
    *("post", "slip", "follow", "join", "direct", "edit", "delete", "overtake", "delete target", "chase", "own"),
    *("answer", "add", "privately", "note", "solve", "approve", "reject", "take back", "close", "merge", "trash"),
    *("settle", "pause", "lift"),
)
"""What can happen in a story: by customers, by agents, and to the gateway."""
NAMES = ("rita", "bob", "carol", "dave")


@dataclass
class Message:
    """Something a customer wrote, in all its versions."""

    customer: str
    key: tuple[str, str]
    """The thread and the customer: one matter."""
    private: bool
    words: list[str]
    """One for each version, newest last."""
    ids: list[str]
    parent: str | None
    at: datetime
    after: frozenset[str]
    """Words of earlier messages that the gateway had taken in when this one was written."""
    deleted: bool = False

    @property
    def id(self) -> str:
        """Its newest id."""
        return self.ids[-1]


@dataclass
class Answer:
    """Something an agent meant for a customer."""

    word: str
    ticket: int
    customer: str
    comment: int
    leg: str | None
    at: datetime
    sees_private: bool
    sees_public: bool
    gone: frozenset[str]
    """Ids of messages whose deletion the gateway knew of when this was written."""
    approved: bool = False
    """Somebody let it go although it was held."""
    withdrawn: bool = False
    """An agent took it back or rejected it, in time or not."""
    taken_back: bool = False
    """It could not go out any more when the agent did so."""
    overtaken: str = ""
    """Word of a newer private message by the same customer that the gateway knew before this could go out."""
    target_gone: bool = False
    """The gateway knew that all it could answer was deleted before it could go out."""


@dataclass
class Story:
    """The people on one stage."""

    rng: random.Random
    place: Place
    desk: Desk
    doubled: bool
    customers: list[str] = field(default_factory=list)
    messages: list[Message] = field(default_factory=list)
    answers: list[Answer] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    handled: Counter[int] = field(default_factory=Counter)
    """Tickets that a person closed, deleted or merged."""
    merges: list[tuple[int, int, int]] = field(default_factory=list)
    """Source, target, and how many messages had been written by then."""
    trashed: set[int] = field(default_factory=set)
    """Those that a person deleted, with what stood on them."""
    log: list[str] = field(default_factory=list)
    own_posts: list[str] = field(default_factory=list)
    pauses: list[tuple[datetime, datetime]] = field(default_factory=list)
    """When everything outbound was stopped."""
    known: frozenset[str] = frozenset()
    """Words of messages that the gateway has taken in by now."""
    knows_all: bool = False
    """Whether the gateway has nothing left to take in."""
    rests: bool = False
    """Whether the gateway was at rest, but for what a pause holds back."""
    refused: int = 0
    """How many requests the source had refused before its last message was deleted at rest: what had crossed on the
    way."""
    _words: int = 0

    def plan(self) -> list[str]:
        """What will be tried, in order."""
        rng, place = self.rng, self.place
        self.customers = list(NAMES[: rng.randint(1, 4)])
        steps = ["post"]
        for _ in range(rng.randint(1, 7)):
            choices = ["post"] * 3 + (["slip"] * 2 if place.edits else [])
            choices += ["follow"] * 5 + ["join"] * 2 if place.threads else []
            choices += ["direct"] * 2 if place.direct else []
            steps.append(rng.choice(choices))
        extra = ["answer"] * 6 + ["note", "solve", "approve", "reject"] + (["edit"] * 2 if place.edits else [])
        extra += ["delete"] if place.tells_deletions else []
        extra += ["close", "merge", "trash", "own"] if rng.random() < 0.5 else []
        extra += ["privately"] if place.direct and self.desk.takes_back else []
        for _ in range(rng.randint(2, 7)):
            step, at = rng.choice(extra), rng.randint(1, len(steps))
            steps.insert(at, step)
            if step == "answer" and rng.random() < 0.3:
                steps.insert(at + 1, "add")
            elif step in ("close", "merge", "trash") and place.threads and rng.random() < 0.6:
                steps.insert(at + 1, "chase")
        for _ in range(rng.randint(0, 3)):
            steps.insert(rng.randint(1, len(steps)), "settle")
        if place.direct and rng.random() < 0.2:
            steps += ["settle", "pause", "answer", "settle", "overtake", "settle", "lift"]
        elif self.desk.takes_back and rng.random() < 0.25:
            steps += ["settle", "pause", "answer", "settle", "take back", "settle", "lift"]
        elif place.tells_deletions and rng.random() < 0.3:
            steps += ["settle", "pause", "answer", "settle", "delete target", "settle", "lift"]
        elif rng.random() < 0.4:
            steps += ["settle", "answer"]
        if rng.random() < 0.4:
            steps += ["settle", rng.choice(["approve", "approve", "reject"])]
        if rng.random() < 0.3:
            steps += ["settle", rng.choice(["follow", "post", "direct", "edit"]), "settle", "answer"]
        return steps

    def word(self, kind: str) -> str:
        """A word that nobody has said before."""
        self._words += 1
        return f"{kind}{self._words:03d}z"

    def act(self, step: str) -> bool:
        """Do one step; whether anything was there to do it with."""
        did = getattr(self, "_" + step.replace(" ", "_"))()
        self.log.append(f"{step}: {did or 'nothing to do it with'}")
        return bool(did)

    # customers

    def _say(self, customer: str, parent: Message | None = None, *, private: bool = False) -> str:
        word = self.word("msg")
        root = parent.key[0] if parent else None
        id = self.place.write(
            customer,
            f"my parcel {word} is stuck",
            parent=parent.id if parent else None,
            root=root,
            private=private,
            both=self.doubled and self.rng.random() < 0.7,
        )
        thread = root or (f"direct {customer}" if private and self.place.name == "x" else id)
        self.messages.append(
            Message(
                customer,
                (thread, customer),
                private,
                [word],
                [id],
                parent.id if parent else None,
                CLOCK.now(),
                self.known,
            )
        )
        return f"{customer} {word}"

    def _alive(self, *, private: bool | None = False) -> list[Message]:
        return [one for one in self.messages if not one.deleted and private in (None, one.private)]

    def _post(self) -> str:
        return self._say(self.rng.choice(self.customers))

    def _follow(self) -> str:
        alive = self._alive()
        if not alive or not self.place.threads:
            return self._post()
        parent = self.rng.choice(alive)
        return self._say(parent.customer, parent)

    def _join(self) -> str:
        alive = self._alive()
        parent = self.rng.choice(alive) if alive else None
        others = [one for one in self.customers if parent and one != parent.customer]
        if parent is None or not others:
            return self._follow()
        return self._say(self.rng.choice(others), parent)

    def _direct(self) -> str:
        if not self.place.direct:
            return self._post()
        return self._say(self.rng.choice(self.customers), private=True)

    def _edit(self) -> str:
        alive = self._alive()
        if not alive:
            return ""
        return self._edited(self.rng.choice(alive))

    def _edited(self, message: Message) -> str:
        word = self.word("msg")
        message.words.append(word)
        message.ids.append(self.place.edit(message.id, f"my parcel {word} is stuck"))
        return f"{message.words[-2]} -> {word}"

    def _slip(self) -> str:
        """Somebody posts, and corrects it at once."""
        self._post()
        CLOCK.advance(1.0)
        return self._edited(self.messages[-1])

    def _chase(self) -> str:
        """Who stands on a ticket that a person ended writes on before the gateway can know."""
        ended = [one for one in self.desk.tickets() if one.number in self.handled]
        there = [one for ticket in ended for one in self.messages_on(ticket) if not one.deleted and not one.private]
        if not there:
            return ""
        parent = self.rng.choice(there)
        return self._say(parent.customer, parent)

    def _delete(self) -> str:
        alive = self._alive(private=None)
        return self._gone(self.rng.choice(alive)) if alive else ""

    def _overtake(self) -> str:
        """The customer of the last answer writes in private, before it goes out."""
        answer = self.answers[-1] if self.answers else None
        if answer is None or answer.leg or answer.sees_private or answer.ticket in self.handled:
            return ""
        said = self._say(answer.customer, private=True)
        answer.overtaken = self.messages[-1].words[0] if self.rests else ""
        return said

    def _delete_target(self) -> str:
        """All that the last answer could answer goes."""
        if not self.answers:
            return ""
        answer = self.answers[-1]
        # from a ticket that others were merged into, theirs could be answered as well
        who = set(self.customers) if answer.ticket in self.handled else {answer.customer}
        gone = [one for one in self._alive(private=None) if one.customer in who]
        for message in gone:
            self._gone(message)
        answer.target_gone, self.refused = self.rests, len(self.place.refusals())
        return " ".join(one.words[-1] for one in gone)

    def _gone(self, message: Message) -> str:
        message.deleted = True
        self.place.delete(message.id)
        return message.words[-1]

    def _own(self) -> str:
        word = self.word("own")
        self.own_posts.append(word)
        self.place.own(f"we deliver on Sundays {word}")
        return word

    # agents

    def messages_on(self, ticket: TicketView) -> list[Message]:
        """Which of the customers' messages stand on a ticket."""
        texts = [line.text for line in ticket.lines if line.by_gateway and line.public]
        return [one for one in self.messages if any(word in text for word in one.words for text in texts)]

    def _tickets(self) -> list[TicketView]:
        return [one for one in self.desk.tickets() if one.alive and one.by_gateway and self.messages_on(one)]

    def _answer(self, leg: str | None = None) -> str:
        tickets = self._tickets()
        if not tickets:
            return ""
        return self._answer_on(self.rng.choice(tickets), leg)

    def _add(self) -> str:
        """The agent has something to add to the last answer."""
        last = [one for one in self._tickets() if self.answers and one.number == self.answers[-1].ticket]
        return self._answer_on(last[0]) if last else self._answer()

    def _answer_on(self, ticket: TicketView, leg: str | None = None) -> str:
        there = self.messages_on(ticket)
        word = self.word("ans")
        comment = self.desk.write(ticket.number, f"Sorry, we look into {word} today.", public=True, leg=leg)
        self.answers.append(
            Answer(
                word,
                ticket.number,
                there[0].customer,
                comment,
                leg,
                CLOCK.now(),
                any(one.private for one in there),
                any(not one.private for one in there),
                frozenset(id for one in self.messages if one.deleted for id in one.ids)
                if self.knows_all
                else frozenset(),
            )
        )
        return f"#{ticket.number} {word} {leg or ''}"

    def _privately(self) -> str:
        return self._answer("private")

    def _note(self) -> str:
        tickets = self._tickets()
        if not tickets:
            return ""
        word = self.word("int")
        self.notes.append(word)
        self.desk.write(self.rng.choice(tickets).number, f"the depot lost it {word}", public=False, leg=None)
        return word

    def _held(self) -> tuple[Answer, int, str] | None:
        """An answer that waits for somebody's word, its ticket, and how its note names it."""
        out = [one.text for one in self.place.published()]
        found = []
        for ticket in self._tickets():
            notes = [line.text for line in ticket.lines if line.by_gateway and not line.public]
            for answer in self.answers:
                if answer.approved or answer.withdrawn or any(answer.word in text for text in out):
                    continue
                named = [APPROVE.search(note) for note in notes if answer.word in note]
                if named and named[-1]:
                    found.append((answer, ticket.number, named[-1].group(1)))
        return self.rng.choice(found) if found else None

    def _approve(self) -> str:
        held = self._held()
        if held is None:
            return ""
        answer, number, name = held
        answer.approved = True
        self.desk.write(number, f"/approve {name}", public=False, leg=None)
        return f"#{number} {answer.word}"

    def _reject(self) -> str:
        held = self._held()
        if held is None:
            return ""
        answer, number, name = held
        answer.withdrawn, answer.taken_back = True, self.rests
        self.desk.write(number, f"/reject {name}", public=False, leg=None)
        return f"#{number} {answer.word}"

    def _take_back(self) -> str:
        if not self.answers or self.answers[-1].ticket in self.handled:
            return ""
        answer = self.answers[-1]
        self.desk.take_back(answer.ticket, answer.comment)
        answer.withdrawn, answer.taken_back = True, self.rests
        return answer.word

    def unheard(self) -> None:
        """A webhook was lost, or is late: of what people just did, the gateway may hear from its next poll only."""
        for answer in self.answers:
            answer.taken_back = answer.target_gone = False
            answer.overtaken = ""

    def _solve(self) -> str:
        tickets = self._tickets()
        if not tickets:
            return ""
        number = self.rng.choice(tickets).number
        self.desk.solve(number)
        return f"#{number}"

    def _close(self) -> str:
        return self._handle(self.desk.close)

    def _trash(self) -> str:
        did = self._handle(self.desk.delete)
        self.trashed |= {int(did.removeprefix("#"))} if did else set()
        return did

    def _handle(self, how: object) -> str:
        tickets = self._tickets()
        if not tickets:
            return ""
        number = self.rng.choice(tickets).number
        how(number)  # type: ignore[operator]
        self.handled[number] += 1
        return f"#{number}"

    def _merge(self) -> str:
        tickets = self._tickets()
        if len(tickets) < 2:
            return ""
        source, target = self.rng.sample(tickets, 2)
        self.desk.merge(source.number, target.number)
        self.handled[source.number] += 1
        self.handled[target.number] += 1
        self.merges.append((source.number, target.number, len(self.messages)))
        return f"#{source.number} into #{target.number}"
