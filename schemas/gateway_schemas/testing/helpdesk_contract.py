"""The conformance kit for helpdesks. An author's whole test file:

    class TestAcme(HelpdeskContract):
        plugin = AcmeHelpdesk
        fixtures = Path(__file__).parents[1] / "fixtures"
        adapter = AcmeAdapter

`AcmeAdapter` is a `HelpdeskAdapter`: what agents do at the plugin's twin. Each check is named after the fault that it
looks for and says how to mend it; `docs/kit/helpdesk.md` lists them all.
"""

from __future__ import annotations

from typing import Any, ClassVar

from gateway_schemas.helpdesk import Helpdesk
from gateway_schemas.testing.door_checks import DoorChecks
from gateway_schemas.testing.once_checks import OnceChecks
from gateway_schemas.testing.people_checks import PeopleChecks
from gateway_schemas.testing.pushing_checks import PushingChecks
from gateway_schemas.testing.reading_checks import ReadingChecks
from gateway_schemas.testing.ticket_polling_checks import TicketPollingChecks
from gateway_schemas.testing.trouble_checks import TroubleChecks


class HelpdeskTwinContract(PushingChecks, OnceChecks, PeopleChecks, TicketPollingChecks, TroubleChecks):
    """The checks that play at a twin: for a second adapter, where one plugin serves several kinds of account."""

    plugin: ClassVar[type[Helpdesk[Any]]]


class HelpdeskContract(ReadingChecks, DoorChecks, HelpdeskTwinContract):
    """Everything that the host relies on in a helpdesk."""
