"""Versions of what can be changed: ETag out, If-Match in."""

from __future__ import annotations

from typing import Annotated

from fastapi import Header

from gateway.api.problems import FieldError, Problem

IfMatch = Annotated[
    str | None,
    Header(
        alias="If-Match",
        description="The ETag that was read. With it a change is refused (412) when somebody else changed it since.",
    ),
]


def etag(version: int) -> str:
    """The ETag of a version."""
    return f'"{version}"'


def check_match(given: str | None, version: int) -> None:
    """Raise Problem 412 unless the version is one that If-Match names."""
    if given is None or given.strip() == "*":
        return
    named = {one.strip().removeprefix("W/") for one in given.split(",")}
    if etag(version) not in named:
        detail = f"It is at version {version} by now; read it again and repeat the change."
        error = FieldError(field="If-Match", message="names another version")
        raise Problem(412, "changed-meanwhile", detail, errors=[error], headers={"ETag": etag(version)})
