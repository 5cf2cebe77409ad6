"""The Request Tracker plugin against a real RT 5, such as Debian's. Not run by `make test` unless asked for:

    apt-get install request-tracker5 rt5-standalone rt5-db-sqlite libdbd-sqlite3-perl
    REAL_SERVERS=request_tracker .venv/bin/pytest -n 0 tests/real/test_request_tracker.py

It makes a server and its database in a folder of its own, on loopback, and ends both. Takes about a minute.
"""

from __future__ import annotations

import asyncio
import os
import re
import shutil
import signal
import socket
import subprocess
from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import httpx2
import pytest

from gateway_request_tracker.config import RequestTrackerConfig
from gateway_request_tracker.payloads import login_of
from gateway_request_tracker.plugin import RequestTrackerHelpdesk
from gateway_schemas.errors import Gone, Moved, Rejected, Retry
from gateway_schemas.files import MemoryFiles
from gateway_schemas.interaction import Attachment, Ignored, Wanted
from gateway_schemas.plugin import MemoryState, Setup
from gateway_schemas.ticket import (
    AgentNote,
    AgentReply,
    Done,
    GatewayFields,
    OutgoingComment,
    OwnComment,
    PushIntent,
    Requester,
    TicketChange,
)
from gateway_schemas.time import SystemTime
from gateway_schemas.webhook import RawDelivery

SERVER = Path("/usr/share/request-tracker5/libexec/rt-server")
SETUP = shutil.which("rt-setup-database-5")

pytestmark = [
    pytest.mark.skipif(
        "request_tracker" not in os.environ.get("REAL_SERVERS", ""), reason="REAL_SERVERS does not name request_tracker"
    ),
    pytest.mark.skipif(SETUP is None or not SERVER.exists(), reason="Request Tracker 5 is not installed"),
]

SITE = """
Set($rtname, 'desk.example'); Set($Organization, 'desk.example');
Set($WebDomain, '127.0.0.1'); Set($WebPort, {port}); Set($WebBaseURL, '{url}'); Set($WebPath, '');
Set($DatabaseType, 'SQLite'); Set($DatabaseName, '{folder}/rt.sqlite');
Set($MailCommand, 'testfile'); Set($LogToSTDERR, 'error'); Set($LogToSyslog, undef); Set($LogToFile, undef);
1;
"""

DATA = """
@Users = map {{ Name => $_, Password => "$_-password", Privileged => 1, RealName => ucfirst($_),
  EmailAddress => "$_\\@desk.example" }} qw(gateway ada);
@CustomFields = map {{ Name => $_->[0], Type => 'Freeform', MaxValues => $_->[1],
  LookupType => 'RT::Queue-RT::Ticket', Queue => ['General'] }} (['gw_key', 1], ['gw_tags', 0], ['gw_state', 1]);
for my $user (qw(gateway ada)) {
  push @ACL, map {{ UserId => $user, Right => $_, Queue => 'General' }} qw(SeeQueue ShowTicket ShowTicketComments
    CreateTicket ReplyToTicket CommentOnTicket ModifyTicket OwnTicket SeeCustomField ModifyCustomField);
}
push @ACL, { UserId => 'gateway', Right => 'AdminUsers' };
push @ACL, map {{ GroupDomain => 'RT::System-Role', GroupType => 'Requestor', Right => $_ }}
  qw(ShowTicket ReplyToTicket);
"""

TOKEN = """
use lib '/usr/share/request-tracker5/lib'; use RT; RT::LoadConfig(); RT::Init();
my $user = RT::User->new(RT->SystemUser); $user->Load('gateway');
my ($ok, $said, $token) = RT::AuthToken->new(RT->SystemUser)->Create(Owner => $user->Id, Description => 'test');
print "token: $token\\n";
"""


@dataclass
class Real:
    """A running RT, and the plugin on it."""

    url: str
    token: str
    http: httpx2.AsyncClient
    files: MemoryFiles

    def plugin(self, **more: Any) -> RequestTrackerHelpdesk:
        values = {"url": self.url, "token": self.token, "api_user": "gateway", "fields": {"gw_state": "gw_state"}}
        config = RequestTrackerConfig.model_validate({**values, **more})
        http, state = self.http, MemoryState()
        return RequestTrackerHelpdesk(
            Setup(time=SystemTime(), config=config, http=http, media=http, files=self.files, state=state)
        )

    async def ada(self, method: str, path: str, body: dict[str, Any]) -> httpx2.Response:
        """What an agent's own program does; the header then says REST and not Web."""
        url = f"{self.url}/REST/2.0/{path}"
        return await self.http.request(method, url, json=body, auth=("ada", "ada-password"))

    async def read(self, *tickets: str, **more: Any) -> list[Any]:
        plugin = self.plugin(**more)
        pages = await plugin.fetch([Wanted(ref=one, kind="ticket") for one in tickets])
        now = datetime.now(UTC)
        return [item for page in pages for item in plugin.normalise(RawDelivery("d", "fetch", page.body, now))]


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[str, str]]:
    """Address and token of a new RT."""
    folder = tmp_path_factory.mktemp("rt")
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    url = f"http://127.0.0.1:{port}"
    (folder / "site.pm").write_text(SITE.format(port=port, url=url, folder=folder))
    (folder / "data.pl").write_text(DATA)
    (folder / "empty").mkdir()
    env = {**os.environ, "RT_SITE_CONFIG": str(folder / "site.pm"), "RT_SITE_CONFIG_DIR": str(folder / "empty")}
    login = ["--dba", "root", "--dba-password", "x"]
    for action in (["init", "--skip-create"], ["insert", "--datafile", str(folder / "data.pl")]):
        subprocess.run([str(SETUP), "--action", *action, *login], env=env, check=True, capture_output=True)
    told = subprocess.run(["perl", "-e", TOKEN], env=env, check=True, capture_output=True, text=True).stdout
    matched = re.search(r"token: (\S+)", told)
    assert matched is not None
    command = [str(SERVER), "--server", "HTTP::Server::PSGI", "--host", "127.0.0.1", "--port", str(port)]
    with open(folder / "log", "wb") as log:
        process = subprocess.Popen(command, env=env, stdout=log, stderr=log, start_new_session=True)
    try:
        yield url, matched[1]
    finally:
        os.killpg(process.pid, signal.SIGTERM)
        process.wait(20)


@pytest.fixture
async def real(server: tuple[str, str]) -> AsyncIterator[Real]:
    url, token = server
    async with httpx2.AsyncClient(trust_env=False, timeout=30.0) as http:
        made = Real(url, token, http, MemoryFiles())
        for _ in range(120):
            try:
                await made.plugin().check()
                break
            except Retry:  # it needs some seconds before it listens
                await asyncio.sleep(0.5)
        yield made


NOW = datetime.now(UTC)


def customer(name: str) -> Requester:
    return Requester(external_id=f"x:{name}", name=name.title(), provider="x")


def comment(key: str, text: str, who: str | None, **more: Any) -> OutgoingComment:
    author = customer(who) if who is not None else None
    return OutgoingComment(key=key, text=text, author=author, at=NOW, **more)


def creation(key: str, who: str, text: str = "The train is late", **more: Any) -> TicketChange:
    values = {"ticket_key": f"gateway:{key}", "subject": f"Post by @{who}", "requester": customer(who)}
    return TicketChange(**{"key": key, "comments": (comment(f"{key}-c", text, who),), **values, **more})


def update(ticket: str, key: str, *comments: OutgoingComment, who: str = "alice", **more: Any) -> TicketChange:
    values = {"ticket_key": f"gateway:{key}", "external_id": ticket, "requester": customer(who)}
    return TicketChange(key=key, comments=comments, **values, **more)


async def pushed(plugin: RequestTrackerHelpdesk, change: TicketChange) -> Done:
    (done,) = await plugin.push([change])
    assert isinstance(done, Done)
    return done


async def found(plugin: RequestTrackerHelpdesk, change: TicketChange) -> dict[str, str]:
    return (await plugin.find(PushIntent(change=change, started_at=NOW))).comments


async def test_a_ticket_there_and_back(real: Real) -> None:
    image = real.files.keep(b"\x89PNG\x00\xff")
    files = (Attachment(name="a.png", media_type="image/png", sha256=image),)
    asked = creation("t1", "alice", priority="high", add_tags=("x",)).model_copy(
        update={"comments": (comment("t1-c", "Größe 😀\nzwei", "alice", attachments=files),)}
    )
    plugin = real.plugin(customer_secret="s" * 40)
    assert await found(plugin, asked) == {}
    ticket = (await pushed(plugin, asked)).external_id
    assert await found(plugin, asked) == {"t1-c": f"create-{ticket}"}
    shown = (await real.ada("GET", f"ticket/{ticket}", {})).json()
    assert [one["id"] for one in shown["Requestor"]] == ["x-alice"]

    more = update(ticket, "t1-d", comment("d", "Hello?", "alice"), status="open", fields=GatewayFields(state="held"))
    done = await pushed(plugin, more)
    assert await found(plugin, more) == done.comments
    await pushed(plugin, update(ticket, "t1-e", comment("e", "My number is 7", "alice", public=False)))
    await real.ada(
        "POST",
        f"ticket/{ticket}/correspond",
        {
            "Content": "<p>Sorry &amp; <b>bye</b></p><script>x</script>",
            "ContentType": "text/html",
            "Attachments": [{"FileName": "b.txt", "FileType": "text/plain", "FileContent": "aGk="}],
        },
    )
    await real.ada("POST", f"ticket/{ticket}/comment", {"Content": "inside", "ContentType": "text/plain"})

    news = await real.read(ticket, customer_secret="s" * 40, rest_publishes=True)
    assert [one.key for one in news if isinstance(one, OwnComment)] == ["t1-c", "d", "e"]
    (reply,) = (one for one in news if isinstance(one, AgentReply))
    assert (reply.text, reply.origin, reply.author.name) == ("Sorry & bye", "app", "Ada")
    assert (await plugin.download(reply.attachments[0])).body == b"hi"
    assert [one.text for one in news if isinstance(one, AgentNote)] == ["inside"]
    state = news[-1]
    assert (state.status, state.priority, state.tags, state.ticket_key) == (
        "open",
        "high",
        ("gateway", "x"),
        "gateway:t1",
    )


async def test_names_that_rt_takes_for_something_else(real: Real) -> None:
    for name in ("42", "Alice", "ann@else.example", "4:2", "Ünï", "a b"):
        asked = creation(f"n-{login_of(customer(name))}", name)
        ticket = (await pushed(real.plugin(), asked)).external_id
        shown = (await real.ada("GET", f"ticket/{ticket}", {})).json()
        assert [one["id"] for one in shown["Requestor"]] == [login_of(customer(name))]


async def test_refusals_are_200_and_found(real: Real) -> None:
    ticket = (await pushed(real.plugin(), creation("r1", "alice"))).external_id
    with pytest.raises(Rejected) as caught:
        await real.plugin(waiting="parked").push([update(ticket, "r2", status="waiting", add_tags=("y",))])
    assert (caught.value.code, caught.value.field) == ("not_applied", "Status")
    change = update(ticket, "r3", fields=GatewayFields(state="held"))
    with pytest.raises(Rejected) as caught:
        await real.plugin(fields={"gw_state": "nothing"}).push([change])
    assert caught.value.field == "nothing"
    await pushed(real.plugin(), update(ticket, "r4", add_tags=("z",), remove_tags=("y",), status="waiting"))
    state = (await real.read(ticket))[-1]
    assert (state.tags, state.status) == (("gateway", "z"), "waiting")


async def test_merges_and_what_is_gone(real: Real) -> None:
    first = (await pushed(real.plugin(), creation("m1", "alice"))).external_id
    second = (await pushed(real.plugin(), creation("m2", "bob"))).external_id
    await real.ada("POST", f"ticket/{first}/correspond", {"Content": "Known already", "ContentType": "text/plain"})
    await real.ada("PUT", f"ticket/{first}", {"MergeInto": int(second)})
    with pytest.raises(Moved) as caught:
        await real.plugin().push([update(first, "m3", comment("m3", "x", "alice"))])
    assert caught.value.to == second
    assert [one.merged_into for one in await real.read(first)] == [second]
    news = await real.read(second)
    assert [one.origin for one in news if isinstance(one, AgentReply)] == ["merge"]
    with pytest.raises(Gone):
        await real.plugin().push([update("99999", "m4", comment("m4", "x", "alice"))])


async def test_polls(real: Real) -> None:
    ticket = (await pushed(real.plugin(), creation("p1", "alice"))).external_id
    plugin, cursor, more = real.plugin(), (await real.plugin().poll("transactions", None)).cursor, True
    await real.ada("PUT", f"ticket/{ticket}", {"Status": "open"})
    refs: set[str] = set()
    while more:
        page = await plugin.poll("transactions", cursor)
        cursor, more = page.cursor, page.more
        for one in page.pages:
            news = plugin.normalise(RawDelivery("d", "poll", one.body, datetime.now(UTC)))
            refs |= {item.ref for item in news if isinstance(item, Wanted)}
            assert all(isinstance(item, Wanted | Ignored) for item in news)
    assert refs == {ticket}


async def test_install_and_check(real: Real) -> None:
    health = await real.plugin().check()
    assert health.ok
    assert (await real.plugin(queue="Nowhere").check()).findings[0].code == "queue_unknown"
    found = {one.code for one in (await real.plugin(fields={"rating": "Stars"}).check()).findings}
    assert found == {"field_missing"}
    report = await real.plugin(create_fields=True, fields={}).install(dry_run=False)
    assert report.config["api_user"] == "gateway"  # who has not the right to make custom fields is told how
    assert any("by hand" in step.what for step in report.steps)
