"""Files that go out with a post: which the server takes, and how they are uploaded before it."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Any

from gateway_mastodon.api import MEDIA, READ, Api
from gateway_mastodon.config import MastodonConfig
from gateway_schemas.errors import Gone, Malformed, Rejected, Retry
from gateway_schemas.files import FileStore
from gateway_schemas.http import json_object
from gateway_schemas.plugin import StateStore
from gateway_schemas.reply import OutgoingFile

_KEY = "uploads"
_KEPT = timedelta(hours=20)
"""Mastodon removes files that no post names after a day."""
_LOOKS = 5
_MOST = 50


def check(config: MastodonConfig, files: Sequence[OutgoingFile]) -> None:
    """Raises Rejected when the server would not take these files, with the limit named."""
    if len(files) > config.max_media:
        reason = f"a post takes {config.max_media} files here, not {len(files)}"
        raise Rejected(reason, code="too_many_files", field="files")
    if len(files) > 1 and any(not file.media_type.startswith("image/") for file in files):
        raise Rejected("a video or sound goes alone", code="too_many_files", field="files")
    for file in files:
        if file.media_type not in config.media_types:
            known = ", ".join(sorted(config.media_types))
            reason = f"the server takes {known}; {file.name} is {file.media_type}"
            raise Rejected(reason, code="no_such_media", field="files")
        most = config.image_bytes if file.media_type.startswith("image/") else config.video_bytes
        if file.size > most:
            reason = f"{file.name} has {file.size} bytes; the server takes {most}"
            raise Rejected(reason, code="file_too_large", field="files")


class Uploads:
    """The files of one connection that are at the server already, so that a repeated send need not bring them anew.

    Thirty uploads in half an hour are all that an account has.
    """

    def __init__(self, api: Api, store: FileStore, state: StateStore) -> None:
        self.api = api
        self.store = store
        self.state = state

    async def ids(self, files: Sequence[OutgoingFile]) -> list[str]:
        """Upload what is not there yet, and wait a moment for it. Raises GatewayError; Retry while it is processed."""
        known = await self._known()
        found: list[str] = []
        try:
            for file in files:
                id, ready = known[file.sha256]["id"] if file.sha256 in known else None, False
                if id is None:
                    id, ready = await self._upload(file, await self.store.read(file.sha256))
                    known[file.sha256] = {"id": id, "at": self.api.now().isoformat()}
                try:
                    ready = ready or await self._processed(id)
                except Gone:
                    del known[file.sha256]
                    raise Retry(f"{file.name} is not at the server any more", code="upload_gone") from None
                if not ready:
                    raise Retry(f"the server is still processing {file.name}", after=timedelta(seconds=15))
                found.append(id)
        finally:
            if files:
                await self.state.merge({_KEY: known})
        return found

    async def used(self, files: Sequence[OutgoingFile]) -> None:
        """Forget them: a post has them now, and another one may not."""
        if files:
            known = await self._known()
            await self.state.merge({_KEY: {sha: one for sha, one in known.items() if sha not in _names(files)}})

    async def _known(self) -> dict[str, dict[str, str]]:
        stored = (await self.state.load()).get(_KEY)
        since = self.api.now() - _KEPT
        items = list(stored.items())[-_MOST:] if isinstance(stored, dict) else []
        return {sha: one for sha, one in items if datetime.fromisoformat(one["at"]) > since}

    async def _upload(self, file: OutgoingFile, body: bytes) -> tuple[str, bool]:
        status, made = await self.api.change(
            "POST",
            "/api/v2/media",
            bucket=MEDIA,
            effect=False,  # nobody sees a file before a post names it
            expected=(200, 202),
            files={"file": (file.name, body, file.media_type)},
        )
        return _id(made), status == 200

    async def _processed(self, id: str) -> bool:
        """Whether the file may be used: 206 while the server works on it, 200 when it is done."""
        for look in range(_LOOKS):
            path = f"/api/v1/media/{id}"
            response = await self.api.request("GET", path, bucket=READ, effect=False, expected=(200, 206))
            if response.status_code == 200:
                json_object(response)
                return True
            if look < _LOOKS - 1:
                await self.api.time.sleep(1)
        return False


def _names(files: Sequence[OutgoingFile]) -> set[str]:
    return {file.sha256 for file in files}


def _id(made: dict[str, Any]) -> str:
    id = made.get("id")
    if not isinstance(id, str) or not id:
        raise Malformed("the answer to an upload names no id", code="malformed")
    return id
