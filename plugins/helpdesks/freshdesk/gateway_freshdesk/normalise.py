"""What stored deliveries say: webhooks that only hint, pages of the polled lists, and fetched tickets."""

from __future__ import annotations

import re
from collections.abc import Mapping
from datetime import timedelta
from typing import Any

from gateway_freshdesk.comments import agent_of, comments_of, own_description
from gateway_freshdesk.config import FreshdeskConfig
from gateway_freshdesk.foreign import read
from gateway_freshdesk.merges import merged_into
from gateway_freshdesk.words import moment, number
from gateway_schemas.errors import Malformed
from gateway_schemas.helpdesk import HelpdeskNews
from gateway_schemas.interaction import Ignored, Unreadable, Wanted
from gateway_schemas.text import parse_object
from gateway_schemas.ticket import TicketChanged
from gateway_schemas.webhook import RawDelivery

_SHOWN_ID = re.compile(r"#?(?:[A-Za-z]{1,8}-)?(\d{1,18})")
"""A ticket's id as a placeholder may show it: plain, or with a prefix (`INC-12`)."""
_ROUNDING = timedelta(seconds=2)
"""Freshdesk's time stamps are cut to whole seconds: a fetch must have begun this much later to be surely newer."""


def normalise(delivery: RawDelivery, config: FreshdeskConfig) -> list[HelpdeskNews]:
    """Read one delivery. Raises Malformed for what Freshdesk does not send."""
    document = parse_object(delivery.body)
    if delivery.origin == "webhook":
        return [_hint(document, delivery)]
    if delivery.origin == "poll":
        return _polled(document, config)
    if "gone" in document:
        return [TicketChanged(ticket=str(ref), deleted=True) for ref in _list(document, "gone")]
    if "foreign" in document:
        return [Ignored(reason=f"ticket {document['foreign']} is not one of ours")]
    return ticket_page(document, config)


def ours(ticket: Mapping[str, Any], config: FreshdeskConfig) -> bool:
    """Whether a ticket is one of this connection's: by its tag, or by its key where that stands in a field or at the
    end of its description."""
    tags = ticket.get("tags")
    if isinstance(tags, list) and any(isinstance(tag, str) and tag.lower() == config.tag.lower() for tag in tags):
        return True
    if own_description(ticket) is not None:
        return True
    key = _key(ticket, config)
    return bool(config.key_prefix) and key is not None and key.startswith(config.key_prefix)


def ticket_page(document: Mapping[str, Any], config: FreshdeskConfig) -> list[HelpdeskNews]:
    """A fetched ticket with its conversations and who of their authors are agents: every comment, then its state."""
    ticket = document.get("ticket")
    if not isinstance(ticket, dict) or number(ticket.get("id")) is None:
        raise Malformed("a fetched page has no ticket", code="no_ticket")
    conversations = [one for one in _list(document, "conversations") if isinstance(one, dict)]
    agents, related = _object(document, "agents"), _object(document, "related")
    news: list[HelpdeskNews] = list(comments_of(ticket, conversations, agents, related, config))
    status, responder, tags = ticket.get("status"), ticket.get("responder_id"), ticket.get("tags")
    news.append(
        TicketChanged(
            ticket=str(ticket["id"]),
            ticket_key=_key(ticket, config),
            status=config.our_status(status),
            priority=config.our_priority(ticket.get("priority")),
            tags=tuple(str(tag) for tag in tags) if isinstance(tags, list) else None,
            assignee=agent_of(responder, agents.get(str(responder))) if responder else None,
            merged_into=merged_into(ticket, conversations, related),
            updated_at=moment(ticket.get("updated_at")),
            extra={"freshdesk_status": status},
        )
    )
    return news


def _hint(document: Mapping[str, Any], delivery: RawDelivery) -> Wanted:
    """No webhook of Freshdesk's is signed, so none is believed: it names a ticket, and that is asked for."""
    simple = document.get("freshdesk_webhook")
    told = simple if isinstance(simple, dict) else document
    shown = _SHOWN_ID.fullmatch(str(told.get("ticket_id", "")).strip())
    if shown is None:
        raise Malformed("the webhook names no ticket: the rule's content must hold ticket_id", code="no_ticket")
    return Wanted(ref=shown[1], kind="ticket", reason="thin", at=delivery.received_at)


def _polled(document: Mapping[str, Any], config: FreshdeskConfig) -> list[HelpdeskNews]:
    news: list[HelpdeskNews] = []
    for ticket in _list(document, "tickets"):
        id = number(ticket.get("id")) if isinstance(ticket, dict) else None
        if id is None:
            news.append(Unreadable(reason="tickets: an entry of the list has no id"))
            continue
        at = moment(ticket.get("updated_at"))
        if not ours(ticket, config):
            news.append(Ignored(reason=f"ticket {id} is not one of ours"))
        elif ticket.get("deleted") is True or ticket.get("spam") is True:
            extra = {"spam": True} if ticket.get("spam") is True else {}
            news.append(TicketChanged(ticket=str(id), deleted=True, updated_at=at, extra=extra))
        else:
            news.append(Wanted(ref=str(id), kind="ticket", reason="refresh", at=at + _ROUNDING if at else None))
    others = _list(document, "others") if "others" in document else []
    return news + [found for one in others if isinstance(one, dict) and (found := read(one)) is not None]


def _key(ticket: Mapping[str, Any], config: FreshdeskConfig) -> str | None:
    fields = ticket.get("custom_fields")
    key = fields.get(config.fields.get("ticket_key", "")) if isinstance(fields, dict) else None
    return key if isinstance(key, str) and key else None


def _list(document: Mapping[str, Any], name: str) -> list[Any]:
    found = document.get(name)
    if not isinstance(found, list):
        raise Malformed(f"{name} is not a list", code="no_list")
    return found


def _object(document: Mapping[str, Any], name: str) -> dict[str, Any]:
    found = document.get(name)
    return found if isinstance(found, dict) else {}
