"""Tags that mean something to the gateway: by them it tells what became of an answer, and agents what is to become."""

from __future__ import annotations

from collections.abc import Iterable

LEG_TAGS = {"reply:public": "public", "reply_public": "public", "reply:private": "private", "reply_private": "private"}
"""Tags by which an agent chooses, also afterwards, which leg a held answer goes to."""
OURS = "gw_"
"""How those begin that are about answers: `gw_held`, `gw_approve`, …"""


def of_the_matter(tags: Iterable[str]) -> tuple[str, ...]:
    """Those that a ticket hands on to the one that follows it, as helpdesks' own follow-ups have them: not what is said
    of its answers."""
    return tuple(sorted(tag for tag in tags if tag not in LEG_TAGS and not tag.startswith(OURS)))
