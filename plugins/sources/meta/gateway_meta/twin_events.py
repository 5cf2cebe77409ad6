"""The twin's webhooks: the handshake, and every change in Meta's shapes, escaped and signed over the bytes sent."""

from __future__ import annotations

import json
import secrets
from datetime import datetime
from typing import TYPE_CHECKING, Any

import httpx2

from gateway_meta.twin_state import TwinComment, TwinMessage, TwinPost, TwinRating
from gateway_schemas.signatures import sign_hmac

if TYPE_CHECKING:
    from gateway_meta.twin import MetaTwin

Json = dict[str, Any]


def meta_json(body: Any) -> bytes:
    """JSON as Meta serialises it: everything beyond ASCII as lower-case escapes, slashes escaped too."""
    return json.dumps(body, ensure_ascii=True, separators=(",", ":")).replace("/", "\\/").encode()


class Events:
    """Tells the App of what happens at the accounts it is subscribed to."""

    def __init__(self, twin: MetaTwin) -> None:
        self.twin = twin

    async def handshake(self, url: str, token: str) -> bool:
        """Whether the callback repeats the challenge, which proves that it knows the verify token."""
        challenge = str(secrets.randbelow(10**10))
        parameters = {"hub.mode": "subscribe", "hub.challenge": challenge, "hub.verify_token": token}
        try:
            answer = await self.twin.client.get(url, params=parameters, timeout=10.0)
        except httpx2.TransportError:
            return False
        return answer.status_code == 200 and answer.text == challenge

    def send(self, account: str, field: str, entry: Json, *, secret: str | None = None) -> None:
        """Tell of one thing, if App and account are subscribed to it."""
        known = self.twin.state.accounts[account]
        webhook = self.twin.state.webhooks.get(known.platform)
        # of a linked Instagram account Meta tells when the App is subscribed to its Page, whatever the field
        through = self.twin.state.accounts[known.page] if known.page else known
        fields = through.subscribed
        if webhook is None or not webhook.active or field not in webhook.fields or fields is None:
            return
        if known.page is None and field not in fields:
            return
        now = self.twin.time.now()
        at = _milliseconds(now) if "messaging" in entry or "standby" in entry else int(now.timestamp())
        if not webhook.include_values and "changes" in entry:
            entry = {"changed_fields": [field]}
        body = meta_json({"object": known.platform, "entry": [{"id": account, "time": at, **entry}]})
        own = self.twin.instagram_app_secret if account in self.twin.instagram_logins else self.twin.app_secret
        key = secret or own
        url = webhook.callback_url

        def build() -> tuple[str, dict[str, str], bytes]:
            signature = sign_hmac(body, key, prefix="sha256=")
            headers = {"content-type": "application/json", "x-hub-signature-256": signature}
            return url, headers, body

        self.twin.emit(build)

    # Pages

    def _person(self, id: str) -> Json:
        return {"id": id, "name": self.twin.state.named(id)[0]}

    def post(self, post: TwinPost, verb: str) -> None:
        """A post on a Page, or one elsewhere that names it."""
        if post.platform == "instagram":
            if post.mentions and verb == "add":
                self._instagram_change(post.mentions, "mentions", {"media_id": post.id})
            return
        value: Json = {"post_id": post.id, "item": "photo" if post.picture else "status", "verb": verb}
        value["created_time"] = int(post.created_at.timestamp())
        if verb != "remove":
            value |= {"message": post.text, "published": 1}
        if post.picture:
            value |= {"link": post.picture, "photo_id": "900"}
        if post.place in self.twin.state.accounts:
            change = {"from": self._person(post.author), **value}
            self.send(post.place, "feed", {"changes": [{"field": "feed", "value": change}]})
        if post.mentions:
            name = self.twin.state.named(post.author)[0]
            change = {**value, "item": "post", "sender_id": post.author, "sender_name": name}
            self.send(post.mentions, "mention", {"changes": [{"field": "mention", "value": change}]})

    def comment(self, comment: TwinComment, verb: str) -> None:
        """A comment under something of a Page's or account's, or one elsewhere that names it."""
        owner = self.twin.state.owner(comment)
        if comment.platform == "instagram":
            self._instagram_comment(comment, owner, verb)
            return
        value: Json = {
            "comment_id": comment.id,
            "parent_id": comment.parent or comment.post,
            "created_time": int(comment.created_at.timestamp()),
            "item": "comment",
            "verb": verb,
        }
        if verb not in ("remove", "hide", "unhide"):
            value["message"] = comment.text
        if comment.picture:
            value["photo"] = comment.picture
        if comment.post in self.twin.state.ratings:
            name = self.twin.state.named(comment.author)[0]
            change = {**value, "sender_id": comment.author, "sender_name": name, "open_graph_story_id": comment.post}
            self.send(owner, "ratings", {"changes": [{"field": "ratings", "value": change}]})
            return
        value["post_id"] = comment.post
        post = self.twin.state.posts[comment.post]
        if owner in self.twin.state.accounts:
            stub = {
                "status_type": "added_photos" if post.author == post.place else "wall_post",
                "is_published": True,
                "updated_time": post.updated_at.strftime("%Y-%m-%dT%H:%M:%S+0000"),
                "permalink_url": f"https://www.facebook.com/{post.id}",
                "promotion_status": "inactive",
                "id": post.id,
            }
            change = {"from": self._person(comment.author), "post": stub, **value}
            self.send(owner, "feed", {"changes": [{"field": "feed", "value": change}]})
        if comment.mentions:
            name = self.twin.state.named(comment.author)[0]
            change = {**value, "sender_id": comment.author, "sender_name": name}
            self.send(comment.mentions, "mention", {"changes": [{"field": "mention", "value": change}]})

    def rating(self, rating: TwinRating, verb: str) -> None:
        """A recommendation."""
        value: Json = {
            "item": "rating",
            "verb": verb,
            "created_time": int(rating.created_at.timestamp()),
            "reviewer_id": rating.author,
            "reviewer_name": self.twin.state.named(rating.author)[0],
        }
        if rating.with_story:
            value["open_graph_story_id"] = rating.story
        if verb != "remove":
            value |= {"recommendation_type": rating.kind, "review_text": rating.text}
        self.send(rating.page, "ratings", {"changes": [{"field": "ratings", "value": value}]})

    # Instagram

    def _instagram_comment(self, comment: TwinComment, owner: str, verb: str) -> None:
        """Meta tells of new comments only: neither of edits, which there are not, nor of deletions."""
        if verb != "add":
            return
        if owner in self.twin.state.accounts:
            value: Json = {
                "id": comment.id,
                "from": {"id": comment.author, "username": self.twin.state.named(comment.author)[1]},
                "media": {"id": comment.post, "media_product_type": "FEED"},
                "text": comment.text,
            }
            if comment.parent:
                value["parent_id"] = comment.parent
            self._instagram_change(owner, "live_comments" if comment.live else "comments", value)
        if comment.mentions:
            self._instagram_change(comment.mentions, "mentions", {"media_id": comment.post, "comment_id": comment.id})

    def _instagram_change(self, account: str, field: str, value: Json) -> None:
        change: Json = {"field": field, "value": value}
        flat = account in self.twin.instagram_logins if self.twin.flat is None else self.twin.flat
        self.send(account, field, change if flat else {"changes": [change]})

    # messages

    def message(self, message: TwinMessage) -> None:
        """A message of somebody's, or the echo of one of the account's."""
        body: Json = {"mid": message.mid, "text": message.text}
        if message.picture:
            body["attachments"] = [{"type": "image", "payload": {"url": message.picture}}]
        field = "messages"
        if message.own:
            body |= {"is_echo": True, "app_id": int(self.twin.app_id) if message.by_api else 0}
            instagram = self.twin.state.accounts[message.account].platform == "instagram"
            field = "messages" if instagram else "message_echoes"
        self._messaging(message, field, message.created_at, {"message": body})

    def edited(self, message: TwinMessage) -> None:
        """Somebody changed a message."""
        edit = {"mid": message.mid, "text": message.text, "num_edit": message.edits}
        self._messaging(message, "message_edits", self.twin.time.now(), {"message_edit": edit})

    def unsent(self, message: TwinMessage) -> None:
        """Somebody took a message back; told for Instagram only."""
        if self.twin.state.accounts[message.account].platform == "instagram":
            body = {"mid": message.mid, "is_deleted": True}
            self._messaging(message, "messages", self.twin.time.now(), {"message": body})

    def _messaging(self, message: TwinMessage, field: str, at: datetime, body: Json) -> None:
        sides = (message.account, message.person) if message.own else (message.person, message.account)
        event = {"sender": {"id": sides[0]}, "recipient": {"id": sides[1]}, "timestamp": _milliseconds(at), **body}
        self.send(message.account, field, {"messaging": [event]})


def _milliseconds(at: datetime) -> int:
    return round(at.timestamp() * 1000)
