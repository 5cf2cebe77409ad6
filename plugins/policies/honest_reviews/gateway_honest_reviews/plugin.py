"""What the gateway registers: one policy type."""

from __future__ import annotations

from typing import Any

from gateway_honest_reviews.coupon import NoCouponForRetraction
from gateway_schemas import hookimpl
from gateway_schemas.policy import Policy


@hookimpl
def register_policies() -> list[type[Policy[Any]]]:
    """The policy types of this distribution."""
    return [NoCouponForRetraction]
