"""What the twin's mail server keeps: accounts, their folders, the mails in them, and mails on their way."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import datetime


@dataclass
class Stored:
    """One mail in a folder."""

    uid: int
    raw: bytes
    received: datetime
    flags: set[str] = field(default_factory=set)


@dataclass
class Folder:
    """A folder: UIDs rise and are never given twice, as long as UIDVALIDITY is the same."""

    name: str
    attributes: tuple[str, ...] = ()
    uidvalidity: int = 1712
    uidnext: int = 1
    mails: list[Stored] = field(default_factory=list)
    watchers: set[Callable[[], None]] = field(default_factory=set)
    """Called when something came: whoever idles."""

    def add(self, raw: bytes, at: datetime, flags: set[str] | None = None) -> Stored:
        """Put a mail in; who idles hears of it."""
        made = Stored(self.uidnext, raw, at, flags or set())
        self.uidnext += 1
        self.mails.append(made)
        for watcher in list(self.watchers):
            watcher()
        return made

    def renumber(self) -> None:
        """As after a repair: all UIDs are void."""
        self.uidvalidity += 1
        for number, one in enumerate(self.mails, 1):
            one.uid = number + 100
        self.uidnext = len(self.mails) + 101


@dataclass
class Account:
    """Somebody with a mailbox at this server."""

    address: str
    password: str
    name: str = ""
    saves_sent: bool = False
    """Whether what is sent is put into the folder of sent mail by the server."""
    folders: dict[str, Folder] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.folders.setdefault("INBOX", Folder("INBOX"))
        self.folders.setdefault("Sent", Folder("Sent", ("\\Sent",)))

    @property
    def inbox(self) -> Folder:
        """Where mail comes in."""
        return self.folders["INBOX"]

    @property
    def sent(self) -> Folder:
        """Where sent mail is kept."""
        return self.folders["Sent"]
