"""What deliveries named and did not carry: thin webhooks' objects, missing ancestors, single things looked at again."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Sequence
from typing import Any
from urllib.parse import quote

from gateway_meta import fields
from gateway_meta.api import after, objects
from gateway_meta.instagram import MENTIONED_COMMENT, MENTIONED_MEDIA
from gateway_meta.normalise import RECENT
from gateway_meta.reading import Reader
from gateway_schemas.errors import Gone, Rejected
from gateway_schemas.interaction import Wanted
from gateway_schemas.webhook import RawPage

_AT_ONCE = 5
_RATING_PAGES = 10
_OTHER_TYPE = "graph_100"
"""How Meta refuses fields that a node of another type does not have."""


class Fetcher:
    """Fetches for one account."""

    def __init__(self, reader: Reader) -> None:
        self.reader = reader
        self.api = reader.api

    async def fetch(self, wanted: Sequence[Wanted]) -> list[RawPage]:
        """One call for each thing, a few at once: Meta's look-up of many fails as a whole where one is gone."""
        gate = asyncio.Semaphore(_AT_ONCE)

        async def one(item: Wanted) -> list[RawPage]:
            async with gate:
                return await self._one(item)

        tasks = [asyncio.ensure_future(one(item)) for item in wanted]
        try:
            return [page for pages in await asyncio.gather(*tasks) for page in pages]
        finally:
            for task in tasks:
                task.cancel()

    async def _one(self, item: Wanted) -> list[RawPage]:
        ref = item.ref
        try:
            if ref.startswith(RECENT):
                stream = ref.removeprefix(RECENT).partition(":")[0]
                pages = await self.reader.recent(stream)
                return [*pages, RawPage(b"", answers=[ref])]
            if ref.startswith("rating:"):
                page = await self._rating(ref)
            elif ref.startswith("mention:"):
                page = await self._page_object(ref, ref.removeprefix("mention:"), mention=True)
            elif ref.startswith(MENTIONED_COMMENT):
                id, _, media = ref.removeprefix(MENTIONED_COMMENT).partition(":")
                page = await self._mentioned_comment(ref, id, media or None)
            elif ref.startswith(MENTIONED_MEDIA):
                page = await self._mentioned_media(ref, ref.removeprefix(MENTIONED_MEDIA))
            elif not ref.replace("_", "").isdecimal():
                page = await self._node(ref, ref, "messages", fields.MESSAGE, bucket=self.api.messages_bucket)
            elif self.api.config.instagram:
                page = await self._instagram_object(ref)
            else:
                page = await self._page_object(ref, ref)
        except Gone:
            return [self._gone(item)]
        except Rejected as refused:
            # one thing that cannot be had must not fail those asked for with it; a permission may come back
            return [] if refused.code == "no_permission" else [RawPage(b"", gone=[ref])]
        return [page]

    def _gone(self, item: Wanted) -> RawPage:
        if item.reason != "refresh":
            return RawPage(b"", gone=[item.ref])
        body = json.dumps({"ref": item.ref}).encode()
        return RawPage(body, note=self.reader.note("gone"), gone=[item.ref])

    async def _node(
        self, ref: str, id: str, kind: str, asked: str, *, bucket: str | None = None, **note: str | None
    ) -> RawPage:
        # the ids of messages are any text
        body, _ = await self.api.get(quote(id, safe=""), {"fields": asked}, bucket=bucket)
        return RawPage(body, note=self.reader.note(kind, **note), answers=[ref])

    async def _page_object(self, ref: str, id: str, *, mention: bool = False) -> RawPage:
        """A comment or a post: their ids look the same, but those of the Page's own posts begin with its id."""
        comment = "mention" if mention else "comments"
        post = "tagged" if mention else "post"
        if id.startswith(f"{self.api.account}_"):
            return await self._node(ref, id, post, fields.POST)
        try:
            return await self._node(ref, id, comment, fields.COMMENT)
        except Rejected as refused:
            if refused.code != _OTHER_TYPE:
                raise
        return await self._node(ref, id, post, fields.TAGGED)

    async def _instagram_object(self, ref: str) -> RawPage:
        """A comment, a media, or a comment elsewhere that names the account."""
        try:
            asked = f"{fields.INSTAGRAM_COMMENT},media{{id,username}}"
            return await self._node(ref, ref, "instagram_comments", asked)
        except Rejected as refused:
            if refused.code != _OTHER_TYPE:
                raise
        except Gone:
            return await self._mentioned_comment(ref, ref, None)
        return await self._node(ref, ref, "media", fields.MEDIA)

    async def _mentioned_comment(self, ref: str, id: str, media: str | None) -> RawPage:
        asked = f"mentioned_comment.comment_id({id}){{{fields.MENTIONED_COMMENT}}}"
        return await self._mentioned(ref, "mentioned_comment", asked, root=media)

    async def _mentioned_media(self, ref: str, id: str) -> RawPage:
        asked = f"mentioned_media.media_id({id}){{{fields.MENTIONED_MEDIA}}}"
        return await self._mentioned(ref, "mentioned_media", asked)

    async def _mentioned(self, ref: str, kind: str, asked: str, **note: str | None) -> RawPage:
        body, answer = await self.api.get(self.api.account, {"fields": asked})
        if not isinstance(answer.get(kind), dict):
            raise Gone("Instagram does not show this mention", code="no_mention")
        return RawPage(body, note=self.reader.note(kind, **note), answers=[ref])

    async def _rating(self, ref: str) -> RawPage:
        """A recommendation by its author, in the list of all: it has no address without its story."""
        reviewer = ref.rpartition(":")[2]
        parameters = {"fields": fields.RATING, "limit": "50"}
        for _ in range(_RATING_PAGES):
            _, answer = await self.api.get(f"{self.api.account}/ratings", parameters)
            for one in objects(answer):
                who: Any = one.get("reviewer")
                if isinstance(who, dict) and str(who.get("id")) == reviewer:
                    body = json.dumps({"data": [one]}).encode()
                    return RawPage(body, note=self.reader.note("ratings"), answers=[ref])
            token = after(answer)
            if token is None:
                break
            parameters["after"] = token
        raise Gone("the Page has no recommendation by this person any more", code="no_rating")
