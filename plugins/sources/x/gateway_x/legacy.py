"""The payloads of the deprecated Account Activity API, turned into today's shape."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import Any

from gateway_schemas.errors import Malformed

_TIME = "%a %b %d %H:%M:%S %z %Y"


def is_legacy(event: Mapping[str, Any]) -> bool:
    """Whether this came from the Account Activity API: it names the subscribed user at the top."""
    return "for_user_id" in event


def post(old: Any) -> tuple[dict[str, Any], list[dict[str, Any]], bool]:
    """A v1.1 post as a v2 one, the users it carries, and whether its text is cut. Raises Malformed."""
    if not isinstance(old, Mapping):
        raise Malformed("tweet_create_events: expected objects")
    user = old.get("user")
    if not isinstance(user, Mapping) or not user.get("id_str"):
        raise Malformed(f"tweet_create_events: post {old.get('id_str')} has no user.id_str")
    whole = old.get("extended_tweet")
    whole = whole if isinstance(whole, Mapping) else {}
    references = [("replied_to", old.get("in_reply_to_status_id_str")), ("quoted", old.get("quoted_status_id_str"))]
    repost = old.get("retweeted_status")
    if isinstance(repost, Mapping):
        references.append(("retweeted", repost.get("id_str")))
    entities = whole.get("entities") or old.get("entities")
    new = {
        "id": old.get("id_str"),
        "text": whole.get("full_text") or old.get("full_text") or old.get("text", ""),
        "author_id": user["id_str"],
        "created_at": _iso(old.get("created_at")),
        "lang": old.get("lang"),
        "in_reply_to_user_id": old.get("in_reply_to_user_id_str"),
        "referenced_tweets": [{"type": type, "id": id} for type, id in references if id],
        "entities": _entities(entities) if isinstance(entities, Mapping) else None,
    }
    return new, [_user(user)], bool(old.get("truncated")) and not whole


def users(old: Any) -> list[dict[str, Any]]:
    """The users of a direct message delivery, by id in the old shape, as v2 ones."""
    return [_user(user) for user in old.values() if isinstance(user, Mapping)] if isinstance(old, Mapping) else []


def _user(old: Mapping[str, Any]) -> dict[str, Any]:
    return {
        "id": old.get("id_str") or old.get("id"),
        "username": old.get("screen_name"),
        "name": old.get("name"),
        "verified": old.get("verified"),
        "profile_image_url": old.get("profile_image_url_https"),
        "public_metrics": {"followers_count": old.get("followers_count")},
    }


def _entities(old: Mapping[str, Any]) -> dict[str, Any]:
    named = old.get("user_mentions")
    mentions = [
        {"username": item.get("screen_name", ""), "id": item.get("id_str")}
        for item in (named if isinstance(named, list) else ())
        if isinstance(item, Mapping)
    ]
    return {"mentions": mentions, "urls": old.get("urls")}


def _iso(value: Any) -> str | None:
    if not isinstance(value, str):
        return None
    try:
        moment = datetime.strptime(value, _TIME)  # noqa: DTZ007 -- the format reads the zone
    except ValueError:
        raise Malformed(f"created_at: expected a time such as Fri Nov 20 09:14:03 +0000 2026, got {value!r}") from None
    return moment.isoformat()
