"""What happens at the twin's Chatwoot, whoever does it: messages, states, and the webhooks that tell of them."""

from __future__ import annotations

import json
import uuid
from collections.abc import Callable
from datetime import datetime
from functools import partial
from typing import Any

from gateway_chatwoot.twin_model import PRIORITIES, STATUSES, Contact, Conversation, Message, Person, not_found, refused
from gateway_schemas.signatures import sign_hmac
from gateway_schemas.testing.twin import WebhookBuilder
from gateway_schemas.time import TimeSource

LONGEST = 150_000


class Desk:
    """The account's state. `emit` sends webhooks, `effect` writes the ledger."""

    def __init__(self, time: TimeSource, effect: Callable[..., None], emit: Callable[[WebhookBuilder], None]) -> None:
        self.time = time
        self.effect = effect
        self.emit = emit
        self.people: dict[int, Person] = {}
        self.contacts: dict[int, Contact] = {}
        self.inboxes: dict[int, dict[str, Any]] = {}
        self.conversations: dict[int, Conversation] = {}
        self.webhooks: dict[int, dict[str, Any]] = {}
        self.signs = True
        """Whether the release signs webhooks, and webhooks have a secret."""
        self._last = 0

    def new_id(self) -> int:
        """A number that no record has."""
        self._last += 1
        return self._last

    def person(self, name: str, *, email: str, role: str = "agent") -> Person:
        """A user of the account."""
        made = Person(self.new_id(), name, email, role)
        self.people[made.id] = made
        return made

    def conversation(self, id: int) -> Conversation:
        """By its display id. Raises Chatwoot's 404."""
        if id not in self.conversations:
            raise not_found()
        return self.conversations[id]

    def open(self, contact: Contact, inbox_id: int, **more: Any) -> Conversation:
        """A new conversation, or the contact's last one where the inbox keeps a single one."""
        single = self.inboxes[inbox_id]["lock_to_single_conversation"]
        last = [one for one in self.conversations.values() if one.contact is contact and one.inbox_id == inbox_id]
        if single and last:
            return last[-1]
        now = self.time.now()
        made = Conversation(len(self.conversations) + 1, inbox_id, contact, now, now, now, **more)
        self.conversations[made.id] = made
        self.effect("conversation_created", str(made.id), custom_attributes=dict(made.custom_attributes))
        self.tell("conversation_created", made)
        return made

    def write(
        self,
        conversation: Conversation,
        content: str,
        kind: str,
        sender: Person | Contact | str | None,
        *,
        private: bool = False,
        at: datetime | None = None,
        **more: Any,
    ) -> Message:
        """One message. A customer's opens a conversation again that was resolved or snoozed."""
        if len(content) > LONGEST:
            raise refused(f"Validation failed: Content is too long (maximum is {LONGEST} characters)")
        now = at or self.time.now()
        made = Message(
            self.new_id(), conversation.id, conversation.inbox_id, content, kind, private, now, sender, **more
        )
        conversation.messages.append(made)
        conversation.last_activity_at = conversation.updated_at = now
        if kind != "activity":
            self.effect("message_created", str(made.id), conversation=conversation.id, type=kind, private=private)
            self.tell_message("message_created", conversation, made)
        if kind == "incoming" and conversation.status in ("resolved", "snoozed"):
            self.set_status(conversation, "open", None)
        return made

    def set_status(
        self, conversation: Conversation, status: str, by: Person | None, *, snoozed_until: int | None = None
    ) -> None:
        """Another status. An agent who opens one is assigned to it."""
        if status not in STATUSES:
            raise refused(f"'{status}' is not a valid status")
        before, conversation.status, conversation.snoozed_until = conversation.status, status, snoozed_until
        if status == "open" and by is not None and by.role == "agent":
            conversation.assignee = by
        if before != status:
            self._activity(conversation, f"Conversation was marked {status}")
            self.effect("status", str(conversation.id), status=status)
            self.tell("conversation_status_changed", conversation, status=(before, status))

    def set_priority(self, conversation: Conversation, priority: str | None) -> None:
        """Another priority; `none` or nothing takes it away."""
        if priority not in (None, "none", *PRIORITIES):
            raise refused(f"'{priority}' is not a valid priority")
        before, conversation.priority = conversation.priority, None if priority == "none" else priority
        self.touched(conversation, f"set the priority to {priority}", priority=(before, conversation.priority))

    def set_labels(self, conversation: Conversation, labels: list[str]) -> None:
        """All labels anew."""
        before, conversation.labels = conversation.labels, list(dict.fromkeys(labels))
        self.touched(conversation, f"labels {', '.join(labels)}", label_list=(before, conversation.labels))

    def assign(self, conversation: Conversation, person: Person | None) -> None:
        """Another assignee."""
        before, conversation.assignee = conversation.assignee, person
        names = (before.id if before else None, person.id if person else None)
        self.touched(conversation, "was assigned", assignee_id=names)

    def touched(self, conversation: Conversation, what: str, **changes: tuple[Any, Any]) -> None:
        """Something of a conversation changed: an activity says so, and a webhook."""
        if all(before == after for before, after in changes.values()):
            return
        self._activity(conversation, what)
        self.effect(
            "conversation_updated", str(conversation.id), **{name: after for name, (_, after) in changes.items()}
        )
        self.tell("conversation_updated", conversation, **changes)

    def delete(self, conversation: Conversation) -> None:
        """An administrator deletes it; no webhook tells of that."""
        del self.conversations[conversation.id]

    def delete_message(self, conversation: Conversation, message: Message) -> None:
        """Its words are replaced, and its files go."""
        message.content, message.attachments = "This message was deleted", []
        message.content_attributes = {"deleted": True}
        self.tell_message("message_updated", conversation, message)

    # webhooks

    def tell(self, event: str, conversation: Conversation, **changes: tuple[Any, Any]) -> None:
        """A webhook about a conversation: the flat object, with what changed."""
        body = {**conversation.json(), "event": event}
        body["contact_inbox"] = {"source_id": conversation.contact.inboxes.get(conversation.inbox_id)}
        if changes:
            body["changed_attributes"] = [
                {name: {"previous_value": before, "current_value": after}} for name, (before, after) in changes.items()
            ]
        self._send(event, body)

    def tell_message(self, event: str, conversation: Conversation, message: Message) -> None:
        """A webhook about a message."""
        inbox = self.inboxes[conversation.inbox_id]
        body = {
            **message.webhook(),
            "event": event,
            "inbox": {"id": inbox["id"], "name": inbox["name"]},
            "account": {"id": 1, "name": "Acme"},
            "conversation": {
                **conversation.json(),
                "contact_inbox": {"source_id": conversation.contact.inboxes.get(conversation.inbox_id)},
            },
        }
        self._send(event, body)

    def _activity(self, conversation: Conversation, content: str) -> None:
        self.write(conversation, content, "activity", None)

    def _send(self, event: str, body: dict[str, Any]) -> None:
        raw = json.dumps(body).encode()
        for webhook in self.webhooks.values():
            if event in webhook["subscriptions"]:
                self.emit(partial(self._request, webhook, raw))

    def _request(self, webhook: dict[str, Any], raw: bytes) -> tuple[str, dict[str, str], bytes]:
        headers = {"Content-Type": "application/json", "Accept": "application/json"}
        if self.signs:
            stamp = str(int(self.time.now().timestamp()))
            signed = f"{stamp}.".encode() + raw
            headers["X-Chatwoot-Timestamp"] = stamp
            headers["X-Chatwoot-Signature"] = sign_hmac(signed, webhook["secret"], prefix="sha256=")
            headers["X-Chatwoot-Delivery"] = str(uuid.UUID(int=self.new_id()))
        return webhook["url"], headers, raw
