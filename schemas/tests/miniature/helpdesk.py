"""A correct helpdesk in miniature: a desk with tickets, comments and a webhook that names what changed.

The tests of the kit break it line by line; every line that they name is followed by the faults that come of it.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime, timedelta
from typing import Any, ClassVar

from pydantic import BaseModel, ConfigDict, Field, SecretStr

from gateway_schemas.capabilities import HelpdeskCapabilities
from gateway_schemas.errors import Closed, GatewayError, Gone, Malformed, Moved, Rejected, Unverified
from gateway_schemas.helpdesk import Helpdesk
from gateway_schemas.http import call, json_object
from gateway_schemas.interaction import Ignored, Unreadable, Wanted
from gateway_schemas.limits import delta_headers
from gateway_schemas.plugin import Health, HealthFinding, InstallReport, Step
from gateway_schemas.signatures import check_window, read_timestamp, verify_hmac
from gateway_schemas.text import parse_object
from gateway_schemas.ticket import (
    Agent,
    AgentNote,
    AgentReply,
    Done,
    Failed,
    FoundTicket,
    OutgoingComment,
    OwnComment,
    Pending,
    PushIntent,
    Requester,
    TicketChange,
    TicketChanged,
)
from gateway_schemas.webhook import Page, RawDelivery, RawPage, WebhookRequest, WebhookResponse

STATUSES = {"open": "open", "waiting": "pending", "solved": "done", "closed": "archived", "new": "open"}
OURS: dict[str, Any] = {"open": "open", "pending": "waiting", "done": "solved", "archived": "closed"}
PRIORITIES = {"low": 1, "normal": 2, "high": 3, "urgent": 4}
NAMES: dict[int, Any] = {1: "low", 2: "normal", 3: "high", 4: "urgent"}
OVERLAP = timedelta(minutes=1)


class DeskConfig(BaseModel):
    """One desk."""

    model_config = ConfigDict(extra="forbid", hide_input_in_errors=True)

    token: SecretStr = Field(description="The token that acts for the gateway.")
    signing_secret: SecretStr = Field(description="Signs webhooks.")
    base_url: str = Field(default="https://desk.example", description="Where the API is.")


class Comment(BaseModel):
    """A comment as the API shows it."""

    id: int
    author: int
    name: str
    role: str
    text: str
    public: bool
    via: str
    mark: str | None = None
    at: datetime


class DeskHelpdesk(Helpdesk[DeskConfig]):
    """One desk."""

    name: ClassVar[str] = "desk"
    title: ClassVar[str] = "Desk"
    Config = DeskConfig
    capabilities = HelpdeskCapabilities(
        streams=("tickets", "archive"), overlap=OVERLAP, bulk=5, comments_per_change=3, followup=True
    )

    @classmethod
    def hosts_of(cls, config: DeskConfig, app: BaseModel | None = None) -> tuple[str, ...]:
        return (config.base_url,)

    def limits_of(self, response: Any, bucket: str) -> list[Any]:
        return delta_headers(response.headers, bucket, self.setup.time.now())

    # in

    def verify(self, request: WebhookRequest) -> WebhookResponse | None:
        secrets = [self.config.signing_secret.get_secret_value()]
        if request.method == "GET":
            token = request.query_value("challenge") or ""
            if not token.isalnum():
                raise Unverified("no challenge")
            return WebhookResponse(token.encode(), media_type="text/plain")
        at = request.header("x-desk-time")
        verify_hmac((at or "").encode("latin-1") + b"." + request.body, request.header("x-desk-signature"), secrets)
        check_window(read_timestamp(at), request.received_at, timedelta(minutes=5))
        return None

    def normalise(self, delivery: RawDelivery) -> Sequence[Any]:
        body = parse_object(delivery.body)
        if delivery.origin == "webhook":
            if body.get("event") != "ticket.changed":
                return [Ignored(reason="an event that is not known")]
            return [_wanted(body, delivery.received_at)]
        if delivery.origin == "poll":
            tickets = body.get("tickets")
            if not isinstance(tickets, list):
                raise Malformed("tickets: expected a list")
            return [_listed(one, delivery.received_at) for one in tickets] or [Ignored(reason="an empty page")]
        if isinstance(body.get("gone"), str):
            return [TicketChanged(ticket=body["gone"], deleted=True)]
        return list(_ticket(body))

    async def fetch(self, wanted: Sequence[Wanted]) -> Sequence[RawPage]:
        pages = []
        for item in wanted:
            try:
                body = await self._get(f"/tickets/{item.ref}")
            except Gone:
                body = json.dumps({"gone": item.ref}).encode()
            pages.append(RawPage(body, answers=[item.ref]))
        return pages

    async def poll(self, stream: str, cursor: dict[str, Any] | None) -> Page:
        if stream not in self.capabilities.streams:
            raise Rejected(f"there is no stream {stream}", code="no_stream")
        cursor = dict(cursor or {})
        asked = {"archived": str(stream == "archive").lower()}
        asked |= {name: cursor[name] for name in ("since", "page") if name in cursor}
        body = await self._get("/tickets", asked)
        answer = parse_object(body)
        if not isinstance(answer.get("tickets"), list):
            raise Malformed("tickets: expected a list")
        pages = [RawPage(body, stream=stream)] if answer["tickets"] else []
        # by the desk's clock, which need not be ours
        began = cursor.get("began") or _before(answer.get("now"))
        if answer.get("next"):
            return Page(pages, {**cursor, "began": began, "page": answer["next"]}, more=True)
        return Page(pages, {"since": began})

    # out

    async def push(self, changes: Sequence[TicketChange]) -> Sequence[Any]:
        results: list[Any] = []
        for change in changes:
            try:
                results.append(await self._one(change))
            except GatewayError as error:
                if len(changes) == 1:
                    raise
                results.append(_failed(change.key, error))
        return results

    async def _one(self, change: TicketChange) -> Done | Pending:
        number = change.external_id
        if number is None:
            return await self._create(change)
        ticket = parse_object(await self._get(f"/tickets/{number}"))
        if ticket.get("merged_into"):
            raise Moved(f"ticket {number} was merged", to=str(ticket["merged_into"]))
        if ticket.get("status") == "archived" and change.comments:
            raise Closed(f"ticket {number} is closed")
        fields = _fields(change)
        if change.add_tags or change.remove_tags or "gateway" not in ticket["tags"]:
            fields["tags"] = sorted({*ticket["tags"], "gateway", *change.add_tags} - set(change.remove_tags))
        if fields:
            await self._call("PATCH", f"/tickets/{number}", effect=False, json=fields)
        comments = {}
        for comment in change.comments:
            made = await self._write(f"/tickets/{number}/comments", _comment(comment))
            comments[comment.key] = str(made["id"])
        return Done(key=change.key, external_id=number, comments=comments)

    async def _create(self, change: TicketChange) -> Done | Pending:
        first, rest = change.comments[0], change.comments[1:]
        fields = {"status": "open", "priority": 2, **_fields(change)}
        body = {
            **fields,
            "key": change.ticket_key,
            "subject": change.subject or first.text[:60],
            "requester": _person(change.requester),
            "tags": ["gateway", *change.add_tags],
            "comment": _comment(first),
        }
        made = await self._write("/tickets", body)
        if "job" in made:
            return Pending(key=change.key, job=str(made["job"]))
        comments = {first.key: str(made["comments"][0]["id"])}
        for comment in rest:
            added = await self._write(f"/tickets/{made['id']}/comments", _comment(comment))
            comments[comment.key] = str(added["id"])
        return Done(key=change.key, external_id=str(made["id"]), comments=comments)

    async def resume(self, pending: Sequence[Pending]) -> Sequence[Any]:
        results: list[Any] = []
        for one in pending:
            job = parse_object(await self._get(f"/jobs/{one.job}"))
            if job.get("ticket") is None:
                results.append(one)
                continue
            results.append(Done(key=one.key, external_id=str(job["ticket"])))
        return results

    async def find(self, intent: PushIntent) -> FoundTicket:
        change = intent.change
        number = change.external_id
        if number is None:
            found = parse_object(await self._get("/tickets/by-key", {"key": change.ticket_key}))
            if found.get("ticket") is None:
                return FoundTicket()
            number = str(found["ticket"])
        ticket = parse_object(await self._get(f"/tickets/{number}"))
        keys = {comment.key for comment in change.comments}
        marks = {one["mark"]: str(one["id"]) for one in ticket["comments"] if one.get("mark") in keys}
        return FoundTicket(external_id=number, comments=marks)

    async def _write(self, path: str, body: Mapping[str, Any]) -> dict[str, Any]:
        made = json_object(await self._call("POST", path, effect=True, json=body), effect=True)
        return made

    # set-up

    async def install(self, *, dry_run: bool) -> InstallReport:
        door = self.setup.door or ""
        if door in parse_object(await self._get("/hooks"))["hooks"]:
            return InstallReport(steps=(Step(action="keep", what="webhook"),))
        if not dry_run:
            await self._call("POST", "/hooks", effect=False, json={"url": door})
        return InstallReport(steps=(Step(action="create", what="webhook"),))

    async def check(self) -> Health:
        try:
            await self._get("/hooks")
        except GatewayError as error:
            finding = HealthFinding(severity="error", code=error.code, message=error.reason, mend="connect again")
            return Health(ok=False, findings=(finding,))
        return Health(ok=True)

    async def _get(self, path: str, parameters: Mapping[str, str] | None = None) -> bytes:
        response = await self._call("GET", path, effect=False, params=dict(parameters or {}))
        json_object(response)
        return bytes(response.content)

    async def _call(self, method: str, path: str, *, effect: bool, **request: Any) -> Any:
        headers = {"authorization": f"Bearer {self.config.token.get_secret_value()}"}
        url, now = self.config.base_url + path, self.setup.time.now()
        return await call(self.http, method, url, effect=effect, now=now, headers=headers, **request)


def _before(now: Any) -> str:
    try:
        return (datetime.fromisoformat(now) - OVERLAP).isoformat()
    except (TypeError, ValueError, OverflowError):
        raise Malformed("now: expected a time") from None


def _person(person: Requester) -> dict[str, Any]:
    return {"external_id": person.external_id, "name": person.name, "email": None}


def _comment(comment: OutgoingComment) -> dict[str, Any]:
    author = _person(comment.author) if comment.author is not None else None
    return {"text": comment.text, "public": comment.public, "author": author, "mark": comment.key}


def _fields(change: TicketChange) -> dict[str, Any]:
    fields: dict[str, Any] = {}
    if change.status is not None:
        fields["status"] = STATUSES[change.status]
    if change.priority is not None:
        fields["priority"] = PRIORITIES[change.priority]
    return fields


def _failed(key: str, error: GatewayError) -> Failed:
    names: dict[str, Any] = {
        "Closed": "closed",
        "Moved": "moved",
        "Gone": "gone",
        "Retry": "retry",
        "Unknown": "unknown",
    }
    name = names.get(type(error).__name__, "rejected")
    return Failed(key=key, error=name, reason=error.reason, moved_to=getattr(error, "to", None))


def _wanted(body: Mapping[str, Any], at: datetime) -> Wanted:
    number = body.get("ticket")
    if not isinstance(number, int):
        raise Malformed("ticket: expected a number")
    return Wanted(ref=str(number), kind="ticket", at=at)


def _listed(value: Any, at: datetime) -> Any:
    if not isinstance(value, dict) or not isinstance(value.get("id"), int):
        return Unreadable(reason="a ticket of the list has no id")
    tags = value.get("tags")
    if "gateway" not in (tags if isinstance(tags, list) else ()):
        return Ignored(reason="not one of ours")
    return Wanted(ref=str(value["id"]), kind="ticket", reason="refresh", at=at)


def _ticket(body: Mapping[str, Any]) -> Iterator[Any]:
    number, comments, tags = body.get("id"), body.get("comments"), body.get("tags")
    if not isinstance(number, int) or not isinstance(comments, list) or not isinstance(tags, list):
        raise Malformed("a ticket needs id, comments and tags")
    if "gateway" not in tags:
        yield Ignored(reason="not one of ours")
        return
    for value in comments:
        try:
            one = Comment.model_validate(value)
            if one.at.tzinfo is None:
                raise ValueError("no zone")
        except ValueError:
            yield Unreadable(reason="a comment cannot be read")
            continue
        yield _told(str(number), one)
    status, priority, merged, key = (body.get(name) for name in ("status", "priority", "merged_into", "key"))
    yield TicketChanged(
        ticket=str(number),
        ticket_key=key if isinstance(key, str) else None,
        status=OURS.get(status) if isinstance(status, str) else None,
        priority=NAMES.get(priority) if isinstance(priority, int) else None,
        tags=tuple(str(tag).encode("utf-8", "replace").decode() for tag in tags),
        merged_into=str(merged) if isinstance(merged, int) else None,
    )


def _told(ticket: str, one: Comment) -> Any:
    id = str(one.id)
    if one.mark is not None:
        return OwnComment(ticket=ticket, key=one.mark, external_id=id, at=one.at)
    if one.role != "agent":
        return Ignored(reason=f"comment {id} is not an agent's")
    author = Agent(external_id=str(one.author), name=one.name)
    if not one.public:
        return AgentNote(ticket=ticket, external_id=id, author=author, text=one.text, at=one.at)
    origins: dict[str, Any] = {"web": "composer", "rule": "rule", "merge": "merge"}
    return AgentReply(
        ticket=ticket, external_id=id, author=author, text=one.text, origin=origins.get(one.via, "api"), at=one.at
    )
