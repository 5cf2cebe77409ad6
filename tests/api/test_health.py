"""What load balancers and people on call are told: each check can fail, and says how to mend it."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path
from typing import Any
from uuid import UUID

import pytest

from gateway.db.database import execute
from gateway.health.probe import begin_to_look, look
from gateway.health.soon import look_within
from gateway.security.vault import Vault


async def asked(api: Any, **query: str) -> tuple[int, list[str], list[str]]:
    """The status, and the checks that failed and that could not be tried. No key is needed."""
    async with api.caller(None) as nobody:
        answer = await nobody.get("/readyz", params=query)
    checks = answer.json()["checks"]
    assert [one["name"] for one in checks] == ["database", "schema", "vault", "worker", "channels", "files"]
    assert all((one["mend"] is None) is (one["ok"] is True) for one in checks)
    assert answer.json()["ready"] is (answer.status_code == 200)
    return (
        answer.status_code,
        [one["name"] for one in checks if one["ok"] is False],
        [one["name"] for one in checks if one["ok"] is None],
    )


async def test_a_gateway_without_a_worker_takes_webhooks_and_says_so(api: Any) -> None:
    async with api.caller(None) as nobody:
        assert (await nobody.get("/healthz")).json() == {"status": "ok"}
    assert await asked(api) == (200, ["worker"], [])
    assert await asked(api, strict="true") == (503, ["worker"], [])


async def test_only_a_worker_of_the_last_minute_counts(database: str, serve: Any) -> None:
    async with serve(database) as api:
        await api.execute("INSERT INTO procrastinate_workers (last_heartbeat) VALUES (now() - interval '2 minutes')")
        assert await asked(api, strict="true") == (503, ["worker"], [])
        await api.execute(
            """INSERT INTO lease (name, owner, epoch, until, again)
               VALUES ('inbox:1', 'w', 1, now() + interval '9 s', false)"""
        )
        assert await asked(api, strict="true") == (200, [], [])
        await api.execute("UPDATE lease SET until = now() - interval '1 s'")
        assert await asked(api, strict="true") == (503, ["worker"], [])
        await api.execute("UPDATE procrastinate_workers SET last_heartbeat = now()")
        assert await asked(api, strict="true") == (200, [], [])


async def test_a_process_left_behind_by_a_migration_is_not_ready(database: str, serve: Any) -> None:
    async with serve(database) as api:
        at = await api.value("SELECT version_num FROM alembic_version")
        await api.execute("UPDATE alembic_version SET version_num = 'later'")
        assert await asked(api) == (503, ["schema", "worker"], [])
        await api.execute("UPDATE alembic_version SET version_num = :at", at=at)
        assert (await asked(api))[0] == 200


async def test_a_process_that_lacks_a_key_in_use_is_not_ready(database: str, serve: Any) -> None:
    async with serve(database) as api:
        id = (await api.shout("one"))["id"]
        assert (await asked(api))[0] == 200
        sealed = Vault(bytes(32)).seal({"secret": "x"}, f"connection:{id}")
        await api.execute("UPDATE connection SET secrets = :sealed WHERE id = :id", sealed=sealed, id=UUID(id))
        assert await asked(api) == (503, ["vault", "worker"], [])


async def test_a_store_that_takes_no_files_is_told_and_keeps_the_door_open(
    database: str, serve: Any, tmp_path: Path
) -> None:
    folder = tmp_path / "kept"
    async with serve(database, files_url=f"file://{folder}") as api:
        folder.rmdir()
        folder.write_text("not a folder any more")
        assert await asked(api) == (200, ["worker", "files"], [])
        folder.unlink()
        folder.mkdir()
        # who asks again and again does not wear out the store: the outcome is kept for a while
        assert await asked(api) == (200, ["worker", "files"], [])


async def test_a_store_that_takes_files_is_tried(api: Any) -> None:
    assert await api.runtime.files.try_out(5.0) is None
    assert (Path(api.runtime.settings.data_dir) / "files" / "trial").stat().st_size > 4000


async def test_a_channel_whose_news_does_not_arrive_is_told_and_keeps_the_door_open(api: Any) -> None:
    id = (await api.shout("one"))["id"]
    await api.execute(
        """INSERT INTO channel_health (connection_id, state, since, code, weight, message, mend, concern, bad, good,
               findings, next_at, missed, refused, quiet)
           VALUES (:id, 'unhealthy', now(), 'webhook_missing', 'definite', 'it is gone', 'POST /v1/connections/{id}',
               'push', 2, 0, '{"items": []}', now() + interval '5 minutes', 3, 0, false)""",
        id=id,
    )
    assert await asked(api) == (200, ["worker", "channels"], [])
    assert await asked(api, strict="true") == (503, ["worker", "channels"], [])
    shown = (await api.http.get(f"/v1/connections/{id}")).json()["health"]["channel"]
    assert (shown["state"], shown["missed"], shown["reason"]["code"]) == ("unhealthy", 3, "webhook_missing")
    assert shown["reason"]["mend"] == f"POST /v1/connections/{id}", "the mend can be copied"
    told = (await api.http.get("/metrics")).text
    assert 'gateway_channel_state{connection="one",plugin="shout",role="source",state="unhealthy"} 1.0' in told
    # nobody looks after it any more
    await api.execute("UPDATE channel_health SET state = 'proven', code = NULL, next_at = now() - interval '1 hour'")
    assert await asked(api) == (200, ["worker", "channels"], [])
    await api.execute("UPDATE channel_health SET next_at = now()")
    assert await asked(api) == (200, ["worker"], [])


@pytest.mark.parametrize(
    ("due", "then"),
    [
        (3, 1),  # sooner than it was
        (0.5, 0.5),  # as soon anyway
        (0, 0),  # under way now
        (-2, -2),  # long overdue
    ],
)
async def test_a_channel_is_looked_at_within_a_minute_and_once_more_if_that_was_too_early(
    api: Any, name: str, due: float, then: float
) -> None:
    id, now = UUID((await api.shout(name))["id"]), api.runtime.now()
    async with api.runtime.database.write() as connection:
        await begin_to_look(connection, now)
        await execute(
            connection,
            "UPDATE channel_health SET next_at = :due WHERE connection_id = :id",
            id=id,
            due=now + timedelta(minutes=due),
        )
        await look_within(connection, id, now)
    [found] = await api.rows("SELECT next_at, again_at FROM channel_health WHERE connection_id = :id", id=id)
    assert found["next_at"] == now + timedelta(minutes=then)
    assert found["again_at"] == now + timedelta(minutes=1)


async def test_a_look_that_was_due_already_is_followed_by_the_one_that_was_asked_for(api: Any, name: str) -> None:
    """It may have begun before there was anything to see."""
    id, runtime = UUID((await api.shout(name))["id"]), api.runtime
    now = runtime.now()
    async with runtime.database.write() as connection:
        await begin_to_look(connection, now)
        await execute(connection, "UPDATE channel_health SET next_at = :now WHERE connection_id = :id", id=id, now=now)
        await look_within(connection, id, now)
    endpoint = (await runtime.connections.load([id]))[id]
    held = await runtime.leases.take(f"probe:{id}")
    await look(runtime, endpoint, held)
    await runtime.leases.give_back(held)
    [found] = await api.rows("SELECT looked_at, next_at, again_at FROM channel_health WHERE connection_id = :id", id=id)
    assert found["looked_at"] >= now
    assert (found["next_at"], found["again_at"]) == (now + timedelta(minutes=1), None)
