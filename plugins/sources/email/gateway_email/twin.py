"""A local mail provider: IMAP and SMTP on loopback, and the people who write to each other there."""

from __future__ import annotations

import asyncio
import base64
import contextlib
import logging
import re
import ssl
import warnings
from collections.abc import AsyncIterator, Iterable, Sequence
from datetime import datetime
from email import message_from_bytes
from email.message import EmailMessage
from email.policy import SMTP as SMTP_POLICY
from email.policy import default
from email.utils import format_datetime, getaddresses
from typing import Any, Literal
from urllib.parse import parse_qs

from aiosmtpd.smtp import SMTP, AuthResult, Envelope, LoginPassword, Session
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import BaseRoute, Route

from gateway_email.twin_imap import ImapSession
from gateway_email.twin_state import Account, Folder
from gateway_schemas.testing.rehearsal import Channel, Rehearsal
from gateway_schemas.testing.twin import Twin
from gateway_schemas.time import TimeSource

Mode = Literal["none", "tls", "starttls"]
LARGEST = 35_000_000


class EmailTwin(Twin):
    """One mail provider. `serve` starts IMAP, SMTP and, by HTTP, a token endpoint.

    Everybody with an account has a mailbox here; mail to anybody else bounces. Faults are those of `Twin`, with the
    protocol as the method and the command as the path (`Fault("status_before", method="SMTP", path="RCPT")`); `body`
    says the answer (`451 greylisted`), and the kinds `drop_after` and `timeout_after` break the connection off behind
    the effect.
    """

    name = "email"
    actions = ("direct_message",)

    def __init__(
        self,
        *,
        time: TimeSource | None = None,
        seed: int = 0,
        imap_security: Mode = "none",
        smtp_security: Mode = "none",
        tls: ssl.SSLContext | None = None,
    ) -> None:
        super().__init__(time=time, seed=seed)
        self.imap_security: Mode = imap_security
        self.smtp_security: Mode = smtp_security
        self.tls = tls
        """The servers' certificate, where they encrypt."""
        self.accounts: dict[str, Account] = {}
        self.mechanisms = ["AUTH=PLAIN", "AUTH=XOAUTH2"]
        self.without: set[str] = set()
        """What this provider's IMAP does not have: `IDLE`, `SASL-IR`, `UIDNEXT`."""
        self.injected = b""
        """What somebody on the way puts in behind the answer to STARTTLS."""
        self.expired = False
        """Whether every login is refused."""
        self.refresh_tokens = {"twin-refresh"}
        self.access_tokens: set[str] = set()
        self.deaf = False
        """Whether whoever waits with IDLE is told nothing any more, nor answered: their connections are dead."""
        self.idling = 0
        """How many clients are waiting with IDLE."""
        self.connected: set[_Smtp] = set()
        """SMTP connections that are open."""
        self.imap_port = self.smtp_port = 0
        self.outbox: list[EmailMessage] = []
        """Every mail that went out by SMTP, as it was taken."""
        self._number = 0
        self._sessions: set[asyncio.Task[None]] = set()
        """IMAP connections that are open."""

    def routes(self) -> Sequence[BaseRoute]:
        """The token endpoint (RFC 6749)."""
        return [Route("/token", self._token, methods=["POST"])]

    def fault(self, protocol: str, command: str) -> str | None:
        """Note a command, and give the answer of a fault that strikes before it has any effect; `drop` breaks the
        connection off."""
        self.requests.append((protocol, command, 0))
        for one in self.faults:
            if one.kind in ("status_before", "latency") and one.strikes(protocol, command):
                return one.body.decode() or "drop"
        return None

    def late_fault(self, protocol: str, command: str) -> bool:
        """Whether a fault strikes that breaks the connection off behind the effect."""
        late = ("drop_after", "timeout_after", "status_after")
        return any(one.kind in late and one.strikes(protocol, command) for one in self.faults)

    @contextlib.asynccontextmanager
    async def serve(self, *, port: int = 0) -> AsyncIterator[str]:
        """Run on loopback; yields the base URL of the token endpoint."""
        async with self.listen(), super().serve(port=port) as url:
            yield url

    @contextlib.asynccontextmanager
    async def listen(self) -> AsyncIterator[None]:
        """Run IMAP and SMTP alone."""
        # as below: aiosmtpd says it to its log, too
        logging.getLogger("mail.log").setLevel(logging.ERROR)
        wrapped = self.tls if self.imap_security == "tls" else None
        imap = await asyncio.start_server(self._imap, "127.0.0.1", 0, ssl=wrapped, limit=1 << 20)
        wrapped = self.tls if self.smtp_security == "tls" else None
        smtp = await asyncio.get_running_loop().create_server(self._smtp, "127.0.0.1", 0, ssl=wrapped)
        self.imap_port, self.smtp_port = (one.sockets[0].getsockname()[1] for one in (imap, smtp))
        try:
            yield
        finally:
            imap.close()
            smtp.close()
            await self._hang_up()
            sessions = list(self._sessions)
            for task in sessions:
                task.cancel()
            await asyncio.gather(*sessions, return_exceptions=True)

    async def _imap(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._sessions.add(task)
        try:
            await ImapSession(self, reader, writer).run()
        except asyncio.CancelledError:
            writer.close()
        finally:
            self._sessions.discard(task)

    def _smtp(self) -> SMTP:
        starttls = self.tls if self.smtp_security == "starttls" else None
        with warnings.catch_warnings():
            # that passwords go in the clear, on this machine, and that TLS may be asked for without a certificate
            warnings.simplefilter("ignore", UserWarning)
            return _Smtp(
                _Handler(self),
                hostname="mail.twin",
                ident="twin",
                data_size_limit=LARGEST,
                enable_SMTPUTF8=True,
                tls_context=starttls,
                require_starttls=starttls is not None,
                auth_required=True,
                auth_require_tls=starttls is not None,
                authenticator=self._authenticator,
                auth_exclude_mechanism=["LOGIN"],
            )

    async def _hang_up(self) -> None:
        """End what SMTP connections there are, and let the loop take leave of them."""
        while self.connected:
            for one in list(self.connected):
                if isinstance(one.transport, asyncio.WriteTransport):
                    one.transport.abort()
                self.connected.discard(one)
                with contextlib.suppress(asyncio.CancelledError):
                    await one.over.wait()

    def break_off(self) -> None:
        """Every IMAP connection ends, as when the server is restarted."""
        for task in self._sessions:
            task.cancel()

    def _authenticator(self, _: Any, __: Any, ___: Any, mechanism: str, data: Any) -> AuthResult:
        if not isinstance(data, LoginPassword) or self.expired:
            return AuthResult(success=False, handled=False)
        account = self.accounts.get(data.login.decode())
        known = account is not None and account.password == data.password.decode()
        return AuthResult(success=known, handled=known, auth_data=data.login.decode())

    async def _token(self, request: Request) -> Response:
        form = {name: values[0] for name, values in parse_qs((await request.body()).decode()).items()}
        if form.get("grant_type") != "refresh_token" or not form.get("client_id"):
            return JSONResponse({"error": "invalid_request"}, status_code=400)
        if form.get("refresh_token") not in self.refresh_tokens or self.expired:
            return JSONResponse({"error": "invalid_grant"}, status_code=400)
        self._number += 1
        token = f"access-{self._number}"
        self.access_tokens.add(token)
        return JSONResponse({"access_token": token, "expires_in": 3600, "token_type": "Bearer"})

    # what tests and the demo see

    def furnish(self) -> dict[str, Any]:
        """The brand help@acme.example, whose account is connected, and a customer rita@mail.example."""
        self.add_brand("help@acme.example")
        self.add_user("rita@mail.example")
        return {"config": self.connection_config("help@acme.example")}

    def rehearsal(self) -> Rehearsal:
        """Rita writes to help@acme.example."""
        config, brand = self.furnish()["config"], "help@acme.example"
        channel = Channel(
            brand,
            config,
            write=lambda text: self.direct_message("rita@mail.example", brand, text),
            answers=lambda: [(str(mail["in-reply-to"]).strip("<>"), str(mail.get_content())) for mail in self.outbox],
        )
        return Rehearsal([channel])

    def snapshot(self) -> dict[str, Any]:
        """Folders with their mails' subjects."""
        return {
            address: {
                folder.name: [str(message_from_bytes(mail.raw, policy=default)["subject"]) for mail in folder.mails]
                for folder in account.folders.values()
            }
            for address, account in self.accounts.items()
        }

    def connection_config(self, who: str) -> dict[str, Any]:
        """A connection configuration for one of the twin's accounts; with the usual ports until the twin is served."""
        account = self.accounts[who]
        return {
            "address": account.address,
            "name": account.name,
            "imap": {"host": "127.0.0.1", "port": self.imap_port or 143, "security": self.imap_security},
            "smtp": {"host": "127.0.0.1", "port": self.smtp_port or 587, "security": self.smtp_security},
            "password": account.password,
            "sent_mailbox": "Sent",
            "saves_sent": account.saves_sent,
        }

    # the people who write

    def add_brand(self, address: str, *, name: str = "", saves_sent: bool = False) -> Account:
        """A company's mailbox."""
        made = Account(address, f"secret of {address}", name, saves_sent)
        self.accounts[address] = made
        return made

    def add_user(self, address: str, *, name: str = "") -> Account:
        """Somebody with a mailbox."""
        return self.add_brand(address, name=name)

    def direct_message(
        self,
        sender: str,
        recipient: str,
        text: str,
        *,
        subject: str = "Question",
        in_reply_to: str | None = None,
        html: str | None = None,
        files: Iterable[tuple[str, bytes, str]] = (),
        at: datetime | None = None,
        headers: dict[str, str] | None = None,
    ) -> str:
        """Somebody writes a mail; its Message-ID, without angle brackets. A reply has its parent's references."""
        self._number += 1
        id = f"m{self._number}.{sender}"
        now = at or self.time.now()
        mail = EmailMessage(policy=SMTP_POLICY)
        account = self.accounts.get(sender)
        mail["From"] = f"{account.name} <{sender}>" if account is not None and account.name else sender
        mail["To"] = recipient
        mail["Subject"] = subject
        mail["Date"] = format_datetime(now)
        mail["Message-ID"] = f"<{id}>"
        if in_reply_to is not None:
            parent = next((one for one in self.mails() if _id(one) == in_reply_to), None)
            above = str(parent["references"] or "").split() if parent is not None else []
            mail["In-Reply-To"] = f"<{in_reply_to}>"
            mail["References"] = " ".join([*above, f"<{in_reply_to}>"])
        for name, value in (headers or {}).items():
            mail[name] = value
        mail.set_content(text)
        if html is not None:
            mail.add_alternative(html, subtype="html")
        for name, body, media_type in files:
            main, _, sub = media_type.partition("/")
            mail.add_attachment(body, maintype=main, subtype=sub, filename=name)
        self.deliver(mail.as_bytes(), [recipient], at=now)
        return id

    def deliver(self, raw: bytes, recipients: Iterable[str], *, at: datetime | None = None) -> None:
        """Put a mail into the mailboxes of those who have one here; what stands behind a plus leads nowhere else."""
        for recipient in recipients:
            local, _, domain = recipient.rpartition("@")
            account = self.accounts.get(f"{local.partition('+')[0]}@{domain}")
            if account is not None:
                stored = b"Delivered-To: " + recipient.encode() + b"\r\n" + raw
                account.inbox.add(stored, at or self.time.now())
                self.effect("mail_delivered", _id(message_from_bytes(raw, policy=default)), to=recipient)

    def bounce(
        self, mail: EmailMessage, *, status: str = "5.1.1", action: str = "failed", by: str = "MAILER-DAEMON"
    ) -> None:
        """A mail server tells the sender what became of a mail (RFC 3464)."""
        sender, recipient = (getaddresses([str(mail[name])])[0][1] for name in ("from", "to"))
        told = (
            f"From: Mail Delivery System <{by}@mail.twin>\r\nTo: {sender}\r\nSubject: Undelivered Mail\r\n"
            f"Date: {format_datetime(self.time.now())}\r\nMessage-ID: <bounce{len(self.ledger)}@mail.twin>\r\n"
            "Auto-Submitted: auto-replied\r\nMIME-Version: 1.0\r\n"
            'Content-Type: multipart/report; report-type=delivery-status; boundary="b"\r\n\r\n'
            "--b\r\nContent-Type: text/plain\r\n\r\nYour mail could not be delivered.\r\n"
            "--b\r\nContent-Type: message/delivery-status\r\n\r\nReporting-MTA: dns; mail.twin\r\n\r\n"
            f"Final-Recipient: rfc822; {recipient}\r\nAction: {action}\r\nStatus: {status}\r\n"
            "Diagnostic-Code: smtp; 550 no such user\r\n\r\n"
            f"--b\r\nContent-Type: text/rfc822-headers\r\n\r\nMessage-ID: {mail['message-id']}\r\n\r\n--b--\r\n"
        )
        self.deliver(told.encode(), [sender])

    def mails(self) -> list[EmailMessage]:
        """Every mail in every folder."""
        found = [
            message_from_bytes(mail.raw, policy=default)
            for account in self.accounts.values()
            for folder in account.folders.values()
            for mail in folder.mails
        ]
        return [one for one in found if isinstance(one, EmailMessage)]

    def add_folder(self, address: str, name: str, *attributes: str) -> Folder:
        """Another folder of somebody's."""
        made = self.accounts[address].folders[name] = Folder(name, attributes)
        return made

    def take(self, sender: str, recipients: Sequence[str], raw: bytes) -> None:
        """A mail that SMTP took goes to whom it is for."""
        mail = message_from_bytes(raw, policy=default)
        assert isinstance(mail, EmailMessage)
        self.outbox.append(mail)
        self.effect("mail_sent", _id(mail), to=list(recipients), size=len(raw))
        account = self.accounts.get(sender)
        if account is not None and account.saves_sent:
            account.sent.add(raw, self.time.now(), {"\\Seen"})
        self.deliver(raw, recipients)


class _Smtp(SMTP):
    """Answers with the twin's faults, before a command has any effect."""

    def connection_made(self, transport: Any) -> None:
        """Called by the loop; a second time once the connection is encrypted."""
        super().connection_made(transport)
        self.over = asyncio.Event()
        self._twin().connected.add(self)

    def connection_lost(self, error: Exception | None) -> None:
        """Called by the loop."""
        super().connection_lost(error)
        self._twin().connected.discard(self)
        self.over.set()

    def _twin(self) -> EmailTwin:
        handler = self.event_handler
        assert isinstance(handler, _Handler)
        return handler.twin

    async def _call_handler_hook(self, command: str, *args: Any) -> Any:
        fault = self._twin().fault("SMTP", command)
        if fault == "drop":
            assert self.transport is not None
            self.transport.close()
            return "421 gone"
        return fault if fault is not None else await super()._call_handler_hook(command, *args)


class _Handler:
    def __init__(self, twin: EmailTwin) -> None:
        self.twin = twin

    async def auth_XOAUTH2(self, server: SMTP, args: list[str]) -> AuthResult:
        """Google's and Microsoft's way to log in with an access token."""
        told = base64.b64decode(args[1] if len(args) > 1 else "")
        found = re.fullmatch(rb"user=([^\x01]+)\x01auth=Bearer ([^\x01]+)\x01\x01", told)
        known = found is not None and found[2].decode() in self.twin.access_tokens
        user = found[1].decode() if found is not None else ""
        return AuthResult(success=known and user in self.twin.accounts, handled=False, auth_data=user)

    async def handle_MAIL(self, server: SMTP, session: Session, envelope: Envelope, address: str, options: Any) -> str:
        if address != session.auth_data:
            return "553 5.7.1 the sender is not who logged in"
        envelope.mail_from = address
        envelope.mail_options.extend(options)
        return "250 2.1.0 OK"

    async def handle_RCPT(self, server: SMTP, session: Session, envelope: Envelope, address: str, options: Any) -> str:
        if address.endswith(".invalid"):
            return "550 5.1.1 no such user"
        envelope.rcpt_tos.append(address)
        return "250 2.1.5 OK"

    async def handle_DATA(self, server: SMTP, session: Session, envelope: Envelope) -> str:
        content = envelope.content
        assert isinstance(content, bytes)
        self.twin.take(str(envelope.mail_from), list(envelope.rcpt_tos), content)
        if self.twin.late_fault("SMTP", "DATA"):
            assert server.transport is not None
            server.transport.close()
        return "250 2.0.0 queued as twin"


def _id(mail: Any) -> str:
    return str(mail["message-id"] or "").strip().strip("<>")
