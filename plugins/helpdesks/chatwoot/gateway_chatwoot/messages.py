"""The messages of a conversation: which are answers, which are notes, which are the gateway's own."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from mimetypes import guess_type
from typing import Any
from urllib.parse import unquote, urlsplit

from gateway_chatwoot.config import ChatwootConfig
from gateway_chatwoot.payloads import marked_with
from gateway_chatwoot.text import as_text
from gateway_chatwoot.words import kind_of, moment, number, words
from gateway_schemas.interaction import Attachment, Ignored, Unreadable, Visibility
from gateway_schemas.ticket import Agent, AgentNote, AgentReply, AnswerOrigin, OwnComment

LEG_LABELS: dict[str, Visibility] = {
    "reply-public": "public",
    "reply_public": "public",
    "reply-private": "private",
    "reply_private": "private",
}
"""Labels by which an agent chooses the leg."""

News = AgentReply | AgentNote | OwnComment | Ignored | Unreadable


def message_news(
    message: Mapping[str, Any], conversation: Mapping[str, Any], ticket: str, config: ChatwootConfig
) -> News:
    """What one message says, out of the API's answer or out of a webhook."""
    id, at, kind = number(message.get("id")), moment(message.get("created_at")), kind_of(message.get("message_type"))
    if id is None or at is None or kind is None:
        return Unreadable(reason=f"conversation {ticket}: a message has no id, no created_at or no message_type")
    key = marked_with(message)
    if key is not None:
        return OwnComment(ticket=ticket, key=key, external_id=str(id), at=at)
    if kind == "incoming":
        return Ignored(reason=f"message {id}: written by the customer")
    if kind != "outgoing":
        return Ignored(reason=f"message {id}: written by Chatwoot itself ({kind})")
    attributes = _object(message.get("content_attributes"))
    if attributes.get("deleted") is True:
        return Ignored(reason=f"message {id}: deleted")
    content = message.get("content")
    text, attachments = as_text(content) if isinstance(content, str) else "", tuple(_attachments(message))
    if not text and not attachments:
        return Ignored(reason=f"message {id}: empty")
    origin, agent = _origin(message, attributes, config), _agent(message)
    if message.get("private") is not False:
        if origin in ("rule", "bulk"):
            return Ignored(reason=f"message {id}: a private note that a {origin} wrote")
        return AgentNote(ticket=ticket, external_id=str(id), author=agent, text=text, at=at)
    return AgentReply(
        ticket=ticket,
        external_id=str(id),
        author=agent,
        text=text,
        public=True,
        origin=origin,
        leg=leg_of(conversation),
        attachments=attachments,
        at=at,
    )


def leg_of(conversation: Mapping[str, Any]) -> Visibility | None:
    """The leg that the conversation's labels name now; of two, the more private. Chatwoot has no history of them."""
    listed = conversation.get("labels")
    texts = [one for one in listed if isinstance(one, str)] if isinstance(listed, list) else []
    named = {LEG_LABELS[one] for one in texts if one in LEG_LABELS}
    return "private" if "private" in named else "public" if "public" in named else None


def agent_of(person: object) -> Agent | None:
    """A person of the company; None where there is none."""
    known = _object(person)
    id = number(known.get("id"))
    if id is None:
        return None
    return Agent(external_id=str(id), name=words(known.get("name")), email=words(known.get("email")))


def _origin(message: Mapping[str, Any], attributes: Mapping[str, Any], config: ChatwootConfig) -> AnswerOrigin:
    """How an outgoing message was made, as far as the API tells.

    Automations and campaigns leave their ids; bots and assistants are senders of another type. What a macro wrote, or
    came from Slack, looks like the agent's own typing.
    """
    more = _object(message.get("additional_attributes"))
    if attributes.get("automation_rule_id") is not None:
        return "rule"
    if more.get("campaign_id") is not None:
        return "bulk"
    sender = _object(message.get("sender"))
    kind = str(message.get("sender_type") or sender.get("type") or "").lower()
    if kind != "user":
        return "rule"
    author = number(sender.get("id")) or number(message.get("sender_id"))
    if config.api_user_id is not None and author == config.api_user_id:
        return "api"
    return "composer"


def _agent(message: Mapping[str, Any]) -> Agent:
    known = agent_of(message.get("sender"))
    if known is not None:
        return known
    return Agent(external_id=str(number(message.get("sender_id")) or "unknown"))


def _attachments(message: Mapping[str, Any]) -> Iterator[Attachment]:
    listed = message.get("attachments")
    for one in listed if isinstance(listed, list) else ():
        address = words(one.get("data_url")) if isinstance(one, dict) else None
        if address is None or not address.startswith(("http://", "https://")):
            continue
        try:
            name = unquote(urlsplit(address).path.rsplit("/", 1)[-1]) or None
        except ValueError:
            continue
        size = one.get("file_size")
        yield Attachment(
            external_id=str(one.get("id")) if one.get("id") is not None else None,
            url=address,
            media_type=guess_type(name)[0] if name else None,
            name=name,
            size=size if isinstance(size, int) and not isinstance(size, bool) and size >= 0 else None,
        )


def _object(value: object) -> Mapping[str, Any]:
    return value if isinstance(value, dict) else {}
