"""The policies keep the contract: the conformance kit, on recorded cases."""

from __future__ import annotations

from pathlib import Path

from gateway_schemas.testing.policy_contract import PolicyContract
from gateway_service.followup import Asked
from gateway_service.parity import Parity
from gateway_service.promises import KeptPromises
from gateway_service.response import ResponseTime

FIXTURES = Path(__file__).parents[1] / "fixtures"


class TestResponseTime(PolicyContract):
    """Response times."""

    plugin = ResponseTime
    fixtures = FIXTURES / "response_sla"


class TestKeptPromises(PolicyContract):
    """Keep promises."""

    plugin = KeptPromises
    fixtures = FIXTURES / "keep_promises"


class TestParity(PolicyContract):
    """Channels on a par."""

    plugin = Parity
    fixtures = FIXTURES / "channel_parity"


class TestAsked(PolicyContract):
    """Follow up."""

    plugin = Asked
    fixtures = FIXTURES / "follow_up"
