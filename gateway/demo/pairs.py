"""One conversation for each channel of each installed twin: which helpdesk it goes to, what is said, what came of it.

What a pair found is judged by what stands at the twins when all is over, and not by what was seen on the way.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING, Any

from gateway.demo.twins import Twin
from gateway.demo.witness import words

if TYPE_CHECKING:
    from gateway_schemas.testing.rehearsal import Channel, Desk, Message, Rehearsal

SAID = (
    ("My parcel has been at the depot for nine days.", "We are sorry. The depot sends it out today."),
    ("The blue lamp came with a crack in its foot.", "Thank you for telling us. A new foot is on its way to you."),
    ("Your app forgets my address whenever I close it.", "We are sorry. The next version keeps it."),
    (
        "I was charged twice for the same order.",
        "You are right, and we are sorry. One of the two is coming back to you.",
    ),
    ("Nobody was in your shop in Springfield at noon.", "We apologise. We were ill, and are there again."),
    ("The chair has three screws and four holes.", "We are sorry. The fourth screw is in the post."),
    ("I cannot find out how to cancel my newsletter.", "We are sorry. The link stands at the end of each letter."),
    ("The invoice names my old company.", "Thank you. We have written it anew with the right name."),
    ("Is the green teapot ever coming back?", "Thank you for asking. It is in our shop again."),
    ("Your video about the drill has no sound.", "Thank you for telling us. It has its sound again."),
    ("My voucher from the fair does not work.", "We are sorry. It works now, and for a year."),
    ("The trousers are shorter than the size says.", "We are sorry. You can send them back at our cost."),
)
"""What is complained of, and what is answered: nothing alike, so that no two are taken for the same."""


@dataclass(eq=False)
class Pair:
    """One channel and the helpdesk that its connection names."""

    source: str
    channel: Channel
    helpdesk: str
    desk: Desk
    complaint: str
    answer: str
    answerable: bool = True
    """Whether the plugin can publish answers at all; where it cannot, the agent must be told so."""
    id: str = ""
    """What the complaint is called at its source."""
    ticket: str | None = None
    said_at: datetime | None = None
    on_ticket_at: datetime | None = None
    answered_at: datetime | None = None
    back_at: datetime | None = None
    outcome: str = "open"
    """`published`, or `refused` where the agent was told."""
    failure: str | None = None
    """What did not happen in time."""

    @property
    def name(self) -> str:
        """What it is called in problems."""
        return f"{self.source} ({self.channel.title}) → {self.helpdesk}"

    def on_tickets(self) -> list[Message]:
        """The messages at its helpdesk, for customers to read, with the complaint."""
        return [one for one in self.desk.messages() if one.public and self.complaint in words(one.text)]

    def out(self) -> list[tuple[str, str]]:
        """What was published at the source with the answer's words: what it answers, and its text."""
        return [one for one in self.channel.answers() if words(one[1]) == self.answer]

    def told(self, reason: str) -> bool:
        """Whether a message on the ticket that only agents see gives this reason."""
        notes = [one for one in self.desk.messages() if one.ticket == self.ticket and not one.public]
        return any(words(reason) in words(one.text) for one in notes)

    def as_json(self) -> dict[str, Any]:
        """As it stands in the summary: times are seconds of the providers' clock."""
        return {
            "source": self.source,
            "channel": self.channel.title,
            "helpdesk": self.helpdesk,
            "complaint": self.complaint,
            "ticket": self.ticket,
            "to_ticket_seconds": _between(self.said_at, self.on_ticket_at),
            "answer": self.answer,
            "outcome": self.outcome,
            "to_channel_seconds": _between(self.answered_at, self.back_at),
        }

    @property
    def first_response(self) -> float | None:
        """Seconds from the complaint to the answer that its author can read."""
        return _between(self.said_at, self.back_at) if self.outcome == "published" else None


def make_pairs(rehearsals: Mapping[str, Rehearsal]) -> list[Pair]:
    """Every channel with a helpdesk, which take turns."""
    desks = [(name, one.desk) for name, one in sorted(rehearsals.items()) if one.desk is not None]
    channels = [(name, channel) for name, one in sorted(rehearsals.items()) for channel in one.channels]
    return [
        Pair(source, channel, helpdesk, desk, *said)
        for (source, channel), (helpdesk, desk), said in zip(channels, itertools.cycle(desks), _said(), strict=False)
    ]


def _said() -> Iterator[tuple[str, str]]:
    yield from SAID
    for round in itertools.count(2):
        yield from ((f"{complaint} This is the {round}th time.", f"{answer} ({round})") for complaint, answer in SAID)


@dataclass(frozen=True)
class Findings:
    """What is not as it should be, by kind."""

    lost: list[str]
    twice: list[str]
    astray: list[str]


def judge(pairs: Sequence[Pair], replies: Sequence[Mapping[str, Any]], twins: Mapping[str, Twin]) -> Findings:
    """Compare what stands at the twins, and the gateway's own list of replies, with what was said."""
    found = Findings([], [], [])

    def once(count: int, what: str) -> None:
        if count != 1:
            (found.twice if count else found.lost).append(f"{what}{f', {count} times' if count else ''}")

    for pair in pairs:
        seen = pair.on_tickets()
        once(len(seen), f"{pair.name}: the complaint at the helpdesk")
        for other in pairs:
            if other.ticket == pair.ticket and other.desk is pair.desk and other is not pair and pair.ticket:
                found.astray.append(f"{pair.name}: ticket {pair.ticket} is that of {other.name}, too")
        mine = [one for one in replies if words(str(one["text"])) == pair.answer]
        once(len(mine), f"{pair.name}: the answer at the gateway")
        out = pair.out()
        if pair.answerable:
            once(len(out), f"{pair.name}: the answer at the source")
            found.astray.extend(
                f"{pair.name}: the answer is under {to}, not {pair.id}" for to, _ in out if to != pair.id
            )
            found.astray.extend(
                f"{pair.name}: the gateway calls it {one['state']}" for one in mine if one["state"] != "sent"
            )
        else:
            found.astray.extend(f"{pair.name}: “{text}” is out, where nobody can answer" for _, text in out)
            if not all(one["state"] == "failed" and pair.told(str(one["reason"])) for one in mine):
                found.lost.append(f"{pair.name}: the reason why the answer did not go out, told to the agent")
        others = [text for _, text in pair.channel.answers() if words(text) != pair.answer]
        found.astray.extend(f"{pair.name}: “{text}” is out, and no agent wrote it for that" for text in others)
    for helpdesk, desk in {pair.helpdesk: pair.desk for pair in pairs}.items():
        tickets = {one.ticket for one in desk.messages()}
        known = {pair.ticket for pair in pairs if pair.helpdesk == helpdesk}
        found.twice.extend(f"{helpdesk}: ticket {ticket} belongs to nothing" for ticket in sorted(tickets - known))
        mails = sum(effect.kind == "mail_sent" for effect in twins[helpdesk].ledger)
        if mails:
            found.astray.append(f"{helpdesk}: {mails} mails went to customers")
    return found


def _between(start: datetime | None, end: datetime | None) -> float | None:
    return None if start is None or end is None else round((end - start).total_seconds(), 1)
