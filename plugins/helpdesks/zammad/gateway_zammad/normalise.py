"""What stored deliveries say: webhooks, pages of the polled list, and fetched tickets."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from gateway_schemas.errors import Malformed
from gateway_schemas.helpdesk import HelpdeskNews
from gateway_schemas.interaction import Ignored, Unreadable, Wanted
from gateway_schemas.text import parse_object
from gateway_schemas.ticket import Agent, TicketChanged
from gateway_schemas.webhook import RawDelivery
from gateway_zammad.comments import comments_of, own_mark
from gateway_zammad.config import ZammadConfig
from gateway_zammad.words import MERGED, moment, number, text

_NOBODY = 1
"""The user that Zammad writes as itself, and that owns what nobody owns."""


def normalise(delivery: RawDelivery, config: ZammadConfig) -> list[HelpdeskNews]:
    """Read one delivery. Raises Malformed for what Zammad does not send."""
    document = parse_object(delivery.body)
    if delivery.origin == "webhook":
        return [_told(document, delivery, config)]
    if delivery.origin == "poll":
        return _polled(document)
    if "gone" in document:
        return [TicketChanged(ticket=str(ref), deleted=True) for ref in _list(document, "gone")]
    if "foreign" in document:
        return [Ignored(reason=f"ticket {document['foreign']} is not one of ours")]
    return ticket_page(document, config)


def ours(
    ticket: Mapping[str, Any], articles: Sequence[Mapping[str, Any]], tags: Sequence[str], config: ZammadConfig
) -> bool:
    """Whether a ticket is one of this connection's: by its tag, its key in an attribute, or an article of ours."""
    if config.tag.lower() in (tag.lower() for tag in tags):
        return True
    key = _key(ticket, config)
    if config.key_prefix and key is not None and key.startswith(config.key_prefix):
        return True
    return any(own_mark(one, config) is not None for one in articles)


def merged_into(links: Sequence[Mapping[str, Any]]) -> str | None:
    """The ticket that one in the state `merged` went into: a merge moves its links away and leaves it one parent."""
    for one in links:
        target = number(one.get("link_object_value"))
        if one.get("link_type") == "parent" and one.get("link_object") == "Ticket" and target is not None:
            return str(target)
    return None


def ticket_page(document: Mapping[str, Any], config: ZammadConfig) -> list[HelpdeskNews]:
    """A fetched ticket with its articles, tags and, where it was merged, its links."""
    ticket = document.get("ticket")
    if not isinstance(ticket, dict) or number(ticket.get("id")) is None:
        raise Malformed("a fetched page has no ticket", code="no_ticket")
    articles = [one for one in _list(document, "articles") if isinstance(one, dict)]
    tags = [tag for tag in _list(document, "tags") if isinstance(tag, str)]
    news: list[HelpdeskNews] = list(comments_of(ticket, articles, tags, config))
    owner, login = number(ticket.get("owner_id")), text(ticket.get("owner"))
    merged = ticket.get("state") == MERGED
    links = [one for one in _list(document, "links") if isinstance(one, dict)] if merged else []
    news.append(
        TicketChanged(
            ticket=str(ticket["id"]),
            ticket_key=_key(ticket, config),
            status=config.our_status(ticket.get("state")),
            priority=config.our_priority(ticket.get("priority")),
            tags=tuple(tags),
            assignee=None
            if owner in (None, _NOBODY)
            else Agent(external_id=str(owner), name=login, email=login if login and "@" in login else None),
            merged_into=merged_into(links),
            updated_at=moment(ticket.get("updated_at")),
            extra={"zammad_state": text(ticket.get("state"))},
        )
    )
    return news


def _told(document: Mapping[str, Any], delivery: RawDelivery, config: ZammadConfig) -> HelpdeskNews:
    """A trigger's webhook names a ticket, which is asked for: it may be late, and has neither tags nor links.

    Our own writing sets triggers off too; who did it is the article's author, or without one the ticket's last editor.
    """
    ticket, article = document.get("ticket"), document.get("article")
    id = number(ticket.get("id")) if isinstance(ticket, dict) else None
    if id is None or not isinstance(ticket, dict):
        raise Malformed("the webhook has no ticket: use the trigger that install makes", code="no_ticket")
    doer = number(article.get("created_by_id")) if isinstance(article, dict) else None
    doer = doer or number(ticket.get("updated_by_id"))
    editor = number(ticket.get("updated_by_id"))
    if config.api_user_id is not None and doer == config.api_user_id and editor in (None, doer):
        return Ignored(reason=f"ticket {id}: changed by the gateway")
    return Wanted(ref=str(id), kind="ticket", reason="thin", at=delivery.received_at)


def _polled(document: Mapping[str, Any]) -> list[HelpdeskNews]:
    news: list[HelpdeskNews] = []
    for ticket in _list(document, "tickets"):
        id = number(ticket.get("id")) if isinstance(ticket, dict) else None
        if id is None:
            news.append(Unreadable(reason="tickets: an entry of the list has no id"))
        else:
            news.append(Wanted(ref=str(id), kind="ticket", reason="refresh", at=moment(ticket.get("updated_at"))))
    return news


def _key(ticket: Mapping[str, Any], config: ZammadConfig) -> str | None:
    return text(ticket.get(config.fields.get("ticket_key", "")))


def _list(document: Mapping[str, Any], name: str) -> list[Any]:
    found = document.get(name)
    if not isinstance(found, list):
        raise Malformed(f"{name} is not a list", code="no_list")
    return found
