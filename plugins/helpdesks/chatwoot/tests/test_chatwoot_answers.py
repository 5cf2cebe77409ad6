"""What agents do: answers by webhook and by repair, notes, what others write, legs, states, files."""

from __future__ import annotations

import json
from datetime import timedelta
from typing import Any

import pytest

from gateway_schemas.errors import Malformed, Unverified
from gateway_schemas.interaction import Ignored, Wanted
from gateway_schemas.signatures import sign_hmac
from gateway_schemas.ticket import AgentNote, AgentReply, OwnComment, TicketChanged
from gateway_schemas.webhook import RawDelivery, WebhookRequest


def of(news: list[Any], kind: type) -> list[Any]:
    return [one for one in news if isinstance(one, kind)]


async def test_an_answer_comes_by_webhook_at_once(desk: Any) -> None:
    """Signed, and so taken at its word: nothing is asked for."""
    await desk.installed()
    ticket = await desk.created()
    await desk.hooks()
    desk.twin.requests.clear()
    written = desk.twin.agent_comment(ticket, "Ada", "Sorry, **Alice**.\n\nWe look into it", status="pending")
    news = await desk.hooks()
    (reply,) = of(news, AgentReply)
    assert (reply.ticket, reply.external_id) == (str(ticket), str(written))
    assert (reply.text, reply.origin, reply.public, reply.leg) == (
        "Sorry, Alice.\n\nWe look into it",
        *("composer", True, None),
    )
    assert (reply.author.name, reply.author.email, reply.at) == ("Ada", "ada@acme.example", desk.time.now())
    assert of(news, TicketChanged)[-1].status == "waiting"
    assert desk.requests() == []


async def test_fetched_and_told_are_the_same(desk: Any) -> None:
    """A webhook's shape and the API's differ in half of their fields; what they say does not."""
    await desk.installed()
    ticket = await desk.created()
    desk.twin.agent_comment(ticket, "Ada", "Hello", tags=("reply-private",), files=[("a.pdf", b"x", "application/pdf")])
    told, read = await desk.hooks(), await desk.read(ticket)
    (first,), (second,) = of(told, AgentReply), of(read, AgentReply)
    assert first.model_copy(update={"author": second.author}) == second
    assert first.author.external_id == second.author.external_id
    assert first.leg == "private"
    (file,) = first.attachments
    assert (file.name, file.media_type, file.size) == ("a.pdf", "application/pdf", 1)
    assert (await desk.plugin.download(file)).body == b"x"


async def test_what_no_customer_may_get(desk: Any) -> None:
    await desk.installed()
    ticket = await desk.created()
    await desk.told(ticket, "k2", "own note", author=None, public=False)
    await desk.told(ticket, "k3", "own words", author=None)
    desk.twin.agent_comment(ticket, "Ada", "between us", public=False)
    desk.twin.agent_comment(ticket, "Ada", "canned", via="rule")
    desk.twin.agent_comment(ticket, "Ada", "canned note", via="rule", public=False)
    desk.twin.agent_comment(ticket, desk.twin.api_user.id, "by another integration")
    desk.twin.bot_message(ticket, "I am a bot")
    desk.twin.bot_message(ticket, "How did we do?", template=True)
    for news in (await desk.hooks(), await desk.read(ticket)):
        assert [(one.text, one.origin) for one in of(news, AgentReply)] == [
            ("canned", "rule"),
            ("by another integration", "api"),
            ("I am a bot", "rule"),
        ]
        assert [one.text for one in of(news, AgentNote)] == ["between us"]
        assert [one.key for one in of(news, OwnComment)] == ["k1-c", "k2-c", "k3-c"]


async def test_a_deleted_answer_is_none(desk: Any) -> None:
    await desk.installed()
    ticket = await desk.created()
    desk.twin.delete_message(ticket, desk.twin.agent_comment(ticket, "Ada", "Oops"))
    await desk.hooks()
    assert of(await desk.read(ticket), AgentReply) == []


@pytest.mark.parametrize(
    ("labels", "leg"),
    [((), None), (("reply_public",), "public"), (("reply-public", "reply-private"), "private"), (("reply",), None)],
)
async def test_legs(desk: Any, labels: tuple[str, ...], leg: str | None) -> None:
    ticket = await desk.created()
    desk.twin.agent_comment(ticket, "Ada", "Hello", tags=labels)
    (reply,) = of(await desk.read(ticket), AgentReply)
    assert reply.leg == leg


async def test_states_both_ways(desk: Any) -> None:
    await desk.installed()
    ticket = await desk.created()
    seen = []
    for status in ("open", "pending", "snoozed", "resolved"):
        desk.twin.change(ticket, {"status": status})
        seen.append(of(await desk.read(ticket), TicketChanged)[-1].status)
    assert seen == ["open", "waiting", "waiting", "solved"]
    for ours, theirs in (("low", "low"), ("normal", "medium"), ("high", "high"), ("urgent", "urgent")):
        await desk.push(desk.change(f"p{ours}", external_id=str(ticket), comments=(), priority=ours))
        assert desk.twin.conversations[ticket].priority == theirs
        state = of(await desk.read(ticket), TicketChanged)[-1]
        assert (state.priority, state.ticket_key) == (ours, "gateway:k1")
    desk.twin.change(ticket, {"priority": "none", "assignee": "Ada"})
    state = of(await desk.read(ticket), TicketChanged)[-1]
    assert (state.priority, state.assignee.name) == (None, "Ada")


async def test_other_inboxes_are_not_ours(desk: Any) -> None:
    await desk.installed()
    other = desk.twin.add_inbox("Website", channel_type="Channel::WebWidget")["id"]
    stranger = desk.twin.desk.open(desk.twin.add_contact("w:1", "Eve"), other)
    desk.twin.agent_comment(stranger.id, "Ada", "Hello Eve")
    assert {type(one) for one in await desk.hooks()} == {Ignored}
    assert {type(one) for one in await desk.read(stranger.id)} == {Ignored}
    page = await desk.plugin.poll("conversations", None)
    assert page.pages == []


async def test_a_gone_conversation_is_said_to_be(desk: Any) -> None:
    assert await desk.read(77) == [TicketChanged(ticket="77", deleted=True)]
    assert await desk.read("x") == []


# the door


def request_of(desk: Any, body: bytes, headers: dict[str, str], query: bytes = b"") -> WebhookRequest:
    raw = [(name.encode(), value.encode()) for name, value in headers.items()]
    return WebhookRequest("POST", "/hooks/1", query, raw, body, desk.time.now())


async def test_signatures(desk: Any) -> None:
    """Over the timestamp and the bytes as they came, with any of the secrets, within five minutes."""
    desk.settings = {"webhook_secrets": ["new", "old"]}
    plugin, body = desk.plugin, '{"event":"message_created","text":"héllo"}'.encode()
    stamp = str(int(desk.time.now().timestamp()))

    def headers(secret: str, stamp: str = stamp, signed: bytes = body) -> dict[str, str]:
        return {
            "x-chatwoot-timestamp": stamp,
            "x-chatwoot-signature": sign_hmac(stamp.encode() + b"." + signed, secret, prefix="sha256="),
        }

    for secret in ("new", "old"):
        assert plugin.verify(request_of(desk, body, headers(secret))) is None
    late = str(int((desk.time.now() - timedelta(minutes=6)).timestamp()))
    for wrong in (
        {},
        headers("foreign"),
        headers("new", signed=body + b" "),
        headers("new", late),
        {**headers("new"), "x-chatwoot-timestamp": late},
        {**headers("new"), "x-chatwoot-timestamp": "soon"},
        {"x-chatwoot-timestamp": stamp},
    ):
        with pytest.raises(Unverified):
            plugin.verify(request_of(desk, body, wrong))
    # with secrets known the token of the address is worth nothing
    desk.settings = {"webhook_secrets": ["new"], "url_token": "token"}
    with pytest.raises(Unverified):
        desk.plugin.verify(request_of(desk, body, {}, b"token=token"))


def test_the_published_example_of_a_signature() -> None:
    """Timestamp, a full stop, body: computed apart from this code."""
    signed = b"1795340400." + '{"id":1,"text":"héllo"}'.encode()
    expected = "sha256=3bb15be8ca2c2ad74d897d24063cc3b614e8886b13f34c3ae71ea75801f92f46"
    assert sign_hmac(signed, "test-secret", prefix="sha256=") == expected


async def test_releases_that_do_not_sign_give_hints_only(desk: Any) -> None:
    desk.twin.desk.signs = False
    report = await desk.installed()
    assert set(report.config) >= {"url_token", "webhook_id"}
    assert "webhook_secrets" not in report.config
    ticket = await desk.created()
    await desk.hooks()
    desk.twin.agent_comment(ticket, "Ada", "Hello")
    assert await desk.hooks() == [Wanted(ref=str(ticket), kind="ticket", reason="thin", at=desk.time.now())]
    with pytest.raises(Unverified):
        desk.plugin.verify(request_of(desk, b"{}", {}, b"token=guess"))
    desk.settings = {"url_token": None}
    with pytest.raises(Unverified):
        desk.plugin.verify(request_of(desk, b"{}", {}, b"token="))


@pytest.mark.parametrize(
    "body",
    [b"", b"[]", b"{", b"{}", b'{"event":"message_created"}', b'{"event":"conversation_updated","id":"x"}'],
)
async def test_bodies_that_chatwoot_does_not_send(desk: Any, body: bytes) -> None:
    with pytest.raises(Malformed):
        desk.plugin.normalise(RawDelivery("d", "webhook", body, desk.time.now()))


async def test_events_that_mean_nothing_to_us(desk: Any) -> None:
    for event in ("webwidget_triggered", "contact_created", "conversation_typing_on", "something_new"):
        body = json.dumps({"event": event, "id": 1}).encode()
        (news,) = desk.plugin.normalise(RawDelivery("d", "webhook", body, desk.time.now()))
        assert isinstance(news, Ignored)


# the poll


def opened(desk: Any, count: int) -> list[int]:
    """Conversations of ours, made without the plugin."""
    known = list(desk.twin.desk.contacts.values()) or [desk.twin.add_contact("fake:alice", "Alice")]
    return [desk.twin.desk.open(known[0], desk.twin.inbox).id for _ in range(count)]


async def drain(desk: Any, cursor: Any = None) -> tuple[list[str], Any]:
    seen: list[str] = []
    while True:
        page = await desk.plugin.poll("conversations", cursor)
        for raw in page.pages:
            news = desk.plugin.normalise(RawDelivery("d", "poll", raw.body, desk.time.now(), stream=raw.stream))
            seen += [one.ref for one in news]
        cursor = json.loads(json.dumps(page.cursor))
        if not page.more:
            return seen, cursor


async def test_the_poll_brings_what_webhooks_did_not(desk: Any) -> None:
    tickets = opened(desk, 60)
    desk.time.pass_by(minutes=3)
    desk.twin.agent_comment(60, "Ada", "Hello")
    seen, cursor = await drain(desk)
    assert sorted(map(int, seen)) == tickets
    desk.time.pass_by(minutes=10)
    # what lies within the overlap shows again
    assert (await drain(desk, cursor))[0] == ["60"]
    desk.twin.agent_comment(7, "Ada", "Hello")
    desk.twin.change(9, {"status": "resolved"})
    desk.time.pass_by(minutes=1)
    seen, cursor = await drain(desk, cursor)
    assert seen == ["9", "7", "60"]
    assert [one.text for one in await desk.read("7") if isinstance(one, AgentReply)] == ["Hello"]


async def test_what_moves_while_a_poll_is_paging_is_not_lost(desk: Any) -> None:
    for _ in range(60):
        opened(desk, 1)
        desk.time.pass_by(seconds=1)
    first = await desk.plugin.poll("conversations", None)
    desk.time.pass_by(seconds=1)
    desk.twin.agent_comment(3, "Ada", "Hello")  # from the last page to the top of the first
    seen, cursor = await drain(desk, first.cursor)
    assert "3" not in seen
    assert "3" in (await drain(desk, cursor))[0]


async def test_one_that_fails_does_not_take_the_others_pages(desk: Any) -> None:
    for number in range(6):
        await desk.created(f"k{number}")
    desk.fault("status_before", method="GET", path="/conversations/5$", status=500)
    wanted = [Wanted(ref=str(number), kind="ticket") for number in range(1, 7)]
    pages = await desk.plugin.fetch(wanted)
    assert [page.answers for page in pages] == [("1",), ("2",), ("3",), ("4",), ("6",)]
