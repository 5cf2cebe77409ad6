"""The twin's chat service: `chat.bsky.convo`, reached through the account's server by a header."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from typing import Any, Protocol

from starlette.routing import BaseRoute

from gateway_bluesky.twin_http import Call, Refusal, Wire, invalid
from gateway_bluesky.twin_index import profile
from gateway_bluesky.twin_state import Json, State, TwinAccount, TwinConvo, TwinMessage, iso
from gateway_schemas.length import Counting, length
from gateway_schemas.time import TimeSource

_DEFS = "chat.bsky.convo.defs"
LOG_PAGE = 100


class Owner(Protocol):
    """The twin, as far as the chat service needs it."""

    time: TimeSource
    state: State
    wire: Wire
    url: str

    def effect(self, kind: str, id: str, **data: Any) -> None:
        """Write to the ledger."""


class ChatEndpoints:
    """Conversations of two."""

    def __init__(self, owner: Owner) -> None:
        self.owner = owner

    def routes(self) -> Sequence[BaseRoute]:
        """The lexicon's methods."""
        convo = "chat.bsky.convo."
        listed = (
            ("GET", "listConvos", self._list),
            ("GET", "getConvoForMembers", self._for_members),
            ("GET", "getMessages", self._messages),
            ("GET", "getLog", self._log),
            ("POST", "sendMessage", self._send),
        )
        return [self.owner.wire.route(method, convo + name, handler, chat=True) for method, name, handler in listed]

    @property
    def state(self) -> State:
        """The twin's objects."""
        return self.owner.state

    def convo_of(self, one: str, other: str) -> TwinConvo:
        """The conversation of two, begun where there is none."""
        members = tuple(sorted((one, other)))
        id = "3l" + hashlib.sha256("|".join(members).encode()).hexdigest()[:11]
        return self.state.convos.setdefault(id, TwinConvo(id, members, self.state.tid()))

    def allowed(self, sender: TwinAccount, recipient: TwinAccount) -> None:
        """Whether one may write to the other. Raises Refusal."""
        if recipient.did in sender.blocks or sender.did in recipient.blocks:
            raise Refusal(400, "BlockedActor", "one has blocked the other")
        if recipient.allow_incoming == "none":
            raise Refusal(400, "MessagesDisabled", "recipient has disabled incoming messages")
        if recipient.allow_incoming != "all" and sender.did not in recipient.follows:
            raise Refusal(400, "NotFollowedBySender", "recipient requires incoming messages to come from followed")

    def deliver(self, sender: str, convo: TwinConvo, text: str, facets: list[Json], *, by_api: bool) -> TwinMessage:
        """Put a message into a conversation, and into its members' logs."""
        rev = self.state.tid()
        message = TwinMessage(self.state.tid(), rev, sender, text, facets, self.owner.time.now(), by_api)
        convo.messages.append(message)
        self._tell(convo, "logCreateMessage", message)
        self.owner.effect(
            "dm",
            message.id,
            author=sender,
            handle=self.state.accounts[sender].handle,
            convo=convo.id,
            text=text,
            by="api" if by_api else "app",
        )
        return message

    def hide(self, who: str, convo: TwinConvo, message: TwinMessage) -> None:
        """Somebody deletes a message for themselves."""
        message.hidden_from.add(who)
        message.rev = convo.rev = self.state.tid()
        event = self._event(convo, "logDeleteMessage", self._deleted(message), message.rev)
        self.state.log.setdefault(who, []).append((message.rev, event))

    def _tell(self, convo: TwinConvo, kind: str, message: TwinMessage) -> None:
        convo.rev = message.rev
        event = self._event(convo, kind, self._shown(message), message.rev)
        for member in convo.members:
            self.state.log.setdefault(member, []).append((message.rev, event))

    def _event(self, convo: TwinConvo, kind: str, message: Json, rev: str) -> Json:
        related = [profile(self.state.accounts[member], self.owner.url) for member in convo.members]
        event = {"$type": f"{_DEFS}#{kind}", "rev": rev, "convoId": convo.id, "message": message}
        return event | ({"relatedProfiles": related} if kind == "logCreateMessage" else {})

    def _shown(self, message: TwinMessage) -> Json:
        return {
            "$type": f"{_DEFS}#messageView",
            "id": message.id,
            "rev": message.rev,
            "text": message.text,
            **({"facets": message.facets} if message.facets else {}),
            "sender": {"did": message.sender},
            "sentAt": iso(message.sent_at),
        }

    def _deleted(self, message: TwinMessage) -> Json:
        shown = self._shown(message) | {"$type": f"{_DEFS}#deletedMessageView"}
        return {key: value for key, value in shown.items() if key not in ("text", "facets")}

    def _seen_by(self, did: str, message: TwinMessage) -> Json:
        return self._deleted(message) if did in message.hidden_from else self._shown(message)

    def _convo_view(self, viewer: str, convo: TwinConvo) -> Json:
        last = convo.last
        return {
            "id": convo.id,
            "rev": convo.rev,
            "members": [profile(self.state.accounts[member], self.owner.url) for member in convo.members],
            **({"lastMessage": self._seen_by(viewer, last)} if last else {}),
            "muted": False,
            "status": "accepted",
            "unreadCount": 0,
            "kind": {"$type": f"{_DEFS}#directConvo"},
        }

    # methods

    async def _list(self, call: Call) -> Json:
        mine = [one for one in self.state.convos.values() if call.account.did in one.members and one.messages]
        mine.sort(key=lambda one: one.rev, reverse=True)
        if (cursor := call.value("cursor")) is not None:
            mine = [one for one in mine if one.rev < cursor]
        limit = call.number("limit", 50, 100)
        page = mine[:limit]
        answer: Json = {"convos": [self._convo_view(call.account.did, one) for one in page]}
        return answer | ({"cursor": page[-1].rev} if len(mine) > limit else {})

    async def _for_members(self, call: Call) -> Json:
        members = call.listed("members")
        if not 1 <= len(members) <= 10:
            raise invalid("Error: members must have between 1 and 10 elements")
        other = next((did for did in members if did != call.account.did), None)
        account = self.state.accounts.get(other or "")
        if account is None:
            raise Refusal(400, "RecipientNotFound", "recipient not found")
        self.allowed(call.account, account)
        return {"convo": self._convo_view(call.account.did, self.convo_of(call.account.did, account.did))}

    def _mine(self, call: Call, id: Any) -> TwinConvo:
        convo = self.state.convos.get(str(id))
        if convo is None or call.account.did not in convo.members:
            raise Refusal(400, "InvalidConvo", "convo not found")
        return convo

    async def _messages(self, call: Call) -> Json:
        convo = self._mine(call, call.needed("convoId"))
        messages = convo.messages[::-1]
        if (cursor := call.value("cursor")) is not None:
            messages = [one for one in messages if one.id < cursor]
        limit = call.number("limit", 50, 100)
        page = messages[:limit]
        shown = [self._seen_by(call.account.did, one) for one in page]
        related = [profile(self.state.accounts[member], self.owner.url) for member in convo.members]
        answer = {"messages": shown, "relatedProfiles": related}
        return answer | ({"cursor": page[-1].id} if len(messages) > limit else {})

    async def _log(self, call: Call) -> Json:
        cursor = call.value("cursor") or ""
        events = [(rev, event) for rev, event in self.state.log.get(call.account.did, ()) if rev > cursor][:LOG_PAGE]
        following = events[-1][0] if events else cursor
        return {"logs": [event for _, event in events]} | ({"cursor": following} if following else {})

    async def _send(self, call: Call) -> Json:
        body = await call.body("convoId", "message")
        convo = self._mine(call, body["convoId"])
        message = body["message"]
        text = message.get("text") if isinstance(message, dict) else None
        if not isinstance(text, str):
            raise invalid('Input/message must have the property "text"')
        if len(text.encode()) > 10_000:
            raise invalid("Input/message/text must not be longer than 10000 characters")
        if length(text, Counting.graphemes) > 1000:
            raise invalid("Input/message/text must not be longer than 1000 graphemes")
        if convo.locked:
            raise Refusal(400, "ConvoLocked", "convo is locked")
        other = next(member for member in convo.members if member != call.account.did)
        if not any(one.sender == other for one in convo.messages):
            self.allowed(call.account, self.state.accounts[other])
        return self._shown(self.deliver(call.account.did, convo, text, message.get("facets") or [], by_api=True))
