"""A customer who complained in public goes on by mail: the invitation's first mail joins the ticket, and no other's."""

from __future__ import annotations

import asyncio
import re
from collections.abc import AsyncIterator
from dataclasses import dataclass
from datetime import timedelta
from typing import Any
from uuid import UUID

import pytest

from gateway.db.tables.columns import new_id
from gateway.pipeline.invitations import Claim, write_claims
from gateway_email.twin import EmailTwin

BRAND, OTHER = "help@acme.example", "help@other.example"
RITA, EVE = "rita@home.example", "eve@home.example"
LineLike = Any


@dataclass
class Offline:
    """A line with a mailbox beside X, and a second brand's mailbox."""

    line: LineLike
    mail: EmailTwin
    mailbox: UUID
    other: UUID

    @property
    def gateway(self) -> Any:
        return self.line.gateway

    async def poll(self) -> None:
        """Read the mailboxes, and do everything that follows from it."""
        await self.gateway.execute(
            "UPDATE cursor SET next_at = :now, polled_at = NULL WHERE connection_id = ANY(:ids)",
            now=self.gateway.runtime.now(),
            ids=[self.mailbox, self.other],
        )
        for row in await self.gateway.rows("SELECT connection_id, stream FROM cursor WHERE polled_at IS NULL"):
            await self.gateway.runtime.wake([f"poll:{row['connection_id']}:{row['stream']}"])

        async def done() -> bool:
            waiting = "SELECT count(*) FROM cursor WHERE polled_at IS NULL AND connection_id = ANY(:ids)"
            return bool(await self.gateway.value(waiting, ids=[self.mailbox, self.other]) == 0)

        await self.gateway.until(done, "the mailboxes are polled")
        await self.line.settle()

    async def write(self, sender: str, to: str, text: str, **options: Any) -> str:
        """Somebody writes a mail, which is read."""
        id = self.mail.direct_message(sender, to, text, **options)
        await self.poll()
        return id

    async def complain(self, text: str = "@AcmeSupport my parcel is stuck") -> UUID:
        """Rita complains in public; the ticket's id."""
        self.line.x.post("rita", text)
        await self.line.settle()
        found: UUID = await self.gateway.value("SELECT id FROM ticket ORDER BY created_at DESC LIMIT 1")
        return found

    async def invite(self, ticket: UUID, **body: Any) -> Any:
        """An invitation made over REST."""
        async with self.line.rest() as http:
            answer = await http.post(f"/v1/tickets/{ticket}/invitations", json=body)
            assert answer.status_code == 201, answer.text
            return answer.json()

    async def legs(self, ticket: UUID) -> list[str]:
        """The visibilities of the conversations of a ticket."""
        rows = await self.gateway.rows(
            "SELECT visibility FROM leg WHERE ticket_id = :id ORDER BY created_at", id=ticket
        )
        return [row["visibility"] for row in rows]

    async def customers(self) -> dict[str, UUID]:
        """Whose each account is, by what the source calls it."""
        rows = await self.gateway.rows("SELECT COALESCE(handle, external_id) AS who, customer_id FROM account")
        return {row["who"]: row["customer_id"] for row in rows}


@pytest.fixture
async def offline(make_line: Any) -> AsyncIterator[Offline]:
    """Rita and Eve have mailboxes; Acme has one that takes plus addresses, and so has another brand."""
    mail = EmailTwin()
    for address in (BRAND, OTHER, RITA, EVE):
        mail.add_user(address)
    async with make_line() as line, mail.listen():
        boxes = []
        for address in (BRAND, OTHER):
            config = {**mail.connection_config(address), "plus": True}
            boxes.append(
                await line.gateway.add_connection("source", "email", config, name=address, helpdesk=line.helpdesk)
            )
        brand, now = new_id(), line.gateway.runtime.now()
        await line.gateway.execute(
            "INSERT INTO brand (id, name, timezone, created_at) VALUES (:id, 'Other', 'UTC', :now)", id=brand, now=now
        )
        await line.gateway.execute("UPDATE connection SET brand_id = :brand WHERE id = :id", brand=brand, id=boxes[1])
        line.gateway.runtime.connections.forget(boxes[1])
        made = Offline(line, mail, *boxes)
        await made.poll()
        yield made


async def test_from_a_public_complaint_by_an_invitation_to_an_answer_by_mail(offline: Offline) -> None:
    line = offline.line
    ticket = await offline.complain()
    await line.answer(1, "/invite", public=False)
    note = line.ticket(1).comments[-1]
    found = re.search(r"help\+[0-9A-Z]{14}@acme\.example", note.body)
    assert not note.public
    assert found is not None
    address = found[0]
    assert (await offline.invite(ticket))["address"] == address, "one that nobody has used is given again"
    assert await offline.gateway.value("SELECT count(*) FROM invitation") == 1
    assert (
        await offline.gateway.value(
            "SELECT actor_kind FROM audit_entry WHERE action = 'invite_customer' ORDER BY seq LIMIT 1"
        )
        == "agent"
    )
    code = await offline.gateway.value("SELECT code FROM invitation")
    assert not await offline.gateway.value(
        "SELECT count(*) FROM audit_entry e WHERE CAST(e AS text) LIKE '%' || :code || '%'", code=code
    )
    words = f"Sorry! Please write to us at {address}"
    await line.answer(1, words)
    assert [text for text, _ in line.published()] == [words]

    mail = await offline.write(RITA, address.lower(), "Order 4711-88, call +39 055 123 4567.", subject="My parcel")
    assert len(line.desk.tickets) == 1
    assert "[direct message]\nMy parcel\nOrder 4711-88, call +39 055 123 4567." in line.comments(1)
    told = line.ticket(1).comments[-1]
    assert (told.public, RITA in told.body) == (False, True), "the agent learns who used it"
    assert await offline.legs(ticket) == ["public", "private"]
    customers = await offline.customers()
    assert customers[RITA] == customers["rita"]

    await asyncio.sleep(1.1)  # the helpdesk tells time in seconds, and no agent answers within one
    await line.answer(1, "Rita, we call you at +39 055 123 4567.", tags=["reply:public"])
    reply = await line.reply()
    assert (reply["state"], reply["visibility"]) == ("held", "public")
    assert [one["code"] for one in reply["findings"]] == ["private_only"]
    await line.answer(1, "Thank you, order 4711-88 leaves today.", remove_tags=["reply:public"])
    assert [text for text, _ in line.published()] == [words], "what answers a mail is never public by itself"

    async def mailed() -> bool:
        return bool(offline.mail.outbox)

    await offline.gateway.until(mailed, "the answer leaves by mail")
    [sent] = offline.mail.outbox
    assert (sent["to"], sent["in-reply-to"]) == (RITA, f"<{mail}>")
    await offline.write(RITA, str(sent["reply-to"]), "Thanks!", in_reply_to=mail)
    assert len(line.desk.tickets) == 1
    assert "Thanks!" in line.comments(1)[-1]


async def test_whoever_comes_second_late_or_to_another_brand_does_not_join(offline: Offline) -> None:
    line = offline.line
    ticket = await offline.complain()
    made = await offline.invite(ticket)
    await offline.write(RITA, OTHER, "At the wrong house.", subject=made["code"])
    await offline.write(RITA, "help+K7F2Q9XM4TDWB9@acme.example", "With an unknown code.", subject="Guess")
    assert len(line.desk.tickets) == 3
    assert len(line.ticket(1).comments) == 1, "one brand is not told of the other's mail"
    then = offline.gateway.runtime.now() - timedelta(minutes=1)
    await offline.gateway.execute("UPDATE invitation SET expires_at = :then", then=then)
    await offline.write(EVE, made["address"], "Too late.")
    assert len(line.desk.tickets) == 4
    assert "expired" in line.comments(1)[-1]
    assert await offline.legs(ticket) == ["public"]

    assert (await offline.invite(ticket))["address"] == made["address"], "renewed"
    await offline.write(RITA, BRAND, "By a list of copies.", headers={"X-Original-To": made["address"]})
    assert await offline.legs(ticket) == ["public", "private"], "her own matter does not keep her from this one"
    await offline.write(EVE, made["address"], "I am Rita, too.", subject="Other")
    note = line.ticket(1).comments[-1]
    assert (note.public, EVE in note.body, RITA in note.body) == (False, True, True)
    customers = await offline.customers()
    assert customers[RITA] == customers["rita"] != customers[EVE]
    owners = {row["customer_id"] for row in await offline.gateway.rows("SELECT customer_id FROM ticket")}
    assert customers["rita"] in owners
    assert len(owners) == 3, "of Rita's mailbox only what came to the other brand is still somebody else's"
    before = len(line.desk.tickets)
    await offline.write(RITA, made["address"], "One more thing.", subject="New thread")
    assert (len(line.desk.tickets), "One more thing." in line.comments(1)[-1]) == (before, True)

    async with line.rest() as http:
        path = f"/v1/tickets/{ticket}/invitations"
        for body, status in (({"connection": "nowhere"}, 422), ({"connection": OTHER}, 422), ({"days": 0}, 422)):
            assert (await http.post(path, json=body)).status_code == status, body
        assert (await http.post(f"/v1/tickets/{made['id']}/invitations", json={})).status_code == 404
        [listed] = (await http.get(path)).json()["items"]
        assert (listed["id"], listed["claimed_by"]) == (made["id"], RITA)
        assert made["code"] not in str(listed)
        assert [(await http.delete(f"{path}/{made['id']}")).status_code for _ in range(2)] == [204, 404]
    customers = await offline.customers()
    assert customers[RITA] != customers["rita"], "taken back, it parts them again"


async def test_two_mails_at_once_and_exactly_one_claims(offline: Offline) -> None:
    await offline.gateway.change_config(offline.mailbox, plus=False)
    ticket = await offline.complain()
    made = await offline.invite(ticket)
    assert (made["address"], made["address_carries_code"]) == (BRAND, False)
    for sender in (RITA, EVE):
        subject = f"AW: your code {made['code'].lower()}"
        offline.mail.direct_message(sender, BRAND, f"I am {sender}.", subject=subject)
    await offline.poll()
    assert len(offline.line.desk.tickets) == 2
    assert await offline.legs(ticket) == ["public", "private"]
    claimed = await offline.gateway.value(
        "SELECT a.external_id FROM invitation v JOIN account a ON a.id = v.account_id"
    )
    customers = await offline.customers()
    assert [who for who in (RITA, EVE) if customers[who] == customers["rita"]] == [claimed]

    # and where both have read that nobody has used it
    await offline.complain("@AcmeSupport and another thing")
    [second] = await offline.gateway.rows("SELECT id, customer_id FROM ticket ORDER BY created_at DESC LIMIT 1")
    made = await offline.invite(second["id"])
    accounts = await offline.gateway.rows(
        "SELECT id, customer_id FROM account WHERE external_id = ANY(:them) ORDER BY id", them=[RITA, EVE]
    )
    claims = [
        Claim(UUID(made["id"]), new_id(), second["id"], one["id"], one["customer_id"], second["customer_id"])
        for one in accounts
    ]
    database, now = offline.gateway.runtime.database, offline.gateway.runtime.now()

    async def late() -> bool:
        async with database.write() as connection:
            return await write_claims(connection, claims[1:], now)

    async def waits() -> bool:
        blocked = (
            "SELECT count(*) FROM pg_stat_activity WHERE wait_event_type = 'Lock' AND datname = current_database()"
        )
        return bool(await offline.gateway.value(blocked))

    async with database.write() as connection:
        assert await write_claims(connection, claims[:1], now)
        losing = asyncio.create_task(late())
        await offline.gateway.until(waits, "the second waits for the first")
    assert await losing is False
    rows = await offline.gateway.rows("SELECT account_id FROM invitation WHERE id = :id", id=UUID(made["id"]))
    assert [row["account_id"] for row in rows] == [accounts[0]["id"]]


async def test_the_ticket_was_merged_or_closed_meanwhile(offline: Offline) -> None:
    line = offline.line
    made = await offline.invite(await offline.complain())
    line.x.post("bob", "@AcmeSupport mine too")
    await line.settle()
    line.desk.merge(1, 2)
    await line.settle()
    await offline.write(RITA, made["address"], "It is order 4711.")
    assert any("It is order 4711." in text for text in line.comments(2))
    assert len(line.desk.tickets) == 2

    third = await offline.complain("@AcmeSupport my invoice is wrong")
    made = await offline.invite(third)
    line.desk.close(3)
    await line.settle()
    offline.mail.direct_message(EVE, made["address"], "It is invoice 12.")
    await offline.write(EVE, made["address"], "Of January.", subject="More")
    [row] = await offline.gateway.rows("SELECT customer_id FROM ticket WHERE followup_of = :id", id=third)
    assert row["customer_id"] == (await offline.customers())["rita"]
    assert ["It is invoice 12." in line.comments(4)[0], "Of January." in " ".join(line.comments(4))] == [True, True]
    assert len(line.desk.tickets) == 4
