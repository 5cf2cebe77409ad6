"""Customers as Zendesk users: found by external id, made without an e-mail address, remembered."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from datetime import timedelta
from typing import Any

from gateway_schemas.errors import GatewayError, Gone, Rejected, Retry, Unknown
from gateway_schemas.http import json_object
from gateway_schemas.plugin import StateStore
from gateway_schemas.remembered import RememberedIds
from gateway_schemas.ticket import Requester
from gateway_zendesk.api import JOBS, Api, objects, status_of

WAITS_PER_PUSH = 4
"""Zendesk takes one new user a second, and the host does not wait long for a push: so many seconds are waited for."""
LONGEST_WAIT = timedelta(seconds=2)
TOGETHER = 10
"""From this many new users the bulk call is tried, where Zendesk has enabled it for the account."""
PENDING = timedelta(seconds=2)
_LOOKUP, _LOOKUP_LENGTH = 100, 1500


class Customers:
    """User ids by external id. A user that exists is never rewritten: an agent may have given them a better name."""

    def __init__(self, api: Api, state: StateStore) -> None:
        self.api = api
        self._ids = RememberedIds(state, "users")
        self._one_by_one = False
        self._job: str | None = None
        self._asked: set[str] = set()

    async def ids(self, people: Iterable[Requester]) -> dict[str, int]:
        """The user id of each; raises what stood in the way of the first that has none."""
        found, errors = await self.resolve(people)
        for error in errors.values():
            raise error
        return found

    async def resolve(self, people: Iterable[Requester]) -> tuple[dict[str, int], dict[str, GatewayError]]:
        """User ids, and for those without one the error, both by our external id."""
        await self._ids.load()
        wanted = {person.external_id: person for person in people}
        missing = {name: person for name, person in wanted.items() if name not in self._ids}
        errors: dict[str, GatewayError] = {}
        if missing:
            try:
                theirs = await self._look_up(missing)
            except GatewayError as error:
                return self._known(wanted), dict.fromkeys(missing, error)
            new = [person for name, person in missing.items() if name not in self._ids]
            errors = await self._make(new, theirs)
            await self._ids.save()
        return self._known(wanted), errors

    async def forget_missing(self, people: Iterable[Requester]) -> bool:
        """Called when a ticket was refused: drop remembered users that are no more; True if there was one."""
        known = {self._ids[one.external_id]: one.external_id for one in people if one.external_id in self._ids}
        if not known:
            return False
        asked = {"ids": ",".join(str(number) for number in known)}
        alive = {user.get("id") for user in await self._users(asked) if user.get("active") is not False}
        gone = [name for number, name in known.items() if number not in alive]
        for name in gone:
            del self._ids[name]
        if gone:
            await self._ids.save()
        return bool(gone)

    def _known(self, wanted: Iterable[str]) -> dict[str, int]:
        return {name: self._ids[name] for name in wanted if name in self._ids}

    async def _look_up(self, missing: dict[str, Requester]) -> dict[str, str]:
        """Fill in the users that exist; gives, by lower case, external ids that differ from ours in case only."""
        others: dict[str, str] = {}
        for names in _chunks(missing):
            for user in await self._users({"external_ids": ",".join(names)}):
                number, stored = user.get("id"), user.get("external_id")
                if not isinstance(number, int) or not isinstance(stored, str) or user.get("active") is False:
                    continue
                if stored in missing:
                    self._ids[stored] = number
                else:
                    others[stored.lower()] = stored
        return others

    async def _users(self, asked: dict[str, str]) -> list[dict[str, Any]]:
        try:
            return objects(await self.api.get("users/show_many", asked), "users")
        except Gone:
            return []

    async def _make(self, new: Sequence[Requester], theirs: Mapping[str, str]) -> dict[str, GatewayError]:
        """Make users: many by a job, to be found the next time; else one by one, as fast as Zendesk takes them."""
        errors: dict[str, GatewayError] = {}
        reason = "new customers are being made at Zendesk; their tickets follow"
        pending = Retry(reason, code="users_pending", after=PENDING)
        fresh = [one for one in new if one.external_id not in self._asked and one.external_id.lower() not in theirs]
        if await self._job_runs() or (len(fresh) >= TOGETHER and await self._make_together(fresh)):
            errors = {one.external_id: pending for one in new if one.external_id in self._asked}
        waits = 0
        for person in new:
            name = person.external_id
            while name not in errors and name not in self._ids:
                try:
                    self._ids[name] = await self._create(person, theirs.get(name.lower()))
                except Retry as error:
                    if error.after is None or error.after > LONGEST_WAIT:
                        errors[name] = error
                    elif waits == WAITS_PER_PUSH:
                        errors[name] = pending
                    else:
                        waits += 1
                        await self.api.time.sleep(error.after.total_seconds())
                except GatewayError as error:
                    errors[name] = error
        return errors

    async def _make_together(self, people: Sequence[Requester]) -> bool:
        """`create_or_update_many` as a job; False where it is not enabled. Who is missing after it is made alone."""
        if self._one_by_one:
            return False
        part = people[:_LOOKUP]
        users = [_user(person, person.external_id) for person in part]
        try:
            document = json_object(
                await self.api.send("POST", "users/create_or_update_many", bucket=JOBS, json={"users": users})
            )
        except Rejected:
            self._one_by_one = True
            return False
        except GatewayError:
            return False
        status = document.get("job_status")
        self._job = str(status.get("id")) if isinstance(status, dict) and status.get("id") else None
        self._asked = {person.external_id for person in part}
        return True

    async def _job_runs(self) -> bool:
        if self._job is None:
            return False
        try:
            status = (await self.api.get(f"job_statuses/{self._job}")).get("job_status")
        except GatewayError:
            status = None
        if isinstance(status, dict) and status.get("status") in ("queued", "working"):
            return True
        self._job = None
        return False

    async def _create(self, person: Requester, taken: str | None) -> int:
        """`create_or_update` is safe to repeat: the external id finds the user that an earlier try made."""
        external_id = person.external_id
        if taken is not None:
            # Zendesk compares without regard to case; another customer has these letters, and they stay two people
            external_id = f"{external_id}~{hashlib.sha256(external_id.encode()).hexdigest()[:8]}"
        user = _user(person, external_id)
        if person.provider == "x" and person.handle:
            identity = {"type": "twitter", "value": person.handle.lstrip("@")}
            try:
                return await self._post({**user, "identities": [identity]}, external_id)
            except Rejected as error:
                if status_of(error) != 422:
                    raise
                # the handle belongs to a user of the account's own X channel: who it is is not ours to decide
        return await self._post(user, external_id)

    async def _post(self, user: dict[str, Any], external_id: str) -> int:
        response = await self.api.send(
            "POST", "users/create_or_update", bucket="users-create", scope=external_id, json={"user": user}
        )
        found = json_object(response).get("user")
        number = found.get("id") if isinstance(found, dict) else None
        if not isinstance(number, int):
            raise Unknown("the answer names no user", code="malformed")
        return number


def _user(person: Requester, external_id: str) -> dict[str, Any]:
    """A customer without an e-mail address: nothing is sent to them, neither a welcome nor a survey."""
    name = person.name.strip() or person.handle or person.external_id
    return {"name": name, "external_id": external_id, "skip_verify_email": True}


def _chunks(names: Iterable[str]) -> Iterator[list[str]]:
    """Look-ups of at most 100 ids that fit into a URL; an id with a comma in it cannot be looked up, only made."""
    chunk: list[str] = []
    length = 0
    for name in names:
        if "," in name:
            continue
        if chunk and (len(chunk) == _LOOKUP or length + len(name) > _LOOKUP_LENGTH):
            yield chunk
            chunk, length = [], 0
        chunk.append(name)
        length += len(name) + 1
    if chunk:
        yield chunk
