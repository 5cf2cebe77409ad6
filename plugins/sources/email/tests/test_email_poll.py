"""Reading the mailbox: UIDs, UIDVALIDITY, large mails, files, single mails, IDLE, and what breaks on the way."""

from __future__ import annotations

import asyncio
from email.message import EmailMessage
from typing import Any

import pytest

from gateway_schemas.errors import Gone, Malformed, Reauthorise, Rejected, Retry
from gateway_schemas.interaction import Wanted

HELP, RITA = "help@acme.example", "rita@home.example"


def ids(news: list[Any]) -> list[str]:
    return [one.external_id for one in news]


async def test_new_mails_once_and_in_order(post: Any) -> None:
    sent = [post.twin.direct_message(RITA, HELP, f"mail {number}") for number in range(45)]
    first = await post.page()
    assert (len(first.pages), first.more) == (20, True)
    news, cursor = await post.drain()
    assert ids(news) == sent
    assert await post.drain(cursor=cursor) == ([], cursor)
    later = post.twin.direct_message(RITA, HELP, "one more")
    assert ids((await post.drain(cursor=cursor))[0]) == [later]


async def test_what_comes_while_paging_is_not_lost(post: Any) -> None:
    sent = [post.twin.direct_message(RITA, HELP, f"mail {number}") for number in range(25)]
    first = await post.page()
    sent.append(post.twin.direct_message(RITA, HELP, "meanwhile"))
    news, _ = await post.drain(cursor=first.cursor)
    assert ids([one for page in first.pages for one in post.read(page)]) + ids(news) == sent


async def test_reading_changes_nothing(post: Any) -> None:
    """Nobody's unread mail becomes read."""
    await post.written()
    assert [one.flags for one in post.twin.accounts[HELP].inbox.mails] == [set()]


async def test_another_uidvalidity_begins_anew_near_the_newest(post: Any) -> None:
    """All UIDs are void then. What comes twice has the same identity."""
    old = post.twin.direct_message(RITA, HELP, "long ago")
    post.time.pass_by(days=10)
    recent = post.twin.direct_message(RITA, HELP, "recent")
    _, cursor = await post.drain()
    post.twin.accounts[HELP].inbox.renumber()
    new = post.twin.direct_message(RITA, HELP, "new")
    news, cursor = await post.drain(cursor=cursor)
    assert ids(news) == [recent, new]
    assert old not in ids(news)
    assert (await post.drain(cursor=cursor))[0] == []


async def test_the_first_poll_reads_as_far_back_as_it_is_told(post: Any) -> None:
    post.twin.direct_message(RITA, HELP, "long ago")
    post.time.pass_by(days=40)
    new = post.twin.direct_message(RITA, HELP, "new")
    news, cursor = await post.drain()
    assert ids(news) == [new]
    # of an empty stretch the next round begins behind what was there
    post.time.pass_by(days=40)
    assert (await post.drain())[0] == []
    assert (await post.drain(cursor=cursor))[0] == []


@pytest.mark.parametrize("without", ["UIDNEXT", "SASL-IR"])
async def test_servers_that_have_less(post: Any, without: str) -> None:
    post.twin.without.add(without)
    first = post.twin.direct_message(RITA, HELP, "one")
    news, cursor = await post.drain()
    assert ids(news) == [first]
    # `5:*` names the newest mail also where that is below five
    assert (await post.drain(cursor=cursor))[0] == []


async def test_a_mail_deleted_meanwhile_is_passed_over(post: Any) -> None:
    post.twin.direct_message(RITA, HELP, "one")
    _, cursor = await post.drain()
    gone, stays = (post.twin.direct_message(RITA, HELP, text) for text in ("gone", "stays"))
    inbox = post.twin.accounts[HELP].inbox
    inbox.mails = [one for one in inbox.mails if gone.encode() not in one.raw]
    assert ids((await post.drain(cursor=cursor))[0]) == [stays]


async def test_large_files_stay_on_the_server(post: Any) -> None:
    """Of a large mail its words are stored, not its files; these are there to be had, also after UIDs have changed."""
    picture, paper = bytes(range(256)) * 800, b"%PDF" * 10_000
    id = post.twin.direct_message(
        RITA, HELP, "Look", files=[("a b.png", picture, "image/png"), ("../x.pdf", paper, "application/pdf")]
    )
    page = await post.page()
    (raw,) = page.pages
    assert len(raw.body) < 5000
    (message,) = post.read(raw)
    assert (message.external_id, message.text) == (id, "Look")
    assert [(one.name, one.media_type, one.size) for one in message.attachments] == [
        ("a b.png", "image/png", len(picture)),
        ("x.pdf", "application/pdf", len(paper)),
    ]
    for renumbered in (False, True):
        if renumbered:
            post.twin.accounts[HELP].inbox.renumber()
        got = [await post.plugin.download(one) for one in message.attachments]
        assert [(one.body, one.media_type) for one in got] == [(picture, "image/png"), (paper, "application/pdf")]
    post.twin.accounts[HELP].inbox.mails.clear()
    with pytest.raises(Gone):
        await post.plugin.download(message.attachments[0])
    with pytest.raises(Rejected):
        await post.plugin.download(message.attachments[0].model_copy(update={"lookup": "{}"}))


async def test_of_a_huge_mail_the_beginning_is_read_and_that_is_said(post: Any) -> None:
    post.settings = {"largest": 100_000}
    post.twin.direct_message(RITA, HELP, "Begins here\n" + "x" * 70 + "\n" * 150_000)
    (message,), _ = await post.drain()
    assert message.text.startswith("Begins here")
    assert "only its beginning was read" in message.text
    assert message.extra["truncated"] is True


async def test_pages_are_bounded_in_bytes(post: Any) -> None:
    for _ in range(2):
        post.twin.direct_message(RITA, HELP, "Look", files=[("a", bytes(1_600_000), "application/x-a")])
    page = await post.page()
    assert (len(page.pages), page.more) == (1, True)


async def test_single_mails_by_their_ids(post: Any) -> None:
    wanted = post.twin.direct_message(RITA, HELP, "asked for")
    refs = (wanted, "nothing@nowhere", 'quote"@x', "größe@x")
    found, *missing = await post.plugin.fetch([Wanted(ref=ref) for ref in refs])
    assert (ids(post.read(found)), found.answers) == ([wanted], (wanted,))
    assert [one.gone for one in missing] == [(ref,) for ref in refs[1:]]


async def test_sent_mail_is_the_brands_own(post: Any) -> None:
    mail = EmailMessage()
    mail["From"], mail["To"], mail["Message-ID"] = HELP, RITA, "<by-hand@acme.example>"
    mail["Subject"] = "Your parcel"
    mail.set_content("It is on its way")
    post.twin.accounts[HELP].sent.add(mail.as_bytes(), post.time.now())
    (own,), _ = await post.drain("sent")
    assert (own.direction, own.external_id, own.reply_target) == ("outbound", "by-hand@acme.example", None)
    post.settings = {"sent_mailbox": None}
    assert (await post.drain("sent"))[0] == []


async def test_idle_hints(post: Any) -> None:
    """A hint carries nothing: the poll reads what came. The first is for what came while nobody listened."""
    hints = post.plugin.listen()
    assert (await asyncio.wait_for(anext(hints), 5)).stream == "inbox"
    waiting = asyncio.ensure_future(anext(hints))
    while not post.twin.idling:
        await asyncio.sleep(0)
    id = post.twin.direct_message(RITA, HELP, "now")
    hint = await asyncio.wait_for(waiting, 5)
    assert (hint.stream, hint.page) == ("inbox", None)
    assert ids((await post.drain())[0]) == [id]
    await hints.aclose()
    while post.twin.idling:
        await asyncio.sleep(0)


async def test_a_connection_that_died_without_a_word_is_noticed(post: Any) -> None:
    """The server, or what stands between, has forgotten it: nothing is told, and nothing answered."""
    async with post.plugin._mailbox.read(bounded=False) as imap:
        await imap.examine("INBOX")
        post.twin.deaf = True
        post.twin.direct_message(RITA, HELP, "nobody hears of it")
        with pytest.raises(Retry) as caught:
            async for _ in imap.idle(last=0.05, answer_in=0.2):
                pass
        assert caught.value.code == "timeout"


async def test_a_client_that_waits_is_no_webhook_under_way(post: Any) -> None:
    """Whoever plays the twin waits for its webhooks: a mailbox that somebody listens to is none."""
    hints = post.plugin.listen()
    waiting = asyncio.ensure_future(anext(hints))
    while not post.twin.idling:
        await asyncio.sleep(0)
    await asyncio.wait_for(post.twin.settle(), 5)
    post.twin.direct_message(RITA, HELP, "now")
    await asyncio.wait_for(waiting, 5)
    await hints.aclose()
    while post.twin.idling:
        await asyncio.sleep(0)


async def test_a_stream_that_breaks_says_so(post: Any) -> None:
    post.fault("IMAP", "IDLE", "NO [UNAVAILABLE] later")
    with pytest.raises(Retry):
        await anext(post.plugin.listen())


@pytest.mark.parametrize(
    ("command", "answer", "error"),
    [
        ("AUTHENTICATE", "NO [AUTHENTICATIONFAILED] no", Reauthorise),
        ("AUTHENTICATE", "NO [UNAVAILABLE] later", Retry),
        ("EXAMINE", "NO [NONEXISTENT] no such folder", Rejected),
        ("EXAMINE", "NO [INUSE] later", Retry),
        ("UID SEARCH", "BAD what", Malformed),
        ("UID SEARCH", "", Retry),
        ("UID FETCH", "", Retry),
        ("CAPABILITY", "", Retry),
    ],
)
async def test_what_goes_wrong_is_named_by_its_recovery(post: Any, command: str, answer: str, error: Any) -> None:
    post.twin.direct_message(RITA, HELP, "one")
    post.fault("IMAP", command, answer)
    with pytest.raises(error):
        await post.page()
    assert len((await post.drain())[0]) == 1


async def test_nobody_answers_in_time(post: Any) -> None:
    """The plugin gives up by the host's deadline, and says that nothing happened."""

    async def mute(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read()
        writer.close()

    server = await asyncio.start_server(mute, "127.0.0.1", 0)
    async with server:
        port = server.sockets[0].getsockname()[1]
        post.settings = {"imap": {"host": "127.0.0.1", "port": port, "security": "none"}}
        post.sockets._seconds = 0.05
        with pytest.raises(Retry) as caught:
            await post.page()
        assert caught.value.code == "timeout"
    post.settings = {"imap": {"host": "127.0.0.1", "port": port, "security": "none"}}
    with pytest.raises(Retry) as caught:
        await post.page()
    assert caught.value.code == "not_sent"


@pytest.mark.parametrize(
    "said",
    [
        b"HTTP/1.1 400 Bad Request\r\n\r\n",
        b"* BYE too many\r\n",
        b"* OK hello\r\n" + b"x" * 100_000 + b"\r\n",
        b"* OK hello\r\n* CAPABILITY {999999999}\r\n",
        b"* OK hello\r\n* CAPABILITY {5}\r\nab",
        b"",
    ],
)
async def test_servers_that_speak_nonsense(post: Any, said: bytes) -> None:
    """Bounded, and never another error than the contract's."""

    async def talk(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(said)
        await writer.drain()
        writer.close()

    server = await asyncio.start_server(talk, "127.0.0.1", 0)
    async with server:
        port = server.sockets[0].getsockname()[1]
        post.settings = {"imap": {"host": "127.0.0.1", "port": port, "security": "none"}}
        with pytest.raises((Retry, Malformed)):
            await post.page()
