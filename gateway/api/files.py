"""Copies of attachments: what customers sent with their messages, and what agents sent out."""

from __future__ import annotations

from mimetypes import guess_extension
from typing import Annotated, Any
from urllib.parse import quote

from fastapi import APIRouter
from fastapi import Path as InPath
from starlette.responses import Response

from gateway.api.deps import ReadsTickets, RuntimeDep
from gateway.api.problems import Problem, not_found
from gateway.api.routes import ApiRoute
from gateway.db.database import fetch_one
from gateway_schemas.errors import Gone, Retry

router = APIRouter(prefix="/files", tags=["conversations"], route_class=ApiRoute)

Sha256 = Annotated[str, InPath(pattern="^[0-9a-f]{64}$", description="The SHA-256 of the file, in hexadecimal.")]
FILE: dict[int | str, dict[str, Any]] = {
    200: {"content": {"application/octet-stream": {"schema": {"type": "string", "format": "binary"}}}},
}


@router.get("/{sha256}", response_class=Response, responses=FILE)
async def read_file(sha256: Sha256, runtime: RuntimeDep, _: ReadsTickets) -> Response:
    """The bytes of an attachment's copy. It is foreign content: browsers are told to save it and not to show it."""
    async with runtime.database.read() as connection:
        row = await fetch_one(
            connection,
            "SELECT name, media_type FROM attachment WHERE sha256 = :sha256 ORDER BY created_at LIMIT 1",
            sha256=sha256,
        )
    if row is None:
        raise not_found("file", sha256)
    try:
        body = await runtime.files.read(sha256)
    except Gone as error:
        raise not_found("file", sha256) from error
    except Retry as error:
        raise Problem(503, "unavailable", error.reason) from error
    media_type = row["media_type"] or "application/octet-stream"
    name = row["name"] or f"{sha256[:12]}{guess_extension(media_type) or ''}"
    return Response(
        body,
        media_type=media_type,
        headers={
            "Content-Disposition": f"attachment; filename*=UTF-8''{quote(name, safe='')}",
            "X-Content-Type-Options": "nosniff",
            "Content-Security-Policy": "sandbox; default-src 'none'",
            "Cache-Control": "private, max-age=86400, immutable",
        },
    )
