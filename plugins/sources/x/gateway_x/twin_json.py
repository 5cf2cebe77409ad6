"""The twin's objects as X's JSON, in either generation of names."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from datetime import datetime
from typing import Any, Literal

from gateway_schemas.length import weighted_x_length
from gateway_x.twin_state import State, TwinMessage, TwinPost, TwinUser

Naming = Literal["tweet", "post"]
Json = dict[str, Any]

_NEW_NAMES = {
    "edit_history_tweet_ids": "edit_history_post_ids",
    "referenced_tweets": "referenced_posts",
    "note_tweet": "note_post",
}
_ALWAYS = {"id", "text", "edit_history_tweet_ids"}


def iso(moment: datetime) -> str:
    """A time as X writes it."""
    return moment.strftime("%Y-%m-%dT%H:%M:%S.") + f"{moment.microsecond // 1000:03d}Z"


def user_json(user: TwinUser) -> Json:
    """A user with all public fields."""
    return {
        "id": user.id,
        "username": user.username,
        "name": user.name,
        "created_at": iso(user.created_at),
        "protected": user.protected,
        "verified": user.verified,
        "verified_type": "blue" if user.verified else "none",
        "description": "",
        "profile_image_url": f"https://pbs.twimg.com/profile_images/{user.id}/normal.jpg",
        "public_metrics": {
            "followers_count": user.followers,
            "followers_count_str": str(user.followers),
            "following_count": 0,
            "tweet_count": 0,
        },
    }


def post_json(state: State, post: TwinPost, naming: Naming = "tweet") -> Json:
    """A post with all public fields."""
    whole = _text_json(state, post)
    document: Json = {
        "id": post.id,
        "text": whole["text"],
        "author_id": post.author,
        "conversation_id": post.conversation,
        "created_at": iso(post.created_at),
        "display_text_range": [post.implicit, len(post.text)],
        "edit_history_tweet_ids": list(post.history),
        "edit_controls": {"edits_remaining": 6 - len(post.history), "is_edit_eligible": post.in_reply_to is None},
        "lang": post.lang,
        "possibly_sensitive": False,
        "reply_settings": "everyone",
        "paid_partnership": False,
    }
    if whole["entities"]:
        document["entities"] = whole["entities"]
    if weighted_x_length(post.written) > 280:
        # X cuts the text of long posts and keeps the whole one beside it
        document["note_tweet"] = dict(whole)
        document["text"] = post.text[:275] + "…"
    references = []
    if post.in_reply_to is not None:
        references.append({"type": "replied_to", "id": post.in_reply_to})
        document["in_reply_to_tweet_id"] = post.in_reply_to
        if (parent := state.posts.get(post.in_reply_to)) is not None:
            document["in_reply_to_user_id"] = parent.author
    if post.quotes is not None:
        references.append({"type": "quoted", "id": post.quotes})
    if references:
        document["referenced_tweets"] = references
    if post.media:
        document["attachments"] = {"media_keys": [item.key for item in post.media]}
    return renamed(document, naming)


def _text_json(state: State, post: TwinPost) -> Json:
    entities: Json = {}
    mentions, lowered, searched = [], post.text.lower(), 0
    for user_id in post.mentions:
        name = "@" + state.users[user_id].username
        start = lowered.find(name.lower(), searched)
        if start < 0:
            start = lowered.find(name.lower())
        if start < 0:
            continue
        end = start + len(name)
        mentions.append(
            {
                "start": start,
                "start_str": str(start),
                "end": end,
                "end_str": str(end),
                "username": state.users[user_id].username,
                "id": user_id,
            }
        )
    if mentions:
        entities["mentions"] = mentions
    if post.links:
        entities["urls"] = [
            {
                "start": link.start,
                "end": link.end,
                "url": link.short,
                "expanded_url": link.expanded,
                "display_url": link.expanded.partition("://")[2][:26],
            }
            for link in post.links
        ]
    return {"text": post.text, "entities": entities}


def renamed(document: Json, naming: Naming) -> Json:
    """The same object in the asked generation of names."""
    if naming == "tweet":
        return document
    return {_NEW_NAMES.get(key, key): value for key, value in document.items()}


def chosen(document: Json, fields: Iterable[str]) -> Json:
    """An object with X's default fields and those asked for, under whichever name."""
    wanted = _ALWAYS | set(fields)
    wanted |= {_NEW_NAMES[name] for name in wanted if name in _NEW_NAMES}
    wanted |= {old for old, new in _NEW_NAMES.items() if new in wanted}
    if {"referenced_tweets", "referenced_posts"} & wanted:
        wanted.add("in_reply_to_tweet_id")
    return {key: value for key, value in document.items() if key in wanted}


def message_json(message: TwinMessage) -> Json:
    """A message as the look-ups of API v2 give it."""
    return {
        "id": message.id,
        "event_type": "MessageCreate",
        "text": shown_message(message),
        "sender_id": message.sender,
        "dm_conversation_id": message.conversation,
        "created_at": iso(message.created_at),
    }


def activity_message_json(state: State, message: TwinMessage) -> Json:
    """A message as the activity webhooks carry it, with its two users wrapped in `data`."""
    return {
        "direct_message_events": [
            {
                "type": "message_create",
                "id": message.id,
                "created_timestamp": str(round(message.created_at.timestamp() * 1000)),
                "message_create": {
                    "target": {"recipient_id": message.recipient},
                    "sender_id": message.sender,
                    "message_data": {
                        "text": shown_message(message),
                        "entities": {"hashtags": [], "symbols": [], "user_mentions": [], "urls": []},
                    },
                },
            }
        ],
        "users": {id: {"data": user_json(state.users[id])} for id in (message.sender, message.recipient)},
    }


def shown_message(message: TwinMessage) -> str:
    """A message's text as X gives it."""
    return message.text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")


def includes(state: State, posts: Iterable[TwinPost], expansions: set[str], fields: set[str], naming: Naming) -> Json:
    """What the asked expansions add to an answer."""
    posts = list(posts)
    found: Json = {}
    users: dict[str, Json] = {}
    if "author_id" in expansions:
        users |= {post.author: user_json(state.users[post.author]) for post in posts}
    if "entities.mentions.username" in expansions:
        users |= {id: user_json(state.users[id]) for post in posts for id in post.mentions}
    if users:
        found["users"] = list(users.values())
    if {"referenced_tweets.id", "referenced_posts"} & expansions:
        ids = dict.fromkeys(id for post in posts for id in (post.in_reply_to, post.quotes) if id)
        near = [state.posts[id] for id in ids if id in state.posts and not state.posts[id].deleted]
        near = [post for post in near if not state.users[post.author].protected]
        if near:
            key = "tweets" if naming == "tweet" else "posts"
            found[key] = [chosen(post_json(state, post, naming), fields) for post in near]
    if "attachments.media_keys" in expansions:
        media = {item.key: item for post in posts for item in post.media}
        if media:
            found["media"] = [
                {"media_key": item.key, "type": item.type, "url": item.url}
                | ({"alt_text": item.alt_text} if item.alt_text else {})
                for item in media.values()
            ]
    return found


def problem(name: str, title: str, detail: str, status: int, **more: Any) -> Json:
    """X's error body; `about:blank` where it names no problem."""
    type = f"https://api.x.com/2/problems/{name}" if name else "about:blank"
    return {"title": title, "detail": detail, "type": type, "status": status, **more}


def missing(resource: str, id: str, parameter: str, plural: str = "") -> Mapping[str, Any]:
    """The error that stands for an object that is not there."""
    return {
        "value": id,
        "detail": f"Could not find {resource} with {plural or parameter}: [{id}].",
        "title": "Not Found Error",
        "resource_type": resource,
        "parameter": parameter,
        "resource_id": id,
        "type": "https://api.x.com/2/problems/resource-not-found",
    }
