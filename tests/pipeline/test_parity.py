"""Whether who asks in private is served as fast as who goes public: the report over all channels."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

from support.policies import put

LineLike = Any


async def polled(line: LineLike) -> None:
    """One poll of the helpdesk from half an hour back, and all that comes of it."""
    since = line.gateway.runtime.now() - timedelta(minutes=30)
    await line.gateway.execute(
        """UPDATE cursor SET next_at = now(), cursor = jsonb_build_object('since', CAST(:since AS bigint))
           WHERE connection_id = :id""",
        id=line.helpdesk,
        since=int(since.timestamp()),
    )
    await line.gateway.runtime.wake({f"poll:{line.helpdesk}:tickets"})

    async def done() -> bool:
        query = "SELECT count(*) FROM cursor WHERE connection_id = :id AND next_at <= now()"
        return not await line.gateway.value(query, id=line.helpdesk)

    await line.gateway.until(done, "the helpdesk was polled")
    await line.settle()


async def report(line: LineLike) -> dict[str, dict[str, Any]]:
    """The parity report by channel."""
    async with line.rest() as http:
        answer = await http.get("/v1/reports/parity")
        assert answer.status_code == 200, answer.text
        return {one.pop("channel"): one for one in answer.json()["items"]}


async def test_the_helpdesks_own_channels_are_compared_with_ours(line: LineLike) -> None:
    line.desk.export_lag = 0
    await put(line.gateway.runtime, "channel_parity")
    line.x.post("rita", "@AcmeSupport my parcel is stuck")
    line.x.post("bob", "@AcmeSupport I wrote you two e-mails and nobody answered. Where is my parcel?")
    await line.settle()
    await line.answer(1, "It comes today")
    mail, call = line.desk.customer_ticket("my parcel"), line.desk.customer_ticket("my bill", via="voice")
    twin = line.desk.tickets[mail]
    twin.created_at -= timedelta(minutes=20)
    for audit in twin.audits:
        audit.created_at -= timedelta(minutes=20)
    line.desk.agent_comment(mail, "Ann", "It is on its way", status="solved")
    await line.desk.settle()
    await polled(line)
    found = await report(line)
    assert {name: one["tickets"] for name, one in found.items()} == {"public": 2, "email": 1, "phone": 1}
    assert {name: one["answered"] for name, one in found.items()} == {"public": 1, "email": 1, "phone": 0}
    assert 19 <= found["email"]["first_response_minutes_median"] <= 21
    assert 19 <= found["email"]["resolution_minutes_median"] <= 21
    assert (found["email"]["resolved"], found["phone"]["resolved"]) == (1, 0)
    assert found["phone"]["first_response_minutes_median"] is None
    assert {name: one["forced_public"] for name, one in found.items()} == {"public": 1, "email": 0, "phone": 0}
    for table in ("ticket", "clock", "push"):
        query = "SELECT count(*) FROM ticket" if table == "ticket" else f"SELECT count(DISTINCT ticket_id) FROM {table}"
        assert await line.gateway.value(query) <= 2, "nothing comes of what is not ours"
    # opened again, deleted, and told twice
    line.desk.set_status(mail, "open", "Ann")
    line.desk.delete(call)
    await polled(line)
    await polled(line)
    found = await report(line)
    assert set(found) == {"public", "email"}
    assert (found["email"]["tickets"], found["email"]["reopened"], found["email"]["resolved"]) == (1, 1, 0)


async def test_solved_and_reopened_tickets_of_ours_are_counted_as_they_happen(line: LineLike) -> None:
    opener = line.x.post("rita", "@AcmeSupport my parcel is stuck")
    await line.settle()
    line.desk.set_status(1, "solved", "Ann")
    await line.desk.settle()
    await line.settle()
    [ticket] = await line.gateway.rows("SELECT solved_at, reopened FROM ticket")
    assert (ticket["solved_at"] is not None, ticket["reopened"]) == (True, 0)
    assert (await report(line))["public"]["resolved"] == 1
    line.x.post("rita", "@AcmeSupport no, it is not here", in_reply_to=opener)
    await line.settle()
    [ticket] = await line.gateway.rows("SELECT status, solved_at, reopened FROM ticket")
    assert (ticket["status"], ticket["solved_at"], ticket["reopened"]) == ("open", None, 1)
    found = (await report(line))["public"]
    assert (found["resolved"], found["reopened"]) == (0, 1)
