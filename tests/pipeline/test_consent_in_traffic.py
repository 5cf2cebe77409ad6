"""Promises 1, 3, 4 and 5 while a consent is refused and given again: nothing lost, nothing doubled, the admin told."""

from __future__ import annotations

import asyncio
from collections import Counter
from typing import Any
from uuid import UUID

import httpx2
import pytest

POSTS = 8
TOKEN = "/2/oauth2/token"


async def connected(line: Any, connection: UUID) -> None:
    """A person connects the account: in a browser, there and back."""
    async with line.rest() as http, httpx2.AsyncClient(follow_redirects=True) as browser:
        answer = await http.post(f"/v1/connections/{connection}/authorize")
        assert answer.status_code == 200, answer.text
        page = await browser.get(answer.json()["url"])
    assert (page.status_code, "Connected" in page.text) == (200, True), page.text


async def health(line: Any, connection: UUID) -> dict[str, Any]:
    """How the connection fares, as an admin sees it."""
    async with line.rest() as http:
        found: dict[str, Any] = (await http.get(f"/v1/connections/{connection}")).json()
    return found


async def refused(line: Any, connection: UUID, state: str) -> dict[str, Any]:
    """Wait until the admin is told."""

    async def told() -> Any:
        found = await health(line, connection)
        return found if found["health"]["status"] == "needs_authorisation" else None

    found: dict[str, Any] = await line.gateway.until(told, "the connection needs authorisation")
    assert found["health"]["status_reason"]
    assert (found["authorisation"]["state"], found["health"]["ok"]) == (state, False)
    assert "/authorize" in found["authorisation"]["mend"]
    return found


@pytest.fixture
async def traffic(make_line: Any) -> Any:
    """A line whose account at X and whose helpdesk are connected by OAuth."""
    async with make_line() as line:
        line.x.sign_in("AcmeSupport")
        line.desk.sign_in("ann")
        client = {
            "oauth_client_id": line.desk.consent.client_id,
            "oauth_client_secret": line.desk.consent.client_secret,
        }
        async with line.rest() as http:
            answer = await http.patch(f"/v1/connections/{line.helpdesk}", json={"config": client})
            assert answer.status_code == 200, answer.text
        await connected(line, line.source)
        await connected(line, line.helpdesk)
        line.desk.token = "nobody has this one"
        yield line


async def customers(line: Any, first: int, last: int) -> None:
    """Customers write, one after the other."""
    for number in range(first, last):
        line.x.post(f"customer{number}", f"@AcmeSupport matter {number}")
        await asyncio.sleep(0.05)
    await line.x.settle()


async def agents(line: Any, first: int, last: int) -> None:
    """Agents answer each matter once it is at the helpdesk."""
    for number in range(first, last):

        async def there(number: int = number) -> Any:
            return [ticket.id for ticket in line.desk.tickets.values() if f"matter {number}" in ticket.comments[0].body]

        (ticket,) = await line.gateway.until(there, f"matter {number} is at the helpdesk")
        line.desk.agent_comment(ticket, "Ann", f"Answer {number}")


def everything_once(line: Any) -> None:
    """Each matter has one ticket and one comment of the customer's, and one answer in public."""
    told = Counter(
        comment.body.split("\n\nhttp")[0]
        for ticket in line.desk.tickets.values()
        for comment in ticket.comments
        if "matter" in comment.body
    )
    assert told == Counter(f"@AcmeSupport matter {number}" for number in range(POSTS))
    answers = Counter(text for text, _ in line.published() if text.startswith("Answer"))
    assert answers == Counter(f"Answer {number}" for number in range(POSTS))


async def test_consents_are_refused_and_given_again_during_traffic(traffic: Any) -> None:
    """First a token ends and is renewed unnoticed; then the source's consent is refused; then the helpdesk's."""
    line = traffic
    for number in range(POSTS):
        line.x.add_user(f"customer{number}")
    writing = asyncio.create_task(customers(line, 0, 4))
    await agents(line, 0, 1)
    line.x.expire_tokens("AcmeSupport")
    await agents(line, 1, 2)
    await writing
    await agents(line, 2, 3)
    await line.settle()
    for connection in (line.source, line.helpdesk):
        assert (await health(line, connection))["health"]["status"] == "active"
    assert token_requests(line) == 2, "one for the code, one renewal"

    line.x.renewals.forget(line.x.state.user("AcmeSupport").id)
    await agents(line, 3, 4)
    # its token was renewed just now, so that another renewal is no help and none is tried
    await refused(line, line.source, "granted")
    asked = token_requests(line)
    # the door goes on taking what customers write, and agents go on answering
    await customers(line, 4, 6)
    await agents(line, 4, 6)
    await line.desk.settle()

    async def decided() -> bool:
        waiting = await line.gateway.value("SELECT count(*) FROM reply WHERE state = 'queued'")
        return bool(waiting == 3)

    await line.gateway.until(decided, "the answers wait")
    assert line.x.webhook_failures == []
    assert (await health(line, line.source))["health"]["backlog"]["replies"] == 3
    requests = len(line.x.requests)
    await asyncio.sleep(1.5)
    assert len(line.x.requests) == requests, "nothing is asked of X meanwhile"
    assert token_requests(line) == asked, "a refused token is not tried again"
    await connected(line, line.source)
    await line.settle()
    assert (await health(line, line.source))["health"]["status"] == "active"

    line.desk.consent.revoke()
    await customers(line, 6, POSTS)
    await refused(line, line.helpdesk, "refused")
    assert line.x.webhook_failures == []
    assert (await health(line, line.helpdesk))["health"]["backlog"]["pushes"] >= POSTS - 6
    await connected(line, line.helpdesk)
    await agents(line, 6, POSTS)
    await line.settle()
    everything_once(line)


def token_requests(line: Any) -> int:
    """How often X's token endpoint was asked."""
    return len([path for _, path, _ in line.x.requests if path == TOKEN])
