"""The articles of a fetched ticket: which are answers, which are notes, which are the gateway's own."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from datetime import timedelta
from typing import Any

from gateway_schemas.interaction import Attachment, Ignored, Unreadable, Visibility
from gateway_schemas.markup import as_text
from gateway_schemas.ticket import Agent, AgentNote, AgentReply, OwnComment
from gateway_zammad.config import ZammadConfig
from gateway_zammad.payloads import marked_with
from gateway_zammad.words import MERGED, moment, number, origin_of, text

LEG_WORDS: dict[str, Visibility] = {
    "reply:public": "public",
    "reply_public": "public",
    "reply:private": "private",
    "reply_private": "private",
}
"""Tags by which an agent chooses the leg. Values of the `leg` field may leave the `reply` away."""

_TOUCHED = timedelta(seconds=2)
"""An internal article that changed this long after it was written was a public one before: nothing else can change."""
_ADDRESS = re.compile(r"\s*<[^<>]*>\s*$")

Article = Mapping[str, Any]
News = AgentReply | AgentNote | OwnComment | Ignored | Unreadable


def comments_of(
    ticket: Mapping[str, Any], articles: Sequence[Article], tags: Sequence[str], config: ZammadConfig
) -> Iterator[News]:
    """Every article, oldest first; the customers' come as Ignored."""
    leg = leg_of(ticket, tags, config)
    for one in articles:
        yield _comment(ticket, one, leg, config)


def own_mark(one: Article, config: ZammadConfig) -> str | None:
    """The gateway's key in an article that the gateway wrote; None for anybody else's."""
    key = marked_with(one.get("message_id"))
    ours = config.api_user_id is None or number(one.get("created_by_id")) == config.api_user_id
    return key if ours else None


def text_of(one: Article) -> str:
    """An article's plain text, with its lines."""
    body = one.get("body")
    if not isinstance(body, str):
        return ""
    return as_text(body) if "html" in str(one.get("content_type") or "").lower() else body.strip()


def leg_of(ticket: Mapping[str, Any], tags: Sequence[str], config: ZammadConfig) -> Visibility | None:
    """The leg that the ticket's tags or attribute name now; of two, the more private. They come without history."""
    words = [tag.lower() for tag in tags]
    chosen = ticket.get(config.fields.get("leg", ""))
    if isinstance(chosen, str):
        words += [chosen.lower(), f"reply_{chosen.lower()}"]
    named = {LEG_WORDS[word] for word in words if word in LEG_WORDS}
    return "private" if "private" in named else "public" if "public" in named else None


def _comment(ticket: Mapping[str, Any], one: Article, leg: Visibility | None, config: ZammadConfig) -> News:
    id, at = number(one.get("id")), moment(one.get("created_at"))
    ticket_id = str(ticket["id"])
    if id is None or at is None:
        return Unreadable(reason=f"ticket {ticket_id}: an article has no id or no time")
    key = own_mark(one, config)
    if key is not None:
        return OwnComment(ticket=ticket_id, key=key, external_id=str(id), at=at)
    if one.get("sender") == "Customer":
        return Ignored(reason=f"article {id}: the customer's")
    body, attachments = text_of(one), tuple(_attachments(one, ticket_id))
    if not body and not attachments:
        return Ignored(reason=f"article {id}: empty")
    by_api_user = config.api_user_id is not None and number(one.get("created_by_id")) == config.api_user_id
    origin = origin_of(
        one,
        merged=ticket.get("state") == MERGED,
        by_api_user=by_api_user,
        mails_publish=config.mails_publish,
    )
    agent = _agent(one)
    public = one.get("internal") is False
    taken_back = not public and (moment(one.get("updated_at")) or at) - at > _TOUCHED
    if taken_back and config.api_user_id is not None and number(one.get("updated_by_id")) == config.api_user_id:
        return Ignored(reason=f"article {id}: made internal by the gateway")
    if not public and not taken_back:
        if origin in ("rule", "merge"):
            return Ignored(reason=f"article {id}: an internal note written by a {origin}")
        return AgentNote(ticket=ticket_id, external_id=str(id), author=agent, text=body, at=at)
    return AgentReply(
        ticket=ticket_id,
        external_id=str(id),
        revision="1" if public else "2",
        author=agent,
        text=body,
        html=text(one.get("body")) if "html" in str(one.get("content_type") or "") else None,
        public=public,
        origin=origin,
        leg=leg,
        attachments=attachments,
        at=at,
    )


def _agent(one: Article) -> Agent:
    """Who wrote it: `from` has the name, `created_by` the login, which for agents mostly is their address."""
    login, name = text(one.get("created_by")), text(one.get("from"))
    return Agent(
        external_id=str(number(one.get("created_by_id")) or "unknown"),
        name=_ADDRESS.sub("", name).strip() or None if name else None,
        email=login if login and "@" in login else None,
    )


def _attachments(one: Article, ticket: str) -> Iterator[Attachment]:
    items = one.get("attachments")
    for item in items if isinstance(items, list) else ():
        if not isinstance(item, dict) or number(item.get("id")) is None:
            continue
        told = item.get("preferences")
        preferences: Mapping[str, Any] = told if isinstance(told, dict) else {}
        if preferences.get("original-format") is True:
            continue  # the message itself as a file, which Zammad keeps of those with HTML
        yield Attachment(
            external_id=str(item["id"]),
            lookup=f"{ticket}/{one['id']}/{item['id']}",
            media_type=text(preferences.get("Mime-Type")) or text(preferences.get("Content-Type")),
            name=text(item.get("filename")),
            size=number(item.get("size")),
        )
