"""The transactions of a fetched ticket: which are answers, which are notes, which are the gateway's own."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from gateway_request_tracker.config import RequestTrackerConfig
from gateway_request_tracker.payloads import marked_with, values_of
from gateway_request_tracker.push import description_id
from gateway_request_tracker.words import COMMENT, CORRESPOND, SYSTEM, moment, name_of, number, origin_of, text
from gateway_schemas.interaction import Attachment, Ignored, Unreadable, Visibility
from gateway_schemas.markup import as_text
from gateway_schemas.ticket import Agent, AgentNote, AgentReply, OwnComment

LEG_WORDS: dict[str, Visibility] = {
    "reply:public": "public",
    "reply_public": "public",
    "reply:private": "private",
    "reply_private": "private",
}
"""Tags by which an agent chooses the leg. Values of the `leg` field may leave the `reply` away."""

_INTERFACE = re.compile(r"^X-RT-Interface:[ \t]*(\S+)", re.MULTILINE | re.IGNORECASE)
_LENGTH = re.compile(r"^Content-Length:[ \t]*(\d{1,12})", re.MULTILINE | re.IGNORECASE)

Transaction = Mapping[str, Any]
News = AgentReply | AgentNote | OwnComment | Ignored | Unreadable


def comments_of(
    ticket: Mapping[str, Any],
    history: Sequence[Transaction],
    parts: Sequence[Mapping[str, Any]],
    people: Mapping[str, Any],
    config: RequestTrackerConfig,
) -> Iterator[News]:
    """The description and every message, oldest first; the customers' come as Ignored.

    `people` has those of the authors who are agents, by name; None for one whom we may not look at.
    """
    by_message: dict[str, list[Mapping[str, Any]]] = {}
    for one in parts:
        by_message.setdefault(str(one.get("TransactionId")), []).append(one)
    leg = leg_of(ticket, config)
    own, at = own_description(ticket, config), moment(ticket.get("Created"))
    if own is not None and at is not None:
        ticket_id = str(ticket["id"])
        yield OwnComment(ticket=ticket_id, key=own, external_id=description_id(ticket_id), at=at)
    for one in history:
        if one.get("Type") in (CORRESPOND, COMMENT):
            yield _message(ticket, one, by_message.get(str(one.get("id")), []), people, leg, config)


def key_of(ticket: Mapping[str, Any], config: RequestTrackerConfig) -> str | None:
    """Our key of the ticket, out of its custom field."""
    values = values_of(ticket).get(config.key_field, [])
    if not values or not values[0].startswith(config.key_prefix):
        return None
    key, _, last = values[0].rpartition(" ")
    return key if marked_with(last) is not None else values[0]


def own_description(ticket: Mapping[str, Any], config: RequestTrackerConfig) -> str | None:
    """The key of the comment that made the ticket; None for a ticket made by somebody else."""
    values = values_of(ticket).get(config.key_field, [])
    return marked_with(values[0].rpartition(" ")[2]) if values else None


def own_mark(one: Transaction, config: RequestTrackerConfig) -> str | None:
    """The gateway's key in a message that the gateway wrote; None for one of somebody's who merely has that subject.

    The API user wrote it, or where customers write themselves one of their users: those have no address as their name,
    as everybody has whom RT knows by a mail.
    """
    author = name_of(one.get("Creator"))
    if author is None or config.api_user in (author, None):
        return marked_with(one.get("Data"))
    return marked_with(one.get("Data")) if config.customer_secret is not None and "@" not in author else None


def asked_for(one: Transaction, config: RequestTrackerConfig) -> bool:
    """Whether a transaction is a message of somebody's whose text matters."""
    if one.get("Type") not in (CORRESPOND, COMMENT) or number(one.get("id")) is None:
        return False
    return own_mark(one, config) is None or name_of(one.get("Creator")) != config.api_user


def leg_of(ticket: Mapping[str, Any], config: RequestTrackerConfig) -> Visibility | None:
    """The leg that the ticket's tags or field name now; of two, the more private."""
    values = values_of(ticket)
    words = [tag.lower() for tag in values.get(config.tags_field or "", [])]
    for chosen in values.get(config.fields.get("leg", ""), []):
        words += [chosen.lower(), f"reply_{chosen.lower()}"]
    named = {LEG_WORDS[word] for word in words if word in LEG_WORDS}
    return "private" if "private" in named else "public" if "public" in named else None


def agent_of(name: str, person: object) -> Agent:
    """A person of the company, as far as we may know them."""
    known: Mapping[str, Any] = person if isinstance(person, dict) else {}
    return Agent(external_id=name, name=text(known.get("RealName")) or name, email=text(known.get("EmailAddress")))


def _message(
    ticket: Mapping[str, Any],
    one: Transaction,
    parts: Sequence[Mapping[str, Any]],
    people: Mapping[str, Any],
    leg: Visibility | None,
    config: RequestTrackerConfig,
) -> News:
    id, at, author = number(one.get("id")), moment(one.get("Created")), name_of(one.get("Creator"))
    ticket_id = str(ticket["id"])
    if id is None or at is None or author is None:
        return Unreadable(reason=f"ticket {ticket_id}: a transaction has no id, time or author")
    key = own_mark(one, config)
    if key is not None and author not in people:
        return OwnComment(ticket=ticket_id, key=key, external_id=str(id), at=at)
    if author not in people and author not in (SYSTEM, config.api_user):
        return Ignored(reason=f"transaction {id}: not written by an agent")
    body, attachments = text_of(parts), tuple(_attachments(parts))
    if not body and not attachments:
        return Ignored(reason=f"transaction {id}: empty")
    origin = origin_of(
        _interface(parts),
        by_system=author == SYSTEM,
        moved=number(one.get("ObjectId")) not in (number(ticket.get("id")), None),
        by_api_user=author == config.api_user,
        rest=config.rest_publishes,
    )
    if origin == "email" and config.mails_publish:
        origin = "composer"
    agent = agent_of(author, people.get(author))
    if one.get("Type") == COMMENT:
        if origin == "rule":
            return Ignored(reason=f"transaction {id}: a comment written by a scrip")
        return AgentNote(ticket=ticket_id, external_id=str(id), author=agent, text=body, at=at)
    return AgentReply(
        ticket=ticket_id,
        external_id=str(id),
        author=agent,
        text=body,
        html=_first(parts, "text/html"),
        origin=origin,
        leg=leg,
        attachments=attachments,
        at=at,
    )


def text_of(parts: Sequence[Mapping[str, Any]]) -> str:
    """A message's plain text: as it was sent along, else read out of its HTML."""
    plain, markup = _first(parts, "text/plain"), _first(parts, "text/html")
    return plain.strip() if plain else as_text(markup) if markup else ""


def _first(parts: Sequence[Mapping[str, Any]], media_type: str) -> str | None:
    for one in parts:
        if one.get("ContentType") == media_type and not one.get("Filename") and text(one.get("Content")):
            return str(one["Content"])
    return None


def _interface(parts: Sequence[Mapping[str, Any]]) -> str | None:
    for one in parts:
        matched = _INTERFACE.search(one["Headers"]) if isinstance(one.get("Headers"), str) else None
        if matched:
            return matched[1]
    return None


def _attachments(parts: Sequence[Mapping[str, Any]]) -> Iterator[Attachment]:
    for one in parts:
        id, name = number(one.get("id")), text(one.get("Filename"))
        if id is None or name is None:
            continue
        length = _LENGTH.search(one["Headers"]) if isinstance(one.get("Headers"), str) else None
        yield Attachment(
            external_id=str(id),
            lookup=str(id),
            media_type=text(one.get("ContentType")),
            name=name,
            size=int(length[1]) if length else None,
        )
