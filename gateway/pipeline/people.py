"""Who is who: agents at helpdesks, holders of API keys and of tokens, and the people that these are."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any
from uuid import UUID

from sqlalchemy.ext.asyncio import AsyncConnection

from gateway.db.database import as_json, execute, fetch_all, fetch_one
from gateway.db.tables.columns import new_id

KEY = "key:"
"""How the author of an answer made over REST with an API key begins: `key:<its id>`."""
SUBJECT = "subject:"
"""How the author of one made with a token begins: `subject:<issuer> <subject>`; an issuer has no space."""


@dataclass(frozen=True)
class Who:
    """Somebody who wrote or decides. `person` is None for those that nobody has said the person of."""

    name: str
    person: UUID | None = None
    account: tuple[str, str] | None = None
    """A place where everybody has one account, and theirs: a helpdesk connection and the agent's id there, or an OpenID
    Connect issuer and the subject."""


def provably_different(one: Who, other: Who) -> bool:
    """Whether these are two people: two known persons, or two accounts at one place of whom not both are known.

    Anything else may be one person with two logins, so it is not taken for two.
    """
    if one.person is not None and other.person is not None:
        return one.person != other.person
    if one.account is None or other.account is None:
        return False
    return one.account[0] == other.account[0] and one.account[1] != other.account[1]


@dataclass(frozen=True)
class Login:
    """What is known of somebody before it is looked up who they are."""

    name: str
    helpdesk: UUID | None = None
    agent: str | None = None
    email: str | None = None
    key: UUID | None = None
    subject: tuple[str, str] | None = None

    @property
    def account(self) -> tuple[str, str] | None:
        """The account that they are known by, where it is one of theirs alone."""
        if self.helpdesk is not None and self.agent is not None:
            return str(self.helpdesk), self.agent
        return self.subject


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
    return [Who(login.name, persons.get(at), login.account) for at, login in enumerate(logins)]


def authors_of(reply: Mapping[str, Any]) -> list[Login]:
    """Everybody who had a hand in a reply's text."""
    helpdesk, author = reply["helpdesk_id"], str(reply["author_id"])
    if author.startswith(KEY):
        first = Login(reply["author_name"] or author, key=UUID(author.removeprefix(KEY)))
    elif author.startswith(SUBJECT):
        issuer, _, subject = author.removeprefix(SUBJECT).partition(" ")
        first = Login(reply["author_name"] or author, subject=(issuer, subject))
    else:
        first = Login(reply["author_name"] or author, helpdesk, author, reply["author_email"])
    return [first, *(Login(one["id"], helpdesk, one["id"], one.get("email")) for one in reply["editors"] or ())]


def _identities(login: Login) -> list[tuple[str, str, str]]:
    found: list[tuple[str, str, str]] = []
    if login.key is not None:
        found.append(("key", "", str(login.key)))
    if login.subject is not None:
        found.append(("subject", *login.subject))
    if login.helpdesk is not None and login.agent is not None:
        found.append(("agent", str(login.helpdesk), login.agent))
    if login.email:
        found.append(("email", "", login.email.casefold()))
    return found


async def is_here(connection: AsyncConnection, subject: tuple[str, str]) -> bool | None:
    """Whether somebody with a token is a person who has not left; None where nobody has said who they are."""
    row = await fetch_one(
        connection,
        """SELECT p.archived_at IS NULL AS here FROM person_identity i JOIN person p ON p.id = i.person_id
           WHERE i.kind = 'subject' AND i.scope = :issuer AND i.value = :value""",
        issuer=subject[0],
        value=subject[1],
    )
    return bool(row["here"]) if row is not None else None


async def has_address(connection: AsyncConnection, email: str) -> bool:
    """Whether an address is a person's."""
    found = "SELECT 1 AS one FROM person_identity WHERE kind = 'email' AND scope = '' AND value = :email"
    return await fetch_one(connection, found, email=email) is not None


async def link_subject(connection: AsyncConnection, subject: tuple[str, str], email: str) -> None:
    """From now on the person with this address has this subject too, whatever the address becomes."""
    await execute(
        connection,
        """INSERT INTO person_identity (id, person_id, kind, scope, value)
           SELECT :id, p.id, 'subject', :issuer, :value FROM person_identity i JOIN person p ON p.id = i.person_id
           WHERE i.kind = 'email' AND i.scope = '' AND i.value = :email AND p.archived_at IS NULL
           ON CONFLICT (kind, scope, value) DO NOTHING""",
        id=new_id(),
        issuer=subject[0],
        value=subject[1],
        email=email,
    )
