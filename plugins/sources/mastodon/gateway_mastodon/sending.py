"""The way out: a reply is rendered, published, found again after an unknown outcome, changed, taken back."""

from __future__ import annotations

import re
from datetime import timedelta
from typing import Any

from pydantic import ValidationError

from gateway_mastodon import media
from gateway_mastodon.api import DELETE, Api
from gateway_mastodon.config import MastodonConfig
from gateway_mastodon.names import is_id, status_id, status_ref
from gateway_mastodon.payloads import Status
from gateway_mastodon.reading import POSTS
from gateway_mastodon.statuses import PUBLIC
from gateway_schemas.errors import Gone, Rejected, Unknown
from gateway_schemas.files import FileStore
from gateway_schemas.length import Counting, length
from gateway_schemas.plugin import StateStore
from gateway_schemas.reply import Absent, Draft, FindResult, Found, Rendered, SendIntent, Sent

_MARGIN = timedelta(minutes=1)
"""How far the server's clock may be from ours."""
_ADDRESS = re.compile(r"^[a-z0-9_]+([.-]+[a-z0-9_]+)*@[^\s@/]+$")


def render(config: MastodonConfig, draft: Draft) -> Rendered:
    """The draft as the server will get it. Raises Rejected for what this target cannot carry."""
    target, shown = draft.target, draft.interaction.extra
    media.check(config, draft.files)
    if not draft.text.strip() and not draft.files:
        raise Rejected("the reply is empty", code="empty", field="text")
    if target.kind not in ("comment", "mention", "direct_message"):
        raise Rejected(f"Mastodon has no answer of the kind {target.kind}", code="wrong_target")
    parent = target.ref or status_id(config.home, draft.interaction.external_id)
    if target.kind != "direct_message" and (parent is None or not is_id(parent)):
        raise Rejected("the target names no post", code="no_target")
    theirs = str(target.extra.get("visibility") or shown.get("visibility") or "direct")
    status = _addressed(config, draft)
    warning = str(target.extra.get("spoiler_text") or draft.interaction.title or "")
    body: dict[str, Any] = {"status": status, "visibility": _visibility(config, draft, theirs)}
    if parent is not None:
        body["in_reply_to_id"] = parent
    if warning:
        body |= {"spoiler_text": warning, "sensitive": True}
    if language := config.language or draft.interaction.language:
        body["language"] = language
    return Rendered(
        text=draft.text,
        account=draft.account,
        target=target,
        visibility=draft.visibility,
        files=draft.files,
        body=body,
        # the content warning counts too; in the text links have one length, and names go without their server
        length=length(warning, Counting.graphemes)
        + length(status, Counting.graphemes, reserved_url=config.url_length, short_mentions=True),
        limit=config.max_characters,
        counting=Counting.graphemes,
    )


def _visibility(config: MastodonConfig, draft: Draft, theirs: str) -> str:
    """Never wider than what is answered."""
    if draft.visibility == "public":
        if draft.target.kind == "direct_message":
            raise Rejected("a direct message is private", code="wrong_visibility")
        if theirs not in PUBLIC:
            raise Rejected("the post that this answers is not public", code="wrong_visibility")
        return config.public_answers if theirs == "public" else "unlisted"
    if theirs == "private" and draft.interaction.visibility == "private":
        return config.followers_only_answers
    return "direct"


def _addressed(config: MastodonConfig, draft: Draft) -> str:
    """The text with its reader's address before it, unless it has it: Mastodon tells only those whom a post names."""
    reader = draft.target.recipient
    if reader is None or reader == config.account:
        if draft.target.kind == "direct_message" and not draft.target.ref:
            raise Rejected("the target names neither post nor recipient", code="no_target")
        return draft.text
    if not _ADDRESS.match(reader.lower()):
        raise Rejected("the target's recipient is no address such as rita@example.social", code="no_target")
    name, _, domain = reader.partition("@")
    forms = {reader.lower()} | ({name.lower()} if domain.lower() == config.home else set())
    written = re.findall(r"(?<![\w/@])@([A-Za-z0-9_]+(?:[.-]+[A-Za-z0-9_]+)*(?:@[\w.-]+\w)?)", draft.text)
    if forms & {one.lower() for one in written}:
        return draft.text
    return f"@{reader} {draft.text}"


class Sender:
    """Sends for one account."""

    def __init__(self, api: Api, files: FileStore, state: StateStore) -> None:
        self.api = api
        self.home = api.config.home
        self.uploads = media.Uploads(api, files, state)

    async def send(self, rendered: Rendered, key: str) -> Sent:
        """Publish exactly this; for an hour the server answers the same key with the same post. Raises GatewayError."""
        body = await self._body(rendered)
        _, made = await self.api.change(
            "POST", "/api/v1/statuses", body, effect=True, headers={"idempotency-key": key}, expected=(200,)
        )
        sent = self._sent(made)
        await self.uploads.used(rendered.files)
        return sent

    async def amend(self, sent: Sent, rendered: Rendered) -> Sent:
        """Change a published post; who may see it cannot be changed. Raises GatewayError."""
        body = await self._body(rendered)
        keep = ("status", "spoiler_text", "sensitive", "language", "media_ids")
        changed = {"spoiler_text": "", "media_ids": []} | {key: body[key] for key in keep if key in body}
        # not an effect: writing the same again changes nothing
        path = f"/api/v1/statuses/{self._id(sent)}"
        _, made = await self.api.change("PUT", path, changed, effect=False, expected=(200,))
        await self.uploads.used(rendered.files)
        return self._sent(made)

    async def retract(self, sent: Sent) -> None:
        """Delete a post of ours; one that is gone already is as it should be. Raises GatewayError."""
        path = f"/api/v1/statuses/{self._id(sent)}"
        try:
            await self.api.change("DELETE", path, bucket=DELETE, effect=False, expected=(200,))
        except Gone:
            return

    async def _body(self, rendered: Rendered) -> dict[str, Any]:
        if not rendered.files:
            return rendered.body
        return {**rendered.body, "media_ids": await self.uploads.ids(rendered.files)}

    def _id(self, sent: Sent) -> str:
        id = status_id(self.home, sent.external_id)
        if id is None:
            raise Rejected(f"{sent.external_id} is no post of {self.home}", code="wrong_server")
        return id

    def _sent(self, made: dict[str, Any]) -> Sent:
        try:
            status = Status.model_validate(made)
        except ValidationError:
            raise Unknown("the server took the post and its answer does not show it", code="malformed") from None
        url = status.url or status.uri
        return Sent(external_id=status_ref(self.home, status.id), url=url, sent_at=status.created_at)

    # after an unknown outcome

    async def find(self, intent: SendIntent) -> FindResult:
        """Look through what the account published since the send began, by the text as it was written.

        Raises GatewayError.
        """
        since = intent.started_at - _MARGIN
        body = intent.rendered.body
        path = f"/api/v1/accounts/{self.api.config.account_id}/statuses"
        older: str | None = None
        while True:
            place = (("max_id", older),) if older is not None else ()
            listed = await self.api.listed(path, (("limit", str(POSTS)), ("exclude_reblogs", "true"), *place))
            for item in listed.items:
                try:
                    status = Status.model_validate(item)
                except ValidationError:
                    continue
                if status.created_at < since:
                    return Absent()
                # a parent that was deleted meanwhile is not named any more
                parent = status.in_reply_to_id in (None, body.get("in_reply_to_id"))
                if parent and status.visibility == body["visibility"] and await self._is(status, intent.rendered):
                    at, url = status.created_at, status.url or status.uri
                    return Found(external_id=status_ref(self.home, status.id), url=url, at=at)
            if not listed.items or listed.older in (None, older):
                return Absent()
            older = listed.older

    async def _is(self, status: Status, rendered: Rendered) -> bool:
        if len(status.media_attachments) != len(rendered.files):
            return False
        try:
            _, source = await self.api.get(f"/api/v1/statuses/{status.id}/source")
        except Gone:
            return False
        return str(source.get("text", "")).strip() == str(rendered.body["status"]).strip()
