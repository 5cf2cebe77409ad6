"""Who is who: agents at helpdesks, holders of API keys, and the people that these are."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any
from uuid import UUID

from sqlalchemy.ext.asyncio import AsyncConnection

from gateway.db.database import as_json, fetch_all

KEY = "key:"
"""How the author of an answer made over REST begins: `key:<id of the API key>`."""


@dataclass(frozen=True)
class Who:
    """Somebody who wrote or decides. `person` is None for those that nobody has said the person of."""

    name: str
    person: UUID | None = None
    agent: tuple[UUID, str] | None = None
    """Helpdesk connection and the agent's id there."""


def provably_different(one: Who, other: Who) -> bool:
    """Whether these are two people: two known persons, or two agents of one helpdesk of whom not both are known.

    Anything else may be one person with two logins, so it is not taken for two.
    """
    if one.person is not None and other.person is not None:
        return one.person != other.person
    if one.agent is None or other.agent is None:
        return False
    return one.agent[0] == other.agent[0] and one.agent[1] != other.agent[1]


@dataclass(frozen=True)
class Login:
    """What is known of somebody before it is looked up who they are."""

    name: str
    helpdesk: UUID | None = None
    agent: str | None = None
    email: str | None = None
    key: UUID | None = None


async def look_up(connection: AsyncConnection, logins: Sequence[Login]) -> list[Who]:
    """Who these are, in the same order. An agent's id counts before their address."""
    asked = [
        {"at": at, "rank": rank, "kind": kind, "scope": scope, "value": value}
        for at, login in enumerate(logins)
        for rank, (kind, scope, value) in enumerate(_identities(login))
    ]
    rows = await fetch_all(
        connection,
        """SELECT DISTINCT ON (g.at) g.at, i.person_id
           FROM jsonb_to_recordset(CAST(:asked AS jsonb))
               AS g (at int, rank int, kind text, scope text, value text)
           JOIN person_identity i ON i.kind = g.kind AND i.scope = g.scope AND i.value = g.value
           JOIN person p ON p.id = i.person_id AND p.archived_at IS NULL
           ORDER BY g.at, g.rank""",
        asked=as_json(asked),
    )
    persons = {row["at"]: row["person_id"] for row in rows}
    return [
        Who(
            login.name,
            persons.get(at),
            (login.helpdesk, login.agent) if login.helpdesk is not None and login.agent is not None else None,
        )
        for at, login in enumerate(logins)
    ]


def authors_of(reply: Mapping[str, Any]) -> list[Login]:
    """Everybody who had a hand in a reply's text."""
    helpdesk, author = reply["helpdesk_id"], str(reply["author_id"])
    if author.startswith(KEY):
        first = Login(reply["author_name"] or author, key=UUID(author.removeprefix(KEY)))
    else:
        first = Login(reply["author_name"] or author, helpdesk, author, reply["author_email"])
    return [first, *(Login(one["id"], helpdesk, one["id"], one.get("email")) for one in reply["editors"] or ())]


def _identities(login: Login) -> list[tuple[str, str, str]]:
    found: list[tuple[str, str, str]] = []
    if login.key is not None:
        found.append(("key", "", str(login.key)))
    if login.helpdesk is not None and login.agent is not None:
        found.append(("agent", str(login.helpdesk), login.agent))
    if login.email:
        found.append(("email", "", login.email.casefold()))
    return found
