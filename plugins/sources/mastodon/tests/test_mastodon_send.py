"""The way out: who may see an answer and who is told of it, its length, its key, what becomes of it."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest

from gateway_mastodon.plugin import MastodonSource
from gateway_mastodon.twin import MastodonTwin
from gateway_schemas.errors import Gone, Reauthorise, Rejected, Retry, Unknown
from gateway_schemas.interaction import ReplyTarget
from gateway_schemas.reply import Absent, Found, SendIntent, Sent
from gateway_schemas.testing.clock import StillTime
from gateway_schemas.testing.twin import Fault

RITA = "rita@example.social"
SUPPORT = "@support@masto.acme.example"
BenchLike = Any
Make = Callable[..., MastodonSource]


@pytest.fixture
def asked(twin: MastodonTwin) -> str:
    """A customer's post."""
    return twin.post(RITA, f"{SUPPORT} my login fails")


def intent(rendered: Any, clock: StillTime, key: str = "k") -> SendIntent:
    return SendIntent(key=key, rendered=rendered, started_at=clock.now())


# rendered


@pytest.mark.parametrize(
    ("theirs", "config", "ours"),
    [
        ("public", {}, "unlisted"),
        ("public", {"public_answers": "public"}, "public"),
        ("unlisted", {"public_answers": "public"}, "unlisted"),
        ("private", {}, "direct"),
        ("private", {"followers_only_answers": "private"}, "private"),
        ("direct", {"followers_only_answers": "private"}, "direct"),
    ],
)
async def test_an_answer_is_never_wider_than_its_parent(
    twin: MastodonTwin, bench: BenchLike, make: Make, theirs: str, config: dict[str, Any], ours: str
) -> None:
    id = twin.post(RITA, f"{SUPPORT} help", visibility=theirs)
    rendered = await bench.rendered(id, "Sorry!", plugin=make(config=config))
    assert rendered.body["visibility"] == ours
    assert rendered.body["in_reply_to_id"] == id
    assert rendered.visibility == ("public" if theirs in ("public", "unlisted") else "private")


async def test_going_on_in_private_with_who_wrote_in_public(bench: BenchLike, asked: str, plugin: Any) -> None:
    """The host makes a target of the author alone; the post is named all the same, so that the two stay together."""
    heard = await bench.read(asked)
    target = ReplyTarget(kind="direct_message", recipient=heard.author.external_id)
    rendered = plugin.render(bench.draft(heard, "Your order number, please?", target=target))
    assert rendered.body == {
        "status": "@rita@example.social Your order number, please?",
        "visibility": "direct",
        "in_reply_to_id": asked,
        "language": "en",
    }


async def test_a_private_post_is_not_answered_in_public(twin: MastodonTwin, bench: BenchLike, plugin: Any) -> None:
    heard = await bench.read(twin.post(RITA, f"{SUPPORT} help", visibility="private"))
    target = heard.reply_target.model_copy(update={"kind": "comment"})
    with pytest.raises(Rejected) as caught:
        plugin.render(bench.draft(heard, "Sorry!", target=target))
    assert caught.value.code == "wrong_visibility"
    draft = bench.draft(heard, "Sorry!").model_copy(update={"visibility": "public"})
    with pytest.raises(Rejected):
        plugin.render(draft)


@pytest.mark.parametrize(
    ("text", "sent"),
    [
        ("Sorry!", "@rita@example.social Sorry!"),
        ("Sorry @rita@example.social!", "Sorry @rita@example.social!"),
        ("Sorry @Rita@Example.Social, really", "Sorry @Rita@Example.Social, really"),
        ("Sorry @rita, really", "@rita@example.social Sorry @rita, really"),
        ("mail rita@example.social", "@rita@example.social mail rita@example.social"),
        ("See https://example.social/@rita", "@rita@example.social See https://example.social/@rita"),
    ],
)
async def test_the_customer_is_named_once(bench: BenchLike, asked: str, text: str, sent: str) -> None:
    rendered = await bench.rendered(asked, text)
    assert (rendered.text, rendered.body["status"]) == (text, sent)


async def test_a_neighbour_may_be_named_without_the_server(twin: MastodonTwin, bench: BenchLike) -> None:
    twin.add_user("lena")
    id = twin.post("lena", f"{SUPPORT} help")
    assert (await bench.rendered(id, "Sorry @lena!")).body["status"] == "Sorry @lena!"
    assert (await bench.rendered(id, "Sorry!")).body["status"] == "@lena@masto.acme.example Sorry!"


async def test_an_own_post_is_followed_up_without_a_name(twin: MastodonTwin, bench: BenchLike) -> None:
    assert (await bench.rendered(twin.post("support", "News"), "And more")).body["status"] == "And more"


async def test_content_warning_and_language_are_kept(twin: MastodonTwin, bench: BenchLike, make: Make) -> None:
    id = twin.post(RITA, f"{SUPPORT} es brennt", spoiler_text="Brand", language="de")
    rendered = await bench.rendered(id, "Oh!")
    assert rendered.body | {"status": ""} == {
        "status": "",
        "visibility": "unlisted",
        "in_reply_to_id": id,
        "language": "de",
        "spoiler_text": "Brand",
        "sensitive": True,
    }
    assert (await bench.rendered(id, "Oh!", plugin=make(config={"language": "en"}))).body["language"] == "en"


async def test_length_is_counted_as_the_server_does(
    twin: MastodonTwin, bench: BenchLike, plugin: MastodonSource, asked: str
) -> None:
    """A link is 23, a remote name counts without its server, a family is one, the warning counts too."""
    family = "👨‍👩‍👧‍👦"
    long_link = "https://example.com/" + "a" * 300
    fits = family * (500 - len("@rita ") - 23 - 1) + " " + long_link
    rendered = await bench.rendered(asked, fits)
    assert (rendered.length, rendered.limit) == (500, 500)
    await plugin.send(rendered, "fits")
    over = await bench.rendered(asked, fits + "!")
    assert over.length == 501
    with pytest.raises(Rejected, match="500"):
        await plugin.send(over, "over")
    warned = twin.post(RITA, f"{SUPPORT} es brennt", spoiler_text="12345")
    assert (await bench.rendered(warned, "x")).length == len("@rita x12345")


@pytest.mark.parametrize("text", ["", "  \n"])
async def test_an_empty_answer(bench: BenchLike, asked: str, text: str) -> None:
    with pytest.raises(Rejected) as caught:
        await bench.rendered(asked, text)
    assert (caught.value.code, caught.value.field) == ("empty", "text")


# sent


async def test_exactly_what_was_rendered_is_sent(
    twin: MastodonTwin, bench: BenchLike, plugin: MastodonSource, asked: str
) -> None:
    rendered = await bench.rendered(asked, "Sorry & <b>welcome</b>\n\nhttps://example.com/help")
    sent = await plugin.send(rendered, "k")
    (post,) = twin.published("support")
    assert (post.text, post.in_reply_to, post.visibility) == (rendered.body["status"], asked, "unlisted")
    assert sent.external_id == f"masto.acme.example/{post.id}"
    echo = bench.heard((await bench.drain("own"))[0])[-1]
    assert (echo.external_id, echo.direction) == (sent.external_id, "outbound")


@pytest.mark.parametrize("kind", ["status_after", "timeout_after", "drop_after"])
async def test_an_unknown_outcome_is_found(
    twin: MastodonTwin, bench: BenchLike, plugin: MastodonSource, asked: str, clock: StillTime, kind: Any
) -> None:
    rendered = await bench.rendered(asked, "Sorry! See https://example.com/a/very/long/link/to/see/what/comes")
    twin.post("support", "something else", asked)
    twin.faults.append(Fault(kind, method="POST", status=502, seconds=60))
    with pytest.raises(Unknown):
        await plugin.send(rendered, "k")
    found = await plugin.find(intent(rendered, clock))
    assert isinstance(found, Found)
    assert found.external_id == f"masto.acme.example/{twin.published('support')[-1].id}"


async def test_what_was_not_sent_is_absent(
    twin: MastodonTwin, bench: BenchLike, plugin: MastodonSource, asked: str, clock: StillTime
) -> None:
    """Neither another text, nor the same one to another post, nor the same one of yesterday is it."""
    rendered = await bench.rendered(asked, "Sorry!")
    twin.post("support", rendered.body["status"], asked, visibility="unlisted", at=clock.now() - timedelta(days=1))
    other = twin.post(RITA, f"{SUPPORT} and this?")
    twin.post("support", rendered.body["status"], other, visibility="unlisted")
    twin.post("support", rendered.body["status"], asked, visibility="direct")
    for number in range(60):
        twin.post("support", f"@{RITA} Sorry! {number}", asked, visibility="unlisted")
    assert isinstance(await plugin.find(intent(rendered, clock)), Absent)
    twin.post("support", rendered.body["status"], asked, visibility="unlisted")
    assert isinstance(await plugin.find(intent(rendered, clock)), Found)


async def test_the_same_key_is_one_post_for_an_hour(
    twin: MastodonTwin, bench: BenchLike, plugin: MastodonSource, asked: str, clock: StillTime
) -> None:
    rendered = await bench.rendered(asked, "Sorry!")
    first = await plugin.send(rendered, "k")
    clock.pass_by(minutes=59)
    assert await plugin.send(rendered, "k") == first
    assert (await plugin.send(rendered, "other")).external_id != first.external_id
    clock.pass_by(minutes=2)
    assert (await plugin.send(rendered, "k")).external_id != first.external_id, "which is why we do not rely on it"
    assert plugin.capabilities.idempotent_send is False


@pytest.mark.parametrize(
    ("fault", "error"),
    [
        (Fault("status_before", method="POST", status=401), Reauthorise),
        (Fault("status_before", method="POST", status=403, body=b'{"error":"No"}'), Rejected),
        (Fault("status_before", method="POST", status=422, body=b"<html>"), Rejected),
        (Fault("status_before", method="POST", status=429, headers={"retry-after": "7"}), Retry),
        (Fault("status_before", method="POST", status=500), Unknown),
        (Fault("status_before", method="POST", status=200, body=b"[]"), Unknown),
        (Fault("status_before", method="POST", status=200, body=b'{"id": null}'), Unknown),
    ],
)
async def test_refusals(
    twin: MastodonTwin, bench: BenchLike, plugin: MastodonSource, asked: str, fault: Fault, error: type[Exception]
) -> None:
    rendered = await bench.rendered(asked, "Sorry!")
    twin.faults.append(fault)
    with pytest.raises(error) as caught:
        await plugin.send(rendered, "k")
    if isinstance(caught.value, Retry):
        assert caught.value.after == timedelta(seconds=7)
    assert "twin-token" not in str(caught.value)
    assert twin.published("support") == []


async def test_a_deleted_target(twin: MastodonTwin, bench: BenchLike, plugin: MastodonSource, asked: str) -> None:
    rendered = await bench.rendered(asked, "Sorry!")
    twin.delete(asked)
    with pytest.raises(Gone):
        await plugin.send(rendered, "k")


# changed and taken back


async def test_amend_and_retract(twin: MastodonTwin, bench: BenchLike, plugin: MastodonSource, asked: str) -> None:
    sent = await plugin.send(await bench.rendered(asked, "Sorry! Friday."), "k")
    better = await bench.rendered(asked, "Sorry! Saturday.")
    twin.faults.append(Fault("status_after", method="PUT", status=500))
    with pytest.raises(Retry):
        await plugin.amend(sent, better)
    again = await plugin.amend(sent, better)
    assert (again.external_id, twin.published("support")[0].text) == (sent.external_id, better.body["status"])
    assert len(twin.published("support")[0].versions) == 2
    await plugin.retract(sent)
    assert twin.published("support") == []
    await plugin.retract(sent)
    with pytest.raises(Gone):
        await plugin.amend(sent, better)


async def test_posts_of_another_server_are_not_touched(plugin: MastodonSource) -> None:
    with pytest.raises(Rejected):
        await plugin.retract(Sent(external_id="other.example/1"))


async def test_deletions_have_a_limit_of_their_own(
    twin: MastodonTwin, bench: BenchLike, plugin: MastodonSource, asked: str
) -> None:
    sent = await plugin.send(await bench.rendered(asked, "Sorry!"), "k")
    for _ in range(30):
        await plugin.retract(sent)
    with pytest.raises(Retry) as caught:
        await plugin.retract(sent)
    assert (caught.value.bucket, caught.value.after) == ("delete", timedelta(minutes=30))
    await bench.drain("notifications")


# files


async def test_files_are_uploaded_once_and_go_out(
    twin: MastodonTwin, bench: BenchLike, plugin: MastodonSource, asked: str, clock: StillTime
) -> None:
    photo = bench.file(b"jpeg")
    rendered = await bench.rendered(asked, "Look", files=(photo,))
    twin.processing = 9
    with pytest.raises(Retry):
        await plugin.send(rendered, "k")
    assert twin.published("support") == []
    sent = await plugin.send(rendered, "k")
    (post,) = twin.published("support")
    assert [twin.state.media[id].body for id in post.versions[-1].media] == [b"jpeg"]
    assert len(twin.state.media) == 1
    assert isinstance(await plugin.find(intent(rendered, clock)), Found)
    # another post needs an upload of its own
    twin.processing = 0
    second = await plugin.send(await bench.rendered(asked, "Again", files=(photo,)), "k2")
    assert second.external_id != sent.external_id
    assert len(twin.state.media) == 2
    await plugin.amend(second, await bench.rendered(asked, "Without"))
    assert twin.published("support")[-1].versions[-1].media == ()


async def test_an_upload_that_is_gone_is_brought_anew(
    twin: MastodonTwin, bench: BenchLike, plugin: MastodonSource, asked: str, clock: StillTime
) -> None:
    rendered = await bench.rendered(asked, "Look", files=(bench.file(b"jpeg"),))
    twin.processing = 9
    with pytest.raises(Retry):
        await plugin.send(rendered, "k")
    twin.state.media.clear()
    with pytest.raises(Retry):
        await plugin.send(rendered, "k")
    twin.processing = 0
    await plugin.send(rendered, "k")


@pytest.mark.parametrize(
    ("types", "code"),
    [
        (["image/jpeg"] * 5, "too_many_files"),
        (["image/jpeg", "video/mp4"], "too_many_files"),
        (["application/pdf"], "no_such_media"),
    ],
)
async def test_files_that_the_server_does_not_take(
    bench: BenchLike, make: Make, asked: str, types: list[str], code: str
) -> None:
    plugin = make(config={"media_types": ["image/jpeg", "video/mp4"]})
    files = tuple(bench.file(b"x", media_type) for media_type in types)
    with pytest.raises(Rejected) as caught:
        await bench.rendered(asked, "Look", plugin=plugin, files=files)
    assert (caught.value.code, caught.value.field) == (code, "files")


async def test_a_file_that_is_too_large(bench: BenchLike, make: Make, asked: str) -> None:
    plugin = make(config={"image_bytes": 3})
    with pytest.raises(Rejected, match="takes 3"):
        await bench.rendered(asked, "Look", plugin=plugin, files=(bench.file(b"1234"),))
