"""The policies keep the contract: the conformance kit, on recorded cases."""

from __future__ import annotations

from pathlib import Path

from gateway_schemas.testing.policy_contract import PolicyContract
from gateway_tone.acknowledge import AcknowledgeFirst
from gateway_tone.argument import NoArgument
from gateway_tone.listen import ListenFirst

FIXTURES = Path(__file__).parents[1] / "fixtures"


class TestAcknowledgeFirst(PolicyContract):
    """Acknowledge first."""

    plugin = AcknowledgeFirst
    fixtures = FIXTURES / "acknowledge_first"


class TestNoArgument(PolicyContract):
    """No argument."""

    plugin = NoArgument
    fixtures = FIXTURES / "no_argument"


class TestListenFirst(PolicyContract):
    """Listen first."""

    plugin = ListenFirst
    fixtures = FIXTURES / "listen_first"
