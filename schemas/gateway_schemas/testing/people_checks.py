"""Checks of what a helpdesk tells when agents answer, note, merge, close and delete at its twin."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

from gateway_schemas.interaction import Wanted
from gateway_schemas.testing.failure import needs, staged, unless
from gateway_schemas.testing.helpdesk_stage import (
    HelpdeskStage,
    added,
    change,
    comment,
    named,
    of_kind,
    opened,
    outcome_of,
    push,
    with_text,
)
from gateway_schemas.testing.plugin_contract import PluginContract
from gateway_schemas.ticket import AgentNote, AgentReply, OwnComment, TicketChanged

TEXT = 'Sorry & thanks, Ärger <b>"tut" uns leid</b>: 5 > 4 👍🏽\nSecond line: 漢字'


class PeopleChecks(PluginContract):
    """Agents work."""

    @staged
    async def test_answer_not_noticed(self, stage: HelpdeskStage) -> None:
        """An agent's answer is told, by webhook."""
        needs(stage.capabilities.webhook, "webhook")
        await stage.install()
        ticket = await opened(stage)
        await stage.webhooks()
        stage.time.pass_by(minutes=5)
        id = stage.adapter.agent_answers(ticket, "We are on it")
        _told(of_kind(await stage.follow(await stage.webhooks()), AgentReply, ticket), id)
        unless(not stage.refused, "genuine_refused", f"the twin's webhook is refused: {stage.refused[:1]}")

    @staged
    async def test_answer_not_noticed_by_poll(self, stage: HelpdeskStage) -> None:
        """An agent's answer is told, by poll alone."""
        needs(stage.capabilities.poll, "poll")
        await stage.install()
        ticket = await opened(stage)
        stage.time.pass_by(minutes=5)
        await stage.polled()
        id = stage.adapter.agent_answers(ticket, "We are on it")
        stage.carried.clear()
        stage.time.pass_by(minutes=5)
        _told(of_kind(await stage.follow(await stage.polled()), AgentReply, ticket), id)

    @staged
    async def test_answer_read_wrong(self, stage: HelpdeskStage) -> None:
        """The answer is the agent's words, public, of now, by this agent, from the composer."""
        ticket = await self._ready(stage)
        written = stage.time.now()
        id = stage.adapter.agent_answers(ticket, TEXT, agent="Ada Agent")
        stage.time.pass_by(minutes=90)
        reply = _told(of_kind(await stage.learn(), AgentReply, ticket), id)
        lines = [" ".join(line.split()) for line in reply.text.strip().splitlines() if line.strip()]
        unless(lines == TEXT.splitlines(), "answer_read_wrong", f"written was\n{TEXT}\nand told is\n{reply.text}")
        unless(reply.public, "answer_read_wrong", "a public answer is told as private")
        unless(reply.origin in ("composer", "app"), "rules_comment_published", f"an agent's origin is {reply.origin}")
        off = reply.at - written
        unless(abs(off) <= timedelta(seconds=1.5), "time_wrong", f"written at {written}, told as {reply.at}")
        unless(
            reply.author.external_id and "Ada" in (reply.author.name or "Ada"),
            "answers_author_missing",
            f"the answer's author is {reply.author}",
        )

    @staged
    async def test_answers_author_missing(self, stage: HelpdeskStage) -> None:
        """Two agents are two, one agent is one."""
        ticket = await self._ready(stage)
        ids = [stage.adapter.agent_answers(ticket, f"{name} here", agent=name) for name in ("Ada Agent", "Ben Agent")]
        ids.append(stage.adapter.agent_answers(ticket, "Ada again", agent="Ada Agent"))
        stage.time.pass_by(minutes=5)
        replies = of_kind(await stage.learn(), AgentReply, ticket)
        authors = [_told(replies, id).author.external_id for id in ids]
        unless(
            authors[0] == authors[2] != authors[1] and all(authors),
            "answers_author_missing",
            f"Ada, Ben and Ada are told as {authors}",
        )

    @staged
    async def test_answer_repeated(self, stage: HelpdeskStage) -> None:
        """By webhook, by poll, and after a later change: one id, one revision."""
        ticket = await self._ready(stage)
        stage.adapter.agent_answers(ticket, "We are on it")
        stage.time.pass_by(minutes=5)
        replies = of_kind(await stage.learn(), AgentReply, ticket)
        stage.adapter.set_status(ticket, "solved")
        stage.time.pass_by(minutes=5)
        replies += of_kind(await stage.learn(), AgentReply, ticket)
        replies += of_kind(await stage.follow([_wish(ticket, stage)]), AgentReply, ticket)
        told = {(one.external_id, one.revision, one.text) for one in replies}
        unless(len(told) == 1, "answer_repeated", f"one answer is told as {sorted(told)}")

    @staged
    async def test_note_published(self, stage: HelpdeskStage) -> None:
        """A private note is a note, and never an answer."""
        ticket = await self._ready(stage)
        id = stage.adapter.agent_notes(ticket, "This customer is difficult")
        answer = stage.adapter.agent_answers(ticket, "We are on it")
        stage.time.pass_by(minutes=5)
        news = await stage.learn()
        for reply in of_kind(news, AgentReply, ticket):
            private = reply.external_id == id or "difficult" in reply.text
            unless(not private or not reply.public, "note_published", "a private note is told as a public answer")
        _told(of_kind(news, AgentReply, ticket), answer)
        notes = [one for one in of_kind(news, AgentNote, ticket) if one.external_id == id]
        unless(
            notes or any(one.external_id == id for one in of_kind(news, AgentReply, ticket)),
            "note_published",
            "a private note is not told at all",
        )

    @staged
    async def test_own_comment_published(self, stage: HelpdeskStage) -> None:
        """What the gateway wrote is its own, with its key; never an answer."""
        ticket = await self._ready(stage)
        await added(stage, ticket, "kit-2", "Hello?")
        await added(stage, ticket, "kit-3", "Held: see the reason", author=None, public=False)
        await added(stage, ticket, "kit-4", "Published", author=None)
        stage.time.pass_by(minutes=5)
        news = await stage.learn()
        if not of_kind(news, TicketChanged, ticket):
            news += await stage.follow([_wish(ticket, stage)])
        for kind in (AgentReply, AgentNote):
            wrong = [one.text for one in of_kind(news, kind, ticket)]
            unless(not wrong, "own_comment_published", f"our own comments are told as {kind.__name__}: {wrong}")
        keys = {one.key for one in of_kind(news, OwnComment, ticket)}
        wanted = {"kit-2-c", "kit-3-c", "kit-4-c"}
        unless(wanted <= keys, "own_comment_published", f"our own comments are told by {sorted(keys)}, not {wanted}")

    @staged
    async def test_customers_comment_published(self, stage: HelpdeskStage) -> None:
        """What the customer writes at the helpdesk is no answer."""
        ticket = await self._ready(stage)
        stage.adapter.customer_writes(ticket, "any news?")
        stage.time.pass_by(minutes=5)
        for reply in of_kind(await stage.learn(), AgentReply, ticket):
            unless("any news" not in reply.text, "customers_comment_published", "it is told as an agent's answer")

    @staged
    async def test_rules_comment_published(self, stage: HelpdeskStage) -> None:
        """What an automation writes says so."""
        ticket = await self._ready(stage)
        stage.adapter.rule_writes(ticket, "We received your request")
        stage.time.pass_by(minutes=5)
        for reply in of_kind(await stage.learn(), AgentReply, ticket):
            if "We received" in reply.text:
                unless(
                    reply.origin not in ("composer", "app"),
                    "rules_comment_published",
                    f"an automation's comment is told as of origin {reply.origin}",
                )

    @staged
    async def test_foreign_ticket_read(self, stage: HelpdeskStage) -> None:
        """Answers on other people's tickets are nobody's business."""
        await self._ready(stage)
        foreign = stage.adapter.foreign_ticket("I have a question")
        stage.adapter.agent_answers(foreign, "Dear Sir or Madam")
        stage.time.pass_by(minutes=5)
        replies = of_kind(await stage.learn(), AgentReply)
        unless(
            not any("Dear Sir" in one.text for one in replies),
            "foreign_ticket_read",
            "an answer on a ticket of somebody else is told",
        )

    @staged
    async def test_change_not_noticed(self, stage: HelpdeskStage) -> None:
        """Status, tags and assignee are told when they change."""
        ticket = await self._ready(stage)
        stage.adapter.add_tag(ticket, "agents_own")
        stage.time.pass_by(minutes=1)
        stage.adapter.set_status(ticket, "solved")
        stage.time.pass_by(minutes=5)
        changed = of_kind(await stage.learn(), TicketChanged, ticket)
        unless(changed, "change_not_noticed", "an agent solved the ticket, and nothing is told")
        unless(
            any(one.status == "solved" for one in changed), "change_not_noticed", "`solved` is not told as the status"
        )
        tagged = [one.tags for one in changed if one.tags is not None]
        unless(tagged and "agents_own" in tagged[-1], "change_not_noticed", f"the tags are told as {tagged}")

    @staged
    async def test_closed_not_told(self, stage: HelpdeskStage) -> None:
        """A customer's message to a closed ticket."""
        ticket = await self._ready(stage)
        stage.adapter.close(ticket)
        stage.time.pass_by(minutes=5)
        (result,) = await push(stage, self._more(stage, ticket))
        unless(outcome_of(result) == "closed", "closed_not_told", f"a message to a closed ticket gives {named(result)}")
        unless(not with_text(stage, ticket, "Still there?"), "closed_not_told", "the closed ticket took the message")
        words = [one.status for one in of_kind(await self._read(stage, ticket), TicketChanged, ticket)]
        unless("closed" in words, "closed_not_told", f"the ticket's status is told as {words}")
        follow = change(stage, "kit-f", [comment(stage, "kit-f-c", "Still there?")], followup_of=ticket)
        (result,) = await push(stage, follow)
        unless(outcome_of(result) == "done", "closed_not_told", f"a follow-up ticket gives {named(result)}")

    @staged
    async def test_merge_not_followed(self, stage: HelpdeskStage) -> None:
        """A customer's message to a ticket that an agent merged into another one."""
        ticket, into = await self._ready(stage), await opened(stage, "kit-2", "The other matter")
        stage.time.pass_by(minutes=5)
        stage.adapter.merge(ticket, into)
        stage.time.pass_by(minutes=5)
        news = of_kind(await self._read(stage, ticket), TicketChanged, ticket)
        unless(
            any(one.merged_into == into for one in news),
            "merge_not_followed",
            f"the merge is told as {[one.merged_into for one in news]}",
        )
        (result,) = await push(stage, self._more(stage, ticket))
        unless(outcome_of(result) == "moved", "merge_not_followed", f"a message to it gives {named(result)}")
        to = getattr(result, "to", None) or getattr(result, "moved_to", None)
        unless(to == into, "merge_not_followed", f"it went into {into}, told is {to}")
        for reply in of_kind(news, AgentReply):
            unless(reply.origin == "merge", "rules_comment_published", "the merge's own comment is told as an answer")

    @staged
    async def test_deletion_not_told(self, stage: HelpdeskStage) -> None:
        """A customer's message to a ticket that somebody deleted."""
        ticket = await self._ready(stage)
        stage.time.pass_by(minutes=5)
        stage.adapter.delete(ticket)
        stage.time.pass_by(minutes=5)
        news = of_kind(await self._read(stage, ticket), TicketChanged, ticket)
        unless(any(one.deleted for one in news), "deletion_not_told", "the deletion is not told")
        (result,) = await push(stage, self._more(stage, ticket))
        unless(outcome_of(result) == "gone", "deletion_not_told", f"a message to it gives {named(result)}")

    @staged
    async def test_wanted_ticket_not_fetched(self, stage: HelpdeskStage) -> None:
        """Each wish is settled, many at once, also for a ticket that is not there."""
        tickets = [await opened(stage, f"kit-{number}") for number in range(3)]
        wanted = [_wish(ticket, stage) for ticket in [*tickets, "987654321"]]
        pages = await stage.plugin.fetch(wanted)
        settled = {ref for page in pages for ref in (*page.answers, *page.gone)}
        gone = {ref for page in pages for ref in page.gone}
        news = of_kind(stage.read(pages, "fetch"), TicketChanged)
        gone |= {one.ticket for one in news if one.deleted}
        missing = {one.ref for one in wanted} - settled - gone
        unless(not missing, "wanted_ticket_not_fetched", f"these wishes are not settled: {sorted(missing)}")
        unless(
            set(tickets) <= {one.ticket for one in news}, "wanted_ticket_not_fetched", "a fetched ticket is not told"
        )

    async def _ready(self, stage: HelpdeskStage) -> str:
        """An installed connection, a ticket of ours, and all that is known of it so far."""
        await stage.install()
        ticket = await opened(stage)
        stage.time.pass_by(minutes=5)
        await stage.learn()
        return ticket

    async def _read(self, stage: HelpdeskStage, ticket: str) -> list[Any]:
        news = await stage.learn()
        return news + await stage.follow([_wish(ticket, stage)])

    def _more(self, stage: HelpdeskStage, ticket: str) -> Any:
        return change(stage, "kit-more", [comment(stage, "kit-more-c", "Still there?")], external_id=ticket)


def _told(replies: list[Any], id: str) -> Any:
    matching = [one for one in replies if one.external_id == id]
    unless(
        matching,
        "answer_not_noticed",
        f"the agent's answer {id} is not told; told are {[(one.external_id, one.text) for one in replies]}",
    )
    return matching[-1]


def _wish(ticket: str, stage: HelpdeskStage) -> Wanted:
    return Wanted(ref=ticket, kind="ticket", reason="refresh", at=stage.time.now())
