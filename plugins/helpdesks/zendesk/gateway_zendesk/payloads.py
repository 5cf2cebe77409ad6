"""Our changes as Zendesk's request bodies."""

from __future__ import annotations

import hashlib
import html
import re
from collections.abc import Iterable, Mapping, Sequence
from datetime import UTC
from typing import Any

from gateway_schemas.errors import Rejected
from gateway_schemas.ticket import OutgoingComment, Requester, TicketChange
from gateway_zendesk.comments import MARK
from gateway_zendesk.config import ZendeskConfig
from gateway_zendesk.words import their_status

LONGEST_KEY = 255
"""Of an Idempotency-Key, and of the mark: an audit's metadata holds one kilobyte."""

_MARKUP = re.compile(r"<[a-zA-Z/!?]")


def short_key(key: str) -> str:
    """A key as Zendesk takes it: itself, or its SHA-256 where it is too long or not plain ASCII."""
    return key if len(key) <= LONGEST_KEY and key.isascii() else hashlib.sha256(key.encode()).hexdigest()


def content(comment: OutgoingComment) -> str:
    """A comment's whole text: what was written, its files, and last its permalink, which is the second findable mark.

    Files of which the gateway has no copy are named by their URLs: they lie with the source, whose hosts this
    connection may not fetch from.
    """
    files = [
        f"{file.name or file.media_type or 'file'}: {file.url}"
        for file in comment.attachments
        if file.url and file.sha256 is None
    ]
    parts = [comment.text, "\n".join(files), comment.url or ""]
    return "\n\n".join(part for part in parts if part.strip()) or "(no text)"


def comment_body(comment: OutgoingComment, author_id: int | None, uploads: Sequence[str] = ()) -> dict[str, Any]:
    """The `comment` of a request, with the tokens of its uploaded files.

    `body` loses whatever looks like HTML, so such a text goes escaped as `html_body`.
    """
    text = content(comment)
    body: dict[str, Any] = {"public": comment.public}
    if _MARKUP.search(text):
        body["html_body"] = html.escape(text, quote=False).replace("\n", "<br>")
    else:
        body["body"] = text
    if author_id is not None:
        body["author_id"] = author_id
    if uploads:
        body["uploads"] = list(uploads)
    return body


def people_in(change: TicketChange) -> list[Requester]:
    """The customers whose user ids the change needs: its requester when it creates, and its comment's author."""
    authors = [comment.author for comment in change.comments if comment.author is not None]
    return authors if change.external_id is not None else [change.requester, *authors]


def creation(
    change: TicketChange, users: Mapping[str, int], config: ZendeskConfig, uploads: Sequence[str] = ()
) -> dict[str, Any]:
    """The `ticket` of a create. Raises Rejected without exactly one comment: the first one is the description."""
    if len(change.comments) != 1:
        raise Rejected("a ticket is created with exactly one comment", code="one_comment", field="comments")
    ticket: dict[str, Any] = {
        "requester_id": users[change.requester.external_id],
        "external_id": change.ticket_key,
        "tags": merged_tags([config.tag, *change.add_tags], (), change.remove_tags),
        **_common(change, users, config, uploads, creating=True),
    }
    if change.subject:
        ticket["subject"] = change.subject
    for name in ("brand_id", "group_id", "ticket_form_id"):
        value = getattr(config, name)
        if value is not None:
            ticket.setdefault(name, value)
    if change.followup_of is not None:
        ticket["via_followup_source_id"] = int(change.followup_of)
    return ticket


def update(
    change: TicketChange,
    users: Mapping[str, int],
    config: ZendeskConfig,
    uploads: Sequence[str] = (),
    *,
    tags: bool = True,
) -> dict[str, Any]:
    """The `ticket` of an update; empty when the change asks for nothing that an update can do. `tags` puts them in.

    No `safe_update`: it needs the `updated_stamp` of the ticket as last read, which a coalesced push has not got, and
    nothing is replaced here that an agent could have changed meanwhile (tags are added and removed, not set).
    """
    if len(change.comments) > 1:
        raise Rejected("one update takes one comment", code="one_comment", field="comments")
    ticket = _common(change, users, config, uploads, creating=False)
    if change.subject:
        ticket["subject"] = change.subject
    if change.add_tags and tags:
        ticket["additional_tags"] = merged_tags((), change.add_tags, ())
    if change.remove_tags and tags:
        ticket["remove_tags"] = merged_tags((), change.remove_tags, ())
    return ticket


def merged_tags(tags: Iterable[str], more: Iterable[str], gone: Iterable[str]) -> list[str]:
    """Tags as Zendesk stores them: lower case, without spaces, each once."""
    dropped = {stored_tag(tag) for tag in gone}
    return [tag for tag in dict.fromkeys(stored_tag(tag) for tag in (*tags, *more)) if tag not in dropped]


def stored_tag(tag: str) -> str:
    """One tag as Zendesk stores it."""
    return re.sub(r"\s+", "_", tag.strip().lower())


def _common(
    change: TicketChange, users: Mapping[str, int], config: ZendeskConfig, uploads: Sequence[str], *, creating: bool
) -> dict[str, Any]:
    ticket: dict[str, Any] = {}
    for comment in change.comments:
        author = users[comment.author.external_id] if comment.author is not None else config.api_user_id
        ticket["comment"] = comment_body(comment, author, uploads)
        # kept as the audit's metadata.custom: what proves after a crash that the comment is there
        ticket["metadata"] = {MARK: short_key(comment.key)}
    if change.status is not None:
        ticket["status"] = their_status(change.status, waiting=config.waiting, creating=creating)
    if change.priority is not None:
        ticket["priority"] = config.their_priority(change.priority)
    for name, id in (("group_id", change.group), ("assignee_id", change.assignee)):
        if id is not None and id.isdecimal():  # what is no id is nobody's: the ticket stays where triggers put it
            ticket[name] = int(id)
    fields = _custom_fields(change, config)
    if fields:
        ticket["custom_fields"] = fields
    return ticket


def _custom_fields(change: TicketChange, config: ZendeskConfig) -> list[dict[str, Any]]:
    values: dict[str, Any] = dict(change.custom)
    state = change.fields
    if state is not None:
        due = state.next_due.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ") if state.next_due else None
        told = {"gw_state": state.state, "gw_last_url": state.last_url, "gw_next_due": due, "gw_sla": state.sla}
        values.update({name: value for name, value in told.items() if value is not None})
        if state.sla is not None:
            values["gw_next_due"] = due
        if state.state == "none":
            values["gw_state"] = None
    return [{"id": config.fields[name], "value": value} for name, value in values.items() if name in config.fields]
