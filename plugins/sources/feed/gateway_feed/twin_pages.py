"""How the twin's site writes itself: RSS 2.0, Atom and a page that names the feeds."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime
from email.utils import format_datetime
from xml.sax.saxutils import escape, quoteattr

ATOM = "http://www.w3.org/2005/Atom"
_NAMESPACES = (
    'xmlns:content="http://purl.org/rss/1.0/modules/content/" xmlns:dc="http://purl.org/dc/elements/1.1/" '
    f'xmlns:wfw="http://wellformedweb.org/CommentAPI/" xmlns:slash="http://purl.org/rss/1.0/modules/slash/" '
    f'xmlns:atom="{ATOM}"'
)


@dataclass
class TwinEntry:
    """A post, or a comment below one."""

    id: str
    site: str
    author: str
    title: str
    html: str
    published_at: datetime
    updated_at: datetime
    post: str | None = None
    """The post that a comment stands below."""
    to: str | None = None
    """What a comment answers: the post or another comment."""
    enclosures: list[tuple[str, str, int]] = field(default_factory=list)
    deleted_at: datetime | None = None


@dataclass
class TwinSite:
    """A blog or forum, and how its server behaves."""

    name: str
    title: str
    language: str
    listed: int = 20
    """How many entries a feed has: the newest."""
    ttl: int | None = None
    """Minutes for which the feed asks to be left alone."""
    skip_hours: list[int] = field(default_factory=list)
    encoding: str = "utf-8"
    validators: str = "both"
    """`both`, `etag`, `modified` or `none`."""
    cache_control: str | None = None
    tombstones: bool = True
    """Whether Atom feeds name what was deleted (RFC 6721)."""
    silent_edits: bool = False
    """Whether edits leave `updated` as it is."""
    gone: bool = False
    moved_to: str | None = None
    permanently: bool = True
    authorization: str | None = None
    """Who does not send it is answered 401."""


def rss(site: TwinSite, base: str, entries: Sequence[TwinEntry], title: str, counts: dict[str, int]) -> str:
    """An RSS 2.0 document."""
    parts = [
        f"<title>{escape(title)}</title><link>{base}/</link><description>{escape(title)}</description>",
        f"<language>{site.language}</language>",
    ]
    if site.ttl is not None:
        parts.append(f"<ttl>{site.ttl}</ttl>")
    if site.skip_hours:
        parts.append("<skipHours>" + "".join(f"<hour>{hour}</hour>" for hour in site.skip_hours) + "</skipHours>")
    for one in entries:
        item = [
            f"<title>{escape(one.title)}</title><link>{link_of(one, base)}</link>",
            f'<guid isPermaLink="false">{escape(one.id)}</guid><dc:creator>{escape(one.author)}</dc:creator>',
            f"<pubDate>{format_datetime(one.published_at)}</pubDate>",
            f"<description>{escape(one.html)}</description>",
        ]
        if one.updated_at != one.published_at:
            item.append(f"<atom:updated>{one.updated_at.isoformat()}</atom:updated>")
        if one.post is None:
            item.append(f"<slash:comments>{counts.get(one.id, 0)}</slash:comments>")
        item += [
            f"<enclosure url={quoteattr(url)} type={quoteattr(kind)} length={quoteattr(str(size))}/>"
            for url, kind, size in one.enclosures
        ]
        parts.append("<item>" + "".join(item) + "</item>")
    return f'<rss version="2.0" {_NAMESPACES}><channel>' + "\n".join(parts) + "</channel></rss>"


def atom(site: TwinSite, base: str, entries: Sequence[TwinEntry], title: str, gone: Sequence[TwinEntry]) -> str:
    """An Atom document, with tombstones."""
    newest = max((one.updated_at for one in entries), default=None)
    parts = [f"<title>{escape(title)}</title><id>tag:{site.name}.example,2026:feed</id>"]
    parts.append(f"<updated>{newest.isoformat() if newest else '2026-01-01T00:00:00Z'}</updated>")
    for one in entries:
        item = [
            f"<id>{escape(one.id)}</id><title>{escape(one.title)}</title>",
            f"<author><name>{escape(one.author)}</name></author>",
            f"<link rel='alternate' href={quoteattr(link_of(one, base))}/>",
            f"<published>{one.published_at.isoformat()}</published><updated>{one.updated_at.isoformat()}</updated>",
            f'<content type="html">{escape(one.html)}</content>',
        ]
        if one.to is not None:
            item.append(f"<thr:in-reply-to ref={quoteattr(one.to)}/>")
        item += [
            f"<link rel='enclosure' href={quoteattr(url)} type={quoteattr(kind)} length={quoteattr(str(size))}/>"
            for url, kind, size in one.enclosures
        ]
        parts.append("<entry>" + "".join(item) + "</entry>")
    for one in gone:
        assert one.deleted_at is not None
        parts.append(f"<at:deleted-entry ref={quoteattr(one.id)} when={quoteattr(one.deleted_at.isoformat())}/>")
    spaces = f'xmlns="{ATOM}" xmlns:thr="http://purl.org/syndication/thread/1.0"'
    spaces += ' xmlns:at="http://purl.org/atompub/tombstones/1.0"'
    return f'<feed {spaces} xml:lang="{site.language}">' + "\n".join(parts) + "</feed>"


def page(site: TwinSite, entries: Sequence[TwinEntry]) -> str:
    """The site's front page."""
    kinds = (("feed.xml", "rss"), ("feed.atom", "atom"), ("comments.xml", "rss"), ("comments.atom", "atom"))
    links = "".join(
        f'<link rel="alternate" type="application/{kind}+xml" title="{name}" href="{name}">' for name, kind in kinds
    )
    body = "".join(f"<article><h2>{escape(one.title)}</h2>{one.html}</article>" for one in entries)
    return f"<!doctype html><html><head><title>{escape(site.title)}</title>{links}</head><body>{body}</body></html>"


def link_of(entry: TwinEntry, base: str) -> str:
    """Where an entry is on the site."""
    number = entry.id.rpartition(":")[2]
    if entry.post is None:
        return f"{base}/p/{number}"
    return f"{base}/p/{entry.post.rpartition(':')[2]}#comment-{number}"
