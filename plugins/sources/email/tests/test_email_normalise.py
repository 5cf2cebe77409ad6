"""What mails say beyond the contract's goldens; and what hostile ones may not do."""

from __future__ import annotations

import json
import time
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import BaseModel

from gateway_email.addresses import address_of, ids_of, people_of
from gateway_email.config import EmailConfig
from gateway_email.mime import decoded
from gateway_email.plugin import EmailSource
from gateway_email.reading import internal_date, without_files
from gateway_schemas.errors import Malformed, Unverified
from gateway_schemas.interaction import Ignored, Interaction
from gateway_schemas.plugin import Setup
from gateway_schemas.time import SystemTime
from gateway_schemas.webhook import RawDelivery, WebhookRequest

IN = Path(__file__).parent.parent / "fixtures" / "in"
MAILS = sorted(IN.glob("*.eml"))
RECEIVED = datetime(2026, 11, 22, 9, 15, tzinfo=UTC)
NOTE = {"mailbox": "INBOX", "uidvalidity": 1712, "uid": 9031, "size": 800, "received": RECEIVED.isoformat()}
SERVER = {"host": "mail.acme.example", "port": 993}
CONFIG = {
    "address": "Help@Acme.example",
    "imap": SERVER,
    "smtp": {**SERVER, "port": 465},
    "password": "test-password",
    "authserv_ids": ["mx.acme.example"],
    "forms": ["form@acme.example"],
}


def plugin(**more: Any) -> EmailSource:
    return EmailSource(Setup(time=SystemTime(), config=EmailConfig.model_validate({**CONFIG, **more})))


def stored(raw: bytes, **note: Any) -> RawDelivery:
    return RawDelivery("d", "poll", raw, datetime(2026, 11, 22, 10, tzinfo=UTC), stream="INBOX", note={**NOTE, **note})


def message(raw: bytes, **more: Any) -> Interaction:
    (one,) = plugin(**more).normalise(stored(raw))
    assert isinstance(one, Interaction)
    return one


@pytest.mark.parametrize("path", MAILS, ids=lambda path: path.stem)
def test_mails(path: Path) -> None:
    """What they say is told by the contract's goldens; lines that end in LF alone, as some programs store them, say
    the same."""
    raw = path.read_bytes()
    if path.stem not in ("mail__no_sender", "mail__files", "mail__without_id_or_date"):
        news = plugin().normalise(stored(raw))
        assert plugin().normalise(stored(raw.replace(b"\r\n", b"\n"))) == news


def test_nothing_comes_by_webhook() -> None:
    with pytest.raises(Unverified):
        plugin().verify(WebhookRequest("POST", "/", b"", (), b"", RECEIVED))


def test_a_list_of_ones_own_is_no_bulk_mail() -> None:
    """A shared address that is a group: customers' mails come through it."""
    raw = (IN / "mail__newsletter.eml").read_bytes()
    assert isinstance(plugin().normalise(stored(raw))[0], Ignored)
    assert message(raw, own_lists=["news.shop.example"]).text == "Sale!"


def test_a_forged_second_mail_of_the_same_id_changes_nothing() -> None:
    """It has the same identity and the same revision: the host keeps the first."""
    raw = (IN / "mail__plain.eml").read_bytes()
    first, second = message(raw), message(raw.replace(b"broken", b"fine, thanks, I withdraw"))
    assert (first.external_id, first.revision) == (second.external_id, second.revision)


def test_what_the_mailbox_does_not_have() -> None:
    (one,) = plugin().normalise(RawDelivery("d", "fetch", b"", RECEIVED, note={"gone": True}))
    assert isinstance(one, Ignored)


@pytest.mark.parametrize("raw", [b"", b"\r\n\r\n", b"no headers at all", b"\x00" * 100])
def test_what_is_no_mail(raw: bytes) -> None:
    with pytest.raises(Malformed):
        plugin().normalise(stored(raw))


def nested(depth: int) -> bytes:
    raw = b"From: a@b.example\r\nMessage-ID: <n@x>\r\n"
    for number in range(depth):
        raw += b'Content-Type: multipart/mixed; boundary="b%d"\r\n\r\n--b%d\r\n' % (number, number)
    return raw + b"Content-Type: text/plain\r\n\r\ndeep\r\n"


HEAD = b"From: a@b.example\r\nMessage-ID: <h@x>\r\n"


@pytest.mark.parametrize(
    "raw",
    [
        nested(25),
        nested(200),
        nested(3000),
        HEAD + b'Content-Type: multipart/mixed; boundary="b"\r\n\r\n' + b"--b\r\n\r\nx\r\n" * 4_000,
        HEAD + b"References: " + b"<a@b> " * 100_000 + b"\r\n\r\nx",
        HEAD + b"References: " + b"<a@b> " * 20_000 + b"\r\n\r\nx",
        HEAD + b"To: " + b"a@b, (" * 20_000 + b"\r\n\r\nx",
        HEAD + b"Subject: " + b"=?utf-8?q?" * 10_000 + b"\r\n\r\nx",
        HEAD + b"Content-Type: text/html\r\n\r\n" + b"<div><a href='https://x.example'>" * 15_000,
        HEAD + b"Content-Type: text/html\r\n\r\n" + b"<" * 100_000,
        HEAD + b"Content-Type: text/html\r\n\r\n" + b"<!--" * 60_000,
        HEAD + b"Content-Type: text/html\r\n\r\n" + b"<![" * 60_000,
        HEAD + b"Content-Type: text/html\r\n\r\n" + b"<a " * 30_000,
        HEAD + b"Content-Type: text/html\r\n\r\n" + b"<a " * 30_000 + b">",
        HEAD + b"Content-Type: text/html\r\n\r\n" + b"</a" * 60_000 + b">",
        HEAD + b"Content-Type: text/html\r\n\r\n" + b"<a href='" * 60_000 + b">",
        HEAD + b"Content-Type: text/html\r\n\r\n" + b"&" * 200_000,
        HEAD + b"Content-Type: text/plain\r\n\r\n" + b"On " * 100_000,
        HEAD + b"Content-Type: text/plain\r\n\r\n" + b"> \n" * 30_000 + b"x",
        HEAD + b"Content-Type: text/plain\r\n\r\n" + b"On 1.1.2026 a@b\n" * 20_000,
        HEAD + b"Content-Type: text/plain; charset=idna\r\n\r\n" + b"x" * 100_000,
        HEAD + b"Content-Type: text/plain; charset=zlib\r\n\r\nx",
        HEAD + b"Content-Transfer-Encoding: base64\r\n\r\n" + b"!" * 100_000,
        HEAD + b"Content-Type: multipart/mixed\r\n\r\nno boundary",
        HEAD + b"Content-Type: message/rfc822\r\n\r\n" * 200,
        HEAD + b"Date: " + b"9" * 5000 + b"\r\n\r\nx",
        HEAD + b"Subject: a\x00b \xf0\x9f\x98\xa2 \xff\r\n\r\nx\x00y \xed\xa0\x80",
        HEAD + b"Authentication-Results: mx.acme.example; " + b"dmarc=" * 50_000 + b"\r\n\r\nx",
    ],
    ids=lambda raw: raw[43:80].decode("latin-1"),
)
def test_hostile_mails_cost_little(raw: bytes) -> None:
    """Read, or refused as malformed, within a moment; what comes out can be stored."""
    began = time.process_time()
    try:
        for one in plugin().normalise(stored(raw)):
            one.model_dump_json()
    except Malformed:
        pass
    without_files(raw)
    assert time.process_time() - began < 2.0


@given(st.data())
@settings(max_examples=40, deadline=None)
def test_any_damage(data: st.DataObject) -> None:
    """Bytes lost, doubled or changed anywhere: never another error than the contract's."""
    raw = bytearray(data.draw(st.sampled_from(MAILS)).read_bytes())
    for _ in range(data.draw(st.integers(1, 6))):
        at = data.draw(st.integers(0, len(raw) - 1))
        match data.draw(st.sampled_from("dcr")):
            case "d":
                del raw[at : at + data.draw(st.integers(1, 40))]
            case "c":
                raw[at] = data.draw(st.integers(0, 255))
            case _:
                raw[at:at] = raw[at : at + 60]
        if not raw:
            break
    try:
        for one in plugin().normalise(stored(bytes(raw))):
            assert isinstance(one, BaseModel)
            one.model_dump_json()
    except Malformed:
        pass


@given(st.text(max_size=60))
@settings(max_examples=60, deadline=None)
def test_people(text: str) -> None:
    for _, address in people_of(text):
        assert address_of(address) == address


def test_addresses() -> None:
    assert people_of(
        '"A, B" <A@x.example>, (c@x.example) d@x.example, Friends: e@x.example, "f\\" <g@x>" <h@x.example>;'
    ) == [
        ("A, B", "a@x.example"),
        ("", "d@x.example"),
        ("", "e@x.example"),
        ("f' <g@x>", "h@x.example"),
    ]
    assert people_of("alice@a.example )bob@b.example, undisclosed-recipients:;, <>") == []
    assert ids_of(" <a@b>\t<c@d><e f> Message of Sunday <g@h>") == ["a@b", "c@d", "g@h"]
    assert len(ids_of(f"<{'x' * 1500}@y>")[0]) < 100


def test_charsets() -> None:
    assert decoded("Größe".encode("latin-1"), "iso-8859-1") == "Größe"
    assert decoded("Größe".encode("cp1252"), "utf-8") == "Größe"
    assert decoded("Größe".encode(), "x-unknown") == "Größe"
    assert decoded("日本".encode("iso-2022-jp"), "ISO-2022-JP") == "日本"


def test_internal_dates() -> None:
    assert internal_date(b"22-Nov-2026 10:00:00 +0100") == datetime(2026, 11, 22, 9, tzinfo=UTC)
    assert internal_date(b" 2-Nov-2026 10:00:00 +0000") == datetime(2026, 11, 2, 10, tzinfo=UTC)
    assert [internal_date(one) for one in (None, b"", b"soon", b"32-Nov-2026 10:00:00 +0000")] == [None] * 4


def test_attachments_say_where_they_are() -> None:
    file = message((IN / "mail__files.eml").read_bytes()).attachments[0]
    assert json.loads(file.lookup or "") == {
        "mailbox": "INBOX",
        "uidvalidity": 1712,
        "uid": 9031,
        "id": "5@mail.example",
        "part": 2,
    }
