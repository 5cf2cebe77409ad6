"""Customers as RT users: known by name, made without an e-mail address and without privileges."""

from __future__ import annotations

from gateway_request_tracker.api import Api, status_of
from gateway_request_tracker.payloads import login_of, new_user, password_of
from gateway_schemas.errors import Gone, Rejected
from gateway_schemas.plugin import StateStore
from gateway_schemas.remembered import RememberedIds
from gateway_schemas.ticket import Requester


class Customers:
    """Which customers' users are there. One that exists is never renamed: an agent may have given it a better name."""

    def __init__(self, api: Api, state: StateStore) -> None:
        self.api = api
        secret = api.config.customer_secret
        self._secret = secret.get_secret_value() if secret is not None else None
        self._made = RememberedIds(state, "users")

    async def ensure(self, person: Requester) -> str:
        """The name of the customer's user; made where there is none.

        Called before a ticket names it: RT takes a ticket whose requestor it does not know, and leaves it without one.
        """
        name = login_of(person)
        await self._made.load()
        if name in self._made:
            return name
        if not await self._there(name):
            try:
                await self.api.send("POST", "user", json=new_user(person, self._secret))
            except Rejected as error:
                # 400 is said of a name in use as of a missing right
                if status_of(error) != 400 or not await self._there(name):
                    raise
        self._made[name] = 1
        await self._made.save()
        return name

    async def forget(self, person: Requester) -> None:
        """Called where the user was not what it was remembered as."""
        await self._made.load()
        if self._made.pop(login_of(person), None) is not None:
            await self._made.save()

    def login(self, person: Requester) -> tuple[str, str] | None:
        """Name and password of the customer's user; None where the API user writes for customers."""
        return (login_of(person), password_of(person, self._secret)) if self._secret is not None else None

    async def _there(self, name: str) -> bool:
        try:
            await self.api.get(f"user/{name}")
        except Gone:
            return False
        return True
