"""A local AT Protocol network: an account's server, the index behind it, the chat service, and people who post.

    twin = BlueskyTwin(time=time)
    twin.add_brand("acme.example.com")
    twin.add_user("rita.example.com")
    async with twin.serve() as url:
        ...  # a connection with twin.connection_config("acme.example.com")
        post = twin.post("rita.example.com", "@acme.example.com still broken")
        assert twin.published("acme.example.com")[0].value["reply"]["parent"]["uri"] == post

Whom the index notifies: those whom a post's facets name (`mention`), the authors of what it answers and of the thread's
root (`reply`), the author of what it quotes (`quote`). A deleted post's notifications vanish; a change is told to
nobody. As the real one does, the index may lose an answer that was written right after its parent
(`lose_notifications`).
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Any

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import BaseRoute, Route

from gateway_bluesky.twin_chat import ChatEndpoints
from gateway_bluesky.twin_http import Wire
from gateway_bluesky.twin_index import IndexEndpoints
from gateway_bluesky.twin_repo import RepoEndpoints
from gateway_bluesky.twin_state import (
    POSTS,
    Json,
    State,
    TwinAccount,
    TwinBlob,
    TwinConvo,
    TwinMessage,
    TwinNotification,
    TwinRecord,
    blob_cid_of,
    cid_of,
    iso,
    parts,
)
from gateway_schemas.testing.rehearsal import Channel, Rehearsal
from gateway_schemas.testing.twin import Twin
from gateway_schemas.time import SystemTime, TimeSource


class BlueskyTwin(Twin):
    """The network on loopback. Its knobs are plain attributes that a test may change at any time."""

    name = "bluesky"
    actions = (
        "post",
        "edit",
        "delete",
        "direct_message",
        "repost",
        "block",
        "close_thread",
        "revoke",
        "expire_tokens",
    )

    def __init__(self, *, time: TimeSource | None = None, seed: int = 0, limits: bool = True) -> None:
        time = time or SystemTime()
        self.limits = limits
        """Whether rate limits are enforced and told."""
        self.access_life = timedelta(hours=2)
        self.refresh_life = timedelta(days=60)
        self.index_lag = timedelta()
        """How long after it was written a post is shown."""
        self.lose_notifications = 0
        """How many of the next notifications of answers are lost."""
        self.closed: set[str] = set()
        """Roots of threads that strangers may not answer in."""
        self.state = State(time)
        self.wire = Wire(self)
        self.repo = RepoEndpoints(self)
        self.index = IndexEndpoints(self)
        self.chat = ChatEndpoints(self)
        super().__init__(time=time, seed=seed)

    def routes(self) -> Sequence[BaseRoute]:
        """The network's methods, and its pictures."""
        routes = [*self.repo.routes(), *self.index.routes(), *self.chat.routes()]
        return [*routes, Route("/img/feed_fullsize/plain/{did}/{name}", self._picture)]

    async def _picture(self, request: Request) -> Response:
        cid = str(request.path_params["name"]).partition("@")[0]
        blob = self.state.blobs.get(str(request.path_params["did"]), {}).get(cid)
        return Response(blob.body, media_type=blob.media_type) if blob else Response(status_code=404)

    # people

    def add_user(self, handle: str, *, did: str | None = None, name: str | None = None) -> TwinAccount:
        """Somebody with an account. Raises ValueError when the handle is taken."""
        handle = handle.removeprefix("@").lower()
        if any(one.handle == handle or one.did == did for one in self.state.accounts.values()):
            raise ValueError(f"{handle} is taken")
        drawn = hashlib.sha256(handle.encode()).hexdigest().translate(str.maketrans("0189", "abcd"))
        account = TwinAccount(
            did or f"did:plc:{drawn[:24]}", handle, name or handle, self.time.now() - timedelta(days=365)
        )
        account.allow_incoming = "all"
        self.state.accounts[account.did] = account
        return account

    def add_brand(self, handle: str, *, did: str | None = None, name: str | None = None) -> TwinAccount:
        """A company's account, with an app password that may read messages."""
        account = self.add_user(handle, did=did, name=name)
        account.password = f"twin-{account.did[-4:]}-aaaa-bbbb"
        self.allow_messages(handle, "all")
        return account

    def allow_messages(self, who: str, from_whom: str) -> None:
        """Declare who may write to an account: `all`, `following` or `none`."""
        account = self.state.account(who)
        account.allow_incoming = from_whom
        value = {"$type": "chat.bsky.actor.declaration", "allowIncoming": from_whom}
        uri = f"at://{account.did}/chat.bsky.actor.declaration/self"
        now = self.time.now()
        self.state.records[uri] = TwinRecord(uri, cid_of(value), value, now, now, now)

    def rename(self, who: str, handle: str) -> None:
        """An account takes another handle; its identifier stays."""
        self.state.account(who).handle = handle

    def expire_tokens(self, who: str) -> None:
        """Every session of an account ends."""
        self.state.account(who).sessions += 1

    def revoke(self, who: str) -> None:
        """The account deletes the app password, and with it its sessions."""
        self.state.account(who).password = None
        self.expire_tokens(who)

    # what people do

    def post(
        self,
        author: str,
        text: str,
        in_reply_to: str | None = None,
        *,
        quote: str | None = None,
        langs: Sequence[str] = ("en",),
        pictures: Sequence[tuple[bytes, str]] = (),
        created_at: datetime | None = None,
        at: datetime | None = None,
        facets: list[Json] | None = None,
    ) -> str:
        """Somebody posts in Bluesky's own app; the post's address. Pictures are JPEGs with their alternative texts.

        `at` is when the index got it, `created_at` what the author's clock says. Raises KeyError for unknown people.
        """
        account = self.state.account(author)
        at = at or self.time.now()
        value: Json = {"$type": POSTS, "text": text, "createdAt": iso(created_at or at), "langs": list(langs)}
        if found := self.state.facets(text) if facets is None else facets:
            value["facets"] = found
        if in_reply_to is not None:
            parent = self.state.records[in_reply_to]
            strong = {"uri": parent.uri, "cid": parent.cid}
            above = parent.value.get("reply")
            value["reply"] = {"root": above["root"] if above else strong, "parent": strong}
        if quote is not None:
            quoted = self.state.records[quote]
            value["embed"] = {"$type": "app.bsky.embed.record", "record": {"uri": quoted.uri, "cid": quoted.cid}}
        if pictures:
            images = [{"image": self.blob(author, body), "alt": alt} for body, alt in pictures]
            value["embed"] = {"$type": "app.bsky.embed.images", "images": images}
        return self.write(account.did, POSTS, self.state.tid(), value, by_api=False, at=at).uri

    def blob(self, who: str, body: bytes, media_type: str = "image/jpeg") -> Json:
        """A file in somebody's repository."""
        blob = TwinBlob(blob_cid_of(body), media_type, body)
        self.state.blobs.setdefault(self.state.account(who).did, {})[blob.cid] = blob
        return {"$type": "blob", "ref": {"$link": blob.cid}, "mimeType": media_type, "size": len(body)}

    def repost(self, who: str, uri: str) -> str:
        """Somebody reposts; the repost's address."""
        original = self.state.records[uri]
        subject = {"uri": uri, "cid": original.cid}
        value = {"$type": "app.bsky.feed.repost", "subject": subject, "createdAt": iso(self.time.now())}
        did = self.state.account(who).did
        return self.write(did, "app.bsky.feed.repost", self.state.tid(), value, by_api=False).uri

    def edit(self, uri: str, text: str) -> str:
        """Somebody's client writes the record anew: the address stays, the version changes. Apps cannot do that."""
        did, collection, rkey = parts(uri)
        kept = {key: value for key, value in self.state.records[uri].value.items() if key != "facets"}
        found = self.state.facets(text)
        value = kept | {"text": text} | ({"facets": found} if found else {})
        return self.write(did, collection, rkey, value, by_api=False).uri

    def delete(self, uri: str) -> None:
        """The author deletes a post."""
        self.remove(uri, by_api=False)

    def close_thread(self, uri: str) -> None:
        """The author of a thread lets strangers not answer in it."""
        self.closed.add(uri)

    def block(self, who: str, whom: str) -> None:
        """Somebody blocks somebody."""
        self.state.account(who).blocks.add(self.state.account(whom).did)

    def direct_message(self, sender: str, recipient: str, text: str) -> str:
        """Somebody writes to somebody; the message's id. Raises Refusal where the recipient does not take it."""
        one, other = self.state.account(sender), self.state.account(recipient)
        convo = self.chat.convo_of(one.did, other.did)
        if not convo.messages:
            self.chat.allowed(one, other)
        return self.chat.deliver(one.did, convo, text, self.state.facets(text), by_api=False).id

    def hide_message(self, who: str, id: str) -> None:
        """Somebody deletes a message, which only they do not see any more."""
        for convo in self.state.convos.values():
            for message in convo.messages:
                if message.id == id:
                    self.chat.hide(self.state.account(who).did, convo, message)

    # what came of it

    def published(self, who: str) -> list[TwinRecord]:
        """An account's posts that are still there, oldest first."""
        did = self.state.account(who).did
        return [record for record in self.state.posts() if parts(record.uri)[0] == did]

    def messages_from(self, who: str) -> list[TwinMessage]:
        """The messages an account sent, oldest first."""
        did = self.state.account(who).did
        sent = [one for convo in self.state.convos.values() for one in convo.messages if one.sender == did]
        return sorted(sent, key=lambda one: one.rev)

    def conversation(self, one: str, other: str) -> TwinConvo:
        """The conversation of two."""
        return self.chat.convo_of(self.state.account(one).did, self.state.account(other).did)

    def app_config(self, **changes: Any) -> dict[str, Any]:
        """Nothing: an account's app password needs no App."""
        return changes

    def connection_config(self, who: str, **changes: Any) -> dict[str, Any]:
        """A connection configuration for one of the twin's brands; call it while the twin is served."""
        account = self.state.account(who)
        return {
            "did": account.did,
            "handle": account.handle,
            "app_password": account.password or "none",
            "base_url": self.url,
            "direct_messages": True,
            "media_hosts": [self.url],
            **changes,
        }

    def furnish(self) -> dict[str, Any]:
        """The brand acme.example.com, whose account is connected, and a customer rita.example.com."""
        self.add_brand("acme.example.com")
        self.add_user("rita.example.com")
        return {"config": self.connection_config("acme.example.com")}

    def rehearsal(self) -> Rehearsal:
        """Rita mentions acme.example.com."""
        furnished = self.furnish()
        brand, rita = "acme.example.com", "rita.example.com"
        channel = Channel(
            f"@{brand}",
            furnished["config"],
            write=lambda text: self.post(rita, f"@{brand} {text}"),
            answers=lambda: [
                (one.value.get("reply", {}).get("parent", {}).get("uri", ""), one.value["text"])
                for one in self.published(brand)
                if one.by_api
            ],
        )
        return Rehearsal([channel])

    def snapshot(self) -> dict[str, Any]:
        """Accounts and the newest posts and messages."""
        handles = {account.did: account.handle for account in self.state.accounts.values()}
        messages = sorted(
            (one for convo in self.state.convos.values() for one in convo.messages), key=lambda one: one.rev
        )
        return {
            "accounts": handles,
            "posts": [
                {
                    "uri": record.uri,
                    "author": handles[parts(record.uri)[0]],
                    "text": record.value.get("text"),
                    "in_reply_to": (record.value.get("reply") or {}).get("parent", {}).get("uri"),
                    "at": iso(record.indexed_at),
                }
                for record in self.state.posts()[-200:]
            ],
            "messages": [{"id": one.id, "from": handles[one.sender], "text": one.text} for one in messages[-200:]],
        }

    # what both people and the API do

    def write(
        self, did: str, collection: str, rkey: str, value: Json, *, by_api: bool, at: datetime | None = None
    ) -> TwinRecord:
        """Write a record, note it in the ledger, and have the index look at it."""
        now = at or self.time.now()
        uri = f"at://{did}/{collection}/{rkey}"
        before = self.state.records.get(uri)
        indexed_at = before.indexed_at if before else now
        shown_at = before.shown_at if before else self.time.now() + self.index_lag
        record = TwinRecord(uri, cid_of(value), value, now, indexed_at, shown_at, by_api)
        self.state.records[uri] = record
        reply = value.get("reply") or {}
        self.effect(
            "edit" if before else "post" if collection == POSTS else "record",
            uri,
            author=did,
            handle=self.state.accounts[did].handle,
            text=value.get("text"),
            in_reply_to=reply.get("parent", {}).get("uri"),
            by="api" if by_api else "app",
        )
        if collection == POSTS and before is None:
            self._notify(did, record)
        return record

    def _notify(self, author: str, record: TwinRecord) -> None:
        value = record.value
        told: dict[str, tuple[str, str | None]] = {}
        for facet in value.get("facets") or ():
            for feature in facet["features"]:
                if feature.get("did"):
                    told.setdefault(feature["did"], ("mention", None))
        quoted = (value.get("embed") or {}).get("record", {}).get("uri")
        if quoted:
            told.setdefault(parts(quoted)[0], ("quote", quoted))
        for name in ("parent", "root"):
            uri = (value.get("reply") or {}).get(name, {}).get("uri")
            # one notification a post: that of an answer counts before that of a name
            if uri and told.get(parts(uri)[0], ("mention",))[0] == "mention":
                told[parts(uri)[0]] = ("reply", uri)
        for did, (reason, subject) in told.items():
            if did == author or did not in self.state.accounts:
                continue
            if reason == "reply" and self.lose_notifications:
                self.lose_notifications -= 1
                continue
            self.state.notifications.append(
                TwinNotification(did, record.uri, reason, subject, record.indexed_at, record.shown_at)
            )

    def remove(self, uri: str, *, by_api: bool) -> None:
        """Delete a record."""
        del self.state.records[uri]
        self.effect("delete", uri, author=parts(uri)[0], by="api" if by_api else "app")
