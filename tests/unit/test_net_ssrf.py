"""Nobody gets the gateway to talk to its own network: every known way to write, resolve or redirect to an inner
address, against listeners that see each connection.

A public host is played by 127.0.0.2, which each case opens by its list; inside are 127.0.0.1 and ::1. Connections to
anything else than this machine are refused, and reported, by the closed network of the tests.
"""

from __future__ import annotations

import asyncio
import contextlib
import socket
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass, field

import httpx2
import pytest
from sqlalchemy import make_url
from sqlalchemy.ext.asyncio import create_async_engine
from sqlmodel import SQLModel

from gateway.db.tables.budget import Budget, BudgetCost
from gateway.net.client import Outgoing, Target
from gateway.net.download import download
from gateway.net.guard import SystemResolver
from gateway.net.sockets import GuardedSockets
from gateway_schemas.errors import GatewayError, Rejected
from gateway_schemas.time import SystemTime
from support.postgres import clone_database, drop_database, server_url  # noqa: F401  a fixture

OUTSIDE = "127.0.0.2"
OPENED = [f"{OUTSIDE}/32"]


@dataclass
class Trap:
    """Listeners inside, on 127.0.0.1 and ::1 at one port, that count connections; and a host outside that redirects."""

    port: int = 0
    caught: int = 0
    outside_port: int = 0
    location: str = ""
    status: int = 302
    seen: list[bytes] = field(default_factory=list)
    _servers: list[asyncio.Server] = field(default_factory=list)

    async def open(self) -> None:
        """Listen."""
        with socket.socket() as one:
            one.bind(("127.0.0.1", 0))
            self.port = one.getsockname()[1]
        self._servers = [
            await asyncio.start_server(self._inside, "127.0.0.1", self.port),
            await asyncio.start_server(self._outside, OUTSIDE, 0),
        ]
        if socket.has_ipv6:
            self._servers.append(await asyncio.start_server(self._inside, "::1", self.port))
        self.outside_port = self._servers[1].sockets[0].getsockname()[1]

    async def close(self) -> None:
        """Stop listening."""
        for one in self._servers:
            one.close()
            await one.wait_closed()

    async def _inside(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.caught += 1
        writer.write(b"HTTP/1.1 200 OK\r\ncontent-length: 6\r\nconnection: close\r\n\r\nsecret")
        writer.close()

    async def _outside(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            self.seen.append(await reader.readuntil(b"\r\n\r\n"))
        except asyncio.IncompleteReadError:
            writer.close()
            return
        head = f"HTTP/1.1 {self.status} Any\r\nconnection: close\r\ncontent-length: 0\r\n"
        if self.location:
            head += f"location: {self.location}\r\n"
        writer.write(head.encode("utf-8") + b"\r\n")
        writer.close()


class Names:
    """A name server that answers each look-up of a name with the next of its answers, and the last one for ever."""

    def __init__(self) -> None:
        self.answers: dict[str, list[list[str]]] = {}
        self._system = SystemResolver(threads=2)

    def say(self, answers: dict[str, list[list[str]]]) -> None:
        """Know these names and no others."""
        self.answers = {host: list(given) for host, given in answers.items()}

    async def __call__(self, host: str, port: int) -> Sequence[str]:
        given = self.answers.get(host.rstrip(".").lower())
        if given is None:
            # numbers are read by the C library, in all its notations; whatever else is a name, somebody's name server
            # knows, and says the worst
            try:
                socket.inet_aton(host)
            except (OSError, UnicodeEncodeError):
                return [host] if ":" in host else ["127.0.0.1"]
            return await self._system(host, port)
        return given.pop(0) if len(given) > 1 else given[0]


@pytest.fixture(scope="module")
async def trap() -> AsyncIterator[Trap]:
    """One for all cases."""
    one = Trap()
    await one.open()
    yield one
    await one.close()


@pytest.fixture(scope="module")
async def served(server_url: str, names: Names) -> AsyncIterator[Outgoing]:  # noqa: F811
    """One client for all cases; its connections are closed by those they lead to."""
    url = await clone_database(server_url, "template0")
    engine = create_async_engine(make_url(url).set(drivername="postgresql+psycopg"))
    tables = [SQLModel.metadata.tables[str(table.__tablename__)] for table in (Budget, BudgetCost)]
    async with engine.begin() as connection:
        await connection.run_sync(SQLModel.metadata.create_all, tables=tables)
    async with Outgoing(engine, SystemTime(), timeout=5.0, resolve=names) as outgoing:
        yield outgoing
    await engine.dispose()
    await drop_database(url)


@pytest.fixture(scope="module")
def names() -> Names:
    """The name server that the client asks."""
    return Names()


@pytest.fixture
def client(served: Outgoing, names: Names, trap: Trap) -> Outgoing:
    """The client, and nobody caught yet."""
    names.say({})
    trap.caught, trap.location, trap.status = 0, "", 302
    trap.seen.clear()
    return served


WRITTEN = [
    # the plain forms, and what ends or surrounds them
    *("127.0.0.1", "127.0.0.1.", "127.0.0.1..", "127.000.000.001", "127.00.00.01", "127.255.255.254", "localhost"),
    *("localhost.", "LOCALHOST", "LocalHost.", "foo.localhost", "localhost.localdomain"),
    # short, decimal, octal, hexadecimal, mixed, and more than 32 bits
    *("127.1", "127.0.1", "2130706433", "2130706433.", "0x7f000001", "0X7F000001", "0x7f.1", "0x7f.0.0.1"),
    *("017700000001", "0177.1", "0177.0.0.1", "0177.0.0.01", "00000177.0.0.1", "0x0000007f.0.0.1", "127.0x0.0.1"),
    *("0177.0x0.0.1", "4294967297", "6425673729", "0x17f000001", "127.0.0.257", "383.0.0.1", "127.0.0.0x1"),
    # nothing at all
    *("0", "0.0.0.0", "0x0", "00", "0.0", "0.0.0.1", "000.000.000.000", "4294967296"),
    # digits and dots of other alphabets, which IDNA maps
    *("127。0。0。1", "127．0．0．1", "127｡0｡0｡1", "１２７.0.0.1", "①②⑦.⓪.⓪.①", "𝟏𝟐𝟕.𝟎.𝟎.𝟏", "１２７。０。０。１"),
    *("ｌｏｃａｌｈｏｓｔ", "ⓛⓞⓒⓐⓛⓗⓞⓢⓣ", "loc\u00adalhost", "local\u200bhost", "lOcAlHoſt", "𝓁ocalhost"),
    # IPv6: every spelling of ::1, the unspecified address, and IPv4 inside IPv6
    *("[::1]", "[0:0:0:0:0:0:0:1]", "[0000:0000:0000:0000:0000:0000:0000:0001]", "[::0001]", "[0::1]", "[::0.0.0.1]"),
    *("[::]", "[0:0:0:0:0:0:0:0]", "[::0.0.0.0]"),
    *("[::ffff:127.0.0.1]", "[::ffff:7f00:1]", "[::FFFF:7F00:0001]", "[0:0:0:0:0:ffff:127.0.0.1]"),
    *("[::127.0.0.1]", "[::7f00:1]", "[::ffff:0:127.0.0.1]", "[::ffff:0.0.0.0]", "[64:ff9b::127.0.0.1]"),
    *("[64:ff9b::7f00:1]", "[64:ff9b:1::7f00:1]", "[2002:7f00:1::]", "[2002:7f00:0001::1]", "[2001:0:7f00:1::1]"),
    *("[::1%25lo]", "[::1%lo]", "[::1%251]", "[fe80::1%25eth0]", "[fe80::1]", "[fe80::a9fe:a9fe]", "[febf::1]"),
    *("[fec0::1]", "[fc00::1]", "[fd12:3456::1]", "[ff02::1]", "[ff05::1:3]", "[100::1]", "[2001:db8::1]", "[3fff::1]"),
    # metadata services of clouds, in all these forms
    *("169.254.169.254", "169.254.43518", "169.16689662", "2852039166", "0xa9fea9fe", "0xa9.0xfe.0xa9.0xfe"),
    *("0251.0376.0251.0376", "169.254.169.254.", "[::ffff:169.254.169.254]", "[::ffff:a9fe:a9fe]", "[::a9fe:a9fe]"),
    *("[64:ff9b::a9fe:a9fe]", "[2002:a9fe:a9fe::]", "[fd00:ec2::254]", "[fd20:ce::254]", "168.63.129.16"),
    *("100.100.100.200", "192.0.0.192", "169.254.170.2", "169.254.0.1"),
    # private, shared, reserved, documentation, multicast, broadcast
    *("10.0.0.1", "10.255.255.255", "012.0.0.1", "0xa.0.0.1", "167772161", "10.1", "172.16.0.1", "172.31.255.255"),
    *("192.168.0.1", "0300.0250.0.1", "0xc0a80001", "3232235521", "192.168.1", "100.64.0.1", "100.127.255.255"),
    *("198.18.0.1", "198.19.255.255", "192.0.2.1", "198.51.100.1", "203.0.113.1", "192.88.99.1", "224.0.0.1"),
    *("239.255.255.250", "240.0.0.1", "255.255.255.255", "4294967295", "255.255.255.255."),
]
"""Hosts as an attacker may write them."""

URLS = [
    # who is the host?
    "http://api.example.com@127.0.0.1:{port}/",
    "http://api.example.com:80@127.0.0.1:{port}/",
    "http://user:password@127.0.0.1:{port}/",
    "http://@127.0.0.1:{port}/",
    "http://:@127.0.0.1:{port}/",
    "http://api.example.com%40127.0.0.1:{port}/",
    "http://api.example.com%2f@127.0.0.1:{port}/",
    "http://127.0.0.1:{port}\\@api.example.com/",
    "http://api.example.com\\@127.0.0.1:{port}/",
    "http://127.0.0.1:{port}#@api.example.com/",
    "http://127.0.0.1:{port}?@api.example.com/",
    "http://127.0.0.1:{port};@api.example.com/",
    "http://127.0.0.1:{port},api.example.com/",
    "http://127.0.0.1%00.api.example.com:{port}/",
    "http://127.0.0.1%09:{port}/",
    "http://127.0.0.1\t:{port}/",
    "http://127.0.0.1\n:{port}/",
    "http://127.0.0.1\r\nHost: x:{port}/",
    "http://127.0.0.1 :{port}/",
    "http://127.0.0.1 api.example.com:{port}/",
    "http://%31%32%37.0.0.1:{port}/",
    "http://127%2e0%2e0%2e1:{port}/",
    "http://local%68ost:{port}/",
    "http://[::1]@api.example.com:{port}/",
    "http://[::1:{port}/",
    "http://::1:{port}/",
    "http:127.0.0.1:{port}/",
    "http:/127.0.0.1:{port}/",
    "http:///127.0.0.1:{port}/",
    "http:\\\\127.0.0.1:{port}\\",
    " http://127.0.0.1:{port}/",
    "\x00http://127.0.0.1:{port}/",
    "HTTP://127.0.0.1:{port}/",
    "hTTps://127.0.0.1:{port}/",
    # what is the port?
    "http://127.0.0.1:0{port}/",
    "http://127.0.0.1:+{port}/",
    "http://127.0.0.1:{port}:80/",
    "http://127.0.0.1:80:{port}/",
    "http://127.0.0.1:/",
    "http://127.0.0.1:99999/",
    "http://127.0.0.1:-1/",
    "http://127.0.0.1:{port}.0/",
    # what else than HTTP?
    *("ftp://127.0.0.1:{port}/", "file:///etc/passwd", "file://127.0.0.1/etc/passwd", "gopher://127.0.0.1:{port}/_x"),
    *("dict://127.0.0.1:{port}/x", "ldap://127.0.0.1:{port}/", "ws://127.0.0.1:{port}/", "wss://127.0.0.1:{port}/"),
    *("unix:///var/run/docker.sock", "http+unix://%2Fvar%2Frun%2Fdocker.sock/", "jar:http://127.0.0.1:{port}!/"),
    *("data:text/plain,x", "javascript:alert(1)", "netdoc:///etc/passwd", "tftp://127.0.0.1:{port}/", "//127.0.0.1"),
    *("/", "", "http://", "http:///", "http://:{port}/", "://127.0.0.1:{port}/"),
]
"""Whole URLs that parsers read differently."""

INNER = ("127.0.0.1", "::1", "0.0.0.0", "::", "10.0.0.1", "169.254.169.254", "fd00:ec2::254", "::ffff:127.0.0.1")

RESOLVED: list[tuple[str, list[list[str]]]] = [
    *((name, [["127.0.0.1"]]) for name in ("127.0.0.1.nip.io", "localtest.me", "spoofed.example", "a.b.example")),
    *((name, [["169.254.169.254"]]) for name in ("metadata.google.internal", "instance-data", "metadata")),
    *((f"one-{number}.example", [[address]]) for number, address in enumerate(INNER)),
    # one good address beside a bad one, before or behind it: the check of one must not open the other
    *((f"mixed-{number}.example", [[OUTSIDE, address]]) for number, address in enumerate(INNER)),
    *((f"mixed-first-{number}.example", [[address, OUTSIDE]]) for number, address in enumerate(INNER)),
    # what the C library may hand out for a link-local or scoped answer
    *((f"scoped-{number}.example", [[one]]) for number, one in enumerate(("fe80::1%lo", "fe80::1%1", "::1%lo"))),
]
"""Names, and what their name server says."""


async def attempt(http: httpx2.AsyncClient, url: str, **options: object) -> None:
    """Ask; a refusal is what each case is for. What is no URL is refused as such before the guard sees it."""
    try:
        answer = await http.get(url, **options)  # type: ignore[arg-type]
    except Rejected as error:
        refused = error
    except (httpx2.InvalidURL, httpx2.UnsupportedProtocol, httpx2.LocalProtocolError, httpx2.ConnectError):
        return  # no URL, nothing to speak, or a name that does not exist
    else:
        raise AssertionError(f"answered {answer.status_code}: {answer.text}")
    assert refused.code in ("address_refused", "origin_refused"), refused
    assert "password" not in refused.reason


async def test_no_way_to_write_an_address(
    client: Outgoing, trap: Trap, refused_connections: list[str], subtests: pytest.Subtests
) -> None:
    http = client.client(Target("connection:1"))
    for host in WRITTEN:
        with subtests.test(ascii(host)):
            for scheme in ("http", "https"):
                await attempt(http, f"{scheme}://{host}:{trap.port}/latest/meta-data/")
            assert (trap.caught, refused_connections) == (0, [])


async def test_no_url_that_parsers_read_differently(
    client: Outgoing, names: Names, trap: Trap, refused_connections: list[str], subtests: pytest.Subtests
) -> None:
    names.say({"api.example.com": [["127.0.0.1"]]})  # so that reading it either way leads inside
    http = client.client(Target("connection:1"))
    # and read the other way, where one of the two hosts is opened: not the inner one
    opened = client.client(Target("connection:1", allowed_origins=["http://api.example.com"]))
    for url in URLS:
        with subtests.test(ascii(url)):
            await attempt(http, url.format(port=trap.port))
            await attempt(opened, url.format(port=trap.port))
            assert (trap.caught, refused_connections) == (0, [])


async def test_no_answer_of_a_name_server(
    client: Outgoing, names: Names, trap: Trap, refused_connections: list[str], subtests: pytest.Subtests
) -> None:
    http = client.client(Target("connection:1", allow_private=OPENED))
    names.say(dict(RESOLVED))
    for host, answers in RESOLVED:
        with subtests.test(f"{host} {answers}"):
            for port in (trap.port, trap.outside_port):
                await attempt(http, f"http://{host}:{port}/")
                with pytest.raises(Rejected):
                    await client.sockets([f"{host}:{port}"], OPENED).connect(host, port)
            assert (trap.caught, len(trap.seen), refused_connections) == (0, 0, [])


REDIRECTS = [
    *(f"http://{host}:{{port}}/" for host in WRITTEN[::3]),
    *(url for url in URLS if url.startswith(("http", "HTTP", "hTTp", "//", "ftp", "file", "gopher", "unix", "ws"))),
    "//127.0.0.1:{port}/",
    "https://127.0.0.1:{port}/",
    "http://inside.example:{port}/",
    "//inside.example:{port}/",
]


async def test_no_redirect(
    client: Outgoing, names: Names, trap: Trap, refused_connections: list[str], subtests: pytest.Subtests
) -> None:
    names.say({"inside.example": [["127.0.0.1"]], "api.example.com": [["::1"]]})
    http = client.client(Target("connection:1", allow_private=OPENED))
    url = f"http://{OUTSIDE}:{trap.outside_port}/"
    for number, location in enumerate(REDIRECTS):
        with subtests.test(ascii(location)):
            trap.location = location.format(port=trap.port).replace("\r", "").replace("\n", "").replace("\x00", "")
            # `[::1` and the like are paths below where it stands: then it redirects without end, to itself
            if number % 2:
                with contextlib.suppress(Rejected, httpx2.HTTPError, httpx2.InvalidURL):
                    await http.get(url, follow_redirects=True)
            else:
                with contextlib.suppress(GatewayError):
                    await download(client, "calendar:1", url, allow_private=OPENED)
            assert (trap.caught, refused_connections) == (0, [])
    assert len(trap.seen) >= len(REDIRECTS), "each began where it may"


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
async def test_no_kind_of_redirect_and_the_credentials_stay_at_home(
    client: Outgoing, names: Names, trap: Trap, status: int
) -> None:
    trap.status, trap.location = status, f"http://127.0.0.1:{trap.port}/"
    http = client.client(Target("connection:1", allow_private=OPENED))
    url = f"http://{OUTSIDE}:{trap.outside_port}/"
    for method in ("GET", "POST"):
        with pytest.raises(Rejected):
            await http.request(method, url, follow_redirects=True, content=b"x" if method == "POST" else None)
        # not even where nobody asked to follow
        assert (await http.request(method, url)).status_code == status
    assert trap.caught == 0
    # to another place that is open, the account's credentials do not go along
    trap.location = f"http://elsewhere.example:{trap.outside_port}/"
    trap.seen.clear()
    names.say({"elsewhere.example": [[OUTSIDE]]})
    http = client.client(Target("connection:1", allow_private=OPENED))
    with pytest.raises(httpx2.TooManyRedirects):
        await http.get(url, follow_redirects=True, headers={"Authorization": "Bearer s3cret", "Cookie": "s3cret"})
    assert b"s3cret" in trap.seen[0]
    assert not any(b"Bearer s3cret" in one for one in trap.seen[1:])


@pytest.mark.parametrize("later", INNER)
async def test_no_rebinding(
    client: Outgoing, names: Names, trap: Trap, later: str, refused_connections: list[str]
) -> None:
    """The name is good when it is checked and bad a moment later: the connection goes to what was checked."""
    trap.status = 200
    names.say({"rebinding.example": [[OUTSIDE], [later], [later]]})
    http = client.client(Target("connection:1", allow_private=OPENED))
    url = f"http://rebinding.example:{trap.outside_port}/"
    assert (await http.get(url)).status_code == 200
    assert names.answers["rebinding.example"] == [[later], [later]], "one look-up for a connection"
    with pytest.raises(Rejected):
        await http.get(url)
    names.answers["rebinding.example"] = [[OUTSIDE], [later]]
    trap.status, trap.location = 302, url
    with pytest.raises(Rejected):
        await http.get(url, follow_redirects=True)
    assert (trap.caught, len(trap.seen), refused_connections) == (0, 2, [])


LISTS = [
    (["127.0.0.1:{port}"], "127.0.0.1:{port}", True),
    (["127.0.0.1:{port}"], "2130706433:{port}", True),  # another way to write what was opened
    (["127.0.0.1:{port}"], "[::ffff:127.0.0.1]:{port}", True),
    (["127.0.0.1/32"], "127.0.0.1:{port}", True),
    (["[::1]:{port}"], "[::1]:{port}", True),
    (["inside.example:{port}"], "inside.example:{port}", True),
    (["inside.example:{port}"], "INSIDE.example.:{port}", True),
    (["127.0.0.1:1"], "127.0.0.1:{port}", False),
    (["127.0.0.1:{port}"], "[::1]:{port}", False),
    (["127.0.0.2/32"], "127.0.0.1:{port}", False),
    (["127.0.0.1:{port}"], "127.0.0.2:{outside}", False),
    (["inside.example:{port}"], "127.0.0.1:{port}", False),
    (["inside.example:{port}"], "other.example:{port}", False),
    (["inside.example:1"], "inside.example:{port}", False),
    (["10.0.0.0/8"], "127.0.0.1:{port}", False),
    (["0.0.0.0/0"], "0.0.0.0:{port}", False),
    (["0.0.0.0/0"], "[::]:{port}", False),
    (["0.0.0.0/0"], "[::1]:{port}", False),
    (["::/0"], "127.0.0.1:{port}", False),
    (["::/0"], "[::ffff:127.0.0.1]:{port}", False),
    (["0.0.0.0/0"], "224.0.0.1:{port}", False),
    (["metadata.example:{port}"], "metadata.example:{port}", False),  # a name does not open a machine's credentials
    (["mixed.example:1"], "mixed.example:{port}", False),
]


@pytest.mark.parametrize(("opened", "place", "reached"), LISTS)
async def test_a_list_opens_what_it_names_and_nothing_beside_it(
    client: Outgoing,
    names: Names,
    trap: Trap,
    opened: list[str],
    place: str,
    reached: bool,
    refused_connections: list[str],
) -> None:
    known = {name: [["127.0.0.1"]] for name in ("inside.example", "other.example")}
    known |= {"metadata.example": [["169.254.169.254"]], "mixed.example": [["127.0.0.1", "10.0.0.1"]]}
    allow = [one.format(port=trap.port) for one in opened]
    url = f"http://{place.format(port=trap.port, outside=trap.outside_port)}/"
    names.say(known)
    http = client.client(Target("connection:1", allow_private=allow))
    if reached:
        assert (await http.get(url)).text == "secret"
    else:
        await attempt(http, url)
    assert (trap.caught > 0, refused_connections) == (reached, [])


@pytest.mark.parametrize("address", INNER)
async def test_no_connection_of_another_protocol(
    client: Outgoing, trap: Trap, address: str, refused_connections: list[str]
) -> None:
    host = f"[{address}]" if ":" in address else address
    sockets = client.sockets([f"{host}:{trap.port}", "mail.example:993"])
    assert isinstance(sockets, GuardedSockets)
    with pytest.raises(Rejected):
        await sockets.connect(address, trap.port)
    with pytest.raises(Rejected):
        await sockets.connect("127.0.0.1", trap.port + 1)
    assert (trap.caught, refused_connections) == (0, [])


async def test_the_trap_catches(client: Outgoing, trap: Trap) -> None:
    """Without the guard the same clients get in, by the same URLs: the cases above could fail."""
    http = client.client(Target("connection:1", allow_private=["127.0.0.0/8", "::1"]))
    hosts = [host for host in WRITTEN if host in ("127.0.0.1", "127.1", "0x7f000001", "017700000001", "[::1]")]
    for host in hosts:
        assert (await http.get(f"http://{host}:{trap.port}/")).text == "secret"
    assert trap.caught == len(hosts) == 5


def test_there_are_enough_cases() -> None:
    assert len(set(WRITTEN)) + len(set(URLS)) + len(RESOLVED) + len(set(REDIRECTS)) + len(LISTS) + 3 * len(INNER) >= 300
