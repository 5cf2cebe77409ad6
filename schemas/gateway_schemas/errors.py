"""Errors named by how one recovers from them.

    GatewayError
    ├── Retry         nothing happened; the same call may succeed later
    ├── Reauthorise   the credentials were refused; an admin must connect again
    ├── Unknown       it may have happened; ask `find` before anything else
    ├── Hold          a person must decide before it goes on
    ├── Rejected      refused for good; tell the agent why
    ├── Closed        the ticket is closed for good; write to a follow-up ticket
    ├── Moved         the ticket was merged; write to the one it went into
    ├── Gone          the thing was deleted at the provider
    ├── Unverified    the door: a signature is wrong, missing or too old
    │   └── UnknownKey    the key that signed is not in the key sets; they are fetched anew, and asked again
    └── Malformed     the delivery cannot be read; keep it, fail it with this reason

A plugin raises these and nothing else on purpose; any other exception is a bug of the plugin and is recorded as one.
Messages are shown to agents and admins: they name the field and the mend, and never contain a secret.
"""

from __future__ import annotations

from datetime import timedelta


class GatewayError(Exception):
    """Base of every error a plugin raises on purpose.

    `code` is stable and machine-readable (`too_long`, `not_summoned`); `reason` is for people.
    """

    default_code = "error"

    def __init__(self, reason: str, *, code: str | None = None) -> None:
        super().__init__(reason)
        self.reason = reason
        self.code = code or self.default_code


class Retry(GatewayError):
    """Nothing happened at the provider. `after` is how long it asked us to wait; None leaves the back-off to the host.

    `bucket` names the rate budget that ran out, where one did, and `bucket:scope` one scope's own (a ticket's); None
    rests the whole connection.
    """

    default_code = "retry"

    def __init__(
        self,
        reason: str,
        *,
        after: timedelta | None = None,
        bucket: str | None = None,
        code: str | None = None,
    ) -> None:
        super().__init__(reason, code=code)
        self.after = after
        self.bucket = bucket


class Reauthorise(GatewayError):
    """The provider refused the credentials. The host stops the connection's work, keeps its backlog and says so."""

    default_code = "reauthorise"


class Unknown(GatewayError):
    """The request was sent and no answer proves what became of it. The host asks `find` and never just repeats."""

    default_code = "unknown"


class Hold(GatewayError):
    """A person must decide: the host keeps the reply, marks the ticket and waits."""

    default_code = "hold"


class Rejected(GatewayError):
    """The provider refused for good. `field` names what was wrong, where one field was."""

    default_code = "rejected"

    def __init__(self, reason: str, *, code: str | None = None, field: str | None = None) -> None:
        super().__init__(reason, code=code)
        self.field = field


class Closed(GatewayError):
    """The ticket takes no more changes at the helpdesk; the host opens a follow-up."""

    default_code = "closed"


class Moved(GatewayError):
    """The ticket was merged into `to` (the helpdesk's id); the host follows the person who did it."""

    default_code = "moved"

    def __init__(self, reason: str, *, to: str, code: str | None = None) -> None:
        super().__init__(reason, code=code)
        self.to = to


class Gone(GatewayError):
    """The ticket, post or account does not exist any more at the provider."""

    default_code = "gone"


class Unverified(GatewayError):
    """A webhook's signature is wrong, missing, foreign or too old. Answered 401, counted, body not stored."""

    default_code = "unverified"


class UnknownKey(Unverified):
    """A signature names a key that the provider's key sets do not have: the provider may have changed its keys.

    The host fetches the sets anew, at most once in a while, and asks `verify` again; else it is answered as Unverified.
    """

    default_code = "unknown_key"


class Malformed(GatewayError):
    """A verified delivery is not what the provider documents. It is kept, failed with this reason, and replayable."""

    default_code = "malformed"
