"""The twin's GET: whose node or edge it is, which token may read it, what is shown of it."""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING

from gateway_meta.twin_graph import Asked, Call, Json, Refusal, invalid, listing, missing, page_of, parse_fields
from gateway_meta.twin_state import TwinAccount, TwinToken

if TYPE_CHECKING:
    from gateway_meta.twin import MetaTwin

TOKEN_LIFE = timedelta(days=60)


class Reads:
    """Everything that is read."""

    def __init__(self, twin: MetaTwin) -> None:
        self.twin = twin
        self.state = twin.state
        self.nodes = twin.nodes

    def answer(self, call: Call) -> Json:
        """One GET. Raises Refusal."""
        fields = parse_fields(call.text("fields") or "") if call.text("fields") else {}
        match call.path:
            case ("me", "accounts"):
                return self._accounts(call, fields)
            case ("debug_token",):
                return self._debug(call)
            case ("refresh_access_token",):
                return self._refresh(call)
            case ("me",):
                return self._account(call, call.me, fields)
            case (id,) if id in self.state.accounts:
                return self._account(call, id, fields)
            case (id,):
                return self._node(call, id, fields)
            case (app, "subscriptions") if app == self.twin.app_id:
                return self._webhooks(call)
            case (id, edge):
                return self._edge(call, id, edge, fields)
        raise missing("/".join(call.path))

    # accounts

    def acts_for(self, call: Call, id: str) -> TwinAccount:
        """The account a call is about, if its token is that account's, its Page's, or of a person who manages it."""
        account = self.state.accounts.get(id)
        if account is None:
            raise missing(id)
        mine = call.token.kind == "account" and call.me in (id, account.page)
        if not mine and not (call.token.kind == "person" and id in self.twin.managed.get(call.me, ())):
            raise missing(id)
        return account

    def _accounts(self, call: Call, fields: dict[str, Asked]) -> Json:
        if call.token.kind != "person":
            raise Refusal("(#100) Tried accessing nonexisting field (accounts) on node type (Page)", 100)
        call.needs("pages_show_list")
        pages = [id for id in self.twin.managed.get(call.me, ()) if self.state.accounts[id].platform == "page"]
        chosen, paging = page_of(pages, call.parameters)
        return listing([self._shown(self.state.accounts[id], fields, True) for id in chosen], paging)

    def _account(self, call: Call, id: str, fields: dict[str, Asked]) -> Json:
        account = self.acts_for(call, id)
        for name in ("mentioned_comment", "mentioned_media"):
            if name in fields:
                return self._mentioned(call, account, name, fields[name])
        return self._shown(account, fields, call.token.kind == "person" or call.me == id)

    def _shown(self, account: TwinAccount, fields: dict[str, Asked], with_token: bool) -> Json:
        known: Json = {"id": account.id, "name": account.name, "username": account.username}
        if account.platform == "page":
            known["access_token"] = account.token if with_token else None
            linked = self.state.accounts.get(account.instagram or "")
            known["instagram_business_account"] = (
                {"id": linked.id, "username": linked.username, "name": linked.name} if linked else None
            )
        else:
            known["user_id"] = account.id
        shown = {"id": account.id}
        for name in fields or {"name": Asked({}, None)}:
            if name not in known:
                node = "Page" if account.platform == "page" else "IGUser"
                raise Refusal(f"(#100) Tried accessing nonexisting field ({name}) on node type ({node})", 100)
            if known[name] is not None:
                shown[name] = known[name]
        return shown

    def _mentioned(self, call: Call, account: TwinAccount, name: str, asked: Asked) -> Json:
        call.needs("instagram_manage_comments")
        inner = asked.inner or {}
        if name == "mentioned_comment":
            comment = self.state.comments.get(asked.modifiers.get("comment_id", ""))
            if comment is None or comment.deleted or comment.mentions != account.id:
                raise missing(asked.modifiers.get("comment_id", ""))
            return {name: self.nodes.instagram_comment(comment, inner), "id": account.id}
        post = self.state.posts.get(asked.modifiers.get("media_id", ""))
        if post is None or post.deleted or post.mentions != account.id:
            raise missing(asked.modifiers.get("media_id", ""))
        return {name: self.nodes.media(post, inner), "id": account.id}

    # nodes and edges

    def _node(self, call: Call, id: str, fields: dict[str, Asked]) -> Json:
        if id in self.state.messages:
            message = self.state.messages[id]
            self.acts_for(call, message.account)
            self._may_message(call, message.account)
            return self.nodes.message(message, fields)
        if id in self.state.comments:
            comment = self.state.comments[id]
            owner = self.state.owner(comment)
            if comment.platform == "instagram":
                self._mine(call, owner, id)
                call.needs("instagram_manage_comments")
                return self.nodes.instagram_comment(comment, fields)
            if comment.mentions is None or call.me != comment.mentions:
                self._mine(call, owner, id)
            call.needs("pages_read_user_content")
            return self.nodes.comment(comment, fields)
        post = self.state.posts.get(id)
        if post is None:
            raise missing(id)
        if post.mentions is None or call.me != post.mentions or post.platform == "instagram":
            self._mine(call, post.place, id)
        if post.platform == "instagram":
            call.needs("instagram_basic")
            return self.nodes.media(post, fields)
        call.needs("pages_read_engagement")
        return self.nodes.post(post, fields)

    def _mine(self, call: Call, owner: str, id: str) -> None:
        account = self.state.accounts.get(owner)
        if account is None or call.me not in (owner, account.page):
            raise missing(id)

    def _may_message(self, call: Call, account: str) -> None:
        instagram = self.state.accounts[account].platform == "instagram"
        call.needs("instagram_manage_messages" if instagram else "pages_messaging")

    def _edge(self, call: Call, id: str, edge: str, fields: dict[str, Asked]) -> Json:
        if edge in ("comments", "replies"):
            return self._under(call, id, edge, fields)
        if edge == "messages":
            whose = id.split("_")[1] if id.count("_") == 2 else ""
            self.acts_for(call, whose)
            self._may_message(call, whose)
            return self.nodes.messages(id, call.parameters, fields)
        account = self.acts_for(call, id)
        match edge:
            case "subscribed_apps":
                return self._subscribed(account)
            case "conversations":
                return self._conversations(call, account, fields)
            case "media" if account.platform == "instagram":
                call.needs("instagram_basic")
                return self.nodes.medias(id, call.parameters, fields)
            case "feed" if account.platform == "page":
                call.needs("pages_read_engagement")
                return self.nodes.feed(id, call.parameters, fields)
            case "tagged" if account.platform == "page":
                call.needs("pages_read_user_content")
                return self.nodes.tagged(id, call.parameters, fields)
            case "ratings" if account.platform == "page":
                call.needs("pages_read_user_content")
                return self.nodes.ratings(id, call.parameters, fields)
        raise Refusal(f"(#100) Tried accessing nonexisting field ({edge})", 100)

    def _under(self, call: Call, id: str, edge: str, fields: dict[str, Asked]) -> Json:
        comment, post = self.state.comments.get(id), self.state.posts.get(id)
        if (comment is None or comment.deleted) and (post is None or post.deleted) and id not in self.state.ratings:
            raise missing(id)
        if comment is not None:
            owner, platform = self.state.owner(comment), comment.platform
        elif post is not None:
            owner, platform = post.place, post.platform
        else:
            owner, platform = self.state.ratings[id].page, "page"
        self._mine(call, owner, id)
        if platform == "instagram":
            call.needs("instagram_manage_comments")
            if (edge == "replies") != (comment is not None):
                raise Refusal(f"(#100) Tried accessing nonexisting field ({edge})", 100)
            return self.nodes.instagram_comments(id, call.parameters, fields)
        if edge == "replies":
            raise Refusal("(#100) Tried accessing nonexisting field (replies) on node type (Comment)", 100)
        call.needs("pages_read_user_content")
        return self.nodes.comments(id, call.parameters, fields)

    def _conversations(self, call: Call, account: TwinAccount, fields: dict[str, Asked]) -> Json:
        platform = call.text("platform") or ("instagram" if account.platform == "instagram" else "messenger")
        if platform not in ("messenger", "instagram"):
            raise invalid("Param platform must be one of {MESSENGER, INSTAGRAM}")
        id = account.id
        if account.platform == "page" and platform == "instagram":
            if account.instagram is None:
                raise invalid("The Page has no Instagram account")
            id = account.instagram
        self._may_message(call, id)
        return self.nodes.conversations(id, call.parameters, fields)

    # set-up

    def _subscribed(self, account: TwinAccount) -> Json:
        if account.subscribed is None:
            return {"data": []}
        return {"data": [{"id": self.twin.app_id, "name": "Twin App", "subscribed_fields": account.subscribed}]}

    def _webhooks(self, call: Call) -> Json:
        if call.token.kind != "app":
            raise Refusal("(#15) This method must be called with an app access_token.", 15)
        return {
            "data": [
                {
                    "object": one.object,
                    "callback_url": one.callback_url,
                    "active": one.active,
                    "fields": [{"name": name, "version": call.version} for name in one.fields],
                }
                for one in self.state.webhooks.values()
            ]
        }

    def _debug(self, call: Call) -> Json:
        token = self.state.tokens.get(str(call.parameters.get("input_token")))
        if token is None:
            return {"data": {"is_valid": False, "error": {"code": 190, "message": "Invalid OAuth access token."}}}
        expires = int(token.expires_at.timestamp()) if token.expires_at else 0
        return {
            "data": {
                "app_id": self.twin.app_id,
                "type": "PAGE" if token.kind == "account" else "USER",
                "is_valid": token.dead is None,
                "expires_at": expires,
                "data_access_expires_at": expires,
                "scopes": sorted(token.scopes),
            }
        }

    def _refresh(self, call: Call) -> Json:
        if call.me not in self.twin.instagram_logins or call.text("grant_type") != "ig_refresh_token":
            raise Refusal("Invalid grant_type", 100)
        now = self.twin.time.now()
        if call.token.made_at is not None and now - call.token.made_at < timedelta(hours=24):
            raise Refusal("(#100) The token is less than a day old", 100)
        account = self.state.accounts[call.me]
        account.token = f"IGtwin-{account.id}-{self.state.number()}"
        self.state.tokens[account.token] = TwinToken(
            "account", account.id, set(call.token.scopes), now + TOKEN_LIFE, made_at=now
        )
        seconds = int(TOKEN_LIFE.total_seconds())
        return {"access_token": account.token, "token_type": "bearer", "expires_in": seconds}
