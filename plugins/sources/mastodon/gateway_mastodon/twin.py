"""A local Mastodon server: its client API as far as the plugin uses it, and people here and elsewhere who post.

    twin = MastodonTwin(time=time)
    twin.add_brand("support")
    twin.add_user("rita@example.social")
    async with twin.serve() as url:
        ...  # a connection with twin.connection_config("support")
        post = twin.post("rita@example.social", "@support@masto.acme.example my login fails")
        assert twin.published("support")[0].in_reply_to == post

Who is told what: a post tells those of the server's accounts that it names (`mention`) and whose post it quotes
(`quote`); an answer that does not name the account tells nobody. A deleted post's notifications go with it, and the
stream tells `delete` to whoever was told of it. An edit is told on the stream only.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Any

from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import BaseRoute, Route

from gateway_mastodon.twin_http import Wire
from gateway_mastodon.twin_json import Json, Shown, iso
from gateway_mastodon.twin_media import TYPES, MediaEndpoints
from gateway_mastodon.twin_state import State, TwinAccount, TwinMedia, TwinNotification, TwinPost, TwinVersion
from gateway_mastodon.twin_statuses import StatusEndpoints
from gateway_mastodon.twin_streaming import Streams
from gateway_mastodon.twin_tokens import TokenEndpoints
from gateway_schemas.testing.rehearsal import Channel, Rehearsal
from gateway_schemas.testing.twin import Twin
from gateway_schemas.time import SystemTime, TimeSource

SCOPES = frozenset({"read:accounts", "read:notifications", "read:statuses", "write:statuses", "write:media"})


class MastodonTwin(Twin):
    """Mastodon on loopback. Its knobs are plain attributes that a test may change at any time."""

    name = "mastodon"
    actions = (
        "post",
        "edit",
        "delete",
        "direct_message",
        "boost",
        "revoke",
    )

    def __init__(
        self,
        *,
        time: TimeSource | None = None,
        seed: int = 0,
        domain: str = "masto.acme.example",
        limits: bool = True,
    ) -> None:
        time = time or SystemTime()
        self.domain = domain
        self.limits = limits
        """Whether rate limits are enforced and told."""
        self.max_characters = 500
        self.url_length = 23
        self.max_media = 4
        self.image_bytes = 16_777_216
        self.video_bytes = 103_809_024
        self.processing = 0
        """How many looks an upload takes until it is processed."""
        self.filter_strangers = True
        """Whether the account's owner has the server hide what strangers mention it in."""
        self.notification_lag = timedelta()
        """How long after its id was given out a notification can be read."""
        self.streaming = True
        self.state = State(time, domain)
        self.shown = Shown(self.state, f"https://{domain}")
        self.wire = Wire(self)
        self.streams = Streams(self)
        self.media = MediaEndpoints(self)
        self.statuses = StatusEndpoints(self)
        self.consent = TokenEndpoints(self, time)
        super().__init__(time=time, seed=seed)

    def routes(self) -> Sequence[BaseRoute]:
        """Mastodon's endpoints."""
        routes = [*self.statuses.routes(), *self.media.routes(), *self.streams.routes(), *self.consent.routes()]
        return [*routes, Route("/api/v2/instance", self._instance)]

    async def _instance(self, request: Request) -> Response:
        return JSONResponse(self.instance(str(request.base_url).rstrip("/")))

    def instance(self, base: str) -> Json:
        """Entities::Instance, without what nobody here reads."""
        return {
            "domain": self.domain,
            "title": "Acme's server",
            "version": "4.5.2",
            "source_url": "https://github.com/mastodon/mastodon",
            "description": "",
            "usage": {"users": {"active_month": 1}},
            "thumbnail": {"url": f"{base}/thumbnail.png"},
            "languages": ["en"],
            "configuration": {
                "urls": {"streaming": base.replace("http", "ws", 1)},
                "accounts": {"max_featured_tags": 10, "max_pinned_statuses": 5},
                "statuses": {
                    "max_characters": self.max_characters,
                    "max_media_attachments": self.max_media,
                    "characters_reserved_per_url": self.url_length,
                },
                "media_attachments": {
                    "supported_mime_types": list(TYPES),
                    "image_size_limit": self.image_bytes,
                    "video_size_limit": self.video_bytes,
                },
            },
            "registrations": {"enabled": False, "approval_required": False},
            "contact": {"email": "", "account": None},
            "rules": [],
        }

    # people

    def add_user(
        self, address: str, *, id: str | None = None, name: str | None = None, followers: int = 0
    ) -> TwinAccount:
        """Somebody at this server (`rita`) or at another one (`rita@example.social`). Raises ValueError when taken."""
        username, _, domain = address.removeprefix("@").partition("@")
        try:
            self.state.account(address)
        except KeyError:
            pass
        else:
            raise ValueError(f"{address} is taken")
        account = TwinAccount(
            id=id or self.state.new_account_id(),
            username=username,
            domain=None if domain.lower() in ("", self.domain) else domain.lower(),
            name=name or username,
            created_at=self.time.now() - timedelta(days=365),
            followers=followers,
        )
        self.state.accounts[account.id] = account
        return account

    def add_brand(
        self,
        username: str,
        *,
        id: str | None = None,
        name: str | None = None,
        token: str | None = None,
        scopes: frozenset[str] = SCOPES,
    ) -> TwinAccount:
        """A company's account at this server, with a token."""
        account = self.add_user(username, id=id, name=name)
        account.token, account.scopes = token or f"twin-token-{account.id}", scopes
        return account

    def sign_in(self, who: str | None) -> None:
        """Who is signed in, in the browser that comes to the consent page."""
        self.consent.server.person = who

    def revoke(self, who: str) -> None:
        """The account takes the token back."""
        self.state.account(who).token = None

    # what people do

    def post(
        self,
        author: str,
        text: str,
        in_reply_to: str | None = None,
        *,
        visibility: str = "public",
        spoiler_text: str = "",
        quote: str | None = None,
        language: str | None = "en",
        media: Sequence[TwinMedia] = (),
        at: datetime | None = None,
    ) -> str:
        """Somebody posts elsewhere; the new post's id. Raises KeyError for unknown people or posts."""
        post = self.publish(
            self.state.account(author).id,
            text,
            in_reply_to=self.state.posts[in_reply_to] if in_reply_to else None,
            visibility=visibility,
            spoiler_text=spoiler_text,
            sensitive=bool(spoiler_text),
            quote=self.state.posts[quote] if quote else None,
            language=language,
            media=tuple(one.id for one in media),
            at=at,
        )
        return post.id

    def direct_message(self, sender: str, recipient: str, text: str, *, at: datetime | None = None) -> str:
        """Somebody writes to somebody alone: at Mastodon a post that only those it names may see; its id."""
        name = self.state.account(recipient)
        named = f"@{name.username}@{name.domain or self.domain} {text}"
        return self.post(sender, named, visibility="direct", at=at)

    def boost(self, who: str, id: str) -> str:
        """Somebody boosts a post; the boost's id."""
        post = self.state.posts[id]
        boost = self.publish(self.state.account(who).id, "", visibility="public", reblog_of=post)
        return boost.id

    def edit(self, id: str, text: str, *, spoiler_text: str | None = None) -> str:
        """The author edits a post; its id, which stays."""
        post = self.state.posts[id]
        kept = post.versions[-1]
        warning = kept.spoiler_text if spoiler_text is None else spoiler_text
        self.change(post, text, spoiler_text=warning, sensitive=kept.sensitive, media=kept.media, by_api=False)
        return id

    def delete(self, id: str) -> None:
        """The author deletes a post."""
        self.remove(self.state.posts[id], by_api=False)

    def picture(
        self, owner: str, body: bytes, media_type: str = "image/jpeg", *, alt_text: str | None = None
    ) -> TwinMedia:
        """A picture for `post(…, media=…)`, which can be fetched while the twin is served."""
        return self.media.keep(self.state.account(owner).id, body, media_type, description=alt_text)

    # what came of it

    def published(self, who: str) -> list[TwinPost]:
        """An account's posts that are still there and not for single readers, oldest first."""
        return [post for post in self._posts_of(who) if post.visibility != "direct"]

    def messages_from(self, who: str) -> list[TwinPost]:
        """The posts that an account wrote to single readers, oldest first."""
        return [post for post in self._posts_of(who) if post.visibility == "direct"]

    def _posts_of(self, who: str) -> list[TwinPost]:
        account = self.state.account(who).id
        mine = [post for post in self.state.posts.values() if post.author == account and not post.deleted]
        return sorted(mine, key=lambda post: int(post.id))

    def app_config(self, **changes: Any) -> dict[str, Any]:
        """Nothing: there are no Apps common to all servers."""
        return changes

    def connection_config(self, who: str, **changes: Any) -> dict[str, Any]:
        """A connection configuration for one of the server's accounts; call it while the twin is served."""
        account = self.state.account(who)
        return {
            "base_url": self.url,
            "access_token": account.token or "none",
            "account_id": account.id,
            "username": account.username,
            "domain": self.domain,
            **changes,
        }

    def furnish(self) -> dict[str, Any]:
        """The brand acme, whose account is connected, and a customer rita."""
        self.add_brand("acme")
        self.add_user("rita")
        return {"config": self.connection_config("acme")}

    def rehearsal(self) -> Rehearsal:
        """Rita, who is at this server too, mentions acme."""
        furnished = self.furnish()
        channel = Channel(
            f"@acme@{self.domain}",
            furnished["config"],
            write=lambda text: self.post("rita", f"@acme {text}"),
            answers=lambda: [
                (post.in_reply_to or "", post.text.removeprefix(f"@rita@{self.domain} "))
                for post in self.published("acme")
                if post.by_api
            ],
        )
        return Rehearsal([channel])

    def snapshot(self) -> dict[str, Any]:
        """Accounts and the newest posts."""
        return {
            "accounts": [{"id": one.id, "acct": one.acct} for one in self.state.accounts.values()],
            "posts": [
                {
                    "id": post.id,
                    "author": self.state.accounts[post.author].acct,
                    "visibility": post.visibility,
                    "text": post.text,
                    "in_reply_to": post.in_reply_to,
                    "at": iso(post.created_at),
                    "deleted": post.deleted,
                }
                for post in list(self.state.posts.values())[-200:]
            ],
            "streams": self.streams.listeners,
        }

    # what both people and the API do

    def publish(
        self,
        author: str,
        text: str,
        *,
        in_reply_to: TwinPost | None = None,
        visibility: str = "public",
        spoiler_text: str = "",
        sensitive: bool = False,
        quote: TwinPost | None = None,
        language: str | None = None,
        media: tuple[str, ...] = (),
        at: datetime | None = None,
        by_api: bool = False,
        reblog_of: TwinPost | None = None,
    ) -> TwinPost:
        """Make a post, write it to the ledger and tell those it names."""
        now = self.time.now()
        created = at or now
        post = TwinPost(
            id=self.state.new_id(created),
            author=author,
            visibility=visibility,
            language=language,
            created_at=created,
            versions=[TwinVersion(text, spoiler_text, sensitive or bool(spoiler_text), media, created)],
            mentions=self.state.mentioned(text),
            in_reply_to=in_reply_to.id if in_reply_to else None,
            quotes=quote.id if quote else None,
            by_api=by_api,
            reblog_of=reblog_of.id if reblog_of else None,
        )
        self.state.add_post(post)
        for id in media:
            self.state.media[id].status = post.id
        self.effect(
            "post",
            post.id,
            author=author,
            handle=self.state.accounts[author].acct,
            in_reply_to=post.in_reply_to,
            visibility=visibility,
            text=text,
            by="api" if by_api else "app",
        )
        told = [("mention", id) for id in post.mentions]
        if quote is not None and quote.author not in post.mentions:
            told.append(("quote", quote.author))
        for type, id in told:
            if id != author and self.state.accounts[id].domain is None:
                self._notify(id, type, post)
        self.streams.tell(author, "update", lambda: self.shown.status(post, self.url))
        return post

    def _notify(self, account: str, type: str, post: TwinPost) -> None:
        now = self.time.now()
        source = self.state.accounts[post.author]
        known = post.author in self.state.written_to.get(account, ())
        notification = TwinNotification(
            id=self.state.new_notification_id(),
            account=account,
            type=type,
            source=source.id,
            status=post.id,
            created_at=now,
            visible_at=now + self.notification_lag,
            # whoever the account wrote to is no stranger any more
            filtered=self.filter_strangers and not known,
        )
        self.state.notifications.append(notification)
        if not notification.filtered:
            self.streams.tell(account, "notification", lambda: self.shown.notification(notification, self.url))

    def change(
        self, post: TwinPost, text: str, *, spoiler_text: str, sensitive: bool, media: tuple[str, ...], by_api: bool
    ) -> None:
        """Edit a post: a new version, unless nothing is different."""
        now, last = self.time.now(), post.versions[-1]
        version = TwinVersion(text, spoiler_text, sensitive, media, now)
        if (last.text, last.spoiler_text, last.media) == (text, spoiler_text, media):
            return
        post.versions.append(version)
        post.mentions = tuple(dict.fromkeys((*post.mentions, *self.state.mentioned(text))))
        for id in media:
            self.state.media[id].status = post.id
        self.effect("edit", post.id, author=post.author, text=text, by="api" if by_api else "app")
        for id in {post.author, *post.mentions}:
            self.streams.tell(id, "status.update", lambda: self.shown.status(post, self.url))

    def remove(self, post: TwinPost, *, by_api: bool) -> None:
        """Delete a post; what was told of it goes too."""
        post.deleted = True
        told = {one.account for one in self.state.notifications if one.status == post.id}
        self.state.notifications = [one for one in self.state.notifications if one.status != post.id]
        self.effect("delete", post.id, author=post.author, by="api" if by_api else "app")
        for id in {post.author, *told}:
            self.streams.tell(id, "delete", post.id)
