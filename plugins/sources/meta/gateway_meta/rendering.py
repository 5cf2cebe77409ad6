"""An agent's answer in the form that Meta takes, with its length against Meta's limit."""

from __future__ import annotations

from typing import Any

from gateway_meta import media
from gateway_meta.config import MetaApp, MetaConfig
from gateway_meta.refusals import WINDOW_REASON
from gateway_meta.windows import PRIVATE_REPLY, messaging_window
from gateway_schemas.capabilities import TextLimit
from gateway_schemas.errors import Rejected
from gateway_schemas.interaction import ReplyTarget
from gateway_schemas.length import Counting, length
from gateway_schemas.reply import Draft, Rendered

PAGE_COMMENT = TextLimit(limit=8000, counting=Counting.code_points)
INSTAGRAM_COMMENT = TextLimit(limit=2200, counting=Counting.code_points)
MESSENGER_TEXT = TextLimit(limit=2000, counting=Counting.code_points)
INSTAGRAM_TEXT = TextLimit(limit=1000, counting=Counting.utf8_bytes)

_PRIVATE_REASON = "Meta takes a private reply for 7 days after the comment. Answer it in public."


def text_limits(config: MetaConfig) -> dict[str, TextLimit]:
    """The account's limits by the kind of target."""
    public = INSTAGRAM_COMMENT if config.instagram else PAGE_COMMENT
    if config.max_text is not None:
        public = public.model_copy(update={"limit": min(public.limit, config.max_text)})
    limits = {"comment": public, "mention": public}
    if config.messages:
        limits["direct_message"] = INSTAGRAM_TEXT if config.instagram else MESSENGER_TEXT
    return limits


def render(config: MetaConfig, app: MetaApp, draft: Draft) -> Rendered:
    """The draft as Meta will get it. Raises Rejected for what this target cannot carry, or carries no more."""
    if not draft.text.strip() and not draft.files:
        raise Rejected("the reply is empty", code="empty", field="text")
    if draft.target.kind == "direct_message":
        return _message(config, app, draft)
    if draft.target.kind in ("comment", "mention"):
        return _comment(config, draft)
    raise Rejected(f"Meta has no answer of the kind {draft.target.kind}", code="wrong_target")


def _comment(config: MetaConfig, draft: Draft) -> Rendered:
    target = draft.target
    if draft.visibility != "public":
        raise Rejected("an answer to a comment is public", code="wrong_visibility")
    if not target.ref:
        raise Rejected("the target names no comment", code="no_target")
    body: dict[str, Any] = {"message": draft.text}
    if config.instagram:
        if draft.files:
            reason = "comments on Instagram are text only; put the file where a link can point to it"
            raise Rejected(reason, code="no_files", field="files")
        if not draft.text.strip():
            raise Rejected("the reply is empty", code="empty", field="text")
        if target.extra.get("live"):
            raise Rejected("comments on a live video can be answered in private only", code="live_comment")
        if target.kind == "mention":
            body |= _mention(target)
    else:
        media.check(draft.files)
    return _rendered(draft, target, body, text_limits(config)["comment"])


def _mention(target: ReplyTarget) -> dict[str, Any]:
    """The parameters of `POST /{ig-user-id}/mentions`."""
    named = target.extra.get("media")
    if not isinstance(named, str) or not named:
        raise Rejected("Instagram did not tell the media of this mention, so it cannot be answered", code="no_target")
    return {"media_id": named} if named == target.ref else {"media_id": named, "comment_id": target.ref}


def _message(config: MetaConfig, app: MetaApp, draft: Draft) -> Rendered:
    if draft.visibility != "private":
        raise Rejected("a message is private", code="wrong_visibility")
    if not config.messages:
        reason = "messages are switched off for this account (`messages` of its configuration)"
        raise Rejected(reason, code="no_messages")
    if draft.files:
        reason = "messages go out as text only; put the file where a link can point to it"
        raise Rejected(reason, code="no_files", field="files")
    if draft.interaction.visibility == "public":
        target, recipient = _private_reply(draft)
        body: dict[str, Any] = {"recipient": recipient, "message": {"text": draft.text}}
    else:
        target = _open_target(app, draft)
        if not target.recipient:
            raise Rejected("the target names no recipient", code="no_target")
        body = {"recipient": {"id": target.recipient}, "message": {"text": draft.text}}
        if app.human_agent:
            # a person wrote this; the tag holds within the first day too, and it may leave later than it was written
            body |= {"messaging_type": "MESSAGE_TAG", "tag": "HUMAN_AGENT"}
        elif not config.instagram:
            body["messaging_type"] = "RESPONSE"
    return _rendered(draft, target, body, text_limits(config)["direct_message"])


def _open_target(app: MetaApp, draft: Draft) -> ReplyTarget:
    target = draft.target
    if target.closes_at is None and draft.interaction.edited_at is None:
        closes_at = draft.interaction.published_at + messaging_window(app.human_agent)
        target = target.model_copy(update={"closes_at": closes_at})
    _in_time(draft, target, WINDOW_REASON)
    return target


def _private_reply(draft: Draft) -> tuple[ReplyTarget, dict[str, Any]]:
    """The first private message to somebody who wrote in public: Meta knows them by what they wrote.

    "Private Replies": to comments on the account's posts and media, and to posts on the Page.
    """
    item = draft.interaction
    if item.subkind == "mention" or item.kind not in ("comment", "post"):
        reason = "Meta takes private replies to comments on the account's own posts and to posts on the Page only"
        raise Rejected(reason, code="no_private_reply")
    kind = "post_id" if item.kind == "post" else "comment_id"
    target = draft.target.model_copy(
        update={"closes_at": item.published_at + PRIVATE_REPLY, "extra": {"private_reply": item.external_id}}
    )
    _in_time(draft, target, _PRIVATE_REASON)
    return target, {kind: item.external_id}


def _in_time(draft: Draft, target: ReplyTarget, reason: str) -> None:
    if draft.written_at is not None and target.closes_at is not None and draft.written_at > target.closes_at:
        raise Rejected(reason, code="window_closed")


def closed_reason(target: ReplyTarget) -> str:
    """Why a message that was rendered in time is too late now."""
    return _PRIVATE_REASON if target.extra.get("private_reply") else WINDOW_REASON


def _rendered(draft: Draft, target: ReplyTarget, body: dict[str, Any], limit: TextLimit) -> Rendered:
    return Rendered(
        text=draft.text,
        account=draft.account,
        target=target,
        visibility=draft.visibility,
        files=draft.files,
        body=body,
        length=length(draft.text, limit.counting),
        limit=limit.limit,
        counting=limit.counting,
    )
