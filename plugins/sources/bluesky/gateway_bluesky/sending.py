"""The way out: a reply is rendered, published, found again after an unknown outcome, and taken back."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

from gateway_bluesky import media
from gateway_bluesky.api import Api, named
from gateway_bluesky.config import BlueskyConfig
from gateway_bluesky.names import POSTS, is_post, message_parts, message_ref, moment, parse_uri, record_key, web_url
from gateway_bluesky.names import written as iso
from gateway_bluesky.payloads import several
from gateway_bluesky.reading import PAGE, Reader
from gateway_bluesky.richtext import facets
from gateway_schemas.errors import Gone, Hold, Rejected, Unknown
from gateway_schemas.files import FileStore
from gateway_schemas.length import Counting, length
from gateway_schemas.reply import Absent, Draft, FindResult, Found, Rendered, SendIntent, Sent

POST_LIMIT, POST_BYTES = 300, 3000
MESSAGE_LIMIT, MESSAGE_BYTES = 1000, 10_000
_MARGIN = timedelta(minutes=1)
"""How far the chat service's clock may be from ours."""
_REASONS = {
    "messages_disabled": "the customer takes no direct messages",
    "not_followed_by_sender": "the customer takes direct messages only of accounts that they follow",
    "blocked_actor": "the customer and the account have blocked each other",
    "blocked_subject": "the customer and the account have blocked each other",
    "convo_locked": "the conversation is locked",
    "recipient_not_found": "the customer's account is not there any more",
}


def render(config: BlueskyConfig, draft: Draft) -> Rendered:
    """The draft as it will be sent. Raises Rejected for what this target cannot carry."""
    target = draft.target
    if not draft.text.strip() and not draft.files:
        raise Rejected("the reply is empty", code="empty", field="text")
    handles = target.extra.get("handles") or (draft.interaction.reply_target or target).extra.get("handles") or {}
    found = facets(draft.text, handles if isinstance(handles, dict) else {})
    if target.kind == "direct_message":
        body, limits = _message(config, draft, found), (MESSAGE_LIMIT, MESSAGE_BYTES)
    elif target.kind in ("comment", "mention"):
        body, limits = _post(config, draft, found), (POST_LIMIT, POST_BYTES)
    else:
        raise Rejected(f"Bluesky has no answer of the kind {target.kind}", code="wrong_target")
    count, limit, counting = length(draft.text, Counting.graphemes), limits[0], Counting.graphemes
    size = length(draft.text, Counting.utf8_bytes)
    if size > limits[1] and count <= limit:
        count, limit, counting = size, limits[1], Counting.utf8_bytes  # few characters of many bytes: emoji families
    return Rendered(
        text=draft.text,
        account=draft.account,
        target=target,
        visibility=draft.visibility,
        files=draft.files,
        body=body,
        written_at=draft.written_at,
        length=count,
        limit=limit,
        counting=counting,
    )


def _post(config: BlueskyConfig, draft: Draft, found: list[dict[str, Any]]) -> dict[str, Any]:
    if draft.visibility != "public":
        raise Rejected("an answer to a post is public", code="wrong_visibility")
    media.check(draft.files)
    root, parent = (_strong(draft.target.extra.get(name)) for name in ("root", "parent"))
    if root is None or parent is None or parent["uri"] != draft.target.ref:
        raise Rejected("the target names no post and its version", code="no_target")
    record: dict[str, Any] = {"$type": POSTS, "text": draft.text, "reply": {"root": root, "parent": parent}}
    if draft.written_at is not None:
        record["createdAt"] = iso(draft.written_at)
    if found:
        record["facets"] = found
    if language := config.language or draft.interaction.language:
        record["langs"] = [language]
    if draft.files:
        record["embed"] = media.embed(draft.files)
    return {"repo": config.did, "collection": POSTS, "record": record}


def _message(config: BlueskyConfig, draft: Draft, found: list[dict[str, Any]]) -> dict[str, Any]:
    if draft.visibility != "private":
        raise Rejected("a direct message is private", code="wrong_visibility")
    if not config.direct_messages:
        raise Rejected("direct messages are switched off for this connection", code="no_messages")
    if not (draft.target.ref or draft.target.recipient):
        raise Rejected("the target names neither conversation nor recipient", code="no_target")
    if draft.files:
        reason = "direct messages at Bluesky go out as text only; put the file where a link can point to it"
        raise Rejected(reason, code="no_files", field="files")
    return {"message": {"text": draft.text, **({"facets": found} if found else {})}}


def _strong(value: Any) -> dict[str, str] | None:
    if not isinstance(value, dict) or not isinstance(value.get("cid"), str) or not isinstance(value.get("uri"), str):
        return None
    return {"uri": value["uri"], "cid": value["cid"]} if is_post(value["uri"]) else None


class Sender:
    """Sends for one account."""

    def __init__(self, api: Api, files: FileStore) -> None:
        self.api = api
        self.files = files
        self.reader = Reader(api)

    async def send(self, rendered: Rendered, key: str) -> Sent:
        """Publish exactly this. A post's record key comes from `key`, so that a repetition writes the same record.

        Raises GatewayError.
        """
        if rendered.target.kind == "direct_message":
            return await self._send_message(rendered)
        await self._look(rendered)
        await media.upload(self.api, self.files, rendered.files)
        rkey = record_key(key, rendered.written_at)
        record = rendered.body["record"]
        if "createdAt" not in record:
            record = {**record, "createdAt": iso(self.api.now())}
        body = {**rendered.body, "rkey": rkey, "record": record}
        # createRecord answers a key that exists with 500; putRecord writes it again, which changes nothing
        made = await self.api.post("com.atproto.repo.putRecord", body, effect=True)
        uri = made.get("uri")
        if not isinstance(uri, str) or uri != self._uri(rkey):
            raise Unknown("the server took the post and its answer does not name it", code="malformed")
        return Sent(external_id=uri, url=web_url(uri), sent_at=moment(record["createdAt"]))

    async def _look(self, rendered: Rendered) -> None:
        """The server takes answers to posts that are not there, so that is looked at first. Raises GatewayError."""
        ref = str(rendered.target.ref)
        parent = await self.reader.post(ref)
        if parent is None:
            raise Gone("the post that this answers is not shown any more", code="target_gone")
        viewer = parent.get("viewer")
        if isinstance(viewer, dict) and viewer.get("replyDisabled"):
            raise Rejected("the thread's author lets this account not answer there", code="replies_closed")
        if parent.get("cid") != rendered.body["record"]["reply"]["parent"]["cid"]:
            raise Hold("the post that this answers was changed meanwhile", code="target_changed")

    def _uri(self, rkey: str) -> str:
        return f"at://{self.api.did}/{POSTS}/{rkey}"

    async def _convo(self, rendered: Rendered) -> str:
        if rendered.target.ref:
            return rendered.target.ref
        parameters = (("members", str(rendered.target.recipient)),)
        _, answer = await self.api.get("chat.bsky.convo.getConvoForMembers", parameters, chat=True)
        convo = answer.get("convo")
        id = convo.get("id") if isinstance(convo, dict) else None
        if not isinstance(id, str) or not id:
            raise Rejected("the chat service names no conversation with the customer", code="no_convo")
        return id

    async def _send_message(self, rendered: Rendered) -> Sent:
        try:
            convo = await self._convo(rendered)
            body = {"convoId": convo, **rendered.body}
            made = await self.api.post("chat.bsky.convo.sendMessage", body, effect=True, chat=True)
        except Rejected as error:
            if (reason := _REASONS.get(named(error))) is not None:
                raise Rejected(reason, code=named(error)) from error
            raise
        if not isinstance(made.get("id"), str):
            raise Unknown("the chat service took the message and its answer does not name it", code="malformed")
        url = f"https://bsky.app/messages/{convo}"
        return Sent(external_id=message_ref(convo, made["id"]), url=url, sent_at=moment(made.get("sentAt")))

    # after an unknown outcome

    async def find(self, intent: SendIntent) -> FindResult:
        """Look the record up by its key, or through the conversation. Raises GatewayError."""
        rendered = intent.rendered
        if rendered.target.kind == "direct_message":
            return await self._find_message(rendered, intent)
        rkey = record_key(intent.key, rendered.written_at)
        parameters = (("repo", self.api.did), ("collection", POSTS), ("rkey", rkey))
        try:
            _, answer = await self.api.get("com.atproto.repo.getRecord", parameters)
        except Gone:
            return Absent()
        value = answer.get("value")
        at = moment(value.get("createdAt")) if isinstance(value, dict) else None
        return Found(external_id=self._uri(rkey), url=web_url(self._uri(rkey)), at=at)

    async def _find_message(self, rendered: Rendered, intent: SendIntent) -> FindResult:
        since = intent.started_at - _MARGIN
        convo = await self._convo(rendered)
        token: str | None = None
        while True:
            place = (("cursor", token),) if token is not None else ()
            parameters = (("convoId", convo), ("limit", str(PAGE)), *place)
            _, answer = await self.api.get("chat.bsky.convo.getMessages", parameters, chat=True)
            messages = [one for one in several(answer.get("messages")) if isinstance(one, dict)]
            for one in messages:
                at, sender = moment(one.get("sentAt")), one.get("sender")
                if at is None or at < since:
                    return Absent()
                own = isinstance(sender, dict) and sender.get("did") == self.api.did
                if own and one.get("text") == rendered.text and isinstance(one.get("id"), str):
                    url = f"https://bsky.app/messages/{convo}"
                    return Found(external_id=message_ref(convo, one["id"]), url=url, at=at)
            following = answer.get("cursor")
            if not messages or not isinstance(following, str) or following == token:
                return Absent()
            token = following

    # taking back

    async def retract(self, sent: Sent) -> None:
        """Delete a post of ours; one that is gone already is as it should be. Raises GatewayError."""
        if message_parts(sent.external_id) is not None:
            reason = "a direct message at Bluesky can be hidden from oneself only; the customer keeps it"
            raise Rejected(reason, code="no_delete")
        address = parse_uri(sent.external_id)
        if address is None or address.did != self.api.did or address.collection != POSTS:
            raise Rejected(f"{sent.external_id} is no post of this account", code="wrong_account")
        body = {"repo": self.api.did, "collection": POSTS, "rkey": address.rkey}
        await self.api.post("com.atproto.repo.deleteRecord", body, effect=False)
