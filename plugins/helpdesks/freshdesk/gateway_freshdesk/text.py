"""Plain text as Freshdesk shows it."""

from __future__ import annotations

import html


def as_html(text: str) -> str:
    """Plain text as HTML that shows exactly it."""
    return html.escape(text, quote=False).replace("\r\n", "\n").replace("\n", "<br>")
