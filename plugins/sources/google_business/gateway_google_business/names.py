"""Google's resource names, and the ids we make of them.

A review is `accounts/{account}/locations/{location}/reviews/{review}`. A location, and so its reviews, can be reached
through several accounts (a person's, a location group's), so the account is no part of what identifies a review.
"""

from __future__ import annotations

import hashlib
import re
from typing import NamedTuple

_PART = r"[A-Za-z0-9_.~=+-]{1,256}"
_REVIEW = re.compile(rf"(accounts/{_PART})/locations/({_PART})/reviews/({_PART})")
_LOCATION = re.compile(rf"(accounts/{_PART})/locations/({_PART})")
_REF = re.compile(rf"locations/{_PART}/reviews/{_PART}")
_LOCATION_REF = re.compile(rf"locations/{_PART}")


class ReviewName(NamedTuple):
    """A review's name in parts."""

    account: str
    location: str
    review: str

    @property
    def ref(self) -> str:
        """The review's external id: its name without the account it was reached through."""
        return f"locations/{self.location}/reviews/{self.review}"

    @property
    def subject(self) -> str:
        """The location's external id."""
        return f"locations/{self.location}"


def review_name(value: str) -> ReviewName | None:
    """A review's name in parts; None when it is none."""
    match = _REVIEW.fullmatch(value)
    return ReviewName(*match.groups()) if match else None


def location_name(value: str) -> tuple[str, str] | None:
    """The account and the location's external id in a location's full name; None when it is none."""
    match = _LOCATION.fullmatch(value)
    return (match[1], f"locations/{match[2]}") if match else None


def is_review_ref(ref: str) -> bool:
    """Whether this is a review's external id."""
    return _REF.fullmatch(ref) is not None


def is_location_ref(ref: str) -> bool:
    """Whether this is a location's external id."""
    return _LOCATION_REF.fullmatch(ref) is not None


def reply_id(ref: str, text: str) -> str:
    """The external id of the reply with this text in a review's one slot.

    Google gives replies no id. Another text is another reply, so that one that replaces ours is not taken for ours.
    """
    words = " ".join(text.split())
    return f"{ref}/reply#{hashlib.sha256(words.encode('utf-8', 'surrogatepass')).hexdigest()[:16]}"


def same_words(one: str, other: str) -> bool:
    """Whether two texts differ in white space at most."""
    return one.split() == other.split()
