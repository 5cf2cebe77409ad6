"""Versions of what can be changed: ETag out, If-Match in."""

from __future__ import annotations

import hashlib
from typing import Annotated

from fastapi import Header
from pydantic import BaseModel

from gateway.api.problems import FieldError, Problem

IfMatch = Annotated[
    str | None,
    Header(
        alias="If-Match",
        description="The ETag that was read. With it a change is refused (412) when somebody else changed it since.",
    ),
]


def fingerprint(view: BaseModel) -> str:
    """The version of what counts none: a hash of all that is shown of it."""
    return hashlib.sha256(view.model_dump_json().encode()).hexdigest()[:24]


def etag(version: int | str) -> str:
    """The ETag of a version."""
    return f'"{version}"'


def check_match(given: str | None, version: int | str | None) -> None:
    """Raise Problem 412 unless the version is one that If-Match names; None where there is nothing yet."""
    if given is None or given.strip() == "*":
        return
    named = {one.strip().removeprefix("W/") for one in given.split(",")}
    if version is None or etag(version) not in named:
        at = f"at version {version} by now" if isinstance(version, int) else "another one by now"
        detail = f"It is {at}; read it again and repeat the change."
        error = FieldError(field="If-Match", message="names another version")
        headers = {"ETag": etag(version)} if version is not None else None
        raise Problem(412, "changed-meanwhile", detail, errors=[error], headers=headers)
