"""A correct source in miniature: a pin board where people pin notes and write privately to a shop.

The tests of the kit break it line by line; every line that they name is followed by the faults that come of it.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any, ClassVar

from pydantic import BaseModel, ConfigDict, Field, SecretStr, ValidationError

from gateway_schemas.capabilities import SourceCapabilities, TextLimit
from gateway_schemas.errors import GatewayError, Gone, Malformed, Rejected, Unverified
from gateway_schemas.http import call, json_object
from gateway_schemas.interaction import Author, Deletion, Ignored, Interaction, ReplyTarget, Unreadable, Wanted
from gateway_schemas.length import Counting, length
from gateway_schemas.limits import delta_headers
from gateway_schemas.plugin import Health, HealthFinding, InstallReport, Step
from gateway_schemas.reply import Absent, Draft, Found, Rendered, SendIntent, Sent
from gateway_schemas.signatures import check_window, read_timestamp, sign_hmac, verify_hmac
from gateway_schemas.source import Source
from gateway_schemas.text import parse_object
from gateway_schemas.webhook import Page, RawDelivery, RawPage, WebhookRequest, WebhookResponse

LIMIT = 200
OVERLAP = timedelta(minutes=2)
WINDOW = timedelta(hours=24)


class PinConfig(BaseModel):
    """One shop's board."""

    model_config = ConfigDict(extra="forbid", hide_input_in_errors=True)

    shop: str = Field(description="The shop's id.")
    token: SecretStr = Field(description="The token that acts for the shop.")
    base_url: str = Field(default="https://pins.example", description="Where the API is.")


class PinApp(BaseModel):
    """The App that notes are told to."""

    model_config = ConfigDict(extra="forbid", hide_input_in_errors=True)

    signing_secret: SecretStr = Field(description="Signs webhooks.")


class Note(BaseModel):
    """A note as the API shows it."""

    id: int
    author: int
    name: str = ""
    text: str
    private: bool = False
    to: int | None = None
    thread: int
    written_at: datetime
    edited_at: datetime | None = None


class PinSource(Source[PinConfig]):
    """One shop's board, or the App's webhook."""

    name: ClassVar[str] = "pins"
    title: ClassVar[str] = "Pin board"
    Config = PinConfig
    AppConfig = PinApp
    capabilities = SourceCapabilities(
        kinds=frozenset({"post", "comment", "direct_message"}),
        webhook=True,
        shared_webhook=True,
        poll=True,
        streams=("notes", "letters"),
        overlap=OVERLAP,
        reply=True,
        private=True,
        edit=True,
        delete=True,
        text={
            "comment": TextLimit(limit=LIMIT, counting=Counting.utf8_bytes),
            "direct_message": TextLimit(limit=LIMIT, counting=Counting.utf8_bytes),
        },
        reply_window=WINDOW,
        index_lag=timedelta(seconds=30),
        idempotent_send=False,
    )

    @classmethod
    def account_of(cls, config: PinConfig) -> str | None:
        return config.shop

    @classmethod
    def hosts_of(cls, config: PinConfig, app: BaseModel | None = None) -> tuple[str, ...]:
        return (config.base_url,)

    def limits_of(self, response: Any, bucket: str) -> list[Any]:
        return delta_headers(response.headers, bucket, self.setup.time.now())

    # in

    def verify(self, request: WebhookRequest) -> WebhookResponse | None:
        if not isinstance(self.setup.app, PinApp):
            raise Unverified("no App")
        secrets = [self.setup.app.signing_secret.get_secret_value()]
        if request.method == "GET":
            token = request.query_value("challenge") or ""
            if not token.isalnum():
                raise Unverified("no challenge")
            return WebhookResponse(sign_hmac(token.encode(), secrets[0]).encode(), media_type="text/plain")
        at = request.header("x-pin-time")
        verify_hmac((at or "").encode("latin-1") + b"." + request.body, request.header("x-pin-signature"), secrets)
        check_window(read_timestamp(at), request.received_at, timedelta(minutes=5))
        return None

    def normalise(self, delivery: RawDelivery) -> Sequence[Any]:
        body = parse_object(delivery.body)
        if delivery.origin == "webhook":
            return [self._event(body)]
        account = str(delivery.note.get("account"))
        notes = body.get("notes")
        if not isinstance(notes, list):
            raise Malformed("notes: expected a list")
        return [_read(one, account) for one in notes] or [Ignored(reason="an empty page")]

    def _event(self, body: Mapping[str, Any]) -> Any:
        account, event, note = str(body.get("shop")), body.get("event"), body.get("note")
        if not isinstance(note, dict):
            raise Malformed("note: expected an object")
        if not 0 < len(account) < 100:
            raise Malformed("shop: expected an id")
        match event:
            case "pinned":
                return _wanted(note, account)
            case "edited":
                told = _read(note, account)
                if isinstance(told, Unreadable):
                    raise Malformed(told.reason)
                return told
            case "taken_down":
                return _deletion(note, account)
        return Ignored(reason=f"the event {event!r} is not known")

    async def fetch(self, wanted: Sequence[Wanted]) -> Sequence[RawPage]:
        pages = []
        for item in wanted:
            try:
                body = await self._get(f"/notes/{item.ref}")
            except Gone:
                pages.append(RawPage(b"", gone=[item.ref]))
                continue
            page = json.dumps({"notes": [json.loads(body)]}).encode()
            pages.append(RawPage(page, note={"account": self.config.shop}, answers=[item.ref]))
        return pages

    async def poll(self, stream: str, cursor: dict[str, Any] | None) -> Page:
        if stream not in self.capabilities.streams:
            raise Rejected(f"there is no stream {stream}", code="no_stream")
        cursor = dict(cursor or {})
        began = cursor.get("began") or (self.setup.time.now() - OVERLAP).isoformat()
        asked = {"private": str(stream == "letters").lower()}
        asked |= {"since": cursor["since"]} if "since" in cursor else {}
        asked |= {"page": cursor["page"]} if "page" in cursor else {}
        body = await self._get("/notes", asked)
        answer = parse_object(body)
        if not isinstance(answer.get("notes"), list):
            raise Malformed("notes: expected a list")
        pages = [RawPage(body, stream=stream, note={"account": self.config.shop})] if answer["notes"] else []
        if answer.get("next"):
            return Page(pages, {**cursor, "began": began, "page": answer["next"]}, more=True)
        return Page(pages, {"since": began})

    # out

    def render(self, draft: Draft) -> Rendered:
        target, text = draft.target, draft.text
        if not text.strip():
            raise Rejected("the answer is empty", code="empty", field="text")
        if (target.kind == "direct_message") != (draft.visibility == "private"):
            raise Rejected("letters are private and notes are public", code="wrong_visibility")
        return Rendered(
            text=text,
            account=draft.account,
            target=target,
            visibility=draft.visibility,
            body={"text": text, "to": target.ref, "private": draft.visibility == "private"},
            length=length(text, Counting.utf8_bytes),
            limit=LIMIT,
            counting=Counting.utf8_bytes,
        )

    async def send(self, rendered: Rendered, key: str) -> Sent:
        response = await self._call("POST", "/notes", effect=True, json=rendered.body, headers={"x-key": key})
        made = json_object(response, effect=True)
        return Sent(external_id=str(made["id"]))

    async def find(self, intent: SendIntent) -> Any:
        since = intent.started_at - timedelta(minutes=1)
        body = parse_object(await self._get("/notes/own"))
        for one in body.get("notes", []):
            note = Note.model_validate(one)
            if note.written_at < since or str(note.to) != intent.rendered.target.ref:
                continue
            if note.text == intent.rendered.text:
                return Found(external_id=str(note.id))
        return Absent()

    async def retract(self, sent: Sent) -> None:
        try:
            await self._call("DELETE", f"/notes/{sent.external_id}", effect=False)
        except Gone:
            return

    async def amend(self, sent: Sent, rendered: Rendered) -> Sent:
        await self._call("PATCH", f"/notes/{sent.external_id}", effect=False, json={"text": rendered.text})
        return sent

    # set-up

    async def install(self, *, dry_run: bool) -> InstallReport:
        door = self.setup.door or ""
        hooks = parse_object(await self._get("/hooks"))["hooks"]
        if door in hooks:
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
        headers = {"authorization": f"Bearer {self.config.token.get_secret_value()}", **request.pop("headers", {})}
        return await call(
            self.http,
            method,
            self.config.base_url + path,
            effect=effect,
            now=self.setup.time.now(),
            headers=headers,
            **request,
        )


def _wanted(note: Mapping[str, Any], account: str) -> Wanted:
    id = note.get("id")
    if not isinstance(id, int):
        raise Malformed("note.id: expected a number")
    return Wanted(ref=str(id), account=account)


def _deletion(note: Mapping[str, Any], account: str) -> Deletion:
    return Deletion(external_id=_wanted(note, account).ref, account=account, by="author")


def _read(value: Any, account: str) -> Interaction | Unreadable:
    try:
        note = Note.model_validate(value)
    except ValidationError as error:
        return Unreadable(reason=f"a note cannot be read: {error.errors()[0]['type']}")
    if note.written_at.tzinfo is None:
        return Unreadable(reason="a note's time has no zone")
    try:
        return _interaction(note, account)
    except ValidationError:
        return Unreadable(reason="a note has values that are out of bounds")


def _interaction(note: Note, account: str) -> Interaction:
    kind: Any = "direct_message" if note.private else "comment" if note.to else "post"
    return Interaction(
        external_id=str(note.id),
        revision=(note.edited_at or note.written_at).isoformat(),
        account=account,
        kind=kind,
        visibility="private" if note.private else "public",
        direction="outbound" if str(note.author) == account else "inbound",
        author=Author(external_id=str(note.author), name=note.name),
        text=note.text.replace("\x00", ""),
        root=str(note.thread),
        in_reply_to=str(note.to) if note.to else None,
        reply_target=ReplyTarget(
            kind="direct_message" if note.private else "comment",
            ref=str(note.id),
            closes_at=note.written_at + WINDOW if note.private else None,
        ),
        published_at=note.written_at.astimezone(UTC),
        edited_at=note.edited_at,
    )
