"""What a stored mail says: a message, news of one that we sent, or nothing that a person wrote."""

from __future__ import annotations

import contextlib
import hashlib
import json
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

from gateway_email.addresses import claim_at, ids_of, is_own_id, normal_id, token_in
from gateway_email.automatic import LOOP, authentication, automatic_reason, bounce_of
from gateway_email.config import EmailConfig
from gateway_email.mime import File, Mail, read
from gateway_email.quotes import new_words
from gateway_schemas.claims import claim_in
from gateway_schemas.errors import Malformed
from gateway_schemas.interaction import (
    Attachment,
    Author,
    Ignored,
    Interaction,
    Normalised,
    ReplyTarget,
    SendStatus,
)
from gateway_schemas.webhook import RawDelivery

REVISION = "1"
"""Mails are never edited: what comes again under an id that is known is the same mail, or somebody's forgery of it."""
MOST_REFERENCES = 40
RECIPIENTS = ("to", "cc", "delivered-to", "x-original-to", "envelope-to", "x-envelope-to", "x-delivered-to")
"""Where the address stands that a mail was sent to: mail servers keep the envelope's under one of these names."""
BELIEVED = timedelta(days=2)
"""How far a mail's own date may be from the time our mail server took it in; else the server's time counts."""


def normalise(delivery: RawDelivery, config: EmailConfig) -> list[Normalised]:
    """Read one mail. Raises Malformed for what is none."""
    if delivery.note.get("gone"):
        return [Ignored(reason="the mailbox has no such mail")]
    mail = read(delivery.body)
    bounce = bounce_of(mail)
    senders = mail.people("from")
    outbound = bool(senders) and senders[0][1] in config.own
    if bounce is not None:
        return [_bounced(mail, delivery, config)]
    if not outbound:
        reason = automatic_reason(mail, config.own_lists)
        if reason is not None:
            return [Ignored(reason=f"nobody wrote this mail: {reason}")]
        if mail.raw(LOOP):
            return [Ignored(reason="a mail of the gateway's came back")]
    if not senders:
        raise Malformed("the mail has no readable sender (From)", code="no_sender")
    return [_message(mail, delivery, config, senders, outbound)]


def _message(
    mail: Mail, delivery: RawDelivery, config: EmailConfig, senders: list[tuple[str, str]], outbound: bool
) -> Interaction:
    id = message_id(mail, delivery.body)
    sender = _writer(mail, senders[0], config)
    recipients = [*mail.people("to"), *mail.people("cc"), *mail.people("delivered-to")]
    named, detail = token_in([address for _, address in recipients], config.own)
    references = ids_of(mail.raw("references"))
    parents = ids_of(mail.raw("in-reply-to"))
    parent = next((one for one in (named, *parents[:1], *references[-1:]) if one is not None and one != id), None)
    at, received = _times(mail, delivery)
    own = outbound and is_own_id(id, config.domain)
    subject = (mail.header("subject") or "")[:500]
    files = tuple(_attachment(one, delivery, id) for one in mail.files)
    trust = authentication(mail, config.authserv_ids)
    cut = delivery.note.get("truncated") is True
    words = mail.text if own else new_words(mail.text)
    if cut:
        words = (
            f"{words}\n\n[This mail of {delivery.note.get('size')} bytes is too large; only its beginning was read.]"
        )
    extra: dict[str, Any] = {"authentication": trust}
    for name, value in (
        ("to", [address for _, address in recipients]),
        ("plus", detail),
        ("truncated", cut or not mail.whole or None),
    ):
        if value:
            extra[name] = value
    return Interaction(
        external_id=id,
        revision=REVISION,
        account=config.address,
        kind="direct_message",
        visibility="private",
        direction="outbound" if outbound else "inbound",
        author=Author(
            external_id=sender[1],
            handle=sender[1],
            name=sender[0] or None,
            verified=True if trust == "pass" else None,
        ),
        text=words.strip(),
        title=subject or None,
        language=_language(mail),
        root=next((one for one in references if one != id), None),
        in_reply_to=parent,
        claim=None if outbound or trust == "fail" else _claim(mail, subject, config),
        attachments=files,
        reply_target=None if outbound else _target(mail, id, sender, subject, references),
        published_at=at,
        visible_at=received,
        extra=extra,
    )


def _claim(mail: Mail, subject: str, config: EmailConfig) -> str | None:
    """The one-time code that the mail was sent to, or that stands in its subject."""
    addresses = [address for name in RECIPIENTS for _, address in mail.people(name)]
    return claim_at(addresses, config.own) or claim_in(subject)


def message_id(mail: Mail, raw: bytes) -> str:
    """The mail's identity: its Message-ID; of one that has none, a hash of all of it."""
    ids = ids_of(mail.raw("message-id"))
    if ids:
        return ids[0]
    bare = mail.raw("message-id").strip("<> ")
    if bare and " " not in bare:
        return normal_id(bare)
    return f"{hashlib.sha256(raw).hexdigest()[:40]}@no-message-id"


def _writer(mail: Mail, sender: tuple[str, str], config: EmailConfig) -> tuple[str, str]:
    """Name and address of who wrote: of a contact form the one that its Reply-To names."""
    if sender[1] not in config.forms:
        return sender
    return next(iter(mail.people("reply-to")), sender)


def _target(mail: Mail, id: str, sender: tuple[str, str], subject: str, references: Sequence[str]) -> ReplyTarget:
    """An answer goes where the writer asks for it (RFC 5322, 3.6.2), below this mail."""
    asked = mail.people("reply-to")
    kept = list(references[-MOST_REFERENCES:])
    if len(references) > MOST_REFERENCES:
        kept = [references[0], *kept[1:]]
    return ReplyTarget(
        kind="direct_message",
        ref=id,
        recipient=asked[0][1] if asked else sender[1],
        extra={"subject": subject, "references": kept},
    )


def _bounced(mail: Mail, delivery: RawDelivery, config: EmailConfig) -> Normalised:
    """A delivery report is believed of mails that have our ids: only who got one of these knows them."""
    bounce = bounce_of(mail)
    assert bounce is not None
    if bounce.message_id is None or not is_own_id(bounce.message_id, config.domain):
        return Ignored(reason=f"a delivery report about a mail that is none of ours: {bounce.reason}")
    if bounce.action != "failed":
        return Ignored(reason=f"a delivery report: {bounce.action or 'without an action'}, {bounce.reason}")
    at, _ = _times(mail, delivery)
    return SendStatus(
        external_id=bounce.message_id, account=config.address, state="rejected", reason=bounce.reason, at=at
    )


def _times(mail: Mail, delivery: RawDelivery) -> tuple[datetime, datetime]:
    """When it was written and when our mail server had it. A date that cannot be is not believed."""
    told = delivery.note.get("received")
    received = delivery.received_at
    if isinstance(told, str):
        with contextlib.suppress(ValueError):
            received = datetime.fromisoformat(told).astimezone(UTC)
    date = mail.date
    return (date if date is not None and abs(date - received) <= BELIEVED else received), received


def _attachment(file: File, delivery: RawDelivery, id: str) -> Attachment:
    place = {name: delivery.note.get(name) for name in ("mailbox", "uidvalidity", "uid")}
    return Attachment(
        external_id=str(file.index),
        media_type=file.media_type,
        name=file.name,
        size=_size(delivery, file),
        lookup=json.dumps({**place, "id": id, "part": file.index}),
    )


def _size(delivery: RawDelivery, file: File) -> int:
    """The bytes of a file; those of one that was left out of what is stored stand in the note."""
    sizes = delivery.note.get("sizes")
    kept = sizes.get(str(file.index)) if isinstance(sizes, dict) else None
    return kept if isinstance(kept, int) and kept >= 0 else len(file.body)


def _language(mail: Mail) -> str | None:
    told = mail.raw("content-language").partition(",")[0].strip()
    return told if 1 < len(told) <= 35 and told.replace("-", "").isalnum() and told.isascii() else None
