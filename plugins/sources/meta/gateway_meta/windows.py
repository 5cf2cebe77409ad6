"""How long Meta lets a business answer in private.

Messenger Platform, "Messaging windows" and "Human Agent": 24 hours after the person's last message, 7 days with the tag
where App Review granted it. "Private replies": one message to each comment, within 7 days of it.
"""

from __future__ import annotations

from datetime import timedelta

STANDARD = timedelta(hours=24)
HUMAN_AGENT = timedelta(days=7)
PRIVATE_REPLY = timedelta(days=7)


def messaging_window(human_agent: bool) -> timedelta:
    """How long after a person's message the App may answer it."""
    return HUMAN_AGENT if human_agent else STANDARD
