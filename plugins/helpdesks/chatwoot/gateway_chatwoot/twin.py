"""A local simulator of Chatwoot: its API as far as this plugin uses it, and the people who work there."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import datetime
from typing import Any

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import BaseRoute, Route

from gateway_chatwoot.twin_admin import AdminEndpoints
from gateway_chatwoot.twin_api import ConversationEndpoints
from gateway_chatwoot.twin_desk import Desk
from gateway_chatwoot.twin_http import Limits
from gateway_chatwoot.twin_model import ApiError, Contact, Conversation, Person
from gateway_schemas.testing.rehearsal import Desk as Rehearsed
from gateway_schemas.testing.rehearsal import Message, Rehearsal
from gateway_schemas.testing.twin import Twin
from gateway_schemas.time import TimeSource


class ChatwootTwin(Twin):
    """One Chatwoot account, number 1, with an administrator whose token is `token` and an API channel.

    Tests and the demo act as its agents through `agent_comment`, `change`, `close` and the like. Faults beyond those of
    `Twin` are plain attributes.
    """

    name = "chatwoot"
    actions = (
        "agent",
        "agent_comment",
        "bot_message",
        "close",
        "delete",
        "delete_contact",
    )
    retry_webhooks = False
    """A webhook that was not answered is lost: Chatwoot repeats none. Polling makes up for it."""

    def __init__(self, *, time: TimeSource | None = None, seed: int = 0, token: str = "twin-token") -> None:
        super().__init__(time=time, seed=seed)
        self.token = token
        self.expired = False
        """Whether the token is refused."""
        self.limits = Limits(self.time)
        self.desk = Desk(self.time, self.effect, self.emit)
        self.merges_attributes = True
        """Whether the release knows `merge` for custom attributes; older ones replace the object."""
        self.keeps_source_ids = True
        """Whether the release stores the `source_id` of a message that a user writes."""
        self.settings: dict[str, Any] = {}
        self.labels: list[dict[str, Any]] = []
        self.attributes: list[dict[str, Any]] = []
        self.rules: list[dict[str, Any]] = []
        self.bot: dict[str, Any] | None = None
        self.members: dict[int, list[Person]] = {}
        self.contents: dict[str, tuple[bytes, str]] = {}
        self.email = "gateway@acme.example"
        self.api_user = self.desk.person("Gateway", email=self.email, role="administrator")
        self.inbox: int = self.add_inbox("Social")["id"]

    def routes(self) -> Sequence[BaseRoute]:
        """Every endpoint of the twin."""
        path = "/rails/active_storage/blobs/redirect/{token}/{name}"
        content = Route(path, self._content, methods=["GET"])
        return [*AdminEndpoints(self).routes(), *ConversationEndpoints(self).routes(), content]

    def authenticate(self, request: Request) -> Person:
        """The header `api_access_token`; Chatwoot's 401 otherwise."""
        if self.expired or request.headers.get("api_access_token") != self.token:
            raise ApiError(401, {"error": "Invalid Access Token"})
        return self.api_user

    def connection_config(self) -> dict[str, Any]:
        """A connection configuration that the twin accepts; call it while the twin is served."""
        return {"base_url": self.url, "account_id": 1, "api_token": self.token, "inbox_id": self.inbox}

    def rehearsal(self) -> Rehearsal:
        """Ann answers."""
        desk = Rehearsed(
            self.connection_config(),
            messages=lambda: [
                Message(str(conversation.id), one.content, not one.private)
                for conversation in self.conversations.values()
                for one in conversation.messages
                if one.kind in ("incoming", "outgoing")
            ],
            answer=lambda ticket, text: self.agent_comment(ticket, "Ann", text),
        )
        return Rehearsal(desk=desk)

    # what tests and the demo see

    @property
    def conversations(self) -> dict[int, Conversation]:
        """Every conversation by its id."""
        return self.desk.conversations

    def snapshot(self) -> dict[str, Any]:
        """Conversations with their messages, newest last."""
        return {
            "tickets": [
                {
                    **{name: value for name, value in one.json().items() if name != "messages"},
                    "comments": [
                        {
                            "id": message.id,
                            "kind": message.kind,
                            "private": message.private,
                            "status": message.status,
                            "author": getattr(message.sender, "name", message.sender),
                            "text": message.content,
                        }
                        for message in one.messages
                        if message.kind != "activity"
                    ],
                }
                for one in self.conversations.values()
            ],
            "contacts": [one.json() for one in self.desk.contacts.values()],
            "webhooks": list(self.desk.webhooks.values()),
        }

    # the people who work there

    def add_inbox(self, name: str, *, channel_type: str = "Channel::Api", **more: Any) -> dict[str, Any]:
        """An inbox, by default an API channel."""
        made = {
            "id": self.desk.new_id(),
            "name": name,
            "channel_id": 1,
            "channel_type": channel_type,
            "avatar_url": "",
            "greeting_enabled": False,
            "greeting_message": None,
            "csat_survey_enabled": False,
            "working_hours_enabled": False,
            "out_of_office_message": None,
            "enable_auto_assignment": True,
            "lock_to_single_conversation": False,
            "allow_messages_after_resolved": True,
            "hmac_mandatory": False,
            **more,
        }
        self.desk.inboxes[made["id"]] = made
        return made

    def agent(self, name: str, *, email: str | None = None) -> int:
        """An agent; the same name gives the same one."""
        for person in self.desk.people.values():
            if person.name == name:
                return person.id
        return self.desk.person(name, email=email or f"{name.lower().replace(' ', '.')}@acme.example").id

    def agent_comment(
        self,
        ticket_id: int | str,
        agent: int | str,
        text: str,
        public: bool = True,
        status: str | None = None,
        tags: Iterable[str] = (),
        via: str = "web",
        *,
        remove_tags: Iterable[str] = (),
        at: datetime | None = None,
        files: Iterable[tuple[str, bytes, str]] = (),
    ) -> int:
        """An agent writes, and may set labels before and the status afterwards. Gives the message's id.

        `via` is `web`, or `rule` for what an automation wrote.
        """
        person, one = self._agent(agent), self.desk.conversation(int(ticket_id))
        gone = set(remove_tags)
        labels = [label for label in (*one.labels, *tags) if label not in gone]
        if labels != one.labels:
            self.desk.set_labels(one, labels)
        more: dict[str, Any] = {"attachments": [self.kept_file(*file) for file in files]}
        if via == "rule":
            more["content_attributes"] = {"automation_rule_id": 1}
        made = self.desk.write(
            one, text, "outgoing", None if via == "rule" else person, private=not public, at=at, **more
        )
        if status is not None:
            self.desk.set_status(one, status, person)
        return made.id

    def bot_message(self, ticket_id: int | str, text: str, *, template: bool = False) -> int:
        """A bot writes, or Chatwoot itself does (a greeting, a survey)."""
        one = self.desk.conversation(int(ticket_id))
        return self.desk.write(one, text, "template" if template else "outgoing", None if template else "Bot").id

    def delete_message(self, ticket_id: int | str, message_id: int) -> None:
        """An agent deletes a message."""
        one = self.desk.conversation(int(ticket_id))
        self.desk.delete_message(one, next(message for message in one.messages if message.id == message_id))

    def change(self, ticket_id: int | str, data: dict[str, Any], agent: int | str = "Agent", via: str = "web") -> None:
        """An agent changes `status`, `priority`, `labels` or `assignee`."""
        person, one = self._agent(agent), self.desk.conversation(int(ticket_id))
        if "status" in data:
            self.desk.set_status(one, data["status"], person)
        if "priority" in data:
            self.desk.set_priority(one, data["priority"])
        if "labels" in data:
            self.desk.set_labels(one, data["labels"])
        if "assignee" in data:
            self.desk.assign(one, self._agent(data["assignee"]))

    def close(self, ticket_id: int | str) -> None:
        """An agent resolves the conversation."""
        self.change(ticket_id, {"status": "resolved"})

    def delete(self, ticket_id: int | str) -> None:
        """An administrator deletes the conversation."""
        self.desk.delete(self.desk.conversation(int(ticket_id)))

    def delete_contact(self, identifier: str) -> None:
        """An administrator deletes a contact, and with it all conversations."""
        contact = next(one for one in self.desk.contacts.values() if one.identifier == identifier)
        del self.desk.contacts[contact.id]
        for one in [one for one in self.conversations.values() if one.contact is contact]:
            self.desk.delete(one)

    def add_contact(self, identifier: str, name: str) -> Contact:
        """A contact that was there before."""
        made = Contact(self.desk.new_id(), name, identifier, self.time.now())
        self.desk.contacts[made.id] = made
        return made

    def kept_file(self, name: str, body: bytes, media_type: str) -> dict[str, Any]:
        """A file as a message's attachment, to be had at its address."""
        id = self.desk.new_id()
        self.contents[str(id)] = (body, media_type)
        address = f"{self.url}/rails/active_storage/blobs/redirect/{id}/{name}"
        kind = media_type.partition("/")[0]
        return {
            "id": id,
            "message_id": id,
            "file_type": kind if kind in ("image", "audio", "video") else "file",
            "account_id": 1,
            "data_url": address,
            "thumb_url": "",
            "file_size": len(body),
        }

    async def _content(self, request: Request) -> Response:
        kept = self.contents.get(request.path_params["token"])
        return Response(kept[0], media_type=kept[1]) if kept else Response(status_code=404)

    def _agent(self, agent: int | str) -> Person:
        return self.desk.people[agent if isinstance(agent, int) else self.agent(agent)]
