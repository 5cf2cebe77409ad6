"""How a push ended, written down: done, taken as a job, failed in one of the ways one can recover from, or found."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import datetime, timedelta
from uuid import UUID

from sqlalchemy.ext.asyncio import AsyncConnection

from gateway.db.database import execute, execute_rows, fetch_all, fetch_one
from gateway.events.announce import announce
from gateway.pipeline.changes import Change
from gateway.pipeline.succession import drop_lone_notes, follow_merge, follow_up, is_this_one, send_again
from gateway.pipeline.trouble import Trouble
from gateway_schemas.ticket import Done, FoundTicket, Pending

MINE = "id = ANY(:ids) AND change_key = :key AND epoch = :epoch"


async def still_ours(connection: AsyncConnection, change: Change) -> bool:
    """Lock the change's rows and make sure nobody has settled or claimed them since."""
    rows = await fetch_all(
        connection,
        f"SELECT id FROM push WHERE {MINE} AND state IN ('in_flight', 'job') ORDER BY id FOR UPDATE",
        ids=list(change.push_ids),
        key=change.key,
        epoch=change.epoch,
    )
    return len(rows) == len(change.push_ids)


async def done(connection: AsyncConnection, change: Change, result: Done, now: datetime) -> set[str]:
    """The helpdesk has it."""
    if change.change.external_id is None:
        await is_this_one(connection, change.ticket_id, result.external_id, now)
    await _place_ticket(connection, change.ticket_id, result.external_id, result.url, now)
    digest = result.comments.get(change.key)
    comments = {key: result.comments.get(key, digest) for key in change.push_keys}
    await _finish(connection, change, comments, result.at or now)
    return set()


async def pending(connection: AsyncConnection, change: Change, result: Pending, now: datetime) -> None:
    """The helpdesk took it as a job."""
    await execute(
        connection,
        f"UPDATE push SET state = 'job', job = :job, due_at = :due WHERE {MINE}",
        ids=list(change.push_ids),
        key=change.key,
        epoch=change.epoch,
        job=result.job,
        due=now + result.after,
    )


async def found(
    connection: AsyncConnection,
    change: Change,
    seen: FoundTicket,
    now: datetime,
    *,
    absent: bool,
    doubted: bool = False,
) -> None:
    """What `find` saw after an interruption. Only when absence is proven do the rows go out again, unchanged.

    After a restore (`doubted`) nobody knows which message made a ticket that is there: only its own mark tells that a
    comment is.
    """
    comments = {comment.key for comment in change.change.comments}
    creating = change.change.external_id is None
    if seen.external_id is not None and creating:
        await is_this_one(connection, change.ticket_id, seen.external_id, now)
        await _place_ticket(connection, change.ticket_id, seen.external_id, seen.url, now)
    if doubted and creating and seen.external_id is not None and comments and not comments <= set(seen.comments):
        await settled(connection, change, now)
        return
    there = (creating and seen.external_id is not None) or (bool(comments) and comments <= set(seen.comments))
    if there:
        digest = seen.comments.get(change.key)
        await _finish(connection, change, {key: seen.comments.get(key, digest) for key in change.push_keys}, now)
        return
    repeatable = not comments and not creating  # fields alone may be written twice
    if absent or repeatable:
        await execute(
            connection,
            f"""UPDATE push SET state = 'pending', due_at = :now, doubt = CASE WHEN doubt = 'asking' THEN 'settled' END
                WHERE {MINE}""",
            ids=list(change.push_ids),
            key=change.key,
            epoch=change.epoch,
            now=now,
        )
        return
    await ask_later(connection, change, Trouble("retry", "not_yet", "the helpdesk does not show it yet"), now)


async def settled(connection: AsyncConnection, change: Change, now: datetime) -> None:
    """It was asked after and is not there, or there is no such ticket any more: it is told as if it were new."""
    await execute(
        connection,
        f"UPDATE push SET state = 'pending', change_key = NULL, due_at = :now, doubt = 'settled' WHERE {MINE}",
        ids=list(change.push_ids),
        key=change.key,
        epoch=change.epoch,
        now=now,
    )


async def ask_later(connection: AsyncConnection, change: Change, trouble: Trouble, now: datetime) -> None:
    """Still unknown: ask again after a while."""
    await execute(
        connection,
        f"UPDATE push SET due_at = :due, code = :code, reason = :reason WHERE {MINE}",
        ids=list(change.push_ids),
        key=change.key,
        epoch=change.epoch,
        due=now + trouble.delay(min(change.tries, 4)),
        code=trouble.code,
        reason=trouble.reason,
    )


async def failed(connection: AsyncConnection, change: Change, trouble: Trouble, now: datetime) -> set[str]:
    """It failed; go on as the error's name says."""
    values = {"ids": list(change.push_ids), "key": change.key, "epoch": change.epoch}
    if trouble.kind == "unknown":
        # the row stays in flight with its deadline moved up: next it is asked after
        await execute(
            connection,
            f"""UPDATE push SET deadline_at = clock_timestamp(), due_at = :due, state = 'in_flight', code = :code,
                    reason = :reason WHERE {MINE}""",
            **values,
            due=now + timedelta(seconds=1),
            code=trouble.code,
            reason=trouble.reason,
        )
        await _problem(connection, change.ticket_id, trouble, now)
        return set()
    if trouble.kind in ("retry", "reauthorise"):
        await execute(
            connection,
            f"""UPDATE push SET state = 'pending', change_key = NULL, due_at = :due, code = :code, reason = :reason
                WHERE {MINE}""",
            **values,
            due=now + trouble.delay(change.tries + 1),
            code=trouble.code,
            reason=trouble.reason,
        )
        await _problem(connection, change.ticket_id, trouble, now)
        return set()
    if trouble.kind == "moved" and trouble.moved_to is not None:
        await follow_merge(connection, change.ticket_id, trouble.moved_to, now)
        target = await fetch_one(connection, "SELECT merged_into FROM ticket WHERE id = :id", id=change.ticket_id)
        await send_again(connection, change, (target["merged_into"] if target else None) or change.ticket_id, now)
        return set()
    if trouble.kind in ("closed", "moved", "gone") and await _has_moved(connection, change.ticket_id):
        # the matter goes on elsewhere: what this ticket was still to be told nobody needs any more
        await execute(
            connection,
            f"""UPDATE push SET state = 'dropped', code = :code, reason = 'the ticket had moved to another helpdesk',
                    done_at = :now WHERE {MINE}""",
            **values,
            code=trouble.code,
            now=now,
        )
        return set()
    if trouble.kind in ("closed", "moved", "gone"):
        ended = "deleted" if trouble.kind == "gone" else "closed"
        fresh = await follow_up(connection, change.ticket_id, ended, now)
        await send_again(connection, change, fresh, now)
        await drop_lone_notes(connection, fresh, ended, now)
        return set()
    await execute(
        connection,
        f"UPDATE push SET state = 'failed', code = :code, reason = :reason, done_at = :now WHERE {MINE}",
        **values,
        code=trouble.code,
        reason=trouble.reason,
        now=now,
    )
    await _problem(connection, change.ticket_id, trouble, now)
    await _dead(connection, change.ticket_id, change.push_ids, trouble, now)
    return set()


async def unfit(
    connection: AsyncConnection, ticket_id: UUID, push_ids: Sequence[int], reason: str, now: datetime
) -> None:
    """These rows cannot be put into the contract's words: they end failed, visible on the ticket, before any call."""
    told = Trouble("rejected", "unfit", reason.partition("\n")[0][:500])
    await execute(
        connection,
        """UPDATE push SET state = 'failed', code = :code, reason = :reason, done_at = :now
           WHERE id = ANY(:ids) AND state = 'pending'""",
        ids=list(push_ids),
        code=told.code,
        reason=told.reason,
        now=now,
    )
    await _problem(connection, ticket_id, told, now)
    await _dead(connection, ticket_id, push_ids, told, now)


async def _dead(
    connection: AsyncConnection, ticket_id: UUID, push_ids: Sequence[int], trouble: Trouble, now: datetime
) -> None:
    data = {"dead_letters": list(push_ids), "code": trouble.code}
    await announce(connection, "dead_letter.added", "ticket", ticket_id, data, now)


async def _has_moved(connection: AsyncConnection, ticket_id: UUID) -> bool:
    row = await fetch_one(connection, "SELECT moved_to FROM ticket WHERE id = :id", id=ticket_id)
    return row is not None and row["moved_to"] is not None


async def _place_ticket(
    connection: AsyncConnection, ticket_id: UUID, external_id: str, url: str | None, now: datetime
) -> None:
    await execute(
        connection,
        """UPDATE ticket SET external_id = COALESCE(external_id, :external), external_url = COALESCE(external_url,
               :url),
               problem = NULL, updated_at = :now
           WHERE id = :id AND (external_id IS NULL OR problem IS NOT NULL)""",
        id=ticket_id,
        external=external_id,
        url=url,
        now=now,
    )


async def _finish(connection: AsyncConnection, change: Change, comments: dict[str, str | None], at: datetime) -> None:
    await execute_rows(
        connection,
        """UPDATE push p SET state = 'done', done_at = COALESCE(p.done_at, :at), external_id = g.comment,
               job = NULL, code = NULL,
               reason = NULL
           FROM jsonb_to_recordset(CAST(:rows AS jsonb)) AS g (id bigint, comment text)
           WHERE p.id = g.id AND p.change_key = :key AND p.epoch = :epoch""",
        [{"id": id, "comment": comments.get(key)} for id, key in _pairs(change)],
        key=change.key,
        epoch=change.epoch,
        at=at,
    )


def _pairs(change: Change) -> Iterable[tuple[int, str]]:
    return zip(change.push_ids, change.push_keys, strict=True)


async def _problem(connection: AsyncConnection, ticket_id: UUID, trouble: Trouble, now: datetime) -> None:
    await execute(
        connection,
        "UPDATE ticket SET problem = :problem, updated_at = :now WHERE id = :id AND problem IS DISTINCT FROM :problem",
        id=ticket_id,
        problem=f"{trouble.code}: {trouble.reason}",
        now=now,
    )
