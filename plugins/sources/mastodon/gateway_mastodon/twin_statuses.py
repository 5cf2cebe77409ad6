"""The twin's endpoints for posts, notifications and the account."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from datetime import timedelta
from typing import Any, Protocol, TypeVar

from starlette.routing import BaseRoute

from gateway_mastodon.twin_http import NOT_FOUND, Answer, Call, Refusal, Wire
from gateway_mastodon.twin_json import Json, Shown
from gateway_mastodon.twin_state import State, TwinAccount, TwinPost
from gateway_schemas.length import Counting, length
from gateway_schemas.time import TimeSource

KEY_LIFE = timedelta(hours=1)
VISIBILITIES = ("public", "unlisted", "private", "direct")
T = TypeVar("T")


class Owner(Protocol):
    """The twin, as far as these endpoints need it."""

    time: TimeSource
    state: State
    wire: Wire
    shown: Shown
    max_characters: int
    url_length: int
    max_media: int

    def publish(
        self,
        author: str,
        text: str,
        *,
        in_reply_to: TwinPost | None,
        visibility: str,
        spoiler_text: str,
        sensitive: bool,
        language: str | None,
        media: tuple[str, ...],
        by_api: bool,
    ) -> TwinPost:
        """Make a post."""

    def change(
        self, post: TwinPost, text: str, *, spoiler_text: str, sensitive: bool, media: tuple[str, ...], by_api: bool
    ) -> None:
        """Edit a post."""

    def remove(self, post: TwinPost, *, by_api: bool) -> None:
        """Delete a post."""

    def instance(self, base: str) -> Json:
        """Entities::Instance."""


class StatusEndpoints:
    """Posts and what is told of them."""

    def __init__(self, owner: Owner) -> None:
        self.owner = owner

    def routes(self) -> Sequence[BaseRoute]:
        """Mastodon's paths."""
        route = self.owner.wire.route
        one = "/api/v1/statuses/{id}"
        return [
            route("GET", "/api/v1/accounts/verify_credentials", "read:accounts", self._me),
            route("GET", "/api/v1/accounts/{id}/statuses", "read:statuses", self._by_account),
            route("GET", "/api/v1/notifications", "read:notifications", self._notifications),
            route("POST", "/api/v1/statuses", "write:statuses", self._create),
            route("GET", one, "read:statuses", self._show),
            route("PUT", one, "write:statuses", self._update),
            route("DELETE", one, "write:statuses", self._delete, window="delete"),
            route("GET", one + "/context", "read:statuses", self._context),
            route("GET", one + "/history", "read:statuses", self._history),
            route("GET", one + "/source", "read:statuses", self._source),
        ]

    @property
    def state(self) -> State:
        """The twin's objects."""
        return self.owner.state

    async def _me(self, call: Call) -> Answer:
        shown = self.owner.shown.account(call.account, call.base)
        return Answer(shown | {"source": {"privacy": "public", "sensitive": False, "language": None, "note": ""}})

    async def _by_account(self, call: Call) -> Answer:
        account = self.state.accounts.get(call.path("id"))
        if account is None:
            raise Refusal(404, NOT_FOUND)
        found = [
            post
            for post in self.state.posts.values()
            if post.author == account.id
            and self.state.may_see(call.account, post)
            and not (call.flag("exclude_reblogs") and post.reblog_of)
        ]
        page = self._page(call, found, lambda post: int(post.id), call.limit(20, 40))
        shown = [self.owner.shown.status(post, call.base) for post in page]
        return Answer(shown, links=self._links(call, [post.id for post in page]))

    async def _notifications(self, call: Call) -> Answer:
        types, now = call.listed("types"), self.owner.time.now()
        found = [
            one
            for one in self.state.notifications
            if one.account == call.account.id
            and one.visible_at <= now
            and (not types or one.type in types)
            and (not one.filtered or call.flag("include_filtered"))
            and (one.status is None or not self.state.posts[one.status].deleted)
        ]
        page = self._page(call, found, lambda one: int(one.id), call.limit(40, 80))
        shown = [self.owner.shown.notification(one, call.base) for one in page]
        return Answer(shown, links=self._links(call, [one.id for one in page]))

    def _page(self, call: Call, found: list[T], number: Callable[[T], int], limit: int) -> list[T]:
        """`max_id` older, `since_id` newer with the newest first, `min_id` right behind that id; newest first each."""
        found = sorted(found, key=number)
        for name in ("max_id", "since_id", "min_id"):
            value = call.value(name)
            if value is not None and not value.isdecimal():
                raise Refusal(422, f"Validation failed: {name} is invalid")
        if (value := call.value("max_id")) is not None:
            found = [one for one in found if number(one) < int(value)]
        if (value := call.value("since_id")) is not None:
            found = [one for one in found if number(one) > int(value)]
        if (value := call.value("min_id")) is not None:
            return [one for one in found if number(one) > int(value)][:limit][::-1]
        return found[-limit:][::-1]

    def _links(self, call: Call, ids: list[str]) -> dict[str, str]:
        if not ids:
            return {}
        place = ("max_id", "since_id", "min_id")
        kept = "&".join(f"{key}={value}" for key, value in call.request.query_params.multi_items() if key not in place)
        return {"next": f"{kept}&max_id={ids[-1]}", "prev": f"{kept}&min_id={ids[0]}"}

    # one post

    def _post(self, call: Call) -> TwinPost:
        post = self.state.posts.get(call.path("id"))
        if post is None or not self.state.may_see(call.account, post):
            raise Refusal(404, NOT_FOUND)
        return post

    def _own(self, call: Call) -> TwinPost:
        post = self._post(call)
        if post.author != call.account.id:
            raise Refusal(404, NOT_FOUND)
        return post

    async def _show(self, call: Call) -> Answer:
        return Answer(self.owner.shown.status(self._post(call), call.base))

    async def _context(self, call: Call) -> Answer:
        post = self._post(call)
        ancestors: list[TwinPost] = []
        parent = self.state.posts.get(post.in_reply_to or "")
        while parent is not None and self.state.may_see(call.account, parent):
            ancestors.insert(0, parent)
            parent = self.state.posts.get(parent.in_reply_to or "")
        below = {post.id}
        descendants = []
        for other in sorted(self.state.posts.values(), key=lambda one: int(one.id)):
            if other.in_reply_to in below and self.state.may_see(call.account, other):
                below.add(other.id)
                descendants.append(other)
        shown = self.owner.shown
        return Answer(
            {
                "ancestors": [shown.status(one, call.base) for one in ancestors],
                "descendants": [shown.status(one, call.base) for one in descendants],
            }
        )

    async def _history(self, call: Call) -> Answer:
        post = self._post(call)
        return Answer([self.owner.shown.version(post, version, call.base) for version in post.versions])

    async def _source(self, call: Call) -> Answer:
        post = self._own(call)
        return Answer({"id": post.id, "text": post.text, "spoiler_text": post.versions[-1].spoiler_text})

    async def _create(self, call: Call) -> Answer:
        key = call.request.headers.get("idempotency-key")
        now = self.owner.time.now()
        if key is not None:
            made = self.state.keys.get((call.account.id, key))
            if made is not None and now - made[1] < KEY_LIFE:
                return Answer(self.owner.shown.status(self.state.posts[made[0]], call.base))
        body = await call.body()
        parent = self._parent(call.account, body.get("in_reply_to_id"))
        visibility = body.get("visibility") or "public"
        if visibility not in VISIBILITIES:
            raise Refusal(422, "Validation failed: Visibility is not included in the list")
        media = self._media(call.account, body.get("media_ids"), None)
        text, warning = self._checked(body, bool(media))
        post = self.owner.publish(
            call.account.id,
            text,
            in_reply_to=parent,
            visibility=visibility,
            spoiler_text=warning,
            sensitive=bool(body.get("sensitive")),
            language=body.get("language"),
            media=media,
            by_api=True,
        )
        if key is not None:
            self.state.keys[(call.account.id, key)] = (post.id, now)
        return Answer(self.owner.shown.status(post, call.base))

    async def _update(self, call: Call) -> Answer:
        post = self._own(call)
        body = await call.body()
        media = self._media(call.account, body.get("media_ids"), post.id)
        text, warning = self._checked(body, bool(media))
        self.owner.change(
            post, text, spoiler_text=warning, sensitive=bool(body.get("sensitive")), media=media, by_api=True
        )
        return Answer(self.owner.shown.status(post, call.base))

    async def _delete(self, call: Call) -> Answer:
        post = self._own(call)
        shown = self.owner.shown.status(post, call.base)
        shown["text"] = post.text  # for deleting and writing anew; the HTML is left out
        del shown["content"]
        self.owner.remove(post, by_api=True)
        return Answer(shown)

    def _parent(self, account: TwinAccount, id: Any) -> TwinPost | None:
        if id is None:
            return None
        post = self.state.posts.get(str(id))
        if post is None or not self.state.may_see(account, post):
            raise Refusal(404, "The post you are trying to reply to does not appear to exist.")
        return post

    def _checked(self, body: Json, has_media: bool) -> tuple[str, str]:
        text, warning = str(body.get("status") or ""), str(body.get("spoiler_text") or "")
        if not text.strip() and not has_media:
            raise Refusal(422, "Validation failed: Text can't be blank")
        most = self.owner.max_characters
        text_length = length(text, Counting.graphemes, reserved_url=self.owner.url_length, short_mentions=True)
        counted = length(warning, Counting.graphemes) + text_length
        if counted > most:
            raise Refusal(422, f"Validation failed: Text character limit of {most} exceeded")
        return text, warning

    def _media(self, account: TwinAccount, ids: Any, status: str | None) -> tuple[str, ...]:
        ids = [str(id) for id in ids] if isinstance(ids, list) else []
        if len(ids) > self.owner.max_media:
            raise Refusal(422, f"Cannot attach more than {self.owner.max_media} files")
        found = [self.state.media.get(id) for id in ids]
        if any(one is None or one.owner != account.id or one.status not in (None, status) for one in found):
            raise Refusal(422, f"Validation failed: Media attachments {', '.join(ids)} not found or already attached")
        kinds = [one.type for one in found if one is not None]
        if len(kinds) > 1 and any(kind in ("video", "audio", "gifv") for kind in kinds):
            raise Refusal(422, "Cannot attach a video to a post that already contains images")
        if any(one is not None and one.ready_after for one in found):
            raise Refusal(422, "Cannot attach files that have not finished processing. Try again in a moment!")
        return tuple(ids)
