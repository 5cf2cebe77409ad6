"""Pictures that go out with a post: which Bluesky takes, and how they are uploaded before it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from gateway_bluesky.api import Api
from gateway_bluesky.names import blob_cid
from gateway_schemas.errors import Malformed, Rejected
from gateway_schemas.files import FileStore
from gateway_schemas.reply import OutgoingFile

MOST = 4
"""app.bsky.embed.images."""
LARGEST = 2_000_000
"""Bytes of one."""


def check(files: Sequence[OutgoingFile]) -> None:
    """Raises Rejected when Bluesky would not take these files, with the limit named."""
    if len(files) > MOST:
        raise Rejected(f"a post takes {MOST} pictures, not {len(files)}", code="too_many_files", field="files")
    for file in files:
        if not file.media_type.startswith("image/"):
            reason = f"a post takes pictures; {file.name} is {file.media_type}"
            raise Rejected(reason, code="no_such_media", field="files")
        if file.size > LARGEST:
            reason = f"{file.name} has {file.size} bytes; Bluesky takes {LARGEST}"
            raise Rejected(reason, code="file_too_large", field="files")


def embed(files: Sequence[OutgoingFile]) -> dict[str, Any]:
    """The pictures as a record has them. A blob is named by its bytes, so this is known before they are uploaded."""
    return {"$type": "app.bsky.embed.images", "images": [{"image": _blob(file), "alt": ""} for file in files]}


def _blob(file: OutgoingFile) -> dict[str, Any]:
    link = {"$link": blob_cid(file.sha256)}
    return {"$type": "blob", "ref": link, "mimeType": file.media_type, "size": file.size}


async def upload(api: Api, store: FileStore, files: Sequence[OutgoingFile]) -> None:
    """Upload the pictures; the server drops them when no record names them soon. Raises GatewayError.

    The server looks at the bytes for their type, and refuses records that say another one.
    """
    for file in files:
        body = await store.read(file.sha256)
        # nobody sees a blob before a record names it, and the same bytes are the same blob
        made = await api.post("com.atproto.repo.uploadBlob", body, effect=False, media_type=file.media_type)
        blob = made.get("blob")
        ref = blob.get("ref") if isinstance(blob, dict) else None
        if not isinstance(blob, dict) or not isinstance(ref, dict):
            raise Malformed("the answer to an upload names no blob", code="malformed")
        if ref.get("$link") != blob_cid(file.sha256) or blob.get("mimeType") != file.media_type:
            reason = f"{file.name} is {blob.get('mimeType')} to the server, and {file.media_type} here"
            raise Rejected(reason, code="media_type_differs", field="files")
