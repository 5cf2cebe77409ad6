"""Local sites with feeds: posts and comments as RSS 2.0 and Atom, conditional requests, redirects, tombstones.

    twin = FeedTwin(time=time)
    twin.add_site("blog", "Acme's blog")
    async with twin.serve():
        ...  # a connection with twin.connection_config("blog", "comments.atom")
        post = twin.post("blog", "Acme", "<p>Our new app is out.</p>", title="New app")
        twin.comment(post, "Rita", "<p>It crashes.</p>")

A site has `feed.xml`, `feed.atom`, `comments.xml` and `comments.atom`, each with its newest entries, and a page that
names them. Nobody can answer through a feed, so nothing that is published here comes from the gateway.
"""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime, parsedate_to_datetime
from html import escape
from typing import Any

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import BaseRoute, Route

from gateway_feed.twin_pages import TwinEntry, TwinSite, atom, page, rss
from gateway_schemas.testing.rehearsal import Channel, Rehearsal
from gateway_schemas.testing.twin import Twin
from gateway_schemas.time import TimeSource

__all__ = ["FeedTwin"]


class FeedTwin(Twin):
    """Sites on loopback. What `site(name)` gives may be changed at any time to make trouble."""

    name = "feed"
    actions = (
        "post",
        "comment",
        "delete",
    )

    def __init__(self, *, time: TimeSource | None = None, seed: int = 0) -> None:
        self._sites: dict[str, TwinSite] = {}
        self._entries: dict[str, TwinEntry] = {}
        super().__init__(time=time, seed=seed)

    def routes(self) -> Sequence[BaseRoute]:
        """Each site's page and feeds."""
        return [
            Route("/{site}/", self._answer, methods=["GET"]),
            Route("/{site}/{feed}", self._answer, methods=["GET"]),
        ]

    # who there is

    def add_site(self, name: str, title: str, *, language: str = "en", listed: int = 20) -> TwinSite:
        """A blog or forum."""
        site = self._sites[name] = TwinSite(name, title, language, listed)
        return site

    def site(self, name: str) -> TwinSite:
        """A site, whose attributes say how its server behaves."""
        return self._sites[name]

    # what people do

    def post(
        self,
        site: str,
        author: str,
        html: str,
        *,
        title: str = "",
        at: datetime | None = None,
        enclosures: Sequence[tuple[str, str, int]] = (),
    ) -> str:
        """Somebody posts; returns the entry's id."""
        when = at or self.time.now()
        entry = TwinEntry(self._id(site), site, author, title, html, when, when, enclosures=list(enclosures))
        return self._added(entry, "post")

    def comment(self, to: str, author: str, html: str, *, title: str = "", at: datetime | None = None) -> str:
        """Somebody comments on a post, or answers a comment; returns the entry's id."""
        parent = self._entries[to]
        when = at or self.time.now()
        entry = TwinEntry(self._id(parent.site), parent.site, author, title or f"Re: {parent.title}", html, when, when)
        entry.post, entry.to = parent.post or parent.id, to
        return self._added(entry, "comment")

    def edit(self, id: str, **changes: str) -> None:
        """The author changes `html` or `title`."""
        entry = self._entries[id]
        for name, value in changes.items():
            setattr(entry, name, value)
        if not self._sites[entry.site].silent_edits:
            entry.updated_at = max(self.time.now(), entry.updated_at + timedelta(seconds=1))
        self.effect("edit", id, **changes)

    def delete(self, id: str) -> None:
        """An entry is taken down."""
        self._entries[id].deleted_at = self.time.now()
        self.effect("delete", id)

    # for tests and the demo

    def url_of(self, site: str, feed: str = "feed.xml") -> str:
        """A feed's address; call it while the twin is served."""
        return f"{self.url}/{site}/{feed}"

    def connection_config(self, site: str, feed: str = "feed.xml", **changes: Any) -> dict[str, Any]:
        """A connection configuration for one of a site's feeds; call it while the twin is served."""
        return {"url": self.url_of(site, feed), **changes}

    def furnish(self) -> dict[str, Any]:
        """The site blog with one post."""
        self.add_site("blog", "Acme blog")
        self.post("blog", "Rita Example", "<p>My parcel is late.</p>")
        return {"config": self.connection_config("blog")}

    def rehearsal(self) -> Rehearsal:
        """Rita comments on a post of the site blog, where nobody is answered."""
        self.add_site("blog", "Acme blog")
        post = self.post("blog", "Acme", "<p>Our new app is out.</p>", title="New app")
        channel = Channel(
            "comments on the blog",
            self.connection_config("blog", "comments.atom", kind="comment", own_authors=["Acme"]),
            write=lambda text: self.comment(post, "Rita Example", f"<p>{escape(text)}</p>"),
            answers=lambda: [],
        )
        return Rehearsal([channel])

    def snapshot(self) -> dict[str, Any]:
        """Each site with its newest entries."""
        return {
            site.name: [
                {"id": one.id, "author": one.author, "title": one.title, "html": one.html, "to": one.to}
                for one in self._of(site.name)[-50:]
            ]
            for site in self._sites.values()
        }

    def _id(self, site: str) -> str:
        return f"tag:{self._sites[site].name}.example,2026:{len(self._entries) + 1}"

    def _added(self, entry: TwinEntry, kind: str) -> str:
        self._entries[entry.id] = entry
        self.effect(kind, entry.id, author=entry.author, title=entry.title, html=entry.html)
        return entry.id

    def _of(self, site: str, *, deleted: bool = False) -> list[TwinEntry]:
        mine = (one for one in self._entries.values() if one.site == site)
        found = [one for one in mine if (one.deleted_at is not None) == deleted]
        return sorted(found, key=lambda one: one.published_at)

    # HTTP

    async def _answer(self, request: Request) -> Response:
        site = self._sites.get(request.path_params["site"])
        name = request.path_params.get("feed", "")
        if site is None:
            return Response("Not found", 404, media_type="text/plain")
        if site.gone:
            return Response("Gone", 410, media_type="text/plain")
        if site.authorization is not None and request.headers.get("authorization") != site.authorization:
            return Response("Unauthorized", 401, {"www-authenticate": 'Basic realm="feeds"'})
        if site.moved_to is not None:
            return Response(status_code=301 if site.permanently else 302, headers={"location": site.moved_to})
        written = self._written(site, name)
        if written is None:
            return Response("Not found", 404, media_type="text/plain")
        body, media_type, changed_at = written
        return self._conditional(request, site, body, media_type, changed_at)

    def _written(self, site: TwinSite, name: str) -> tuple[bytes, str, datetime] | None:
        base = f"{self.url}/{site.name}"
        of, _, kind = name.partition(".")
        everything, gone = self._of(site.name), self._of(site.name, deleted=True)
        if name == "":
            newest = [one for one in everything if one.post is None][-site.listed :]
            return page(site, newest).encode(), "text/html; charset=utf-8", self._changed(everything + gone)
        if of not in ("feed", "comments") or kind not in ("xml", "atom"):
            return None
        entries = [one for one in everything if (one.post is None) == (of == "feed")][-site.listed :][::-1]
        title = site.title if of == "feed" else f"Comments on {site.title}"
        if kind == "xml":
            counts = Counter(one.post for one in everything if one.post)
            text = rss(site, base, entries, title, dict(counts))
        else:
            dead = [one for one in gone if (one.post is None) == (of == "feed")] if site.tombstones else []
            text = atom(site, base, entries, title, dead)
        text = f'<?xml version="1.0" encoding="{site.encoding}"?>\n{text}'
        media_type = "application/rss+xml" if kind == "xml" else "application/atom+xml"
        return text.encode(site.encoding, "xmlcharrefreplace"), media_type, self._changed(everything + gone)

    def _changed(self, entries: Sequence[TwinEntry]) -> datetime:
        start = datetime(2026, 1, 1, tzinfo=UTC)
        return max((one.deleted_at or one.updated_at for one in entries), default=start)

    def _conditional(
        self, request: Request, site: TwinSite, body: bytes, media_type: str, changed_at: datetime
    ) -> Response:
        """If-None-Match goes before If-Modified-Since (RFC 9110, 13.2.2)."""
        etag = f'"{hashlib.sha256(body).hexdigest()[:16]}"'
        headers: dict[str, str] = {}
        if site.validators in ("both", "etag"):
            headers["etag"] = etag
        if site.validators in ("both", "modified"):
            headers["last-modified"] = format_datetime(changed_at.astimezone(UTC), usegmt=True)
        if site.cache_control:
            headers["cache-control"] = site.cache_control
        given = request.headers.get("if-none-match")
        if given is not None and "etag" in headers:
            known = etag in given
        else:
            since = request.headers.get("if-modified-since")
            known = since is not None and "last-modified" in headers and _not_after(changed_at, since)
        if known:
            return Response(status_code=304, headers=headers)
        return Response(body, media_type=media_type, headers=headers)


def _not_after(changed_at: datetime, since: str) -> bool:
    try:
        return changed_at.replace(microsecond=0) <= parsedate_to_datetime(since)
    except (TypeError, ValueError):
        return False
