"""Who did something, and from where."""

from __future__ import annotations

import getpass
import os
import socket
from dataclasses import asdict, dataclass
from typing import Literal

from pydantic import TypeAdapter

from gateway.db.database import as_json

ActorKind = Literal["key", "subject", "agent", "command_line", "gateway"]


@dataclass(frozen=True)
class Origin:
    """Who did it, as what, and from where. `address` is the network's, `trace_id` the request's."""

    action: str
    actor_kind: ActorKind
    actor_id: str | None
    actor_name: str
    key_prefix: str | None = None
    address: str | None = None
    trace_id: str | None = None

    def text(self) -> str:
        """What the database's setting holds while this origin's transaction is under way."""
        return as_json(asdict(self))

    @classmethod
    def of(cls, text: str) -> Origin:
        """The origin as `text` wrote it."""
        return _ORIGIN.validate_json(text)


def at_the_command_line(action: str) -> Origin:
    """Whoever has a shell on this machine, by the name they have there."""
    try:
        name = getpass.getuser()
    except (OSError, KeyError, ImportError):  # a container's user without a name
        name = f"user {os.getuid()}"
    return Origin(action, "command_line", None, name, address=socket.gethostname())


def by_itself(action: str) -> Origin:
    """What the gateway does of itself: the first key, the policies it ships with."""
    return Origin(action, "gateway", None, "the gateway")


_ORIGIN = TypeAdapter(Origin)
