"""One matter in the database, as the pipeline would have written it: a ticket, its customer, messages and answers."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID

from gateway.db.database import insert_rows
from gateway.db.tables.columns import new_id
from support.rest import Api

START = datetime(2026, 3, 1, 12, tzinfo=UTC)


@dataclass
class Matter:
    """One ticket with one message of its customer, as the pipeline would have written it."""

    api: Api
    source: UUID
    helpdesk: UUID
    account: UUID
    ticket: UUID
    message: UUID

    async def say(
        self,
        minute: int,
        text: str,
        *,
        ticket: UUID | None = None,
        direction: str = "inbound",
        reply: UUID | None = None,
    ) -> UUID:
        """One more interaction on the ticket."""
        id = new_id()
        await insert(
            self.api,
            "interaction",
            id=id,
            scope="shout",
            external_id=str(id),
            connection_id=self.source,
            account_id=self.account,
            ticket_id=ticket or self.ticket,
            reply_id=reply,
            kind="post",
            visibility="public",
            direction=direction,
            addressed=True,
            text=text,
            revision="1",
            revisions=1,
            data={"text": text},
            origin="webhook",
            published_at=START + timedelta(minutes=minute),
            version_at=START,
            created_at=START,
        )
        return id

    async def reply(self, state: str, *, minute: int = 1, **more: Any) -> UUID:
        """An answer in some state."""
        id = new_id()
        at = START + timedelta(minutes=minute)
        row = {
            "id": id,
            "ticket_id": self.ticket,
            "connection_id": self.source,
            "author_id": "7",
            "author_name": "Ann",
            "text": f"reply {state}",
            "origin": "composer",
            "attachments": {},
            "bands": [],
            "state": state,
            "key": f"reply:{id}",
            "epoch": 0,
            "tries": 0,
            "due_at": at,
            "not_after": at,
            "written_at": at,
            "created_at": at,
            "updated_at": at,
        }
        await insert(self.api, "reply", **{**row, **more})
        return id

    async def state(self, reply: UUID) -> Any:
        """The row of a reply."""
        return (await self.api.rows("SELECT * FROM reply WHERE id = :id", id=reply))[0]

    async def do(self, reply: UUID, action: str, **body: Any) -> Any:
        """POST an action on a reply."""
        return await self.api.http.post(f"/v1/replies/{reply}/{action}", json=body or None)


async def insert(api: Api, table: str, **row: Any) -> None:
    """One row."""
    async with api.runtime.database.write() as connection:
        await insert_rows(connection, table, [row])


async def open_ticket(api: Api, source: UUID, helpdesk: UUID, account: UUID, customer: UUID, **more: Any) -> UUID:
    """A ticket without messages."""
    id = new_id()
    row = {
        "id": id,
        "connection_id": source,
        "helpdesk_id": helpdesk,
        "account_id": account,
        "customer_id": customer,
        "subject": "@rita: it broke",
        "status": "open",
        "priority": "normal",
        "tags": ["a"],
        "external_id": str(id),
        "opened_at": START,
        "last_inbound_at": START,
        "created_at": START,
        "updated_at": START,
    }
    await insert(api, "ticket", **{**row, **more})
    return id


async def open_matter(api: Api, name: str) -> Matter:
    """A matter with connections of its own."""
    desk = await api.made("/v1/connections", plugin="desk", name=name, config={"api_token": "t"})
    shout = await api.made(
        "/v1/connections", plugin="shout", name=name, config={"user_id": "1", "secret": "s"}, helpdesk=name
    )
    source, helpdesk, customer, account = UUID(shout["id"]), UUID(desk["id"]), new_id(), new_id()
    await insert(api, "customer", id=customer, name="Rita", created_at=START)
    await insert(
        api,
        "account",
        id=account,
        scope="shout",
        external_id=name,
        customer_id=customer,
        provider="shout",
        handle="rita",
        created_at=START,
        updated_at=START,
    )
    ticket = await open_ticket(api, source, helpdesk, account, customer)
    made = Matter(api, source, helpdesk, account, ticket, ticket)
    made.message = await made.say(0, "it broke")
    await api.woken()
    return made
