"""A connection to the plugin's twin, and the secrets that both sides know."""

from __future__ import annotations

import base64
from collections.abc import AsyncIterator, Callable
from datetime import UTC, datetime
from typing import Any

import httpx2
import pytest

from gateway_inbound.config import InboundConfig
from gateway_inbound.source import InboundSource
from gateway_inbound.twin import InboundTwin
from gateway_schemas.plugin import Setup
from gateway_schemas.time import SystemTime

SIGNING = "whsec_" + base64.b64encode(b"for the fixtures of inbound only").decode()
REPLY = "whsec_" + base64.b64encode(b"what goes back is signed as well").decode()
AT = datetime(2026, 5, 4, 12, 30, 10, tzinfo=UTC)

MakeSource = Callable[..., InboundSource]


@pytest.fixture
def make_source() -> MakeSource:
    """A source without network, as the process has it in which pure methods run."""

    def make(http: httpx2.AsyncClient | None = None, **config: Any) -> InboundSource:
        given = {"system": "The forum", "signing_secrets": [SIGNING], "own_authors": ["brand"], **config}
        return InboundSource(Setup(time=SystemTime(), config=InboundConfig.model_validate(given), http=http))

    return make


@pytest.fixture
async def http() -> AsyncIterator[httpx2.AsyncClient]:
    async with httpx2.AsyncClient(timeout=httpx2.Timeout(30.0, read=0.5), trust_env=False) as client:
        yield client


@pytest.fixture
async def twin() -> AsyncIterator[InboundTwin]:
    twin = InboundTwin(signing_secret=SIGNING, reply_secret=REPLY)
    async with twin.serve():
        twin.items["c-77"] = {"external_id": "c-77"}
        yield twin


@pytest.fixture
def connected(make_source: MakeSource, http: httpx2.AsyncClient, twin: InboundTwin) -> MakeSource:
    """A source that posts its replies to the twin."""

    def make(**config: Any) -> InboundSource:
        return make_source(http, **{"reply_url": twin.reply_url, "reply_secret": REPLY, **config})

    return make
