"""The way out: comments, private replies, messages and their windows, what Meta refuses, and finding what was sent."""

from __future__ import annotations

import json
from datetime import timedelta
from typing import Any

import httpx2
import pytest

from gateway_schemas.errors import (
    GatewayError,
    Gone,
    Hold,
    Reauthorise,
    Rejected,
    Retry,
    Unknown,
)
from gateway_schemas.interaction import Wanted
from gateway_schemas.reply import Absent, Found, OutgoingFile, SendIntent
from gateway_schemas.testing.twin import Fault

DAY = timedelta(days=1)


async def commented(ground: Any, one: Any, text: str = "In blue?", who: str = "acme") -> Any:
    """A customer's comment on the brand's post, as the plugin tells it."""
    await ground.install(who)
    post = ground.twin.post(who, "Colours")
    ground.carried.clear()
    ground.twin.post("jo", text, post)
    return one(await ground.told())


async def messaged(ground: Any, one: Any, text: str = "Hello", who: str = "acme") -> Any:
    """A customer's message."""
    await ground.install(who)
    ground.twin.direct_message("jo", who, text)
    return one(await ground.told())


@pytest.mark.parametrize("who", ["acme", "acme.gram", "acme.login"])
async def test_a_comment_is_answered_and_its_echo_has_its_id(ground: Any, one: Any, who: str) -> None:
    asked = await commented(ground, one, who=who)
    plugin = ground.plugin(who)
    sent = await plugin.send(ground.render(plugin, asked, "Yes, from Monday 😊"), "k1")
    (published,) = ground.twin.published(who)
    assert (published.id, published.text, published.parent) == (
        sent.external_id,
        "Yes, from Monday 😊",
        asked.external_id,
    )
    echo = one(await ground.told())
    assert (echo.external_id, echo.direction) == (sent.external_id, "outbound")


async def test_an_answer_to_an_answer_is_found_beside_it(ground: Any, one: Any) -> None:
    asked = await commented(ground, one)
    ground.twin.post("jo", "And in red?", asked.external_id)
    again = one(await ground.told())
    assert again.in_reply_to == asked.external_id
    plugin = ground.plugin()
    rendered = ground.render(plugin, again, "Red too.")
    intent = SendIntent(key="k", rendered=rendered, started_at=ground.time.now())
    ground.twin.faults.append(Fault("timeout_after", path="/comments$", method="POST"))
    with pytest.raises(Unknown):
        await plugin.send(rendered, "k")
    found = await plugin.find(intent)
    assert isinstance(found, Found)
    assert found.external_id == ground.twin.published("acme")[0].id


async def test_find_takes_neither_another_thread_nor_another_author(ground: Any, one: Any) -> None:
    asked = await commented(ground, one)
    plugin = ground.plugin()
    rendered = ground.render(plugin, asked, "Yes.")
    intent = SendIntent(key="k", rendered=rendered, started_at=ground.time.now())
    ground.twin.post("jo", "Yes.", asked.external_id)
    ground.twin.post("acme", "Yes.", asked.root)
    assert isinstance(await plugin.find(intent), Absent)
    ground.time.pass_by(hours=1)
    for number in range(70):
        ground.twin.post("jo", f"noise {number}", asked.root)
    ground.twin.post("acme", " Yes.\n", asked.external_id)
    assert isinstance(await plugin.find(intent), Found)


@pytest.mark.parametrize("who", ["acme", "acme.gram"])
async def test_a_private_reply_once_within_seven_days(ground: Any, one: Any, who: str) -> None:
    asked = await commented(ground, one, who=who)
    plugin = ground.plugin(who)
    rendered = ground.private(plugin, asked, "Please tell us the order number.")
    assert rendered.body["recipient"] == {"comment_id": asked.external_id}
    assert rendered.target.closes_at == asked.published_at + 7 * DAY
    sent = await plugin.send(rendered, "k1")
    (message,) = ground.twin.messages_from(who)
    assert (message.mid, message.person) == (sent.external_id, asked.author.external_id)
    found = await plugin.find(SendIntent(key="k1", rendered=rendered, started_at=ground.time.now()))
    assert isinstance(found, Found)
    with pytest.raises(Rejected) as refused:
        await plugin.send(ground.private(plugin, asked, "And your name."), "k2")
    assert refused.value.code == "already_replied"


async def test_a_private_reply_is_late_before_and_after_rendering(ground: Any, one: Any) -> None:
    asked = await commented(ground, one)
    plugin = ground.plugin()
    rendered = ground.private(plugin, asked, "Hello")
    ground.time.pass_by(days=7, minutes=1)
    asked_before = len(ground.twin.requests)
    with pytest.raises(Rejected, match="7 days") as refused:
        await plugin.send(rendered, "k")
    assert refused.value.code == "window_closed"
    assert len(ground.twin.requests) == asked_before
    with pytest.raises(Rejected, match="7 days"):
        ground.private(plugin, asked, "Hello")
    # its author may have blocked the Page, or the clocks differ: Meta's own word for it
    late = rendered.model_copy(update={"target": rendered.target.model_copy(update={"closes_at": None})})
    with pytest.raises(Rejected) as refused:
        await plugin.send(late, "k")
    assert refused.value.code == "not_repliable"


async def test_a_visitors_post_is_answered_in_private_too(ground: Any, one: Any) -> None:
    await ground.install()
    post = ground.twin.post("jo", "My parcel!", on="acme")
    asked = one(await ground.told())
    plugin = ground.plugin()
    rendered = ground.private(plugin, asked, "Which order?")
    assert rendered.body["recipient"] == {"post_id": post}
    assert (await plugin.send(rendered, "k")).external_id == ground.twin.messages_from("acme")[0].mid


async def test_what_takes_no_private_reply(ground: Any, one: Any) -> None:
    await ground.install()
    plugin = ground.plugin()
    ground.twin.recommend("jo", "acme", "Bad")
    review = one(await ground.told())
    ground.twin.post("kim", "never again @acme", mentions="acme")
    mention = one(await ground.told())
    for item in (review, mention):
        with pytest.raises(Rejected) as refused:
            ground.private(plugin, item, "Hello")
        assert refused.value.code == "no_private_reply"


async def test_a_recommendation_is_answered_by_a_comment_on_its_story(ground: Any, one: Any) -> None:
    await ground.install()
    story = ground.twin.recommend("jo", "acme", "Waited two hours")
    plugin = ground.plugin()
    rendered = ground.render(plugin, one(await ground.told()), "We are sorry.")
    sent = await plugin.send(rendered, "k")
    assert [(item.post, item.id) for item in ground.twin.published("acme")] == [(story, sent.external_id)]
    found = await plugin.find(SendIntent(key="k", rendered=rendered, started_at=ground.time.now()))
    assert isinstance(found, Found)


@pytest.mark.parametrize("who", ["acme", "acme.gram", "acme.login"])
async def test_messages_within_a_day(ground: Any, one: Any, who: str) -> None:
    asked = await messaged(ground, one, who=who)
    plugin = ground.plugin(who)
    rendered = ground.render(plugin, asked, "We are here.")
    sent = await plugin.send(rendered, "k")
    assert ground.twin.messages_from(who)[0].mid == sent.external_id
    ground.time.pass_by(DAY + timedelta(seconds=1))
    with pytest.raises(Rejected) as refused:
        await plugin.send(rendered, "k2")
    assert refused.value.code == "window_closed"
    with pytest.raises(Rejected) as refused:
        ground.render(plugin, asked, "Still there?")
    assert refused.value.code == "window_closed"
    open_ended = rendered.model_copy(update={"target": rendered.target.model_copy(update={"closes_at": None})})
    with pytest.raises(Rejected) as refused:
        await plugin.send(open_ended, "k3")
    assert refused.value.code == "window_closed"


@pytest.mark.parametrize("who", ["acme", "acme.gram"])
async def test_a_human_agent_has_seven_days(ground: Any, one: Any, who: str) -> None:
    ground.twin.human_agent = True
    asked = await messaged(ground, one, who=who)
    plugin = ground.plugin(who)
    assert plugin.capabilities.reply_window == 7 * DAY
    ground.time.pass_by(6 * DAY)
    rendered = ground.render(plugin, asked, "Back from the weekend.")
    assert (rendered.body["messaging_type"], rendered.body["tag"]) == ("MESSAGE_TAG", "HUMAN_AGENT")
    await plugin.send(rendered, "k")
    ground.time.pass_by(2 * DAY)
    with pytest.raises(Rejected) as refused:
        await plugin.send(rendered, "k2")
    assert refused.value.code == "window_closed"


async def test_whoever_blocked_the_page_is_not_reached(ground: Any, one: Any) -> None:
    asked = await messaged(ground, one)
    ground.twin.state.people["7700110022"].blocks.add("100200300")
    plugin = ground.plugin()
    with pytest.raises(Rejected) as refused:
        await plugin.send(ground.render(plugin, asked, "Hello"), "k")
    assert refused.value.code == "unavailable"


async def test_instagram_counts_bytes_in_messages(ground: Any, one: Any) -> None:
    asked = await messaged(ground, one, who="acme.gram")
    plugin = ground.plugin("acme.gram")
    fits = ground.render(plugin, asked, "ü" * 500)
    assert (fits.length, fits.limit) == (1000, 1000)
    await plugin.send(fits, "k")
    over = ground.render(plugin, asked, "ü" * 501)
    assert over.length > (over.limit or 0)


async def test_instagram_mentions_are_answered_at_their_own_edge(ground: Any, one: Any) -> None:
    await ground.install("acme.gram")
    plugin = ground.plugin("acme.gram")
    media = ground.twin.post("kim", "thanks @acme.gram", mentions="acme.gram")
    comment = ground.twin.post("jo", "ask @acme.gram", media, mentions="acme.gram")
    caption, below = await ground.fetched(plugin, await ground.told())
    for item, target in ((caption, {"media_id": media}), (below, {"media_id": media, "comment_id": comment})):
        rendered = ground.render(plugin, item, "We are here.")
        assert rendered.body == {"message": "We are here.", **target}
        await plugin.send(rendered, "k")
        # nobody may list what is under media of others: a person has to look
        with pytest.raises(Hold):
            await plugin.find(SendIntent(key="k", rendered=rendered, started_at=ground.time.now()))
    assert [item.parent for item in ground.twin.published("acme.gram")] == [None, comment]


async def test_live_comments_are_answered_in_private_only(ground: Any, one: Any) -> None:
    await ground.install("acme.gram")
    media = ground.twin.post("acme.gram", "live now")
    ground.twin.post("jo", "sound!", media, live=True)
    asked = one(await ground.told())
    plugin = ground.plugin("acme.gram")
    with pytest.raises(Rejected) as refused:
        ground.render(plugin, asked, "One moment")
    assert refused.value.code == "live_comment"
    await plugin.send(ground.private(plugin, asked, "One moment"), "k")


async def test_a_comment_carries_one_picture(ground: Any, one: Any) -> None:
    asked = await commented(ground, one)
    plugin = ground.plugin()
    sha256 = ground.files.keep(b"picture")
    file = OutgoingFile(sha256=sha256, media_type="image/png", name="blue.png", size=7)
    rendered = ground.render(plugin, asked, "Like this:", files=(file,))
    await plugin.send(rendered, "k")
    assert ground.twin.published("acme")[0].picture is not None
    with pytest.raises(Rejected, match="one picture"):
        ground.render(plugin, asked, "Like these:", files=(file, file))
    with pytest.raises(Rejected, match="application/pdf"):
        ground.render(plugin, asked, "", files=(file.model_copy(update={"media_type": "application/pdf"}),))


async def test_changed_taken_back_hidden(ground: Any, one: Any) -> None:
    asked = await commented(ground, one)
    plugin = ground.plugin()
    sent = await plugin.send(ground.render(plugin, asked, "Yes, from Tuseday"), "k")
    await plugin.amend(sent, ground.render(plugin, asked, "Yes, from Tuesday"))
    assert [item.text for item in ground.twin.published("acme")] == ["Yes, from Tuesday"]
    await plugin.retract(sent)
    await plugin.retract(sent)
    assert ground.twin.published("acme") == []
    await plugin.hide(asked.external_id)
    assert ground.twin.state.comments[asked.external_id].hidden
    await plugin.hide(asked.external_id, hidden=False)
    assert not ground.twin.state.comments[asked.external_id].hidden


async def test_what_cannot_be_changed_or_taken_back(ground: Any, one: Any) -> None:
    asked = await messaged(ground, one)
    plugin = ground.plugin()
    rendered = ground.render(plugin, asked, "Hello")
    sent = await plugin.send(rendered, "k")
    with pytest.raises(Rejected, match="take a sent message back"):
        await plugin.retract(sent)
    with pytest.raises(Rejected):
        await plugin.amend(sent, rendered)
    assert not ground.plugin("acme.gram").capabilities.edit


async def test_a_deleted_comment_is_gone(ground: Any, one: Any) -> None:
    asked = await commented(ground, one)
    plugin = ground.plugin()
    rendered = ground.render(plugin, asked, "Yes")
    ground.twin.delete(asked.external_id)
    with pytest.raises(Gone):
        await plugin.send(rendered, "k")


def refused(code: int, subcode: int | None = None, *, status: int = 400, **more: Any) -> Fault:
    """A refusal of Meta's on the next POST."""
    headers = {"content-type": "application/json", **more.pop("headers", {})}
    error = {"message": "m", "type": "OAuthException", "code": code, "fbtrace_id": "A", **more}
    if subcode is not None:
        error["error_subcode"] = subcode
    body = json.dumps({"error": error}).encode()
    return Fault("status_before", method="POST", status=status, body=body, headers=headers)


@pytest.mark.parametrize(
    ("fault", "kind", "code"),
    [
        (refused(190, 463), Reauthorise, "graph_190_463"),
        (refused(190, 460, status=401), Reauthorise, "graph_190_460"),
        (refused(4), Retry, "graph_4"),
        (refused(17, status=403), Retry, "graph_17"),
        (refused(32), Retry, "graph_32"),
        (refused(613, status=429), Retry, "graph_613"),
        (refused(80001), Retry, "graph_80001"),
        (refused(10), Rejected, "no_permission"),
        (refused(200, status=403), Rejected, "no_permission"),
        (refused(10, 2018278, status=403), Rejected, "window_closed"),
        (refused(551, 2018109), Rejected, "window_closed"),
        (refused(551, 1545041), Rejected, "unavailable"),
        (refused(10, 1893063), Rejected, "page_restricted"),
        (refused(368), Hold, "blocked"),
        (refused(100, 33), Gone, "graph_100_33"),
        (refused(100), Rejected, "graph_100"),
        (refused(1, status=500), Unknown, "graph_1"),
        (refused(2, status=503), Unknown, "graph_2"),
        (refused(1357046, is_transient=True), Unknown, "graph_1357046"),
        (Fault("status_before", method="POST", status=502, body=b"<html>"), Unknown, "http_502"),
    ],
)
async def test_refusals_by_their_codes(
    ground: Any, one: Any, fault: Fault, kind: type[GatewayError], code: str
) -> None:
    asked = await commented(ground, one)
    plugin = ground.plugin()
    rendered = ground.render(plugin, asked, "Yes")
    fault.times = None
    ground.twin.faults.append(fault)
    with pytest.raises(GatewayError) as raised:
        await plugin.send(rendered, "k")
    ground.twin.faults.clear()
    assert (type(raised.value), raised.value.code) == (kind, code)


async def test_a_duplicate_may_be_an_earlier_try(ground: Any, one: Any) -> None:
    asked = await commented(ground, one)
    plugin = ground.plugin()
    rendered = ground.render(plugin, asked, "Yes")
    ground.twin.faults.append(refused(506))
    with pytest.raises(Rejected) as raised:
        await plugin.send(rendered, "k")
    assert raised.value.code == "duplicate_text"
    earlier = ground.twin.post("acme", "Yes", asked.external_id)
    ground.twin.faults.append(refused(506))
    assert (await plugin.send(rendered, "k")).external_id == earlier


async def test_trouble_while_reading_is_tried_again(ground: Any) -> None:
    comment = ground.twin.post("jo", "In blue?", ground.twin.post("acme", "Colours"))
    fault = refused(2, status=500)
    fault.method, fault.path = "GET", comment
    ground.twin.faults.append(fault)
    with pytest.raises(Retry):
        await ground.plugin().fetch([Wanted(ref=comment)])


async def test_used_up_limits_are_told_by_their_headers(ground: Any, one: Any) -> None:
    asked = await commented(ground, one)
    ground.twin.allowed["pages"] = 4  # three were needed to install
    plugin = ground.plugin()
    await plugin.send(ground.render(plugin, asked, "one"), "k1")
    ground.time.pass_by(minutes=20)
    rendered = ground.render(plugin, asked, "two")
    with pytest.raises(Retry) as raised:
        await plugin.send(rendered, "k2")
    assert raised.value.bucket == "pages"
    assert raised.value.after == timedelta(minutes=40)
    response = raised.value.__cause__.response  # type: ignore[union-attr]
    (reading,) = plugin.limits_of(response, "pages")
    assert (reading.bucket, reading.remaining) == ("pages", 0)
    assert reading.resets_at == ground.time.now() + timedelta(minutes=40)
    # private messages have a limit of their own
    await plugin.send(ground.private(plugin, asked, "Hello"), "k3")


async def test_an_app_over_its_limit_rests_as_a_whole(ground: Any) -> None:
    plugin = ground.plugin()
    usage = '{"call_count":100,"total_time":3,"total_cputime":2}'
    full = httpx2.Response(400, headers={"x-app-usage": usage})
    assert [reading.bucket for reading in plugin.limits_of(full, "pages")] == ["*"]
    for header in ("[]", "no json", '{"call_count":99.5}', '{"call_count":"100"}'):
        assert plugin.limits_of(httpx2.Response(200, headers={"x-app-usage": header}), "pages") == []
