"""What Google allows, by the buckets that requests name.

Each app has 200 requests for reviews an hour and 2,000 replies a day ("Reply to Reviews": Quotas); the project has
3,000 requests a minute ("API quotas" of the Play Developer API). Google has changed the figures before, so the first
two are settings. It sends no headers of limits: what is left is known only when a request is refused.
"""

from __future__ import annotations

from datetime import timedelta

from gateway_google_play.config import PlayApp
from gateway_schemas.limits import Budget

EVERYTHING = "*"
READ = "reviews.read"
REPLY = "reviews.reply"
TOKEN = "oauth2.token"


def budgets(app: PlayApp | None = None) -> tuple[Budget, ...]:
    """The budgets by an App's settings; Google's published ones without any."""
    reads, replies = (app.reads_an_hour, app.replies_a_day) if app else (200, 2000)
    return (
        Budget(EVERYTHING, 3000, timedelta(minutes=1)),
        Budget(READ, reads, timedelta(hours=1), per_scope=True),
        Budget(REPLY, replies, timedelta(days=1), per_scope=True),
    )
