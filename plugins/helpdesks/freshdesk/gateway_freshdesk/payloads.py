"""Our changes as Freshdesk's request bodies, and the mark by which a comment is found again."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Collection, Iterable, Mapping
from datetime import UTC
from typing import Any

from gateway_freshdesk.config import FreshdeskConfig
from gateway_freshdesk.customers import display_name, new_contact
from gateway_freshdesk.text import as_html
from gateway_freshdesk.words import CLOSED, OPEN
from gateway_schemas.errors import Rejected
from gateway_schemas.ticket import OutgoingComment, Requester, TicketChange

LONGEST_MARK = 120
LONGEST_TAG = 32
_PLAIN_KEY = re.compile(r"[!-Z\\^-~]+")
_MARK = re.compile(r"\[gw:([!-Z\\^-~]{1,120})\]\s*\Z")


def mark(key: str) -> str:
    """What a comment ends in. Notes have no metadata at Freshdesk, and of all that they hold text alone surely stays.

    A key that is too long, or not plain ASCII without brackets, stands there as its SHA-256.
    """
    return f"[gw:{short_key(key)}]"


def short_key(key: str) -> str:
    """The key as it stands in the mark."""
    if len(key) <= LONGEST_MARK and _PLAIN_KEY.fullmatch(key):
        return key
    return hashlib.sha256(key.encode("utf-8", "surrogatepass")).hexdigest()


def marked_with(text: object) -> str | None:
    """The key in the mark that a text ends in; None for a text of anybody else's."""
    matched = _MARK.search(text[-200:]) if isinstance(text, str) else None
    return matched[1] if matched else None


def comment_html(comment: OutgoingComment, heading: str | None = None, carried: Collection[str] = ()) -> str:
    """A comment's HTML: what was written, its permalink, and last its mark.

    Files that do not go with it are named by their URLs, unless the text has these; `carried` has the SHA-256 of those
    that do.
    """
    files = [
        f"{file.name or file.media_type or 'file'}: {file.url or 'too large for Freshdesk, or not kept any more'}"
        for file in comment.attachments
        if file.sha256 not in carried and (file.url is None or file.url not in comment.text)
    ]
    parts = [heading, comment.text if comment.text.strip() else "(no text)", "\n".join(files) or None]
    blocks = [f"<div>{as_html(part)}</div>" for part in parts if part]
    if comment.url:
        blocks.append(f"<div>{_link(comment.url)}</div>")
    blocks.append(f'<div style="color:#8a8f98;font-size:11px">{as_html(mark(comment.key))}</div>')
    return "<br>".join(blocks)


def note(comment: OutgoingComment, contact: int | None, carried: Collection[str] = ()) -> dict[str, Any]:
    """The body of `POST /tickets/{id}/notes`. `incoming` says that it came from outside, `user_id` from whom.

    Without the contact the note is the API user's, and says in its first line who wrote.
    """
    if comment.author is None:
        return {"body": comment_html(comment, None, carried), "private": not comment.public, "incoming": False}
    if contact is None:
        heading = f"{display_name(comment.author)} wrote:"
        return {"body": comment_html(comment, heading, carried), "private": not comment.public, "incoming": True}
    body = comment_html(comment, None, carried)
    return {"body": body, "private": not comment.public, "incoming": True, "user_id": contact}


def creation(change: TicketChange, config: FreshdeskConfig, carried: Collection[str] = ()) -> dict[str, Any]:
    """The body of `POST /tickets`. Raises Rejected without exactly one comment: it is the ticket's description.

    A description is always its requester's and always public; who else wrote it, its first line says.
    """
    if len(change.comments) != 1:
        raise Rejected("a ticket is created with exactly one comment", code="one_comment", field="comments")
    comment = change.comments[0]
    ticket: dict[str, Any] = {
        **new_contact(change.requester),
        "subject": change.subject or _first_words(comment.text),
        "description": comment_html(comment, _heading(change, comment, config), carried),
        "status": config.their_status(change.status or "open"),
        "priority": config.their_priority(change.priority or "normal"),
        "source": config.source,
        "tags": merged_tags([config.tag, *change.add_tags], change.remove_tags),
    }
    for name, value in (
        ("group_id", _id(change.group) or config.group_id),
        ("responder_id", _id(change.assignee)),
        ("product_id", config.product_id),
        ("type", config.ticket_type),
        ("custom_fields", custom_fields(change, config)),
    ):
        if value:
            ticket[name] = value
    return ticket


def update(change: TicketChange, ticket: Mapping[str, Any], config: FreshdeskConfig) -> dict[str, Any]:
    """The body of `PUT /tickets/{id}`: what differs from the ticket as it was just read; empty where nothing does.

    `tags` replaces all at Freshdesk, so it is written from those read. All values are absolute: a repeat is harmless.
    """
    if len(change.comments) > 1:
        raise Rejected("one update takes one comment", code="one_comment", field="comments")
    wanted: dict[str, Any] = {}
    if change.subject:
        wanted["subject"] = change.subject
    if change.priority is not None:
        wanted["priority"] = config.their_priority(change.priority)
    status = _status(change, ticket, config)
    if status is not None:
        wanted["status"] = status
    for name, id in (("group_id", _id(change.group)), ("responder_id", _id(change.assignee))):
        if id is not None:
            wanted[name] = id
    body = {name: value for name, value in wanted.items() if ticket.get(name) != value}
    stored = ticket.get("tags")
    tags = [str(tag) for tag in stored] if isinstance(stored, list) else []
    # a ticket that others were merged into may not have had the tag by which its changes are seen
    merged = merged_tags([*tags, config.tag, *change.add_tags], change.remove_tags)
    if merged != tags:
        body["tags"] = merged
    present = ticket.get("custom_fields")
    have: Mapping[str, Any] = present if isinstance(present, dict) else {}
    fields = {name: value for name, value in custom_fields(change, config).items() if have.get(name) != value}
    if fields:
        body["custom_fields"] = fields
    return body


def _id(given: str | None) -> int | None:
    """A group's or an agent's number; what is none is nobody's, and the ticket stays where Freshdesk's rules put it."""
    return int(given) if given is not None and given.isdecimal() else None


def merged_tags(tags: Iterable[str], gone: Iterable[str]) -> list[str]:
    """Tags, each once whatever its case, without those that shall go. Freshdesk takes 32 characters of each."""
    dropped = {tag.strip()[:LONGEST_TAG].lower() for tag in gone}
    found: dict[str, str] = {}
    for tag in tags:
        plain = tag.strip()[:LONGEST_TAG]
        if plain and plain.lower() not in dropped:
            found.setdefault(plain.lower(), plain)
    return list(found.values())


def custom_fields(change: TicketChange, config: FreshdeskConfig) -> dict[str, Any]:
    """Values by the names of Freshdesk's custom fields, where the config maps ours to them."""
    values: dict[str, Any] = dict(change.custom)
    if change.external_id is None:
        values["ticket_key"] = change.ticket_key
    state = change.fields
    if state is not None:
        due = state.next_due.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ") if state.next_due else None
        told = {"gw_state": state.state, "gw_last_url": state.last_url, "gw_next_due": due, "gw_sla": state.sla}
        values.update({name: value for name, value in told.items() if value is not None})
        if state.state == "none":
            values["gw_state"] = None
    return {config.fields[name]: value for name, value in values.items() if name in config.fields}


def _status(change: TicketChange, ticket: Mapping[str, Any], config: FreshdeskConfig) -> int | None:
    if change.status is None:
        return None
    theirs, now = config.their_status(change.status), ticket.get("status")
    if theirs == OPEN and config.our_status(now) == "open" and now != CLOSED:
        return None  # a status of the account's own that means open says more than Open does
    return theirs


def _heading(change: TicketChange, comment: OutgoingComment, config: FreshdeskConfig) -> str | None:
    lines = []
    if change.followup_of is not None:
        lines.append(f"Follows ticket {config.url}/a/tickets/{change.followup_of}")
    if comment.author is None:
        lines.append("A note by the gateway, not by the customer:")
    elif _other(comment.author, change.requester):
        lines.append(f"{display_name(comment.author)} wrote:")
    return "\n".join(lines) or None


def _other(author: Requester, requester: Requester) -> bool:
    return author.external_id != requester.external_id


def _first_words(text: str) -> str:
    line = " ".join(text.split())[:60].rstrip()
    return line or "(no subject)"


def _link(url: str) -> str:
    shown = as_html(url)
    if not url.startswith(("https://", "http://")):
        return shown
    address = shown.replace('"', "%22")
    return f'<a href="{address}">{shown}</a>'
