"""What the host finds: the entry point of this distribution."""

from __future__ import annotations

from typing import Any

from gateway_inbound.source import InboundSource
from gateway_schemas import hookimpl
from gateway_schemas.source import Source


@hookimpl
def register_sources() -> list[type[Source[Any]]]:
    """The one source of this plugin."""
    return [InboundSource]
