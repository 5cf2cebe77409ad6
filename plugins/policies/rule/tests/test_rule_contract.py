"""The policies keep the contract: the conformance kit, on recorded cases."""

from __future__ import annotations

from pathlib import Path

from gateway_rule.plugin import RulePolicy
from gateway_schemas.testing.policy_contract import PolicyContract

FIXTURES = Path(__file__).parents[1] / "fixtures"


class TestRulePolicy(PolicyContract):
    """Rule."""

    plugin = RulePolicy
    fixtures = FIXTURES / "rule"
