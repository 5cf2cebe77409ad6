"""The twin's endpoints for contacts, conversations and messages."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from starlette.routing import Route

from gateway_chatwoot.twin_http import Call, route
from gateway_chatwoot.twin_model import (
    STATUSES,
    ApiError,
    Contact,
    Conversation,
    Message,
    invalid,
    not_found,
    refused,
)

if TYPE_CHECKING:
    from gateway_chatwoot.twin import ChatwootTwin
    from gateway_chatwoot.twin_desk import Desk

BASE = "/api/v1/accounts/1"
PAGE, AFTER, BEFORE = 25, 100, 20
MOST_CONVERSATIONS_OF_CONTACT = 20
_FILTERS = ("identifier", "name", "email", "phone_number", "country_code", "city")


class ConversationEndpoints:
    """What a user with a token does to contacts and conversations."""

    def __init__(self, twin: ChatwootTwin) -> None:
        self.twin = twin

    @property
    def desk(self) -> Desk:
        """The account's state."""
        return self.twin.desk

    def routes(self) -> Sequence[Route]:
        """Every endpoint here."""
        one = f"{BASE}/conversations/{{id}}"
        return [
            route(self.twin, "POST", f"{BASE}/contacts", self.create_contact),
            route(self.twin, "POST", f"{BASE}/contacts/filter", self.filter_contacts),
            route(self.twin, "GET", f"{BASE}/contacts/{{id}}", self.contact),
            route(self.twin, "GET", f"{BASE}/contacts/{{id}}/conversations", self.of_contact),
            route(self.twin, "GET", f"{BASE}/conversations", self.listed),
            route(self.twin, "POST", f"{BASE}/conversations", self.create),
            route(self.twin, "GET", one, lambda call: self._one(call).json()),
            route(self.twin, "POST", f"{one}/toggle_status", self.toggle_status),
            route(self.twin, "POST", f"{one}/toggle_priority", self.toggle_priority),
            route(self.twin, "POST", f"{one}/labels", self.set_labels),
            route(self.twin, "POST", f"{one}/custom_attributes", self.set_attributes),
            route(self.twin, "POST", f"{one}/assignments", self.assign),
            route(self.twin, "GET", f"{one}/messages", self.messages),
            route(self.twin, "POST", f"{one}/messages", self.write),
            route(self.twin, "PATCH", f"{one}/messages/{{message}}", self.set_message),
            route(self.twin, "DELETE", f"{one}/messages/{{message}}", self.delete_message),
        ]

    def create_contact(self, call: Call) -> Any:
        """Identifier and e-mail address are unique in the account."""
        inbox_id, identifier, email = call.body.get("inbox_id"), call.body.get("identifier"), call.body.get("email")
        if inbox_id not in self.desk.inboxes:
            raise not_found()
        for one in self.desk.contacts.values():
            if identifier and one.identifier == identifier:
                raise invalid("Identifier has already been taken", "identifier")
            if email and one.email == email:
                raise invalid("Email has already been taken", "email")
        id = self.desk.new_id()
        made = Contact(id, str(call.body.get("name") or ""), identifier, self.desk.time.now(), email)
        made.additional_attributes = dict(call.body.get("additional_attributes") or {})
        made.custom_attributes = dict(call.body.get("custom_attributes") or {})
        made.inboxes[inbox_id] = f"00000000-0000-4000-9000-{id:012d}"
        self.desk.contacts[id] = made
        self.desk.effect("contact_created", str(id), identifier=identifier, name=made.name)
        inbox = {"source_id": made.inboxes[inbox_id], "inbox": {"id": inbox_id}}
        return {"payload": {"contact": made.json(), "contact_inbox": inbox}}

    def filter_contacts(self, call: Call) -> Any:
        """Contacts for which every clause holds."""
        found = list(self.desk.contacts.values())
        for clause in call.body.get("payload") or []:
            key, operator, values = (clause.get(name) for name in ("attribute_key", "filter_operator", "values"))
            if key not in _FILTERS:
                raise refused(f"Invalid attribute key - [{key}]")
            if operator not in ("equal_to", "not_equal_to", "contains", "does_not_contain"):
                raise refused(f"Invalid operator - {operator}")
            if not values:
                raise refused(f"Invalid value. The values provided for {key} are invalid")
            holds = {str(one).lower() for one in values}
            same = operator == "equal_to"
            found = [one for one in found if (str(getattr(one, key, None)).lower() in holds) == same]
        return {"meta": {"count": len(found), "current_page": "1"}, "payload": [one.json() for one in found]}

    def contact(self, call: Call) -> Any:
        """One contact."""
        return {"payload": self._contact(call.number()).json()}

    def of_contact(self, call: Call) -> Any:
        """A contact's newest conversations, by their activity."""
        contact = self._contact(call.number())
        found = [one for one in self.desk.conversations.values() if one.contact is contact]
        found.sort(key=lambda one: one.last_activity_at, reverse=True)
        return {"payload": [one.json() for one in found[:MOST_CONVERSATIONS_OF_CONTACT]]}

    def listed(self, call: Call) -> Any:
        """Conversations by their last activity, newest first, 25 a page."""
        found = list(self.desk.conversations.values())
        inbox, status = call.query("inbox_id"), call.query("status", "open")
        if inbox:
            found = [one for one in found if str(one.inbox_id) == inbox]
        if status != "all":
            found = [one for one in found if one.status == status]
        found.sort(key=lambda one: (one.last_activity_at, one.id), reverse=True)
        start = (max(1, int(call.query("page", "1"))) - 1) * PAGE
        counts = {"mine_count": 0, "unassigned_count": len(found), "assigned_count": 0, "all_count": len(found)}
        return {"data": {"meta": counts, "payload": [one.json() for one in found[start : start + PAGE]]}}

    def create(self, call: Call) -> Any:
        """A conversation of a contact in an inbox; its `source_id` there belongs to that contact alone."""
        inbox_id, contact = call.body.get("inbox_id"), self._contact(call.body.get("contact_id"))
        if inbox_id not in self.desk.inboxes:
            raise not_found()
        source = call.body.get("source_id")
        if any(one.inboxes.get(inbox_id) == source for one in self.desk.contacts.values() if one is not contact):
            raise refused("source_id should be unique")
        status = call.body.get("status", "open")
        if status not in STATUSES:
            raise refused(f"'{status}' is not a valid status")
        if source:
            contact.inboxes[inbox_id] = source
        made = self.desk.open(
            contact,
            inbox_id,
            status=status,
            custom_attributes=dict(call.body.get("custom_attributes") or {}),
            assignee=self.desk.people.get(call.body.get("assignee_id") or 0),
            team=call.body.get("team_id"),
        )
        return made.json()

    def toggle_status(self, call: Call) -> Any:
        """The status named; without one it changes between open and resolved."""
        one = self._one(call)
        status = call.body.get("status") or ("open" if one.status == "resolved" else "resolved")
        self.desk.set_status(one, status, call.user, snoozed_until=call.body.get("snoozed_until"))
        payload = {"success": True, "current_status": one.status, "conversation_id": one.id}
        return {"meta": {}, "payload": payload}

    def toggle_priority(self, call: Call) -> Any:
        """No body in the answer."""
        self.desk.set_priority(self._one(call), call.body.get("priority"))
        return None

    def set_labels(self, call: Call) -> Any:
        """Replaces all."""
        labels = call.body.get("labels")
        if not isinstance(labels, list):
            raise ApiError(422, {"error": "param is missing or the value is empty: labels"})
        one = self._one(call)
        self.desk.set_labels(one, [str(label) for label in labels])
        return {"payload": one.labels}

    def set_attributes(self, call: Call) -> Any:
        """Replaces the object, unless told to merge (which older releases do not know)."""
        one, given = self._one(call), call.body.get("custom_attributes")
        if not isinstance(given, dict):
            raise ApiError(422, {"error": "param is missing or the value is empty: custom_attributes"})
        merge = call.body.get("merge") is True and self.twin.merges_attributes
        before = dict(one.custom_attributes)
        one.custom_attributes = {**before, **given} if merge else dict(given)
        self.desk.touched(one, "attributes", custom_attributes=(before, dict(one.custom_attributes)))
        return {"custom_attributes": one.custom_attributes}

    def assign(self, call: Call) -> Any:
        """An assignee, or else a team."""
        one = self._one(call)
        if "assignee_id" in call.body:
            person = self.desk.people.get(call.body["assignee_id"])
            self.desk.assign(one, person)
            return person.json() if person else {}
        before, one.team = one.team, call.body.get("team_id")
        self.desk.touched(one, "team", team_id=(before, one.team))
        return {"id": one.team}

    def messages(self, call: Call) -> Any:
        """A hundred after an id, twenty before one, or the newest twenty; oldest first."""
        one = self._one(call)
        after, before = call.query("after"), call.query("before")
        found: list[Message] = sorted(one.messages, key=lambda message: message.id)
        if after:
            found = [message for message in found if message.id > int(after)][:AFTER]
        elif before:
            found = [message for message in found if message.id < int(before)][-BEFORE:]
        else:
            found = found[-BEFORE:]
        meta = {"labels": one.labels, "additional_attributes": {}, "contact": {"payload": [one.contact.json()]}}
        return {"meta": meta, "payload": [message.json() for message in found]}

    def write(self, call: Call) -> Any:
        """A message by the user, or in an API channel one by the contact."""
        one, kind = self._one(call), call.body.get("message_type", "outgoing")
        if kind not in ("incoming", "outgoing"):
            raise refused(f"'{kind}' is not a valid message_type")
        if kind == "incoming" and self.desk.inboxes[one.inbox_id]["channel_type"] != "Channel::Api":
            raise refused("Incoming messages are only allowed in Api inboxes")
        content = str(call.body.get("content") or "")
        if not content and not call.files:
            raise refused("Validation failed: Content can't be blank")
        made = self.desk.write(
            one,
            content,
            kind,
            one.contact if kind == "incoming" else call.user,
            private=call.body.get("private") is True,
            source_id=call.body.get("source_id") if self.twin.keeps_source_ids else None,
            content_attributes=dict(call.body.get("content_attributes") or {}),
            attachments=[self.twin.kept_file(*file) for file in call.files],
            echo_id=call.body.get("echo_id"),
        )
        return made.json()

    def set_message(self, call: Call) -> Any:
        """How it was delivered: API channels only, and no other way to change a message."""
        one = self._one(call)
        if self.desk.inboxes[one.inbox_id]["channel_type"] != "Channel::Api":
            raise ApiError(403, {"error": "Message status update is only allowed for API inboxes"})
        message = self._message(one, call)
        status = call.body.get("status")
        if status in ("sent", "delivered", "read", "failed"):
            message.status = status
            if status == "failed":
                message.content_attributes["external_error"] = call.body.get("external_error")
            self.desk.effect("message_status", str(message.id), status=status)
            self.desk.tell_message("message_updated", one, message)
        return message.json()

    def delete_message(self, call: Call) -> Any:
        """Its words go, its place stays."""
        one = self._one(call)
        self.desk.delete_message(one, self._message(one, call))
        return None

    def _one(self, call: Call) -> Conversation:
        return self.desk.conversation(call.number())

    def _contact(self, id: Any) -> Contact:
        if id not in self.desk.contacts:
            raise not_found()
        return self.desk.contacts[id]

    def _message(self, conversation: Conversation, call: Call) -> Message:
        id = call.number("message")
        found = next((one for one in conversation.messages if one.id == id), None)
        if found is None:
            raise not_found()
        return found
