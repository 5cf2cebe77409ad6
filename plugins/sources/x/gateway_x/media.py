"""Pictures that go out with a post: which X takes, and how they are uploaded before it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from gateway_schemas.errors import Malformed, Rejected
from gateway_schemas.files import FileStore
from gateway_schemas.limits import metered
from gateway_schemas.reply import OutgoingFile
from gateway_x import metering
from gateway_x.api import Api

MOST = 4
"""Pictures of one post."""
LARGEST = {"image/jpeg": 5_000_000, "image/png": 5_000_000, "image/webp": 5_000_000, "image/gif": 15_000_000}
"""Bytes of one, by media type."""
SEGMENT = 4_000_000


def check(files: Sequence[OutgoingFile]) -> None:
    """Raises Rejected when X would not take these files, with the limit named."""
    if len(files) > MOST:
        raise Rejected(f"a post takes {MOST} pictures, not {len(files)}", code="too_many_files", field="files")
    if len(files) > 1 and any(file.media_type == "image/gif" for file in files):
        raise Rejected("an animated picture goes alone", code="too_many_files", field="files")
    for file in files:
        largest = LARGEST.get(file.media_type)
        if largest is None:
            known = ", ".join(LARGEST)
            raise Rejected(f"X takes {known}; {file.name} is {file.media_type}", code="no_such_media", field="files")
        if file.size > largest:
            reason = f"{file.name} has {file.size} bytes; X takes {largest}"
            raise Rejected(reason, code="file_too_large", field="files")


async def upload(api: Api, store: FileStore, files: Sequence[OutgoingFile]) -> list[str]:
    """Upload the pictures and return X's media ids. Nobody sees them before a post names them, so it may be repeated.

    `initialize`, `append` by segments and `finalize` of `/2/media/upload`. Raises GatewayError.
    """
    return [await _one(api, file, await store.read(file.sha256)) for file in files]


async def _one(api: Api, file: OutgoingFile, body: bytes) -> str:
    account = api.config.user_id
    category = "tweet_gif" if file.media_type == "image/gif" else "tweet_image"
    document = {"media_type": file.media_type, "total_bytes": len(body), "media_category": category}
    extensions = metered(metering.UPLOAD, scope=account)
    path = "/2/media/upload"
    made = await api.change("POST", f"{path}/initialize", document, who="account", extensions=extensions, effect=False)
    id = _id(made)
    for index, start in enumerate(range(0, len(body), SEGMENT)):
        await api.append(f"{path}/{id}/append", index, body[start : start + SEGMENT], extensions=extensions)
    await api.change("POST", f"{path}/{id}/finalize", who="account", extensions=extensions, effect=False)
    return id


def _id(made: dict[str, Any]) -> str:
    data = made.get("data")
    id = data.get("id") if isinstance(data, dict) else None
    if not isinstance(id, str) or not id.isdecimal():
        raise Malformed("X's answer to an upload names no id", code="malformed")
    return id
