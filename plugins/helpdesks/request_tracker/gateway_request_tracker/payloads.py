"""Our changes as RT's request bodies, and the mark by which a message is found again."""

from __future__ import annotations

import hashlib
import hmac
import re
from collections.abc import Collection, Iterable, Mapping
from datetime import UTC, datetime
from typing import Any

from gateway_request_tracker.config import RequestTrackerConfig
from gateway_request_tracker.words import number
from gateway_schemas.errors import Rejected
from gateway_schemas.ticket import OutgoingComment, Requester, TicketChange

LONGEST_KEY = 120
_PLAIN_KEY = re.compile(r"[!-Z\\^-~]+")
_MARK = re.compile(r"\[gw:([!-Z\\^-~]{1,120})\]\s*")
_LOGIN = re.compile(r"[^a-z0-9._-]+")


def mark(key: str) -> str:
    """The subject of a message. RT keeps it as the transaction's `Data`, and lists it without the content."""
    return f"[gw:{short_key(key)}]"


def short_key(key: str) -> str:
    """The key as it stands in the mark: one that is too long, or not plain ASCII without brackets, as its SHA-256."""
    if len(key) <= LONGEST_KEY and _PLAIN_KEY.fullmatch(key):
        return key
    return hashlib.sha256(key.encode("utf-8", "surrogatepass")).hexdigest()


def marked_with(data: object) -> str | None:
    """The key in a transaction's `Data`; None for anybody else's."""
    matched = _MARK.fullmatch(data) if isinstance(data, str) else None
    return matched[1] if matched else None


def login_of(person: Requester) -> str:
    """The name of the customer's RT user.

    Where RT reads names of watchers, it takes `x:42` for something of another kind, what has an @ for an e-mail
    address, and digits alone for a user's number.
    """
    parts = (person.external_id.partition(":")[0], person.external_id.partition(":")[2])
    plain = _LOGIN.sub("-", "-".join(part for part in parts if part).lower())
    if person.external_id == plain.replace("-", ":", 1) and len(plain) <= 80 and not plain.isdigit():
        return plain
    digest = hashlib.sha256(person.external_id.encode("utf-8", "surrogatepass")).hexdigest()[:10]
    return f"{plain[:80]}.c{digest}"


def password_of(person: Requester, secret: str) -> str:
    """The password of the customer's RT user: nobody but the gateway can know it, and it is stored nowhere."""
    message = f"request-tracker:{person.external_id}".encode("utf-8", "surrogatepass")
    return hmac.new(secret.encode("utf-8"), message, hashlib.sha256).hexdigest()


def key_value(change: TicketChange) -> str:
    """What a new ticket's key field holds: the key, and its description's mark, for that has no subject of its own."""
    return f"{change.ticket_key} {mark(change.comments[0].key)}"


def display_name(person: Requester) -> str:
    """The name that agents see."""
    return person.name.strip() or person.handle or person.external_id


def new_user(person: Requester, secret: str | None) -> dict[str, Any]:
    """An unprivileged user without an e-mail address: RT has nobody to notify."""
    note = f"{person.provider}: {person.external_id}" + (f"\n{person.url}" if person.url else "")
    user = {"Name": login_of(person), "RealName": display_name(person)[:120], "Privileged": 0, "Comments": note}
    if secret is not None:
        user["Password"] = password_of(person, secret)
    return user


def message(
    comment: OutgoingComment, heading: str | None, files: Mapping[str, dict[str, str]] | None = None
) -> dict[str, Any]:
    """The body of `correspond` and `comment`, as plain text.

    Files that do not go with it are named by their URLs, unless the text has these.
    """
    body: dict[str, Any] = {
        "Subject": mark(comment.key),
        "Content": content(comment, heading, files or {}),
        "ContentType": "text/plain",
    }
    if files:
        body["Attachments"] = list(files.values())
    return body


def content(comment: OutgoingComment, heading: str | None, carried: Collection[str]) -> str:
    """A message's text: who wrote, where that is not told otherwise, what was written, and its permalink."""
    named = [
        f"{file.name or file.media_type or 'file'}: {file.url or 'too large, or not kept any more'}"
        for file in comment.attachments
        if file.sha256 not in carried and (file.url is None or file.url not in comment.text)
    ]
    parts = [heading, comment.text if comment.text.strip() else "(no text)", "\n".join(named), comment.url]
    return "\n\n".join(part for part in parts if part)


def heading_of(comment: OutgoingComment) -> str | None:
    """The first line of a customer's message that the API user writes."""
    return f"{display_name(comment.author)} wrote:" if comment.author is not None else None


def creation(
    change: TicketChange, config: RequestTrackerConfig, files: Mapping[str, dict[str, str]] | None = None
) -> dict[str, Any]:
    """The body of `POST /ticket`. Raises Rejected without exactly one comment: it is the ticket's description."""
    if len(change.comments) != 1:
        raise Rejected("a ticket is created with exactly one comment", code="one_comment", field="comments")
    comment = change.comments[0]
    heading = heading_of(comment) or "A note by the gateway, not by the customer:"
    # the description is the API user's like everything that REST writes; whose words it has, the requestor tells
    own = comment.author is not None and comment.author.external_id == change.requester.external_id
    fields = custom_fields(change, config)
    fields[config.key_field] = key_value(change)
    if config.tags_field is not None:
        fields[config.tags_field] = merged_tags([config.tag, *change.add_tags], change.remove_tags)
    ticket: dict[str, Any] = {
        "Queue": change.group or config.queue,
        "Subject": _line(change.subject or comment.text)[:200] or "(no subject)",
        "Requestor": [login_of(change.requester)],
        "Content": content(comment, None if own else heading, files or {}),
        "ContentType": "text/plain",
        "Status": config.their_status(change.status or "new"),
        "Priority": config.their_priority(change.priority or "normal"),
        "CustomFields": fields,
    }
    if files:
        ticket["Attachments"] = list(files.values())
    if change.assignee is not None:
        ticket["Owner"] = change.assignee
    if change.followup_of is not None and number(change.followup_of) is not None:
        ticket["RefersTo"] = [change.followup_of]
    return ticket


def update(change: TicketChange, ticket: Mapping[str, Any], config: RequestTrackerConfig) -> dict[str, Any]:
    """The body of `PUT /ticket/{id}`: what differs from the ticket as it was just read; empty where nothing does.

    A field of several values is replaced as a whole, so tags are written from those read. All values are absolute: a
    repeat is harmless.
    """
    body: dict[str, Any] = {}
    if change.subject and _line(change.subject)[:200] != ticket.get("Subject"):
        body["Subject"] = _line(change.subject)[:200]
    if change.priority is not None and config.our_priority(ticket.get("Priority")) != change.priority:
        body["Priority"] = config.their_priority(change.priority)
    # a status of the lifecycle's own that means the same says more than the plain one
    closing = change.status in ("solved", "closed") and ticket.get("Status") == config.solved
    if change.status is not None and config.our_status(ticket.get("Status")) != change.status and not closing:
        body["Status"] = config.their_status(change.status)
    have = values_of(ticket)
    fields: dict[str, Any] = {
        name: value
        for name, value in custom_fields(change, config).items()
        if have.get(name, []) != ([str(value)] if value != "" else [])
    }
    if config.tags_field is not None:
        stored = have.get(config.tags_field, [])
        # a ticket that others were merged into may not have had the tag by which it is known
        tags = merged_tags([*stored, config.tag, *change.add_tags], change.remove_tags)
        if tags != stored:
            fields[config.tags_field] = tags
    if fields:
        body["CustomFields"] = fields
    return body


def not_applied(body: Mapping[str, Any], ticket: Mapping[str, Any]) -> list[str]:
    """Which fields of an update did not come to stand on the ticket: RT answers refusals with 200 like the rest."""
    missed = [name for name in ("Subject", "Status") if name in body and ticket.get(name) != body[name]]
    if "Priority" in body and str(ticket.get("Priority")) != str(body["Priority"]):
        missed.append("Priority")
    have = values_of(ticket)
    wanted = body.get("CustomFields")
    for name, value in (wanted if isinstance(wanted, dict) else {}).items():
        values = [str(one) for one in value] if isinstance(value, list) else [str(value)] if value != "" else []
        if sorted(have.get(name, [])) != sorted(values):
            missed.append(name)
    return missed


def values_of(ticket: Mapping[str, Any]) -> dict[str, list[str]]:
    """The values of a ticket's custom fields by the fields' names. A value that was taken away may come as null."""
    found: dict[str, list[str]] = {}
    fields = ticket.get("CustomFields")
    for one in fields if isinstance(fields, list) else ():
        values = one.get("values") if isinstance(one, dict) else None
        if isinstance(values, list):
            found[str(one.get("name"))] = [str(value) for value in values if value not in (None, "")]
    return found


def custom_fields(change: TicketChange, config: RequestTrackerConfig) -> dict[str, Any]:
    """Values by the names of custom fields, where the config maps ours to them; "" takes one away."""
    values: dict[str, Any] = dict(change.custom)
    told = change.fields
    if told is not None:
        due = _iso(told.next_due) if told.next_due else None
        named = {"gw_state": told.state, "gw_last_url": told.last_url, "gw_next_due": due, "gw_sla": told.sla}
        values.update({name: value for name, value in named.items() if value is not None})
        if told.state == "none":
            values["gw_state"] = ""
        if told.sla is not None and due is None:
            values["gw_next_due"] = ""
    mapped = {config.fields[name]: value for name, value in values.items() if name in config.fields}
    return {name: "" if value is None else _written(value) for name, value in mapped.items()}


def merged_tags(tags: Iterable[str], gone: Iterable[str]) -> list[str]:
    """Tags, each once whatever its case, without those that shall go."""
    dropped = {tag.strip().lower() for tag in gone}
    found: dict[str, str] = {}
    for tag in tags:
        plain = _line(tag)[:100]
        if plain and plain.lower() not in dropped:
            found.setdefault(plain.lower(), plain)
    return list(found.values())


def _written(value: object) -> str:
    return ("true" if value else "false") if isinstance(value, bool) else str(value)


def _iso(at: datetime) -> str:
    return at.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def _line(text: str) -> str:
    return " ".join(text.split())
