"""The policies keep the contract: the conformance kit, on recorded cases."""

from __future__ import annotations

from pathlib import Path

from gateway_discretion.offline import TakeItOffline
from gateway_schemas.testing.policy_contract import PolicyContract

FIXTURES = Path(__file__).parents[1] / "fixtures"


class TestTakeItOffline(PolicyContract):
    """Take it offline."""

    plugin = TakeItOffline
    fixtures = FIXTURES / "take_it_offline"
