"""The way back, against a receiver over HTTP: what is sent, what its answers mean, and what a lost answer may cost."""

from __future__ import annotations

import asyncio
import contextlib
import json
from collections.abc import AsyncIterator, Callable, Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import httpx2
import pytest
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import BaseRoute, Route

from gateway_inbound.replies import message_id_of
from gateway_inbound.source import InboundSource
from gateway_inbound.twin import InboundTwin, Manners
from gateway_schemas.errors import GatewayError, Hold, Reauthorise, Rejected, Retry, Unknown
from gateway_schemas.interaction import Author, Interaction, ReplyTarget
from gateway_schemas.reply import Draft, Rendered, SendIntent, Sent
from gateway_schemas.testing.twin import Fault, Twin
from gateway_schemas.time import SystemTime
from gateway_schemas.webhook import RawDelivery, WebhookRequest

MakeSource = Callable[..., InboundSource]

OTHER = "whsec_" + "QUJD" * 10


WRITTEN = datetime(2026, 5, 4, 12, 34, 10, tzinfo=UTC)


def rendered(source: InboundSource, text: str = "Sorry, we are on it. 🙏", target: str = "c-77") -> Rendered:
    answered = Interaction(
        external_id=target,
        revision="1",
        account="default",
        kind="comment",
        visibility="public",
        author=Author(external_id="u"),
        published_at=datetime(2026, 5, 4, tzinfo=UTC),
    )
    place = ReplyTarget(kind="comment", ref=target)
    return source.render(
        Draft(
            reply_id="r",
            text=text,
            account="default",
            target=place,
            visibility="public",
            interaction=answered,
            written_at=WRITTEN,
        )
    )


class Tomorrow(SystemTime):
    """A day later."""

    def now(self) -> datetime:
        """The time then."""
        return super().now() + timedelta(days=1)


def created(twin: InboundTwin) -> list[dict[str, Any]]:
    return [effect.data for effect in twin.ledger if effect.kind == "reply.created"]


async def test_what_was_decided_on_arrives_signed_and_under_its_key(connected: MakeSource, twin: InboundTwin) -> None:
    source = connected()
    decided = rendered(source)
    sent = await source.send(decided, "reply:r:1")
    assert (sent.external_id, sent.url, sent.pending) == ("reply-1", "https://forum.example/t/reply-1", False)
    assert created(twin) == [{"webhook_id": "reply:r:1", "reply": decided.body}]


async def test_a_repeated_try_keeps_the_events_time_and_has_its_own_in_the_header(make_source: MakeSource) -> None:
    """Standard Webhooks 1.0.0: the timestamp of the attempt is updated, that of the original event remains the same."""
    tries: list[tuple[bytes, str]] = []

    class Receiver(Twin):
        def routes(self) -> Sequence[BaseRoute]:
            async def take(request: Request) -> Response:
                tries.append((await request.body(), request.headers["webhook-timestamp"]))
                return Response(status_code=503 if len(tries) == 1 else 204)

            return [Route("/", take, methods=["POST"])]

    async with Receiver().serve() as address, httpx2.AsyncClient(trust_env=False) as http:
        source = make_source(http, reply_url=address, reply_secret=OTHER)
        decided = rendered(source)
        with pytest.raises(Unknown):
            await source.send(decided, "key-1")
        source.setup = replace(source.setup, time=Tomorrow())
        await source.send(decided, "key-1")
    (first, began), (second, later) = tries
    assert json.loads(first)["timestamp"] == "2026-05-04T12:34:10Z"
    assert first == second, "the same webhook-id is the same message"
    assert int(later) - int(began) >= 86_400


async def test_a_receiver_that_names_nothing_knows_the_reply_by_its_webhook_id(
    connected: MakeSource, twin: InboundTwin
) -> None:
    twin.manners.names_replies = False
    source = connected()
    sent = await source.send(rendered(source), "key-1")
    assert sent.external_id == "key-1"
    assert "key-1" in twin.replies


@pytest.mark.parametrize(("key", "same"), [("a:b/c=1", True), ("a.b", False), ("x" * 300, False), ("é", False)])
def test_every_key_has_one_webhook_id_without_a_full_stop(key: str, same: bool) -> None:
    assert (message_id_of(key) == key) is same
    assert "." not in message_id_of(key)
    assert message_id_of(key) == message_id_of(key) != message_id_of(key + "2")


@pytest.mark.parametrize(
    "fault",
    [
        Fault("status_after", status=500),
        Fault("status_after", status=503, headers={"Retry-After": "5"}),
        Fault("drop_after"),
        Fault("timeout_after", seconds=0.7),
        Fault("status_before", status=502),
    ],
    ids=lambda fault: f"{fault.kind}-{fault.status}",
)
async def test_promise_5_a_lost_answer_is_unknown_and_the_same_key_is_taken_once(
    fault: Fault, connected: MakeSource, twin: InboundTwin
) -> None:
    source = connected()
    twin.faults.append(fault)
    with pytest.raises(Unknown):
        await source.send(rendered(source), "key-1")
    assert source.capabilities.idempotent_send
    sent = await source.send(rendered(source), "key-1")
    assert sent.external_id == "reply-1"
    assert len(created(twin)) == 1


async def test_promise_5_find_never_guesses_and_never_sends(connected: MakeSource, twin: InboundTwin) -> None:
    for dedupes in (True, False):
        source = connected(receiver_dedupes=dedupes)
        assert source.capabilities.index_lag is None
        intent = SendIntent(key="key-1", rendered=rendered(source), started_at=datetime.now(UTC) - timedelta(days=1))
        with pytest.raises(Rejected) as caught:
            await source.find(intent)
        assert caught.value.code == "no_find"
    assert twin.requests == []


async def test_a_receiver_may_say_409_to_a_repetition_if_it_names_the_reply(
    connected: MakeSource, twin: InboundTwin
) -> None:
    twin.manners.conflict_on_repeat = True
    source = connected()
    first = await source.send(rendered(source), "key-1")
    assert (await source.send(rendered(source), "key-1")).external_id == first.external_id
    twin.manners.names_replies = False
    with pytest.raises(Hold) as caught:
        await source.send(rendered(source), "key-1")
    assert caught.value.code == "conflict"
    assert len(created(twin)) == 1


async def test_another_message_under_a_used_key_is_not_taken_for_sent(connected: MakeSource, twin: InboundTwin) -> None:
    source = connected()
    await source.send(rendered(source), "key-1")
    with pytest.raises(Hold):
        await source.send(rendered(source, "something else"), "key-1")
    assert len(created(twin)) == 1


@pytest.mark.parametrize(
    ("status", "error", "code"),
    [
        (301, Rejected, "redirected"),
        (308, Rejected, "redirected"),
        (303, Unknown, "http_303"),
        (400, Rejected, "http_400"),
        (401, Reauthorise, "http_401"),
        (403, Rejected, "http_403"),
        (404, Rejected, "http_404"),
        (408, Unknown, "http_408"),
        (410, Rejected, "http_410"),
        (422, Rejected, "http_422"),
        (429, Retry, "http_429"),
    ],
)
async def test_each_status_has_its_recovery(
    status: int, error: type[GatewayError], code: str, connected: MakeSource, twin: InboundTwin
) -> None:
    headers = {"Retry-After": "7", "Location": twin.reply_url}
    twin.faults.append(Fault("status_before", status=status, headers=headers))
    source = connected()
    with pytest.raises(error) as caught:
        await source.send(rendered(source), "key-1")
    assert type(caught.value) is error
    assert caught.value.code == code
    if isinstance(caught.value, Retry):
        assert caught.value.after == timedelta(seconds=7)
    assert created(twin) == []


async def test_the_receivers_own_words_reach_the_agent_cut_to_size_and_printable(
    connected: MakeSource, twin: InboundTwin
) -> None:
    source = connected()
    with pytest.raises(Rejected, match=r"refused it with 422: data\.in_reply_to: c-0 is not here, or was deleted"):
        await source.send(rendered(source, target="c-0"), "key-1")
    body = b'{"detail": "bell \\u0007 ' + b"x" * 5000 + b'"}'
    twin.faults.append(Fault("status_before", status=400, body=body))
    with pytest.raises(Rejected) as caught:
        await source.send(rendered(source), "key-2")
    assert "bell   x" in caught.value.reason
    assert len(caught.value.reason) < 400


async def test_the_wrong_secret_and_a_wrong_clock_are_refused(connected: MakeSource, twin: InboundTwin) -> None:
    source = connected(reply_secret=OTHER)
    with pytest.raises(Reauthorise):
        await source.send(rendered(source), "key-1")
    twin.tolerance = timedelta(seconds=-1)
    with pytest.raises(Reauthorise):
        await connected().send(rendered(source), "key-1")
    assert created(twin) == []


async def test_what_never_left_may_simply_be_tried_again(make_source: MakeSource, http: httpx2.AsyncClient) -> None:
    source = make_source(http, reply_url="http://127.0.0.1:9/replies", reply_secret=OTHER)
    with pytest.raises(Retry) as caught:
        await source.send(rendered(source), "key-1")
    assert caught.value.code == "not_sent"
    health = await source.check()
    assert not health.ok
    assert [finding.code for finding in health.findings] == ["reply_url_unreachable"]


async def test_an_edit_and_a_deletion_follow_and_may_be_repeated(connected: MakeSource, twin: InboundTwin) -> None:
    source = connected()
    sent = await source.send(rendered(source), "key-1")
    for text in ("first", "second", "first"):
        assert await source.amend(sent, rendered(source, text)) == sent
    # the third edit repeats the first one's text and is no repetition of it
    assert twin.replies["reply-1"]["text"] == "first"
    assert [effect.data["text"] for effect in twin.ledger[1:]] == ["first", "second", "first"]
    twin.faults.append(Fault("drop_after"))
    with pytest.raises(Retry):
        await source.retract(sent)
    assert twin.replies == {}
    with pytest.raises(Rejected, match="reply-1 is no reply here"):
        await source.retract(sent)


async def test_check_asks_without_effect(connected: MakeSource, make_source: MakeSource, twin: InboundTwin) -> None:
    assert (await connected().check()).findings == ()
    findings = (await connected(receiver_dedupes=False).check()).findings
    assert [finding.code for finding in findings] == ["receiver_does_not_dedupe"]
    twin.faults.append(Fault("status_before", status=404))
    health = await connected().check()
    assert health.ok
    assert [finding.code for finding in health.findings] == ["reply_url_answers_oddly"]
    silent = await make_source().check()
    assert silent.ok
    assert [finding.code for finding in silent.findings] == ["no_reply_url"]
    assert {method for method, _, _ in twin.requests} == {"OPTIONS"}
    assert twin.ledger == []


async def test_no_secret_and_no_path_is_in_an_error(make_source: MakeSource, http: httpx2.AsyncClient) -> None:
    source = make_source(http, reply_url="http://127.0.0.1:9/hook/s3cr3t-token", reply_secret=OTHER)
    with pytest.raises(Retry) as caught:
        await source.send(rendered(source), "key-1")
    assert "s3cr3t" not in caught.value.reason
    assert OTHER.removeprefix("whsec_") not in caught.value.reason


class Answering(Twin):
    """A receiver that gives one body to everybody."""

    def __init__(self, body: bytes) -> None:
        self.body = body
        super().__init__()

    def routes(self) -> Sequence[BaseRoute]:
        async def answer(_: Request) -> Response:
            return Response(self.body)

        return [Route("/", answer, methods=["POST"])]


@pytest.mark.parametrize(
    ("body", "external_id", "url", "pending"),
    [
        (b"", "key-1", None, False),
        (b"OK", "key-1", None, False),
        (b"[1]", "key-1", None, False),
        (b"[" * 100_000, "key-1", None, False),
        (b'{"external_id": 42, "url": "https://a.example/42"}', "42", "https://a.example/42", False),
        (b'{"external_id": "", "url": "javascript:alert(1)"}', "key-1", None, False),
        (b'{"external_id": "a\\u0000", "url": 7, "pending": true}', "key-1", None, True),
        (b'{"external_id": "\\ud83d"}', "key-1", None, False),
        (b'{"external_id": true, "pending": "no"}', "key-1", None, False),
        (b'{"external_id": "' + b"x" * 2000 + b'"}', "key-1", None, False),
    ],
)
async def test_whatever_a_2xx_says_the_reply_was_taken(
    body: bytes, external_id: str, url: str | None, pending: bool, make_source: MakeSource, http: httpx2.AsyncClient
) -> None:
    async with Answering(body).serve() as address:
        source = make_source(http, reply_url=address, reply_secret=OTHER)
        sent = await source.send(rendered(source), "key-1")
    assert (sent.external_id, sent.url, sent.pending) == (external_id, url, pending)


@contextlib.asynccontextmanager
async def door(source: InboundSource, received: list[RawDelivery]) -> AsyncIterator[str]:
    """What the gateway does at its door, as far as this plugin sees it."""

    class Door(Twin):
        def routes(self) -> Sequence[BaseRoute]:
            async def take(request: Request) -> Response:
                body = await request.body()
                at = datetime.now(UTC)
                headers = request.headers.raw
                source.verify(WebhookRequest("POST", "/", b"", headers, body, received_at=at))
                received.append(RawDelivery(str(len(received)), "webhook", body, at, headers))
                return Response(status_code=200)

            return [Route("/", take, methods=["POST"])]

    async with Door().serve() as address:
        yield address


async def test_what_the_twin_pushes_is_let_in_and_read(connected: MakeSource, twin: InboundTwin) -> None:
    source = connected()
    twin.manners = Manners(echoes=True)
    received: list[RawDelivery] = []
    async with door(source, received) as twin.door:
        comment = {"external_id": "c-1", "kind": "comment", "author": {"external_id": "u-1"}, "text": "hello?"}
        steps: list[Callable[[], str]] = [
            lambda: twin.push(comment),
            lambda: twin.edit("c-1", text="hello?!"),
            lambda: twin.reply_status("reply-1", "removed", "spam"),
            lambda: twin.delete("c-1"),
            lambda: twin.batch([twin.event("interaction.created", comment), {"type": "nonsense"}]),
        ]
        for step in steps:
            step()
            await asyncio.wait_for(twin.settle(), 5)
        sent = await source.send(rendered(source), "key-1")
        await asyncio.wait_for(twin.settle(), 5)
    assert twin.webhook_failures == []
    items = [item for delivery in received for item in source.normalise(delivery)]
    assert [type(item).__name__ for item in items] == [
        "Interaction",
        "Interaction",
        "SendStatus",
        "Deletion",
        "Interaction",
        "Ignored",
        "Interaction",
    ]
    first, edited, echo = items[0], items[1], items[-1]
    assert isinstance(first, Interaction)
    assert isinstance(edited, Interaction)
    assert isinstance(echo, Interaction)
    assert first.revision != edited.revision
    assert (echo.direction, echo.external_id, echo.in_reply_to) == ("outbound", sent.external_id, "c-77")


async def test_the_twin_replaces_the_one_answer_where_told(connected: MakeSource, twin: InboundTwin) -> None:
    twin.manners.one_slot = True
    source = connected(one_slot=True)
    await source.send(rendered(source, "one"), "key-1")
    second: Sent = await source.send(rendered(source, "two"), "key-2")
    assert list(twin.replies) == [second.external_id]
    assert [effect.kind for effect in twin.ledger] == ["reply.created", "reply.replaced", "reply.created"]


async def test_a_receiver_that_does_not_dedupe_would_say_it_twice(connected: MakeSource, twin: InboundTwin) -> None:
    twin.manners.dedupes = False
    source = connected(receiver_dedupes=False)
    twin.faults.append(Fault("drop_after"))
    with pytest.raises(Unknown):
        await source.send(rendered(source), "key-1")
    assert not source.capabilities.idempotent_send
    await source.send(rendered(source), "key-1")
    assert len(created(twin)) == 2
