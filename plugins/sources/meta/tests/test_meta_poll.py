"""Polling as gap repair: everything once, whatever arrives while it is read, and nothing that was told before."""

from __future__ import annotations

from typing import Any

import pytest

from gateway_schemas.errors import Rejected
from gateway_schemas.interaction import Interaction


def ids(news: Any) -> list[str]:
    return [item.external_id for item in news if isinstance(item, Interaction)]


@pytest.mark.parametrize("who", ["acme", "acme.gram"])
async def test_posts_and_comments_of_many_pages(ground: Any, who: str) -> None:
    posts = [ground.twin.post(who, f"post {number}") for number in range(30)]
    busy = [ground.twin.post("jo", f"comment {number}", posts[3]) for number in range(120)]
    ground.time.pass_by(minutes=5)
    answers = [ground.twin.post("kim", f"answer {number}", busy[0]) for number in range(5)]
    ground.time.pass_by(hours=1)
    plugin = ground.plugin(who)
    news, cursor = await ground.drain(plugin, "comments")
    assert set(ids(news)) == {*posts, *busy, *answers}
    ground.time.pass_by(hours=1)
    again, cursor = await ground.drain(plugin, "comments", cursor)
    assert ids(again) == []
    ground.time.pass_by(hours=1)
    late = ground.twin.post("kim", "one more", posts[3])
    found, _ = await ground.drain(plugin, "comments", cursor)
    assert set(ids(found)) == {posts[3], late}


async def test_a_comment_under_an_old_post_is_found(ground: Any) -> None:
    old = ground.twin.post("acme", "long ago", at=ground.time.now())
    plugin = ground.plugin()
    _, cursor = await ground.drain(plugin, "comments")
    ground.time.pass_by(days=29)
    comment = ground.twin.post("jo", "I only see this now", old)
    news, cursor = await ground.drain(plugin, "comments", cursor)
    assert set(ids(news)) == {old, comment}


async def test_a_page_cursor_that_ended_begins_the_walk_anew_once(ground: Any) -> None:
    for number in range(60):
        ground.twin.post("acme", f"post {number}")
    plugin = ground.plugin()
    first = await plugin.poll("comments", None)
    ended = {**first.cursor, "run": {**first.cursor["run"], "after": "bm8="}}
    begun = await plugin.poll("comments", ended)
    assert begun.more
    news, _ = await ground.drain(plugin, "comments", begun.cursor)
    assert len(set(ids(news))) == 60
    with pytest.raises(Rejected):
        await plugin.poll("comments", {**begun.cursor, "run": {**begun.cursor["run"], "after": "bm8="}})


async def test_a_post_deleted_while_it_is_read_ends_nothing(ground: Any) -> None:
    post = ground.twin.post("acme", "Colours")
    for number in range(60):
        ground.twin.post("jo", f"comment {number}", post)
    other = ground.twin.post("jo", "elsewhere", ground.twin.post("acme", "Shapes"))
    plugin = ground.plugin()
    first = await plugin.poll("comments", None)
    assert first.more
    ground.twin.delete(post)
    _, cursor = await ground.drain(plugin, "comments", first.cursor)
    assert "run" not in cursor or cursor["run"] is None
    assert other in ids(ground.read(first.pages))


async def test_long_conversations_are_read_to_their_beginning(ground: Any) -> None:
    said = [ground.twin.direct_message("jo", "acme", f"message {number}") for number in range(120)]
    other = ground.twin.direct_message("kim", "acme", "me too")
    ground.time.pass_by(hours=1)
    plugin = ground.plugin()
    news, cursor = await ground.drain(plugin, "messages")
    assert set(ids(news)) == {*said, other}
    ground.time.pass_by(hours=2)
    answer = ground.twin.direct_message("acme", "jo", "one moment")
    found, _ = await ground.drain(plugin, "messages", cursor)
    assert ids(found) == [answer]


async def test_a_stream_without_its_permission_fails_alone(ground: Any) -> None:
    ground.twin.recommend("jo", "acme", "Bad")
    ground.twin.direct_message("jo", "acme", "Hello")
    ground.twin.scopes("acme").discard("pages_read_user_content")
    plugin = ground.plugin()
    with pytest.raises(Rejected) as refused:
        await plugin.poll("ratings", None)
    assert refused.value.code == "no_permission"
    news, _ = await ground.drain(plugin, "messages")
    assert len(ids(news)) == 1


async def test_messages_that_are_switched_off_are_not_read(ground: Any) -> None:
    ground.twin.direct_message("jo", "acme", "Hello")
    plugin = ground.plugin(messages=False)
    assert "messages" not in plugin.capabilities.streams
    page = await plugin.poll("messages", None)
    assert (list(page.pages), page.more) == ([], False)


async def test_what_arrives_while_a_long_walk_goes_on_is_read_by_the_next(ground: Any) -> None:
    posts = [ground.twin.post("acme", f"post {number}") for number in range(60)]
    plugin = ground.plugin()
    first = await plugin.poll("comments", None)
    assert posts[-1] in ids(ground.read(first.pages))
    ground.time.pass_by(hours=1)
    late = ground.twin.post("jo", "under a post that was read already", posts[-1])
    ground.time.pass_by(hours=1)
    _, cursor = await ground.drain(plugin, "comments", first.cursor)
    news, _ = await ground.drain(plugin, "comments", cursor)
    assert late in ids(news)
