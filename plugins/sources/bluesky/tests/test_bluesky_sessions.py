"""Sessions: kept over restarts and between processes, renewed before they end, begun anew as rarely as can be."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest

from gateway_bluesky.plugin import BlueskySource
from gateway_bluesky.sessions import expiry
from gateway_bluesky.twin import BlueskyTwin
from gateway_schemas.errors import Reauthorise, Retry
from gateway_schemas.plugin import MemoryState
from gateway_schemas.testing.clock import StillTime
from gateway_schemas.testing.twin import Fault

ACME = "acme.example.com"
Make = Callable[..., BlueskySource]


def calls(twin: BlueskyTwin) -> dict[str, int]:
    """How often each method of sessions was answered 200."""
    names = [path.rpartition(".")[2] for _, path, status in twin.requests if status == 200]
    return {name: names.count(name) for name in ("createSession", "refreshSession")}


async def poll(plugin: BlueskySource) -> None:
    await plugin.poll("notifications", None)


async def test_one_login_serves_restarts_and_other_processes(twin: BlueskyTwin, make: Make) -> None:
    state = MemoryState()
    await poll(make(state=state))
    for _ in range(3):
        await poll(make(state=state))
    assert calls(twin) == {"createSession": 1, "refreshSession": 0}
    assert twin.connection_config(ACME)["app_password"] not in str(state.document)


async def test_a_session_is_renewed_before_it_ends(twin: BlueskyTwin, make: Make, clock: StillTime) -> None:
    state = MemoryState()
    plugin = make(state=state)
    await poll(plugin)
    for _ in range(3):
        clock.pass_by(minutes=119)
        await poll(plugin)
    assert calls(twin) == {"createSession": 1, "refreshSession": 3}
    assert 400 not in {status for _, _, status in twin.requests}


async def test_a_session_that_ended_is_begun_anew_and_the_call_made_again(
    twin: BlueskyTwin, make: Make, clock: StillTime
) -> None:
    plugin = make()
    await poll(plugin)
    twin.expire_tokens(ACME)
    await poll(plugin)
    assert calls(twin) == {"createSession": 2, "refreshSession": 0}
    clock.pass_by(days=61)
    await poll(plugin)
    assert calls(twin)["createSession"] == 3


async def test_another_process_was_quicker(twin: BlueskyTwin, make: Make, clock: StillTime) -> None:
    """A refresh token is used once: the process that comes second takes what the first one got."""
    state = MemoryState()
    one, other = make(state=state), make(state=state)
    await poll(one)
    await poll(other)
    clock.pass_by(hours=2)
    await asyncio.gather(poll(one), poll(other), poll(one), poll(other))
    assert calls(twin)["createSession"] == 1
    assert calls(twin)["refreshSession"] <= 2


async def test_calls_side_by_side_renew_once(twin: BlueskyTwin, make: Make, clock: StillTime) -> None:
    plugin = make()
    # each login and each renewal lets the other calls go on meanwhile
    twin.faults.append(Fault("latency", path="createSession|refreshSession", seconds=0.01, times=None))
    await asyncio.gather(*(poll(plugin) for _ in range(5)))
    clock.pass_by(hours=2)
    await asyncio.gather(*(poll(plugin) for _ in range(5)))
    assert calls(twin) == {"createSession": 1, "refreshSession": 1}


async def test_a_new_password_begins_a_new_session(twin: BlueskyTwin, make: Make) -> None:
    state = MemoryState()
    await poll(make(state=state))
    twin.state.account(ACME).password = "twin-new-aaaa-bbbb"
    await poll(make(state=state))
    assert calls(twin)["createSession"] == 2


async def test_a_password_that_was_deleted(twin: BlueskyTwin, make: Make) -> None:
    plugin = make()
    await poll(plugin)
    twin.revoke(ACME)
    with pytest.raises(Reauthorise) as caught:
        await poll(plugin)
    assert caught.value.code == "password_refused"
    assert "twin-" not in str(caught.value)


@pytest.mark.parametrize(
    ("fault", "error", "code"),
    [
        (Fault("status_before", status=503), Retry, "http_503"),
        (Fault("status_before", status=429, headers={"retry-after": "9"}), Retry, "http_429"),
        (
            Fault("status_before", status=401, body=b'{"error":"AuthFactorTokenRequired"}'),
            Reauthorise,
            "app_password_needed",
        ),
        (Fault("status_before", status=400, body=b'{"error":"RepoDeactivated"}'), Reauthorise, "repo_deactivated"),
    ],
)
async def test_a_login_that_fails(
    twin: BlueskyTwin, make: Make, fault: Fault, error: type[Exception], code: str
) -> None:
    fault.path = "createSession"
    twin.faults.append(fault)
    with pytest.raises(error) as caught:
        await poll(make())
    assert caught.value.code == code  # type: ignore[attr-defined]


async def test_logins_are_limited(twin: BlueskyTwin, make: Make) -> None:
    for _ in range(30):
        await poll(make())
    with pytest.raises(Retry) as caught:
        await poll(make())
    assert (caught.value.bucket, caught.value.after) == ("login", timedelta(minutes=5))


async def test_the_password_of_another_account(twin: BlueskyTwin, make: Make) -> None:
    other = twin.add_brand("other.example.com")
    plugin = make(config={"app_password": other.password})
    with pytest.raises(Reauthorise):
        await poll(plugin)


@pytest.mark.parametrize("token", ["", "a.b.c", "..", "a.e30.c", "a.eyJleHAiOiAiMTAifQ.c", "a.eyJleHAiOiAxZTk5OX0.c"])
def test_tokens_that_do_not_say_when_they_end(token: str) -> None:
    ends: Any = expiry(token)
    assert ends is None or ends.year == 1970
