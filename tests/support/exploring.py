"""Requests made up from the OpenAPI document (by Schemathesis), and what is wrong with the answers.

Most ids in a request's path are those of things that exist, so that what lies behind a 404 is reached too.
"""

from __future__ import annotations

import random
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import requests
import schemathesis
from hypothesis import HealthCheck, Phase, given, seed, settings
from hypothesis import strategies as st
from hypothesis.errors import Unsatisfiable
from schemathesis.core.failures import FailureGroup
from schemathesis.generation import GenerationMode
from schemathesis.specs.openapi.checks import (
    content_type_conformance,
    response_headers_conformance,
    response_schema_conformance,
    status_code_conformance,
)

CHECKS = [
    status_code_conformance,
    content_type_conformance,
    response_headers_conformance,
    response_schema_conformance,
]
EXISTING = 0.7
"""How many of the ids are those of things that exist."""
MAY_BE_AWAY = {"GET /readyz"}
"""Operations whose 503 is no fault: they say that the gateway is not ready."""


@dataclass
class Explorer:
    """Asks the operations of a document, and keeps what was wrong with their answers."""

    document: Mapping[str, Any]
    url: str
    headers: Mapping[str, str]
    known: Mapping[str, Sequence[Any]]
    """What path parameters may be, by their name."""
    wrong: list[str] = field(default_factory=list)
    seen: dict[str, set[int]] = field(default_factory=dict)
    """The statuses that each operation answered."""

    def explore(self, *, examples: int, start: int, wrongly: bool = True) -> None:
        """Ask each operation so many times with what it allows and, with `wrongly`, as often with what it does not."""
        schema = schemathesis.openapi.from_dict(_without_tuples(self.document))
        schema.config.generation.with_security_parameters = False  # who asks is not made up
        with requests.Session() as session:
            session.trust_env = False
            for found in schema.get_all_operations():
                self._explore(found.ok(), GenerationMode.POSITIVE, examples, start, session)
                if wrongly:
                    self._explore(found.ok(), GenerationMode.NEGATIVE, examples, start, session)

    def _explore(
        self, operation: Any, mode: GenerationMode, examples: int, start: int, session: requests.Session
    ) -> None:
        @seed(start)
        @settings(
            max_examples=examples,
            database=None,
            deadline=None,
            phases=[Phase.generate],
            suppress_health_check=list(HealthCheck),
        )
        @given(case=operation.as_strategy(generation_mode=mode), chance=st.randoms(use_true_random=False))
        def ask(case: Any, chance: random.Random) -> None:
            for name in list(case.path_parameters or ()):
                if self.known.get(name) and chance.random() < EXISTING:
                    case.path_parameters[name] = chance.choice(self.known[name])
            response = case.call(base_url=self.url, session=session, headers=dict(self.headers), timeout=60)
            self.seen.setdefault(operation.label, set()).add(response.status_code)
            found = []
            if response.status_code >= 500 and operation.label not in MAY_BE_AWAY:
                found.append(response.text[:500])
            try:
                case.validate_response(response, checks=CHECKS)
            except FailureGroup as error:
                found += [" ".join(str(one).split())[:600] for one in error.exceptions]
            if found:
                asked = case.as_curl_command()[:2000]
                self.wrong.append(f"{operation.label} {response.status_code}: {'; '.join(found)}\n    {asked}")

        try:
            ask()
        except Unsatisfiable:
            assert mode is GenerationMode.NEGATIVE  # an operation without parameters can be asked nothing wrong


def _without_tuples(node: Any) -> Any:
    """The same schema, said without `prefixItems`, which Schemathesis does not read in an answer."""
    if isinstance(node, list):
        return [_without_tuples(one) for one in node]
    if not isinstance(node, Mapping):
        return node
    made = {name: _without_tuples(one) for name, one in node.items()}
    if "prefixItems" in made:
        made["items"] = {"anyOf": made.pop("prefixItems")}
    return made
