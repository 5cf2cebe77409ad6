"""What stored deliveries say: pages of polled transactions, and fetched tickets."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from gateway_request_tracker.comments import agent_of, comments_of, key_of
from gateway_request_tracker.config import RequestTrackerConfig
from gateway_request_tracker.payloads import values_of
from gateway_request_tracker.words import MAIL_RECORDS, NOBODY, moment, name_of, number, text
from gateway_schemas.errors import Malformed
from gateway_schemas.helpdesk import HelpdeskNews
from gateway_schemas.interaction import Ignored, Unreadable, Wanted
from gateway_schemas.text import parse_object
from gateway_schemas.ticket import TicketChanged
from gateway_schemas.webhook import RawDelivery


def normalise(delivery: RawDelivery, config: RequestTrackerConfig) -> list[HelpdeskNews]:
    """Read one delivery. Raises Malformed for what RT does not answer."""
    document = parse_object(delivery.body)
    if delivery.origin == "webhook":
        raise Malformed("RT sends no webhooks", code="no_webhook")
    if delivery.origin == "poll":
        return _polled(document, config)
    if "gone" in document:
        return [TicketChanged(ticket=str(ref), deleted=True) for ref in _list(document, "gone")]
    if "foreign" in document:
        return [Ignored(reason=f"ticket {document['foreign']} is not one of ours")]
    if "merged" in document:
        source, target = number(document["merged"]), number(document.get("into"))
        if source is None or target is None:
            raise Malformed("a merge names no tickets", code="no_ticket")
        return [TicketChanged(ticket=str(source), merged_into=str(target))]
    return _ticket(document, config)


def ours(ticket: Mapping[str, Any], config: RequestTrackerConfig) -> bool:
    """Whether a ticket is one of this connection's: by its key, or by its tag."""
    if key_of(ticket, config) is not None:
        return True
    tags = values_of(ticket).get(config.tags_field or "", [])
    return config.tag.lower() in (tag.lower() for tag in tags)


def _ticket(document: Mapping[str, Any], config: RequestTrackerConfig) -> list[HelpdeskNews]:
    """A fetched ticket with its history, the parts of its messages and who of their authors are agents."""
    ticket = document.get("ticket")
    if not isinstance(ticket, dict) or number(ticket.get("id")) is None:
        raise Malformed("a fetched page has no ticket", code="no_ticket")
    history = [one for one in _list(document, "history") if isinstance(one, dict)]
    parts = [one for one in _list(document, "parts") if isinstance(one, dict)]
    known = document.get("people")
    people: Mapping[str, Any] = known if isinstance(known, dict) else {}
    news: list[HelpdeskNews] = list(comments_of(ticket, history, parts, people, config))
    owner = name_of(ticket.get("Owner"))
    news.append(
        TicketChanged(
            ticket=str(ticket["id"]),
            ticket_key=key_of(ticket, config),
            status=config.our_status(ticket.get("Status")),
            priority=config.our_priority(ticket.get("Priority")),
            tags=tuple(values_of(ticket).get(config.tags_field, [])) if config.tags_field is not None else None,
            assignee=agent_of(owner, people.get(owner)) if owner not in (None, NOBODY) else None,
            updated_at=moment(ticket.get("LastUpdated")),
            extra={"rt_status": text(ticket.get("Status"))},
        )
    )
    return news


def _polled(document: Mapping[str, Any], config: RequestTrackerConfig) -> list[HelpdeskNews]:
    """The tickets that transactions were done to, each once, as of the last of them. What the gateway did, and that RT
    sent a mail, is no news."""
    news: list[HelpdeskNews] = []
    latest: dict[int, Wanted] = {}
    for one in _list(document, "transactions"):
        ticket = number(one.get("ObjectId")) if isinstance(one, dict) else None
        if ticket is None:
            news.append(Unreadable(reason="transactions: an entry has no ticket"))
        elif one.get("Type") in MAIL_RECORDS:
            news.append(Ignored(reason=f"transaction {one.get('id')}: a mail that RT sent"))
        elif config.api_user is not None and name_of(one.get("Creator")) == config.api_user:
            news.append(Ignored(reason=f"transaction {one.get('id')}: done by the gateway"))
        else:
            at = moment(one.get("Created"))
            latest.pop(ticket, None)
            latest[ticket] = Wanted(ref=str(ticket), kind="ticket", reason="refresh", at=at)
    return [*news, *latest.values()]


def _list(document: Mapping[str, Any], name: str) -> list[Any]:
    found = document.get(name)
    if not isinstance(found, list):
        raise Malformed(f"{name} is not a list", code="no_list")
    return found
