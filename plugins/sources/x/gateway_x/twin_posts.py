"""The twin's endpoints for posts and users: look-up, timelines, search, create, delete, hide."""

from __future__ import annotations

import base64
import binascii
import re
from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING, Any

from starlette.routing import Route

from gateway_schemas.length import weighted_x_length, without_leading_mentions
from gateway_schemas.urls import find_urls
from gateway_x.payloads import snowflake_at
from gateway_x.twin_http import (
    DAY,
    QUARTER,
    Call,
    Refusal,
    checked_id,
    forbidden,
    instant,
    invalid,
    not_found,
    page_size,
    unknown_keys,
)
from gateway_x.twin_json import Json, chosen, includes, missing, post_json, problem, user_json
from gateway_x.twin_state import TwinMedia, TwinPost, newest_first

if TYPE_CHECKING:
    from gateway_x.twin import XTwin

_DEPTH = 800
_SEARCH_DAYS = 7
_CASHTAG = re.compile(r"(?<!\w)\$[A-Za-z]{1,6}\b")
_CREATE_KEYS = {
    "text",
    "reply",
    "quote_tweet_id",
    "media",
    "reply_settings",
    "made_with_ai",
    "paid_partnership",
    "edit_options",
    "for_super_followers_only",
    "nullcast",
}


class PostEndpoints:
    """Posts and users over HTTP."""

    def __init__(self, twin: XTwin) -> None:
        self.twin = twin

    def routes(self) -> list[Route]:
        """X's endpoints with their documented limits."""
        route = self.twin.wire.route
        return [
            route("POST", "/2/tweets", self.create, "user", user=((100, QUARTER), (10_000, DAY)), status=201),
            route("GET", "/2/tweets", self.look_up, "either", app=((3500, QUARTER),), user=((5000, QUARTER),)),
            route(
                "GET",
                "/2/tweets/search/recent",
                self.search,
                "either",
                app=((450, QUARTER),),
                user=((300, QUARTER),),
            ),
            route("GET", "/2/tweets/{id}", self.one, "either", app=((450, QUARTER),), user=((900, QUARTER),)),
            route("DELETE", "/2/tweets/{id}", self.delete, "user", user=((50, QUARTER),)),
            route("PUT", "/2/tweets/{id}/hidden", self.hide, "user", user=((50, QUARTER),)),
            route("GET", "/2/users/me", self.me, "user", user=((75, QUARTER),)),
            route(
                "GET",
                "/2/users/by/username/{username}",
                self.by_username,
                "either",
                app=((300, QUARTER),),
                user=((900, QUARTER),),
            ),
            route("GET", "/2/users/{id}", self.user, "either", app=((300, QUARTER),), user=((900, QUARTER),)),
            route(
                "GET",
                "/2/users/{id}/mentions",
                self.mentions,
                "either",
                app=((450, QUARTER),),
                user=((300, QUARTER),),
            ),
            route(
                "GET",
                "/2/users/{id}/tweets",
                self.timeline,
                "either",
                app=((10_000, QUARTER),),
                user=((900, QUARTER),),
            ),
        ]

    async def create(self, call: Call) -> Json:
        """Publish a post, with X's checks in X's order: shape, length, target, summons, duplicate."""
        twin, state = self.twin, self.twin.state
        body = await call.body()
        author = call.user_id or ""
        unknown_keys(body, _CREATE_KEYS)
        text = body.get("text", "")
        if not isinstance(text, str) or not (text.strip() or body.get("media")):
            raise invalid("One of `text`, `media`, `poll` must be provided.", parameter="text")
        reply = body.get("reply")
        if reply is not None and not isinstance(reply, dict):
            raise invalid("$.reply: object expected")
        parent = None
        if reply is not None:
            parent = self._target(reply.get("in_reply_to_tweet_id"), "reply.in_reply_to_tweet_id")
        quoted = self._target(body["quote_tweet_id"], "quote_tweet_id") if "quote_tweet_id" in body else None
        counted = without_leading_mentions(text) if parent else text
        limit = 25_000 if state.users[author].premium else 280
        if (length := weighted_x_length(counted)) > limit:
            raise invalid(f"The text is too long: {length} of {limit} characters.", parameter="text")
        if twin.tier == "self_serve":
            self._self_serve(author, text, parent)
        pictures = self._pictures(body.get("media"), author)
        key = (author, parent.id if parent else None, quoted.id if quoted else None, text)
        earlier = state.posts.get(state.recent_texts.get(key, ""))
        if earlier is not None and not earlier.deleted and twin.time.now() - earlier.indexed_at < DAY:
            raise forbidden("You are not allowed to create a Tweet with duplicate content.")
        post = twin.publish(author, text, in_reply_to=parent, quote=quoted, media=pictures, by_api=True)
        summoned = parent is not None and state.summons(parent, author)
        price = "post.create.summoned" if summoned else "post.create"
        twin.wire.bill("post.create.url" if find_urls(text) else price, post.id, once_a_day=False)
        answer = chosen(post_json(state, post, twin.naming), ())
        return {"data": answer}

    def _pictures(self, given: Any, author: str) -> tuple[TwinMedia, ...]:
        """The uploads that a post names: its author's own and complete, four at most."""
        if given is None:
            return ()
        ids = given.get("media_ids") if isinstance(given, dict) else None
        if not isinstance(ids, list) or not 1 <= len(ids) <= 4:
            raise invalid("$.media.media_ids: expected 1 to 4 items", parameter="media.media_ids")
        found = [self.twin.media.uploads.get(str(id)) for id in ids]
        if any(upload is None or upload.owner != author or not upload.done for upload in found):
            raise invalid("Your media IDs are invalid.", parameter="media.media_ids")
        return tuple(TwinMedia(key=f"3_{id}", url=f"https://pbs.twimg.com/media/{id}") for id in ids)

    def _target(self, id: Any, parameter: str) -> TwinPost:
        post = self.twin.state.posts.get(checked_id(id, parameter))
        if post is None or post.deleted:
            raise not_found("tweet", id, parameter)
        return post

    def _self_serve(self, author: str, text: str, parent: TwinPost | None) -> None:
        """X's rules for Apps without an Enterprise contract (since 2026-02-23)."""
        if parent is not None and not self.twin.state.summons(parent, author):
            detail = "You may only reply to posts whose author mentioned you or quoted one of your posts."
            more = {"resource_type": "tweet", "resource_id": parent.id, "parameter": "reply.in_reply_to_tweet_id"}
            raise Refusal(403, problem("not-authorized-for-resource", "Authorization Error", detail, 403, **more))
        if len(_CASHTAG.findall(text)) > 1:
            raise invalid("A post may hold one cashtag at most.", parameter="text")

    async def look_up(self, call: Call) -> Json:
        """Posts by id; those that are not there are named in `errors`, beside those that are."""
        ids = [id for id in call.parameters.get("ids", "").split(",") if id]
        if not 1 <= len(ids) <= 100:
            raise invalid(f"The number of values in the `ids` parameter list [{len(ids)}] is not between 1 and 100")
        found: list[TwinPost] = []
        errors: list[Any] = []
        for id in ids:
            post = self.twin.state.posts.get(checked_id(id, "ids"))
            if post is None or post.deleted:
                errors.append(missing("tweet", id, "ids"))
            elif self.twin.state.users[post.author].protected:
                errors.append(_protected(id, "ids"))
            else:
                found.append(post)
        answer = self._answer(call, found)
        if not found:
            answer.pop("data", None)
        return answer | ({"errors": errors} if errors else {})

    async def one(self, call: Call) -> Json:
        """One post by id."""
        id = checked_id(call.path("id"), "id")
        post = self.twin.state.posts.get(id)
        if post is None or post.deleted:
            raise not_found("tweet", id)
        if self.twin.state.users[post.author].protected:
            raise Refusal(403, _protected(id, "id") | {"status": 403})
        answer = self._answer(call, [post])
        return answer | {"data": answer["data"][0]}

    async def delete(self, call: Call) -> Json:
        """Delete an own post; any version takes the whole chain of edits with it."""
        id = checked_id(call.path("id"), "id")
        post = self.twin.state.posts.get(id)
        if post is None or post.deleted:
            raise not_found("tweet", id)
        if post.author != call.user_id:
            raise forbidden("You are not authorized to delete this Tweet.")
        self.twin.delete(id, by_api=True)
        self.twin.wire.bill("delete", id, once_a_day=False)
        return {"data": {"deleted": True}}

    async def hide(self, call: Call) -> Json:
        """Hide or show a reply in the caller's own conversation."""
        post = self._target(call.path("id"), "tweet_id")
        hidden = (await call.body()).get("hidden")
        if not isinstance(hidden, bool):
            raise invalid("$.hidden: boolean expected", parameter="hidden")
        root = self.twin.state.posts.get(post.conversation)
        if root is None or root.author != call.user_id or post.in_reply_to is None:
            raise forbidden("You may only hide replies in your own conversations.")
        post.hidden = hidden
        self.twin.effect("hide", post.id, hidden=hidden, by=call.user_id)
        return {"data": {"hidden": hidden}}

    async def me(self, call: Call) -> Json:
        """The account whose token it is."""
        return self._user_answer(call.user_id or "")

    async def by_username(self, call: Call) -> Json:
        """A user by handle, in any case."""
        username = call.path("username")
        found = self.twin.state.handles.get(username.lower())
        if found is None:
            raise not_found("user", username, "username")
        return self._user_answer(found)

    async def user(self, call: Call) -> Json:
        """A user by id."""
        return self._user_answer(checked_id(call.path("id"), "id"))

    def _user_answer(self, id: str) -> Json:
        user = self.twin.state.users.get(id)
        if user is None:
            raise not_found("user", id)
        self.twin.wire.bill("user.read", id)
        return {"data": user_json(user)}

    async def mentions(self, call: Call) -> Json:
        """Posts that name the user, newest first, 800 deep."""
        return self._timeline(call, self.twin.state.posts_by_mention, lambda post: True)

    async def timeline(self, call: Call) -> Json:
        """The user's own posts, newest first."""
        excluded = call.listed("exclude")
        return self._timeline(
            call,
            self.twin.state.posts_by_author,
            lambda post: not ("replies" in excluded and post.in_reply_to is not None),
        )

    async def search(self, call: Call) -> Json:
        """Posts of the last seven days in one conversation; the twin knows no other query."""
        query = call.parameters.get("query", "")
        if not 1 <= len(query) <= (512 if self.twin.tier == "self_serve" else 4096):
            raise invalid("The 'query' parameter is required.", parameter="query")
        match = re.fullmatch(r"\(?conversation_id:([0-9]{1,19})\)?(?: -is:retweet)?", query.strip())
        if match is None:
            raise invalid(f"Rules must be valid; the twin reads conversation_id:<id> only, not [{query}]")
        since = self.twin.time.now() - _SEARCH_DAYS * DAY
        return self._page(
            call,
            self.twin.state.posts_by_conversation.get(match.group(1), []),
            lambda post: post.created_at >= since,
            lowest=10,
        )

    def _timeline(self, call: Call, index: dict[str, list[int]], keep: Callable[[TwinPost], bool]) -> Json:
        id = checked_id(call.path("id"), "id")
        if id not in self.twin.state.users:
            raise not_found("user", id)
        owned = id == self.twin.owner_user_id == call.user_id
        return self._page(call, index.get(id, [])[-_DEPTH:], keep, lowest=5, owned=owned)

    def _page(
        self, call: Call, ids: list[int], keep: Callable[[TwinPost], bool], *, lowest: int, owned: bool = False
    ) -> Json:
        size = page_size(call, lowest, 10)
        above, below = self._bounds(call)
        shown_until = self.twin.time.now() - self.twin.visibility_lag
        posts: list[TwinPost] = []
        more = False
        for number in newest_first(ids, above=above, below=below):
            post = self.twin.state.posts[str(number)]
            if post.deleted or post.history[-1] != post.id or post.indexed_at > shown_until or not keep(post):
                continue
            if self.twin.state.users[post.author].protected:
                continue
            if len(posts) == size:
                more = True
                break
            posts.append(post)
        answer = self._answer(call, posts, owned=owned)
        meta: Json = {"result_count": len(posts)}
        if posts:
            meta |= {"newest_id": posts[0].id, "oldest_id": posts[-1].id}
        else:
            answer.pop("data")
        if more:
            meta["next_token"] = page_token(int(posts[-1].id))
        return answer | {"meta": meta}

    def _bounds(self, call: Call) -> tuple[int | None, int | None]:
        lower = [int(checked_id(call.parameters[name], name)) for name in ("since_id",) if name in call.parameters]
        upper = [int(checked_id(call.parameters[name], name)) for name in ("until_id",) if name in call.parameters]
        if (start := instant(call, "start_time")) is not None:
            lower.append(snowflake_at(start) - 1)
        if (end := instant(call, "end_time")) is not None:
            upper.append(snowflake_at(end))
        token = call.parameters.get("pagination_token") or call.parameters.get("next_token")
        if token is not None:
            upper.append(read_token(token))
        return max(lower, default=None), min(upper, default=None)

    def _answer(self, call: Call, posts: Iterable[TwinPost], *, owned: bool = False) -> Json:
        state, naming = self.twin.state, self.twin.naming
        posts = list(posts)
        fields = call.listed("tweet.fields", "post.fields")
        for post in posts:
            self.twin.wire.bill("post.read.owned" if owned else "post.read", post.id)
        answer: Json = {"data": [chosen(post_json(state, post, naming), fields) for post in posts]}
        near = includes(state, posts, call.listed("expansions"), fields, naming)
        return answer | ({"includes": near} if near else {})


def _protected(id: str, parameter: str) -> Json:
    return {
        "value": id,
        "detail": f"Sorry, you are not authorized to see the Tweet with {parameter}: [{id}].",
        "title": "Authorization Error",
        "resource_type": "tweet",
        "parameter": parameter,
        "resource_id": id,
        "type": "https://api.x.com/2/problems/not-authorized-for-resource",
    }


def page_token(position: int) -> str:
    """An opaque token for the page that ends before a position."""
    return base64.urlsafe_b64encode(f"before:{position:020d}".encode()).decode().rstrip("=")


def read_token(token: str) -> int:
    """The position in a token. Raises Refusal when it is none of ours or too old."""
    try:
        kind, _, position = base64.urlsafe_b64decode(token + "=" * (-len(token) % 4)).decode().partition(":")
        if kind == "before":
            return int(position)
    except (binascii.Error, UnicodeDecodeError, ValueError):
        pass
    raise invalid(f"The `pagination_token` query parameter value [{token}] is not valid", parameter="pagination_token")
