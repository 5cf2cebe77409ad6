"""What stops a clock and what does not, down the whole line between a channel and a helpdesk."""

from __future__ import annotations

import asyncio
from datetime import timedelta
from typing import Any
from uuid import UUID

import pytest

from gateway.sla.clock import Terms
from gateway_schemas.testing.twin import Fault
from support.clocks import ask, clocks_of, started
from support.policies import forget, put


async def complaint(line: Any) -> tuple[str, UUID]:
    """A complaint whose first response is owed within an hour: the post and its ticket."""
    # no policy in force: the clocks are the test's own
    await line.gateway.execute("DELETE FROM policy_activation")
    forget(line.gateway.runtime)
    post: str = line.x.post("rita", "@AcmeSupport my parcel is stuck")
    await line.settle()
    ticket: UUID = await line.gateway.value("SELECT id FROM ticket")
    now = line.gateway.runtime.now()
    solved = Terms(timedelta(hours=8), stops_on="solved")
    asked = [started(ticket, now), started(ticket, now, kind="resolution", terms=solved)]
    await ask(line.gateway.runtime, asked, now)
    return post, ticket


async def hurry(line: Any) -> None:
    """Let fields that wait for company go out by themselves."""
    await line.gateway.execute("UPDATE push SET due_at = :now WHERE state = 'pending'", now=line.gateway.runtime.now())
    await line.settle()


async def states(line: Any, ticket: UUID) -> dict[str, str]:
    """Each kind's state."""
    return {one.kind: one.state for one in await clocks_of(line.gateway.runtime, ticket)}


async def test_publication_stops_a_clock_and_a_held_reply_does_not(line: Any) -> None:
    _, ticket = await complaint(line)
    await line.answer(1, "word " * 80)
    assert (await line.reply())["state"] == "blocked"
    assert await states(line, ticket) == {"first_response": "running", "resolution": "running"}
    await line.answer(1, "We found it!")
    reply = await line.reply()
    assert reply["state"] == "sent"
    (clock,) = [one for one in await clocks_of(line.gateway.runtime, ticket) if one.kind == "first_response"]
    assert (clock.state, clock.stopped_at, clock.stopped_by) == ("met", reply["sent_at"], f"reply:{reply['id']}")


@pytest.mark.parametrize("status", ["solved", "closed"])
async def test_an_answer_that_solves_its_ticket_in_one_step_meets_the_clock(line: Any, status: str) -> None:
    """The ticket is read as solved before the answer is out, and on a solved ticket nobody waits for an answer."""
    await line.gateway.execute("DELETE FROM policy_activation")
    await put(line.gateway.runtime, "response_sla", name="sla")
    line.x.post("rita", "@AcmeSupport my parcel is stuck")
    await line.settle()
    ticket: UUID = await line.gateway.value("SELECT id FROM ticket")
    assert await states(line, ticket) == {"first_response": "running"}
    line.x.faults.append(Fault("latency", path="/2/tweets$", method="POST", seconds=1.0))
    line.desk.agent_comment(1, "Ann", "We found it!", status=status)
    await line.desk.settle()

    async def read() -> Any:
        return await line.gateway.value("SELECT status = :status FROM ticket", status=status)

    await line.gateway.until(read, f"the ticket is known to be {status}")
    assert line.published() == []
    await line.settle()
    (clock,) = await clocks_of(line.gateway.runtime, ticket)
    assert (clock.state, clock.stopped_at, clock.reason) == ("met", (await line.reply())["sent_at"], None)


async def test_a_ticket_that_is_solved_without_an_answer_has_a_clock_that_no_later_answer_revives(line: Any) -> None:
    await line.gateway.execute("DELETE FROM policy_activation")
    await put(line.gateway.runtime, "response_sla", name="sla")
    line.x.post("rita", "@AcmeSupport my parcel is stuck")
    await line.settle()
    ticket: UUID = await line.gateway.value("SELECT id FROM ticket")
    line.desk.set_status(1, "solved", "Ann")
    await line.desk.settle()
    await line.settle()
    assert await states(line, ticket) == {"first_response": "cancelled"}
    await asyncio.sleep(1.1)  # the helpdesk tells time in seconds
    await line.answer(1, "One more thing: it is blue.")
    assert len(line.published()) == 1
    assert await states(line, ticket) == {"first_response": "cancelled"}


async def test_an_answer_given_at_the_channel_itself_stops_the_clock(line: Any) -> None:
    post, ticket = await complaint(line)
    line.x.post("AcmeSupport", "We are on it", in_reply_to=post)
    await line.settle()
    (clock,) = [one for one in await clocks_of(line.gateway.runtime, ticket) if one.kind == "first_response"]
    own = await line.gateway.value("SELECT id FROM interaction WHERE direction = 'outbound'")
    assert (clock.state, clock.stopped_by) == ("met", f"interaction:{own}")


async def test_a_ticket_that_waits_for_the_customer_stands_still_until_they_write(line: Any) -> None:
    post, ticket = await complaint(line)
    await line.answer(1, "Which address?", status="pending")
    assert await states(line, ticket) == {"first_response": "met", "resolution": "paused"}
    line.x.post("rita", "@AcmeSupport 5 Elm Street", in_reply_to=post)
    await line.settle()
    assert (await states(line, ticket))["resolution"] == "running"
    await line.answer(1, "Thank you!", status="solved")
    assert (await states(line, ticket))["resolution"] == "met"


async def test_agents_see_the_clocks_in_the_helpdesks_fields(line: Any) -> None:
    await line.gateway.change_config(line.helpdesk, fields={"gw_sla": 11, "gw_next_due": 12})
    await complaint(line)
    await hurry(line)
    shown = line.ticket(1).custom_fields
    assert shown[11] == "first_response: running"
    assert shown[12]
    await line.answer(1, "We found it!", status="solved")
    await hurry(line)
    shown = line.ticket(1).custom_fields
    assert shown[11] in ("resolution: met", "first_response: met"), "whichever ended last, by clocks of their own"
    assert shown[12] is None


async def test_a_promise_written_down_over_rest_is_looked_after_like_one_found_in_an_answer(line: Any) -> None:
    await put(line.gateway.runtime, "keep_promises", name="promises")
    line.x.post("rita", "@AcmeSupport my parcel is stuck")
    await line.settle()
    ticket = await line.gateway.value("SELECT id FROM ticket")
    due = line.gateway.runtime.now() + timedelta(seconds=1)
    async with line.rest() as http:
        body = {"ticket": str(ticket), "quote": "a call tonight", "due": due.isoformat()}
        assert (await http.post("/v1/promises", json=body)).status_code == 201
    (clock,) = [one for one in await clocks_of(line.gateway.runtime, ticket) if one.kind == "promise"]
    assert (clock.policy, clock.label) == ("promises", "a call tonight")

    async def broken() -> bool:
        return bool(await line.gateway.value("SELECT state FROM promise") == "broken")

    await line.gateway.until(broken, "its time passed and nobody kept it")
    await line.settle()
    assert "promise_broken" in line.ticket(1).tags
    assert await line.gateway.value("SELECT code FROM alarm WHERE code = 'promise_broken'") == "promise_broken"
