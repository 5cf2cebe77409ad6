"""A plain client for this machine's own addresses: how the demo speaks to the REST API that it has just started."""

from __future__ import annotations

import httpx2

Unreachable = httpx2.TransportError
"""Nobody answered: not started yet, killed, or hanging."""


def loopback_client(port: int, key: str) -> httpx2.AsyncClient:
    """A client of the gateway on a port of this machine. It follows no redirects and takes nothing from the
    environment."""
    return httpx2.AsyncClient(
        base_url=f"http://127.0.0.1:{port}",
        headers={"Authorization": f"Bearer {key}", "User-Agent": "helpdesk-gateway-demo"},
        timeout=30.0,
        trust_env=False,
    )
