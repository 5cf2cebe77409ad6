"""The twin's Send API: windows, tags, private replies, and what Meta refuses."""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING

from gateway_meta.twin_graph import Call, Json, Refusal, invalid, missing
from gateway_meta.twin_state import TwinAccount, TwinComment, TwinPost

if TYPE_CHECKING:
    from gateway_meta.twin import MetaTwin

DAY = timedelta(hours=24)
WEEK = timedelta(days=7)


class MessageWrites:
    """`POST /{page or account}/messages`."""

    def __init__(self, twin: MetaTwin) -> None:
        self.twin = twin
        self.state = twin.state

    def send(self, call: Call, node: str) -> Json:
        """One message. Raises Refusal."""
        recipient = call.object("recipient")
        account = self._account(call, node, recipient)
        text = self._text(call, account)
        kinds = [name for name in ("id", "comment_id", "post_id") if recipient.get(name)]
        if len(kinds) != 1:
            raise invalid("Param recipient must have exactly one of id, comment_id and post_id")
        target = str(recipient[kinds[0]])
        if kinds[0] == "id":
            person = self._window(call, account, target)
        else:
            person = self._private_reply(account, kinds[0], target)
        made = self.twin.add_message(account.id, person, text, own=True, by_api=True)
        return {"recipient_id": person, "message_id": made.mid}

    def _account(self, call: Call, node: str, recipient: Json) -> TwinAccount:
        """Whose message it is: a Page's token writes for the Page and for the Instagram account linked to it."""
        account = self.state.accounts.get(node)
        if account is None or call.token.kind != "account" or call.me not in (node, account.page):
            raise missing(node)
        if account.platform == "page" and account.instagram is not None and self._on_instagram(account, recipient):
            account = self.state.accounts[account.instagram]
        instagram = account.platform == "instagram"
        call.needs("instagram_manage_messages" if instagram else "pages_messaging")
        return account

    def _on_instagram(self, page: TwinAccount, recipient: Json) -> bool:
        comment = self.state.comments.get(str(recipient.get("comment_id")))
        if comment is not None:
            return comment.platform == "instagram"
        person = str(recipient.get("id"))
        return bool(page.instagram and self.state.conversation(page.instagram, person)) and not self.state.conversation(
            page.id, person
        )

    def _text(self, call: Call, account: TwinAccount) -> str:
        text = call.object("message").get("text")
        if not isinstance(text, str) or not text.strip():
            raise invalid("Message cannot be empty, must provide valid attachment or text")
        if account.platform == "instagram" and len(text.encode()) > 1000:
            raise invalid("Length of param message[text] must be less than or equal to 1000")
        if len(text) > 2000:
            raise invalid("Length of param message[text] must be less than or equal to 2000")
        return text

    def _reachable(self, account: TwinAccount, person: str) -> None:
        known = self.state.people.get(person)
        if known is None:
            raise Refusal("(#100) No matching user found", 100, 2018001)
        if account.id in known.blocks:
            raise Refusal("(#551) This person isn't available right now.", 551, 1545041)

    def _window(self, call: Call, account: TwinAccount, person: str) -> str:
        self._reachable(account, person)
        type, tag = call.text("messaging_type"), call.text("tag")
        if type is None and account.platform == "page":
            raise invalid("Param messaging_type must be one of {RESPONSE, UPDATE, MESSAGE_TAG, UTILITY}")
        if type is not None and type not in ("RESPONSE", "UPDATE", "MESSAGE_TAG", "UTILITY"):
            raise invalid("Param messaging_type must be one of {RESPONSE, UPDATE, MESSAGE_TAG, UTILITY}")
        if type == "MESSAGE_TAG" and tag != "HUMAN_AGENT":
            raise invalid("Param tag must be one of {HUMAN_AGENT}")
        if tag is not None and not self.twin.human_agent:
            raise Refusal("(#10) Application does not have the Human Agent permission", 10, status=403)
        theirs = [one for one in self.state.conversation(account.id, person) if not one.own]
        age = self.twin.time.now() - theirs[-1].created_at if theirs else None
        allowed = WEEK if tag == "HUMAN_AGENT" and type == "MESSAGE_TAG" else DAY
        if age is None or age > allowed:
            raise Refusal("(#10) This message is sent outside of allowed window.", 10, 2018278, status=403)
        return person

    def _private_reply(self, account: TwinAccount, kind: str, id: str) -> str:
        item: TwinComment | TwinPost | None
        if kind == "comment_id":
            item = self.state.comments.get(id)
            owner = self.state.owner(item) if item else None
        else:
            item = self.state.posts.get(id)
            owner = item.place if item else None
        if item is None or item.deleted or owner != account.id or item.author == account.id:
            raise missing(id)
        if item.privately_answered:
            raise Refusal("(#10900) Activity already replied to", 10900)
        if self.twin.time.now() - item.created_at > WEEK or item.author not in self.state.people:
            raise Refusal("(#10903) This user can't reply to this activity", 10903)
        self._reachable(account, item.author)
        item.privately_answered = True
        return item.author
