"""The twin's nodes and lists as the Graph API shows them: only the fields that were asked for, and that there are."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from datetime import datetime
from typing import TYPE_CHECKING, Any

from gateway_meta.twin_graph import Asked, Json, invalid, iso, listing, missing, page_of, unknown_field
from gateway_meta.twin_state import TwinComment, TwinMessage, TwinPost, TwinRating

if TYPE_CHECKING:
    from gateway_meta.twin import MetaTwin

Fields = Mapping[str, Asked]
_NOTHING: Fields = {}


class Nodes:
    """Shows nodes to one account."""

    def __init__(self, twin: MetaTwin) -> None:
        self.twin = twin
        self.state = twin.state

    def _listed(self, at: datetime) -> bool:
        return at + self.twin.visibility_lag <= self.twin.time.now()

    def person(self, id: str, *, handle: bool) -> Json:
        """Somebody as a `from`."""
        name, username = self.state.named(id)
        return {"id": id, "username": username} if handle else {"name": name, "id": id}

    # posts and comments of Pages

    def post(self, post: TwinPost, fields: Fields) -> Json:
        """A post."""
        if post.deleted:
            raise missing(post.id)
        known: dict[str, Callable[[Asked], Any]] = {
            "id": lambda _: post.id,
            "message": lambda _: post.text or None,
            "from": lambda _: self.person(post.author, handle=False),
            "created_time": lambda _: iso(post.created_at),
            "updated_time": lambda _: iso(post.updated_at),
            "permalink_url": lambda _: f"https://www.facebook.com/{post.id}",
            "status_type": lambda _: "mobile_status_update" if post.author == post.place else "wall_post",
            "attachments": lambda _: _attachments(post.picture),
            "comments": lambda asked: self.comments(post.id, asked.modifiers, asked.inner or _NOTHING),
        }
        return _select(known, fields, "Post", ("created_time", "message"))

    def feed(self, page: str, parameters: Mapping[str, Any], fields: Fields) -> Json:
        """What is on a Page, newest first."""
        found = [
            post
            for post in self.state.posts.values()
            if post.place == page and not post.deleted and self._listed(post.indexed_at)
        ]
        return self._posts(found, parameters, fields)

    def tagged(self, page: str, parameters: Mapping[str, Any], fields: Fields) -> Json:
        """Posts elsewhere that name a Page, newest first."""
        found = [post for post in self.state.posts.values() if post.mentions == page and not post.deleted]
        return self._posts(found, parameters, fields)

    def _posts(self, found: list[TwinPost], parameters: Mapping[str, Any], fields: Fields) -> Json:
        ids = [post.id for post in sorted(found, key=lambda post: (post.created_at, post.id), reverse=True)]
        chosen, paging = page_of(ids, parameters)
        return listing([self.post(self.state.posts[id], fields) for id in chosen], paging)

    def comment(self, comment: TwinComment, fields: Fields) -> Json:
        """A comment on a Page's post."""
        if comment.deleted:
            raise missing(comment.id)
        parent = self.state.comments.get(comment.parent or "")
        known: dict[str, Callable[[Asked], Any]] = {
            "id": lambda _: comment.id,
            "message": lambda _: comment.text,
            "from": lambda _: self.person(comment.author, handle=False),
            "created_time": lambda _: iso(comment.created_at),
            "parent": lambda _: {"id": parent.id, "created_time": iso(parent.created_at)} if parent else None,
            "attachment": lambda _: _attachment(comment.picture),
            "permalink_url": lambda _: f"https://www.facebook.com/{comment.post}?comment_id={comment.id}",
            "is_hidden": lambda _: comment.hidden,
            "can_reply_privately": lambda _: not comment.privately_answered,
        }
        return _select(known, fields, "Comment", ("created_time", "from", "message"))

    def comments(self, under: str, parameters: Mapping[str, Any], fields: Fields) -> Json:
        """Comments under a post, or answers to a comment; oldest first and of the first layer, unless asked."""
        how = parameters.get("filter", "toplevel")
        order = parameters.get("order", "chronological")
        if how not in ("toplevel", "stream") or order not in ("chronological", "reverse_chronological"):
            raise invalid("Param filter or order must be one of the values that are documented")
        since = str(parameters.get("since", "0"))
        if not since.isdecimal():
            raise invalid("Param since must be a time in seconds")
        found = [
            one
            for one in self.state.comments.values()
            if ((one.post == under and (how == "stream" or one.parent is None)) or one.parent == under)
            and not one.deleted
            and self._listed(one.indexed_at)
            and one.created_at.timestamp() >= int(since)
        ]
        found.sort(key=lambda one: (one.created_at, one.id), reverse=order == "reverse_chronological")
        chosen, paging = page_of([one.id for one in found], parameters)
        return listing([self.comment(self.state.comments[id], fields) for id in chosen], paging)

    def rating(self, rating: TwinRating, fields: Fields) -> Json:
        """A recommendation. It has no id of its own."""
        known: dict[str, Callable[[Asked], Any]] = {
            "created_time": lambda _: iso(rating.created_at),
            "has_rating": lambda _: False,
            "has_review": lambda _: bool(rating.text),
            "rating": lambda _: None,
            "recommendation_type": lambda _: rating.kind.lower(),
            "review_text": lambda _: rating.text or None,
            "open_graph_story": lambda _: {"id": rating.story, "type": "recommendations.recommend"},
            "reviewer": lambda _: self.person(rating.author, handle=False),
        }
        return _select(known, fields, "Recommendation", ("created_time", "recommendation_type"), identified=False)

    def ratings(self, page: str, parameters: Mapping[str, Any], fields: Fields) -> Json:
        """A Page's recommendations, newest first."""
        found = [
            one
            for one in self.state.ratings.values()
            if one.page == page and not one.deleted and self._listed(one.indexed_at)
        ]
        found.sort(key=lambda one: (one.created_at, one.story), reverse=True)
        chosen, paging = page_of([one.story for one in found], parameters)
        return listing([self.rating(self.state.ratings[id], fields) for id in chosen], paging)

    # Instagram

    def media(self, post: TwinPost, fields: Fields) -> Json:
        """A media."""
        if post.deleted:
            raise missing(post.id)
        _, username = self.state.named(post.author)
        known: dict[str, Callable[[Asked], Any]] = {
            "id": lambda _: post.id,
            "caption": lambda _: post.text or None,
            "timestamp": lambda _: iso(post.created_at),
            "permalink": lambda _: f"https://www.instagram.com/p/{post.id}/",
            "username": lambda _: username,
            "owner": lambda _: {"id": post.author},
            "media_type": lambda _: "IMAGE",
            "media_url": lambda _: post.picture,
            "comments_count": lambda _: sum(1 for one in self.state.comments.values() if one.post == post.id),
            "comments": lambda asked: self.instagram_comments(post.id, asked.modifiers, asked.inner or _NOTHING),
        }
        return _select(known, fields, "InstagramMedia", ())

    def medias(self, account: str, parameters: Mapping[str, Any], fields: Fields) -> Json:
        """An account's media, newest first."""
        found = [post for post in self.state.posts.values() if post.place == account and not post.deleted]
        ids = [post.id for post in sorted(found, key=lambda post: (post.created_at, post.id), reverse=True)]
        chosen, paging = page_of(ids, parameters)
        return listing([self.media(self.state.posts[id], fields) for id in chosen], paging)

    def instagram_comment(self, comment: TwinComment, fields: Fields) -> Json:
        """A comment under a media."""
        if comment.deleted:
            raise missing(comment.id)
        _, username = self.state.named(comment.author)
        known: dict[str, Callable[[Asked], Any]] = {
            "id": lambda _: comment.id,
            "text": lambda _: comment.text,
            "timestamp": lambda _: iso(comment.created_at),
            "username": lambda _: username,
            "from": lambda _: self.person(comment.author, handle=True),
            "parent_id": lambda _: comment.parent,
            "hidden": lambda _: comment.hidden,
            "like_count": lambda _: 0,
            "media": lambda asked: self.media(self.state.posts[comment.post], asked.inner or _NOTHING),
            "replies": lambda asked: self._replies(comment, asked),
        }
        return _select(known, fields, "InstagramComment", ("text", "timestamp"))

    def _replies(self, comment: TwinComment, asked: Asked) -> Json | None:
        found = self.instagram_comments(comment.id, asked.modifiers, asked.inner or _NOTHING)
        return found if found["data"] else None

    def instagram_comments(self, under: str, parameters: Mapping[str, Any], fields: Fields) -> Json:
        """Comments under a media, newest first; answers to a comment."""
        found = [
            one
            for one in self.state.comments.values()
            if ((one.post == under and one.parent is None) or one.parent == under)
            and not one.deleted
            and self._listed(one.indexed_at)
        ]
        found.sort(key=lambda one: (one.created_at, one.id), reverse=True)
        chosen, paging = page_of([one.id for one in found], parameters)
        return listing([self.instagram_comment(self.state.comments[id], fields) for id in chosen], paging)

    # messages

    def message(self, message: TwinMessage, fields: Fields) -> Json:
        """A message of a conversation."""
        if message.deleted:
            raise missing(message.mid)
        handle = self.state.accounts[message.account].platform == "instagram"
        sides = (message.account, message.person) if message.own else (message.person, message.account)
        known: dict[str, Callable[[Asked], Any]] = {
            "id": lambda _: message.mid,
            "created_time": lambda _: iso(message.created_at),
            "from": lambda _: self.person(sides[0], handle=handle),
            "to": lambda _: {"data": [self.person(sides[1], handle=handle)]},
            "message": lambda _: message.text,
            "attachments": lambda _: _message_files(message),
        }
        return _select(known, fields, "Message", ("created_time",))

    def messages(self, conversation: str, parameters: Mapping[str, Any], fields: Fields) -> Json:
        """A conversation's messages, newest first."""
        account, person = self._pair(conversation)
        found = [
            one
            for one in reversed(self.state.conversation(account, person))
            if not one.deleted and self._listed(one.indexed_at)
        ]
        chosen, paging = page_of([one.mid for one in found], parameters)
        return listing([self.message(self.state.messages[id], fields) for id in chosen], paging)

    def conversations(self, account: str, parameters: Mapping[str, Any], fields: Fields) -> Json:
        """An account's conversations, the one with the newest message first."""
        newest: dict[str, datetime] = {}
        for one in self.state.messages.values():
            if one.account == account and not one.deleted and self._listed(one.indexed_at):
                newest[one.person] = max(newest.get(one.person, one.created_at), one.created_at)
        wanted = parameters.get("user_id")
        people = sorted((one for one in newest if wanted in (None, one)), key=lambda one: newest[one], reverse=True)
        chosen, paging = page_of([f"t_{account}_{person}" for person in people], parameters)
        return listing([self.conversation(id, newest[id.rpartition("_")[2]], fields) for id in chosen], paging)

    def conversation(self, id: str, updated: datetime, fields: Fields) -> Json:
        """A conversation."""
        account, person = self._pair(id)
        handle = self.state.accounts[account].platform == "instagram"
        known: dict[str, Callable[[Asked], Any]] = {
            "id": lambda _: id,
            "updated_time": lambda _: iso(updated),
            "participants": lambda _: {"data": [self.person(one, handle=handle) for one in (person, account)]},
            "messages": lambda asked: self.messages(id, asked.modifiers, asked.inner or _NOTHING),
        }
        return _select(known, fields, "Conversation", ("updated_time",))

    def _pair(self, conversation: str) -> tuple[str, str]:
        parts = conversation.split("_")
        if len(parts) != 3 or parts[1] not in self.state.accounts or parts[2] not in self.state.people:
            raise missing(conversation)
        return parts[1], parts[2]


def _select(
    known: Mapping[str, Callable[[Asked], Any]],
    fields: Fields,
    node: str,
    default: tuple[str, ...],
    *,
    identified: bool = True,
) -> Json:
    wanted: Fields = fields or {name: Asked({}, None) for name in default}
    if identified:
        wanted = {**wanted, "id": Asked({}, None)}
    shown: Json = {}
    for name, asked in wanted.items():
        if name not in known:
            raise unknown_field(name, node)
        value = known[name](asked)
        if value is not None:
            shown[name] = value
    return shown


def _attachment(picture: str | None) -> Json | None:
    if picture is None:
        return None
    target = {"id": "900", "url": "https://www.facebook.com/photo/900"}
    return {"type": "photo", "url": target["url"], "media": {"image": {"src": picture}}, "target": target}


def _attachments(picture: str | None) -> Json | None:
    found = _attachment(picture)
    return {"data": [found]} if found else None


def _message_files(message: TwinMessage) -> Json | None:
    if message.picture is None:
        return None
    data = {"url": message.picture, "width": 600, "height": 400}
    return {"data": [{"id": "1", "mime_type": "image/jpeg", "name": "image.jpg", "size": 10, "image_data": data}]}
