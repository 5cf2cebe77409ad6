"""The twin's endpoints for direct messages."""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING

from starlette.routing import Route

from gateway_x.payloads import canonical_conversation
from gateway_x.twin_http import DAY, QUARTER, Call, checked_id, forbidden, invalid, not_found, page_size, unknown_keys
from gateway_x.twin_json import Json, message_json, user_json
from gateway_x.twin_posts import page_token, read_token
from gateway_x.twin_state import TwinMessage, newest_first

if TYPE_CHECKING:
    from gateway_x.twin import XTwin

_LONGEST = 10_000
_KEPT = timedelta(days=30)
_ALWAYS = {"id", "event_type", "text"}


class MessageEndpoints:
    """Direct messages over HTTP: only for the user whose token it is."""

    def __init__(self, twin: XTwin) -> None:
        self.twin = twin

    def routes(self) -> list[Route]:
        """X's endpoints with their documented limits."""
        route = self.twin.wire.route
        read = ((15, QUARTER),)
        write = ((15, QUARTER), (1440, DAY))
        conversation = "/2/dm_conversations"
        return [
            route("GET", "/2/dm_events", self.events, "user", user=read),
            route("GET", "/2/dm_events/{id}", self.one, "user", user=read),
            route("DELETE", "/2/dm_events/{id}", self.delete, "user", user=((300, QUARTER), (1500, DAY))),
            route("GET", conversation + "/with/{id}/dm_events", self.events_with, "user", user=read),
            route("GET", conversation + "/{id}/dm_events", self.events_of, "user", user=read),
            route("POST", conversation + "/with/{id}/messages", self.send_to, "user", user=write, status=201),
            route("POST", conversation + "/{id}/messages", self.send_in, "user", user=write, status=201),
        ]

    async def events(self, call: Call) -> Json:
        """All the user's messages of 30 days, newest first."""
        return self._page(call, self.twin.state.messages_by_user.get(call.user_id or "", []))

    async def events_with(self, call: Call) -> Json:
        """The conversation with one user."""
        other = checked_id(call.path("id"), "participant_id")
        return self._page(call, self._ids(canonical_conversation(call.user_id or "", other)))

    async def events_of(self, call: Call) -> Json:
        """One conversation that the user takes part in."""
        return self._page(call, self._ids(self._conversation(call)))

    def _ids(self, conversation: str) -> list[int]:
        return self.twin.state.messages_by_conversation.get(conversation, [])

    def _conversation(self, call: Call) -> str:
        id = call.path("id")
        pair = id.split("-")
        if len(pair) != 2 or not all(part.isdecimal() for part in pair):
            raise not_found("dm_conversation", id)
        if call.user_id not in pair:
            raise forbidden("You do not take part in this conversation.")
        return canonical_conversation(*pair)

    async def one(self, call: Call) -> Json:
        """One message."""
        message = self._own(call)
        return self._answer(call, [message], single=True)

    async def delete(self, call: Call) -> Json:
        """Delete a message for the user."""
        message = self._own(call)
        message.deleted = True
        self.twin.effect("delete", message.id, what="dm", by=call.user_id)
        self.twin.wire.bill("delete", message.id, once_a_day=False)
        return {"data": {"deleted": True}}

    def _own(self, call: Call) -> TwinMessage:
        id = checked_id(call.path("id"), "event_id")
        message = self.twin.state.messages.get(id)
        if message is None or message.deleted or call.user_id not in (message.sender, message.recipient):
            raise not_found("dm_event", id, "event_id")
        return message

    async def send_to(self, call: Call) -> Json:
        """Write to a user; the conversation is made where there is none."""
        return await self._send(call, checked_id(call.path("id"), "participant_id"))

    async def send_in(self, call: Call) -> Json:
        """Write into a conversation of two."""
        one, other = self._conversation(call).split("-")
        return await self._send(call, other if one == call.user_id else one)

    async def _send(self, call: Call, recipient: str) -> Json:
        body = await call.body()
        unknown_keys(body, {"text", "attachments"})
        text = body.get("text")
        if not isinstance(text, str) or not text:
            raise invalid("At least one of `text`, `attachments` is required.", parameter="text")
        if len(text) > _LONGEST:
            raise invalid(f"The text is too long: {len(text)} of {_LONGEST} characters.", parameter="text")
        user = self.twin.state.users.get(recipient)
        if user is None:
            raise not_found("user", recipient, "participant_id")
        sender = call.user_id or ""
        conversation = canonical_conversation(sender, recipient)
        if not user.dms_open and not self._wrote(recipient, conversation):
            raise forbidden("You do not have permission to DM one or more participants.")
        message = self.twin.deliver_message(sender, recipient, text, by_api=True)
        self.twin.wire.bill("message.create", message.id, once_a_day=False)
        return {"data": {"dm_conversation_id": message.conversation, "dm_event_id": message.id}}

    def _wrote(self, who: str, conversation: str) -> bool:
        return any(self.twin.state.messages[str(number)].sender == who for number in self._ids(conversation))

    def _page(self, call: Call, ids: list[int]) -> Json:
        size = page_size(call, 1, 100)
        token = call.parameters.get("pagination_token")
        now = self.twin.time.now()
        messages: list[TwinMessage] = []
        more = False
        for number in newest_first(ids, above=None, below=read_token(token) if token else None):
            message = self.twin.state.messages[str(number)]
            if message.deleted or now - message.created_at > _KEPT:
                continue
            if len(messages) == size:
                more = True
                break
            messages.append(message)
        answer = self._answer(call, messages)
        answer["meta"] = {"result_count": len(messages)}
        if more:
            answer["meta"]["next_token"] = page_token(int(messages[-1].id))
        if not messages:
            answer.pop("data")
        return answer

    def _answer(self, call: Call, messages: list[TwinMessage], *, single: bool = False) -> Json:
        fields = _ALWAYS | call.listed("dm_event.fields")
        for message in messages:
            self.twin.wire.bill("message.read", message.id)
        shown = [{key: value for key, value in message_json(message).items() if key in fields} for message in messages]
        answer: Json = {"data": shown[0] if single else shown}
        if "sender_id" in call.listed("expansions") and messages:
            senders = dict.fromkeys(message.sender for message in messages)
            answer["includes"] = {"users": [user_json(self.twin.state.users[id]) for id in senders]}
        return answer
