"""The way out: every outcome of a send, finding a reply after an unknown one, taking it back."""

from __future__ import annotations

import json
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from typing import Any

import pytest

from gateway_schemas.errors import GatewayError, Reauthorise, Rejected, Retry, Unknown
from gateway_schemas.interaction import Author, Interaction, ReplyTarget, Visibility
from gateway_schemas.reply import Absent, Draft, Found, Rendered, SendIntent, Sent
from gateway_schemas.testing.twin import Fault
from gateway_schemas.time import SharedTime
from gateway_x.plugin import XSource
from gateway_x.twin import XTwin

BRAND, RITA = "1111111111111111111", "2222222222222222222"
Make = Callable[..., XSource]


def draft(text: str, target: ReplyTarget) -> Draft:
    interaction = Interaction(
        external_id="20",
        revision="20",
        account=BRAND,
        kind="post",
        visibility="public",
        author=Author(external_id=RITA, handle="rita_ex"),
        published_at=datetime(2026, 11, 23, tzinfo=UTC),
    )
    visibility: Visibility = "private" if target.kind == "direct_message" else "public"
    return Draft(reply_id="r", text=text, account=BRAND, target=target, interaction=interaction, visibility=visibility)


def to(post: str) -> ReplyTarget:
    return ReplyTarget(kind="mention", ref=post, recipient=RITA)


MESSAGE = ReplyTarget(kind="direct_message", ref=f"{BRAND}-{RITA}", recipient=RITA)


@pytest.fixture
def plugin(make: Make) -> XSource:
    return make()


@pytest.fixture
def asked(twin: XTwin) -> str:
    """A post that asks the brand."""
    return twin.post("rita_ex", "@AcmeSupport where is my parcel?")


def intent(rendered: Rendered, clock: SharedTime) -> SendIntent:
    return SendIntent(key="k", rendered=rendered, started_at=clock.now())


# send


async def test_sent(twin: XTwin, plugin: XSource, asked: str) -> None:
    rendered = plugin.render(draft("Sorry Rita & all, <DM> us: https://example.com/help", to(asked)))
    sent = await plugin.send(rendered, "k")
    (published,) = twin.published("AcmeSupport")
    assert (sent.external_id, published.written, published.in_reply_to) == (published.id, rendered.text, asked)
    assert sent.url == f"https://x.com/AcmeSupport/status/{published.id}"
    assert sent.sent_at is not None
    assert published.by_api


async def test_sent_echo_has_the_same_id(twin: XTwin, plugin: XSource, asked: str, installed: Any) -> None:
    sent = await plugin.send(plugin.render(draft("On it.", to(asked))), "k")
    await twin.settle()
    (echo,) = (item for item in installed.interactions() if item.direction == "outbound")
    assert echo.external_id == sent.external_id
    assert echo.in_reply_to == asked


async def test_too_long_is_refused_by_x(twin: XTwin, plugin: XSource, asked: str) -> None:
    with pytest.raises(Rejected) as caught:
        await plugin.send(plugin.render(draft("x" * 281, to(asked))), "k")
    assert caught.value.code == "invalid_request"
    assert "281 of 280" in caught.value.reason
    assert twin.published("AcmeSupport") == []


async def test_premium_may_write_more(twin: XTwin, make: Make, clock: SharedTime) -> None:
    twin.add_brand("Rich", premium=True)
    plugin, asked = make("Rich"), twin.post("rita_ex", "@rich hello")
    rendered = plugin.render(draft("long " * 200, to(asked)))
    begun = intent(rendered, clock)
    sent = await plugin.send(rendered, "k")
    found = await plugin.find(begun)
    assert isinstance(found, Found), "X cuts long texts where it shows them"
    assert found.external_id == sent.external_id


async def test_not_summoned(twin: XTwin, make: Make) -> None:
    unasked = twin.post("rita_ex", "acme is awful")
    plugin = make()
    with pytest.raises(Rejected) as caught:
        await plugin.send(plugin.render(draft("Sorry!", to(unasked))), "k")
    assert caught.value.code == "not_summoned"
    assert "@AcmeSupport" in caught.value.reason
    twin.tier = "enterprise"
    assert isinstance(
        await make(app={"tier": "enterprise"}).send(plugin.render(draft("Sorry!", to(unasked))), "k"), Sent
    )


async def test_the_same_refusal_of_an_enterprise_app_keeps_xs_words(twin: XTwin, make: Make) -> None:
    unasked = twin.post("rita_ex", "acme is awful")
    plugin = make(app={"tier": "enterprise"})
    with pytest.raises(Rejected) as caught:
        await plugin.send(plugin.render(draft("Sorry!", to(unasked))), "k")
    assert caught.value.code == "not_authorized_for_resource"
    assert "Authorization Error" in caught.value.reason


@pytest.mark.parametrize("how", ["reply", "quote", "own"])
async def test_summoned_without_being_named(twin: XTwin, plugin: XSource, how: str) -> None:
    own = twin.post("AcmeSupport", "news")
    target = {
        "reply": lambda: twin.post("rita_ex", "and my parcel?", in_reply_to=own),
        "quote": lambda: twin.post("rita_ex", "ha", quote=own),
        "own": lambda: own,
    }[how]()
    assert isinstance(await plugin.send(plugin.render(draft("Hello", to(target))), "k"), Sent)


async def test_a_deleted_target(twin: XTwin, plugin: XSource, asked: str) -> None:
    twin.delete(asked)
    with pytest.raises(GatewayError) as caught:
        await plugin.send(plugin.render(draft("Hello", to(asked))), "k")
    assert caught.value.code == "resource_not_found"


async def test_a_duplicate_of_our_own_lost_try_is_that_try(twin: XTwin, plugin: XSource, asked: str) -> None:
    rendered = plugin.render(draft("See https://example.com/help & tell us", to(asked)))
    first = await plugin.send(rendered, "k")
    again = await plugin.send(rendered, "k")
    assert again.external_id == first.external_id
    assert len(twin.published("AcmeSupport")) == 1


DUPLICATE: dict[str, Any] = {"title": "Forbidden", "detail": "duplicate content", "type": "about:blank", "status": 403}
OLD_DUPLICATE: dict[str, Any] = {"errors": [{"code": 187, "message": "Status is a duplicate."}]}


NAMED_DUPLICATE = OLD_DUPLICATE | {"type": "https://api.x.com/2/problems/invalid-request", "title": "t", "detail": "d"}


@pytest.mark.parametrize(
    ("body", "code"),
    [(DUPLICATE, "http_403"), (OLD_DUPLICATE, "duplicate_text"), (NAMED_DUPLICATE, "duplicate_text")],
)
async def test_a_refusal_that_is_no_duplicate_of_ours(
    twin: XTwin, plugin: XSource, asked: str, body: dict[str, Any], code: str
) -> None:
    twin.faults.append(Fault("status_before", method="POST", status=403, body=json.dumps(body).encode()))
    with pytest.raises(Rejected) as caught:
        await plugin.send(plugin.render(draft("Hello", to(asked))), "k")
    assert caught.value.code == code


async def test_a_duplicate_that_cannot_be_looked_up_is_unknown(twin: XTwin, plugin: XSource, asked: str) -> None:
    twin.faults.append(Fault("status_before", method="POST", status=403, body=json.dumps(DUPLICATE).encode()))
    twin.faults.append(Fault("status_before", method="GET", status=503))
    with pytest.raises(Unknown) as caught:
        await plugin.send(plugin.render(draft("Hello", to(asked))), "k")
    assert caught.value.code == "duplicate_text"


async def test_an_app_that_is_not_enrolled_is_not_called_unsummoned(twin: XTwin, plugin: XSource, asked: str) -> None:
    problem = {"title": "Client Forbidden", "detail": "d", "reason": "client-not-enrolled"}
    problem["type"] = "https://api.x.com/2/problems/client-forbidden"
    twin.faults.append(Fault("status_before", method="POST", status=403, body=json.dumps(problem).encode()))
    with pytest.raises(Rejected) as caught:
        await plugin.send(plugin.render(draft("Hello", to(asked))), "k")
    assert caught.value.code == "client_forbidden"


async def test_a_refused_token(twin: XTwin, plugin: XSource, asked: str) -> None:
    twin.expire_tokens("AcmeSupport")
    with pytest.raises(Reauthorise):
        await plugin.send(plugin.render(draft("Hello", to(asked))), "k")


@pytest.mark.parametrize("form", ["seconds", "date", "reset", "both"])
async def test_too_many(twin: XTwin, plugin: XSource, asked: str, clock: SharedTime, form: str) -> None:
    until = clock.now().replace(microsecond=0) + timedelta(seconds=90)
    headers = {
        "seconds": {"retry-after": "90"},
        "date": {"retry-after": format_datetime(until, usegmt=True)},
        "reset": {"x-rate-limit-reset": str(int(until.timestamp())), "x-rate-limit-remaining": "0"},
        "both": {"x-rate-limit-reset": str(int(until.timestamp())), "retry-after": "3"},
    }[form]
    twin.faults.append(Fault("status_before", status=429, headers=headers))
    with pytest.raises(Retry) as caught:
        await plugin.send(plugin.render(draft("Hello", to(asked))), "k")
    assert caught.value.bucket == "posts.create"
    assert caught.value.after is not None
    assert timedelta(seconds=80) < caught.value.after <= timedelta(seconds=90)
    assert twin.published("AcmeSupport") == []


async def test_the_hundredth_and_first_reply(twin: XTwin, plugin: XSource, asked: str) -> None:
    for number in range(100):
        await plugin.send(plugin.render(draft(f"Hello {number}", to(asked))), "k")
    with pytest.raises(Retry):
        await plugin.send(plugin.render(draft("Hello", to(asked))), "k")
    assert len(twin.published("AcmeSupport")) == 100


TEXTS = [
    "Sorry Rita, could you DM us the order number?",
    "@rita_ex Sorry & <hello>, see https://example.com/help?a=1&b=2 and example.com/b.",
    "naïve cafe\u0301 👨‍👩‍👧‍👦\n\nsecond line",
]


@pytest.mark.parametrize(
    ("kind", "text"),
    [("status_after", text) for text in TEXTS] + [("timeout_after", TEXTS[1]), ("drop_after", TEXTS[1])],
)
async def test_it_happened_and_is_found(
    twin: XTwin, plugin: XSource, asked: str, clock: SharedTime, kind: Any, text: str
) -> None:
    rendered = plugin.render(draft(text, to(asked)))
    begun = intent(rendered, clock)
    twin.faults.append(Fault(kind, method="POST", status=503, seconds=1.5))
    with pytest.raises(Unknown):
        await plugin.send(rendered, "k")
    found = await plugin.find(begun)
    assert isinstance(found, Found)
    assert found.external_id == twin.published("AcmeSupport")[0].id
    assert found.at is not None


async def test_it_did_not_happen(twin: XTwin, plugin: XSource, asked: str, clock: SharedTime) -> None:
    rendered = plugin.render(draft("Hello", to(asked)))
    begun = intent(rendered, clock)
    twin.faults.append(Fault("status_before", method="POST", status=500))
    with pytest.raises(Unknown):
        await plugin.send(rendered, "k")
    assert isinstance(await plugin.find(begun), Absent)


async def test_nothing_was_sent_where_nobody_listens(twin: XTwin, make: Make, asked: str) -> None:
    plugin = make(config={"base_url": "http://127.0.0.1:1"})
    with pytest.raises(Retry) as caught:
        await plugin.send(plugin.render(draft("Hello", to(asked))), "k")
    assert caught.value.code == "not_sent"


async def test_others_are_not_taken_for_it(twin: XTwin, plugin: XSource, asked: str, clock: SharedTime) -> None:
    """The same words to somebody else, other words to the same post, an earlier day's reply: none of them is it."""
    other = twin.post("rita_ex", "@AcmeSupport and another thing")
    twin.post("AcmeSupport", "Hello", in_reply_to=other)
    twin.post("AcmeSupport", "Hello!", in_reply_to=asked)
    twin.post("AcmeSupport", "Hello")
    twin.post("AcmeSupport", "Hello", in_reply_to=asked, at=clock.now() - timedelta(days=1))
    twin.post("rita_ex", "Hello", in_reply_to=asked)
    assert isinstance(await plugin.find(intent(plugin.render(draft("Hello", to(asked))), clock)), Absent)


async def test_it_is_found_beyond_the_first_page(twin: XTwin, plugin: XSource, asked: str, clock: SharedTime) -> None:
    rendered = plugin.render(draft("Hello", to(asked)))
    begun = intent(rendered, clock)
    own = twin.post("AcmeSupport", "Hello", in_reply_to=asked)
    for number in range(150):
        twin.post("AcmeSupport", f"other {number}")
    found = await plugin.find(begun)
    assert isinstance(found, Found)
    assert found.external_id == own


async def test_a_late_search_reads_the_hour_of_the_send_only(
    twin: XTwin, plugin: XSource, asked: str, clock: SharedTime
) -> None:
    rendered = plugin.render(draft("Hello", to(asked)))
    begun = intent(rendered, clock)
    own = twin.post("AcmeSupport", "Hello", in_reply_to=asked)
    clock.jump(clock.now() + timedelta(hours=20))
    for number in range(150):
        twin.post("AcmeSupport", f"other {number}")
    found = await plugin.find(begun)
    assert isinstance(found, Found)
    assert found.external_id == own
    assert len([request for request in twin.requests if request[1].endswith("/tweets")]) == 1


async def test_a_timeline_that_lags_says_absent_until_the_stated_lag(
    twin: XTwin, plugin: XSource, asked: str, clock: SharedTime
) -> None:
    twin.visibility_lag = timedelta(seconds=50)
    rendered = plugin.render(draft("Hello", to(asked)))
    begun = intent(rendered, clock)
    await plugin.send(rendered, "k")
    assert isinstance(await plugin.find(begun), Absent)
    lag = plugin.capabilities.index_lag
    assert lag is not None
    clock.jump(begun.started_at + lag)
    assert isinstance(await plugin.find(begun), Found)


# direct messages


async def test_message_sent(twin: XTwin, plugin: XSource) -> None:
    sent = await plugin.send(plugin.render(draft("Your number, please <3", MESSAGE)), "k")
    (message,) = twin.messages_from("AcmeSupport")
    assert (sent.external_id, message.text, message.recipient) == (message.id, "Your number, please <3", RITA)
    assert sent.url == f"https://x.com/messages/{BRAND}-{RITA}"


@pytest.mark.parametrize("names", [{"ref": f"{BRAND}-{RITA}"}, {"recipient": RITA}])
async def test_message_into_a_conversation_and_to_a_user(twin: XTwin, plugin: XSource, names: Any) -> None:
    await plugin.send(plugin.render(draft("hello", ReplyTarget(kind="direct_message", **names))), "k")
    assert twin.messages_from("AcmeSupport")[0].conversation == f"{BRAND}-{RITA}"


async def test_message_to_somebody_who_takes_none(twin: XTwin, plugin: XSource) -> None:
    user = twin.add_user("closed", dms_open=False)
    target = ReplyTarget(kind="direct_message", recipient=user.id)
    with pytest.raises(Rejected, match="permission to DM"):
        await plugin.send(plugin.render(draft("hello", target)), "k")
    twin.direct_message("closed", "AcmeSupport", "hi")
    await plugin.send(plugin.render(draft("hello", target)), "k")


@pytest.mark.parametrize("kind", ["status_after", "drop_after"])
async def test_message_found_after_an_unknown_outcome(
    twin: XTwin, plugin: XSource, clock: SharedTime, kind: Any
) -> None:
    rendered = plugin.render(draft("Thanks & <bye> https://example.com", MESSAGE))
    twin.direct_message("AcmeSupport", "rita_ex", rendered.text, at=clock.now() - timedelta(minutes=5))
    twin.direct_message("rita_ex", "AcmeSupport", rendered.text)
    begun = intent(rendered, clock)
    assert isinstance(await plugin.find(begun), Absent)
    twin.faults.append(Fault(kind, method="POST", status=502))
    with pytest.raises(Unknown):
        await plugin.send(rendered, "k")
    for number in range(25):
        twin.direct_message("rita_ex", "AcmeSupport", f"hello? {number}")
    found = await plugin.find(begun)
    assert isinstance(found, Found)
    assert found.external_id == twin.messages_from("AcmeSupport")[-1].id


async def test_retract(twin: XTwin, plugin: XSource, asked: str) -> None:
    sent = await plugin.send(plugin.render(draft("Oops", to(asked))), "k")
    await plugin.retract(sent)
    assert twin.published("AcmeSupport") == []
    await plugin.retract(sent)
    message = await plugin.send(plugin.render(draft("Oops", MESSAGE)), "k")
    await plugin.retract(message)
    assert twin.messages_from("AcmeSupport") == []
    assert [effect.id for effect in twin.ledger if effect.kind == "delete"] == [sent.external_id, message.external_id]


async def test_what_others_wrote_is_not_deleted(twin: XTwin, plugin: XSource, asked: str) -> None:
    with pytest.raises(Rejected):
        await plugin.retract(Sent(external_id=asked))


async def test_replies_cannot_be_edited(plugin: XSource, asked: str) -> None:
    sent = await plugin.send(plugin.render(draft("Hello", to(asked))), "k")
    with pytest.raises(Rejected) as caught:
        await plugin.amend(sent, plugin.render(draft("Hello!", to(asked))))
    assert caught.value.code == "no_edit"


@pytest.mark.parametrize("body", [b"", b"<html>", b"[]", b"{}", b'{"data":{}}', b'{"data":{"id":5}}', b'{"data":null}'])
async def test_an_unreadable_success_is_unknown(twin: XTwin, plugin: XSource, asked: str, body: bytes) -> None:
    twin.faults.append(Fault("status_before", method="POST", status=201, body=body))
    with pytest.raises(Unknown):
        await plugin.send(plugin.render(draft("Hello", to(asked))), "k")


@pytest.mark.parametrize("status", [301, 302, 303, 204, 100 + 102])
async def test_other_successes_and_redirects_are_unknown(twin: XTwin, plugin: XSource, asked: str, status: int) -> None:
    twin.faults.append(Fault("status_before", method="POST", status=status, headers={"location": "/x"}))
    with pytest.raises(Unknown):
        await plugin.send(plugin.render(draft("Hello", to(asked))), "k")


async def test_a_refusal_without_a_body(twin: XTwin, plugin: XSource, asked: str) -> None:
    twin.faults.append(Fault("status_before", method="POST", status=400, body=b"<html>"))
    with pytest.raises(Rejected) as caught:
        await plugin.send(plugin.render(draft("Hello", to(asked))), "k")
    assert caught.value.code == "http_400"
    assert [method for method, _, _ in twin.requests] == ["POST"], "only a 403 may mean a duplicate"
