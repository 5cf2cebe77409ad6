"""The door: what is answered 2xx is on disk; only a wrong signature and a body over the cap are refused."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import AbstractAsyncContextManager
from typing import Any
from urllib.parse import urlsplit
from uuid import UUID, uuid4

import pytest

from support.rest import Api, signed


@pytest.fixture
async def door(api: Api, name: str) -> dict[str, Any]:
    """A connection of Shout."""
    return await api.shout(name)


def headers(door: dict[str, Any], body: bytes) -> dict[str, str]:
    """The headers of a genuine request."""
    return {"x-signature": signed(f"secret-of-{door['name']}", body)}


async def stored(api: Api, door: dict[str, Any]) -> list[Any]:
    """The deliveries of a connection."""
    return await api.rows("SELECT * FROM delivery WHERE connection_id = :id ORDER BY id", id=UUID(door["id"]))


async def refused(api: Api, id: str) -> dict[str, int]:
    """What was refused at a door, by code."""
    rows = await api.rows("SELECT code, count FROM refusal WHERE endpoint_id = :id", id=UUID(id))
    return {row["code"]: row["count"] for row in rows}


async def raw(api: Api, request: bytes) -> bytes:
    """Send bytes as they are, as no client library would."""
    address = urlsplit(api.url)
    reader, writer = await asyncio.open_connection(address.hostname, address.port)
    writer.write(request)
    await writer.drain()
    answer = await reader.read(65536)
    writer.close()
    await writer.wait_closed()
    return answer


async def test_a_genuine_request_is_stored_byte_for_byte_and_answered_with_nothing(
    api: Api, door: dict[str, Any]
) -> None:
    body = b'{"a": "\x00\xff\xed\xa0\x80"}\r\n\r\n'
    async with api.caller(None) as provider:
        answer = await provider.post(
            f"/hooks/{door['id']}?a=1&b=%00",
            content=body,
            headers={**headers(door, body), "x-trace": "t1", "cookie": "c=1", "authorization": "Bearer provider"},
        )
    assert (answer.status_code, answer.content) == (200, b"")
    [row] = await stored(api, door)
    assert (row["body"], row["query"], row["method"], row["state"]) == (body, b"a=1&b=%00", "POST", "pending")
    kept = row["headers"].lower()
    assert b"x-trace: t1" in kept
    assert b"cookie" not in kept
    assert b"bearer provider" not in kept


@pytest.mark.parametrize(
    ("extra", "code"),
    [({}, "missing"), ({"x-signature": "00"}, "wrong"), ({"x-crash": "1"}, "verify_failed")],
    ids=["missing", "wrong", "breaks the check"],
)
async def test_what_does_not_verify_is_counted_and_not_stored(
    api: Api, door: dict[str, Any], extra: dict[str, str], code: str
) -> None:
    answer = await api.http.post(f"/hooks/{door['id']}", content=b"secret words", headers=extra)
    assert answer.status_code == 401
    assert answer.headers["content-type"] == "application/problem+json"
    assert await stored(api, door) == []
    assert await refused(api, door["id"]) == {code: 1}
    [shown] = (await api.http.get(f"/v1/connections/{door['id']}")).json()["health"]["refusals"]
    assert (shown["code"], shown["count"]) == (code, 1)


async def test_a_flood_of_refusals_is_counted_to_the_last(api: Api, door: dict[str, Any]) -> None:
    answers = await asyncio.gather(*(api.http.post(f"/hooks/{door['id']}", content=b"x") for _ in range(100)))
    assert {answer.status_code for answer in answers} == {401}
    assert await refused(api, door["id"]) == {"missing": 100}


async def test_a_challenge_is_answered_and_not_stored(api: Api, door: dict[str, Any]) -> None:
    answer = await api.http.get(f"/hooks/{door['id']}", params={"challenge": "abc"})
    assert (answer.status_code, answer.text, answer.headers["content-type"]) == (200, "abc", "text/plain")
    assert await stored(api, door) == []


async def test_an_expected_answer_may_be_given_to_what_is_stored(api: Api, door: dict[str, Any]) -> None:
    answer = await api.http.post(
        f"/hooks/{door['id']}", content=b"x", headers={**headers(door, b"x"), "x-receipt": "1"}
    )
    assert (answer.status_code, answer.json()) == (202, {"noted": True})
    assert len(await stored(api, door)) == 1


@pytest.mark.parametrize("streamed", [False, True], ids=["announced", "streamed"])
async def test_a_body_over_the_cap_is_refused_counted_and_not_stored(
    api: Api, door: dict[str, Any], streamed: bool
) -> None:
    async def chunks() -> AsyncIterator[bytes]:
        for _ in range(11):
            yield b"x" * 10_000

    body = b"x" * 110_000
    answer = await api.http.post(
        f"/hooks/{door['id']}", content=chunks() if streamed else body, headers=headers(door, body)
    )
    assert answer.status_code == 413
    assert await stored(api, door) == []
    assert await refused(api, door["id"]) == {"too_large": 1}


async def test_a_body_at_the_cap_is_stored(api: Api, door: dict[str, Any]) -> None:
    body = b"x" * 100_000
    assert (await api.http.post(f"/hooks/{door['id']}", content=body, headers=headers(door, body))).is_success
    assert [len(row["body"]) for row in await stored(api, door)] == [100_000]


async def test_hostile_bytes_in_query_and_headers_are_stored_as_they_came(api: Api, door: dict[str, Any]) -> None:
    signature = signed(f"secret-of-{door['name']}", b"hello").encode()
    target = b"POST /hooks/" + door["id"].encode() + b"?q=%ff%00&%ed%a0%80;; HTTP/1.1\r\n"
    odd = b"X-Odd: \xff\xfe\xed\xa0\x80 \t;\r\nX-Signature: " + signature
    answer = await raw(api, target + b"Host: x\r\nConnection: close\r\n" + odd + b"\r\nContent-Length: 5\r\n\r\nhello")
    assert answer.startswith(b"HTTP/1.1 200 "), answer
    [row] = await stored(api, door)
    assert row["query"] == b"q=%ff%00&%ed%a0%80;;"
    assert b"\xff\xfe\xed\xa0\x80 \t;" in row["headers"]
    # and whoever reads it over REST gets an answer too
    shown = await api.http.get(f"/v1/deliveries/{row['id']}")
    assert shown.status_code == 200, shown.text


async def test_a_nul_in_a_header_harms_nobody(api: Api, door: dict[str, Any]) -> None:
    target = b"POST /hooks/" + door["id"].encode() + b" HTTP/1.1\r\nHost: x\r\nConnection: close\r\n"
    await raw(api, target + b"X-Odd: a\x00b\r\nContent-Length: 1\r\n\r\nx")
    assert (await api.http.post(f"/hooks/{door['id']}", content=b"x", headers=headers(door, b"x"))).is_success


async def test_a_client_that_leaves_before_its_body_is_complete_stores_nothing(api: Api, door: dict[str, Any]) -> None:
    address = urlsplit(api.url)
    _, writer = await asyncio.open_connection(address.hostname, address.port)
    signature = signed(f"secret-of-{door['name']}", b"half").encode()
    writer.write(
        b"POST /hooks/"
        + door["id"].encode()
        + b" HTTP/1.1\r\nHost: x\r\nX-Signature: "
        + signature
        + b"\r\nContent-Length: 8\r\n\r\nhalf"
    )
    await writer.drain()
    writer.close()
    await writer.wait_closed()
    await asyncio.sleep(0.2)
    assert await stored(api, door) == []
    assert await refused(api, door["id"]) == {}


async def test_unknown_doors_are_not_found(api: Api) -> None:
    for path in (f"/hooks/{uuid4()}", "/hooks/not-an-id", "/hooks/%00"):
        answer = await api.http.post(path, content=b"x")
        assert answer.status_code == 404, path
        assert answer.headers["content-type"] == "application/problem+json"


@pytest.mark.parametrize("method", ["HEAD", "PUT", "DELETE", "OPTIONS", "PATCH"])
async def test_other_methods_are_refused(api: Api, door: dict[str, Any], method: str) -> None:
    answer = await api.http.request(method, f"/hooks/{door['id']}")
    assert answer.status_code == 405
    assert answer.headers["allow"] == "GET, POST"


async def test_two_hundred_at_once_are_all_stored_in_a_few_commits(api: Api, door: dict[str, Any]) -> None:
    bodies = [f"message {number}".encode() for number in range(200)]
    answers = await asyncio.gather(
        *(api.http.post(f"/hooks/{door['id']}", content=body, headers=headers(door, body)) for body in bodies)
    )
    assert {answer.status_code for answer in answers} == {200}
    rows = await stored(api, door)
    assert sorted(row["body"] for row in rows) == sorted(bodies)
    commits = await api.value(
        "SELECT count(DISTINCT xmin::text) FROM delivery WHERE connection_id = :id", id=UUID(door["id"])
    )
    assert commits < 100


async def test_the_door_keeps_storing_while_its_connection_is_paused(api: Api, door: dict[str, Any]) -> None:
    assert (await api.http.post(f"/v1/connections/{door['id']}/pause")).is_success
    assert (await api.http.post(f"/hooks/{door['id']}", content=b"x", headers=headers(door, b"x"))).is_success
    assert len(await stored(api, door)) == 1


async def test_an_app_has_one_door_for_all_its_accounts(api: Api, name: str) -> None:
    app = await api.made("/v1/apps", plugin="crowd", name=name, config={"app_secret": "app-secret"})
    config = {"user_id": "5", "token": "token-5"}
    account = await api.made("/v1/connections", plugin="crowd", name=name, app=name, config=config)
    assert account["door"] == app["door"] == f"{api.url}/hooks/{app['id']}"
    answer = await api.http.post(
        f"/hooks/{app['id']}", content=b"x", headers={"x-signature": signed("app-secret", b"x")}
    )
    assert answer.status_code == 200
    [row] = await api.rows("SELECT * FROM delivery WHERE app_id = :id", id=UUID(app["id"]))
    assert row["connection_id"] is None
    assert (await api.http.get(f"/v1/connections/{account['id']}")).json()["health"]["backlog"]["deliveries"] == 1


async def test_a_changed_secret_counts_at_once(api: Api, door: dict[str, Any]) -> None:
    assert (await api.http.post(f"/hooks/{door['id']}", content=b"x", headers=headers(door, b"x"))).is_success
    await api.http.patch(f"/v1/connections/{door['id']}", json={"config": {"secret": "another secret"}})
    answer = await api.http.post(f"/hooks/{door['id']}", content=b"x", headers=headers(door, b"x"))
    assert answer.status_code == 401


class Proxy:
    """A way to the database that can be cut."""

    def __init__(self, url: str) -> None:
        self._target = urlsplit(url)
        self._connections: set[asyncio.StreamWriter] = set()
        self._tasks: set[asyncio.Task[None]] = set()
        self._server: asyncio.Server | None = None
        self.port = 0

    @property
    def url(self) -> str:
        """The database's address through here."""
        user = self._target.netloc.rpartition("@")[0]
        return self._target._replace(netloc=f"{user}@127.0.0.1:{self.port}").geturl()

    async def open(self) -> None:
        """Let connections through."""
        self._server = await asyncio.start_server(self._through, "127.0.0.1", self.port)
        self.port = self._server.sockets[0].getsockname()[1]

    async def cut(self) -> None:
        """End every connection and let none through."""
        assert self._server is not None
        self._server.close()
        for writer in list(self._connections):
            writer.transport.abort()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    async def _through(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._tasks.add(task)
        upstream, downstream = await asyncio.open_connection(self._target.hostname, self._target.port)
        self._connections |= {writer, downstream}
        try:
            await asyncio.gather(self._copy(reader, downstream), self._copy(upstream, writer))
        finally:
            for one in (writer, downstream):
                one.transport.abort()
                self._connections.discard(one)
            self._tasks.discard(task)

    async def _copy(self, source: asyncio.StreamReader, target: asyncio.StreamWriter) -> None:
        try:
            while data := await source.read(65536):
                target.write(data)
                await target.drain()
        except OSError:
            pass
        finally:
            target.transport.abort()


async def test_nothing_is_acknowledged_while_the_database_is_away(database: str, serve: Any) -> None:
    proxy = Proxy(database)
    await proxy.open()
    served: AbstractAsyncContextManager[Api] = serve(proxy.url)
    async with served as api:
        door = await api.shout("one")
        sent = {"x-signature": signed("secret-of-one", b"x")}
        assert (await api.http.post(f"/hooks/{door['id']}", content=b"x", headers=sent)).status_code == 200
        await proxy.cut()
        for _ in range(3):  # with the connection known from before, and no longer known
            answer = await api.http.post(f"/hooks/{door['id']}", content=b"x", headers=sent)
            assert answer.status_code == 503
            assert int(answer.headers["retry-after"]) > 0
            await asyncio.sleep(0.5)
        rest = await api.http.get("/v1/brands")
        assert (rest.status_code, rest.json()["type"]) == (503, "urn:helpdesk-gateway:problem:unavailable")
        ready = await api.http.get("/readyz")
        failed = [one["name"] for one in ready.json()["checks"] if one["ok"] is False]
        assert (ready.status_code, failed) == (503, ["database"])
        assert (await api.http.get("/healthz")).status_code == 200
        await proxy.open()
        assert (await api.http.post(f"/hooks/{door['id']}", content=b"x", headers=sent)).status_code == 200
        assert len(await stored(api, door)) == 2
    await proxy.cut()
