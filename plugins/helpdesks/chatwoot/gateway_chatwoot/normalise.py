"""What stored deliveries say: signed webhooks, hints without a signature, polled lists, fetched conversations."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import timedelta
from typing import Any

from gateway_chatwoot.config import ChatwootConfig
from gateway_chatwoot.messages import agent_of, message_news
from gateway_chatwoot.payloads import KEY
from gateway_chatwoot.words import OUR_PRIORITY, OUR_STATUS, moment, number, words
from gateway_schemas.errors import Malformed
from gateway_schemas.helpdesk import HelpdeskNews
from gateway_schemas.interaction import Ignored, Unreadable, Wanted
from gateway_schemas.text import parse_object
from gateway_schemas.ticket import TicketChanged
from gateway_schemas.webhook import RawDelivery

MESSAGES = ("message_created", "message_updated")
CONVERSATIONS = ("conversation_created", "conversation_updated", "conversation_status_changed")
EVENTS = (*MESSAGES, *CONVERSATIONS)
_ROUNDING = timedelta(seconds=2)
"""Chatwoot's time stamps are cut to whole seconds: a fetch must have begun this much later to be surely newer."""


def normalise(delivery: RawDelivery, config: ChatwootConfig) -> list[HelpdeskNews]:
    """Read one delivery. Raises Malformed for what Chatwoot does not send."""
    document = parse_object(delivery.body)
    if delivery.origin == "webhook":
        return _webhook(document, delivery, config)
    if delivery.origin == "poll":
        return _polled(document, config)
    if "gone" in document:
        return [TicketChanged(ticket=str(ref), deleted=True) for ref in _list(document, "gone")]
    if "foreign" in document:
        return [Ignored(reason=f"conversation {document['foreign']} is in another inbox")]
    return _fetched(document, config)


def changed(conversation: Mapping[str, Any], id: int, config: ChatwootConfig) -> TicketChanged:
    """The conversation's state."""
    meta, kept, labels = conversation.get("meta"), conversation.get("custom_attributes"), conversation.get("labels")
    status, priority = conversation.get("status"), conversation.get("priority")
    return TicketChanged(
        ticket=str(id),
        ticket_key=words(kept.get(config.attribute(KEY))) if isinstance(kept, dict) else None,
        status=OUR_STATUS.get(status) if isinstance(status, str) else None,
        priority=OUR_PRIORITY.get(priority) if isinstance(priority, str) else None,
        tags=tuple(one for one in labels if isinstance(one, str)) if isinstance(labels, list) else None,
        assignee=agent_of(meta.get("assignee")) if isinstance(meta, dict) else None,
        updated_at=moment(conversation.get("updated_at")) or moment(conversation.get("last_activity_at")),
        extra={"chatwoot_status": status} if isinstance(status, str) else {},
    )


def _webhook(document: Mapping[str, Any], delivery: RawDelivery, config: ChatwootConfig) -> list[HelpdeskNews]:
    event = words(document.get("event"))
    if event is None:
        raise Malformed("the webhook has no event", code="no_event")
    if event not in EVENTS:
        return [Ignored(reason=f"event {event[:60]}")]
    conversation = document.get("conversation") if event in MESSAGES else document
    if not isinstance(conversation, dict) or (id := number(conversation.get("id"))) is None:
        raise Malformed(f"{event} names no conversation", code="no_conversation")
    inbox = document.get("inbox")
    inbox_id = conversation.get("inbox_id") or (inbox.get("id") if isinstance(inbox, dict) else None)
    if config.inbox_id is not None and inbox_id is not None and inbox_id != config.inbox_id:
        return [Ignored(reason=f"conversation {id} is in another inbox")]
    if not config.webhook_secrets:
        # nobody signed it: it may only say where to look
        return [Wanted(ref=str(id), kind="ticket", reason="thin", at=delivery.received_at)]
    if event in MESSAGES:
        return [message_news(document, conversation, str(id), config)]
    return [changed(conversation, id, config)]


def _polled(document: Mapping[str, Any], config: ChatwootConfig) -> list[HelpdeskNews]:
    news: list[HelpdeskNews] = []
    for one in _list(document, "conversations"):
        id = number(one.get("id")) if isinstance(one, dict) else None
        if id is None:
            news.append(Unreadable(reason="conversations: an entry of the list has no id"))
            continue
        at = moment(one.get("updated_at")) or moment(one.get("last_activity_at"))
        news.append(Wanted(ref=str(id), kind="ticket", reason="refresh", at=at + _ROUNDING if at else None))
    return news


def _fetched(document: Mapping[str, Any], config: ChatwootConfig) -> list[HelpdeskNews]:
    conversation = document.get("conversation")
    if not isinstance(conversation, dict) or (id := number(conversation.get("id"))) is None:
        raise Malformed("a fetched page has no conversation", code="no_conversation")
    news: list[HelpdeskNews] = []
    for one in _list(document, "messages"):
        if isinstance(one, dict):
            news.append(message_news(one, conversation, str(id), config))
        else:
            news.append(Unreadable(reason=f"conversation {id}: a message is no object"))
    return [*news, changed(conversation, id, config)]


def _list(document: Mapping[str, Any], name: str) -> list[Any]:
    found = document.get(name)
    if not isinstance(found, list):
        raise Malformed(f"{name} is not a list", code="no_list")
    return found
