"""Requests reach public addresses and what a connection opened, whatever a URL, a name server or a redirect says."""

from __future__ import annotations

import asyncio
import datetime
import ssl
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from pathlib import Path

import httpx2
import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from sqlalchemy import make_url
from sqlalchemy.ext.asyncio import AsyncEngine, create_async_engine
from sqlmodel import SQLModel
from starlette.requests import Request
from starlette.responses import PlainTextResponse, RedirectResponse, Response
from starlette.routing import BaseRoute, Route

from gateway.db.tables.budget import Budget, BudgetCost
from gateway.net.client import Outgoing, Target
from gateway.net.guard import SystemResolver, parse_origins
from gateway_schemas.errors import Rejected, Retry
from gateway_schemas.http import call
from gateway_schemas.testing.twin import Twin
from gateway_schemas.time import SystemTime
from support.postgres import clone_database, drop_database, server_url  # noqa: F401  a fixture


class Inside(Twin):
    """A service in our own network that nobody outside should reach through us."""

    name = "inside"

    def __init__(self) -> None:
        super().__init__()
        self.seen: list[tuple[str, str]] = []
        self.peers: set[int] = set()

    def routes(self) -> Sequence[BaseRoute]:
        async def secret(request: Request) -> Response:
            self.seen.append((request.headers["host"], request.url.path))
            assert request.client is not None
            self.peers.add(request.client.port)
            return PlainTextResponse("secret")

        async def redirect(request: Request) -> Response:
            return RedirectResponse(request.query_params["to"], status_code=307)

        return [Route("/redirect", redirect, methods=["GET", "POST"]), Route("/{path:path}", secret)]


class Names:
    """A name server that answers each look-up of a host with the next of its answers, and the last one for ever."""

    def __init__(self, **answers: list[list[str]]) -> None:
        self.answers = {host.replace("_", "."): list(given) for host, given in answers.items()}
        self.asked: list[str] = []

    async def __call__(self, host: str, port: int) -> list[str]:
        self.asked.append(host)
        given = self.answers.get(host)
        if given is None:
            return await SystemResolver()(host, port)
        return given.pop(0) if len(given) > 1 else given[0]


@pytest.fixture(scope="module")
async def engine(server_url: str) -> AsyncIterator[AsyncEngine]:  # noqa: F811
    """One database for this file: budgets hardly matter here."""
    url = await clone_database(server_url, "template0")
    engine = create_async_engine(make_url(url).set(drivername="postgresql+psycopg"))
    tables = [SQLModel.metadata.tables[str(table.__tablename__)] for table in (Budget, BudgetCost)]
    async with engine.begin() as connection:
        await connection.run_sync(SQLModel.metadata.create_all, tables=tables)
    yield engine
    await engine.dispose()
    await drop_database(url)


@pytest.fixture(scope="module")
async def served() -> AsyncIterator[Inside]:
    twin = Inside()
    async with twin.serve():
        yield twin


@pytest.fixture
def inside(served: Inside) -> Inside:
    """The service, not reached by anybody yet."""
    served.seen.clear()
    served.peers.clear()
    return served


@pytest.fixture
async def outgoing(engine: AsyncEngine) -> AsyncIterator[Outgoing]:
    async with Outgoing(engine, SystemTime(), timeout=3.0) as outgoing:
        yield outgoing


def port_of(twin: Twin) -> int:
    port = httpx2.URL(twin.url).port
    assert port is not None
    return port


FORMS = [
    "http://127.0.0.1:{port}/",
    "http://127.0.0.2:{port}/",
    "http://localhost:{port}/",
    "http://LocalHost:{port}/",
    "http://2130706433:{port}/",
    "http://0x7f000001:{port}/",
    "http://0x7F.0x0.0x0.0x1:{port}/",
    "http://017700000001:{port}/",
    "http://0177.0.0.1:{port}/",
    "http://127.1:{port}/",
    "http://127.0.1:{port}/",
    "http://0:{port}/",
    "http://0.0.0.0:{port}/",
    "http://127。0。0。1:{port}/",
    "http://１２７.0.0.1:{port}/",
    "http://①②⑦.0.0.1:{port}/",
    "http://[::1]:{port}/",
    "http://[::]:{port}/",
    "http://[0:0:0:0:0:0:0:1]:{port}/",
    "http://[::ffff:127.0.0.1]:{port}/",
    "http://[::ffff:7f00:1]:{port}/",
    "http://[::127.0.0.1]:{port}/",
    "http://[64:ff9b::7f00:1]:{port}/",
    "http://[2002:7f00:1::]:{port}/",
    "http://[fe80::1]:{port}/",
    "http://[fd00:ec2::254]/latest/meta-data/",
    "http://169.254.169.254/latest/meta-data/",
    "http://2852039166/latest/meta-data/",
    "http://0xa9fea9fe/latest/meta-data/",
    "http://168.63.129.16/",
    "http://100.100.100.200/",
    "http://10.0.0.1/",
    "http://172.16.0.1:8080/",
    "https://192.168.1.1/",
    "http://224.0.0.1/",
    "http://255.255.255.255/",
    "http://api.example.com@127.0.0.1:{port}/",
    "http://127.0.0.1:{port}@api.example.com/",
    "http://user:password@127.0.0.1:{port}/",
    "http://127.0.0.1:{port}\\@api.example.com/",
    "http://127.0.0.1:{port}#@api.example.com/",
    "http://127.0.0.1:{port}?@api.example.com/",
    "ftp://127.0.0.1:{port}/",
    "file:///etc/passwd",
    "gopher://127.0.0.1:{port}/_",
    "ws://127.0.0.1:{port}/",
    "unix:///var/run/docker.sock",
    "//127.0.0.1:{port}/",
    "/",
    "http:///",
]


async def test_no_form_of_a_url_leads_inside(outgoing: Outgoing, inside: Inside, subtests: pytest.Subtests) -> None:
    http = outgoing.client(Target("connection:1"))
    for form in FORMS:
        with subtests.test(form):
            try:
                with pytest.raises(Rejected) as refused:
                    await http.get(form.format(port=port_of(inside)))
                assert refused.value.code == "address_refused"
                assert "password" not in refused.value.reason
            except httpx2.InvalidURL:
                pass  # refused even before it comes to the guard
            assert inside.seen == []


async def test_the_refusal_names_the_host_and_the_mend(outgoing: Outgoing, inside: Inside) -> None:
    with pytest.raises(Rejected) as refused:
        await outgoing.client(Target("connection:1")).get(f"{inside.url}/token-in-path?access_token=hush")
    assert "127.0.0.1" in refused.value.reason
    assert "allow_private" in refused.value.reason
    assert "hush" not in refused.value.reason
    assert "token-in-path" not in refused.value.reason


async def test_an_opened_address_is_reached_at_any_port(outgoing: Outgoing, inside: Inside) -> None:
    for entry in (f"127.0.0.1:{port_of(inside)}", "127.0.0.0/8"):
        response = await outgoing.client(Target("connection:1", allow_private=[entry])).get(f"{inside.url}/a")
        assert response.text == "secret"


async def test_a_name_with_one_private_address_is_refused(
    engine: AsyncEngine, inside: Inside, refused_connections: list[str]
) -> None:
    """The public address is not even tried: the fence of the tests would tell."""
    names = Names(mixed_example=[["93.184.215.14", "2606:4700::1", "127.0.0.1"]])
    async with Outgoing(engine, SystemTime(), resolve=names) as outgoing:
        with pytest.raises(Rejected, match=r"mixed\.example leads to 127\.0\.0\.1, a loopback address"):
            await outgoing.client(Target("connection:1")).get(f"http://mixed.example:{port_of(inside)}/")
    assert refused_connections == []
    assert inside.seen == []


async def test_a_name_that_changes_its_answer_gains_nothing(engine: AsyncEngine, inside: Inside) -> None:
    """One look-up per connection; the address checked is the address connected to."""
    names = Names(rebind_example=[["127.0.0.1"], ["169.254.169.254"]])
    async with Outgoing(engine, SystemTime(), resolve=names) as outgoing:
        http = outgoing.client(Target("connection:1", allow_private=["127.0.0.0/8"]))
        url = f"http://rebind.example:{port_of(inside)}/"
        assert (await http.get(url, headers={"Connection": "close"})).text == "secret"
        assert names.asked == ["rebind.example"]
        assert inside.seen == [(f"rebind.example:{port_of(inside)}", "/")]
        with pytest.raises(Rejected, match=r"169\.254\.169\.254"):
            await http.get(url)
    assert len(inside.seen) == 1


async def test_the_next_address_is_tried_when_one_is_dead(engine: AsyncEngine, inside: Inside) -> None:
    names = Names(two_example=[["127.0.0.9", "127.0.0.1"]])
    async with Outgoing(engine, SystemTime(), resolve=names) as outgoing:
        http = outgoing.client(Target("connection:1", allow_private=["127.0.0.0/8"]))
        assert (await http.get(f"http://two.example:{port_of(inside)}/")).text == "secret"


async def test_a_redirect_is_not_followed_unasked(outgoing: Outgoing, inside: Inside) -> None:
    http = outgoing.client(Target("connection:1", allow_private=[f"127.0.0.1:{port_of(inside)}"]))
    response = await http.get(f"{inside.url}/redirect", params={"to": "http://169.254.169.254/"})
    assert response.status_code == 307


async def test_each_hop_of_a_redirect_is_checked(outgoing: Outgoing, inside: Inside, subtests: pytest.Subtests) -> None:
    http = outgoing.client(Target("connection:1", allow_private=[f"127.0.0.1:{port_of(inside)}"]))
    for to in ("169.254.169.254/", "localhost:1/", "[::1]/", "10.0.0.1/", "2130706433/", "user:pw@127.0.0.1/"):
        with subtests.test(to), pytest.raises(Rejected) as refused:
            await http.get(f"{inside.url}/redirect", params={"to": f"http://{to}"}, follow_redirects=True)
        assert refused.value.code == "address_refused"
    with pytest.raises(Rejected):
        await http.get(f"{inside.url}/redirect", params={"to": "file:///etc/passwd"}, follow_redirects=True)


async def test_a_redirect_leaves_no_named_origin(outgoing: Outgoing, inside: Inside) -> None:
    other = Inside()
    async with other.serve() as elsewhere:
        http = outgoing.client(
            Target("connection:1", allow_private=["127.0.0.0/8"], allowed_origins=[f"{inside.url}/api/v2"])
        )
        with pytest.raises(Rejected) as refused:
            await http.post(f"{inside.url}/redirect", params={"to": elsewhere}, follow_redirects=True)
        assert refused.value.code == "origin_refused"
        assert other.seen == []


ORIGINS = [
    ("http://127.0.0.1:{port}/api", "http://127.0.0.1:{port}/elsewhere", True),
    ("http://127.0.0.1:{port}", "http://127.0.0.1:{port}", True),
    ("HTTP://LocalHost:{port}", "http://localhost:{port}/", True),
    ("http://127.0.0.1:1", "http://127.0.0.1:{port}/", False),
    ("http://127.0.0.1", "http://127.0.0.1:{port}/", False),
    ("https://127.0.0.1:{port}", "http://127.0.0.1:{port}/", False),
    ("http://localhost:{port}", "http://127.0.0.1:{port}/", False),
    ("http://example.com", "http://example.com.evil.example/", False),
    ("http://example.com", "http://evil-example.com/", False),
    ("http://example.com", "https://example.com/", False),
    ("http://example.com:80", "http://example.com:8080/", False),
]


async def test_origins_are_exact(outgoing: Outgoing, inside: Inside, subtests: pytest.Subtests) -> None:
    port = port_of(inside)
    for base, url, let_through in ORIGINS:
        with subtests.test(base, url=url):
            inside.seen.clear()
            http = outgoing.client(
                Target("connection:1", allow_private=["127.0.0.0/8", "::1"], allowed_origins=[base.format(port=port)])
            )
            if let_through:
                assert (await http.get(url.format(port=port))).text == "secret"
                continue
            with pytest.raises(Rejected) as refused:
                await http.get(url.format(port=port))
            assert refused.value.code == "origin_refused"
            assert inside.seen == []


@pytest.mark.parametrize("base", ["example.com", "ftp://example.com", "/api", "", "https://", "http://exa mple.com:x"])
def test_an_origin_that_is_none_is_said_at_once(base: str) -> None:
    with pytest.raises(ValueError, match="URL"):
        parse_origins(["https://api.example.com", base])


async def test_connections_are_shared_only_by_the_same_list(outgoing: Outgoing, inside: Inside) -> None:
    """A kept-alive connection that one target may use is no way in for another."""
    opened = [f"127.0.0.1:{port_of(inside)}"]
    for _ in range(3):
        await outgoing.client(Target("connection:1", allow_private=opened)).get(f"{inside.url}/a")
        await outgoing.client(Target("connection:2", allow_private=opened)).get(f"{inside.url}/b")
    assert len(inside.peers) == 1
    with pytest.raises(Rejected):
        await outgoing.client(Target("connection:3")).get(f"{inside.url}/c")


async def test_the_environment_has_no_say(outgoing: Outgoing, inside: Inside, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("HTTP_PROXY", "http_proxy", "ALL_PROXY", "HTTPS_PROXY"):
        monkeypatch.setenv(name, "http://127.0.0.1:9")
    http = outgoing.client(Target("connection:1", allow_private=["127.0.0.0/8"]))
    assert (await http.get(inside.url)).text == "secret"


async def test_a_name_server_that_hangs_delays_only_its_own_host(engine: AsyncEngine, inside: Inside) -> None:
    async def hangs(host: str, port: int) -> list[str]:
        if host == "slow.example":
            await asyncio.sleep(30)
        return ["127.0.0.1"]

    async with Outgoing(engine, SystemTime(), resolve=hangs, timeout=0.5) as outgoing:
        http = outgoing.client(Target("connection:1", allow_private=["127.0.0.0/8"]))
        slow = asyncio.create_task(http.get("http://slow.example/"))
        quick = await http.get(f"http://quick.example:{port_of(inside)}/")
        assert quick.text == "secret"
        with pytest.raises(httpx2.ConnectTimeout):
            await slow


async def test_a_name_that_does_not_exist_is_a_retry(engine: AsyncEngine) -> None:
    async def unknown(host: str, port: int) -> list[str]:
        raise OSError("no such host")

    async with Outgoing(engine, SystemTime(), resolve=unknown) as outgoing:
        http = outgoing.client(Target("connection:1"))
        with pytest.raises(Retry) as failed:
            await call(http, "POST", "https://gone.example/", effect=True, now=SystemTime().now())
        assert failed.value.code == "not_sent"


async def test_one_look_up_serves_all_who_wait(inside: Inside) -> None:
    resolver = SystemResolver(threads=1)
    answers = await asyncio.gather(*[resolver("localhost", 80) for _ in range(50)])
    assert all("127.0.0.1" in answer for answer in answers)
    given_up = asyncio.create_task(resolver("localhost", 81))
    await asyncio.sleep(0)
    given_up.cancel()
    assert "127.0.0.1" in await resolver("localhost", 81)
    resolver.close()


def certificate_for(host: str, folder: Path) -> tuple[ssl.SSLContext, ssl.SSLContext]:
    """A server's and a client's TLS context: the client trusts this one certificate, the server has it for `host`."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, host)])
    now = datetime.datetime.now(datetime.UTC)
    certificate = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - datetime.timedelta(days=1))
        .not_valid_after(now + datetime.timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName([x509.DNSName(host)]), critical=False)
        .sign(key, hashes.SHA256())
    )
    pem = certificate.public_bytes(serialization.Encoding.PEM)
    (folder / "certificate.pem").write_bytes(pem)
    (folder / "key.pem").write_bytes(
        key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    )
    server = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    server.load_cert_chain(folder / "certificate.pem", folder / "key.pem")
    return server, ssl.create_default_context(cadata=pem.decode())


@asynccontextmanager
async def tls_server(context: ssl.SSLContext, names: list[str | None]) -> AsyncIterator[int]:
    """Answers one request per connection; notes the server name each client asked for."""

    def note(_: ssl.SSLObject, name: str | None, __: ssl.SSLContext) -> None:
        names.append(name)

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        request = await reader.readuntil(b"\r\n\r\n")
        host = next(line for line in request.split(b"\r\n") if line.lower().startswith(b"host:"))
        writer.write(b"HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: %d\r\n\r\n%s" % (len(host), host))
        await writer.drain()
        writer.close()

    context.sni_callback = note
    server = await asyncio.start_server(answer, "127.0.0.1", 0, ssl=context)
    async with server:
        yield server.sockets[0].getsockname()[1]


async def test_tls_checks_the_name_although_the_address_is_pinned(engine: AsyncEngine, tmp_path: Path) -> None:
    server, client = certificate_for("api.example.test", tmp_path)
    asked: list[str | None] = []
    names = Names(api_example_test=[["127.0.0.1"]], other_example_test=[["127.0.0.1"]])
    async with (
        tls_server(server, asked) as port,
        Outgoing(engine, SystemTime(), resolve=names, ssl_context=client) as outgoing,
    ):
        http = outgoing.client(Target("connection:1", allow_private=["127.0.0.0/8"]))
        response = await http.get(f"https://api.example.test:{port}/")
        assert asked == ["api.example.test"]
        assert response.text.lower() == f"host: api.example.test:{port}"
        with pytest.raises(httpx2.ConnectError, match="certificate"):
            await http.get(f"https://other.example.test:{port}/")
