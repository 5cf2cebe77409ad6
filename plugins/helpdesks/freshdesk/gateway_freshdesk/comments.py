"""The conversations of a fetched ticket: which are answers, which are notes, which are the gateway's own."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from gateway_freshdesk.config import FreshdeskConfig
from gateway_freshdesk.merges import merge_notes
from gateway_freshdesk.payloads import marked_with
from gateway_freshdesk.push import description_id
from gateway_freshdesk.words import NOTE, moment, number, origin_of
from gateway_schemas.interaction import Attachment, Ignored, Unreadable, Visibility
from gateway_schemas.markup import as_text, images_in
from gateway_schemas.ticket import Agent, AgentNote, AgentReply, OwnComment

LEG_WORDS: dict[str, Visibility] = {
    "reply:public": "public",
    "reply_public": "public",
    "reply:private": "private",
    "reply_private": "private",
}
"""Tags by which an agent chooses the leg. Values of the `leg` field may leave the `reply` away."""

SURVEY = 6

Conversation = Mapping[str, Any]
News = AgentReply | AgentNote | OwnComment | Ignored | Unreadable


def comments_of(
    ticket: Mapping[str, Any],
    conversations: Sequence[Conversation],
    agents: Mapping[str, Any],
    related: Mapping[str, Any],
    config: FreshdeskConfig,
) -> Iterator[News]:
    """The description and every conversation, oldest first; the customers' come as Ignored.

    `agents` has those of the authors who are agents, by their id; None for one whom we may not look at.
    """
    own, at = own_description(ticket), moment(ticket.get("created_at"))
    if own is not None and at is not None:
        number_ = str(ticket["id"])
        yield OwnComment(ticket=number_, key=own, external_id=description_id(number_), at=at)
    leg = leg_of(ticket, config)
    merged = merge_notes(conversations, related)
    for one in conversations:
        yield _comment(ticket, one, agents, number(one.get("id")) in merged, leg, config)


def own_description(ticket: Mapping[str, Any]) -> str | None:
    """The key of the comment that made the ticket; None for a ticket made by somebody else."""
    markup = ticket.get("description")
    text = as_text(markup) if isinstance(markup, str) else ticket.get("description_text")
    return marked_with(text)


def own_mark(one: Conversation, ticket: Mapping[str, Any], config: FreshdeskConfig) -> str | None:
    """The gateway's key in a conversation that the gateway wrote; None for one that merely quotes it."""
    key = marked_with(text_of(one)) if one.get("source") == NOTE else None
    if key is None:
        return None
    author = one.get("user_id")
    ours = config.api_user_id is None or author in (config.api_user_id, ticket.get("requester_id"))
    return key if ours or one.get("incoming") is True else None


def text_of(one: Conversation) -> str:
    """A conversation's plain text, with its lines."""
    markup = one.get("body")
    return as_text(markup) if isinstance(markup, str) and markup else str(one.get("body_text") or "").strip()


def leg_of(ticket: Mapping[str, Any], config: FreshdeskConfig) -> Visibility | None:
    """The leg that the ticket's tags or field name now; of two, the more private. Freshdesk has no history of them."""
    tags = ticket.get("tags")
    words = [tag.lower() for tag in (tags if isinstance(tags, list) else ()) if isinstance(tag, str)]
    fields = ticket.get("custom_fields")
    chosen = fields.get(config.fields.get("leg", "")) if isinstance(fields, dict) else None
    if isinstance(chosen, str):
        words += [chosen.lower(), f"reply_{chosen.lower()}"]
    named = {LEG_WORDS[word] for word in words if word in LEG_WORDS}
    return "private" if "private" in named else "public" if "public" in named else None


def agent_of(user_id: object, person: object) -> Agent:
    """A person of the company, as far as we may know them."""
    known: Mapping[str, Any] = person if isinstance(person, dict) else {}
    return Agent(external_id=str(user_id), name=_text(known.get("name")), email=_text(known.get("email")))


def _comment(
    ticket: Mapping[str, Any],
    one: Conversation,
    agents: Mapping[str, Any],
    merged: bool,
    leg: Visibility | None,
    config: FreshdeskConfig,
) -> News:
    id, at = number(one.get("id")), moment(one.get("created_at"))
    if id is None or at is None:
        return Unreadable(reason=f"ticket {ticket['id']}: a conversation has no id or no time")
    key = own_mark(one, ticket, config)
    if key is not None:
        return OwnComment(ticket=str(ticket["id"]), key=key, external_id=str(id), at=at)
    author = one.get("user_id")
    if one.get("incoming") is not False:
        return Ignored(reason=f"conversation {id}: came from outside")
    if author == ticket.get("requester_id"):
        return Ignored(reason=f"conversation {id}: written by the customer")
    if one.get("source") == SURVEY:
        return Ignored(reason=f"conversation {id}: an answer to a survey")
    if str(author) not in agents:
        return Ignored(reason=f"conversation {id}: not written by an agent")
    text, attachments = text_of(one), tuple(_attachments(one))
    if not text and not attachments:
        return Ignored(reason=f"conversation {id}: empty")
    origin = origin_of(
        one,
        # a text that ends in a mark, by somebody else, is a copy of one of ours: merges copy the last message
        merged=merged or marked_with(text) is not None,
        by_api_user=config.api_user_id is not None and author == config.api_user_id,
        replies_publish=config.replies_publish,
    )
    agent = agent_of(author, agents[str(author)])
    if one.get("private") is not False:
        if origin in ("rule", "merge"):
            return Ignored(reason=f"conversation {id}: a private note written by a {origin}")
        return AgentNote(ticket=str(ticket["id"]), external_id=str(id), author=agent, text=text, at=at)
    return AgentReply(
        ticket=str(ticket["id"]),
        external_id=str(id),
        revision=str(one.get("last_edited_at") or "1"),
        author=agent,
        text=text,
        html=_text(one.get("body")),
        origin=origin,
        leg=leg,
        attachments=attachments,
        at=at,
    )


def _attachments(one: Conversation) -> Iterator[Attachment]:
    items = one.get("attachments")
    for item in items if isinstance(items, list) else ():
        if isinstance(item, dict):
            size = item.get("size")
            yield Attachment(
                external_id=str(item["id"]) if item.get("id") else None,
                url=_text(item.get("attachment_url")),
                media_type=_text(item.get("content_type")),
                name=_text(item.get("name")),
                size=size if isinstance(size, int) and not isinstance(size, bool) and size >= 0 else None,
            )
    # pictures that were pasted into the text are part of the answer too
    for address, name in images_in(str(one.get("body") or "")):
        yield Attachment(url=address, name=name)


def _text(value: object) -> str | None:
    return value if isinstance(value, str) and value else None
