"""The twin's tickets, and the rules Zendesk keeps about them."""

from __future__ import annotations

import html
import json
import uuid
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from urllib.parse import quote

from gateway_schemas.time import TimeSource
from gateway_zendesk.twin_model import (
    PRIORITIES,
    STATUSES,
    ApiError,
    Audit,
    Comment,
    Ticket,
    User,
    invalid,
    iso,
    not_found,
    strip_tags,
    via,
)
from gateway_zendesk.twin_people import People

MAX_COMMENTS = 5000
METADATA_BYTES = 1024
_PLAIN_FIELDS = ("subject", "priority", "type", "assignee_id", "group_id", "brand_id", "ticket_form_id", "external_id")


@dataclass(frozen=True)
class Happening:
    """One audit, as triggers and event subscriptions see it."""

    ticket: Ticket
    audit: Audit
    type: str
    updater: User
    via: str
    made_private: Comment | None = None
    deleted: bool = False


class Desk:
    """Tickets and their rules. `note` writes to the ledger, `happened` tells triggers and subscriptions."""

    def __init__(
        self,
        time: TimeSource,
        note: Callable[..., None],
        happened: Callable[[Happening], None],
        base: Callable[[], str],
    ) -> None:
        self.time = time
        self.note = note
        self.happened = happened
        self.base = base
        self.tickets: dict[int, Ticket] = {}
        self.people = People(time, self.new_id, note)
        self.uploads: dict[str, list[dict[str, Any]]] = {}
        self.contents: dict[str, tuple[bytes, str]] = {}
        """What was uploaded, and its media type, by the token in its `content_url`."""
        self.fields: dict[int, dict[str, Any]] = {}
        self.export: list[tuple[float, int]] = []
        """Every write in order: time and ticket. A ticket counts at its latest place only."""
        self._by_external: dict[str, list[int]] = {}
        self._next = 360_000_000_000
        self._next_ticket = 0

    def new_id(self) -> int:
        """Ids of users, audits, events and the like: one rising sequence."""
        self._next += 7
        return self._next

    def ticket(self, ticket_id: int) -> Ticket:
        """The ticket, or 404 as for a deleted one."""
        ticket = self.tickets.get(ticket_id)
        if ticket is None or ticket.deleted:
            raise not_found()
        return ticket

    def by_external(self, external_id: str) -> list[Ticket]:
        """Every ticket that carries that external id: it is not unique. Deleted ones are not listed."""
        found = (self.tickets[number] for number in self._by_external.get(external_id, ()))
        return [ticket for ticket in found if not ticket.deleted]

    def create(
        self, data: dict[str, Any], user: User, *, kind: str = "api", at: datetime | None = None
    ) -> tuple[Ticket, Audit]:
        """`POST /tickets`: validates, stores, tells."""
        content = data.get("comment") or ({"body": data["description"]} if data.get("description") else None)
        if not isinstance(content, dict) or not (content.get("body") or content.get("html_body")):
            raise invalid("base", "Description: cannot be blank", "BlankValue")
        self._validate(data)
        requester = self._requester(data, user)
        origin = via(kind)
        followed = data.get("via_followup_source_id")
        source: Ticket | None = None
        if followed is not None:
            source = self.tickets.get(int(followed))
            if source is None or source.status != "closed":
                raise invalid("via_followup_source_id", "Via followup source: is invalid", "InvalidValue")
            origin = via("follow_up", source=source.id, title=source.subject)
        submitter = self.people.person(data.get("submitter_id"), "submitter") or user
        author = self.people.person(content.get("author_id"), "author") or submitter
        now = at or self.time.now()
        self._next_ticket += 1
        ticket = Ticket(self._next_ticket, requester.id, submitter.id, now, now, origin)
        self._apply_fields(ticket, data)
        if not ticket.subject:
            ticket.subject = (content.get("body") or "")[:60]
        ticket.tags = self._tags(data.get("tags") or [])
        ticket.status = data.get("status") or "new"
        if ticket.external_id is not None:
            self._by_external.setdefault(ticket.external_id, []).append(ticket.id)
        audit = self._audit(ticket, author, origin, data, now)
        self._write_comment(ticket, audit, content, author, origin, now)
        for name in ("subject", "status", "priority", "tags", "external_id"):
            value = getattr(ticket, name)
            if value:
                audit.events.append({"id": self.new_id(), "type": "Create", "field_name": name, "value": value})
        for number, value in ticket.custom_fields.items():
            audit.events.append({"id": self.new_id(), "type": "Create", "field_name": str(number), "value": value})
        self.tickets[ticket.id] = ticket
        if source is not None:
            source.followup_ids.append(ticket.id)
        self._touch(ticket, now)
        self.note(
            "ticket_created", str(ticket.id), external_id=ticket.external_id, requester=requester.external_id, via=kind
        )
        self._note_comment(ticket, audit)
        self.happened(Happening(ticket, audit, "Create", user, kind))
        return ticket, audit

    def update(
        self, ticket: Ticket, data: dict[str, Any], user: User, *, kind: str = "api", at: datetime | None = None
    ) -> Audit | None:
        """`PUT /tickets/{id}`: None when nothing changed, for then Zendesk stores no audit and no metadata."""
        if ticket.status == "closed":
            raise invalid("status", "Status: closed prevents ticket update")
        stamp = data.get("updated_stamp")
        if str(data.get("safe_update", "")).lower() == "true" and (not stamp or iso(ticket.updated_at) > str(stamp)):
            raise ApiError(
                409,
                {
                    "error": "UpdateConflict",
                    "description": "Safe Update prevented the update due to outdated ticket data. "
                    "Please fetch the latest ticket data and try again.",
                },
            )
        self._validate(data)
        content = data.get("comment")
        author = user
        if isinstance(content, dict):
            author = self.people.person(content.get("author_id"), "author") or user
            if ticket.comment_count >= MAX_COMMENTS:
                raise invalid("base", "Ticket has reached the maximum number of comments", "TooManyComments")
        status = data.get("status")
        if status == "solved" and not (data.get("assignee_id") or ticket.assignee_id):
            raise invalid("base", "Assignee: is required when solving a ticket", "BlankValue")
        now = at or self.time.now()
        before = {name: getattr(ticket, name) for name in ("status", "tags", *_PLAIN_FIELDS)}
        before["tags"] = list(ticket.tags)
        custom_before = dict(ticket.custom_fields)
        self._apply_fields(ticket, data)
        if status:
            ticket.status = status
        elif isinstance(content, dict) and not author.staff and ticket.status in ("pending", "solved"):
            ticket.status = "open"
        if "tags" in data:
            ticket.tags = self._tags(data["tags"])
        gone = set(self._tags(data.get("remove_tags") or []))
        ticket.tags = [tag for tag in self._merge(ticket.tags, data.get("additional_tags") or []) if tag not in gone]
        audit = self._audit(ticket, author, via(kind), data, now, keep=False)
        if isinstance(content, dict) and (content.get("body") or content.get("html_body")):
            self._write_comment(ticket, audit, content, author, audit.via, now)
        for name, previous in before.items():
            value = getattr(ticket, name)
            if value != previous:
                self._change(audit, name, list(value) if name == "tags" else value, previous)
        for number, value in ticket.custom_fields.items():
            if custom_before.get(number) != value:
                self._change(audit, str(number), value, custom_before.get(number))
        if audit.comment is None and not audit.events:
            return None
        ticket.audits.append(audit)
        self._touch(ticket, now)
        if audit.comment is not None:
            self._note_comment(ticket, audit)
        if audit.events:
            changed = {event["field_name"]: event["value"] for event in audit.events}
            self.note("ticket_changed", str(ticket.id), changes=changed, by=user.id, via=kind)
        self.happened(Happening(ticket, audit, "Change", user, kind))
        return audit

    def make_private(self, ticket: Ticket, comment_id: int, user: User, *, kind: str = "api") -> None:
        """A public comment becomes internal; again changes nothing."""
        if ticket.status == "closed":
            raise invalid("status", "Status: closed prevents ticket update")
        comment = next((one for one in ticket.comments if one.id == comment_id), None)
        if comment is None:
            raise not_found()
        if not comment.public:
            return
        comment.public = False
        now = self.time.now()
        audit = self._audit(ticket, user, via(kind), {}, now)
        audit.events.append(
            {"id": self.new_id(), "type": "CommentPrivacyChange", "comment_id": comment.id, "public": False}
        )
        self._touch(ticket, now)
        self.note("comment_made_private", str(comment.id), ticket=ticket.id, by=user.id)
        self.happened(Happening(ticket, audit, "Change", user, kind, made_private=comment))

    def merge(self, sources: Iterable[Ticket], target: Ticket, user: User, *, public: bool = False) -> None:
        """Each source is closed with the tag `closed_by_merge`; both sides get a comment that says so."""
        for source in sources:
            if source.status == "closed" or target.status == "closed":
                raise invalid("base", "Closed tickets cannot be merged", "InvalidValue")
            origin = via("merge", target=target.id)
            now = self.time.now()
            audit = self._audit(source, user, origin, {}, now)
            text = f"This request was closed and merged into request #{target.id}."
            self._write_comment(source, audit, {"body": text, "public": public}, user, origin, now)
            self._change(audit, "status", "closed", source.status)
            self._change(audit, "tags", [*source.tags, "closed_by_merge"], list(source.tags))
            source.status, source.merged_into = "closed", target.id
            source.tags = [*source.tags, "closed_by_merge"]
            self._touch(source, now)
            self.note("ticket_merged", str(source.id), into=target.id, by=user.id)
            self.happened(Happening(source, audit, "Change", user, "merge"))
            origin = via("merge", source=source.id)
            audit = self._audit(target, user, origin, {}, now)
            last = source.comments[-2].body if len(source.comments) > 1 else ""
            text = f"Request #{source.id} was closed and merged into this request. Last comment in it: {last}"
            self._write_comment(target, audit, {"body": text, "public": public}, user, origin, now)
            self._touch(target, now)
            self.happened(Happening(target, audit, "Change", user, "merge"))

    def delete(self, ticket: Ticket, user: User) -> None:
        """Soft deletion: the ticket answers 404 from now on, and the export says `deleted`."""
        ticket.deleted = True
        now = self.time.now()
        self._touch(ticket, now)
        self.note("ticket_deleted", str(ticket.id), by=user.id)
        audit = Audit(self.new_id(), ticket.id, user.id, now, via("web"))
        self.happened(Happening(ticket, audit, "Change", user, "web", deleted=True))

    def keep_file(self, name: str, body: bytes, media_type: str) -> dict[str, Any]:
        """A file and how attachments describe it. Whoever has its `content_url` may read it."""
        token = uuid.uuid4().hex
        self.contents[token] = (body, media_type)
        return {
            "id": self.new_id(),
            "file_name": name,
            "content_type": media_type,
            "content_url": f"{self.base()}/attachments/token/{token}/?name={quote(name)}",
            "size": len(body),
        }

    # parts

    def _validate(self, data: dict[str, Any]) -> None:
        status, priority = data.get("status"), data.get("priority")
        if status is not None and status not in STATUSES:
            raise invalid("base", f"Status: {status} is not valid", "InvalidValue")
        if priority is not None and priority not in PRIORITIES:
            raise invalid("base", f"Priority: {priority} is not valid", "InvalidValue")
        for item in data.get("custom_fields") or []:
            declared = self.fields.get(int(item["id"]), {})
            options = [one["value"] for one in declared.get("custom_field_options", ())]
            if options and item.get("value") not in (*options, None, ""):
                raise invalid("base", f"{declared['title']}: is not valid", "InvalidValue")
        content = data.get("comment")
        for token in (content.get("uploads") or []) if isinstance(content, dict) else ():
            if token not in self.uploads:
                raise invalid("base", "Upload token: is invalid", "InvalidValue")
        metadata = data.get("metadata")
        if metadata is not None and len(json.dumps(metadata)) > METADATA_BYTES:
            raise invalid("base", "Metadata: is too long (maximum is 1 kilobyte)", "TooLong")

    def _requester(self, data: dict[str, Any], user: User) -> User:
        inline = data.get("requester")
        if isinstance(inline, dict):
            if not inline.get("email"):
                raise invalid("requester", "Requester: Email: cannot be blank", "BlankValue")
            return self.people.create_or_update(inline)[0]
        return self.people.person(data.get("requester_id"), "requester") or user

    def _apply_fields(self, ticket: Ticket, data: dict[str, Any]) -> None:
        for name in _PLAIN_FIELDS:
            if name in data:
                setattr(ticket, name, data[name])
        for item in data.get("custom_fields") or []:
            ticket.custom_fields[int(item["id"])] = item.get("value")

    def _tags(self, tags: Any) -> list[str]:
        given = tags.split() if isinstance(tags, str) else [str(tag) for tag in tags]
        return self._merge([], given)

    def _merge(self, tags: list[str], more: Iterable[str]) -> list[str]:
        return list(dict.fromkeys([*tags, *(str(tag).strip().lower().replace(" ", "_") for tag in more)]))

    def _audit(
        self,
        ticket: Ticket,
        author: User,
        origin: dict[str, Any],
        data: dict[str, Any],
        now: datetime,
        *,
        keep: bool = True,
    ) -> Audit:
        audit = Audit(self.new_id(), ticket.id, author.id, now, origin, custom=dict(data.get("metadata") or {}))
        if keep:
            ticket.audits.append(audit)
        return audit

    def _write_comment(
        self,
        ticket: Ticket,
        audit: Audit,
        content: dict[str, Any],
        author: User,
        origin: dict[str, Any],
        now: datetime,
    ) -> None:
        files: list[dict[str, Any]] = []
        for token in content.get("uploads") or []:
            files.extend(self.uploads.pop(token))
        markup = content.get("html_body")
        body = (
            html.unescape(strip_tags(str(markup).replace("<br>", "\n"))) if markup else strip_tags(str(content["body"]))
        )
        comment = Comment(self.new_id(), audit.id, author.id, body, content.get("public", True), now, origin, markup)
        comment.attachments = files
        audit.comment = comment

    def _change(self, audit: Audit, name: str, value: Any, previous: Any) -> None:
        event = {"id": self.new_id(), "type": "Change", "field_name": name, "value": value, "previous_value": previous}
        audit.events.append(event)

    def _touch(self, ticket: Ticket, now: datetime) -> None:
        latest = max(now, ticket.updated_at)
        ticket.updated_at = latest
        stamp = max(self.time.now().timestamp(), self.export[-1][0] if self.export else 0.0)
        ticket.export_position = len(self.export)
        self.export.append((stamp, ticket.id))

    def _note_comment(self, ticket: Ticket, audit: Audit) -> None:
        comment = audit.comment
        if comment is None:
            return
        author = self.people.all[comment.author_id]
        self.note(
            "comment_created",
            str(comment.id),
            ticket=ticket.id,
            gateway_key=audit.custom.get("gateway_key"),
            author=author.external_id or author.name,
            role=author.role,
            public=comment.public,
            text=comment.body,
        )
