"""Access tokens live two hours: renewed once, shared between processes, replaced by a person's new ones."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest

from gateway_schemas.errors import Reauthorise
from gateway_schemas.interaction import ReplyTarget
from gateway_schemas.reply import Rendered
from gateway_schemas.time import SharedTime
from gateway_x.plugin import XSource
from gateway_x.twin import XTwin

Make = Callable[..., XSource]


@pytest.fixture
def refreshable(twin: XTwin, make: Make) -> XSource:
    twin.add_brand("Fresh", refreshable=True)
    return make("Fresh")


def renewals(twin: XTwin) -> int:
    return len([effect for effect in twin.ledger if effect.kind == "token"])


async def test_a_refused_token_is_renewed_once(twin: XTwin, refreshable: XSource) -> None:
    await refreshable.discover()
    twin.expire_tokens("Fresh")
    await refreshable.discover()
    await refreshable.discover()
    assert renewals(twin) == 1
    stored = await refreshable.state.load()
    assert set(stored) == {"tokens"}


async def test_a_token_is_renewed_before_it_ends(twin: XTwin, refreshable: XSource, clock: SharedTime) -> None:
    twin.expire_tokens("Fresh")
    await refreshable.discover()
    before = len(twin.requests)
    clock.jump(clock.now() + timedelta(minutes=119))
    await refreshable.discover()
    assert renewals(twin) == 2
    assert 401 not in [status for _, _, status in twin.requests[before:]]


async def test_two_processes_share_renewed_tokens(twin: XTwin, make: Make, refreshable: XSource) -> None:
    other = make("Fresh", state=refreshable.state)
    await other.discover()
    twin.expire_tokens("Fresh")
    await refreshable.discover()
    await other.discover()
    assert renewals(twin) == 1, "a refresh token is used once; the second process must take the first one's token"


class Behind:
    """A state document that another process has just written: the first reads still see the old one."""

    def __init__(self, state: Any, reads: int) -> None:
        self._state = state
        self._reads = reads

    async def load(self) -> dict[str, Any]:
        self._reads -= 1
        return {} if self._reads >= 0 else dict(await self._state.load())

    async def save(self, document: Any) -> None:
        await self._state.save(document)


async def test_a_refresh_token_spent_by_another_process(twin: XTwin, make: Make, refreshable: XSource) -> None:
    twin.expire_tokens("Fresh")
    await refreshable.discover()
    same = {"refresh_token": f"twin-refresh-token-{refreshable.config.user_id}"}
    await make("Fresh", state=Behind(refreshable.state, 2), config=same).discover()
    assert renewals(twin) == 1


async def test_a_spent_refresh_token_asks_for_a_person(twin: XTwin, refreshable: XSource) -> None:
    twin.revoke("Fresh")
    with pytest.raises(Reauthorise) as caught:
        await refreshable.discover()
    assert caught.value.code == "token_ended"


async def test_authorising_anew_overrides_stored_tokens(twin: XTwin, make: Make, refreshable: XSource) -> None:
    twin.expire_tokens("Fresh")
    await refreshable.discover()
    user = twin.state.user("Fresh")
    twin.revoke("Fresh")
    twin.state.tokens["authorised-anew"] = type(next(iter(twin.state.tokens.values())))(user.id)
    anew = {"access_token": "authorised-anew", "refresh_token": "another"}
    await make("Fresh", state=refreshable.state, config=anew).discover()


async def test_an_effect_is_sent_once_though_its_token_was_renewed(twin: XTwin, refreshable: XSource) -> None:
    asked = twin.post("rita_ex", "@fresh hello")
    twin.expire_tokens("Fresh")
    reply = Rendered(
        text="Hello",
        account=refreshable.config.user_id,
        target=ReplyTarget(kind="mention", ref=asked),
        visibility="public",
        body={"text": "Hello", "reply": {"in_reply_to_tweet_id": asked}},
        length=5,
    )
    await refreshable.send(reply, "k")
    assert [post.in_reply_to for post in twin.published("Fresh")] == [asked]
