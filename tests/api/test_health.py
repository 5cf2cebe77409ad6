"""What load balancers and people on call are told."""

from __future__ import annotations

from typing import Any


async def test_a_gateway_without_a_worker_is_ready_and_says_so(api: Any) -> None:
    async with api.caller(None) as nobody:
        assert (await nobody.get("/healthz")).json() == {"status": "ok"}
        answer = await nobody.get("/readyz")
    assert (answer.status_code, answer.json()["worker"]) == (200, "none seen")


async def test_only_a_worker_of_the_last_minute_counts(api: Any) -> None:
    await api.execute("INSERT INTO procrastinate_workers (last_heartbeat) VALUES (now() - interval '2 minutes')")
    assert (await api.http.get("/readyz")).json()["worker"] == "none seen"
    await api.execute("UPDATE procrastinate_workers SET last_heartbeat = now()")
    assert (await api.http.get("/readyz")).json() == {"ready": True, "database": "ok", "schema": "ok", "worker": "ok"}


async def test_a_process_left_behind_by_a_migration_is_not_ready(database: str, serve: Any) -> None:
    async with serve(database) as api:
        at = await api.value("SELECT version_num FROM alembic_version")
        await api.execute("UPDATE alembic_version SET version_num = 'later'")
        answer = await api.http.get("/readyz")
        assert (answer.status_code, answer.json()["ready"], answer.json()["schema"]) == (503, False, "changed")
        await api.execute("UPDATE alembic_version SET version_num = :at", at=at)
        assert (await api.http.get("/readyz")).status_code == 200
