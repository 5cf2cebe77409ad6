"""One direct message of Bluesky's chat service as an interaction."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from pydantic import ValidationError

from gateway_bluesky.names import message_ref
from gateway_bluesky.payloads import Facet, Message, Profile, read
from gateway_bluesky.posts import author, links
from gateway_schemas.interaction import Ignored, Interaction, Normalised, ReplyTarget


def message(account: str, convo: str, value: Any, profiles: Mapping[str, Profile]) -> Normalised:
    """A message of a conversation. Raises Malformed.

    Messages cannot be changed; deleting one hides it from whoever does so and from nobody else.
    """
    kind = str(value.get("$type", "")).rpartition("#")[2] if isinstance(value, dict) else ""
    if kind == "deletedMessageView":
        return only_for_us()
    if kind not in ("", "messageView"):
        return Ignored(reason=f"{kind} is no message of a person")
    item = read(Message, value, "message")
    own = item.sender.did == account
    others = [did for did in profiles if did != account]
    earlier = (item.reply_to or {}).get("id")
    facets = []
    for one in item.facets:
        try:
            facets.append(Facet.model_validate(one))
        except ValidationError:
            continue
    found = links(item.text, facets)
    extra: dict[str, Any] = {"links": found} if found else {}
    shared = ((item.embed or {}).get("record") or {}).get("uri")
    if isinstance(shared, str):
        extra["shares"] = shared
    return Interaction(
        external_id=message_ref(convo, item.id),
        revision=item.id,
        account=account,
        kind="direct_message",
        visibility="private",
        direction="outbound" if own else "inbound",
        author=author(profiles.get(item.sender.did) or Profile(did=item.sender.did)),
        text=item.text,
        root=convo,
        in_reply_to=message_ref(convo, earlier) if isinstance(earlier, str) and earlier else None,
        url=f"https://bsky.app/messages/{convo}",
        reply_target=ReplyTarget(
            kind="direct_message",
            ref=convo,
            recipient=item.sender.did if not own else others[0] if len(others) == 1 else None,
        ),
        published_at=item.sent_at,
        extra=extra,
    )


def only_for_us() -> Ignored:
    """What the account deleted is hidden from it alone; the other side reads it on."""
    return Ignored(reason="the account hid a message from itself; the other side still has it")
