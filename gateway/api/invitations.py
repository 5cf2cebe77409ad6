"""Invitations: how a customer who complained in public goes on in private, on the same ticket."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Annotated
from uuid import UUID

from fastapi import APIRouter, Response
from pydantic import Field

from gateway.api.deps import ReadsTickets, RuntimeDep, WritesTickets
from gateway.api.models import Answer, Input, Page, Reference
from gateway.api.problems import conflict, invalid, not_found
from gateway.api.routes import ApiRoute
from gateway.db.database import fetch_all, fetch_one
from gateway.pipeline.invitations import LIFE, NoMailbox, invite, mailboxes, withdraw
from gateway_schemas.claims import written

router = APIRouter(prefix="/tickets/{ticket_id}/invitations", tags=["conversations"], route_class=ApiRoute)


class NewInvitation(Input):
    """Where to the customer is invited, and for how long."""

    connection: Reference | None = None
    """The mailbox's connection, by id or name; null: the ticket's brand's oldest one."""
    days: Annotated[int, Field(ge=1, le=90)] = LIFE.days
    """How long it can be used for the first time."""


class InvitationView(Answer):
    """An invitation as it was made. Its code is shown here alone."""

    id: UUID
    connection: str
    address: str
    """Where the customer writes to."""
    address_carries_code: bool
    """Whether writing there is enough; else the code has to stand in the subject."""
    code: str
    """For a subject line. Small letters and a missing hyphen do no harm."""
    expires_at: datetime


class InvitationState(Answer):
    """What became of an invitation."""

    id: UUID
    connection: str
    made_by: str
    created_at: datetime
    expires_at: datetime
    claimed_by: str | None
    """What the source calls the account that used it first, and has joined the customer since."""
    claimed_at: datetime | None


@router.post("", status_code=201)
async def invite_customer(
    runtime: RuntimeDep, caller: WritesTickets, ticket_id: UUID, given: NewInvitation
) -> InvitationView:
    """Make a one-time address and code with which the customer's next mail joins this ticket as its private leg.

    As long as nobody has used it, asking again gives the same one, with the later end. The first address that uses it
    is taken to be the customer's.
    """
    boxes = await mailboxes(runtime)
    if given.connection is not None:
        boxes = tuple(one for one in boxes if given.connection in (str(one.id), one.name))
        if not boxes:
            raise invalid(
                "connection",
                f"{given.connection} is no active connection that customers can be invited to",
                "take that of a mailbox (plugin email)",
            )
    async with runtime.database.write() as database:
        ticket = await fetch_one(
            database, "SELECT id, brand_id, merged_into, moved_to FROM ticket WHERE id = :id", id=ticket_id
        )
        if ticket is None:
            raise not_found("ticket", ticket_id)
        on = ticket["merged_into"] or ticket["moved_to"]
        if on is not None:
            raise conflict(f"The matter goes on in {on}; invite there.")
        try:
            made, box = await invite(
                database, ticket, boxes, caller.name, runtime.now(), life=timedelta(days=given.days)
            )
        except NoMailbox as error:
            if given.connection is not None:
                raise invalid("connection", "it belongs to another brand than the ticket") from error
            raise conflict(f"Nobody can be invited: {error}") from error
    return InvitationView(
        id=made["id"],
        connection=box.name,
        address=box.address.to(made["code"]),
        address_carries_code=box.address.carries_code,
        code=written(made["code"]),
        expires_at=made["expires_at"],
    )


@router.get("")
async def list_invitations(runtime: RuntimeDep, _: ReadsTickets, ticket_id: UUID) -> Page[InvitationState]:
    """The invitations of a ticket, newest first, without their codes. Always one page."""
    async with runtime.database.read() as database:
        rows = await fetch_all(
            database,
            """SELECT v.id, c.name AS connection, v.made_by, v.created_at, v.expires_at, v.claimed_at,
                      a.external_id AS claimed_by
               FROM invitation v JOIN connection c ON c.id = v.connection_id LEFT JOIN account a ON a.id = v.account_id
               WHERE v.ticket_id = :id ORDER BY v.id DESC""",
            id=ticket_id,
        )
    return Page(items=[InvitationState(**row) for row in rows], next=None)


@router.delete("/{invitation_id}", status_code=204)
async def withdraw_invitation(runtime: RuntimeDep, _: WritesTickets, ticket_id: UUID, invitation_id: UUID) -> Response:
    """Take an invitation back: nobody can use it any more, and an account that joined the customer by it leaves again.

    What that account wrote stays on the ticket until it is split off.
    """
    async with runtime.database.write() as database:
        if not await withdraw(database, ticket_id, invitation_id):
            raise not_found("invitation", invitation_id)
    return Response(status_code=204)
