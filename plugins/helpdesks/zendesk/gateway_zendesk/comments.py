"""The comments of a fetched ticket: which are answers, which are notes, which are the gateway's own."""

from __future__ import annotations

import html
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from gateway_schemas.interaction import Attachment, Ignored, Unreadable, Visibility
from gateway_schemas.ticket import Agent, AgentNote, AgentReply, OwnComment
from gateway_zendesk.config import ZendeskConfig
from gateway_zendesk.words import moment, origin_of

MARK = "gateway_key"
"""The audit metadata by which the gateway finds its own comments."""

LEG_WORDS: dict[str, Visibility] = {
    "reply:public": "public",
    "reply_public": "public",
    "reply:private": "private",
    "reply_private": "private",
}
"""Tags by which an agent chooses the leg. Values of the `leg` field may leave the `reply` away."""

Audit = Mapping[str, Any]


def comments_of(
    ticket: Mapping[str, Any], audits: Sequence[Audit], people: Mapping[Any, Mapping[str, Any]], config: ZendeskConfig
) -> Iterator[AgentReply | AgentNote | OwnComment | Ignored | Unreadable]:
    """Every comment of the audits, oldest first; the customers' come as Ignored."""
    history = _History(ticket, audits, config)
    for audit in audits:
        leg = history.leg_in(audit)
        for event in events_of(audit):
            if event.get("type") == "Comment":
                yield _comment(ticket, audit, event, people, history, leg)


def mark_of(audit: Audit) -> str | None:
    """The gateway's key in an audit's metadata; None when the audit is not the gateway's."""
    metadata = audit.get("metadata")
    custom = metadata.get("custom") if isinstance(metadata, dict) else None
    key = custom.get(MARK) if isinstance(custom, dict) else None
    return key if isinstance(key, str) else None


def text_of(event: Mapping[str, Any]) -> str:
    """A comment's plain text. `plain_body` has no Markdown in it as `body` has, but carries HTML entities."""
    plain = event.get("plain_body")
    text = html.unescape(plain) if isinstance(plain, str) and plain else str(event.get("body") or "")
    return "\n".join(line.rstrip() for line in text.replace("\xa0", " ").splitlines()).strip()


def _comment(
    ticket: Mapping[str, Any],
    audit: Audit,
    event: Mapping[str, Any],
    people: Mapping[Any, Mapping[str, Any]],
    history: _History,
    leg: Visibility | None,
) -> AgentReply | AgentNote | OwnComment | Ignored | Unreadable:
    number, at = str(event.get("id", "")), moment(event.get("created_at")) or moment(audit.get("created_at"))
    if not number.isdigit() or at is None:
        return Unreadable(reason=f"ticket {ticket['id']}: a comment in its audits has no id or no time")
    mark = mark_of(audit)
    if mark is not None:
        return OwnComment(ticket=str(ticket["id"]), key=mark, external_id=number, at=at)
    author_id = event.get("author_id", audit.get("author_id"))
    person = people.get(author_id) if isinstance(author_id, int) else None
    if author_id == ticket.get("requester_id") and (person is None or not _staff(person)):
        return Ignored(reason=f"comment {number}: written by the customer")
    if person is None:
        return Ignored(reason=f"comment {number}: its author is not known any more")
    if not _staff(person):
        return Ignored(reason=f"comment {number}: not written by staff")
    text, attachments = text_of(event), tuple(_attachments(event))
    if not text and not attachments:
        return Ignored(reason=f"comment {number}: empty")
    agent = agent_of(author_id, person)
    origin = origin_of(event.get("via") or audit.get("via"))
    withdrawn = history.privacy.get(number)
    if withdrawn == "gateway":
        # it was seen as an answer before it was made private; as a note it would be a second thing with one id
        return Ignored(reason=f"comment {number}: made private by the gateway")
    if event.get("public") is not True and withdrawn is None:
        if origin in ("rule", "merge"):
            return Ignored(reason=f"comment {number}: a private comment written by a {origin}")
        return AgentNote(ticket=str(ticket["id"]), external_id=number, author=agent, text=text, at=at)
    return AgentReply(
        ticket=str(ticket["id"]),
        external_id=number,
        revision=str(1 + history.changes.get(number, 0)),
        author=agent,
        text=text,
        html=_text(event.get("html_body")),
        public=withdrawn is None,
        origin=origin,
        leg=leg,
        attachments=attachments,
        at=at,
    )


@dataclass
class _History:
    """What later audits did to comments, and which leg the agent's tags or field named when each audit was made."""

    ticket: Mapping[str, Any]
    audits: Sequence[Audit]
    config: ZendeskConfig
    privacy: dict[str, str] = field(default_factory=dict)
    """Comments that were made private: by the `gateway` or by a `person`."""
    changes: dict[str, int] = field(default_factory=dict)
    """How often a comment was made private or redacted."""

    def __post_init__(self) -> None:
        self._tags: frozenset[str] = frozenset()
        self._choice: object = None
        leg_field = self.config.fields.get("leg")
        self._field = str(leg_field) if leg_field is not None else None
        told = False
        for audit in self.audits:
            for event in events_of(audit):
                told = told or event.get("field_name") == "tags"
                kind, number = event.get("type"), str(event.get("comment_id", ""))
                if kind not in ("CommentPrivacyChange", "CommentRedactionEvent"):
                    continue
                self.changes[number] = self.changes.get(number, 0) + 1
                if kind == "CommentPrivacyChange" and event.get("public") is not True:
                    self.privacy[number] = "gateway" if self._by_gateway(audit) else "person"
        if not told:
            self._tags = _words(self.ticket.get("tags"))

    def _by_gateway(self, audit: Audit) -> bool:
        # make_private takes no metadata: the actor tells, or, before `install` has found who we are, the channel
        if self.config.api_user_id is not None:
            return audit.get("author_id") == self.config.api_user_id
        return origin_of(audit.get("via")) == "api"

    def leg_in(self, audit: Audit) -> Visibility | None:
        """Called with each audit in turn: the leg chosen in it, else the one still in force from before."""
        now: set[object] = set()
        for event in events_of(audit):
            if event.get("type") not in ("Create", "Change"):
                continue
            if event.get("field_name") == "tags":
                tags = _words(event.get("value"))
                now |= tags - self._tags
                self._tags = tags
            elif self._field is not None and event.get("field_name") == self._field:
                self._choice = event.get("value")
                now.add(self._choice)
        return _leg(now) or _leg({*self._tags, self._choice})


def _leg(words: Iterable[object]) -> Visibility | None:
    """The leg that the words name; where they name both, the more private one."""
    named = {LEG_WORDS.get(word) or LEG_WORDS.get(f"reply_{word}") for word in words if isinstance(word, str)}
    return "private" if "private" in named else "public" if "public" in named else None


def _words(tags: object) -> frozenset[str]:
    if isinstance(tags, str):
        return frozenset(tags.replace(",", " ").split())
    return frozenset(str(tag) for tag in tags) if isinstance(tags, list) else frozenset()


def events_of(audit: Audit) -> Iterator[Mapping[str, Any]]:
    """The events of an audit, whatever else Zendesk may put there."""
    events = audit.get("events")
    return (event for event in (events if isinstance(events, list) else ()) if isinstance(event, dict))


def agent_of(user_id: object, person: Mapping[str, Any]) -> Agent:
    """A person of staff, from the users that came with the ticket."""
    return Agent(external_id=str(user_id), name=_text(person.get("name")), email=_text(person.get("email")))


def _staff(person: Mapping[str, Any]) -> bool:
    return person.get("role") in ("agent", "admin")


def _attachments(event: Mapping[str, Any]) -> Iterator[Attachment]:
    items = event.get("attachments")
    for item in items if isinstance(items, list) else ():
        if isinstance(item, dict):
            size = item.get("size")
            yield Attachment(
                external_id=str(item["id"]) if item.get("id") else None,
                url=_text(item.get("content_url")),
                media_type=_text(item.get("content_type")),
                name=_text(item.get("file_name")),
                size=size if isinstance(size, int) and size >= 0 else None,
            )


def _text(value: object) -> str | None:
    return value if isinstance(value, str) and value else None
