"""What the host finds: the entry point of this distribution."""

from __future__ import annotations

from typing import Any

from gateway_http_facts.enricher import HttpFacts
from gateway_schemas import hookimpl
from gateway_schemas.enricher import Enricher


@hookimpl
def register_enrichers() -> list[type[Enricher[Any]]]:
    """The one enricher of this plugin."""
    return [HttpFacts]
