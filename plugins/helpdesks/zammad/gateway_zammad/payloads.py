"""Our changes as Zammad's request bodies, and the mark by which a comment is found again."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Collection, Iterable, Mapping
from datetime import datetime
from typing import Any

from gateway_schemas.errors import Rejected
from gateway_schemas.ticket import OutgoingComment, Requester, TicketChange
from gateway_zammad.config import ZammadConfig
from gateway_zammad.words import iso

LONGEST_KEY = 120
_PLAIN_KEY = re.compile(r"[!-;=?A-~]+")
_MARK = re.compile(r"<gw\.([!-;=?A-~]{1,120})@gateway\.invalid>")


def mark(key: str) -> str:
    """The `message_id` of an article: stored as it is given, shown to nobody, and read back with the article."""
    return f"<gw.{short_key(key)}@gateway.invalid>"


def short_key(key: str) -> str:
    """The key as it stands in the mark: one that is too long, or not plain ASCII, as its SHA-256."""
    if len(key) <= LONGEST_KEY and _PLAIN_KEY.fullmatch(key):
        return key
    return hashlib.sha256(key.encode("utf-8", "surrogatepass")).hexdigest()


def marked_with(message_id: object) -> str | None:
    """The key in an article's message id; None for anybody else's."""
    matched = _MARK.fullmatch(message_id) if isinstance(message_id, str) else None
    return matched[1] if matched else None


def login_of(person: Requester) -> str:
    """The customer's login, which Zammad writes in small letters: two accounts must not become one by that."""
    login = re.sub(r"[^a-z0-9:._-]", "-", person.external_id.lower())
    if login == person.external_id and len(login) <= 100:
        return login
    digest = hashlib.sha256(person.external_id.encode("utf-8", "surrogatepass")).hexdigest()[:10]
    return f"{login[:80]}~{digest}"


def display_name(person: Requester) -> str:
    """The name that agents see."""
    return person.name.strip() or person.handle or person.external_id


def new_user(person: Requester) -> dict[str, Any]:
    """A customer, without an e-mail address: Zammad has nobody to notify. Roles are left to it: customer."""
    name = display_name(person)
    first, _, last = name.partition(" ")
    note = f"{person.provider}: {person.external_id}" + (f"\n{person.url}" if person.url else "")
    return {"login": login_of(person), "firstname": first[:100], "lastname": last[:100], "note": note[:250]}


def article(
    comment: OutgoingComment,
    config: ZammadConfig,
    author: Mapping[str, Any] | None,
    heading: str | None = None,
    files: Mapping[str, dict[str, str]] | None = None,
) -> dict[str, Any]:
    """An article: the customer's with `author` (`origin_by_id` or `origin_by`), else a note by the API user.

    Never of type `email`: Zammad sends those, internal or not. Files that do not go with it are named by their URLs,
    unless the text has these.
    """
    carried: Collection[str] = files or {}
    named = [
        f"{file.name or file.media_type or 'file'}: {file.url or 'too large, or not kept any more'}"
        for file in comment.attachments
        if file.sha256 not in carried and (file.url is None or file.url not in comment.text)
    ]
    parts = [heading, comment.text if comment.text.strip() else "(no text)", "\n".join(named), comment.url]
    body: dict[str, Any] = {
        "body": "\n\n".join(part for part in parts if part),
        "content_type": "text/plain",
        "type": "note" if author is None else config.article_type,
        "sender": "Agent" if author is None else "Customer",
        "internal": not comment.public,
        "message_id": mark(comment.key),
        **(author or {}),
    }
    if files:
        body["attachments"] = list(files.values())
    return body


def creation(change: TicketChange, config: ZammadConfig, now: datetime, customer: int | None) -> dict[str, Any]:
    """The body of `POST /tickets` without its article.

    A customer that is not known by number is named by login, in an object: Zammad finds the user or makes it in the
    ticket's own transaction.
    """
    if len(change.comments) != 1:
        raise Rejected("a ticket is created with exactly one comment", code="one_comment", field="comments")
    ticket: dict[str, Any] = {
        "title": (change.subject or _first_words(change.comments[0].text))[:250],
        "group": config.group,
        **state(config.their_state(change.status or "new"), config, now),
        "priority": config.their_priority(change.priority or "normal"),
        "tags": ",".join(merged_tags([config.tag, *change.add_tags], change.remove_tags)),
        **attributes(change, config),
    }
    if customer is None:
        ticket["customer"] = new_user(change.requester)
    else:
        ticket["customer_id"] = customer
    if change.followup_of is not None and change.followup_of.isdecimal():
        ticket["links"] = {"Ticket": {"normal": [int(change.followup_of)]}}
    return ticket


def update(change: TicketChange, ticket: Mapping[str, Any], config: ZammadConfig, now: datetime) -> dict[str, Any]:
    """The body of `PUT /tickets/{id}`: what differs from the ticket as it was just read; empty where nothing does."""
    wanted: dict[str, Any] = {}
    if change.subject:
        wanted["title"] = change.subject[:250]
    if change.priority is not None and config.our_priority(ticket.get("priority")) != change.priority:
        wanted["priority"] = config.their_priority(change.priority)
    # a state of the system's own that means the same says more than the plain one
    closing = change.status in ("solved", "closed") and ticket.get("state") == config.solved
    if change.status is not None and config.our_status(ticket.get("state")) != change.status and not closing:
        wanted |= state(config.their_state(change.status), config, now)
    wanted |= attributes(change, config)
    return {name: value for name, value in wanted.items() if ticket.get(name) != value}


def state(name: str, config: ZammadConfig, now: datetime) -> dict[str, Any]:
    """A state; a pending one comes with the time at which it ends."""
    pending = name == config.waiting or name.startswith("pending")
    return {"state": name, "pending_time": iso(now + config.pending)} if pending else {"state": name}


def attributes(change: TicketChange, config: ZammadConfig) -> dict[str, Any]:
    """Values by the names of Zammad's object attributes, where the config maps ours to them."""
    values: dict[str, Any] = dict(change.custom)
    if change.external_id is None:
        values["ticket_key"] = change.ticket_key
    told = change.fields
    if told is not None:
        due = iso(told.next_due) if told.next_due else None
        named = {"gw_state": told.state, "gw_last_url": told.last_url, "gw_next_due": due, "gw_sla": told.sla}
        values.update({name: value for name, value in named.items() if value is not None})
        if told.state == "none":
            values["gw_state"] = ""
        if told.sla is not None and due is None:
            values["gw_next_due"] = ""
    return {config.fields[name]: value for name, value in values.items() if name in config.fields}


def merged_tags(tags: Iterable[str], gone: Iterable[str]) -> list[str]:
    """Tags, each once whatever its case, without those that shall go. A comma would part them."""
    dropped = {_plain(tag).lower() for tag in gone}
    found: dict[str, str] = {}
    for tag in tags:
        plain = _plain(tag)
        if plain and plain.lower() not in dropped:
            found.setdefault(plain.lower(), plain)
    return list(found.values())


def _plain(tag: str) -> str:
    return tag.replace(",", " ").strip()[:100]


def _first_words(text: str) -> str:
    return " ".join(text.split())[:60].rstrip() or "(no subject)"
