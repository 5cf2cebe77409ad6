"""Rate limits: what headers say, what a 429 means, and which requests count where."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import httpx2
import pytest

from gateway_freshdesk.plugin import BUDGETS
from gateway_schemas.errors import Retry
from gateway_schemas.limits import BUCKET
from gateway_schemas.ticket import PushIntent


@pytest.mark.parametrize("decimals", [False, True])
async def test_headers_become_readings(desk: Any, decimals: bool) -> None:
    desk.twin.limits.plan("growth")
    desk.twin.limits.decimals = decimals
    response = await desk.plugin._api.send("GET", "agents/me")
    (reading,) = desk.plugin.limits_of(response, "read")
    assert (reading.bucket, reading.limit, reading.remaining, reading.resets_at) == ("*", 200, 199, None)


@pytest.mark.parametrize(
    ("headers", "expected"),
    [
        ({}, []),
        ({"X-RateLimit-Total": "700", "X-RateLimit-Remaining": "0"}, [(700, 0)]),
        ({"X-RateLimit-Total": "100.0", "X-RateLimit-Remaining": "99.5"}, [(100, 99)]),
        ({"X-RateLimit-Total": "5000"}, []),
        ({"X-RateLimit-Total": "many", "X-RateLimit-Remaining": "-1"}, []),
        ({"X-RateLimit-Total": "9" * 5000, "X-RateLimit-Remaining": "²"}, []),
    ],
)
def test_header_shapes(desk: Any, headers: dict[str, str], expected: list[tuple[int, int]]) -> None:
    response = httpx2.Response(200, headers=[(name.encode(), value.encode()) for name, value in headers.items()])
    assert [(one.limit, one.remaining) for one in desk.plugin.limits_of(response, "read")] == expected


async def refused(desk: Any, change: Any) -> Retry:
    with pytest.raises(Retry) as caught:
        await desk.push(change)
    return caught.value


async def test_the_accounts_limit_holds_everything_back(desk: Any) -> None:
    desk.twin.limits.limits["account"] = 1
    await desk.created("a")
    error = await refused(desk, desk.change("b"))
    assert (error.bucket, error.code, error.after) == (None, "rate_limited", timedelta(seconds=60))
    desk.time.pass_by(seconds=60)
    await desk.created("b")


async def test_an_endpoints_own_limit_holds_that_back_alone(desk: Any) -> None:
    desk.twin.limits.plan("growth")
    desk.twin.limits.limits["tickets-create"] = 2
    for key in "ab":
        await desk.created(key)
    error = await refused(desk, desk.change("c"))
    assert error.bucket == "tickets-create"
    await desk.told(1, "k2")  # the other kinds go on
    assert len(desk.twin.tickets) == 2


async def test_an_invalid_request_counts_too(desk: Any) -> None:
    desk.twin.limits.limits["account"] = 2
    auth = (desk.twin.key, "X")
    for status in (400, 400, 429):
        answer = await desk.http.post(f"{desk.twin.url}/api/v2/tickets", json={}, auth=auth)
        assert answer.status_code == status


async def test_a_429_without_headers_waits_a_minute(desk: Any) -> None:
    desk.fault("status_before", method="POST", path="/tickets$", status=429, body=b'{"message":"slow down"}')
    error = await refused(desk, desk.change())
    assert (error.after, error.bucket) == (timedelta(minutes=1), None)


async def test_limits_go_by_the_plan(desk: Any) -> None:
    """A share of them is for the account's other integrations, and for the webhooks of its rules."""
    assert desk.plugin.budgets_of(desk.config()) == BUDGETS["growth"] == desk.plugin.budgets
    desk.settings = {"plan": "enterprise", "share": 0.25}
    assert {one.bucket: one.limit for one in desk.plugin.budgets_of(desk.config())} == {
        "*": 700,
        "tickets-create": 280,
        "tickets-update": 280,
        "tickets-list": 200,
        "contacts-list": 200,
    }
    assert desk.plugin.allowance_of(desk.config()).share == 0.25


async def test_each_request_names_its_budget(desk: Any) -> None:
    seen: set[str] = set()

    async def note(request: httpx2.Request) -> None:
        seen.add(request.extensions[BUCKET])

    async with httpx2.AsyncClient(trust_env=False, event_hooks={"request": [note]}) as http:
        desk.http = http
        ticket = await desk.created()
        await desk.told(ticket, "k2")
        await desk.plugin.poll("tickets", None)
        desk.state.document = {}
        await desk.plugin.find(PushIntent(change=desk.change(), started_at=desk.time.now()))
    assert {budget.bucket for budget in desk.plugin.budgets} - {"*"} <= seen


async def test_what_an_update_costs(desk: Any) -> None:
    """A look at the ticket and the note; the fields only where they differ, the contact only once."""
    ticket = await desk.created()
    before = len(desk.requests())
    await desk.told(ticket, "k2")
    assert [(method, path.rsplit("/", 1)[-1]) for method, path, _ in desk.requests()[before:]] == [
        ("GET", str(ticket)),
        ("POST", "notes"),
    ]
