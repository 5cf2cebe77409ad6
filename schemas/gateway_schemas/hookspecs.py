"""How a plugin is found. Hooks register; objects act.

A plugin distribution names its module in the entry point group `helpdesk_gateway.plugins`; the host imports the module
and calls the hooks it implements, once, at start:

    from gateway_schemas import hookimpl

    @hookimpl
    def register_sources() -> list[type[Source]]:
        return [MySource]

A module that fails to import, or a class that does not keep the contract, is listed as broken with its error; all
others start.
"""

from __future__ import annotations

from typing import Any

import pluggy

from gateway_schemas.enricher import Enricher
from gateway_schemas.helpdesk import Helpdesk
from gateway_schemas.policy import Policy
from gateway_schemas.reading import Reader
from gateway_schemas.source import Source

PROJECT = "helpdesk_gateway"
ENTRY_POINTS = "helpdesk_gateway.plugins"

hookspec = pluggy.HookspecMarker(PROJECT)
hookimpl = pluggy.HookimplMarker(PROJECT)


@hookspec
def register_sources() -> list[type[Source[Any]]]:  # type: ignore[empty-body]
    """Called once at start: the source classes of this plugin. Two plugins with one name: both are refused."""


@hookspec
def register_helpdesks() -> list[type[Helpdesk[Any]]]:  # type: ignore[empty-body]
    """Called once at start: the helpdesk classes of this plugin. Two plugins with one name: both are refused."""


@hookspec
def register_policies() -> list[type[Policy[Any]]]:  # type: ignore[empty-body]
    """Called once at start: the policy types of this plugin. Two plugins with one type: both are refused."""


@hookspec
def register_enrichers() -> list[type[Enricher[Any]]]:  # type: ignore[empty-body]
    """Called once at start: the enricher classes of this plugin. Two plugins with one name: both are refused."""


@hookspec
def register_readers() -> list[type[Reader]]:  # type: ignore[empty-body]
    """Called once at start: the reader classes of this plugin. Two plugins with one name: both are refused."""
