"""E-mail as a source: what the host calls."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from datetime import timedelta
from functools import cached_property
from typing import Any, ClassVar
from urllib.parse import urlsplit

from pydantic import BaseModel

from gateway_email import normalise as reading
from gateway_email.config import EmailConfig
from gateway_email.health import Checker
from gateway_email.mailbox import Mailbox
from gateway_email.reading import STREAMS, Reader
from gateway_email.sending import Sender, render
from gateway_email.tokens import Tokens
from gateway_schemas import hookimpl
from gateway_schemas.capabilities import SourceCapabilities
from gateway_schemas.claims import PLACE, ClaimAddress
from gateway_schemas.errors import Unverified
from gateway_schemas.files import Downloaded
from gateway_schemas.interaction import Attachment, Normalised, Wanted
from gateway_schemas.plugin import AccountRef, Health, InstallReport, Probing, Setup
from gateway_schemas.reply import Draft, FindResult, Rendered, SendIntent, Sent
from gateway_schemas.source import Source
from gateway_schemas.webhook import Hint, Page, RawDelivery, RawPage, WebhookRequest, WebhookResponse

SENT_LAG = timedelta(minutes=5)
"""After this long a mail that the provider itself keeps would be in its folder of sent mail."""


class EmailSource(Source[EmailConfig]):
    """One mailbox."""

    name: ClassVar[str] = "email"
    title: ClassVar[str] = "E-mail"
    Config: ClassVar[type[BaseModel]] = EmailConfig
    probing: ClassVar[Probing] = Probing(calls=2)
    capabilities = SourceCapabilities(
        kinds=frozenset({"direct_message"}),
        identity="account",
        poll=True,
        streams=STREAMS,
        poll_every=timedelta(minutes=2),
        listen=True,
        reply=True,
        private=True,
        invitations=True,
        media=True,
        index_lag=None,
        conversation_per_account=False,
    )

    def __init__(self, setup: Setup[EmailConfig]) -> None:
        super().__init__(setup)
        if setup.config is not None and setup.config.saves_sent and setup.config.sent_mailbox is not None:
            # what the provider did not put among its sent mails was not sent
            self.capabilities = self.capabilities.model_copy(update={"index_lag": SENT_LAG})

    @cached_property
    def _mailbox(self) -> Mailbox:
        oauth = self.config.oauth
        tokens = None if oauth is None else Tokens(oauth, self.http, self.state, self.setup.time)
        return Mailbox(self.config, self.sockets, tokens)

    @cached_property
    def _sender(self) -> Sender:
        return Sender(self._mailbox, self.files, self.setup.time)

    @cached_property
    def _reader(self) -> Reader:
        return Reader(self._mailbox, self.setup.time)

    def verify(self, request: WebhookRequest) -> WebhookResponse | None:
        """Mail comes by no webhook."""
        raise Unverified("email has no webhooks", code="no_webhooks")

    def normalise(self, delivery: RawDelivery) -> Sequence[Normalised]:
        """A mail: a message with its new words, news of one of ours, or nothing that a person wrote."""
        return reading.normalise(delivery, self.config)

    async def fetch(self, wanted: Sequence[Wanted]) -> Sequence[RawPage]:
        """Mails by their Message-IDs."""
        return await self._reader.fetch(wanted)

    async def poll(self, stream: str, cursor: dict[str, Any] | None) -> Page:
        """New mails of the mailbox, or of the folder of sent mail."""
        return await self._reader.poll(stream, cursor)

    async def listen(self) -> AsyncIterator[Hint]:
        """IDLE on the mailbox."""
        async for hint in self._reader.listen():
            yield hint

    async def download(self, attachment: Attachment) -> Downloaded:
        """A file out of its mail."""
        return await self._reader.download(attachment)

    def render(self, draft: Draft) -> Rendered:
        """Recipient, subject and references of the mail, with the words as they are."""
        return render(draft, self.config)

    @classmethod
    def claim_address(cls, config: EmailConfig) -> ClaimAddress:
        """With `plus` an address that carries the code; else the mailbox's own, and the code stands in the subject."""
        if not config.plus:
            return ClaimAddress(address=config.address)
        local, _, domain = config.address.rpartition("@")
        return ClaimAddress(address=f"{local}+{PLACE}@{domain}")

    async def send(self, rendered: Rendered, key: str) -> Sent:
        """By SMTP, under a Message-ID that follows from the key."""
        return await self._sender.send(rendered, key)

    async def find(self, intent: SendIntent) -> FindResult:
        """Among sent mail."""
        return await self._sender.find(intent)

    async def discover(self) -> Sequence[AccountRef]:
        """The mailbox's address."""
        return await Checker(self._mailbox, self._sender).discover()

    async def install(self, *, dry_run: bool) -> InstallReport:
        """Find the folder of sent mail."""
        return await Checker(self._mailbox, self._sender).install(dry_run=dry_run)

    async def check(self) -> Health:
        """Both logins, the folders."""
        return await Checker(self._mailbox, self._sender).check()

    @classmethod
    def account_of(cls, config: EmailConfig) -> str | None:
        """The address."""
        return config.address

    @classmethod
    def hosts_of(cls, config: EmailConfig, app: BaseModel | None = None) -> tuple[str, ...]:
        """By HTTP only the token endpoint is called, where there is one."""
        if config.oauth is None:
            return ()
        parts = urlsplit(config.oauth.token_url)
        return (f"{parts.scheme}://{parts.netloc}",)

    @classmethod
    def sockets_of(cls, config: EmailConfig, app: BaseModel | None = None) -> tuple[str, ...]:
        """The two mail servers."""
        return (config.imap.place, config.smtp.place)


@hookimpl
def register_sources() -> list[type[Any]]:
    """The gateway asks once, at start."""
    return [EmailSource]
