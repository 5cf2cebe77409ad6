"""Our changes as Chatwoot's request bodies, and the mark by which a message is found again."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Collection, Iterable, Mapping
from datetime import UTC
from typing import Any

from gateway_chatwoot.config import ChatwootConfig
from gateway_chatwoot.customers import display_name
from gateway_chatwoot.text import as_markdown
from gateway_chatwoot.words import THEIR_PRIORITY, number
from gateway_schemas.errors import Rejected
from gateway_schemas.ticket import OutgoingComment, Requester, TicketChange

LONGEST_MARK = 200
MARK = "gw:"
KEY = "gateway_key"
_NOT_IN_LABELS = re.compile(r"[^\w-]+")


def mark(key: str) -> str:
    """The `source_id` of a message of ours. Chatwoot stores it, shows it in its API and webhooks, and to no agent."""
    return MARK + short_key(key)


def short_key(key: str) -> str:
    """The key as it stands in the mark: a long one as its SHA-256."""
    if len(key) <= LONGEST_MARK and key.isprintable():
        return key
    return hashlib.sha256(key.encode("utf-8", "surrogatepass")).hexdigest()


def marked_with(message: Mapping[str, Any]) -> str | None:
    """The key of a message that the gateway wrote; None for anybody else's.

    It stands in `source_id`; releases that drop that keep it in `content_attributes`.
    """
    source = message.get("source_id")
    if isinstance(source, str) and source.startswith(MARK):
        return source.removeprefix(MARK)
    attributes = message.get("content_attributes")
    key = attributes.get(KEY) if isinstance(attributes, dict) else None
    return key if isinstance(key, str) and key else None


def message(comment: OutgoingComment, requester: Requester, carried: Collection[str] = ()) -> dict[str, Any]:
    """The body of `POST conversations/{id}/messages`.

    What the customer wrote is an incoming message, and so theirs: Chatwoot takes these in API channels only. Anybody
    else's words are a private note that names them, for an incoming message would be put into the customer's mouth; and
    so is what the customer wrote in private and is not to be seen.
    """
    own = comment.author is not None and comment.author.external_id == requester.external_id
    theirs = own and comment.public
    heading = f"{display_name(comment.author)} wrote:" if comment.author is not None and not theirs else None
    return {
        "content": _content(comment, heading, carried),
        "message_type": "incoming" if theirs else "outgoing",
        "private": False if theirs else comment.author is not None or not comment.public,
        "source_id": mark(comment.key),
        "content_attributes": {KEY: short_key(comment.key)},
    }


def conversation(change: TicketChange, contact: int, config: ChatwootConfig) -> dict[str, Any]:
    """The body of `POST conversations`. Raises Rejected without exactly one comment, which is its first message."""
    if len(change.comments) != 1:
        raise Rejected("a conversation is created with exactly one comment", code="one_comment", field="comments")
    body: dict[str, Any] = {
        "source_id": change.requester.external_id,
        "inbox_id": config.inbox_id,
        "contact_id": contact,
        "status": "open",
        "custom_attributes": attributes(change, config),
    }
    for name, id in (("team_id", number(change.group) or config.team_id), ("assignee_id", number(change.assignee))):
        if id is not None:
            body[name] = id
    return body


def attributes(change: TicketChange, config: ChatwootConfig) -> dict[str, Any]:
    """The custom attributes that a change sets, by their keys at Chatwoot. None empties one."""
    values: dict[str, Any] = dict(change.custom)
    if change.external_id is None:
        values[KEY] = change.ticket_key
        if change.subject:
            values["subject"] = change.subject
        if change.followup_of is not None:
            values["follows"] = config.shown(change.followup_of)
    state = change.fields
    if state is not None:
        due = state.next_due.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ") if state.next_due else None
        told = {"gw_state": state.state, "gw_last_url": state.last_url, "gw_next_due": due, "gw_sla": state.sla}
        values.update({name: value for name, value in told.items() if value is not None})
        if state.state == "none":
            values["gw_state"] = None
        if state.sla is not None and due is None:
            values["gw_next_due"] = None
    return {config.attribute(name): value for name, value in values.items()}


def changed_attributes(wanted: Mapping[str, Any], present: object) -> dict[str, Any] | None:
    """The whole of the custom attributes with what is wanted; None where nothing differs.

    Releases before 4.12 know no `merge` and replace the object, so it is written whole, from what was just read.
    """
    have: dict[str, Any] = dict(present) if isinstance(present, dict) else {}
    merged = {**have, **wanted}
    merged = {name: value for name, value in merged.items() if value is not None or name in have}
    return merged if merged != have else None


def labels(present: object, config: ChatwootConfig, add: Iterable[str], remove: Iterable[str]) -> list[str] | None:
    """All labels with those of a change, since Chatwoot replaces them; None where nothing differs."""
    have = [one for one in present if isinstance(one, str)] if isinstance(present, list) else []
    gone = {label(one) for one in remove} - {label(one) for one in config.labels}
    wanted = dict.fromkeys(one for one in (*have, *map(label, (*config.labels, *add))) if one and one not in gone)
    return list(wanted) if list(wanted) != have else None


def label(tag: str) -> str:
    """A tag as a label: lower case, of letters, digits, hyphens and underscores (`reply:public` is `reply-public`)."""
    return _NOT_IN_LABELS.sub("-", tag.strip().lower()).strip("-")


def priority(change: TicketChange, present: object) -> str | None:
    """The priority to set; None where it is that already, or none is wanted."""
    if change.priority is None:
        return None
    theirs = THEIR_PRIORITY[change.priority]
    return theirs if present != theirs else None


def _content(comment: OutgoingComment, heading: str | None, carried: Collection[str]) -> str:
    files = [
        f"{file.name or file.media_type or 'file'}: {file.url or 'too large for Chatwoot, or not kept any more'}"
        for file in comment.attachments
        if file.sha256 not in carried and (file.url is None or file.url not in comment.text)
    ]
    text = comment.text if comment.text.strip() else None if carried else "(no text)"
    parts = [heading, text, "\n".join(files) or None, comment.url]
    return as_markdown("\n\n".join(part for part in parts if part))
