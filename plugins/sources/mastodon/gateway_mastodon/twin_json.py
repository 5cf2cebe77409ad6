"""How the twin shows its objects, as Mastodon's entities."""

from __future__ import annotations

import html
import re
from datetime import UTC, datetime
from typing import Any

from gateway_mastodon.twin_state import State, TwinAccount, TwinMedia, TwinNotification, TwinPost, TwinVersion

Json = dict[str, Any]
_LINK = re.compile(r"https?://[^\s<>\"]+[^\s<>\".,;:!?)]")
_TAG = re.compile(r"(?<![\w/])#(\w*[^\W\d_]\w*)")
_SHOWN = 30


def iso(moment: datetime) -> str:
    """A time as Mastodon writes it: milliseconds, Z."""
    return moment.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%S.") + f"{moment.microsecond // 1000:03d}Z"


class Shown:
    """Entities of one server at one address."""

    def __init__(self, state: State, home: str) -> None:
        self.state = state
        self.home = home
        """Where the web pages of the server's own accounts are."""

    def account(self, account: TwinAccount, base: str) -> Json:
        """Entities::Account."""
        host = self.home if account.domain is None else f"https://{account.domain}"
        return {
            "id": account.id,
            "username": account.username,
            "acct": account.acct,
            "display_name": account.name,
            "locked": False,
            "bot": False,
            "discoverable": True,
            "indexable": False,
            "group": False,
            "created_at": iso(account.created_at),
            "note": "",
            "url": f"{host}/@{account.username}",
            "uri": f"{host}/users/{account.username}",
            "avatar": f"{base}/avatars/original/missing.png",
            "avatar_static": f"{base}/avatars/original/missing.png",
            "header": f"{base}/headers/original/missing.png",
            "header_static": f"{base}/headers/original/missing.png",
            "followers_count": account.followers,
            "following_count": 0,
            "statuses_count": 0,
            "last_status_at": None,
            "hide_collections": None,
            "emojis": [],
            "fields": [],
            **({"suspended": True} if account.suspended else {}),
            **({"moved": {"acct": account.moved_to}} if account.moved_to else {}),
        }

    def status(self, post: TwinPost, base: str) -> Json:
        """Entities::Status, as its newest version."""
        author, version = self.state.accounts[post.author], post.versions[-1]
        host = self.home if author.domain is None else f"https://{author.domain}"
        parent = self.state.posts.get(post.in_reply_to or "")
        parent = None if parent is None or parent.deleted else parent
        quoted = self.state.posts.get(post.quotes or "")
        reblogged = self.state.posts.get(post.reblog_of or "")
        return {
            "id": post.id,
            "created_at": iso(post.created_at),
            "in_reply_to_id": parent.id if parent else None,
            "in_reply_to_account_id": parent.author if parent else None,
            "sensitive": version.sensitive,
            "spoiler_text": version.spoiler_text,
            "visibility": post.visibility,
            "language": post.language,
            "uri": f"{host}/users/{author.username}/statuses/{post.id}",
            "url": f"{host}/@{author.username}/{post.id}",
            "replies_count": sum(not self.state.posts[id].deleted for id in self.state.answers.get(post.id, ())),
            "reblogs_count": 0,
            "favourites_count": 0,
            "edited_at": iso(post.edited_at) if post.edited_at else None,
            "content": self.content(version.text, quoted),
            "reblog": self.status(reblogged, base) if reblogged else None,
            "account": self.account(author, base),
            "media_attachments": [self.media(self.state.media[id]) for id in version.media],
            "mentions": [self._mention(self.state.accounts[id]) for id in post.mentions],
            "tags": [{"name": tag.lower(), "url": f"{host}/tags/{tag.lower()}"} for tag in _TAG.findall(version.text)],
            "emojis": [],
            "card": None,
            "poll": None,
            "quote": self._quote(quoted, base) if quoted else None,
            "quotes_count": 0,
        }

    def _quote(self, quoted: TwinPost, base: str) -> Json:
        if quoted.deleted:
            return {"state": "deleted", "quoted_status": None}
        return {"state": "accepted", "quoted_status": self.status(quoted, base)}

    def _mention(self, account: TwinAccount) -> Json:
        host = self.home if account.domain is None else f"https://{account.domain}"
        url = f"{host}/@{account.username}"
        return {"id": account.id, "username": account.username, "url": url, "acct": account.acct}

    def media(self, media: TwinMedia) -> Json:
        """Entities::MediaAttachment; without an address while it is processed."""
        url = media.url if not media.ready_after else None
        return {
            "id": media.id,
            "type": media.type,
            "url": url,
            "preview_url": url,
            "remote_url": None,
            "preview_remote_url": None,
            "text_url": None,
            "meta": {},
            "description": media.description,
            "blurhash": None,
        }

    def version(self, post: TwinPost, version: TwinVersion, base: str) -> Json:
        """Entities::StatusEdit."""
        return {
            "content": self.content(version.text, self.state.posts.get(post.quotes or "")),
            "spoiler_text": version.spoiler_text,
            "sensitive": version.sensitive,
            "created_at": iso(version.at),
            "account": self.account(self.state.accounts[post.author], base),
            "media_attachments": [self.media(self.state.media[id]) for id in version.media],
            "emojis": [],
        }

    def notification(self, one: TwinNotification, base: str) -> Json:
        """Entities::Notification."""
        shown: Json = {
            "id": one.id,
            "type": one.type,
            "created_at": iso(one.created_at),
            "group_key": f"ungrouped-{one.id}",
            "account": self.account(self.state.accounts[one.source], base),
        }
        if one.filtered:
            shown["filtered"] = True
        if one.status is not None:
            shown["status"] = self.status(self.state.posts[one.status], base)
        return shown

    def content(self, text: str, quoted: TwinPost | None = None) -> str:
        """The HTML that Mastodon makes of a text: paragraphs, links with hidden ends, cards of names, hashtags."""
        paragraphs = [self._inline(part) for part in re.split(r"\n{2,}", text.strip()) if part]
        made = "".join(f"<p>{part}</p>" for part in paragraphs)
        if quoted is not None:
            author = self.state.accounts[quoted.author]
            url = f"{self.home}/@{author.acct}/{quoted.id}"
            made = f'<p class="quote-inline">RE: <a href="{url}">{url}</a></p>' + made
        return made

    def _inline(self, text: str) -> str:
        pieces, done = [], 0
        for link in _LINK.finditer(text):
            pieces += [self._names(text[done : link.start()]), _link(link.group())]
            done = link.end()
        return "".join([*pieces, self._names(text[done:])]).replace("\n", "<br />")

    def _names(self, text: str) -> str:
        escaped = html.escape(text, quote=False)
        cards: dict[str, str] = {}
        for name, domain in self.state.addresses(text):
            written = f"@{name}@{domain}" if domain else f"@{name}"
            try:
                account = self.state.account(written)
            except KeyError:
                continue
            host = self.home if account.domain is None else f"https://{account.domain}"
            href = f"{host}/@{account.username}"
            cards[written.lower()] = (
                f'<span class="h-card" translate="no"><a href="{href}" class="u-url mention">'
                f"@<span>{account.username}</span></a></span>"
            )
        named = self.state.replace(escaped, cards)
        return _TAG.sub(
            lambda tag: (
                f'<a href="{self.home}/tags/{tag.group(1).lower()}" class="mention hashtag" rel="tag">'
                f"#<span>{tag.group(1)}</span></a>"
            ),
            named,
        )


def _link(url: str) -> str:
    scheme, _, rest = url.partition("://")
    scheme += "://"
    shown, hidden = rest[:_SHOWN], rest[_SHOWN:]
    css = ' class="ellipsis"' if hidden else ""
    return (
        f'<a href="{html.escape(url)}" target="_blank" rel="nofollow noopener" translate="no">'
        f'<span class="invisible">{scheme}</span><span{css}>{html.escape(shown)}</span>'
        f'<span class="invisible">{html.escape(hidden)}</span></a>'
    )
