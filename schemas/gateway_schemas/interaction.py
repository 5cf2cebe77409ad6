"""What a source plugin produces: posts, comments, reviews and direct messages in one vocabulary.

Field names follow ActivityStreams 2.0 (`in_reply_to`, `attachments`, `published_at`) and schema.org (`Review`,
`Rating`).
"""

from __future__ import annotations

import hashlib
from datetime import datetime
from typing import Annotated, Any, Literal

from pydantic import AwareDatetime, Field, StringConstraints

from gateway_schemas.base import Model

Kind = Literal["post", "comment", "review", "direct_message"]
Visibility = Literal["public", "private"]
Direction = Literal["inbound", "outbound"]
Identifier = Annotated[str, StringConstraints(min_length=1, max_length=1024)]


class Author(Model):
    """Who wrote it, as the source names them. Only `external_id` identifies; names and handles change."""

    external_id: Identifier
    handle: str | None = None
    name: str | None = None
    url: str | None = None
    avatar_url: str | None = None
    followers: int | None = Field(default=None, ge=0)
    verified: bool | None = None


class Rating(Model):
    """A rating in the source's own scale (schema.org `Rating`)."""

    value: float
    best: float = 5
    worst: float = 1


class Subject(Model):
    """What is reviewed or talked under: an app, a place, a product, a page."""

    external_id: Identifier
    kind: Literal["app", "place", "product", "page", "organisation", "other"] = "other"
    name: str | None = None
    version: str | None = None
    url: str | None = None


class Attachment(Model):
    """A picture, video or file. `expires_at` is set where the provider signs its URL for a while only.

    The host copies it as soon as it hears of it; then `sha256` names the copy (`FileStore.read`).
    """

    external_id: str | None = None
    url: str | None = None
    media_type: str | None = None
    name: str | None = None
    size: int | None = Field(default=None, ge=0)
    alt_text: str | None = None
    expires_at: AwareDatetime | None = None
    lookup: str | None = None
    """What the plugin's `download` asks the provider by, where a delivery gives no address (X: the post's id)."""
    sha256: str | None = None
    """Set by the host, once it has a copy; plugins leave it empty."""


class ReplyTarget(Model):
    """How to answer one interaction.

    `comment` and `mention` answer in the thread, `review` fills the one slot of a review, `direct_message` writes to
    the
    conversation `ref` or, where the conversation does not exist yet, to `recipient`.
    """

    kind: Literal["comment", "review", "direct_message", "mention"]
    ref: str | None = None
    recipient: str | None = None
    closes_at: AwareDatetime | None = None
    """When the provider stops taking answers to this (messaging windows)."""
    extra: dict[str, Any] = Field(default_factory=dict)


class Interaction(Model):
    """A normalised post, comment, review or direct message at one revision."""

    external_id: Identifier
    """Stable over edits; unique per provider or per account, as the plugin's capabilities declare."""
    revision: Identifier
    """Changes with text, rating or media. `content_revision` hashes them where the source gives no signal."""
    supersedes: tuple[str, ...] = ()
    """Ids that the same thing had before an edit, where a provider gives an edited post a new id (X)."""
    account: Identifier
    """The brand's account it came to, as the provider names it: routes a shared callback to connections."""
    kind: Kind
    subkind: str | None = None
    visibility: Visibility
    direction: Direction = "inbound"
    """Outbound is whatever the brand's own account wrote, here or elsewhere."""
    author: Author
    text: str = ""
    html: str | None = None
    title: str | None = None
    language: str | None = None
    """BCP 47; None when the source does not know. A guess by the gateway is not written here."""
    rating: Rating | None = None
    recommendation: Literal["positive", "negative"] | None = None
    subject: Subject | None = None
    root: str | None = None
    """External id of the thread's first item, where the source tells it; else it is found by walking `in_reply_to`."""
    in_reply_to: str | None = None
    root_owner: Literal["brand", "customer", "other"] | None = None
    mentions: tuple[str, ...] = ()
    """External ids of the accounts named in the text."""
    quotes: str | None = None
    claim: str | None = Field(default=None, max_length=64)
    """A one-time code in it (`claims.claim_in`), by which a private message joins the matter that it was given for."""
    addressed: bool = True
    """Whether the author speaks to the brand (mention, reply to it, review, message). False for context that was
    fetched."""
    attachments: tuple[Attachment, ...] = ()
    url: str | None = None
    reply_target: ReplyTarget | None = None
    published_at: AwareDatetime
    visible_at: AwareDatetime | None = None
    edited_at: AwareDatetime | None = None
    extra: dict[str, Any] = Field(default_factory=dict)
    """What the vocabulary has no word for, by the plugin's declared schema."""


class Deletion(Model):
    """An interaction is gone at its source. Recorded as a tombstone, also when it overtakes the interaction itself."""

    external_id: Identifier
    account: Identifier
    deleted_at: AwareDatetime | None = None
    by: Literal["author", "brand", "provider", "unknown"] = "unknown"


class SendStatus(Model):
    """News of something we sent: accepted later, under review, refused or taken down after the fact."""

    external_id: Identifier
    account: Identifier
    state: Literal["published", "pending", "rejected", "removed"]
    reason: str | None = None
    at: AwareDatetime | None = None


class Wanted(Model):
    """Something a delivery names but does not carry: a missing ancestor, a thin webhook's object, expired media.

    The host asks the plugin's `fetch` for it, once for many, and stores what comes back as a delivery. An unsigned
    webhook may yield nothing else.
    """

    ref: Identifier
    kind: Literal["interaction", "thread", "media", "ticket"] = "interaction"
    reason: Literal["ancestor", "thin", "expired", "refresh"] = "thin"
    account: str | None = None
    at: AwareDatetime | None = None
    """How fresh the answer must be: a fetch begun later than this satisfies it. None: any stored answer does."""


class Listing(Model):
    """All reviews of one subject that the source lists and that last changed within a stretch of time.

    For sources that do not tell of deletions. What the host has of that subject and stretch and is not `present` is
    asked for, as Wanted with the reason `refresh`; only what `fetch` then finds gone is deleted. Say it of listings
    that came whole and in order of change, never of a part or a failed one.
    """

    account: Identifier
    subject: Identifier
    """`Subject.external_id` of what is listed."""
    present: tuple[str, ...]
    """External ids of all that the listing has in the stretch, and of any others it has."""
    after: AwareDatetime | None = None
    """Of what changed later than this; None: since ever."""
    before: AwareDatetime
    """Of what changed earlier than this. Leave out what may be too new for the listing."""


class Revoked(Model):
    """The provider says that an account's consent is gone. The connection turns to "needs authorisation"."""

    account: Identifier
    reason: str
    at: AwareDatetime | None = None


class Ignored(Model):
    """A delivery, or a part of one, that is understood and means nothing to us. The reason is kept with the
    delivery."""

    reason: str


class Unreadable(Model):
    """A part of a delivery that is not what it should be, beside parts that are. The delivery ends failed and
           replayable;
    its good parts are recorded. `reason` names the field and the mend.
    """

    reason: str


Normalised = Interaction | Deletion | SendStatus | Wanted | Listing | Revoked | Ignored | Unreadable


def content_revision(*parts: object) -> str:
    """A revision for sources that give none: a short hash that changes when any of the parts does."""
    return hashlib.sha256("\x1f".join(repr(part) for part in parts).encode("utf-8", "surrogatepass")).hexdigest()[:16]


def version_order(interaction: Interaction) -> datetime:
    """The time by which the newest version of one thing wins: the vendor's modified time, never that of arrival."""
    return interaction.edited_at or interaction.published_at
