"""Answers as mails: rendered, sent by SMTP, and looked for where sent mail is kept."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Sequence
from email.errors import MessageError
from email.headerregistry import Address
from email.message import EmailMessage
from email.policy import SMTP
from email.utils import format_datetime

import aiosmtplib

from gateway_email.addresses import address_of, own_id, reply_address
from gateway_email.automatic import LOOP
from gateway_email.config import EmailConfig
from gateway_email.imap import Imap
from gateway_email.mailbox import Mailbox
from gateway_email.reading import by_id, internal_date
from gateway_schemas.errors import GatewayError, Gone, Reauthorise, Rejected, Retry, Unknown
from gateway_schemas.files import FileStore
from gateway_schemas.reply import Absent, Draft, FindResult, Found, OutgoingFile, Rendered, SendIntent, Sent
from gateway_schemas.time import TimeSource

MOST_BYTES = 18_000_000
"""Bytes of an answer's files: encoded they are a third more, and 25 MB is what most mail servers take."""
FIRST, LAST = 1, 20
"""How many of the references are kept: the first, and the newest (RFC 5322, 3.6.4 lets long lists be cut)."""
KEEP_SECONDS = 5.0
"""What putting a copy into the folder of sent mail may take, after the mail is out."""


def render(draft: Draft, config: EmailConfig) -> Rendered:
    """The mail but for its Message-ID and date: those are made when it goes.

    Raises Rejected for an answer without words, a recipient that is none, and files that are too large together.
    """
    target = draft.target
    if target.kind != "direct_message":
        raise Rejected(f"a mail cannot be answered as a {target.kind}", code="wrong_target", field="target")
    if draft.visibility != "private":
        raise Rejected("a mail is never public", code="wrong_visibility", field="visibility")
    recipient = address_of(target.recipient or "")
    if recipient is None:
        raise Rejected("there is no address to answer to", code="no_recipient", field="target")
    if recipient in config.own:
        raise Rejected("the answer would go to ourselves", code="own_address", field="target")
    if not draft.text.strip():
        raise Rejected("a mail without words is not sent", code="empty", field="text")
    size = sum(one.size for one in draft.files)
    if size > MOST_BYTES:
        raise Rejected(
            f"the files have {size} bytes; a mail carries at most {MOST_BYTES}", code="too_large", field="files"
        )
    parents = [str(one) for one in target.extra.get("references") or () if isinstance(one, str)]
    if target.ref:
        parents.append(target.ref)
    body = {
        "from": config.address,
        "name": config.name,
        "to": recipient,
        "subject": reply_subject(str(target.extra.get("subject") or "")),
        "in_reply_to": target.ref,
        "references": shortened(list(dict.fromkeys(parents))),
    }
    return Rendered(
        text=draft.text,
        account=draft.account,
        target=target,
        visibility="private",
        files=draft.files,
        body=body,
        length=len(draft.text),
    )


def reply_subject(subject: str) -> str:
    """`Re:` once, before whatever there was: also where another language's prefix stands (`AW:`, `SV:`)."""
    plain = " ".join(subject.split())
    while True:
        prefix, colon, rest = plain.partition(":")
        if colon and prefix.strip().lower() in ("re", "aw", "antw", "rép", "ré", "res", "sv", "r", "rif"):
            plain = rest.strip()
            continue
        return f"Re: {plain or 'your message'}"[:400]


def shortened(references: Sequence[str]) -> list[str]:
    """A long list without its middle."""
    if len(references) <= FIRST + LAST:
        return list(references)
    return [*references[:FIRST], *references[-LAST:]]


def composed(
    rendered: Rendered, key: str, date: str, config: EmailConfig, files: Sequence[tuple[OutgoingFile, bytes]]
) -> EmailMessage:
    """The mail itself. Raises Rejected where a header cannot be written."""
    body, id = rendered.body, own_id(key, config.domain)
    mail = EmailMessage(policy=SMTP)
    try:
        local, _, domain = str(body["from"]).rpartition("@")
        mail["From"] = Address(str(body["name"]), local, domain)
        local, _, domain = str(body["to"]).rpartition("@")
        mail["To"] = Address("", local, domain)
        mail["Subject"] = str(body["subject"])
        mail["Date"] = date
        mail["Message-ID"] = f"<{id}>"
        if body.get("in_reply_to"):
            mail["In-Reply-To"] = _id(str(body["in_reply_to"]))
        if body.get("references"):
            mail["References"] = " ".join(_id(str(one)) for one in body["references"])
        if config.plus:
            mail["Reply-To"] = reply_address(config.address, id)
        mail[LOOP] = "1"
        mail.set_content(rendered.text, charset="utf-8", cte="quoted-printable")
        for file, content in files:
            main, _, sub = file.media_type.partition("/")
            mail.add_attachment(
                content, maintype=main or "application", subtype=sub or "octet-stream", filename=file.name
            )
    except (ValueError, MessageError, LookupError, TypeError) as error:
        raise Rejected(f"the mail cannot be written: {error}", code="bad_header") from error
    return mail


class Sender:
    """What `send` and `find` do."""

    def __init__(self, mailbox: Mailbox, files: FileStore, time: TimeSource) -> None:
        self.mailbox = mailbox
        self.config = mailbox.config
        self.files = files
        self.time = time

    async def send(self, rendered: Rendered, key: str) -> Sent:
        """One SMTP transaction. Until the words are on their way whatever goes wrong is Retry or Rejected; from then
        on only the server's answer proves what became of them (RFC 5321, 4.2.5 and 6.1)."""
        files = [(one, await self._read(one)) for one in rendered.files]
        now = self.time.now()
        mail = composed(rendered, key, format_datetime(now), self.config, files)
        raw = mail.as_bytes()
        async with self.session() as smtp:
            await self._step(smtp.mail(self.config.address, options=_options(smtp, len(raw)), encoding="utf-8"))
            await self._step(smtp.rcpt(str(rendered.body["to"]), encoding="utf-8"))
            await self.mailbox.sockets.permit()
            try:
                await smtp.data(raw)
            except aiosmtplib.SMTPDataError as error:
                raise _refused(error.code, error.message) from error
            except (aiosmtplib.SMTPException, OSError, TimeoutError) as error:
                reason = f"the connection broke while the mail was sent: {type(error).__name__}"
                raise Unknown(reason, code="interrupted") from error
        await self._keep(raw)
        return Sent(external_id=own_id(key, self.config.domain), sent_at=now)

    async def find(self, intent: SendIntent) -> FindResult:
        """By the Message-ID, which follows from the key: in the folder of sent mail, and in the mailbox."""
        id = own_id(intent.key, self.config.domain)
        async with self.mailbox.read() as imap:
            for name in (self.config.sent_mailbox, self.config.mailbox):
                if name is None:
                    continue
                await imap.examine(name)
                for uid in await by_id(imap, id):
                    told = (await imap.fetch([uid], b"(UID INTERNALDATE)")).get(uid, {})
                    return Found(external_id=id, at=internal_date(told.get(b"INTERNALDATE")))
        return Absent()

    @contextlib.asynccontextmanager
    async def session(self) -> AsyncIterator[aiosmtplib.SMTP]:
        """Connected, encrypted and logged in. Raises Retry, Reauthorise, Rejected; nothing was sent then."""
        server, sockets = self.config.smtp, self.mailbox.sockets
        password, token = await self.mailbox.secret()
        deadline = sockets.deadline
        seconds = 20.0 if deadline is None else max(0.1, deadline - asyncio.get_running_loop().time())
        plain = await sockets.connect(server.host, server.port)
        smtp = aiosmtplib.SMTP(
            hostname=server.host,
            sock=plain,
            timeout=seconds,
            use_tls=server.security == "tls",
            start_tls=False,  # below, where it can be told apart that there is none
            tls_context=sockets.tls if server.security != "none" else None,
            local_hostname=self.config.domain,
        )
        try:
            await self._step(smtp.connect())
            await self._step(smtp.ehlo())
            if server.security == "starttls":
                if not smtp.supports_extension("starttls"):
                    raise Rejected(f"{server.host} offers no STARTTLS; nothing is sent in the clear", code="no_tls")
                await self._step(smtp.starttls(server_hostname=server.host, tls_context=sockets.tls))
                await self._step(smtp.ehlo())
            await self._log_in(smtp, password, token)
            yield smtp
            with contextlib.suppress(aiosmtplib.SMTPException, OSError, TimeoutError):
                async with asyncio.timeout(1.0):
                    await smtp.quit()
        finally:
            smtp.close()
            plain.close()

    async def _log_in(self, smtp: aiosmtplib.SMTP, password: str | None, token: str | None) -> None:
        if not smtp.supports_extension("auth"):
            raise Rejected(f"{self.config.smtp.host} takes no login here; check port and security", code="no_auth")
        try:
            if token is not None:
                await smtp.auth_xoauth2(self.config.login, token)
            else:
                await smtp.login(self.config.login, password or "")
        except aiosmtplib.SMTPAuthenticationError as error:
            if 400 <= error.code < 500:
                raise Retry(f"the mail server takes no login now: {error.code}", code=f"smtp_{error.code}") from None
            if self.mailbox.tokens is not None:
                await self.mailbox.tokens.forget()
            reason = f"{self.config.smtp.host} refuses the login of {self.config.login}"
            raise Reauthorise(reason, code="login_refused") from None
        except (aiosmtplib.SMTPException, OSError, TimeoutError) as error:
            raise _broken(error) from error

    async def _step(self, step: object) -> None:
        """One step before the words: whatever fails here, nothing was sent."""
        try:
            await step  # type: ignore[misc]
        except aiosmtplib.SMTPResponseException as error:
            raise _refused(error.code, error.message) from error
        except (aiosmtplib.SMTPException, OSError, TimeoutError) as error:
            raise _broken(error) from error

    async def _read(self, file: OutgoingFile) -> bytes:
        try:
            return await self.files.read(file.sha256)
        except Gone as error:
            raise Rejected(f"the file {file.name} is not kept any more", code="no_copy", field="files") from error

    async def _keep(self, raw: bytes) -> None:
        """Put a copy where sent mail is kept, if the provider does not. The mail is out: nothing here may fail it."""
        if self.config.sent_mailbox is None or self.config.saves_sent:
            return
        deadline, now = self.mailbox.sockets.deadline, asyncio.get_running_loop().time()
        seconds = KEEP_SECONDS if deadline is None else min(KEEP_SECONDS, deadline - now - 1.0)
        with contextlib.suppress(GatewayError, TimeoutError):
            async with asyncio.timeout(seconds), self.mailbox.read() as imap:
                await self._append(imap, raw)

    async def _append(self, imap: Imap, raw: bytes) -> None:
        assert self.config.sent_mailbox is not None
        await imap.append(self.config.sent_mailbox, raw)


def _options(smtp: aiosmtplib.SMTP, size: int) -> list[str]:
    options = [f"SIZE={size}"] if smtp.supports_extension("size") else []
    return [*options, "BODY=8BITMIME"] if smtp.supports_extension("8bitmime") else options


def _refused(code: int, message: str) -> Retry | Rejected:
    """4xx may succeed later, 5xx never will (RFC 5321, 4.2.1). Both say that nothing was taken."""
    told = " ".join(str(message).split())[:300]
    if 400 <= code < 500:
        return Retry(f"the mail server asks to come back later: {code} {told}", code=f"smtp_{code}")
    return Rejected(f"the mail server refused the mail: {code} {told}", code=f"smtp_{code}")


def _broken(error: BaseException) -> Retry | Rejected:
    if isinstance(error, aiosmtplib.SMTPNotSupported):
        return Rejected(f"the mail server cannot do what this mail needs: {error}", code="not_supported")
    return Retry(f"nothing was sent, the connection broke: {type(error).__name__}", code="not_sent")


def _id(id: str) -> str:
    """A Message-ID as a header has it. Raises ValueError for what would break out of one."""
    if any(one in "<>\r\n\0" or one.isspace() for one in id):
        raise ValueError("a Message-ID has characters that no header takes")
    return f"<{id}>"
