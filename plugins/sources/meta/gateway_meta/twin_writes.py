"""The twin's POST and DELETE: what Meta takes, refuses, and makes of it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from gateway_meta.twin_graph import Call, Json, Refusal, invalid, missing
from gateway_meta.twin_messages import MessageWrites
from gateway_meta.twin_state import TwinComment, TwinWebhook

if TYPE_CHECKING:
    from gateway_meta.twin import MetaTwin

PAGE_FIELDS = {
    "feed",
    "mention",
    "ratings",
    "messages",
    "message_edits",
    "message_reactions",
    "message_echoes",
    "messaging_postbacks",
    "messaging_handovers",
    "standby",
}
INSTAGRAM_FIELDS = {
    "comments",
    "live_comments",
    "mentions",
    "story_insights",
    "messages",
    "message_reactions",
    "message_edits",
    "messaging_seen",
    "messaging_postbacks",
    "messaging_referral",
    "messaging_optins",
    "standby",
}
_LONGEST = {"page": 8000, "instagram": 2200}


class Writes:
    """Everything that is changed."""

    def __init__(self, twin: MetaTwin) -> None:
        self.twin = twin
        self.state = twin.state
        self.messages = MessageWrites(twin)

    async def answer(self, call: Call) -> Json:
        """One POST or DELETE. Raises Refusal."""
        if call.request.method == "DELETE":
            return self._delete(call)
        match call.path:
            case (app, "subscriptions") if app == self.twin.app_id:
                return await self._webhook(call)
            case (id, "subscribed_apps"):
                return self._subscribe(call, id)
            case (id, "messages"):
                return self.messages.send(call, id)
            case (id, "comments"):
                return self._comment(call, id)
            case (id, "replies"):
                return self._reply(call, id)
            case (id, "mentions"):
                return self._mention(call, id)
            case (id, "photos"):
                return self._photo(call, id)
            case (id,):
                return self._change(call, id)
        raise missing("/".join(call.path))

    # Pages

    def _words(self, call: Call, platform: str, *, required: bool = True) -> str:
        text = call.text("message")
        if not text or not text.strip():
            if required:
                raise invalid("The parameter message is required")
            return ""
        if len(text) > _LONGEST[platform]:
            raise invalid(f"Param message must be at most {_LONGEST[platform]} characters long")
        return text

    def _comment(self, call: Call, id: str) -> Json:
        """A comment by the Page under a post, a comment, a recommendation, or where the Page is named."""
        comment = self.state.comments.get(id)
        post = self.state.posts.get(comment.post if comment else id)
        rating = self.state.ratings.get(comment.post if comment else id)
        if (comment and comment.deleted) or (post and post.deleted) or (rating and rating.deleted):
            raise missing(id)
        if post is None and rating is None:
            raise missing(id)
        if post is not None and post.platform == "instagram":
            raise missing(id)
        place = rating.page if rating else post.place if post else ""
        named = comment.mentions if comment else post.mentions if post else None
        if call.token.kind != "account" or call.me not in (place, named):
            raise Refusal("(#200) The user hasn't authorized the application to perform this action", 200, status=403)
        call.needs("pages_manage_engagement")
        photo = call.parameters.get("attachment_id")
        if photo is not None and self.state.photos.get(str(photo)) != call.me:
            raise invalid("Param attachment_id must be the id of a photo of this Page")
        text = self._words(call, "page", required=photo is None)
        parent = (comment.parent or comment.id) if comment else None
        picture = f"https://scontent.twin.example/{photo}.jpg" if photo else None
        made = self.twin.add_comment(
            author=call.me, post=comment.post if comment else id, parent=parent, text=text, picture=picture, by_api=True
        )
        self.twin.answered[made.id] = id
        return {"id": made.id}

    def _photo(self, call: Call, id: str) -> Json:
        if call.me != id:
            raise missing(id)
        if call.flag("published") is not False:
            raise invalid("The twin takes unpublished photos only")
        if not call.parameters.get("source"):
            raise Refusal("(#324) Requires upload file", 324)
        photo = str(9_300_000_000 + self.state.number())
        self.state.photos[photo] = id
        return {"id": photo}

    def _change(self, call: Call, id: str) -> Json:
        """Change the words of an own comment, or hide somebody's."""
        comment = self._theirs(call, id)
        hidden = call.flag("hide" if comment.platform == "instagram" else "is_hidden")
        if hidden is not None:
            call.needs(_managing(comment))
            if comment.author == call.me:
                raise Refusal("(#200) The comment cannot be hidden", 200, status=403)
            self.twin.hide(id, hidden=hidden)
            return {"success": True}
        if comment.platform == "instagram":
            raise invalid("Param hide is required")
        if comment.author != call.me:
            raise Refusal("(#200) Permissions error", 200, status=403)
        call.needs("pages_manage_engagement")
        self.twin.edit(id, self._words(call, "page"))
        return {"success": True}

    def _delete(self, call: Call) -> Json:
        if len(call.path) != 1:
            raise missing("/".join(call.path))
        comment = self._theirs(call, call.path[0])
        call.needs(_managing(comment))
        self.twin.delete(comment.id)
        return {"success": True}

    def _theirs(self, call: Call, id: str) -> TwinComment:
        """A comment by the caller, or on what is theirs."""
        comment = self.state.comments.get(id)
        if comment is None or comment.deleted:
            raise missing(id)
        owner = self.state.owner(comment)
        account = self.state.accounts.get(owner)
        mine = comment.author == call.me or (account is not None and call.me in (owner, account.page))
        if not mine:
            raise missing(id)
        return comment

    # Instagram

    def _instagram(self, call: Call, account: str) -> None:
        known = self.state.accounts.get(account)
        if known is None or call.me not in (account, known.page):
            raise missing(account)
        call.needs("instagram_manage_comments")

    def _reply(self, call: Call, id: str) -> Json:
        comment = self.state.comments.get(id)
        if comment is None or comment.deleted or comment.platform != "instagram":
            raise missing(id)
        owner = self.state.owner(comment)
        self._instagram(call, owner)
        if comment.hidden:
            raise Refusal("(#100) A hidden comment cannot be replied to", 100)
        if comment.live:
            raise Refusal("(#100) Comments on live videos cannot be replied to", 100)
        text = self._words(call, "instagram")
        parent = comment.parent or comment.id
        made = self.twin.add_comment(author=owner, post=comment.post, parent=parent, text=text, by_api=True)
        self.twin.answered[made.id] = id
        return {"id": made.id}

    def _mention(self, call: Call, account: str) -> Json:
        self._instagram(call, account)
        post = self.state.posts.get(call.text("media_id") or "")
        comment = self.state.comments.get(call.text("comment_id") or "")
        named = comment.mentions if comment else post.mentions if post else None
        if post is None or post.deleted or named != account or (comment is not None and comment.post != post.id):
            raise missing(call.text("comment_id") or call.text("media_id") or "")
        text = self._words(call, "instagram")
        parent = (comment.parent or comment.id) if comment else None
        made = self.twin.add_comment(author=account, post=post.id, parent=parent, text=text, by_api=True)
        self.twin.answered[made.id] = comment.id if comment else post.id
        return {"id": made.id}

    # set-up

    async def _webhook(self, call: Call) -> Json:
        if call.token.kind != "app":
            raise Refusal("(#15) This method must be called with an app access_token.", 15)
        object, url = call.text("object"), call.text("callback_url")
        names = [name for name in (call.text("fields") or "").split(",") if name]
        known = PAGE_FIELDS if object == "page" else INSTAGRAM_FIELDS if object == "instagram" else None
        if known is None:
            raise invalid("Param object must be one of {user, page, permissions, instagram}")
        self._known_fields(names, known)
        if not url or not (url.startswith("https://") or self.twin.loopback_hooks):
            raise Refusal("(#2200) The callback URL must be https", 2200)
        if not await self.twin.events.handshake(url, call.text("verify_token") or ""):
            message = "(#2200) Callback verification failed with the following errors: HTTP Status Code = 403"
            raise Refusal(message, 2200)
        self.state.webhooks[object or ""] = TwinWebhook(
            object or "", url, names, include_values=call.flag("include_values") is True
        )
        self.twin.effect("webhook", object or "", url=url, fields=names)
        return {"success": True}

    def _known_fields(self, names: Sequence[str], known: set[str]) -> None:
        unknown = [name for name in names if name not in known]
        if unknown or not names:
            raise invalid(f"Param fields must be one of {{{', '.join(sorted(known))}}}, got {unknown}")

    def _subscribe(self, call: Call, id: str) -> Json:
        account = self.state.accounts.get(id)
        if account is None or call.me != id:
            raise missing(id)
        call.needs("pages_manage_metadata" if account.platform == "page" else "instagram_basic")
        names = [name for name in (call.text("subscribed_fields") or "").split(",") if name]
        self._known_fields(names, PAGE_FIELDS if account.platform == "page" else INSTAGRAM_FIELDS)
        account.subscribed = names
        self.twin.effect("subscription", id, fields=names)
        return {"success": True}


def _managing(comment: TwinComment) -> str:
    return "instagram_manage_comments" if comment.platform == "instagram" else "pages_manage_engagement"
