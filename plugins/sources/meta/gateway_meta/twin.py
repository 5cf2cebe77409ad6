"""A local Meta: the Graph API as far as the plugin uses it, its webhooks, and people who comment and write.

    twin = MetaTwin(time=time)
    twin.add_page("acme")
    twin.add_user("jo.sample", name="Jo Sample")
    async with twin.serve() as url:
        ...  # an App with twin.app_config(), a connection with twin.connection_config("acme"), then install
        post = twin.post("acme", "Our autumn colours")
        comment = twin.post("jo.sample", "Is this available in blue?", post)
        await twin.settle()
        assert twin.published("acme")[-1].parent == comment

Both Graph APIs are at one address; which of them a call means is told by its token. A person has the same id at every
account, where Meta gives each account ids of its own.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Any, Literal

from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import BaseRoute, Route

from gateway_meta.twin_events import Events
from gateway_meta.twin_graph import Refusal, Wire
from gateway_meta.twin_login import LoginEndpoints
from gateway_meta.twin_nodes import Nodes
from gateway_meta.twin_reads import TOKEN_LIFE, Reads
from gateway_meta.twin_state import (
    State,
    TwinAccount,
    TwinComment,
    TwinMessage,
    TwinPerson,
    TwinPost,
    TwinRating,
    TwinToken,
)
from gateway_meta.twin_writes import Writes
from gateway_schemas.testing.rehearsal import Channel, Rehearsal
from gateway_schemas.testing.twin import Twin
from gateway_schemas.time import SystemTime, TimeSource


class MetaTwin(Twin):
    """Meta on loopback. Its knobs are plain attributes that a test may change at any time."""

    name = "meta"
    actions = (
        "post",
        "edit",
        "delete",
        "hide",
        "direct_message",
        "recommend",
        "revoke",
        "expire_tokens",
        "drop_subscriptions",
    )

    def __init__(self, *, time: TimeSource | None = None, seed: int = 0, human_agent: bool = False) -> None:
        self.app_id = "900100200300"
        self.app_secret = "twin-app-secret"
        self.instagram_app_secret = "twin-instagram-secret"
        self.verify_token = "twin-verify-token"
        self.human_agent = human_agent
        """Whether App Review granted the tag that opens the window for seven days."""
        self.require_proof = True
        """Whether calls need `appsecret_proof`, as an App may demand in its settings."""
        self.loopback_hooks = True
        """Whether webhooks may be on this machine; Meta itself wants https."""
        self.visibility_lag = timedelta()
        """How long a new comment or message is missing from lists."""
        self.flat: bool | None = None
        """Whether Instagram's changes come without a list around them; None: for accounts with a login of their own."""
        self.allowed: dict[str, int] = {"pages": 4800, "messenger": 4800, "instagram": 4800}
        """Calls an hour for each account, by kind."""
        self.answered: dict[str, str] = {}
        """By a comment's id what it was posted under, of which an answer to an answer is not a child."""
        self.managed: dict[str, list[str]] = {}
        """The accounts that a person manages."""
        self.instagram_logins: set[str] = set()
        self.state = State()
        self.state.tokens[f"{self.app_id}|{self.app_secret}"] = TwinToken("app", self.app_id)
        self.events = Events(self)
        self.nodes = Nodes(self)
        self.wire = Wire(self)
        self.reads = Reads(self)
        self.writes = Writes(self)
        time = time or SystemTime()
        self.login = LoginEndpoints(self, time)
        super().__init__(time=time, seed=seed)

    def routes(self) -> Sequence[BaseRoute]:
        """Facebook Login, and one door for the whole graph."""
        return [
            *self.login.routes(),
            Route("/{version:str}/{path:path}", self._graph, methods=["GET", "POST", "DELETE"]),
        ]

    async def _graph(self, request: Request) -> Response:
        headers: dict[str, str] = {}
        try:
            call = await self.wire.call(request, request.path_params["version"], request.path_params["path"])
            headers = self.wire.usage(call)
            answer = self.reads.answer(call) if request.method == "GET" else await self.writes.answer(call)
        except Refusal as refusal:
            return JSONResponse(refusal.body, refusal.status, {**headers, **refusal.headers})
        return JSONResponse(answer, headers=headers)

    # people and accounts

    def add_user(self, username: str, *, id: str | None = None, name: str | None = None) -> TwinPerson:
        """Somebody with an account."""
        id = id or str(7_700_000_000 + self.state.number())
        person = TwinPerson(id, name or username, username)
        self.state.people[id] = person
        return person

    def add_page(self, username: str, *, id: str | None = None, name: str | None = None) -> TwinAccount:
        """A company's Page; its manager's token is `twin-user-token`."""
        id = id or str(100_000_000 + self.state.number())
        return self._account(TwinAccount(id, "page", name or username, username, f"EAtwin-page-{id}"))

    def add_instagram(
        self, username: str, *, id: str | None = None, name: str | None = None, page: str | None = None
    ) -> TwinAccount:
        """A company's Instagram account, linked to a Page or with a login of its own."""
        id = id or str(17_841_400_000_000_000 + self.state.number())
        owner = self.state.account(page) if page else None
        token = owner.token if owner else f"IGtwin-{id}"
        account = TwinAccount(id, "instagram", name or username, username, token, page=owner.id if owner else None)
        if owner is not None:
            owner.instagram = id
        else:
            self.instagram_logins.add(id)
        return self._account(account)

    def _account(self, account: TwinAccount) -> TwinAccount:
        self.state.accounts[account.id] = account
        if account.page is None:
            login = account.id in self.instagram_logins
            until = self.time.now() + TOKEN_LIFE if login else None
            self.state.tokens[account.token] = TwinToken(
                "account", account.id, expires_at=until, made_at=self.time.now()
            )
        self.state.tokens.setdefault("twin-user-token", TwinToken("person", "manager"))
        self.managed.setdefault("manager", []).append(account.id)
        return account

    def scopes(self, who: str) -> set[str]:
        """What an account's token may do; a test may take some away."""
        return self.state.tokens[self.state.account(who).token].scopes

    def sign_in(self, person: str | None) -> None:
        """Who is signed in, in the browser that comes to the login dialog: `manager` manages all accounts."""
        self.login.server.person = person

    def revoke(self, who: str, *, subcode: int = 458) -> None:
        """The account takes the App's access away: its token is refused from now on."""
        self.state.tokens[self.state.account(who).token].dead = subcode

    def expire_tokens(self, who: str) -> None:
        """The account's token ends now."""
        self.state.tokens[self.state.account(who).token].expires_at = self.time.now()

    def drop_subscriptions(self, who: str | None = None) -> None:
        """Meta loses the App's subscription at an account, or at all."""
        for account in self.state.accounts.values():
            if who is None or account is self.state.account(who):
                account.subscribed = None

    # what people do

    def post(
        self,
        author: str,
        text: str,
        in_reply_to: str | None = None,
        *,
        on: str | None = None,
        mentions: str | None = None,
        picture: str | None = None,
        at: datetime | None = None,
        live: bool = False,
    ) -> str:
        """Somebody, or the company in Meta's own app, posts or comments; the new thing's id.

        `in_reply_to` is a post, media, comment or recommendation. A post is on the Page `on`, on the author's own, or
        elsewhere; `mentions` is an account that it names.
        """
        person = self._who(author)
        named = self.state.account(mentions).id if mentions else None
        if in_reply_to is not None:
            parent = self.state.comments.get(in_reply_to)
            under = parent.post if parent else in_reply_to
            layer = (parent.parent or parent.id) if parent else None
            made = self.add_comment(
                author=person, post=under, parent=layer, text=text, picture=picture, at=at, mentions=named, live=live
            )
            return made.id
        return self._publish(person, text, on, named, picture, at)

    def _publish(
        self, author: str, text: str, on: str | None, named: str | None, picture: str | None, at: datetime | None
    ) -> str:
        now = self.time.now()
        account = self.state.accounts.get(author)
        place = self.state.account(on).id if on else author
        mentioned = self.state.accounts.get(named or "")
        instagram = (account is not None and account.platform == "instagram") or (
            mentioned is not None and mentioned.platform == "instagram"
        )
        number = self.state.number()
        id = str(18_000_000_000_000_000 + number) if instagram else f"{place}_{500_000 + number}"
        created = at or now
        post = TwinPost(
            id,
            "instagram" if instagram else "page",
            author,
            place,
            text,
            created,
            now,
            created,
            picture=picture,
            mentions=named,
        )
        self.state.posts[id] = post
        self.effect("post", id, author=author, text=text, place=place)
        self.events.post(post, "add")
        return id

    def add_comment(
        self,
        *,
        author: str,
        post: str,
        parent: str | None,
        text: str,
        picture: str | None = None,
        at: datetime | None = None,
        mentions: str | None = None,
        live: bool = False,
        by_api: bool = False,
    ) -> TwinComment:
        """Make a comment, write it to the ledger and tell of it."""
        now = self.time.now()
        under = self.state.posts.get(post)
        platform: Literal["page", "instagram"] = under.platform if under else "page"
        number = self.state.number()
        id = f"{post.split('_')[-1]}_{900 + number}"
        if platform == "instagram":
            id = str(17_860_000_000_000_000 + number)
        comment = TwinComment(
            id,
            platform,
            post,
            parent,
            author,
            text,
            at or now,
            now,
            picture=picture,
            mentions=mentions,
            live=live,
            by_api=by_api,
        )
        self.state.comments[id] = comment
        if under is not None:
            under.updated_at = max(under.updated_at, now)
        how = "api" if by_api else "app"
        self.effect("comment", id, author=author, post=post, parent=parent, text=text, by=how)
        self.events.comment(comment, "add")
        return comment

    def recommend(
        self,
        author: str,
        page: str,
        text: str,
        *,
        positive: bool = False,
        with_story: bool = True,
        at: datetime | None = None,
    ) -> str:
        """Somebody recommends a Page, or does not; the id of the recommendation's story."""
        story = str(4_400_000_000 + self.state.number())
        now = self.time.now()
        rating = TwinRating(
            story,
            self.state.account(page).id,
            self._who(author),
            "POSITIVE" if positive else "NEGATIVE",
            text,
            at or now,
            now,
            with_story=with_story,
        )
        self.state.ratings[story] = rating
        self.effect("rating", story, author=rating.author, verdict=rating.kind, text=text)
        self.events.rating(rating, "add")
        return story

    def edit(self, id: str, text: str) -> None:
        """The author changes a post, a comment on a Page, a recommendation or a message."""
        if id in self.state.messages:
            message = self.state.messages[id]
            message.text, message.edits = text, message.edits + 1
            self.events.edited(message)
        elif id in self.state.ratings:
            self.state.ratings[id].text = text
            self.events.rating(self.state.ratings[id], "edited")
        elif id in self.state.comments:
            if self.state.comments[id].platform == "instagram":
                raise ValueError("nobody can change a comment on Instagram")
            self.state.comments[id].text = text
            self.events.comment(self.state.comments[id], "edited")
        else:
            self.state.posts[id].text = text
            self.events.post(self.state.posts[id], "edited")
        self.effect("edit", id, text=text)

    def delete(self, id: str) -> None:
        """A post, comment, recommendation or message is taken away."""
        if id in self.state.messages:
            self.state.messages[id].deleted = True
            self.events.unsent(self.state.messages[id])
        elif id in self.state.ratings:
            self.state.ratings[id].deleted = True
            self.events.rating(self.state.ratings[id], "remove")
        elif id in self.state.comments:
            self.state.comments[id].deleted = True
            self.events.comment(self.state.comments[id], "remove")
        else:
            self.state.posts[id].deleted = True
            self.events.post(self.state.posts[id], "remove")
        self.effect("delete", id)

    def hide(self, id: str, *, hidden: bool = True) -> None:
        """A comment is hidden, or shown again."""
        comment = self.state.comments[id]
        comment.hidden = hidden
        self.effect("hide" if hidden else "unhide", id)
        self.events.comment(comment, "hide" if hidden else "unhide")

    def direct_message(
        self, sender: str, recipient: str, text: str, *, picture: str | None = None, at: datetime | None = None
    ) -> str:
        """Somebody writes to an account, or the account to somebody in Meta's own app; the message's id."""
        if sender in self.state.people or any(one.username == sender for one in self.state.people.values()):
            account, person, own = self.state.account(recipient).id, self.state.person(sender).id, False
        else:
            account, person, own = self.state.account(sender).id, self.state.person(recipient).id, True
        return self.add_message(account, person, text, own=own, picture=picture, at=at).mid

    def add_message(
        self,
        account: str,
        person: str,
        text: str,
        *,
        own: bool,
        picture: str | None = None,
        at: datetime | None = None,
        by_api: bool = False,
    ) -> TwinMessage:
        """Make a message, write it to the ledger and tell of it."""
        now = self.time.now()
        instagram = self.state.accounts[account].platform == "instagram"
        mid = f"{'aWdfZAG1faXRlbToxOk' if instagram else 'm_Twin'}{self.state.number():06d}"
        message = TwinMessage(mid, account, person, own, text, at or now, now, picture=picture, by_api=by_api)
        self.state.messages[mid] = message
        how = "api" if by_api else "app"
        self.effect("dm", mid, account=account, person=person, own=own, text=text, by=how)
        self.events.message(message)
        return message

    def _who(self, who: str) -> str:
        try:
            return self.state.person(who).id
        except KeyError:
            return self.state.account(who).id

    # what came of it

    def published(self, who: str) -> list[TwinComment]:
        """An account's comments that are still there, oldest first."""
        id = self.state.account(who).id
        return [one for one in self.state.comments.values() if one.author == id and not one.deleted]

    def messages_from(self, who: str) -> list[TwinMessage]:
        """The messages an account sent, oldest first."""
        id = self.state.account(who).id
        return [one for one in self.state.messages.values() if one.account == id and one.own and not one.deleted]

    def app_config(self, **changes: Any) -> dict[str, Any]:
        """An App configuration that this twin accepts; call it while the twin is served."""
        return {
            "app_id": self.app_id,
            "app_secret": self.app_secret,
            "instagram_app_secret": self.instagram_app_secret,
            "verify_token": self.verify_token,
            "human_agent": self.human_agent,
            "base_url": self.url,
            "instagram_base_url": self.url,
            **changes,
        }

    def connection_config(self, who: str, **changes: Any) -> dict[str, Any]:
        """A connection configuration for one of the twin's accounts."""
        account = self.state.account(who)
        return {
            "platform": account.platform,
            "account_id": account.id,
            "page_id": account.page,
            "access_token": account.token,
            "media_hosts": [self.url],
            **changes,
        }

    def furnish(self) -> dict[str, Any]:
        """The brand acme, whose account is connected, and a customer rita."""
        self.add_page("acme")
        self.add_user("rita")
        return {"app": self.app_config(), "config": self.connection_config("acme")}

    def rehearsal(self) -> Rehearsal:
        """Rita comments on what the Page acme and its Instagram account acme.gram posted."""
        self.add_page("acme", name="Acme")
        self.add_instagram("acme.gram", name="Acme", page="acme")
        self.add_user("rita")
        return Rehearsal(
            [self._commented("Page acme", "acme"), self._commented("Instagram acme.gram", "acme.gram")],
            self.app_config(),
        )

    def _commented(self, title: str, who: str) -> Channel:
        post = self.post(who, "Our autumn colours")
        return Channel(
            title,
            self.connection_config(who),
            write=lambda text: self.post("rita", text, post),
            answers=lambda: [(one.parent or one.post, one.text) for one in self.published(who) if one.by_api],
        )

    def snapshot(self) -> dict[str, Any]:
        """Accounts, the newest posts, comments, recommendations and messages, and the App's webhooks."""
        state = self.state
        return {
            "accounts": [
                {"id": one.id, "platform": one.platform, "name": one.name, "subscribed": one.subscribed}
                for one in state.accounts.values()
            ],
            "posts": [
                {"id": one.id, "author": one.author, "text": one.text, "deleted": one.deleted}
                for one in list(state.posts.values())[-200:]
            ],
            "comments": [
                {
                    "id": one.id,
                    "post": one.post,
                    "author": state.named(one.author)[0],
                    "text": one.text,
                    "hidden": one.hidden,
                    "deleted": one.deleted,
                }
                for one in list(state.comments.values())[-200:]
            ],
            "recommendations": [
                {"story": one.story, "kind": one.kind, "text": one.text, "deleted": one.deleted}
                for one in state.ratings.values()
            ],
            "messages": [
                {"id": one.mid, "account": one.account, "person": one.person, "own": one.own, "text": one.text}
                for one in list(state.messages.values())[-200:]
            ],
            "webhooks": [
                {"object": one.object, "url": one.callback_url, "active": one.active} for one in state.webhooks.values()
            ],
        }
