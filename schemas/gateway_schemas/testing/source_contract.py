"""The conformance kit for sources. An author's whole test file:

    class TestAcme(SourceContract):
        plugin = AcmeSource
        fixtures = Path(__file__).parents[1] / "fixtures"
        adapter = AcmeAdapter

`AcmeAdapter` is a `SourceAdapter`: how customers and the brand act at the plugin's twin. Each check is named after the
fault that it looks for and says how to mend it; `docs/kit/source.md` lists them all.
"""

from __future__ import annotations

from typing import Any, ClassVar

from gateway_schemas.source import Source
from gateway_schemas.testing.answering_checks import AnsweringChecks
from gateway_schemas.testing.door_checks import DoorChecks
from gateway_schemas.testing.hearing_checks import HearingChecks
from gateway_schemas.testing.polling_checks import SourcePollingChecks
from gateway_schemas.testing.reading_checks import ReadingChecks
from gateway_schemas.testing.trouble_checks import TroubleChecks


class SourceContract(ReadingChecks, DoorChecks, HearingChecks, SourcePollingChecks, AnsweringChecks, TroubleChecks):
    """Everything that the host relies on in a source."""

    plugin: ClassVar[type[Source[Any]]]
