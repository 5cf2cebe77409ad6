"""How things at Mastodon are named here.

A post's id holds at one server only, and a parent is named by such an id. So a post is `domain/id` of the server that
the account lives on, which is the same for all accounts there. An account is its full address in lower case, as
mentions name it: a name at a server is never given to somebody else, and does not change.
"""

from __future__ import annotations


def address(acct: str, home: str) -> str:
    """`rita@example.social`; accounts of the server itself are named there without their domain."""
    acct = acct.removeprefix("@").lower()
    return acct if "@" in acct else f"{acct}@{home.lower()}"


def status_ref(home: str, id: str) -> str:
    """A post's external id."""
    return f"{home.lower()}/{id}"


def status_id(home: str, ref: str) -> str | None:
    """The id at the server of a post's external id; None when it is no post of that server."""
    domain, slash, id = ref.partition("/")
    return id if slash and domain == home.lower() and is_id(id) else None


def is_id(id: str) -> bool:
    """Whether this may stand in a path of the API: Mastodon's ids are numbers, other servers' are words."""
    return 0 < len(id) <= 128 and id.isascii() and id.replace("-", "").replace("_", "").isalnum()
