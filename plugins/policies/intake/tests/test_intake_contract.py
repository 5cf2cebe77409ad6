"""The policies keep the contract: the conformance kit, on recorded cases."""

from __future__ import annotations

from pathlib import Path

from gateway_intake.causes import RootCause
from gateway_intake.surge import Surge
from gateway_intake.triage import Critical, Triage
from gateway_schemas.testing.policy_contract import PolicyContract

FIXTURES = Path(__file__).parents[1] / "fixtures"


class TestCritical(PolicyContract):
    """Critical things first."""

    plugin = Critical
    fixtures = FIXTURES / "critical_first"


class TestTriage(PolicyContract):
    """Triage."""

    plugin = Triage
    fixtures = FIXTURES / "triage"


class TestSurge(PolicyContract):
    """Surge."""

    plugin = Surge
    fixtures = FIXTURES / "surge"


class TestRootCause(PolicyContract):
    """Root cause."""

    plugin = RootCause
    fixtures = FIXTURES / "root_cause"
