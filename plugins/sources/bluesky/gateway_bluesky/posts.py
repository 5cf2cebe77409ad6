"""One post of Bluesky as an interaction: identity, thread, who is spoken to, what its facets and embeds say."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Literal

from gateway_bluesky.names import is_post, moment, owner, web_url
from gateway_bluesky.payloads import Facet, Post, Profile, Record, several
from gateway_schemas.interaction import Attachment, Author, Ignored, Interaction, Normalised, ReplyTarget, Wanted


@dataclass(frozen=True)
class Seen:
    """A post as an account sees it."""

    account: str
    """The brand's identifier."""
    post: Post

    def items(self, *, addressed: bool = False, edited_at: datetime | None = None) -> Iterator[Normalised]:
        """The post, and its parent as wanted."""
        reply = self.post.record.reply
        if not is_post(self.post.uri):
            yield Ignored(reason=f"{self.post.uri} is no post")
            return
        if reply is not None and is_post(reply.parent.uri):
            yield Wanted(ref=reply.parent.uri, reason="ancestor", account=self.account)
        yield self.interaction(addressed=addressed, edited_at=edited_at)

    def interaction(self, *, addressed: bool = False, edited_at: datetime | None = None) -> Interaction:
        """The post. Its version is the content identifier, which any change changes."""
        post, record = self.post, self.post.record
        reply, quotes = record.reply, _quoted(record.embed)
        facets = list(record.read_facets)
        mentions = tuple(dict.fromkeys(one.did for facet in facets for one in facet.features if one.did))
        own = post.author.did == self.account
        root = reply.root.uri if reply else post.uri
        own_ref = {"uri": post.uri, "cid": post.cid}
        # createdAt is what the author's clock said; the index knows when it came
        created = moment(record.created_at) or post.indexed_at
        return Interaction(
            external_id=post.uri,
            revision=post.cid,
            account=self.account,
            kind="comment" if reply else "post",
            subkind="quote" if quotes else None,
            visibility="public",
            direction="outbound" if own else "inbound",
            author=author(post.author),
            text=record.text,
            language=record.langs[0] if record.langs and record.langs[0] else None,
            root=root,
            in_reply_to=reply.parent.uri if reply else None,
            root_owner=self._root_owner(root),
            mentions=mentions,
            quotes=quotes,
            addressed=own or addressed or self._speaks_to(record, mentions, quotes),
            attachments=tuple(_attachments(post)),
            url=web_url(post.uri),
            reply_target=ReplyTarget(
                kind="comment" if reply else "mention",
                ref=post.uri,
                recipient=post.author.did,
                extra={
                    "parent": own_ref,
                    "root": {"uri": reply.root.uri, "cid": reply.root.cid} if reply else own_ref,
                    "handles": _handles(post.author, record, facets),
                },
            ),
            published_at=min(created, post.indexed_at),
            visible_at=post.indexed_at,
            edited_at=edited_at,
            extra=_extra(record, facets),
        )

    def _speaks_to(self, record: Record, mentions: tuple[str, ...], quotes: str | None) -> bool:
        parent = owner(record.reply.parent.uri) if record.reply else None
        return self.account in (*mentions, parent, owner(quotes))

    def _root_owner(self, root: str) -> Literal["brand", "customer", "other"]:
        did = owner(root)
        if did == self.account:
            return "brand"
        return "customer" if did == self.post.author.did or self.post.author.did == self.account else "other"


def author(profile: Profile) -> Author:
    """Who wrote it; the identifier stays when the handle changes."""
    handle = profile.handle if profile.handle != "handle.invalid" else None
    return Author(
        external_id=profile.did,
        handle=handle,
        name=profile.display_name or handle,
        url=f"https://bsky.app/profile/{profile.did}",
        avatar_url=profile.avatar,
    )


def shown(text: str, facet: Facet) -> str:
    """The stretch of a text that a facet is about. Offsets count bytes; one within a character gives nothing."""
    raw = text.encode("utf-8", "surrogatepass")
    if not 0 <= facet.index.start < facet.index.end <= len(raw):
        return ""
    try:
        return raw[facet.index.start : facet.index.end].decode("utf-8")
    except UnicodeDecodeError:
        return ""


def links(text: str, facets: list[Facet]) -> dict[str, str]:
    """Where the links of a text lead, by what is shown of them, as far as the two differ."""
    found: dict[str, str] = {}
    for facet in facets:
        for feature in facet.features:
            if feature.uri and (part := shown(text, facet)) and part != feature.uri:
                found[part] = feature.uri
    return found


def _handles(wrote: Profile, record: Record, facets: list[Facet]) -> dict[str, str]:
    """The handles that an answer may mention: an agent writes a name, a mention needs its identifier."""
    found = {wrote.handle.lower(): wrote.did} if wrote.handle and wrote.handle != "handle.invalid" else {}
    for facet in facets:
        for feature in facet.features:
            name = shown(record.text, facet)
            if feature.did and name.startswith("@") and len(found) < 20:
                found.setdefault(name[1:].lower(), feature.did)
    return found


def _extra(record: Record, facets: list[Facet]) -> dict[str, Any]:
    extra: dict[str, Any] = {}
    if found := links(record.text, facets):
        extra["links"] = found
    card = _part(record.embed, "external")
    if card is not None and isinstance(card.get("uri"), str):
        extra["card"] = {"uri": card["uri"], "title": str(card.get("title") or "")}
    return extra


def _part(embed: dict[str, Any] | None, name: str) -> dict[str, Any] | None:
    """A member of an embed, or of the media in a `recordWithMedia`."""
    for holder in (embed, (embed or {}).get("media")):
        if isinstance(holder, dict) and isinstance(holder.get(name), dict):
            found: dict[str, Any] = holder[name]
            return found
    return None


def _quoted(embed: dict[str, Any] | None) -> str | None:
    """The post that is quoted: `record` is a strong ref, in `recordWithMedia` one level deeper."""
    record = (embed or {}).get("record")
    if isinstance(record, dict) and isinstance(record.get("record"), dict):
        record = record["record"]
    uri = record.get("uri") if isinstance(record, dict) else None
    return uri if isinstance(uri, str) and is_post(uri) else None


def _attachments(post: Post) -> Iterator[Attachment]:
    """Pictures and videos, named by their blobs; addresses are in a view of the post only."""
    addresses = picture_urls(post.embed)
    for holder in (post.record.embed, (post.record.embed or {}).get("media")):
        if not isinstance(holder, dict):
            continue
        for picture in [*several(holder.get("images")), *several(holder.get("items"))]:
            if isinstance(picture, dict) and (blob := _blob(picture.get("image"))) is not None:
                alt = picture.get("alt")
                url = addresses.get(blob["cid"])
                yield _file(post, blob, url, alt if isinstance(alt, str) and alt else None)
        if (blob := _blob(holder.get("video"))) is not None:
            alt = holder.get("alt")
            yield _file(post, blob, None, alt if isinstance(alt, str) and alt else None, lookup=False)


def _file(post: Post, blob: dict[str, Any], url: str | None, alt: str | None, *, lookup: bool = True) -> Attachment:
    return Attachment(
        external_id=blob["cid"],
        url=url,
        media_type=blob["type"],
        size=blob["size"],
        alt_text=alt,
        lookup=post.uri if lookup else None,
    )


def _blob(value: Any) -> dict[str, Any] | None:
    ref = value.get("ref") if isinstance(value, dict) else None
    cid = ref.get("$link") if isinstance(ref, dict) else None
    if not isinstance(cid, str):
        return None
    size, media_type = value.get("size"), value.get("mimeType")
    return {
        "cid": cid,
        "size": size if isinstance(size, int) and size >= 0 else None,
        "type": media_type if isinstance(media_type, str) else None,
    }


def picture_urls(embed: dict[str, Any] | None) -> dict[str, str]:
    """The addresses of a view's pictures, by the blob that they have in them."""
    found: dict[str, str] = {}
    for holder in (embed, (embed or {}).get("media")):
        if not isinstance(holder, dict):
            continue
        for picture in [*several(holder.get("images")), *several(holder.get("items"))]:
            url = picture.get("fullsize") if isinstance(picture, dict) else None
            if isinstance(url, str):
                cid = url.rpartition("/")[2].partition("@")[0]
                found[cid] = url
    return found
