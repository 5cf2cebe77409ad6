"""Station 5: which matter does it belong to?

A ticket's key is (thread, customer account). Under a brand's post every commenter is a matter of their own; a bystander
in a customer's thread gets a linked ticket when they address the brand, else a line of context; a direct message joins
the matter that it claims by an invitation, else the customer's open one; a closed ticket is followed by a new one. The
station takes a batch as a fold: each item is threaded knowing what the items before it did, so any partition of the
same input gives the same tickets.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime, timedelta
from uuid import UUID

from gateway.db.tables.columns import new_id
from gateway.pipeline import wording
from gateway.pipeline.casebook import Casebook
from gateway.pipeline.changes import mark_of
from gateway.pipeline.invitations import Claim, Invitation
from gateway.pipeline.matters import Matters, ThreadedItem, TicketRow
from gateway.pipeline.tags import of_the_matter
from gateway.pipeline.thread_plan import Plan, comment, placement
from gateway.policy.combine import NEED_A_TICKET, Wish
from gateway.policy.effects import note
from gateway.policy.engine import Verdict
from gateway.restored import PATIENCE
from gateway.sla.news import answered, customer_returned
from gateway_schemas.decision import Ignore, JoinIncident, Route, Severity

ECHO_PATIENCE = timedelta(minutes=10)
"""How long an own post waits for the reply that it may be the echo of."""
ELSEWHERE_FOR = timedelta(days=1)
"""How old a post of the brand's may be when it is first seen for the policies to be asked about it."""


def fold(
    matters: Matters,
    book: Casebook,
    ids: dict[tuple[UUID, UUID | None], UUID],
    now: datetime,
    file_patience: timedelta = timedelta(),
) -> Plan:
    """Thread a batch. The book holds what the policies said of each message, and notes what they are to be asked."""
    plan = Plan(now, file_patience, ids=ids)
    for item in matters.items:
        _thread_one(plan, matters, item, book)
    return plan


def _thread_one(plan: Plan, matters: Matters, item: ThreadedItem, book: Casebook) -> None:
    if item.ticket_id is None and item.interaction_id in plan.placed:
        item.ticket_id = plan.placed[item.interaction_id]["ticket_id"]  # by an earlier change of it in this batch
    if item.change == "deleted":
        _deleted(plan, matters, item, book)
    elif item.change == "edited" and (item.ticket_id is not None or not item.news.addressed):
        _edited(plan, matters, item, book)
    elif item.news.direction == "outbound":
        _own(plan, matters, item, book)
    else:
        _inbound(plan, matters, item, book)


def _inbound(plan: Plan, matters: Matters, item: ThreadedItem, book: Casebook) -> None:
    ticket, invitation = matters.ticket_of(item.thread_id, item.account_id), None
    joined = False
    if ticket is None and item.news.visibility == "private":
        invitation = matters.invitation(item)
        ticket = _claimed(plan, matters, item, invitation) if invitation is not None else None
        joined = ticket is not None
        ticket = ticket or matters.open_matter(item)
        if ticket is not None:
            _add_leg(plan, matters, item, ticket)
    answers = matters.early_answers(item) if ticket is None and not item.news.addressed else []
    if ticket is None and not item.news.addressed and not answers:
        owner = matters.first_ticket(item.thread_id)
        if owner is not None and item.origin != "fetch":
            plan.place(item, owner, book)
            plan.note(owner, item, wording.context(item.news))
        plan.done[item.revision_id] = "context"
        matters.unclaimed(item)
        return
    verdict = book.ask("on_interaction", item, ticket) if item.news.addressed else None
    wishes = verdict.applied if verdict is not None else ()
    if ticket is None and _kept_from_ticket(plan, matters, item, wishes, book):
        return
    known = ticket is not None
    routed = None if known else _routed(matters, item, wishes, book)
    ticket = _writable(plan, matters, item, ticket, book) if ticket else _open(plan, matters, item, book, at=routed)
    if item.interaction_id not in plan.placed:
        plan.tell(ticket, item, book)
    if invitation is not None:
        if joined:
            invitation.ticket_id = ticket.id  # also where that is a follow-up
        _tell_of_claim(plan, matters, item, ticket, invitation, joined=joined)
    for answer in sorted(answers, key=lambda one: one.order):
        _answered_at_source(plan, ticket, answer, book)
    for wish in wishes:
        if known and isinstance(wish.effect, Ignore | JoinIncident):
            book.lose(item, wish, "it belongs to a ticket already")
    plan.apply(matters, ticket, item, wishes, book)
    ticket.last_inbound_at = max(ticket.last_inbound_at, item.news.published_at)
    plan.changed_tickets[ticket.id] = ticket
    plan.done[item.revision_id] = None


def _claimed(plan: Plan, matters: Matters, item: ThreadedItem, invitation: Invitation) -> TicketRow | None:
    """The ticket that a message joins by its invitation: whoever uses it first is the ticket's customer."""
    ticket = matters.tickets.get(invitation.ticket_id)
    if ticket is None or invitation.account_id not in (None, item.account_id) or item.customer_id in matters.forgotten:
        return None
    if invitation.account_id is None:
        if _expired(item, invitation):
            return None
        former, customer_id = item.customer_id, invitation.customer_id
        claim = Claim(invitation.id, item.interaction_id, invitation.ticket_id, item.account_id, former, customer_id)
        plan.claims.append(claim)
        invitation.account_id, invitation.claimed_by = item.account_id, item.news.author.external_id
        matters.join(former, customer_id)
        for row in plan.tickets.values():
            if row["customer_id"] == former:
                row["customer_id"] = customer_id
    return ticket


def _expired(item: ThreadedItem, invitation: Invitation) -> bool:
    # by when our side had it: what a mail says of its own time anybody can write
    return (item.news.visible_at or item.seen_at) >= invitation.expires_at


def _tell_of_claim(
    plan: Plan, matters: Matters, item: ThreadedItem, ticket: TicketRow, invitation: Invitation, *, joined: bool
) -> None:
    """Agents learn who came by an invitation: on the ticket that it was made for, unless that takes no more notes."""
    if any(one.interaction_id == item.interaction_id for one in plan.claims):
        plan.note(ticket, item, wording.claimed(item.news, invitation.made_for, invitation.id))
    elif not joined and (invitation.account_id is not None or _expired(item, invitation)):
        theirs = matters.tickets.get(invitation.ticket_id)
        if theirs is not None and theirs.ended is None and theirs.id != ticket.id:
            plan.note(theirs, item, wording.not_claimed(item.news, invitation.claimed_by))


def _kept_from_ticket(plan: Plan, matters: Matters, item: ThreadedItem, wishes: Sequence[Wish], book: Casebook) -> bool:
    """Whether the message gets no ticket of its own: it is counted under an incident's, or it is ignored."""
    joined = next((wish for wish in wishes if isinstance(wish.effect, JoinIncident)), None)
    if joined is not None:
        assert isinstance(joined.effect, JoinIncident)
        event = book.facts.incidents.get(joined.effect.key)
        if event is None or event.ticket_id is None:
            book.lose(item, joined, "there is no such open incident with a ticket")
            joined = None
        else:
            plan.placed[item.interaction_id] = placement(item, event.ticket_id)
            item.ticket_id = event.ticket_id
            book.grouped(item, event.ticket_id)
            plan.done[item.revision_id] = f"counted under the incident {event.key}"
    ignored = next((wish for wish in wishes if isinstance(wish.effect, Ignore)), None)
    if joined is None and ignored is None:
        return False
    if joined is None and ignored is not None:
        assert isinstance(ignored.effect, Ignore)
        plan.done[item.revision_id] = f"ignored: {ignored.effect.reason}"
        matters.unclaimed(item)
        for wish in wishes:
            if isinstance(wish.effect, NEED_A_TICKET):
                book.lose(item, wish, f"{ignored.policy} ignores the message")
    elif joined is not None:
        for wish in wishes:
            if isinstance(wish.effect, NEED_A_TICKET):
                book.lose(item, wish, "it is counted under an incident's ticket")
    plan.order(None, item, [wish for wish in wishes if not isinstance(wish.effect, Ignore)], book, grouped=True)
    return True


def _routed(matters: Matters, item: ThreadedItem, wishes: Sequence[Wish], book: Casebook) -> UUID | None:
    """The helpdesk that a new ticket is opened at because a policy says so."""
    for wish in wishes:
        if isinstance(wish.effect, Route) and wish.effect.helpdesk is not None:
            found = matters.helpdesks.get(wish.effect.helpdesk)
            if found is None:
                book.lose(item, wish, f"there is no helpdesk connection {wish.effect.helpdesk}")
            return found
    return None


def _own(plan: Plan, matters: Matters, item: ThreadedItem, book: Casebook) -> None:
    """The brand's own post: our send come back, an answer given outside the helpdesk, or a post that opens nothing."""
    sent = matters.reply_sent_as(item)
    if sent is not None:
        plan.placed[item.interaction_id] = {
            "ticket_id": sent["ticket_id"],
            "reply_id": sent["id"],
            "thread_id": item.thread_id,
        }
        plan.done[item.revision_id] = "our own reply"
        return
    for flying in matters.replies_in_flight(item):
        if flying["rendered"] and _same_words(flying["rendered"]["text"], item.news.text):
            # it overtook the answer to our call, and is the proof that the call succeeded
            plan.proven[flying["id"]] = item
            plan.placed[item.interaction_id] = {
                "ticket_id": flying["ticket_id"],
                "reply_id": flying["id"],
                "thread_id": item.thread_id,
            }
            plan.done[item.revision_id] = "our own reply, before its answer"
            return
        if flying["in_doubt"] and plan.now - item.seen_at < ECHO_PATIENCE:
            plan.parked[item.revision_id] = (f"reply:{flying['id']}", item.seen_at + ECHO_PATIENCE)
            return
    if matters.restored is not None and matters.restored.own_posts_wait(item.news.published_at, plan.now):
        # it may be the answer to a comment that is still to be gathered from the helpdesk
        plan.parked[item.revision_id] = ("restored", matters.restored.until + PATIENCE)
        return
    parent = matters.parent(item)
    ticket = matters.ticket_of(item.thread_id, parent.account_id) if parent else matters.first_ticket(item.thread_id)
    if ticket is None and parent is not None and parent.news.direction == "inbound":
        # the brand answered somebody who did not address it: from here on it is a matter
        matters.parents[parent.interaction_id] = matters.parents[item.interaction_id][1:]
        ticket = _open(plan, matters, parent, book)
    verdict = None
    if plan.now - item.news.published_at < ELSEWHERE_FOR and item.origin != "fetch":
        verdict = book.ask("on_own_post", item, ticket)
    if ticket is None:
        plan.done[item.revision_id] = "own post"
        matters.unclaimed(item)
    else:
        _answered_at_source(plan, ticket, item, book)
        plan.done[item.revision_id] = None
    if verdict is not None:
        _judged_own(plan, matters, item, ticket, verdict, book)


def _judged_own(
    plan: Plan, matters: Matters, item: ThreadedItem, ticket: TicketRow | None, verdict: Verdict, book: Casebook
) -> None:
    """The brand's own post is out already: what policies find is told at once, with what can be done about it."""
    worst = verdict.strictest()
    if verdict.severity is not Severity.allow and worst is not None:
        told = (item.news, item.provider, verdict.findings, item.interaction_id)
        plan.alarms.append(
            {
                "key": f"own:{item.name}:{item.news.revision}",
                "severity": "warning" if verdict.severity is Severity.warn else "critical",
                "code": worst["code"],
                "message": wording.own_post(*told, quote=True, ticket=ticket is not None),
                "policy": worst["policy"],
                "brand_id": item.brand_id,
                "ticket_id": ticket.id if ticket is not None else None,
                "interaction_id": item.interaction_id,
                "at": plan.now,
            }
        )
        if ticket is not None:
            key = f"o:{item.name}:{item.news.revision}"
            # the post itself stands on the ticket already
            plan.push(ticket, item, key, "note", note(wording.own_post(*told, quote=False, ticket=True), plan.now))
    if ticket is not None:
        plan.apply(matters, ticket, item, verdict.applied, book)
        plan.changed_tickets[ticket.id] = ticket
    else:
        plan.order(None, item, verdict.applied, book)


def _edited(plan: Plan, matters: Matters, item: ThreadedItem, book: Casebook) -> None:
    ticket = matters.tickets.get(item.ticket_id) if item.ticket_id else None
    if ticket is None:
        plan.done[item.revision_id] = "context"
        return
    own = item.news.direction == "outbound"
    verdict = None
    if item.news.addressed and item.reply_id is None:
        verdict = book.ask("on_own_post" if own else "on_interaction", item, ticket)
    waiting = matters.unpushed.get(item.interaction_id) or plan.told.get(item.interaction_id)
    if waiting is not None:
        plan.rewritten[waiting] = comment(item, edited=False)
    elif not own:
        plan.tell(ticket, item, book, edited=True)
    if own:
        book.placed(item, ticket)
    plan.done[item.revision_id] = None
    if verdict is None:
        return
    if own:
        _judged_own(plan, matters, item, ticket, verdict, book)
        return
    for wish in verdict.applied:
        if isinstance(wish.effect, Ignore | JoinIncident):
            book.lose(item, wish, "it belongs to a ticket already")
    plan.apply(matters, ticket, item, verdict.applied, book)
    plan.changed_tickets[ticket.id] = ticket


def _deleted(plan: Plan, matters: Matters, item: ThreadedItem, book: Casebook) -> None:
    ticket = matters.tickets.get(item.ticket_id) if item.ticket_id else None
    if ticket is not None:
        book.gone(item, ticket)
    if ticket is not None and item.reply_id is None:
        plan.note(ticket, item, wording.deleted(item.news, item.deleted_by, item.at))
    plan.done[item.revision_id] = None


def _open(
    plan: Plan,
    matters: Matters,
    item: ThreadedItem,
    book: Casebook,
    *,
    follows: TicketRow | None = None,
    at: UUID | None = None,
) -> TicketRow:
    """Open a ticket for the item's author, beginning where their part of the conversation began.

    `at` is the helpdesk that a policy chose.
    """
    helpdesk_id = at or (follows.helpdesk_id if follows else item.helpdesk_id)
    linked = None if follows else matters.first_ticket(item.thread_id)
    claimed = [] if follows else matters.claim(item)
    first = min([item, *claimed], key=lambda one: one.order)
    ticket = TicketRow(
        id=plan.ids.setdefault((item.interaction_id, follows.id if follows else None), new_id()),
        helpdesk_id=helpdesk_id,
        account_id=item.account_id,
        status="new",
        priority=follows.priority if follows else "normal",
        ended=None,
        opened_at=first.news.published_at,
        last_inbound_at=item.news.published_at,
        brand_id=item.brand_id,
        tags=of_the_matter(follows.tags) if follows else (),
        mark=mark_of(
            item.scope,
            matters.roots.get(item.thread_id, item.thread_id),
            item.requester["external_id"],
            *([follows.mark or follows.id] if follows else ()),
        ),
    )
    plan.tickets[ticket.id] = {
        "id": ticket.id,
        "mark": ticket.mark,
        "brand_id": item.brand_id,
        "connection_id": item.connection_id,
        "helpdesk_id": helpdesk_id,
        "account_id": item.account_id,
        "customer_id": item.customer_id,
        "subject": wording.subject(first.news, item.provider),
        "status": "new",
        "priority": ticket.priority,
        "tags": ticket.tags,
        "followup_of": follows.id if follows else None,
        "linked_to": linked.id if linked and item.news.root_owner != "brand" else None,
        "opened_at": first.news.published_at,
        "last_inbound_at": item.news.published_at,
        "created_at": plan.now,
        "updated_at": plan.now,
    }
    matters.add_ticket(ticket)
    book.opened(item, ticket)
    _add_leg(plan, matters, item, ticket)
    if follows is None:
        for one in sorted([item, *claimed], key=lambda one: one.order):
            if one.news.direction == "outbound":
                _answered_at_source(plan, ticket, one, book)
            else:
                plan.tell(ticket, one, book)
        for other in matters.context_above(item):
            plan.note(ticket, other, wording.context(other.news))
        parent = matters.parent(item)
        if linked is not None and parent is not None and parent.ticket_id is not None:
            plan.note(ticket, parent, wording.joined(parent.news))
    return ticket


def _writable(plan: Plan, matters: Matters, item: ThreadedItem, ticket: TicketRow, book: Casebook) -> TicketRow:
    """The ticket itself, reopened where it was solved; a follow-up where the helpdesk takes no more changes to it."""
    if ticket.ended is not None:
        return _open(plan, matters, item, book, follows=ticket)
    if ticket.status in ("solved", "waiting"):
        ticket.status = "open"
        ticket.reopen = True
        returned = customer_returned(ticket.id, item.news.published_at, item.seen_at)
        plan.clocks.append(returned)
        book.clock(item, ticket, returned)
    return ticket


def _add_leg(plan: Plan, matters: Matters, item: ThreadedItem, ticket: TicketRow) -> None:
    plan.legs[(item.thread_id, item.account_id)] = {
        "thread_id": item.thread_id,
        "account_id": item.account_id,
        "ticket_id": ticket.id,
        "visibility": item.news.visibility,
        "created_at": plan.now,
    }
    matters.legs[(item.thread_id, item.account_id)] = ticket.id
    matters.firsts.setdefault(item.thread_id, ticket.id)


def _answered_at_source(plan: Plan, ticket: TicketRow, item: ThreadedItem, book: Casebook) -> None:
    """The brand answered outside the helpdesk: agents are told, and what waited for an answer has it."""
    plan.place(item, ticket, book)
    plan.note(ticket, item, wording.native_answer(item.news, item.provider))
    by = f"interaction:{item.interaction_id}"
    stopped = answered(ticket.id, item.news.published_at, item.seen_at, by)
    plan.clocks.append(stopped)
    book.clock(item, ticket, stopped)


def _same_words(rendered: str, seen: str) -> bool:
    return " ".join(rendered.split()) == " ".join(seen.split())
