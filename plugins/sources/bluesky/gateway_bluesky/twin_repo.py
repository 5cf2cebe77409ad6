"""The twin's sessions and repositories: `com.atproto.server` and `com.atproto.repo`."""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Any, Protocol

from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import BaseRoute, Route

from gateway_bluesky.twin_http import ACCESS, REFRESH, Call, Refusal, Wire, invalid
from gateway_bluesky.twin_state import (
    POSTS,
    Json,
    State,
    TwinAccount,
    TwinBlob,
    TwinRecord,
    blob_cid_of,
    parts,
)
from gateway_schemas.length import Counting, length
from gateway_schemas.time import TimeSource

_RKEY = re.compile(r"[A-Za-z0-9_~.:-]{1,512}")
_TID = re.compile("[234567abcdefghij][234567abcdefghijklmnopqrstuvwxyz]{12}")
_MAGIC = ((b"\xff\xd8\xff", "image/jpeg"), (b"\x89PNG", "image/png"), (b"GIF8", "image/gif"), (b"RIFF", "image/webp"))
BLOB_LIMIT = 52_428_800


class Owner(Protocol):
    """The twin, as far as these endpoints need it."""

    time: TimeSource
    state: State
    wire: Wire
    url: str
    access_life: timedelta
    refresh_life: timedelta

    def write(self, did: str, collection: str, rkey: str, value: Json, *, by_api: bool) -> TwinRecord:
        """Write a record."""

    def remove(self, uri: str, *, by_api: bool) -> None:
        """Delete a record."""


class RepoEndpoints:
    """What an account's own server does itself."""

    def __init__(self, owner: Owner) -> None:
        self.owner = owner
        self._spent: set[str] = set()

    def routes(self) -> Sequence[BaseRoute]:
        """The protocol's methods."""
        route = self.owner.wire.route
        return [
            Route("/xrpc/com.atproto.server.createSession", self._create_session, methods=["POST"]),
            Route("/xrpc/com.atproto.server.refreshSession", self._refresh_session, methods=["POST"]),
            route("GET", "com.atproto.server.getSession", self._get_session),
            route("POST", "com.atproto.repo.createRecord", self._create, points=3),
            route("POST", "com.atproto.repo.putRecord", self._put, points=2),
            route("POST", "com.atproto.repo.deleteRecord", self._delete, points=1),
            route("POST", "com.atproto.repo.uploadBlob", self._upload),
            Route("/xrpc/com.atproto.repo.getRecord", self._get, methods=["GET"]),
        ]

    @property
    def state(self) -> State:
        """The twin's objects."""
        return self.owner.state

    # sessions

    async def _create_session(self, request: Request) -> Response:
        try:
            body = json.loads(await request.body() or b"{}")
            identifier, password = body.get("identifier"), body.get("password")
            if not isinstance(identifier, str) or not isinstance(password, str):
                raise invalid('Input must have the property "identifier"')
            try:
                account = self.state.account(identifier)
            except KeyError:
                raise Refusal(401, "AuthenticationRequired", "Invalid identifier or password") from None
            headers = self.owner.wire.count(account.did, 0, login=True)
            if account.password is None or password != account.password:
                raise Refusal(401, "AuthenticationRequired", "Invalid identifier or password", headers)
            if not account.active:
                raise Refusal(401, "AccountTakedown", "Account has been taken down", headers)
            return JSONResponse(self._tokens(account) | self._session(account), headers=headers)
        except Refusal as refusal:
            return JSONResponse(refusal.body, refusal.status, refusal.headers)

    async def _refresh_session(self, request: Request) -> Response:
        try:
            if await request.body():
                raise invalid("A request body was provided when none was expected")
            account = self.owner.wire.caller(request, REFRESH)
            token = request.headers["authorization"]
            if token in self._spent:
                raise Refusal(400, "ExpiredToken", "Token has been revoked")
            self._spent.add(token)
            return JSONResponse(self._tokens(account) | self._session(account))
        except Refusal as refusal:
            return JSONResponse(refusal.body, refusal.status, refusal.headers)

    def _tokens(self, account: TwinAccount) -> Json:
        wire = self.owner.wire
        access = wire.token(account, ACCESS, self.owner.access_life)
        return {"accessJwt": access, "refreshJwt": wire.token(account, REFRESH, self.owner.refresh_life)}

    def _session(self, account: TwinAccount) -> Json:
        service = {"id": "#atproto_pds", "type": "AtprotoPersonalDataServer", "serviceEndpoint": self.owner.url}
        return {
            "did": account.did,
            "handle": account.handle,
            "active": account.active,
            "didDoc": {"id": account.did, "alsoKnownAs": [f"at://{account.handle}"], "service": [service]},
        }

    async def _get_session(self, call: Call) -> Json:
        return self._session(call.account)

    # records

    async def _create(self, call: Call) -> Json:
        body = await call.body("repo", "collection", "record")
        rkey = body.get("rkey") or self.state.tid()
        uri = self._checked(call.account, body, rkey)
        if uri in self.state.records:
            raise Refusal(500, "InternalServerError", "Internal Server Error")  # as the real server does
        return self._made(self._write(call.account, body, rkey))

    async def _put(self, call: Call) -> Json:
        body = await call.body("repo", "collection", "rkey", "record")
        uri = self._checked(call.account, body, body["rkey"])
        now = self.state.records.get(uri)
        if "swapRecord" in body and body["swapRecord"] != (now.cid if now else None):
            raise Refusal(400, "InvalidSwap", "Record was at another version")
        if now is not None and now.value == body["record"]:
            return {"uri": now.uri, "cid": now.cid, "validationStatus": "valid"}  # nothing is written
        return self._made(self._write(call.account, body, body["rkey"]))

    async def _delete(self, call: Call) -> Json:
        body = await call.body("repo", "collection", "rkey")
        self._repo(call.account, body["repo"])
        uri = f"at://{call.account.did}/{body['collection']}/{body['rkey']}"
        if uri in self.state.records:
            self.owner.remove(uri, by_api=True)
        return {}

    async def _get(self, request: Request) -> Response:
        values = request.query_params
        try:
            did = self.state.account(values.get("repo", "")).did
        except KeyError:
            return JSONResponse({"error": "InvalidRequest", "message": "Could not find repo"}, 400)
        uri = f"at://{did}/{values.get('collection')}/{values.get('rkey')}"
        record = self.state.records.get(uri)
        if record is None:
            return JSONResponse({"error": "RecordNotFound", "message": f"Could not locate record: {uri}"}, 400)
        return JSONResponse({"uri": record.uri, "cid": record.cid, "value": record.value})

    async def _upload(self, call: Call) -> Json:
        content = await call.request.body()
        if not content:
            raise invalid("Request encoding required but not provided")
        if len(content) > BLOB_LIMIT:
            raise Refusal(413, "PayloadTooLarge", "request entity too large")
        said = call.request.headers.get("content-type", "application/octet-stream")
        media_type = next((known for magic, known in _MAGIC if content.startswith(magic)), said)
        blob = TwinBlob(blob_cid_of(content), media_type, content)
        self.state.blobs.setdefault(call.account.did, {})[blob.cid] = blob
        shown = {"$type": "blob", "ref": {"$link": blob.cid}, "mimeType": media_type, "size": len(content)}
        return {"blob": shown}

    def _repo(self, account: TwinAccount, repo: Any) -> None:
        if repo not in (account.did, account.handle):
            raise Refusal(401, "AuthRequired", "Not the account's own repository")

    def _checked(self, account: TwinAccount, body: Json, rkey: Any) -> str:
        self._repo(account, body["repo"])
        if not isinstance(rkey, str) or not _RKEY.fullmatch(rkey) or rkey in (".", ".."):
            raise invalid("Invalid record key")
        collection, record = body["collection"], body["record"]
        if not isinstance(record, dict) or record.get("$type") != collection:
            raise invalid(f"Invalid $type: expected {collection}")
        if collection == POSTS:
            if not _TID.fullmatch(rkey):
                raise invalid("Invalid record key: expected a TID")
            self._check_post(account, record)
        return f"at://{account.did}/{collection}/{rkey}"

    def _check_post(self, account: TwinAccount, record: Json) -> None:
        """The rules of the lexicon `app.bsky.feed.post`."""
        where = f"Invalid {POSTS} record: Record"
        text = record.get("text")
        if not isinstance(text, str):
            raise invalid(f'{where} must have the property "text"')
        size, count = len(text.encode()), length(text, Counting.graphemes)
        if size > 3000:
            raise invalid(f"{where}/text string too big (maximum 3000, got {size})")
        if count > 300:
            raise invalid(f"{where}/text grapheme too big (maximum 300, got {count})")
        if not isinstance(record.get("createdAt"), str) or not _is_time(record["createdAt"]):
            raise invalid(f"{where}/createdAt must be an valid atproto datetime (both RFC-3339 and ISO-8601)")
        if len(record.get("langs") or ()) > 3:
            raise invalid(f"{where}/langs must not have more than 3 elements")
        for facet in record.get("facets") or ():
            index = facet.get("index") or {}
            if not all(isinstance(index.get(name), int) and index[name] >= 0 for name in ("byteStart", "byteEnd")):
                raise invalid(f"{where}/facets/0/index must have byteStart and byteEnd")
        if "reply" in record:
            for name in ("root", "parent"):
                ref = record["reply"].get(name)
                if not isinstance(ref, dict) or not {"uri", "cid"} <= set(ref):
                    raise invalid(f"{where}/reply/{name} must be a strong reference")
        self._check_pictures(account, record.get("embed"), where)

    def _check_pictures(self, account: TwinAccount, embed: Any, where: str) -> None:
        if not isinstance(embed, dict) or embed.get("$type") != "app.bsky.embed.images":
            return
        images = embed.get("images") or []
        if len(images) > 4:
            raise invalid(f"{where}/embed/images must not have more than 4 elements")
        for image in images:
            if "alt" not in image:
                raise invalid(f'{where}/embed/images/0 must have the property "alt"')
            blob = self.state.blobs.get(account.did, {}).get(image["image"]["ref"]["$link"])
            if blob is None:
                raise Refusal(400, "BlobNotFound", "Could not find blob")
            if len(blob.body) > 2_000_000:
                raise Refusal(400, "BlobTooLarge", "This file is too large")
            if blob.media_type != image["image"].get("mimeType"):
                raise Refusal(400, "InvalidMimeType", "Referenced Mimetype does not match stored mimetype.")

    def _write(self, account: TwinAccount, body: Json, rkey: str) -> TwinRecord:
        return self.owner.write(account.did, body["collection"], rkey, body["record"], by_api=True)

    def _made(self, record: TwinRecord) -> Json:
        commit = {"cid": record.cid, "rev": parts(record.uri)[2]}
        return {"uri": record.uri, "cid": record.cid, "commit": commit, "validationStatus": "valid"}


def _is_time(value: str) -> bool:
    try:
        return datetime.fromisoformat(value).tzinfo is not None
    except ValueError:
        return False
