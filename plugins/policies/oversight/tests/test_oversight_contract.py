"""The policies keep the contract: the conformance kit, on recorded cases."""

from __future__ import annotations

from pathlib import Path

from gateway_oversight.eyes import SecondPerson
from gateway_oversight.mass import SameToMany
from gateway_schemas.testing.policy_contract import PolicyContract

FIXTURES = Path(__file__).parents[1] / "fixtures"


class TestSecondPerson(PolicyContract):
    """Four eyes."""

    plugin = SecondPerson
    fixtures = FIXTURES / "four_eyes"


class TestSameToMany(PolicyContract):
    """Same text to many."""

    plugin = SameToMany
    fixtures = FIXTURES / "mass_reply"
