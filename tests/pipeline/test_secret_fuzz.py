"""Every error there is, provoked with secrets that can be recognised: none of them is in a log, a problem, a delivery,
an attempt, a metric, or any other row or `repr`.

Real plugins talk to a provider that quotes each request in its errors, whatever its status; a plugin of bad manners
tells its token in every exception. What was logged is looked at as the gateway writes it, and as a library would have.
"""

from __future__ import annotations

import asyncio
import base64
import contextlib
import json
import logging
import os
import secrets
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any
from urllib.parse import quote, quote_plus
from uuid import UUID

import httpx2
import pytest
from pydantic import SecretStr
from sqlalchemy import text
from typer.testing import CliRunner

from gateway.app import create_app
from gateway.cli import app as commands
from gateway.connections import build
from gateway.security import redaction
from gateway.security.keys import NewKey, generate, prefix_of
from gateway.security.redaction import Redactor, masked, redacted
from gateway.security.vault import Vault
from gateway.tracing.logs import JsonLines, TextLines
from gateway_schemas.plugin import Step
from gateway_schemas.signatures import sign_standard
from support.gateway import Gateway, fresh_database, running
from support.leaky import ERRORS, FORMS, MODULE


def secret(name: str) -> str:
    """A secret that is found wherever it turns up."""
    return f"{name}-{secrets.token_urlsafe(24)}-{name[::-1]}/+= ü"


def standard() -> str:
    """A signing secret after Standard Webhooks."""
    return "whsec_" + base64.b64encode(os.urandom(32)).decode()


class Secrets(dict[str, str]):
    """All the secrets of this installation, by name."""

    def plain(self, name: str) -> str:
        """Make one that goes into a header."""
        self[name] = secret(name).replace(" ü", "")
        return self[name]

    def standard(self, name: str) -> str:
        """Make a signing secret."""
        self[name] = standard()
        return self[name]

    def found_in(self, where: str) -> list[str]:
        """The names of those that are in a text: whole, encoded, or a half of them, forwards or backwards."""
        return [name for name, one in self.items() if any(form in where for form in forms(one))]


def forms(one: str) -> Iterator[str]:
    """How a secret may stand in a text. Written apart from what the gateway looks for."""
    data = one.encode()
    half = len(one) // 2
    yield from (one, one[::-1], one[:half], one[half:], one[::-1][:half], quote(one, safe=""), quote_plus(one))
    yield from (json.dumps(one)[1:-1], repr(one)[1:-1], data.hex())
    for before in range(3):
        encoded = base64.b64encode(b"\0" * before + data)
        yield encoded[4:-4].decode()
        yield base64.urlsafe_b64encode(b"\0" * before + data)[4:-4].decode()


QUOTING = ("error", "message", "detail", "description", "title", "error_description", "errors", "code")
"""Where the providers' error bodies have their words."""


class Mirror:
    """A provider that refuses everything and quotes what it was sent, in its body, its headers and its status line."""

    def __init__(self) -> None:
        self.status = 400
        self.requests = 0
        self.url = ""

    @contextlib.asynccontextmanager
    async def serve(self) -> AsyncIterator[Mirror]:
        """Listen on loopback."""
        server = await asyncio.start_server(self._answer, "127.0.0.1", 0)
        self.url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
        async with server:
            yield self

    async def _answer(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.closing(writer), contextlib.suppress(asyncio.IncompleteReadError, OSError):
            async with asyncio.timeout(5):
                head = await reader.readuntil(b"\r\n\r\n")
                length = next(
                    (int(line[15:]) for line in head.split(b"\r\n") if line.lower().startswith(b"content-length:")), 0
                )
                body = await reader.readexactly(length)
            self.requests += 1
            quoted = (head + body).decode("latin-1")
            document = dict.fromkeys(
                ("error", "message", "detail", "description", "title", "error_description", "errors", "code"), quoted
            )
            answer = json.dumps(document).encode()
            if self.status == 0:
                return
            if self.status == 1:  # cut off in the middle
                writer.write(b"HTTP/1.1 200 OK\r\ncontent-length: 100000\r\n\r\n" + quoted.encode("latin-1")[:500])
            elif self.status == 2:  # no HTTP
                writer.write(quoted.encode("latin-1"))
            else:
                line = head.split(b"\r\n")[0]
                authorization = next(
                    (one for one in head.split(b"\r\n") if one.lower().startswith(b"authorization")), line
                )
                writer.write(
                    b"HTTP/1.1 %d %s\r\ncontent-type: application/json\r\ncontent-length: %d\r\nx-quoted: %s\r\n"
                    b"www-authenticate: %s\r\nconnection: close\r\n\r\n"
                    % (self.status, authorization, len(answer), authorization, authorization)
                    + answer
                )
            await writer.drain()


class Lines(logging.Handler):
    """Keeps what was logged, as the gateway writes it."""

    def __init__(self, *formatters: logging.Formatter) -> None:
        super().__init__(logging.DEBUG)
        self.formatters = formatters
        self.lines: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        self.lines += [formatter.format(record) for formatter in self.formatters]


@pytest.fixture
def logged() -> Iterator[Lines]:
    """Everything that is logged, at any level and as the gateway writes it."""
    handler = Lines(TextLines(), JsonLines())
    root = logging.getLogger()
    level = root.level
    root.addHandler(handler)
    root.setLevel(logging.DEBUG)
    yield handler
    root.removeHandler(handler)
    root.setLevel(level)


STATUSES = (400, 401, 503, 2)


def configurations(known: Secrets, at: str) -> list[dict[str, Any]]:
    """Connections of the shipped plugins, all of whose providers are the mirror."""
    url = f"{at}/feed/"
    return [
        {"plugin": "zendesk", "config": {"base_url": at, "email": "a@x.example", "api_token": known.plain("zendesk")}},
        {"plugin": "zendesk", "config": {"base_url": at, "oauth_token": known.plain("zendesk-oauth"),
                                         "signing_secrets": [known.plain("zendesk-signing")]}},
        {"plugin": "freshdesk", "config": {"base_url": at, "api_key": known.plain("freshdesk"),
                                           "webhook_secrets": [known.plain("freshdesk-hook")]}},
        {"plugin": "chatwoot", "config": {"base_url": at, "account_id": 1, "api_token": known.plain("chatwoot"),
                                          "url_token": known.plain("chatwoot-url")}},
        {"plugin": "zammad", "config": {"url": at, "token": known.plain("zammad"),
                                        "webhook_secrets": [known.plain("zammad-hook")]}},
        {"plugin": "request_tracker", "config": {"url": at, "token": known.plain("rt"),
                                                 "customer_secret": known.plain("rt-customer")}},
        {"plugin": "mastodon", "config": {"base_url": at, "access_token": known.plain("mastodon"), "account_id": "1",
                                          "username": "acme", "streaming": False}},
        {"plugin": "bluesky", "config": {"base_url": at, "app_password": known.plain("bluesky"),
                                         "did": "did:plc:ewvi7nxzyoun6zhxrhs64oiz", "handle": "acme.example.com"}},
        {"plugin": "feed", "config": {"url": url, "authorization": f"Bearer {known.plain('feed')}"}},
        {"plugin": "inbound", "config": {"signing_secrets": [known.standard("inbound")], "reply_url": f"{at}/replies",
                                         "reply_secret": known.standard("inbound-reply")}},
        {"plugin": "http_facts", "config": {"url": f"{at}/facts", "secret": known.standard("facts")}},
    ]  # fmt: skip


def applications(known: Secrets, at: str) -> list[tuple[dict[str, Any], dict[str, Any]]]:
    """Apps and an account of each."""
    return [
        ({"plugin": "x", "config": {"consumer_secret": known.plain("x-consumer"),
                                    "bearer_token": known.plain("x-bearer"), "client_id": "c",
                                    "client_secret": known.plain("x-client"), "base_url": at}},
         {"plugin": "x", "config": {"user_id": "1", "username": "acme", "access_token": known.plain("x-access"),
                                    "refresh_token": known.plain("x-refresh")}}),
        ({"plugin": "meta", "config": {"app_id": "1", "app_secret": known.plain("meta-app"), "base_url": at,
                                       "verify_token": known.plain("meta-verify")}},
         {"plugin": "meta", "config": {"account_id": "1", "access_token": known.plain("meta-access")}}),
    ]  # fmt: skip


class Fuzz:
    """One installation, and everything that was answered."""

    def __init__(self, gateway: Gateway, mirror: Mirror, http: httpx2.AsyncClient, known: Secrets) -> None:
        self.gateway = gateway
        self.mirror = mirror
        self.http = http
        self.known = known
        self.answers: list[str] = []
        self.statuses: set[int] = set()

    async def ask(self, method: str, path: str, **options: Any) -> Any:
        """Ask, and keep the answer: status line, headers, body."""
        answer = await self.http.request(method, path, **options)
        self.statuses.add(answer.status_code)
        self.answers.append(f"{method} {path}: {answer.status_code} {answer.headers.multi_items()} {answer.text}")
        return answer

    async def make(self, path: str, body: dict[str, Any], name: str) -> str:
        """Make a connection or an App."""
        answer = await self.ask("POST", path, json={"name": name, "allow_private": ["127.0.0.0/8"], **body})
        assert answer.status_code == 201, answer.text
        return str(answer.json()["id"])

    async def rows(self) -> str:
        """Everything in the database, bytes as text, but what is sealed."""
        shown = []
        async with self.gateway.runtime.database.read() as connection:
            tables = (
                await connection.execute(text("SELECT tablename FROM pg_tables WHERE schemaname = 'public'"))
            ).all()
            await connection.execute(text("SET bytea_output = 'escape'"))
            for (table,) in tables:
                rows = await connection.execute(text(f'SELECT one::text FROM "{table}" AS one'))
                shown += [f"{table}: {row}" for (row,) in rows.all()]
            await connection.execute(text("RESET bytea_output"))
        return "\n".join(shown)


async def test_no_secret_is_told_by_any_error(
    server_url: str, tmp_path: Path, logged: Lines, capfd: pytest.CaptureFixture[str]
) -> None:
    known = Secrets()
    master = base64.b64encode(os.urandom(32)).decode()
    known["master key"] = master
    bootstrap = known.plain("bootstrap")
    mirror = Mirror()
    async with (
        mirror.serve(),
        fresh_database(server_url) as url,
        running(
            url,
            tmp_path,
            secret_key=SecretStr(master),
            bootstrap_key=SecretStr(bootstrap),
            plugin_modules=(MODULE,),
            call_timeout=1.0,
            pure_deadline=2.0,
        ) as gateway,
        httpx2.AsyncClient(
            base_url=gateway.url, headers={"Authorization": f"Bearer {bootstrap}"}, timeout=60.0, trust_env=False
        ) as http,
    ):
        fuzz = Fuzz(gateway, mirror, http, known)
        made: dict[str, str] = {}
        for number, body in enumerate(configurations(known, mirror.url)):
            made[f"{body['plugin']} {number}"] = await fuzz.make("/v1/connections", body, f"{body['plugin']}_{number}")
        for app, account in applications(known, mirror.url):
            id = await fuzz.make("/v1/apps", app, f"app {app['plugin']}")
            made[account["plugin"]] = await fuzz.make(
                "/v1/connections", {**account, "app": id}, f"account {account['plugin']}"
            )
            made[f"app {app['plugin']}"] = id
        helpdesk = made["zendesk 0"]
        await fuzz.ask("PATCH", f"/v1/connections/{made['inbound 9']}", json={"helpdesk": helpdesk})
        await _through_the_line(fuzz, made["inbound 9"], known["inbound"])
        await _calls_that_fail(fuzz, made)
        await _leaky(fuzz)
        await _rest(fuzz, made)
        await _doors(fuzz, made)
        assert mirror.requests > 60
        for path in ("/v1/connections", "/v1/apps", "/v1/dead-letters", "/v1/deliveries", "/v1/replies", "/metrics",
                     "/readyz", "/v1/plugins", "/v1/keys", "/v1/tickets", "/v1/interactions"):  # fmt: skip
            await fuzz.ask("GET", path)
        for row in await gateway.rows("SELECT id FROM delivery ORDER BY id DESC LIMIT 40"):
            await fuzz.ask("GET", f"/v1/deliveries/{row['id']}")
        rows = await fuzz.rows()
        shown = await _reprs(fuzz, made)
        key = (await fuzz.ask("POST", "/v1/keys", json={"name": "k", "scopes": ["read"]})).json()["key"]
        del fuzz.answers[-1]  # where it is shown once
        known["api key"] = key.partition("_")[2].partition("_")[2]
        async with httpx2.AsyncClient(base_url=gateway.url, headers={"Authorization": f"Bearer {key}"}) as other:
            fuzz.http = other
            for path in ("/v1/keys", "/v1/brands", "/v1/nowhere"):
                await fuzz.ask("GET", path)
            await fuzz.ask("POST", "/v1/brands", json={"name": "x"})
    out, err = capfd.readouterr()
    places = {
        "answers": "\n".join(fuzz.answers),
        "rows": rows,
        "reprs": shown,
        "log": "\n".join(logged.lines),
        "standard output": out,
        "standard error": err,
    }
    leaks = {place: found for place, where in places.items() if (found := known.found_in(where))}
    assert not leaks, _where(known, places, leaks)
    # it was provoked, and it was told
    assert {201, 401, 403, 404, 409, 422, 502, 503} <= fuzz.statuses, fuzz.statuses
    assert "[secret]" in places["log"], "the second line of defence, behind libraries and bugs of plugins"
    for place in ("rows", "answers"):
        assert places[place].count("[secret]") > 5, place
    assert len(fuzz.answers) > 150


def _where(known: Secrets, places: dict[str, str], leaks: dict[str, list[str]]) -> str:
    told = []
    for place, names in leaks.items():
        for name in names:
            lines = [line for line in places[place].split("\n") if any(form in line for form in forms(known[name]))]
            told.append(f"{place}: {name}: {len(lines)} lines, the first: {lines[0][:1500]}")
    return "\n\n".join(told)


async def _through_the_line(fuzz: Fuzz, id: str, signing: str) -> None:
    """A message comes in, and becomes a ticket at a helpdesk that refuses; an answer goes to a system that does."""
    item = {
        "external_id": "t1",
        "kind": "post",
        "author": {"external_id": "u1", "name": "Rita"},
        "text": "My order never came",
        "published_at": "2026-01-01T00:00:00Z",
    }
    body = json.dumps({"type": "interaction.published", "data": item}).encode()
    for status in (422, 500, 401):
        fuzz.mirror.status = status
        headers = sign_standard(signing, f"m{status}", fuzz.gateway.runtime.now(), body)
        answer = await fuzz.ask("POST", f"/hooks/{id}", content=body, headers=headers)
        assert answer.status_code == 200
        for _ in range(40):
            await asyncio.sleep(0.05)
            if await fuzz.gateway.value("SELECT count(*) FROM attempt") > 0:
                break
    tickets = (await fuzz.ask("GET", "/v1/tickets")).json()["items"]
    if tickets:
        await fuzz.ask("POST", f"/v1/tickets/{tickets[0]['id']}/replies", json={"text": "We look into it."})
        await asyncio.sleep(0.3)


async def _calls_that_fail(fuzz: Fuzz, made: dict[str, str]) -> None:
    """Each plugin is asked for everything, of a provider in every mood."""

    async def one(id: str) -> None:
        await fuzz.ask("POST", f"/v1/connections/{id}/check")
        if status == 400:
            await fuzz.ask("POST", f"/v1/connections/{id}/install")
            await fuzz.ask("POST", f"/v1/connections/{id}/discover")
            await fuzz.ask("POST", f"/v1/connections/{id}/resume")  # the worker polls, and fails too

    for status in STATUSES:
        fuzz.mirror.status = status
        await asyncio.gather(*(one(id) for name, id in made.items() if not name.startswith("app ")))


async def _leaky(fuzz: Fuzz) -> None:
    """A plugin that tells its token in all its errors, in every form."""
    fuzz.known["leaky"] = secret("leaky")
    token = fuzz.known["leaky"]
    id = await fuzz.make("/v1/connections", {"plugin": "leaky", "config": {"token": token}}, "leaky")
    for number, form in enumerate(FORMS):
        errors = [one for one in ERRORS if one != "SystemExit"]
        for error in errors if form == "plain" else (errors[number % 6],):
            change = {"config": {"form": form, "error": error}}
            assert (await fuzz.ask("PATCH", f"/v1/connections/{id}", json=change)).status_code == 200
            await fuzz.ask("POST", f"/v1/connections/{id}/{('check', 'install', 'discover')[number % 3]}")
        if form in ("plain", "basic", "cut"):
            for error in ("ValueError", "Rejected", "SystemExit")[: 3 if form == "plain" else 2]:
                at = f"/hooks/{id}?token={quote(token, safe='')}&again={quote_plus(token)}"
                answer = await fuzz.ask("POST", at, content=error.encode(), headers={b"x-token": token.encode()})
                del fuzz.answers[-1]  # the address is the test's own
                assert answer.status_code == 200
    for error in ("Unverified", "ValueError"):
        await fuzz.ask("POST", f"/hooks/{id}", content=b"x", headers={"x-fail": error})
    await fuzz.gateway.until(
        lambda: fuzz.gateway.value("SELECT count(*) = 0 FROM delivery WHERE state = 'pending'"), "deliveries ended"
    )
    assert await fuzz.gateway.value("SELECT count(*) FROM delivery WHERE state = 'failed'") > 5


async def _rest(fuzz: Fuzz, made: dict[str, str]) -> None:
    """Bodies that are wrong, with secrets in them, and what is wrong is a plugin's own word."""
    fuzz.known["refused"] = f"wrong{secrets.token_urlsafe(30)}"
    refused = fuzz.known["refused"]
    bodies: list[Any] = [
        {"plugin": "leaky", "name": "l", "config": {"token": refused}},
        {"plugin": "leaky", "name": "l", "config": {"token": refused, "surplus": refused}},
        {"plugin": "leaky", "name": "l", "config": {"token": [refused]}},
        {"plugin": "leaky", "name": "l", "config": {"token": "x", "more": {"a": {"b": refused}}}},
        {"plugin": "zendesk", "name": "z", "config": {"base_url": "nonsense", "api_token": refused}},
        {"plugin": "zendesk", "name": "z", "config": {"subdomain": "a b", "api_token": refused, "tag": 1}},
        {"plugin": "inbound", "name": "i", "config": {"signing_secrets": [refused]}},
        {"plugin": "inbound", "name": "i", "config": {"signing_secrets": refused, "reply_secret": refused}},
        {"plugin": "http_facts", "name": "h", "config": {"url": "http://127.0.0.1/", "secret": refused}},
        {"plugin": "app_store", "name": "a", "config": {"private_key": refused}},
        {"plugin": "mastodon", "name": "m", "config": {"access_token": {"x": refused}}},
        {"plugin": "leaky", "name": 1, "config": {"token": refused}},
        {"plugin": "leaky", "config": {"token": refused}},
        {"plugin": "nowhere", "name": "n", "config": {"token": refused}},
        {"plugin": "leaky", "name": "n", "config": refused},
        {"plugin": "leaky", "name": "n", "grant": refused},
        refused,
        [refused],
    ]
    for body in bodies:
        for path in ("/v1/connections", "/v1/apps"):
            answer = await fuzz.ask("POST", path, json=body)
            assert answer.status_code in (409, 422), answer.text
    for content in (f'{{"config": {{"token": "{refused}"', f"config={refused}", f'{{"{refused[:20]}\x00": 1}}'):
        await fuzz.ask("POST", "/v1/connections", content=content, headers={"content-type": "application/json"})
    for id in (made["zendesk 0"], made["inbound 9"], made["mastodon 6"]):
        for change in ({"config": {"api_token": refused, "surplus": 1}}, {"config": {"signing_secrets": [refused]}}):
            await fuzz.ask("PATCH", f"/v1/connections/{id}", json=change)
    for value in (f"Bearer {refused}", f"Basic {refused}", refused, f"Bearer hg_abcdefgh_{'0' * 64}"):
        await fuzz.ask("GET", "/v1/brands", headers={"Authorization": value})
    # a database that refuses a value, and rows that no key opens
    await fuzz.gateway.execute(
        "UPDATE connection SET secrets = '\\x02', version = version + 1 WHERE id = :id", id=UUID(made["feed 8"])
    )
    for action in ("check", "install", "discover"):
        await fuzz.ask("POST", f"/v1/connections/{made['feed 8']}/{action}")
    await fuzz.ask("POST", f"/hooks/{made['feed 8']}", content=b"x")
    await fuzz.ask("GET", f"/v1/connections/{made['feed 8']}")


async def _doors(fuzz: Fuzz, made: dict[str, str]) -> None:
    """Requests at the door that hold the secrets themselves, right and wrong."""
    for id in made.values():
        for header in ("authorization", "x-gateway-secret", "x-hub-signature-256"):
            await fuzz.ask("POST", f"/hooks/{id}", content=b"{}", headers={header: fuzz.known["chatwoot-url"]})
    desk = fuzz.known["freshdesk-hook"]
    for body in (b"{}", b"not json", b'{"freshdesk_webhook": {"ticket_id": 1}}'):
        answer = await fuzz.ask(
            "POST", f"/hooks/{made['freshdesk 2']}", content=body, headers={"X-Gateway-Secret": desk}
        )
        assert answer.status_code == 200
    at = f"/hooks/{made['chatwoot 3']}?token={quote(fuzz.known['chatwoot-url'], safe='')}"
    assert (await fuzz.ask("POST", at, content=b'{"event": "x"}')).status_code == 200
    del fuzz.answers[-1]
    at = f"/hooks/{made['app meta']}?hub.mode=subscribe&hub.challenge=1&hub.verify_token="
    for token in ("wrong", quote(fuzz.known["meta-verify"], safe="")):
        await fuzz.ask("GET", at + token)
        del fuzz.answers[-1]


async def _reprs(fuzz: Fuzz, made: dict[str, str]) -> str:
    """Everything that may turn up in a message by its `repr`."""
    runtime = fuzz.gateway.runtime
    shown: list[Any] = [runtime.settings, runtime, runtime.vault, runtime.database, runtime.database.url, runtime.jobs]
    shown += [runtime.connections, runtime.outgoing, vars(runtime.vault), runtime.settings.model_dump()]
    for id in made.values():
        try:
            endpoint = (await runtime.connections.load([UUID(id)]))[UUID(id)]
        except Exception as error:
            shown.append(error)
            continue
        plugin = build(runtime.registry, endpoint, runtime.time)
        shown += [endpoint, plugin, plugin.setup, plugin.setup.config, plugin.setup.app, vars(plugin)]
        shown.append(runtime.connections.fresh(endpoint, outgoing=runtime.outgoing).setup)
    shown += [create_app(runtime.settings), NewKey(UUID(int=1), "p", fuzz.known["bootstrap"])]
    shown.append(await runtime.connections.look_again(UUID(made["zendesk 0"])))
    return "\n".join(f"{one!r} {one}" for one in shown)


def test_no_command_tells_a_secret(
    database_file: None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, logged: Lines
) -> None:
    known = Secrets()
    known["password"] = f"pa{secrets.token_hex(12)}"
    known["bootstrap"] = known.plain("bootstrap")
    known["master"] = base64.b64encode(os.urandom(32)).decode()
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("GATEWAY_DATA_DIR", str(tmp_path))
    monkeypatch.setenv("GATEWAY_BOOTSTRAP_KEY", known["bootstrap"])
    told = ""
    for url in (
        f"postgresql://me:{known['password']}@127.0.0.1:1/x",
        f"postgresql://me:{known['password']}@127.0.0.1:1/x?sslmode=nonsense",
        f"postgresql://me:{known['password']}@127.0.0.1:notaport/x",
        f"nonsense://me:{known['password']}@127.0.0.1:1/x",
        f"me:{known['password']}@127.0.0.1:1/x",
    ):
        monkeypatch.setenv("GATEWAY_DATABASE_URL", url)
        for key in (known["master"], known["master"][:-4], f"{known['master']},{known['master']}"):
            monkeypatch.setenv("GATEWAY_SECRET_KEY", key)
            for command in (["key", "create", "x"], ["secrets", "status"], ["migrate"]):
                ended = CliRunner().invoke(commands, command)
                assert ended.exit_code != 0
                told += f"{ended.output}{ended.stderr}{ended.exception!r}\n"
    assert not known.found_in(told), told[:3000]
    assert not known.found_in("\n".join(logged.lines))


@pytest.fixture
def database_file() -> None:
    """No database: the commands above fail on their way to it."""


@pytest.mark.parametrize("form", FORMS)
def test_each_form_of_a_secret_is_taken_out_of_a_text(form: str) -> None:
    for _ in range(20):
        one = secret("any")
        redactor = Redactor()
        redactor.learn([one])
        said = f"before {FORMS[form](one)} after"
        clean = redactor.clean(said)
        assert "[secret]" in clean
        assert not Secrets(any=one).found_in(clean), clean
        assert clean.startswith("before")
        assert redactor.clean("before and after, with nothing in it") == "before and after, with nothing in it"


def test_what_is_forgotten_is_not_looked_for_and_the_rest_still_is() -> None:
    redactor = Redactor(most=2)
    redactor.learn(["secret-one-1", "secret-two-2", "secret-three-3"])
    assert redactor.clean("secret-one-1 secret-two-2 secret-three-3") == "secret-one-1 [secret] [secret]"
    redactor.learn(["secret-two-2", "secret-four-4"])
    assert redactor.clean("secret-two-2 secret-three-3 secret-four-4") == "[secret] secret-three-3 [secret]"


def test_a_status_is_told_though_somebody_has_chosen_its_word_as_a_secret(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(redaction, "_redactor", redactor := Redactor())
    redactor.learn(["create", "swordfish"])
    step = redaction.redacted_model(Step(action="create", what="a trigger", detail="We create it for swordfish."))
    assert step == Step(action="create", what="a trigger", detail="We [secret] it for [secret].")


def test_short_words_and_addresses_stay_readable() -> None:
    vault = Vault(os.urandom(32))
    document = {"pin": "1234", "url": "https://calendar.example.com/private-0123456789abcdef/basic.ics"}
    vault.unseal(vault.seal(document, "calendar:1"), "calendar:1")
    said = "the answer of https://calendar.example.com/private-0123456789abcdef/basic.ics was 1234"
    assert redacted(said) == "the answer of https://calendar.example.com/[secret] was 1234"
    key = generate()
    assert redacted(f"key {key} of") == f"key hg_{prefix_of(key)}_[secret] of"
    assert masked(b"a=t%2Fo+k&b=1", ["t/o k"]) == b"a=[secret]&b=1"
