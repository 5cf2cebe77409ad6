"""Customers as Zammad users: known by login, made without an e-mail address, remembered."""

from __future__ import annotations

from typing import Any

from gateway_schemas.errors import Malformed
from gateway_schemas.http import json_object
from gateway_schemas.plugin import StateStore
from gateway_schemas.remembered import RememberedIds
from gateway_schemas.ticket import Requester
from gateway_zammad.api import Api
from gateway_zammad.payloads import login_of, new_user
from gateway_zammad.words import number


class Customers:
    """User ids by external id. A user that exists is never rewritten: an agent may have given them a better name."""

    def __init__(self, api: Api, state: StateStore) -> None:
        self.api = api
        self._ids = RememberedIds(state, "users")

    async def author(self, person: Requester) -> dict[str, Any]:
        """What names the author of an article: the number, else the login, which Zammad looks up itself."""
        known = await self.remembered(person)
        return {"origin_by": login_of(person)} if known is None else {"origin_by_id": known}

    async def make(self, person: Requester) -> int:
        """The user's id; looked for first, then made.

        The search trails behind, and Zammad does not refuse a login that is taken but adds digits to it: then the
        customer has two users, and the new one is gone on with.
        """
        found = await self.look_up(person)
        if found is None:
            # no roles: whoever names none gets the customer's, and naming them takes an admin
            made = json_object(await self.api.send("POST", "users", json=new_user(person)))
            found = number(made.get("id"))
            if found is None:
                raise Malformed("the answer names no user", code="malformed")
        await self.learn(person, found)
        return found

    async def look_up(self, person: Requester) -> int | None:
        """The user with that login, asked of Zammad's search; None when it knows none."""
        ids = [number(one.get("id")) for one in await self.api.users("login", login_of(person))]
        return next((one for one in ids if one is not None), None)

    async def remembered(self, person: Requester) -> int | None:
        """The id as last heard; None when it never was."""
        await self._ids.load()
        return self._ids.get(person.external_id)

    async def learn(self, person: Requester, user: object) -> None:
        """Called with an id that an answer told."""
        found = number(user)
        await self._ids.load()
        if found is not None and self._ids.get(person.external_id) != found:
            self._ids[person.external_id] = found
            await self._ids.save()

    async def forget(self, person: Requester) -> None:
        """Called when Zammad refused a remembered user: it was deleted."""
        await self._ids.load()
        if self._ids.pop(person.external_id, None) is not None:
            await self._ids.save()
