"""What the README tells the people of another system is true."""

from __future__ import annotations

import asyncio
import base64
import json
import os
import re
import shutil
import sys
from collections.abc import AsyncIterator, Callable, Sequence
from datetime import UTC, datetime
from pathlib import Path

import pytest
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import BaseRoute, Route

from gateway_inbound.config import InboundConfig
from gateway_inbound.events import TYPES
from gateway_inbound.source import InboundSource
from gateway_schemas.errors import Unverified
from gateway_schemas.interaction import Deletion, Ignored, Interaction
from gateway_schemas.testing.twin import Twin
from gateway_schemas.webhook import RawDelivery, WebhookRequest

MakeSource = Callable[..., InboundSource]

README = (Path(__file__).parents[1] / "README.md").read_text("utf-8")
# at the secret's end a letter that differs between base64 and its variant for URLs
SECRET = "whsec_" + base64.b64encode(b"\xfb\xff\x00 thirty-two bytes, all random").decode()


def blocks(language: str) -> list[str]:
    return re.findall(rf"^```{language}\n(.*?)^```$", README, re.DOTALL | re.MULTILINE)


class Door(Twin):
    """Verifies and keeps what comes, as the gateway's door does."""

    def __init__(self, source: InboundSource) -> None:
        self.source = source
        self.kept: list[RawDelivery] = []
        super().__init__()

    def routes(self) -> Sequence[BaseRoute]:
        async def take(request: Request) -> Response:
            body, at = await request.body(), datetime.now(UTC)
            try:
                self.source.verify(WebhookRequest("POST", "/", b"", request.headers.raw, body, at))
            except Unverified as error:
                return Response(error.reason, 401)
            self.kept.append(RawDelivery("1", "webhook", body, at))
            return Response()

        return [Route("/hooks/1", take, methods=["POST"])]


@pytest.fixture
async def door(make_source: MakeSource) -> AsyncIterator[Door]:
    door = Door(make_source(signing_secrets=[SECRET]))
    async with door.serve():
        yield door


async def run(door: Door, *command: str) -> None:
    environment = {**os.environ, "DOOR": f"{door.url}/hooks/1", "SECRET": SECRET}
    process = await asyncio.create_subprocess_exec(
        *command, env=environment, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.STDOUT
    )
    said, _ = await process.communicate()
    assert process.returncode == 0, said.decode()


async def test_the_curl_example_is_let_in_and_read(door: Door) -> None:
    missing = [tool for tool in ("bash", "curl", "openssl", "od") if shutil.which(tool) is None]
    if missing:
        pytest.skip(f"not installed here: {', '.join(missing)}")
    settings, script = blocks("bash")
    assert re.findall(r"export (\w+)=", settings) == ["DOOR", "SECRET"]
    await run(door, "bash", "-euo", "pipefail", "-c", script)
    (item,) = door.source.normalise(door.kept[0])
    assert isinstance(item, Interaction)
    assert item.author.name == "Rita"


async def test_the_python_example_is_let_in_and_read(door: Door) -> None:
    (script,) = blocks("python")
    await run(door, sys.executable, "-W", "error", "-c", script)
    (item,) = door.source.normalise(door.kept[0])
    assert isinstance(item, Deletion)


def test_the_json_examples_are_what_is_read_and_what_is_sent(make_source: MakeSource) -> None:
    source = make_source(reply_url="https://forum.example/replies", reply_secret=SECRET)
    pushed, replied = blocks("json")
    (item,) = source.normalise(RawDelivery("1", "webhook", pushed.encode(), datetime.now(UTC)))
    assert isinstance(item, Interaction)
    assert not isinstance(item, Ignored)
    assert json.loads(replied)["data"]["in_reply_to"] == item.external_id


def test_every_setting_and_every_event_is_documented() -> None:
    for name in (*TYPES, "batch", "reply.created", "reply.updated", "reply.deleted"):
        assert f"`{name}`" in README or f'"type": "{name}"' in README, name
    (table,) = re.findall(r"^## Configuration\n(.*?)^## ", README, re.DOTALL | re.MULTILINE)
    documented = dict(re.findall(r"^\| `(\w+)` \| (.*?) \|", table, re.MULTILINE))
    assert documented.keys() == InboundConfig.model_fields.keys()
    for name, field in InboundConfig.model_fields.items():
        default = None if field.is_required() else field.get_default(call_default_factory=True)
        shown = "required" if field.is_required() else "none" if default in (None, []) else str(default)
        assert documented[name].strip("`").lower() == shown.lower(), name
