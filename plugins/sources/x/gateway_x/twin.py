"""A local X: API v2 as far as the plugin uses it, the X Activity API, and people who post.

    twin = XTwin(time=time)
    brand = twin.add_brand("AcmeSupport")
    twin.add_user("rita_ex")
    async with twin.serve() as url:
        ...  # an App with twin.app_config(), a connection with twin.connection_config("AcmeSupport"), then install
        post = twin.post("rita_ex", "@AcmeSupport my parcel is stuck")
        await twin.settle()
        assert twin.published("AcmeSupport")[0].in_reply_to == post

Whom X tells what: a post goes to an account that it names (`post.mention.create`), that it answers directly
(`post.reply.create`) or quotes (`post.quote.create`), and may match several; an account's own posts and deletions go
to itself (`post.create`, `post.delete`). Other people's deletions are told to nobody. The twin puts no names before
replies by itself, so every name in a text counts as written, unless `post(…, implicit=True)` says that X put the
leading ones.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Any, Literal

from starlette.routing import BaseRoute

from gateway_schemas.testing.rehearsal import Channel, Rehearsal
from gateway_schemas.testing.twin import Twin
from gateway_schemas.time import SystemTime, TimeSource
from gateway_x.payloads import canonical_conversation
from gateway_x.twin_events import Events
from gateway_x.twin_http import Wire
from gateway_x.twin_json import Naming, iso
from gateway_x.twin_media import MediaEndpoints
from gateway_x.twin_messages import MessageEndpoints
from gateway_x.twin_posts import PostEndpoints
from gateway_x.twin_state import (
    State,
    TwinMedia,
    TwinMessage,
    TwinPost,
    TwinToken,
    TwinUser,
    leading_mentions,
    own_link,
    shown_text,
)
from gateway_x.twin_tokens import TOKEN_LIFE, TokenEndpoint
from gateway_x.twin_webhooks import WebhookEndpoints


class XTwin(Twin):
    """X on loopback. Its knobs are plain attributes that a test may change at any time."""

    name = "x"
    actions = ("post", "edit", "delete", "direct_message", "revoke", "expire_tokens", "drop_subscriptions")

    def __init__(
        self,
        *,
        time: TimeSource | None = None,
        seed: int = 0,
        tier: Literal["self_serve", "enterprise"] = "self_serve",
        naming: Naming = "tweet",
        limits: bool = True,
    ) -> None:
        time = time or SystemTime()
        self.tier = tier
        self.naming: Naming = naming
        self.limits = limits
        """Whether X's rate limits are enforced."""
        self.consumer_secret = "twin-consumer-secret"
        self.bearer_token = "twin-app-token"
        self.client_id = "twin-client"
        self.client_secret: str | None = None
        """The secret of a confidential client; None: the client is public."""
        self.owner_user_id: str | None = None
        """The account that owns the App: its own timelines cost a fifth."""
        self.visibility_lag = timedelta()
        """How long a new post is missing from timelines and search."""
        self.loopback_hooks = True
        """Whether webhooks may be on this machine; X itself wants https without a port."""
        self.state = State(time)
        self.wire: Wire = Wire(self)
        self.events: Events = Events(self)
        self.hooks = WebhookEndpoints(self)
        self.renewals = TokenEndpoint(self, time)
        self.media = MediaEndpoints(self)
        self.endpoints = (PostEndpoints(self), MessageEndpoints(self), self.hooks, self.media)
        super().__init__(time=time, seed=seed)

    def routes(self) -> Sequence[BaseRoute]:
        """X's endpoints."""
        routes: list[BaseRoute] = [route for endpoints in self.endpoints for route in endpoints.routes()]
        return [*routes, *self.renewals.routes()]

    def furnish(self) -> dict[str, Any]:
        """The brand AcmeSupport, whose account is connected, and a customer rita_ex."""
        self.add_brand("AcmeSupport", name="Acme Support")
        self.add_user("rita_ex", name="Rita Example")
        return {"app": self.app_config(), "config": self.connection_config("AcmeSupport")}

    def rehearsal(self) -> Rehearsal:
        """Rita mentions AcmeSupport."""
        furnished = self.furnish()
        channel = Channel(
            "@AcmeSupport",
            furnished["config"],
            write=lambda text: self.post("rita_ex", f"@AcmeSupport {text}"),
            answers=lambda: [
                (post.in_reply_to or "", post.written) for post in self.published("AcmeSupport") if post.by_api
            ],
        )
        return Rehearsal([channel], furnished["app"])

    # people

    def add_user(
        self,
        username: str,
        *,
        id: str | None = None,
        name: str | None = None,
        verified: bool = False,
        protected: bool = False,
        followers: int = 0,
        dms_open: bool = True,
    ) -> TwinUser:
        """Somebody with an account. Raises ValueError when the id or handle is taken."""
        return self.state.add_user(
            TwinUser(
                id=id or self.state.new_user_id(),
                username=username,
                name=name or username,
                created_at=self.time.now(),
                verified=verified,
                protected=protected,
                followers=followers,
                dms_open=dms_open,
            )
        )

    def add_brand(
        self,
        username: str,
        *,
        id: str | None = None,
        name: str | None = None,
        token: str | None = None,
        premium: bool = False,
        refreshable: bool = False,
    ) -> TwinUser:
        """A company's account that the App may act for. A refreshable token lives two hours, another one for ever."""
        user = self.add_user(username, id=id, name=name, verified=True)
        user.premium = premium
        user.token = token or f"twin-user-token-{user.id}"
        self.state.tokens[user.token] = TwinToken(user.id, self.time.now() + TOKEN_LIFE if refreshable else None)
        if refreshable:
            self.state.refresh_tokens[f"twin-refresh-token-{user.id}"] = user.id
        return user

    def sign_in(self, who: str | None) -> None:
        """Who is signed in, in the browser that comes to the consent page."""
        self.renewals.server.person = who

    def revoke(self, who: str) -> None:
        """The user takes the App's access away: tokens stop, callbacks are told."""
        user = self.state.user(who)
        self.renewals.forget(user.id)
        self.events.tell_revoked(user.id)

    def expire_tokens(self, who: str) -> None:
        """The user's access tokens stop working now; refresh tokens do not."""
        user_id = self.state.user(who).id
        for token in self.state.tokens.values():
            if token.user_id == user_id:
                token.expires_at = self.time.now()

    def drop_subscriptions(self, who: str | None = None) -> int:
        """X loses the subscriptions of a user, or all; how many there were."""
        user_id = self.state.user(who).id if who else None
        lost = [item for item in self.events.subscriptions.values() if user_id in (None, item.user_id)]
        for subscription in lost:
            self.events.drop(subscription)
        return len(lost)

    async def revalidate(self) -> bool:
        """X's own periodic challenge of every callback; whether all are in force."""
        for webhook in self.events.webhooks.values():
            webhook.valid = await self.hooks.challenge(webhook.url)
        return all(webhook.valid for webhook in self.events.webhooks.values())

    # what people do

    def post(
        self,
        author: str,
        text: str,
        in_reply_to: str | None = None,
        *,
        quote: str | None = None,
        at: datetime | None = None,
        id: str | None = None,
        media: Sequence[TwinMedia] = (),
        lang: str = "en",
        implicit: bool = False,
    ) -> str:
        """Somebody (handle or id) posts in X's own app; the new post's id, made from the time unless given.

        `at` dates the post; it is told to subscribers now in any case. Raises KeyError for unknown people or posts.
        """
        post = self.publish(
            self.state.user(author).id,
            text,
            in_reply_to=self.state.posts[in_reply_to] if in_reply_to else None,
            quote=self.state.posts[quote] if quote else None,
            at=at,
            id=id,
            media=tuple(media),
            lang=lang,
            implicit=implicit,
        )
        return post.id

    def edit(self, id: str, text: str, *, at: datetime | None = None) -> str:
        """The author edits: a new version under a new id, which carries the ids of all before; the new id."""
        old = self.state.latest(self.state.posts[id])
        return self.publish(old.author, text, quote=self.state.posts.get(old.quotes or ""), at=at, edits=old).id

    def delete(self, id: str, *, by_api: bool = False) -> None:
        """The author deletes a post, and with it every version."""
        post = self.state.posts[id]
        for version in post.history:
            self.state.posts[version].deleted = True
        self.effect("delete", id, what="post", author=post.author, by="api" if by_api else "app")
        self.events.tell_deleted(post)

    def direct_message(
        self, sender: str, recipient: str, text: str, *, at: datetime | None = None, id: str | None = None
    ) -> str:
        """Somebody writes to somebody in X's own app; the message's id."""
        return self.deliver_message(self.state.user(sender).id, self.state.user(recipient).id, text, at=at, id=id).id

    # what came of it

    def published(self, who: str) -> list[TwinPost]:
        """A user's posts that are still there, at their newest version, oldest first."""
        ids = self.state.posts_by_author.get(self.state.user(who).id, [])
        posts = (self.state.posts[str(number)] for number in ids)
        return [post for post in posts if not post.deleted and post.history[-1] == post.id]

    def messages_from(self, who: str) -> list[TwinMessage]:
        """The messages a user sent, oldest first."""
        user = self.state.user(who).id
        messages = (self.state.messages[str(number)] for number in self.state.messages_by_user.get(user, []))
        return [message for message in messages if message.sender == user and not message.deleted]

    def app_config(self, **changes: Any) -> dict[str, Any]:
        """An App configuration that this twin accepts; call it while the twin is served."""
        return {
            "consumer_secret": self.consumer_secret,
            "bearer_token": self.bearer_token,
            "client_id": self.client_id,
            "client_secret": self.client_secret,
            "base_url": self.url,
            "tier": self.tier,
            **changes,
        }

    def connection_config(self, who: str, **changes: Any) -> dict[str, Any]:
        """A connection configuration for one of the twin's brands."""
        user = self.state.user(who)
        refresh = f"twin-refresh-token-{user.id}"
        return {
            "user_id": user.id,
            "username": user.username,
            "access_token": user.token or "none",
            "refresh_token": refresh if refresh in self.state.refresh_tokens else None,
            "premium": user.premium,
            "base_url": self.url,
            "media_hosts": [self.url],
            **changes,
        }

    def picture(self, body: bytes, media_type: str = "image/jpeg", *, alt_text: str | None = None) -> TwinMedia:
        """A picture for `post(…, media=…)`, which can be fetched while the twin is served."""
        name = f"E{len(self.media.contents)}.{media_type.rpartition('/')[2]}"
        self.media.contents[name] = (body, media_type)
        return TwinMedia(f"3_{self.state.new_id(self.time.now())}", f"{self.url}/media/{name}", alt_text)

    def snapshot(self) -> dict[str, Any]:
        """Users, the newest posts and messages, callbacks and the bill."""
        return {
            "users": [{"id": user.id, "username": user.username} for user in self.state.users.values()],
            "posts": [
                {
                    "id": post.id,
                    "author": self.state.users[post.author].username,
                    "text": post.written,
                    "in_reply_to": post.in_reply_to,
                    "at": iso(post.created_at),
                    "deleted": post.deleted,
                }
                for post in list(self.state.posts.values())[-200:]
            ],
            "messages": [
                {"id": item.id, "from": item.sender, "to": item.recipient, "text": item.text}
                for item in list(self.state.messages.values())[-200:]
            ],
            "webhooks": [{"url": item.url, "valid": item.valid} for item in self.events.webhooks.values()],
            "subscriptions": [f"{item.event_type} {item.user_id}" for item in self.events.subscriptions.values()],
            "spent_usd": str(self.wire.spent),
        }

    # what both people and the API do

    def publish(
        self,
        author: str,
        text: str,
        *,
        in_reply_to: TwinPost | None = None,
        quote: TwinPost | None = None,
        at: datetime | None = None,
        id: str | None = None,
        media: tuple[TwinMedia, ...] = (),
        lang: str = "en",
        implicit: bool = False,
        edits: TwinPost | None = None,
        by_api: bool = False,
    ) -> TwinPost:
        """Make a post or a new version of one, write it to the ledger and tell subscribers."""
        now = self.time.now()
        id = id or self.state.new_id(at or now)
        shown, links = shown_text(text)
        if media:
            # X shows the pictures of a post by a link at its end
            link = own_link(f"https://x.com/{self.state.users[author].username}/status/{id}/photo/1", len(shown))
            shown, links = f"{shown} {link.short}".lstrip(), (*links, link)
        thread = in_reply_to or edits
        history = edits.history if edits else []
        history.append(id)
        post = self.state.add_post(
            TwinPost(
                id=id,
                author=author,
                written=text,
                text=shown,
                links=links,
                mentions=self.state.mentioned(text),
                created_at=at or now,
                indexed_at=now,
                conversation=thread.conversation if thread else id,
                in_reply_to=in_reply_to.id if in_reply_to else edits.in_reply_to if edits else None,
                quotes=quote.id if quote else None,
                history=history,
                media=media,
                lang=lang,
                implicit=leading_mentions(text) if implicit else 0,
                by_api=by_api,
            )
        )
        self.effect(
            "edit" if edits else "post",
            id,
            author=author,
            handle=self.state.users[author].username,
            in_reply_to=post.in_reply_to,
            quotes=post.quotes,
            text=text,
            by="api" if by_api else "app",
        )
        self.events.tell_post(post)
        return post

    def deliver_message(
        self,
        sender: str,
        recipient: str,
        text: str,
        *,
        at: datetime | None = None,
        id: str | None = None,
        by_api: bool = False,
    ) -> TwinMessage:
        """Make a message, write it to the ledger and tell both sides."""
        created = at or self.time.now()
        message = self.state.add_message(
            TwinMessage(
                id=id or self.state.new_id(created),
                conversation=canonical_conversation(sender, recipient),
                sender=sender,
                recipient=recipient,
                text=text,
                created_at=created,
                by_api=by_api,
            )
        )
        self.effect(
            "dm",
            message.id,
            author=sender,
            handle=self.state.users[sender].username,
            recipient=recipient,
            conversation=message.conversation,
            text=text,
            by="api" if by_api else "app",
        )
        self.events.tell_message(message)
        return message
