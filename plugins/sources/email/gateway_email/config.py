"""What a connection to a mailbox needs to know."""

from __future__ import annotations

from typing import Literal

from pydantic import BaseModel, ConfigDict, Field, SecretStr, field_validator, model_validator

from gateway_email.addresses import address_of
from gateway_schemas.sockets import endpoint_of

Security = Literal["tls", "starttls", "none"]
HERE = ("127.0.0.1", "localhost", "::1")


class Server(BaseModel):
    """One server, and how the connection to it is kept from others' eyes."""

    model_config = ConfigDict(extra="forbid", frozen=True, use_attribute_docstrings=True)

    host: str = Field(min_length=1, pattern=r"^[A-Za-z0-9._:-]+$")
    """Its name, which the certificate must have."""
    port: int = Field(ge=1, le=65535)
    """993 or 143 for IMAP, 465 or 587 for SMTP."""
    security: Security = "tls"
    """`tls` from the first byte (993, 465), `starttls` (143, 587), or `none`, which is for this machine only."""

    @model_validator(mode="after")
    def _kept(self) -> Server:
        if self.security == "none" and self.host not in HERE:
            raise ValueError("security none sends the password in the clear: use tls or starttls")
        endpoint_of(self.place)
        return self

    @property
    def place(self) -> str:
        """As `host:port`."""
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"


class OAuth(BaseModel):
    """Instead of a password: a refresh token, for providers that take no passwords any more (Google, Microsoft)."""

    model_config = ConfigDict(extra="forbid", frozen=True, use_attribute_docstrings=True)

    token_url: str = Field(pattern=r"^https?://[^\s?#]+$")
    """Where the provider gives access tokens."""
    client_id: str
    """Of the application that was registered there."""
    client_secret: SecretStr | None = None
    """Of the same, where it has one."""
    refresh_token: SecretStr
    """What the mailbox's owner authorised."""
    scope: str | None = None
    """What is asked for again, where the provider wants that (Microsoft)."""


class EmailConfig(BaseModel):
    """One mailbox: an address, where its mail is read and how it is sent. `install` finds the folder of sent mail."""

    model_config = ConfigDict(extra="forbid", frozen=True, use_attribute_docstrings=True)

    address: str
    """The brand's address, which answers come from."""
    name: str = ""
    """The name beside it."""
    aliases: tuple[str, ...] = ()
    """Other addresses of the same mailbox: what comes from them is the brand's own."""
    imap: Server
    """Where mail is read."""
    smtp: Server
    """Where answers are handed in."""
    user: str | None = None
    """The login, where it is not the address."""
    password: SecretStr | None = None
    """An app password where the provider has such."""
    oauth: OAuth | None = None
    """Instead of a password."""
    mailbox: str = "INBOX"
    """The folder that new mail comes into."""
    sent_mailbox: str | None = None
    """The folder of sent mail: what is in it was sent. None: nothing proves that an answer was."""
    saves_sent: bool = False
    """Whether the provider puts what is sent into that folder itself (Gmail, Microsoft 365). Else the gateway does."""
    history_days: int = Field(default=30, ge=0, le=3650)
    """How far back the first poll reads."""
    authserv_ids: tuple[str, ...] = ()
    """Names under which our own mail servers write `Authentication-Results`; others' are not believed."""
    own_lists: tuple[str, ...] = ()
    """`List-Id`s of groups that customers write to (a shared address that is a list): no bulk mail."""
    forms: tuple[str, ...] = ()
    """Senders of contact forms: who wrote is the address in their `Reply-To`."""
    plus: bool = False
    """Whether answers ask for replies at `address+token`, and invitations lead to such an address: keeps conversations
    together where clients drop references. The provider must deliver such addresses to the mailbox."""
    largest: int = Field(default=30_000_000, ge=100_000)
    """Bytes of a mail that is read as a whole; of a larger one the beginning."""

    @field_validator("address")
    @classmethod
    def _address(cls, value: str) -> str:
        found = address_of(value)
        if found is None:
            raise ValueError("address must be like help@acme.example")
        return found

    @field_validator("aliases", "forms")
    @classmethod
    def _addresses(cls, value: tuple[str, ...]) -> tuple[str, ...]:
        found = tuple(address_of(one) for one in value)
        if None in found:
            raise ValueError("every entry must be an address like help@acme.example")
        return tuple(one for one in found if one is not None)

    @field_validator("name", "mailbox", "sent_mailbox", "user")
    @classmethod
    def _one_line(cls, value: str | None) -> str | None:
        if value is not None and any(ord(one) < 32 or ord(one) == 127 for one in value):
            raise ValueError("must be one line without control characters")
        return value

    @model_validator(mode="after")
    def _complete(self) -> EmailConfig:
        if (self.password is None) == (self.oauth is None):
            raise ValueError("give either password or oauth")
        return self

    @property
    def login(self) -> str:
        """Who logs in."""
        return self.user or self.address

    @property
    def own(self) -> frozenset[str]:
        """Every address of the brand's that this mailbox answers for."""
        return frozenset((self.address, *self.aliases))

    @property
    def domain(self) -> str:
        """Of our Message-IDs."""
        return self.address.rpartition("@")[2]
