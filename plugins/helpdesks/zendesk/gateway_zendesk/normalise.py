"""What stored deliveries say: thin webhooks, event subscriptions, pages of the export and fetched tickets."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime, timedelta
from typing import Any

from gateway_schemas.errors import Malformed
from gateway_schemas.helpdesk import HelpdeskNews
from gateway_schemas.interaction import Ignored, Unreadable, Wanted
from gateway_schemas.text import parse_object
from gateway_schemas.ticket import TicketChanged
from gateway_schemas.webhook import RawDelivery
from gateway_zendesk.comments import agent_of, comments_of, events_of
from gateway_zendesk.config import ZendeskConfig
from gateway_zendesk.foreign import read
from gateway_zendesk.words import is_merge, merge_target, moment, our_status

EVENT = "zen:event-type:ticket."
_DELETED = ("soft_deleted", "permanently_deleted", "marked_as_spam")
_ROUNDING = timedelta(seconds=2)
"""Zendesk's time stamps are cut to whole seconds: a fetch must have begun this much later to be surely newer."""


def normalise(delivery: RawDelivery, config: ZendeskConfig) -> list[HelpdeskNews]:
    """Read one delivery. Raises Malformed for what Zendesk does not send."""
    document = parse_object(delivery.body)
    if delivery.origin == "webhook":
        return _webhook(document, delivery, config)
    if delivery.origin == "poll":
        return _export(document, config)
    if "gone" in document:
        return [TicketChanged(ticket=str(ref), deleted=True) for ref in _list(document, "gone")]
    return ticket_page(document, config)


def ours(ticket: Mapping[str, Any], config: ZendeskConfig) -> bool:
    """Whether a ticket is one of this connection's: by its tag, or by its external id when the tag was taken off."""
    tags, external_id = ticket.get("tags"), ticket.get("external_id")
    if isinstance(tags, list) and config.tag in tags:
        return True
    return bool(config.key_prefix) and isinstance(external_id, str) and external_id.startswith(config.key_prefix)


def ticket_page(document: Mapping[str, Any], config: ZendeskConfig) -> list[HelpdeskNews]:
    """A fetched ticket with its audits and the people in them: every comment, then the ticket's state."""
    ticket = document.get("ticket")
    if not isinstance(ticket, dict) or not str(ticket.get("id", "")).isdigit():
        raise Malformed("a fetched page has no ticket", code="no_ticket")
    audits = [audit for audit in _list(document, "audits") if isinstance(audit, dict)]
    people = {user["id"]: user for user in _list(document, "users") if _is_user(user)}
    news: list[HelpdeskNews] = list(comments_of(ticket, audits, people, config))
    news.append(_state(ticket, audits, people, config))
    return news


def merged_into(ticket: Mapping[str, Any], audits: list[dict[str, Any]]) -> str | None:
    """The ticket that this one was merged into, from its audits' via objects; None when it was not, or none tells.

    Zendesk closes the source of a merge and tags it `closed_by_merge`. `to` names the target. Where only `from` is
    filled it counts in the very audit that closed the ticket; elsewhere `from` names tickets merged into this one.
    """
    own = int(ticket["id"])
    if ticket.get("status") != "closed":
        return None
    for audit in reversed(audits):
        events = list(events_of(audit))
        for via in (audit.get("via"), *(event.get("via") for event in events)):
            if not is_merge(via):
                continue
            target, origin = merge_target(via, own)
            closing = any(event.get("field_name") == "status" and event.get("value") == "closed" for event in events)
            found = target if target is not None else origin if closing else None
            if found is not None:
                return str(found)
    return None


def _state(
    ticket: Mapping[str, Any], audits: list[dict[str, Any]], people: Mapping[Any, dict[str, Any]], config: ZendeskConfig
) -> TicketChanged:
    status, assignee, tags = ticket.get("status"), ticket.get("assignee_id"), ticket.get("tags")
    person = people.get(assignee, {}) if isinstance(assignee, int) else {}
    return TicketChanged(
        ticket=str(ticket["id"]),
        ticket_key=str(ticket["external_id"]) if ticket.get("external_id") else None,
        status=our_status(status),
        priority=config.our_priority(ticket.get("priority")),
        tags=tuple(str(tag) for tag in tags) if isinstance(tags, list) else None,
        assignee=agent_of(assignee, person) if assignee else None,
        merged_into=merged_into(ticket, audits),
        deleted=status == "deleted",
        updated_at=moment(ticket.get("updated_at")),
        extra={"zendesk_status": status},
    )


def _webhook(document: Mapping[str, Any], delivery: RawDelivery, config: ZendeskConfig) -> list[HelpdeskNews]:
    kind = document.get("type")
    if isinstance(kind, str) and kind.startswith("zen:event-type:"):
        return _event(kind, document, delivery, config)
    ticket = str(document.get("ticket_id", ""))
    if not ticket.isdigit():
        raise Malformed("the webhook names no ticket: the trigger's JSON must hold ticket_id", code="no_ticket")
    return [_wanted(ticket, moment(delivery.header("x-zendesk-webhook-signature-timestamp")), delivery)]


def _event(kind: str, document: Mapping[str, Any], delivery: RawDelivery, config: ZendeskConfig) -> list[HelpdeskNews]:
    detail, event = document.get("detail"), document.get("event")
    if not kind.startswith(EVENT) or not isinstance(detail, dict):
        return [Ignored(reason=f"{kind} is not about a ticket")]
    ticket, name = str(detail.get("id", "")), kind.removeprefix(EVENT)
    if not ticket.isdigit():
        raise Malformed(f"{kind} names no ticket", code="no_ticket")
    if not ours(detail, config):
        return [Ignored(reason=f"ticket {ticket} is not one of ours")]
    at = moment(document.get("time"))
    if name in _DELETED or detail.get("status") == "DELETED":
        return [TicketChanged(ticket=ticket, deleted=True, updated_at=at)]
    wanted = _wanted(ticket, at, delivery)
    inner = event if isinstance(event, dict) else {}
    if name == "merged" and str(inner.get("target_ticket_id", "")).isdigit():
        return [TicketChanged(ticket=ticket, merged_into=str(inner["target_ticket_id"]), updated_at=at), wanted]
    if config.api_user_id is not None and str(detail.get("actor_id")) == str(config.api_user_id):
        return [Ignored(reason=f"ticket {ticket}: the gateway's own change")]
    comment = inner.get("comment")
    author = comment.get("author") if isinstance(comment, dict) else None
    if name == "comment_added" and isinstance(author, dict) and author.get("is_staff") is False:
        return [Ignored(reason=f"ticket {ticket}: a comment by a customer")]
    return [wanted]


def _wanted(ticket: str, at: datetime | None, delivery: RawDelivery) -> Wanted:
    # the later of both clocks: a fetch that began between the event and its arrival may have missed it
    newest = max(at, delivery.received_at) if at is not None else delivery.received_at
    return Wanted(ref=ticket, kind="ticket", reason="thin", at=newest)


def _export(document: Mapping[str, Any], config: ZendeskConfig) -> list[HelpdeskNews]:
    news: list[HelpdeskNews] = []
    for ticket in _list(document, "tickets"):
        if not isinstance(ticket, dict) or not str(ticket.get("id", "")).isdigit():
            news.append(Unreadable(reason="tickets: an entry of the export has no id"))
            continue
        number, at = str(ticket["id"]), moment(ticket.get("updated_at"))
        if not ours(ticket, config):
            news.append(Ignored(reason=f"ticket {number} is not one of ours"))
        elif ticket.get("status") == "deleted":
            news.append(TicketChanged(ticket=number, deleted=True, updated_at=at))
        else:
            news.append(Wanted(ref=number, kind="ticket", reason="refresh", at=at + _ROUNDING if at else None))
    others = _list(document, "others") if "others" in document else []
    return news + [found for one in others if isinstance(one, dict) and (found := read(one)) is not None]


def _list(document: Mapping[str, Any], name: str) -> list[Any]:
    found = document.get(name)
    if not isinstance(found, list):
        raise Malformed(f"{name} is not a list", code="no_list")
    return found


def _is_user(user: object) -> bool:
    return isinstance(user, dict) and isinstance(user.get("id"), int)
