"""The twin's uploads, and the files that posts show."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

from starlette.datastructures import UploadFile
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import BaseRoute, Route

from gateway_mastodon.twin_http import NOT_FOUND, Answer, Call, Refusal, Wire
from gateway_mastodon.twin_json import Shown
from gateway_mastodon.twin_state import State, TwinMedia

TYPES = {
    "image/jpeg": "image",
    "image/png": "image",
    "image/gif": "image",
    "image/webp": "image",
    "video/mp4": "video",
    "audio/mpeg": "audio",
}


class Owner(Protocol):
    """The twin, as far as uploads need it."""

    state: State
    wire: Wire
    shown: Shown
    image_bytes: int
    video_bytes: int
    processing: int
    url: str


class MediaEndpoints:
    """`/api/v2/media` and the files."""

    def __init__(self, owner: Owner) -> None:
        self.owner = owner

    def routes(self) -> Sequence[BaseRoute]:
        """Mastodon's paths."""
        route = self.owner.wire.route
        return [
            route("POST", "/api/v2/media", "write:media", self._upload, window="media"),
            route("GET", "/api/v1/media/{id}", "write:media", self._show),
            Route("/files/{name}", self._file),
        ]

    async def _upload(self, call: Call) -> Answer:
        body = await call.body()
        file = body.get("file")
        if not isinstance(file, UploadFile):
            raise Refusal(422, "Validation failed: File can't be blank")
        content, media_type = await file.read(), file.content_type or ""
        if media_type not in TYPES:
            raise Refusal(422, "Validation failed: File content type is invalid, File is invalid")
        most = self.owner.image_bytes if TYPES[media_type] == "image" else self.owner.video_bytes
        if len(content) > most:
            raise Refusal(422, f"Validation failed: File file size must be less than {most // 2**20} MB")
        media = self.keep(call.account.id, content, media_type, description=body.get("description"))
        media.ready_after = self.owner.processing
        return Answer(self.owner.shown.media(media), 202 if media.ready_after else 200)

    def keep(self, owner: str, body: bytes, media_type: str, *, description: str | None = None) -> TwinMedia:
        """Take a file in."""
        id = self.owner.state.new_id()
        url = f"{self.owner.url}/files/{id}.{media_type.rpartition('/')[2]}"
        media = TwinMedia(id, owner, TYPES[media_type], url, body, media_type, description)
        self.owner.state.media[id] = media
        return media

    async def _show(self, call: Call) -> Answer:
        media = self.owner.state.media.get(call.path("id"))
        if media is None or media.owner != call.account.id or media.status is not None:
            raise Refusal(404, NOT_FOUND)
        if media.ready_after:
            media.ready_after -= 1
        return Answer(self.owner.shown.media(media), 206 if media.ready_after else 200)

    async def _file(self, request: Request) -> Response:
        media = self.owner.state.media.get(str(request.path_params["name"]).partition(".")[0])
        if media is None:
            return Response(status_code=404)
        return Response(media.body, media_type=media.media_type)
