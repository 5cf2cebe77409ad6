"""A company's system that knows customers: refuses what is not signed, and answers with what it is told to know."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import BaseRoute, Route

from gateway_schemas.errors import Unverified
from gateway_schemas.signatures import verify_standard
from gateway_schemas.testing.twin import Twin


class HttpFactsTwin(Twin):
    """`known[author id]` is what it says; of others it answers 404."""

    name = "http_facts"
    actions = ("know",)

    def __init__(self, *, secret: str = "whsec_" + "A" * 43 + "=", **options: Any) -> None:
        self.secret = secret
        self.known: dict[str, dict[str, Any]] = {}
        self.asked: list[dict[str, Any]] = []
        super().__init__(**options)

    def routes(self) -> Sequence[BaseRoute]:
        """The one address."""
        return [Route("/facts", self._facts, methods=["POST"])]

    def config(self) -> dict[str, Any]:
        """For a connection to it."""
        return {"url": f"{self.url}/facts", "secret": self.secret}

    def furnish(self) -> dict[str, Any]:
        """Nobody is known yet: `know` tells it of somebody."""
        return {"config": self.config()}

    def know(self, author: str, fact: str, value: str) -> None:
        """Somebody enters what is known of an author, by the id that the source gives them."""
        self.known.setdefault(author, {})[fact] = value

    def snapshot(self) -> dict[str, Any]:
        """What it knows, and how often it was asked."""
        return {"known": self.known, "asked": len(self.asked)}

    async def _facts(self, request: Request) -> Response:
        body = await request.body()
        try:
            verify_standard(request.headers.get, body, [self.secret], self.time.now())
        except Unverified as error:
            return JSONResponse({"detail": error.reason}, status_code=401)
        document = await request.json()
        if document["type"] == "facts.check":
            return Response(status_code=204)
        self.asked.append(document["data"])
        facts = self.known.get(document["data"]["author"]["external_id"])
        return Response(status_code=404) if facts is None else JSONResponse(facts)
