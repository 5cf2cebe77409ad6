"""The gateway's REST API as the demo uses it: to set the stage, and to read afterwards what the gateway made of it."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping
from types import TracebackType
from typing import Any, Self

from gateway.net.loopback import Unreachable, loopback_client

LOOPBACK = ("127.0.0.1/32",)


class RestRefused(Exception):
    """The API answered with a problem. The message names the call and what the problem says."""

    def __init__(self, call: str, status: int, detail: str) -> None:
        super().__init__(f"{call}: {status} {detail}")
        self.status = status


class Rest:
    """A caller with the bootstrap key."""

    def __init__(self, port: int, key: str) -> None:
        self.url = f"http://127.0.0.1:{port}"
        self.key = key
        self._http = loopback_client(port, key)

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self._http.aclose()

    async def ready(self) -> bool:
        """Whether the gateway says that it is ready to work."""
        try:
            return (await self._http.get("/readyz", timeout=5.0)).is_success
        except Unreachable:
            return False

    async def get(self, path: str, **parameters: str) -> Any:
        """Read one thing. Raises RestRefused."""
        return await self._call("GET", path, None, parameters)

    async def post(self, path: str, body: Mapping[str, Any] | None = None, **parameters: str) -> Any:
        """Make or do something. Raises RestRefused."""
        return await self._call("POST", path, body, parameters)

    async def change(self, path: str, body: Mapping[str, Any]) -> Any:
        """Change one thing. Raises RestRefused."""
        return await self._call("PATCH", path, body, {})

    async def listed(self, path: str, **parameters: str) -> AsyncIterator[dict[str, Any]]:
        """Every item of a list, page by page. Raises RestRefused."""
        while True:
            page = await self.get(path, **parameters)
            for item in page["items"]:
                yield item
            if not page["next"]:
                return
            parameters["cursor"] = page["next"]

    async def _call(self, method: str, path: str, body: Mapping[str, Any] | None, parameters: Mapping[str, str]) -> Any:
        try:
            answer = await self._http.request(method, f"/v1/{path}", json=body, params=dict(parameters))
        except Unreachable as error:
            raise RestRefused(f"{method} /v1/{path}", 0, f"no answer ({type(error).__name__})") from error
        if not answer.is_success:
            raise RestRefused(f"{method} /v1/{path}", answer.status_code, answer.text[:1000])
        return answer.json()

    # the stage

    async def brand(self, name: str) -> str:
        """Make a brand; its id."""
        return str((await self.post("brands", {"name": name}))["id"])

    async def app(self, plugin: str, name: str, config: Mapping[str, Any]) -> str:
        """Make an App that may call this machine; its id."""
        body = {"plugin": plugin, "name": name, "config": dict(config), "allow_private": list(LOOPBACK)}
        return str((await self.post("apps", body))["id"])

    async def connection(self, plugin: str, name: str, config: Mapping[str, Any], **more: str) -> dict[str, Any]:
        """Make a connection that may call this machine; `more` are its brand, App and helpdesk. As the API shows it."""
        body = {"plugin": plugin, "name": name, "config": dict(config), "allow_private": list(LOOPBACK), **more}
        made: dict[str, Any] = await self.post("connections", body)
        return made

    async def install(self, connection: Mapping[str, Any]) -> None:
        """Let the plugin set up webhooks and whatever else it needs at the provider."""
        await self.post(f"connections/{connection['id']}/install", dry_run="false")
