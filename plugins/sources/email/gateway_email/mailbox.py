"""Sessions with the mailbox's servers: who logs in and how, for reading and for sending."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator

from gateway_email.config import EmailConfig
from gateway_email.imap import Imap, Refused
from gateway_email.tokens import Tokens
from gateway_schemas.errors import Malformed, Reauthorise, Rejected, Retry
from gateway_schemas.sockets import Sockets


class Mailbox:
    """One connection's way to its servers."""

    def __init__(self, config: EmailConfig, sockets: Sockets, tokens: Tokens | None) -> None:
        self.config = config
        self.sockets = sockets
        self.tokens = tokens

    async def secret(self) -> tuple[str | None, str | None]:
        """Password and access token; one of them."""
        if self.tokens is not None:
            return None, await self.tokens.access()
        assert self.config.password is not None
        return self.config.password.get_secret_value(), None

    @contextlib.asynccontextmanager
    async def read(self, *, bounded: bool = True) -> AsyncIterator[Imap]:
        """A session for reading, ended by the deadline of the host's call unless it is to go on.

        Raises Retry for whatever broke or was refused for now, Reauthorise, and Rejected.
        """
        password, token = await self.secret()
        try:
            async with asyncio.timeout_at(self.sockets.deadline if bounded else None):
                opened = Imap.session(self.sockets, self.config.imap, self.config.login, password=password, token=token)
                async with opened as imap:
                    yield imap
        except TimeoutError:
            raise Retry("the mail server did not answer in time", code="timeout") from None
        except Reauthorise:
            if self.tokens is not None:
                await self.tokens.forget()
            raise
        except Refused as error:
            raise as_error(error) from error


def as_error(error: Refused) -> Retry | Rejected | Malformed:
    """What a server's NO or BAD means, by its response code (RFC 9051, 7.1)."""
    match error.answer:
        case "NONEXISTENT" | "NOPERM" | "CANNOT" | "TRYCREATE":
            return Rejected(error.reason, code=error.code)
        case "TOOBIG" | "OVERQUOTA":
            return Rejected(error.reason, code=error.code)
    if error.status == "BAD":
        return Malformed(error.reason, code="refused")
    return Retry(error.reason, code=error.code)
