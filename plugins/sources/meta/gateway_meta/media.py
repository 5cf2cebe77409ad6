"""The picture that goes out with a comment on a Page: which Meta takes, and how it is uploaded before it.

Pages API, "Comments": a comment carries one photo, by the id of an unpublished one.
"""

from __future__ import annotations

from collections.abc import Sequence

from gateway_meta.api import Api
from gateway_schemas.errors import Malformed, Rejected
from gateway_schemas.files import FileStore
from gateway_schemas.reply import OutgoingFile

LARGEST = 10_000_000
"""Bytes of a photo."""
TYPES = ("image/jpeg", "image/png", "image/gif", "image/bmp", "image/tiff")


def check(files: Sequence[OutgoingFile]) -> None:
    """Raises Rejected when a comment would not take these files, with the limit named."""
    if len(files) > 1:
        raise Rejected(f"a comment takes one picture, not {len(files)}", code="too_many_files", field="files")
    for file in files:
        if file.media_type not in TYPES:
            reason = f"comments take {', '.join(TYPES)}; {file.name} is {file.media_type}"
            raise Rejected(reason, code="no_such_media", field="files")
        if file.size > LARGEST:
            reason = f"{file.name} has {file.size} bytes; Meta takes {LARGEST}"
            raise Rejected(reason, code="file_too_large", field="files")


async def upload(api: Api, store: FileStore, file: OutgoingFile) -> str:
    """Upload a photo that nobody sees before a comment names it, and return its id. Raises GatewayError."""
    body = await store.read(file.sha256)
    made = await api.upload(
        f"{api.account}/photos",
        {"published": "false", "temporary": "true"},
        (file.name, body, file.media_type),
    )
    id = made.get("id")
    if not isinstance(id, str) or not id:
        raise Malformed("Meta's answer to an upload names no id", code="malformed")
    return id
