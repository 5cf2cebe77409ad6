"""Customers as Freshdesk contacts: known by `unique_external_id`, made without an e-mail address, remembered."""

from __future__ import annotations

from typing import Any

from gateway_freshdesk.api import CONTACTS, Api, problem_of, status_of
from gateway_freshdesk.words import number
from gateway_schemas import http as gateway_http
from gateway_schemas.errors import Malformed, Rejected
from gateway_schemas.plugin import StateStore
from gateway_schemas.remembered import RememberedIds
from gateway_schemas.ticket import Requester


class Customers:
    """Contact ids by external id. A contact that exists is never rewritten: an agent may have given them a better name.

    Of a contact only id, name and external id are ever sent. Without an e-mail address Freshdesk has nobody to notify.
    """

    def __init__(self, api: Api, state: StateStore) -> None:
        self.api = api
        self._ids = RememberedIds(state, "contacts")

    async def contact(self, person: Requester) -> int:
        """The contact's id; made where there is none. Raises Rejected where Freshdesk takes no such contact.

        Made first and looked up only then: lists of contacts have the tightest limit of all, and a duplicate's refusal
        names the contact. So a repeat makes no second one either.
        """
        known = await self.remembered(person.external_id)
        if known is not None:
            return known
        try:
            response = await self.api.send("POST", "contacts", json=new_contact(person))
            found = number(gateway_http.json_object(response).get("id"))
        except Rejected as error:
            answer = gateway_http.answer(error)
            if answer is None or status_of(error) != 409:
                raise
            found = problem_of(answer).known_id or await self.look_up(person.external_id)
            if found is None:
                raise
        if found is None:
            raise Malformed("the answer names no contact", code="malformed")
        await self.learn(person.external_id, found)
        return found

    async def look_up(self, external_id: str) -> int | None:
        """The contact with that external id, asked of Freshdesk; None when there is none."""
        found, _ = await self.api.page("contacts", {"unique_external_id": external_id}, bucket=CONTACTS)
        ids = [number(one.get("id")) for one in found if one.get("unique_external_id") in (external_id, None)]
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
        """Called when Freshdesk refused a remembered contact: it was deleted or merged."""
        await self._ids.load()
        if self._ids.pop(external_id, None) is not None:
            await self._ids.save()


def new_contact(person: Requester) -> dict[str, Any]:
    """What Freshdesk is told of a customer, in a contact of their own and in a ticket that makes it."""
    return {"name": display_name(person), "unique_external_id": person.external_id}


def display_name(person: Requester) -> str:
    """The name that agents see."""
    return person.name.strip() or person.handle or person.external_id
