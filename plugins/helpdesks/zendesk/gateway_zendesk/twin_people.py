"""The twin's users: staff and customers, found by id, external id, e-mail address or identity."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from gateway_schemas.time import TimeSource
from gateway_zendesk.twin_model import User, invalid


class People:
    """Every user of the account. External ids are compared without regard to case, as Zendesk does."""

    def __init__(self, time: TimeSource, new_id: Callable[[], int], note: Callable[..., None]) -> None:
        self.time = time
        self.new_id = new_id
        self.note = note
        self.all: dict[int, User] = {}
        self._by_external: dict[str, int] = {}
        self._by_email: dict[str, int] = {}
        self._by_identity: dict[tuple[str, str], int] = {}

    def add(self, name: str, role: str, *, email: str | None = None, external_id: str | None = None) -> User:
        """A new user."""
        user = User(self.new_id(), name, role, self.time.now(), email, external_id)
        self.all[user.id] = user
        if external_id is not None:
            self._by_external[external_id.lower()] = user.id
        if email is not None:
            self._by_email[email.lower()] = user.id
        return user

    def by_external(self, external_id: str) -> User | None:
        """The user with that external id, in any case."""
        found = self._by_external.get(external_id.lower())
        return self.all[found] if found is not None else None

    def person(self, user_id: Any, what: str) -> User | None:
        """The user that a field of a ticket names; 422 when there is none."""
        if user_id is None:
            return None
        user = self.all.get(int(user_id)) if str(user_id).isdigit() else None
        if user is None:
            raise invalid(what, f"{what.capitalize()}: is invalid", "InvalidValue")
        return user

    def create_or_update(self, data: dict[str, Any]) -> tuple[User, bool]:
        """Find by external id or e-mail and update, else create; the stored external id takes the case given."""
        external_id, email, name = data.get("external_id"), data.get("email"), data.get("name")
        if not external_id and not email:
            raise invalid("email", "Email: cannot be blank", "BlankValue")
        user = self.by_external(external_id) if external_id else None
        if user is None and email:
            user = self.all.get(self._by_email.get(email.lower(), 0))
        if user is None and not name:
            raise invalid("name", "Name: is too short (minimum one character)", "BlankValue")
        identities = [(str(one.get("type")), str(one.get("value"))) for one in data.get("identities") or []]
        for identity in identities:
            holder = self._by_identity.get(identity)
            if holder is not None and (user is None or holder != user.id):
                raise invalid("base", "Identity is already being used by another user", "DuplicateValue")
        created = user is None
        if user is None:
            user = self.add(str(name), data.get("role", "end-user"), email=email, external_id=external_id)
            self.note("user_created", str(user.id), external_id=external_id, name=name)
        else:
            user.name = name or user.name
            user.external_id = external_id or user.external_id
        for kind, value in identities:
            if self._by_identity.setdefault((kind, value), user.id) == user.id:
                user.identities.append({"type": kind, "value": value})
        return user, created
