"""What the kit checks of sources and helpdesks alike. Authors subclass `SourceContract` or `HelpdeskContract`."""

from __future__ import annotations

import contextlib
import os
from collections.abc import AsyncIterator, Mapping
from typing import Any, ClassVar

import pytest

from gateway_schemas.plugin import Plugin
from gateway_schemas.testing.adapters import Adapter
from gateway_schemas.testing.recordings import Recordings
from gateway_schemas.testing.stage import Stage, staged_plugin


class PluginContract:
    """What an author's subclass names."""

    plugin: ClassVar[type[Plugin[Any]]]
    """The plugin's class."""
    fixtures: ClassVar[str | os.PathLike[str]]
    """The fixtures folder (`recordings` says what is in it)."""
    adapter: ClassVar[type[Adapter[Any]] | None] = None
    """The adapter to the plugin's twin; without one, the checks that need a twin are skipped."""

    signs_time: ClassVar[bool] = True
    """Whether the provider's webhooks carry a signed time, so that old ones can be refused."""
    signs_body: ClassVar[bool] = True
    """Whether the signature covers the body; not where only a secret or token is sent along."""
    proves_challenges: ClassVar[bool] = False
    """Whether challenges take a secret, to be answered or for the answer; not where they are only echoed."""
    names_events: ClassVar[bool] = True
    """Whether webhooks name what happened; not where they only name a thing to look up."""
    own_format: ClassVar[bool] = False
    """Whether the payloads' format is the plugin's own: then it may refuse fields that it does not know."""
    proves_credentials: ClassVar[bool] = True
    """Whether `check` can ask something that needs the credentials."""
    changed_secrets: ClassVar[Mapping[str, Any]] = {}
    """Values for the configuration's secrets where "another secret" must have the form of the real ones."""

    _recordings: ClassVar[Recordings | None] = None

    @property
    def recordings(self) -> Recordings:
        """The plugin's fixtures."""
        cached: Recordings | None = self.__class__.__dict__.get("_recordings")
        if cached is None:
            cached = Recordings(self.fixtures, self.plugin)
            self.__class__._recordings = cached
        return cached

    @contextlib.asynccontextmanager
    async def stage(self) -> AsyncIterator[Stage[Any, Any]]:
        """The plugin with a new twin."""
        if self.adapter is None:
            pytest.skip("no adapter to a twin is named")
        async with staged_plugin(self.plugin, self.adapter) as stage:
            yield stage

    def pytest_generate_tests(self, metafunc: pytest.Metafunc) -> None:
        """Checks that take a `recording` run once for each fixture, those that take a `webhook` for each request."""
        if "recording" in metafunc.fixturenames:
            metafunc.parametrize("recording", list(self.recordings.files))
        if "webhook" in metafunc.fixturenames:
            metafunc.parametrize("webhook", self.recordings.webhooks)
