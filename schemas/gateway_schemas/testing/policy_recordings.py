"""A policy's fixtures folder: cases it is asked about, and what it decided.

    fixtures/<type>/setup.json                       parameters, and the reader, of all of its cases
    fixtures/<type>/in/<point>__<case>.json          one case
    fixtures/<type>/in/<point>__<case>.golden.json   the findings and effects that it gives

`<point>` is `on_interaction`, `review_reply`, `on_own_post`, `on_ticket` or `on_clock`. A case has `params`, `reader`,
`case` and `subject`, all of it optional: `subject` is the interaction, the rendered reply, the post, the change of the
ticket or the clock, and what is left out is filled in as by `testing.policies`. `params` change single values of those
in `setup.json`; a `reader` takes the place of the one there. It names a class (`"gateway_reading.reader:PackReader"`)
or says what a `ToldReader` finds: `{"words": {"sorry": "apologises"}, "promises": {"by Friday": null}}`.
"""

from __future__ import annotations

import importlib
import json
import os
from collections.abc import Iterable
from datetime import datetime
from functools import cached_property
from pathlib import Path
from typing import Any, cast

from gateway_schemas.decision import Case, ClockFacts
from gateway_schemas.policy import Policy
from gateway_schemas.reading import Reader
from gateway_schemas.testing.policies import NOON, ToldReader, case, message, own_post, rendered
from gateway_schemas.testing.recordings import GOLDEN
from gateway_schemas.ticket import TicketChanged

POINTS = ("on_interaction", "review_reply", "on_own_post", "on_ticket", "on_clock")


class PolicyRecordings:
    """The recorded cases of one policy class."""

    def __init__(self, folder: str | os.PathLike[str], policy: type[Policy[Any]]) -> None:
        self.folder = Path(folder)
        self.policy_class = policy

    @cached_property
    def setup(self) -> dict[str, Any]:
        """What `setup.json` says; empty without one."""
        path = self.folder / "setup.json"
        return cast("dict[str, Any]", json.loads(path.read_text("utf-8"))) if path.exists() else {}

    @cached_property
    def files(self) -> dict[str, Path]:
        """The recorded cases by name."""
        found = sorted((self.folder / "in").glob("*.json"))
        return {path.stem: path for path in found if not path.name.endswith(GOLDEN)}

    def golden(self, name: str) -> Path:
        """Where the golden of a case is, or shall be."""
        return self.folder / "in" / f"{name}{GOLDEN}"

    @property
    def orphans(self) -> list[str]:
        """Names of goldens without a case."""
        stems = {path.name.removesuffix(GOLDEN) for path in (self.folder / "in").glob(f"*{GOLDEN}")}
        return sorted(stems - set(self.files))

    def recorded(self, name: str) -> dict[str, Any]:
        """A case as it stands in its file."""
        return cast("dict[str, Any]", json.loads(self.files[name].read_text("utf-8")))

    def policy(self, name: str = "") -> Policy[Any]:
        """An instance with the parameters and the reader of a case."""
        special = self.recorded(name) if name else {}
        values = {**self.setup.get("params", {}), **special.get("params", {})}
        return self.policy_class(self.policy_class.Params.model_validate(values), _reader(special, self.setup))

    def case(self, name: str) -> Case:
        """The case that it is asked about."""
        return case_of(self.recorded(name))

    def subject(self, name: str) -> Any:
        """What it is asked about: an interaction, a reply, a post, a change or a clock."""
        return subject_of(name.partition("__")[0], self.recorded(name))

    def says(self, name: str) -> list[Any]:
        """What the policy finds and does."""
        return decided(self.policy(name), name, self.case(name), self.subject(name))


def decided(policy: Policy[Any], name: str, about: Case, subject: Any) -> list[Any]:
    """The findings and effects of a policy at the point that the case's name begins with."""
    found: Iterable[Any] = getattr(policy, name.partition("__")[0])(about, subject)
    return list(found)


def case_of(recorded: dict[str, Any]) -> Case:
    """The case of a record."""
    values = dict(recorded.get("case", {}))
    if isinstance(values.get("interaction"), dict):
        values["interaction"] = message(**{"text": "", **values["interaction"]})
    return Case.model_validate({**case().model_dump(), **values})


def subject_of(point: str, recorded: dict[str, Any]) -> Any:
    """The subject of a record, filled up."""
    given = dict(recorded.get("subject", {}))
    match point:
        case "on_interaction":
            return message(**given)
        case "review_reply":
            return rendered(**{"text": "", **given})
        case "on_own_post":
            return own_post(**{"text": "", **given})
        case "on_ticket":
            return TicketChanged.model_validate({"ticket": "1", **given})
        case "on_clock":
            clock = {"id": "k1", "kind": "first_response", "policy": "", "state": "running", "started_at": NOON}
            return ClockFacts.model_validate({**clock, **given})
    raise ValueError(f"{point}: expected one of {', '.join(POINTS)} before the two underscores")


def _reader(*setups: dict[str, Any]) -> Reader | None:
    """The reader that the first of these names or describes."""
    given = next((setup["reader"] for setup in setups if "reader" in setup), None)
    if isinstance(given, str):
        module, _, cls = given.partition(":")
        return cast("Reader", getattr(importlib.import_module(module), cls)())
    if given is None:
        return None
    promises = {quote: datetime.fromisoformat(due) if due else None for quote, due in given.get("promises", {}).items()}
    return ToldReader(given.get("words"), promises, given.get("coverage", "full"))
