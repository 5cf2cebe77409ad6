"""Is the mailbox well, what of it works against us, and which folder holds sent mail."""

from __future__ import annotations

from typing import Literal

from gateway_email.imap import Imap, Refused
from gateway_email.imap_parse import mailbox_text
from gateway_email.mailbox import Mailbox
from gateway_email.sending import Sender
from gateway_schemas.errors import GatewayError, Reauthorise, Rejected, Retry
from gateway_schemas.plugin import AccountRef, Health, HealthFinding, InstallReport, Step

_SENT_NAMES = ("sent", "sent items", "sent messages", "gesendet", "gesendete objekte", "envoyés", "enviados", "inviati")


class Checker:
    """What `check`, `install` and `discover` do. Nothing is sent."""

    def __init__(self, mailbox: Mailbox, sender: Sender) -> None:
        self.mailbox = mailbox
        self.config = mailbox.config
        self.sender = sender

    async def check(self) -> Health:
        """Both logins, the folders, and what is not set up. Raises Retry while a server cannot be reached."""
        found = [*await self._reading(), *await self._sending()]
        if not self.config.authserv_ids:
            text = "no authserv_ids are given: nothing tells a forged sender from a real one"
            found.append(_finding("info", "unauthenticated", text, "give the name that your server writes them under"))
        return Health(ok=not any(one.severity == "error" for one in found), findings=tuple(found))

    async def discover(self) -> list[AccountRef]:
        """The address, once its login was taken."""
        async with self.mailbox.read():
            return [AccountRef(external_id=self.config.address, name=self.config.name or self.config.address)]

    async def install(self, *, dry_run: bool) -> InstallReport:
        """Find the folder of sent mail (RFC 6154). At the servers nothing is changed."""
        if self.config.sent_mailbox is not None:
            return InstallReport(steps=(Step(action="keep", what=f"folder of sent mail: {self.config.sent_mailbox}"),))
        async with self.mailbox.read() as imap:
            name = await sent_mailbox(imap)
        if name is None:
            detail = "no folder is marked as such: give its name as sent_mailbox"
            return InstallReport(steps=(Step(action="ask", what="which folder holds sent mail?", detail=detail),))
        steps = (Step(action="update", what=f"folder of sent mail: {name}"),)
        return InstallReport(steps=steps, config={} if dry_run else {"sent_mailbox": name})

    async def _reading(self) -> list[HealthFinding]:
        found: list[HealthFinding] = []
        try:
            async with self.mailbox.read() as imap:
                for name, code in ((self.config.mailbox, "no_mailbox"), (self.config.sent_mailbox, "no_sent_mailbox")):
                    if name is None:
                        text = (
                            "no folder of sent mail is known: after an interruption a person must look whether it went"
                        )
                        found.append(_finding("warning", "no_sent", text, "call the connection's install"))
                        continue
                    try:
                        await imap.examine(name)
                    except Refused as error:
                        text = f"the folder {name} cannot be read: {error.reason}"
                        found.append(_finding("error", code, text, "correct the name, or make the folder"))
                if "IDLE" not in imap.capabilities:
                    text = "the server knows no IDLE: new mail is noticed within a minute"
                    found.append(_finding("info", "no_idle", text, "nothing needs to be done"))
        except Reauthorise as error:
            found.append(
                _finding("error", "credentials", error.reason, "enter the current password, or authorise again")
            )
        except Rejected as error:
            found.append(_finding("error", error.code, error.reason, "check imap: host, port and security"))
        return found

    async def _sending(self) -> list[HealthFinding]:
        try:
            async with self.sender.session():
                return []
        except Reauthorise as error:
            return [_finding("error", "smtp_credentials", error.reason, "let the login send, or give an app password")]
        except Retry:
            raise
        except GatewayError as error:
            return [_finding("error", error.code, error.reason, "check smtp: host, port and security")]


async def sent_mailbox(imap: Imap) -> str | None:
    """The folder marked `\\Sent`; else one that is called so."""
    listed = await imap.mailboxes()
    names = {mailbox_text(name): attributes for name, attributes in listed}
    for name, attributes in names.items():
        if b"\\sent" in attributes:
            return name
    return next((name for name in names if name.rpartition("/")[2].rpartition(".")[2].lower() in _SENT_NAMES), None)


def _finding(severity: Literal["info", "warning", "error"], code: str, message: str, mend: str) -> HealthFinding:
    return HealthFinding(severity=severity, code=code, message=message, mend=mend)
