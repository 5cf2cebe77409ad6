"""Mails that nobody wrote: bounces, receipts, out-of-office notes, lists. They are never answered."""

from __future__ import annotations

import re
from dataclasses import dataclass
from email.message import Message

from gateway_email.addresses import ids_of
from gateway_email.mime import Mail

LOOP = "X-Helpdesk-Gateway"
"""The header that all mails of this plugin carry."""
_BULK = frozenset({"bulk", "junk", "list", "auto_reply"})
_DAEMONS = ("mailer-daemon@", "postmaster@")


@dataclass(frozen=True)
class Bounce:
    """What became of a mail of ours, as a mail server tells it."""

    message_id: str | None
    action: str
    """`failed`, `delayed`, `delivered`, `relayed` or `expanded` (RFC 3464)."""
    reason: str


def bounce_of(mail: Mail) -> Bounce | None:
    """The report that a mail is; None for any other mail."""
    if mail.head.get_content_type() != "multipart/report":
        return None
    if str(mail.head.get_param("report-type", "")).lower() != "delivery-status":
        return None
    action, status, diagnostic, original = "", "", "", None
    content = mail.head.get_payload()
    for part in content if isinstance(content, list) else ():
        if not isinstance(part, Message):
            continue
        kind, inner = part.get_content_type(), part.get_payload()
        if kind == "message/delivery-status" and isinstance(inner, list):
            for fields in inner:
                if isinstance(fields, Message):
                    action = action or str(fields.get("action", "")).strip().lower()
                    status = status or str(fields.get("status", "")).strip()
                    diagnostic = diagnostic or str(fields.get("diagnostic-code", ""))
        elif kind == "message/rfc822" and isinstance(inner, list) and inner and isinstance(inner[0], Message):
            original = str(inner[0].get("message-id", ""))
        elif kind == "text/rfc822-headers":
            found = re.search(r"(?im)^message-id:\s*(<[^<>\s]{1,2000}>)", str(inner)[:100_000])
            original = found[1] if found else None
    ids = ids_of(original)
    told = " ".join(f"{status[:20]} {diagnostic.partition(';')[2] or diagnostic}".split())[:300]
    return Bounce(ids[0] if ids else None, action, told or "the mail could not be delivered")


def automatic_reason(mail: Mail, own_lists: tuple[str, ...]) -> str | None:
    """Why nobody wrote this mail by hand (RFC 3834, RFC 2919); None for a person's.

    `X-Auto-Response-Suppress` alone does not say so: Exchange puts it into mails that people wrote.
    """
    submitted = mail.raw("auto-submitted").partition(";")[0].strip().lower()
    if submitted not in ("", "no"):
        return f"Auto-Submitted: {submitted[:40]}"
    if mail.head.get_content_type() == "multipart/report":
        return "a report"
    if mail.raw("return-path").strip() == "<>":
        return "without a return path"
    sender = mail.raw("from").lower()
    if any(daemon in sender for daemon in _DAEMONS):
        return "from a mail server"
    for name in ("x-autoreply", "x-autorespond", "x-autoreply-from"):
        if mail.raw(name).strip().lower() not in ("", "no"):
            return f"{name}"
    listed = mail.raw("list-id")
    if listed:
        return None if any(one.lower() in listed.lower() for one in own_lists) else f"List-Id: {listed[:80]}"
    precedence = mail.raw("precedence").strip().lower()
    return f"Precedence: {precedence}" if precedence in _BULK else None


def authentication(mail: Mail, authserv_ids: tuple[str, ...]) -> str:
    """What our own mail server found of the sender: `pass`, `fail` or `none`. Headers of other servers are forgeable
    (RFC 8601, section 5)."""
    ours = {one.lower() for one in authserv_ids}
    for value in mail.raws("authentication-results"):
        server, _, results = value.partition(";")
        if server.strip().split(" ")[0].lower() not in ours:
            continue
        found = re.search(r"\bdmarc\s*=\s*(\w+)", results, re.IGNORECASE)
        if found is None:
            return "none"
        return "pass" if found[1].lower() == "pass" else "fail" if found[1].lower() == "fail" else "none"
    return "none"
