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

from gateway_schemas.interaction import Interaction
from gateway_schemas.source import Source
from gateway_schemas.testing.answering_checks import AnsweringChecks
from gateway_schemas.testing.door_checks import DoorChecks
from gateway_schemas.testing.failure import unless
from gateway_schemas.testing.hearing_checks import HearingChecks
from gateway_schemas.testing.polling_checks import SourcePollingChecks
from gateway_schemas.testing.reading_checks import ReadingChecks
from gateway_schemas.testing.rendering_checks import RenderingChecks
from gateway_schemas.testing.sent_once_checks import SentOnceChecks
from gateway_schemas.testing.trouble_checks import TroubleChecks


class SourceTwinContract(
    HearingChecks, SourcePollingChecks, RenderingChecks, AnsweringChecks, SentOnceChecks, TroubleChecks
):
    """The checks that play at a twin: for a second adapter, where one plugin serves several kinds of account."""

    plugin: ClassVar[type[Source[Any]]]


class SourceContract(ReadingChecks, DoorChecks, SourceTwinContract):
    """Everything that the host relies on in a source."""

    def test_kind_not_declared(self) -> None:
        """Declared kinds and recorded ones are the same."""
        declared = self.plugin.capabilities.kinds
        seen: set[str] = set()
        for name in self.recordings.files:
            for item in self.recordings.says(name):
                if isinstance(item, Interaction):
                    unless(item.kind in declared, "kind_not_declared", f"{name} gives the undeclared kind {item.kind}")
                    seen.add(item.kind)
        unless(declared <= seen, "kind_not_declared", f"no fixture gives {', '.join(sorted(declared - seen))}")
