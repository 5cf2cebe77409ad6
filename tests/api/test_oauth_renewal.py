"""Tokens renewed before they end: by one at a time, never lost, and stopped only where the consent is over."""

from __future__ import annotations

import asyncio
from datetime import timedelta
from typing import Any
from uuid import UUID

import pytest

from gateway.engine.leases import Leases
from gateway.oauth.renewal import renew_due
from gateway.pipeline.drains import Drains, tick
from gateway.pipeline.trouble import note_trouble, trouble_of
from gateway_mastodon.twin import MastodonTwin
from gateway_schemas.errors import Reauthorise
from gateway_schemas.testing.twin import Fault
from gateway_x.twin import XTwin
from support.gateway import LOOPBACK
from support.oauth import (
    api,  # noqa: F401  fixtures
    at_x,
    config_of,
    connect,
    renew,
    shown,
    tokens_of,
    x,  # noqa: F401
)
from support.postgres import server_url  # noqa: F401
from support.rest import Api

# ruff: noqa: F811  a test's argument is the fixture of that name

TOKEN = "/2/oauth2/token"


@pytest.fixture
async def made(api: Api, x: XTwin, name: str) -> dict[str, Any]:
    """A connection to X that is connected."""
    made = await at_x(api, x, name)
    assert (await connect(api, made)).status_code == 200
    x.ledger.clear()
    x.requests.clear()
    return made


def renewals(x: XTwin) -> int:
    """How often X gave tokens since the account was connected."""
    return len([effect for effect in x.ledger if effect.kind == "token"])


def asked(x: XTwin) -> int:
    """How often X's token endpoint was asked."""
    return len([path for _, path, _ in x.requests if path == TOKEN])


async def row(api: Api, made: dict[str, Any]) -> Any:
    """The consent's row."""
    return (await api.rows("SELECT * FROM authorisation WHERE connection_id = :id", id=UUID(made["id"])))[0]


async def due(api: Api, made: dict[str, Any]) -> None:
    """The tokens are due."""
    id = UUID(made["id"])
    await api.execute(
        "UPDATE authorisation SET renew_at = :now WHERE connection_id = :id", now=api.runtime.now(), id=id
    )


async def works(api: Api, x: XTwin, made: dict[str, Any]) -> bool:
    """Whether the connection's token is one that X takes now."""
    access = (await config_of(api, made))["access_token"]
    return access in x.state.tokens


async def test_both_tokens_are_replaced_in_time(api: Api, x: XTwin, made: dict[str, Any]) -> None:
    before, version = await tokens_of(api, made), (await shown(api, made))["version"]
    first = await row(api, made)
    life = first["access_expires_at"] - first["renewed_at"]
    assert timedelta(hours=1.4) <= first["renew_at"] - first["renewed_at"] <= timedelta(hours=1.7) < life
    await tick(api.runtime)
    assert f"renew:{made['id']}" not in await api.woken(), "not due yet"
    await due(api, made)
    await tick(api.runtime)
    assert f"renew:{made['id']}" in await api.woken()
    await renew(api, made)
    after = await tokens_of(api, made)
    assert before["access"] != after["access"]
    assert before["refresh"] != after["refresh"]
    assert await works(api, x, made)
    assert (await row(api, made))["access_expires_at"] > first["access_expires_at"]
    assert (await row(api, made))["renew_at"] > api.runtime.now() + timedelta(hours=1.3)
    assert (await shown(api, made))["version"] == version, "who changes the connection meanwhile is not refused"
    assert f"poll:{made['id']}:mentions" in await api.woken()


async def test_two_workers_at_once_use_a_refresh_token_once(api: Api, x: XTwin, made: dict[str, Any]) -> None:
    await due(api, made)
    workers = [Drains(api.runtime, api.runtime.sandbox) for _ in range(5)]
    await asyncio.gather(*(one.run(f"renew:{made['id']}") for one in workers))
    assert (asked(x), renewals(x)) == (1, 1)
    assert await works(api, x, made)


async def test_a_stalled_worker_neither_shares_its_token_nor_loses_its_answer(
    api: Api, x: XTwin, made: dict[str, Any]
) -> None:
    """The first one's lease ends while its request is under way: leases alone would let the second one in."""
    await due(api, made)
    name = f"renew:{made['id']}"
    endpoint = (await api.runtime.connections.load([UUID(made["id"])]))[UUID(made["id"])]
    x.faults.append(Fault("latency", path=TOKEN, seconds=1.0))
    first = await Leases(api.runtime.database, "first", 30.0).take(name)
    assert first is not None
    renewing = asyncio.create_task(renew_due(api.runtime, endpoint, first))
    while (await row(api, made))["begun_until"] is None:
        await asyncio.sleep(0.01)
    await api.execute("UPDATE lease SET until = '-infinity' WHERE name = :name", name=name)
    second = await Leases(api.runtime.database, "second", 30.0).take(name)
    assert second is not None
    assert second.epoch == first.epoch + 1
    assert await renew_due(api.runtime, endpoint, second) == set()
    await renewing
    assert (asked(x), renewals(x)) == (1, 1)
    assert await works(api, x, made), "the answer of whoever was overtaken is kept all the same"


async def test_a_worker_overtaken_before_its_request_makes_none(api: Api, x: XTwin, made: dict[str, Any]) -> None:
    await due(api, made)
    endpoint = (await api.runtime.connections.load([UUID(made["id"])]))[UUID(made["id"])]
    name = f"renew:{made['id']}"
    first = await Leases(api.runtime.database, "first", 30.0).take(name)
    assert first is not None
    await api.execute("UPDATE lease SET until = '-infinity' WHERE name = :name", name=name)
    await Leases(api.runtime.database, "second", 30.0).take(name)
    with pytest.raises(Exception, match=name):
        await renew_due(api.runtime, endpoint, first)
    assert asked(x) == 0


async def _die_after_the_answer(api: Api, x: XTwin, made: dict[str, Any]) -> None:
    """X renews; the process is gone before it can write that down; a while passes."""
    await due(api, made)
    x.faults.append(Fault("timeout_after", path=TOKEN, seconds=30.0))
    working = asyncio.create_task(Drains(api.runtime, api.runtime.sandbox).run(f"renew:{made['id']}"))
    while not renewals(x):
        await asyncio.sleep(0.01)
    working.cancel()
    await asyncio.gather(working, return_exceptions=True)
    left = await row(api, made)
    assert left["begun_until"] is not None
    await tick(api.runtime)
    assert f"renew:{made['id']}" not in await api.woken(), "its request may be under way still"
    await Drains(api.runtime, api.runtime.sandbox).run(f"renew:{made['id']}")
    assert renewals(x) == 1
    await api.execute(
        "UPDATE authorisation SET begun_until = now() - interval '1 s' WHERE connection_id = :id", id=UUID(made["id"])
    )
    await tick(api.runtime)
    assert f"renew:{made['id']}" in await api.woken()


async def test_a_crash_after_the_answer_is_mended_where_the_provider_gives_grace(
    api: Api, x: XTwin, made: dict[str, Any]
) -> None:
    x.renewals.grace = timedelta(minutes=5)
    await _die_after_the_answer(api, x, made)
    await Drains(api.runtime, api.runtime.sandbox).run(f"renew:{made['id']}")
    assert renewals(x) == 2
    assert await works(api, x, made)
    assert (await shown(api, made))["health"]["status"] == "active"


async def test_a_crash_after_the_answer_asks_for_a_person_where_it_gives_none(
    api: Api, x: XTwin, made: dict[str, Any], caplog: pytest.LogCaptureFixture
) -> None:
    await _die_after_the_answer(api, x, made)
    await Drains(api.runtime, api.runtime.sandbox).run(f"renew:{made['id']}")
    after = await shown(api, made)
    assert after["health"]["status"] == "needs_authorisation"
    assert after["authorisation"]["state"] == "refused"
    assert "/authorize" in after["authorisation"]["mend"]
    assert "needs authorisation" in caplog.text
    assert (await connect(api, made)).status_code == 200
    assert await works(api, x, made)
    assert (await shown(api, made))["health"]["status"] == "active"


async def test_a_refused_refresh_is_not_repeated(api: Api, x: XTwin, made: dict[str, Any]) -> None:
    x.renewals.forget(x.state.user("AcmeSupport").id)
    await renew(api, made)
    assert (await shown(api, made))["authorisation"]["state"] == "refused"
    await tick(api.runtime)
    assert f"renew:{made['id']}" not in await api.woken()
    resumed = (await api.http.post(f"/v1/connections/{made['id']}/resume")).json()
    assert resumed["health"]["status"] == "needs_authorisation", "a resume cannot take the place of a consent"
    assert asked(x) == 1


@pytest.mark.parametrize(
    "fault",
    [
        Fault("status_before", path=TOKEN, status=503),
        Fault("status_before", path=TOKEN, status=429, headers={"Retry-After": "7"}),
        Fault("status_before", path=TOKEN, status=502, body=b"<html>bad gateway</html>"),
        Fault("status_before", path=TOKEN, status=200, body=b"[]"),
        Fault("status_before", path=TOKEN, status=200, body=b'{"access_token": 7}'),
        Fault("status_before", path=TOKEN, status=400, body=b'{"error": "temporarily_unavailable"}'),
        Fault("status_before", path=TOKEN, status=403, body=b"<html>blocked by a proxy</html>"),
    ],
    ids=["503", "429", "502", "list", "number", "other_error", "proxy"],
)
async def test_a_passing_failure_changes_nothing_but_is_told(
    api: Api, x: XTwin, made: dict[str, Any], fault: Fault
) -> None:
    before = await tokens_of(api, made)
    fault.times = 1
    x.faults.append(fault)
    await renew(api, made)
    after = await shown(api, made)
    consent = after["authorisation"]
    assert (after["health"]["status"], consent["state"], consent["failures"]) == ("active", "granted", 1)
    assert consent["reason"]
    assert "It is tried again" in consent["mend"]
    assert await tokens_of(api, made) == before
    left = await row(api, made)
    assert left["begun_until"] is None
    wait = left["renew_at"] - api.runtime.now()
    assert (timedelta(seconds=5) < wait) is (fault.status == 429)
    if fault.status == 429:
        # the App's calls go on meanwhile
        assert (await api.http.post(f"/v1/connections/{made['id']}/discover")).status_code == 200
        return
    await renew(api, made)
    assert (await shown(api, made))["authorisation"]["failures"] == 0
    assert renewals(x) == 1


async def test_an_answer_that_breaks_off_leaves_its_claim_to_run(api: Api, x: XTwin, made: dict[str, Any]) -> None:
    x.renewals.grace = timedelta(minutes=5)
    x.faults.append(Fault("drop_after", path=TOKEN))
    await renew(api, made)
    left = await row(api, made)
    assert (left["state"], left["failures"]) == ("granted", 1)
    assert left["begun_until"] is not None, "X may be at it still"
    await renew(api, made)
    assert renewals(x) == 1


async def test_a_refused_token_is_renewed_at_once_and_only_once(api: Api, x: XTwin, made: dict[str, Any]) -> None:
    drains = Drains(api.runtime, api.runtime.sandbox)
    id = UUID(made["id"])
    x.expire_tokens("AcmeSupport")
    await api.execute("UPDATE cursor SET next_at = :now WHERE connection_id = :id", now=api.runtime.now(), id=id)
    await drains.run(f"poll:{id}:mentions")
    health = (await shown(api, made))["health"]
    assert health["status"] == "active"
    assert "being renewed" in health["blocked_reason"]
    await drains.run(f"poll:{id}:mentions")
    polls = len([path for _, path, _ in x.requests if path.endswith("/mentions")])
    assert polls == 1, "it rests until the token is there"
    await tick(api.runtime)
    assert f"renew:{id}" in await api.woken()
    await drains.run(f"renew:{id}")
    health = (await shown(api, made))["health"]
    assert (health["status"], health["blocked_reason"], health["failures"]) == ("active", None, 0)
    assert await works(api, x, made)
    # the new one is refused as well: another one would be no better
    x.expire_tokens("AcmeSupport")
    await api.execute("UPDATE cursor SET next_at = :now WHERE connection_id = :id", now=api.runtime.now(), id=id)
    await drains.run(f"poll:{id}:mentions")
    assert (await shown(api, made))["health"]["status"] == "needs_authorisation"
    assert renewals(x) == 1


async def test_many_refusals_of_one_token_are_one_renewal(api: Api, x: XTwin, made: dict[str, Any]) -> None:
    id = UUID(made["id"])
    endpoint = (await api.runtime.connections.load([id]))[id]

    async def refused() -> None:
        async with api.runtime.database.write() as connection:
            await note_trouble(connection, endpoint, trouble_of(Reauthorise("refused")), api.runtime.now())

    await asyncio.gather(*(refused() for _ in range(6)))
    await Drains(api.runtime, api.runtime.sandbox).run(f"renew:{id}")
    await refused()  # of the token before: it says nothing of the new one
    assert (await shown(api, made))["health"]["status"] == "active"
    await Drains(api.runtime, api.runtime.sandbox).run(f"renew:{id}")
    assert asked(x) == 1


async def test_an_app_whose_secret_is_refused_works_until_its_tokens_end(
    api: Api, x: XTwin, made: dict[str, Any]
) -> None:
    x.client_secret = "another"
    await renew(api, made)
    after = await shown(api, made)
    assert (after["health"]["status"], after["authorisation"]["state"]) == ("active", "granted")
    assert "client id and secret" in after["authorisation"]["mend"]
    id = UUID(made["id"])
    await api.execute(
        "UPDATE authorisation SET access_expires_at = :now WHERE connection_id = :id", now=api.runtime.now(), id=id
    )
    await renew(api, made)
    after = await shown(api, made)
    assert (after["health"]["status"], after["authorisation"]["state"]) == ("needs_authorisation", "granted")
    secret = {"config": {"client_secret": "another"}}
    assert (await api.http.patch(f"/v1/apps/{made['app']}", json=secret)).status_code == 200
    await renew(api, made)
    assert (await shown(api, made))["health"]["status"] == "active", "nobody need connect it again"
    assert await works(api, x, made)


async def test_authorised_anew_while_a_renewal_is_under_way(api: Api, x: XTwin, made: dict[str, Any]) -> None:
    await due(api, made)
    x.faults.append(Fault("latency", path=TOKEN, seconds=1.0))
    working = asyncio.create_task(Drains(api.runtime, api.runtime.sandbox).run(f"renew:{made['id']}"))
    while (await row(api, made))["begun_until"] is None:
        await asyncio.sleep(0.01)
    assert (await connect(api, made)).status_code == 200
    newest = await tokens_of(api, made)
    await working
    assert await tokens_of(api, made) == newest, "the older consent's answer is dropped"
    assert (await shown(api, made))["authorisation"]["state"] == "granted"


async def test_an_answer_outlives_a_database_that_is_away(api: Api, x: XTwin, made: dict[str, Any]) -> None:
    await due(api, made)
    x.faults.append(Fault("latency", path=TOKEN, seconds=0.5))
    working = asyncio.create_task(Drains(api.runtime, api.runtime.sandbox).run(f"renew:{made['id']}"))
    while (await row(api, made))["begun_until"] is None:
        await asyncio.sleep(0.01)
    await asyncio.sleep(0.1)
    await api.execute("ALTER TABLE authorisation RENAME TO away")
    try:
        while not renewals(x):
            await asyncio.sleep(0.01)
        await asyncio.sleep(0.3)
    finally:
        await api.execute("ALTER TABLE away RENAME TO authorisation")
    await working
    assert (asked(x), renewals(x)) == (1, 1)
    assert await works(api, x, made)


async def test_a_plugin_renews_tokens_in_its_provider_s_way(api: Api, name: str) -> None:
    server = MastodonTwin(limits=False)
    account = server.add_brand("support")
    server.sign_in("support")
    async with server.serve():
        config = {"base_url": server.url}
        made = await api.made(
            "/v1/connections", plugin="long_lived", name=name, by_oauth=True, config=config, allow_private=LOOPBACK
        )
        assert (await connect(api, made)).status_code == 200
        first = await row(api, made)
        assert timedelta(days=41) < first["renew_at"] - first["renewed_at"] < timedelta(days=52)
        before = await tokens_of(api, made)
        await renew(api, made)
        assert (await tokens_of(api, made))["access"] == f"{before['access']}-renewed"
        # the new one is refused when it is due: the provider has ended the consent
        assert account.token == before["access"]
        await renew(api, made)
        after = await shown(api, made)
        assert (after["health"]["status"], after["authorisation"]["state"]) == ("needs_authorisation", "refused")


async def test_tokens_that_do_not_end_are_not_renewed(api: Api, name: str) -> None:
    server = MastodonTwin(limits=False)
    server.add_brand("support")
    server.sign_in("support")
    async with server.serve():
        config = {"base_url": server.url}
        made = await api.made(
            "/v1/connections", plugin="mastodon", name=name, by_oauth=True, config=config, allow_private=LOOPBACK
        )
        await connect(api, made)
        id = UUID(made["id"])
        server.revoke("support")
        await api.execute("UPDATE cursor SET next_at = :now WHERE connection_id = :id", now=api.runtime.now(), id=id)
        await Drains(api.runtime, api.runtime.sandbox).run(f"poll:{id}:notifications")
        assert (await shown(api, made))["health"]["status"] == "needs_authorisation"
        assert (await connect(api, made)).status_code == 200
        assert (await shown(api, made))["health"]["status"] == "active"
