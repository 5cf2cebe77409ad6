"""Keys and webhook secrets are replaced while webhooks come in: nothing is lost, nothing doubled, nothing unread."""

from __future__ import annotations

import asyncio
import base64
import json
import os
import sys
from collections import Counter
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import timedelta
from pathlib import Path
from typing import Any
from uuid import UUID

import httpx2
import psycopg
import pytest
from pydantic import SecretStr
from sqlalchemy import LargeBinary, text
from sqlmodel import SQLModel

from gateway.connections import DatabaseState
from gateway.db.database import execute
from gateway.security.root_keys import learn
from gateway.security.rotation import rotate, sealed_columns, usage
from gateway.security.vault import Vault, VaultError
from support.gateway import settings_for
from support.processes import environment
from support.rest import Api, serving, signed

OLD, NEW = (base64.b64encode(os.urandom(32)).decode() for _ in range(2))


@dataclass
class Traffic:
    """A provider that delivers webhooks, each with a body of its own, to doors in turn; and says how each ended."""

    doors: list[str]
    secret: Callable[[], str]
    answers: Counter[int] = field(default_factory=Counter)
    sent: list[bytes] = field(default_factory=list)

    @asynccontextmanager
    async def flowing(self, every: float = 0.005) -> AsyncIterator[None]:
        """Deliver without end, and stop at the end."""
        over = asyncio.Event()

        async def deliver(http: httpx2.AsyncClient) -> None:
            while not over.is_set():
                body = f"body {len(self.sent)}".encode()
                self.sent.append(body)
                door = self.doors[len(self.sent) % len(self.doors)]
                answer = await http.post(door, content=body, headers={"x-signature": signed(self.secret(), body)})
                self.answers[answer.status_code] += 1
                await asyncio.sleep(every)

        async with httpx2.AsyncClient(timeout=60.0, trust_env=False) as http, asyncio.TaskGroup() as group:
            for _ in range(3):
                group.create_task(deliver(http))
            try:
                yield
            finally:
                over.set()

    async def more(self, number: int = 20) -> None:
        """Wait until so many more were answered."""
        until = self.answers.total() + number
        while self.answers.total() < until:
            await asyncio.sleep(0.005)

    async def check(self, api: Api, id: str) -> None:
        """All were taken, and each is there once."""
        assert set(self.answers) == {200}, self.answers
        rows = await api.rows("SELECT body FROM delivery WHERE connection_id = :id", id=UUID(id))
        assert sorted(bytes(row["body"]) for row in rows) == sorted(self.sent)


def installation(database: str, folder: Path, *keys: str) -> Any:
    """A gateway whose master keys are these."""
    return serving(settings_for(database, folder, secret_key=SecretStr(",".join(keys))))


async def kept_answers(api: Api, number: int) -> None:
    """Many sealed documents, so that a rotation takes a while."""
    vault = api.runtime.vault
    key = UUID(int=1)
    rows = [
        {"caller": key, "key": f"k{one:05}", "body": vault.seal({"body": "x" * 500}, f"answer:{key}:k{one:05}")}
        for one in range(number)
    ]
    async with api.runtime.database.write() as connection:
        await connection.execute(
            text(
                """INSERT INTO idempotent_answer (api_key_id, key, request, status, headers, body, created_at)
                   VALUES (:caller, :key, 'r', 200, '{}', :body, clock_timestamp())"""
            ),
            rows,
        )


async def command(settings: Any, *arguments: str) -> asyncio.subprocess.Process:
    """A `gateway …` process."""
    return await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "gateway.cli", *arguments),
        env=environment(settings),
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )


async def test_the_master_key_is_replaced_during_traffic_and_the_rotation_is_killed_on_the_way(
    database: str, tmp_path: Path
) -> None:
    """The three steps of docs/secrets.md, with two gateways that are restarted one after the other."""
    async with installation(database, tmp_path, OLD) as alone:
        made = await alone.shout("one", mood="well")
        id = made["id"]
        state = DatabaseState(alone.runtime.database, alone.runtime.vault, UUID(id))
        await state.merge({"cursor": 0})
        await kept_answers(alone, 3000)
        chain = alone.runtime.vault.derive("audit chain", 1)
    # step 1: every process gets the new key behind the old one
    # step 2: the new one first, process after process; meanwhile both kinds write and read
    async with (
        installation(database, tmp_path, OLD, NEW) as first,
        installation(database, tmp_path, NEW, OLD) as second,
    ):
        doors = [f"{one.url}/hooks/{id}" for one in (first, second)]
        traffic = Traffic(doors, lambda: "secret-of-one")
        async with traffic.flowing(every=0.1):
            rotating = await command(second.runtime.settings, "secrets", "rotate")
            while (await usage(second.runtime.database))["idempotent_answer.body"].get(
                second.runtime.vault.key_ids[0].hex(), 0
            ) < 300:
                await asyncio.sleep(0.01)
                assert rotating.returncode is None, (await rotating.communicate())[1]
            rotating.kill()
            await rotating.communicate()
            under = (await usage(second.runtime.database))["idempotent_answer.body"]
            assert len(under) == 2, f"it was killed on the way: {under}"
            # plugins write their state meanwhile, the old process under the old key
            for number in range(1, 6):
                for one in (first, second):
                    await DatabaseState(one.runtime.database, one.runtime.vault, UUID(id)).merge({"cursor": number})
            other = await first.shout("two", user_id="2")
            await traffic.more()
            again = await command(second.runtime.settings, "secrets", "rotate")
            out, err = await again.communicate()
            assert again.returncode == 0, err.decode()
            assert b"sealed anew under the key " + second.runtime.vault.key_ids[0].hex().encode() in out
            await traffic.more()
        await traffic.check(second, id)
    # step 3: nothing needs the old key any more
    async with installation(database, tmp_path, NEW) as third:
        used = await usage(third.runtime.database)
        assert {key for one in used.values() for key in one} == {third.runtime.vault.key_ids[0].hex()}
        assert (await DatabaseState(third.runtime.database, third.runtime.vault, UUID(id)).load()) == {"cursor": 5}
        for one, name in ((made, "one"), (other, "two")):
            answer = await third.http.post(
                f"/hooks/{one['id']}", content=b"x", headers={"x-signature": signed(f"secret-of-{name}", b"x")}
            )
            assert answer.status_code == 200
        assert third.runtime.vault.derive("audit chain", 1) == chain
        assert third.runtime.vault.version == 2, "what is hashed from now on does not hang on what the old key guarded"
        ready = (await third.http.get("/readyz")).json()["checks"]
        assert next(one for one in ready if one["name"] == "vault")["ok"] is True


async def test_what_no_key_opens_is_named_left_alone_and_stops_nothing(database: str, tmp_path: Path) -> None:
    lost = base64.b64encode(os.urandom(32)).decode()
    async with installation(database, tmp_path, OLD) as api:
        here, gone = await api.shout("one"), await api.shout("two", user_id="2")
        foreign = Vault(base64.b64decode(lost)).seal({"secret": "x"}, f"connection:{gone['id']}")
        await api.execute("UPDATE connection SET secrets = :s WHERE id = :id", s=foreign, id=UUID(gone["id"]))
    async with installation(database, tmp_path, NEW, OLD) as api:
        done = await rotate(api.runtime.database, api.runtime.vault, api.runtime.now())
        assert done.lost == [f"connection.secrets id={gone['id']}"]
        assert (done.left, done.renewed) == (0, 2)  # the other connection's, and the root key
        assert bytes(await api.value("SELECT secrets FROM connection WHERE name = 'two'")) == foreign
        ready = {one["name"]: one["ok"] for one in (await api.http.get("/readyz")).json()["checks"]}
        assert ready["vault"] is False, "a process that misses a key that is in use gets no traffic"
        twice = await rotate(api.runtime.database, api.runtime.vault, api.runtime.now())
        assert twice.renewed == 0
        async with api.runtime.database.read() as connection:
            assert await learn(connection, api.runtime.vault) == 2
    async with installation(database, tmp_path, NEW) as api:
        answer = await api.http.get(f"/v1/connections/{here['id']}")
        assert answer.json()["secrets_readable"] is True


class Slow(Vault):
    """A vault that takes its time: before it has sealed a connection's state anew, a plugin has stored another."""

    def __init__(self, url: str, id: UUID, old: Vault) -> None:
        super().__init__(base64.b64decode(NEW), base64.b64decode(OLD))
        self.url, self.id, self.old = url, id, old
        self.written = 0

    def renew(self, sealed: bytes, context: str) -> bytes:
        if context.startswith("state:") and self.written < 3:
            self.written += 1
            document = self.old.seal({"token": self.written}, context)
            with psycopg.connect(self.url, autocommit=True) as connection:
                connection.execute("UPDATE connection SET state = %s WHERE id = %s", [document, self.id])
        return super().renew(sealed, context)


async def test_a_document_written_meanwhile_is_never_written_over(database: str, tmp_path: Path) -> None:
    """A process that still seals with the old key stores a refreshed token between reading and writing of the row."""
    async with installation(database, tmp_path, OLD, NEW) as old:
        id = UUID((await old.shout("one"))["id"])
        state = DatabaseState(old.runtime.database, old.runtime.vault, id)
        await state.save({"token": 0})
        vault = Slow(database, id, old.runtime.vault)
        done = await rotate(old.runtime.database, vault, old.runtime.now())
        assert vault.written == 3
        assert await state.load() == {"token": 3}
        assert done.left == 0, "the passes that follow see to it"
        sealed = bytes(await old.value("SELECT state FROM connection WHERE id = :id", id=id))
        with pytest.raises(VaultError):
            Vault(base64.b64decode(OLD)).unseal(sealed, f"state:{id}")


def test_the_rotation_knows_every_column_that_holds_bytes() -> None:
    """A new column is declared `sealed(…)`, or is one of these, which hold no secrets of ours."""
    plain = {
        ("api_key", "hash"),
        ("audit_entry", "content_digest"),
        ("authorisation_request", "state_hash"),
        ("audit_entry", "digest"),
        ("audit_entry", "previous"),
        ("delivery", "body"),
        ("erased", "mark"),
        ("delivery", "headers"),
        ("delivery", "query"),
    }
    sealed = {(one.table, one.column) for one in sealed_columns()}
    columns = {
        (table.name, column.name)
        for table in SQLModel.metadata.tables.values()
        for column in table.columns
        if isinstance(column.type, LargeBinary)
    }
    assert columns - sealed == plain
    for one in sealed_columns():
        keys = {column.name: "1" for column in SQLModel.metadata.tables[one.table].primary_key.columns}
        assert one.bound_to(keys), "the context is made of the row's key alone"


async def test_a_webhook_secret_is_replaced_during_traffic(database: str, tmp_path: Path) -> None:
    """Two gateways; the provider is told the new secret a while after the gateway, and one of its servers later."""
    async with serving(settings_for(database, tmp_path)) as one, serving(settings_for(database, tmp_path)) as two:
        made = await one.shout("one")
        id = made["id"]
        secrets = ["secret-of-one"]
        turn = iter(range(10**9))
        traffic = Traffic([f"{api.url}/hooks/{id}" for api in (one, two)], lambda: secrets[next(turn) % len(secrets)])
        async with traffic.flowing():
            await traffic.more()
            until = one.runtime.now() + timedelta(hours=1)
            answer = await one.http.patch(
                f"/v1/connections/{id}",
                json={"config": {"secret": "the-next-secret"}, "previous_valid_until": until.isoformat()},
            )
            assert answer.status_code == 200, answer.text
            [shown] = answer.json()["retired_secrets"]
            assert (shown["fields"], shown["last_used_at"]) == (["secret"], None)
            # the other gateway may have read the connection a moment ago: what is signed anew is accepted at once
            secrets[:] = ["the-next-secret", "secret-of-one"]
            await traffic.more(60)
            secrets[:] = ["the-next-secret"]
            await traffic.more()
        await traffic.check(one, id)
        shown = (await two.http.get(f"/v1/connections/{id}")).json()["retired_secrets"][0]
        assert shown["last_used_at"] is not None
        assert await one.value("SELECT count(*) FROM refusal") == 0
        assert "secret-of-one" not in json.dumps((await two.http.get(f"/v1/connections/{id}")).json())

        async def old(api: Api, body: bytes = b"late") -> int:
            headers = {"x-signature": signed("secret-of-one", body)}
            return (await api.http.post(f"/hooks/{id}", content=body, headers=headers)).status_code

        assert [await old(one), await old(two)] == [200, 200]
        answer = await one.http.patch(f"/v1/connections/{id}", json={"previous_valid_until": None})
        assert answer.json()["retired_secrets"] == []
        assert [await old(one), await old(two)] == [401, 401]


async def test_a_retired_secret_ends_by_itself(api: Api, name: str) -> None:
    made = await api.shout(name)
    url = f"/v1/connections/{made['id']}"
    until = (api.runtime.now() + timedelta(minutes=5)).isoformat()
    for number in (1, 2):
        await api.http.patch(url, json={"config": {"secret": f"next-{number}"}, "previous_valid_until": until})

    async def taken(secret: str) -> bool:
        headers = {"x-signature": signed(secret, b"x")}
        return (await api.http.post(f"/hooks/{made['id']}", content=b"x", headers=headers)).status_code == 200

    assert [await taken(one) for one in (f"secret-of-{name}", "next-1", "next-2", "next-3")] == [
        True,
        True,
        True,
        False,
    ]
    id = UUID(made["id"])
    async with api.runtime.database.write() as connection:
        await execute(
            connection,
            """UPDATE retired_secret SET valid_until = :now WHERE endpoint_id = :id AND id =
                   (SELECT id FROM retired_secret WHERE endpoint_id = :id ORDER BY id LIMIT 1)""",
            id=id,
            now=api.runtime.now(),
        )
    assert [await taken(one) for one in (f"secret-of-{name}", "next-1", "next-2")] == [False, True, True]
    far = (api.runtime.now() + timedelta(days=31)).isoformat()
    answer = await api.http.patch(url, json={"config": {"secret": "next-3"}, "previous_valid_until": far})
    assert (answer.status_code, answer.json()["errors"][0]["field"]) == (422, "previous_valid_until")
    answer = await api.http.patch(url, json={"config": {"secret": "next-3"}})
    assert len(answer.json()["retired_secrets"]) == 1, "without a time the new one counts alone"
    assert [await taken(one) for one in ("next-1", "next-2", "next-3")] == [True, False, True]


async def test_the_secret_of_an_app_is_replaced_with_overlap_too(api: Api, name: str) -> None:
    app = await api.made("/v1/apps", plugin="crowd", name=name, config={"app_secret": "app-secret"})
    config = {"user_id": name, "token": "token-5"}
    account = await api.made("/v1/connections", plugin="crowd", name=name, app=name, config=config)

    async def taken(door: str, secret: str) -> int:
        headers = {"x-signature": signed(secret, b"x")}
        return (await api.http.post(f"/hooks/{door}", content=b"x", headers=headers)).status_code

    until = (api.runtime.now() + timedelta(hours=1)).isoformat()
    answer = await api.http.patch(
        f"/v1/apps/{app['id']}", json={"config": {"app_secret": "next"}, "previous_valid_until": until}
    )
    assert answer.json()["retired_secrets"][0]["fields"] == ["app_secret"]
    for door in (app["id"], account["id"]):
        assert [await taken(door, one) for one in ("app-secret", "next", "other")] == [200, 200, 401]
    # an install that sets a new secret at the provider keeps the one it replaces for an hour
    assert (await api.http.post(f"/v1/connections/{account['id']}/install")).status_code == 200
    assert [await taken(app["id"], one) for one in ("rotated-app-secret", "next", "app-secret")] == [200, 200, 200]
    await api.http.patch(f"/v1/apps/{app['id']}", json={"previous_valid_until": None})
    assert [await taken(app["id"], one) for one in ("rotated-app-secret", "next", "app-secret")] == [200, 401, 401]
