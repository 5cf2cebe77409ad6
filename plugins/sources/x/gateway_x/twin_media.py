"""The twin's endpoints for media: uploads in three steps, and files by their links."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from gateway_x.twin_http import DAY, Call, invalid, not_found, unknown_keys
from gateway_x.twin_json import Json

if TYPE_CHECKING:
    from gateway_x.twin import XTwin

_CATEGORIES = {"tweet_image": 5_000_000, "tweet_gif": 15_000_000}
_TYPES = ("image/jpeg", "image/png", "image/webp", "image/gif")


@dataclass
class Upload:
    """One file on its way in."""

    owner: str
    media_type: str
    total: int
    parts: dict[int, bytes] = field(default_factory=dict)
    done: bool = False

    @property
    def body(self) -> bytes:
        """What has come so far, in the order of its segments."""
        return b"".join(self.parts[index] for index in sorted(self.parts))


class MediaEndpoints:
    """Uploads of the accounts, and all files that posts show."""

    def __init__(self, twin: XTwin) -> None:
        self.twin = twin
        self.uploads: dict[str, Upload] = {}
        self.contents: dict[str, tuple[bytes, str]] = {}
        """What customers attached, by the name in its link."""

    def routes(self) -> list[Route]:
        """X's endpoints with their documented limits; files need no credentials."""
        route, path = self.twin.wire.route, "/2/media/upload"
        return [
            route("POST", f"{path}/initialize", self.initialize, "user", user=((1875, DAY / 96),)),
            route("POST", f"{path}/{{id}}/append", self.append, "user", user=((1875, DAY / 96),)),
            route("POST", f"{path}/{{id}}/finalize", self.finalize, "user", user=((1875, DAY / 96),)),
            Route("/media/{name}", self.content, methods=["GET"]),
        ]

    async def initialize(self, call: Call) -> Json:
        """Announce a file."""
        body = await call.body()
        unknown_keys(body, {"media_type", "total_bytes", "media_category", "additional_owners", "shared"})
        largest = _CATEGORIES.get(body.get("media_category", ""))
        if largest is None or body.get("media_type") not in _TYPES:
            raise invalid("$.media_category: does not fit the media type", parameter="media_category")
        total = body.get("total_bytes")
        if not isinstance(total, int) or not 0 < total <= largest:
            raise invalid(f"$.total_bytes: must be between 1 and {largest}", parameter="total_bytes")
        id = self.twin.state.new_id(self.twin.time.now())
        self.uploads[id] = Upload(call.user_id or "", str(body["media_type"]), total)
        return {"data": {"id": id, "media_key": f"3_{id}", "expires_after_secs": 86_400}}

    async def append(self, call: Call) -> Json:
        """One segment, as a form."""
        upload = self._upload(call)
        async with call.request.form() as form:
            index, part = form.get("segment_index"), form.get("media")
            if not isinstance(index, str) or not index.isdecimal() or part is None or isinstance(part, str):
                raise invalid("`segment_index` and `media` are required.", parameter="media")
            upload.parts[int(index)] = await part.read()
        return {"data": {"expires_at": 0}}

    async def finalize(self, call: Call) -> Json:
        """The file is complete, and a post may name it."""
        upload = self._upload(call)
        if len(upload.body) != upload.total:
            raise invalid(f"The media has {len(upload.body)} of {upload.total} bytes.", parameter="id")
        upload.done = True
        id = call.path("id")
        return {"data": {"id": id, "media_key": f"3_{id}", "size": upload.total, "expires_after_secs": 86_400}}

    def _upload(self, call: Call) -> Upload:
        upload = self.uploads.get(call.path("id"))
        if upload is None or upload.owner != call.user_id:
            raise not_found("media", call.path("id"))
        return upload

    async def content(self, request: Request) -> Response:
        """A file by its link."""
        kept = self.contents.get(request.path_params["name"])
        return Response("", status_code=404) if kept is None else Response(kept[0], media_type=kept[1])
