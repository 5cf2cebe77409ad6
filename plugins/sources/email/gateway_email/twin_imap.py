"""The twin's IMAP server (RFC 3501 and 9051): the commands the plugin uses, strict in their syntax."""

from __future__ import annotations

import asyncio
import base64
import binascii
import contextlib
import re
import ssl
from datetime import UTC, date, datetime
from email import message_from_bytes
from typing import TYPE_CHECKING

from gateway_email.twin_state import Account, Folder, Stored

if TYPE_CHECKING:
    from gateway_email.twin import EmailTwin

_TAG = re.compile(rb"[A-Za-z0-9]{1,20}")
_MONTHS = ("Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec")
_ARGUMENT = re.compile(
    rb'"((?:[^"\\\r\n]|\\["\\])*)"|\{(\d+)\}$|(\([^()]*\))|([^\s(){"\\]+(?:\[[^\]]*\])?(?:<\d+\.\d+>)?)'
)
_SET = re.compile(rb"(?:\d+|\*)(?::(?:\d+|\*))?(?:,(?:\d+|\*)(?::(?:\d+|\*))?)*")


class Bad(Exception):
    """The command is none: BAD."""


class No(Exception):
    """The command cannot be done: NO, with a response code where there is one."""


class ImapSession:
    """One client's connection."""

    def __init__(self, twin: EmailTwin, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.twin = twin
        self.reader = reader
        self.writer = writer
        self.account: Account | None = None
        self.folder: Folder | None = None
        self.encrypted = twin.imap_security == "tls"

    async def run(self) -> None:
        """Until the client logs out or goes."""
        try:
            self._write(b"* OK IMAP4rev1 twin ready")
            while True:
                line = await self.reader.readline()
                if not line.endswith(b"\r\n"):
                    return
                if not await self._one(line[:-2]):
                    return
        except (OSError, asyncio.IncompleteReadError, ssl.SSLError):
            return
        finally:
            self.writer.close()
            with contextlib.suppress(OSError, ssl.SSLError):
                await self.writer.wait_closed()

    async def _one(self, line: bytes) -> bool:
        tag, _, rest = line.partition(b" ")
        if not _TAG.fullmatch(tag):
            self._write(b"* BAD no tag")
            return True
        name, _, arguments = rest.partition(b" ")
        name = name.upper()
        if name == b"UID":
            second, _, arguments = arguments.partition(b" ")
            name = b"UID " + second.upper()
        fault = self.twin.fault("IMAP", name.decode("ascii", "replace"))
        if fault == "drop":
            return False
        if fault is not None:
            self._write(tag + b" " + fault.encode())
            return True
        try:
            done = await self._command(tag, name, arguments)
        except Bad as error:
            self._write(tag + b" BAD " + str(error).encode())
            return True
        except No as error:
            self._write(tag + b" NO " + str(error).encode())
            return True
        if done is not None:
            self._write(tag + b" OK " + done)
        await self.writer.drain()
        return name != b"LOGOUT"

    async def _command(self, tag: bytes, name: bytes, rest: bytes) -> bytes | None:
        match name:
            case b"CAPABILITY":
                self._write(b"* CAPABILITY " + self._capabilities())
            case b"NOOP":
                if self.folder is not None:
                    self._write(b"* %d EXISTS" % len(self.folder.mails))
            case b"LOGOUT":
                self._write(b"* BYE logging out")
            case b"STARTTLS":
                await self._starttls(tag)
                return None
            case b"LOGIN":
                user, password = await self._arguments(rest, 2)
                self._log_in(user.decode(), password.decode())
            case b"AUTHENTICATE":
                await self._authenticate(rest)
            case b"LIST":
                await self._list(rest)
            case b"EXAMINE" | b"SELECT":
                return await self._select(rest, name)
            case b"UID SEARCH":
                await self._search(rest)
            case b"UID FETCH":
                await self._fetch(rest)
            case b"APPEND":
                await self._append(rest)
            case b"IDLE":
                return await self._idle(tag)
            case _:
                raise Bad(f"unknown command {name.decode('ascii', 'replace')}")
        return name + b" completed"

    def _capabilities(self) -> bytes:
        found = ["IMAP4rev1"]
        if self.account is None:
            if not self.encrypted and self.twin.imap_security == "starttls":
                found += ["STARTTLS", "LOGINDISABLED"]
            else:
                found += self.twin.mechanisms
        found += [one for one in ("IDLE", "SASL-IR", "SPECIAL-USE") if one not in self.twin.without]
        return " ".join(found).encode()

    # logging in

    async def _starttls(self, tag: bytes) -> None:
        if self.encrypted or self.twin.tls is None or self.twin.imap_security != "starttls":
            raise Bad("no STARTTLS here")
        self.writer.write(tag + b" OK begin TLS\r\n" + self.twin.injected)
        await self.writer.drain()
        await self.writer.start_tls(self.twin.tls)
        self.encrypted = True

    def _log_in(self, user: str, password: str) -> None:
        if self.twin.imap_security == "starttls" and not self.encrypted:
            raise No("[PRIVACYREQUIRED] encrypt first")
        account = self.twin.accounts.get(user)
        if account is None or account.password != password or self.twin.expired:
            raise No("[AUTHENTICATIONFAILED] wrong user or password")
        self.account = account

    async def _authenticate(self, rest: bytes) -> None:
        mechanism, _, initial = rest.partition(b" ")
        if f"AUTH={mechanism.decode('ascii', 'replace').upper()}" not in self._capabilities().decode().split():
            raise No("[CANNOT] no such mechanism")
        if initial and "SASL-IR" in self.twin.without:
            raise Bad("no initial response here")
        if not initial:
            self._write(b"+ ")
            initial = (await self.reader.readline()).strip()
        try:
            told = base64.b64decode(initial, validate=True)
        except binascii.Error:
            raise Bad("no base64") from None
        if mechanism.upper() == b"PLAIN":
            parts = told.split(b"\0")
            if len(parts) != 3:
                raise Bad("no PLAIN message")
            self._log_in(parts[1].decode(), parts[2].decode())
            return
        found = re.fullmatch(rb"user=([^\x01]+)\x01auth=Bearer ([^\x01]+)\x01\x01", told)
        user = found[1].decode() if found else ""
        if found is None or found[2].decode() not in self.twin.access_tokens or user not in self.twin.accounts:
            self._write(b"+ " + base64.b64encode(b'{"status":"401","schemes":"bearer"}'))
            await self.reader.readline()
            raise No("[AUTHENTICATIONFAILED] invalid token")
        self.account = self.twin.accounts[user]

    # folders

    def _known(self) -> Account:
        if self.account is None:
            raise Bad("not logged in")
        return self.account

    def _open(self) -> Folder:
        self._known()
        if self.folder is None:
            raise Bad("no folder is open")
        return self.folder

    async def _list(self, rest: bytes) -> None:
        account = self._known()
        reference, pattern = await self._arguments(rest, 2)
        if reference or pattern != b"*":
            raise No("[CANNOT] only everything is listed")
        for folder in account.folders.values():
            attributes = " ".join(("\\HasNoChildren", *folder.attributes))
            self._write(f'* LIST ({attributes}) "/" "{folder.name}"'.encode())

    async def _select(self, rest: bytes, name: bytes) -> bytes:
        account = self._known()
        (wanted,) = await self._arguments(rest, 1)
        folder = account.folders.get(wanted.decode())
        if folder is None:
            self.folder = None
            raise No("no such folder")  # Dovecot gives no code here
        self.folder = folder
        self._write(b"* FLAGS (\\Seen \\Answered \\Flagged \\Deleted \\Draft)")
        self._write(b"* %d EXISTS" % len(folder.mails))
        self._write(b"* 0 RECENT")
        self._write(b"* OK [UIDVALIDITY %d] UIDs valid" % folder.uidvalidity)
        if "UIDNEXT" not in self.twin.without:
            self._write(b"* OK [UIDNEXT %d] predicted" % folder.uidnext)
        return (b"[READ-ONLY] " if name == b"EXAMINE" else b"[READ-WRITE] ") + name + b" completed"

    async def _search(self, rest: bytes) -> None:
        folder = self._open()
        keys = await self._arguments(rest, None)
        found, at = list(folder.mails), 0
        while at < len(keys):
            key = keys[at].upper()
            if key == b"UID" and at + 1 < len(keys):
                uids = self._uids(keys[at + 1], folder)
                found, at = [one for one in found if one.uid in uids], at + 2
            elif key == b"SINCE" and at + 1 < len(keys):
                since = _date(keys[at + 1])
                found, at = [one for one in found if one.received.astimezone(UTC).date() >= since], at + 2
            elif key == b"HEADER" and at + 2 < len(keys):
                name, value = keys[at + 1].decode(), keys[at + 2].decode().lower()
                found = [one for one in found if value in str(message_from_bytes(one.raw).get(name, "")).lower()]
                at += 3
            elif key == b"ALL":
                at += 1
            else:
                raise Bad(f"unknown search key {key.decode('ascii', 'replace')}")
        self._write(b" ".join([b"* SEARCH", *(b"%d" % one.uid for one in found)]))

    def _uids(self, text: bytes, folder: Folder) -> set[int]:
        """A set of UIDs. `*` is the highest there is, and a range holds both its ends whichever is larger."""
        if not _SET.fullmatch(text):
            raise Bad("no UID set")
        highest = max((one.uid for one in folder.mails), default=0)
        present = {one.uid for one in folder.mails}
        found: set[int] = set()
        for part in text.split(b","):
            ends = [highest if end == b"*" else int(end) for end in part.split(b":")]
            found |= {uid for uid in present if min(ends) <= uid <= max(ends)}
        return found

    async def _fetch(self, rest: bytes) -> None:
        folder = self._open()
        text, _, items = rest.partition(b" ")
        if not (items.startswith(b"(") and items.endswith(b")")):
            raise Bad("the items stand in parentheses")
        uids = self._uids(text, folder)
        for number, mail in enumerate(folder.mails, 1):
            if mail.uid in uids:
                parts = [self._item(mail, item) for item in items[1:-1].split(b" ")]
                self._write(b"* %d FETCH (" % number + b" ".join(parts) + b")")

    def _item(self, mail: Stored, item: bytes) -> bytes:
        partial = re.fullmatch(rb"BODY\.PEEK\[\](?:<(\d+)\.(\d+)>)?", item, re.IGNORECASE)
        if partial is not None and partial[1] is None:
            return b"BODY[] {%d}\r\n" % len(mail.raw) + mail.raw
        if partial is not None:
            start, length = int(partial[1]), int(partial[2])
            part = mail.raw[start : start + length]
            return b"BODY[]<%d> {%d}\r\n" % (start, len(part)) + part
        match item.upper():
            case b"UID":
                return b"UID %d" % mail.uid
            case b"RFC822.SIZE":
                return b"RFC822.SIZE %d" % len(mail.raw)
            case b"FLAGS":
                return b"FLAGS (" + " ".join(sorted(mail.flags)).encode() + b")"
            case b"INTERNALDATE":
                return b'INTERNALDATE "' + _internal(mail.received) + b'"'
        raise Bad(f"unknown item {item.decode('ascii', 'replace')}")

    async def _append(self, rest: bytes) -> None:
        account = self._known()
        arguments = await self._arguments(rest, 3)
        folder = account.folders.get(arguments[0].decode())
        if folder is None:
            raise No("[TRYCREATE] no such folder")
        folder.add(arguments[2], self.twin.time.now(), set(arguments[1].decode().strip("()").split()))

    async def _idle(self, tag: bytes) -> bytes:
        folder = self._open()
        if "IDLE" in self.twin.without:
            raise Bad("unknown command IDLE")
        self._write(b"+ idling")

        def tell() -> None:
            if not self.twin.deaf:
                self._write(b"* %d EXISTS" % len(folder.mails))

        folder.watchers.add(tell)
        self.twin.idling += 1
        try:
            line = await self.reader.readline()
        finally:
            folder.watchers.discard(tell)
            self.twin.idling -= 1
        while self.twin.deaf and line:
            line = await self.reader.readline()
        if line.strip().upper() != b"DONE":
            raise Bad("IDLE ends with DONE")
        return b"IDLE terminated"

    # words

    async def _arguments(self, rest: bytes, count: int | None) -> list[bytes]:
        found: list[bytes] = []
        while rest:
            matched = _ARGUMENT.match(rest)
            if matched is None:
                raise Bad("an argument cannot be read")
            rest = rest[matched.end() :]
            if matched[2] is not None:
                self._write(b"+ go on")
                found.append(await self.reader.readexactly(int(matched[2])))
                rest = (await self.reader.readline())[:-2]
            else:
                quoted = matched[1]
                found.append(re.sub(rb"\\(.)", rb"\1", quoted) if quoted is not None else matched[3] or matched[4])
            if rest and not rest.startswith(b" "):
                raise Bad("arguments are parted by a blank")
            rest = rest[1:]
        if count is not None and len(found) != count:
            raise Bad(f"{count} arguments are needed, not {len(found)}")
        return found

    def _write(self, line: bytes) -> None:
        self.writer.write(line + b"\r\n")


def _date(text: bytes) -> date:
    try:
        day, month, year = text.decode("ascii").split("-")
        return date(int(year), _MONTHS.index(month) + 1, int(day))
    except (ValueError, UnicodeDecodeError):
        raise Bad("no date") from None


def _internal(at: datetime) -> bytes:
    at = at.astimezone(UTC)
    return f"{at.day:2d}-{_MONTHS[at.month - 1]}-{at.year} {at:%H:%M:%S} +0000".encode()
