"""Rate limits: what headers say, what a 429 means, and which requests count where."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import httpx2
import pytest

from gateway_schemas.errors import Retry
from gateway_schemas.limits import BUCKET, SCOPE
from gateway_zendesk.twin_limits import Limit


async def test_headers_become_readings(desk: Any) -> None:
    desk.twin.limits.limits["account"] = Limit(400)
    response = await desk.plugin._api.send("GET", "users/me")
    (reading,) = desk.plugin.limits_of(response, "read")
    assert (reading.bucket, reading.limit, reading.remaining) == ("*", 400, 399)
    assert reading.resets_at == desk.time.now() + timedelta(seconds=60)


async def test_a_share_of_the_limits_is_for_others(desk: Any) -> None:
    assert desk.plugin.allowance_of(desk.config()).share == 0.7
    desk.settings = {"share": 0.25}
    assert desk.plugin.allowance_of(desk.config()).share == 0.25


@pytest.mark.parametrize(
    ("headers", "expected"),
    [
        ({}, []),
        ({"X-Rate-Limit": "700", "X-Rate-Limit-Remaining": "0"}, [("*", 700, 0, None)]),
        ({"ratelimit-limit": "100", "ratelimit-remaining": "99", "ratelimit-reset": "41"}, [("*", 100, 99, 41)]),
        ({"zendesk-ratelimit-tickets-index": "total=100; remaining=99; resets=41"}, [("tickets-index", 100, 99, 41)]),
        ({"Zendesk-RateLimit-search-index": "total=100;remaining=20;resets=1"}, [("search-index", 100, 20, 1)]),
        ({"zendesk-ratelimit-x": "total=1; remaining=1"}, [("x", 1, 1, None)]),
        ({"X-Rate-Limit": "many", "X-Rate-Limit-Remaining": "-1"}, []),
        ({"X-Rate-Limit": "9" * 5000, "X-Rate-Limit-Remaining": "²"}, []),
        ({"zendesk-ratelimit-x": "total=5; remaining=5; resets=" + "9" * 30}, [("x", 5, 5, None)]),
        ({"zendesk-ratelimit-x": "soon"}, []),
    ],
)
async def test_header_shapes(desk: Any, headers: dict[str, str], expected: list[tuple[Any, ...]]) -> None:
    now = desk.time.now()
    response = httpx2.Response(200, headers=[(name.encode(), value.encode()) for name, value in headers.items()])
    found = desk.plugin.limits_of(response, "read")
    seconds = [one.resets_at and (one.resets_at - now).total_seconds() for one in found]
    seen = [(one.bucket, one.limit, one.remaining) for one in found]
    assert [(*one, left) for one, left in zip(seen, seconds, strict=True)] == expected


async def refused(desk: Any, *changes: Any) -> Retry:
    *fine, last = changes
    for change in fine:
        await desk.push(change)
    with pytest.raises(Retry) as caught:
        await desk.push(last)
    return caught.value


async def test_the_accounts_limit_holds_everything_back(desk: Any) -> None:
    desk.twin.limits.limits["account"] = Limit(1)
    error = await refused(desk, desk.change())
    assert (error.bucket, error.code) == (None, "rate_limited")
    assert error.after == timedelta(seconds=60)


async def test_a_buckets_limit_holds_the_bucket_back(desk: Any) -> None:
    ticket = await desk.created()
    desk.twin.limits.limits.update({"account": Limit(400), "tickets-update": Limit(1)})
    changes = [desk.change(f"u{number}", external_id=str(ticket), subject=None) for number in range(2)]
    error = await refused(desk, *changes)
    assert error.bucket == "tickets-update"
    assert len(desk.twin.tickets[ticket].comments) == 2


async def test_thirty_updates_of_one_ticket_in_ten_minutes(desk: Any) -> None:
    """The limit per ticket has no header of its own, and holds no other ticket back."""
    ticket = await desk.created()
    desk.twin.limits.limits.update({"account": Limit(400), "ticket": Limit(30, 600)})
    changes = [desk.change(f"u{number}", (), external_id=str(ticket), subject=f"{number}") for number in range(31)]
    error = await refused(desk, *changes)
    assert error.bucket == f"tickets-update:{ticket}"
    assert error.after is not None
    assert error.after <= timedelta(minutes=10)
    other = await desk.created("k2")
    (done,) = await desk.push(desk.change("u99", external_id=str(other), subject=None))
    assert done.external_id == str(other)
    desk.time.pass_by(seconds=error.after.total_seconds())
    (done,) = await desk.push(changes[-1])
    assert done.external_id == str(ticket)


async def test_plain_text_429(desk: Any) -> None:
    desk.twin.limits.limits["account"] = Limit(0)
    desk.twin.limits.plain_text_429 = True
    assert (await refused(desk, desk.change())).after == timedelta(seconds=60)


async def test_one_new_user_a_second_is_waited_for(desk: Any) -> None:
    desk.twin.limits.limits.update({"account": Limit(400), "users-create": Limit(1, 1)})
    began = desk.time.now()
    for name in ("a", "b", "c"):
        one = desk.customer(name)
        await desk.created(name, requester=one, comments=[desk.comment(author=one)])
    assert desk.time.now() - began == timedelta(seconds=2)


async def test_one_tickets_long_wait_in_a_batch_does_not_hold_back_the_connection(desk: Any) -> None:
    """The result names the ticket's own bucket; a wait without one would be the whole connection's."""
    first, second = await desk.created("a"), await desk.created("b")
    desk.twin.limits.limits.update({"account": Limit(400), "ticket": Limit(1, 600)})
    desk.twin.limits.take("ticket", f"{desk.twin.api_user.id}/{first}", hidden=True)
    results = await desk.push(
        desk.change("u1", (), external_id=str(first), subject="x"),
        desk.change("u2", (), external_id=str(second), subject=None),
    )
    assert (results[0].error, results[0].code, results[0].bucket) == (
        "retry",
        "rate_limited",
        f"tickets-update:{first}",
    )
    assert results[1].external_id == str(second)


async def test_each_request_names_its_budget(desk: Any) -> None:
    """Every bucket that is declared is used, and updates count per ticket."""
    seen: list[tuple[str, str | None]] = []

    async def note(request: httpx2.Request) -> None:
        seen.append((request.extensions[BUCKET], request.extensions.get(SCOPE)))

    async with httpx2.AsyncClient(trust_env=False, event_hooks={"request": [note]}) as http:
        desk.http = http
        ticket = await desk.created()
        await desk.push(desk.change("u", external_id=str(ticket), subject=None))
        await desk.push(desk.change("a"), desk.change("b"))
        desk.time.pass_by(minutes=5)
        await desk.plugin.poll("tickets", None)
    declared = {budget.bucket for budget in desk.plugin.budgets} - {"*"}
    assert declared <= {bucket for bucket, _ in seen}
    assert ("tickets-update", str(ticket)) in seen
    assert ("users-create", "fake:alice") in seen
    per_scope = {budget.bucket for budget in desk.plugin.budgets if budget.per_scope}
    assert all(scope is not None for bucket, scope in seen if bucket in per_scope)
