"""Reading: new mails by UID, single ones by Message-ID, their files, and IDLE as the hint that there are some."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from email.generator import BytesGenerator
from io import BytesIO
from typing import Any

from gateway_email.imap import Imap
from gateway_email.imap_parse import Value
from gateway_email.mailbox import Mailbox
from gateway_email.mime import header_end, leaves, read
from gateway_schemas.errors import Gone, Malformed, Rejected
from gateway_schemas.files import Downloaded
from gateway_schemas.interaction import Attachment, Wanted
from gateway_schemas.time import TimeSource
from gateway_schemas.webhook import Hint, Page, RawPage

STREAMS = ("inbox", "sent")
AT_ONCE = 20
"""Mails of one page, unless they are large."""
ROOM = 4_000_000
"""Bytes of one page's mails, but of a single one."""
KEPT_WHOLE = 200_000
"""Up to this size a mail is stored byte for byte; of a larger one the files are left on the server."""
BEGINNING = 100_000
RESYNC = timedelta(days=2)
_MONTHS = ("Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec")


class Reader:
    """What `poll`, `fetch`, `download` and `listen` do."""

    def __init__(self, mailbox: Mailbox, time: TimeSource) -> None:
        self.mailbox = mailbox
        self.config = mailbox.config
        self.time = time

    async def poll(self, stream: str, cursor: Mapping[str, Any] | None) -> Page:
        """The mails above the last UID, oldest first. The cursor is (mailbox, UIDVALIDITY, UID).

        Where UIDVALIDITY is another one all UIDs are void (RFC 9051, 2.3.1.1): then it begins anew, two days before the
        newest mail that was seen. What comes twice is known by its Message-ID.
        """
        if stream not in STREAMS:
            raise Rejected(f"there is no stream {stream}; there are {', '.join(STREAMS)}", code="no_stream")
        name = self.config.mailbox if stream == "inbox" else self.config.sent_mailbox
        if name is None:
            return Page((), dict(cursor or {}))
        kept = dict(cursor or {}) if (cursor or {}).get("mailbox") == name else {}
        async with self.mailbox.read() as imap:
            await imap.examine(name)
            if kept.get("uidvalidity") == imap.uidvalidity:
                last, uids = int(kept.get("uid") or 0), []
                if imap.uidnext == 0 or imap.uidnext > last + 1:
                    # `*` is the newest one, also where that is below the range
                    uids = [one for one in await imap.search(b"UID", b"%d:*" % (last + 1)) if one > last]
            else:
                since = _moment(kept.get("newest")) - RESYNC if kept.get("newest") else self._history()
                uids = await imap.search(b"SINCE", _day(since))
                # nothing below what there was when it was looked has to be looked at again
                last = max(0, (imap.uidnext or max(uids, default=0) + 1) - 1) if not uids else uids[0] - 1
            pages, done, newest = await self._pages(imap, name, uids, kept.get("newest"))
        left = [one for one in uids if one > done]
        place = {"mailbox": name, "uidvalidity": imap.uidvalidity, "uid": max(last, done)}
        return Page(pages, {**place, "newest": newest}, more=bool(left))

    async def fetch(self, wanted: Sequence[Wanted]) -> list[RawPage]:
        """Mails by their Message-IDs, out of the mailbox and the folder of sent mail."""
        pages: dict[str, RawPage] = {}
        names = [name for name in (self.config.mailbox, self.config.sent_mailbox) if name is not None]
        async with self.mailbox.read() as imap:
            for name in names:
                missing = [item.ref for item in wanted if item.ref not in pages]
                if missing:
                    await imap.examine(name)
                for ref in missing:
                    uids = await by_id(imap, ref)
                    found, _, _ = await self._pages(imap, name, uids[:1], None, answers=(ref,))
                    if found:
                        pages[ref] = found[0]
        return [pages.get(item.ref) or RawPage(b"", note={"gone": True}, gone=(item.ref,)) for item in wanted]

    async def download(self, attachment: Attachment) -> Downloaded:
        """One file out of its mail, found by UID, or by Message-ID where UIDs have changed."""
        place = _lookup(attachment)
        async with self.mailbox.read() as imap:
            for name in (place.get("mailbox"), self.config.mailbox, self.config.sent_mailbox):
                if not isinstance(name, str):
                    continue
                await imap.examine(name)
                if name == place.get("mailbox") and imap.uidvalidity == place.get("uidvalidity"):
                    uids = [int(place["uid"])]
                else:
                    uids = await by_id(imap, str(place.get("id")))
                sizes = await imap.fetch(uids[:1], b"(UID RFC822.SIZE)")
                for uid, told in sizes.items():
                    size = _number(told.get(b"RFC822.SIZE"))
                    if size > self.config.largest:
                        raise Rejected(
                            f"the mail has {size} bytes; at most {self.config.largest} are read", code="large"
                        )
                    raw = (await imap.fetch([uid], b"(UID BODY.PEEK[])", most=size + BEGINNING)).get(uid, {})
                    body = raw.get(b"BODY[]")
                    if isinstance(body, bytes):
                        return await asyncio.to_thread(_part, body, int(place["part"]))
        raise Gone("the mail is not in the mailbox any more", code="no_mail")

    async def listen(self) -> AsyncIterator[Hint]:
        """Follow the mailbox with IDLE. It only says that there is something: the poll reads it.

        The first hint has polled what came while nobody listened.
        """
        async with self.mailbox.read(bounded=False) as imap:
            await imap.examine(self.config.mailbox)
            async for _ in imap.idle():
                yield Hint(stream="inbox")

    def _history(self) -> datetime:
        return self.time.now() - timedelta(days=self.config.history_days)

    async def _pages(
        self, imap: Imap, name: str, uids: Sequence[int], newest: str | None, *, answers: Sequence[str] = ()
    ) -> tuple[list[RawPage], int, str | None]:
        """Pages of the first of these mails, as many as fit; the last UID that is done with; the newest time."""
        sizes = await imap.fetch(uids[:AT_ONCE], b"(UID RFC822.SIZE INTERNALDATE)")
        pages: list[RawPage] = []
        done, room = max(uids[:1], default=1) - 1, ROOM
        for uid in uids[:AT_ONCE]:
            told = sizes.get(uid)
            if told is None:  # deleted meanwhile
                done = uid
                continue
            size = _number(told.get(b"RFC822.SIZE"))
            if pages and size > room:
                break
            room -= size
            received = internal_date(told.get(b"INTERNALDATE"))
            note: dict[str, Any] = {"mailbox": name, "uidvalidity": imap.uidvalidity, "uid": uid, "size": size}
            if received is not None:
                note["received"] = received.isoformat()
                newest = max(newest or "", note["received"])
            body = await self._body(imap, uid, size, note)
            if body is not None:
                pages.append(RawPage(body, stream=name, note=note, answers=answers))
            done = uid
        return pages, done, newest

    async def _body(self, imap: Imap, uid: int, size: int, note: dict[str, Any]) -> bytes | None:
        whole = size <= self.config.largest
        items = b"(UID BODY.PEEK[])" if whole else b"(UID BODY.PEEK[]<0.%d>)" % BEGINNING
        most = (size if whole else BEGINNING) + BEGINNING
        found = (await imap.fetch([uid], items, most=most)).get(uid, {})
        body = found.get(b"BODY[]" if whole else b"BODY[]<0>")
        if not isinstance(body, bytes):
            return None
        if not whole:
            note["truncated"] = True
        if len(body) <= KEPT_WHOLE:
            return body
        reduced, note["sizes"] = await asyncio.to_thread(without_files, body)
        return reduced


async def by_id(imap: Imap, id: str) -> list[int]:
    """UIDs of the mails with that Message-ID in the open mailbox."""
    if not id.isascii() or not id.isprintable():
        return []
    return await imap.search(b"HEADER", b"Message-ID", f"<{id}>")


def without_files(raw: bytes) -> tuple[bytes, dict[str, int]]:
    """A large mail without the bytes of its files, which stay on the server; and how large these are, by part.

    Headers, structure and words are as they were. A mail that cannot be written again stays whole.
    """
    try:
        mail = read(raw)
        sizes = {str(one.index): len(one.body) for one in mail.files}
        for index, (part, _) in enumerate(list(leaves(mail.head, mail))):
            if str(index) in sizes:
                part.set_payload([] if part.get_content_type() == "message/rfc822" else "")
        kept = BytesIO()
        head = raw[: header_end(raw)]
        for name in set(mail.head.keys()):
            if name.lower() not in ("content-type", "content-transfer-encoding"):
                del mail.head[name]
        BytesGenerator(kept, mangle_from_=False, maxheaderlen=0).flatten(mail.head)
        body = kept.getvalue()
        return head + b"\n\n" + body[header_end(body) :].lstrip(b"\r\n"), sizes
    except (Malformed, ValueError, LookupError, TypeError, AttributeError, RecursionError):
        return raw, {}


def internal_date(value: Value) -> datetime | None:
    """`22-Nov-2026 10:00:00 +0100`; None when unreadable."""
    if not isinstance(value, bytes):
        return None
    try:
        day, clock, zone = value.decode("ascii").split()
        number, month, year = day.split("-")
        text = f"{year}-{_MONTHS.index(month.title()) + 1:02}-{int(number):02}T{clock}{zone[:3]}:{zone[3:]}"
        return datetime.fromisoformat(text).astimezone(UTC)
    except (ValueError, UnicodeDecodeError, OverflowError):
        return None


def _part(raw: bytes, index: int) -> Downloaded:
    for one in read(raw).files:
        if one.index == index:
            return Downloaded(one.body, one.media_type, one.name)
    raise Gone("the mail has no such part", code="no_part")


def _lookup(attachment: Attachment) -> dict[str, Any]:
    try:
        place = json.loads(attachment.lookup or "")
        int(place["part"])
    except (ValueError, KeyError, TypeError):
        raise Rejected("the attachment does not say which mail it is in", code="no_lookup") from None
    return dict(place)


def _day(at: datetime) -> bytes:
    """A date as SEARCH has it; the server takes it in its own zone, so a day earlier."""
    at = at.astimezone(UTC) - timedelta(days=1)
    return f"{at.day}-{_MONTHS[at.month - 1]}-{at.year}".encode()


def _moment(text: object) -> datetime:
    return datetime.fromisoformat(str(text))


def _number(value: Value) -> int:
    return int(value) if isinstance(value, bytes) and value.isdigit() else 0
