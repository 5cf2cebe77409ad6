"""The kinds of things that files describe, in the order in which they need each other."""

from __future__ import annotations

from typing import Any

from gateway.configuration.apps import Apps
from gateway.configuration.brands import Brands
from gateway.configuration.calendars import Calendars
from gateway.configuration.connections import Connections
from gateway.configuration.kinds import Kind
from gateway.configuration.lists import Lists
from gateway.configuration.policies import Policies
from gateway.configuration.subscriptions import Subscriptions


def all_kinds() -> tuple[Kind[Any], ...]:
    """One of each kind. What names another thing comes after it."""
    return (Brands(), Apps(), Connections(), Calendars(), Lists(), Policies(), Subscriptions())


def folders() -> tuple[str, ...]:
    """The names of all kinds."""
    return tuple(kind.folder for kind in all_kinds())
