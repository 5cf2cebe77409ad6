"""The twin's ticket endpoints: create with idempotency, update, bulk, tags, comments, audits, merge, export."""

from __future__ import annotations

import base64
import bisect
import hashlib
import json
from datetime import timedelta
from typing import TYPE_CHECKING, Any

from starlette.routing import Route

from gateway_zendesk.twin_http import Answer, Call, page, route
from gateway_zendesk.twin_jobs import create_work, update_work
from gateway_zendesk.twin_model import ApiError, Audit, Ticket, User, invalid, iso, not_found

if TYPE_CHECKING:
    from gateway_zendesk.twin import ZendeskTwin

IDEMPOTENCY_WINDOW = timedelta(hours=2)
EXPORT_PAGE = 1000
_OVER = ("solved", "closed")


class TicketEndpoints:
    """Everything under `/api/v2/tickets` and `/api/v2/incremental`."""

    def __init__(self, twin: ZendeskTwin) -> None:
        self.twin = twin
        self.replays: dict[str, tuple[float, str, int, dict[str, Any], dict[str, str]]] = {}

    def routes(self) -> list[Route]:
        """In the order that paths are tried."""
        twin, base, one = self.twin, "/api/v2/tickets", "/api/v2/tickets/{id}"
        return [
            route(twin, "POST", f"{base}/create_many", self.create_many),
            route(twin, "PUT", f"{base}/update_many", self.update_many),
            route(twin, "GET", f"{base}/show_many", self.show_many),
            route(twin, "POST", base, self.create),
            route(twin, "GET", base, self.index, bucket="tickets-index"),
            route(twin, "PUT", f"{one}/comments/{{comment}}/make_private", self.make_private),
            route(twin, "GET", f"{one}/comments", self.comments),
            route(twin, "GET", f"{one}/audits", self.audits),
            route(twin, "PUT", f"{one}/tags", self.add_tags),
            route(twin, "POST", f"{one}/tags", self.set_tags),
            route(twin, "DELETE", f"{one}/tags", self.remove_tags),
            route(twin, "POST", f"{one}/merge", self.merge),
            route(twin, "GET", one, self.show),
            route(twin, "PUT", one, self.update, bucket="tickets-update"),
            route(twin, "DELETE", one, self.delete),
            route(twin, "GET", "/api/v2/incremental/tickets/cursor", self.incremental, bucket="incremental-exports"),
        ]

    # create

    def create(self, call: Call) -> Answer:
        """A key seen within two hours replays the stored answer; with other parameters it is refused."""
        key = call.request.headers.get("idempotency-key")
        if key is None:
            return self._create(call)
        if not key or len(key) > 255:
            raise ApiError(400, {"error": "InvalidIdempotencyKey", "description": "Idempotency-Key is not valid"})
        now = self.twin.time.now().timestamp()
        kept = self.replays.get(key)
        print_ = hashlib.sha256(json.dumps(call.body, sort_keys=True).encode()).hexdigest()
        if kept is not None and kept[0] > now:
            if kept[1] != print_:
                text = "Request parameters don't match the given idempotency key"
                raise ApiError(400, {"error": "IdempotentRequestError", "description": text})
            self.twin.replayed += 1
            return Answer(kept[3], kept[2], {**kept[4], "x-idempotency-lookup": "hit"})
        answer = self._create(call)
        expires = now + IDEMPOTENCY_WINDOW.total_seconds()
        self.replays[key] = (expires, print_, answer.status, answer.body, dict(answer.headers))
        return Answer(answer.body, answer.status, {**answer.headers, "x-idempotency-lookup": "miss"})

    def _create(self, call: Call) -> Answer:
        ticket, audit = self.twin.desk.create(call.wrapped("ticket"), call.user)
        body = {"ticket": ticket.json(self.twin.url), "audit": audit.json()}
        return Answer(body, 201, {"Location": f"{self.twin.url}/api/v2/tickets/{ticket.id}.json"})

    def create_many(self, call: Call) -> Answer:
        """Up to 100 tickets as a job; idempotency keys are not taken here."""
        items = self._items(call)
        job = self.twin.jobs.start(
            "Bulk Create Ticket",
            items,
            create_work(lambda item, user: self.twin.desk.create(item, user)[0].id, call.user),
        )
        return Answer({"job_status": job.json(self.twin.url)}, 200, self.twin.jobs.headers())

    def _items(self, call: Call) -> list[dict[str, Any]]:
        items = call.body.get("tickets")
        if not isinstance(items, list) or not items or not all(isinstance(item, dict) for item in items):
            raise ApiError(400, {"error": {"title": "Invalid attribute", "message": "Parameter tickets is required"}})
        if len(items) > 100:
            raise ApiError(400, {"error": "TooManyValues", "description": "tickets takes at most 100 values"})
        return items

    # read

    def show(self, call: Call) -> Answer:
        return Answer({"ticket": self.twin.desk.ticket(call.number("id")).json(self.twin.url)})

    def index(self, call: Call) -> Answer:
        external_id = call.query("external_id")
        desk = self.twin.desk
        if external_id is not None:
            found = desk.by_external(external_id)
        else:
            found = [ticket for ticket in desk.tickets.values() if not ticket.deleted]
        return Answer(page(call, "tickets", found, lambda ticket: ticket.json(self.twin.url)))

    def show_many(self, call: Call) -> Answer:
        found = [self.twin.desk.tickets.get(int(one)) for one in call.ids() if one.isdigit()]
        there = [ticket.json(self.twin.url) for ticket in found if ticket is not None and not ticket.deleted]
        return Answer({"tickets": there, "count": len(there), "next_page": None, "previous_page": None})

    def comments(self, call: Call) -> Answer:
        ticket = self.twin.desk.ticket(call.number("id"))
        pairs = [(audit.comment, audit.custom) for audit in ticket.audits if audit.comment is not None]
        if (call.query("sort") or "").startswith("-"):
            pairs.reverse()
        body = page(call, "comments", pairs, lambda pair: pair[0].json(pair[1]))
        return Answer(self._with_users(call, body, {one["author_id"] for one in body["comments"]}))

    def audits(self, call: Call) -> Answer:
        ticket = self.twin.desk.ticket(call.number("id"))
        body = page(call, "audits", ticket.audits, Audit.json)
        wanted = {one["author_id"] for one in body["audits"]}
        if self.twin.sideload_comment_authors:
            wanted |= {event["author_id"] for one in body["audits"] for event in one["events"] if "author_id" in event}
        return Answer(self._with_users(call, body, wanted))

    def _with_users(self, call: Call, body: dict[str, Any], wanted: set[int]) -> dict[str, Any]:
        if "users" in (call.query("include") or "").split(","):
            people = self.twin.desk.people.all
            body["users"] = [people[one].json(self.twin.url) for one in sorted(wanted) if one in people]
        return body

    def incremental(self, call: Call) -> Answer:
        """By cursor or start time, in order of update; the latest minute is never given; admins only."""
        if call.user.role != "admin":
            raise ApiError(403, {"error": {"title": "Forbidden", "message": "You do not have access to this page."}})
        log, now = self.twin.desk.export, self.twin.time.now().timestamp()
        cursor, start_time = call.query("cursor"), call.query("start_time")
        if cursor is not None:
            try:
                start = int(base64.b64decode(cursor).decode())
            except ValueError as error:
                raise ApiError(400, {"error": "InvalidCursor", "description": "Cursor is invalid"}) from error
        elif start_time is None or not start_time.isdigit():
            raise ApiError(400, {"error": "StartTimeMissing", "description": "start_time is required"})
        elif int(start_time) > now - 60:
            raise ApiError(422, {"error": "InvalidValue", "description": "Too recent start_time. Use an older one."})
        else:
            start = bisect.bisect_left(log, (float(start_time), 0))
        end = bisect.bisect_right(log, (now - self.twin.export_lag, 1 << 60))
        found: list[Ticket] = []
        position = start
        while position < end and len(found) < self.twin.export_page:
            ticket = self.twin.desk.tickets[log[position][1]]
            if ticket.export_position == position:
                found.append(ticket)
            position += 1
        after = base64.b64encode(str(position).encode()).decode()
        shown = [ticket.json(self.twin.url) for ticket in found]
        if "metric_sets" in (call.query("include") or "").split(","):
            shown = [{**one, "metric_set": self._metrics(ticket)} for one, ticket in zip(shown, found, strict=True)]
        return Answer(
            {
                "tickets": shown,
                "after_cursor": after,
                "after_url": f"{self.twin.url}/api/v2/incremental/tickets/cursor.json?cursor={after}",
                "before_cursor": None,
                "before_url": None,
                "end_of_stream": position >= end,
            }
        )

    def _metrics(self, ticket: Ticket) -> dict[str, Any]:
        """The ticket's metric set (Ticket metrics reference): `calendar` minutes, null before there is an answer."""
        people = self.twin.desk.people.all
        answers = (one.created_at for one in ticket.comments if one.public and people[one.author_id].staff)
        first = next(answers, None)
        minutes = int((first - ticket.created_at).total_seconds() // 60) if first is not None else None
        turns = [
            (audit.created_at, event["value"], event["previous_value"])
            for audit in ticket.audits
            for event in audit.events
            if event["type"] == "Change" and event.get("field_name") == "status"
        ]
        solved = [at for at, value, previous in turns if value in _OVER and previous not in _OVER]
        return {
            "ticket_id": ticket.id,
            "reopens": sum(1 for _, value, previous in turns if previous == "solved" and value not in _OVER),
            "replies": sum(1 for one in ticket.comments if one.public and people[one.author_id].staff),
            "solved_at": iso(solved[-1]) if solved and ticket.status in _OVER else None,
            "reply_time_in_minutes": {"calendar": minutes, "business": minutes},
            "created_at": iso(ticket.created_at),
            "updated_at": iso(ticket.updated_at),
        }

    # write

    def update(self, call: Call) -> Answer:
        ticket = self.twin.desk.ticket(call.number("id"))
        # the limit per ticket has no header of its own
        self.twin.limits.take("ticket", f"{call.user.id}/{ticket.id}", hidden=True)
        audit = self.twin.desk.update(ticket, self._known_words(call.wrapped("ticket")), call.user)
        return Answer({"ticket": ticket.json(self.twin.url), "audit": audit.json() if audit else None})

    def update_many(self, call: Call) -> Answer:
        """The same change for `ids`, or one change each in `tickets`; always as a job and as safe updates."""
        if call.query("ids"):
            change = call.wrapped("ticket")
            items = [{**change, "id": int(one)} for one in call.ids()]
        else:
            items = self._items(call)
            if any("id" not in item for item in items):
                raise ApiError(400, {"error": {"title": "Invalid attribute", "message": "Each ticket needs an id"}})
            if any(("safe_update" in item) != ("updated_stamp" in item) for item in items):
                raise invalid("base", "safe_update and updated_stamp go together", "InvalidValue")
            items = [self._known_words(item) for item in items]

        def change_one(item: dict[str, Any], user: User) -> int:
            ticket = self.twin.desk.ticket(int(item["id"]))
            data = {name: value for name, value in item.items() if name != "id"}
            self.twin.desk.update(ticket, data, user)
            return ticket.id

        job = self.twin.jobs.start("Bulk Update Ticket", items, update_work(change_one, call.user))
        return Answer({"job_status": job.json(self.twin.url)}, 200, self.twin.jobs.headers())

    def _known_words(self, data: dict[str, Any]) -> dict[str, Any]:
        if self.twin.tag_words_everywhere:
            return data
        return {name: value for name, value in data.items() if name not in ("additional_tags", "remove_tags")}

    def delete(self, call: Call) -> Answer:
        self.twin.desk.delete(self.twin.desk.ticket(call.number("id")), call.user)
        return Answer(None, 204)

    def make_private(self, call: Call) -> Answer:
        comment = call.text("comment")
        if not comment.isdigit():
            raise not_found()
        self.twin.desk.make_private(self.twin.desk.ticket(call.number("id")), int(comment), call.user)
        return Answer(None, 200)

    def add_tags(self, call: Call) -> Answer:
        return self._tags(call, "additional_tags")

    def set_tags(self, call: Call) -> Answer:
        answer = self._tags(call, "tags")
        return Answer(answer.body, 201)

    def remove_tags(self, call: Call) -> Answer:
        self._tags(call, "remove_tags")
        return Answer(None, 204)

    def _tags(self, call: Call, word: str) -> Answer:
        ticket = self.twin.desk.ticket(call.number("id"))
        tags = call.body.get("tags")
        if not isinstance(tags, list):
            raise ApiError(400, {"error": {"title": "Invalid attribute", "message": "Parameter tags is required"}})
        change: dict[str, Any] = {
            name: call.body[name] for name in ("safe_update", "updated_stamp") if name in call.body
        }
        change[word] = tags
        self.twin.desk.update(ticket, change, call.user)
        return Answer({"tags": list(ticket.tags)})

    def merge(self, call: Call) -> Answer:
        target = self.twin.desk.ticket(call.number("id"))
        items = [{"id": int(one)} for one in call.body.get("ids") or []]

        def merge_one(item: dict[str, Any], user: User) -> int:
            self.twin.desk.merge([self.twin.desk.ticket(item["id"])], target, user)
            return int(item["id"])

        job = self.twin.jobs.start("Ticket Merge", items, update_work(merge_one, call.user))
        return Answer({"job_status": job.json(self.twin.url)})
