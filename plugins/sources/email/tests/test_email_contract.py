"""The plugin keeps the contract: the conformance kit, with people writing to each other at the twin."""

from __future__ import annotations

import contextlib
import dataclasses
from collections.abc import AsyncIterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import httpx2

from gateway_email.plugin import EmailSource
from gateway_email.twin import EmailTwin
from gateway_schemas.sockets import Sockets
from gateway_schemas.testing.adapters import Answer, NotOffered, SourceAdapter
from gateway_schemas.testing.sockets import DirectSockets
from gateway_schemas.testing.source_contract import SourceContract
from gateway_schemas.testing.twin import Fault
from gateway_schemas.time import TimeSource

HELP, RITA = "help@acme.example", "rita@home.example"


class EmailAdapter(SourceAdapter[EmailTwin]):
    """A mail provider that keeps what is sent, with a brand and a customer."""

    publishing = ("SMTP", "DATA")
    reading = ("IMAP", ".*")
    many = 41
    shows_within = timedelta(minutes=5)

    def __init__(self, time: TimeSource) -> None:
        self.twin = EmailTwin(time=time)
        self.twin.add_brand(HELP, name="Acme Help", saves_sent=True)
        self.twin.add_user(RITA, name="Rita Example")

    @contextlib.asynccontextmanager
    async def running(self) -> AsyncIterator[httpx2.AsyncClient]:
        transport = httpx2.ASGITransport(app=self.twin.app)
        async with self.twin.listen(), httpx2.AsyncClient(transport=transport) as http:
            yield http

    def sockets(self) -> Sockets:
        return DirectSockets()

    def config(self) -> dict[str, Any]:
        return self.twin.connection_config(HELP)

    def revoke(self) -> None:
        self.twin.expired = True

    def strike(self, fault: Fault) -> None:
        """Statuses as mail servers say them; a 5xx of HTTP proves as little as a connection that breaks off."""
        if fault.headers:
            raise NotOffered("mail servers do not say how long to wait")
        answers = {401: b"535 5.7.8 no", 429: b"452 4.3.1 later", 404: b"550 5.1.1 no such user"}
        body = answers.get(fault.status, b"" if fault.status >= 500 else b"554 5.7.1 refused")
        self.twin.faults.append(dataclasses.replace(fault, body=body))

    def write(self, text: str, *, private: bool = False) -> str:
        return self.twin.direct_message(RITA, HELP, text)

    def reply(self, to: str, text: str) -> str:
        return self.twin.direct_message(RITA, HELP, text, in_reply_to=to)

    def brand_writes(self, text: str, to: str | None = None) -> str:
        id = self.twin.direct_message(HELP, RITA, text, in_reply_to=to)
        raw = self.twin.accounts[RITA].inbox.mails[-1].raw
        self.twin.accounts[HELP].sent.add(raw.partition(b"\r\n")[2], self.twin.time.now())
        return id

    def write_late(self, text: str, by: timedelta) -> str:
        return self.twin.direct_message(RITA, HELP, text, at=self.twin.time.now() - by)

    def answers(self) -> list[Answer]:
        return [
            Answer(
                str(mail["message-id"]).strip("<>"),
                mail.get_content().replace("\r\n", "\n").rstrip("\n"),
                str(mail["in-reply-to"]).strip("<>"),
                private=True,
            )
            for mail in self.twin.outbox
        ]


class TestEmail(SourceContract):
    """E-mail."""

    plugin = EmailSource
    fixtures = Path(__file__).parents[1] / "fixtures"
    adapter = EmailAdapter
    signs_time = signs_body = names_events = False
