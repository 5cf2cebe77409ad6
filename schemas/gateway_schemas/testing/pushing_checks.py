"""Checks of what a helpdesk makes of changes: tickets, comments, requesters, words for status and priority."""

from __future__ import annotations

from gateway_schemas.errors import GatewayError
from gateway_schemas.interaction import Wanted
from gateway_schemas.testing.adapters import NotOffered
from gateway_schemas.testing.failure import found, needs, staged, unless
from gateway_schemas.testing.helpdesk_stage import (
    ALICE,
    BOB,
    HelpdeskStage,
    added,
    change,
    comment,
    done,
    named,
    of_kind,
    only_ticket,
    opened,
    push,
    with_text,
)
from gateway_schemas.testing.plugin_contract import PluginContract
from gateway_schemas.ticket import Done, Pending, TicketChanged

TEXT = 'Größe "XL" & <b>3 > 2</b> &amp; <script>alert(1)</script> 100%?\nSecond line: naïve 漢字 👩‍👩‍👧 [x](y) *z*'


class PushingChecks(PluginContract):
    """The gateway writes to the helpdesk."""

    @staged
    async def test_ticket_not_made(self, stage: HelpdeskStage) -> None:
        """One change, one ticket, with its words."""
        result = await done(stage, change(stage, subject="Post by @alice", priority="high", add_tags=("late",)))
        ticket = only_ticket(stage)
        unless(result.external_id == ticket.id, "ticket_not_made", f"Done names {result.external_id}, not {ticket.id}")
        unless(ticket.subject == "Post by @alice", "ticket_not_made", f"the subject is {ticket.subject!r}")
        unless(with_text(stage, ticket.id, "The parcel is late"), "ticket_not_made", "the text is not on the ticket")
        unless(len(ticket.comments) == 1, "ticket_not_made", f"the ticket begins with {len(ticket.comments)} comments")
        unless("late" in ticket.tags, "tags_lost", f"the tag `late` is not among {sorted(ticket.tags)}")
        unless("kit-1-c" in result.comments, "ticket_not_made", f"Done names the comments {sorted(result.comments)}")
        await done(stage, change(stage, "kit-2", requester=BOB, comments=[comment(stage, "kit-2-c", author=BOB)]))
        unless(len(stage.adapter.tickets()) == 2, "ticket_not_made", "a second change did not make a second ticket")

    @staged
    async def test_comment_not_written(self, stage: HelpdeskStage) -> None:
        """A comment goes to the ticket that the change names, once."""
        tickets = [await opened(stage, f"kit-{number}") for number in range(3)]
        result = await added(stage, tickets[1], "kit-9", "Hello?")
        unless("kit-9-c" in result.comments, "comment_not_written", f"Done names {sorted(result.comments)}")
        unless(result.external_id == tickets[1], "comment_not_written", f"Done names the ticket {result.external_id}")
        counts = [len(with_text(stage, ticket, "Hello?")) for ticket in tickets]
        unless(counts == [0, 1, 0], "comment_not_written", f"the comment stands {counts} times on the three tickets")
        (seen,) = with_text(stage, tickets[1], "Hello?")
        unless(
            result.comments["kit-9-c"] in (seen.id, ""),
            "comment_not_written",
            f"Done gives the comment the id {result.comments['kit-9-c']!r}, the helpdesk {seen.id!r}",
        )

    @staged
    async def test_comment_changed(self, stage: HelpdeskStage) -> None:
        """Agents read what was written."""
        ticket = await opened(stage, text=TEXT)
        await added(stage, ticket, "kit-2", TEXT.replace("Größe", "Again, Größe"))
        for text in (TEXT, TEXT.replace("Größe", "Again, Größe")):
            unless(
                with_text(stage, ticket, text),
                "comment_changed",
                f"written was\n{text}\nand agents read\n{stage.adapter.ticket(ticket).comments}",
            )
        for seen in stage.adapter.ticket(ticket).comments:
            unless("\n" in seen.text.strip(), "comment_changed", f"the line break is lost: {seen.text!r}")

    @staged
    async def test_comments_out_of_order(self, stage: HelpdeskStage) -> None:
        """Comments stand in the order they were given."""
        ticket = await opened(stage)
        many = min(stage.capabilities.comments_per_change, 3)
        comments = [comment(stage, f"kit-2-{n}", f"number {n}") for n in range(many)]
        await done(stage, change(stage, "kit-2", comments, external_id=ticket), "comment_not_written")
        for number in range(many, 4):
            stage.time.pass_by(seconds=1)
            await added(stage, ticket, f"kit-3-{number}", f"number {number}")
        texts = [seen.text for seen in stage.adapter.ticket(ticket).comments]
        order = [number for text in texts for number in range(4) if f"number {number}" in text]
        unless(order == [0, 1, 2, 3], "comments_out_of_order", f"the comments stand in the order {order}")

    @staged
    async def test_wrong_requester(self, stage: HelpdeskStage) -> None:
        """The customer is the requester, and the author of what they wrote."""
        await opened(stage)
        ticket = only_ticket(stage)
        unless("Alice" in ticket.requester, "wrong_requester", f"the requester is {ticket.requester!r}")
        await added(stage, ticket.id, "kit-2", "Hello?")
        (seen,) = with_text(stage, ticket.id, "Hello?")
        unless(
            "Alice" in seen.author or "Alice" in seen.text, "wrong_requester", f"Alice's comment is by {seen.author!r}"
        )
        await added(stage, ticket.id, "kit-3", "Me too!", author=BOB)
        (seen,) = with_text(stage, ticket.id, "Me too!")
        unless(
            "Bob" in seen.author or "Bob" in seen.text,
            "wrong_requester",
            f"Bob's comment is shown as by {seen.author!r}",
        )

    @staged
    async def test_customers_joined(self, stage: HelpdeskStage) -> None:
        """The same name at another account is another customer."""
        other = ALICE.model_copy(update={"external_id": "kit:alice-the-second"})
        first = await opened(stage)
        second = await opened(stage, "kit-2", requester=other)
        await added(stage, second, "kit-3", "It is me, the other one", author=other)
        people = self._requesters(stage)
        unless(len(people) == 2, "customers_joined", "two accounts of the same name share one contact")
        unless(not with_text(stage, first, "the other one"), "customers_joined", "one reads what the other wrote")

    @staged
    async def test_customer_doubled(self, stage: HelpdeskStage) -> None:
        """The same account is the same customer, also under another name."""
        await opened(stage)
        await opened(stage, "kit-2", requester=ALICE.model_copy(update={"name": "Alice Renamed"}))
        people = self._requesters(stage)
        unless(len(people) == 1, "customer_doubled", "one account became two contacts")

    @staged
    async def test_address_invented(self, stage: HelpdeskStage) -> None:
        """Nobody gets an e-mail address."""
        await opened(stage)
        address = only_ticket(stage).requester_email
        unless(not address, "address_invented", f"the requester has the address {address!r}")

    @staged
    async def test_private_comment_in_public(self, stage: HelpdeskStage) -> None:
        """A note of the gateway is private, a customer's comment as public as the change says."""
        ticket = await opened(stage)
        await added(stage, ticket, "kit-2", "Held: the reply names a voucher", author=None, public=False)
        await added(stage, ticket, "kit-3", "my number is 4711", public=False)
        for text in ("Held: the reply", "my number is"):
            (seen,) = with_text(stage, ticket, text)
            unless(not seen.public, "private_comment_in_public", f"a private comment is public: {seen.text!r}")

    @staged
    async def test_status_mapped_wrong(self, stage: HelpdeskStage) -> None:
        """Each status is written as such, and comes back as such."""
        ticket = await opened(stage)
        for status in (*stage.adapter.statuses, "open"):
            stage.time.pass_by(minutes=5)
            stage.adapter.set_status(ticket, status)
            changed = of_kind(await stage.follow([self._wish(ticket, stage)]), TicketChanged, ticket)
            words = [one.status for one in changed if one.status is not None]
            unless(words and words[-1] == status, "status_mapped_wrong", f"an agent set {status}, told is {words}")
        for number, status in enumerate((*stage.adapter.statuses, "open")):
            await done(stage, change(stage, f"kit-s{number}", (), external_id=ticket, status=status))
            seen = stage.adapter.ticket(ticket).status
            unless(seen == status, "status_mapped_wrong", f"{status} was written and became {seen}")

    @staged
    async def test_priority_mapped_wrong(self, stage: HelpdeskStage) -> None:
        """Each priority is written as such, and comes back as such."""
        ticket = await opened(stage)
        priorities = stage.adapter.priorities
        unless(
            set(priorities) <= set(stage.capabilities.priorities),
            "priority_mapped_wrong",
            f"declared are {sorted(stage.capabilities.priorities)}",
        )
        for number, priority in enumerate(priorities):
            await done(stage, change(stage, f"kit-p{number}", (), external_id=ticket, priority=priority))
            seen = stage.adapter.ticket(ticket).priority
            unless(seen == priority, "priority_mapped_wrong", f"{priority} was written and became {seen}")
            made = await opened(stage, f"kit-n{number}", priority=priority)
            seen = stage.adapter.ticket(made).priority
            unless(seen == priority, "priority_mapped_wrong", f"a ticket was made as {priority} and became {seen}")
        for priority in priorities:
            stage.time.pass_by(minutes=5)
            stage.adapter.set_priority(ticket, priority)
            changed = of_kind(await stage.follow([self._wish(ticket, stage)]), TicketChanged, ticket)
            words = [one.priority for one in changed if one.priority is not None]
            unless(
                words and words[-1] == priority, "priority_mapped_wrong", f"an agent set {priority}, told is {words}"
            )

    @staged
    async def test_unchanged_value_written(self, stage: HelpdeskStage) -> None:
        """What the change does not name stays as the agent set it."""
        ticket = await opened(stage)
        status = stage.adapter.statuses[-1]
        stage.adapter.set_status(ticket, status)
        with_priority = "high" in stage.adapter.priorities
        if with_priority:
            stage.adapter.set_priority(ticket, "high")
        before = stage.adapter.ticket(ticket)
        await done(stage, change(stage, "kit-2", (), external_id=ticket, add_tags=("late",)))
        note = comment(stage, "kit-3-c", "a note", author=None, public=False)
        await done(stage, change(stage, "kit-3", [note], external_id=ticket))
        after = stage.adapter.ticket(ticket)
        for name in ("subject", "priority", "requester", "status"):
            one, other = getattr(before, name), getattr(after, name)
            unless(one == other, "unchanged_value_written", f"the update changed {name} from {one!r} to {other!r}")

    @staged
    async def test_tags_lost(self, stage: HelpdeskStage) -> None:
        """Agents' tags stay, ours come and go."""
        ticket = await opened(stage, add_tags=("late",))
        stage.adapter.add_tag(ticket, "agents_own")
        await done(stage, change(stage, "kit-2", (), external_id=ticket, add_tags=("gw_held",), remove_tags=("late",)))
        tags = stage.adapter.ticket(ticket).tags
        unless("agents_own" in tags, "tags_lost", f"the agent's tag is gone: {sorted(tags)}")
        unless("gw_held" in tags, "tags_lost", f"the tag was not added: {sorted(tags)}")
        unless("late" not in tags, "tags_lost", f"the tag was not removed: {sorted(tags)}")

    @staged
    async def test_empty_change_fails(self, stage: HelpdeskStage) -> None:
        """A change with nothing in it makes the ticket known as ours."""
        ticket = stage.adapter.foreign_ticket("I have a question")
        comments = len(stage.adapter.ticket(ticket).comments)
        await done(stage, change(stage, "kit-2", (), external_id=ticket), "empty_change_fails")
        unless(len(stage.adapter.ticket(ticket).comments) == comments, "empty_change_fails", "it wrote a comment")

    @staged
    async def test_person_fought(self, stage: HelpdeskStage) -> None:
        """An agent takes our tag off and solves the ticket; a later field update leaves both."""
        ticket = await opened(stage, add_tags=("late",))
        stage.adapter.set_status(ticket, "solved")
        stage.time.pass_by(minutes=1)
        note = comment(stage, "kit-2-c", "published", author=None, public=False)
        await done(stage, change(stage, "kit-2", [note], external_id=ticket, add_tags=("gw_published",)))
        status = stage.adapter.ticket(ticket).status
        unless(status == "solved", "person_fought", f"the agent's `solved` became `{status}`")

    @staged
    async def test_bulk_failure_spreads(self, stage: HelpdeskStage) -> None:
        """Of several changes the one to a deleted or closed ticket fails alone."""
        needs(stage.capabilities.bulk > 1, "bulk")
        tickets = [await opened(stage, f"kit-{number}") for number in range(3)]
        try:
            stage.adapter.delete(tickets[0])
        except NotOffered:
            stage.adapter.close(tickets[0])
        changes = [
            change(stage, f"kit-b{n}", [comment(stage, f"kit-b{n}-c", f"more of {n}")], external_id=ticket)
            for n, ticket in enumerate(tickets)
        ]
        results = await push(stage, *changes)
        for number, result in enumerate(results):
            if number == 0:
                unless(not isinstance(result, Done), "bulk_failure_spreads", "the change to a deleted ticket is Done")
                continue
            unless(isinstance(result, Done), "bulk_failure_spreads", f"a good change beside it: {named(result)}")
            unless(
                with_text(stage, tickets[number], f"more of {number}"),
                "bulk_failure_spreads",
                "a change is Done and its comment is not there",
            )

    @staged
    async def test_job_never_ends(self, stage: HelpdeskStage) -> None:
        """What the helpdesk takes as a job ends as Done."""
        outcome = await stage.attempt(stage.plugin.push([change(stage, "kit-0")]))
        needs(isinstance(outcome, list) and isinstance(outcome[0], Pending), "changes that are taken as jobs")
        await done(stage, change(stage, "kit-1"), "job_never_ends")

    @staged
    async def test_ticket_key_lost(self, stage: HelpdeskStage) -> None:
        """The ticket's key comes back, where the helpdesk holds one."""
        await stage.install()
        ticket = await opened(stage)
        changed = of_kind(await stage.follow([self._wish(ticket, stage)]), TicketChanged, ticket)
        keys = {one.ticket_key for one in changed} - {None}
        unless(keys <= {"gateway:kit-1"}, "ticket_key_lost", f"the ticket's key comes back as {keys}")

    async def everything(self, stage: HelpdeskStage) -> None:
        """Make, add, hear."""
        ticket = await opened(stage)
        await added(stage, ticket, "kit-2", "Hello?")
        stage.adapter.agent_answers(ticket, "We are on it")
        news = await stage.learn()
        if isinstance(news, GatewayError):
            found("answer_not_noticed", str(news))

    def _requesters(self, stage: HelpdeskStage) -> set[str]:
        return {ticket.requester_id or ticket.requester for ticket in stage.adapter.tickets()}

    @staticmethod
    def _wish(ticket: str, stage: HelpdeskStage) -> object:
        return Wanted(ref=ticket, kind="ticket", reason="refresh", at=stage.time.now())
