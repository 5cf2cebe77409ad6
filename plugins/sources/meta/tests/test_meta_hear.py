"""What is heard: webhooks of both kinds of account, and what they named and did not carry."""

from __future__ import annotations

from typing import Any

import pytest

from gateway_meta.twin_events import meta_json
from gateway_schemas.errors import Malformed
from gateway_schemas.interaction import Deletion, Ignored, Interaction, Wanted
from gateway_schemas.webhook import RawDelivery


async def test_a_comment_brings_its_post_along(ground: Any, one: Any) -> None:
    await ground.install()
    post = ground.twin.post("acme", "Our autumn colours")
    await ground.told()
    comment = ground.twin.post("jo", "In blue? 💙", post)
    news = await ground.told()
    assert [item.ref for item in news if isinstance(item, Wanted)] == [post]
    told = one(news)
    assert (told.external_id, told.root, told.in_reply_to, told.root_owner) == (comment, post, post, "brand")
    context = one(await ground.fetched(ground.plugin(), news))
    assert (context.external_id, context.direction, context.text) == (post, "outbound", "Our autumn colours")


async def test_webhook_and_poll_tell_the_same_thing(ground: Any, one: Any) -> None:
    await ground.install("acme", "acme.gram")
    post = ground.twin.post("acme", "Our autumn colours", picture="https://scontent.example/1.jpg")
    gram = ground.twin.post("acme.gram", "Our autumn colours")
    ground.twin.post("jo", "In blue?", post, picture="https://scontent.example/2.jpg")
    ground.twin.post("jo", "On Instagram", gram)
    ground.twin.recommend("jo", "acme", "Waited two hours")
    ground.twin.direct_message("jo", "acme", "Hello", picture="https://scontent.example/3.jpg")
    ground.twin.post("kim", "Never again @acme", mentions="acme")
    told = {item.external_id: item for item in await ground.told() if isinstance(item, Interaction)}
    polled = {}
    for who in ("acme", "acme.gram"):
        plugin = ground.plugin(who)
        for stream in plugin.capabilities.streams:
            news, _ = await ground.drain(plugin, stream)
            polled |= {item.external_id: item for item in news if isinstance(item, Interaction)}
    assert set(told) == set(polled) - {gram}
    same = {"revision", "account", "kind", "visibility", "direction", "text", "root", "recommendation", "rating"}
    for id, item in told.items():
        other = polled[id]
        assert item.model_dump(include=same) == other.model_dump(include=same), id
        assert item.author.external_id == other.author.external_id
        assert (item.reply_target is None) == (other.reply_target is None)


async def test_a_recommendation_is_never_a_rating(ground: Any, one: Any) -> None:
    await ground.install()
    ground.twin.recommend("jo", "acme", "Great", positive=True)
    review = one(await ground.told())
    assert (review.recommendation, review.rating) == ("positive", None)


async def test_a_recommendation_without_its_story_is_looked_up(ground: Any, one: Any) -> None:
    """One thing has one identity: the webhook alone would give another one than the list."""
    await ground.install()
    for number in range(60):
        ground.twin.add_user(f"u{number}")
        ground.twin.recommend(f"u{number}", "acme", "fine", positive=True)
    ground.carried.clear()
    story = ground.twin.recommend("kim", "acme", "Bad", with_story=False)
    for number in range(60):
        ground.twin.add_user(f"v{number}")
        ground.twin.recommend(f"v{number}", "acme", "fine", positive=True)
    news = await ground.told()
    review = one(await ground.fetched(ground.plugin(), news[:1]))
    assert review.external_id == story


@pytest.mark.parametrize("flat", [False, True])
async def test_instagram_comments_in_both_shapes(ground: Any, one: Any, flat: bool) -> None:
    ground.twin.flat = flat
    await ground.install("acme.login")
    media = ground.twin.post("acme.login", "New reel")
    comment = ground.twin.post("jo", "When?", media)
    told = one(await ground.told())
    assert (told.external_id, told.account, told.root) == (comment, "17841400000000002", media)


async def test_instagram_mentions_are_thin(ground: Any, one: Any) -> None:
    await ground.install("acme.gram")
    plugin = ground.plugin("acme.gram")
    media = ground.twin.post("kim", "thanks @acme.gram", mentions="acme.gram")
    comment = ground.twin.post("jo", "ask @acme.gram", media, mentions="acme.gram")
    news = await ground.told()
    assert all(isinstance(item, Wanted) for item in news)
    caption, below = await ground.fetched(plugin, news)
    assert (caption.external_id, caption.kind, caption.root_owner) == (media, "post", "customer")
    assert (below.external_id, below.text, below.subkind, below.root) == (comment, "ask @acme.gram", "mention", media)
    ground.twin.delete(comment)
    pages = await plugin.fetch([Wanted(ref=f"mentioned_comment:{comment}:{media}")])
    assert list(pages[0].gone) == [f"mentioned_comment:{comment}:{media}"]


async def test_own_words_are_outbound(ground: Any) -> None:
    await ground.install("acme", "acme.gram")
    post = ground.twin.post("acme", "Our autumn colours")
    ground.twin.post("acme", "Yes", ground.twin.post("jo", "In blue?", post))
    media = ground.twin.post("acme.gram", "Our autumn colours")
    ground.twin.post("acme.gram", "Yes", ground.twin.post("jo", "In blue?", media))
    for who in ("acme", "acme.gram"):
        ground.twin.direct_message("jo", who, "Hello")
        ground.twin.direct_message(who, "jo", "Hello Jo")
    told = [item for item in await ground.told() if isinstance(item, Interaction)]
    own = {item.direction for item in told if item.author.external_id in ("100200300", "17841400000000001")}
    others = {item.direction for item in told if item.author.external_id == "7700110022"}
    assert (own, others) == ({"outbound"}, {"inbound"})
    assert sum(item.direction == "outbound" for item in told) == 5
    assert all(item.reply_target is None for item in told if item.direction == "outbound")


async def test_removed_hidden_and_shown_again(ground: Any, one: Any) -> None:
    await ground.install()
    comment = ground.twin.post("jo", "In blue?", ground.twin.post("acme", "Colours"))
    await ground.told()
    ground.twin.hide(comment)
    assert [type(item) for item in await ground.told()] == [Ignored]
    ground.twin.hide(comment, hidden=False)
    news = await ground.told()
    assert [type(item) for item in news] == [Wanted]
    assert one(await ground.fetched(ground.plugin(), news)).external_id == comment
    ground.twin.delete(comment)
    (gone,) = await ground.told()
    assert isinstance(gone, Deletion)
    assert gone.external_id == comment


@pytest.mark.parametrize("item", ["comment", "status"])
async def test_an_edit_without_its_words_empties_nothing(ground: Any, one: Any, item: str) -> None:
    """Meta leaves the words out where an App may not see them, and where something else was changed."""
    ids = {"post_id": "100200300_5"} | ({"comment_id": "5_6"} if item == "comment" else {})
    value = {"from": {"id": "7700110022"}, "item": item, "verb": "edited", "photo": "https://scontent.example/1", **ids}
    entry = {"id": "100200300", "time": 1795168000, "changes": [{"field": "feed", "value": value}]}
    body = {"object": "page", "entry": [entry]}
    (news,) = ground.reader.normalise(RawDelivery("d", "webhook", meta_json(body), ground.time.now()))
    assert isinstance(news, Wanted)
    assert (news.ref, news.reason) == (ids.get("comment_id", "100200300_5"), "refresh")


async def test_unsent_on_instagram(ground: Any) -> None:
    await ground.install("acme.gram")
    message = ground.twin.direct_message("jo", "acme.gram", "wrong window")
    ground.twin.delete(message)
    said, gone = await ground.told()
    assert isinstance(said, Interaction)
    assert isinstance(gone, Deletion)
    assert (gone.external_id, gone.by) == (message, "author")


async def test_a_message_is_edited_under_its_id(ground: Any, one: Any) -> None:
    await ground.install()
    message = ground.twin.direct_message("jo", "acme", "order 4711")
    first = one(await ground.told())
    ground.time.pass_by(minutes=1)
    ground.twin.edit(message, "order 4712")
    edited = one(await ground.told())
    assert (edited.external_id, edited.text) == (message, "order 4712")
    assert edited.revision != first.revision
    assert edited.edited_at == ground.time.now().replace(microsecond=250_000)
    # the edit does not open the window anew
    assert edited.reply_target.closes_at is None


async def test_without_values_the_newest_is_read(ground: Any) -> None:
    await ground.install()
    ground.twin.state.webhooks["page"].include_values = False
    comment = ground.twin.post("jo", "In blue?", ground.twin.post("acme", "Colours"))
    news = await ground.told()
    assert {item.ref for item in news} == {"recent:comments:100200300"}
    assert comment in {item.external_id for item in await ground.fetched(ground.plugin(), news[:1])}


async def test_one_thing_that_is_gone_fails_no_other(ground: Any, one: Any) -> None:
    post = ground.twin.post("acme", "Colours")
    gone = ground.twin.post("jo", "never mind", post)
    ground.twin.delete(gone)
    comment = ground.twin.post("jo", "In blue?", post)
    wanted = [Wanted(ref=ref, reason="refresh") for ref in (gone, comment, "not/an:id")]
    pages = await ground.plugin().fetch(wanted)
    assert {ref for page in pages for ref in page.answers} == {comment}
    assert {ref for page in pages for ref in page.gone} == {gone, "not/an:id"}
    news = ground.read(pages, "fetch")
    assert {item.external_id for item in news if isinstance(item, Deletion)} == {gone, "not/an:id"}
    assert one(news).external_id == comment


async def test_a_missing_permission_deletes_nothing(ground: Any) -> None:
    comment = ground.twin.post("jo", "In blue?", ground.twin.post("acme", "Colours"))
    ground.twin.scopes("acme").discard("pages_read_user_content")
    assert await ground.plugin().fetch([Wanted(ref=comment, reason="refresh")]) == []


def test_an_entry_without_account_is_malformed(ground: Any) -> None:
    delivery = RawDelivery("d", "webhook", b'{"object":"page","entry":[{"changes":[]}]}', ground.time.now())
    with pytest.raises(Malformed, match=r"entry\.id"):
        ground.reader.normalise(delivery)


def test_seconds_and_milliseconds(ground: Any, one: Any) -> None:
    """`entry.time` is in seconds for changes and in milliseconds for messages."""
    for time, shown in ((1795168000, 0), (1795168000123, 123_000)):
        value = {"id": "2", "from": {"id": "3", "username": "jo"}, "text": "hi", "media": {"id": "4"}}
        body = {"object": "instagram", "entry": [{"id": "1", "time": time, "field": "comments", "value": value}]}
        item = one(ground.reader.normalise(RawDelivery("d", "webhook", meta_json(body), ground.time.now())))
        assert (item.published_at.year, item.published_at.microsecond) == (2026, shown)


def test_stars_beside_a_recommendation_are_not_taken(ground: Any, one: Any) -> None:
    value = {"item": "rating", "verb": "add", "recommendation_type": "NEGATIVE", "rating": 1, "reviewer_id": "3"}
    change = {"field": "ratings", "value": {**value, "open_graph_story_id": "4455"}}
    body = {"object": "page", "entry": [{"id": "100200300", "time": 1795168000, "changes": [change]}]}
    review = one(ground.reader.normalise(RawDelivery("d", "webhook", meta_json(body), ground.time.now())))
    assert (review.recommendation, review.rating) == ("negative", None)
