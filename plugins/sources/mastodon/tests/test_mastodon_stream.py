"""The stream: a notification asks for a poll, an edit and a deletion are carried, silence and breaks are noticed."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable
from typing import Any

import httpx2
import pytest

from gateway_mastodon import streaming
from gateway_mastodon.plugin import MastodonSource
from gateway_mastodon.twin import MastodonTwin
from gateway_schemas.errors import Malformed, Reauthorise, Rejected, Retry
from gateway_schemas.http import endless
from gateway_schemas.interaction import Deletion
from gateway_schemas.webhook import Hint

RITA = "rita@example.social"
SUPPORT = "@support@masto.acme.example"
BenchLike = Any
Make = Callable[..., MastodonSource]


@pytest.fixture
async def http(twin: MastodonTwin) -> AsyncIterator[httpx2.AsyncClient]:
    """A client over the network: a stream comes in parts."""
    async with twin.serve(), httpx2.AsyncClient(timeout=5.0, trust_env=False, verify=False) as client:
        yield client


@contextlib.asynccontextmanager
async def listening(plugin: MastodonSource) -> AsyncIterator[AsyncIterator[Hint]]:
    """The plugin's hints, after the first one, which has everything polled."""
    hints = plugin.listen()
    async with contextlib.aclosing(hints):  # type: ignore[type-var]
        assert await anext(hints) == Hint()
        yield hints


async def told(hints: AsyncIterator[Hint]) -> Hint:
    return await asyncio.wait_for(anext(hints), 5)


async def test_what_the_stream_tells(twin: MastodonTwin, plugin: MastodonSource, bench: BenchLike) -> None:
    twin.filter_strangers = False
    async with listening(plugin) as hints:
        id = twin.post(RITA, f"{SUPPORT} help")
        assert await told(hints) == Hint(stream="notifications")
        twin.edit(id, f"{SUPPORT} help, please")
        hint = await told(hints)
        assert hint.page is not None
        assert bench.heard([hint.page])[-1].text == "@support help, please"
        twin.post("support", "hello")
        assert await told(hints) == Hint(stream="own")
        twin.delete(id)
        hint = await told(hints)
        assert hint.page is not None
        deletion = Deletion(external_id=f"masto.acme.example/{id}", account="support@masto.acme.example")
        assert bench.news([hint.page], "listen") == [deletion]
        twin.streams.drop()
        with pytest.raises(StopAsyncIteration):
            await told(hints)
    assert twin.streams.listeners == 0


async def test_what_others_post_is_passed_over(twin: MastodonTwin, plugin: MastodonSource) -> None:
    """The home of an account has the posts of all it follows."""
    twin.filter_strangers = False
    account = twin.state.account("support").id
    other = twin.state.posts[twin.post(RITA, "my lunch")]
    async with listening(plugin) as hints:
        twin.streams.tell(account, "update", twin.shown.status(other, ""))
        twin.streams.tell(account, "status.update", twin.shown.status(other, ""))
        twin.streams.tell(account, "filters_changed", "")
        twin.streams.tell(account, "update", "{broken")
        twin.post(RITA, f"{SUPPORT} help")
        assert await told(hints) == Hint(stream="notifications")


@pytest.mark.parametrize(
    ("trouble", "error", "code"),
    [
        (lambda twin: twin.revoke("support"), Reauthorise, "token_refused"),
        (lambda twin: setattr(twin.state.account("support"), "scopes", frozenset({"write"})), Rejected, "http_403"),
        (lambda twin: setattr(twin, "streaming", False), Retry, "no_stream"),
    ],
)
async def test_a_stream_that_is_refused(
    twin: MastodonTwin, plugin: MastodonSource, trouble: Callable[[MastodonTwin], Any], error: Any, code: str
) -> None:
    trouble(twin)
    with pytest.raises(error) as caught:
        await anext(plugin.listen())
    assert caught.value.code == code


def over(plugin: MastodonSource, body: Any) -> Any:
    """The stream of a server that answers this."""
    transport = httpx2.MockTransport(lambda _: httpx2.Response(200, content=body))
    api = plugin._api()
    api.http = httpx2.AsyncClient(transport=transport)
    return streaming.follow(api)


async def test_comments_several_lines_and_parts(plugin: MastodonSource) -> None:
    body = b":)\nevent: delete\ndata: 1\n\n:thump\nevent: notification\n:thump\ndata: {\ndata: }\n\n"
    body += b"event: delete\n\ndata: 2\n\n"
    hints = [hint async for hint in over(plugin, body)]
    assert [hint.stream for hint in hints[:1] + hints[2:]] == ["", "notifications"]
    assert hints[1].page.body == b'{"event": "delete", "payload": "1"}'


async def test_an_event_without_end(plugin: MastodonSource) -> None:
    with pytest.raises(Malformed):
        [hint async for hint in over(plugin, b"data: " + b"x" * 1_100_000 + b"\n")]


@pytest.mark.parametrize(
    ("error", "code"), [(httpx2.ReadTimeout, "stream_silent"), (httpx2.ReadError, "stream_broken")]
)
async def test_silence_and_a_break(plugin: MastodonSource, error: type[Exception], code: str) -> None:
    async def body() -> AsyncIterator[bytes]:
        yield b":thump\n"
        raise error("no more")

    with pytest.raises(Retry) as caught:
        [hint async for hint in over(plugin, body())]
    assert caught.value.code == code


def test_the_host_lets_it_go_on() -> None:
    assert endless() == {"gateway.deadline": None, "gateway.size_limit": None}
    assert MastodonSource.capabilities.listen


def test_whoever_does_not_want_it_does_without(make: Make) -> None:
    assert not make(config={"streaming": False}).capabilities.listen
