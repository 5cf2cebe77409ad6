"""A small IMAP client on a connection that the host opened: the commands this plugin uses, bounded in every way.

Written here because no kept library fits: the asynchronous one (aioimaplib) is under the GPL, opens its own
connections, has no STARTTLS and no bound on what a server sends; those of the standard library and around it block.
"""

from __future__ import annotations

import asyncio
import base64
import contextlib
import ssl
from collections.abc import AsyncIterator, Sequence
from typing import Any

from gateway_email.config import Server
from gateway_email.imap_parse import Value, mailbox_name, pairs, parse, quoted
from gateway_schemas.errors import GatewayError, Malformed, Reauthorise, Rejected, Retry
from gateway_schemas.sockets import Sockets

LONGEST_LINE = 64 * 1024
OVERHEAD = 1_000_000
"""What a command's answers may have beside the literals that were asked for."""
IDLE_FOR = 25 * 60.0
"""Seconds after which IDLE is begun again: servers may close what idles for half an hour (RFC 2177)."""
ANSWER_IN = 30.0
"""Seconds that a server may take to begin and to end IDLE. One whose connection died without a word answers never."""
BEAT = 60.0
"""Seconds between two looks where a server knows no IDLE."""


class Refused(GatewayError):
    """The server answered NO or BAD. `answer` is its response code (`NONEXISTENT`), if it gave one."""

    default_code = "refused"

    def __init__(self, reason: str, *, status: str, answer: str) -> None:
        super().__init__(reason, code=answer.lower() or "refused")
        self.status = status
        self.answer = answer


class Imap:
    """One authenticated session. Raises Retry when the connection breaks, Malformed for what no server says."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, host: str) -> None:
        self._reader = reader
        self._writer = writer
        self._host = host
        self._count = 0
        self.capabilities: frozenset[str] = frozenset()
        self.uidvalidity = 0
        self.uidnext = 0
        self.exists = 0

    @classmethod
    @contextlib.asynccontextmanager
    async def session(
        cls, sockets: Sockets, server: Server, user: str, *, password: str | None = None, token: str | None = None
    ) -> AsyncIterator[Imap]:
        """Connect, encrypt, log in; log out and close at the end, whatever happened.

        Raises Retry, Reauthorise, or Rejected with the code `no_tls` where the server would have us go on in the clear.
        """
        tls = sockets.tls if server.security != "none" else None
        async with _within(sockets.deadline):
            plain = await sockets.connect(server.host, server.port)
            reader, writer = await _streams(plain, tls if server.security == "tls" else None, server.host)
        client = cls(reader, writer, server.host)
        try:
            async with _within(sockets.deadline):
                await client._greeted()
                if server.security == "starttls" and tls is not None:
                    await client._encrypt(tls)
                await client._log_in(user, password, token)
            yield client
            with contextlib.suppress(GatewayError, TimeoutError):
                async with asyncio.timeout(1.0):
                    await client.command(b"LOGOUT")
        finally:
            writer.close()
            with contextlib.suppress(OSError, ssl.SSLError, TimeoutError):
                async with asyncio.timeout(1.0):
                    await writer.wait_closed()

    # commands

    async def examine(self, mailbox: str) -> None:
        """Open a mailbox for reading only: nothing in it changes, also not what is unread."""
        self.uidvalidity = self.uidnext = self.exists = 0
        try:
            told = await self.command(b"EXAMINE", mailbox_argument(mailbox))
        except Refused as error:
            if error.status == "NO" and not error.answer:
                # Dovecot gives no code; without one NO is "no such mailbox, can't access mailbox" (RFC 9051, 6.3.3)
                raise Refused(error.reason, status="NO", answer="NONEXISTENT") from None
            raise
        for line in told:
            self._noted(line)
        if self.uidvalidity == 0:
            raise Malformed(f"{self._host} told no UIDVALIDITY", code="malformed_imap")

    async def search(self, *criteria: bytes | str) -> list[int]:
        """UIDs of the open mailbox's mails, ascending. Text is sent as a string of its own."""
        found: set[int] = set()
        for line in await self.command(b"UID SEARCH", *criteria):
            values = parse(line)
            if len(values) > 1 and values[1] == b"SEARCH":
                found |= {int(one) for one in values[2:] if isinstance(one, bytes) and one.isdigit()}
        return sorted(found)

    async def fetch(self, uids: Sequence[int], items: bytes, *, most: int = 0) -> dict[int, dict[bytes, Value]]:
        """What is asked of these mails, by their UIDs. `most` bounds the literals of all together."""
        found: dict[int, dict[bytes, Value]] = {}
        if not uids:
            return found
        # one at the end of a set that is gone already is no error, it is left out
        wanted = ",".join(str(uid) for uid in uids).encode()
        for line in await self.command(b"UID FETCH", wanted, items, most=most):
            values = parse(line)
            if len(values) < 4 or values[2] != b"FETCH":
                continue
            told = pairs(values[3])
            uid = told.get(b"UID")
            if isinstance(uid, bytes) and uid.isdigit() and int(uid) in uids:
                found.setdefault(int(uid), {}).update(told)
        return found

    async def mailboxes(self) -> list[tuple[bytes, frozenset[bytes]]]:
        """Every mailbox with its attributes (`\\Sent`, RFC 6154)."""
        found = []
        for line in await self.command(b"LIST", b'""', b'"*"'):
            values = parse(line)
            if len(values) == 5 and values[1] == b"LIST" and isinstance(values[2], list):
                name = values[4]
                attributes = frozenset(one.lower() for one in values[2] if isinstance(one, bytes))
                if isinstance(name, bytes) and b"\\noselect" not in attributes:
                    found.append((name, attributes))
        return found

    async def append(self, mailbox: str, mail: bytes) -> None:
        """Put a mail into a mailbox, as read."""
        await self.command(b"APPEND", mailbox_argument(mailbox), b"(\\Seen)", _Literal(mail))

    async def idle(self, *, last: float = IDLE_FOR, answer_in: float = ANSWER_IN) -> AsyncIterator[None]:
        """Yield whenever the server says that something came, and once it begins to. Without IDLE it is asked every
        minute.

        Begun again after `last` seconds. Raises Retry, also where the server does not answer within `answer_in`.
        """
        clock = asyncio.get_running_loop().time
        if "IDLE" not in self.capabilities:
            while True:
                await asyncio.sleep(BEAT)
                before = self.exists
                async with _within(clock() + answer_in):
                    told = await self.command(b"NOOP")
                for line in told:
                    self._noted(line)
                if self.exists != before:
                    yield
        begun = False
        while True:
            tag = self._tag()
            async with _within(clock() + answer_in):
                await self._send(tag + b" IDLE\r\n")
                line = await self._line(OVERHEAD)
            if not line[0].startswith(b"+"):
                raise Retry(f"{self._host} does not idle: {_shown(line[0])}", code="no_idle")
            if not begun:
                begun = True
                yield
            try:
                async with asyncio.timeout(last):
                    while True:
                        line = await self._line(OVERHEAD)
                        if line[0].upper().startswith(b"* BYE"):
                            raise Retry(f"{self._host} ended the connection", code="bye")
                        if self._noted(line):
                            yield
            except TimeoutError:
                pass
            async with _within(clock() + answer_in):
                await self._send(b"DONE\r\n")
                await self._until(tag, b"IDLE", OVERHEAD)

    async def command(self, name: bytes, *arguments: bytes | str | _Literal, most: int = 0) -> list[list[bytes]]:
        """Send one command and give the untagged responses before its end. Raises Refused for NO and BAD."""
        tag = self._tag()
        line = tag + b" " + name
        for argument in arguments:
            if isinstance(argument, str):
                text = quoted(argument)
                argument = text if text is not None else _Literal(argument.encode("utf-8"))
            if isinstance(argument, bytes):
                line += b" " + argument
                continue
            await self._send(line + b" {%d}\r\n" % len(argument.body))
            await self._go_on(tag, name)
            self._writer.write(argument.body)
            line = b""
        await self._send(line + b"\r\n")
        return await self._until(tag, name, OVERHEAD + most)

    # beginning

    async def _greeted(self) -> None:
        greeting = (await self._line(OVERHEAD))[0].upper()
        if greeting.startswith(b"* BYE"):
            raise Retry(f"{self._host} takes no connections now: {_shown(greeting)}", code="bye")
        if not greeting.startswith(b"* OK"):
            raise Retry(f"{self._host} does not speak IMAP at this port", code="no_imap")
        await self._ask_capabilities()

    async def _ask_capabilities(self) -> None:
        found: set[str] = set()
        for line in await self.command(b"CAPABILITY"):
            words = line[0].split()
            if words[1:2] == [b"CAPABILITY"]:
                found |= {word.decode("ascii", "replace").upper() for word in words[2:]}
        self.capabilities = frozenset(found)

    async def _encrypt(self, tls: ssl.SSLContext) -> None:
        if "STARTTLS" not in self.capabilities:
            raise Rejected(f"{self._host} offers no STARTTLS; nothing is sent in the clear", code="no_tls")
        await self.command(b"STARTTLS")
        # what somebody put in behind the answer would be taken for the server's own, encrypted words
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(0):
                if await self._reader.read(1):
                    raise Rejected(f"{self._host} sent more than its answer to STARTTLS", code="no_tls")
        try:
            await self._writer.start_tls(tls, server_hostname=self._host)
        except (ssl.SSLError, OSError) as error:
            raise Retry(f"{self._host}: no TLS: {_why(error)}", code="no_tls") from error
        await self._ask_capabilities()

    async def _log_in(self, user: str, password: str | None, token: str | None) -> None:
        """A password by LOGIN or AUTHENTICATE PLAIN, a token by XOAUTH2."""
        try:
            if token is not None:
                await self._authenticate(b"XOAUTH2", f"user={user}\x01auth=Bearer {token}\x01\x01".encode())
            elif "AUTH=PLAIN" in self.capabilities:
                await self._authenticate(b"PLAIN", f"\0{user}\0{password or ''}".encode())
            elif "LOGINDISABLED" in self.capabilities:
                raise Rejected(f"{self._host} takes no password here", code="login_disabled")
            else:
                await self.command(b"LOGIN", user, password or "")
        except Refused as error:
            if error.answer in ("UNAVAILABLE", "INUSE", "LIMIT"):
                raise Retry(error.reason, code=error.code) from error
            raise Reauthorise(f"{self._host} refuses the login of {user}", code="login_refused") from None
        await self._ask_capabilities()

    async def _authenticate(self, mechanism: bytes, initial: bytes) -> None:
        tag = self._tag()
        packed = base64.b64encode(initial)
        if "SASL-IR" in self.capabilities:
            await self._send(tag + b" AUTHENTICATE " + mechanism + b" " + packed + b"\r\n")
        else:
            await self._send(tag + b" AUTHENTICATE " + mechanism + b"\r\n")
            await self._go_on(tag, b"AUTHENTICATE")
            await self._send(packed + b"\r\n")
        while True:
            line = await self._line(OVERHEAD)
            if line[0].startswith(b"+"):
                await self._send(b"\r\n")  # the reason of a refusal, which has to be answered
            elif line[0].startswith(tag + b" "):
                self._ended(tag, b"AUTHENTICATE", line[0])
                return

    # lines

    async def _until(self, tag: bytes, name: bytes, room: int) -> list[list[bytes]]:
        found: list[list[bytes]] = []
        while True:
            line = await self._line(room)
            room -= sum(map(len, line))
            if line[0].startswith(tag + b" "):
                self._ended(tag, name, line[0])
                return found
            if line[0].upper().startswith(b"* BYE") and name != b"LOGOUT":
                raise Retry(f"{self._host} ended the connection", code="bye")
            if line[0].startswith(b"* "):
                found.append(line)

    async def _go_on(self, tag: bytes, name: bytes) -> None:
        while True:
            line = await self._line(OVERHEAD)
            if line[0].startswith(b"+"):
                return
            if line[0].startswith(tag + b" "):
                self._ended(tag, name, line[0])
                raise Malformed(f"{self._host} ended {name.decode()} before its data", code="malformed_imap")

    def _ended(self, tag: bytes, name: bytes, line: bytes) -> None:
        status, _, text = line[len(tag) + 1 :].partition(b" ")
        if status.upper() == b"OK":
            return
        code = text[1:].split(b"]")[0].split(b" ")[0].decode("ascii", "replace").upper() if text[:1] == b"[" else ""
        reason = f"{self._host} refused {name.decode()}: {_shown(text)}"
        raise Refused(reason, status=status.decode("ascii", "replace").upper(), answer=code)

    def _noted(self, line: list[bytes]) -> bool:
        """Take in what a response says of the mailbox. Whether it says that mails came."""
        words = line[0].split()
        if len(words) > 2 and words[2].upper() == b"EXISTS" and words[1].isdigit():
            self.exists = int(words[1])
            return True
        for name in ("UIDVALIDITY", "UIDNEXT"):
            _, found, rest = line[0].partition(f"[{name} ".encode())
            number = rest.split(b"]")[0]
            if found and number.isdigit():
                setattr(self, name.lower(), int(number))
        return False

    async def _line(self, room: int) -> list[bytes]:
        """One response: line, literal, line, …"""
        parts: list[bytes] = []
        try:
            while True:
                line = await self._reader.readline()
                if not line.endswith(b"\n"):
                    raise Retry(f"{self._host} closed the connection", code="interrupted")
                line = line.rstrip(b"\r\n")
                parts.append(line)
                room -= len(line)
                size = _literal_size(line)
                if size is None:
                    return parts
                if size > room:
                    raise Malformed(f"{self._host} sends more than was asked for", code="too_large")
                parts.append(await self._reader.readexactly(size))
                room -= size
        except ValueError as error:
            raise Malformed(f"{self._host} sends a line longer than {LONGEST_LINE} bytes", code="too_large") from error
        except (asyncio.IncompleteReadError, OSError, ssl.SSLError) as error:
            raise Retry(f"{self._host}: the connection broke: {_why(error)}", code="interrupted") from error

    async def _send(self, data: bytes) -> None:
        try:
            self._writer.write(data)
            await self._writer.drain()
        except (OSError, ssl.SSLError) as error:
            raise Retry(f"{self._host}: the connection broke: {_why(error)}", code="interrupted") from error

    def _tag(self) -> bytes:
        self._count += 1
        return b"g%d" % self._count


class _Literal:
    def __init__(self, body: bytes) -> None:
        self.body = body


def mailbox_argument(mailbox: str) -> bytes:
    """A mailbox's name as an argument."""
    name = quoted(mailbox_name(mailbox))
    assert name is not None  # modified UTF-7 is ASCII
    return name


def _literal_size(line: bytes) -> int | None:
    if not line.endswith(b"}"):
        return None
    start = line.rfind(b"{")
    number = line[start + 1 : -1].rstrip(b"+")
    return int(number) if start >= 0 and number.isdigit() and len(number) < 12 else None


async def _streams(
    plain: Any, tls: ssl.SSLContext | None, host: str
) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
    try:
        name = host if tls is not None else None
        return await asyncio.open_connection(sock=plain, ssl=tls, server_hostname=name, limit=LONGEST_LINE)
    except (ssl.SSLError, OSError) as error:
        plain.close()
        raise Retry(f"{host}: no TLS: {_why(error)}", code="no_tls") from error


@contextlib.asynccontextmanager
async def _within(deadline: float | None) -> AsyncIterator[None]:
    try:
        async with asyncio.timeout_at(deadline):
            yield
    except TimeoutError:
        raise Retry("the mail server did not answer in time", code="timeout") from None


def _why(error: BaseException) -> str:
    if isinstance(error, ssl.SSLCertVerificationError):
        return error.verify_message
    return getattr(error, "strerror", None) or type(error).__name__


def _shown(text: bytes) -> str:
    return text.decode("utf-8", "replace")[:200]
