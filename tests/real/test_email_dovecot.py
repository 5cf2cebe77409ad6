"""The e-mail plugin against a real IMAP server, Dovecot 2.3 as Debian has it. Optional: skipped where it is missing.

    apt-get install --no-install-recommends dovecot-imapd
    .venv/bin/pytest -n 0 tests/real/test_email_dovecot.py

Dovecot runs from a folder of its own on loopback and is stopped afterwards; mail goes in by IMAP's APPEND.
"""

from __future__ import annotations

import asyncio
import contextlib
import getpass
import os
import pwd
import shutil
import socket
from collections.abc import AsyncIterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from gateway_email.config import EmailConfig
from gateway_email.imap import Imap
from gateway_email.plugin import EmailSource
from gateway_schemas.errors import Reauthorise, Rejected
from gateway_schemas.interaction import Interaction, Wanted
from gateway_schemas.plugin import MemoryState, Setup
from gateway_schemas.testing.sockets import DirectSockets
from gateway_schemas.time import SystemTime
from gateway_schemas.webhook import RawDelivery

DOVECOT = shutil.which("dovecot") or "/usr/sbin/dovecot"
HELP = "help@acme.example"
CONFIGURATION = """
base_dir = {run}
state_dir = {run}/state
log_path = {folder}/log
default_internal_user = {user}
default_login_user = {login}
default_internal_group = {user}
protocols = imap
listen = 127.0.0.1
ssl = no
disable_plaintext_auth = no
auth_mechanisms = plain
mail_location = maildir:{folder}/mail/%u
mail_uid = {uid}
mail_gid = {gid}
first_valid_uid = 0
first_valid_gid = 0
passdb {{
  driver = static
  args = password=secret
}}
userdb {{
  driver = static
  args = uid={uid} gid={gid} home={folder}/home/%u
}}
namespace inbox {{
  inbox = yes
  separator = /
  mailbox Gesendet {{
    auto = create
    special_use = \\Sent
  }}
}}
service imap-login {{
  chroot =
  inet_listener imap {{
    port = {port}
  }}
  inet_listener imaps {{
    port = 0
  }}
}}
service anvil {{
  chroot =
}}
service stats {{
  chroot =
}}
"""

pytestmark = pytest.mark.skipif(not Path(DOVECOT).exists(), reason="Dovecot is not installed (Debian: dovecot-imapd)")


@pytest.fixture
async def port() -> AsyncIterator[int]:
    """A Dovecot of this test's own."""
    with socket.create_server(("127.0.0.1", 0)) as free:
        found: int = free.getsockname()[1]
    # the names of sockets are short, those of the tests' own folders long
    folder = Path("/tmp") / f"dovecot-{os.getpid()}"
    (folder / "run").mkdir(parents=True)
    # started by root it serves as the users that Debian's package made; mail is never root's
    user = "dovecot" if os.getuid() == 0 else getpass.getuser()
    login = "dovenull" if os.getuid() == 0 else user
    entry = pwd.getpwnam(user)
    os.chown(folder, entry.pw_uid, entry.pw_gid)
    values = {"user": user, "login": login, "uid": entry.pw_uid, "gid": entry.pw_gid, "port": found}
    configuration = folder / "dovecot.conf"
    configuration.write_text(CONFIGURATION.format(folder=folder, run=folder / "run", **values))
    process = await asyncio.create_subprocess_exec(DOVECOT, "-F", "-c", str(configuration))
    try:
        for _ in range(200):
            with contextlib.suppress(OSError):
                _, writer = await asyncio.open_connection("127.0.0.1", found)
                writer.close()
                await writer.wait_closed()
                break
            if process.returncode is not None:
                pytest.fail("Dovecot did not start")
            await asyncio.sleep(0.05)
        yield found
    finally:
        process.terminate()
        await process.wait()
        shutil.rmtree(folder, ignore_errors=True)


def plugin(port: int, **more: Any) -> EmailSource:
    server = {"host": "127.0.0.1", "port": port, "security": "none"}
    values = {"address": HELP, "imap": server, "smtp": server, "password": "secret", "sent_mailbox": "Gesendet"}
    config = EmailConfig.model_validate({**values, **more})
    return EmailSource(Setup(time=SystemTime(), config=config, sockets=DirectSockets(), state=MemoryState()))


def mail(number: int, text: str = "Hello", **headers: str) -> bytes:
    told = {"From": "Rita <rita@home.example>", "To": HELP, "Subject": f"Question {number}", **headers}
    head = "".join(f"{name.replace('_', '-')}: {value}\r\n" for name, value in told.items())
    head += f"Message-ID: <m{number}@home.example>\r\nContent-Type: text/plain; charset=utf-8\r\n"
    return f"{head}\r\n{text}\r\n".encode()


async def put(port: int, *mails: bytes, mailbox: str = "INBOX") -> None:
    config = plugin(port).config
    async with Imap.session(DirectSockets(), config.imap, config.login, password="secret") as imap:
        for one in mails:
            await imap.append(mailbox, one)


async def drain(source: EmailSource, cursor: Any = None, stream: str = "inbox") -> tuple[list[str], Any]:
    seen: list[str] = []
    while True:
        page = await source.poll(stream, cursor)
        for raw in page.pages:
            news = source.normalise(RawDelivery("d", "poll", raw.body, datetime.now(UTC), note=raw.note))
            seen += [one.external_id for one in news if isinstance(one, Interaction)]
        cursor = page.cursor
        if not page.more:
            return seen, cursor


async def test_mail_is_read_once_and_in_order(port: int) -> None:
    await put(port, *(mail(number) for number in range(25)))
    seen, cursor = await drain(plugin(port))
    assert seen == [f"m{number}@home.example" for number in range(25)]
    assert (await drain(plugin(port), cursor))[0] == []
    await put(port, mail(99))
    assert (await drain(plugin(port), cursor))[0] == ["m99@home.example"]


async def test_single_mails_files_and_large_ones(port: int) -> None:
    head = b"From: rita@home.example\r\nMessage-ID: <big@home.example>\r\nMIME-Version: 1.0\r\n"
    body = b'Content-Type: multipart/mixed; boundary="b"\r\n\r\n--b\r\n\r\nLook\r\n--b\r\nContent-Type: image/png\r\n'
    await put(port, mail(1), head + body + b"\r\n" + b"x" * 70 + b"\r\n" * 200_000 + b"\r\n--b--\r\n")
    source = plugin(port)
    big, none = await source.fetch([Wanted(ref="big@home.example"), Wanted(ref="nothing@home.example")])
    assert none.gone == ("nothing@home.example",)
    assert len(big.body) < 2000
    (message,) = source.normalise(RawDelivery("d", "fetch", big.body, datetime.now(UTC), note=big.note))
    assert isinstance(message, Interaction)
    (file,) = message.attachments
    got = await source.download(file)
    assert (message.text, file.media_type, len(got.body)) == ("Look", "image/png", file.size)


async def test_another_uidvalidity(port: int) -> None:
    """As after a folder was made anew."""
    await put(port, mail(1))
    _, cursor = await drain(plugin(port))
    await put(port, mail(2))
    older = {**cursor, "uidvalidity": cursor["uidvalidity"] + 1}
    assert (await drain(plugin(port), older))[0] == ["m1@home.example", "m2@home.example"]


async def test_idle_sent_mail_and_what_is_refused(port: int) -> None:
    source = plugin(port)
    await put(port, mail(1))
    hints = source.listen()
    waiting = asyncio.ensure_future(anext(hints))
    await asyncio.sleep(0.5)
    await put(port, mail(2))
    assert (await asyncio.wait_for(waiting, 20)).stream == "inbox"
    await hints.aclose()
    install = await plugin(port, sent_mailbox=None).install(dry_run=False)
    assert install.config == {"sent_mailbox": "Gesendet"}
    await put(port, mail(3, From=HELP), mailbox="Gesendet")
    assert (await drain(source, stream="sent"))[0] == ["m3@home.example"]
    with pytest.raises(Reauthorise):
        await drain(plugin(port, password="wrong"))
    with pytest.raises(Rejected):
        await drain(plugin(port, mailbox="Größe"))
