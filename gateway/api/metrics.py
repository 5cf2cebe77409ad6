"""The numbers of the whole installation, for Prometheus."""

from __future__ import annotations

from typing import Any

from fastapi import APIRouter, Request, Response
from fastapi.responses import PlainTextResponse
from prometheus_client import CollectorRegistry
from prometheus_client.exposition import choose_encoder

from gateway.api.deps import ReadsMetrics, RuntimeDep
from gateway.api.routes import ApiRoute
from gateway.metrics.families import Readings
from gateway.metrics.reading import read

router = APIRouter(tags=["health"], route_class=ApiRoute)

TEXT: dict[int | str, dict[str, Any]] = {
    200: {"description": "The metrics; OpenMetrics where `Accept` asks for it.", "content": {"text/plain": {}}}
}


@router.get("/metrics", response_class=PlainTextResponse, responses=TEXT)
async def metrics(runtime: RuntimeDep, _: ReadsMetrics, request: Request) -> Response:
    """How the whole installation fares, in Prometheus' text format. Any process answers for all of them.

    Each answer is read from the database anew, at a cost that does not grow with what is stored: once every 15 seconds
    is fine.
    """
    reading = await read(runtime)
    registry = CollectorRegistry(auto_describe=False)
    registry.register(Readings(reading, request.app.version))
    encode, media_type = choose_encoder(request.headers.get("accept", ""))
    return Response(encode(registry), headers={"Content-Type": media_type, "Cache-Control": "no-store"})
