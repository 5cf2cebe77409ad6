"""The policies keep the contract: the conformance kit, on recorded cases."""

from __future__ import annotations

from pathlib import Path

from gateway_honest_reviews.coupon import NoCouponForRetraction
from gateway_schemas.testing.policy_contract import PolicyContract

FIXTURES = Path(__file__).parents[1] / "fixtures"


class TestNoCouponForRetraction(PolicyContract):
    """No coupon for retraction."""

    plugin = NoCouponForRetraction
    fixtures = FIXTURES / "no_coupon_for_retraction"
