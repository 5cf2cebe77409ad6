"""One post of X as an interaction: identity over edits, thread, who is spoken to, text, media."""

from __future__ import annotations

import mimetypes
from collections.abc import Iterable, Iterator
from datetime import datetime
from typing import Literal
from urllib.parse import urlsplit

from gateway_schemas.errors import Malformed
from gateway_schemas.interaction import Attachment, Author, Interaction, Normalised, ReplyTarget, Wanted
from gateway_x.payloads import Entities, Includes, Media, Post, User, snowflake_time

_UNKNOWN_LANGUAGES = {"und", "zxx", "art"}
_OLD_LANGUAGES = {"in": "id", "iw": "he", "ji": "yi"}


def plain_text(text: str) -> str:
    """The text that the author wrote: X escapes exactly `&`, `<` and `>`."""
    return text.replace("&lt;", "<").replace("&gt;", ">").replace("&amp;", "&")


def language(code: str | None) -> str | None:
    """X's language as BCP 47; None for its codes of "undetermined", "media only", "hashtags only" and the like."""
    if not code or code in _UNKNOWN_LANGUAGES or (len(code) == 3 and code.startswith("q")):
        return None
    return _OLD_LANGUAGES.get(code, code)


def author(id: str, user: User | None) -> Author:
    """Who wrote it, with what the answer says of them."""
    if user is None:
        return Author(external_id=id)
    return Author(
        external_id=id,
        handle=user.username,
        name=user.name,
        url=f"https://x.com/{user.username}" if user.username else None,
        avatar_url=user.profile_image_url,
        followers=user.public_metrics.followers_count if user.public_metrics else None,
        verified=user.verified,
    )


def post_url(id: str, handle: str | None) -> str:
    """The address of a post; X finds it without the handle too."""
    return f"https://x.com/{handle}/status/{id}" if handle else f"https://x.com/i/web/status/{id}"


def attachments(keys: Iterable[str], includes: Includes, post: str | None = None) -> tuple[Attachment, ...]:
    """The media of a post or message; where the answer left one out, its key, and the post to look it up by."""
    return tuple(attachment(key, includes.media.get(key), post) for key in keys)


def attachment(key: str, media: Media | None, post: str | None = None) -> Attachment:
    """One picture or video; of a video the variant of the best quality."""
    if media is None:
        return Attachment(external_id=key, lookup=post)
    best = max((item for item in media.variants if item.url), key=lambda item: item.bit_rate, default=None)
    if best is not None:
        return Attachment(external_id=key, url=best.url, media_type=best.content_type, alt_text=media.alt_text)
    url = media.url or media.preview_image_url
    return Attachment(external_id=key, url=url, media_type=media_type(url), alt_text=media.alt_text)


def media_type(url: str | None) -> str | None:
    """The media type that an address's ending tells."""
    return mimetypes.guess_type(urlsplit(url).path)[0] if url else None


class Thread:
    """The posts of one delivery, seen from one of the brand's accounts."""

    def __init__(self, account: str, includes: Includes) -> None:
        self.account = account
        self.includes = includes
        self._done: set[str] = set()
        self._wanted: set[str] = set()

    def items(self, post: Post, *, addressed: bool = False) -> Iterator[Normalised]:
        """The post's ancestors as far as the delivery carries them, oldest first, then the post itself.

        A parent by somebody else that is not carried is wanted, once a delivery.
        """
        chain, seen = [post], {post.id}
        while (parent := self.includes.posts.get(chain[-1].parent or "")) is not None and parent.id not in seen:
            chain.append(parent)
            seen.add(parent.id)
        for ancestor in reversed(chain[1:]):
            if ancestor.author_id is not None and ancestor.id not in self._done:
                self._done.add(ancestor.id)
                yield self.interaction(ancestor)
        oldest = chain[-1]
        missing = oldest.parent
        if missing and missing not in seen | self._done | self._wanted and self._asks(oldest):
            self._wanted.add(missing)
            yield Wanted(ref=missing, reason="ancestor", account=self.account)
        if post.id not in self._done:
            self._done.add(post.id)
            yield self.interaction(post, addressed=addressed)

    def _asks(self, post: Post) -> bool:
        return post.in_reply_to_user_id != self.account

    def interaction(self, post: Post, *, addressed: bool = False) -> Interaction:
        """One post. Raises Malformed when it names no author."""
        if post.author_id is None:
            raise Malformed(f"post {post.id} has no author_id; ask for it in tweet.fields")
        entities = post.all_entities
        user = self.includes.users.get(post.author_id)
        handle = user.username if user else None
        quotes, parent = post.reference("quoted"), post.parent
        own = post.author_id == self.account
        history = post.edit_history if post.id in post.edit_history else [*post.edit_history, post.id]
        supersedes = tuple(history[: history.index(post.id)])
        # a reply whose parent was deleted keeps its conversation, without a reference
        starts = parent is None and post.conversation_id in (None, *history)
        mentions = self._mentions(entities)
        return Interaction(
            external_id=history[0],
            revision=post.id,
            supersedes=supersedes,
            account=self.account,
            kind="post" if starts else "comment",
            subkind="quote" if quotes else None,
            visibility="public",
            direction="outbound" if own else "inbound",
            author=author(post.author_id, user),
            text=plain_text(post.whole_text),
            language=language(post.lang),
            root=history[0] if starts else post.conversation_id,
            in_reply_to=parent,
            root_owner=self._root_owner(post, post.id if starts else post.conversation_id),
            mentions=mentions,
            quotes=quotes,
            addressed=own or addressed or self._addressed(post, mentions, quotes),
            attachments=attachments(post.attachments.media_keys if post.attachments else (), self.includes, post.id),
            url=post_url(post.id, handle),
            reply_target=ReplyTarget(kind="mention" if starts else "comment", ref=post.id, recipient=post.author_id),
            published_at=_published(post, history[0]),
            edited_at=_edited(post) if supersedes else None,
            extra=links(entities),
        )

    def _mentions(self, entities: Entities) -> tuple[str, ...]:
        ids = (item.id or self.includes.ids_by_handle.get(item.username.lower()) for item in entities.mentions)
        return tuple(dict.fromkeys(id for id in ids if id))

    def _addressed(self, post: Post, mentions: tuple[str, ...], quotes: str | None) -> bool:
        if self.account in mentions or post.in_reply_to_user_id == self.account:
            return True
        return any(self._writes(id) == self.account for id in (quotes, post.parent) if id)

    def _writes(self, id: str) -> str | None:
        post = self.includes.posts.get(id)
        return post.author_id if post else None

    def _root_owner(self, post: Post, root: str | None) -> Literal["brand", "customer", "other"] | None:
        if root == post.id:
            owner = post.author_id
        elif root is not None and root == post.parent and post.in_reply_to_user_id:
            owner = post.in_reply_to_user_id
        else:
            owner = self._writes(root) if root else None
        if owner is None:
            return None
        if owner == self.account:
            return "brand"
        return "customer" if owner == post.author_id or post.author_id == self.account else "other"


def _published(post: Post, first: str) -> datetime:
    """When the first version came out; edits carry the time of their first version in its id."""
    moment = (post.created_at if first == post.id else None) or snowflake_time(first) or post.created_at
    if moment is None:
        raise Malformed(f"post {post.id} has no created_at, and its id holds no time")
    return moment


def _edited(post: Post) -> datetime | None:
    return snowflake_time(post.id) or post.created_at


def links(entities: Entities | None) -> dict[str, dict[str, str]]:
    """What X's short links in a text stand for, as an interaction's `extra`."""
    found = {link.url: link.expanded_url for link in (entities.urls if entities else ()) if link.expanded_url}
    return {"links": found} if found else {}
