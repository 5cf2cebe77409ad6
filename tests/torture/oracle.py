"""What should have come of a story, compared with what the twins have. It knows nothing of the gateway's code."""

from __future__ import annotations

import re
from collections import Counter, defaultdict
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any

from torture.stage import Published, TicketView
from torture.story import Answer, Message, Story

STOPS_WITHIN = timedelta(seconds=1)
"""What one call to stop everything outbound promises."""


@dataclass
class Findings:
    """What is wrong, by kind."""

    found: list[tuple[str, str]] = field(default_factory=list)

    def add(self, kind: str, what: str) -> None:
        """Note one thing that should not be."""
        self.found.append((kind, what))

    def counts(self) -> Counter[str]:
        """How many of each kind."""
        return Counter(kind for kind, _ in self.found)


def judge(story: Story, limbo: Mapping[str, list[Any]]) -> Findings:
    """Compare. `limbo` is what the gateway itself says is not finished, by kind: it must be empty."""
    findings = Findings()
    tickets = [one for one in story.desk.tickets() if one.by_gateway]
    published = story.place.published()
    places = _messages(findings, story, tickets)
    _matters(findings, story, tickets, places)
    _followed(findings, story, places)
    _order(findings, story, tickets)
    _answers(findings, story, tickets, published, places)
    _secrets(findings, story, published)
    for kind, rows in limbo.items():
        for row in rows:
            findings.add("unfinished", f"{kind}: {row}")
    return findings


def _comments(ticket: TicketView) -> list[str]:
    """What the gateway wrote in customers' names; what agents and merges repeat is not counted."""
    return [line.text for line in ticket.lines if line.by_gateway and (line.public or _DIGEST.match(line.text))]


def _notes(ticket: TicketView) -> list[str]:
    return [line.text for line in ticket.lines if line.by_gateway and not line.public and not _DIGEST.match(line.text)]


_DIGEST = re.compile(r"\d+ messages, oldest first:")
"""Of several customers on one ticket: it is in nobody's name."""


def _messages(findings: Findings, story: Story, tickets: list[TicketView]) -> dict[str, set[int]]:
    """Every version of every message at most once; the last one exactly once, unless it was deleted."""
    places: dict[str, set[int]] = defaultdict(set)
    for message in story.messages:
        shown = 0
        for number, word in enumerate(message.words):
            hits = [ticket.number for ticket in tickets for text in _comments(ticket) for _ in range(text.count(word))]
            places[message.words[0]].update(hits)
            shown += len(hits)
            newest = number == len(message.words) - 1
            # a ticket that is deleted before the answer to its making is recorded takes the proof with it
            if len([number for number in hits if number not in story.trashed]) > 1 or len(hits) > 2:
                findings.add("doubled comment", f"{word} stands {len(hits)} times, on {sorted(set(hits))}")
            if not hits and newest and not message.deleted:
                findings.add("lost", f"{word} of {message.customer} stands nowhere")
        if message.deleted and shown:
            told = [
                ticket.number
                for ticket in tickets
                for text in _notes(ticket)
                if "deleted this" in text and any(w in text for w in message.words)
            ]
            told = [number for number in told if number in places[message.words[0]] or story.handled]
            # on a ticket that a person closed, nobody has to do anything about it
            if not told and not places[message.words[0]] & set(story.handled):
                findings.add("lost", f"nobody was told that {message.words[-1]} was deleted")
            if len(told) > 1:
                findings.add("doubled comment", f"the deletion of {message.words[-1]} is told {len(told)} times")
    return places


def _matters(findings: Findings, story: Story, tickets: list[TicketView], places: Mapping[str, set[int]]) -> None:
    """One ticket for each thread and customer, unless a person closed, deleted or merged one."""
    keys: dict[tuple[str, str], set[int]] = defaultdict(set)
    for message in story.messages:
        keys[message.key] |= places[message.words[0]]
    for key, numbers in keys.items():
        if len(numbers) > 1 and not numbers & set(story.handled):
            findings.add("doubled ticket", f"{key} stands on {sorted(numbers)}")
    owners: dict[int, set[str]] = defaultdict(set)
    for message in story.messages:
        for number in places[message.words[0]]:
            owners[number].add(message.customer)
    # what follows a ticket that a person merged two customers' into is both customers' as well
    together = [owners[source] | owners[target] for source, target, _ in story.merges]
    for number, who in owners.items():
        if len(who) > 1 and number not in story.handled and not any(who <= merged for merged in together):
            findings.add("mixed ticket", f"#{number} has messages of {sorted(who)}")
    ended = [one.word for one in story.answers if one.ticket in story.handled]
    for ticket in tickets:
        # what a ticket that is closed for good takes no note of, an agent is told on one that follows it
        told = any(word in text for text in _notes(ticket) if "Reason:" in text for word in ended)
        if ticket.number not in owners and not told:
            findings.add("doubled ticket", f"#{ticket.number} holds nothing a customer wrote: {ticket.lines[:1]}")
    posts = [word for ticket in tickets for word in story.own_posts for text in _comments(ticket) if word in text]
    if posts:
        findings.add("doubled ticket", f"the brand's own posts {posts} stand on tickets as a customer's")


def _followed(findings: Findings, story: Story, places: Mapping[str, set[int]]) -> None:
    """After a merge by a person, what a customer writes goes where the person put it."""
    for source, target, before in story.merges:
        if story.handled[source] > 1 or story.handled[target] > 1:
            continue
        for message in story.messages[before:]:
            mine = places[message.words[0]]
            kin = [places[one.words[0]] for one in story.messages[:before] if one.key == message.key]
            if kin and all(one == {source} for one in kin) and mine and not mine <= {source, target}:
                findings.add("merge", f"{message.words[0]} went to {sorted(mine)}, #{source} is merged into #{target}")


def _order(findings: Findings, story: Story, tickets: list[TicketView]) -> None:
    """What was taken in before the next thing was written stands before it."""
    for ticket in tickets:
        text = "\n".join(_comments(ticket))
        at = {m.words[0]: text.find(m.words[0]) for m in story.messages}
        for message in story.messages:
            versions = [place for place in (text.find(word) for word in message.words) if place >= 0]
            if versions != sorted(versions) and not story.handled:
                findings.add("order", f"#{ticket.number}: an older version of {message.words[0]} stands after a newer")
            mine = at[message.words[0]]
            for earlier in message.after:
                if mine >= 0 and at[earlier] > mine and not story.handled:
                    findings.add("order", f"#{ticket.number}: {earlier} stands after {message.words[0]}")


def _answers(
    findings: Findings,
    story: Story,
    tickets: list[TicketView],
    published: list[Published],
    places: Mapping[str, set[int]],
) -> None:
    by_ticket: dict[tuple[int, str | None], list[Answer]] = defaultdict(list)
    times: dict[str, int] = {}
    accounts: dict[str, str | None] = {}
    for answer in story.answers:
        mine = [(place, one) for place, one in enumerate(published) if answer.word in one.text]
        told = [text for ticket in tickets for text in _notes(ticket) if answer.word in text and "Reason:" in text]
        others = [
            text for ticket in tickets for text in _notes(ticket) if answer.word in text and "Reason:" not in text
        ]
        if others:
            findings.add("echo", f"our own answer {answer.word} is told as somebody else's: {others[0][:120]!r}")
        repeated = [text for text, count in Counter(told).items() if count > 1]
        # let go and stopped anew by what came since, it is told of in the same words
        if repeated and not answer.approved:
            findings.add("doubled comment", f"the note about {answer.word} stands twice")
        if len(mine) > 1:
            findings.add("doubled post", f"{answer.word} was published {len(mine)} times")
        for place, one in mine:
            times[answer.word], accounts[answer.word] = place, one.account
            # in private it may join another of the customer's matters
            if (
                answer.overtaken
                and not answer.approved
                and answer.ticket in places[answer.overtaken]
                and not one.private
            ):
                findings.add("published too much", f"{answer.word} was published after a newer message in private")
            _check_published(findings, story, places, answer, one)
        if not mine and answer.ticket in story.trashed:
            continue  # a person deleted it, perhaps before it could be read
        if not mine and not told and not answer.withdrawn:
            findings.add("lost answer", f"{answer.word} was neither published nor is anybody told why not")
        elif not mine and not answer.withdrawn and not _may_hold(story, answer):
            findings.add("lost answer", f"{answer.word} was held without a reason: {told[0][:160]!r}")
        # another of the brand's accounts does not wait for one that cannot publish now
        by_ticket[answer.ticket, accounts.get(answer.word)].append(answer)
    for answers in by_ticket.values():
        out = [times[one.word] for one in answers if one.word in times and not one.approved]
        if out != sorted(out) and len({one.leg for one in answers}) == 1:
            findings.add("order", f"answers went out in another order than they were written: {answers}")
    refused = story.place.refusals()[story.refused :]
    if refused and any(answer.target_gone for answer in story.answers):
        findings.add("published too much", f"the source was asked to publish under what is deleted: {refused}")
    known = {answer.word for answer in story.answers}
    for one in published:
        if not any(word in one.text for word in known):
            findings.add("private published", f"nobody meant to publish {one.text!r}")


def _check_published(
    findings: Findings, story: Story, places: Mapping[str, set[int]], answer: Answer, one: Published
) -> None:
    if any(since + STOPS_WITHIN < one.at < until for since, until in story.pauses):
        findings.add("published too much", f"{answer.word} was published while everything outbound was stopped")
    if answer.taken_back:
        findings.add("published too much", f"{answer.word} was published after it was taken back")
    if answer.target_gone:
        findings.add("published too much", f"{answer.word} was published after its target was deleted")
    wanted = answer.leg or ("public" if not answer.sees_private else None if answer.sees_public else "private")
    if wanted == "private" and not one.private and not answer.approved:
        findings.add("private published", f"{answer.word} belongs to the private leg and is public")
    # the last one seen on it may be the other one's
    merged = any(target == answer.ticket for _, target, _ in story.merges)
    if answer.leg is None and wanted == "public" and one.private and not merged and not _mixed(story, answer):
        findings.add("wrong leg", f"{answer.word} answers in public and was sent in private")
    if one.parent is not None:
        target = next((m for m in story.messages if one.parent in m.ids), None)
        # a ticket that follows one of several customers has them all
        joined = target is not None and story.handled and answer.ticket in places[target.words[0]]
        if target is None or (target.customer not in _customers(story, answer) and not joined):
            findings.add("wrong parent", f"{answer.word} stands under {one.parent}, written by {target}")
        elif one.parent in answer.gone:
            findings.add("published too much", f"{answer.word} answers {target.words[-1]}, which was deleted before")
        if target is not None and target.private and not one.private:
            findings.add("private published", f"{answer.word} answers a private message in public")


def _customers(story: Story, answer: Answer) -> set[str]:
    """Who may be answered from the ticket: after a merge also the other one's customer."""
    return set(story.customers) if answer.ticket in story.handled else {answer.customer}


def _mixed(story: Story, answer: Answer) -> bool:
    """Whether others, or another leg, could have come between."""
    mine = [one for one in story.messages if one.customer == answer.customer]
    keys = {one.key[0] for one in mine}
    strangers = [one for one in story.messages if one.key[0] in keys and one.customer != answer.customer]
    return len({one.private for one in mine}) > 1 or bool(strangers)


def _may_hold(story: Story, answer: Answer) -> bool:
    """Whether a person's look may be asked for by what happened in the story."""
    mine: list[Message] = [one for one in story.messages if one.customer == answer.customer]
    if answer.ticket in story.handled or any(one.deleted for one in mine) or _mixed(story, answer):
        return True
    if story.place.one_slot and sum(one.ticket == answer.ticket for one in story.answers) > 1:
        return True
    return answer.leg is not None


def _secrets(findings: Findings, story: Story, published: list[Published]) -> None:
    """Agents' notes reach nobody outside; nor does what a customer wrote in private."""
    for word in story.notes:
        if any(word in one.text for one in published):
            findings.add("private published", f"the note {word} was published")
