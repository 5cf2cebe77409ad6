"""Keeps secrets out of the client library's own logs."""

from __future__ import annotations

import logging

import httpx2


class _OriginsOnly(logging.Filter):
    """Shortens URLs to scheme, host and port: tokens stand in queries, and in paths too (Telegram)."""

    def filter(self, record: logging.LogRecord) -> bool:
        if isinstance(record.args, tuple):
            record.args = tuple(_origin(one) if isinstance(one, httpx2.URL) else one for one in record.args)
        return True


def _origin(url: httpx2.URL) -> str:
    return f"{url.scheme}://{url.netloc.decode('ascii')}"


def keep_secrets_out_of_logs() -> None:
    """Called when the client is opened; calling it again changes nothing."""
    library = logging.getLogger("httpx2")
    if not any(isinstance(one, _OriginsOnly) for one in library.filters):
        library.addFilter(_OriginsOnly())
    # its debug lines hold every header
    logging.getLogger("httpcore2").setLevel(logging.INFO)
