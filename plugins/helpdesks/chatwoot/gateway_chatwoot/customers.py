"""Customers as Chatwoot contacts: known by `identifier`, made without an e-mail address, remembered."""

from __future__ import annotations

from typing import Any

from gateway_chatwoot.api import Api, objects, problem_of
from gateway_chatwoot.words import number
from gateway_schemas import http as gateway_http
from gateway_schemas.errors import Malformed, Rejected
from gateway_schemas.plugin import StateStore
from gateway_schemas.remembered import RememberedIds
from gateway_schemas.ticket import Requester


class Customers:
    """Contact ids by external id. A contact that exists is never rewritten: an agent may have given them a better name.

    Without an e-mail address Chatwoot has nobody to notify.
    """

    def __init__(self, api: Api, state: StateStore) -> None:
        self.api = api
        self._ids = RememberedIds(state, "contacts")

    async def contact(self, person: Requester) -> tuple[int, bool]:
        """The contact's id, and whether it was made just now, and so has no conversations.

        Made first and looked up only then: the refusal of an identifier that is taken says that there is one, and a
        repeat makes no second.
        """
        known = await self.remembered(person.external_id)
        if known is not None:
            return known, False
        body = new_contact(person, self.api.config.inbox_id)
        try:
            answer = gateway_http.json_object(await self.api.send("POST", "contacts", json=body))
            found, made = contact_id(answer), True
        except Rejected as error:
            response = gateway_http.answer(error)
            if response is None or "identifier" not in problem_of(response).fields:
                raise
            found, made = await self.look_up(person.external_id), False
            if found is None:
                raise
        if found is None:
            raise Malformed("the answer names no contact", code="malformed")
        await self.learn(person.external_id, found)
        return found, made

    async def look_up(self, external_id: str) -> int | None:
        """The contact with that identifier, asked of Chatwoot; None when there is none.

        By the filter and not by the search, which looks for parts of words and has a limit of its own.
        """
        clause = {
            "attribute_key": "identifier",
            "filter_operator": "equal_to",
            "values": [external_id],
        }
        response = await self.api.send("POST", "contacts/filter", json={"payload": [clause]})
        found = objects(gateway_http.json_object(response).get("payload"), "contacts")
        ids = [number(one.get("id")) for one in found if one.get("identifier") == external_id]
        return next((one for one in ids if one is not None), None)

    async def remembered(self, external_id: str) -> int | None:
        """The id as last heard; None when it never was."""
        await self._ids.load()
        return self._ids.get(external_id)

    async def learn(self, external_id: str, contact: int) -> None:
        """Called with an id that an answer told."""
        await self._ids.load()
        if self._ids.get(external_id) != contact:
            self._ids[external_id] = contact
            await self._ids.save()

    async def forget(self, external_id: str) -> None:
        """Called when Chatwoot knows a remembered contact no more: it was deleted, or merged into another."""
        await self._ids.load()
        if self._ids.pop(external_id, None) is not None:
            await self._ids.save()


def new_contact(person: Requester, inbox_id: int | None) -> dict[str, Any]:
    """What Chatwoot is told of a customer."""
    body: dict[str, Any] = {
        "inbox_id": inbox_id,
        "name": display_name(person),
        "identifier": person.external_id,
        "additional_attributes": {"source": person.provider},
    }
    if person.handle:
        body["additional_attributes"]["handle"] = person.handle
    if person.url:
        body["additional_attributes"]["profile_url"] = person.url
    if person.avatar_url:
        body["avatar_url"] = person.avatar_url
    return body


def contact_id(answer: dict[str, Any]) -> int | None:
    """The id out of the answer to a create: in `payload.contact`, as servers say it, or as the API's document has
    it."""
    payload = answer.get("payload")
    if isinstance(payload, dict):
        contact = payload.get("contact")
        return number(contact.get("id")) if isinstance(contact, dict) else number(payload.get("id"))
    if isinstance(payload, list) and payload and isinstance(payload[0], dict):
        return number(payload[0].get("id"))
    return number(answer.get("id"))


def display_name(person: Requester) -> str:
    """The name that agents see."""
    return person.name.strip() or person.handle or person.external_id
