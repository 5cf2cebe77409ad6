"""The pin board on loopback, and what people do there."""

from __future__ import annotations

import json
from collections.abc import Sequence
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import BaseRoute, Route

from gateway_schemas.signatures import sign_hmac
from gateway_schemas.testing.adapters import Answer, SourceAdapter
from gateway_schemas.testing.twin import Twin
from gateway_schemas.time import TimeSource

SHOP, RITA = 70, 71
TOKEN, SECRET = "token-of-the-shop", "secret-of-the-app"
PAGE, LIMIT = 10, 200
WINDOW = timedelta(hours=24)
FIXTURES = Path(__file__).parent / "source_fixtures"


class PinTwin(Twin):
    """Notes, letters and webhooks."""

    name = "pins"

    def __init__(self, time: TimeSource) -> None:
        self.notes: dict[int, dict[str, Any]] = {}
        self.hooks: list[str] = []
        self.expired = False
        self.keys: dict[str, int] = {}
        self.dedupes = False
        self.lag = timedelta()
        self._next = 9_007_199_254_740_993
        super().__init__(time=time)

    def routes(self) -> Sequence[BaseRoute]:
        return [
            Route("/hooks", self._hooks, methods=["GET", "POST"]),
            Route("/notes", self._list, methods=["GET"]),
            Route("/notes", self._create, methods=["POST"]),
            Route("/notes/own", self._own, methods=["GET"]),
            Route("/notes/{id:int}", self._one, methods=["GET", "PATCH", "DELETE"]),
        ]

    def snapshot(self) -> dict[str, Any]:
        return {"notes": list(self.notes.values()), "hooks": self.hooks}

    # people

    def pin(self, author: int, text: str, *, private: bool = False, to: int | None = None, at: datetime | None = None,
            by_api: bool = False) -> int:  # fmt: skip
        self._next += 2
        id, now = self._next, at or self.time.now()
        self.notes[id] = {
            "id": id,
            "author": author,
            "name": "Rita" if author == RITA else "Shop",
            "text": text,
            "private": private,
            "to": to,
            "thread": self.notes[to]["thread"] if to is not None else id,
            "written_at": now.isoformat(),
            "edited_at": None,
            "by_api": by_api,
        }
        self.effect("note", str(id), text=text)
        self._tell("pinned", {"id": id})
        return id

    def change(self, id: int, text: str) -> None:
        self.notes[id] |= {"text": text, "edited_at": self.time.now().isoformat()}
        self.effect("edit", str(id), text=text)
        self._tell("edited", self.notes[id])

    def take_down(self, id: int) -> None:
        del self.notes[id]
        self.effect("delete", str(id))
        self._tell("taken_down", {"id": id})

    def _tell(self, event: str, note: dict[str, Any]) -> None:
        body = json.dumps({"event": event, "shop": SHOP, "note": note}).encode()
        for url in self.hooks:

            def build(url: str = url) -> tuple[str, dict[str, str], bytes]:
                at = str(int(self.time.now().timestamp()))
                signature = sign_hmac(at.encode() + b"." + body, SECRET)
                return url, {"x-pin-time": at, "x-pin-signature": signature}, body

            self.emit(build)

    # the API

    def _refused(self, request: Request) -> Response | None:
        if self.expired or request.headers.get("authorization") != f"Bearer {TOKEN}":
            return JSONResponse({"error": "unauthorized"}, 401)
        return None

    async def _hooks(self, request: Request) -> Response:
        if refused := self._refused(request):
            return refused
        if request.method == "POST":
            url = (await request.json())["url"]
            answer = await self.client.get(url, params={"challenge": "c4711"})
            if answer.status_code != 200 or answer.text != sign_hmac(b"c4711", SECRET):
                return JSONResponse({"error": "challenge failed"}, 422)
            self.hooks.append(url)
            self.effect("hook", url)
        return JSONResponse({"hooks": self.hooks})

    async def _list(self, request: Request) -> Response:
        if refused := self._refused(request):
            return refused
        asked = request.query_params
        private, since = asked.get("private") == "true", asked.get("since")
        listed = [note for note in self.notes.values() if note["private"] == private and self._shown(note)]
        if since:
            start = datetime.fromisoformat(since)
            listed = [
                note for note in listed if datetime.fromisoformat(note["edited_at"] or note["written_at"]) >= start
            ]
        listed.sort(key=lambda note: -note["id"])
        if "page" in asked:
            listed = [note for note in listed if note["id"] < int(asked["page"])]
        page = listed[:PAGE]
        following = str(page[-1]["id"]) if len(listed) > PAGE else None
        return JSONResponse({"notes": page, "next": following})

    async def _own(self, request: Request) -> Response:
        if refused := self._refused(request):
            return refused
        own = [note for note in self.notes.values() if note["author"] == SHOP and self._shown(note)]
        return JSONResponse({"notes": sorted(own, key=lambda note: -note["id"])})

    async def _one(self, request: Request) -> Response:
        if refused := self._refused(request):
            return refused
        id = request.path_params["id"]
        if id not in self.notes:
            return JSONResponse({"error": "not found"}, 404)
        if request.method == "PATCH":
            self.change(id, (await request.json())["text"])
        if request.method == "DELETE":
            self.take_down(id)
            return JSONResponse({})
        return JSONResponse(self.notes[id])

    async def _create(self, request: Request) -> Response:
        if refused := self._refused(request):
            return refused
        key = request.headers.get("x-key", "")
        if self.dedupes and key in self.keys:
            return JSONResponse(self.notes[self.keys[key]])
        data = await request.json()
        to = self.notes.get(int(data["to"])) if data.get("to") else None
        if to is None:
            return JSONResponse({"error": "what is answered is gone"}, 404)
        if not data["text"].strip() or len(data["text"].encode()) > LIMIT:
            return JSONResponse({"error": "text"}, 422)
        private = data.get("private") is True
        if private and self.time.now() - datetime.fromisoformat(to["written_at"]) > WINDOW:
            return JSONResponse({"error": "window"}, 403)
        id = self.pin(SHOP, data["text"], private=private, to=to["id"], by_api=True)
        self.keys[key] = id
        return JSONResponse(self.notes[id], 201)

    def _shown(self, note: dict[str, Any]) -> bool:
        return self.time.now() - datetime.fromisoformat(note["written_at"]) >= self.lag


def _changed(note: dict[str, Any]) -> datetime:
    return datetime.fromisoformat(note["edited_at"] or note["written_at"])


class PinAdapter(SourceAdapter[PinTwin]):
    """A shop and Rita."""

    publishing = ("POST", "/notes$")
    shows_within = timedelta(seconds=25)

    def __init__(self, time: TimeSource) -> None:
        self.twin = PinTwin(time)

    def config(self) -> dict[str, Any]:
        return {"shop": str(SHOP), "token": TOKEN, "base_url": self.twin.url}

    def app(self) -> dict[str, Any]:
        return {"signing_secret": SECRET}

    def revoke(self) -> None:
        self.twin.expired = True

    def write(self, text: str, *, private: bool = False) -> str:
        return str(self.twin.pin(RITA, text, private=private))

    def reply(self, to: str, text: str) -> str:
        return str(self.twin.pin(RITA, text, to=int(to)))

    def edit(self, id: str, text: str) -> None:
        self.twin.change(int(id), text)

    def delete(self, id: str) -> None:
        self.twin.take_down(int(id))

    def brand_writes(self, text: str, to: str | None = None) -> str:
        return str(self.twin.pin(SHOP, text, to=int(to) if to else None))

    def write_late(self, text: str, by: timedelta) -> str:
        return str(self.twin.pin(RITA, text, at=self.twin.time.now() - by))

    def shows_after(self, lag: timedelta) -> None:
        self.twin.lag = lag

    def answers(self) -> list[Answer]:
        return [
            Answer(str(note["id"]), note["text"], str(note["to"]), note["private"])
            for note in self.twin.notes.values()
            if note["by_api"]
        ]


class KeyedAdapter(PinAdapter):
    """A board that remembers keys."""

    def __init__(self, time: TimeSource) -> None:
        super().__init__(time)
        self.twin.dedupes = True
