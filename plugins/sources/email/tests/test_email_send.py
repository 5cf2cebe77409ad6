"""Answers as mails: how they look, that they go once, what is known after an interruption, bounces, encryption."""

from __future__ import annotations

import ssl
from datetime import UTC, datetime, timedelta
from email.message import EmailMessage
from pathlib import Path
from typing import Any

import httpx2
import pytest

from gateway_email.addresses import own_id
from gateway_email.config import EmailConfig
from gateway_email.sending import reply_subject, shortened
from gateway_schemas.errors import Hold, Reauthorise, Rejected, Retry, Unknown
from gateway_schemas.interaction import Ignored, Interaction, SendStatus
from gateway_schemas.reply import Absent, Found, OutgoingFile, Rendered, SendIntent
from gateway_schemas.testing.sockets import DirectSockets
from gateway_schemas.testing.twin import Fault

HELP, RITA = "help@acme.example", "rita@home.example"


def intent(post: Any, rendered: Rendered, key: str = "k1") -> SendIntent:
    return SendIntent(key=key, rendered=rendered, started_at=post.time.now())


async def test_an_answer(post: Any) -> None:
    """Below what it answers, with its words exactly, under a Message-ID that follows from the key."""
    message = await post.written(subject="Größe: Bestellung 4711")
    text = "Sehr geehrte Frau Example,\n\n> is no quote\n.\nFrom here on 🙏\n-- \nAda"
    rendered = post.rendered(message, text)
    sent = await post.plugin.send(rendered, "k1")
    (mail,) = post.twin.outbox
    assert sent.external_id == own_id("k1", "acme.example") == mail["message-id"].strip("<>")
    assert (mail["from"], mail["to"], mail["subject"]) == (f"Acme Help <{HELP}>", RITA, "Re: Größe: Bestellung 4711")
    assert mail["in-reply-to"] == mail["references"] == f"<{message.external_id}>"
    assert mail.get_content().replace("\r\n", "\n").rstrip("\n") == text
    assert (mail["auto-submitted"], mail["bcc"], sent.sent_at) == (None, None, post.time.now())
    # the copy among sent mail is the echo that proves it, with the very words
    (own,), _ = await post.drain("sent")
    assert (own.external_id, own.direction, own.text) == (sent.external_id, "outbound", text)
    assert (rendered.length, rendered.limit, rendered.visibility) == (len(text), None, "private")


async def test_a_conversation_stays_together(post: Any) -> None:
    message = await post.written()
    sent = await post.plugin.send(post.rendered(message), "k1")
    again = await post.written("Thanks", in_reply_to=sent.external_id)
    assert (again.in_reply_to, again.root) == (sent.external_id, message.external_id)
    await post.plugin.send(post.rendered(again), "k2")
    assert post.twin.outbox[1]["references"].split() == [
        f"<{one}>" for one in (message.external_id, sent.external_id, again.external_id)
    ]
    assert post.twin.outbox[1]["subject"] == "Re: Question"


async def test_replies_find_home_where_references_are_lost(post: Any) -> None:
    """With `plus` the answer asks for replies at an address that names it."""
    post.settings = {"plus": True}
    sent = await post.plugin.send(post.rendered(await post.written()), "k1")
    address = post.twin.outbox[0]["reply-to"]
    assert address == f"help+{sent.external_id.partition('@')[0]}@acme.example"
    post.twin.direct_message(RITA, address, "No references here")
    news, _ = await post.drain()
    assert news[-1].in_reply_to == sent.external_id
    post.twin.direct_message(RITA, "help+newsletter@acme.example", "Hello")
    news, _ = await post.drain()
    assert (news[-1].in_reply_to, news[-1].extra["plus"]) == (None, "newsletter")


async def test_files_go_along(post: Any) -> None:
    message = await post.written()
    file = OutgoingFile(sha256=post.files.keep(b"%PDF"), media_type="application/pdf", name="Größe\n.pdf", size=4)
    rendered = post.rendered(message, files=(file.model_copy(update={"name": "Größe.pdf"}),))
    await post.plugin.send(rendered, "k1")
    (attachment,) = post.twin.outbox[0].iter_attachments()
    assert (attachment.get_filename(), attachment.get_content()) == ("Größe.pdf", b"%PDF")
    lost = file.model_copy(update={"sha256": "0" * 64, "name": "x"})
    with pytest.raises(Rejected):
        await post.plugin.send(post.rendered(message, files=(lost,)), "k2")
    with pytest.raises(Rejected):
        post.rendered(message, files=(file.model_copy(update={"size": 20_000_000}),))
    assert len(post.twin.outbox) == 1


@pytest.mark.parametrize(
    ("change", "code"),
    [
        ({"recipient": "rita@home.example\r\nBcc: all@home.example"}, "no_recipient"),
        ({"recipient": None}, "no_recipient"),
        ({"recipient": HELP}, "own_address"),
        ({"kind": "comment"}, "wrong_target"),
    ],
)
async def test_targets_that_take_no_mail(post: Any, change: dict[str, Any], code: str) -> None:
    message = await post.written()
    target = message.reply_target.model_copy(update=change)
    with pytest.raises(Rejected) as caught:
        post.rendered(message.model_copy(update={"reply_target": target}))
    assert caught.value.code == code
    with pytest.raises(Rejected):
        post.rendered(message, "  \n")


async def test_no_header_can_be_smuggled_in(post: Any) -> None:
    """Not by a subject, not by a Message-ID that a customer's mail program made up."""
    post.twin.deliver(
        b"From: rita@home.example\r\nTo: help@acme.example\r\nMessage-ID: <a@b>\r\n"
        b"Subject: =?utf-8?q?Hi=0D=0ABcc:_all=40home.example?=\r\n\r\nHello\r\n",
        [HELP],
    )
    (message,), _ = await post.drain()
    rendered = post.rendered(message)
    await post.plugin.send(rendered, "k1")
    (mail,) = post.twin.outbox
    assert mail["bcc"] is None
    assert mail["subject"] == "Re: Hi Bcc: all@home.example"
    bad = rendered.model_copy(update={"body": {**rendered.body, "in_reply_to": "a>\r\nBcc: <x@y"}})
    with pytest.raises(Rejected):
        await post.plugin.send(bad, "k2")
    assert len(post.twin.outbox) == 1


@pytest.mark.parametrize(
    ("command", "answer", "error"),
    [
        ("MAIL", "451 4.7.1 greylisted", Retry),
        ("RCPT", "452 4.2.2 mailbox full", Retry),
        ("RCPT", "550 5.1.1 no such user", Rejected),
        ("RCPT", "", Retry),
        ("DATA", "452 4.3.1 no room", Retry),
        ("DATA", "554 5.7.1 spam", Rejected),
        ("DATA", "", Unknown),
    ],
)
async def test_refusals_are_told_apart_by_code(post: Any, command: str, answer: str, error: Any) -> None:
    rendered = post.rendered(await post.written())
    post.fault("SMTP", command, answer)
    with pytest.raises(error):
        await post.plugin.send(rendered, "k1")
    assert post.twin.outbox == []


@pytest.mark.parametrize("saves", [True, False])
async def test_an_answer_that_got_lost_on_the_way_back(post: Any, saves: bool) -> None:
    """The mail is out and nobody said so. Where the provider keeps sent mail that proves it; else nothing does."""
    post.twin.accounts[HELP].saves_sent = saves
    rendered = post.rendered(await post.written())
    post.fault("SMTP", "DATA", kind="drop_after")
    with pytest.raises(Unknown):
        await post.plugin.send(rendered, "k1")
    assert len(post.twin.outbox) == 1
    found = await post.plugin.find(intent(post, rendered))
    lag = post.plugin.capabilities.index_lag
    if saves:
        assert found == Found(external_id=own_id("k1", "acme.example"), at=post.time.now())
        assert lag == timedelta(minutes=5)
    else:
        assert (found, lag) == (Absent(), None)
    assert isinstance(await post.plugin.find(intent(post, rendered, "other")), Absent)


async def test_a_copy_that_cannot_be_kept_fails_nothing(post: Any) -> None:
    rendered = post.rendered(await post.written())
    post.fault("IMAP", "APPEND", "NO [OVERQUOTA] full")
    await post.plugin.send(rendered, "k1")
    assert (len(post.twin.outbox), post.twin.accounts[HELP].sent.mails) == (1, [])
    # nor where the provider keeps it: then there is one copy
    post.twin.accounts[HELP].saves_sent = True
    await post.plugin.send(rendered, "k2")
    assert len(post.twin.accounts[HELP].sent.mails) == 1


async def test_a_stop_keeps_the_mail_back(post: Any) -> None:
    """Asked right before the words would leave."""

    class Stopped(DirectSockets):
        async def permit(self) -> None:
            raise Hold("outbound is stopped")

    rendered = post.rendered(await post.written())
    post.sockets = Stopped()
    with pytest.raises(Hold):
        await post.plugin.send(rendered, "k1")
    assert post.twin.outbox == []


async def test_bounces_come_back_as_news_of_the_answer(post: Any) -> None:
    sent = await post.plugin.send(post.rendered(await post.written()), "k1")
    _, cursor = await post.drain()
    post.twin.bounce(post.twin.outbox[0], action="delayed")
    post.twin.bounce(post.twin.outbox[0])
    foreign = EmailMessage()
    foreign["From"], foreign["To"], foreign["Message-ID"] = HELP, RITA, "<theirs@elsewhere>"
    post.twin.bounce(foreign)
    delayed, failed, other = (await post.drain(cursor=cursor))[0]
    assert isinstance(delayed, Ignored)
    assert isinstance(other, Ignored)
    assert isinstance(failed, SendStatus)
    assert (failed.external_id, failed.state) == (sent.external_id, "rejected")
    assert failed.reason == "5.1.1 550 no such user"


async def test_our_own_mail_that_comes_back_is_no_message(post: Any) -> None:
    """Forwarded to ourselves, or by somebody's loop: never answered."""
    await post.plugin.send(post.rendered(await post.written()), "k1")
    _, cursor = await post.drain()
    raw = post.twin.outbox[0].as_bytes()
    post.twin.deliver(raw, [HELP])
    post.twin.deliver(raw.replace(b"Acme Help <help@acme.example>", b"list@home.example", 1), [HELP])
    own, looped = (await post.drain(cursor=cursor))[0]
    assert isinstance(own, Interaction)
    assert own.direction == "outbound"
    assert isinstance(looped, Ignored)


# who logs in, and how


async def test_logins_that_are_refused(post: Any) -> None:
    rendered = post.rendered(await post.written())
    post.settings = {"password": "wrong"}
    for call in (post.plugin.send(rendered, "k1"), post.page(), post.plugin.discover()):
        with pytest.raises(Reauthorise) as caught:
            await call
        assert "wrong" not in str(caught.value)
    assert {one.code for one in (await post.plugin.check()).findings} >= {"credentials", "smtp_credentials"}
    assert "secret of" not in repr(post.plugin.config)


async def test_a_token_instead_of_a_password(post: Any) -> None:
    """Made from the refresh token, kept while it lives, made anew when a server refuses it."""
    async with httpx2.AsyncClient(transport=httpx2.ASGITransport(post.twin.app)) as http:
        post.http = http
        oauth = {"token_url": "http://twin/token", "client_id": "c", "refresh_token": "twin-refresh"}
        post.settings = {"password": None, "oauth": oauth}
        assert post.plugin.hosts_of(post.plugin.config) == ("http://twin",)
        message = await post.written()
        await post.plugin.send(post.rendered(message), "k1")
        assert (len(post.twin.access_tokens), len(post.twin.outbox)) == (1, 1)
        post.twin.without.add("SASL-IR")
        await post.page()
        post.twin.access_tokens.clear()
        with pytest.raises(Reauthorise):
            await post.page()
        await post.page()
        post.twin.access_tokens.clear()
        with pytest.raises(Reauthorise):
            await post.plugin.send(post.rendered(message), "k2")
        await post.plugin.send(post.rendered(message), "k2")
        post.time.pass_by(hours=2)
        post.twin.refresh_tokens.clear()
        with pytest.raises(Reauthorise) as caught:
            await post.page()
        assert caught.value.code == "invalid_grant"


@pytest.fixture(scope="module")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A certificate for 127.0.0.1 with its key, signed by itself."""
    pytest.importorskip("cryptography", reason="certificates are made with cryptography")
    import ipaddress

    from cryptography import x509
    from cryptography.hazmat.primitives import hashes, serialization
    from cryptography.hazmat.primitives.asymmetric import ec

    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "twin")])
    names = x509.SubjectAlternativeName([x509.IPAddress(ipaddress.ip_address("127.0.0.1"))])
    now = datetime.now(UTC)
    made = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(1)
        .not_valid_before(now - timedelta(days=1))
        .not_valid_after(now + timedelta(days=1))
        .add_extension(names, critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .sign(key, hashes.SHA256())
    )
    path = tmp_path_factory.mktemp("tls") / "twin.pem"
    private = key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    path.write_bytes(private + made.public_bytes(serialization.Encoding.PEM))
    return path


@pytest.mark.parametrize("mode", ["tls", "starttls"])
async def test_encrypted_connections(post: Any, certificate: Path, mode: Any) -> None:
    """Both ways, with the certificate checked."""
    server = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    server.load_cert_chain(certificate)
    twin = type(post.twin)(time=post.time, imap_security=mode, smtp_security=mode, tls=server)
    twin.accounts = post.twin.accounts
    post.twin = twin
    async with twin.listen():
        # a certificate that nobody vouches for: nothing is said, no password above all
        for call in (post.page(), post.plugin.discover()):
            with pytest.raises(Retry):
                await call
        post.sockets = DirectSockets(ssl.create_default_context(cafile=str(certificate)))
        message = await post.written()
        await post.plugin.send(post.rendered(message), "k1")
        assert len(twin.outbox) == 1
        assert (await post.plugin.check()).ok


async def test_without_encryption_nothing_is_said(post: Any) -> None:
    """A server that offers no STARTTLS, or somebody on the way who takes the offer out."""
    rendered = post.rendered(await post.written())
    for part in ("imap", "smtp"):
        config = post.twin.connection_config(HELP)
        post.settings = {part: {**config[part], "security": "starttls"}}
        with pytest.raises(Rejected) as caught:
            await (post.page() if part == "imap" else post.plugin.send(rendered, "k1"))
        assert caught.value.code == "no_tls"
        assert "no_tls" in {one.code for one in (await post.plugin.check()).findings}


async def test_words_put_in_before_the_encryption_are_not_believed(post: Any) -> None:
    """Whoever sits on the way could else answer the first encrypted command (CVE-2021-38371 and its kin)."""
    twin = type(post.twin)(time=post.time, imap_security="starttls", tls=ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER))
    twin.injected = b"* CAPABILITY IMAP4rev1\r\ng3 OK done\r\n"
    twin.accounts = post.twin.accounts
    post.twin = twin
    async with twin.listen():
        with pytest.raises(Rejected) as caught:
            await post.page()
        assert caught.value.code == "no_tls"


def test_a_password_in_the_clear_is_for_this_machine_only() -> None:
    server = {"host": "mail.example", "port": 143, "security": "none"}
    with pytest.raises(ValueError, match="in the clear"):
        EmailConfig.model_validate({"address": HELP, "imap": server, "smtp": server, "password": "x"})


# setting up


async def test_install_finds_the_folder_of_sent_mail(post: Any) -> None:
    post.settings = {"sent_mailbox": None}
    assert {one.code for one in (await post.plugin.check()).findings} == {"no_sent", "unauthenticated"}
    assert (await post.plugin.install(dry_run=True)).config == {}
    assert (await post.plugin.install(dry_run=False)).config == {"sent_mailbox": "Sent"}
    sent = post.twin.accounts[HELP].folders.pop("Sent")
    assert [step.action for step in (await post.plugin.install(dry_run=False)).steps] == ["ask"]
    post.twin.add_folder(HELP, "INBOX.Envoy&AOk-s")
    assert (await post.plugin.install(dry_run=False)).config == {"sent_mailbox": "INBOX.Envoyés"}
    post.settings = {"sent_mailbox": "INBOX.Envoyés"}
    await post.plugin.send(post.rendered(await post.written()), "k1")
    assert len(post.twin.accounts[HELP].folders["INBOX.Envoy&AOk-s"].mails) == 1
    post.twin.accounts[HELP].folders["Sent"] = sent


async def test_check_names_what_is_wrong(post: Any) -> None:
    post.settings = {"authserv_ids": ["mx.acme.example"]}
    assert (await post.plugin.check()).findings == ()
    post.settings |= {"mailbox": "Nowhere", "sent_mailbox": "Neither"}
    post.twin.without.add("IDLE")
    health = await post.plugin.check()
    assert {one.code for one in health.findings} == {"no_mailbox", "no_sent_mailbox", "no_idle"}
    assert not health.ok


def test_subjects_and_references() -> None:
    assert [reply_subject(one) for one in ("Hi", "Re: Hi", "AW: RE: Sv: Hi", "", " a\n b ", "Regarding: x")] == [
        *("Re: Hi", "Re: Hi", "Re: Hi", "Re: your message", "Re: a b"),
        "Re: Regarding: x",
    ]
    many = [str(number) for number in range(50)]
    assert shortened(many) == ["0", *many[-20:]]
    assert shortened(many[:21]) == many[:21]


def test_every_fault_kind_of_the_base_is_a_fault_here() -> None:
    """The twin has its own servers: what the base strikes in HTTP must not pass by silently."""
    from gateway_email.twin import EmailTwin

    twin = EmailTwin()
    for kind in ("status_before", "latency"):
        twin.faults = [Fault(kind, method="IMAP", path="X")]  # type: ignore[arg-type]
        assert twin.fault("IMAP", "X") == "drop"
    for kind in ("status_after", "timeout_after", "drop_after"):
        twin.faults = [Fault(kind, method="SMTP", path="DATA")]  # type: ignore[arg-type]
        assert twin.late_fault("SMTP", "DATA")
